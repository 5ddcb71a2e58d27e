#include "core/kms.h"

#include "core/limits.h"
#include "core/wait.h"

#include <stdlib.h>
#include <string.h>

/* A server that never ends its list is not KMS: 100,000 keys are the most in a region. */
#define PAGES_MAX    1000
#define KEYS_PAGE    1000 /* the largest that KMS gives */
#define ALIASES_PAGE 100

#define DELETION_DAYS 7

/* A request under construction and its call; released by finish. */
typedef struct exchange {
    kms_caller *caller;
    const kms_endpoint *endpoint;
    cJSON *request;
    kms_secret texts[2]; /* Base64 that the request points at */
    kms_reply reply;
    kms_error *err;
    kms_status status;
} exchange;

static exchange begin(kms_caller *caller, const kms_endpoint *endpoint, kms_error *err)
{
    exchange x = {.caller = caller, .endpoint = endpoint, .err = err};

    x.request = cJSON_CreateObject();
    if (x.request == NULL)
        x.status = kms_fail(err, KMS_E_NO_MEMORY, "request");
    return x;
}

static kms_status finish(exchange *x)
{
    if (x->status != KMS_OK && x->err != NULL && x->err->request_id[0] == '\0')
        kms_text_copy(x->err->request_id, sizeof(x->err->request_id), x->reply.request_id);
    cJSON_Delete(x->request);
    kms_reply_clear(&x->reply);
    kms_secret_clear(&x->texts[0]);
    kms_secret_clear(&x->texts[1]);
    return x->status;
}

/* The value must outlive the call. */
static void put_text(exchange *x, const char *name, const char *value)
{
    if (x->status == KMS_OK)
        x->status = kms_json_add_text(x->request, name, value, x->err);
}

static void put_number(exchange *x, const char *name, size_t value)
{
    if (x->status == KMS_OK && cJSON_AddNumberToObject(x->request, name, (double)value) == NULL)
        x->status = kms_fail(x->err, KMS_E_NO_MEMORY, "request");
}

static void put_bytes(exchange *x, const char *name, kms_bytes bytes)
{
    kms_secret *text = &x->texts[x->texts[0].data == NULL ? 0 : 1];

    if (x->status == KMS_OK)
        x->status = kms_json_add_bytes(x->request, name, bytes, text, x->err);
}

static void put_context(exchange *x, const char *name, const kms_context *context)
{
    if (x->status != KMS_OK || kms_context_count(context) == 0)
        return;
    cJSON *object = cJSON_AddObjectToObject(x->request, name);
    if (object == NULL)
        x->status = kms_fail(x->err, KMS_E_NO_MEMORY, "request");
    for (size_t i = 0; x->status == KMS_OK && i < kms_context_count(context); i++)
        x->status = kms_json_add_text(object, kms_context_name(context, i),
                                      kms_context_value(context, i), x->err);
}

/* The ASYNC job that made the call is never resumed. */
static void abandon(void *arg, bool forked)
{
    (void)forked;
    finish(arg);
}

static void call_kms(exchange *x, const char *operation)
{
    kms_wait_holding holding = {.release = abandon, .arg = x};

    if (x->status != KMS_OK)
        return;
    kms_wait_hold(&holding);
    x->status = kms_call(x->caller, x->endpoint, operation, x->request, &x->reply, x->err);
    kms_wait_let_go();
}

/* The reply must name the algorithm that was asked. */
static void check_algorithm(exchange *x, const char *member, const kms_algorithm *algorithm)
{
    const char *got;

    if (x->status != KMS_OK)
        return;
    got = kms_json_string(x->reply.json, member);
    if (got == NULL || strcmp(got, algorithm->name) != 0)
        x->status = kms_fail(x->err, KMS_E_REPLY_MALFORMED, "asked for %s, got %s", algorithm->name,
                             got != NULL ? got : "no algorithm");
}

/* The member of the reply that names the key must be the ARN that was asked. */
static void check_key(exchange *x, const char *member, const char *key_arn)
{
    kms_arn asked, got;
    const char *reply_arn;

    if (x->status != KMS_OK)
        return;
    reply_arn = kms_json_string(x->reply.json, member);
    if (reply_arn != NULL && strcmp(reply_arn, key_arn) == 0)
        return;
    if (reply_arn == NULL)
        x->status = kms_fail(x->err, KMS_E_REPLY_MALFORMED, "member %s is missing", member);
    else if (kms_arn_parse(reply_arn, &got, x->err) == KMS_OK &&
             kms_arn_parse(key_arn, &asked, x->err) == KMS_OK &&
             strcmp(got.region, asked.region) != 0)
        x->status = kms_fail(x->err, KMS_E_REPLY_REGION, "asked %s, got %s", key_arn, reply_arn);
    else
        x->status = kms_fail(x->err, KMS_E_REPLY_OTHER_KEY, "asked %s, got %s", key_arn, reply_arn);
}

static void take_bytes(exchange *x, const char *name, size_t max, kms_buffer *out)
{
    if (x->status == KMS_OK)
        x->status = kms_json_bytes(x->reply.json, name, out, x->err);
    if (x->status == KMS_OK && out->len > max) {
        x->status = kms_fail(x->err, KMS_E_REPLY_MALFORMED, "%s has %zu bytes", name, out->len);
        kms_buffer_clear(out);
    }
}

/* size 0: any that KMS encrypts. */
static void take_plaintext(exchange *x, size_t size, kms_secret *out)
{
    if (x->status != KMS_OK)
        return;
    if (x->reply.plaintext.len == 0)
        x->status = kms_fail(x->err, KMS_E_REPLY_MALFORMED, "member Plaintext is missing");
    else if (size == 0 && x->reply.plaintext.len > KMS_PLAINTEXT_MAX)
        x->status = kms_fail(x->err, KMS_E_REPLY_MALFORMED, "Plaintext has %zu bytes, over %d",
                             x->reply.plaintext.len, KMS_PLAINTEXT_MAX);
    else if (size != 0 && x->reply.plaintext.len != size)
        x->status = kms_fail(x->err, KMS_E_REPLY_MALFORMED, "Plaintext has %zu bytes, not %zu",
                             x->reply.plaintext.len, size);
    else
        kms_secret_move(out, &x->reply.plaintext);
}

kms_status kms_encrypt(kms_caller *caller, const kms_endpoint *endpoint, const char *key_arn,
                       kms_bytes plaintext, const kms_context *context, kms_buffer *ciphertext,
                       kms_error *err)
{
    exchange x = begin(caller, endpoint, err);

    put_text(&x, "KeyId", key_arn);
    put_bytes(&x, "Plaintext", plaintext);
    put_context(&x, "EncryptionContext", context);
    call_kms(&x, "Encrypt");
    check_key(&x, "KeyId", key_arn);
    take_bytes(&x, "CiphertextBlob", KMS_CIPHERTEXT_MAX, ciphertext);
    return finish(&x);
}

kms_status kms_decrypt(kms_caller *caller, const kms_endpoint *endpoint, const char *key_arn,
                       kms_bytes ciphertext, const kms_context *context, kms_secret *plaintext,
                       kms_error *err)
{
    exchange x = begin(caller, endpoint, err);

    put_text(&x, "KeyId", key_arn);
    put_bytes(&x, "CiphertextBlob", ciphertext);
    put_context(&x, "EncryptionContext", context);
    call_kms(&x, "Decrypt");
    check_key(&x, "KeyId", key_arn);
    take_plaintext(&x, 0, plaintext);
    return finish(&x);
}

kms_status kms_reencrypt(kms_caller *caller, const kms_endpoint *endpoint, const char *from_arn,
                         const kms_context *from_context, kms_bytes ciphertext, const char *to_arn,
                         const kms_context *to_context, kms_buffer *out, kms_error *err)
{
    exchange x = begin(caller, endpoint, err);

    put_text(&x, "SourceKeyId", from_arn);
    put_text(&x, "DestinationKeyId", to_arn);
    put_bytes(&x, "CiphertextBlob", ciphertext);
    put_context(&x, "SourceEncryptionContext", from_context);
    put_context(&x, "DestinationEncryptionContext", to_context);
    call_kms(&x, "ReEncrypt");
    check_key(&x, "SourceKeyId", from_arn);
    check_key(&x, "KeyId", to_arn);
    take_bytes(&x, "CiphertextBlob", KMS_CIPHERTEXT_MAX, out);
    return finish(&x);
}

kms_status kms_generate_data_key(kms_caller *caller, const kms_endpoint *endpoint,
                                 const char *key_arn, size_t size, const kms_context *context,
                                 kms_secret *plaintext, kms_buffer *ciphertext, kms_error *err)
{
    exchange x = begin(caller, endpoint, err);

    put_text(&x, "KeyId", key_arn);
    put_number(&x, "NumberOfBytes", size);
    put_context(&x, "EncryptionContext", context);
    call_kms(&x, plaintext != NULL ? "GenerateDataKey" : "GenerateDataKeyWithoutPlaintext");
    check_key(&x, "KeyId", key_arn);
    take_bytes(&x, "CiphertextBlob", KMS_CIPHERTEXT_MAX, ciphertext);
    if (plaintext != NULL)
        take_plaintext(&x, size, plaintext);
    if (x.status != KMS_OK)
        kms_buffer_clear(ciphertext);
    return finish(&x);
}

kms_status kms_generate_random(kms_caller *caller, const kms_endpoint *endpoint, size_t size,
                               kms_secret *out, kms_error *err)
{
    exchange x = begin(caller, endpoint, err);

    put_number(&x, "NumberOfBytes", size);
    call_kms(&x, "GenerateRandom");
    take_plaintext(&x, size, out);
    return finish(&x);
}

static void copy_text(exchange *x, const cJSON *object, const char *name, char **out)
{
    const char *text;

    if (x->status != KMS_OK)
        return;
    text = kms_json_string(object, name);
    if (text == NULL || text[0] == '\0')
        x->status = kms_fail(x->err, KMS_E_REPLY_MALFORMED, "KeyMetadata lacks %s", name);
    else if ((*out = strdup(text)) == NULL)
        x->status = kms_fail(x->err, KMS_E_NO_MEMORY, "key metadata");
}

/* All keys related to a multi-Region key: the primary and its replicas. */
static void copy_replicas(exchange *x, const cJSON *metadata, kms_key_metadata *out)
{
    const cJSON *family = kms_json_member(metadata, "MultiRegionConfiguration");
    const cJSON *replicas = kms_json_member(family, "ReplicaKeys");
    const cJSON *replica = NULL;
    size_t count = 0;

    out->multi_region = kms_json_flag(metadata, "MultiRegion");
    if (x->status != KMS_OK || !out->multi_region)
        return;
    /* Doubtful residency is refused: a multi-Region key that doesn't name its family. */
    if (!cJSON_IsObject(kms_json_member(family, "PrimaryKey")) || !cJSON_IsArray(replicas)) {
        x->status = kms_fail(x->err, KMS_E_REPLY_MALFORMED, "MultiRegionConfiguration is missing");
        return;
    }
    out->replica_arns = calloc((size_t)cJSON_GetArraySize(replicas) + 2, sizeof(char *));
    if (out->replica_arns == NULL) {
        x->status = kms_fail(x->err, KMS_E_NO_MEMORY, "key metadata");
        return;
    }
    copy_text(x, kms_json_member(family, "PrimaryKey"), "Arn", &out->replica_arns[count++]);
    cJSON_ArrayForEach(replica, replicas) copy_text(x, replica, "Arn", &out->replica_arns[count++]);
}

/* The ARN must be the ARN of the very key. */
static void check_arn(exchange *x, const kms_key_metadata *metadata)
{
    kms_arn arn;

    if (x->status != KMS_OK)
        return;
    if (kms_arn_parse(metadata->arn, &arn, NULL) != KMS_OK ||
        strncmp(arn.resource, "key/", 4) != 0 || strcmp(arn.resource + 4, metadata->id) != 0)
        x->status = kms_fail(x->err, KMS_E_REPLY_MALFORMED, "KeyMetadata: Arn does not fit KeyId");
}

static void take_metadata(exchange *x, kms_key_metadata *out)
{
    const cJSON *metadata =
        x->status == KMS_OK ? kms_json_member(x->reply.json, "KeyMetadata") : NULL;

    if (x->status == KMS_OK && !cJSON_IsObject(metadata))
        x->status = kms_fail(x->err, KMS_E_REPLY_MALFORMED, "member KeyMetadata is missing");
    copy_text(x, metadata, "Arn", &out->arn);
    copy_text(x, metadata, "KeyId", &out->id);
    check_arn(x, out);
    copy_text(x, metadata, "KeySpec", &out->spec);
    copy_text(x, metadata, "KeyUsage", &out->usage);
    copy_text(x, metadata, "KeyState", &out->state);
    copy_replicas(x, metadata, out);
    memcpy(out->request_id, x->reply.request_id, sizeof(out->request_id));
    if (x->status != KMS_OK)
        kms_key_metadata_clear(out);
}

kms_status kms_describe_key(kms_caller *caller, const kms_endpoint *endpoint, const char *key,
                            kms_key_metadata *out, kms_error *err)
{
    exchange x = begin(caller, endpoint, err);

    put_text(&x, "KeyId", key);
    call_kms(&x, "DescribeKey");
    take_metadata(&x, out);
    return finish(&x);
}

static void put_tags(exchange *x, const kms_new_key *wanted)
{
    cJSON *list = NULL, *tag;

    if (x->status != KMS_OK || wanted->tag_count == 0)
        return;
    list = cJSON_AddArrayToObject(x->request, "Tags");
    if (list == NULL)
        x->status = kms_fail(x->err, KMS_E_NO_MEMORY, "request");
    for (size_t i = 0; x->status == KMS_OK && i < wanted->tag_count; i++) {
        tag = cJSON_CreateObject();
        if (tag == NULL || !cJSON_AddItemToArray(list, tag)) {
            cJSON_Delete(tag);
            x->status = kms_fail(x->err, KMS_E_NO_MEMORY, "request");
            return;
        }
        x->status = kms_json_add_text(tag, "TagKey", wanted->tags[2 * i], x->err);
        if (x->status == KMS_OK)
            x->status = kms_json_add_text(tag, "TagValue", wanted->tags[2 * i + 1], x->err);
    }
}

kms_status kms_create_key(kms_caller *caller, const kms_endpoint *endpoint,
                          const kms_new_key *wanted, kms_key_metadata *out, kms_error *err)
{
    exchange x = begin(caller, endpoint, err);

    put_text(&x, "KeySpec", wanted->spec);
    put_text(&x, "KeyUsage", wanted->usage);
    if (wanted->description != NULL)
        put_text(&x, "Description", wanted->description);
    if (wanted->policy != NULL)
        put_text(&x, "Policy", wanted->policy);
    put_tags(&x, wanted);
    call_kms(&x, "CreateKey");
    take_metadata(&x, out);
    return finish(&x);
}

kms_status kms_create_alias(kms_caller *caller, const kms_endpoint *endpoint, const char *alias,
                            const char *key_arn, kms_error *err)
{
    exchange x = begin(caller, endpoint, err);

    put_text(&x, "AliasName", alias);
    put_text(&x, "TargetKeyId", key_arn);
    call_kms(&x, "CreateAlias");
    return finish(&x);
}

kms_status kms_enable_key_rotation(kms_caller *caller, const kms_endpoint *endpoint,
                                   const char *key_arn, kms_error *err)
{
    exchange x = begin(caller, endpoint, err);

    put_text(&x, "KeyId", key_arn);
    call_kms(&x, "EnableKeyRotation");
    return finish(&x);
}

kms_status kms_schedule_key_deletion(kms_caller *caller, const kms_endpoint *endpoint,
                                     const char *key_arn, kms_error *err)
{
    exchange x = begin(caller, endpoint, err);

    put_text(&x, "KeyId", key_arn);
    put_number(&x, "PendingWindowInDays", DELETION_DAYS);
    call_kms(&x, "ScheduleKeyDeletion");
    check_key(&x, "KeyId", key_arn);
    return finish(&x);
}

void kms_key_metadata_clear(kms_key_metadata *metadata)
{
    for (char **arn = metadata->replica_arns; arn != NULL && *arn != NULL; arn++)
        free(*arn);
    free(metadata->replica_arns);
    free(metadata->arn);
    free(metadata->id);
    free(metadata->spec);
    free(metadata->usage);
    free(metadata->state);
    *metadata = (kms_key_metadata){0};
}

static const char *message_type(const kms_algorithm *algorithm)
{
    if (algorithm->scheme == KMS_SCHEME_ML_DSA)
        return "EXTERNAL_MU";
    return algorithm->digest_len != 0 ? "DIGEST" : "RAW";
}

kms_status kms_sign(kms_caller *caller, const kms_endpoint *endpoint, const char *key_arn,
                    const kms_algorithm *algorithm, kms_bytes input, kms_buffer *signature,
                    kms_error *err)
{
    exchange x = begin(caller, endpoint, err);

    put_text(&x, "KeyId", key_arn);
    put_text(&x, "SigningAlgorithm", algorithm->name);
    put_text(&x, "MessageType", message_type(algorithm));
    put_bytes(&x, "Message", input);
    call_kms(&x, "Sign");
    check_key(&x, "KeyId", key_arn);
    check_algorithm(&x, "SigningAlgorithm", algorithm);
    take_bytes(&x, "Signature", KMS_SIGNATURE_MAX, signature);
    return finish(&x);
}

kms_status kms_decrypt_oaep(kms_caller *caller, const kms_endpoint *endpoint, const char *key_arn,
                            const kms_algorithm *algorithm, kms_bytes ciphertext,
                            kms_secret *plaintext, kms_error *err)
{
    exchange x = begin(caller, endpoint, err);

    put_text(&x, "KeyId", key_arn);
    put_text(&x, "EncryptionAlgorithm", algorithm->name);
    put_bytes(&x, "CiphertextBlob", ciphertext);
    call_kms(&x, "Decrypt");
    check_key(&x, "KeyId", key_arn);
    check_algorithm(&x, "EncryptionAlgorithm", algorithm);
    take_plaintext(&x, 0, plaintext);
    return finish(&x);
}

kms_status kms_derive_shared_secret(kms_caller *caller, const kms_endpoint *endpoint,
                                    const char *key_arn, kms_bytes peer, size_t size,
                                    kms_secret *secret, kms_error *err)
{
    exchange x = begin(caller, endpoint, err);

    put_text(&x, "KeyId", key_arn);
    put_text(&x, "KeyAgreementAlgorithm", "ECDH");
    put_bytes(&x, "PublicKey", peer);
    call_kms(&x, "DeriveSharedSecret");
    check_key(&x, "KeyId", key_arn);
    take_plaintext(&x, size, secret);
    return finish(&x);
}

kms_status kms_decapsulate(kms_caller *caller, const kms_endpoint *endpoint, const char *key_arn,
                           const kms_algorithm *algorithm, kms_bytes ciphertext, kms_secret *secret,
                           kms_error *err)
{
    exchange x = begin(caller, endpoint, err);

    put_text(&x, "KeyId", key_arn);
    put_text(&x, "EncapsulationAlgorithm", algorithm->name);
    put_bytes(&x, "SharedSecretCiphertextBlob", ciphertext);
    call_kms(&x, "Decapsulate");
    check_key(&x, "KeyId", key_arn);
    check_algorithm(&x, "EncapsulationAlgorithm", algorithm);
    take_plaintext(&x, KMS_SHARED_SECRET, secret);
    return finish(&x);
}

kms_status kms_generate_mac(kms_caller *caller, const kms_endpoint *endpoint, const char *key_arn,
                            const kms_algorithm *algorithm, kms_bytes message, kms_secret *mac,
                            kms_error *err)
{
    exchange x = begin(caller, endpoint, err);

    put_text(&x, "KeyId", key_arn);
    put_text(&x, "MacAlgorithm", algorithm->name);
    put_bytes(&x, "Message", message);
    call_kms(&x, "GenerateMac");
    check_key(&x, "KeyId", key_arn);
    check_algorithm(&x, "MacAlgorithm", algorithm);
    take_plaintext(&x, algorithm->digest_len, mac);
    return finish(&x);
}

kms_status kms_verify_mac(kms_caller *caller, const kms_endpoint *endpoint, const char *key_arn,
                          const kms_algorithm *algorithm, kms_bytes message, kms_bytes mac,
                          kms_error *err)
{
    exchange x = begin(caller, endpoint, err);

    put_text(&x, "KeyId", key_arn);
    put_text(&x, "MacAlgorithm", algorithm->name);
    put_bytes(&x, "Message", message);
    put_bytes(&x, "Mac", mac);
    call_kms(&x, "VerifyMac");
    check_key(&x, "KeyId", key_arn);
    check_algorithm(&x, "MacAlgorithm", algorithm);
    if (x.status == KMS_OK && !kms_json_flag(x.reply.json, "MacValid"))
        x.status = kms_fail(err, KMS_E_MAC_MISMATCH, "%s", key_arn);
    return finish(&x);
}

kms_status kms_get_public_key(kms_caller *caller, const kms_endpoint *endpoint, const char *key_arn,
                              kms_buffer *spki, kms_error *err)
{
    exchange x = begin(caller, endpoint, err);

    put_text(&x, "KeyId", key_arn);
    call_kms(&x, "GetPublicKey");
    check_key(&x, "KeyId", key_arn);
    take_bytes(&x, "PublicKey", KMS_PUBLIC_KEY_MAX, spki);
    return finish(&x);
}

kms_status kms_get_key_rotation_status(kms_caller *caller, const kms_endpoint *endpoint,
                                       const char *key_arn, kms_rotation_status *out,
                                       kms_error *err)
{
    exchange x = begin(caller, endpoint, err);

    *out = (kms_rotation_status){0};
    put_text(&x, "KeyId", key_arn);
    call_kms(&x, "GetKeyRotationStatus");
    if (x.status == KMS_OK) {
        out->enabled = kms_json_flag(x.reply.json, "KeyRotationEnabled");
        out->period_days = (int)kms_json_number(x.reply.json, "RotationPeriodInDays", 0, 0, 2560);
        out->next_rotation = kms_json_number(x.reply.json, "NextRotationDate", 0, 0, 1e12);
    }
    return finish(&x);
}

/* One of KMS's lists. */
typedef struct listing {
    const char *operation, *member;
    size_t page; /* entries at a time */
    kms_status (*visit)(const cJSON *entry, void *visitor, kms_error *err);
    void *visitor;
} listing;

/* Visits the entries of one page, then leaves the marker of the next in `marker` (empty: last). */
static kms_status one_page(kms_caller *caller, const kms_endpoint *endpoint, const listing *list,
                           char marker[1025], kms_error *err)
{
    exchange x = begin(caller, endpoint, err);
    const cJSON *entries = NULL, *entry = NULL;
    const char *next;

    put_number(&x, "Limit", list->page);
    if (marker[0] != '\0')
        put_text(&x, "Marker", marker);
    call_kms(&x, list->operation);
    if (x.status == KMS_OK) {
        entries = kms_json_member(x.reply.json, list->member);
        if (!cJSON_IsArray(entries))
            x.status = kms_fail(err, KMS_E_REPLY_MALFORMED, "member %s is missing", list->member);
    }
    marker[0] = '\0';
    for (entry = entries != NULL ? entries->child : NULL; x.status == KMS_OK && entry != NULL;
         entry = entry->next)
        x.status = list->visit(entry, list->visitor, err);
    if (x.status == KMS_OK && kms_json_flag(x.reply.json, "Truncated")) {
        next = kms_json_string(x.reply.json, "NextMarker");
        if (next == NULL || next[0] == '\0' || strlen(next) > 1024)
            x.status = kms_fail(err, KMS_E_REPLY_MALFORMED, "Truncated without NextMarker");
        else
            memcpy(marker, next, strlen(next) + 1);
    }
    return finish(&x);
}

static kms_status all_pages(kms_caller *caller, const kms_endpoint *endpoint, const listing *list,
                            kms_error *err)
{
    char marker[1025] = "";
    kms_deadline deadline = kms_caller_deadline(caller);

    for (int page = 0; page < PAGES_MAX; page++) {
        kms_status st = one_page(caller, endpoint, list, marker, err);
        if (st != KMS_OK || marker[0] == '\0')
            return st;
        if (kms_deadline_left_ms(deadline) <= 0)
            return kms_fail(err, KMS_E_TIMEOUT, "%s: after %d pages", list->operation, page + 1);
    }
    return kms_fail(err, KMS_E_REPLY_MALFORMED, "%s never ends", list->operation);
}

typedef struct key_visitor {
    kms_visit_key *visit;
    void *arg;
} key_visitor;

static kms_status visit_key(const cJSON *entry, void *visitor, kms_error *err)
{
    const key_visitor *v = visitor;
    const char *id = kms_json_string(entry, "KeyId");

    if (id == NULL)
        return kms_fail(err, KMS_E_REPLY_MALFORMED, "a key without KeyId");
    return v->visit(v->arg, id, err);
}

kms_status kms_list_keys(kms_caller *caller, const kms_endpoint *endpoint, kms_visit_key *visit,
                         void *arg, kms_error *err)
{
    key_visitor visitor = {visit, arg};
    const listing list = {"ListKeys", "Keys", KEYS_PAGE, visit_key, &visitor};

    return all_pages(caller, endpoint, &list, err);
}

typedef struct alias_visitor {
    kms_visit_alias *visit;
    void *arg;
} alias_visitor;

static kms_status visit_alias(const cJSON *entry, void *visitor, kms_error *err)
{
    const alias_visitor *v = visitor;
    const char *name = kms_json_string(entry, "AliasName");

    if (name == NULL)
        return kms_fail(err, KMS_E_REPLY_MALFORMED, "an alias without AliasName");
    return v->visit(v->arg, name, kms_json_string(entry, "TargetKeyId"), err);
}

kms_status kms_list_aliases(kms_caller *caller, const kms_endpoint *endpoint,
                            kms_visit_alias *visit, void *arg, kms_error *err)
{
    alias_visitor visitor = {visit, arg};
    const listing list = {"ListAliases", "Aliases", ALIASES_PAGE, visit_alias, &visitor};

    return all_pages(caller, endpoint, &list, err);
}
