/* Sign, Verify, GenerateMac, VerifyMac, GetPublicKey, DeriveSharedSecret, Encapsulate, Decapsulate.
 */
#include "call.h"

#include <openssl/crypto.h>
#include <string.h>

#define MESSAGE_MAX   4096
#define SIGNATURE_MAX 6144
#define SIGN          "SIGN_VERIFY"
#define MAC           "GENERATE_VERIFY_MAC"
#define AGREE         "KEY_AGREEMENT"
#define KEM           "ENCAPSULATE_DECAPSULATE"

/* What Sign and Verify have in common. */
typedef struct signing {
    key *k;
    const algorithm *a;
    bytes message;
    message_form form;
} signing;

static bool message_type(call *c, signing *s)
{
    const char *type;
    size_t size = 0;

    if (!in_text(c, "MessageType", false, 16, &type))
        return false;
    if (type == NULL || strcmp(type, "RAW") == 0)
        return true;
    if (strcmp(type, "DIGEST") == 0) {
        s->form = FORM_DIGEST;
        size = crypto_digest_size(s->a);
    } else if (strcmp(type, "EXTERNAL_MU") == 0 && s->a->kind == SPEC_ML_DSA) {
        s->form = FORM_MU;
        size = MU_SIZE;
    }
    if (size == 0)
        return refuse(&c->failure, "ValidationException",
                      "Message type %s is not valid for algorithm %s.", type, s->a->name);
    if (s->message.len != size)
        return refuse(&c->failure, "ValidationException",
                      "Digest is invalid length for algorithm %s.", s->a->name);
    return true;
}

static bool begin_signing(call *c, signing *s)
{
    return in_bytes(c, "Message", true, MESSAGE_MAX, &s->message) &&
           in_key(c, "KeyId", true, &s->k) && usable(c, s->k, SIGN) &&
           in_algorithm(c, "SigningAlgorithm", NULL, s->k, &s->a) && message_type(c, s);
}

bool op_sign(call *c)
{
    signing s = {0};
    bytes signature = {0};
    bool ok = begin_signing(c, &s) && not_dry(c);

    if (ok)
        ok = crypto_sign(s.k->family, s.a, s.form, s.message.data, s.message.len, &signature) ||
             out_of_order(c);
    if (ok) {
        out_arn(c, "KeyId", s.k);
        out_bytes(c, "Signature", signature.data, signature.len);
        out_text(c, "SigningAlgorithm", s.a->name);
    }
    bytes_clear(&s.message);
    bytes_clear(&signature);
    return ok;
}

bool op_verify(call *c)
{
    signing s = {0};
    bytes signature = {0};
    bool ok = in_bytes(c, "Signature", true, SIGNATURE_MAX, &signature) && begin_signing(c, &s) &&
              not_dry(c);

    if (ok && !crypto_verify(s.k->family, s.a, s.form, s.message.data, s.message.len,
                             signature.data, signature.len))
        ok = refuse(&c->failure, "KMSInvalidSignatureException", "%s", "");
    if (ok) {
        out_arn(c, "KeyId", s.k);
        cJSON_AddBoolToObject(c->out, "SignatureValid", true);
        out_text(c, "SigningAlgorithm", s.a->name);
    }
    bytes_clear(&s.message);
    bytes_clear(&signature);
    return ok;
}

static bool compute_mac(call *c, key **k, const algorithm **a, bytes *mac)
{
    bytes message = {0};
    bool ok = in_bytes(c, "Message", true, MESSAGE_MAX, &message) && in_key(c, "KeyId", true, k) &&
              usable(c, *k, MAC) && in_algorithm(c, "MacAlgorithm", NULL, *k, a) && not_dry(c);

    if (ok)
        ok = crypto_mac((*k)->family, *a, message.data, message.len, mac) || out_of_order(c);
    bytes_clear(&message);
    return ok;
}

bool op_generate_mac(call *c)
{
    key *k;
    const algorithm *a;
    bytes mac = {0};
    bool ok = compute_mac(c, &k, &a, &mac);

    if (ok) {
        out_bytes(c, "Mac", mac.data, mac.len);
        out_text(c, "MacAlgorithm", a->name);
        out_arn(c, "KeyId", k);
    }
    bytes_clear(&mac);
    return ok;
}

bool op_verify_mac(call *c)
{
    key *k;
    const algorithm *a;
    bytes mac = {0}, given = {0};
    bool ok = in_bytes(c, "Mac", true, SIGNATURE_MAX, &given) && compute_mac(c, &k, &a, &mac);

    if (ok && (mac.len != given.len || CRYPTO_memcmp(mac.data, given.data, mac.len) != 0))
        ok = refuse(&c->failure, "KMSInvalidMacException", "%s", "");
    if (ok) {
        out_arn(c, "KeyId", k);
        cJSON_AddBoolToObject(c->out, "MacValid", true);
        out_text(c, "MacAlgorithm", a->name);
    }
    bytes_clear(&mac);
    bytes_clear(&given);
    return ok;
}

static bool must_have_public_key(call *c, const key *k)
{
    char arn[ARN_SIZE];

    if (k->family->parsed != NULL)
        return true;
    key_arn(c->store, k, arn, sizeof(arn));
    return refuse(&c->failure, "UnsupportedOperationException",
                  "%s key spec is %s which is not "
                  "valid for GetPublicKey.",
                  arn, k->family->spec->name);
}

bool op_get_public_key(call *c)
{
    key *k;
    const algorithm *a = NULL;
    bytes spki = {0};
    bool ok = in_key(c, "KeyId", true, &k) && must_be_enabled(c, k) && must_have_public_key(c, k) &&
              (crypto_public_key(k->family->parsed, &spki) || out_of_order(c));

    if (!ok)
        return false;
    out_arn(c, "KeyId", k);
    out_bytes(c, "PublicKey", spki.data, spki.len);
    out_text(c, "KeySpec", k->family->spec->name);
    out_text(c, "CustomerMasterKeySpec", k->family->spec->name);
    out_text(c, "KeyUsage", k->family->usage);
    for (size_t i = 0; (a = algorithm_at(k->family->spec, k->family->usage, i)) != NULL; i++) {
        cJSON *list = cJSON_GetObjectItemCaseSensitive(c->out, a->member);
        if (list == NULL)
            list = cJSON_AddArrayToObject(c->out, a->member);
        cJSON_AddItemToArray(list, cJSON_CreateString(a->name));
    }
    bytes_clear(&spki);
    return true;
}

bool op_derive_shared_secret(call *c)
{
    key *k;
    const algorithm *a;
    bytes peer = {0}, secret = {0};
    bool ok = in_bytes(c, "PublicKey", true, 8192, &peer) && in_key(c, "KeyId", true, &k) &&
              usable(c, k, AGREE) && in_algorithm(c, "KeyAgreementAlgorithm", NULL, k, &a) &&
              not_dry(c);

    if (ok && !crypto_derive(k->family, peer.data, peer.len, &secret))
        ok = refuse(&c->failure, "ValidationException", "The public key is not valid for this key");
    if (ok) {
        out_arn(c, "KeyId", k);
        out_bytes(c, "SharedSecret", secret.data, secret.len);
        out_text(c, "KeyAgreementAlgorithm", a->name);
        out_text(c, "KeyOrigin", "AWS_KMS");
    }
    bytes_clear(&peer);
    bytes_clear(&secret);
    return ok;
}

bool op_encapsulate(call *c)
{
    key *k;
    const algorithm *a;
    bytes secret = {0}, ciphertext = {0};
    bool ok = in_key(c, "KeyId", true, &k) && usable(c, k, KEM) &&
              in_algorithm(c, "EncapsulationAlgorithm", NULL, k, &a) && not_dry(c);

    if (ok)
        ok = crypto_encapsulate(k->family, &secret, &ciphertext) || out_of_order(c);
    if (ok) {
        out_arn(c, "KeyId", k);
        out_bytes(c, "SharedSecret", secret.data, secret.len);
        out_bytes(c, "SharedSecretCiphertextBlob", ciphertext.data, ciphertext.len);
        out_text(c, "EncapsulationAlgorithm", a->name);
    }
    bytes_clear(&secret);
    bytes_clear(&ciphertext);
    return ok;
}

bool op_decapsulate(call *c)
{
    key *k;
    const algorithm *a;
    bytes secret = {0}, ciphertext = {0};
    bool ok = in_bytes(c, "SharedSecretCiphertextBlob", true, SIGNATURE_MAX, &ciphertext) &&
              in_key(c, "KeyId", true, &k) && usable(c, k, KEM) &&
              in_algorithm(c, "EncapsulationAlgorithm", NULL, k, &a) && not_dry(c);

    if (ok && !crypto_decapsulate(k->family, ciphertext.data, ciphertext.len, &secret))
        ok = refuse(&c->failure, "InvalidCiphertextException", "%s", "");
    if (ok) {
        out_arn(c, "KeyId", k);
        out_bytes(c, "SharedSecret", secret.data, secret.len);
        out_text(c, "EncapsulationAlgorithm", a->name);
    }
    bytes_clear(&secret);
    bytes_clear(&ciphertext);
    return ok;
}
