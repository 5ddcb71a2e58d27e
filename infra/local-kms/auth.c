#include "auth.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define SKEW_MAX      300
#define CANONICAL_MAX ((size_t)96 * 1024)

/* The parts of an Authorization header, pointing into a copy of it. */
typedef struct authorization {
    char *text;
    char *credential, *signed_headers, *signature;
    char *id, *day, *region, *service; /* of the credential */
} authorization;

static const char *header(const auth_request *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (strcasecmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    return NULL;
}

static bool repeated(const auth_request *r, const char *name)
{
    size_t count = 0;

    for (size_t i = 0; i < r->header_count; i++)
        count += strcasecmp(r->headers[i].name, name) == 0;
    return count > 1;
}

static bool incomplete(failure *f, const char *why)
{
    return refuse(f, "IncompleteSignatureException", "%s", why);
}

/* Cuts "id/day/region/service/aws4_request" at its slashes; no part holds one. */
static bool split_scope(authorization *a, failure *f)
{
    char *rest = a->credential, *parts[5];

    for (int i = 0; i < 5; i++)
        parts[i] = rest != NULL ? strsep(&rest, "/") : NULL;
    if (parts[4] == NULL || rest != NULL)
        return incomplete(f, "Credential must have exactly 5 slash-delimited elements, e.g. "
                             "keyid/date/region/service/term");
    a->id = parts[0];
    a->day = parts[1];
    a->region = parts[2];
    a->service = parts[3];
    return strcmp(parts[4], "aws4_request") == 0 ||
           refuse(f, "InvalidSignatureException",
                  "Credential should be scoped with a valid terminator: 'aws4_request'.");
}

/* One NAME=VALUE of the list behind the algorithm's name. */
static bool take_part(char *part, authorization *a)
{
    const struct {
        const char *name;
        char **value;
    } parts[] = {{"Credential=", &a->credential},
                 {"SignedHeaders=", &a->signed_headers},
                 {"Signature=", &a->signature}};

    part += strspn(part, " ");
    part[strcspn(part, " ")] = '\0';
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        size_t len = strlen(parts[i].name);
        if (strncmp(part, parts[i].name, len) != 0)
            continue;
        if (*parts[i].value != NULL)
            return false;
        *parts[i].value = part + len;
        return true;
    }
    return false;
}

static bool parse(const char *text, authorization *a, failure *f)
{
    static const char algorithm[] = "AWS4-HMAC-SHA256 ";
    char *rest;

    if (strncmp(text, algorithm, strlen(algorithm)) != 0)
        return incomplete(f, "Authorization header requires the algorithm AWS4-HMAC-SHA256.");
    a->text = strdup(text);
    if (a->text == NULL)
        return refuse(f, "KMSInternalException", "out of memory");
    rest = a->text + strlen(algorithm);
    while (rest != NULL)
        if (!take_part(strsep(&rest, ","), a))
            return incomplete(f, "Authorization header holds a part that is unknown or repeated.");
    if (a->credential == NULL || a->signed_headers == NULL || a->signature == NULL)
        return incomplete(f, "Authorization header requires 'Credential', 'SignedHeaders' and "
                             "'Signature' parameters.");
    return split_scope(a, f);
}

static const credential *find_credential(const options *o, const char *id)
{
    for (int i = 0; i < o->credential_count; i++)
        if (strcmp(o->credentials[i].id, id) == 0)
            return &o->credentials[i];
    return NULL;
}

static bool in_list(const char *list, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = list; at != NULL; at = strchr(at, ';')) {
        if (*at == ';')
            at++;
        if (strncmp(at, name, len) == 0 && (at[len] == ';' || at[len] == '\0'))
            return true;
    }
    return false;
}

/* What decides about a request must be signed: where it goes, when, and every x-amz- header. */
static bool check_signed_list(const auth_request *r, const authorization *a, failure *f)
{
    static const char *const required[] = {"host", "x-amz-date"};
    const char *unsigned_name = NULL;
    char name[128];

    for (size_t i = 0; i < 2; i++)
        if (!in_list(a->signed_headers, required[i]))
            unsigned_name = required[i];
    for (size_t i = 0; i < r->header_count && unsigned_name == NULL; i++) {
        if (strncasecmp(r->headers[i].name, "x-amz-", 6) != 0)
            continue;
        snprintf(name, sizeof(name), "%s", r->headers[i].name);
        for (char *at = name; *at != '\0'; at++)
            *at = (char)tolower((unsigned char)*at);
        if (!in_list(a->signed_headers, name))
            unsigned_name = name;
    }
    return unsigned_name == NULL || refuse(f, "InvalidSignatureException",
                                           "'%s' must be a 'SignedHeader' in the AWS "
                                           "Authorization.",
                                           unsigned_name);
}

static bool check_scope(const authorization *a, failure *f)
{
    if (strcmp(a->service, "kms") != 0)
        return refuse(f, "InvalidSignatureException",
                      "Credential should be scoped to correct service: 'kms'.");
    return region_plausible(a->region) ||
           refuse(f, "InvalidSignatureException", "Credential should be scoped to a valid region.");
}

static bool check_time(const char *date, const authorization *a, failure *f)
{
    struct tm tm = {0};
    const char *end = date != NULL ? strptime(date, "%Y%m%dT%H%M%SZ", &tm) : NULL;

    if (end == NULL || *end != '\0' || strlen(date) != 16)
        return refuse(f, "IncompleteSignatureException",
                      "Date must be in ISO-8601 'basic format'. Got '%s'.",
                      date != NULL ? date : "");
    if (strlen(a->day) != 8 || strncmp(date, a->day, 8) != 0)
        return refuse(f, "InvalidSignatureException",
                      "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of "
                      "date from HTTP");
    double skew = difftime(timegm(&tm), time(NULL));
    if (skew < -SKEW_MAX)
        return refuse(f, "InvalidSignatureException",
                      "Signature expired: %s is now earlier than "
                      "5 min. before the server's time",
                      date);
    if (skew > SKEW_MAX)
        return refuse(f, "InvalidSignatureException",
                      "Signature not yet current: %s is still "
                      "later than 5 min. after the server's time",
                      date);
    return true;
}

static void hex(const unsigned char *bytes, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* Appends a value with outer blanks cut and inner runs collapsed. */
static size_t put_trimmed(char *out, size_t at, size_t size, const char *value)
{
    bool blank = false;

    while (*value == ' ')
        value++;
    for (; *value != '\0' && at + 2 < size; value++) {
        if (*value == ' ') {
            blank = true;
            continue;
        }
        if (blank)
            out[at++] = ' ';
        blank = false;
        out[at++] = *value;
    }
    return at;
}

/* The canonical request; 0 where a signed header is missing, repeated or too long. */
static size_t canonical(const auth_request *r, const authorization *a, char *out, size_t size)
{
    unsigned char digest[32];
    char body_hash[65], name[128];
    size_t at = (size_t)snprintf(out, size, "POST\n/\n\n");
    const char *item = a->signed_headers;
    bool more;

    do {
        size_t len = strcspn(item, ";");
        more = item[len] == ';';
        if (len == 0 || len >= sizeof(name))
            return 0;
        snprintf(name, sizeof(name), "%.*s", (int)len, item);
        const char *value = header(r, name);
        if (value == NULL || repeated(r, name) || at + len + strlen(value) + 256 > size)
            return 0;
        at += (size_t)snprintf(out + at, size - at, "%s:", name);
        at = put_trimmed(out, at, size, value);
        out[at++] = '\n';
        item += len + 1; /* not looked at unless there is more */
    } while (more);
    SHA256((const unsigned char *)r->body, r->body_len, digest);
    hex(digest, sizeof(digest), body_hash);
    if (at + strlen(a->signed_headers) + sizeof(body_hash) + 2 > size)
        return 0;
    return at + (size_t)snprintf(out + at, size - at, "\n%s\n%s", a->signed_headers, body_hash);
}

/* Signing keys by what they are derived from: deriving takes four HMACs. */
static pthread_mutex_t cache_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    char inputs[512];
    unsigned char key[32];
} cache[16];
static unsigned cache_next;

static void hmac(const unsigned char *key, size_t key_len, const char *text, unsigned char out[32])
{
    HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text, strlen(text), out, NULL);
}

static void signing_key(const credential *c, const authorization *a, unsigned char key[32])
{
    char inputs[512], first[160];
    bool known = false;

    snprintf(inputs, sizeof(inputs), "%s/%s/%s/%s", c->secret, a->day, a->region, a->service);
    pthread_mutex_lock(&cache_mutex);
    for (size_t i = 0; i < 16 && !known; i++) {
        known = strcmp(cache[i].inputs, inputs) == 0;
        if (known)
            memcpy(key, cache[i].key, 32);
    }
    pthread_mutex_unlock(&cache_mutex);
    if (known)
        return;

    snprintf(first, sizeof(first), "AWS4%s", c->secret);
    hmac((unsigned char *)first, strlen(first), a->day, key);
    hmac(key, 32, a->region, key);
    hmac(key, 32, a->service, key);
    hmac(key, 32, "aws4_request", key);
    OPENSSL_cleanse(first, sizeof(first));
    pthread_mutex_lock(&cache_mutex);
    memcpy(cache[cache_next % 16].inputs, inputs, sizeof(inputs));
    memcpy(cache[cache_next % 16].key, key, 32);
    cache_next++;
    pthread_mutex_unlock(&cache_mutex);
}

static bool check_signature(const auth_request *r, const authorization *a, const credential *c,
                            const char *date, failure *f)
{
    unsigned char digest[32], key[32];
    char text[512], expected[65], hash[65];
    char *request = malloc(CANONICAL_MAX);
    size_t len = request != NULL ? canonical(r, a, request, CANONICAL_MAX) : 0;

    if (len != 0)
        SHA256((unsigned char *)request, len, digest);
    free(request);
    if (len == 0)
        return refuse(f, "InvalidSignatureException",
                      "A signed header is missing, repeated or too long.");
    hex(digest, sizeof(digest), hash);
    snprintf(text, sizeof(text), "AWS4-HMAC-SHA256\n%s\n%s/%s/%s/aws4_request\n%s", date, a->day,
             a->region, a->service, hash);
    signing_key(c, a, key);
    hmac(key, sizeof(key), text, digest);
    OPENSSL_cleanse(key, sizeof(key));
    hex(digest, sizeof(digest), expected);
    if (strlen(a->signature) != 64 || CRYPTO_memcmp(expected, a->signature, 64) != 0)
        return refuse(f, "InvalidSignatureException",
                      "The request signature we calculated does not match the signature you "
                      "provided. Check your AWS Secret Access Key and signing method. Consult the "
                      "service documentation for details.");
    return true;
}

static bool check_token(const auth_request *r, const credential *c, failure *f)
{
    const char *token = header(r, "x-amz-security-token");

    if ((c->token == NULL) != (token == NULL) ||
        (token != NULL &&
         (strlen(token) != strlen(c->token) || CRYPTO_memcmp(token, c->token, strlen(token)) != 0)))
        return refuse(f, "UnrecognizedClientException",
                      "The security token included in the request is invalid.");
    return true;
}

bool auth_verify(const options *o, const auth_request *r, char region[REGION_SIZE], failure *f)
{
    const char *given = header(r, "Authorization"), *date = header(r, "x-amz-date");
    authorization a = {0};
    const credential *c = NULL;
    bool ok;

    if (given == NULL)
        return refuse(f, "MissingAuthenticationTokenException", "Missing Authentication Token");
    if (r->has_query)
        return refuse(f, "InvalidSignatureException", "A KMS request has no query.");
    ok = parse(given, &a, f);
    if (ok && (c = find_credential(o, a.id)) == NULL)
        ok = refuse(f, "UnrecognizedClientException",
                    "The security token included in the request is invalid.");
    ok = ok && check_scope(&a, f) && check_time(date, &a, f) && check_signed_list(r, &a, f) &&
         check_signature(r, &a, c, date, f) && check_token(r, c, f);
    if (ok)
        snprintf(region, REGION_SIZE, "%s", a.region);
    free(a.text);
    return ok;
}
