/* Key policies and tags: stored and given back; the local server enforces neither. */
#include "call.h"

#include <stdlib.h>
#include <string.h>

#define TAGS_MAX   50
#define POLICY_MAX 32768

bool in_policy(call *c, bool required, const char **out)
{
    if (!in_text(c, "Policy", required, 131072, out))
        return false;
    if (*out == NULL)
        return true;
    if (strlen(*out) > POLICY_MAX)
        return refuse(&c->failure, "LimitExceededException", "Policy is longer than %d bytes",
                      POLICY_MAX);
    cJSON *json = cJSON_Parse(*out);
    bool ok = cJSON_IsObject(json);
    cJSON_Delete(json);
    return ok ||
           refuse(&c->failure, "MalformedPolicyDocumentException", "Policy is not a JSON object");
}

/* A key has one policy, and its name is "default". */
static bool in_policy_name(call *c)
{
    const char *name;

    if (!in_text(c, "PolicyName", false, 128, &name))
        return false;
    return name == NULL || strcmp(name, "default") == 0 ||
           refuse(&c->failure, "NotFoundException", "No such policy exists");
}

bool op_get_key_policy(call *c)
{
    key *k;

    if (!in_policy_name(c) || !in_key(c, "KeyId", false, &k))
        return false;
    out_text(c, "Policy", k->policy);
    out_text(c, "PolicyName", "default");
    return true;
}

bool op_put_key_policy(call *c)
{
    key *k;
    const char *policy;

    if (!in_policy_name(c) || !in_policy(c, true, &policy) || !in_key(c, "KeyId", false, &k))
        return false;
    free(k->policy);
    k->policy = strdup(policy);
    return store_save_key(k) || out_of_order(c);
}

static const char *tag_key(const cJSON *tag)
{
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(tag, "TagKey"));

    return name != NULL ? name : "";
}

static void remove_tag(cJSON *tags, const char *name)
{
    for (int i = cJSON_GetArraySize(tags) - 1; i >= 0; i--)
        if (strcmp(tag_key(cJSON_GetArrayItem(tags, i)), name) == 0)
            cJSON_DeleteItemFromArray(tags, i);
}

static bool in_list(call *c, const char *name, const cJSON **list)
{
    *list = cJSON_GetObjectItemCaseSensitive(c->in, name);
    if (cJSON_IsArray(*list))
        return true;
    return refuse(&c->failure, "ValidationException",
                  "1 validation error detected: Value null at '%s' failed to satisfy constraint: "
                  "Member must not be null",
                  name);
}

static const cJSON *find_tag(const cJSON *tags, const char *name)
{
    const cJSON *tag = NULL;

    cJSON_ArrayForEach(tag, tags) if (strcmp(tag_key(tag), name) == 0) return tag;
    return NULL;
}

bool in_tags(call *c, bool required, const cJSON **out)
{
    const cJSON *tag = NULL;

    *out = cJSON_GetObjectItemCaseSensitive(c->in, "Tags");
    if (!required && (*out == NULL || cJSON_IsNull(*out))) {
        *out = NULL;
        return true;
    }
    if (!in_list(c, "Tags", out))
        return false;
    cJSON_ArrayForEach(tag, *out)
    {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(tag, "TagValue");
        size_t len = strlen(tag_key(tag));
        if (len == 0 || len > 128 || !cJSON_IsString(value) || strlen(value->valuestring) > 256 ||
            strncmp(tag_key(tag), "aws:", 4) == 0)
            return refuse(&c->failure, "TagException", "Invalid tag '%s'", tag_key(tag));
        if (find_tag(*out, tag_key(tag)) != tag)
            return refuse(&c->failure, "TagException", "Tag '%s' is given twice", tag_key(tag));
    }
    return cJSON_GetArraySize(*out) <= TAGS_MAX ||
           refuse(&c->failure, "LimitExceededException", "More than %d tags", TAGS_MAX);
}

bool op_tag_resource(call *c)
{
    key *k;
    const cJSON *list, *tag = NULL;
    int count;

    if (!in_tags(c, true, &list) || !in_key(c, "KeyId", false, &k) || !must_not_be_pending(c, k))
        return false;
    count = cJSON_GetArraySize(k->tags);
    cJSON_ArrayForEach(tag, list) count += find_tag(k->tags, tag_key(tag)) == NULL;
    if (count > TAGS_MAX)
        return refuse(&c->failure, "LimitExceededException", "More than %d tags", TAGS_MAX);
    cJSON_ArrayForEach(tag, list)
    {
        remove_tag(k->tags, tag_key(tag));
        cJSON_AddItemToArray(k->tags, cJSON_Duplicate(tag, true));
    }
    return store_save_key(k) || out_of_order(c);
}

bool op_untag_resource(call *c)
{
    key *k;
    const cJSON *list, *name = NULL;

    if (!in_list(c, "TagKeys", &list) || !in_key(c, "KeyId", false, &k) ||
        !must_not_be_pending(c, k))
        return false;
    cJSON_ArrayForEach(name, list) if (cJSON_IsString(name)) remove_tag(k->tags, name->valuestring);
    return store_save_key(k) || out_of_order(c);
}

bool op_list_resource_tags(call *c)
{
    key *k;
    page p;
    const cJSON *tag = NULL;

    if (!page_begin(c, 50, 50, &p) || !in_key(c, "KeyId", false, &k))
        return false;
    cJSON *list = cJSON_AddArrayToObject(c->out, "Tags");
    cJSON_ArrayForEach(tag, k->tags) if (page_take(&p))
        cJSON_AddItemToArray(list, cJSON_Duplicate(tag, true));
    page_end(c, &p);
    return true;
}
