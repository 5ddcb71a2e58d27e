/* What KMS takes and gives at the most, in bytes (AWS KMS API reference). */
#ifndef KMS_CORE_LIMITS_H
#define KMS_CORE_LIMITS_H

#define KMS_PLAINTEXT_MAX  4096
#define KMS_CIPHERTEXT_MAX 6144
#define KMS_MESSAGE_MAX    4096 /* to sign as it is, or to authenticate */
#define KMS_SIGNATURE_MAX  6144
#define KMS_RANDOM_MAX     1024 /* also of a data key */
#define KMS_SHARED_SECRET  32   /* of ML-KEM, always */
#define KMS_PUBLIC_KEY_MAX 8192 /* DER SubjectPublicKeyInfo */

#endif
