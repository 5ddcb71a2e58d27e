/* Key policies and tags: stored and given back; the local server enforces neither. */
#include "call.h"

#include <stdlib.h>
#include <string.h>

#define TAGS_MAX 50

bool op_get_key_policy(call *c)
{
    key *k;

    if (!in_key(c, "KeyId", false, &k))
        return false;
    out_text(c, "Policy", k->policy);
    out_text(c, "PolicyName", "default");
    return true;
}

bool op_put_key_policy(call *c)
{
    key *k;
    const char *policy;

    if (!in_text(c, "Policy", true, 32768, &policy) || !in_key(c, "KeyId", false, &k))
        return false;
    cJSON *json = cJSON_Parse(policy);
    if (!cJSON_IsObject(json)) {
        cJSON_Delete(json);
        return refuse(&c->failure, "MalformedPolicyDocumentException", "Policy is not valid JSON");
    }
    cJSON_Delete(json);
    free(k->policy);
    k->policy = strdup(policy);
    store_save_key(c->store, k);
    return true;
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

static bool taggable(call *c, key **k)
{
    if (!in_key(c, "KeyId", false, k))
        return false;
    if (strncmp((*k)->state, "Pending", 7) == 0)
        return refuse(&c->failure, "KMSInvalidStateException", "%s is pending deletion.",
                      (*k)->family->key_id);
    return true;
}

bool op_tag_resource(call *c)
{
    key *k;
    const cJSON *list, *tag = NULL;

    if (!in_list(c, "Tags", &list) || !taggable(c, &k))
        return false;
    cJSON_ArrayForEach(tag, list)
    {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(tag, "TagValue");
        size_t len = strlen(tag_key(tag));
        if (len == 0 || len > 128 || !cJSON_IsString(value) || strlen(value->valuestring) > 256 ||
            strncmp(tag_key(tag), "aws:", 4) == 0)
            return refuse(&c->failure, "TagException", "Invalid tag '%s'", tag_key(tag));
    }
    if (cJSON_GetArraySize(k->tags) + cJSON_GetArraySize(list) > TAGS_MAX)
        return refuse(&c->failure, "LimitExceededException", "More than %d tags", TAGS_MAX);
    cJSON_ArrayForEach(tag, list)
    {
        remove_tag(k->tags, tag_key(tag));
        cJSON_AddItemToArray(k->tags, cJSON_Duplicate(tag, true));
    }
    store_save_key(c->store, k);
    return true;
}

bool op_untag_resource(call *c)
{
    key *k;
    const cJSON *list, *name = NULL;

    if (!in_list(c, "TagKeys", &list) || !taggable(c, &k))
        return false;
    cJSON_ArrayForEach(name, list) if (cJSON_IsString(name)) remove_tag(k->tags, name->valuestring);
    store_save_key(c->store, k);
    return true;
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
