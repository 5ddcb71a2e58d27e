/* Errors: the one table. Every error has a status, a sentence, a remedy, a PKCS#11 return value and
 * an exit code; OpenSSL's reason number is the status itself. Rows live in core/error_table.h. */
#ifndef KMS_CORE_ERROR_H
#define KMS_CORE_ERROR_H

#include "core/error_table.h"

#include <stddef.h>

#define KMS_ERROR_DETAIL_MAX 512
#define KMS_ERROR_TEXT_MAX   1024

typedef enum kms_status {
    KMS_OK = 0,
#define KMS_ERROR_ENUM(name, ckr, exit, sentence, remedy) KMS_E_##name,
    KMS_ERROR_TABLE(KMS_ERROR_ENUM)
#undef KMS_ERROR_ENUM
        KMS_STATUS_COUNT
} kms_status;

/* What went wrong, filled by kms_fail. Plain data without ownership: copy and drop it freely.
 * Never holds plaintext, key bytes, credentials or context values. Not thread-safe. */
typedef struct kms_error {
    kms_status status;
    char detail[KMS_ERROR_DETAIL_MAX]; /* what exactly: names, numbers, places; may be empty */
    char exception[64];                /* AWS's exception name, or empty */
    char request_id[64];               /* AWS's request id, or empty */
} kms_error;

/* Records an error and returns its status, so that a function ends in `return kms_fail(...)`.
 * err may be NULL. The earlier content is replaced, exception and request id are emptied. */
kms_status kms_fail(kms_error *err, kms_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The facts of one status. Valid for the process's life; never NULL. */
const char *kms_status_name(kms_status status); /* "KMS_E_NOT_FOUND" */
const char *kms_status_sentence(kms_status status);
const char *kms_status_remedy(kms_status status);
unsigned long kms_status_ckr(kms_status status);
int kms_status_exit_code(kms_status status);

/* Writes the detail, the remedy and AWS's request id, without the sentence (which OpenSSL prints by
 * itself from the reason number). Always terminated; cut at size; one line without control
 * characters, whatever came from elsewhere. */
void kms_error_explain(const kms_error *err, char *text, size_t size);

/* Writes the whole message: sentence, detail, remedy, request id. Always terminated; cut at size.
 */
void kms_error_text(const kms_error *err, char *text, size_t size);

#endif
