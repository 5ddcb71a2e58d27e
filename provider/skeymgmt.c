/* AES data keys as opaque objects (EVP_SKEY, OpenSSL 3.5), for the ciphers KMS-AES-…: imported in
 * the form that KMS wrapped, or made by KMS. The plain key stays here, in locked memory; what can
 * be exported, and is the object's identifier, is the wrapped key. */
#include "include/kms/kms_provider.h"
#include "provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Counted references; never changes once made. */
struct provider_skey {
    atomic_int references;
    kms_provider *provider;
    provider_key *key; /* that wraps it */
    kms_buffer wrapped;
    kms_secret secret;
    char *id; /* wrapped, in hexadecimal */
};

provider_skey *provider_skey_ref(provider_skey *skey)
{
    atomic_fetch_add(&skey->references, 1);
    return skey;
}

void provider_skey_free(provider_skey *skey)
{
    if (skey == NULL || atomic_fetch_sub(&skey->references, 1) != 1)
        return;
    provider_key_free(skey->key);
    kms_buffer_clear(&skey->wrapped);
    kms_secret_clear(&skey->secret);
    free(skey->id);
    free(skey);
}

const kms_secret *provider_skey_secret(const provider_skey *skey)
{
    return &skey->secret;
}

#if KMS_OPENSSL_3_5
#define AES_256_BYTES 32

static OSSL_FUNC_skeymgmt_free_fn skey_free;
static OSSL_FUNC_skeymgmt_import_fn skey_import;
static OSSL_FUNC_skeymgmt_export_fn skey_export;
static OSSL_FUNC_skeymgmt_generate_fn skey_generate;
static OSSL_FUNC_skeymgmt_get_key_id_fn skey_get_id;
static OSSL_FUNC_skeymgmt_imp_settable_params_fn skey_import_params;
static OSSL_FUNC_skeymgmt_gen_settable_params_fn skey_generate_params;

static void skey_free(void *data)
{
    provider_skey_free(data);
}

static int set_id(provider_skey *skey)
{
    skey->id = malloc(2 * skey->wrapped.len + 1);
    if (skey->id == NULL)
        return provider_raise_status(skey->provider, KMS_E_NO_MEMORY, "data key");
    for (size_t i = 0; i < skey->wrapped.len; i++)
        snprintf(skey->id + 2 * i, 3, "%02X", skey->wrapped.data[i]);
    return 1;
}

/* --- an object's birth: the key that wraps it and the context, then one request --- */

static int read_key(kms_provider *provider, const OSSL_PARAM params[], operation_context *operation)
{
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, KMS_PROVIDER_PARAM_KEY_ADDRESS);
    kms_address address = {0};
    int ok;

    if (provider->client == NULL)
        return provider_raise(provider, &provider->fault);
    if (p == NULL)
        return provider_raise_status(provider, KMS_E_KEY_MISSING,
                                     "key-address says which KMS key wraps the data key");
    ok = provider_read_address(provider, p, &address) &&
         provider_key_load(provider, &address, &operation->key) &&
         operation_context_set(operation, provider, params);
    kms_address_clear(&address);
    return ok;
}

static int unwrap(provider_skey *skey, const kms_context *context)
{
    kms_error err = {0};

    if (kms_client_unwrap(skey->provider->client, skey->key->key,
                          (kms_bytes){skey->wrapped.data, skey->wrapped.len}, context,
                          &skey->secret, &err) != KMS_OK)
        return provider_raise(skey->provider, &err);
    if (skey->secret.len == 16 || skey->secret.len == 24 || skey->secret.len == AES_256_BYTES)
        return 1;
    kms_fail(&err, KMS_E_KEY_SIZE, "%zu bytes are no AES key", skey->secret.len);
    return provider_raise(skey->provider, &err);
}

static int make(provider_skey *skey, size_t bytes, const kms_context *context)
{
    kms_error err = {0};

    return kms_client_data_key(skey->provider->client, skey->key->key, bytes, context,
                               &skey->secret, &skey->wrapped, &err) == KMS_OK ||
           provider_raise(skey->provider, &err);
}

static int take_wrapped(provider_skey *skey, const OSSL_PARAM params[])
{
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, KMS_PROVIDER_PARAM_WRAPPED_KEY);
    kms_bytes wrapped;

    if (p == NULL)
        return provider_raise_status(skey->provider, KMS_E_KEY_MISSING,
                                     "the key is given by key-address and wrapped-key alone");
    if (!provider_get_bytes(p, &wrapped) || wrapped.len == 0 || wrapped.len > KMS_CIPHERTEXT_MAX)
        return provider_raise_status(skey->provider, KMS_E_CIPHERTEXT_SIZE, "wrapped-key");
    skey->wrapped.data = malloc(wrapped.len);
    if (skey->wrapped.data == NULL)
        return provider_raise_status(skey->provider, KMS_E_NO_MEMORY, "wrapped-key");
    memcpy(skey->wrapped.data, wrapped.data, wrapped.len);
    skey->wrapped.len = wrapped.len;
    return 1;
}

/* bytes 0: unwraps the key among params, else makes one of that size. */
static void *new_skey(kms_provider *provider, const OSSL_PARAM params[], size_t bytes)
{
    provider_skey *skey = calloc(1, sizeof(*skey));
    operation_context operation = {0};
    const kms_context *context = NULL;
    int ok;

    if (skey == NULL)
        return NULL;
    atomic_init(&skey->references, 1);
    skey->provider = provider;
    ok = (bytes != 0 || take_wrapped(skey, params)) && read_key(provider, params, &operation);
    if (ok)
        context = operation_context_merged(&operation, provider);
    ok = context != NULL;
    if (ok) {
        skey->key = provider_key_ref(operation.key);
        ok = (bytes != 0 ? make(skey, bytes, context) : unwrap(skey, context)) && set_id(skey);
    }
    operation_context_clear(&operation);
    if (ok)
        return skey;
    provider_skey_free(skey);
    return NULL;
}

static void *skey_import(void *provider, int selection, const OSSL_PARAM params[])
{
    (void)selection;
    return new_skey(provider, params, 0);
}

static void *skey_generate(void *provider, const OSSL_PARAM params[])
{
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, KMS_PROVIDER_PARAM_DATA_KEY_BYTES);
    size_t bytes = AES_256_BYTES;

    if (p != NULL &&
        (!provider_get_size(p, &bytes) || (bytes != 16 && bytes != 24 && bytes != AES_256_BYTES))) {
        provider_raise_status(provider, KMS_E_KEY_SIZE, "data-key-bytes is 16, 24 or 32");
        return NULL;
    }
    return new_skey(provider, params, bytes);
}

static const OSSL_PARAM *skey_import_params(void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(KMS_PROVIDER_PARAM_KEY_ADDRESS, NULL, 0),
        OSSL_PARAM_octet_string(KMS_PROVIDER_PARAM_WRAPPED_KEY, NULL, 0),
        OSSL_PARAM_utf8_string(KMS_PROVIDER_PARAM_CONTEXT, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provider;
    return params;
}

static const OSSL_PARAM *skey_generate_params(void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(KMS_PROVIDER_PARAM_KEY_ADDRESS, NULL, 0),
        OSSL_PARAM_utf8_string(KMS_PROVIDER_PARAM_CONTEXT, NULL, 0),
        OSSL_PARAM_size_t(KMS_PROVIDER_PARAM_DATA_KEY_BYTES, NULL),
        OSSL_PARAM_END,
    };

    (void)provider;
    return params;
}

/* --- what an object tells --- */

static const char *skey_get_id(void *data)
{
    const provider_skey *skey = data;

    return skey->id;
}

static int skey_export(void *data, int selection, OSSL_CALLBACK *callback, void *arg)
{
    const provider_skey *skey = data;
    char *address = NULL;
    int ok;

    if ((selection & OSSL_SKEYMGMT_SELECT_SECRET_KEY) != 0)
        return provider_raise_status(skey->provider, KMS_E_NOT_EXPORTABLE,
                                     "the plain data key stays in the provider; use a cipher "
                                     "KMS-AES-..., or export its parameters alone");
    if (asprintf(&address, "kms:%s", kms_key_arn(skey->key->key)) < 0)
        return provider_raise_status(skey->provider, KMS_E_NO_MEMORY, "key address");
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(KMS_PROVIDER_PARAM_KEY_ADDRESS, address, 0),
        OSSL_PARAM_construct_octet_string(KMS_PROVIDER_PARAM_WRAPPED_KEY, skey->wrapped.data,
                                          skey->wrapped.len),
        OSSL_PARAM_construct_end(),
    };
    ok = callback(params, arg);
    free(address);
    return ok;
}

#define FUNCTION(id, name)                                                                         \
    {                                                                                              \
        OSSL_FUNC_SKEYMGMT_##id, (void (*)(void))(name)                                            \
    }

const OSSL_DISPATCH provider_skeymgmt_functions[] = {
    FUNCTION(FREE, skey_free),
    FUNCTION(IMPORT, skey_import),
    FUNCTION(EXPORT, skey_export),
    FUNCTION(GENERATE, skey_generate),
    FUNCTION(GET_KEY_ID, skey_get_id),
    FUNCTION(IMP_SETTABLE_PARAMS, skey_import_params),
    FUNCTION(GEN_SETTABLE_PARAMS, skey_generate_params),
    {0, NULL},
};
#endif
