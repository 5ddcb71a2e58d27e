/* Encoders of the type KMS. The text form tells about the key; every other form would hold its
 * material, which is in KMS alone: it is refused with the reason, where OpenSSL would only say that
 * it found no encoder. */
#include "provider/provider.h"

#include <stdio.h>
#include <stdlib.h>

static OSSL_FUNC_encoder_newctx_fn encoder_newctx;
static OSSL_FUNC_encoder_freectx_fn encoder_freectx;
static OSSL_FUNC_encoder_does_selection_fn encoder_does_selection;
static OSSL_FUNC_encoder_encode_fn encode_text;
static OSSL_FUNC_encoder_encode_fn encode_refuse;

static void *encoder_newctx(void *provider)
{
    return provider;
}

static void encoder_freectx(void *ctx)
{
    (void)ctx;
}

static int encoder_does_selection(void *provider, int selection)
{
    (void)provider;
    (void)selection;
    return 1;
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

static int encode_text(void *data, OSSL_CORE_BIO *out, const void *object,
                       const OSSL_PARAM abstract[], int selection,
                       OSSL_PASSPHRASE_CALLBACK *callback, void *arg)
{
    const kms_provider *provider = data;
    const provider_key *key = object;
    char *text = NULL;
    int len, ok;

    (void)abstract;
    (void)selection;
    (void)callback;
    (void)arg;
    if (key == NULL || key->key == NULL)
        return provider_raise_status(provider, KMS_E_KEY_MISSING, "the object holds no KMS key");
    len = asprintf(&text,
                   "KMS key, its material stays in KMS\nARN: %s\nKey spec: %s\nKey usage: %s\n"
                   "Region: %s\n",
                   kms_key_arn(key->key), kms_key_spec(key->key), kms_key_usage(key->key),
                   kms_key_region(key->key));
    if (len < 0)
        return provider_raise_status(provider, KMS_E_NO_MEMORY, "text of a key");
    ok = write_all(provider, out, text, (size_t)len);
    free(text);
    return ok;
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

const OSSL_DISPATCH provider_text_encoder_functions[] = {
    FUNCTION(NEWCTX, encoder_newctx),
    FUNCTION(FREECTX, encoder_freectx),
    FUNCTION(DOES_SELECTION, encoder_does_selection),
    FUNCTION(ENCODE, encode_text),
    {0, NULL},
};

const OSSL_DISPATCH provider_refusing_encoder_functions[] = {
    FUNCTION(NEWCTX, encoder_newctx),
    FUNCTION(FREECTX, encoder_freectx),
    FUNCTION(DOES_SELECTION, encoder_does_selection),
    FUNCTION(ENCODE, encode_refuse),
    {0, NULL},
};
