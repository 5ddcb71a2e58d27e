#include "core/sigv4.h"

#include "core/lock.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_SIZE 32
#define SCOPE_MAX 128

/* The signing key's inputs; while they stay the same, so does the key. */
typedef struct key_inputs {
    char day[9];
    char region[32];
    char service[16];
    uint8_t secret_hash[HASH_SIZE];
} key_inputs;

struct kms_sigv4 {
    EVP_MD *sha256;
    EVP_MAC *hmac;
    kms_lock lock;
    key_inputs inputs; /* of `key` */
    kms_secret key;    /* signing key; empty: none yet */
};

kms_status kms_sigv4_new(OSSL_LIB_CTX *libctx, kms_sigv4 **out, kms_error *err)
{
    kms_sigv4 *signer = calloc(1, sizeof(*signer));
    kms_status st;

    *out = NULL;
    if (signer == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "signer");
    st = kms_lock_init(&signer->lock, err);
    if (st != KMS_OK) {
        free(signer);
        return st;
    }
    signer->sha256 = EVP_MD_fetch(libctx, "SHA2-256", NULL);
    signer->hmac = EVP_MAC_fetch(libctx, "HMAC", NULL);
    if (signer->sha256 == NULL || signer->hmac == NULL) {
        kms_sigv4_free(signer);
        return kms_fail(err, KMS_E_INTERNAL, "SHA-256 and HMAC are not available");
    }
    *out = signer;
    return KMS_OK;
}

void kms_sigv4_free(kms_sigv4 *signer)
{
    if (signer == NULL)
        return;
    kms_secret_clear(&signer->key);
    EVP_MAC_free(signer->hmac);
    EVP_MD_free(signer->sha256);
    kms_lock_destroy(&signer->lock);
    free(signer);
}

void kms_sigv4_date(time_t now, char date[KMS_SIGV4_DATE_SIZE])
{
    struct tm utc;

    gmtime_r(&now, &utc);
    strftime(date, KMS_SIGV4_DATE_SIZE, "%Y%m%dT%H%M%SZ", &utc);
}

static bool sha256(const kms_sigv4 *signer, kms_bytes data, uint8_t out[HASH_SIZE])
{
    return EVP_Digest(data.data, data.len, out, NULL, signer->sha256, NULL) == 1;
}

static void to_hex(const uint8_t bytes[HASH_SIZE], char hex[2 * HASH_SIZE + 1])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < HASH_SIZE; i++) {
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    hex[2 * HASH_SIZE] = '\0';
}

/* A text under construction; overflow is remembered and asked for once at the end. */
typedef struct builder {
    char *text;
    size_t size, len;
    bool overflow;
} builder;

static void add(builder *b, const char *text)
{
    size_t len = strlen(text);

    if (len >= b->size - b->len) {
        b->overflow = true;
        return;
    }
    memcpy(b->text + b->len, text, len + 1);
    b->len += len;
}

static void add_signed_names(builder *b, const kms_sigv4_request *request)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (i > 0)
            add(b, ";");
        add(b, request->headers[i].name);
    }
}

/* Bytes of the canonical request, with its terminator: each header is there with its value, and
 * its name once more in the list. */
static size_t canonical_size(const kms_sigv4_request *request)
{
    size_t size = strlen("POST\n\n\n\n\n") + strlen(request->path) + 2 * HASH_SIZE + 1;

    for (size_t i = 0; i < request->header_count; i++)
        size += 2 * strlen(request->headers[i].name) + strlen(request->headers[i].value) +
                strlen(":\n;");
    return size;
}

static void add_canonical(builder *b, const kms_sigv4_request *request, const char *body_hash)
{
    add(b, "POST\n");
    add(b, request->path);
    add(b, "\n\n");
    for (size_t i = 0; i < request->header_count; i++) {
        add(b, request->headers[i].name);
        add(b, ":");
        add(b, request->headers[i].value);
        add(b, "\n");
    }
    add(b, "\n");
    add_signed_names(b, request);
    add(b, "\n");
    add(b, body_hash);
}

/* The canonical request holds the session token, so it is built in locked memory. */
static kms_status canonical_hash(const kms_sigv4 *signer, const kms_sigv4_request *request,
                                 char hex[2 * HASH_SIZE + 1], kms_error *err)
{
    uint8_t hash[HASH_SIZE];
    kms_secret text = {0};
    kms_status st = kms_secret_reserve(&text, canonical_size(request), err);
    builder b = {.text = (char *)text.data, .size = text.cap};
    bool ok = st == KMS_OK && sha256(signer, request->body, hash);

    if (ok) {
        to_hex(hash, hex);
        add_canonical(&b, request, hex);
        ok = !b.overflow && sha256(signer, (kms_bytes){text.data, b.len}, hash);
        to_hex(hash, hex);
    }
    kms_secret_clear(&text);
    if (st == KMS_OK && !ok)
        st = kms_fail(err, KMS_E_INTERNAL, "the request can't be hashed");
    return st;
}

/* out = HMAC-SHA-256(key, text); out may be the key. */
static bool hmac(const kms_sigv4 *signer, kms_bytes key, const char *text, uint8_t out[HASH_SIZE])
{
    char digest[] = "SHA2-256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(signer->hmac);
    size_t len = 0;
    bool ok = ctx != NULL && EVP_MAC_init(ctx, key.data, key.len, params) == 1 &&
              EVP_MAC_update(ctx, (const uint8_t *)text, strlen(text)) == 1 &&
              EVP_MAC_final(ctx, out, &len, HASH_SIZE) == 1 && len == HASH_SIZE;

    EVP_MAC_CTX_free(ctx);
    return ok;
}

static kms_status derive(const kms_sigv4 *signer, const key_inputs *inputs,
                         const kms_credentials *credentials, kms_secret *key, kms_error *err)
{
    const char *const steps[] = {inputs->region, inputs->service, "aws4_request"};
    kms_secret first = {0};
    kms_status st = kms_secret_copy(&first, (kms_bytes){(const uint8_t *)"AWS4", 4}, err);

    if (st == KMS_OK)
        st = kms_secret_append(&first, kms_secret_bytes(&credentials->secret_access_key), err);
    if (st == KMS_OK)
        st = kms_secret_reserve(key, HASH_SIZE, err);
    if (st == KMS_OK) {
        bool ok = hmac(signer, kms_secret_bytes(&first), inputs->day, key->data);
        key->len = HASH_SIZE;
        for (size_t i = 0; ok && i < sizeof(steps) / sizeof(steps[0]); i++)
            ok = hmac(signer, kms_secret_bytes(key), steps[i], key->data);
        if (!ok)
            st = kms_fail(err, KMS_E_INTERNAL, "the signing key can't be derived");
    }
    kms_secret_clear(&first);
    return st;
}

/* A copy of the signing key: the kept one, or one derived anew and then kept. */
static kms_status signing_key(kms_sigv4 *signer, const key_inputs *inputs,
                              const kms_credentials *credentials, kms_secret *key, kms_error *err)
{
    kms_secret fresh = {0};
    bool known;
    kms_status st = KMS_OK;

    kms_lock_take(&signer->lock);
    known = signer->key.len > 0 && CRYPTO_memcmp(inputs, &signer->inputs, sizeof(*inputs)) == 0;
    if (known)
        st = kms_secret_copy(key, kms_secret_bytes(&signer->key), err);
    kms_lock_give(&signer->lock);
    if (known)
        return st;

    st = derive(signer, inputs, credentials, &fresh, err);
    if (st == KMS_OK)
        st = kms_secret_copy(key, kms_secret_bytes(&fresh), err);
    if (st == KMS_OK) {
        kms_lock_take(&signer->lock);
        kms_secret_move(&signer->key, &fresh);
        signer->inputs = *inputs;
        kms_lock_give(&signer->lock);
    }
    kms_secret_clear(&fresh);
    return st;
}

static bool fill_inputs(const kms_sigv4 *signer, const kms_sigv4_request *request,
                        const kms_credentials *credentials, key_inputs *inputs)
{
    *inputs = (key_inputs){0};
    if (strlen(request->date) != KMS_SIGV4_DATE_SIZE - 1 ||
        strlen(request->region) >= sizeof(inputs->region) ||
        strlen(request->service) >= sizeof(inputs->service))
        return false;
    memcpy(inputs->day, request->date, 8);
    strcpy(inputs->region, request->region);
    strcpy(inputs->service, request->service);
    return sha256(signer, kms_secret_bytes(&credentials->secret_access_key), inputs->secret_hash);
}

static kms_status sign_text(kms_sigv4 *signer, const key_inputs *inputs,
                            const kms_credentials *credentials, const char *text,
                            char hex[2 * HASH_SIZE + 1], kms_error *err)
{
    uint8_t signature[HASH_SIZE];
    kms_secret key = {0};
    kms_status st = signing_key(signer, inputs, credentials, &key, err);

    if (st == KMS_OK && !hmac(signer, kms_secret_bytes(&key), text, signature))
        st = kms_fail(err, KMS_E_INTERNAL, "the request can't be signed");
    if (st == KMS_OK)
        to_hex(signature, hex);
    kms_secret_clear(&key);
    return st;
}

kms_status kms_sigv4_sign(kms_sigv4 *signer, const kms_sigv4_request *request,
                          const kms_credentials *credentials,
                          char authorization[KMS_SIGV4_AUTHORIZATION_MAX], kms_error *err)
{
    char hex[2 * HASH_SIZE + 1];
    char scope[SCOPE_MAX], text[SCOPE_MAX + 160];
    key_inputs inputs;
    builder b = {.text = authorization, .size = KMS_SIGV4_AUTHORIZATION_MAX};
    kms_status st;

    if (!fill_inputs(signer, request, credentials, &inputs))
        return kms_fail(err, KMS_E_ARGUMENT, "date, region or service can't be signed");
    st = canonical_hash(signer, request, hex, err);
    if (st != KMS_OK)
        return st;

    snprintf(scope, sizeof(scope), "%s/%s/%s/aws4_request", inputs.day, inputs.region,
             inputs.service);
    snprintf(text, sizeof(text), "AWS4-HMAC-SHA256\n%s\n%s\n%s", request->date, scope, hex);
    st = sign_text(signer, &inputs, credentials, text, hex, err);
    if (st != KMS_OK)
        return st;

    add(&b, "AWS4-HMAC-SHA256 Credential=");
    add(&b, credentials->access_key_id);
    add(&b, "/");
    add(&b, scope);
    add(&b, ", SignedHeaders=");
    add_signed_names(&b, request);
    add(&b, ", Signature=");
    add(&b, hex);
    if (b.overflow)
        return kms_fail(err, KMS_E_ARGUMENT, "more headers than can be signed");
    return KMS_OK;
}
