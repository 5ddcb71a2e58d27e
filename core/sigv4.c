#include "core/sigv4.h"

#include "core/lock.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_SIZE     32
#define CANONICAL_MAX ((size_t)20 * 1024) /* session tokens have up to about 16 KiB */
#define SCOPE_MAX     128

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
    key_inputs inputs;  /* of `keyed` */
    EVP_MAC_CTX *keyed; /* HMAC with the signing key set, to be duplicated; NULL: none yet */
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
    EVP_MAC_CTX_free(signer->keyed);
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

static bool canonical_hash(const kms_sigv4 *signer, const kms_sigv4_request *request,
                           char hex[2 * HASH_SIZE + 1])
{
    uint8_t hash[HASH_SIZE];
    builder b = {.size = CANONICAL_MAX, .text = kms_locked_alloc(CANONICAL_MAX)};
    bool ok = b.text != NULL && sha256(signer, request->body, hash);

    if (ok) {
        to_hex(hash, hex);
        add(&b, "POST\n");
        add(&b, request->path);
        add(&b, "\n\n");
        for (size_t i = 0; i < request->header_count; i++) {
            add(&b, request->headers[i].name);
            add(&b, ":");
            add(&b, request->headers[i].value);
            add(&b, "\n");
        }
        add(&b, "\n");
        add_signed_names(&b, request);
        add(&b, "\n");
        add(&b, hex);
        ok = !b.overflow && sha256(signer, (kms_bytes){(const uint8_t *)b.text, b.len}, hash);
        to_hex(hash, hex);
    }
    kms_locked_free(b.text);
    return ok;
}

static EVP_MAC_CTX *hmac_keyed(const kms_sigv4 *signer, const uint8_t *key, size_t len)
{
    char digest[] = "SHA2-256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(signer->hmac);

    if (ctx != NULL && EVP_MAC_init(ctx, key, len, params) != 1) {
        EVP_MAC_CTX_free(ctx);
        ctx = NULL;
    }
    return ctx;
}

static bool hmac_finish(EVP_MAC_CTX *ctx, const char *text, uint8_t out[HASH_SIZE])
{
    size_t len = 0;

    return EVP_MAC_update(ctx, (const uint8_t *)text, strlen(text)) == 1 &&
           EVP_MAC_final(ctx, out, &len, HASH_SIZE) == 1 && len == HASH_SIZE;
}

/* key = HMAC(key, text) */
static bool hmac_step(const kms_sigv4 *signer, const uint8_t *key, size_t key_len, const char *text,
                      uint8_t out[HASH_SIZE])
{
    EVP_MAC_CTX *ctx = hmac_keyed(signer, key, key_len);
    bool ok = ctx != NULL && hmac_finish(ctx, text, out);

    EVP_MAC_CTX_free(ctx);
    return ok;
}

static EVP_MAC_CTX *derive(const kms_sigv4 *signer, const key_inputs *inputs,
                           const kms_credentials *credentials)
{
    kms_secret first = {0};
    uint8_t key[HASH_SIZE];
    EVP_MAC_CTX *keyed = NULL;

    if (kms_secret_copy(&first, (kms_bytes){(const uint8_t *)"AWS4", 4}, NULL) == KMS_OK &&
        kms_secret_append(&first, kms_secret_bytes(&credentials->secret_access_key), NULL) ==
            KMS_OK &&
        hmac_step(signer, first.data, first.len, inputs->day, key) &&
        hmac_step(signer, key, sizeof(key), inputs->region, key) &&
        hmac_step(signer, key, sizeof(key), inputs->service, key) &&
        hmac_step(signer, key, sizeof(key), "aws4_request", key))
        keyed = hmac_keyed(signer, key, sizeof(key));
    OPENSSL_cleanse(key, sizeof(key));
    kms_secret_clear(&first);
    return keyed;
}

/* A context with the signing key set: a copy of the kept one, or derived anew and then kept. */
static EVP_MAC_CTX *signing_context(kms_sigv4 *signer, const key_inputs *inputs,
                                    const kms_credentials *credentials)
{
    EVP_MAC_CTX *ctx = NULL, *fresh, *old = NULL;

    kms_lock_take(&signer->lock);
    if (signer->keyed != NULL && CRYPTO_memcmp(inputs, &signer->inputs, sizeof(*inputs)) == 0)
        ctx = EVP_MAC_CTX_dup(signer->keyed);
    kms_lock_give(&signer->lock);
    if (ctx != NULL)
        return ctx;

    fresh = derive(signer, inputs, credentials);
    if (fresh == NULL)
        return NULL;
    ctx = EVP_MAC_CTX_dup(fresh);
    kms_lock_take(&signer->lock);
    old = signer->keyed;
    signer->keyed = fresh;
    signer->inputs = *inputs;
    kms_lock_give(&signer->lock);
    EVP_MAC_CTX_free(old);
    return ctx;
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

static bool sign_text(kms_sigv4 *signer, const key_inputs *inputs,
                      const kms_credentials *credentials, const char *text,
                      char hex[2 * HASH_SIZE + 1])
{
    uint8_t signature[HASH_SIZE];
    EVP_MAC_CTX *ctx = signing_context(signer, inputs, credentials);
    bool ok = ctx != NULL && hmac_finish(ctx, text, signature);

    EVP_MAC_CTX_free(ctx);
    if (ok)
        to_hex(signature, hex);
    return ok;
}

kms_status kms_sigv4_sign(kms_sigv4 *signer, const kms_sigv4_request *request,
                          const kms_credentials *credentials,
                          char authorization[KMS_SIGV4_AUTHORIZATION_MAX], kms_error *err)
{
    char hex[2 * HASH_SIZE + 1];
    char scope[SCOPE_MAX], text[SCOPE_MAX + 160];
    key_inputs inputs;
    builder b = {.text = authorization, .size = KMS_SIGV4_AUTHORIZATION_MAX};

    if (!fill_inputs(signer, request, credentials, &inputs) ||
        !canonical_hash(signer, request, hex))
        return kms_fail(err, KMS_E_ARGUMENT, "the request's headers can't be signed");

    snprintf(scope, sizeof(scope), "%s/%s/%s/aws4_request", inputs.day, inputs.region,
             inputs.service);
    snprintf(text, sizeof(text), "AWS4-HMAC-SHA256\n%s\n%s\n%s", request->date, scope, hex);
    if (!sign_text(signer, &inputs, credentials, text, hex))
        return kms_fail(err, KMS_E_INTERNAL, "the request can't be signed");

    add(&b, "AWS4-HMAC-SHA256 Credential=");
    add(&b, credentials->access_key_id);
    add(&b, "/");
    add(&b, scope);
    add(&b, ", SignedHeaders=");
    add_signed_names(&b, request);
    add(&b, ", Signature=");
    add(&b, hex);
    if (b.overflow)
        return kms_fail(err, KMS_E_CREDENTIALS_INVALID, "the access key id is too long");
    return KMS_OK;
}
