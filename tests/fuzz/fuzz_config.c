/* Configuration files are written by hand. What holds of each: it is read whole, or refused with a
 * sentence; and what was read keeps to the bounds of the table. */
#include "core/client.h"
#include "core/residency.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const kms_config *config)
{
    kms_residency *residency = NULL;
    kms_context *defaults = NULL;

    if (kms_config_number(config, KMS_SET_MAX_ATTEMPTS) < 1 ||
        kms_config_number(config, KMS_SET_MAX_ATTEMPTS) > 10 ||
        kms_config_text(config, KMS_SET_RESIDENCY) == NULL ||
        kms_config_list(config, KMS_SET_DATA_TYPES) == NULL)
        abort();
    if (kms_residency_new(config, &residency, NULL) == KMS_OK &&
        kms_residency_check_region(residency, "us-east-1", NULL) == KMS_OK)
        abort(); /* no setting allows that */
    kms_residency_free(residency);
    if (kms_context_defaults(config, &defaults, NULL) == KMS_OK)
        kms_context_check(config, defaults, NULL);
    kms_context_free(defaults);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    const kms_config_given given = {.path = path};
    kms_config *config = NULL;
    kms_error err = {0};
    int file = memfd_create("config", MFD_CLOEXEC);

    if (file < 0 || write(file, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    if (kms_config_load(&given, &config, &err) == KMS_OK)
        check(config);
    else if (config != NULL || err.detail[0] == '\0')
        abort();
    kms_config_free(config);
    close(file);
    return 0;
}
