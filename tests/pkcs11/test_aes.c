/* AES with data keys: published vectors, and what libcrypto says to other calls than the module's.
 */
#include "tests/pkcs11/token.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#define MESSAGE_MAX 68
#define BLOCK       16

static CK_SESSION_HANDLE session;

/* --- a cipher under test --- */

typedef CK_RV init_fn(CK_SESSION_HANDLE, CK_MECHANISM *, CK_OBJECT_HANDLE);
typedef CK_RV single_fn(CK_SESSION_HANDLE, unsigned char *, CK_ULONG, unsigned char *, CK_ULONG *);
typedef CK_RV final_fn(CK_SESSION_HANDLE, unsigned char *, CK_ULONG *);

/* One of the two ways, so that a test goes both. */
typedef struct way {
    init_fn *init;
    single_fn *single, *update;
    final_fn *final;
} way;

static way encryption(void)
{
    return (way){p11->C_EncryptInit, p11->C_Encrypt, p11->C_EncryptUpdate, p11->C_EncryptFinal};
}

static way decryption(void)
{
    return (way){p11->C_DecryptInit, p11->C_Decrypt, p11->C_DecryptUpdate, p11->C_DecryptFinal};
}

static size_t from_hex(const char *text, unsigned char *out)
{
    size_t n = 0;

    for (; text[2 * n] != '\0'; n++) {
        const char digits[3] = {text[2 * n], text[2 * n + 1], '\0'};
        char *end;
        out[n] = (unsigned char)strtoul(digits, &end, 16);
        assert_true(end == digits + 2);
    }
    return n;
}

/* Bytes that differ from place to place. */
static void pattern(unsigned char *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (unsigned char)(i * 37 + i / 16 + 11);
}

static CK_OBJECT_HANDLE import_pattern(size_t len, unsigned char value[32])
{
    pattern(value, len);
    return token_import(session, CKK_AES, value, len);
}

static CK_ULONG run_single(way w, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                           const unsigned char *in, size_t len, unsigned char *out)
{
    CK_ULONG out_len = 4UL * MESSAGE_MAX;

    assert_ok(w.init(session, mechanism, key));
    assert_ok(w.single(session, (unsigned char *)(uintptr_t)in, len, out, &out_len));
    return out_len;
}

/* In three parts, whose ends are a and b; each update asks for its size first and gets exactly that
 * much room. */
static CK_ULONG run_parts(way w, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                          const unsigned char *in, size_t len, size_t a, size_t b,
                          unsigned char *out)
{
    const size_t ends[] = {0, a, b, len};
    CK_ULONG total = 0, n, asked;

    assert_ok(w.init(session, mechanism, key));
    for (int i = 0; i < 3; i++) {
        unsigned char *part = (unsigned char *)(uintptr_t)in + ends[i];
        assert_ok(w.update(session, part, ends[i + 1] - ends[i], NULL, &asked));
        n = asked;
        assert_ok(w.update(session, part, ends[i + 1] - ends[i], out + total, &n));
        assert_int_equal(n, asked);
        total += n;
    }
    assert_ok(w.final(session, NULL, &asked));
    n = asked;
    assert_ok(w.final(session, out + total, &n));
    assert_true(n <= asked);
    return total + n;
}

/* --- the mechanisms --- */

static unsigned char iv[128];
static CK_GCM_PARAMS gcm;
static CK_AES_CTR_PARAMS ctr;

static CK_MECHANISM gcm_of(CK_ULONG iv_len, const void *aad, CK_ULONG aad_len, CK_ULONG tag_bits)
{
    gcm = (CK_GCM_PARAMS){.pIv = iv,
                          .ulIvLen = iv_len,
                          .ulIvBits = iv_len * 8,
                          .pAAD = (unsigned char *)(uintptr_t)aad,
                          .ulAADLen = aad_len,
                          .ulTagBits = tag_bits};
    return (CK_MECHANISM){CKM_AES_GCM, &gcm, sizeof(gcm)};
}

static CK_MECHANISM cbc_of(void)
{
    return (CK_MECHANISM){CKM_AES_CBC_PAD, iv, BLOCK};
}

static CK_MECHANISM ctr_of(const unsigned char block[16], CK_ULONG bits)
{
    ctr.ulCounterBits = bits;
    memcpy(ctr.cb, block, BLOCK);
    return (CK_MECHANISM){CKM_AES_CTR, &ctr, sizeof(ctr)};
}

static CK_MECHANISM mechanism_of(int which)
{
    static const unsigned char zero[16];

    return which == 0 ? gcm_of(12, "header", 6, 128) : which == 1 ? cbc_of() : ctr_of(zero, 128);
}

/* --- tests --- */

static const struct {
    const char *key, *iv, *aad, *plain, *cipher, *tag;
} gcm_vectors[] = {
    /* McGrew and Viega, as NIST took them: cases 1, 2, 3, 4, 5, 6, 10, 16 */
    {"00000000000000000000000000000000", "000000000000000000000000", "", "", "",
     "58e2fccefa7e3061367f1d57a4e7455a"},
    {"00000000000000000000000000000000", "000000000000000000000000", "",
     "00000000000000000000000000000000", "0388dace60b6a392f328c2b971b2fe78",
     "ab6e47d42cec13bdf53a67b21257bddf"},
    {"feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888", "",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
     "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
     "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985",
     "4d5c2af327cd64a62cf35abd2ba6fab4"},
    {"feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
     "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
     "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
     "5bc94fbc3221a5db94fae95ae7121a47"},
    {"feffe9928665731c6d6a8f9467308308", "cafebabefacedbad",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
     "61353b4c2806934a777ff51fa22a4755699b2a714fcdc6f83766e5f97b6c7423"
     "73806900e49f24b22b097544d4896b424989b5e1ebac0f07c23f4598",
     "3612d2e79e3b0785561be14aaca2fccb"},
    {"feffe9928665731c6d6a8f9467308308",
     "9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728"
     "c3c0c95156809539fcf0e2429a6b525416aedbf5a0de6a57a637b39b",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
     "8ce24998625615b603a033aca13fb894be9112a5c3a211a8ba262a3cca7e2ca7"
     "01e4a9a4fba43c90ccdcb281d48c7c6fd62875d2aca417034c34aee5",
     "619cc5aefffe0bfa462af43c1699d050"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c", "cafebabefacedbaddecaf888",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
     "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c"
     "7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda2710",
     "2519498e80f1478f37ba55bd6d27618c"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
     "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
     "76fc6ece0f4e1768cddf8853bb2d551b"},
};

static void gcm_gives_the_published_results(void **state)
{
    unsigned char key[32], aad[64], plain[64], expected[80], got[4 * MESSAGE_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(gcm_vectors) / sizeof(gcm_vectors[0]); i++) {
        const size_t key_len = from_hex(gcm_vectors[i].key, key);
        const size_t iv_len = from_hex(gcm_vectors[i].iv, iv);
        const size_t aad_len = from_hex(gcm_vectors[i].aad, aad);
        const size_t len = from_hex(gcm_vectors[i].plain, plain);
        const CK_OBJECT_HANDLE handle = token_import(session, CKK_AES, key, key_len);
        CK_MECHANISM mechanism = gcm_of(iv_len, aad, aad_len, 128);
        assert_int_equal(from_hex(gcm_vectors[i].cipher, expected), len);
        from_hex(gcm_vectors[i].tag, expected + len);
        assert_int_equal(run_single(encryption(), &mechanism, handle, plain, len, got), len + 16);
        assert_memory_equal(got, expected, len + 16);
        assert_int_equal(run_single(decryption(), &mechanism, handle, expected, len + 16, got),
                         len);
        assert_memory_equal(got, plain, len);
    }
}

static void evp_gcm(const unsigned char *key, size_t key_len, size_t iv_len, const char *aad,
                    const unsigned char *in, int len, unsigned char *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    const EVP_CIPHER *cipher = key_len == 16   ? EVP_aes_128_gcm()
                               : key_len == 24 ? EVP_aes_192_gcm()
                                               : EVP_aes_256_gcm();
    int n;

    assert_int_equal(EVP_EncryptInit_ex(ctx, cipher, NULL, NULL, NULL), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_IVLEN, (int)iv_len, NULL), 1);
    assert_int_equal(EVP_EncryptInit_ex(ctx, NULL, NULL, key, iv), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, (const unsigned char *)aad, (int)strlen(aad)),
                     1);
    assert_int_equal(EVP_EncryptUpdate(ctx, out, &n, in, len), 1);
    assert_int_equal(EVP_EncryptFinal_ex(ctx, out + n, &n), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, 16, out + len), 1);
    EVP_CIPHER_CTX_free(ctx);
}

static void gcm_takes_ivs_of_1_to_128_bytes_and_tags_of_96_to_128_bits(void **state)
{
    unsigned char value[32], plain[MESSAGE_MAX], expected[96], got[4 * MESSAGE_MAX];

    (void)state;
    pattern(iv, sizeof(iv));
    pattern(plain, sizeof(plain));
    for (size_t key_len = 16; key_len <= 32; key_len += 8) {
        const CK_OBJECT_HANDLE key = import_pattern(key_len, value);
        for (size_t iv_len = 1; iv_len <= 128; iv_len++) {
            const CK_ULONG tag_len = 12 + iv_len % 5, len = iv_len % MESSAGE_MAX;
            CK_MECHANISM mechanism = gcm_of(iv_len, "header", 6, tag_len * 8);
            evp_gcm(value, key_len, iv_len, "header", plain, (int)len, expected);
            assert_int_equal(run_single(encryption(), &mechanism, key, plain, len, got),
                             len + tag_len);
            assert_memory_equal(got, expected, len + tag_len);
            assert_int_equal(
                run_single(decryption(), &mechanism, key, expected, len + tag_len, got), len);
            assert_memory_equal(got, plain, len);
        }
    }
}

static void mechanism_parameters_that_are_wrong_are_refused(void **state)
{
    unsigned char value[32], block[16] = {0};
    const CK_OBJECT_HANDLE key = import_pattern(32, value);
    const CK_GCM_PARAMS right = {iv, 12, 96, NULL, 0, 128};
    CK_GCM_PARAMS wrong[8];
    CK_MECHANISM mechanisms[16];
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < 8; i++)
        wrong[i] = right;
    wrong[0].ulIvLen = 0;
    wrong[1].ulIvLen = 129;
    wrong[2].pIv = NULL;
    wrong[3].ulAADLen = 1; /* of NULL */
    wrong[4].ulTagBits = 88;
    wrong[5].ulTagBits = 136;
    wrong[6].ulTagBits = 100;
    wrong[7].ulAADLen = (CK_ULONG)-1;
    for (size_t i = 0; i < 8; i++)
        mechanisms[n++] = (CK_MECHANISM){CKM_AES_GCM, &wrong[i], sizeof(right)};
    mechanisms[n++] = (CK_MECHANISM){CKM_AES_GCM, (void *)(uintptr_t)&right, sizeof(right) - 1};
    mechanisms[n++] = (CK_MECHANISM){CKM_AES_GCM, NULL, sizeof(right)};
    mechanisms[n++] = (CK_MECHANISM){CKM_AES_CBC_PAD, iv, 15};
    mechanisms[n++] = (CK_MECHANISM){CKM_AES_CBC_PAD, NULL, 16};
    mechanisms[n++] = (CK_MECHANISM){CKM_AES_CTR, NULL, sizeof(ctr)};
    mechanisms[n++] = (CK_MECHANISM){CKM_AES_CTR, &ctr, sizeof(ctr) - 1};
    for (size_t i = 0; i < n; i++) {
        assert_rv(p11->C_EncryptInit(session, &mechanisms[i], key), CKR_MECHANISM_PARAM_INVALID);
        assert_rv(p11->C_DecryptInit(session, &mechanisms[i], key), CKR_MECHANISM_PARAM_INVALID);
    }
    for (CK_ULONG bits = 0; bits <= 129; bits += 129) {
        CK_MECHANISM mechanism = ctr_of(block, bits);
        assert_rv(p11->C_EncryptInit(session, &mechanism, key), CKR_MECHANISM_PARAM_INVALID);
    }
    mechanisms[0] = (CK_MECHANISM){CKM_AES_ECB, NULL, 0};
    assert_rv(p11->C_EncryptInit(session, &mechanisms[0], key), CKR_MECHANISM_INVALID);
    mechanisms[0] = (CK_MECHANISM){CKM_AES_KEY_GEN, NULL, 0};
    assert_rv(p11->C_EncryptInit(session, &mechanisms[0], key), CKR_MECHANISM_INVALID);
}

static void cbc_pads_as_libcrypto_does(void **state)
{
    unsigned char value[32], plain[MESSAGE_MAX], expected[96], got[4 * MESSAGE_MAX];

    (void)state;
    pattern(plain, sizeof(plain));
    for (size_t key_len = 16; key_len <= 32; key_len += 8) {
        const CK_OBJECT_HANDLE key = import_pattern(key_len, value);
        const EVP_CIPHER *cipher = key_len == 16   ? EVP_aes_128_cbc()
                                   : key_len == 24 ? EVP_aes_192_cbc()
                                                   : EVP_aes_256_cbc();
        for (int len = 0; len < MESSAGE_MAX; len++) {
            CK_MECHANISM mechanism = cbc_of();
            EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
            int a = 0, b = 0;
            pattern(iv, 16);
            assert_int_equal(EVP_EncryptInit_ex(ctx, cipher, NULL, value, iv), 1);
            assert_int_equal(EVP_EncryptUpdate(ctx, expected, &a, plain, len), 1);
            assert_int_equal(EVP_EncryptFinal_ex(ctx, expected + a, &b), 1);
            EVP_CIPHER_CTX_free(ctx);
            assert_int_equal(run_single(encryption(), &mechanism, key, plain, (size_t)len, got),
                             a + b);
            assert_memory_equal(got, expected, (size_t)(a + b));
            assert_int_equal(
                run_single(decryption(), &mechanism, key, expected, (size_t)(a + b), got), len);
            assert_memory_equal(got, plain, (size_t)len);
        }
    }
}

static void cbc_gives_the_published_result(void **state)
{
    unsigned char key[16], plain[64], expected[64], got[4 * MESSAGE_MAX];
    CK_MECHANISM mechanism = cbc_of();

    (void)state;
    /* SP 800-38A, F.2.1; the padding's block follows it */
    from_hex("2b7e151628aed2a6abf7158809cf4f3c", key);
    from_hex("000102030405060708090a0b0c0d0e0f", iv);
    from_hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
             "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
             plain);
    from_hex("7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
             "73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
             expected);
    assert_int_equal(run_single(encryption(), &mechanism, token_import(session, CKK_AES, key, 16),
                                plain, 64, got),
                     80);
    assert_memory_equal(got, expected, 64);
}

static void cbc_refuses_lengths_and_padding_that_cannot_be(void **state)
{
    unsigned char value[32], sealed[96], got[96], untouched[96];
    const CK_OBJECT_HANDLE key = import_pattern(32, value);
    CK_MECHANISM mechanism = cbc_of();
    CK_ULONG len;

    (void)state;
    pattern(sealed, sizeof(sealed));
    memset(untouched, 0x5a, sizeof(untouched));
    for (CK_ULONG in = 0; in <= 48; in += in == 0 ? 15 : in == 15 ? 2 : 31) {
        const CK_RV expected = in == 48 ? CKR_ENCRYPTED_DATA_INVALID : CKR_ENCRYPTED_DATA_LEN_RANGE;
        memcpy(got, untouched, sizeof(got));
        len = sizeof(got);
        assert_ok(p11->C_DecryptInit(session, &mechanism, key));
        assert_rv(p11->C_Decrypt(session, sealed, in, got, &len), expected);
        assert_memory_equal(got, untouched, sizeof(got)); /* no plaintext of unknown worth */
        assert_rv(p11->C_Decrypt(session, sealed, in, got, &len), CKR_OPERATION_NOT_INITIALIZED);
    }
    assert_ok(p11->C_DecryptInit(session, &mechanism, key));
    len = sizeof(got);
    assert_ok(p11->C_DecryptUpdate(session, sealed, 17, got, &len));
    len = sizeof(got);
    assert_rv(p11->C_DecryptFinal(session, got, &len), CKR_ENCRYPTED_DATA_LEN_RANGE);
}

/* A counter block of `bits` bits that counts as the standard says, each encrypted by itself. */
static void count_and_encrypt(const unsigned char *key, const unsigned char start[16],
                              CK_ULONG bits, const unsigned char *in, size_t len,
                              unsigned char *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char block[16], stream[16];
    int n;

    memcpy(block, start, 16);
    assert_int_equal(EVP_EncryptInit_ex(ctx, EVP_aes_256_ecb(), NULL, key, NULL), 1);
    for (size_t i = 0; i < len; i++) {
        if (i % BLOCK == 0) {
            assert_int_equal(EVP_EncryptUpdate(ctx, stream, &n, block, 16), 1);
            for (CK_ULONG bit = 0; bit < bits; bit++) {
                unsigned char *byte = &block[15 - bit / 8];
                *byte ^= (unsigned char)(1u << bit % 8);
                if ((*byte >> bit % 8 & 1) != 0)
                    break;
            }
        }
        out[i] = in[i] ^ stream[i % BLOCK];
    }
    EVP_CIPHER_CTX_free(ctx);
}

/* A counter that has `left` blocks to go, its last included; what stands above it is not it. */
static void block_before_the_end(CK_ULONG bits, unsigned left, unsigned char block[16])
{
    memset(block, 0x5a, 16);
    for (CK_ULONG bit = 0; bit < bits; bit++)
        block[15 - bit / 8] |= (unsigned char)(1u << bit % 8);
    block[15] = (unsigned char)(block[15] - (left - 1));
    if (bits % 8 != 0) /* the next bit is clear: a carry into it would go unnoticed otherwise */
        block[15 - bits / 8] &= (unsigned char)~(1u << bits % 8);
}

static void ctr_counts_as_wide_as_told_and_stops_where_it_would_come_round(void **state)
{
    static const CK_ULONG widths[] = {3, 8, 12, 32, 63, 64, 65, 127};
    unsigned char value[32], plain[MESSAGE_MAX], expected[MESSAGE_MAX], got[4 * MESSAGE_MAX];
    const CK_OBJECT_HANDLE key = import_pattern(32, value);
    unsigned char block[16];

    (void)state;
    pattern(plain, sizeof(plain));
    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        for (unsigned left = 1; left <= 4; left++) {
            const CK_ULONG fits = (CK_ULONG)left * BLOCK;
            CK_ULONG len = sizeof(got);
            block_before_the_end(widths[i], left, block);
            CK_MECHANISM mechanism = ctr_of(block, widths[i]);
            count_and_encrypt(value, block, widths[i], plain, fits, expected);
            assert_int_equal(run_single(encryption(), &mechanism, key, plain, fits, got), fits);
            assert_memory_equal(got, expected, fits);

            assert_ok(p11->C_EncryptInit(session, &mechanism, key));
            assert_rv(p11->C_Encrypt(session, plain, fits + 1, got, &len), CKR_DATA_LEN_RANGE);

            len = sizeof(got);
            assert_ok(p11->C_DecryptInit(session, &mechanism, key));
            assert_ok(p11->C_DecryptUpdate(session, expected, fits, got, &len));
            assert_memory_equal(got, plain, fits);
            len = sizeof(got);
            assert_rv(p11->C_DecryptUpdate(session, expected, 1, got, &len), CKR_DATA_LEN_RANGE);
        }
    }
}

static void ctr_of_the_whole_block_comes_round_as_the_standard_says(void **state)
{
    unsigned char value[32], plain[MESSAGE_MAX], expected[MESSAGE_MAX], got[4 * MESSAGE_MAX];
    const CK_OBJECT_HANDLE key = import_pattern(32, value);
    unsigned char block[16];
    CK_MECHANISM mechanism;

    (void)state;
    pattern(plain, sizeof(plain));
    block_before_the_end(128, 2, block);
    mechanism = ctr_of(block, 128);
    count_and_encrypt(value, block, 128, plain, 67, expected);
    assert_int_equal(run_single(encryption(), &mechanism, key, plain, 67, got), 67);
    assert_memory_equal(got, expected, 67);
}

static void ctr_gives_the_published_result(void **state)
{
    unsigned char key[16], block[16], plain[64], expected[64], got[4 * MESSAGE_MAX];
    CK_MECHANISM mechanism;

    (void)state;
    /* SP 800-38A, F.5.1 */
    from_hex("2b7e151628aed2a6abf7158809cf4f3c", key);
    from_hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", block);
    from_hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
             "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
             plain);
    from_hex("874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
             "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
             expected);
    mechanism = ctr_of(block, 128);
    assert_int_equal(run_single(encryption(), &mechanism, token_import(session, CKK_AES, key, 16),
                                plain, 64, got),
                     64);
    assert_memory_equal(got, expected, 64);
}

static void every_split_gives_what_one_call_gives(void **state)
{
    unsigned char value[32], plain[MESSAGE_MAX], sealed[4 * MESSAGE_MAX], got[4 * MESSAGE_MAX];
    const CK_OBJECT_HANDLE key = import_pattern(32, value);

    (void)state;
    pattern(plain, sizeof(plain));
    for (int which = 0; which < 3; which++) {
        CK_MECHANISM mechanism = mechanism_of(which);
        for (size_t len = 0; len < MESSAGE_MAX; len++) {
            const CK_ULONG sealed_len =
                run_single(encryption(), &mechanism, key, plain, len, sealed);
            for (size_t a = 0; a <= len; a++) {
                const size_t b = a + (len - a) / 3;
                assert_int_equal(run_parts(encryption(), &mechanism, key, plain, len, a, b, got),
                                 sealed_len);
                assert_memory_equal(got, sealed, sealed_len);
            }
            for (size_t a = 0; a <= sealed_len; a++) {
                const size_t b = a + (sealed_len - a) / 3;
                assert_int_equal(
                    run_parts(decryption(), &mechanism, key, sealed, sealed_len, a, b, got), len);
                assert_memory_equal(got, plain, len);
            }
        }
    }
}

/* In and out are the same place, which the standard allows; parts of every size. */
static CK_ULONG run_in_place(way w, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                             const unsigned char *in, size_t len, size_t part, unsigned char *out)
{
    CK_ULONG total = 0, n;
    unsigned char space[3000 + 64];

    assert_ok(w.init(session, mechanism, key));
    for (size_t at = 0; at < len; at += part) {
        const size_t now = len - at < part ? len - at : part;
        memcpy(space, in + at, now);
        n = sizeof(space);
        assert_ok(w.update(session, space, now, space, &n));
        memcpy(out + total, space, n);
        total += n;
    }
    n = sizeof(space);
    assert_ok(w.final(session, space, &n));
    memcpy(out + total, space, n);
    return total + n;
}

static void in_place_gives_what_two_places_give(void **state)
{
    static const size_t parts[] = {1, 3, 15, 16, 17, 31, 33, 100, 1023, 1024, 1025, 2999, 3000};
    unsigned char value[32], plain[3000], sealed[3064], got[3064 + 64];
    const CK_OBJECT_HANDLE key = import_pattern(32, value);
    CK_ULONG sealed_len, len;

    (void)state;
    pattern(plain, sizeof(plain));
    for (int which = 0; which < 3; which++) {
        CK_MECHANISM mechanism = mechanism_of(which);
        sealed_len = sizeof(sealed);
        assert_ok(p11->C_EncryptInit(session, &mechanism, key));
        assert_ok(p11->C_Encrypt(session, plain, sizeof(plain), sealed, &sealed_len));
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
            assert_int_equal(
                run_in_place(encryption(), &mechanism, key, plain, sizeof(plain), parts[i], got),
                sealed_len);
            assert_memory_equal(got, sealed, sealed_len);
            assert_int_equal(
                run_in_place(decryption(), &mechanism, key, sealed, sealed_len, parts[i], got),
                sizeof(plain));
            assert_memory_equal(got, plain, sizeof(plain));
        }
        memcpy(got, sealed, sealed_len);
        len = sizeof(got);
        assert_ok(p11->C_DecryptInit(session, &mechanism, key));
        assert_ok(p11->C_Decrypt(session, got, sealed_len, got, &len));
        assert_int_equal(len, sizeof(plain));
        assert_memory_equal(got, plain, sizeof(plain));
    }
}

static void a_short_buffer_keeps_the_operation_and_the_input(void **state)
{
    unsigned char value[32], plain[MESSAGE_MAX], sealed[4 * MESSAGE_MAX], got[4 * MESSAGE_MAX];
    const CK_OBJECT_HANDLE key = import_pattern(32, value);

    (void)state;
    pattern(plain, sizeof(plain));
    for (int which = 0; which < 3; which++) {
        CK_MECHANISM mechanism = mechanism_of(which);
        for (size_t len = 1; len < 40; len++) {
            CK_ULONG needed = run_single(encryption(), &mechanism, key, plain, len, sealed), room;
            assert_ok(p11->C_EncryptInit(session, &mechanism, key));
            for (CK_ULONG less = 1; less <= needed; less++) {
                room = needed - less;
                assert_rv(p11->C_Encrypt(session, plain, len, got, &room), CKR_BUFFER_TOO_SMALL);
                assert_int_equal(room, needed);
            }
            assert_ok(p11->C_Encrypt(session, plain, len, got, &room));
            assert_memory_equal(got, sealed, needed);

            /* In place, so that an early write would show. */
            memcpy(got, sealed, needed);
            assert_ok(p11->C_DecryptInit(session, &mechanism, key));
            for (room = 0; room < len; room++) {
                CK_ULONG asked = room;
                assert_rv(p11->C_Decrypt(session, got, needed, got, &asked), CKR_BUFFER_TOO_SMALL);
                assert_int_equal(asked, len);
            }
            assert_ok(p11->C_Decrypt(session, got, needed, got, &room));
            assert_int_equal(room, len);
            assert_memory_equal(got, plain, len);
        }
    }
}

static void a_short_buffer_in_parts_keeps_everything(void **state)
{
    unsigned char value[32], plain[MESSAGE_MAX], sealed[4 * MESSAGE_MAX], got[4 * MESSAGE_MAX];
    const CK_OBJECT_HANDLE key = import_pattern(32, value);
    const size_t len = 50;

    (void)state;
    pattern(plain, sizeof(plain));
    for (int which = 0; which < 3; which++) {
        CK_MECHANISM mechanism = mechanism_of(which);
        const CK_ULONG sealed_len = run_single(encryption(), &mechanism, key, plain, len, sealed);
        for (int decrypts = 0; decrypts < 2; decrypts++) {
            const way w = decrypts ? decryption() : encryption();
            unsigned char *in = decrypts ? sealed : plain;
            const CK_ULONG in_len = decrypts ? sealed_len : len;
            CK_ULONG total = 0, asked, room;
            assert_ok(w.init(session, &mechanism, key));
            assert_ok(w.update(session, in, in_len, NULL, &asked));
            if (asked > 0) {
                room = asked - 1;
                assert_rv(w.update(session, in, in_len, got, &room), CKR_BUFFER_TOO_SMALL);
                assert_int_equal(room, asked);
            }
            room = asked;
            assert_ok(w.update(session, in, in_len, got, &room));
            total = room;
            for (room = 0; w.final(session, got + total, &room) == CKR_BUFFER_TOO_SMALL;)
                continue;
            total += room;
            assert_int_equal(total, decrypts ? len : sealed_len);
            assert_memory_equal(got, decrypts ? plain : sealed, total);
            assert_rv(w.final(session, got, &room), CKR_OPERATION_NOT_INITIALIZED);
        }
    }
}

static void any_other_failure_ends_the_operation(void **state)
{
    unsigned char value[32], in[16] = {0}, out[64];
    const CK_OBJECT_HANDLE key = import_pattern(32, value);
    CK_MECHANISM mechanism = mechanism_of(0);
    CK_ULONG len;

    (void)state;
    for (int decrypts = 0; decrypts < 2; decrypts++) {
        const way w = decrypts ? decryption() : encryption();
        assert_ok(w.init(session, &mechanism, key));
        assert_rv(w.init(session, &mechanism, key), CKR_OPERATION_ACTIVE);
        assert_rv(w.single(session, in, 16, out, NULL), CKR_ARGUMENTS_BAD);
        len = sizeof(out);
        assert_rv(w.single(session, in, 16, out, &len), CKR_OPERATION_NOT_INITIALIZED);

        assert_ok(w.init(session, &mechanism, key));
        assert_rv(w.update(session, NULL, 16, out, &len), CKR_ARGUMENTS_BAD);
        assert_rv(w.final(session, out, &len), CKR_OPERATION_NOT_INITIALIZED);

        assert_ok(w.init(session, &mechanism, key));
        assert_ok(w.update(session, in, 16, out, &len));
        len = sizeof(out);
        assert_rv(w.single(session, in, 16, out, &len), CKR_OPERATION_ACTIVE);
        assert_rv(w.update(session, in, 16, out, &len), CKR_OPERATION_NOT_INITIALIZED);
    }
}

static void both_ways_run_side_by_side(void **state)
{
    unsigned char value[32], plain[48], sealed[48], got[64];
    const CK_OBJECT_HANDLE key = import_pattern(32, value);
    CK_MECHANISM mechanism = mechanism_of(2);
    CK_ULONG len;

    (void)state;
    pattern(plain, sizeof(plain));
    assert_ok(p11->C_EncryptInit(session, &mechanism, key));
    assert_ok(p11->C_DecryptInit(session, &mechanism, key));
    for (size_t at = 0; at < sizeof(plain); at += 12) {
        len = 12;
        assert_ok(p11->C_EncryptUpdate(session, plain + at, 12, sealed + at, &len));
        len = 12;
        assert_ok(p11->C_DecryptUpdate(session, sealed + at, 12, got + at, &len));
    }
    assert_memory_equal(got, plain, sizeof(plain));
    len = 0;
    assert_ok(p11->C_EncryptFinal(session, got, &len));
    assert_ok(p11->C_DecryptFinal(session, got, &len));
}

static void gcm_gives_no_plaintext_before_the_tag_was_verified(void **state)
{
    unsigned char value[32], plain[MESSAGE_MAX], sealed[4 * MESSAGE_MAX], got[96], zero[96] = {0};
    const CK_OBJECT_HANDLE key = import_pattern(32, value);
    CK_MECHANISM mechanism = gcm_of(12, "header", 6, 128);
    CK_ULONG len;

    (void)state;
    pattern(plain, sizeof(plain));
    assert_int_equal(run_single(encryption(), &mechanism, key, plain, 64, sealed), 80);
    for (size_t byte = 0; byte < 80; byte++) {
        sealed[byte] ^= 0x10;
        memset(got, 0, sizeof(got));
        len = sizeof(got);
        assert_ok(p11->C_DecryptInit(session, &mechanism, key));
        assert_rv(p11->C_Decrypt(session, sealed, 80, got, &len), CKR_ENCRYPTED_DATA_INVALID);
        assert_memory_equal(got, zero, sizeof(got));
        assert_rv(p11->C_Decrypt(session, sealed, 80, got, &len), CKR_OPERATION_NOT_INITIALIZED);

        assert_ok(p11->C_DecryptInit(session, &mechanism, key));
        for (size_t at = 0; at < 80; at += 10) {
            len = sizeof(got);
            assert_ok(p11->C_DecryptUpdate(session, sealed + at, 10, got, &len));
            assert_int_equal(len, 0);
        }
        len = sizeof(got);
        assert_rv(p11->C_DecryptFinal(session, got, &len), CKR_ENCRYPTED_DATA_INVALID);
        assert_memory_equal(got, zero, sizeof(got));
        sealed[byte] ^= 0x10;
    }
    mechanism = gcm_of(12, "Header", 6, 128);
    len = sizeof(got);
    assert_ok(p11->C_DecryptInit(session, &mechanism, key));
    assert_rv(p11->C_Decrypt(session, sealed, 80, got, &len), CKR_ENCRYPTED_DATA_INVALID);
    for (CK_ULONG in = 0; in < 16; in++) {
        len = sizeof(got);
        assert_ok(p11->C_DecryptInit(session, &mechanism, key));
        assert_rv(p11->C_Decrypt(session, sealed, in, got, &len), CKR_ENCRYPTED_DATA_LEN_RANGE);
    }
}

static void an_operation_keeps_its_key_when_that_is_destroyed(void **state)
{
    unsigned char value[32], plain[64], sealed[4 * MESSAGE_MAX], got[96];
    const CK_OBJECT_HANDLE key = import_pattern(32, value);
    CK_MECHANISM mechanism = gcm_of(12, "header", 6, 128);
    CK_ULONG len = sizeof(got);

    (void)state;
    pattern(plain, sizeof(plain));
    run_single(encryption(), &mechanism, key, plain, 64, sealed);
    assert_ok(p11->C_DecryptInit(session, &mechanism, key));
    assert_ok(p11->C_DestroyObject(session, key));
    assert_rv(p11->C_EncryptInit(session, &mechanism, key), CKR_KEY_HANDLE_INVALID);
    assert_ok(p11->C_Decrypt(session, sealed, 80, got, &len));
    assert_memory_equal(got, plain, 64);
}

static void keys_that_do_not_fit_are_refused(void **state)
{
    unsigned char value[32];
    CK_BBOOL no = CK_FALSE;
    CK_ULONG size = 32;
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &size, sizeof(size)},
                               {CKA_DECRYPT, &no, sizeof(no)}};
    CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
    CK_MECHANISM mechanism = mechanism_of(0), by_kms = {CKM_KMS_ENCRYPT, NULL, 0};
    CK_OBJECT_HANDLE one_way;

    (void)state;
    pattern(value, sizeof(value));
    assert_rv(p11->C_EncryptInit(session, &mechanism, token_kms_key(session)),
              CKR_KEY_TYPE_INCONSISTENT);
    assert_rv(p11->C_EncryptInit(session, &by_kms, token_import(session, CKK_AES, value, 32)),
              CKR_KEY_TYPE_INCONSISTENT);
    assert_rv(p11->C_EncryptInit(session, &mechanism,
                                 token_import(session, CKK_GENERIC_SECRET, value, 32)),
              CKR_KEY_TYPE_INCONSISTENT);
    assert_ok(p11->C_GenerateKey(session, &generate, template, 2, &one_way));
    assert_rv(p11->C_DecryptInit(session, &mechanism, one_way), CKR_KEY_FUNCTION_NOT_PERMITTED);
    assert_ok(p11->C_EncryptInit(session, &mechanism, one_way));
}

static int open_session(void **state)
{
    (void)state;
    session = token_open();
    return 0;
}

static int close_session(void **state)
{
    (void)state;
    token_close();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_session, close_session)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gcm_gives_the_published_results),
        TEST(gcm_takes_ivs_of_1_to_128_bytes_and_tags_of_96_to_128_bits),
        TEST(mechanism_parameters_that_are_wrong_are_refused),
        TEST(cbc_pads_as_libcrypto_does),
        TEST(cbc_gives_the_published_result),
        TEST(cbc_refuses_lengths_and_padding_that_cannot_be),
        TEST(ctr_counts_as_wide_as_told_and_stops_where_it_would_come_round),
        TEST(ctr_of_the_whole_block_comes_round_as_the_standard_says),
        TEST(ctr_gives_the_published_result),
        TEST(every_split_gives_what_one_call_gives),
        TEST(in_place_gives_what_two_places_give),
        TEST(a_short_buffer_keeps_the_operation_and_the_input),
        TEST(a_short_buffer_in_parts_keeps_everything),
        TEST(any_other_failure_ends_the_operation),
        TEST(both_ways_run_side_by_side),
        TEST(gcm_gives_no_plaintext_before_the_tag_was_verified),
        TEST(an_operation_keeps_its_key_when_that_is_destroyed),
        TEST(keys_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, token_set_up, token_tear_down);
}
