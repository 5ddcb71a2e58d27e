/* Searches. */
#include "pkcs11/attribute.h"
#include "pkcs11/object.h"
#include "pkcs11/session.h"

#include <stdlib.h>

/* The handles that match, KMS keys first. Under the lock; found has room for every object. */
static size_t collect(const p11_module *module, bool kms, const CK_ATTRIBUTE *template,
                      CK_ULONG count, CK_OBJECT_HANDLE *found)
{
    size_t n = 0;

    for (size_t i = 0; i < module->objects.count; i++) {
        CK_OBJECT_HANDLE handle = p11_table_at(&module->objects, i);
        const p11_object *object = p11_table_get(&module->objects, handle);
        if (object != NULL && !object->hidden && (object->key != NULL) == kms &&
            p11_attribute_match(object, template, count))
            found[n++] = handle;
    }
    return n;
}

static CK_RV search(p11_module *module, p11_session *session, const CK_ATTRIBUTE *template,
                    CK_ULONG count)
{
    size_t n;

    kms_lock_take(&module->lock);
    session->found = calloc(module->objects.used + 1, sizeof(*session->found));
    if (session->found != NULL) {
        n = collect(module, true, template, count, session->found);
        n += collect(module, false, template, count, session->found + n);
        session->found_count = n;
        session->found_next = 0;
    }
    kms_lock_give(&module->lock);
    return session->found != NULL ? CKR_OK : CKR_HOST_MEMORY;
}

CK_RV C_FindObjectsInit(CK_SESSION_HANDLE handle, CK_ATTRIBUTE *template, CK_ULONG count)
{
    p11_session_scope scope;
    CK_RV rv = p11_session_enter(&scope, handle, true);

    if (rv != CKR_OK)
        return rv;
    if (template == NULL && count != 0)
        rv = CKR_ARGUMENTS_BAD;
    else if (scope.session->found != NULL)
        rv = CKR_OPERATION_ACTIVE;
    /* A search for certificates, or for data keys, needs no network. */
    if (rv == CKR_OK && p11_attribute_may_match_kms_key(template, count))
        rv = p11_token_load(scope.module, "C_FindObjectsInit");
    if (rv == CKR_OK)
        rv = search(scope.module, scope.session, template, count);
    p11_session_leave(&scope);
    return rv;
}

CK_RV C_FindObjects(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE *objects, CK_ULONG room,
                    CK_ULONG *count)
{
    p11_session_scope scope;
    CK_RV rv = p11_session_enter(&scope, handle, true);

    if (rv != CKR_OK)
        return rv;
    if (count == NULL || (objects == NULL && room != 0)) {
        rv = CKR_ARGUMENTS_BAD;
    } else if (scope.session->found == NULL) {
        rv = CKR_OPERATION_NOT_INITIALIZED;
    } else {
        p11_session *session = scope.session;
        for (*count = 0; *count < room && session->found_next < session->found_count; ++*count)
            objects[*count] = session->found[session->found_next++];
    }
    p11_session_leave(&scope);
    return rv;
}

CK_RV C_FindObjectsFinal(CK_SESSION_HANDLE handle)
{
    p11_session_scope scope;
    CK_RV rv = p11_session_enter(&scope, handle, true);

    if (rv != CKR_OK)
        return rv;
    if (scope.session->found == NULL)
        rv = CKR_OPERATION_NOT_INITIALIZED;
    free(scope.session->found);
    scope.session->found = NULL;
    p11_session_leave(&scope);
    return rv;
}
