/* Loading either module, up to where it is ready, asks nobody: the first operation that needs KMS
 * makes the first connection. */
#include "tests/provider/application.h"

#include <dlfcn.h>
#include <p11-kit/pkcs11.h>

static test_server server;

static void the_provider_is_ready_without_the_network(void **state)
{
    (void)state;
    network_attempts();
    application app = application_open();
    assert_int_equal(network_attempts(), 0);
    EVP_PKEY_free(application_key(&app, KEY));
    assert_int_equal(network_attempts(), 1); /* the first connection: counting works */
    application_close(&app);
}

static void the_pkcs11_module_is_ready_without_the_network(void **state)
{
    CK_FUNCTION_LIST *functions = NULL;
    CK_ULONG count = 0;
    CK_SLOT_ID slots[16];
    CK_RV (*get)(CK_FUNCTION_LIST **);

    (void)state;
    network_attempts();
    void *module = dlopen(KMS_PKCS11_MODULE, RTLD_NOW | RTLD_LOCAL);
    if (module == NULL) {
        fail_msg("%s: %s", KMS_PKCS11_MODULE, dlerror());
        return;
    }
    *(void **)&get = dlsym(module, "C_GetFunctionList");
    assert_non_null(get);
    assert_int_equal(get(&functions), CKR_OK);
    assert_int_equal(functions->C_Initialize(NULL), CKR_OK);
    assert_int_equal(functions->C_GetSlotList(CK_FALSE, NULL, &count), CKR_OK);
    assert_in_range(count, 1, 16);
    assert_int_equal(functions->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    assert_int_equal(network_attempts(), 0);
    assert_int_equal(functions->C_Finalize(NULL), CKR_OK);
    assert_int_equal(network_attempts(), 0);
    assert_int_equal(dlclose(module), 0);
}

static int set_up(void **state)
{
    (void)state;
    test_server_start(&server, NULL);
    setenv("KMS_KEY_ALIAS", "alias/matbakh-ai", 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_provider_is_ready_without_the_network),
        cmocka_unit_test(the_pkcs11_module_is_ready_without_the_network),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
