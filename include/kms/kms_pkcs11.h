/* Vendor mechanisms of kms-pkcs11.so, for programs that call it. Needs a PKCS#11 header before it
 * (for CKM_VENDOR_DEFINED). The values carry the bytes 'K' 'M' 'S' and never change. */
#ifndef KMS_PKCS11_H
#define KMS_PKCS11_H

/* Wraps and unwraps data keys under a KMS key: C_WrapKey, C_UnwrapKey. AES keys, and generic
 * secrets of 1 to 4096 bytes. Parameter: the encryption context as a JSON object of strings in
 * UTF-8, without terminator, for example {"dataType":"credentials","operationId":"op-1"}. No
 * parameter: the [context] section of kms.conf. The same context is needed for unwrapping.
 * C_WrapKey without a buffer answers 6144, the most that KMS gives, and makes no request. */
#define CKM_KMS_WRAP (CKM_VENDOR_DEFINED | 0x4B4D5301UL) /* 0xCB4D5301 */

/* Encrypts 1 to 4096 bytes directly under a KMS key: C_EncryptInit, C_DecryptInit and what follows
 * them. Parts are collected; the request is made when the operation ends. A result that does not
 * fit is kept for the next call. Parameter as for CKM_KMS_WRAP. */
#define CKM_KMS_ENCRYPT (CKM_VENDOR_DEFINED | 0x4B4D5302UL) /* 0xCB4D5302 */

#endif
