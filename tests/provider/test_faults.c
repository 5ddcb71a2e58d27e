/* What goes wrong on the way to KMS: each failure its own sentence, once, within its time. */
#include "tests/provider/application.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static test_server server;

typedef struct fixture {
    application app;
    EVP_PKEY *key;
    bytes wrapped;
} fixture;

static fixture open_fixture(void)
{
    fixture f = {.app = application_open()};
    bytes plain = bytes_of("secret");

    test_server_faults(&server, "[]");
    f.key = application_key(&f.app, KEY);
    assert_true(wrap(&f.app, f.key, CONTEXT, &plain, &f.wrapped));
    test_server_reset(&server);
    return f;
}

static void close_fixture(fixture *f)
{
    test_server_faults(&server, "[]");
    assert_no_error();
    EVP_PKEY_free(f->key);
    application_close(&f->app);
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void each_failure_has_its_own_sentence(void **state)
{
    static const struct {
        const char *fault, *sentence, *detail;
        long attempts;
    } rows[] = {
        {"AccessDeniedException", "access denied by AWS", "request id ", 1},
        {"ExpiredTokenException", "AWS credentials have expired", "request id ", 2},
        {"UnrecognizedClientException", "AWS credentials are not valid", "request id ", 1},
        {"InvalidSignatureException", "AWS refused the request's signature", "request id ", 1},
        {"NotFoundException", "key not found", "request id ", 1},
        {"DisabledException", "key is disabled", "request id ", 1},
        {"KMSInvalidStateException", "key is in a state that does not allow this", "request id ",
         1},
        {"IncorrectKeyException", "ciphertext belongs to another key", "request id ", 1},
        {"InvalidKeyUsageException", "key is made for another use", "request id ", 1},
        {"ThrottlingException", "KMS is throttling requests", "request id ", 3},
        {"KMSInternalException", "KMS has an internal failure", "request id ", 3},
        {"garbage", "reply of KMS is not valid", "no proxy alters replies", 0},
        {"truncate", "reply of KMS is not valid", "", 0},
        {"huge", "reply is larger than allowed", "", 0},
        {"wrong-keyid", "reply comes from another key than asked", "thrown away", 1},
        {"html503", "KMS has an internal failure", "503", 0},
        {"reset", "KMS is unreachable", "check network, DNS, proxy", 0},
    };
    fixture f = open_fixture();

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char fault[128];
        bytes out;
        snprintf(fault, sizeof(fault), "[\"Decrypt:%s:1\"]", rows[i].fault);
        test_server_faults(&server, fault);
        test_server_reset(&server);
        memset(out.data, 0xaa, sizeof(out.data));
        print_message("%s\n", rows[i].fault);
        assert_false(unwrap(&f.app, f.key, CONTEXT, &f.wrapped, &out));
        assert_only_error(rows[i].sentence, rows[i].detail);
        assert_int_equal(out.data[0], 0xaa);
        if (rows[i].attempts != 0)
            assert_int_equal(test_server_count(&server, "Decrypt"), rows[i].attempts);
    }
    close_fixture(&f);
}

/* The other operations tell the same. */
static void loading_fails_with_the_same_sentences(void **state)
{
    application app = application_open();

    (void)state;
    test_server_faults(&server, "[\"*:AccessDeniedException:1\"]");
    assert_null(application_try_key(&app, KEY));
    assert_only_error("access denied by AWS", "DescribeKey");
    assert_null(application_try_key(&app, "kms:"));
    assert_only_error("access denied by AWS", "ListAliases");
    test_server_faults(&server, "[\"*:garbage:1\"]");
    assert_null(application_try_key(&app, KEY));
    assert_only_error("reply of KMS is not valid", "");
    test_server_faults(&server, "[]");
    EVP_PKEY_free(application_key(&app, KEY));
    application_close(&app);
}

static void *wrap_once(void *arg)
{
    const fixture *f = arg;
    bytes plain = bytes_of("secret"), out;
    bool ok = wrap(&f->app, f->key, CONTEXT, &plain, &out);

    ERR_clear_error();
    return ok ? arg : NULL;
}

static void throttling_is_waited_out(void **state)
{
    pthread_t thread;
    void *result = NULL;

    (void)state;
    use_settings("max_attempts = 10\n");
    fixture f = open_fixture();
    test_server_faults(&server, "[\"Encrypt:ThrottlingException:1\"]");
    assert_int_equal(pthread_create(&thread, NULL, wrap_once, &f), 0);
    while (test_server_count(&server, "Encrypt") == 0)
        continue;
    test_server_faults(&server, "[]");
    pthread_join(thread, &result);
    assert_ptr_equal(result, &f);
    assert_true(test_server_count(&server, "Encrypt") >= 2);
    close_fixture(&f);
    use_settings(NULL);
}

static void nobody_at_home_is_unreachable(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    char url[64];
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    (void)state;
    /* Bound and not listening: nobody else gets the port, and nobody answers. */
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", ntohs(address.sin_port));
    setenv("AWS_ENDPOINT_URL_KMS", url, 1);
    application app = application_open();
    assert_null(application_try_key(&app, KEY));
    assert_only_error("KMS is unreachable", url);
    application_close(&app);
    setenv("AWS_ENDPOINT_URL_KMS", server.url, 1);
    close(fd);
}

static void a_silent_server_costs_no_more_than_the_deadline(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    char url[64];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    double start;

    (void)state;
    /* The kernel takes the connection, and nobody ever answers on it. */
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", ntohs(address.sin_port));
    setenv("AWS_ENDPOINT_URL_KMS", url, 1);
    use_settings("attempt_timeout_ms = 300\noperation_timeout_ms = 700\n");
    application app = application_open();
    start = seconds();
    assert_null(application_try_key(&app, KEY));
    assert_true(seconds() - start < 5.0);
    assert_only_error("KMS did not answer in time", "attempt_timeout_ms");
    application_close(&app);
    use_settings(NULL);
    setenv("AWS_ENDPOINT_URL_KMS", server.url, 1);
    close(fd);
}

static void put_errors_of_the_application(void)
{
    ERR_raise_data(ERR_LIB_USER, 42, "of the application, %d", 7);
    ERR_raise(ERR_LIB_SYS, 2);
}

static void assert_errors_of_the_application(void)
{
    const char *file, *function, *data;
    int line, flags;
    unsigned long code = ERR_get_error_all(&file, &line, &function, &data, &flags);

    assert_int_equal(ERR_GET_LIB(code), ERR_LIB_USER);
    assert_int_equal(ERR_GET_REASON(code), 42);
    assert_string_equal(data, "of the application, 7");
    assert_non_null(strstr(file, "test_faults.c"));
    assert_string_equal(function, "put_errors_of_the_application");
    assert_true(line > 0);
    code = ERR_get_error();
    assert_int_equal(ERR_GET_LIB(code), ERR_LIB_SYS);
    assert_int_equal(ERR_GET_REASON(code), 2);
}

/* TLS works through OpenSSL's queue; what an application has there is its own all the same. */
static void the_errors_of_the_application_stay(void **state)
{
    bytes plain = bytes_of("secret"), out;
    tls_server tls;

    (void)state;
    tls_start(&tls);
    application app = application_open();
    put_errors_of_the_application();
    assert_null(application_try_key(&app, KEY));
    assert_errors_of_the_application();
    assert_only_error("TLS connection to KMS failed", "");
    application_close(&app);

    setenv("AWS_CA_BUNDLE", tls.certificate, 1);
    app = application_open();
    put_errors_of_the_application();
    EVP_PKEY *key = application_key(&app, KEY);
    assert_true(wrap(&app, key, CONTEXT, &plain, &out));
    assert_errors_of_the_application();
    assert_no_error();
    put_errors_of_the_application();
    EVP_PKEY_free(key);
    application_close(&app);
    assert_errors_of_the_application();
    assert_no_error();
    tls_stop(&tls, &server);
}

static void a_certificate_that_nobody_vouches_for_is_refused(void **state)
{
    bytes plain = bytes_of("secret"), wrapped, back;
    tls_server tls;

    (void)state;
    tls_start(&tls);
    application app = application_open();
    assert_null(application_try_key(&app, KEY));
    assert_only_error("TLS connection to KMS failed", "ca_bundle");
    application_close(&app);

    setenv("AWS_CA_BUNDLE", tls.certificate, 1);
    app = application_open();
    EVP_PKEY *key = application_key(&app, KEY);
    assert_true(wrap(&app, key, CONTEXT, &plain, &wrapped));
    assert_true(unwrap(&app, key, CONTEXT, &wrapped, &back));
    assert_no_error();
    EVP_PKEY_free(key);
    application_close(&app);

    setenv("AWS_CA_BUNDLE", "/nonexistent/bundle.pem", 1);
    app = application_open();
    assert_null(application_try_key(&app, KEY));
    assert_only_error("TLS connection to KMS failed", "/nonexistent/bundle.pem");
    application_close(&app);
    tls_stop(&tls, &server);
}

static int set_up(void **state)
{
    (void)state;
    test_server_start(&server, NULL);
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
        cmocka_unit_test(each_failure_has_its_own_sentence),
        cmocka_unit_test(loading_fails_with_the_same_sentences),
        cmocka_unit_test(throttling_is_waited_out),
        cmocka_unit_test(nobody_at_home_is_unreachable),
        cmocka_unit_test(a_silent_server_costs_no_more_than_the_deadline),
        cmocka_unit_test(the_errors_of_the_application_stay),
        cmocka_unit_test(a_certificate_that_nobody_vouches_for_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
