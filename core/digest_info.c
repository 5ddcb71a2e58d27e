#include "core/digest_info.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>

#define DIGEST_INFO_MAX 128 /* bytes; of SHA-512 it has 83 */

/* Written again it is the same: no other encoding, no bytes behind it. */
static bool is_exact(const X509_SIG *parsed, kms_bytes info)
{
    unsigned char *again = NULL;
    int len = i2d_X509_SIG(parsed, &again);
    bool same = len > 0 && (size_t)len == info.len && memcmp(again, info.data, info.len) == 0;

    OPENSSL_free(again);
    return same;
}

static const kms_algorithm *algorithm_of(const kms_key_spec_row *spec, const X509_SIG *parsed)
{
    const X509_ALGOR *hash = NULL;
    const ASN1_OCTET_STRING *digest = NULL;
    const ASN1_OBJECT *name = NULL;
    const kms_algorithm *algorithm;
    int type = V_ASN1_UNDEF;

    X509_SIG_get0(parsed, &hash, &digest);
    X509_ALGOR_get0(&name, &type, NULL, hash);
    algorithm = kms_algorithm_find(spec, KMS_SCHEME_PKCS1, OBJ_nid2sn(OBJ_obj2nid(name)));
    return algorithm != NULL && type == V_ASN1_NULL &&
                   (size_t)ASN1_STRING_length(digest) == algorithm->digest_len
               ? algorithm
               : NULL;
}

const kms_algorithm *kms_digest_info_read(const kms_key_spec_row *spec, kms_bytes info,
                                          kms_bytes *digest)
{
    const unsigned char *at = info.data;
    const kms_algorithm *algorithm = NULL;
    X509_SIG *parsed = NULL;

    ERR_set_mark(); /* the thread's error queue is the application's */
    if (info.len != 0 && info.len <= DIGEST_INFO_MAX)
        parsed = d2i_X509_SIG(NULL, &at, (long)info.len);
    if (parsed != NULL && is_exact(parsed, info))
        algorithm = algorithm_of(spec, parsed);
    X509_SIG_free(parsed);
    ERR_pop_to_mark();
    if (algorithm != NULL) /* the digest is its end */
        *digest = (kms_bytes){info.data + info.len - algorithm->digest_len, algorithm->digest_len};
    return algorithm;
}
