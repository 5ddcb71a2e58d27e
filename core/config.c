#include "core/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/conf.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define FILE_MAX         ((size_t)1024 * 1024)
#define NAME_MAX_LEN     64 /* settings and environment variables are far shorter */
#define MESSAGE_NAME_MAX 64 /* of a name that somebody typed */
#define PLACE_MAX        320
#define DEFAULT_SECTION  "default"
#define TOKEN_PREFIX     "token."

typedef enum setting_kind {
    KIND_TEXT,
    KIND_FLAG,
    KIND_LIST,
    KIND_NUMBER,
    KIND_CHOICE
} setting_kind;

typedef struct setting_type {
    setting_kind kind;
    long min, max;       /* numbers */
    const char *choices; /* choices: "a|b" */
} setting_type;

typedef struct setting_row {
    const char *name;
    setting_type type;
    const char *preset;
    const char *environment;
} setting_row;

/* The types as config_table.h writes them. */
#define TEXT                                                                                       \
    {                                                                                              \
        KIND_TEXT, 0, 0, NULL                                                                      \
    }
#define FLAG                                                                                       \
    {                                                                                              \
        KIND_FLAG, 0, 0, "yes|no|true|false|on|off|1|0"                                            \
    }
#define LIST                                                                                       \
    {                                                                                              \
        KIND_LIST, 0, 0, NULL                                                                      \
    }
#define NUMBER(min, max)                                                                           \
    {                                                                                              \
        KIND_NUMBER, min, max, NULL                                                                \
    }
#define CHOICE(choices)                                                                            \
    {                                                                                              \
        KIND_CHOICE, 0, 0, choices                                                                 \
    }

static const setting_row settings[KMS_SETTING_COUNT] = {
#define SETTING_ROW(id, name, type, preset, environment, doc)                                      \
    [KMS_SET_##id] = {name, type, preset, environment},
    KMS_SETTING_TABLE(SETTING_ROW)
#undef SETTING_ROW
};

/* A value as its type reads it. text is set for texts and choices, items for lists. */
typedef struct setting_value {
    char *text;
    char **items;
    long number; /* flags: 0 or 1 */
} setting_value;

struct kms_config {
    setting_value values[KMS_SETTING_COUNT];
    CONF *file;    /* NULL without a file */
    char *path;    /* NULL without a file */
    char *content; /* the file's text while loading, to find line numbers; then NULL */
};

/* Where a value comes from, for messages. */
typedef struct value_source {
    const kms_config *config;
    const char *variable; /* an environment variable, or NULL */
    bool in_file;
} value_source;

/* ---- messages ---- */

static char *trimmed(char *text)
{
    char *end = text + strlen(text);

    while (isspace((unsigned char)*text))
        text++;
    while (end > text && isspace((unsigned char)end[-1]))
        end--;
    *end = '\0';
    return text;
}

/* Reads one line of CONF as far as finding names needs it: "[section]" changes section, and true
 * comes back for "name = …". */
static bool line_sets(const char *line, size_t len, char *section, const char *wanted_section,
                      const char *name)
{
    char copy[256], *text, *equals;

    snprintf(copy, sizeof(copy), "%.*s", (int)(len < sizeof(copy) ? len : sizeof(copy) - 1), line);
    text = trimmed(copy);
    if (text[0] == '[') {
        char *end = strchr(text, ']');
        if (end != NULL)
            *end = '\0';
        snprintf(section, MESSAGE_NAME_MAX, "%s", trimmed(text + 1));
        return name == NULL && strcmp(section, wanted_section) == 0;
    }
    equals = strchr(text, '=');
    if (name == NULL || equals == NULL)
        return false;
    *equals = '\0';
    return strcmp(section, wanted_section) == 0 && strcmp(trimmed(text), name) == 0;
}

/* The last line that sets name in section, or that begins the section where name is NULL. 0 where
 * there is none, for example because an included file has it. */
static long find_line(const char *content, const char *wanted_section, const char *name)
{
    char section[MESSAGE_NAME_MAX] = DEFAULT_SECTION;
    long found = 0;

    for (long number = 1; *content != '\0'; number++) {
        size_t len = strcspn(content, "\n");
        if (line_sets(content, len, section, wanted_section, name))
            found = number;
        content += len + (content[len] == '\n');
    }
    return found;
}

static void format_place(const kms_config *config, const char *section, const char *name,
                         char *place, size_t size)
{
    long line = config->content == NULL ? 0 : find_line(config->content, section, name);

    if (line > 0)
        snprintf(place, size, "%s, line %ld", config->path, line);
    else
        snprintf(place, size, "%s", config->path);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance of two names, of which NAME_MAX_LEN characters count. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_LEN + 1];
    size_t a_len = strnlen(a, NAME_MAX_LEN), b_len = strnlen(b, NAME_MAX_LEN);

    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = least(replaced, least(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_len];
}

static const char *nearest_setting(const char *name)
{
    size_t best = 0, best_distance = SIZE_MAX;

    for (size_t i = 0; i < KMS_SETTING_COUNT; i++) {
        size_t distance = edit_distance(name, settings[i].name);
        if (distance < best_distance) {
            best_distance = distance;
            best = i;
        }
    }
    return settings[best].name;
}

/* ---- values ---- */

static kms_status bad_value(const value_source *source, kms_setting setting, kms_error *err,
                            const char *format, ...) __attribute__((format(printf, 4, 5)));

static kms_status bad_value(const value_source *source, kms_setting setting, kms_error *err,
                            const char *format, ...)
{
    const char *name = settings[setting].name;
    char place[PLACE_MAX] = "given with the call", allowed[160];
    va_list args;

    va_start(args, format);
    vsnprintf(allowed, sizeof(allowed), format, args);
    va_end(args);
    if (source->variable != NULL)
        snprintf(place, sizeof(place), "environment variable %s", source->variable);
    else if (source->in_file)
        format_place(source->config, DEFAULT_SECTION, name, place, sizeof(place));
    return kms_fail(err, KMS_E_CONFIG_VALUE, "%s (%s): allowed is %s", name, place, allowed);
}

static bool flag_read(const char *text, long *number)
{
    static const struct {
        const char *word;
        long number;
    } words[] = {{"yes", 1}, {"no", 0},  {"true", 1}, {"false", 0},
                 {"on", 1},  {"off", 0}, {"1", 1},    {"0", 0}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(text, words[i].word) == 0) {
            *number = words[i].number;
            return true;
        }
    }
    return false;
}

/* Digits only: strtol alone would take blanks, signs and "0x". */
static bool number_read(const char *text, const setting_type *type, long *number)
{
    size_t len = strlen(text);

    if (len == 0 || len > 18 || strspn(text, "0123456789") != len)
        return false;
    *number = strtol(text, NULL, 10);
    return *number >= type->min && *number <= type->max;
}

static bool choice_is(const char *text, const char *choices)
{
    size_t len = strlen(text);

    while (len > 0 && *choices != '\0') {
        size_t choice_len = strcspn(choices, "|");
        if (choice_len == len && strncmp(choices, text, len) == 0)
            return true;
        choices += choice_len + (choices[choice_len] == '|');
    }
    return false;
}

static void items_free(char **items)
{
    for (size_t i = 0; items != NULL && items[i] != NULL; i++)
        free(items[i]);
    free(items);
}

/* Splits at commas. Blanks around items and empty items do not count. NULL without memory. */
static char **list_read(const char *text)
{
    char *copy = strdup(text), *rest = copy, *item, **items;
    size_t count = 0, commas = 0;
    bool whole = true;

    for (const char *c = text; *c != '\0'; c++)
        commas += *c == ',';
    items = calloc(commas + 2, sizeof(*items));
    while (copy != NULL && items != NULL && whole && (item = strsep(&rest, ",")) != NULL) {
        item = trimmed(item);
        if (*item != '\0' && (items[count++] = strdup(item)) == NULL)
            whole = false;
    }
    if (copy == NULL || !whole) {
        items_free(items);
        items = NULL;
    }
    free(copy);
    return items;
}

static void value_clear(setting_value *value)
{
    free(value->text);
    items_free(value->items);
    *value = (setting_value){0};
}

/* Where log lines may go is more than a text and less than a choice. */
static bool log_target_is(const char *text)
{
    return text[0] == '/' || choice_is(text, "stderr|syslog|off");
}

static kms_status text_set(setting_value *value, const char *text, kms_error *err)
{
    value->text = strdup(text);
    return value->text != NULL ? KMS_OK : kms_fail(err, KMS_E_NO_MEMORY, "a setting");
}

/* Reads text by the setting's type into value, replacing what is there. An empty text is as good as
 * none; an empty list is a value. */
static kms_status value_read(const value_source *source, kms_setting setting, const char *text,
                             setting_value *value, kms_error *err)
{
    const setting_type *type = &settings[setting].type;

    if (type->kind == KIND_TEXT && *text == '\0')
        return KMS_OK;
    value_clear(value);
    switch (type->kind) {
    case KIND_TEXT:
        if (setting == KMS_SET_LOG && !log_target_is(text))
            return bad_value(source, setting, err, "stderr, syslog, off, or an absolute path");
        return text_set(value, text, err);
    case KIND_FLAG:
        if (!flag_read(text, &value->number))
            return bad_value(source, setting, err, "%s", type->choices);
        return KMS_OK;
    case KIND_NUMBER:
        if (!number_read(text, type, &value->number))
            return bad_value(source, setting, err, "%ld to %ld", type->min, type->max);
        return KMS_OK;
    case KIND_CHOICE:
        if (!choice_is(text, type->choices))
            return bad_value(source, setting, err, "%s", type->choices);
        return text_set(value, text, err);
    case KIND_LIST:
        value->items = list_read(text);
        return value->items != NULL ? KMS_OK : kms_fail(err, KMS_E_NO_MEMORY, "a setting");
    }
    return kms_fail(err, KMS_E_INTERNAL, "setting %s has no type", settings[setting].name);
}

/* ---- sources, the weakest first ---- */

/* An empty variable counts as unset. */
static const char *variable_get(const char *name)
{
    const char *value = secure_getenv(name);

    return value != NULL && *value != '\0' ? value : NULL;
}

/* Takes the first of the setting's variables that is set. A flag that two of them set otherwise is
 * refused: whichever won, somebody would believe the other. */
static kms_status read_environment(kms_config *config, kms_setting setting, kms_error *err)
{
    setting_value *value = &config->values[setting];
    const char *names = settings[setting].environment;
    char first[NAME_MAX_LEN] = "", name[NAME_MAX_LEN];
    kms_status st = KMS_OK;

    while (st == KMS_OK && names != NULL && *names != '\0') {
        size_t len = strcspn(names, " ");
        snprintf(name, sizeof(name), "%.*s", (int)len, names);
        names += len + (names[len] == ' ');
        const char *text = variable_get(name);
        const value_source source = {config, name, false};
        if (text == NULL)
            continue;
        if (first[0] == '\0') {
            st = value_read(&source, setting, text, value, err);
            memcpy(first, name, sizeof(first));
        } else if (settings[setting].type.kind == KIND_FLAG) {
            setting_value other = {0};
            st = value_read(&source, setting, text, &other, err);
            if (st == KMS_OK && other.number != value->number)
                st = kms_fail(err, KMS_E_CONFIG_VALUE, "environment variables %s and %s differ",
                              first, name);
        }
    }
    return st;
}

static kms_status read_given(kms_config *config, const kms_config_given *given, kms_setting setting,
                             kms_error *err)
{
    const value_source source = {config, NULL, false};
    const char *text = NULL;

    if (given != NULL && given->lookup != NULL)
        text = given->lookup(given->arg, settings[setting].name);
    return text == NULL ? KMS_OK
                        : value_read(&source, setting, text, &config->values[setting], err);
}

static kms_status read_preset(kms_config *config, kms_setting setting, kms_error *err)
{
    const value_source source = {config, NULL, false};
    const char *preset = settings[setting].preset;

    return preset == NULL ? KMS_OK
                          : value_read(&source, setting, preset, &config->values[setting], err);
}

static kms_status read_file_setting(kms_config *config, const CONF_VALUE *pair, kms_error *err)
{
    const value_source source = {config, NULL, true};
    char place[PLACE_MAX];

    for (kms_setting i = 0; i < KMS_SETTING_COUNT; i++) {
        if (strcmp(settings[i].name, pair->name) == 0)
            return value_read(&source, i, pair->value, &config->values[i], err);
    }
    format_place(config, DEFAULT_SECTION, pair->name, place, sizeof(place));
    return kms_fail(err, KMS_E_CONFIG_UNKNOWN, "\"%.*s\" (%s); did you mean \"%s\"?",
                    MESSAGE_NAME_MAX, pair->name, place, nearest_setting(pair->name));
}

static kms_status read_file_settings(kms_config *config, kms_error *err)
{
    STACK_OF(CONF_VALUE) *pairs = NULL;
    kms_status st = KMS_OK;

    if (config->file != NULL)
        pairs = NCONF_get_section(config->file, DEFAULT_SECTION);
    for (int i = 0; st == KMS_OK && i < sk_CONF_VALUE_num(pairs); i++)
        st = read_file_setting(config, sk_CONF_VALUE_value(pairs, i), err);
    return st;
}

/* ---- the file ---- */

/* A dot, since CONF takes no colon in the name of a section. */
static bool section_is_known(const char *name)
{
    return strcmp(name, DEFAULT_SECTION) == 0 || strcmp(name, "context") == 0 ||
           (strncmp(name, TOKEN_PREFIX, sizeof(TOKEN_PREFIX) - 1) == 0 &&
            name[sizeof(TOKEN_PREFIX) - 1] != '\0');
}

static kms_status check_sections(const kms_config *config, kms_error *err)
{
    STACK_OF(OPENSSL_CSTRING) *names = NCONF_get_section_names(config->file);
    char place[PLACE_MAX];
    kms_status st = KMS_OK;

    for (int i = 0; st == KMS_OK && i < sk_OPENSSL_CSTRING_num(names); i++) {
        const char *name = sk_OPENSSL_CSTRING_value(names, i);
        if (section_is_known(name))
            continue;
        format_place(config, name, NULL, place, sizeof(place));
        st = kms_fail(err, KMS_E_CONFIG_UNKNOWN, "section [%.*s] (%s); did you mean [%s]?",
                      MESSAGE_NAME_MAX, name, place,
                      edit_distance(name, "context") <= edit_distance(name, TOKEN_PREFIX "NAME")
                          ? "context"
                          : TOKEN_PREFIX "NAME");
    }
    sk_OPENSSL_CSTRING_free(names);
    return st;
}

/* Reads at most FILE_MAX bytes and terminates them. */
static kms_status read_content(int fd, const char *path, char **content, size_t *len,
                               kms_error *err)
{
    char *buffer = malloc(FILE_MAX + 1);
    size_t used = 0;
    ssize_t got = buffer == NULL ? -1 : 1;

    if (buffer == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "%s", path);
    while (used <= FILE_MAX && got > 0) {
        got = read(fd, buffer + used, FILE_MAX + 1 - used);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            used += (size_t)got;
    }
    if (got < 0 || used > FILE_MAX) {
        int error = errno;
        free(buffer);
        return kms_fail(err, KMS_E_CONFIG_FILE, "%s: %s", path,
                        got < 0 ? strerror(error) : "larger than 1 MiB");
    }
    if (memchr(buffer, '\0', used) != NULL) {
        free(buffer);
        return kms_fail(err, KMS_E_CONFIG_SYNTAX, "%s: holds a NUL byte", path);
    }
    buffer[used] = '\0';
    *content = buffer;
    *len = used;
    return KMS_OK;
}

/* Parses the content with OpenSSL's own parser; the application's error queue stays as it is. */
static kms_status parse_content(kms_config *config, size_t len, kms_error *err)
{
    BIO *bio = BIO_new_mem_buf(config->content, (int)len);
    long line = 0;
    kms_status st = KMS_OK;

    ERR_set_mark();
    config->file = NCONF_new_ex(NULL, NULL);
    if (bio == NULL || config->file == NULL) {
        st = kms_fail(err, KMS_E_NO_MEMORY, "%s", config->path);
    } else if (len > 0 && NCONF_load_bio(config->file, bio, &line) <= 0) {
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());
        st = kms_fail(err, KMS_E_CONFIG_SYNTAX, "%s, line %ld: %s", config->path, line,
                      reason != NULL ? reason : "not readable");
    }
    ERR_pop_to_mark();
    BIO_free(bio);
    return st;
}

static kms_status load_file(kms_config *config, const char *path, bool may_be_missing,
                            kms_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    size_t len = 0;
    kms_status st;

    if (fd < 0 && may_be_missing && (errno == ENOENT || errno == ENOTDIR))
        return KMS_OK;
    if (fd < 0)
        return kms_fail(err, KMS_E_CONFIG_FILE, "%s: %s", path, strerror(errno));

    st = read_content(fd, path, &config->content, &len, err);
    close(fd);
    if (st == KMS_OK && (config->path = strdup(path)) == NULL)
        st = kms_fail(err, KMS_E_NO_MEMORY, "%s", path);
    if (st == KMS_OK)
        st = parse_content(config, len, err);
    if (st == KMS_OK)
        st = check_sections(config, err);
    return st;
}

static kms_status find_and_load_file(kms_config *config, const kms_config_given *given,
                                     kms_error *err)
{
    const char *path = given != NULL ? given->path : NULL;

    if (path == NULL && given != NULL && given->lookup != NULL)
        path = given->lookup(given->arg, "config");
    if (path == NULL || *path == '\0')
        path = variable_get("KMS_PROVIDER_CONF");
    if (path != NULL)
        return load_file(config, path, false, err);
    return load_file(config, KMS_CONFIG_DEFAULT_PATH, true, err);
}

/* ---- the interface ---- */

static kms_status load(kms_config *config, const kms_config_given *given, kms_error *err)
{
    kms_status st = find_and_load_file(config, given, err);

    for (kms_setting i = 0; st == KMS_OK && i < KMS_SETTING_COUNT; i++)
        st = read_preset(config, i, err);
    if (st == KMS_OK)
        st = read_file_settings(config, err);
    for (kms_setting i = 0; st == KMS_OK && i < KMS_SETTING_COUNT; i++) {
        st = read_environment(config, i, err);
        if (st == KMS_OK)
            st = read_given(config, given, i, err);
    }
    return st;
}

kms_status kms_config_load(const kms_config_given *given, kms_config **out, kms_error *err)
{
    kms_config *config = calloc(1, sizeof(*config));
    kms_status st;

    *out = NULL;
    if (config == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "configuration");
    st = load(config, given, err);
    free(config->content);
    config->content = NULL;
    if (st != KMS_OK) {
        kms_config_free(config);
        return st;
    }
    *out = config;
    return KMS_OK;
}

void kms_config_free(kms_config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < KMS_SETTING_COUNT; i++)
        value_clear(&config->values[i]);
    NCONF_free(config->file);
    free(config->path);
    free(config->content);
    free(config);
}

const char *kms_config_text(const kms_config *config, kms_setting setting)
{
    return config->values[setting].text;
}

bool kms_config_flag(const kms_config *config, kms_setting setting)
{
    return config->values[setting].number != 0;
}

long kms_config_number(const kms_config *config, kms_setting setting)
{
    return config->values[setting].number;
}

const char *const *kms_config_list(const kms_config *config, kms_setting setting)
{
    return (const char *const *)config->values[setting].items;
}

kms_status kms_config_each(const kms_config *config, const char *section,
                           kms_status (*visit)(void *arg, const char *name, const char *value,
                                               kms_error *err),
                           void *arg, kms_error *err)
{
    STACK_OF(CONF_VALUE) *pairs = NULL;
    kms_status st = KMS_OK;

    if (config->file != NULL)
        pairs = NCONF_get_section(config->file, section);
    for (int i = 0; st == KMS_OK && i < sk_CONF_VALUE_num(pairs); i++) {
        const CONF_VALUE *pair = sk_CONF_VALUE_value(pairs, i);
        st = visit(arg, pair->name, pair->value, err);
    }
    return st;
}

const char *kms_config_source(const kms_config *config)
{
    return config->path != NULL ? config->path : "environment";
}
