/* Making keys: what is made, what is refused before anything is made, and what becomes of a key
 * whose making fails half-way. */
#include "tests/integration/peer.h"
#include "tests/integration/server.h"
#include "tests/integration/wire.h"
#include "tests/unit/settings.h"

#include "core/create.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static test_server server;

typedef struct fixture {
    char config[PATH_SIZE];
    kms_client *client;
    kms_address address;
    kms_key_wish wish;
    kms_key *key;
    kms_error err;
} fixture;

static fixture *open_with(const char *settings, const char *address)
{
    fixture *f = calloc(1, sizeof(*f));
    const kms_config_given given = {.path = f->config};

    assert_non_null(f);
    make_file(settings, strlen(settings), f->config);
    if (kms_client_open(&given, &f->client, &f->err) != KMS_OK)
        fail_msg("%s: %s", kms_status_name(f->err.status), f->err.detail);
    assert_int_equal(kms_address_parse(address, &f->address, NULL), KMS_OK);
    f->wish = (kms_key_wish){.address = &f->address, .spec = "ECC_NIST_P256"};
    return f;
}

static fixture *open_fixture(const char *address)
{
    test_server_faults(&server, "[]");
    test_server_reset(&server);
    return open_with("allow_key_creation = yes\n", address);
}

static void close_fixture(fixture *f)
{
    kms_key_free(f->key);
    kms_client_close(f->client);
    kms_address_clear(&f->address);
    unlink(f->config);
    free(f);
}

static kms_status create(fixture *f)
{
    kms_key_free(f->key);
    f->key = NULL;
    f->err = (kms_error){0};
    return kms_client_create_key(f->client, &f->wish, &f->key, &f->err);
}

static void assert_says(const fixture *f, const char *text)
{
    if (strstr(f->err.detail, text) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", f->err.detail, text);
}

/* A member of what the server says of a key. */
static void ask(const char *operation, const char *key, const char *path, char *out, size_t size)
{
    char body[512];

    snprintf(body, sizeof(body), "{\"KeyId\":\"%s\"}", key);
    wire_get(&server, &(wire_request){.operation = operation, .body = body}, path, out, size);
}

/* The ARN in an error's detail. */
static void arn_of_error(const fixture *f, char *out, size_t size)
{
    const char *at = strstr(f->err.detail, "arn:aws:kms:");

    assert_non_null(at);
    snprintf(out, size, "%.*s", (int)strcspn(at, " ;,"), at);
    if (out[strlen(out) - 1] == ':')
        out[strlen(out) - 1] = '\0';
}

static void every_spec_is_made_for_its_usual_use(void **state)
{
    static const struct {
        const char *spec, *wanted, *usage;
    } rows[] = {
        {"RSA_2048", NULL, "SIGN_VERIFY"},
        {"RSA_2048", "ENCRYPT_DECRYPT", "ENCRYPT_DECRYPT"},
        {"ECC_NIST_P256", NULL, "SIGN_VERIFY"},
        {"ECC_NIST_P384", "KEY_AGREEMENT", "KEY_AGREEMENT"},
        {"ECC_SECG_P256K1", NULL, "SIGN_VERIFY"},
        {"ECC_NIST_EDWARDS25519", NULL, "SIGN_VERIFY"},
        {"HMAC_512", NULL, "GENERATE_VERIFY_MAC"},
        {"SYMMETRIC_DEFAULT", NULL, "ENCRYPT_DECRYPT"},
    };
    char name[64], arn[256];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        snprintf(name, sizeof(name), "kms:alias/usual-%zu", i);
        fixture *f = open_fixture(name);
        f->wish.spec = rows[i].spec;
        f->wish.usage = rows[i].wanted;
        assert_int_equal(create(f), KMS_OK);
        assert_string_equal(kms_key_spec(f->key), rows[i].spec);
        assert_string_equal(kms_key_usage(f->key), rows[i].usage);
        assert_int_equal(test_server_count(&server, "CreateKey"), 1);
        assert_int_equal(test_server_count(&server, "CreateAlias"), 1);
        assert_int_equal(test_server_count(&server, "EnableKeyRotation"),
                         kms_key_is_symmetric(f->key));
        ask("DescribeKey", name + 4, "KeyMetadata.Arn", arn, sizeof(arn));
        assert_string_equal(arn, kms_key_arn(f->key));
        close_fixture(f);
    }
}

static void tags_description_and_policy_are_as_they_were_given(void **state)
{
    static const char policy[] = "{\"Version\":\"2012-10-17\",\"Statement\":[]}";
    static const char *const tags[] = {"team", "web", "cost", "a=b"};
    fixture *f = open_fixture("kms:alias/told");
    char path[PATH_SIZE], text[512];

    (void)state;
    make_file(policy, strlen(policy), path);
    f->wish.description = "the web's key";
    f->wish.policy_file = path;
    f->wish.tags = tags;
    f->wish.tag_count = 2;
    assert_int_equal(create(f), KMS_OK);
    ask("DescribeKey", kms_key_id(f->key), "KeyMetadata.Description", text, sizeof(text));
    assert_string_equal(text, "the web's key");
    ask("GetKeyPolicy", kms_key_id(f->key), "Policy", text, sizeof(text));
    assert_string_equal(text, policy);
    snprintf(text, sizeof(text), "{\"KeyId\":\"%s\"}", kms_key_id(f->key));
    wire_reply reply = {0};
    wire_send(&server, &(wire_request){.operation = "ListResourceTags", .body = text}, &reply);
    assert_non_null(strstr(reply.text, "\"team\""));
    assert_non_null(strstr(reply.text, "\"a=b\""));
    wire_reply_clear(&reply);
    unlink(path);
    close_fixture(f);
}

static void creation_must_be_allowed(void **state)
{
    fixture *f;

    (void)state;
    test_server_reset(&server);
    f = open_with("", "kms:alias/forbidden");
    assert_int_equal(create(f), KMS_E_CREATION_NOT_ALLOWED);
    assert_says(f, "allow_key_creation is off");
    assert_int_equal(test_server_count(&server, "CreateKey"), 0);
    assert_int_equal(test_server_count(&server, "DescribeKey"), 0);
    close_fixture(f);
    f = open_with("allow_key_creation = yes\nencryption_enabled = no\n", "kms:alias/forbidden");
    assert_int_equal(create(f), KMS_E_DISABLED);
    close_fixture(f);
    f = open_with("allow_key_creation = yes\n", "kms:alias/forbidden?region=eu-west-2");
    assert_int_equal(create(f), KMS_E_REGION_NOT_ALLOWED);
    assert_int_equal(test_server_count(&server, "CreateKey"), 0);
    close_fixture(f);
}

static void only_an_alias_of_ones_own_names_a_new_key(void **state)
{
    static const char *const names[] = {"kms:", "kms:1234abcd-12ab-34cd-56ef-1234567890ab",
                                        "kms:alias/aws/s3",
                                        "kms:arn:aws:kms:eu-central-1:000000000000:alias/web"};

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        fixture *f = open_fixture(names[i]);
        assert_int_equal(create(f), KMS_E_KEY_ADDRESS);
        assert_int_equal(test_server_count(&server, "CreateKey"), 0);
        close_fixture(f);
    }
}

static void a_use_that_the_spec_has_not_is_refused(void **state)
{
    static const struct {
        const char *spec, *usage;
    } rows[] = {
        {"RSA_2048", "KEY_AGREEMENT"},
        {"ECC_NIST_P256", "ENCRYPT_DECRYPT"},
        {"ECC_SECG_P256K1", "KEY_AGREEMENT"},
        {"ECC_NIST_EDWARDS25519", "KEY_AGREEMENT"},
        {"HMAC_256", "SIGN_VERIFY"},
        {"SYMMETRIC_DEFAULT", "SIGN_VERIFY"},
        {"RSA_2048", "nonsense"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fixture *f = open_fixture("kms:alias/odd");
        f->wish.spec = rows[i].spec;
        f->wish.usage = rows[i].usage;
        assert_int_equal(create(f), KMS_E_KEY_USAGE);
        assert_says(f, rows[i].usage);
        assert_int_equal(test_server_count(&server, "CreateKey"), 0);
        close_fixture(f);
    }
}

static void bad_tags_and_descriptions_are_refused(void **state)
{
    static char long_name[130], long_value[258], description[8194];
    const char *const bad[][4] = {
        {"", "x"}, {long_name, "x"}, {"x", long_value}, {"aws:x", "x"}, {"x", "1", "x", "2"}};
    fixture *f = open_fixture("kms:alias/odd");

    (void)state;
    memset(long_name, 'n', sizeof(long_name) - 1);
    memset(long_value, 'v', sizeof(long_value) - 1);
    memset(description, 'd', sizeof(description) - 1);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        f->wish.tags = bad[i];
        f->wish.tag_count = bad[i][2] != NULL ? 2 : 1;
        assert_int_equal(create(f), KMS_E_ARGUMENT);
        assert_says(f, "tag");
    }
    f->wish.tag_count = 51;
    assert_int_equal(create(f), KMS_E_ARGUMENT);
    assert_says(f, "51 tags");
    f->wish.tag_count = 0;
    f->wish.description = description;
    assert_int_equal(create(f), KMS_E_ARGUMENT);
    assert_says(f, "description");
    assert_int_equal(test_server_count(&server, "CreateKey"), 0);
    close_fixture(f);
}

static void a_policy_must_be_a_json_object_of_32_kib(void **state)
{
    static char large[33000];
    const char *const texts[] = {"[]", "{", "", large};
    fixture *f = open_fixture("kms:alias/odd");
    char path[PATH_SIZE];

    (void)state;
    memset(large, ' ', sizeof(large) - 1);
    large[0] = '{';
    large[1] = '}';
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        make_file(texts[i], strlen(texts[i]), path);
        f->wish.policy_file = path;
        assert_int_equal(create(f), KMS_E_ARGUMENT);
        assert_says(f, path);
        unlink(path);
    }
    assert_int_equal(create(f), KMS_E_ARGUMENT);
    assert_says(f, "No such file");
    f->wish.policy_file = "/";
    assert_int_equal(create(f), KMS_E_ARGUMENT);
    assert_says(f, "Is a directory");
    assert_int_equal(test_server_count(&server, "CreateKey"), 0);
    close_fixture(f);
}

static void an_alias_that_is_taken_is_refused_before_anything_is_made(void **state)
{
    fixture *f = open_fixture("kms:alias/matbakh-ai");

    (void)state;
    assert_int_equal(create(f), KMS_E_ALIAS_EXISTS);
    assert_says(f, "alias/matbakh-ai is an alias of arn:aws:kms:");
    assert_int_equal(test_server_count(&server, "CreateKey"), 0);
    close_fixture(f);
}

static void what_may_have_been_made_is_not_made_again(void **state)
{
    static const char *const faults[] = {
        "[\"CreateKey:KMSInternalException:1\"]", "[\"CreateKey:html503:1\"]",
        "[\"CreateKey:reset-after:1\"]", "[\"CreateKey:truncate:1\"]"};

    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        fixture *f = open_fixture("kms:alias/unknown-end");
        test_server_faults(&server, faults[i]);
        assert_int_not_equal(create(f), KMS_OK);
        assert_says(f, "there may be a new key all the same");
        assert_int_equal(test_server_count(&server, "CreateKey"), 1);
        assert_int_equal(test_server_count(&server, "CreateAlias"), 0);
        close_fixture(f);
    }
}

static void what_kms_did_not_do_is_tried_again(void **state)
{
    fixture *f = open_fixture("kms:alias/throttled");

    (void)state;
    test_server_faults(&server, "[\"CreateKey:ThrottlingException:1\"]");
    assert_int_equal(create(f), KMS_E_THROTTLED);
    assert_null(strstr(f->err.detail, "may be a new key"));
    assert_int_equal(test_server_count(&server, "CreateKey"), 3);
    close_fixture(f);
}

static void a_key_without_its_alias_or_rotation_is_scheduled_for_deletion(void **state)
{
    static const char *const faults[] = {
        "[\"CreateAlias:AccessDeniedException:1\"]",
        "[\"CreateAlias:KMSInternalException:1\"]",
        "[\"EnableKeyRotation:AccessDeniedException:1\"]",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        fixture *f = open_fixture("kms:alias/half");
        char arn[256], key_state[64];
        f->wish.spec = "SYMMETRIC_DEFAULT";
        test_server_faults(&server, faults[i]);
        assert_int_equal(create(f), i == 1 ? KMS_E_SERVICE : KMS_E_ACCESS_DENIED);
        assert_null(f->key);
        assert_says(f, "is scheduled for deletion");
        assert_int_not_equal(f->err.request_id[0], '\0');
        arn_of_error(f, arn, sizeof(arn));
        ask("DescribeKey", arn, "KeyMetadata.KeyState", key_state, sizeof(key_state));
        assert_string_equal(key_state, "PendingDeletion");
        assert_int_equal(test_server_count(&server, "CreateKey"), 1);
        assert_int_equal(test_server_count(&server, "ScheduleKeyDeletion"), 1);
        close_fixture(f);
    }
}

static void a_key_that_can_not_be_taken_back_is_named(void **state)
{
    fixture *f = open_fixture("kms:alias/half");
    char arn[256], key_state[64];

    (void)state;
    test_server_faults(&server, "[\"CreateAlias:AccessDeniedException:1\","
                                "\"ScheduleKeyDeletion:AccessDeniedException:1\"]");
    assert_int_equal(create(f), KMS_E_ACCESS_DENIED);
    assert_says(f, "is there and has no alias; scheduling its deletion failed too");
    arn_of_error(f, arn, sizeof(arn));
    ask("DescribeKey", arn, "KeyMetadata.KeyState", key_state, sizeof(key_state));
    assert_string_equal(key_state, "Enabled");
    close_fixture(f);
}

static void an_alias_whose_answer_was_lost_is_found(void **state)
{
    fixture *f = open_fixture("kms:alias/lost-answer");
    char arn[256];

    (void)state;
    test_server_faults(&server, "[\"CreateAlias:reset-after:1\"]");
    assert_int_equal(create(f), KMS_OK);
    assert_int_equal(test_server_count(&server, "ScheduleKeyDeletion"), 0);
    ask("DescribeKey", "alias/lost-answer", "KeyMetadata.Arn", arn, sizeof(arn));
    assert_string_equal(arn, kms_key_arn(f->key));
    close_fixture(f);
}

#define ID "1234abcd-12ab-34cd-56ef-1234567890ab"
#define NEW_KEY(region, spec, more)                                                                \
    "{\"KeyMetadata\":{\"Arn\":\"arn:aws:kms:" region ":111122223333:key/" ID "\",\"KeyId\":\"" ID \
    "\",\"KeySpec\":\"" spec "\",\"KeyUsage\":\"SIGN_VERIFY\","                                    \
    "\"KeyState\":\"Enabled\"" more "}}"

static void a_key_that_was_not_asked_for_is_taken_back(void **state)
{
    static const struct {
        const char *made;
        kms_status status;
    } rows[] = {
        {NEW_KEY("us-east-1", "ECC_NIST_P256", ""), KMS_E_REPLY_REGION},
        {NEW_KEY("eu-central-1", "ECC_NIST_P384", ""), KMS_E_REPLY_OTHER_KEY},
        {NEW_KEY("eu-central-1", "ECC_NIST_P256",
                 ",\"MultiRegion\":true,\"MultiRegionConfiguration\":{\"PrimaryKey\":{\"Arn\":"
                 "\"arn:aws:kms:eu-central-1:111122223333:key/" ID "\"},\"ReplicaKeys\":[]}"),
         KMS_E_REPLY_OTHER_KEY},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char nobody[512], made[2048], refused[512];
        /* Each answer ends its connection, since the peer serves one at a time. */
        const peer_answer script[] = {
            {peer_json(nobody, sizeof(nobody), 400, "", "{\"__type\":\"NotFoundException\"}"),
             PEER_CLOSE},
            {peer_json(made, sizeof(made), 200, "", rows[i].made), PEER_CLOSE},
            {peer_json(refused, sizeof(refused), 400, "", "{\"__type\":\"NotFoundException\"}"),
             PEER_CLOSE},
        };
        test_peer peer = {0};
        test_peer_start(&peer, script, 3);
        setenv("AWS_ENDPOINT_URL_KMS", peer.url, 1);
        fixture *f = open_with("allow_key_creation = yes\n", "kms:alias/web");
        assert_int_equal(create(f), rows[i].status);
        assert_says(f, ID);
        assert_int_equal(atomic_load(&peer.requests), 3);
        close_fixture(f);
        test_peer_stop(&peer);
        assert_non_null(strstr(peer.last_request, "ScheduleKeyDeletion"));
        setenv("AWS_ENDPOINT_URL_KMS", server.url, 1);
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
        cmocka_unit_test(every_spec_is_made_for_its_usual_use),
        cmocka_unit_test(tags_description_and_policy_are_as_they_were_given),
        cmocka_unit_test(creation_must_be_allowed),
        cmocka_unit_test(only_an_alias_of_ones_own_names_a_new_key),
        cmocka_unit_test(a_use_that_the_spec_has_not_is_refused),
        cmocka_unit_test(bad_tags_and_descriptions_are_refused),
        cmocka_unit_test(a_policy_must_be_a_json_object_of_32_kib),
        cmocka_unit_test(an_alias_that_is_taken_is_refused_before_anything_is_made),
        cmocka_unit_test(what_may_have_been_made_is_not_made_again),
        cmocka_unit_test(what_kms_did_not_do_is_tried_again),
        cmocka_unit_test(a_key_without_its_alias_or_rotation_is_scheduled_for_deletion),
        cmocka_unit_test(a_key_that_can_not_be_taken_back_is_named),
        cmocka_unit_test(an_alias_whose_answer_was_lost_is_found),
        cmocka_unit_test(a_key_that_was_not_asked_for_is_taken_back),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
