/* Byte strings that are not secret. Secrets have a type of their own: core/secret.h. */
#ifndef KMS_CORE_BYTES_H
#define KMS_CORE_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes that belong to somebody else and outlive the call. data may be NULL where len is 0. */
typedef struct kms_bytes {
    const uint8_t *data;
    size_t len;
} kms_bytes;

/* Bytes owned by the holder. {0} is empty. Release with kms_buffer_clear. */
typedef struct kms_buffer {
    uint8_t *data;
    size_t len;
} kms_buffer;

/* Frees the bytes and makes the buffer empty. Safe on an empty buffer and twice. */
void kms_buffer_clear(kms_buffer *buffer);

/* Copies a text as far as it fits; always terminated. size is at least 1. */
static inline void kms_text_copy(char *to, size_t size, const char *text)
{
    size_t len = strnlen(text, size - 1);

    memcpy(to, text, len);
    to[len] = '\0';
}

#endif
