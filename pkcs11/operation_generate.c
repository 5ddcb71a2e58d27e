/* New data keys and random bytes, made in this process. */
#include "pkcs11/module.h"

#include <openssl/rand.h>

static CK_RV fill_random(kms_secret *value, size_t size)
{
    kms_error err = {0};
    OSSL_LIB_CTX *libctx = kms_client_libctx(module_root()->client);

    if (libctx == NULL)
        return CKR_HOST_MEMORY;
    if (kms_secret_reserve(value, size, &err) != KMS_OK)
        return module_fail("C_GenerateKey", &err);
    if (RAND_priv_bytes_ex(libctx, value->data, size, 0) != 1)
        return CKR_FUNCTION_FAILED;
    value->len = size;
    return CKR_OK;
}

static CK_RV generate(session *s, const CK_ATTRIBUTE *template, CK_ULONG count,
                      CK_OBJECT_HANDLE *out)
{
    CK_ULONG size = 0;
    object *o = object_new();
    CK_RV rv = o != NULL ? attribute_apply(o, template, count, &size) : CKR_HOST_MEMORY;

    if (rv == CKR_OK && size == 0)
        rv = CKR_TEMPLATE_INCOMPLETE;
    if (rv == CKR_OK && size != 16 && size != 24 && size != 32)
        rv = CKR_KEY_SIZE_RANGE;
    if (rv == CKR_OK)
        rv = fill_random(&o->value, size);
    if (rv != CKR_OK) {
        object_free(o);
        return rv;
    }
    o->local = true;
    o->always_sensitive = o->sensitive;
    o->never_extractable = !o->extractable;
    object_add(o, o->token ? 0 : s->handle);
    *out = o->handle;
    object_put(o);
    return CKR_OK;
}

CK_RV C_GenerateKey(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_ATTRIBUTE *template,
                    CK_ULONG count, CK_OBJECT_HANDLE *key)
{
    session *s;
    CK_RV rv = session_enter(handle, &s);

    if (rv != CKR_OK)
        return rv;
    if (mechanism == NULL || key == NULL || (template == NULL && count > 0))
        rv = CKR_ARGUMENTS_BAD;
    else if (mechanism->mechanism != CKM_AES_KEY_GEN)
        rv = CKR_MECHANISM_INVALID;
    else if (mechanism->ulParameterLen != 0)
        rv = CKR_MECHANISM_PARAM_INVALID;
    else
        rv = generate(s, template, count, key);
    session_leave(s);
    return rv;
}

CK_RV C_GenerateRandom(CK_SESSION_HANDLE handle, unsigned char *data, CK_ULONG len)
{
    session *s;
    OSSL_LIB_CTX *libctx;
    CK_RV rv = session_enter(handle, &s);

    if (rv != CKR_OK)
        return rv;
    libctx = kms_client_libctx(module_root()->client);
    if (data == NULL && len > 0)
        rv = CKR_ARGUMENTS_BAD;
    else if (libctx == NULL)
        rv = CKR_HOST_MEMORY;
    else if (len > 0 && RAND_bytes_ex(libctx, data, len, 0) != 1)
        rv = CKR_FUNCTION_FAILED;
    session_leave(s);
    return rv;
}

CK_RV C_SeedRandom(CK_SESSION_HANDLE handle, unsigned char *seed, CK_ULONG len)
{
    session *s;
    CK_RV rv = session_enter(handle, &s);

    (void)seed;
    (void)len;
    if (rv != CKR_OK)
        return rv;
    session_leave(s);
    return CKR_RANDOM_SEED_NOT_SUPPORTED;
}
