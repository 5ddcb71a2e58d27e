/* Key references come from files. The input is read as DER by core, and as PEM or DER by OpenSSL
 * with the provider's decoders, as every program reads a key file. Nothing here may need the
 * network. */
#include "core/digest_info.h"
#include "core/reference.h"

#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static OSSL_LIB_CTX *opened(void)
{
    static OSSL_LIB_CTX *libctx;

    if (libctx == NULL) {
        setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1", 1);
        setenv("KMS_PROVIDER_LOG", "off", 1);
        libctx = OSSL_LIB_CTX_new();
        if (libctx == NULL || !OSSL_PROVIDER_set_default_search_path(libctx, KMS_MODULES) ||
            OSSL_PROVIDER_load(libctx, "default") == NULL ||
            OSSL_PROVIDER_load(libctx, "kms") == NULL)
            abort();
    }
    return libctx;
}

/* What was read is written and read again as the same. */
static void read_reference(kms_bytes der)
{
    kms_reference reference, again;
    kms_buffer written = {0};

    if (kms_reference_read(der, &reference, NULL) != KMS_OK) {
        if (reference.arn != NULL || reference.spki.data != NULL || reference.context != NULL)
            abort(); /* the contract: empty after an error */
        return;
    }
    if (kms_reference_write(&reference, &written, NULL) != KMS_OK ||
        kms_reference_read((kms_bytes){written.data, written.len}, &again, NULL) != KMS_OK ||
        strcmp(again.arn, reference.arn) != 0 || again.spki.len != reference.spki.len ||
        kms_context_count(again.context) != kms_context_count(reference.context))
        abort();
    kms_reference_clear(&again);
    kms_buffer_clear(&written);
    kms_reference_clear(&reference);
}

/* A key of KMS prints, and is written as what makes the same key. */
static void use(EVP_PKEY *key, OSSL_LIB_CTX *libctx)
{
    BIO *out = BIO_new(BIO_s_mem());
    EVP_PKEY *again;

    if (strcmp(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(key)), "kms") == 0) {
        if (PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) != 1)
            abort();
        again = PEM_read_bio_PrivateKey_ex(out, NULL, NULL, NULL, libctx, NULL);
        if (again == NULL || EVP_PKEY_eq(key, again) != 1)
            abort();
        EVP_PKEY_free(again);
        EVP_PKEY_print_private(out, key, 0, NULL);
    }
    BIO_free(out);
}

static void decode(const uint8_t *data, size_t size, const char *form)
{
    OSSL_LIB_CTX *libctx = opened();
    EVP_PKEY *key = NULL;
    OSSL_DECODER_CTX *ctx = OSSL_DECODER_CTX_new_for_pkey(&key, form, NULL, NULL, 0, libctx, NULL);

    if (ctx != NULL && OSSL_DECODER_from_data(ctx, &data, &size) == 1 && key != NULL)
        use(key, libctx);
    EVP_PKEY_free(key);
    OSSL_DECODER_CTX_free(ctx);
    ERR_clear_error();
}

static void read_digest_info(kms_bytes der)
{
    kms_bytes digest = {0};
    const kms_algorithm *algorithm =
        kms_digest_info_read(kms_key_spec_find("RSA_2048"), der, &digest);

    if (algorithm != NULL &&
        (digest.len != algorithm->digest_len || digest.data + digest.len != der.data + der.len))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_reference((kms_bytes){data, size});
    read_digest_info((kms_bytes){data, size});
    decode(data, size, "DER");
    decode(data, size, "PEM");
    return 0;
}
