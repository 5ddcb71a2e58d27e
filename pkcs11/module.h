/* The module root: what C_Initialize makes and C_Finalize takes down. Everything else hangs on it;
 * there is no other state.
 *
 * Locks: `lock` guards the tables, the counts of references of sessions, and the listing; it is
 * held for a few instructions, never across a call of the core that may use the network.
 *
 * OpenSSL's error queue of the calling thread is the application's: every function that reaches
 * libcrypto leaves it as it was. */
#ifndef KMS_PKCS11_MODULE_H
#define KMS_PKCS11_MODULE_H

#include "core/client.h"
#include "core/lock.h"
#include "pkcs11/table.h"

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#define P11_SLOT_ID 1UL

typedef struct p11_module {
    kms_client *client;
    pid_t owner; /* the process that initialised: a child has to do so itself */
    kms_lock lock;
    p11_table sessions, objects;
    size_t writable_sessions;
    size_t inside; /* calls that hold a session */
    bool logged_in;
    bool listed;        /* the KMS keys were listed, and are good until */
    time_t listed_till; /* this second of CLOCK_MONOTONIC */
    struct p11_module *next_abandoned;
} p11_module;

/* The initialised module, or NULL: then the caller returns CKR_CRYPTOKI_NOT_INITIALIZED. NULL also
 * in a child that has not initialised, and once OpenSSL has been cleaned up at exit. */
p11_module *p11_module_get(void);

/* Writes the error line of a failed call of the core and returns its CKR. Where the error says that
 * a key is gone, the next search lists the keys anew. The module's lock must not be held.
 * door  the PKCS#11 function, e.g. "C_UnwrapKey" */
CK_RV p11_module_fail(p11_module *module, const char *door, const kms_error *err);

#endif
