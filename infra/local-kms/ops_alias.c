/* Aliases. A moved alias takes effect at once. */
#include "call.h"

#include <string.h>

#define ALIASES_MAX 50 /* of one key */

static bool in_alias_name(call *c, const char **name)
{
    const char *rest;

    if (!in_text(c, "AliasName", true, 256, name))
        return false;
    rest = strncmp(*name, "alias/", 6) == 0 ? *name + 6 : "";
    if (*rest == '\0' ||
        rest[strspn(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_-")] !=
            '\0')
        return refuse(&c->failure,
                      *rest == '\0' ? "ValidationException" : "InvalidAliasNameException",
                      "Invalid alias name '%s'", *name);
    if (strncmp(rest, "aws/", 4) == 0)
        return refuse(&c->failure, "InvalidAliasNameException",
                      "Alias must not start with the reserved prefix alias/aws/");
    return true;
}

static bool find_alias(call *c, const char *name, alias **out)
{
    *out = store_find_alias(c->store, c->region, name);
    if (*out != NULL)
        return true;
    return refuse(&c->failure, "NotFoundException", "Alias arn:aws:kms:%s:%s:%s is not found.",
                  c->region, c->store->account, name);
}

static bool target(call *c, key **k)
{
    if (!in_key(c, "TargetKeyId", false, k))
        return false;
    if (strncmp((*k)->state, "Pending", 7) == 0)
        return refuse(&c->failure, "KMSInvalidStateException", "%s is pending deletion.",
                      (*k)->family->key_id);
    return true;
}

bool op_create_alias(call *c)
{
    const char *name;
    key *k;
    int count = 0;

    if (!in_alias_name(c, &name) || !target(c, &k))
        return false;
    if (store_find_alias(c->store, c->region, name) != NULL)
        return refuse(&c->failure, "AlreadyExistsException",
                      "An alias with the name arn:aws:kms:%s:%s:%s already exists", c->region,
                      c->store->account, name);
    for (const alias *a = c->store->aliases; a != NULL; a = a->next)
        count += a->target == k;
    if (count >= ALIASES_MAX)
        return refuse(&c->failure, "LimitExceededException", "More than %d aliases", ALIASES_MAX);
    return store_add_alias(c->store, c->region, name, k) != NULL || out_of_order(c);
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
    store_save_alias(c->store, a);
    return true;
}

bool op_delete_alias(call *c)
{
    const char *name;
    alias *a;

    if (!in_alias_name(c, &name) || !find_alias(c, name, &a))
        return false;
    store_remove_alias(c->store, a);
    return true;
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
        char arn[400];
        if (strcmp(a->region, c->region) != 0 || (only != NULL && a->target != only) ||
            !page_take(&p))
            continue;
        cJSON *item = cJSON_CreateObject();
        alias_arn(c->store, a, arn, sizeof(arn));
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
