/* Mechanisms: one table of what the token can do, with which keys. */
#ifndef KMS_PKCS11_MECHANISM_H
#define KMS_PKCS11_MECHANISM_H

#include "pkcs11/object.h"

#include "kms/kms_pkcs11.h"

typedef struct p11_cipher p11_cipher; /* pkcs11/operation.h */

typedef enum p11_keys { P11_NO_KEY, P11_KMS_KEYS, P11_DATA_KEYS } p11_keys;

typedef struct p11_mechanism {
    CK_MECHANISM_TYPE type;
    CK_FLAGS flags;             /* CKF_ENCRYPT, CKF_WRAP and so on: the functions it works in */
    p11_keys keys;              /* the keys it works with */
    bool mapped;                /* there only with map_standard_wrap */
    CK_ULONG smallest, largest; /* bytes of key */
    const p11_cipher *encrypt, *decrypt;
} p11_mechanism;

/* The mechanism for a function, or NULL: CKR_MECHANISM_INVALID.
 * function  one of the CKF_ flags */
const p11_mechanism *p11_mechanism_find(const p11_module *module, CK_MECHANISM_TYPE type,
                                        CK_FLAGS function);

/* Parses the parameter of a vendor mechanism. *context is NULL where there is none: the configured
 * default. Errors: CKR_MECHANISM_PARAM_INVALID and the like, logged under that door. */
CK_RV p11_mechanism_context(p11_module *module, const char *door, const CK_MECHANISM *mechanism,
                            kms_context **context);

#endif
