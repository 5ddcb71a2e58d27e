/* Key objects, and the functions of key management that all types share. */
#include "include/kms/kms_provider.h"
#include "provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
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
    if (kind != NULL && strcmp(kind->type, "HMAC") == 0)
        return KMS_PROVIDER_HMAC_TYPE;
    if (kind != NULL && strncmp(kind->type, "ML-KEM-", strlen("ML-KEM-")) == 0)
        return KMS_PROVIDER_ML_KEM_TYPE;
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
    EVP_PKEY_free(key->local);
    free(key);
}

EVP_PKEY *provider_key_public(const provider_key *key)
{
    if (key == NULL)
        return NULL;
    return key->key != NULL ? kms_key_public(key->key) : key->local;
}

int provider_read_address(const kms_provider *provider, const OSSL_PARAM *param,
                          kms_address *address)
{
    char *text = NULL; /* a copy, since a parameter may have a length and no terminator */
    kms_error err = {0};

    if (!provider_get_text(param, &text))
        kms_fail(&err, KMS_E_KEY_ADDRESS, "key-address is not a UTF-8 string");
    else if (kms_address_parse(text, address, &err) == KMS_OK && address->key == NULL)
        kms_fail(&err, KMS_E_KEY_ADDRESS, "it names no key");
    OPENSSL_free(text);
    if (err.status == KMS_OK)
        return 1;
    kms_address_clear(address);
    return provider_raise(provider, &err);
}

/* NULL where there is none; false without memory. */
static bool copy_context(const kms_context *from, kms_context **to)
{
    *to = NULL;
    if (from == NULL)
        return true;
    *to = kms_context_new();
    if (*to != NULL && kms_context_merge(*to, from, NULL) == KMS_OK)
        return true;
    kms_context_free(*to);
    return false;
}

int provider_key_load(kms_provider *provider, const kms_address *address, provider_key **out)
{
    kms_error err = {0};
    kms_key *key = NULL;

    *out = NULL;
    if (provider->client == NULL)
        return provider_raise(provider, &provider->fault);
    if (kms_client_key(provider->client, address, &key, &err) != KMS_OK)
        return provider_raise(provider, &err);
    return provider_key_of(provider, address, key, out);
}

int provider_key_of(kms_provider *provider, const kms_address *address, kms_key *key,
                    provider_key **out)
{
    kms_error err = {0};
    kms_context *context = NULL;

    *out = NULL;
    if (provider_key_type(key) == NULL) {
        kms_fail(&err, KMS_E_UNSUPPORTED, "%s is %s for %s", kms_key_arn(key), kms_key_spec(key),
                 kms_key_usage(key));
        kms_key_free(key);
        return provider_raise(provider, &err);
    }
    if (!copy_context(address->context, &context)) {
        kms_key_free(key);
        return provider_raise_status(provider, KMS_E_NO_MEMORY, "encryption context");
    }
    *out = provider_key_new(provider, key, context);
    return *out != NULL ? 1 : provider_raise_status(provider, KMS_E_NO_MEMORY, "key");
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
