#include "store.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static sqlite3 *db;

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS family(key_id TEXT PRIMARY KEY, json TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS material(key_id TEXT, seq INTEGER, id BLOB, bytes BLOB,"
    "  created REAL, on_demand INTEGER, PRIMARY KEY(key_id, seq));"
    "CREATE TABLE IF NOT EXISTS key(region TEXT, key_id TEXT, seq INTEGER, json TEXT NOT NULL,"
    "  PRIMARY KEY(region, key_id));"
    "CREATE TABLE IF NOT EXISTS alias(region TEXT, name TEXT, key_id TEXT, created REAL,"
    "  updated REAL, PRIMARY KEY(region, name));";

void store_read(void)
{
    pthread_rwlock_rdlock(&lock);
}

void store_write(void)
{
    pthread_rwlock_wrlock(&lock);
}

void store_unlock(void)
{
    pthread_rwlock_unlock(&lock);
}

double store_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

const char *partition(const char *region)
{
    return strncmp(region, "eusc-", 5) == 0     ? "aws-eusc"
           : strncmp(region, "cn-", 3) == 0     ? "aws-cn"
           : strncmp(region, "us-gov-", 7) == 0 ? "aws-us-gov"
                                                : "aws";
}

void resource_arn(const store *s, const char *region, const char *resource, char *out, size_t size)
{
    snprintf(out, size, "arn:%s:kms:%s:%s:%s", partition(region), region, s->account, resource);
}

void key_arn(const store *s, const key *k, char *out, size_t size)
{
    char resource[sizeof("key/") + sizeof(k->family->key_id)];

    snprintf(resource, sizeof(resource), "key/%s", k->family->key_id);
    resource_arn(s, k->region, resource, out, size);
}

const char *key_state_name(key_state state)
{
    static const char *const names[STATE_COUNT] = {
        [STATE_ENABLED] = "Enabled",
        [STATE_DISABLED] = "Disabled",
        [STATE_PENDING_DELETION] = "PendingDeletion",
        [STATE_PENDING_REPLICA_DELETION] = "PendingReplicaDeletion",
    };

    return names[state];
}

bool key_is_pending(const key *k)
{
    return k->state == STATE_PENDING_DELETION || k->state == STATE_PENDING_REPLICA_DELETION;
}

bool key_is_replica(const key *k)
{
    return k->family->multi_region && strcmp(k->family->primary_region, k->region) != 0;
}

bool key_has_replicas(const store *s, const key *k)
{
    if (!k->family->multi_region || key_is_replica(k))
        return false;
    for (const key *other = s->keys; other != NULL; other = other->next)
        if (other != k && other->family == k->family)
            return true;
    return false;
}

key *store_find_key(store *s, const char *region, const char *key_id)
{
    for (key *k = s->keys; k != NULL; k = k->next)
        if (strcmp(k->family->key_id, key_id) == 0 && strcmp(k->region, region) == 0)
            return k;
    return NULL;
}

alias *store_find_alias(store *s, const char *region, const char *name)
{
    for (alias *a = s->aliases; a != NULL; a = a->next)
        if (strcmp(a->name, name) == 0 && strcmp(a->region, region) == 0)
            return a;
    return NULL;
}

const material *family_current(const family *f)
{
    return &f->materials[f->material_count - 1];
}

static bool append_material(family *f, const material *m)
{
    material *grown = realloc(f->materials, (f->material_count + 1) * sizeof(*grown));

    if (grown == NULL)
        return false;
    f->materials = grown;
    f->materials[f->material_count++] = *m;
    return true;
}

bool family_add_material(family *f, uint8_t *bytes, size_t len, bool on_demand)
{
    material m = {.len = len, .created = store_now(), .on_demand = on_demand};

    m.bytes = bytes;
    return RAND_bytes(m.id, sizeof(m.id)) == 1 && append_material(f, &m);
}

void family_drop_newest(family *f)
{
    const material *m = &f->materials[--f->material_count];

    OPENSSL_clear_free(m->bytes, m->len);
}

static void family_free(family *f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; i < f->material_count; i++)
        OPENSSL_clear_free(f->materials[i].bytes, f->materials[i].len);
    free(f->materials);
    EVP_PKEY_free(f->parsed);
    free(f);
}

void key_free(key *k)
{
    if (k == NULL)
        return;
    free(k->description);
    free(k->policy);
    cJSON_Delete(k->tags);
    free(k);
}

/* --- SQLite --- */

/* Runs one statement; binds texts (s), numbers (d) and blobs (b: pointer, int length). */
static bool run(const char *sql, const char *types, ...)
{
    sqlite3_stmt *statement = NULL;
    va_list args;
    bool ok = sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK;

    va_start(args, types);
    for (int i = 1; ok && *types != '\0'; types++, i++) {
        if (*types == 's') {
            ok = sqlite3_bind_text(statement, i, va_arg(args, const char *), -1,
                                   SQLITE_TRANSIENT) == SQLITE_OK;
        } else if (*types == 'd') {
            ok = sqlite3_bind_double(statement, i, va_arg(args, double)) == SQLITE_OK;
        } else {
            const void *bytes = va_arg(args, const void *);
            ok = sqlite3_bind_blob(statement, i, bytes, va_arg(args, int), SQLITE_TRANSIENT) ==
                 SQLITE_OK;
        }
    }
    va_end(args);
    ok = ok && sqlite3_step(statement) == SQLITE_DONE;
    if (!ok)
        fprintf(stderr, "kms-local: database: %s\n", sqlite3_errmsg(db));
    sqlite3_finalize(statement);
    return ok;
}

static char *print(cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);

    cJSON_Delete(json);
    return text;
}

static bool save_family(const family *f)
{
    bool ok;
    cJSON *json = cJSON_CreateObject();

    cJSON_AddStringToObject(json, "spec", f->spec->name);
    cJSON_AddStringToObject(json, "usage", f->usage);
    cJSON_AddBoolToObject(json, "multiRegion", f->multi_region);
    cJSON_AddStringToObject(json, "primaryRegion", f->primary_region);
    cJSON_AddBoolToObject(json, "rotates", f->rotates);
    cJSON_AddNumberToObject(json, "rotationDays", f->rotation_days);
    cJSON_AddNumberToObject(json, "nextRotation", f->next_rotation);
    char *text = print(json);
    ok = run("INSERT OR REPLACE INTO family VALUES(?,?)", "ss", f->key_id, text);
    cJSON_free(text);
    for (size_t i = 0; ok && i < f->material_count; i++) {
        const material *m = &f->materials[i];
        ok = run("INSERT OR IGNORE INTO material VALUES(?,?,?,?,?,?)", "sdbbdd", f->key_id,
                 (double)i, m->id, (int)sizeof(m->id), m->bytes, (int)m->len, m->created,
                 (double)m->on_demand);
    }
    return ok;
}

/* Ends a transaction that `ok` says went well so far; nothing is kept of one that did not. */
static bool finish(bool ok)
{
    ok = ok && run("COMMIT", "");
    if (!ok)
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return ok;
}

bool store_save_key(const key *k)
{
    cJSON *json = cJSON_CreateObject();

    cJSON_AddStringToObject(json, "state", key_state_name(k->state));
    cJSON_AddNumberToObject(json, "created", k->created);
    cJSON_AddNumberToObject(json, "deletion", k->deletion);
    cJSON_AddNumberToObject(json, "pendingDays", k->pending_days);
    cJSON_AddStringToObject(json, "description", k->description);
    cJSON_AddStringToObject(json, "policy", k->policy);
    cJSON_AddItemToObject(json, "tags", cJSON_Duplicate(k->tags, true));
    char *text = print(json);
    bool ok = run("BEGIN", "") && save_family(k->family) &&
              run("INSERT INTO key VALUES(?,?,(SELECT COALESCE(MAX(seq),0)+1 FROM key),?)"
                  " ON CONFLICT(region, key_id) DO UPDATE SET json=excluded.json",
                  "sss", k->region, k->family->key_id, text);
    ok = finish(ok);
    cJSON_free(text);
    return ok;
}

bool store_save_alias(const alias *a)
{
    return run("INSERT OR REPLACE INTO alias VALUES(?,?,?,?,?)", "sssdd", a->region, a->name,
               a->target->family->key_id, a->created, a->updated);
}

/* --- changing --- */

static void link_key(store *s, key *k)
{
    key **end = &s->keys;
    family *f = s->families;

    while (*end != NULL)
        end = &(*end)->next;
    *end = k;
    k->next = NULL;
    while (f != NULL && f != k->family)
        f = f->next;
    if (f == NULL) {
        k->family->next = s->families;
        s->families = k->family;
    }
}

bool store_add_key(store *s, key *k)
{
    link_key(s, k);
    return store_save_key(k);
}

static bool remove_family(store *s, family *f)
{
    family **link = &s->families;
    bool ok = run("DELETE FROM material WHERE key_id=?", "s", f->key_id) &&
              run("DELETE FROM family WHERE key_id=?", "s", f->key_id);

    while (*link != f)
        link = &(*link)->next;
    *link = f->next;
    family_free(f);
    return ok;
}

/* A primary that waits for its replicas to go begins its own waiting period after the last one. */
static bool release_primary(const store *s, const family *f, double now)
{
    for (key *k = s->keys; k != NULL; k = k->next) {
        if (k->family != f || k->state != STATE_PENDING_REPLICA_DELETION || key_has_replicas(s, k))
            continue;
        k->state = STATE_PENDING_DELETION;
        k->deletion = now + k->pending_days * (24.0 * 3600);
        return store_save_key(k);
    }
    return true;
}

bool store_remove_key(store *s, key *k)
{
    key **link = &s->keys;
    family *f = k->family;
    bool shared = false, ok = true;

    for (alias *a = s->aliases, *next; a != NULL; a = next) {
        next = a->next;
        if (a->target == k)
            ok = store_remove_alias(s, a) && ok;
    }
    while (*link != k)
        link = &(*link)->next;
    *link = k->next;
    ok = run("DELETE FROM key WHERE region=? AND key_id=?", "ss", k->region, f->key_id) && ok;
    key_free(k);
    for (const key *other = s->keys; other != NULL; other = other->next)
        shared = shared || other->family == f;
    return (shared ? release_primary(s, f, store_now()) : remove_family(s, f)) && ok;
}

bool store_remove_expired(store *s, double now)
{
    bool ok = true;

    for (key *k = s->keys, *next; k != NULL; k = next) {
        next = k->next;
        if (k->state == STATE_PENDING_DELETION && k->deletion <= now)
            ok = store_remove_key(s, k) && ok;
    }
    return ok;
}

static alias *link_alias(store *s, const char *region, const char *name, key *target)
{
    alias **link = &s->aliases;
    alias *a = calloc(1, sizeof(*a));

    if (a == NULL || (a->name = strdup(name)) == NULL) {
        free(a);
        return NULL;
    }
    snprintf(a->region, sizeof(a->region), "%s", region);
    a->target = target;
    while (*link != NULL && strcmp((*link)->name, name) < 0)
        link = &(*link)->next;
    a->next = *link;
    *link = a;
    return a;
}

bool store_add_alias(store *s, const char *region, const char *name, key *target)
{
    alias *a = link_alias(s, region, name, target);

    if (a == NULL)
        return false;
    a->created = a->updated = store_now();
    return store_save_alias(a);
}

bool store_remove_alias(store *s, alias *a)
{
    alias **link = &s->aliases;
    bool ok = run("DELETE FROM alias WHERE region=? AND name=?", "ss", a->region, a->name);

    while (*link != a)
        link = &(*link)->next;
    *link = a->next;
    free(a->name);
    free(a);
    return ok;
}

/* --- loading --- */

static const char *text_of(const cJSON *json, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));

    return text != NULL ? text : "";
}

static double number_of(const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);

    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

static bool flag_of(const cJSON *json, const char *name)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, name));
}

static const char *usage_of(const key_spec *spec, const char *usage)
{
    for (size_t i = 0; i < 4 && spec->usages[i] != NULL; i++)
        if (strcmp(spec->usages[i], usage) == 0)
            return spec->usages[i];
    return NULL;
}

static bool parse_private(family *f)
{
    const unsigned char *der = family_current(f)->bytes;

    if (f->spec->kind == SPEC_SYMMETRIC || f->spec->kind == SPEC_HMAC)
        return true;
    f->parsed = d2i_AutoPrivateKey(NULL, &der, (long)family_current(f)->len);
    return f->parsed != NULL;
}

static bool load_materials(family *f)
{
    sqlite3_stmt *rows = NULL;
    bool ok = sqlite3_prepare_v2(db,
                                 "SELECT id, bytes, created, on_demand FROM material"
                                 " WHERE key_id=? ORDER BY seq",
                                 -1, &rows, NULL) == SQLITE_OK;

    ok = ok && sqlite3_bind_text(rows, 1, f->key_id, -1, SQLITE_STATIC) == SQLITE_OK;
    while (ok && sqlite3_step(rows) == SQLITE_ROW) {
        material m = {.created = sqlite3_column_double(rows, 2),
                      .on_demand = sqlite3_column_int(rows, 3) != 0};
        m.len = (size_t)sqlite3_column_bytes(rows, 1);
        m.bytes = OPENSSL_memdup(sqlite3_column_blob(rows, 1), m.len);
        ok = m.bytes != NULL && sqlite3_column_bytes(rows, 0) == MATERIAL_ID_SIZE;
        if (ok)
            memcpy(m.id, sqlite3_column_blob(rows, 0), sizeof(m.id));
        ok = ok && append_material(f, &m);
    }
    sqlite3_finalize(rows);
    return ok && f->material_count > 0;
}

static bool load_family(store *s, const char *key_id, const char *text)
{
    family *f = calloc(1, sizeof(*f));
    cJSON *json = cJSON_Parse(text);
    bool ok = f != NULL && json != NULL && (f->spec = spec_find(text_of(json, "spec"))) != NULL &&
              (f->usage = usage_of(f->spec, text_of(json, "usage"))) != NULL;

    if (ok) {
        snprintf(f->key_id, sizeof(f->key_id), "%s", key_id);
        snprintf(f->primary_region, sizeof(f->primary_region), "%s",
                 text_of(json, "primaryRegion"));
        f->multi_region = flag_of(json, "multiRegion");
        f->rotates = flag_of(json, "rotates");
        f->rotation_days = (int)number_of(json, "rotationDays");
        f->next_rotation = number_of(json, "nextRotation");
        ok = load_materials(f) && parse_private(f);
    }
    cJSON_Delete(json);
    if (!ok) {
        family_free(f);
        return false;
    }
    f->next = s->families;
    s->families = f;
    return true;
}

static bool find_state(const char *name, key_state *out)
{
    for (*out = 0; *out < STATE_COUNT; (*out)++)
        if (strcmp(key_state_name(*out), name) == 0)
            return true;
    return false;
}

static bool load_key(store *s, const char *region, const char *key_id, const char *text)
{
    key *k = calloc(1, sizeof(*k));
    cJSON *json = cJSON_Parse(text);
    bool ok = k != NULL && json != NULL;

    for (family *f = s->families; ok && f != NULL; f = f->next)
        if (strcmp(f->key_id, key_id) == 0)
            k->family = f;
    ok = ok && k->family != NULL && find_state(text_of(json, "state"), &k->state);
    if (ok) {
        snprintf(k->region, sizeof(k->region), "%s", region);
        k->created = number_of(json, "created");
        k->deletion = number_of(json, "deletion");
        k->pending_days = (int)number_of(json, "pendingDays");
        k->description = strdup(text_of(json, "description"));
        k->policy = strdup(text_of(json, "policy"));
        k->tags = cJSON_DetachItemFromObjectCaseSensitive(json, "tags");
        link_key(s, k);
    } else {
        free(k);
    }
    cJSON_Delete(json);
    return ok;
}

static bool load_alias(store *s, sqlite3_stmt *row)
{
    const char *region = (const char *)sqlite3_column_text(row, 0);
    key *target = store_find_key(s, region, (const char *)sqlite3_column_text(row, 2));
    alias *a = target != NULL
                   ? link_alias(s, region, (const char *)sqlite3_column_text(row, 1), target)
                   : NULL;

    if (a == NULL)
        return false;
    a->created = sqlite3_column_double(row, 3);
    a->updated = sqlite3_column_double(row, 4);
    return true;
}

static bool load_rows(store *s, const char *sql, int what)
{
    sqlite3_stmt *rows = NULL;
    bool ok = sqlite3_prepare_v2(db, sql, -1, &rows, NULL) == SQLITE_OK;

    while (ok && sqlite3_step(rows) == SQLITE_ROW) {
        const char *first = (const char *)sqlite3_column_text(rows, 0);
        const char *second = (const char *)sqlite3_column_text(rows, 1);
        if (what == 0)
            ok = load_family(s, first, second);
        else if (what == 1)
            ok = load_key(s, first, second, (const char *)sqlite3_column_text(rows, 2));
        else
            ok = load_alias(s, rows);
    }
    sqlite3_finalize(rows);
    return ok;
}

/* One process at a time: what another one changed would be overwritten from memory. */
static bool open_alone(const char *path)
{
    return sqlite3_open(path, &db) == SQLITE_OK &&
           sqlite3_exec(db, "PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT", NULL, NULL,
                        NULL) == SQLITE_OK;
}

bool store_open(store *s, const char *path, const char *account)
{
    mode_t before = umask(077);
    bool ok;

    *s = (store){.account = account};
    ok = open_alone(path != NULL ? path : ":memory:") && (path == NULL || chmod(path, 0600) == 0) &&
         sqlite3_exec(db, schema, NULL, NULL, NULL) == SQLITE_OK &&
         load_rows(s, "SELECT key_id, json FROM family", 0) &&
         load_rows(s, "SELECT region, key_id, json FROM key ORDER BY seq", 1) &&
         load_rows(s, "SELECT region, name, key_id, created, updated FROM alias", 2);
    umask(before);
    if (!ok) {
        fprintf(stderr, "kms-local: %s is not a usable key database: %s\n",
                path != NULL ? path : "memory",
                sqlite3_errcode(db) == SQLITE_BUSY ? "another process has it open"
                                                   : sqlite3_errmsg(db));
        store_close(s);
    }
    return ok;
}

void store_close(store *s)
{
    for (alias *a = s->aliases, *next; a != NULL; a = next) {
        next = a->next;
        free(a->name);
        free(a);
    }
    for (key *k = s->keys, *next; k != NULL; k = next) {
        next = k->next;
        key_free(k);
    }
    for (family *f = s->families, *next; f != NULL; f = next) {
        next = f->next;
        family_free(f);
    }
    sqlite3_close(db);
    db = NULL;
}
