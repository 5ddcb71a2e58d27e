/* Verification of Signature Version 4: who sent the request, to which region, unaltered. */
#ifndef LOCAL_AUTH_H
#define LOCAL_AUTH_H

#include "failure.h"
#include "options.h"

#include <stddef.h>

/* One request as it came in. header returns a value by name without case, or NULL. */
typedef struct auth_request {
    const char *(*header)(void *arg, const char *name);
    void *arg;
    const char *body;
    size_t body_len;
} auth_request;

/* True when the signature holds; region receives the one of the credential's scope. */
bool auth_verify(const options *o, const auth_request *request, char *region, size_t region_size,
                 failure *f);

#endif
