/* From dlopen to ready, for both modules: the provider until OSSL_PROVIDER_load returns, the
 * PKCS#11 module until C_GetFunctionList, C_Initialize and C_GetSlotList have answered. Each sample
 * is a process of its own, for which nothing of the module is mapped yet; libcrypto is there
 * already, as in an application that uses OpenSSL.
 *
 * usage: bench_load PROVIDER-FOLDER PKCS11-MODULE [SAMPLES] */
#include <dlfcn.h>
#include <openssl/crypto.h>
#include <openssl/provider.h>
#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES_MAX 1001

static bool load_provider(const char *folder)
{
    return OSSL_PROVIDER_set_default_search_path(NULL, folder) &&
           OSSL_PROVIDER_load(NULL, "kms") != NULL;
}

static bool load_pkcs11(const char *path)
{
    CK_FUNCTION_LIST *functions = NULL;
    CK_ULONG count = 0;
    CK_RV (*get)(CK_FUNCTION_LIST **) = NULL;
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (module != NULL)
        *(void **)&get = dlsym(module, "C_GetFunctionList");
    return get != NULL && get(&functions) == CKR_OK && functions->C_Initialize(NULL) == CKR_OK &&
           functions->C_GetSlotList(CK_FALSE, NULL, &count) == CKR_OK && count > 0;
}

/* Microseconds of one load in a process of its own; negative where it failed. */
static double sample(bool (*load)(const char *), const char *what)
{
    struct timespec start, end;
    double result = -1;
    int ends[2];

    if (pipe(ends) != 0)
        return result;
    pid_t child = fork();
    if (child == 0) {
        clock_gettime(CLOCK_MONOTONIC, &start);
        bool ok = load(what);
        clock_gettime(CLOCK_MONOTONIC, &end);
        if (ok)
            result = (double)(end.tv_sec - start.tv_sec) * 1e6 +
                     (double)(end.tv_nsec - start.tv_nsec) / 1e3;
        _exit(write(ends[1], &result, sizeof(result)) == sizeof(result) ? 0 : 1);
    }
    close(ends[1]);
    if (child < 0 || read(ends[0], &result, sizeof(result)) != sizeof(result))
        result = -1;
    close(ends[0]);
    if (child > 0)
        waitpid(child, NULL, 0);
    return result;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static bool measure(const char *name, bool (*load)(const char *), const char *what, int samples)
{
    static double times[SAMPLES_MAX];

    for (int i = 0; i < samples; i++) {
        times[i] = sample(load, what);
        if (times[i] < 0) {
            fprintf(stderr, "bench_load: %s can't be loaded from %s\n", name, what);
            return false;
        }
    }
    qsort(times, (size_t)samples, sizeof(times[0]), by_value);
    printf("%-14s %10.0f %10.0f %10.0f   (%d processes)\n", name, times[0], times[samples / 2],
           times[samples - 1], samples);
    return true;
}

int main(int argc, char **argv)
{
    int samples = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 51;

    if (argc < 3 || samples < 1 || samples > SAMPLES_MAX) {
        fprintf(stderr, "usage: bench_load PROVIDER-FOLDER PKCS11-MODULE [SAMPLES (1 to %d)]\n",
                SAMPLES_MAX);
        return 2;
    }
    if (OSSL_PROVIDER_load(NULL, "default") == NULL)
        return 1;
    printf("from dlopen to ready, microseconds\n%-14s %10s %10s %10s\n", "", "least", "median",
           "most");
    return measure("kms.so", load_provider, argv[1], samples) &&
                   measure("kms-pkcs11.so", load_pkcs11, argv[2], samples)
               ? 0
               : 1;
}
