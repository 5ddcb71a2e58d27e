#include "core/residency.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST_MAX 256 /* with the terminator: a DNS name has up to 253 characters */

/* What is true of a partition. A NULL means that KMS has no such names there. */
typedef struct partition_row {
    const char *name;
    const char *suffix;     /* kms.REGION.SUFFIX */
    const char *dual_stack; /* kms.REGION.SUFFIX */
    const char *vpc;        /* vpce-ID.kms.REGION.SUFFIX */
    bool fips;              /* kms-fips in the place of kms */
} partition_row;

static const partition_row partitions[] = {
    {"aws", "amazonaws.com", "api.aws", "vpce.amazonaws.com", true},
    {"aws-eusc", "amazonaws.eu", "api.amazonwebservices.eu", NULL, false},
};

enum { AWS, AWS_EUSC }; /* rows of partitions */

typedef struct region_row {
    const char *name;
    int partition;
    bool member_state; /* of the EU; else only an adequacy decision covers it */
} region_row;

static const region_row regions[] = {
    {"eu-central-1", AWS, true},        /* Frankfurt */
    {"eu-west-1", AWS, true},           /* Dublin */
    {"eu-west-3", AWS, true},           /* Paris */
    {"eu-north-1", AWS, true},          /* Stockholm */
    {"eu-south-1", AWS, true},          /* Milan */
    {"eu-south-2", AWS, true},          /* Aragon */
    {"eusc-de-east-1", AWS_EUSC, true}, /* Brandenburg */
    {"eu-west-2", AWS, false},          /* London */
    {"eu-central-2", AWS, false},       /* Zurich */
};

#define REGION_COUNT (sizeof(regions) / sizeof(regions[0]))

/* Domains of AWS: a name under them says itself in which region it is. */
static const char *const aws_domains[] = {
    ".amazonaws.com", ".amazonaws.com.cn",         ".amazonaws.eu",
    ".api.aws",       ".amazonwebservices.com.cn", ".amazonwebservices.eu"};

typedef struct trusted_endpoint {
    char host[HOST_MAX];
    const region_row *region;
} trusted_endpoint;

struct kms_residency {
    bool allowed[REGION_COUNT];
    trusted_endpoint *trusted;
    size_t trusted_count;
};

/* ---- regions ---- */

static const region_row *region_find(const char *name)
{
    for (size_t i = 0; i < REGION_COUNT; i++) {
        if (strcmp(regions[i].name, name) == 0)
            return &regions[i];
    }
    return NULL;
}

/* The region where it is allowed, else NULL. */
static const region_row *region_allowed(const kms_residency *residency, const char *name)
{
    const region_row *region = region_find(name);

    return region != NULL && residency->allowed[region - regions] ? region : NULL;
}

static void format_allowed(const kms_residency *residency, char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < REGION_COUNT && used < size; i++) {
        if (residency->allowed[i])
            used += (size_t)snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "",
                                     regions[i].name);
    }
}

kms_status kms_residency_check_region(const kms_residency *residency, const char *region,
                                      kms_error *err)
{
    char allowed[256];

    if (region_allowed(residency, region) != NULL)
        return KMS_OK;
    format_allowed(residency, allowed, sizeof(allowed));
    return kms_fail(err, KMS_E_REGION_NOT_ALLOWED, "\"%.*s\" is not one of: %s", KMS_REGION_MAX,
                    region, allowed);
}

kms_status kms_residency_check_arn(const kms_residency *residency, const char *arn,
                                   const char *region, kms_error *err)
{
    kms_arn parsed;
    kms_status st = kms_arn_parse(arn, &parsed, err);
    const char *partition;

    if (st == KMS_OK && region != NULL && strcmp(parsed.region, region) != 0)
        st = kms_fail(err, KMS_E_REPLY_REGION, "asked was %s, the ARN is in %s", region,
                      parsed.region);
    if (st == KMS_OK)
        st = kms_residency_check_region(residency, parsed.region, err);
    if (st != KMS_OK)
        return st;
    partition = partitions[region_find(parsed.region)->partition].name;
    if (strcmp(parsed.partition, partition) != 0)
        return kms_fail(err, KMS_E_REGION_NOT_ALLOWED,
                        "the ARN's partition is %s, but %s belongs to %s", parsed.partition,
                        parsed.region, partition);
    return KMS_OK;
}

/* ---- endpoints ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);

    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* True for "SERVICE.REGION.SUFFIX", the whole of host. */
static bool host_is(const char *host, const char *service, const char *region, const char *suffix)
{
    char name[HOST_MAX];

    if (suffix == NULL)
        return false;
    snprintf(name, sizeof(name), "%s.%s.%s", service, region, suffix);
    return strcmp(host, name) == 0;
}

/* The rest of host after its first label where that is a VPC endpoint's ("vpce-ID" or with a zone
 * behind it), else NULL. */
static const char *after_vpc_label(const char *host)
{
    size_t label = strcspn(host, ".");

    if (strncmp(host, "vpce-", 5) != 0 || label <= 5 || host[label] == '\0' ||
        strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-") != label)
        return NULL;
    return host + label + 1;
}

/* True for the names that KMS itself has in a region. */
static bool host_in_region(const char *host, const region_row *region)
{
    static const char *const services[] = {"kms", "kms-fips"};
    const partition_row *partition = &partitions[region->partition];
    const char *behind_vpc = after_vpc_label(host);

    for (size_t i = 0; i < (partition->fips ? 2U : 1U); i++) {
        if (host_is(host, services[i], region->name, partition->suffix) ||
            host_is(host, services[i], region->name, partition->dual_stack) ||
            (behind_vpc != NULL && host_is(behind_vpc, services[i], region->name, partition->vpc)))
            return true;
    }
    return false;
}

bool kms_host_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    char bare[INET6_ADDRSTRLEN];
    size_t len = strlen(host);

    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (len < 3 || len - 2 >= sizeof(bare) || host[0] != '[' || host[len - 1] != ']')
        return false;
    memcpy(bare, host + 1, len - 2);
    bare[len - 2] = '\0';
    return inet_pton(AF_INET6, bare, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* Host and scheme of a URL. libcurl's parser is the one that will read it when it is used. */
typedef struct url_parts {
    char host[HOST_MAX];
    bool https;
} url_parts;

/* Takes one part of a URL; false where it has none or it is too long. */
static bool part_get(CURLU *url, CURLUPart which, char *part, size_t size)
{
    char *text = NULL;
    bool taken = curl_url_get(url, which, &text, 0) == CURLUE_OK && strlen(text) < size;

    if (taken)
        memcpy(part, text, strlen(text) + 1);
    curl_free(text);
    return taken;
}

/* What is wrong with an endpoint URL, or NULL. Refuses before parsing whatever could make a reader,
 * or another parser, see another host: users, escapes, backslashes, blanks. */
static const char *parse_url(const char *text, url_parts *parts)
{
    CURLU *url = curl_url();
    char scheme[8] = "", path[4] = "";
    const char *fault = NULL;

    for (const char *c = text; *c != '\0' && fault == NULL; c++) {
        if (!isgraph((unsigned char)*c) || strchr("@%\\?#\"<>^`{|}", *c) != NULL)
            fault = "it has a character that an endpoint does not need";
    }
    if (url == NULL)
        fault = "no memory to parse it";
    if (fault == NULL && strstr(text, "://") == NULL)
        fault = "it does not begin with https:// or http://";
    if (fault == NULL && curl_url_set(url, CURLUPART_URL, text, CURLU_DISALLOW_USER) != CURLUE_OK)
        fault = "it is not a URL";
    if (fault == NULL && (!part_get(url, CURLUPART_SCHEME, scheme, sizeof(scheme)) ||
                          (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0)))
        fault = "it does not begin with https:// or http://";
    if (fault == NULL && !part_get(url, CURLUPART_HOST, parts->host, sizeof(parts->host)))
        fault = "it has no valid host";
    if (fault == NULL &&
        (!part_get(url, CURLUPART_PATH, path, sizeof(path)) || strcmp(path, "/") != 0))
        fault = "it has a path";
    parts->https = strcmp(scheme, "https") == 0;
    curl_url_cleanup(url);
    return fault;
}

/* True where region is NULL or the row's. */
static bool region_fits(const region_row *row, const char *region)
{
    return region == NULL || strcmp(row->name, region) == 0;
}

static bool host_allowed(const kms_residency *residency, const char *host, const char *region)
{
    for (size_t i = 0; i < REGION_COUNT; i++) {
        if (residency->allowed[i] && region_fits(&regions[i], region) &&
            host_in_region(host, &regions[i]))
            return true;
    }
    for (size_t i = 0; i < residency->trusted_count; i++) {
        if (region_fits(residency->trusted[i].region, region) &&
            strcmp(residency->trusted[i].host, host) == 0)
            return true;
    }
    return false;
}

kms_status kms_residency_check_endpoint(const kms_residency *residency, const char *url,
                                        const char *region, kms_error *err)
{
    url_parts parts = {0};
    const char *fault = parse_url(url, &parts);
    bool loopback;

    if (fault != NULL)
        return kms_fail(err, KMS_E_ENDPOINT_INVALID, "%s", fault);
    loopback = kms_host_is_loopback(parts.host);
    if (!parts.https && !loopback)
        return kms_fail(err, KMS_E_ENDPOINT_INVALID, "http:// to %s, which is not loopback",
                        parts.host);
    if (region != NULL && region_allowed(residency, region) == NULL)
        return kms_fail(err, KMS_E_ENDPOINT_NOT_ALLOWED, "%s for region %.*s, which is not allowed",
                        parts.host, KMS_REGION_MAX, region);
    if (!loopback && !host_allowed(residency, parts.host, region))
        return kms_fail(err, KMS_E_ENDPOINT_NOT_ALLOWED, "%s is no name of KMS in %s", parts.host,
                        region != NULL ? region : "an allowed region");
    return KMS_OK;
}

void kms_residency_endpoint(const char *region, char *url, size_t size)
{
    const region_row *row = region_find(region);

    if (row != NULL)
        snprintf(url, size, "https://kms.%s.%s", row->name, partitions[row->partition].suffix);
    else if (size > 0)
        url[0] = '\0';
}

/* ---- configuration ---- */

/* A name as libcurl's parser gives it back, so that comparing works: lower case, no dot at the end.
 */
static bool host_name_is(const char *host)
{
    size_t len = strlen(host);

    return len > 0 && len < HOST_MAX && host[0] != '.' && host[len - 1] != '.' &&
           strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789.-") == len;
}

/* True where host is under a domain of AWS and does not have the region as one of its labels. */
static bool host_contradicts(const char *host, const char *region)
{
    char label[KMS_REGION_MAX + 2];

    snprintf(label, sizeof(label), ".%s.", region);
    for (size_t i = 0; i < sizeof(aws_domains) / sizeof(aws_domains[0]); i++) {
        if (ends_with(host, aws_domains[i]) && strstr(host, label) == NULL)
            return true;
    }
    return false;
}

static kms_status bad_setting(const kms_config *config, const char *setting, const char *item,
                              const char *fault, kms_error *err)
{
    return kms_fail(err, KMS_E_CONFIG_VALUE, "%s (%s): \"%.128s\" %s", setting,
                    kms_config_source(config), item, fault);
}

static kms_status add_trusted(kms_residency *residency, const kms_config *config, const char *item,
                              kms_error *err)
{
    const char *equals = strchr(item, '=');
    trusted_endpoint *added = &residency->trusted[residency->trusted_count];
    size_t len = equals == NULL ? 0 : (size_t)(equals - item);

    if (len == 0 || len >= sizeof(added->host))
        return bad_setting(config, "trusted_endpoints", item, "is not HOST=REGION", err);
    memcpy(added->host, item, len);
    added->host[len] = '\0';
    if (!host_name_is(added->host))
        return bad_setting(config, "trusted_endpoints", item,
                           "has no valid host (lower case, without port)", err);
    added->region = region_allowed(residency, equals + 1);
    if (added->region == NULL)
        return bad_setting(config, "trusted_endpoints", item, "names a region that is not allowed",
                           err);
    if (host_contradicts(added->host, added->region->name))
        return bad_setting(config, "trusted_endpoints", item, "is a name of AWS in another region",
                           err);
    residency->trusted_count++;
    return KMS_OK;
}

static kms_status read_trusted(kms_residency *residency, const kms_config *config, kms_error *err)
{
    const char *const *items = kms_config_list(config, KMS_SET_TRUSTED_ENDPOINTS);
    size_t count = 0;
    kms_status st = KMS_OK;

    while (items[count] != NULL)
        count++;
    residency->trusted = calloc(count + 1, sizeof(*residency->trusted));
    if (residency->trusted == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "trusted endpoints");
    for (; st == KMS_OK && *items != NULL; items++)
        st = add_trusted(residency, config, *items, err);
    return st;
}

static kms_status read_regions(kms_residency *residency, const kms_config *config, kms_error *err)
{
    const char *const *narrowed = kms_config_list(config, KMS_SET_ALLOWED_REGIONS);
    bool adequate = strcmp(kms_config_text(config, KMS_SET_RESIDENCY), "eu-adequate") == 0;
    bool listed[REGION_COUNT] = {0};

    for (size_t i = 0; i < REGION_COUNT; i++)
        residency->allowed[i] = regions[i].member_state || adequate;
    if (narrowed[0] == NULL)
        return KMS_OK;
    for (; *narrowed != NULL; narrowed++) {
        const region_row *region = region_allowed(residency, *narrowed);
        if (region == NULL)
            return bad_setting(config, "allowed_regions", *narrowed,
                               "is outside the set that residency allows", err);
        listed[region - regions] = true;
    }
    memcpy(residency->allowed, listed, sizeof(listed));
    return KMS_OK;
}

kms_status kms_residency_new(const kms_config *config, kms_residency **out, kms_error *err)
{
    kms_residency *residency = calloc(1, sizeof(*residency));
    kms_status st;

    *out = NULL;
    if (residency == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "residency");
    st = read_regions(residency, config, err);
    if (st == KMS_OK)
        st = read_trusted(residency, config, err);
    if (st != KMS_OK) {
        kms_residency_free(residency);
        return st;
    }
    *out = residency;
    return KMS_OK;
}

void kms_residency_free(kms_residency *residency)
{
    if (residency == NULL)
        return;
    free(residency->trusted);
    free(residency);
}
