/* The client against a peer that answers as no real KMS would: wrong, slow, cut, endless. */
#include "tests/integration/peer.h"
#include "tests/unit/settings.h"

#include "core/client.h"

#include <time.h>

#define KEY_ID     "1234abcd-12ab-34cd-56ef-1234567890ab"
#define KEY        "arn:aws:kms:eu-central-1:111122223333:key/" KEY_ID
#define OTHER_KEY  "arn:aws:kms:eu-central-1:111122223333:key/99999999-12ab-34cd-56ef-1234567890ab"
#define DUBLIN_KEY "arn:aws:kms:eu-west-1:111122223333:key/" KEY_ID
#define US_KEY     "arn:aws:kms:us-east-1:111122223333:key/" KEY_ID

#define METADATA(arn, more)                                                                        \
    "{\"KeyMetadata\":{\"Arn\":\"" arn "\",\"KeyId\":\"" KEY_ID                                    \
    "\",\"KeySpec\":\"SYMMETRIC_DEFAULT\",\"KeyUsage\":\"ENCRYPT_DECRYPT\","                       \
    "\"KeyState\":\"Enabled\"" more "}}"
#define ENCRYPTED "{\"KeyId\":\"" KEY "\",\"CiphertextBlob\":\"AAECAw==\"}"

/* What a test starts from: a peer with a script, and a client whose only place it is. */
typedef struct fixture {
    test_peer peer;
    kms_client *client;
    kms_context *context;
    kms_error err;
    char config[PATH_SIZE];
} fixture;

static void set_up(fixture *f, const peer_answer *script, size_t count, const char *settings)
{
    static const char context[] = "{\"dataType\":\"credentials\",\"operationId\":\"op-1\"}";
    const kms_config_given given = {.path = f->config};

    *f = (fixture){0};
    test_peer_start(&f->peer, script, count);
    setenv("AWS_ENDPOINT_URL_KMS", f->peer.url, 1);
    make_file(settings, strlen(settings), f->config);
    if (kms_client_open(&given, &f->client, &f->err) != KMS_OK)
        fail_msg("%s: %s", kms_status_name(f->err.status), f->err.detail);
    f->context = kms_context_new();
    assert_int_equal(kms_context_parse(f->context, context, strlen(context), NULL), KMS_OK);
}

static void tear_down(fixture *f)
{
    kms_context_free(f->context);
    kms_client_close(f->client);
    test_peer_stop(&f->peer);
    unlink(f->config);
    unsetenv("AWS_ENDPOINT_URL_KMS");
}

static kms_status load(fixture *f, const char *name, kms_key **key)
{
    kms_address address = {0};
    kms_status st = kms_address_parse(name, &address, &f->err);

    if (st == KMS_OK)
        st = kms_client_key(f->client, &address, key, &f->err);
    kms_address_clear(&address);
    return st;
}

static kms_key *loaded(fixture *f)
{
    kms_key *key = NULL;

    if (load(f, "alias/app", &key) != KMS_OK)
        fail_msg("%s: %s", kms_status_name(f->err.status), f->err.detail);
    return key;
}

static kms_status wrap(fixture *f, kms_key *key)
{
    kms_buffer wrapped = {0};
    kms_status st = kms_client_wrap(f->client, key, (kms_bytes){(const uint8_t *)"x", 1},
                                    f->context, &wrapped, &f->err);

    assert_true(st == KMS_OK || wrapped.data == NULL);
    kms_buffer_clear(&wrapped);
    return st;
}

static void expect(const char *what, kms_status got, kms_status wanted, const kms_error *err)
{
    if (got != wanted)
        fail_msg("%s: %s instead of %s (%s)", what, kms_status_name(got), kms_status_name(wanted),
                 err->detail);
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

/* ---- whose reply it is ---- */

static void a_described_key_must_be_the_one_that_was_asked(void **state)
{
    static const struct {
        const char *asked, *body;
        kms_status status;
    } rows[] = {
        {"alias/app", METADATA(KEY, ""), KMS_OK},
        {KEY_ID, METADATA(KEY, ""), KMS_OK},
        {KEY, METADATA(KEY, ""), KMS_OK},
        {"alias/app", METADATA(DUBLIN_KEY, ""), KMS_E_REPLY_REGION},
        {"alias/app", METADATA(US_KEY, ""), KMS_E_REPLY_REGION},
        {KEY, METADATA(DUBLIN_KEY, ""), KMS_E_REPLY_REGION},
        {"99999999-12ab-34cd-56ef-1234567890ab", METADATA(KEY, ""), KMS_E_REPLY_OTHER_KEY},
        {OTHER_KEY, METADATA(KEY, ""), KMS_E_REPLY_OTHER_KEY},
        {"arn:aws:kms:eu-central-1:444455556666:alias/app", METADATA(KEY, ""),
         KMS_E_REPLY_OTHER_KEY},
        {"alias/app", METADATA(OTHER_KEY, ""), KMS_E_REPLY_MALFORMED}, /* Arn without its KeyId */
        {"alias/app", METADATA("arn:aws:kms:eu-central-1:111122223333:alias/app", ""),
         KMS_E_REPLY_MALFORMED},
        {"alias/app", METADATA("nonsense", ""), KMS_E_REPLY_MALFORMED},
        {"alias/app", "{}", KMS_E_REPLY_MALFORMED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char reply[2048];
        const peer_answer script[] = {
            {peer_json(reply, sizeof(reply), 200, "", rows[i].body), PEER_KEEP}};
        fixture f;
        kms_key *key = NULL;
        set_up(&f, script, 1, "");
        expect(rows[i].body, load(&f, rows[i].asked, &key), rows[i].status, &f.err);
        assert_int_equal(key != NULL, rows[i].status == KMS_OK);
        if (rows[i].status != KMS_OK)
            assert_string_equal(f.err.request_id, "peer-request-1");
        kms_key_free(key);
        tear_down(&f);
    }
}

static void results_of_another_key_or_region_are_thrown_away(void **state)
{
    static const struct {
        const char *body;
        kms_status status;
    } rows[] = {
        {ENCRYPTED, KMS_OK},
        {"{\"KeyId\":\"" DUBLIN_KEY "\",\"CiphertextBlob\":\"AAECAw==\"}", KMS_E_REPLY_REGION},
        {"{\"KeyId\":\"" US_KEY "\",\"CiphertextBlob\":\"AAECAw==\"}", KMS_E_REPLY_REGION},
        {"{\"KeyId\":\"" OTHER_KEY "\",\"CiphertextBlob\":\"AAECAw==\"}", KMS_E_REPLY_OTHER_KEY},
        {"{\"KeyId\":\"" KEY_ID "\",\"CiphertextBlob\":\"AAECAw==\"}", KMS_E_REPLY_OTHER_KEY},
        {"{\"CiphertextBlob\":\"AAECAw==\"}", KMS_E_REPLY_MALFORMED},
        {"{\"KeyId\":\"" KEY "\",\"KeyId\":\"" KEY "\",\"CiphertextBlob\":\"AAECAw==\"}",
         KMS_E_REPLY_MALFORMED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char described[2048], encrypted[2048];
        const peer_answer script[] = {
            {peer_json(described, sizeof(described), 200, "", METADATA(KEY, "")), PEER_KEEP},
            {peer_json(encrypted, sizeof(encrypted), 200, "", rows[i].body), PEER_KEEP}};
        fixture f;
        set_up(&f, script, 2, "");
        kms_key *key = loaded(&f);
        expect(rows[i].body, wrap(&f, key), rows[i].status, &f.err);
        assert_int_equal(atomic_load(&f.peer.requests), 2);
        if (rows[i].status != KMS_OK)
            assert_string_equal(f.err.request_id, "peer-request-1");
        kms_key_free(key);
        tear_down(&f);
    }
}

/* ---- what a reply holds ---- */

static void replies_that_are_no_reply_of_kms_are_refused(void **state)
{
    static char too_large_blob[16384];
    static const char *const bodies[] = {
        "",
        "{}",
        "null",
        "[" ENCRYPTED "]",
        ENCRYPTED "x",
        ENCRYPTED ENCRYPTED,
        "{\"KeyId\":\"" KEY "\"}",
        "{\"KeyId\":\"" KEY "\",\"CiphertextBlob\":\"\"}",
        "{\"KeyId\":\"" KEY "\",\"CiphertextBlob\":17}",
        "{\"KeyId\":\"" KEY "\",\"CiphertextBlob\":\"AAEC!w==\"}",
        "{\"KeyId\":\"" KEY "\\u0000\",\"CiphertextBlob\":\"AAECAw==\"}",
        "{\"keyid\":\"" KEY "\",\"ciphertextblob\":\"AAECAw==\"}",
        too_large_blob,
    };
    char described[2048], encrypted[20000];

    (void)state;
    snprintf(too_large_blob, sizeof(too_large_blob),
             "{\"KeyId\":\"" KEY "\",\"CiphertextBlob\":\"%08196d\"}", 0); /* 6147 bytes */
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        const peer_answer script[] = {
            {peer_json(described, sizeof(described), 200, "", METADATA(KEY, "")), PEER_KEEP},
            {peer_json(encrypted, sizeof(encrypted), 200, "", bodies[i]), PEER_KEEP}};
        fixture f;
        set_up(&f, script, 2, "");
        kms_key *key = loaded(&f);
        expect(bodies[i], wrap(&f, key), KMS_E_REPLY_MALFORMED, &f.err);
        assert_int_equal(atomic_load(&f.peer.requests), 2); /* and asked once only */
        kms_key_free(key);
        tear_down(&f);
    }
}

static void plaintexts_of_a_wrong_size_are_refused(void **state)
{
    static const char *const bodies[] = {
        "{\"KeyId\":\"" KEY "\",\"CiphertextBlob\":\"AAEC\",\"Plaintext\":\"AAEC\"}",
        "{\"KeyId\":\"" KEY "\",\"CiphertextBlob\":\"AAEC\"}",
        "{\"KeyId\":\"" KEY "\",\"CiphertextBlob\":\"AAEC\",\"Plaintext\":\"\"}",
    };
    char described[2048], generated[2048];

    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        const peer_answer script[] = {
            {peer_json(described, sizeof(described), 200, "", METADATA(KEY, "")), PEER_KEEP},
            {peer_json(generated, sizeof(generated), 200, "", bodies[i]), PEER_KEEP}};
        kms_secret plain = {0};
        kms_buffer wrapped = {0};
        fixture f;
        set_up(&f, script, 2, "");
        kms_key *key = loaded(&f);
        expect(bodies[i],
               kms_client_data_key(f.client, key, 32, f.context, &plain, &wrapped, &f.err),
               KMS_E_REPLY_MALFORMED, &f.err);
        assert_null(plain.data);
        assert_null(wrapped.data);
        kms_key_free(key);
        tear_down(&f);
    }
}

static void what_is_not_http_is_refused(void **state)
{
    static const peer_answer script[] = {{"SSH-2.0-OpenSSH_9.2\r\n\r\n", PEER_CLOSE}};
    fixture f;
    kms_key *key = NULL;

    (void)state;
    set_up(&f, script, 1, "");
    expect("ssh", load(&f, "alias/app", &key), KMS_E_REPLY_MALFORMED, &f.err);
    tear_down(&f);
}

static void a_redirect_is_not_followed(void **state)
{
    static const int kinds[] = {301, 302, 303, 307, 308};
    char location[128], reply[512], body[2048];
    test_peer elsewhere;
    const peer_answer there[] = {
        {peer_json(body, sizeof(body), 200, "", METADATA(KEY, "")), PEER_KEEP}};

    (void)state;
    test_peer_start(&elsewhere, there, 1);
    snprintf(location, sizeof(location), "Location: %s/\r\n", elsewhere.url);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const peer_answer script[] = {
            {peer_json(reply, sizeof(reply), kinds[i], location, ""), PEER_KEEP}};
        fixture f;
        kms_key *key = NULL;
        set_up(&f, script, 1, "");
        expect("redirect", load(&f, "alias/app", &key), KMS_E_REPLY_MALFORMED, &f.err);
        assert_int_equal(atomic_load(&f.peer.requests), 1);
        tear_down(&f);
    }
    assert_int_equal(atomic_load(&elsewhere.connections), 0);
    test_peer_stop(&elsewhere);
}

static void more_than_a_mebibyte_is_refused(void **state)
{
    static char body[70000], headers[70000];
    const peer_answer scripts[] = {{body, PEER_REPEAT}, {headers, PEER_REPEAT}};

    (void)state;
    /* One is an endless body, the other endless headers. */
    snprintf(body, sizeof(body), "HTTP/1.1 200 OK\r\n\r\n%60000s", "");
    size_t len = (size_t)snprintf(headers, sizeof(headers), "HTTP/1.1 200 OK\r\n");
    while (len < sizeof(headers) - 100)
        len += (size_t)snprintf(headers + len, sizeof(headers) - len, "X-Padding: %40s.\r\n", "");
    snprintf(headers + len, sizeof(headers) - len, "X-Again: ");
    for (size_t i = 0; i < 2; i++) {
        fixture f;
        kms_key *key = NULL;
        set_up(&f, &scripts[i], 1, "");
        expect(i == 0 ? "body" : "headers", load(&f, "alias/app", &key), KMS_E_REPLY_TOO_LARGE,
               &f.err);
        assert_int_equal(atomic_load(&f.peer.requests), 1);
        tear_down(&f);
    }
}

/* ---- replies that end too early or late ---- */

static void a_reply_that_is_cut_is_asked_again_and_then_given_up(void **state)
{
    static const struct {
        const char *reply;
        kms_status status;
        long requests;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" METADATA(KEY, ""), KMS_E_UNREACHABLE, 3},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"Ke\r\n", KMS_E_UNREACHABLE,
         3},
        {"", KMS_E_UNREACHABLE, 3},
        /* libcurl takes this for a whole reply without a body, which is none of KMS. */
        {"HTTP/1.1 200 OK\r\nContent-Le", KMS_E_REPLY_MALFORMED, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const peer_answer script[] = {{rows[i].reply, PEER_CLOSE}};
        fixture f;
        kms_key *key = NULL;
        set_up(&f, script, 1, "");
        expect(rows[i].reply, load(&f, "alias/app", &key), rows[i].status, &f.err);
        assert_int_equal(atomic_load(&f.peer.requests), rows[i].requests);
        tear_down(&f);
    }
}

static void a_body_that_is_shorter_than_it_says_is_never_a_result(void **state)
{
    /* Content-Length ends inside of the object; the rest must not be taken for another reply. */
    static const peer_answer script[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" METADATA(KEY, ""), PEER_KEEP}};
    fixture f;
    kms_key *key = NULL;

    (void)state;
    set_up(&f, script, 1, "");
    expect("short", load(&f, "alias/app", &key), KMS_E_REPLY_MALFORMED, &f.err);
    expect("again", load(&f, "alias/app", &key), KMS_E_REPLY_MALFORMED, &f.err);
    tear_down(&f);
}

static void a_kept_connection_that_was_closed_costs_no_error(void **state)
{
    char described[2048], encrypted[2048];
    const peer_answer script[] = {
        {peer_json(described, sizeof(described), 200, "", METADATA(KEY, "")), PEER_CLOSE},
        {peer_json(encrypted, sizeof(encrypted), 200, "", ENCRYPTED), PEER_CLOSE}};
    fixture f;

    (void)state;
    set_up(&f, script, 2, "max_attempts = 1\n");
    kms_key *key = loaded(&f);
    for (int i = 0; i < 5; i++)
        expect("closed", wrap(&f, key), KMS_OK, &f.err);
    assert_int_equal(atomic_load(&f.peer.requests), 6);
    assert_int_equal(atomic_load(&f.peer.connections), 6);
    kms_key_free(key);
    tear_down(&f);
}

static void a_kept_connection_that_dies_under_a_request_is_replaced_once(void **state)
{
    char described[2048], encrypted[2048];
    const peer_answer script[] = {
        {peer_json(described, sizeof(described), 200, "", METADATA(KEY, "")), PEER_KEEP},
        {"", PEER_CLOSE}, /* the request arrives, no byte of an answer comes */
        {peer_json(encrypted, sizeof(encrypted), 200, "", ENCRYPTED), PEER_KEEP}};
    fixture f;

    (void)state;
    set_up(&f, script, 3, "max_attempts = 1\n");
    kms_key *key = loaded(&f);
    expect("dead", wrap(&f, key), KMS_OK, &f.err);
    assert_int_equal(atomic_load(&f.peer.requests), 3);
    assert_int_equal(atomic_load(&f.peer.connections), 2);
    kms_key_free(key);
    tear_down(&f);
}

static void slow_answers_cost_no_more_than_the_deadlines(void **state)
{
    static const peer_answer scripts[] = {
        {"", PEER_SILENT}, /* no first byte */
        {"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" METADATA(KEY, ""), PEER_DRIP},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        struct timespec start;
        fixture f;
        kms_key *key = NULL;
        set_up(&f, &scripts[i], 1, "attempt_timeout_ms = 200\noperation_timeout_ms = 1000\n");
        clock_gettime(CLOCK_MONOTONIC, &start);
        expect("slow", load(&f, "alias/app", &key), KMS_E_TIMEOUT, &f.err);
        assert_true(seconds_since(&start) >= 0.55); /* three attempts */
        assert_true(seconds_since(&start) < 3);
        assert_int_equal(atomic_load(&f.peer.connections), 3);
        tear_down(&f);
    }
}

/* ---- trying again ---- */

#define THROTTLED "{\"__type\":\"ThrottlingException\",\"message\":\"Rate exceeded\"}"

static void what_passes_is_tried_again_and_then_works(void **state)
{
    static const struct {
        int status;
        const char *body;
    } rows[] = {
        {400, THROTTLED},
        {400, "{\"__type\":\"com.amazonaws.kms#ThrottlingException:http://x/\"}"},
        {429, "<html>too many</html>"},
        {500, "{\"__type\":\"KMSInternalException\"}"},
        {503, "<html>no backend</html>"},
        {504, ""},
        {400, "{\"__type\":\"KeyUnavailableException\"}"},
        {400, "{\"__type\":\"ExpiredTokenException\"}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char failed[512], described[2048];
        const peer_answer script[] = {
            {peer_json(failed, sizeof(failed), rows[i].status, "", rows[i].body), PEER_KEEP},
            {peer_json(described, sizeof(described), 200, "", METADATA(KEY, "")), PEER_KEEP}};
        fixture f;
        set_up(&f, script, 2, "");
        kms_key_free(loaded(&f));
        assert_int_equal(atomic_load(&f.peer.requests), 2);
        assert_int_equal(atomic_load(&f.peer.connections), 1);
        tear_down(&f);
    }
}

static void what_stays_is_given_up_after_the_attempts_allowed(void **state)
{
    static const struct {
        int status;
        const char *body, *settings;
        kms_status result;
        long requests;
    } rows[] = {
        {400, THROTTLED, "", KMS_E_THROTTLED, 3},
        {400, THROTTLED, "max_attempts = 2\n", KMS_E_THROTTLED, 2},
        {400, THROTTLED, "max_attempts = 1\n", KMS_E_THROTTLED, 1},
        {500, "{\"__type\":\"KMSInternalException\"}", "", KMS_E_SERVICE, 3},
        {400, "{\"__type\":\"ExpiredTokenException\"}", "", KMS_E_CREDENTIALS_EXPIRED, 2},
        {400, "{\"__type\":\"AccessDeniedException\"}", "", KMS_E_ACCESS_DENIED, 1},
        {400, "{\"__type\":\"NotFoundException\"}", "", KMS_E_NOT_FOUND, 1},
        {400, "{\"__type\":\"LimitExceededException\"}", "", KMS_E_LIMIT, 1},
        {400, "{\"__type\":\"InvalidSignatureException\"}", "", KMS_E_SIGNATURE, 1},
        {400, "{\"__type\":\"UnrecognizedClientException\"}", "", KMS_E_CREDENTIALS_INVALID, 1},
        {403, "<html>forbidden</html>", "", KMS_E_REQUEST_REFUSED, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char failed[512];
        const peer_answer script[] = {
            {peer_json(failed, sizeof(failed), rows[i].status, "", rows[i].body), PEER_KEEP}};
        fixture f;
        kms_key *key = NULL;
        set_up(&f, script, 1, rows[i].settings);
        expect(rows[i].body, load(&f, "alias/app", &key), rows[i].result, &f.err);
        assert_int_equal(atomic_load(&f.peer.requests), rows[i].requests);
        assert_string_equal(f.err.request_id, "peer-request-1");
        tear_down(&f);
    }
}

static void nobody_sleeps_past_the_deadline(void **state)
{
    char failed[512];
    const peer_answer script[] = {
        {peer_json(failed, sizeof(failed), 400, "x-amz-retry-after: 4000\r\n", THROTTLED),
         PEER_KEEP}};
    struct timespec start;
    fixture f;
    kms_key *key = NULL;

    (void)state;
    set_up(&f, script, 1, "operation_timeout_ms = 2000\n");
    clock_gettime(CLOCK_MONOTONIC, &start);
    expect("hint", load(&f, "alias/app", &key), KMS_E_THROTTLED, &f.err); /* not KMS_E_TIMEOUT */
    assert_true(seconds_since(&start) < 1.5);
    assert_int_equal(atomic_load(&f.peer.requests), 1);
    tear_down(&f);
}

/* ---- multi-Region keys ---- */

#define FAMILY(replicas)                                                                           \
    ",\"MultiRegion\":true,\"MultiRegionConfiguration\":{\"MultiRegionKeyType\":\"PRIMARY\","      \
    "\"PrimaryKey\":{\"Arn\":\"" KEY "\",\"Region\":\"eu-central-1\"},\"ReplicaKeys\":[" replicas  \
    "]}"
#define REPLICA(arn) "{\"Arn\":\"" arn "\",\"Region\":\"x\"}"

static void a_replica_outside_the_set_is_refused(void **state)
{
    static const struct {
        const char *body, *settings;
        kms_status status;
    } rows[] = {
        {METADATA(KEY, FAMILY("")), "", KMS_OK},
        {METADATA(KEY, FAMILY(REPLICA(DUBLIN_KEY))), "", KMS_OK},
        {METADATA(KEY, FAMILY(REPLICA(DUBLIN_KEY) "," REPLICA(US_KEY))), "",
         KMS_E_REPLICA_NOT_ALLOWED},
        {METADATA(KEY, FAMILY(REPLICA("arn:aws:kms:eu-west-2:111122223333:key/" KEY_ID))), "",
         KMS_E_REPLICA_NOT_ALLOWED},
        {METADATA(KEY, FAMILY(REPLICA("arn:aws:kms:eu-west-2:111122223333:key/" KEY_ID))),
         "residency = eu-adequate\n", KMS_OK},
        {METADATA(KEY, FAMILY(REPLICA(DUBLIN_KEY))), "allowed_regions = eu-central-1\n",
         KMS_E_REPLICA_NOT_ALLOWED},
        {METADATA(KEY, ",\"MultiRegion\":true"), "", KMS_E_REPLY_MALFORMED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char reply[2048];
        const peer_answer script[] = {
            {peer_json(reply, sizeof(reply), 200, "", rows[i].body), PEER_KEEP}};
        fixture f;
        kms_key *key = NULL;
        set_up(&f, script, 1, rows[i].settings);
        expect(rows[i].body, load(&f, "alias/app", &key), rows[i].status, &f.err);
        kms_key_free(key);
        tear_down(&f);
    }
}

static void a_replica_that_comes_later_is_noticed_by_those_who_hold_the_key(void **state)
{
    char alone[2048], encrypted[2048], spread[2048];
    const peer_answer script[] = {
        {peer_json(alone, sizeof(alone), 200, "", METADATA(KEY, FAMILY(""))), PEER_KEEP},
        {peer_json(encrypted, sizeof(encrypted), 200, "", ENCRYPTED), PEER_KEEP},
        {peer_json(spread, sizeof(spread), 200, "", METADATA(KEY, FAMILY(REPLICA(US_KEY)))),
         PEER_KEEP}};
    struct timespec start;
    fixture f;

    (void)state;
    set_up(&f, script, 3, "key_cache_seconds = 1\n");
    clock_gettime(CLOCK_MONOTONIC, &start);
    kms_key *key = loaded(&f);
    expect("alone", wrap(&f, key), KMS_OK, &f.err);
    while (seconds_since(&start) < 2.1) /* the cache counts whole seconds */
        usleep(50000);
    expect("spread", wrap(&f, key), KMS_E_REPLICA_NOT_ALLOWED, &f.err);
    assert_int_equal(atomic_load(&f.peer.requests), 3); /* and nothing was encrypted */
    kms_key_free(key);
    tear_down(&f);
}

/* ---- messages ---- */

static void no_secret_is_in_a_message(void **state)
{
    /* As AWS explains a signature: the canonical request, with the session token, line by line. */
    static const char *const body =
        "{\"__type\":\"InvalidSignatureException\",\"message\":\"The request signature we "
        "calculated does not match the signature you provided.\\n\\nThe Canonical String for this "
        "request should have been\\n'POST\\nx-amz-security-token:PLANTEDTOKEN\\n'\"}";
    char described[2048], failed[1024], message[KMS_ERROR_TEXT_MAX];
    const peer_answer script[] = {
        {peer_json(described, sizeof(described), 200, "", METADATA(KEY, "")), PEER_KEEP},
        {peer_json(failed, sizeof(failed), 400, "", body), PEER_KEEP}};
    fixture f;

    (void)state;
    setenv("AWS_SECRET_ACCESS_KEY", "PLANTEDSECRET", 1);
    setenv("AWS_SESSION_TOKEN", "PLANTEDTOKEN", 1);
    set_up(&f, script, 2, "");
    kms_key *key = loaded(&f);
    expect("signature", wrap(&f, key), KMS_E_SIGNATURE, &f.err);
    kms_error_text(&f.err, message, sizeof(message));
    assert_non_null(strstr(message, "does not match the signature you provided"));
    assert_null(strstr(message, "PLANTED"));
    kms_key_free(key);
    tear_down(&f);
    /* The token was sent, so it could have come back; the secret key was not. */
    assert_non_null(strstr(f.peer.last_request, "X-Amz-Security-Token: PLANTEDTOKEN\r\n"));
    assert_null(strstr(f.peer.last_request, "PLANTEDSECRET"));
    setenv("AWS_SECRET_ACCESS_KEY", "local", 1);
    unsetenv("AWS_SESSION_TOKEN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_described_key_must_be_the_one_that_was_asked),
        cmocka_unit_test(results_of_another_key_or_region_are_thrown_away),
        cmocka_unit_test(replies_that_are_no_reply_of_kms_are_refused),
        cmocka_unit_test(plaintexts_of_a_wrong_size_are_refused),
        cmocka_unit_test(what_is_not_http_is_refused),
        cmocka_unit_test(a_redirect_is_not_followed),
        cmocka_unit_test(more_than_a_mebibyte_is_refused),
        cmocka_unit_test(a_reply_that_is_cut_is_asked_again_and_then_given_up),
        cmocka_unit_test(a_body_that_is_shorter_than_it_says_is_never_a_result),
        cmocka_unit_test(a_kept_connection_that_was_closed_costs_no_error),
        cmocka_unit_test(a_kept_connection_that_dies_under_a_request_is_replaced_once),
        cmocka_unit_test(slow_answers_cost_no_more_than_the_deadlines),
        cmocka_unit_test(what_passes_is_tried_again_and_then_works),
        cmocka_unit_test(what_stays_is_given_up_after_the_attempts_allowed),
        cmocka_unit_test(nobody_sleeps_past_the_deadline),
        cmocka_unit_test(a_replica_outside_the_set_is_refused),
        cmocka_unit_test(a_replica_that_comes_later_is_noticed_by_those_who_hold_the_key),
        cmocka_unit_test(no_secret_is_in_a_message),
    };

    clear_environment();
    setenv("HOME", "/nonexistent", 1);
    setenv("AWS_REGION", "eu-central-1", 1);
    setenv("AWS_ACCESS_KEY_ID", "local", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "local", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
