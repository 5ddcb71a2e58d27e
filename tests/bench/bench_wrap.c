/* Wrap and unwrap per second through the provider and through PKCS#11, beside the physical limit of
 * any client of the same server: a bare keep-alive libcurl loop that posts one pre-built request
 * with the very headers that the modules send, signed anew each round (the server refuses
 * signatures older than five minutes), and reads each reply to its end. All run in turn, round by
 * round, so that a drift of the machine's speed hits all alike; the ratio is taken within each
 * round and its median is printed. Server and clients share the machine.
 *
 * usage: bench_wrap PROVIDER-FOLDER PKCS11-MODULE THREADS [SECONDS-PER-ROUND [ROUNDS]]
 * The environment names server, credentials, region and KMS_KEY_ALIAS (see bench.sh). */
#include "core/call.h"
#include "core/client.h"
#include "core/sigv4.h"
#include "include/kms/kms_pkcs11.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 8
#define ROUNDS_MAX  501
#define HEADERS     5
#define CONTEXT     "{\"dataType\":\"credentials\",\"operationId\":\"bench\"}"

static const uint8_t data_key[32] = "0123456789abcdef0123456789abcde";

static void die(const char *what)
{
    fprintf(stderr, "bench_wrap: %s\n", what);
    exit(1);
}

/* One door to KMS: what each thread sets up, one operation, and what it tears down. */
typedef struct door {
    const char *name;
    void *(*open)(bool unwrap);
    bool (*run)(void *state, bool unwrap);
    void (*close)(void *state);
} door;

/* --- the yardstick: libcurl with a request made beforehand --- */

static struct {
    char *url, *arn, *region;
    kms_buffer wrapped;
    kms_sigv4 *signer;
    char *body[2]; /* wrap, unwrap */
    char headers[2][HEADERS][KMS_SIGV4_AUTHORIZATION_MAX + 32];
} prebuilt;

static void sign_prebuilt(int which)
{
    static const char *const targets[] = {"TrentService.Encrypt", "TrentService.Decrypt"};
    char date[KMS_SIGV4_DATE_SIZE], authorization[KMS_SIGV4_AUTHORIZATION_MAX];
    kms_credentials credentials = {0};
    const char *id = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY");
    const kms_sigv4_header headers[] = {
        {"content-type", "application/x-amz-json-1.1"},
        {"host", strstr(prebuilt.url, "//") + 2},
        {"x-amz-date", date},
        {"x-amz-target", targets[which]},
    };
    kms_sigv4_request request = {
        .region = prebuilt.region,
        .service = "kms",
        .path = "/",
        .headers = headers,
        .header_count = sizeof(headers) / sizeof(headers[0]),
        .date = date,
        .body = {(const uint8_t *)prebuilt.body[which], strlen(prebuilt.body[which])},
    };

    if (id == NULL || secret == NULL)
        die("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    kms_sigv4_date(time(NULL), date);
    snprintf(credentials.access_key_id, sizeof(credentials.access_key_id), "%s", id);
    if (kms_secret_copy(&credentials.secret_access_key,
                        (kms_bytes){(const uint8_t *)secret, strlen(secret)}, NULL) != KMS_OK ||
        kms_sigv4_sign(prebuilt.signer, &request, &credentials, authorization, NULL) != KMS_OK)
        die("can't sign the yardstick's request");
    kms_secret_clear(&credentials.secret_access_key);
    snprintf(prebuilt.headers[which][0], sizeof(prebuilt.headers[0][0]),
             "Content-Type: application/x-amz-json-1.1");
    snprintf(prebuilt.headers[which][1], sizeof(prebuilt.headers[0][0]), "X-Amz-Date: %s", date);
    snprintf(prebuilt.headers[which][2], sizeof(prebuilt.headers[0][0]), "X-Amz-Target: %s",
             targets[which]);
    snprintf(prebuilt.headers[which][3], sizeof(prebuilt.headers[0][0]), "Authorization: %s",
             authorization);
    snprintf(prebuilt.headers[which][4], sizeof(prebuilt.headers[0][0]),
             "User-Agent: kms-provider/" KMS_VERSION);
}

typedef struct curl_state {
    CURL *easy;
    struct curl_slist *headers;
} curl_state;

/* NOLINTNEXTLINE(readability-non-const-parameter): libcurl's type */
static size_t discard(char *data, size_t size, size_t count, void *arg)
{
    (void)data;
    (void)arg;
    return size * count;
}

static void *curl_open(bool unwrap)
{
    curl_state *s = calloc(1, sizeof(*s));

    if (s == NULL || (s->easy = curl_easy_init()) == NULL)
        die("no memory");
    for (int i = 0; i < HEADERS; i++)
        s->headers = curl_slist_append(s->headers, prebuilt.headers[unwrap][i]);
    curl_easy_setopt(s->easy, CURLOPT_URL, prebuilt.url);
    curl_easy_setopt(s->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(s->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(s->easy, CURLOPT_CAINFO, getenv("AWS_CA_BUNDLE"));
    curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, s->headers);
    curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, prebuilt.body[unwrap]);
    curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, discard);
    return s;
}

static bool curl_run(void *state, bool unwrap)
{
    const curl_state *s = state;
    long status = 0;

    (void)unwrap;
    return curl_easy_perform(s->easy) == CURLE_OK &&
           curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK && status == 200;
}

static void curl_close(void *state)
{
    curl_state *s = state;

    curl_easy_cleanup(s->easy);
    curl_slist_free_all(s->headers);
    free(s);
}

/* --- the provider --- */

static OSSL_LIB_CTX *application;
static EVP_PKEY *provider_key;

static void *provider_open(bool unwrap)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(application, provider_key, NULL);
    char context[] = CONTEXT;
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("context", context, 0),
                                 OSSL_PARAM_construct_end()};

    if (ctx == NULL || (unwrap ? EVP_PKEY_decrypt_init_ex(ctx, params)
                               : EVP_PKEY_encrypt_init_ex(ctx, params)) != 1)
        die("the provider's key can't be used");
    return ctx;
}

static bool provider_run(void *state, bool unwrap)
{
    uint8_t out[KMS_CIPHERTEXT_MAX];
    size_t len = sizeof(out);

    return (unwrap ? EVP_PKEY_decrypt(state, out, &len, prebuilt.wrapped.data, prebuilt.wrapped.len)
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

    return p11->C_UnwrapKey(session, &mechanism, p11_kms_key, prebuilt.wrapped.data,
                            prebuilt.wrapped.len, template, 2, &key) == CKR_OK
               ? key
               : 0;
}

static void *p11_open(bool unwrap)
{
    p11_state *s = calloc(1, sizeof(*s));

    (void)unwrap;
    if (s == NULL ||
        p11->C_OpenSession(p11_slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                           &s->session) != CKR_OK ||
        (s->key = p11_unwrap(s->session)) == 0)
        die("the PKCS#11 key can't be used");
    return s;
}

static bool p11_run(void *state, bool unwrap)
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

static const door doors[] = {
    {"bare libcurl", curl_open, curl_run, curl_close},
    {"provider", provider_open, provider_run, provider_close},
    {"PKCS#11", p11_open, p11_run, p11_close},
};

#define DOORS (sizeof(doors) / sizeof(doors[0]))

/* --- setting up --- */

static void load_prebuilt(void)
{
    const char *alias = getenv("KMS_KEY_ALIAS"), *url = getenv("AWS_ENDPOINT_URL_KMS");
    kms_client *client = NULL;
    kms_address address = {0};
    kms_key *key = NULL;
    kms_context *context = kms_context_new();
    kms_error err = {0};
    char text[KMS_ERROR_TEXT_MAX], base64[2 * KMS_CIPHERTEXT_MAX];

    if (alias == NULL || url == NULL)
        die("set KMS_KEY_ALIAS and AWS_ENDPOINT_URL_KMS");
    if (kms_client_open(NULL, &client, &err) != KMS_OK ||
        kms_address_parse(alias, &address, &err) != KMS_OK ||
        kms_context_parse(context, CONTEXT, strlen(CONTEXT), &err) != KMS_OK ||
        kms_client_key(client, &address, &key, &err) != KMS_OK ||
        kms_client_wrap(client, key, (kms_bytes){data_key, sizeof(data_key)}, context,
                        &prebuilt.wrapped, &err) != KMS_OK) {
        kms_error_text(&err, text, sizeof(text));
        die(text);
    }
    prebuilt.url = strdup(url);
    prebuilt.arn = strdup(kms_key_arn(key));
    prebuilt.region = strdup(kms_key_region(key));
    EVP_EncodeBlock((unsigned char *)base64, data_key, sizeof(data_key));
    if (asprintf(&prebuilt.body[0],
                 "{\"KeyId\":\"%s\",\"Plaintext\":\"%s\",\"EncryptionContext\":" CONTEXT "}",
                 prebuilt.arn, base64) < 0)
        die("no memory");
    EVP_EncodeBlock((unsigned char *)base64, prebuilt.wrapped.data, (int)prebuilt.wrapped.len);
    if (asprintf(&prebuilt.body[1],
                 "{\"KeyId\":\"%s\",\"CiphertextBlob\":\"%s\",\"EncryptionContext\":" CONTEXT "}",
                 prebuilt.arn, base64) < 0 ||
        kms_sigv4_new(NULL, &prebuilt.signer, NULL) != KMS_OK)
        die("no memory");
    kms_key_free(key);
    kms_context_free(context);
    kms_address_clear(&address);
    kms_client_close(client);
}

static void load_provider(const char *folder)
{
    char uri[256];
    OSSL_STORE_CTX *store;
    OSSL_STORE_INFO *info = NULL;

    application = OSSL_LIB_CTX_new();
    snprintf(uri, sizeof(uri), "kms:%s", getenv("KMS_KEY_ALIAS"));
    if (application == NULL || !OSSL_PROVIDER_set_default_search_path(application, folder) ||
        OSSL_PROVIDER_load(application, "default") == NULL ||
        OSSL_PROVIDER_load(application, "kms") == NULL ||
        (store = OSSL_STORE_open_ex(uri, application, NULL, NULL, NULL, NULL, NULL, NULL)) == NULL)
        die("the provider can't be loaded");
    while (provider_key == NULL && (info = OSSL_STORE_load(store)) != NULL) {
        provider_key = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    if (provider_key == NULL)
        die("the provider has no such key");
}

static void load_pkcs11(const char *path)
{
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CK_RV (*get_list)(CK_FUNCTION_LIST **) = NULL;
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    CK_SESSION_HANDLE session;
    CK_ULONG slots = 1, found = 0;

    if (module == NULL)
        die(dlerror());
    *(void **)&get_list = dlsym(module, "C_GetFunctionList");
    if (get_list == NULL || get_list(&p11) != CKR_OK || p11->C_Initialize(&args) != CKR_OK ||
        p11->C_GetSlotList(CK_TRUE, &p11_slot, &slots) != CKR_OK || slots != 1 ||
        p11->C_OpenSession(p11_slot, CKF_SERIAL_SESSION, NULL, NULL, &session) != CKR_OK ||
        p11->C_FindObjectsInit(session, NULL, 0) != CKR_OK ||
        p11->C_FindObjects(session, &p11_kms_key, 1, &found) != CKR_OK || found != 1 ||
        p11->C_FindObjectsFinal(session) != CKR_OK)
        die("the PKCS#11 module can't be used");
}

/* --- measuring --- */

typedef struct worker {
    pthread_t thread;
    const door *door;
    bool unwrap;
    pthread_barrier_t *barrier;
    atomic_bool *stop;
    long done, failed;
} worker;

static void *work(void *arg)
{
    worker *w = arg;
    void *state = w->door->open(w->unwrap);

    w->door->run(state, w->unwrap); /* the connection is made before the clock starts */
    pthread_barrier_wait(w->barrier);
    while (!atomic_load_explicit(w->stop, memory_order_relaxed)) {
        if (w->door->run(state, w->unwrap))
            w->done++;
        else
            w->failed++;
    }
    w->door->close(state);
    return NULL;
}

typedef struct figure {
    double per_second, cpu_us; /* CPU time of this process for one operation */
} figure;

static double seconds(struct timespec from, struct timespec to)
{
    return (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
}

static figure measure(const door *d, bool unwrap, int threads, double duration)
{
    worker workers[THREADS_MAX] = {0};
    pthread_barrier_t barrier;
    atomic_bool stop = false;
    struct timespec start, end, cpu_start, cpu_end;
    long done = 0, failed = 0;

    pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1);
    for (int i = 0; i < threads; i++) {
        workers[i] = (worker){.door = d, .unwrap = unwrap, .barrier = &barrier, .stop = &stop};
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            die("no thread");
    }
    pthread_barrier_wait(&barrier);
    clock_gettime(CLOCK_MONOTONIC, &start);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_start);
    usleep((useconds_t)(duration * 1e6));
    atomic_store(&stop, true);
    clock_gettime(CLOCK_MONOTONIC, &end);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_end);
    for (int i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        done += workers[i].done;
        failed += workers[i].failed;
    }
    pthread_barrier_destroy(&barrier);
    if (failed > 0 || done == 0)
        die("operations failed");
    return (figure){(double)done / seconds(start, end),
                    seconds(cpu_start, cpu_end) * 1e6 / (double)done};
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), ascending);
    return values[count / 2];
}

/* One block of the table: all doors do the same, in turn. */
static void compare(bool unwrap, int threads, double duration, int rounds)
{
    double rate[DOORS][ROUNDS_MAX], cpu[DOORS][ROUNDS_MAX], ratio[DOORS][ROUNDS_MAX];

    for (int round = 0; round < rounds; round++) {
        sign_prebuilt(unwrap);
        for (size_t d = 0; d < DOORS; d++) {
            figure f = measure(&doors[d], unwrap, threads, duration);
            rate[d][round] = f.per_second;
            cpu[d][round] = f.cpu_us;
            ratio[d][round] = f.per_second / rate[0][round];
        }
    }
    for (size_t d = 0; d < DOORS; d++) {
        double middle = median(ratio[d], rounds); /* sorts: the spread is at its ends */
        printf("%-7s %7d  %-13s %10.0f %8.2f  %5.2f to %.2f %12.1f\n", unwrap ? "unwrap" : "wrap",
               threads, doors[d].name, median(rate[d], rounds), middle, ratio[d][0],
               ratio[d][rounds - 1], median(cpu[d], rounds));
    }
    fflush(stdout);
}

/* "model name : …" of the first processor. */
static void print_machine(int rounds, double duration)
{
    struct utsname system;
    char line[256], model[128] = "unknown processor";
    FILE *cpus = fopen("/proc/cpuinfo", "r");

    while (cpus != NULL && fgets(line, sizeof(line), cpus) != NULL)
        if (sscanf(line, "model name : %127[^\n]", model) == 1)
            break;
    if (cpus != NULL)
        fclose(cpus);
    uname(&system);
    printf("%s, %ld cores, %s %s, %s, libcurl %s\n", model, sysconf(_SC_NPROCESSORS_ONLN),
           system.sysname, system.release, OpenSSL_version(OPENSSL_VERSION),
           curl_version_info(CURLVERSION_NOW)->version);
    printf("%d rounds of %.1f s each in turn; medians; server on the same machine\n\n", rounds,
           duration);
}

int main(int argc, char **argv)
{
    int threads = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 0;
    double duration = argc > 4 ? strtod(argv[4], NULL) : 0.5;
    int rounds = argc > 5 ? (int)strtol(argv[5], NULL, 10) : 9;

    if (threads < 1 || threads > THREADS_MAX || duration <= 0 || rounds < 1 ||
        rounds > ROUNDS_MAX) {
        fprintf(stderr,
                "usage: bench_wrap PROVIDER-FOLDER PKCS11-MODULE THREADS (1 to %d) "
                "[SECONDS [ROUNDS (1 to %d)]]\n",
                THREADS_MAX, ROUNDS_MAX);
        return 2;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    load_prebuilt();
    load_provider(argv[1]);
    load_pkcs11(argv[2]);

    print_machine(rounds, duration);
    printf("%-7s %7s  %-13s %10s %8s  %13s %12s\n", "does", "threads", "through", "per second",
           "ratio", "spread", "CPU us each");
    for (int unwrap = 0; unwrap < 2; unwrap++)
        compare(unwrap, threads, duration, rounds);

    p11->C_Finalize(NULL);
    EVP_PKEY_free(provider_key);
    OSSL_LIB_CTX_free(application);
    kms_sigv4_free(prebuilt.signer);
    return 0;
}
