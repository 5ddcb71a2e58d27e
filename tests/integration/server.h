/* A kms-local process for a test: started on a free port, asked for its counts, stopped. */
#ifndef KMS_TESTS_SERVER_H
#define KMS_TESTS_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct test_server {
    pid_t pid;
    char url[64];
} test_server;

/* Starts KMS_LOCAL (a compile definition of the test) with `--port 0 --seed-key alias/matbakh-ai`
 * and the given further options (NULL-terminated), waits until it is ready, and points the AWS_*
 * variables of this process at it. Fails the test otherwise. */
void test_server_start(test_server *server, const char *const *options);
void test_server_stop(test_server *server);

/* Runs KMS_LOCAL with options that let it end at once: returns its exit status, collects what it
 * says on standard output and standard error. */
int test_server_run(const char *const *options, char *said, size_t size);

/* The number of requests of one operation since the last reset, or of connections ("connections").
 */
long test_server_count(const test_server *server, const char *operation);
void test_server_reset(const test_server *server);

/* From now on each answer comes so much later. Ends all faults, as faults end the latency. */
void test_server_latency(const test_server *server, int ms);

/* Replaces the faults: a JSON array such as ["Encrypt:ThrottlingException:1"]. */
void test_server_faults(const test_server *server, const char *faults);

#endif
