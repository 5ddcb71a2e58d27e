/* Making keys in KMS by EVP_PKEY_generate and openssl genpkey. Only with an alias: a program that
 * asks for an ordinary key by its type, and meets this provider first, must not make one in KMS. */
#include "core/create.h"
#include "include/kms/kms_provider.h"
#include "provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/objects.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RSA_BITS  2048 /* as OpenSSL's own */
#define HMAC_BITS 256
#define KEM_BITS  768 /* the one that TLS uses */

/* Texts are made by OpenSSL's allocator. */
typedef struct generation {
    kms_provider *provider;
    const char *type; /* how that of kms_key_spec_row begins; NULL: symmetric */
    size_t bits;      /* RSA, HMAC and ML-KEM */
    int group;        /* EC: NID; 0: not set yet */
    char *alias, *usage, *description, *policy_file;
    char *tags[2 * KMS_TAGS_MAX]; /* names and values in turns */
    size_t tag_count;
} generation;

static void *gen_init(kms_provider *provider, int selection, const OSSL_PARAM params[],
                      const char *type, size_t bits)
{
    generation *gen;

    if ((selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0) {
        provider_raise_status(provider, KMS_E_UNSUPPORTED, "KMS makes keys, not parameters");
        return NULL;
    }
    gen = calloc(1, sizeof(*gen));
    if (gen == NULL)
        return NULL;
    gen->provider = provider;
    gen->type = type;
    gen->bits = bits;
    if (provider_gen_set_params(gen, params))
        return gen;
    provider_gen_cleanup(gen);
    return NULL;
}

void *provider_gen_init_kms(void *provider, int selection, const OSSL_PARAM params[])
{
    return gen_init(provider, selection, params, NULL, 0);
}

void *provider_gen_init_hmac(void *provider, int selection, const OSSL_PARAM params[])
{
    return gen_init(provider, selection, params, "HMAC", HMAC_BITS);
}

void *provider_gen_init_rsa(void *provider, int selection, const OSSL_PARAM params[])
{
    return gen_init(provider, selection, params, "RSA", RSA_BITS);
}

void *provider_gen_init_ec(void *provider, int selection, const OSSL_PARAM params[])
{
    return gen_init(provider, selection, params, "EC", 0);
}

void *provider_gen_init_ed25519(void *provider, int selection, const OSSL_PARAM params[])
{
    return gen_init(provider, selection, params, "ED25519", 0);
}

void *provider_gen_init_mldsa44(void *provider, int selection, const OSSL_PARAM params[])
{
    return gen_init(provider, selection, params, "ML-DSA-44", 0);
}

void *provider_gen_init_mldsa65(void *provider, int selection, const OSSL_PARAM params[])
{
    return gen_init(provider, selection, params, "ML-DSA-65", 0);
}

void *provider_gen_init_mldsa87(void *provider, int selection, const OSSL_PARAM params[])
{
    return gen_init(provider, selection, params, "ML-DSA-87", 0);
}

void *provider_gen_init_mlkem(void *provider, int selection, const OSSL_PARAM params[])
{
    return gen_init(provider, selection, params, "ML-KEM-", KEM_BITS);
}

void provider_gen_cleanup(void *data)
{
    generation *gen = data;

    if (gen == NULL)
        return;
    for (size_t i = 0; i < 2 * gen->tag_count; i++)
        OPENSSL_free(gen->tags[i]);
    OPENSSL_free(gen->alias);
    OPENSSL_free(gen->usage);
    OPENSSL_free(gen->description);
    OPENSSL_free(gen->policy_file);
    free(gen);
}

/* --- parameters --- */

static int bad(const generation *gen, const char *name)
{
    kms_error err = {0};

    kms_fail(&err, KMS_E_ARGUMENT, "%s is not accepted for a new key", name);
    provider_raise(gen->provider, &err);
    return 0;
}

/* Replaces what was set before. */
static int set_text(const generation *gen, const OSSL_PARAM *p, char **to)
{
    char *text = NULL;

    if (!provider_get_text(p, &text))
        return bad(gen, p->key);
    OPENSSL_free(*to);
    *to = text;
    return 1;
}

/* Each KEY=VALUE is one more. */
static int add_tag(generation *gen, const OSSL_PARAM *p)
{
    char *text = NULL, *equals;

    if (gen->tag_count == KMS_TAGS_MAX || !set_text(gen, p, &text))
        return bad(gen, p->key);
    equals = strchr(text, '=');
    if (equals == NULL) {
        OPENSSL_free(text);
        return provider_raise_status(gen->provider, KMS_E_ARGUMENT, "tags is KEY=VALUE");
    }
    *equals = '\0';
    gen->tags[2 * gen->tag_count] = text;
    gen->tags[2 * gen->tag_count + 1] = OPENSSL_strdup(equals + 1);
    gen->tag_count++;
    return gen->tags[2 * gen->tag_count - 1] != NULL;
}

/* The names that OpenSSL has for a curve. */
static int group_of(const char *name)
{
    int nid = EC_curve_nist2nid(name);

    if (nid == NID_undef && strcmp(name, "secp256r1") == 0)
        nid = NID_X9_62_prime256v1;
    return nid != NID_undef ? nid : OBJ_sn2nid(name);
}

static int set_group(generation *gen, const OSSL_PARAM *p)
{
    char *name = NULL;

    if (!set_text(gen, p, &name))
        return 0;
    gen->group = group_of(name);
    OPENSSL_free(name);
    return gen->group != NID_undef || bad(gen, p->key);
}

static int set_param(generation *gen, const OSSL_PARAM *p)
{
    const bool ec = gen->type != NULL && strcmp(gen->type, "EC") == 0;

    if (strcmp(p->key, KMS_PROVIDER_PARAM_ALIAS) == 0)
        return set_text(gen, p, &gen->alias);
    if (strcmp(p->key, KMS_PROVIDER_PARAM_USAGE) == 0)
        return set_text(gen, p, &gen->usage);
    if (strcmp(p->key, KMS_PROVIDER_PARAM_DESCRIPTION) == 0)
        return set_text(gen, p, &gen->description);
    if (strcmp(p->key, KMS_PROVIDER_PARAM_POLICY_FILE) == 0)
        return set_text(gen, p, &gen->policy_file);
    if (strcmp(p->key, KMS_PROVIDER_PARAM_TAGS) == 0)
        return add_tag(gen, p);
    if (ec && strcmp(p->key, OSSL_PKEY_PARAM_GROUP_NAME) == 0)
        return set_group(gen, p);
    if (gen->bits != 0 && strcmp(p->key, OSSL_PKEY_PARAM_BITS) == 0)
        return provider_get_size(p, &gen->bits) || bad(gen, p->key);
    return 1; /* as OpenSSL's own do with names they don't know */
}

int provider_gen_set_params(void *data, const OSSL_PARAM params[])
{
    generation *gen = data;

    for (const OSSL_PARAM *p = params; p != NULL && p->key != NULL; p++)
        if (!set_param(gen, p))
            return 0;
    return 1;
}

#define SETTABLE_OF_ALL                                                                            \
    OSSL_PARAM_utf8_string(KMS_PROVIDER_PARAM_ALIAS, NULL, 0),                                     \
        OSSL_PARAM_utf8_string(KMS_PROVIDER_PARAM_USAGE, NULL, 0),                                 \
        OSSL_PARAM_utf8_string(KMS_PROVIDER_PARAM_DESCRIPTION, NULL, 0),                           \
        OSSL_PARAM_utf8_string(KMS_PROVIDER_PARAM_POLICY_FILE, NULL, 0),                           \
        OSSL_PARAM_utf8_string(KMS_PROVIDER_PARAM_TAGS, NULL, 0)

const OSSL_PARAM *provider_gen_settable_params(void *data, void *provider)
{
    static const OSSL_PARAM plain[] = {SETTABLE_OF_ALL, OSSL_PARAM_END};
    static const OSSL_PARAM sized[] = {
        SETTABLE_OF_ALL, OSSL_PARAM_size_t(OSSL_PKEY_PARAM_BITS, NULL), OSSL_PARAM_END};
    static const OSSL_PARAM curved[] = {SETTABLE_OF_ALL,
                                        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
                                        OSSL_PARAM_END};
    const generation *gen = data;

    (void)provider;
    if (gen == NULL)
        return plain;
    if (gen->type != NULL && strcmp(gen->type, "EC") == 0)
        return curved;
    return gen->bits != 0 ? sized : plain;
}

/* --- making --- */

/* KMS's name of the spec, or NULL: it has no such key. */
static const char *spec_of(const generation *gen)
{
    const kms_key_spec_row *row;

    if (gen->type == NULL)
        return "SYMMETRIC_DEFAULT";
    for (size_t i = 0; (row = kms_key_spec_at(i)) != NULL; i++) {
        if (strncmp(row->type, gen->type, strlen(gen->type)) == 0 &&
            (gen->bits == 0 || (size_t)row->bits == gen->bits) &&
            (row->group == NULL || OBJ_sn2nid(row->group) == gen->group))
            return row->name;
    }
    return NULL;
}

/* NAME, alias/NAME, or the whole address. */
static int read_alias(const generation *gen, kms_address *address)
{
    const char *alias = gen->alias;
    bool whole = strncmp(alias, "alias/", 6) == 0 || strncmp(alias, "kms:", 4) == 0;
    char *text = NULL;
    kms_error err = {0};

    if (asprintf(&text, "%s%s", whole ? "" : "alias/", alias) < 0)
        return provider_raise_status(gen->provider, KMS_E_NO_MEMORY, "alias");
    if (kms_address_parse(text, address, &err) == KMS_OK && address->key == NULL)
        kms_fail(&err, KMS_E_KEY_ADDRESS, "a new key needs an alias");
    free(text);
    return err.status == KMS_OK ? 1 : provider_raise(gen->provider, &err);
}

static int create(const generation *gen, const char *spec, const kms_address *address,
                  provider_key **out)
{
    const kms_key_wish wish = {
        .address = address,
        .spec = spec,
        .usage = gen->usage,
        .description = gen->description,
        .policy_file = gen->policy_file,
        .tags = (const char *const *)gen->tags,
        .tag_count = gen->tag_count,
    };
    kms_key *key = NULL;
    kms_error err = {0};

    if (kms_client_create_key(gen->provider->client, &wish, &key, &err) != KMS_OK)
        return provider_raise(gen->provider, &err);
    return provider_key_of(gen->provider, address, key, out);
}

void *provider_gen(void *data, OSSL_CALLBACK *progress, void *arg)
{
    const generation *gen = data;
    const char *spec = spec_of(gen);
    kms_address address = {0};
    provider_key *key = NULL;

    (void)progress; /* nothing is searched for here */
    (void)arg;
    if (gen->provider->client == NULL) {
        provider_raise(gen->provider, &gen->provider->fault);
    } else if (gen->alias == NULL) {
        provider_raise_status(gen->provider, KMS_E_KEY_ADDRESS,
                              "a key in KMS is made only with an alias (-pkeyopt alias:NAME); for "
                              "an ordinary key activate the provider default before kms");
    } else if (spec == NULL) {
        provider_raise_status(gen->provider, KMS_E_ALGORITHM,
                              "RSA keys of KMS have 2048, 3072 or 4096 bits, EC keys the group "
                              "P-256, P-384, P-521 or secp256k1, HMAC keys 224, 256, 384 or 512 "
                              "bits, ML-KEM keys 512, 768 or 1024");
    } else if (read_alias(gen, &address)) {
        create(gen, spec, &address, &key);
    }
    kms_address_clear(&address);
    return key;
}
