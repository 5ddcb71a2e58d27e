/* C_Encrypt… and C_Decrypt…: locally with data keys, in KMS with CKM_KMS_ENCRYPT.
 *
 * GCM decryption and everything by KMS hold their data back until the end: plaintext whose tag was
 * not verified is never given out (v2.40, 2.12.2 of the mechanisms). The other modes stream. */
#include "pkcs11/module.h"

#include "include/kms/kms_pkcs11.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <stdio.h>
#include <string.h>

#define BLOCK    ((CK_ULONG)16)
#define ONCE_MAX ((CK_ULONG)1 << 30) /* EVP counts in int */

static bool holds_back(const operation *op)
{
    return op->mechanism->by == BY_KMS ||
           (op->mechanism->type == CKM_AES_GCM && op->kind == OPERATION_DECRYPT);
}

/* --- starting --- */

static EVP_CIPHER *fetch(const operation *op)
{
    char name[32];

    snprintf(name, sizeof(name),
             op->mechanism->type == CKM_AES_GCM       ? "AES-%zu-GCM"
             : op->mechanism->type == CKM_AES_CBC_PAD ? "AES-%zu-CBC"
                                                      : "AES-%zu-CTR",
             op->key->value.len * 8);
    return EVP_CIPHER_fetch(kms_client_libctx(module_root()->client), name, NULL);
}

/* The IV out of the mechanism's parameter, by mechanism. */
static CK_RV read_iv(operation *op, const CK_MECHANISM *mechanism, const uint8_t **iv, size_t *len)
{
    const CK_GCM_PARAMS *gcm = mechanism->pParameter;
    const CK_AES_CTR_PARAMS *ctr = mechanism->pParameter;

    *len = BLOCK;
    if (mechanism->pParameter == NULL)
        return CKR_MECHANISM_PARAM_INVALID;
    switch (mechanism->mechanism) {
    case CKM_AES_CBC_PAD:
        *iv = mechanism->pParameter;
        return mechanism->ulParameterLen == BLOCK ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
    case CKM_AES_CTR:
        /* OpenSSL counts in all 128 bits; a shorter counter would wrap elsewhere. */
        if (mechanism->ulParameterLen != sizeof(*ctr) || ctr->ulCounterBits == 0 ||
            ctr->ulCounterBits > 128)
            return CKR_MECHANISM_PARAM_INVALID;
        *iv = ctr->cb;
        return CKR_OK;
    default:
        if (mechanism->ulParameterLen != sizeof(*gcm) || gcm->pIv == NULL || gcm->ulIvLen == 0 ||
            gcm->ulIvLen > 128 || gcm->ulTagBits % 8 != 0 || gcm->ulTagBits < 96 ||
            gcm->ulTagBits > 128 || (gcm->pAAD == NULL && gcm->ulAADLen > 0) ||
            gcm->ulAADLen > ONCE_MAX)
            return CKR_MECHANISM_PARAM_INVALID;
        *iv = gcm->pIv;
        *len = gcm->ulIvLen;
        op->tag_len = gcm->ulTagBits / 8;
        return CKR_OK;
    }
}

static CK_RV start_cipher(operation *op, const CK_MECHANISM *mechanism)
{
    const uint8_t *iv = NULL;
    size_t iv_len = 0;
    int n, encrypt = op->kind == OPERATION_ENCRYPT;
    const CK_GCM_PARAMS *gcm = mechanism->pParameter;
    EVP_CIPHER *cipher;
    CK_RV rv = read_iv(op, mechanism, &iv, &iv_len);

    if (rv != CKR_OK)
        return rv;
    if (op->cipher == NULL && (op->cipher = EVP_CIPHER_CTX_new()) == NULL)
        return CKR_HOST_MEMORY;
    cipher = fetch(op);
    if (cipher == NULL)
        return CKR_FUNCTION_FAILED;
    bool ok = EVP_CipherInit_ex2(op->cipher, cipher, NULL, NULL, encrypt, NULL) == 1 &&
              (op->tag_len == 0 ||
               EVP_CIPHER_CTX_ctrl(op->cipher, EVP_CTRL_AEAD_SET_IVLEN, (int)iv_len, NULL) == 1) &&
              EVP_CipherInit_ex2(op->cipher, NULL, op->key->value.data, iv, encrypt, NULL) == 1 &&
              (op->tag_len == 0 || gcm->ulAADLen == 0 ||
               EVP_CipherUpdate(op->cipher, NULL, &n, gcm->pAAD, (int)gcm->ulAADLen) == 1);
    EVP_CIPHER_free(cipher);
    return ok ? CKR_OK : CKR_FUNCTION_FAILED;
}

static CK_RV check_key(const operation *op)
{
    const object *key = op->key;

    if ((op->mechanism->by == BY_KMS) != (key->kms != NULL))
        return CKR_KEY_TYPE_INCONSISTENT;
    if (!(op->kind == OPERATION_ENCRYPT ? key->encrypt : key->decrypt))
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    return CKR_OK;
}

static CK_RV start(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                   operation_kind kind)
{
    session *s;
    operation *op;
    CK_RV rv = session_enter(handle, &s);

    if (rv != CKR_OK)
        return rv;
    op = &s->operation;
    if (op->kind != OPERATION_NONE) {
        session_leave(s);
        return CKR_OPERATION_ACTIVE;
    }
    op->kind = kind;
    if (mechanism == NULL)
        rv = CKR_ARGUMENTS_BAD;
    else if ((op->mechanism = mechanism_find(mechanism->mechanism)) == NULL ||
             !(op->mechanism->flags & (kind == OPERATION_ENCRYPT ? CKF_ENCRYPT : CKF_DECRYPT)))
        rv = CKR_MECHANISM_INVALID;
    else if ((op->key = object_get(key)) == NULL)
        rv = CKR_KEY_HANDLE_INVALID;
    if (rv == CKR_OK)
        rv = check_key(op);
    if (rv == CKR_OK)
        rv = op->mechanism->by == BY_KMS
                 ? mechanism_context(mechanism,
                                     kind == OPERATION_ENCRYPT ? "C_EncryptInit" : "C_DecryptInit",
                                     &op->context)
                 : start_cipher(op, mechanism);
    if (rv != CKR_OK)
        operation_end(op);
    session_leave(s);
    return rv;
}

CK_RV C_EncryptInit(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return start(handle, mechanism, key, OPERATION_ENCRYPT);
}

CK_RV C_DecryptInit(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return start(handle, mechanism, key, OPERATION_DECRYPT);
}

/* --- going on and ending --- */

static bool is_cbc_decrypt(const operation *op)
{
    return op->mechanism->type == CKM_AES_CBC_PAD && op->kind == OPERATION_DECRYPT;
}

/* Output of an Update with len more bytes, exactly. */
static CK_ULONG update_size(const operation *op, CK_ULONG len)
{
    CK_ULONG waiting = op->total % BLOCK + len;

    if (holds_back(op))
        return 0;
    if (op->mechanism->type != CKM_AES_CBC_PAD)
        return len;
    /* Decryption keeps the last whole block back, which may be the padding. */
    if (op->kind == OPERATION_DECRYPT) {
        waiting = op->total - op->given + len;
        return waiting == 0 ? 0 : (waiting - 1) / BLOCK * BLOCK;
    }
    return waiting / BLOCK * BLOCK;
}

/* Output of the end after len more bytes: exact, but for KMS and for CBC decryption, where it is
 * the limit. */
static CK_ULONG final_size(const operation *op, CK_ULONG len)
{
    CK_ULONG all = op->total + len;

    if (op->done)
        return op->held.len;
    if (op->mechanism->by == BY_KMS)
        return op->kind == OPERATION_ENCRYPT ? KMS_CIPHERTEXT_MAX : KMS_PLAINTEXT_MAX;
    if (holds_back(op))
        return all > op->tag_len ? all - op->tag_len : 0;
    if (op->mechanism->type == CKM_AES_CBC_PAD)
        return op->kind == OPERATION_ENCRYPT ? (all / BLOCK + 1) * BLOCK - op->given
                                             : all - op->given;
    return all - op->given + op->tag_len;
}

static CK_RV update(operation *op, const uint8_t *in, CK_ULONG len, uint8_t *out, CK_ULONG *out_len)
{
    kms_error err = {0};
    int n = 0;

    if (len > ONCE_MAX - op->total)
        return CKR_DATA_LEN_RANGE;
    if (holds_back(op)) {
        if (kms_secret_append(&op->held, (kms_bytes){in, len}, &err) != KMS_OK)
            return module_fail("C_DecryptUpdate", &err);
    } else if (EVP_CipherUpdate(op->cipher, out, &n, in, (int)len) != 1) {
        return CKR_FUNCTION_FAILED;
    }
    op->total += len;
    op->given += (CK_ULONG)n;
    *out_len = (CK_ULONG)n;
    return CKR_OK;
}

/* Replaces what is held by the operation's result. */
static CK_RV keep_result(operation *op, kms_bytes result)
{
    kms_secret kept = {0};

    if (kms_secret_copy(&kept, result, NULL) != KMS_OK)
        return CKR_HOST_MEMORY;
    kms_secret_move(&op->held, &kept);
    op->done = true;
    return CKR_OK;
}

static CK_RV finish_in_kms(operation *op, const char *function)
{
    struct module *m = module_root();
    kms_bytes in = kms_secret_bytes(&op->held);
    kms_buffer wrapped = {0};
    kms_secret plaintext = {0};
    kms_error err = {0};
    kms_status st;
    CK_RV rv;

    if (op->kind == OPERATION_ENCRYPT) {
        st = kms_client_wrap(m->client, op->key->kms, in, op->context, &wrapped, &err);
        rv = st == KMS_OK ? keep_result(op, (kms_bytes){wrapped.data, wrapped.len})
                          : module_fail(function, &err);
    } else {
        st = kms_client_unwrap(m->client, op->key->kms, in, op->context, &plaintext, &err);
        rv = st == KMS_OK ? keep_result(op, kms_secret_bytes(&plaintext))
                          : module_fail(function, &err);
    }
    kms_buffer_clear(&wrapped);
    kms_secret_clear(&plaintext);
    return rv;
}

/* Decrypts the held ciphertext, whose end is the tag. */
static CK_RV finish_gcm_decrypt(operation *op)
{
    size_t len = op->held.len;
    kms_secret plaintext = {0};
    int n = 0, last = 0;
    CK_RV rv = CKR_ENCRYPTED_DATA_INVALID;

    if (len < op->tag_len)
        return CKR_ENCRYPTED_DATA_LEN_RANGE;
    len -= op->tag_len;
    if (kms_secret_reserve(&plaintext, len, NULL) != KMS_OK)
        return CKR_HOST_MEMORY;
    if ((len == 0 ||
         EVP_DecryptUpdate(op->cipher, plaintext.data, &n, op->held.data, (int)len) == 1) &&
        EVP_CIPHER_CTX_ctrl(op->cipher, EVP_CTRL_AEAD_SET_TAG, (int)op->tag_len,
                            op->held.data + len) == 1 &&
        EVP_DecryptFinal_ex(op->cipher, plaintext.data + n, &last) == 1) {
        plaintext.len = (size_t)(n + last);
        kms_secret_move(&op->held, &plaintext);
        op->done = true;
        rv = CKR_OK;
    }
    kms_secret_clear(&plaintext);
    return rv;
}

static CK_RV finish_stream(operation *op)
{
    uint8_t tail[2 * BLOCK];
    int n = 0;
    CK_RV rv;

    /* One answer for every fault of the padding: no oracle. */
    if (EVP_CipherFinal_ex(op->cipher, tail, &n) != 1)
        return CKR_ENCRYPTED_DATA_INVALID;
    if (op->tag_len > 0) {
        if (EVP_CIPHER_CTX_ctrl(op->cipher, EVP_CTRL_AEAD_GET_TAG, (int)op->tag_len, tail + n) != 1)
            return CKR_FUNCTION_FAILED;
        n += (int)op->tag_len;
    }
    rv = keep_result(op, (kms_bytes){tail, (size_t)n});
    OPENSSL_cleanse(tail, sizeof(tail));
    return rv;
}

/* Makes the result once and keeps it: where the caller's buffer is too small, it may ask again. */
static CK_RV finish(operation *op, const char *function, uint8_t *out, CK_ULONG *out_len)
{
    CK_RV rv = CKR_OK;

    if (!op->done && op->mechanism->by == BY_KMS)
        rv = finish_in_kms(op, function);
    else if (!op->done)
        rv = holds_back(op) ? finish_gcm_decrypt(op) : finish_stream(op);
    if (rv != CKR_OK)
        return rv;
    rv = *out_len < op->held.len ? CKR_BUFFER_TOO_SMALL : CKR_OK;
    if (rv == CKR_OK && op->held.len > 0)
        memcpy(out, op->held.data, op->held.len);
    *out_len = op->held.len;
    return rv;
}

/* All at once. */
static CK_RV single(operation *op, const char *function, const uint8_t *in, CK_ULONG len,
                    uint8_t *out, CK_ULONG *out_len)
{
    CK_ULONG first = *out_len, rest;
    CK_RV rv = op->done ? CKR_OK : update(op, in, len, out, &first);

    if (op->done)
        first = 0;
    if (rv != CKR_OK)
        return rv;
    rest = *out_len - first;
    rv = finish(op, function, out != NULL ? out + first : NULL, &rest);
    *out_len = first + rest;
    return rv;
}

/* Enters the session with an operation of that kind under way. */
static CK_RV resume(CK_SESSION_HANDLE handle, operation_kind kind, session **s)
{
    CK_RV rv = session_enter(handle, s);

    if (rv == CKR_OK && (*s)->operation.kind != kind) {
        session_leave(*s);
        rv = CKR_OPERATION_NOT_INITIALIZED;
    }
    return rv;
}

typedef enum step { SINGLE, UPDATE, FINAL } step;

/* One call's arguments. */
typedef struct part {
    step what;
    const char *function;
    const uint8_t *in;
    CK_ULONG len;
    uint8_t *out;
    CK_ULONG *out_len;
} part;

/* True where the caller only asks for the size, or gives too little room: then *rv is the answer
 * and the operation goes on as if it had not been called. */
static bool answers_size(const operation *op, const part *p, CK_RV *rv)
{
    CK_ULONG need = p->what == UPDATE ? update_size(op, p->len) : final_size(op, p->len);
    bool is_limit = !op->done && p->what != UPDATE &&
                    (op->mechanism->by == BY_KMS || (is_cbc_decrypt(op) && p->what == FINAL));

    if (p->out == NULL && need > 0) {
        *p->out_len = need;
        *rv = CKR_OK;
        return true;
    }
    if (*p->out_len < need && !is_limit) {
        *p->out_len = need;
        *rv = CKR_BUFFER_TOO_SMALL;
        return true;
    }
    return false;
}

static CK_RV run(operation *op, const part *p)
{
    if (p->what == UPDATE)
        return update(op, p->in, p->len, p->out, p->out_len);
    if (p->what == FINAL)
        return finish(op, p->function, p->out, p->out_len);
    return single(op, p->function, p->in, p->len, p->out, p->out_len);
}

static CK_RV take_step(CK_SESSION_HANDLE handle, operation_kind kind, const part *p)
{
    session *s;
    operation *op;
    CK_RV rv = resume(handle, kind, &s);

    if (rv != CKR_OK)
        return rv;
    op = &s->operation;
    if ((p->in == NULL && p->len > 0) || p->out_len == NULL || p->len > ONCE_MAX)
        rv = CKR_ARGUMENTS_BAD;
    else if (p->what == SINGLE && op->total > 0 && !op->done)
        rv = CKR_OPERATION_ACTIVE;
    else if (answers_size(op, p, &rv)) {
        session_leave(s);
        return rv;
    } else
        rv = run(op, p);
    if ((p->what != UPDATE && rv != CKR_BUFFER_TOO_SMALL) || (p->what == UPDATE && rv != CKR_OK))
        operation_end(op);
    session_leave(s);
    return rv;
}

CK_RV C_Encrypt(CK_SESSION_HANDLE handle, unsigned char *in, CK_ULONG len, unsigned char *out,
                CK_ULONG *out_len)
{
    return take_step(handle, OPERATION_ENCRYPT,
                     &(part){SINGLE, "C_Encrypt", in, len, out, out_len});
}

CK_RV C_EncryptUpdate(CK_SESSION_HANDLE handle, unsigned char *in, CK_ULONG len, unsigned char *out,
                      CK_ULONG *out_len)
{
    return take_step(handle, OPERATION_ENCRYPT,
                     &(part){UPDATE, "C_EncryptUpdate", in, len, out, out_len});
}

CK_RV C_EncryptFinal(CK_SESSION_HANDLE handle, unsigned char *out, CK_ULONG *out_len)
{
    return take_step(handle, OPERATION_ENCRYPT,
                     &(part){FINAL, "C_EncryptFinal", NULL, 0, out, out_len});
}

CK_RV C_Decrypt(CK_SESSION_HANDLE handle, unsigned char *in, CK_ULONG len, unsigned char *out,
                CK_ULONG *out_len)
{
    return take_step(handle, OPERATION_DECRYPT,
                     &(part){SINGLE, "C_Decrypt", in, len, out, out_len});
}

CK_RV C_DecryptUpdate(CK_SESSION_HANDLE handle, unsigned char *in, CK_ULONG len, unsigned char *out,
                      CK_ULONG *out_len)
{
    return take_step(handle, OPERATION_DECRYPT,
                     &(part){UPDATE, "C_DecryptUpdate", in, len, out, out_len});
}

CK_RV C_DecryptFinal(CK_SESSION_HANDLE handle, unsigned char *out, CK_ULONG *out_len)
{
    return take_step(handle, OPERATION_DECRYPT,
                     &(part){FINAL, "C_DecryptFinal", NULL, 0, out, out_len});
}
