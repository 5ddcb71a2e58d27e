/* What every operation with a key has before and after its request, for core's own files: doors
 * call the operations of core/client.h and core/asymmetric.h. */
#ifndef KMS_CORE_OPERATION_H
#define KMS_CORE_OPERATION_H

#include "core/client.h"
#include "core/key.h"

/* After the operation's own checks: the feature flag, the transport, and whether a multi-Region
 * family is still where keys may be. *caller lives as long as the client.
 * Errors: KMS_E_DISABLED, KMS_E_REPLICA_NOT_ALLOWED, all of the network. */
kms_status kms_operation_begin(kms_client *client, kms_key *key, kms_caller **caller,
                               kms_error *err);

/* The same of an operation without a key: the feature flag, the endpoint of an address (of which
 * only region and profile count; NULL: the configured ones) and the transport. Both live as long
 * as the client. Errors: KMS_E_DISABLED, KMS_E_REGION_*, KMS_E_ENDPOINT_*. */
kms_status kms_operation_prepare(kms_client *client, const kms_address *address,
                                 const kms_endpoint **endpoint, kms_caller **caller,
                                 kms_error *err);

/* Forgets what is known of the key where KMS said that it is gone, disabled and the like. Returns
 * st. */
kms_status kms_operation_end(kms_client *client, const kms_key *key, kms_status st);

#endif
