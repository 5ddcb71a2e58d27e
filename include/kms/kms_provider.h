/* Names that a program uses with the OpenSSL provider "kms". */
#ifndef KMS_PROVIDER_H
#define KMS_PROVIDER_H

/* Type of a symmetric KMS key, and of its asym-cipher and KEM implementations. */
#define KMS_PROVIDER_KEY_TYPE "KMS"

/* Parameter of a key, UTF-8 string, to read: its ARN, by which it is used whatever its alias is. */
#define KMS_PROVIDER_PARAM_ARN "arn"

/* Operation parameter, UTF-8 string: one pair NAME=VALUE of the encryption context, or a JSON
 * object of strings where it begins with '{'. Each time it is set it adds to what is there. */
#define KMS_PROVIDER_PARAM_CONTEXT "context"

/* KEM parameter, size_t, to set and read: bytes of the data key that EVP_PKEY_encapsulate makes, 1
 * to 1024; 32 where it is not set. */
#define KMS_PROVIDER_PARAM_DATA_KEY_BYTES "data-key-bytes"

#endif
