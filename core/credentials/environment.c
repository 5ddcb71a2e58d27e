/* Credentials from environment variables. Both halves or neither: half a set is a mistake that
 * must not lead to another identity. */
#include "core/credentials/source.h"

#include <string.h>

static kms_bytes bytes_of(const char *text)
{
    return (kms_bytes){(const uint8_t *)text, text == NULL ? 0 : strlen(text)};
}

kms_status kms_environment_fetch(const kms_credential_request *request, kms_credentials *out,
                                 bool *found, kms_error *err)
{
    const char *id = kms_credential_variable("AWS_ACCESS_KEY_ID");
    const char *secret = kms_credential_variable("AWS_SECRET_ACCESS_KEY");
    const char *token = kms_credential_variable("AWS_SESSION_TOKEN");
    const char *expiration = kms_credential_variable("AWS_CREDENTIAL_EXPIRATION");
    time_t expires = 0;
    kms_status st;

    (void)request;
    *found = false;
    if (id == NULL && secret == NULL)
        return KMS_OK;
    if (id == NULL || secret == NULL)
        return kms_fail(err, KMS_E_CREDENTIALS_INVALID, "environment: %s is set without %s",
                        id != NULL ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
                        id != NULL ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
    if (token == NULL)
        token = kms_credential_variable("AWS_SECURITY_TOKEN"); /* its older name */
    if (expiration != NULL && !kms_credential_time_parse(expiration, &expires))
        return kms_fail(err, KMS_E_CREDENTIALS_INVALID,
                        "environment: AWS_CREDENTIAL_EXPIRATION is not a time such as "
                        "2026-01-02T03:04:05Z");

    st = kms_credentials_fill(out, "environment", bytes_of(id), bytes_of(secret), bytes_of(token),
                              err);
    if (st == KMS_OK) {
        out->expires = expires;
        *found = true;
    }
    return st;
}
