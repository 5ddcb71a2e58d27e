/* C_Encrypt… and C_Decrypt…: the state machine that all algorithms share (v2.40, 5.8 and 5.9). */
#include "pkcs11/object.h"
#include "pkcs11/session.h"

#include <openssl/evp.h>
#include <string.h>

typedef enum direction { ENCRYPT, DECRYPT } direction;
typedef enum step { SINGLE, UPDATE, FINAL } step;

CK_RV p11_operation_give(p11_operation *op, kms_bytes result, p11_output *out)
{
    kms_secret kept = {0};

    out->len = result.len;
    if (result.len <= out->room) {
        if (result.len != 0)
            memcpy(out->data, result.data, result.len);
        return CKR_OK;
    }
    if (kms_secret_copy(&kept, result, NULL) != KMS_OK)
        return CKR_HOST_MEMORY;
    kms_secret_move(&op->held, &kept);
    op->ready = true;
    return CKR_BUFFER_TOO_SMALL;
}

void p11_operation_end(p11_operation *op)
{
    EVP_CIPHER_CTX *evp = op->evp;

    p11_object_free(op->key);
    kms_context_free(op->context);
    kms_secret_clear(&op->held);
    kms_buffer_clear(&op->sealed);
    EVP_CIPHER_CTX_reset(evp);
    *op = (p11_operation){.evp = evp};
}

void p11_operation_clear(p11_operation *op)
{
    p11_operation_end(op);
    EVP_CIPHER_CTX_free(op->evp);
    op->evp = NULL;
}

static p11_operation *operation_of(p11_session *session, direction way)
{
    return way == ENCRYPT ? &session->encrypt : &session->decrypt;
}

static CK_RV check_key(const p11_object *key, const p11_mechanism *mechanism, direction way)
{
    if (key == NULL)
        return CKR_KEY_HANDLE_INVALID;
    if ((mechanism->keys == P11_KMS_KEYS) != (key->key != NULL) || key->type != CKK_AES)
        return CKR_KEY_TYPE_INCONSISTENT;
    if ((key->flags & (way == ENCRYPT ? P11_ENCRYPT : P11_DECRYPT)) == 0)
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    return CKR_OK;
}

static CK_RV begin(p11_module *module, p11_operation *op, const CK_MECHANISM *wanted,
                   CK_OBJECT_HANDLE key, direction way)
{
    const p11_mechanism *mechanism =
        p11_mechanism_find(module, wanted->mechanism, way == ENCRYPT ? CKF_ENCRYPT : CKF_DECRYPT);
    kms_error err = {0};
    CK_RV rv;

    if (mechanism == NULL)
        return CKR_MECHANISM_INVALID;
    op->module = module;
    op->cipher = way == ENCRYPT ? mechanism->encrypt : mechanism->decrypt;
    op->door = way == ENCRYPT ? "C_EncryptInit" : "C_DecryptInit";
    op->key = p11_object_get(module, key);
    rv = check_key(op->key, mechanism, way);
    if (rv == CKR_OK && kms_client_check_enabled(module->client, &err) != KMS_OK)
        rv = p11_module_fail(module, op->door, &err);
    return rv == CKR_OK ? op->cipher->init(op, wanted) : rv;
}

static CK_RV init(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                  direction way)
{
    p11_session_scope scope;
    p11_operation *op;
    CK_RV rv = p11_session_enter(&scope, handle, true);

    if (rv != CKR_OK)
        return rv;
    op = operation_of(scope.session, way);
    if (mechanism == NULL) {
        rv = CKR_ARGUMENTS_BAD;
    } else if (op->cipher != NULL) {
        rv = CKR_OPERATION_ACTIVE;
    } else {
        rv = begin(scope.module, op, mechanism, key, way);
        if (rv != CKR_OK)
            p11_operation_end(op);
    }
    p11_session_leave(&scope);
    return rv;
}

/* One call's arguments. */
typedef struct call {
    const char *door;
    step step;
    const uint8_t *in;
    CK_ULONG in_len;
    uint8_t *out;
    CK_ULONG *out_len;
} call;

static CK_RV check_call(const p11_operation *op, const call *c)
{
    if (c->out_len == NULL || (c->in == NULL && c->in_len != 0))
        return CKR_ARGUMENTS_BAD;
    /* C_Encrypt can't end what C_EncryptUpdate began, and nothing can follow a result. */
    if ((c->step == SINGLE && op->parted) || (c->step == UPDATE && op->ready))
        return CKR_OPERATION_ACTIVE;
    return CKR_OK;
}

/* How many bytes the call gives; *exact: exactly, else at most. */
static size_t size_of(const p11_operation *op, const call *c, bool *exact)
{
    *exact = op->ready || c->step == UPDATE || op->cipher->exact;
    if (op->ready)
        return op->held.len;
    if (c->step == UPDATE)
        return op->cipher->update_size(op, c->in_len);
    if (c->step == FINAL)
        return op->cipher->final_size(op);
    return op->cipher->single_size(op, c->in_len);
}

static CK_RV work(p11_operation *op, const call *c, p11_output *out)
{
    const kms_bytes in = {c->in, c->in_len};

    if (op->ready)
        return p11_operation_give(op, kms_secret_bytes(&op->held), out);
    if (c->step == FINAL)
        return op->cipher->final(op, out);
    if (c->step == SINGLE)
        return op->cipher->single(op, in, out);
    out->len = op->cipher->update_size(op, in.len);
    op->parted = true;
    return op->cipher->update(op, in, out->data);
}

/* *goes_on: the operation stays active, after an update or since the caller has to come again. */
static CK_RV run(p11_operation *op, const call *c, bool *goes_on)
{
    bool exact;
    size_t size;
    p11_output out;
    CK_RV rv = check_call(op, c);

    *goes_on = false;
    if (rv != CKR_OK)
        return rv;
    op->door = c->door;
    size = size_of(op, c, &exact);
    if (c->out == NULL || (exact && *c->out_len < size)) {
        *c->out_len = size;
        *goes_on = true;
        return c->out == NULL ? CKR_OK : CKR_BUFFER_TOO_SMALL;
    }
    out = (p11_output){.data = c->out, .room = *c->out_len};
    rv = work(op, c, &out);
    if (rv == CKR_OK || rv == CKR_BUFFER_TOO_SMALL)
        *c->out_len = out.len;
    *goes_on = rv == CKR_BUFFER_TOO_SMALL || (rv == CKR_OK && c->step == UPDATE);
    return rv;
}

static CK_RV proceed(CK_SESSION_HANDLE handle, direction way, const call *c)
{
    p11_session_scope scope;
    p11_operation *op;
    bool goes_on;
    CK_RV rv = p11_session_enter(&scope, handle, true);

    if (rv != CKR_OK)
        return rv;
    op = operation_of(scope.session, way);
    if (op->cipher == NULL) {
        rv = CKR_OPERATION_NOT_INITIALIZED;
    } else {
        rv = run(op, c, &goes_on);
        if (!goes_on)
            p11_operation_end(op);
    }
    p11_session_leave(&scope);
    return rv;
}

CK_RV C_EncryptInit(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return init(handle, mechanism, key, ENCRYPT);
}

CK_RV C_Encrypt(CK_SESSION_HANDLE handle, unsigned char *in, CK_ULONG in_len, unsigned char *out,
                CK_ULONG *out_len)
{
    return proceed(handle, ENCRYPT, &(call){"C_Encrypt", SINGLE, in, in_len, out, out_len});
}

CK_RV C_EncryptUpdate(CK_SESSION_HANDLE handle, unsigned char *in, CK_ULONG in_len,
                      unsigned char *out, CK_ULONG *out_len)
{
    return proceed(handle, ENCRYPT, &(call){"C_EncryptUpdate", UPDATE, in, in_len, out, out_len});
}

CK_RV C_EncryptFinal(CK_SESSION_HANDLE handle, unsigned char *out, CK_ULONG *out_len)
{
    return proceed(handle, ENCRYPT, &(call){"C_EncryptFinal", FINAL, NULL, 0, out, out_len});
}

CK_RV C_DecryptInit(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return init(handle, mechanism, key, DECRYPT);
}

CK_RV C_Decrypt(CK_SESSION_HANDLE handle, unsigned char *in, CK_ULONG in_len, unsigned char *out,
                CK_ULONG *out_len)
{
    return proceed(handle, DECRYPT, &(call){"C_Decrypt", SINGLE, in, in_len, out, out_len});
}

CK_RV C_DecryptUpdate(CK_SESSION_HANDLE handle, unsigned char *in, CK_ULONG in_len,
                      unsigned char *out, CK_ULONG *out_len)
{
    return proceed(handle, DECRYPT, &(call){"C_DecryptUpdate", UPDATE, in, in_len, out, out_len});
}

CK_RV C_DecryptFinal(CK_SESSION_HANDLE handle, unsigned char *out, CK_ULONG *out_len)
{
    return proceed(handle, DECRYPT, &(call){"C_DecryptFinal", FINAL, NULL, 0, out, out_len});
}
