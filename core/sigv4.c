#include "core/sigv4.h"

#include "core/lock.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define HASH_SIZE  ((size_t)32)
#define HASH_BLOCK 64                /* of SHA-256, for HMAC */
#define TEXT_MAX   (SCOPE_MAX + 160) /* of the string to sign */
#define SCOPE_MAX  128

/* The signing key's inputs; while they stay the same, so does the key. */
typedef struct key_inputs {
    char day[9];
    char region[32];
    char service[16];
} key_inputs;

struct kms_sigv4 {
    EVP_MD *sha256;
    kms_lock lock;
    kms_secret key;    /* signing key; empty: none yet */
    key_inputs inputs; /* of the key, with the secret access key that it was derived from */
    kms_secret derived_from;
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
    if (signer->sha256 == NULL) {
        kms_sigv4_free(signer);
        return kms_fail(err, KMS_E_INTERNAL, "SHA-256 is not available");
    }
    *out = signer;
    return KMS_OK;
}

void kms_sigv4_free(kms_sigv4 *signer)
{
    if (signer == NULL)
        return;
    kms_secret_clear(&signer->key);
    kms_secret_clear(&signer->derived_from);
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

/* What a signature has in locked memory. */
typedef struct secrets {
    uint8_t key[HASH_SIZE];               /* the signing key */
    uint8_t block[HASH_BLOCK + TEXT_MAX]; /* what an HMAC hashes */
} secrets;

/* One signature in the making: its hashes share a context. */
typedef struct signing {
    const EVP_MD *sha256;
    EVP_MD_CTX *hash;
    secrets *secrets;
} signing;

/* To be ended also where it fails. */
static bool begin(const kms_sigv4 *signer, signing *s)
{
    *s = (signing){.sha256 = signer->sha256,
                   .hash = EVP_MD_CTX_new(),
                   .secrets = kms_locked_alloc(sizeof(*s->secrets))};
    return s->hash != NULL && s->secrets != NULL;
}

static void end(signing *s)
{
    EVP_MD_CTX_free(s->hash);
    kms_locked_free(s->secrets);
}

static bool sha256(signing *s, kms_bytes data, uint8_t out[HASH_SIZE])
{
    return EVP_DigestInit_ex2(s->hash, s->sha256, NULL) == 1 &&
           EVP_DigestUpdate(s->hash, data.data, data.len) == 1 &&
           EVP_DigestFinal_ex(s->hash, out, NULL) == 1;
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

static void add_scope(builder *b, const key_inputs *inputs)
{
    add(b, inputs->day);
    add(b, "/");
    add(b, inputs->region);
    add(b, "/");
    add(b, inputs->service);
    add(b, "/aws4_request");
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
static kms_status canonical_hash(signing *s, const kms_sigv4_request *request,
                                 char hex[2 * HASH_SIZE + 1], kms_error *err)
{
    uint8_t hash[HASH_SIZE];
    kms_secret text = {0};
    kms_status st = kms_secret_reserve(&text, canonical_size(request), err);
    builder b = {.text = (char *)text.data, .size = text.cap};
    bool ok = st == KMS_OK && sha256(s, request->body, hash);

    if (ok) {
        to_hex(hash, hex);
        add_canonical(&b, request, hex);
        ok = !b.overflow && sha256(s, (kms_bytes){text.data, b.len}, hash);
        to_hex(hash, hex);
    }
    kms_secret_clear(&text);
    if (st == KMS_OK && !ok)
        st = kms_fail(err, KMS_E_INTERNAL, "the request can't be hashed");
    return st;
}

/* out = HMAC-SHA-256(key, text) as RFC 2104 has it; out may be the key. Not by EVP_MAC, which costs
 * three times as much a signature, most of it for copies of the key in ordinary memory. */
static bool hmac(signing *s, kms_bytes key, const char *text, uint8_t out[HASH_SIZE])
{
    size_t len = strlen(text);
    uint8_t *block = s->secrets->block;

    if (len > TEXT_MAX)
        return false;
    memset(block, 0, HASH_BLOCK);
    if (key.len <= HASH_BLOCK)
        memcpy(block, key.data, key.len);
    else if (!sha256(s, key, block))
        return false;
    for (size_t i = 0; i < HASH_BLOCK; i++)
        block[i] ^= 0x36;
    memcpy(block + HASH_BLOCK, text, len); /* NOLINT(bugprone-not-null-terminated-result) */
    if (!sha256(s, (kms_bytes){block, HASH_BLOCK + len}, out))
        return false;
    for (size_t i = 0; i < HASH_BLOCK; i++)
        block[i] ^= 0x36 ^ 0x5c;
    memcpy(block + HASH_BLOCK, out, HASH_SIZE);
    return sha256(s, (kms_bytes){block, HASH_BLOCK + HASH_SIZE}, out);
}

/* Derives the signing key into s->secrets->key. */
static kms_status derive(signing *s, const key_inputs *inputs, kms_bytes secret, kms_error *err)
{
    uint8_t *key = s->secrets->key;
    const char *const steps[] = {inputs->region, inputs->service, "aws4_request"};
    kms_secret first = {0};
    kms_status st = kms_secret_copy(&first, (kms_bytes){(const uint8_t *)"AWS4", 4}, err);
    bool ok;

    if (st == KMS_OK)
        st = kms_secret_append(&first, secret, err);
    ok = st == KMS_OK && hmac(s, kms_secret_bytes(&first), inputs->day, key);
    for (size_t i = 0; ok && i < sizeof(steps) / sizeof(steps[0]); i++)
        ok = hmac(s, (kms_bytes){key, HASH_SIZE}, steps[i], key);
    kms_secret_clear(&first);
    if (st == KMS_OK && !ok)
        st = kms_fail(err, KMS_E_INTERNAL, "the signing key can't be derived");
    return st;
}

static bool is_known(const kms_sigv4 *signer, const key_inputs *inputs, kms_bytes secret)
{
    return signer->key.len > 0 && signer->derived_from.len == secret.len &&
           CRYPTO_memcmp(signer->derived_from.data, secret.data, secret.len) == 0 &&
           memcmp(inputs, &signer->inputs, sizeof(*inputs)) == 0;
}

/* Puts the signing key into s->secrets->key: a copy of the kept one, or one derived anew and then
 * kept. */
static kms_status find_key(kms_sigv4 *signer, signing *s, const key_inputs *inputs,
                           kms_bytes secret, kms_error *err)
{
    kms_secret kept = {0}, derived_from = {0};
    bool known;
    kms_status st;

    kms_lock_take(&signer->lock);
    known = is_known(signer, inputs, secret);
    if (known)
        memcpy(s->secrets->key, signer->key.data, HASH_SIZE);
    kms_lock_give(&signer->lock);
    if (known)
        return KMS_OK;

    st = derive(s, inputs, secret, err);
    if (st == KMS_OK)
        st = kms_secret_copy(&kept, (kms_bytes){s->secrets->key, HASH_SIZE}, err);
    if (st == KMS_OK)
        st = kms_secret_copy(&derived_from, secret, err);
    if (st == KMS_OK) {
        kms_lock_take(&signer->lock);
        kms_secret_move(&signer->key, &kept);
        kms_secret_move(&signer->derived_from, &derived_from);
        signer->inputs = *inputs;
        kms_lock_give(&signer->lock);
    }
    kms_secret_clear(&kept);
    kms_secret_clear(&derived_from);
    return st;
}

static bool fill_inputs(const kms_sigv4_request *request, key_inputs *inputs)
{
    *inputs = (key_inputs){0};
    if (strlen(request->date) != KMS_SIGV4_DATE_SIZE - 1 ||
        strlen(request->region) >= sizeof(inputs->region) ||
        strlen(request->service) >= sizeof(inputs->service))
        return false;
    memcpy(inputs->day, request->date, 8);
    memcpy(inputs->region, request->region, strlen(request->region));
    memcpy(inputs->service, request->service, strlen(request->service));
    return true;
}

/* hex: in, the hash of the canonical request; out, the signature. */
static kms_status sign_hash(kms_sigv4 *signer, signing *s, const key_inputs *inputs,
                            const char *scope, const char *date, kms_bytes secret,
                            char hex[2 * HASH_SIZE + 1], kms_error *err)
{
    char text[TEXT_MAX];
    uint8_t signature[HASH_SIZE];
    builder b = {.text = text, .size = sizeof(text)};
    kms_status st = find_key(signer, s, inputs, secret, err);

    add(&b, "AWS4-HMAC-SHA256\n");
    add(&b, date);
    add(&b, "\n");
    add(&b, scope);
    add(&b, "\n");
    add(&b, hex);
    if (st == KMS_OK && !hmac(s, (kms_bytes){s->secrets->key, HASH_SIZE}, text, signature))
        st = kms_fail(err, KMS_E_INTERNAL, "the request can't be signed");
    if (st == KMS_OK)
        to_hex(signature, hex);
    return st;
}

kms_status kms_sigv4_sign(kms_sigv4 *signer, const kms_sigv4_request *request,
                          const kms_credentials *credentials,
                          /* NOLINTNEXTLINE(readability-non-const-parameter): the builder writes */
                          char authorization[KMS_SIGV4_AUTHORIZATION_MAX], kms_error *err)
{
    char hex[2 * HASH_SIZE + 1], scope[SCOPE_MAX];
    key_inputs inputs;
    builder b = {.text = scope, .size = sizeof(scope)};
    signing s;
    bool ready;
    kms_status st;

    if (!fill_inputs(request, &inputs))
        return kms_fail(err, KMS_E_ARGUMENT, "date, region or service can't be signed");
    add_scope(&b, &inputs);
    ready = begin(signer, &s);
    if (ready)
        st = canonical_hash(&s, request, hex, err);
    else
        st = kms_fail(err, s.hash == NULL ? KMS_E_NO_MEMORY : KMS_E_MEMORY_LOCK, "signature");
    if (ready && st == KMS_OK)
        st = sign_hash(signer, &s, &inputs, scope, request->date,
                       kms_secret_bytes(&credentials->secret_access_key), hex, err);
    end(&s);
    if (st != KMS_OK)
        return st;

    b = (builder){.text = authorization, .size = KMS_SIGV4_AUTHORIZATION_MAX};
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
