/* kms-local's side of the protocol: what it can't read, which keys a region has, failures on
 * purpose, many clients at once. */
#include "tests/integration/wire.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECRET "c2VjcmV0" /* "secret" */

static test_server server;

static void an_unknown_operation_is_called_so(void **state)
{
    static const char *const targets[] = {
        "TrentService.MakeCoffee", "TrentService.", "TrentService.encrypt",
        "OtherService.Encrypt",    "Encrypt",       ""};

    (void)state;
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
        wire_expect(&server, &(wire_request){.target = targets[i]}, "UnknownOperationException");
}

static void what_is_no_json_object_is_refused(void **state)
{
    static const struct {
        const char *body;
        size_t len;
    } rows[] = {
        {" ", 0},
        {"{", 0},
        {"[]", 0},
        {"null", 0},
        {"\"KeyId\"", 0},
        {"{}{}", 0},
        {"{} x", 0},
        {"{\"KeyId\":}", 0},
        {"{\"KeyId\":\"a\\u0000b\"}", 0},
        {"{\"KeyId\":\"a\0b\"}", 15},
        {"{\"KeyId\":\"a\nb\001\"}", 0},
        {"{\"KeyId\":\"\xff\"}", 0},
        {"{\"KeyId\":\"\xc0\x80\"}", 0},
        {"{\"KeyId\":\"\xed\xa0\x80\"}", 0},
        {"{\"KeyId\":\"\xe2\x82\"}", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        wire_expect(&server,
                    &(wire_request){
                        .operation = "DescribeKey", .body = rows[i].body, .body_len = rows[i].len},
                    "SerializationException");
    }
}

/* These are JSON, whatever they name. */
static void what_is_json_is_read(void **state)
{
    static const char *const bodies[] = {"{\"KeyId\":\"\\\\u0000\"}", " \t\r\n{\"KeyId\":\"a\"}\n ",
                                         "{\"KeyId\":\"\xe2\x82\xac \xf0\x9f\x94\x91\"}"};

    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
        wire_expect(&server, &(wire_request){.operation = "DescribeKey", .body = bodies[i]},
                    "NotFoundException");
}

static void members_of_another_type_are_refused(void **state)
{
    static const struct {
        const char *operation, *body, *exception;
    } rows[] = {
        {"DescribeKey", "{\"KeyId\":7}", "SerializationException"},
        {"DescribeKey", "{}", "ValidationException"},
        {"DescribeKey", "{\"KeyId\":null}", "ValidationException"},
        {"DescribeKey", "{\"KeyId\":\"\"}", "ValidationException"},
        {"ListKeys", "{\"Limit\":\"7\"}", "SerializationException"},
        {"ListKeys", "{\"Limit\":1.5}", "SerializationException"},
        {"ListKeys", "{\"Limit\":0}", "ValidationException"},
        {"ListKeys", "{\"Limit\":1001}", "ValidationException"},
        {"ListKeys", "{\"Marker\":\"nonsense\"}", "InvalidMarkerException"},
        {"ListKeys", "{\"Marker\":\"7fffffffffffffff\"}", "InvalidMarkerException"},
        {"Encrypt", "{\"KeyId\":\"alias/matbakh-ai\",\"Plaintext\":\"not base64\"}",
         "SerializationException"},
        {"Encrypt", "{\"KeyId\":\"alias/matbakh-ai\",\"Plaintext\":\"\"}", "ValidationException"},
        {"Encrypt",
         "{\"KeyId\":\"alias/matbakh-ai\",\"Plaintext\":\"" SECRET
         "\",\"EncryptionContext\":{\"a\":1}}",
         "SerializationException"},
        {"Encrypt",
         "{\"KeyId\":\"alias/matbakh-ai\",\"Plaintext\":\"" SECRET
         "\",\"EncryptionContext\":{\"a\":\"1\",\"b\":\"2\",\"a\":\"1\"}}",
         "SerializationException"},
        {"Encrypt",
         "{\"KeyId\":\"alias/matbakh-ai\",\"Plaintext\":\"" SECRET "\",\"DryRun\":\"yes\"}",
         "SerializationException"},
        {"Encrypt",
         "{\"KeyId\":\"alias/matbakh-ai\",\"Plaintext\":\"" SECRET "\",\"GrantTokens\":[\"t\"]}",
         "InvalidGrantTokenException"},
        {"GenerateRandom", "{\"NumberOfBytes\":8,\"Recipient\":{}}",
         "UnsupportedOperationException"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        wire_expect(&server, &(wire_request){.operation = rows[i].operation, .body = rows[i].body},
                    rows[i].exception);
    }
}

static void a_body_over_the_limit_is_refused(void **state)
{
    size_t len = (size_t)300 * 1024;
    char *body = malloc(len + 1);

    (void)state;
    assert_non_null(body);
    memset(body, ' ', len);
    memcpy(body, "{}", 2);
    body[len] = '\0';
    wire_expect(&server, &(wire_request){.operation = "ListKeys", .body = body},
                "SerializationException");
    free(body);
}

static void a_key_is_of_the_region_that_the_scope_names(void **state)
{
    const wire_request here = {.operation = "DescribeKey",
                               .body = "{\"KeyId\":\"alias/matbakh-ai\"}"};
    wire_request there = here;
    char id[64], arn[128], body[256];

    (void)state;
    there.region = "eu-west-1";
    wire_expect(&server, &here, "");
    wire_expect(&server, &there, "NotFoundException");
    wire_get(&server, &here, "KeyMetadata.KeyId", id, sizeof(id));
    wire_get(&server, &here, "KeyMetadata.Arn", arn, sizeof(arn));
    assert_non_null(strstr(arn, ":eu-central-1:"));
    snprintf(body, sizeof(body), "{\"KeyId\":\"%s\"}", id);
    there.body = body;
    wire_expect(&server, &there, "NotFoundException");
    snprintf(body, sizeof(body), "{\"KeyId\":\"%s\"}", arn);
    wire_expect(&server, &there, "NotFoundException");

    /* The same alias in another region is another key. */
    char other[64];
    wire_get(&server, &(wire_request){.operation = "CreateKey", .region = "eu-west-1"},
             "KeyMetadata.KeyId", other, sizeof(other));
    snprintf(body, sizeof(body), "{\"AliasName\":\"alias/matbakh-ai\",\"TargetKeyId\":\"%s\"}",
             other);
    wire_expect(&server,
                &(wire_request){.operation = "CreateAlias", .body = body, .region = "eu-west-1"},
                "");
    wire_get(&server,
             &(wire_request){.operation = "DescribeKey",
                             .region = "eu-west-1",
                             .body = "{\"KeyId\":\"alias/matbakh-ai\"}"},
             "KeyMetadata.Arn", arn, sizeof(arn));
    assert_non_null(strstr(arn, ":eu-west-1:"));
    assert_non_null(strstr(arn, other));
}

static void arns_are_of_their_region_s_partition(void **state)
{
    char arn[128];

    (void)state;
    wire_get(&server, &(wire_request){.operation = "CreateKey", .region = "eusc-de-east-1"},
             "KeyMetadata.Arn", arn, sizeof(arn));
    assert_memory_equal(arn, "arn:aws-eusc:kms:eusc-de-east-1:", 32);
}

static void faults_strike_as_asked(void **state)
{
    const wire_request request = {.operation = "ListKeys"};
    wire_reply reply;

    (void)state;
    test_server_faults(&server, "[\"ListKeys:ThrottlingException:1\"]");
    wire_expect(&server, &request, "ThrottlingException");
    wire_expect(&server, &(wire_request){.operation = "ListAliases"}, "");
    test_server_faults(&server, "[\"*:KMSInternalException:1\"]");
    wire_expect(&server, &request, "KMSInternalException");

    test_server_faults(&server, "[\"ListKeys:garbage:1\"]");
    wire_send(&server, &request, &reply);
    assert_int_equal(reply.status, 200);
    assert_null(reply.json);
    wire_reply_clear(&reply);

    test_server_faults(&server, "[\"ListKeys:reset:1\"]");
    wire_send(&server, &request, &reply);
    assert_true(reply.code == CURLE_RECV_ERROR || reply.code == CURLE_GOT_NOTHING);
    assert_int_equal(reply.len, 0);
    wire_reply_clear(&reply);

    test_server_faults(&server, "[\"*:reset:0\"]");
    wire_expect(&server, &request, "");
    test_server_faults(&server, "[]");
    wire_expect(&server, &request, "");
}

static void a_fault_of_half_probability_strikes_sometimes(void **state)
{
    int struck = 0;

    (void)state;
    test_server_faults(&server, "[\"ListKeys:ThrottlingException:0.5\"]");
    for (int i = 0; i < 200; i++) {
        wire_reply reply;
        wire_send(&server, &(wire_request){.operation = "ListKeys"}, &reply);
        struck += strcmp(reply.exception, "ThrottlingException") == 0;
        wire_reply_clear(&reply);
    }
    test_server_faults(&server, "[]");
    assert_in_range(struck, 40, 160); /* outside by chance: less than once in 10^17 */
}

/* --- many clients at once --- */

#define CLIENTS     8
#define ROUNDS      12
#define CLIENT_DONE 42

/* One client: a key of its own made, named, used, rotated; each answer must be its own. */
static void live(const char *name)
{
    CURL *easy = curl_easy_init();
    char id[64], body[2048], blob[1024], back[64];

    wire_get(&server, &(wire_request){.operation = "CreateKey", .easy = easy}, "KeyMetadata.KeyId",
             id, sizeof(id));
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(body, sizeof(body), "{\"AliasName\":\"alias/%s\",\"TargetKeyId\":\"%s\"}", name,
                 id);
        wire_expect(&server,
                    &(wire_request){.operation = "CreateAlias", .body = body, .easy = easy}, "");
        snprintf(body, sizeof(body), "{\"KeyId\":\"alias/%s\",\"Plaintext\":\"" SECRET "\"}", name);
        wire_get(&server, &(wire_request){.operation = "Encrypt", .body = body, .easy = easy},
                 "CiphertextBlob", blob, sizeof(blob));
        snprintf(body, sizeof(body), "{\"KeyId\":\"%s\"}", id);
        wire_expect(&server,
                    &(wire_request){.operation = "RotateKeyOnDemand", .body = body, .easy = easy},
                    "");
        wire_expect(&server, &(wire_request){.operation = "ListAliases", .easy = easy}, "");
        snprintf(body, sizeof(body), "{\"KeyId\":\"alias/%s\",\"CiphertextBlob\":\"%s\"}", name,
                 blob);
        wire_get(&server, &(wire_request){.operation = "Decrypt", .body = body, .easy = easy},
                 "Plaintext", back, sizeof(back));
        assert_string_equal(back, SECRET);
        snprintf(body, sizeof(body), "{\"AliasName\":\"alias/%s\"}", name);
        wire_expect(&server,
                    &(wire_request){.operation = "DeleteAlias", .body = body, .easy = easy}, "");
    }
    curl_easy_cleanup(easy);
}

/* Each client is a process: cmocka's asserts jump, which only the test's own thread may. In a child
 * that fails, what the jump leads to ends in another exit status. */
static void many_clients_get_each_their_own_answers(void **state)
{
    pid_t clients[CLIENTS];
    int status;

    (void)state;
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = fork();
        assert_true(clients[i] >= 0);
        if (clients[i] == 0) {
            char name[32];
            snprintf(name, sizeof(name), "client-%d", i);
            live(name);
            _exit(CLIENT_DONE);
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(waitpid(clients[i], &status, 0), clients[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == CLIENT_DONE);
    }
}

static int set_up(void **state)
{
    (void)state;
    test_server_start(&server, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_operation_is_called_so),
        cmocka_unit_test(what_is_no_json_object_is_refused),
        cmocka_unit_test(what_is_json_is_read),
        cmocka_unit_test(members_of_another_type_are_refused),
        cmocka_unit_test(a_body_over_the_limit_is_refused),
        cmocka_unit_test(a_key_is_of_the_region_that_the_scope_names),
        cmocka_unit_test(arns_are_of_their_region_s_partition),
        cmocka_unit_test(faults_strike_as_asked),
        cmocka_unit_test(a_fault_of_half_probability_strikes_sometimes),
        cmocka_unit_test(many_clients_get_each_their_own_answers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
