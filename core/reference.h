/* Key references: small public files that name a key in KMS and stand where programs want a private
 * key file. DER inside:
 *
 *   KeyReference ::= SEQUENCE {
 *       version    INTEGER (1),
 *       arn        UTF8String,
 *       publicKey  [0] OCTET STRING OPTIONAL,   -- DER SubjectPublicKeyInfo, of asymmetric keys
 *       context    [1] SEQUENCE OF SEQUENCE { name UTF8String, value UTF8String } OPTIONAL,
 *       spec       [2] UTF8String OPTIONAL }    -- of HMAC keys, which else look symmetric
 *
 * They hold no secret. The public half makes loading one need no network. */
#ifndef KMS_CORE_REFERENCE_H
#define KMS_CORE_REFERENCE_H

#include "core/bytes.h"
#include "core/context.h"

#define KMS_REFERENCE_PEM_LABEL "KMS KEY REFERENCE"
#define KMS_REFERENCE_MAX       ((size_t)32 * 1024) /* bytes of DER: ARN, public key and context */

/* {0} is empty; release with kms_reference_clear. */
typedef struct kms_reference {
    char *arn;            /* of a key, never of an alias */
    kms_buffer spki;      /* empty: none */
    kms_context *context; /* NULL: none */
    char *spec;           /* key spec of an HMAC key, "HMAC_256"; NULL: the public half tells */
} kms_reference;

/* Errors: KMS_E_KEY_REFERENCE, which says what is wrong; KMS_E_CONTEXT_*; then *out is empty. */
kms_status kms_reference_read(kms_bytes der, kms_reference *out, kms_error *err);
kms_status kms_reference_write(const kms_reference *reference, kms_buffer *der, kms_error *err);
void kms_reference_clear(kms_reference *reference);

#endif
