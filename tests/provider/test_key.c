/* The key as an EVP_PKEY: what it tells, what it compares with, and that it is never exported. */
#include "tests/provider/application.h"

#include <openssl/core_names.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

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

/* Nothing here asks KMS. */
static void close_fixture(fixture *f)
{
    assert_no_error();
    assert_int_equal(requests(&server), 0);
    EVP_PKEY_free(f->key);
    application_close(&f->app);
}

static void it_tells_its_type_sizes_and_arn(void **state)
{
    fixture f = open_fixture();
    char arn[256], small[8];

    (void)state;
    assert_true(EVP_PKEY_is_a(f.key, "KMS"));
    assert_string_equal(EVP_PKEY_get0_type_name(f.key), "KMS");
    assert_int_equal(EVP_PKEY_get_bits(f.key), 256);
    assert_int_equal(EVP_PKEY_get_security_bits(f.key), 256);
    assert_int_equal(EVP_PKEY_get_size(f.key), 6144);
    assert_int_equal(EVP_PKEY_get_utf8_string_param(f.key, "arn", arn, sizeof(arn), NULL), 1);
    assert_memory_equal(arn, "arn:aws:kms:eu-central-1:", 25);
    assert_int_equal(EVP_PKEY_get_utf8_string_param(f.key, "arn", small, sizeof(small), NULL), 0);
    ERR_clear_error();
    const OSSL_PARAM *gettable = EVP_PKEY_gettable_params(f.key);
    assert_non_null(OSSL_PARAM_locate_const(gettable, OSSL_PKEY_PARAM_BITS));
    assert_non_null(OSSL_PARAM_locate_const(gettable, "arn"));
    assert_null(OSSL_PARAM_locate_const(gettable, OSSL_PKEY_PARAM_PRIV_KEY));
    close_fixture(&f);
}

static void the_same_key_is_equal_and_another_is_not(void **state)
{
    application app = application_open();
    EVP_PKEY *key = application_key(&app, KEY), *again = application_key(&app, KEY);
    EVP_PKEY *other = application_key(&app, OTHER_KEY), *copy = EVP_PKEY_dup(key);
    EVP_PKEY *rsa = EVP_PKEY_Q_keygen(app.libctx, NULL, "RSA", (size_t)1024);

    (void)state;
    assert_int_equal(EVP_PKEY_eq(key, again), 1);
    assert_int_equal(EVP_PKEY_eq(key, copy), 1);
    assert_int_equal(EVP_PKEY_eq(key, other), 0);
    assert_int_equal(EVP_PKEY_parameters_eq(key, other), 1);
    assert_no_error();
    assert_true(EVP_PKEY_eq(key, rsa) <= 0);
    assert_true(EVP_PKEY_eq(rsa, key) <= 0);
    for (unsigned long code; (code = ERR_get_error()) != 0;)
        assert_int_equal(ERR_GET_LIB(code), ERR_LIB_EVP);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(copy);
    EVP_PKEY_free(other);
    EVP_PKEY_free(again);
    EVP_PKEY_free(key);
    application_close(&app);
}

static void a_copy_outlives_the_original(void **state)
{
    application app = application_open();
    EVP_PKEY *key = application_key(&app, KEY "?context.dataType=credentials");
    EVP_PKEY *copy = EVP_PKEY_dup(key);
    bytes plain = bytes_of("secret"), wrapped;

    (void)state;
    assert_non_null(copy);
    EVP_PKEY_free(key);
    assert_true(wrap(&app, copy, "operationId=op-1", &plain, &wrapped));
    EVP_PKEY_free(copy);
    application_close(&app);
}

static void printing_tells_the_facts_and_no_material(void **state)
{
    fixture f = open_fixture();
    BIO *out = BIO_new(BIO_s_mem());
    char arn[256], *text = NULL;
    long len;

    (void)state;
    assert_int_equal(EVP_PKEY_get_utf8_string_param(f.key, "arn", arn, sizeof(arn), NULL), 1);
    assert_int_equal(EVP_PKEY_print_private(out, f.key, 0, NULL), 1);
    BIO_write(out, "", 1);
    len = BIO_get_mem_data(out, &text);
    assert_true(len > 1);
    assert_non_null(strstr(text, arn));
    assert_non_null(strstr(text, "SYMMETRIC_DEFAULT"));
    assert_non_null(strstr(text, "eu-central-1"));
    assert_int_equal(EVP_PKEY_print_public(out, f.key, 0, NULL), 1);
    BIO_free(out);
    close_fixture(&f);
}

static void a_stream_that_fails_fails_the_printing(void **state)
{
    fixture f = open_fixture();
    FILE *full = fopen("/dev/full", "w");
    BIO *out;

    (void)state;
    assert_non_null(full);
    setvbuf(full, NULL, _IONBF, 0);
    out = BIO_new_fp(full, BIO_CLOSE);
    assert_int_not_equal(EVP_PKEY_print_private(out, f.key, 0, NULL), 1);
    BIO_free(out);
    ERR_clear_error();
    close_fixture(&f);
}

static int der_private(BIO *out, EVP_PKEY *key)
{
    return i2d_PrivateKey_bio(out, key);
}

static int der_pkcs8(BIO *out, EVP_PKEY *key)
{
    return i2d_PKCS8PrivateKey_bio(out, key, NULL, NULL, 0, NULL, NULL);
}

static int pem_public(BIO *out, EVP_PKEY *key)
{
    return PEM_write_bio_PUBKEY(out, key);
}

static int der_public(BIO *out, EVP_PKEY *key)
{
    return i2d_PUBKEY_bio(out, key);
}

static int raw_private(BIO *out, EVP_PKEY *key)
{
    unsigned char material[64];
    size_t len = sizeof(material);
    int ok = EVP_PKEY_get_raw_private_key(key, material, &len);

    return ok == 1 && BIO_write(out, material, (int)len);
}

static int raw_public(BIO *out, EVP_PKEY *key)
{
    unsigned char material[64];
    size_t len = sizeof(material);
    int ok = EVP_PKEY_get_raw_public_key(key, material, &len);

    return ok == 1 && BIO_write(out, material, (int)len);
}

static int as_parameters(BIO *out, EVP_PKEY *key)
{
    OSSL_PARAM *params = NULL;
    int ok = EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &params);

    OSSL_PARAM_free(params);
    return ok == 1 && BIO_write(out, "x", 1);
}

static void every_export_of_material_is_refused_with_the_reason(void **state)
{
    static const struct {
        const char *name;
        int (*export)(BIO *out, EVP_PKEY *key);
    } rows[] = {
        {"DER", der_private},          {"DER PKCS#8", der_pkcs8},    {"PEM public", pem_public},
        {"DER public", der_public},    {"raw private", raw_private}, {"raw public", raw_public},
        {"parameters", as_parameters},
    };
    fixture f = open_fixture();

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        BIO *out = BIO_new(BIO_s_mem());
        if (rows[i].export(out, f.key) == 1)
            fail_msg("%s was exported", rows[i].name);
        assert_int_equal(BIO_pending(out), 0);
        print_message("%s\n", rows[i].name);
        assert_first_error("key material of a KMS key cannot be exported", "it never leaves KMS");
        BIO_free(out);
    }
    close_fixture(&f);
}

static void nothing_is_imported_or_generated(void **state)
{
    fixture f = open_fixture();
    unsigned char material[32] = {0};
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, material, sizeof(material)),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(f.app.libctx, "KMS", NULL);
    EVP_PKEY *made = NULL;

    (void)state;
    assert_non_null(ctx);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_true(EVP_PKEY_fromdata(ctx, &made, EVP_PKEY_KEYPAIR, params) <= 0);
    assert_null(made);
    assert_true(EVP_PKEY_keygen_init(ctx) <= 0 || EVP_PKEY_generate(ctx, &made) <= 0);
    assert_null(made);
    assert_true(EVP_PKEY_encrypt_init(ctx) <= 0);
    for (unsigned long code; (code = ERR_get_error()) != 0;)
        assert_int_equal(ERR_GET_LIB(code), ERR_LIB_EVP);
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f);
}

static void other_operations_are_not_offered(void **state)
{
    static int (*const inits[])(EVP_PKEY_CTX *) = {EVP_PKEY_sign_init, EVP_PKEY_verify_init,
                                                   EVP_PKEY_derive_init};
    fixture f = open_fixture();

    (void)state;
    for (size_t i = 0; i < sizeof(inits) / sizeof(inits[0]); i++) {
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(f.app.libctx, f.key, NULL);
        assert_true(inits[i](ctx) <= 0);
        ERR_clear_error();
        EVP_PKEY_CTX_free(ctx);
    }
    close_fixture(&f);
}

/* The operation then runs in the key's own provider; to compare, one side would have to export. */
static void a_key_of_another_library_context_is_used_but_not_compared(void **state)
{
    application app = application_open(), other = application_open();
    EVP_PKEY *key = application_key(&app, KEY), *same = application_key(&other, KEY);
    bytes plain = bytes_of("secret"), out, back;

    (void)state;
    assert_true(wrap(&other, key, CONTEXT, &plain, &out));
    assert_true(unwrap(&app, same, CONTEXT, &out, &back));
    ERR_clear_error();
    assert_int_not_equal(EVP_PKEY_eq(key, same), 1);
    assert_first_error("key material of a KMS key cannot be exported", "");
    EVP_PKEY_free(same);
    EVP_PKEY_free(key);
    application_close(&other);
    application_close(&app);
}

static int set_up(void **state)
{
    static const char *const options[] = {"--seed-key", "alias/other", NULL};

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
        cmocka_unit_test(it_tells_its_type_sizes_and_arn),
        cmocka_unit_test(the_same_key_is_equal_and_another_is_not),
        cmocka_unit_test(a_copy_outlives_the_original),
        cmocka_unit_test(printing_tells_the_facts_and_no_material),
        cmocka_unit_test(a_stream_that_fails_fails_the_printing),
        cmocka_unit_test(every_export_of_material_is_refused_with_the_reason),
        cmocka_unit_test(nothing_is_imported_or_generated),
        cmocka_unit_test(other_operations_are_not_offered),
        cmocka_unit_test(a_key_of_another_library_context_is_used_but_not_compared),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
