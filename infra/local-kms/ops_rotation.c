/* Rotation: new material for encryption, old material kept for decryption. */
#include "call.h"

#include <stdio.h>
#include <string.h>

#define DAY (24.0 * 3600)

static bool rotatable(call *c, key **k, bool enabled)
{
    if (!in_key(c, "KeyId", false, k))
        return false;
    if (enabled && !must_be_enabled(c, *k))
        return false;
    if ((*k)->family->spec->kind != SPEC_SYMMETRIC)
        return refuse(&c->failure, "UnsupportedOperationException",
                      "Rotation is not supported for key spec %s.", (*k)->family->spec->name);
    return true;
}

bool op_get_key_rotation_status(call *c)
{
    key *k;

    if (!in_key(c, "KeyId", false, &k))
        return false;
    if (strncmp(k->state, "Pending", 7) == 0)
        return refuse(&c->failure, "KMSInvalidStateException", "%s is pending deletion.",
                      k->family->key_id);
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

    if (!in_number(c, "RotationPeriodInDays", 90, 2560, 365, &days) || !rotatable(c, &k, true))
        return false;
    k->family->rotates = true;
    k->family->rotation_days = (int)days;
    k->family->next_rotation = store_now() + (double)days * DAY;
    store_save_key(c->store, k);
    return true;
}

bool op_disable_key_rotation(call *c)
{
    key *k;

    if (!rotatable(c, &k, true))
        return false;
    k->family->rotates = false;
    store_save_key(c->store, k);
    return true;
}

bool op_rotate_key_on_demand(call *c)
{
    key *k;
    bytes fresh = {0};
    EVP_PKEY *none;
    int count = 0;

    if (!rotatable(c, &k, true))
        return false;
    for (size_t i = 0; i < k->family->material_count; i++)
        count += k->family->materials[i].on_demand;
    if (count >= ROTATIONS_MAX)
        return refuse(&c->failure, "LimitExceededException",
                      "The number of on-demand rotations is exhausted");
    if (!crypto_generate(k->family->spec, &fresh, &none) ||
        !family_add_material(k->family, fresh.data, fresh.len, true)) {
        bytes_clear(&fresh);
        return out_of_order(c);
    }
    store_save_key(c->store, k);
    out_arn(c, "KeyId", k);
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
    key *k;
    page p;
    const char *which;

    if (!page_begin(c, 1000, 100, &p) || !in_text(c, "IncludeKeyMaterial", false, 32, &which) ||
        !rotatable(c, &k, false))
        return false;
    cJSON *list = cJSON_AddArrayToObject(c->out, "Rotations");
    bool all = which != NULL && strcmp(which, "ALL_KEY_MATERIAL") == 0;
    const family *f = k->family;
    for (size_t i = 0; i < f->material_count; i++)
        if ((i > 0 || all) && page_take(&p))
            add_rotation(list, k, &f->materials[i], i + 1 == f->material_count, i == 0);
    page_end(c, &p);
    return true;
}
