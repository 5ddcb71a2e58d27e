#include "tests/bench/bench.h"

#include "core/sigv4.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define DOORS_MAX 4
#define HEADERS   5

void bench_die(const char *what)
{
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
    exit(1);
}

/* --- the yardstick --- */

static struct {
    const char *url, *region;
    kms_sigv4 *signer;
    char *target[BENCH_REQUESTS_MAX], *body[BENCH_REQUESTS_MAX];
    char headers[BENCH_REQUESTS_MAX][HEADERS][KMS_SIGV4_AUTHORIZATION_MAX + 32];
} prebuilt;

void bench_request(int does, const char *operation, const char *body)
{
    prebuilt.url = getenv("AWS_ENDPOINT_URL_KMS");
    prebuilt.region = getenv("AWS_REGION");
    if (prebuilt.url == NULL || prebuilt.region == NULL)
        bench_die("set AWS_ENDPOINT_URL_KMS and AWS_REGION");
    if (asprintf(&prebuilt.target[does], "TrentService.%s", operation) < 0 ||
        (prebuilt.body[does] = strdup(body)) == NULL ||
        (prebuilt.signer == NULL && kms_sigv4_new(NULL, &prebuilt.signer, NULL) != KMS_OK))
        bench_die("no memory");
}

/* Anew each round: the server refuses signatures older than five minutes. */
static void sign_prebuilt(int which)
{
    char date[KMS_SIGV4_DATE_SIZE], authorization[KMS_SIGV4_AUTHORIZATION_MAX];
    kms_credentials credentials = {0};
    const char *id = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY");
    const kms_sigv4_header headers[] = {
        {"content-type", "application/x-amz-json-1.1"},
        {"host", strstr(prebuilt.url, "//") + 2},
        {"x-amz-date", date},
        {"x-amz-target", prebuilt.target[which]},
    };
    kms_sigv4_request request = {
        .region = prebuilt.region,
        .service = "kms",
        .path = "/",
        .headers = headers,
        .header_count = 4,
        .date = date,
        .body = {(const uint8_t *)prebuilt.body[which], strlen(prebuilt.body[which])},
    };

    if (id == NULL || secret == NULL)
        bench_die("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    kms_sigv4_date(time(NULL), date);
    snprintf(credentials.access_key_id, sizeof(credentials.access_key_id), "%s", id);
    if (kms_secret_copy(&credentials.secret_access_key,
                        (kms_bytes){(const uint8_t *)secret, strlen(secret)}, NULL) != KMS_OK ||
        kms_sigv4_sign(prebuilt.signer, &request, &credentials, authorization, NULL) != KMS_OK)
        bench_die("can't sign the yardstick's request");
    kms_secret_clear(&credentials.secret_access_key);
    snprintf(prebuilt.headers[which][0], sizeof(prebuilt.headers[0][0]),
             "Content-Type: application/x-amz-json-1.1");
    snprintf(prebuilt.headers[which][1], sizeof(prebuilt.headers[0][0]), "X-Amz-Date: %s", date);
    snprintf(prebuilt.headers[which][2], sizeof(prebuilt.headers[0][0]), "X-Amz-Target: %s",
             prebuilt.target[which]);
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

static void *curl_open(int does)
{
    curl_state *s = calloc(1, sizeof(*s));

    if (s == NULL || (s->easy = curl_easy_init()) == NULL)
        bench_die("no memory");
    for (int i = 0; i < HEADERS; i++)
        s->headers = curl_slist_append(s->headers, prebuilt.headers[does][i]);
    curl_easy_setopt(s->easy, CURLOPT_URL, prebuilt.url);
    curl_easy_setopt(s->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(s->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(s->easy, CURLOPT_CAINFO, getenv("AWS_CA_BUNDLE"));
    curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, s->headers);
    curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, prebuilt.body[does]);
    curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, discard);
    return s;
}

static bool curl_run(void *state, int does)
{
    const curl_state *s = state;
    long status = 0;

    (void)does;
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

const bench_door bench_curl = {"bare libcurl", curl_open, curl_run, curl_close};

/* --- the provider --- */

OSSL_LIB_CTX *bench_application(const char *folder)
{
    OSSL_LIB_CTX *application = OSSL_LIB_CTX_new();

    if (application == NULL || !OSSL_PROVIDER_set_default_search_path(application, folder) ||
        OSSL_PROVIDER_load(application, "default") == NULL ||
        OSSL_PROVIDER_load(application, "kms") == NULL)
        bench_die("the provider can't be loaded");
    return application;
}

EVP_PKEY *bench_key(OSSL_LIB_CTX *application, const char *alias)
{
    char uri[256];
    OSSL_STORE_CTX *store;
    OSSL_STORE_INFO *info;
    EVP_PKEY *key = NULL;

    snprintf(uri, sizeof(uri), "kms:%s", alias);
    store = OSSL_STORE_open_ex(uri, application, NULL, NULL, NULL, NULL, NULL, NULL);
    while (store != NULL && key == NULL && (info = OSSL_STORE_load(store)) != NULL) {
        key = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    if (key == NULL)
        bench_die("the provider has no such key");
    return key;
}

/* --- measuring --- */

typedef struct worker {
    pthread_t thread;
    const bench_door *door;
    int does;
    pthread_barrier_t *barrier;
    atomic_bool *stop;
    long done, failed;
} worker;

static void *work(void *arg)
{
    worker *w = arg;
    void *state = w->door->open(w->does);

    w->door->run(state, w->does); /* the connection is made before the clock starts */
    pthread_barrier_wait(w->barrier);
    while (!atomic_load_explicit(w->stop, memory_order_relaxed)) {
        if (w->door->run(state, w->does))
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

static figure measure(const bench_door *d, int does, int threads, double duration)
{
    worker workers[BENCH_THREADS_MAX] = {0};
    pthread_barrier_t barrier;
    atomic_bool stop = false;
    struct timespec start, end, cpu_start, cpu_end;
    long done = 0, failed = 0;

    pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1);
    for (int i = 0; i < threads; i++) {
        workers[i] = (worker){.door = d, .does = does, .barrier = &barrier, .stop = &stop};
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            bench_die("no thread");
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
        bench_die("operations failed");
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

void bench_compare(const bench_door *doors, size_t count, const char *what, int does, int threads,
                   double duration, int rounds)
{
    double rate[DOORS_MAX][BENCH_ROUNDS_MAX], cpu[DOORS_MAX][BENCH_ROUNDS_MAX],
        ratio[DOORS_MAX][BENCH_ROUNDS_MAX];

    for (int round = 0; round < rounds; round++) {
        sign_prebuilt(does);
        for (size_t d = 0; d < count; d++) {
            figure f = measure(&doors[d], does, threads, duration);
            rate[d][round] = f.per_second;
            cpu[d][round] = f.cpu_us;
            ratio[d][round] = f.per_second / rate[0][round];
        }
    }
    for (size_t d = 0; d < count; d++) {
        double middle = median(ratio[d], rounds); /* sorts: the spread is at its ends */
        printf("%-10s %7d  %-13s %10.0f %8.2f  %5.2f to %.2f %12.1f\n", what, threads,
               doors[d].name, median(rate[d], rounds), middle, ratio[d][0], ratio[d][rounds - 1],
               median(cpu[d], rounds));
    }
    fflush(stdout);
}

void bench_machine(int rounds, double duration)
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
    printf("%-10s %7s  %-13s %10s %8s  %13s %12s\n", "does", "threads", "through", "per second",
           "ratio", "spread", "CPU us each");
}
