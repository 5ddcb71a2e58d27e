#include "tests/unit/settings.h"

#include "core/arn.h"

#define UUID    "1234abcd-12ab-34cd-56ef-1234567890ab"
#define ACCOUNT "111122223333"

static void key_ids_are_lower_case_uuids_or_mrk(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } rows[] = {
        {UUID, true},
        {"mrk-1234abcd12ab34cd56ef1234567890ab", true},
        {"", false},
        {"1234ABCD-12ab-34cd-56ef-1234567890ab", false},
        {"1234abcd-12ab-34cd-56ef-1234567890a", false},
        {"1234abcd-12ab-34cd-56ef-1234567890abc", false},
        {"1234abcd12ab-34cd-56ef--1234567890ab", false},
        {"1234abcg-12ab-34cd-56ef-1234567890ab", false},
        {UUID "\n", false},
        {"mrk-1234abcd12ab34cd56ef1234567890a", false},
        {"mrk-1234abcd12ab34cd56ef1234567890abc", false},
        {"mrk-1234ABCD12ab34cd56ef1234567890ab", false},
        {"mrk-" UUID, false},
        {"alias/" UUID, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (kms_key_id_is(rows[i].text) != rows[i].valid)
            fail_msg("%s", rows[i].text);
    }
}

static void aliases_have_a_prefix_and_the_characters_of_aws(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } rows[] = {
        {"alias/a", true},         {"alias/A-z_0/9", true},
        {"alias/aws/s3", true},    {"alias/a:b", true},
        {"alias/", false},         {"alias", false},
        {"Alias/a", false},        {"a", false},
        {"alias/a b", false},      {"alias/a.b", false},
        {"alias/\xc3\xa4", false}, {"alias/a\n", false},
        {"alias/a?b", false},      {"/alias/a", false},
    };
    char longest[6 + 250 + 2] = "alias/";

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (kms_alias_is(rows[i].text) != rows[i].valid)
            fail_msg("%s", rows[i].text);
    }
    memset(longest + 6, 'a', 250);
    assert_true(kms_alias_is(longest));
    longest[256] = 'a';
    assert_false(kms_alias_is(longest));
}

static void an_arn_gives_its_parts(void **state)
{
    kms_arn arn;

    (void)state;
    assert_int_equal(
        kms_arn_parse("arn:aws-eusc:kms:eusc-de-east-1:" ACCOUNT ":key/" UUID, &arn, NULL), KMS_OK);
    assert_string_equal(arn.partition, "aws-eusc");
    assert_string_equal(arn.region, "eusc-de-east-1");
    assert_string_equal(arn.account, ACCOUNT);
    assert_string_equal(arn.resource, "key/" UUID);
    assert_int_equal(kms_arn_parse("arn:aws:kms:eu-west-1:" ACCOUNT ":alias/a:b/c", &arn, NULL),
                     KMS_OK);
    assert_string_equal(arn.resource, "alias/a:b/c");
}

static void the_longest_arn_fits(void **state)
{
    char text[KMS_ARN_MAX + 64];
    kms_arn arn;
    int len;

    (void)state;
    len = snprintf(text, sizeof(text), "arn:aws:kms:eu-central-1:" ACCOUNT ":alias/%0250d", 1);
    assert_true(len < KMS_ARN_MAX);
    assert_int_equal(kms_arn_parse(text, &arn, NULL), KMS_OK);
    assert_int_equal(strlen(arn.resource), 256);
}

static void malformed_arns_are_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "begins with arn:"},
        {"arn", "begins with arn:"},
        {"ARN:aws:kms:eu-west-1:" ACCOUNT ":key/" UUID, "begins with arn:"},
        {" arn:aws:kms:eu-west-1:" ACCOUNT ":key/" UUID, "begins with arn:"},
        {"arn:", "partition"},
        {"arn::kms:eu-west-1:" ACCOUNT ":key/" UUID, "partition"},
        {"arn:AWS:kms:eu-west-1:" ACCOUNT ":key/" UUID, "partition"},
        {"arn:aws-aws-aws-aws-aws:kms:eu-west-1:" ACCOUNT ":key/" UUID, "partition"},
        {"arn:aws", "partition"},
        {"arn:aws:iam:eu-west-1:" ACCOUNT ":key/" UUID, "service"},
        {"arn:aws:kmss:eu-west-1:" ACCOUNT ":key/" UUID, "service"},
        {"arn:aws::eu-west-1:" ACCOUNT ":key/" UUID, "service"},
        {"arn:aws:kms::" ACCOUNT ":key/" UUID, "region"},
        {"arn:aws:kms:EU-WEST-1:" ACCOUNT ":key/" UUID, "region"},
        {"arn:aws:kms:eu.west:" ACCOUNT ":key/" UUID, "region"},
        {"arn:aws:kms:abcdefghijklmnopqrstuvwxyz-abcdef-1:" ACCOUNT ":key/" UUID, "region"},
        {"arn:aws:kms:eu-west-1:11112222333:key/" UUID, "account"},
        {"arn:aws:kms:eu-west-1:1111222233334:key/" UUID, "account"},
        {"arn:aws:kms:eu-west-1:11112222333a:key/" UUID, "account"},
        {"arn:aws:kms:eu-west-1::key/" UUID, "account"},
        {"arn:aws:kms:eu-west-1:" ACCOUNT, "account"},
        {"arn:aws:kms:eu-west-1:" ACCOUNT ":", "does not end in"},
        {"arn:aws:kms:eu-west-1:" ACCOUNT ":key/", "does not end in"},
        {"arn:aws:kms:eu-west-1:" ACCOUNT ":" UUID, "does not end in"},
        {"arn:aws:kms:eu-west-1:" ACCOUNT ":key/" UUID " ", "does not end in"},
        {"arn:aws:kms:eu-west-1:" ACCOUNT ":key/" UUID "/x", "does not end in"},
        {"arn:aws:kms:eu-west-1:" ACCOUNT ":key/alias/a", "does not end in"},
        {"arn:aws:kms:eu-west-1:" ACCOUNT ":alias/", "does not end in"},
        {"arn:aws:kms:eu-west-1:" ACCOUNT ":grant/" UUID, "does not end in"},
    };
    kms_arn arn;
    kms_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        expect_status(rows[i].text, kms_arn_parse(rows[i].text, &arn, &err), KMS_E_KEY_ADDRESS,
                      &err);
        expect_detail(rows[i].text, &err, rows[i].says);
    }
}

static void what_begins_like_an_arn_is_one(void **state)
{
    (void)state;
    assert_true(kms_arn_is("arn:"));
    assert_true(kms_arn_is("arn:wrong"));
    assert_false(kms_arn_is("arn"));
    assert_false(kms_arn_is("alias/arn:aws"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_ids_are_lower_case_uuids_or_mrk),
        cmocka_unit_test(aliases_have_a_prefix_and_the_characters_of_aws),
        cmocka_unit_test(an_arn_gives_its_parts),
        cmocka_unit_test(the_longest_arn_fits),
        cmocka_unit_test(malformed_arns_are_refused),
        cmocka_unit_test(what_begins_like_an_arn_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
