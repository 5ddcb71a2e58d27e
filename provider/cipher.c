/* AES by data keys that the application has in wrapped form alone: KMS-AES-256-GCM and its kin. Key
 * address, wrapped key and encryption context are parameters, set before the first byte; then KMS
 * unwraps the key, once, into locked memory. What follows is an ordinary cipher of the private
 * library context, which has the other parameters: IV, tag, padding. */
#include "include/kms/kms_provider.h"
#include "provider/provider.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One row a cipher. */
typedef struct cipher_row {
    const char *inner; /* OpenSSL's name of the ordinary cipher */
    unsigned mode;     /* EVP_CIPH_…_MODE */
    size_t key_len, block, iv_len;
    int aead;
} cipher_row;

typedef struct cipher_context {
    kms_provider *provider;
    const cipher_row *row;
    EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *inner;
    int encrypting;      /* -1: before init */
    bool keyed;          /* inner has the key */
    provider_skey *skey; /* a reference: the key as an object; NULL: it is unwrapped at first use */
    kms_address address;
    kms_buffer wrapped;
    operation_context operation; /* its key is loaded from the address */
} cipher_context;

static OSSL_FUNC_cipher_freectx_fn cipher_freectx;
static OSSL_FUNC_cipher_dupctx_fn cipher_dupctx;
static OSSL_FUNC_cipher_encrypt_init_fn cipher_encrypt_init;
static OSSL_FUNC_cipher_decrypt_init_fn cipher_decrypt_init;
static OSSL_FUNC_cipher_update_fn cipher_update;
static OSSL_FUNC_cipher_final_fn cipher_final;
static OSSL_FUNC_cipher_gettable_params_fn cipher_gettable_params;
static OSSL_FUNC_cipher_get_ctx_params_fn cipher_get_ctx_params;
static OSSL_FUNC_cipher_gettable_ctx_params_fn cipher_gettable_ctx_params;
static OSSL_FUNC_cipher_set_ctx_params_fn cipher_set_ctx_params;
static OSSL_FUNC_cipher_settable_ctx_params_fn cipher_settable_ctx_params;

/* --- life --- */

static void *cipher_newctx(kms_provider *provider, const cipher_row *row)
{
    cipher_context *ctx = calloc(1, sizeof(*ctx));
    OSSL_LIB_CTX *libctx;

    if (ctx == NULL)
        return NULL;
    ctx->provider = provider;
    ctx->row = row;
    ctx->encrypting = -1;
    if (provider->client == NULL) {
        provider_raise(provider, &provider->fault);
        free(ctx);
        return NULL;
    }
    libctx = kms_client_libctx(provider->client);
    ctx->cipher = libctx != NULL ? EVP_CIPHER_fetch(libctx, row->inner, NULL) : NULL;
    ctx->inner = EVP_CIPHER_CTX_new();
    if (ctx->cipher == NULL || ctx->inner == NULL ||
        EVP_CipherInit_ex2(ctx->inner, ctx->cipher, NULL, NULL, 1, NULL) != 1) {
        provider_raise_status(provider, KMS_E_NO_MEMORY, "cipher");
        cipher_freectx(ctx);
        return NULL;
    }
    return ctx;
}

static void cipher_freectx(void *data)
{
    cipher_context *ctx = data;

    if (ctx == NULL)
        return;
    EVP_CIPHER_CTX_free(ctx->inner);
    EVP_CIPHER_free(ctx->cipher);
    kms_address_clear(&ctx->address);
    kms_buffer_clear(&ctx->wrapped);
    operation_context_clear(&ctx->operation);
    provider_skey_free(ctx->skey);
    free(ctx);
}

/* Another key comes. */
static void forget_key(cipher_context *ctx)
{
    provider_skey_free(ctx->skey);
    ctx->skey = NULL;
    ctx->keyed = false;
}

static int set_wrapped(cipher_context *ctx, kms_bytes wrapped)
{
    uint8_t *copy = NULL;

    if (wrapped.len == 0 || wrapped.len > KMS_CIPHERTEXT_MAX)
        return provider_raise_status(ctx->provider, KMS_E_CIPHERTEXT_SIZE, "wrapped-key");
    copy = malloc(wrapped.len);
    if (copy == NULL)
        return provider_raise_status(ctx->provider, KMS_E_NO_MEMORY, "wrapped-key");
    memcpy(copy, wrapped.data, wrapped.len);
    kms_buffer_clear(&ctx->wrapped);
    ctx->wrapped = (kms_buffer){copy, wrapped.len};
    forget_key(ctx);
    return 1;
}

/* Loads the key that was named; at the first use, since naming makes no request. */
static int load_key(cipher_context *ctx)
{
    if (ctx->operation.key != NULL)
        return 1;
    if (ctx->address.key == NULL)
        return provider_raise_status(ctx->provider, KMS_E_KEY_MISSING,
                                     "set key-address and wrapped-key before the cipher is used");
    return provider_key_load(ctx->provider, &ctx->address, &ctx->operation.key);
}

/* A copy that has no key yet would need the address, which can't be copied: it is loaded first. */
static void *cipher_dupctx(void *data)
{
    cipher_context *ctx = data;
    cipher_context *copy;

    if (ctx->address.key != NULL && !load_key(ctx))
        return NULL;
    copy = cipher_newctx(ctx->provider, ctx->row);
    if (copy == NULL)
        return NULL;
    copy->encrypting = ctx->encrypting;
    if (EVP_CIPHER_CTX_copy(copy->inner, ctx->inner) != 1 ||
        !operation_context_copy(&copy->operation, &ctx->operation) ||
        (ctx->wrapped.len != 0 &&
         !set_wrapped(copy, (kms_bytes){ctx->wrapped.data, ctx->wrapped.len}))) {
        cipher_freectx(copy);
        return NULL;
    }
    copy->keyed = ctx->keyed;
    copy->skey = ctx->skey != NULL ? provider_skey_ref(ctx->skey) : NULL;
    return copy;
}

/* --- the key --- */

static int install(cipher_context *ctx, const kms_secret *key)
{
    kms_error err = {0};
    int ok;

    if (key->len != ctx->row->key_len) {
        kms_fail(&err, KMS_E_KEY_SIZE, "%zu bytes for %s", key->len, ctx->row->inner);
        return provider_raise(ctx->provider, &err);
    }
    ERR_set_mark();
    ok = EVP_CipherInit_ex2(ctx->inner, NULL, key->data, NULL, ctx->encrypting, NULL) == 1;
    ERR_pop_to_mark();
    if (!ok)
        return provider_raise_status(ctx->provider, KMS_E_INTERNAL, "AES refuses the key");
    ctx->keyed = true;
    return 1;
}

/* Unwraps the key at the first use. */
static int need_key(cipher_context *ctx)
{
    const kms_context *context;
    kms_secret key = {0};
    kms_error err = {0};
    int ok;

    if (ctx->encrypting < 0)
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT, "update before init");
    if (ctx->keyed)
        return 1;
    if (ctx->skey != NULL)
        return install(ctx, provider_skey_secret(ctx->skey));
    if (ctx->wrapped.len == 0)
        return provider_raise_status(ctx->provider, KMS_E_KEY_MISSING,
                                     "set key-address and wrapped-key before the cipher is used");
    if (!load_key(ctx))
        return 0;
    context = operation_context_merged(&ctx->operation, ctx->provider);
    ok = context != NULL;
    if (ok && kms_client_unwrap(ctx->provider->client, ctx->operation.key->key,
                                (kms_bytes){ctx->wrapped.data, ctx->wrapped.len}, context, &key,
                                &err) != KMS_OK)
        ok = provider_raise(ctx->provider, &err);
    if (ok)
        ok = install(ctx, &key);
    kms_secret_clear(&key);
    return ok;
}

/* --- the cipher --- */

/* What the inner cipher says is ours to say: the thread's error queue is the application's. */
static int raise_inner(const cipher_context *ctx, const char *what)
{
    kms_error err = {0};

    ERR_pop_to_mark();
    kms_fail(&err, KMS_E_CIPHER, "%s: %s", ctx->row->inner, what);
    return provider_raise(ctx->provider, &err);
}

/* Parameters come first: one may be the size of the IV. */
static int init(cipher_context *ctx, int encrypting, const unsigned char *key,
                const unsigned char *iv, const OSSL_PARAM params[])
{
    if (key != NULL)
        return provider_raise_status(ctx->provider, KMS_E_ARGUMENT,
                                     "the key is given by key-address and wrapped-key alone");
    /* AES's key schedule of CBC differs by direction. */
    if (ctx->encrypting != encrypting)
        ctx->keyed = false;
    ctx->encrypting = encrypting;
    if (!cipher_set_ctx_params(ctx, params))
        return 0;
    ERR_set_mark();
    if (EVP_CipherInit_ex2(ctx->inner, NULL, NULL, iv, encrypting, NULL) != 1)
        return raise_inner(ctx, "the IV is not accepted");
    ERR_pop_to_mark();
    return 1;
}

static int cipher_encrypt_init(void *data, const unsigned char *key, size_t key_len,
                               const unsigned char *iv, size_t iv_len, const OSSL_PARAM params[])
{
    (void)key_len;
    (void)iv_len; /* the inner cipher has told it */
    return init(data, 1, key, iv, params);
}

static int cipher_decrypt_init(void *data, const unsigned char *key, size_t key_len,
                               const unsigned char *iv, size_t iv_len, const OSSL_PARAM params[])
{
    (void)key_len;
    (void)iv_len;
    return init(data, 0, key, iv, params);
}

#if KMS_OPENSSL_3_5
static OSSL_FUNC_cipher_encrypt_skey_init_fn cipher_encrypt_skey_init;
static OSSL_FUNC_cipher_decrypt_skey_init_fn cipher_decrypt_skey_init;

/* With the key as an object, which OpenSSL has found to be of this provider. */
static int skey_init(cipher_context *ctx, int encrypting, provider_skey *skey,
                     const unsigned char *iv, const OSSL_PARAM params[])
{
    if (!init(ctx, encrypting, NULL, iv, params))
        return 0;
    if (skey != NULL) {
        forget_key(ctx);
        ctx->skey = provider_skey_ref(skey);
    }
    return need_key(ctx);
}

static int cipher_encrypt_skey_init(void *data, void *skey, const unsigned char *iv, size_t iv_len,
                                    const OSSL_PARAM params[])
{
    (void)iv_len;
    return skey_init(data, 1, skey, iv, params);
}

static int cipher_decrypt_skey_init(void *data, void *skey, const unsigned char *iv, size_t iv_len,
                                    const OSSL_PARAM params[])
{
    (void)iv_len;
    return skey_init(data, 0, skey, iv, params);
}

#define SKEY_FUNCTIONS                                                                             \
    FUNCTION(ENCRYPT_SKEY_INIT, cipher_encrypt_skey_init),                                         \
        FUNCTION(DECRYPT_SKEY_INIT, cipher_decrypt_skey_init),
#else
#define SKEY_FUNCTIONS
#endif

static int cipher_update(void *data, unsigned char *out, size_t *out_len, size_t room,
                         const unsigned char *in, size_t len)
{
    cipher_context *ctx = data;
    int made = 0;

    if (len > INT_MAX - ctx->row->block || (out != NULL && room < len))
        return provider_raise_status(ctx->provider, KMS_E_BUFFER_TOO_SMALL, ctx->row->inner);
    if (!need_key(ctx))
        return 0;
    ERR_set_mark();
    if (EVP_CipherUpdate(ctx->inner, out, &made, in, (int)len) != 1)
        return raise_inner(ctx, "no IV was set, or its use is over");
    ERR_pop_to_mark();
    *out_len = (size_t)made;
    return 1;
}

static int cipher_final(void *data, unsigned char *out, size_t *out_len, size_t room)
{
    cipher_context *ctx = data;
    int made = 0;

    (void)room; /* a block at the most, as EVP_CipherFinal's callers know */
    if (!need_key(ctx))
        return 0;
    ERR_set_mark();
    if (EVP_CipherFinal_ex(ctx->inner, out, &made) != 1)
        return raise_inner(ctx, ctx->row->aead ? "the tag is not right, or tag or IV was not set"
                                               : "the padding is not right, or a block not whole");
    ERR_pop_to_mark();
    *out_len = (size_t)made;
    return 1;
}

/* --- parameters --- */

static int get_params(const cipher_row *row, OSSL_PARAM params[])
{
    OSSL_PARAM *p;

    if ((p = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_MODE)) != NULL &&
        !OSSL_PARAM_set_uint(p, row->mode))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_KEYLEN)) != NULL &&
        !OSSL_PARAM_set_size_t(p, row->key_len))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_IVLEN)) != NULL &&
        !OSSL_PARAM_set_size_t(p, row->iv_len))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_BLOCK_SIZE)) != NULL &&
        !OSSL_PARAM_set_size_t(p, row->block))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_AEAD)) != NULL &&
        !OSSL_PARAM_set_int(p, row->aead))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_CUSTOM_IV)) != NULL &&
        !OSSL_PARAM_set_int(p, row->aead))
        return 0;
    return 1;
}

static const OSSL_PARAM *cipher_gettable_params(void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_uint(OSSL_CIPHER_PARAM_MODE, NULL),
        OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_KEYLEN, NULL),
        OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_IVLEN, NULL),
        OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_BLOCK_SIZE, NULL),
        OSSL_PARAM_int(OSSL_CIPHER_PARAM_AEAD, NULL),
        OSSL_PARAM_int(OSSL_CIPHER_PARAM_CUSTOM_IV, NULL),
        OSSL_PARAM_END,
    };

    (void)provider;
    return params;
}

static int cipher_get_ctx_params(void *data, OSSL_PARAM params[])
{
    const cipher_context *ctx = data;
    int ok;

    ERR_set_mark();
    ok = EVP_CIPHER_CTX_get_params(ctx->inner, params) == 1;
    ERR_pop_to_mark();
    return ok;
}

static const OSSL_PARAM *cipher_gettable_ctx_params(void *data, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_KEYLEN, NULL),
        OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_IVLEN, NULL),
        OSSL_PARAM_uint(OSSL_CIPHER_PARAM_PADDING, NULL),
        OSSL_PARAM_uint(OSSL_CIPHER_PARAM_NUM, NULL),
        OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_IV, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_UPDATED_IV, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, NULL, 0),
        OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_AEAD_TAGLEN, NULL),
        OSSL_PARAM_END,
    };

    (void)data;
    (void)provider;
    return params;
}

static int set_key_params(cipher_context *ctx, const OSSL_PARAM params[])
{
    const OSSL_PARAM *p;
    kms_bytes wrapped;
    kms_address address = {0};
    const bool used = ctx->keyed;

    if ((p = OSSL_PARAM_locate_const(params, KMS_PROVIDER_PARAM_KEY_ADDRESS)) != NULL) {
        if (!provider_read_address(ctx->provider, p, &address))
            return 0;
        kms_address_clear(&ctx->address);
        ctx->address = address;
        operation_context_clear(&ctx->operation);
        forget_key(ctx);
    }
    if ((p = OSSL_PARAM_locate_const(params, KMS_PROVIDER_PARAM_WRAPPED_KEY)) != NULL &&
        (!provider_get_bytes(p, &wrapped) || !set_wrapped(ctx, wrapped)))
        return 0;
    /* Pairs add up until the key is there; then they are another key's. */
    if (OSSL_PARAM_locate_const(params, KMS_PROVIDER_PARAM_CONTEXT) != NULL && used) {
        kms_context_free(ctx->operation.context);
        ctx->operation.context = NULL;
        ctx->keyed = false;
    }
    return operation_context_set(&ctx->operation, ctx->provider, params);
}

/* A size of the key may be set only to what it is anyway. */
static int check_key_len(const cipher_context *ctx, const OSSL_PARAM *p)
{
    size_t len = 0;

    if (provider_get_size(p, &len) && len == ctx->row->key_len)
        return 1;
    return provider_raise_status(ctx->provider, KMS_E_KEY_SIZE, ctx->row->inner);
}

static int cipher_set_ctx_params(void *data, const OSSL_PARAM params[])
{
    cipher_context *ctx = data;
    const OSSL_PARAM *p;

    if (params == NULL || params[0].key == NULL)
        return 1;
    p = OSSL_PARAM_locate_const(params, OSSL_CIPHER_PARAM_KEYLEN);
    if ((p != NULL && !check_key_len(ctx, p)) || !set_key_params(ctx, params))
        return 0;
    ERR_set_mark();
    if (EVP_CIPHER_CTX_set_params(ctx->inner, params) != 1)
        return raise_inner(ctx, "a parameter is not accepted");
    ERR_pop_to_mark();
    return 1;
}

static const OSSL_PARAM *cipher_settable_ctx_params(void *data, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(KMS_PROVIDER_PARAM_KEY_ADDRESS, NULL, 0),
        OSSL_PARAM_octet_string(KMS_PROVIDER_PARAM_WRAPPED_KEY, NULL, 0),
        OSSL_PARAM_utf8_string(KMS_PROVIDER_PARAM_CONTEXT, NULL, 0),
        OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_KEYLEN, NULL),
        OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_AEAD_IVLEN, NULL),
        OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, NULL, 0),
        OSSL_PARAM_uint(OSSL_CIPHER_PARAM_PADDING, NULL),
        OSSL_PARAM_uint(OSSL_CIPHER_PARAM_NUM, NULL),
        OSSL_PARAM_END,
    };

    (void)data;
    (void)provider;
    return params;
}

/* --- the ciphers --- */

#define FUNCTION(id, name)                                                                         \
    {                                                                                              \
        OSSL_FUNC_CIPHER_##id, (void (*)(void))(name)                                              \
    }

/* OpenSSL tells a function neither the cipher it belongs to nor, for its facts, any object: so each
 * cipher has two functions of its own. */
#define CIPHER(id, inner, mode, bits, block, iv_len, aead)                                         \
    static const cipher_row row_##id = {inner, mode, (bits) / 8, block, iv_len, aead};             \
    static OSSL_FUNC_cipher_newctx_fn newctx_##id;                                                 \
    static OSSL_FUNC_cipher_get_params_fn get_params_##id;                                         \
    static void *newctx_##id(void *provider)                                                       \
    {                                                                                              \
        return cipher_newctx(provider, &row_##id);                                                 \
    }                                                                                              \
    static int get_params_##id(OSSL_PARAM params[])                                                \
    {                                                                                              \
        return get_params(&row_##id, params);                                                      \
    }                                                                                              \
    static const OSSL_DISPATCH functions_##id[] = {                                                \
        FUNCTION(NEWCTX, newctx_##id),                                                             \
        FUNCTION(FREECTX, cipher_freectx),                                                         \
        FUNCTION(DUPCTX, cipher_dupctx),                                                           \
        FUNCTION(ENCRYPT_INIT, cipher_encrypt_init),                                               \
        FUNCTION(DECRYPT_INIT, cipher_decrypt_init),                                               \
        SKEY_FUNCTIONS FUNCTION(UPDATE, cipher_update),                                            \
        FUNCTION(FINAL, cipher_final),                                                             \
        FUNCTION(GET_PARAMS, get_params_##id),                                                     \
        FUNCTION(GETTABLE_PARAMS, cipher_gettable_params),                                         \
        FUNCTION(GET_CTX_PARAMS, cipher_get_ctx_params),                                           \
        FUNCTION(GETTABLE_CTX_PARAMS, cipher_gettable_ctx_params),                                 \
        FUNCTION(SET_CTX_PARAMS, cipher_set_ctx_params),                                           \
        FUNCTION(SETTABLE_CTX_PARAMS, cipher_settable_ctx_params),                                 \
        {0, NULL},                                                                                 \
    }

/* clang-format off */
CIPHER(gcm128, "AES-128-GCM", EVP_CIPH_GCM_MODE, 128, 1,  12, 1);
CIPHER(gcm192, "AES-192-GCM", EVP_CIPH_GCM_MODE, 192, 1,  12, 1);
CIPHER(gcm256, "AES-256-GCM", EVP_CIPH_GCM_MODE, 256, 1,  12, 1);
CIPHER(cbc128, "AES-128-CBC", EVP_CIPH_CBC_MODE, 128, 16, 16, 0);
CIPHER(cbc192, "AES-192-CBC", EVP_CIPH_CBC_MODE, 192, 16, 16, 0);
CIPHER(cbc256, "AES-256-CBC", EVP_CIPH_CBC_MODE, 256, 16, 16, 0);
CIPHER(ctr128, "AES-128-CTR", EVP_CIPH_CTR_MODE, 128, 1,  16, 0);
CIPHER(ctr192, "AES-192-CTR", EVP_CIPH_CTR_MODE, 192, 1,  16, 0);
CIPHER(ctr256, "AES-256-CTR", EVP_CIPH_CTR_MODE, 256, 1,  16, 0);

#define ROW(name, id) {name, "provider=kms", functions_##id, "AES by a wrapped data key"}

const OSSL_ALGORITHM provider_ciphers[] = {
    ROW("KMS-AES-128-GCM", gcm128), ROW("KMS-AES-192-GCM", gcm192), ROW("KMS-AES-256-GCM", gcm256),
    ROW("KMS-AES-128-CBC", cbc128), ROW("KMS-AES-192-CBC", cbc192), ROW("KMS-AES-256-CBC", cbc256),
    ROW("KMS-AES-128-CTR", ctr128), ROW("KMS-AES-192-CTR", ctr192), ROW("KMS-AES-256-CTR", ctr256),
    {NULL, NULL, NULL, NULL},
};
/* clang-format on */
