/* Requests to kms-local as they are on the wire, well formed or not, and its answers. */
#ifndef KMS_TESTS_WIRE_H
#define KMS_TESTS_WIRE_H

#include "tests/integration/server.h"

#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <stddef.h>

/* What to send. Members that are NULL or 0 mean what a right request has. */
typedef struct wire_request {
    const char *operation;
    const char *body;          /* "{}" */
    const char *target;        /* TrentService.<operation> */
    const char *region;        /* eu-central-1 */
    const char *id, *secret;   /* local */
    const char *token;         /* none */
    const char *extra;         /* none; NAME: VALUE lines sent but not signed */
    const char *sent_body;     /* the signed one */
    const char *sent_target;   /* the signed one */
    const char *authorization; /* the right one; "" sends none */
    const char *query;         /* none */
    const char *ca;            /* PEM file to trust */
    size_t body_len;           /* strlen(body) */
    long skew;                 /* seconds by which the client's clock is wrong */
    CURL *easy;                /* a handle to use again; else one for this request alone */
} wire_request;

typedef struct wire_reply {
    CURLcode code;
    long status;
    char *text;
    size_t len;
    char request_id[64], type[64]; /* headers x-amzn-RequestId and Content-Type */
    cJSON *json;                   /* NULL where the text is none */
    const char *exception;         /* "" where there is none */
} wire_reply;

void wire_send(const test_server *server, const wire_request *request, wire_reply *reply);
void wire_reply_clear(wire_reply *reply);

/* Sends and compares: exception "" expects status 200, else 400 (500 for KMSInternalException). */
void wire_expect(const test_server *server, const wire_request *request, const char *exception);

/* Sends what must succeed and copies one string member; path is MEMBER or OBJECT.MEMBER. */
void wire_get(const test_server *server, const wire_request *request, const char *path, char *out,
              size_t size);

#endif
