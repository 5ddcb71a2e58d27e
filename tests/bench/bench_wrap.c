/* Wrap and unwrap per second through the provider and through PKCS#11 (see bench.h).
 *
 * usage: bench_wrap PROVIDER-FOLDER PKCS11-MODULE THREADS [SECONDS-PER-ROUND [ROUNDS]]
 * The environment names server, credentials, region and KMS_KEY_ALIAS (see bench.sh). */
#include "core/client.h"
#include "include/kms/kms_pkcs11.h"
#include "tests/bench/bench.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <openssl/core_names.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTEXT "{\"dataType\":\"credentials\",\"operationId\":\"bench\"}"

static const uint8_t data_key[32] = "0123456789abcdef0123456789abcde";

static kms_buffer wrapped;

/* --- the provider --- */

static OSSL_LIB_CTX *application;
static EVP_PKEY *provider_key;

static void *provider_open(int unwrap)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(application, provider_key, NULL);
    char context[] = CONTEXT;
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("context", context, 0),
                                 OSSL_PARAM_construct_end()};

    if (ctx == NULL || (unwrap ? EVP_PKEY_decrypt_init_ex(ctx, params)
                               : EVP_PKEY_encrypt_init_ex(ctx, params)) != 1)
        bench_die("the provider's key can't be used");
    return ctx;
}

static bool provider_run(void *state, int unwrap)
{
    uint8_t out[KMS_CIPHERTEXT_MAX];
    size_t len = sizeof(out);

    return (unwrap ? EVP_PKEY_decrypt(state, out, &len, wrapped.data, wrapped.len)
                   : EVP_PKEY_encrypt(state, out, &len, data_key, sizeof(data_key))) == 1;
}

static void provider_close(void *state)
{
    EVP_PKEY_CTX_free(state);
}

/* --- the PKCS#11 module --- */

static CK_FUNCTION_LIST *p11;
static CK_SLOT_ID p11_slot;
static CK_OBJECT_HANDLE p11_kms_key;

typedef struct p11_state {
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
} p11_state;

static CK_MECHANISM wrap_mechanism(void)
{
    static char context[] = CONTEXT;

    return (CK_MECHANISM){CKM_KMS_WRAP, context, sizeof(context) - 1};
}

static CK_OBJECT_HANDLE p11_unwrap(CK_SESSION_HANDLE session)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_KEY_TYPE, &type, sizeof(type)}};
    CK_MECHANISM mechanism = wrap_mechanism();
    CK_OBJECT_HANDLE key = 0;

    return p11->C_UnwrapKey(session, &mechanism, p11_kms_key, wrapped.data, wrapped.len, template,
                            2, &key) == CKR_OK
               ? key
               : 0;
}

static void *p11_open(int unwrap)
{
    p11_state *s = calloc(1, sizeof(*s));

    (void)unwrap;
    if (s == NULL ||
        p11->C_OpenSession(p11_slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                           &s->session) != CKR_OK ||
        (s->key = p11_unwrap(s->session)) == 0)
        bench_die("the PKCS#11 key can't be used");
    return s;
}

static bool p11_run(void *state, int unwrap)
{
    const p11_state *s = state;
    CK_MECHANISM mechanism = wrap_mechanism();
    CK_BYTE out[KMS_CIPHERTEXT_MAX];
    CK_ULONG len = sizeof(out);

    if (unwrap) {
        CK_OBJECT_HANDLE key = p11_unwrap(s->session);
        return key != 0 && p11->C_DestroyObject(s->session, key) == CKR_OK;
    }
    return p11->C_WrapKey(s->session, &mechanism, p11_kms_key, s->key, out, &len) == CKR_OK;
}

static void p11_close(void *state)
{
    p11_state *s = state;

    p11->C_CloseSession(s->session);
    free(s);
}

#define DOORS 3

static bench_door doors[DOORS] = {
    {0}, /* bench_curl */
    {"provider", provider_open, provider_run, provider_close},
    {"PKCS#11", p11_open, p11_run, p11_close},
};

/* --- setting up --- */

static void make_requests(const char *alias)
{
    kms_client *client = NULL;
    kms_address address = {0};
    kms_key *key = NULL;
    kms_context *context = kms_context_new();
    kms_error err = {0};
    char text[KMS_ERROR_TEXT_MAX], base64[2 * KMS_CIPHERTEXT_MAX];
    char body[sizeof(base64) + 512];

    if (kms_client_open(NULL, &client, &err) != KMS_OK ||
        kms_address_parse(alias, &address, &err) != KMS_OK ||
        kms_context_parse(context, CONTEXT, strlen(CONTEXT), &err) != KMS_OK ||
        kms_client_key(client, &address, &key, &err) != KMS_OK ||
        kms_client_wrap(client, key, (kms_bytes){data_key, sizeof(data_key)}, context, &wrapped,
                        &err) != KMS_OK) {
        kms_error_text(&err, text, sizeof(text));
        bench_die(text);
    }
    EVP_EncodeBlock((unsigned char *)base64, data_key, sizeof(data_key));
    snprintf(body, sizeof(body),
             "{\"KeyId\":\"%s\",\"Plaintext\":\"%s\",\"EncryptionContext\":" CONTEXT "}",
             kms_key_arn(key), base64);
    bench_request(0, "Encrypt", body);
    EVP_EncodeBlock((unsigned char *)base64, wrapped.data, (int)wrapped.len);
    snprintf(body, sizeof(body),
             "{\"KeyId\":\"%s\",\"CiphertextBlob\":\"%s\",\"EncryptionContext\":" CONTEXT "}",
             kms_key_arn(key), base64);
    bench_request(1, "Decrypt", body);
    kms_key_free(key);
    kms_context_free(context);
    kms_address_clear(&address);
    kms_client_close(client);
}

static void load_pkcs11(const char *path)
{
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CK_RV (*get_list)(CK_FUNCTION_LIST **) = NULL;
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    CK_SESSION_HANDLE session;
    CK_ULONG slots = 1, found = 0;

    if (module == NULL)
        bench_die(dlerror());
    *(void **)&get_list = dlsym(module, "C_GetFunctionList");
    if (get_list == NULL || get_list(&p11) != CKR_OK || p11->C_Initialize(&args) != CKR_OK ||
        p11->C_GetSlotList(CK_TRUE, &p11_slot, &slots) != CKR_OK || slots != 1 ||
        p11->C_OpenSession(p11_slot, CKF_SERIAL_SESSION, NULL, NULL, &session) != CKR_OK ||
        p11->C_FindObjectsInit(session, NULL, 0) != CKR_OK ||
        p11->C_FindObjects(session, &p11_kms_key, 1, &found) != CKR_OK || found != 1 ||
        p11->C_FindObjectsFinal(session) != CKR_OK)
        bench_die("the PKCS#11 module can't be used");
}

int main(int argc, char **argv)
{
    const char *alias = getenv("KMS_KEY_ALIAS");
    int threads = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 0;
    double duration = argc > 4 ? strtod(argv[4], NULL) : 0.5;
    int rounds = argc > 5 ? (int)strtol(argv[5], NULL, 10) : 9;

    if (alias == NULL || threads < 1 || threads > BENCH_THREADS_MAX || duration <= 0 ||
        rounds < 1 || rounds > BENCH_ROUNDS_MAX) {
        fprintf(stderr,
                "usage: KMS_KEY_ALIAS=... bench_wrap PROVIDER-FOLDER PKCS11-MODULE THREADS 1-%d "
                "[SECONDS [ROUNDS 1-%d]]\n",
                BENCH_THREADS_MAX, BENCH_ROUNDS_MAX);
        return 2;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    make_requests(alias);
    application = bench_application(argv[1]);
    provider_key = bench_key(application, alias);
    load_pkcs11(argv[2]);
    doors[0] = bench_curl;

    bench_machine(rounds, duration);
    for (int unwrap = 0; unwrap < 2; unwrap++)
        bench_compare(doors, DOORS, unwrap ? "unwrap" : "wrap", unwrap, threads, duration, rounds);

    p11->C_Finalize(NULL);
    EVP_PKEY_free(provider_key);
    OSSL_LIB_CTX_free(application);
    return 0;
}
