/* AES data keys as opaque objects: imported in wrapped form or made by KMS, in one request, and
 * used by the ciphers KMS-AES-… without another. Nobody gets at the bytes. */
#include "tests/provider/application.h"

#include "include/kms/kms_provider.h"

#include <openssl/core_dispatch.h>
#include <openssl/err.h>
#include <openssl/params.h>

static test_server server;

static const struct {
    const char *name, *ordinary;
    size_t key_len;
    bool aead;
} ciphers[] = {
    {"KMS-AES-128-GCM", "AES-128-GCM", 16, true},  {"KMS-AES-192-GCM", "AES-192-GCM", 24, true},
    {"KMS-AES-256-GCM", "AES-256-GCM", 32, true},  {"KMS-AES-128-CBC", "AES-128-CBC", 16, false},
    {"KMS-AES-192-CBC", "AES-192-CBC", 24, false}, {"KMS-AES-256-CBC", "AES-256-CBC", 32, false},
    {"KMS-AES-128-CTR", "AES-128-CTR", 16, false}, {"KMS-AES-192-CTR", "AES-192-CTR", 24, false},
    {"KMS-AES-256-CTR", "AES-256-CTR", 32, false},
};
#define CIPHERS (sizeof(ciphers) / sizeof(ciphers[0]))

static const unsigned char iv[16] = "0123456789abcde";

typedef struct fixture {
    application app;
    EVP_PKEY *key;
} fixture;

static fixture open_fixture(void)
{
    fixture f = {0};

    ERR_clear_error(); /* of a test that failed */
    f.app = application_open();
    f.key = application_key(&f.app, KEY);
    test_server_reset(&server);
    return f;
}

/* What a test asked of KMS, and nothing else. */
static void close_fixture(fixture *f, const char *operation, long count)
{
    assert_no_error();
    assert_int_equal(test_server_count(&server, operation), count);
    assert_int_equal(requests(&server), count);
    EVP_PKEY_free(f->key);
    application_close(&f->app);
}

/* A key of that many bytes, as the test knows it and as KMS wrapped it. */
static bytes make_key(const fixture *f, size_t len, bytes *wrapped)
{
    bytes key = {.len = len};

    for (size_t i = 0; i < len; i++)
        key.data[i] = (unsigned char)(i * 11 + len);
    assert_true(wrap(&f->app, f->key, CONTEXT, &key, wrapped));
    test_server_reset(&server);
    return key;
}

/* Any may be NULL: it is left out. */
static EVP_SKEY *import(const fixture *f, const char *address, const bytes *wrapped,
                        const char *context)
{
    OSSL_PARAM params[4], *p = params;

    if (address != NULL)
        *p++ = OSSL_PARAM_construct_utf8_string(KMS_PROVIDER_PARAM_KEY_ADDRESS,
                                                (char *)(uintptr_t)address, 0);
    if (wrapped != NULL)
        *p++ = OSSL_PARAM_construct_octet_string(KMS_PROVIDER_PARAM_WRAPPED_KEY,
                                                 (void *)(uintptr_t)wrapped->data, wrapped->len);
    if (context != NULL)
        *p++ = OSSL_PARAM_construct_utf8_string(KMS_PROVIDER_PARAM_CONTEXT,
                                                (char *)(uintptr_t)context, 0);
    *p = OSSL_PARAM_construct_end();
    return EVP_SKEY_import(f->app.libctx, KMS_PROVIDER_AES_TYPE, NULL, OSSL_SKEYMGMT_SELECT_ALL,
                           params);
}

static EVP_SKEY *generate(const fixture *f, size_t len)
{
    char address[] = KEY, context[] = CONTEXT;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(KMS_PROVIDER_PARAM_KEY_ADDRESS, address, 0),
        OSSL_PARAM_construct_utf8_string(KMS_PROVIDER_PARAM_CONTEXT, context, 0),
        OSSL_PARAM_construct_size_t(KMS_PROVIDER_PARAM_DATA_KEY_BYTES, &len),
        OSSL_PARAM_construct_end(),
    };

    return EVP_SKEY_generate(f->app.libctx, KMS_PROVIDER_AES_TYPE, NULL, params);
}

static bool begin(const fixture *f, EVP_CIPHER_CTX *ctx, const char *name, EVP_SKEY *skey,
                  bool encrypt)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(f->app.libctx, name, NULL);
    size_t iv_len = (size_t)EVP_CIPHER_get_iv_length(cipher);
    bool ok = EVP_CipherInit_SKEY(ctx, cipher, skey, iv, iv_len, encrypt, NULL) == 1;

    EVP_CIPHER_free(cipher);
    return ok;
}

static bytes finish(EVP_CIPHER_CTX *ctx, const bytes *in)
{
    bytes out = {0};
    int len;

    assert_int_equal(EVP_CipherUpdate(ctx, out.data, &len, in->data, (int)in->len), 1);
    out.len = (size_t)len;
    assert_int_equal(EVP_CipherFinal_ex(ctx, out.data + out.len, &len), 1);
    out.len += (size_t)len;
    return out;
}

static void assert_same(const bytes *a, const bytes *b)
{
    assert_int_equal(a->len, b->len);
    assert_memory_equal(a->data, b->data, a->len);
}

/* The tag of one context into another. */
static void pass_tag(EVP_CIPHER_CTX *from, EVP_CIPHER_CTX *to)
{
    unsigned char tag[16];

    assert_int_equal(EVP_CIPHER_CTX_ctrl(from, EVP_CTRL_AEAD_GET_TAG, 16, tag), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(to, EVP_CTRL_AEAD_SET_TAG, 16, tag), 1);
}

static void an_imported_key_serves_every_cipher_with_one_request(void **state)
{
    bytes plain = {.len = 1000};

    (void)state;
    for (size_t i = 0; i < CIPHERS; i++) {
        fixture f = open_fixture();
        bytes wrapped, key = make_key(&f, ciphers[i].key_len, &wrapped), sealed, expected, back;
        EVP_SKEY *skey = import(&f, KEY, &wrapped, CONTEXT);
        EVP_CIPHER *ordinary = EVP_CIPHER_fetch(f.app.libctx, ciphers[i].ordinary, NULL);
        EVP_CIPHER_CTX *seal = EVP_CIPHER_CTX_new(), *open = EVP_CIPHER_CTX_new();
        EVP_CIPHER_CTX *plainly = EVP_CIPHER_CTX_new();
        assert_non_null(skey);
        assert_true(EVP_SKEY_is_a(skey, KMS_PROVIDER_AES_TYPE));
        assert_true(begin(&f, seal, ciphers[i].name, skey, true));
        assert_true(begin(&f, open, ciphers[i].name, skey, false));
        EVP_SKEY_free(skey); /* the contexts go on */
        sealed = finish(seal, &plain);
        assert_int_equal(EVP_CipherInit_ex2(plainly, ordinary, key.data, iv, 1, NULL), 1);
        expected = finish(plainly, &plain);
        assert_same(&sealed, &expected);
        if (ciphers[i].aead)
            pass_tag(seal, open);
        back = finish(open, &sealed);
        assert_same(&back, &plain);
        EVP_CIPHER_CTX_free(plainly);
        EVP_CIPHER_CTX_free(open);
        EVP_CIPHER_CTX_free(seal);
        EVP_CIPHER_free(ordinary);
        close_fixture(&f, "Decrypt", 1);
    }
}

static void a_key_made_by_kms_comes_back_from_its_wrapped_form(void **state)
{
    fixture f = open_fixture();
    EVP_SKEY *made = generate(&f, 32), *imported;
    EVP_CIPHER_CTX *seal = EVP_CIPHER_CTX_new(), *open = EVP_CIPHER_CTX_new();
    bytes plain = bytes_of("message"), wrapped = {0}, sealed, back;
    long len = 0;
    unsigned char *id;

    (void)state;
    assert_non_null(made);
    assert_int_equal(test_server_count(&server, "GenerateDataKey"), 1);
    id = OPENSSL_hexstr2buf(EVP_SKEY_get0_key_id(made), &len);
    assert_non_null(id);
    memcpy(wrapped.data, id, (size_t)len);
    wrapped.len = (size_t)len;
    OPENSSL_free(id);
    test_server_reset(&server);
    imported = import(&f, KEY, &wrapped, CONTEXT);
    assert_non_null(imported);
    assert_string_equal(EVP_SKEY_get0_key_id(imported), EVP_SKEY_get0_key_id(made));
    assert_true(begin(&f, seal, "KMS-AES-256-CBC", made, true));
    sealed = finish(seal, &plain);
    assert_true(begin(&f, open, "KMS-AES-256-CBC", imported, false));
    back = finish(open, &sealed);
    assert_same(&back, &plain);
    EVP_CIPHER_CTX_free(open);
    EVP_CIPHER_CTX_free(seal);
    EVP_SKEY_free(imported);
    EVP_SKEY_free(made);
    close_fixture(&f, "Decrypt", 1);
}

static void one_context_turns_round_starts_anew_and_is_copied(void **state)
{
    fixture f = open_fixture();
    bytes plain = bytes_of("a message of more than one block"), wrapped, sealed, again, back;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new(), *copy = EVP_CIPHER_CTX_new();
    EVP_SKEY *skey;

    (void)state;
    make_key(&f, 32, &wrapped);
    skey = import(&f, KEY, &wrapped, CONTEXT);
    assert_true(begin(&f, ctx, "KMS-AES-256-CBC", skey, true));
    EVP_SKEY_free(skey);
    sealed = finish(ctx, &plain);
    assert_int_equal(EVP_CipherInit_ex2(ctx, NULL, NULL, iv, 0, NULL), 1);
    assert_int_equal(EVP_CIPHER_CTX_copy(copy, ctx), 1);
    back = finish(ctx, &sealed);
    assert_same(&back, &plain);
    EVP_CIPHER_CTX_free(ctx);
    assert_int_equal(EVP_CipherInit_ex2(copy, NULL, NULL, iv, 1, NULL), 1);
    again = finish(copy, &plain);
    assert_same(&again, &sealed);
    EVP_CIPHER_CTX_free(copy);
    close_fixture(&f, "Decrypt", 1);
}

static int seen_address, seen_wrapped, seen_other;

static int see(const OSSL_PARAM params[], void *arg)
{
    (void)arg;
    for (; params->key != NULL; params++) {
        if (strcmp(params->key, KMS_PROVIDER_PARAM_KEY_ADDRESS) == 0)
            seen_address++;
        else if (strcmp(params->key, KMS_PROVIDER_PARAM_WRAPPED_KEY) == 0)
            seen_wrapped++;
        else
            seen_other++;
    }
    return 1;
}

static void the_bytes_are_given_to_nobody(void **state)
{
    fixture f = open_fixture();
    EVP_SKEY *skey = generate(&f, 32);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    const unsigned char *raw = NULL;
    size_t len = 0;

    (void)state;
    assert_int_not_equal(EVP_SKEY_get0_raw_key(skey, &raw, &len), 1);
    assert_first_error("key material of a KMS key cannot be exported", "KMS-AES-");
    assert_int_not_equal(EVP_SKEY_export(skey, OSSL_SKEYMGMT_SELECT_ALL, see, NULL), 1);
    assert_first_error("key material of a KMS key cannot be exported", "");
    assert_int_equal(seen_address + seen_wrapped + seen_other, 0);
    assert_int_equal(EVP_SKEY_export(skey, OSSL_SKEYMGMT_SELECT_PARAMETERS, see, NULL), 1);
    assert_int_equal(seen_address, 1);
    assert_int_equal(seen_wrapped, 1);
    assert_int_equal(seen_other, 0);
    assert_false(begin(&f, ctx, "AES-256-GCM", skey, true));
    ERR_clear_error();
    EVP_CIPHER_CTX_free(ctx);
    EVP_SKEY_free(skey);
    close_fixture(&f, "GenerateDataKey", 1);
}

static void a_key_that_cannot_be_unwrapped_is_an_error_of_the_import(void **state)
{
    fixture f = open_fixture();
    bytes wrapped, empty = {0};
    const unsigned char raw[32] = {0};

    (void)state;
    make_key(&f, 32, &wrapped);
    assert_null(import(&f, NULL, &wrapped, CONTEXT));
    assert_first_error("no key is configured", "key-address");
    assert_null(import(&f, KEY, NULL, CONTEXT));
    assert_first_error("no key is configured", "wrapped-key");
    assert_null(import(&f, KEY, &empty, CONTEXT));
    assert_first_error("ciphertext has an impossible size", "");
    assert_null(import(&f, KEY, &wrapped, NULL));
    assert_first_error("encryption context is missing", "");
    assert_null(EVP_SKEY_import_raw_key(f.app.libctx, KMS_PROVIDER_AES_TYPE, (void *)(uintptr_t)raw,
                                        32, NULL));
    assert_first_error("no key is configured", "wrapped-key");
    assert_int_equal(requests(&server), 0);
    wrapped.data[wrapped.len - 1] ^= 1;
    assert_null(import(&f, KEY, &wrapped, CONTEXT));
    assert_first_error("encryption context mismatch or altered ciphertext", "");
    close_fixture(&f, "Decrypt", 1);
}

static void a_key_of_another_size_is_refused(void **state)
{
    fixture f = open_fixture();
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bytes wrapped;
    EVP_SKEY *skey;

    (void)state;
    make_key(&f, 20, &wrapped);
    assert_null(import(&f, KEY, &wrapped, CONTEXT));
    assert_first_error("data key has the wrong size", "20 bytes");
    assert_null(generate(&f, 20));
    assert_first_error("data key has the wrong size", "16, 24 or 32");
    assert_int_equal(requests(&server), 1);
    make_key(&f, 16, &wrapped);
    skey = import(&f, KEY, &wrapped, CONTEXT);
    assert_non_null(skey);
    assert_false(begin(&f, ctx, "KMS-AES-256-GCM", skey, true));
    assert_first_error("data key has the wrong size", "16 bytes for AES-256-GCM");
    EVP_CIPHER_CTX_free(ctx);
    EVP_SKEY_free(skey);
    close_fixture(&f, "Decrypt", 1);
}

static int set_up(void **state)
{
    (void)state;
    test_server_start(&server, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_imported_key_serves_every_cipher_with_one_request),
        cmocka_unit_test(a_key_made_by_kms_comes_back_from_its_wrapped_form),
        cmocka_unit_test(one_context_turns_round_starts_anew_and_is_copied),
        cmocka_unit_test(the_bytes_are_given_to_nobody),
        cmocka_unit_test(a_key_that_cannot_be_unwrapped_is_an_error_of_the_import),
        cmocka_unit_test(a_key_of_another_size_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
