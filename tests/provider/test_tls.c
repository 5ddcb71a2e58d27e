/* TLS with keys in KMS, as a server's and as a client's: every type, both versions, one request for
 * each side that shows a certificate. */
#include "tests/provider/handshake.h"

#include <openssl/err.h>
#include <openssl/pem.h>

static test_server server;

static const char *const uris[] = {"kms:alias/rsa", "kms:alias/p256", "kms:alias/p384",
                                   "kms:alias/p521", "kms:alias/ed"};

#define URIS     (sizeof(uris) / sizeof(uris[0]))
#define VERSIONS 2
static const int versions[VERSIONS] = {TLS1_2_VERSION, TLS1_3_VERSION};

/* handshake() signs one certificate per key beside. */
static void meet(const application *app, const meeting *how, long ours)
{
    test_server_reset(&server);
    handshake(app, how);
    assert_int_equal(test_server_count(&server, "Sign"), 2 * ours);
    assert_int_equal(requests(&server), 2 * ours);
    assert_no_error();
}

static void kms_keys_serve_and_identify_clients(void **state)
{
    (void)state;
    for (size_t i = 0; i < URIS; i++) {
        application app = application_open();
        EVP_PKEY *key = application_key(&app, uris[i]);
        EVP_PKEY *ordinary = EVP_PKEY_Q_keygen(app.libctx, NULL, "EC", "P-256");
        for (size_t v = 0; v < VERSIONS; v++) {
            const meeting plain = {.server = key, .version = versions[v]};
            const meeting mutual = {.server = key, .client = key, .version = versions[v]};
            const meeting client = {.server = ordinary, .client = key, .version = versions[v]};
            const meeting serving = {.server = key, .client = ordinary, .version = versions[v]};
            print_message("%s %x\n", uris[i], (unsigned)versions[v]);
            meet(&app, &plain, 1);
            meet(&app, &mutual, 2);
            meet(&app, &client, 1);
            meet(&app, &serving, 1);
        }
        EVP_PKEY_free(ordinary);
        EVP_PKEY_free(key);
        application_close(&app);
    }
}

static void rsa_keys_sign_by_each_algorithm_that_kms_has(void **state)
{
    static const struct {
        const char *algorithm;
        int version;
    } rows[] = {
        {"rsa_pkcs1_sha256", TLS1_2_VERSION},    {"rsa_pkcs1_sha384", TLS1_2_VERSION},
        {"rsa_pkcs1_sha512", TLS1_2_VERSION},    {"rsa_pss_rsae_sha256", TLS1_2_VERSION},
        {"rsa_pss_rsae_sha256", TLS1_3_VERSION}, {"rsa_pss_rsae_sha384", TLS1_3_VERSION},
        {"rsa_pss_rsae_sha512", TLS1_3_VERSION},
    };
    application app = application_open();
    EVP_PKEY *key = application_key(&app, "kms:alias/rsa");

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char algorithms[64];
        /* The self-signed certificate is by PKCS#1: it must be among them. */
        snprintf(algorithms, sizeof(algorithms), "%s%s", rows[i].algorithm,
                 i == 0 ? "" : ":rsa_pkcs1_sha256");
        const meeting how = {
            .server = key, .client = key, .version = rows[i].version, .algorithms = algorithms};
        print_message("%s %x\n", rows[i].algorithm, (unsigned)rows[i].version);
        meet(&app, &how, 2);
    }
    EVP_PKEY_free(key);
    application_close(&app);
}

/* A digest of another hash than the curve's own: TLS 1.2 asks for what the client offers. */
static void ec_keys_sign_digests_of_other_hashes(void **state)
{
    static const char *const rows[] = {"ECDSA+SHA256", "ECDSA+SHA384", "ECDSA+SHA512"};
    static const char *const keys[] = {"kms:alias/p256", "kms:alias/p384", "kms:alias/p521"};
    application app = application_open();

    (void)state;
    for (size_t k = 0; k < 3; k++) {
        EVP_PKEY *key = application_key(&app, keys[k]);
        for (size_t i = 0; i < 3; i++) {
            char algorithms[64];
            snprintf(algorithms, sizeof(algorithms), "%s:ECDSA+SHA256", rows[i]);
            const meeting how = {.server = key,
                                 .version = TLS1_2_VERSION,
                                 .algorithms = i == 0 ? rows[0] : algorithms};
            print_message("%s %s\n", keys[k], rows[i]);
            meet(&app, &how, 1);
        }
        EVP_PKEY_free(key);
    }
    application_close(&app);
}

static void references_serve_as_their_keys(void **state)
{
    application app = application_open();

    (void)state;
    for (size_t i = 0; i < URIS; i++) {
        EVP_PKEY *key = application_key(&app, uris[i]);
        BIO *pem = BIO_new(BIO_s_mem());
        application fresh = application_open();
        assert_int_equal(PEM_write_bio_PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL), 1);
        EVP_PKEY *reference = PEM_read_bio_PrivateKey_ex(pem, NULL, NULL, NULL, fresh.libctx, NULL);
        const meeting how = {.server = reference, .client = reference, .version = TLS1_3_VERSION};
        meet(&fresh, &how, 2);
        EVP_PKEY_free(reference);
        BIO_free(pem);
        EVP_PKEY_free(key);
        application_close(&fresh);
    }
    application_close(&app);
}

static void a_context_made_before_any_key_serves_too(void **state)
{
    application app = application_open();
    SSL_CTX *before = SSL_CTX_new_ex(app.libctx, NULL, TLS_server_method());

    (void)state;
    for (size_t i = 0; i < URIS; i++) {
        EVP_PKEY *key = application_key(&app, uris[i]);
        X509 *cert = self_signed(&app, key);
        assert_int_equal(SSL_CTX_use_certificate(before, cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(before, key), 1);
        assert_int_equal(SSL_CTX_check_private_key(before), 1);
        X509_free(cert);
        EVP_PKEY_free(key);
    }
    assert_no_error();
    SSL_CTX_free(before);
    application_close(&app);
}

static void another_key_s_certificate_is_noticed(void **state)
{
    application app = application_open();
    EVP_PKEY *key = application_key(&app, "kms:alias/p256");
    EVP_PKEY *other = application_key(&app, "kms:alias/p256-two");
    SSL_CTX *ctx = SSL_CTX_new_ex(app.libctx, NULL, TLS_server_method());
    X509 *cert = self_signed(&app, other);

    (void)state;
    assert_int_equal(X509_check_private_key(cert, other), 1);
    assert_no_error();
    assert_int_equal(X509_check_private_key(cert, key), 0);
    ERR_clear_error();
    assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
    assert_int_not_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), X509_R_KEY_VALUES_MISMATCH);
    ERR_clear_error();
    X509_free(cert);
    SSL_CTX_free(ctx);
    EVP_PKEY_free(other);
    EVP_PKEY_free(key);
    application_close(&app);
}

static int set_up(void **state)
{
    static const char *const options[] = {
        "--seed-key", "alias/rsa:RSA_2048:SIGN_VERIFY",
        "--seed-key", "alias/p256:ECC_NIST_P256:SIGN_VERIFY",
        "--seed-key", "alias/p256-two:ECC_NIST_P256:SIGN_VERIFY",
        "--seed-key", "alias/p384:ECC_NIST_P384:SIGN_VERIFY",
        "--seed-key", "alias/p521:ECC_NIST_P521:SIGN_VERIFY",
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
        cmocka_unit_test(kms_keys_serve_and_identify_clients),
        cmocka_unit_test(rsa_keys_sign_by_each_algorithm_that_kms_has),
        cmocka_unit_test(ec_keys_sign_digests_of_other_hashes),
        cmocka_unit_test(references_serve_as_their_keys),
        cmocka_unit_test(a_context_made_before_any_key_serves_too),
        cmocka_unit_test(another_key_s_certificate_is_noticed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
