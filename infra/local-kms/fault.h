/* Failures on purpose: what a client has to survive. Thread-safe. */
#ifndef LOCAL_FAULT_H
#define LOCAL_FAULT_H

#include <stdbool.h>
#include <stddef.h>

#define FAULT_KIND_MAX 64

/* True for OP:KIND:PROBABILITY with an operation, a kind and a probability that exist. */
bool fault_valid(const char *text);

/* Replaces all faults; the texts must be valid. */
void fault_set(const char *const *texts, size_t count);

/* Throws the dice for one request; writes the kind that strikes. */
bool fault_strikes(const char *name, char kind[FAULT_KIND_MAX]);

/* Every kind that is not an exception's name. */
bool fault_is_exception(const char *kind);

#endif
