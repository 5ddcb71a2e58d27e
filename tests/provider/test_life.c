/* The provider's life in a process: configuration, loading, unloading, exit, its neighbours' order.
 */
#include "tests/provider/application.h"

#include <openssl/err.h>
#include <openssl/store.h>
#include <sys/wait.h>
#include <unistd.h>

static test_server server;

/* openssl.cnf with default and kms, and settings in the section of kms. */
static application open_with(const char *settings)
{
    char text[2048];

    snprintf(text, sizeof(text),
             "openssl_conf = init\n[init]\nproviders = all\n[all]\ndefault = d\nkms = k\n"
             "[d]\nactivate = 1\n[k]\nactivate = 1\n%s",
             settings);
    return application_open_config(text);
}

static void loading_the_provider_asks_nobody(void **state)
{
    (void)state;
    network_attempts();
    application app = application_open();
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(KEY, app.libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    assert_non_null(store);
    OSSL_STORE_close(store);
    assert_no_error();
    application_close(&app);
    app = open_with("");
    application_close(&app);
    assert_int_equal(network_attempts(), 0);
    assert_no_error();
}

static void settings_stand_in_the_section_of_the_provider(void **state)
{
    char settings[256];

    (void)state;
    setenv("AWS_REGION", "eu-west-1", 1);
    setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1", 1);
    snprintf(settings, sizeof(settings), "region = eu-central-1\nendpoint = %s\n", server.url);
    application app = open_with(settings);
    assert_no_error();
    EVP_PKEY_free(application_key(&app, KEY));
    application_close(&app);
    setenv("AWS_REGION", "eu-central-1", 1);
    setenv("AWS_ENDPOINT_URL_KMS", server.url, 1);
}

static void the_section_may_name_a_file(void **state)
{
    char path[PATH_ROOM], settings[PATH_ROOM + 16];
    bytes plain = bytes_of("secret"), wrapped;

    (void)state;
    write_file("[context]\ndataType = credentials\noperationId = op-1\n", path);
    snprintf(settings, sizeof(settings), "config = %s\n", path);
    application app = open_with(settings);
    EVP_PKEY *key = application_key(&app, KEY);
    assert_true(wrap(&app, key, NULL, &plain, &wrapped));
    EVP_PKEY_free(key);
    application_close(&app);
    unlink(path);
}

/* OpenSSL drops what goes wrong while it reads openssl.cnf, so it is said at each use. */
static void a_broken_configuration_is_said_at_each_use(void **state)
{
    static const struct {
        const char *section, *file, *sentence, *detail;
    } rows[] = {
        {"region = eu-west-2\n", NULL, "region is outside the allowed set", "eu-west-2"},
        {"residency = world\n", NULL, "setting has an invalid value", "residency"},
        {"max_attempts = many\n", NULL, "setting has an invalid value", "1 to 10"},
        {"config = /nonexistent/kms.conf\n", NULL, "configuration file cannot be read",
         "/nonexistent/kms.conf"},
        {"", "regoin = eu-central-1\n", "unknown setting", "line 1); did you mean \"region\"?"},
        {"", "\n\nencryption_enabled = perhaps\n", "setting has an invalid value", "line 3"},
        {"", "[contxt]\na = b\n", "unknown setting", "did you mean [context]?"},
        {"", "region = eu-central-1\n[\n", "configuration file is not valid", "line 2"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        use_settings(rows[i].file);
        network_attempts();
        application app = open_with(rows[i].section);
        for (int use = 0; use < 2; use++) {
            assert_null(application_try_key(&app, KEY));
            assert_only_error(rows[i].sentence, rows[i].detail);
        }
        assert_null(application_try_key(&app, "kms:"));
        assert_only_error(rows[i].sentence, rows[i].detail);
        assert_int_equal(network_attempts(), 0);
        application_close(&app);
    }
    use_settings(NULL);
}

static int status_of(const OSSL_PROVIDER *provider)
{
    int status = -1;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_int("status", &status), OSSL_PARAM_construct_end()};

    assert_int_equal(OSSL_PROVIDER_get_params(provider, params), 1);
    return status;
}

static void its_status_tells_whether_it_can_be_used(void **state)
{
    (void)state;
    application app = application_open();
    assert_int_equal(status_of(app.second), 1);
    application_close(&app);
    use_settings("nonsense = 1\n");
    app = application_open();
    assert_int_equal(status_of(app.second), 0);
    application_close(&app);
    use_settings(NULL);
}

static void a_thousand_rounds_of_loading_leave_nothing(void **state)
{
    bytes plain = bytes_of("secret"), wrapped;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        application app = application_open();
        if (i % 100 == 0) {
            EVP_PKEY *key = application_key(&app, KEY);
            assert_true(wrap(&app, key, CONTEXT, &plain, &wrapped));
            EVP_PKEY_free(key);
        }
        application_close(&app);
    }
    assert_no_error();
}

static void a_key_may_be_freed_after_its_provider_was_unloaded(void **state)
{
    application app = application_open();
    EVP_PKEY *key = application_key(&app, KEY);
    bytes plain = bytes_of("secret"), wrapped;

    (void)state;
    assert_int_equal(OSSL_PROVIDER_unload(app.second), 1);
    EVP_PKEY_free(key);
    app.second = OSSL_PROVIDER_load(app.libctx, "kms");
    key = application_key(&app, KEY);
    assert_true(wrap(&app, key, CONTEXT, &plain, &wrapped));
    EVP_PKEY_free(key);
    application_close(&app);
}

static void two_library_contexts_have_their_own_settings(void **state)
{
    bytes plain = bytes_of("secret"), wrapped, back;

    (void)state;
    application strict = application_open();
    use_settings("[context]\ndataType = credentials\noperationId = op-1\n");
    application easy = application_open();
    use_settings(NULL);
    EVP_PKEY *one = application_key(&strict, KEY), *two = application_key(&easy, KEY);
    assert_false(wrap(&strict, one, NULL, &plain, &wrapped));
    assert_only_error("encryption context is missing", "");
    assert_true(wrap(&easy, two, NULL, &plain, &wrapped));
    assert_true(unwrap(&strict, one, CONTEXT, &wrapped, &back));
    EVP_PKEY_free(two);
    application_close(&easy);
    assert_true(unwrap(&strict, one, CONTEXT, &wrapped, &back));
    EVP_PKEY_free(one);
    application_close(&strict);
}

/* Runs what in a process of its own; its exit status comes back. */
static int in_a_child(int (*what)(void))
{
    int status = 0;
    pid_t child = fork();

    if (child == 0)
        exit(what()); /* with all exit handlers: that is what is tested */
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status))
        fail_msg("the child ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

/* Everything stays open, in the default library context, which OpenSSL takes down at exit. Static,
 * so that a leak checker sees that it is not lost, and volatile, so that it really is there. */
static int leave_everything_open(void)
{
    static OSSL_PROVIDER *volatile providers[2];
    static EVP_PKEY *volatile key;
    application app = {.libctx = NULL};
    bytes plain = bytes_of("secret"), wrapped;

    if (!OSSL_PROVIDER_set_default_search_path(NULL, KMS_MODULES) ||
        (providers[0] = OSSL_PROVIDER_load(NULL, "default")) == NULL ||
        (providers[1] = OSSL_PROVIDER_load(NULL, "kms")) == NULL)
        return 2;
    key = application_try_key(&app, KEY);
    if (key == NULL || !wrap(&app, key, CONTEXT, &plain, &wrapped))
        return 3;
    return 0;
}

static void exit_with_live_connections_is_clean(void **state)
{
    tls_server tls;

    (void)state;
    assert_int_equal(in_a_child(leave_everything_open), 0);
    tls_start(&tls);
    setenv("AWS_CA_BUNDLE", tls.certificate, 1);
    assert_int_equal(in_a_child(leave_everything_open), 0);
    tls_stop(&tls, &server);
}

static int load_before_default_twice(void)
{
    for (int i = 0; i < 2; i++) {
        application app = application_open_order("kms", "default");
        application_close(&app);
    }
    return 0;
}

static int load_after_default(void)
{
    application app = application_open_order("default", "kms");

    application_close(&app);
    return 0;
}

/* The lines of a file that hold text. */
static int lines_with(const char *path, const char *text)
{
    char line[2048];
    int count = 0;
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL)
        count += strstr(line, text) != NULL;
    fclose(file);
    return count;
}

static void standing_before_default_is_said_once_with_the_remedy(void **state)
{
    char log[PATH_ROOM];

    (void)state;
    write_file("", log);
    setenv("KMS_PROVIDER_LOG", log, 1);
    assert_int_equal(in_a_child(load_after_default), 0);
    assert_int_equal(lines_with(log, ""), 0);
    assert_int_equal(in_a_child(load_before_default_twice), 0);
    assert_int_equal(lines_with(log, "default is not active before kms"), 1);
    assert_int_equal(lines_with(log, "-provider default -provider kms"), 1);
    setenv("KMS_PROVIDER_LOG", "off", 1);
    unlink(log);
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
        /* First, while nothing has been said yet in this process. */
        cmocka_unit_test(standing_before_default_is_said_once_with_the_remedy),
        cmocka_unit_test(loading_the_provider_asks_nobody),
        cmocka_unit_test(settings_stand_in_the_section_of_the_provider),
        cmocka_unit_test(the_section_may_name_a_file),
        cmocka_unit_test(a_broken_configuration_is_said_at_each_use),
        cmocka_unit_test(its_status_tells_whether_it_can_be_used),
        cmocka_unit_test(a_thousand_rounds_of_loading_leave_nothing),
        cmocka_unit_test(a_key_may_be_freed_after_its_provider_was_unloaded),
        cmocka_unit_test(two_library_contexts_have_their_own_settings),
        cmocka_unit_test(exit_with_live_connections_is_clean),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
