/* Running encryptions and decryptions, and what each algorithm does in them. */
#ifndef KMS_PKCS11_OPERATION_H
#define KMS_PKCS11_OPERATION_H

#include "pkcs11/mechanism.h"

/* One operation of a session. {0}: none is active. */
typedef struct p11_operation {
    const p11_cipher *cipher; /* NULL: not active */
    p11_module *module;
    p11_object *key;  /* a reference */
    const char *door; /* the function that is being called, for messages */
    bool parted;      /* the caller works in parts */
    bool ready;       /* held is the result and waits for a buffer that it fits */
    uint64_t total;   /* bytes of input so far */

    kms_context *context; /* by KMS; NULL: the configured default */
    kms_secret held;      /* input of KMS that is collected, or a result that waits */

    EVP_CIPHER_CTX *evp; /* locally; kept for the session's next operation */
    uint8_t iv[16];      /* to start again with, in CBC */
    bool holds_back;     /* the output does not keep pace with the input */
    size_t tag_len;
    uint64_t blocks;   /* that a short counter can count; 0: no limit */
    kms_buffer sealed; /* ciphertext that is collected until its tag is there */
    size_t sealed_room;
} p11_operation;

/* Where a call's result goes. */
typedef struct p11_output {
    uint8_t *data;
    size_t room;
    size_t len; /* of the result; what is needed, where that is more than room */
} p11_output;

/* What an algorithm does. Sizes are asked before work, so that a short buffer costs nothing.
 * The functions that work return CKR_OK, CKR_BUFFER_TOO_SMALL, after which the same call may be
 * made again, or an error that ends the operation. */
struct p11_cipher {
    CK_RV (*init)(p11_operation *op, const CK_MECHANISM *mechanism);
    /* In parts. An update gives exactly update_size bytes. */
    size_t (*update_size)(const p11_operation *op, size_t len);
    size_t (*final_size)(const p11_operation *op);
    CK_RV (*update)(p11_operation *op, kms_bytes in, uint8_t *out);
    CK_RV (*final)(p11_operation *op, p11_output *out);
    /* All at once. */
    size_t (*single_size)(const p11_operation *op, size_t len);
    CK_RV (*single)(p11_operation *op, kms_bytes in, p11_output *out);
    bool encrypts;
    bool exact; /* final_size and single_size are exact; else they are limits */
};

extern const p11_cipher p11_kms_encrypt, p11_kms_decrypt, p11_gcm_encrypt, p11_gcm_decrypt,
    p11_cbc_encrypt, p11_cbc_decrypt, p11_ctr;

/* Gives a result to the caller. Where it does not fit, op->held keeps it for the next try.
 * Errors: CKR_BUFFER_TOO_SMALL, CKR_HOST_MEMORY. */
CK_RV p11_operation_give(p11_operation *op, kms_bytes result, p11_output *out);

/* Ends an operation and cleanses what it held; the session may start the next. */
void p11_operation_end(p11_operation *op);

/* Likewise, and frees what is kept between operations. */
void p11_operation_clear(p11_operation *op);

#endif
