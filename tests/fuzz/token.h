/* The PKCS#11 module in the fuzzer's own process, with a session and without a network. */
#ifndef KMS_FUZZ_TOKEN_H
#define KMS_FUZZ_TOKEN_H

#include <p11-kit/pkcs11.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the fuzzed bytes are read from. */
typedef struct input {
    const uint8_t *data;
    size_t size;
} input;

static inline uint8_t take_byte(input *in)
{
    if (in->size == 0)
        return 0;
    in->size--;
    return *in->data++;
}

/* A block of its own, so that a sanitizer sees each byte read past it. The caller frees it. */
static inline unsigned char *take_block(input *in, size_t len)
{
    unsigned char *block = malloc(len == 0 ? 1 : len);

    if (block == NULL)
        abort();
    memset(block, 0, len);
    if (in->size != 0)
        memcpy(block, in->data, len < in->size ? len : in->size);
    in->data += len < in->size ? len : in->size;
    in->size -= len < in->size ? len : in->size;
    return block;
}

/* The session, made when there is none. No address is ever asked: no search here can match a KMS
 * key. */
static inline CK_SESSION_HANDLE fuzz_session(void)
{
    static CK_SESSION_HANDLE session;
    static int initialised;

    if (!initialised) {
        setenv("KMS_PROVIDER_CONF", "/dev/null", 1);
        setenv("KMS_PROVIDER_LOG", "off", 1);
        setenv("AWS_REGION", "eu-central-1", 1);
        initialised = C_Initialize(NULL) == CKR_OK;
    }
    if (C_GetSessionInfo(session, &(CK_SESSION_INFO){0}) != CKR_OK &&
        C_OpenSession(1, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session) != CKR_OK)
        abort();
    return session;
}

#endif
