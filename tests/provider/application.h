/* An application for a test: its own library context with the provider in it, and what it does with
 * keys, by EVP alone. Functions without a result fail the test when what they do fails. */
#ifndef KMS_TESTS_APPLICATION_H
#define KMS_TESTS_APPLICATION_H

#include "tests/integration/server.h"
#include "tests/unit/unit.h"

#include <openssl/evp.h>
#include <openssl/provider.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY       "kms:alias/matbakh-ai"
#define OTHER_KEY "kms:alias/other"

/* A context that is in order. */
#define CONTEXT "{\"dataType\":\"credentials\",\"operationId\":\"op-1\"}"

typedef struct application {
    OSSL_LIB_CTX *libctx;
    OSSL_PROVIDER *first, *second;
} application;

/* default, then kms. */
application application_open(void);
application application_open_order(const char *first, const char *second);

/* What openssl.cnf says. text is the whole file. */
application application_open_config(const char *text);
void application_close(application *app);

/* Loads the key of an address. */
EVP_PKEY *application_key(const application *app, const char *uri);

/* The same; NULL where it fails, and the errors stay in the queue. */
EVP_PKEY *application_try_key(const application *app, const char *uri);

/* The public half as an ordinary key of the default provider, in the default library context, where
 * kms is not. */
EVP_PKEY *ordinary_public(EVP_PKEY *key);

/* Bytes of a result. */
typedef struct bytes {
    unsigned char data[8192];
    size_t len;
} bytes;

bytes bytes_of(const char *text);

/* A context of EVP_PKEY_encrypt or EVP_PKEY_decrypt, with the parameter "context" set to context,
 * which may be NULL. */
EVP_PKEY_CTX *begin_wrap(const application *app, EVP_PKEY *key, const char *context);
EVP_PKEY_CTX *begin_unwrap(const application *app, EVP_PKEY *key, const char *context);

/* The whole operation. True where it succeeds. */
bool wrap(const application *app, EVP_PKEY *key, const char *context, const bytes *in, bytes *out);
bool unwrap(const application *app, EVP_PKEY *key, const char *context, const bytes *in,
            bytes *out);

/* The error queue holds this one entry: the sentence as its reason, and detail within its data.
 * Empties it. */
void assert_only_error(const char *sentence, const char *detail);

/* The same of the first entry, whatever OpenSSL adds. */
void assert_first_error(const char *sentence, const char *detail);
void assert_no_error(void);

/* Writes a temporary file; path has PATH_ROOM bytes. The caller unlinks it. */
#define PATH_ROOM 256
void write_file(const char *text, char *path);

/* Points KMS_PROVIDER_CONF at a temporary file with this text, or unsets it where text is NULL. */
void use_settings(const char *text);

/* A server of its own behind TLS, with a certificate that it made and that nobody trusts. Stopping
 * it points the environment back at the other server. */
typedef struct tls_server {
    test_server server;
    char folder[64], certificate[96];
} tls_server;

void tls_start(tls_server *tls);
void tls_stop(tls_server *tls, const test_server *back);

/* Attempts of this process to resolve a name or to connect over IP since the last call. What the
 * test itself asks the server counts too: call it before what is measured, to forget them. */
int network_attempts(void);

/* Requests that the server has had since test_server_reset. */
long requests(const test_server *server);

#endif
