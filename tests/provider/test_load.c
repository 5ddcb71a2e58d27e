/* Keys by their address: what is found, what is listed, what is refused and said. */
#include "tests/integration/peer.h"
#include "tests/provider/application.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/store.h>
#include <openssl/x509.h>
#include <unistd.h>

static test_server server;

/* The ARN of a key, without asking KMS. */
static void arn_of(const EVP_PKEY *key, char arn[256])
{
    assert_int_equal(EVP_PKEY_get_utf8_string_param(key, "arn", arn, 256, NULL), 1);
}

static void a_key_is_loaded_by_alias_id_and_arn(void **state)
{
    application app = application_open();
    EVP_PKEY *by_alias = application_key(&app, KEY);
    char arn[256], other[256], uri[300];

    (void)state;
    arn_of(by_alias, arn);
    assert_memory_equal(arn, "arn:aws:kms:eu-central-1:", 25);
    const char *forms[] = {arn, strrchr(arn, '/') + 1};
    for (size_t i = 0; i < 2; i++) {
        snprintf(uri, sizeof(uri), "kms:%s", forms[i]);
        EVP_PKEY *key = application_key(&app, uri);
        arn_of(key, other);
        assert_string_equal(other, arn);
        EVP_PKEY_free(key);
    }
    assert_no_error();
    EVP_PKEY_free(by_alias);
    application_close(&app);
}

static void the_address_comes_before_the_environment(void **state)
{
    setenv("AWS_REGION", "eu-west-1", 1);
    application app = application_open();
    char arn[256], uri[300];

    (void)state;
    assert_null(application_try_key(&app, KEY));
    assert_only_error("key not found", "eu-west-1");
    EVP_PKEY *key = application_key(&app, KEY "?region=eu-central-1");
    arn_of(key, arn);
    EVP_PKEY_free(key);
    snprintf(uri, sizeof(uri), "kms:%s", arn);
    EVP_PKEY_free(application_key(&app, uri));
    application_close(&app);
    setenv("AWS_REGION", "eu-central-1", 1);
}

static void a_profile_in_the_address_is_used(void **state)
{
    char path[PATH_ROOM];

    (void)state;
    write_file("[good]\naws_access_key_id = local\naws_secret_access_key = local\n"
               "[bad]\naws_access_key_id = local\naws_secret_access_key = zqx-secret\n",
               path);
    setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
    application app = application_open();
    EVP_PKEY_free(application_key(&app, KEY "?profile=good"));
    assert_null(application_try_key(&app, KEY "?profile=bad"));
    assert_only_error("AWS refused the request's signature", "secret access key");
    assert_null(application_try_key(&app, KEY "?profile=none"));
    assert_int_not_equal(ERR_peek_error(), 0);
    ERR_clear_error();
    application_close(&app);
    unsetenv("AWS_SHARED_CREDENTIALS_FILE");
    unlink(path);
}

static OSSL_STORE_CTX *open_store(const application *app, const char *uri, int expect)
{
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(uri, app->libctx, NULL, NULL, NULL, NULL, NULL, NULL);

    assert_non_null(store);
    if (expect != 0)
        assert_true(OSSL_STORE_expect(store, expect));
    return store;
}

static void the_end_follows_the_key_once(void **state)
{
    static const int expectations[] = {0, OSSL_STORE_INFO_PKEY};
    application app = application_open();

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        OSSL_STORE_CTX *store = open_store(&app, KEY, expectations[i]);
        assert_false(OSSL_STORE_eof(store));
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        assert_non_null(info);
        assert_int_equal(OSSL_STORE_INFO_get_type(info), OSSL_STORE_INFO_PKEY);
        assert_true(EVP_PKEY_is_a(OSSL_STORE_INFO_get0_PKEY(info), "KMS"));
        OSSL_STORE_INFO_free(info);
        assert_true(OSSL_STORE_eof(store));
        assert_null(OSSL_STORE_load(store));
        assert_false(OSSL_STORE_error(store));
        OSSL_STORE_close(store);
    }
    assert_no_error();
    application_close(&app);
}

static void who_looks_for_another_kind_finds_an_empty_store(void **state)
{
    static const int expectations[] = {OSSL_STORE_INFO_CERT, OSSL_STORE_INFO_CRL,
                                       OSSL_STORE_INFO_PARAMS};
    application app = application_open();

    (void)state;
    test_server_reset(&server);
    for (size_t i = 0; i < 3; i++) {
        OSSL_STORE_CTX *store = open_store(&app, KEY, expectations[i]);
        assert_null(OSSL_STORE_load(store));
        assert_true(OSSL_STORE_eof(store));
        assert_false(OSSL_STORE_error(store));
        OSSL_STORE_close(store);
    }
    assert_no_error();
    assert_int_equal(requests(&server), 0);
    application_close(&app);
}

static void a_public_half_of_a_symmetric_key_is_refused_with_the_reason(void **state)
{
    application app = application_open();
    OSSL_STORE_CTX *store = open_store(&app, KEY, OSSL_STORE_INFO_PUBKEY);

    (void)state;
    test_server_reset(&server);
    assert_null(OSSL_STORE_load(store));
    assert_only_error("operation not supported by this key", "has no public half");
    assert_int_equal(requests(&server), 1); /* DescribeKey tells what kind of key it is */
    OSSL_STORE_close(store);
    application_close(&app);
}

/* OpenSSL drops an error that comes with the end of the store. */
static void a_failed_load_is_an_error_and_not_the_end(void **state)
{
    application app = application_open();
    static const char *const uris[] = {"kms:alias/nobody", "kms:nonsense", "kms:?region=eu-west-2"};

    (void)state;
    for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
        OSSL_STORE_CTX *store = open_store(&app, uris[i], 0);
        assert_null(OSSL_STORE_load(store));
        assert_true(OSSL_STORE_error(store));
        assert_false(OSSL_STORE_eof(store));
        assert_int_not_equal(ERR_peek_error(), 0);
        ERR_clear_error();
        assert_null(OSSL_STORE_load(store));
        assert_true(OSSL_STORE_eof(store));
        assert_no_error();
        OSSL_STORE_close(store);
    }
    application_close(&app);
}

static void a_search_is_refused_and_not_ignored(void **state)
{
    application app = application_open();
    OSSL_STORE_CTX *store = open_store(&app, "kms:", 0);
    OSSL_STORE_SEARCH *search = OSSL_STORE_SEARCH_by_alias("other");

    (void)state;
    assert_false(OSSL_STORE_supports_search(store, OSSL_STORE_SEARCH_BY_ALIAS));
    assert_false(OSSL_STORE_supports_search(store, OSSL_STORE_SEARCH_BY_NAME));
    assert_int_equal(OSSL_STORE_find(store, search), 0);
    assert_only_error("key address is not valid", "not by a search");
    OSSL_STORE_SEARCH_free(search);
    OSSL_STORE_close(store);
    application_close(&app);
}

/* Loads each name that uri lists; returns how many there were. */
static int load_all(const application *app, const char *uri, const char *wanted)
{
    OSSL_STORE_CTX *store = open_store(app, uri, 0);
    int count = 0, seen = 0;

    while (!OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info == NULL)
            continue;
        assert_int_equal(OSSL_STORE_INFO_get_type(info), OSSL_STORE_INFO_NAME);
        const char *name = OSSL_STORE_INFO_get0_NAME(info);
        EVP_PKEY_free(application_key(app, name));
        seen += strcmp(name, wanted) == 0;
        count++;
        OSSL_STORE_INFO_free(info);
    }
    assert_false(OSSL_STORE_error(store));
    OSSL_STORE_close(store);
    assert_int_equal(seen, 1);
    return count;
}

static void every_address_that_is_listed_can_be_loaded(void **state)
{
    application app = application_open();

    (void)state;
    assert_int_equal(load_all(&app, "kms:", KEY), 3);
    setenv("AWS_REGION", "eu-west-1", 1);
    application elsewhere = application_open();
    assert_int_equal(load_all(&elsewhere, "kms:?region=eu-central-1&context.dataType=a%20b",
                              KEY "?region=eu-central-1&context.dataType=a%20b"),
                     3);
    setenv("AWS_REGION", "eu-central-1", 1);
    OSSL_STORE_CTX *empty = open_store(&app, "kms:?region=eu-south-1", 0);
    assert_null(OSSL_STORE_load(empty));
    assert_false(OSSL_STORE_error(empty));
    assert_true(OSSL_STORE_eof(empty));
    OSSL_STORE_close(empty);
    assert_no_error();
    application_close(&elsewhere);
    application_close(&app);
}

static void a_bad_address_is_one_error_that_says_what_is_wrong(void **state)
{
    static const struct {
        const char *uri, *sentence, *detail;
    } rows[] = {
        {"kms:nonsense", "key address is not valid", "neither alias/NAME, a key id"},
        {"kms:alias/x?colour=red", "key address is not valid", "unknown parameter \"colour\""},
        {"kms:alias/x?region=a&region=b", "key address is not valid", "region is given twice"},
        {"kms:alias/x?region", "key address is not valid", "NAME=VALUE"},
        {"kms:alias/x%2", "key address is not valid", "hexadecimal"},
        {"kms:alias/x?context.aws:x=1", "name in the encryption context is not valid", "aws:"},
        {"kms:alias/x?context.a=1&context.a=1", "name is twice in the encryption context", "a"},
        {"kms:arn:aws:kms:eu-central-1:1:key", "key address is not valid", ""},
    };
    application app = application_open();

    (void)state;
    test_server_reset(&server);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_null(application_try_key(&app, rows[i].uri));
        assert_only_error(rows[i].sentence, rows[i].detail);
    }
    assert_int_equal(requests(&server), 0);
    application_close(&app);
}

static void a_key_that_is_not_there_says_so_with_the_request_id(void **state)
{
    application app = application_open();

    (void)state;
    assert_null(application_try_key(&app, "kms:alias/nobody"));
    assert_only_error("key not found", "request id ");
    assert_null(application_try_key(&app, "kms:12345678-1234-1234-1234-123456789012"));
    assert_only_error("key not found", "check alias or key id, account and region");
    application_close(&app);
}

/* One of China's, say, or of a later KMS. */
static void a_key_of_a_kind_that_is_not_known_is_refused(void **state)
{
    char answer[2048];
    test_peer peer;
    const peer_answer script[] = {
        {peer_json(answer, sizeof(answer), 200, "",
                   "{\"KeyMetadata\":{\"Arn\":\"arn:aws:kms:eu-central-1:111122223333:key/"
                   "1234abcd-12ab-34cd-56ef-1234567890ab\",\"KeyId\":"
                   "\"1234abcd-12ab-34cd-56ef-1234567890ab\",\"KeySpec\":\"SM2\","
                   "\"KeyUsage\":\"SIGN_VERIFY\",\"KeyState\":\"Enabled\"}}"),
         PEER_KEEP}};

    (void)state;
    test_peer_start(&peer, script, 1);
    setenv("AWS_ENDPOINT_URL_KMS", peer.url, 1);
    application app = application_open();
    assert_null(application_try_key(&app, "kms:alias/app"));
    assert_only_error("operation not supported by this key", "SM2 for SIGN_VERIFY");
    application_close(&app);
    test_peer_stop(&peer);
    setenv("AWS_ENDPOINT_URL_KMS", server.url, 1);
}

/* From every place that can name a region: the environment, the configuration file, the address,
 * the ARN in it, the endpoint's name. */
static void a_region_outside_the_set_is_refused_before_any_traffic(void **state)
{
    static const struct {
        const char *variable, *value, *settings, *uri, *sentence, *detail;
    } rows[] = {
        {"AWS_REGION", "eu-west-2", NULL, KEY, "region is outside the allowed set", "eu-west-2"},
        {"AWS_REGION", "eu-central-2", NULL, KEY, "region is outside the allowed set",
         "eu-central-2"},
        {"AWS_REGION", "us-east-1", NULL, KEY, "region is outside the allowed set", "us-east-1"},
        {"AWS_REGION", NULL, "region = eu-west-2\n", KEY, "region is outside the allowed set",
         "eu-west-2"},
        {"AWS_REGION", "eu-west-3", "allowed_regions = eu-central-1\n", KEY,
         "region is outside the allowed set", "eu-west-3"},
        {NULL, NULL, NULL, KEY "?region=eu-west-2", "region is outside the allowed set",
         "eu-west-2"},
        {NULL, NULL, NULL, "kms:?region=eu-west-2", "region is outside the allowed set",
         "eu-west-2"},
        {NULL, NULL, NULL,
         "kms:arn:aws:kms:eu-west-2:000000000000:key/12345678-1234-1234-1234-123456789012",
         "region is outside the allowed set", "eu-west-2"},
        {"AWS_ENDPOINT_URL_KMS", "https://kms.us-east-1.amazonaws.com", NULL, KEY,
         "endpoint is not in an allowed region", "us-east-1"},
        {"AWS_ENDPOINT_URL_KMS", "https://kms.eu-west-2.amazonaws.com", NULL, KEY,
         "endpoint is not in an allowed region", "eu-west-2"},
        {"AWS_ENDPOINT_URL_KMS", "https://kms.example.com", NULL, KEY,
         "endpoint is not in an allowed region", "kms.example.com"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char before[128] = "";
        if (rows[i].variable != NULL)
            snprintf(before, sizeof(before), "%s", getenv(rows[i].variable));
        if (rows[i].variable != NULL && rows[i].value == NULL)
            unsetenv(rows[i].variable);
        else if (rows[i].variable != NULL)
            setenv(rows[i].variable, rows[i].value, 1);
        use_settings(rows[i].settings);
        network_attempts();
        application app = application_open();
        assert_null(application_try_key(&app, rows[i].uri));
        assert_int_equal(network_attempts(), 0);
        assert_only_error(rows[i].sentence, rows[i].detail);
        application_close(&app);
        if (rows[i].variable != NULL)
            setenv(rows[i].variable, before, 1);
        use_settings(NULL);
    }
}

static void neither_region_nor_credentials_is_said(void **state)
{
    char home[PATH_ROOM];

    (void)state;
    snprintf(home, sizeof(home), "%s", getenv("HOME") != NULL ? getenv("HOME") : "/");
    unsetenv("AWS_REGION");
    unsetenv("AWS_DEFAULT_REGION");
    application app = application_open();
    network_attempts();
    assert_null(application_try_key(&app, KEY));
    assert_only_error("no AWS region is configured", "AWS_REGION");
    application_close(&app);
    setenv("AWS_REGION", "eu-central-1", 1);

    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_SECRET_ACCESS_KEY");
    setenv("HOME", "/nonexistent", 1);
    app = application_open();
    assert_null(application_try_key(&app, KEY));
    assert_only_error("no AWS credentials found", "AWS_ACCESS_KEY_ID");
    assert_int_equal(network_attempts(), 0);
    application_close(&app);
    setenv("HOME", home, 1);
    setenv("AWS_ACCESS_KEY_ID", "local", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "local", 1);
}

static void the_feature_flag_closes_loading_and_listing(void **state)
{
    static const char *const names[] = {"KMS_ENCRYPTION_ENABLED", "kms_encryption_enabled"};
    static const char *const uris[] = {KEY, "kms:"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        setenv(names[i / 2], "false", 1);
        application app = application_open();
        network_attempts();
        OSSL_STORE_CTX *store = open_store(&app, uris[i % 2], 0);
        assert_null(OSSL_STORE_load(store));
        assert_only_error("KMS encryption is disabled", "KMS_ENCRYPTION_ENABLED=true");
        assert_int_equal(network_attempts(), 0);
        OSSL_STORE_close(store);
        application_close(&app);
        unsetenv(names[i / 2]);
    }
}

static void loading_a_key_again_costs_no_request(void **state)
{
    application app = application_open();

    (void)state;
    test_server_reset(&server);
    for (int i = 0; i < 5; i++)
        EVP_PKEY_free(application_key(&app, KEY));
    assert_int_equal(requests(&server), 1);
    assert_int_equal(test_server_count(&server, "DescribeKey"), 1);
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
        cmocka_unit_test(a_key_is_loaded_by_alias_id_and_arn),
        cmocka_unit_test(the_address_comes_before_the_environment),
        cmocka_unit_test(a_profile_in_the_address_is_used),
        cmocka_unit_test(the_end_follows_the_key_once),
        cmocka_unit_test(who_looks_for_another_kind_finds_an_empty_store),
        cmocka_unit_test(a_public_half_of_a_symmetric_key_is_refused_with_the_reason),
        cmocka_unit_test(a_failed_load_is_an_error_and_not_the_end),
        cmocka_unit_test(a_search_is_refused_and_not_ignored),
        cmocka_unit_test(every_address_that_is_listed_can_be_loaded),
        cmocka_unit_test(a_bad_address_is_one_error_that_says_what_is_wrong),
        cmocka_unit_test(a_key_that_is_not_there_says_so_with_the_request_id),
        cmocka_unit_test(a_key_of_a_kind_that_is_not_known_is_refused),
        cmocka_unit_test(a_region_outside_the_set_is_refused_before_any_traffic),
        cmocka_unit_test(neither_region_nor_credentials_is_said),
        cmocka_unit_test(the_feature_flag_closes_loading_and_listing),
        cmocka_unit_test(loading_a_key_again_costs_no_request),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
