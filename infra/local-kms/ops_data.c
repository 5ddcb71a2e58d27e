/* Encrypt, Decrypt, ReEncrypt, data keys, data key pairs, random bytes. */
#include "call.h"

#include <openssl/rand.h>
#include <string.h>

#define PLAINTEXT_MAX  4096
#define CIPHERTEXT_MAX 6144
#define SYMMETRIC      "SYMMETRIC_DEFAULT"
#define ENCRYPT        "ENCRYPT_DECRYPT"

static bool symmetric(const algorithm *a)
{
    return a->kind == SPEC_SYMMETRIC;
}

static bool no_context_for_pairs(call *c, const algorithm *a, const cJSON *context)
{
    if (symmetric(a) || context == NULL)
        return true;
    return refuse(&c->failure, "ValidationException",
                  "EncryptionContext is only allowed with symmetric encryption keys");
}

static bool encrypt_with(call *c, const key *k, const algorithm *a, const cJSON *context,
                         const bytes *plain, bytes *out)
{
    if (symmetric(a))
        return crypto_seal(k->family, context, plain->data, plain->len, out) || out_of_order(c);
    if (plain->len > crypto_oaep_limit(k->family, a))
        return refuse(&c->failure, "ValidationException",
                      "Algorithm %s and key spec %s cannot encrypt data larger than %zu bytes.",
                      a->name, k->family->spec->name, crypto_oaep_limit(k->family, a));
    return crypto_oaep(k->family, a, true, plain->data, plain->len, out) || out_of_order(c);
}

bool op_encrypt(call *c)
{
    key *k;
    const algorithm *a;
    const cJSON *context;
    bytes plain = {0}, out = {0};
    bool ok = in_bytes(c, "Plaintext", true, PLAINTEXT_MAX, &plain) &&
              in_context(c, "EncryptionContext", &context) && in_key(c, "KeyId", true, &k) &&
              usable(c, k, ENCRYPT) && in_algorithm(c, "EncryptionAlgorithm", SYMMETRIC, k, &a) &&
              no_context_for_pairs(c, a, context) && not_dry(c) &&
              encrypt_with(c, k, a, context, &plain, &out);

    if (ok) {
        out_bytes(c, "CiphertextBlob", out.data, out.len);
        out_arn(c, "KeyId", k);
        out_text(c, "EncryptionAlgorithm", a->name);
    }
    bytes_clear(&plain);
    bytes_clear(&out);
    return ok;
}

static bool invalid_ciphertext(call *c)
{
    return refuse(&c->failure, "InvalidCiphertextException", "%s", "");
}

/* The key of a symmetric blob; `named` is the one the caller gave, or NULL. */
static bool key_of_blob(call *c, const bytes *blob, const key *named, key **out)
{
    char key_id[40];
    uint8_t material_id[MATERIAL_ID_SIZE];

    if (!crypto_blob_key(blob->data, blob->len, key_id, material_id))
        return invalid_ciphertext(c);
    *out = store_find_key(c->store, c->region, key_id);
    if (named != NULL && named != *out)
        return refuse(&c->failure, "IncorrectKeyException",
                      "The key ID in the request does not identify a CMK that can perform this "
                      "operation.");
    if (*out == NULL)
        return refuse(&c->failure, "AccessDeniedException",
                      "The ciphertext refers to a customer master key that does not exist, does "
                      "not exist in this region, or you are not allowed to access.");
    return true;
}

/* What a blob was decrypted with, and to. */
typedef struct opened {
    key *k;
    const algorithm *a;
    bytes plain;
    uint8_t material_id[MATERIAL_ID_SIZE];
} opened;

/* Decrypts the blob in CiphertextBlob; the members' names differ between Decrypt and ReEncrypt. */
static bool open_blob(call *c, const char *key_member, const char *algorithm_member,
                      const char *context_member, opened *o)
{
    const cJSON *context;
    const char *name;
    bytes blob = {0};
    char key_id[40];
    key *named = NULL;
    bool ok = in_bytes(c, "CiphertextBlob", true, CIPHERTEXT_MAX, &blob) &&
              in_context(c, context_member, &context) && in_text(c, key_member, false, 2048, &name);

    if (ok && name != NULL)
        ok = find_key(c, name, true, &named);
    /* An RSA ciphertext names no key; anything else must be a blob, and of the key that is named.
     */
    if (ok && named != NULL && named->family->spec->kind == SPEC_RSA &&
        strcmp(named->family->usage, ENCRYPT) == 0)
        o->k = named;
    else
        ok = ok && key_of_blob(c, &blob, named, &o->k);
    ok = ok && usable(c, o->k, ENCRYPT) &&
         in_algorithm(c, algorithm_member, SYMMETRIC, o->k, &o->a) &&
         no_context_for_pairs(c, o->a, context);
    if (ok && symmetric(o->a))
        ok = (crypto_blob_key(blob.data, blob.len, key_id, o->material_id) &&
              crypto_open(o->k->family, context, blob.data, blob.len, &o->plain)) ||
             invalid_ciphertext(c);
    else if (ok)
        ok = crypto_oaep(o->k->family, o->a, false, blob.data, blob.len, &o->plain) ||
             invalid_ciphertext(c);
    bytes_clear(&blob);
    return ok;
}

bool op_decrypt(call *c)
{
    opened o = {0};
    bool ok = open_blob(c, "KeyId", "EncryptionAlgorithm", "EncryptionContext", &o) && not_dry(c);

    if (ok) {
        out_bytes(c, "Plaintext", o.plain.data, o.plain.len);
        out_arn(c, "KeyId", o.k);
        out_text(c, "EncryptionAlgorithm", o.a->name);
        if (symmetric(o.a))
            out_material(c, "KeyMaterialId", o.material_id);
    }
    bytes_clear(&o.plain);
    return ok;
}

bool op_reencrypt(call *c)
{
    opened o = {0};
    key *to;
    const algorithm *a;
    const cJSON *context;
    bytes out = {0};
    bool ok =
        in_context(c, "DestinationEncryptionContext", &context) &&
        in_key(c, "DestinationKeyId", true, &to) && usable(c, to, ENCRYPT) &&
        in_algorithm(c, "DestinationEncryptionAlgorithm", SYMMETRIC, to, &a) &&
        no_context_for_pairs(c, a, context) &&
        open_blob(c, "SourceKeyId", "SourceEncryptionAlgorithm", "SourceEncryptionContext", &o) &&
        not_dry(c) && encrypt_with(c, to, a, context, &o.plain, &out);

    if (ok) {
        out_bytes(c, "CiphertextBlob", out.data, out.len);
        out_arn(c, "SourceKeyId", o.k);
        out_arn(c, "KeyId", to);
        out_text(c, "SourceEncryptionAlgorithm", o.a->name);
        out_text(c, "DestinationEncryptionAlgorithm", a->name);
        if (symmetric(o.a))
            out_material(c, "SourceKeyMaterialId", o.material_id);
        if (symmetric(a))
            out_material(c, "DestinationKeyMaterialId", family_current(to->family)->id);
    }
    bytes_clear(&o.plain);
    bytes_clear(&out);
    return ok;
}

static bool must_be_symmetric(call *c, const key *k)
{
    if (k->family->spec->kind == SPEC_SYMMETRIC)
        return true;
    return refuse(&c->failure, "InvalidKeyUsageException",
                  "%s key usage is %s which is not valid for %s.", k->family->key_id,
                  k->family->usage, c->operation);
}

static bool data_key_size(call *c, long *size)
{
    const char *spec;

    if (!in_text(c, "KeySpec", false, 16, &spec) ||
        !in_number(c, "NumberOfBytes", 1, 1024, 0, size))
        return false;
    if ((spec == NULL) == (*size == 0))
        return refuse(&c->failure, "ValidationException",
                      "Please specify either number of bytes or key spec.");
    if (spec == NULL)
        return true;
    *size = strcmp(spec, "AES_256") == 0 ? 32 : strcmp(spec, "AES_128") == 0 ? 16 : 0;
    if (*size == 0)
        return refuse(&c->failure, "ValidationException",
                      "1 validation error detected: Value '%s' at 'keySpec' failed to satisfy "
                      "constraint: Member must satisfy enum value set: [AES_256, AES_128]",
                      spec);
    return true;
}

static bool generate_data_key(call *c, bool with_plaintext)
{
    uint8_t plain[1024];
    const cJSON *context;
    bytes blob = {0};
    long size;
    key *k;
    bool ok = data_key_size(c, &size) && in_context(c, "EncryptionContext", &context) &&
              in_key(c, "KeyId", true, &k) && usable(c, k, ENCRYPT) && must_be_symmetric(c, k) &&
              not_dry(c);

    if (ok)
        ok = (RAND_priv_bytes(plain, (int)size) == 1 &&
              crypto_seal(k->family, context, plain, (size_t)size, &blob)) ||
             out_of_order(c);
    if (ok) {
        if (with_plaintext)
            out_bytes(c, "Plaintext", plain, (size_t)size);
        out_bytes(c, "CiphertextBlob", blob.data, blob.len);
        out_arn(c, "KeyId", k);
        out_material(c, "KeyMaterialId", family_current(k->family)->id);
    }
    OPENSSL_cleanse(plain, sizeof(plain));
    bytes_clear(&blob);
    return ok;
}

bool op_generate_data_key(call *c)
{
    return generate_data_key(c, true);
}

bool op_generate_data_key_without_plaintext(call *c)
{
    return generate_data_key(c, false);
}

static bool pair_spec(call *c, const key_spec **spec)
{
    const char *name;

    if (!in_text(c, "KeyPairSpec", true, 64, &name))
        return false;
    *spec = spec_find(name);
    if (*spec != NULL && (*spec)->kind != SPEC_SYMMETRIC && (*spec)->kind != SPEC_HMAC &&
        (*spec)->kind != SPEC_ML_DSA && crypto_supports(*spec))
        return true;
    return refuse(&c->failure, "ValidationException",
                  "1 validation error detected: Value '%s' at 'keyPairSpec' failed to satisfy "
                  "constraint: Member must satisfy enum value set",
                  name);
}

static bool generate_pair(call *c, bool with_plaintext)
{
    const key_spec *spec;
    const cJSON *context;
    bytes private = {0}, public = {0}, blob = {0};
    EVP_PKEY *pkey = NULL;
    key *k;
    bool ok = pair_spec(c, &spec) && in_context(c, "EncryptionContext", &context) &&
              in_key(c, "KeyId", true, &k) && usable(c, k, ENCRYPT) && must_be_symmetric(c, k) &&
              not_dry(c);

    if (ok)
        ok = (crypto_generate(spec, &private, &pkey) && crypto_public_key(pkey, &public) &&
              crypto_seal(k->family, context, private.data, private.len, &blob)) ||
             out_of_order(c);
    if (ok) {
        if (with_plaintext)
            out_bytes(c, "PrivateKeyPlaintext", private.data, private.len);
        out_bytes(c, "PrivateKeyCiphertextBlob", blob.data, blob.len);
        out_bytes(c, "PublicKey", public.data, public.len);
        out_text(c, "KeyPairSpec", spec->name);
        out_arn(c, "KeyId", k);
        out_material(c, "KeyMaterialId", family_current(k->family)->id);
    }
    EVP_PKEY_free(pkey);
    bytes_clear(&private);
    bytes_clear(&public);
    bytes_clear(&blob);
    return ok;
}

bool op_generate_data_key_pair(call *c)
{
    return generate_pair(c, true);
}

bool op_generate_data_key_pair_without_plaintext(call *c)
{
    return generate_pair(c, false);
}

bool op_generate_random(call *c)
{
    uint8_t random[1024];
    long size;

    if (!in_number(c, "NumberOfBytes", 1, 1024, 0, &size))
        return false;
    if (size == 0)
        return refuse(&c->failure, "ValidationException", "NumberOfBytes is required.");
    if (RAND_priv_bytes(random, (int)size) != 1)
        return out_of_order(c);
    out_bytes(c, "Plaintext", random, (size_t)size);
    OPENSSL_cleanse(random, sizeof(random));
    return true;
}
