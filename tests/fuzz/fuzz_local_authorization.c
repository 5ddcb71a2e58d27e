/* kms-local takes requests from whoever is on the machine. One line each of the input is a header
 * (NAME: VALUE), an empty line ends them, the rest is the body. What holds: no crash, and nothing
 * is believed, for no input carries a signature made with this secret and the clock's time. */
#include "auth.h"

#include <openssl/rand.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADERS_MAX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const options *server_options(void)
{
    static options o = {.credential_count = 1};
    uint8_t random[16];

    if (o.credentials[0].id[0] == '\0') {
        strcpy(o.credentials[0].id, "local");
        if (RAND_bytes(random, sizeof(random)) != 1)
            abort();
        for (size_t i = 0; i < sizeof(random); i++)
            snprintf(o.credentials[0].secret + 2 * i, 3, "%02x", random[i]);
    }
    return &o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auth_header headers[HEADERS_MAX];
    char region[REGION_SIZE], *text = malloc(size + 1), *rest = text;
    failure f = {0};
    auth_request request = {.headers = headers, .body = "", .has_query = false};

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    while (rest != NULL && *rest != '\n' && request.header_count < HEADERS_MAX) {
        char *value = strsep(&rest, "\n"), *name = strsep(&value, ":");
        headers[request.header_count++] = (auth_header){name, value != NULL ? value : ""};
    }
    if (rest != NULL) {
        request.body = rest;
        request.body_len = strlen(rest);
    }
    if (auth_verify(server_options(), &request, region, &f) || f.exception == NULL)
        abort();
    free(text);
    return 0;
}
