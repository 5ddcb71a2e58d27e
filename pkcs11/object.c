/* Objects and the search for them. Handles are never used twice. */
#include "pkcs11/module.h"

#include <stdlib.h>
#include <string.h>

object *object_new(void)
{
    object *o = calloc(1, sizeof(*o));

    if (o != NULL)
        o->references = 1;
    return o;
}

void object_free(object *o)
{
    if (o == NULL)
        return;
    kms_key_free(o->kms);
    kms_secret_clear(&o->value);
    free(o->label);
    free(o);
}

void object_add(object *o, CK_SESSION_HANDLE owner)
{
    struct module *m = module_root();

    kms_lock_take(&m->lock);
    o->session = owner;
    o->handle = m->next_handle++;
    o->references++;
    o->next = m->objects[o->handle % HANDLE_BUCKETS];
    m->objects[o->handle % HANDLE_BUCKETS] = o;
    kms_lock_give(&m->lock);
}

object *object_get(CK_OBJECT_HANDLE handle)
{
    struct module *m = module_root();
    object *o;

    kms_lock_take(&m->lock);
    o = m->objects[handle % HANDLE_BUCKETS];
    while (o != NULL && o->handle != handle)
        o = o->next;
    if (o != NULL)
        o->references++;
    kms_lock_give(&m->lock);
    return o;
}

void object_put(object *o)
{
    struct module *m = module_root();
    bool last;

    if (o == NULL)
        return;
    kms_lock_take(&m->lock);
    last = --o->references == 0;
    kms_lock_give(&m->lock);
    if (last)
        object_free(o);
}

/* Unlinks what `wanted` says and drops the list's references. */
static void remove_if(bool (*wanted)(const object *o, CK_ULONG arg), CK_ULONG arg)
{
    struct module *m = module_root();
    object *removed = NULL;

    kms_lock_take(&m->lock);
    for (size_t i = 0; i < HANDLE_BUCKETS; i++) {
        object **link = &m->objects[i];
        while (*link != NULL) {
            object *o = *link;
            if (!wanted(o, arg)) {
                link = &o->next;
                continue;
            }
            *link = o->next;
            o->next = removed;
            removed = o;
        }
    }
    kms_lock_give(&m->lock);
    while (removed != NULL) {
        object *o = removed;
        removed = o->next;
        object_put(o);
    }
}

static bool belongs_to(const object *o, CK_ULONG owner)
{
    return owner == 0 || o->session == owner;
}

static bool has_handle(const object *o, CK_ULONG handle)
{
    return o->handle == handle;
}

void object_remove_of_session(CK_SESSION_HANDLE owner)
{
    remove_if(belongs_to, owner);
}

/* --- PKCS#11 --- */

CK_RV C_DestroyObject(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object_handle)
{
    session *s;
    CK_RV rv = session_enter(handle, &s);
    object *o;

    if (rv != CKR_OK)
        return rv;
    o = object_get(object_handle);
    if (o == NULL)
        rv = CKR_OBJECT_HANDLE_INVALID;
    else if (o->kms != NULL)
        rv = CKR_ACTION_PROHIBITED; /* deleting a key in KMS is no side effect of a session */
    else
        remove_if(has_handle, object_handle);
    object_put(o);
    session_leave(s);
    return rv;
}

CK_RV C_GetAttributeValue(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object_handle,
                          CK_ATTRIBUTE *template, CK_ULONG count)
{
    session *s;
    CK_RV rv = session_enter(handle, &s);
    object *o = NULL;

    if (rv != CKR_OK)
        return rv;
    if (template == NULL && count > 0)
        rv = CKR_ARGUMENTS_BAD;
    else if ((o = object_get(object_handle)) == NULL)
        rv = CKR_OBJECT_HANDLE_INVALID;
    /* An attribute that can't be had doesn't stop the others (v2.40, C_GetAttributeValue). */
    for (CK_ULONG i = 0; o != NULL && i < count; i++) {
        CK_RV one = attribute_get(o, &template[i]);
        if (one != CKR_OK)
            rv = one;
    }
    object_put(o);
    session_leave(s);
    return rv;
}

static bool matches(const object *o, const CK_ATTRIBUTE *template, CK_ULONG count)
{
    for (CK_ULONG i = 0; i < count; i++)
        if (!attribute_matches(o, &template[i]))
            return false;
    return true;
}

static CK_RV keep_handle(session *s, CK_ULONG *room, CK_OBJECT_HANDLE handle)
{
    if (s->found_count == *room) {
        CK_OBJECT_HANDLE *grown = realloc(s->found, (*room + 64) * sizeof(*grown));
        if (grown == NULL)
            return CKR_HOST_MEMORY;
        s->found = grown;
        *room += 64;
    }
    s->found[s->found_count++] = handle;
    return CKR_OK;
}

static int ascending(const void *a, const void *b)
{
    CK_OBJECT_HANDLE x = *(const CK_OBJECT_HANDLE *)a, y = *(const CK_OBJECT_HANDLE *)b;

    return (x > y) - (x < y);
}

/* Handles of all that match, in the order of their making. */
static CK_RV search(session *s, const CK_ATTRIBUTE *template, CK_ULONG count)
{
    struct module *m = module_root();
    CK_ULONG room = 0;
    CK_RV rv = CKR_OK;

    s->found_count = s->found_next = 0;
    kms_lock_take(&m->lock);
    for (size_t i = 0; rv == CKR_OK && i < HANDLE_BUCKETS; i++)
        for (const object *o = m->objects[i]; rv == CKR_OK && o != NULL; o = o->next)
            if (matches(o, template, count))
                rv = keep_handle(s, &room, o->handle);
    kms_lock_give(&m->lock);
    if (s->found_count > 0)
        qsort(s->found, s->found_count, sizeof(*s->found), ascending);
    return rv;
}

CK_RV C_FindObjectsInit(CK_SESSION_HANDLE handle, CK_ATTRIBUTE *template, CK_ULONG count)
{
    session *s;
    CK_RV rv = session_enter(handle, &s);

    if (rv != CKR_OK)
        return rv;
    if (template == NULL && count > 0)
        rv = CKR_ARGUMENTS_BAD;
    else if (s->searching)
        rv = CKR_OPERATION_ACTIVE;
    if (rv == CKR_OK)
        rv = module_load_token_objects("C_FindObjectsInit");
    if (rv == CKR_OK)
        rv = search(s, template, count);
    if (rv == CKR_OK)
        s->searching = true;
    session_leave(s);
    return rv;
}

CK_RV C_FindObjects(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE *objects, CK_ULONG max,
                    CK_ULONG *count)
{
    session *s;
    CK_RV rv = session_enter(handle, &s);

    if (rv != CKR_OK)
        return rv;
    if (!s->searching)
        rv = CKR_OPERATION_NOT_INITIALIZED;
    else if (count == NULL || (objects == NULL && max > 0))
        rv = CKR_ARGUMENTS_BAD;
    if (rv == CKR_OK)
        for (*count = 0; *count < max && s->found_next < s->found_count; (*count)++)
            objects[*count] = s->found[s->found_next++];
    session_leave(s);
    return rv;
}

CK_RV C_FindObjectsFinal(CK_SESSION_HANDLE handle)
{
    session *s;
    CK_RV rv = session_enter(handle, &s);

    if (rv != CKR_OK)
        return rv;
    if (!s->searching)
        rv = CKR_OPERATION_NOT_INITIALIZED;
    s->searching = false;
    free(s->found);
    s->found = NULL;
    s->found_count = 0;
    session_leave(s);
    return rv;
}
