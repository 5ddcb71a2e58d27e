/* Key management of RSA, EC and Ed25519 keys in KMS. Their public half is an ordinary key in the
 * private library context, which answers everything that is public; the private half is in KMS.
 *
 * They go by OpenSSL's own names, for TLS to take them, so they must never take over ordinary keys:
 * importing is refused. And exporting is refused whenever the private half is asked for: otherwise
 * OpenSSL signs with the other provider's copy of the public half, and fails. */
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
static OSSL_FUNC_keymgmt_gettable_params_fn ed25519_gettable_params;
static OSSL_FUNC_keymgmt_export_fn asym_export;
static OSSL_FUNC_keymgmt_export_types_fn rsa_types;
static OSSL_FUNC_keymgmt_export_types_fn ec_types;
static OSSL_FUNC_keymgmt_export_types_fn ed25519_types;
static OSSL_FUNC_keymgmt_query_operation_name_fn ec_operation_name;

static EVP_PKEY *public_half(const provider_key *key)
{
    return key != NULL && key->key != NULL ? kms_key_public(key->key) : NULL;
}

/* The private half counts as there: KMS has it. */
static int asym_has(const void *data, int selection)
{
    (void)selection;
    return public_half(data) != NULL;
}

static int asym_match(const void *a, const void *b, int selection)
{
    EVP_PKEY *x = public_half(a), *y = public_half(b);
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
    EVP_PKEY *public = public_half(key);
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
    EVP_PKEY *public = public_half(key);
    OSSL_PARAM *p = OSSL_PARAM_locate(params, KMS_PROVIDER_PARAM_ARN);

    if (public == NULL)
        return 0;
    if (p != NULL && !OSSL_PARAM_set_utf8_string(p, kms_key_arn(key->key)))
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

static const OSSL_PARAM *ed25519_gettable_params(void *provider)
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
    EVP_PKEY *public = public_half(data);
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

static const OSSL_PARAM *ed25519_types(int selection)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_END,
    };

    return (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 ? types : NULL;
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
    FUNCTION(DUP, provider_keymgmt_dup),                                                           \
    FUNCTION(LOAD, provider_keymgmt_load),                                                         \
    FUNCTION(IMPORT, provider_keymgmt_import),                                                     \
    FUNCTION(HAS, asym_has),                                                                       \
    FUNCTION(MATCH, asym_match),                                                                   \
    FUNCTION(VALIDATE, asym_validate),                                                             \
    FUNCTION(GET_PARAMS, asym_get_params),                                                         \
    FUNCTION(EXPORT, asym_export)
/* clang-format on */

const OSSL_DISPATCH provider_rsa_keymgmt_functions[] = {
    FUNCTIONS_OF_ALL,
    FUNCTION(GETTABLE_PARAMS, rsa_gettable_params),
    FUNCTION(IMPORT_TYPES, rsa_types),
    FUNCTION(EXPORT_TYPES, rsa_types),
    {0, NULL},
};

const OSSL_DISPATCH provider_ec_keymgmt_functions[] = {
    FUNCTIONS_OF_ALL,
    FUNCTION(GETTABLE_PARAMS, ec_gettable_params),
    FUNCTION(IMPORT_TYPES, ec_types),
    FUNCTION(EXPORT_TYPES, ec_types),
    FUNCTION(QUERY_OPERATION_NAME, ec_operation_name),
    {0, NULL},
};

const OSSL_DISPATCH provider_ed25519_keymgmt_functions[] = {
    FUNCTIONS_OF_ALL,
    FUNCTION(GETTABLE_PARAMS, ed25519_gettable_params),
    FUNCTION(IMPORT_TYPES, ed25519_types),
    FUNCTION(EXPORT_TYPES, ed25519_types),
    {0, NULL},
};
