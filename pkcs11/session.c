/* Sessions. One function at a time in each; different sessions never wait for one another. */
#include "pkcs11/module.h"

#include <stdlib.h>
#include <string.h>

void operation_end(operation *op)
{
    EVP_CIPHER_CTX *cipher = op->cipher;

    object_put(op->key);
    kms_context_free(op->context);
    kms_secret_clear(&op->held);
    if (cipher != NULL)
        EVP_CIPHER_CTX_reset(cipher);
    *op = (operation){.cipher = cipher};
}

static void session_free(session *s)
{
    operation_end(&s->operation);
    EVP_CIPHER_CTX_free(s->operation.cipher);
    free(s->found);
    pthread_mutex_destroy(&s->busy);
    free(s);
}

static void session_release(session *s)
{
    struct module *m = module_root();
    bool last;

    kms_lock_take(&m->lock);
    last = --s->references == 0;
    kms_lock_give(&m->lock);
    if (last)
        session_free(s);
}

CK_RV session_enter(CK_SESSION_HANDLE handle, session **out)
{
    struct module *m = module_root();
    session *s;

    if (m == NULL)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    kms_lock_take(&m->lock);
    s = m->sessions[handle % HANDLE_BUCKETS];
    while (s != NULL && s->handle != handle)
        s = s->next;
    if (s != NULL)
        s->references++;
    kms_lock_give(&m->lock);
    if (s == NULL)
        return CKR_SESSION_HANDLE_INVALID;
    pthread_mutex_lock(&s->busy);
    if (s->closed) {
        session_leave(s);
        return CKR_SESSION_HANDLE_INVALID;
    }
    *out = s;
    return CKR_OK;
}

void session_leave(session *s)
{
    pthread_mutex_unlock(&s->busy);
    session_release(s);
}

/* Takes a session out of the list; the list's reference passes to the caller. */
static session *unlink_session(struct module *m, CK_SESSION_HANDLE handle)
{
    session **link, *s;

    kms_lock_take(&m->lock);
    link = &m->sessions[handle % HANDLE_BUCKETS];
    while (*link != NULL && (*link)->handle != handle)
        link = &(*link)->next;
    s = *link;
    if (s != NULL) {
        *link = s->next;
        m->session_count--;
        if (s->flags & CKF_RW_SESSION)
            m->rw_session_count--;
    }
    kms_lock_give(&m->lock);
    return s;
}

static CK_RV close_session(struct module *m, CK_SESSION_HANDLE handle)
{
    session *s = unlink_session(m, handle);

    if (s == NULL)
        return CKR_SESSION_HANDLE_INVALID;
    pthread_mutex_lock(&s->busy);
    s->closed = true;
    operation_end(&s->operation);
    pthread_mutex_unlock(&s->busy);
    object_remove_of_session(handle);
    session_release(s);
    return CKR_OK;
}

void session_close_all(void)
{
    struct module *m = module_root();

    for (size_t i = 0; i < HANDLE_BUCKETS; i++) {
        CK_SESSION_HANDLE handle;
        do {
            kms_lock_take(&m->lock);
            handle = m->sessions[i] != NULL ? m->sessions[i]->handle : 0;
            kms_lock_give(&m->lock);
        } while (handle != 0 && close_session(m, handle) == CKR_OK);
    }
}

CK_RV C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
                    CK_SESSION_HANDLE *out)
{
    struct module *m = module_root();
    session *s;

    (void)application;
    (void)notify;
    if (m == NULL)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (out == NULL)
        return CKR_ARGUMENTS_BAD;
    if (slot != SLOT_ID)
        return CKR_SLOT_ID_INVALID;
    if (!(flags & CKF_SERIAL_SESSION))
        return CKR_SESSION_PARALLEL_NOT_SUPPORTED;
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return CKR_HOST_MEMORY;
    pthread_mutex_init(&s->busy, NULL);
    s->flags = flags;
    s->references = 1;
    kms_lock_take(&m->lock);
    s->handle = *out = m->next_handle++;
    s->next = m->sessions[s->handle % HANDLE_BUCKETS];
    m->sessions[s->handle % HANDLE_BUCKETS] = s;
    m->session_count++;
    if (flags & CKF_RW_SESSION)
        m->rw_session_count++;
    kms_lock_give(&m->lock);
    return CKR_OK;
}

CK_RV C_CloseSession(CK_SESSION_HANDLE handle)
{
    struct module *m = module_root();

    return m != NULL ? close_session(m, handle) : CKR_CRYPTOKI_NOT_INITIALIZED;
}

CK_RV C_CloseAllSessions(CK_SLOT_ID slot)
{
    if (module_ready() != CKR_OK)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (slot != SLOT_ID)
        return CKR_SLOT_ID_INVALID;
    session_close_all();
    return CKR_OK;
}

CK_RV C_GetSessionInfo(CK_SESSION_HANDLE handle, CK_SESSION_INFO *info)
{
    session *s;
    CK_RV rv = session_enter(handle, &s);

    if (rv != CKR_OK)
        return rv;
    if (info == NULL)
        rv = CKR_ARGUMENTS_BAD;
    else
        *info = (CK_SESSION_INFO){
            .slotID = SLOT_ID,
            .state = s->flags & CKF_RW_SESSION ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION,
            .flags = s->flags,
        };
    session_leave(s);
    return rv;
}

/* The token needs no login (CKF_LOGIN_REQUIRED is not set): whoever may use the AWS credentials
 * may use the keys. Consumers that log in all the same are let through without a state of their
 * own. */
CK_RV C_Login(CK_SESSION_HANDLE handle, CK_USER_TYPE user, unsigned char *pin, CK_ULONG pin_len)
{
    session *s;
    CK_RV rv = session_enter(handle, &s);

    (void)pin;
    (void)pin_len;
    if (rv != CKR_OK)
        return rv;
    session_leave(s);
    return user == CKU_USER ? CKR_OK : CKR_USER_TYPE_INVALID;
}

CK_RV C_Logout(CK_SESSION_HANDLE handle)
{
    session *s;
    CK_RV rv = session_enter(handle, &s);

    if (rv == CKR_OK)
        session_leave(s);
    return rv;
}
