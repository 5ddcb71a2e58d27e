/* One operation's call: what came in, what goes out, or the refusal. Reads validate as AWS does. */
#ifndef LOCAL_CALL_H
#define LOCAL_CALL_H

#include "crypto.h"
#include "failure.h"
#include "store.h"

typedef struct call {
    store *store;
    const char *region;
    const char *operation;
    const cJSON *in;
    cJSON *out; /* NULL at the end: an empty body */
    failure failure;
} call;

typedef bool operation_fn(call *c);

typedef struct operation {
    const char *name;
    operation_fn *run;
    bool writes; /* changes keys or aliases */
    bool silent; /* answers with an empty body */
} operation;

const operation *operation_find(const char *name);

/* Parses a body: one JSON object in UTF-8 and nothing behind it. NULL: refused. */
cJSON *call_parse(const char *body, size_t len, failure *f);

/* Runs one operation under the store's lock; *out receives the answer's text (malloc'd), or NULL
 * where the operation answers with an empty body. */
bool call_run(const operation *op, store *s, const char *region, const cJSON *in, char **out,
              failure *f);

/* Required or optional members. *out of an absent optional one is NULL, {0} or the preset. False
 * with ValidationException where one is missing, of another type, or outside its limits. */
bool in_text(call *c, const char *name, bool required, size_t max, const char **out);
bool in_bytes(call *c, const char *name, bool required, size_t max, bytes *out);
bool in_number(call *c, const char *name, long min, long max, long preset, long *out);
bool in_flag(const call *c, const char *name);
/* The value must be one of the NULL-terminated list. */
bool in_choice(call *c, const char *name, const char *const *choices, const char **out);
/* An object of strings; NULL where absent or empty. Duplicate names are refused. */
bool in_context(call *c, const char *name, const cJSON **out);

/* A key policy, which must be a JSON object. */
bool in_policy(call *c, bool required, const char **out);
/* A list of {TagKey, TagValue}, none twice; NULL where absent. */
bool in_tags(call *c, bool required, const cJSON **out);

/* The key that KeyId (or another member) names, in any of its forms. */
bool in_key(call *c, const char *member, bool aliases_too, key **out);
bool find_key(call *c, const char *name, bool aliases_too, key **out);

/* The key must be usable for cryptography, and made for this usage. */
bool usable(call *c, const key *k, const char *usage);
bool must_be_enabled(call *c, const key *k);
bool must_not_be_pending(call *c, const key *k);
/* The algorithm must exist, and fit the key. */
bool in_algorithm(call *c, const char *member, const char *preset, const key *k,
                  const algorithm **out);
/* DryRun ends here: the call would have worked. */
bool not_dry(call *c);

void out_text(call *c, const char *name, const char *value);
void out_bytes(call *c, const char *name, const uint8_t *data, size_t len);
void out_arn(call *c, const char *name, const key *k);
void out_material(call *c, const char *name, const uint8_t id[MATERIAL_ID_SIZE]);

bool out_of_order(call *c); /* libcrypto or SQLite failed: KMSInternalException */

/* Pages of a list: which items this call shows. */
typedef struct page {
    long limit, first, seen;
    bool more;
} page;

bool page_begin(call *c, long max, long preset, page *p);
bool page_take(page *p); /* true: show this item */
void page_end(call *c, const page *p);

/* Rows of the table in call.c. */
operation_fn op_encrypt, op_decrypt, op_reencrypt, op_generate_data_key,
    op_generate_data_key_without_plaintext, op_generate_data_key_pair,
    op_generate_data_key_pair_without_plaintext, op_generate_random;
operation_fn op_sign, op_verify, op_generate_mac, op_verify_mac, op_get_public_key,
    op_derive_shared_secret, op_encapsulate, op_decapsulate;
operation_fn op_create_key, op_describe_key, op_list_keys, op_enable_key, op_disable_key,
    op_schedule_key_deletion, op_cancel_key_deletion, op_replicate_key, op_update_key_description;
operation_fn op_create_alias, op_update_alias, op_delete_alias, op_list_aliases;
operation_fn op_get_key_rotation_status, op_enable_key_rotation, op_disable_key_rotation,
    op_rotate_key_on_demand, op_list_key_rotations;
operation_fn op_get_key_policy, op_put_key_policy, op_tag_resource, op_untag_resource,
    op_list_resource_tags;

/* What an alias may be called. */
bool alias_name_valid(failure *f, const char *name);

/* Rotates the keys whose automatic rotation is due. */
bool rotate_due(store *s, double now);

/* For --seed-key: spec[:usage] may follow the alias. False says why on standard error. */
bool seed_key(store *s, const char *region, const char *text);

#endif
