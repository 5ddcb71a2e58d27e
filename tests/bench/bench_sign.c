/* Signatures per second through the provider (see bench.h), verified or not before they are given
 * out, as the setting verify_signatures says: both, since the yardstick verifies nothing.
 *
 * usage: bench_sign PROVIDER-FOLDER THREADS [SECONDS-PER-ROUND [ROUNDS]]
 * The environment names server, credentials and region; the server has the keys alias/bench-rsa
 * (RSA_2048) and alias/bench-p256 (ECC_NIST_P256), both for signing (see bench.sh). */
#include "core/client.h"
#include "tests/bench/bench.h"

#include <curl/curl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const unsigned char message[] = "what the benchmark signs";

static const struct {
    const char *what, *alias, *algorithm;
} keys[] = {
    {"RSA-2048", "alias/bench-rsa", "RSASSA_PKCS1_V1_5_SHA_256"},
    {"P-256", "alias/bench-p256", "ECDSA_SHA_256"},
};

#define KEYS ((int)(sizeof(keys) / sizeof(keys[0])))

/* The provider as configured, and one whose configuration has verify_signatures = no. */
typedef struct door_keys {
    OSSL_LIB_CTX *application;
    EVP_PKEY *keys[2];
} door_keys;

static door_keys verifying, plain;

typedef struct state {
    const door_keys *door;
    EVP_MD_CTX *ctx;
} state;

static void *open_door(const door_keys *door)
{
    state *s = calloc(1, sizeof(*s));

    if (s == NULL || (s->ctx = EVP_MD_CTX_new()) == NULL)
        bench_die("no memory");
    s->door = door;
    return s;
}

static void *open_verifying(int does)
{
    (void)does;
    return open_door(&verifying);
}

static void *open_plain(int does)
{
    (void)does;
    return open_door(&plain);
}

/* As TLS does it: all of the operation each time. */
static bool run_door(void *arg, int does)
{
    const state *s = arg;
    unsigned char signature[512];
    size_t len = sizeof(signature);

    return EVP_MD_CTX_reset(s->ctx) == 1 &&
           EVP_DigestSignInit_ex(s->ctx, NULL, "SHA2-256", s->door->application, NULL,
                                 s->door->keys[does], NULL) == 1 &&
           EVP_DigestSign(s->ctx, signature, &len, message, sizeof(message)) == 1;
}

static void close_door(void *arg)
{
    state *s = arg;

    EVP_MD_CTX_free(s->ctx);
    free(s);
}

#define DOORS 3

static bench_door doors[DOORS] = {
    {0}, /* bench_curl */
    {"provider", open_verifying, run_door, close_door},
    {"unverified", open_plain, run_door, close_door},
};

static void make_request(int does)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    char base64[128], body[512];

    if (EVP_Digest(message, sizeof(message), digest, &len, EVP_sha256(), NULL) != 1)
        bench_die("no digest");
    EVP_EncodeBlock((unsigned char *)base64, digest, (int)len);
    snprintf(body, sizeof(body),
             "{\"KeyId\":\"%s\",\"SigningAlgorithm\":\"%s\",\"MessageType\":\"DIGEST\",\"Message\":"
             "\"%s\"}",
             keys[does].alias, keys[does].algorithm, base64);
    bench_request(does, "Sign", body);
}

static void load(door_keys *door, const char *folder)
{
    door->application = bench_application(folder);
    for (int i = 0; i < KEYS; i++)
        door->keys[i] = bench_key(door->application, keys[i].alias);
}

static void unload(door_keys *door)
{
    for (int i = 0; i < KEYS; i++)
        EVP_PKEY_free(door->keys[i]);
    OSSL_LIB_CTX_free(door->application);
}

/* The provider reads its configuration when it is loaded. */
static void load_plain(const char *folder)
{
    char path[] = "/tmp/kms-bench-XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");

    if (file == NULL || fputs("verify_signatures = no\n", file) < 0 || fclose(file) != 0)
        bench_die("no configuration");
    setenv("KMS_PROVIDER_CONF", path, 1);
    load(&plain, folder);
    unsetenv("KMS_PROVIDER_CONF");
    unlink(path);
}

int main(int argc, char **argv)
{
    int threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
    double duration = argc > 3 ? strtod(argv[3], NULL) : 0.5;
    int rounds = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 9;

    if (threads < 1 || threads > BENCH_THREADS_MAX || duration <= 0 || rounds < 1 ||
        rounds > BENCH_ROUNDS_MAX) {
        fprintf(stderr, "usage: bench_sign PROVIDER-FOLDER THREADS 1-%d [SECONDS [ROUNDS 1-%d]]\n",
                BENCH_THREADS_MAX, BENCH_ROUNDS_MAX);
        return 2;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    load(&verifying, argv[1]);
    load_plain(argv[1]);
    doors[0] = bench_curl;
    bench_machine(rounds, duration);
    for (int i = 0; i < KEYS; i++) {
        make_request(i);
        bench_compare(doors, DOORS, keys[i].what, i, threads, duration, rounds);
    }
    unload(&plain);
    unload(&verifying);
    return 0;
}
