/* HMAC by KMS: EVP_MAC by the key's address, EVP_DigestSign and EVP_DigestVerify by a loaded key.
 */
#include "tests/provider/application.h"

#include "include/kms/kms_provider.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/pem.h>

static test_server server;

static const struct {
    const char *uri, *digest;
    size_t size;
} keys[] = {
    {"kms:alias/hmac224", "SHA224", 28},
    {"kms:alias/hmac256", "SHA256", 32},
    {"kms:alias/hmac384", "SHA384", 48},
    {"kms:alias/hmac512", "SHA512", 64},
};

typedef struct fixture {
    application app;
    EVP_PKEY *key;
    EVP_MAC *mac;
} fixture;

static fixture open_fixture(void)
{
    fixture f = {.app = application_open()};

    f.key = application_key(&f.app, "kms:alias/hmac256");
    f.mac = EVP_MAC_fetch(f.app.libctx, KMS_PROVIDER_HMAC_TYPE, NULL);
    assert_non_null(f.mac);
    test_server_reset(&server);
    return f;
}

static void close_fixture(fixture *f)
{
    assert_no_error();
    EVP_MAC_free(f->mac);
    EVP_PKEY_free(f->key);
    application_close(&f->app);
}

/* Parameters of EVP_MAC_init; each may be NULL. */
static int init(EVP_MAC_CTX *ctx, const char *address, const char *digest)
{
    OSSL_PARAM params[3], *p = params;

    if (address != NULL)
        *p++ = OSSL_PARAM_construct_utf8_string(KMS_PROVIDER_PARAM_KEY_ADDRESS,
                                                (char *)(uintptr_t)address, 0);
    if (digest != NULL)
        *p++ =
            OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)digest, 0);
    *p = OSSL_PARAM_construct_end();
    return EVP_MAC_init(ctx, NULL, 0, params);
}

static bool finish(EVP_MAC_CTX *ctx, bytes *out)
{
    return EVP_MAC_final(ctx, out->data, &out->len, sizeof(out->data)) == 1;
}

static bool sign(const fixture *f, EVP_PKEY *key, const char *digest, const bytes *message,
                 bytes *out)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestSignInit_ex(ctx, NULL, digest, f->app.libctx, NULL, key, NULL) == 1;

    out->len = sizeof(out->data);
    ok = ok && EVP_DigestSign(ctx, out->data, &out->len, message->data, message->len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool verify(const fixture *f, EVP_PKEY *key, const bytes *message, const bytes *mac)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestVerifyInit_ex(ctx, NULL, NULL, f->app.libctx, NULL, key, NULL) == 1;

    ok = ok && EVP_DigestVerify(ctx, mac->data, mac->len, message->data, message->len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static void both_doors_make_one_mac_by_one_request(void **state)
{
    fixture f = open_fixture();
    bytes message = bytes_of("message"), by_mac, by_signature;

    (void)state;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(f.mac);
        EVP_PKEY *key = application_key(&f.app, keys[i].uri);
        assert_true(EVP_PKEY_is_a(key, KMS_PROVIDER_HMAC_TYPE));
        assert_int_equal(EVP_PKEY_get_size(key), keys[i].size);
        assert_int_equal(EVP_PKEY_get_bits(key), keys[i].size * 8);
        test_server_reset(&server);
        assert_int_equal(init(ctx, keys[i].uri, keys[i].digest), 1);
        assert_int_equal(EVP_MAC_CTX_get_mac_size(ctx), keys[i].size);
        for (size_t k = 0; k < message.len; k++)
            assert_int_equal(EVP_MAC_update(ctx, message.data + k, 1), 1);
        assert_int_equal(test_server_count(&server, "GenerateMac"), 0);
        assert_true(finish(ctx, &by_mac));
        assert_int_equal(test_server_count(&server, "GenerateMac"), 1);
        assert_int_equal(by_mac.len, keys[i].size);
        assert_true(sign(&f, key, keys[i].digest, &message, &by_signature));
        assert_int_equal(test_server_count(&server, "GenerateMac"), 2);
        assert_int_equal(by_signature.len, by_mac.len);
        assert_memory_equal(by_signature.data, by_mac.data, by_mac.len);
        EVP_PKEY_free(key);
        EVP_MAC_CTX_free(ctx);
    }
    close_fixture(&f);
}

static void kms_verifies_by_one_request(void **state)
{
    fixture f = open_fixture();
    bytes message = bytes_of("message"), other = bytes_of("massage"), mac = {.len = 0};

    (void)state;
    assert_true(sign(&f, f.key, NULL, &message, &mac));
    test_server_reset(&server);
    assert_true(verify(&f, f.key, &message, &mac));
    assert_int_equal(test_server_count(&server, "VerifyMac"), 1);
    assert_int_equal(test_server_count(&server, "GenerateMac"), 0);
    assert_false(verify(&f, f.key, &other, &mac));
    assert_only_error("MAC is not right", "request id ");
    mac.data[0] ^= 1;
    assert_false(verify(&f, f.key, &message, &mac));
    assert_only_error("MAC is not right", "request id ");
    assert_int_equal(test_server_count(&server, "VerifyMac"), 3);
    mac.len = 16;
    assert_false(verify(&f, f.key, &message, &mac));
    assert_only_error("MAC is not right", "16 bytes, not 32");
    assert_int_equal(test_server_count(&server, "VerifyMac"), 3);
    close_fixture(&f);
}

static void a_message_may_have_4096_bytes_and_no_more(void **state)
{
    fixture f = open_fixture();
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(f.mac);
    bytes message = {.len = 4096}, mac;

    (void)state;
    assert_int_equal(init(ctx, "kms:alias/hmac256", NULL), 1);
    assert_int_equal(EVP_MAC_update(ctx, message.data, 4096), 1);
    assert_true(finish(ctx, &mac));
    assert_int_equal(init(ctx, NULL, NULL), 1); /* the key stays */
    assert_int_equal(EVP_MAC_update(ctx, message.data, 4000), 1);
    assert_int_equal(EVP_MAC_update(ctx, message.data, 97), 0);
    assert_only_error("message is larger than 4096 bytes, the limit of KMS",
                      "4000 bytes and 97 more");
    test_server_reset(&server);
    assert_int_equal(init(ctx, NULL, NULL), 1);
    assert_false(finish(ctx, &mac));
    assert_only_error("message is empty", "0 bytes");
    message.len = 4097;
    assert_false(sign(&f, f.key, NULL, &message, &mac));
    assert_only_error("message is larger than 4096 bytes, the limit of KMS", "4097 more");
    assert_int_equal(test_server_count(&server, "GenerateMac"), 0);
    EVP_MAC_CTX_free(ctx);
    close_fixture(&f);
}

static void what_names_no_hmac_key_is_refused(void **state)
{
    fixture f = open_fixture();
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(f.mac);
    static const unsigned char raw[32] = {0};

    (void)state;
    assert_int_equal(init(ctx, NULL, NULL), 0);
    assert_only_error("no key is configured", "set key-address");
    assert_int_equal(init(ctx, "hmac256", NULL), 0);
    assert_only_error("key address is not valid", "");
    assert_int_equal(init(ctx, "kms:", NULL), 0);
    assert_only_error("key address is not valid", "it names no key");
    assert_int_equal(init(ctx, "kms:alias/nobody", NULL), 0);
    assert_only_error("key not found", "request id ");
    assert_int_equal(init(ctx, KEY, NULL), 0);
    assert_only_error("key is made for another use", "SYMMETRIC_DEFAULT, no HMAC key");
    assert_int_equal(init(ctx, "kms:alias/hmac256", "SHA512"), 0);
    assert_only_error("KMS has no such algorithm for this key", "HMAC with SHA512");
    assert_int_equal(EVP_MAC_init(ctx, raw, sizeof(raw), NULL), 0);
    assert_only_error("invalid argument", "name it by key-address");
    assert_int_equal(EVP_MAC_update(ctx, raw, 1), 0);
    assert_only_error("invalid argument", "update before init");
    EVP_MAC_CTX_free(ctx);
    close_fixture(&f);
}

static void another_digest_than_the_keys_is_refused(void **state)
{
    fixture f = open_fixture();
    bytes message = bytes_of("message"), mac;
    char digest[32];

    (void)state;
    assert_int_equal(EVP_PKEY_get_default_digest_name(f.key, digest, sizeof(digest)), 1);
    assert_string_equal(digest, "SHA2-256");
    assert_false(sign(&f, f.key, "SHA1", &message, &mac));
    assert_only_error("KMS has no such algorithm for this key", "HMAC with SHA1");
    assert_int_equal(test_server_count(&server, "GenerateMac"), 0);
    close_fixture(&f);
}

static void copies_go_their_own_way(void **state)
{
    fixture f = open_fixture();
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(f.mac), *copy;
    bytes first, second, whole, message = bytes_of("one two");

    (void)state;
    assert_int_equal(init(ctx, "kms:alias/hmac256", NULL), 1);
    assert_int_equal(EVP_MAC_update(ctx, message.data, 3), 1);
    copy = EVP_MAC_CTX_dup(ctx);
    assert_non_null(copy);
    assert_int_equal(EVP_MAC_update(copy, message.data + 3, 4), 1);
    assert_true(finish(ctx, &first));
    assert_true(finish(copy, &second));
    assert_true(sign(&f, f.key, NULL, &message, &whole));
    assert_memory_equal(second.data, whole.data, 32);
    assert_memory_not_equal(first.data, whole.data, 32);
    EVP_MAC_CTX_free(copy);
    EVP_MAC_CTX_free(ctx);
    close_fixture(&f);
}

static void sizes_cost_no_request_and_short_buffers_are_refused(void **state)
{
    fixture f = open_fixture();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char out[32] = {0xaa};
    size_t len = 0;

    (void)state;
    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, NULL, f.app.libctx, NULL, f.key, NULL), 1);
    assert_int_equal(EVP_DigestSignUpdate(ctx, "x", 1), 1);
    assert_int_equal(EVP_DigestSignFinal(ctx, NULL, &len), 1);
    assert_int_equal(len, 32);
    len = 31;
    assert_int_equal(EVP_DigestSignFinal(ctx, out, &len), 0);
    assert_only_error("output buffer too small", "");
    assert_int_equal(out[0], 0xaa);
    assert_int_equal(test_server_count(&server, "GenerateMac"), 0);
    EVP_MD_CTX_free(ctx);
    close_fixture(&f);
}

static void a_key_reference_loads_without_network(void **state)
{
    fixture f = open_fixture();
    BIO *pem = BIO_new(BIO_s_mem());
    bytes message = bytes_of("message"), a, b;
    EVP_PKEY *back;

    (void)state;
    assert_int_equal(PEM_write_bio_PrivateKey(pem, f.key, NULL, NULL, 0, NULL, NULL), 1);
    network_attempts();
    back = PEM_read_bio_PrivateKey_ex(pem, NULL, NULL, NULL, f.app.libctx, NULL);
    assert_int_equal(network_attempts(), 0);
    assert_non_null(back);
    assert_true(EVP_PKEY_is_a(back, KMS_PROVIDER_HMAC_TYPE));
    assert_int_equal(EVP_PKEY_eq(back, f.key), 1);
    assert_true(sign(&f, back, NULL, &message, &a));
    assert_true(sign(&f, f.key, NULL, &message, &b));
    assert_memory_equal(a.data, b.data, 32);
    EVP_PKEY_free(back);
    BIO_free(pem);
    close_fixture(&f);
}

static int set_up(void **state)
{
    static const char *const options[] = {
        "--seed-key", "alias/hmac224:HMAC_224", "--seed-key", "alias/hmac256:HMAC_256",
        "--seed-key", "alias/hmac384:HMAC_384", "--seed-key", "alias/hmac512:HMAC_512",
        NULL};

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
        cmocka_unit_test(both_doors_make_one_mac_by_one_request),
        cmocka_unit_test(kms_verifies_by_one_request),
        cmocka_unit_test(a_message_may_have_4096_bytes_and_no_more),
        cmocka_unit_test(what_names_no_hmac_key_is_refused),
        cmocka_unit_test(another_digest_than_the_keys_is_refused),
        cmocka_unit_test(copies_go_their_own_way),
        cmocka_unit_test(sizes_cost_no_request_and_short_buffers_are_refused),
        cmocka_unit_test(a_key_reference_loads_without_network),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
