/* The private OpenSSL library context, and the scope in which libcurl may run. */
#ifndef KMS_CORE_LIBCTX_H
#define KMS_CORE_LIBCTX_H

#include "core/error.h"

#include <openssl/types.h>
#include <signal.h>
#include <stdbool.h>

/* A context with the default provider loaded and no configuration file, so that what the
 * application activates (us included) has no say in it. Release with kms_libctx_free. */
kms_status kms_libctx_new(OSSL_LIB_CTX **out, kms_error *err);
void kms_libctx_free(OSSL_LIB_CTX *libctx);

/* What has to be put back when the scope ends. */
typedef struct kms_scope {
    OSSL_LIB_CTX *previous;
    struct kms_queued_error *errors; /* of the application, oldest first; NULL: none */
    sigset_t signals;
    bool restore_signals;
} kms_scope;

/* Around every call into libcurl, on every path, and never across a pause of an ASYNC job: makes
 * libctx the thread's default library context, which libcurl's TLS uses, keeps SIGPIPE from
 * reaching the process, and the thread's OpenSSL error queue as it is: libcurl empties it and
 * leaves entries of its own. Costs a few system calls; nothing outside the calling thread changes.
 */
void kms_scope_enter(kms_scope *scope, OSSL_LIB_CTX *libctx);
void kms_scope_leave(kms_scope *scope);

#endif
