/* A refusal in AWS's words: exception name and text. */
#ifndef LOCAL_FAILURE_H
#define LOCAL_FAILURE_H

#include <stdbool.h>

typedef struct failure {
    const char *exception; /* NULL: none */
    char message[768];     /* empty: KMS sends none (InvalidCiphertextException) */
} failure;

void failure_set(failure *f, const char *exception, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Records a refusal and is false, so that a check ends in `return refuse(...)`; a macro, so that
 * whoever reads or analyses the check sees the value. */
#define refuse(...) (failure_set(__VA_ARGS__), false)

/* KMS answers 500 for its own faults and 400 for nearly everything else. */
unsigned failure_http_status(const failure *f);

#endif
