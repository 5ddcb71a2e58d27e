#include "call.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GRANT_TOKENS_MAX 10

/* clang-format off */
static const operation operations[] = {
    /* name                                  run                                       writes silent */
    { "Encrypt",                             op_encrypt,                                  false, false },
    { "Decrypt",                             op_decrypt,                                  false, false },
    { "ReEncrypt",                           op_reencrypt,                                false, false },
    { "GenerateDataKey",                     op_generate_data_key,                        false, false },
    { "GenerateDataKeyWithoutPlaintext",     op_generate_data_key_without_plaintext,      false, false },
    { "GenerateDataKeyPair",                 op_generate_data_key_pair,                   false, false },
    { "GenerateDataKeyPairWithoutPlaintext", op_generate_data_key_pair_without_plaintext, false, false },
    { "GenerateRandom",                      op_generate_random,                          false, false },
    { "Sign",                                op_sign,                                     false, false },
    { "Verify",                              op_verify,                                   false, false },
    { "GenerateMac",                         op_generate_mac,                             false, false },
    { "VerifyMac",                           op_verify_mac,                               false, false },
    { "GetPublicKey",                        op_get_public_key,                           false, false },
    { "DeriveSharedSecret",                  op_derive_shared_secret,                     false, false },
    { "Encapsulate",                         op_encapsulate,                              false, false },
    { "Decapsulate",                         op_decapsulate,                              false, false },
    { "CreateKey",                           op_create_key,                               true,  false },
    { "DescribeKey",                         op_describe_key,                             false, false },
    { "ListKeys",                            op_list_keys,                                false, false },
    { "EnableKey",                           op_enable_key,                               true,  true },
    { "DisableKey",                          op_disable_key,                              true,  true },
    { "UpdateKeyDescription",                op_update_key_description,                   true,  true },
    { "ScheduleKeyDeletion",                 op_schedule_key_deletion,                    true,  false },
    { "CancelKeyDeletion",                   op_cancel_key_deletion,                      true,  false },
    { "ReplicateKey",                        op_replicate_key,                            true,  false },
    { "CreateAlias",                         op_create_alias,                             true,  true },
    { "UpdateAlias",                         op_update_alias,                             true,  true },
    { "DeleteAlias",                         op_delete_alias,                             true,  true },
    { "ListAliases",                         op_list_aliases,                             false, false },
    { "GetKeyRotationStatus",                op_get_key_rotation_status,                  false, false },
    { "EnableKeyRotation",                   op_enable_key_rotation,                      true,  true },
    { "DisableKeyRotation",                  op_disable_key_rotation,                     true,  true },
    { "RotateKeyOnDemand",                   op_rotate_key_on_demand,                     true,  false },
    { "ListKeyRotations",                    op_list_key_rotations,                       false, false },
    { "GetKeyPolicy",                        op_get_key_policy,                           false, false },
    { "PutKeyPolicy",                        op_put_key_policy,                           true,  true },
    { "TagResource",                         op_tag_resource,                             true,  true },
    { "UntagResource",                       op_untag_resource,                           true,  true },
    { "ListResourceTags",                    op_list_resource_tags,                       false, false },
};
/* clang-format on */

const operation *operation_find(const char *name)
{
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
        if (strcmp(operations[i].name, name) == 0)
            return &operations[i];
    return NULL;
}

/* --- bodies --- */

/* The length of the UTF-8 sequence at the beginning, at most len; 0 where there is none. */
static size_t utf8_sequence(const unsigned char *text, size_t len)
{
    static const struct {
        unsigned char mask, head;
        unsigned long min; /* anything less has a shorter form */
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

    for (size_t more = 0; more < 4; more++) {
        if ((text[0] & forms[more].mask) != forms[more].head)
            continue;
        unsigned long point = text[0] & (unsigned char)~forms[more].mask;
        if (more >= len)
            return 0;
        for (size_t i = 1; i <= more; i++) {
            if ((text[i] & 0xc0) != 0x80)
                return 0;
            point = point << 6 | (text[i] & 0x3f);
        }
        bool valid =
            point >= forms[more].min && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
        return valid ? more + 1 : 0;
    }
    return 0;
}

/* What cJSON lets through and a C string can't carry or JSON does not allow: NUL, raw or escaped,
 * control characters, bytes that are not UTF-8. */
static bool body_is_text(const char *body, size_t len)
{
    const unsigned char *at = (const unsigned char *)body;
    size_t i = 0, n;

    while (i < len) {
        if (at[i] == '\\') {
            if (len - i >= 6 && memcmp(at + i, "\\u0000", 6) == 0)
                return false;
            i += len - i >= 2 ? 2 : 1;
            continue;
        }
        if (at[i] < ' ' && strchr("\t\n\r", at[i]) == NULL)
            return false;
        n = utf8_sequence(at + i, len - i);
        if (n == 0 || at[i] == '\0')
            return false;
        i += n;
    }
    return true;
}

cJSON *call_parse(const char *body, size_t len, failure *f)
{
    const char *end = NULL;
    cJSON *json = body_is_text(body, len) ? cJSON_ParseWithLengthOpts(body, len, &end, 0) : NULL;

    while (json != NULL && end < body + len && strchr(" \t\r\n", *end) != NULL)
        end++;
    if (cJSON_IsObject(json) && end == body + len)
        return json;
    cJSON_Delete(json);
    failure_set(f, "SerializationException", "%s", "");
    return NULL;
}

/* --- members that come in --- */

/* AWS names members in its messages with a small first letter. */
static const char *small(const char *name, char out[64])
{
    snprintf(out, 64, "%s", name);
    if (out[0] >= 'A' && out[0] <= 'Z')
        out[0] = (char)(out[0] + 'a' - 'A');
    return out;
}

static bool invalid(call *c, const char *name, const char *constraint)
{
    char shown[64];

    return refuse(&c->failure, "ValidationException",
                  "1 validation error detected: Value at '%s' failed to satisfy constraint: %s",
                  small(name, shown), constraint);
}

static bool missing(call *c, const char *name)
{
    char shown[64];

    return refuse(&c->failure, "ValidationException",
                  "1 validation error detected: Value null at '%s' failed to satisfy constraint: "
                  "Member must not be null",
                  small(name, shown));
}

static const cJSON *member(const call *c, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(c->in, name);

    return cJSON_IsNull(item) ? NULL : item;
}

static bool not_a(call *c, const char *name)
{
    return refuse(&c->failure, "SerializationException", "%s has the wrong type", name);
}

bool in_text(call *c, const char *name, bool required, size_t max, const char **out)
{
    const cJSON *item = member(c, name);
    char constraint[96];

    *out = NULL;
    if (item == NULL)
        return !required || missing(c, name);
    if (!cJSON_IsString(item))
        return not_a(c, name);
    if (item->valuestring[0] == '\0' && required)
        return invalid(c, name, "Member must have length greater than or equal to 1");
    if (strlen(item->valuestring) > max) {
        snprintf(constraint, sizeof(constraint),
                 "Member must have length less than or equal to %zu", max);
        return invalid(c, name, constraint);
    }
    *out = item->valuestring;
    return true;
}

/* Strict Base64: no blanks, right padding. */
static bool decode(const char *text, bytes *out)
{
    size_t len = strlen(text), padding = 0;

    if (len % 4 != 0 || len > INT_MAX ||
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq"
                     "rstuvwxyz0123456789+/=") != len)
        return false;
    while (padding < 2 && padding < len && text[len - 1 - padding] == '=')
        padding++;
    out->data = OPENSSL_malloc(len / 4 * 3 + 1);
    if (out->data == NULL ||
        (len > 0 && EVP_DecodeBlock(out->data, (const unsigned char *)text, (int)len) < 0)) {
        OPENSSL_free(out->data);
        *out = (bytes){0};
        return false;
    }
    out->len = len / 4 * 3 - padding;
    return true;
}

bool in_bytes(call *c, const char *name, bool required, size_t max, bytes *out)
{
    const cJSON *item = member(c, name);
    char constraint[96];

    *out = (bytes){0};
    if (item == NULL)
        return !required || missing(c, name);
    if (!cJSON_IsString(item) || !decode(item->valuestring, out))
        return refuse(&c->failure, "SerializationException", "%s is not Base64", name);
    if (out->len == 0) {
        bytes_clear(out);
        return invalid(c, name, "Member must have length greater than or equal to 1");
    }
    if (out->len > max) {
        bytes_clear(out);
        snprintf(constraint, sizeof(constraint),
                 "Member must have length less than or equal to %zu", max);
        return invalid(c, name, constraint);
    }
    return true;
}

bool in_number(call *c, const char *name, long min, long max, long preset, long *out)
{
    const cJSON *item = member(c, name);
    char constraint[96];

    *out = preset;
    if (item == NULL)
        return true;
    if (!cJSON_IsNumber(item))
        return not_a(c, name);
    if (item->valuedouble < (double)min || item->valuedouble > (double)max) {
        bool below = item->valuedouble < (double)min;
        snprintf(constraint, sizeof(constraint), "Member must have value %s than or equal to %ld",
                 below ? "greater" : "less", below ? min : max);
        return invalid(c, name, constraint);
    }
    *out = (long)item->valuedouble;
    return (double)*out == item->valuedouble || not_a(c, name);
}

bool in_flag(const call *c, const char *name)
{
    return cJSON_IsTrue(member(c, name));
}

bool in_context(call *c, const char *name, const cJSON **out)
{
    const cJSON *object = member(c, name), *item = NULL;

    *out = NULL;
    if (object == NULL)
        return true;
    if (!cJSON_IsObject(object))
        return not_a(c, name);
    cJSON_ArrayForEach(item, object)
    {
        if (!cJSON_IsString(item))
            return not_a(c, name);
        if (item->string[0] == '\0' || item->valuestring[0] == '\0')
            return invalid(c, name, "Map keys and values must not be empty");
        for (const cJSON *other = item->next; other != NULL; other = other->next)
            if (strcmp(other->string, item->string) == 0)
                return refuse(&c->failure, "SerializationException", "duplicate key in %s", name);
    }
    *out = object->child != NULL ? object : NULL;
    return true;
}

bool in_choice(call *c, const char *name, const char *const *choices, const char **out)
{
    if (!in_text(c, name, false, 64, out))
        return false;
    for (; *out != NULL && *choices != NULL; choices++)
        if (strcmp(*out, *choices) == 0)
            return true;
    return *out == NULL || invalid(c, name, "Member must satisfy enum value set");
}

/* Members that any cryptographic operation may have. There are no grants here, so that no grant
 * token is a good one. */
static bool common_members(call *c)
{
    const cJSON *dry = member(c, "DryRun"), *tokens = member(c, "GrantTokens");

    if (dry != NULL && !cJSON_IsBool(dry))
        return not_a(c, "DryRun");
    if (tokens != NULL && !cJSON_IsArray(tokens))
        return not_a(c, "GrantTokens");
    if (cJSON_GetArraySize(tokens) > GRANT_TOKENS_MAX)
        return invalid(c, "GrantTokens", "Member must have length less than or equal to 10");
    if (cJSON_GetArraySize(tokens) > 0)
        return refuse(&c->failure, "InvalidGrantTokenException", "The grant token is not valid.");
    if (member(c, "Recipient") != NULL || member(c, "CustomKeyStoreId") != NULL)
        return refuse(&c->failure, "UnsupportedOperationException",
                      "The local server has neither enclaves nor custom key stores.");
    return true;
}

bool call_run(const operation *op, store *s, const char *region, const cJSON *in, char **out,
              failure *f)
{
    call c = {.store = s, .region = region, .operation = op->name, .in = in};
    bool ok;

    *out = NULL;
    c.out = cJSON_CreateObject();
    if (op->writes)
        store_write();
    else
        store_read();
    ok = common_members(&c) && op->run(&c);
    store_unlock();
    if (ok && !op->silent)
        *out = cJSON_PrintUnformatted(c.out);
    if (!ok)
        *f = c.failure;
    cJSON_Delete(c.out);
    return ok;
}

/* --- keys --- */

static bool by_alias(call *c, const char *name, key **out)
{
    const alias *a = store_find_alias(c->store, c->region, name);
    char arn[ARN_SIZE];

    if (a == NULL) {
        resource_arn(c->store, c->region, name, arn, sizeof(arn));
        return refuse(&c->failure, "NotFoundException", "Alias %s is not found.", arn);
    }
    *out = a->target;
    return true;
}

/* A UUID, or mrk- and 32 hex digits. */
static bool key_id_valid(const char *id)
{
    static const char hex[] = "0123456789abcdef", uuid[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

    if (strncmp(id, "mrk-", 4) == 0)
        return strlen(id) == 36 && strspn(id + 4, hex) == 32;
    if (strlen(id) != strlen(uuid))
        return false;
    for (size_t i = 0; uuid[i] != '\0'; i++)
        if (uuid[i] == '-' ? id[i] != '-' : strchr(hex, id[i]) == NULL)
            return false;
    return true;
}

static bool by_id(call *c, const char *id, key **out)
{
    char resource[64], arn[ARN_SIZE];

    if (!key_id_valid(id))
        return refuse(&c->failure, "NotFoundException", "Invalid keyId '%s'", id);
    *out = store_find_key(c->store, c->region, id);
    if (*out != NULL)
        return true;
    snprintf(resource, sizeof(resource), "key/%s", id);
    resource_arn(c->store, c->region, resource, arn, sizeof(arn));
    return refuse(&c->failure, "NotFoundException", "Key '%s' does not exist", arn);
}

bool find_key(call *c, const char *name, bool aliases_too, key **out)
{
    char own[ARN_SIZE];
    const char *resource = name;

    if (strncmp(name, "arn:", 4) == 0) {
        resource_arn(c->store, c->region, "", own, sizeof(own));
        if (strncmp(name, own, strlen(own)) != 0)
            return refuse(&c->failure, "NotFoundException", "Invalid arn %s", name);
        resource = name + strlen(own);
        if (strncmp(resource, "key/", 4) == 0)
            return by_id(c, resource + 4, out);
        if (strncmp(resource, "alias/", 6) != 0)
            return refuse(&c->failure, "InvalidArnException", "Invalid arn %s", name);
    }
    if (aliases_too && strncmp(resource, "alias/", 6) == 0)
        return by_alias(c, resource, out);
    return by_id(c, resource, out);
}

bool in_key(call *c, const char *name, bool aliases_too, key **out)
{
    const char *text;

    return in_text(c, name, true, 2048, &text) && find_key(c, text, aliases_too, out);
}

bool must_be_enabled(call *c, const key *k)
{
    char arn[ARN_SIZE];

    if (k->state == STATE_ENABLED)
        return true;
    key_arn(c->store, k, arn, sizeof(arn));
    if (k->state == STATE_DISABLED)
        return refuse(&c->failure, "DisabledException", "%s is disabled.", arn);
    return refuse(&c->failure, "KMSInvalidStateException", "%s is pending deletion.", arn);
}

bool must_not_be_pending(call *c, const key *k)
{
    return !key_is_pending(k) || must_be_enabled(c, k);
}

bool usable(call *c, const key *k, const char *usage)
{
    char arn[ARN_SIZE];

    if (!must_be_enabled(c, k))
        return false;
    if (strcmp(k->family->usage, usage) == 0)
        return true;
    key_arn(c->store, k, arn, sizeof(arn));
    return refuse(&c->failure, "InvalidKeyUsageException",
                  "%s key usage is %s which is not valid for %s.", arn, k->family->usage,
                  c->operation);
}

bool in_algorithm(call *c, const char *name, const char *preset, const key *k,
                  const algorithm **out)
{
    const char *text;

    if (!in_text(c, name, preset == NULL, 64, &text))
        return false;
    if (text == NULL)
        text = preset;
    *out = algorithm_find(text, k->family->usage);
    if (*out == NULL)
        return invalid(c, name, "Member must satisfy enum value set");
    /* One algorithm name may stand for several specs: ECDSA_SHA_256. */
    for (size_t i = 0; (*out = algorithm_at(k->family->spec, k->family->usage, i)) != NULL; i++)
        if (strcmp((*out)->name, text) == 0)
            return true;
    return refuse(&c->failure, "InvalidKeyUsageException",
                  "Algorithm %s is incompatible with key spec %s.", text, k->family->spec->name);
}

bool not_dry(call *c)
{
    if (!in_flag(c, "DryRun"))
        return true;
    return refuse(&c->failure, "DryRunOperationException",
                  "The request would have succeeded, but the DryRun option is set.");
}

bool out_of_order(call *c)
{
    return refuse(&c->failure, "KMSInternalException", "the local server failed");
}

void out_text(call *c, const char *name, const char *value)
{
    cJSON_AddStringToObject(c->out, name, value);
}

void out_bytes(call *c, const char *name, const uint8_t *data, size_t len)
{
    char *text = OPENSSL_malloc((len + 2) / 3 * 4 + 1);

    if (text == NULL)
        return;
    int n = EVP_EncodeBlock((unsigned char *)text, data, (int)len);
    cJSON_AddStringToObject(c->out, name, text);
    OPENSSL_clear_free(text, (size_t)n);
}

void out_arn(call *c, const char *name, const key *k)
{
    char arn[ARN_SIZE];

    key_arn(c->store, k, arn, sizeof(arn));
    out_text(c, name, arn);
}

void out_material(call *c, const char *name, const uint8_t id[MATERIAL_ID_SIZE])
{
    char text[2 * MATERIAL_ID_SIZE + 1];

    for (size_t i = 0; i < MATERIAL_ID_SIZE; i++)
        snprintf(text + 2 * i, 3, "%02x", id[i]);
    out_text(c, name, text);
}

bool page_begin(call *c, long max, long preset, page *p)
{
    const char *marker;
    char *end;

    *p = (page){0};
    if (!in_number(c, "Limit", 1, max, preset, &p->limit) ||
        !in_text(c, "Marker", false, 1024, &marker))
        return false;
    if (marker == NULL)
        return true;
    p->first = strtol(marker, &end, 16);
    if (*marker == '\0' || *end != '\0' || p->first <= 0 || p->first > INT_MAX)
        return refuse(&c->failure, "InvalidMarkerException", "Could not deserialize marker");
    return true;
}

bool page_take(page *p)
{
    long index = p->seen++;

    if (index >= p->first + p->limit)
        p->more = true;
    return index >= p->first && index < p->first + p->limit;
}

void page_end(call *c, const page *p)
{
    char marker[32];

    cJSON_AddBoolToObject(c->out, "Truncated", p->more);
    if (p->more) {
        snprintf(marker, sizeof(marker), "%lx", p->first + p->limit);
        out_text(c, "NextMarker", marker);
    }
}
