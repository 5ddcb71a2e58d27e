/* The public half of a key, as KMS and key references give it. */
#ifndef KMS_CORE_PUBLIC_KEY_H
#define KMS_CORE_PUBLIC_KEY_H

#include "core/algorithm.h"
#include "core/bytes.h"
#include "core/error.h"

#include <openssl/types.h>

/* Reads a DER SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) into the library context: one whole key of a
 * kind that KMS has. *out is released with EVP_PKEY_free, before the context.
 * expected  what it has to be, or NULL: any; *spec (may be NULL) is what it is. NIST P-256 and
 *           secp256k1 differ by their group alone.
 * Errors: KMS_E_PUBLIC_KEY, which says what is wrong. */
kms_status kms_public_key_read(OSSL_LIB_CTX *libctx, kms_bytes spki,
                               const kms_key_spec_row *expected, EVP_PKEY **out,
                               const kms_key_spec_row **spec, kms_error *err);

/* Whether a signature over a digest (Ed25519: a message, ML-DSA: its mu) is right. key is in the
 * library context and may be used by several threads. */
bool kms_public_key_verifies(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const kms_algorithm *algorithm,
                             kms_bytes input, kms_bytes signature);

#endif
