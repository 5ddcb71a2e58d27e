/* Rotation: new material for encryption, old material kept for decryption. */
#include "call.h"

#include <stdio.h>
#include <string.h>

#define DAY (24.0 * 3600)

/* Only symmetric keys rotate; a multi-Region key does where its primary is. */
static bool rotatable(call *c, key **k)
{
    if (!in_key(c, "KeyId", false, k) || !must_be_enabled(c, *k))
        return false;
    if ((*k)->family->spec->kind != SPEC_SYMMETRIC)
        return refuse(&c->failure, "UnsupportedOperationException",
                      "Rotation is not supported for key spec %s.", (*k)->family->spec->name);
    return !key_is_replica(*k) ||
           refuse(&c->failure, "UnsupportedOperationException",
                  "%s is a replica; rotation is its primary's.", (*k)->family->key_id);
}

bool op_get_key_rotation_status(call *c)
{
    key *k;

    if (!in_key(c, "KeyId", false, &k) || !must_not_be_pending(c, k))
        return false;
    out_arn(c, "KeyId", k);
    cJSON_AddBoolToObject(c->out, "KeyRotationEnabled", k->family->rotates);
    if (k->family->rotates) {
        cJSON_AddNumberToObject(c->out, "RotationPeriodInDays", k->family->rotation_days);
        cJSON_AddNumberToObject(c->out, "NextRotationDate", k->family->next_rotation);
    }
    return true;
}

bool op_enable_key_rotation(call *c)
{
    key *k;
    long days;

    if (!in_number(c, "RotationPeriodInDays", 90, 2560, 365, &days) || !rotatable(c, &k))
        return false;
    k->family->rotates = true;
    k->family->rotation_days = (int)days;
    k->family->next_rotation = store_now() + (double)days * DAY;
    return store_save_key(k) || out_of_order(c);
}

bool op_disable_key_rotation(call *c)
{
    key *k;

    if (!rotatable(c, &k))
        return false;
    k->family->rotates = false;
    return store_save_key(k) || out_of_order(c);
}

/* New material; a key never has one that the database lacks. */
static bool rotate(const key *k, bool on_demand)
{
    bytes fresh = {0};
    EVP_PKEY *none;

    if (!crypto_generate(k->family->spec, &fresh, &none) ||
        !family_add_material(k->family, fresh.data, fresh.len, on_demand)) {
        bytes_clear(&fresh);
        return false;
    }
    if (store_save_key(k))
        return true;
    family_drop_newest(k->family);
    return false;
}

bool op_rotate_key_on_demand(call *c)
{
    key *k;
    int count = 0;

    if (!rotatable(c, &k))
        return false;
    for (size_t i = 0; i < k->family->material_count; i++)
        count += k->family->materials[i].on_demand;
    if (count >= ROTATIONS_MAX)
        return refuse(&c->failure, "LimitExceededException",
                      "The number of on-demand rotations is exhausted");
    if (!rotate(k, true))
        return out_of_order(c);
    out_arn(c, "KeyId", k);
    return true;
}

bool rotate_due(store *s, double now)
{
    for (const key *k = s->keys; k != NULL; k = k->next) {
        family *f = k->family;
        if (!f->rotates || f->next_rotation > now || key_is_replica(k) || k->state != STATE_ENABLED)
            continue;
        f->next_rotation = now + f->rotation_days * DAY;
        if (!rotate(k, false))
            return false;
    }
    return true;
}

static void add_rotation(cJSON *list, const key *k, const material *m, bool current, bool first)
{
    cJSON *item = cJSON_CreateObject();
    char id[2 * MATERIAL_ID_SIZE + 1];

    for (size_t i = 0; i < MATERIAL_ID_SIZE; i++)
        snprintf(id + 2 * i, 3, "%02x", m->id[i]);
    cJSON_AddStringToObject(item, "KeyId", k->family->key_id);
    cJSON_AddStringToObject(item, "KeyMaterialId", id);
    cJSON_AddStringToObject(item, "KeyMaterialState", current ? "CURRENT" : "NON_CURRENT");
    if (!first) {
        cJSON_AddNumberToObject(item, "RotationDate", m->created);
        cJSON_AddStringToObject(item, "RotationType", m->on_demand ? "ON_DEMAND" : "AUTOMATIC");
    }
    cJSON_AddItemToArray(list, item);
}

bool op_list_key_rotations(call *c)
{
    static const char *const choices[] = {"ROTATIONS_ONLY", "ALL_KEY_MATERIAL", NULL};
    key *k;
    page p;
    const char *which;

    if (!page_begin(c, 1000, 100, &p) || !in_choice(c, "IncludeKeyMaterial", choices, &which) ||
        !in_key(c, "KeyId", false, &k))
        return false;
    if (k->family->spec->kind != SPEC_SYMMETRIC)
        return refuse(&c->failure, "UnsupportedOperationException",
                      "Rotation is not supported for key spec %s.", k->family->spec->name);
    cJSON *list = cJSON_AddArrayToObject(c->out, "Rotations");
    bool all = which != NULL && strcmp(which, "ALL_KEY_MATERIAL") == 0;
    const family *f = k->family;
    for (size_t i = 0; i < f->material_count; i++)
        if ((i > 0 || all) && page_take(&p))
            add_rotation(list, k, &f->materials[i], i + 1 == f->material_count, i == 0);
    page_end(c, &p);
    return true;
}
