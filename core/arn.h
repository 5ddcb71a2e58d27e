/* ARNs of KMS keys and aliases: arn:PARTITION:kms:REGION:ACCOUNT:key/ID or …:alias/NAME. */
#ifndef KMS_CORE_ARN_H
#define KMS_CORE_ARN_H

#include "core/error.h"

#include <stdbool.h>

#define KMS_REGION_MAX 32  /* with the terminator; the longest region today has 25 */
#define KMS_ARN_MAX    320 /* with the terminator: alias names have up to 256 characters */

typedef struct kms_arn {
    char partition[16];
    char region[KMS_REGION_MAX];
    char account[16];
    char resource[264]; /* "key/ID" or "alias/NAME" */
} kms_arn;

/* Parses strictly. Errors: KMS_E_KEY_ADDRESS. */
kms_status kms_arn_parse(const char *text, kms_arn *out, kms_error *err);

/* True for a text that begins like an ARN, right or wrong. */
bool kms_arn_is(const char *text);

/* True for a key id: a lower-case UUID, or mrk- and 32 hex digits. */
bool kms_key_id_is(const char *text);

/* True for "alias/" and 1 to 250 of the characters AWS allows. */
bool kms_alias_is(const char *text);

#endif
