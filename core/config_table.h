/* One row a setting: id, name, type, default, environment variables (first set one wins, blanks
 * between), documentation. Types: TEXT, FLAG (yes/no), LIST (commas), NUMBER(min, max),
 * CHOICE(a|b). conf/kms.conf and kms.conf(5) are checked against this table by a test. */
#ifndef KMS_CORE_CONFIG_TABLE_H
#define KMS_CORE_CONFIG_TABLE_H

/* clang-format off */
#define KMS_SETTING_TABLE(X) \
X(REGION, "region", TEXT, NULL, "AWS_REGION AWS_DEFAULT_REGION", "AWS region of the keys. A key ARN names its own.") \
X(ENDPOINT, "endpoint", TEXT, NULL, "AWS_ENDPOINT_URL_KMS AWS_ENDPOINT_URL", "URL to send requests to instead of the region's own endpoint: a VPC endpoint, or a local server.") \
X(PROFILE, "profile", TEXT, NULL, "AWS_PROFILE AWS_DEFAULT_PROFILE", "Profile in the shared AWS files to take credentials from.") \
X(KEY, "key", TEXT, NULL, "KMS_KEY_ALIAS", "Key that the PKCS#11 token shows: alias/NAME, key id or ARN. Unset: every key that the credentials can list.") \
X(ENCRYPTION_ENABLED, "encryption_enabled", FLAG, "yes", "KMS_ENCRYPTION_ENABLED kms_encryption_enabled", "Feature flag. When off, every operation is refused.") \
X(RESIDENCY, "residency", CHOICE("eu|eu-adequate"), "eu", NULL, "eu: regions in EU member states and the European Sovereign Cloud. eu-adequate: also eu-west-2 and eu-central-2.") \
X(ALLOWED_REGIONS, "allowed_regions", LIST, "", NULL, "Narrows the residency set to these regions. Empty: the whole set.") \
X(TRUSTED_ENDPOINTS, "trusted_endpoints", LIST, "", NULL, "Endpoint hosts that carry no region in their name, each as HOST=REGION.") \
X(CA_BUNDLE, "ca_bundle", TEXT, NULL, "AWS_CA_BUNDLE", "PEM file of the certificate authorities to trust, and no others. Unset: the system's.") \
X(REQUIRED_CONTEXT, "required_context", LIST, "dataType, operationId", NULL, "Names that every encryption context must have.") \
X(DATA_TYPES, "data_types", LIST, "credentials, pii, context", NULL, "Values that dataType may have. pii also needs piiType, context also contextType.") \
X(MAP_STANDARD_WRAP, "map_standard_wrap", FLAG, "no", NULL, "PKCS#11: let CKM_AES_KEY_WRAP and CKM_AES_KEY_WRAP_PAD on a KMS key mean CKM_KMS_WRAP with the configured context.") \
X(ALLOW_EXTRACTABLE, "allow_extractable", FLAG, "no", NULL, "PKCS#11: let a template make a data key extractable.") \
X(TOKEN_OBJECTS, "token_objects", CHOICE("refuse|memory"), "refuse", NULL, "PKCS#11: what becomes of a data key whose template asks for a token object. refuse: an error. memory: it lives until the process ends, for tools that always ask, such as pkcs11-tool.") \
X(CONNECT_TIMEOUT, "connect_timeout_ms", NUMBER(1, 60000), "2000", NULL, "Milliseconds to wait for a connection.") \
X(ATTEMPT_TIMEOUT, "attempt_timeout_ms", NUMBER(1, 300000), "5000", NULL, "Milliseconds to wait for one attempt.") \
X(OPERATION_TIMEOUT, "operation_timeout_ms", NUMBER(1, 600000), "15000", NULL, "Milliseconds to wait for an operation with all its attempts.") \
X(MAX_ATTEMPTS, "max_attempts", NUMBER(1, 10), "3", "AWS_MAX_ATTEMPTS", "Attempts in all, the first included.") \
X(MAX_IDLE_CONNECTIONS, "max_idle_connections", NUMBER(1, 1000), "64", NULL, "Connections kept open for the next operation.") \
X(KEY_CACHE_SECONDS, "key_cache_seconds", NUMBER(1, 86400), "3600", NULL, "Seconds for which an alias and a key's metadata are taken from memory.") \
X(LOG, "log", TEXT, "stderr", "KMS_PROVIDER_LOG", "Where error lines go: stderr, syslog, off, or a file's absolute path. The file is made for its owner alone, and a symbolic link is not followed.")
/* clang-format on */

#endif
