/* ML-DSA signatures by keys in KMS (FIPS 204, pure ML-DSA). KMS takes mu, the hash that binds
 * message, context and public key (algorithm 7, line 6): it is computed here, so that messages of
 * any size and contexts work, in one request. Verifying is done here too, with the public half. */
#include "core/asymmetric.h"
#include "core/public_key.h"
#include "provider/provider.h"

#if KMS_OPENSSL_3_5
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#define MU_SIZE        64
#define CONTEXT_MAX    255
#define PUBLIC_KEY_MAX 2592 /* ML-DSA-87 */
#define ENCODING_PURE  1    /* of OSSL_SIGNATURE_PARAM_MESSAGE_ENCODING */
#define PURE_SEPARATOR 0    /* pre-hashed messages have 1 */

typedef struct mldsa_context {
    kms_provider *provider;
    provider_key *key; /* a reference; NULL before init */
    EVP_MD_CTX *hash;  /* towards mu; NULL: no part of the message was there yet */
    unsigned char context[CONTEXT_MAX];
    size_t context_len;
    bool takes_mu; /* what comes is mu, in place of the message */
} mldsa_context;

static OSSL_FUNC_signature_newctx_fn mldsa_newctx;
static OSSL_FUNC_signature_dupctx_fn mldsa_dupctx;
static OSSL_FUNC_signature_freectx_fn mldsa_freectx;
static OSSL_FUNC_signature_sign_message_init_fn mldsa_init;
static OSSL_FUNC_signature_digest_sign_init_fn mldsa_digest_init;
static OSSL_FUNC_signature_digest_sign_update_fn mldsa_update;
static OSSL_FUNC_signature_digest_sign_final_fn mldsa_sign_final;
static OSSL_FUNC_signature_digest_verify_final_fn mldsa_verify_final;
static OSSL_FUNC_signature_sign_fn mldsa_sign;
static OSSL_FUNC_signature_verify_fn mldsa_verify;
static OSSL_FUNC_signature_get_ctx_params_fn mldsa_get_ctx_params;
static OSSL_FUNC_signature_gettable_ctx_params_fn mldsa_gettable_ctx_params;
static OSSL_FUNC_signature_set_ctx_params_fn mldsa_set_ctx_params;
static OSSL_FUNC_signature_settable_ctx_params_fn mldsa_settable_ctx_params;

/* --- life --- */

static void *mldsa_newctx(void *provider, const char *properties)
{
    mldsa_context *ctx = calloc(1, sizeof(*ctx));

    (void)properties; /* of fetches for digests: ours are the private context's */
    if (ctx != NULL)
        ctx->provider = provider;
    return ctx;
}

static void mldsa_freectx(void *data)
{
    mldsa_context *ctx = data;

    if (ctx == NULL)
        return;
    provider_key_free(ctx->key);
    EVP_MD_CTX_free(ctx->hash);
    free(ctx);
}

static void *mldsa_dupctx(void *data)
{
    const mldsa_context *ctx = data;
    mldsa_context *copy = mldsa_newctx(ctx->provider, NULL);

    if (copy == NULL)
        return NULL;
    *copy = *ctx;
    copy->key = ctx->key != NULL ? provider_key_ref(ctx->key) : NULL;
    copy->hash = ctx->hash != NULL ? EVP_MD_CTX_dup(ctx->hash) : NULL;
    if (ctx->hash != NULL && copy->hash == NULL) {
        mldsa_freectx(copy);
        return NULL;
    }
    return copy;
}

/* For signing and for verifying; begun anew without a key it keeps the one that is there. */
static int mldsa_init(void *data, void *key, const OSSL_PARAM params[])
{
    mldsa_context *ctx = data;
    provider_key *next = key != NULL ? key : ctx->key;

    if (provider_key_public(next) == NULL || next->key == NULL)
        return provider_raise_status(ctx->provider, KMS_E_KEY_MISSING,
                                     "the object holds no KMS key that can sign");
    next = provider_key_ref(next);
    provider_key_free(ctx->key);
    EVP_MD_CTX_free(ctx->hash);
    *ctx = (mldsa_context){.provider = ctx->provider, .key = next};
    return mldsa_set_ctx_params(ctx, params);
}

static int mldsa_digest_init(void *data, const char *digest, void *key, const OSSL_PARAM params[])
{
    const mldsa_context *ctx = data;

    if (digest != NULL && digest[0] != '\0')
        return provider_raise_status(ctx->provider, KMS_E_ALGORITHM,
                                     "ML-DSA signs the message itself: set no digest");
    return mldsa_init(data, key, params);
}

/* --- mu --- */

/* SHAKE256 over the parts; one or two of them. */
static int shake_begin(const mldsa_context *ctx, EVP_MD_CTX **hash)
{
    EVP_MD *shake = EVP_MD_fetch(kms_client_libctx(ctx->provider->client), "SHAKE256", NULL);
    int ok;

    *hash = EVP_MD_CTX_new();
    ok = shake != NULL && *hash != NULL && EVP_DigestInit_ex2(*hash, shake, NULL) == 1;
    EVP_MD_free(shake);
    return ok;
}

/* tr: the hash of the public key. */
static int hash_public(const mldsa_context *ctx, unsigned char tr[MU_SIZE])
{
    unsigned char public[PUBLIC_KEY_MAX];
    size_t len = sizeof(public);
    EVP_MD_CTX *hash = NULL;
    int ok = EVP_PKEY_get_raw_public_key(provider_key_public(ctx->key), public, &len) == 1 &&
             shake_begin(ctx, &hash) && EVP_DigestUpdate(hash, public, len) == 1 &&
             EVP_DigestFinalXOF(hash, tr, MU_SIZE) == 1;

    EVP_MD_CTX_free(hash);
    return ok;
}

/* All of mu that stands before the message. */
static int begin_mu(const mldsa_context *ctx, EVP_MD_CTX **hash)
{
    unsigned char tr[MU_SIZE];
    const unsigned char head[2] = {PURE_SEPARATOR, (unsigned char)ctx->context_len};
    int ok;

    ERR_set_mark();
    ok = hash_public(ctx, tr) && shake_begin(ctx, hash) &&
         EVP_DigestUpdate(*hash, tr, sizeof(tr)) == 1 &&
         EVP_DigestUpdate(*hash, head, sizeof(head)) == 1 &&
         EVP_DigestUpdate(*hash, ctx->context, ctx->context_len) == 1;
    ERR_pop_to_mark();
    return ok ? 1 : provider_raise_status(ctx->provider, KMS_E_NO_MEMORY, "ML-DSA");
}

/* mu of a whole message, or what was given as such. */
static int mu_of(const mldsa_context *ctx, kms_bytes message, unsigned char mu[MU_SIZE])
{
    EVP_MD_CTX *hash = NULL;
    kms_error err = {0};
    int ok;

    if (ctx->takes_mu && message.len != MU_SIZE) {
        kms_fail(&err, KMS_E_DIGEST_SIZE, "%zu bytes for mu, which has %d", message.len, MU_SIZE);
        return provider_raise(ctx->provider, &err);
    }
    if (ctx->takes_mu) {
        memcpy(mu, message.data, MU_SIZE);
        return 1;
    }
    ok = begin_mu(ctx, &hash) && EVP_DigestUpdate(hash, message.data, message.len) == 1 &&
         EVP_DigestFinalXOF(hash, mu, MU_SIZE) == 1;
    EVP_MD_CTX_free(hash);
    return ok;
}

static int mldsa_update(void *data, const unsigned char *part, size_t len)
{
    mldsa_context *ctx = data;

    if (ctx->takes_mu)
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT, "mu is given in one piece");
    return (ctx->hash != NULL || begin_mu(ctx, &ctx->hash)) &&
           EVP_DigestUpdate(ctx->hash, part, len) == 1;
}

/* mu of what was given in parts. The hash goes on afterwards, as OpenSSL allows: a copy ends. */
static int mu_of_parts(mldsa_context *ctx, unsigned char mu[MU_SIZE])
{
    EVP_MD_CTX *copy;
    int ok;

    if (!mldsa_update(ctx, NULL, 0)) /* a message of no bytes has no parts */
        return 0;
    copy = EVP_MD_CTX_dup(ctx->hash);
    ok = copy != NULL && EVP_DigestFinalXOF(copy, mu, MU_SIZE) == 1;
    EVP_MD_CTX_free(copy);
    return ok;
}

/* --- signing and verifying --- */

static const kms_algorithm *algorithm_of(const mldsa_context *ctx)
{
    return kms_algorithm_at(kms_key_kind(ctx->key->key), KMS_SCHEME_ML_DSA, 0);
}

static int size_of(const mldsa_context *ctx, size_t *len)
{
    *len = (size_t)EVP_PKEY_get_size(provider_key_public(ctx->key));
    return 1;
}

static int sign_mu(const mldsa_context *ctx, unsigned char *signature, size_t *len, size_t room,
                   const unsigned char mu[MU_SIZE])
{
    kms_buffer made = {0};
    kms_error err = {0};
    kms_status st = KMS_OK;
    size_t size = 0;

    size_of(ctx, &size);
    if (room < size)
        st = kms_fail(&err, KMS_E_BUFFER_TOO_SMALL, "%zu bytes for a signature of %zu", room, size);
    if (st == KMS_OK)
        st = kms_client_sign(ctx->provider->client, ctx->key->key, algorithm_of(ctx),
                             (kms_bytes){mu, MU_SIZE}, &made, &err);
    if (st == KMS_OK && made.len != size)
        st = kms_fail(&err, KMS_E_REPLY_SIGNATURE, "%zu bytes, not %zu", made.len, size);
    if (st == KMS_OK) {
        memcpy(signature, made.data, made.len);
        *len = made.len;
    }
    kms_buffer_clear(&made);
    return st == KMS_OK ? 1 : provider_raise(ctx->provider, &err);
}

static int mldsa_sign(void *data, unsigned char *signature, size_t *len, size_t room,
                      const unsigned char *message, size_t message_len)
{
    const mldsa_context *ctx = data;
    unsigned char mu[MU_SIZE];

    if (signature == NULL)
        return size_of(ctx, len);
    return mu_of(ctx, (kms_bytes){message, message_len}, mu) &&
           sign_mu(ctx, signature, len, room, mu);
}

static int mldsa_sign_final(void *data, unsigned char *signature, size_t *len, size_t room)
{
    mldsa_context *ctx = data;
    unsigned char mu[MU_SIZE];

    if (signature == NULL)
        return size_of(ctx, len);
    return mu_of_parts(ctx, mu) && sign_mu(ctx, signature, len, room, mu);
}

static int verify_mu(const mldsa_context *ctx, kms_bytes signature, const unsigned char mu[MU_SIZE])
{
    return kms_public_key_verifies(kms_client_libctx(ctx->provider->client),
                                   provider_key_public(ctx->key), algorithm_of(ctx),
                                   (kms_bytes){mu, MU_SIZE}, signature);
}

static int mldsa_verify(void *data, const unsigned char *signature, size_t len,
                        const unsigned char *message, size_t message_len)
{
    const mldsa_context *ctx = data;
    unsigned char mu[MU_SIZE];

    return mu_of(ctx, (kms_bytes){message, message_len}, mu) &&
           verify_mu(ctx, (kms_bytes){signature, len}, mu);
}

static int mldsa_verify_final(void *data, const unsigned char *signature, size_t len)
{
    mldsa_context *ctx = data;
    unsigned char mu[MU_SIZE];

    return mu_of_parts(ctx, mu) && verify_mu(ctx, (kms_bytes){signature, len}, mu);
}

/* --- parameters --- */

static int set_context(mldsa_context *ctx, const OSSL_PARAM *p)
{
    kms_bytes context;
    kms_error err = {0};

    if (!provider_get_bytes(p, &context) || context.len > CONTEXT_MAX) {
        kms_fail(&err, KMS_E_ALGORITHM, "a context of ML-DSA has 0 to %d bytes", CONTEXT_MAX);
        return provider_raise(ctx->provider, &err);
    }
    if (ctx->hash != NULL)
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT,
                                     "the context comes before the message");
    if (context.len > 0)
        memcpy(ctx->context, context.data, context.len);
    ctx->context_len = context.len;
    return 1;
}

static int set_choice(const mldsa_context *ctx, const OSSL_PARAM *p, int only, const char *refusal)
{
    int choice;

    if (p == NULL || (provider_get_int(p, &choice) && choice == only))
        return 1;
    return provider_raise_status(ctx->provider, KMS_E_ALGORITHM, refusal);
}

static int mldsa_set_ctx_params(void *data, const OSSL_PARAM params[])
{
    mldsa_context *ctx = data;
    const OSSL_PARAM *p;
    int mu = ctx->takes_mu;

    if (params == NULL || params[0].key == NULL)
        return 1;
    p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_CONTEXT_STRING);
    if (p != NULL && !set_context(ctx, p))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_MU);
    if (p != NULL && !provider_get_int(p, &mu))
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT, "mu is 0 or 1");
    ctx->takes_mu = mu != 0;
    return set_choice(ctx, OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_MESSAGE_ENCODING),
                      ENCODING_PURE, "KMS signs by pure ML-DSA, whose message-encoding is 1") &&
           set_choice(ctx, OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_DETERMINISTIC), 0,
                      "KMS promises no deterministic signatures");
}

static const OSSL_PARAM *mldsa_settable_ctx_params(void *data, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_CONTEXT_STRING, NULL, 0),
        OSSL_PARAM_int(OSSL_SIGNATURE_PARAM_MU, NULL),
        OSSL_PARAM_int(OSSL_SIGNATURE_PARAM_MESSAGE_ENCODING, NULL),
        OSSL_PARAM_int(OSSL_SIGNATURE_PARAM_DETERMINISTIC, NULL),
        OSSL_PARAM_END,
    };

    (void)data;
    (void)provider;
    return params;
}

/* The AlgorithmIdentifier is what the default provider says for the public half. */
static int mldsa_get_ctx_params(void *data, OSSL_PARAM params[])
{
    const mldsa_context *ctx = data;
    EVP_MD_CTX *shadow;
    EVP_PKEY_CTX *pkey_ctx = NULL;
    int ok;

    if (ctx->key == NULL)
        return 0;
    shadow = EVP_MD_CTX_new();
    ok = shadow != NULL &&
         EVP_DigestVerifyInit_ex(shadow, &pkey_ctx, NULL, kms_client_libctx(ctx->provider->client),
                                 NULL, provider_key_public(ctx->key), NULL) == 1 &&
         EVP_PKEY_CTX_get_params(pkey_ctx, params) == 1;
    EVP_MD_CTX_free(shadow);
    return ok;
}

static const OSSL_PARAM *mldsa_gettable_ctx_params(void *data, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)data;
    (void)provider;
    return params;
}

#define FUNCTION(id, name)                                                                         \
    {                                                                                              \
        OSSL_FUNC_SIGNATURE_##id, (void (*)(void))(name)                                           \
    }

const OSSL_DISPATCH provider_mldsa_functions[] = {
    FUNCTION(NEWCTX, mldsa_newctx),
    FUNCTION(DUPCTX, mldsa_dupctx),
    FUNCTION(FREECTX, mldsa_freectx),
    FUNCTION(SIGN_MESSAGE_INIT, mldsa_init),
    FUNCTION(SIGN, mldsa_sign),
    FUNCTION(VERIFY_MESSAGE_INIT, mldsa_init),
    FUNCTION(VERIFY, mldsa_verify),
    FUNCTION(DIGEST_SIGN_INIT, mldsa_digest_init),
    FUNCTION(DIGEST_SIGN, mldsa_sign),
    FUNCTION(DIGEST_SIGN_UPDATE, mldsa_update),
    FUNCTION(DIGEST_SIGN_FINAL, mldsa_sign_final),
    FUNCTION(DIGEST_VERIFY_INIT, mldsa_digest_init),
    FUNCTION(DIGEST_VERIFY, mldsa_verify),
    FUNCTION(DIGEST_VERIFY_UPDATE, mldsa_update),
    FUNCTION(DIGEST_VERIFY_FINAL, mldsa_verify_final),
    FUNCTION(GET_CTX_PARAMS, mldsa_get_ctx_params),
    FUNCTION(GETTABLE_CTX_PARAMS, mldsa_gettable_ctx_params),
    FUNCTION(SET_CTX_PARAMS, mldsa_set_ctx_params),
    FUNCTION(SETTABLE_CTX_PARAMS, mldsa_settable_ctx_params),
    {0, NULL},
};
#endif
