/* Ordinary keys in the same process: whatever the order of the providers and the default query, the
 * application's own RSA, EC and Ed25519 keys sign, verify and serve TLS beside those of KMS. */
#include "tests/provider/handshake.h"

#include <openssl/err.h>
#include <openssl/pem.h>

static test_server server;

/* How an application may be set up. Where kms comes before default, or is preferred, OpenSSL asks
 * kms to make new keys by their ordinary names, which it does not: there the application can read,
 * use and verify with ordinary keys, and agree on keys by X25519 alone. kms says so in its log. */
static const struct setup {
    const char *first, *second, *query;
    bool whole; /* ordinary keys can be made too */
} setups[] = {
    {"default", "kms", NULL, true},
    {"default", "kms", "?provider=default", true},
    {"kms", "default", "?provider=default", true},
    {"kms", "default", NULL, false},
    {"default", "kms", "?provider=kms", false},
    {"kms", "default", "?provider=kms", false},
};

#define SETUPS (sizeof(setups) / sizeof(setups[0]))

static application open_setup(const struct setup *setup)
{
    application app = application_open_order(setup->first, setup->second);

    print_message("%s, %s, %s\n", setup->first, setup->second,
                  setup->query != NULL ? setup->query : "no query");
    if (setup->query != NULL)
        assert_int_equal(EVP_set_default_properties(app.libctx, setup->query), 1);
    return app;
}

#define TYPES 3

static EVP_PKEY *make(OSSL_LIB_CTX *libctx, size_t type)
{
    switch (type) {
    case 0:
        return EVP_PKEY_Q_keygen(libctx, NULL, "RSA", (size_t)2048);
    case 1:
        return EVP_PKEY_Q_keygen(libctx, NULL, "EC", "P-256");
    default:
        return EVP_PKEY_Q_keygen(libctx, NULL, "ED25519");
    }
}

/* A key file, read as an application reads it. */
static EVP_PKEY *read_key(const application *app, size_t type)
{
    EVP_PKEY *made = make(NULL, type), *key;
    BIO *file = BIO_new(BIO_s_mem());

    assert_int_equal(PEM_write_bio_PrivateKey(file, made, NULL, NULL, 0, NULL, NULL), 1);
    key = PEM_read_bio_PrivateKey_ex(file, NULL, NULL, NULL, app->libctx, NULL);
    assert_non_null(key);
    BIO_free(file);
    EVP_PKEY_free(made);
    return key;
}

static void signs_and_verifies(const application *app, EVP_PKEY *key)
{
    static const unsigned char message[] = "a message";
    unsigned char signature[512];
    size_t len = sizeof(signature);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, NULL, app->libctx, NULL, key, NULL), 1);
    assert_int_equal(EVP_DigestSign(ctx, signature, &len, message, sizeof(message)), 1);
    EVP_MD_CTX_free(ctx);
    ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, NULL, app->libctx, NULL, key, NULL), 1);
    assert_int_equal(EVP_DigestVerify(ctx, signature, len, message, sizeof(message)), 1);
    signature[len - 1] ^= 1;
    assert_int_not_equal(EVP_DigestVerify(ctx, signature, len, message, sizeof(message)), 1);
    ERR_clear_error();
    EVP_MD_CTX_free(ctx);
}

static void ordinary_keys_sign_and_verify(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETUPS; i++) {
        application app = open_setup(&setups[i]);
        for (size_t type = 0; type < TYPES; type++) {
            EVP_PKEY *key = read_key(&app, type);
            EVP_PKEY *copy = EVP_PKEY_dup(key);
            signs_and_verifies(&app, key);
            assert_int_equal(EVP_PKEY_eq(key, copy), 1);
            EVP_PKEY_free(copy);
            EVP_PKEY_free(key);
        }
        assert_no_error();
        application_close(&app);
    }
}

static void ordinary_keys_serve_tls(void **state)
{
    static const struct {
        const char *groups;
        int version;
    } rows[] = {{NULL, TLS1_3_VERSION},
                {"X25519", TLS1_3_VERSION},
                {"P-256", TLS1_3_VERSION},
                {"P-256", TLS1_2_VERSION}};

    (void)state;
    for (size_t i = 0; i < SETUPS; i++) {
        application app = open_setup(&setups[i]);
        for (size_t type = 0; type < TYPES; type++) {
            EVP_PKEY *key = read_key(&app, type);
            for (size_t r = 0; r < (setups[i].whole ? 4 : 2); r++) {
                const meeting how = {.server = key,
                                     .client = key,
                                     .groups = rows[r].groups,
                                     .version = rows[r].version};
                handshake(&app, &how);
            }
            EVP_PKEY_free(key);
        }
        application_close(&app);
        ERR_clear_error(); /* of groups that were looked for */
    }
}

static void kms_keys_serve_tls_beside_them(void **state)
{
    static const char *const uris[] = {"kms:alias/rsa", "kms:alias/p256", "kms:alias/ed"};

    (void)state;
    for (size_t i = 0; i < SETUPS; i++) {
        application app = open_setup(&setups[i]);
        for (size_t type = 0; type < TYPES; type++) {
            EVP_PKEY *key = application_key(&app, uris[type]), *ordinary = read_key(&app, type);
            const meeting serving = {.server = key, .client = ordinary, .version = TLS1_3_VERSION};
            const meeting client = {.server = ordinary, .client = key, .version = TLS1_3_VERSION};
            handshake(&app, &serving);
            handshake(&app, &client);
            EVP_PKEY_free(ordinary);
            EVP_PKEY_free(key);
        }
        application_close(&app);
        ERR_clear_error(); /* of groups that were looked for */
    }
}

static void ordinary_keys_are_not_ours(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETUPS; i++) {
        application app = open_setup(&setups[i]);
        for (size_t type = 0; type < TYPES; type++) {
            EVP_PKEY *read = read_key(&app, type), *made = make(app.libctx, type);
            assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(read)), "default");
            assert_int_equal(made != NULL, setups[i].whole);
            if (made != NULL)
                assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(made)),
                                    "default");
            EVP_PKEY_free(made);
            EVP_PKEY_free(read);
        }
        ERR_clear_error(); /* of keys that could not be made */
        EVP_CIPHER *cipher = EVP_CIPHER_fetch(app.libctx, "AES-256-GCM", NULL);
        EVP_RAND *rand = EVP_RAND_fetch(app.libctx, "CTR-DRBG", NULL);
        assert_string_equal(OSSL_PROVIDER_get0_name(EVP_CIPHER_get0_provider(cipher)), "default");
        assert_string_equal(OSSL_PROVIDER_get0_name(EVP_RAND_get0_provider(rand)), "default");
        EVP_CIPHER_free(cipher);
        EVP_RAND_free(rand);
        application_close(&app);
    }
}

static void kms_keys_work_in_each_setup(void **state)
{
    bytes plain = bytes_of("secret"), wrapped, back;

    (void)state;
    for (size_t i = 0; i < SETUPS; i++) {
        application app = open_setup(&setups[i]);
        EVP_PKEY *key = application_key(&app, KEY);
        assert_true(wrap(&app, key, CONTEXT, &plain, &wrapped));
        assert_true(unwrap(&app, key, CONTEXT, &wrapped, &back));
        assert_no_error();
        EVP_PKEY_free(key);
        application_close(&app);
    }
}

/* Our own TLS to KMS runs in a library context of its own, whatever the thread's default is. */
static void tls_to_kms_does_not_run_in_the_thread_s_context(void **state)
{
    bytes plain = bytes_of("secret"), wrapped;
    tls_server tls;

    (void)state;
    tls_start(&tls);
    setenv("AWS_CA_BUNDLE", tls.certificate, 1);
    application app = application_open();
    OSSL_LIB_CTX *empty = OSSL_LIB_CTX_new();
    OSSL_PROVIDER *null = OSSL_PROVIDER_load(empty, "null");
    assert_non_null(null);
    OSSL_LIB_CTX *before = OSSL_LIB_CTX_set0_default(empty);
    EVP_PKEY *key = application_key(&app, KEY);
    assert_true(wrap(&app, key, CONTEXT, &plain, &wrapped));
    assert_ptr_equal(OSSL_LIB_CTX_set0_default(before), empty);
    EVP_PKEY_free(key);
    application_close(&app);
    OSSL_PROVIDER_unload(null);
    OSSL_LIB_CTX_free(empty);
    tls_stop(&tls, &server);
}

static int set_up(void **state)
{
    static const char *const options[] = {
        "--seed-key", "alias/rsa:RSA_2048:SIGN_VERIFY",
        "--seed-key", "alias/p256:ECC_NIST_P256:SIGN_VERIFY",
        "--seed-key", "alias/ed:ECC_NIST_EDWARDS25519:SIGN_VERIFY",
        NULL};

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
        cmocka_unit_test(ordinary_keys_sign_and_verify),
        cmocka_unit_test(ordinary_keys_serve_tls),
        cmocka_unit_test(kms_keys_serve_tls_beside_them),
        cmocka_unit_test(ordinary_keys_are_not_ours),
        cmocka_unit_test(kms_keys_work_in_each_setup),
        cmocka_unit_test(tls_to_kms_does_not_run_in_the_thread_s_context),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
