/* The shared AWS files are written by hand and by other tools. The input is both of them, parted by
 * a NUL byte. What holds: whole credentials or none, and no secret in an error. */
#include "core/credentials/credentials.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int make_file(const char *variable, const uint8_t *data, size_t size)
{
    char path[64];
    int file = memfd_create(variable, MFD_CLOEXEC);

    if (file < 0 || write(file, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    setenv(variable, path, 1);
    return file;
}

static kms_config *empty_config(void)
{
    const kms_config_given given = {.path = "/dev/null"};
    kms_config *config = NULL;

    unsetenv("AWS_REGION");
    unsetenv("AWS_DEFAULT_REGION");
    unsetenv("AWS_PROFILE");
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_SECRET_ACCESS_KEY");
    if (kms_config_load(&given, &config, NULL) != KMS_OK)
        abort();
    return config;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static kms_config *config;
    const uint8_t *part = size > 0 ? memchr(data, '\0', size) : NULL;
    size_t first = part != NULL ? (size_t)(part - data) : size;
    int credentials_file = make_file("AWS_SHARED_CREDENTIALS_FILE", data, first);
    int config_file = make_file("AWS_CONFIG_FILE", part != NULL ? part + 1 : data,
                                part != NULL ? size - first - 1 : 0);
    kms_credential_chain *chain = NULL;
    kms_credentials got = {0};
    kms_error err = {0};

    if (config == NULL)
        config = empty_config();
    if (kms_credential_chain_new(config, NULL, &chain, &err) == KMS_OK) {
        if (kms_credential_chain_get(chain, &got, &err) != KMS_OK) {
            if (got.secret_access_key.data != NULL || got.access_key_id[0] != '\0')
                abort();
        } else if (got.secret_access_key.len == 0 || got.access_key_id[0] == '\0') {
            abort();
        }
    }
    if (strstr(err.detail, "PLANTED") != NULL)
        abort();
    kms_credentials_clear(&got);
    kms_credential_chain_free(chain);
    close(credentials_file);
    close(config_file);
    return 0;
}
