#include "tests/unit/settings.h"

#include "core/credentials/credentials.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEYS(id) "aws_access_key_id = " id "\naws_secret_access_key = hush-" id "\n"

/* A home folder with the shared files in it; made and removed around each test. */
static char home[PATH_SIZE], config_path[PATH_SIZE + 32], credentials_path[PATH_SIZE + 32];

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int make_home(void **state)
{
    const char *folder = getenv("TMPDIR");
    char path[PATH_SIZE + 32];

    (void)state;
    clear_environment();
    snprintf(home, sizeof(home), "%s/kms-test-XXXXXX", folder != NULL ? folder : "/tmp");
    assert_non_null(mkdtemp(home));
    snprintf(path, sizeof(path), "%s/.aws", home);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(config_path, sizeof(config_path), "%s/.aws/config", home);
    snprintf(credentials_path, sizeof(credentials_path), "%s/.aws/credentials", home);
    setenv("HOME", home, 1);
    return 0;
}

static int remove_home(void **state)
{
    char path[PATH_SIZE + 32];

    (void)state;
    unlink(config_path);
    unlink(credentials_path);
    snprintf(path, sizeof(path), "%s/.aws", home);
    rmdir(path);
    return rmdir(home);
}

/* Makes a chain; the region is set, so that making it reads no file. */
static kms_credential_chain *chain_for(const char *profile)
{
    kms_config *config = config_from("region = eu-west-1\n");
    kms_credential_chain *chain = NULL;

    assert_int_equal(kms_credential_chain_new(config, profile, &chain, NULL), KMS_OK);
    kms_config_free(config);
    return chain;
}

/* Expects a set by its id, as KEYS makes it, and "token" as its token or none. */
static void expect_set(const char *row, kms_credential_chain *chain, const char *id, bool token)
{
    kms_credentials got = {0};
    kms_error err = {0};
    char secret[64];

    expect_status(row, kms_credential_chain_get(chain, &got, &err), KMS_OK, &err);
    snprintf(secret, sizeof(secret), "hush-%s", id);
    if (strcmp(got.access_key_id, id) != 0 || got.secret_access_key.len != strlen(secret) ||
        memcmp(got.secret_access_key.data, secret, strlen(secret)) != 0 ||
        got.session_token.len != (token ? 5 : 0))
        fail_msg("%s: got %s of %s", row, got.access_key_id, got.source);
    kms_credentials_clear(&got);
}

static void profiles_are_read_from_both_files(void **state)
{
    static const struct {
        const char *row, *config, *credentials, *profile, *id;
        bool token;
    } rows[] = {
        {"default in credentials", "", "[default]\n" KEYS("A"), NULL, "A", false},
        {"default in config", "[default]\n" KEYS("A"), "", NULL, "A", false},
        {"default with a prefix", "[profile default]\n" KEYS("A"), "", NULL, "A", false},
        {"named in credentials", "", "[x]\n" KEYS("B") "[y]\n" KEYS("A"), "y", "A", false},
        {"named in config", "[profile x]\n" KEYS("B") "[profile y]\n" KEYS("A"), "", "y", "A",
         false},
        {"a name with blanks", "[ profile  a b ]\n" KEYS("A"), "", "a b", "A", false},
        {"a token", "", "[default]\n" KEYS("A") "aws_session_token=token\n", NULL, "A", true},
        {"credentials win", "[default]\n" KEYS("B") "aws_session_token = token\n",
         "[default]\n" KEYS("A"), NULL, "A", false},
        {"no prefix, no profile", "[y]\n" KEYS("B"), "[y]\n" KEYS("A"), "y", "A", false},
        {"comments and blank lines", "", "# a\n; b\n\n  \n[default] # c\n" KEYS("A") "#d\n", NULL,
         "A", false},
        {"a comment behind a value", "",
         "[default]\naws_access_key_id = A # x\n"
         "aws_secret_access_key = hush-A\t; y\n",
         NULL, "A", false},
        {"Windows line ends", "",
         "[default]\r\naws_access_key_id = A\r\n"
         "aws_secret_access_key = hush-A\r\n",
         NULL, "A", false},
        {"no line end at the end", "",
         "[default]\naws_access_key_id=A\naws_secret_access_key=hush-A", NULL, "A", false},
        {"names in upper case", "",
         "[default]\nAWS_ACCESS_KEY_ID=A\nAws_Secret_Access_Key=hush-A\n", NULL, "A", false},
        {"nested settings", "[default]\ns3 =\n  aws_access_key_id = B\n  nonsense\n" KEYS("A"), "",
         NULL, "A", false},
        {"a section twice", "",
         "[default]\naws_access_key_id = A\n[x]\n" KEYS("B") "[default]\n"
                                                             "aws_secret_access_key = hush-A\n",
         NULL, "A", false},
        {"other sections",
         "[sso-session x]\nsso_start_url = u\n[services y]\n[profile z]\n" KEYS("A"), "", "z", "A",
         false},
        {"keys beside a process", "[default]\ncredential_process = x\n" KEYS("A"), "", NULL, "A",
         false},
        {"empty settings", "", "[default]\naws_session_token =\nrole_arn =\n" KEYS("A"), NULL, "A",
         false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_credential_chain *chain = chain_for(rows[i].profile);
        write_text(config_path, rows[i].config);
        write_text(credentials_path, rows[i].credentials);
        expect_set(rows[i].row, chain, rows[i].id, rows[i].token);
        kms_credential_chain_free(chain);
    }
}

static void values_are_taken_as_they_are(void **state)
{
    static const char secret[] = "\"a\\$b#c'${d}%n";
    kms_credential_chain *chain = chain_for(NULL);
    kms_credentials got = {0};
    char text[256];

    (void)state;
    snprintf(text, sizeof(text), "[default]\naws_access_key_id = A\naws_secret_access_key = %s\n",
             secret);
    write_text(credentials_path, text);
    assert_int_equal(kms_credential_chain_get(chain, &got, NULL), KMS_OK);
    assert_int_equal(got.secret_access_key.len, sizeof(secret) - 1);
    assert_memory_equal(got.secret_access_key.data, secret, sizeof(secret) - 1);
    assert_non_null(strstr(got.source, "profile \"default\" in "));
    assert_non_null(strstr(got.source, credentials_path));
    kms_credentials_clear(&got);
    kms_credential_chain_free(chain);
}

static void wrong_files_are_refused(void **state)
{
    static const struct {
        const char *config, *credentials, *profile;
        kms_status status;
        const char *says;
    } rows[] = {
        {"", "", NULL, KMS_E_CREDENTIALS_MISSING, "profile \"default\""},
        {"[default]\nregion = eu-west-1\n", "", NULL, KMS_E_CREDENTIALS_MISSING, "/.aws/config"},
        {"[profile x]\n", "", "x", KMS_E_CREDENTIALS_MISSING, "profile \"x\""},
        {"", "", "x", KMS_E_CREDENTIALS_INVALID, "profile \"x\" is neither in "},
        {"[x]\n" KEYS("A"), "", "x", KMS_E_CREDENTIALS_INVALID, "neither"},
        {"", "[profile x]\n" KEYS("A"), "x", KMS_E_CREDENTIALS_INVALID, "neither"},
        {"", "[X]\n" KEYS("A"), "x", KMS_E_CREDENTIALS_INVALID, "neither"},
        {"", "", "default", KMS_E_CREDENTIALS_INVALID, "neither"},
        {"", "[default]\naws_access_key_id = A\n", NULL, KMS_E_CREDENTIALS_INVALID,
         "aws_secret_access_key is missing"},
        {"", "[default]\naws_secret_access_key = hush\n", NULL, KMS_E_CREDENTIALS_INVALID,
         "aws_access_key_id is missing"},
        {"", "[default]\naws_session_token = hush\n", NULL, KMS_E_CREDENTIALS_INVALID,
         "aws_access_key_id is missing"},
        {"[default]\naws_secret_access_key = hush\n", "[default]\naws_access_key_id = A\n", NULL,
         KMS_E_CREDENTIALS_INVALID, "aws_secret_access_key is missing"},
        {"", "[default]\naws_access_key_id = A B\naws_secret_access_key = hush\n", NULL,
         KMS_E_CREDENTIALS_INVALID, "access key id"},
        {"", "[default]\naws_access_key_id = A\naws_secret_access_key = hu sh\n", NULL,
         KMS_E_CREDENTIALS_INVALID, "/.aws/credentials: the secret access key"},
        {"", "[default]\n" KEYS("A") "aws_session_token = hush hush\n", NULL,
         KMS_E_CREDENTIALS_INVALID, "session token"},
        {"", "[default\n" KEYS("A"), NULL, KMS_E_CREDENTIALS_INVALID,
         "/.aws/credentials, line 1: ']' is missing"},
        {"", "[default]\n" KEYS("A") "hush\n", NULL, KMS_E_CREDENTIALS_INVALID,
         "line 4: '=' is missing"},
        {"", KEYS("A"), NULL, KMS_E_CREDENTIALS_INVALID, "before the first section"},
        {"[profile\n", "[default]\n" KEYS("A"), NULL, KMS_E_CREDENTIALS_INVALID,
         "/.aws/config, line 1"},
        {"[default]\nrole_arn = r\nsource_profile = x\n", "", NULL, KMS_E_CREDENTIALS_INVALID,
         "role_arn is not supported"},
        {"[default]\nrole_arn = r\n", "[default]\n" KEYS("A"), NULL, KMS_E_CREDENTIALS_INVALID,
         "/.aws/config: role_arn is not supported"},
        {"[default]\nweb_identity_token_file = f\n" KEYS("A"), "", NULL, KMS_E_CREDENTIALS_INVALID,
         "web_identity_token_file is not supported"},
        {"[default]\ncredential_process = hush\n", "", NULL, KMS_E_CREDENTIALS_INVALID,
         "credential_process is not supported"},
        {"[default]\nsso_session = s\n", "", NULL, KMS_E_CREDENTIALS_INVALID,
         "sso_session is not supported"},
        {"[default]\nsso_start_url = u\n", "", NULL, KMS_E_CREDENTIALS_INVALID,
         "sso_start_url is not supported"},
    };
    kms_error err;
    char row[32];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_credential_chain *chain = chain_for(rows[i].profile);
        kms_credentials got = {0};
        write_text(config_path, rows[i].config);
        write_text(credentials_path, rows[i].credentials);
        snprintf(row, sizeof(row), "row %zu", i);
        expect_status(row, kms_credential_chain_get(chain, &got, &err), rows[i].status, &err);
        expect_detail(row, &err, rows[i].says);
        if (strstr(err.detail, "hush") != NULL)
            fail_msg("%s shows a secret", row);
        assert_null(got.secret_access_key.data);
        kms_credential_chain_free(chain);
    }
}

static void files_that_cannot_be_read_are_refused(void **state)
{
    static const struct {
        const char *variable, *path;
        kms_status status;
    } rows[] = {
        {"AWS_SHARED_CREDENTIALS_FILE", "/nonexistent", KMS_E_CREDENTIALS_INVALID},
        {"AWS_CONFIG_FILE", "/nonexistent", KMS_E_CREDENTIALS_INVALID},
        {"AWS_SHARED_CREDENTIALS_FILE", "/", KMS_E_CREDENTIALS_INVALID},
        {"AWS_CONFIG_FILE", "/", KMS_E_CREDENTIALS_INVALID},
        {"AWS_SHARED_CREDENTIALS_FILE", "/dev/null", KMS_E_CREDENTIALS_MISSING},
        {"AWS_CONFIG_FILE", "/dev/null", KMS_E_CREDENTIALS_MISSING},
    };
    kms_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_credentials got = {0};
        setenv(rows[i].variable, rows[i].path, 1);
        kms_credential_chain *chain = chain_for(NULL);
        expect_status(rows[i].path, kms_credential_chain_get(chain, &got, &err), rows[i].status,
                      &err);
        expect_detail(rows[i].path, &err, rows[i].path);
        kms_credential_chain_free(chain);
        unsetenv(rows[i].variable);
    }
}

static void a_huge_file_is_refused(void **state)
{
    kms_credential_chain *chain = chain_for(NULL);
    kms_credentials got = {0};
    kms_error err;

    (void)state;
    write_text(credentials_path, "");
    assert_int_equal(truncate(credentials_path, 1024 * 1024 + 1), 0);
    assert_int_equal(kms_credential_chain_get(chain, &got, &err), KMS_E_CREDENTIALS_INVALID);
    expect_detail("size", &err, "larger than 1 MiB");
    kms_credential_chain_free(chain);
}

static void variables_name_other_files(void **state)
{
    static const char *const variables[] = {"AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"};
    char path[PATH_SIZE + 32], tilde[] = "~/own";

    (void)state;
    snprintf(path, sizeof(path), "%s/own", home);
    write_text(path, "[default]\n" KEYS("A"));
    for (size_t i = 0; i < 2; i++) {
        const char *const spellings[] = {path, tilde};
        for (size_t j = 0; j < 2; j++) {
            setenv(variables[i], spellings[j], 1);
            kms_credential_chain *chain = chain_for(NULL);
            expect_set(spellings[j], chain, "A", false);
            kms_credential_chain_free(chain);
        }
        unsetenv(variables[i]);
    }
    unlink(path);
}

static void the_environment_comes_first_unless_a_profile_is_named(void **state)
{
    static const struct {
        const char *row, *address, *setting, *variable, *id;
    } rows[] = {
        {"nothing named", NULL, "", "", "ENV"},
        {"by the address", "x", "", "", "X"},
        {"by the setting", NULL, "profile = x\n", "", "X"},
        {"by AWS_PROFILE", NULL, "", "x", "X"},
        {"the address wins", "y", "profile = x\n", "x", "Y"},
    };

    (void)state;
    write_text(credentials_path, "[default]\n" KEYS("D") "[x]\n" KEYS("X") "[y]\n" KEYS("Y"));
    setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "hush-ENV", 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_credential_chain *chain = NULL;
        setenv("AWS_PROFILE", rows[i].variable, 1);
        kms_config *config = config_from(rows[i].setting);
        assert_int_equal(kms_credential_chain_new(config, rows[i].address, &chain, NULL), KMS_OK);
        expect_set(rows[i].row, chain, rows[i].id, false);
        kms_credential_chain_free(chain);
        kms_config_free(config);
    }
}

static void a_broken_environment_does_not_fall_through(void **state)
{
    kms_credential_chain *chain = chain_for(NULL);
    kms_credentials got = {0};

    (void)state;
    write_text(credentials_path, "[default]\n" KEYS("D"));
    setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
    assert_int_equal(kms_credential_chain_get(chain, &got, NULL), KMS_E_CREDENTIALS_INVALID);
    kms_credential_chain_free(chain);
}

/* Moves the file's time of change, as an edit would. */
static void touch(const char *path, time_t seconds)
{
    const struct timespec times[2] = {{seconds, 0}, {seconds, 0}};

    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void a_file_is_read_again_only_when_it_changed(void **state)
{
    kms_credential_chain *chain = chain_for(NULL);

    (void)state;
    write_text(credentials_path, "[default]\n" KEYS("A"));
    touch(credentials_path, 1000000000);
    expect_set("first", chain, "A", false);
    write_text(credentials_path, "[default]\n" KEYS("B"));
    touch(credentials_path, 1000000000); /* the same size and time: looks unchanged */
    expect_set("kept", chain, "A", false);
    touch(credentials_path, 1000000001);
    expect_set("time", chain, "B", false);
    write_text(credentials_path, "[default]\n" KEYS("CC"));
    touch(credentials_path, 1000000001);
    expect_set("size", chain, "CC", false);
    kms_credential_chain_free(chain);
}

static void invalidating_reads_again(void **state)
{
    kms_credential_chain *chain = chain_for(NULL);

    (void)state;
    kms_credential_chain_invalidate(chain);
    write_text(credentials_path, "[default]\n" KEYS("A"));
    touch(credentials_path, 1000000000);
    expect_set("first", chain, "A", false);
    write_text(credentials_path, "[default]\n" KEYS("B"));
    touch(credentials_path, 1000000000);
    kms_credential_chain_invalidate(chain);
    expect_set("again", chain, "B", false);
    kms_credential_chain_free(chain);
}

static void a_file_that_vanishes_takes_its_keys_along(void **state)
{
    kms_credential_chain *chain = chain_for(NULL);
    kms_credentials got = {0};

    (void)state;
    write_text(credentials_path, "[default]\n" KEYS("A"));
    expect_set("first", chain, "A", false);
    unlink(credentials_path);
    assert_int_equal(kms_credential_chain_get(chain, &got, NULL), KMS_E_CREDENTIALS_MISSING);
    kms_credential_chain_free(chain);
}

static void *get_often(void *chain)
{
    for (int i = 0; i < 200; i++) {
        kms_credentials got = {0};
        if (kms_credential_chain_get(chain, &got, NULL) != KMS_OK ||
            strcmp(got.access_key_id, "A") != 0)
            return chain;
        kms_credentials_clear(&got);
        if (i % 16 == 0)
            kms_credential_chain_invalidate(chain);
    }
    return NULL;
}

static void threads_share_a_chain(void **state)
{
    kms_credential_chain *chain = chain_for(NULL);
    pthread_t threads[8];
    void *failed;

    (void)state;
    write_text(credentials_path, "[default]\n" KEYS("A"));
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, get_often, chain), 0);
    for (size_t i = 0; i < 8; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    kms_credential_chain_free(chain);
}

static void the_profile_gives_the_region_where_nothing_else_does(void **state)
{
    static const struct {
        const char *row, *setting, *config, *credentials, *profile;
        kms_status status;
        const char *region;
    } rows[] = {
        {"from config", "", "[default]\nregion = eu-west-3\n", "", NULL, KMS_OK, "eu-west-3"},
        {"from credentials", "", "", "[default]\nregion = eu-west-3\n", NULL, KMS_OK, "eu-west-3"},
        {"of the profile", "", "[default]\nregion = eu-west-1\n[profile x]\nregion = eu-west-3\n",
         "", "x", KMS_OK, "eu-west-3"},
        {"of no profile", "", "[profile x]\nregion = eu-west-3\n", "", NULL, KMS_OK, NULL},
        {"a setting is there", "region = eu-west-1\n", "[default]\nregion = eu-west-3\n", "", NULL,
         KMS_OK, NULL},
        {"too long", "", "[default]\nregion = eu-west-1-and-then-much-more-than-fits\n", "", NULL,
         KMS_E_CREDENTIALS_INVALID, NULL},
        {"broken", "", "[default\n", "", NULL, KMS_E_CREDENTIALS_INVALID, NULL},
        {"no such profile", "", "", "", "x", KMS_E_CREDENTIALS_INVALID, NULL},
    };
    kms_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_config *config = config_from(rows[i].setting);
        kms_credential_chain *chain = NULL;
        write_text(config_path, rows[i].config);
        write_text(credentials_path, rows[i].credentials);
        expect_status(rows[i].row, kms_credential_chain_new(config, rows[i].profile, &chain, &err),
                      rows[i].status, &err);
        if (rows[i].status != KMS_OK)
            assert_null(chain);
        else if (rows[i].region == NULL)
            assert_null(kms_credential_chain_region(chain));
        else
            assert_string_equal(kms_credential_chain_region(chain), rows[i].region);
        kms_credential_chain_free(chain);
        kms_config_free(config);
    }
}

static void without_a_home_there_are_no_files(void **state)
{
    kms_credentials got = {0};
    kms_error err;

    (void)state;
    unsetenv("HOME");
    kms_credential_chain *chain = chain_for(NULL);
    assert_int_equal(kms_credential_chain_get(chain, &got, &err), KMS_E_CREDENTIALS_MISSING);
    kms_credential_chain_free(chain);
}

int main(void)
{
#define IN_HOME(test) cmocka_unit_test_setup_teardown(test, make_home, remove_home)
    const struct CMUnitTest tests[] = {
        IN_HOME(profiles_are_read_from_both_files),
        IN_HOME(values_are_taken_as_they_are),
        IN_HOME(wrong_files_are_refused),
        IN_HOME(files_that_cannot_be_read_are_refused),
        IN_HOME(a_huge_file_is_refused),
        IN_HOME(variables_name_other_files),
        IN_HOME(the_environment_comes_first_unless_a_profile_is_named),
        IN_HOME(a_broken_environment_does_not_fall_through),
        IN_HOME(a_file_is_read_again_only_when_it_changed),
        IN_HOME(invalidating_reads_again),
        IN_HOME(a_file_that_vanishes_takes_its_keys_along),
        IN_HOME(threads_share_a_chain),
        IN_HOME(the_profile_gives_the_region_where_nothing_else_does),
        IN_HOME(without_a_home_there_are_no_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
