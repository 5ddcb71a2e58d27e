/* What the keys do, with libcrypto. Outputs are malloc'd (OPENSSL_free) and the caller's. */
#ifndef LOCAL_CRYPTO_H
#define LOCAL_CRYPTO_H

#include "store.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bytes {
    uint8_t *data;
    size_t len;
} bytes;

/* Cleanses and frees. */
void bytes_clear(bytes *b);

/* Once, before all others. */
bool crypto_start(void);
void crypto_stop(void);

/* Whether this libcrypto knows keys of the spec: ML-DSA and ML-KEM came with OpenSSL 3.5. */
bool crypto_supports(const key_spec *spec);

/* Makes the secret of a key: random bytes, or a key pair in PKCS#8 with *parsed set. */
bool crypto_generate(const key_spec *spec, bytes *out, EVP_PKEY **parsed);

/* Own blob format: version, key id, material id, IV, ciphertext, tag. The context is bound as AAD
 * together with the header. context: object of strings, or NULL. */
bool crypto_seal(const family *f, const cJSON *context, const uint8_t *plain, size_t len,
                 bytes *out);

/* The key id that a blob names; false where it is no blob. */
bool crypto_blob_key(const uint8_t *blob, size_t len, char key_id[40], uint8_t material_id[32]);
bool crypto_open(const family *f, const cJSON *context, const uint8_t *blob, size_t len,
                 bytes *out);

bool crypto_oaep(const family *f, const algorithm *a, bool encrypt, const uint8_t *in, size_t len,
                 bytes *out);
size_t crypto_oaep_limit(const family *f, const algorithm *a);
/* What Sign and Verify are given: a message, its digest, or the mu of ML-DSA (FIPS 204, 6.2). */
typedef enum message_form { FORM_RAW, FORM_DIGEST, FORM_MU } message_form;

#define MU_SIZE 64

bool crypto_sign(const family *f, const algorithm *a, message_form form, const uint8_t *message,
                 size_t len, bytes *out);
bool crypto_verify(const family *f, const algorithm *a, message_form form, const uint8_t *message,
                   size_t len, const uint8_t *signature, size_t signature_len);
size_t crypto_digest_size(const algorithm *a);
bool crypto_mac(const family *f, const algorithm *a, const uint8_t *message, size_t len,
                bytes *out);
bool crypto_public_key(const EVP_PKEY *pkey, bytes *spki);
/* A fresh secret and what carries it; then the secret out of that, which a wrong one of the right
 * size gives as well, another (FIPS 203, 6.3). False where the size is wrong. */
bool crypto_encapsulate(const family *f, bytes *secret, bytes *ciphertext);
bool crypto_decapsulate(const family *f, const uint8_t *ciphertext, size_t len, bytes *secret);
/* peer: SubjectPublicKeyInfo. False where it isn't a key of the same curve. */
bool crypto_derive(const family *f, const uint8_t *peer, size_t len, bytes *secret);

#endif
