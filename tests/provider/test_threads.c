/* Threads and forks: first use, use at once, and use on both sides of a fork. */
#include "tests/provider/application.h"

#include <openssl/err.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 32
#define ROUNDS  10

static test_server server;

typedef struct fixture {
    application app;
    EVP_PKEY *key;
} fixture;

static fixture open_fixture(void)
{
    fixture f = {.app = application_open()};

    f.key = application_key(&f.app, KEY);
    return f;
}

static void close_fixture(fixture *f)
{
    EVP_PKEY_free(f->key);
    application_close(&f->app);
}

/* Runs work in all threads with the same argument; each must return NULL. */
static void in_threads(int count, void *(*work)(void *), void *arg)
{
    pthread_t threads[THREADS];

    for (int i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, arg), 0);
    for (int i = 0; i < count; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        if (failed != NULL)
            fail_msg("thread %d: %s", i, (const char *)failed);
    }
}

/* NULL, or what failed. */
static const char *round_trip(const fixture *f, const char *context, const char *text)
{
    bytes plain = bytes_of(text), wrapped, back;

    if (!wrap(&f->app, f->key, context, &plain, &wrapped))
        return "wrap";
    if (!unwrap(&f->app, f->key, context, &wrapped, &back))
        return "unwrap";
    if (back.len != plain.len || memcmp(back.data, plain.data, plain.len) != 0)
        return "another's answer";
    return NULL;
}

static void *load_and_use(void *arg)
{
    const application *app = arg;
    fixture f = {.app = *app, .key = application_try_key(app, KEY)};
    const char *failed = f.key == NULL ? "load" : round_trip(&f, CONTEXT, "secret");

    EVP_PKEY_free(f.key);
    return (void *)(uintptr_t)failed;
}

static void many_first_users_ask_for_the_key_once(void **state)
{
    application app = application_open();

    (void)state;
    test_server_reset(&server);
    in_threads(THREADS, load_and_use, &app);
    assert_int_equal(test_server_count(&server, "DescribeKey"), 1);
    assert_int_equal(test_server_count(&server, "Encrypt"), THREADS);
    assert_int_equal(test_server_count(&server, "Decrypt"), THREADS);
    application_close(&app);
}

static void *use_with_a_context_of_its_own(void *arg)
{
    static atomic_int next;
    int mine = atomic_fetch_add(&next, 1);
    const char *failed = NULL;
    char context[96], text[32];

    snprintf(context, sizeof(context), "{\"dataType\":\"credentials\",\"operationId\":\"op-%d\"}",
             mine);
    for (int i = 0; failed == NULL && i < ROUNDS; i++) {
        snprintf(text, sizeof(text), "secret %d of %d", i, mine);
        failed = round_trip(arg, context, text);
    }
    return (void *)(uintptr_t)failed;
}

static void threads_share_a_key_and_get_their_own_answers(void **state)
{
    fixture f = open_fixture();

    (void)state;
    in_threads(THREADS, use_with_a_context_of_its_own, &f);
    close_fixture(&f);
}

/* ---- signatures ---- */

/* NULL, or what failed: a signature over a text that the public half verifies. */
static const char *sign_and_verify(const application *app, EVP_PKEY *key, const char *text)
{
    EVP_MD_CTX *sign = EVP_MD_CTX_new(), *verify = EVP_MD_CTX_new();
    bytes message = bytes_of(text), signature = {.len = sizeof(signature.data)};
    const char *failed = NULL;

    if (EVP_DigestSignInit_ex(sign, NULL, NULL, app->libctx, NULL, key, NULL) != 1 ||
        EVP_DigestSign(sign, signature.data, &signature.len, message.data, message.len) != 1)
        failed = "sign";
    else if (EVP_DigestVerifyInit_ex(verify, NULL, NULL, app->libctx, NULL, key, NULL) != 1 ||
             EVP_DigestVerify(verify, signature.data, signature.len, message.data, message.len) !=
                 1)
        failed = "another's signature";
    EVP_MD_CTX_free(verify);
    EVP_MD_CTX_free(sign);
    return failed;
}

static const char *const signers[] = {"kms:alias/p256", "kms:alias/rsa", "kms:alias/ed"};

static void *load_and_sign(void *arg)
{
    static atomic_int next;
    const application *app = arg;
    EVP_PKEY *key = application_try_key(app, signers[atomic_fetch_add(&next, 1) % 3]);
    const char *failed = key == NULL ? "load" : sign_and_verify(app, key, "a message");

    EVP_PKEY_free(key);
    return (void *)(uintptr_t)failed;
}

static void many_first_signers_ask_for_each_key_once(void **state)
{
    application app = application_open();

    (void)state;
    test_server_reset(&server);
    in_threads(THREADS, load_and_sign, &app);
    assert_int_equal(test_server_count(&server, "DescribeKey"), 3);
    assert_int_equal(test_server_count(&server, "GetPublicKey"), 3);
    assert_int_equal(test_server_count(&server, "Sign"), THREADS);
    application_close(&app);
}

static void *sign_texts_of_its_own(void *arg)
{
    static atomic_int next;
    int mine = atomic_fetch_add(&next, 1);
    const fixture *f = arg;
    const char *failed = NULL;
    char text[32];

    for (int i = 0; failed == NULL && i < ROUNDS; i++) {
        snprintf(text, sizeof(text), "message %d of %d", i, mine);
        failed = sign_and_verify(&f->app, f->key, text);
    }
    return (void *)(uintptr_t)failed;
}

static void threads_share_a_signing_key_and_get_their_own_signatures(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        fixture f = {.app = application_open()};
        f.key = application_key(&f.app, signers[i]);
        test_server_reset(&server);
        in_threads(8, sign_texts_of_its_own, &f);
        assert_int_equal(test_server_count(&server, "Sign"), 8 * ROUNDS);
        assert_int_equal(requests(&server), 8 * ROUNDS);
        close_fixture(&f);
    }
}

static void *load_use_unload(void *arg)
{
    const char *failed = NULL;

    (void)arg;
    for (int i = 0; failed == NULL && i < 3; i++) {
        application app = application_open();
        failed = load_and_use(&app);
        application_close(&app);
    }
    return (void *)(uintptr_t)failed;
}

static void threads_load_and_unload_providers_of_their_own(void **state)
{
    (void)state;
    in_threads(8, load_use_unload, NULL);
}

/* A child that does not run the exit handlers of the test. */
static pid_t child_that_uses(const fixture *f, int times)
{
    pid_t child = fork();

    if (child == 0) {
        const char *failed = NULL;
        for (int i = 0; failed == NULL && i < times; i++)
            failed = round_trip(f, CONTEXT, "of the child");
        _exit(failed == NULL ? 0 : 1);
    }
    assert_true(child > 0);
    return child;
}

static void assert_ended_well(pid_t child)
{
    int status = 0;

    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void parent_and_child_both_work_after_a_fork(void **state)
{
    fixture f = open_fixture();

    (void)state;
    assert_null(round_trip(&f, CONTEXT, "before"));
    for (int i = 0; i < 3; i++) {
        pid_t child = child_that_uses(&f, 2);
        assert_null(round_trip(&f, CONTEXT, "meanwhile"));
        assert_ended_well(child);
        assert_null(round_trip(&f, CONTEXT, "after"));
    }
    close_fixture(&f);
}

/* The parent's connections are its own also over TLS: the child says nothing on them. */
static void the_parent_s_connection_outlives_its_children_over_tls(void **state)
{
    tls_server tls;

    (void)state;
    tls_start(&tls);
    setenv("AWS_CA_BUNDLE", tls.certificate, 1);
    fixture f = open_fixture();
    assert_null(round_trip(&f, CONTEXT, "before"));
    test_server_reset(&tls.server);
    for (int i = 0; i < 3; i++)
        assert_ended_well(child_that_uses(&f, 1));
    assert_null(round_trip(&f, CONTEXT, "after"));
    /* One of each child, and that of this question: none anew for the parent. */
    assert_int_equal(test_server_count(&tls.server, "connections"), 3 + 1);
    close_fixture(&f);
    tls_stop(&tls, &server);
}

static void a_child_may_be_the_first_user(void **state)
{
    application app = application_open();
    pid_t child = fork();

    (void)state;
    if (child == 0)
        _exit(load_and_use(&app) == NULL ? 0 : 1);
    assert_ended_well(child);
    assert_null(load_and_use(&app));
    application_close(&app);
}

/* Between init and the operation, and with a context that the parent set. */
static void an_operation_begun_before_the_fork_ends_on_both_sides(void **state)
{
    fixture f = open_fixture();
    bytes plain = bytes_of("secret"), out = {.len = sizeof(out.data)}, back;
    EVP_PKEY_CTX *ctx = begin_wrap(&f.app, f.key, CONTEXT);
    pid_t child = fork();

    (void)state;
    int ok = EVP_PKEY_encrypt(ctx, out.data, &out.len, plain.data, plain.len) == 1 &&
             unwrap(&f.app, f.key, CONTEXT, &out, &back) && back.len == plain.len;
    if (child == 0)
        _exit(ok ? 0 : 1);
    assert_ended_well(child);
    assert_true(ok);
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f);
}

/* The others wait for an answer that does not come while the parent forks; the child works, and
 * what the others asked is answered in the end. */
static void *wrap_patiently(void *arg)
{
    const fixture *f = arg;
    bytes plain = bytes_of("in mid-request"), wrapped;

    return (void *)(uintptr_t)(wrap(&f->app, f->key, CONTEXT, &plain, &wrapped) ? NULL : "wrap");
}

static void a_child_works_while_its_parent_s_requests_are_pending(void **state)
{
    bytes plain = bytes_of("secret"), wrapped, back;
    pthread_t threads[4];

    (void)state;
    use_settings("attempt_timeout_ms = 3000\n");
    fixture f = open_fixture();
    assert_true(wrap(&f.app, f.key, CONTEXT, &plain, &wrapped));
    test_server_reset(&server);
    test_server_faults(&server, "[\"Encrypt:slow:1\"]");
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wrap_patiently, &f), 0);
    while (test_server_count(&server, "Encrypt") < 4)
        continue;
    pid_t child = fork();
    if (child == 0)
        _exit(unwrap(&f.app, f.key, CONTEXT, &wrapped, &back) && back.len == plain.len ? 0 : 1);
    assert_ended_well(child);
    test_server_faults(&server, "[]");
    for (int i = 0; i < 4; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    close_fixture(&f);
    use_settings(NULL);
}

/* Not with the address sanitizer: its allocator's own locks do not survive a fork in the midst of
 * another thread's allocation (glibc's do). */
#ifndef __SANITIZE_ADDRESS__
typedef struct busy {
    fixture *f;
    atomic_bool stop;
    atomic_int rounds;
} busy;

static void *work_until_told(void *arg)
{
    busy *b = arg;
    const char *failed = NULL;

    while (failed == NULL && !atomic_load(&b->stop)) {
        failed = round_trip(b->f, CONTEXT, "in mid-request");
        atomic_fetch_add(&b->rounds, 1);
    }
    return (void *)(uintptr_t)failed;
}

static void forking_in_the_midst_of_others_requests_harms_nobody(void **state)
{
    fixture f = open_fixture();
    busy b = {.f = &f};
    pthread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work_until_told, &b), 0);
    while (atomic_load(&b.rounds) == 0)
        sched_yield();
    for (int i = 0; i < 10; i++)
        assert_ended_well(child_that_uses(&f, 1));
    atomic_store(&b.stop, true);
    for (int i = 0; i < 4; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        if (failed != NULL)
            fail_msg("thread %d: %s", i, (const char *)failed);
    }
    close_fixture(&f);
}

#endif

static void a_child_that_unloads_leaves_the_parent_alone(void **state)
{
    fixture f = open_fixture();

    (void)state;
    assert_null(round_trip(&f, CONTEXT, "before"));
    test_server_reset(&server);
    pid_t child = fork();
    if (child == 0) {
        close_fixture(&f);
        _exit(0);
    }
    assert_ended_well(child);
    assert_null(round_trip(&f, CONTEXT, "after"));
    assert_int_equal(test_server_count(&server, "connections"), 1); /* this question's */
    close_fixture(&f);
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
        cmocka_unit_test(many_first_users_ask_for_the_key_once),
        cmocka_unit_test(threads_share_a_key_and_get_their_own_answers),
        cmocka_unit_test(many_first_signers_ask_for_each_key_once),
        cmocka_unit_test(threads_share_a_signing_key_and_get_their_own_signatures),
        cmocka_unit_test(threads_load_and_unload_providers_of_their_own),
        cmocka_unit_test(parent_and_child_both_work_after_a_fork),
        cmocka_unit_test(the_parent_s_connection_outlives_its_children_over_tls),
        cmocka_unit_test(a_child_may_be_the_first_user),
        cmocka_unit_test(an_operation_begun_before_the_fork_ends_on_both_sides),
        cmocka_unit_test(a_child_works_while_its_parent_s_requests_are_pending),
#ifndef __SANITIZE_ADDRESS__
        cmocka_unit_test(forking_in_the_midst_of_others_requests_harms_nobody),
#endif
        cmocka_unit_test(a_child_that_unloads_leaves_the_parent_alone),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
