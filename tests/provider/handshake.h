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

/* Each side trusts the other's self-signed certificate alone; then a word goes each way. Fails the
 * test otherwise. */
void handshake(const application *app, const meeting *how);

#endif
