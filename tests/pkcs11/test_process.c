/* Threads, forks, and coming and going: what the module does to the process that it lives in. */
#include "tests/pkcs11/token.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 8

static unsigned char value[32] = {1, 2, 3};
static unsigned char iv[12];
static CK_GCM_PARAMS gcm = {iv, 12, 96, NULL, 0, 128};

static CK_RV seal(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, unsigned char *in, CK_ULONG len,
                  unsigned char *out, CK_ULONG *out_len)
{
    CK_MECHANISM mechanism = {CKM_AES_GCM, &gcm, sizeof(gcm)};
    CK_RV rv = p11->C_EncryptInit(session, &mechanism, key);

    return rv == CKR_OK ? p11->C_Encrypt(session, in, len, out, out_len) : rv;
}

/* Wraps a key and unwraps it again, by way of KMS. */
static CK_RV go_round(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE kms_key, CK_OBJECT_HANDLE key)
{
    CK_MECHANISM mechanism = token_wrap_mechanism(CONTEXT);
    unsigned char wrapped[6144];
    CK_ULONG len = sizeof(wrapped);
    CK_OBJECT_HANDLE again = 0;
    CK_RV rv = p11->C_WrapKey(session, &mechanism, kms_key, key, wrapped, &len);

    if (rv == CKR_OK)
        rv = p11->C_UnwrapKey(session, &mechanism, kms_key, wrapped, len, NULL, 0, &again);
    return rv == CKR_OK ? p11->C_DestroyObject(session, again) : rv;
}

/* --- threads --- */

static CK_OBJECT_HANDLE shared_kms_key, shared_key;
static CK_SESSION_HANDLE shared_session;

static void run_threads(void *(*body)(void *), void *arg)
{
    pthread_t threads[THREADS];
    void *failures;

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, body, arg), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &failures);
        assert_int_equal((intptr_t)failures, 0);
    }
}

static void *with_its_own_session(void *arg)
{
    intptr_t failures = 0;
    unsigned char in[100] = {5}, out[116], first[116];
    CK_ULONG len;
    CK_SESSION_HANDLE session;

    (void)arg;
    for (int i = 0; i < 10; i++) {
        if (p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session) != CKR_OK)
            return (void *)1;
        for (int j = 0; j < 20; j++) {
            len = sizeof(out);
            failures += seal(session, shared_key, in, sizeof(in), out, &len) != CKR_OK;
            if (j == 0)
                memcpy(first, out, sizeof(first));
            failures += memcmp(first, out, sizeof(out)) != 0;
        }
        failures += go_round(session, shared_kms_key, shared_key) != CKR_OK;
        failures += p11->C_CloseSession(session) != CKR_OK;
    }
    return (void *)failures;
}

static void threads_with_sessions_of_their_own_do_not_meet(void **state)
{
    (void)state;
    shared_session = token_open();
    shared_kms_key = token_kms_key(shared_session);
    shared_key = token_import(shared_session, CKK_AES, value, 32);
    run_threads(with_its_own_session, NULL);
    token_close();
}

/* On one session an operation may find another one active or gone; nothing else may happen. */
static bool is_polite(CK_RV rv)
{
    return rv == CKR_OK || rv == CKR_OPERATION_ACTIVE || rv == CKR_OPERATION_NOT_INITIALIZED;
}

static void *with_the_shared_session(void *arg)
{
    intptr_t failures = 0;
    unsigned char in[100] = {5}, out[6144];
    CK_OBJECT_HANDLE found[4];
    CK_ULONG len;

    (void)arg;
    for (int i = 0; i < 60; i++) {
        len = sizeof(out);
        failures += !is_polite(seal(shared_session, shared_key, in, sizeof(in), out, &len));
        failures += !is_polite(p11->C_FindObjectsInit(shared_session, NULL, 0));
        failures += !is_polite(p11->C_FindObjects(shared_session, found, 4, &len));
        failures += !is_polite(p11->C_FindObjectsFinal(shared_session));
        if (i % 20 == 0)
            failures += go_round(shared_session, shared_kms_key, shared_key) != CKR_OK;
    }
    return (void *)failures;
}

static void threads_on_one_session_are_refused_or_served(void **state)
{
    (void)state;
    shared_session = token_open();
    shared_kms_key = token_kms_key(shared_session);
    shared_key = token_import(shared_session, CKK_AES, value, 32);
    run_threads(with_the_shared_session, NULL);
    token_close();
}

static void *first_search(void *arg)
{
    CK_SESSION_HANDLE session;

    (void)arg;
    if (p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session) != CKR_OK)
        return (void *)1;
    return (void *)(intptr_t)(p11->C_FindObjectsInit(session, NULL, 0) != CKR_OK);
}

static void many_first_searches_make_one_request_and_one_object(void **state)
{
    CK_SESSION_HANDLE session = token_open();

    (void)state;
    test_server_reset(&token_server);
    run_threads(first_search, NULL);
    assert_int_equal(test_server_count(&token_server, "DescribeKey"), 1);
    assert_int_equal(token_count(session, NULL, 0), 1);
    token_close();
}

static void *initialise(void *arg)
{
    CK_RV rv = p11->C_Initialize(NULL);

    atomic_fetch_add((atomic_int *)arg, rv == CKR_OK);
    return (void *)(intptr_t)(rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED);
}

static void of_many_that_initialise_one_does(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        atomic_int done = 0;
        run_threads(initialise, &done);
        assert_int_equal(done, 1);
        token_close();
    }
}

static atomic_bool stop;
static CK_SESSION_HANDLE doomed[2];

static void *encrypt_until_stopped(void *arg)
{
    static unsigned char in[20000];
    unsigned char *out = malloc(sizeof(in) + 16);
    intptr_t failures = 0, rounds = 0;

    (void)arg;
    while (!atomic_load(&stop)) {
        CK_ULONG len = sizeof(in) + 16;
        CK_RV rv = seal(doomed[rounds++ % 2], shared_key, in, sizeof(in), out, &len);
        failures += !is_polite(rv) && rv != CKR_SESSION_HANDLE_INVALID;
    }
    free(out);
    return (void *)failures;
}

static void a_session_may_be_closed_while_another_thread_encrypts_in_it(void **state)
{
    pthread_t threads[4];
    void *failures;

    (void)state;
    shared_session = token_open();
    shared_key = token_import(shared_session, CKK_AES, value, 32);
    atomic_store(&stop, false);
    for (int i = 0; i < 2; i++)
        assert_ok(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &doomed[i]));
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, encrypt_until_stopped, NULL), 0);
    /* The handles that the threads use stay what they are: closed ones are told as such. */
    assert_ok(p11->C_CloseSession(doomed[0]));
    assert_rv(p11->C_CloseSession(doomed[0]), CKR_SESSION_HANDLE_INVALID);
    for (int i = 0; i < 300; i++) {
        CK_SESSION_HANDLE session;
        CK_ULONG len = 36;
        unsigned char out[36];
        CK_RV rv;
        assert_ok(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session));
        rv = seal(session, shared_key, iv, 12, out, &len);
        assert_ok(rv);
        assert_ok(p11->C_CloseSession(session));
    }
    assert_ok(p11->C_CloseSession(doomed[1]));
    atomic_store(&stop, true);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &failures);
        assert_int_equal((intptr_t)failures, 0);
    }
    token_close();
}

/* --- forks --- */

/* What a child does, within a time; 0: well. */
static int in_child(int (*body)(void))
{
    int status = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        alarm(30);
        _exit(body());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

#define EXPECT(call, rv)                                                                           \
    do {                                                                                           \
        if ((call) != (rv))                                                                        \
            return __LINE__ % 250 + 1;                                                             \
    } while (0)

/* Starts over in a child, does all that can be done, and ends. */
static int start_over(void)
{
    CK_SESSION_HANDLE session;
    CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG size = 32, n = 0;
    CK_ATTRIBUTE template = {CKA_VALUE_LEN, &size, sizeof(size)};
    CK_OBJECT_HANDLE kms_key, key;

    EXPECT(p11->C_Initialize(NULL), CKR_OK);
    EXPECT(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_OK);
    EXPECT(p11->C_FindObjectsInit(session, NULL, 0), CKR_OK);
    EXPECT(p11->C_FindObjects(session, &kms_key, 1, &n), CKR_OK);
    EXPECT(n, 1);
    EXPECT(p11->C_FindObjectsFinal(session), CKR_OK);
    EXPECT(p11->C_GenerateKey(session, &generate, &template, 1, &key), CKR_OK);
    EXPECT(go_round(session, kms_key, key), CKR_OK);
    EXPECT(p11->C_Finalize(NULL), CKR_OK);
    return 0;
}

/* A child that has not initialised has nothing of the parent's. */
static int use_the_parents(void)
{
    unsigned char out[64];
    CK_SESSION_HANDLE session;
    CK_ULONG len = sizeof(out);
    CK_INFO info;

    EXPECT(p11->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
    EXPECT(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session),
           CKR_CRYPTOKI_NOT_INITIALIZED);
    EXPECT(p11->C_GenerateRandom(shared_session, out, 1), CKR_CRYPTOKI_NOT_INITIALIZED);
    EXPECT(p11->C_EncryptFinal(shared_session, out, &len), CKR_CRYPTOKI_NOT_INITIALIZED);
    EXPECT(p11->C_CloseSession(shared_session), CKR_CRYPTOKI_NOT_INITIALIZED);
    EXPECT(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    return 0;
}

static int use_the_parents_then_start_over(void)
{
    int result = use_the_parents();

    return result != 0 ? result : start_over();
}

/* After starting over, the parent's handles mean nothing. */
static int look_for_the_parents_objects(void)
{
    CK_SESSION_HANDLE session;
    CK_BBOOL flag;
    CK_ATTRIBUTE attribute = {CKA_TOKEN, &flag, 1};

    EXPECT(p11->C_Initialize(NULL), CKR_OK);
    EXPECT(p11->C_Initialize(NULL), CKR_CRYPTOKI_ALREADY_INITIALIZED);
    EXPECT(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_OK);
    EXPECT(p11->C_GetAttributeValue(session, shared_key, &attribute, 1), CKR_OBJECT_HANDLE_INVALID);
    EXPECT(p11->C_Finalize(NULL), CKR_OK);
    return in_child(start_over); /* and a grandchild */
}

static void a_fork_before_initialising_is_like_none(void **state)
{
    (void)state;
    assert_int_equal(in_child(start_over), 0);
    assert_int_equal(in_child(start_over), 0);
    token_open();
    token_close();
}

static void a_child_starts_over_and_the_parent_goes_on(void **state)
{
    CK_MECHANISM mechanism = {CKM_AES_GCM, &gcm, sizeof(gcm)};
    unsigned char out[64], whole[64];
    CK_ULONG len, total;
    long before;

    (void)state;
    shared_session = token_open();
    shared_key = token_import(shared_session, CKK_AES, value, 32);
    len = sizeof(whole);
    assert_ok(seal(shared_session, shared_key, value, 32, whole, &len));
    test_server_reset(&token_server);
    assert_ok(go_round(shared_session, token_kms_key(shared_session), shared_key));
    before = test_server_count(&token_server, "connections");

    /* in the middle of an operation of the parent's */
    assert_ok(p11->C_EncryptInit(shared_session, &mechanism, shared_key));
    total = sizeof(out);
    assert_ok(p11->C_EncryptUpdate(shared_session, value, 20, out, &total));
    assert_int_equal(in_child(use_the_parents), 0);
    assert_int_equal(in_child(use_the_parents_then_start_over), 0);
    assert_int_equal(in_child(look_for_the_parents_objects), 0);
    len = sizeof(out) - total;
    assert_ok(p11->C_EncryptUpdate(shared_session, value + 20, 12, out + total, &len));
    total += len;
    len = sizeof(out) - total;
    assert_ok(p11->C_EncryptFinal(shared_session, out + total, &len));
    assert_int_equal(total + len, 48);
    assert_memory_equal(out, whole, 48);

    /* The parent's connection lives: two children and a grandchild made one each, and so does each
     * question of the test. */
    assert_ok(go_round(shared_session, token_kms_key(shared_session), shared_key));
    assert_true(test_server_count(&token_server, "connections") - before <= 2 + 1);
    token_close();
}

/* Others wait while the parent forks: one for an answer that does not come, the rest for that one.
 */
static void a_fork_while_others_wait_for_an_answer_disturbs_neither_side(void **state)
{
    pthread_t threads[4];
    void *failures;
    int result;

    (void)state;
    token_configure("attempt_timeout_ms = 1500\n");
    token_open();
    test_server_reset(&token_server);
    test_server_faults(&token_server, "[\"DescribeKey:slow:1\"]");
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, first_search, NULL), 0);
    while (test_server_count(&token_server, "DescribeKey") == 0)
        continue;
    test_server_faults(&token_server, "[]");
    result = in_child(start_over);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &failures);
        assert_int_equal((intptr_t)failures, 0);
    }
    assert_int_equal(result, 0);
    token_close();
    token_configure("");
}

/* The sanitizers' own allocators take their locks across a fork: children of a program with threads
 * hang there, before they reach anything of ours. This test is for the other builds. */
#if !SANITIZED

static void *go_round_until_stopped(void *arg)
{
    CK_SESSION_HANDLE session;
    intptr_t failures = 0;
    unsigned char out[48];

    (void)arg;
    if (p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session) != CKR_OK)
        return (void *)1;
    while (!atomic_load(&stop)) {
        CK_ULONG len = sizeof(out);
        failures += seal(session, shared_key, value, 32, out, &len) != CKR_OK;
        failures += go_round(session, shared_kms_key, shared_key) != CKR_OK;
    }
    return (void *)failures;
}

static void a_fork_while_other_threads_work_disturbs_neither_side(void **state)
{
    pthread_t threads[4];
    void *failures;
    int result = 0;

    (void)state;
    shared_session = token_open();
    shared_kms_key = token_kms_key(shared_session);
    shared_key = token_import(shared_session, CKK_AES, value, 32);
    atomic_store(&stop, false);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, go_round_until_stopped, NULL), 0);
    for (int round = 0; round < 20 && result == 0; round++)
        result = in_child(use_the_parents_then_start_over);
    atomic_store(&stop, true);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &failures);
        assert_int_equal((intptr_t)failures, 0);
    }
    assert_int_equal(result, 0);
    token_close();
}

#endif

/* --- coming and going --- */

static void finalising_takes_everything_along(void **state)
{
    CK_MECHANISM mechanism = {CKM_AES_GCM, &gcm, sizeof(gcm)};
    CK_SESSION_HANDLE session;
    CK_SESSION_INFO info;
    unsigned char out[64];
    CK_ULONG len;

    (void)state;
    for (int i = 0; i < 5; i++) {
        session = token_open();
        for (int j = 0; j < 40; j++)
            assert_ok(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &shared_session));
        shared_key = token_import(session, CKK_AES, value, 32);
        assert_ok(p11->C_EncryptInit(session, &mechanism, shared_key));
        len = sizeof(out);
        assert_ok(p11->C_EncryptUpdate(session, value, 10, out, &len));
        assert_ok(p11->C_DecryptInit(session, &mechanism, shared_key));
        assert_ok(p11->C_DecryptUpdate(session, value, 10, out, &len));
        assert_ok(p11->C_FindObjectsInit(session, NULL, 0));
        token_close();
        assert_rv(p11->C_GetSessionInfo(session, &info), CKR_CRYPTOKI_NOT_INITIALIZED);
    }
}

static long descriptors(void)
{
    long n = 0;

    for (int fd = 0; fd < 256; fd++) {
        char path[64], target[64];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        n += readlink(path, target, sizeof(target)) >= 0;
    }
    return n;
}

static void a_thousand_rounds_leave_nothing(void **state)
{
    long before;

    (void)state;
    token_open();
    token_close();
    before = descriptors();
    for (int i = 0; i < 1000; i++) {
        CK_SESSION_HANDLE session = token_open();
        if (i % 100 == 0) /* some with traffic */
            token_kms_key(session);
        token_close();
    }
    for (int i = 0; i < 1000; i++) {
        void *module = dlopen(token_path, RTLD_NOW | RTLD_LOCAL);
        assert_non_null(module);
        if (i % 10 == 0) {
            token_open();
            token_close();
        }
        assert_int_equal(dlclose(module), 0);
    }
    assert_int_equal(descriptors(), before);
}

static int finalise(void **state)
{
    (void)state;
    p11->C_Finalize(NULL);
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, finalise)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(threads_with_sessions_of_their_own_do_not_meet),
        TEST(threads_on_one_session_are_refused_or_served),
        TEST(many_first_searches_make_one_request_and_one_object),
        TEST(of_many_that_initialise_one_does),
        TEST(a_session_may_be_closed_while_another_thread_encrypts_in_it),
        TEST(a_fork_before_initialising_is_like_none),
        TEST(a_child_starts_over_and_the_parent_goes_on),
        TEST(a_fork_while_others_wait_for_an_answer_disturbs_neither_side),
#if !SANITIZED
        TEST(a_fork_while_other_threads_work_disturbs_neither_side),
#endif
        TEST(finalising_takes_everything_along),
        TEST(a_thousand_rounds_leave_nothing),
    };

    return cmocka_run_group_tests(tests, token_set_up, token_tear_down);
}
