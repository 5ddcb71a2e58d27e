/* CKM_KMS_ENCRYPT: one request to KMS for all of the data, whose size KMS alone knows. Parts are
 * collected. */
#include "pkcs11/object.h"
#include "pkcs11/operation.h"

static CK_RV kms_init(p11_operation *op, const CK_MECHANISM *mechanism)
{
    return p11_mechanism_context(op->module, op->door, mechanism, &op->context);
}

static size_t nothing_yet(const p11_operation *op, size_t len)
{
    (void)op;
    (void)len;
    return 0;
}

static CK_RV collect(p11_operation *op, kms_bytes in, size_t most, kms_status too_many)
{
    kms_error err = {0};

    op->total += in.len;
    if (op->total > most)
        kms_fail(&err, too_many, "%llu bytes", (unsigned long long)op->total);
    else if (in.len == 0 || kms_secret_append(&op->held, in, &err) == KMS_OK)
        return CKR_OK;
    return p11_module_fail(op->module, op->door, &err);
}

static size_t encrypt_size(const p11_operation *op, size_t len)
{
    (void)op;
    (void)len;
    return KMS_CIPHERTEXT_MAX;
}

static size_t encrypt_final_size(const p11_operation *op)
{
    return encrypt_size(op, 0);
}

static CK_RV encrypt_update(p11_operation *op, kms_bytes in, uint8_t *out)
{
    (void)out;
    return collect(op, in, KMS_PLAINTEXT_MAX, KMS_E_PLAINTEXT_TOO_LARGE);
}

static CK_RV encrypt_single(p11_operation *op, kms_bytes in, p11_output *out)
{
    kms_buffer wrapped = {0};
    kms_error err = {0};
    CK_RV rv;

    if (kms_client_wrap(op->module->client, op->key->key, in, op->context, &wrapped, &err) ==
        KMS_OK)
        rv = p11_operation_give(op, (kms_bytes){wrapped.data, wrapped.len}, out);
    else
        rv = p11_module_fail(op->module, op->door, &err);
    kms_buffer_clear(&wrapped);
    return rv;
}

static CK_RV encrypt_final(p11_operation *op, p11_output *out)
{
    return encrypt_single(op, kms_secret_bytes(&op->held), out);
}

static size_t decrypt_size(const p11_operation *op, size_t len)
{
    (void)op;
    (void)len;
    return KMS_PLAINTEXT_MAX;
}

static size_t decrypt_final_size(const p11_operation *op)
{
    return decrypt_size(op, 0);
}

static CK_RV decrypt_update(p11_operation *op, kms_bytes in, uint8_t *out)
{
    (void)out;
    return collect(op, in, KMS_CIPHERTEXT_MAX, KMS_E_CIPHERTEXT_SIZE);
}

static CK_RV decrypt_single(p11_operation *op, kms_bytes in, p11_output *out)
{
    kms_secret plaintext = {0};
    kms_error err = {0};
    CK_RV rv;

    if (kms_client_unwrap(op->module->client, op->key->key, in, op->context, &plaintext, &err) ==
        KMS_OK)
        rv = p11_operation_give(op, kms_secret_bytes(&plaintext), out);
    else
        rv = p11_module_fail(op->module, op->door, &err);
    kms_secret_clear(&plaintext);
    return rv;
}

static CK_RV decrypt_final(p11_operation *op, p11_output *out)
{
    return decrypt_single(op, kms_secret_bytes(&op->held), out);
}

const p11_cipher p11_kms_encrypt = {
    .encrypts = true,
    .init = kms_init,
    .update_size = nothing_yet,
    .final_size = encrypt_final_size,
    .update = encrypt_update,
    .final = encrypt_final,
    .single_size = encrypt_size,
    .single = encrypt_single,
};

const p11_cipher p11_kms_decrypt = {
    .init = kms_init,
    .update_size = nothing_yet,
    .final_size = decrypt_final_size,
    .update = decrypt_update,
    .final = decrypt_final,
    .single_size = decrypt_size,
    .single = decrypt_single,
};
