/* Signatures by RSA, EC and Ed25519 keys in KMS. Signing hashes here and sends the digest, in one
 * request. Everything else is done by a shadow: an ordinary verification of the default provider in
 * the private library context, with the key's public half. It verifies, it takes the parameters,
 * checks and remembers them, and knows the AlgorithmIdentifier. */
#include "core/asymmetric.h"
#include "core/digest_info.h"
#include "provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE            64               /* of a digest's name */
#define SALT_AUTO_DIGEST_MAX "auto-digestmax" /* OpenSSL 3.1 and later */

typedef struct sign_context {
    kms_provider *provider;
    provider_key *key;     /* a reference; NULL before init */
    EVP_PKEY_CTX *shadow;  /* of sign and verify over a digest */
    EVP_MD_CTX *md_shadow; /* of digest-sign and digest-verify */
    EVP_MD_CTX *hash;      /* of digest-sign; NULL: the scheme has no digest */
    bool signs;            /* for signing, not for verifying */
} sign_context;

static OSSL_FUNC_signature_newctx_fn sign_newctx;
static OSSL_FUNC_signature_dupctx_fn sign_dupctx;
static OSSL_FUNC_signature_freectx_fn sign_freectx;
static OSSL_FUNC_signature_sign_init_fn sign_init;
static OSSL_FUNC_signature_sign_fn sign_digest;
static OSSL_FUNC_signature_verify_init_fn verify_init;
static OSSL_FUNC_signature_verify_fn verify_digest;
static OSSL_FUNC_signature_verify_recover_init_fn recover_init;
static OSSL_FUNC_signature_verify_recover_fn recover_digest;
static OSSL_FUNC_signature_digest_sign_init_fn digest_sign_init;
static OSSL_FUNC_signature_digest_sign_update_fn digest_sign_update;
static OSSL_FUNC_signature_digest_sign_final_fn digest_sign_final;
static OSSL_FUNC_signature_digest_verify_init_fn digest_verify_init;
static OSSL_FUNC_signature_digest_verify_update_fn digest_verify_update;
static OSSL_FUNC_signature_digest_verify_final_fn digest_verify_final;
static OSSL_FUNC_signature_digest_sign_fn eddsa_sign;
static OSSL_FUNC_signature_digest_verify_fn eddsa_verify;
static OSSL_FUNC_signature_get_ctx_params_fn sign_get_ctx_params;
static OSSL_FUNC_signature_gettable_ctx_params_fn sign_gettable_ctx_params;
static OSSL_FUNC_signature_set_ctx_params_fn sign_set_ctx_params;
static OSSL_FUNC_signature_settable_ctx_params_fn rsa_settable_ctx_params;
static OSSL_FUNC_signature_settable_ctx_params_fn ecdsa_settable_ctx_params;

static void *sign_newctx(void *provider, const char *properties)
{
    sign_context *ctx = calloc(1, sizeof(*ctx));

    (void)properties; /* of fetches for digests: ours are the private context's */
    if (ctx != NULL)
        ctx->provider = provider;
    return ctx;
}

/* Back to what newctx made. */
static void sign_reset(sign_context *ctx)
{
    provider_key_free(ctx->key);
    EVP_PKEY_CTX_free(ctx->shadow);
    EVP_MD_CTX_free(ctx->md_shadow);
    EVP_MD_CTX_free(ctx->hash);
    *ctx = (sign_context){.provider = ctx->provider, .signs = ctx->signs};
}

static void sign_freectx(void *data)
{
    sign_context *ctx = data;

    if (ctx == NULL)
        return;
    sign_reset(ctx);
    free(ctx);
}

/* NULL stays NULL; false without memory. */
static bool copy_md(EVP_MD_CTX **to, const EVP_MD_CTX *from)
{
    if (from == NULL)
        return true;
    *to = EVP_MD_CTX_new();
    return *to != NULL && EVP_MD_CTX_copy_ex(*to, from) == 1;
}

static void *sign_dupctx(void *data)
{
    const sign_context *ctx = data;
    sign_context *copy = sign_newctx(ctx->provider, NULL);

    if (copy == NULL)
        return NULL;
    copy->signs = ctx->signs;
    copy->key = ctx->key != NULL ? provider_key_ref(ctx->key) : NULL;
    if (ctx->shadow != NULL)
        copy->shadow = EVP_PKEY_CTX_dup(ctx->shadow);
    if ((ctx->shadow != NULL && copy->shadow == NULL) ||
        !copy_md(&copy->md_shadow, ctx->md_shadow) || !copy_md(&copy->hash, ctx->hash)) {
        sign_freectx(copy);
        return NULL;
    }
    return copy;
}

/* Takes the key of an init, or keeps the one that is there. */
static int take_key(sign_context *ctx, provider_key *key)
{
    if (key == NULL)
        key = ctx->key;
    if (provider_key_public(key) == NULL)
        return provider_raise_status(ctx->provider, KMS_E_KEY_MISSING,
                                     "the object holds no KMS key that can sign");
    key = provider_key_ref(key);
    sign_reset(ctx);
    ctx->key = key;
    return 1;
}

static OSSL_LIB_CTX *private_libctx(const sign_context *ctx)
{
    return kms_client_libctx(ctx->provider->client);
}

static EVP_PKEY *public_half(const sign_context *ctx)
{
    return provider_key_public(ctx->key);
}

static bool is_a(const sign_context *ctx, const char *type)
{
    return EVP_PKEY_is_a(public_half(ctx), type);
}

/* The shadow's context, of whichever kind of operation. */
static EVP_PKEY_CTX *shadow_of(const sign_context *ctx)
{
    return ctx->md_shadow != NULL ? EVP_MD_CTX_get_pkey_ctx(ctx->md_shadow) : ctx->shadow;
}

/* An operation over a digest; init is what the shadow does. */
static int raw_init(sign_context *ctx, void *key, const OSSL_PARAM params[],
                    int (*init)(EVP_PKEY_CTX *))
{
    if (!take_key(ctx, key))
        return 0;
    ctx->shadow = EVP_PKEY_CTX_new_from_pkey(private_libctx(ctx), public_half(ctx), NULL);
    if (ctx->shadow == NULL || init(ctx->shadow) != 1)
        return provider_raise_status(ctx->provider, KMS_E_NO_MEMORY, "signature");
    return sign_set_ctx_params(ctx, params);
}

/* The digest that the shadow uses, or "" where there is none. */
static void read_digest(const sign_context *ctx, char name[NAME_SIZE])
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, name, NAME_SIZE),
        OSSL_PARAM_construct_end(),
    };

    name[0] = '\0';
    if (shadow_of(ctx) == NULL)
        return;
    ERR_set_mark();
    if (EVP_PKEY_CTX_get_params(shadow_of(ctx), params) != 1)
        name[0] = '\0';
    ERR_pop_to_mark();
}

/* An operation over a message. Begun anew without key and digest it keeps both. */
static int digest_init(sign_context *ctx, const char *digest, void *key, const OSSL_PARAM params[])
{
    char before[NAME_SIZE] = "";

    if (digest == NULL && key == NULL && ctx->md_shadow != NULL)
        read_digest(ctx, before);
    if (before[0] != '\0')
        digest = before;
    if (!take_key(ctx, key))
        return 0;
    ERR_set_mark();
    ctx->md_shadow = EVP_MD_CTX_new();
    if (ctx->md_shadow == NULL ||
        EVP_DigestVerifyInit_ex(ctx->md_shadow, NULL, digest, private_libctx(ctx), NULL,
                                public_half(ctx), NULL) != 1) {
        ERR_pop_to_mark();
        return provider_raise_status(ctx->provider, KMS_E_ALGORITHM,
                                     digest != NULL ? digest : "no digest");
    }
    ERR_pop_to_mark();
    return sign_set_ctx_params(ctx, params);
}

/* --- which algorithm --- */

/* What RSA keys are asked for. */
typedef struct rsa_wish {
    int padding;
    char digest[NAME_SIZE], mgf1[NAME_SIZE]; /* "" for none */
    char salt[16];                           /* "digest", "max", "auto" or a number */
} rsa_wish;

static bool read_rsa_wish(const sign_context *ctx, rsa_wish *wish)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_PAD_MODE, &wish->padding),
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, wish->salt,
                                         sizeof(wish->salt)),
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, wish->mgf1,
                                         sizeof(wish->mgf1)),
        OSSL_PARAM_construct_end(),
    };

    bool ok;

    read_digest(ctx, wish->digest);
    ERR_set_mark();
    ok = EVP_PKEY_CTX_get_params(shadow_of(ctx), params) == 1;
    ERR_pop_to_mark();
    return ok;
}

/* Returns NULL, as what it is called in does. */
static const kms_algorithm *refuse(const sign_context *ctx, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static const kms_algorithm *refuse(const sign_context *ctx, const char *format, ...)
{
    char detail[KMS_ERROR_DETAIL_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    provider_raise_status(ctx->provider, KMS_E_ALGORITHM, detail);
    return NULL;
}

/* Salt lengths that leave it to the signer. */
static bool salt_is_open(const char *salt)
{
    return strcmp(salt, OSSL_PKEY_RSA_PSS_SALT_LEN_AUTO) == 0 ||
           strcmp(salt, SALT_AUTO_DIGEST_MAX) == 0;
}

/* Salt lengths that mean the digest's: what KMS has. */
static bool salt_fits(const char *salt, size_t digest_len)
{
    return salt_is_open(salt) || strcmp(salt, OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST) == 0 ||
           strtoul(salt, NULL, 10) == digest_len;
}

/* KMS's algorithm for a digest under any name that OpenSSL has for it. */
static const kms_algorithm *find_algorithm(const sign_context *ctx, kms_scheme scheme,
                                           const char *digest)
{
    const kms_key_spec_row *kind = kms_key_kind(ctx->key->key);
    const kms_algorithm *algorithm = kms_algorithm_find(kind, scheme, digest);
    EVP_MD *md = NULL;

    if (algorithm != NULL || digest[0] == '\0')
        return algorithm;
    ERR_set_mark();
    md = EVP_MD_fetch(private_libctx(ctx), digest, NULL);
    ERR_pop_to_mark();
    if (md != NULL)
        algorithm = kms_algorithm_find(kind, scheme, EVP_MD_get0_name(md));
    EVP_MD_free(md);
    return algorithm;
}

/* Without a digest the caller gives a DigestInfo, which takes the digest's place in *input. */
static const kms_algorithm *info_algorithm(const sign_context *ctx, kms_bytes *input)
{
    const kms_algorithm *algorithm =
        kms_digest_info_read(kms_key_kind(ctx->key->key), *input, input);

    return algorithm != NULL ? algorithm
                             : refuse(ctx,
                                      "no digest is set, and the %zu bytes are no DigestInfo "
                                      "of SHA-256, SHA-384 or SHA-512",
                                      input->len);
}

static const kms_algorithm *rsa_algorithm(const sign_context *ctx, kms_bytes *input)
{
    rsa_wish wish = {0};
    const kms_algorithm *algorithm, *mgf1;
    kms_scheme scheme;

    if (!read_rsa_wish(ctx, &wish))
        return refuse(ctx, "the parameters of the signature can't be read");
    if (wish.padding != RSA_PKCS1_PADDING && wish.padding != RSA_PKCS1_PSS_PADDING)
        return refuse(ctx, "RSA padding %d; KMS signs with pkcs1 and pss", wish.padding);
    scheme = wish.padding == RSA_PKCS1_PADDING ? KMS_SCHEME_PKCS1 : KMS_SCHEME_PSS;
    if (scheme == KMS_SCHEME_PKCS1 && wish.digest[0] == '\0')
        return info_algorithm(ctx, input);
    algorithm = find_algorithm(ctx, scheme, wish.digest);
    if (algorithm == NULL)
        return refuse(ctx, "digest %s; KMS has SHA-256, SHA-384 and SHA-512 for RSA",
                      wish.digest[0] != '\0' ? wish.digest : "none");
    if (scheme == KMS_SCHEME_PKCS1)
        return algorithm;
    mgf1 = find_algorithm(ctx, scheme, wish.mgf1);
    if (mgf1 != algorithm)
        return refuse(ctx, "MGF1 with %s; KMS has the digest of the signature there", wish.mgf1);
    if (!salt_fits(wish.salt, algorithm->digest_len))
        return refuse(ctx, "PSS salt length %s; KMS has the digest's (rsa_pss_saltlen:digest)",
                      wish.salt);
    return algorithm;
}

/* NULL with the error raised. *input becomes what KMS gets. */
static const kms_algorithm *algorithm_of(const sign_context *ctx, kms_bytes *input)
{
    const kms_key_spec_row *kind = kms_key_kind(ctx->key->key);

    if (is_a(ctx, "RSA"))
        return rsa_algorithm(ctx, input);
    return kms_algorithm_at(kind, is_a(ctx, "EC") ? KMS_SCHEME_ECDSA : KMS_SCHEME_EDDSA, 0);
}

/* --- signing --- */

static int max_size(const sign_context *ctx, size_t *len)
{
    *len = (size_t)EVP_PKEY_get_size(public_half(ctx));
    return 1;
}

static int sign_input(const sign_context *ctx, unsigned char *signature, size_t *len, size_t room,
                      kms_bytes input)
{
    const kms_algorithm *algorithm;
    kms_buffer made = {0};
    kms_error err = {0};
    size_t most = 0;
    int ok;

    if (ctx->key->key == NULL)
        return provider_raise_status(ctx->provider, KMS_E_KEY_MISSING,
                                     "the object holds a public key alone");
    max_size(ctx, &most);
    if (room < most) {
        kms_fail(&err, KMS_E_BUFFER_TOO_SMALL, "%zu bytes for a signature of up to %zu", room,
                 most);
        return provider_raise(ctx->provider, &err);
    }
    algorithm = algorithm_of(ctx, &input);
    if (algorithm == NULL)
        return 0;
    if (kms_client_sign(ctx->provider->client, ctx->key->key, algorithm, input, &made, &err) !=
        KMS_OK)
        return provider_raise(ctx->provider, &err);
    ok = made.len <= room;
    if (ok)
        memcpy(signature, made.data, made.len);
    else
        provider_raise_status(ctx->provider, KMS_E_BUFFER_TOO_SMALL, "the signature does not fit");
    *len = made.len;
    kms_buffer_clear(&made);
    return ok;
}

static int sign_init(void *data, void *key, const OSSL_PARAM params[])
{
    sign_context *ctx = data;

    ctx->signs = true;
    return raw_init(ctx, key, params, EVP_PKEY_verify_init);
}

static int sign_digest(void *data, unsigned char *signature, size_t *len, size_t room,
                       const unsigned char *digest, size_t digest_len)
{
    const sign_context *ctx = data;

    if (signature == NULL)
        return max_size(ctx, len);
    return sign_input(ctx, signature, len, room, (kms_bytes){digest, digest_len});
}

static int digest_sign_init(void *data, const char *digest, void *key, const OSSL_PARAM params[])
{
    sign_context *ctx = data;
    char name[NAME_SIZE];
    EVP_MD *md;
    int ok;

    ctx->signs = true;
    if (!digest_init(ctx, digest, key, params))
        return 0;
    if (is_a(ctx, "ED25519"))
        return 1;
    read_digest(ctx, name);
    md = EVP_MD_fetch(private_libctx(ctx), name, NULL);
    ctx->hash = EVP_MD_CTX_new();
    ok = md != NULL && ctx->hash != NULL && EVP_DigestInit_ex2(ctx->hash, md, NULL) == 1;
    EVP_MD_free(md);
    return ok ? 1 : provider_raise_status(ctx->provider, KMS_E_ALGORITHM, name);
}

static int digest_sign_update(void *data, const unsigned char *part, size_t len)
{
    sign_context *ctx = data;

    return ctx->hash != NULL && EVP_DigestUpdate(ctx->hash, part, len) == 1;
}

/* The hash goes on afterwards, as OpenSSL allows: a copy is finished. */
static int digest_sign_final(void *data, unsigned char *signature, size_t *len, size_t room)
{
    sign_context *ctx = data;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_len = 0;
    EVP_MD_CTX *copy = NULL;
    int ok;

    if (ctx->hash == NULL)
        return 0;
    if (signature == NULL)
        return max_size(ctx, len);
    ok = copy_md(&copy, ctx->hash) && EVP_DigestFinal_ex(copy, digest, &digest_len) == 1;
    EVP_MD_CTX_free(copy); /* before an ASYNC job may be paused, and abandoned */
    return ok && sign_input(ctx, signature, len, room, (kms_bytes){digest, digest_len});
}

static int eddsa_sign(void *data, unsigned char *signature, size_t *len, size_t room,
                      const unsigned char *message, size_t message_len)
{
    return sign_digest(data, signature, len, room, message, message_len);
}

/* --- verifying, by the shadow --- */

static int verify_init(void *data, void *key, const OSSL_PARAM params[])
{
    sign_context *ctx = data;

    ctx->signs = false;
    return raw_init(ctx, key, params, EVP_PKEY_verify_init);
}

static int verify_digest(void *data, const unsigned char *signature, size_t len,
                         const unsigned char *digest, size_t digest_len)
{
    const sign_context *ctx = data;

    return EVP_PKEY_verify(ctx->shadow, signature, len, digest, digest_len) == 1;
}

static int recover_init(void *data, void *key, const OSSL_PARAM params[])
{
    sign_context *ctx = data;

    ctx->signs = false;
    return raw_init(ctx, key, params, EVP_PKEY_verify_recover_init);
}

static int recover_digest(void *data, unsigned char *digest, size_t *len, size_t room,
                          const unsigned char *signature, size_t signature_len)
{
    const sign_context *ctx = data;

    *len = room;
    return EVP_PKEY_verify_recover(ctx->shadow, digest, len, signature, signature_len) == 1;
}

static int digest_verify_init(void *data, const char *digest, void *key, const OSSL_PARAM params[])
{
    sign_context *ctx = data;

    ctx->signs = false;
    return digest_init(ctx, digest, key, params);
}

static int digest_verify_update(void *data, const unsigned char *part, size_t len)
{
    const sign_context *ctx = data;

    return EVP_DigestVerifyUpdate(ctx->md_shadow, part, len) == 1;
}

static int digest_verify_final(void *data, const unsigned char *signature, size_t len)
{
    const sign_context *ctx = data;

    return EVP_DigestVerifyFinal(ctx->md_shadow, signature, len) == 1;
}

static int eddsa_verify(void *data, const unsigned char *signature, size_t len,
                        const unsigned char *message, size_t message_len)
{
    const sign_context *ctx = data;

    return EVP_DigestVerify(ctx->md_shadow, signature, len, message, message_len) == 1;
}

/* --- parameters, which are the shadow's --- */

static int sign_get_ctx_params(void *data, OSSL_PARAM params[])
{
    const sign_context *ctx = data;

    return shadow_of(ctx) != NULL && EVP_PKEY_CTX_get_params(shadow_of(ctx), params) == 1;
}

static const OSSL_PARAM *sign_gettable_ctx_params(void *data, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)data;
    (void)provider;
    return params;
}

/* A signer that may choose the salt length: KMS chose the digest's, and so says the
 * AlgorithmIdentifier, which the shadow writes. */
static int choose_salt(const sign_context *ctx)
{
    rsa_wish wish = {0};
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN,
                                         OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST, 0),
        OSSL_PARAM_construct_end(),
    };

    if (!ctx->signs || !is_a(ctx, "RSA") || !read_rsa_wish(ctx, &wish) ||
        wish.padding != RSA_PKCS1_PSS_PADDING || !salt_is_open(wish.salt))
        return 1;
    return EVP_PKEY_CTX_set_params(shadow_of(ctx), params) == 1;
}

static int sign_set_ctx_params(void *data, const OSSL_PARAM params[])
{
    const sign_context *ctx = data;
    int ok;

    if (params == NULL || params[0].key == NULL)
        return 1;
    if (shadow_of(ctx) == NULL)
        return 0;
    ERR_set_mark();
    ok = EVP_PKEY_CTX_set_params(shadow_of(ctx), params) == 1 && choose_salt(ctx);
    ERR_pop_to_mark();
    return ok ? 1
              : provider_raise_status(ctx->provider, KMS_E_ALGORITHM,
                                      "a parameter of the signature is not accepted");
}

static const OSSL_PARAM *ecdsa_settable_ctx_params(void *data, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)data;
    (void)provider;
    return params;
}

static const OSSL_PARAM *rsa_settable_ctx_params(void *data, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
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

/* clang-format off */
#define FUNCTIONS_OVER_DIGESTS                                                                     \
    FUNCTION(NEWCTX, sign_newctx),                                                                 \
    FUNCTION(DUPCTX, sign_dupctx),                                                                 \
    FUNCTION(FREECTX, sign_freectx),                                                               \
    FUNCTION(SIGN_INIT, sign_init),                                                                \
    FUNCTION(SIGN, sign_digest),                                                                   \
    FUNCTION(VERIFY_INIT, verify_init),                                                            \
    FUNCTION(VERIFY, verify_digest),                                                               \
    FUNCTION(DIGEST_SIGN_INIT, digest_sign_init),                                                  \
    FUNCTION(DIGEST_SIGN_UPDATE, digest_sign_update),                                              \
    FUNCTION(DIGEST_SIGN_FINAL, digest_sign_final),                                                \
    FUNCTION(DIGEST_VERIFY_INIT, digest_verify_init),                                              \
    FUNCTION(DIGEST_VERIFY_UPDATE, digest_verify_update),                                          \
    FUNCTION(DIGEST_VERIFY_FINAL, digest_verify_final),                                            \
    FUNCTION(GET_CTX_PARAMS, sign_get_ctx_params),                                                 \
    FUNCTION(GETTABLE_CTX_PARAMS, sign_gettable_ctx_params),                                       \
    FUNCTION(SET_CTX_PARAMS, sign_set_ctx_params)
/* clang-format on */

const OSSL_DISPATCH provider_rsa_signature_functions[] = {
    FUNCTIONS_OVER_DIGESTS,
    FUNCTION(VERIFY_RECOVER_INIT, recover_init),
    FUNCTION(VERIFY_RECOVER, recover_digest),
    FUNCTION(SETTABLE_CTX_PARAMS, rsa_settable_ctx_params),
    {0, NULL},
};

const OSSL_DISPATCH provider_ecdsa_functions[] = {
    FUNCTIONS_OVER_DIGESTS,
    FUNCTION(SETTABLE_CTX_PARAMS, ecdsa_settable_ctx_params),
    {0, NULL},
};

/* Ed25519: whole messages only, and no parameters (RFC 8032). */
const OSSL_DISPATCH provider_eddsa_functions[] = {
    FUNCTION(NEWCTX, sign_newctx),
    FUNCTION(DUPCTX, sign_dupctx),
    FUNCTION(FREECTX, sign_freectx),
    FUNCTION(DIGEST_SIGN_INIT, digest_sign_init),
    FUNCTION(DIGEST_SIGN, eddsa_sign),
    FUNCTION(DIGEST_VERIFY_INIT, digest_verify_init),
    FUNCTION(DIGEST_VERIFY, eddsa_verify),
    FUNCTION(GET_CTX_PARAMS, sign_get_ctx_params),
    FUNCTION(GETTABLE_CTX_PARAMS, sign_gettable_ctx_params),
    {0, NULL},
};
