/* Vendor mechanisms of kms-pkcs11.so. Their numbers lie above CKM_VENDOR_DEFINED with the bytes
 * 'K' 'M' 'S' and never change. */
#ifndef KMS_PKCS11_H
#define KMS_PKCS11_H

/* C_WrapKey and C_UnwrapKey under a symmetric KMS key (KMS Encrypt and Decrypt).
 * Parameter: the encryption context as a UTF-8 JSON object of strings, without a terminator; none
 * (NULL, 0) takes the context of the configuration's [context] section. */
#define CKM_KMS_WRAP (0x80000000UL | 0x4B4D5301UL)

/* C_Encrypt and C_Decrypt by a symmetric KMS key itself, up to 4096 bytes. Parameter: as above. */
#define CKM_KMS_ENCRYPT (0x80000000UL | 0x4B4D5302UL)

#endif
