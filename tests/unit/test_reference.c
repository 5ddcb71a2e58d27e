/* Key references: what is written is read again, and damaged ones are refused. */
#include "tests/unit/unit.h"

#include "core/reference.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#define ARN "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

/* Version 1, the ARN (78 bytes), a public key of three bytes, the context {"a": "b"}. */
static const char known[] = "\x30\x66"
                            "\x02\x01\x01"
                            "\x0c\x4e" ARN "\xa0\x05\x04\x03\x01\x02\x03"
                            "\xa1\x0a\x30\x08\x30\x06\x0c\x01\x61\x0c\x01\x62";
#define KNOWN_LEN (sizeof(known) - 1)

static kms_status read_bytes(const void *data, size_t len, kms_reference *out, kms_error *err)
{
    kms_status st = kms_reference_read((kms_bytes){data, len}, out, err);

    if (st != KMS_OK && (out->arn != NULL || out->spki.data != NULL || out->context != NULL))
        fail_msg("%s left something", kms_status_name(st));
    return st;
}

static void known_bytes_are_read(void **state)
{
    kms_reference reference;
    kms_error err = {0};

    (void)state;
    assert_int_equal(KNOWN_LEN, 0x68);
    if (read_bytes(known, KNOWN_LEN, &reference, &err) != KMS_OK)
        fail_msg("%s: %s", kms_status_name(err.status), err.detail);
    assert_string_equal(reference.arn, ARN);
    assert_int_equal(reference.spki.len, 3);
    assert_memory_equal(reference.spki.data, "\1\2\3", 3);
    assert_int_equal(kms_context_count(reference.context), 1);
    assert_string_equal(kms_context_name(reference.context, 0), "a");
    assert_string_equal(kms_context_value(reference.context, 0), "b");
    kms_reference_clear(&reference);
    kms_reference_clear(&reference);
}

static void known_bytes_are_written(void **state)
{
    uint8_t spki[] = {1, 2, 3};
    kms_reference reference = {.arn = (char *)(uintptr_t)ARN, .spki = {spki, 3}};
    kms_buffer der = {0};

    (void)state;
    reference.context = kms_context_new();
    assert_int_equal(kms_context_add(reference.context, "a", "b", NULL), KMS_OK);
    assert_int_equal(kms_reference_write(&reference, &der, NULL), KMS_OK);
    assert_int_equal(der.len, KNOWN_LEN);
    assert_memory_equal(der.data, known, KNOWN_LEN);
    kms_buffer_clear(&der);
    kms_context_free(reference.context);
}

static void key_and_context_may_be_absent(void **state)
{
    const kms_reference reference = {.arn = (char *)(uintptr_t)ARN};
    kms_reference back;
    kms_buffer der = {0};

    (void)state;
    assert_int_equal(kms_reference_write(&reference, &der, NULL), KMS_OK);
    assert_int_equal(read_bytes(der.data, der.len, &back, NULL), KMS_OK);
    assert_string_equal(back.arn, ARN);
    assert_int_equal(back.spki.len, 0);
    assert_null(back.context);
    kms_reference_clear(&back);
    kms_buffer_clear(&der);
}

static void every_truncation_is_refused(void **state)
{
    kms_reference reference;
    kms_error err = {0};

    (void)state;
    for (size_t len = 0; len < KNOWN_LEN; len++) {
        uint8_t *cut = malloc(len + 1); /* so that a sanitizer sees what is read behind it */
        memcpy(cut, known, len);
        assert_int_equal(read_bytes(cut, len, &reference, &err), KMS_E_KEY_REFERENCE);
        assert_true(err.detail[0] != '\0');
        free(cut);
    }
    assert_int_equal(ERR_peek_error(), 0);
}

static void a_flipped_byte_is_refused_or_changes_no_more_than_a_value(void **state)
{
    kms_reference reference;
    uint8_t changed[KNOWN_LEN];

    (void)state;
    for (size_t at = 0; at < KNOWN_LEN; at++) {
        for (unsigned flip = 1; flip < 256; flip++) {
            memcpy(changed, known, KNOWN_LEN);
            changed[at] ^= (uint8_t)flip;
            if (read_bytes(changed, KNOWN_LEN, &reference, NULL) != KMS_OK)
                continue;
            assert_int_equal(strlen(reference.arn), strlen(ARN));
            assert_int_equal(reference.spki.len, 3);
            assert_int_equal(kms_context_count(reference.context), 1);
            kms_reference_clear(&reference);
        }
    }
    assert_int_equal(ERR_peek_error(), 0);
}

static void what_is_no_reference_of_this_version_says_what_is_wrong(void **state)
{
    static const char two[] = "\x30\x53\x02\x01\x02\x0c\x4e" ARN;
    static const char alias[] = "\x30\x30\x02\x01\x01\x0c\x2b"
                                "arn:aws:kms:eu-central-1:111122223333:alias";
    static const char nul[] = "\x30\x0a\x02\x01\x01\x0c\x05"
                              "arn:\0";
    static const char empty[] = "\x30\x05\x02\x01\x01\x0c\x00";
    static const char twice[] =
        "\x30\x69\x02\x01\x01\x0c\x4e" ARN "\xa1\x14\x30\x12\x30\x06\x0c\x01"
        "a\x0c\x01"
        "b\x30\x08\x0c\x01"
        "a\x0c\x03"
        "bcd";
    static const struct {
        const char *what, *der;
        size_t len;
        kms_status status;
        const char *detail;
    } rows[] = {
        {"a later version", two, sizeof(two) - 1, KMS_E_KEY_REFERENCE, "version 2"},
        {"an alias", alias, sizeof(alias) - 1, KMS_E_KEY_REFERENCE, "by its ARN"},
        {"a NUL in the ARN", nul, sizeof(nul) - 1, KMS_E_KEY_REFERENCE, "by its ARN"},
        {"an empty ARN", empty, sizeof(empty) - 1, KMS_E_KEY_REFERENCE, "by its ARN"},
        {"a name twice", twice, sizeof(twice) - 1, KMS_E_CONTEXT_DUPLICATE, "a"},
        {"text", "hello", 5, KMS_E_KEY_REFERENCE, "5 bytes"},
    };
    kms_reference reference;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_error err = {0};
        kms_status st = read_bytes(rows[i].der, rows[i].len, &reference, &err);
        if (st != rows[i].status || strstr(err.detail, rows[i].detail) == NULL)
            fail_msg("%s: %s (%s)", rows[i].what, kms_status_name(st), err.detail);
    }
}

static void bytes_behind_a_reference_and_too_many_are_refused(void **state)
{
    uint8_t *large = calloc(1, KMS_REFERENCE_MAX + 1);
    kms_reference reference;

    (void)state;
    memcpy(large, known, KNOWN_LEN);
    assert_int_equal(read_bytes(large, KNOWN_LEN, &reference, NULL), KMS_OK);
    kms_reference_clear(&reference);
    assert_int_equal(read_bytes(large, KNOWN_LEN + 1, &reference, NULL), KMS_E_KEY_REFERENCE);
    assert_int_equal(read_bytes(large, KMS_REFERENCE_MAX + 1, &reference, NULL),
                     KMS_E_KEY_REFERENCE);
    free(large);
}

static void the_application_s_errors_stay(void **state)
{
    kms_reference reference;
    unsigned long mine;

    (void)state;
    ERR_raise(ERR_LIB_USER, 42);
    mine = ERR_peek_last_error();
    assert_int_not_equal(read_bytes("\x30\x80nonsense", 10, &reference, NULL), KMS_OK);
    assert_int_equal(ERR_get_error(), mine);
    assert_int_equal(ERR_get_error(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_bytes_are_read),
        cmocka_unit_test(known_bytes_are_written),
        cmocka_unit_test(key_and_context_may_be_absent),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(a_flipped_byte_is_refused_or_changes_no_more_than_a_value),
        cmocka_unit_test(what_is_no_reference_of_this_version_says_what_is_wrong),
        cmocka_unit_test(bytes_behind_a_reference_and_too_many_are_refused),
        cmocka_unit_test(the_application_s_errors_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
