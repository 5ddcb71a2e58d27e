#include "core/exit.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdatomic.h>

static pthread_once_t watch_once = PTHREAD_ONCE_INIT;
static bool watching;
static atomic_bool begun;

static void note(void)
{
    atomic_store(&begun, true);
}

/* OpenSSL runs these handlers first of all in its cleanup, and needs to be initialised for that.
 * The modules are linked to stay mapped (-z nodelete), so the handler is there whatever is
 * unloaded. */
static void watch(void)
{
    watching = OPENSSL_init_crypto(0, NULL) == 1 && OPENSSL_atexit(note) == 1;
}

bool kms_exit_watch(void)
{
    pthread_once(&watch_once, watch);
    return watching;
}

bool kms_exit_has_begun(void)
{
    return atomic_load(&begun);
}
