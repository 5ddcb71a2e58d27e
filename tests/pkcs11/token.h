/* The built module, loaded as an application loads it, and short ways for what many tests do. All
 * of it goes by the standard's functions. */
#ifndef KMS_TESTS_TOKEN_H
#define KMS_TESTS_TOKEN_H

#include "tests/integration/server.h"
#include "tests/unit/unit.h"

#include <p11-kit/pkcs11.h>

#include "include/kms/kms_pkcs11.h"

#define SLOT    1UL
#define CONTEXT "{\"dataType\":\"credentials\",\"operationId\":\"op-1\"}"

extern const char *const token_path; /* of the module */
extern CK_FUNCTION_LIST *p11;        /* its functions */

/* Loads the module; afterwards its functions are in p11. */
void token_load(void);

/* Makes text the configuration of the next C_Initialize; NULL: none. */
void token_configure(const char *text);

/* C_Initialize and a writable session; C_Finalize. */
CK_SESSION_HANDLE token_open(void);
void token_close(void);

/* The next fails the test unless there is exactly one object of that label. */
CK_OBJECT_HANDLE token_find(CK_SESSION_HANDLE session, const char *label);
CK_ULONG token_count(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count);

/* The seeded KMS key. */
CK_OBJECT_HANDLE token_kms_key(CK_SESSION_HANDLE session);

/* CKM_KMS_WRAP with that context; NULL: without a parameter. */
CK_MECHANISM token_wrap_mechanism(const char *context);

/* A key with that value, by way of KMS: wrapped there and unwrapped by the module. type CKK_AES or
 * CKK_GENERIC_SECRET. */
CK_OBJECT_HANDLE token_import(CK_SESSION_HANDLE session, CK_KEY_TYPE type, const void *value,
                              size_t len);

/* The wrapped form of bytes, made with CKM_KMS_ENCRYPT and CONTEXT; returns its length. */
CK_ULONG token_wrap_bytes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, const void *bytes,
                          size_t len, unsigned char out[6144]);

/* The module's error lines since token_log_reset. */
void token_log_reset(void);
const char *token_log(void);

/* Group fixtures: a server (options as in server.h, to be set before), log and module. */
extern test_server token_server;
extern const char *const *token_server_options;
int token_set_up(void **state);
int token_tear_down(void **state);

/* The same over HTTPS, with a certificate of the server's own that AWS_CA_BUNDLE trusts. */
int token_set_up_tls(void **state);
int token_tear_down_tls(void **state);
extern const char *const token_certificate;

#define assert_rv(call, expected) assert_int_equal(call, expected)
#define assert_ok(call)           assert_int_equal(call, CKR_OK)

#endif
