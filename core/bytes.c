#include "core/bytes.h"

#include <stdlib.h>

void kms_buffer_clear(kms_buffer *buffer)
{
    free(buffer->data);
    *buffer = (kms_buffer){0};
}
