/* What asymmetric and HMAC keys do in KMS. As in core/client.h: every function may be called from
 * any thread, sizes and algorithms are checked before any traffic, and results are taken only from
 * the key that was asked. One request each. Everything public is done with kms_key_public instead.
 *
 * algorithm is one that fits the key: kms_algorithm_find(kms_key_kind(key), …). Outputs must be
 * empty and belong to the caller. */
#ifndef KMS_CORE_ASYMMETRIC_H
#define KMS_CORE_ASYMMETRIC_H

#include "core/client.h"

/* Signs a digest; with Ed25519 a message of 1 to KMS_MESSAGE_MAX bytes, with ML-DSA the mu of a
 * message (FIPS 204, algorithm 7), algorithm->digest_len bytes. RSA takes a digest of exactly
 * algorithm->digest_len bytes. ECDSA takes a digest of any hash of SHA-2 and SHA-3 (28, 32, 48 or
 * 64 bytes): the standard (FIPS 186-5, 6.4.1) cuts a longer one to the size of the curve and counts
 * a shorter one as it is, so that KMS's one digest size per curve can stand for all. The result is
 * verified before it is given out, unless verify_signatures is off.
 * Errors: KMS_E_DIGEST_SIZE, KMS_E_MESSAGE_*, KMS_E_KEY_USAGE, KMS_E_REPLY_SIGNATURE,
 * KMS_E_DISABLED, all of the network. */
kms_status kms_client_sign(kms_client *client, kms_key *key, const kms_algorithm *algorithm,
                           kms_bytes input, kms_buffer *signature, kms_error *err);

/* Decrypts RSA-OAEP ciphertext, which has the size of the modulus.
 * Errors: KMS_E_CIPHERTEXT_SIZE, KMS_E_CIPHERTEXT_INVALID, and as above. */
kms_status kms_client_decrypt(kms_client *client, kms_key *key, const kms_algorithm *algorithm,
                              kms_bytes ciphertext, kms_secret *plaintext, kms_error *err);

/* ECDH with a peer's public key in DER SubjectPublicKeyInfo: the x coordinate of the shared point,
 * of the curve's size in bytes. Errors: KMS_E_PEER_KEY (not on the same curve), and as above. */
kms_status kms_client_derive(kms_client *client, kms_key *key, kms_bytes peer, kms_secret *secret,
                             kms_error *err);

/* The secret that a ciphertext of ML-KEM carries. A ciphertext of the right size that is not right
 * gives another secret, not an error (FIPS 203, 6.3): the protocol around it has to notice.
 * Errors: KMS_E_CIPHERTEXT_SIZE, and as above. */
kms_status kms_client_decapsulate(kms_client *client, kms_key *key, kms_bytes ciphertext,
                                  kms_secret *secret, kms_error *err);

/* HMAC of 1 to KMS_MESSAGE_MAX bytes; whole tags only.
 * Errors: KMS_E_MESSAGE_*, KMS_E_MAC_MISMATCH, and as above. */
kms_status kms_client_mac(kms_client *client, kms_key *key, const kms_algorithm *algorithm,
                          kms_bytes message, kms_secret *mac, kms_error *err);
kms_status kms_client_verify_mac(kms_client *client, kms_key *key, const kms_algorithm *algorithm,
                                 kms_bytes message, kms_bytes mac, kms_error *err);

#endif
