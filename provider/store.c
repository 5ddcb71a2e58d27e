/* Store loader for the scheme kms: one key by its address, or the addresses of all with "kms:". */
#include "include/kms/kms_provider.h"
#include "provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/store.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct store_context {
    kms_provider *provider;
    kms_address address;
    char *query;     /* "?region=…" as it was given, or "": the listed addresses carry it too */
    kms_error fault; /* of the address, said at the first load */
    int expect;      /* OSSL_STORE_INFO_*, 0: anything */
    bool failed, done;
    char **names; /* of a listing */
    size_t count, next;
} store_context;

static OSSL_FUNC_store_open_fn store_open;
static OSSL_FUNC_store_settable_ctx_params_fn store_settable_ctx_params;
static OSSL_FUNC_store_set_ctx_params_fn store_set_ctx_params;
static OSSL_FUNC_store_load_fn store_load;
static OSSL_FUNC_store_eof_fn store_eof;
static OSSL_FUNC_store_close_fn store_close;

/* Only the address is read here: KMS is asked when something is loaded. A bad address is an error
 * of the first load: one of opening would stand behind what OpenSSL's own loaders have to say. */
static void *store_open(void *provider, const char *uri)
{
    store_context *ctx = calloc(1, sizeof(*ctx));
    const char *query = strchr(uri, '?');

    if (ctx != NULL)
        ctx->query = strdup(query != NULL ? query : "");
    if (ctx == NULL || ctx->query == NULL) {
        free(ctx);
        provider_raise_status(provider, KMS_E_NO_MEMORY, "key store");
        return NULL;
    }
    ctx->provider = provider;
    kms_address_parse(uri, &ctx->address, &ctx->fault);
    return ctx;
}

static int store_close(void *data)
{
    store_context *ctx = data;

    kms_address_clear(&ctx->address);
    kms_client_list_free(ctx->names, ctx->count);
    free(ctx->query);
    free(ctx);
    return 1;
}

static const OSSL_PARAM *store_settable_ctx_params(void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_STORE_PARAM_EXPECT, NULL),
        OSSL_PARAM_END,
    };

    (void)provider;
    return params;
}

/* A search that were ignored would find keys that nobody looked for. */
static int store_set_ctx_params(void *data, const OSSL_PARAM params[])
{
    static const char *const searches[] = {OSSL_STORE_PARAM_SUBJECT, OSSL_STORE_PARAM_ISSUER,
                                           OSSL_STORE_PARAM_FINGERPRINT, OSSL_STORE_PARAM_ALIAS};
    store_context *ctx = data;
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_EXPECT);

    for (size_t i = 0; i < sizeof(searches) / sizeof(searches[0]); i++)
        if (OSSL_PARAM_locate_const(params, searches[i]) != NULL)
            return provider_raise_status(ctx->provider, KMS_E_KEY_ADDRESS,
                                         "keys are found by their address, not by a search");
    return p == NULL || provider_get_int(p, &ctx->expect);
}

static int load_key(store_context *ctx, OSSL_CALLBACK *callback, void *arg)
{
    provider_key *object;

    if (!provider_key_load(ctx->provider, &ctx->address, &object))
        return 0;
    ctx->done = true;
    return provider_key_give(object, callback, arg);
}

/* The public half as an ordinary key: OpenSSL makes it from the bytes. */
static int load_public(store_context *ctx, OSSL_CALLBACK *callback, void *arg)
{
    kms_error err = {0};
    kms_key *key = NULL;
    int type = OSSL_OBJECT_PKEY, ok;

    if (kms_client_key(ctx->provider->client, &ctx->address, &key, &err) != KMS_OK)
        return provider_raise(ctx->provider, &err);
    if (kms_key_public(key) == NULL) {
        kms_fail(&err, KMS_E_UNSUPPORTED,
                 "%s is %s, which has no public half: ask for the key itself, without -pubin",
                 kms_key_arn(key), kms_key_spec(key));
        kms_key_free(key);
        return provider_raise(ctx->provider, &err);
    }
    const kms_bytes spki = kms_key_spki(key);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE,
                                         (char *)(uintptr_t)kms_key_kind(key)->type, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE, "SubjectPublicKeyInfo",
                                         0),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA, (void *)(uintptr_t)spki.data,
                                          spki.len),
        OSSL_PARAM_construct_end(),
    };
    ctx->done = true;
    ok = callback(params, arg);
    kms_key_free(key);
    return ok;
}

static int load_name(store_context *ctx, OSSL_CALLBACK *callback, void *arg)
{
    kms_error err = {0};
    char *uri = NULL;
    int type = OSSL_OBJECT_NAME, ok;
    OSSL_PARAM params[3];

    if (ctx->names == NULL && kms_client_list(ctx->provider->client, &ctx->address, &ctx->names,
                                              &ctx->count, &err) != KMS_OK)
        return provider_raise(ctx->provider, &err);
    if (ctx->names == NULL || ctx->next >= ctx->count) {
        ctx->done = true;
        return 1;
    }
    if (asprintf(&uri, "kms:%s%s", ctx->names[ctx->next++], ctx->query) < 0)
        return provider_raise_status(ctx->provider, KMS_E_NO_MEMORY, "key address");
    ctx->done = ctx->next == ctx->count;
    params[0] = OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type);
    params[1] = OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA, uri, 0);
    params[2] = OSSL_PARAM_construct_end();
    /* OpenSSL 3.5 leaves an error although it takes the name. */
    ERR_set_mark();
    ok = callback(params, arg);
    if (ok)
        ERR_pop_to_mark();
    else
        ERR_clear_last_mark();
    free(uri);
    return ok;
}

/* KMS holds keys. Who looks for certificates and the like finds an empty store, which is no error.
 */
static int load_expected(store_context *ctx, OSSL_CALLBACK *callback, void *arg)
{
    switch (ctx->expect) {
    case 0:
    case OSSL_STORE_INFO_PKEY:
        return ctx->address.key != NULL ? load_key(ctx, callback, arg)
                                        : load_name(ctx, callback, arg);
    case OSSL_STORE_INFO_PUBKEY:
        return ctx->address.key != NULL ? load_public(ctx, callback, arg)
                                        : load_name(ctx, callback, arg);
    default:
        ctx->done = true;
        return 1;
    }
}

static int store_load(void *data, OSSL_CALLBACK *callback, void *arg,
                      OSSL_PASSPHRASE_CALLBACK *passphrase, void *passphrase_arg)
{
    store_context *ctx = data;
    int ok;

    (void)passphrase;
    (void)passphrase_arg;
    /* OpenSSL takes a failure at the end of a store for the mere end: so the end comes only with
     * the load after the failure. */
    if (ctx->failed) {
        ctx->done = true;
        return 1;
    }
    if (ctx->provider->client == NULL)
        ok = provider_raise(ctx->provider, &ctx->provider->fault);
    else if (ctx->fault.status != KMS_OK)
        ok = provider_raise(ctx->provider, &ctx->fault);
    else
        ok = load_expected(ctx, callback, arg);
    ctx->failed = !ok;
    ctx->done = ctx->done && ok;
    return ok;
}

static int store_eof(void *data)
{
    const store_context *ctx = data;

    return ctx->done;
}

#define FUNCTION(id, name)                                                                         \
    {                                                                                              \
        OSSL_FUNC_STORE_##id, (void (*)(void))(name)                                               \
    }

const OSSL_DISPATCH provider_store_functions[] = {
    FUNCTION(OPEN, store_open),
    FUNCTION(SETTABLE_CTX_PARAMS, store_settable_ctx_params),
    FUNCTION(SET_CTX_PARAMS, store_set_ctx_params),
    FUNCTION(LOAD, store_load),
    FUNCTION(EOF, store_eof),
    FUNCTION(CLOSE, store_close),
    {0, NULL},
};
