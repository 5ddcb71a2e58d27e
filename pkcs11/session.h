/* Sessions. A call holds its session by a scope; closing a session while another thread is inside
 * takes effect at once for new calls, and frees it when the last scope ends. */
#ifndef KMS_PKCS11_SESSION_H
#define KMS_PKCS11_SESSION_H

#include "pkcs11/operation.h"

typedef struct p11_session {
    unsigned references; /* under the module's lock */
    bool busy;           /* under the module's lock: a call uses what follows */
    CK_SESSION_HANDLE handle;
    CK_FLAGS flags;
    p11_operation encrypt, decrypt;
    CK_OBJECT_HANDLE *found; /* NULL: no search is active */
    size_t found_count, found_next;
} p11_session;

typedef struct p11_session_scope {
    p11_module *module;
    p11_session *session;
    bool exclusive;
} p11_session_scope;

/* Takes the module and a session for one call, and marks OpenSSL's error queue, which leaving puts
 * back to how it was.
 * exclusive  for calls that use the session's operations: of two at once on one session, which the
 *            standard leaves to the caller to avoid, the second is refused. Other calls may share
 *            a session, and no call waits.
 * Errors: CKR_CRYPTOKI_NOT_INITIALIZED, CKR_SESSION_HANDLE_INVALID, CKR_OPERATION_ACTIVE. Without
 * an error p11_session_leave has to follow. */
CK_RV p11_session_enter(p11_session_scope *scope, CK_SESSION_HANDLE handle, bool exclusive);
void p11_session_leave(p11_session_scope *scope);

/* Closes every session with its objects. */
void p11_session_close_all(p11_module *module);

#endif
