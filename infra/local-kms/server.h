/* The HTTP side: one thread a connection, each request from signature to answer. */
#ifndef LOCAL_SERVER_H
#define LOCAL_SERVER_H

#include "options.h"
#include "store.h"

#include <stdbool.h>
#include <stddef.h>

/* Starts listening on loopback; writes the base URL. Says on standard error what fails. */
bool server_start(const options *o, store *s, char *url, size_t size);

/* Lets running requests end, closes all connections. */
void server_stop(void);

#endif
