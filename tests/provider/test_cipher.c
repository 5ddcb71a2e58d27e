/* AES by data keys that the application has in wrapped form alone. */
#include "tests/provider/application.h"

#include "include/kms/kms_provider.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

static test_server server;

static const struct {
    const char *name, *ordinary;
    size_t key_len, iv_len;
    bool aead;
} ciphers[] = {
    {"KMS-AES-128-GCM", "AES-128-GCM", 16, 12, true},
    {"KMS-AES-192-GCM", "AES-192-GCM", 24, 12, true},
    {"KMS-AES-256-GCM", "AES-256-GCM", 32, 12, true},
    {"KMS-AES-128-CBC", "AES-128-CBC", 16, 16, false},
    {"KMS-AES-192-CBC", "AES-192-CBC", 24, 16, false},
    {"KMS-AES-256-CBC", "AES-256-CBC", 32, 16, false},
    {"KMS-AES-128-CTR", "AES-128-CTR", 16, 16, false},
    {"KMS-AES-192-CTR", "AES-192-CTR", 24, 16, false},
    {"KMS-AES-256-CTR", "AES-256-CTR", 32, 16, false},
};
#define CIPHERS (sizeof(ciphers) / sizeof(ciphers[0]))

static const unsigned char iv[16] = "0123456789abcde";

typedef struct fixture {
    application app;
    EVP_PKEY *key;
} fixture;

static fixture open_fixture(void)
{
    fixture f = {.app = application_open()};

    f.key = application_key(&f.app, KEY);
    test_server_reset(&server);
    return f;
}

static void close_fixture(fixture *f)
{
    assert_no_error();
    EVP_PKEY_free(f->key);
    application_close(&f->app);
}

/* A key of that many bytes, as the test knows it and as the cipher gets it. */
static bytes make_key(const fixture *f, size_t len, bytes *wrapped)
{
    bytes key = {.len = len};

    for (size_t i = 0; i < len; i++)
        key.data[i] = (unsigned char)(i * 11 + len);
    assert_true(wrap(&f->app, f->key, CONTEXT, &key, wrapped));
    test_server_reset(&server);
    return key;
}

/* Up to three parameters; NULL leaves one out. */
static void fill(OSSL_PARAM params[4], const char *address, const bytes *wrapped,
                 const char *context)
{
    if (address != NULL)
        *params++ = OSSL_PARAM_construct_utf8_string(KMS_PROVIDER_PARAM_KEY_ADDRESS,
                                                     (char *)(uintptr_t)address, 0);
    if (wrapped != NULL)
        *params++ = OSSL_PARAM_construct_octet_string(
            KMS_PROVIDER_PARAM_WRAPPED_KEY, (void *)(uintptr_t)wrapped->data, wrapped->len);
    if (context != NULL)
        *params++ = OSSL_PARAM_construct_utf8_string(KMS_PROVIDER_PARAM_CONTEXT,
                                                     (char *)(uintptr_t)context, 0);
    *params = OSSL_PARAM_construct_end();
}

static EVP_CIPHER_CTX *begin(const fixture *f, const char *name, const bytes *wrapped, bool encrypt)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(f->app.libctx, name, NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    OSSL_PARAM params[4];

    assert_non_null(cipher);
    fill(params, KEY, wrapped, CONTEXT);
    assert_int_equal(EVP_CipherInit_ex2(ctx, cipher, NULL, iv, encrypt, params), 1);
    EVP_CIPHER_free(cipher);
    return ctx;
}

/* The same with an ordinary cipher and the key in the clear. */
static EVP_CIPHER_CTX *begin_ordinary(const fixture *f, const char *name, const bytes *key,
                                      bool encrypt)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(f->app.libctx, name, NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    assert_non_null(cipher);
    assert_int_equal(EVP_CipherInit_ex2(ctx, cipher, key->data, iv, encrypt, NULL), 1);
    EVP_CIPHER_free(cipher);
    return ctx;
}

/* Everything in pieces of that size; AAD first where the cipher has it. */
static bytes run(EVP_CIPHER_CTX *ctx, bool aead, const bytes *in, size_t piece)
{
    bytes out = {0};
    int len;

    if (aead)
        assert_int_equal(EVP_CipherUpdate(ctx, NULL, &len, (const unsigned char *)"aad", 3), 1);
    for (size_t at = 0; at < in->len; at += piece) {
        size_t part = in->len - at < piece ? in->len - at : piece;
        assert_int_equal(EVP_CipherUpdate(ctx, out.data + out.len, &len, in->data + at, (int)part),
                         1);
        out.len += (size_t)len;
    }
    assert_int_equal(EVP_CipherFinal_ex(ctx, out.data + out.len, &len), 1);
    out.len += (size_t)len;
    return out;
}

static void every_cipher_does_what_the_ordinary_one_does_with_one_request(void **state)
{
    fixture f = open_fixture();
    bytes plain = {.len = 1000};

    (void)state;
    for (size_t i = 0; i < plain.len; i++)
        plain.data[i] = (unsigned char)i;
    for (size_t i = 0; i < CIPHERS; i++) {
        bytes wrapped, key = make_key(&f, ciphers[i].key_len, &wrapped), sealed, expected, back;
        EVP_CIPHER_CTX *ctx = begin(&f, ciphers[i].name, &wrapped, true);
        unsigned char tag[16], expected_tag[16];
        assert_int_equal(EVP_CIPHER_CTX_get_key_length(ctx), ciphers[i].key_len);
        assert_int_equal(EVP_CIPHER_CTX_get_iv_length(ctx), ciphers[i].iv_len);
        assert_int_equal(test_server_count(&server, "Decrypt"), 0);
        sealed = run(ctx, ciphers[i].aead, &plain, 37);
        if (ciphers[i].aead)
            assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag), 1);
        assert_int_equal(test_server_count(&server, "Decrypt"), 1);
        EVP_CIPHER_CTX_free(ctx);

        ctx = begin_ordinary(&f, ciphers[i].ordinary, &key, true);
        expected = run(ctx, ciphers[i].aead, &plain, plain.len);
        if (ciphers[i].aead) {
            assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, expected_tag), 1);
            assert_memory_equal(tag, expected_tag, 16);
        }
        EVP_CIPHER_CTX_free(ctx);
        assert_int_equal(sealed.len, expected.len);
        assert_memory_equal(sealed.data, expected.data, sealed.len);

        test_server_reset(&server);
        ctx = begin(&f, ciphers[i].name, &wrapped, false);
        if (ciphers[i].aead)
            assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, tag), 1);
        back = run(ctx, ciphers[i].aead, &sealed, 64);
        assert_int_equal(test_server_count(&server, "Decrypt"), 1);
        EVP_CIPHER_CTX_free(ctx);
        assert_int_equal(back.len, plain.len);
        assert_memory_equal(back.data, plain.data, plain.len);
    }
    close_fixture(&f);
}

static void many_messages_use_one_unwrapped_key(void **state)
{
    fixture f = open_fixture();
    bytes plain = bytes_of("message"), wrapped;
    EVP_CIPHER_CTX *ctx;

    (void)state;
    make_key(&f, 32, &wrapped);
    ctx = begin(&f, "KMS-AES-256-GCM", &wrapped, true);
    for (unsigned char i = 0; i < 10; i++) {
        unsigned char nonce[12] = {i};
        assert_int_equal(EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, 1, NULL), 1);
        run(ctx, true, &plain, 7);
    }
    assert_int_equal(test_server_count(&server, "Decrypt"), 1);
    EVP_CIPHER_CTX_free(ctx);
    close_fixture(&f);
}

static void parameters_may_come_before_init_and_in_any_order(void **state)
{
    fixture f = open_fixture();
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(f.app.libctx, "KMS-AES-256-CBC", NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bytes plain = bytes_of("message"), wrapped, key = make_key(&f, 32, &wrapped), out, expected;
    OSSL_PARAM params[4];

    (void)state;
    assert_int_equal(EVP_CipherInit_ex2(ctx, cipher, NULL, NULL, 1, NULL), 1);
    fill(params, NULL, &wrapped, NULL);
    assert_int_equal(EVP_CIPHER_CTX_set_params(ctx, params), 1);
    fill(params, KEY, NULL, NULL);
    assert_int_equal(EVP_CIPHER_CTX_set_params(ctx, params), 1);
    fill(params, NULL, NULL, "dataType=credentials");
    assert_int_equal(EVP_CIPHER_CTX_set_params(ctx, params), 1);
    fill(params, NULL, NULL, "operationId=op-1");
    assert_int_equal(EVP_CIPHER_CTX_set_params(ctx, params), 1);
    assert_int_equal(EVP_CipherInit_ex2(ctx, NULL, NULL, iv, 1, NULL), 1);
    out = run(ctx, false, &plain, 7);
    EVP_CIPHER_CTX_free(ctx);
    ctx = begin_ordinary(&f, "AES-256-CBC", &key, true);
    expected = run(ctx, false, &plain, 7);
    assert_int_equal(out.len, expected.len);
    assert_memory_equal(out.data, expected.data, out.len);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    close_fixture(&f);
}

static void in_place_works(void **state)
{
    fixture f = open_fixture();
    bytes data = {.len = 512}, before, wrapped;
    int len, last;

    (void)state;
    make_key(&f, 32, &wrapped);
    for (size_t i = 0; i < 3; i++) {
        static const char *const names[] = {"KMS-AES-256-GCM", "KMS-AES-256-CTR",
                                            "KMS-AES-256-CBC"};
        before = data;
        EVP_CIPHER_CTX *ctx = begin(&f, names[i], &wrapped, true);
        assert_int_equal(EVP_CIPHER_CTX_set_padding(ctx, 0), 1);
        assert_int_equal(EVP_CipherUpdate(ctx, data.data, &len, data.data, 512), 1);
        assert_int_equal(EVP_CipherFinal_ex(ctx, data.data + len, &last), 1);
        assert_int_equal(len + last, 512);
        assert_memory_not_equal(data.data, before.data, 512);
        EVP_CIPHER_CTX_free(ctx);
        ctx = begin(&f, names[i], &wrapped, false);
        assert_int_equal(EVP_CIPHER_CTX_set_padding(ctx, 0), 1);
        assert_int_equal(EVP_CipherUpdate(ctx, data.data, &len, data.data, 512), 1);
        assert_memory_equal(data.data, before.data, (size_t)len);
        EVP_CIPHER_CTX_free(ctx);
    }
    close_fixture(&f);
}

static void long_ivs_of_gcm_work(void **state)
{
    fixture f = open_fixture();
    bytes plain = bytes_of("message"), wrapped, key = make_key(&f, 32, &wrapped), out[2];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        EVP_CIPHER_CTX *ctx = i == 0 ? begin(&f, "KMS-AES-256-GCM", &wrapped, true)
                                     : begin_ordinary(&f, "AES-256-GCM", &key, true);
        assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, 16, NULL), 1);
        assert_int_equal(EVP_CIPHER_CTX_get_iv_length(ctx), 16);
        assert_int_equal(EVP_CipherInit_ex2(ctx, NULL, NULL, iv, 1, NULL), 1);
        out[i] = run(ctx, true, &plain, 3);
        EVP_CIPHER_CTX_free(ctx);
    }
    assert_memory_equal(out[0].data, out[1].data, plain.len);
    close_fixture(&f);
}

static void copies_go_their_own_way(void **state)
{
    fixture f = open_fixture();
    bytes plain = bytes_of("0123456789abcdef0123456789abcdef"), wrapped, key, expected;
    unsigned char a[64], b[64];
    EVP_CIPHER_CTX *ctx, *copy = EVP_CIPHER_CTX_new();
    int len;

    (void)state;
    key = make_key(&f, 32, &wrapped);
    ctx = begin(&f, "KMS-AES-256-CTR", &wrapped, true);
    /* Before the key is there, and after. */
    assert_int_equal(EVP_CIPHER_CTX_copy(copy, ctx), 1);
    assert_int_equal(EVP_CipherUpdate(copy, b, &len, plain.data, 16), 1);
    assert_int_equal(EVP_CipherUpdate(ctx, a, &len, plain.data, 16), 1);
    assert_memory_equal(a, b, 16);
    assert_int_equal(EVP_CIPHER_CTX_reset(copy), 1);
    assert_int_equal(EVP_CIPHER_CTX_copy(copy, ctx), 1);
    assert_int_equal(test_server_count(&server, "Decrypt"), 2);
    EVP_CIPHER_CTX_free(ctx);
    assert_int_equal(EVP_CipherUpdate(copy, a + 16, &len, plain.data + 16, 16), 1);
    assert_int_equal(test_server_count(&server, "Decrypt"), 2);
    EVP_CIPHER_CTX_free(copy);
    ctx = begin_ordinary(&f, "AES-256-CTR", &key, true);
    expected = run(ctx, false, &plain, 32);
    assert_memory_equal(a, expected.data, 32);
    EVP_CIPHER_CTX_free(ctx);
    close_fixture(&f);
}

static void a_wrong_tag_or_padding_is_refused(void **state)
{
    fixture f = open_fixture();
    bytes plain = bytes_of("message"), wrapped, sealed, out;
    unsigned char tag[16] = {0};
    EVP_CIPHER_CTX *ctx;
    int len;

    (void)state;
    make_key(&f, 32, &wrapped);
    ctx = begin(&f, "KMS-AES-256-GCM", &wrapped, true);
    sealed = run(ctx, false, &plain, 7);
    EVP_CIPHER_CTX_free(ctx);
    ctx = begin(&f, "KMS-AES-256-GCM", &wrapped, false);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, tag), 1);
    assert_int_equal(EVP_CipherUpdate(ctx, out.data, &len, sealed.data, (int)sealed.len), 1);
    assert_int_equal(EVP_CipherFinal_ex(ctx, out.data, &len), 0);
    assert_only_error("AES refused the data", "the tag is not right");
    EVP_CIPHER_CTX_free(ctx);
    ctx = begin(&f, "KMS-AES-256-CBC", &wrapped, false);
    sealed.len = 15;
    assert_int_equal(EVP_CipherUpdate(ctx, out.data, &len, sealed.data, (int)sealed.len), 1);
    assert_int_equal(EVP_CipherFinal_ex(ctx, out.data, &len), 0);
    assert_only_error("AES refused the data", "or a block not whole");
    EVP_CIPHER_CTX_free(ctx);
    close_fixture(&f);
}

/* The first use fails with this, and nothing comes out. */
static void assert_use_fails(EVP_CIPHER_CTX *ctx, const char *sentence, const char *detail)
{
    unsigned char out[32] = {0xaa};
    int len = 0;

    assert_int_equal(EVP_CipherUpdate(ctx, out, &len, (const unsigned char *)"x", 1), 0);
    assert_only_error(sentence, detail);
    assert_int_equal(out[0], 0xaa);
}

static void a_key_of_another_size_is_refused(void **state)
{
    fixture f = open_fixture();
    bytes wrapped;

    (void)state;
    for (size_t i = 0; i < CIPHERS; i++) {
        make_key(&f, ciphers[i].key_len == 32 ? 16 : 32, &wrapped);
        EVP_CIPHER_CTX *ctx = begin(&f, ciphers[i].name, &wrapped, true);
        assert_use_fails(ctx, "data key has the wrong size", ciphers[i].ordinary);
        EVP_CIPHER_CTX_free(ctx);
    }
    close_fixture(&f);
}

static void what_policy_or_kms_refuses_is_refused(void **state)
{
    fixture f = open_fixture();
    bytes wrapped;
    EVP_CIPHER_CTX *ctx;
    OSSL_PARAM params[4];

    (void)state;
    make_key(&f, 32, &wrapped);
    ctx = begin(&f, "KMS-AES-256-GCM", &wrapped, true);
    fill(params, KEY, NULL, NULL); /* an address begins anew: without a context */
    assert_int_equal(EVP_CIPHER_CTX_set_params(ctx, params), 1);
    assert_use_fails(ctx, "encryption context is missing", "");
    fill(params, KEY, NULL, "{\"dataType\":\"credentials\",\"operationId\":\"op-2\"}");
    assert_int_equal(EVP_CIPHER_CTX_set_params(ctx, params), 1);
    assert_use_fails(ctx, "encryption context mismatch or altered ciphertext", "request id");
    fill(params, OTHER_KEY, NULL, CONTEXT);
    assert_int_equal(EVP_CIPHER_CTX_set_params(ctx, params), 1);
    assert_use_fails(ctx, "ciphertext belongs to another key", "request id");
    fill(params, "kms:alias/nobody", NULL, CONTEXT);
    assert_int_equal(EVP_CIPHER_CTX_set_params(ctx, params), 1);
    assert_use_fails(ctx, "key not found", "request id");
    fill(params, "kms:alias/rsa", NULL, CONTEXT);
    assert_int_equal(EVP_CIPHER_CTX_set_params(ctx, params), 1);
    assert_use_fails(ctx, "key is made for another use", "RSA_2048");
    fill(params, "nonsense", NULL, NULL);
    assert_int_equal(EVP_CIPHER_CTX_set_params(ctx, params), 0);
    assert_only_error("key address is not valid", "");
    EVP_CIPHER_CTX_free(ctx);
    close_fixture(&f);
}

static void a_key_in_the_clear_or_none_is_refused(void **state)
{
    fixture f = open_fixture();
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(f.app.libctx, "KMS-AES-256-GCM", NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    static const unsigned char raw[32] = {0};
    bytes wrapped = {.len = 0};
    OSSL_PARAM params[4];

    (void)state;
    assert_int_equal(EVP_CipherInit_ex2(ctx, cipher, raw, iv, 1, NULL), 0);
    assert_only_error("invalid argument", "key-address and wrapped-key alone");
    assert_int_equal(EVP_CipherInit_ex2(ctx, cipher, NULL, iv, 1, NULL), 1);
    assert_use_fails(ctx, "no key is configured", "set key-address and wrapped-key");
    fill(params, KEY, &wrapped, NULL);
    assert_int_equal(EVP_CIPHER_CTX_set_params(ctx, params), 0);
    assert_only_error("ciphertext has an impossible size", "");
    wrapped.len = 6145;
    fill(params, KEY, &wrapped, NULL);
    assert_int_equal(EVP_CIPHER_CTX_set_params(ctx, params), 0);
    assert_only_error("ciphertext has an impossible size", "");
    assert_int_equal(test_server_count(&server, "Decrypt"), 0);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    close_fixture(&f);
}

static void nothing_gives_the_key_out(void **state)
{
    fixture f = open_fixture();
    bytes plain = bytes_of("message"), wrapped, key = make_key(&f, 32, &wrapped);
    EVP_CIPHER_CTX *ctx = begin(&f, "KMS-AES-256-CBC", &wrapped, true);
    unsigned char room[64] = {0};

    (void)state;
    run(ctx, false, &plain, 7);
    for (const OSSL_PARAM *p = EVP_CIPHER_CTX_gettable_params(ctx); p->key != NULL; p++) {
        OSSL_PARAM params[] = {
            OSSL_PARAM_construct_octet_string(p->key, room, sizeof(room)),
            OSSL_PARAM_construct_end(),
        };
        EVP_CIPHER_CTX_get_params(ctx, params);
        assert_null(memmem(room, sizeof(room), key.data, 8));
    }
    ERR_clear_error();
    EVP_CIPHER_CTX_free(ctx);
    close_fixture(&f);
}

static void the_ordinary_names_stay_with_default(void **state)
{
    application app = application_open_order("kms", "default");

    (void)state;
    for (size_t i = 0; i < CIPHERS; i++) {
        EVP_CIPHER *cipher = EVP_CIPHER_fetch(app.libctx, ciphers[i].ordinary, NULL);
        assert_non_null(cipher);
        assert_string_equal(OSSL_PROVIDER_get0_name(EVP_CIPHER_get0_provider(cipher)), "default");
        EVP_CIPHER_free(cipher);
    }
    application_close(&app);
}

static int set_up(void **state)
{
    static const char *const options[] = {"--seed-key", "alias/other", "--seed-key",
                                          "alias/rsa:RSA_2048:SIGN_VERIFY", NULL};

    (void)state;
    test_server_start(&server, options);
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
        cmocka_unit_test(every_cipher_does_what_the_ordinary_one_does_with_one_request),
        cmocka_unit_test(many_messages_use_one_unwrapped_key),
        cmocka_unit_test(parameters_may_come_before_init_and_in_any_order),
        cmocka_unit_test(in_place_works),
        cmocka_unit_test(long_ivs_of_gcm_work),
        cmocka_unit_test(copies_go_their_own_way),
        cmocka_unit_test(a_wrong_tag_or_padding_is_refused),
        cmocka_unit_test(a_key_of_another_size_is_refused),
        cmocka_unit_test(what_policy_or_kms_refuses_is_refused),
        cmocka_unit_test(a_key_in_the_clear_or_none_is_refused),
        cmocka_unit_test(nothing_gives_the_key_out),
        cmocka_unit_test(the_ordinary_names_stay_with_default),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
