#include "tests/unit/unit.h"

#include "core/libctx.h"
#include "core/sigv4.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static OSSL_LIB_CTX *libctx;
static kms_sigv4 *signer;

static int set_up(void **state)
{
    (void)state;
    return kms_libctx_new(&libctx, NULL) == KMS_OK && kms_sigv4_new(libctx, &signer, NULL) == KMS_OK
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    kms_sigv4_free(signer);
    kms_libctx_free(libctx);
    return 0;
}

static kms_bytes text(const char *s)
{
    return (kms_bytes){(const uint8_t *)s, strlen(s)};
}

static kms_credentials credentials(const char *id, const char *secret)
{
    kms_credentials c = {0};

    snprintf(c.access_key_id, sizeof(c.access_key_id), "%s", id);
    assert_int_equal(kms_secret_copy(&c.secret_access_key, text(secret), NULL), KMS_OK);
    return c;
}

static const kms_sigv4_header example_headers[] = {
    {"content-type", "application/x-amz-json-1.1"},
    {"host", "kms.eu-central-1.amazonaws.com"},
    {"x-amz-date", "20260102T030405Z"},
    {"x-amz-security-token", "EXAMPLETOKEN"},
    {"x-amz-target", "TrentService.ListKeys"},
};

static kms_sigv4_request example(void)
{
    return (kms_sigv4_request){
        .region = "eu-central-1",
        .service = "kms",
        .path = "/",
        .headers = example_headers,
        .header_count = 5,
        .date = "20260102T030405Z",
        .body = text("{}"),
    };
}

#define EXAMPLE_SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

/* Computed independently; the botocore comparison in sigv4_botocore.py covers the rest. */
static void the_known_example_gets_the_known_signature(void **state)
{
    kms_credentials c = credentials("AKIDEXAMPLE", EXAMPLE_SECRET);
    kms_sigv4_request request = example();
    char authorization[KMS_SIGV4_AUTHORIZATION_MAX];

    (void)state;
    assert_int_equal(kms_sigv4_sign(signer, &request, &c, authorization, NULL), KMS_OK);
    assert_string_equal(
        authorization,
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/eu-central-1/kms/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, "
        "Signature=9ac5bd8f856ba1cec72ff36f4f5f731e1887701b645c5c9b6dbf422a471d9f40");
    kms_credentials_clear(&c);
}

static void the_kept_signing_key_follows_secret_region_and_day(void **state)
{
    kms_credentials a = credentials("AKIDEXAMPLE", EXAMPLE_SECRET);
    kms_credentials b = credentials("AKIDEXAMPLE", "another secret");
    kms_sigv4_request request = example();
    char first[KMS_SIGV4_AUTHORIZATION_MAX], other[KMS_SIGV4_AUTHORIZATION_MAX],
        again[KMS_SIGV4_AUTHORIZATION_MAX];

    (void)state;
    assert_int_equal(kms_sigv4_sign(signer, &request, &a, first, NULL), KMS_OK);
    assert_int_equal(kms_sigv4_sign(signer, &request, &b, other, NULL), KMS_OK);
    assert_string_not_equal(strstr(first, "Signature="), strstr(other, "Signature="));
    request.region = "eu-west-1";
    assert_int_equal(kms_sigv4_sign(signer, &request, &a, other, NULL), KMS_OK);
    assert_string_not_equal(strstr(first, "Signature="), strstr(other, "Signature="));
    request.region = "eu-central-1";
    assert_int_equal(kms_sigv4_sign(signer, &request, &a, again, NULL), KMS_OK);
    assert_string_equal(first, again);
    kms_credentials_clear(&a);
    kms_credentials_clear(&b);
}

static void more_headers_than_fit_are_refused(void **state)
{
    kms_credentials c = credentials("AKIDEXAMPLE", EXAMPLE_SECRET);
    kms_sigv4_request request = example();
    char authorization[KMS_SIGV4_AUTHORIZATION_MAX];
    kms_sigv4_header headers[100];

    (void)state;
    for (size_t i = 0; i < 100; i++)
        headers[i] = (kms_sigv4_header){"x-amz-header", "value"};
    request.headers = headers;
    request.header_count = 100;
    assert_int_equal(kms_sigv4_sign(signer, &request, &c, authorization, NULL), KMS_E_ARGUMENT);
    kms_credentials_clear(&c);
}

static void every_byte_of_a_long_session_token_counts(void **state)
{
    kms_credentials c = credentials("AKIDEXAMPLE", EXAMPLE_SECRET);
    kms_sigv4_request request = example();
    char first[KMS_SIGV4_AUTHORIZATION_MAX], other[KMS_SIGV4_AUTHORIZATION_MAX];
    char *token = malloc(60001);
    kms_sigv4_header header = {"x-amz-security-token", token};

    (void)state;
    assert_non_null(token);
    memset(token, 'x', 60000);
    token[60000] = '\0';
    request.headers = &header;
    request.header_count = 1;
    assert_int_equal(kms_sigv4_sign(signer, &request, &c, first, NULL), KMS_OK);
    token[59999] = 'y';
    assert_int_equal(kms_sigv4_sign(signer, &request, &c, other, NULL), KMS_OK);
    assert_string_not_equal(first, other);
    free(token);
    kms_credentials_clear(&c);
}

static void *sign_often(void *arg)
{
    const char *secret = arg;
    kms_credentials c = credentials("AKIDEXAMPLE", secret);
    kms_sigv4_request request = example();
    char first[KMS_SIGV4_AUTHORIZATION_MAX], next[KMS_SIGV4_AUTHORIZATION_MAX];
    int differing = kms_sigv4_sign(signer, &request, &c, first, NULL) != KMS_OK;

    for (int i = 0; i < 200; i++)
        differing +=
            kms_sigv4_sign(signer, &request, &c, next, NULL) != KMS_OK || strcmp(first, next) != 0;
    kms_credentials_clear(&c);
    return (void *)(intptr_t)differing;
}

static void threads_with_different_secrets_do_not_mix(void **state)
{
    static char secrets[4][8] = {"one", "two", "three", "four"};
    pthread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sign_often, secrets[i]), 0);
    for (int i = 0; i < 4; i++) {
        void *differing;
        pthread_join(threads[i], &differing);
        assert_null(differing);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_known_example_gets_the_known_signature),
        cmocka_unit_test(the_kept_signing_key_follows_secret_region_and_day),
        cmocka_unit_test(more_headers_than_fit_are_refused),
        cmocka_unit_test(every_byte_of_a_long_session_token_counts),
        cmocka_unit_test(threads_with_different_secrets_do_not_mix),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
