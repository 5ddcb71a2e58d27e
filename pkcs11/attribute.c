/* Attributes of secret keys: what they are, and what a template may ask for. */
#include "pkcs11/module.h"

#include <stdlib.h>
#include <string.h>

/* A value as it is shown; small ones live in `store`. */
typedef struct shown {
    const void *data;
    CK_ULONG len;
    union {
        CK_BBOOL flag;
        CK_ULONG number;
    } store;
} shown;

static CK_RV show_flag(shown *s, bool value)
{
    s->store.flag = value ? CK_TRUE : CK_FALSE;
    s->data = &s->store.flag;
    s->len = sizeof(s->store.flag);
    return CKR_OK;
}

static CK_RV show_number(shown *s, CK_ULONG value)
{
    s->store.number = value;
    s->data = &s->store.number;
    s->len = sizeof(s->store.number);
    return CKR_OK;
}

static CK_RV show_bytes(shown *s, const void *data, size_t len)
{
    s->data = data;
    s->len = len;
    return CKR_OK;
}

static CK_RV show_value(const object *o, shown *s)
{
    if (o->kms != NULL || o->sensitive || !o->extractable)
        return CKR_ATTRIBUTE_SENSITIVE;
    return show_bytes(s, o->value.data, o->value.len);
}

static CK_RV show(const object *o, CK_ATTRIBUTE_TYPE type, shown *s)
{
    static const CK_MECHANISM_TYPE none = CK_UNAVAILABLE_INFORMATION;

    switch (type) {
    case CKA_CLASS:
        return show_number(s, CKO_SECRET_KEY);
    case CKA_KEY_TYPE:
        return show_number(s, CKK_AES);
    case CKA_TOKEN:
        return show_flag(s, o->kms != NULL);
    case CKA_PRIVATE:
    case CKA_MODIFIABLE:
    case CKA_COPYABLE:
    case CKA_DERIVE:
    case CKA_SIGN:
    case CKA_VERIFY:
    case CKA_WRAP_WITH_TRUSTED:
    case CKA_TRUSTED:
        return show_flag(s, false);
    case CKA_DESTROYABLE:
        return show_flag(s, o->kms == NULL);
    case CKA_LABEL:
        return show_bytes(s, o->label != NULL ? o->label : "",
                          o->label != NULL ? strlen(o->label) : 0);
    case CKA_ID:
        return show_bytes(s, o->id, o->id_len);
    case CKA_VALUE_LEN:
        return show_number(s, o->kms != NULL ? 32 : o->value.len);
    case CKA_VALUE:
        return show_value(o, s);
    case CKA_SENSITIVE:
        return show_flag(s, o->sensitive);
    case CKA_EXTRACTABLE:
        return show_flag(s, o->extractable);
    case CKA_ALWAYS_SENSITIVE:
        return show_flag(s, o->always_sensitive);
    case CKA_NEVER_EXTRACTABLE:
        return show_flag(s, o->never_extractable);
    case CKA_LOCAL:
        return show_flag(s, o->local);
    case CKA_KEY_GEN_MECHANISM:
        return show_number(s, o->local && o->kms == NULL ? CKM_AES_KEY_GEN : none);
    case CKA_ENCRYPT:
        return show_flag(s, o->encrypt);
    case CKA_DECRYPT:
        return show_flag(s, o->decrypt);
    case CKA_WRAP:
        return show_flag(s, o->wrap);
    case CKA_UNWRAP:
        return show_flag(s, o->unwrap);
    case CKA_START_DATE:
    case CKA_END_DATE:
        return show_bytes(s, "", 0);
#ifdef CKA_UNIQUE_ID
    case CKA_UNIQUE_ID:
        return o->kms == NULL ? CKR_ATTRIBUTE_TYPE_INVALID
                              : show_bytes(s, kms_key_arn(o->kms), strlen(kms_key_arn(o->kms)));
#endif
    default:
        return CKR_ATTRIBUTE_TYPE_INVALID;
    }
}

CK_RV attribute_get(const object *o, CK_ATTRIBUTE *attribute)
{
    shown s;
    CK_RV rv = show(o, attribute->type, &s);

    if (rv != CKR_OK) {
        attribute->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return rv;
    }
    if (attribute->pValue == NULL) {
        attribute->ulValueLen = s.len;
        return CKR_OK;
    }
    if (attribute->ulValueLen < s.len) {
        attribute->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return CKR_BUFFER_TOO_SMALL;
    }
    if (s.len > 0)
        memcpy(attribute->pValue, s.data, s.len);
    attribute->ulValueLen = s.len;
    return CKR_OK;
}

bool attribute_matches(const object *o, const CK_ATTRIBUTE *wanted)
{
    shown s;

    return show(o, wanted->type, &s) == CKR_OK && s.len == wanted->ulValueLen &&
           (s.len == 0 || (wanted->pValue != NULL && memcmp(s.data, wanted->pValue, s.len) == 0));
}

static bool read_flag(const CK_ATTRIBUTE *a, bool *out)
{
    if (a->pValue == NULL || a->ulValueLen != sizeof(CK_BBOOL))
        return false;
    *out = *(const CK_BBOOL *)a->pValue != CK_FALSE;
    return true;
}

static bool read_number(const CK_ATTRIBUTE *a, CK_ULONG *out)
{
    if (a->pValue == NULL || a->ulValueLen != sizeof(*out))
        return false;
    memcpy(out, a->pValue, sizeof(*out));
    return true;
}

static CK_RV must_be_number(const CK_ATTRIBUTE *a, CK_ULONG expected)
{
    CK_ULONG value;

    if (!read_number(a, &value))
        return CKR_ATTRIBUTE_VALUE_INVALID;
    return value == expected ? CKR_OK : CKR_TEMPLATE_INCONSISTENT;
}

static CK_RV must_be_false(const CK_ATTRIBUTE *a)
{
    bool value;

    if (!read_flag(a, &value))
        return CKR_ATTRIBUTE_VALUE_INVALID;
    return value ? CKR_TEMPLATE_INCONSISTENT : CKR_OK;
}

static CK_RV set_flag(const CK_ATTRIBUTE *a, bool *out)
{
    return read_flag(a, out) ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
}

static CK_RV set_label(object *o, const CK_ATTRIBUTE *a)
{
    if (a->ulValueLen > 0 && a->pValue == NULL)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    free(o->label);
    o->label = strndup(a->ulValueLen > 0 ? a->pValue : "", a->ulValueLen);
    return o->label != NULL ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV set_id(object *o, const CK_ATTRIBUTE *a)
{
    if (a->ulValueLen > sizeof(o->id) || (a->ulValueLen > 0 && a->pValue == NULL))
        return CKR_ATTRIBUTE_VALUE_INVALID;
    if (a->ulValueLen > 0)
        memcpy(o->id, a->pValue, a->ulValueLen);
    o->id_len = a->ulValueLen;
    return CKR_OK;
}

static CK_RV apply_one(object *o, const CK_ATTRIBUTE *a, CK_ULONG *value_len)
{
    bool ignored;

    switch (a->type) {
    case CKA_CLASS:
        return must_be_number(a, CKO_SECRET_KEY);
    case CKA_KEY_TYPE:
        return must_be_number(a, CKK_AES);
    case CKA_TOKEN: /* kept data keys need a key store, which is not there yet */
    case CKA_WRAP_WITH_TRUSTED:
    case CKA_TRUSTED:
        return must_be_false(a);
    case CKA_LABEL:
        return set_label(o, a);
    case CKA_ID:
        return set_id(o, a);
    case CKA_VALUE_LEN:
        return read_number(a, value_len) ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
    case CKA_SENSITIVE:
        return set_flag(a, &o->sensitive);
    case CKA_EXTRACTABLE:
        return set_flag(a, &o->extractable);
    case CKA_ENCRYPT:
        return set_flag(a, &o->encrypt);
    case CKA_DECRYPT:
        return set_flag(a, &o->decrypt);
    case CKA_PRIVATE: /* there is no login: every session sees what is there */
    case CKA_MODIFIABLE:
    case CKA_COPYABLE:
    case CKA_DESTROYABLE:
    case CKA_WRAP: /* a data key wraps nothing: only the KMS key does */
    case CKA_UNWRAP:
    case CKA_DERIVE:
    case CKA_SIGN:
    case CKA_VERIFY:
        return set_flag(a, &ignored);
    case CKA_START_DATE:
    case CKA_END_DATE:
        return a->ulValueLen == 0 ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
    case CKA_ALWAYS_SENSITIVE:
    case CKA_NEVER_EXTRACTABLE:
    case CKA_LOCAL:
    case CKA_KEY_GEN_MECHANISM:
    case CKA_VALUE:
        return CKR_ATTRIBUTE_READ_ONLY;
    default:
        return CKR_ATTRIBUTE_TYPE_INVALID;
    }
}

CK_RV attribute_apply(object *o, const CK_ATTRIBUTE *template, CK_ULONG count, CK_ULONG *value_len)
{
    const kms_config *config = kms_client_config(module_root()->client);
    CK_RV rv = CKR_OK;

    o->sensitive = o->encrypt = o->decrypt = true;
    o->extractable = false;
    *value_len = 0;
    for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++)
        rv = apply_one(o, &template[i], value_len);
    if (rv == CKR_OK && (o->extractable || !o->sensitive) &&
        !kms_config_flag(config, KMS_SET_ALLOW_EXTRACTABLE))
        rv = CKR_TEMPLATE_INCONSISTENT;
    return rv;
}
