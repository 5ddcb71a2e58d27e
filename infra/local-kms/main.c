/* kms-local: starts, says that it is ready, serves until it is told to stop. */
#include "call.h"
#include "fault.h"
#include "options.h"
#include "server.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

/* SIGTERM and SIGINT are waited for, not handled: blocked here before any thread exists. */
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static bool check_faults(const options *o)
{
    for (int i = 0; i < o->fault_count; i++) {
        if (!fault_valid(o->faults[i])) {
            fprintf(stderr,
                    "kms-local: --fault: '%s' is not OP:KIND:PROBABILITY, where OP is an "
                    "operation or *, KIND as in --help, PROBABILITY from 0 to 1\n",
                    o->faults[i]);
            return false;
        }
    }
    fault_set(o->faults, (size_t)o->fault_count);
    return true;
}

static bool seed(const options *o, store *s)
{
    for (int i = 0; i < o->seed_count; i++)
        if (!seed_key(s, o->region, o->seeds[i]))
            return false;
    return true;
}

static int serve(const options *o, const sigset_t *stop)
{
    store s;
    char url[64];
    int received, result = 1;

    if (!store_open(&s, o->db, o->account))
        return 1;
    double now = store_now();
    if (!seed(o, &s)) {
        result = 2;
    } else if (!store_remove_expired(&s, now) || !rotate_due(&s, now)) {
        result = 1;
    } else if (server_start(o, &s, url, sizeof(url))) {
        printf("kms-local ready on %s\n", url);
        fflush(stdout);
        fprintf(stderr, "kms-local: for development and tests only; its keys protect nothing\n");
        sigwait(stop, &received);
        result = 0;
    }
    server_stop();
    store_close(&s);
    return result;
}

int main(int argc, char **argv)
{
    options o;
    sigset_t stop;
    int result;

    options_result wish = options_read(&o, argc, argv);
    if (wish != OPTIONS_RUN || !check_faults(&o)) {
        options_free(&o);
        return wish == OPTIONS_DONE ? 0 : 2;
    }
    block_signals(&stop);
    if (!crypto_start()) {
        fprintf(stderr, "kms-local: libcrypto lacks AES-256-GCM or HMAC\n");
        options_free(&o);
        return 1;
    }
    result = serve(&o, &stop);
    crypto_stop();
    options_free(&o);
    return result;
}
