#include "pkcs11/module.h"

#include "core/exit.h"
#include "core/log.h"
#include "pkcs11/object.h"
#include "pkcs11/session.h"

#include <openssl/err.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* The root. begin guards its making and its end; readers take the pointer as it is, since calls
 * that overlap C_Finalize are undefined by the standard. */
static _Atomic(p11_module *) root;
static kms_lock begin;
static pthread_once_t begin_once = PTHREAD_ONCE_INIT;
static kms_status begin_status;
static p11_module *abandoned; /* what can't be freed stays reachable, for leak checkers */

static void make_begin(void)
{
    begin_status = kms_lock_init(&begin, NULL);
}

static p11_module *root_of_this_process(void)
{
    p11_module *module = atomic_load(&root);

    return module != NULL && module->owner == getpid() ? module : NULL;
}

p11_module *p11_module_get(void)
{
    return kms_exit_has_begun() ? NULL : root_of_this_process();
}

CK_RV p11_module_fail(p11_module *module, const char *door, const kms_error *err)
{
    kms_log_error(kms_client_config(module->client), door, err);
    if (err->status == KMS_E_NOT_FOUND || err->status == KMS_E_KEY_DISABLED ||
        err->status == KMS_E_KEY_STATE) {
        kms_lock_take(&module->lock);
        module->listed = false;
        kms_lock_give(&module->lock);
    }
    return kms_status_ckr(err->status);
}

/* What can't be freed: libssl and libcurl are shut down, or locks of theirs may be held by threads
 * that a fork left behind. Its secrets go, its memory stays. */
static void module_abandon(p11_module *module)
{
    kms_client_abandon(module->client);
    module->next_abandoned = abandoned;
    abandoned = module;
}

/* No other thread is inside; in a child after fork none is there any more. What the lost threads
 * held they hold for ever, but for the keys. The core leaves the parent's connections. */
static void module_free(p11_module *module)
{
    bool inherited;

    if (module == NULL)
        return;
    inherited = module->owner != getpid();
    if (inherited)
        p11_object_cleanse_all(module);
    p11_session_close_all(module);
    p11_object_free_all(module);
    p11_table_clear(&module->sessions);
    p11_table_clear(&module->objects);
    if (kms_exit_has_begun() || (inherited && module->inside != 0)) {
        module_abandon(module);
        return;
    }
    kms_client_close(module->client);
    kms_lock_destroy(&module->lock);
    free(module);
}

static CK_RV module_new(p11_module **out)
{
    p11_module *module = calloc(1, sizeof(*module));
    kms_error err = {0};

    *out = NULL;
    if (module == NULL)
        return CKR_HOST_MEMORY;
    if (kms_lock_init(&module->lock, &err) != KMS_OK) {
        free(module);
        return CKR_HOST_MEMORY;
    }
    module->owner = getpid();
    if (kms_client_open(NULL, &module->client, &err) != KMS_OK) {
        kms_log_error(NULL, "C_Initialize", &err);
        kms_lock_destroy(&module->lock);
        free(module);
        return kms_status_ckr(err.status);
    }
    *out = module;
    return CKR_OK;
}

/* The caller's mutexes are never used, so they may only be offered, not demanded. A ban on threads
 * of the library's own is accepted: none of them ever enters the caller's code. */
static CK_RV check_arguments(const CK_C_INITIALIZE_ARGS *args)
{
    int functions;

    if (args == NULL)
        return CKR_OK;
    functions = (args->CreateMutex != NULL) + (args->DestroyMutex != NULL) +
                (args->LockMutex != NULL) + (args->UnlockMutex != NULL);
    if (args->pReserved != NULL || (functions != 0 && functions != 4))
        return CKR_ARGUMENTS_BAD;
    if (functions == 4 && (args->flags & CKF_OS_LOCKING_OK) == 0)
        return CKR_CANT_LOCK;
    return CKR_OK;
}

/* Takes a parent's module out of a child. Errors: CKR_CRYPTOKI_ALREADY_INITIALIZED. */
static CK_RV take_inherited(p11_module **inherited)
{
    CK_RV rv = CKR_OK;

    kms_lock_take(&begin);
    if (root_of_this_process() != NULL)
        rv = CKR_CRYPTOKI_ALREADY_INITIALIZED;
    else
        *inherited = atomic_exchange(&root, NULL);
    kms_lock_give(&begin);
    return rv;
}

static CK_RV initialize(const CK_C_INITIALIZE_ARGS *args)
{
    p11_module *module = NULL, *inherited = NULL;
    CK_RV rv = take_inherited(&inherited);

    /* Outside of the lock, since opening reads files and takes locks of the core's. */
    module_free(inherited);
    if (rv == CKR_OK)
        rv = check_arguments(args);
    if (rv == CKR_OK)
        rv = module_new(&module);
    if (rv != CKR_OK)
        return rv;

    kms_lock_take(&begin);
    if (root_of_this_process() == NULL) {
        atomic_store(&root, module);
        module = NULL;
    }
    kms_lock_give(&begin);
    rv = module != NULL ? CKR_CRYPTOKI_ALREADY_INITIALIZED : CKR_OK;
    module_free(module);
    return rv;
}

CK_RV C_Initialize(void *init_args)
{
    CK_RV rv;

    pthread_once(&begin_once, make_begin);
    if (begin_status != KMS_OK || !kms_exit_watch())
        return CKR_HOST_MEMORY;
    if (kms_exit_has_begun())
        return CKR_FUNCTION_FAILED;
    ERR_set_mark();
    rv = initialize(init_args);
    ERR_pop_to_mark();
    return rv;
}

CK_RV C_Finalize(void *reserved)
{
    p11_module *module;

    if (root_of_this_process() == NULL)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (reserved != NULL)
        return CKR_ARGUMENTS_BAD;
    kms_lock_take(&begin);
    module = atomic_exchange(&root, NULL);
    kms_lock_give(&begin);
    ERR_set_mark();
    module_free(module);
    ERR_pop_to_mark();
    return module != NULL ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED;
}
