/* kms-local believes no request that is not signed right, and says in AWS's words why. */
#include "tests/integration/wire.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

static test_server server;

static void a_right_request_is_answered(void **state)
{
    (void)state;
    wire_expect(&server, &(wire_request){.operation = "ListKeys"}, "");
    wire_expect(&server,
                &(wire_request){
                    .operation = "ListKeys", .id = "temporary", .secret = "s", .token = "t0ken"},
                "");
}

static void a_clock_within_five_minutes_is_right(void **state)
{
    (void)state;
    wire_expect(&server, &(wire_request){.operation = "ListKeys", .skew = -240}, "");
    wire_expect(&server, &(wire_request){.operation = "ListKeys", .skew = 240}, "");
}

static void what_is_signed_wrong_is_refused(void **state)
{
    static const struct {
        const char *exception;
        wire_request request;
    } rows[] = {
        {"InvalidSignatureException", {.secret = "wrong"}},
        {"InvalidSignatureException", {.sent_body = "{\"Limit\":1}"}},
        {"InvalidSignatureException", {.sent_target = "TrentService.ListAliases"}},
        {"InvalidSignatureException", {.extra = "x-amz-date: 20200101T000000Z"}},
        {"InvalidSignatureException", {.extra = "x-amz-target: TrentService.ListAliases"}},
        {"InvalidSignatureException", {.extra = "x-amz-meta: not signed"}},
        {"InvalidSignatureException", {.extra = "X-Amz-Security-Token: not signed"}},
        {"InvalidSignatureException", {.query = "?a=b"}},
        {"InvalidSignatureException", {.query = "?X-Amz-Date=1"}},
        {"InvalidSignatureException", {.skew = -360}},
        {"InvalidSignatureException", {.skew = 360}},
        {"UnrecognizedClientException", {.id = "nobody"}},
        {"UnrecognizedClientException", {.id = "temporary", .secret = "s"}},
        {"UnrecognizedClientException", {.id = "temporary", .secret = "s", .token = "other"}},
        {"UnrecognizedClientException", {.token = "not expected"}},
        {"MissingAuthenticationTokenException", {.authorization = ""}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        wire_request request = rows[i].request;
        request.operation = "ListKeys";
        wire_expect(&server, &request, rows[i].exception);
    }
}

#define SCOPE "local/20260102/eu-central-1/kms/aws4_request"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

static void an_authorization_header_of_another_form_is_refused(void **state)
{
    static const struct {
        const char *exception, *text;
    } rows[] = {
        {"IncompleteSignatureException", "Basic bG9jYWw6bG9jYWw="},
        {"IncompleteSignatureException", "AWS4-HMAC-SHA256"},
        {"IncompleteSignatureException", "AWS4-HMAC-SHA256 Credential=" SCOPE},
        {"IncompleteSignatureException",
         "AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=host;x-amz-date"},
        {"IncompleteSignatureException", "AWS4-HMAC-SHA256 Credential=" SCOPE ", Signature=" ZEROS},
        {"IncompleteSignatureException",
         "AWS4-HMAC-SHA256 SignedHeaders=host;x-amz-date, Signature=" ZEROS},
        {"IncompleteSignatureException",
         "AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=host;x-amz-date, Signature=" ZEROS
         ", Signature=" ZEROS},
        {"IncompleteSignatureException",
         "AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=host;x-amz-date, Signature=" ZEROS
         ", More=1"},
        {"IncompleteSignatureException",
         "AWS4-HMAC-SHA256 Credential=local/20260102/eu-central-1/kms, "
         "SignedHeaders=host;x-amz-date, Signature=" ZEROS},
        {"IncompleteSignatureException",
         "AWS4-HMAC-SHA256 Credential=" SCOPE "/more, SignedHeaders=host;x-amz-date, "
         "Signature=" ZEROS},
        {"InvalidSignatureException",
         "AWS4-HMAC-SHA256 Credential=local/20260102/eu-central-1/kms/aws3, "
         "SignedHeaders=host;x-amz-date, Signature=" ZEROS},
        {"InvalidSignatureException",
         "AWS4-HMAC-SHA256 Credential=local/20260102/eu-central-1/s3/aws4_request, "
         "SignedHeaders=host;x-amz-date, Signature=" ZEROS},
        {"InvalidSignatureException",
         "AWS4-HMAC-SHA256 Credential=local/20260102/EU_CENTRAL/kms/aws4_request, "
         "SignedHeaders=host;x-amz-date, Signature=" ZEROS},
        {"InvalidSignatureException",
         "AWS4-HMAC-SHA256 Credential=local/20260102/a-region-whose-name-is-longer-than-any/kms/"
         "aws4_request, SignedHeaders=host;x-amz-date, Signature=" ZEROS},
        /* A day that is not the request's. */
        {"InvalidSignatureException",
         "AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=host;x-amz-date, Signature=" ZEROS},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        wire_expect(&server,
                    &(wire_request){.operation = "ListKeys", .authorization = rows[i].text},
                    rows[i].exception);
    }
}

static void a_signature_over_too_few_headers_is_refused(void **state)
{
    static const char *const lists[] = {"host;x-amz-target",
                                        "x-amz-date;x-amz-target",
                                        "host;x-amz-date",
                                        "",
                                        ";;;",
                                        "host;nothing;x-amz-date;x-amz-target"};
    char today[16], text[512];
    time_t now = time(NULL);
    struct tm utc;

    (void)state;
    gmtime_r(&now, &utc);
    strftime(today, sizeof(today), "%Y%m%d", &utc);
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        snprintf(text, sizeof(text),
                 "AWS4-HMAC-SHA256 Credential=local/%s/eu-central-1/kms/aws4_request, "
                 "SignedHeaders=%s, Signature=" ZEROS,
                 today, lists[i]);
        wire_expect(&server, &(wire_request){.operation = "ListKeys", .authorization = text},
                    "InvalidSignatureException");
    }
}

static void a_skewed_clock_is_told_the_time(void **state)
{
    wire_reply reply;

    (void)state;
    wire_send(&server, &(wire_request){.operation = "ListKeys", .skew = -3600}, &reply);
    assert_non_null(strstr(reply.text, "Signature expired"));
    wire_reply_clear(&reply);
    wire_send(&server, &(wire_request){.operation = "ListKeys", .skew = 3600}, &reply);
    assert_non_null(strstr(reply.text, "Signature not yet current"));
    wire_reply_clear(&reply);
}

static int set_up(void **state)
{
    static const char *const options[] = {"--credentials", "local:local", "--credentials",
                                          "temporary:s:t0ken", NULL};

    (void)state;
    test_server_start(&server, options);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_right_request_is_answered),
        cmocka_unit_test(a_clock_within_five_minutes_is_right),
        cmocka_unit_test(what_is_signed_wrong_is_refused),
        cmocka_unit_test(an_authorization_header_of_another_form_is_refused),
        cmocka_unit_test(a_signature_over_too_few_headers_is_refused),
        cmocka_unit_test(a_skewed_clock_is_told_the_time),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
