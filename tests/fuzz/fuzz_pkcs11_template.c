/* Attribute templates come from the application. What holds of each: no crash, no byte read or
 * written past a value, and no key that can be read, since allow_extractable is off. */
#include "tests/fuzz/token.h"

#define ATTRIBUTES_MAX 12

static const CK_ATTRIBUTE_TYPE types[] = {CKA_CLASS,
                                          CKA_KEY_TYPE,
                                          CKA_VALUE_LEN,
                                          CKA_LABEL,
                                          CKA_ID,
                                          CKA_VALUE,
                                          CKA_KEY_GEN_MECHANISM,
                                          CKA_START_DATE,
                                          CKA_TOKEN,
                                          CKA_PRIVATE,
                                          CKA_SENSITIVE,
                                          CKA_EXTRACTABLE,
                                          CKA_LOCAL,
                                          CKA_ENCRYPT,
                                          CKA_DECRYPT,
                                          CKA_WRAP,
                                          CKA_UNWRAP,
                                          CKA_DESTROYABLE,
                                          CKA_SIGN,
                                          CKA_MODIFIABLE,
                                          CKA_MODULUS,
                                          0x4UL,
                                          CKA_ALWAYS_SENSITIVE,
                                          CKA_NEVER_EXTRACTABLE};

static CK_ULONG read_template(input *in, CK_ATTRIBUTE *template)
{
    CK_ULONG count = take_byte(in) % ATTRIBUTES_MAX;

    for (CK_ULONG i = 0; i < count; i++) {
        const uint8_t len = take_byte(in);
        template[i].type = types[take_byte(in) % (sizeof(types) / sizeof(types[0]))];
        template[i].ulValueLen = len;
        template[i].pValue = len == 255 ? NULL : take_block(in, len);
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const CK_SESSION_HANDLE session = fuzz_session();
    CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template[ATTRIBUTES_MAX + 2];
    CK_BBOOL no = CK_FALSE;
    CK_ULONG size_32 = 32, n = 0;
    CK_OBJECT_HANDLE key = 0, found[8];
    unsigned char value[32];
    CK_ATTRIBUTE secret = {CKA_VALUE, value, sizeof(value)};
    input in = {data, size};
    const CK_ULONG count = read_template(&in, template);

    /* A length, unless the input has one: else hardly any key would come of it. */
    template[count] = (CK_ATTRIBUTE){CKA_VALUE_LEN, &size_32, sizeof(size_32)};
    if (C_GenerateKey(session, &generate, template, count + 1, &key) != CKR_OK)
        key = 0;
    template[count] = (CK_ATTRIBUTE){CKA_TOKEN, &no, sizeof(no)};
    if (C_FindObjectsInit(session, template, count + 1) == CKR_OK) {
        C_FindObjects(session, found, 8, &n);
        C_FindObjectsFinal(session);
    }
    if (key != 0) {
        C_GetAttributeValue(session, key, template, count);
        if (C_GetAttributeValue(session, key, &secret, 1) != CKR_ATTRIBUTE_SENSITIVE)
            abort();
        if (C_DestroyObject(session, key) != CKR_OK) /* the template forbade it */
            C_CloseSession(session);
    }
    for (CK_ULONG i = 0; i < count; i++)
        free(template[i].pValue);
    return 0;
}
