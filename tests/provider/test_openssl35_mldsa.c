/* ML-DSA keys in KMS: messages of any size and contexts of 0 to 255 bytes, verified by the default
 * provider; one request a signature, none for what is public; X.509 and TLS 1.3. */
#include "tests/provider/handshake.h"

#include "include/kms/kms_provider.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#define ML65         "kms:alias/ml65"
#define NO_ALGORITHM "KMS has no such algorithm for this key"

static test_server server;

static const struct {
    const char *uri, *type;
    size_t signature;
} keys[] = {
    {"kms:alias/ml44", "ML-DSA-44", 2420},
    {ML65, "ML-DSA-65", 3309},
    {"kms:alias/ml87", "ML-DSA-87", 4627},
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

/* What a test asked of KMS: so many signatures and nothing else. */
static void close_fixture(fixture *f, long signatures)
{
    assert_no_error();
    assert_int_equal(test_server_count(&server, "Sign"), signatures);
    assert_int_equal(requests(&server), signatures);
    EVP_PKEY_free(f->public);
    EVP_PKEY_free(f->key);
    application_close(&f->app);
}

/* ---- operations ---- */

static unsigned char long_text[100000];

/* The first bytes of a text that does not repeat itself soon. */
static void fill_text(void)
{
    for (size_t i = 0; i < sizeof(long_text); i++)
        long_text[i] = (unsigned char)(i * 7 + i / 251);
}

typedef struct wish {
    const unsigned char *context; /* NULL: not set */
    size_t context_len;
    int mu, encoding, deterministic; /* -1: not set */
} wish;

#define PLAIN ((wish){.mu = -1, .encoding = -1, .deterministic = -1})

static wish with_context(size_t len)
{
    wish w = PLAIN;

    w.context = long_text + 1000;
    w.context_len = len;
    return w;
}

static const OSSL_PARAM *wish_params(wish *w, OSSL_PARAM params[5])
{
    OSSL_PARAM *p = params;

    if (w->context != NULL)
        *p++ = OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_CONTEXT_STRING,
                                                 (void *)(uintptr_t)w->context, w->context_len);
    if (w->mu >= 0)
        *p++ = OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_MU, &w->mu);
    if (w->encoding >= 0)
        *p++ = OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_MESSAGE_ENCODING, &w->encoding);
    if (w->deterministic >= 0)
        *p++ = OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_DETERMINISTIC, &w->deterministic);
    *p = OSSL_PARAM_construct_end();
    return params;
}

static bool sign(const fixture *f, wish w, size_t len, bytes *signature)
{
    OSSL_PARAM params[5];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestSignInit_ex(ctx, NULL, NULL, f->app.libctx, NULL, f->key,
                                    wish_params(&w, params)) == 1;

    signature->len = sizeof(signature->data);
    ok = ok && EVP_DigestSign(ctx, signature->data, &signature->len, long_text, len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool verify(OSSL_LIB_CTX *libctx, EVP_PKEY *key, wish w, size_t len, const bytes *signature)
{
    OSSL_PARAM params[5];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok;

    ERR_set_mark();
    ok =
        EVP_DigestVerifyInit_ex(ctx, NULL, NULL, libctx, NULL, key, wish_params(&w, params)) == 1 &&
        EVP_DigestVerify(ctx, signature->data, signature->len, long_text, len) == 1;
    ERR_pop_to_mark();
    EVP_MD_CTX_free(ctx);
    return ok;
}

/* By an ordinary key, and by the KMS key. */
static bool both_verify(const fixture *f, wish w, size_t len, const bytes *signature)
{
    bool ordinary = verify(NULL, f->public, w, len, signature);

    assert_int_equal(verify(f->app.libctx, f->key, w, len, signature), ordinary);
    return ordinary;
}

/* ---- signatures ---- */

static void messages_of_any_size_and_contexts_are_signed(void **state)
{
    static const size_t lens[] = {0, 1, 64, 4096, 4097, sizeof(long_text)};
    static const size_t contexts[] = {0, 1, 255};

    (void)state;
    for (size_t k = 0; k < KEYS; k++) {
        fixture f = open_fixture(keys[k].uri);
        bytes signature;
        assert_true(EVP_PKEY_is_a(f.key, keys[k].type));
        for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
            assert_true(sign(&f, PLAIN, lens[i], &signature));
            assert_int_equal(signature.len, keys[k].signature);
            assert_true(both_verify(&f, PLAIN, lens[i], &signature));
        }
        for (size_t i = 0; i < 3; i++) {
            assert_true(sign(&f, with_context(contexts[i]), 5000, &signature));
            assert_true(both_verify(&f, with_context(contexts[i]), 5000, &signature));
            assert_int_equal(both_verify(&f, PLAIN, 5000, &signature), contexts[i] == 0);
            assert_false(both_verify(&f, with_context(7), 5000, &signature));
            assert_false(both_verify(&f, with_context(contexts[i]), 4999, &signature));
            signature.data[100] ^= 1;
            assert_false(both_verify(&f, with_context(contexts[i]), 5000, &signature));
        }
        close_fixture(&f, 9);
    }
}

static void a_context_of_256_bytes_is_refused_without_a_request(void **state)
{
    fixture f = open_fixture(ML65);
    bytes signature;

    (void)state;
    assert_false(sign(&f, with_context(256), 10, &signature));
    assert_first_error(NO_ALGORITHM, "0 to 255 bytes");
    close_fixture(&f, 0);
}

static void what_kms_does_not_promise_is_refused_without_a_request(void **state)
{
    fixture f = open_fixture(ML65);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bytes signature;
    wish w = PLAIN;

    (void)state;
    w.encoding = 0;
    assert_false(sign(&f, w, 10, &signature));
    assert_first_error(NO_ALGORITHM, "message-encoding is 1");
    w = PLAIN;
    w.deterministic = 1;
    assert_false(sign(&f, w, 10, &signature));
    assert_first_error(NO_ALGORITHM, "deterministic");
    assert_int_not_equal(
        EVP_DigestSignInit_ex(ctx, NULL, "SHA256", f.app.libctx, NULL, f.key, NULL), 1);
    assert_first_error(NO_ALGORITHM, "set no digest");
    EVP_MD_CTX_free(ctx);
    /* What is so anyway may be asked for. */
    w = PLAIN;
    w.encoding = 1;
    w.deterministic = 0;
    assert_true(sign(&f, w, 10, &signature));
    assert_true(both_verify(&f, PLAIN, 10, &signature));
    close_fixture(&f, 1);
}

static void mu_is_taken_in_place_of_the_message(void **state)
{
    fixture f = open_fixture(ML65);
    bytes signature;
    wish mu = PLAIN;

    (void)state;
    mu.mu = 1;
    assert_true(sign(&f, mu, 64, &signature));
    assert_true(both_verify(&f, mu, 64, &signature));
    assert_false(both_verify(&f, PLAIN, 64, &signature));
    assert_false(sign(&f, mu, 63, &signature));
    assert_first_error("digest has the wrong size", "63 bytes");
    close_fixture(&f, 1);
}

static void messages_come_in_parts_too(void **state)
{
    fixture f = open_fixture(ML65);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new(), *other = EVP_MD_CTX_new();
    bytes first = {.len = sizeof(first.data)}, second = first;

    (void)state;
    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, NULL, f.app.libctx, NULL, f.key, NULL), 1);
    assert_int_equal(EVP_DigestSignUpdate(ctx, long_text, 4000), 1);
    /* From here on the copy goes its own way. */
    assert_int_equal(EVP_MD_CTX_copy_ex(other, ctx), 1);
    assert_int_equal(EVP_DigestSignUpdate(ctx, long_text + 4000, 1000), 1);
    assert_int_equal(EVP_DigestSignFinal(ctx, NULL, &first.len), 1);
    assert_int_equal(first.len, 3309);
    assert_int_equal(EVP_DigestSignFinal(ctx, first.data, &first.len), 1);
    assert_int_equal(EVP_DigestSignFinal(other, second.data, &second.len), 1);
    assert_true(both_verify(&f, PLAIN, 5000, &first));
    assert_true(both_verify(&f, PLAIN, 4000, &second));
    assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, NULL, f.app.libctx, NULL, f.key, NULL), 1);
    assert_int_equal(EVP_DigestVerifyUpdate(ctx, long_text, 1), 1);
    assert_int_equal(EVP_DigestVerifyUpdate(ctx, long_text + 1, 4999), 1);
    assert_int_equal(EVP_DigestVerifyFinal(ctx, first.data, first.len), 1);
    EVP_MD_CTX_free(other);
    EVP_MD_CTX_free(ctx);
    close_fixture(&f, 2);
}

/* EVP_PKEY_sign_message_init, which OpenSSL 3.4 brought. */
static void whole_messages_are_signed_by_name_of_the_algorithm(void **state)
{
    fixture f = open_fixture(ML65);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(f.app.libctx, f.key, NULL);
    EVP_SIGNATURE *algorithm = EVP_SIGNATURE_fetch(f.app.libctx, "ML-DSA-65", "provider=kms");
    bytes signature = {.len = sizeof(signature.data)};

    (void)state;
    assert_non_null(algorithm);
    assert_int_equal(EVP_PKEY_sign_message_init(ctx, algorithm, NULL), 1);
    assert_int_equal(EVP_PKEY_sign(ctx, signature.data, &signature.len, long_text, 9), 1);
    assert_true(both_verify(&f, PLAIN, 9, &signature));
    assert_int_equal(EVP_PKEY_verify_message_init(ctx, algorithm, NULL), 1);
    assert_int_equal(EVP_PKEY_verify(ctx, signature.data, signature.len, long_text, 9), 1);
    assert_int_not_equal(EVP_PKEY_verify(ctx, signature.data, signature.len, long_text, 8), 1);
    ERR_clear_error();
    EVP_SIGNATURE_free(algorithm);
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f, 1);
}

static void a_signature_that_does_not_fit_is_refused_without_a_request(void **state)
{
    fixture f = open_fixture(ML65);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bytes signature = {.len = 3308};

    (void)state;
    assert_int_equal(EVP_PKEY_get_size(f.key), 3309);
    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, NULL, f.app.libctx, NULL, f.key, NULL), 1);
    assert_int_not_equal(EVP_DigestSign(ctx, signature.data, &signature.len, long_text, 9), 1);
    assert_first_error("output buffer too small", "3308 bytes");
    EVP_MD_CTX_free(ctx);
    close_fixture(&f, 0);
}

/* ---- keys ---- */

static void keys_compare_with_their_public_halves_and_stay_in_kms(void **state)
{
    (void)state;
    for (size_t k = 0; k < KEYS; k++) {
        fixture f = open_fixture(keys[k].uri);
        EVP_PKEY *public = application_public(&f.app, f.key);
        EVP_PKEY *other = application_key(&f.app, "kms:alias/ml65-two");
        unsigned char private[8192];
        size_t len = sizeof(private);
        test_server_reset(&server);
        assert_int_equal(EVP_PKEY_eq(f.key, public), 1);
        assert_int_equal(EVP_PKEY_eq(public, f.key), 1);
        assert_int_not_equal(EVP_PKEY_eq(f.key, other), 1);
        assert_int_not_equal(EVP_PKEY_get_raw_private_key(f.key, private, &len), 1);
        assert_true(EVP_PKEY_get_security_bits(f.key) > 0);
        ERR_clear_error();
        EVP_PKEY_free(other);
        EVP_PKEY_free(public);
        close_fixture(&f, 0);
    }
}

static void another_key_of_the_same_type_does_not_verify(void **state)
{
    fixture f = open_fixture(ML65);
    EVP_PKEY *other = application_key(&f.app, "kms:alias/ml65-two");
    bytes signature;

    (void)state;
    test_server_reset(&server);
    assert_true(sign(&f, PLAIN, 100, &signature));
    assert_true(verify(f.app.libctx, f.key, PLAIN, 100, &signature));
    assert_false(verify(f.app.libctx, other, PLAIN, 100, &signature));
    EVP_PKEY_free(other);
    close_fixture(&f, 1);
}

static void a_reference_signs_as_its_key(void **state)
{
    fixture f = open_fixture(ML65);
    fixture fresh = {.app = application_open()};
    BIO *pem = BIO_new(BIO_s_mem());
    bytes signature;

    (void)state;
    assert_int_equal(PEM_write_bio_PrivateKey(pem, f.key, NULL, NULL, 0, NULL, NULL), 1);
    fresh.key = PEM_read_bio_PrivateKey_ex(pem, NULL, NULL, NULL, fresh.app.libctx, NULL);
    assert_non_null(fresh.key);
    assert_int_equal(requests(&server), 0);
    assert_true(sign(&fresh, with_context(3), 100, &signature));
    assert_true(both_verify(&f, with_context(3), 100, &signature));
    EVP_PKEY_free(fresh.key);
    application_close(&fresh.app);
    BIO_free(pem);
    close_fixture(&f, 1);
}

static void keys_are_made_in_kms(void **state)
{
    application app;
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx;
    char alias[] = "made", arn[256] = "";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(KMS_PROVIDER_PARAM_ALIAS, alias, 0),
        OSSL_PARAM_construct_end(),
    };

    (void)state;
    use_settings("allow_key_creation = yes\n");
    app = application_open();
    ctx = EVP_PKEY_CTX_new_from_name(app.libctx, "ML-DSA-87", "provider=kms");
    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_params(ctx, params), 1);
    assert_int_equal(EVP_PKEY_generate(ctx, &key), 1);
    assert_true(EVP_PKEY_is_a(key, "ML-DSA-87"));
    assert_int_equal(
        EVP_PKEY_get_utf8_string_param(key, KMS_PROVIDER_PARAM_ARN, arn, sizeof(arn), NULL), 1);
    assert_non_null(strstr(arn, ":key/"));
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    use_settings(NULL);
    application_close(&app);
}

/* ---- X.509 and TLS ---- */

static void certificates_name_the_algorithm_and_verify(void **state)
{
    (void)state;
    for (size_t k = 0; k < KEYS; k++) {
        fixture f = open_fixture(keys[k].uri);
        X509 *cert = self_signed(&f.app, f.key);
        int algorithm = X509_get_signature_nid(cert);
        assert_int_equal(algorithm, OBJ_txt2nid(keys[k].type));
        assert_int_equal(X509_verify(cert, f.public), 1);
        assert_int_equal(X509_check_private_key(cert, f.key), 1);
        X509_free(cert);
        close_fixture(&f, 1);
    }
}

/* handshake() signs one certificate per key beside. */
static void kms_keys_serve_and_identify_clients_by_tls_1_3(void **state)
{
    (void)state;
    for (size_t k = 0; k < KEYS; k++) {
        fixture f = open_fixture(keys[k].uri);
        const meeting mutual = {.server = f.key, .client = f.key, .version = TLS1_3_VERSION};
        handshake(&f.app, &mutual);
        close_fixture(&f, 4);
    }
}

/* An ordinary key beside the provider, with a default property query that prefers ours. */
static void ordinary_keys_keep_working(void **state)
{
    static const char *const orders[][2] = {{"default", "kms"}, {"kms", "default"}};

    (void)state;
    for (size_t o = 0; o < 2; o++) {
        application app = application_open_order(orders[o][0], orders[o][1]);
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(app.libctx, "ML-DSA-65", "provider=default");
        fixture f = {.app = app};
        bytes signature;
        assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
        assert_int_equal(EVP_PKEY_generate(ctx, &f.key), 1);
        EVP_PKEY_CTX_free(ctx);
        assert_true(EVP_set_default_properties(app.libctx, "?provider=kms"));
        test_server_reset(&server);
        assert_true(sign(&f, with_context(5), 77, &signature));
        assert_true(verify(app.libctx, f.key, with_context(5), 77, &signature));
        if (o == 0) {
            const meeting plain = {.server = f.key, .version = TLS1_3_VERSION};
            assert_true(EVP_set_default_properties(app.libctx, ""));
            handshake(&app, &plain);
        }
        assert_int_equal(requests(&server), 0);
        assert_no_error();
        EVP_PKEY_free(f.key);
        application_close(&app);
    }
}

static int set_up(void **state)
{
    static const char *const options[] = {"--seed-key", "alias/ml44:ML_DSA_44:SIGN_VERIFY",
                                          "--seed-key", "alias/ml65:ML_DSA_65:SIGN_VERIFY",
                                          "--seed-key", "alias/ml65-two:ML_DSA_65:SIGN_VERIFY",
                                          "--seed-key", "alias/ml87:ML_DSA_87:SIGN_VERIFY",
                                          NULL};

    (void)state;
    fill_text();
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
        cmocka_unit_test(messages_of_any_size_and_contexts_are_signed),
        cmocka_unit_test(a_context_of_256_bytes_is_refused_without_a_request),
        cmocka_unit_test(what_kms_does_not_promise_is_refused_without_a_request),
        cmocka_unit_test(mu_is_taken_in_place_of_the_message),
        cmocka_unit_test(messages_come_in_parts_too),
        cmocka_unit_test(whole_messages_are_signed_by_name_of_the_algorithm),
        cmocka_unit_test(a_signature_that_does_not_fit_is_refused_without_a_request),
        cmocka_unit_test(keys_compare_with_their_public_halves_and_stay_in_kms),
        cmocka_unit_test(another_key_of_the_same_type_does_not_verify),
        cmocka_unit_test(a_reference_signs_as_its_key),
        cmocka_unit_test(keys_are_made_in_kms),
        cmocka_unit_test(certificates_name_the_algorithm_and_verify),
        cmocka_unit_test(kms_keys_serve_and_identify_clients_by_tls_1_3),
        cmocka_unit_test(ordinary_keys_keep_working),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
