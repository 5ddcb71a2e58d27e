/* DigestInfo: read exactly, or not at all. */
#include "tests/unit/unit.h"

#include "core/digest_info.h"

/* The fixed bytes before the digest in RFC 8017, 9.2, note 1. */
#define SHA2_INFO(total, hash, len)                                                                \
    "\x30" total "\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02" hash "\x05\x00\x04" len
#define SHA256_INFO SHA2_INFO("\x31", "\x01", "\x20")
#define SHA384_INFO SHA2_INFO("\x41", "\x02", "\x30")
#define SHA512_INFO SHA2_INFO("\x51", "\x03", "\x40")
#define SHA224_INFO SHA2_INFO("\x2d", "\x04", "\x1c")
#define SHA3_INFO   SHA2_INFO("\x31", "\x08", "\x20")
#define PREFIX      19 /* bytes */

static const kms_algorithm *read_info(const char *prefix, size_t prefix_len, size_t digest_len,
                                      kms_bytes *digest)
{
    static uint8_t info[256];

    memcpy(info, prefix, prefix_len);
    for (size_t i = 0; i < digest_len; i++)
        info[prefix_len + i] = (uint8_t)(i + 1);
    return kms_digest_info_read(kms_key_spec_find("RSA_2048"),
                                (kms_bytes){info, prefix_len + digest_len}, digest);
}

static void a_digest_info_gives_algorithm_and_digest(void **state)
{
    static const struct {
        const char *prefix;
        size_t len;
        const char *algorithm;
    } rows[] = {{SHA256_INFO, 32, "RSASSA_PKCS1_V1_5_SHA_256"},
                {SHA384_INFO, 48, "RSASSA_PKCS1_V1_5_SHA_384"},
                {SHA512_INFO, 64, "RSASSA_PKCS1_V1_5_SHA_512"}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        kms_bytes digest = {0};
        const kms_algorithm *algorithm = read_info(rows[i].prefix, PREFIX, rows[i].len, &digest);
        assert_non_null(algorithm);
        assert_string_equal(algorithm->name, rows[i].algorithm);
        assert_int_equal(digest.len, rows[i].len);
        assert_int_equal(digest.data[0], 1);
        assert_int_equal(digest.data[digest.len - 1], rows[i].len);
    }
}

static void what_is_no_exact_digest_info_of_a_hash_of_kms_is_none(void **state)
{
    static const struct {
        const char *what, *prefix;
        size_t prefix_len, digest_len;
    } rows[] = {
        {"nothing", "", 0, 0},
        {"a bare SHA-256", "", 0, 32},
        {"MD5 and SHA-1", "", 0, 36},
        {"a bare SHA-512", "", 0, 64},
        {"SHA-1", "\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14", 15, 20},
        {"SHA-224", SHA224_INFO, PREFIX, 28},
        {"SHA3-256", SHA3_INFO, PREFIX, 32},
        {"a byte too few", SHA256_INFO, PREFIX, 31},
        {"a byte too many", SHA256_INFO, PREFIX, 33},
        {"a SHA-256 that says SHA-384", SHA2_INFO("\x31", "\x02", "\x20"), PREFIX, 32},
        {"a digest of 48 that says SHA-256", SHA2_INFO("\x41", "\x01", "\x30"), PREFIX, 48},
        {"no parameters", "\x30\x2f\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x04\x20",
         17, 32},
        {"other parameters",
         "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x04\x00\x04\x20", 19, 32},
        {"a length in two bytes",
         "\x30\x81\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20", 20,
         32},
        {"a NULL in three bytes",
         "\x30\x32\x30\x0e\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x81\x00\x04\x20", 20,
         32},
        {"an indefinite length",
         "\x30\x80\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20", 19, 32},
        {"far too much", SHA256_INFO, PREFIX, 200},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_bytes digest = {0};
        if (read_info(rows[i].prefix, rows[i].prefix_len, rows[i].digest_len, &digest) != NULL)
            fail_msg("%s was taken", rows[i].what);
        assert_null(digest.data);
    }
}

/* With a digest of another size behind a cut one it would be another hash's. */
static void a_digest_info_that_is_cut_is_none(void **state)
{
    static const char *const prefixes[] = {SHA256_INFO, SHA384_INFO, SHA512_INFO};
    kms_bytes digest = {0};

    (void)state;
    for (size_t i = 0; i < 3; i++)
        for (size_t len = 0; len < 32 + 16 * i; len++)
            assert_null(read_info(prefixes[i], PREFIX, len, &digest));
    for (size_t start = 1; start <= PREFIX; start++)
        assert_null(read_info(&SHA256_INFO[start], PREFIX - start, 32, &digest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_digest_info_gives_algorithm_and_digest),
        cmocka_unit_test(what_is_no_exact_digest_info_of_a_hash_of_kms_is_none),
        cmocka_unit_test(a_digest_info_that_is_cut_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
