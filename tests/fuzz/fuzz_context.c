/* Encryption contexts come from mechanism parameters and options; JSON among them. */
#include "core/context.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kms_context *context = kms_context_new();
    size_t bytes = 0;

    if (context == NULL)
        return 0;
    if (kms_context_parse(context, (const char *)data, size, NULL) != KMS_OK &&
        kms_context_count(context) != 0)
        abort(); /* the contract: all or nothing */
    for (size_t i = 0; i < kms_context_count(context); i++)
        for (const char *name = kms_context_name(context, i); *name != '\0'; name++)
            bytes++;
    if (bytes > KMS_CONTEXT_BYTES_MAX)
        abort();
    kms_context_free(context);
    return 0;
}
