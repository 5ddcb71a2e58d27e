#include "core/secret.h"

#include <string.h>

kms_status kms_secret_reserve(kms_secret *secret, size_t cap, kms_error *err)
{
    secret->data = kms_locked_alloc(cap == 0 ? 1 : cap);
    if (secret->data == NULL)
        return kms_fail(err, KMS_E_MEMORY_LOCK, "%zu bytes", cap);
    secret->len = 0;
    secret->cap = cap;
    return KMS_OK;
}

kms_status kms_secret_copy(kms_secret *secret, kms_bytes bytes, kms_error *err)
{
    kms_status st = kms_secret_reserve(secret, bytes.len, err);

    if (st == KMS_OK && bytes.len > 0) {
        memcpy(secret->data, bytes.data, bytes.len);
        secret->len = bytes.len;
    }
    return st;
}

kms_status kms_secret_append(kms_secret *secret, kms_bytes bytes, kms_error *err)
{
    if (bytes.len == 0)
        return KMS_OK;
    if (bytes.len > secret->cap - secret->len) {
        kms_secret grown = {0};
        size_t cap =
            secret->cap * 2 > secret->len + bytes.len ? secret->cap * 2 : secret->len + bytes.len;
        kms_status st = kms_secret_reserve(&grown, cap, err);
        if (st != KMS_OK)
            return st;
        if (secret->len > 0)
            memcpy(grown.data, secret->data, secret->len);
        grown.len = secret->len;
        kms_secret_move(secret, &grown);
    }
    memcpy(secret->data + secret->len, bytes.data, bytes.len);
    secret->len += bytes.len;
    return KMS_OK;
}

void kms_secret_move(kms_secret *to, kms_secret *from)
{
    kms_secret_clear(to);
    *to = *from;
    *from = (kms_secret){0};
}

void kms_secret_clear(kms_secret *secret)
{
    kms_locked_free(secret->data);
    *secret = (kms_secret){0};
}
