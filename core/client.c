#include "core/client.h"

#include "core/key.h"
#include "core/libctx.h"
#include "core/lock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENDPOINTS_MAX 64 /* distinct region and profile pairs in one process */

struct kms_client {
    kms_config *config;
    kms_residency *residency;
    kms_context *defaults; /* [context]; NULL: none */
    kms_key_cache *keys;
    atomic_bool started;  /* libctx and caller are there */
    kms_lock lock;        /* guards publishing of what follows; then it never changes */
    OSSL_LIB_CTX *libctx; /* made on first use */
    kms_caller *caller;   /* likewise */
    kms_endpoint *endpoints;
    size_t endpoint_count;
};

/* What is wrong for every operation is said when the client is opened. */
static kms_status check_configured_place(const kms_client *client, kms_error *err)
{
    const char *region = kms_config_text(client->config, KMS_SET_REGION);
    const char *url = kms_config_text(client->config, KMS_SET_ENDPOINT);
    kms_status st = KMS_OK;

    if (region != NULL)
        st = kms_residency_check_region(client->residency, region, err);
    if (st == KMS_OK && url != NULL) /* for any region where none is configured */
        st = kms_residency_check_endpoint(client->residency, url, region, err);
    return st;
}

kms_status kms_client_open(const kms_config_given *given, kms_client **out, kms_error *err)
{
    kms_client *client = calloc(1, sizeof(*client));
    kms_status st;

    *out = NULL;
    if (client == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "client");
    st = kms_lock_init(&client->lock, err);
    if (st != KMS_OK) {
        free(client);
        return st;
    }
    st = kms_config_load(given, &client->config, err);
    if (st == KMS_OK)
        st = kms_residency_new(client->config, &client->residency, err);
    if (st == KMS_OK)
        st = kms_context_defaults(client->config, &client->defaults, err);
    if (st == KMS_OK)
        st = check_configured_place(client, err);
    if (st == KMS_OK)
        st = kms_key_cache_new(client->config, &client->keys, err);
    if (st != KMS_OK) {
        kms_client_close(client);
        return st;
    }
    *out = client;
    return KMS_OK;
}

void kms_client_close(kms_client *client)
{
    kms_endpoint *next;

    if (client == NULL)
        return;
    kms_key_cache_free(client->keys);
    kms_caller_free(client->caller);
    for (kms_endpoint *e = client->endpoints; e != NULL; e = next) {
        next = e->next;
        kms_endpoint_free(e);
    }
    kms_libctx_free(client->libctx);
    kms_context_free(client->defaults);
    kms_residency_free(client->residency);
    kms_config_free(client->config);
    kms_lock_destroy(&client->lock);
    free(client);
}

void kms_client_abandon(kms_client *client)
{
    /* Transport, signer and library context live in libcurl and libcrypto, which may be gone: they
     * stay as they are. The credentials go. */
    for (kms_endpoint *e = client->endpoints; e != NULL; e = e->next)
        kms_credential_chain_invalidate(e->credentials);
}

const kms_config *kms_client_config(const kms_client *client)
{
    return client->config;
}

/* Library context and caller are made outside of the lock; the first to publish wins. */
static kms_status start(kms_client *client, kms_error *err)
{
    OSSL_LIB_CTX *libctx = NULL;
    kms_caller *caller = NULL;
    kms_status st;

    if (atomic_load(&client->started))
        return KMS_OK;

    st = kms_libctx_new(&libctx, err);
    if (st == KMS_OK)
        st = kms_caller_new(client->config, libctx, &caller, err);
    kms_lock_take(&client->lock);
    if (st == KMS_OK && client->caller == NULL) {
        client->libctx = libctx;
        client->caller = caller;
        atomic_store(&client->started, true);
        libctx = NULL;
        caller = NULL;
    }
    kms_lock_give(&client->lock);
    kms_caller_free(caller);
    kms_libctx_free(libctx);
    return st;
}

OSSL_LIB_CTX *kms_client_libctx(kms_client *client)
{
    return start(client, NULL) == KMS_OK ? client->libctx : NULL;
}

kms_status kms_client_check_enabled(const kms_client *client, kms_error *err)
{
    if (kms_config_flag(client->config, KMS_SET_ENCRYPTION_ENABLED))
        return KMS_OK;
    return kms_fail(err, KMS_E_DISABLED, "encryption_enabled is off (%s)",
                    kms_config_source(client->config));
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static kms_endpoint *known_endpoint(const kms_client *client, const char *region,
                                    const char *profile)
{
    for (kms_endpoint *e = client->endpoints; e != NULL; e = e->next)
        if (strcmp(e->region, region) == 0 && same_text(e->profile, profile))
            return e;
    return NULL;
}

/* The endpoint for an address, made on first use and kept. */
static kms_status find_endpoint(kms_client *client, const kms_address *address, kms_endpoint **out,
                                kms_error *err)
{
    const char *profile = address != NULL ? address->profile : NULL;
    const char *region = address != NULL ? address->region : NULL;
    kms_endpoint *fresh = NULL, *known = NULL;
    kms_status st = KMS_OK;

    if (region == NULL)
        region = kms_config_text(client->config, KMS_SET_REGION);
    kms_lock_take(&client->lock);
    if (region != NULL)
        known = known_endpoint(client, region, profile);
    kms_lock_give(&client->lock);
    if (known == NULL)
        st = kms_endpoint_new(client->config, client->residency, region, profile, &fresh, err);
    if (st != KMS_OK)
        return st;

    if (known == NULL) {
        kms_lock_take(&client->lock);
        known = known_endpoint(client, fresh->region, profile);
        if (known == NULL && client->endpoint_count < ENDPOINTS_MAX) {
            fresh->next = client->endpoints;
            client->endpoints = known = fresh;
            client->endpoint_count++;
            fresh = NULL;
        }
        kms_lock_give(&client->lock);
        kms_endpoint_free(fresh);
    }
    *out = known;
    if (known == NULL)
        return kms_fail(err, KMS_E_ARGUMENT, "more than %d regions and profiles", ENDPOINTS_MAX);
    return KMS_OK;
}

/* What comes before any traffic: the flag, then the place. */
static kms_status prepare(kms_client *client, const kms_address *address, kms_endpoint **endpoint,
                          kms_error *err)
{
    kms_status st = kms_client_check_enabled(client, err);

    if (st == KMS_OK)
        st = find_endpoint(client, address, endpoint, err);
    if (st == KMS_OK)
        st = start(client, err);
    return st;
}

kms_status kms_client_key(kms_client *client, const kms_address *address, kms_key **out,
                          kms_error *err)
{
    kms_endpoint *endpoint = NULL;
    kms_status st = KMS_OK;

    *out = NULL;
    if (address->key == NULL)
        return kms_fail(err, KMS_E_KEY_MISSING, "the address names none");
    if (kms_arn_is(address->key))
        st = kms_residency_check_arn(client->residency, address->key, address->region, err);
    if (st == KMS_OK)
        st = prepare(client, address, &endpoint, err);
    if (st == KMS_OK)
        st = kms_key_cache_get(client->keys, client->caller, client->residency, endpoint,
                               address->key, out, err);
    return st;
}

/* A growing list of owned strings, and the key ids that have an alias. */
typedef struct listing {
    char **items;
    size_t count, room;
    struct listing *aliased; /* key ids */
} listing;

static kms_status append(listing *list, const char *text, kms_error *err)
{
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 16 : list->room * 2;
        char **grown = realloc(list->items, room * sizeof(*grown));
        if (grown == NULL)
            return kms_fail(err, KMS_E_NO_MEMORY, "key list");
        list->items = grown;
        list->room = room;
    }
    list->items[list->count] = strdup(text);
    if (list->items[list->count] == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "key list");
    list->count++;
    return KMS_OK;
}

static kms_status add_alias(void *arg, const char *alias, const char *target, kms_error *err)
{
    listing *list = arg;
    kms_status st = KMS_OK;

    if (target == NULL)
        return KMS_OK;
    st = append(list->aliased, target, err);
    /* alias/aws/… are keys that AWS services made for themselves: listed under no name. */
    if (st == KMS_OK && strncmp(alias, "alias/aws/", strlen("alias/aws/")) != 0)
        st = append(list, alias, err);
    return st;
}

static kms_status add_key(void *arg, const char *key_id, kms_error *err)
{
    listing *list = arg;

    for (size_t i = 0; i < list->aliased->count; i++)
        if (strcmp(list->aliased->items[i], key_id) == 0)
            return KMS_OK;
    return append(list, key_id, err);
}

kms_status kms_client_list(kms_client *client, const kms_address *where, char ***addresses,
                           size_t *count, kms_error *err)
{
    listing aliased = {0}, list = {.aliased = &aliased};
    kms_endpoint *endpoint = NULL;
    kms_status st = prepare(client, where, &endpoint, err);

    *addresses = NULL;
    *count = 0;
    if (st == KMS_OK)
        st = kms_list_aliases(client->caller, endpoint, add_alias, &list, err);
    if (st == KMS_OK)
        st = kms_list_keys(client->caller, endpoint, add_key, &list, err);
    kms_client_list_free(aliased.items, aliased.count);
    if (st != KMS_OK) {
        kms_client_list_free(list.items, list.count);
        return st;
    }
    *addresses = list.items;
    *count = list.count;
    return KMS_OK;
}

void kms_client_list_free(char **addresses, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(addresses[i]);
    free(addresses);
}

/* The caller's context, or the configured defaults where it gave none; checked. */
static kms_status effective_context(const kms_client *client, const kms_context **context,
                                    kms_error *err)
{
    if (kms_context_count(*context) == 0)
        *context = client->defaults;
    return kms_context_check(client->config, *context, err);
}

/* What every operation with a key and a context asks before any traffic. */
static kms_status admit(kms_client *client, kms_key *key, const kms_context **context,
                        kms_error *err)
{
    kms_status st = kms_client_check_enabled(client, err);

    if (st == KMS_OK && !kms_key_is_symmetric(key))
        st = kms_fail(err, KMS_E_KEY_USAGE, "%s is %s for %s", kms_key_arn(key), kms_key_spec(key),
                      kms_key_usage(key));
    if (st == KMS_OK)
        st = effective_context(client, context, err);
    if (st == KMS_OK)
        st = start(client, err);
    return st;
}

/* The last thing before an operation's own request. */
static kms_status confirm(kms_client *client, kms_key *key, kms_error *err)
{
    return kms_key_cache_confirm(client->keys, client->caller, client->residency, key, err);
}

/* What an operation's failure means for the cache and for the reader. */
static kms_status conclude(kms_client *client, const kms_key *key, const kms_context *context,
                           kms_status st, kms_error *err)
{
    char names[256];

    switch (st) {
    case KMS_E_NOT_FOUND:
    case KMS_E_KEY_DISABLED:
    case KMS_E_KEY_STATE:
        kms_key_cache_forget(client->keys, key);
        break;
    case KMS_E_CONTEXT_MISMATCH:
        /* KMS says no more than "invalid"; names, never values, show what was sent. */
        kms_context_names(context, names, sizeof(names));
        if (err != NULL)
            snprintf(err->detail, sizeof(err->detail), "sent %s to %s", names, kms_key_arn(key));
        break;
    default:
        break;
    }
    return st;
}

static kms_status check_ciphertext(kms_bytes ciphertext, kms_error *err)
{
    if (ciphertext.len >= 1 && ciphertext.len <= KMS_CIPHERTEXT_MAX)
        return KMS_OK;
    return kms_fail(err, KMS_E_CIPHERTEXT_SIZE, "%zu bytes", ciphertext.len);
}

kms_status kms_client_wrap(kms_client *client, kms_key *key, kms_bytes plaintext,
                           const kms_context *context, kms_buffer *wrapped, kms_error *err)
{
    kms_status st = admit(client, key, &context, err);

    if (st == KMS_OK && plaintext.len == 0)
        st = kms_fail(err, KMS_E_PLAINTEXT_EMPTY, "0 bytes");
    if (st == KMS_OK && plaintext.len > KMS_PLAINTEXT_MAX)
        st = kms_fail(err, KMS_E_PLAINTEXT_TOO_LARGE, "%zu bytes", plaintext.len);
    if (st == KMS_OK)
        st = confirm(client, key, err);
    if (st == KMS_OK)
        st = kms_encrypt(client->caller, kms_key_endpoint(key), kms_key_arn(key), plaintext,
                         context, wrapped, err);
    return conclude(client, key, context, st, err);
}

kms_status kms_client_unwrap(kms_client *client, kms_key *key, kms_bytes wrapped,
                             const kms_context *context, kms_secret *plaintext, kms_error *err)
{
    kms_status st = admit(client, key, &context, err);

    if (st == KMS_OK)
        st = check_ciphertext(wrapped, err);
    if (st == KMS_OK)
        st = confirm(client, key, err);
    if (st == KMS_OK)
        st = kms_decrypt(client->caller, kms_key_endpoint(key), kms_key_arn(key), wrapped, context,
                         plaintext, err);
    return conclude(client, key, context, st, err);
}

kms_status kms_client_data_key(kms_client *client, kms_key *key, size_t size,
                               const kms_context *context, kms_secret *plaintext,
                               kms_buffer *wrapped, kms_error *err)
{
    kms_status st = admit(client, key, &context, err);

    if (st == KMS_OK && (size == 0 || size > KMS_RANDOM_MAX))
        st = kms_fail(err, KMS_E_ARGUMENT, "a data key has 1 to %d bytes, not %zu", KMS_RANDOM_MAX,
                      size);
    if (st == KMS_OK)
        st = confirm(client, key, err);
    if (st == KMS_OK)
        st = kms_generate_data_key(client->caller, kms_key_endpoint(key), kms_key_arn(key), size,
                                   context, plaintext, wrapped, err);
    return conclude(client, key, context, st, err);
}

kms_status kms_client_rewrap(kms_client *client, kms_key *from, const kms_context *from_context,
                             kms_bytes wrapped, kms_key *to, const kms_context *to_context,
                             kms_buffer *rewrapped, kms_error *err)
{
    kms_status st = admit(client, from, &from_context, err);

    if (st == KMS_OK)
        st = admit(client, to, &to_context, err);
    if (st == KMS_OK)
        st = check_ciphertext(wrapped, err);
    if (st == KMS_OK && kms_key_endpoint(from) != kms_key_endpoint(to))
        st = kms_fail(err, KMS_E_ARGUMENT,
                      "both keys must be in one region and profile, since KMS rewraps in place");
    if (st == KMS_OK)
        st = confirm(client, from, err);
    if (st == KMS_OK)
        st = confirm(client, to, err);
    if (st == KMS_OK)
        st = kms_reencrypt(client->caller, kms_key_endpoint(to), kms_key_arn(from), from_context,
                           wrapped, kms_key_arn(to), to_context, rewrapped, err);
    st = conclude(client, to, from_context, st, err);
    return conclude(client, from, from_context, st, err);
}

kms_status kms_client_random(kms_client *client, size_t size, kms_secret *out, kms_error *err)
{
    kms_endpoint *endpoint = NULL;
    kms_status st = KMS_OK;

    if (size == 0 || size > KMS_RANDOM_MAX)
        st = kms_fail(err, KMS_E_ARGUMENT, "1 to %d random bytes at a time, not %zu",
                      KMS_RANDOM_MAX, size);
    if (st == KMS_OK)
        st = prepare(client, NULL, &endpoint, err);
    if (st == KMS_OK)
        st = kms_generate_random(client->caller, endpoint, size, out, err);
    return st;
}
