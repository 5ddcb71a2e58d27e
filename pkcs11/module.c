#include "pkcs11/module.h"

#include "core/log.h"
#include "pkcs11/object.h"
#include "pkcs11/session.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* The root. begin guards its making and its end; readers take the pointer as it is, since calls
 * that overlap C_Finalize are undefined by the standard. */
static _Atomic(p11_module *) root;
static kms_lock begin;
static pthread_once_t begin_once = PTHREAD_ONCE_INIT;
static kms_status begin_status;

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
    return root_of_this_process();
}

CK_RV p11_module_fail(const p11_module *module, const char *door, const kms_error *err)
{
    kms_log_error(kms_client_config(module->client), door, err);
    return kms_status_ckr(err->status);
}

/* No other thread is inside. In a child after fork, the core leaves the parent's connections. */
static void module_free(p11_module *module)
{
    if (module == NULL)
        return;
    p11_session_close_all(module);
    p11_object_free_all(module);
    p11_table_clear(&module->sessions);
    p11_table_clear(&module->objects);
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

CK_RV C_Initialize(void *init_args)
{
    p11_module *module = NULL, *inherited;
    CK_RV rv;

    pthread_once(&begin_once, make_begin);
    if (begin_status != KMS_OK)
        return CKR_HOST_MEMORY;
    kms_lock_take(&begin);
    if (root_of_this_process() != NULL) {
        kms_lock_give(&begin);
        return CKR_CRYPTOKI_ALREADY_INITIALIZED;
    }
    inherited = atomic_exchange(&root, NULL);
    kms_lock_give(&begin);

    /* Outside of the lock, since opening reads files and takes locks of the core's. */
    module_free(inherited);
    rv = check_arguments(init_args);
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
    module_free(module);
    return CKR_OK;
}
