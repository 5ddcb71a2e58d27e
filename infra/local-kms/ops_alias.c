/* Aliases. A moved alias takes effect at once. */
#include "call.h"

#include <string.h>

#define ALIASES_MAX    50 /* of one key */
#define ALIAS_NAME_MAX 256

bool alias_name_valid(failure *f, const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  ":/_-";

    if (strlen(name) > ALIAS_NAME_MAX || name[strspn(name, allowed)] != '\0')
        return refuse(f, "ValidationException",
                      "1 validation error detected: Value '%s' at 'aliasName' failed to satisfy "
                      "constraint: Member must satisfy regular expression pattern: "
                      "^[a-zA-Z0-9:/_-]+$",
                      name);
    if (strncmp(name, "alias/", 6) != 0)
        return refuse(f, "ValidationException", "Alias must start with the prefix \"alias/\".");
    if (name[6] == '\0' || strchr(name, ':') != NULL || strncmp(name + 6, "aws/", 4) == 0)
        return refuse(f, "InvalidAliasNameException",
                      "Alias name '%s' is empty, holds a colon, or is reserved for AWS.", name);
    return true;
}

static bool in_alias_name(call *c, const char **name)
{
    return in_text(c, "AliasName", true, ALIAS_NAME_MAX, name) &&
           alias_name_valid(&c->failure, *name);
}

static bool find_alias(call *c, const char *name, alias **out)
{
    char arn[ARN_SIZE];

    *out = store_find_alias(c->store, c->region, name);
    if (*out != NULL)
        return true;
    resource_arn(c->store, c->region, name, arn, sizeof(arn));
    return refuse(&c->failure, "NotFoundException", "Alias %s is not found.", arn);
}

static bool target(call *c, key **k)
{
    return in_key(c, "TargetKeyId", false, k) && must_not_be_pending(c, *k);
}

bool op_create_alias(call *c)
{
    const char *name;
    char arn[ARN_SIZE];
    key *k;
    int count = 0;

    if (!in_alias_name(c, &name) || !target(c, &k))
        return false;
    if (store_find_alias(c->store, c->region, name) != NULL) {
        resource_arn(c->store, c->region, name, arn, sizeof(arn));
        return refuse(&c->failure, "AlreadyExistsException",
                      "An alias with the name %s already exists", arn);
    }
    for (const alias *a = c->store->aliases; a != NULL; a = a->next)
        count += a->target == k;
    if (count >= ALIASES_MAX)
        return refuse(&c->failure, "LimitExceededException", "More than %d aliases", ALIASES_MAX);
    return store_add_alias(c->store, c->region, name, k) || out_of_order(c);
}

/* Both symmetric, both HMAC, or both a pair; and of one usage. */
static bool alike(const key *a, const key *b)
{
    spec_kind x = a->family->spec->kind, y = b->family->spec->kind;
    bool x_pair = x != SPEC_SYMMETRIC && x != SPEC_HMAC,
         y_pair = y != SPEC_SYMMETRIC && y != SPEC_HMAC;

    return (x == y || (x_pair && y_pair)) && strcmp(a->family->usage, b->family->usage) == 0;
}

bool op_update_alias(call *c)
{
    const char *name;
    alias *a;
    key *k;

    if (!in_alias_name(c, &name) || !target(c, &k) || !find_alias(c, name, &a))
        return false;
    if (!alike(a->target, k))
        return refuse(&c->failure, "ValidationException",
                      "The alias cannot be moved to a key of another type or usage.");
    a->target = k;
    a->updated = store_now();
    return store_save_alias(a) || out_of_order(c);
}

bool op_delete_alias(call *c)
{
    const char *name;
    alias *a;

    if (!in_alias_name(c, &name) || !find_alias(c, name, &a))
        return false;
    return store_remove_alias(c->store, a) || out_of_order(c);
}

bool op_list_aliases(call *c)
{
    const char *filter;
    key *only = NULL;
    page p;

    if (!page_begin(c, 100, 50, &p) || !in_text(c, "KeyId", false, 2048, &filter) ||
        (filter != NULL && !find_key(c, filter, false, &only)))
        return false;
    cJSON *list = cJSON_AddArrayToObject(c->out, "Aliases");
    for (const alias *a = c->store->aliases; a != NULL; a = a->next) {
        char arn[ARN_SIZE];
        if (strcmp(a->region, c->region) != 0 || (only != NULL && a->target != only) ||
            !page_take(&p))
            continue;
        cJSON *item = cJSON_CreateObject();
        resource_arn(c->store, a->region, a->name, arn, sizeof(arn));
        cJSON_AddStringToObject(item, "AliasName", a->name);
        cJSON_AddStringToObject(item, "AliasArn", arn);
        cJSON_AddStringToObject(item, "TargetKeyId", a->target->family->key_id);
        cJSON_AddNumberToObject(item, "CreationDate", a->created);
        cJSON_AddNumberToObject(item, "LastUpdatedDate", a->updated);
        cJSON_AddItemToArray(list, item);
    }
    page_end(c, &p);
    return true;
}
