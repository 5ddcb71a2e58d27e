/* Which KMS keys the token shows. */
#include "core/log.h"
#include "pkcs11/object.h"

#include <stdlib.h>
#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* CKA_ID: the 16 bytes of the key id, a UUID or mrk- and 32 digits. */
static void set_id(p11_object *object, const char *key_id)
{
    size_t digits = 0;
    const char *at = strncmp(key_id, "mrk-", 4) == 0 ? key_id + 4 : key_id;

    for (; *at != '\0' && digits < 32; at++) {
        int digit = hex_digit(*at);
        if (digit < 0)
            continue;
        object->id[digits / 2] = (uint8_t)(object->id[digits / 2] << 4 | digit);
        digits++;
    }
    object->id_len = digits / 2;
}

static void set_label(p11_object *object, const char *name)
{
    if (strncmp(name, "alias/", strlen("alias/")) == 0)
        name += strlen("alias/");
    object->label_len = strnlen(name, sizeof(object->label));
    memcpy(object->label, name, object->label_len);
}

/* Takes the reference over. */
static p11_object *object_of(kms_key *key, const char *name)
{
    p11_object *object = p11_object_new();

    if (object == NULL) {
        kms_key_free(key);
        return NULL;
    }
    object->key = key;
    object->flags = P11_TOKEN | P11_SENSITIVE | P11_ALWAYS_SENSITIVE | P11_NEVER_EXTRACTABLE |
                    P11_ENCRYPT | P11_DECRYPT | P11_WRAP | P11_UNWRAP;
    set_id(object, kms_key_id(key));
    if (strncmp(name, "alias/", strlen("alias/")) != 0)
        name = kms_key_alias(key) != NULL ? kms_key_alias(key) : kms_key_id(key);
    set_label(object, name);
    return object;
}

/* Publishes what is not known yet; a key that is known by its ARN keeps its handle. */
static CK_RV publish(p11_module *module, p11_object *fresh)
{
    CK_RV rv = CKR_OK;

    kms_lock_take(&module->lock);
    for (size_t i = 0; i < module->objects.count && fresh != NULL; i++) {
        p11_object *known = p11_table_get(&module->objects, p11_table_at(&module->objects, i));
        if (known == NULL || known->key == NULL ||
            strcmp(kms_key_arn(known->key), kms_key_arn(fresh->key)) != 0)
            continue;
        known->hidden = false;
        break;
    }
    kms_lock_give(&module->lock);
    return rv;
}
