/* Secrets: plaintext keys, plaintexts, credentials, and the request and reply bodies that carry
 * them. They live in pages that are locked into memory and left out of core files, and are cleansed
 * when released. Where memory cannot be locked, allocation fails: nothing falls back to plain heap.
 * All functions are thread-safe on different secrets. */
#ifndef KMS_CORE_SECRET_H
#define KMS_CORE_SECRET_H

#include "core/bytes.h"
#include "core/error.h"

/* An owned secret. {0} is empty. data has room for cap bytes, of which len are in use. */
typedef struct kms_secret {
    uint8_t *data;
    size_t len;
    size_t cap;
} kms_secret;

/* Makes *secret an empty secret with room for cap bytes (len is 0). *secret must be empty before.
 * Errors: KMS_E_NO_MEMORY, KMS_E_MEMORY_LOCK; then *secret stays empty. */
kms_status kms_secret_reserve(kms_secret *secret, size_t cap, kms_error *err);

/* As kms_secret_reserve, then copies the bytes. */
kms_status kms_secret_copy(kms_secret *secret, kms_bytes bytes, kms_error *err);

/* Appends bytes, growing the room as needed (the old room is cleansed). On error unchanged. */
kms_status kms_secret_append(kms_secret *secret, kms_bytes bytes, kms_error *err);

/* Moves *from into *to: to's old content is cleansed and freed, from is empty afterwards. */
void kms_secret_move(kms_secret *to, kms_secret *from);

/* Cleanses and frees. Safe on an empty secret and twice. */
void kms_secret_clear(kms_secret *secret);

/* The bytes of a secret, for passing on. */
static inline kms_bytes kms_secret_bytes(const kms_secret *secret)
{
    return (kms_bytes){secret->data, secret->len};
}

/* Single blocks from the same pages, for structs that hold secrets. Zeroed; NULL when it fails.
 * kms_locked_free cleanses them; NULL is allowed. */
void *kms_locked_alloc(size_t size);
void kms_locked_free(void *bytes);

#endif
