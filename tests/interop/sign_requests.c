/* Signs what sigv4_botocore.py asks for with core's signer. A line on standard input is a request:
 * {"id","secret","region","service","date","body" (Base64),"headers":[[NAME,VALUE]...]}; a line on
 * standard output is its Authorization header. */
#include "core/json.h"
#include "core/libctx.h"
#include "core/sigv4.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADERS_MAX 32

static size_t read_headers(const cJSON *list, kms_sigv4_header headers[HEADERS_MAX])
{
    const cJSON *pair = NULL;
    size_t n = 0;

    cJSON_ArrayForEach(pair, list)
    {
        const char *name = cJSON_GetStringValue(cJSON_GetArrayItem(pair, 0));
        const char *value = cJSON_GetStringValue(cJSON_GetArrayItem(pair, 1));
        if (name == NULL || value == NULL || n == HEADERS_MAX)
            return 0;
        headers[n++] = (kms_sigv4_header){name, value};
    }
    return n;
}

static kms_status read_credentials(const cJSON *json, kms_credentials *out, kms_error *err)
{
    const char *secret = kms_json_string(json, "secret");

    snprintf(out->access_key_id, sizeof(out->access_key_id), "%s", kms_json_string(json, "id"));
    return kms_secret_copy(&out->secret_access_key,
                           (kms_bytes){(const uint8_t *)secret, strlen(secret)}, err);
}

static kms_status sign(kms_sigv4 *signer, const cJSON *json,
                       char authorization[KMS_SIGV4_AUTHORIZATION_MAX], kms_error *err)
{
    kms_sigv4_header headers[HEADERS_MAX];
    kms_credentials credentials = {0};
    kms_buffer body = {0};
    kms_sigv4_request request = {
        .region = kms_json_string(json, "region"),
        .service = kms_json_string(json, "service"),
        .path = "/",
        .headers = headers,
        .header_count = read_headers(kms_json_member(json, "headers"), headers),
        .date = kms_json_string(json, "date"),
    };
    kms_status st = read_credentials(json, &credentials, err);

    if (st == KMS_OK && kms_json_string(json, "body")[0] != '\0')
        st = kms_json_bytes(json, "body", &body, err);
    request.body = (kms_bytes){body.data, body.len};
    if (st == KMS_OK)
        st = kms_sigv4_sign(signer, &request, &credentials, authorization, err);
    kms_buffer_clear(&body);
    kms_credentials_clear(&credentials);
    return st;
}

static bool answer(kms_sigv4 *signer, const char *line)
{
    char authorization[KMS_SIGV4_AUTHORIZATION_MAX];
    kms_error err = {0};
    cJSON *json = cJSON_Parse(line);
    kms_status st = json != NULL ? sign(signer, json, authorization, &err) : KMS_E_ARGUMENT;

    cJSON_Delete(json);
    if (st == KMS_OK)
        puts(authorization);
    else
        fprintf(stderr, "sign_requests: %s: %s\n", kms_status_name(st), err.detail);
    return st == KMS_OK;
}

int main(void)
{
    OSSL_LIB_CTX *libctx = NULL;
    kms_sigv4 *signer = NULL;
    char *line = NULL;
    size_t size = 0;
    bool ok =
        kms_libctx_new(&libctx, NULL) == KMS_OK && kms_sigv4_new(libctx, &signer, NULL) == KMS_OK;

    while (ok && getline(&line, &size, stdin) > 0)
        ok = answer(signer, line);
    free(line);
    kms_sigv4_free(signer);
    kms_libctx_free(libctx);
    return ok ? 0 : 1;
}
