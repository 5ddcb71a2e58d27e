/* Key management of RSA, EC, Ed25519, ML-DSA and ML-KEM keys in KMS. Their public half is an
 * ordinary key in the private library context, which answers everything that is public; the private
 * half is in KMS.
 *
 * They go by OpenSSL's own names, for TLS to take them, so they must never take over ordinary keys:
 * importing is refused, but for the public half of an EC key, since OpenSSL hands the peer's key of
 * ECDH over so. And exporting is refused whenever the private half is asked for: otherwise OpenSSL
 * signs with the other provider's copy of the public half, and fails. */
#include "include/kms/kms_provider.h"
#include "provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

static OSSL_FUNC_keymgmt_has_fn asym_has;
static OSSL_FUNC_keymgmt_match_fn asym_match;
static OSSL_FUNC_keymgmt_validate_fn asym_validate;
static OSSL_FUNC_keymgmt_get_params_fn asym_get_params;
static OSSL_FUNC_keymgmt_gettable_params_fn rsa_gettable_params;
static OSSL_FUNC_keymgmt_gettable_params_fn ec_gettable_params;
static OSSL_FUNC_keymgmt_gettable_params_fn raw_gettable_params;
static OSSL_FUNC_keymgmt_export_fn asym_export;
static OSSL_FUNC_keymgmt_export_types_fn rsa_types;
static OSSL_FUNC_keymgmt_export_types_fn ec_types;
static OSSL_FUNC_keymgmt_export_types_fn raw_types;
static OSSL_FUNC_keymgmt_import_fn ec_import;
static OSSL_FUNC_keymgmt_dup_fn ec_dup;
static OSSL_FUNC_keymgmt_set_params_fn ec_set_params;
static OSSL_FUNC_keymgmt_settable_params_fn ec_settable_params;
static OSSL_FUNC_keymgmt_query_operation_name_fn ec_operation_name;

/* The private half counts as there: KMS has it. */
static int asym_has(const void *data, int selection)
{
    const provider_key *key = data;
    size_t len;

    if (provider_key_public(key) == NULL)
        return 0;
    if (key->key != NULL)
        return 1;
    if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0)
        return 0;
    return (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) == 0 ||
           EVP_PKEY_get_octet_string_param(key->local, OSSL_PKEY_PARAM_PUB_KEY, NULL, 0, &len);
}

static int asym_match(const void *a, const void *b, int selection)
{
    EVP_PKEY *x = provider_key_public(a), *y = provider_key_public(b);
    int same;

    if (x == NULL || y == NULL)
        return 0;
    ERR_set_mark();
    same = (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0 ? EVP_PKEY_eq(x, y) == 1
                                                          : EVP_PKEY_parameters_eq(x, y) == 1;
    ERR_pop_to_mark();
    return same;
}

static int asym_validate(const void *data, int selection, int checktype)
{
    const provider_key *key = data;
    EVP_PKEY *public = provider_key_public(key);
    EVP_PKEY_CTX *ctx;
    int good;

    (void)selection;
    (void)checktype;
    if (public == NULL)
        return 0;
    ERR_set_mark();
    ctx = EVP_PKEY_CTX_new_from_pkey(kms_client_libctx(key->provider->client), public, NULL);
    good = ctx != NULL && EVP_PKEY_public_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    ERR_pop_to_mark();
    return good;
}

static int asym_get_params(void *data, OSSL_PARAM params[])
{
    const provider_key *key = data;
    EVP_PKEY *public = provider_key_public(key);
    OSSL_PARAM *p = OSSL_PARAM_locate(params, KMS_PROVIDER_PARAM_ARN);

    if (public == NULL)
        return 0;
    if (p != NULL && (key->key == NULL || !OSSL_PARAM_set_utf8_string(p, kms_key_arn(key->key))))
        return 0;
    return EVP_PKEY_get_params(public, params) == 1;
}

#define GETTABLE_OF_ALL                                                                            \
    OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),                                                    \
        OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),                                       \
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),                                            \
        OSSL_PARAM_utf8_string(KMS_PROVIDER_PARAM_ARN, NULL, 0)

static const OSSL_PARAM *rsa_gettable_params(void *provider)
{
    static const OSSL_PARAM params[] = {
        GETTABLE_OF_ALL,
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provider;
    return params;
}

static const OSSL_PARAM *ec_gettable_params(void *provider)
{
    static const OSSL_PARAM params[] = {
        GETTABLE_OF_ALL,
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_PUB_X, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_PUB_Y, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_FIELD_TYPE, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_P, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_A, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_B, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_EC_GENERATOR, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_ORDER, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_COFACTOR, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provider;
    return params;
}

/* Of keys whose public half is bytes and nothing else. */
static const OSSL_PARAM *raw_gettable_params(void *provider)
{
    static const OSSL_PARAM params[] = {
        GETTABLE_OF_ALL,
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provider;
    return params;
}

/* The refusal raises no error: OpenSSL tries this on its way to our own signature functions. */
static int asym_export(void *data, int selection, OSSL_CALLBACK *callback, void *arg)
{
    EVP_PKEY *public = provider_key_public(data);
    OSSL_PARAM *params = NULL;
    int ok;

    if (public == NULL || (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0)
        return 0;
    ERR_set_mark();
    ok = EVP_PKEY_todata(public, selection, &params) == 1;
    ERR_pop_to_mark();
    ok = ok && callback(params, arg);
    OSSL_PARAM_free(params);
    return ok;
}

static const OSSL_PARAM *rsa_types(int selection)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
        OSSL_PARAM_END,
    };

    return (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 ? types : NULL;
}

static const OSSL_PARAM *ec_types(int selection)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_END,
    };

    return (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 ? types : NULL;
}

static const OSSL_PARAM *raw_types(int selection)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_END,
    };

    return (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 ? types : NULL;
}

/* --- EC keys that aren't in KMS: peers, and the empty ones that OpenSSL builds peers from --- */

/* Takes public halves and parameters. A private key of another provider stays there. */
static int ec_import(void *data, int selection, const OSSL_PARAM params[])
{
    provider_key *key = data;
    bool public = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PUB_KEY) != NULL;
    EVP_PKEY_CTX *ctx = NULL;
    int ok = 0;

    (void)selection;
    if (key->key != NULL || key->local != NULL || key->provider->client == NULL ||
        OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PRIV_KEY) != NULL)
        return 0;
    ERR_set_mark();
    ctx = EVP_PKEY_CTX_new_from_name(kms_client_libctx(key->provider->client), "EC", NULL);
    ok = ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
         EVP_PKEY_fromdata(ctx, &key->local, public ? EVP_PKEY_PUBLIC_KEY : EVP_PKEY_KEY_PARAMETERS,
                           (OSSL_PARAM *)(uintptr_t)params) == 1;
    ERR_pop_to_mark();
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* A whole key is shared. What is less can get another public half, so it is a copy. */
static void *ec_dup(const void *data, int selection)
{
    const provider_key *key = data;
    EVP_PKEY *public = provider_key_public(key);
    provider_key *copy;

    if (public == NULL || (key->key != NULL && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0))
        return provider_keymgmt_dup(data, selection);
    copy = provider_key_new(key->provider, NULL, NULL);
    if (copy == NULL)
        return NULL;
    if ((selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0)
        copy->local = EVP_PKEY_dup(public);
    else if ((copy->local = EVP_PKEY_new()) != NULL &&
             EVP_PKEY_copy_parameters(copy->local, public) != 1) {
        EVP_PKEY_free(copy->local);
        copy->local = NULL;
    }
    if (copy->local == NULL) {
        provider_key_free(copy);
        return NULL;
    }
    return copy;
}

static int ec_set_params(void *data, const OSSL_PARAM params[])
{
    const provider_key *key = data;

    if (params == NULL || params[0].key == NULL)
        return 1;
    if (key->key != NULL || key->local == NULL)
        return provider_raise_status(key->provider, KMS_E_UNSUPPORTED, "a KMS key never changes");
    return EVP_PKEY_set_params(key->local, (OSSL_PARAM *)(uintptr_t)params) == 1;
}

static const OSSL_PARAM *ec_settable_params(void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provider;
    return params;
}

static const char *ec_operation_name(int operation)
{
    return operation == OSSL_OP_KEYEXCH ? "ECDH" : "ECDSA";
}

#define FUNCTION(id, name)                                                                         \
    {                                                                                              \
        OSSL_FUNC_KEYMGMT_##id, (void (*)(void))(name)                                             \
    }

/* clang-format off */
#define FUNCTIONS_OF_ALL                                                                           \
    FUNCTION(NEW, provider_keymgmt_new),                                                           \
    FUNCTION(FREE, provider_keymgmt_free),                                                         \
    FUNCTION(LOAD, provider_keymgmt_load),                                                         \
    FUNCTION(HAS, asym_has),                                                                       \
    FUNCTION(MATCH, asym_match),                                                                   \
    FUNCTION(VALIDATE, asym_validate),                                                             \
    FUNCTION(GET_PARAMS, asym_get_params),                                                         \
    FUNCTION(EXPORT, asym_export),                                                                 \
    FUNCTION(GEN_SET_PARAMS, provider_gen_set_params),                                             \
    FUNCTION(GEN_SETTABLE_PARAMS, provider_gen_settable_params),                                   \
    FUNCTION(GEN, provider_gen),                                                                   \
    FUNCTION(GEN_CLEANUP, provider_gen_cleanup)
/* clang-format on */

const OSSL_DISPATCH provider_rsa_keymgmt_functions[] = {
    FUNCTIONS_OF_ALL,
    FUNCTION(DUP, provider_keymgmt_dup),
    FUNCTION(IMPORT, provider_keymgmt_import),
    FUNCTION(GETTABLE_PARAMS, rsa_gettable_params),
    FUNCTION(IMPORT_TYPES, rsa_types),
    FUNCTION(EXPORT_TYPES, rsa_types),
    FUNCTION(GEN_INIT, provider_gen_init_rsa),
    {0, NULL},
};

const OSSL_DISPATCH provider_ec_keymgmt_functions[] = {
    FUNCTIONS_OF_ALL,
    FUNCTION(DUP, ec_dup),
    FUNCTION(IMPORT, ec_import),
    FUNCTION(SET_PARAMS, ec_set_params),
    FUNCTION(SETTABLE_PARAMS, ec_settable_params),
    FUNCTION(GETTABLE_PARAMS, ec_gettable_params),
    FUNCTION(IMPORT_TYPES, ec_types),
    FUNCTION(EXPORT_TYPES, ec_types),
    FUNCTION(QUERY_OPERATION_NAME, ec_operation_name),
    FUNCTION(GEN_INIT, provider_gen_init_ec),
    {0, NULL},
};

#define RAW_KEYMGMT(name)                                                                          \
    const OSSL_DISPATCH provider_##name##_keymgmt_functions[] = {                                  \
        FUNCTIONS_OF_ALL,                                                                          \
        FUNCTION(DUP, provider_keymgmt_dup),                                                       \
        FUNCTION(IMPORT, provider_keymgmt_import),                                                 \
        FUNCTION(GETTABLE_PARAMS, raw_gettable_params),                                            \
        FUNCTION(IMPORT_TYPES, raw_types),                                                         \
        FUNCTION(EXPORT_TYPES, raw_types),                                                         \
        FUNCTION(GEN_INIT, provider_gen_init_##name),                                              \
        {0, NULL},                                                                                 \
    }

RAW_KEYMGMT(ed25519);
RAW_KEYMGMT(mldsa44);
RAW_KEYMGMT(mldsa65);
RAW_KEYMGMT(mldsa87);
RAW_KEYMGMT(mlkem);
