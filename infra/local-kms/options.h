/* Command line of kms-local. */
#ifndef LOCAL_OPTIONS_H
#define LOCAL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define OPTIONS_LIST_MAX 64
#define LATENCY_MS_MAX   600000
#define REGION_SIZE      32 /* of a region's name, with its terminator */

typedef struct credential {
    char id[129];
    char secret[129];
    char *token; /* NULL: none is expected */
} credential;

typedef struct options {
    uint16_t port;  /* 0: any free one */
    const char *db; /* NULL: in memory */
    const char *account;
    const char *region; /* of seeded keys */
    const char *seeds[OPTIONS_LIST_MAX];
    int seed_count;
    credential credentials[OPTIONS_LIST_MAX];
    int credential_count;
    const char *faults[OPTIONS_LIST_MAX];
    int fault_count;
    long latency_ms;
    const char *tls_cert, *tls_key, *tls_folder;
} options;

typedef enum options_result { OPTIONS_RUN, OPTIONS_DONE, OPTIONS_WRONG } options_result;

/* Reads the command line; says what is wrong on standard error. Strings belong to argv. */
options_result options_read(options *o, int argc, char **argv);
void options_free(options *o);

/* True for what a region's name may look like; which regions exist is not known here. */
bool region_plausible(const char *name);

#endif
