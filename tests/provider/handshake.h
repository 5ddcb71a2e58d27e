/* TLS between a client and a server in this process, over memory. */
#ifndef KMS_TESTS_HANDSHAKE_H
#define KMS_TESTS_HANDSHAKE_H

#include "tests/provider/application.h"

#include <openssl/ssl.h>

/* A certificate that the key signs for itself, by its default digest, valid now. */
X509 *self_signed(const application *app, EVP_PKEY *key);

/* How they meet. */
typedef struct meeting {
    EVP_PKEY *server, *client; /* keys; client NULL: it shows no certificate */
    int version;               /* TLS1_2_VERSION or TLS1_3_VERSION, this one alone */
    const char *groups;        /* of both; NULL: OpenSSL's */
    const char *algorithms;    /* signature algorithms of both; NULL: OpenSSL's */
} meeting;

/* What both sides have for all their connections. Each trusts the other's self-signed certificate
 * alone. */
typedef struct sides {
    SSL_CTX *client, *server;
} sides;

sides sides_open(const application *app, const meeting *how);
void sides_close(sides *s);

/* A connection over memory: SSL_do_handshake on either side, in turn. */
typedef struct pair {
    SSL *client, *server;
} pair;

pair pair_open(const sides *s);
bool pair_is_connected(const pair *p);
void pair_close(pair *p);

/* Once connected: both are who they say, and a word goes each way. Fails the test otherwise. */
void pair_talk(const pair *p);

/* All of this once. */
void handshake(const application *app, const meeting *how);

#endif
