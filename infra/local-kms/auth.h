/* Verification of Signature Version 4: who sent the request, to which region, unaltered. */
#ifndef LOCAL_AUTH_H
#define LOCAL_AUTH_H

#include "failure.h"
#include "options.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct auth_header {
    const char *name, *value;
} auth_header;

/* One request as it came in: a POST to "/". */
typedef struct auth_request {
    const auth_header *headers; /* in any order and case */
    size_t header_count;
    bool has_query; /* which no KMS request has, so none is signed */
    const char *body;
    size_t body_len;
} auth_request;

/* True when the signature holds; region receives the one of the credential's scope. */
bool auth_verify(const options *o, const auth_request *request, char region[REGION_SIZE],
                 failure *f);

#endif
