/* C_WrapKey and C_UnwrapKey: data keys under a key in KMS. */
#include "pkcs11/module.h"

#include "include/kms/kms_pkcs11.h"

#include <string.h>

/* The mechanism must exist and be one of wrapping; then its context is read. */
static CK_RV check_mechanism(const CK_MECHANISM *mechanism, CK_FLAGS flag, const char *function,
                             kms_context **context)
{
    const mechanism_row *row = mechanism_find(mechanism->mechanism);

    if (row == NULL || !(row->flags & flag))
        return CKR_MECHANISM_INVALID;
    if (row->mapped) /* its parameter would be an IV, which means nothing to KMS */
        return mechanism->ulParameterLen == 0 ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
    return mechanism_context(mechanism, function, context);
}

static CK_RV check_wrapping_key(const object *o)
{
    if (o == NULL)
        return CKR_WRAPPING_KEY_HANDLE_INVALID;
    return o->kms != NULL ? CKR_OK : CKR_WRAPPING_KEY_TYPE_INCONSISTENT;
}

/* The wrapped size is known only from KMS: a size query answers with its limit. */
static CK_RV wrap(const object *wrapping, const object *key, const kms_context *context,
                  unsigned char *out, CK_ULONG *out_len)
{
    struct module *m = module_root();
    kms_buffer wrapped = {0};
    kms_error err = {0};
    CK_RV rv = CKR_OK;

    if (out == NULL) {
        *out_len = KMS_CIPHERTEXT_MAX;
        return CKR_OK;
    }
    if (kms_client_wrap(m->client, wrapping->kms, kms_secret_bytes(&key->value), context, &wrapped,
                        &err) != KMS_OK)
        return module_fail("C_WrapKey", &err);
    if (*out_len < wrapped.len)
        rv = CKR_BUFFER_TOO_SMALL;
    else
        memcpy(out, wrapped.data, wrapped.len);
    *out_len = wrapped.len;
    kms_buffer_clear(&wrapped);
    return rv;
}

CK_RV C_WrapKey(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping_handle,
                CK_OBJECT_HANDLE key_handle, unsigned char *out, CK_ULONG *out_len)
{
    session *s;
    kms_context *context = NULL;
    object *wrapping = NULL, *key = NULL;
    CK_RV rv = session_enter(handle, &s);

    if (rv != CKR_OK)
        return rv;
    if (mechanism == NULL || out_len == NULL)
        rv = CKR_ARGUMENTS_BAD;
    if (rv == CKR_OK)
        rv = check_mechanism(mechanism, CKF_WRAP, "C_WrapKey", &context);
    if (rv == CKR_OK)
        rv = check_wrapping_key(wrapping = object_get(wrapping_handle));
    if (rv == CKR_OK && (key = object_get(key_handle)) == NULL)
        rv = CKR_KEY_HANDLE_INVALID;
    if (rv == CKR_OK && key->kms != NULL)
        rv = CKR_KEY_NOT_WRAPPABLE;
    if (rv == CKR_OK)
        rv = wrap(wrapping, key, context, out, out_len);
    object_put(key);
    object_put(wrapping);
    kms_context_free(context);
    session_leave(s);
    return rv;
}

static CK_RV unwrap(const object *wrapping, kms_bytes wrapped, const kms_context *context,
                    object *o, CK_ULONG value_len)
{
    struct module *m = module_root();
    kms_error err = {0};

    kms_status st = kms_client_unwrap(m->client, wrapping->kms, wrapped, context, &o->value, &err);
    if (st == KMS_E_CONTEXT_MISMATCH || st == KMS_E_INCORRECT_KEY) {
        module_fail("C_UnwrapKey", &err);
        return CKR_WRAPPED_KEY_INVALID;
    }
    if (st == KMS_E_CIPHERTEXT_SIZE) {
        module_fail("C_UnwrapKey", &err);
        return CKR_WRAPPED_KEY_LEN_RANGE;
    }
    if (st != KMS_OK)
        return module_fail("C_UnwrapKey", &err);
    if (o->value.len != 16 && o->value.len != 24 && o->value.len != 32)
        return CKR_WRAPPED_KEY_LEN_RANGE;
    return value_len != 0 && value_len != o->value.len ? CKR_TEMPLATE_INCONSISTENT : CKR_OK;
}

CK_RV C_UnwrapKey(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism,
                  CK_OBJECT_HANDLE unwrapping_handle, unsigned char *wrapped, CK_ULONG wrapped_len,
                  CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key)
{
    session *s;
    kms_context *context = NULL;
    object *wrapping = NULL, *o = NULL;
    CK_ULONG value_len = 0;
    CK_RV rv = session_enter(handle, &s);

    if (rv != CKR_OK)
        return rv;
    if (mechanism == NULL || key == NULL || wrapped == NULL || (template == NULL && count > 0))
        rv = CKR_ARGUMENTS_BAD;
    if (rv == CKR_OK)
        rv = check_mechanism(mechanism, CKF_UNWRAP, "C_UnwrapKey", &context);
    if (rv == CKR_OK)
        rv = check_wrapping_key(wrapping = object_get(unwrapping_handle));
    if (rv == CKR_WRAPPING_KEY_HANDLE_INVALID)
        rv = CKR_UNWRAPPING_KEY_HANDLE_INVALID;
    else if (rv == CKR_WRAPPING_KEY_TYPE_INCONSISTENT)
        rv = CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT;
    if (rv == CKR_OK && (o = object_new()) == NULL)
        rv = CKR_HOST_MEMORY;
    if (rv == CKR_OK)
        rv = attribute_apply(o, template, count, &value_len);
    if (rv == CKR_OK)
        rv = unwrap(wrapping, (kms_bytes){wrapped, wrapped_len}, context, o, value_len);
    if (rv == CKR_OK) {
        object_add(o, o->token ? 0 : s->handle);
        *key = o->handle;
        object_put(o);
    } else {
        object_free(o);
    }
    object_put(wrapping);
    kms_context_free(context);
    session_leave(s);
    return rv;
}
