/* What the provider's operations share: its context, its errors, its key object. */
#ifndef KMS_PROVIDER_PROVIDER_H
#define KMS_PROVIDER_PROVIDER_H

#include "core/client.h"

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/types.h>
#include <stdatomic.h>

/* One for each library context that the provider is loaded into. */
typedef struct kms_provider {
    struct kms_provider *next; /* among those that process exit left */
    const OSSL_CORE_HANDLE *handle;
    OSSL_FUNC_core_new_error_fn *new_error;
    OSSL_FUNC_core_vset_error_fn *vset_error;
    OSSL_FUNC_BIO_write_ex_fn *bio_write;
    OSSL_FUNC_BIO_read_ex_fn *bio_read;
    OSSL_FUNC_BIO_gets_fn *bio_gets;
    kms_client *client; /* NULL: fault says why */
    kms_error fault;
} kms_provider;

/* A KMS key as an EVP_PKEY's key data. Counted references; never changes once loaded. */
typedef struct provider_key {
    atomic_int references;
    kms_provider *provider;
    kms_key *key;         /* NULL: the empty object that OpenSSL asks for to import into */
    kms_context *context; /* from the URI; NULL: none */
    EVP_PKEY *local; /* without key: the public half, or the parameters alone, of an EC key that
                        isn't in KMS, to agree on a secret with; in the private context */
} provider_key;

/* Makes an object; takes both references. NULL without memory; they are freed then. */
provider_key *provider_key_new(kms_provider *provider, kms_key *key, kms_context *context);
provider_key *provider_key_ref(provider_key *key);
void provider_key_free(provider_key *key);

/* Reads the parameter key-address, which must name one key. */
int provider_read_address(const kms_provider *provider, const OSSL_PARAM *param,
                          kms_address *address);

/* Loads the key of an address. Raises the error and returns 0 where it can't, or where the provider
 * has no type for the key. *out is a new reference. */
int provider_key_load(kms_provider *provider, const kms_address *address, provider_key **out);

/* The object of a key that an address named; takes the key. As above. */
int provider_key_of(kms_provider *provider, const kms_address *address, kms_key *key,
                    provider_key **out);

/* The public half, which lives as long as the object; NULL: it has none. */
EVP_PKEY *provider_key_public(const provider_key *key);

/* Hands an object to the application by the callback of a store or decoder; takes the reference. */
int provider_key_give(provider_key *key, OSSL_CALLBACK *callback, void *arg);

/* OpenSSL's name of a key's type: "KMS", "KMS-HMAC", "KMS-ML-KEM", "RSA", "EC", "ED25519",
 * "ML-DSA-65"; NULL: the provider has none. */
const char *provider_key_type(const kms_key *key);

/* What key management of every type does alike. */
OSSL_FUNC_keymgmt_new_fn provider_keymgmt_new;
OSSL_FUNC_keymgmt_free_fn provider_keymgmt_free;
OSSL_FUNC_keymgmt_dup_fn provider_keymgmt_dup;
OSSL_FUNC_keymgmt_load_fn provider_keymgmt_load;
OSSL_FUNC_keymgmt_import_fn provider_keymgmt_import;

/* Making a key in KMS, of each type. */
OSSL_FUNC_keymgmt_gen_init_fn provider_gen_init_kms, provider_gen_init_hmac, provider_gen_init_rsa,
    provider_gen_init_ec, provider_gen_init_ed25519, provider_gen_init_mldsa44,
    provider_gen_init_mldsa65, provider_gen_init_mldsa87, provider_gen_init_mlkem;
OSSL_FUNC_keymgmt_gen_set_params_fn provider_gen_set_params;
OSSL_FUNC_keymgmt_gen_settable_params_fn provider_gen_settable_params;
OSSL_FUNC_keymgmt_gen_fn provider_gen;
OSSL_FUNC_keymgmt_gen_cleanup_fn provider_gen_cleanup;

/* Says in the log, once in a process, that neither default nor fips is active before kms. in: what
 * OSSL_provider_init got. */
void provider_check_order(const kms_provider *provider, const OSSL_DISPATCH *in);

/* Puts an error into the application's error queue: the sentence is the reason, the rest its data.
 * Returns 0, what most provider functions return when they fail. */
int provider_raise(const kms_provider *provider, const kms_error *err);
int provider_raise_status(const kms_provider *provider, kms_status status, const char *detail);

/* An AES data key as an opaque object. Counted references; the secret lives as long. */
typedef struct provider_skey provider_skey;

provider_skey *provider_skey_ref(provider_skey *skey);
void provider_skey_free(provider_skey *skey); /* NULL is allowed */
const kms_secret *provider_skey_secret(const provider_skey *skey);

/* Reads a parameter, without any error in the queue where it has another type: the caller raises
 * one that says more. name has room bytes; *text is new (OPENSSL_free); bytes point into p. */
int provider_get_int(const OSSL_PARAM *p, int *value);
int provider_get_size(const OSSL_PARAM *p, size_t *value);
int provider_get_name(const OSSL_PARAM *p, char *name, size_t room);
int provider_get_text(const OSSL_PARAM *p, char **text);
int provider_get_bytes(const OSSL_PARAM *p, kms_bytes *bytes);

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

extern const OSSL_DISPATCH provider_kms_keymgmt_functions[];
extern const OSSL_DISPATCH provider_hmac_keymgmt_functions[];
extern const OSSL_DISPATCH provider_rsa_keymgmt_functions[];
extern const OSSL_DISPATCH provider_ec_keymgmt_functions[];
extern const OSSL_DISPATCH provider_ed25519_keymgmt_functions[];
extern const OSSL_DISPATCH provider_mldsa44_keymgmt_functions[];
extern const OSSL_DISPATCH provider_mldsa65_keymgmt_functions[];
extern const OSSL_DISPATCH provider_mldsa87_keymgmt_functions[];
extern const OSSL_DISPATCH provider_mlkem_keymgmt_functions[];
extern const OSSL_DISPATCH provider_mldsa_functions[];
extern const OSSL_DISPATCH provider_mlkem_functions[];
extern const OSSL_DISPATCH provider_skeymgmt_functions[];
extern const OSSL_DISPATCH provider_rsa_signature_functions[];
extern const OSSL_DISPATCH provider_ecdsa_functions[];
extern const OSSL_DISPATCH provider_eddsa_functions[];
extern const OSSL_DISPATCH provider_store_functions[];
extern const OSSL_DISPATCH provider_kms_asym_cipher_functions[];
extern const OSSL_DISPATCH provider_rsa_asym_cipher_functions[];
extern const OSSL_DISPATCH provider_kem_functions[];
extern const OSSL_DISPATCH provider_exchange_functions[];
extern const OSSL_DISPATCH provider_mac_functions[];
extern const OSSL_DISPATCH provider_mac_signature_functions[];
extern const OSSL_DISPATCH provider_rand_functions[];
extern const OSSL_ALGORITHM provider_ciphers[];
extern const OSSL_DISPATCH provider_pem_decoder_functions[];
extern const OSSL_DISPATCH provider_der_decoder_functions[];
extern const OSSL_DISPATCH provider_reference_encoder_functions[];
extern const OSSL_DISPATCH provider_public_pem_encoder_functions[];
extern const OSSL_DISPATCH provider_public_der_encoder_functions[];
extern const OSSL_DISPATCH provider_text_encoder_functions[];
extern const OSSL_DISPATCH provider_refusing_encoder_functions[];

#endif
