/* Keys and aliases: in memory for speed, written through to SQLite so that they survive a restart.
 * A lock is the caller's: store_read/store_write around everything else. */
#ifndef LOCAL_STORE_H
#define LOCAL_STORE_H

#include "spec.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define MATERIAL_ID_SIZE 32
#define ROTATIONS_MAX    25  /* on demand, for one key */
#define ARN_SIZE         400 /* of the longest ARN, an alias's, with its terminator */

/* One generation of a key's secret. */
typedef struct material {
    uint8_t id[MATERIAL_ID_SIZE];
    uint8_t *bytes; /* symmetric or HMAC key, or PKCS#8 DER */
    size_t len;
    double created;
    bool on_demand;
} material;

/* What the keys of a multi-Region family share; a single-Region key has one of its own. */
typedef struct family {
    struct family *next;
    char key_id[40];
    const key_spec *spec;
    const char *usage;
    bool multi_region;
    char primary_region[32];
    material *materials; /* oldest first */
    size_t material_count;
    bool rotates;
    int rotation_days;
    double next_rotation;
    void *parsed; /* EVP_PKEY of an asymmetric key, made on load */
} family;

typedef enum key_state {
    STATE_ENABLED,
    STATE_DISABLED,
    STATE_PENDING_DELETION,
    STATE_PENDING_REPLICA_DELETION,
    STATE_COUNT
} key_state;

typedef struct key {
    struct key *next;
    family *family;
    char region[32];
    key_state state;
    double created, deletion; /* deletion 0: not scheduled */
    int pending_days;
    char *description, *policy;
    cJSON *tags; /* array of {TagKey, TagValue} */
} key;

typedef struct alias {
    struct alias *next;
    char *name;
    char region[32];
    key *target;
    double created, updated;
} alias;

typedef struct store {
    key *keys; /* oldest first */
    family *families;
    alias *aliases; /* sorted by name */
    const char *account;
} store;

/* Opens or makes the database (NULL: in memory), keeps other processes out, and loads it. Says on
 * standard error what fails. */
bool store_open(store *s, const char *path, const char *account);
void store_close(store *s);

void store_read(void);
void store_write(void);
void store_unlock(void);

key *store_find_key(store *s, const char *region, const char *key_id);
alias *store_find_alias(store *s, const char *region, const char *name);

/* What changes the store says false where the database did not take it. */

/* Adds a key (family new or shared) and saves it. Takes ownership of key and, when new, family. */
bool store_add_key(store *s, key *k);
/* Saves what changed in a key or its family. */
bool store_save_key(const key *k);
bool store_remove_key(store *s, key *k);
/* Removes the keys whose waiting period is over. */
bool store_remove_expired(store *s, double now);

bool store_add_alias(store *s, const char *region, const char *name, key *target);
bool store_save_alias(const alias *a);
bool store_remove_alias(store *s, alias *a);

/* Adds a generation; copies nothing, takes the bytes. */
bool family_add_material(family *f, uint8_t *bytes, size_t len, bool on_demand);
void family_drop_newest(family *f);
const material *family_current(const family *f);
void key_free(key *k);

double store_now(void);
const char *partition(const char *region);
/* resource: key/ID, an alias, or nothing for what all of them begin with. */
void resource_arn(const store *s, const char *region, const char *resource, char *out, size_t size);
void key_arn(const store *s, const key *k, char *out, size_t size);
const char *key_state_name(key_state state);
bool key_is_pending(const key *k);
/* True for a replica of a multi-Region key: its primary decides about rotation and replicas. */
bool key_is_replica(const key *k);
bool key_has_replicas(const store *s, const key *k);

#endif
