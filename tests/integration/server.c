#include "tests/integration/server.h"

#include "tests/unit/unit.h"

#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPTIONS_MAX 96

static void set_environment(const test_server *server)
{
    static const char *const unset[] = {
        "KMS_PROVIDER_CONF",      "AWS_PROFILE",   "AWS_SESSION_TOKEN", "KMS_ENCRYPTION_ENABLED",
        "kms_encryption_enabled", "AWS_CA_BUNDLE", "AWS_ENDPOINT_URL"};

    for (size_t i = 0; i < sizeof(unset) / sizeof(unset[0]); i++)
        unsetenv(unset[i]);
    setenv("AWS_REGION", "eu-central-1", 1);
    setenv("AWS_ACCESS_KEY_ID", "local", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "local", 1);
    setenv("AWS_ENDPOINT_URL_KMS", server->url, 1);
    setenv("KMS_PROVIDER_LOG", "off", 1);
}

void test_server_start(test_server *server, const char *const *options)
{
    const char *argv[OPTIONS_MAX + 8] = {KMS_LOCAL, "--port", "0", "--seed-key",
                                         "alias/matbakh-ai"};
    int n = 5, out[2];
    char line[256];
    FILE *stream;

    while (options != NULL && *options != NULL && n < OPTIONS_MAX)
        argv[n++] = *options++;
    assert_int_equal(pipe(out), 0);
    server->pid = fork();
    assert_true(server->pid >= 0);
    if (server->pid == 0) {
        /* A test that fails stops no server: it must not outlive the test and hold its output. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        close(out[1]);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(out[1]);
    stream = fdopen(out[0], "r");
    assert_non_null(stream);
    server->url[0] = '\0';
    while (server->url[0] == '\0' && fgets(line, sizeof(line), stream) != NULL)
        sscanf(line, "kms-local ready on %63s", server->url);
    fclose(stream);
    assert_true(server->url[0] != '\0');
    set_environment(server);
}

int test_server_run(const char *const *options, char *said, size_t size)
{
    const char *argv[OPTIONS_MAX] = {KMS_LOCAL};
    int n = 1, out[2], status = 0;
    size_t len = 0;
    ssize_t got;
    pid_t pid;

    while (*options != NULL && n < OPTIONS_MAX - 1)
        argv[n++] = *options++;
    assert_int_equal(pipe(out), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);
        close(out[0]);
        close(out[1]);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(out[1]);
    while (len < size - 1 && (got = read(out[0], said + len, size - 1 - len)) > 0)
        len += (size_t)got;
    said[len] = '\0';
    close(out[0]);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void test_server_stop(test_server *server)
{
    int status = 0;

    kill(server->pid, SIGTERM);
    waitpid(server->pid, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

typedef struct text {
    char data[8192];
    size_t len;
} text;

static size_t collect(char *data, size_t size, size_t count, void *arg)
{
    text *to = arg;
    size_t len = size * count;

    if (len >= sizeof(to->data) - to->len)
        return 0;
    memcpy(to->data + to->len, data, len);
    to->len += len;
    to->data[to->len] = '\0';
    return len;
}

/* body NULL: GET. A handle of its own, so that the connections of the code under test are alone. */
static void admin(const test_server *server, const char *path, const char *body, text *reply)
{
    char url[128];
    long status = 0;
    CURL *easy = curl_easy_init();

    assert_non_null(easy);
    snprintf(url, sizeof(url), "%s/_admin/%s", server->url, path);
    reply->len = 0;
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L); /* the test's own server, by loopback */
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    if (body != NULL)
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, reply);
    assert_int_equal(curl_easy_perform(easy), CURLE_OK);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    assert_int_equal(status, 200);
    curl_easy_cleanup(easy);
}

long test_server_count(const test_server *server, const char *operation)
{
    text reply;
    long count = 0;

    admin(server, "requests", NULL, &reply);
    cJSON *json = cJSON_Parse(reply.data);
    assert_non_null(json);
    const cJSON *item =
        cJSON_GetObjectItemCaseSensitive(strcmp(operation, "connections") == 0
                                             ? json
                                             : cJSON_GetObjectItemCaseSensitive(json, "operations"),
                                         operation);
    if (cJSON_IsNumber(item))
        count = (long)item->valuedouble;
    cJSON_Delete(json);
    return count;
}

void test_server_reset(const test_server *server)
{
    text reply;

    admin(server, "reset-counts", "", &reply);
}

void test_server_latency(const test_server *server, int ms)
{
    char body[64];
    text reply;

    snprintf(body, sizeof(body), "{\"faults\":[],\"latencyMs\":%d}", ms);
    admin(server, "faults", body, &reply);
}

void test_server_faults(const test_server *server, const char *faults)
{
    char body[512];
    text reply;

    snprintf(body, sizeof(body), "{\"faults\":%s,\"latencyMs\":0}", faults);
    admin(server, "faults", body, &reply);
}
