/* Where requests of one region and profile go, and with which credentials. */
#ifndef KMS_CORE_ENDPOINT_H
#define KMS_CORE_ENDPOINT_H

#include "core/credentials/credentials.h"
#include "core/residency.h"

/* Immutable once made, but for the credentials' own cache. */
typedef struct kms_endpoint kms_endpoint;
struct kms_endpoint {
    char region[KMS_REGION_MAX];
    char *profile; /* NULL: the configured one */
    char *url;
    char *host; /* as on the wire: with the port where it isn't the scheme's own */
    bool tls;
    bool loopback;
    kms_credential_chain *credentials;
    kms_endpoint *next; /* in the client's list */
};

/* region: NULL takes the configuration's, else the profile's. Region and URL are checked against
 * residency here, so that no request can go to a place that was not. No network.
 * Errors: KMS_E_REGION_*, KMS_E_ENDPOINT_*, KMS_E_CREDENTIALS_INVALID. */
kms_status kms_endpoint_new(const kms_config *config, const kms_residency *residency,
                            const char *region, const char *profile, kms_endpoint **out,
                            kms_error *err);
void kms_endpoint_free(kms_endpoint *endpoint);

#endif
