/* When to try again: AWS's classes of failure, jittered exponential backoff, and the retry quota
 * that keeps a fleet from hammering a service that is down (AWS SDK "standard" mode). */
#ifndef KMS_CORE_RETRY_H
#define KMS_CORE_RETRY_H

#include "core/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum kms_retry_class {
    KMS_RETRY_NEVER,
    KMS_RETRY_TRANSIENT,
    KMS_RETRY_THROTTLED,
    KMS_RETRY_EXPIRED, /* once, after the credentials were fetched again */
    KMS_RETRY_SKEW,    /* once, and only where the clock was wrong and has been corrected */
} kms_retry_class;

/* One row of the table of AWS's exceptions. */
typedef struct kms_exception {
    const char *name;
    kms_status status;
    kms_retry_class retry;
} kms_exception;

/* The row of a (normalised) exception name; where it is unknown or NULL, the row that fits the HTTP
 * status. Dispatch is on the name: KMS sends 400 for nearly everything. */
const kms_exception *kms_exception_find(const char *name, long http_status);

/* The class of a failure without a reply. */
kms_retry_class kms_retry_of_status(kms_status status);

/* Retry quota of one client: full at the start. Thread-safe. */
typedef struct kms_retry_quota {
    atomic_int tokens;
} kms_retry_quota;

void kms_retry_quota_init(kms_retry_quota *quota);

/* Takes what one retry after `status` costs; false: not enough left, give the error back.
 * *taken receives the cost. */
bool kms_retry_quota_take(kms_retry_quota *quota, kms_status status, int *taken);

/* After a success: gives back what the last retry took, or 1 where there was none (taken 0). */
void kms_retry_quota_give(kms_retry_quota *quota, int taken);

/* Milliseconds to wait before the retry-th retry (0: the first), with full jitter from `random`
 * (0 to UINT32_MAX); hint_ms is the server's x-amz-retry-after, or -1. */
long kms_retry_delay_ms(kms_retry_class kind, int retry, uint32_t random, long hint_ms);

#endif
