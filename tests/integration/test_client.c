/* The client against a real server process: what works, what is refused, and with how many
 * requests. */
#include "tests/integration/server.h"
#include "tests/unit/unit.h"

#include "core/client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static test_server server;

static kms_bytes text(const char *s)
{
    return (kms_bytes){(const uint8_t *)s, strlen(s)};
}

static kms_context *context_of(const char *json)
{
    kms_context *context = kms_context_new();

    assert_int_equal(kms_context_parse(context, json, strlen(json), NULL), KMS_OK);
    return context;
}

static kms_status load_key(kms_client *client, const char *name, kms_key **key, kms_error *err)
{
    kms_address address = {0};
    kms_status st = kms_address_parse(name, &address, err);

    if (st == KMS_OK)
        st = kms_client_key(client, &address, key, err);
    kms_address_clear(&address);
    return st;
}

/* A client with the seeded key and a proper context: what most tests start from. */
typedef struct fixture {
    kms_client *client;
    kms_key *key;
    kms_context *context;
} fixture;

static fixture open_fixture(void)
{
    fixture f = {0};
    kms_error err = {0};

    test_server_faults(&server, "[]");
    if (kms_client_open(NULL, &f.client, &err) != KMS_OK ||
        load_key(f.client, "kms:alias/matbakh-ai", &f.key, &err) != KMS_OK)
        fail_msg("%s: %s", kms_status_name(err.status), err.detail);
    f.context = context_of("{\"dataType\":\"credentials\",\"operationId\":\"op-1\"}");
    test_server_reset(&server);
    return f;
}

static void close_fixture(fixture *f)
{
    kms_context_free(f->context);
    kms_key_free(f->key);
    kms_client_close(f->client);
    test_server_faults(&server, "[]");
}

static void a_secret_comes_back_as_it_was(void **state)
{
    static const size_t sizes[] = {1, 16, 32, 4095, 4096};
    fixture f = open_fixture();
    uint8_t plain[4096];

    (void)state;
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (uint8_t)(i * 7);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        kms_buffer wrapped = {0};
        kms_secret back = {0};
        assert_int_equal(kms_client_wrap(f.client, f.key, (kms_bytes){plain, sizes[i]}, f.context,
                                         &wrapped, NULL),
                         KMS_OK);
        assert_true(wrapped.len > sizes[i]);
        assert_null(memmem(wrapped.data, wrapped.len, plain, sizes[i] < 16 ? 16 : sizes[i]));
        assert_int_equal(kms_client_unwrap(f.client, f.key, (kms_bytes){wrapped.data, wrapped.len},
                                           f.context, &back, NULL),
                         KMS_OK);
        assert_int_equal(back.len, sizes[i]);
        assert_memory_equal(back.data, plain, sizes[i]);
        kms_secret_clear(&back);
        kms_buffer_clear(&wrapped);
    }
    close_fixture(&f);
}

static void each_operation_is_one_request_on_one_connection(void **state)
{
    fixture f = open_fixture();

    (void)state;
    for (int i = 0; i < 10; i++) {
        kms_buffer wrapped = {0};
        kms_key *again = NULL;
        assert_int_equal(load_key(f.client, "kms:alias/matbakh-ai", &again, NULL), KMS_OK);
        assert_int_equal(
            kms_client_wrap(f.client, again, text("secret"), f.context, &wrapped, NULL), KMS_OK);
        kms_key_free(again);
        kms_buffer_clear(&wrapped);
    }
    assert_int_equal(test_server_count(&server, "Encrypt"), 10);
    assert_int_equal(test_server_count(&server, "DescribeKey"), 0);
    close_fixture(&f);
}

static void a_data_key_unwraps_to_its_plaintext(void **state)
{
    fixture f = open_fixture();
    kms_secret plain = {0}, back = {0};
    kms_buffer wrapped = {0}, bare = {0};

    (void)state;
    assert_int_equal(kms_client_data_key(f.client, f.key, 32, f.context, &plain, &wrapped, NULL),
                     KMS_OK);
    assert_int_equal(plain.len, 32);
    assert_int_equal(kms_client_unwrap(f.client, f.key, (kms_bytes){wrapped.data, wrapped.len},
                                       f.context, &back, NULL),
                     KMS_OK);
    assert_memory_equal(plain.data, back.data, 32);
    assert_int_equal(kms_client_data_key(f.client, f.key, 16, f.context, NULL, &bare, NULL),
                     KMS_OK);
    assert_int_equal(test_server_count(&server, "GenerateDataKeyWithoutPlaintext"), 1);
    kms_buffer_clear(&bare);
    kms_buffer_clear(&wrapped);
    kms_secret_clear(&plain);
    kms_secret_clear(&back);
    close_fixture(&f);
}

static void rewrapping_binds_the_new_context(void **state)
{
    fixture f = open_fixture();
    kms_context *other = context_of("{\"dataType\":\"credentials\",\"operationId\":\"op-2\"}");
    kms_buffer wrapped = {0}, rewrapped = {0};
    kms_secret back = {0};

    (void)state;
    assert_int_equal(kms_client_wrap(f.client, f.key, text("secret"), f.context, &wrapped, NULL),
                     KMS_OK);
    assert_int_equal(kms_client_rewrap(f.client, f.key, f.context,
                                       (kms_bytes){wrapped.data, wrapped.len}, f.key, other,
                                       &rewrapped, NULL),
                     KMS_OK);
    kms_bytes new_blob = {rewrapped.data, rewrapped.len};
    assert_int_equal(kms_client_unwrap(f.client, f.key, new_blob, f.context, &back, NULL),
                     KMS_E_CONTEXT_MISMATCH);
    assert_int_equal(kms_client_unwrap(f.client, f.key, new_blob, other, &back, NULL), KMS_OK);
    assert_int_equal(back.len, 6);
    kms_secret_clear(&back);
    kms_buffer_clear(&wrapped);
    kms_buffer_clear(&rewrapped);
    kms_context_free(other);
    close_fixture(&f);
}

static void a_context_that_differs_is_named_without_its_values(void **state)
{
    fixture f = open_fixture();
    kms_context *other = context_of("{\"dataType\":\"pii\",\"piiType\":\"EMAIL\","
                                    "\"operationId\":\"zqx-value\"}");
    kms_buffer wrapped = {0};
    kms_secret back = {0};
    kms_error err = {0};
    char message[KMS_ERROR_TEXT_MAX];

    (void)state;
    assert_int_equal(kms_client_wrap(f.client, f.key, text("secret"), f.context, &wrapped, NULL),
                     KMS_OK);
    assert_int_equal(kms_client_unwrap(f.client, f.key, (kms_bytes){wrapped.data, wrapped.len},
                                       other, &back, &err),
                     KMS_E_CONTEXT_MISMATCH);
    assert_null(back.data);
    kms_error_text(&err, message, sizeof(message));
    assert_non_null(strstr(message, "encryption context mismatch or altered ciphertext: "));
    assert_non_null(strstr(message, "dataType"));
    assert_non_null(strstr(message, "piiType"));
    assert_null(strstr(message, "zqx-value"));
    assert_null(strstr(message, "EMAIL"));
    assert_true(err.request_id[0] != '\0');

    wrapped.data[wrapped.len / 2] ^= 1;
    assert_int_equal(kms_client_unwrap(f.client, f.key, (kms_bytes){wrapped.data, wrapped.len},
                                       f.context, &back, &err),
                     KMS_E_CONTEXT_MISMATCH);
    kms_buffer_clear(&wrapped);
    kms_context_free(other);
    close_fixture(&f);
}

static void what_is_refused_makes_no_request(void **state)
{
    static const struct {
        const char *context;
        size_t size;
        kms_status status;
    } rows[] = {
        {"{}", 6, KMS_E_CONTEXT_MISSING},
        {"{\"dataType\":\"credentials\"}", 6, KMS_E_CONTEXT_REQUIRED},
        {"{\"operationId\":\"op-1\"}", 6, KMS_E_CONTEXT_REQUIRED},
        {"{\"dataType\":\"recipes\",\"operationId\":\"op-1\"}", 6, KMS_E_CONTEXT_DATA_TYPE},
        {"{\"dataType\":\"pii\",\"operationId\":\"op-1\"}", 6, KMS_E_CONTEXT_REQUIRED},
        {"{\"dataType\":\"context\",\"operationId\":\"op-1\"}", 6, KMS_E_CONTEXT_REQUIRED},
        {"{\"dataType\":\"credentials\",\"operationId\":\"op-1\"}", 0, KMS_E_PLAINTEXT_EMPTY},
        {"{\"dataType\":\"credentials\",\"operationId\":\"op-1\"}", 4097,
         KMS_E_PLAINTEXT_TOO_LARGE},
    };
    static uint8_t plain[4097];
    fixture f = open_fixture();

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_context *context = context_of(rows[i].context);
        kms_buffer wrapped = {0};
        assert_int_equal(kms_client_wrap(f.client, f.key, (kms_bytes){plain, rows[i].size}, context,
                                         &wrapped, NULL),
                         rows[i].status);
        assert_null(wrapped.data);
        kms_context_free(context);
    }
    assert_int_equal(test_server_count(&server, "connections"), 1); /* this very question */
    assert_int_equal(test_server_count(&server, "Encrypt"), 0);
    close_fixture(&f);
}

static void the_feature_flag_closes_everything(void **state)
{
    static const char *const names[] = {"KMS_ENCRYPTION_ENABLED", "kms_encryption_enabled"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        kms_client *client = NULL;
        kms_key *key = NULL;
        kms_error err = {0};
        char message[KMS_ERROR_TEXT_MAX];
        setenv(names[i], "false", 1);
        assert_int_equal(kms_client_open(NULL, &client, NULL), KMS_OK);
        test_server_reset(&server);
        assert_int_equal(load_key(client, "alias/matbakh-ai", &key, &err), KMS_E_DISABLED);
        kms_error_text(&err, message, sizeof(message));
        assert_memory_equal(message, "KMS encryption is disabled", 26);
        assert_int_equal(test_server_count(&server, "DescribeKey"), 0);
        kms_client_close(client);
        unsetenv(names[i]);
    }
}

static void keys_that_cannot_be_used_say_why(void **state)
{
    static const struct {
        const char *address;
        kms_status status;
    } rows[] = {
        {"kms:alias/nobody", KMS_E_NOT_FOUND},
        {"kms:alias/matbakh-ai?region=eu-west-2", KMS_E_REGION_NOT_ALLOWED},
        {"kms:alias/matbakh-ai?region=us-east-1", KMS_E_REGION_NOT_ALLOWED},
        {"kms:arn:aws:kms:eu-central-2:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab",
         KMS_E_REGION_NOT_ALLOWED},
        {"kms:", KMS_E_KEY_MISSING},
    };
    fixture f = open_fixture();

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_key *key = NULL;
        assert_int_equal(load_key(f.client, rows[i].address, &key, NULL), rows[i].status);
        assert_null(key);
    }
    assert_int_equal(test_server_count(&server, "DescribeKey"), 1); /* the unknown alias */
    close_fixture(&f);
}

static void throttling_is_repeated_and_bad_signatures_are_not(void **state)
{
    fixture f = open_fixture();
    kms_buffer wrapped = {0};
    kms_error err = {0};

    (void)state;
    test_server_faults(&server, "[\"Encrypt:ThrottlingException:1\"]");
    assert_int_equal(kms_client_wrap(f.client, f.key, text("x"), f.context, &wrapped, &err),
                     KMS_E_THROTTLED);
    assert_int_equal(test_server_count(&server, "Encrypt"), 3);
    assert_string_equal(err.exception, "ThrottlingException");

    test_server_reset(&server);
    test_server_faults(&server, "[\"Encrypt:AccessDeniedException:1\"]");
    assert_int_equal(kms_client_wrap(f.client, f.key, text("x"), f.context, &wrapped, &err),
                     KMS_E_ACCESS_DENIED);
    assert_int_equal(test_server_count(&server, "Encrypt"), 1);
    close_fixture(&f);
}

static void what_a_broken_server_says_never_becomes_a_result(void **state)
{
    static const struct {
        const char *fault;
        kms_status status;
    } rows[] = {
        {"[\"Decrypt:garbage:1\"]", KMS_E_REPLY_MALFORMED},
        {"[\"Decrypt:truncate:1\"]", KMS_E_REPLY_MALFORMED},
        {"[\"Decrypt:huge:1\"]", KMS_E_REPLY_TOO_LARGE},
        {"[\"Decrypt:wrong-keyid:1\"]", KMS_E_REPLY_OTHER_KEY},
        {"[\"Decrypt:html503:1\"]", KMS_E_SERVICE},
        {"[\"Decrypt:reset:1\"]", KMS_E_UNREACHABLE},
        {"[\"Decrypt:ExpiredTokenException:1\"]", KMS_E_CREDENTIALS_EXPIRED},
        {"[\"Decrypt:KMSInternalException:1\"]", KMS_E_SERVICE},
    };
    fixture f = open_fixture();
    kms_buffer wrapped = {0};

    (void)state;
    assert_int_equal(kms_client_wrap(f.client, f.key, text("secret"), f.context, &wrapped, NULL),
                     KMS_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_secret back = {0};
        kms_error err = {0};
        test_server_faults(&server, rows[i].fault);
        kms_status st = kms_client_unwrap(f.client, f.key, (kms_bytes){wrapped.data, wrapped.len},
                                          f.context, &back, &err);
        if (st != rows[i].status)
            fail_msg("%s gave %s: %s", rows[i].fault, kms_status_name(st), err.detail);
        assert_null(back.data);
    }
    kms_buffer_clear(&wrapped);
    close_fixture(&f);
}

static void a_server_that_is_silent_costs_no_more_than_the_deadline(void **state)
{
    kms_client *client = NULL;
    kms_key *key = NULL;
    struct timespec start, end;
    char path[] = "/tmp/kms-test-XXXXXX";
    int file = mkstemp(path);

    (void)state;
    assert_true(file >= 0);
    dprintf(file, "attempt_timeout_ms = 300\noperation_timeout_ms = 700\n");
    close(file);
    const kms_config_given given = {.path = path};
    assert_int_equal(kms_client_open(&given, &client, NULL), KMS_OK);
    test_server_faults(&server, "[\"DescribeKey:slow:1\"]");
    clock_gettime(CLOCK_MONOTONIC, &start);
    assert_int_equal(load_key(client, "alias/matbakh-ai", &key, NULL), KMS_E_TIMEOUT);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - start.tv_sec <= 2);
    test_server_faults(&server, "[]");
    kms_client_close(client);
    unlink(path);
}

static void nobody_at_home_is_unreachable(void **state)
{
    kms_client *client = NULL;
    kms_key *key = NULL;
    kms_error err = {0};

    (void)state;
    setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1", 1);
    assert_int_equal(kms_client_open(NULL, &client, NULL), KMS_OK);
    assert_int_equal(load_key(client, "alias/matbakh-ai", &key, &err), KMS_E_UNREACHABLE);
    assert_non_null(strstr(err.detail, "127.0.0.1"));
    kms_client_close(client);
    setenv("AWS_ENDPOINT_URL_KMS", server.url, 1);
}

static void wrong_credentials_are_called_so(void **state)
{
    static const struct {
        const char *id, *secret;
        kms_status status;
    } rows[] = {
        {"local", "wrong", KMS_E_SIGNATURE},
        {"nobody", "local", KMS_E_CREDENTIALS_INVALID},
        {"", "", KMS_E_CREDENTIALS_MISSING},
        {"local", "", KMS_E_CREDENTIALS_INVALID},
    };

    (void)state;
    setenv("AWS_SHARED_CREDENTIALS_FILE", "", 1);
    setenv("HOME", "/nonexistent", 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_client *client = NULL;
        kms_key *key = NULL;
        kms_error err = {0};
        setenv("AWS_ACCESS_KEY_ID", rows[i].id, 1);
        setenv("AWS_SECRET_ACCESS_KEY", rows[i].secret, 1);
        assert_int_equal(kms_client_open(NULL, &client, NULL), KMS_OK);
        kms_status st = load_key(client, "alias/matbakh-ai", &key, &err);
        if (st != rows[i].status)
            fail_msg("row %zu: %s: %s", i, kms_status_name(st), err.detail);
        assert_null(strstr(err.detail, "wrong"));
        kms_client_close(client);
    }
    setenv("AWS_ACCESS_KEY_ID", "local", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "local", 1);
}

static bool wraps(const fixture *f)
{
    kms_buffer wrapped = {0};
    bool ok = kms_client_wrap(f->client, f->key, text("x"), f->context, &wrapped, NULL) == KMS_OK;

    kms_buffer_clear(&wrapped);
    return ok;
}

static void parent_and_child_use_connections_of_their_own(void **state)
{
    fixture f = open_fixture();
    int status;

    (void)state;
    assert_true(wraps(&f));
    long before = test_server_count(&server, "connections");
    for (int round = 0; round < 3; round++) {
        pid_t child = fork();
        if (child == 0) {
            for (int i = 0; i < 2; i++)
                if (!wraps(&f))
                    _exit(1);
            _exit(0);
        }
        assert_true(wraps(&f)); /* while the child is at it */
        waitpid(child, &status, 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_true(wraps(&f));
    }
    /* One for each child and for each count asked; none anew for the parent. */
    assert_true(test_server_count(&server, "connections") - before <= 3 + 1);
    close_fixture(&f);
}

#define THREADS 16

static void *first_use(void *arg)
{
    kms_client *client = arg;
    kms_key *key = NULL;
    kms_status st = load_key(client, "alias/matbakh-ai", &key, NULL);

    kms_key_free(key);
    return (void *)(intptr_t)st;
}

static void many_first_users_make_one_request(void **state)
{
    pthread_t threads[THREADS];
    kms_client *client = NULL;

    (void)state;
    assert_int_equal(kms_client_open(NULL, &client, NULL), KMS_OK);
    test_server_reset(&server);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, first_use, client), 0);
    for (int i = 0; i < THREADS; i++) {
        void *st;
        pthread_join(threads[i], &st);
        assert_int_equal((intptr_t)st, KMS_OK);
    }
    assert_int_equal(test_server_count(&server, "DescribeKey"), 1);
    kms_client_close(client);
}

static void *wrap_and_unwrap(void *arg)
{
    const fixture *f = arg;
    long failures = 0;

    for (int i = 0; i < 50; i++) {
        char plain[32];
        kms_buffer wrapped = {0};
        kms_secret back = {0};
        int len = snprintf(plain, sizeof(plain), "%p-%d", (void *)&wrapped, i);
        failures +=
            kms_client_wrap(f->client, f->key, text(plain), f->context, &wrapped, NULL) != KMS_OK ||
            kms_client_unwrap(f->client, f->key, (kms_bytes){wrapped.data, wrapped.len}, f->context,
                              &back, NULL) != KMS_OK ||
            back.len != (size_t)len || memcmp(back.data, plain, back.len) != 0;
        kms_secret_clear(&back);
        kms_buffer_clear(&wrapped);
    }
    return (void *)(intptr_t)failures;
}

static void threads_get_each_their_own_answers(void **state)
{
    fixture f = open_fixture();
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wrap_and_unwrap, &f), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failures;
        pthread_join(threads[i], &failures);
        assert_null(failures);
    }
    close_fixture(&f);
}

static void the_list_names_aliases_and_bare_keys(void **state)
{
    fixture f = open_fixture();
    char **addresses = NULL;
    size_t count = 0;
    bool seen = false;

    (void)state;
    assert_int_equal(kms_client_list(f.client, NULL, &addresses, &count, NULL), KMS_OK);
    for (size_t i = 0; i < count; i++)
        seen = seen || strcmp(addresses[i], "alias/matbakh-ai") == 0;
    assert_true(seen);
    kms_client_list_free(addresses, count);
    close_fixture(&f);
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
        cmocka_unit_test(a_secret_comes_back_as_it_was),
        cmocka_unit_test(each_operation_is_one_request_on_one_connection),
        cmocka_unit_test(a_data_key_unwraps_to_its_plaintext),
        cmocka_unit_test(rewrapping_binds_the_new_context),
        cmocka_unit_test(a_context_that_differs_is_named_without_its_values),
        cmocka_unit_test(what_is_refused_makes_no_request),
        cmocka_unit_test(the_feature_flag_closes_everything),
        cmocka_unit_test(keys_that_cannot_be_used_say_why),
        cmocka_unit_test(throttling_is_repeated_and_bad_signatures_are_not),
        cmocka_unit_test(what_a_broken_server_says_never_becomes_a_result),
        cmocka_unit_test(a_server_that_is_silent_costs_no_more_than_the_deadline),
        cmocka_unit_test(nobody_at_home_is_unreachable),
        cmocka_unit_test(wrong_credentials_are_called_so),
        cmocka_unit_test(parent_and_child_use_connections_of_their_own),
        cmocka_unit_test(many_first_users_make_one_request),
        cmocka_unit_test(threads_get_each_their_own_answers),
        cmocka_unit_test(the_list_names_aliases_and_bare_keys),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
