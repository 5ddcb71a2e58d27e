/* RSA, EC and Ed25519 keys in KMS as an EVP_PKEY: they answer like ordinary public keys, compare
 * with them, come from the store as what is looked for, and never give their private half. */
#include "tests/provider/application.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/store.h>
#include <openssl/x509.h>

static test_server server;

static const struct kind {
    const char *uri, *other, *type;
} kinds[] = {
    {"kms:alias/rsa", "kms:alias/rsa-two", "RSA"},   {"kms:alias/p256", "kms:alias/p256-two", "EC"},
    {"kms:alias/p521", "kms:alias/p256", "EC"},      {"kms:alias/k1", "kms:alias/p256", "EC"},
    {"kms:alias/ed", "kms:alias/ed-two", "ED25519"},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

typedef struct fixture {
    application app;
    EVP_PKEY *key, *public; /* an ordinary key */
} fixture;

static fixture open_fixture(const struct kind *kind)
{
    fixture f = {0};

    ERR_clear_error(); /* of a test that failed */
    print_message("%s\n", kind->uri);
    f.app = application_open();
    f.key = application_key(&f.app, kind->uri);
    f.public = ordinary_public(f.key);
    test_server_reset(&server);
    return f;
}

/* Nothing here asks KMS. */
static void close_fixture(fixture *f)
{
    assert_no_error();
    assert_int_equal(requests(&server), 0);
    EVP_PKEY_free(f->public);
    EVP_PKEY_free(f->key);
    application_close(&f->app);
}

static void it_answers_as_its_public_half(void **state)
{
    static const char *const texts[] = {OSSL_PKEY_PARAM_GROUP_NAME, OSSL_PKEY_PARAM_DEFAULT_DIGEST,
                                        OSSL_PKEY_PARAM_MANDATORY_DIGEST,
                                        OSSL_PKEY_PARAM_EC_ENCODING};
    static const char *const octets[] = {OSSL_PKEY_PARAM_PUB_KEY,
                                         OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY};
    static const char *const numbers[] = {OSSL_PKEY_PARAM_RSA_N, OSSL_PKEY_PARAM_RSA_E,
                                          OSSL_PKEY_PARAM_EC_PUB_X, OSSL_PKEY_PARAM_EC_PUB_Y};

    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        fixture f = open_fixture(&kinds[i]);
        assert_true(EVP_PKEY_is_a(f.key, kinds[i].type));
        assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(f.key)), "kms");
        assert_int_equal(EVP_PKEY_get_bits(f.key), EVP_PKEY_get_bits(f.public));
        assert_int_equal(EVP_PKEY_get_security_bits(f.key), EVP_PKEY_get_security_bits(f.public));
        assert_int_equal(EVP_PKEY_get_size(f.key), EVP_PKEY_get_size(f.public));
        for (size_t n = 0; n < 4; n++) {
            char ours[64] = "", theirs[64] = "";
            assert_int_equal(
                EVP_PKEY_get_utf8_string_param(f.key, texts[n], ours, sizeof(ours), NULL),
                EVP_PKEY_get_utf8_string_param(f.public, texts[n], theirs, sizeof(theirs), NULL));
            assert_string_equal(ours, theirs);
        }
        for (size_t n = 0; n < 2; n++) {
            unsigned char ours[256] = "", theirs[256] = "";
            size_t len = 0, their_len = 0;
            assert_int_equal(
                EVP_PKEY_get_octet_string_param(f.key, octets[n], ours, sizeof(ours), &len),
                EVP_PKEY_get_octet_string_param(f.public, octets[n], theirs, sizeof(theirs),
                                                &their_len));
            assert_int_equal(len, their_len);
            assert_memory_equal(ours, theirs, len);
        }
        for (size_t n = 0; n < 4; n++) {
            BIGNUM *ours = NULL, *theirs = NULL;
            assert_int_equal(EVP_PKEY_get_bn_param(f.key, numbers[n], &ours),
                             EVP_PKEY_get_bn_param(f.public, numbers[n], &theirs));
            assert_true(ours == theirs || BN_cmp(ours, theirs) == 0);
            BN_free(theirs);
            BN_free(ours);
        }
        ERR_clear_error(); /* of what that type has not, on both sides */
        close_fixture(&f);
    }
}

static void it_equals_its_public_half_read_from_a_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        fixture f = open_fixture(&kinds[i]);
        BIO *file = BIO_new(BIO_s_mem());
        EVP_PKEY *other = application_key(&f.app, kinds[i].other), *copy = EVP_PKEY_dup(f.key);
        EVP_PKEY *other_public = ordinary_public(other), *here;
        test_server_reset(&server);
        assert_int_equal(PEM_write_bio_PUBKEY(file, f.key), 1);
        here = PEM_read_bio_PUBKEY_ex(file, NULL, NULL, NULL, f.app.libctx, NULL);
        assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(here)), "default");
        /* in one library context, across two, with a copy */
        EVP_PKEY *const same[] = {here, f.public, copy};
        for (size_t n = 0; n < 3; n++) {
            assert_int_equal(EVP_PKEY_eq(f.key, same[n]), 1);
            assert_int_equal(EVP_PKEY_eq(same[n], f.key), 1);
            assert_int_equal(EVP_PKEY_parameters_eq(f.key, same[n]), 1);
            assert_no_error();
        }
        EVP_PKEY *const others[] = {other, other_public};
        for (size_t n = 0; n < 2; n++) {
            assert_int_not_equal(EVP_PKEY_eq(f.key, others[n]), 1);
            assert_int_not_equal(EVP_PKEY_eq(others[n], f.key), 1);
            assert_no_error();
        }
        EVP_PKEY_free(here);
        EVP_PKEY_free(other_public);
        EVP_PKEY_free(copy);
        EVP_PKEY_free(other);
        BIO_free(file);
        close_fixture(&f);
    }
}

static void it_checks_and_prints_without_the_network(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        fixture f = open_fixture(&kinds[i]);
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(f.app.libctx, f.key, NULL);
        BIO *out = BIO_new(BIO_s_mem());
        char arn[256], *text = NULL;
        assert_int_equal(EVP_PKEY_public_check(ctx), 1);
        assert_int_equal(EVP_PKEY_get_utf8_string_param(f.key, "arn", arn, sizeof(arn), NULL), 1);
        assert_int_equal(EVP_PKEY_print_private(out, f.key, 0, NULL), 1);
        assert_int_equal(EVP_PKEY_print_public(out, f.key, 0, NULL), 1);
        BIO_write(out, "", 1);
        BIO_get_mem_data(out, &text);
        assert_non_null(strstr(text, arn));
        assert_non_null(strstr(text, "Key usage: SIGN_VERIFY"));
        assert_non_null(strstr(text, "Public-Key"));
        BIO_free(out);
        EVP_PKEY_CTX_free(ctx);
        close_fixture(&f);
    }
}

/* ---- export ---- */

static void public_parameters_are_given(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        fixture f = open_fixture(&kinds[i]);
        OSSL_PARAM *params = NULL;
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, kinds[i].type, NULL);
        EVP_PKEY *back = NULL;
        assert_int_equal(EVP_PKEY_todata(f.key, EVP_PKEY_PUBLIC_KEY, &params), 1);
        assert_null(OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_PRIV_KEY));
        assert_null(OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_RSA_D));
        assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
        assert_int_equal(EVP_PKEY_fromdata(ctx, &back, EVP_PKEY_PUBLIC_KEY, params), 1);
        assert_int_equal(EVP_PKEY_eq(back, f.key), 1);
        EVP_PKEY_free(back);
        EVP_PKEY_CTX_free(ctx);
        OSSL_PARAM_free(params);
        close_fixture(&f);
    }
}

static void private_parameters_are_refused_without_a_stray_error(void **state)
{
    static const int selections[] = {EVP_PKEY_KEYPAIR, OSSL_KEYMGMT_SELECT_PRIVATE_KEY,
                                     OSSL_KEYMGMT_SELECT_ALL};

    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        fixture f = open_fixture(&kinds[i]);
        for (size_t n = 0; n < 3; n++) {
            OSSL_PARAM *params = NULL;
            assert_int_not_equal(EVP_PKEY_todata(f.key, selections[n], &params), 1);
            assert_null(params);
            assert_no_error();
        }
        close_fixture(&f);
    }
}

static int der_private(BIO *out, EVP_PKEY *key)
{
    return i2d_PrivateKey_bio(out, key);
}

static int der_pkcs8(BIO *out, EVP_PKEY *key)
{
    return i2d_PKCS8PrivateKey_bio(out, key, NULL, NULL, 0, NULL, NULL);
}

static int der_encrypted(BIO *out, EVP_PKEY *key)
{
    return i2d_PKCS8PrivateKey_bio(out, key, EVP_aes_256_cbc(), "x", 1, NULL, NULL);
}

static int pkcs8_info(BIO *out, EVP_PKEY *key)
{
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);

    PKCS8_PRIV_KEY_INFO_free(info);
    return info != NULL && BIO_write(out, "x", 1);
}

static void private_der_is_refused_with_the_reason(void **state)
{
    static int (*const exports[])(BIO *, EVP_PKEY *) = {der_private, der_pkcs8, der_encrypted,
                                                        pkcs8_info};

    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        fixture f = open_fixture(&kinds[i]);
        for (size_t n = 0; n < 4; n++) {
            BIO *out = BIO_new(BIO_s_mem());
            assert_int_not_equal(exports[n](out, f.key), 1);
            assert_int_equal(BIO_pending(out), 0);
            assert_first_error("key material of a KMS key cannot be exported",
                               "it never leaves KMS");
            BIO_free(out);
        }
        close_fixture(&f);
    }
}

static void private_numbers_and_bytes_do_not_exist(void **state)
{
    static const char *const numbers[] = {OSSL_PKEY_PARAM_PRIV_KEY, OSSL_PKEY_PARAM_RSA_D,
                                          OSSL_PKEY_PARAM_RSA_FACTOR1};
    unsigned char material[64];
    size_t len = sizeof(material);

    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        fixture f = open_fixture(&kinds[i]);
        for (size_t n = 0; n < 3; n++) {
            BIGNUM *number = NULL;
            assert_int_not_equal(EVP_PKEY_get_bn_param(f.key, numbers[n], &number), 1);
            assert_null(number);
        }
        assert_int_not_equal(EVP_PKEY_get_raw_private_key(f.key, material, &len), 1);
        ERR_clear_error();
        close_fixture(&f);
    }
}

/* A program that names no structure gets what fits what it selects. */
static void encoders_without_a_structure_never_mix_the_halves(void **state)
{
    static const struct {
        int selection;
        const char *begin;
    } rows[] = {{EVP_PKEY_PUBLIC_KEY, "-----BEGIN PUBLIC KEY-----"},
                {EVP_PKEY_KEYPAIR, "-----BEGIN KMS KEY REFERENCE-----"}};

    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        fixture f = open_fixture(&kinds[i]);
        for (size_t n = 0; n < 2; n++) {
            OSSL_ENCODER_CTX *ctx =
                OSSL_ENCODER_CTX_new_for_pkey(f.key, rows[n].selection, "PEM", NULL, NULL);
            unsigned char *text = NULL;
            size_t len = 0;
            assert_int_equal(OSSL_ENCODER_to_data(ctx, &text, &len), 1);
            assert_non_null(memmem(text, len, rows[n].begin, strlen(rows[n].begin)));
            assert_null(memmem(text, len, rows[1 - n].begin, strlen(rows[1 - n].begin)));
            OPENSSL_free(text);
            OSSL_ENCODER_CTX_free(ctx);
        }
        close_fixture(&f);
    }
}

/* ---- the store ---- */

/* What the store gives: type and count. */
static int found(const application *app, const char *uri, int expect, int *type, EVP_PKEY **public)
{
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(uri, app->libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    int count = 0;

    assert_non_null(store);
    assert_int_equal(OSSL_STORE_expect(store, expect), 1);
    while (!OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info == NULL)
            continue;
        count++;
        *type = OSSL_STORE_INFO_get_type(info);
        if (*type == OSSL_STORE_INFO_PUBKEY && public != NULL)
            *public = OSSL_STORE_INFO_get1_PUBKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return count;
}

static void the_store_gives_what_is_looked_for(void **state)
{
    static const struct {
        int expect, count, type;
    } rows[] = {{0, 1, OSSL_STORE_INFO_PKEY},
                {OSSL_STORE_INFO_PKEY, 1, OSSL_STORE_INFO_PKEY},
                {OSSL_STORE_INFO_PUBKEY, 1, OSSL_STORE_INFO_PUBKEY},
                {OSSL_STORE_INFO_PARAMS, 0, 0},
                {OSSL_STORE_INFO_CERT, 0, 0},
                {OSSL_STORE_INFO_CRL, 0, 0}};

    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        fixture f = open_fixture(&kinds[i]);
        for (size_t n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
            int type = 0;
            EVP_PKEY *public = NULL;
            assert_int_equal(found(&f.app, kinds[i].uri, rows[n].expect, &type, &public),
                             rows[n].count);
            assert_int_equal(type, rows[n].type);
            if (public != NULL) {
                assert_int_equal(EVP_PKEY_eq(public, f.key), 1);
                assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(public)),
                                    "default");
            }
            EVP_PKEY_free(public);
        }
        close_fixture(&f);
    }
}

static void a_symmetric_key_has_no_public_half(void **state)
{
    application app = application_open();
    int type = 0;

    (void)state;
    assert_int_equal(found(&app, KEY, OSSL_STORE_INFO_PUBKEY, &type, NULL), 0);
    assert_first_error("operation not supported by this key", "without -pubin");
    application_close(&app);
}

static void the_listing_names_keys_and_no_certificates(void **state)
{
    application app = application_open();
    int type = 0;

    (void)state;
    assert_int_equal(found(&app, "kms:", 0, &type, NULL), 9);
    assert_int_equal(type, OSSL_STORE_INFO_NAME);
    test_server_reset(&server);
    assert_int_equal(found(&app, "kms:", OSSL_STORE_INFO_CERT, &type, NULL), 0);
    assert_int_equal(requests(&server), 0);
    assert_no_error();
    application_close(&app);
}

static void ordinary_parameters_do_not_become_ours(void **state)
{
    EVP_PKEY *ordinary = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"), *made = NULL;
    application app = application_open();
    OSSL_PARAM *params = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(app.libctx, "EC", "provider=kms");

    (void)state;
    assert_non_null(ctx);
    assert_int_equal(EVP_PKEY_todata(ordinary, EVP_PKEY_KEYPAIR, &params), 1);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_true(EVP_PKEY_fromdata(ctx, &made, EVP_PKEY_KEYPAIR, params) <= 0);
    assert_null(made);
    ERR_clear_error();
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(ordinary);
    application_close(&app);
}

static int set_up(void **state)
{
    static const char *const options[] = {
        "--seed-key", "alias/rsa:RSA_2048:SIGN_VERIFY",
        "--seed-key", "alias/rsa-two:RSA_2048:SIGN_VERIFY",
        "--seed-key", "alias/p256:ECC_NIST_P256:SIGN_VERIFY",
        "--seed-key", "alias/p256-two:ECC_NIST_P256:SIGN_VERIFY",
        "--seed-key", "alias/p521:ECC_NIST_P521:SIGN_VERIFY",
        "--seed-key", "alias/k1:ECC_SECG_P256K1:SIGN_VERIFY",
        "--seed-key", "alias/ed:ECC_NIST_EDWARDS25519:SIGN_VERIFY",
        "--seed-key", "alias/ed-two:ECC_NIST_EDWARDS25519:SIGN_VERIFY",
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
        cmocka_unit_test(it_answers_as_its_public_half),
        cmocka_unit_test(it_equals_its_public_half_read_from_a_file),
        cmocka_unit_test(it_checks_and_prints_without_the_network),
        cmocka_unit_test(public_parameters_are_given),
        cmocka_unit_test(private_parameters_are_refused_without_a_stray_error),
        cmocka_unit_test(private_der_is_refused_with_the_reason),
        cmocka_unit_test(private_numbers_and_bytes_do_not_exist),
        cmocka_unit_test(encoders_without_a_structure_never_mix_the_halves),
        cmocka_unit_test(the_store_gives_what_is_looked_for),
        cmocka_unit_test(a_symmetric_key_has_no_public_half),
        cmocka_unit_test(the_listing_names_keys_and_no_certificates),
        cmocka_unit_test(ordinary_parameters_do_not_become_ours),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
