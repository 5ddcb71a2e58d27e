#include "core/call.h"

#include "core/http.h"
#include "core/retry.h"
#include "core/sigv4.h"
#include "core/wait.h"

#include <curl/curl.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONTENT_TYPE "application/x-amz-json-1.1"
#define USER_AGENT   "kms-provider/" KMS_VERSION
#define SKEW_MIN     240 /* seconds; AWS itself tolerates 300 */

struct kms_caller {
    OSSL_LIB_CTX *libctx;
    kms_http *http;
    kms_sigv4 *signer;
    kms_retry_quota quota;
    atomic_long skew; /* seconds to add to this machine's clock */
    long attempt_timeout_ms;
    long operation_timeout_ms;
    long max_attempts;
};

kms_status kms_caller_new(const kms_config *config, OSSL_LIB_CTX *libctx, kms_caller **out,
                          kms_error *err)
{
    kms_caller *caller = calloc(1, sizeof(*caller));
    kms_status st;

    *out = NULL;
    if (caller == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "caller");
    caller->libctx = libctx;
    caller->attempt_timeout_ms = kms_config_number(config, KMS_SET_ATTEMPT_TIMEOUT);
    caller->operation_timeout_ms = kms_config_number(config, KMS_SET_OPERATION_TIMEOUT);
    caller->max_attempts = kms_config_number(config, KMS_SET_MAX_ATTEMPTS);
    kms_retry_quota_init(&caller->quota);
    atomic_init(&caller->skew, 0);
    st = kms_http_new(config, libctx, &caller->http, err);
    if (st == KMS_OK)
        st = kms_sigv4_new(libctx, &caller->signer, err);
    if (st != KMS_OK) {
        kms_caller_free(caller);
        return st;
    }
    *out = caller;
    return KMS_OK;
}

void kms_caller_free(kms_caller *caller)
{
    if (caller == NULL)
        return;
    kms_http_free(caller->http);
    kms_sigv4_free(caller->signer);
    free(caller);
}

kms_deadline kms_caller_deadline(const kms_caller *caller)
{
    kms_deadline deadline;

    clock_gettime(CLOCK_MONOTONIC, &deadline.at);
    deadline.at.tv_sec += caller->operation_timeout_ms / 1000;
    deadline.at.tv_nsec += caller->operation_timeout_ms % 1000 * 1000000;
    if (deadline.at.tv_nsec >= 1000000000) {
        deadline.at.tv_sec++;
        deadline.at.tv_nsec -= 1000000000;
    }
    return deadline;
}

long kms_deadline_left_ms(kms_deadline deadline)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (deadline.at.tv_sec - now.tv_sec) * 1000 + (deadline.at.tv_nsec - now.tv_nsec) / 1000000;
}

OSSL_LIB_CTX *kms_caller_libctx(const kms_caller *caller)
{
    return caller->libctx;
}

void kms_reply_clear(kms_reply *reply)
{
    cJSON_Delete(reply->json);
    kms_secret_clear(&reply->plaintext);
    *reply = (kms_reply){0};
}

/* The state of one call over its attempts. */
typedef struct call {
    kms_caller *caller;
    const kms_endpoint *endpoint;
    const char *operation;
    kms_secret body;
    kms_secret *token; /* of the attempt that is under way */
    kms_deadline deadline;
    kms_error *err;
    kms_http_reply http;
    kms_retry_class retry; /* class of the last failure */
    bool renewed;          /* credentials fetched anew once */
    bool corrected;        /* clock corrected once */
} call;

#define DATE_NAME          "X-Amz-Date: "
#define TARGET_NAME        "X-Amz-Target: "
#define AUTHORIZATION_NAME "Authorization: "
#define TOKEN_NAME         "X-Amz-Security-Token: "

/* "Name: value" for the wire. The token's header is a secret like the token. */
typedef struct wire_headers {
    char date[sizeof(DATE_NAME) + KMS_SIGV4_DATE_SIZE], target[96];
    char authorization[sizeof(AUTHORIZATION_NAME) + KMS_SIGV4_AUTHORIZATION_MAX];
    kms_secret token;
    const char *lines[6];
    size_t count;
} wire_headers;

static kms_status set_token(wire_headers *wire, const kms_credentials *credentials, kms_error *err)
{
    const kms_bytes name = {(const uint8_t *)TOKEN_NAME, strlen(TOKEN_NAME)};
    const kms_bytes end = {(const uint8_t *)"", 1};
    kms_status st;

    if (credentials->session_token.len == 0)
        return KMS_OK;
    st = kms_secret_copy(&wire->token, name, err);
    if (st == KMS_OK)
        st = kms_secret_append(&wire->token, kms_secret_bytes(&credentials->session_token), err);
    if (st == KMS_OK)
        st = kms_secret_append(&wire->token, end, err);
    return st;
}

/* Writes the headers and signs them by their values. */
static kms_status sign(call *c, const kms_credentials *credentials, wire_headers *wire)
{
    const char *date = wire->date + strlen(DATE_NAME);
    kms_sigv4_header headers[5] = {
        {"content-type", CONTENT_TYPE},
        {"host", c->endpoint->host},
        {"x-amz-date", date},
    };
    kms_sigv4_request request = {
        .region = c->endpoint->region,
        .service = "kms",
        .path = "/",
        .headers = headers,
        .header_count = 3,
        .date = date,
        .body = kms_secret_bytes(&c->body),
    };
    kms_status st = set_token(wire, credentials, c->err);

    if (st != KMS_OK)
        return st;
    memcpy(wire->date, DATE_NAME, sizeof(DATE_NAME));
    kms_sigv4_date(time(NULL) + atomic_load(&c->caller->skew), wire->date + strlen(DATE_NAME));
    snprintf(wire->target, sizeof(wire->target), TARGET_NAME "TrentService.%s", c->operation);
    memcpy(wire->authorization, AUTHORIZATION_NAME, sizeof(AUTHORIZATION_NAME));
    if (wire->token.len > 0)
        headers[request.header_count++] = (kms_sigv4_header){
            "x-amz-security-token", (const char *)wire->token.data + strlen(TOKEN_NAME)};
    headers[request.header_count++] =
        (kms_sigv4_header){"x-amz-target", wire->target + strlen(TARGET_NAME)};
    return kms_sigv4_sign(c->caller->signer, &request, credentials,
                          wire->authorization + strlen(AUTHORIZATION_NAME), c->err);
}

static void collect_lines(wire_headers *wire)
{
    wire->lines[wire->count++] = "Content-Type: " CONTENT_TYPE;
    wire->lines[wire->count++] = "User-Agent: " USER_AGENT;
    wire->lines[wire->count++] = wire->date;
    wire->lines[wire->count++] = wire->target;
    wire->lines[wire->count++] = wire->authorization;
    if (wire->token.len > 0)
        wire->lines[wire->count++] = (const char *)wire->token.data;
}

/* AWS's exception name out of the reply: "prefix#Name:rest" or "Name", body before header. */
static void exception_name(const kms_http_reply *http, const cJSON *body, char *out, size_t size)
{
    const char *name = kms_json_string(body, "__type");

    if (name == NULL)
        name = cJSON_GetStringValue(cJSON_GetObjectItem(body, "code"));
    if (name == NULL)
        name = http->error_type;
    size_t len = strcspn(name, ",:");
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '#') {
            name += i + 1;
            len -= i + 1;
            break;
        }
    }
    snprintf(out, size, "%.*s", (int)len, name);
}

/* Turns an HTTP error into an error of ours and notes its retry class. */
static kms_status failed_reply(call *c)
{
    cJSON *body = NULL;
    char name[64];
    const char *message = NULL;

    if (kms_json_parse(kms_secret_bytes(&c->http.body), &body, NULL) == KMS_OK) {
        message = kms_json_string(body, "message");
        if (message == NULL)
            message = kms_json_string(body, "Message");
    }
    exception_name(&c->http, body, name, sizeof(name));
    const kms_exception *row = kms_exception_find(name, c->http.status);
    c->retry = row->retry;
    /* The first line only: after it AWS may repeat the request's headers, the session token's
     * among them, to explain a signature that it does not like. */
    int message_len = message != NULL ? (int)strcspn(message, "\r\n") : 0;
    kms_status st =
        kms_fail(c->err, row->status, "%s%s%.*s (%s, HTTP %ld)", c->operation,
                 message_len > 0 ? ": " : "", message_len, message != NULL ? message : "",
                 name[0] != '\0' ? name : "no exception name", c->http.status);
    if (c->err != NULL)
        kms_text_copy(c->err->exception, sizeof(c->err->exception), name);
    cJSON_Delete(body);
    return st;
}

/* No reply has more than one of these. */
static kms_status lift_secret(call *c, kms_reply *reply)
{
    static const char *const names[] = {"Plaintext", "SharedSecret", "Mac"};
    kms_status st = KMS_OK;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (st == KMS_OK && reply->plaintext.data == NULL)
            st = kms_json_lift_secret(&c->http.body, names[i], &reply->plaintext, c->err);
    return st;
}

/* One signed request and its reply. */
static kms_status attempt(call *c, kms_reply *reply)
{
    kms_credentials credentials = {0};
    wire_headers wire = {.count = 0};
    kms_http_request request = {.url = c->endpoint->url};
    long left = kms_deadline_left_ms(c->deadline);
    kms_status st;

    c->retry = KMS_RETRY_NEVER;
    c->token = &wire.token;
    kms_http_reply_clear(&c->http);
    if (left <= 0)
        return kms_fail(c->err, KMS_E_TIMEOUT, "%s", c->operation);
    st = kms_credential_chain_get(c->endpoint->credentials, &credentials, c->err);
    if (st == KMS_OK)
        st = sign(c, &credentials, &wire);
    kms_credentials_clear(&credentials);
    if (st == KMS_OK) {
        collect_lines(&wire);
        request.headers = wire.lines;
        request.header_count = wire.count;
        request.direct = c->endpoint->loopback;
        request.fresh = !kms_retry_is_harmless(c->operation);
        request.body = kms_secret_bytes(&c->body);
        request.timeout_ms =
            left < c->caller->attempt_timeout_ms ? left : c->caller->attempt_timeout_ms;
        st = kms_http_post(c->caller->http, &request, &c->http, c->err);
        c->retry = kms_retry_of_status(st);
    }
    kms_secret_clear(&wire.token);
    c->token = NULL;
    if (st == KMS_OK && c->http.status != 200)
        st = failed_reply(c);
    else if (st == KMS_OK)
        st = lift_secret(c, reply);
    if (st == KMS_OK)
        st = kms_json_parse(kms_secret_bytes(&c->http.body), &reply->json, c->err);
    if (st != KMS_OK && c->err != NULL)
        kms_text_copy(c->err->request_id, sizeof(c->err->request_id), c->http.request_id);
    return st;
}

/* Compares the server's clock with ours. Only a verified server's word counts. */
static bool correct_clock(call *c)
{
    time_t server = c->http.date[0] != '\0' ? curl_getdate(c->http.date, NULL) : -1;

    if (c->corrected || !c->endpoint->tls || c->http.has_age || server < 0)
        return false;
    long skew = (long)(server - time(NULL));
    long known = atomic_load(&c->caller->skew);
    if (labs(skew - known) < SKEW_MIN)
        return false;
    atomic_store(&c->caller->skew, skew);
    c->corrected = true;
    return true;
}

static bool worth_repeating(call *c)
{
    switch (c->retry) {
    case KMS_RETRY_TRANSIENT:
        return kms_retry_is_harmless(c->operation);
    case KMS_RETRY_THROTTLED:
        return true;
    case KMS_RETRY_SKEW:
        return correct_clock(c);
    case KMS_RETRY_EXPIRED:
        if (c->renewed)
            return false;
        kms_credential_chain_invalidate(c->endpoint->credentials);
        c->renewed = true;
        return true;
    case KMS_RETRY_NEVER:
        break;
    }
    return false;
}

/* Waits before a retry; false where the deadline would pass. */
static bool pause_before(call *c, int retry)
{
    uint32_t random = 0;

    if (c->retry == KMS_RETRY_SKEW || c->retry == KMS_RETRY_EXPIRED)
        return true;
    if (RAND_bytes_ex(c->caller->libctx, (unsigned char *)&random, sizeof(random), 0) != 1)
        random = UINT32_MAX / 2;
    long ms = kms_retry_delay_ms(c->retry, retry, random, c->http.retry_after_ms);
    if (ms >= kms_deadline_left_ms(c->deadline))
        return false;
    kms_wait_sleep(ms);
    return true;
}

static void clear(call *c)
{
    if (c->token != NULL)
        kms_secret_clear(c->token);
    kms_http_reply_clear(&c->http);
    kms_secret_clear(&c->body);
}

/* The job that made the call is never resumed. */
static void abandon(void *arg, bool forked)
{
    (void)forked;
    clear(arg);
}

kms_status kms_call(kms_caller *caller, const kms_endpoint *endpoint, const char *operation,
                    const cJSON *request, kms_reply *reply, kms_error *err)
{
    call c = {.caller = caller,
              .endpoint = endpoint,
              .operation = operation,
              .deadline = kms_caller_deadline(caller),
              .err = err};
    kms_wait_holding holding = {.release = abandon, .arg = &c};
    int taken = 0;
    kms_status st;

    kms_wait_hold(&holding);
    st = kms_json_print(request, &c.body, err);
    if (st == KMS_OK)
        st = attempt(&c, reply);
    for (int retry = 0; st != KMS_OK && retry + 1 < caller->max_attempts; retry++) {
        if (!worth_repeating(&c) || !kms_retry_quota_take(&caller->quota, st, &taken) ||
            !pause_before(&c, retry))
            break;
        kms_reply_clear(reply);
        st = attempt(&c, reply);
    }
    if (st == KMS_OK) {
        kms_retry_quota_give(&caller->quota, taken);
        kms_text_copy(reply->request_id, sizeof(reply->request_id), c.http.request_id);
    } else {
        kms_reply_clear(reply);
    }
    kms_wait_let_go();
    clear(&c);
    return st;
}
