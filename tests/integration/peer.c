#include "tests/integration/peer.h"

#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Reads one request: headers, then as many bytes as they promise. False at the connection's end. */
static bool read_request(test_peer *peer, int connection)
{
    char *text = peer->last_request;
    size_t used = 0, need = SIZE_MAX;

    while (used < need) {
        ssize_t got = recv(connection, text + used, sizeof(peer->last_request) - 1 - used, 0);
        if (got <= 0)
            return false;
        used += (size_t)got;
        text[used] = '\0';
        const char *body = strstr(text, "\r\n\r\n");
        const char *length = strstr(text, "Content-Length: ");
        if (need == SIZE_MAX && body != NULL && length != NULL)
            need =
                (size_t)(body + 4 - text) + strtoul(length + strlen("Content-Length: "), NULL, 10);
    }
    atomic_fetch_add(&peer->requests, 1);
    return true;
}

static bool send_all(int connection, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(connection, text, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        text += sent;
        len -= (size_t)sent;
    }
    return true;
}

static void await_farewell(int connection)
{
    char byte;

    while (recv(connection, &byte, 1, 0) > 0)
        continue;
}

/* True where the connection goes on. */
static bool give(const peer_answer *answer, int connection)
{
    const struct timespec pause = {.tv_nsec = 20000000};

    switch (answer->manner) {
    case PEER_KEEP:
        return send_all(connection, answer->text, strlen(answer->text));
    case PEER_CLOSE:
        send_all(connection, answer->text, strlen(answer->text));
        return false;
    case PEER_DRIP:
        for (const char *c = answer->text; *c != '\0' && send_all(connection, c, 1); c++)
            nanosleep(&pause, NULL);
        return false;
    case PEER_REPEAT:
        while (send_all(connection, answer->text, strlen(answer->text)))
            continue;
        return false;
    case PEER_SILENT:
        await_farewell(connection);
        return false;
    }
    return false;
}

static void serve(test_peer *peer, int connection)
{
    bool open = true;

    while (open && read_request(peer, connection)) {
        size_t next = (size_t)atomic_load(&peer->requests) - 1;
        open = give(&peer->script[next < peer->count ? next : peer->count - 1], connection);
    }
    close(connection);
}

/* One connection at a time: the client under test needs no more. */
static void *run(void *arg)
{
    test_peer *peer = arg;

    for (;;) {
        int connection = accept(peer->listener, NULL, NULL);
        if (connection < 0)
            return NULL; /* test_peer_stop has shut the listener down */
        atomic_fetch_add(&peer->connections, 1);
        serve(peer, connection);
    }
}

void test_peer_start(test_peer *peer, const peer_answer *script, size_t count)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);

    peer->script = script;
    peer->count = count;
    atomic_store(&peer->connections, 0);
    atomic_store(&peer->requests, 0);
    peer->last_request[0] = '\0';
    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(peer->listener >= 0);
    assert_int_equal(bind(peer->listener, (const struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(peer->listener, 16), 0);
    assert_int_equal(getsockname(peer->listener, (struct sockaddr *)&address, &len), 0);
    snprintf(peer->url, sizeof(peer->url), "http://127.0.0.1:%d", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&peer->thread, NULL, run, peer), 0);
}

/* Call it when the clients have closed their connections. */
void test_peer_stop(test_peer *peer)
{
    shutdown(peer->listener, SHUT_RDWR);
    pthread_join(peer->thread, NULL);
    close(peer->listener);
}

const char *peer_json(char *buffer, size_t size, int status, const char *headers, const char *body)
{
    int len = snprintf(buffer, size,
                       "HTTP/1.1 %d X\r\nContent-Type: application/x-amz-json-1.1\r\n"
                       "x-amzn-RequestId: peer-request-1\r\n%sContent-Length: %zu\r\n\r\n%s",
                       status, headers, strlen(body), body);

    assert_true(len > 0 && (size_t)len < size);
    return buffer;
}
