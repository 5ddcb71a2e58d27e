#include "core/arn.h"

#include <string.h>

#define LOWER        "abcdefghijklmnopqrstuvwxyz"
#define UPPER        "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS       "0123456789"
#define HEX          DIGITS "abcdef"
#define ALIAS_PREFIX "alias/"
#define ALIAS_MAX    250 /* characters after the prefix: AWS counts 256 with it */
#define KEY_PREFIX   "key/"

static bool consists_of(const char *text, size_t len, const char *allowed)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\0' || strchr(allowed, text[i]) == NULL)
            return false;
    }
    return true;
}

bool kms_arn_is(const char *text)
{
    return strncmp(text, "arn:", 4) == 0;
}

static bool uuid_is(const char *text)
{
    static const char shape[] = "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh";

    if (strlen(text) != sizeof(shape) - 1)
        return false;
    for (size_t i = 0; i < sizeof(shape) - 1; i++) {
        if (!consists_of(text + i, 1, shape[i] == 'h' ? HEX : "-"))
            return false;
    }
    return true;
}

bool kms_key_id_is(const char *text)
{
    if (strncmp(text, "mrk-", 4) == 0)
        return strlen(text) == 36 && consists_of(text + 4, 32, HEX);
    return uuid_is(text);
}

bool kms_alias_is(const char *text)
{
    size_t len;

    if (strncmp(text, ALIAS_PREFIX, sizeof(ALIAS_PREFIX) - 1) != 0)
        return false;
    text += sizeof(ALIAS_PREFIX) - 1;
    len = strlen(text);
    return len >= 1 && len <= ALIAS_MAX && consists_of(text, len, LOWER UPPER DIGITS "/_-:");
}

static bool resource_is(const char *text)
{
    if (strncmp(text, KEY_PREFIX, sizeof(KEY_PREFIX) - 1) == 0)
        return kms_key_id_is(text + sizeof(KEY_PREFIX) - 1);
    return kms_alias_is(text);
}

/* Takes the text up to the next colon into field; false where it is empty, too long or has other
 * characters than allowed. */
static bool take(const char **text, const char *allowed, char *field, size_t size)
{
    const char *colon = strchr(*text, ':');
    size_t len;

    if (colon == NULL)
        return false;
    len = (size_t)(colon - *text);
    if (len == 0 || len >= size || !consists_of(*text, len, allowed))
        return false;
    memcpy(field, *text, len);
    field[len] = '\0';
    *text = colon + 1;
    return true;
}

kms_status kms_arn_parse(const char *text, kms_arn *out, kms_error *err)
{
    const char *rest = text + 4;
    const char *wrong = NULL;
    kms_arn arn = {0};
    char service[8];

    if (!kms_arn_is(text))
        wrong = "an ARN begins with arn:";
    else if (!take(&rest, LOWER "-", arn.partition, sizeof(arn.partition)))
        wrong = "the partition of the ARN is not valid";
    else if (!take(&rest, LOWER, service, sizeof(service)) || strcmp(service, "kms") != 0)
        wrong = "the ARN is not of the service kms";
    else if (!take(&rest, LOWER DIGITS "-", arn.region, sizeof(arn.region)))
        wrong = "the region of the ARN is not valid";
    else if (!take(&rest, DIGITS, arn.account, sizeof(arn.account)) || strlen(arn.account) != 12)
        wrong = "the account of the ARN is not 12 digits";
    else if (!resource_is(rest))
        wrong = "the ARN does not end in key/KEY-ID or alias/NAME";
    if (wrong != NULL)
        return kms_fail(err, KMS_E_KEY_ADDRESS, "%s", wrong);

    memcpy(arn.resource, rest, strlen(rest) + 1);
    *out = arn;
    return KMS_OK;
}
