/* Public halves as KMS and key references give them. */
#include "tests/unit/unit.h"

#include "core/limits.h"
#include "core/public_key.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

/* Every spec that has a public half, and kinds that KMS has not (spec NULL). */
static const struct kind {
    const char *spec, *type, *group;
    size_t bits;
} kinds[] = {
    {"RSA_2048", "RSA", NULL, 2048},
    {"ECC_NIST_P256", "EC", "P-256", 0},
    {"ECC_NIST_P384", "EC", "P-384", 0},
    {"ECC_NIST_P521", "EC", "P-521", 0},
    {"ECC_SECG_P256K1", "EC", "secp256k1", 0},
    {"ECC_NIST_EDWARDS25519", "ED25519", NULL, 0},
    {NULL, "RSA", NULL, 1024},
    {NULL, "EC", "P-224", 0},
    {NULL, "X25519", NULL, 0},
    {NULL, "ED448", NULL, 0},
    {NULL, "RSA-PSS", NULL, 2048},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

typedef struct made_key {
    EVP_PKEY *key;
    uint8_t *spki;
    size_t len;
} made_key;

static made_key made[KINDS];

static EVP_PKEY *make(const struct kind *kind)
{
    EVP_PKEY_CTX *ctx;
    EVP_PKEY *key = NULL;

    if (kind->group != NULL)
        return EVP_PKEY_Q_keygen(NULL, NULL, kind->type, kind->group);
    ctx = EVP_PKEY_CTX_new_from_name(NULL, kind->type, NULL);
    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    if (kind->bits != 0) {
        size_t bits = kind->bits;
        const OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t(OSSL_PKEY_PARAM_RSA_BITS, &bits),
                                     OSSL_PARAM_construct_end()};
        assert_int_equal(EVP_PKEY_CTX_set_params(ctx, params), 1);
    }
    assert_int_equal(EVP_PKEY_generate(ctx, &key), 1);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        made[i].key = make(&kinds[i]);
        assert_non_null(made[i].key);
        made[i].len = (size_t)i2d_PUBKEY(made[i].key, &made[i].spki);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        EVP_PKEY_free(made[i].key);
        OPENSSL_free(made[i].spki);
    }
    return 0;
}

static const kms_key_spec_row *spec_of(size_t i)
{
    return kinds[i].spec != NULL ? kms_key_spec_find(kinds[i].spec) : NULL;
}

static void keys_of_kms_s_kinds_are_read_and_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        const kms_key_spec_row *spec = NULL;
        kms_error err = {0};
        EVP_PKEY *key = NULL;
        kms_status st = kms_public_key_read(NULL, (kms_bytes){made[i].spki, made[i].len}, NULL,
                                            &key, &spec, &err);
        print_message("%s %s\n", kinds[i].type, kinds[i].spec != NULL ? kinds[i].spec : "");
        assert_int_equal(st, kinds[i].spec != NULL ? KMS_OK : KMS_E_PUBLIC_KEY);
        assert_ptr_equal(spec, spec_of(i));
        assert_int_equal(key != NULL, st == KMS_OK);
        if (st == KMS_OK)
            assert_int_equal(EVP_PKEY_eq(key, made[i].key), 1);
        else
            assert_non_null(strstr(err.detail, "of a kind that KMS keys are not"));
        EVP_PKEY_free(key);
    }
    assert_int_equal(ERR_peek_error(), 0);
}

static void only_the_expected_kind_is_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        for (size_t e = 0; e < KINDS && kinds[e].spec != NULL; e++) {
            kms_error err = {0};
            EVP_PKEY *key = NULL;
            kms_status st = kms_public_key_read(NULL, (kms_bytes){made[i].spki, made[i].len},
                                                spec_of(e), &key, NULL, &err);
            assert_int_equal(st, i == e ? KMS_OK : KMS_E_PUBLIC_KEY);
            if (i != e)
                assert_non_null(strstr(err.detail, kinds[e].spec));
            EVP_PKEY_free(key);
        }
    }
}

static void damaged_bytes_are_refused(void **state)
{
    EVP_PKEY *key = NULL;
    kms_error err = {0};

    (void)state;
    for (size_t i = 0; i < KINDS && kinds[i].spec != NULL; i++) {
        uint8_t *bytes = malloc(made[i].len + 1);
        memcpy(bytes, made[i].spki, made[i].len);
        bytes[made[i].len] = 0;
        assert_int_equal(
            kms_public_key_read(NULL, (kms_bytes){bytes, made[i].len + 1}, NULL, &key, NULL, &err),
            KMS_E_PUBLIC_KEY);
        assert_non_null(strstr(err.detail, "not one whole SubjectPublicKeyInfo"));
        free(bytes);
        for (size_t len = 0; len < made[i].len; len++) {
            bytes = malloc(len + 1); /* so that a sanitizer sees what is read behind it */
            memcpy(bytes, made[i].spki, len);
            assert_int_equal(
                kms_public_key_read(NULL, (kms_bytes){bytes, len}, NULL, &key, NULL, NULL),
                KMS_E_PUBLIC_KEY);
            assert_null(key);
            free(bytes);
        }
    }
    assert_int_equal(ERR_peek_error(), 0);
}

static void a_point_that_is_not_on_the_curve_is_refused(void **state)
{
    EVP_PKEY *key = NULL;
    uint8_t bytes[256];

    (void)state;
    for (size_t i = 1; i <= 4; i++) { /* the EC keys */
        memcpy(bytes, made[i].spki, made[i].len);
        bytes[made[i].len - 1] ^= 1;
        assert_int_equal(
            kms_public_key_read(NULL, (kms_bytes){bytes, made[i].len}, NULL, &key, NULL, NULL),
            KMS_E_PUBLIC_KEY);
    }
}

static void more_bytes_than_any_key_has_are_refused(void **state)
{
    uint8_t *bytes = calloc(1, KMS_PUBLIC_KEY_MAX + 1);
    EVP_PKEY *key = NULL;

    (void)state;
    memcpy(bytes, made[0].spki, made[0].len);
    assert_int_equal(kms_public_key_read(NULL, (kms_bytes){bytes, KMS_PUBLIC_KEY_MAX + 1}, NULL,
                                         &key, NULL, NULL),
                     KMS_E_PUBLIC_KEY);
    free(bytes);
}

/* By the ordinary private key, with the parameters that KMS has for the algorithm. */
static size_t sign(EVP_PKEY *key, const kms_algorithm *algorithm, kms_bytes input, uint8_t *out,
                   size_t room)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    int ok = 1;

    if (algorithm->scheme == KMS_SCHEME_EDDSA) {
        ok = EVP_DigestSignInit(md, NULL, NULL, NULL, key) == 1 &&
             EVP_DigestSign(md, out, &room, input.data, input.len) == 1;
    } else {
        ok = EVP_PKEY_sign_init(ctx) == 1;
        if (algorithm->scheme != KMS_SCHEME_ECDSA)
            ok = ok && EVP_PKEY_CTX_ctrl_str(ctx, "digest", algorithm->digest) > 0;
        if (algorithm->scheme == KMS_SCHEME_PSS)
            ok = ok && EVP_PKEY_CTX_ctrl_str(ctx, "rsa_padding_mode", "pss") > 0 &&
                 EVP_PKEY_CTX_ctrl_str(ctx, "rsa_pss_saltlen", "digest") > 0;
        ok = ok && EVP_PKEY_sign(ctx, out, &room, input.data, input.len) == 1;
    }
    assert_int_equal(ok, 1);
    EVP_PKEY_CTX_free(ctx);
    EVP_MD_CTX_free(md);
    return room;
}

static void right_signatures_verify_and_others_do_not(void **state)
{
    static const uint8_t input[64] = "something";
    static const kms_scheme schemes[] = {KMS_SCHEME_PKCS1, KMS_SCHEME_PSS, KMS_SCHEME_ECDSA,
                                         KMS_SCHEME_EDDSA};
    const kms_algorithm *algorithm;
    uint8_t signature[512], other[64];

    (void)state;
    for (size_t i = 0; i < KINDS && kinds[i].spec != NULL; i++)
        for (size_t s = 0; s < 4; s++)
            for (size_t n = 0; (algorithm = kms_algorithm_at(spec_of(i), schemes[s], n)) != NULL;
                 n++) {
                size_t len = algorithm->digest_len != 0 ? algorithm->digest_len : sizeof(input);
                kms_bytes in = {input, len};
                kms_bytes sig = {signature,
                                 sign(made[i].key, algorithm, in, signature, sizeof(signature))};
                assert_true(kms_public_key_verifies(NULL, made[i].key, algorithm, in, sig));
                memcpy(other, input, len);
                other[len - 1] ^= 1;
                assert_false(kms_public_key_verifies(NULL, made[i].key, algorithm,
                                                     (kms_bytes){other, len}, sig));
                assert_false(kms_public_key_verifies(NULL, made[i].key, algorithm, in,
                                                     (kms_bytes){signature, sig.len - 1}));
                assert_false(kms_public_key_verifies(NULL, made[i].key, algorithm, in,
                                                     (kms_bytes){NULL, 0}));
                signature[sig.len / 2] ^= 1;
                assert_false(kms_public_key_verifies(NULL, made[i].key, algorithm, in, sig));
            }
    assert_int_equal(ERR_peek_error(), 0);
}

static void a_signature_of_another_scheme_does_not_verify(void **state)
{
    static const uint8_t input[32] = "something";
    const kms_key_spec_row *rsa = kms_key_spec_find("RSA_2048");
    const kms_algorithm *pkcs1 = kms_algorithm_find(rsa, KMS_SCHEME_PKCS1, "SHA256");
    const kms_algorithm *pss = kms_algorithm_find(rsa, KMS_SCHEME_PSS, "SHA256");
    const kms_bytes in = {input, sizeof(input)};
    uint8_t signature[512];
    size_t len = sign(made[0].key, pkcs1, in, signature, sizeof(signature));

    (void)state;
    assert_false(kms_public_key_verifies(NULL, made[0].key, pss, in, (kms_bytes){signature, len}));
    len = sign(made[0].key, pss, in, signature, sizeof(signature));
    assert_false(
        kms_public_key_verifies(NULL, made[0].key, pkcs1, in, (kms_bytes){signature, len}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_of_kms_s_kinds_are_read_and_named),
        cmocka_unit_test(only_the_expected_kind_is_taken),
        cmocka_unit_test(damaged_bytes_are_refused),
        cmocka_unit_test(a_point_that_is_not_on_the_curve_is_refused),
        cmocka_unit_test(more_bytes_than_any_key_has_are_refused),
        cmocka_unit_test(right_signatures_verify_and_others_do_not),
        cmocka_unit_test(a_signature_of_another_scheme_does_not_verify),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
