#include "tests/unit/settings.h"

#include "core/credentials/credentials.h"
#include "core/credentials/source.h"

#define ID     "AWS_ACCESS_KEY_ID"
#define SECRET "AWS_SECRET_ACCESS_KEY"
#define TOKEN  "AWS_SESSION_TOKEN"
#define EXPIRY "AWS_CREDENTIAL_EXPIRATION"

/* A chain that finds nothing but the environment. */
static kms_credential_chain *chain_of_environment(void)
{
    kms_config *config = config_from("region = eu-west-1\n");
    kms_credential_chain *chain = NULL;

    setenv("AWS_CONFIG_FILE", "/dev/null", 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1);
    assert_int_equal(kms_credential_chain_new(config, NULL, &chain, NULL), KMS_OK);
    kms_config_free(config);
    return chain;
}

static int clean(void **state)
{
    (void)state;
    clear_environment();
    return 0;
}

static void expect_secret(const kms_secret *secret, const char *text)
{
    assert_int_equal(secret->len, strlen(text));
    assert_memory_equal(secret->data, text, secret->len);
}

static void a_set_is_read(void **state)
{
    kms_credential_chain *chain = chain_of_environment();
    kms_credentials got = {0};

    (void)state;
    setenv(ID, "AKIDEXAMPLE", 1);
    setenv(SECRET, "se/cr+et=", 1);
    assert_int_equal(kms_credential_chain_get(chain, &got, NULL), KMS_OK);
    assert_string_equal(got.access_key_id, "AKIDEXAMPLE");
    expect_secret(&got.secret_access_key, "se/cr+et=");
    assert_int_equal(got.session_token.len, 0);
    assert_string_equal(got.source, "environment");
    assert_int_equal(got.expires, 0);
    kms_credentials_clear(&got);
    assert_null(got.secret_access_key.data);
    kms_credentials_clear(&got);
    kms_credential_chain_free(chain);
}

static void token_and_expiry_belong_to_the_set(void **state)
{
    static const char *const names[] = {TOKEN, "AWS_SECURITY_TOKEN"};
    kms_credential_chain *chain = chain_of_environment();

    (void)state;
    setenv(ID, "AKIDEXAMPLE", 1);
    setenv(SECRET, "secret", 1);
    setenv(EXPIRY, "2100-01-02T03:04:05Z", 1);
    for (size_t i = 0; i < 2; i++) {
        kms_credentials got = {0};
        setenv(names[i], "token", 1);
        assert_int_equal(kms_credential_chain_get(chain, &got, NULL), KMS_OK);
        expect_secret(&got.session_token, "token");
        assert_int_equal(got.expires, 4102542245);
        kms_credentials_clear(&got);
        unsetenv(names[i]);
    }
    kms_credential_chain_free(chain);
}

static void changes_are_seen_at_once(void **state)
{
    kms_credential_chain *chain = chain_of_environment();
    kms_credentials got = {0};

    (void)state;
    setenv(ID, "FIRST", 1);
    setenv(SECRET, "secret", 1);
    assert_int_equal(kms_credential_chain_get(chain, &got, NULL), KMS_OK);
    kms_credentials_clear(&got);
    setenv(ID, "SECOND", 1);
    assert_int_equal(kms_credential_chain_get(chain, &got, NULL), KMS_OK);
    assert_string_equal(got.access_key_id, "SECOND");
    kms_credentials_clear(&got);
    kms_credential_chain_free(chain);
}

static void wrong_sets_are_refused(void **state)
{
    static const struct {
        const char *id, *secret, *token, *expiry;
        kms_status status;
        const char *says;
    } rows[] = {
        {"", "", "", "", KMS_E_CREDENTIALS_MISSING, "environment"},
        {"", "", "hush", "", KMS_E_CREDENTIALS_MISSING, NULL},
        {"AKID", "", "", "", KMS_E_CREDENTIALS_INVALID, ID " is set without " SECRET},
        {"", "hush", "", "", KMS_E_CREDENTIALS_INVALID, SECRET " is set without " ID},
        {"AK ID", "hush", "", "", KMS_E_CREDENTIALS_INVALID, "access key id"},
        {"AK/ID", "hush", "", "", KMS_E_CREDENTIALS_INVALID, "access key id"},
        {"AKID\n", "hush", "", "", KMS_E_CREDENTIALS_INVALID, "access key id"},
        {"AK\xc3\xa4", "hush", "", "", KMS_E_CREDENTIALS_INVALID, "access key id"},
        {"AKID", "hush hush", "", "", KMS_E_CREDENTIALS_INVALID, "secret access key"},
        {"AKID", "hush\n", "", "", KMS_E_CREDENTIALS_INVALID, "secret access key"},
        {"AKID", "hush\xc3\xa4", "", "", KMS_E_CREDENTIALS_INVALID, "secret access key"},
        {"AKID", "hush", "hush\r\nX: y", "", KMS_E_CREDENTIALS_INVALID, "session token"},
        {"AKID", "hush", "", "soon", KMS_E_CREDENTIALS_INVALID, EXPIRY},
        {"AKID", "hush", "", "2100-01-02", KMS_E_CREDENTIALS_INVALID, EXPIRY},
        {"AKID", "hush", "", "2100-01-02T03:04:05", KMS_E_CREDENTIALS_INVALID, EXPIRY},
        {"AKID", "hush", "", "2100-01-02T03:04:05Zx", KMS_E_CREDENTIALS_INVALID, EXPIRY},
        {"AKID", "hush", "", "2020-01-02T03:04:05Z", KMS_E_CREDENTIALS_EXPIRED, "environment"},
    };
    kms_credential_chain *chain = chain_of_environment();
    kms_error err;
    char row[32];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_credentials got = {0};
        setenv(ID, rows[i].id, 1);
        setenv(SECRET, rows[i].secret, 1);
        setenv(TOKEN, rows[i].token, 1);
        setenv(EXPIRY, rows[i].expiry, 1);
        snprintf(row, sizeof(row), "row %zu", i);
        expect_status(row, kms_credential_chain_get(chain, &got, &err), rows[i].status, &err);
        expect_detail(row, &err, rows[i].says);
        if (strstr(err.detail, "hush") != NULL)
            fail_msg("%s shows a secret", row);
        assert_null(got.secret_access_key.data);
        assert_null(got.session_token.data);
        assert_string_equal(got.access_key_id, "");
    }
    kms_credential_chain_free(chain);
}

static void sizes_are_limited(void **state)
{
    kms_credential_chain *chain = chain_of_environment();
    char *text = calloc(1, 70000);
    kms_credentials got = {0};

    (void)state;
    assert_non_null(text);
    memset(text, 'a', KMS_ACCESS_KEY_ID_MAX);
    setenv(ID, text, 1);
    setenv(SECRET, "secret", 1);
    assert_int_equal(kms_credential_chain_get(chain, &got, NULL), KMS_E_CREDENTIALS_INVALID);
    setenv(ID, text + 1, 1);
    assert_int_equal(kms_credential_chain_get(chain, &got, NULL), KMS_OK);
    kms_credentials_clear(&got);
    memset(text, 'a', 69999);
    setenv(TOKEN, text, 1);
    assert_int_equal(kms_credential_chain_get(chain, &got, NULL), KMS_E_CREDENTIALS_INVALID);
    setenv(TOKEN, text + 69999 - 20000, 1);
    assert_int_equal(kms_credential_chain_get(chain, &got, NULL), KMS_OK);
    assert_int_equal(got.session_token.len, 20000);
    kms_credentials_clear(&got);
    kms_credential_chain_free(chain);
    free(text);
}

static void times_are_read_as_iso_8601(void **state)
{
    static const struct {
        const char *text;
        time_t seconds; /* 0: no time */
    } rows[] = {
        {"2026-01-02T03:04:05Z", 1767323045},
        {"2026-01-02T03:04:05.678Z", 1767323045},
        {"2026-01-02T03:04:05+00:00", 1767323045},
        {"2026-01-02T04:04:05+01:00", 1767323045},
        {"2026-01-02T01:34:05-0130", 1767323045},
        {"2026-01-02T03:04:05.Z", 0},
        {"2026-01-02T03:04:05+1", 0},
        {"2026-01-02T03:04:05+01:00x", 0},
        {"2026-01-02T03:04:05+24:00", 0},
        {"2026-01-02T03:04:05+01:60", 0},
        {"2026-01-02T03:04:05+-1:00", 0},
        {"2026-01-02 03:04:05Z", 0},
        {"2026-13-02T03:04:05Z", 0},
        {"1969-01-02T03:04:05Z", 0},
        {"1767323045", 0},
        {"", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        time_t got = 0;
        bool valid = kms_credential_time_parse(rows[i].text, &got);
        if (valid != (rows[i].seconds != 0) || (valid && got != rows[i].seconds))
            fail_msg("\"%s\" is %ld", rows[i].text, (long)got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_set_is_read, clean),
        cmocka_unit_test_setup(token_and_expiry_belong_to_the_set, clean),
        cmocka_unit_test_setup(changes_are_seen_at_once, clean),
        cmocka_unit_test_setup(wrong_sets_are_refused, clean),
        cmocka_unit_test_setup(sizes_are_limited, clean),
        cmocka_unit_test_setup(times_are_read_as_iso_8601, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
