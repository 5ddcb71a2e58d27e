/* How an operation waits. Outside of an OpenSSL ASYNC job it blocks its thread. Inside of one it
 * pauses the job, so that the thread can run others: the application polls a descriptor that the
 * job's ASYNC_WAIT_CTX names, and resumes the job when it is readable.
 *
 * That descriptor is an epoll set of our own, readable exactly when there is work: a socket that is
 * ready for what is wanted of it, or a time that has come. It is given to a wait context once, by a
 * pause, and closed when OpenSSL frees the context: applications do not expect it to come and go,
 * or to be there without a pause that tells them. After a fork it tells of the parent's work on
 * both sides, until the child resumes the job: that then does its work anew, on a set of its own.
 */
#ifndef KMS_CORE_WAIT_H
#define KMS_CORE_WAIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

/* One wait context's. Used by its job alone, whichever thread runs it. */
typedef struct kms_wait kms_wait;

/* Whether a job runs that may be paused. Not one of an application that wants to be called back
 * instead of polling: nobody would call. */
bool kms_wait_can_pause(void);

/* The running job's, until kms_wait_end. NULL where the caller has to block: kms_wait_can_pause is
 * false, the wait context serves another job at this moment, or no descriptors are left. */
kms_wait *kms_wait_begin(void);
void kms_wait_end(kms_wait *wait); /* NULL is allowed */

/* Makes the descriptor readable while fd has one of these events (EPOLLIN, EPOLLOUT); 0: not any
 * more, which is also right for one that is not watched. False without memory. */
bool kms_wait_watch(kms_wait *wait, int fd, uint32_t events);

/* Makes it readable once in so many milliseconds. Negative: not any more. */
void kms_wait_alarm(kms_wait *wait, long ms);

#define KMS_WAIT_ALARM (-1) /* in place of a descriptor: the time has come */

/* Pauses the job until there is work, however often it is resumed without any. Returns how many
 * events it wrote, with the descriptor in data.fd; or 0: this is now a child of the process in
 * which the job was paused, and what was watched is the parent's. The caller holds no lock and is
 * in no scope of core/libctx.h. */
int kms_wait_pause(kms_wait *wait, struct epoll_event *events, int max);

/* Blocks, or pauses the job, for so long; shorter where the process is forked meanwhile. */
void kms_wait_sleep(long ms);

/* What a paused operation holds. An application may free a paused job's wait context (SSL_free in
 * mid-handshake does): the job is then never resumed, its stack stays as it is for ever, and
 * OpenSSL knows nothing of what is on it. release is called instead, the last holding first. */
typedef struct kms_wait_holding {
    void (*release)(void *arg, bool forked); /* forked: in a child of the one that paused */
    void *arg;
    struct kms_wait_holding *below;
} kms_wait_holding;

/* Around what may pause, in pairs, in a job or not. */
void kms_wait_hold(kms_wait_holding *holding);
void kms_wait_let_go(void);

#endif
