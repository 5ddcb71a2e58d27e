#include "tests/unit/settings.h"

#include "core/error.h"

#include <p11-kit/pkcs11.h>

#define ERRORS KMS_SOURCE_DIR "/docs/errors.md"

static void every_status_has_all_facts(void **state)
{
    (void)state;
    for (int i = 1; i < KMS_STATUS_COUNT; i++) {
        kms_status status = (kms_status)i;
        assert_memory_equal(kms_status_name(status), "KMS_E_", 6);
        assert_true(strlen(kms_status_sentence(status)) > 0);
        assert_true(strlen(kms_status_remedy(status)) > 0);
        assert_true(kms_status_ckr(status) != CKR_OK);
        assert_in_range(kms_status_exit_code(status), 1, 7);
        for (int j = 1; j < i; j++)
            assert_string_not_equal(kms_status_sentence(status),
                                    kms_status_sentence((kms_status)j));
    }
}

static void success_is_no_error(void **state)
{
    (void)state;
    assert_int_equal(kms_status_exit_code(KMS_OK), 0);
    assert_int_equal(kms_status_ckr(KMS_OK), CKR_OK);
}

static void a_number_that_is_no_status_is_an_internal_error(void **state)
{
    (void)state;
    assert_string_equal(kms_status_name(KMS_STATUS_COUNT), "KMS_E_INTERNAL");
    assert_string_equal(kms_status_name((kms_status)100000), "KMS_E_INTERNAL");
}

static void fail_records_detail_and_forgets_the_last_error(void **state)
{
    kms_error err = {.exception = "NotFoundException", .request_id = "id-1"};

    (void)state;
    assert_int_equal(kms_fail(&err, KMS_E_NOT_FOUND, "alias/%s", "x"), KMS_E_NOT_FOUND);
    assert_int_equal(err.status, KMS_E_NOT_FOUND);
    assert_string_equal(err.detail, "alias/x");
    assert_string_equal(err.exception, "");
    assert_string_equal(err.request_id, "");
    assert_int_equal(kms_fail(NULL, KMS_E_TIMEOUT, "x"), KMS_E_TIMEOUT);
}

static void fail_takes_its_own_detail_as_argument(void **state)
{
    kms_error err = {0};

    (void)state;
    kms_fail(&err, KMS_E_NOT_FOUND, "inner");
    kms_fail(&err, KMS_E_SERVICE, "outer: %s", err.detail);
    assert_string_equal(err.detail, "outer: inner");
}

static void a_long_detail_is_cut_between_characters(void **state)
{
    char text[KMS_ERROR_DETAIL_MAX + 64];
    kms_error err;

    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        size_t len = 0;
        memset(text, 'a', shift);
        for (len = shift; len + 4 < sizeof(text); len += 4)
            memcpy(text + len, "\xf0\x9f\x94\x91", 4);
        text[len] = '\0';
        kms_fail(&err, KMS_E_INTERNAL, "%s", text);
        assert_true(strlen(err.detail) < KMS_ERROR_DETAIL_MAX);
        assert_int_equal((strlen(err.detail) - shift) % 4, 0);
        assert_memory_equal(err.detail, text, strlen(err.detail));
    }
}

static void the_text_has_sentence_detail_remedy_and_request(void **state)
{
    static const struct {
        const char *detail, *exception, *request_id, *text, *explanation;
    } rows[] = {
        {"", "", "", "KMS has an internal failure; try again later", "try again later"},
        {"HTTP 500", "", "", "KMS has an internal failure: HTTP 500; try again later",
         "HTTP 500; try again later"},
        {"HTTP 500", "KMSInternalException", "",
         "KMS has an internal failure: HTTP 500; try again later (AWS exception "
         "KMSInternalException)",
         "HTTP 500; try again later (AWS exception KMSInternalException)"},
        {"", "", "r-1", "KMS has an internal failure; try again later (request id r-1)",
         "try again later (request id r-1)"},
        {"d", "X", "r-1",
         "KMS has an internal failure: d; try again later (AWS exception X, request id r-1)",
         "d; try again later (AWS exception X, request id r-1)"},
    };
    char text[KMS_ERROR_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_error err = {.status = KMS_E_SERVICE};
        snprintf(err.detail, sizeof(err.detail), "%s", rows[i].detail);
        snprintf(err.exception, sizeof(err.exception), "%s", rows[i].exception);
        snprintf(err.request_id, sizeof(err.request_id), "%s", rows[i].request_id);
        kms_error_text(&err, text, sizeof(text));
        assert_string_equal(text, rows[i].text);
        kms_error_explain(&err, text, sizeof(text));
        assert_string_equal(text, rows[i].explanation);
    }
}

static void what_others_sent_can_not_drive_a_terminal(void **state)
{
    kms_error err = {.status = KMS_E_REQUEST_REFUSED,
                     .detail = "a\nb\x1b[2Jc",
                     .exception = "X\x1b[31m",
                     .request_id = "id\r\n\x7f"};
    char text[KMS_ERROR_TEXT_MAX];

    (void)state;
    kms_error_text(&err, text, sizeof(text));
    for (const char *c = text; *c != '\0'; c++)
        assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
    assert_non_null(strstr(text, "a b [2Jc"));
}

static void a_small_buffer_holds_a_cut_text(void **state)
{
    const kms_error err = {.status = KMS_E_SERVICE, .detail = "d"};
    char text[8] = "1234567";

    (void)state;
    kms_error_text(&err, text, 0);
    assert_string_equal(text, "1234567");
    kms_error_text(&err, text, 1);
    assert_string_equal(text, "");
    kms_error_text(&err, text, sizeof(text));
    assert_string_equal(text, "KMS has");
}

static void the_longest_texts_fit(void **state)
{
    kms_error err = {0};
    char text[KMS_ERROR_TEXT_MAX];

    (void)state;
    for (int i = 1; i < KMS_STATUS_COUNT; i++) {
        err.status = (kms_status)i;
        memset(err.detail, 'd', sizeof(err.detail) - 1);
        memset(err.exception, 'x', sizeof(err.exception) - 1);
        memset(err.request_id, 'r', sizeof(err.request_id) - 1);
        kms_error_text(&err, text, sizeof(text));
        assert_int_equal(text[strlen(text) - 1], ')');
    }
}

#define ERROR_LINE(name, ckr, exit, sentence, remedy)                                              \
    "| `KMS_E_" #name "` | " sentence " | " remedy " | " #ckr " | " #exit " |\n",

static void every_error_is_documented(void **state)
{
    static const char *const lines[] = {KMS_ERROR_TABLE(ERROR_LINE)};
    char *text = read_source(ERRORS);
    size_t rows = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (strstr(text, lines[i]) == NULL)
            fail_msg("docs/errors.md lacks the line %s", lines[i]);
    }
    for (const char *at = text; (at = strstr(at, "\n| `")) != NULL; at++)
        rows++;
    assert_int_equal(rows, KMS_STATUS_COUNT - 1);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_all_facts),
        cmocka_unit_test(success_is_no_error),
        cmocka_unit_test(a_number_that_is_no_status_is_an_internal_error),
        cmocka_unit_test(fail_records_detail_and_forgets_the_last_error),
        cmocka_unit_test(fail_takes_its_own_detail_as_argument),
        cmocka_unit_test(a_long_detail_is_cut_between_characters),
        cmocka_unit_test(the_text_has_sentence_detail_remedy_and_request),
        cmocka_unit_test(what_others_sent_can_not_drive_a_terminal),
        cmocka_unit_test(a_small_buffer_holds_a_cut_text),
        cmocka_unit_test(the_longest_texts_fit),
        cmocka_unit_test(every_error_is_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
