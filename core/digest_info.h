/* DigestInfo (RFC 8017, A.2.4): a digest in DER with the name of its algorithm, which callers of
 * raw RSASSA-PKCS1-v1_5 give. KMS takes the two apart. */
#ifndef KMS_CORE_DIGEST_INFO_H
#define KMS_CORE_DIGEST_INFO_H

#include "core/algorithm.h"
#include "core/bytes.h"

/* The algorithm with which KMS makes, with a key of this spec, the very signature that a DigestInfo
 * asks for; *digest is then the digest inside info. NULL where there is none: another hash, a
 * digest of another size than its hash has, anything else than the exact DER with NULL parameters.
 * A signature over any other form of it would not be the one that the caller asked for. */
const kms_algorithm *kms_digest_info_read(const kms_key_spec_row *spec, kms_bytes info,
                                          kms_bytes *digest);

#endif
