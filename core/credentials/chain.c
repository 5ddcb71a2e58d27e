#include "core/credentials/credentials.h"

#include "core/arn.h"
#include "core/credentials/source.h"
#include "core/lock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sources in the order in which they are asked. */
static const kms_credential_source sources[] = {
    {"environment", true, kms_environment_fetch, NULL},
    {"profile", false, kms_profile_fetch, kms_profile_stamp},
};

#define SOURCE_COUNT (sizeof(sources) / sizeof(sources[0]))

struct kms_credential_chain {
    kms_credential_request request;
    char region[KMS_REGION_MAX];
    kms_lock lock;                          /* guards what follows */
    const kms_credential_source *kept_from; /* NULL: nothing is kept */
    kms_credential_stamp kept_stamp;
    kms_credentials kept;
};

/* ---- making ---- */

/* The path that variable names, else ~/.aws/FILE. *path stays NULL where there is no home. */
static kms_status find_file(const char *variable, const char *file, char **path, bool *named,
                            kms_error *err)
{
    const char *given = kms_credential_variable(variable);
    const char *home = kms_credential_variable("HOME");
    int len = 0;

    *named = given != NULL;
    if (given != NULL && strncmp(given, "~/", 2) == 0 && home != NULL)
        len = asprintf(path, "%s%s", home, given + 1);
    else if (given != NULL)
        len = asprintf(path, "%s", given);
    else if (home != NULL)
        len = asprintf(path, "%s/.aws/%s", home, file);
    if (len < 0) {
        *path = NULL;
        return kms_fail(err, KMS_E_NO_MEMORY, "credentials");
    }
    return KMS_OK;
}

static kms_status make_request(kms_credential_request *request, const kms_config *config,
                               const char *profile, kms_error *err)
{
    kms_status st;

    if (profile == NULL)
        profile = kms_config_text(config, KMS_SET_PROFILE);
    request->profile_named = profile != NULL;
    request->profile = strdup(profile != NULL ? profile : "default");
    if (request->profile == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "credentials");
    st = find_file("AWS_SHARED_CREDENTIALS_FILE", "credentials", &request->credentials_path,
                   &request->credentials_named, err);
    if (st == KMS_OK)
        st = find_file("AWS_CONFIG_FILE", "config", &request->config_path, &request->config_named,
                       err);
    return st;
}

kms_status kms_credential_chain_new(const kms_config *config, const char *profile,
                                    kms_credential_chain **out, kms_error *err)
{
    kms_credential_chain *chain = calloc(1, sizeof(*chain));
    kms_status st;

    *out = NULL;
    if (chain == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "credentials");
    st = kms_lock_init(&chain->lock, err);
    if (st != KMS_OK) {
        free(chain);
        return st;
    }
    st = make_request(&chain->request, config, profile, err);
    if (st == KMS_OK && kms_config_text(config, KMS_SET_REGION) == NULL)
        st = kms_profile_region(&chain->request, chain->region, sizeof(chain->region), err);
    if (st != KMS_OK) {
        kms_credential_chain_free(chain);
        return st;
    }
    *out = chain;
    return KMS_OK;
}

void kms_credential_chain_free(kms_credential_chain *chain)
{
    if (chain == NULL)
        return;
    kms_lock_destroy(&chain->lock);
    kms_credentials_clear(&chain->kept);
    free(chain->request.profile);
    free(chain->request.config_path);
    free(chain->request.credentials_path);
    free(chain);
}

const char *kms_credential_chain_region(const kms_credential_chain *chain)
{
    return chain->region[0] != '\0' ? chain->region : NULL;
}

/* ---- getting ---- */

static bool expired(const kms_credentials *credentials)
{
    return credentials->expires != 0 && credentials->expires <= time(NULL);
}

static bool stamps_equal(const kms_credential_stamp *a, const kms_credential_stamp *b)
{
    for (size_t i = 0; i < sizeof(a->files) / sizeof(a->files[0]); i++) {
        if (a->files[i].device != b->files[i].device || a->files[i].inode != b->files[i].inode ||
            a->files[i].size != b->files[i].size ||
            a->files[i].modified.tv_sec != b->files[i].modified.tv_sec ||
            a->files[i].modified.tv_nsec != b->files[i].modified.tv_nsec)
            return false;
    }
    return true;
}

/* Copies what is kept of the source, where it still holds. */
static kms_status take_kept(kms_credential_chain *chain, const kms_credential_source *source,
                            const kms_credential_stamp *stamp, kms_credentials *out, bool *found,
                            kms_error *err)
{
    kms_status st = KMS_OK;

    kms_lock_take(&chain->lock);
    *found = chain->kept_from == source && stamps_equal(&chain->kept_stamp, stamp) &&
             !expired(&chain->kept);
    if (*found)
        st = kms_credentials_copy(out, &chain->kept, err);
    kms_lock_give(&chain->lock);
    return st;
}

/* Keeps a copy for the next get. Where that fails, the next get reads the source again. */
static void keep(kms_credential_chain *chain, const kms_credential_source *source,
                 const kms_credential_stamp *stamp, const kms_credentials *credentials)
{
    kms_lock_take(&chain->lock);
    kms_credentials_clear(&chain->kept);
    chain->kept_from = NULL;
    if (kms_credentials_copy(&chain->kept, credentials, NULL) == KMS_OK) {
        chain->kept_from = source;
        chain->kept_stamp = *stamp;
    }
    kms_lock_give(&chain->lock);
}

/* Asks one source, without a lock: a change while it is read shows in the next stamp. */
static kms_status ask(kms_credential_chain *chain, const kms_credential_source *source,
                      kms_credentials *out, bool *found, kms_error *err)
{
    kms_credential_stamp stamp = {0};
    kms_status st = KMS_OK;

    *found = false;
    if (source->stamp != NULL) {
        source->stamp(&chain->request, &stamp);
        st = take_kept(chain, source, &stamp, out, found, err);
    }
    if (st != KMS_OK || *found)
        return st;
    st = source->fetch(&chain->request, out, found, err);
    if (st != KMS_OK || !*found)
        return st;
    if (expired(out)) {
        st = kms_fail(err, KMS_E_CREDENTIALS_EXPIRED, "%s", out->source);
        kms_credentials_clear(out);
        return st;
    }
    if (source->stamp != NULL)
        keep(chain, source, &stamp, out);
    return KMS_OK;
}

kms_status kms_credential_chain_get(kms_credential_chain *chain, kms_credentials *out,
                                    kms_error *err)
{
    const kms_credential_request *request = &chain->request;
    bool found = false;

    for (size_t i = 0; i < SOURCE_COUNT; i++) {
        if (sources[i].below_named_profile && request->profile_named)
            continue;
        kms_status st = ask(chain, &sources[i], out, &found, err);
        if (st != KMS_OK || found)
            return st;
    }
    return kms_fail(err, KMS_E_CREDENTIALS_MISSING, "looked in %sprofile \"%.64s\" of %s and %s",
                    request->profile_named ? "" : "the environment, and in ", request->profile,
                    request->credentials_path != NULL ? request->credentials_path : "(no file)",
                    request->config_path != NULL ? request->config_path : "(no file)");
}

void kms_credential_chain_invalidate(kms_credential_chain *chain)
{
    kms_lock_take(&chain->lock);
    kms_credentials_clear(&chain->kept);
    chain->kept_from = NULL;
    kms_lock_give(&chain->lock);
}
