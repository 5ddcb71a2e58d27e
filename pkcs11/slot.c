/* One slot with one token. Nothing here asks KMS. */
#include "pkcs11/module.h"

#include <string.h>

/* Fields of the standard are padded with blanks and have no terminator. */
static void pad(unsigned char *field, size_t size, const char *text)
{
    size_t len = strlen(text);

    memset(field, ' ', size);
    memcpy(field, text, len < size ? len : size);
}

CK_RV C_GetInfo(CK_INFO *info)
{
    if (p11_module_get() == NULL)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (info == NULL)
        return CKR_ARGUMENTS_BAD;
    *info = (CK_INFO){.cryptokiVersion = {2, 40},
                      .libraryVersion = {KMS_VERSION_MAJOR, KMS_VERSION_MINOR}};
    pad(info->manufacturerID, sizeof(info->manufacturerID), "kms-provider");
    pad(info->libraryDescription, sizeof(info->libraryDescription), "AWS KMS keys in the EU");
    return CKR_OK;
}

CK_RV C_GetSlotList(CK_BBOOL token_present, CK_SLOT_ID *list, CK_ULONG *count)
{
    CK_ULONG room;

    (void)token_present; /* the token is always there */
    if (p11_module_get() == NULL)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (count == NULL)
        return CKR_ARGUMENTS_BAD;
    room = *count;
    *count = 1;
    if (list == NULL)
        return CKR_OK;
    if (room < 1)
        return CKR_BUFFER_TOO_SMALL;
    list[0] = P11_SLOT_ID;
    return CKR_OK;
}

CK_RV C_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
    if (p11_module_get() == NULL)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (slot != P11_SLOT_ID)
        return CKR_SLOT_ID_INVALID;
    if (info == NULL)
        return CKR_ARGUMENTS_BAD;
    *info = (CK_SLOT_INFO){.flags = CKF_TOKEN_PRESENT,
                           .firmwareVersion = {KMS_VERSION_MAJOR, KMS_VERSION_MINOR}};
    pad(info->slotDescription, sizeof(info->slotDescription), "AWS KMS");
    pad(info->manufacturerID, sizeof(info->manufacturerID), "kms-provider");
    return CKR_OK;
}

static void count_sessions(p11_module *module, CK_TOKEN_INFO *info)
{
    kms_lock_take(&module->lock);
    info->ulSessionCount = module->sessions.used;
    info->ulRwSessionCount = module->writable_sessions;
    kms_lock_give(&module->lock);
}

CK_RV C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    p11_module *module = p11_module_get();

    if (module == NULL)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (slot != P11_SLOT_ID)
        return CKR_SLOT_ID_INVALID;
    if (info == NULL)
        return CKR_ARGUMENTS_BAD;
    *info = (CK_TOKEN_INFO){
        .flags = CKF_RNG | CKF_TOKEN_INITIALIZED,
        .ulMaxSessionCount = CK_EFFECTIVELY_INFINITE,
        .ulMaxRwSessionCount = CK_EFFECTIVELY_INFINITE,
        .ulTotalPublicMemory = CK_UNAVAILABLE_INFORMATION,
        .ulFreePublicMemory = CK_UNAVAILABLE_INFORMATION,
        .ulTotalPrivateMemory = CK_UNAVAILABLE_INFORMATION,
        .ulFreePrivateMemory = CK_UNAVAILABLE_INFORMATION,
        .firmwareVersion = {KMS_VERSION_MAJOR, KMS_VERSION_MINOR},
    };
    pad(info->label, sizeof(info->label), "kms");
    pad(info->manufacturerID, sizeof(info->manufacturerID), "kms-provider");
    pad(info->model, sizeof(info->model), "AWS KMS");
    pad(info->serialNumber, sizeof(info->serialNumber), "1");
    pad((unsigned char *)info->utcTime, sizeof(info->utcTime), "");
    count_sessions(module, info);
    return CKR_OK;
}
