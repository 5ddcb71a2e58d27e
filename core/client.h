/* The client: what provider, PKCS#11 module and commands call. It puts configuration, residency,
 * credentials, transport and caches together and enforces the policy on every operation, so that
 * no door can forget it.
 *
 * Opening makes no connection; the first operation that needs KMS does. Every function may be
 * called from any thread; no lock is held across the network. After fork() the child's first
 * operation starts with connections of its own. Functions that return a kms_status fill err where
 * it is not NULL. */
#ifndef KMS_CORE_CLIENT_H
#define KMS_CORE_CLIENT_H

#include "core/address.h"
#include "core/bytes.h"
#include "core/config.h"
#include "core/context.h"
#include "core/error.h"
#include "core/limits.h"
#include "core/secret.h"

#include <openssl/types.h>

typedef struct kms_client kms_client;
typedef struct kms_key kms_key; /* a key as KMS described it: immutable, counted references */

/* Loads the configuration and checks region and endpoint. No network. given may be NULL.
 * Errors: KMS_E_CONFIG_*, KMS_E_REGION_NOT_ALLOWED, KMS_E_ENDPOINT_*. A missing region or missing
 * credentials are errors of the first operation, not of opening. */
kms_status kms_client_open(const kms_config_given *given, kms_client **out, kms_error *err);

/* Closes the connections and cleanses all caches. No other thread may be inside the client. Keys
 * may outlive it. */
void kms_client_close(kms_client *client);

/* For process exit, when libssl may be gone: cleanses the credentials, and leaves the memory where
 * it is and the sockets to the kernel. The client can't be used afterwards. */
void kms_client_abandon(kms_client *client);

const kms_config *kms_client_config(const kms_client *client);

/* The private OpenSSL library context (default provider only, no configuration file), for local
 * cryptography. Made on first use. NULL without memory. */
OSSL_LIB_CTX *kms_client_libctx(kms_client *client);

/* Errors: KMS_E_DISABLED when the feature flag is off. Every operation below checks it too. */
kms_status kms_client_check_enabled(const kms_client *client, kms_error *err);

/* Loads a key: one DescribeKey, or none where the cache has it (key_cache_seconds). The alias is
 * resolved to its ARN, which every later operation uses. *out is a new reference.
 * Errors: KMS_E_REGION_*, KMS_E_REPLICA_NOT_ALLOWED, KMS_E_NOT_FOUND, and all of the network. */
kms_status kms_client_key(kms_client *client, const kms_address *address, kms_key **out,
                          kms_error *err);

kms_key *kms_key_ref(kms_key *key);
void kms_key_free(kms_key *key); /* drops one reference; NULL is allowed */

/* Facts of a key; strings live as long as the key. */
const char *kms_key_arn(const kms_key *key);
const char *kms_key_id(const kms_key *key);    /* bare key id */
const char *kms_key_alias(const kms_key *key); /* "alias/NAME" it was loaded by, or NULL */
const char *kms_key_region(const kms_key *key);
const char *kms_key_spec(const kms_key *key);  /* "SYMMETRIC_DEFAULT" */
const char *kms_key_usage(const kms_key *key); /* "ENCRYPT_DECRYPT" */
const char *kms_key_state(const kms_key *key); /* "Enabled", as of loading */
bool kms_key_is_symmetric(const kms_key *key); /* SYMMETRIC_DEFAULT for ENCRYPT_DECRYPT */

/* Lists key addresses that the credentials can see: each alias with a target, and each key without
 * an alias. addresses is an owned array of count owned strings ("alias/NAME" or key id); release
 * with kms_client_list_free. */
kms_status kms_client_list(kms_client *client, const kms_address *where, char ***addresses,
                           size_t *count, kms_error *err);
void kms_client_list_free(char **addresses, size_t count);

/* Wraps 1 to KMS_PLAINTEXT_MAX bytes under a symmetric key (KMS Encrypt). context is what the
 * caller gave; the configured defaults apply where it is NULL or empty. Sizes, policy and residency
 * are checked before any traffic. *wrapped must be empty; it is owned by the caller.
 * Errors: KMS_E_PLAINTEXT_*, KMS_E_CONTEXT_*, KMS_E_DISABLED, KMS_E_KEY_USAGE, network. */
kms_status kms_client_wrap(kms_client *client, kms_key *key, kms_bytes plaintext,
                           const kms_context *context, kms_buffer *wrapped, kms_error *err);

/* The reverse (KMS Decrypt). *plaintext must be empty. A context that differs and an altered
 * ciphertext give KMS_E_CONTEXT_MISMATCH, with the names that were sent. */
kms_status kms_client_unwrap(kms_client *client, kms_key *key, kms_bytes wrapped,
                             const kms_context *context, kms_secret *plaintext, kms_error *err);

/* A fresh data key of size bytes (1 to KMS_RANDOM_MAX), in the clear and wrapped (KMS
 * GenerateDataKey). plaintext may be NULL: then GenerateDataKeyWithoutPlaintext is called. */
kms_status kms_client_data_key(kms_client *client, kms_key *key, size_t size,
                               const kms_context *context, kms_secret *plaintext,
                               kms_buffer *wrapped, kms_error *err);

/* Wraps anew inside KMS (ReEncrypt), from one key and context to another. */
kms_status kms_client_rewrap(kms_client *client, kms_key *from, const kms_context *from_context,
                             kms_bytes wrapped, kms_key *to, const kms_context *to_context,
                             kms_buffer *rewrapped, kms_error *err);

/* Random bytes from KMS (GenerateRandom), 1 to KMS_RANDOM_MAX. */
kms_status kms_client_random(kms_client *client, size_t size, kms_secret *out, kms_error *err);

#endif
