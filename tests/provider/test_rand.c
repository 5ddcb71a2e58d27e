/* Random bytes of KMS by EVP_RAND, and by RAND_bytes where the configuration asks for them. */
#include "tests/integration/peer.h"
#include "tests/provider/application.h"

#include "include/kms/kms_provider.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rand.h>

static test_server server;

static EVP_RAND_CTX *new_rand(const application *app)
{
    EVP_RAND *rand = EVP_RAND_fetch(app->libctx, KMS_PROVIDER_RAND, NULL);
    EVP_RAND_CTX *ctx = EVP_RAND_CTX_new(rand, NULL);

    assert_non_null(ctx);
    EVP_RAND_free(rand);
    test_server_reset(&server);
    return ctx;
}

static long asked(void)
{
    return test_server_count(&server, "GenerateRandom");
}

static bool all_zero(const unsigned char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (data[i] != 0)
            return false;
    return true;
}

static void bytes_come_in_requests_of_1024(void **state)
{
    static const struct {
        size_t len;
        long requests;
    } rows[] = {{1, 1}, {1024, 1}, {1025, 2}, {3000, 3}, {70000, 70}};
    application app = application_open();
    EVP_RAND_CTX *ctx = new_rand(&app);
    unsigned char *out = malloc(70000);

    (void)state;
    assert_int_equal(EVP_RAND_instantiate(ctx, 256, 0, NULL, 0, NULL), 1);
    assert_int_equal(EVP_RAND_get_state(ctx), EVP_RAND_STATE_READY);
    assert_int_equal(EVP_RAND_get_strength(ctx), 256);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memset(out, 0, 70000);
        test_server_reset(&server);
        assert_int_equal(EVP_RAND_generate(ctx, out, rows[i].len, 256, 0, NULL, 0), 1);
        /* OpenSSL asks for 65,536 bytes at a time. */
        assert_int_equal(asked(), rows[i].len > 65536 ? 64 + 5 : rows[i].requests);
        if (rows[i].len >= 1024)
            assert_false(all_zero(out + rows[i].len - 32, 32));
    }
    free(out);
    EVP_RAND_CTX_free(ctx);
    assert_no_error();
    application_close(&app);
}

static void too_much_strength_and_no_instance_are_refused(void **state)
{
    application app = application_open();
    EVP_RAND_CTX *ctx = new_rand(&app);
    unsigned char out[16];

    (void)state;
    assert_int_equal(EVP_RAND_generate(ctx, out, sizeof(out), 0, 0, NULL, 0), 0);
    assert_first_error("invalid argument", "not instantiated");
    assert_int_equal(EVP_RAND_instantiate(ctx, 257, 0, NULL, 0, NULL), 0);
    assert_first_error("invalid argument", "256 bits");
    assert_int_equal(EVP_RAND_instantiate(ctx, 0, 0, NULL, 0, NULL), 1);
    assert_int_equal(EVP_RAND_generate(ctx, out, sizeof(out), 512, 0, NULL, 0), 0);
    assert_first_error("invalid argument", "256 bits");
    assert_int_equal(EVP_RAND_uninstantiate(ctx), 1);
    assert_int_equal(EVP_RAND_get_state(ctx), EVP_RAND_STATE_UNINITIALISED);
    assert_int_equal(asked(), 0);
    EVP_RAND_CTX_free(ctx);
    application_close(&app);
}

static void a_failure_in_the_middle_gives_no_bytes_at_all(void **state)
{
    char good[4096], bad[1024], body[2048] = "{\"Plaintext\":\"";
    size_t start = strlen(body);
    test_peer peer = {0};
    unsigned char out[2048] = {0};

    (void)state;
    memset(body + start, 'x', 1364); /* Base64 of 1,023 bytes, and then one */
    memcpy(body + start + 1364, "xw==\"}", sizeof("xw==\"}"));
    const peer_answer script[] = {
        {peer_json(good, sizeof(good), 200, "", body), PEER_KEEP},
        {peer_json(bad, sizeof(bad), 400, "", "{\"__type\":\"AccessDeniedException\"}"), PEER_KEEP},
    };
    test_peer_start(&peer, script, 2);
    setenv("AWS_ENDPOINT_URL_KMS", peer.url, 1);
    application app = application_open();
    EVP_RAND_CTX *ctx = new_rand(&app);
    assert_int_equal(EVP_RAND_instantiate(ctx, 0, 0, NULL, 0, NULL), 1);
    assert_int_equal(EVP_RAND_generate(ctx, out, sizeof(out), 0, 0, NULL, 0), 0);
    assert_first_error("access denied by AWS", "GenerateRandom");
    assert_int_equal(atomic_load(&peer.requests), 2);
    assert_true(all_zero(out, sizeof(out)));
    EVP_RAND_CTX_free(ctx);
    application_close(&app);
    test_peer_stop(&peer);
    setenv("AWS_ENDPOINT_URL_KMS", server.url, 1);
}

static void nobody_gets_it_who_did_not_ask(void **state)
{
    static const char *const orders[][2] = {{"default", "kms"}, {"kms", "default"}};
    unsigned char out[64];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        application app = application_open_order(orders[i][0], orders[i][1]);
        assert_true(EVP_set_default_properties(app.libctx, "?provider=kms"));
        test_server_reset(&server);
        assert_int_equal(RAND_bytes_ex(app.libctx, out, sizeof(out), 0), 1);
        assert_int_equal(RAND_priv_bytes_ex(app.libctx, out, sizeof(out), 0), 1);
        assert_int_equal(asked(), 0);
        application_close(&app);
    }
}

static void the_configuration_can_ask_for_it(void **state)
{
    application app = application_open_config("openssl_conf = init\n[init]\nproviders = list\n"
                                              "random = random\n[list]\ndefault = d\nkms = k\n"
                                              "[d]\nactivate = 1\n[k]\nactivate = 1\n"
                                              "[random]\nrandom = KMS-RAND\n"
                                              "properties = provider=kms\n");
    unsigned char out[64] = {0};

    (void)state;
    test_server_reset(&server);
    assert_int_equal(RAND_bytes_ex(app.libctx, out, sizeof(out), 0), 1);
    assert_int_equal(asked(), 1);
    assert_false(all_zero(out, sizeof(out)));
    assert_int_equal(RAND_priv_bytes_ex(app.libctx, out, sizeof(out), 0), 1);
    assert_int_equal(asked(), 2);
    /* The provider's own random numbers never come back here. */
    EVP_PKEY *key = application_key(&app, KEY);
    bytes plain = bytes_of("secret"), wrapped;
    assert_true(wrap(&app, key, CONTEXT, &plain, &wrapped));
    assert_int_equal(asked(), 2);
    EVP_PKEY_free(key);
    assert_no_error();
    application_close(&app);
}

static void refused_settings_are_said_here_too(void **state)
{
    application app;
    EVP_RAND_CTX *ctx;

    (void)state;
    use_settings("residency = world\n");
    app = application_open();
    ctx = new_rand(&app);
    assert_int_equal(EVP_RAND_instantiate(ctx, 0, 0, NULL, 0, NULL), 0);
    assert_first_error("setting has an invalid value", "residency");
    EVP_RAND_CTX_free(ctx);
    application_close(&app);
    /* Also alone, without default before it: this crashed. */
    app = application_open_order("kms", "default");
    application_close(&app);
    use_settings(NULL);
}

static int set_up(void **state)
{
    static const char *const options[] = {NULL};

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
        cmocka_unit_test(bytes_come_in_requests_of_1024),
        cmocka_unit_test(too_much_strength_and_no_instance_are_refused),
        cmocka_unit_test(a_failure_in_the_middle_gives_no_bytes_at_all),
        cmocka_unit_test(nobody_gets_it_who_did_not_ask),
        cmocka_unit_test(the_configuration_can_ask_for_it),
        cmocka_unit_test(refused_settings_are_said_here_too),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
