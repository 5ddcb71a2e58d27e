/* Key objects, and the functions of key management that all types share. */
#include "include/kms/kms_provider.h"
#include "provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

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

const char *provider_key_type(const kms_key *key)
{
    const kms_key_spec_row *kind = kms_key_kind(key);

    if (kms_key_is_symmetric(key))
        return KMS_PROVIDER_KEY_TYPE;
    return kind != NULL && kms_key_public(key) != NULL ? kind->type : NULL;
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

/* The reference passes to keymgmt_load, which empties it; what stays here is freed here. */
int provider_key_give(provider_key *key, OSSL_CALLBACK *callback, void *arg)
{
    void *reference = key;
    int type = OSSL_OBJECT_PKEY, ok;
    char *name = (char *)(uintptr_t)provider_key_type(key->key);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, name, 0),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &reference,
                                          sizeof(reference)),
        OSSL_PARAM_construct_end(),
    };

    ok = callback(params, arg);
    provider_key_free(reference);
    return ok;
}

/* OpenSSL compares keys by importing one into the other's type: an empty object that then refuses
 * leaves no error in the application's queue; no object at all does. */
void *provider_keymgmt_new(void *provider)
{
    return provider_key_new(provider, NULL, NULL);
}

void provider_keymgmt_free(void *key)
{
    provider_key_free(key);
}

void *provider_keymgmt_dup(const void *key, int selection)
{
    (void)selection;
    return provider_key_ref((provider_key *)(uintptr_t)key);
}

/* A reference is the pointer that the store put there; it passes to the caller. */
void *provider_keymgmt_load(const void *reference, size_t size)
{
    void *key = NULL;

    if (reference == NULL || size != sizeof(key))
        return NULL;
    memcpy(&key, reference, sizeof(key));
    memset((void *)(uintptr_t)reference, 0, sizeof(key));
    return key;
}

int provider_keymgmt_import(void *data, int selection, const OSSL_PARAM params[])
{
    (void)data;
    (void)selection;
    (void)params;
    return 0;
}
