/* Keys and their cache: alias → ARN → metadata, in one DescribeKey for key_cache_seconds. */
#ifndef KMS_CORE_KEY_H
#define KMS_CORE_KEY_H

#include "core/client.h"
#include "core/kms.h"

/* The endpoint that a key was loaded from. It lives as long as the client. */
const kms_endpoint *kms_key_endpoint(const kms_key *key);

/* A key as a key reference tells it: no network, so its usage is not known ("") and its state
 * neither; of a multi-Region key the first operation asks for its family. spki is empty for
 * symmetric and HMAC keys; of HMAC keys spec is the key spec, else NULL. Errors: KMS_E_PUBLIC_KEY.
 */
kms_status kms_key_of_reference(OSSL_LIB_CTX *libctx, const kms_endpoint *endpoint, const char *arn,
                                kms_bytes spki, const char *spec, kms_key **out, kms_error *err);

/* Bounded, thread-safe; emptied in a child after fork. */
typedef struct kms_key_cache kms_key_cache;

kms_status kms_key_cache_new(const kms_config *config, kms_key_cache **out, kms_error *err);
void kms_key_cache_free(kms_key_cache *cache);

/* The key by alias, id or ARN at that endpoint, as a new reference. Of many callers that find it
 * absent one asks KMS and the others wait for its answer; in the last tenth of the entry's life
 * one asks and the others go on with what is there. Where that fails for a passing reason, it is
 * not tried again at once. No lock is held meanwhile. An ASYNC job waits for no other, and none for
 * it: it asks for itself. */
kms_status kms_key_cache_get(kms_key_cache *cache, kms_caller *caller,
                             const kms_residency *residency, const kms_endpoint *endpoint,
                             const char *name, kms_key **out, kms_error *err);

/* A key of a multi-Region family can get a replica at any time: once its metadata is older than the
 * cache keeps any, this asks KMS again whether all of the family is still where keys may be. Costs
 * nothing for other keys. Errors: as kms_key_cache_get. */
kms_status kms_key_cache_confirm(kms_key_cache *cache, kms_caller *caller,
                                 const kms_residency *residency, kms_key *key, kms_error *err);

/* Forgets a key under all its names, after KMS said that it is not found, disabled and the like. */
void kms_key_cache_forget(kms_key_cache *cache, const kms_key *key);

#endif
