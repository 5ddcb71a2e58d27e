#include "pkcs11/mechanism.h"

#include "pkcs11/operation.h"

#define BOTH      (CKF_ENCRYPT | CKF_DECRYPT)
#define WRAP_BOTH (CKF_WRAP | CKF_UNWRAP)

/* clang-format off */
static const p11_mechanism mechanisms[] = {
    /* type                 functions      keys           mapped  sizes   encrypt                 decrypt */
    { CKM_KMS_WRAP,         WRAP_BOTH,     P11_KMS_KEYS,  false,  32, 32, NULL,                   NULL },
    { CKM_KMS_ENCRYPT,      BOTH,          P11_KMS_KEYS,  false,  32, 32, &p11_kms_encrypt,       &p11_kms_decrypt },
    { CKM_AES_KEY_WRAP,     WRAP_BOTH,     P11_KMS_KEYS,  true,   32, 32, NULL,                   NULL },
    { CKM_AES_KEY_WRAP_PAD, WRAP_BOTH,     P11_KMS_KEYS,  true,   32, 32, NULL,                   NULL },
    { CKM_AES_KEY_GEN,      CKF_GENERATE,  P11_NO_KEY,    false,  16, 32, NULL,                   NULL },
    { CKM_AES_GCM,          BOTH,          P11_DATA_KEYS, false,  16, 32, &p11_gcm_encrypt,       &p11_gcm_decrypt },
    { CKM_AES_CBC_PAD,      BOTH,          P11_DATA_KEYS, false,  16, 32, &p11_cbc_encrypt,       &p11_cbc_decrypt },
    { CKM_AES_CTR,          BOTH,          P11_DATA_KEYS, false,  16, 32, &p11_ctr,               &p11_ctr },
};
/* clang-format on */

#define MECHANISM_COUNT (sizeof(mechanisms) / sizeof(mechanisms[0]))

static bool offers(const p11_module *module, const p11_mechanism *mechanism)
{
    return !mechanism->mapped ||
           kms_config_flag(kms_client_config(module->client), KMS_SET_MAP_STANDARD_WRAP);
}

const p11_mechanism *p11_mechanism_find(const p11_module *module, CK_MECHANISM_TYPE type,
                                        CK_FLAGS function)
{
    for (size_t i = 0; i < MECHANISM_COUNT; i++)
        if (mechanisms[i].type == type && (mechanisms[i].flags & function) == function &&
            offers(module, &mechanisms[i]))
            return &mechanisms[i];
    return NULL;
}

CK_RV p11_mechanism_context(p11_module *module, const char *door, const CK_MECHANISM *mechanism,
                            kms_context **context)
{
    const char *text = mechanism->pParameter;
    kms_error err = {0};
    kms_status st;

    *context = NULL;
    /* The standard mechanisms have parameters of their own, an IV, which KMS has no use for. */
    if (mechanism->mechanism != CKM_KMS_WRAP && mechanism->mechanism != CKM_KMS_ENCRYPT)
        return mechanism->ulParameterLen == 0 ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
    if (mechanism->ulParameterLen == 0)
        return CKR_OK;
    if (text == NULL || mechanism->ulParameterLen > 8 * (CK_ULONG)KMS_CONTEXT_BYTES_MAX)
        return CKR_MECHANISM_PARAM_INVALID;
    if (*text != '{') {
        kms_fail(&err, KMS_E_CONTEXT_SYNTAX, "the mechanism parameter is not a JSON object");
        return p11_module_fail(module, door, &err);
    }
    *context = kms_context_new();
    if (*context == NULL)
        return CKR_HOST_MEMORY;
    st = kms_context_parse(*context, text, mechanism->ulParameterLen, &err);
    if (st == KMS_OK)
        return CKR_OK;
    kms_context_free(*context);
    *context = NULL;
    return p11_module_fail(module, door, &err);
}

CK_RV C_GetMechanismList(CK_SLOT_ID slot, CK_MECHANISM_TYPE *list, CK_ULONG *count)
{
    p11_module *module = p11_module_get();
    CK_ULONG room, n = 0;

    if (module == NULL)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (slot != P11_SLOT_ID)
        return CKR_SLOT_ID_INVALID;
    if (count == NULL)
        return CKR_ARGUMENTS_BAD;
    room = *count;
    for (size_t i = 0; i < MECHANISM_COUNT; i++) {
        if (!offers(module, &mechanisms[i]))
            continue;
        if (list != NULL && n < room)
            list[n] = mechanisms[i].type;
        n++;
    }
    *count = n;
    return list != NULL && room < n ? CKR_BUFFER_TOO_SMALL : CKR_OK;
}

CK_RV C_GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
    p11_module *module = p11_module_get();
    const p11_mechanism *mechanism;

    if (module == NULL)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (slot != P11_SLOT_ID)
        return CKR_SLOT_ID_INVALID;
    if (info == NULL)
        return CKR_ARGUMENTS_BAD;
    mechanism = p11_mechanism_find(module, type, 0);
    if (mechanism == NULL)
        return CKR_MECHANISM_INVALID;
    /* What KMS runs counts as hardware, as tools that refuse software expect it of a token. */
    *info = (CK_MECHANISM_INFO){mechanism->smallest, mechanism->largest,
                                mechanism->flags | (mechanism->keys == P11_KMS_KEYS ? CKF_HW : 0)};
    return CKR_OK;
}
