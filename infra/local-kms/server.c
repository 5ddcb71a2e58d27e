#include "server.h"

#include "auth.h"
#include "call.h"
#include "fault.h"
#include "tls.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BODY_MAX    ((size_t)256 * 1024)
#define HEADERS_MAX 64
#define HEADER_ROOM ((size_t)128 * 1024) /* session tokens are long */
#define COUNTS_MAX  64
#define SLOW_MS     30000
#define HUGE_SIZE   ((size_t)2 * 1024 * 1024)
#define CONTENT     "application/x-amz-json-1.1"
#define TARGET_HEAD "TrentService."

/* The server's state: there is one server in the process, and libmicrohttpd's callbacks need it. */
static struct {
    struct MHD_Daemon *daemon;
    const options *options;
    store *store;
    tls_files tls;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t stopping_changed;
    bool stopping;
    long latency_ms;
    long connections;
    struct {
        char operation[64];
        long count;
    } counts[COUNTS_MAX];
} server = {.mutex = PTHREAD_MUTEX_INITIALIZER, .stopping_changed = PTHREAD_COND_INITIALIZER};

/* A request as it comes in. */
typedef struct request {
    char *body;
    size_t len, size;
    bool too_large;
} request;

static const char *request_body(const request *r)
{
    return r->body != NULL ? r->body : "";
}

/* An answer before it goes out. */
typedef struct answer {
    unsigned status;
    const char *content_type;
    char *body; /* malloc'd */
    size_t len;
    char date[64]; /* empty: now */
    bool reset;
} answer;

/* --- small things --- */

static void pause_ms(long ms)
{
    struct timespec until;

    if (ms <= 0)
        return;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&server.mutex);
    while (!server.stopping &&
           pthread_cond_timedwait(&server.stopping_changed, &server.mutex, &until) == 0)
        continue;
    pthread_mutex_unlock(&server.mutex);
}

static void count(const char *name)
{
    pthread_mutex_lock(&server.mutex);
    for (size_t i = 0; i < COUNTS_MAX; i++) {
        if (server.counts[i].count == 0)
            snprintf(server.counts[i].operation, sizeof(server.counts[i].operation), "%s", name);
        if (strcmp(server.counts[i].operation, name) == 0) {
            server.counts[i].count++;
            break;
        }
    }
    pthread_mutex_unlock(&server.mutex);
}

static void http_date(time_t when, char out[64])
{
    struct tm utc;

    gmtime_r(&when, &utc);
    strftime(out, 64, "%a, %d %b %Y %H:%M:%S GMT", &utc);
}

static void request_id(char out[37])
{
    unsigned char r[16] = {0};

    RAND_bytes(r, sizeof(r));
    snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-4%x%02x-a%x%02x-%02x%02x%02x%02x%02x%02x", r[0],
             r[1], r[2], r[3], r[4], r[5], r[6] & 15, r[7], r[8] & 15, r[9], r[10], r[11], r[12],
             r[13], r[14], r[15]);
}

static void answer_json(answer *a, unsigned status, const cJSON *json)
{
    a->status = status;
    a->content_type = CONTENT;
    a->body = json != NULL ? cJSON_PrintUnformatted(json) : NULL;
    a->len = a->body != NULL ? strlen(a->body) : 0;
}

static void answer_failure(answer *a, const failure *f, bool typed)
{
    cJSON *json = cJSON_CreateObject();

    if (typed)
        cJSON_AddStringToObject(json, "__type", f->exception);
    if (f->message[0] != '\0')
        cJSON_AddStringToObject(json, "message", f->message);
    answer_json(a, failure_http_status(f), json);
    cJSON_Delete(json);
}

/* --- the admin endpoint --- */

static void admin_counts(answer *a)
{
    cJSON *json = cJSON_CreateObject();

    pthread_mutex_lock(&server.mutex);
    cJSON_AddNumberToObject(json, "connections", (double)server.connections);
    cJSON *operations = cJSON_AddObjectToObject(json, "operations");
    for (size_t i = 0; i < COUNTS_MAX && server.counts[i].count > 0; i++)
        cJSON_AddNumberToObject(operations, server.counts[i].operation,
                                (double)server.counts[i].count);
    pthread_mutex_unlock(&server.mutex);
    answer_json(a, 200, json);
    cJSON_Delete(json);
}

static void admin_reset(answer *a)
{
    pthread_mutex_lock(&server.mutex);
    memset(server.counts, 0, sizeof(server.counts));
    server.connections = 0;
    pthread_mutex_unlock(&server.mutex);
    answer_json(a, 200, NULL);
}

static void admin_faults(answer *a, const request *r)
{
    const char *texts[OPTIONS_LIST_MAX];
    size_t n = 0;
    const cJSON *item = NULL;
    cJSON *json = cJSON_ParseWithLength(request_body(r), r->len);
    const cJSON *latency = cJSON_GetObjectItemCaseSensitive(json, "latencyMs");
    bool ok = cJSON_IsObject(json);

    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "faults"))
    {
        ok = ok && n < OPTIONS_LIST_MAX && cJSON_IsString(item) && fault_valid(item->valuestring);
        if (ok)
            texts[n++] = item->valuestring;
    }
    if (latency != NULL)
        ok = ok && cJSON_IsNumber(latency) && latency->valuedouble >= 0 &&
             latency->valuedouble <= LATENCY_MS_MAX;
    if (ok) {
        fault_set(texts, n);
        pthread_mutex_lock(&server.mutex);
        if (latency != NULL)
            server.latency_ms = (long)latency->valuedouble;
        pthread_mutex_unlock(&server.mutex);
    }
    answer_json(a, ok ? 200 : 400, NULL);
    cJSON_Delete(json);
}

static bool admin(const char *url, const char *method, const request *r, answer *a)
{
    bool post = strcmp(method, "POST") == 0;

    if (strcmp(url, "/_admin/requests") == 0 && !post)
        admin_counts(a);
    else if (strcmp(url, "/_admin/reset-counts") == 0 && post)
        admin_reset(a);
    else if (strcmp(url, "/_admin/faults") == 0 && post)
        admin_faults(a, r);
    else
        return false;
    return true;
}

/* --- KMS --- */

/* The request's headers as a list, for the signature. */
typedef struct header_list {
    auth_header items[HEADERS_MAX];
    size_t count;
    bool too_many;
} header_list;

static enum MHD_Result take_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    header_list *list = arg;

    (void)kind;
    list->too_many = list->count == HEADERS_MAX;
    if (list->too_many)
        return MHD_NO;
    list->items[list->count++] = (auth_header){name, value != NULL ? value : ""};
    return MHD_YES;
}

/* Who sent the request, to which region: or a refusal. */
static bool verify(struct MHD_Connection *connection, const request *r, char region[REGION_SIZE],
                   failure *f)
{
    header_list list = {.count = 0};

    MHD_get_connection_values(connection, MHD_HEADER_KIND, take_header, &list);
    if (list.too_many)
        return refuse(f, "InvalidSignatureException", "More than %d headers", HEADERS_MAX);
    const auth_request signed_request = {
        .headers = list.items,
        .header_count = list.count,
        .has_query = MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, NULL, NULL) > 0,
        .body = request_body(r),
        .body_len = r->len,
    };
    return auth_verify(server.options, &signed_request, region, f);
}

static void run_operation(const operation *op, const char *region, const cJSON *in, answer *a,
                          failure *f)
{
    if (!call_run(op, server.store, region, in, &a->body, f))
        return;
    a->status = 200;
    a->len = a->body != NULL ? strlen(a->body) : 0;
}

/* Faults that happen instead of the operation. True: the answer is made. */
static bool fault_before(const char *kind, answer *a, failure *f)
{
    if (strcmp(kind, "reset") == 0) {
        a->reset = true;
    } else if (strcmp(kind, "slow") == 0) {
        pause_ms(SLOW_MS);
        return false;
    } else if (strcmp(kind, "html503") == 0) {
        *a = (answer){.status = 503, .content_type = "text/html"};
        a->body = strdup("<html><body>Service Unavailable</body></html>");
        a->len = strlen(a->body);
    } else if (strcmp(kind, "garbage") == 0) {
        *a = (answer){.status = 200, .content_type = CONTENT, .body = strdup("\x7fnot json{{{")};
        a->len = strlen(a->body);
    } else if (strcmp(kind, "huge") == 0) {
        *a = (answer){.status = 200, .content_type = CONTENT, .body = malloc(HUGE_SIZE)};
        a->len = a->body != NULL ? HUGE_SIZE : 0;
        if (a->body != NULL)
            memset(a->body, ' ', HUGE_SIZE);
    } else if (strcmp(kind, "no-type") == 0) {
        failure_set(f, "KMSInternalException", "no type");
        answer_failure(a, f, false);
    } else if (strcmp(kind, "skew") == 0) {
        failure_set(f, "InvalidSignatureException", "Signature expired");
        answer_failure(a, f, true);
        http_date(time(NULL) + 600, a->date);
    } else if (fault_is_exception(kind)) {
        failure_set(f, kind, "injected fault");
        answer_failure(a, f, true);
    } else {
        return false;
    }
    return true;
}

static void replace_member(answer *a, const char *name, const char *value)
{
    cJSON *json = cJSON_Parse(a->body);

    if (cJSON_HasObjectItem(json, name))
        cJSON_ReplaceItemInObjectCaseSensitive(json, name, cJSON_CreateString(value));
    free(a->body);
    answer_json(a, a->status, json);
    cJSON_Delete(json);
}

/* Faults that spoil the operation's answer. */
static void fault_after(const char *kind, answer *a)
{
    if (strcmp(kind, "reset-after") == 0)
        a->reset = true;
    else if (strcmp(kind, "truncate") == 0)
        a->len /= 2;
    else if (strcmp(kind, "wrong-keyid") == 0)
        replace_member(a, "KeyId",
                       "arn:aws:kms:eu-central-1:000000000000:key/"
                       "00000000-0000-4000-a000-000000000000");
    else if (strcmp(kind, "wrong-length") == 0)
        replace_member(a, "Plaintext", "AAAA");
}

static void serve_kms(struct MHD_Connection *connection, const request *r, answer *a)
{
    const char *target = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "X-Amz-Target");
    const operation *op = target != NULL && strncmp(target, TARGET_HEAD, strlen(TARGET_HEAD)) == 0
                              ? operation_find(target + strlen(TARGET_HEAD))
                              : NULL;
    char region[REGION_SIZE], kind[FAULT_KIND_MAX] = "";
    failure f = {0};
    cJSON *in = NULL;

    if (op == NULL) {
        failure_set(&f, "UnknownOperationException", "%s", "");
        answer_failure(a, &f, true);
        return;
    }
    count(op->name);
    pthread_mutex_lock(&server.mutex);
    long latency = server.latency_ms;
    pthread_mutex_unlock(&server.mutex);
    pause_ms(latency);
    if (fault_strikes(op->name, kind) && fault_before(kind, a, &f))
        return;
    if (r->too_large)
        failure_set(&f, "SerializationException", "request too large");
    else if ((in = call_parse(request_body(r), r->len, &f)) != NULL &&
             verify(connection, r, region, &f))
        run_operation(op, region, in, a, &f);
    if (f.exception != NULL)
        answer_failure(a, &f, true);
    fault_after(kind, a);
    cJSON_Delete(in);
}

/* --- libmicrohttpd --- */

static enum MHD_Result reset_connection(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    if (info != NULL)
        setsockopt(info->connect_fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    return MHD_NO;
}

static enum MHD_Result send_answer(struct MHD_Connection *connection, answer *a)
{
    char id[37];
    struct MHD_Response *response =
        MHD_create_response_from_buffer(a->len, a->body, MHD_RESPMEM_MUST_FREE);
    enum MHD_Result result;

    if (response == NULL) {
        free(a->body);
        return MHD_NO;
    }
    request_id(id);
    if (a->date[0] == '\0')
        http_date(time(NULL), a->date);
    MHD_add_response_header(response, "Date", a->date);
    MHD_add_response_header(response, "Content-Type", a->content_type);
    MHD_add_response_header(response, "x-amzn-RequestId", id);
    result = MHD_queue_response(connection, a->status, response);
    MHD_destroy_response(response);
    return result;
}

static bool collect(request *r, const char *data, size_t len)
{
    if (r->len + len > BODY_MAX) {
        r->too_large = true;
        return true;
    }
    if (r->len + len > r->size) {
        size_t size = (r->len + len) * 2;
        char *grown = realloc(r->body, size);
        if (grown == NULL)
            return false;
        r->body = grown;
        r->size = size;
    }
    memcpy(r->body + r->len, data, len);
    r->len += len;
    return true;
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *data_size, void **state)
{
    request *r = *state;
    answer a = {.status = 404, .content_type = CONTENT};

    (void)arg;
    (void)version;
    if (r == NULL) {
        *state = calloc(1, sizeof(request));
        return *state != NULL ? MHD_YES : MHD_NO;
    }
    if (*data_size > 0) {
        bool ok = collect(r, data, *data_size);
        *data_size = 0;
        return ok ? MHD_YES : MHD_NO;
    }
    if (strcmp(url, "/") == 0 && strcmp(method, "POST") == 0)
        serve_kms(connection, r, &a);
    else if (!admin(url, method, r, &a)) {
        failure f = {0};
        failure_set(&f, "UnknownOperationException", "%s", "");
        answer_failure(&a, &f, true);
        a.status = 404;
    }
    if (a.reset) {
        free(a.body);
        return reset_connection(connection);
    }
    return send_answer(connection, &a);
}

static void completed(void *arg, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode why)
{
    request *r = *state;

    (void)arg;
    (void)connection;
    (void)why;
    if (r == NULL)
        return;
    if (r->body != NULL)
        OPENSSL_cleanse(r->body, r->size);
    free(r->body);
    free(r);
    *state = NULL;
}

static void connected(void *arg, struct MHD_Connection *connection, void **state,
                      enum MHD_ConnectionNotificationCode what)
{
    (void)arg;
    (void)connection;
    (void)state;
    if (what != MHD_CONNECTION_NOTIFY_STARTED)
        return;
    pthread_mutex_lock(&server.mutex);
    server.connections++;
    pthread_mutex_unlock(&server.mutex);
}

/* One thread a connection: a slow answer holds up nobody else. */
static struct MHD_Daemon *start_daemon(const options *o, unsigned flags, const tls_files *tls)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(o->port)};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    flags |= MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
             MHD_USE_SUPPRESS_DATE_NO_CLOCK | MHD_USE_ERROR_LOG;
    if (tls->certificate == NULL)
        return MHD_start_daemon(flags, o->port, NULL, NULL, handle, NULL, MHD_OPTION_SOCK_ADDR,
                                &address, MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEADER_ROOM,
                                MHD_OPTION_NOTIFY_COMPLETED, completed, NULL,
                                MHD_OPTION_NOTIFY_CONNECTION, connected, NULL, MHD_OPTION_END);
    return MHD_start_daemon(
        flags | MHD_USE_TLS, o->port, NULL, NULL, handle, NULL, MHD_OPTION_SOCK_ADDR, &address,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEADER_ROOM, MHD_OPTION_NOTIFY_COMPLETED, completed,
        NULL, MHD_OPTION_NOTIFY_CONNECTION, connected, NULL, MHD_OPTION_HTTPS_MEM_CERT,
        tls->certificate, MHD_OPTION_HTTPS_MEM_KEY, tls->key, MHD_OPTION_END);
}

bool server_start(const options *o, store *s, char *url, size_t size)
{
    server.options = o;
    server.store = s;
    server.latency_ms = o->latency_ms;
    if (!tls_load(o, &server.tls))
        return false;
    server.daemon = start_daemon(o, 0, &server.tls);
    if (server.daemon == NULL) {
        fprintf(stderr, "kms-local: can't listen on 127.0.0.1:%u; is the port in use?\n", o->port);
        return false;
    }
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server.daemon, MHD_DAEMON_INFO_BIND_PORT);
    snprintf(url, size, "%s://127.0.0.1:%u", server.tls.certificate != NULL ? "https" : "http",
             info != NULL ? info->port : o->port);
    return true;
}

void server_stop(void)
{
    pthread_mutex_lock(&server.mutex);
    server.stopping = true;
    pthread_cond_broadcast(&server.stopping_changed);
    pthread_mutex_unlock(&server.mutex);
    if (server.daemon != NULL)
        MHD_stop_daemon(server.daemon);
    tls_clear(&server.tls);
}
