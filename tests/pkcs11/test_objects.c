/* What objects say of themselves, how they are found, and what templates may ask for. */
#include "tests/integration/wire.h"
#include "tests/pkcs11/token.h"

#include <stdio.h>
#include <stdlib.h>

#ifndef CKA_UNIQUE_ID
#define CKA_UNIQUE_ID 0x4UL
#endif

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY, certificate = CKO_CERTIFICATE;
static CK_KEY_TYPE aes = CKK_AES, generic = CKK_GENERIC_SECRET, rsa = CKK_RSA;

static CK_BBOOL flag_of(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL value = 2;
    CK_ATTRIBUTE attribute = {type, &value, sizeof(value)};

    assert_ok(p11->C_GetAttributeValue(session, object, &attribute, 1));
    assert_int_equal(attribute.ulValueLen, 1);
    return value;
}

static CK_ULONG number_of(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                          CK_ATTRIBUTE_TYPE type)
{
    CK_ULONG value = 0;
    CK_ATTRIBUTE attribute = {type, &value, sizeof(value)};

    assert_ok(p11->C_GetAttributeValue(session, object, &attribute, 1));
    assert_int_equal(attribute.ulValueLen, sizeof(value));
    return value;
}

static CK_ULONG bytes_of(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                         char out[256])
{
    CK_ATTRIBUTE attribute = {type, out, 256};

    memset(out, 0, 256);
    assert_ok(p11->C_GetAttributeValue(session, object, &attribute, 1));
    return attribute.ulValueLen;
}

static CK_RV generate_with(CK_SESSION_HANDLE session, CK_ATTRIBUTE_TYPE type, void *value,
                           CK_ULONG len, CK_OBJECT_HANDLE *key)
{
    static CK_ULONG size = 32;
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &size, sizeof(size)}, {type, value, len}};

    return p11->C_GenerateKey(session, &mechanism, template, value != NULL || len != 0 ? 2 : 1,
                              key);
}

static CK_OBJECT_HANDLE generate(CK_SESSION_HANDLE session)
{
    CK_OBJECT_HANDLE key;

    assert_ok(generate_with(session, 0, NULL, 0, &key));
    return key;
}

/* A call of KMS by the administrator, who is not the module. */
static void administer(const char *operation, const char *body, const char *path, char *out,
                       size_t size)
{
    const wire_request request = {.operation = operation, .body = body};

    if (path != NULL)
        wire_get(&token_server, &request, path, out, size);
    else
        wire_expect(&token_server, &request, "");
}

static void the_kms_key_says_what_it_is(void **state)
{
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        CK_BBOOL value;
    } flags[] = {
        {CKA_TOKEN, CK_TRUE},
        {CKA_PRIVATE, CK_FALSE},
        {CKA_SENSITIVE, CK_TRUE},
        {CKA_ALWAYS_SENSITIVE, CK_TRUE},
        {CKA_EXTRACTABLE, CK_FALSE},
        {CKA_NEVER_EXTRACTABLE, CK_TRUE},
        {CKA_ENCRYPT, CK_TRUE},
        {CKA_DECRYPT, CK_TRUE},
        {CKA_WRAP, CK_TRUE},
        {CKA_UNWRAP, CK_TRUE},
        {CKA_LOCAL, CK_FALSE},
        {CKA_SIGN, CK_FALSE},
        {CKA_VERIFY, CK_FALSE},
        {CKA_DERIVE, CK_FALSE},
        {CKA_MODIFIABLE, CK_FALSE},
        {CKA_COPYABLE, CK_FALSE},
        {CKA_DESTROYABLE, CK_FALSE},
        {CKA_TRUSTED, CK_FALSE},
        {CKA_WRAP_WITH_TRUSTED, CK_FALSE},
    };
    CK_SESSION_HANDLE session = token_open();
    CK_OBJECT_HANDLE key = token_kms_key(session);
    char arn[256], asked[256], text[256];

    (void)state;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        assert_int_equal(flag_of(session, key, flags[i].type), flags[i].value);
    assert_int_equal(number_of(session, key, CKA_CLASS), CKO_SECRET_KEY);
    assert_int_equal(number_of(session, key, CKA_KEY_TYPE), CKK_AES);
    assert_int_equal(number_of(session, key, CKA_VALUE_LEN), 32);
    assert_int_equal(number_of(session, key, CKA_KEY_GEN_MECHANISM), CK_UNAVAILABLE_INFORMATION);
    assert_int_equal(bytes_of(session, key, CKA_START_DATE, text), 0);
    assert_int_equal(bytes_of(session, key, CKA_LABEL, text), strlen("matbakh-ai"));
    assert_string_equal(text, "matbakh-ai");

    administer("DescribeKey", "{\"KeyId\":\"alias/matbakh-ai\"}", "KeyMetadata.Arn", asked,
               sizeof(asked));
    bytes_of(session, key, CKA_UNIQUE_ID, arn);
    assert_string_equal(arn, asked);
    assert_int_equal(bytes_of(session, key, CKA_ID, text), 16);
    const char *at = strrchr(arn, '/') + 1;
    for (int i = 0; i < 16; i++, at += 2) {
        at += *at == '-';
        const char digits[3] = {at[0], at[1], '\0'};
        assert_int_equal((unsigned char)text[i], strtoul(digits, NULL, 16));
    }
    token_close();
}

static void one_attribute_that_cannot_be_read_does_not_stop_the_others(void **state)
{
    CK_SESSION_HANDLE session = token_open();
    CK_OBJECT_HANDLE key = token_kms_key(session);
    unsigned char value[64], label[64], small[3];
    CK_ULONG number = 0;
    CK_BBOOL flag = 2;
    CK_ATTRIBUTE attributes[] = {
        {CKA_VALUE, value, sizeof(value)},
        {CKA_CLASS, &number, sizeof(number)},
        {CKA_MODULUS, value, sizeof(value)},
        {CKA_LABEL, label, sizeof(label)},
        {CKA_ID, small, sizeof(small)},
        {CKA_WRAP, &flag, sizeof(flag)},
        {CKA_LABEL, NULL, 0},
    };
    CK_RV rv = p11->C_GetAttributeValue(session, key, attributes, 7);

    (void)state;
    assert_true(rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_ATTRIBUTE_TYPE_INVALID ||
                rv == CKR_BUFFER_TOO_SMALL);
    assert_true(attributes[0].ulValueLen == CK_UNAVAILABLE_INFORMATION);
    assert_int_equal(number, CKO_SECRET_KEY);
    assert_true(attributes[2].ulValueLen == CK_UNAVAILABLE_INFORMATION);
    assert_int_equal(attributes[3].ulValueLen, 10);
    assert_memory_equal(label, "matbakh-ai", 10);
    assert_true(attributes[4].ulValueLen == CK_UNAVAILABLE_INFORMATION);
    assert_int_equal(flag, CK_TRUE);
    assert_int_equal(attributes[6].ulValueLen, 10);
    assert_rv(p11->C_GetAttributeValue(session, key, &attributes[0], 1), CKR_ATTRIBUTE_SENSITIVE);
    assert_rv(p11->C_GetAttributeValue(session, key, &attributes[2], 1),
              CKR_ATTRIBUTE_TYPE_INVALID);
    attributes[4].ulValueLen = sizeof(small);
    assert_rv(p11->C_GetAttributeValue(session, key, &attributes[4], 1), CKR_BUFFER_TOO_SMALL);
    attributes[0] = (CK_ATTRIBUTE){CKA_VALUE, NULL, 0}; /* its size is no secret, but is not told */
    assert_rv(p11->C_GetAttributeValue(session, key, &attributes[0], 1), CKR_ATTRIBUTE_SENSITIVE);
    token_close();
}

static void data_keys_say_where_they_come_from(void **state)
{
    unsigned char value[16] = {1};
    CK_SESSION_HANDLE session = token_open();
    CK_OBJECT_HANDLE made = generate(session);
    CK_OBJECT_HANDLE got = token_import(session, CKK_AES, value, sizeof(value));
    CK_OBJECT_HANDLE secret = token_import(session, CKK_GENERIC_SECRET, value, 5);

    (void)state;
    assert_int_equal(flag_of(session, made, CKA_LOCAL), CK_TRUE);
    assert_int_equal(flag_of(session, made, CKA_ALWAYS_SENSITIVE), CK_TRUE);
    assert_int_equal(flag_of(session, made, CKA_NEVER_EXTRACTABLE), CK_TRUE);
    assert_int_equal(number_of(session, made, CKA_KEY_GEN_MECHANISM), CKM_AES_KEY_GEN);
    assert_int_equal(number_of(session, made, CKA_VALUE_LEN), 32);
    /* What was outside once may have been seen. */
    assert_int_equal(flag_of(session, got, CKA_LOCAL), CK_FALSE);
    assert_int_equal(flag_of(session, got, CKA_ALWAYS_SENSITIVE), CK_FALSE);
    assert_int_equal(flag_of(session, got, CKA_NEVER_EXTRACTABLE), CK_FALSE);
    assert_int_equal(flag_of(session, got, CKA_SENSITIVE), CK_TRUE);
    assert_int_equal(flag_of(session, got, CKA_EXTRACTABLE), CK_FALSE);
    assert_int_equal(flag_of(session, got, CKA_TOKEN), CK_FALSE);
    assert_int_equal(number_of(session, got, CKA_VALUE_LEN), 16);
    assert_int_equal(number_of(session, secret, CKA_KEY_TYPE), CKK_GENERIC_SECRET);
    assert_int_equal(flag_of(session, secret, CKA_ENCRYPT), CK_FALSE);
    token_close();
}

static void templates_ask_for_no_more_than_the_settings_allow(void **state)
{
    static CK_BBOOL strange = 7;
    static CK_ULONG eight = 8;
    static char text[300] = "label";
    /* clang-format off */
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        void *value;
        CK_ULONG len;
        CK_RV by_default, allowed; /* allowed: allow_extractable = yes, token_objects = memory */
    } rows[] = {
        {CKA_CLASS,             &secret_key,  sizeof(secret_key),  CKR_OK, CKR_OK},
        {CKA_CLASS,             &certificate, sizeof(certificate), CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT},
        {CKA_CLASS,             &secret_key,  1, CKR_ATTRIBUTE_VALUE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID},
        {CKA_CLASS,             NULL, sizeof(secret_key), CKR_ATTRIBUTE_VALUE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID},
        {CKA_KEY_TYPE,          &aes,     sizeof(aes), CKR_OK, CKR_OK},
        {CKA_KEY_TYPE,          &generic, sizeof(generic), CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT},
        {CKA_KEY_TYPE,          &rsa,     sizeof(rsa), CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT},
        {CKA_LABEL,             text, 5, CKR_OK, CKR_OK},
        {CKA_LABEL,             text, 256, CKR_OK, CKR_OK},
        {CKA_LABEL,             text, 257, CKR_ATTRIBUTE_VALUE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID},
        {CKA_LABEL,             NULL, 5, CKR_ATTRIBUTE_VALUE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID},
        {CKA_LABEL,             text, (CK_ULONG)-1, CKR_ATTRIBUTE_VALUE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID},
        {CKA_ID,                text, 128, CKR_OK, CKR_OK},
        {CKA_ID,                text, 129, CKR_ATTRIBUTE_VALUE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID},
        {CKA_TOKEN,             &no,  1, CKR_OK, CKR_OK},
        {CKA_TOKEN,             &yes, 1, CKR_TEMPLATE_INCONSISTENT, CKR_OK},
        {CKA_TOKEN,             &strange, 1, CKR_ATTRIBUTE_VALUE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID},
        {CKA_TOKEN,             &eight, 8, CKR_ATTRIBUTE_VALUE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID},
        {CKA_PRIVATE,           &yes, 1, CKR_OK, CKR_OK},
        {CKA_SENSITIVE,         &yes, 1, CKR_OK, CKR_OK},
        {CKA_SENSITIVE,         &no,  1, CKR_TEMPLATE_INCONSISTENT, CKR_OK},
        {CKA_EXTRACTABLE,       &yes, 1, CKR_TEMPLATE_INCONSISTENT, CKR_OK},
        {CKA_EXTRACTABLE,       &no,  1, CKR_OK, CKR_OK},
        {CKA_ENCRYPT,           &no,  1, CKR_OK, CKR_OK},
        {CKA_DECRYPT,           &yes, 1, CKR_OK, CKR_OK},
        {CKA_WRAP,              &yes, 1, CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT},
        {CKA_WRAP,              &no,  1, CKR_OK, CKR_OK},
        {CKA_UNWRAP,            &yes, 1, CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT},
        {CKA_SIGN,              &yes, 1, CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT},
        {CKA_SIGN,              &no,  1, CKR_OK, CKR_OK},
        {CKA_VERIFY,            &yes, 1, CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT},
        {CKA_DERIVE,            &yes, 1, CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT},
        {CKA_COPYABLE,          &yes, 1, CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT},
        {CKA_MODIFIABLE,        &yes, 1, CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT},
        {CKA_TRUSTED,           &yes, 1, CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT},
        {CKA_WRAP_WITH_TRUSTED, &yes, 1, CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT},
        {CKA_VALUE,             text, 32, CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_READ_ONLY},
        {CKA_LOCAL,             &yes, 1, CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_READ_ONLY},
        {CKA_ALWAYS_SENSITIVE,  &yes, 1, CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_READ_ONLY},
        {CKA_NEVER_EXTRACTABLE, &no,  1, CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_READ_ONLY},
        {CKA_KEY_GEN_MECHANISM, &aes, 8, CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_READ_ONLY},
        {CKA_UNIQUE_ID,         text, 5, CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_READ_ONLY},
        {CKA_MODULUS,           text, 5, CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_TYPE_INVALID},
        {CKA_VALUE_LEN,         &eight, 8, CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT}, /* twice */
    };
    /* clang-format on */
    static const char *const settings[] = {"", "allow_extractable = yes\ntoken_objects = memory\n"};
    CK_OBJECT_HANDLE key;

    (void)state;
    for (int allowed = 0; allowed < 2; allowed++) {
        token_configure(settings[allowed]);
        CK_SESSION_HANDLE session = token_open();
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            CK_RV expected = allowed ? rows[i].allowed : rows[i].by_default;
            CK_RV rv = generate_with(session, rows[i].type, rows[i].value, rows[i].len, &key);
            if (rv != expected)
                fail_msg("row %zu, attribute 0x%lx, allowed %d: 0x%lx instead of 0x%lx", i,
                         rows[i].type, allowed, rv, expected);
        }
        token_close();
    }
    token_configure("");
}

static void what_a_setting_forbids_names_the_setting_in_the_log(void **state)
{
    CK_SESSION_HANDLE session = token_open();
    CK_OBJECT_HANDLE key;

    (void)state;
    token_log_reset();
    assert_rv(generate_with(session, CKA_TOKEN, &yes, 1, &key), CKR_TEMPLATE_INCONSISTENT);
    assert_non_null(strstr(token_log(), "kms: C_GenerateKey: template asks for what a setting "
                                        "forbids: CKA_TOKEN needs token_objects = memory"));
    assert_rv(generate_with(session, CKA_EXTRACTABLE, &yes, 1, &key), CKR_TEMPLATE_INCONSISTENT);
    assert_non_null(strstr(token_log(), "CKA_EXTRACTABLE needs allow_extractable = yes"));
    token_close();
}

static void only_an_extractable_key_that_is_not_sensitive_shows_its_value(void **state)
{
    CK_SESSION_HANDLE session;
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG size = 32;

    (void)state;
    token_configure("allow_extractable = yes\n");
    session = token_open();
    for (int bits = 0; bits < 4; bits++) {
        CK_BBOOL sensitive = (CK_BBOOL)(bits & 1), extractable = (CK_BBOOL)(bits >> 1);
        CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &size, sizeof(size)},
                                   {CKA_SENSITIVE, &sensitive, 1},
                                   {CKA_EXTRACTABLE, &extractable, 1}};
        unsigned char value[32];
        CK_ATTRIBUTE read = {CKA_VALUE, value, sizeof(value)};
        CK_OBJECT_HANDLE key;
        assert_ok(p11->C_GenerateKey(session, &mechanism, template, 3, &key));
        assert_rv(p11->C_GetAttributeValue(session, key, &read, 1),
                  bits == 2 ? CKR_OK : CKR_ATTRIBUTE_SENSITIVE);
        assert_int_equal(flag_of(session, key, CKA_ALWAYS_SENSITIVE), sensitive);
        assert_int_equal(flag_of(session, key, CKA_NEVER_EXTRACTABLE), !extractable);
        if (bits ==
            2) { /* the value is a template's attribute, but only of the one that shows it */
            CK_ATTRIBUTE find = {CKA_VALUE, value, sizeof(value)};
            assert_int_equal(token_count(session, &find, 1), 1);
        }
    }
    token_close();
    token_configure("");
}

static void a_token_object_needs_a_writable_session_and_outlives_it(void **state)
{
    CK_ATTRIBUTE find = {CKA_LABEL, (void *)(uintptr_t) "mine", 4};
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG size = 32;
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &size, sizeof(size)},
                               {CKA_TOKEN, &yes, 1},
                               {CKA_LABEL, (void *)(uintptr_t) "mine", 4}};
    CK_SESSION_HANDLE session, reader, writer;
    CK_OBJECT_HANDLE key;

    (void)state;
    token_configure("token_objects = memory\n");
    session = token_open();
    assert_ok(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &reader));
    assert_ok(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &writer));
    assert_rv(p11->C_GenerateKey(reader, &mechanism, template, 3, &key), CKR_SESSION_READ_ONLY);
    assert_ok(p11->C_GenerateKey(writer, &mechanism, template, 3, &key));
    assert_ok(p11->C_CloseSession(writer));
    assert_int_equal(token_count(session, &find, 1), 1);
    assert_rv(p11->C_DestroyObject(reader, key), CKR_SESSION_READ_ONLY);
    assert_ok(p11->C_DestroyObject(session, key));
    assert_int_equal(token_count(session, &find, 1), 0);
    assert_ok(p11->C_GenerateKey(session, &mechanism, template, 3, &key));
    token_close();
    session = token_open(); /* in memory: gone with C_Finalize */
    assert_int_equal(token_count(session, &find, 1), 0);
    token_close();
    token_configure("");
}

static void a_session_object_is_seen_by_all_and_dies_with_its_session(void **state)
{
    CK_SESSION_HANDLE session = token_open(), owner;
    CK_OBJECT_HANDLE key;
    CK_ATTRIBUTE find = {CKA_TOKEN, &no, 1};

    (void)state;
    assert_ok(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &owner));
    key = generate(owner);
    assert_int_equal(token_count(session, &find, 1), 1);
    assert_int_equal(flag_of(session, key, CKA_SENSITIVE), CK_TRUE);
    assert_ok(p11->C_CloseSession(owner));
    assert_int_equal(token_count(session, &find, 1), 0);
    assert_rv(p11->C_DestroyObject(session, key), CKR_OBJECT_HANDLE_INVALID);
    token_close();
}

static void what_is_not_destroyable_stays(void **state)
{
    CK_SESSION_HANDLE session = token_open();
    CK_OBJECT_HANDLE key;

    (void)state;
    assert_ok(generate_with(session, CKA_DESTROYABLE, &no, 1, &key));
    assert_rv(p11->C_DestroyObject(session, key), CKR_ACTION_PROHIBITED);
    assert_rv(p11->C_DestroyObject(session, token_kms_key(session)), CKR_ACTION_PROHIBITED);
    key = generate(session);
    assert_ok(p11->C_DestroyObject(session, key));
    assert_rv(p11->C_DestroyObject(session, key), CKR_OBJECT_HANDLE_INVALID);
    token_close();
}

static void each_attribute_finds(void **state)
{
    CK_SESSION_HANDLE session = token_open();
    CK_OBJECT_HANDLE key = token_kms_key(session);
    static const CK_ATTRIBUTE_TYPE types[] = {CKA_CLASS,       CKA_KEY_TYPE,
                                              CKA_VALUE_LEN,   CKA_LABEL,
                                              CKA_ID,          CKA_UNIQUE_ID,
                                              CKA_TOKEN,       CKA_PRIVATE,
                                              CKA_SENSITIVE,   CKA_ALWAYS_SENSITIVE,
                                              CKA_EXTRACTABLE, CKA_NEVER_EXTRACTABLE,
                                              CKA_ENCRYPT,     CKA_DECRYPT,
                                              CKA_WRAP,        CKA_UNWRAP,
                                              CKA_SIGN,        CKA_LOCAL,
                                              CKA_DESTROYABLE, CKA_KEY_GEN_MECHANISM};
    char value[256];

    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        CK_ATTRIBUTE template = {types[i], value, bytes_of(session, key, types[i], value)};
        if (token_count(session, &template, 1) != 1)
            fail_msg("attribute 0x%lx does not find the key", types[i]);
        value[0] ^= 1; /* for flags, the other value */
        if (token_count(session, &template, 1) != 0)
            fail_msg("another value of attribute 0x%lx finds the key", types[i]);
        value[0] ^= 1;
        template.ulValueLen--;
        assert_int_equal(token_count(session, &template, 1), 0);
        template = (CK_ATTRIBUTE){types[i], NULL, template.ulValueLen + 1};
        assert_int_equal(token_count(session, &template, 1), 0);
    }
    CK_ATTRIBUTE value_of_key = {CKA_VALUE, value, 32};
    assert_int_equal(token_count(session, &value_of_key, 1), 0);
    assert_int_equal(token_count(session, NULL, 0), 1);
    token_close();
}

static void a_search_gives_its_result_in_pieces(void **state)
{
    CK_SESSION_HANDLE session = token_open();
    CK_OBJECT_HANDLE found[10], again[3];
    CK_ULONG n, total = 0;

    (void)state;
    for (int i = 0; i < 4; i++)
        generate(session);
    assert_ok(p11->C_FindObjectsInit(session, NULL, 0));
    assert_rv(p11->C_FindObjectsInit(session, NULL, 0), CKR_OPERATION_ACTIVE);
    do {
        assert_ok(p11->C_FindObjects(session, again, 2, &n));
        memcpy(found + total, again, n * sizeof(found[0]));
        total += n;
    } while (n != 0);
    assert_int_equal(total, 5);
    for (CK_ULONG i = 0; i < total; i++)
        for (CK_ULONG j = 0; j < i; j++)
            assert_true(found[i] != found[j]);
    assert_ok(p11->C_FindObjectsFinal(session));
    token_close();
}

static void a_search_that_no_kms_key_can_match_makes_no_request(void **state)
{
    CK_ULONG sixteen = 16, generated = CKM_AES_KEY_GEN;
    CK_ATTRIBUTE templates[] = {
        {CKA_CLASS, &certificate, sizeof(certificate)},
        {CKA_KEY_TYPE, &rsa, sizeof(rsa)},
        {CKA_TOKEN, &no, 1},
        {CKA_SENSITIVE, &no, 1},
        {CKA_EXTRACTABLE, &yes, 1},
        {CKA_LOCAL, &yes, 1},
        {CKA_SIGN, &yes, 1},
        {CKA_VALUE_LEN, &sixteen, sizeof(sixteen)},
        {CKA_KEY_GEN_MECHANISM, &generated, sizeof(generated)},
        {CKA_MODULUS, &no, 1},
        {CKA_CLASS, NULL, sizeof(certificate)},
    };
    CK_SESSION_HANDLE session = token_open();
    CK_TOKEN_INFO info;

    (void)state;
    test_server_reset(&token_server);
    assert_ok(p11->C_GetTokenInfo(SLOT, &info));
    generate(session);
    for (size_t i = 0; i < sizeof(templates) / sizeof(templates[0]); i++)
        token_count(session, &templates[i], 1);
    assert_int_equal(test_server_count(&token_server, "connections"), 1); /* this very question */
    token_close();
}

static void the_listing_is_asked_once_and_kept(void **state)
{
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;

    (void)state;
    session = token_open();
    test_server_reset(&token_server);
    key = token_kms_key(session);
    for (int i = 0; i < 20; i++)
        assert_true(token_kms_key(session) == key);
    assert_int_equal(test_server_count(&token_server, "DescribeKey"), 1);
    assert_int_equal(test_server_count(&token_server, "ListKeys"), 0);
    token_close();

    setenv("KMS_KEY_ALIAS", "", 1);
    session = token_open();
    test_server_reset(&token_server);
    for (int i = 0; i < 20; i++)
        token_kms_key(session);
    assert_int_equal(test_server_count(&token_server, "ListKeys"), 1);
    assert_int_equal(test_server_count(&token_server, "ListAliases"), 1);
    token_close();
    setenv("KMS_KEY_ALIAS", "alias/matbakh-ai", 1);
}

static bool shows(CK_SESSION_HANDLE session, const char *label)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *)(uintptr_t)label, strlen(label)};
    CK_ULONG n = token_count(session, &template, 1);

    assert_true(n <= 1);
    return n == 1;
}

static void without_a_configured_key_all_that_can_be_listed_are_shown(void **state)
{
    CK_SESSION_HANDLE session;
    char body[256], bare[64], off[64];
    CK_ULONG before;

    (void)state;
    setenv("KMS_KEY_ALIAS", "", 1);
    session = token_open();
    before = token_count(session, NULL, 0);
    assert_true(shows(session, "second") && shows(session, "matbakh-ai"));
    assert_false(shows(session, "signer")); /* an RSA key, which hides no other */
    token_close();

    administer("CreateKey", "{}", "KeyMetadata.KeyId", bare, sizeof(bare));
    administer("CreateKey", "{}", "KeyMetadata.KeyId", off, sizeof(off));
    snprintf(body, sizeof(body), "{\"AliasName\":\"alias/off\",\"TargetKeyId\":\"%s\"}", off);
    administer("CreateAlias", body, NULL, NULL, 0);
    snprintf(body, sizeof(body), "{\"AliasName\":\"alias/off-too\",\"TargetKeyId\":\"%s\"}", off);
    administer("CreateAlias", body, NULL, NULL, 0);
    snprintf(body, sizeof(body), "{\"KeyId\":\"%s\"}", off);
    administer("DisableKey", body, NULL, NULL, 0);

    session = token_open();
    assert_int_equal(token_count(session, NULL, 0), before + 2);
    assert_true(shows(session, bare)); /* no alias: by its id */
    assert_true(shows(session, "off"));
    assert_false(shows(session, "off-too")); /* the same key */
    assert_true(shows(session, "second"));
    token_close();
    setenv("KMS_KEY_ALIAS", "alias/matbakh-ai", 1);
}

static void a_disabled_key_refuses_and_is_looked_at_again(void **state)
{
    CK_MECHANISM mechanism = token_wrap_mechanism(CONTEXT);
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    unsigned char out[6144];
    CK_ULONG len = sizeof(out);
    char id[64], body[128];

    (void)state;
    administer("DescribeKey", "{\"KeyId\":\"alias/second\"}", "KeyMetadata.KeyId", id, sizeof(id));
    snprintf(body, sizeof(body), "{\"KeyId\":\"%s\"}", id);
    setenv("KMS_KEY_ALIAS", "alias/second", 1);
    session = token_open();
    key = token_find(session, "second");
    administer("DisableKey", body, NULL, NULL, 0);
    token_log_reset();
    assert_rv(p11->C_WrapKey(session, &mechanism, key, generate(session), out, &len),
              CKR_KEY_FUNCTION_NOT_PERMITTED);
    assert_non_null(strstr(token_log(), "kms: C_WrapKey: key is disabled"));
    test_server_reset(&token_server);
    assert_true(token_find(session, "second") == key);
    assert_int_equal(test_server_count(&token_server, "DescribeKey"), 1);
    administer("EnableKey", body, NULL, NULL, 0);
    assert_ok(p11->C_WrapKey(session, &mechanism, key, generate(session), out, &len));
    token_close();
    setenv("KMS_KEY_ALIAS", "alias/matbakh-ai", 1);
}

static void a_configured_key_of_another_kind_is_an_error_that_says_so(void **state)
{
    CK_SESSION_HANDLE session;

    (void)state;
    setenv("KMS_KEY_ALIAS", "alias/signer", 1);
    session = token_open();
    token_log_reset();
    assert_rv(p11->C_FindObjectsInit(session, NULL, 0), CKR_KEY_FUNCTION_NOT_PERMITTED);
    assert_non_null(strstr(token_log(), "kms: C_FindObjectsInit: key is made for another use: "
                                        "alias/signer"));
    token_close();
    setenv("KMS_KEY_ALIAS", "alias/matbakh-ai", 1);
}

static int finalise(void **state)
{
    (void)state;
    p11->C_Finalize(NULL);
    token_configure("");
    setenv("KMS_KEY_ALIAS", "alias/matbakh-ai", 1);
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, finalise)

int main(void)
{
    static const char *const options[] = {"--seed-key", "alias/second", "--seed-key",
                                          "alias/signer:RSA_2048:SIGN_VERIFY", NULL};
    const struct CMUnitTest tests[] = {
        TEST(the_kms_key_says_what_it_is),
        TEST(one_attribute_that_cannot_be_read_does_not_stop_the_others),
        TEST(data_keys_say_where_they_come_from),
        TEST(templates_ask_for_no_more_than_the_settings_allow),
        TEST(what_a_setting_forbids_names_the_setting_in_the_log),
        TEST(only_an_extractable_key_that_is_not_sensitive_shows_its_value),
        TEST(a_token_object_needs_a_writable_session_and_outlives_it),
        TEST(a_session_object_is_seen_by_all_and_dies_with_its_session),
        TEST(what_is_not_destroyable_stays),
        TEST(each_attribute_finds),
        TEST(a_search_gives_its_result_in_pieces),
        TEST(a_search_that_no_kms_key_can_match_makes_no_request),
        TEST(the_listing_is_asked_once_and_kept),
        TEST(without_a_configured_key_all_that_can_be_listed_are_shown),
        TEST(a_disabled_key_refuses_and_is_looked_at_again),
        TEST(a_configured_key_of_another_kind_is_an_error_that_says_so),
    };

    token_server_options = options;
    return cmocka_run_group_tests(tests, token_set_up, token_tear_down);
}
