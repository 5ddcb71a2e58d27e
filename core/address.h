/* Key addresses: kms:alias/NAME, kms:KEY-ID, kms:ARN, each with an optional query
 * ?region=…&profile=…&context.NAME=VALUE (percent-encoded). The scheme may be left out. */
#ifndef KMS_CORE_ADDRESS_H
#define KMS_CORE_ADDRESS_H

#include "core/context.h"
#include "core/error.h"

typedef struct kms_address {
    char *key;            /* "alias/NAME", key id or ARN; NULL for bare "kms:" (every key) */
    char *region;         /* from ?region= or the ARN; NULL: the configured one */
    char *profile;        /* from ?profile=; NULL: the configured one */
    kms_context *context; /* from ?context.NAME=; NULL: none */
} kms_address;

/* Parses text into *out, which must be empty ({0}). Release with kms_address_clear.
 * Errors: KMS_E_KEY_ADDRESS (says what is wrong), KMS_E_CONTEXT_*; then *out is empty. */
kms_status kms_address_parse(const char *text, kms_address *out, kms_error *err);
void kms_address_clear(kms_address *address);

#endif
