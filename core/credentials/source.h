/* What the sources of credentials have in common; only core/credentials includes this. */
#ifndef KMS_CORE_CREDENTIALS_SOURCE_H
#define KMS_CORE_CREDENTIALS_SOURCE_H

#include "core/bytes.h"
#include "core/credentials/credentials.h"

#include <stdbool.h>
#include <sys/types.h>

/* What a chain asks its sources for. Never changes after kms_credential_chain_new. */
typedef struct kms_credential_request {
    char *profile;
    bool profile_named;     /* by the user: it must exist, and comes before the environment */
    char *config_path;      /* NULL where it can't be told */
    bool config_named;      /* by AWS_CONFIG_FILE: it must exist */
    char *credentials_path; /* NULL where it can't be told */
    bool credentials_named; /* by AWS_SHARED_CREDENTIALS_FILE: it must exist */
} kms_credential_request;

/* What a source's inputs look like, without reading them: equal stamps mean equal contents. */
typedef struct kms_credential_stamp {
    struct {
        dev_t device;
        ino_t inode;
        off_t size;
        struct timespec modified;
    } files[2];
} kms_credential_stamp;

/* One source: a row of the table in chain.c. */
typedef struct kms_credential_source {
    const char *name;
    bool below_named_profile; /* not asked where the user named a profile */
    /* Fills *out and sets *found. KMS_OK without *found: the source is not configured. */
    kms_status (*fetch)(const kms_credential_request *request, kms_credentials *out, bool *found,
                        kms_error *err);
    /* NULL: the source is read at each get, and nothing of it is kept. */
    void (*stamp)(const kms_credential_request *request, kms_credential_stamp *stamp);
} kms_credential_source;

/* Value of an environment variable; NULL where unset or empty. */
const char *kms_credential_variable(const char *name);

/* Checks and copies one set; token may be empty. *out must be empty. source is for messages.
 * Errors: KMS_E_CREDENTIALS_INVALID (names what is wrong, not the value), KMS_E_MEMORY_LOCK. */
kms_status kms_credentials_fill(kms_credentials *out, const char *source, kms_bytes access_key_id,
                                kms_bytes secret_access_key, kms_bytes session_token,
                                kms_error *err);

/* Copies a set into *out, which must be empty. */
kms_status kms_credentials_copy(kms_credentials *out, const kms_credentials *from, kms_error *err);

/* Reads "2026-01-02T03:04:05Z", also with a fraction or an offset. False where it is no time. */
bool kms_credential_time_parse(const char *text, time_t *out);

/* environment.c */
kms_status kms_environment_fetch(const kms_credential_request *request, kms_credentials *out,
                                 bool *found, kms_error *err);

/* profile.c */
kms_status kms_profile_fetch(const kms_credential_request *request, kms_credentials *out,
                             bool *found, kms_error *err);
void kms_profile_stamp(const kms_credential_request *request, kms_credential_stamp *stamp);

/* The profile's region; size holds a terminator, and *text is "" where it has none.
 * Errors: KMS_E_CREDENTIALS_INVALID. */
kms_status kms_profile_region(const kms_credential_request *request, char *text, size_t size,
                              kms_error *err);

#endif
