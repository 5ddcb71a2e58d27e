#include "tests/unit/settings.h"

#include "core/config.h"

#include <openssl/err.h>
#include <sys/stat.h>

#define KMS_CONF KMS_SOURCE_DIR "/conf/kms.conf"
#define MAN_PAGE KMS_SOURCE_DIR "/docs/man/kms.conf.5"

/* The table as tests need it. */
typedef struct setting_facts {
    const char *name;
    char kind; /* t(ext), f(lag), l(ist), n(umber), c(hoice) */
    long min, max;
    const char *choices, *preset, *environment, *doc;
} setting_facts;

#define TEXT             't', 0, 0, NULL
#define FLAG             'f', 0, 0, NULL
#define LIST             'l', 0, 0, NULL
#define NUMBER(min, max) 'n', min, max, NULL
#define CHOICE(choices)  'c', 0, 0, choices
#define SETTING_FACTS(id, name, type, preset, environment, doc)                                    \
    {name, type, preset, environment, doc},
static const setting_facts facts[KMS_SETTING_COUNT] = {KMS_SETTING_TABLE(SETTING_FACTS)};

static int clean(void **state)
{
    (void)state;
    clear_environment();
    return 0;
}

/* ---- defaults ---- */

static void expect_preset(const kms_config *config, kms_setting setting)
{
    const setting_facts *fact = &facts[setting];
    char joined[256] = "";

    switch (fact->kind) {
    case 'f':
        assert_int_equal(kms_config_flag(config, setting), strcmp(fact->preset, "yes") == 0);
        break;
    case 'n':
        assert_int_equal(kms_config_number(config, setting), strtol(fact->preset, NULL, 10));
        break;
    case 'l':
        for (const char *const *item = kms_config_list(config, setting); *item != NULL; item++)
            snprintf(joined + strlen(joined), sizeof(joined) - strlen(joined), "%s%s",
                     joined[0] != '\0' ? ", " : "", *item);
        assert_string_equal(joined, fact->preset);
        break;
    default:
        if (fact->preset == NULL)
            assert_null(kms_config_text(config, setting));
        else
            assert_string_equal(kms_config_text(config, setting), fact->preset);
    }
}

static void an_empty_file_gives_the_defaults(void **state)
{
    kms_config *config = config_from("");

    (void)state;
    for (kms_setting i = 0; i < KMS_SETTING_COUNT; i++)
        expect_preset(config, i);
    kms_config_free(config);
}

static void the_default_file_may_be_missing(void **state)
{
    kms_config *config = NULL;

    (void)state;
    if (access(KMS_CONFIG_DEFAULT_PATH, F_OK) == 0)
        skip();
    assert_int_equal(kms_config_load(NULL, &config, NULL), KMS_OK);
    assert_string_equal(kms_config_source(config), "environment");
    kms_config_free(config);
}

/* ---- precedence ---- */

/* A valid value that differs from the default, and from the one with another number. */
static void sample(const setting_facts *fact, int number, char *text, size_t size)
{
    switch (fact->kind) {
    case 'f':
        snprintf(text, size, "%s",
                 (strcmp(fact->preset, "yes") == 0) == (number == 1) ? "no" : "on");
        break;
    case 'n':
        snprintf(text, size, "%d", number + 1);
        break;
    case 'c':
        snprintf(text, size, "%s", number == 1 ? strchr(fact->choices, '|') + 1 : fact->preset);
        break;
    default:
        snprintf(text, size, "/sample-%d", number);
    }
}

static void expect_sample(const char *row, const kms_config *config, kms_setting setting,
                          const char *text)
{
    switch (facts[setting].kind) {
    case 'f':
        if (kms_config_flag(config, setting) != (strcmp(text, "on") == 0))
            fail_msg("%s", row);
        break;
    case 'n':
        if (kms_config_number(config, setting) != strtol(text, NULL, 10))
            fail_msg("%s", row);
        break;
    case 'l':
        if (kms_config_list(config, setting)[0] == NULL ||
            strcmp(kms_config_list(config, setting)[0], text) != 0)
            fail_msg("%s", row);
        break;
    default:
        if (kms_config_text(config, setting) == NULL ||
            strcmp(kms_config_text(config, setting), text) != 0)
            fail_msg("%s", row);
    }
}

static void every_setting_is_read_from_the_file(void **state)
{
    char value[64], text[128];

    (void)state;
    for (kms_setting i = 0; i < KMS_SETTING_COUNT; i++) {
        sample(&facts[i], 1, value, sizeof(value));
        snprintf(text, sizeof(text), "%s = %s\n", facts[i].name, value);
        kms_config *config = config_from(text);
        expect_sample(facts[i].name, config, i, value);
        kms_config_free(config);
    }
}

/* Sets names[0..count) of the setting's variables to samples 1, 2, … and expects the first. */
static void check_variables(kms_setting setting)
{
    char names[128], file_value[64], value[64], text[128], *rest = names, *name;

    snprintf(names, sizeof(names), "%s", facts[setting].environment);
    sample(&facts[setting], 2, file_value, sizeof(file_value));
    sample(&facts[setting], 1, value, sizeof(value));
    snprintf(text, sizeof(text), "%s = %s\n", facts[setting].name, file_value);
    while ((name = strsep(&rest, " ")) != NULL) {
        setenv(name, value, 1);
        kms_config *config = config_from(text);
        expect_sample(name, config, setting, value);
        kms_config_free(config);
        setenv(name, "", 1);
        config = config_from(text);
        expect_sample(name, config, setting, file_value); /* empty counts as unset */
        kms_config_free(config);
        unsetenv(name);
    }
}

static void every_variable_beats_the_file(void **state)
{
    (void)state;
    for (kms_setting i = 0; i < KMS_SETTING_COUNT; i++) {
        if (facts[i].environment != NULL)
            check_variables(i);
    }
}

static void the_first_variable_that_is_set_wins(void **state)
{
    kms_config *config;

    (void)state;
    setenv("AWS_DEFAULT_REGION", "eu-west-3", 1);
    setenv("AWS_REGION", "eu-west-1", 1);
    config = config_from("");
    assert_string_equal(kms_config_text(config, KMS_SET_REGION), "eu-west-1");
    kms_config_free(config);
}

typedef struct given_pair {
    const char *name, *value;
} given_pair;

static const char *lookup_pair(void *arg, const char *name)
{
    const given_pair *pair = arg;

    return strcmp(pair->name, name) == 0 ? pair->value : NULL;
}

static void what_the_call_gives_beats_the_environment(void **state)
{
    given_pair pair = {"region", "eu-south-1"};
    const kms_config_given given = {"/dev/null", lookup_pair, &pair};
    kms_config *config = NULL;

    (void)state;
    setenv("AWS_REGION", "eu-west-1", 1);
    assert_int_equal(kms_config_load(&given, &config, NULL), KMS_OK);
    assert_string_equal(kms_config_text(config, KMS_SET_REGION), "eu-south-1");
    kms_config_free(config);

    pair.value = ""; /* says nothing */
    assert_int_equal(kms_config_load(&given, &config, NULL), KMS_OK);
    assert_string_equal(kms_config_text(config, KMS_SET_REGION), "eu-west-1");
    kms_config_free(config);
}

static void a_bad_value_in_the_call_is_refused(void **state)
{
    given_pair pair = {"max_attempts", "many"};
    const kms_config_given given = {"/dev/null", lookup_pair, &pair};
    kms_config *config = NULL;
    kms_error err;

    (void)state;
    assert_int_equal(kms_config_load(&given, &config, &err), KMS_E_CONFIG_VALUE);
    assert_null(config);
    expect_detail("call", &err, "max_attempts (given with the call): allowed is 1 to 10");
}

/* ---- the file ---- */

static void the_file_is_named_by_path_then_call_then_variable(void **state)
{
    char by_path[PATH_SIZE], by_call[PATH_SIZE], by_variable[PATH_SIZE];
    given_pair pair = {"config", by_call};
    kms_config_given given = {by_path, lookup_pair, &pair};
    kms_config *config = NULL;

    (void)state;
    make_file("key = alias/path\n", 17, by_path);
    make_file("key = alias/call\n", 17, by_call);
    make_file("key = alias/variable\n", 21, by_variable);
    setenv("KMS_PROVIDER_CONF", by_variable, 1);

    assert_int_equal(kms_config_load(&given, &config, NULL), KMS_OK);
    assert_string_equal(kms_config_text(config, KMS_SET_KEY), "alias/path");
    assert_string_equal(kms_config_source(config), by_path);
    kms_config_free(config);

    given.path = NULL;
    assert_int_equal(kms_config_load(&given, &config, NULL), KMS_OK);
    assert_string_equal(kms_config_text(config, KMS_SET_KEY), "alias/call");
    kms_config_free(config);

    given.lookup = NULL;
    assert_int_equal(kms_config_load(&given, &config, NULL), KMS_OK);
    assert_string_equal(kms_config_text(config, KMS_SET_KEY), "alias/variable");
    kms_config_free(config);
    unlink(by_path);
    unlink(by_call);
    unlink(by_variable);
}

static void a_named_file_must_exist_and_be_readable(void **state)
{
    static const char *const paths[] = {"/nonexistent/kms.conf", "/"};
    kms_config *config = NULL;
    kms_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        const kms_config_given given = {.path = paths[i]};
        expect_status(paths[i], kms_config_load(&given, &config, &err), KMS_E_CONFIG_FILE, &err);
        expect_detail(paths[i], &err, paths[i]);
        assert_null(config);
        setenv("KMS_PROVIDER_CONF", paths[i], 1);
        expect_status(paths[i], kms_config_load(NULL, &config, &err), KMS_E_CONFIG_FILE, &err);
    }
}

static void a_huge_file_is_refused(void **state)
{
    char path[PATH_SIZE];
    const kms_config_given given = {.path = path};
    kms_config *config = NULL;
    kms_error err;

    (void)state;
    make_file("", 0, path);
    assert_int_equal(truncate(path, 1024 * 1024 + 1), 0);
    assert_int_equal(kms_config_load(&given, &config, &err), KMS_E_CONFIG_FILE);
    expect_detail("size", &err, "larger than 1 MiB");
    unlink(path);
}

static void a_nul_byte_in_the_file_is_refused(void **state)
{
    char path[PATH_SIZE];
    const kms_config_given given = {.path = path};
    kms_config *config = NULL;
    kms_error err;

    (void)state;
    make_file("residency = eu\0\nencryption_enabled = no\n", 40, path);
    assert_int_equal(kms_config_load(&given, &config, &err), KMS_E_CONFIG_SYNTAX);
    unlink(path);
}

static void mistakes_in_the_file_are_refused_with_their_place(void **state)
{
    static const struct {
        const char *text;
        kms_status status;
        const char *says, *says_too;
    } rows[] = {
        {"region = eu-west-1\nresidence = eu\n", KMS_E_CONFIG_UNKNOWN, "\"residence\"", "line 2"},
        {"residence = eu\n", KMS_E_CONFIG_UNKNOWN, "did you mean \"residency\"?", NULL},
        {"Region = eu-west-1\n", KMS_E_CONFIG_UNKNOWN, "did you mean \"region\"?", "line 1"},
        {"a b = c\n", KMS_E_CONFIG_SYNTAX, "line 1", NULL},
        {"[default]\nreginn = eu-west-1\n", KMS_E_CONFIG_UNKNOWN, "did you mean \"region\"?",
         "line 2"},
        {"\n[contxt]\na = b\n", KMS_E_CONFIG_UNKNOWN, "section [contxt]", "line 2"},
        {"[contxt]\na = b\n", KMS_E_CONFIG_UNKNOWN, "did you mean [context]?", NULL},
        {"[tokens.a]\na = b\n", KMS_E_CONFIG_UNKNOWN, "did you mean [token.NAME]?", NULL},
        {"[token.]\na = b\n", KMS_E_CONFIG_UNKNOWN, "section [token.]", NULL},
        {"[context]\na = b\n[unheard]\n", KMS_E_CONFIG_UNKNOWN, "section [unheard]", "line 3"},
        {"region = eu-west-1\n[context\n", KMS_E_CONFIG_SYNTAX, "line 2", NULL},
        {"region\n", KMS_E_CONFIG_SYNTAX, "line 1", NULL},
        {"region = $nothing\n", KMS_E_CONFIG_SYNTAX, "line 1", NULL},
        {"region = eu-west-1\n\nencryption_enabled = maybe\n", KMS_E_CONFIG_VALUE,
         "encryption_enabled", "line 3"},
        {"encryption_enabled = maybe\n", KMS_E_CONFIG_VALUE, "yes|no|true|false|on|off|1|0", NULL},
        {"encryption_enabled =\n", KMS_E_CONFIG_VALUE, "encryption_enabled", NULL},
        {"encryption_enabled = 2\n", KMS_E_CONFIG_VALUE, "encryption_enabled", NULL},
        {"residency = us\n", KMS_E_CONFIG_VALUE, "allowed is eu|eu-adequate", "line 1"},
        {"residency = EU\n", KMS_E_CONFIG_VALUE, "residency", NULL},
        {"residency = eu|eu-adequate\n", KMS_E_CONFIG_VALUE, "residency", NULL},
        {"residency =\n", KMS_E_CONFIG_VALUE, "residency", NULL},
        {"max_attempts = 0\n", KMS_E_CONFIG_VALUE, "allowed is 1 to 10", "line 1"},
        {"max_attempts = 11\n", KMS_E_CONFIG_VALUE, "max_attempts", NULL},
        {"max_attempts = -1\n", KMS_E_CONFIG_VALUE, "max_attempts", NULL},
        {"max_attempts = +1\n", KMS_E_CONFIG_VALUE, "max_attempts", NULL},
        {"max_attempts = 3x\n", KMS_E_CONFIG_VALUE, "max_attempts", NULL},
        {"max_attempts = 0x3\n", KMS_E_CONFIG_VALUE, "max_attempts", NULL},
        {"max_attempts = 3.0\n", KMS_E_CONFIG_VALUE, "max_attempts", NULL},
        {"max_attempts =\n", KMS_E_CONFIG_VALUE, "max_attempts", NULL},
        {"max_attempts = 18446744073709551617\n", KMS_E_CONFIG_VALUE, "max_attempts", NULL},
        {"log = kms.log\n", KMS_E_CONFIG_VALUE, "an absolute path", "line 1"},
        {"log = stdout\n", KMS_E_CONFIG_VALUE, "log", NULL},
        {"max_attempts = 3\n[context]\nmax_attempts = x\n[default]\nmax_attempts = 99\n",
         KMS_E_CONFIG_VALUE, "line 5", NULL},
    };
    kms_config *config = NULL;
    kms_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        expect_status(rows[i].text, load_text(rows[i].text, &config, &err), rows[i].status, &err);
        expect_detail(rows[i].text, &err, rows[i].says);
        expect_detail(rows[i].text, &err, rows[i].says_too);
        expect_detail(rows[i].text, &err, "/kms-test-");
        assert_null(config);
    }
}

static void every_number_is_held_to_its_limits(void **state)
{
    char text[128];
    kms_config *config = NULL;
    kms_error err;

    (void)state;
    for (kms_setting i = 0; i < KMS_SETTING_COUNT; i++) {
        if (facts[i].kind != 'n')
            continue;
        const struct {
            long number;
            kms_status status;
        } rows[] = {{facts[i].min - 1, KMS_E_CONFIG_VALUE},
                    {facts[i].min, KMS_OK},
                    {facts[i].max, KMS_OK},
                    {facts[i].max + 1, KMS_E_CONFIG_VALUE}};
        for (size_t j = 0; j < sizeof(rows) / sizeof(rows[0]); j++) {
            snprintf(text, sizeof(text), "%s = %ld\n", facts[i].name, rows[j].number);
            expect_status(text, load_text(text, &config, &err), rows[j].status, &err);
            if (rows[j].status == KMS_OK)
                assert_int_equal(kms_config_number(config, i), rows[j].number);
            kms_config_free(config);
            config = NULL;
        }
    }
}

static void a_bad_variable_is_refused_by_its_name(void **state)
{
    static const given_pair rows[] = {
        {"KMS_ENCRYPTION_ENABLED", "maybe"},
        {"kms_encryption_enabled", "2"},
        {"AWS_MAX_ATTEMPTS", "none"},
        {"KMS_PROVIDER_LOG", "relative/path"},
    };
    kms_config *config = NULL;
    kms_error err;
    char says[96];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        setenv(rows[i].name, rows[i].value, 1);
        expect_status(rows[i].name, load_text("", &config, &err), KMS_E_CONFIG_VALUE, &err);
        snprintf(says, sizeof(says), "environment variable %s", rows[i].name);
        expect_detail(rows[i].name, &err, says);
        unsetenv(rows[i].name);
    }
}

static void a_mistake_in_the_file_is_refused_though_overridden(void **state)
{
    kms_config *config = NULL;
    kms_error err;

    (void)state;
    setenv("AWS_MAX_ATTEMPTS", "2", 1);
    assert_int_equal(load_text("max_attempts = many\n", &config, &err), KMS_E_CONFIG_VALUE);
}

/* ---- types ---- */

static void flags_take_their_words_in_any_case(void **state)
{
    static const struct {
        const char *word;
        bool flag;
    } rows[] = {{"yes", true},  {"no", false}, {"TRUE", true}, {"False", false}, {"On", true},
                {"OFF", false}, {"1", true},   {"0", false},   {"Yes", true},    {"nO", false}};
    char text[64];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        snprintf(text, sizeof(text), "encryption_enabled = %s\n", rows[i].word);
        kms_config *config = config_from(text);
        assert_int_equal(kms_config_flag(config, KMS_SET_ENCRYPTION_ENABLED), rows[i].flag);
        kms_config_free(config);
    }
}

static void the_two_feature_flags_must_agree(void **state)
{
    static const struct {
        const char *upper, *lower;
        kms_status status;
        bool flag;
    } rows[] = {
        {"true", "yes", KMS_OK, true},
        {"off", "0", KMS_OK, false},
        {"", "false", KMS_OK, false},
        {"false", "", KMS_OK, false},
        {"true", "false", KMS_E_CONFIG_VALUE, false},
        {"no", "yes", KMS_E_CONFIG_VALUE, false},
        {"yes", "maybe", KMS_E_CONFIG_VALUE, false},
    };
    kms_config *config = NULL;
    kms_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        setenv("KMS_ENCRYPTION_ENABLED", rows[i].upper, 1);
        setenv("kms_encryption_enabled", rows[i].lower, 1);
        expect_status(rows[i].lower, load_text("", &config, &err), rows[i].status, &err);
        if (rows[i].status == KMS_OK)
            assert_int_equal(kms_config_flag(config, KMS_SET_ENCRYPTION_ENABLED), rows[i].flag);
        kms_config_free(config);
        config = NULL;
    }
}

static void lists_ignore_blanks_and_empty_items(void **state)
{
    static const struct {
        const char *text;
        const char *items[4];
    } rows[] = {
        {"required_context = a,b ,  c\n", {"a", "b", "c", NULL}},
        {"required_context = a,,b,\n", {"a", "b", NULL}},
        {"required_context =\n", {NULL}},
        {"required_context = ,\n", {NULL}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_config *config = config_from(rows[i].text);
        const char *const *list = kms_config_list(config, KMS_SET_REQUIRED_CONTEXT);
        size_t j = 0;
        for (; rows[i].items[j] != NULL; j++)
            assert_string_equal(list[j], rows[i].items[j]);
        assert_null(list[j]);
        kms_config_free(config);
    }
}

static void an_empty_text_leaves_the_default(void **state)
{
    kms_config *config = config_from("log =\nregion =\n");

    (void)state;
    assert_string_equal(kms_config_text(config, KMS_SET_LOG), "stderr");
    assert_null(kms_config_text(config, KMS_SET_REGION));
    kms_config_free(config);
}

static void the_syntax_is_that_of_openssl(void **state)
{
    kms_config *config = config_from("# comment\n  region = \"eu-west-1\" # comment\r\n"
                                     "key = alias/\\\nlong\nprofile = $region\n");

    (void)state;
    assert_string_equal(kms_config_text(config, KMS_SET_REGION), "eu-west-1");
    assert_string_equal(kms_config_text(config, KMS_SET_KEY), "alias/long");
    assert_string_equal(kms_config_text(config, KMS_SET_PROFILE), "eu-west-1");
    kms_config_free(config);
}

static void the_error_queue_of_openssl_stays_as_it_is(void **state)
{
    kms_config *config = NULL;
    kms_error err;

    (void)state;
    ERR_clear_error();
    assert_int_equal(load_text("[broken\n", &config, &err), KMS_E_CONFIG_SYNTAX);
    assert_int_equal(ERR_peek_error(), 0);
}

/* ---- free sections ---- */

typedef struct visits {
    char text[128];
    kms_status stop;
} visits;

static kms_status note(void *arg, const char *name, const char *value, kms_error *err)
{
    visits *v = arg;

    snprintf(v->text + strlen(v->text), sizeof(v->text) - strlen(v->text), "%s=%s;", name, value);
    return v->stop == KMS_OK ? KMS_OK : kms_fail(err, v->stop, "stopped");
}

static void a_free_section_is_visited_in_order(void **state)
{
    kms_config *config =
        config_from("[context]\nz = 1\na = two words\n[token.main]\nregion = eu-west-1\n");
    visits v = {0};

    (void)state;
    assert_int_equal(kms_config_each(config, "context", note, &v, NULL), KMS_OK);
    assert_string_equal(v.text, "z=1;a=two words;");
    v = (visits){0};
    assert_int_equal(kms_config_each(config, "token.main", note, &v, NULL), KMS_OK);
    assert_string_equal(v.text, "region=eu-west-1;");
    v = (visits){.stop = KMS_E_CONTEXT_NAME};
    assert_int_equal(kms_config_each(config, "context", note, &v, NULL), KMS_E_CONTEXT_NAME);
    assert_string_equal(v.text, "z=1;");
    v = (visits){0};
    assert_int_equal(kms_config_each(config, "token.other", note, &v, NULL), KMS_OK);
    assert_string_equal(v.text, "");
    kms_config_free(config);
}

/* ---- documentation ---- */

/* Joins comment lines: "\n# " becomes a blank, so that wrapped sentences are found. */
static void unwrap(char *text)
{
    char *to = text;

    for (const char *from = text; *from != '\0'; from++) {
        if (strncmp(from, "\n# ", 3) == 0) {
            *to++ = ' ';
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
}

static void expect_part(const char *where, const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("%s lacks \"%s\"", where, part);
}

/* "AWS_REGION AWS_DEFAULT_REGION" as "Environment: AWS_REGION, AWS_DEFAULT_REGION." */
static void format_environment(const char *names, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "Environment: ");

    for (; *names != '\0'; names++)
        used += (size_t)snprintf(text + used, size - used, *names == ' ' ? ",%c" : "%c", *names);
    snprintf(text + used, size - used, ".");
}

static void the_sample_file_has_every_setting(void **state)
{
    char *text = read_source(KMS_CONF), line[256];

    (void)state;
    unwrap(text);
    for (size_t i = 0; i < KMS_SETTING_COUNT; i++) {
        const char *preset = facts[i].preset != NULL ? facts[i].preset : "";
        snprintf(line, sizeof(line), "\n#%s =%s%s\n", facts[i].name, *preset != '\0' ? " " : "",
                 preset);
        expect_part(KMS_CONF, text, line);
        expect_part(KMS_CONF, text, facts[i].doc);
        if (facts[i].environment != NULL) {
            format_environment(facts[i].environment, line, sizeof(line));
            expect_part(KMS_CONF, text, line);
        }
    }
    free(text);
}

/* Takes the '#' from lines "#NAME = …", but not from prose ("# …"). */
static void uncomment(char *text)
{
    char *to = text;

    for (const char *from = text; *from != '\0'; from++) {
        bool line_begins = from == text || from[-1] == '\n';
        if (line_begins && *from == '#' && from[1] >= 'a' && from[1] <= 'z')
            continue;
        *to++ = *from;
    }
    *to = '\0';
}

static void the_sample_file_is_valid_and_changes_nothing(void **state)
{
    char *text = read_source(KMS_CONF);
    kms_config *config = config_from(text);

    (void)state;
    kms_config_free(config);
    uncomment(text); /* an unknown name would be refused here */
    config = config_from(text);
    for (kms_setting i = 0; i < KMS_SETTING_COUNT; i++)
        expect_preset(config, i);
    kms_config_free(config);
    free(text);
}

static void the_manual_has_every_setting(void **state)
{
    char *text = read_source(MAN_PAGE), line[256];
    size_t entries = 0;

    (void)state;
    for (size_t i = 0; i < KMS_SETTING_COUNT; i++) {
        snprintf(line, sizeof(line), "\n.TP\n.B %s\n", facts[i].name);
        expect_part(MAN_PAGE, text, line);
        expect_part(MAN_PAGE, strstr(text, line), facts[i].doc);
        if (facts[i].environment != NULL) {
            format_environment(facts[i].environment, line, sizeof(line));
            expect_part(MAN_PAGE, text, line);
        }
    }
    for (const char *at = text; (at = strstr(at, "\nDefault: ")) != NULL; at++)
        entries++;
    assert_int_equal(entries, KMS_SETTING_COUNT);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_empty_file_gives_the_defaults, clean),
        cmocka_unit_test_setup(the_default_file_may_be_missing, clean),
        cmocka_unit_test_setup(every_setting_is_read_from_the_file, clean),
        cmocka_unit_test_setup(every_variable_beats_the_file, clean),
        cmocka_unit_test_setup(the_first_variable_that_is_set_wins, clean),
        cmocka_unit_test_setup(what_the_call_gives_beats_the_environment, clean),
        cmocka_unit_test_setup(a_bad_value_in_the_call_is_refused, clean),
        cmocka_unit_test_setup(the_file_is_named_by_path_then_call_then_variable, clean),
        cmocka_unit_test_setup(a_named_file_must_exist_and_be_readable, clean),
        cmocka_unit_test_setup(a_huge_file_is_refused, clean),
        cmocka_unit_test_setup(a_nul_byte_in_the_file_is_refused, clean),
        cmocka_unit_test_setup(mistakes_in_the_file_are_refused_with_their_place, clean),
        cmocka_unit_test_setup(every_number_is_held_to_its_limits, clean),
        cmocka_unit_test_setup(a_bad_variable_is_refused_by_its_name, clean),
        cmocka_unit_test_setup(a_mistake_in_the_file_is_refused_though_overridden, clean),
        cmocka_unit_test_setup(flags_take_their_words_in_any_case, clean),
        cmocka_unit_test_setup(the_two_feature_flags_must_agree, clean),
        cmocka_unit_test_setup(lists_ignore_blanks_and_empty_items, clean),
        cmocka_unit_test_setup(an_empty_text_leaves_the_default, clean),
        cmocka_unit_test_setup(the_syntax_is_that_of_openssl, clean),
        cmocka_unit_test_setup(the_error_queue_of_openssl_stays_as_it_is, clean),
        cmocka_unit_test_setup(a_free_section_is_visited_in_order, clean),
        cmocka_unit_test_setup(the_sample_file_has_every_setting, clean),
        cmocka_unit_test_setup(the_sample_file_is_valid_and_changes_nothing, clean),
        cmocka_unit_test_setup(the_manual_has_every_setting, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
