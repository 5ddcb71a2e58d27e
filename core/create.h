/* Making keys. A key that is made costs money and stays until somebody deletes it, so nothing is
 * left behind without a word: it gets its alias, or it is scheduled for deletion. */
#ifndef KMS_CORE_CREATE_H
#define KMS_CORE_CREATE_H

#include "core/client.h"

#define KMS_TAGS_MAX        50
#define KMS_DESCRIPTION_MAX 8192
#define KMS_POLICY_MAX      32768 /* bytes of a key policy */

/* What a caller wants. All texts belong to it. */
typedef struct kms_key_wish {
    const kms_address *address; /* of the alias, with region and profile */
    const char *spec;           /* KMS's name: "ECC_NIST_P256", "SYMMETRIC_DEFAULT" */
    const char *usage;          /* KMS's name: "KEY_AGREEMENT"; NULL: what is usual for the spec */
    const char *description;    /* NULL: none */
    const char *policy_file;    /* path of a JSON policy; NULL: KMS's own default */
    const char *const *tags;    /* names and values in turns */
    size_t tag_count;
} kms_key_wish;

/* Makes a key, switches automatic rotation on where KMS has it (symmetric keys), names it by the
 * alias and loads it. Where a later step fails, the new key is scheduled for deletion, and the
 * error's detail names it and says so. *out is a new reference.
 * Errors: KMS_E_CREATION_NOT_ALLOWED unless allow_key_creation is on; KMS_E_KEY_ADDRESS (no alias,
 * or one of AWS's), KMS_E_ALIAS_EXISTS, KMS_E_ARGUMENT (tags, description, policy file),
 * KMS_E_KEY_USAGE, KMS_E_REGION_*, and all of the network. */
kms_status kms_client_create_key(kms_client *client, const kms_key_wish *wish, kms_key **out,
                                 kms_error *err);

#endif
