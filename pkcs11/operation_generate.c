/* New data keys and random bytes, made in this process. */
#include "pkcs11/attribute.h"
#include "pkcs11/mechanism.h"
#include "pkcs11/session.h"

#include <openssl/rand.h>

static CK_RV fill_random(p11_module *module, p11_object *object, size_t size)
{
    OSSL_LIB_CTX *libctx = kms_client_libctx(module->client);
    kms_error err = {0};

    if (libctx == NULL)
        return CKR_HOST_MEMORY;
    if (kms_secret_reserve(&object->value, size, &err) != KMS_OK)
        return p11_module_fail(module, "C_GenerateKey", &err);
    if (RAND_priv_bytes_ex(libctx, object->value.data, size, 0) != 1)
        return CKR_FUNCTION_FAILED;
    object->value.len = size;
    return CKR_OK;
}

static CK_RV check_size(CK_ULONG size)
{
    if (size == 0)
        return CKR_TEMPLATE_INCOMPLETE;
    return size == 16 || size == 24 || size == 32 ? CKR_OK : CKR_KEY_SIZE_RANGE;
}

static CK_RV generate(const p11_session_scope *scope, const CK_ATTRIBUTE *template, CK_ULONG count,
                      CK_OBJECT_HANDLE *key)
{
    p11_object *object = p11_object_new();
    kms_error err = {0};
    CK_ULONG size = 0;
    CK_RV rv;

    if (object == NULL)
        return CKR_HOST_MEMORY;
    rv = p11_attribute_apply(object, scope, "C_GenerateKey", template, count, &size);
    if (rv == CKR_OK && object->type != CKK_AES)
        rv = CKR_TEMPLATE_INCONSISTENT;
    if (rv == CKR_OK)
        rv = check_size(size);
    if (rv == CKR_OK && kms_client_check_enabled(scope->module->client, &err) != KMS_OK)
        rv = p11_module_fail(scope->module, "C_GenerateKey", &err);
    if (rv == CKR_OK)
        rv = fill_random(scope->module, object, size);
    if (rv != CKR_OK) {
        p11_object_free(object);
        return rv;
    }
    object->generated_by = CKM_AES_KEY_GEN;
    object->flags |= P11_LOCAL;
    if ((object->flags & P11_SENSITIVE) != 0)
        object->flags |= P11_ALWAYS_SENSITIVE;
    if ((object->flags & P11_EXTRACTABLE) == 0)
        object->flags |= P11_NEVER_EXTRACTABLE;
    return p11_object_publish(scope->module, scope->session->handle, object, key);
}

CK_RV C_GenerateKey(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_ATTRIBUTE *template,
                    CK_ULONG count, CK_OBJECT_HANDLE *key)
{
    p11_session_scope scope;
    CK_RV rv = p11_session_enter(&scope, handle, false);

    if (rv != CKR_OK)
        return rv;
    if (mechanism == NULL || key == NULL)
        rv = CKR_ARGUMENTS_BAD;
    else if (p11_mechanism_find(scope.module, mechanism->mechanism, CKF_GENERATE) == NULL)
        rv = CKR_MECHANISM_INVALID;
    else if (mechanism->ulParameterLen != 0)
        rv = CKR_MECHANISM_PARAM_INVALID;
    else
        rv = generate(&scope, template, count, key);
    p11_session_leave(&scope);
    return rv;
}

CK_RV C_GenerateRandom(CK_SESSION_HANDLE handle, unsigned char *data, CK_ULONG len)
{
    p11_session_scope scope;
    OSSL_LIB_CTX *libctx;
    CK_RV rv = p11_session_enter(&scope, handle, false);

    if (rv != CKR_OK)
        return rv;
    if (data == NULL && len != 0)
        rv = CKR_ARGUMENTS_BAD;
    else if ((libctx = kms_client_libctx(scope.module->client)) == NULL)
        rv = CKR_HOST_MEMORY;
    else if (len != 0 && RAND_bytes_ex(libctx, data, len, 0) != 1)
        rv = CKR_FUNCTION_FAILED;
    p11_session_leave(&scope);
    return rv;
}

CK_RV C_SeedRandom(CK_SESSION_HANDLE handle, unsigned char *seed, CK_ULONG len)
{
    p11_session_scope scope;
    CK_RV rv = p11_session_enter(&scope, handle, false);

    (void)seed;
    (void)len;
    if (rv != CKR_OK)
        return rv;
    p11_session_leave(&scope);
    return CKR_RANDOM_SEED_NOT_SUPPORTED;
}
