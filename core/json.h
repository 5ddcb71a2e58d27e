/* What cJSON leaves to us: secrets outside of its heap, Base64 (by libcrypto), strict reads.
 * Member names are compared with case, as AWS does. */
#ifndef KMS_CORE_JSON_H
#define KMS_CORE_JSON_H

#include "core/secret.h"

#include <cjson/cJSON.h>
#include <stdbool.h>

#define KMS_JSON_DEPTH_MAX   32
#define KMS_JSON_MEMBERS_MAX 128 /* of one object in a reply */

/* Adds a string member without copying: name and value must outlive the object. */
kms_status kms_json_add_text(cJSON *object, const char *name, const char *value, kms_error *err);

/* Adds the Base64 text of some bytes. `text` keeps its only copy, which may be secret: it must be
 * empty, and outlive the object. */
kms_status kms_json_add_bytes(cJSON *object, const char *name, kms_bytes bytes, kms_secret *text,
                              kms_error *err);

/* Prints without blanks into a secret, which must be empty. */
kms_status kms_json_print(const cJSON *object, kms_secret *text, kms_error *err);

/* Cuts a secret Base64 member ("Plaintext") out of a reply's text before it is parsed, and decodes
 * it: cJSON's heap is neither locked nor cleansed, ours is. What stays is an empty string. The name
 * can't be mistaken: inside of a JSON string its quotes would be escaped. *out stays empty where
 * the member is absent. Errors: KMS_E_REPLY_MALFORMED (twice, not Base64), KMS_E_MEMORY_LOCK. */
kms_status kms_json_lift_secret(kms_secret *text, const char *name, kms_secret *out,
                                kms_error *err);

/* Reads one object, which is the whole text, without escaped NUL characters. Says what is wrong
 * with it, or NULL; then *out is released with cJSON_Delete. */
const char *kms_json_read(kms_bytes text, cJSON **out);

/* Reads a reply: one object as above, or nothing at all, which is as good as an empty one; bounded
 * in depth and breadth, no name twice in an object. Release with cJSON_Delete.
 * Errors: KMS_E_REPLY_MALFORMED. */
kms_status kms_json_parse(kms_bytes text, cJSON **out, kms_error *err);

/* Reads of members; NULL or false where absent or of another type. */
const char *kms_json_string(const cJSON *object, const char *name);
bool kms_json_flag(const cJSON *object, const char *name);
const cJSON *kms_json_member(const cJSON *object, const char *name);
/* The preset also where the number is not within min and max. */
double kms_json_number(const cJSON *object, const char *name, double preset, double min,
                       double max);

/* Decodes a Base64 member that must be there. *out must be empty. Errors: KMS_E_REPLY_MALFORMED. */
kms_status kms_json_bytes(const cJSON *object, const char *name, kms_buffer *out, kms_error *err);

#endif
