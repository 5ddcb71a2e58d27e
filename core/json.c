#include "core/json.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static kms_status encode(kms_bytes bytes, kms_secret *text, kms_error *err)
{
    if (bytes.len > INT_MAX / 2)
        return kms_fail(err, KMS_E_ARGUMENT, "%zu bytes are too many", bytes.len);
    kms_status st = kms_secret_reserve(text, (bytes.len + 2) / 3 * 4 + 1, err);
    if (st == KMS_OK)
        text->len = (size_t)EVP_EncodeBlock(text->data, bytes.data, (int)bytes.len);
    return st;
}

kms_status kms_json_add_text(cJSON *object, const char *name, const char *value, kms_error *err)
{
    cJSON *item = cJSON_CreateStringReference(value);

    if (item == NULL || !cJSON_AddItemToObjectCS(object, name, item)) {
        cJSON_Delete(item);
        return kms_fail(err, KMS_E_NO_MEMORY, "request");
    }
    return KMS_OK;
}

kms_status kms_json_add_bytes(cJSON *object, const char *name, kms_bytes bytes, kms_secret *text,
                              kms_error *err)
{
    kms_status st = encode(bytes, text, err);

    return st == KMS_OK ? kms_json_add_text(object, name, (const char *)text->data, err) : st;
}

kms_status kms_json_print(const cJSON *object, kms_secret *text, kms_error *err)
{
    /* The largest request: 6144 bytes of ciphertext in Base64 and two escaped contexts. */
    for (size_t size = 1024; size <= KMS_JSON_DEPTH_MAX * (size_t)8192; size *= 4) {
        kms_status st = kms_secret_reserve(text, size, err);
        if (st != KMS_OK)
            return st;
        if (cJSON_PrintPreallocated((cJSON *)(uintptr_t)object, (char *)text->data, (int)size,
                                    false)) {
            text->len = strlen((const char *)text->data);
            return KMS_OK;
        }
        kms_secret_clear(text);
    }
    return kms_fail(err, KMS_E_ARGUMENT, "request too large");
}

/* EVP_DecodeBlock takes blanks and bad padding; KMS sends neither, so length and padding count. */
static bool decode(const uint8_t *text, size_t len, uint8_t *out, size_t *out_len)
{
    size_t padding = 0;

    if (len == 0) {
        *out_len = 0;
        return true;
    }
    if (len % 4 != 0 || len > INT_MAX)
        return false;
    while (padding < 2 && text[len - 1 - padding] == '=')
        padding++;
    int n = EVP_DecodeBlock(out, text, (int)len);
    if (n < 0 || (size_t)n != len / 4 * 3)
        return false;
    *out_len = (size_t)n - padding;
    return true;
}

static uint8_t *skip_blanks(uint8_t *at, const uint8_t *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
        at++;
    return at;
}

/* Finds the value of a string member: *from to *to are the bytes between its quotes. */
static bool find_string(uint8_t *at, uint8_t *end, const char *name, uint8_t **from, uint8_t **to)
{
    const uint8_t *begin = at;
    size_t len = strlen(name);

    while ((at = memmem(at, (size_t)(end - at), name, len)) != NULL) {
        bool opened = at > begin && at[-1] == '"';
        at += len;
        if (!opened || at == end || *at != '"')
            continue;
        at = skip_blanks(at + 1, end);
        if (at == end || *at != ':')
            continue;
        at = skip_blanks(at + 1, end);
        if (at == end || *at != '"')
            continue;
        *from = at + 1;
        *to = memchr(*from, '"', (size_t)(end - *from));
        return *to != NULL;
    }
    return false;
}

/* Some serialisers write "/" as "\/". */
static size_t drop_backslashes(uint8_t *text, size_t len)
{
    size_t kept = 0;

    for (size_t i = 0; i < len; i++)
        if (!(text[i] == '\\' && i + 1 < len && text[i + 1] == '/'))
            text[kept++] = text[i];
    return kept;
}

kms_status kms_json_lift_secret(kms_secret *text, const char *name, kms_secret *out, kms_error *err)
{
    uint8_t *end = text->data + text->len, *from, *to, *again, *again_to;

    if (!find_string(text->data, end, name, &from, &to))
        return KMS_OK;
    if (find_string(to + 1, end, name, &again, &again_to))
        return kms_fail(err, KMS_E_REPLY_MALFORMED, "member %s is there twice", name);

    size_t len = drop_backslashes(from, (size_t)(to - from));
    kms_status st = kms_secret_reserve(out, len / 4 * 3 + 3, err);
    if (st == KMS_OK && !decode(from, len, out->data, &out->len)) {
        kms_secret_clear(out);
        st = kms_fail(err, KMS_E_REPLY_MALFORMED, "member %s is not Base64", name);
    }
    memset(from, ' ', (size_t)(to - from));
    return st;
}

/* cJSON ends a string at an escaped NUL, so that two different texts would look alike. */
static bool has_escaped_nul(kms_bytes text)
{
    const uint8_t *at = text.data, *end = text.data + text.len;

    while (at < end && (at = memchr(at, '\\', (size_t)(end - at))) != NULL) {
        if (end - at >= 6 && memcmp(at, "\\u0000", 6) == 0)
            return true;
        at += 2; /* whatever is escaped begins no escape itself */
    }
    return false;
}

const char *kms_json_read(kms_bytes text, cJSON **out)
{
    const char *begin = (const char *)text.data, *end = begin, *fault = NULL;
    cJSON *json = cJSON_ParseWithLengthOpts(begin, text.len, &end, 0);

    *out = NULL;
    if (!cJSON_IsObject(json))
        fault = "the text is not a JSON object";
    for (; fault == NULL && end < begin + text.len; end++) {
        if (*end == '\0' || strchr(" \t\r\n", *end) == NULL)
            fault = "something follows the JSON object";
    }
    if (fault == NULL && has_escaped_nul(text))
        fault = "a JSON string has a NUL character";
    if (fault == NULL)
        *out = json;
    else
        cJSON_Delete(json);
    return fault;
}

/* KMS has no object with more than a few dozen members. */
static bool names_are_unique(const cJSON *object)
{
    size_t count = 0;

    for (const cJSON *member = object->child; member != NULL; member = member->next) {
        if (++count > KMS_JSON_MEMBERS_MAX)
            return false;
        for (const cJSON *other = object->child; other != member; other = other->next)
            if (strcmp(other->string, member->string) == 0)
                return false;
    }
    return true;
}

static bool well_formed(const cJSON *item, int depth)
{
    if (depth > KMS_JSON_DEPTH_MAX || (cJSON_IsObject(item) && !names_are_unique(item)))
        return false;
    for (const cJSON *child = item->child; child != NULL; child = child->next)
        if (!well_formed(child, depth + 1))
            return false;
    return true;
}

kms_status kms_json_parse(kms_bytes text, cJSON **out, kms_error *err)
{
    const char *fault = NULL;

    *out = NULL;
    if (text.len == 0) { /* operations without output answer so */
        *out = cJSON_CreateObject();
        return *out != NULL ? KMS_OK : kms_fail(err, KMS_E_NO_MEMORY, "reply");
    }
    fault = kms_json_read(text, out);
    if (fault == NULL && !well_formed(*out, 0)) {
        fault = "it is nested too deep, has a name twice or too many names";
        cJSON_Delete(*out);
        *out = NULL;
    }
    if (fault != NULL)
        return kms_fail(err, KMS_E_REPLY_MALFORMED, "the body of %zu bytes: %s", text.len, fault);
    return KMS_OK;
}

const cJSON *kms_json_member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

const char *kms_json_string(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(kms_json_member(object, name));
}

bool kms_json_flag(const cJSON *object, const char *name)
{
    return cJSON_IsTrue(kms_json_member(object, name));
}

double kms_json_number(const cJSON *object, const char *name, double preset, double min, double max)
{
    const cJSON *item = kms_json_member(object, name);

    return cJSON_IsNumber(item) && item->valuedouble >= min && item->valuedouble <= max
               ? item->valuedouble
               : preset;
}

kms_status kms_json_bytes(const cJSON *object, const char *name, kms_buffer *out, kms_error *err)
{
    const char *text = kms_json_string(object, name);
    size_t len = text != NULL ? strlen(text) : 0;

    if (len == 0)
        return kms_fail(err, KMS_E_REPLY_MALFORMED, "member %s is missing", name);
    out->data = malloc(len / 4 * 3 + 3);
    if (out->data == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "reply");
    if (!decode((const uint8_t *)text, len, out->data, &out->len)) {
        kms_buffer_clear(out);
        return kms_fail(err, KMS_E_REPLY_MALFORMED, "member %s is not Base64", name);
    }
    return KMS_OK;
}
