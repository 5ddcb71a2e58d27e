/* Which keys and algorithms KMS has. */
#include "tests/unit/unit.h"

#include "core/algorithm.h"

#include <openssl/evp.h>
#include <string.h>

static void every_spec_is_found_by_its_name_alone(void **state)
{
    const kms_key_spec_row *row;
    size_t count = 0;

    (void)state;
    for (; (row = kms_key_spec_at(count)) != NULL; count++)
        assert_ptr_equal(kms_key_spec_find(row->name), row);
    assert_int_equal(count, KMS_OPENSSL_3_5 ? 18 : 12);
    assert_null(kms_key_spec_at(SIZE_MAX));
    assert_null(kms_key_spec_find("SYMMETRIC_DEFAULT"));
    assert_null(kms_key_spec_find("rsa_2048"));
    assert_null(kms_key_spec_find("RSA_1024"));
    assert_null(kms_key_spec_find(""));
}

static void each_spec_has_the_algorithms_that_kms_lists_for_it(void **state)
{
    static const struct {
        const char *spec;
        kms_scheme scheme;
        const char *digest, *algorithm; /* algorithm NULL: there is none */
    } rows[] = {
        {"RSA_2048", KMS_SCHEME_PKCS1, "SHA256", "RSASSA_PKCS1_V1_5_SHA_256"},
        {"RSA_4096", KMS_SCHEME_PKCS1, "SHA2-384", "RSASSA_PKCS1_V1_5_SHA_384"},
        {"RSA_3072", KMS_SCHEME_PKCS1, "sha-512", "RSASSA_PKCS1_V1_5_SHA_512"},
        {"RSA_2048", KMS_SCHEME_PKCS1, "SHA1", NULL},
        {"RSA_2048", KMS_SCHEME_PKCS1, "SHA224", NULL},
        {"RSA_2048", KMS_SCHEME_PKCS1, "SHA3-256", NULL},
        {"RSA_2048", KMS_SCHEME_PKCS1, "SHA2-512/256", NULL},
        {"RSA_2048", KMS_SCHEME_PKCS1, "", NULL},
        {"RSA_2048", KMS_SCHEME_PKCS1, NULL, NULL},
        {"RSA_2048", KMS_SCHEME_PSS, "SHA256", "RSASSA_PSS_SHA_256"},
        {"RSA_2048", KMS_SCHEME_PSS, "SHA1", NULL},
        {"RSA_2048", KMS_SCHEME_OAEP, "SHA1", "RSAES_OAEP_SHA_1"},
        {"RSA_2048", KMS_SCHEME_OAEP, "SHA-256", "RSAES_OAEP_SHA_256"},
        {"RSA_2048", KMS_SCHEME_OAEP, "SHA384", NULL},
        {"RSA_2048", KMS_SCHEME_ECDSA, "SHA256", NULL},
        {"ECC_NIST_P256", KMS_SCHEME_ECDSA, "SHA256", "ECDSA_SHA_256"},
        {"ECC_NIST_P256", KMS_SCHEME_ECDSA, "SHA384", NULL},
        {"ECC_NIST_P384", KMS_SCHEME_ECDSA, "SHA384", "ECDSA_SHA_384"},
        {"ECC_NIST_P521", KMS_SCHEME_ECDSA, "SHA512", "ECDSA_SHA_512"},
        {"ECC_NIST_P521", KMS_SCHEME_ECDSA, "SHA256", NULL},
        {"ECC_SECG_P256K1", KMS_SCHEME_ECDSA, "SHA256", "ECDSA_SHA_256"},
        {"ECC_NIST_P256", KMS_SCHEME_ECDH, NULL, "ECDH"},
        {"ECC_NIST_P256", KMS_SCHEME_EDDSA, NULL, NULL},
        {"ECC_NIST_EDWARDS25519", KMS_SCHEME_EDDSA, NULL, "ED25519_SHA_512"},
        {"ECC_NIST_EDWARDS25519", KMS_SCHEME_EDDSA, "SHA512", NULL},
        {"ECC_NIST_EDWARDS25519", KMS_SCHEME_ECDSA, "SHA256", NULL},
        {"HMAC_384", KMS_SCHEME_HMAC, "SHA384", "HMAC_SHA_384"},
        {"HMAC_384", KMS_SCHEME_HMAC, "SHA256", NULL},
#if KMS_OPENSSL_3_5
        {"ML_DSA_44", KMS_SCHEME_ML_DSA, NULL, "ML_DSA_SHAKE_256"},
        {"ML_DSA_87", KMS_SCHEME_ML_DSA, NULL, "ML_DSA_SHAKE_256"},
        {"ML_DSA_65", KMS_SCHEME_ML_DSA, "SHA256", NULL},
        {"ML_DSA_65", KMS_SCHEME_ML_KEM, NULL, NULL},
        {"ML_DSA_65", KMS_SCHEME_EDDSA, NULL, NULL},
        {"ML_KEM_768", KMS_SCHEME_ML_KEM, NULL, "ML_KEM"},
        {"ML_KEM_768", KMS_SCHEME_ML_DSA, NULL, NULL},
        {"ECC_NIST_EDWARDS25519", KMS_SCHEME_ML_DSA, NULL, NULL},
#endif
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const kms_key_spec_row *spec = kms_key_spec_find(rows[i].spec);
        const kms_algorithm *found = kms_algorithm_find(spec, rows[i].scheme, rows[i].digest);
        if ((found == NULL) != (rows[i].algorithm == NULL) ||
            (found != NULL && strcmp(found->name, rows[i].algorithm) != 0))
            fail_msg("%s with %s: %s", rows[i].spec, rows[i].digest != NULL ? rows[i].digest : "-",
                     found != NULL ? found->name : "none");
    }
}

static void the_algorithms_of_a_key_can_be_counted(void **state)
{
    static const struct {
        const char *spec;
        kms_scheme scheme;
        size_t count;
    } rows[] = {
        {"RSA_2048", KMS_SCHEME_PKCS1, 3},      {"RSA_2048", KMS_SCHEME_PSS, 3},
        {"RSA_2048", KMS_SCHEME_OAEP, 2},       {"RSA_2048", KMS_SCHEME_ECDH, 0},
        {"ECC_NIST_P384", KMS_SCHEME_ECDSA, 1}, {"ECC_NIST_EDWARDS25519", KMS_SCHEME_EDDSA, 1},
        {"HMAC_512", KMS_SCHEME_HMAC, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const kms_key_spec_row *spec = kms_key_spec_find(rows[i].spec);
        const kms_algorithm *algorithm;
        size_t n = 0;
        for (; (algorithm = kms_algorithm_at(spec, rows[i].scheme, n)) != NULL; n++)
            assert_ptr_equal(kms_algorithm_find(spec, rows[i].scheme, algorithm->digest),
                             algorithm);
        assert_int_equal(n, rows[i].count);
    }
}

static void digest_sizes_are_those_of_openssl(void **state)
{
    const kms_key_spec_row *row;
    const kms_algorithm *algorithm;

    (void)state;
    for (size_t i = 0; (row = kms_key_spec_at(i)) != NULL; i++)
        for (kms_scheme scheme = KMS_SCHEME_PKCS1; scheme <= KMS_SCHEME_HMAC; scheme++)
            for (size_t n = 0; (algorithm = kms_algorithm_at(row, scheme, n)) != NULL; n++) {
                EVP_MD *md =
                    algorithm->digest != NULL ? EVP_MD_fetch(NULL, algorithm->digest, NULL) : NULL;
                assert_int_equal(md != NULL, algorithm->digest != NULL);
                assert_int_equal(algorithm->digest_len, md != NULL ? EVP_MD_get_size(md) : 0);
                EVP_MD_free(md);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_spec_is_found_by_its_name_alone),
        cmocka_unit_test(each_spec_has_the_algorithms_that_kms_lists_for_it),
        cmocka_unit_test(the_algorithms_of_a_key_can_be_counted),
        cmocka_unit_test(digest_sizes_are_those_of_openssl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
