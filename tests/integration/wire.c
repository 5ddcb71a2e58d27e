#include "tests/integration/wire.h"

#include "core/libctx.h"
#include "core/sigv4.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#define CONTENT "application/x-amz-json-1.1"

static const char *or_else(const char *given, const char *preset)
{
    return given != NULL ? given : preset;
}

static size_t collect(char *data, size_t size, size_t count, void *arg)
{
    wire_reply *reply = arg;
    size_t len = size * count;
    char *grown = realloc(reply->text, reply->len + len + 1);

    if (grown == NULL)
        return 0;
    memcpy(grown + reply->len, data, len);
    reply->text = grown;
    reply->len += len;
    grown[reply->len] = '\0';
    return len;
}

static size_t take_header(char *line, size_t size, size_t count, void *arg)
{
    wire_reply *reply = arg;
    char text[256];

    snprintf(text, sizeof(text), "%.*s", (int)(size * count), line);
    if (strncasecmp(text, "x-amzn-RequestId: ", 18) == 0)
        sscanf(text + 18, "%63[^\r\n]", reply->request_id);
    if (strncasecmp(text, "Content-Type: ", 14) == 0)
        sscanf(text + 14, "%63[^\r\n]", reply->type);
    return size * count;
}

static void sign(const wire_request *r, const kms_sigv4_header *headers, size_t count,
                 const char *date, kms_bytes body, char out[KMS_SIGV4_AUTHORIZATION_MAX])
{
    OSSL_LIB_CTX *libctx = NULL;
    kms_sigv4 *signer = NULL;
    kms_credentials c = {0};
    const char *secret = or_else(r->secret, "local");
    const kms_sigv4_request request = {
        .region = or_else(r->region, "eu-central-1"),
        .service = "kms",
        .path = "/",
        .headers = headers,
        .header_count = count,
        .date = date,
        .body = body,
    };

    snprintf(c.access_key_id, sizeof(c.access_key_id), "%s", or_else(r->id, "local"));
    assert_int_equal(kms_secret_copy(&c.secret_access_key,
                                     (kms_bytes){(const uint8_t *)secret, strlen(secret)}, NULL),
                     KMS_OK);
    assert_int_equal(kms_libctx_new(&libctx, NULL), KMS_OK);
    assert_int_equal(kms_sigv4_new(libctx, &signer, NULL), KMS_OK);
    assert_int_equal(kms_sigv4_sign(signer, &request, &c, out, NULL), KMS_OK);
    kms_sigv4_free(signer);
    kms_libctx_free(libctx);
    kms_credentials_clear(&c);
}

static struct curl_slist *add(struct curl_slist *list, const char *name, const char *value)
{
    char line[4096];

    snprintf(line, sizeof(line), "%s: %s", name, value);
    return curl_slist_append(list, line);
}

/* The headers that go out, the signature among them. */
static struct curl_slist *headers_of(const wire_request *r, const char *host, kms_bytes body)
{
    char date[KMS_SIGV4_DATE_SIZE], target[128], authorization[KMS_SIGV4_AUTHORIZATION_MAX] = "";
    struct curl_slist *list = NULL;
    kms_sigv4_header headers[5];
    size_t n = 0;

    kms_sigv4_date(time(NULL) + r->skew, date);
    snprintf(target, sizeof(target), "TrentService.%s", or_else(r->operation, ""));
    headers[n++] = (kms_sigv4_header){"content-type", CONTENT};
    headers[n++] = (kms_sigv4_header){"host", host};
    headers[n++] = (kms_sigv4_header){"x-amz-date", date};
    if (r->token != NULL)
        headers[n++] = (kms_sigv4_header){"x-amz-security-token", r->token};
    headers[n++] = (kms_sigv4_header){"x-amz-target", or_else(r->target, target)};
    if (r->authorization == NULL)
        sign(r, headers, n, date, body, authorization);
    else
        snprintf(authorization, sizeof(authorization), "%s", r->authorization);
    for (size_t i = 0; i < n; i++)
        if (i + 1 < n || r->sent_target == NULL)
            list = add(list, headers[i].name, headers[i].value);
    if (r->sent_target != NULL)
        list = add(list, "x-amz-target", r->sent_target);
    if (authorization[0] != '\0')
        list = add(list, "authorization", authorization);
    if (r->extra != NULL)
        list = curl_slist_append(list, r->extra);
    return curl_slist_append(list, "Expect:");
}

void wire_send(const test_server *server, const wire_request *r, wire_reply *reply)
{
    CURL *easy = r->easy != NULL ? r->easy : curl_easy_init();
    const char *body = or_else(r->body, "{}");
    size_t len = r->body_len != 0 ? r->body_len : strlen(body);
    struct curl_slist *headers;
    char url[256];

    assert_non_null(easy);
    *reply = (wire_reply){.exception = ""};
    headers =
        headers_of(r, strstr(server->url, "://") + 3, (kms_bytes){(const uint8_t *)body, len});
    snprintf(url, sizeof(url), "%s/%s", server->url, or_else(r->query, ""));
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT, 60L);
    curl_easy_setopt(easy, CURLOPT_CAINFO, r->ca);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE,
                     r->sent_body != NULL ? (long)strlen(r->sent_body) : (long)len);
    curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, or_else(r->sent_body, body));
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, reply);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, reply);
    reply->code = curl_easy_perform(easy);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &reply->status);
    curl_slist_free_all(headers);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
    if (r->easy == NULL)
        curl_easy_cleanup(easy);
    if (reply->text != NULL)
        reply->json = cJSON_Parse(reply->text);
    const char *type =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(reply->json, "__type"));
    if (type != NULL)
        reply->exception = type;
}

void wire_reply_clear(wire_reply *reply)
{
    cJSON_Delete(reply->json);
    free(reply->text);
    *reply = (wire_reply){0};
}

void wire_expect(const test_server *server, const wire_request *request, const char *exception)
{
    wire_reply reply;
    long status = exception[0] == '\0'                             ? 200
                  : strcmp(exception, "KMSInternalException") == 0 ? 500
                                                                   : 400;

    wire_send(server, request, &reply);
    if (reply.code != CURLE_OK || reply.status != status || strcmp(reply.exception, exception) != 0)
        fail_msg("%s %s: expected %ld '%s', got %ld %s", or_else(request->operation, "?"),
                 or_else(request->authorization, or_else(request->body, "")), status, exception,
                 reply.status, reply.text != NULL ? reply.text : curl_easy_strerror(reply.code));
    assert_string_equal(reply.type, CONTENT);
    assert_int_equal(strlen(reply.request_id), 36);
    wire_reply_clear(&reply);
}

void wire_get(const test_server *server, const wire_request *request, const char *path, char *out,
              size_t size)
{
    wire_reply reply;
    const char *dot = strchr(path, '.');
    char object[64];

    wire_send(server, request, &reply);
    const cJSON *in = reply.json;
    if (dot != NULL) {
        snprintf(object, sizeof(object), "%.*s", (int)(dot - path), path);
        in = cJSON_GetObjectItemCaseSensitive(in, object);
    }
    const char *value =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(in, dot != NULL ? dot + 1 : path));
    if (value == NULL || strlen(value) >= size)
        fail_msg("no %s in %s", path, reply.text != NULL ? reply.text : "nothing");
    else
        snprintf(out, size, "%s", value);
    wire_reply_clear(&reply);
}
