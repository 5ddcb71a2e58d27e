/* What tests of settings share: a clean environment, temporary files, configurations from text. */
#ifndef KMS_TESTS_SETTINGS_H
#define KMS_TESTS_SETTINGS_H

#include "tests/unit/unit.h"

#include "core/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATH_SIZE 256

/* Variables that are read besides those of the settings' table. */
static const char *const other_variables[] = {
    "KMS_PROVIDER_CONF", "AWS_ACCESS_KEY_ID",          "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN",         "AWS_CREDENTIAL_EXPIRATION",
    "AWS_CONFIG_FILE",   "AWS_SHARED_CREDENTIALS_FILE"};

#define SETTINGS_ENVIRONMENT(id, name, type, preset, environment, doc) environment,
static const char *const setting_variables[] = {KMS_SETTING_TABLE(SETTINGS_ENVIRONMENT)};
#undef SETTINGS_ENVIRONMENT

/* Unsets every variable that core reads. */
static inline void clear_environment(void)
{
    char names[256], *rest, *name;

    for (size_t i = 0; i < sizeof(other_variables) / sizeof(other_variables[0]); i++)
        unsetenv(other_variables[i]);
    for (size_t i = 0; i < KMS_SETTING_COUNT; i++) {
        if (setting_variables[i] == NULL)
            continue;
        snprintf(names, sizeof(names), "%s", setting_variables[i]);
        rest = names;
        while ((name = strsep(&rest, " ")) != NULL)
            unsetenv(name);
    }
}

/* Writes text to a new file; path has PATH_SIZE bytes. The caller unlinks it. */
static inline void make_file(const char *text, size_t len, char *path)
{
    const char *folder = getenv("TMPDIR");
    int fd;

    snprintf(path, PATH_SIZE, "%s/kms-test-XXXXXX", folder != NULL ? folder : "/tmp");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), (ssize_t)len);
    close(fd);
}

/* Loads a configuration from the text of a file. */
static inline kms_status load_text(const char *text, kms_config **out, kms_error *err)
{
    char path[PATH_SIZE];
    const kms_config_given given = {.path = path};
    kms_status st;

    make_file(text, strlen(text), path);
    st = kms_config_load(&given, out, err);
    unlink(path);
    return st;
}

/* The same for a text that must be right. Release with kms_config_free. */
static inline kms_config *config_from(const char *text)
{
    kms_config *config = NULL;
    kms_error err = {0};

    if (load_text(text, &config, &err) != KMS_OK)
        fail_msg("%s: %s", kms_status_name(err.status), err.detail);
    return config;
}

/* Reads a file of the source tree; release with free. */
static inline char *read_source(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text;
    size_t len;

    if (file == NULL)
        fail_msg("%s can't be read", path);
    text = malloc((size_t)1 << 20);
    assert_non_null(text);
    len = fread(text, 1, ((size_t)1 << 20) - 1, file);
    text[len] = '\0';
    fclose(file);
    return text;
}

/* Says which row of a table fails. */
static inline void expect_status(const char *row, kms_status got, kms_status expected,
                                 const kms_error *err)
{
    if (got != expected)
        fail_msg("%s: %s instead of %s (%s)", row, kms_status_name(got), kms_status_name(expected),
                 got == KMS_OK ? "" : err->detail);
}

static inline void expect_detail(const char *row, const kms_error *err, const char *part)
{
    if (part != NULL && strstr(err->detail, part) == NULL)
        fail_msg("%s: \"%s\" does not say \"%s\"", row, err->detail, part);
}

#endif
