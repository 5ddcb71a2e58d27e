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

typedef struct kms_error_entry kms_error_entry;

/* What has to be put back when the scope ends. */
typedef struct kms_scope {
    OSSL_LIB_CTX *previous;
    kms_error_entry *errors; /* OpenSSL's error queue of this thread; NULL: it was empty */
    int error_marks;         /* ERR_set_mark's in it */
    sigset_t signals;        /* the thread's mask */
    bool restore_signals;
} kms_scope;

/* Around every call into libcurl, on every path, and never across a pause of an ASYNC job: makes
 * libctx the thread's default library context, which libcurl's TLS uses; keeps SIGPIPE from
 * reaching the process; and keeps the application's entries in OpenSSL's error queue, which libcurl
 * empties, and libcurl's out of it. Costs a few system calls; nothing outside the calling thread
 * changes. */
void kms_scope_enter(kms_scope *scope, OSSL_LIB_CTX *libctx);
void kms_scope_leave(kms_scope *scope);

#endif
