/* Objects: the KMS keys that the token shows, and data keys, which live in a session.
 * An object never changes after it was published; references are counted, so that one that is
 * destroyed lives on inside the calls that use it. */
#ifndef KMS_PKCS11_OBJECT_H
#define KMS_PKCS11_OBJECT_H

#include "core/client.h"
#include "pkcs11/module.h"

#include <stdatomic.h>

#define P11_LABEL_MAX 256
#define P11_ID_MAX    128

/* The boolean attributes of an object, one bit each. */
enum {
    P11_TOKEN = 1u << 0,
    P11_PRIVATE = 1u << 1,
    P11_SENSITIVE = 1u << 2,
    P11_ALWAYS_SENSITIVE = 1u << 3,
    P11_EXTRACTABLE = 1u << 4,
    P11_NEVER_EXTRACTABLE = 1u << 5,
    P11_ENCRYPT = 1u << 6,
    P11_DECRYPT = 1u << 7,
    P11_WRAP = 1u << 8,
    P11_UNWRAP = 1u << 9,
    P11_LOCAL = 1u << 10,
    P11_DESTROYABLE = 1u << 11,
    P11_KMS = 1u << 12,  /* no attribute: the key is in KMS, and `key` says which */
    P11_NONE = 1u << 31, /* attributes that are false for every object */

    P11_KMS_KEY = P11_KMS | P11_TOKEN | P11_SENSITIVE | P11_ALWAYS_SENSITIVE |
                  P11_NEVER_EXTRACTABLE | P11_ENCRYPT | P11_DECRYPT | P11_WRAP | P11_UNWRAP,
};

typedef struct p11_object {
    atomic_uint references;
    CK_SESSION_HANDLE session; /* that a data key lives in; 0 for KMS keys and token objects */
    bool hidden;               /* a KMS key that the last listing did not have; under the lock */
    kms_key *key;              /* NULL for a data key */
    CK_KEY_TYPE type;          /* CKK_AES; a data key may also be CKK_GENERIC_SECRET */
    kms_secret value;          /* empty for a KMS key */
    unsigned flags;
    CK_ULONG generated_by; /* CKA_KEY_GEN_MECHANISM */
    char label[P11_LABEL_MAX];
    size_t label_len;
    uint8_t id[P11_ID_MAX];
    size_t id_len;
} p11_object;

/* A new object with one reference, or NULL without memory. */
p11_object *p11_object_new(void);

/* Drops one reference; the last cleanses and frees. NULL is allowed. */
void p11_object_free(p11_object *object);

/* A new reference to the object with that handle, or NULL. */
p11_object *p11_object_get(p11_module *module, CK_OBJECT_HANDLE handle);

/* Publishes a data key in its session, or in the token where its flags say so; the table takes the
 * caller's reference over.
 * Errors: CKR_HOST_MEMORY, CKR_SESSION_HANDLE_INVALID when the session was closed meanwhile; then
 * the reference was dropped. */
CK_RV p11_object_publish(p11_module *module, CK_SESSION_HANDLE session, p11_object *object,
                         CK_OBJECT_HANDLE *handle);

/* Drops the objects of a session, or of every owner. The first wants the module's lock held. */
void p11_object_drop_session(p11_module *module, CK_SESSION_HANDLE session);
void p11_object_free_all(p11_module *module);

/* In a child after fork, where the parent's other threads are not: cleanses the keys themselves,
 * whoever had a reference. */
void p11_object_cleanse_all(p11_module *module);

/* Makes the KMS keys that the configuration names known as objects, from the core's caches where
 * they are fresh. May use the network. door as for p11_module_fail. */
CK_RV p11_token_load(p11_module *module, const char *door);

#endif
