#include "crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOB_VERSION 1
#define IV_SIZE      12
#define TAG_SIZE     16

static EVP_CIPHER *gcm;
static EVP_MAC *hmac_algorithm;

bool crypto_start(void)
{
    gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    hmac_algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
    return gcm != NULL && hmac_algorithm != NULL;
}

void crypto_stop(void)
{
    EVP_CIPHER_free(gcm);
    EVP_MAC_free(hmac_algorithm);
}

void bytes_clear(bytes *b)
{
    OPENSSL_clear_free(b->data, b->len);
    *b = (bytes){0};
}

static bool room(bytes *b, size_t len)
{
    b->data = OPENSSL_malloc(len > 0 ? len : 1);
    b->len = b->data != NULL ? len : 0;
    return b->data != NULL;
}

bool crypto_supports(const key_spec *spec)
{
    EVP_KEYMGMT *type;

    if (spec->kind != SPEC_ML_DSA && spec->kind != SPEC_ML_KEM)
        return true;
    type = EVP_KEYMGMT_fetch(NULL, spec->group, NULL);
    EVP_KEYMGMT_free(type);
    return type != NULL;
}

static EVP_PKEY *make_pair(const key_spec *spec)
{
    switch (spec->kind) {
    case SPEC_RSA:
        return EVP_RSA_gen(spec->bits);
    case SPEC_EC:
        return EVP_EC_gen(spec->group);
    case SPEC_ED25519:
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    case SPEC_ML_DSA:
    case SPEC_ML_KEM:
        return EVP_PKEY_Q_keygen(NULL, NULL, spec->group);
    default:
        return NULL;
    }
}

static bool pkcs8(const EVP_PKEY *pkey, bytes *out)
{
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(pkey);
    unsigned char *der = NULL;
    int len = info != NULL ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : -1;

    PKCS8_PRIV_KEY_INFO_free(info);
    if (len <= 0)
        return false;
    *out = (bytes){der, (size_t)len};
    return true;
}

bool crypto_generate(const key_spec *spec, bytes *out, EVP_PKEY **parsed)
{
    *parsed = NULL;
    if (spec->kind == SPEC_SYMMETRIC || spec->kind == SPEC_HMAC)
        return room(out, spec->bits / 8) && RAND_priv_bytes(out->data, (int)out->len) == 1;
    *parsed = make_pair(spec);
    if (*parsed != NULL && pkcs8(*parsed, out))
        return true;
    EVP_PKEY_free(*parsed);
    *parsed = NULL;
    return false;
}

/* --- symmetric blobs --- */

static size_t header_size(const family *f)
{
    return 2 + strlen(f->key_id) + MATERIAL_ID_SIZE;
}

static void put_header(const family *f, const material *m, uint8_t *out)
{
    size_t id = strlen(f->key_id);

    out[0] = BLOB_VERSION;
    out[1] = (uint8_t)id;
    memcpy(out + 2, f->key_id, id);
    memcpy(out + 2 + id, m->id, MATERIAL_ID_SIZE);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const cJSON *const *)a)->string, (*(const cJSON *const *)b)->string);
}

static bool add_aad(EVP_CIPHER_CTX *ctx, const void *data, size_t len)
{
    int n;
    uint8_t size[4] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
                       (uint8_t)len};

    return EVP_CipherUpdate(ctx, NULL, &n, size, sizeof(size)) == 1 &&
           (len == 0 || EVP_CipherUpdate(ctx, NULL, &n, data, (int)len) == 1);
}

/* Header, then each pair sorted by name, each with its length: no two contexts look alike. */
static bool bind_context(EVP_CIPHER_CTX *ctx, const uint8_t *header, size_t header_len,
                         const cJSON *context)
{
    int count = cJSON_GetArraySize(context);
    const cJSON **pairs = calloc((size_t)count + 1, sizeof(const cJSON *));
    const cJSON *item = NULL;
    bool ok = pairs != NULL && add_aad(ctx, header, header_len);
    int n = 0;

    if (ok)
        cJSON_ArrayForEach(item, context) pairs[n++] = item;
    if (ok)
        qsort(pairs, (size_t)n, sizeof(const cJSON *), by_name);
    for (int i = 0; ok && i < n; i++)
        ok = add_aad(ctx, pairs[i]->string, strlen(pairs[i]->string)) &&
             add_aad(ctx, pairs[i]->valuestring, strlen(pairs[i]->valuestring));
    free(pairs);
    return ok;
}

bool crypto_seal(const family *f, const cJSON *context, const uint8_t *plain, size_t len,
                 bytes *out)
{
    const material *m = family_current(f);
    size_t header = header_size(f);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;
    bool ok = ctx != NULL && room(out, header + IV_SIZE + len + TAG_SIZE);

    if (ok) {
        uint8_t *iv = out->data + header, *ciphertext = iv + IV_SIZE;
        put_header(f, m, out->data);
        ok = RAND_bytes(iv, IV_SIZE) == 1 &&
             EVP_EncryptInit_ex2(ctx, gcm, m->bytes, iv, NULL) == 1 &&
             bind_context(ctx, out->data, header, context) &&
             EVP_EncryptUpdate(ctx, ciphertext, &n, plain, (int)len) == 1 &&
             EVP_EncryptFinal_ex(ctx, ciphertext + n, &n) == 1 &&
             EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, ciphertext + len) == 1;
    }
    EVP_CIPHER_CTX_free(ctx);
    if (!ok)
        bytes_clear(out);
    return ok;
}

bool crypto_blob_key(const uint8_t *blob, size_t len, char key_id[40], uint8_t material_id[32])
{
    if (len < 2 || blob[0] != BLOB_VERSION || blob[1] < 36 || blob[1] > 36 ||
        len < 2 + (size_t)blob[1] + MATERIAL_ID_SIZE + IV_SIZE + TAG_SIZE + 1)
        return false;
    memcpy(key_id, blob + 2, blob[1]);
    key_id[blob[1]] = '\0';
    memcpy(material_id, blob + 2 + blob[1], MATERIAL_ID_SIZE);
    return true;
}

bool crypto_open(const family *f, const cJSON *context, const uint8_t *blob, size_t len, bytes *out)
{
    size_t header = header_size(f);
    const uint8_t *iv = blob + header, *ciphertext = iv + IV_SIZE;
    size_t body = len - header - IV_SIZE - TAG_SIZE;
    const material *m = NULL;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t tag[TAG_SIZE];
    int n = 0;

    for (size_t i = 0; i < f->material_count; i++)
        if (memcmp(f->materials[i].id, blob + header - MATERIAL_ID_SIZE, MATERIAL_ID_SIZE) == 0)
            m = &f->materials[i];
    memcpy(tag, ciphertext + body, TAG_SIZE);
    bool ok = m != NULL && ctx != NULL && room(out, body) &&
              EVP_DecryptInit_ex2(ctx, gcm, m->bytes, iv, NULL) == 1 &&
              bind_context(ctx, blob, header, context) &&
              EVP_DecryptUpdate(ctx, out->data, &n, ciphertext, (int)body) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) == 1 &&
              EVP_DecryptFinal_ex(ctx, out->data + n, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!ok)
        bytes_clear(out);
    return ok;
}

/* --- key pairs --- */

size_t crypto_digest_size(const algorithm *a)
{
    EVP_MD *md = a->digest != NULL ? EVP_MD_fetch(NULL, a->digest, NULL) : NULL;
    size_t size = md != NULL ? (size_t)EVP_MD_get_size(md) : 0;

    EVP_MD_free(md);
    return size;
}

size_t crypto_oaep_limit(const family *f, const algorithm *a)
{
    return (size_t)EVP_PKEY_get_size(f->parsed) - 2 * crypto_digest_size(a) - 2;
}

bool crypto_oaep(const family *f, const algorithm *a, bool encrypt, const uint8_t *in, size_t len,
                 bytes *out)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, f->parsed, NULL);
    size_t n = (size_t)EVP_PKEY_get_size(f->parsed);
    bool ok = ctx != NULL && room(out, n) &&
              (encrypt ? EVP_PKEY_encrypt_init(ctx) : EVP_PKEY_decrypt_init(ctx)) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
              EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, a->digest, NULL) == 1 &&
              EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, a->digest, NULL) == 1 &&
              (encrypt ? EVP_PKEY_encrypt(ctx, out->data, &n, in, len)
                       : EVP_PKEY_decrypt(ctx, out->data, &n, in, len)) == 1;

    EVP_PKEY_CTX_free(ctx);
    if (!ok)
        bytes_clear(out);
    else
        out->len = n;
    return ok;
}

static bool set_padding(EVP_PKEY_CTX *ctx, const algorithm *a)
{
    if (a->kind != SPEC_RSA)
        return true;
    if (!a->pss)
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1;
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
}

static bool sign_digest(const family *f, const algorithm *a, const uint8_t *digest, size_t len,
                        bytes *out)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, f->parsed, NULL);
    EVP_MD *md = EVP_MD_fetch(NULL, a->digest, NULL);
    bool ok = ctx != NULL && md != NULL && EVP_PKEY_sign_init(ctx) == 1 && set_padding(ctx, a) &&
              EVP_PKEY_CTX_set_signature_md(ctx, md) == 1 &&
              EVP_PKEY_sign(ctx, out->data, &out->len, digest, len) == 1;

    EVP_MD_free(md);
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* Tells ML-DSA that it gets mu in place of the message. */
static bool set_form(EVP_PKEY_CTX *ctx, message_form form)
{
    int yes = 1;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int("mu", &yes),
        OSSL_PARAM_construct_end(),
    };

    return form != FORM_MU || EVP_PKEY_CTX_set_params(ctx, params) == 1;
}

static bool sign_message(const family *f, const algorithm *a, message_form form,
                         const uint8_t *message, size_t len, bytes *out)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pkey_ctx = NULL;
    bool ok = ctx != NULL &&
              EVP_DigestSignInit_ex(ctx, &pkey_ctx, a->digest, NULL, NULL, f->parsed, NULL) == 1 &&
              set_padding(pkey_ctx, a) && set_form(pkey_ctx, form) &&
              EVP_DigestSign(ctx, out->data, &out->len, message, len) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

bool crypto_sign(const family *f, const algorithm *a, message_form form, const uint8_t *message,
                 size_t len, bytes *out)
{
    bool ok = room(out, (size_t)EVP_PKEY_get_size(f->parsed)) &&
              (form == FORM_DIGEST ? sign_digest(f, a, message, len, out)
                                   : sign_message(f, a, form, message, len, out));

    if (!ok)
        bytes_clear(out);
    return ok;
}

static bool verify_digest(const family *f, const algorithm *a, const uint8_t *digest, size_t len,
                          const uint8_t *signature, size_t signature_len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, f->parsed, NULL);
    EVP_MD *md = EVP_MD_fetch(NULL, a->digest, NULL);
    bool ok = ctx != NULL && md != NULL && EVP_PKEY_verify_init(ctx) == 1 && set_padding(ctx, a) &&
              EVP_PKEY_CTX_set_signature_md(ctx, md) == 1 &&
              EVP_PKEY_verify(ctx, signature, signature_len, digest, len) == 1;

    EVP_MD_free(md);
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

bool crypto_verify(const family *f, const algorithm *a, message_form form, const uint8_t *message,
                   size_t len, const uint8_t *signature, size_t signature_len)
{
    EVP_MD_CTX *ctx;
    EVP_PKEY_CTX *pkey_ctx = NULL;

    if (form == FORM_DIGEST)
        return verify_digest(f, a, message, len, signature, signature_len);
    ctx = EVP_MD_CTX_new();
    bool ok =
        ctx != NULL &&
        EVP_DigestVerifyInit_ex(ctx, &pkey_ctx, a->digest, NULL, NULL, f->parsed, NULL) == 1 &&
        set_padding(pkey_ctx, a) && set_form(pkey_ctx, form) &&
        EVP_DigestVerify(ctx, signature, signature_len, message, len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

bool crypto_mac(const family *f, const algorithm *a, const uint8_t *message, size_t len, bytes *out)
{
    const material *m = family_current(f);
    char digest[32];
    OSSL_PARAM params[2];
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(hmac_algorithm);

    snprintf(digest, sizeof(digest), "%s", a->digest);
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
    params[1] = OSSL_PARAM_construct_end();
    bool ok = ctx != NULL && room(out, 64) && EVP_MAC_init(ctx, m->bytes, m->len, params) == 1 &&
              EVP_MAC_update(ctx, message, len) == 1 &&
              EVP_MAC_final(ctx, out->data, &out->len, 64) == 1;
    EVP_MAC_CTX_free(ctx);
    if (!ok)
        bytes_clear(out);
    return ok;
}

bool crypto_public_key(const EVP_PKEY *pkey, bytes *spki)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(pkey, &der);

    if (len <= 0)
        return false;
    *spki = (bytes){der, (size_t)len};
    return true;
}

bool crypto_encapsulate(const family *f, bytes *secret, bytes *ciphertext)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, f->parsed, NULL);
    size_t n = 0, secret_len = 0;
    bool ok = ctx != NULL && EVP_PKEY_encapsulate_init(ctx, NULL) == 1 &&
              EVP_PKEY_encapsulate(ctx, NULL, &n, NULL, &secret_len) == 1 && room(ciphertext, n) &&
              room(secret, secret_len) &&
              EVP_PKEY_encapsulate(ctx, ciphertext->data, &n, secret->data, &secret_len) == 1;

    EVP_PKEY_CTX_free(ctx);
    if (!ok) {
        bytes_clear(ciphertext);
        bytes_clear(secret);
    }
    return ok;
}

bool crypto_decapsulate(const family *f, const uint8_t *ciphertext, size_t len, bytes *secret)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, f->parsed, NULL);
    size_t n = 0;
    bool ok = ctx != NULL && EVP_PKEY_decapsulate_init(ctx, NULL) == 1 &&
              EVP_PKEY_decapsulate(ctx, NULL, &n, ciphertext, len) == 1 && room(secret, n) &&
              EVP_PKEY_decapsulate(ctx, secret->data, &n, ciphertext, len) == 1;

    EVP_PKEY_CTX_free(ctx);
    if (!ok)
        bytes_clear(secret);
    return ok;
}

bool crypto_derive(const family *f, const uint8_t *peer, size_t len, bytes *secret)
{
    const unsigned char *at = peer;
    EVP_PKEY *other = d2i_PUBKEY(NULL, &at, (long)len);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, f->parsed, NULL);
    size_t n = 66;
    bool ok = other != NULL && at == peer + len && ctx != NULL && room(secret, n) &&
              EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, other) == 1 &&
              EVP_PKEY_derive(ctx, secret->data, &n) == 1;

    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(other);
    if (!ok)
        bytes_clear(secret);
    else
        secret->len = n;
    return ok;
}
