/* OpenSSL ASYNC jobs, as a server with an event loop has them: many on one thread, each resumed
 * when its descriptor is readable. */
#ifndef KMS_TESTS_JOB_H
#define KMS_TESTS_JOB_H

#include <openssl/async.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

/* What a job does: like a main function, 1 for success. */
typedef int job_work(void *arg);

typedef struct job {
    job_work *work;
    void *arg;
    ASYNC_JOB *async; /* NULL: not started, or over */
    ASYNC_WAIT_CTX *wait;
    void *fiber; /* how tsan knows it */
    int result;  /* of the work, once it is over */
    bool finished;
    int steps; /* starts and resumes */
} job;

job job_new(job_work *work, void *arg);

/* Starts or resumes it, until it pauses or is over: true. */
bool job_step(job *j);

/* The descriptor that the paused job gave; there must be one. */
int job_descriptor(const job *j);

/* Its events now, without waiting, or in so many milliseconds. */
bool job_is_ready(const job *j, int timeout_ms);

/* An event loop: starts what is not started, and resumes whose descriptors are readable, until all
 * are over. Fails the test if nothing happens for 20 seconds. False where one has failed. */
bool jobs_finish(job *jobs, size_t count);

/* A job that is paused is left so: only its wait context is freed. */
void job_free(job *j);

/* Around anything else that may start or resume a job (SSL_do_handshake), for tsan, which has to be
 * told of each change of stacks. */
void *job_fiber_new(void);
void job_fiber_free(void *fiber);
void *job_fiber_enter(void *fiber);
void job_fiber_leave(void *previous);

#endif
