/* What kinds of keys KMS has and what each can do: one table of key specs, one of algorithms.
 * Names are KMS's own. Symmetric keys need no row here: they have one algorithm. */
#ifndef KMS_CORE_ALGORITHM_H
#define KMS_CORE_ALGORITHM_H

#include <openssl/opensslv.h>
#include <stdbool.h>
#include <stddef.h>

/* Whether the OpenSSL that this is built with has ML-DSA, ML-KEM and opaque symmetric keys. */
#define KMS_OPENSSL_3_5 (OPENSSL_VERSION_PREREQ(3, 5))

/* A key spec with a public half, or of an HMAC key. */
typedef struct kms_key_spec_row {
    const char *name;  /* "ECC_NIST_P256" */
    const char *type;  /* OpenSSL's name of the key type: "RSA", "ED25519", "ML-DSA-65"; "HMAC" */
    const char *group; /* of EC keys, OpenSSL's name: "prime256v1"; else NULL */
    int bits;          /* of the modulus, the curve or the HMAC key; of ML-DSA the public key, of
                          ML-KEM the number in its name */
} kms_key_spec_row;

/* The row of a spec, or NULL: a spec that this version does not know, or a symmetric key's. */
const kms_key_spec_row *kms_key_spec_find(const char *name);

/* The n-th row, or NULL behind the last. */
const kms_key_spec_row *kms_key_spec_at(size_t n);

typedef enum kms_scheme {
    KMS_SCHEME_PKCS1, /* RSASSA-PKCS1-v1_5 (RFC 8017, 8.2) */
    KMS_SCHEME_PSS,   /* RSASSA-PSS with MGF1 of the same hash and salt of its length (8.1) */
    KMS_SCHEME_ECDSA, /* DER of r and s */
    KMS_SCHEME_EDDSA, /* pure Ed25519 (RFC 8032): the message, not its digest */
    KMS_SCHEME_OAEP,  /* RSAES-OAEP with MGF1 of the same hash and no label (RFC 8017, 7.1) */
    KMS_SCHEME_ECDH,
    KMS_SCHEME_HMAC,
    KMS_SCHEME_ML_DSA, /* pure ML-DSA (FIPS 204), by the mu of the message (6.2) */
    KMS_SCHEME_ML_KEM, /* FIPS 203 */
} kms_scheme;

typedef struct kms_algorithm {
    const char *name; /* "RSASSA_PSS_SHA_256" */
    kms_scheme scheme;
    const char *digest; /* OpenSSL's name: "SHA2-256"; NULL where the scheme has none to choose */
    size_t digest_len;  /* bytes; 0 without digest; of ML-DSA the size of mu */
    int bits;           /* of the only key that it fits, by kms_key_spec_row.bits; 0: any */
} kms_algorithm;

/* The algorithm of a scheme and a digest for a key, or NULL: KMS has no such combination.
 * digest  any name that OpenSSL has for it ("SHA256", "SHA2-256"), or NULL for a scheme without */
const kms_algorithm *kms_algorithm_find(const kms_key_spec_row *spec, kms_scheme scheme,
                                        const char *digest);

/* The n-th algorithm of a scheme for a key, or NULL behind the last: what KMS could do. */
const kms_algorithm *kms_algorithm_at(const kms_key_spec_row *spec, kms_scheme scheme, size_t n);

#endif
