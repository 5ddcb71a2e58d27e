#include "tests/unit/settings.h"

#include "core/residency.h"

#define UUID    "1234abcd-12ab-34cd-56ef-1234567890ab"
#define ACCOUNT "111122223333"

static kms_residency *residency_of(const char *settings)
{
    kms_config *config = config_from(settings);
    kms_residency *residency = NULL;
    kms_error err = {0};

    expect_status(settings, kms_residency_new(config, &residency, &err), KMS_OK, &err);
    kms_config_free(config);
    return residency;
}

static void regions_are_an_explicit_list(void **state)
{
    static const struct {
        const char *region;
        bool eu, adequate;
    } rows[] = {
        {"eu-central-1", true, true},
        {"eu-west-1", true, true},
        {"eu-west-3", true, true},
        {"eu-north-1", true, true},
        {"eu-south-1", true, true},
        {"eu-south-2", true, true},
        {"eusc-de-east-1", true, true},
        {"eu-west-2", false, true},    /* London */
        {"eu-central-2", false, true}, /* Zurich */
        {"eu-isoe-west-1", false, false},
        {"us-east-1", false, false},
        {"us-gov-west-1", false, false},
        {"cn-north-1", false, false},
        {"ap-southeast-2", false, false},
        {"eu-west-4", false, false},
        {"eu-west-10", false, false},
        {"eu-west", false, false},
        {"eusc-de-west-1", false, false},
        {"EU-WEST-1", false, false},
        {"eu-west-1 ", false, false},
        {" eu-west-1", false, false},
        {"eu-west-1.", false, false},
        {"eu-west-1\n", false, false},
        {"eu", false, false},
        {"", false, false},
    };
    kms_residency *eu = residency_of("");
    kms_residency *adequate = residency_of("residency = eu-adequate\n");
    kms_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        expect_status(rows[i].region, kms_residency_check_region(eu, rows[i].region, &err),
                      rows[i].eu ? KMS_OK : KMS_E_REGION_NOT_ALLOWED, &err);
        expect_status(rows[i].region, kms_residency_check_region(adequate, rows[i].region, &err),
                      rows[i].adequate ? KMS_OK : KMS_E_REGION_NOT_ALLOWED, &err);
    }
    kms_residency_free(eu);
    kms_residency_free(adequate);
}

static void a_refusal_names_what_is_allowed(void **state)
{
    kms_residency *residency = residency_of("allowed_regions = eu-west-1, eu-west-3\n");
    kms_error err;

    (void)state;
    assert_int_equal(kms_residency_check_region(residency, "us-east-1", &err),
                     KMS_E_REGION_NOT_ALLOWED);
    assert_string_equal(err.detail, "\"us-east-1\" is not one of: eu-west-1, eu-west-3");
    kms_residency_free(residency);
}

static void allowed_regions_only_narrow(void **state)
{
    kms_residency *residency = residency_of("allowed_regions = eu-west-1\n");

    (void)state;
    assert_int_equal(kms_residency_check_region(residency, "eu-west-1", NULL), KMS_OK);
    assert_int_equal(kms_residency_check_region(residency, "eu-central-1", NULL),
                     KMS_E_REGION_NOT_ALLOWED);
    kms_residency_free(residency);
    residency = residency_of("residency = eu-adequate\nallowed_regions = eu-west-2\n");
    assert_int_equal(kms_residency_check_region(residency, "eu-west-2", NULL), KMS_OK);
    assert_int_equal(kms_residency_check_region(residency, "eu-west-1", NULL),
                     KMS_E_REGION_NOT_ALLOWED);
    kms_residency_free(residency);
}

static void settings_that_widen_are_refused(void **state)
{
    static const struct {
        const char *settings, *says;
    } rows[] = {
        {"allowed_regions = us-east-1\n", "allowed_regions"},
        {"allowed_regions = eu-west-1, us-east-1\n", "us-east-1"},
        {"allowed_regions = eu-west-2\n", "outside the set"},
        {"allowed_regions = eu-*\n", "outside the set"},
        {"trusted_endpoints = kms.example.com\n", "HOST=REGION"},
        {"trusted_endpoints = =eu-west-1\n", "HOST=REGION"},
        {"trusted_endpoints = kms.example.com=\n", "region that is not allowed"},
        {"trusted_endpoints = kms.example.com=us-east-1\n", "region that is not allowed"},
        {"trusted_endpoints = kms.example.com=eu-west-2\n", "region that is not allowed"},
        {"allowed_regions = eu-west-1\ntrusted_endpoints = kms.example.com=eu-west-3\n",
         "region that is not allowed"},
        {"trusted_endpoints = KMS.example.com=eu-west-1\n", "no valid host"},
        {"trusted_endpoints = kms.example.com.=eu-west-1\n", "no valid host"},
        {"trusted_endpoints = .example.com=eu-west-1\n", "no valid host"},
        {"trusted_endpoints = *.example.com=eu-west-1\n", "no valid host"},
        {"trusted_endpoints = https://kms.example.com=eu-west-1\n", "no valid host"},
        {"trusted_endpoints = kms.example.com:443=eu-west-1\n", "no valid host"},
        {"trusted_endpoints = kms.us-east-1.amazonaws.com=eu-west-1\n", "another region"},
        {"trusted_endpoints = kms.eu-west-2.api.aws=eu-west-1\n", "another region"},
    };
    kms_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_config *config = config_from(rows[i].settings);
        kms_residency *residency = NULL;
        expect_status(rows[i].settings, kms_residency_new(config, &residency, &err),
                      KMS_E_CONFIG_VALUE, &err);
        expect_detail(rows[i].settings, &err, rows[i].says);
        assert_null(residency);
        kms_config_free(config);
    }
}

static void arns_are_checked_with_region_and_partition(void **state)
{
    static const struct {
        const char *arn, *region;
        kms_status status;
    } rows[] = {
        {"arn:aws:kms:eu-west-1:" ACCOUNT ":key/" UUID, NULL, KMS_OK},
        {"arn:aws:kms:eu-west-1:" ACCOUNT ":key/" UUID, "eu-west-1", KMS_OK},
        {"arn:aws:kms:eu-west-1:" ACCOUNT ":alias/a", NULL, KMS_OK},
        {"arn:aws-eusc:kms:eusc-de-east-1:" ACCOUNT ":key/" UUID, NULL, KMS_OK},
        {"arn:aws:kms:eu-west-1:" ACCOUNT ":key/" UUID, "eu-west-3", KMS_E_REPLY_REGION},
        {"arn:aws:kms:us-east-1:" ACCOUNT ":key/" UUID, NULL, KMS_E_REGION_NOT_ALLOWED},
        {"arn:aws:kms:us-east-1:" ACCOUNT ":key/" UUID, "us-east-1", KMS_E_REGION_NOT_ALLOWED},
        {"arn:aws:kms:us-east-1:" ACCOUNT ":key/" UUID, "eu-west-1", KMS_E_REPLY_REGION},
        {"arn:aws:kms:eu-west-2:" ACCOUNT ":key/" UUID, NULL, KMS_E_REGION_NOT_ALLOWED},
        {"arn:aws-eusc:kms:eu-west-1:" ACCOUNT ":key/" UUID, NULL, KMS_E_REGION_NOT_ALLOWED},
        {"arn:aws:kms:eusc-de-east-1:" ACCOUNT ":key/" UUID, NULL, KMS_E_REGION_NOT_ALLOWED},
        {"arn:aws-cn:kms:eu-west-1:" ACCOUNT ":key/" UUID, NULL, KMS_E_REGION_NOT_ALLOWED},
        {"arn:aws:kms:eu-west-1:" ACCOUNT ":key/", NULL, KMS_E_KEY_ADDRESS},
        {UUID, NULL, KMS_E_KEY_ADDRESS},
    };
    kms_residency *residency = residency_of("");
    kms_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_status(rows[i].arn,
                      kms_residency_check_arn(residency, rows[i].arn, rows[i].region, &err),
                      rows[i].status, &err);
    kms_residency_free(residency);
}

/* Rows of endpoints; the region asked for is eu-central-1 where it is NULL. */
typedef struct endpoint_row {
    const char *url, *region;
    kms_status status;
} endpoint_row;

static void check_endpoints(const char *settings, const endpoint_row *rows, size_t count)
{
    kms_residency *residency = residency_of(settings);
    kms_error err;

    for (size_t i = 0; i < count; i++) {
        const char *region = rows[i].region != NULL ? rows[i].region : "eu-central-1";
        expect_status(rows[i].url,
                      kms_residency_check_endpoint(residency, rows[i].url, region, &err),
                      rows[i].status, &err);
    }
    kms_residency_free(residency);
}

static void the_names_of_kms_are_allowed(void **state)
{
    static const endpoint_row rows[] = {
        {"https://kms.eu-central-1.amazonaws.com", NULL, KMS_OK},
        {"https://kms.eu-central-1.amazonaws.com/", NULL, KMS_OK},
        {"https://kms.eu-central-1.amazonaws.com:443", NULL, KMS_OK},
        {"https://kms.eu-central-1.amazonaws.com:8443", NULL, KMS_OK},
        {"https://kms-fips.eu-central-1.amazonaws.com", NULL, KMS_OK},
        {"https://kms.eu-central-1.api.aws", NULL, KMS_OK},
        {"https://kms-fips.eu-central-1.api.aws", NULL, KMS_OK},
        {"https://vpce-0123456789abcdef0-abcdefgh.kms.eu-central-1.vpce.amazonaws.com", NULL,
         KMS_OK},
        {"https://"
         "vpce-0123456789abcdef0-abcdefgh-eu-central-1a.kms.eu-central-1.vpce.amazonaws.com",
         NULL, KMS_OK},
        {"https://vpce-0123456789abcdef0-abcdefgh.kms-fips.eu-central-1.vpce.amazonaws.com", NULL,
         KMS_OK},
        {"https://kms.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", KMS_OK},
        {"https://kms.eusc-de-east-1.api.amazonwebservices.eu", "eusc-de-east-1", KMS_OK},
        {"https://127.0.0.1:8443", NULL, KMS_OK},
        {"https://localhost", NULL, KMS_OK},
        {"http://127.0.0.1:8080", NULL, KMS_OK},
        {"http://127.255.255.254", NULL, KMS_OK},
        {"http://localhost:4566/", NULL, KMS_OK},
        {"http://[::1]:8080", NULL, KMS_OK},
    };

    (void)state;
    check_endpoints("", rows, sizeof(rows) / sizeof(rows[0]));
}

static void other_names_are_refused(void **state)
{
    static const endpoint_row rows[] = {
        {"https://kms.us-east-1.amazonaws.com", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://kms.us-east-1.amazonaws.com", "us-east-1", KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://kms.eu-west-2.amazonaws.com", "eu-west-2", KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://127.0.0.1", "us-east-1", KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://kms.eu-west-1.amazonaws.com", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://kms.amazonaws.com", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://s3.eu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://kms.eu-central-1.amazonaws.com.evil.example", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://kms.eu-central-1.amazonaws.com.cn", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://evil.example/kms.eu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://xkms.eu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://x.kms.eu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://kms-eu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://kms.eu-central-1.xamazonaws.com", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://kms.eu-central-1.amazonaws.co", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://kms.eu-central-1.amazonaws.eu", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://kms.eu-central-1.amazonaws.com.", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://KMS.EU-CENTRAL-1.AMAZONAWS.COM", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://kms.eusc-de-east-1.amazonaws.com", "eusc-de-east-1", KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://kms-fips.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1",
         KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://vpce-1.kms.us-east-1.vpce.amazonaws.com", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://vpce-1.kms.eu-central-1.vpce.amazonaws.com.evil.example", NULL,
         KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://vpce-.kms.eu-central-1.vpce.amazonaws.com", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://a.vpce-1.kms.eu-central-1.vpce.amazonaws.com", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://vpce-1.evil.kms.eu-central-1.vpce.amazonaws.com", NULL,
         KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://vpce-1.s3.eu-central-1.vpce.amazonaws.com", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://kms.eu-central-1.vpce.amazonaws.com", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://localhost.evil.example", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://localhost.", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://127.0.0.1.evil.example", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://128.0.0.1", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://0.0.0.0", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://169.254.169.254", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://[::2]", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://[::ffff:127.0.0.1]", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://evil.example", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
    };

    (void)state;
    check_endpoints("", rows, sizeof(rows) / sizeof(rows[0]));
}

static void urls_that_are_more_than_a_host_are_refused(void **state)
{
    static const endpoint_row rows[] = {
        {"", NULL, KMS_E_ENDPOINT_INVALID},
        {"kms.eu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_INVALID},
        {"//kms.eu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_INVALID},
        {"https:", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://", NULL, KMS_E_ENDPOINT_INVALID},
        {"https:///", NULL, KMS_E_ENDPOINT_INVALID},
        {"ftp://kms.eu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_INVALID},
        {"file:///etc/passwd", NULL, KMS_E_ENDPOINT_INVALID},
        {"httpsx://kms.eu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_INVALID},
        {"http://kms.eu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_INVALID},
        {"http://128.0.0.1", NULL, KMS_E_ENDPOINT_INVALID},
        {"http://localhost.evil.example", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://kms.eu-central-1.amazonaws.com@evil.example", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://user@kms.eu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://user:pw@kms.eu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://@kms.eu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://evil.example\\@kms.eu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://evil.example\\.kms.eu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://kms.eu-central-1.amazonaws.com/path", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://kms.eu-central-1.amazonaws.com//", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://kms.eu-central-1.amazonaws.com/../", NULL, KMS_OK}, /* the same as "/" */
        {"https://kms.eu-central-1.amazonaws.com?x", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://kms.eu-central-1.amazonaws.com/?", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://kms.eu-central-1.amazonaws.com#x", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://evil.example#.kms.eu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://kms%2eeu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://kms.eu-central-1.amazonaws.com%00.evil.example", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://kms.eu-central-1.amazonaws.com ", NULL, KMS_E_ENDPOINT_INVALID},
        {" https://kms.eu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://kms.eu-central-1.amazonaws.com\n", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://kms.eu-central-1.amazonaws.com\r\nHost: x", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://kms.eu-central-1.amazonaws.com:port", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://kms.eu-central-1.amazonaws.com:99999", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://kms.eu-central-1.amazonaws.com:443:443", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://[::1", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://[::1%25eth0]", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://k\xd0\xbcs.eu-central-1.amazonaws.com", NULL, KMS_E_ENDPOINT_INVALID},
    };

    (void)state;
    check_endpoints("", rows, sizeof(rows) / sizeof(rows[0]));
}

static void trusted_endpoints_hold_for_their_region_alone(void **state)
{
    static const endpoint_row rows[] = {
        {"https://kms.example.com", NULL, KMS_OK},
        {"https://kms.example.com:8443/", NULL, KMS_OK},
        {"https://kms.example.com", "eu-west-1", KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://a.kms.example.com", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://kms.example.com.evil.example", NULL, KMS_E_ENDPOINT_NOT_ALLOWED},
        {"https://10.0.0.7", "eu-west-1", KMS_OK},
        {"http://kms.example.com", NULL, KMS_E_ENDPOINT_INVALID},
        {"https://vpce-1.kms.eusc-de-east-1.vpce.amazonaws.eu", "eusc-de-east-1", KMS_OK},
    };

    (void)state;
    check_endpoints("trusted_endpoints = kms.example.com=eu-central-1, 10.0.0.7=eu-west-1, "
                    "vpce-1.kms.eusc-de-east-1.vpce.amazonaws.eu=eusc-de-east-1\n",
                    rows, sizeof(rows) / sizeof(rows[0]));
}

static void without_a_region_any_allowed_one_will_do(void **state)
{
    kms_residency *residency = residency_of("allowed_regions = eu-west-1\n");

    (void)state;
    assert_int_equal(
        kms_residency_check_endpoint(residency, "https://kms.eu-west-1.amazonaws.com", NULL, NULL),
        KMS_OK);
    assert_int_equal(
        kms_residency_check_endpoint(residency, "https://kms.eu-west-3.amazonaws.com", NULL, NULL),
        KMS_E_ENDPOINT_NOT_ALLOWED);
    kms_residency_free(residency);
}

static void every_region_has_its_own_endpoint(void **state)
{
    static const struct {
        const char *region, *url;
    } rows[] = {
        {"eu-central-1", "https://kms.eu-central-1.amazonaws.com"},
        {"eu-west-1", "https://kms.eu-west-1.amazonaws.com"},
        {"eu-west-3", "https://kms.eu-west-3.amazonaws.com"},
        {"eu-north-1", "https://kms.eu-north-1.amazonaws.com"},
        {"eu-south-1", "https://kms.eu-south-1.amazonaws.com"},
        {"eu-south-2", "https://kms.eu-south-2.amazonaws.com"},
        {"eu-west-2", "https://kms.eu-west-2.amazonaws.com"},
        {"eu-central-2", "https://kms.eu-central-2.amazonaws.com"},
        {"eusc-de-east-1", "https://kms.eusc-de-east-1.amazonaws.eu"},
        {"us-east-1", ""},
    };
    kms_residency *residency = residency_of("residency = eu-adequate\n");
    char url[128];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kms_residency_endpoint(rows[i].region, url, sizeof(url));
        assert_string_equal(url, rows[i].url);
        if (*url != '\0')
            assert_int_equal(kms_residency_check_endpoint(residency, url, rows[i].region, NULL),
                             KMS_OK);
    }
    kms_residency_free(residency);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regions_are_an_explicit_list),
        cmocka_unit_test(a_refusal_names_what_is_allowed),
        cmocka_unit_test(allowed_regions_only_narrow),
        cmocka_unit_test(settings_that_widen_are_refused),
        cmocka_unit_test(arns_are_checked_with_region_and_partition),
        cmocka_unit_test(the_names_of_kms_are_allowed),
        cmocka_unit_test(other_names_are_refused),
        cmocka_unit_test(urls_that_are_more_than_a_host_are_refused),
        cmocka_unit_test(trusted_endpoints_hold_for_their_region_alone),
        cmocka_unit_test(without_a_region_any_allowed_one_will_do),
        cmocka_unit_test(every_region_has_its_own_endpoint),
    };
    clear_environment();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
