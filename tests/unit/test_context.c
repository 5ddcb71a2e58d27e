#include "tests/unit/settings.h"

#include "core/context.h"

#define JSON(text) text, sizeof(text) - 1

/* Makes a context from "NAME=VALUE" texts up to NULL. */
static kms_context *context_of(const char *first, ...)
{
    kms_context *context = kms_context_new();
    va_list args;

    assert_non_null(context);
    va_start(args, first);
    for (const char *text = first; text != NULL; text = va_arg(args, const char *))
        assert_int_equal(kms_context_parse(context, text, strlen(text), NULL), KMS_OK);
    va_end(args);
    return context;
}

static void pairs_come_sorted_by_bytes(void **state)
{
    kms_context *context = context_of("b=2", "a=1", "B=3", "\xc3\xa4=4", "aa=5", NULL);
    char names[64];

    (void)state;
    kms_context_names(context, names, sizeof(names));
    assert_string_equal(names, "B, a, aa, b, \xc3\xa4");
    assert_int_equal(kms_context_count(context), 5);
    assert_string_equal(kms_context_name(context, 0), "B");
    assert_string_equal(kms_context_value(context, 0), "3");
    assert_string_equal(kms_context_find(context, "aa"), "5");
    assert_null(kms_context_find(context, "A"));
    kms_context_names(context, names, 5);
    assert_string_equal(names, "B, a");
    kms_context_free(context);
}

static void no_context_reads_as_an_empty_one(void **state)
{
    kms_context *empty = kms_context_new();
    char names[4] = "x";

    (void)state;
    assert_int_equal(kms_context_count(NULL), 0);
    assert_null(kms_context_find(NULL, "a"));
    assert_true(kms_context_equal(NULL, empty));
    kms_context_names(NULL, names, sizeof(names));
    assert_string_equal(names, "");
    kms_context_free(empty);
    kms_context_free(NULL);
}

static void names_and_values_are_checked(void **state)
{
    static const struct {
        const char *name, *value;
        kms_status status;
    } rows[] = {
        {"name", "", KMS_OK},
        {"name", "two words", KMS_OK},
        {"a=b", "c=d", KMS_OK},
        {"aws", "x", KMS_OK},
        {"AWS:x", "x", KMS_OK},
        {"\xf0\x9f\x94\x91", "\xf4\x8f\xbf\xbf", KMS_OK},
        {"\xc2\xa0", "\xef\xbf\xbd", KMS_OK},
        {"", "x", KMS_E_CONTEXT_NAME},
        {"aws:x", "x", KMS_E_CONTEXT_NAME},
        {"aws:", "x", KMS_E_CONTEXT_NAME},
        {"a\nb", "x", KMS_E_CONTEXT_NAME},
        {"a\x7f", "x", KMS_E_CONTEXT_NAME},
        {"\xff", "x", KMS_E_CONTEXT_NAME},
        {"\xed\xa0\x80", "x", KMS_E_CONTEXT_NAME},
        {"a", "\x01", KMS_E_CONTEXT_VALUE},
        {"a", "\t", KMS_E_CONTEXT_VALUE},
        {"a", "\x1f", KMS_E_CONTEXT_VALUE},
        {"a", "\xc2\x80", KMS_E_CONTEXT_VALUE},         /* U+0080 */
        {"a", "\xc2\x9f", KMS_E_CONTEXT_VALUE},         /* U+009F */
        {"a", "\x80", KMS_E_CONTEXT_VALUE},             /* no first byte */
        {"a", "\xc3", KMS_E_CONTEXT_VALUE},             /* cut */
        {"a", "\xe2\x82", KMS_E_CONTEXT_VALUE},         /* cut */
        {"a", "\xc3\x28", KMS_E_CONTEXT_VALUE},         /* no second byte */
        {"a", "\xc0\xaf", KMS_E_CONTEXT_VALUE},         /* overlong '/' */
        {"a", "\xc0\x80", KMS_E_CONTEXT_VALUE},         /* overlong NUL */
        {"a", "\xe0\x80\xaf", KMS_E_CONTEXT_VALUE},     /* overlong '/' */
        {"a", "\xf0\x80\x80\xaf", KMS_E_CONTEXT_VALUE}, /* overlong '/' */
        {"a", "\xed\xa0\x80", KMS_E_CONTEXT_VALUE},     /* surrogate U+D800 */
        {"a", "\xed\xbf\xbf", KMS_E_CONTEXT_VALUE},     /* surrogate U+DFFF */
        {"a", "\xf4\x90\x80\x80", KMS_E_CONTEXT_VALUE}, /* U+110000 */
        {"a", "\xf8\x88\x80\x80\x80", KMS_E_CONTEXT_VALUE},
    };
    char row[64];
    kms_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_context *context = context_of(NULL);
        snprintf(row, sizeof(row), "row %zu", i);
        expect_status(row, kms_context_add(context, rows[i].name, rows[i].value, &err),
                      rows[i].status, &err);
        assert_int_equal(kms_context_count(context), rows[i].status == KMS_OK);
        kms_context_free(context);
    }
}

static void errors_never_hold_values(void **state)
{
    kms_context *context = context_of("name=secret-1", NULL);
    kms_error err;

    (void)state;
    kms_context_add(context, "other", "secret-2\n", &err);
    assert_null(strstr(err.detail, "secret"));
    kms_context_add(context, "name", "secret-3", &err);
    assert_null(strstr(err.detail, "secret"));
    kms_context_parse(context, "secret-4", 8, &err);
    assert_null(strstr(err.detail, "secret"));
    kms_context_parse(context, JSON("{\"a\":{\"secret-5\":1}}"), &err);
    assert_null(strstr(err.detail, "secret"));
    kms_context_free(context);
}

static void a_name_is_given_once(void **state)
{
    kms_context *context = context_of("a=1", NULL);

    (void)state;
    assert_int_equal(kms_context_add(context, "a", "1", NULL), KMS_E_CONTEXT_DUPLICATE);
    assert_int_equal(kms_context_add(context, "A", "1", NULL), KMS_OK);
    kms_context_free(context);
}

static void bytes_are_limited(void **state)
{
    kms_context *context = context_of("ab=cd", NULL);
    char *value = calloc(1, KMS_CONTEXT_BYTES_MAX + 1);

    (void)state;
    assert_non_null(value);
    memset(value, 'v', KMS_CONTEXT_BYTES_MAX - 4);
    assert_int_equal(kms_context_add(context, "x", value, NULL), KMS_E_CONTEXT_TOO_LARGE);
    value[KMS_CONTEXT_BYTES_MAX - 5] = '\0';
    assert_int_equal(kms_context_add(context, "x", value, NULL), KMS_OK);
    assert_int_equal(kms_context_add(context, "y", "", NULL), KMS_E_CONTEXT_TOO_LARGE);
    kms_context_free(context);
    memset(value, '=', KMS_CONTEXT_BYTES_MAX);
    value[0] = 'x';
    context = context_of(NULL);
    assert_int_equal(kms_context_parse(context, value, KMS_CONTEXT_BYTES_MAX, NULL), KMS_OK);
    kms_context_free(context);
    free(value);
}

static void pairs_are_limited(void **state)
{
    kms_context *context = context_of(NULL);
    char name[16];

    (void)state;
    for (int i = 0; i < KMS_CONTEXT_PAIRS_MAX; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        assert_int_equal(kms_context_add(context, name, "v", NULL), KMS_OK);
    }
    assert_int_equal(kms_context_add(context, "more", "v", NULL), KMS_E_CONTEXT_TOO_LARGE);
    assert_int_equal(kms_context_count(context), KMS_CONTEXT_PAIRS_MAX);
    kms_context_free(context);
}

static void typed_texts_and_json_are_parsed(void **state)
{
    static const struct {
        const char *text;
        const char *name, *value;
    } rows[] = {
        {"a=1", "a", "1"},
        {"a==1=", "a", "=1="},
        {"a=", "a", ""},
        {"a={\"b\":1}", "a", "{\"b\":1}"},
        {"{\"a\":\"1\"}", "a", "1"},
        {"{ \"a\" : \"1\" } \r\n\t", "a", "1"},
        {"{\"a\":\"\\u00e4\\\"\\\\\\/\"}", "a", "\xc3\xa4\"\\/"},
        {"{\"\\u0061\":\"\\ud83d\\udd11\"}", "a", "\xf0\x9f\x94\x91"},
        {"{\"a\":\"\\\\u0000\"}", "a", "\\u0000"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_context *context = context_of(rows[i].text, NULL);
        assert_int_equal(kms_context_count(context), 1);
        assert_string_equal(kms_context_find(context, rows[i].name), rows[i].value);
        kms_context_free(context);
    }
}

static void json_names_that_differ_in_case_are_distinct(void **state)
{
    kms_context *context = context_of("{\"a\":\"1\",\"A\":\"2\"}", NULL);

    (void)state;
    assert_string_equal(kms_context_find(context, "a"), "1");
    assert_string_equal(kms_context_find(context, "A"), "2");
    kms_context_free(context);
}

static void an_empty_object_adds_nothing(void **state)
{
    kms_context *context = context_of("{}", NULL);

    (void)state;
    assert_int_equal(kms_context_count(context), 0);
    kms_context_free(context);
}

static void text_needs_no_terminator(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        kms_status status;
    } rows[] = {
        {JSON("{\"a\":\"1\"}"), KMS_OK},
        {JSON("bbbbbbb=1"), KMS_OK},
        {JSON("{\"ccccc\\u"), KMS_E_CONTEXT_SYNTAX},
    };
    kms_context *context = context_of(NULL);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *bare = malloc(rows[i].len); /* the sanitizer sees one byte too far */
        assert_non_null(bare);
        memcpy(bare, rows[i].text, rows[i].len);
        assert_int_equal(kms_context_parse(context, bare, rows[i].len, NULL), rows[i].status);
        free(bare);
    }
    kms_context_free(context);
}

static void texts_that_are_no_context_are_refused_as_a_whole(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        kms_status status;
    } rows[] = {
        {JSON(""), KMS_E_CONTEXT_SYNTAX},
        {JSON("a"), KMS_E_CONTEXT_SYNTAX},
        {JSON("a=1\0b"), KMS_E_CONTEXT_SYNTAX},
        {JSON("=1"), KMS_E_CONTEXT_NAME},
        {JSON("old=1"), KMS_E_CONTEXT_DUPLICATE},
        {JSON("a=1\n"), KMS_E_CONTEXT_VALUE},
        {JSON("aws:a=1"), KMS_E_CONTEXT_NAME},
        {JSON("{"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{\"a\":\"1\""), KMS_E_CONTEXT_SYNTAX},
        {JSON("{\"a\":\"1\",}"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{\"a\" \"1\"}"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{a:\"1\"}"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{'a':'1'}"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{\"a\":\"1\"}x"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{\"a\":\"1\"}{}"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{\"a\":\"1\"}\0"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{\"a\":1}"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{\"a\":true}"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{\"a\":null}"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{\"a\":[\"1\"]}"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{\"a\":{\"b\":\"1\"}}"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{\"new\":\"1\",\"a\":2}"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{\"a\":\"1\",\"a\":\"1\"}"), KMS_E_CONTEXT_DUPLICATE},
        {JSON("{\"a\":\"1\",\"\\u0061\":\"2\"}"), KMS_E_CONTEXT_DUPLICATE},
        {JSON("{\"new\":\"1\",\"old\":\"1\"}"), KMS_E_CONTEXT_DUPLICATE},
        {JSON("{\"a\":\"x\\u0000y\"}"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{\"a\\u0000\":\"x\"}"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{\"a\":\"\\\\\\u0000\"}"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{\"a\":\"\\ud800\"}"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{\"a\":\"\\x\"}"), KMS_E_CONTEXT_SYNTAX},
        {JSON("{\"a\":\"\\n\"}"), KMS_E_CONTEXT_VALUE},
        {JSON("{\"a\":\"\xff\"}"), KMS_E_CONTEXT_VALUE},
        {JSON("{\"\":\"1\"}"), KMS_E_CONTEXT_NAME},
        {JSON("{\"aws:a\":\"1\"}"), KMS_E_CONTEXT_NAME},
    };
    kms_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_context *context = context_of("old=1", NULL);
        expect_status(rows[i].text, kms_context_parse(context, rows[i].text, rows[i].len, &err),
                      rows[i].status, &err);
        assert_int_equal(kms_context_count(context), 1);
        assert_string_equal(kms_context_find(context, "old"), "1");
        kms_context_free(context);
    }
}

static void deep_and_long_json_is_refused(void **state)
{
    static const size_t sizes[] = {2000, 40000, 1000000};
    char *text = malloc(1000000);
    kms_context *context = context_of(NULL);

    (void)state;
    assert_non_null(text);
    memset(text, '[', 1000000);
    for (size_t i = 0; i < 5; i++)
        text[i] = "{\"a\":"[i];
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        kms_status expected = sizes[i] > 60000 ? KMS_E_CONTEXT_TOO_LARGE : KMS_E_CONTEXT_SYNTAX;
        assert_int_equal(kms_context_parse(context, text, sizes[i], NULL), expected);
    }
    kms_context_free(context);
    free(text);
}

static void merging_takes_equal_pairs_and_refuses_others(void **state)
{
    kms_context *context = context_of("a=1", "b=2", NULL);
    kms_context *same = context_of("b=2", "c=3", NULL);
    kms_context *other = context_of("0=0", "b=3", NULL);
    kms_context *expected = context_of("c=3", "b=2", "a=1", NULL);

    (void)state;
    assert_int_equal(kms_context_merge(context, NULL, NULL), KMS_OK);
    assert_int_equal(kms_context_merge(context, same, NULL), KMS_OK);
    assert_true(kms_context_equal(context, expected));
    assert_int_equal(kms_context_merge(context, other, NULL), KMS_E_CONTEXT_DUPLICATE);
    assert_true(kms_context_equal(context, expected));
    assert_int_equal(kms_context_merge(context, context, NULL), KMS_OK);
    assert_true(kms_context_equal(context, expected));
    assert_false(kms_context_equal(context, other));
    kms_context_free(context);
    kms_context_free(same);
    kms_context_free(other);
    kms_context_free(expected);
}

static void equality_looks_at_every_byte(void **state)
{
    static const char *const others[] = {"a=1", "b=2", "a=2", "A=1", "a=1 ", "aa=1"};
    kms_context *context = context_of(others[0], NULL);

    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        kms_context *other = context_of(others[i], NULL);
        assert_int_equal(kms_context_equal(context, other), i == 0);
        kms_context_free(other);
    }
    kms_context_free(context);
}

static void defaults_come_from_the_configuration(void **state)
{
    kms_config *config = config_from("[context]\ndataType = pii\noperationId = \"a b\"\n");
    kms_context *context = NULL;

    (void)state;
    assert_int_equal(kms_context_defaults(config, &context, NULL), KMS_OK);
    assert_int_equal(kms_context_count(context), 2);
    assert_string_equal(kms_context_find(context, "operationId"), "a b");
    kms_context_free(context);
    kms_config_free(config);
}

static void without_a_section_there_are_no_defaults(void **state)
{
    static const char *const texts[] = {"", "region = eu-west-1\n", "[context]\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        kms_config *config = config_from(texts[i]);
        kms_context *context = NULL;
        assert_int_equal(kms_context_defaults(config, &context, NULL), KMS_OK);
        assert_null(context);
        kms_config_free(config);
    }
}

static void a_wrong_default_is_refused_with_its_place(void **state)
{
    static const struct {
        const char *text;
        kms_status status;
    } rows[] = {
        {"[context]\na = b\\nc\n", KMS_E_CONTEXT_VALUE},
        {"[context]\na = \xff\n", KMS_E_CONTEXT_VALUE},
        {"[context]\n\"a\" = b\n", KMS_E_CONFIG_SYNTAX},
    };
    kms_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_config *config = NULL;
        kms_context *context = NULL;
        kms_status st = load_text(rows[i].text, &config, &err);
        if (st == KMS_OK) {
            st = kms_context_defaults(config, &context, &err);
            expect_detail(rows[i].text, &err, "section [context]");
        }
        expect_status(rows[i].text, st, rows[i].status, &err);
        assert_null(context);
        kms_config_free(config);
    }
}

static void the_policy_is_checked(void **state)
{
    static const struct {
        const char *settings;
        const char *context; /* JSON */
        kms_status status;
        const char *says;
    } rows[] = {
        {"", "{\"dataType\":\"credentials\",\"operationId\":\"1\"}", KMS_OK, NULL},
        {"", "{\"dataType\":\"credentials\",\"operationId\":\"1\",\"userId\":\"7\"}", KMS_OK, NULL},
        {"", "{\"dataType\":\"pii\",\"operationId\":\"1\",\"piiType\":\"mail\"}", KMS_OK, NULL},
        {"", "{\"dataType\":\"context\",\"operationId\":\"1\",\"contextType\":\"chat\"}", KMS_OK,
         NULL},
        {"", "{}", KMS_E_CONTEXT_MISSING, "dataType, operationId"},
        {"required_context =\n", "{}", KMS_E_CONTEXT_MISSING, NULL},
        {"", "{\"dataType\":\"credentials\"}", KMS_E_CONTEXT_REQUIRED, "operationId"},
        {"", "{\"operationId\":\"1\"}", KMS_E_CONTEXT_REQUIRED, "dataType"},
        {"", "{\"x\":\"1\"}", KMS_E_CONTEXT_REQUIRED, "dataType, operationId"},
        {"", "{\"datatype\":\"credentials\",\"operationId\":\"1\"}", KMS_E_CONTEXT_REQUIRED,
         "dataType"},
        {"", "{\"dataType\":\"pii\",\"operationId\":\"1\"}", KMS_E_CONTEXT_REQUIRED, "piiType"},
        {"", "{\"dataType\":\"context\",\"operationId\":\"1\"}", KMS_E_CONTEXT_REQUIRED,
         "contextType"},
        {"", "{\"dataType\":\"other\",\"operationId\":\"1\"}", KMS_E_CONTEXT_DATA_TYPE,
         "credentials, pii, context"},
        {"", "{\"dataType\":\"PII\",\"operationId\":\"1\"}", KMS_E_CONTEXT_DATA_TYPE, NULL},
        {"", "{\"dataType\":\"\",\"operationId\":\"1\"}", KMS_E_CONTEXT_DATA_TYPE, NULL},
        {"data_types = other\n", "{\"dataType\":\"other\",\"operationId\":\"1\"}", KMS_OK, NULL},
        {"data_types = other\n", "{\"dataType\":\"credentials\",\"operationId\":\"1\"}",
         KMS_E_CONTEXT_DATA_TYPE, "other"},
        {"data_types =\n", "{\"dataType\":\"credentials\",\"operationId\":\"1\"}",
         KMS_E_CONTEXT_DATA_TYPE, NULL},
        {"required_context = tenant\n", "{\"tenant\":\"t\"}", KMS_OK, NULL},
        {"required_context = tenant\n", "{\"operationId\":\"1\"}", KMS_E_CONTEXT_REQUIRED,
         "tenant"},
        {"required_context = tenant\n", "{\"tenant\":\"t\",\"dataType\":\"odd\"}",
         KMS_E_CONTEXT_DATA_TYPE, NULL},
    };
    kms_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_config *config = config_from(rows[i].settings);
        kms_context *context = context_of(rows[i].context, NULL);
        expect_status(rows[i].context, kms_context_check(config, context, &err), rows[i].status,
                      &err);
        if (rows[i].status != KMS_OK)
            expect_detail(rows[i].context, &err, rows[i].says);
        kms_context_free(context);
        kms_config_free(config);
    }
}

static void no_context_at_all_is_missing(void **state)
{
    kms_config *config = config_from("");

    (void)state;
    assert_int_equal(kms_context_check(config, NULL, NULL), KMS_E_CONTEXT_MISSING);
    kms_config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_come_sorted_by_bytes),
        cmocka_unit_test(no_context_reads_as_an_empty_one),
        cmocka_unit_test(names_and_values_are_checked),
        cmocka_unit_test(errors_never_hold_values),
        cmocka_unit_test(a_name_is_given_once),
        cmocka_unit_test(bytes_are_limited),
        cmocka_unit_test(pairs_are_limited),
        cmocka_unit_test(typed_texts_and_json_are_parsed),
        cmocka_unit_test(json_names_that_differ_in_case_are_distinct),
        cmocka_unit_test(an_empty_object_adds_nothing),
        cmocka_unit_test(text_needs_no_terminator),
        cmocka_unit_test(texts_that_are_no_context_are_refused_as_a_whole),
        cmocka_unit_test(deep_and_long_json_is_refused),
        cmocka_unit_test(merging_takes_equal_pairs_and_refuses_others),
        cmocka_unit_test(equality_looks_at_every_byte),
        cmocka_unit_test(defaults_come_from_the_configuration),
        cmocka_unit_test(without_a_section_there_are_no_defaults),
        cmocka_unit_test(a_wrong_default_is_refused_with_its_place),
        cmocka_unit_test(the_policy_is_checked),
        cmocka_unit_test(no_context_at_all_is_missing),
    };
    clear_environment();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
