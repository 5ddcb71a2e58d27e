/* ARNs come from replies, endpoints from the environment. What holds: whatever is let through names
 * an allowed region, letter for letter, and plain HTTP goes to loopback only. */
#include "core/residency.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static kms_residency *default_residency(void)
{
    const kms_config_given given = {.path = "/dev/null"};
    kms_config *config = NULL;
    kms_residency *residency = NULL;

    if (kms_config_load(&given, &config, NULL) != KMS_OK ||
        kms_residency_new(config, &residency, NULL) != KMS_OK)
        abort();
    kms_config_free(config);
    return residency;
}

static bool names_allowed_region(const char *text)
{
    static const char *const regions[] = {"eu-central-1",  "eu-west-1",  "eu-west-3",
                                          "eu-north-1",    "eu-south-1", "eu-south-2",
                                          "eusc-de-east-1"};

    for (size_t i = 0; i < sizeof(regions) / sizeof(regions[0]); i++)
        if (strcasestr(text, regions[i]) != NULL)
            return true;
    return false;
}

static bool is_loopback(const char *url)
{
    return strcasestr(url, "localhost") != NULL || strstr(url, "127.") != NULL ||
           strchr(url, '[') != NULL || strstr(url, "0x7f") != NULL || strstr(url, "0177") != NULL ||
           strspn(url, "htpsHTPS:/0123456789x.abcdefABCDEF") == strlen(url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static kms_residency *residency;
    kms_arn arn;
    char *text = malloc(size + 1);

    if (text == NULL)
        return 0;
    if (residency == NULL)
        residency = default_residency();
    memcpy(text, data, size);
    text[size] = '\0';
    if (kms_residency_check_arn(residency, text, NULL, NULL) == KMS_OK &&
        (kms_arn_parse(text, &arn, NULL) != KMS_OK || !names_allowed_region(arn.region)))
        abort();
    if (kms_residency_check_endpoint(residency, text, NULL, NULL) == KMS_OK) {
        bool loopback = is_loopback(text);
        if (!loopback && (!names_allowed_region(text) || strncasecmp(text, "https", 5) != 0))
            abort();
        if (kms_residency_check_endpoint(residency, text, "us-east-1", NULL) == KMS_OK)
            abort();
    }
    free(text);
    return 0;
}
