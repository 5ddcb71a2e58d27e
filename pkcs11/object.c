#include "pkcs11/object.h"

#include "pkcs11/attribute.h"
#include "pkcs11/session.h"

#include <stdlib.h>
#include <string.h>

p11_object *p11_object_new(void)
{
    p11_object *object = calloc(1, sizeof(*object));

    if (object != NULL) {
        atomic_init(&object->references, 1);
        object->type = CKK_AES;
        object->generated_by = CK_UNAVAILABLE_INFORMATION;
    }
    return object;
}

void p11_object_free(p11_object *object)
{
    if (object == NULL || atomic_fetch_sub(&object->references, 1) != 1)
        return;
    kms_secret_clear(&object->value);
    kms_key_free(object->key);
    free(object);
}

p11_object *p11_object_get(p11_module *module, CK_OBJECT_HANDLE handle)
{
    p11_object *object;

    kms_lock_take(&module->lock);
    object = p11_table_get(&module->objects, handle);
    if (object != NULL)
        atomic_fetch_add(&object->references, 1);
    kms_lock_give(&module->lock);
    return object;
}

CK_RV p11_object_publish(p11_module *module, CK_SESSION_HANDLE session, p11_object *object,
                         CK_OBJECT_HANDLE *handle)
{
    CK_RV rv = CKR_OK;

    object->session = (object->flags & P11_TOKEN) != 0 ? 0 : session;
    kms_lock_take(&module->lock);
    if (p11_table_get(&module->sessions, session) == NULL)
        rv = CKR_SESSION_HANDLE_INVALID;
    else if ((*handle = p11_table_add(&module->objects, object)) == 0)
        rv = CKR_HOST_MEMORY;
    kms_lock_give(&module->lock);
    if (rv != CKR_OK)
        p11_object_free(object);
    return rv;
}

static void drop(p11_module *module, CK_SESSION_HANDLE session, bool all)
{
    for (size_t i = 0; i < module->objects.count; i++) {
        CK_OBJECT_HANDLE handle = p11_table_at(&module->objects, i);
        p11_object *object = p11_table_get(&module->objects, handle);
        if (object != NULL && (all || object->session == session))
            p11_object_free(p11_table_remove(&module->objects, handle));
    }
}

void p11_object_drop_session(p11_module *module, CK_SESSION_HANDLE session)
{
    drop(module, session, false);
}

void p11_object_free_all(p11_module *module)
{
    drop(module, 0, true);
}

void p11_object_cleanse_all(p11_module *module)
{
    for (size_t i = 0; i < module->objects.count; i++) {
        p11_object *object = p11_table_get(&module->objects, p11_table_at(&module->objects, i));
        if (object != NULL)
            kms_secret_clear(&object->value);
    }
}

CK_RV C_DestroyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle)
{
    p11_session_scope scope;
    p11_object *object;
    CK_RV rv = p11_session_enter(&scope, session, false);

    if (rv != CKR_OK)
        return rv;
    kms_lock_take(&scope.module->lock);
    object = p11_table_get(&scope.module->objects, handle);
    if (object == NULL)
        rv = CKR_OBJECT_HANDLE_INVALID;
    else if ((object->flags & P11_DESTROYABLE) == 0)
        rv = CKR_ACTION_PROHIBITED;
    else if ((object->flags & P11_TOKEN) != 0 && (scope.session->flags & CKF_RW_SESSION) == 0)
        rv = CKR_SESSION_READ_ONLY;
    else
        p11_table_remove(&scope.module->objects, handle);
    kms_lock_give(&scope.module->lock);
    if (rv == CKR_OK)
        p11_object_free(object);
    p11_session_leave(&scope);
    return rv;
}

CK_RV C_GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle,
                          CK_ATTRIBUTE *template, CK_ULONG count)
{
    p11_session_scope scope;
    p11_object *object = NULL;
    CK_RV rv = p11_session_enter(&scope, session, false);

    if (rv != CKR_OK)
        return rv;
    if (template == NULL && count != 0)
        rv = CKR_ARGUMENTS_BAD;
    if (rv == CKR_OK && (object = p11_object_get(scope.module, handle)) == NULL)
        rv = CKR_OBJECT_HANDLE_INVALID;
    if (rv == CKR_OK)
        rv = p11_attribute_read(object, template, count);
    p11_object_free(object);
    p11_session_leave(&scope);
    return rv;
}
