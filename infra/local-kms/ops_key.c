/* Keys: made, described, listed, switched, deleted, replicated. */
#include "call.h"
#include "options.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY (24.0 * 3600)

static char *default_policy(const store *s, const char *region)
{
    char *text = NULL;

    if (asprintf(&text,
                 "{\"Version\":\"2012-10-17\",\"Id\":\"key-default-1\",\"Statement\":[{\"Sid\":"
                 "\"Enable IAM User Permissions\",\"Effect\":\"Allow\",\"Principal\":{\"AWS\":"
                 "\"arn:%s:iam::%s:root\"},\"Action\":\"kms:*\",\"Resource\":\"*\"}]}",
                 partition(region), s->account) < 0)
        return NULL;
    return text;
}

static void add_related(call *c, cJSON *to, const char *region, const family *f)
{
    const key *k = store_find_key(c->store, region, f->key_id);
    char arn[ARN_SIZE] = "";

    if (k != NULL)
        key_arn(c->store, k, arn, sizeof(arn));
    cJSON_AddStringToObject(to, "Arn", arn);
    cJSON_AddStringToObject(to, "Region", region);
}

static void add_family(call *c, cJSON *metadata, const key *k)
{
    const family *f = k->family;

    cJSON_AddBoolToObject(metadata, "MultiRegion", f->multi_region);
    if (!f->multi_region)
        return;
    cJSON *configuration = cJSON_AddObjectToObject(metadata, "MultiRegionConfiguration");
    cJSON_AddStringToObject(configuration, "MultiRegionKeyType",
                            key_is_replica(k) ? "REPLICA" : "PRIMARY");
    add_related(c, cJSON_AddObjectToObject(configuration, "PrimaryKey"), f->primary_region, f);
    cJSON *replicas = cJSON_AddArrayToObject(configuration, "ReplicaKeys");
    for (const key *other = c->store->keys; other != NULL; other = other->next) {
        if (other->family != f || strcmp(other->region, f->primary_region) == 0)
            continue;
        cJSON *replica = cJSON_CreateObject();
        add_related(c, replica, other->region, f);
        cJSON_AddItemToArray(replicas, replica);
    }
}

static cJSON *describe(call *c, const key *k)
{
    const family *f = k->family;
    const algorithm *a;
    char text[ARN_SIZE];
    cJSON *m = cJSON_CreateObject();

    cJSON_AddStringToObject(m, "AWSAccountId", c->store->account);
    cJSON_AddStringToObject(m, "KeyId", f->key_id);
    key_arn(c->store, k, text, sizeof(text));
    cJSON_AddStringToObject(m, "Arn", text);
    cJSON_AddNumberToObject(m, "CreationDate", k->created);
    cJSON_AddBoolToObject(m, "Enabled", k->state == STATE_ENABLED);
    cJSON_AddStringToObject(m, "Description", k->description);
    cJSON_AddStringToObject(m, "KeyUsage", f->usage);
    cJSON_AddStringToObject(m, "KeyState", key_state_name(k->state));
    cJSON_AddStringToObject(m, "KeyManager", "CUSTOMER");
    cJSON_AddStringToObject(m, "Origin", "AWS_KMS");
    cJSON_AddStringToObject(m, "KeySpec", f->spec->name);
    cJSON_AddStringToObject(m, "CustomerMasterKeySpec", f->spec->name);
    for (size_t i = 0; (a = algorithm_at(f->spec, f->usage, i)) != NULL; i++) {
        cJSON *list = cJSON_GetObjectItemCaseSensitive(m, a->member);
        if (list == NULL)
            list = cJSON_AddArrayToObject(m, a->member);
        cJSON_AddItemToArray(list, cJSON_CreateString(a->name));
    }
    add_family(c, m, k);
    if (k->deletion > 0 && k->state == STATE_PENDING_DELETION)
        cJSON_AddNumberToObject(m, "DeletionDate", k->deletion);
    if (k->state == STATE_PENDING_REPLICA_DELETION)
        cJSON_AddNumberToObject(m, "PendingDeletionWindowInDays", k->pending_days);
    if (f->spec->kind == SPEC_SYMMETRIC) {
        for (size_t i = 0; i < MATERIAL_ID_SIZE; i++)
            snprintf(text + 2 * i, 3, "%02x", family_current(f)->id[i]);
        cJSON_AddStringToObject(m, "CurrentKeyMaterialId", text);
    }
    return m;
}

bool op_describe_key(call *c)
{
    key *k;

    if (!in_key(c, "KeyId", true, &k))
        return false;
    cJSON_AddItemToObject(c->out, "KeyMetadata", describe(c, k));
    return true;
}

static bool make_id(char id[40], bool multi_region)
{
    uint8_t r[16];
    char hex[33];

    if (RAND_bytes(r, sizeof(r)) != 1)
        return false;
    r[6] = (uint8_t)((r[6] & 0x0f) | 0x40);
    r[8] = (uint8_t)((r[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < sizeof(r); i++)
        snprintf(hex + 2 * i, 3, "%02x", r[i]);
    if (multi_region)
        snprintf(id, 40, "mrk-%s", hex);
    else
        snprintf(id, 40, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    return true;
}

static family *make_family(const key_spec *spec, const char *usage, bool multi_region,
                           const char *region)
{
    family *f = calloc(1, sizeof(*f));
    bytes secret = {0};
    EVP_PKEY *parsed = NULL;

    if (f == NULL || !make_id(f->key_id, multi_region) ||
        !crypto_generate(spec, &secret, &parsed) ||
        !family_add_material(f, secret.data, secret.len, false)) {
        bytes_clear(&secret);
        EVP_PKEY_free(parsed);
        free(f);
        return NULL;
    }
    f->spec = spec;
    f->usage = usage;
    f->multi_region = multi_region;
    f->parsed = parsed;
    snprintf(f->primary_region, sizeof(f->primary_region), "%s", region);
    return f;
}

static key *make_key(const store *s, family *f, const char *region, const char *description,
                     const char *policy, const cJSON *tags)
{
    key *k = calloc(1, sizeof(*k));

    if (k == NULL)
        return NULL;
    k->family = f;
    snprintf(k->region, sizeof(k->region), "%s", region);
    k->state = STATE_ENABLED;
    k->created = store_now();
    k->description = strdup(description != NULL ? description : "");
    k->policy = policy != NULL ? strdup(policy) : default_policy(s, region);
    k->tags = tags != NULL ? cJSON_Duplicate(tags, true) : cJSON_CreateArray();
    return k;
}

/* The usage must be given unless the spec has only the symmetric one. */
static bool choose_usage(failure *f, const key_spec *spec, const char *usage, const char **out)
{
    if (usage == NULL && spec->kind == SPEC_SYMMETRIC)
        usage = spec->usages[0];
    for (size_t i = 0; usage != NULL && i < 4 && spec->usages[i] != NULL; i++) {
        if (strcmp(spec->usages[i], usage) == 0) {
            *out = spec->usages[i];
            return true;
        }
    }
    if (usage == NULL)
        return refuse(f, "ValidationException",
                      "You must specify a KeyUsage value for all KMS "
                      "keys except for symmetric encryption keys.");
    return refuse(f, "ValidationException", "KeyUsage %s is not compatible with KeySpec %s", usage,
                  spec->name);
}

static bool choose_spec(call *c, const key_spec **spec, const char **usage)
{
    const char *name, *old_name, *wanted, *origin;

    if (!in_text(c, "KeySpec", false, 64, &name) ||
        !in_text(c, "CustomerMasterKeySpec", false, 64, &old_name) ||
        !in_text(c, "KeyUsage", false, 64, &wanted) || !in_text(c, "Origin", false, 64, &origin))
        return false;
    if (origin != NULL && strcmp(origin, "AWS_KMS") != 0)
        return refuse(&c->failure, "UnsupportedOperationException",
                      "Origin %s is not available in the local server.", origin);
    if (name != NULL && old_name != NULL && strcmp(name, old_name) != 0)
        return refuse(&c->failure, "ValidationException",
                      "KeySpec and CustomerMasterKeySpec differ; give KeySpec only.");
    if (name == NULL)
        name = old_name != NULL ? old_name : "SYMMETRIC_DEFAULT";
    *spec = spec_find(name);
    if (*spec == NULL)
        return refuse(&c->failure, "ValidationException",
                      "1 validation error detected: Value '%s' at 'keySpec' failed to satisfy "
                      "constraint: Member must satisfy enum value set",
                      name);
    if (!crypto_supports(*spec))
        return refuse(&c->failure, "UnsupportedOperationException",
                      "Key spec %s needs a local server with OpenSSL 3.5.", name);
    return choose_usage(&c->failure, *spec, wanted, usage);
}

bool op_create_key(call *c)
{
    const key_spec *spec = NULL;
    const char *usage, *description, *policy;
    const cJSON *tags;

    if (!choose_spec(c, &spec, &usage) || !in_text(c, "Description", false, 8192, &description) ||
        !in_policy(c, false, &policy) || !in_tags(c, false, &tags))
        return false;
    family *f = make_family(spec, usage, in_flag(c, "MultiRegion"), c->region);
    key *k = f != NULL ? make_key(c->store, f, c->region, description, policy, tags) : NULL;
    if (k == NULL || !store_add_key(c->store, k))
        return out_of_order(c);
    cJSON_AddItemToObject(c->out, "KeyMetadata", describe(c, k));
    return true;
}

bool op_list_keys(call *c)
{
    page p;

    if (!page_begin(c, 1000, 100, &p))
        return false;
    cJSON *list = cJSON_AddArrayToObject(c->out, "Keys");
    for (const key *k = c->store->keys; k != NULL; k = k->next) {
        char arn[256];
        if (strcmp(k->region, c->region) != 0 || !page_take(&p))
            continue;
        cJSON *item = cJSON_CreateObject();
        key_arn(c->store, k, arn, sizeof(arn));
        cJSON_AddStringToObject(item, "KeyId", k->family->key_id);
        cJSON_AddStringToObject(item, "KeyArn", arn);
        cJSON_AddItemToArray(list, item);
    }
    page_end(c, &p);
    return true;
}

static bool set_state(call *c, key_state state)
{
    key *k;

    if (!in_key(c, "KeyId", false, &k) || !must_not_be_pending(c, k))
        return false;
    k->state = state;
    return store_save_key(k) || out_of_order(c);
}

bool op_enable_key(call *c)
{
    return set_state(c, STATE_ENABLED);
}

bool op_disable_key(call *c)
{
    return set_state(c, STATE_DISABLED);
}

bool op_update_key_description(call *c)
{
    key *k;
    const char *text;

    if (!in_text(c, "Description", true, 8192, &text) || !in_key(c, "KeyId", false, &k) ||
        !must_not_be_pending(c, k))
        return false;
    free(k->description);
    k->description = strdup(text);
    return store_save_key(k) || out_of_order(c);
}

bool op_schedule_key_deletion(call *c)
{
    key *k;
    long days;

    if (!in_number(c, "PendingWindowInDays", 7, 30, 30, &days) || !in_key(c, "KeyId", false, &k) ||
        !must_not_be_pending(c, k))
        return false;
    bool waits = key_has_replicas(c->store, k);
    k->state = waits ? STATE_PENDING_REPLICA_DELETION : STATE_PENDING_DELETION;
    k->pending_days = (int)days;
    k->deletion = waits ? 0 : store_now() + (double)days * DAY;
    if (!store_save_key(k))
        return out_of_order(c);
    out_arn(c, "KeyId", k);
    if (!waits)
        cJSON_AddNumberToObject(c->out, "DeletionDate", k->deletion);
    out_text(c, "KeyState", key_state_name(k->state));
    cJSON_AddNumberToObject(c->out, "PendingWindowInDays", (double)days);
    return true;
}

bool op_cancel_key_deletion(call *c)
{
    key *k;
    char arn[ARN_SIZE];

    if (!in_key(c, "KeyId", false, &k))
        return false;
    if (!key_is_pending(k)) {
        key_arn(c->store, k, arn, sizeof(arn));
        return refuse(&c->failure, "KMSInvalidStateException", "%s is not pending deletion.", arn);
    }
    k->state = STATE_DISABLED;
    k->deletion = 0;
    if (!store_save_key(k))
        return out_of_order(c);
    out_arn(c, "KeyId", k);
    return true;
}

static bool replica_region(call *c, const char **region)
{
    if (!in_text(c, "ReplicaRegion", true, REGION_SIZE - 1, region))
        return false;
    return (region_plausible(*region) && strcmp(partition(*region), partition(c->region)) == 0) ||
           refuse(&c->failure, "ValidationException",
                  "Replica region '%s' is not a region of this partition.", *region);
}

bool op_replicate_key(call *c)
{
    key *k;
    const char *region, *description, *policy;
    const cJSON *tags;

    if (!replica_region(c, &region) || !in_text(c, "Description", false, 8192, &description) ||
        !in_policy(c, false, &policy) || !in_tags(c, false, &tags) ||
        !in_key(c, "KeyId", false, &k) || !must_be_enabled(c, k))
        return false;
    if (!k->family->multi_region || key_is_replica(k))
        return refuse(&c->failure, "UnsupportedOperationException",
                      "%s is not a multi-Region primary key.", k->family->key_id);
    if (store_find_key(c->store, region, k->family->key_id) != NULL)
        return refuse(&c->failure, "AlreadyExistsException", "A replica of %s already exists in %s",
                      k->family->key_id, region);
    key *replica = make_key(c->store, k->family, region, description, policy, tags);
    if (replica == NULL || !store_add_key(c->store, replica))
        return out_of_order(c);
    cJSON_AddItemToObject(c->out, "ReplicaKeyMetadata", describe(c, replica));
    out_text(c, "ReplicaPolicy", replica->policy);
    cJSON_AddItemToObject(c->out, "ReplicaTags", cJSON_Duplicate(replica->tags, true));
    return true;
}

/* Takes alias/NAME[:SPEC[:USAGE]] apart, in place. */
static bool parse_seed(char *text, const key_spec **spec, const char **usage)
{
    char *rest = text, *name = strsep(&rest, ":"), *spec_name = strsep(&rest, ":");
    failure why = {0};

    if (!alias_name_valid(&why, name)) {
        fprintf(stderr, "kms-local: --seed-key: %s\n", why.message);
        return false;
    }
    *spec = spec_find(spec_name != NULL ? spec_name : "SYMMETRIC_DEFAULT");
    if (*spec == NULL) {
        fprintf(stderr, "kms-local: --seed-key: there is no key spec '%s'\n", spec_name);
        return false;
    }
    if (!crypto_supports(*spec)) {
        fprintf(stderr, "kms-local: --seed-key: key spec %s needs OpenSSL 3.5\n", spec_name);
        return false;
    }
    if (!choose_usage(&why, *spec, rest != NULL ? rest : (*spec)->usages[0], usage)) {
        fprintf(stderr, "kms-local: --seed-key: %s\n", why.message);
        return false;
    }
    return true;
}

static bool plant(store *s, const char *region, const char *name, const key_spec *spec,
                  const char *usage)
{
    const alias *there = store_find_alias(s, region, name);

    if (there != NULL) {
        if (there->target->family->spec == spec && there->target->family->usage == usage)
            return true;
        fprintf(stderr, "kms-local: --seed-key: %s is there already, as %s for %s\n", name,
                there->target->family->spec->name, there->target->family->usage);
        return false;
    }
    family *f = make_family(spec, usage, false, region);
    key *k = f != NULL ? make_key(s, f, region, "seeded", NULL, NULL) : NULL;
    if (k != NULL && store_add_key(s, k) && store_add_alias(s, region, name, k))
        return true;
    fprintf(stderr, "kms-local: --seed-key: %s can't be made\n", name);
    return false;
}

bool seed_key(store *s, const char *region, const char *text)
{
    const key_spec *spec;
    const char *usage;
    char *copy = strdup(text);
    bool ok =
        copy != NULL && parse_seed(copy, &spec, &usage) && plant(s, region, copy, spec, usage);

    free(copy);
    return ok;
}
