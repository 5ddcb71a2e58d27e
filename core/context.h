/* Encryption context: name-value pairs bound to a ciphertext as additional authenticated data.
 * Names are unique; order does not matter to KMS, serialisation sorts by name (bytes). It appears
 * in clear text in AWS CloudTrail: it never holds what it protects.
 * A context is not thread-safe while it is changed; read-only use is. */
#ifndef KMS_CORE_CONTEXT_H
#define KMS_CORE_CONTEXT_H

#include "core/config.h"
#include "core/error.h"

#include <stdbool.h>

#define KMS_CONTEXT_BYTES_MAX 8192 /* names and values together, before escaping */
#define KMS_CONTEXT_PAIRS_MAX 128

typedef struct kms_context kms_context;

/* An empty context, or NULL without memory. kms_context_free(NULL) does nothing. */
kms_context *kms_context_new(void);
void kms_context_free(kms_context *context);

/* Adds one pair. Copies both strings (UTF-8, no control characters; name not empty and not
 * beginning with "aws:").
 * Errors: KMS_E_CONTEXT_NAME, _VALUE, _DUPLICATE, _TOO_LARGE; the context is then unchanged. */
kms_status kms_context_add(kms_context *context, const char *name, const char *value,
                           kms_error *err);

/* Adds what a user typed: "NAME=VALUE" (split at the first '='), or a JSON object of strings where
 * the text begins with '{'. All or nothing.
 * Errors: as kms_context_add, and KMS_E_CONTEXT_SYNTAX. */
kms_status kms_context_parse(kms_context *context, const char *text, size_t len, kms_error *err);

/* Adds every pair of other; a name that context has already with the same value is no error, with
 * another value it is KMS_E_CONTEXT_DUPLICATE. other may be NULL. All or nothing. */
kms_status kms_context_merge(kms_context *context, const kms_context *other, kms_error *err);

/* Reads. count of a NULL context is 0. Pairs come sorted by name. */
size_t kms_context_count(const kms_context *context);
const char *kms_context_name(const kms_context *context, size_t index);
const char *kms_context_value(const kms_context *context, size_t index);
const char *kms_context_find(const kms_context *context, const char *name); /* NULL if absent */
bool kms_context_equal(const kms_context *a, const kms_context *b);

/* Writes the names, comma-separated, for messages. Always terminated; cut at size. */
void kms_context_names(const kms_context *context, char *text, size_t size);

/* The configuration's [context] section. *out is NULL where there is none. */
kms_status kms_context_defaults(const kms_config *config, kms_context **out, kms_error *err);

/* Checks a context against the configuration: not empty, required names, dataType, and the names
 * that a data type needs (pii: piiType, context: contextType).
 * Errors: KMS_E_CONTEXT_MISSING, _REQUIRED, _DATA_TYPE. */
kms_status kms_context_check(const kms_config *config, const kms_context *context, kms_error *err);

#endif
