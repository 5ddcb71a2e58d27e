#include "pkcs11/session.h"

#include "pkcs11/object.h"

#include <openssl/err.h>
#include <stdlib.h>

static void session_free(p11_session *session)
{
    p11_operation_clear(&session->encrypt);
    p11_operation_clear(&session->decrypt);
    free(session->found);
    free(session);
}

CK_RV p11_session_enter(p11_session_scope *scope, CK_SESSION_HANDLE handle, bool exclusive)
{
    p11_module *module = p11_module_get();
    p11_session *session;
    CK_RV rv = CKR_OK;

    if (module == NULL)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    kms_lock_take(&module->lock);
    session = p11_table_get(&module->sessions, handle);
    if (session == NULL) {
        rv = CKR_SESSION_HANDLE_INVALID;
    } else if (exclusive && session->busy) {
        rv = CKR_OPERATION_ACTIVE;
    } else {
        session->references++;
        session->busy = session->busy || exclusive;
        module->inside++;
    }
    kms_lock_give(&module->lock);
    if (rv == CKR_OK)
        ERR_set_mark();
    *scope = (p11_session_scope){module, session, exclusive};
    return rv;
}

/* Under the lock: true when that was the last reference. */
static bool drop_reference(p11_session *session)
{
    return --session->references == 0;
}

void p11_session_leave(p11_session_scope *scope)
{
    bool last;

    kms_lock_take(&scope->module->lock);
    if (scope->exclusive)
        scope->session->busy = false;
    last = drop_reference(scope->session);
    scope->module->inside--;
    kms_lock_give(&scope->module->lock);
    if (last)
        session_free(scope->session);
    ERR_pop_to_mark();
}

/* Errors: CKR_SESSION_HANDLE_INVALID. */
static CK_RV close_session(p11_module *module, CK_SESSION_HANDLE handle)
{
    p11_session *session;
    bool last = false;

    kms_lock_take(&module->lock);
    session = p11_table_remove(&module->sessions, handle);
    if (session != NULL) {
        if ((session->flags & CKF_RW_SESSION) != 0)
            module->writable_sessions--;
        p11_object_drop_session(module, handle);
        if (module->sessions.used == 0)
            module->logged_in = false;
        last = drop_reference(session);
    }
    kms_lock_give(&module->lock);
    if (last)
        session_free(session);
    return session != NULL ? CKR_OK : CKR_SESSION_HANDLE_INVALID;
}

void p11_session_close_all(p11_module *module)
{
    for (size_t i = 0;; i++) {
        CK_SESSION_HANDLE handle = 0;
        bool more;
        kms_lock_take(&module->lock);
        more = i < module->sessions.count;
        if (more)
            handle = p11_table_at(&module->sessions, i);
        kms_lock_give(&module->lock);
        if (!more)
            return;
        if (handle != 0)
            close_session(module, handle);
    }
}

CK_RV C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
                    CK_SESSION_HANDLE *handle)
{
    p11_module *module = p11_module_get();
    p11_session *session;

    (void)application; /* nothing is ever notified */
    (void)notify;
    if (module == NULL)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (slot != P11_SLOT_ID)
        return CKR_SLOT_ID_INVALID;
    if (handle == NULL)
        return CKR_ARGUMENTS_BAD;
    if ((flags & CKF_SERIAL_SESSION) == 0)
        return CKR_SESSION_PARALLEL_NOT_SUPPORTED;
    session = calloc(1, sizeof(*session));
    if (session == NULL)
        return CKR_HOST_MEMORY;
    session->references = 1;
    session->flags = flags & (CKF_SERIAL_SESSION | CKF_RW_SESSION);
    kms_lock_take(&module->lock);
    session->handle = p11_table_add(&module->sessions, session);
    *handle = session->handle;
    if (*handle != 0 && (flags & CKF_RW_SESSION) != 0)
        module->writable_sessions++;
    kms_lock_give(&module->lock);
    if (*handle == 0) {
        free(session);
        return CKR_HOST_MEMORY;
    }
    return CKR_OK;
}

CK_RV C_CloseSession(CK_SESSION_HANDLE handle)
{
    p11_module *module = p11_module_get();

    if (module == NULL)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    return close_session(module, handle);
}

CK_RV C_CloseAllSessions(CK_SLOT_ID slot)
{
    p11_module *module = p11_module_get();

    if (module == NULL)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (slot != P11_SLOT_ID)
        return CKR_SLOT_ID_INVALID;
    p11_session_close_all(module);
    return CKR_OK;
}

CK_RV C_GetSessionInfo(CK_SESSION_HANDLE handle, CK_SESSION_INFO *info)
{
    p11_session_scope scope;
    CK_RV rv = p11_session_enter(&scope, handle, false);
    bool writable, logged_in;

    if (rv != CKR_OK)
        return rv;
    if (info == NULL) {
        rv = CKR_ARGUMENTS_BAD;
    } else {
        writable = (scope.session->flags & CKF_RW_SESSION) != 0;
        kms_lock_take(&scope.module->lock);
        logged_in = scope.module->logged_in;
        kms_lock_give(&scope.module->lock);
        *info = (CK_SESSION_INFO){.slotID = P11_SLOT_ID, .flags = scope.session->flags};
        if (logged_in)
            info->state = writable ? CKS_RW_USER_FUNCTIONS : CKS_RO_USER_FUNCTIONS;
        else
            info->state = writable ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION;
    }
    p11_session_leave(&scope);
    return rv;
}

/* Login is not required: AWS credentials say who the caller is. It is accepted, with any PIN, from
 * programs that log in whatever the token's flags say, and gives no rights. */
CK_RV C_Login(CK_SESSION_HANDLE handle, CK_USER_TYPE user, unsigned char *pin, CK_ULONG pin_len)
{
    p11_session_scope scope;
    CK_RV rv = p11_session_enter(&scope, handle, false);

    if (rv != CKR_OK)
        return rv;
    if (pin == NULL && pin_len != 0) {
        rv = CKR_ARGUMENTS_BAD;
    } else if (user == CKU_CONTEXT_SPECIFIC) {
        rv = CKR_OPERATION_NOT_INITIALIZED;
    } else if (user != CKU_USER) {
        rv = CKR_USER_TYPE_INVALID;
    } else {
        kms_lock_take(&scope.module->lock);
        if (scope.module->logged_in)
            rv = CKR_USER_ALREADY_LOGGED_IN;
        scope.module->logged_in = true;
        kms_lock_give(&scope.module->lock);
    }
    p11_session_leave(&scope);
    return rv;
}

CK_RV C_Logout(CK_SESSION_HANDLE handle)
{
    p11_session_scope scope;
    CK_RV rv = p11_session_enter(&scope, handle, false);

    if (rv != CKR_OK)
        return rv;
    kms_lock_take(&scope.module->lock);
    if (!scope.module->logged_in)
        rv = CKR_USER_NOT_LOGGED_IN;
    scope.module->logged_in = false;
    kms_lock_give(&scope.module->lock);
    p11_session_leave(&scope);
    return rv;
}
