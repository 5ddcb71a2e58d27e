/* A peer that answers as no real KMS would: a socket on loopback that gives scripted answers in the
 * order of the requests, and counts what reaches it. */
#ifndef KMS_TESTS_PEER_H
#define KMS_TESTS_PEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* What happens once a request has been read to its end. */
typedef enum peer_manner {
    PEER_KEEP,   /* send, and wait for the next request on the connection */
    PEER_CLOSE,  /* send, then close */
    PEER_DRIP,   /* send a byte each 20 ms */
    PEER_REPEAT, /* send again and again until the client has had enough */
    PEER_SILENT, /* send nothing until the client goes away */
} peer_manner;

typedef struct peer_answer {
    const char *text; /* with status line and headers */
    peer_manner manner;
} peer_answer;

typedef struct test_peer {
    int listener;
    pthread_t thread;
    char url[64];
    const peer_answer *script; /* the last answer is given to all further requests */
    size_t count;
    atomic_long connections, requests;
    char last_request[16384]; /* to be read when the peer has been stopped */
} test_peer;

/* Starts the peer on a free port. Fails the test otherwise. */
void test_peer_start(test_peer *peer, const peer_answer *script, size_t count);
void test_peer_stop(test_peer *peer);

/* An answer of HTTP/1.1 with Content-Length and a request id, in a buffer of the test's. */
const char *peer_json(char *buffer, size_t size, int status, const char *headers, const char *body);

#endif
