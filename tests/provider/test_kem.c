/* Data keys by EVP_PKEY_encapsulate and EVP_PKEY_decapsulate. */
#include "tests/provider/application.h"

#include "include/kms/kms_provider.h"

#include <openssl/err.h>
#include <openssl/params.h>

static test_server server;

typedef struct fixture {
    application app;
    EVP_PKEY *key;
} fixture;

static fixture open_fixture(void)
{
    fixture f = {.app = application_open()};

    f.key = application_key(&f.app, KEY);
    test_server_reset(&server);
    return f;
}

static void close_fixture(fixture *f)
{
    assert_no_error();
    EVP_PKEY_free(f->key);
    application_close(&f->app);
}

/* A context for a data key; 0: bytes is not set. context may be NULL. */
static EVP_PKEY_CTX *begin(const fixture *f, const char *context, size_t size, bool encapsulate)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(f->app.libctx, f->key, NULL);
    OSSL_PARAM params[3], *p = params;

    if (context != NULL)
        *p++ = OSSL_PARAM_construct_utf8_string(KMS_PROVIDER_PARAM_CONTEXT,
                                                (char *)(uintptr_t)context, 0);
    if (size != 0)
        *p++ = OSSL_PARAM_construct_size_t(KMS_PROVIDER_PARAM_DATA_KEY_BYTES, &size);
    *p = OSSL_PARAM_construct_end();
    assert_non_null(ctx);
    assert_int_equal(encapsulate ? EVP_PKEY_encapsulate_init(ctx, params)
                                 : EVP_PKEY_decapsulate_init(ctx, params),
                     1);
    return ctx;
}

static int encapsulate(EVP_PKEY_CTX *ctx, bytes *wrapped, bytes *plain)
{
    wrapped->len = sizeof(wrapped->data);
    plain->len = sizeof(plain->data);
    return EVP_PKEY_encapsulate(ctx, wrapped->data, &wrapped->len, plain->data, &plain->len);
}

static int decapsulate(const fixture *f, const char *context, const bytes *wrapped, bytes *plain)
{
    EVP_PKEY_CTX *ctx = begin(f, context, 0, false);
    int ok;

    plain->len = sizeof(plain->data);
    ok = EVP_PKEY_decapsulate(ctx, plain->data, &plain->len, wrapped->data, wrapped->len);
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static void a_data_key_comes_back_as_it_was(void **state)
{
    static const size_t sizes[] = {0, 1, 16, 64, 1024};
    fixture f = open_fixture();

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        EVP_PKEY_CTX *ctx = begin(&f, CONTEXT, sizes[i], true);
        bytes wrapped, plain, back;
        assert_int_equal(encapsulate(ctx, &wrapped, &plain), 1);
        assert_int_equal(plain.len, sizes[i] == 0 ? 32 : sizes[i]);
        assert_int_equal(decapsulate(&f, CONTEXT, &wrapped, &back), 1);
        assert_int_equal(back.len, plain.len);
        assert_memory_equal(back.data, plain.data, plain.len);
        EVP_PKEY_CTX_free(ctx);
    }
    assert_int_equal(requests(&server), 10);
    assert_int_equal(test_server_count(&server, "GenerateDataKey"), 5);
    assert_int_equal(test_server_count(&server, "Decrypt"), 5);
    close_fixture(&f);
}

static void each_data_key_is_a_new_one(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY_CTX *ctx = begin(&f, CONTEXT, 0, true);
    bytes wrapped, first, second;

    (void)state;
    assert_int_equal(encapsulate(ctx, &wrapped, &first), 1);
    assert_int_equal(encapsulate(ctx, &wrapped, &second), 1);
    assert_memory_not_equal(first.data, second.data, 32);
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f);
}

static void both_doors_open_the_same_ciphertext(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY_CTX *ctx = begin(&f, CONTEXT, 0, true);
    bytes wrapped, plain, back, secret = bytes_of("a secret");

    (void)state;
    assert_int_equal(encapsulate(ctx, &wrapped, &plain), 1);
    assert_true(unwrap(&f.app, f.key, CONTEXT, &wrapped, &back));
    assert_memory_equal(back.data, plain.data, plain.len);
    assert_true(wrap(&f.app, f.key, CONTEXT, &secret, &wrapped));
    assert_int_equal(decapsulate(&f, CONTEXT, &wrapped, &back), 1);
    assert_int_equal(back.len, secret.len);
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f);
}

static void sizes_are_told_without_a_request(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY_CTX *ctx = begin(&f, NULL, 48, true);
    size_t wrapped = 0, plain = 0, asked = 0;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_size_t(KMS_PROVIDER_PARAM_DATA_KEY_BYTES, &asked),
        OSSL_PARAM_construct_end(),
    };

    (void)state;
    assert_int_equal(EVP_PKEY_encapsulate(ctx, NULL, &wrapped, NULL, &plain), 1);
    assert_int_equal(wrapped, 6144);
    assert_int_equal(plain, 48);
    assert_int_equal(EVP_PKEY_CTX_get_params(ctx, params), 1);
    assert_int_equal(asked, 48);
    EVP_PKEY_CTX_free(ctx);
    ctx = begin(&f, NULL, 0, false);
    assert_int_equal(EVP_PKEY_decapsulate(ctx, NULL, &plain, (const unsigned char *)"x", 1), 1);
    assert_int_equal(plain, 1024);
    EVP_PKEY_CTX_free(ctx);
    assert_int_equal(requests(&server), 0);
    close_fixture(&f);
}

static void an_impossible_size_is_refused_and_changes_nothing(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY_CTX *ctx = begin(&f, CONTEXT, 16, true);
    bytes wrapped, plain;

    (void)state;
    for (size_t size = 0; size <= 1025; size += 1025) {
        OSSL_PARAM params[] = {
            OSSL_PARAM_construct_size_t(KMS_PROVIDER_PARAM_DATA_KEY_BYTES, &size),
            OSSL_PARAM_construct_end(),
        };
        assert_int_not_equal(EVP_PKEY_CTX_set_params(ctx, params), 1);
        assert_only_error("invalid argument", "from 1 to 1024");
    }
    assert_int_equal(encapsulate(ctx, &wrapped, &plain), 1);
    assert_int_equal(plain.len, 16);
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f);
}

static void buffers_without_room_get_nothing(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY_CTX *ctx = begin(&f, CONTEXT, 0, true);
    bytes wrapped = {.data = {0}}, plain = {.data = {0}};
    const bytes untouched = {.data = {0}};

    (void)state;
    wrapped.len = sizeof(wrapped.data);
    plain.len = 31;
    assert_int_equal(EVP_PKEY_encapsulate(ctx, wrapped.data, &wrapped.len, plain.data, &plain.len),
                     0);
    assert_only_error("output buffer too small", "the data key");
    assert_int_equal(EVP_PKEY_encapsulate(ctx, wrapped.data, NULL, plain.data, &plain.len), 0);
    assert_only_error("invalid argument", "both lengths");
    assert_int_equal(EVP_PKEY_encapsulate(ctx, wrapped.data, &wrapped.len, plain.data, NULL), 0);
    assert_only_error("invalid argument", "both lengths");
    assert_int_equal(requests(&server), 0);
    wrapped.len = 40;
    plain.len = 32;
    assert_int_equal(EVP_PKEY_encapsulate(ctx, wrapped.data, &wrapped.len, plain.data, &plain.len),
                     0);
    assert_only_error("output buffer too small", "the wrapped data key");
    assert_memory_equal(wrapped.data, untouched.data, sizeof(untouched.data));
    assert_memory_equal(plain.data, untouched.data, sizeof(untouched.data));

    assert_int_equal(encapsulate(ctx, &wrapped, &plain), 1);
    EVP_PKEY_CTX_free(ctx);
    ctx = begin(&f, CONTEXT, 0, false);
    plain = untouched;
    plain.len = 31;
    assert_int_equal(EVP_PKEY_decapsulate(ctx, plain.data, &plain.len, wrapped.data, wrapped.len),
                     0);
    assert_only_error("output buffer too small", "the data key");
    assert_int_equal(EVP_PKEY_decapsulate(ctx, plain.data, NULL, wrapped.data, wrapped.len), 0);
    assert_only_error("invalid argument", "length");
    assert_memory_equal(plain.data, untouched.data, sizeof(untouched.data));
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f);
}

static void what_policy_forbids_is_refused_without_a_request(void **state)
{
    static const struct {
        const char *context, *sentence;
    } rows[] = {
        {NULL, "encryption context is missing"},
        {"dataType=credentials", "encryption context lacks a required name"},
        {"{\"dataType\":\"recipes\",\"operationId\":\"o\"}",
         "unknown dataType in the encryption context"},
    };
    fixture f = open_fixture();
    bytes wrapped = bytes_of("x"), plain, out;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        EVP_PKEY_CTX *ctx = begin(&f, rows[i].context, 0, true);
        assert_int_equal(encapsulate(ctx, &out, &plain), 0);
        assert_only_error(rows[i].sentence, "");
        EVP_PKEY_CTX_free(ctx);
        assert_int_equal(decapsulate(&f, rows[i].context, &wrapped, &plain), 0);
        assert_only_error(rows[i].sentence, "");
    }
    assert_int_equal(requests(&server), 0);
    close_fixture(&f);
}

static void another_context_and_altered_bytes_do_not_open_it(void **state)
{
    static const char sentence[] = "encryption context mismatch or altered ciphertext";
    fixture f = open_fixture();
    EVP_PKEY_CTX *ctx = begin(&f, CONTEXT, 0, true);
    bytes wrapped, plain;

    (void)state;
    assert_int_equal(encapsulate(ctx, &wrapped, &plain), 1);
    EVP_PKEY_CTX_free(ctx);
    assert_int_equal(
        decapsulate(&f, "{\"dataType\":\"credentials\",\"operationId\":\"zqx\"}", &wrapped, &plain),
        0);
    assert_only_error(sentence, "dataType, operationId");
    wrapped.data[wrapped.len - 1] ^= 1;
    assert_int_equal(decapsulate(&f, CONTEXT, &wrapped, &plain), 0);
    assert_only_error(sentence, "");
    close_fixture(&f);
}

static void a_copied_operation_keeps_size_and_context(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY_CTX *ctx = begin(&f, CONTEXT, 24, true);
    EVP_PKEY_CTX *copy = EVP_PKEY_CTX_dup(ctx);
    bytes wrapped, plain;

    (void)state;
    assert_non_null(copy);
    EVP_PKEY_CTX_free(ctx);
    assert_int_equal(encapsulate(copy, &wrapped, &plain), 1);
    assert_int_equal(plain.len, 24);
    EVP_PKEY_CTX_free(copy);
    close_fixture(&f);
}

static void a_reply_of_another_length_is_never_a_data_key(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY_CTX *ctx = begin(&f, CONTEXT, 0, true);
    bytes wrapped = {.data = {0}}, plain = {.data = {0}};
    const bytes untouched = {.data = {0}};

    (void)state;
    test_server_faults(&server, "[\"GenerateDataKey:wrong-length:1\"]");
    assert_int_equal(encapsulate(ctx, &wrapped, &plain), 0);
    assert_only_error("reply of KMS is not valid", "not 32");
    assert_memory_equal(wrapped.data, untouched.data, sizeof(untouched.data));
    assert_memory_equal(plain.data, untouched.data, sizeof(untouched.data));
    test_server_faults(&server, "[]");
    EVP_PKEY_CTX_free(ctx);
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
        cmocka_unit_test(a_data_key_comes_back_as_it_was),
        cmocka_unit_test(each_data_key_is_a_new_one),
        cmocka_unit_test(both_doors_open_the_same_ciphertext),
        cmocka_unit_test(sizes_are_told_without_a_request),
        cmocka_unit_test(an_impossible_size_is_refused_and_changes_nothing),
        cmocka_unit_test(buffers_without_room_get_nothing),
        cmocka_unit_test(what_policy_forbids_is_refused_without_a_request),
        cmocka_unit_test(another_context_and_altered_bytes_do_not_open_it),
        cmocka_unit_test(a_copied_operation_keeps_size_and_context),
        cmocka_unit_test(a_reply_of_another_length_is_never_a_data_key),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
