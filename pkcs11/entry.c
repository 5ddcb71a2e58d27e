/* The function list. What is not there yet says so, once it is clear that the module runs. */
#include "pkcs11/module.h"

#include <string.h>

#define EXPORT __attribute__((visibility("default")))

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"

#define UNSUPPORTED(name, parameters) ANSWERS(name, parameters, CKR_FUNCTION_NOT_SUPPORTED)

#define ANSWERS(name, parameters, answer)                                                          \
    CK_RV name parameters                                                                          \
    {                                                                                              \
        return p11_module_get() != NULL ? (answer) : CKR_CRYPTOKI_NOT_INITIALIZED;                 \
    }

UNSUPPORTED(C_WaitForSlotEvent, (CK_FLAGS flags, CK_SLOT_ID *slot, void *reserved))
UNSUPPORTED(C_InitToken,
            (CK_SLOT_ID slot_id, unsigned char *pin, CK_ULONG pin_len, unsigned char *label))
UNSUPPORTED(C_InitPIN, (CK_SESSION_HANDLE handle, unsigned char *pin, CK_ULONG pin_len))
UNSUPPORTED(C_SetPIN, (CK_SESSION_HANDLE handle, unsigned char *old_pin, CK_ULONG old_len,
                       unsigned char *new_pin, CK_ULONG new_len))
UNSUPPORTED(C_GetOperationState, (CK_SESSION_HANDLE handle, unsigned char *operation_state,
                                  CK_ULONG *operation_state_len))
UNSUPPORTED(C_SetOperationState,
            (CK_SESSION_HANDLE handle, unsigned char *operation_state, CK_ULONG operation_state_len,
             CK_OBJECT_HANDLE encryption_key, CK_OBJECT_HANDLE authentication_key))
UNSUPPORTED(C_CreateObject, (CK_SESSION_HANDLE handle, CK_ATTRIBUTE *templ, CK_ULONG count,
                             CK_OBJECT_HANDLE *target))
UNSUPPORTED(C_CopyObject, (CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE target, CK_ATTRIBUTE *templ,
                           CK_ULONG count, CK_OBJECT_HANDLE *new_object))
UNSUPPORTED(C_GetObjectSize, (CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE target, CK_ULONG *size))
UNSUPPORTED(C_SetAttributeValue, (CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE target,
                                  CK_ATTRIBUTE *templ, CK_ULONG count))
UNSUPPORTED(C_DigestInit, (CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism))
UNSUPPORTED(C_Digest, (CK_SESSION_HANDLE handle, unsigned char *data, CK_ULONG data_len,
                       unsigned char *digest, CK_ULONG *digest_len))
UNSUPPORTED(C_DigestUpdate, (CK_SESSION_HANDLE handle, unsigned char *part, CK_ULONG part_len))
UNSUPPORTED(C_DigestKey, (CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE key))
UNSUPPORTED(C_DigestFinal, (CK_SESSION_HANDLE handle, unsigned char *digest, CK_ULONG *digest_len))
UNSUPPORTED(C_SignInit, (CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key))
UNSUPPORTED(C_Sign, (CK_SESSION_HANDLE handle, unsigned char *data, CK_ULONG data_len,
                     unsigned char *signature, CK_ULONG *signature_len))
UNSUPPORTED(C_SignUpdate, (CK_SESSION_HANDLE handle, unsigned char *part, CK_ULONG part_len))
UNSUPPORTED(C_SignFinal,
            (CK_SESSION_HANDLE handle, unsigned char *signature, CK_ULONG *signature_len))
UNSUPPORTED(C_SignRecoverInit,
            (CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key))
UNSUPPORTED(C_SignRecover, (CK_SESSION_HANDLE handle, unsigned char *data, CK_ULONG data_len,
                            unsigned char *signature, CK_ULONG *signature_len))
UNSUPPORTED(C_VerifyInit, (CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key))
UNSUPPORTED(C_Verify, (CK_SESSION_HANDLE handle, unsigned char *data, CK_ULONG data_len,
                       unsigned char *signature, CK_ULONG signature_len))
UNSUPPORTED(C_VerifyUpdate, (CK_SESSION_HANDLE handle, unsigned char *part, CK_ULONG part_len))
UNSUPPORTED(C_VerifyFinal,
            (CK_SESSION_HANDLE handle, unsigned char *signature, CK_ULONG signature_len))
UNSUPPORTED(C_VerifyRecoverInit,
            (CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key))
UNSUPPORTED(C_VerifyRecover, (CK_SESSION_HANDLE handle, unsigned char *signature,
                              CK_ULONG signature_len, unsigned char *data, CK_ULONG *data_len))
UNSUPPORTED(C_DigestEncryptUpdate,
            (CK_SESSION_HANDLE handle, unsigned char *part, CK_ULONG part_len,
             unsigned char *encrypted_part, CK_ULONG *encrypted_part_len))
UNSUPPORTED(C_DecryptDigestUpdate,
            (CK_SESSION_HANDLE handle, unsigned char *encrypted_part, CK_ULONG encrypted_part_len,
             unsigned char *part, CK_ULONG *part_len))
UNSUPPORTED(C_SignEncryptUpdate, (CK_SESSION_HANDLE handle, unsigned char *part, CK_ULONG part_len,
                                  unsigned char *encrypted_part, CK_ULONG *encrypted_part_len))
UNSUPPORTED(C_DecryptVerifyUpdate,
            (CK_SESSION_HANDLE handle, unsigned char *encrypted_part, CK_ULONG encrypted_part_len,
             unsigned char *part, CK_ULONG *part_len))
UNSUPPORTED(C_GenerateKeyPair,
            (CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_key_template,
             CK_ULONG public_key_attribute_count, CK_ATTRIBUTE *private_key_template,
             CK_ULONG private_key_attribute_count, CK_OBJECT_HANDLE *public_key,
             CK_OBJECT_HANDLE *private_key))
UNSUPPORTED(C_DeriveKey,
            (CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base_key,
             CK_ATTRIBUTE *templ, CK_ULONG attribute_count, CK_OBJECT_HANDLE *key))
/* Left over from version 1 of the standard, which prescribes this answer (v2.40, 5.15). */
ANSWERS(C_GetFunctionStatus, (CK_SESSION_HANDLE handle), CKR_FUNCTION_NOT_PARALLEL)
ANSWERS(C_CancelFunction, (CK_SESSION_HANDLE handle), CKR_FUNCTION_NOT_PARALLEL)

#pragma GCC diagnostic pop

static CK_RV get_function_list(CK_FUNCTION_LIST **list);

static CK_FUNCTION_LIST functions = {
    {2, 40},
    C_Initialize,
    C_Finalize,
    C_GetInfo,
    get_function_list,
    C_GetSlotList,
    C_GetSlotInfo,
    C_GetTokenInfo,
    C_GetMechanismList,
    C_GetMechanismInfo,
    C_InitToken,
    C_InitPIN,
    C_SetPIN,
    C_OpenSession,
    C_CloseSession,
    C_CloseAllSessions,
    C_GetSessionInfo,
    C_GetOperationState,
    C_SetOperationState,
    C_Login,
    C_Logout,
    C_CreateObject,
    C_CopyObject,
    C_DestroyObject,
    C_GetObjectSize,
    C_GetAttributeValue,
    C_SetAttributeValue,
    C_FindObjectsInit,
    C_FindObjects,
    C_FindObjectsFinal,
    C_EncryptInit,
    C_Encrypt,
    C_EncryptUpdate,
    C_EncryptFinal,
    C_DecryptInit,
    C_Decrypt,
    C_DecryptUpdate,
    C_DecryptFinal,
    C_DigestInit,
    C_Digest,
    C_DigestUpdate,
    C_DigestKey,
    C_DigestFinal,
    C_SignInit,
    C_Sign,
    C_SignUpdate,
    C_SignFinal,
    C_SignRecoverInit,
    C_SignRecover,
    C_VerifyInit,
    C_Verify,
    C_VerifyUpdate,
    C_VerifyFinal,
    C_VerifyRecoverInit,
    C_VerifyRecover,
    C_DigestEncryptUpdate,
    C_DecryptDigestUpdate,
    C_SignEncryptUpdate,
    C_DecryptVerifyUpdate,
    C_GenerateKey,
    C_GenerateKeyPair,
    C_WrapKey,
    C_UnwrapKey,
    C_DeriveKey,
    C_SeedRandom,
    C_GenerateRandom,
    C_GetFunctionStatus,
    C_CancelFunction,
    C_WaitForSlotEvent,
};

static CK_RV get_function_list(CK_FUNCTION_LIST **list)
{
    if (list == NULL)
        return CKR_ARGUMENTS_BAD;
    *list = &functions;
    return CKR_OK;
}

/* The list itself must not name this one: an exported name may be bound to p11-kit's function of
 * that name, in a process that has p11-kit loaded. */
EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    return get_function_list(list);
}

/* PKCS#11 v3.0's way to find functions, with the 2.40 list alone. It is exported because a caller's
 * dlsym on this module would otherwise find p11-kit's own function of that name, through the
 * libraries that libcurl brings. The headers of Debian 12 don't declare it. */
#ifndef CKF_INTERFACE_FORK_SAFE
typedef struct CK_INTERFACE {
    const char *pInterfaceName;
    void *pFunctionList;
    CK_FLAGS flags;
} CK_INTERFACE;
CK_RV C_GetInterfaceList(CK_INTERFACE *list, CK_ULONG *count);
CK_RV C_GetInterface(unsigned char *name, CK_VERSION *version, CK_INTERFACE **out, CK_FLAGS flags);
#endif

static CK_INTERFACE interface = {(void *)(uintptr_t) "PKCS 11", &functions, 0};

EXPORT CK_RV C_GetInterfaceList(CK_INTERFACE *list, CK_ULONG *count)
{
    CK_ULONG room;

    if (count == NULL)
        return CKR_ARGUMENTS_BAD;
    room = *count;
    *count = 1;
    if (list == NULL)
        return CKR_OK;
    if (room < 1)
        return CKR_BUFFER_TOO_SMALL;
    list[0] = interface;
    return CKR_OK;
}

EXPORT CK_RV C_GetInterface(unsigned char *name, CK_VERSION *version, CK_INTERFACE **out,
                            CK_FLAGS flags)
{
    if (out == NULL)
        return CKR_ARGUMENTS_BAD;
    if ((name != NULL && strcmp((const char *)name, "PKCS 11") != 0) ||
        (version != NULL && (version->major != 2 || version->minor != 40)) || flags != 0)
        return CKR_FUNCTION_FAILED;
    *out = &interface;
    return CKR_OK;
}
