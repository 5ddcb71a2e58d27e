/* Data keys by EVP_PKEY_encapsulate (KMS GenerateDataKey) and EVP_PKEY_decapsulate (Decrypt). */
#include "include/kms/kms_provider.h"
#include "provider/provider.h"

#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#define DATA_KEY_BYTES 32

typedef struct kem_context {
    kms_provider *provider;
    operation_context operation;
    size_t bytes; /* of the data key */
} kem_context;

static OSSL_FUNC_kem_newctx_fn kem_newctx;
static OSSL_FUNC_kem_dupctx_fn kem_dupctx;
static OSSL_FUNC_kem_freectx_fn kem_freectx;
static OSSL_FUNC_kem_encapsulate_init_fn kem_init;
static OSSL_FUNC_kem_encapsulate_fn kem_encapsulate;
static OSSL_FUNC_kem_decapsulate_fn kem_decapsulate;
static OSSL_FUNC_kem_set_ctx_params_fn kem_set_ctx_params;
static OSSL_FUNC_kem_settable_ctx_params_fn kem_settable_ctx_params;
static OSSL_FUNC_kem_get_ctx_params_fn kem_get_ctx_params;
static OSSL_FUNC_kem_gettable_ctx_params_fn kem_gettable_ctx_params;

static void *kem_newctx(void *provider)
{
    kem_context *ctx = calloc(1, sizeof(*ctx));

    if (ctx != NULL) {
        ctx->provider = provider;
        ctx->bytes = DATA_KEY_BYTES;
    }
    return ctx;
}

static void kem_freectx(void *data)
{
    kem_context *ctx = data;

    if (ctx == NULL)
        return;
    operation_context_clear(&ctx->operation);
    free(ctx);
}

static void *kem_dupctx(void *data)
{
    const kem_context *ctx = data;
    kem_context *copy = kem_newctx(ctx->provider);

    if (copy == NULL)
        return NULL;
    copy->bytes = ctx->bytes;
    if (!operation_context_copy(&copy->operation, &ctx->operation)) {
        kem_freectx(copy);
        return NULL;
    }
    return copy;
}

static int kem_set_ctx_params(void *data, const OSSL_PARAM params[])
{
    kem_context *ctx = data;
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, KMS_PROVIDER_PARAM_DATA_KEY_BYTES);
    size_t bytes = ctx->bytes;

    if (p != NULL && (!provider_get_size(p, &bytes) || bytes == 0 || bytes > KMS_RANDOM_MAX))
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT,
                                     "data-key-bytes must be from 1 to 1024");
    ctx->bytes = bytes;
    return operation_context_set(&ctx->operation, ctx->provider, params);
}

static int kem_get_ctx_params(void *data, OSSL_PARAM params[])
{
    const kem_context *ctx = data;
    OSSL_PARAM *p = OSSL_PARAM_locate(params, KMS_PROVIDER_PARAM_DATA_KEY_BYTES);

    return p == NULL || OSSL_PARAM_set_size_t(p, ctx->bytes);
}

static int kem_init(void *data, void *key, const OSSL_PARAM params[])
{
    kem_context *ctx = data;

    return operation_context_init(&ctx->operation, ctx->provider, key) &&
           kem_set_ctx_params(ctx, params);
}

static const OSSL_PARAM *kem_settable_ctx_params(void *data, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(KMS_PROVIDER_PARAM_CONTEXT, NULL, 0),
        OSSL_PARAM_size_t(KMS_PROVIDER_PARAM_DATA_KEY_BYTES, NULL),
        OSSL_PARAM_END,
    };

    (void)data;
    (void)provider;
    return params;
}

static const OSSL_PARAM *kem_gettable_ctx_params(void *data, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_size_t(KMS_PROVIDER_PARAM_DATA_KEY_BYTES, NULL),
        OSSL_PARAM_END,
    };

    (void)data;
    (void)provider;
    return params;
}

static int sizes(const kem_context *ctx, size_t *out_len, size_t *secret_len)
{
    if (out_len != NULL)
        *out_len = KMS_CIPHERTEXT_MAX;
    if (secret_len != NULL)
        *secret_len = ctx->bytes;
    return 1;
}

static int give_data_key(const kem_context *ctx, const kms_secret *plaintext,
                         const kms_buffer *wrapped, unsigned char *out, size_t *out_len,
                         unsigned char *secret, size_t *secret_len)
{
    if (*out_len < wrapped->len)
        return provider_raise_status(ctx->provider, KMS_E_BUFFER_TOO_SMALL,
                                     "the wrapped data key does not fit");
    memcpy(out, wrapped->data, wrapped->len);
    *out_len = wrapped->len;
    memcpy(secret, plaintext->data, plaintext->len);
    *secret_len = plaintext->len;
    return 1;
}

/* The lengths say how much room there is, although OpenSSL before 3.2 did not ask its callers to
 * set them: nothing is ever written on trust. */
static int kem_encapsulate(void *data, unsigned char *out, size_t *out_len, unsigned char *secret,
                           size_t *secret_len)
{
    kem_context *ctx = data;
    const kms_context *context;
    kms_secret plaintext = {0};
    kms_buffer wrapped = {0};
    kms_error err = {0};
    int ok;

    if (out == NULL)
        return sizes(ctx, out_len, secret_len);
    if (out_len == NULL || secret == NULL || secret_len == NULL)
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT,
                                     "both buffers and both lengths are needed");
    if (*secret_len < ctx->bytes)
        return provider_raise_status(ctx->provider, KMS_E_BUFFER_TOO_SMALL,
                                     "the data key does not fit");
    context = operation_context_merged(&ctx->operation, ctx->provider);
    ok = context != NULL;
    if (ok && kms_client_data_key(ctx->provider->client, ctx->operation.key->key, ctx->bytes,
                                  context, &plaintext, &wrapped, &err) != KMS_OK)
        ok = provider_raise(ctx->provider, &err);
    if (ok)
        ok = give_data_key(ctx, &plaintext, &wrapped, out, out_len, secret, secret_len);
    kms_secret_clear(&plaintext);
    kms_buffer_clear(&wrapped);
    return ok;
}

static int kem_decapsulate(void *data, unsigned char *out, size_t *out_len, const unsigned char *in,
                           size_t in_len)
{
    kem_context *ctx = data;
    const kms_context *context;
    kms_secret plaintext = {0};
    kms_error err = {0};
    int ok;

    if (out_len == NULL)
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT, "the length is needed");
    if (out == NULL) {
        *out_len = KMS_RANDOM_MAX;
        return 1;
    }
    context = operation_context_merged(&ctx->operation, ctx->provider);
    ok = context != NULL;
    if (ok && kms_client_unwrap(ctx->provider->client, ctx->operation.key->key,
                                (kms_bytes){in, in_len}, context, &plaintext, &err) != KMS_OK)
        ok = provider_raise(ctx->provider, &err);
    if (ok && *out_len < plaintext.len)
        ok = provider_raise_status(ctx->provider, KMS_E_BUFFER_TOO_SMALL,
                                   "the data key does not fit");
    if (ok) {
        memcpy(out, plaintext.data, plaintext.len);
        *out_len = plaintext.len;
    }
    kms_secret_clear(&plaintext);
    return ok;
}

#define FUNCTION(id, name)                                                                         \
    {                                                                                              \
        OSSL_FUNC_KEM_##id, (void (*)(void))(name)                                                 \
    }

const OSSL_DISPATCH provider_kem_functions[] = {
    FUNCTION(NEWCTX, kem_newctx),
    FUNCTION(DUPCTX, kem_dupctx),
    FUNCTION(FREECTX, kem_freectx),
    FUNCTION(ENCAPSULATE_INIT, kem_init),
    FUNCTION(ENCAPSULATE, kem_encapsulate),
    FUNCTION(DECAPSULATE_INIT, kem_init),
    FUNCTION(DECAPSULATE, kem_decapsulate),
    FUNCTION(SET_CTX_PARAMS, kem_set_ctx_params),
    FUNCTION(SETTABLE_CTX_PARAMS, kem_settable_ctx_params),
    FUNCTION(GET_CTX_PARAMS, kem_get_ctx_params),
    FUNCTION(GETTABLE_CTX_PARAMS, kem_gettable_ctx_params),
    {0, NULL},
};
