#include "core/wait.h"

#include "core/exit.h"

#include <fcntl.h>
#include <openssl/async.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct kms_wait {
    int set;   /* the epoll set, which the application polls */
    int timer; /* in it */
    pid_t owner;
    bool known;                 /* the wait context has it */
    kms_wait_holding *holdings; /* of the job that is paused */
};

/* Its address tells our descriptor from those of others in the same wait context. */
static const char name;

/* Of the operation that runs in this thread: a pause takes them along, to the thread that resumes.
 * Not inlined, since a compiler takes it for granted that a function stays in its thread. */
static _Thread_local kms_wait_holding *holdings;

__attribute__((noinline)) static kms_wait_holding *take_holdings(void)
{
    kms_wait_holding *all = holdings;

    holdings = NULL;
    return all;
}

__attribute__((noinline)) static void put_holdings(kms_wait_holding *all)
{
    holdings = all;
}

static bool open_descriptors(int *set, int *timer)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = KMS_WAIT_ALARM};

    *set = epoll_create1(EPOLL_CLOEXEC);
    *timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (*set >= 0 && *timer >= 0 && epoll_ctl(*set, EPOLL_CTL_ADD, *timer, &event) == 0)
        return true;
    if (*set >= 0)
        close(*set);
    if (*timer >= 0)
        close(*timer);
    return false;
}

static void free_wait(kms_wait *wait)
{
    close(wait->timer);
    close(wait->set);
    free(wait);
}

/* OpenSSL frees the wait context, and with it every hope of a job that is paused. */
static void clean_up(ASYNC_WAIT_CTX *ctx, const void *key, OSSL_ASYNC_FD fd, void *custom)
{
    kms_wait *wait = custom;
    const bool forked = wait->owner != getpid();

    (void)ctx;
    (void)key;
    (void)fd;
    /* At the end of the process libcurl may be gone, and all that is held goes with it. */
    while (wait->holdings != NULL && !kms_exit_has_begun()) {
        kms_wait_holding *holding = wait->holdings;
        wait->holdings = holding->below;
        holding->release(holding->arg, forked);
    }
    free_wait(wait);
}

static kms_wait *new_wait(void)
{
    kms_wait *wait = calloc(1, sizeof(*wait));

    if (wait == NULL || !open_descriptors(&wait->set, &wait->timer)) {
        free(wait);
        return NULL;
    }
    wait->owner = getpid();
    return wait;
}

/* In a child the descriptors still are the parent's: what one changes in the set, or at the timer,
 * the other sees. New ones take their numbers, which the application knows. */
static bool renew(kms_wait *wait)
{
    int set, timer;
    bool ok;

    if (!open_descriptors(&set, &timer))
        return false;
    ok = dup3(set, wait->set, O_CLOEXEC) >= 0;
    close(set);
    if (ok) {
        /* The set knows the timer by what is open, not by its number. */
        ok = dup3(timer, wait->timer, O_CLOEXEC) >= 0;
    }
    close(timer);
    if (ok)
        wait->owner = getpid();
    return ok;
}

/* NULL: none, or none that may be used. */
static ASYNC_WAIT_CTX *wait_context(void)
{
    ASYNC_JOB *job = ASYNC_get_current_job();
    ASYNC_WAIT_CTX *ctx = job != NULL ? ASYNC_get_wait_ctx(job) : NULL;
    ASYNC_callback_fn callback;
    void *arg;

    if (ctx == NULL || ASYNC_WAIT_CTX_get_callback(ctx, &callback, &arg) == 1)
        return NULL;
    return ctx;
}

bool kms_wait_can_pause(void)
{
    return wait_context() != NULL;
}

kms_wait *kms_wait_begin(void)
{
    ASYNC_WAIT_CTX *ctx = wait_context();
    void *known = NULL;
    kms_wait *wait;
    OSSL_ASYNC_FD fd;

    if (ctx == NULL)
        return NULL;
    if (ASYNC_WAIT_CTX_get_fd(ctx, &name, &fd, &known) != 1)
        return new_wait();
    wait = known;
    if (wait->holdings != NULL || (wait->owner != getpid() && !renew(wait)))
        return NULL;
    return wait;
}

void kms_wait_end(kms_wait *wait)
{
    if (wait != NULL && !wait->known)
        free_wait(wait);
}

bool kms_wait_watch(kms_wait *wait, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};

    if (events == 0) {
        epoll_ctl(wait->set, EPOLL_CTL_DEL, fd, &event);
        return true;
    }
    return epoll_ctl(wait->set, EPOLL_CTL_MOD, fd, &event) == 0 ||
           epoll_ctl(wait->set, EPOLL_CTL_ADD, fd, &event) == 0;
}

void kms_wait_alarm(kms_wait *wait, long ms)
{
    struct itimerspec at = {0};

    if (ms > 0)
        at.it_value = (struct timespec){ms / 1000, ms % 1000 * 1000000};
    else if (ms == 0)
        at.it_value.tv_nsec = 1; /* none at all would disarm it */
    timerfd_settime(wait->timer, 0, &at, NULL);
}

/* Pauses the job, or does not: false where it can't. */
static bool pause_job(kms_wait *wait)
{
    bool paused;

    if (!wait->known)
        wait->known =
            ASYNC_WAIT_CTX_set_wait_fd(wait_context(), &name, wait->set, wait, clean_up) == 1;
    if (!wait->known)
        return false;
    wait->holdings = take_holdings();
    paused = ASYNC_pause_job() == 1;
    put_holdings(wait->holdings);
    wait->holdings = NULL;
    return paused;
}

int kms_wait_pause(kms_wait *wait, struct epoll_event *events, int max)
{
    uint64_t expirations;
    int count = 0, patience = 0;

    /* A resume without work: the first is passed over at once. Where they follow one another, the
     * application looks after nothing else, or ASYNC_block_pause keeps the job from pausing. */
    for (; count <= 0; patience = 1) {
        if (!pause_job(wait))
            patience = -1;
        if (wait->owner != getpid())
            return 0;
        count = epoll_wait(wait->set, events, max, patience);
    }
    for (int i = 0; i < count; i++)
        if (events[i].data.fd == KMS_WAIT_ALARM &&
            read(wait->timer, &expirations, sizeof(expirations)) < 0)
            continue; /* set anew meanwhile: libcurl looks at its own clock */
    return count;
}

void kms_wait_sleep(long ms)
{
    kms_wait *wait = kms_wait_begin();
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    struct epoll_event event;

    if (wait == NULL) {
        while (nanosleep(&left, &left) != 0)
            continue;
        return;
    }
    kms_wait_alarm(wait, ms);
    kms_wait_pause(wait, &event, 1);
    kms_wait_end(wait);
}

void kms_wait_hold(kms_wait_holding *holding)
{
    holding->below = holdings;
    holdings = holding;
}

void kms_wait_let_go(void)
{
    holdings = holdings->below;
}
