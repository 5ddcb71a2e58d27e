/* AWS Signature Version 4 (reference: AWS General Reference, "Signing AWS API requests").
 * libcurl's own signing can't take a corrected clock and signs headers that it then doesn't send.
 */
#ifndef KMS_CORE_SIGV4_H
#define KMS_CORE_SIGV4_H

#include "core/credentials/credentials.h"
#include "core/secret.h"

#include <openssl/types.h>
#include <time.h>

#define KMS_SIGV4_DATE_SIZE         17 /* "YYYYMMDDTHHMMSSZ" and the terminator */
#define KMS_SIGV4_AUTHORIZATION_MAX 640

/* One header to sign. name is lower case; value has no outer blanks and no runs of blanks. */
typedef struct kms_sigv4_header {
    const char *name;
    const char *value;
} kms_sigv4_header;

typedef struct kms_sigv4_request {
    const char *region;
    const char *service;             /* "kms" */
    const char *path;                /* "/", already encoded; the query is empty */
    const kms_sigv4_header *headers; /* sorted by name, x-amz-date among them */
    size_t header_count;
    const char *date; /* as kms_sigv4_date wrote it, the value of x-amz-date */
    kms_bytes body;
} kms_sigv4_request;

/* Holds the algorithms and the signing key of the last day, region and credential. Thread-safe. */
typedef struct kms_sigv4 kms_sigv4;

/* libctx must outlive it. Errors: KMS_E_NO_MEMORY, KMS_E_INTERNAL. */
kms_status kms_sigv4_new(OSSL_LIB_CTX *libctx, kms_sigv4 **out, kms_error *err);
void kms_sigv4_free(kms_sigv4 *signer);

/* Writes the time as x-amz-date has it. */
void kms_sigv4_date(time_t now, char date[KMS_SIGV4_DATE_SIZE]);

/* Signs a POST and writes the value of its Authorization header.
 * Errors: KMS_E_ARGUMENT (too many headers), KMS_E_MEMORY_LOCK, KMS_E_INTERNAL. */
kms_status kms_sigv4_sign(kms_sigv4 *signer, const kms_sigv4_request *request,
                          const kms_credentials *credentials,
                          char authorization[KMS_SIGV4_AUTHORIZATION_MAX], kms_error *err);

#endif
