/* ECDH with a KMS key, by EVP_PKEY_derive. */
#include "tests/provider/application.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/pem.h>

static test_server server;

static const struct {
    const char *uri, *group;
    size_t size;
} curves[] = {
    {"kms:alias/p256", "P-256", 32},
    {"kms:alias/p384", "P-384", 48},
    {"kms:alias/p521", "P-521", 66},
};

typedef struct fixture {
    application app;
    EVP_PKEY *key, *peer, *peer_private;
} fixture;

static fixture open_fixture(void)
{
    fixture f = {.app = application_open()};

    f.key = application_key(&f.app, "kms:alias/p256");
    f.peer_private = application_software_key(&f.app, "P-256");
    f.peer = application_public(&f.app, f.peer_private);
    test_server_reset(&server);
    return f;
}

static void close_fixture(fixture *f)
{
    assert_no_error();
    EVP_PKEY_free(f->peer_private);
    EVP_PKEY_free(f->peer);
    EVP_PKEY_free(f->key);
    application_close(&f->app);
}

static EVP_PKEY_CTX *begin(const application *app, EVP_PKEY *key, const OSSL_PARAM *params)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(app->libctx, key, NULL);

    assert_non_null(ctx);
    assert_int_equal(EVP_PKEY_derive_init_ex(ctx, params), 1);
    return ctx;
}

static bool derive(const application *app, EVP_PKEY *key, EVP_PKEY *peer, const OSSL_PARAM *params,
                   bytes *out)
{
    EVP_PKEY_CTX *ctx = begin(app, key, params);
    bool ok = EVP_PKEY_derive_set_peer(ctx, peer) == 1;

    out->len = sizeof(out->data);
    ok = ok && EVP_PKEY_derive(ctx, out->data, &out->len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static void both_sides_come_to_the_same_secret_by_one_request(void **state)
{
    application app = application_open();

    (void)state;
    for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++) {
        EVP_PKEY *key = application_key(&app, curves[i].uri);
        EVP_PKEY *public = application_public(&app, key);
        EVP_PKEY *peer = application_software_key(&app, curves[i].group);
        EVP_PKEY *peer_public = application_public(&app, peer);
        bytes ours, theirs;
        test_server_reset(&server);
        assert_true(derive(&app, key, peer_public, NULL, &ours));
        assert_int_equal(test_server_count(&server, "DeriveSharedSecret"), 1);
        assert_true(derive(&app, peer, public, NULL, &theirs));
        assert_int_equal(test_server_count(&server, "DeriveSharedSecret"), 1);
        assert_int_equal(ours.len, curves[i].size);
        assert_int_equal(theirs.len, ours.len);
        assert_memory_equal(ours.data, theirs.data, ours.len);
        EVP_PKEY_free(peer_public);
        EVP_PKEY_free(peer);
        EVP_PKEY_free(public);
        EVP_PKEY_free(key);
    }
    assert_no_error();
    application_close(&app);
}

/* What CMS asks for. */
static void fill_kdf(OSSL_PARAM params[6], const char *digest, size_t *size, const char *ukm)
{
    static int mode = 1;

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE,
                                                 (char *)(uintptr_t) "X963KDF", 0);
    params[1] = OSSL_PARAM_construct_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST,
                                                 (char *)(uintptr_t)digest, 0);
    params[2] = OSSL_PARAM_construct_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, size);
    params[3] = OSSL_PARAM_construct_octet_string(OSSL_EXCHANGE_PARAM_KDF_UKM,
                                                  (void *)(uintptr_t)ukm, strlen(ukm));
    params[4] = OSSL_PARAM_construct_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE, &mode);
    params[5] = OSSL_PARAM_construct_end();
}

static void the_kdf_gives_what_default_gives(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY *public = application_public(&f.app, f.key);
    OSSL_PARAM params[6];
    size_t size = 72;
    bytes ours, theirs;

    (void)state;
    fill_kdf(params, "SHA2-384", &size, "shared info");
    assert_true(derive(&f.app, f.key, f.peer, params, &ours));
    assert_int_equal(test_server_count(&server, "DeriveSharedSecret"), 1);
    assert_true(derive(&f.app, f.peer_private, public, params, &theirs));
    assert_int_equal(ours.len, 72);
    assert_int_equal(theirs.len, 72);
    assert_memory_equal(ours.data, theirs.data, 72);
    EVP_PKEY_free(public);
    close_fixture(&f);
}

static void a_kdf_that_can_not_work_is_refused_before_the_request(void **state)
{
    fixture f = open_fixture();
    OSSL_PARAM params[6];
    size_t size = 0;
    bytes out;

    (void)state;
    fill_kdf(params, "SHA2-256", &size, "");
    assert_false(derive(&f.app, f.key, f.peer, params, &out));
    assert_only_error("invalid argument", "kdf-outlen");
    size = 32;
    fill_kdf(params, "NO-SUCH-DIGEST", &size, "");
    assert_false(derive(&f.app, f.key, f.peer, params, &out));
    assert_only_error("invalid argument", "kdf-digest");
    assert_int_equal(test_server_count(&server, "DeriveSharedSecret"), 0);
    close_fixture(&f);
}

static void other_kdfs_and_cofactor_modes_are_refused(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY_CTX *ctx = begin(&f.app, f.key, NULL);
    int mode = 2;
    OSSL_PARAM kdf[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE, (char *)(uintptr_t) "HKDF",
                                         0),
        OSSL_PARAM_construct_end(),
    };
    OSSL_PARAM cofactor[] = {
        OSSL_PARAM_construct_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE, &mode),
        OSSL_PARAM_construct_end(),
    };

    (void)state;
    assert_int_not_equal(EVP_PKEY_CTX_set_params(ctx, kdf), 1);
    assert_only_error("invalid argument", "none or X963KDF");
    assert_int_not_equal(EVP_PKEY_CTX_set_params(ctx, cofactor), 1);
    assert_only_error("invalid argument", "the cofactor mode is -1, 0 or 1");
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f);
}

static void a_peer_on_another_curve_is_refused_without_a_request(void **state)
{
    static const char *const groups[] = {"P-384", "secp256k1", "brainpoolP256r1"};
    fixture f = open_fixture();

    (void)state;
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        EVP_PKEY *private = application_software_key(&f.app, groups[i]);
        EVP_PKEY *other = application_public(&f.app, private);
        bytes out;
        assert_false(derive(&f.app, f.key, other, NULL, &out));
        assert_only_error("peer's public key does not fit", "");
        EVP_PKEY_free(other);
        EVP_PKEY_free(private);
    }
    assert_int_equal(test_server_count(&server, "DeriveSharedSecret"), 0);
    close_fixture(&f);
}

/* An ordinary private key is never handed to this provider, so it can't be a peer here: programs
 * have the public half. */
static void a_private_key_of_another_provider_stays_there(void **state)
{
    fixture f = open_fixture();
    bytes out;

    (void)state;
    assert_false(derive(&f.app, f.key, f.peer_private, NULL, &out));
    assert_first_error("operation not supported for this keytype", "");
    assert_int_equal(test_server_count(&server, "DeriveSharedSecret"), 0);
    close_fixture(&f);
}

static void without_a_peer_there_is_no_secret(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY_CTX *ctx = begin(&f.app, f.key, NULL);
    bytes out = {.len = sizeof(out.data)};

    (void)state;
    assert_int_equal(EVP_PKEY_derive(ctx, out.data, &out.len), 0);
    assert_only_error("peer's public key does not fit", "none was set");
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f);
}

static void sizes_cost_no_request_and_short_buffers_are_refused(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY_CTX *ctx = begin(&f.app, f.key, NULL);
    unsigned char out[32] = {0xaa};
    size_t len = 0;

    (void)state;
    assert_int_equal(EVP_PKEY_derive_set_peer(ctx, f.peer), 1);
    assert_int_equal(EVP_PKEY_derive(ctx, NULL, &len), 1);
    assert_int_equal(len, 32);
    len = 31;
    assert_int_equal(EVP_PKEY_derive(ctx, out, &len), 0);
    assert_only_error("output buffer too small", "");
    assert_int_equal(out[0], 0xaa);
    assert_int_equal(test_server_count(&server, "DeriveSharedSecret"), 0);
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f);
}

static void a_copied_exchange_goes_its_own_way(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY *private = application_software_key(&f.app, "P-256");
    EVP_PKEY *other = application_public(&f.app, private);
    EVP_PKEY_CTX *ctx = begin(&f.app, f.key, NULL), *copy;
    bytes a = {.len = sizeof(a.data)}, b = {.len = sizeof(b.data)};

    (void)state;
    assert_int_equal(EVP_PKEY_derive_set_peer(ctx, f.peer), 1);
    copy = EVP_PKEY_CTX_dup(ctx);
    assert_non_null(copy);
    assert_int_equal(EVP_PKEY_derive_set_peer(ctx, other), 1);
    assert_int_equal(EVP_PKEY_derive(ctx, a.data, &a.len), 1);
    assert_int_equal(EVP_PKEY_derive(copy, b.data, &b.len), 1);
    assert_memory_not_equal(a.data, b.data, 32);
    EVP_PKEY_CTX_free(copy);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(other);
    EVP_PKEY_free(private);
    close_fixture(&f);
}

static void a_signing_key_agrees_on_nothing(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY *signing = application_key(&f.app, "kms:alias/signs");
    bytes out;

    (void)state;
    assert_false(derive(&f.app, signing, f.peer, NULL, &out));
    assert_only_error("key is made for another use", "SIGN_VERIFY, not for KEY_AGREEMENT");
    assert_int_equal(test_server_count(&server, "DeriveSharedSecret"), 0);
    EVP_PKEY_free(signing);
    close_fixture(&f);
}

/* A reference doesn't tell the usage: KMS does. */
static EVP_PKEY *by_reference(const fixture *f, EVP_PKEY *key)
{
    BIO *pem = BIO_new(BIO_s_mem());
    EVP_PKEY *back;

    assert_int_equal(PEM_write_bio_PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL), 1);
    back = PEM_read_bio_PrivateKey_ex(pem, NULL, NULL, NULL, f->app.libctx, NULL);
    assert_non_null(back);
    BIO_free(pem);
    return back;
}

static void a_key_reference_is_tried(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY *signing = application_key(&f.app, "kms:alias/signs");
    EVP_PKEY *good = by_reference(&f, f.key), *bad = by_reference(&f, signing);
    bytes a, b;

    (void)state;
    assert_true(derive(&f.app, good, f.peer, NULL, &a));
    assert_true(derive(&f.app, f.key, f.peer, NULL, &b));
    assert_memory_equal(a.data, b.data, 32);
    assert_false(derive(&f.app, bad, f.peer, NULL, &a));
    assert_only_error("key is made for another use", "InvalidKeyUsageException");
    EVP_PKEY_free(bad);
    EVP_PKEY_free(good);
    EVP_PKEY_free(signing);
    close_fixture(&f);
}

static void a_peer_built_from_the_keys_parameters_works(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY *built = EVP_PKEY_new();
    unsigned char *point = NULL;
    size_t len;
    bytes a, b;

    (void)state;
    /* As CMS makes its originator's key. */
    assert_int_equal(EVP_PKEY_copy_parameters(built, f.key), 1);
    len = EVP_PKEY_get1_encoded_public_key(f.peer, &point);
    assert_int_equal(len, 65);
    assert_int_equal(EVP_PKEY_set1_encoded_public_key(built, point, len), 1);
    assert_int_equal(EVP_PKEY_eq(built, f.peer), 1);
    assert_true(derive(&f.app, f.key, built, NULL, &a));
    assert_true(derive(&f.app, f.key, f.peer, NULL, &b));
    assert_memory_equal(a.data, b.data, 32);
    OPENSSL_free(point);
    EVP_PKEY_free(built);
    close_fixture(&f);
}

static void a_kms_key_never_gets_another_public_half(void **state)
{
    fixture f = open_fixture();
    EVP_PKEY *before = application_public(&f.app, f.key);
    unsigned char *point = NULL;
    size_t len = EVP_PKEY_get1_encoded_public_key(f.peer, &point);

    (void)state;
    assert_int_not_equal(EVP_PKEY_set1_encoded_public_key(f.key, point, len), 1);
    assert_only_error("operation not supported by this key", "a KMS key never changes");
    assert_int_equal(EVP_PKEY_eq(f.key, before), 1);
    OPENSSL_free(point);
    EVP_PKEY_free(before);
    close_fixture(&f);
}

static void ordinary_keys_agree_and_verify_as_before_in_both_orders(void **state)
{
    static const char *const orders[][2] = {{"default", "kms"}, {"kms", "default"}};
    static const unsigned char message[] = "message";

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        application app = application_open_order(orders[i][0], orders[i][1]);
        EVP_PKEY *x = application_software_key(&app, "P-256");
        EVP_PKEY *y = application_software_key(&app, "P-256");
        EVP_PKEY *x_public = application_public(&app, x), *y_public = application_public(&app, y);
        EVP_MD_CTX *md = EVP_MD_CTX_new();
        bytes a, b, signature = {.len = sizeof(signature.data)};
        assert_true(derive(&app, x, y_public, NULL, &a));
        assert_true(derive(&app, y, x_public, NULL, &b));
        assert_memory_equal(a.data, b.data, 32);
        assert_int_equal(EVP_DigestSignInit_ex(md, NULL, "SHA256", app.libctx, NULL, x, NULL), 1);
        assert_int_equal(EVP_DigestSign(md, signature.data, &signature.len, message, 7), 1);
        EVP_MD_CTX_reset(md);
        assert_int_equal(
            EVP_DigestVerifyInit_ex(md, NULL, "SHA256", app.libctx, NULL, x_public, NULL), 1);
        assert_int_equal(EVP_DigestVerify(md, signature.data, signature.len, message, 7), 1);
        signature.data[signature.len - 1] ^= 1;
        EVP_MD_CTX_reset(md);
        assert_int_equal(
            EVP_DigestVerifyInit_ex(md, NULL, "SHA256", app.libctx, NULL, x_public, NULL), 1);
        assert_int_not_equal(EVP_DigestVerify(md, signature.data, signature.len, message, 7), 1);
        ERR_clear_error();
        EVP_MD_CTX_free(md);
        EVP_PKEY_free(y_public);
        EVP_PKEY_free(x_public);
        EVP_PKEY_free(y);
        EVP_PKEY_free(x);
        application_close(&app);
    }
}

static int set_up(void **state)
{
    static const char *const options[] = {"--seed-key", "alias/p256:ECC_NIST_P256:KEY_AGREEMENT",
                                          "--seed-key", "alias/p384:ECC_NIST_P384:KEY_AGREEMENT",
                                          "--seed-key", "alias/p521:ECC_NIST_P521:KEY_AGREEMENT",
                                          "--seed-key", "alias/signs:ECC_NIST_P256:SIGN_VERIFY",
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
        cmocka_unit_test(both_sides_come_to_the_same_secret_by_one_request),
        cmocka_unit_test(the_kdf_gives_what_default_gives),
        cmocka_unit_test(a_kdf_that_can_not_work_is_refused_before_the_request),
        cmocka_unit_test(other_kdfs_and_cofactor_modes_are_refused),
        cmocka_unit_test(a_peer_on_another_curve_is_refused_without_a_request),
        cmocka_unit_test(a_private_key_of_another_provider_stays_there),
        cmocka_unit_test(without_a_peer_there_is_no_secret),
        cmocka_unit_test(sizes_cost_no_request_and_short_buffers_are_refused),
        cmocka_unit_test(a_copied_exchange_goes_its_own_way),
        cmocka_unit_test(a_signing_key_agrees_on_nothing),
        cmocka_unit_test(a_key_reference_is_tried),
        cmocka_unit_test(a_peer_built_from_the_keys_parameters_works),
        cmocka_unit_test(a_kms_key_never_gets_another_public_half),
        cmocka_unit_test(ordinary_keys_agree_and_verify_as_before_in_both_orders),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
