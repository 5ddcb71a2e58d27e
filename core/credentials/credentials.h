/* AWS credentials: where they are looked for, and the cache in front. Sources are tried in the
 * order of the table in chain.c; one that is configured but broken is an error, never a reason to
 * try the next. No error holds a secret access key or a session token. */
#ifndef KMS_CORE_CREDENTIALS_H
#define KMS_CORE_CREDENTIALS_H

#include "core/config.h"
#include "core/error.h"
#include "core/secret.h"

#include <time.h>

#define KMS_ACCESS_KEY_ID_MAX     129 /* with the terminator */
#define KMS_CREDENTIAL_SOURCE_MAX 256 /* with the terminator */

/* One set, always taken together. {0} is empty. Release with kms_credentials_clear. */
typedef struct kms_credentials {
    char access_key_id[KMS_ACCESS_KEY_ID_MAX];
    kms_secret secret_access_key;           /* printable ASCII, not terminated */
    kms_secret session_token;               /* likewise; empty where there is none */
    char source[KMS_CREDENTIAL_SOURCE_MAX]; /* for messages: "environment", or profile and file */
    time_t expires;                         /* 0: never */
} kms_credentials;

/* Cleanses and empties. Safe on an empty set and twice. */
void kms_credentials_clear(kms_credentials *credentials);

/* The sources of one profile. Thread-safe. */
typedef struct kms_credential_chain kms_credential_chain;

/* profile is the address's, or NULL for the setting's, else AWS's own default. A profile that was
 * named either way comes before the environment's keys, and must exist. Reads no credentials, but
 * the profile's region where the configuration has none. No network.
 * Errors: KMS_E_CREDENTIALS_INVALID, KMS_E_NO_MEMORY, KMS_E_MEMORY_LOCK. */
kms_status kms_credential_chain_new(const kms_config *config, const char *profile,
                                    kms_credential_chain **out, kms_error *err);
void kms_credential_chain_free(kms_credential_chain *chain);

/* Copies the credentials of the first source that has any into *out, which must be empty. What a
 * file gave is kept until the file changes or the credentials expire.
 * Errors: KMS_E_CREDENTIALS_MISSING, _INVALID (names the source), _EXPIRED, KMS_E_NO_MEMORY,
 * KMS_E_MEMORY_LOCK; then *out stays empty. */
kms_status kms_credential_chain_get(kms_credential_chain *chain, kms_credentials *out,
                                    kms_error *err);

/* Forgets what was kept, so that the next get reads its source again: for credentials that AWS
 * calls expired. */
void kms_credential_chain_invalidate(kms_credential_chain *chain);

/* The profile's region, the last resort for the region of requests: looked up only where the
 * configuration has none. NULL where the profile has none either. Lives as long as the chain. */
const char *kms_credential_chain_region(const kms_credential_chain *chain);

#endif
