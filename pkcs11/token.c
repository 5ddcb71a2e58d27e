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
    object->flags = P11_KMS_KEY;
    set_id(object, kms_key_id(key));
    if (strncmp(name, "alias/", strlen("alias/")) != 0)
        name = kms_key_alias(key) != NULL ? kms_key_alias(key) : kms_key_id(key);
    set_label(object, name);
    return object;
}

/* The keys of one listing, before they are published. */
typedef struct listing {
    p11_object **objects;
    size_t count;
} listing;

static void listing_clear(listing *list)
{
    for (size_t i = 0; i < list->count; i++)
        p11_object_free(list->objects[i]);
    free(list->objects);
}

static bool listing_has_key(const listing *list, const kms_key *key)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(kms_key_arn(list->objects[i]->key), kms_key_arn(key)) == 0)
            return true;
    return false;
}

/* Loads one key into the list, which has room. Keys of another kind are left out. */
static kms_status add(p11_module *module, const char *name, listing *list, kms_error *err)
{
    kms_address address = {0};
    kms_key *key = NULL;
    p11_object *object;
    kms_status st = kms_address_parse(name, &address, err);

    if (st == KMS_OK)
        st = kms_client_key(module->client, &address, &key, err);
    if (st == KMS_OK && kms_key_is_symmetric(key) && !listing_has_key(list, key)) {
        object = object_of(kms_key_ref(key), address.key);
        if (object != NULL)
            list->objects[list->count++] = object;
        else
            st = kms_fail(err, KMS_E_NO_MEMORY, "a key object");
    }
    kms_key_free(key);
    kms_address_clear(&address);
    return st;
}

/* True where a key that can't be used is no reason to hide the others. */
static bool concerns_one_key(kms_status st)
{
    return st == KMS_E_ACCESS_DENIED || st == KMS_E_NOT_FOUND || st == KMS_E_REPLICA_NOT_ALLOWED ||
           st == KMS_E_KEY_STATE || st == KMS_E_KEY_DISABLED;
}

static kms_status list_all(p11_module *module, const char *door, listing *list, kms_error *err)
{
    char **names = NULL;
    size_t count = 0;
    kms_status st = kms_client_list(module->client, NULL, &names, &count, err);

    if (st == KMS_OK) {
        list->objects = calloc(count + 1, sizeof(p11_object *));
        if (list->objects == NULL)
            st = kms_fail(err, KMS_E_NO_MEMORY, "key objects");
    }
    for (size_t i = 0; list->objects != NULL && i < count && st == KMS_OK; i++) {
        st = add(module, names[i], list, err);
        if (concerns_one_key(st)) {
            kms_log_error(kms_client_config(module->client), door, err);
            st = KMS_OK;
        }
    }
    kms_client_list_free(names, count);
    return st;
}

static kms_status list_configured(p11_module *module, const char *name, listing *list,
                                  kms_error *err)
{
    kms_status st;

    list->objects = calloc(1, sizeof(p11_object *));
    if (list->objects == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "a key object");
    st = add(module, name, list, err);
    if (st == KMS_OK && list->count == 0)
        st = kms_fail(err, KMS_E_KEY_USAGE, "%s is no symmetric key for encryption", name);
    return st;
}

/* Same key and same label, so that a handle never comes to mean something else. */
static bool same_object(const p11_object *a, const p11_object *b)
{
    return strcmp(kms_key_arn(a->key), kms_key_arn(b->key)) == 0 && a->label_len == b->label_len &&
           memcmp(a->label, b->label, a->label_len) == 0;
}

/* Under the lock. Known objects that the list has keep their handles and replace the list's. */
static void reconcile(p11_module *module, listing *list)
{
    for (size_t i = 0; i < module->objects.count; i++) {
        p11_object *known = p11_table_get(&module->objects, p11_table_at(&module->objects, i));
        if (known == NULL || known->key == NULL)
            continue;
        known->hidden = true;
        for (size_t j = 0; j < list->count; j++) {
            if (list->objects[j] != known && same_object(known, list->objects[j])) {
                known->hidden = false;
                p11_object_free(list->objects[j]);
                list->objects[j] = list->objects[--list->count];
                break;
            }
        }
    }
}

/* Takes the list's references over, as far as there is memory. */
static CK_RV publish(p11_module *module, listing *list)
{
    const long seconds =
        kms_config_number(kms_client_config(module->client), KMS_SET_KEY_CACHE_SECONDS);
    struct timespec now;
    CK_RV rv = CKR_OK;

    clock_gettime(CLOCK_MONOTONIC, &now);
    kms_lock_take(&module->lock);
    reconcile(module, list);
    while (list->count != 0 && rv == CKR_OK) {
        if (p11_table_add(&module->objects, list->objects[list->count - 1]) != 0)
            list->count--;
        else
            rv = CKR_HOST_MEMORY;
    }
    module->listed = rv == CKR_OK;
    module->listed_till = now.tv_sec + seconds;
    kms_lock_give(&module->lock);
    return rv;
}

static bool is_fresh(p11_module *module)
{
    struct timespec now;
    bool fresh;

    clock_gettime(CLOCK_MONOTONIC, &now);
    kms_lock_take(&module->lock);
    fresh = module->listed && now.tv_sec < module->listed_till;
    kms_lock_give(&module->lock);
    return fresh;
}

CK_RV p11_token_load(p11_module *module, const char *door)
{
    const char *name = kms_config_text(kms_client_config(module->client), KMS_SET_KEY);
    listing list = {0};
    kms_error err = {0};
    kms_status st = kms_client_check_enabled(module->client, &err);
    CK_RV rv;

    if (st == KMS_OK && is_fresh(module))
        return CKR_OK;
    if (st == KMS_OK)
        st = name != NULL ? list_configured(module, name, &list, &err)
                          : list_all(module, door, &list, &err);
    rv = st == KMS_OK ? publish(module, &list) : p11_module_fail(module, door, &err);
    listing_clear(&list);
    return rv;
}
