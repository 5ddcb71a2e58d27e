/* HTTP transport: POST over pooled libcurl connections. TLS 1.2 or later, certificates always
 * verified, redirects never followed, replies bounded (headers and body together). Runs inside the
 * scope of core/libctx.h. Replies are received into locked memory; of a request's body libcurl and
 * OpenSSL make short-lived copies in ordinary memory, which nobody outside of them can prevent.
 * A kms_http may be used from any thread; after fork() the child starts with no connections, and
 * the parent's are dropped there without a TLS shutdown. */
#ifndef KMS_CORE_HTTP_H
#define KMS_CORE_HTTP_H

#include "core/config.h"
#include "core/secret.h"

#include <openssl/types.h>
#include <stdbool.h>

#define KMS_REPLY_MAX         ((size_t)1024 * 1024) /* bytes, headers included */
#define KMS_REPLY_HEADERS_MAX ((size_t)64 * 1024)

typedef struct kms_http kms_http;

/* No network, and libcurl is not initialised before the first request. libctx must outlive it. */
kms_status kms_http_new(const kms_config *config, OSSL_LIB_CTX *libctx, kms_http **out,
                        kms_error *err);
/* Closes all connections. No other thread may be inside, and no job be paused there. NULL is
 * allowed. */
void kms_http_free(kms_http *http);

typedef struct kms_http_request {
    const char *url;
    bool direct;                /* never by way of a proxy: the URL is on loopback */
    bool fresh;                 /* on a new connection: libcurl sends again what a kept one lost */
    const char *const *headers; /* "Name: value" */
    size_t header_count;
    kms_bytes body;  /* must outlive the call */
    long timeout_ms; /* of this one attempt */
} kms_http_request;

/* Release with kms_http_reply_clear. Texts are empty where the server sent none. */
typedef struct kms_http_reply {
    long status;
    kms_secret body;
    char request_id[64];
    char error_type[128];
    char date[64];
    long retry_after_ms; /* -1: none */
    bool has_age;        /* an Age header: the reply is a cache's, its Date proves nothing */
} kms_http_reply;

/* One attempt. An HTTP error status is a reply, not an error. Inside of an OpenSSL ASYNC job it
 * pauses the job while it waits (core/wait.h): the caller holds no lock, and tells kms_wait_hold of
 * what else it holds.
 * Errors: KMS_E_UNREACHABLE, KMS_E_TIMEOUT, KMS_E_TLS, KMS_E_TLS_HANDSHAKE,
 * KMS_E_REPLY_TOO_LARGE, KMS_E_REPLY_MALFORMED (no HTTP), KMS_E_MEMORY_LOCK. */
kms_status kms_http_post(kms_http *http, const kms_http_request *request, kms_http_reply *reply,
                         kms_error *err);
void kms_http_reply_clear(kms_http_reply *reply);

#endif
