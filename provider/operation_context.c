#include "include/kms/kms_provider.h"
#include "provider/provider.h"

#include <openssl/crypto.h>
#include <openssl/params.h>
#include <string.h>

int operation_context_init(operation_context *ctx, const kms_provider *provider, provider_key *key)
{
    /* Each init starts without a context, also with the key that is there already. */
    if (key == NULL)
        key = ctx->key;
    if (key == NULL || key->key == NULL)
        return provider_raise_status(provider, KMS_E_KEY_MISSING, "the object holds no KMS key");
    key = provider_key_ref(key);
    operation_context_clear(ctx);
    ctx->key = key;
    return 1;
}

int operation_context_copy(operation_context *to, const operation_context *from)
{
    kms_context *copy = NULL;

    if (from->context != NULL && ((copy = kms_context_new()) == NULL ||
                                  kms_context_merge(copy, from->context, NULL) != KMS_OK)) {
        kms_context_free(copy);
        return 0;
    }
    to->key = from->key != NULL ? provider_key_ref(from->key) : NULL;
    to->context = copy;
    to->merged = NULL;
    return 1;
}

void operation_context_clear(operation_context *ctx)
{
    provider_key_free(ctx->key);
    kms_context_free(ctx->context);
    kms_context_free(ctx->merged);
    *ctx = (operation_context){0};
}

static int add_text(operation_context *ctx, const kms_provider *provider, const char *text)
{
    kms_error err = {0};

    kms_context_free(ctx->merged);
    ctx->merged = NULL;
    if (ctx->context == NULL && (ctx->context = kms_context_new()) == NULL)
        return provider_raise_status(provider, KMS_E_NO_MEMORY, "encryption context");
    if (kms_context_parse(ctx->context, text, strlen(text), &err) != KMS_OK)
        return provider_raise(provider, &err);
    return 1;
}

int operation_context_set(operation_context *ctx, const kms_provider *provider,
                          const OSSL_PARAM params[])
{
    int ok = 1;

    for (const OSSL_PARAM *p = params; ok && p != NULL && p->key != NULL; p++) {
        char *text = NULL; /* a copy, since a parameter may have a length and no terminator */
        if (strcmp(p->key, KMS_PROVIDER_PARAM_CONTEXT) != 0)
            continue;
        if (provider_get_text(p, &text))
            ok = add_text(ctx, provider, text);
        else
            ok = provider_raise_status(provider, KMS_E_CONTEXT_SYNTAX,
                                       "the parameter context is not a UTF-8 string");
        OPENSSL_free(text);
    }
    return ok;
}

static kms_status merge(const operation_context *ctx, kms_context **out, kms_error *err)
{
    kms_context *merged = kms_context_new();
    kms_status st;

    if (merged == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "encryption context");
    st = kms_context_merge(merged, ctx->key->context, err);
    if (st == KMS_OK)
        st = kms_context_merge(merged, ctx->context, err);
    if (st == KMS_OK)
        *out = merged;
    else
        kms_context_free(merged);
    return st;
}

const kms_context *operation_context_merged(operation_context *ctx, const kms_provider *provider)
{
    kms_error err = {0};

    if (ctx->merged == NULL && merge(ctx, &ctx->merged, &err) != KMS_OK)
        provider_raise(provider, &err);
    return ctx->merged;
}
