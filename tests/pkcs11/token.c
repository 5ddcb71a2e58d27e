#include "tests/pkcs11/token.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LOG_MAX 65536

const char *const token_path = KMS_PKCS11;
CK_FUNCTION_LIST *p11;
test_server token_server;
const char *const *token_server_options;

static char folder[] = "/tmp/kms-pkcs11-XXXXXX";
static char log_path[64], conf_path[64];
static char tls_folder[] = "/tmp/kms-pkcs11-tls-XXXXXX";
static char certificate[64];
const char *const token_certificate = certificate;

void token_load(void)
{
    CK_RV (*get_list)(CK_FUNCTION_LIST **) = NULL;
    void *module = dlopen(token_path, RTLD_NOW | RTLD_LOCAL);

    if (module == NULL)
        fail_msg("%s", dlerror());
    *(void **)(&get_list) = dlsym(module, "C_GetFunctionList");
    assert_non_null(get_list);
    assert_ok(get_list(&p11));
}

void token_configure(const char *text)
{
    FILE *file;

    if (text == NULL) {
        unsetenv("KMS_PROVIDER_CONF");
        return;
    }
    file = fopen(conf_path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    setenv("KMS_PROVIDER_CONF", conf_path, 1);
}

CK_SESSION_HANDLE token_open(void)
{
    CK_SESSION_HANDLE session = 0;

    assert_ok(p11->C_Initialize(NULL));
    assert_ok(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
    return session;
}

void token_close(void)
{
    assert_ok(p11->C_Finalize(NULL));
}

CK_ULONG token_count(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count)
{
    CK_OBJECT_HANDLE found[64];
    CK_ULONG n = 0;

    assert_ok(p11->C_FindObjectsInit(session, template, count));
    assert_ok(p11->C_FindObjects(session, found, 64, &n));
    assert_ok(p11->C_FindObjectsFinal(session));
    return n;
}

CK_OBJECT_HANDLE token_find(CK_SESSION_HANDLE session, const char *label)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *)(uintptr_t)label, strlen(label)};
    CK_OBJECT_HANDLE found[2];
    CK_ULONG n = 0;

    assert_ok(p11->C_FindObjectsInit(session, &template, 1));
    assert_ok(p11->C_FindObjects(session, found, 2, &n));
    assert_ok(p11->C_FindObjectsFinal(session));
    assert_int_equal(n, 1);
    return found[0];
}

CK_OBJECT_HANDLE token_kms_key(CK_SESSION_HANDLE session)
{
    return token_find(session, "matbakh-ai");
}

CK_MECHANISM token_wrap_mechanism(const char *context)
{
    return (CK_MECHANISM){CKM_KMS_WRAP, (void *)(uintptr_t)context,
                          context != NULL ? strlen(context) : 0};
}

CK_ULONG token_wrap_bytes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, const void *bytes,
                          size_t len, unsigned char out[6144])
{
    CK_MECHANISM mechanism = {CKM_KMS_ENCRYPT, (void *)(uintptr_t)CONTEXT, strlen(CONTEXT)};
    CK_ULONG out_len = 6144;

    assert_ok(p11->C_EncryptInit(session, &mechanism, key));
    assert_ok(p11->C_Encrypt(session, (unsigned char *)(uintptr_t)bytes, len, out, &out_len));
    return out_len;
}

CK_OBJECT_HANDLE token_import(CK_SESSION_HANDLE session, CK_KEY_TYPE type, const void *value,
                              size_t len)
{
    CK_OBJECT_HANDLE kms_key = token_kms_key(session), key = 0;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_KEY_TYPE, &type, sizeof(type)}};
    CK_MECHANISM mechanism = token_wrap_mechanism(CONTEXT);
    unsigned char wrapped[6144];
    CK_ULONG wrapped_len = token_wrap_bytes(session, kms_key, value, len, wrapped);

    assert_ok(
        p11->C_UnwrapKey(session, &mechanism, kms_key, wrapped, wrapped_len, template, 2, &key));
    return key;
}

void token_log_reset(void)
{
    assert_int_equal(truncate(log_path, 0), 0);
}

const char *token_log(void)
{
    static char text[LOG_MAX];
    FILE *file = fopen(log_path, "r");
    size_t len;

    assert_non_null(file);
    len = fread(text, 1, sizeof(text) - 1, file);
    text[len] = '\0';
    fclose(file);
    return text;
}

int token_set_up(void **state)
{
    FILE *file;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(log_path, sizeof(log_path), "%s/log", folder);
    snprintf(conf_path, sizeof(conf_path), "%s/kms.conf", folder);
    file = fopen(log_path, "w");
    assert_non_null(file);
    fclose(file);
    test_server_start(&token_server, token_server_options);
    setenv("KMS_PROVIDER_LOG", log_path, 1);
    setenv("KMS_KEY_ALIAS", "alias/matbakh-ai", 1);
    token_configure("");
    token_load();
    return 0;
}

int token_tear_down(void **state)
{
    (void)state;
    test_server_stop(&token_server);
    unlink(log_path);
    unlink(conf_path);
    rmdir(folder);
    return 0;
}

int token_set_up_tls(void **state)
{
    static const char *options[] = {"--tls-self-signed", tls_folder, NULL};

    assert_non_null(mkdtemp(tls_folder));
    snprintf(certificate, sizeof(certificate), "%s/cert.pem", tls_folder);
    token_server_options = options;
    token_set_up(state);
    setenv("AWS_CA_BUNDLE", certificate, 1);
    return 0;
}

int token_tear_down_tls(void **state)
{
    char path[64];

    token_tear_down(state);
    unlink(certificate);
    snprintf(path, sizeof(path), "%s/key.pem", tls_folder);
    unlink(path);
    rmdir(tls_folder);
    return 0;
}
