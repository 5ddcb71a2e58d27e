/* Replies come from the network. What holds of each: no crash, and no Base64 of a lifted plaintext
 * stays behind in what the JSON parser sees. */
#include "core/json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kms_secret text = {0}, plaintext = {0};
    kms_buffer blob = {0};
    cJSON *json = NULL;

    if (kms_secret_copy(&text, (kms_bytes){data, size}, NULL) != KMS_OK)
        return 0;
    if (kms_json_lift_secret(&text, "Plaintext", &plaintext, NULL) == KMS_OK &&
        kms_json_parse(kms_secret_bytes(&text), &json, NULL) == KMS_OK) {
        const char *left = kms_json_string(json, "Plaintext");
        if (plaintext.len > 0 && left != NULL && strspn(left, " ") != strlen(left))
            abort();
        if (kms_json_bytes(json, "CiphertextBlob", &blob, NULL) == KMS_OK && blob.data == NULL)
            abort();
    }
    kms_buffer_clear(&blob);
    cJSON_Delete(json);
    kms_secret_clear(&plaintext);
    kms_secret_clear(&text);
    return 0;
}
