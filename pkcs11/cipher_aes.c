/* AES with data keys, in this process.
 *
 * CTR, CBC and GCM encryption stream. GCM decryption gives no byte before the tag was verified
 * (mechanisms v2.40, 2.12.2): parts are collected in their encrypted form, and a single call writes
 * into the caller's buffer, which is cleansed when the tag is wrong. */
#include "pkcs11/object.h"
#include "pkcs11/operation.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK      ((size_t)16)
#define CHUNK      ((size_t)1 << 30) /* EVP counts in int */
#define GCM_IV_MAX ((CK_ULONG)128)   /* OpenSSL's limit; the standard's is 256 */

/* --- starting --- */

typedef struct start {
    const char *mode; /* "GCM" */
    const uint8_t *iv;
    size_t iv_len; /* 0: the block, as the mode prescribes it */
    kms_bytes aad;
} start;

static bool set_up(p11_operation *op, const EVP_CIPHER *cipher, const start *s)
{
    EVP_CIPHER_CTX *evp = op->evp;
    const int encrypt = op->cipher->encrypts;
    int n;

    return EVP_CipherInit_ex2(evp, cipher, NULL, NULL, encrypt, NULL) == 1 &&
           (s->iv_len == 0 ||
            EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_SET_IVLEN, (int)s->iv_len, NULL) == 1) &&
           EVP_CipherInit_ex2(evp, NULL, op->key->value.data, s->iv, encrypt, NULL) == 1 &&
           (s->aad.len == 0 || EVP_CipherUpdate(evp, NULL, &n, s->aad.data, (int)s->aad.len) == 1);
}

static CK_RV begin(p11_operation *op, const start *s)
{
    OSSL_LIB_CTX *libctx = kms_client_libctx(op->module->client);
    EVP_CIPHER *cipher = NULL;
    char name[16];
    CK_RV rv;

    if (op->evp == NULL)
        op->evp = EVP_CIPHER_CTX_new();
    if (libctx == NULL || op->evp == NULL)
        return CKR_HOST_MEMORY;
    snprintf(name, sizeof(name), "AES-%zu-%s", op->key->value.len * 8, s->mode);
    cipher = EVP_CIPHER_fetch(libctx, name, NULL);
    rv = cipher != NULL && set_up(op, cipher, s) ? CKR_OK : CKR_FUNCTION_FAILED;
    EVP_CIPHER_free(cipher);
    return rv;
}

static CK_RV gcm_init(p11_operation *op, const CK_MECHANISM *mechanism)
{
    const CK_GCM_PARAMS *gcm = mechanism->pParameter;

    if (gcm == NULL || mechanism->ulParameterLen != sizeof(*gcm) || gcm->pIv == NULL ||
        gcm->ulIvLen == 0 || gcm->ulIvLen > GCM_IV_MAX || gcm->ulAADLen > CHUNK ||
        (gcm->pAAD == NULL && gcm->ulAADLen != 0) || gcm->ulTagBits % 8 != 0 ||
        gcm->ulTagBits < 96 || gcm->ulTagBits > 128)
        return CKR_MECHANISM_PARAM_INVALID;
    op->tag_len = gcm->ulTagBits / 8;
    return begin(op, &(start){.mode = "GCM",
                              .iv = gcm->pIv,
                              .iv_len = gcm->ulIvLen,
                              .aad = {gcm->pAAD, gcm->ulAADLen}});
}

static CK_RV cbc_init(p11_operation *op, const CK_MECHANISM *mechanism)
{
    if (mechanism->pParameter == NULL || mechanism->ulParameterLen != BLOCK)
        return CKR_MECHANISM_PARAM_INVALID;
    memcpy(op->iv, mechanism->pParameter, BLOCK);
    op->holds_back = true;
    return begin(op, &(start){.mode = "CBC", .iv = op->iv});
}

/* Blocks until a counter in the low `bits` bits of the block comes round, or 0 where that is out of
 * reach. OpenSSL counts in all 128 bits, so further it would go another way than the standard, and
 * the key stream would repeat. */
static uint64_t blocks_left(const uint8_t block[16], CK_ULONG bits)
{
    const CK_ULONG low_bits = bits < 64 ? bits : 64;
    uint64_t low = 0, period;

    for (CK_ULONG i = 64; i < bits; i++)
        if ((block[15 - i / 8] >> (i % 8) & 1) == 0)
            return 0;
    if (bits == 128)
        return 0;
    for (int i = 8; i < 16; i++)
        low = low << 8 | block[i];
    period = low_bits == 64 ? 0 : (uint64_t)1 << low_bits;
    return period - (period == 0 ? low : low & (period - 1));
}

static CK_RV ctr_init(p11_operation *op, const CK_MECHANISM *mechanism)
{
    const CK_AES_CTR_PARAMS *ctr = mechanism->pParameter;

    if (ctr == NULL || mechanism->ulParameterLen != sizeof(*ctr) || ctr->ulCounterBits == 0 ||
        ctr->ulCounterBits > 128)
        return CKR_MECHANISM_PARAM_INVALID;
    op->blocks = blocks_left(ctr->cb, ctr->ulCounterBits);
    return begin(op, &(start){.mode = "CTR", .iv = ctr->cb});
}

/* --- streaming --- */

static bool overlap(kms_bytes in, const uint8_t *out)
{
    const uintptr_t from = (uintptr_t)in.data, to = (uintptr_t)out;

    return to < from + in.len && from < to + in.len + BLOCK;
}

/* In CBC the output may run ahead of the input by a part of a block, and would then overwrite input
 * that was not read yet where the caller works in place (the standard allows it). So each part is
 * copied before the output of the one before it is written. */
static CK_RV stream_in_place(p11_operation *op, kms_bytes in, uint8_t *out, size_t *len)
{
    uint8_t parts[2][1024];
    size_t part_len = in.len < sizeof(parts[0]) ? in.len : sizeof(parts[0]), next_len;
    CK_RV rv = CKR_OK;
    int now = 0, n = 0;

    memcpy(parts[now], in.data, part_len);
    for (; part_len != 0 && rv == CKR_OK; part_len = next_len, now = 1 - now) {
        in.data += part_len;
        in.len -= part_len;
        next_len = in.len < sizeof(parts[0]) ? in.len : sizeof(parts[0]);
        memcpy(parts[1 - now], in.data, next_len);
        if (EVP_CipherUpdate(op->evp, out + *len, &n, parts[now], (int)part_len) != 1)
            rv = CKR_FUNCTION_FAILED;
        *len += (size_t)n;
    }
    OPENSSL_cleanse(parts, sizeof(parts));
    return rv;
}

/* out has room for what EVP gives; *len is what it gave. */
static CK_RV stream(p11_operation *op, kms_bytes in, uint8_t *out, size_t *len)
{
    *len = 0;
    op->total += in.len;
    if (op->blocks != 0 && (op->total - 1) / BLOCK >= op->blocks && op->total != 0)
        return CKR_DATA_LEN_RANGE;
    if (op->holds_back && overlap(in, out))
        return stream_in_place(op, in, out, len);
    while (in.len != 0) {
        size_t chunk = in.len < CHUNK ? in.len : CHUNK;
        int n = 0;
        if (EVP_CipherUpdate(op->evp, out + *len, &n, in.data, (int)chunk) != 1)
            return CKR_FUNCTION_FAILED;
        *len += (size_t)n;
        in.data += chunk;
        in.len -= chunk;
    }
    return CKR_OK;
}

static CK_RV stream_update(p11_operation *op, kms_bytes in, uint8_t *out)
{
    size_t len;

    return stream(op, in, out, &len);
}

static size_t same_size(const p11_operation *op, size_t len)
{
    (void)op;
    return len;
}

static size_t ctr_final_size(const p11_operation *op)
{
    (void)op;
    return 0;
}

static CK_RV ctr_final(p11_operation *op, p11_output *out)
{
    (void)op;
    out->len = 0;
    return CKR_OK;
}

static size_t gcm_encrypt_final_size(const p11_operation *op)
{
    return op->tag_len;
}

static size_t gcm_encrypt_single_size(const p11_operation *op, size_t len)
{
    return len + op->tag_len;
}

static CK_RV gcm_encrypt_final(p11_operation *op, p11_output *out)
{
    int none = 0;

    if (EVP_CipherFinal_ex(op->evp, out->data, &none) != 1 ||
        EVP_CIPHER_CTX_ctrl(op->evp, EVP_CTRL_AEAD_GET_TAG, (int)op->tag_len, out->data) != 1)
        return CKR_FUNCTION_FAILED;
    out->len = op->tag_len;
    return CKR_OK;
}

static size_t cbc_encrypt_update_size(const p11_operation *op, size_t len)
{
    return (op->total % BLOCK + len) / BLOCK * BLOCK;
}

static size_t cbc_final_size(const p11_operation *op)
{
    (void)op;
    return BLOCK;
}

static size_t cbc_encrypt_single_size(const p11_operation *op, size_t len)
{
    (void)op;
    return (len / BLOCK + 1) * BLOCK;
}

static CK_RV cbc_encrypt_final(p11_operation *op, p11_output *out)
{
    int n = 0;

    if (EVP_CipherFinal_ex(op->evp, out->data, &n) != 1)
        return CKR_FUNCTION_FAILED;
    out->len = (size_t)n;
    return CKR_OK;
}

/* All at once, where the sizes are exact: room was checked. */
static CK_RV stream_single(p11_operation *op, kms_bytes in, p11_output *out)
{
    p11_output last;
    size_t len;
    CK_RV rv = stream(op, in, out->data, &len);

    if (rv == CKR_OK) {
        last = (p11_output){.data = out->data + len, .room = out->room - len};
        rv = op->cipher->final(op, &last);
        out->len = len + last.len;
    }
    return rv;
}

/* --- CBC decryption: the last block, which may be padding, is held back --- */

static size_t cbc_given(uint64_t total)
{
    return total == 0 ? 0 : (size_t)((total - 1) / BLOCK * BLOCK);
}

static size_t cbc_decrypt_update_size(const p11_operation *op, size_t len)
{
    return cbc_given(op->total + len) - cbc_given(op->total);
}

/* The last block without its padding; last has room for a block. One answer for every fault. */
static CK_RV cbc_last_block(p11_operation *op, uint8_t last[16], size_t *len)
{
    int n = 0;

    if (op->total == 0 || op->total % BLOCK != 0)
        return CKR_ENCRYPTED_DATA_LEN_RANGE;
    if (EVP_CipherFinal_ex(op->evp, last, &n) != 1)
        return CKR_ENCRYPTED_DATA_INVALID;
    *len = (size_t)n;
    return CKR_OK;
}

static CK_RV cbc_decrypt_final(p11_operation *op, p11_output *out)
{
    uint8_t last[16];
    size_t len = 0;
    CK_RV rv = cbc_last_block(op, last, &len);

    if (rv == CKR_OK)
        rv = p11_operation_give(op, (kms_bytes){last, len}, out);
    OPENSSL_cleanse(last, sizeof(last));
    return rv;
}

static CK_RV cbc_from(p11_operation *op, const uint8_t *iv)
{
    op->total = 0;
    return EVP_CipherInit_ex2(op->evp, NULL, NULL, iv, -1, NULL) == 1 ? CKR_OK
                                                                      : CKR_FUNCTION_FAILED;
}

/* The last block alone, which says how much there is, and leaves the operation at its beginning. */
static CK_RV cbc_peek(p11_operation *op, kms_bytes in, uint8_t last[16], size_t *len)
{
    const uint8_t *block = in.data + in.len - BLOCK;
    size_t none = 0;
    CK_RV rv = cbc_from(op, in.len == BLOCK ? op->iv : block - BLOCK);

    if (rv == CKR_OK)
        rv = stream(op, (kms_bytes){block, BLOCK}, last, &none);
    if (rv == CKR_OK)
        rv = cbc_last_block(op, last, len);
    return rv == CKR_OK ? cbc_from(op, op->iv) : rv;
}

/* Nothing is written before it is clear that the padding is right and the result fits. */
static CK_RV cbc_decrypt_single(p11_operation *op, kms_bytes in, p11_output *out)
{
    uint8_t last[16];
    size_t len = 0, last_len = 0;
    CK_RV rv;

    if (in.len == 0 || in.len % BLOCK != 0)
        return CKR_ENCRYPTED_DATA_LEN_RANGE;
    rv = cbc_peek(op, in, last, &last_len);
    out->len = in.len - BLOCK + last_len;
    if (rv == CKR_OK && out->room < out->len)
        rv = CKR_BUFFER_TOO_SMALL;
    if (rv == CKR_OK)
        rv = stream(op, in, out->data, &len);
    if (rv == CKR_OK && last_len != 0)
        memcpy(out->data + len, last, last_len);
    OPENSSL_cleanse(last, sizeof(last));
    return rv;
}

/* --- GCM decryption --- */

static size_t nothing_yet(const p11_operation *op, size_t len)
{
    (void)op;
    (void)len;
    return 0;
}

static CK_RV gcm_decrypt_update(p11_operation *op, kms_bytes in, uint8_t *out)
{
    size_t wanted, room;
    uint8_t *grown;

    (void)out;
    if (in.len == 0)
        return CKR_OK;
    wanted = op->sealed.len + in.len;
    if (wanted < in.len || wanted > SIZE_MAX / 2)
        return CKR_ENCRYPTED_DATA_LEN_RANGE;
    if (wanted > op->sealed_room) {
        room = wanted + wanted / 2;
        grown = realloc(op->sealed.data, room);
        if (grown == NULL)
            return CKR_HOST_MEMORY;
        op->sealed.data = grown;
        op->sealed_room = room;
    }
    memcpy(op->sealed.data + op->sealed.len, in.data, in.len);
    op->sealed.len = wanted;
    return CKR_OK;
}

static size_t gcm_decrypt_single_size(const p11_operation *op, size_t len)
{
    return len > op->tag_len ? len - op->tag_len : 0;
}

static size_t gcm_decrypt_final_size(const p11_operation *op)
{
    return gcm_decrypt_single_size(op, op->sealed.len);
}

static CK_RV gcm_decrypt_single(p11_operation *op, kms_bytes in, p11_output *out)
{
    uint8_t tag[16], none[16];
    size_t len;
    int n = 0;
    CK_RV rv;

    if (in.len < op->tag_len)
        return CKR_ENCRYPTED_DATA_LEN_RANGE;
    in.len -= op->tag_len;
    /* Before decryption, which may be in place. */
    memcpy(tag, in.data + in.len, op->tag_len);
    rv = stream(op, in, out->data, &len);
    if (rv == CKR_OK &&
        (EVP_CIPHER_CTX_ctrl(op->evp, EVP_CTRL_AEAD_SET_TAG, (int)op->tag_len, tag) != 1 ||
         EVP_CipherFinal_ex(op->evp, none, &n) != 1))
        rv = CKR_ENCRYPTED_DATA_INVALID;
    if (rv != CKR_OK && in.len != 0)
        OPENSSL_cleanse(out->data, in.len);
    out->len = in.len;
    return rv;
}

static CK_RV gcm_decrypt_final(p11_operation *op, p11_output *out)
{
    return gcm_decrypt_single(op, (kms_bytes){op->sealed.data, op->sealed.len}, out);
}

const p11_cipher p11_gcm_encrypt = {
    .init = gcm_init,
    .update_size = same_size,
    .final_size = gcm_encrypt_final_size,
    .update = stream_update,
    .final = gcm_encrypt_final,
    .single_size = gcm_encrypt_single_size,
    .single = stream_single,
    .exact = true,
    .encrypts = true,
};

const p11_cipher p11_gcm_decrypt = {
    .init = gcm_init,
    .update_size = nothing_yet,
    .final_size = gcm_decrypt_final_size,
    .update = gcm_decrypt_update,
    .final = gcm_decrypt_final,
    .single_size = gcm_decrypt_single_size,
    .single = gcm_decrypt_single,
    .exact = true,
};

const p11_cipher p11_cbc_encrypt = {
    .init = cbc_init,
    .update_size = cbc_encrypt_update_size,
    .final_size = cbc_final_size,
    .update = stream_update,
    .final = cbc_encrypt_final,
    .single_size = cbc_encrypt_single_size,
    .single = stream_single,
    .exact = true,
    .encrypts = true,
};

const p11_cipher p11_cbc_decrypt = {
    .init = cbc_init,
    .update_size = cbc_decrypt_update_size,
    .final_size = cbc_final_size,
    .update = stream_update,
    .final = cbc_decrypt_final,
    .single_size = same_size,
    .single = cbc_decrypt_single,
};

/* Decryption is encryption. */
const p11_cipher p11_ctr = {
    .init = ctr_init,
    .update_size = same_size,
    .final_size = ctr_final_size,
    .update = stream_update,
    .final = ctr_final,
    .single_size = same_size,
    .single = stream_single,
    .exact = true,
    .encrypts = true,
};
