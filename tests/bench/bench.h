/* What the benchmarks share: the yardstick, which is the physical limit of any client of the same
 * server (a bare keep-alive libcurl loop that posts one pre-built request with the very headers
 * that the modules send, signed anew each round, and reads each reply to its end), and the
 * measuring. All doors run in turn, round by round, so that a drift of the machine's speed hits all
 * alike; the ratio to the yardstick is taken within each round and its median is printed. Server
 * and clients share the machine. What fails ends the program. */
#ifndef KMS_TESTS_BENCH_H
#define KMS_TESTS_BENCH_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>

#define BENCH_THREADS_MAX  8
#define BENCH_ROUNDS_MAX   501
#define BENCH_REQUESTS_MAX 4

_Noreturn void bench_die(const char *what);

/* One way to KMS: what each thread sets up, one operation, and what it tears down. does is the
 * benchmark's own number for what is done, below BENCH_REQUESTS_MAX. */
typedef struct bench_door {
    const char *name;
    void *(*open)(int does);
    bool (*run)(void *state, int does);
    void (*close)(void *state);
} bench_door;

extern const bench_door bench_curl;

/* What the yardstick posts for does. */
void bench_request(int does, const char *operation, const char *body);

/* A library context with default and kms, and a key of it. */
OSSL_LIB_CTX *bench_application(const char *folder);
EVP_PKEY *bench_key(OSSL_LIB_CTX *application, const char *alias);

/* The table's head, and one block of it: the first door is the yardstick. */
void bench_machine(int rounds, double duration);
void bench_compare(const bench_door *doors, size_t count, const char *what, int does, int threads,
                   double duration, int rounds);

#endif
