#include "pkcs11/attribute.h"

#include <string.h>

typedef enum kind { FLAG, CLASS, KEY_TYPE, VALUE_LEN, GENERATOR, LABEL, ID, ARN, VALUE, DATE } kind;

/* What a template for a data key may say. */
typedef enum rule {
    NEVER,    /* only the token sets it */
    FREE,     /* either value, or any bytes */
    FALSE_,   /* only false: data keys can't do that */
    TOKEN_,   /* true needs token_objects and a writable session */
    GUARDED_, /* a value that lets the key out needs allow_extractable */
    FIXED,    /* must be what it is anyway */
} rule;

typedef struct row {
    CK_ATTRIBUTE_TYPE type;
    kind kind;
    rule rule;
    unsigned flag;
} row;

/* clang-format off */
static const row rows[] = {
    { CKA_CLASS,             CLASS,     FIXED,    0 },
    { CKA_KEY_TYPE,          KEY_TYPE,  FREE,     0 },
    { CKA_VALUE_LEN,         VALUE_LEN, FREE,     0 },
    { CKA_LABEL,             LABEL,     FREE,     0 },
    { CKA_ID,                ID,        FREE,     0 },
    { CKA_UNIQUE_ID,         ARN,       NEVER,    0 },
    { CKA_VALUE,             VALUE,     NEVER,    0 },
    { CKA_KEY_GEN_MECHANISM, GENERATOR, NEVER,    0 },
    { CKA_START_DATE,        DATE,      NEVER,    0 },
    { CKA_END_DATE,          DATE,      NEVER,    0 },
    { CKA_TOKEN,             FLAG,      TOKEN_,   P11_TOKEN },
    { CKA_PRIVATE,           FLAG,      FREE,     P11_PRIVATE },
    { CKA_SENSITIVE,         FLAG,      GUARDED_, P11_SENSITIVE },
    { CKA_EXTRACTABLE,       FLAG,      GUARDED_, P11_EXTRACTABLE },
    { CKA_ALWAYS_SENSITIVE,  FLAG,      NEVER,    P11_ALWAYS_SENSITIVE },
    { CKA_NEVER_EXTRACTABLE, FLAG,      NEVER,    P11_NEVER_EXTRACTABLE },
    { CKA_LOCAL,             FLAG,      NEVER,    P11_LOCAL },
    { CKA_ENCRYPT,           FLAG,      FREE,     P11_ENCRYPT },
    { CKA_DECRYPT,           FLAG,      FREE,     P11_DECRYPT },
    { CKA_WRAP,              FLAG,      FALSE_,   P11_WRAP },
    { CKA_UNWRAP,            FLAG,      FALSE_,   P11_UNWRAP },
    { CKA_DESTROYABLE,       FLAG,      FREE,     P11_DESTROYABLE },
    { CKA_SIGN,              FLAG,      FALSE_,   P11_NONE },
    { CKA_VERIFY,            FLAG,      FALSE_,   P11_NONE },
    { CKA_DERIVE,            FLAG,      FALSE_,   P11_NONE },
    { CKA_MODIFIABLE,        FLAG,      FALSE_,   P11_NONE },
    { CKA_COPYABLE,          FLAG,      FALSE_,   P11_NONE },
    { CKA_TRUSTED,           FLAG,      FALSE_,   P11_NONE },
    { CKA_WRAP_WITH_TRUSTED, FLAG,      FALSE_,   P11_NONE },
};
/* clang-format on */

static const row *row_of(CK_ATTRIBUTE_TYPE type)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].type == type)
            return &rows[i];
    return NULL;
}

/* A value and the room for those that are made on the way. */
typedef struct value {
    const void *data;
    size_t len;
    CK_BBOOL flag;
    CK_ULONG number;
} value;

static void set_number(value *v, CK_ULONG number)
{
    v->number = number;
    v->data = &v->number;
    v->len = sizeof(v->number);
}

/* Errors: CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_SENSITIVE. */
static CK_RV get(const p11_object *object, CK_ATTRIBUTE_TYPE type, value *v)
{
    const row *r = row_of(type);

    if (r == NULL)
        return CKR_ATTRIBUTE_TYPE_INVALID;
    *v = (value){0};
    switch (r->kind) {
    case FLAG:
        v->flag = (object->flags & r->flag) != 0 ? CK_TRUE : CK_FALSE;
        v->data = &v->flag;
        v->len = sizeof(v->flag);
        break;
    case CLASS:
        set_number(v, CKO_SECRET_KEY);
        break;
    case KEY_TYPE:
        set_number(v, object->type);
        break;
    case VALUE_LEN:
        set_number(v, (object->flags & P11_KMS) != 0 ? 32 : object->value.len);
        break;
    case GENERATOR:
        set_number(v, object->generated_by);
        break;
    case LABEL:
        v->data = object->label;
        v->len = object->label_len;
        break;
    case ID:
        v->data = object->id;
        v->len = object->id_len;
        break;
    case ARN:
        if ((object->flags & P11_KMS) == 0)
            return CKR_ATTRIBUTE_TYPE_INVALID;
        v->data = kms_key_arn(object->key);
        v->len = strlen(v->data);
        break;
    case VALUE:
        if ((object->flags & P11_SENSITIVE) != 0 || (object->flags & P11_EXTRACTABLE) == 0)
            return CKR_ATTRIBUTE_SENSITIVE;
        v->data = object->value.data;
        v->len = object->value.len;
        break;
    case DATE: /* empty: no limit */
        break;
    }
    return CKR_OK;
}

static CK_RV read_one(const p11_object *object, CK_ATTRIBUTE *attribute)
{
    value v;
    CK_RV rv = get(object, attribute->type, &v);

    if (rv == CKR_OK && attribute->pValue != NULL && attribute->ulValueLen < v.len)
        rv = CKR_BUFFER_TOO_SMALL;
    if (rv != CKR_OK) {
        attribute->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return rv;
    }
    if (attribute->pValue != NULL && v.len != 0)
        memcpy(attribute->pValue, v.data, v.len);
    attribute->ulValueLen = v.len;
    return CKR_OK;
}

CK_RV p11_attribute_read(const p11_object *object, CK_ATTRIBUTE *template, CK_ULONG count)
{
    CK_RV rv = CKR_OK;

    for (CK_ULONG i = 0; i < count; i++) {
        CK_RV one = read_one(object, &template[i]);
        if (one != CKR_OK)
            rv = one;
    }
    return rv;
}

static bool match_one(const p11_object *object, const CK_ATTRIBUTE *attribute)
{
    value v;

    return get(object, attribute->type, &v) == CKR_OK && v.len == attribute->ulValueLen &&
           (v.len == 0 ||
            (attribute->pValue != NULL && memcmp(v.data, attribute->pValue, v.len) == 0));
}

bool p11_attribute_match(const p11_object *object, const CK_ATTRIBUTE *template, CK_ULONG count)
{
    for (CK_ULONG i = 0; i < count; i++)
        if (!match_one(object, &template[i]))
            return false;
    return true;
}

bool p11_attribute_may_match_kms_key(const CK_ATTRIBUTE *template, CK_ULONG count)
{
    static const p11_object any = {
        .type = CKK_AES, .flags = P11_KMS_KEY, .generated_by = CK_UNAVAILABLE_INFORMATION};

    for (CK_ULONG i = 0; i < count; i++) {
        const row *r = row_of(template[i].type);
        if (r != NULL && (r->kind == LABEL || r->kind == ID || r->kind == ARN))
            continue;
        if (!match_one(&any, &template[i]))
            return false;
    }
    return true;
}

/* What settings and session allow. */
typedef struct permissions {
    bool extract, token_objects, write;
    const char *wanted; /* the setting that forbids what a template asks for; NULL: none */
} permissions;

/* Refuses an attribute that a setting forbids. */
static CK_RV forbid(permissions *may, const char *setting)
{
    may->wanted = setting;
    return CKR_TEMPLATE_INCONSISTENT;
}

static CK_RV apply_flag(p11_object *object, permissions *may, const row *r,
                        const CK_ATTRIBUTE *attribute)
{
    CK_BBOOL on;

    if (attribute->ulValueLen != sizeof(on) || attribute->pValue == NULL)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    memcpy(&on, attribute->pValue, sizeof(on));
    if (on != CK_TRUE && on != CK_FALSE)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    if (on && r->rule == FALSE_)
        return CKR_TEMPLATE_INCONSISTENT;
    if (on && r->rule == TOKEN_ && !may->token_objects)
        return forbid(may, "CKA_TOKEN needs token_objects = memory");
    if (on && r->rule == TOKEN_ && !may->write)
        return CKR_SESSION_READ_ONLY;
    if (r->rule == GUARDED_ && on == (r->flag == P11_EXTRACTABLE) && !may->extract)
        return forbid(may, r->flag == P11_EXTRACTABLE
                               ? "CKA_EXTRACTABLE needs allow_extractable = yes"
                               : "CKA_SENSITIVE false needs allow_extractable = yes");
    if (r->rule == FREE || r->rule == GUARDED_ || r->rule == TOKEN_)
        object->flags = on ? object->flags | r->flag : object->flags & ~r->flag;
    return CKR_OK;
}

/* Copies an attribute of bytes that is not longer than room. */
static CK_RV apply_bytes(const CK_ATTRIBUTE *attribute, void *to, size_t room, size_t *len)
{
    if (attribute->ulValueLen > room || (attribute->pValue == NULL && attribute->ulValueLen != 0))
        return CKR_ATTRIBUTE_VALUE_INVALID;
    if (attribute->ulValueLen != 0)
        memcpy(to, attribute->pValue, attribute->ulValueLen);
    *len = attribute->ulValueLen;
    return CKR_OK;
}

static CK_RV apply_number(const CK_ATTRIBUTE *attribute, CK_ULONG *number)
{
    if (attribute->ulValueLen != sizeof(*number) || attribute->pValue == NULL)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    memcpy(number, attribute->pValue, sizeof(*number));
    return CKR_OK;
}

static CK_RV apply_one(p11_object *object, permissions *may, const CK_ATTRIBUTE *attribute,
                       CK_ULONG *value_len)
{
    const row *r = row_of(attribute->type);
    CK_ULONG number = 0;
    CK_RV rv;

    if (r == NULL)
        return CKR_ATTRIBUTE_TYPE_INVALID;
    if (r->rule == NEVER)
        return CKR_ATTRIBUTE_READ_ONLY;
    switch (r->kind) {
    case FLAG:
        return apply_flag(object, may, r, attribute);
    case LABEL:
        return apply_bytes(attribute, object->label, sizeof(object->label), &object->label_len);
    case ID:
        return apply_bytes(attribute, object->id, sizeof(object->id), &object->id_len);
    case VALUE_LEN:
        return apply_number(attribute, value_len);
    case KEY_TYPE:
        rv = apply_number(attribute, &object->type);
        return rv == CKR_OK && object->type != CKK_AES && object->type != CKK_GENERIC_SECRET
                   ? CKR_TEMPLATE_INCONSISTENT
                   : rv;
    default: /* CLASS */
        rv = apply_number(attribute, &number);
        return rv == CKR_OK && number != CKO_SECRET_KEY ? CKR_TEMPLATE_INCONSISTENT : rv;
    }
}

static bool is_repeated(const CK_ATTRIBUTE *template, CK_ULONG at)
{
    for (CK_ULONG i = 0; i < at; i++)
        if (template[i].type == template[at].type)
            return true;
    return false;
}

CK_RV p11_attribute_apply(p11_object *object, const p11_session_scope *scope, const char *door,
                          const CK_ATTRIBUTE *template, CK_ULONG count, CK_ULONG *value_len)
{
    const kms_config *config = kms_client_config(scope->module->client);
    kms_error err = {0};
    permissions may = {
        .extract = kms_config_flag(config, KMS_SET_ALLOW_EXTRACTABLE),
        .token_objects = strcmp(kms_config_text(config, KMS_SET_TOKEN_OBJECTS), "memory") == 0,
        .write = (scope->session->flags & CKF_RW_SESSION) != 0,
    };
    CK_RV rv = CKR_OK;

    *value_len = 0;
    if (template == NULL && count != 0)
        return CKR_ARGUMENTS_BAD;
    object->flags = P11_SENSITIVE | P11_ENCRYPT | P11_DECRYPT | P11_DESTROYABLE;
    for (CK_ULONG i = 0; i < count && rv == CKR_OK; i++)
        rv = is_repeated(template, i) ? CKR_TEMPLATE_INCONSISTENT
                                      : apply_one(object, &may, &template[i], value_len);
    if (may.wanted != NULL) {
        kms_fail(&err, KMS_E_TEMPLATE, "%s", may.wanted);
        rv = p11_module_fail(scope->module, door, &err);
    }
    if (object->type != CKK_AES) /* no mechanism encrypts with it */
        object->flags &= ~(unsigned)(P11_ENCRYPT | P11_DECRYPT);
    return rv;
}
