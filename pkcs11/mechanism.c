/* The one table of mechanisms. */
#include "pkcs11/module.h"

#include "include/kms/kms_pkcs11.h"

/* clang-format off */
static const mechanism_row mechanisms[] = {
    /* mechanism          operations                    run by    min max cipher          mapped */
    { CKM_KMS_WRAP,         CKF_WRAP | CKF_UNWRAP,      BY_KMS,  32, 32, NULL,            false },
    { CKM_KMS_ENCRYPT,      CKF_ENCRYPT | CKF_DECRYPT,  BY_KMS,  32, 32, NULL,            false },
    { CKM_AES_KEY_WRAP,     CKF_WRAP | CKF_UNWRAP,      BY_KMS,  32, 32, NULL,            true },
    { CKM_AES_KEY_WRAP_PAD, CKF_WRAP | CKF_UNWRAP,      BY_KMS,  32, 32, NULL,            true },
    { CKM_AES_KEY_GEN,      CKF_GENERATE,               LOCALLY, 16, 32, NULL,            false },
    { CKM_AES_GCM,          CKF_ENCRYPT | CKF_DECRYPT,  LOCALLY, 16, 32, "AES-%zu-GCM",   false },
    { CKM_AES_CBC_PAD,      CKF_ENCRYPT | CKF_DECRYPT,  LOCALLY, 16, 32, "AES-%zu-CBC",   false },
    { CKM_AES_CTR,          CKF_ENCRYPT | CKF_DECRYPT,  LOCALLY, 16, 32, "AES-%zu-CTR",   false },
};
/* clang-format on */

#define COUNT (sizeof(mechanisms) / sizeof(mechanisms[0]))

static bool is_offered(const mechanism_row *row)
{
    return !row->mapped ||
           kms_config_flag(kms_client_config(module_root()->client), KMS_SET_MAP_STANDARD_WRAP);
}

const mechanism_row *mechanism_find(CK_MECHANISM_TYPE type)
{
    for (size_t i = 0; i < COUNT; i++)
        if (mechanisms[i].type == type)
            return is_offered(&mechanisms[i]) ? &mechanisms[i] : NULL;
    return NULL;
}

CK_RV mechanism_context(const CK_MECHANISM *mechanism, const char *function, kms_context **out)
{
    kms_error err = {0};

    *out = NULL;
    if (mechanism->ulParameterLen == 0)
        return CKR_OK;
    if (mechanism->pParameter == NULL)
        return CKR_MECHANISM_PARAM_INVALID;
    *out = kms_context_new();
    if (*out == NULL)
        return CKR_HOST_MEMORY;
    if (*(const char *)mechanism->pParameter != '{')
        kms_fail(&err, KMS_E_CONTEXT_SYNTAX, "the mechanism parameter is not a JSON object");
    else
        kms_context_parse(*out, mechanism->pParameter, mechanism->ulParameterLen, &err);
    if (err.status == KMS_OK)
        return CKR_OK;
    kms_context_free(*out);
    *out = NULL;
    return module_fail(function, &err);
}

CK_RV C_GetMechanismList(CK_SLOT_ID slot, CK_MECHANISM_TYPE *list, CK_ULONG *count)
{
    CK_ULONG room, n = 0;

    if (module_ready() != CKR_OK)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (count == NULL)
        return CKR_ARGUMENTS_BAD;
    if (slot != SLOT_ID)
        return CKR_SLOT_ID_INVALID;
    room = *count;
    for (size_t i = 0; i < COUNT; i++) {
        if (!is_offered(&mechanisms[i]))
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
    const mechanism_row *row;

    if (module_ready() != CKR_OK)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (info == NULL)
        return CKR_ARGUMENTS_BAD;
    if (slot != SLOT_ID)
        return CKR_SLOT_ID_INVALID;
    row = mechanism_find(type);
    if (row == NULL)
        return CKR_MECHANISM_INVALID;
    *info = (CK_MECHANISM_INFO){row->min, row->max, row->flags | (row->by == BY_KMS ? CKF_HW : 0)};
    return CKR_OK;
}
