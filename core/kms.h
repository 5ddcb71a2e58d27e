/* One function per KMS operation: values in, JSON over the wire, values out. Each checks that the
 * reply comes from the key that was asked (promise 10 of docs/design.md). Policy is not here:
 * core/client.c checks it before it calls. Keys are named by ARN; outputs must be empty and are
 * the caller's to release. Errors of all: those of kms_call, KMS_E_REPLY_*. */
#ifndef KMS_CORE_KMS_H
#define KMS_CORE_KMS_H

#include "core/algorithm.h"
#include "core/call.h"
#include "core/context.h"

/* Facts of a key, as DescribeKey gives them. Release with kms_key_metadata_clear. */
typedef struct kms_key_metadata {
    char *arn, *id, *spec, *usage, *state;
    bool multi_region;
    char **replica_arns; /* of all related keys, the primary among them; NULL-terminated or NULL */
    char request_id[64]; /* of the reply */
} kms_key_metadata;

void kms_key_metadata_clear(kms_key_metadata *metadata);

kms_status kms_encrypt(kms_caller *caller, const kms_endpoint *endpoint, const char *key_arn,
                       kms_bytes plaintext, const kms_context *context, kms_buffer *ciphertext,
                       kms_error *err);
kms_status kms_decrypt(kms_caller *caller, const kms_endpoint *endpoint, const char *key_arn,
                       kms_bytes ciphertext, const kms_context *context, kms_secret *plaintext,
                       kms_error *err);
kms_status kms_reencrypt(kms_caller *caller, const kms_endpoint *endpoint, const char *from_arn,
                         const kms_context *from_context, kms_bytes ciphertext, const char *to_arn,
                         const kms_context *to_context, kms_buffer *out, kms_error *err);
/* plaintext NULL: GenerateDataKeyWithoutPlaintext. */
kms_status kms_generate_data_key(kms_caller *caller, const kms_endpoint *endpoint,
                                 const char *key_arn, size_t size, const kms_context *context,
                                 kms_secret *plaintext, kms_buffer *ciphertext, kms_error *err);
kms_status kms_generate_random(kms_caller *caller, const kms_endpoint *endpoint, size_t size,
                               kms_secret *out, kms_error *err);
/* key: any of the four forms of a key identifier. */
kms_status kms_describe_key(kms_caller *caller, const kms_endpoint *endpoint, const char *key,
                            kms_key_metadata *out, kms_error *err);
/* Signs a digest of the algorithm's size, with Ed25519 a message, with ML-DSA its mu (KMS Sign).
 * ECDSA signatures are DER, RSA's have the size of the modulus, Ed25519's 64 bytes. */
kms_status kms_sign(kms_caller *caller, const kms_endpoint *endpoint, const char *key_arn,
                    const kms_algorithm *algorithm, kms_bytes input, kms_buffer *signature,
                    kms_error *err);
/* Decrypts RSA-OAEP (KMS Decrypt). */
kms_status kms_decrypt_oaep(kms_caller *caller, const kms_endpoint *endpoint, const char *key_arn,
                            const kms_algorithm *algorithm, kms_bytes ciphertext,
                            kms_secret *plaintext, kms_error *err);
/* ECDH with a peer's public key, a DER SubjectPublicKeyInfo on the same curve (KMS
 * DeriveSharedSecret): the x coordinate of size bytes. */
kms_status kms_derive_shared_secret(kms_caller *caller, const kms_endpoint *endpoint,
                                    const char *key_arn, kms_bytes peer, size_t size,
                                    kms_secret *secret, kms_error *err);
/* The secret that an ML-KEM ciphertext carries (KMS Decapsulate), of KMS_SHARED_SECRET bytes. A
 * ciphertext that is not right gives another secret, not an error, unless its size is wrong. */
kms_status kms_decapsulate(kms_caller *caller, const kms_endpoint *endpoint, const char *key_arn,
                           const kms_algorithm *algorithm, kms_bytes ciphertext, kms_secret *secret,
                           kms_error *err);
/* An HMAC of up to KMS_PLAINTEXT_MAX bytes (KMS GenerateMac), and whether one is right (KMS
 * VerifyMac): KMS_E_MAC_MISMATCH where it is not. */
kms_status kms_generate_mac(kms_caller *caller, const kms_endpoint *endpoint, const char *key_arn,
                            const kms_algorithm *algorithm, kms_bytes message, kms_secret *mac,
                            kms_error *err);
kms_status kms_verify_mac(kms_caller *caller, const kms_endpoint *endpoint, const char *key_arn,
                          const kms_algorithm *algorithm, kms_bytes message, kms_bytes mac,
                          kms_error *err);
/* DER SubjectPublicKeyInfo. */
kms_status kms_get_public_key(kms_caller *caller, const kms_endpoint *endpoint, const char *key_arn,
                              kms_buffer *spki, kms_error *err);

/* A key to be made, in KMS's words. */
typedef struct kms_new_key {
    const char *spec, *usage;
    const char *description; /* NULL: none */
    const char *policy;      /* JSON; NULL: the one that KMS gives every key */
    const char *const *tags; /* names and values in turns */
    size_t tag_count;
} kms_new_key;

/* Makes a key (KMS CreateKey). Not repeated unless KMS said that it made none: after another
 * failure there may be one. */
kms_status kms_create_key(kms_caller *caller, const kms_endpoint *endpoint,
                          const kms_new_key *wanted, kms_key_metadata *out, kms_error *err);
/* alias is "alias/NAME". Errors: KMS_E_ALIAS_EXISTS, KMS_E_KEY_ADDRESS. */
kms_status kms_create_alias(kms_caller *caller, const kms_endpoint *endpoint, const char *alias,
                            const char *key_arn, kms_error *err);
kms_status kms_enable_key_rotation(kms_caller *caller, const kms_endpoint *endpoint,
                                   const char *key_arn, kms_error *err);
/* After the shortest time that KMS has, 7 days, in which it can be taken back. */
kms_status kms_schedule_key_deletion(kms_caller *caller, const kms_endpoint *endpoint,
                                     const char *key_arn, kms_error *err);

/* Automatic rotation of a key's material. period_days is 0 where KMS names none. */
typedef struct kms_rotation_status {
    bool enabled;
    int period_days;
    double next_rotation; /* seconds since 1970, 0: none */
} kms_rotation_status;

kms_status kms_get_key_rotation_status(kms_caller *caller, const kms_endpoint *endpoint,
                                       const char *key_arn, kms_rotation_status *out,
                                       kms_error *err);

/* Listings follow all pages, as long as operation_timeout_ms is not over. visit returns something
 * else than KMS_OK to stop. */
typedef kms_status kms_visit_key(void *arg, const char *key_id, kms_error *err);
typedef kms_status kms_visit_alias(void *arg, const char *alias, const char *target_key_id,
                                   kms_error *err); /* target_key_id NULL: bound to no key yet */

kms_status kms_list_keys(kms_caller *caller, const kms_endpoint *endpoint, kms_visit_key *visit,
                         void *arg, kms_error *err);
kms_status kms_list_aliases(kms_caller *caller, const kms_endpoint *endpoint,
                            kms_visit_alias *visit, void *arg, kms_error *err);

#endif
