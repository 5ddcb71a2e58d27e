/* What the client does to the process it lives in, and what it lets the process do to it: signals,
 * descriptors, OpenSSL's error queue, memory limits, environment, resolver, clock. */
#include "tests/integration/peer.h"
#include "tests/integration/server.h"
#include "tests/unit/settings.h"

#include "core/client.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static test_server server; /* by TLS */
static char folder[] = "/tmp/kms-tls-XXXXXX";
static char certificate[64], keylog[64];

static kms_bytes text(const char *s)
{
    return (kms_bytes){(const uint8_t *)s, strlen(s)};
}

/* ---- functions of the platform that this program puts in the place of the library's ---- */

#define VISIBLE __attribute__((visibility("default")))

static time_t clock_error;        /* added to what core takes for the time */
static atomic_int look_ups;       /* of names */
static int resolver_hangs = -1;   /* a pipe that a look-up waits for; -1: it does not */
static int trusted_folders_added; /* folders of certificate authorities */

/* core is linked statically and so finds this one; libcrypto keeps the real one. */
time_t time(time_t *out)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += clock_error;
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}

VISIBLE int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                        struct addrinfo **out)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    char byte;

    if (name != NULL && strstr(name, "amazonaws") != NULL) {
        atomic_fetch_add(&look_ups, 1);
        if (resolver_hangs >= 0)
            (void)!read(resolver_hangs, &byte, 1);
        return EAI_NONAME; /* tests reach nobody */
    }
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(name, service, hints, out);
}

VISIBLE int X509_STORE_load_path(X509_STORE *store, const char *path)
{
    static int (*real)(X509_STORE *, const char *);

    trusted_folders_added++;
    *(void **)&real = dlsym(RTLD_NEXT, "X509_STORE_load_path");
    return real(store, path);
}

/* ---- what tests start from ---- */

static kms_status load_key(kms_client *client, kms_key **key, kms_error *err)
{
    kms_address address = {0};
    kms_status st = kms_address_parse("kms:alias/matbakh-ai", &address, err);

    if (st == KMS_OK)
        st = kms_client_key(client, &address, key, err);
    kms_address_clear(&address);
    return st;
}

/* Opens a client with these settings, loads the key, wraps and unwraps once. */
static kms_status work(const char *settings, const char *plain, kms_error *err)
{
    static const char pairs[] = "{\"dataType\":\"credentials\",\"operationId\":\"op-1\"}";
    char path[PATH_SIZE];
    const kms_config_given given = {.path = path};
    kms_context *context = kms_context_new();
    kms_client *client = NULL;
    kms_key *key = NULL;
    kms_buffer wrapped = {0};
    kms_secret back = {0};

    make_file(settings, strlen(settings), path);
    kms_status st = kms_context_parse(context, pairs, strlen(pairs), err);
    if (st == KMS_OK)
        st = kms_client_open(&given, &client, err);
    if (st == KMS_OK)
        st = load_key(client, &key, err);
    if (st == KMS_OK)
        st = kms_client_wrap(client, key, text(plain), context, &wrapped, err);
    if (st == KMS_OK)
        st = kms_client_unwrap(client, key, (kms_bytes){wrapped.data, wrapped.len}, context, &back,
                               err);
    if (st == KMS_OK && (back.len != strlen(plain) || memcmp(back.data, plain, back.len) != 0))
        st = KMS_E_INTERNAL;
    kms_secret_clear(&back);
    kms_buffer_clear(&wrapped);
    kms_key_free(key);
    kms_client_close(client);
    kms_context_free(context);
    unlink(path);
    return st;
}

static void expect(kms_status got, kms_status wanted, const kms_error *err)
{
    if (got != wanted)
        fail_msg("%s instead of %s (%s)", kms_status_name(got), kms_status_name(wanted),
                 err->detail);
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

/* ---- TLS ---- */

static void a_certificate_nobody_vouches_for_is_refused(void **state)
{
    kms_error err = {0};
    char message[KMS_ERROR_TEXT_MAX];

    (void)state;
    unsetenv("AWS_CA_BUNDLE");
    test_server_reset(&server);
    expect(work("", "x", &err), KMS_E_TLS, &err);
    kms_error_text(&err, message, sizeof(message));
    assert_non_null(strstr(message, "TLS connection to KMS failed: "));
    assert_non_null(strstr(message, "ca_bundle"));
    assert_int_equal(test_server_count(&server, "DescribeKey"), 0);
    setenv("AWS_CA_BUNDLE", certificate, 1);
    expect(work("", "x", &err), KMS_OK, &err);
}

static void a_bundle_that_can_not_be_read_is_refused(void **state)
{
    kms_error err = {0};

    (void)state;
    setenv("AWS_CA_BUNDLE", "/nonexistent/ca.pem", 1);
    expect(work("", "x", &err), KMS_E_TLS, &err);
    setenv("AWS_CA_BUNDLE", certificate, 1);
}

static void a_bundle_takes_the_place_of_the_systems_authorities(void **state)
{
    kms_error err = {0};

    (void)state;
    trusted_folders_added = 0;
    expect(work("", "x", &err), KMS_OK, &err);
    assert_int_equal(trusted_folders_added, 0);
    /* The spy is where libcurl looks: without a bundle the system's folder is added. */
    unsetenv("AWS_CA_BUNDLE");
    expect(work("", "x", &err), KMS_E_TLS, &err);
    assert_true(trusted_folders_added > 0);
    setenv("AWS_CA_BUNDLE", certificate, 1);
}

static void a_server_that_speaks_no_tls_is_called_so(void **state)
{
    static const peer_answer script[] = {{"", PEER_CLOSE}};
    char url[80];
    kms_error err = {0};
    test_peer peer;

    (void)state;
    test_peer_start(&peer, script, 1);
    snprintf(url, sizeof(url), "https%.60s", peer.url + strlen("http"));
    setenv("AWS_ENDPOINT_URL_KMS", url, 1);
    /* The peer takes the greeting for the beginning of a request, and the client gives up. */
    kms_status st = work("attempt_timeout_ms = 300\nmax_attempts = 1\n", "x", &err);
    assert_true(st == KMS_E_TLS_HANDSHAKE || st == KMS_E_TIMEOUT);
    test_peer_stop(&peer);
    setenv("AWS_ENDPOINT_URL_KMS", server.url, 1);
}

/* Debian's openssl as a server of one TLS version. False where the client's handshake failed. */
static kms_status work_with_version(const char *version, kms_error *err)
{
    int out[2];
    char line[256], key[64], url[64] = "";
    FILE *stream;
    pid_t pid;

    snprintf(key, sizeof(key), "%s/key.pem", folder);
    assert_int_equal(pipe(out), 0);
    pid = fork();
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        dup2(open("/dev/null", O_RDWR), STDERR_FILENO);
        execl("/usr/bin/openssl", "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert",
              certificate, "-key", key, version, "-cipher", "ALL:@SECLEVEL=0", "-www",
              (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    stream = fdopen(out[0], "r");
    while (url[0] == '\0' && fgets(line, sizeof(line), stream) != NULL)
        if (strncmp(line, "ACCEPT 127.0.0.1:", 17) == 0)
            snprintf(url, sizeof(url), "https://127.0.0.1:%ld", strtol(line + 17, NULL, 10));
    assert_true(url[0] != '\0');
    setenv("AWS_ENDPOINT_URL_KMS", url, 1);
    kms_status st = work("max_attempts = 1\n", "x", err);
    setenv("AWS_ENDPOINT_URL_KMS", server.url, 1);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    fclose(stream);
    return st;
}

static void tls_below_1_2_is_refused(void **state)
{
    kms_error err = {0};

    (void)state;
    expect(work_with_version("-tls1_1", &err), KMS_E_TLS_HANDSHAKE, &err);
    /* With 1.2 the handshake is no obstacle; what answers then is no KMS. */
    kms_status st = work_with_version("-tls1_2", &err);
    assert_true(st != KMS_E_TLS && st != KMS_E_TLS_HANDSHAKE && st != KMS_OK);
}

static long size_of(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 ? (long)info.st_size : 0;
}

static void session_secrets_are_never_written_down(void **state)
{
    kms_error err = {0};

    (void)state;
    /* SSLKEYLOGFILE is set since the start: the test's own request shows that libcurl heeds it. */
    long before = size_of(keylog);
    test_server_reset(&server);
    long logged = size_of(keylog);
    assert_true(logged > before);
    expect(work("", "x", &err), KMS_OK, &err);
    assert_int_equal(size_of(keylog), logged);
}

/* ---- the process ---- */

static void the_applications_error_queue_stays_as_it_is(void **state)
{
    kms_error err = {0};
    const char *data = NULL;

    (void)state;
    ERR_clear_error();
    ERR_raise_data(ERR_LIB_USER, 42, "of the application");
    ERR_raise(ERR_LIB_USER, 43);
    expect(work("", "x", &err), KMS_OK, &err);
    unsetenv("AWS_CA_BUNDLE"); /* a failure, of which OpenSSL has much to say */
    expect(work("", "x", &err), KMS_E_TLS, &err);
    setenv("AWS_CA_BUNDLE", certificate, 1);
    assert_int_equal(ERR_GET_REASON(ERR_get_error_all(NULL, NULL, NULL, &data, NULL)), 42);
    assert_string_equal(data, "of the application");
    assert_int_equal(ERR_GET_REASON(ERR_get_error()), 43);
    assert_int_equal(ERR_get_error(), 0);

    expect(work("", "x", &err), KMS_OK, &err);
    assert_int_equal(ERR_peek_error(), 0);
}

static void marks_in_the_error_queue_survive(void **state)
{
    kms_error err = {0};

    (void)state;
    ERR_clear_error();
    ERR_raise(ERR_LIB_USER, 42);
    ERR_set_mark();
    expect(work("", "x", &err), KMS_OK, &err);
    ERR_raise(ERR_LIB_USER, 43);
    assert_int_equal(ERR_pop_to_mark(), 1);
    assert_int_equal(ERR_GET_REASON(ERR_get_error()), 42);
    assert_int_equal(ERR_get_error(), 0);
}

static void a_connection_that_breaks_raises_no_signal(void **state)
{
    struct sigaction before, now;
    sigset_t mask;
    kms_error err = {0};

    (void)state;
    signal(SIGPIPE, SIG_DFL); /* deadly */
    sigaction(SIGPIPE, NULL, &before);
    test_server_faults(&server, "[\"Encrypt:reset:1\"]");
    for (int i = 0; i < 3; i++)
        expect(work("", "x", &err), KMS_E_UNREACHABLE, &err);
    test_server_faults(&server, "[]");
    sigaction(SIGPIPE, NULL, &now);
    assert_true(now.sa_handler == before.sa_handler);
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGPIPE), 0);
}

/* Sockets of the Internet that a program started now would inherit. */
static int inherited_sockets(void)
{
    DIR *descriptors = opendir("/proc/self/fd");
    struct dirent *entry;
    int count = 0;

    assert_non_null(descriptors);
    while ((entry = readdir(descriptors)) != NULL) {
        int fd = (int)strtol(entry->d_name, NULL, 10), domain = 0;
        socklen_t len = sizeof(domain);
        if (entry->d_name[0] == '.' || (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0)
            continue;
        if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
            (domain == AF_INET || domain == AF_INET6))
            count++;
    }
    closedir(descriptors);
    return count;
}

static void programs_started_meanwhile_inherit_no_connection(void **state)
{
    kms_client *client = NULL;
    kms_key *key = NULL;

    (void)state;
    int before = inherited_sockets();
    assert_int_equal(kms_client_open(NULL, &client, NULL), KMS_OK);
    assert_int_equal(load_key(client, &key, NULL), KMS_OK);
    assert_int_equal(inherited_sockets(), before); /* the kept connection is open */
    kms_key_free(key);
    kms_client_close(client);
}

static void descriptors_do_not_pile_up(void **state)
{
    kms_error err = {0};
    int first, last;

    (void)state;
    expect(work("", "x", &err), KMS_OK, &err);
    first = dup(0);
    close(first);
    for (int i = 0; i < 20; i++)
        expect(work("", "x", &err), KMS_OK, &err);
    last = dup(0);
    close(last);
    assert_int_equal(first, last);
}

/* An ordinary user in a container: 64 KiB, all that many of them may lock. */
static void a_memory_lock_limit_of_64_kib_is_enough(void **state)
{
    static char plain[KMS_PLAINTEXT_MAX + 1];
    int status;

    (void)state;
    memset(plain, 'p', KMS_PLAINTEXT_MAX);
    assert_int_equal(chmod(folder, 0755), 0);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit small = {65536, 65536};
        kms_error err = {0};
        if (setrlimit(RLIMIT_MEMLOCK, &small) != 0 || (geteuid() == 0 && seteuid(65534) != 0))
            _exit(2);
        for (int i = 0; i < 3; i++) {
            if (work("", plain, &err) != KMS_OK || work("", "x", &err) != KMS_OK) {
                fprintf(stderr, "%s: %s\n", kms_status_name(err.status), err.detail);
                _exit(1);
            }
        }
        _exit(0);
    }
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- the environment ---- */

static void loopback_is_never_reached_by_way_of_a_proxy(void **state)
{
    static const char *const variables[] = {"http_proxy", "https_proxy", "HTTPS_PROXY",
                                            "ALL_PROXY"};
    static const peer_answer script[] = {
        {"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", PEER_CLOSE}};
    kms_error err = {0};
    test_peer proxy;

    (void)state;
    test_peer_start(&proxy, script, 1);
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        setenv(variables[i], proxy.url, 1);
    kms_status st = work("", "x", &err);
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        unsetenv(variables[i]);
    expect(st, KMS_OK, &err);
    assert_int_equal(atomic_load(&proxy.connections), 0);
    test_peer_stop(&proxy);
}

/* Every place that a region can come from, each outside of the set. */
static void no_name_is_looked_up_for_a_region_outside_the_set(void **state)
{
    static const struct {
        const char *variable, *value, *settings, *address;
        kms_status status;
    } rows[] = {
        {"AWS_REGION", "us-east-1", "", "alias/a", KMS_E_REGION_NOT_ALLOWED},
        {"AWS_REGION", "eu-west-2", "", "alias/a", KMS_E_REGION_NOT_ALLOWED},
        {"AWS_DEFAULT_REGION", "eu-central-2", "", "alias/a", KMS_E_REGION_NOT_ALLOWED},
        {"UNUSED", "", "region = us-east-1\n", "alias/a", KMS_E_REGION_NOT_ALLOWED},
        {"UNUSED", "", "region = eu-west-1\nallowed_regions = eu-west-3\n", "alias/a",
         KMS_E_REGION_NOT_ALLOWED},
        {"UNUSED", "", "region = eu-west-1\n", "alias/a?region=us-east-1",
         KMS_E_REGION_NOT_ALLOWED},
        {"UNUSED", "", "region = eu-west-1\n",
         "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
         KMS_E_REGION_NOT_ALLOWED},
        {"UNUSED", "", "region = eu-west-1\n", "arn:aws:kms:eu-west-2:111122223333:alias/a",
         KMS_E_REGION_NOT_ALLOWED},
        {"AWS_ENDPOINT_URL", "https://kms.us-east-1.amazonaws.com", "region = eu-west-1\n",
         "alias/a", KMS_E_ENDPOINT_NOT_ALLOWED},
        {"AWS_ENDPOINT_URL", "https://kms.us-east-1.amazonaws.com", "", "alias/a",
         KMS_E_ENDPOINT_NOT_ALLOWED},
        {"AWS_ENDPOINT_URL_KMS", "https://kms.eu-west-2.amazonaws.com", "region = eu-west-1\n",
         "alias/a", KMS_E_ENDPOINT_NOT_ALLOWED},
        {"AWS_ENDPOINT_URL_KMS", "https://kms.eu-west-3.amazonaws.com", "region = eu-west-1\n",
         "alias/a", KMS_E_ENDPOINT_NOT_ALLOWED},
        {"AWS_ENDPOINT_URL_KMS", "https://kms.eu-west-1.amazonaws.com", "region = eu-west-1\n",
         "alias/a?region=eu-west-3", KMS_E_ENDPOINT_NOT_ALLOWED},
        {"AWS_ENDPOINT_URL_KMS", "http://kms.eu-west-1.amazonaws.com", "region = eu-west-1\n",
         "alias/a", KMS_E_ENDPOINT_INVALID},
        {"UNUSED", "", "", "alias/a", KMS_E_REGION_MISSING},
        /* the same with a region that is allowed reaches the resolver */
        {"AWS_REGION", "eu-west-1", "max_attempts = 1\n", "alias/a", KMS_E_UNREACHABLE},
    };

    (void)state;
    unsetenv("AWS_ENDPOINT_URL_KMS");
    unsetenv("AWS_REGION");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char path[PATH_SIZE];
        const kms_config_given given = {.path = path};
        kms_client *client = NULL;
        kms_address address = {0};
        kms_key *key = NULL;
        kms_error err = {0};
        make_file(rows[i].settings, strlen(rows[i].settings), path);
        setenv(rows[i].variable, rows[i].value, 1);
        atomic_store(&look_ups, 0);
        kms_status st = kms_client_open(&given, &client, &err);
        if (st == KMS_OK)
            st = kms_address_parse(rows[i].address, &address, &err);
        if (st == KMS_OK)
            st = kms_client_key(client, &address, &key, &err);
        if (st != rows[i].status)
            fail_msg("row %zu: %s (%s)", i, kms_status_name(st), err.detail);
        assert_int_equal(atomic_load(&look_ups) > 0, st == KMS_E_UNREACHABLE);
        kms_address_clear(&address);
        kms_client_close(client);
        unsetenv(rows[i].variable);
        unlink(path);
    }
    setenv("AWS_ENDPOINT_URL_KMS", server.url, 1);
    setenv("AWS_REGION", "eu-central-1", 1);
}

static void a_resolver_that_hangs_costs_no_more_than_the_deadline(void **state)
{
    int line[2];
    struct timespec start;
    kms_error err = {0};

    (void)state;
    assert_int_equal(pipe(line), 0);
    resolver_hangs = line[0];
    unsetenv("AWS_ENDPOINT_URL_KMS");
    clock_gettime(CLOCK_MONOTONIC, &start);
    kms_status st = work("connect_timeout_ms = 200\nattempt_timeout_ms = 300\n"
                         "operation_timeout_ms = 700\n",
                         "x", &err);
    double waited = seconds_since(&start);
    assert_int_equal(write(line[1], "xxxxxxxxxx", 10), 10); /* lets the look-ups go */
    setenv("AWS_ENDPOINT_URL_KMS", server.url, 1);
    expect(st, KMS_E_TIMEOUT, &err);
    assert_true(waited < 3);
    close(line[1]);
}

/* ---- the clock ---- */

static void a_clock_that_is_wrong_is_corrected_by_the_servers(void **state)
{
    static const time_t errors[] = {-1800, 1800};
    kms_error err = {0};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        clock_error = errors[i];
        test_server_reset(&server);
        kms_status st = work("", "x", &err);
        clock_error = 0;
        expect(st, KMS_OK, &err);
        assert_int_equal(test_server_count(&server, "DescribeKey"), 2); /* refused, then right */
        assert_int_equal(test_server_count(&server, "Encrypt"), 1);
    }
}

static void a_clock_that_is_right_is_not_corrected_for_a_wrong_key(void **state)
{
    kms_error err = {0};

    (void)state;
    setenv("AWS_SECRET_ACCESS_KEY", "wrong", 1);
    test_server_reset(&server);
    kms_status st = work("", "x", &err);
    setenv("AWS_SECRET_ACCESS_KEY", "local", 1);
    expect(st, KMS_E_SIGNATURE, &err);
    assert_int_equal(test_server_count(&server, "DescribeKey"), 1);
}

static int set_up(void **state)
{
    const char *const options[] = {"--tls-self-signed", folder, NULL};

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(certificate, sizeof(certificate), "%s/cert.pem", folder);
    snprintf(keylog, sizeof(keylog), "%s/keylog", folder);
    clear_environment();
    setenv("HOME", "/nonexistent", 1);
    test_server_start(&server, options);
    /* Before libcurl is initialised, but not for the server, which would heed it too. */
    setenv("SSLKEYLOGFILE", keylog, 1);
    setenv("AWS_CA_BUNDLE", certificate, 1);
    return 0;
}

static int tear_down(void **state)
{
    char path[64];

    (void)state;
    test_server_stop(&server);
    snprintf(path, sizeof(path), "%s/key.pem", folder);
    unlink(path);
    unlink(certificate);
    unlink(keylog);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_nobody_vouches_for_is_refused),
        cmocka_unit_test(a_bundle_that_can_not_be_read_is_refused),
        cmocka_unit_test(a_bundle_takes_the_place_of_the_systems_authorities),
        cmocka_unit_test(a_server_that_speaks_no_tls_is_called_so),
        cmocka_unit_test(tls_below_1_2_is_refused),
        cmocka_unit_test(session_secrets_are_never_written_down),
        cmocka_unit_test(the_applications_error_queue_stays_as_it_is),
        cmocka_unit_test(marks_in_the_error_queue_survive),
        cmocka_unit_test(a_connection_that_breaks_raises_no_signal),
        cmocka_unit_test(programs_started_meanwhile_inherit_no_connection),
        cmocka_unit_test(descriptors_do_not_pile_up),
        cmocka_unit_test(a_memory_lock_limit_of_64_kib_is_enough),
        cmocka_unit_test(loopback_is_never_reached_by_way_of_a_proxy),
        cmocka_unit_test(no_name_is_looked_up_for_a_region_outside_the_set),
        cmocka_unit_test(a_resolver_that_hangs_costs_no_more_than_the_deadline),
        cmocka_unit_test(a_clock_that_is_wrong_is_corrected_by_the_servers),
        cmocka_unit_test(a_clock_that_is_right_is_not_corrected_for_a_wrong_key),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
