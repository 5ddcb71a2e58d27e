#include "core/address.h"

#include "core/arn.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SCHEME         "kms:"
#define CONTEXT_PREFIX "context."

/* Longer than any ARN with a full context, each byte of it percent-encoded. */
#define ADDRESS_MAX (3 * (KMS_ARN_MAX + KMS_CONTEXT_BYTES_MAX) + 16 * KMS_CONTEXT_PAIRS_MAX)

static kms_status bad_address(kms_error *err, const char *fault)
{
    return kms_fail(err, KMS_E_KEY_ADDRESS, "%s", fault);
}

/* Every '%' must begin an escape: libcurl's decoder passes others through as they are. */
static bool escapes_are_whole(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '%' && (len - i < 3 || !isxdigit((unsigned char)text[i + 1]) ||
                               !isxdigit((unsigned char)text[i + 2])))
            return false;
    }
    return true;
}

/* Decodes len bytes of text into *out, owned by the caller. */
static kms_status decode(const char *text, size_t len, char **out, kms_error *err)
{
    int decoded_len = 0;
    char *decoded;
    const char *fault = NULL;

    if (!escapes_are_whole(text, len))
        return bad_address(err, "'%' is not followed by two hexadecimal digits");
    if (len == 0) /* for which the decoder would take the terminator */
        decoded = curl_easy_unescape(NULL, "", 0, &decoded_len);
    else
        decoded = curl_easy_unescape(NULL, text, (int)len, &decoded_len);
    if (decoded == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "key address");
    for (int i = 0; i < decoded_len && fault == NULL; i++) {
        if (iscntrl((unsigned char)decoded[i]))
            fault = "it has a control character";
    }
    *out = fault == NULL ? strdup(decoded) : NULL;
    curl_free(decoded);
    if (fault != NULL)
        return bad_address(err, fault);
    return *out != NULL ? KMS_OK : kms_fail(err, KMS_E_NO_MEMORY, "key address");
}

/* ---- query ---- */

static kms_status set_once(char **field, const char *name, const char *value, kms_error *err)
{
    if (*field != NULL)
        return kms_fail(err, KMS_E_KEY_ADDRESS, "%s is given twice", name);
    if (*value == '\0')
        return kms_fail(err, KMS_E_KEY_ADDRESS, "%s is empty", name);
    *field = strdup(value);
    return *field != NULL ? KMS_OK : kms_fail(err, KMS_E_NO_MEMORY, "key address");
}

static kms_status set_region(kms_address *address, const char *value, kms_error *err)
{
    size_t len = strlen(value);

    if (len >= KMS_REGION_MAX || strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
        return bad_address(err, "region is not the name of an AWS region");
    return set_once(&address->region, "region", value, err);
}

static kms_status add_context(kms_address *address, const char *name, const char *value,
                              kms_error *err)
{
    if (address->context == NULL)
        address->context = kms_context_new();
    if (address->context == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "key address");
    return kms_context_add(address->context, name, value, err);
}

static kms_status set_parameter(kms_address *address, const char *name, const char *value,
                                kms_error *err)
{
    if (strcmp(name, "region") == 0)
        return set_region(address, value, err);
    if (strcmp(name, "profile") == 0)
        return set_once(&address->profile, "profile", value, err);
    if (strncmp(name, CONTEXT_PREFIX, sizeof(CONTEXT_PREFIX) - 1) == 0)
        return add_context(address, name + sizeof(CONTEXT_PREFIX) - 1, value, err);
    return kms_fail(err, KMS_E_KEY_ADDRESS,
                    "unknown parameter \"%s\"; known are region, profile and context.NAME", name);
}

static kms_status parse_parameter(kms_address *address, const char *text, size_t len,
                                  kms_error *err)
{
    const char *equals = memchr(text, '=', len);
    char *name = NULL, *value = NULL;
    kms_status st;

    if (equals == NULL)
        return bad_address(err, "each parameter after '?' is NAME=VALUE");
    st = decode(text, (size_t)(equals - text), &name, err);
    if (st == KMS_OK)
        st = decode(equals + 1, len - (size_t)(equals - text) - 1, &value, err);
    if (name != NULL && value != NULL)
        st = set_parameter(address, name, value, err);
    free(name);
    free(value);
    return st;
}

static kms_status parse_query(kms_address *address, const char *query, kms_error *err)
{
    kms_status st;

    for (;;) {
        size_t len = strcspn(query, "&");
        st = parse_parameter(address, query, len, err);
        if (st != KMS_OK || query[len] == '\0')
            return st;
        query += len + 1;
    }
}

/* ---- key ---- */

/* An ARN carries its region, which the query may repeat but not contradict. */
static kms_status take_arn_region(kms_address *address, kms_error *err)
{
    kms_arn arn;
    kms_status st = kms_arn_parse(address->key, &arn, err);

    if (st != KMS_OK)
        return st;
    if (address->region == NULL)
        return set_region(address, arn.region, err);
    if (strcmp(address->region, arn.region) != 0)
        return kms_fail(err, KMS_E_KEY_ADDRESS, "region %s contradicts the ARN, which is in %s",
                        address->region, arn.region);
    return KMS_OK;
}

static kms_status check_key(kms_address *address, kms_error *err)
{
    if (kms_arn_is(address->key))
        return take_arn_region(address, err);
    if (kms_alias_is(address->key) || kms_key_id_is(address->key))
        return KMS_OK;
    return bad_address(err, "the key is neither alias/NAME, a key id (lower-case UUID, or mrk- and "
                            "32 hexadecimal digits) nor an ARN");
}

static kms_status parse(const char *text, kms_address *address, kms_error *err)
{
    bool scheme = strncasecmp(text, SCHEME, sizeof(SCHEME) - 1) == 0;
    const char *key = scheme ? text + sizeof(SCHEME) - 1 : text;
    size_t key_len = strcspn(key, "?");
    kms_status st = KMS_OK;

    if (strlen(text) > ADDRESS_MAX)
        return bad_address(err, "it is too long");
    if (key_len == 0 && !scheme)
        return bad_address(err, "it is empty");
    if (strchr(text, '#') != NULL)
        return bad_address(err, "it has a '#', which a key address writes as %23");
    if (key_len > 0)
        st = decode(key, key_len, &address->key, err);
    if (st == KMS_OK && key[key_len] == '?')
        st = parse_query(address, key + key_len + 1, err);
    if (st == KMS_OK && address->key != NULL)
        st = check_key(address, err);
    return st;
}

kms_status kms_address_parse(const char *text, kms_address *out, kms_error *err)
{
    kms_address address = {0};
    kms_status st = parse(text, &address, err);

    if (st == KMS_OK)
        *out = address;
    else
        kms_address_clear(&address);
    return st;
}

void kms_address_clear(kms_address *address)
{
    free(address->key);
    free(address->region);
    free(address->profile);
    kms_context_free(address->context);
    *address = (kms_address){0};
}
