/* Wrap and unwrap by EVP_PKEY_encrypt and EVP_PKEY_decrypt: KMS Encrypt and Decrypt. */
#include "include/kms/kms_provider.h"
#include "provider/provider.h"

#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

typedef struct wrap_context {
    kms_provider *provider;
    operation_context operation;
} wrap_context;

static OSSL_FUNC_asym_cipher_newctx_fn wrap_newctx;
static OSSL_FUNC_asym_cipher_dupctx_fn wrap_dupctx;
static OSSL_FUNC_asym_cipher_freectx_fn wrap_freectx;
static OSSL_FUNC_asym_cipher_encrypt_init_fn wrap_init;
static OSSL_FUNC_asym_cipher_encrypt_fn wrap_encrypt;
static OSSL_FUNC_asym_cipher_decrypt_fn wrap_decrypt;
static OSSL_FUNC_asym_cipher_set_ctx_params_fn wrap_set_ctx_params;
static OSSL_FUNC_asym_cipher_settable_ctx_params_fn wrap_settable_ctx_params;

static void *wrap_newctx(void *provider)
{
    wrap_context *ctx = calloc(1, sizeof(*ctx));

    if (ctx != NULL)
        ctx->provider = provider;
    return ctx;
}

static void wrap_freectx(void *data)
{
    wrap_context *ctx = data;

    if (ctx == NULL)
        return;
    operation_context_clear(&ctx->operation);
    free(ctx);
}

static void *wrap_dupctx(void *data)
{
    const wrap_context *ctx = data;
    wrap_context *copy = wrap_newctx(ctx->provider);

    if (copy != NULL && !operation_context_copy(&copy->operation, &ctx->operation)) {
        wrap_freectx(copy);
        return NULL;
    }
    return copy;
}

static int wrap_set_ctx_params(void *data, const OSSL_PARAM params[])
{
    wrap_context *ctx = data;

    return operation_context_set(&ctx->operation, ctx->provider, params);
}

static int wrap_init(void *data, void *key, const OSSL_PARAM params[])
{
    wrap_context *ctx = data;

    return operation_context_init(&ctx->operation, ctx->provider, key) &&
           wrap_set_ctx_params(ctx, params);
}

static const OSSL_PARAM *wrap_settable_ctx_params(void *data, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(KMS_PROVIDER_PARAM_CONTEXT, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)data;
    (void)provider;
    return params;
}

/* Copies a result into the caller's buffer. */
static int give(const kms_provider *provider, uint8_t *out, size_t *out_len, size_t room,
                kms_bytes result)
{
    if (room < result.len)
        return provider_raise_status(provider, KMS_E_BUFFER_TOO_SMALL, "the result does not fit");
    memcpy(out, result.data, result.len);
    *out_len = result.len;
    return 1;
}

static int wrap_encrypt(void *data, unsigned char *out, size_t *out_len, size_t room,
                        const unsigned char *in, size_t in_len)
{
    wrap_context *ctx = data;
    const kms_context *context;
    kms_buffer wrapped = {0};
    kms_error err = {0};
    int ok;

    if (out == NULL) {
        *out_len = KMS_CIPHERTEXT_MAX;
        return 1;
    }
    context = operation_context_merged(&ctx->operation, ctx->provider);
    ok = context != NULL;
    if (ok && kms_client_wrap(ctx->provider->client, ctx->operation.key->key,
                              (kms_bytes){in, in_len}, context, &wrapped, &err) != KMS_OK)
        ok = provider_raise(ctx->provider, &err);
    if (ok)
        ok = give(ctx->provider, out, out_len, room, (kms_bytes){wrapped.data, wrapped.len});
    kms_buffer_clear(&wrapped);
    return ok;
}

static int wrap_decrypt(void *data, unsigned char *out, size_t *out_len, size_t room,
                        const unsigned char *in, size_t in_len)
{
    wrap_context *ctx = data;
    const kms_context *context;
    kms_secret plaintext = {0};
    kms_error err = {0};
    int ok;

    if (out == NULL) {
        *out_len = KMS_PLAINTEXT_MAX;
        return 1;
    }
    context = operation_context_merged(&ctx->operation, ctx->provider);
    ok = context != NULL;
    if (ok && kms_client_unwrap(ctx->provider->client, ctx->operation.key->key,
                                (kms_bytes){in, in_len}, context, &plaintext, &err) != KMS_OK)
        ok = provider_raise(ctx->provider, &err);
    if (ok)
        ok = give(ctx->provider, out, out_len, room, kms_secret_bytes(&plaintext));
    kms_secret_clear(&plaintext);
    return ok;
}

#define FUNCTION(id, name)                                                                         \
    {                                                                                              \
        OSSL_FUNC_ASYM_CIPHER_##id, (void (*)(void))(name)                                         \
    }

const OSSL_DISPATCH provider_kms_asym_cipher_functions[] = {
    FUNCTION(NEWCTX, wrap_newctx),
    FUNCTION(DUPCTX, wrap_dupctx),
    FUNCTION(FREECTX, wrap_freectx),
    FUNCTION(ENCRYPT_INIT, wrap_init),
    FUNCTION(ENCRYPT, wrap_encrypt),
    FUNCTION(DECRYPT_INIT, wrap_init),
    FUNCTION(DECRYPT, wrap_decrypt),
    FUNCTION(SET_CTX_PARAMS, wrap_set_ctx_params),
    FUNCTION(SETTABLE_CTX_PARAMS, wrap_settable_ctx_params),
    {0, NULL},
};
