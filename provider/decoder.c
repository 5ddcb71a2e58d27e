/* Decoders of key references (core/reference.h), in the two steps that OpenSSL's file store needs:
 * PEM to DER, for a block with our label, and DER to a key object. Every PEM and DER file that the
 * application reads passes here, so input that isn't ours is left alone without an error; one with
 * our label that is damaged is an error. */
#include "include/kms/kms_provider.h"
#include "provider/provider.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#define STRUCTURE KMS_PROVIDER_REFERENCE_STRUCTURE
#define BEGIN     "-----BEGIN "
#define END       "-----END "
#define LINE_MAX_ 1024
#define PEM_MAX   (KMS_REFERENCE_MAX * 2)

static OSSL_FUNC_decoder_newctx_fn decoder_newctx;
static OSSL_FUNC_decoder_freectx_fn decoder_freectx;
static OSSL_FUNC_decoder_does_selection_fn decoder_does_selection;
static OSSL_FUNC_decoder_decode_fn decode_pem;
static OSSL_FUNC_decoder_decode_fn decode_der;

static void *decoder_newctx(void *provider)
{
    return provider;
}

static void decoder_freectx(void *ctx)
{
    (void)ctx;
}

static int decoder_does_selection(void *provider, int selection)
{
    (void)provider;
    (void)selection;
    return 1; /* a reference stands for the whole key */
}

/* --- PEM to DER --- */

/* The first PEM block of the input, if it has our label: its text, lines and all, in memory. False:
 * it isn't ours. Reads no further than the block, since more may follow it. */
static bool read_block(const kms_provider *provider, OSSL_CORE_BIO *in, BIO *text)
{
    char line[LINE_MAX_];
    bool ours = false;
    size_t total = 0;

    while (total < PEM_MAX && provider->bio_gets(in, line, sizeof(line)) > 0) {
        total += strlen(line);
        if (!ours && strncmp(line, BEGIN, strlen(BEGIN)) == 0) {
            if (strncmp(line + strlen(BEGIN), KMS_REFERENCE_PEM_LABEL "-----",
                        strlen(KMS_REFERENCE_PEM_LABEL "-----")) != 0)
                return false;
            ours = true;
        }
        if (ours && BIO_puts(text, line) <= 0)
            return false;
        if (ours && strncmp(line, END, strlen(END)) == 0)
            return true;
    }
    return ours;
}

/* The bytes inside of the block's text; released with OPENSSL_free. */
static bool decode_block(BIO *text, kms_buffer *der)
{
    char *name = NULL, *header = NULL;
    unsigned char *data = NULL;
    long len = 0;
    bool ok;

    ERR_set_mark();
    ok = PEM_read_bio(text, &name, &header, &data, &len) == 1 && len > 0;
    ERR_pop_to_mark();
    OPENSSL_free(name);
    OPENSSL_free(header);
    *der = (kms_buffer){data, ok ? (size_t)len : 0};
    return ok;
}

/* Passes the bytes on, with what OpenSSL has to know to find the decoder of the second step. */
static int pass_der(const kms_buffer *der, const char *type, OSSL_CALLBACK *callback, void *arg)
{
    int object_type = OSSL_OBJECT_PKEY;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &object_type),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, (char *)(uintptr_t)type, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE,
                                         (char *)(uintptr_t)STRUCTURE, 0),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA, der->data, der->len),
        OSSL_PARAM_construct_end(),
    };

    return callback(params, arg);
}

/* A reference's key. */
static kms_status key_of(const kms_provider *provider, const kms_reference *reference,
                         kms_key **key, kms_error *err)
{
    if (provider->client == NULL) {
        *err = provider->fault;
        return err->status;
    }
    return kms_client_key_of_reference(provider->client, reference, key, err);
}

static int decode_pem(void *data, OSSL_CORE_BIO *in, int selection, OSSL_CALLBACK *callback,
                      void *arg, OSSL_PASSPHRASE_CALLBACK *passphrase, void *passphrase_arg)
{
    const kms_provider *provider = data;
    BIO *text = provider->bio_gets != NULL ? BIO_new(BIO_s_mem()) : NULL;
    kms_buffer der = {0};
    kms_reference reference = {0};
    kms_key *key = NULL;
    kms_error err = {0};
    int ok = 1;

    (void)selection;
    (void)passphrase;
    (void)passphrase_arg;
    if (text != NULL && read_block(provider, in, text)) {
        if (!decode_block(text, &der))
            kms_fail(&err, KMS_E_KEY_REFERENCE, "its PEM block is not whole");
        else if (kms_reference_read((kms_bytes){der.data, der.len}, &reference, &err) == KMS_OK)
            key_of(provider, &reference, &key, &err);
        ok = key != NULL ? pass_der(&der, provider_key_type(key), callback, arg)
                         : provider_raise(provider, &err);
    }
    kms_key_free(key);
    kms_reference_clear(&reference);
    OPENSSL_free(der.data);
    BIO_free(text);
    return ok;
}

/* --- DER to key --- */

/* Everything, up to what a reference can have. False: it can't be one. */
static bool read_all(const kms_provider *provider, OSSL_CORE_BIO *in, kms_buffer *out)
{
    size_t got = 0;

    out->data = malloc(KMS_REFERENCE_MAX + 1);
    out->len = 0;
    if (out->data == NULL || provider->bio_read == NULL)
        return false;
    while (out->len <= KMS_REFERENCE_MAX &&
           provider->bio_read(in, out->data + out->len, KMS_REFERENCE_MAX + 1 - out->len, &got) &&
           got > 0)
        out->len += got;
    return out->len > 0 && out->len <= KMS_REFERENCE_MAX;
}

static int decode_der(void *data, OSSL_CORE_BIO *in, int selection, OSSL_CALLBACK *callback,
                      void *arg, OSSL_PASSPHRASE_CALLBACK *passphrase, void *passphrase_arg)
{
    kms_provider *provider = data;
    kms_buffer der = {0};
    kms_reference reference = {0};
    kms_key *key = NULL;
    kms_error err = {0};
    provider_key *object;
    int ok = 1;

    (void)selection;
    (void)passphrase;
    (void)passphrase_arg;
    if (read_all(provider, in, &der) &&
        kms_reference_read((kms_bytes){der.data, der.len}, &reference, &err) == KMS_OK) {
        if (key_of(provider, &reference, &key, &err) == KMS_OK) {
            object = provider_key_new(provider, key, reference.context);
            reference.context = NULL;
            ok = object != NULL ? provider_key_give(object, callback, arg)
                                : provider_raise_status(provider, KMS_E_NO_MEMORY, "key");
        } else {
            ok = provider_raise(provider, &err);
        }
    }
    kms_reference_clear(&reference);
    kms_buffer_clear(&der);
    return ok;
}

#define FUNCTION(id, name)                                                                         \
    {                                                                                              \
        OSSL_FUNC_DECODER_##id, (void (*)(void))(name)                                             \
    }

const OSSL_DISPATCH provider_pem_decoder_functions[] = {
    FUNCTION(NEWCTX, decoder_newctx),
    FUNCTION(FREECTX, decoder_freectx),
    FUNCTION(DOES_SELECTION, decoder_does_selection),
    FUNCTION(DECODE, decode_pem),
    {0, NULL},
};

const OSSL_DISPATCH provider_der_decoder_functions[] = {
    FUNCTION(NEWCTX, decoder_newctx),
    FUNCTION(FREECTX, decoder_freectx),
    FUNCTION(DOES_SELECTION, decoder_does_selection),
    FUNCTION(DECODE, decode_der),
    {0, NULL},
};
