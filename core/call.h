/* One AWS JSON 1.1 call: sign, send, classify, try again. Knows no operation. */
#ifndef KMS_CORE_CALL_H
#define KMS_CORE_CALL_H

#include "core/endpoint.h"
#include "core/json.h"
#include "core/secret.h"

#include <openssl/types.h>
#include <time.h>

/* Transport, signer, retry quota and clock correction of one client. Thread-safe. */
typedef struct kms_caller kms_caller;

/* libctx must outlive it. No network. */
kms_status kms_caller_new(const kms_config *config, OSSL_LIB_CTX *libctx, kms_caller **out,
                          kms_error *err);
void kms_caller_free(kms_caller *caller);

/* A moment by which something must be over. */
typedef struct kms_deadline {
    struct timespec at; /* of CLOCK_MONOTONIC */
} kms_deadline;

/* operation_timeout_ms from now. */
kms_deadline kms_caller_deadline(const kms_caller *caller);
long kms_deadline_left_ms(kms_deadline deadline); /* 0 or less: it is over */

/* Release with kms_reply_clear. */
typedef struct kms_reply {
    cJSON *json;          /* the body without the secret */
    kms_secret plaintext; /* its member Plaintext, if it had one */
    char request_id[64];
} kms_reply;

/* Calls an operation by its name in the API ("Encrypt"). Waits operation_timeout_ms at the most.
 * Errors: those of the transport, and what AWS's exception means in the table of core/retry.c. */
kms_status kms_call(kms_caller *caller, const kms_endpoint *endpoint, const char *operation,
                    const cJSON *request, kms_reply *reply, kms_error *err);
void kms_reply_clear(kms_reply *reply);

#endif
