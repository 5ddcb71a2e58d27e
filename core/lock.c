#include "core/lock.h"

#include "core/secret_heap.h"

#include <stdbool.h>

/* The process's list of locks: fork handlers take no argument, so they need a place to look. */
static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static kms_lock *locks;
static pthread_once_t handlers_once = PTHREAD_ONCE_INIT;
static int handlers_result;

static void before_fork(void)
{
    pthread_mutex_lock(&registry);
    for (kms_lock *lock = locks; lock != NULL; lock = lock->next)
        pthread_mutex_lock(&lock->mutex);
    kms_secret_heap_before_fork();
}

static void release_all(void)
{
    for (kms_lock *lock = locks; lock != NULL; lock = lock->next)
        pthread_mutex_unlock(&lock->mutex);
    pthread_mutex_unlock(&registry);
}

static void after_fork_in_parent(void)
{
    kms_secret_heap_after_fork(0);
    release_all();
}

static void after_fork_in_child(void)
{
    kms_secret_heap_after_fork(1);
    release_all();
}

static void register_handlers(void)
{
    handlers_result = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

static bool init_mutex(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t kind;
    bool ok = pthread_mutexattr_init(&kind) == 0;

    if (ok) {
        ok = pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ADAPTIVE_NP) == 0 &&
             pthread_mutex_init(mutex, &kind) == 0;
        pthread_mutexattr_destroy(&kind);
    }
    return ok;
}

kms_status kms_lock_init(kms_lock *lock, kms_error *err)
{
    pthread_once(&handlers_once, register_handlers);
    if (handlers_result != 0 || !init_mutex(&lock->mutex))
        return kms_fail(err, KMS_E_NO_MEMORY, "a lock");

    pthread_mutex_lock(&registry);
    lock->previous = NULL;
    lock->next = locks;
    if (locks != NULL)
        locks->previous = lock;
    locks = lock;
    pthread_mutex_unlock(&registry);
    return KMS_OK;
}

void kms_lock_destroy(kms_lock *lock)
{
    pthread_mutex_lock(&registry);
    if (lock->next != NULL)
        lock->next->previous = lock->previous;
    if (lock->previous != NULL)
        lock->previous->next = lock->next;
    else
        locks = lock->next;
    pthread_mutex_unlock(&registry);
    pthread_mutex_destroy(&lock->mutex);
}

void kms_lock_take(kms_lock *lock)
{
    pthread_mutex_lock(&lock->mutex);
}

void kms_lock_give(kms_lock *lock)
{
    pthread_mutex_unlock(&lock->mutex);
}
