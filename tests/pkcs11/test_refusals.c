/* What is refused, and what goes wrong on the way to KMS: a return value for the program, a line
 * that says more for the one who runs it, and no request where none is needed. */
#include "tests/integration/wire.h"
#include "tests/pkcs11/token.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Where a refusal shows. */
typedef enum door { INITIALIZE, FIND } door;

static void expect_line(const char *row, const char *line)
{
    const char *log = token_log();

    if (strstr(log, line) == NULL)
        fail_msg("%s: \"%s\" does not say \"%s\"", row, log, line);
    assert_true(log[0] != '\0' && log[strlen(log) - 1] == '\n');
}

static CK_RV find(CK_SESSION_HANDLE session)
{
    CK_RV rv = p11->C_FindObjectsInit(session, NULL, 0);

    if (rv == CKR_OK)
        p11->C_FindObjectsFinal(session);
    return rv;
}

static CK_RV try(door where)
{
    CK_SESSION_HANDLE session;
    CK_RV rv = p11->C_Initialize(NULL);

    if (where == INITIALIZE)
        return rv;
    assert_ok(rv);
    assert_ok(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session));
    rv = find(session);
    token_close();
    return rv;
}

static void places_outside_the_eu_are_refused_without_a_request(void **state)
{
    static const struct {
        const char *variable, *value, *conf;
        door where;
        const char *line;
    } rows[] = {
        {"AWS_REGION", "eu-west-2", "", INITIALIZE, "region is outside the allowed set: "},
        {"AWS_REGION", "eu-central-2", "", INITIALIZE, "region is outside the allowed set: "},
        {"AWS_REGION", "us-east-1", "", INITIALIZE, "region is outside the allowed set: "},
        {"AWS_REGION", NULL, "region = eu-west-2\n", INITIALIZE, "region is outside the allowed"},
        {"AWS_REGION", "eu-west-1", "allowed_regions = eu-central-1\n", INITIALIZE,
         "region is outside the allowed set: "},
        {"KMS_KEY_ALIAS",
         "arn:aws:kms:eu-west-2:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab", "", FIND,
         "kms: C_FindObjectsInit: region is outside the allowed set: "},
        {"KMS_KEY_ALIAS", "kms:alias/matbakh-ai?region=us-east-1", "", FIND,
         "kms: C_FindObjectsInit: region is outside the allowed set: "},
        {"AWS_ENDPOINT_URL_KMS", "https://kms.eu-west-2.amazonaws.com", "", INITIALIZE,
         "kms: C_Initialize: endpoint is not in an allowed region: "},
        {"AWS_ENDPOINT_URL_KMS", "https://kms.example.com", "", INITIALIZE,
         "kms: C_Initialize: endpoint is not in an allowed region: "},
        {"AWS_ENDPOINT_URL_KMS", "http://kms.eu-central-1.amazonaws.com", "", INITIALIZE,
         "kms: C_Initialize: endpoint is not"},
    };
    char before[128];

    (void)state;
    test_server_reset(&token_server);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *name = rows[i].variable;
        snprintf(before, sizeof(before), "%s", getenv(name));
        if (rows[i].value != NULL)
            setenv(name, rows[i].value, 1);
        else
            unsetenv(name);
        token_configure(rows[i].conf);
        token_log_reset();
        if (try(rows[i].where) != CKR_FUNCTION_REJECTED)
            fail_msg("%s=%s is not refused", name, rows[i].value);
        expect_line(rows[i].value != NULL ? rows[i].value : rows[i].conf, rows[i].line);
        setenv(name, before, 1);
    }
    assert_int_equal(test_server_count(&token_server, "connections"), 1); /* this very question */
}

static void a_replica_outside_the_eu_is_refused(void **state)
{
    const wire_request create = {.operation = "CreateKey", .body = "{\"MultiRegion\":true}"};
    char id[64], body[128];
    wire_request request = {.body = body};

    (void)state;
    wire_get(&token_server, &create, "KeyMetadata.KeyId", id, sizeof(id));
    setenv("KMS_KEY_ALIAS", id, 1);
    assert_ok(try(FIND));
    snprintf(body, sizeof(body), "{\"KeyId\":\"%s\",\"ReplicaRegion\":\"eu-west-2\"}", id);
    request.operation = "ReplicateKey";
    wire_expect(&token_server, &request, "");
    token_log_reset();
    assert_rv(try(FIND), CKR_FUNCTION_REJECTED);
    expect_line("replica", "multi-Region key has a replica outside the allowed set: arn:aws:kms:"
                           "eu-west-2:");
}

static void configurations_that_are_wrong_are_named_by_line(void **state)
{
    static const struct {
        const char *conf, *line;
    } rows[] = {
        {"regoin = eu-central-1\n", "unknown setting"},
        {"\nlog = nowhere\n", "setting has an invalid value"},
        {"key_cache_seconds = soon\n", "setting has an invalid value"},
        {"[context\n", "configuration file is not valid"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        token_configure(rows[i].conf);
        token_log_reset();
        assert_rv(try(INITIALIZE), CKR_GENERAL_ERROR);
        expect_line(rows[i].conf, "kms: C_Initialize: ");
        expect_line(rows[i].conf, rows[i].line);
    }
    setenv("KMS_PROVIDER_CONF", "/nonexistent/kms.conf", 1);
    token_log_reset();
    assert_rv(try(INITIALIZE), CKR_GENERAL_ERROR);
    expect_line("missing file", "configuration file cannot be read");
}

static void the_flag_closes_everything(void **state)
{
    static const char *const names[] = {"KMS_ENCRYPTION_ENABLED", "kms_encryption_enabled"};
    CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG size = 32;
    CK_ATTRIBUTE template = {CKA_VALUE_LEN, &size, sizeof(size)};
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;

    (void)state;
    test_server_reset(&token_server);
    for (int i = 0; i < 2; i++) {
        setenv(names[i], "false", 1);
        session = token_open();
        token_log_reset();
        assert_rv(find(session), CKR_FUNCTION_REJECTED);
        expect_line(names[i], "kms: C_FindObjectsInit: KMS encryption is disabled");
        assert_rv(p11->C_GenerateKey(session, &generate, &template, 1, &key),
                  CKR_FUNCTION_REJECTED);
        expect_line(names[i], "kms: C_GenerateKey: KMS encryption is disabled");
        token_close();
        unsetenv(names[i]);
    }
    assert_int_equal(test_server_count(&token_server, "connections"), 1); /* this very question */
}

static void what_kms_and_the_network_answer_has_a_value_and_a_line_each(void **state)
{
    static const struct {
        const char *fault;
        CK_RV rv;
        const char *line;
    } rows[] = {
        {"[\"Encrypt:AccessDeniedException:1\"]", CKR_FUNCTION_REJECTED, "access denied by AWS: "},
        {"[\"Encrypt:ExpiredTokenException:1\"]", CKR_FUNCTION_REJECTED,
         "AWS credentials have expired: "},
        {"[\"Encrypt:UnrecognizedClientException:1\"]", CKR_FUNCTION_REJECTED,
         "AWS credentials are not valid: "},
        {"[\"Encrypt:InvalidSignatureException:1\"]", CKR_FUNCTION_REJECTED,
         "AWS refused the request's signature: "},
        {"[\"Encrypt:ThrottlingException:1\"]", CKR_DEVICE_ERROR, "KMS is throttling requests: "},
        {"[\"Encrypt:KMSInternalException:1\"]", CKR_DEVICE_ERROR, "KMS has an internal failure: "},
        {"[\"Encrypt:html503:1\"]", CKR_DEVICE_ERROR, "KMS has an internal failure: "},
        {"[\"Encrypt:LimitExceededException:1\"]", CKR_DEVICE_ERROR, "a quota of KMS is reached"},
        {"[\"Encrypt:NotFoundException:1\"]", CKR_KEY_HANDLE_INVALID, "key not found: "},
        {"[\"Encrypt:DisabledException:1\"]", CKR_KEY_FUNCTION_NOT_PERMITTED, "key is disabled: "},
        {"[\"Encrypt:KMSInvalidStateException:1\"]", CKR_KEY_FUNCTION_NOT_PERMITTED,
         "key is in a state that does not allow this: "},
        {"[\"Encrypt:InvalidKeyUsageException:1\"]", CKR_KEY_FUNCTION_NOT_PERMITTED,
         "key is made for another use: "},
        {"[\"Encrypt:garbage:1\"]", CKR_DEVICE_ERROR, "reply of KMS is not valid: "},
        {"[\"Encrypt:truncate:1\"]", CKR_DEVICE_ERROR, "reply of KMS is not valid: "},
        {"[\"Encrypt:huge:1\"]", CKR_DEVICE_ERROR, "reply is larger than allowed: "},
        {"[\"Encrypt:wrong-keyid:1\"]", CKR_DEVICE_ERROR, "reply comes from another key"},
        {"[\"Encrypt:reset:1\"]", CKR_DEVICE_REMOVED, "KMS is unreachable: "},
    };
    CK_MECHANISM mechanism = token_wrap_mechanism(CONTEXT);
    unsigned char value[32] = {7}, out[6144];
    CK_SESSION_HANDLE session = token_open();
    CK_OBJECT_HANDLE kms_key = token_kms_key(session);
    CK_OBJECT_HANDLE key = token_import(session, CKK_AES, value, 32);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CK_ULONG len = sizeof(out);
        test_server_faults(&token_server, rows[i].fault);
        token_log_reset();
        CK_RV rv = p11->C_WrapKey(session, &mechanism, kms_key, key, out, &len);
        if (rv != rows[i].rv)
            fail_msg("%s: 0x%lx instead of 0x%lx", rows[i].fault, rv, rows[i].rv);
        expect_line(rows[i].fault, "kms: C_WrapKey: ");
        expect_line(rows[i].fault, rows[i].line);
        expect_line(rows[i].fault, "; "); /* and what to do */
    }
    token_close();
}

static void keys_and_credentials_that_are_not_there_are_told(void **state)
{
    static const struct {
        const char *variable, *value;
        CK_RV rv;
        const char *line;
    } rows[] = {
        {"KMS_KEY_ALIAS", "alias/nobody", CKR_KEY_HANDLE_INVALID, "key not found: "},
        {"KMS_KEY_ALIAS", "no such thing", CKR_ARGUMENTS_BAD, "key address is not valid: "},
        {"AWS_SECRET_ACCESS_KEY", "wrong", CKR_FUNCTION_REJECTED,
         "AWS refused the request's signature: "},
        {"AWS_ACCESS_KEY_ID", "nobody", CKR_FUNCTION_REJECTED, "AWS credentials are not valid: "},
        {"AWS_SECRET_ACCESS_KEY", "", CKR_FUNCTION_REJECTED, "AWS credentials are not valid: "},
        {"AWS_REGION", "", CKR_FUNCTION_REJECTED, "no AWS region is configured"},
        {"AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1", CKR_DEVICE_REMOVED, "KMS is unreachable: "},
    };
    char before[128];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        snprintf(before, sizeof(before), "%s", getenv(rows[i].variable));
        setenv(rows[i].variable, rows[i].value, 1);
        token_log_reset();
        CK_RV rv = try(FIND);
        if (rv != rows[i].rv)
            fail_msg("%s=%s: 0x%lx instead of 0x%lx", rows[i].variable, rows[i].value, rv,
                     rows[i].rv);
        expect_line(rows[i].value, "kms: C_FindObjectsInit: ");
        expect_line(rows[i].value, rows[i].line);
        assert_null(strstr(token_log(), "wrong"));
        setenv(rows[i].variable, before, 1);
    }
}

static void silence_costs_no_more_than_the_configured_time(void **state)
{
    struct timespec start, end;

    (void)state;
    token_configure("attempt_timeout_ms = 300\noperation_timeout_ms = 700\n");
    test_server_faults(&token_server, "[\"DescribeKey:slow:1\"]");
    token_log_reset();
    clock_gettime(CLOCK_MONOTONIC, &start);
    assert_rv(try(FIND), CKR_DEVICE_ERROR);
    clock_gettime(CLOCK_MONOTONIC, &end);
    expect_line("slow", "kms: C_FindObjectsInit: KMS did not answer in time");
    assert_true(end.tv_sec - start.tv_sec <= 3);
}

static void loading_and_looking_around_make_no_connection(void **state)
{
    CK_ULONG count = 1;
    CK_SLOT_ID slot;
    CK_SLOT_INFO slot_info;
    CK_TOKEN_INFO token;
    CK_SESSION_INFO info;
    CK_SESSION_HANDLE session;

    (void)state;
    test_server_reset(&token_server);
    token_load();
    session = token_open();
    assert_ok(p11->C_GetSlotList(CK_TRUE, &slot, &count));
    assert_ok(p11->C_GetSlotInfo(slot, &slot_info));
    assert_ok(p11->C_GetTokenInfo(slot, &token));
    assert_ok(p11->C_GetSessionInfo(session, &info));
    assert_ok(p11->C_Login(session, CKU_USER, NULL, 0));
    token_close();
    assert_int_equal(test_server_count(&token_server, "connections"), 1); /* this very question */
}

static int clean(void **state)
{
    (void)state;
    p11->C_Finalize(NULL);
    token_configure("");
    test_server_faults(&token_server, "[]");
    setenv("KMS_KEY_ALIAS", "alias/matbakh-ai", 1);
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(places_outside_the_eu_are_refused_without_a_request),
        TEST(a_replica_outside_the_eu_is_refused),
        TEST(configurations_that_are_wrong_are_named_by_line),
        TEST(the_flag_closes_everything),
        TEST(what_kms_and_the_network_answer_has_a_value_and_a_line_each),
        TEST(keys_and_credentials_that_are_not_there_are_told),
        TEST(silence_costs_no_more_than_the_configured_time),
        TEST(loading_and_looking_around_make_no_connection),
    };

    return cmocka_run_group_tests(tests, token_set_up, token_tear_down);
}
