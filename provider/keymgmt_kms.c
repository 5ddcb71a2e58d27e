/* Key management of the type KMS: an opaque symmetric key. There is nothing to generate, import or
 * export: the material never leaves KMS. */
#include "include/kms/kms_provider.h"
#include "provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BITS 256

provider_key *provider_key_new(kms_provider *provider, kms_key *key, kms_context *context)
{
    provider_key *object = calloc(1, sizeof(*object));

    if (object == NULL) {
        kms_key_free(key);
        kms_context_free(context);
        return NULL;
    }
    atomic_init(&object->references, 1);
    object->provider = provider;
    object->key = key;
    object->context = context;
    return object;
}

provider_key *provider_key_ref(provider_key *key)
{
    atomic_fetch_add(&key->references, 1);
    return key;
}

void provider_key_free(provider_key *key)
{
    if (key == NULL || atomic_fetch_sub(&key->references, 1) != 1)
        return;
    kms_key_free(key->key);
    kms_context_free(key->context);
    free(key);
}

static OSSL_FUNC_keymgmt_new_fn keymgmt_new;
static OSSL_FUNC_keymgmt_free_fn keymgmt_free;
static OSSL_FUNC_keymgmt_dup_fn keymgmt_dup;
static OSSL_FUNC_keymgmt_load_fn keymgmt_load;
static OSSL_FUNC_keymgmt_has_fn keymgmt_has;
static OSSL_FUNC_keymgmt_match_fn keymgmt_match;
static OSSL_FUNC_keymgmt_get_params_fn keymgmt_get_params;
static OSSL_FUNC_keymgmt_gettable_params_fn keymgmt_gettable_params;
static OSSL_FUNC_keymgmt_import_fn keymgmt_import;
static OSSL_FUNC_keymgmt_import_types_fn keymgmt_types;
static OSSL_FUNC_keymgmt_export_fn keymgmt_export;

/* OpenSSL compares keys by importing one into the other's type: an empty object that then refuses
 * leaves no error in the application's queue; no object at all does. */
static void *keymgmt_new(void *provider)
{
    return provider_key_new(provider, NULL, NULL);
}

static void keymgmt_free(void *key)
{
    provider_key_free(key);
}

static void *keymgmt_dup(const void *key, int selection)
{
    (void)selection;
    return provider_key_ref((provider_key *)(uintptr_t)key);
}

/* A reference is the pointer that the store put there; it passes to the caller. */
static void *keymgmt_load(const void *reference, size_t size)
{
    void *key = NULL;

    if (reference == NULL || size != sizeof(key))
        return NULL;
    memcpy(&key, reference, sizeof(key));
    memset((void *)(uintptr_t)reference, 0, sizeof(key));
    return key;
}

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

static int keymgmt_get_params(void *data, OSSL_PARAM params[])
{
    const provider_key *key = data;
    OSSL_PARAM *p;

    if ((p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_BITS)) != NULL &&
        !OSSL_PARAM_set_int(p, KEY_BITS))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_SECURITY_BITS)) != NULL &&
        !OSSL_PARAM_set_int(p, KEY_BITS))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_MAX_SIZE)) != NULL &&
        !OSSL_PARAM_set_int(p, KMS_CIPHERTEXT_MAX))
        return 0;
    if ((p = OSSL_PARAM_locate(params, KMS_PROVIDER_PARAM_ARN)) != NULL &&
        (key->key == NULL || !OSSL_PARAM_set_utf8_string(p, kms_key_arn(key->key))))
        return 0;
    return 1;
}

static const OSSL_PARAM *keymgmt_gettable_params(void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
        OSSL_PARAM_utf8_string(KMS_PROVIDER_PARAM_ARN, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provider;
    return params;
}

static int keymgmt_import(void *data, int selection, const OSSL_PARAM params[])
{
    (void)data;
    (void)selection;
    (void)params;
    return 0;
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

const OSSL_DISPATCH provider_keymgmt_functions[] = {
    FUNCTION(NEW, keymgmt_new),
    FUNCTION(FREE, keymgmt_free),
    FUNCTION(DUP, keymgmt_dup),
    FUNCTION(LOAD, keymgmt_load),
    FUNCTION(HAS, keymgmt_has),
    FUNCTION(MATCH, keymgmt_match),
    FUNCTION(GET_PARAMS, keymgmt_get_params),
    FUNCTION(GETTABLE_PARAMS, keymgmt_gettable_params),
    FUNCTION(IMPORT, keymgmt_import),
    FUNCTION(IMPORT_TYPES, keymgmt_types),
    FUNCTION(EXPORT, keymgmt_export),
    FUNCTION(EXPORT_TYPES, keymgmt_types),
    {0, NULL},
};
