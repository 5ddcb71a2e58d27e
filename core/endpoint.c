#include "core/endpoint.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_MAX 512

static kms_status set_host(kms_endpoint *endpoint, kms_error *err)
{
    CURLU *url = curl_url();
    char *host = NULL, *port = NULL;
    kms_status st = KMS_OK;

    if (url == NULL || curl_url_set(url, CURLUPART_URL, endpoint->url, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK)
        st = kms_fail(err, KMS_E_ENDPOINT_INVALID, "%s", endpoint->url);
    if (st == KMS_OK) {
        endpoint->loopback = kms_host_is_loopback(host);
        bool has_port =
            curl_url_get(url, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT) == CURLUE_OK;
        if (asprintf(&endpoint->host, "%s%s%s", host, has_port ? ":" : "", has_port ? port : "") <
            0) {
            endpoint->host = NULL;
            st = kms_fail(err, KMS_E_NO_MEMORY, "endpoint");
        }
    }
    curl_free(port);
    curl_free(host);
    curl_url_cleanup(url);
    return st;
}

/* Chooses region and URL, and has both checked. */
static kms_status locate(kms_endpoint *endpoint, const kms_config *config,
                         const kms_residency *residency, const char *region, kms_error *err)
{
    const char *url = kms_config_text(config, KMS_SET_ENDPOINT);
    char own[URL_MAX];

    if (region == NULL)
        region = kms_config_text(config, KMS_SET_REGION);
    if (region == NULL)
        region = kms_credential_chain_region(endpoint->credentials);
    if (region == NULL)
        return kms_fail(err, KMS_E_REGION_MISSING,
                        "neither address, settings nor profile name one");

    kms_status st = kms_residency_check_region(residency, region, err);
    if (st != KMS_OK)
        return st;
    snprintf(endpoint->region, sizeof(endpoint->region), "%s", region);
    if (url == NULL) {
        kms_residency_endpoint(region, own, sizeof(own));
        url = own;
    }
    st = kms_residency_check_endpoint(residency, url, region, err);
    if (st == KMS_OK && (endpoint->url = strdup(url)) == NULL)
        st = kms_fail(err, KMS_E_NO_MEMORY, "endpoint");
    return st;
}

kms_status kms_endpoint_new(const kms_config *config, const kms_residency *residency,
                            const char *region, const char *profile, kms_endpoint **out,
                            kms_error *err)
{
    kms_endpoint *endpoint = calloc(1, sizeof(*endpoint));
    kms_status st = KMS_OK;

    *out = NULL;
    if (endpoint == NULL)
        return kms_fail(err, KMS_E_NO_MEMORY, "endpoint");
    if (profile != NULL && (endpoint->profile = strdup(profile)) == NULL)
        st = kms_fail(err, KMS_E_NO_MEMORY, "endpoint");
    if (st == KMS_OK)
        st = kms_credential_chain_new(config, profile, &endpoint->credentials, err);
    if (st == KMS_OK)
        st = locate(endpoint, config, residency, region, err);
    if (st == KMS_OK)
        st = set_host(endpoint, err);
    if (st != KMS_OK) {
        kms_endpoint_free(endpoint);
        return st;
    }
    endpoint->tls = strncasecmp(endpoint->url, "https:", 6) == 0;
    *out = endpoint;
    return KMS_OK;
}

void kms_endpoint_free(kms_endpoint *endpoint)
{
    if (endpoint == NULL)
        return;
    kms_credential_chain_free(endpoint->credentials);
    free(endpoint->profile);
    free(endpoint->url);
    free(endpoint->host);
    free(endpoint);
}
