/* The certificate of an HTTPS server: given, or made here. */
#ifndef LOCAL_TLS_H
#define LOCAL_TLS_H

#include "options.h"

#include <stdbool.h>

typedef struct tls_files {
    char *certificate, *key; /* PEM; both NULL: plain HTTP */
} tls_files;

/* Reads the given files, or makes a certificate for localhost in the given folder (cert.pem, and
 * key.pem with mode 0600). Says on standard error what fails. */
bool tls_load(const options *o, tls_files *out);
void tls_clear(tls_files *files);

#endif
