#include "core/reference.h"

#include "core/algorithm.h"
#include "core/arn.h"

#include <openssl/asn1t.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 1

typedef struct asn1_pair {
    ASN1_UTF8STRING *name, *value;
} asn1_pair;

typedef struct asn1_reference {
    int32_t version;
    ASN1_UTF8STRING *arn;
    ASN1_OCTET_STRING *public_key;
    STACK_OF(asn1_pair) * context;
    ASN1_UTF8STRING *spec;
} asn1_reference;

DEFINE_STACK_OF(asn1_pair)
ASN1_SEQUENCE(asn1_pair) =
    {
        ASN1_SIMPLE(asn1_pair, name, ASN1_UTF8STRING),
        ASN1_SIMPLE(asn1_pair, value, ASN1_UTF8STRING),
} static_ASN1_SEQUENCE_END(asn1_pair)

        ASN1_SEQUENCE(asn1_reference) =
            {
                ASN1_EMBED(asn1_reference, version, INT32),
                ASN1_SIMPLE(asn1_reference, arn, ASN1_UTF8STRING),
                ASN1_EXP_OPT(asn1_reference, public_key, ASN1_OCTET_STRING, 0),
                ASN1_EXP_SEQUENCE_OF_OPT(asn1_reference, context, asn1_pair, 1),
                ASN1_EXP_OPT(asn1_reference, spec, ASN1_UTF8STRING, 2),
} static_ASN1_SEQUENCE_END(asn1_reference)

                static void free_parsed(asn1_reference * parsed)
{
    ASN1_item_free((ASN1_VALUE *)parsed, ASN1_ITEM_rptr(asn1_reference));
}

/* A copy with terminator, or NULL: with a NUL inside it would not be what it seems. */
static char *text_of(const ASN1_STRING *string)
{
    size_t len = (size_t)ASN1_STRING_length(string);
    const char *data = (const char *)ASN1_STRING_get0_data(string);

    return memchr(data, '\0', len) == NULL ? strndup(data, len) : NULL;
}

static kms_status read_context(const asn1_reference *parsed, kms_reference *out, kms_error *err)
{
    kms_status st = KMS_OK;

    if (sk_asn1_pair_num(parsed->context) <= 0)
        return KMS_OK;
    out->context = kms_context_new();
    if (out->context == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "key reference");
    for (int i = 0; i < sk_asn1_pair_num(parsed->context) && st == KMS_OK; i++) {
        const asn1_pair *pair = sk_asn1_pair_value(parsed->context, i);
        char *name = text_of(pair->name), *value = text_of(pair->value);
        st = name != NULL && value != NULL ? kms_context_add(out->context, name, value, err)
                                           : kms_fail(err, KMS_E_KEY_REFERENCE, "context");
        free(name);
        free(value);
    }
    return st;
}

/* A spec is there for HMAC keys alone: those of others can't contradict their public half. */
static bool read_spec(const asn1_reference *parsed, kms_reference *out)
{
    const kms_key_spec_row *row;

    out->spec = text_of(parsed->spec);
    row = out->spec != NULL ? kms_key_spec_find(out->spec) : NULL;
    return row != NULL && strcmp(row->type, "HMAC") == 0 && out->spki.len == 0;
}

static kms_status read_members(const asn1_reference *parsed, kms_reference *out, kms_error *err)
{
    kms_arn arn;
    int len = parsed->public_key != NULL ? ASN1_STRING_length(parsed->public_key) : 0;

    if (parsed->version != VERSION)
        return kms_fail(err, KMS_E_KEY_REFERENCE, "version %d, and this program knows %d",
                        (int)parsed->version, VERSION);
    out->arn = text_of(parsed->arn);
    if (out->arn == NULL || kms_arn_parse(out->arn, &arn, NULL) != KMS_OK ||
        strncmp(arn.resource, "key/", strlen("key/")) != 0)
        return kms_fail(err, KMS_E_KEY_REFERENCE, "it does not name a key by its ARN");
    if (len > 0) {
        out->spki.data = malloc((size_t)len);
        if (out->spki.data == NULL)
            return kms_fail(err, KMS_E_NO_MEMORY, "key reference");
        memcpy(out->spki.data, ASN1_STRING_get0_data(parsed->public_key), (size_t)len);
        out->spki.len = (size_t)len;
    }
    if (parsed->spec != NULL && !read_spec(parsed, out))
        return kms_fail(err, KMS_E_KEY_REFERENCE, "its key spec is not an HMAC key's");
    return read_context(parsed, out, err);
}

kms_status kms_reference_read(kms_bytes der, kms_reference *out, kms_error *err)
{
    const unsigned char *at = der.data;
    asn1_reference *parsed = NULL;
    kms_status st;

    *out = (kms_reference){0};
    ERR_set_mark(); /* the thread's error queue is the application's */
    if (der.len != 0 && der.len <= KMS_REFERENCE_MAX)
        parsed = (asn1_reference *)ASN1_item_d2i(NULL, &at, (long)der.len,
                                                 ASN1_ITEM_rptr(asn1_reference));
    ERR_pop_to_mark();
    if (parsed == NULL || at != der.data + der.len)
        st = kms_fail(err, KMS_E_KEY_REFERENCE, "its %zu bytes are not one whole reference",
                      der.len);
    else
        st = read_members(parsed, out, err);
    free_parsed(parsed);
    if (st != KMS_OK)
        kms_reference_clear(out);
    return st;
}

static bool set_text(ASN1_STRING *string, const char *text)
{
    return ASN1_STRING_set(string, text, -1) == 1;
}

static bool set_spec(asn1_reference *made, const char *spec)
{
    if (spec == NULL)
        return true;
    made->spec = ASN1_UTF8STRING_new();
    return made->spec != NULL && set_text(made->spec, spec);
}

static bool set_context(asn1_reference *made, const kms_context *context)
{
    if (kms_context_count(context) == 0)
        return true;
    made->context = sk_asn1_pair_new_null();
    for (size_t i = 0; made->context != NULL && i < kms_context_count(context); i++) {
        asn1_pair *pair = (asn1_pair *)ASN1_item_new(ASN1_ITEM_rptr(asn1_pair));
        if (pair == NULL || !set_text(pair->name, kms_context_name(context, i)) ||
            !set_text(pair->value, kms_context_value(context, i)) ||
            sk_asn1_pair_push(made->context, pair) <= 0) {
            ASN1_item_free((ASN1_VALUE *)pair, ASN1_ITEM_rptr(asn1_pair));
            return false;
        }
    }
    return made->context != NULL;
}

kms_status kms_reference_write(const kms_reference *reference, kms_buffer *der, kms_error *err)
{
    asn1_reference *made = (asn1_reference *)ASN1_item_new(ASN1_ITEM_rptr(asn1_reference));
    unsigned char *out = NULL;
    int len = -1;

    if (made != NULL && set_text(made->arn, reference->arn) &&
        set_context(made, reference->context) && set_spec(made, reference->spec)) {
        made->version = VERSION;
        if (reference->spki.len == 0 ||
            ((made->public_key = ASN1_OCTET_STRING_new()) != NULL &&
             ASN1_STRING_set(made->public_key, reference->spki.data, (int)reference->spki.len)))
            len = ASN1_item_i2d((const ASN1_VALUE *)made, &out, ASN1_ITEM_rptr(asn1_reference));
    }
    free_parsed(made);
    if (len <= 0)
        return kms_fail(err, KMS_E_NO_MEMORY, "key reference");
    der->data = malloc((size_t)len);
    der->len = der->data != NULL ? (size_t)len : 0;
    if (der->data != NULL)
        memcpy(der->data, out, (size_t)len);
    OPENSSL_free(out);
    return der->data != NULL ? KMS_OK : kms_fail(err, KMS_E_NO_MEMORY, "key reference");
}

void kms_reference_clear(kms_reference *reference)
{
    free(reference->arn);
    free(reference->spec);
    kms_buffer_clear(&reference->spki);
    kms_context_free(reference->context);
    *reference = (kms_reference){0};
}
