/* Mechanism parameters and the parts of messages come from the application. What holds: no crash,
 * no byte written past the room given, and what was encrypted decrypts to itself. */
#include "tests/fuzz/token.h"

#define MESSAGE_MAX 200
#define ROOM_MAX    (MESSAGE_MAX + 32)

/* A parameter of the right form with blocks of its own, or bytes of any length. */
typedef struct parameter {
    CK_GCM_PARAMS gcm;
    CK_AES_CTR_PARAMS ctr;
    unsigned char *a, *b;
    CK_MECHANISM mechanism;
} parameter;

static void read_gcm(input *in, parameter *p)
{
    const uint8_t iv_len = take_byte(in), aad_len = take_byte(in);

    p->gcm.ulTagBits = take_byte(in);
    p->a = take_block(in, iv_len);
    p->b = take_block(in, aad_len);
    p->gcm.pIv = p->a;
    p->gcm.ulIvLen = iv_len;
    p->gcm.pAAD = p->b;
    p->gcm.ulAADLen = aad_len;
    p->mechanism = (CK_MECHANISM){CKM_AES_GCM, &p->gcm, sizeof(p->gcm)};
}

static void read_ctr(input *in, parameter *p)
{
    p->a = take_block(in, 16);
    p->ctr.ulCounterBits = take_byte(in);
    memcpy(p->ctr.cb, p->a, 16);
    p->mechanism = (CK_MECHANISM){CKM_AES_CTR, &p->ctr, sizeof(p->ctr)};
}

static void read_bytes(input *in, parameter *p, CK_MECHANISM_TYPE type)
{
    /* Of GCM's size they would be taken for pointers, which no check can judge. */
    const size_t len = take_byte(in) % sizeof(p->gcm);

    p->a = take_block(in, len);
    p->mechanism = (CK_MECHANISM){type, p->a, len};
}

static void read_parameter(input *in, parameter *p)
{
    static const CK_MECHANISM_TYPE types[] = {CKM_AES_GCM, CKM_AES_CBC_PAD, CKM_AES_CBC_PAD,
                                              CKM_AES_ECB};
    const uint8_t form = take_byte(in);

    memset(p, 0, sizeof(*p));
    if (form % 4 == 0)
        read_gcm(in, p);
    else if (form % 4 == 1)
        read_ctr(in, p);
    else
        read_bytes(in, p, types[form / 4 % 4]);
}

typedef CK_RV update_fn(CK_SESSION_HANDLE, unsigned char *, CK_ULONG, unsigned char *, CK_ULONG *);
typedef CK_RV final_fn(CK_SESSION_HANDLE, unsigned char *, CK_ULONG *);

/* In parts of `part` bytes, each with exactly the room that it asks for; returns the length, or -1.
 */
static long run(CK_SESSION_HANDLE session, update_fn *update, final_fn *final, unsigned char *in,
                CK_ULONG len, CK_ULONG part, unsigned char *out)
{
    CK_ULONG total = 0, n = 0;

    for (CK_ULONG at = 0; at < len; at += part) {
        const CK_ULONG now = len - at < part ? len - at : part;
        if (update(session, in + at, now, NULL, &n) != CKR_OK || total + n > ROOM_MAX)
            return -1;
        unsigned char *room = malloc(n == 0 ? 1 : n);
        CK_RV rv = update(session, in + at, now, room, &n);
        if (rv == CKR_OK)
            memcpy(out + total, room, n);
        free(room);
        if (rv != CKR_OK)
            return -1;
        total += n;
    }
    n = ROOM_MAX - total;
    return final(session, out + total, &n) == CKR_OK ? (long)(total + n) : -1;
}

static CK_OBJECT_HANDLE data_key(CK_SESSION_HANDLE session)
{
    static CK_OBJECT_HANDLE key;
    CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG size = 32;
    CK_ATTRIBUTE template = {CKA_VALUE_LEN, &size, sizeof(size)};

    if (key == 0 && C_GenerateKey(session, &generate, &template, 1, &key) != CKR_OK)
        abort();
    return key;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const CK_SESSION_HANDLE session = fuzz_session();
    const CK_OBJECT_HANDLE key = data_key(session);
    unsigned char sealed[ROOM_MAX], back[ROOM_MAX];
    input in = {data, size};
    parameter p;
    long sealed_len, len;

    read_parameter(&in, &p);
    const CK_ULONG parts[] = {take_byte(&in) % 40 + 1u, take_byte(&in) % 40 + 1u};
    const CK_ULONG message_len = in.size < MESSAGE_MAX ? in.size : MESSAGE_MAX;
    unsigned char *message = take_block(&in, message_len);

    if (C_EncryptInit(session, &p.mechanism, key) == CKR_OK) {
        sealed_len =
            run(session, C_EncryptUpdate, C_EncryptFinal, message, message_len, parts[0], sealed);
        if (sealed_len >= 0) {
            if (C_DecryptInit(session, &p.mechanism, key) != CKR_OK)
                abort();
            len = run(session, C_DecryptUpdate, C_DecryptFinal, sealed, (CK_ULONG)sealed_len,
                      parts[1], back);
            if (len != (long)message_len || memcmp(back, message, message_len) != 0)
                abort();
        }
    }
    if (C_DecryptInit(session, &p.mechanism, key) == CKR_OK)
        run(session, C_DecryptUpdate, C_DecryptFinal, message, message_len, parts[0], back);
    free(message);
    free(p.a);
    free(p.b);
    return 0;
}
