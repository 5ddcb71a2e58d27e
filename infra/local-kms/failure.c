#include "failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void failure_set(failure *f, const char *exception, const char *format, ...)
{
    va_list args;

    f->exception = exception;
    va_start(args, format);
    vsnprintf(f->message, sizeof(f->message), format, args);
    va_end(args);
}

unsigned failure_http_status(const failure *f)
{
    static const char *const own[] = {"KMSInternalException", "DependencyTimeoutException",
                                      "KeyUnavailableException", "InternalFailure"};

    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (strcmp(f->exception, own[i]) == 0)
            return 500;
    return 400;
}
