/* Random bytes by KMS GenerateRandom. The name is ours, so that nobody gets them who did not ask:
 * each use is a request. There is no state here: nothing to seed, to reseed or to lock. */
#include "include/kms/kms_provider.h"
#include "provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#define STRENGTH    256                 /* bits, of KMS's generators */
#define REQUEST_MAX ((size_t)64 * 1024) /* bytes at a time: that is 64 requests */

typedef struct rand_context {
    kms_provider *provider;
    atomic_int state; /* EVP_RAND_STATE_… */
} rand_context;

static OSSL_FUNC_rand_newctx_fn rand_newctx;
static OSSL_FUNC_rand_freectx_fn rand_freectx;
static OSSL_FUNC_rand_instantiate_fn rand_instantiate;
static OSSL_FUNC_rand_uninstantiate_fn rand_uninstantiate;
static OSSL_FUNC_rand_generate_fn rand_generate;
static OSSL_FUNC_rand_enable_locking_fn rand_enable_locking;
static OSSL_FUNC_rand_lock_fn rand_lock;
static OSSL_FUNC_rand_unlock_fn rand_unlock;
static OSSL_FUNC_rand_get_ctx_params_fn rand_get_ctx_params;
static OSSL_FUNC_rand_gettable_ctx_params_fn rand_gettable_ctx_params;

static void *rand_newctx(void *provider, void *parent, const OSSL_DISPATCH *parent_functions)
{
    rand_context *ctx = calloc(1, sizeof(*ctx));

    (void)parent; /* KMS is the source, whoever stands above */
    (void)parent_functions;
    if (ctx != NULL) {
        ctx->provider = provider;
        atomic_init(&ctx->state, EVP_RAND_STATE_UNINITIALISED);
    }
    return ctx;
}

static void rand_freectx(void *data)
{
    free(data);
}

static int check_strength(const kms_provider *provider, unsigned strength)
{
    return strength <= STRENGTH ||
           provider_raise_status(provider, KMS_E_ARGUMENT, "KMS's random has 256 bits of strength");
}

static int rand_instantiate(void *data, unsigned strength, int prediction_resistance,
                            const unsigned char *personalization, size_t personalization_len,
                            const OSSL_PARAM params[])
{
    rand_context *ctx = data;

    (void)prediction_resistance; /* each request is fresh */
    (void)personalization;
    (void)personalization_len;
    (void)params;
    if (!check_strength(ctx->provider, strength))
        return 0;
    if (ctx->provider->client == NULL)
        return provider_raise(ctx->provider, &ctx->provider->fault);
    atomic_store(&ctx->state, EVP_RAND_STATE_READY);
    return 1;
}

static int rand_uninstantiate(void *data)
{
    rand_context *ctx = data;

    atomic_store(&ctx->state, EVP_RAND_STATE_UNINITIALISED);
    return 1;
}

/* All or nothing: what came before a failure is cleansed. */
static int rand_generate(void *data, unsigned char *out, size_t len, unsigned strength,
                         int prediction_resistance, const unsigned char *additional,
                         size_t additional_len)
{
    rand_context *ctx = data;
    kms_error err = {0};

    (void)prediction_resistance;
    (void)additional;
    (void)additional_len;
    if (atomic_load(&ctx->state) != EVP_RAND_STATE_READY)
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT, "not instantiated");
    if (!check_strength(ctx->provider, strength))
        return 0;
    for (size_t done = 0; done < len;) {
        kms_secret part = {0};
        size_t size = len - done < KMS_RANDOM_MAX ? len - done : KMS_RANDOM_MAX;
        if (kms_client_random(ctx->provider->client, size, &part, &err) != KMS_OK) {
            OPENSSL_cleanse(out, done);
            return provider_raise(ctx->provider, &err);
        }
        memcpy(out + done, part.data, size);
        kms_secret_clear(&part);
        done += size;
    }
    return 1;
}

/* Any number of threads may ask at once. */
static int rand_enable_locking(void *data)
{
    (void)data;
    return 1;
}

static int rand_lock(void *data)
{
    (void)data;
    return 1;
}

static void rand_unlock(void *data)
{
    (void)data;
}

static int rand_get_ctx_params(void *data, OSSL_PARAM params[])
{
    rand_context *ctx = data;
    OSSL_PARAM *p;

    if ((p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STATE)) != NULL &&
        !OSSL_PARAM_set_int(p, atomic_load(&ctx->state)))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STRENGTH)) != NULL &&
        !OSSL_PARAM_set_uint(p, STRENGTH))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_MAX_REQUEST)) != NULL &&
        !OSSL_PARAM_set_size_t(p, REQUEST_MAX))
        return 0;
    return 1;
}

static const OSSL_PARAM *rand_gettable_ctx_params(void *data, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_RAND_PARAM_STATE, NULL),
        OSSL_PARAM_uint(OSSL_RAND_PARAM_STRENGTH, NULL),
        OSSL_PARAM_size_t(OSSL_RAND_PARAM_MAX_REQUEST, NULL),
        OSSL_PARAM_END,
    };

    (void)data;
    (void)provider;
    return params;
}

#define FUNCTION(id, name)                                                                         \
    {                                                                                              \
        OSSL_FUNC_RAND_##id, (void (*)(void))(name)                                                \
    }

const OSSL_DISPATCH provider_rand_functions[] = {
    FUNCTION(NEWCTX, rand_newctx),
    FUNCTION(FREECTX, rand_freectx),
    FUNCTION(INSTANTIATE, rand_instantiate),
    FUNCTION(UNINSTANTIATE, rand_uninstantiate),
    FUNCTION(GENERATE, rand_generate),
    FUNCTION(ENABLE_LOCKING, rand_enable_locking),
    FUNCTION(LOCK, rand_lock),
    FUNCTION(UNLOCK, rand_unlock),
    FUNCTION(GET_CTX_PARAMS, rand_get_ctx_params),
    FUNCTION(GETTABLE_CTX_PARAMS, rand_gettable_ctx_params),
    {0, NULL},
};
