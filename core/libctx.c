#include "core/libctx.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <stdlib.h>
#include <string.h>
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

/* An entry of the thread's error queue. */
typedef struct kms_queued_error {
    struct kms_queued_error *next;
    unsigned long code;
    int line;
    char *file, *function, *data; /* NULL: none */
} kms_queued_error;

static char *copy_text(const char *text)
{
    return text != NULL && *text != '\0' ? strdup(text) : NULL;
}

/* Takes all entries out of the queue, which is empty nearly always. Without memory an entry loses
 * its texts, or is lost: errors about errors help nobody. */
static kms_queued_error *take_errors(void)
{
    kms_queued_error *first = NULL, **last = &first;
    const char *file, *function, *data;
    unsigned long code;
    int line, flags;

    while ((code = ERR_get_error_all(&file, &line, &function, &data, &flags)) != 0) {
        kms_queued_error *e = calloc(1, sizeof(*e));
        if (e == NULL)
            continue;
        e->code = code;
        e->line = line;
        e->file = copy_text(file);
        e->function = copy_text(function);
        e->data = (flags & ERR_TXT_STRING) != 0 ? copy_text(data) : NULL;
        *last = e;
        last = &e->next;
    }
    return first;
}

/* Empties the queue and puts the entries back. */
static void give_errors(kms_queued_error *e)
{
    kms_queued_error *next;

    ERR_clear_error();
    for (; e != NULL; e = next) {
        next = e->next;
        ERR_new();
        ERR_set_debug(e->file, e->line, e->function);
        if (e->data != NULL)
            ERR_set_error(ERR_GET_LIB(e->code), ERR_GET_REASON(e->code), "%s", e->data);
        else
            ERR_set_error(ERR_GET_LIB(e->code), ERR_GET_REASON(e->code), NULL);
        free(e->file);
        free(e->function);
        free(e->data);
        free(e);
    }
}

static void sigpipe_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGPIPE);
}

void kms_scope_enter(kms_scope *scope, OSSL_LIB_CTX *libctx)
{
    sigset_t sigpipe, pending;

    scope->errors = take_errors();
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
    give_errors(scope->errors);
}
