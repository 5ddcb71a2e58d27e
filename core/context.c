#include "core/context.h"

#include "core/json.h"

#include <openssl/asn1.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESERVED_PREFIX "aws:"
#define DATA_TYPE       "dataType"

/* Every byte of a context can be written in six ("\u0041"), and each pair needs punctuation. What
 * is longer can't fit, and is not worth parsing. */
#define JSON_BYTES_MAX (6 * KMS_CONTEXT_BYTES_MAX + 16 * KMS_CONTEXT_PAIRS_MAX)

typedef struct pair {
    char *name;
    char *value;
} pair;

struct kms_context {
    pair *pairs; /* sorted by name */
    size_t count, room;
    size_t bytes; /* names and values together */
};

/* Data types that need a further name. */
static const struct {
    const char *data_type;
    const char *name;
} data_type_needs[] = {
    {"pii", "piiType"},
    {"context", "contextType"},
};

kms_context *kms_context_new(void)
{
    return calloc(1, sizeof(kms_context));
}

static void clear(kms_context *context)
{
    for (size_t i = 0; i < context->count; i++) {
        free(context->pairs[i].name);
        free(context->pairs[i].value);
    }
    free(context->pairs);
    *context = (kms_context){0};
}

void kms_context_free(kms_context *context)
{
    if (context != NULL)
        clear(context);
    free(context);
}

/* ---- adding ---- */

static bool control_is(unsigned long character)
{
    return character < 0x20 || (character >= 0x7f && character < 0xa0);
}

/* Reads one character of UTF-8 and returns its bytes; 0 or less: it is none. */
static int next_character(const unsigned char *text, size_t left, unsigned long *character)
{
    if (*text < 0x80) { /* ASCII, as nearly all contexts are */
        *character = *text;
        return 1;
    }
    return UTF8_getc(text, (int)left, character);
}

/* What is wrong with a text that must be UTF-8 without control characters, or NULL. */
static const char *text_fault(const char *text)
{
    const unsigned char *rest = (const unsigned char *)text;
    size_t left = strlen(text);

    if (left > KMS_CONTEXT_BYTES_MAX)
        return NULL; /* the size is the fault, and refused as such */
    while (left > 0) {
        unsigned long character = 0;
        int len = next_character(rest, left, &character);
        if (len <= 0 || character > 0x10ffff || (character >= 0xd800 && character <= 0xdfff))
            return "it is not UTF-8";
        if (control_is(character))
            return "it has a control character";
        rest += len;
        left -= (size_t)len;
    }
    return NULL;
}

static const char *name_fault(const char *name)
{
    if (*name == '\0')
        return "it is empty";
    if (strncmp(name, RESERVED_PREFIX, sizeof(RESERVED_PREFIX) - 1) == 0)
        return "names that begin with aws: are reserved";
    return text_fault(name);
}

/* The place of name, or where it belongs. */
static size_t position(const kms_context *context, const char *name, bool *found)
{
    size_t low = 0, high = context->count;

    *found = false;
    while (low < high && !*found) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, context->pairs[middle].name);
        if (order == 0)
            *found = true;
        if (order <= 0)
            high = middle;
        else
            low = middle + 1;
    }
    return high;
}

static kms_status check_pair(const kms_context *context, const char *name, const char *value,
                             kms_error *err)
{
    size_t bytes = strlen(name) + strlen(value);
    const char *fault = name_fault(name);

    if (fault != NULL)
        return kms_fail(err, KMS_E_CONTEXT_NAME, "%s", fault);
    if ((fault = text_fault(value)) != NULL)
        return kms_fail(err, KMS_E_CONTEXT_VALUE, "of \"%s\": %s", name, fault);
    if (bytes > KMS_CONTEXT_BYTES_MAX - context->bytes)
        return kms_fail(err, KMS_E_CONTEXT_TOO_LARGE, "more than %d bytes", KMS_CONTEXT_BYTES_MAX);
    if (context->count == KMS_CONTEXT_PAIRS_MAX)
        return kms_fail(err, KMS_E_CONTEXT_TOO_LARGE, "more than %d pairs", KMS_CONTEXT_PAIRS_MAX);
    return KMS_OK;
}

static bool make_room(kms_context *context)
{
    size_t room = context->room == 0 ? 8 : context->room * 2;
    pair *grown;

    if (context->count < context->room)
        return true;
    grown = realloc(context->pairs, room * sizeof(*grown));
    if (grown == NULL)
        return false;
    context->pairs = grown;
    context->room = room;
    return true;
}

kms_status kms_context_add(kms_context *context, const char *name, const char *value,
                           kms_error *err)
{
    bool found;
    size_t at = position(context, name, &found);
    kms_status st = found ? kms_fail(err, KMS_E_CONTEXT_DUPLICATE, "\"%s\"", name)
                          : check_pair(context, name, value, err);
    pair added;

    if (st != KMS_OK)
        return st;
    added = (pair){strdup(name), strdup(value)};
    if (added.name == NULL || added.value == NULL || !make_room(context)) {
        free(added.name);
        free(added.value);
        return kms_fail(err, KMS_E_NO_MEMORY, "encryption context");
    }
    memmove(&context->pairs[at + 1], &context->pairs[at],
            (context->count - at) * sizeof(context->pairs[0]));
    context->pairs[at] = added;
    context->count++;
    context->bytes += strlen(name) + strlen(value);
    return KMS_OK;
}

static kms_status merge_into(kms_context *context, const kms_context *other, kms_error *err)
{
    kms_status st = KMS_OK;

    for (size_t i = 0; st == KMS_OK && other != NULL && i < other->count; i++) {
        const pair *added = &other->pairs[i];
        const char *present = kms_context_find(context, added->name);
        if (present == NULL || strcmp(present, added->value) != 0)
            st = kms_context_add(context, added->name, added->value, err);
    }
    return st;
}

/* For adding all or nothing: work goes on in a copy, which replaces the context at the end. */
static kms_status copy_of(const kms_context *context, kms_context **out, kms_error *err)
{
    kms_status st;

    *out = kms_context_new();
    if (*out == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "encryption context");
    st = merge_into(*out, context, err);
    if (st != KMS_OK) {
        kms_context_free(*out);
        *out = NULL;
    }
    return st;
}

static void replace(kms_context *context, kms_context *with)
{
    clear(context);
    *context = *with;
    free(with);
}

kms_status kms_context_merge(kms_context *context, const kms_context *other, kms_error *err)
{
    kms_context *merged;
    kms_status st;

    if (kms_context_count(other) == 0)
        return KMS_OK;
    st = copy_of(context, &merged, err);
    if (st == KMS_OK)
        st = merge_into(merged, other, err);
    if (st == KMS_OK)
        replace(context, merged);
    else
        kms_context_free(merged);
    return st;
}

/* ---- parsing ---- */

static kms_status add_json(kms_context *context, const char *text, size_t len, kms_error *err)
{
    const cJSON *item;
    cJSON *json = NULL;
    kms_status st = KMS_OK;

    if (len > JSON_BYTES_MAX)
        return kms_fail(err, KMS_E_CONTEXT_TOO_LARGE, "JSON text of %zu bytes", len);
    const char *fault = kms_json_read((kms_bytes){(const uint8_t *)text, len}, &json);
    if (fault != NULL)
        st = kms_fail(err, KMS_E_CONTEXT_SYNTAX, "%s", fault);
    for (item = json == NULL ? NULL : json->child; st == KMS_OK && item != NULL;
         item = item->next) {
        if (cJSON_IsString(item))
            st = kms_context_add(context, item->string, item->valuestring, err);
        else
            st = kms_fail(err, KMS_E_CONTEXT_SYNTAX, "the value of \"%s\" is not a JSON string",
                          item->string);
    }
    cJSON_Delete(json);
    return st;
}

static kms_status add_typed(kms_context *context, const char *text, size_t len, kms_error *err)
{
    char *copy, *equals;
    kms_status st;

    if (len > KMS_CONTEXT_BYTES_MAX + 1)
        return kms_fail(err, KMS_E_CONTEXT_TOO_LARGE, "more than %d bytes", KMS_CONTEXT_BYTES_MAX);
    copy = strndup(text, len);
    if (copy == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "encryption context");
    equals = strchr(copy, '=');
    if (equals == NULL) {
        st = kms_fail(err, KMS_E_CONTEXT_SYNTAX, "the text has no '='");
    } else {
        *equals = '\0';
        st = kms_context_add(context, copy, equals + 1, err);
    }
    free(copy);
    return st;
}

kms_status kms_context_parse(kms_context *context, const char *text, size_t len, kms_error *err)
{
    kms_context *extended;
    kms_status st;

    if (len == 0)
        return kms_fail(err, KMS_E_CONTEXT_SYNTAX, "the text is empty");
    if (memchr(text, '\0', len) != NULL)
        return kms_fail(err, KMS_E_CONTEXT_SYNTAX, "the text has a NUL character");
    st = copy_of(context, &extended, err);
    if (st == KMS_OK)
        st = text[0] == '{' ? add_json(extended, text, len, err)
                            : add_typed(extended, text, len, err);
    if (st == KMS_OK)
        replace(context, extended);
    else
        kms_context_free(extended);
    return st;
}

/* ---- reading ---- */

size_t kms_context_count(const kms_context *context)
{
    return context == NULL ? 0 : context->count;
}

const char *kms_context_name(const kms_context *context, size_t index)
{
    return context->pairs[index].name;
}

const char *kms_context_value(const kms_context *context, size_t index)
{
    return context->pairs[index].value;
}

const char *kms_context_find(const kms_context *context, const char *name)
{
    bool found = false;
    size_t at;

    if (kms_context_count(context) == 0)
        return NULL;
    at = position(context, name, &found);
    return found ? context->pairs[at].value : NULL;
}

bool kms_context_equal(const kms_context *a, const kms_context *b)
{
    if (kms_context_count(a) != kms_context_count(b))
        return false;
    for (size_t i = 0; a != NULL && b != NULL && i < a->count; i++) {
        if (strcmp(a->pairs[i].name, b->pairs[i].name) != 0 ||
            strcmp(a->pairs[i].value, b->pairs[i].value) != 0)
            return false;
    }
    return true;
}

/* Appends ", " and item, as far as there is room. */
static void append_item(char *text, size_t size, const char *item)
{
    size_t used = strlen(text);

    snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "", item);
}

void kms_context_names(const kms_context *context, char *text, size_t size)
{
    if (size == 0)
        return;
    text[0] = '\0';
    for (size_t i = 0; i < kms_context_count(context); i++)
        append_item(text, size, context->pairs[i].name);
}

/* ---- policy ---- */

static kms_status add_default(void *arg, const char *name, const char *value, kms_error *err)
{
    return kms_context_add(arg, name, value, err);
}

kms_status kms_context_defaults(const kms_config *config, kms_context **out, kms_error *err)
{
    kms_error reason = {0};
    kms_context *context = kms_context_new();
    kms_status st;

    *out = NULL;
    if (context == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "encryption context");
    st = kms_config_each(config, "context", add_default, context, &reason);
    if (st == KMS_OK && kms_context_count(context) > 0) {
        *out = context;
        return KMS_OK;
    }
    kms_context_free(context);
    if (st == KMS_OK)
        return KMS_OK;
    return kms_fail(err, st, "%s, section [context]: %s", kms_config_source(config), reason.detail);
}

static bool list_has(const char *const *list, const char *text)
{
    while (*list != NULL && strcmp(*list, text) != 0)
        list++;
    return *list != NULL;
}

static void format_list(const char *const *list, char *text, size_t size)
{
    text[0] = '\0';
    for (; *list != NULL; list++)
        append_item(text, size, *list);
}

static kms_status check_data_type(const kms_config *config, const kms_context *context,
                                  kms_error *err)
{
    const char *const *allowed = kms_config_list(config, KMS_SET_DATA_TYPES);
    const char *data_type = kms_context_find(context, DATA_TYPE);
    char names[256];

    if (data_type == NULL)
        return KMS_OK;
    if (!list_has(allowed, data_type)) {
        format_list(allowed, names, sizeof(names));
        return kms_fail(err, KMS_E_CONTEXT_DATA_TYPE, "allowed are: %s", names);
    }
    for (size_t i = 0; i < sizeof(data_type_needs) / sizeof(data_type_needs[0]); i++) {
        if (strcmp(data_type_needs[i].data_type, data_type) == 0 &&
            kms_context_find(context, data_type_needs[i].name) == NULL)
            return kms_fail(err, KMS_E_CONTEXT_REQUIRED, "%s (needed by this dataType)",
                            data_type_needs[i].name);
    }
    return KMS_OK;
}

kms_status kms_context_check(const kms_config *config, const kms_context *context, kms_error *err)
{
    const char *const *required = kms_config_list(config, KMS_SET_REQUIRED_CONTEXT);
    char names[256] = "";

    if (kms_context_count(context) == 0) {
        format_list(required, names, sizeof(names));
        return kms_fail(err, KMS_E_CONTEXT_MISSING, "%s%s",
                        names[0] != '\0' ? "required are: " : "", names);
    }
    for (; *required != NULL; required++) {
        if (kms_context_find(context, *required) == NULL)
            append_item(names, sizeof(names), *required);
    }
    if (names[0] != '\0')
        return kms_fail(err, KMS_E_CONTEXT_REQUIRED, "%s", names);
    return check_data_type(config, context, err);
}
