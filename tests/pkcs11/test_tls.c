/* Over HTTPS: what is not trusted is refused, and libcurl's use of OpenSSL stays out of the
 * application's sight. */
#include "tests/pkcs11/token.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

static void a_certificate_that_is_not_trusted_ends_it(void **state)
{
    CK_SESSION_HANDLE session;

    (void)state;
    unsetenv("AWS_CA_BUNDLE");
    session = token_open();
    token_log_reset();
    assert_rv(p11->C_FindObjectsInit(session, NULL, 0), CKR_DEVICE_ERROR);
    assert_non_null(
        strstr(token_log(), "kms: C_FindObjectsInit: TLS connection to KMS failed: https://"));
    token_close();
}

static void a_certificate_of_the_bundle_is_trusted(void **state)
{
    unsigned char value[32] = {1};
    CK_SESSION_HANDLE session;

    (void)state;
    setenv("AWS_CA_BUNDLE", token_certificate, 1);
    session = token_open();
    token_import(session, CKK_AES, value, 32);
    token_close();
}

/* Whatever the call does, the thread's error queue is the application's. */
static void expect_queue(void)
{
    const char *file, *function, *data;
    int line, flags;

    assert_int_equal(ERR_get_error_all(&file, &line, &function, &data, &flags),
                     ERR_PACK(ERR_LIB_USER, 0, 77));
    assert_string_equal(data, "mine");
    assert_int_equal(line, 4711);
    assert_int_equal(ERR_get_error(), ERR_PACK(ERR_LIB_USER, 0, 78));
    assert_int_equal(ERR_get_error(), 0);
    ERR_new();
    ERR_set_debug("app.c", 4711, "app");
    ERR_set_error(ERR_LIB_USER, 77, "mine");
    ERR_raise(ERR_LIB_USER, 78);
}

static void the_error_queue_stays_as_it_was(void **state)
{
    const char *const bundles[] = {token_certificate, ""};
    CK_MECHANISM mechanism = token_wrap_mechanism(CONTEXT);
    unsigned char value[32] = {1}, out[6144];
    CK_GCM_PARAMS gcm = {value, 12, 96, NULL, 0, 128};
    CK_MECHANISM by_gcm = {CKM_AES_GCM, &gcm, sizeof(gcm)};
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    CK_ULONG len;

    (void)state;
    ERR_clear_error();
    ERR_new();
    ERR_set_debug("app.c", 4711, "app");
    ERR_set_error(ERR_LIB_USER, 77, "mine");
    ERR_raise(ERR_LIB_USER, 78);

    token_configure("no such thing");
    assert_rv(p11->C_Initialize(NULL), CKR_GENERAL_ERROR);
    expect_queue();
    token_configure("");
    for (int trusted = 1; trusted >= 0; trusted--) {
        setenv("AWS_CA_BUNDLE", bundles[!trusted], 1);
        assert_ok(p11->C_Initialize(NULL));
        expect_queue();
        assert_ok(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session));
        assert_rv(p11->C_FindObjectsInit(session, NULL, 0), trusted ? CKR_OK : CKR_DEVICE_ERROR);
        expect_queue();
        if (trusted) {
            assert_ok(p11->C_FindObjectsFinal(session));
            key = token_import(session, CKK_AES, value, 32);
            expect_queue();
            len = sizeof(out);
            assert_ok(p11->C_WrapKey(session, &mechanism, token_kms_key(session), key, out, &len));
            expect_queue();
            assert_ok(p11->C_DecryptInit(session, &by_gcm, key));
            len = sizeof(out);
            assert_rv(p11->C_Decrypt(session, value, 32, out, &len), CKR_ENCRYPTED_DATA_INVALID);
            expect_queue();
        }
        token_close();
        expect_queue();
    }
    ERR_clear_error();
}

static void an_empty_error_queue_stays_empty(void **state)
{
    CK_SESSION_HANDLE session;

    (void)state;
    setenv("AWS_CA_BUNDLE", "", 1);
    ERR_clear_error();
    session = token_open();
    assert_rv(p11->C_FindObjectsInit(session, NULL, 0), CKR_DEVICE_ERROR);
    assert_int_equal(ERR_peek_error(), 0);
    token_close();
    assert_int_equal(ERR_peek_error(), 0);
}

static int finalise(void **state)
{
    (void)state;
    p11->C_Finalize(NULL);
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, finalise)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_certificate_that_is_not_trusted_ends_it),
        TEST(a_certificate_of_the_bundle_is_trusted),
        TEST(the_error_queue_stays_as_it_was),
        TEST(an_empty_error_queue_stays_empty),
    };

    return cmocka_run_group_tests(tests, token_set_up_tls, token_tear_down_tls);
}
