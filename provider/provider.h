/* What the provider's operations share: its context, its errors, its key object. */
#ifndef KMS_PROVIDER_PROVIDER_H
#define KMS_PROVIDER_PROVIDER_H

#include "core/client.h"

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <stdatomic.h>

/* One for each library context that the provider is loaded into. */
typedef struct kms_provider {
    struct kms_provider *next; /* among those that process exit left */
    const OSSL_CORE_HANDLE *handle;
    OSSL_FUNC_core_new_error_fn *new_error;
    OSSL_FUNC_core_vset_error_fn *vset_error;
    OSSL_FUNC_BIO_write_ex_fn *bio_write;
    kms_client *client; /* NULL: fault says why */
    kms_error fault;
} kms_provider;

/* A symmetric KMS key as an EVP_PKEY's key data. Counted references; never changes once loaded. */
typedef struct provider_key {
    atomic_int references;
    kms_provider *provider;
    kms_key *key;         /* NULL: the empty object that OpenSSL asks for to import into */
    kms_context *context; /* from the URI; NULL: none */
} provider_key;

/* Makes an object; takes both references. NULL without memory; they are freed then. */
provider_key *provider_key_new(kms_provider *provider, kms_key *key, kms_context *context);
provider_key *provider_key_ref(provider_key *key);
void provider_key_free(provider_key *key);

/* Says in the log, once in a process, that neither default nor fips is active before kms. in: what
 * OSSL_provider_init got. */
void provider_check_order(const kms_provider *provider, const OSSL_DISPATCH *in);

/* Puts an error into the application's error queue: the sentence is the reason, the rest its data.
 * Returns 0, what most provider functions return when they fail. */
int provider_raise(const kms_provider *provider, const kms_error *err);
int provider_raise_status(const kms_provider *provider, kms_status status, const char *detail);

/* The encryption context of one operation: the key's own, and what the caller set. */
typedef struct operation_context {
    provider_key *key;    /* a reference; NULL before init */
    kms_context *context; /* NULL: nothing was set yet */
    kms_context *merged;  /* of both; made by the first operation, since many may follow */
} operation_context;

/* Takes a reference to key, or keeps the one that is there where key is NULL, and drops the
 * context. Fails without a key. */
int operation_context_init(operation_context *ctx, const kms_provider *provider, provider_key *key);
int operation_context_copy(operation_context *to, const operation_context *from);
void operation_context_clear(operation_context *ctx);

/* Handles each parameter "context" among params, which may be NULL. */
int operation_context_set(operation_context *ctx, const kms_provider *provider,
                          const OSSL_PARAM params[]);

/* The pairs to send, which stay ctx's. NULL: they contradict each other, and that was raised. */
const kms_context *operation_context_merged(operation_context *ctx, const kms_provider *provider);

extern const OSSL_DISPATCH provider_keymgmt_functions[];
extern const OSSL_DISPATCH provider_store_functions[];
extern const OSSL_DISPATCH provider_asym_cipher_functions[];
extern const OSSL_DISPATCH provider_kem_functions[];
extern const OSSL_DISPATCH provider_text_encoder_functions[];
extern const OSSL_DISPATCH provider_refusing_encoder_functions[];

#endif
