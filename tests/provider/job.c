#include "tests/provider/job.h"

#include "tests/unit/unit.h"

#if defined(__SANITIZE_THREAD__)
#define TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TSAN 1
#endif
#endif

#ifdef TSAN
#include <sanitizer/tsan_interface.h>

void *job_fiber_new(void)
{
    return __tsan_create_fiber(0);
}

void job_fiber_free(void *fiber)
{
    __tsan_destroy_fiber(fiber);
}

void *job_fiber_enter(void *fiber)
{
    void *previous = __tsan_get_current_fiber();

    __tsan_switch_to_fiber(fiber, 0);
    return previous;
}

void job_fiber_leave(void *previous)
{
    __tsan_switch_to_fiber(previous, 0);
}
#else
void *job_fiber_new(void)
{
    return NULL;
}

void job_fiber_free(void *fiber)
{
    (void)fiber;
}

void *job_fiber_enter(void *fiber)
{
    (void)fiber;
    return NULL;
}

void job_fiber_leave(void *previous)
{
    (void)previous;
}
#endif

job job_new(job_work *work, void *arg)
{
    job j = {.work = work, .arg = arg, .wait = ASYNC_WAIT_CTX_new(), .fiber = job_fiber_new()};

    assert_non_null(j.wait);
    return j;
}

static int run(void *arg)
{
    const job *j = *(job **)arg;

    return j->work(j->arg);
}

bool job_step(job *j)
{
    int status;

    j->steps++;
    void *previous = job_fiber_enter(j->fiber);
    status = ASYNC_start_job(&j->async, j->wait, &j->result, run, &j, sizeof(j));
    job_fiber_leave(previous);
    assert_true(status == ASYNC_PAUSE || status == ASYNC_FINISH);
    j->finished = status == ASYNC_FINISH;
    return j->finished;
}

int job_descriptor(const job *j)
{
    OSSL_ASYNC_FD fd = -1;
    size_t count = 0;

    assert_int_equal(ASYNC_WAIT_CTX_get_all_fds(j->wait, NULL, &count), 1);
    assert_int_equal(count, 1);
    assert_int_equal(ASYNC_WAIT_CTX_get_all_fds(j->wait, &fd, &count), 1);
    return fd;
}

bool job_is_ready(const job *j, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = job_descriptor(j), .events = POLLIN};
    int count = poll(&poll_fd, 1, timeout_ms);

    assert_true(count >= 0);
    return count == 1;
}

#define JOBS_MAX 256

bool jobs_finish(job *jobs, size_t count)
{
    struct pollfd fds[JOBS_MAX];
    size_t left = 0;
    bool ok = true;

    assert_true(count <= JOBS_MAX);
    for (size_t i = 0; i < count; i++)
        if (!jobs[i].finished && (jobs[i].async != NULL || !job_step(&jobs[i])))
            left++;
    for (size_t i = 0; i < count; i++)
        fds[i] = (struct pollfd){.fd = jobs[i].finished ? -1 : job_descriptor(&jobs[i]),
                                 .events = POLLIN};
    while (left > 0) {
        if (poll(fds, count, 20000) <= 0)
            fail_msg("%zu jobs wait for nothing", left);
        for (size_t i = 0; i < count; i++) {
            if (fds[i].revents != 0 && job_step(&jobs[i])) {
                fds[i].fd = -1;
                left--;
            }
        }
    }
    for (size_t i = 0; i < count; i++)
        ok = ok && jobs[i].result == 1;
    return ok;
}

void job_free(job *j)
{
    ASYNC_WAIT_CTX_free(j->wait);
    if (j->finished)
        job_fiber_free(j->fiber);
    j->wait = NULL;
}
