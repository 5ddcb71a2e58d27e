/* Attributes: one table for reading, matching and templates. */
#ifndef KMS_PKCS11_ATTRIBUTE_H
#define KMS_PKCS11_ATTRIBUTE_H

#include "pkcs11/object.h"
#include "pkcs11/session.h"

/* PKCS#11 3.0; headers of 2.40 lack it, callers of today ask for it. */
#ifndef CKA_UNIQUE_ID
#define CKA_UNIQUE_ID 0x4UL
#endif

/* Reads as C_GetAttributeValue does: every attribute is tried, whatever happens to the others.
 * Errors: CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_SENSITIVE, CKR_BUFFER_TOO_SMALL. */
CK_RV p11_attribute_read(const p11_object *object, CK_ATTRIBUTE *template, CK_ULONG count);

/* True when the object has every attribute of the template with that value. */
bool p11_attribute_match(const p11_object *object, const CK_ATTRIBUTE *template, CK_ULONG count);

/* True when some key in KMS may have every attribute of the template with that value: what they all
 * have in common does not contradict it. */
bool p11_attribute_may_match_kms_key(const CK_ATTRIBUTE *template, CK_ULONG count);

/* Fills a data key from the template of C_GenerateKey or C_UnwrapKey and checks it: against the
 * settings allow_extractable and token_objects, which get a log line under that door, and against
 * the session, which has to be writable for a token object.
 * *value_len   CKA_VALUE_LEN, or 0 where it is not given
 * Errors: CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID,
 * CKR_ATTRIBUTE_READ_ONLY, CKR_SESSION_READ_ONLY, CKR_ARGUMENTS_BAD. */
CK_RV p11_attribute_apply(p11_object *object, const p11_session_scope *scope, const char *door,
                          const CK_ATTRIBUTE *template, CK_ULONG count, CK_ULONG *value_len);

#endif
