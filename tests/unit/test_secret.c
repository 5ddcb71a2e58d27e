#include "tests/unit/unit.h"

#include "core/lock.h"
#include "core/secret.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* The sanitizers replace the heap by plain allocations: what is about pages is tested without. */
#if defined(__SANITIZE_ADDRESS__)
#define HEAP_IS_PAGES 0
#else
#define HEAP_IS_PAGES 1
#endif
/* ThreadSanitizer makes mlock do nothing. */
#if HEAP_IS_PAGES && !defined(__SANITIZE_THREAD__)
#define PAGES_ARE_LOCKED 1
#else
#define PAGES_ARE_LOCKED 0
#endif

static kms_bytes text(const char *s)
{
    return (kms_bytes){(const uint8_t *)s, strlen(s)};
}

static void append_grows_and_keeps_what_was_there(void **state)
{
    kms_secret s = {0};
    char expected[3001];

    (void)state;
    assert_int_equal(kms_secret_reserve(&s, 4, NULL), KMS_OK);
    for (size_t i = 0; i < 3000; i += 3) {
        assert_int_equal(kms_secret_append(&s, text("abc"), NULL), KMS_OK);
        for (size_t j = 0; j < 3; j++)
            expected[i + j] = "abc"[j];
    }
    assert_int_equal(s.len, 3000);
    assert_memory_equal(s.data, expected, 3000);
    kms_secret_clear(&s);
    assert_null(s.data);
    kms_secret_clear(&s);
}

static void move_empties_the_source(void **state)
{
    kms_secret a = {0}, b = {0};

    (void)state;
    assert_int_equal(kms_secret_copy(&a, text("old"), NULL), KMS_OK);
    assert_int_equal(kms_secret_copy(&b, text("new"), NULL), KMS_OK);
    kms_secret_move(&a, &b);
    assert_null(b.data);
    assert_memory_equal(a.data, "new", 3);
    kms_secret_clear(&a);
}

static void a_block_handed_out_again_is_zero(void **state)
{
    (void)state;
    void *anchor = kms_locked_alloc(64); /* keeps the region mapped */
    uint8_t *block = kms_locked_alloc(64);
    memset(block, 0xaa, 64);
    kms_locked_free(block);
    uint8_t *again = kms_locked_alloc(64);
    if (HEAP_IS_PAGES)
        assert_ptr_equal(block, again);
    for (int i = 0; i < 64; i++)
        assert_int_equal(again[i], 0);
    kms_locked_free(again);
    kms_locked_free(anchor);
}

static void blocks_of_all_sizes_do_not_overlap(void **state)
{
    enum { N = 400 };
    uint8_t *blocks[N];

    (void)state;
    for (size_t i = 0; i < N; i++) {
        size_t size = 1 + i * 97 % 20000;
        blocks[i] = kms_locked_alloc(size);
        assert_non_null(blocks[i]);
        memset(blocks[i], (int)i & 0xff, size);
    }
    for (size_t i = 0; i < N; i++) {
        size_t size = 1 + i * 97 % 20000;
        for (size_t j = 0; j < size; j++)
            assert_int_equal(blocks[i][j], i & 0xff);
        kms_locked_free(blocks[i]);
    }
}

/* The flags of the mapping that holds an address, out of /proc/self/smaps. */
static void mapping_flags(const void *address, char *flags, size_t size, long *locked_kib)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512];
    unsigned long from, to;
    int inside = 0;

    assert_non_null(maps);
    flags[0] = '\0';
    *locked_kib = 0;
    while (fgets(line, sizeof(line), maps) != NULL) {
        /* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = (uintptr_t)address >= from && (uintptr_t)address < to;
        else if (inside && strncmp(line, "Locked:", 7) == 0)
            *locked_kib = strtol(line + 7, NULL, 10);
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            snprintf(flags, size, "%s", line);
    }
    fclose(maps);
}

static void secrets_are_locked_and_left_out_of_core_files(void **state)
{
    char flags[256];
    long locked;
    void *block = kms_locked_alloc(32);

    (void)state;
    mapping_flags(block, flags, sizeof(flags), &locked);
    assert_non_null(strstr(flags, " dd")); /* don't dump */
    assert_non_null(strstr(flags, " lo")); /* locked */
    assert_true(locked > 0);
    kms_locked_free(block);
}

static void a_child_has_its_secrets_locked_too(void **state)
{
    kms_lock lock;
    void *block = kms_locked_alloc(32);
    int status;

    (void)state;
    assert_int_equal(kms_lock_init(&lock, NULL), KMS_OK); /* sets the fork handlers up */
    pid_t child = fork();
    if (child == 0) {
        char flags[256];
        long locked;
        mapping_flags(block, flags, sizeof(flags), &locked);
        _exit(strstr(flags, " lo") != NULL && kms_locked_alloc(32) != NULL ? 0 : 1);
    }
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    kms_lock_destroy(&lock);
    kms_locked_free(block);
}

static void memory_that_cannot_be_locked_is_refused(void **state)
{
    int status;

    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        kms_secret s = {0};
        kms_error err;
        /* root has CAP_IPC_LOCK, which the limit doesn't bind */
        if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 || (geteuid() == 0 && seteuid(65534) != 0))
            _exit(2);
        kms_status st = kms_secret_reserve(&s, 32, &err);
        _exit(st == KMS_E_MEMORY_LOCK && s.data == NULL ? 0 : 1);
    }
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* What one operation with the largest plaintext holds at a time, and more. */
static void a_limit_of_64_kib_is_enough_for_an_operation(void **state)
{
    static const size_t sizes[] = {40, 40, 64, 1100, 300, 1024, 4096, 8192, 5600, 1024};
    int status;

    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit small = {65536, 65536};
        void *blocks[10];
        if (setrlimit(RLIMIT_MEMLOCK, &small) != 0 || (geteuid() == 0 && seteuid(65534) != 0))
            _exit(2);
        for (size_t i = 0; i < 10; i++)
            if ((blocks[i] = kms_locked_alloc(sizes[i])) == NULL)
                _exit(1);
        for (size_t i = 0; i < 10; i++)
            kms_locked_free(blocks[i]);
        _exit(0);
    }
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Else the pages that large blocks left would keep small ones from being locked. */
static void pages_that_one_size_has_left_serve_another(void **state)
{
    int status;

    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit small = {65536, 65536};
        void *anchor;
        if (setrlimit(RLIMIT_MEMLOCK, &small) != 0 || (geteuid() == 0 && seteuid(65534) != 0))
            _exit(2);
        anchor = kms_locked_alloc(64);
        for (size_t size = 128; size <= 16384; size *= 2) {
            void *first = kms_locked_alloc(size), *second = kms_locked_alloc(size);
            if (anchor == NULL || first == NULL || second == NULL)
                _exit(1);
            kms_locked_free(first);
            kms_locked_free(second);
        }
        kms_locked_free(anchor);
        _exit(0);
    }
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void *churn(void *arg)
{
    for (size_t i = 0; i < 2000; i++) {
        uint8_t *block = kms_locked_alloc(32 + i % 300);
        block[0] = 1;
        kms_locked_free(block);
    }
    return arg;
}

static void threads_share_the_heap(void **state)
{
    pthread_t threads[8];

    (void)state;
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, NULL), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append_grows_and_keeps_what_was_there),
        cmocka_unit_test(move_empties_the_source),
        cmocka_unit_test(a_block_handed_out_again_is_zero),
        cmocka_unit_test(blocks_of_all_sizes_do_not_overlap),
        cmocka_unit_test(threads_share_the_heap),
#if PAGES_ARE_LOCKED
        cmocka_unit_test(secrets_are_locked_and_left_out_of_core_files),
        cmocka_unit_test(a_child_has_its_secrets_locked_too),
        cmocka_unit_test(memory_that_cannot_be_locked_is_refused),
        cmocka_unit_test(a_limit_of_64_kib_is_enough_for_an_operation),
        cmocka_unit_test(pages_that_one_size_has_left_serve_another),
#endif
    };
#if !PAGES_ARE_LOCKED
    (void)secrets_are_locked_and_left_out_of_core_files;
    (void)a_child_has_its_secrets_locked_too;
    (void)memory_that_cannot_be_locked_is_refused;
    (void)a_limit_of_64_kib_is_enough_for_an_operation;
    (void)pages_that_one_size_has_left_serve_another;
#endif
    return cmocka_run_group_tests(tests, NULL, NULL);
}
