#include "core/create.h"

#include "core/arn.h"
#include "core/json.h"
#include "core/kms.h"
#include "core/operation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define TAG_NAME_MAX  128
#define TAG_VALUE_MAX 256

/* What each type of key can be for, by how the name of the type begins; the first is the usual. */
static const struct {
    const char *type;
    const char *usages[2];
} purposes[] = {
    {"RSA", {"SIGN_VERIFY", "ENCRYPT_DECRYPT"}}, {"EC", {"SIGN_VERIFY", "KEY_AGREEMENT"}},
    {"ED25519", {"SIGN_VERIFY", NULL}},          {"HMAC", {"GENERATE_VERIFY_MAC", NULL}},
    {"ML-DSA-", {"SIGN_VERIFY", NULL}},          {"ML-KEM-", {"ENCAPSULATE_DECAPSULATE", NULL}},
    {"SYMMETRIC", {"ENCRYPT_DECRYPT", NULL}},
};

/* A creation under way. */
typedef struct creation {
    kms_client *client;
    const kms_key_wish *wish;
    const kms_endpoint *endpoint;
    kms_caller *caller;
    char *policy;
    const char *usage;
    kms_key_metadata made; /* arn NULL: nothing was made yet */
} creation;

/* ---- before any traffic ---- */

static kms_status check_allowed(kms_client *client, kms_error *err)
{
    const kms_config *config = kms_client_config(client);

    if (kms_config_flag(config, KMS_SET_ALLOW_KEY_CREATION))
        return KMS_OK;
    return kms_fail(err, KMS_E_CREATION_NOT_ALLOWED, "allow_key_creation is off (%s)",
                    kms_config_source(config));
}

static kms_status check_alias(const char *alias, kms_error *err)
{
    if (alias == NULL || !kms_alias_is(alias))
        return kms_fail(err, KMS_E_KEY_ADDRESS, "a new key needs an alias");
    if (strncmp(alias, "alias/aws/", strlen("alias/aws/")) == 0)
        return kms_fail(err, KMS_E_KEY_ADDRESS, "%s: aliases under alias/aws/ are AWS's own",
                        alias);
    return KMS_OK;
}

static kms_status choose_usage(creation *c, kms_error *err)
{
    const kms_key_wish *wish = c->wish;
    const kms_key_spec_row *row = kms_key_spec_find(wish->spec);
    const char *type = row != NULL ? row->type : "SYMMETRIC";

    for (size_t i = 0; i < sizeof(purposes) / sizeof(purposes[0]); i++) {
        if (strncmp(purposes[i].type, type, strlen(purposes[i].type)) != 0)
            continue;
        for (size_t u = 0; u < 2 && purposes[i].usages[u] != NULL; u++) {
            /* The one curve that KMS does not agree on secrets with. */
            if (u == 1 && strcmp(wish->spec, "ECC_SECG_P256K1") == 0)
                continue;
            if (wish->usage == NULL || strcmp(purposes[i].usages[u], wish->usage) == 0) {
                c->usage = purposes[i].usages[u];
                return KMS_OK;
            }
        }
    }
    return kms_fail(err, KMS_E_KEY_USAGE, "KMS has no key of %s for %s", wish->spec, wish->usage);
}

static kms_status check_tags(const kms_key_wish *wish, kms_error *err)
{
    if (wish->tag_count > KMS_TAGS_MAX)
        return kms_fail(err, KMS_E_ARGUMENT, "%zu tags, and KMS takes %d", wish->tag_count,
                        KMS_TAGS_MAX);
    for (size_t i = 0; i < wish->tag_count; i++) {
        const char *name = wish->tags[2 * i], *value = wish->tags[2 * i + 1];
        if (name[0] == '\0' || strlen(name) > TAG_NAME_MAX || strlen(value) > TAG_VALUE_MAX ||
            strncasecmp(name, "aws:", 4) == 0)
            return kms_fail(err, KMS_E_ARGUMENT,
                            "tag %zu: a name has 1 to %d bytes and does not begin with aws:, a "
                            "value has up to %d",
                            i + 1, TAG_NAME_MAX, TAG_VALUE_MAX);
        for (size_t other = 0; other < i; other++)
            if (strcmp(wish->tags[2 * other], name) == 0)
                return kms_fail(err, KMS_E_ARGUMENT, "tag \"%s\" is there twice", name);
    }
    return KMS_OK;
}

static kms_status bad_policy(const creation *c, const char *why, kms_error *err)
{
    return kms_fail(err, KMS_E_ARGUMENT, "policy file %s: %s", c->wish->policy_file, why);
}

/* A policy is JSON: KMS would say the same, but less clearly. */
static kms_status check_policy(const creation *c, size_t len, kms_error *err)
{
    cJSON *json = NULL;
    const char *why = kms_json_read((kms_bytes){(const uint8_t *)c->policy, len}, &json);

    cJSON_Delete(json);
    if (len > KMS_POLICY_MAX)
        return bad_policy(c, "larger than 32 KiB", err);
    return why == NULL ? KMS_OK : bad_policy(c, why, err);
}

static kms_status read_policy(creation *c, kms_error *err)
{
    size_t len = 0;
    ssize_t got = 1;
    int fd;

    if (c->wish->policy_file == NULL)
        return KMS_OK;
    c->policy = malloc(KMS_POLICY_MAX + 2);
    if (c->policy == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "key policy");
    fd = open(c->wish->policy_file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return bad_policy(c, strerror(errno), err);
    while (got > 0 && len <= KMS_POLICY_MAX) {
        got = read(fd, c->policy + len, KMS_POLICY_MAX + 1 - len);
        len += got > 0 ? (size_t)got : 0;
    }
    if (got < 0) {
        kms_status st = bad_policy(c, strerror(errno), err);
        close(fd);
        return st;
    }
    close(fd);
    c->policy[len] = '\0';
    return check_policy(c, len, err);
}

static kms_status check_wish(creation *c, kms_error *err)
{
    kms_status st = check_allowed(c->client, err);

    if (st == KMS_OK)
        st = check_alias(c->wish->address->key, err);
    if (st == KMS_OK)
        st = choose_usage(c, err);
    if (st == KMS_OK)
        st = check_tags(c->wish, err);
    if (st == KMS_OK && c->wish->description != NULL &&
        strlen(c->wish->description) > KMS_DESCRIPTION_MAX)
        st = kms_fail(err, KMS_E_ARGUMENT, "the description has more than %d bytes",
                      KMS_DESCRIPTION_MAX);
    if (st == KMS_OK)
        st = read_policy(c, err);
    return st;
}

/* ---- in KMS ---- */

/* The key that an alias names, as far as these credentials may know; *arn is owned, NULL: none. */
static kms_status look_up(const creation *c, char **arn, kms_error *err)
{
    kms_key_metadata metadata = {0};
    kms_error error = {0};
    kms_status st =
        kms_describe_key(c->caller, c->endpoint, c->wish->address->key, &metadata, &error);

    *arn = metadata.arn;
    metadata.arn = NULL;
    kms_key_metadata_clear(&metadata);
    if (st == KMS_OK || st == KMS_E_NOT_FOUND || st == KMS_E_ACCESS_DENIED)
        return KMS_OK;
    if (err != NULL)
        *err = error;
    return st;
}

/* Asked first: a key that then can't have its name would wait for its deletion for days. */
static kms_status check_alias_is_free(const creation *c, kms_error *err)
{
    char *arn = NULL;
    kms_status st = look_up(c, &arn, err);

    if (st == KMS_OK && arn != NULL)
        st = kms_fail(err, KMS_E_ALIAS_EXISTS, "%s is an alias of %s", c->wish->address->key, arn);
    free(arn);
    return st;
}

/* The new key must be what was asked for, where it was asked for. */
static kms_status check_made(const creation *c, kms_error *err)
{
    const kms_key_metadata *made = &c->made;
    kms_arn arn;
    kms_status st = kms_arn_parse(made->arn, &arn, err);

    if (st == KMS_OK && strcmp(arn.region, c->endpoint->region) != 0)
        st = kms_fail(err, KMS_E_REPLY_REGION, "asked for a key in %s, got %s", c->endpoint->region,
                      made->arn);
    if (st == KMS_OK && (strcmp(made->spec, c->wish->spec) != 0 ||
                         strcmp(made->usage, c->usage) != 0 || made->multi_region))
        st = kms_fail(err, KMS_E_REPLY_OTHER_KEY, "asked for %s for %s, got %s for %s",
                      c->wish->spec, c->usage, made->spec, made->usage);
    return st;
}

static kms_status make(creation *c, kms_error *err)
{
    const kms_new_key wanted = {
        .spec = c->wish->spec,
        .usage = c->usage,
        .description = c->wish->description,
        .policy = c->policy,
        .tags = c->wish->tags,
        .tag_count = c->wish->tag_count,
    };
    kms_error error = {0};
    kms_status st = kms_create_key(c->caller, c->endpoint, &wanted, &c->made, &error);

    /* Without an answer nobody knows. */
    if (st == KMS_E_TIMEOUT || st == KMS_E_UNREACHABLE || st == KMS_E_SERVICE ||
        st == KMS_E_REPLY_MALFORMED || st == KMS_E_REPLY_TOO_LARGE) {
        kms_error cause = error;
        kms_fail(&error, st, "%.400s; there may be a new key all the same, without an alias",
                 cause.detail);
        memcpy(error.exception, cause.exception, sizeof(error.exception));
        memcpy(error.request_id, cause.request_id, sizeof(error.request_id));
    }
    if (st != KMS_OK && err != NULL)
        *err = error;
    return st;
}

/* A failure whose request was done all the same (or done before its own repetition) is none. */
static kms_status name_it(const creation *c, kms_error *err)
{
    kms_error error = {0};
    char *arn = NULL;
    kms_status st =
        kms_create_alias(c->caller, c->endpoint, c->wish->address->key, c->made.arn, &error);

    if (st == KMS_OK)
        return KMS_OK;
    if (look_up(c, &arn, NULL) == KMS_OK && arn != NULL && strcmp(arn, c->made.arn) == 0)
        st = KMS_OK;
    free(arn);
    if (st != KMS_OK && err != NULL)
        *err = error;
    return st;
}

/* Schedules the new key for deletion after a failure, and says so before what failed. */
static void take_back(const creation *c, kms_error *err)
{
    kms_error cause = *err, deletion = {0};
    kms_status st = kms_schedule_key_deletion(c->caller, c->endpoint, c->made.arn, &deletion);

    if (st == KMS_OK)
        kms_fail(err, cause.status, "the new key %s is scheduled for deletion: %.300s", c->made.arn,
                 cause.detail);
    else
        kms_fail(err, cause.status,
                 "the new key %s is there and has no alias; scheduling its deletion failed too "
                 "(%s): %.200s",
                 c->made.arn, kms_status_sentence(st), cause.detail);
    memcpy(err->exception, cause.exception, sizeof(err->exception));
    memcpy(err->request_id, cause.request_id, sizeof(err->request_id));
}

/* By the ARN: an alias that is this new may not be known everywhere yet. */
static kms_status load(const creation *c, kms_key **out, kms_error *err)
{
    const kms_address address = {
        .key = c->made.arn,
        .region = (char *)(uintptr_t)c->endpoint->region,
        .profile = c->wish->address->profile,
    };
    kms_error error = {0};
    kms_status st = kms_client_key(c->client, &address, out, &error);

    if (st != KMS_OK && err != NULL) {
        *err = error;
        kms_fail(err, st, "%s was made as %s, but can't be loaded yet: %.300s", c->made.arn,
                 c->wish->address->key, error.detail);
    }
    return st;
}

/* The name comes last: what has it is whole. */
static kms_status make_whole(creation *c, kms_error *err)
{
    kms_error error = {0};
    kms_status st = make(c, err);

    if (st != KMS_OK)
        return st;
    st = check_made(c, &error);
    if (st == KMS_OK && kms_key_spec_find(c->made.spec) == NULL)
        st = kms_enable_key_rotation(c->caller, c->endpoint, c->made.arn, &error);
    if (st == KMS_OK)
        st = name_it(c, &error);
    if (st != KMS_OK) {
        take_back(c, &error);
        if (err != NULL)
            *err = error;
    }
    return st;
}

kms_status kms_client_create_key(kms_client *client, const kms_key_wish *wish, kms_key **out,
                                 kms_error *err)
{
    creation c = {.client = client, .wish = wish};
    kms_status st = check_wish(&c, err);

    *out = NULL;
    if (st == KMS_OK)
        st = kms_operation_prepare(client, wish->address, &c.endpoint, &c.caller, err);
    if (st == KMS_OK)
        st = check_alias_is_free(&c, err);
    if (st == KMS_OK)
        st = make_whole(&c, err);
    if (st == KMS_OK)
        st = load(&c, out, err);
    kms_key_metadata_clear(&c.made);
    free(c.policy);
    return st;
}
