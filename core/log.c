#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES (KMS_ERROR_TEXT_MAX + 128)

/* One write, without the SIGPIPE that a closed pipe would send to the whole process. */
static void write_line(int fd, const char *line, size_t len)
{
    const struct timespec at_once = {0};
    sigset_t sigpipe, before, pending;
    bool guard;
    ssize_t written;

    sigemptyset(&sigpipe);
    sigaddset(&sigpipe, SIGPIPE);
    /* A SIGPIPE that is pending already is the application's: ours merges into it. */
    guard = sigpending(&pending) == 0 && !sigismember(&pending, SIGPIPE) &&
            pthread_sigmask(SIG_BLOCK, &sigpipe, &before) == 0;
    do {
        written = write(fd, line, len);
    } while (written < 0 && errno == EINTR);
    if (guard) {
        if (written < 0 && errno == EPIPE)
            sigtimedwait(&sigpipe, NULL, &at_once);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
}

/* A symbolic link may be somebody's who wants a file of ours written to: it is not followed. */
static void write_to_file(const char *path, const char *line, size_t len)
{
    int fd = open(
        path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW, 0600);

    if (fd < 0)
        return;
    write_line(fd, line, len);
    close(fd);
}

static const char *target_of(const kms_config *config)
{
    const char *target;

    if (config != NULL)
        return kms_config_text(config, KMS_SET_LOG);
    /* The configuration could not be read: that very error must not vanish. */
    target = secure_getenv("KMS_PROVIDER_LOG");
    return target != NULL && *target != '\0' ? target : "stderr";
}

void kms_log_error(const kms_config *config, const char *door, const kms_error *err)
{
    const char *target = target_of(config);
    char text[KMS_ERROR_TEXT_MAX], line[LINE_MAX_BYTES];
    int saved = errno;

    kms_error_text(err, text, sizeof(text));
    snprintf(line, sizeof(line) - 1, "kms: %.64s: %s", door, text);
    if (strcmp(target, "syslog") == 0) {
        syslog(LOG_USER | LOG_ERR, "%s", line);
    } else if (strcmp(target, "off") != 0) {
        size_t len = strlen(line);
        line[len] = '\n';
        if (target[0] == '/')
            write_to_file(target, line, len + 1);
        else
            write_line(STDERR_FILENO, line, len + 1);
    }
    errno = saved;
}
