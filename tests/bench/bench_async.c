/* TLS handshakes of a server that has one thread, an event loop and a key in KMS: one alone, and
 * many in flight by SSL_MODE_ASYNC. The clients, by memory, share the thread, so what they cost is
 * in the figures. The server's latency is whatever kms-local was told (see bench.sh).
 *
 * usage: bench_async PROVIDER-FOLDER [HANDSHAKES [ROUNDS]]
 * The environment names server, credentials and region; the server has alias/bench-p256. */
#include "tests/bench/bench.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PAIRS_MAX 256

typedef struct pair {
    SSL *client, *server;
    bool waits;
} pair;

static SSL_CTX *client_ctx, *server_ctx;

static void make_contexts(OSSL_LIB_CTX *application, EVP_PKEY *key)
{
    X509 *cert = X509_new_ex(application, NULL);

    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    client_ctx = SSL_CTX_new_ex(application, NULL, TLS_client_method());
    server_ctx = SSL_CTX_new_ex(application, NULL, TLS_server_method());
    if (client_ctx == NULL || server_ctx == NULL || X509_sign(cert, key, EVP_sha256()) <= 0 ||
        SSL_CTX_use_certificate(server_ctx, cert) != 1 ||
        SSL_CTX_use_PrivateKey(server_ctx, key) != 1)
        bench_die("no TLS with this key");
    X509_free(cert);
}

static pair open_pair(void)
{
    BIO *to_server = BIO_new(BIO_s_mem()), *to_client = BIO_new(BIO_s_mem());
    pair p = {.client = SSL_new(client_ctx), .server = SSL_new(server_ctx)};

    BIO_up_ref(to_server);
    BIO_up_ref(to_client);
    SSL_set_bio(p.server, to_server, to_client);
    SSL_set_bio(p.client, to_client, to_server);
    SSL_set_accept_state(p.server);
    SSL_set_connect_state(p.client);
    return p;
}

static void advance(pair *p)
{
    for (int i = 0; i < 10; i++) {
        if (!p->waits)
            SSL_do_handshake(p->client);
        int result = SSL_do_handshake(p->server);
        p->waits = SSL_get_error(p->server, result) == SSL_ERROR_WANT_ASYNC;
        if (p->waits || (SSL_is_init_finished(p->client) && SSL_is_init_finished(p->server)))
            return;
    }
    bench_die("no handshake");
}

/* Milliseconds until all are connected. */
static double handshakes(size_t count)
{
    static pair pairs[PAIRS_MAX];
    static struct pollfd fds[PAIRS_MAX];
    struct timespec start, end;
    size_t waiting = 0;

    clock_gettime(CLOCK_MONOTONIC, &start);
    for (size_t i = 0; i < count; i++) {
        OSSL_ASYNC_FD fd = -1;
        size_t known = 0;
        pairs[i] = open_pair();
        advance(&pairs[i]);
        if (pairs[i].waits && (SSL_get_all_async_fds(pairs[i].server, NULL, &known) != 1 ||
                               known != 1 || !SSL_get_all_async_fds(pairs[i].server, &fd, &known)))
            bench_die("no descriptor");
        waiting += pairs[i].waits;
        fds[i] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    while (waiting > 0) {
        if (poll(fds, count, 20000) <= 0)
            bench_die("handshakes wait for nothing");
        for (size_t i = 0; i < count; i++) {
            if (fds[i].revents == 0)
                continue;
            advance(&pairs[i]);
            if (!pairs[i].waits) {
                fds[i].fd = -1;
                waiting--;
            }
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    for (size_t i = 0; i < count; i++) {
        SSL_free(pairs[i].client);
        SSL_free(pairs[i].server);
    }
    return (double)(end.tv_sec - start.tv_sec) * 1e3 + (double)(end.tv_nsec - start.tv_nsec) / 1e6;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median_of(size_t count, int rounds)
{
    double took[BENCH_ROUNDS_MAX];

    for (int i = 0; i < rounds; i++)
        took[i] = handshakes(count);
    qsort(took, (size_t)rounds, sizeof(*took), ascending);
    return took[rounds / 2];
}

int main(int argc, char **argv)
{
    size_t count = argc > 2 ? (size_t)strtol(argv[2], NULL, 10) : 64;
    int rounds = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 9;

    if (argc < 2 || count < 1 || count > PAIRS_MAX || rounds < 1 || rounds > BENCH_ROUNDS_MAX) {
        fprintf(stderr, "usage: bench_async PROVIDER-FOLDER [HANDSHAKES 1-%d [ROUNDS 1-%d]]\n",
                PAIRS_MAX, BENCH_ROUNDS_MAX);
        return 2;
    }
    OSSL_LIB_CTX *application = bench_application(argv[1]);
    EVP_PKEY *key = bench_key(application, "alias/bench-p256");
    make_contexts(application, key);
    double blocking = median_of(1, rounds);
    SSL_CTX_set_mode(server_ctx, SSL_MODE_ASYNC);
    handshakes(count); /* the connections are made before the clock starts */
    double one = median_of(1, rounds), all = median_of(count, rounds);
    printf("TLS 1.3 handshakes on one thread, P-256; medians of %d\n", rounds);
    printf("%-28s %8.1f ms\n", "one, blocking", blocking);
    printf("%-28s %8.1f ms\n", "one, asynchronous", one);
    printf("%3zu %-24s %8.1f ms, %.2f times one\n", count, "in flight", all, all / one);
    SSL_CTX_free(client_ctx);
    SSL_CTX_free(server_ctx);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(application);
    return 0;
}
