/* ECDH by KMS DeriveSharedSecret, as it is or through the KDF of ANSI X9.63, which CMS uses. */
#include "core/asymmetric.h"
#include "provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct ecdh_context {
    kms_provider *provider;
    provider_key *key; /* a reference; NULL before init */
    EVP_PKEY *peer;    /* a reference */
    int cofactor_mode; /* -1: the key's own. All are one here: KMS's curves have cofactor 1. */
    bool kdf;          /* X9.63 */
    char digest[64];   /* of the KDF */
    size_t kdf_size;   /* bytes that it makes */
    kms_buffer info;   /* what OpenSSL calls the user keying material; not secret */
} ecdh_context;

static OSSL_FUNC_keyexch_newctx_fn ecdh_newctx;
static OSSL_FUNC_keyexch_dupctx_fn ecdh_dupctx;
static OSSL_FUNC_keyexch_freectx_fn ecdh_freectx;
static OSSL_FUNC_keyexch_init_fn ecdh_init;
static OSSL_FUNC_keyexch_set_peer_fn ecdh_set_peer;
static OSSL_FUNC_keyexch_derive_fn ecdh_derive;
static OSSL_FUNC_keyexch_set_ctx_params_fn ecdh_set_ctx_params;
static OSSL_FUNC_keyexch_settable_ctx_params_fn ecdh_settable_ctx_params;
static OSSL_FUNC_keyexch_get_ctx_params_fn ecdh_get_ctx_params;
static OSSL_FUNC_keyexch_gettable_ctx_params_fn ecdh_gettable_ctx_params;

static void *ecdh_newctx(void *provider)
{
    ecdh_context *ctx = calloc(1, sizeof(*ctx));

    if (ctx != NULL) {
        ctx->provider = provider;
        ctx->cofactor_mode = -1;
    }
    return ctx;
}

static void ecdh_freectx(void *data)
{
    ecdh_context *ctx = data;

    if (ctx == NULL)
        return;
    provider_key_free(ctx->key);
    EVP_PKEY_free(ctx->peer);
    kms_buffer_clear(&ctx->info);
    free(ctx);
}

static bool set_info(ecdh_context *ctx, kms_bytes info)
{
    uint8_t *data = info.len != 0 ? malloc(info.len) : NULL;

    if (info.len != 0 && data == NULL)
        return false;
    if (info.len != 0)
        memcpy(data, info.data, info.len);
    kms_buffer_clear(&ctx->info);
    ctx->info = (kms_buffer){data, info.len};
    return true;
}

static void *ecdh_dupctx(void *data)
{
    const ecdh_context *ctx = data;
    ecdh_context *copy = ecdh_newctx(ctx->provider);

    if (copy == NULL)
        return NULL;
    *copy = *ctx;
    copy->info = (kms_buffer){0};
    if (copy->key != NULL)
        provider_key_ref(copy->key);
    if (copy->peer != NULL)
        EVP_PKEY_up_ref(copy->peer);
    if (!set_info(copy, (kms_bytes){ctx->info.data, ctx->info.len})) {
        ecdh_freectx(copy);
        return NULL;
    }
    return copy;
}

static int ecdh_init(void *data, void *key, const OSSL_PARAM params[])
{
    ecdh_context *ctx = data;
    const provider_key *given = key;

    if (given == NULL || given->key == NULL)
        return provider_raise_status(ctx->provider, KMS_E_KEY_MISSING,
                                     "the object holds no EC key in KMS");
    provider_key_free(ctx->key);
    EVP_PKEY_free(ctx->peer);
    kms_buffer_clear(&ctx->info);
    *ctx = (ecdh_context){
        .provider = ctx->provider, .key = provider_key_ref(key), .cofactor_mode = -1};
    return ecdh_set_ctx_params(ctx, params);
}

static int ecdh_set_peer(void *data, void *key)
{
    ecdh_context *ctx = data;
    EVP_PKEY *peer = provider_key_public(key);

    if (peer == NULL)
        return provider_raise_status(ctx->provider, KMS_E_PEER_KEY, "it has no public half");
    EVP_PKEY_up_ref(peer);
    EVP_PKEY_free(ctx->peer);
    ctx->peer = peer;
    return 1;
}

/* --- deriving --- */

static int ask_kms(const ecdh_context *ctx, kms_secret *secret)
{
    unsigned char *spki = NULL;
    kms_error err = {0};
    int len;
    bool ok;

    ERR_set_mark();
    len = ctx->peer != NULL ? i2d_PUBKEY(ctx->peer, &spki) : 0;
    ERR_pop_to_mark();
    if (len <= 0) {
        provider_raise_status(ctx->provider, KMS_E_PEER_KEY,
                              ctx->peer != NULL ? "it can't be encoded" : "none was set");
        return 0;
    }
    ok = kms_client_derive(ctx->provider->client, ctx->key->key, (kms_bytes){spki, (size_t)len},
                           secret, &err) == KMS_OK;
    if (!ok)
        provider_raise(ctx->provider, &err);
    OPENSSL_free(spki);
    return ok;
}

static int run_kdf(const ecdh_context *ctx, const kms_secret *secret, unsigned char *out)
{
    EVP_KDF *kdf =
        EVP_KDF_fetch(kms_client_libctx(ctx->provider->client), OSSL_KDF_NAME_X963KDF, NULL);
    EVP_KDF_CTX *kdf_ctx = EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)ctx->digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret->data, secret->len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, ctx->info.data, ctx->info.len),
        OSSL_PARAM_construct_end(),
    };
    int ok;

    if (ctx->info.len == 0)
        params[2] = OSSL_PARAM_construct_end();
    ERR_set_mark();
    ok = kdf_ctx != NULL && EVP_KDF_derive(kdf_ctx, out, ctx->kdf_size, params) == 1;
    ERR_pop_to_mark();
    EVP_KDF_CTX_free(kdf_ctx);
    EVP_KDF_free(kdf);
    return ok ? 1
              : provider_raise_status(ctx->provider, KMS_E_INTERNAL, "X9.63 key derivation failed");
}

/* What would fail after the request fails before it. */
static int check_kdf(const ecdh_context *ctx)
{
    EVP_MD *md;

    if (!ctx->kdf)
        return 1;
    if (ctx->kdf_size == 0)
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT,
                                     "the KDF's output size (kdf-outlen) is not set");
    ERR_set_mark();
    md = EVP_MD_fetch(kms_client_libctx(ctx->provider->client), ctx->digest, NULL);
    ERR_pop_to_mark();
    EVP_MD_free(md);
    return md != NULL ? 1
                      : provider_raise_status(ctx->provider, KMS_E_ARGUMENT,
                                              "the KDF's digest (kdf-digest) is unknown");
}

static int ecdh_derive(void *data, unsigned char *out, size_t *out_len, size_t room)
{
    const ecdh_context *ctx = data;
    kms_secret secret = {0};
    size_t len;
    int ok;

    if (ctx->key == NULL || !check_kdf(ctx))
        return 0;
    len = ctx->kdf ? ctx->kdf_size : (size_t)(kms_key_kind(ctx->key->key)->bits + 7) / 8;
    if (out == NULL) {
        *out_len = len;
        return 1;
    }
    if (room < len)
        return provider_raise_status(ctx->provider, KMS_E_BUFFER_TOO_SMALL,
                                     "the shared secret does not fit");
    ok = ask_kms(ctx, &secret);
    if (ok && ctx->kdf)
        ok = run_kdf(ctx, &secret, out);
    else if (ok)
        memcpy(out, secret.data, len);
    if (ok)
        *out_len = len;
    kms_secret_clear(&secret);
    return ok;
}

/* --- parameters --- */

static int set_cofactor_mode(ecdh_context *ctx, const OSSL_PARAM *p)
{
    int mode;

    if (!provider_get_int(p, &mode) || mode < -1 || mode > 1)
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT,
                                     "the cofactor mode is -1, 0 or 1");
    ctx->cofactor_mode = mode;
    return 1;
}

static int set_kdf_type(ecdh_context *ctx, const OSSL_PARAM *p)
{
    char name[16];

    if (!provider_get_name(p, name, sizeof(name)) ||
        (name[0] != '\0' && strcasecmp(name, OSSL_KDF_NAME_X963KDF) != 0))
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT,
                                     "the key derivation function is none or X963KDF");
    ctx->kdf = name[0] != '\0';
    return 1;
}

static int set_digest(ecdh_context *ctx, const OSSL_PARAM *p)
{
    if (!provider_get_name(p, ctx->digest, sizeof(ctx->digest)))
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT, "the KDF's digest");
    return 1;
}

static int set_info_param(ecdh_context *ctx, const OSSL_PARAM *p)
{
    kms_bytes info;

    if (!provider_get_bytes(p, &info) || !set_info(ctx, info))
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT,
                                     "the KDF's user keying material");
    return 1;
}

static int ecdh_set_ctx_params(void *data, const OSSL_PARAM params[])
{
    ecdh_context *ctx = data;
    const OSSL_PARAM *p;

    if (params == NULL)
        return 1;
    if ((p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE)) != NULL &&
        !set_cofactor_mode(ctx, p))
        return 0;
    if ((p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_TYPE)) != NULL &&
        !set_kdf_type(ctx, p))
        return 0;
    if ((p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_DIGEST)) != NULL &&
        !set_digest(ctx, p))
        return 0;
    if ((p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_OUTLEN)) != NULL &&
        !provider_get_size(p, &ctx->kdf_size))
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT, "the KDF's output size");
    if ((p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_UKM)) != NULL)
        return set_info_param(ctx, p);
    return 1;
}

static const OSSL_PARAM *ecdh_settable_ctx_params(void *data, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE, NULL),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST_PROPS, NULL, 0),
        OSSL_PARAM_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, NULL),
        OSSL_PARAM_octet_string(OSSL_EXCHANGE_PARAM_KDF_UKM, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)data;
    (void)provider;
    return params;
}

static int ecdh_get_ctx_params(void *data, OSSL_PARAM params[])
{
    ecdh_context *ctx = data;
    OSSL_PARAM *p;

    if ((p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE)) != NULL &&
        !OSSL_PARAM_set_int(p, ctx->cofactor_mode == -1 ? 0 : ctx->cofactor_mode))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_KDF_TYPE)) != NULL &&
        !OSSL_PARAM_set_utf8_string(p, ctx->kdf ? OSSL_KDF_NAME_X963KDF : ""))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_KDF_DIGEST)) != NULL &&
        !OSSL_PARAM_set_utf8_string(p, ctx->digest))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_KDF_OUTLEN)) != NULL &&
        !OSSL_PARAM_set_size_t(p, ctx->kdf_size))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_KDF_UKM)) != NULL &&
        !OSSL_PARAM_set_octet_ptr(p, ctx->info.data, ctx->info.len))
        return 0;
    return 1;
}

static const OSSL_PARAM *ecdh_gettable_ctx_params(void *data, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE, NULL),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST, NULL, 0),
        OSSL_PARAM_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, NULL),
        OSSL_PARAM_octet_ptr(OSSL_EXCHANGE_PARAM_KDF_UKM, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)data;
    (void)provider;
    return params;
}

#define FUNCTION(id, name)                                                                         \
    {                                                                                              \
        OSSL_FUNC_KEYEXCH_##id, (void (*)(void))(name)                                             \
    }

const OSSL_DISPATCH provider_exchange_functions[] = {
    FUNCTION(NEWCTX, ecdh_newctx),
    FUNCTION(DUPCTX, ecdh_dupctx),
    FUNCTION(FREECTX, ecdh_freectx),
    FUNCTION(INIT, ecdh_init),
    FUNCTION(SET_PEER, ecdh_set_peer),
    FUNCTION(DERIVE, ecdh_derive),
    FUNCTION(SET_CTX_PARAMS, ecdh_set_ctx_params),
    FUNCTION(SETTABLE_CTX_PARAMS, ecdh_settable_ctx_params),
    FUNCTION(GET_CTX_PARAMS, ecdh_get_ctx_params),
    FUNCTION(GETTABLE_CTX_PARAMS, ecdh_gettable_ctx_params),
    {0, NULL},
};
