/* Encoders. PEM of a private key is a key reference; text tells about the key; public keys have
 * their usual forms. Every other form would hold the private material, which is in KMS alone: it is
 * refused with the reason, where OpenSSL would only say that it found no encoder. */
#include "provider/provider.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

static OSSL_FUNC_encoder_newctx_fn encoder_newctx;
static OSSL_FUNC_encoder_freectx_fn encoder_freectx;
static OSSL_FUNC_encoder_does_selection_fn does_any;
static OSSL_FUNC_encoder_does_selection_fn does_private;
static OSSL_FUNC_encoder_does_selection_fn does_public;
static OSSL_FUNC_encoder_encode_fn encode_text;
static OSSL_FUNC_encoder_encode_fn encode_reference;
static OSSL_FUNC_encoder_encode_fn encode_public_pem;
static OSSL_FUNC_encoder_encode_fn encode_public_der;
static OSSL_FUNC_encoder_encode_fn encode_refuse;

static void *encoder_newctx(void *provider)
{
    return provider;
}

static void encoder_freectx(void *ctx)
{
    (void)ctx;
}

static int does_any(void *provider, int selection)
{
    (void)provider;
    (void)selection;
    return 1;
}

/* Who names no structure gets the one that fits what is selected; 0 selects what there is. */
static int does_private(void *provider, int selection)
{
    (void)provider;
    return selection == 0 || (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0;
}

static int does_public(void *provider, int selection)
{
    (void)provider;
    return (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == OSSL_KEYMGMT_SELECT_PUBLIC_KEY;
}

/* The application's BIO reports its own errors. */
static int write_all(const kms_provider *provider, OSSL_CORE_BIO *out, const char *text, size_t len)
{
    size_t written = 0;

    while (len > 0) {
        if (provider->bio_write == NULL || !provider->bio_write(out, text, len, &written))
            return 0;
        text += written;
        len -= written;
    }
    return 1;
}

/* Gives the content of a memory BIO, and frees it. */
static int give(const kms_provider *provider, OSSL_CORE_BIO *out, BIO *memory)
{
    char *text = NULL;
    long len = BIO_get_mem_data(memory, &text);
    int ok = write_all(provider, out, text, len > 0 ? (size_t)len : 0);

    BIO_free(memory);
    return ok;
}

/* The KMS key of an object and an empty memory BIO, or 0 with the error raised. */
static int begin(const kms_provider *provider, const void *object, const kms_key **key, BIO **out)
{
    const provider_key *of = object;

    *out = NULL;
    if (of == NULL || of->key == NULL) {
        provider_raise_status(provider, KMS_E_KEY_MISSING, "the object holds no KMS key");
        return 0;
    }
    *key = of->key;
    *out = BIO_new(BIO_s_mem());
    if (*out == NULL)
        provider_raise_status(provider, KMS_E_NO_MEMORY, "encoded key");
    return *out != NULL;
}

static int encode_text(void *data, OSSL_CORE_BIO *out, const void *object,
                       const OSSL_PARAM abstract[], int selection,
                       OSSL_PASSPHRASE_CALLBACK *callback, void *arg)
{
    const kms_key *key;
    BIO *text;

    (void)abstract;
    (void)selection;
    (void)callback;
    (void)arg;
    if (!begin(data, object, &key, &text))
        return 0;
    BIO_printf(text, "KMS key, its material stays in KMS\nARN: %s\nKey spec: %s\n",
               kms_key_arn(key), kms_key_spec(key));
    if (kms_key_usage(key)[0] != '\0') /* a reference does not tell */
        BIO_printf(text, "Key usage: %s\n", kms_key_usage(key));
    BIO_printf(text, "Region: %s\n", kms_key_region(key));
    if (kms_key_public(key) != NULL)
        EVP_PKEY_print_public(text, kms_key_public(key), 0, NULL);
    return give(data, out, text);
}

static int encode_reference(void *data, OSSL_CORE_BIO *out, const void *object,
                            const OSSL_PARAM abstract[], int selection,
                            OSSL_PASSPHRASE_CALLBACK *callback, void *arg)
{
    const kms_key *key;
    kms_buffer der = {0};
    kms_error err = {0};
    BIO *pem;

    (void)abstract;
    (void)selection;
    (void)callback; /* there is nothing to encrypt */
    (void)arg;
    if (!begin(data, object, &key, &pem))
        return 0;
    const kms_reference reference = {
        .arn = (char *)(uintptr_t)kms_key_arn(key),
        .spki = {(uint8_t *)(uintptr_t)kms_key_spki(key).data, kms_key_spki(key).len},
        .context = ((const provider_key *)object)->context,
    };
    if (kms_reference_write(&reference, &der, &err) != KMS_OK) {
        BIO_free(pem);
        return provider_raise(data, &err);
    }
    BIO_printf(pem, "# Names a key in AWS KMS; holds no secret.\n# %s\n", reference.arn);
    PEM_write_bio(pem, KMS_REFERENCE_PEM_LABEL, "", der.data, (long)der.len);
    kms_buffer_clear(&der);
    return give(data, out, pem);
}

static int encode_public(void *data, OSSL_CORE_BIO *out, const void *object, bool as_pem)
{
    const kms_key *key;
    kms_bytes spki;
    BIO *text;

    if (!begin(data, object, &key, &text))
        return 0;
    spki = kms_key_spki(key);
    if (as_pem)
        PEM_write_bio(text, PEM_STRING_PUBLIC, "", spki.data, (long)spki.len);
    else
        BIO_write(text, spki.data, (int)spki.len);
    return give(data, out, text);
}

static int encode_public_pem(void *data, OSSL_CORE_BIO *out, const void *object,
                             const OSSL_PARAM abstract[], int selection,
                             OSSL_PASSPHRASE_CALLBACK *callback, void *arg)
{
    (void)abstract;
    (void)selection;
    (void)callback;
    (void)arg;
    return encode_public(data, out, object, true);
}

static int encode_public_der(void *data, OSSL_CORE_BIO *out, const void *object,
                             const OSSL_PARAM abstract[], int selection,
                             OSSL_PASSPHRASE_CALLBACK *callback, void *arg)
{
    (void)abstract;
    (void)selection;
    (void)callback;
    (void)arg;
    return encode_public(data, out, object, false);
}

static int encode_refuse(void *data, OSSL_CORE_BIO *out, const void *object,
                         const OSSL_PARAM abstract[], int selection,
                         OSSL_PASSPHRASE_CALLBACK *callback, void *arg)
{
    const provider_key *key = object;

    (void)out;
    (void)abstract;
    (void)selection;
    (void)callback;
    (void)arg;
    return provider_raise_status(data, KMS_E_NOT_EXPORTABLE,
                                 key != NULL && key->key != NULL ? kms_key_arn(key->key)
                                                                 : "no key");
}

#define FUNCTION(id, name)                                                                         \
    {                                                                                              \
        OSSL_FUNC_ENCODER_##id, (void (*)(void))(name)                                             \
    }

/* clang-format off */
#define ENCODER(name, does_selection, encode)                                                                      \
    const OSSL_DISPATCH name[] = {                                                                 \
        FUNCTION(NEWCTX, encoder_newctx),                                                          \
        FUNCTION(FREECTX, encoder_freectx),                                                        \
        FUNCTION(DOES_SELECTION, does_selection),                                                  \
        FUNCTION(ENCODE, encode),                                                                  \
        {0, NULL},                                                                                 \
    }
/* clang-format on */

ENCODER(provider_text_encoder_functions, does_any, encode_text);
ENCODER(provider_reference_encoder_functions, does_private, encode_reference);
ENCODER(provider_public_pem_encoder_functions, does_public, encode_public_pem);
ENCODER(provider_public_der_encoder_functions, does_public, encode_public_der);
ENCODER(provider_refusing_encoder_functions, does_any, encode_refuse);
