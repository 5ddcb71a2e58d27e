/* Error lines for hosts that show none (PKCS#11 returns only a number). Never writes to standard
 * output; never holds secrets, since kms_error does not. Thread-safe: one write per line. */
#ifndef KMS_CORE_LOG_H
#define KMS_CORE_LOG_H

#include "core/config.h"
#include "core/error.h"

/* Writes one line "kms: DOOR: message" to where the `log` setting says. config may be NULL (then
 * standard error, unless KMS_PROVIDER_LOG says otherwise). Failure to write is ignored.
 * door  what failed, e.g. "C_UnwrapKey" */
void kms_log_error(const kms_config *config, const char *door, const kms_error *err);

#endif
