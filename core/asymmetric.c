#include "core/asymmetric.h"

#include "core/operation.h"
#include "core/public_key.h"

#include <openssl/evp.h>
#include <string.h>

#define DIGEST_MAX 64

/* The usage of a key that was read from a reference is not known: KMS will say. */
static kms_status check_usage(const kms_key *key, const char *usage, kms_error *err)
{
    if (kms_key_kind(key) != NULL &&
        (kms_key_usage(key)[0] == '\0' || strcmp(kms_key_usage(key), usage) == 0))
        return KMS_OK;
    return kms_fail(err, KMS_E_KEY_USAGE, "%s is %s for %s, not for %s", kms_key_arn(key),
                    kms_key_spec(key), kms_key_usage(key), usage);
}

static kms_status check_message(kms_bytes message, kms_error *err)
{
    if (message.len == 0)
        return kms_fail(err, KMS_E_MESSAGE_EMPTY, "0 bytes");
    if (message.len > KMS_MESSAGE_MAX)
        return kms_fail(err, KMS_E_MESSAGE_TOO_LARGE, "%zu bytes", message.len);
    return KMS_OK;
}

/* Makes a digest fit the one size that KMS takes for a curve, without changing what ECDSA makes of
 * it: the leftmost bits, or zeros before a number. *digest then points at room where it has to. */
static void fit_digest(kms_bytes *digest, size_t size, uint8_t room[DIGEST_MAX])
{
    if (digest->len > size) {
        digest->len = size;
    } else if (digest->len < size) {
        memset(room, 0, size - digest->len);
        memcpy(room + size - digest->len, digest->data, digest->len);
        *digest = (kms_bytes){room, size};
    }
}

/* Of SHA-2 or SHA-3: not of SHA-1 or MD5, nor of the two together. */
static bool is_digest_size(size_t len)
{
    return len == 28 || len == 32 || len == 48 || len == DIGEST_MAX;
}

static kms_status check_input(const kms_algorithm *algorithm, kms_bytes *input,
                              uint8_t room[DIGEST_MAX], kms_error *err)
{
    if (algorithm->scheme == KMS_SCHEME_EDDSA)
        return check_message(*input, err);
    if (algorithm->scheme == KMS_SCHEME_ECDSA && is_digest_size(input->len)) {
        fit_digest(input, algorithm->digest_len, room);
        return KMS_OK;
    }
    if (input->len == algorithm->digest_len)
        return KMS_OK;
    return kms_fail(err, KMS_E_DIGEST_SIZE, "%zu bytes for %s, which takes %zu", input->len,
                    algorithm->name, algorithm->digest_len);
}

kms_status kms_client_sign(kms_client *client, kms_key *key, const kms_algorithm *algorithm,
                           kms_bytes input, kms_buffer *signature, kms_error *err)
{
    uint8_t room[DIGEST_MAX];
    kms_caller *caller = NULL;
    kms_status st = check_usage(key, "SIGN_VERIFY", err);

    if (st == KMS_OK)
        st = check_input(algorithm, &input, room, err);
    if (st == KMS_OK)
        st = kms_operation_begin(client, key, &caller, err);
    if (st == KMS_OK)
        st = kms_sign(caller, kms_key_endpoint(key), kms_key_arn(key), algorithm, input, signature,
                      err);
    if (st == KMS_OK && kms_config_flag(kms_client_config(client), KMS_SET_VERIFY_SIGNATURES) &&
        !kms_public_key_verifies(kms_caller_libctx(caller), kms_key_public(key), algorithm, input,
                                 (kms_bytes){signature->data, signature->len}))
        st = kms_fail(err, KMS_E_REPLY_SIGNATURE, "%s by %s", algorithm->name, kms_key_arn(key));
    if (st != KMS_OK)
        kms_buffer_clear(signature);
    return kms_operation_end(client, key, st);
}

kms_status kms_client_decrypt(kms_client *client, kms_key *key, const kms_algorithm *algorithm,
                              kms_bytes ciphertext, kms_secret *plaintext, kms_error *err)
{
    kms_caller *caller = NULL;
    kms_status st = check_usage(key, "ENCRYPT_DECRYPT", err);

    if (st == KMS_OK && ciphertext.len != (size_t)kms_key_kind(key)->bits / 8)
        st = kms_fail(err, KMS_E_CIPHERTEXT_SIZE, "%zu bytes for a key of %d", ciphertext.len,
                      kms_key_kind(key)->bits / 8);
    if (st == KMS_OK)
        st = kms_operation_begin(client, key, &caller, err);
    if (st == KMS_OK)
        st = kms_decrypt_oaep(caller, kms_key_endpoint(key), kms_key_arn(key), algorithm,
                              ciphertext, plaintext, err);
    if (st == KMS_E_CONTEXT_MISMATCH) /* there is no context here to differ */
        st = kms_refail(err, KMS_E_CIPHERTEXT_INVALID);
    return kms_operation_end(client, key, st);
}

/* The peer's key must be on the curve of ours; anything else is refused before any traffic. */
static kms_status check_peer(kms_client *client, const kms_key *key, kms_bytes peer, kms_error *err)
{
    EVP_PKEY *public = NULL;
    OSSL_LIB_CTX *libctx = kms_client_libctx(client);
    kms_status st;

    if (libctx == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "peer's key");
    st = kms_public_key_read(libctx, peer, kms_key_kind(key), &public, NULL, err);
    EVP_PKEY_free(public);
    return st == KMS_E_PUBLIC_KEY ? kms_refail(err, KMS_E_PEER_KEY) : st;
}

kms_status kms_client_derive(kms_client *client, kms_key *key, kms_bytes peer, kms_secret *secret,
                             kms_error *err)
{
    kms_caller *caller = NULL;
    kms_status st = check_usage(key, "KEY_AGREEMENT", err);

    if (st == KMS_OK)
        st = check_peer(client, key, peer, err);
    if (st == KMS_OK)
        st = kms_operation_begin(client, key, &caller, err);
    if (st == KMS_OK)
        st = kms_derive_shared_secret(caller, kms_key_endpoint(key), kms_key_arn(key), peer,
                                      (size_t)(kms_key_kind(key)->bits + 7) / 8, secret, err);
    return kms_operation_end(client, key, st);
}

kms_status kms_client_decapsulate(kms_client *client, kms_key *key, kms_bytes ciphertext,
                                  kms_secret *secret, kms_error *err)
{
    kms_caller *caller = NULL;
    kms_status st = check_usage(key, "ENCAPSULATE_DECAPSULATE", err);

    if (st == KMS_OK && ciphertext.len != (size_t)EVP_PKEY_get_size(kms_key_public(key)))
        st = kms_fail(err, KMS_E_CIPHERTEXT_SIZE, "%zu bytes for %s, which takes %d",
                      ciphertext.len, kms_key_spec(key), EVP_PKEY_get_size(kms_key_public(key)));
    if (st == KMS_OK)
        st = kms_operation_begin(client, key, &caller, err);
    if (st == KMS_OK)
        st = kms_decapsulate(caller, kms_key_endpoint(key), kms_key_arn(key),
                             kms_algorithm_at(kms_key_kind(key), KMS_SCHEME_ML_KEM, 0), ciphertext,
                             secret, err);
    if (st == KMS_E_CONTEXT_MISMATCH) /* there is no context here to differ */
        st = kms_refail(err, KMS_E_CIPHERTEXT_INVALID);
    return kms_operation_end(client, key, st);
}

kms_status kms_client_mac(kms_client *client, kms_key *key, const kms_algorithm *algorithm,
                          kms_bytes message, kms_secret *mac, kms_error *err)
{
    kms_caller *caller = NULL;
    kms_status st = check_usage(key, "GENERATE_VERIFY_MAC", err);

    if (st == KMS_OK)
        st = check_message(message, err);
    if (st == KMS_OK)
        st = kms_operation_begin(client, key, &caller, err);
    if (st == KMS_OK)
        st = kms_generate_mac(caller, kms_key_endpoint(key), kms_key_arn(key), algorithm, message,
                              mac, err);
    return kms_operation_end(client, key, st);
}

kms_status kms_client_verify_mac(kms_client *client, kms_key *key, const kms_algorithm *algorithm,
                                 kms_bytes message, kms_bytes mac, kms_error *err)
{
    kms_caller *caller = NULL;
    kms_status st = check_usage(key, "GENERATE_VERIFY_MAC", err);

    if (st == KMS_OK)
        st = check_message(message, err);
    if (st == KMS_OK && mac.len != algorithm->digest_len)
        st =
            kms_fail(err, KMS_E_MAC_MISMATCH, "%zu bytes, not %zu", mac.len, algorithm->digest_len);
    if (st == KMS_OK)
        st = kms_operation_begin(client, key, &caller, err);
    if (st == KMS_OK)
        st = kms_verify_mac(caller, kms_key_endpoint(key), kms_key_arn(key), algorithm, message,
                            mac, err);
    return kms_operation_end(client, key, st);
}
