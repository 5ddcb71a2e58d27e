/* One row an error: name, PKCS#11 return value, exit code of a command, sentence, remedy.
 * Exit codes: 1 internal, 2 usage or configuration, 3 policy refusal, 4 credentials or permission,
 * 5 key, 6 service or network, 7 data. docs/errors.md is checked against this table by a test. */
#ifndef KMS_CORE_ERROR_TABLE_H
#define KMS_CORE_ERROR_TABLE_H

/* clang-format off */
#define KMS_ERROR_TABLE(X) \
X(INTERNAL,              CKR_GENERAL_ERROR,            1, "internal error", "please report it with the steps that led here") \
X(NO_MEMORY,             CKR_HOST_MEMORY,              1, "out of memory", "free memory or raise the process's limit") \
X(MEMORY_LOCK,           CKR_HOST_MEMORY,              1, "memory for secrets cannot be locked", "raise RLIMIT_MEMLOCK (ulimit -l, or LimitMEMLOCK= in systemd)") \
X(ARGUMENT,              CKR_ARGUMENTS_BAD,            2, "invalid argument", "correct the call") \
X(BUFFER_TOO_SMALL,      CKR_BUFFER_TOO_SMALL,         2, "output buffer too small", "ask for the size first, then pass a buffer of that size") \
X(UNSUPPORTED,           CKR_MECHANISM_INVALID,        2, "operation not supported by this key", "use a key or operation that fits") \
X(CONFIG_FILE,           CKR_GENERAL_ERROR,            2, "configuration file cannot be read", "check KMS_PROVIDER_CONF, the path and its permissions") \
X(CONFIG_SYNTAX,         CKR_GENERAL_ERROR,            2, "configuration file is not valid", "correct the line; the syntax is that of openssl.cnf") \
X(CONFIG_UNKNOWN,        CKR_GENERAL_ERROR,            2, "unknown setting", "correct the name; kms.conf(5) lists all settings") \
X(CONFIG_VALUE,          CKR_GENERAL_ERROR,            2, "setting has an invalid value", "correct the value; kms.conf(5) lists what is allowed") \
X(PROVIDER_ORDER,        CKR_GENERAL_ERROR,            2, "OpenSSL's provider default is not active before kms", "activate default first: -provider default -provider kms, or list it before kms in openssl.cnf") \
X(DISABLED,              CKR_FUNCTION_REJECTED,        3, "KMS encryption is disabled", "set KMS_ENCRYPTION_ENABLED=true or remove encryption_enabled from the configuration") \
X(REGION_MISSING,        CKR_FUNCTION_REJECTED,        2, "no AWS region is configured", "set region in kms.conf, AWS_REGION, or use a key ARN") \
X(REGION_NOT_ALLOWED,    CKR_FUNCTION_REJECTED,        3, "region is outside the allowed set", "use an AWS region in an EU member state; see residency and allowed_regions in kms.conf(5)") \
X(ENDPOINT_INVALID,      CKR_FUNCTION_REJECTED,        2, "endpoint is not valid", "give https://HOST[:PORT], or http:// for a loopback address") \
X(ENDPOINT_NOT_ALLOWED,  CKR_FUNCTION_REJECTED,        3, "endpoint is not in an allowed region", "use an endpoint whose name carries an allowed region, or list it in trusted_endpoints with its region") \
X(REPLICA_NOT_ALLOWED,   CKR_FUNCTION_REJECTED,        3, "multi-Region key has a replica outside the allowed set", "use a key whose replicas are all in the EU") \
X(KEY_ADDRESS,           CKR_ARGUMENTS_BAD,            2, "key address is not valid", "write kms:alias/NAME, kms:KEY-ID or kms:ARN, with ?region=, ?profile= or ?context.NAME=") \
X(KEY_MISSING,           CKR_ARGUMENTS_BAD,            2, "no key is configured", "set key in kms.conf or KMS_KEY_ALIAS") \
X(CONTEXT_MISSING,       CKR_MECHANISM_PARAM_INVALID,  3, "encryption context is missing", "give one, for example -pkeyopt context:dataType=credentials -pkeyopt context:operationId=op-1, or set defaults in [context]") \
X(CONTEXT_REQUIRED,      CKR_MECHANISM_PARAM_INVALID,  3, "encryption context lacks a required name", "add the name; see required_context in kms.conf(5)") \
X(CONTEXT_DATA_TYPE,     CKR_MECHANISM_PARAM_INVALID,  3, "unknown dataType in the encryption context", "use a configured data type; see data_types in kms.conf(5)") \
X(CONTEXT_NAME,          CKR_MECHANISM_PARAM_INVALID,  2, "name in the encryption context is not valid", "names are UTF-8 without control characters, not empty, and do not begin with aws:") \
X(CONTEXT_VALUE,         CKR_MECHANISM_PARAM_INVALID,  2, "value in the encryption context is not valid", "values are UTF-8 without control characters") \
X(CONTEXT_DUPLICATE,     CKR_MECHANISM_PARAM_INVALID,  2, "name is twice in the encryption context", "give each name once") \
X(CONTEXT_TOO_LARGE,     CKR_MECHANISM_PARAM_INVALID,  2, "encryption context is too large", "keep names and values together below 8 KiB") \
X(CONTEXT_SYNTAX,        CKR_MECHANISM_PARAM_INVALID,  2, "encryption context is not valid", "give NAME=VALUE, or a JSON object of strings") \
X(CONTEXT_MISMATCH,      CKR_ENCRYPTED_DATA_INVALID,   7, "encryption context mismatch or altered ciphertext", "give exactly the names and values used at encryption, and check that the ciphertext is whole and of this key") \
X(PLAINTEXT_TOO_LARGE,   CKR_DATA_LEN_RANGE,           7, "plaintext is larger than 4096 bytes, the limit of KMS", "use envelope encryption: encrypt the data with a data key and wrap only that") \
X(PLAINTEXT_EMPTY,       CKR_DATA_LEN_RANGE,           7, "plaintext is empty", "KMS takes 1 to 4096 bytes") \
X(CIPHERTEXT_SIZE,       CKR_ENCRYPTED_DATA_LEN_RANGE, 7, "ciphertext has an impossible size", "KMS ciphertexts are 1 to 6144 bytes; check that it is whole and not Base64 text") \
X(CREDENTIALS_MISSING,   CKR_FUNCTION_REJECTED,        4, "no AWS credentials found", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws/credentials") \
X(CREDENTIALS_INVALID,   CKR_FUNCTION_REJECTED,        4, "AWS credentials are not valid", "correct the source named; a broken source is never skipped") \
X(CREDENTIALS_EXPIRED,   CKR_FUNCTION_REJECTED,        4, "AWS credentials have expired", "renew them, then repeat the operation") \
X(SIGNATURE,             CKR_FUNCTION_REJECTED,        4, "AWS refused the request's signature", "check the secret access key, the region and this machine's clock") \
X(ACCESS_DENIED,         CKR_FUNCTION_REJECTED,        4, "access denied by AWS", "check the key policy, IAM permissions and conditions on the encryption context") \
X(NOT_FOUND,             CKR_KEY_HANDLE_INVALID,       5, "key not found", "check alias or key id, account and region") \
X(KEY_DISABLED,          CKR_KEY_FUNCTION_NOT_PERMITTED, 5, "key is disabled", "enable the key in KMS, or use another") \
X(KEY_STATE,             CKR_KEY_FUNCTION_NOT_PERMITTED, 5, "key is in a state that does not allow this", "look at the key's state in KMS (pending deletion, pending import, creating)") \
X(KEY_USAGE,             CKR_KEY_FUNCTION_NOT_PERMITTED, 5, "key is made for another use", "use a key whose KeyUsage and KeySpec fit the operation") \
X(KEY_UNAVAILABLE,       CKR_DEVICE_ERROR,             5, "key is unavailable at the moment", "try again; if it stays, look at the key's state in KMS") \
X(INCORRECT_KEY,         CKR_ENCRYPTED_DATA_INVALID,   7, "ciphertext belongs to another key", "decrypt it with the key that encrypted it") \
X(NOT_EXPORTABLE,        CKR_KEY_UNEXTRACTABLE,        3, "key material of a KMS key cannot be exported", "use the key by its address; it never leaves KMS") \
X(TEMPLATE,              CKR_TEMPLATE_INCONSISTENT,    3, "template asks for what a setting forbids", "leave the attribute out, or change the setting named; see kms.conf(5)") \
X(REQUEST_REFUSED,       CKR_FUNCTION_FAILED,          6, "KMS refused the request", "the detail says what KMS did not accept") \
X(LIMIT,                 CKR_DEVICE_ERROR,             6, "a quota of KMS is reached", "remove what is not needed or ask AWS for a higher quota") \
X(THROTTLED,             CKR_DEVICE_ERROR,             6, "KMS is throttling requests", "try again later; cache data keys or ask AWS for a higher request quota") \
X(SERVICE,               CKR_DEVICE_ERROR,             6, "KMS has an internal failure", "try again later") \
X(UNREACHABLE,           CKR_DEVICE_REMOVED,           6, "KMS is unreachable", "check network, DNS, proxy and the endpoint setting") \
X(TIMEOUT,               CKR_DEVICE_ERROR,             6, "KMS did not answer in time", "check the network, or raise attempt_timeout_ms and operation_timeout_ms") \
X(TLS,                   CKR_DEVICE_ERROR,             6, "TLS connection to KMS failed", "check the endpoint's certificate, its name, and ca_bundle") \
X(TLS_HANDSHAKE,         CKR_DEVICE_ERROR,             6, "TLS connection to KMS broke off before it was secure", "check that the endpoint speaks TLS 1.2 or later, and that no proxy or firewall ends the connection") \
X(REPLY_TOO_LARGE,       CKR_DEVICE_ERROR,             6, "reply is larger than allowed", "check that the endpoint is really KMS") \
X(REPLY_MALFORMED,       CKR_DEVICE_ERROR,             6, "reply of KMS is not valid", "check that the endpoint is really KMS and that no proxy alters replies") \
X(REPLY_OTHER_KEY,       CKR_DEVICE_ERROR,             6, "reply comes from another key than asked", "the result was thrown away; check the endpoint") \
X(REPLY_REGION,          CKR_DEVICE_ERROR,             6, "reply comes from another region than asked", "the result was thrown away; check the endpoint")
/* clang-format on */

#endif
