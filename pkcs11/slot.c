/* One slot with one token. Nothing here asks KMS. */
#include "pkcs11/module.h"

#include <string.h>

CK_RV C_GetSlotList(CK_BBOOL token_present, CK_SLOT_ID *list, CK_ULONG *count)
{
    (void)token_present; /* the token is always there */
    if (module_ready() != CKR_OK)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (count == NULL)
        return CKR_ARGUMENTS_BAD;
    if (list != NULL && *count < 1) {
        *count = 1;
        return CKR_BUFFER_TOO_SMALL;
    }
    *count = 1;
    if (list != NULL)
        list[0] = SLOT_ID;
    return CKR_OK;
}

CK_RV C_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
    if (module_ready() != CKR_OK)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (info == NULL)
        return CKR_ARGUMENTS_BAD;
    if (slot != SLOT_ID)
        return CKR_SLOT_ID_INVALID;
    memset(info, 0, sizeof(*info));
    module_pad(info->slotDescription, sizeof(info->slotDescription), "AWS KMS");
    module_pad(info->manufacturerID, sizeof(info->manufacturerID), "kms-provider");
    info->flags = CKF_TOKEN_PRESENT;
    return CKR_OK;
}

CK_RV C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    struct module *m = module_root();

    if (m == NULL)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (info == NULL)
        return CKR_ARGUMENTS_BAD;
    if (slot != SLOT_ID)
        return CKR_SLOT_ID_INVALID;
    memset(info, 0, sizeof(*info));
    module_pad(info->label, sizeof(info->label), "kms");
    module_pad(info->manufacturerID, sizeof(info->manufacturerID), "kms-provider");
    module_pad(info->model, sizeof(info->model), "AWS KMS");
    module_pad(info->serialNumber, sizeof(info->serialNumber), "1");
    info->flags = CKF_RNG | CKF_TOKEN_INITIALIZED;
    info->ulTotalPublicMemory = info->ulFreePublicMemory = CK_UNAVAILABLE_INFORMATION;
    info->ulTotalPrivateMemory = info->ulFreePrivateMemory = CK_UNAVAILABLE_INFORMATION;
    info->ulMaxSessionCount = info->ulMaxRwSessionCount = CK_EFFECTIVELY_INFINITE;
    kms_lock_take(&m->lock);
    info->ulSessionCount = m->session_count;
    info->ulRwSessionCount = m->rw_session_count;
    kms_lock_give(&m->lock);
    return CKR_OK;
}
