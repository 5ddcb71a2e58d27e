/* The end of the process. OpenSSL cleans itself up in an exit handler, whose order against the
 * handlers and destructors of others is not ours. From then on nothing may be called into libssl
 * or libcurl. */
#ifndef KMS_CORE_EXIT_H
#define KMS_CORE_EXIT_H

#include <stdbool.h>

/* Begins to watch; further calls do nothing. False without memory. Any thread. */
bool kms_exit_watch(void);

/* True once OpenSSL cleans itself up: at exit, or since the program called OPENSSL_cleanup. */
bool kms_exit_has_begun(void);

#endif
