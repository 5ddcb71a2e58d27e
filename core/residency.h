/* Residency: which regions, endpoints and ARNs are allowed. An explicit list, never a prefix:
 * London and Zurich are eu- but not in the EU, the European Sovereign Cloud is in it but not eu-.
 * A kms_residency never changes: it may be used from any thread. */
#ifndef KMS_CORE_RESIDENCY_H
#define KMS_CORE_RESIDENCY_H

#include "core/arn.h"
#include "core/config.h"
#include "core/error.h"

#include <stdbool.h>

typedef struct kms_residency kms_residency;

/* From residency, allowed_regions and trusted_endpoints, all checked here.
 * Errors: KMS_E_CONFIG_VALUE (an allowed region outside the set, a malformed trusted endpoint). */
kms_status kms_residency_new(const kms_config *config, kms_residency **out, kms_error *err);
void kms_residency_free(kms_residency *residency);

/* Errors: KMS_E_REGION_NOT_ALLOWED. */
kms_status kms_residency_check_region(const kms_residency *residency, const char *region,
                                      kms_error *err);

/* The region inside an ARN must be allowed, and must be `region` where that is not NULL.
 * Errors: KMS_E_KEY_ADDRESS, KMS_E_REGION_NOT_ALLOWED; KMS_E_REPLY_REGION for another than asked.
 */
kms_status kms_residency_check_arn(const kms_residency *residency, const char *arn,
                                   const char *region, kms_error *err);

/* An endpoint URL: https (http for loopback only), no user, path, query or fragment; the host is
 * loopback, or KMS's own name of that region (public, FIPS, dual-stack, VPC endpoint), or listed in
 * trusted_endpoints with that region.
 * Errors: KMS_E_ENDPOINT_INVALID, KMS_E_ENDPOINT_NOT_ALLOWED. */
kms_status kms_residency_check_endpoint(const kms_residency *residency, const char *url,
                                        const char *region, kms_error *err);

/* True for localhost and the addresses of loopback, those of IPv6 in brackets. */
bool kms_host_is_loopback(const char *host);

/* Writes the region's own endpoint, "https://kms.REGION.amazonaws.com". region must be allowed. */
void kms_residency_endpoint(const char *region, char *url, size_t size);

#endif
