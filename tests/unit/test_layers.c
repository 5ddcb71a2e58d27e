/* Reads the include lines of core/: who may know whom. */
#include "tests/unit/settings.h"

#include <dirent.h>

/* The parts of core from the bottom up: a part may include itself and what stands above it here.
 * One line is one layer, in which parts may know one another. */
static const char *const layers[] = {
    "error error_table bytes limits algorithm",
    "config config_table",
    "secret secret_heap digest_info",
    "arn json",
    "context",
    "address residency log reference",
    "lock libctx exit wait",
    "credentials",
    "endpoint",
    "sigv4 http",
    "retry call",
    "kms public_key",
    "key client operation asymmetric create",
};

/* What core does not know: the doors and their interfaces. */
static const struct {
    const char *prefix;
    const char *but; /* the one file that may */
} foreign[] = {
    {"provider/", NULL},
    {"pkcs11/", NULL},
    {"cli/", NULL},
    {"infra/", NULL},
    {"tests/", NULL},
    {"kms/kms_provider", NULL},
    {"kms/kms_pkcs11", NULL},
    {"openssl/core_dispatch", NULL},
    {"openssl/core_object", NULL},
    {"p11-kit/", "core/error.c"}, /* for the numbers of the error table */
};

/* The layer of a part, or -1. */
static int layer_of(const char *part, size_t len)
{
    for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++) {
        for (const char *at = layers[i]; *at != '\0';) {
            size_t name = strcspn(at, " ");
            if (name == len && strncmp(at, part, len) == 0)
                return (int)i;
            at += name + (at[name] == ' ');
        }
    }
    return -1;
}

/* "core/http.h" and "core/credentials/chain.c" are parts http and credentials. */
static int layer_of_path(const char *path)
{
    const char *part = path + strlen("core/");

    return layer_of(part, strcspn(part, "/."));
}

static void check_include(const char *path, const char *included)
{
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        if (strncmp(included, foreign[i].prefix, strlen(foreign[i].prefix)) == 0 &&
            (foreign[i].but == NULL || strcmp(foreign[i].but, path) != 0))
            fail_msg("%s includes %s", path, included);
    }
    if (strncmp(included, "core/", 5) != 0)
        return;
    if (layer_of_path(included) < 0)
        fail_msg("%s (included by %s) has no place in the list of layers", included, path);
    if (layer_of_path(included) > layer_of_path(path))
        fail_msg("%s includes %s, which stands above it", path, included);
}

/* path is "core/…"; quoted includes name files from the root of the tree. */
static size_t check_file(const char *path)
{
    char full[PATH_SIZE * 4], included[128], *text;
    size_t includes = 0;

    if (layer_of_path(path) < 0)
        fail_msg("%s has no place in the list of layers", path);
    snprintf(full, sizeof(full), "%s/%s", KMS_SOURCE_DIR, path);
    text = read_source(full);
    for (const char *at = text; (at = strstr(at, "#include ")) != NULL; at++, includes++) {
        const char *name = at + strlen("#include ") + 1;
        snprintf(included, sizeof(included), "%.*s", (int)strcspn(name, "\">\n"), name);
        if (name[-1] == '"' && strchr(included, '/') == NULL)
            fail_msg("%s includes \"%s\" without its folder", path, included);
        check_include(path, included);
    }
    free(text);
    return includes;
}

static size_t check_folder(const char *path)
{
    char full[PATH_SIZE * 4], entry_path[PATH_SIZE * 2];
    struct dirent *entry;
    size_t includes = 0;
    DIR *folder;

    snprintf(full, sizeof(full), "%s/%s", KMS_SOURCE_DIR, path);
    folder = opendir(full);
    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        size_t len = strlen(entry->d_name);
        snprintf(entry_path, sizeof(entry_path), "%s/%.200s", path, entry->d_name);
        if (entry->d_name[0] == '.')
            continue;
        if (entry->d_type == DT_DIR)
            includes += check_folder(entry_path);
        else if (len > 2 && (strcmp(entry->d_name + len - 2, ".c") == 0 ||
                             strcmp(entry->d_name + len - 2, ".h") == 0))
            includes += check_file(entry_path);
    }
    closedir(folder);
    return includes;
}

static void core_knows_downwards_only(void **state)
{
    (void)state;
    assert_true(check_folder("core") > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(core_knows_downwards_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
