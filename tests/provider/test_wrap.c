/* Wrap and unwrap by EVP_PKEY_encrypt and EVP_PKEY_decrypt. */
#include "tests/integration/wire.h"
#include "tests/provider/application.h"

#include "include/kms/kms_provider.h"

#include <openssl/core_names.h>
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

static bytes pattern(size_t len)
{
    bytes b = {.len = len};

    for (size_t i = 0; i < len; i++)
        b.data[i] = (unsigned char)(i * 7 + i / 256);
    return b;
}

static void a_secret_comes_back_as_it_was(void **state)
{
    static const size_t sizes[] = {1, 16, 32, 4095, 4096};
    fixture f = open_fixture();

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        bytes plain = pattern(sizes[i]), wrapped, back;
        assert_true(wrap(&f.app, f.key, CONTEXT, &plain, &wrapped));
        assert_true(wrapped.len > plain.len);
        if (plain.len >= 16)
            assert_null(memmem(wrapped.data, wrapped.len, plain.data, plain.len));
        assert_true(unwrap(&f.app, f.key, CONTEXT, &wrapped, &back));
        assert_int_equal(back.len, plain.len);
        assert_memory_equal(back.data, plain.data, plain.len);
    }
    assert_int_equal(requests(&server), 10);
    assert_int_equal(test_server_count(&server, "Encrypt"), 5);
    assert_int_equal(test_server_count(&server, "Decrypt"), 5);
    close_fixture(&f);
}

static void what_policy_forbids_is_refused_without_a_request(void **state)
{
    static const struct {
        const char *context;
        size_t size;
        const char *sentence, *detail;
    } rows[] = {
        {NULL, 6, "encryption context is missing", "dataType, operationId"},
        {"{}", 6, "encryption context is missing", "-pkeyopt context:"},
        {"dataType=credentials", 6, "encryption context lacks a required name", "operationId"},
        {"operationId=op-1", 6, "encryption context lacks a required name", "dataType"},
        {"{\"dataType\":\"pii\",\"operationId\":\"o\"}", 6,
         "encryption context lacks a required name", "piiType"},
        {"{\"dataType\":\"context\",\"operationId\":\"o\"}", 6,
         "encryption context lacks a required name", "contextType"},
        {"{\"dataType\":\"recipes\",\"operationId\":\"o\"}", 6,
         "unknown dataType in the encryption context", "credentials, pii, context"},
        {CONTEXT, 0, "plaintext is empty", "1 to 4096"},
        {CONTEXT, 4097, "plaintext is larger than 4096 bytes, the limit of KMS",
         "use envelope encryption"},
    };
    fixture f = open_fixture();

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bytes plain = pattern(rows[i].size), out;
        memset(out.data, 0xaa, sizeof(out.data));
        assert_false(wrap(&f.app, f.key, rows[i].context, &plain, &out));
        assert_only_error(rows[i].sentence, rows[i].detail);
        assert_int_equal(out.data[0], 0xaa);
        if (rows[i].size != 6)
            continue;
        assert_false(unwrap(&f.app, f.key, rows[i].context, &plain, &out));
        assert_only_error(rows[i].sentence, rows[i].detail);
    }
    assert_int_equal(requests(&server), 0);
    close_fixture(&f);
}

static void a_malformed_context_is_refused_where_it_is_set(void **state)
{
    static const struct {
        const char *text, *sentence, *detail;
    } rows[] = {
        {"no equals sign", "encryption context is not valid", "NAME=VALUE"},
        {"=value", "name in the encryption context is not valid", ""},
        {"aws:name=value", "name in the encryption context is not valid", "aws:"},
        {"dataType=again", "name is twice in the encryption context", "dataType"},
        {"name=tab\tinside", "value in the encryption context is not valid", "name"},
        {"name=\xff\xfe", "value in the encryption context is not valid", "name"},
        {"{\"a\":", "encryption context is not valid", ""},
        {"{\"a\":1}", "encryption context is not valid", ""},
        {"{\"a\":\"1\",\"a\":\"1\"}", "name is twice in the encryption context", "a"},
        {"{\"a\":\"1\"} and more", "encryption context is not valid", ""},
    };
    fixture f = open_fixture();
    EVP_PKEY_CTX *ctx = begin_wrap(&f.app, f.key, "dataType=credentials");
    bytes plain = bytes_of("secret"), out = {.len = sizeof(out.data)};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_true(EVP_PKEY_CTX_ctrl_str(ctx, "context", rows[i].text) <= 0);
        assert_only_error(rows[i].sentence, rows[i].detail);
    }
    assert_true(EVP_PKEY_CTX_ctrl_str(ctx, "nonsense", "x") <= 0);
    ERR_clear_error();
    /* What was refused left no trace. */
    assert_int_equal(EVP_PKEY_CTX_ctrl_str(ctx, "context", "operationId=a=b:c"), 1);
    assert_int_equal(EVP_PKEY_encrypt(ctx, out.data, &out.len, plain.data, plain.len), 1);
    EVP_PKEY_CTX_free(ctx);
    assert_true(unwrap(&f.app, f.key, "{\"operationId\":\"a=b:c\",\"dataType\":\"credentials\"}",
                       &out, &plain));
    close_fixture(&f);
}

static void a_context_over_the_limit_is_refused(void **state)
{
    static char text[9000];
    fixture f = open_fixture();
    EVP_PKEY_CTX *ctx = begin_wrap(&f.app, f.key, NULL);

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    memcpy(text, "name=", 5);
    assert_true(EVP_PKEY_CTX_ctrl_str(ctx, "context", text) <= 0);
    assert_only_error("encryption context is too large", "8 KiB");
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f);
}

static void every_context_of_a_parameter_array_counts(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(f.app.libctx, f.key, NULL);
    char one[] = "dataType=credentials", two[] = "operationId=op-1and more";
    int number = 1;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(KMS_PROVIDER_PARAM_CONTEXT, one, 0),
        /* no terminator: the length counts */
        OSSL_PARAM_construct_utf8_string(KMS_PROVIDER_PARAM_CONTEXT, two, strlen(two) - 8),
        OSSL_PARAM_construct_end(),
    };
    const OSSL_PARAM wrong[] = {
        OSSL_PARAM_construct_int(KMS_PROVIDER_PARAM_CONTEXT, &number),
        OSSL_PARAM_construct_end(),
    };
    bytes plain = bytes_of("secret"), out = {.len = sizeof(out.data)}, back;

    (void)state;
    assert_int_equal(EVP_PKEY_encrypt_init_ex(ctx, params), 1);
    assert_int_equal(EVP_PKEY_encrypt(ctx, out.data, &out.len, plain.data, plain.len), 1);
    assert_true(unwrap(&f.app, f.key, CONTEXT, &out, &back));
    assert_int_not_equal(EVP_PKEY_encrypt_init_ex(ctx, wrong), 1);
    assert_first_error("encryption context is not valid", "not a UTF-8 string");
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f);
}

static void the_address_may_carry_the_context(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY *bound =
        application_key(&f.app, KEY "?context.dataType=credentials&context.operationId=op-1");
    EVP_PKEY *partly = application_key(&f.app, KEY "?context.dataType=credentials");
    bytes plain = bytes_of("secret"), wrapped, back;

    (void)state;
    assert_true(wrap(&f.app, bound, NULL, &plain, &wrapped));
    assert_true(unwrap(&f.app, f.key, CONTEXT, &wrapped, &back));
    assert_true(unwrap(&f.app, partly, "operationId=op-1", &wrapped, &back));
    /* Given twice alike is no contradiction; otherwise it is. */
    assert_true(unwrap(&f.app, bound, CONTEXT, &wrapped, &back));
    assert_false(unwrap(&f.app, bound, "operationId=op-2", &wrapped, &back));
    assert_only_error("name is twice in the encryption context", "operationId");
    EVP_PKEY_free(partly);
    EVP_PKEY_free(bound);
    close_fixture(&f);
}

static void the_configured_context_serves_programs_that_give_none(void **state)
{
    bytes plain = bytes_of("secret"), wrapped, back;

    (void)state;
    use_settings("[context]\ndataType = credentials\noperationId = op-1\n");
    fixture f = open_fixture();
    assert_true(wrap(&f.app, f.key, NULL, &plain, &wrapped));
    assert_true(unwrap(&f.app, f.key, CONTEXT, &wrapped, &back));
    /* It is not added to one that is given. */
    assert_false(wrap(&f.app, f.key, "dataType=credentials", &plain, &back));
    assert_only_error("encryption context lacks a required name", "operationId");
    close_fixture(&f);
    use_settings(NULL);
}

static void each_init_starts_without_a_context(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY_CTX *ctx = begin_wrap(&f.app, f.key, CONTEXT);
    bytes plain = bytes_of("secret"), out = {.len = sizeof(out.data)};

    (void)state;
    assert_int_equal(EVP_PKEY_encrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_encrypt(ctx, out.data, &out.len, plain.data, plain.len), 0);
    assert_only_error("encryption context is missing", "");
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f);
}

static void a_context_set_between_operations_counts_for_the_next(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY_CTX *ctx = begin_wrap(&f.app, f.key, CONTEXT);
    bytes plain = bytes_of("secret"), first = {.len = sizeof(first.data)}, second = first, back;

    (void)state;
    assert_int_equal(EVP_PKEY_encrypt(ctx, first.data, &first.len, plain.data, plain.len), 1);
    assert_int_equal(EVP_PKEY_CTX_ctrl_str(ctx, "context", "userId=u-1"), 1);
    assert_int_equal(EVP_PKEY_encrypt(ctx, second.data, &second.len, plain.data, plain.len), 1);
    EVP_PKEY_CTX_free(ctx);
    assert_true(unwrap(&f.app, f.key, CONTEXT, &first, &back));
    assert_true(unwrap(&f.app, f.key,
                       "{\"dataType\":\"credentials\",\"operationId\":\"op-1\",\"userId\":\"u-1\"}",
                       &second, &back));
    close_fixture(&f);
}

static void a_copied_operation_goes_its_own_way(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY_CTX *ctx = begin_wrap(&f.app, f.key, "dataType=credentials");
    EVP_PKEY_CTX *copy = EVP_PKEY_CTX_dup(ctx);
    bytes plain = bytes_of("secret"), out = {.len = sizeof(out.data)}, back;

    (void)state;
    assert_non_null(copy);
    assert_int_equal(EVP_PKEY_CTX_ctrl_str(copy, "context", "operationId=op-1"), 1);
    assert_int_equal(EVP_PKEY_encrypt(ctx, out.data, &out.len, plain.data, plain.len), 0);
    assert_only_error("encryption context lacks a required name", "operationId");
    EVP_PKEY_CTX_free(ctx);
    assert_int_equal(EVP_PKEY_encrypt(copy, out.data, &out.len, plain.data, plain.len), 1);
    EVP_PKEY_CTX_free(copy);
    assert_true(unwrap(&f.app, f.key, CONTEXT, &out, &back));
    close_fixture(&f);
}

static void asking_for_the_size_costs_no_request(void **state)
{
    fixture f = open_fixture();
    bytes plain = bytes_of("secret");
    size_t len = 0;
    EVP_PKEY_CTX *ctx = begin_wrap(&f.app, f.key, CONTEXT);

    (void)state;
    assert_int_equal(EVP_PKEY_encrypt(ctx, NULL, &len, plain.data, plain.len), 1);
    assert_int_equal(len, 6144);
    EVP_PKEY_CTX_free(ctx);
    ctx = begin_unwrap(&f.app, f.key, CONTEXT);
    assert_int_equal(EVP_PKEY_decrypt(ctx, NULL, &len, plain.data, plain.len), 1);
    assert_int_equal(len, 4096);
    EVP_PKEY_CTX_free(ctx);
    assert_int_equal(requests(&server), 0);
    close_fixture(&f);
}

static void a_result_that_does_not_fit_is_not_written(void **state)
{
    fixture f = open_fixture();
    bytes plain = bytes_of("a secret of some length"), wrapped, out;
    EVP_PKEY_CTX *ctx = begin_wrap(&f.app, f.key, CONTEXT);

    (void)state;
    memset(out.data, 0xaa, sizeof(out.data));
    out.len = plain.len;
    assert_int_equal(EVP_PKEY_encrypt(ctx, out.data, &out.len, plain.data, plain.len), 0);
    assert_only_error("output buffer too small", "");
    EVP_PKEY_CTX_free(ctx);
    assert_true(wrap(&f.app, f.key, CONTEXT, &plain, &wrapped));
    ctx = begin_unwrap(&f.app, f.key, CONTEXT);
    out.len = plain.len - 1;
    assert_int_equal(EVP_PKEY_decrypt(ctx, out.data, &out.len, wrapped.data, wrapped.len), 0);
    assert_only_error("output buffer too small", "");
    assert_int_equal(out.data[0], 0xaa);
    out.len = plain.len;
    assert_int_equal(EVP_PKEY_decrypt(ctx, out.data, &out.len, wrapped.data, wrapped.len), 1);
    assert_memory_equal(out.data, plain.data, plain.len);
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f);
}

static void another_context_is_named_without_its_values(void **state)
{
    fixture f = open_fixture();
    bytes plain = bytes_of("secret"), wrapped, out;
    const char *data = "", *sentence = "encryption context mismatch or altered ciphertext";

    (void)state;
    assert_true(wrap(&f.app, f.key, CONTEXT, &plain, &wrapped));
    assert_false(unwrap(&f.app, f.key,
                        "{\"dataType\":\"pii\",\"piiType\":\"zqx-1\",\"operationId\":\"zqx-2\"}",
                        &wrapped, &out));
    ERR_peek_error_data(&data, NULL);
    assert_null(strstr(data, "zqx"));
    assert_non_null(strstr(data, "request id "));
    assert_non_null(strstr(data, "give exactly the names and values used at encryption"));
    assert_only_error(sentence, "dataType, operationId, piiType");
    close_fixture(&f);
}

static void altered_ciphertext_is_refused(void **state)
{
    static const char sentence[] = "encryption context mismatch or altered ciphertext";
    fixture f = open_fixture();
    bytes plain = pattern(64), wrapped, altered, out;

    (void)state;
    assert_true(wrap(&f.app, f.key, CONTEXT, &plain, &wrapped));
    for (size_t i = 0; i < wrapped.len; i += 13) {
        altered = wrapped;
        altered.data[i] ^= 1;
        assert_false(unwrap(&f.app, f.key, CONTEXT, &altered, &out));
        assert_int_not_equal(ERR_peek_error(), 0);
        ERR_clear_error();
    }
    altered = wrapped;
    altered.data[wrapped.len - 1] ^= 0x80;
    assert_false(unwrap(&f.app, f.key, CONTEXT, &altered, &out));
    assert_only_error(sentence, "check that the ciphertext is whole");
    for (size_t len = 1; len < wrapped.len; len += 29) {
        altered.len = len;
        assert_false(unwrap(&f.app, f.key, CONTEXT, &altered, &out));
        assert_only_error(sentence, "");
    }
    test_server_reset(&server);
    altered.len = 0;
    assert_false(unwrap(&f.app, f.key, CONTEXT, &altered, &out));
    assert_only_error("ciphertext has an impossible size", "0 bytes");
    altered.len = 6145;
    assert_false(unwrap(&f.app, f.key, CONTEXT, &altered, &out));
    assert_only_error("ciphertext has an impossible size", "6145 bytes");
    assert_int_equal(requests(&server), 0);
    close_fixture(&f);
}

static void ciphertext_of_another_key_is_refused(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY *other = application_key(&f.app, OTHER_KEY);
    bytes plain = bytes_of("secret"), wrapped, out;

    (void)state;
    assert_true(wrap(&f.app, other, CONTEXT, &plain, &wrapped));
    assert_false(unwrap(&f.app, f.key, CONTEXT, &wrapped, &out));
    assert_only_error("ciphertext belongs to another key", "request id ");
    EVP_PKEY_free(other);
    close_fixture(&f);
}

static void an_alias_that_moves_never_changes_the_key(void **state)
{
    application app = application_open();
    EVP_PKEY *key = application_key(&app, "kms:alias/moving");
    EVP_PKEY *other = application_key(&app, OTHER_KEY);
    char first[256], second[256], body[512];
    bytes plain = bytes_of("secret"), wrapped, back;

    (void)state;
    assert_int_equal(EVP_PKEY_get_utf8_string_param(key, "arn", first, sizeof(first), NULL), 1);
    assert_int_equal(EVP_PKEY_get_utf8_string_param(other, "arn", second, sizeof(second), NULL), 1);
    snprintf(body, sizeof(body), "{\"AliasName\":\"alias/moving\",\"TargetKeyId\":\"%s\"}",
             strrchr(second, '/') + 1);
    wire_expect(&server, &(wire_request){.operation = "UpdateAlias", .body = body}, "");
    assert_true(wrap(&app, key, CONTEXT, &plain, &wrapped));
    assert_false(unwrap(&app, other, CONTEXT, &wrapped, &back));
    assert_only_error("ciphertext belongs to another key", "");
    assert_true(unwrap(&app, key, CONTEXT, &wrapped, &back));
    /* A fresh process sees the alias where it is now. */
    application later = application_open();
    EVP_PKEY *moved = application_key(&later, "kms:alias/moving");
    assert_int_equal(EVP_PKEY_get_utf8_string_param(moved, "arn", first, sizeof(first), NULL), 1);
    assert_string_equal(first, second);
    EVP_PKEY_free(moved);
    application_close(&later);
    EVP_PKEY_free(other);
    EVP_PKEY_free(key);
    application_close(&app);
}

static void a_key_that_is_disabled_or_going_says_so(void **state)
{
    static const struct {
        const char *operation, *sentence;
    } rows[] = {
        {"DisableKey", "key is disabled"},
        {"ScheduleKeyDeletion", "key is in a state that does not allow this"},
    };
    application app = application_open();
    EVP_PKEY *key = application_key(&app, "kms:alias/ending");
    char arn[256], body[512];
    bytes plain = bytes_of("secret"), wrapped;

    (void)state;
    assert_int_equal(EVP_PKEY_get_utf8_string_param(key, "arn", arn, sizeof(arn), NULL), 1);
    snprintf(body, sizeof(body), "{\"KeyId\":\"%s\"}", arn);
    for (size_t i = 0; i < 2; i++) {
        wire_expect(&server, &(wire_request){.operation = rows[i].operation, .body = body}, "");
        assert_false(wrap(&app, key, CONTEXT, &plain, &wrapped));
        assert_only_error(rows[i].sentence, "request id ");
    }
    EVP_PKEY_free(key);
    application_close(&app);
}

static int set_up(void **state)
{
    static const char *const options[] = {
        "--seed-key", "alias/other",  "--seed-key", "alias/moving",
        "--seed-key", "alias/ending", NULL};

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
        cmocka_unit_test(a_secret_comes_back_as_it_was),
        cmocka_unit_test(what_policy_forbids_is_refused_without_a_request),
        cmocka_unit_test(a_malformed_context_is_refused_where_it_is_set),
        cmocka_unit_test(a_context_over_the_limit_is_refused),
        cmocka_unit_test(every_context_of_a_parameter_array_counts),
        cmocka_unit_test(the_address_may_carry_the_context),
        cmocka_unit_test(the_configured_context_serves_programs_that_give_none),
        cmocka_unit_test(each_init_starts_without_a_context),
        cmocka_unit_test(a_context_set_between_operations_counts_for_the_next),
        cmocka_unit_test(a_copied_operation_goes_its_own_way),
        cmocka_unit_test(asking_for_the_size_costs_no_request),
        cmocka_unit_test(a_result_that_does_not_fit_is_not_written),
        cmocka_unit_test(another_context_is_named_without_its_values),
        cmocka_unit_test(altered_ciphertext_is_refused),
        cmocka_unit_test(ciphertext_of_another_key_is_refused),
        cmocka_unit_test(an_alias_that_moves_never_changes_the_key),
        cmocka_unit_test(a_key_that_is_disabled_or_going_says_so),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
