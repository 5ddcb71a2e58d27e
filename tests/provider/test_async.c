/* Operations inside of OpenSSL ASYNC jobs: many wait for KMS on one thread. */
#include "tests/provider/application.h"
#include "tests/provider/job.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOBS 64

static test_server server;

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- a signature as a job ---- */

typedef struct signing {
    const application *app;
    EVP_PKEY *key;
    char message[32];
    bytes signature;
} signing;

static int sign(void *arg)
{
    signing *s = arg;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    s->signature.len = sizeof(s->signature.data);
    int ok = EVP_DigestSignInit_ex(ctx, NULL, NULL, s->app->libctx, NULL, s->key, NULL) == 1 &&
             EVP_DigestSign(ctx, s->signature.data, &s->signature.len,
                            (const unsigned char *)s->message, strlen(s->message)) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

/* By the ordinary public half, outside of our code. */
static bool verifies(const signing *s, EVP_PKEY *ordinary)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, ordinary, NULL) == 1 &&
              EVP_DigestVerify(ctx, s->signature.data, s->signature.len,
                               (const unsigned char *)s->message, strlen(s->message)) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

/* A key, and jobs that sign a message of their own with it. */
typedef struct fixture {
    application app;
    EVP_PKEY *key, *ordinary;
    signing signings[JOBS];
    job jobs[JOBS];
    size_t count;
} fixture;

static void new_jobs(fixture *f, size_t count)
{
    f->count = count;
    for (size_t i = 0; i < count; i++) {
        f->signings[i] = (signing){.app = &f->app, .key = f->key};
        snprintf(f->signings[i].message, sizeof(f->signings[i].message), "message %zu", i);
        f->jobs[i] = job_new(sign, &f->signings[i]);
    }
}

static void free_jobs(fixture *f)
{
    for (size_t i = 0; i < f->count; i++)
        job_free(&f->jobs[i]);
    f->count = 0;
}

static bool all_verify(const fixture *f)
{
    bool ok = true;

    for (size_t i = 0; i < f->count; i++)
        ok = ok && verifies(&f->signings[i], f->ordinary);
    return ok;
}

/* On the heap: it is too large for a stack that has other things to hold. */
static fixture *open_fixture(const char *uri, size_t count)
{
    fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->app = application_open();
    f->key = application_key(&f->app, uri);
    f->ordinary = ordinary_public(f->key);
    new_jobs(f, count);
    test_server_reset(&server);
    return f;
}

static void close_fixture(fixture *f)
{
    free_jobs(f);
    assert_no_error();
    EVP_PKEY_free(f->ordinary);
    EVP_PKEY_free(f->key);
    application_close(&f->app);
    free(f);
}

/* ---- many at once ---- */

/* One alone, and JOBS together, both with connections that are there already. */
static void many_jobs_of_one_thread_take_little_longer_than_one(void **state)
{
    fixture *f = open_fixture("kms:alias/p256", JOBS);
    double one, all;

    (void)state;
    assert_true(jobs_finish(f->jobs, JOBS));
    free_jobs(f);
    test_server_latency(&server, 20);
    new_jobs(f, 1);
    one = seconds();
    assert_true(jobs_finish(f->jobs, 1));
    one = seconds() - one;
    free_jobs(f);
    new_jobs(f, JOBS);
    all = seconds();
    assert_true(jobs_finish(f->jobs, JOBS));
    all = seconds() - all;
    print_message("one %.1f ms, %d together %.1f ms\n", one * 1e3, JOBS, all * 1e3);
    assert_true(all < 5 * one);
    assert_true(all_verify(f));
    assert_int_equal(requests(&server), 2 * JOBS + 1);
    test_server_latency(&server, 0);
    close_fixture(f);
}

static void every_kind_of_key_signs_in_a_job(void **state)
{
    static const char *const keys[] = {"kms:alias/rsa", "kms:alias/p256", "kms:alias/ed"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        fixture *f = open_fixture(keys[i], 8);
        assert_true(jobs_finish(f->jobs, 8));
        assert_true(all_verify(f));
        assert_int_equal(requests(&server), 8);
        close_fixture(f);
    }
}

/* What a job opened serves the next, and those who block, and the other way round. */
static void jobs_and_blocking_use_share_the_connections(void **state)
{
    fixture *f = open_fixture("kms:alias/p256", 8);
    signing blocking = {.app = &f->app, .key = f->key, .message = "not in a job"};

    (void)state;
    test_server_latency(&server, 100); /* all are on their way at once */
    network_attempts();
    assert_true(jobs_finish(f->jobs, 8));
    assert_int_equal(network_attempts(), 7); /* loading the key left one */
    test_server_latency(&server, 0);
    network_attempts(); /* forgets that one */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sign(&blocking), 1);
        assert_true(verifies(&blocking, f->ordinary));
        free_jobs(f);
        new_jobs(f, 8);
        assert_true(jobs_finish(f->jobs, 8));
        assert_true(all_verify(f));
    }
    assert_int_equal(network_attempts(), 0);
    close_fixture(f);
}

/* ---- the descriptor ---- */

/* Starts them, and resumes whose descriptors are readable, until KMS has their requests. */
static void step_until_asked(job *jobs, long count, const char *operation)
{
    double start = seconds();

    for (long i = 0; i < count; i++)
        if (jobs[i].async == NULL)
            assert_false(job_step(&jobs[i]));
    while (test_server_count(&server, operation) < count) {
        assert_true(seconds() - start < 20);
        for (long i = 0; i < count; i++)
            if (job_is_ready(&jobs[i], 0))
                assert_false(job_step(&jobs[i]));
    }
}

static void the_descriptor_is_readable_exactly_when_there_is_work(void **state)
{
    fixture *f = open_fixture("kms:alias/p256", 1);
    job *j = &f->jobs[0];

    (void)state;
    test_server_latency(&server, 400);
    double asked = seconds();
    step_until_asked(j, 1, "Sign");
    int fd = job_descriptor(j);
    assert_false(job_is_ready(j, 100)); /* the server still sleeps */
    assert_true(jobs_finish(j, 1));
    assert_true(seconds() - asked >= 0.3);
    assert_true(all_verify(f));
    assert_in_range(j->steps, 2, 20); /* no turning in circles */
    assert_int_equal(requests(&server), 1);
    /* Another operation in the same wait context: the same descriptor, silent in between. */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(job_descriptor(j), fd);
        assert_false(job_is_ready(j, 0));
        j->finished = false;
        assert_true(jobs_finish(j, 1));
        assert_true(all_verify(f));
        test_server_latency(&server, 0);
    }
    test_server_latency(&server, 0);
    close_fixture(f);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void resumes_without_work_change_nothing(void **state)
{
    fixture *f = open_fixture("kms:alias/p256", 1);

    (void)state;
    test_server_latency(&server, 200);
    for (int i = 0; i < 50; i++)
        assert_false(job_step(&f->jobs[0]));
    assert_true(jobs_finish(f->jobs, 1));
    assert_true(all_verify(f));
    assert_int_equal(requests(&server), 1);
    test_server_latency(&server, 0);
    close_fixture(f);
}

/* ---- where pausing is not wanted ---- */

static int sign_without_a_pause(void *arg)
{
    ASYNC_block_pause();
    int ok = sign(arg);
    ASYNC_unblock_pause();
    return ok;
}

static void a_job_that_may_not_pause_does_not(void **state)
{
    fixture *f = open_fixture("kms:alias/p256", 1);

    (void)state;
    test_server_latency(&server, 50);
    f->jobs[0].work = sign_without_a_pause;
    assert_true(job_step(&f->jobs[0]));
    assert_int_equal(f->jobs[0].result, 1);
    assert_true(all_verify(f));
    test_server_latency(&server, 0);
    close_fixture(f);
}

static int never_called(void *arg)
{
    (void)arg;
    return 0;
}

/* Somebody who waits for a callback polls no descriptor, and nobody would call. */
static void an_application_that_wants_a_callback_is_not_left_waiting(void **state)
{
    fixture *f = open_fixture("kms:alias/p256", 1);

    (void)state;
    assert_int_equal(ASYNC_WAIT_CTX_set_callback(f->jobs[0].wait, never_called, NULL), 1);
    assert_true(job_step(&f->jobs[0]));
    assert_int_equal(f->jobs[0].result, 1);
    assert_true(all_verify(f));
    close_fixture(f);
}

/* ---- what the thread has meanwhile ---- */

static void the_thread_has_its_own_context_and_errors_while_a_job_waits(void **state)
{
    fixture *f = open_fixture("kms:alias/p256", 4);
    OSSL_LIB_CTX *mine = OSSL_LIB_CTX_new();
    OSSL_LIB_CTX *before = OSSL_LIB_CTX_set0_default(mine);
    bool over = false;

    (void)state;
    while (!over) {
        over = true;
        for (size_t i = 0; i < 4; i++) {
            ERR_raise(ERR_LIB_USER, 7);
            over &= f->jobs[i].finished || job_step(&f->jobs[i]);
            assert_ptr_equal(OSSL_LIB_CTX_set0_default(mine), mine);
            assert_int_equal(ERR_GET_REASON(ERR_get_error()), 7);
            assert_no_error();
        }
    }
    OSSL_LIB_CTX_set0_default(before);
    OSSL_LIB_CTX_free(mine);
    assert_true(all_verify(f));
    close_fixture(f);
}

/* ---- what goes wrong ---- */

static void each_failure_is_told_by_a_job_as_by_any_other(void **state)
{
    static const struct {
        const char *fault, *sentence;
    } rows[] = {
        {"ThrottlingException", "KMS is throttling requests"},
        {"KMSInternalException", "KMS has an internal failure"},
        {"AccessDeniedException", "access denied by AWS"},
        {"garbage", "reply of KMS is not valid"},
        {"truncate", "reply of KMS is not valid"},
        {"huge", "reply is larger than allowed"},
        {"wrong-keyid", "reply comes from another key than asked"},
        {"reset", "KMS is unreachable"},
        {"reset-after", "KMS is unreachable"},
        {"slow", "KMS did not answer in time"},
    };

    (void)state;
    use_settings("attempt_timeout_ms = 300\nmax_attempts = 2\n");
    fixture *f = open_fixture("kms:alias/p256", 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char fault[128];
        print_message("%s\n", rows[i].fault);
        snprintf(fault, sizeof(fault), "[\"Sign:%s:1\"]", rows[i].fault);
        test_server_faults(&server, fault);
        new_jobs(f, 4);
        for (size_t k = 0; k < 4; k++) {
            assert_false(jobs_finish(&f->jobs[k], 1));
            assert_only_error(rows[i].sentence, "");
        }
        /* And at once, where no failure holds up the others. */
        free_jobs(f);
        new_jobs(f, 8);
        assert_false(jobs_finish(f->jobs, 8));
        ERR_clear_error();
        free_jobs(f);
    }
    test_server_faults(&server, "[]");
    new_jobs(f, 8);
    assert_true(jobs_finish(f->jobs, 8));
    assert_true(all_verify(f));
    close_fixture(f);
    use_settings(NULL);
}

/* Each waits up to half a second and then up to one: one after the other this took most of a
 * minute. */
static void jobs_that_are_throttled_wait_together(void **state)
{
    double start;

    (void)state;
    fixture *f = open_fixture("kms:alias/p256", 48);
    test_server_faults(&server, "[\"Sign:ThrottlingException:1\"]");
    start = seconds();
    assert_false(jobs_finish(f->jobs, 48));
    assert_true(seconds() - start < 12);
    assert_int_equal(test_server_count(&server, "Sign"), 3 * 48);
    ERR_clear_error();
    test_server_faults(&server, "[]");
    close_fixture(f);
}

/* ---- keys ---- */

static int load_key(void *arg)
{
    const fixture *f = arg;
    EVP_PKEY *key = application_try_key(&f->app, "kms:alias/rsa");

    EVP_PKEY_free(key);
    return key != NULL;
}

static void *load_key_in_a_thread(void *arg)
{
    return load_key(arg) == 1 ? NULL : arg;
}

/* Nobody waits for a job to load a key, since it may never be resumed; and it waits for nobody. */
static void jobs_load_keys_without_waiting_for_one_another(void **state)
{
    fixture *f = open_fixture("kms:alias/p256", 0);
    job paused = job_new(load_key, f), other = job_new(load_key, f);
    pthread_t thread;
    void *failed = NULL;

    (void)state;
    test_server_latency(&server, 300);
    step_until_asked(&paused, 1, "DescribeKey");
    assert_int_equal(pthread_create(&thread, NULL, load_key_in_a_thread, f), 0);
    assert_true(jobs_finish(&other, 1));
    pthread_join(thread, &failed);
    assert_null(failed);
    assert_true(jobs_finish(&paused, 1));
    /* All of them are served by what the first got. */
    test_server_reset(&server);
    assert_int_equal(load_key(f), 1);
    assert_int_equal(requests(&server), 0);
    test_server_latency(&server, 0);
    job_free(&paused);
    job_free(&other);
    close_fixture(f);
}

/* ---- the stack of a job, which is OpenSSL's: 32 KiB ---- */

#define PAINTED ((size_t)28 * 1024)
#define PAINT   0xa5

/* The sanitizers make frames larger. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DEPTH_MAX PAINTED
#else
#define DEPTH_MAX ((size_t)20 * 1024)
#endif

#if defined(__has_attribute)
#if __has_attribute(no_sanitize)
#define UNCHECKED __attribute__((noinline, no_sanitize("address", "undefined", "thread")))
#endif
#endif
#ifndef UNCHECKED
#define UNCHECKED __attribute__((noinline))
#endif

typedef struct measured {
    job_work *work;
    void *arg;
    size_t depth;
} measured;

UNCHECKED static void paint(volatile unsigned char *bottom, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bottom[i] = PAINT;
}

UNCHECKED static size_t unpainted(const volatile unsigned char *bottom, size_t len)
{
    size_t i = 0;

    while (i < len && bottom[i] == PAINT)
        i++;
    return len - i;
}

UNCHECKED static int measure(void *arg)
{
    measured *m = arg;
    unsigned char *bottom = (unsigned char *)__builtin_frame_address(0) - PAINTED;

    paint(bottom, PAINTED - 512); /* not over this frame and paint's */
    int result = m->work(m->arg);
    m->depth = unpainted(bottom, PAINTED - 512) + 512;
    return result;
}

typedef struct wrapping {
    const application *app;
    EVP_PKEY *key;
    bytes wrapped;
} wrapping;

static int load_and_wrap(void *arg)
{
    static const bytes plain = {"secret", 6}; /* not on the stack */
    wrapping *w = arg;

    w->key = application_try_key(w->app, KEY);
    return w->key != NULL && wrap(w->app, w->key, CONTEXT, &plain, &w->wrapped);
}

/* Connections by TLS go deepest, the first of all. */
static void connections_by_tls_fit_on_a_job_s_stack(void **state)
{
    tls_server secure;

    (void)state;
    tls_start(&secure);
    setenv("AWS_CA_BUNDLE", secure.certificate, 1);
    application app = application_open();
    wrapping w[8] = {0};
    measured m[8];
    job jobs[8];
    for (size_t i = 0; i < 8; i++) {
        w[i].app = &app;
        m[i] = (measured){.work = load_and_wrap, .arg = &w[i]};
        jobs[i] = job_new(measure, &m[i]);
    }
    assert_true(jobs_finish(jobs, 8));
    for (size_t i = 0; i < 8; i++) {
        bytes back;
        print_message("%zu bytes deep, %d steps\n", m[i].depth, jobs[i].steps);
        assert_true(m[i].depth < DEPTH_MAX);
        assert_true(unwrap(&app, w[i].key, CONTEXT, &w[i].wrapped, &back));
        assert_memory_equal(back.data, "secret", 6);
        EVP_PKEY_free(w[i].key);
        job_free(&jobs[i]);
    }
    assert_no_error();
    application_close(&app);
    tls_stop(&secure, &server);
}

static void signatures_fit_on_a_job_s_stack(void **state)
{
    static const char *const keys[] = {"kms:alias/rsa", "kms:alias/p256", "kms:alias/ed"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        fixture *f = open_fixture(keys[i], 1);
        measured m = {.work = sign, .arg = &f->signings[0]};
        f->jobs[0].work = measure;
        f->jobs[0].arg = &m;
        assert_true(jobs_finish(f->jobs, 1));
        print_message("%s: %zu bytes deep\n", keys[i], m.depth);
        assert_true(m.depth < DEPTH_MAX);
        assert_true(all_verify(f));
        close_fixture(f);
    }
}

/* ---- forks ---- */

/* After a fork tsan looks away in the thread that forked, but not in what it takes for others: it
 * would see locks taken and never given back. */
#ifndef __SANITIZE_THREAD__

/* In the child: what the parent's jobs were doing is done anew, or given up. The parent may have
 * taken the events that they waited for, so they are resumed without. */
static int use_in_child(fixture *f)
{
    job_free(&f->jobs[0]);
    for (size_t i = 1; i < f->count; i++)
        job_step(&f->jobs[i]);
    if (!jobs_finish(f->jobs + 1, f->count - 1))
        return 1;
    for (size_t i = 1; i < f->count; i++)
        if (!verifies(&f->signings[i], f->ordinary))
            return 2;
    f->jobs[0] = job_new(sign, &f->signings[0]);
    return jobs_finish(f->jobs, 1) && verifies(&f->signings[0], f->ordinary) ? 0 : 3;
}

static void a_fork_leaves_paused_jobs_to_both_sides(void **state)
{
    fixture *f = open_fixture("kms:alias/p256", 8);
    int status;

    (void)state;
    assert_true(jobs_finish(f->jobs, 8));
    free_jobs(f);
    new_jobs(f, 8);
    test_server_reset(&server);
    test_server_latency(&server, 300);
    step_until_asked(f->jobs, 8, "Sign");
    network_attempts(); /* forgets those of the counting */
    pid_t child = fork();
    if (child == 0)
        _exit(use_in_child(f));
    assert_true(child > 0);
    assert_true(jobs_finish(f->jobs, 8));
    assert_int_equal(network_attempts(), 0);
    assert_true(all_verify(f));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    /* The parent's connections are as they were. */
    free_jobs(f);
    new_jobs(f, 8);
    network_attempts();
    assert_true(jobs_finish(f->jobs, 8));
    assert_int_equal(network_attempts(), 0);
    assert_int_equal(test_server_count(&server, "Sign"), 3 * 8);
    test_server_latency(&server, 0);
    close_fixture(f);
}
#endif

/* ---- threads ---- */

#define THREADS 4
#define ROUNDS  8
#define EACH    8

static void *run_jobs(void *arg)
{
    const fixture *f = arg;
    signing signings[EACH];
    job jobs[EACH];
    bool ok = true;

    for (int round = 0; ok && round < ROUNDS; round++) {
        for (size_t i = 0; i < EACH; i++) {
            signings[i] = (signing){.app = &f->app, .key = f->key};
            snprintf(signings[i].message, sizeof(signings[i].message), "round %d, job %zu", round,
                     i);
            jobs[i] = job_new(sign, &signings[i]);
        }
        ok = jobs_finish(jobs, EACH);
        for (size_t i = 0; i < EACH; i++) {
            ok = ok && verifies(&signings[i], f->ordinary);
            job_free(&jobs[i]);
        }
    }
    ASYNC_cleanup_thread();
    return ok ? NULL : arg;
}

static void *run_blocking(void *arg)
{
    const fixture *f = arg;
    bool ok = true;

    for (int round = 0; ok && round < ROUNDS * EACH; round++) {
        signing s = {.app = &f->app, .key = f->key};
        snprintf(s.message, sizeof(s.message), "round %d", round);
        ok = sign(&s) == 1 && verifies(&s, f->ordinary);
    }
    return ok ? NULL : arg;
}

static void threads_with_jobs_and_threads_that_block_get_along(void **state)
{
    fixture *f = open_fixture("kms:alias/p256", 0);
    pthread_t threads[2 * THREADS];

    (void)state;
    for (int i = 0; i < 2 * THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i % 2 == 0 ? run_jobs : run_blocking, f),
                         0);
    for (int i = 0; i < 2 * THREADS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(requests(&server), 2 * THREADS * ROUNDS * EACH);
    close_fixture(f);
}

static int set_up(void **state)
{
    static const char *const options[] = {
        "--seed-key", "alias/rsa:RSA_2048:SIGN_VERIFY",
        "--seed-key", "alias/p256:ECC_NIST_P256:SIGN_VERIFY",
        "--seed-key", "alias/ed:ECC_NIST_EDWARDS25519:SIGN_VERIFY",
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
        cmocka_unit_test(many_jobs_of_one_thread_take_little_longer_than_one),
        cmocka_unit_test(every_kind_of_key_signs_in_a_job),
        cmocka_unit_test(jobs_and_blocking_use_share_the_connections),
        cmocka_unit_test(the_descriptor_is_readable_exactly_when_there_is_work),
        cmocka_unit_test(resumes_without_work_change_nothing),
        cmocka_unit_test(a_job_that_may_not_pause_does_not),
        cmocka_unit_test(an_application_that_wants_a_callback_is_not_left_waiting),
        cmocka_unit_test(the_thread_has_its_own_context_and_errors_while_a_job_waits),
        cmocka_unit_test(each_failure_is_told_by_a_job_as_by_any_other),
        cmocka_unit_test(jobs_that_are_throttled_wait_together),
        cmocka_unit_test(jobs_load_keys_without_waiting_for_one_another),
        cmocka_unit_test(signatures_fit_on_a_job_s_stack),
        cmocka_unit_test(connections_by_tls_fit_on_a_job_s_stack),
#ifndef __SANITIZE_THREAD__
        cmocka_unit_test(a_fork_leaves_paused_jobs_to_both_sides),
#endif
        cmocka_unit_test(threads_with_jobs_and_threads_that_block_get_along),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
