#include "core/http.h"

#include "core/libctx.h"
#include "core/lock.h"
#include "core/wait.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/auxv.h>
#include <unistd.h>

#define FIRST_REPLY_SIZE ((size_t)512) /* holds most replies whole */
#define IDLE_SECONDS     50L /* below the idle timeouts of AWS's front ends and of proxies */
#define SOCKETS_MAX      8   /* addresses that libcurl tries at a time: one of each family */

/* An easy handle, and a multi handle that keeps its connection. Lent to one request at a time. */
typedef struct connection {
    CURL *easy;
    CURLM *multi;
    kms_http *http;
    curl_socket_t sockets[SOCKETS_MAX]; /* open ones, CURL_SOCKET_BAD elsewhere */
    bool busy;
    kms_wait *wait; /* of the job that has it; NULL: its user blocks */
    bool lost;      /* it is the parent's: a job was paused, and resumed in a child */
    pthread_t user; /* the thread that has or had it */
    struct connection *next_idle;
    struct connection *next, *previous; /* all of the pool's connections */
    char message[CURL_ERROR_SIZE];
} connection;

struct kms_http {
    OSSL_LIB_CTX *libctx;
    char *ca_bundle; /* NULL: the system's */
    long connect_timeout_ms;
    long max_idle;
    kms_lock lock; /* guards all that follows */
    pid_t owner;
    bool curl_ready;
    connection *idle; /* last used first */
    connection *all;
    long idle_count;
};

kms_status kms_http_new(const kms_config *config, OSSL_LIB_CTX *libctx, kms_http **out,
                        kms_error *err)
{
    const char *ca_bundle = kms_config_text(config, KMS_SET_CA_BUNDLE);
    kms_http *http = calloc(1, sizeof(*http));
    kms_status st = KMS_OK;

    *out = NULL;
    if (http == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "connection pool");
    http->libctx = libctx;
    http->connect_timeout_ms = kms_config_number(config, KMS_SET_CONNECT_TIMEOUT);
    http->max_idle = kms_config_number(config, KMS_SET_MAX_IDLE_CONNECTIONS);
    http->owner = getpid();
    if (ca_bundle != NULL && (http->ca_bundle = strdup(ca_bundle)) == NULL)
        st = kms_fail(err, KMS_E_NO_MEMORY, "connection pool");
    if (st == KMS_OK)
        st = kms_lock_init(&http->lock, err);
    if (st != KMS_OK) {
        free(http->ca_bundle);
        free(http);
        return st;
    }
    *out = http;
    return KMS_OK;
}

static void link_connection(kms_http *http, connection *conn)
{
    conn->next = http->all;
    if (http->all != NULL)
        http->all->previous = conn;
    http->all = conn;
}

static void unlink_connection(kms_http *http, connection *conn)
{
    if (conn->next != NULL)
        conn->next->previous = conn->previous;
    if (conn->previous != NULL)
        conn->previous->next = conn->next;
    else
        http->all = conn->next;
}

static void free_connection(connection *conn)
{
    curl_easy_cleanup(conn->easy);
    curl_multi_cleanup(conn->multi);
    free(conn);
}

/* In a child: points the parent's socket at /dev/null, so that libcurl's farewell to it (a TLS
 * alert that would end the parent's session too) goes nowhere. */
static void detach_socket(curl_socket_t item)
{
    if (item == CURL_SOCKET_BAD)
        return;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup3(null, item, O_CLOEXEC);
        close(null);
    } else {
        close(item); /* out of descriptors: libcurl then writes to a closed one */
    }
}

/* Drops what belongs to the parent after a fork. A handle that another thread was using at that
 * moment may be in any state: its sockets are detached and its memory is left alone. */
static void forget_parent(kms_http *http)
{
    connection *next;

    for (connection *conn = http->all; conn != NULL; conn = next) {
        next = conn->next;
        for (size_t i = 0; i < SOCKETS_MAX; i++)
            detach_socket(conn->sockets[i]);
        if (!conn->busy)
            free_connection(conn);
    }
    http->all = NULL;
    http->idle = NULL;
    http->idle_count = 0;
    http->owner = getpid();
}

void kms_http_free(kms_http *http)
{
    kms_scope scope;
    connection *next;

    if (http == NULL)
        return;
    kms_scope_enter(&scope, http->libctx);
    if (http->owner != getpid())
        forget_parent(http);
    for (connection *conn = http->all; conn != NULL; conn = next) {
        next = conn->next;
        free_connection(conn);
    }
    if (http->curl_ready)
        curl_global_cleanup();
    kms_scope_leave(&scope);
    kms_lock_destroy(&http->lock);
    free(http->ca_bundle);
    free(http);
}

/* Puts `with` in the place of `item`; false where there is none. */
static bool replace_socket(connection *conn, curl_socket_t item, curl_socket_t with)
{
    for (size_t i = 0; i < SOCKETS_MAX; i++) {
        if (conn->sockets[i] == item) {
            conn->sockets[i] = with;
            return true;
        }
    }
    return false;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    curl_socket_t item =
        socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

    (void)purpose;
    if (item != CURL_SOCKET_BAD && !replace_socket(arg, CURL_SOCKET_BAD, item)) {
        close(item);
        item = CURL_SOCKET_BAD;
    }
    return item;
}

static int close_socket(void *arg, curl_socket_t item)
{
    connection *conn = arg;

    /* Closing it would not end that where another process has it too. */
    if (conn->wait != NULL)
        kms_wait_watch(conn->wait, item, 0);
    replace_socket(conn, item, CURL_SOCKET_BAD);
    return close(item);
}

/* libcurl tells what it waits for. Outside of a job it waits itself. */
static int watch_socket(CURL *easy, curl_socket_t item, int what, void *arg, void *item_arg)
{
    const connection *conn = arg;
    uint32_t events = 0;

    (void)easy;
    (void)item_arg;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= EPOLLOUT;
    return conn->wait == NULL || kms_wait_watch(conn->wait, item, events) ? 0 : -1;
}

static int set_timer(CURLM *multi, long timeout_ms, void *arg)
{
    const connection *conn = arg;

    (void)multi;
    if (conn->wait != NULL)
        kms_wait_alarm(conn->wait, timeout_ms);
    return 0;
}

/* libcurl would write the session's secrets to the file that SSLKEYLOGFILE names, and with them all
 * that is sent; and OpenSSL would keep the last plaintext that it deciphered. */
static CURLcode keep_tls_secrets(CURL *easy, void *ssl_ctx, void *arg)
{
    (void)easy;
    (void)arg;
    SSL_CTX_set_keylog_callback(ssl_ctx, NULL);
    SSL_CTX_set_options(ssl_ctx, SSL_OP_CLEANSE_PLAINTEXT);
    return CURLE_OK;
}

/* What the callbacks fill. */
typedef struct receiver {
    kms_http_reply *reply;
    size_t received; /* bytes of headers and body */
    kms_error *err;
    kms_status status;
} receiver;

static kms_status count_received(receiver *to, size_t len, size_t max)
{
    if (len > max || to->received > max - len)
        return kms_fail(to->err, KMS_E_REPLY_TOO_LARGE, "more than %zu bytes", max);
    to->received += len;
    return KMS_OK;
}

static size_t receive_body(char *data, size_t size, size_t count, void *arg)
{
    receiver *to = arg;
    size_t len = size * count;

    to->status = count_received(to, len, KMS_REPLY_MAX);
    if (to->status == KMS_OK)
        to->status =
            kms_secret_append(&to->reply->body, (kms_bytes){(const uint8_t *)data, len}, to->err);
    /* libcurl's buffer is ordinary memory that outlives the transfer. */
    OPENSSL_cleanse(data, len);
    return to->status == KMS_OK ? len : 0;
}

static bool header_value(const char *line, size_t len, const char *name, char *out, size_t size)
{
    size_t name_len = strlen(name);
    size_t from = name_len + 1;

    if (len <= name_len || line[name_len] != ':' || strncasecmp(line, name, name_len) != 0)
        return false;
    while (from < len && (line[from] == ' ' || line[from] == '\t'))
        from++;
    while (len > from && strchr("\r\n \t", line[len - 1]) != NULL)
        len--;
    size_t n = len - from < size - 1 ? len - from : size - 1;
    memcpy(out, line + from, n);
    out[n] = '\0';
    return true;
}

static size_t receive_header(char *data, size_t size, size_t count, void *arg)
{
    receiver *to = arg;
    kms_http_reply *reply = to->reply;
    size_t len = size * count;
    char text[32];

    to->status = count_received(to, len, KMS_REPLY_HEADERS_MAX);
    if (to->status != KMS_OK)
        return 0;
    if (header_value(data, len, "x-amzn-RequestId", reply->request_id, sizeof(reply->request_id)) ||
        header_value(data, len, "x-amzn-ErrorType", reply->error_type, sizeof(reply->error_type)) ||
        header_value(data, len, "Date", reply->date, sizeof(reply->date)))
        return len;
    if (header_value(data, len, "x-amz-retry-after", text, sizeof(text))) {
        char *end;
        long ms = strtol(text, &end, 10);
        if (end != text && *end == '\0' && ms >= 0)
            reply->retry_after_ms = ms;
    } else if (header_value(data, len, "Age", text, sizeof(text))) {
        reply->has_age = true;
    }
    return len;
}

/* The options that never change for a handle. */
static kms_status configure(connection *conn, kms_error *err)
{
    const kms_http *http = conn->http;
    CURL *easy = conn->easy;
    CURLcode code = CURLE_OK;
#define SET(option, value)                                                                         \
    do {                                                                                           \
        if (code == CURLE_OK)                                                                      \
            code = curl_easy_setopt(easy, option, value);                                          \
    } while (0)

    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* else a resolver that hangs is waited for past all deadlines */
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSL_CTX_FUNCTION, keep_tls_secrets);
    if (http->ca_bundle != NULL) {
        SET(CURLOPT_CAINFO, http->ca_bundle);
        SET(CURLOPT_CAPATH, NULL); /* else the system's authorities are trusted as well */
    }
    SET(CURLOPT_CONNECTTIMEOUT_MS, http->connect_timeout_ms);
    SET(CURLOPT_MAXAGE_CONN, IDLE_SECONDS);
    SET(CURLOPT_MAXCONNECTS, 1L);
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_WRITEFUNCTION, receive_body);
    SET(CURLOPT_HEADERFUNCTION, receive_header);
    SET(CURLOPT_ERRORBUFFER, conn->message);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, conn);
    SET(CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    SET(CURLOPT_CLOSESOCKETDATA, conn);
#undef SET
    if (code != CURLE_OK)
        return kms_fail(err, KMS_E_INTERNAL, "libcurl: %s", curl_easy_strerror(code));
    curl_multi_setopt(conn->multi, CURLMOPT_MAXCONNECTS, 1L);
    curl_multi_setopt(conn->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl_multi_setopt(conn->multi, CURLMOPT_SOCKETDATA, conn);
    curl_multi_setopt(conn->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(conn->multi, CURLMOPT_TIMERDATA, conn);
    return KMS_OK;
}

static kms_status new_connection(kms_http *http, connection **out, kms_error *err)
{
    connection *conn = calloc(1, sizeof(*conn));
    kms_status st;

    if (conn != NULL) {
        conn->http = http;
        for (size_t i = 0; i < SOCKETS_MAX; i++)
            conn->sockets[i] = CURL_SOCKET_BAD;
        conn->easy = curl_easy_init();
        conn->multi = curl_multi_init();
    }
    if (conn == NULL || conn->easy == NULL || conn->multi == NULL) {
        if (conn != NULL)
            free_connection(conn);
        return kms_fail(err, KMS_E_NO_MEMORY, "connection");
    }
    conn->busy = true;
    conn->user = pthread_self();
    st = configure(conn, err);
    if (st != KMS_OK) {
        free_connection(conn);
        return st;
    }
    *out = conn;
    return KMS_OK;
}

/* A resolver that did not answer in time is left behind in a thread of libcurl's, which ends when
 * it answers. libcurl must be there then, even where the module that brought it was unloaded. */
static void pin_libcurl(void)
{
    Dl_info library;

    if (dladdr((const void *)(uintptr_t)curl_easy_perform, &library) != 0)
        dlopen(library.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

/* Takes an idle connection out of the list: the one that this thread had last, whose memory is in
 * its caches and in its part of the heap, else the one that was used last. NULL: none is idle. */
static connection *take_idle(kms_http *http)
{
    connection **link = &http->idle, *conn;

    while (*link != NULL && !pthread_equal((*link)->user, pthread_self()))
        link = &(*link)->next_idle;
    if (*link == NULL)
        link = &http->idle;
    conn = *link;
    if (conn != NULL) {
        *link = conn->next_idle;
        http->idle_count--;
        conn->busy = true;
        conn->user = pthread_self();
    }
    return conn;
}

/* Takes an idle connection, or makes one. Called inside the scope. */
static kms_status lend(kms_http *http, connection **out, kms_error *err)
{
    const pid_t self = getpid(); /* a system call: not with the lock taken */
    connection *conn = NULL;
    kms_status st = KMS_OK;

    kms_lock_take(&http->lock);
    if (http->owner != self)
        forget_parent(http);
    if (!http->curl_ready) {
        pin_libcurl();
        http->curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
        if (!http->curl_ready)
            st = kms_fail(err, KMS_E_INTERNAL, "libcurl can't be initialised");
    }
    if (st == KMS_OK)
        conn = take_idle(http);
    kms_lock_give(&http->lock);

    if (st == KMS_OK && conn == NULL) {
        st = new_connection(http, &conn, err);
        if (conn == NULL)
            return st;
        kms_lock_take(&http->lock);
        link_connection(http, conn);
        kms_lock_give(&http->lock);
    }
    *out = conn;
    return st;
}

/* Lets the wait context forget the connection, which the next user may have elsewhere. */
static void leave_job(connection *conn)
{
    if (conn->wait == NULL)
        return;
    for (size_t i = 0; i < SOCKETS_MAX; i++)
        if (conn->sockets[i] != CURL_SOCKET_BAD)
            kms_wait_watch(conn->wait, conn->sockets[i], 0);
    kms_wait_alarm(conn->wait, -1);
    kms_wait_end(conn->wait);
    conn->wait = NULL;
}

static void give_back(kms_http *http, connection *conn)
{
    bool keep;

    leave_job(conn);
    kms_lock_take(&http->lock);
    conn->busy = false;
    keep = http->idle_count < http->max_idle;
    if (keep) {
        conn->next_idle = http->idle;
        http->idle = conn;
        http->idle_count++;
    } else {
        unlink_connection(http, conn);
    }
    kms_lock_give(&http->lock);
    if (!keep)
        free_connection(conn);
}

static kms_status transfer_error(CURLcode code)
{
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return KMS_E_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
        return KMS_E_TLS_HANDSHAKE;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_ENGINE_INITFAILED:
        return KMS_E_TLS;
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9, or no HTTP at all */
    case CURLE_WEIRD_SERVER_REPLY:
        return KMS_E_REPLY_MALFORMED;
    case CURLE_OUT_OF_MEMORY:
        return KMS_E_NO_MEMORY;
    default:
        return KMS_E_UNREACHABLE;
    }
}

/* The job that has the connection is never resumed. */
static void abandon(void *arg, bool forked)
{
    connection *conn = arg;
    kms_http *http = conn->http;
    kms_scope scope;

    if (forked)
        return; /* see forget_parent */
    kms_scope_enter(&scope, http->libctx);
    curl_multi_remove_handle(conn->multi, conn->easy);
    leave_job(conn);
    kms_lock_take(&http->lock);
    unlink_connection(http, conn);
    kms_lock_give(&http->lock);
    free_connection(conn);
    kms_scope_leave(&scope);
}

static CURLMcode perform_blocking(CURLM *multi)
{
    int running = 0;
    CURLMcode code = curl_multi_perform(multi, &running);

    while (code == CURLM_OK && running > 0) {
        code = curl_multi_poll(multi, NULL, 0, 1000, NULL);
        if (code == CURLM_OK)
            code = curl_multi_perform(multi, &running);
    }
    return code;
}

static int select_bits(uint32_t events)
{
    return ((events & (EPOLLIN | EPOLLHUP)) != 0 ? CURL_CSELECT_IN : 0) |
           ((events & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
           ((events & EPOLLERR) != 0 ? CURL_CSELECT_ERR : 0);
}

/* The thread runs other jobs, and the application, while this one is paused: out of the scope. */
static CURLMcode perform_in_job(connection *conn, kms_scope *scope)
{
    struct epoll_event events[SOCKETS_MAX + 1];
    int running = 0;
    CURLMcode code = curl_multi_socket_action(conn->multi, CURL_SOCKET_TIMEOUT, 0, &running);

    while (code == CURLM_OK && running > 0) {
        kms_scope_leave(scope);
        int count = kms_wait_pause(conn->wait, events, SOCKETS_MAX + 1);
        kms_scope_enter(scope, conn->http->libctx);
        conn->lost = count == 0;
        if (conn->lost)
            break;
        for (int i = 0; i < count && code == CURLM_OK; i++)
            code = curl_multi_socket_action(
                conn->multi,
                events[i].data.fd == KMS_WAIT_ALARM ? CURL_SOCKET_TIMEOUT : events[i].data.fd,
                select_bits(events[i].events), &running);
    }
    return code;
}

/* One transfer, by the handle that has all its options. */
static CURLcode perform(connection *conn, kms_scope *scope)
{
    kms_wait_holding holding = {.release = abandon, .arg = conn};
    CURLcode result = CURLE_FAILED_INIT;
    CURLMcode code = curl_multi_add_handle(conn->multi, conn->easy);
    CURLMsg *message;
    int left;

    if (code != CURLM_OK)
        return result;
    kms_wait_hold(&holding);
    code = conn->wait != NULL ? perform_in_job(conn, scope) : perform_blocking(conn->multi);
    kms_wait_let_go();
    if (conn->lost)
        return result;
    message = curl_multi_info_read(conn->multi, &left);
    if (message != NULL && message->msg == CURLMSG_DONE)
        result = message->data.result;
    else if (code == CURLM_OUT_OF_MEMORY)
        result = CURLE_OUT_OF_MEMORY;
    curl_multi_remove_handle(conn->multi, conn->easy);
    return result;
}

static kms_status transfer(connection *conn, const kms_http_request *request,
                           struct curl_slist *headers, receiver *to, kms_scope *scope)
{
    CURL *easy = conn->easy;

    conn->message[0] = '\0';
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, request->fresh ? 1L : 0L);
    /* NULL: what the environment says, which programs with raised privileges don't listen to. */
    curl_easy_setopt(easy, CURLOPT_PROXY, request->direct || getauxval(AT_SECURE) != 0 ? "" : NULL);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body.data);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, request->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, to);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, to);

    CURLcode code = perform(conn, scope);
    if (conn->lost)
        return kms_fail(to->err, KMS_E_UNREACHABLE, "forked while the job was paused");
    if (to->status != KMS_OK)
        return to->status;
    if (code != CURLE_OK)
        return kms_fail(to->err, transfer_error(code), "%s: %s", request->url,
                        conn->message[0] != '\0' ? conn->message : curl_easy_strerror(code));
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &to->reply->status);
    return KMS_OK;
}

/* libcurl wants a linked list; these nodes point at the caller's strings and need no freeing. */
static struct curl_slist *chain_headers(struct curl_slist *nodes, const kms_http_request *request)
{
    for (size_t i = 0; i < request->header_count; i++) {
        nodes[i].data = (char *)(uintptr_t)request->headers[i];
        nodes[i].next = i + 1 < request->header_count ? &nodes[i + 1] : NULL;
    }
    return nodes;
}

#define HEADERS_MAX 16

kms_status kms_http_post(kms_http *http, const kms_http_request *request, kms_http_reply *reply,
                         kms_error *err)
{
    struct curl_slist nodes[HEADERS_MAX];
    receiver to = {.reply = reply, .err = err};
    connection *conn = NULL;
    kms_scope scope;
    kms_status st;

    *reply = (kms_http_reply){.retry_after_ms = -1};
    if (request->header_count == 0 || request->header_count > HEADERS_MAX)
        return kms_fail(err, KMS_E_INTERNAL, "%zu headers", request->header_count);
    st = kms_secret_reserve(&reply->body, FIRST_REPLY_SIZE, err);
    if (st != KMS_OK)
        return st;

    kms_scope_enter(&scope, http->libctx);
    st = lend(http, &conn, err);
    if (conn != NULL) {
        conn->wait = kms_wait_begin();
        st = transfer(conn, request, chain_headers(nodes, request), &to, &scope);
        if (!conn->lost)
            give_back(http, conn);
    }
    kms_scope_leave(&scope);
    if (st != KMS_OK)
        kms_http_reply_clear(reply);
    return st;
}

void kms_http_reply_clear(kms_http_reply *reply)
{
    kms_secret_clear(&reply->body);
    *reply = (kms_http_reply){.retry_after_ms = -1};
}
