/* Ordinary keys in the same process: whatever the order of the providers and the default query, the
 * application's own RSA and EC keys sign, verify and serve TLS as if kms were not there. */
#include "tests/provider/application.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

static test_server server;

/* How an application may be set up. */
static const struct setup {
    const char *first, *second, *query;
} setups[] = {
    {"default", "kms", NULL},
    {"kms", "default", NULL},
    {"default", "kms", "?provider=kms"},
    {"kms", "default", "?provider=kms"},
    {"default", "kms", "?provider=default"},
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

static EVP_PKEY *rsa_key(const application *app)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(app->libctx, NULL, "RSA", (size_t)2048);

    assert_non_null(key);
    return key;
}

static EVP_PKEY *ec_key(const application *app)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(app->libctx, NULL, "EC", "P-256");

    assert_non_null(key);
    return key;
}

static EVP_PKEY *(*const makers[])(const application *) = {rsa_key, ec_key};

static void signs_and_verifies(const application *app, EVP_PKEY *key)
{
    static const unsigned char message[] = "a message";
    unsigned char signature[512];
    size_t len = sizeof(signature);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", app->libctx, NULL, key, NULL), 1);
    assert_int_equal(EVP_DigestSign(ctx, signature, &len, message, sizeof(message)), 1);
    EVP_MD_CTX_free(ctx);
    ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", app->libctx, NULL, key, NULL), 1);
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
        for (size_t k = 0; k < 2; k++) {
            EVP_PKEY *key = makers[k](&app);
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

static X509 *certificate(const application *app, EVP_PKEY *key)
{
    X509 *cert = X509_new_ex(app->libctx, NULL);
    X509_NAME *name = X509_get_subject_name(cert);

    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                                (const unsigned char *)"neighbour", -1, -1, 0),
                     1);
    X509_set_version(cert, X509_VERSION_3);
    X509_set_issuer_name(cert, name);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    return cert;
}

/* Client and server in memory; the client trusts the one certificate. */
static void handshake(const application *app, EVP_PKEY *key, const char *group, int version)
{
    SSL_CTX *server_ctx = SSL_CTX_new_ex(app->libctx, NULL, TLS_server_method());
    SSL_CTX *client_ctx = SSL_CTX_new_ex(app->libctx, NULL, TLS_client_method());
    X509 *cert = certificate(app, key);
    BIO *to_server = BIO_new(BIO_s_mem()), *to_client = BIO_new(BIO_s_mem());
    char word[8] = "";

    assert_non_null(server_ctx);
    assert_non_null(client_ctx);
    assert_int_equal(SSL_CTX_use_certificate(server_ctx, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(server_ctx, key), 1);
    assert_int_equal(SSL_CTX_check_private_key(server_ctx), 1);
    SSL_CTX_set_verify(client_ctx, SSL_VERIFY_PEER, NULL);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(client_ctx), cert);
    SSL *s = SSL_new(server_ctx), *c = SSL_new(client_ctx);
    SSL_set_max_proto_version(c, version);
    assert_int_equal(SSL_set1_groups_list(c, group), 1);
    assert_int_equal(SSL_set1_groups_list(s, group), 1);
    BIO_up_ref(to_server);
    BIO_up_ref(to_client);
    SSL_set_bio(s, to_server, to_client);
    SSL_set_bio(c, to_client, to_server);
    SSL_set_accept_state(s);
    SSL_set_connect_state(c);
    for (int i = 0; i < 10 && (!SSL_is_init_finished(c) || !SSL_is_init_finished(s)); i++) {
        SSL_do_handshake(c);
        SSL_do_handshake(s);
    }
    if (!SSL_is_init_finished(c) || !SSL_is_init_finished(s))
        fail_msg("no handshake on %s: %s", group, ERR_reason_error_string(ERR_peek_last_error()));
    assert_int_equal(SSL_get_verify_result(c), X509_V_OK);
    assert_int_equal(SSL_write(c, "word", 5), 5);
    assert_int_equal(SSL_read(s, word, sizeof(word)), 5);
    assert_string_equal(word, "word");
    SSL_free(c);
    SSL_free(s);
    X509_free(cert);
    SSL_CTX_free(client_ctx);
    SSL_CTX_free(server_ctx);
}

static void ordinary_keys_serve_tls(void **state)
{
    static const struct {
        const char *group;
        int version;
    } rows[] = {{"P-256", TLS1_3_VERSION}, {"X25519", TLS1_3_VERSION}, {"P-256", TLS1_2_VERSION}};

    (void)state;
    for (size_t i = 0; i < SETUPS; i++) {
        application app = open_setup(&setups[i]);
        for (size_t k = 0; k < 2; k++) {
            EVP_PKEY *key = makers[k](&app);
            for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++)
                handshake(&app, key, rows[r].group, rows[r].version);
            EVP_PKEY_free(key);
        }
        application_close(&app);
    }
}

static void ordinary_keys_are_not_ours(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETUPS; i++) {
        application app = open_setup(&setups[i]);
        for (size_t k = 0; k < 2; k++) {
            EVP_PKEY *key = makers[k](&app);
            assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(key)), "default");
            EVP_PKEY_free(key);
        }
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
        cmocka_unit_test(ordinary_keys_sign_and_verify),
        cmocka_unit_test(ordinary_keys_serve_tls),
        cmocka_unit_test(ordinary_keys_are_not_ours),
        cmocka_unit_test(kms_keys_work_in_each_setup),
        cmocka_unit_test(tls_to_kms_does_not_run_in_the_thread_s_context),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
