/* Entry point of the provider: what OpenSSL asks first, and the table of operations. Making the
 * provider reads the configuration and nothing else: no connection, no libcurl.
 *
 * A configuration that is refused does not fail the making: while OpenSSL loads openssl.cnf it
 * drops such errors, and a program would then hear no more than that there is no scheme "kms".
 * Instead each use of the provider is refused, with the reason. */
#include "core/exit.h"
#include "include/kms/kms_provider.h"
#include "provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <stdlib.h>
#include <string.h>

#define PROPERTIES "provider=kms"
#define RSA_NAMES  "RSA:rsaEncryption:1.2.840.113549.1.1.1"
#define ML_DSA_44  "ML-DSA-44:MLDSA44:id-ml-dsa-44:2.16.840.1.101.3.4.3.17"
#define ML_DSA_65  "ML-DSA-65:MLDSA65:id-ml-dsa-65:2.16.840.1.101.3.4.3.18"
#define ML_DSA_87  "ML-DSA-87:MLDSA87:id-ml-dsa-87:2.16.840.1.101.3.4.3.19"

static const OSSL_ALGORITHM keymgmts[] = {
    {KMS_PROVIDER_KEY_TYPE, PROPERTIES, provider_kms_keymgmt_functions, "opaque symmetric KMS key"},
    {KMS_PROVIDER_HMAC_TYPE, PROPERTIES, provider_hmac_keymgmt_functions, "HMAC key in KMS"},
    {RSA_NAMES, PROPERTIES, provider_rsa_keymgmt_functions, "RSA key in KMS"},
    {"EC:id-ecPublicKey:1.2.840.10045.2.1", PROPERTIES, provider_ec_keymgmt_functions,
     "EC key in KMS"},
    {"ED25519:1.3.101.112", PROPERTIES, provider_ed25519_keymgmt_functions, "Ed25519 key in KMS"},
#if KMS_OPENSSL_3_5
    {ML_DSA_44, PROPERTIES, provider_mldsa44_keymgmt_functions, "ML-DSA-44 key in KMS"},
    {ML_DSA_65, PROPERTIES, provider_mldsa65_keymgmt_functions, "ML-DSA-65 key in KMS"},
    {ML_DSA_87, PROPERTIES, provider_mldsa87_keymgmt_functions, "ML-DSA-87 key in KMS"},
    {KMS_PROVIDER_ML_KEM_TYPE, PROPERTIES, provider_mlkem_keymgmt_functions, "ML-KEM key in KMS"},
#endif
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM asym_ciphers[] = {
    {KMS_PROVIDER_KEY_TYPE, PROPERTIES, provider_kms_asym_cipher_functions, "wrap by KMS"},
    {RSA_NAMES, PROPERTIES, provider_rsa_asym_cipher_functions, "RSA encryption by KMS"},
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM exchanges[] = {
    {"ECDH", PROPERTIES, provider_exchange_functions, "ECDH by KMS"},
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM macs[] = {
    {KMS_PROVIDER_HMAC_TYPE, PROPERTIES, provider_mac_functions, "HMAC by KMS"},
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM rands[] = {
    {KMS_PROVIDER_RAND, PROPERTIES, provider_rand_functions, "random bytes by KMS"},
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM kems[] = {
    {KMS_PROVIDER_KEY_TYPE, PROPERTIES, provider_kem_functions, "data keys by KMS"},
#if KMS_OPENSSL_3_5
    {KMS_PROVIDER_ML_KEM_TYPE, PROPERTIES, provider_mlkem_functions, "ML-KEM by KMS"},
#endif
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM signatures[] = {
    {RSA_NAMES, PROPERTIES, provider_rsa_signature_functions, "RSA signatures by KMS"},
    {"ECDSA", PROPERTIES, provider_ecdsa_functions, "ECDSA by KMS"},
    {"ED25519:1.3.101.112", PROPERTIES, provider_eddsa_functions, "Ed25519 by KMS"},
    {KMS_PROVIDER_HMAC_TYPE, PROPERTIES, provider_mac_signature_functions, "HMAC by KMS"},
#if KMS_OPENSSL_3_5
    {ML_DSA_44, PROPERTIES, provider_mldsa_functions, "ML-DSA-44 by KMS"},
    {ML_DSA_65, PROPERTIES, provider_mldsa_functions, "ML-DSA-65 by KMS"},
    {ML_DSA_87, PROPERTIES, provider_mldsa_functions, "ML-DSA-87 by KMS"},
#endif
    {NULL, NULL, NULL, NULL},
};
#if KMS_OPENSSL_3_5
static const OSSL_ALGORITHM skeymgmts[] = {
    {KMS_PROVIDER_AES_TYPE, PROPERTIES, provider_skeymgmt_functions, "AES data key wrapped by KMS"},
    {NULL, NULL, NULL, NULL},
};
#endif
static const OSSL_ALGORITHM stores[] = {
    {"kms", PROPERTIES, provider_store_functions, "KMS keys by address"},
    {NULL, NULL, NULL, NULL},
};

/* Private keys as PEM are references; as anything else they would be the material. */
#define ENCODERS(type)                                                                             \
    {type, PROPERTIES ",output=text", provider_text_encoder_functions, "facts of a KMS key"},      \
        {type, PROPERTIES ",output=pem,structure=PrivateKeyInfo",                                  \
         provider_reference_encoder_functions, "key reference"},                                   \
    {                                                                                              \
        type, PROPERTIES ",output=der,structure=PrivateKeyInfo",                                   \
            provider_refusing_encoder_functions, "refusal"                                         \
    }

#define PUBLIC_ENCODERS(type)                                                                      \
    {type, PROPERTIES ",output=pem,structure=SubjectPublicKeyInfo",                                \
     provider_public_pem_encoder_functions, "public half"},                                        \
    {                                                                                              \
        type, PROPERTIES ",output=der,structure=SubjectPublicKeyInfo",                             \
            provider_public_der_encoder_functions, "public half"                                   \
    }

static const OSSL_ALGORITHM encoders[] = {
    ENCODERS(KMS_PROVIDER_KEY_TYPE),
    {KMS_PROVIDER_KEY_TYPE, PROPERTIES ",output=pem,structure=SubjectPublicKeyInfo",
     provider_refusing_encoder_functions, "refusal"},
    {KMS_PROVIDER_KEY_TYPE, PROPERTIES ",output=der,structure=SubjectPublicKeyInfo",
     provider_refusing_encoder_functions, "refusal"},
    ENCODERS(KMS_PROVIDER_HMAC_TYPE),
    {KMS_PROVIDER_HMAC_TYPE, PROPERTIES ",output=pem,structure=SubjectPublicKeyInfo",
     provider_refusing_encoder_functions, "refusal"},
    {KMS_PROVIDER_HMAC_TYPE, PROPERTIES ",output=der,structure=SubjectPublicKeyInfo",
     provider_refusing_encoder_functions, "refusal"},
    ENCODERS("RSA"),
    PUBLIC_ENCODERS("RSA"),
    ENCODERS("EC"),
    PUBLIC_ENCODERS("EC"),
    ENCODERS("ED25519"),
    PUBLIC_ENCODERS("ED25519"),
#if KMS_OPENSSL_3_5
    ENCODERS("ML-DSA-44"),
    PUBLIC_ENCODERS("ML-DSA-44"),
    ENCODERS("ML-DSA-65"),
    PUBLIC_ENCODERS("ML-DSA-65"),
    ENCODERS("ML-DSA-87"),
    PUBLIC_ENCODERS("ML-DSA-87"),
    ENCODERS(KMS_PROVIDER_ML_KEM_TYPE),
    PUBLIC_ENCODERS(KMS_PROVIDER_ML_KEM_TYPE),
#endif
    {NULL, NULL, NULL, NULL},
};

#define DECODER(type)                                                                              \
    {                                                                                              \
        type, PROPERTIES ",input=der,structure=" KMS_PROVIDER_REFERENCE_STRUCTURE,                 \
            provider_der_decoder_functions, "key reference"                                        \
    }

static const OSSL_ALGORITHM decoders[] = {
    {"DER", PROPERTIES ",input=pem", provider_pem_decoder_functions, "key reference"},
    DECODER(KMS_PROVIDER_KEY_TYPE),
    DECODER(KMS_PROVIDER_HMAC_TYPE),
    DECODER("RSA"),
    DECODER("EC"),
    DECODER("ED25519"),
#if KMS_OPENSSL_3_5
    DECODER("ML-DSA-44"),
    DECODER("ML-DSA-65"),
    DECODER("ML-DSA-87"),
    DECODER(KMS_PROVIDER_ML_KEM_TYPE),
#endif
    {NULL, NULL, NULL, NULL},
};

static OSSL_FUNC_provider_teardown_fn teardown;
static OSSL_FUNC_provider_gettable_params_fn gettable_params;
static OSSL_FUNC_provider_get_params_fn get_params;
static OSSL_FUNC_provider_query_operation_fn query_operation;
static OSSL_FUNC_provider_get_reason_strings_fn get_reason_strings;

static const OSSL_ALGORITHM *query_operation(void *provider, int operation, int *no_cache)
{
    (void)provider;
    *no_cache = 0;
    switch (operation) {
    case OSSL_OP_KEYMGMT:
        return keymgmts;
    case OSSL_OP_ASYM_CIPHER:
        return asym_ciphers;
    case OSSL_OP_KEYEXCH:
        return exchanges;
    case OSSL_OP_MAC:
        return macs;
    case OSSL_OP_RAND:
        return rands;
    case OSSL_OP_CIPHER:
        return provider_ciphers;
    case OSSL_OP_SIGNATURE:
        return signatures;
    case OSSL_OP_KEM:
        return kems;
#if KMS_OPENSSL_3_5
    case OSSL_OP_SKEYMGMT:
        return skeymgmts;
#endif
    case OSSL_OP_STORE:
        return stores;
    case OSSL_OP_ENCODER:
        return encoders;
    case OSSL_OP_DECODER:
        return decoders;
    default:
        return NULL;
    }
}

static const OSSL_PARAM *gettable_params(void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_NAME, NULL, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_VERSION, NULL, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_BUILDINFO, NULL, 0),
        OSSL_PARAM_int(OSSL_PROV_PARAM_STATUS, NULL),
        OSSL_PARAM_END,
    };

    (void)provider;
    return params;
}

static int get_params(void *data, OSSL_PARAM params[])
{
    const kms_provider *provider = data;
    OSSL_PARAM *p;

    if ((p = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_NAME)) != NULL &&
        !OSSL_PARAM_set_utf8_ptr(p, "AWS KMS keys, kept in the EU"))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_VERSION)) != NULL &&
        !OSSL_PARAM_set_utf8_ptr(p, KMS_VERSION))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_BUILDINFO)) != NULL &&
        !OSSL_PARAM_set_utf8_ptr(p, KMS_VERSION))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_STATUS)) != NULL &&
        !OSSL_PARAM_set_int(p, provider->client != NULL))
        return 0;
    return 1;
}

static const OSSL_ITEM *get_reason_strings(void *provider)
{
    static const OSSL_ITEM reasons[] = {
#define REASON(name, ckr, exit, sentence, remedy) {KMS_E_##name, (void *)(uintptr_t)(sentence)},
        KMS_ERROR_TABLE(REASON)
#undef REASON
            {0, NULL},
    };

    (void)provider;
    return reasons;
}

/* Teardown also runs inside OPENSSL_cleanup at process exit, when libssl may have been shut down
 * already: then nothing of libcurl is called, and the kernel closes the sockets. */
static kms_provider *abandoned; /* keeps what exit leaves reachable, so that leak checkers see it */

static void teardown(void *data)
{
    kms_provider *provider = data;

    if (provider->client != NULL && kms_exit_has_begun()) {
        kms_client_abandon(provider->client);
        provider->next = abandoned;
        abandoned = provider;
        return;
    }
    kms_client_close(provider->client);
    free(provider);
}

static const OSSL_DISPATCH provider_functions[] = {
    {OSSL_FUNC_PROVIDER_TEARDOWN, (void (*)(void))teardown},
    {OSSL_FUNC_PROVIDER_GETTABLE_PARAMS, (void (*)(void))gettable_params},
    {OSSL_FUNC_PROVIDER_GET_PARAMS, (void (*)(void))get_params},
    {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query_operation},
    {OSSL_FUNC_PROVIDER_GET_REASON_STRINGS, (void (*)(void))get_reason_strings},
    {0, NULL},
};

/* The settings in the provider's section of openssl.cnf, one by one through the core. */
typedef struct section {
    const OSSL_CORE_HANDLE *handle;
    OSSL_FUNC_core_get_params_fn *get_params;
} section;

static const char *lookup(void *arg, const char *name)
{
    const section *s = arg;
    char *value = NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_ptr(name, &value, 0),
        OSSL_PARAM_construct_end(),
    };

    if (s->get_params == NULL || !s->get_params(s->handle, params))
        return NULL;
    return value;
}

static void take_upcalls(kms_provider *provider, section *s, const OSSL_DISPATCH *in)
{
    for (; in->function_id != 0; in++) {
        switch (in->function_id) {
        case OSSL_FUNC_CORE_NEW_ERROR:
            provider->new_error = OSSL_FUNC_core_new_error(in);
            break;
        case OSSL_FUNC_CORE_VSET_ERROR:
            provider->vset_error = OSSL_FUNC_core_vset_error(in);
            break;
        case OSSL_FUNC_BIO_WRITE_EX:
            provider->bio_write = OSSL_FUNC_BIO_write_ex(in);
            break;
        case OSSL_FUNC_BIO_READ_EX:
            provider->bio_read = OSSL_FUNC_BIO_read_ex(in);
            break;
        case OSSL_FUNC_BIO_GETS:
            provider->bio_gets = OSSL_FUNC_BIO_gets(in);
            break;
        case OSSL_FUNC_CORE_GET_PARAMS:
            s->get_params = OSSL_FUNC_core_get_params(in);
            break;
        default:
            break;
        }
    }
}

__attribute__((visibility("default"))) int OSSL_provider_init(const OSSL_CORE_HANDLE *handle,
                                                              const OSSL_DISPATCH *in,
                                                              const OSSL_DISPATCH **out,
                                                              void **context)
{
    kms_provider *provider = calloc(1, sizeof(*provider));
    section settings = {.handle = handle};
    kms_config_given given = {.lookup = lookup, .arg = &settings};

    if (provider == NULL || !kms_exit_watch()) {
        free(provider);
        return 0;
    }
    provider->handle = handle;
    take_upcalls(provider, &settings, in);
    kms_client_open(&given, &provider->client, &provider->fault);
    provider_check_order(provider, in);
    *out = provider_functions;
    *context = provider;
    return 1;
}
