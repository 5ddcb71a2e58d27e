/* ML-KEM keys in KMS: encapsulated locally or by the default provider, decapsulated by one request.
 */
#include "tests/provider/application.h"

#include "include/kms/kms_provider.h"

#include <openssl/err.h>
#include <openssl/params.h>

static test_server server;

static const struct {
    const char *uri, *type;
    size_t ciphertext;
} keys[] = {
    {"kms:alias/kem512", "ML-KEM-512", 768},
    {"kms:alias/kem768", "ML-KEM-768", 1088},
    {"kms:alias/kem1024", "ML-KEM-1024", 1568},
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

typedef struct fixture {
    application app;
    EVP_PKEY *key, *public; /* the public half is an ordinary key */
} fixture;

static fixture open_fixture(const char *uri)
{
    fixture f = {0};

    ERR_clear_error(); /* of a test that failed */
    f.app = application_open();
    f.key = application_key(&f.app, uri);
    f.public = ordinary_public(f.key);
    test_server_reset(&server);
    return f;
}

/* What a test asked of KMS: so many decapsulations and nothing else. */
static void close_fixture(fixture *f, long decapsulations)
{
    assert_no_error();
    assert_int_equal(test_server_count(&server, "Decapsulate"), decapsulations);
    assert_int_equal(requests(&server), decapsulations);
    EVP_PKEY_free(f->public);
    EVP_PKEY_free(f->key);
    application_close(&f->app);
}

static void encapsulate(OSSL_LIB_CTX *libctx, EVP_PKEY *key, bytes *ciphertext, bytes *secret)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);

    assert_int_equal(EVP_PKEY_encapsulate_init(ctx, NULL), 1);
    assert_int_equal(EVP_PKEY_encapsulate(ctx, NULL, &ciphertext->len, NULL, &secret->len), 1);
    assert_int_equal(
        EVP_PKEY_encapsulate(ctx, ciphertext->data, &ciphertext->len, secret->data, &secret->len),
        1);
    EVP_PKEY_CTX_free(ctx);
}

static bool decapsulate(const fixture *f, const bytes *ciphertext, bytes *secret)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(f->app.libctx, f->key, NULL);
    bool ok;

    secret->len = 0;
    ok = EVP_PKEY_decapsulate_init(ctx, NULL) == 1 &&
         EVP_PKEY_decapsulate(ctx, NULL, &secret->len, ciphertext->data, ciphertext->len) == 1;

    assert_true(!ok || secret->len == 32);
    ok = ok && EVP_PKEY_decapsulate(ctx, secret->data, &secret->len, ciphertext->data,
                                    ciphertext->len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool same(const bytes *a, const bytes *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static void both_sides_have_the_same_secret(void **state)
{
    (void)state;
    for (size_t k = 0; k < KEYS; k++) {
        fixture f = open_fixture(keys[k].uri);
        bytes ciphertext, sent, received, again;
        assert_true(EVP_PKEY_is_a(f.key, KMS_PROVIDER_ML_KEM_TYPE));
        assert_true(EVP_PKEY_is_a(f.public, keys[k].type));
        encapsulate(NULL, f.public, &ciphertext, &sent);
        assert_int_equal(ciphertext.len, keys[k].ciphertext);
        assert_true(decapsulate(&f, &ciphertext, &received));
        assert_true(same(&sent, &received));
        encapsulate(f.app.libctx, f.key, &ciphertext, &again);
        assert_false(same(&sent, &again));
        assert_true(decapsulate(&f, &ciphertext, &received));
        assert_true(same(&again, &received));
        close_fixture(&f, 2);
    }
}

/* FIPS 203, 6.3: an altered ciphertext is not noticed here. */
static void an_altered_ciphertext_gives_another_secret(void **state)
{
    fixture f = open_fixture(keys[1].uri);
    bytes ciphertext, sent, received;

    (void)state;
    encapsulate(NULL, f.public, &ciphertext, &sent);
    ciphertext.data[9] ^= 1;
    assert_true(decapsulate(&f, &ciphertext, &received));
    assert_false(same(&sent, &received));
    close_fixture(&f, 1);
}

static void a_ciphertext_of_another_size_is_refused_without_a_request(void **state)
{
    fixture f = open_fixture(keys[1].uri);
    bytes ciphertext, sent, received;

    (void)state;
    encapsulate(NULL, f.public, &ciphertext, &sent);
    ciphertext.len--;
    assert_false(decapsulate(&f, &ciphertext, &received));
    assert_first_error("ciphertext has an impossible size", "1087 bytes");
    ciphertext.len += 2;
    assert_false(decapsulate(&f, &ciphertext, &received));
    assert_first_error("ciphertext has an impossible size", "1089 bytes");
    close_fixture(&f, 0);
}

static void a_secret_that_does_not_fit_is_refused_without_a_request(void **state)
{
    fixture f = open_fixture(keys[1].uri);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(f.app.libctx, f.key, NULL);
    bytes ciphertext, sent, received = {.len = 31};

    (void)state;
    encapsulate(NULL, f.public, &ciphertext, &sent);
    assert_int_equal(EVP_PKEY_decapsulate_init(ctx, NULL), 1);
    assert_int_not_equal(
        EVP_PKEY_decapsulate(ctx, received.data, &received.len, ciphertext.data, ciphertext.len),
        1);
    assert_first_error("output buffer too small", "does not fit");
    received.len = 31;
    assert_int_equal(EVP_PKEY_encapsulate_init(ctx, NULL), 1);
    ciphertext.len = sizeof(ciphertext.data);
    assert_int_not_equal(
        EVP_PKEY_encapsulate(ctx, ciphertext.data, &ciphertext.len, received.data, &received.len),
        1);
    assert_first_error("output buffer too small", "both buffers");
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f, 0);
}

static void a_fault_of_kms_reaches_the_application(void **state)
{
    fixture f = open_fixture(keys[1].uri);
    bytes ciphertext, sent, received;

    (void)state;
    encapsulate(NULL, f.public, &ciphertext, &sent);
    test_server_faults(&server, "[\"Decapsulate:AccessDeniedException:1\"]");
    assert_false(decapsulate(&f, &ciphertext, &received));
    assert_first_error("access denied by AWS", "");
    test_server_faults(&server, "[]");
    assert_true(decapsulate(&f, &ciphertext, &received));
    assert_true(same(&sent, &received));
    close_fixture(&f, 2);
}

static void keys_are_made_in_kms(void **state)
{
    application app;
    EVP_PKEY *key = NULL, *public;
    EVP_PKEY_CTX *ctx;
    char alias[] = "made";
    size_t bits = 1024;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(KMS_PROVIDER_PARAM_ALIAS, alias, 0),
        OSSL_PARAM_construct_size_t("bits", &bits),
        OSSL_PARAM_construct_end(),
    };

    (void)state;
    use_settings("allow_key_creation = yes\n");
    app = application_open();
    ctx = EVP_PKEY_CTX_new_from_name(app.libctx, KMS_PROVIDER_ML_KEM_TYPE, NULL);
    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_params(ctx, params), 1);
    assert_int_equal(EVP_PKEY_generate(ctx, &key), 1);
    public = ordinary_public(key);
    assert_true(EVP_PKEY_is_a(public, "ML-KEM-1024"));
    EVP_PKEY_free(public);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    use_settings(NULL);
    application_close(&app);
}

static int set_up(void **state)
{
    static const char *const options[] = {
        "--seed-key", "alias/kem512:ML_KEM_512",   "--seed-key", "alias/kem768:ML_KEM_768",
        "--seed-key", "alias/kem1024:ML_KEM_1024", NULL};

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
        cmocka_unit_test(both_sides_have_the_same_secret),
        cmocka_unit_test(an_altered_ciphertext_gives_another_secret),
        cmocka_unit_test(a_ciphertext_of_another_size_is_refused_without_a_request),
        cmocka_unit_test(a_secret_that_does_not_fit_is_refused_without_a_request),
        cmocka_unit_test(a_fault_of_kms_reaches_the_application),
        cmocka_unit_test(keys_are_made_in_kms),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
