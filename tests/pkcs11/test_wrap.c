/* Data keys and secrets under a key in KMS: wrapped, unwrapped, refused, and with how many
 * requests.
 */
#include "tests/pkcs11/token.h"

#include <stdio.h>
#include <stdlib.h>

static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE kms_key;

static void pattern(unsigned char *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (unsigned char)(i * 37 + i / 16 + 11);
}

static CK_RV unwrap(CK_KEY_TYPE type, const char *context, unsigned char *wrapped, CK_ULONG len,
                    CK_OBJECT_HANDLE *key)
{
    CK_ATTRIBUTE template = {CKA_KEY_TYPE, &type, sizeof(type)};
    CK_MECHANISM mechanism = token_wrap_mechanism(context);

    return p11->C_UnwrapKey(session, &mechanism, kms_key, wrapped, len, &template, 1, key);
}

static CK_RV decrypt(const char *context, unsigned char *wrapped, CK_ULONG len, unsigned char *out,
                     CK_ULONG *out_len)
{
    CK_MECHANISM mechanism = {CKM_KMS_ENCRYPT, (void *)(uintptr_t)context, strlen(context)};

    assert_ok(p11->C_DecryptInit(session, &mechanism, kms_key));
    return p11->C_Decrypt(session, wrapped, len, out, out_len);
}

static CK_ULONG wrap(CK_OBJECT_HANDLE key, const char *context, unsigned char out[6144])
{
    CK_MECHANISM mechanism = token_wrap_mechanism(context);
    CK_ULONG len = 6144;

    assert_ok(p11->C_WrapKey(session, &mechanism, kms_key, key, out, &len));
    return len;
}

static void expect_log(const char *part)
{
    if (strstr(token_log(), part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", token_log(), part);
}

static void a_key_comes_back_as_it_was(void **state)
{
    unsigned char value[32], wrapped[6144], got[4096];
    CK_OBJECT_HANDLE key, again;
    CK_ULONG len, got_len;

    (void)state;
    pattern(value, sizeof(value));
    for (size_t size = 16; size <= 32; size += 8) {
        key = token_import(session, CKK_AES, value, size);
        len = wrap(key, CONTEXT, wrapped);
        assert_null(memmem(wrapped, len, value, 8));
        assert_ok(unwrap(CKK_AES, CONTEXT, wrapped, len, &again));
        got_len = sizeof(got);
        assert_ok(decrypt(CONTEXT, wrapped, len, got, &got_len));
        assert_int_equal(got_len, size);
        assert_memory_equal(got, value, size);
    }
}

static void a_generated_key_lives_on_in_its_wrapped_form(void **state)
{
    CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE key, again;
    unsigned char wrapped[6144], first[4096], second[4096];
    CK_ULONG len, a, b;

    (void)state;
    for (CK_ULONG size = 0; size <= 40; size++) {
        CK_ATTRIBUTE template = {CKA_VALUE_LEN, &size, sizeof(size)};
        CK_RV rv = p11->C_GenerateKey(session, &generate, &template, 1, &key);
        if (size == 0) {
            assert_rv(rv, CKR_TEMPLATE_INCOMPLETE);
        } else if (size != 16 && size != 24 && size != 32) {
            assert_rv(rv, CKR_KEY_SIZE_RANGE);
        } else {
            assert_ok(rv);
            len = wrap(key, CONTEXT, wrapped);
            a = b = sizeof(first);
            assert_ok(decrypt(CONTEXT, wrapped, len, first, &a));
            assert_int_equal(a, size);
            assert_ok(unwrap(CKK_AES, CONTEXT, wrapped, len, &again));
            len = wrap(again, CONTEXT, wrapped);
            assert_ok(decrypt(CONTEXT, wrapped, len, second, &b));
            assert_memory_equal(first, second, size);
        }
    }
    generate.ulParameterLen = 1;
    generate.pParameter = wrapped;
    assert_rv(p11->C_GenerateKey(session, &generate, NULL, 0, &key), CKR_MECHANISM_PARAM_INVALID);
    generate = (CK_MECHANISM){CKM_DES3_KEY_GEN, NULL, 0};
    assert_rv(p11->C_GenerateKey(session, &generate, NULL, 0, &key), CKR_MECHANISM_INVALID);
}

static void no_other_size_becomes_an_aes_key(void **state)
{
    static const size_t sizes[] = {1, 15, 17, 23, 25, 31, 33, 64, 4096};
    unsigned char value[4096], wrapped[6144];
    CK_OBJECT_HANDLE key;

    (void)state;
    pattern(value, sizeof(value));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        CK_ULONG len = token_wrap_bytes(session, kms_key, value, sizes[i], wrapped);
        assert_rv(unwrap(CKK_AES, CONTEXT, wrapped, len, &key), CKR_WRAPPED_KEY_LEN_RANGE);
    }
}

static void a_generic_secret_may_have_any_size(void **state)
{
    static const size_t sizes[] = {1, 15, 16, 47, 4095, 4096};
    unsigned char value[4096], wrapped[6144], got[4096];

    (void)state;
    pattern(value, sizeof(value));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        CK_OBJECT_HANDLE key = token_import(session, CKK_GENERIC_SECRET, value, sizes[i]);
        CK_ULONG len = wrap(key, CONTEXT, wrapped), got_len = sizeof(got);
        assert_ok(decrypt(CONTEXT, wrapped, len, got, &got_len));
        assert_int_equal(got_len, sizes[i]);
        assert_memory_equal(got, value, sizes[i]);
    }
}

static void the_length_in_the_template_must_be_right(void **state)
{
    unsigned char value[32], wrapped[6144];
    CK_MECHANISM mechanism = token_wrap_mechanism(CONTEXT);
    CK_ULONG length = 32, len;
    CK_ATTRIBUTE template = {CKA_VALUE_LEN, &length, sizeof(length)};
    CK_OBJECT_HANDLE key;

    (void)state;
    pattern(value, sizeof(value));
    len = token_wrap_bytes(session, kms_key, value, 16, wrapped);
    assert_rv(p11->C_UnwrapKey(session, &mechanism, kms_key, wrapped, len, &template, 1, &key),
              CKR_TEMPLATE_INCONSISTENT);
    length = 16;
    assert_ok(p11->C_UnwrapKey(session, &mechanism, kms_key, wrapped, len, &template, 1, &key));
}

static void the_context_binds(void **state)
{
    static const char other[] =
        "{\"dataType\":\"pii\",\"piiType\":\"zqx-value\",\"operationId\":\"1\"}";
    unsigned char value[32], wrapped[6144];
    CK_OBJECT_HANDLE key;
    CK_ULONG len;

    (void)state;
    pattern(value, sizeof(value));
    len = wrap(token_import(session, CKK_AES, value, 32), other, wrapped);
    assert_ok(unwrap(CKK_AES, other, wrapped, len, &key));
    /* The order of the pairs is no part of it. */
    assert_ok(unwrap(CKK_AES,
                     "{\"operationId\":\"1\",\"dataType\":\"pii\",\"piiType\":\"zqx-value\"}",
                     wrapped, len, &key));
    token_log_reset();
    assert_rv(unwrap(CKK_AES, CONTEXT, wrapped, len, &key), CKR_WRAPPED_KEY_INVALID);
    expect_log(
        "kms: C_UnwrapKey: encryption context mismatch or altered ciphertext: sent dataType");
    expect_log("operationId");
    len = token_wrap_bytes(session, kms_key, value, 32, wrapped);
    token_log_reset();
    assert_rv(unwrap(CKK_AES, other, wrapped, len, &key), CKR_WRAPPED_KEY_INVALID);
    expect_log("piiType");
    assert_null(strstr(token_log(), "zqx-value"));
}

static void a_context_that_may_not_be_makes_no_request(void **state)
{
    static const struct {
        const char *context, *line;
    } rows[] = {
        {"{\"dataType\":\"credentials\"}", "lacks a required name"},
        {"{\"operationId\":\"op-1\"}", "lacks a required name"},
        {"{\"dataType\":\"pii\",\"operationId\":\"op-1\"}", "lacks a required name"},
        {"{\"dataType\":\"recipes\",\"operationId\":\"op-1\"}", "unknown dataType"},
        {"{\"dataType\":\"credentials\",\"operationId\":1}", "encryption context is not valid"},
        {"{\"dataType\":\"credentials\"", "encryption context is not valid"},
        {"dataType=credentials", "encryption context is not valid"},
        {"[]", "encryption context is not valid"},
        {" ", "encryption context is not valid"},
        {"{\"aws:x\":\"1\"}", "name in the encryption context is not valid"},
        {"{\"dataType\":\"a\",\"dataType\":\"b\"}", "name is twice"},
    };
    unsigned char value[32], wrapped[6144], out[6144];
    CK_MECHANISM mechanism;
    CK_OBJECT_HANDLE key, aes;
    CK_ULONG len, out_len;

    (void)state;
    pattern(value, sizeof(value));
    aes = token_import(session, CKK_AES, value, 32);
    len = wrap(aes, CONTEXT, wrapped);
    test_server_reset(&token_server);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        token_log_reset();
        mechanism = token_wrap_mechanism(rows[i].context);
        out_len = sizeof(out);
        assert_rv(p11->C_WrapKey(session, &mechanism, kms_key, aes, out, &out_len),
                  CKR_MECHANISM_PARAM_INVALID);
        expect_log("kms: C_WrapKey: ");
        expect_log(rows[i].line);
        assert_rv(unwrap(CKK_AES, rows[i].context, wrapped, len, &key),
                  CKR_MECHANISM_PARAM_INVALID);
        expect_log("kms: C_UnwrapKey: ");
    }
    mechanism = (CK_MECHANISM){CKM_KMS_WRAP, NULL, 10};
    assert_rv(p11->C_WrapKey(session, &mechanism, kms_key, aes, out, &out_len),
              CKR_MECHANISM_PARAM_INVALID);
    mechanism = (CK_MECHANISM){CKM_KMS_WRAP, out, (CK_ULONG)-1};
    assert_rv(p11->C_WrapKey(session, &mechanism, kms_key, aes, out, &out_len),
              CKR_MECHANISM_PARAM_INVALID);
    assert_int_equal(test_server_count(&token_server, "connections"), 1); /* this very question */
}

static void a_context_parameter_of_the_largest_size_is_taken_and_larger_refused(void **state)
{
    static char context[64 * 1024];
    unsigned char value[32], out[6144];
    CK_MECHANISM mechanism;
    CK_OBJECT_HANDLE aes;
    CK_ULONG len;

    (void)state;
    pattern(value, sizeof(value));
    aes = token_import(session, CKK_AES, value, 32);
    for (int over = 0; over < 2; over++) {
        /* names and values together: 8 KiB, and one more */
        const int filler = 8192 - (int)strlen("dataTypecredentialsoperationId1filler") + over;
        snprintf(context, sizeof(context),
                 "{\"dataType\":\"credentials\",\"operationId\":\"1\",\"filler\":\"%0*d\"}", filler,
                 0);
        mechanism = token_wrap_mechanism(context);
        len = sizeof(out);
        assert_rv(p11->C_WrapKey(session, &mechanism, kms_key, aes, out, &len),
                  over ? CKR_MECHANISM_PARAM_INVALID : CKR_OK);
    }
}

static void reopen(const char *conf)
{
    token_close();
    token_configure(conf);
    session = token_open();
    kms_key = token_kms_key(session);
}

static void without_a_parameter_the_configured_context_applies_or_nothing_does(void **state)
{
    unsigned char value[32], wrapped[6144], out[6144];
    CK_MECHANISM mechanism = token_wrap_mechanism(NULL);
    CK_OBJECT_HANDLE key, aes;
    CK_ULONG len;

    (void)state;
    pattern(value, sizeof(value));
    aes = token_import(session, CKK_AES, value, 32);
    test_server_reset(&token_server);
    token_log_reset();
    len = sizeof(out);
    assert_rv(p11->C_WrapKey(session, &mechanism, kms_key, aes, out, &len),
              CKR_MECHANISM_PARAM_INVALID);
    expect_log("kms: C_WrapKey: encryption context is missing");
    assert_int_equal(test_server_count(&token_server, "Encrypt"), 0);

    reopen("[context]\ndataType = credentials\noperationId = op-1\n");
    aes = token_import(session, CKK_AES, value, 32);
    len = wrap(aes, NULL, wrapped);
    assert_ok(unwrap(CKK_AES, CONTEXT, wrapped, len, &key));
    assert_ok(unwrap(CKK_AES, NULL, wrapped, len, &key));
    /* A parameter replaces the default, it does not add to it. */
    len = sizeof(out);
    mechanism = token_wrap_mechanism("{\"dataType\":\"credentials\"}");
    assert_rv(p11->C_WrapKey(session, &mechanism, kms_key, aes, out, &len),
              CKR_MECHANISM_PARAM_INVALID);
}

static void altered_truncated_and_foreign_blobs_are_refused(void **state)
{
    unsigned char value[32], wrapped[6144];
    CK_OBJECT_HANDLE key;
    CK_ULONG len;

    (void)state;
    pattern(value, sizeof(value));
    len = token_wrap_bytes(session, kms_key, value, 32, wrapped);
    for (CK_ULONG at = 0; at < len; at += 5) {
        wrapped[at] ^= 0x40;
        token_log_reset();
        assert_rv(unwrap(CKK_AES, CONTEXT, wrapped, len, &key), CKR_WRAPPED_KEY_INVALID);
        /* KMS finds the key's name inside the blob: altered there it is another key's. */
        if (strstr(token_log(), "ciphertext belongs to another key") == NULL)
            expect_log("encryption context mismatch or altered ciphertext");
        wrapped[at] ^= 0x40;
    }
    for (CK_ULONG cut = 1; cut < len; cut += 13)
        assert_rv(unwrap(CKK_AES, CONTEXT, wrapped, cut, &key), CKR_WRAPPED_KEY_INVALID);
    assert_rv(unwrap(CKK_AES, CONTEXT, wrapped, 0, &key), CKR_WRAPPED_KEY_LEN_RANGE);
    assert_rv(unwrap(CKK_AES, CONTEXT, wrapped, 6145, &key), CKR_WRAPPED_KEY_LEN_RANGE);
    assert_ok(unwrap(CKK_AES, CONTEXT, wrapped, len, &key));
}

static void the_blob_of_another_key_is_refused(void **state)
{
    unsigned char value[32], wrapped[6144];
    CK_OBJECT_HANDLE key;
    CK_ULONG len;

    (void)state;
    pattern(value, sizeof(value));
    setenv("KMS_KEY_ALIAS", "alias/other", 1);
    token_close();
    session = token_open();
    len = token_wrap_bytes(session, token_find(session, "other"), value, 32, wrapped);
    setenv("KMS_KEY_ALIAS", "alias/matbakh-ai", 1);
    reopen("");
    token_log_reset();
    assert_rv(unwrap(CKK_AES, CONTEXT, wrapped, len, &key), CKR_WRAPPED_KEY_INVALID);
    expect_log("ciphertext belongs to another key");
}

static void each_operation_is_one_request(void **state)
{
    unsigned char value[32], wrapped[6144], out[4096];
    CK_OBJECT_HANDLE key, aes;
    CK_ULONG len, out_len;

    (void)state;
    pattern(value, sizeof(value));
    aes = token_import(session, CKK_AES, value, 32);
    test_server_reset(&token_server);
    for (int i = 0; i < 10; i++) {
        len = wrap(aes, CONTEXT, wrapped);
        assert_ok(unwrap(CKK_AES, CONTEXT, wrapped, len, &key));
        out_len = sizeof(out);
        assert_ok(decrypt(CONTEXT, wrapped, len, out, &out_len));
    }
    assert_int_equal(test_server_count(&token_server, "Encrypt"), 10);
    assert_int_equal(test_server_count(&token_server, "Decrypt"), 20);
    assert_int_equal(test_server_count(&token_server, "DescribeKey"), 0);
}

static void a_size_query_costs_nothing_and_a_short_buffer_tells_the_size(void **state)
{
    unsigned char value[32], out[6144];
    CK_MECHANISM mechanism = token_wrap_mechanism(CONTEXT);
    CK_OBJECT_HANDLE aes;
    CK_ULONG len, needed;

    (void)state;
    pattern(value, sizeof(value));
    aes = token_import(session, CKK_AES, value, 32);
    test_server_reset(&token_server);
    assert_ok(p11->C_WrapKey(session, &mechanism, kms_key, aes, NULL, &len));
    assert_int_equal(len, 6144);
    assert_int_equal(test_server_count(&token_server, "Encrypt"), 0);
    needed = 10;
    assert_rv(p11->C_WrapKey(session, &mechanism, kms_key, aes, out, &needed),
              CKR_BUFFER_TOO_SMALL);
    assert_true(needed > 32 && needed < 6144);
    assert_ok(p11->C_WrapKey(session, &mechanism, kms_key, aes, out, &needed));
}

static void the_kms_key_itself_is_never_wrapped(void **state)
{
    CK_MECHANISM mechanism = token_wrap_mechanism(CONTEXT);
    unsigned char out[6144];
    CK_ULONG len = sizeof(out);

    (void)state;
    token_log_reset();
    assert_rv(p11->C_WrapKey(session, &mechanism, kms_key, kms_key, out, &len),
              CKR_KEY_UNEXTRACTABLE);
    expect_log("kms: C_WrapKey: key material of a KMS key cannot be exported: arn:aws:kms:");
}

static void only_kms_keys_wrap(void **state)
{
    unsigned char value[32], out[6144];
    CK_MECHANISM mechanism = token_wrap_mechanism(CONTEXT);
    CK_OBJECT_HANDLE aes, key;
    CK_ULONG len = sizeof(out);

    (void)state;
    pattern(value, sizeof(value));
    aes = token_import(session, CKK_AES, value, 32);
    assert_rv(p11->C_WrapKey(session, &mechanism, aes, aes, out, &len),
              CKR_WRAPPING_KEY_TYPE_INCONSISTENT);
    assert_rv(p11->C_UnwrapKey(session, &mechanism, aes, out, 32, NULL, 0, &key),
              CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT);
    assert_rv(p11->C_WrapKey(session, &mechanism, kms_key, 777, out, &len), CKR_KEY_HANDLE_INVALID);
    mechanism = (CK_MECHANISM){CKM_AES_KEY_WRAP, NULL, 0}; /* not mapped */
    assert_rv(p11->C_WrapKey(session, &mechanism, kms_key, aes, out, &len), CKR_MECHANISM_INVALID);
    mechanism.mechanism = CKM_AES_GCM;
    assert_rv(p11->C_WrapKey(session, &mechanism, kms_key, aes, out, &len), CKR_MECHANISM_INVALID);
}

static void mapped_standard_mechanisms_wrap_with_the_configured_context(void **state)
{
    static const CK_MECHANISM_TYPE types[] = {CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD};
    unsigned char value[32], wrapped[6144];
    CK_OBJECT_HANDLE aes, key;
    CK_ULONG len;

    (void)state;
    reopen("map_standard_wrap = yes\n[context]\ndataType = credentials\noperationId = op-1\n");
    pattern(value, sizeof(value));
    aes = token_import(session, CKK_AES, value, 32);
    for (int i = 0; i < 2; i++) {
        CK_MECHANISM mechanism = {types[i], NULL, 0};
        len = sizeof(wrapped);
        assert_ok(p11->C_WrapKey(session, &mechanism, kms_key, aes, wrapped, &len));
        assert_ok(p11->C_UnwrapKey(session, &mechanism, kms_key, wrapped, len, NULL, 0, &key));
        assert_ok(unwrap(CKK_AES, CONTEXT, wrapped, len, &key));
        mechanism.pParameter = value; /* an IV, which KMS has no use for */
        mechanism.ulParameterLen = 8;
        assert_rv(p11->C_WrapKey(session, &mechanism, kms_key, aes, wrapped, &len),
                  CKR_MECHANISM_PARAM_INVALID);
    }
}

static void kms_encrypts_up_to_4096_bytes_at_once_and_in_parts(void **state)
{
    static const size_t sizes[] = {1, 17, 4095, 4096};
    CK_MECHANISM mechanism = {CKM_KMS_ENCRYPT, (void *)(uintptr_t)CONTEXT, strlen(CONTEXT)};
    unsigned char plain[4097], sealed[6144], got[4096];
    CK_ULONG len, n;

    (void)state;
    pattern(plain, sizeof(plain));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        len = token_wrap_bytes(session, kms_key, plain, sizes[i], sealed);
        assert_ok(p11->C_DecryptInit(session, &mechanism, kms_key));
        for (CK_ULONG at = 0; at < len; at += 1000) {
            n = sizeof(got);
            assert_ok(p11->C_DecryptUpdate(session, sealed + at, len - at < 1000 ? len - at : 1000,
                                           got, &n));
            assert_int_equal(n, 0);
        }
        n = sizeof(got);
        assert_ok(p11->C_DecryptFinal(session, got, &n));
        assert_int_equal(n, sizes[i]);
        assert_memory_equal(got, plain, n);

        assert_ok(p11->C_EncryptInit(session, &mechanism, kms_key));
        for (size_t at = 0; at < sizes[i]; at += 999) {
            n = sizeof(sealed);
            assert_ok(p11->C_EncryptUpdate(session, plain + at,
                                           sizes[i] - at < 999 ? sizes[i] - at : 999, sealed, &n));
            assert_int_equal(n, 0);
        }
        len = sizeof(sealed);
        assert_ok(p11->C_EncryptFinal(session, sealed, &len));
        n = sizeof(got);
        assert_ok(decrypt(CONTEXT, sealed, len, got, &n));
        assert_int_equal(n, sizes[i]);
        assert_memory_equal(got, plain, n);
    }
}

static void more_than_4096_bytes_are_refused_without_a_request(void **state)
{
    CK_MECHANISM mechanism = {CKM_KMS_ENCRYPT, (void *)(uintptr_t)CONTEXT, strlen(CONTEXT)};
    unsigned char plain[4097] = {0}, out[6144];
    CK_ULONG len = sizeof(out);

    (void)state;
    test_server_reset(&token_server);
    token_log_reset();
    assert_ok(p11->C_EncryptInit(session, &mechanism, kms_key));
    assert_rv(p11->C_Encrypt(session, plain, 4097, out, &len), CKR_DATA_LEN_RANGE);
    expect_log("kms: C_Encrypt: plaintext is larger than 4096 bytes, the limit of KMS: 4097 bytes; "
               "use envelope encryption");
    token_log_reset();
    assert_ok(p11->C_EncryptInit(session, &mechanism, kms_key));
    assert_ok(p11->C_EncryptUpdate(session, plain, 4096, out, &len));
    len = sizeof(out);
    assert_rv(p11->C_EncryptUpdate(session, plain, 1, out, &len), CKR_DATA_LEN_RANGE);
    expect_log("kms: C_EncryptUpdate: plaintext is larger than 4096 bytes");
    assert_rv(p11->C_EncryptFinal(session, out, &len), CKR_OPERATION_NOT_INITIALIZED);
    assert_ok(p11->C_EncryptInit(session, &mechanism, kms_key));
    assert_rv(p11->C_Encrypt(session, plain, 0, out, &len), CKR_DATA_LEN_RANGE);
    assert_ok(p11->C_DecryptInit(session, &mechanism, kms_key));
    assert_ok(p11->C_DecryptUpdate(session, out, 6144, plain, &len));
    len = sizeof(plain);
    assert_rv(p11->C_DecryptUpdate(session, out, 1, plain, &len), CKR_ENCRYPTED_DATA_LEN_RANGE);
    assert_int_equal(test_server_count(&token_server, "Encrypt"), 0);
    assert_int_equal(test_server_count(&token_server, "Decrypt"), 0);
}

static void a_result_that_did_not_fit_waits_and_costs_no_second_request(void **state)
{
    CK_MECHANISM mechanism = {CKM_KMS_ENCRYPT, (void *)(uintptr_t)CONTEXT, strlen(CONTEXT)};
    unsigned char plain[100], sealed[6144], got[100];
    CK_ULONG len, needed;

    (void)state;
    pattern(plain, sizeof(plain));
    test_server_reset(&token_server);
    assert_ok(p11->C_EncryptInit(session, &mechanism, kms_key));
    assert_ok(p11->C_Encrypt(session, plain, sizeof(plain), NULL, &len));
    assert_int_equal(len, 6144);
    for (needed = 0; p11->C_Encrypt(session, plain, 100, sealed, &needed) == CKR_BUFFER_TOO_SMALL;)
        assert_true(needed > 100);
    assert_int_equal(test_server_count(&token_server, "Encrypt"), 1);

    for (int parts = 0; parts < 2; parts++) {
        CK_RV (*finish)(CK_SESSION_HANDLE, unsigned char *, CK_ULONG *) = p11->C_DecryptFinal;
        assert_ok(p11->C_DecryptInit(session, &mechanism, kms_key));
        len = 0;
        if (parts)
            assert_ok(p11->C_DecryptUpdate(session, sealed, needed, got, &len));
        for (len = 0;;) {
            CK_RV rv = parts ? finish(session, got, &len)
                             : p11->C_Decrypt(session, sealed, needed, got, &len);
            if (rv == CKR_OK)
                break;
            assert_rv(rv, CKR_BUFFER_TOO_SMALL);
            assert_int_equal(len, 100);
        }
        assert_memory_equal(got, plain, 100);
    }
    assert_int_equal(test_server_count(&token_server, "Decrypt"), 2);
}

static int open_session(void **state)
{
    (void)state;
    token_configure("");
    session = token_open();
    kms_key = token_kms_key(session);
    return 0;
}

static int close_session(void **state)
{
    (void)state;
    p11->C_Finalize(NULL);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_session, close_session)

int main(void)
{
    static const char *const options[] = {"--seed-key", "alias/other", NULL};
    const struct CMUnitTest tests[] = {
        TEST(a_key_comes_back_as_it_was),
        TEST(a_generated_key_lives_on_in_its_wrapped_form),
        TEST(no_other_size_becomes_an_aes_key),
        TEST(a_generic_secret_may_have_any_size),
        TEST(the_length_in_the_template_must_be_right),
        TEST(the_context_binds),
        TEST(a_context_that_may_not_be_makes_no_request),
        TEST(a_context_parameter_of_the_largest_size_is_taken_and_larger_refused),
        TEST(without_a_parameter_the_configured_context_applies_or_nothing_does),
        TEST(altered_truncated_and_foreign_blobs_are_refused),
        TEST(the_blob_of_another_key_is_refused),
        TEST(each_operation_is_one_request),
        TEST(a_size_query_costs_nothing_and_a_short_buffer_tells_the_size),
        TEST(the_kms_key_itself_is_never_wrapped),
        TEST(only_kms_keys_wrap),
        TEST(mapped_standard_mechanisms_wrap_with_the_configured_context),
        TEST(kms_encrypts_up_to_4096_bytes_at_once_and_in_parts),
        TEST(more_than_4096_bytes_are_refused_without_a_request),
        TEST(a_result_that_did_not_fit_waits_and_costs_no_second_request),
    };

    token_server_options = options;
    return cmocka_run_group_tests(tests, token_set_up, token_tear_down);
}
