/* ML-KEM by keys in KMS (FIPS 203): encapsulating is done here, with the public half; KMS's
 * Decapsulate does the rest, in one request. */
#include "core/asymmetric.h"
#include "provider/provider.h"

#if KMS_OPENSSL_3_5
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

typedef struct mlkem_context {
    kms_provider *provider;
    provider_key *key; /* a reference; NULL before init */
} mlkem_context;

static OSSL_FUNC_kem_newctx_fn mlkem_newctx;
static OSSL_FUNC_kem_dupctx_fn mlkem_dupctx;
static OSSL_FUNC_kem_freectx_fn mlkem_freectx;
static OSSL_FUNC_kem_encapsulate_init_fn mlkem_init;
static OSSL_FUNC_kem_encapsulate_fn mlkem_encapsulate;
static OSSL_FUNC_kem_decapsulate_fn mlkem_decapsulate;

static void *mlkem_newctx(void *provider)
{
    mlkem_context *ctx = calloc(1, sizeof(*ctx));

    if (ctx != NULL)
        ctx->provider = provider;
    return ctx;
}

static void mlkem_freectx(void *data)
{
    mlkem_context *ctx = data;

    if (ctx == NULL)
        return;
    provider_key_free(ctx->key);
    free(ctx);
}

static void *mlkem_dupctx(void *data)
{
    const mlkem_context *ctx = data;
    mlkem_context *copy = mlkem_newctx(ctx->provider);

    if (copy != NULL && ctx->key != NULL)
        copy->key = provider_key_ref(ctx->key);
    return copy;
}

static int mlkem_init(void *data, void *key, const OSSL_PARAM params[])
{
    mlkem_context *ctx = data;

    (void)params; /* there is nothing to choose */
    if (provider_key_public(key) == NULL)
        return provider_raise_status(ctx->provider, KMS_E_KEY_MISSING,
                                     "the object holds no KMS key");
    provider_key_free(ctx->key);
    ctx->key = provider_key_ref(key);
    return 1;
}

static int mlkem_encapsulate(void *data, unsigned char *out, size_t *out_len, unsigned char *secret,
                             size_t *secret_len)
{
    const mlkem_context *ctx = data;
    EVP_PKEY_CTX *local;
    int ok;

    ERR_set_mark();
    local = EVP_PKEY_CTX_new_from_pkey(kms_client_libctx(ctx->provider->client),
                                       provider_key_public(ctx->key), NULL);
    ok = local != NULL && EVP_PKEY_encapsulate_init(local, NULL) == 1 &&
         EVP_PKEY_encapsulate(local, out, out_len, secret, secret_len) == 1;
    EVP_PKEY_CTX_free(local);
    ERR_pop_to_mark();
    return ok ? 1
              : provider_raise_status(ctx->provider, KMS_E_BUFFER_TOO_SMALL,
                                      "both buffers and both lengths are needed");
}

static int mlkem_decapsulate(void *data, unsigned char *out, size_t *out_len,
                             const unsigned char *in, size_t in_len)
{
    const mlkem_context *ctx = data;
    kms_secret secret = {0};
    kms_error err = {0};

    if (out_len == NULL)
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT, "the length is needed");
    if (out == NULL) {
        *out_len = KMS_SHARED_SECRET;
        return 1;
    }
    if (*out_len < KMS_SHARED_SECRET)
        return provider_raise_status(ctx->provider, KMS_E_BUFFER_TOO_SMALL,
                                     "the shared secret does not fit");
    if (kms_client_decapsulate(ctx->provider->client, ctx->key->key, (kms_bytes){in, in_len},
                               &secret, &err) != KMS_OK)
        return provider_raise(ctx->provider, &err);
    memcpy(out, secret.data, secret.len);
    *out_len = secret.len;
    kms_secret_clear(&secret);
    return 1;
}

#define FUNCTION(id, name)                                                                         \
    {                                                                                              \
        OSSL_FUNC_KEM_##id, (void (*)(void))(name)                                                 \
    }

const OSSL_DISPATCH provider_mlkem_functions[] = {
    FUNCTION(NEWCTX, mlkem_newctx),           FUNCTION(DUPCTX, mlkem_dupctx),
    FUNCTION(FREECTX, mlkem_freectx),         FUNCTION(ENCAPSULATE_INIT, mlkem_init),
    FUNCTION(ENCAPSULATE, mlkem_encapsulate), FUNCTION(DECAPSULATE_INIT, mlkem_init),
    FUNCTION(DECAPSULATE, mlkem_decapsulate), {0, NULL},
};
#endif
