#include "core/key.h"

#include "core/lock.h"
#include "core/public_key.h"
#include "core/wait.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES_MAX   1024
#define REFRESH_PAUSE 10 /* seconds after a refresh ahead of time that failed */

struct kms_key {
    atomic_int references;
    const kms_endpoint *endpoint;
    char *alias; /* NULL where it was loaded by id or ARN */
    kms_key_metadata metadata;
    const kms_key_spec_row *kind; /* NULL: symmetric, or unknown to this version */
    kms_buffer spki;              /* DER of the public half; empty: it has none */
    EVP_PKEY *public;             /* likewise, in the client's library context */
    atomic_llong confirmed;       /* when KMS last described it, in monotonic seconds */
};

kms_key *kms_key_ref(kms_key *key)
{
    atomic_fetch_add(&key->references, 1);
    return key;
}

void kms_key_free(kms_key *key)
{
    if (key == NULL || atomic_fetch_sub(&key->references, 1) != 1)
        return;
    kms_key_metadata_clear(&key->metadata);
    kms_buffer_clear(&key->spki);
    EVP_PKEY_free(key->public);
    free(key->alias);
    free(key);
}

const kms_endpoint *kms_key_endpoint(const kms_key *key)
{
    return key->endpoint;
}

const char *kms_key_arn(const kms_key *key)
{
    return key->metadata.arn;
}

const char *kms_key_id(const kms_key *key)
{
    return key->metadata.id;
}

const char *kms_key_alias(const kms_key *key)
{
    return key->alias;
}

const char *kms_key_region(const kms_key *key)
{
    return key->endpoint->region;
}

const char *kms_key_spec(const kms_key *key)
{
    return key->metadata.spec;
}

const char *kms_key_usage(const kms_key *key)
{
    return key->metadata.usage;
}

const char *kms_key_state(const kms_key *key)
{
    return key->metadata.state;
}

const kms_key_spec_row *kms_key_kind(const kms_key *key)
{
    return key->kind;
}

kms_bytes kms_key_spki(const kms_key *key)
{
    return (kms_bytes){key->spki.data, key->spki.len};
}

EVP_PKEY *kms_key_public(const kms_key *key)
{
    return key->public;
}

bool kms_key_is_symmetric(const kms_key *key)
{
    return strcmp(key->metadata.spec, "SYMMETRIC_DEFAULT") == 0 &&
           strcmp(key->metadata.usage, "ENCRYPT_DECRYPT") == 0;
}

static long long seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* True where the described key can't be the one that was asked by that name. An alias may mean any
 * key, but only one of its own account. */
static bool is_another(const char *name, const kms_key_metadata *metadata)
{
    kms_arn asked, got;

    if (kms_key_id_is(name))
        return strcmp(name, metadata->id) != 0;
    if (!kms_arn_is(name))
        return false;
    if (kms_arn_parse(name, &asked, NULL) != KMS_OK ||
        kms_arn_parse(metadata->arn, &got, NULL) != KMS_OK)
        return true;
    return strcmp(asked.account, got.account) != 0 ||
           (!kms_alias_is(asked.resource) && strcmp(name, metadata->arn) != 0);
}

/* The reply must be about the key that was asked, in the region that was asked, and all keys of a
 * multi-Region family must be where keys may be. */
static kms_status check_metadata(const kms_residency *residency, const kms_endpoint *endpoint,
                                 const char *name, const kms_key_metadata *metadata, kms_error *err)
{
    kms_status st = kms_residency_check_arn(residency, metadata->arn, endpoint->region, err);

    if (st == KMS_OK && is_another(name, metadata))
        st = kms_fail(err, KMS_E_REPLY_OTHER_KEY, "asked %s, got %s", name, metadata->arn);
    for (char **arn = metadata->replica_arns; st == KMS_OK && arn != NULL && *arn != NULL; arn++)
        if (kms_residency_check_arn(residency, *arn, NULL, err) != KMS_OK)
            st = kms_fail(err, KMS_E_REPLICA_NOT_ALLOWED, "%s", *arn);
    if (st != KMS_OK && err != NULL)
        memcpy(err->request_id, metadata->request_id, sizeof(err->request_id));
    return st;
}

/* "alias/NAME" in a name, which may be the alias's ARN; NULL where it is a key's. */
static const char *alias_of(const char *name)
{
    const char *resource = kms_arn_is(name) ? strrchr(name, ':') + 1 : name;

    return kms_alias_is(resource) ? resource : NULL;
}

/* The public half of an asymmetric key: it never changes, so it is part of the key. */
static kms_status load_public(kms_caller *caller, kms_key *key, kms_error *err)
{
    kms_status st;

    key->kind = kms_key_spec_find(key->metadata.spec);
    if (key->kind == NULL || strcmp(key->kind->type, "HMAC") == 0)
        return KMS_OK;
    st = kms_get_public_key(caller, key->endpoint, key->metadata.arn, &key->spki, err);
    if (st == KMS_OK)
        st = kms_public_key_read(kms_caller_libctx(caller), kms_key_spki(key), key->kind,
                                 &key->public, NULL, err);
    return st;
}

/* Asks KMS. */
static kms_status load(kms_caller *caller, const kms_residency *residency,
                       const kms_endpoint *endpoint, const char *name, kms_key **out,
                       kms_error *err)
{
    kms_key *key = calloc(1, sizeof(*key));
    kms_status st = KMS_OK;

    if (key == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "key");
    atomic_init(&key->references, 1);
    atomic_init(&key->confirmed, seconds_now());
    key->endpoint = endpoint;
    const char *alias = alias_of(name);
    if (alias != NULL && (key->alias = strdup(alias)) == NULL)
        st = kms_fail(err, KMS_E_NO_MEMORY, "key");
    if (st == KMS_OK)
        st = kms_describe_key(caller, endpoint, name, &key->metadata, err);
    if (st == KMS_OK)
        st = check_metadata(residency, endpoint, name, &key->metadata, err);
    if (st == KMS_OK)
        st = load_public(caller, key, err);
    if (st != KMS_OK) {
        kms_key_free(key);
        return st;
    }
    *out = key;
    return KMS_OK;
}

static kms_status copy_text(char **to, const char *text, kms_error *err)
{
    *to = strdup(text);
    return *to != NULL ? KMS_OK : kms_fail(err, KMS_E_NO_MEMORY, "key");
}

/* The metadata that an ARN and a public half tell. */
static kms_status infer_metadata(kms_key *key, const char *arn, kms_error *err)
{
    const bool symmetric = key->kind == NULL;
    const char *id = strrchr(arn, '/') + 1;
    kms_key_metadata *metadata = &key->metadata;
    kms_status st = copy_text(&metadata->arn, arn, err);

    metadata->multi_region = strncmp(id, "mrk-", 4) == 0;
    if (st == KMS_OK)
        st = copy_text(&metadata->id, id, err);
    if (st == KMS_OK)
        st = copy_text(&metadata->spec, symmetric ? "SYMMETRIC_DEFAULT" : key->kind->name, err);
    if (st == KMS_OK)
        st = copy_text(&metadata->usage, symmetric ? "ENCRYPT_DECRYPT" : "", err);
    if (st == KMS_OK)
        st = copy_text(&metadata->state, "", err);
    return st;
}

kms_status kms_key_of_reference(OSSL_LIB_CTX *libctx, const kms_endpoint *endpoint, const char *arn,
                                kms_bytes spki, const char *spec, kms_key **out, kms_error *err)
{
    kms_key *key = calloc(1, sizeof(*key));
    kms_status st = KMS_OK;

    *out = NULL;
    if (key == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "key");
    atomic_init(&key->references, 1);
    atomic_init(&key->confirmed, LLONG_MIN / 2);
    key->endpoint = endpoint;
    if (spec != NULL)
        key->kind = kms_key_spec_find(spec);
    if (spki.len != 0) {
        key->spki.data = malloc(spki.len);
        if (key->spki.data == NULL) {
            st = kms_fail(err, KMS_E_NO_MEMORY, "key");
        } else {
            memcpy(key->spki.data, spki.data, spki.len);
            key->spki.len = spki.len;
            st = kms_public_key_read(libctx, spki, NULL, &key->public, &key->kind, err);
        }
    }
    if (st == KMS_OK)
        st = infer_metadata(key, arn, err);
    if (st != KMS_OK) {
        kms_key_free(key);
        return st;
    }
    *out = key;
    return KMS_OK;
}

typedef struct entry {
    struct entry *next;
    char *name;
    const kms_endpoint *endpoint;
    kms_key *key;      /* NULL: nobody has got it yet */
    long long loaded;  /* monotonic seconds */
    long long retry;   /* no refresh ahead of time before this */
    unsigned round;    /* loads that are over */
    bool loading;      /* somebody is asking KMS */
    int waiters;       /* callers that hold this entry while the lock is open */
    bool dead;         /* unlinked; freed by its last holder */
    kms_status status; /* of the last load, for those who waited */
    kms_error error;
} entry;

struct kms_key_cache {
    long lifetime; /* seconds */
    kms_lock lock; /* guards all that follows */
    pthread_cond_t loaded;
    pid_t owner;
    entry *entries; /* newest first */
    size_t count;
};

kms_status kms_key_cache_new(const kms_config *config, kms_key_cache **out, kms_error *err)
{
    kms_key_cache *cache = calloc(1, sizeof(*cache));
    kms_status st;

    *out = NULL;
    if (cache == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "key cache");
    cache->lifetime = kms_config_number(config, KMS_SET_KEY_CACHE_SECONDS);
    cache->owner = getpid();
    st = kms_lock_init(&cache->lock, err);
    if (st != KMS_OK) {
        free(cache);
        return st;
    }
    pthread_cond_init(&cache->loaded, NULL);
    *out = cache;
    return KMS_OK;
}

static void free_entry(entry *e)
{
    kms_key_free(e->key);
    free(e->name);
    free(e);
}

/* Takes an entry out of the list; frees it unless somebody holds it. */
static void drop(kms_key_cache *cache, entry **link)
{
    entry *e = *link;

    *link = e->next;
    cache->count--;
    e->dead = true;
    if (e->waiters == 0)
        free_entry(e);
}

static void release(entry *e)
{
    if (--e->waiters == 0 && e->dead)
        free_entry(e);
}

/* A child starts empty: the threads that were loading are not there any more. */
static void start_anew_in_child(kms_key_cache *cache)
{
    if (cache->owner == getpid())
        return;
    for (entry *e = cache->entries; e != NULL; e = e->next)
        e->waiters = 0;
    while (cache->entries != NULL)
        drop(cache, &cache->entries);
    pthread_cond_init(&cache->loaded, NULL);
    cache->owner = getpid();
}

void kms_key_cache_free(kms_key_cache *cache)
{
    if (cache == NULL)
        return;
    /* In a child, threads of the parent may be waiting at the condition, as it sees it: destroying
     * it would wait for them. */
    start_anew_in_child(cache);
    while (cache->entries != NULL)
        drop(cache, &cache->entries);
    pthread_cond_destroy(&cache->loaded);
    kms_lock_destroy(&cache->lock);
    free(cache);
}

/* Makes room by dropping the oldest entry that nobody is loading. */
static void evict(kms_key_cache *cache)
{
    entry **oldest = NULL;

    for (entry **link = &cache->entries; *link != NULL; link = &(*link)->next)
        if (!(*link)->loading)
            oldest = link;
    if (oldest != NULL)
        drop(cache, oldest);
}

static entry *find_or_add(kms_key_cache *cache, const kms_endpoint *endpoint, const char *name)
{
    for (entry *e = cache->entries; e != NULL; e = e->next)
        if (e->endpoint == endpoint && strcmp(e->name, name) == 0)
            return e;

    if (cache->count >= ENTRIES_MAX)
        evict(cache);
    entry *e = calloc(1, sizeof(*e));
    if (e == NULL || (e->name = strdup(name)) == NULL) {
        free(e);
        return NULL;
    }
    e->endpoint = endpoint;
    e->next = cache->entries;
    cache->entries = e;
    cache->count++;
    return e;
}

static bool usable(const kms_key_cache *cache, const entry *e)
{
    return e->key != NULL && seconds_now() - e->loaded < cache->lifetime;
}

static bool due(const kms_key_cache *cache, const entry *e)
{
    long long now = seconds_now();

    return !usable(cache, e) ||
           (now - e->loaded >= cache->lifetime - cache->lifetime / 10 && now >= e->retry);
}

static void publish(entry *e, kms_key *fresh)
{
    kms_key_free(e->key);
    e->key = kms_key_ref(fresh);
    e->loaded = seconds_now();
}

/* Records what a load gave and wakes those who wait for it. Called with the lock taken. */
static void settle(kms_key_cache *cache, entry *e, kms_status st, kms_key *fresh,
                   const kms_error *error)
{
    e->loading = false;
    e->round++;
    e->retry = seconds_now() + REFRESH_PAUSE;
    e->status = st;
    e->error = *error;
    if (st == KMS_OK)
        publish(e, fresh);
    pthread_cond_broadcast(&cache->loaded);
}

/* Failures that say nothing about the key: it is as usable as before. */
static bool is_passing(kms_status status)
{
    return status == KMS_E_UNREACHABLE || status == KMS_E_TIMEOUT || status == KMS_E_THROTTLED ||
           status == KMS_E_SERVICE || status == KMS_E_KEY_UNAVAILABLE ||
           status == KMS_E_TLS_HANDSHAKE;
}

/* Loads while the others wait or go on; the lock is open meanwhile. */
static kms_status load_entry(kms_key_cache *cache, kms_caller *caller,
                             const kms_residency *residency, entry *e, kms_key **out,
                             kms_error *err)
{
    kms_error error = {0};
    kms_key *fresh = NULL;
    kms_status st;

    e->loading = true;
    e->waiters++;
    kms_lock_give(&cache->lock);
    st = load(caller, residency, e->endpoint, e->name, &fresh, &error);
    kms_lock_take(&cache->lock);
    settle(cache, e, st, fresh, &error);
    /* A refresh ahead of time that fails leaves the others, and this caller, what is there. */
    if (st != KMS_OK && usable(cache, e) && is_passing(st)) {
        fresh = kms_key_ref(e->key);
        st = KMS_OK;
    }
    release(e);
    *out = fresh;
    if (st != KMS_OK && err != NULL)
        *err = error;
    return st;
}

/* The same in an ASYNC job. It can neither wait here, since that would stop all jobs of its thread,
 * nor be waited for, since it may never be resumed: so it asks for itself, and the others may too.
 */
static kms_status load_in_job(kms_key_cache *cache, kms_caller *caller,
                              const kms_residency *residency, entry *e, const char *name,
                              kms_key **out, kms_error *err)
{
    const kms_endpoint *endpoint = e->endpoint;
    kms_key *fresh = NULL;
    kms_status st;

    e->retry = seconds_now() + REFRESH_PAUSE; /* one asks ahead of time */
    kms_lock_give(&cache->lock);
    st = load(caller, residency, endpoint, name, &fresh, err);
    kms_lock_take(&cache->lock);
    start_anew_in_child(cache);
    e = find_or_add(cache, endpoint, name); /* nobody kept the other for us */
    if (e != NULL && st == KMS_OK)
        publish(e, fresh);
    /* As in load_entry. */
    if (e != NULL && usable(cache, e) && is_passing(st)) {
        fresh = kms_key_ref(e->key);
        st = KMS_OK;
    }
    *out = fresh;
    return st;
}

static kms_status await_entry(kms_key_cache *cache, entry *e, kms_key **out, kms_error *err)
{
    unsigned round = e->round;
    kms_status st = KMS_OK;

    e->waiters++;
    /* The one who loads keeps its own deadline, so this ends with it. */
    while (e->round == round)
        pthread_cond_wait(&cache->loaded, &cache->lock.mutex);
    if (e->key != NULL && e->status == KMS_OK) {
        *out = kms_key_ref(e->key);
    } else {
        st = e->status != KMS_OK ? e->status : KMS_E_INTERNAL;
        if (err != NULL)
            *err = e->error;
    }
    release(e);
    return st;
}

kms_status kms_key_cache_get(kms_key_cache *cache, kms_caller *caller,
                             const kms_residency *residency, const kms_endpoint *endpoint,
                             const char *name, kms_key **out, kms_error *err)
{
    const bool in_job = kms_wait_can_pause();
    kms_status st = KMS_OK;

    *out = NULL;
    kms_lock_take(&cache->lock);
    start_anew_in_child(cache);
    entry *e = find_or_add(cache, endpoint, name);
    if (e == NULL)
        st = kms_fail(err, KMS_E_NO_MEMORY, "key cache");
    else if (usable(cache, e) && (e->loading || !due(cache, e)))
        *out = kms_key_ref(e->key);
    else if (in_job)
        st = load_in_job(cache, caller, residency, e, name, out, err);
    else if (!e->loading)
        st = load_entry(cache, caller, residency, e, out, err);
    else
        st = await_entry(cache, e, out, err);
    kms_lock_give(&cache->lock);
    return st;
}

kms_status kms_key_cache_confirm(kms_key_cache *cache, kms_caller *caller,
                                 const kms_residency *residency, kms_key *key, kms_error *err)
{
    kms_key *fresh = NULL;
    kms_status st;

    if (!key->metadata.multi_region ||
        seconds_now() - atomic_load(&key->confirmed) < cache->lifetime)
        return KMS_OK;
    st = kms_key_cache_get(cache, caller, residency, key->endpoint, key->metadata.arn, &fresh, err);
    if (st == KMS_OK)
        atomic_store(&key->confirmed, atomic_load(&fresh->confirmed));
    kms_key_free(fresh); /* NOLINT(clang-analyzer-unix.Malloc): references are counted */
    return st;
}

void kms_key_cache_forget(kms_key_cache *cache, const kms_key *key)
{
    entry **link;

    kms_lock_take(&cache->lock);
    start_anew_in_child(cache);
    link = &cache->entries;
    while (*link != NULL) {
        entry *e = *link;
        if (!e->loading && e->key != NULL && strcmp(kms_key_arn(e->key), kms_key_arn(key)) == 0)
            drop(cache, link);
        else
            link = &e->next;
    }
    kms_lock_give(&cache->lock);
}
