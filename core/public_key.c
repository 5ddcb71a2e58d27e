#include "core/public_key.h"

#include "core/limits.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/x509.h>
#include <string.h>

/* The kind of key that KMS would call this. */
static const kms_key_spec_row *spec_of(const EVP_PKEY *key)
{
    char group[64] = "";
    const kms_key_spec_row *row;

    if (EVP_PKEY_is_a(key, "EC") && !EVP_PKEY_get_group_name(key, group, sizeof(group), NULL))
        return NULL;
    for (size_t i = 0; (row = kms_key_spec_at(i)) != NULL; i++) {
        if (EVP_PKEY_is_a(key, row->type) && EVP_PKEY_get_bits(key) == row->bits &&
            strcmp(row->group != NULL ? row->group : "", group) == 0)
            return row;
    }
    return NULL;
}

kms_status kms_public_key_read(OSSL_LIB_CTX *libctx, kms_bytes spki,
                               const kms_key_spec_row *expected, EVP_PKEY **out,
                               const kms_key_spec_row **spec, kms_error *err)
{
    const unsigned char *at = spki.data;
    const kms_key_spec_row *found = NULL;
    EVP_PKEY *key = NULL;
    const char *fault = NULL;

    *out = NULL;
    ERR_set_mark(); /* the thread's error queue is the application's */
    if (spki.len != 0 && spki.len <= KMS_PUBLIC_KEY_MAX)
        key = d2i_PUBKEY_ex(NULL, &at, (long)spki.len, libctx, NULL);
    if (key == NULL || at != spki.data + spki.len)
        fault = "it is not one whole SubjectPublicKeyInfo";
    else if ((found = spec_of(key)) == NULL)
        fault = "it is of a kind that KMS keys are not";
    else if (expected != NULL && found != expected)
        fault = "it is of another kind than the key";
    ERR_pop_to_mark();
    if (fault != NULL) {
        EVP_PKEY_free(key);
        return kms_fail(err, KMS_E_PUBLIC_KEY, "%s%s%s", fault, expected != NULL ? ": " : "",
                        expected != NULL ? expected->name : "");
    }
    *out = key;
    if (spec != NULL)
        *spec = found;
    return KMS_OK;
}

static bool set_padding(EVP_PKEY_CTX *ctx, const kms_algorithm *algorithm)
{
    OSSL_PARAM params[6], *p = params;
    char *digest = (char *)(uintptr_t)algorithm->digest;
    const bool pss = algorithm->scheme == KMS_SCHEME_PSS;
    char *padding = pss ? OSSL_PKEY_RSA_PAD_MODE_PSS : OSSL_PKEY_RSA_PAD_MODE_PKCSV15;

    if (algorithm->scheme != KMS_SCHEME_PKCS1 && !pss)
        return true;
    *p++ = OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, padding, 0);
    *p++ = OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, digest, 0);
    if (pss) {
        *p++ = OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, digest, 0);
        *p++ = OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN,
                                                OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST, 0);
    }
    *p = OSSL_PARAM_construct_end();
    return EVP_PKEY_CTX_set_params(ctx, params) == 1;
}

static bool verifies_digest(EVP_PKEY_CTX *ctx, const kms_algorithm *algorithm, kms_bytes digest,
                            kms_bytes signature)
{
    return ctx != NULL && EVP_PKEY_verify_init(ctx) == 1 && set_padding(ctx, algorithm) &&
           EVP_PKEY_verify(ctx, signature.data, signature.len, digest.data, digest.len) == 1;
}

/* mu: the message is what ML-DSA makes of it. */
static bool verifies_message(EVP_MD_CTX *ctx, OSSL_LIB_CTX *libctx, EVP_PKEY *key, bool mu,
                             kms_bytes message, kms_bytes signature)
{
    int yes = 1;
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_int("mu", &yes), OSSL_PARAM_construct_end()};

    return ctx != NULL &&
           EVP_DigestVerifyInit_ex(ctx, NULL, NULL, libctx, NULL, key, mu ? params : NULL) == 1 &&
           EVP_DigestVerify(ctx, signature.data, signature.len, message.data, message.len) == 1;
}

bool kms_public_key_verifies(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const kms_algorithm *algorithm,
                             kms_bytes input, kms_bytes signature)
{
    EVP_PKEY_CTX *digest_ctx = NULL;
    EVP_MD_CTX *message_ctx = NULL;
    bool good;

    ERR_set_mark();
    if (algorithm->scheme == KMS_SCHEME_EDDSA || algorithm->scheme == KMS_SCHEME_ML_DSA) {
        message_ctx = EVP_MD_CTX_new();
        good = verifies_message(message_ctx, libctx, key, algorithm->scheme == KMS_SCHEME_ML_DSA,
                                input, signature);
    } else {
        digest_ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
        good = verifies_digest(digest_ctx, algorithm, input, signature);
    }
    EVP_MD_CTX_free(message_ctx);
    EVP_PKEY_CTX_free(digest_ctx);
    ERR_pop_to_mark();
    return good;
}
