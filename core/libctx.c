#include "core/libctx.h"

#include <openssl/crypto.h>
#include <openssl/provider.h>
#include <time.h>

kms_status kms_libctx_new(OSSL_LIB_CTX **out, kms_error *err)
{
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();

    *out = NULL;
    if (libctx == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "OpenSSL library context");
    /* The context owns the provider and unloads it when it is freed. */
    if (OSSL_PROVIDER_load(libctx, "default") == NULL) {
        OSSL_LIB_CTX_free(libctx);
        return kms_fail(err, KMS_E_INTERNAL, "OpenSSL's default provider can't be loaded");
    }
    *out = libctx;
    return KMS_OK;
}

void kms_libctx_free(OSSL_LIB_CTX *libctx)
{
    OSSL_LIB_CTX_free(libctx);
}

static void sigpipe_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGPIPE);
}

void kms_scope_enter(kms_scope *scope, OSSL_LIB_CTX *libctx)
{
    sigset_t sigpipe, pending;

    scope->previous = OSSL_LIB_CTX_set0_default(libctx);
    /* A SIGPIPE that is pending already is the application's: then ours merges into it. */
    scope->restore_signals = sigpending(&pending) == 0 && !sigismember(&pending, SIGPIPE);
    if (scope->restore_signals) {
        sigpipe_set(&sigpipe);
        scope->restore_signals = pthread_sigmask(SIG_BLOCK, &sigpipe, &scope->signals) == 0;
    }
}

void kms_scope_leave(kms_scope *scope)
{
    const struct timespec at_once = {0};
    sigset_t sigpipe;

    if (scope->restore_signals) {
        sigpipe_set(&sigpipe);
        while (sigtimedwait(&sigpipe, NULL, &at_once) > 0)
            continue;
        pthread_sigmask(SIG_SETMASK, &scope->signals, NULL);
    }
    OSSL_LIB_CTX_set0_default(scope->previous);
}
