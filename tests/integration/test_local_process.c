/* kms-local as a process: its options, its database, its certificate, its end. */
#include "tests/integration/wire.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ALIAS "{\"KeyId\":\"alias/matbakh-ai\"}"

static char folder[64];

static void path_of(const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", folder, name);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);

    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

/* --- options --- */

static void a_wrong_option_is_named_and_exits_2(void **state)
{
    static const struct {
        const char *options[4], *said;
    } rows[] = {
        {{"--prot", "1"}, "--prot"},
        {{"--port"}, "--port"},
        {{"--port", "x"}, "--port: 'x'"},
        {{"--port", "65536"}, "0 to 65535"},
        {{"--port", "-1"}, "0 to 65535"},
        {{"more"}, "unexpected argument 'more'"},
        {{"--account", "12"}, "12 digits"},
        {{"--credentials", "hunter2"}, "ID:SECRET"},
        {{"--credentials", ":hunter2"}, "ID:SECRET"},
        {{"--credentials", "id:"}, "ID:SECRET"},
        {{"--credentials", "id:hunter2:"}, "ID:SECRET"},
        {{"--seed-key", "name"}, "alias/NAME"},
        {{"--seed-key", "alias/"}, "alias/"},
        {{"--seed-key", "alias/aws/x"}, "reserved"},
        {{"--seed-key", "alias/a b"}, "alias/a b"},
        {{"--seed-key", "alias/x:AES_256"}, "AES_256"},
        {{"--seed-key", "alias/x:RSA_2048:KEY_AGREEMENT"}, "KEY_AGREEMENT"},
        {{"--seed-key", "alias/x:RSA_2048:SIGN_VERIFY:more"}, "SIGN_VERIFY:more"},
        {{"--seed-region", "EU"}, "--seed-region: 'EU'"},
        {{"--latency-ms", "soon"}, "--latency-ms: 'soon'"},
        {{"--latency-ms", "600001"}, "0 to 600000"},
        {{"--fault", "Encrypt"}, "OP:KIND:PROBABILITY"},
        {{"--fault", "Encrypt:reset"}, "OP:KIND:PROBABILITY"},
        {{"--fault", "Encrpyt:reset:1"}, "Encrpyt:reset:1"},
        {{"--fault", "Encrypt:rest:1"}, "Encrypt:rest:1"},
        {{"--fault", "Encrypt:reset:2"}, "Encrypt:reset:2"},
        {{"--fault", "Encrypt:reset:-1"}, "Encrypt:reset:-1"},
        {{"--fault", "Encrypt:reset:nan"}, "Encrypt:reset:nan"},
        {{"--fault", "Encrypt:reset:0.5x"}, "Encrypt:reset:0.5x"},
        {{"--tls-cert", "cert.pem"}, "--tls-key"},
        {{"--tls-key", "key.pem"}, "--tls-cert"},
        {{"--tls-cert", "a", "--tls-key=b", "--tls-self-signed=c"}, "either"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *options[8] = {"--port=0"};
        char errors[2048];
        int n = 1;
        for (int j = 0; j < 4 && rows[i].options[j] != NULL; j++)
            options[n++] = rows[i].options[j];
        int status = test_server_run(options, errors, sizeof(errors));
        if (status != 2 || strstr(errors, rows[i].said) == NULL ||
            strstr(errors, "hunter2") != NULL)
            fail_msg("row %zu: exit %d, said: %s", i, status, errors);
    }
}

/* A manual writes "--port" as "\-\-port". */
static void as_in_manual(const char *option, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++) {
        if (option[i] == '-')
            *out++ = '\\';
        *out++ = option[i];
    }
    *out = '\0';
}

static void the_manual_has_every_option(void **state)
{
    static const char *const options[] = {"--help", NULL};
    static char help[8192], manual[65536];
    FILE *file = fopen(KMS_SOURCE_DIR "/docs/man/kms-local.1", "r");
    int count = 0;

    (void)state;
    assert_non_null(file);
    manual[fread(manual, 1, sizeof(manual) - 1, file)] = '\0';
    fclose(file);
    assert_int_equal(test_server_run(options, help, sizeof(help)), 0);
    for (const char *at = strstr(help, "--"); at != NULL; at = strstr(at, "--")) {
        char text[128];
        size_t len = 2 + strspn(at + 2, "abcdefghijklmnopqrstuvwxyz-");
        as_in_manual(at, len, text);
        if (strstr(manual, text) == NULL)
            fail_msg("the manual lacks %.*s", (int)len, at);
        at += len;
        count++;
    }
    assert_true(count >= 13);
}

static void what_it_cannot_open_exits_1_and_says_why(void **state)
{
    char errors[2048], missing[128], broken[128], option[200];

    (void)state;
    path_of("no/such/file", missing);
    const char *db[] = {"--port=0", "--db", missing, NULL};
    assert_int_equal(test_server_run(db, errors, sizeof(errors)), 1);
    assert_non_null(strstr(errors, missing));

    path_of("broken", broken);
    write_file(broken, "this is no database, and no certificate either", 0600);
    db[2] = broken;
    assert_int_equal(test_server_run(db, errors, sizeof(errors)), 1);
    assert_non_null(strstr(errors, broken));

    snprintf(option, sizeof(option), "--tls-key=%s", broken);
    const char *tls[] = {"--port=0", "--tls-cert", broken, option, NULL};
    assert_int_equal(test_server_run(tls, errors, sizeof(errors)), 1);
    assert_non_null(strstr(errors, "no certificate"));
    tls[2] = missing;
    assert_int_equal(test_server_run(tls, errors, sizeof(errors)), 1);
    assert_non_null(strstr(errors, missing));
}

static void a_port_in_use_exits_1(void **state)
{
    test_server first;
    char option[32], errors[2048];

    (void)state;
    test_server_start(&first, NULL);
    snprintf(option, sizeof(option), "--port=%s", strrchr(first.url, ':') + 1);
    const char *options[] = {option, NULL};
    assert_int_equal(test_server_run(options, errors, sizeof(errors)), 1);
    assert_non_null(strstr(errors, "is the port in use?"));
    test_server_stop(&first);
}

static void only_loopback_is_served(void **state)
{
    test_server server;

    (void)state;
    test_server_start(&server, NULL);
    assert_memory_equal(server.url, "http://127.0.0.1:", 17);
    /* Another address of this very host, though on the loopback interface, finds nobody. */
    struct sockaddr_in other = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002)};
    other.sin_port = htons((uint16_t)strtoul(strrchr(server.url, ':') + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&other, sizeof(other)), -1);
    close(fd);
    test_server_stop(&server);
}

static void seeded_keys_are_what_was_asked_for(void **state)
{
    static const struct {
        const char *option, *alias, *spec, *usage;
    } rows[] = {
        {"--seed-key=alias/sym:SYMMETRIC_DEFAULT", "alias/sym", "SYMMETRIC_DEFAULT",
         "ENCRYPT_DECRYPT"},
        {"--seed-key=alias/ec/p-256:ECC_NIST_P256", "alias/ec/p-256", "ECC_NIST_P256",
         "SIGN_VERIFY"},
        {"--seed-key=alias/agree:ECC_NIST_P384:KEY_AGREEMENT", "alias/agree", "ECC_NIST_P384",
         "KEY_AGREEMENT"},
        {"--seed-key=alias/rsa:RSA_2048:SIGN_VERIFY", "alias/rsa", "RSA_2048", "SIGN_VERIFY"},
        {"--seed-key=alias/mac:HMAC_256", "alias/mac", "HMAC_256", "GENERATE_VERIFY_MAC"},
    };
    const char *options[8] = {"--seed-region=eu-west-3", "--account=111122223333"};
    test_server server;

    (void)state;
    for (int i = 0; i < 5; i++)
        options[i + 2] = rows[i].option;
    test_server_start(&server, options);
    for (int i = 0; i < 5; i++) {
        char body[128], text[128];
        snprintf(body, sizeof(body), "{\"KeyId\":\"%s\"}", rows[i].alias);
        const wire_request request = {
            .operation = "DescribeKey", .body = body, .region = "eu-west-3"};
        wire_get(&server, &request, "KeyMetadata.KeySpec", text, sizeof(text));
        assert_string_equal(text, rows[i].spec);
        wire_get(&server, &request, "KeyMetadata.KeyUsage", text, sizeof(text));
        assert_string_equal(text, rows[i].usage);
        wire_get(&server, &request, "KeyMetadata.Arn", text, sizeof(text));
        assert_memory_equal(text, "arn:aws:kms:eu-west-3:111122223333:key/", 39);
    }
    test_server_stop(&server);
}

static void every_answer_waits_as_long_as_asked(void **state)
{
    static const char *const options[] = {"--latency-ms", "200", "--fault",
                                          "Encrypt:ThrottlingException:1", NULL};
    test_server server;

    (void)state;
    test_server_start(&server, options);
    double start = now();
    wire_expect(&server, &(wire_request){.operation = "ListKeys"}, "");
    assert_true(now() - start >= 0.2);
    wire_expect(&server, &(wire_request){.operation = "Encrypt"}, "ThrottlingException");
    test_server_stop(&server);
}

/* --- the database --- */

static void expect_mode(const char *path, mode_t mode)
{
    struct stat info;

    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, mode);
}

static void what_the_database_holds_survives_a_restart(void **state)
{
    char path[128], arn[128], again[128], blob[1024], text[64], body[2048];
    const char *options[] = {"--db", path, "--seed-key", "alias/sign:ECC_NIST_P256", NULL};
    const wire_request describe = {.operation = "DescribeKey", .body = ALIAS};
    test_server server;

    (void)state;
    path_of("keys", path);
    test_server_start(&server, options);
    expect_mode(path, 0600);
    wire_get(&server, &describe, "KeyMetadata.Arn", arn, sizeof(arn));
    wire_get(&server,
             &(wire_request){.operation = "Encrypt",
                             .body = "{\"KeyId\":\"alias/matbakh-ai\",\"Plaintext\":\"c2VjcmV0\","
                                     "\"EncryptionContext\":{\"a\":\"b\"}}"},
             "CiphertextBlob", blob, sizeof(blob));
    snprintf(body, sizeof(body), "{\"KeyId\":\"%s\"}", arn);
    wire_expect(&server, &(wire_request){.operation = "RotateKeyOnDemand", .body = body}, "");
    snprintf(body, sizeof(body), "{\"AliasName\":\"alias/second\",\"TargetKeyId\":\"%s\"}", arn);
    wire_expect(&server, &(wire_request){.operation = "CreateAlias", .body = body}, "");
    char public_key[256], public_again[256];
    const wire_request get_public = {.operation = "GetPublicKey",
                                     .body = "{\"KeyId\":\"alias/sign\"}"};
    wire_get(&server, &get_public, "PublicKey", public_key, sizeof(public_key));
    test_server_stop(&server);

    assert_int_equal(chmod(path, 0644), 0);
    test_server_start(&server, options);
    expect_mode(path, 0600);
    wire_get(&server, &describe, "KeyMetadata.Arn", again, sizeof(again));
    assert_string_equal(again, arn);
    wire_get(&server,
             &(wire_request){.operation = "DescribeKey", .body = "{\"KeyId\":\"alias/second\"}"},
             "KeyMetadata.Arn", again, sizeof(again));
    assert_string_equal(again, arn);
    wire_get(&server, &get_public, "PublicKey", public_again, sizeof(public_again));
    assert_string_equal(public_again, public_key);
    /* What the material before the rotation encrypted. */
    snprintf(body, sizeof(body), "{\"CiphertextBlob\":\"%s\",\"EncryptionContext\":{\"a\":\"b\"}}",
             blob);
    wire_get(&server, &(wire_request){.operation = "Decrypt", .body = body}, "Plaintext", text,
             sizeof(text));
    assert_string_equal(text, "c2VjcmV0");
    wire_reply reply;
    snprintf(body, sizeof(body), "{\"KeyId\":\"%s\"}", arn);
    wire_send(&server, &(wire_request){.operation = "ListKeyRotations", .body = body}, &reply);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(reply.json, "Rotations")),
                     1);
    wire_reply_clear(&reply);
    test_server_stop(&server);
}

static void a_seeded_key_that_is_there_as_another_is_refused(void **state)
{
    char path[128], errors[2048];
    const char *first[] = {"--db", path, "--seed-key", "alias/x:HMAC_256", NULL};
    const char *second[] = {"--port=0", "--db", path, "--seed-key", "alias/x:HMAC_512", NULL};
    test_server server;

    (void)state;
    path_of("seeded", path);
    test_server_start(&server, first);
    test_server_stop(&server);
    assert_int_equal(test_server_run(second, errors, sizeof(errors)), 2);
    assert_non_null(strstr(errors, "HMAC_256"));
}

/* What the passing of weeks does: a change in the file, between two runs. */
static void edit_database(const char *path, const char *sql)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_changes(db), 1);
    sqlite3_close(db);
}

static void a_key_whose_waiting_period_is_over_is_gone(void **state)
{
    char path[128], id[64], body[128];
    const char *options[] = {"--db", path, NULL};
    test_server server;

    (void)state;
    path_of("expiring", path);
    test_server_start(&server, options);
    wire_get(&server, &(wire_request){.operation = "CreateKey", .body = "{\"MultiRegion\":true}"},
             "KeyMetadata.KeyId", id, sizeof(id));
    snprintf(body, sizeof(body), "{\"KeyId\":\"%s\",\"ReplicaRegion\":\"eu-west-1\"}", id);
    wire_expect(&server, &(wire_request){.operation = "ReplicateKey", .body = body}, "");
    snprintf(body, sizeof(body), "{\"KeyId\":\"%s\"}", id);
    const wire_request primary = {.operation = "DescribeKey", .body = body};
    const wire_request replica = {.operation = "DescribeKey", .body = body, .region = "eu-west-1"};
    wire_expect(&server, &(wire_request){.operation = "ScheduleKeyDeletion", .body = body}, "");
    wire_expect(
        &server,
        &(wire_request){.operation = "ScheduleKeyDeletion", .body = body, .region = "eu-west-1"},
        "");
    test_server_stop(&server);

    char key_state[32];
    edit_database(path, "UPDATE key SET json = json_set(json, '$.deletion', 1) WHERE "
                        "region = 'eu-west-1'");
    test_server_start(&server, options);
    wire_expect(&server, &replica, "NotFoundException");
    wire_get(&server, &primary, "KeyMetadata.KeyState", key_state, sizeof(key_state));
    assert_string_equal(key_state, "PendingDeletion"); /* the last replica is gone */
    test_server_stop(&server);

    edit_database(path, "UPDATE key SET json = json_set(json, '$.deletion', 1) WHERE "
                        "json_extract(json, '$.state') = 'PendingDeletion'");
    for (int run = 0; run < 2; run++) {
        test_server_start(&server, options);
        wire_expect(&server, &primary, "NotFoundException");
        test_server_stop(&server);
    }
}

static void a_rotation_that_is_due_happens(void **state)
{
    char path[128], id[64], body[128];
    const char *options[] = {"--db", path, NULL};
    test_server server;

    (void)state;
    path_of("rotating", path);
    test_server_start(&server, options);
    wire_get(&server, &(wire_request){.operation = "CreateKey"}, "KeyMetadata.KeyId", id,
             sizeof(id));
    snprintf(body, sizeof(body), "{\"KeyId\":\"%s\"}", id);
    wire_expect(&server, &(wire_request){.operation = "EnableKeyRotation", .body = body}, "");
    test_server_stop(&server);

    edit_database(path, "UPDATE family SET json = json_set(json, '$.nextRotation', 1) WHERE "
                        "json_extract(json, '$.rotates')");
    for (int run = 0; run < 2; run++) { /* once, not on every start */
        wire_reply reply;
        test_server_start(&server, options);
        wire_send(&server, &(wire_request){.operation = "ListKeyRotations", .body = body}, &reply);
        const cJSON *rotations = cJSON_GetObjectItemCaseSensitive(reply.json, "Rotations");
        assert_int_equal(cJSON_GetArraySize(rotations), 1);
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(
                                cJSON_GetArrayItem(rotations, 0), "RotationType")),
                            "AUTOMATIC");
        wire_reply_clear(&reply);
        test_server_stop(&server);
    }
}

static void a_database_has_one_server_at_a_time(void **state)
{
    char path[128], errors[2048];
    const char *options[] = {"--db", path, NULL};
    const char *second[] = {"--port=0", "--db", path, NULL};
    test_server server;

    (void)state;
    path_of("shared", path);
    test_server_start(&server, options);
    assert_int_equal(test_server_run(second, errors, sizeof(errors)), 1);
    assert_non_null(strstr(errors, "another process has it open"));
    test_server_stop(&server);
}

/* --- HTTPS --- */

static void https_with_a_certificate_of_its_own(void **state)
{
    char cert[128], key[128], given_cert[200], given_key[200];
    const char *self_made[] = {"--tls-self-signed", folder, NULL};
    const char *given[] = {given_cert, given_key, NULL};
    test_server server;
    wire_reply reply;

    (void)state;
    path_of("cert.pem", cert);
    path_of("key.pem", key);
    test_server_start(&server, self_made);
    assert_memory_equal(server.url, "https://127.0.0.1:", 18);
    expect_mode(key, 0600);
    wire_expect(&server, &(wire_request){.operation = "ListKeys", .ca = cert}, "");
    wire_send(&server, &(wire_request){.operation = "ListKeys"}, &reply);
    assert_int_equal(reply.code, CURLE_PEER_FAILED_VERIFICATION);
    wire_reply_clear(&reply);
    test_server_stop(&server);

    /* The same files, now given. */
    snprintf(given_cert, sizeof(given_cert), "--tls-cert=%s", cert);
    snprintf(given_key, sizeof(given_key), "--tls-key=%s", key);
    test_server_start(&server, given);
    wire_expect(&server, &(wire_request){.operation = "ListKeys", .ca = cert}, "");
    test_server_stop(&server);
}

static void a_key_of_another_certificate_is_refused(void **state)
{
    char other[128], cert[200], key[200], errors[2048];
    const char *mine[] = {"--tls-self-signed", folder, NULL};
    const char *theirs[] = {"--tls-self-signed", other, NULL};
    const char *mixed[] = {"--port=0", cert, key, NULL};
    test_server server;

    (void)state;
    path_of("other", other);
    assert_int_equal(mkdir(other, 0700), 0);
    test_server_start(&server, mine);
    test_server_stop(&server);
    test_server_start(&server, theirs);
    test_server_stop(&server);
    snprintf(cert, sizeof(cert), "--tls-cert=%s/cert.pem", folder);
    snprintf(key, sizeof(key), "--tls-key=%s/key.pem", other);
    assert_int_equal(test_server_run(mixed, errors, sizeof(errors)), 1);
    assert_non_null(strstr(errors, "is not one of the key"));
}

/* --- the end --- */

static int connect_to(const test_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_port = htons((uint16_t)strtoul(strrchr(server->url, ':') + 1, NULL, 10));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Reads what may still have been said. */
static bool is_cut(int fd)
{
    char text[1024];
    ssize_t got;

    while ((got = read(fd, text, sizeof(text))) > 0)
        continue;
    return got == 0 || errno == ECONNRESET;
}

/* Stops it with idle, half-open and half-spoken connections; all must be cut. */
static void stop_with_connections(const char *const *options, const char *ca)
{
    static const char half[] = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{";
    CURL *idle = curl_easy_init();
    test_server server;

    test_server_start(&server, options);
    wire_expect(&server, &(wire_request){.operation = "ListKeys", .easy = idle, .ca = ca}, "");
    int silent = connect_to(&server), halfway = connect_to(&server);
    assert_int_equal(write(halfway, half, strlen(half)), (ssize_t)strlen(half));
    double start = now();
    test_server_stop(&server); /* asserts exit status 0 */
    assert_true(now() - start < 5);
    assert_true(is_cut(silent));
    assert_true(is_cut(halfway));
    close(silent);
    close(halfway);
    curl_easy_cleanup(idle);
}

static void it_ends_at_once_with_connections_open(void **state)
{
    char cert[128];
    const char *tls[] = {"--tls-self-signed", folder, NULL};

    (void)state;
    stop_with_connections(NULL, NULL);
    path_of("cert.pem", cert);
    stop_with_connections(tls, cert);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/kms-local-test-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static void remove_all(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    char inner[512];

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
        if (entry->d_type == DT_DIR)
            remove_all(inner);
        else
            unlink(inner);
    }
    if (dir != NULL)
        closedir(dir);
    rmdir(path);
}

static int tear_down(void **state)
{
    (void)state;
    remove_all(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_option_is_named_and_exits_2),
        cmocka_unit_test(the_manual_has_every_option),
        cmocka_unit_test(what_it_cannot_open_exits_1_and_says_why),
        cmocka_unit_test(a_port_in_use_exits_1),
        cmocka_unit_test(only_loopback_is_served),
        cmocka_unit_test(seeded_keys_are_what_was_asked_for),
        cmocka_unit_test(every_answer_waits_as_long_as_asked),
        cmocka_unit_test(what_the_database_holds_survives_a_restart),
        cmocka_unit_test(a_seeded_key_that_is_there_as_another_is_refused),
        cmocka_unit_test(a_key_whose_waiting_period_is_over_is_gone),
        cmocka_unit_test(a_rotation_that_is_due_happens),
        cmocka_unit_test(a_database_has_one_server_at_a_time),
        cmocka_unit_test(https_with_a_certificate_of_its_own),
        cmocka_unit_test(a_key_of_another_certificate_is_refused),
        cmocka_unit_test(it_ends_at_once_with_connections_open),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
