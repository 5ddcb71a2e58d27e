#include "tests/unit/settings.h"

#include "core/address.h"

#define UUID "1234abcd-12ab-34cd-56ef-1234567890ab"
#define MRK  "mrk-1234abcd12ab34cd56ef1234567890ab"
#define ARN  "arn:aws:kms:eu-west-1:111122223333:key/" UUID

static void expect_text(const char *row, const char *what, const char *got, const char *expected)
{
    if (got == NULL || expected == NULL ? got != expected : strcmp(got, expected) != 0)
        fail_msg("%s: %s is %s", row, what, got != NULL ? got : "NULL");
}

static void addresses_give_key_region_and_profile(void **state)
{
    static const struct {
        const char *text, *key, *region, *profile;
    } rows[] = {
        {"kms:", NULL, NULL, NULL},
        {"kms:?region=eu-west-3", NULL, "eu-west-3", NULL},
        {"kms:alias/app", "alias/app", NULL, NULL},
        {"alias/app", "alias/app", NULL, NULL},
        {"KMS:alias/app", "alias/app", NULL, NULL},
        {UUID, UUID, NULL, NULL},
        {"kms:" UUID, UUID, NULL, NULL},
        {"kms:" MRK, MRK, NULL, NULL},
        {"kms:" ARN, ARN, "eu-west-1", NULL},
        {ARN "?region=eu-west-1", ARN, "eu-west-1", NULL},
        {"kms:alias/app?region=eu-west-3&profile=build%20host", "alias/app", "eu-west-3",
         "build host"},
        {"kms:alias%2Fapp?%72egion=eu-west%2d3", "alias/app", "eu-west-3", NULL},
        {"kms:alias/app?profile=a=b", "alias/app", NULL, "a=b"},
        {"kms:alias/app?profile=a+b", "alias/app", NULL, "a+b"},
    };
    kms_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_address address = {0};
        expect_status(rows[i].text, kms_address_parse(rows[i].text, &address, &err), KMS_OK, &err);
        expect_text(rows[i].text, "key", address.key, rows[i].key);
        expect_text(rows[i].text, "region", address.region, rows[i].region);
        expect_text(rows[i].text, "profile", address.profile, rows[i].profile);
        assert_null(address.context);
        kms_address_clear(&address);
    }
}

static void context_names_and_values_are_decoded(void **state)
{
    kms_address address = {0};

    (void)state;
    assert_int_equal(
        kms_address_parse("kms:alias/a?context.dataType=pii&context.user%3did=%C3%A4%26"
                          "%3F%23%25&context.empty=",
                          &address, NULL),
        KMS_OK);
    assert_int_equal(kms_context_count(address.context), 3);
    assert_string_equal(kms_context_find(address.context, "dataType"), "pii");
    assert_string_equal(kms_context_find(address.context, "user=id"), "\xc3\xa4&?#%");
    assert_string_equal(kms_context_find(address.context, "empty"), "");
    kms_address_clear(&address);
    assert_null(address.key);
    kms_address_clear(&address);
}

static void wrong_addresses_are_refused(void **state)
{
    static const struct {
        const char *text;
        kms_status status;
        const char *says;
    } rows[] = {
        {"", KMS_E_KEY_ADDRESS, "empty"},
        {"?region=eu-west-1", KMS_E_KEY_ADDRESS, "empty"},
        {"kms:app", KMS_E_KEY_ADDRESS, "neither alias/NAME"},
        {"kms:alias/", KMS_E_KEY_ADDRESS, "neither alias/NAME"},
        {"kms://alias/app", KMS_E_KEY_ADDRESS, "neither alias/NAME"},
        {"kms:kms:alias/app", KMS_E_KEY_ADDRESS, "neither alias/NAME"},
        {"pkcs11:alias/app", KMS_E_KEY_ADDRESS, "neither alias/NAME"},
        {" kms:alias/app", KMS_E_KEY_ADDRESS, "neither alias/NAME"},
        {"kms:alias/app ", KMS_E_KEY_ADDRESS, "neither alias/NAME"},
        {"kms:1234ABCD-12ab-34cd-56ef-1234567890ab", KMS_E_KEY_ADDRESS, "lower-case UUID"},
        {"kms:arn:aws:kms", KMS_E_KEY_ADDRESS, "ARN"},
        {"kms:arn:aws:s3:eu-west-1:111122223333:key/" UUID, KMS_E_KEY_ADDRESS, "service kms"},
        {"kms:" ARN "?region=eu-west-3", KMS_E_KEY_ADDRESS, "contradicts the ARN"},
        {"kms:alias/app?", KMS_E_KEY_ADDRESS, "NAME=VALUE"},
        {"kms:alias/app?region", KMS_E_KEY_ADDRESS, "NAME=VALUE"},
        {"kms:alias/app?region=eu-west-1&", KMS_E_KEY_ADDRESS, "NAME=VALUE"},
        {"kms:alias/app?&region=eu-west-1", KMS_E_KEY_ADDRESS, "NAME=VALUE"},
        {"kms:alias/app?regoin=eu-west-1", KMS_E_KEY_ADDRESS,
         "\"regoin\"; known are region, profile and context.NAME"},
        {"kms:alias/app?Region=eu-west-1", KMS_E_KEY_ADDRESS, "unknown parameter"},
        {"kms:alias/app?endpoint=https://example.com", KMS_E_KEY_ADDRESS, "unknown parameter"},
        {"kms:alias/app?context=x", KMS_E_KEY_ADDRESS, "unknown parameter"},
        {"kms:alias/app?=x", KMS_E_KEY_ADDRESS, "unknown parameter"},
        {"kms:alias/app?region=", KMS_E_KEY_ADDRESS, "region is empty"},
        {"kms:alias/app?profile=", KMS_E_KEY_ADDRESS, "profile is empty"},
        {"kms:alias/app?region=EU-WEST-1", KMS_E_KEY_ADDRESS, "name of an AWS region"},
        {"kms:alias/app?region=eu-west-1.evil.example", KMS_E_KEY_ADDRESS, "name of an AWS region"},
        {"kms:alias/app?region=abcdefghijklmnopqrstuvwxyzabcdefgh", KMS_E_KEY_ADDRESS,
         "name of an AWS region"},
        {"kms:alias/app?region=eu-west-1&region=eu-west-1", KMS_E_KEY_ADDRESS, "region is given"},
        {"kms:alias/app?profile=a&profile=a", KMS_E_KEY_ADDRESS, "profile is given twice"},
        {"kms:alias/app?context.a=1&context.a=1", KMS_E_CONTEXT_DUPLICATE, "\"a\""},
        {"kms:alias/app?context.=1", KMS_E_CONTEXT_NAME, "empty"},
        {"kms:alias/app?context.aws:x=1", KMS_E_CONTEXT_NAME, "reserved"},
        {"kms:alias/app?context.a=%ff", KMS_E_CONTEXT_VALUE, "UTF-8"},
        {"kms:alias/app?profile=a%00b", KMS_E_KEY_ADDRESS, "control character"},
        {"kms:alias/app%00", KMS_E_KEY_ADDRESS, "control character"},
        {"kms:alias/app%0a", KMS_E_KEY_ADDRESS, "control character"},
        {"kms:alias/app?context.a=%00", KMS_E_KEY_ADDRESS, "control character"},
        {"kms:alias/app?profile=a\tb", KMS_E_KEY_ADDRESS, "control character"},
        {"kms:alias/app?profile=%7f", KMS_E_KEY_ADDRESS, "control character"},
        {"kms:alias/app?profile=%", KMS_E_KEY_ADDRESS, "hexadecimal"},
        {"kms:alias/app?profile=%4", KMS_E_KEY_ADDRESS, "hexadecimal"},
        {"kms:alias/app?profile=%zz", KMS_E_KEY_ADDRESS, "hexadecimal"},
        {"kms:alias/app?profile=%4&region=eu-west-1", KMS_E_KEY_ADDRESS, "hexadecimal"},
        {"kms:alias/app#x", KMS_E_KEY_ADDRESS, "'#'"},
    };
    kms_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_address address = {0};
        expect_status(rows[i].text, kms_address_parse(rows[i].text, &address, &err), rows[i].status,
                      &err);
        expect_detail(rows[i].text, &err, rows[i].says);
        assert_null(address.key);
        assert_null(address.region);
        assert_null(address.profile);
        assert_null(address.context);
    }
}

static void an_endless_address_is_refused(void **state)
{
    char *text = malloc(100001);
    kms_address address = {0};

    (void)state;
    assert_non_null(text);
    memset(text, 'a', 100000);
    text[100000] = '\0';
    memcpy(text, "alias/", 6);
    assert_int_equal(kms_address_parse(text, &address, NULL), KMS_E_KEY_ADDRESS);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_give_key_region_and_profile),
        cmocka_unit_test(context_names_and_values_are_decoded),
        cmocka_unit_test(wrong_addresses_are_refused),
        cmocka_unit_test(an_endless_address_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
