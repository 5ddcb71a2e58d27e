/* What KMS takes and gives at the most, in bytes (AWS KMS API reference). */
#ifndef KMS_CORE_LIMITS_H
#define KMS_CORE_LIMITS_H

#define KMS_PLAINTEXT_MAX  4096
#define KMS_CIPHERTEXT_MAX 6144
#define KMS_RANDOM_MAX     1024 /* also of a data key */
#define KMS_PUBLIC_KEY_MAX 8192 /* DER SubjectPublicKeyInfo */

#endif
