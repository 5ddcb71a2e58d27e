/* Where kms stands among the application's providers. Before default, and likewise alone, it leaves
 * the application without ordinary keys, or serves it first where both have an algorithm: that is
 * said once in a process, and is no error, for the KMS keys themselves work. */
#include "provider/provider.h"

#include "core/log.h"

#include <string.h>

typedef struct neighbours {
    OSSL_FUNC_provider_name_fn *name;
    bool ordinary_keys; /* a provider for them is active */
} neighbours;

/* Called for each active provider while OpenSSL holds locks: returning 0 ends the enumeration. */
static int see(const OSSL_CORE_HANDLE *other, void *arg)
{
    neighbours *all = arg;
    const char *name = all->name(other);

    all->ordinary_keys = strcmp(name, "default") == 0 || strcmp(name, "fips") == 0;
    return !all->ordinary_keys;
}

static int forget(const OSSL_CORE_HANDLE *other, void *arg)
{
    (void)other;
    (void)arg;
    return 1;
}

static int take_properties(const char *properties, void *arg)
{
    (void)properties;
    (void)arg;
    return 1;
}

void provider_check_order(const kms_provider *provider, const OSSL_DISPATCH *in)
{
    static atomic_flag said = ATOMIC_FLAG_INIT;
    OSSL_FUNC_provider_register_child_cb_fn *enumerate = NULL;
    OSSL_FUNC_provider_deregister_child_cb_fn *leave = NULL;
    neighbours all = {0};
    kms_error err;

    for (; in->function_id != 0; in++) {
        if (in->function_id == OSSL_FUNC_PROVIDER_REGISTER_CHILD_CB)
            enumerate = OSSL_FUNC_provider_register_child_cb(in);
        else if (in->function_id == OSSL_FUNC_PROVIDER_DEREGISTER_CHILD_CB)
            leave = OSSL_FUNC_provider_deregister_child_cb(in);
        else if (in->function_id == OSSL_FUNC_PROVIDER_NAME)
            all.name = OSSL_FUNC_provider_name(in);
    }
    if (enumerate == NULL || leave == NULL || all.name == NULL)
        return;
    /* The only way that shows a provider its neighbours. Nothing is registered where the
     * enumeration was ended. */
    if (enumerate(provider->handle, see, forget, take_properties, &all))
        leave(provider->handle);
    if (all.ordinary_keys || atomic_flag_test_and_set(&said))
        return;
    kms_fail(&err, KMS_E_PROVIDER_ORDER,
             "the application may lack RSA, EC and other keys of its own");
    kms_log_error(kms_client_config(provider->client), "provider", &err);
}
