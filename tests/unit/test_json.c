#include "tests/unit/unit.h"

#include "core/json.h"

#include <stdio.h>
#include <stdlib.h>

static kms_secret secret(const char *text)
{
    kms_secret s = {0};

    assert_int_equal(kms_secret_copy(&s, (kms_bytes){(const uint8_t *)text, strlen(text)}, NULL),
                     KMS_OK);
    return s;
}

static void a_secret_member_is_cut_out_before_parsing(void **state)
{
    static const char *const replies[] = {
        "{\"KeyId\":\"k\",\"Plaintext\":\"aGVsbG8=\",\"X\":1}",
        "{ \"Plaintext\" : \"aGVsbG8=\" , \"KeyId\" : \"k\" }",
        "{\"KeyId\":\"k\",\"Trap\":\"\\\"Plaintext\\\":\\\"eA==\\\"\",\"Plaintext\":\"aGVsbG8=\"}",
        "{\"KeyId\":\"k\",\"Trap\":\"Plaintext\",\"Plaintext\":\"aGVsbG8=\"}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        kms_secret text = secret(replies[i]), out = {0};
        cJSON *json = NULL;
        assert_int_equal(kms_json_lift_secret(&text, "Plaintext", &out, NULL), KMS_OK);
        assert_int_equal(out.len, 5);
        assert_memory_equal(out.data, "hello", 5);
        assert_null(memmem(text.data, text.len, "aGVsbG8", 7));
        assert_int_equal(kms_json_parse(kms_secret_bytes(&text), &json, NULL), KMS_OK);
        assert_string_equal(kms_json_string(json, "KeyId"), "k");
        cJSON_Delete(json);
        kms_secret_clear(&out);
        kms_secret_clear(&text);
    }
}

static void escaped_slashes_in_base64_are_read(void **state)
{
    kms_secret text = secret("{\"Plaintext\":\"\\/\\/\\/\\/\"}"), out = {0};

    (void)state;
    assert_int_equal(kms_json_lift_secret(&text, "Plaintext", &out, NULL), KMS_OK);
    assert_int_equal(out.len, 3);
    assert_memory_equal(out.data, "\xff\xff\xff", 3);
    kms_secret_clear(&out);
    kms_secret_clear(&text);
}

static void a_secret_member_that_is_wrong_is_refused(void **state)
{
    static const char *const replies[] = {
        "{\"Plaintext\":\"aGVsbG8\"}",   /* no padding */
        "{\"Plaintext\":\"aGVs bG8=\"}", /* blank */
        "{\"Plaintext\":\"????\"}",
        "{\"Plaintext\":\"aGVsbG8=\",\"Plaintext\":\"aGVsbG8=\"}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        kms_secret text = secret(replies[i]), out = {0};
        assert_int_equal(kms_json_lift_secret(&text, "Plaintext", &out, NULL),
                         KMS_E_REPLY_MALFORMED);
        assert_null(out.data);
        kms_secret_clear(&text);
    }
}

static void an_absent_secret_member_leaves_nothing(void **state)
{
    static const char *const replies[] = {"{\"KeyId\":\"k\"}", "{\"Plaintext\":null}",
                                          "{\"Plaintext\":\"aGVs", "{\"Plaintext", ""};

    (void)state;
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        kms_secret text = secret(replies[i]), out = {0};
        assert_int_equal(kms_json_lift_secret(&text, "Plaintext", &out, NULL), KMS_OK);
        assert_null(out.data);
        kms_secret_clear(&text);
    }
}

static void what_is_not_one_object_is_refused(void **state)
{
    char deep[256];
    static const char *const bodies[] = {
        "[]",     "1",     "null", "{",          "{\"a\":}",
        "<html>", "\"x\"", "{}{}", "{\"a\":1}x", "{\"KeyId\":\"k\\u0000x\"}",
        "   "};

    (void)state;
    for (size_t i = 0; i < 40; i++)
        snprintf(deep + 5 * i, 6, "{\"a\":");
    snprintf(deep + 200, sizeof(deep) - 200, "1%.40s", "}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}");
    for (size_t i = 0; i <= sizeof(bodies) / sizeof(bodies[0]); i++) {
        const char *body = i < sizeof(bodies) / sizeof(bodies[0]) ? bodies[i] : deep;
        cJSON *json = NULL;
        kms_bytes bytes = {(const uint8_t *)body, strlen(body)};
        assert_int_equal(kms_json_parse(bytes, &json, NULL), KMS_E_REPLY_MALFORMED);
        assert_null(json);
    }
}

static void a_name_that_is_there_twice_is_refused(void **state)
{
    static const struct {
        const char *body;
        kms_status status;
    } rows[] = {
        {"{\"KeyId\":\"a\",\"KeyId\":\"b\"}", KMS_E_REPLY_MALFORMED},
        {"{\"K\":{\"Arn\":\"a\",\"X\":1,\"Arn\":\"a\"}}", KMS_E_REPLY_MALFORMED},
        {"{\"L\":[{\"Arn\":\"a\",\"Arn\":\"b\"}]}", KMS_E_REPLY_MALFORMED},
        {"{\"KeyId\":\"a\",\"keyId\":\"b\"}", KMS_OK},
        {"{\"L\":[{\"Arn\":\"a\"},{\"Arn\":\"b\"}]}", KMS_OK},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cJSON *json = NULL;
        kms_bytes body = {(const uint8_t *)rows[i].body, strlen(rows[i].body)};
        assert_int_equal(kms_json_parse(body, &json, NULL), rows[i].status);
        cJSON_Delete(json);
    }
}

static void objects_with_absurdly_many_names_are_refused(void **state)
{
    char body[8192] = "{";
    cJSON *json = NULL;

    (void)state;
    for (int i = 0; i <= KMS_JSON_MEMBERS_MAX; i++)
        snprintf(body + strlen(body), sizeof(body) - strlen(body), "%s\"m%d\":1", i ? "," : "", i);
    snprintf(body + strlen(body), sizeof(body) - strlen(body), "}");
    assert_int_equal(kms_json_parse((kms_bytes){(const uint8_t *)body, strlen(body)}, &json, NULL),
                     KMS_E_REPLY_MALFORMED);
    assert_null(json);
}

static void numbers_out_of_range_are_as_good_as_absent(void **state)
{
    static const char body[] = "{\"a\":90,\"b\":1e300,\"c\":-1,\"d\":\"90\"}";
    cJSON *json = NULL;

    (void)state;
    assert_int_equal(
        kms_json_parse((kms_bytes){(const uint8_t *)body, sizeof(body) - 1}, &json, NULL), KMS_OK);
    assert_true(kms_json_number(json, "a", 7, 0, 100) == 90);
    assert_true(kms_json_number(json, "b", 7, 0, 100) == 7);
    assert_true(kms_json_number(json, "c", 7, 0, 100) == 7);
    assert_true(kms_json_number(json, "d", 7, 0, 100) == 7);
    cJSON_Delete(json);
}

static void an_empty_body_is_an_empty_object(void **state)
{
    cJSON *json = NULL;

    (void)state;
    assert_int_equal(kms_json_parse((kms_bytes){0}, &json, NULL), KMS_OK);
    assert_int_equal(cJSON_GetArraySize(json), 0);
    cJSON_Delete(json);
}

static void members_are_read_with_case(void **state)
{
    cJSON *json = NULL;
    const char *body = "{\"keyid\":\"wrong\",\"KeyId\":\"right\",\"Blob\":\"AAEC\",\"Bad\":\"A\"}";
    kms_buffer blob = {0};

    (void)state;
    assert_int_equal(kms_json_parse((kms_bytes){(const uint8_t *)body, strlen(body)}, &json, NULL),
                     KMS_OK);
    assert_string_equal(kms_json_string(json, "KeyId"), "right");
    assert_null(kms_json_string(json, "KEYID"));
    assert_int_equal(kms_json_bytes(json, "Blob", &blob, NULL), KMS_OK);
    assert_int_equal(blob.len, 3);
    assert_memory_equal(blob.data, "\0\1\2", 3);
    kms_buffer_clear(&blob);
    assert_int_equal(kms_json_bytes(json, "Bad", &blob, NULL), KMS_E_REPLY_MALFORMED);
    assert_int_equal(kms_json_bytes(json, "None", &blob, NULL), KMS_E_REPLY_MALFORMED);
    cJSON_Delete(json);
}

static void a_request_keeps_its_secret_out_of_the_json_heap(void **state)
{
    cJSON *json = cJSON_CreateObject();
    kms_secret base64 = {0}, printed = {0};

    (void)state;
    assert_int_equal(kms_json_add_bytes(json, "Plaintext", (kms_bytes){(const uint8_t *)"hello", 5},
                                        &base64, NULL),
                     KMS_OK);
    assert_ptr_equal(kms_json_string(json, "Plaintext"), base64.data);
    assert_int_equal(kms_json_print(json, &printed, NULL), KMS_OK);
    assert_int_equal(printed.len, strlen("{\"Plaintext\":\"aGVsbG8=\"}"));
    assert_memory_equal(printed.data, "{\"Plaintext\":\"aGVsbG8=\"}", printed.len);
    cJSON_Delete(json);
    kms_secret_clear(&printed);
    kms_secret_clear(&base64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_member_is_cut_out_before_parsing),
        cmocka_unit_test(escaped_slashes_in_base64_are_read),
        cmocka_unit_test(a_secret_member_that_is_wrong_is_refused),
        cmocka_unit_test(an_absent_secret_member_leaves_nothing),
        cmocka_unit_test(what_is_not_one_object_is_refused),
        cmocka_unit_test(a_name_that_is_there_twice_is_refused),
        cmocka_unit_test(objects_with_absurdly_many_names_are_refused),
        cmocka_unit_test(numbers_out_of_range_are_as_good_as_absent),
        cmocka_unit_test(an_empty_body_is_an_empty_object),
        cmocka_unit_test(members_are_read_with_case),
        cmocka_unit_test(a_request_keeps_its_secret_out_of_the_json_heap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
