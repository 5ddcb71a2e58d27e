#include "fault.h"

#include "call.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAULTS_MAX 64

typedef struct fault {
    char operation[64];
    char kind[FAULT_KIND_MAX];
    double probability;
} fault;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static fault faults[FAULTS_MAX];
static size_t fault_count;

static const char *const kinds[] = {"reset",       "reset-after",  "garbage", "truncate",
                                    "html503",     "huge",         "no-type", "skew",
                                    "wrong-keyid", "wrong-length", "slow"};

static bool operation_known(const char *name)
{
    return strcmp(name, "*") == 0 || operation_find(name) != NULL;
}

/* One of the table, or what can be an exception's name. */
static bool kind_known(const char *kind)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    return !fault_is_exception(kind) ||
           (kind[0] >= 'A' && kind[0] <= 'Z' && kind[strspn(kind, letters)] == '\0');
}

static bool parse(const char *text, fault *out)
{
    char *end;
    const char *kind = strchr(text, ':');
    const char *probability = kind != NULL ? strchr(kind + 1, ':') : NULL;

    if (probability == NULL || kind == text || probability == kind + 1 ||
        (size_t)(kind - text) >= sizeof(out->operation) ||
        (size_t)(probability - kind) > sizeof(out->kind))
        return false;
    snprintf(out->operation, sizeof(out->operation), "%.*s", (int)(kind - text), text);
    snprintf(out->kind, sizeof(out->kind), "%.*s", (int)(probability - kind - 1), kind + 1);
    out->probability = strtod(probability + 1, &end);
    return operation_known(out->operation) && kind_known(out->kind) && end != probability + 1 &&
           *end == '\0' && out->probability >= 0 && out->probability <= 1;
}

bool fault_valid(const char *text)
{
    fault ignored;

    return parse(text, &ignored);
}

bool fault_is_exception(const char *kind)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kind, kinds[i]) == 0)
            return false;
    return true;
}

void fault_set(const char *const *texts, size_t count)
{
    pthread_mutex_lock(&mutex);
    fault_count = 0;
    for (size_t i = 0; i < count && fault_count < FAULTS_MAX; i++)
        if (parse(texts[i], &faults[fault_count]))
            fault_count++;
    pthread_mutex_unlock(&mutex);
}

static double dice(void)
{
    uint32_t n = 0;

    RAND_bytes((unsigned char *)&n, sizeof(n));
    return (double)n / ((double)UINT32_MAX + 1);
}

bool fault_strikes(const char *name, char kind[FAULT_KIND_MAX])
{
    bool strikes = false;

    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < fault_count && !strikes; i++) {
        if (strcmp(faults[i].operation, "*") != 0 && strcmp(faults[i].operation, name) != 0)
            continue;
        strikes = dice() < faults[i].probability;
        if (strikes)
            memcpy(kind, faults[i].kind, FAULT_KIND_MAX);
    }
    pthread_mutex_unlock(&mutex);
    return strikes;
}
