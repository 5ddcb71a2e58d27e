#include "spec.h"

#include <string.h>

#define ENCRYPT "ENCRYPT_DECRYPT"
#define SIGN    "SIGN_VERIFY"
#define AGREE   "KEY_AGREEMENT"
#define MAC     "GENERATE_VERIFY_MAC"
#define KEM     "ENCAPSULATE_DECAPSULATE"

/* clang-format off */
static const key_spec specs[] = {
    { "SYMMETRIC_DEFAULT",       SPEC_SYMMETRIC, 256,  NULL,        { ENCRYPT } },
    { "RSA_2048",                SPEC_RSA,       2048, NULL,        { ENCRYPT, SIGN } },
    { "RSA_3072",                SPEC_RSA,       3072, NULL,        { ENCRYPT, SIGN } },
    { "RSA_4096",                SPEC_RSA,       4096, NULL,        { ENCRYPT, SIGN } },
    { "ECC_NIST_P256",           SPEC_EC,        256,  "P-256",     { SIGN, AGREE } },
    { "ECC_NIST_P384",           SPEC_EC,        384,  "P-384",     { SIGN, AGREE } },
    { "ECC_NIST_P521",           SPEC_EC,        521,  "P-521",     { SIGN, AGREE } },
    { "ECC_SECG_P256K1",         SPEC_EC,        256,  "secp256k1", { SIGN } },
    { "ECC_NIST_EDWARDS25519",   SPEC_ED25519,   255,  NULL,        { SIGN } },
    { "HMAC_224",                SPEC_HMAC,      224,  NULL,        { MAC } },
    { "HMAC_256",                SPEC_HMAC,      256,  NULL,        { MAC } },
    { "HMAC_384",                SPEC_HMAC,      384,  NULL,        { MAC } },
    { "HMAC_512",                SPEC_HMAC,      512,  NULL,        { MAC } },
    { "ML_DSA_44",               SPEC_ML_DSA,    0,    "ML-DSA-44", { SIGN } },
    { "ML_DSA_65",               SPEC_ML_DSA,    0,    "ML-DSA-65", { SIGN } },
    { "ML_DSA_87",               SPEC_ML_DSA,    0,    "ML-DSA-87", { SIGN } },
    { "ML_KEM_512",              SPEC_ML_KEM,    0,    "ML-KEM-512",  { KEM } },
    { "ML_KEM_768",              SPEC_ML_KEM,    0,    "ML-KEM-768",  { KEM } },
    { "ML_KEM_1024",             SPEC_ML_KEM,    0,    "ML-KEM-1024", { KEM } },
};

static const algorithm algorithms[] = {
    { "SYMMETRIC_DEFAULT",         "EncryptionAlgorithms",   ENCRYPT, SPEC_SYMMETRIC, NULL, NULL, false },
    { "RSAES_OAEP_SHA_1",          "EncryptionAlgorithms",   ENCRYPT, SPEC_RSA, NULL, "SHA1",     false },
    { "RSAES_OAEP_SHA_256",        "EncryptionAlgorithms",   ENCRYPT, SPEC_RSA, NULL, "SHA2-256", false },
    { "RSASSA_PKCS1_V1_5_SHA_256", "SigningAlgorithms",      SIGN, SPEC_RSA, NULL, "SHA2-256", false },
    { "RSASSA_PKCS1_V1_5_SHA_384", "SigningAlgorithms",      SIGN, SPEC_RSA, NULL, "SHA2-384", false },
    { "RSASSA_PKCS1_V1_5_SHA_512", "SigningAlgorithms",      SIGN, SPEC_RSA, NULL, "SHA2-512", false },
    { "RSASSA_PSS_SHA_256",        "SigningAlgorithms",      SIGN, SPEC_RSA, NULL, "SHA2-256", true },
    { "RSASSA_PSS_SHA_384",        "SigningAlgorithms",      SIGN, SPEC_RSA, NULL, "SHA2-384", true },
    { "RSASSA_PSS_SHA_512",        "SigningAlgorithms",      SIGN, SPEC_RSA, NULL, "SHA2-512", true },
    { "ECDSA_SHA_256",             "SigningAlgorithms",      SIGN, SPEC_EC, "ECC_NIST_P256",   "SHA2-256", false },
    { "ECDSA_SHA_256",             "SigningAlgorithms",      SIGN, SPEC_EC, "ECC_SECG_P256K1", "SHA2-256", false },
    { "ECDSA_SHA_384",             "SigningAlgorithms",      SIGN, SPEC_EC, "ECC_NIST_P384",   "SHA2-384", false },
    { "ECDSA_SHA_512",             "SigningAlgorithms",      SIGN, SPEC_EC, "ECC_NIST_P521",   "SHA2-512", false },
    { "ED25519_SHA_512",           "SigningAlgorithms",      SIGN, SPEC_ED25519, NULL, NULL, false },
    { "ECDH",                      "KeyAgreementAlgorithms", AGREE, SPEC_EC, NULL, NULL, false },
    { "HMAC_SHA_224",              "MacAlgorithms",          MAC, SPEC_HMAC, "HMAC_224", "SHA2-224", false },
    { "HMAC_SHA_256",              "MacAlgorithms",          MAC, SPEC_HMAC, "HMAC_256", "SHA2-256", false },
    { "HMAC_SHA_384",              "MacAlgorithms",          MAC, SPEC_HMAC, "HMAC_384", "SHA2-384", false },
    { "HMAC_SHA_512",              "MacAlgorithms",          MAC, SPEC_HMAC, "HMAC_512", "SHA2-512", false },
    { "ML_DSA_SHAKE_256",          "SigningAlgorithms",      SIGN, SPEC_ML_DSA, NULL, NULL, false },
    { "ML_KEM",                    "EncapsulationAlgorithms", KEM, SPEC_ML_KEM, NULL, NULL, false },
};
/* clang-format on */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const key_spec *spec_find(const char *name)
{
    for (size_t i = 0; i < COUNT(specs); i++)
        if (strcmp(specs[i].name, name) == 0)
            return &specs[i];
    return NULL;
}

bool algorithm_fits(const algorithm *a, const key_spec *spec)
{
    return a->kind == spec->kind && (a->spec == NULL || strcmp(a->spec, spec->name) == 0);
}

const algorithm *algorithm_find(const char *name, const char *usage)
{
    for (size_t i = 0; i < COUNT(algorithms); i++)
        if (strcmp(algorithms[i].name, name) == 0 && strcmp(algorithms[i].usage, usage) == 0)
            return &algorithms[i];
    return NULL;
}

const algorithm *algorithm_at(const key_spec *spec, const char *usage, size_t index)
{
    for (size_t i = 0; i < COUNT(algorithms); i++)
        if (algorithm_fits(&algorithms[i], spec) && strcmp(algorithms[i].usage, usage) == 0 &&
            index-- == 0)
            return &algorithms[i];
    return NULL;
}
