/* RSA encryption. Decrypting is KMS Decrypt with OAEP, all that KMS has. Encrypting and the
 * parameters of both are left to a shadow: an ordinary encryption of the default provider in the
 * private library context, with the key's public half. */
#include "core/asymmetric.h"
#include "core/log.h"
#include "provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct rsa_context {
    kms_provider *provider;
    provider_key *key; /* a reference; NULL before init */
    EVP_PKEY_CTX *shadow;
} rsa_context;

static OSSL_FUNC_asym_cipher_newctx_fn rsa_newctx;
static OSSL_FUNC_asym_cipher_dupctx_fn rsa_dupctx;
static OSSL_FUNC_asym_cipher_freectx_fn rsa_freectx;
static OSSL_FUNC_asym_cipher_encrypt_init_fn rsa_init;
static OSSL_FUNC_asym_cipher_encrypt_fn rsa_encrypt;
static OSSL_FUNC_asym_cipher_decrypt_fn rsa_decrypt;
static OSSL_FUNC_asym_cipher_get_ctx_params_fn rsa_get_ctx_params;
static OSSL_FUNC_asym_cipher_gettable_ctx_params_fn rsa_gettable_ctx_params;
static OSSL_FUNC_asym_cipher_set_ctx_params_fn rsa_set_ctx_params;
static OSSL_FUNC_asym_cipher_settable_ctx_params_fn rsa_settable_ctx_params;

static void *rsa_newctx(void *provider)
{
    rsa_context *ctx = calloc(1, sizeof(*ctx));

    if (ctx != NULL)
        ctx->provider = provider;
    return ctx;
}

static void rsa_freectx(void *data)
{
    rsa_context *ctx = data;

    if (ctx == NULL)
        return;
    EVP_PKEY_CTX_free(ctx->shadow);
    provider_key_free(ctx->key);
    free(ctx);
}

static void *rsa_dupctx(void *data)
{
    const rsa_context *ctx = data;
    rsa_context *copy = rsa_newctx(ctx->provider);

    if (copy == NULL)
        return NULL;
    copy->key = ctx->key != NULL ? provider_key_ref(ctx->key) : NULL;
    copy->shadow = ctx->shadow != NULL ? EVP_PKEY_CTX_dup(ctx->shadow) : NULL;
    if (ctx->shadow != NULL && copy->shadow == NULL) {
        rsa_freectx(copy);
        return NULL;
    }
    return copy;
}

/* The shadow encrypts for both directions: it takes the same parameters, and needs no private key.
 */
static int rsa_init(void *data, void *new_key, const OSSL_PARAM params[])
{
    rsa_context *ctx = data;
    provider_key *key = new_key != NULL ? new_key : ctx->key;

    if (key == NULL || key->key == NULL || kms_key_public(key->key) == NULL)
        return provider_raise_status(ctx->provider, KMS_E_KEY_MISSING,
                                     "the object holds no RSA key in KMS");
    key = provider_key_ref(key);
    provider_key_free(ctx->key);
    ctx->key = key;
    EVP_PKEY_CTX_free(ctx->shadow);
    ctx->shadow = EVP_PKEY_CTX_new_from_pkey(kms_client_libctx(ctx->provider->client),
                                             kms_key_public(key->key), NULL);
    if (ctx->shadow == NULL || EVP_PKEY_encrypt_init(ctx->shadow) != 1)
        return provider_raise_status(ctx->provider, KMS_E_NO_MEMORY, "RSA encryption");
    return rsa_set_ctx_params(ctx, params);
}

static int rsa_encrypt(void *data, unsigned char *out, size_t *out_len, size_t room,
                       const unsigned char *in, size_t in_len)
{
    const rsa_context *ctx = data;
    size_t len = out != NULL ? room : 0;
    const char *reason;

    ERR_set_mark();
    if (EVP_PKEY_encrypt(ctx->shadow, out, &len, in, in_len) != 1) {
        reason = ERR_reason_error_string(ERR_peek_last_error());
        ERR_pop_to_mark();
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT,
                                     reason != NULL ? reason : "RSA encryption");
    }
    ERR_pop_to_mark();
    *out_len = len;
    return 1;
}

/* --- what decryption is asked for --- */

typedef struct oaep_wish {
    int padding;
    char digest[64], mgf1[64];
    unsigned char *label;
    bool labelled;
} oaep_wish;

static bool read_wish(const rsa_context *ctx, oaep_wish *wish)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, &wish->padding),
        OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, wish->digest,
                                         sizeof(wish->digest)),
        OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, wish->mgf1,
                                         sizeof(wish->mgf1)),
        OSSL_PARAM_construct_octet_ptr(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, (void **)&wish->label, 0),
        OSSL_PARAM_construct_end(),
    };
    bool ok;

    ERR_set_mark();
    ok = EVP_PKEY_CTX_get_params(ctx->shadow, params) == 1;
    ERR_pop_to_mark();
    wish->labelled = params[3].return_size != 0 && params[3].return_size != OSSL_PARAM_UNMODIFIED;
    return ok;
}

/* The error of a padding. For PKCS#1 v1.5 it goes to the log too, once in a process: against
 * Bleichenbacher's attack CMS and TLS drop the reason of such a failure and go on with a random
 * key.
 */
static void refuse_padding(const rsa_context *ctx, int padding, kms_error *err)
{
    static atomic_flag said = ATOMIC_FLAG_INIT;

    kms_fail(err, KMS_E_ALGORITHM,
             "RSA padding %d; KMS decrypts OAEP alone (rsa_padding_mode:oaep)", padding);
    if ((padding == RSA_PKCS1_PADDING || padding == RSA_PKCS1_WITH_TLS_PADDING) &&
        !atomic_flag_test_and_set(&said))
        kms_log_error(kms_client_config(ctx->provider->client), "EVP_PKEY_decrypt", err);
}

/* NULL with the error raised. */
static const kms_algorithm *algorithm_of(const rsa_context *ctx)
{
    const kms_key_spec_row *kind = kms_key_kind(ctx->key->key);
    const kms_algorithm *algorithm = NULL;
    oaep_wish wish = {0};
    kms_error err = {0};

    if (!read_wish(ctx, &wish)) {
        kms_fail(&err, KMS_E_ALGORITHM, "the parameters of the decryption can't be read");
    } else if (wish.padding != RSA_PKCS1_OAEP_PADDING) {
        refuse_padding(ctx, wish.padding, &err);
    } else if ((algorithm = kms_algorithm_find(kind, KMS_SCHEME_OAEP, wish.digest)) == NULL) {
        kms_fail(&err, KMS_E_ALGORITHM, "OAEP with %s; KMS has SHA-1 and SHA-256 there",
                 wish.digest);
    } else if (kms_algorithm_find(kind, KMS_SCHEME_OAEP, wish.mgf1) != algorithm) {
        kms_fail(&err, KMS_E_ALGORITHM,
                 "MGF1 with %s and OAEP with %s; KMS has one digest for both", wish.mgf1,
                 wish.digest);
    } else if (wish.labelled) {
        kms_fail(&err, KMS_E_ALGORITHM, "an OAEP label; KMS has none");
    } else {
        return algorithm;
    }
    provider_raise(ctx->provider, &err);
    return NULL;
}

static int rsa_decrypt(void *data, unsigned char *out, size_t *out_len, size_t room,
                       const unsigned char *in, size_t in_len)
{
    const rsa_context *ctx = data;
    const kms_algorithm *algorithm = algorithm_of(ctx);
    kms_secret plaintext = {0};
    kms_error err = {0};
    int ok;

    if (algorithm == NULL)
        return 0;
    if (out == NULL) {
        *out_len = (size_t)EVP_PKEY_get_size(kms_key_public(ctx->key->key));
        return 1;
    }
    ok = kms_client_decrypt(ctx->provider->client, ctx->key->key, algorithm,
                            (kms_bytes){in, in_len}, &plaintext, &err) == KMS_OK ||
         provider_raise(ctx->provider, &err);
    if (ok && plaintext.len > room)
        ok = provider_raise_status(ctx->provider, KMS_E_BUFFER_TOO_SMALL,
                                   "the plaintext does not fit");
    if (ok) {
        memcpy(out, plaintext.data, plaintext.len);
        *out_len = plaintext.len;
    }
    kms_secret_clear(&plaintext);
    return ok;
}

/* --- parameters, which are the shadow's --- */

static int rsa_get_ctx_params(void *data, OSSL_PARAM params[])
{
    const rsa_context *ctx = data;

    return ctx->shadow != NULL && EVP_PKEY_CTX_get_params(ctx->shadow, params) == 1;
}

static const OSSL_PARAM *rsa_gettable_ctx_params(void *data, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_octet_ptr(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)data;
    (void)provider;
    return params;
}

static int rsa_set_ctx_params(void *data, const OSSL_PARAM params[])
{
    const rsa_context *ctx = data;
    int ok;

    if (params == NULL || params[0].key == NULL)
        return 1;
    if (ctx->shadow == NULL)
        return 0;
    ERR_set_mark();
    ok = EVP_PKEY_CTX_set_params(ctx->shadow, params) == 1;
    ERR_pop_to_mark();
    return ok ? 1
              : provider_raise_status(ctx->provider, KMS_E_ALGORITHM,
                                      "a parameter of the RSA encryption is not accepted");
}

static const OSSL_PARAM *rsa_settable_ctx_params(void *data, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST_PROPS, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST_PROPS, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)data;
    (void)provider;
    return params;
}

#define FUNCTION(id, name)                                                                         \
    {                                                                                              \
        OSSL_FUNC_ASYM_CIPHER_##id, (void (*)(void))(name)                                         \
    }

const OSSL_DISPATCH provider_rsa_asym_cipher_functions[] = {
    FUNCTION(NEWCTX, rsa_newctx),
    FUNCTION(DUPCTX, rsa_dupctx),
    FUNCTION(FREECTX, rsa_freectx),
    FUNCTION(ENCRYPT_INIT, rsa_init),
    FUNCTION(ENCRYPT, rsa_encrypt),
    FUNCTION(DECRYPT_INIT, rsa_init),
    FUNCTION(DECRYPT, rsa_decrypt),
    FUNCTION(GET_CTX_PARAMS, rsa_get_ctx_params),
    FUNCTION(GETTABLE_CTX_PARAMS, rsa_gettable_ctx_params),
    FUNCTION(SET_CTX_PARAMS, rsa_set_ctx_params),
    FUNCTION(SETTABLE_CTX_PARAMS, rsa_settable_ctx_params),
    {0, NULL},
};
