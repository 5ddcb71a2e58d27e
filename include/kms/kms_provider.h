/* Names that a program uses with the OpenSSL provider "kms". */
#ifndef KMS_PROVIDER_H
#define KMS_PROVIDER_H

/* Type of a symmetric KMS key, and of its asym-cipher and KEM implementations. */
#define KMS_PROVIDER_KEY_TYPE "KMS"

/* Type of an HMAC key, and of its MAC (EVP_MAC) and signature (EVP_DigestSign and -Verify). */
#define KMS_PROVIDER_HMAC_TYPE "KMS-HMAC"

/* Type of an ML-KEM key, and of its KEM (OpenSSL 3.5). */
#define KMS_PROVIDER_ML_KEM_TYPE "KMS-ML-KEM"

/* Type of an opaque AES data key (EVP_SKEY, OpenSSL 3.5): imported from key-address, wrapped-key
 * and context, made from key-address, context and data-key-bytes (16, 24 or 32). */
#define KMS_PROVIDER_AES_TYPE "KMS-AES"

/* Random numbers of KMS, for EVP_RAND_fetch and the section [random] of openssl.cnf. */
#define KMS_PROVIDER_RAND "KMS-RAND"

/* Parameter of a key, UTF-8 string, to read: its ARN, by which it is used whatever its alias is. */
#define KMS_PROVIDER_PARAM_ARN "arn"

/* Operation parameter, UTF-8 string: one pair NAME=VALUE of the encryption context, or a JSON
 * object of strings where it begins with '{'. Each time it is set it adds to what is there. */
#define KMS_PROVIDER_PARAM_CONTEXT "context"

/* Parameter of the MAC KMS-HMAC, the ciphers KMS-AES-… and KMS-AES, UTF-8 string: the address of
 * the key in KMS ("kms:alias/NAME", with a query where it needs one). */
#define KMS_PROVIDER_PARAM_KEY_ADDRESS "key-address"

/* Parameter of the ciphers KMS-AES-… and of KMS-AES, octet string: the data key as KMS wrapped it.
 */
#define KMS_PROVIDER_PARAM_WRAPPED_KEY "wrapped-key"

/* Parameters of key generation, UTF-8 strings. alias is needed: NAME, alias/NAME or a key address
 * of an alias. tags takes KEY=VALUE, and each time it is set adds one. policy-file is the path of a
 * JSON key policy. usage is KMS's own name: SIGN_VERIFY, ENCRYPT_DECRYPT, KEY_AGREEMENT. */
#define KMS_PROVIDER_PARAM_ALIAS       "alias"
#define KMS_PROVIDER_PARAM_USAGE       "usage"
#define KMS_PROVIDER_PARAM_TAGS        "tags"
#define KMS_PROVIDER_PARAM_POLICY_FILE "policy-file"
#define KMS_PROVIDER_PARAM_DESCRIPTION "description"

/* KEM parameter, size_t, to set and read: bytes of the data key that EVP_PKEY_encapsulate makes, 1
 * to 1024; 32 where it is not set. */
#define KMS_PROVIDER_PARAM_DATA_KEY_BYTES "data-key-bytes"

/* Data structure of a key reference (PEM label "KMS KEY REFERENCE"), for OSSL_DECODER. */
#define KMS_PROVIDER_REFERENCE_STRUCTURE "KmsKeyReference"

#endif
