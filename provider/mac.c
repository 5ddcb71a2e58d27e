/* HMAC by keys in KMS, through two doors: the MAC "KMS-HMAC" (EVP_MAC), which names its key by a
 * parameter, and the signature "KMS-HMAC" (EVP_DigestSign and EVP_DigestVerify), whose key the
 * store loads. Both collect the message, up to what KMS takes, and end in one request. */
#include "core/asymmetric.h"
#include "include/kms/kms_provider.h"
#include "provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

typedef struct mac_context {
    kms_provider *provider;
    provider_key *key; /* a reference; NULL before init */
    kms_address address;
    kms_secret message; /* has its whole room from the start: nothing moves */
    char digest[32];    /* that was asked for; "" is the key's own */
} mac_context;

static OSSL_FUNC_mac_newctx_fn mac_newctx;
static OSSL_FUNC_mac_dupctx_fn mac_dupctx;
static OSSL_FUNC_mac_freectx_fn mac_freectx;
static OSSL_FUNC_mac_init_fn mac_init;
static OSSL_FUNC_mac_update_fn mac_update;
static OSSL_FUNC_mac_final_fn mac_final;
static OSSL_FUNC_mac_set_ctx_params_fn mac_set_ctx_params;
static OSSL_FUNC_mac_settable_ctx_params_fn mac_settable_ctx_params;
static OSSL_FUNC_mac_get_ctx_params_fn mac_get_ctx_params;
static OSSL_FUNC_mac_gettable_ctx_params_fn mac_gettable_ctx_params;
static OSSL_FUNC_signature_newctx_fn sign_newctx;
static OSSL_FUNC_signature_digest_sign_init_fn sign_init;
static OSSL_FUNC_signature_digest_sign_final_fn sign_final;
static OSSL_FUNC_signature_digest_verify_final_fn verify_final;

/* --- what both doors do --- */

static void *mac_newctx(void *provider)
{
    mac_context *ctx = calloc(1, sizeof(*ctx));

    if (ctx != NULL)
        ctx->provider = provider;
    return ctx;
}

static void mac_freectx(void *data)
{
    mac_context *ctx = data;

    if (ctx == NULL)
        return;
    provider_key_free(ctx->key);
    kms_address_clear(&ctx->address);
    kms_secret_clear(&ctx->message);
    free(ctx);
}

static int no_memory(const mac_context *ctx)
{
    return provider_raise_status(ctx->provider, KMS_E_MEMORY_LOCK, "message to authenticate");
}

/* The address is not copied: a key that was loaded by it is. */
static void *mac_dupctx(void *data)
{
    const mac_context *ctx = data;
    mac_context *copy = mac_newctx(ctx->provider);

    if (copy == NULL)
        return NULL;
    copy->key = ctx->key != NULL ? provider_key_ref(ctx->key) : NULL;
    memcpy(copy->digest, ctx->digest, sizeof(copy->digest));
    if (ctx->message.data != NULL &&
        (kms_secret_reserve(&copy->message, KMS_MESSAGE_MAX, NULL) != KMS_OK ||
         kms_secret_append(&copy->message, kms_secret_bytes(&ctx->message), NULL) != KMS_OK)) {
        no_memory(ctx);
        mac_freectx(copy);
        return NULL;
    }
    return copy;
}

/* A key's only algorithm. */
static const kms_algorithm *algorithm_of(const mac_context *ctx)
{
    const kms_key_spec_row *kind =
        ctx->key != NULL && ctx->key->key != NULL ? kms_key_kind(ctx->key->key) : NULL;

    return kind != NULL ? kms_algorithm_at(kind, KMS_SCHEME_HMAC, 0) : NULL;
}

/* A new message for the key that is there. */
static int begin(mac_context *ctx)
{
    const kms_algorithm *algorithm = algorithm_of(ctx);
    kms_error err = {0};

    if (ctx->key == NULL || ctx->key->key == NULL)
        return provider_raise_status(ctx->provider, KMS_E_KEY_MISSING,
                                     "KMS-HMAC needs one: set key-address, or load one");
    if (algorithm == NULL) {
        kms_fail(&err, KMS_E_KEY_USAGE, "%s is %s, no HMAC key", kms_key_arn(ctx->key->key),
                 kms_key_spec(ctx->key->key));
        return provider_raise(ctx->provider, &err);
    }
    if (ctx->digest[0] != '\0' && kms_algorithm_find(kms_key_kind(ctx->key->key), KMS_SCHEME_HMAC,
                                                     ctx->digest) != algorithm) {
        kms_fail(&err, KMS_E_ALGORITHM, "HMAC with %s; this key has %s", ctx->digest,
                 algorithm->digest);
        return provider_raise(ctx->provider, &err);
    }
    kms_secret_clear(&ctx->message);
    return kms_secret_reserve(&ctx->message, KMS_MESSAGE_MAX, NULL) == KMS_OK ? 1 : no_memory(ctx);
}

static int mac_update(void *data, const unsigned char *part, size_t len)
{
    mac_context *ctx = data;
    kms_error err = {0};

    if (ctx->message.data == NULL)
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT, "update before init");
    if (len > KMS_MESSAGE_MAX - ctx->message.len) {
        kms_fail(&err, KMS_E_MESSAGE_TOO_LARGE, "%zu bytes and %zu more", ctx->message.len, len);
        return provider_raise(ctx->provider, &err);
    }
    return kms_secret_append(&ctx->message, (kms_bytes){part, len}, NULL) == KMS_OK
               ? 1
               : no_memory(ctx);
}

static int mac_final(void *data, unsigned char *out, size_t *out_len, size_t room)
{
    mac_context *ctx = data;
    const kms_algorithm *algorithm = algorithm_of(ctx);
    kms_secret mac = {0};
    kms_error err = {0};

    if (algorithm == NULL || ctx->message.data == NULL)
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT, "final before init");
    if (out == NULL || room < algorithm->digest_len)
        return provider_raise_status(ctx->provider, KMS_E_BUFFER_TOO_SMALL, "the MAC does not fit");
    if (kms_client_mac(ctx->provider->client, ctx->key->key, algorithm,
                       kms_secret_bytes(&ctx->message), &mac, &err) != KMS_OK)
        return provider_raise(ctx->provider, &err);
    memcpy(out, mac.data, mac.len);
    *out_len = mac.len;
    kms_secret_clear(&mac);
    return 1;
}

static int set_digest(mac_context *ctx, const OSSL_PARAM *p)
{
    if (provider_get_name(p, ctx->digest, sizeof(ctx->digest)))
        return 1;
    ctx->digest[0] = '\0';
    return provider_raise_status(ctx->provider, KMS_E_ALGORITHM, "the digest is not a name");
}

/* --- the MAC --- */

/* Only reads the address: the key is loaded by init. */
static int set_address(mac_context *ctx, const OSSL_PARAM *p)
{
    kms_address address = {0};

    if (!provider_read_address(ctx->provider, p, &address))
        return 0;
    kms_address_clear(&ctx->address);
    ctx->address = address;
    provider_key_free(ctx->key);
    ctx->key = NULL;
    return 1;
}

static int mac_set_ctx_params(void *data, const OSSL_PARAM params[])
{
    mac_context *ctx = data;
    const OSSL_PARAM *p;

    if (params == NULL)
        return 1;
    if (OSSL_PARAM_locate_const(params, OSSL_MAC_PARAM_KEY) != NULL)
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT,
                                     "the key is in KMS: name it by key-address");
    if ((p = OSSL_PARAM_locate_const(params, KMS_PROVIDER_PARAM_KEY_ADDRESS)) != NULL &&
        !set_address(ctx, p))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_MAC_PARAM_DIGEST);
    return p == NULL || set_digest(ctx, p);
}

static const OSSL_PARAM *mac_settable_ctx_params(void *data, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(KMS_PROVIDER_PARAM_KEY_ADDRESS, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_MAC_PARAM_KEY, NULL, 0), /* to refuse it with the reason */
        OSSL_PARAM_END,
    };

    (void)data;
    (void)provider;
    return params;
}

static int mac_get_ctx_params(void *data, OSSL_PARAM params[])
{
    const mac_context *ctx = data;
    const kms_algorithm *algorithm = algorithm_of(ctx);
    OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_MAC_PARAM_SIZE);

    return p == NULL || OSSL_PARAM_set_size_t(p, algorithm != NULL ? algorithm->digest_len : 0);
}

static const OSSL_PARAM *mac_gettable_ctx_params(void *data, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_size_t(OSSL_MAC_PARAM_SIZE, NULL),
        OSSL_PARAM_END,
    };

    (void)data;
    (void)provider;
    return params;
}

static int mac_init(void *data, const unsigned char *key, size_t key_len, const OSSL_PARAM params[])
{
    mac_context *ctx = data;

    (void)key_len;
    if (key != NULL)
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT,
                                     "the key is in KMS: name it by key-address");
    if (!mac_set_ctx_params(ctx, params))
        return 0;
    if (ctx->key == NULL && ctx->address.key != NULL &&
        !provider_key_load(ctx->provider, &ctx->address, &ctx->key))
        return 0;
    return begin(ctx);
}

/* --- the signature --- */

static void *sign_newctx(void *provider, const char *properties)
{
    (void)properties;
    return mac_newctx(provider);
}

static int sign_init(void *data, const char *digest, void *key, const OSSL_PARAM params[])
{
    mac_context *ctx = data;
    OSSL_PARAM named[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, (char *)(uintptr_t)digest, 0),
        OSSL_PARAM_construct_end(),
    };

    (void)params; /* there are none */
    if (key != NULL) {
        provider_key_free(ctx->key);
        ctx->key = provider_key_ref(key);
    }
    ctx->digest[0] = '\0';
    if (digest != NULL && digest[0] != '\0' && !set_digest(ctx, named))
        return 0;
    return begin(ctx);
}

static int sign_final(void *data, unsigned char *out, size_t *out_len, size_t room)
{
    const kms_algorithm *algorithm = algorithm_of(data);

    if (out != NULL || algorithm == NULL)
        return mac_final(data, out, out_len, room);
    *out_len = algorithm->digest_len;
    return 1;
}

static int verify_final(void *data, const unsigned char *mac, size_t len)
{
    mac_context *ctx = data;
    const kms_algorithm *algorithm = algorithm_of(ctx);
    kms_error err = {0};

    if (algorithm == NULL || ctx->message.data == NULL)
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT, "final before init");
    return kms_client_verify_mac(ctx->provider->client, ctx->key->key, algorithm,
                                 kms_secret_bytes(&ctx->message), (kms_bytes){mac, len},
                                 &err) == KMS_OK ||
           provider_raise(ctx->provider, &err);
}

#define MAC_FUNCTION(id, name)                                                                     \
    {                                                                                              \
        OSSL_FUNC_MAC_##id, (void (*)(void))(name)                                                 \
    }

const OSSL_DISPATCH provider_mac_functions[] = {
    MAC_FUNCTION(NEWCTX, mac_newctx),
    MAC_FUNCTION(DUPCTX, mac_dupctx),
    MAC_FUNCTION(FREECTX, mac_freectx),
    MAC_FUNCTION(INIT, mac_init),
    MAC_FUNCTION(UPDATE, mac_update),
    MAC_FUNCTION(FINAL, mac_final),
    MAC_FUNCTION(SET_CTX_PARAMS, mac_set_ctx_params),
    MAC_FUNCTION(SETTABLE_CTX_PARAMS, mac_settable_ctx_params),
    MAC_FUNCTION(GET_CTX_PARAMS, mac_get_ctx_params),
    MAC_FUNCTION(GETTABLE_CTX_PARAMS, mac_gettable_ctx_params),
    {0, NULL},
};

#define SIGNATURE_FUNCTION(id, name)                                                               \
    {                                                                                              \
        OSSL_FUNC_SIGNATURE_##id, (void (*)(void))(name)                                           \
    }

const OSSL_DISPATCH provider_mac_signature_functions[] = {
    SIGNATURE_FUNCTION(NEWCTX, sign_newctx),
    SIGNATURE_FUNCTION(DUPCTX, mac_dupctx),
    SIGNATURE_FUNCTION(FREECTX, mac_freectx),
    SIGNATURE_FUNCTION(DIGEST_SIGN_INIT, sign_init),
    SIGNATURE_FUNCTION(DIGEST_SIGN_UPDATE, mac_update),
    SIGNATURE_FUNCTION(DIGEST_SIGN_FINAL, sign_final),
    SIGNATURE_FUNCTION(DIGEST_VERIFY_INIT, sign_init),
    SIGNATURE_FUNCTION(DIGEST_VERIFY_UPDATE, mac_update),
    SIGNATURE_FUNCTION(DIGEST_VERIFY_FINAL, verify_final),
    {0, NULL},
};
