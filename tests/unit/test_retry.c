#include "tests/unit/unit.h"

#include "core/retry.h"

static void exceptions_are_classified_by_name_not_by_status(void **state)
{
    static const struct {
        const char *name;
        long http;
        kms_status status;
        kms_retry_class retry;
    } rows[] = {
        {"ThrottlingException", 400, KMS_E_THROTTLED, KMS_RETRY_THROTTLED},
        {"LimitExceededException", 400, KMS_E_LIMIT, KMS_RETRY_NEVER},
        {"KMSInternalException", 400, KMS_E_SERVICE, KMS_RETRY_TRANSIENT},
        {"NotFoundException", 500, KMS_E_NOT_FOUND, KMS_RETRY_NEVER},
        {"InvalidCiphertextException", 400, KMS_E_CONTEXT_MISMATCH, KMS_RETRY_NEVER},
        {"ExpiredTokenException", 400, KMS_E_CREDENTIALS_EXPIRED, KMS_RETRY_EXPIRED},
        {"InvalidSignatureException", 400, KMS_E_SIGNATURE, KMS_RETRY_SKEW},
        {"AccessDeniedException", 400, KMS_E_ACCESS_DENIED, KMS_RETRY_SKEW},
        {"NobodyKnowsException", 400, KMS_E_REQUEST_REFUSED, KMS_RETRY_NEVER},
        {"NobodyKnowsException", 503, KMS_E_SERVICE, KMS_RETRY_TRANSIENT},
        {NULL, 502, KMS_E_SERVICE, KMS_RETRY_TRANSIENT},
        {NULL, 429, KMS_E_THROTTLED, KMS_RETRY_THROTTLED},
        {NULL, 403, KMS_E_REQUEST_REFUSED, KMS_RETRY_NEVER},
        {NULL, 307, KMS_E_REPLY_MALFORMED, KMS_RETRY_NEVER},
        {NULL, 204, KMS_E_REPLY_MALFORMED, KMS_RETRY_NEVER},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const kms_exception *row = kms_exception_find(rows[i].name, rows[i].http);
        assert_int_equal(row->status, rows[i].status);
        assert_int_equal(row->retry, rows[i].retry);
    }
}

static void no_answer_is_transient_but_a_bad_certificate_is_final(void **state)
{
    (void)state;
    assert_int_equal(kms_retry_of_status(KMS_E_UNREACHABLE), KMS_RETRY_TRANSIENT);
    assert_int_equal(kms_retry_of_status(KMS_E_TIMEOUT), KMS_RETRY_TRANSIENT);
    assert_int_equal(kms_retry_of_status(KMS_E_TLS_HANDSHAKE), KMS_RETRY_TRANSIENT);
    assert_int_equal(kms_retry_of_status(KMS_E_TLS), KMS_RETRY_NEVER);
    assert_int_equal(kms_retry_of_status(KMS_E_REPLY_TOO_LARGE), KMS_RETRY_NEVER);
}

static void delays_double_and_stay_below_twenty_seconds(void **state)
{
    (void)state;
    assert_int_equal(kms_retry_delay_ms(KMS_RETRY_TRANSIENT, 0, UINT32_MAX, -1), 100);
    assert_int_equal(kms_retry_delay_ms(KMS_RETRY_TRANSIENT, 3, UINT32_MAX, -1), 800);
    assert_int_equal(kms_retry_delay_ms(KMS_RETRY_THROTTLED, 0, UINT32_MAX, -1), 500);
    assert_int_equal(kms_retry_delay_ms(KMS_RETRY_THROTTLED, 9, UINT32_MAX, -1), 20000);
    assert_int_equal(kms_retry_delay_ms(KMS_RETRY_THROTTLED, 9, 0, -1), 0);
}

static void the_servers_hint_is_honoured_within_bounds(void **state)
{
    (void)state;
    assert_int_equal(kms_retry_delay_ms(KMS_RETRY_THROTTLED, 0, 0, 700), 700);
    assert_int_equal(kms_retry_delay_ms(KMS_RETRY_THROTTLED, 0, 0, 60000), 5000);
    assert_int_equal(kms_retry_delay_ms(KMS_RETRY_THROTTLED, 0, UINT32_MAX, 100), 500);
}

static void the_quota_runs_dry_and_fills_with_success(void **state)
{
    kms_retry_quota quota;
    int taken = 0;

    (void)state;
    kms_retry_quota_init(&quota);
    for (int i = 0; i < 100; i++)
        assert_true(kms_retry_quota_take(&quota, KMS_E_THROTTLED, &taken));
    assert_false(kms_retry_quota_take(&quota, KMS_E_THROTTLED, &taken));
    kms_retry_quota_give(&quota, taken);
    assert_false(kms_retry_quota_take(&quota, KMS_E_TIMEOUT, &taken)); /* costs double */
    assert_true(kms_retry_quota_take(&quota, KMS_E_THROTTLED, &taken));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exceptions_are_classified_by_name_not_by_status),
        cmocka_unit_test(no_answer_is_transient_but_a_bad_certificate_is_final),
        cmocka_unit_test(delays_double_and_stay_below_twenty_seconds),
        cmocka_unit_test(the_servers_hint_is_honoured_within_bounds),
        cmocka_unit_test(the_quota_runs_dry_and_fills_with_success),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
