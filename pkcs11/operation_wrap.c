/* C_WrapKey and C_UnwrapKey: data keys under a key in KMS. */
#include "pkcs11/attribute.h"
#include "pkcs11/mechanism.h"
#include "pkcs11/session.h"

#include <string.h>

/* What both functions ask before any traffic. The references are the caller's to drop. */
static CK_RV check_wrapping(p11_module *module, const char *door, const CK_MECHANISM *mechanism,
                            const p11_object *wrapping, kms_context **context)
{
    const bool wraps = strcmp(door, "C_WrapKey") == 0;

    if (p11_mechanism_find(module, mechanism->mechanism, wraps ? CKF_WRAP : CKF_UNWRAP) == NULL)
        return CKR_MECHANISM_INVALID;
    if (wrapping == NULL)
        return wraps ? CKR_WRAPPING_KEY_HANDLE_INVALID : CKR_UNWRAPPING_KEY_HANDLE_INVALID;
    if (wrapping->key == NULL)
        return wraps ? CKR_WRAPPING_KEY_TYPE_INCONSISTENT : CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT;
    return p11_mechanism_context(module, door, mechanism, context);
}

/* The wrapped size is known only from KMS: a size query answers with its limit. */
static CK_RV wrap(p11_module *module, const p11_object *wrapping, const p11_object *key,
                  const kms_context *context, unsigned char *out, CK_ULONG *out_len)
{
    kms_buffer wrapped = {0};
    kms_error err = {0};
    CK_RV rv = CKR_OK;

    if (out == NULL) {
        *out_len = KMS_CIPHERTEXT_MAX;
        return CKR_OK;
    }
    if (kms_client_wrap(module->client, wrapping->key, kms_secret_bytes(&key->value), context,
                        &wrapped, &err) != KMS_OK)
        return p11_module_fail(module, "C_WrapKey", &err);
    if (*out_len < wrapped.len)
        rv = CKR_BUFFER_TOO_SMALL;
    else
        memcpy(out, wrapped.data, wrapped.len);
    *out_len = wrapped.len;
    kms_buffer_clear(&wrapped);
    return rv;
}

static CK_RV check_wrapped(p11_module *module, const p11_object *key)
{
    kms_error err = {0};

    if (key == NULL)
        return CKR_KEY_HANDLE_INVALID;
    if (key->key == NULL)
        return CKR_OK;
    kms_fail(&err, KMS_E_NOT_EXPORTABLE, "%s", kms_key_arn(key->key));
    return p11_module_fail(module, "C_WrapKey", &err);
}

CK_RV C_WrapKey(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping_handle,
                CK_OBJECT_HANDLE key_handle, unsigned char *out, CK_ULONG *out_len)
{
    p11_session_scope scope;
    kms_context *context = NULL;
    p11_object *wrapping = NULL, *key = NULL;
    CK_RV rv = p11_session_enter(&scope, handle, false);

    if (rv != CKR_OK)
        return rv;
    if (mechanism == NULL || out_len == NULL) {
        rv = CKR_ARGUMENTS_BAD;
    } else {
        wrapping = p11_object_get(scope.module, wrapping_handle);
        key = p11_object_get(scope.module, key_handle);
        rv = check_wrapping(scope.module, "C_WrapKey", mechanism, wrapping, &context);
    }
    if (rv == CKR_OK)
        rv = check_wrapped(scope.module, key);
    if (rv == CKR_OK)
        rv = wrap(scope.module, wrapping, key, context, out, out_len);
    p11_object_free(key);
    p11_object_free(wrapping);
    kms_context_free(context);
    p11_session_leave(&scope);
    return rv;
}

/* The standard has codes of its own for wrapped keys. */
static CK_RV unwrap_failed(p11_module *module, const kms_error *err)
{
    CK_RV rv = p11_module_fail(module, "C_UnwrapKey", err);

    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return CKR_WRAPPED_KEY_INVALID;
    return rv == CKR_ENCRYPTED_DATA_LEN_RANGE ? CKR_WRAPPED_KEY_LEN_RANGE : rv;
}

/* Fills object from KMS; value_len is what the template says, or 0. */
static CK_RV unwrap(p11_module *module, const p11_object *wrapping, kms_bytes wrapped,
                    const kms_context *context, CK_ULONG value_len, p11_object *object)
{
    kms_error err = {0};
    size_t len;

    if (kms_client_unwrap(module->client, wrapping->key, wrapped, context, &object->value, &err) !=
        KMS_OK)
        return unwrap_failed(module, &err);
    len = object->value.len;
    if (object->type == CKK_AES && len != 16 && len != 24 && len != 32)
        return CKR_WRAPPED_KEY_LEN_RANGE;
    return value_len != 0 && value_len != len ? CKR_TEMPLATE_INCONSISTENT : CKR_OK;
}

CK_RV C_UnwrapKey(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism,
                  CK_OBJECT_HANDLE unwrapping_handle, unsigned char *wrapped, CK_ULONG wrapped_len,
                  CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key)
{
    p11_session_scope scope;
    kms_context *context = NULL;
    p11_object *wrapping = NULL, *object = NULL;
    CK_ULONG value_len = 0;
    CK_RV rv = p11_session_enter(&scope, handle, false);

    if (rv != CKR_OK)
        return rv;
    if (mechanism == NULL || key == NULL || wrapped == NULL) {
        rv = CKR_ARGUMENTS_BAD;
    } else {
        wrapping = p11_object_get(scope.module, unwrapping_handle);
        rv = check_wrapping(scope.module, "C_UnwrapKey", mechanism, wrapping, &context);
    }
    if (rv == CKR_OK && (object = p11_object_new()) == NULL)
        rv = CKR_HOST_MEMORY;
    if (rv == CKR_OK)
        rv = p11_attribute_apply(object, &scope, "C_UnwrapKey", template, count, &value_len);
    if (rv == CKR_OK)
        rv = unwrap(scope.module, wrapping, (kms_bytes){wrapped, wrapped_len}, context, value_len,
                    object);
    if (rv == CKR_OK)
        rv = p11_object_publish(scope.module, handle, object, key);
    else
        p11_object_free(object);
    p11_object_free(wrapping);
    kms_context_free(context);
    p11_session_leave(&scope);
    return rv;
}
