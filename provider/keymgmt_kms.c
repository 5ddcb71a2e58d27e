/* Key management of the types KMS and KMS-HMAC: opaque symmetric keys, to encrypt with and to
 * authenticate with. There is nothing to import or export: the material never leaves KMS. */
#include "core/algorithm.h"
#include "include/kms/kms_provider.h"
#include "provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <string.h>

#define KEY_BITS 256

static OSSL_FUNC_keymgmt_has_fn keymgmt_has;
static OSSL_FUNC_keymgmt_match_fn keymgmt_match;
static OSSL_FUNC_keymgmt_get_params_fn keymgmt_get_params;
static OSSL_FUNC_keymgmt_gettable_params_fn keymgmt_gettable_params;
static OSSL_FUNC_keymgmt_gettable_params_fn hmac_gettable_params;
static OSSL_FUNC_keymgmt_import_types_fn keymgmt_types;
static OSSL_FUNC_keymgmt_export_fn keymgmt_export;

static int keymgmt_has(const void *data, int selection)
{
    const provider_key *key = data;

    (void)selection;
    return key != NULL && key->key != NULL;
}

static int keymgmt_match(const void *a, const void *b, int selection)
{
    const provider_key *x = a, *y = b;

    if ((selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0)
        return 1; /* parameters: there are none that could differ */
    return x->key != NULL && y->key != NULL &&
           strcmp(kms_key_arn(x->key), kms_key_arn(y->key)) == 0;
}

/* An HMAC key's only algorithm; NULL: it is no such key. */
static const kms_algorithm *mac_of(const provider_key *key)
{
    const kms_key_spec_row *kind = key->key != NULL ? kms_key_kind(key->key) : NULL;

    return kind != NULL ? kms_algorithm_at(kind, KMS_SCHEME_HMAC, 0) : NULL;
}

static int keymgmt_get_params(void *data, OSSL_PARAM params[])
{
    const provider_key *key = data;
    const kms_algorithm *mac = mac_of(key);
    const int bits = mac != NULL ? mac->bits : KEY_BITS;
    OSSL_PARAM *p;

    if ((p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_BITS)) != NULL &&
        !OSSL_PARAM_set_int(p, bits))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_SECURITY_BITS)) != NULL &&
        !OSSL_PARAM_set_int(p, bits))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_MAX_SIZE)) != NULL &&
        !OSSL_PARAM_set_int(p, mac != NULL ? (int)mac->digest_len : KMS_CIPHERTEXT_MAX))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_DEFAULT_DIGEST)) != NULL &&
        (mac == NULL || !OSSL_PARAM_set_utf8_string(p, mac->digest)))
        return 0;
    if ((p = OSSL_PARAM_locate(params, KMS_PROVIDER_PARAM_ARN)) != NULL &&
        (key->key == NULL || !OSSL_PARAM_set_utf8_string(p, kms_key_arn(key->key))))
        return 0;
    return 1;
}

#define GETTABLE_OF_BOTH                                                                           \
    OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),                                                    \
        OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),                                       \
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),                                            \
        OSSL_PARAM_utf8_string(KMS_PROVIDER_PARAM_ARN, NULL, 0)

static const OSSL_PARAM *keymgmt_gettable_params(void *provider)
{
    static const OSSL_PARAM params[] = {GETTABLE_OF_BOTH, OSSL_PARAM_END};

    (void)provider;
    return params;
}

static const OSSL_PARAM *hmac_gettable_params(void *provider)
{
    static const OSSL_PARAM params[] = {
        GETTABLE_OF_BOTH,
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provider;
    return params;
}

static int keymgmt_export(void *data, int selection, OSSL_CALLBACK *callback, void *arg)
{
    const provider_key *key = data;

    (void)selection;
    (void)callback;
    (void)arg;
    return provider_raise_status(key->provider, KMS_E_NOT_EXPORTABLE,
                                 key->key != NULL ? kms_key_arn(key->key) : "no key");
}

static const OSSL_PARAM *keymgmt_types(int selection)
{
    static const OSSL_PARAM none[] = {OSSL_PARAM_END};

    (void)selection;
    return none;
}

#define FUNCTION(id, name)                                                                         \
    {                                                                                              \
        OSSL_FUNC_KEYMGMT_##id, (void (*)(void))(name)                                             \
    }

/* clang-format off */
#define FUNCTIONS_OF_BOTH                                                                          \
    FUNCTION(NEW, provider_keymgmt_new),                                                           \
    FUNCTION(FREE, provider_keymgmt_free),                                                         \
    FUNCTION(DUP, provider_keymgmt_dup),                                                           \
    FUNCTION(LOAD, provider_keymgmt_load),                                                         \
    FUNCTION(HAS, keymgmt_has),                                                                    \
    FUNCTION(MATCH, keymgmt_match),                                                                \
    FUNCTION(GET_PARAMS, keymgmt_get_params),                                                      \
    FUNCTION(IMPORT, provider_keymgmt_import),                                                     \
    FUNCTION(IMPORT_TYPES, keymgmt_types),                                                         \
    FUNCTION(EXPORT, keymgmt_export),                                                              \
    FUNCTION(EXPORT_TYPES, keymgmt_types),                                                         \
    FUNCTION(GEN_SET_PARAMS, provider_gen_set_params),                                             \
    FUNCTION(GEN_SETTABLE_PARAMS, provider_gen_settable_params),                                   \
    FUNCTION(GEN, provider_gen),                                                                   \
    FUNCTION(GEN_CLEANUP, provider_gen_cleanup)
/* clang-format on */

const OSSL_DISPATCH provider_kms_keymgmt_functions[] = {
    FUNCTIONS_OF_BOTH,
    FUNCTION(GETTABLE_PARAMS, keymgmt_gettable_params),
    FUNCTION(GEN_INIT, provider_gen_init_kms),
    {0, NULL},
};

const OSSL_DISPATCH provider_hmac_keymgmt_functions[] = {
    FUNCTIONS_OF_BOTH,
    FUNCTION(GETTABLE_PARAMS, hmac_gettable_params),
    FUNCTION(GEN_INIT, provider_gen_init_hmac),
    {0, NULL},
};
