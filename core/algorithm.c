#include "core/algorithm.h"

#include <string.h>
#include <strings.h>

/* clang-format off */
static const kms_key_spec_row specs[] = {
    /* spec                    type       group         bits */
    { "RSA_2048",              "RSA",     NULL,         2048 },
    { "RSA_3072",              "RSA",     NULL,         3072 },
    { "RSA_4096",              "RSA",     NULL,         4096 },
    { "ECC_NIST_P256",         "EC",      "prime256v1", 256 },
    { "ECC_NIST_P384",         "EC",      "secp384r1",  384 },
    { "ECC_NIST_P521",         "EC",      "secp521r1",  521 },
    { "ECC_SECG_P256K1",       "EC",      "secp256k1",  256 },
    { "ECC_NIST_EDWARDS25519", "ED25519", NULL,         256 },
    { "HMAC_224",              "HMAC",    NULL,         224 },
    { "HMAC_256",              "HMAC",    NULL,         256 },
    { "HMAC_384",              "HMAC",    NULL,         384 },
    { "HMAC_512",              "HMAC",    NULL,         512 },
#if KMS_OPENSSL_3_5
    { "ML_DSA_44",             "ML-DSA-44",   NULL,     8 * 1312 },
    { "ML_DSA_65",             "ML-DSA-65",   NULL,     8 * 1952 },
    { "ML_DSA_87",             "ML-DSA-87",   NULL,     8 * 2592 },
    { "ML_KEM_512",            "ML-KEM-512",  NULL,     512 },
    { "ML_KEM_768",            "ML-KEM-768",  NULL,     768 },
    { "ML_KEM_1024",           "ML-KEM-1024", NULL,     1024 },
#endif
};

static const kms_algorithm algorithms[] = {
    /* algorithm                   scheme             digest      bytes bits */
    { "RSASSA_PKCS1_V1_5_SHA_256", KMS_SCHEME_PKCS1,  "SHA2-256", 32,   0 },
    { "RSASSA_PKCS1_V1_5_SHA_384", KMS_SCHEME_PKCS1,  "SHA2-384", 48,   0 },
    { "RSASSA_PKCS1_V1_5_SHA_512", KMS_SCHEME_PKCS1,  "SHA2-512", 64,   0 },
    { "RSASSA_PSS_SHA_256",        KMS_SCHEME_PSS,    "SHA2-256", 32,   0 },
    { "RSASSA_PSS_SHA_384",        KMS_SCHEME_PSS,    "SHA2-384", 48,   0 },
    { "RSASSA_PSS_SHA_512",        KMS_SCHEME_PSS,    "SHA2-512", 64,   0 },
    { "ECDSA_SHA_256",             KMS_SCHEME_ECDSA,  "SHA2-256", 32,   256 },
    { "ECDSA_SHA_384",             KMS_SCHEME_ECDSA,  "SHA2-384", 48,   384 },
    { "ECDSA_SHA_512",             KMS_SCHEME_ECDSA,  "SHA2-512", 64,   521 },
    { "ED25519_SHA_512",           KMS_SCHEME_EDDSA,  NULL,       0,    0 },
    { "RSAES_OAEP_SHA_1",          KMS_SCHEME_OAEP,   "SHA1",     20,   0 },
    { "RSAES_OAEP_SHA_256",        KMS_SCHEME_OAEP,   "SHA2-256", 32,   0 },
    { "ECDH",                      KMS_SCHEME_ECDH,   NULL,       0,    0 },
    { "HMAC_SHA_224",              KMS_SCHEME_HMAC,   "SHA2-224", 28,   224 },
    { "HMAC_SHA_256",              KMS_SCHEME_HMAC,   "SHA2-256", 32,   256 },
    { "HMAC_SHA_384",              KMS_SCHEME_HMAC,   "SHA2-384", 48,   384 },
    { "HMAC_SHA_512",              KMS_SCHEME_HMAC,   "SHA2-512", 64,   512 },
    { "ML_DSA_SHAKE_256",          KMS_SCHEME_ML_DSA, NULL,       64,   0 },
    { "ML_KEM",                    KMS_SCHEME_ML_KEM, NULL,       0,    0 },
};

/* The type of key that each scheme works with, or how the names of its types begin. */
static const char *const types[] = {
    [KMS_SCHEME_PKCS1] = "RSA",      [KMS_SCHEME_PSS] = "RSA",        [KMS_SCHEME_ECDSA] = "EC",
    [KMS_SCHEME_EDDSA] = "ED25519",  [KMS_SCHEME_OAEP] = "RSA",       [KMS_SCHEME_ECDH] = "EC",
    [KMS_SCHEME_HMAC] = "HMAC",      [KMS_SCHEME_ML_DSA] = "ML-DSA-", [KMS_SCHEME_ML_KEM] = "ML-KEM-",
};

/* Other names that OpenSSL and its users have for the digests. */
static const struct {
    const char *name, *other;
} digest_names[] = {
    { "SHA1", "SHA-1" },       { "SHA1", "SSL3-SHA1" },
    { "SHA2-224", "SHA224" },  { "SHA2-224", "SHA-224" },
    { "SHA2-256", "SHA256" },  { "SHA2-256", "SHA-256" },
    { "SHA2-384", "SHA384" },  { "SHA2-384", "SHA-384" },
    { "SHA2-512", "SHA512" },  { "SHA2-512", "SHA-512" },
};
/* clang-format on */

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

const kms_key_spec_row *kms_key_spec_find(const char *name)
{
    for (size_t i = 0; i < COUNT(specs); i++)
        if (strcmp(specs[i].name, name) == 0)
            return &specs[i];
    return NULL;
}

const kms_key_spec_row *kms_key_spec_at(size_t n)
{
    return n < COUNT(specs) ? &specs[n] : NULL;
}

static bool is_digest(const char *digest, const char *name)
{
    if (digest == NULL || name == NULL)
        return digest == name;
    if (strcasecmp(digest, name) == 0)
        return true;
    for (size_t i = 0; i < COUNT(digest_names); i++)
        if (strcmp(digest_names[i].name, digest) == 0 &&
            strcasecmp(digest_names[i].other, name) == 0)
            return true;
    return false;
}

static bool fits(const kms_algorithm *algorithm, const kms_key_spec_row *spec, kms_scheme scheme)
{
    return algorithm->scheme == scheme &&
           strncmp(types[scheme], spec->type, strlen(types[scheme])) == 0 &&
           (algorithm->bits == 0 || algorithm->bits == spec->bits);
}

const kms_algorithm *kms_algorithm_find(const kms_key_spec_row *spec, kms_scheme scheme,
                                        const char *digest)
{
    for (size_t i = 0; i < COUNT(algorithms); i++)
        if (fits(&algorithms[i], spec, scheme) && is_digest(algorithms[i].digest, digest))
            return &algorithms[i];
    return NULL;
}

const kms_algorithm *kms_algorithm_at(const kms_key_spec_row *spec, kms_scheme scheme, size_t n)
{
    for (size_t i = 0; i < COUNT(algorithms); i++)
        if (fits(&algorithms[i], spec, scheme) && n-- == 0)
            return &algorithms[i];
    return NULL;
}
