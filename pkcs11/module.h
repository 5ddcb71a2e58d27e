/* The module's root and what its functions share. PKCS#11 v2.40. */
#ifndef KMS_PKCS11_MODULE_H
#define KMS_PKCS11_MODULE_H

#include "core/client.h"
#include "core/lock.h"

#include <openssl/evp.h>
#include <p11-kit/pkcs11.h>
#include <stdbool.h>

#define SLOT_ID 0UL

/* --- objects (object.c) --- */

/* Never changes after it was added, except for its reference count. */
typedef struct object {
    struct object *next;
    CK_OBJECT_HANDLE handle;
    int references;            /* guarded by the module's lock */
    CK_SESSION_HANDLE session; /* of a session object; 0: token object */
    kms_key *kms;              /* a key in KMS; NULL: a data key */
    kms_secret value;          /* of a data key */
    char *label;
    uint8_t id[64];
    size_t id_len;
    bool sensitive, extractable, local, encrypt, decrypt, wrap, unwrap;
    bool always_sensitive, never_extractable;
} object;

object *object_new(void);
void object_free(object *o);
/* Adds to the module; the caller's reference stays with it. */
void object_add(object *o, CK_SESSION_HANDLE session);
/* A reference, or NULL; give back with object_put. */
object *object_get(CK_OBJECT_HANDLE handle);
void object_put(object *o);
void object_remove_of_session(CK_SESSION_HANDLE session); /* 0: every object */

/* --- attributes (attribute.c) --- */

/* C_GetAttributeValue for one attribute. */
CK_RV attribute_get(const object *o, CK_ATTRIBUTE *attribute);
bool attribute_matches(const object *o, const CK_ATTRIBUTE *wanted);
/* Fills a new data key from a template; *value_len receives CKA_VALUE_LEN, 0 where absent. */
CK_RV attribute_apply(object *o, const CK_ATTRIBUTE *template, CK_ULONG count, CK_ULONG *value_len);

/* --- mechanisms (mechanism.c) --- */

typedef enum run_by { BY_KMS, LOCALLY } run_by;

typedef struct mechanism_row {
    CK_MECHANISM_TYPE type;
    CK_FLAGS flags;
    run_by by;
    CK_ULONG min, max;  /* key sizes in bytes */
    const char *cipher; /* EVP name without the key size, "AES-%zu-GCM" */
    bool mapped;        /* only with map_standard_wrap */
} mechanism_row;

/* The row, or NULL where the mechanism does not exist (or is not switched on). */
const mechanism_row *mechanism_find(CK_MECHANISM_TYPE type);

/* Reads a mechanism parameter that is an encryption context. *out NULL: none was given. */
CK_RV mechanism_context(const CK_MECHANISM *mechanism, const char *function, kms_context **out);

/* --- sessions (session.c) --- */

typedef enum operation_kind { OPERATION_NONE, OPERATION_ENCRYPT, OPERATION_DECRYPT } operation_kind;

/* An encryption or decryption under way. */
typedef struct operation {
    operation_kind kind;
    const mechanism_row *mechanism;
    object *key;            /* a reference */
    kms_context *context;   /* of CKM_KMS_ENCRYPT */
    EVP_CIPHER_CTX *cipher; /* one a session, reused */
    size_t tag_len;         /* GCM */
    CK_ULONG total, given;  /* bytes in and out so far */
    kms_secret held;        /* input that waits for the end; once done, the result */
    bool done;              /* the result is made, but was not taken yet */
} operation;

typedef struct session {
    struct session *next;
    CK_SESSION_HANDLE handle;
    CK_FLAGS flags;
    int references; /* guarded by the module's lock */
    bool closed;
    pthread_mutex_t busy; /* one function at a time in a session; others never wait for it */
    operation operation;
    bool searching;
    CK_OBJECT_HANDLE *found;
    CK_ULONG found_count, found_next;
} session;

/* Takes the session for one function call: checks the module and the handle, and makes other
 * calls on this session wait. CKR_OK: give back with session_leave. */
CK_RV session_enter(CK_SESSION_HANDLE handle, session **out);
void session_leave(session *s);
void session_close_all(void);
void operation_end(operation *op);

/* --- the root (module.c) --- */

#define HANDLE_BUCKETS 1024

struct module {
    kms_lock lock; /* guards all lists and counters */
    kms_client *client;
    session *sessions[HANDLE_BUCKETS];
    object *objects[HANDLE_BUCKETS];
    CK_ULONG next_handle;
    CK_ULONG session_count, rw_session_count;
};

/* The root, or NULL while the module is not initialised in this process. */
struct module *module_root(void);
/* CKR_OK or CKR_CRYPTOKI_NOT_INITIALIZED. */
CK_RV module_ready(void);

/* Logs an error of the core and returns its CKR. */
CK_RV module_fail(const char *function, const kms_error *err);

/* Loads what the token shows: the configured key, or all symmetric ones. */
CK_RV module_load_token_objects(const char *function);

/* Fills a fixed-size field with text and blanks. */
void module_pad(unsigned char *field, size_t size, const char *text);

#endif
