/* Settings: one table (core/config_table.h) with name, type, default, environment variables and
 * documentation. Precedence: given with the call > environment > configuration file > default.
 * A kms_config never changes after loading: it may be read from any thread. */
#ifndef KMS_CORE_CONFIG_H
#define KMS_CORE_CONFIG_H

#include "core/config_table.h"
#include "core/error.h"

#include <stdbool.h>

#define KMS_CONFIG_DEFAULT_PATH "/etc/kms-provider/kms.conf"

typedef enum kms_setting {
#define KMS_SETTING_ENUM(id, name, type, preset, environment, doc) KMS_SET_##id,
    KMS_SETTING_TABLE(KMS_SETTING_ENUM)
#undef KMS_SETTING_ENUM
        KMS_SETTING_COUNT
} kms_setting;

typedef struct kms_config kms_config;

/* What a caller gives besides environment and file. All members may be NULL.
 * path    file to read instead of KMS_PROVIDER_CONF and the default path; it must exist
 * lookup  value of a setting given with the call (the provider section of openssl.cnf), or NULL;
 *         lookup(arg, "config") may name the file */
typedef struct kms_config_given {
    const char *path;
    const char *(*lookup)(void *arg, const char *name);
    void *arg;
} kms_config_given;

/* Reads all sources. The file is given->path, else KMS_PROVIDER_CONF, else
 * KMS_CONFIG_DEFAULT_PATH, which alone may be missing. No network. Release with kms_config_free.
 * Errors: KMS_E_CONFIG_FILE, _SYNTAX, _UNKNOWN (names file, line and the nearest valid name),
 * KMS_E_CONFIG_VALUE; then *out is NULL. */
kms_status kms_config_load(const kms_config_given *given, kms_config **out, kms_error *err);
void kms_config_free(kms_config *config);

/* Typed reads; the type must be the table's. Strings live as long as the config.
 * text: NULL where unset and without default. list: NULL-terminated, never NULL. */
const char *kms_config_text(const kms_config *config, kms_setting setting);
bool kms_config_flag(const kms_config *config, kms_setting setting);
long kms_config_number(const kms_config *config, kms_setting setting);
const char *const *kms_config_list(const kms_config *config, kms_setting setting);

/* Calls visit for each pair of a free-form section such as "context", in the file's order, until
 * it returns something else than KMS_OK, which is then returned. */
kms_status kms_config_each(const kms_config *config, const char *section,
                           kms_status (*visit)(void *arg, const char *name, const char *value,
                                               kms_error *err),
                           void *arg, kms_error *err);

/* Where settings were read from, for messages: a path or "environment". */
const char *kms_config_source(const kms_config *config);

#endif
