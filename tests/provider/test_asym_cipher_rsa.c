/* RSA keys that decrypt, by EVP_PKEY_decrypt and EVP_PKEY_encrypt. */
#include "tests/provider/application.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#define REFUSED "KMS has no such algorithm for this key"

static test_server server;

typedef struct fixture {
    application app;
    EVP_PKEY *key, *public;
} fixture;

static fixture open_fixture(void)
{
    fixture f = {.app = application_open()};

    f.key = application_key(&f.app, "kms:alias/decrypts");
    f.public = application_public(&f.app, f.key);
    test_server_reset(&server);
    return f;
}

static void close_fixture(fixture *f)
{
    assert_no_error();
    EVP_PKEY_free(f->public);
    EVP_PKEY_free(f->key);
    application_close(&f->app);
}

/* What -pkeyopt would set, NAME:VALUE separated by blanks. */
static void set_options(EVP_PKEY_CTX *ctx, const char *options)
{
    char copy[256], *rest = copy, *option;

    snprintf(copy, sizeof(copy), "%s", options);
    while ((option = strsep(&rest, " ")) != NULL) {
        char *value = strchr(option, ':');
        if (value == NULL)
            continue;
        *value++ = '\0';
        assert_int_equal(EVP_PKEY_CTX_ctrl_str(ctx, option, value), 1);
    }
}

static EVP_PKEY_CTX *begin(const fixture *f, EVP_PKEY *key, int (*init)(EVP_PKEY_CTX *),
                           const char *options)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(f->app.libctx, key, NULL);

    assert_non_null(ctx);
    assert_int_equal(init(ctx), 1);
    set_options(ctx, options);
    return ctx;
}

static bool encrypt(const fixture *f, EVP_PKEY *key, const char *options, const bytes *in,
                    bytes *out)
{
    EVP_PKEY_CTX *ctx = begin(f, key, EVP_PKEY_encrypt_init, options);
    bool ok;

    out->len = sizeof(out->data);
    ok = EVP_PKEY_encrypt(ctx, out->data, &out->len, in->data, in->len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool decrypt(const fixture *f, EVP_PKEY *key, const char *options, const bytes *in,
                    bytes *out)
{
    EVP_PKEY_CTX *ctx = begin(f, key, EVP_PKEY_decrypt_init, options);
    bool ok;

    out->len = sizeof(out->data);
    ok = EVP_PKEY_decrypt(ctx, out->data, &out->len, in->data, in->len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static void oaep_made_by_anybody_is_decrypted_in_one_request(void **state)
{
    static const char *const options[] = {
        "rsa_padding_mode:oaep",
        "rsa_padding_mode:oaep rsa_oaep_md:sha1",
        "rsa_padding_mode:oaep rsa_oaep_md:sha256",
        "rsa_padding_mode:oaep rsa_oaep_md:SHA2-256 rsa_mgf1_md:sha256",
    };
    fixture f = open_fixture();
    bytes plain = bytes_of("a key of 32 bytes, or thereabout"), sealed, back;

    (void)state;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        EVP_PKEY *by[] = {f.public, f.key};
        for (size_t k = 0; k < 2; k++) {
            assert_true(encrypt(&f, by[k], options[i], &plain, &sealed));
            test_server_reset(&server);
            assert_true(decrypt(&f, f.key, options[i], &sealed, &back));
            assert_int_equal(test_server_count(&server, "Decrypt"), 1);
            assert_int_equal(back.len, plain.len);
            assert_memory_equal(back.data, plain.data, plain.len);
        }
    }
    close_fixture(&f);
}

static void encrypting_takes_every_padding_and_no_request(void **state)
{
    static const char *const options[] = {
        "rsa_padding_mode:pkcs1",
        "rsa_padding_mode:oaep rsa_oaep_md:sha512",
        "rsa_padding_mode:oaep rsa_oaep_label:aabb",
    };
    fixture f = open_fixture();
    bytes plain = bytes_of("secret"), sealed;

    (void)state;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        assert_true(encrypt(&f, f.key, options[i], &plain, &sealed));
        assert_int_equal(sealed.len, 256);
    }
    plain.len = 300;
    assert_false(encrypt(&f, f.key, options[0], &plain, &sealed));
    assert_only_error("invalid argument", "data too large for key size");
    assert_int_equal(test_server_count(&server, "Encrypt"), 0);
    close_fixture(&f);
}

static void what_kms_can_not_decrypt_is_refused_without_a_request(void **state)
{
    static const struct {
        const char *options, *detail;
    } rows[] = {
        {"", "RSA padding 1; KMS decrypts OAEP alone"},
        {"rsa_padding_mode:pkcs1", "RSA padding 1"},
        {"rsa_padding_mode:none", "RSA padding 3"},
        {"rsa_padding_mode:oaep rsa_oaep_md:sha384", "OAEP with SHA2-384"},
        {"rsa_padding_mode:oaep rsa_oaep_md:sha512", "OAEP with SHA2-512"},
        {"rsa_padding_mode:oaep rsa_oaep_md:sha256 rsa_mgf1_md:sha1", "MGF1 with SHA1"},
        {"rsa_padding_mode:oaep rsa_oaep_md:sha1 rsa_mgf1_md:sha256", "MGF1 with SHA2-256"},
        {"rsa_padding_mode:oaep rsa_oaep_label:aabb", "an OAEP label"},
    };
    fixture f = open_fixture();
    bytes sealed = {.len = 256}, out;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_false(decrypt(&f, f.key, rows[i].options, &sealed, &out));
        assert_only_error(REFUSED, rows[i].detail);
    }
    assert_int_equal(test_server_count(&server, "Decrypt"), 0);
    close_fixture(&f);
}

static void pss_is_no_padding_to_encrypt_with(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY_CTX *ctx = begin(&f, f.key, EVP_PKEY_decrypt_init, "");
    int padding = RSA_PKCS1_PSS_PADDING;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, &padding),
        OSSL_PARAM_construct_end(),
    };

    (void)state;
    assert_int_not_equal(EVP_PKEY_CTX_set_params(ctx, params), 1);
    assert_only_error(REFUSED, "a parameter of the RSA encryption is not accepted");
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f);
}

static void damaged_ciphertext_and_wrong_sizes_are_refused(void **state)
{
    fixture f = open_fixture();
    bytes plain = bytes_of("secret"), sealed, out;

    (void)state;
    assert_true(encrypt(&f, f.public, "rsa_padding_mode:oaep", &plain, &sealed));
    sealed.data[40] ^= 1;
    assert_false(decrypt(&f, f.key, "rsa_padding_mode:oaep", &sealed, &out));
    assert_only_error("ciphertext cannot be decrypted", "request id ");
    sealed.data[40] ^= 1;
    assert_false(decrypt(&f, f.key, "rsa_padding_mode:oaep rsa_oaep_md:sha256", &sealed, &out));
    assert_only_error("ciphertext cannot be decrypted", "request id ");
    test_server_reset(&server);
    sealed.len = 255;
    assert_false(decrypt(&f, f.key, "rsa_padding_mode:oaep", &sealed, &out));
    assert_only_error("ciphertext has an impossible size", "255 bytes");
    sealed.len = 257;
    assert_false(decrypt(&f, f.key, "rsa_padding_mode:oaep", &sealed, &out));
    assert_only_error("ciphertext has an impossible size", "257 bytes");
    assert_int_equal(test_server_count(&server, "Decrypt"), 0);
    close_fixture(&f);
}

static void a_plaintext_that_does_not_fit_is_not_written(void **state)
{
    fixture f = open_fixture();
    bytes plain = bytes_of("secret"), sealed;
    EVP_PKEY_CTX *ctx = begin(&f, f.key, EVP_PKEY_decrypt_init, "rsa_padding_mode:oaep");
    unsigned char out[8] = {0xaa};
    size_t len = 0;

    (void)state;
    assert_true(encrypt(&f, f.public, "rsa_padding_mode:oaep", &plain, &sealed));
    assert_int_equal(EVP_PKEY_decrypt(ctx, NULL, &len, sealed.data, sealed.len), 1);
    assert_int_equal(len, 256);
    assert_int_equal(test_server_count(&server, "Decrypt"), 0);
    len = 5;
    assert_int_equal(EVP_PKEY_decrypt(ctx, out, &len, sealed.data, sealed.len), 0);
    assert_only_error("output buffer too small", "");
    assert_int_equal(out[0], 0xaa);
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f);
}

static void a_copied_decryption_goes_its_own_way(void **state)
{
    fixture f = open_fixture();
    bytes plain = bytes_of("secret"), sealed, out = {.len = sizeof(out.data)};
    EVP_PKEY_CTX *ctx = begin(&f, f.key, EVP_PKEY_decrypt_init, "rsa_padding_mode:oaep");
    EVP_PKEY_CTX *copy = EVP_PKEY_CTX_dup(ctx);
    int padding = 0;

    (void)state;
    assert_non_null(copy);
    assert_int_equal(EVP_PKEY_CTX_ctrl_str(copy, "rsa_padding_mode", "pkcs1"), 1);
    assert_true(EVP_PKEY_CTX_get_rsa_padding(ctx, &padding) > 0);
    assert_int_equal(padding, RSA_PKCS1_OAEP_PADDING);
    EVP_PKEY_CTX_free(copy);
    assert_true(encrypt(&f, f.public, "rsa_padding_mode:oaep", &plain, &sealed));
    assert_int_equal(EVP_PKEY_decrypt(ctx, out.data, &out.len, sealed.data, sealed.len), 1);
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f);
}

static void a_signing_key_does_not_decrypt(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY *signing = application_key(&f.app, "kms:alias/signs");
    bytes sealed = {.len = 256}, out;

    (void)state;
    test_server_reset(&server);
    assert_false(decrypt(&f, signing, "rsa_padding_mode:oaep", &sealed, &out));
    assert_only_error("key is made for another use", "SIGN_VERIFY");
    assert_int_equal(test_server_count(&server, "Decrypt"), 0);
    EVP_PKEY_free(signing);
    close_fixture(&f);
}

static void ordinary_rsa_keys_decrypt_as_before_in_both_orders(void **state)
{
    static const char *const orders[][2] = {{"default", "kms"}, {"kms", "default"}};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        fixture f = {.app = application_open_order(orders[i][0], orders[i][1])};
        bytes plain = bytes_of("secret"), sealed, back;
        f.key = EVP_PKEY_Q_keygen(f.app.libctx, "provider=default", "RSA", (size_t)2048);
        assert_non_null(f.key);
        assert_true(encrypt(&f, f.key, "rsa_padding_mode:pkcs1", &plain, &sealed));
        assert_true(decrypt(&f, f.key, "rsa_padding_mode:pkcs1", &sealed, &back));
        assert_int_equal(back.len, plain.len);
        close_fixture(&f);
    }
}

static int set_up(void **state)
{
    static const char *const options[] = {"--seed-key", "alias/decrypts:RSA_2048:ENCRYPT_DECRYPT",
                                          "--seed-key", "alias/signs:RSA_2048:SIGN_VERIFY", NULL};

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
        cmocka_unit_test(oaep_made_by_anybody_is_decrypted_in_one_request),
        cmocka_unit_test(encrypting_takes_every_padding_and_no_request),
        cmocka_unit_test(what_kms_can_not_decrypt_is_refused_without_a_request),
        cmocka_unit_test(pss_is_no_padding_to_encrypt_with),
        cmocka_unit_test(damaged_ciphertext_and_wrong_sizes_are_refused),
        cmocka_unit_test(a_plaintext_that_does_not_fit_is_not_written),
        cmocka_unit_test(a_copied_decryption_goes_its_own_way),
        cmocka_unit_test(a_signing_key_does_not_decrypt),
        cmocka_unit_test(ordinary_rsa_keys_decrypt_as_before_in_both_orders),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
