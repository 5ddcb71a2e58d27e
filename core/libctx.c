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
    if (OSSL_PROVIDER_load(libctx, "default") == NULL) {
        OSSL_LIB_CTX_free(libctx);
        return kms_fail(err, KMS_E_INTERNAL, "OpenSSL's default provider can't be loaded");
    }
    *out = libctx;
    return KMS_OK;
}

static int unload(OSSL_PROVIDER *provider, void *arg)
{
    (void)arg;
    return OSSL_PROVIDER_unload(provider);
}

void kms_libctx_free(OSSL_LIB_CTX *libctx)
{
    /* The context knows its provider, but would not give back the reference that loading took. */
    if (libctx != NULL)
        OSSL_PROVIDER_do_all(libctx, unload, NULL);
    OSSL_LIB_CTX_free(libctx);
}

/* One entry of OpenSSL's error queue. The texts are copies: OpenSSL frees its own with the entry.
 */
struct kms_error_entry {
    kms_error_entry *next;
    unsigned long code;
    int line;
    char *file, *function, *data; /* NULL: none */
};

static char *copy_text(const char *text)
{
    return text != NULL ? strdup(text) : NULL;
}

/* Takes the thread's queue away, oldest first. Without memory the rest of it is lost. */
static kms_error_entry *take_errors(int *marks)
{
    kms_error_entry *first = NULL, **end = &first;
    const char *file, *function, *data;
    int flags;

    *marks = 0;
    while (ERR_clear_last_mark() == 1)
        ++*marks;
    while (ERR_peek_error() != 0) {
        kms_error_entry *entry = calloc(1, sizeof(*entry));
        if (entry == NULL)
            break;
        entry->code = ERR_get_error_all(&file, &entry->line, &function, &data, &flags);
        entry->file = copy_text(file);
        entry->function = copy_text(function);
        entry->data = (flags & ERR_TXT_STRING) != 0 ? copy_text(data) : NULL;
        *end = entry;
        end = &entry->next;
    }
    return first;
}

/* Makes the queue what it was. Marks can be counted but not located: they come back at its end,
 * where those are that a caller set around the whole operation. */
static void put_errors_back(kms_error_entry *entry, int marks)
{
    kms_error_entry *next;

    if (ERR_peek_error() != 0)
        ERR_clear_error();
    for (; entry != NULL; entry = next) {
        next = entry->next;
        ERR_new();
        ERR_set_debug(entry->file, entry->line, entry->function);
        if (entry->data != NULL)
            ERR_set_error(ERR_GET_LIB(entry->code), ERR_GET_REASON(entry->code), "%s", entry->data);
        else
            ERR_set_error(ERR_GET_LIB(entry->code), ERR_GET_REASON(entry->code), NULL);
        free(entry->file);
        free(entry->function);
        free(entry->data);
        free(entry);
    }
    while (marks-- > 0)
        ERR_set_mark();
}

static void sigpipe_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGPIPE);
}

void kms_scope_enter(kms_scope *scope, OSSL_LIB_CTX *libctx)
{
    sigset_t sigpipe;

    scope->errors = take_errors(&scope->error_marks);
    scope->previous = OSSL_LIB_CTX_set0_default(libctx);
    /* Where the application blocks SIGPIPE it may wait for one: ours merges into what is pending.
     */
    sigpipe_set(&sigpipe);
    scope->restore_signals = pthread_sigmask(SIG_BLOCK, &sigpipe, &scope->signals) == 0 &&
                             !sigismember(&scope->signals, SIGPIPE);
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
    put_errors_back(scope->errors, scope->error_marks);
}
