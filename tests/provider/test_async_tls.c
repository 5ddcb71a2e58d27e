/* TLS servers with SSL_MODE_ASYNC and a key in KMS: one thread, an event loop, many handshakes. */
#include "tests/provider/handshake.h"
#include "tests/provider/job.h"

#include <dirent.h>
#include <malloc.h>
#include <openssl/err.h>
#include <time.h>

#define PAIRS  64
#define ABORTS 1000

static test_server server;

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

typedef struct fixture {
    application app;
    EVP_PKEY *key, *client_key;
    sides sides;
} fixture;

static fixture open_fixture(int version)
{
    fixture f = {.app = application_open()};

    f.key = application_key(&f.app, "kms:alias/p256");
    f.client_key = application_software_key(&f.app, "P-256");
    const meeting how = {.server = f.key, .client = f.client_key, .version = version};
    f.sides = sides_open(&f.app, &how);
    SSL_CTX_set_mode(f.sides.server, SSL_MODE_ASYNC);
    test_server_reset(&server);
    return f;
}

static void close_fixture(fixture *f)
{
    sides_close(&f->sides);
    EVP_PKEY_free(f->client_key);
    EVP_PKEY_free(f->key);
    application_close(&f->app);
}

/* One connection in the event loop. */
typedef struct connection {
    pair pair;
    void *fiber;
    bool waits; /* for KMS */
    int resumes;
} connection;

static connection connection_open(const fixture *f)
{
    return (connection){.pair = pair_open(&f->sides), .fiber = job_fiber_new()};
}

static void connection_close(connection *c)
{
    pair_close(&c->pair);
    if (!c->waits)
        job_fiber_free(c->fiber);
}

/* Both sides go on until they can't. */
static void advance(connection *c)
{
    for (int i = 0; i < 10 && !pair_is_connected(&c->pair); i++) {
        if (!c->waits)
            SSL_do_handshake(c->pair.client);
        void *previous = job_fiber_enter(c->fiber);
        int result = SSL_do_handshake(c->pair.server);
        job_fiber_leave(previous);
        int error = SSL_get_error(c->pair.server, result);
        c->waits = error == SSL_ERROR_WANT_ASYNC;
        if (c->waits || error == SSL_ERROR_SSL)
            return;
    }
}

static int descriptor(const connection *c)
{
    OSSL_ASYNC_FD fd = -1;
    size_t count = 0;

    assert_int_equal(SSL_waiting_for_async(c->pair.server), 1);
    assert_int_equal(SSL_get_all_async_fds(c->pair.server, NULL, &count), 1);
    assert_int_equal(count, 1);
    assert_int_equal(SSL_get_all_async_fds(c->pair.server, &fd, &count), 1);
    return fd;
}

static void connect_all(connection *all, size_t count)
{
    struct pollfd fds[PAIRS];
    size_t waiting = 0;

    for (size_t i = 0; i < count; i++) {
        advance(&all[i]);
        waiting += all[i].waits;
        fds[i] = (struct pollfd){.fd = all[i].waits ? descriptor(&all[i]) : -1, .events = POLLIN};
    }
    while (waiting > 0) {
        if (poll(fds, count, 20000) <= 0)
            fail_msg("%zu handshakes wait for nothing", waiting);
        for (size_t i = 0; i < count; i++) {
            if (fds[i].revents == 0)
                continue;
            all[i].resumes++;
            advance(&all[i]);
            if (!all[i].waits) {
                fds[i].fd = -1;
                waiting--;
            }
        }
    }
}

static void one_thread_has_many_handshakes_in_flight(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    connection all[PAIRS];

    (void)state;
    for (size_t v = 0; v < 2; v++) {
        fixture f = open_fixture(versions[v]);
        double took[3];
        /* Connections to KMS are made; then one handshake alone, then all. */
        for (size_t round = 0; round < 3; round++) {
            const size_t count = round == 1 ? 1 : PAIRS;
            test_server_latency(&server, round == 0 ? 0 : 400);
            for (size_t i = 0; i < count; i++)
                all[i] = connection_open(&f);
            took[round] = seconds();
            connect_all(all, count);
            took[round] = seconds() - took[round];
            for (size_t i = 0; i < count; i++) {
                pair_talk(&all[i].pair);
                assert_in_range(all[i].resumes, 0, 20);
                connection_close(&all[i]);
            }
        }
        print_message("one %.1f ms, %d together %.1f ms\n", took[1] * 1e3, PAIRS, took[2] * 1e3);
        assert_true(took[2] < 5 * took[1]);
        assert_int_equal(requests(&server), 2 * PAIRS + 1);
        test_server_latency(&server, 0);
        close_fixture(&f);
        assert_no_error();
    }
}

/* KMS refuses: the handshake ends, and the next is served. */
static void a_failure_in_kms_ends_one_handshake(void **state)
{
    fixture f = open_fixture(TLS1_3_VERSION);
    connection c = connection_open(&f);

    (void)state;
    test_server_faults(&server, "[\"Sign:AccessDeniedException:1\"]");
    connect_all(&c, 1);
    assert_false(pair_is_connected(&c.pair));
    assert_first_error("access denied by AWS", "Sign");
    connection_close(&c);
    test_server_faults(&server, "[]");
    c = connection_open(&f);
    connect_all(&c, 1);
    pair_talk(&c.pair);
    connection_close(&c);
    close_fixture(&f);
}

/* ---- clients that go away while the job waits ---- */

static size_t open_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    size_t count = 0;

    assert_non_null(folder);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

/* A line of /proc/self/status in kB. */
static long status_kb(const char *name)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long value = -1;

    assert_non_null(file);
    while (value < 0 && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtol(line + strlen(name) + 1, NULL, 10);
    fclose(file);
    assert_true(value >= 0);
    return value;
}

/* What is allocated: as asan counts it, where it is in the process. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t allocated(void)
{
    if (__sanitizer_get_current_allocated_bytes != NULL)
        return __sanitizer_get_current_allocated_bytes();
    return mallinfo2().uordblks;
}

/* OpenSSL never frees the job of an SSL that is freed while it is paused. These keep asan from
 * calling that a leak of ours, and all that is on their stacks. */
static ASYNC_JOB *abandoned[2 * ABORTS + 64];
static size_t abandoned_count;

static int note_job(SSL *ssl, void *arg)
{
    (void)ssl;
    (void)arg;
    abandoned[abandoned_count++] = ASYNC_get_current_job();
    return 1;
}

/* The same without KMS: what it costs OpenSSL alone. */
static int note_job_and_pause(SSL *ssl, void *arg)
{
    note_job(ssl, arg);
    ASYNC_pause_job();
    return 1;
}

/* Steps into the wait for KMS, then frees both sides. Bytes that stay for each. */
static long abandon(const fixture *f, int count, int resumes)
{
    size_t before = allocated();

    for (int i = 0; i < count; i++) {
        connection c = connection_open(f);
        advance(&c);
        assert_true(c.waits);
        for (int k = 0; k < resumes; k++) {
            struct pollfd fd = {.fd = descriptor(&c), .events = POLLIN};
            if (poll(&fd, 1, 5) == 1)
                advance(&c);
            assert_true(c.waits);
        }
        connection_close(&c);
    }
    return ((long)allocated() - (long)before) / count;
}

static void abandoned_handshakes_leave_nothing_of_ours(void **state)
{
    (void)state;
    test_server_faults(&server, "[]");
    fixture f = open_fixture(TLS1_3_VERSION);
    test_server_latency(&server, 2000);
    ASYNC_cleanup_thread(); /* the jobs that were over, which would be taken first */
    SSL_CTX_set_cert_cb(f.sides.server, note_job_and_pause, NULL);
    abandon(&f, 10, 0);
    long theirs = abandon(&f, 200, 0);
    SSL_CTX_set_cert_cb(f.sides.server, note_job, NULL);
    abandon(&f, 20, 1);
    size_t descriptors = open_descriptors();
    long locked = status_kb("VmLck:");
    long ours = abandon(&f, ABORTS / 2, 0); /* before the request is out */
    ours = (ours + abandon(&f, ABORTS / 2, 1)) / 2;
    print_message("%ld bytes stay for each, %ld without KMS\n", ours, theirs);
    assert_int_equal(open_descriptors(), descriptors);
    assert_int_equal(status_kb("VmLck:"), locked);
    assert_true(ours - theirs < 4096);
    /* And all goes on. */
    test_server_latency(&server, 0);
    connection c = connection_open(&f);
    connect_all(&c, 1);
    pair_talk(&c.pair);
    connection_close(&c);
    close_fixture(&f);
    assert_no_error();
}

static int set_up(void **state)
{
    static const char *const options[] = {"--seed-key", "alias/p256:ECC_NIST_P256:SIGN_VERIFY",
                                          NULL};

    (void)state;
    test_server_start(&server, options);
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
        cmocka_unit_test(one_thread_has_many_handshakes_in_flight),
        cmocka_unit_test(a_failure_in_kms_ends_one_handshake),
        cmocka_unit_test(abandoned_handshakes_leave_nothing_of_ours),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
