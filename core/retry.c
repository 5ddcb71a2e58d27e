#include "core/retry.h"

#include <string.h>

#define QUOTA_CAPACITY 500
#define COST_RETRY     5
#define COST_TIMEOUT   10
#define DELAY_MAX_MS   20000L
#define HINT_MAX_MS    5000L /* a server's hint lengthens our own delay by this much at the most */

/* clang-format off */
static const kms_exception exceptions[] = {
    /* KMS */
    { "NotFoundException",                        KMS_E_NOT_FOUND,           KMS_RETRY_NEVER },
    { "DisabledException",                        KMS_E_KEY_DISABLED,        KMS_RETRY_NEVER },
    { "KMSInvalidStateException",                 KMS_E_KEY_STATE,           KMS_RETRY_NEVER },
    { "KeyUnavailableException",                  KMS_E_KEY_UNAVAILABLE,     KMS_RETRY_TRANSIENT },
    { "InvalidKeyUsageException",                 KMS_E_KEY_USAGE,           KMS_RETRY_NEVER },
    { "InvalidCiphertextException",               KMS_E_CONTEXT_MISMATCH,    KMS_RETRY_NEVER },
    { "IncorrectKeyException",                    KMS_E_INCORRECT_KEY,       KMS_RETRY_NEVER },
    { "InvalidArnException",                      KMS_E_KEY_ADDRESS,         KMS_RETRY_NEVER },
    { "UnsupportedOperationException",            KMS_E_KEY_USAGE,           KMS_RETRY_NEVER },
    { "KMSInternalException",                     KMS_E_SERVICE,             KMS_RETRY_TRANSIENT },
    { "DependencyTimeoutException",               KMS_E_SERVICE,             KMS_RETRY_TRANSIENT },
    { "InternalFailure",                          KMS_E_SERVICE,             KMS_RETRY_TRANSIENT },
    { "InternalServerError",                      KMS_E_SERVICE,             KMS_RETRY_TRANSIENT },
    { "ServiceUnavailable",                       KMS_E_SERVICE,             KMS_RETRY_TRANSIENT },
    { "RequestTimeout",                           KMS_E_TIMEOUT,             KMS_RETRY_TRANSIENT },
    { "RequestTimeoutException",                  KMS_E_TIMEOUT,             KMS_RETRY_TRANSIENT },
    /* a resource quota here, not throttling as in other services */
    { "LimitExceededException",                   KMS_E_LIMIT,               KMS_RETRY_NEVER },
    /* throttling, by all names that SDKs know */
    { "ThrottlingException",                      KMS_E_THROTTLED,           KMS_RETRY_THROTTLED },
    { "Throttling",                               KMS_E_THROTTLED,           KMS_RETRY_THROTTLED },
    { "ThrottledException",                       KMS_E_THROTTLED,           KMS_RETRY_THROTTLED },
    { "RequestThrottled",                         KMS_E_THROTTLED,           KMS_RETRY_THROTTLED },
    { "RequestThrottledException",                KMS_E_THROTTLED,           KMS_RETRY_THROTTLED },
    { "TooManyRequestsException",                 KMS_E_THROTTLED,           KMS_RETRY_THROTTLED },
    { "RequestLimitExceeded",                     KMS_E_THROTTLED,           KMS_RETRY_THROTTLED },
    { "BandwidthLimitExceeded",                   KMS_E_THROTTLED,           KMS_RETRY_THROTTLED },
    { "SlowDown",                                 KMS_E_THROTTLED,           KMS_RETRY_THROTTLED },
    { "PriorRequestNotComplete",                  KMS_E_THROTTLED,           KMS_RETRY_THROTTLED },
    { "TransactionInProgressException",           KMS_E_THROTTLED,           KMS_RETRY_THROTTLED },
    { "ProvisionedThroughputExceededException",   KMS_E_THROTTLED,           KMS_RETRY_THROTTLED },
    { "EC2ThrottledException",                    KMS_E_THROTTLED,           KMS_RETRY_THROTTLED },
    /* identity */
    { "AccessDeniedException",                    KMS_E_ACCESS_DENIED,       KMS_RETRY_SKEW },
    { "ExpiredTokenException",                    KMS_E_CREDENTIALS_EXPIRED, KMS_RETRY_EXPIRED },
    { "ExpiredToken",                             KMS_E_CREDENTIALS_EXPIRED, KMS_RETRY_EXPIRED },
    { "UnrecognizedClientException",              KMS_E_CREDENTIALS_INVALID, KMS_RETRY_NEVER },
    { "InvalidClientTokenId",                     KMS_E_CREDENTIALS_INVALID, KMS_RETRY_NEVER },
    { "MissingAuthenticationTokenException",      KMS_E_SIGNATURE,           KMS_RETRY_NEVER },
    { "IncompleteSignatureException",             KMS_E_SIGNATURE,           KMS_RETRY_NEVER },
    { "InvalidSignatureException",                KMS_E_SIGNATURE,           KMS_RETRY_SKEW },
    { "SignatureDoesNotMatch",                    KMS_E_SIGNATURE,           KMS_RETRY_SKEW },
    { "RequestTimeTooSkewed",                     KMS_E_SIGNATURE,           KMS_RETRY_SKEW },
    { "RequestExpired",                           KMS_E_SIGNATURE,           KMS_RETRY_SKEW },
    { "RequestInTheFuture",                       KMS_E_SIGNATURE,           KMS_RETRY_SKEW },
    /* the request itself */
    { "ValidationException",                      KMS_E_REQUEST_REFUSED,     KMS_RETRY_NEVER },
    { "SerializationException",                   KMS_E_REQUEST_REFUSED,     KMS_RETRY_NEVER },
    { "UnknownOperationException",                KMS_E_REQUEST_REFUSED,     KMS_RETRY_NEVER },
};

/* Replies that carry no name: a proxy's page, a load balancer's. */
static const kms_exception too_many_requests = { NULL, KMS_E_THROTTLED,       KMS_RETRY_THROTTLED };
static const kms_exception server_failure    = { NULL, KMS_E_SERVICE,         KMS_RETRY_TRANSIENT };
static const kms_exception client_failure    = { NULL, KMS_E_REQUEST_REFUSED, KMS_RETRY_NEVER };
/* A redirect above all: KMS sends none, and it is not followed. */
static const kms_exception no_kms            = { NULL, KMS_E_REPLY_MALFORMED, KMS_RETRY_NEVER };
/* clang-format on */

const kms_exception *kms_exception_find(const char *name, long http_status)
{
    for (size_t i = 0; name != NULL && i < sizeof(exceptions) / sizeof(exceptions[0]); i++)
        if (strcmp(exceptions[i].name, name) == 0)
            return &exceptions[i];
    if (http_status == 429)
        return &too_many_requests;
    if (http_status >= 500)
        return &server_failure;
    return http_status >= 400 ? &client_failure : &no_kms;
}

kms_retry_class kms_retry_of_status(kms_status status)
{
    bool transient =
        status == KMS_E_UNREACHABLE || status == KMS_E_TIMEOUT || status == KMS_E_TLS_HANDSHAKE;

    return transient ? KMS_RETRY_TRANSIENT : KMS_RETRY_NEVER;
}

void kms_retry_quota_init(kms_retry_quota *quota)
{
    atomic_init(&quota->tokens, QUOTA_CAPACITY);
}

bool kms_retry_quota_take(kms_retry_quota *quota, kms_status status, int *taken)
{
    int cost = status == KMS_E_TIMEOUT ? COST_TIMEOUT : COST_RETRY;
    int have = atomic_load(&quota->tokens);

    do {
        if (have < cost)
            return false;
    } while (!atomic_compare_exchange_weak(&quota->tokens, &have, have - cost));
    *taken = cost;
    return true;
}

void kms_retry_quota_give(kms_retry_quota *quota, int taken)
{
    int back = taken > 0 ? taken : 1;
    int have = atomic_load(&quota->tokens);
    int full;

    do {
        if (have >= QUOTA_CAPACITY)
            return;
        full = have + back > QUOTA_CAPACITY ? QUOTA_CAPACITY : have + back;
    } while (!atomic_compare_exchange_weak(&quota->tokens, &have, full));
}

long kms_retry_delay_ms(kms_retry_class kind, int retry, uint32_t random, long hint_ms)
{
    long base = kind == KMS_RETRY_THROTTLED ? 500 : 100;
    long ceiling = base;

    for (int i = 0; i < retry && ceiling < DELAY_MAX_MS; i++)
        ceiling *= 2;
    if (ceiling > DELAY_MAX_MS)
        ceiling = DELAY_MAX_MS;
    long delay = (long)((double)random / UINT32_MAX * (double)ceiling);
    if (hint_ms > delay)
        delay = hint_ms < delay + HINT_MAX_MS ? hint_ms : delay + HINT_MAX_MS;
    return delay;
}
