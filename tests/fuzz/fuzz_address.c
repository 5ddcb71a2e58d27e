/* Key addresses come from command lines and configuration of other programs. */
#include "core/address.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kms_address address = {0};
    char *text = malloc(size + 1);

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (kms_address_parse(text, &address, NULL) != KMS_OK &&
        (address.key != NULL || address.context != NULL))
        abort(); /* the contract: empty after an error */
    kms_address_clear(&address);
    free(text);
    return 0;
}
