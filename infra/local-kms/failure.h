/* A refusal in AWS's words: exception name and text. */
#ifndef LOCAL_FAILURE_H
#define LOCAL_FAILURE_H

#include <stdbool.h>

typedef struct failure {
    const char *exception; /* NULL: none */
    char message[768];     /* empty: KMS sends none (InvalidCiphertextException) */
} failure;

/* Records a refusal and returns false, so that a check ends in `return refuse(...)`. */
bool refuse(failure *f, const char *exception, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* KMS answers 500 for its own faults and 400 for nearly everything else. */
unsigned failure_http_status(const failure *f);

#endif
