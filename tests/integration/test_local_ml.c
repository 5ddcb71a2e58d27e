/* ML-DSA and ML-KEM keys of kms-local as they are on the wire. With OpenSSL before 3.5 it has none,
 * and says so. */
#include "tests/integration/wire.h"
#include "tests/unit/unit.h"

#include <openssl/evp.h>
#include <openssl/opensslv.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static test_server server;

static void create(const char *spec, const char *usage, char id[64])
{
    char body[128];

    snprintf(body, sizeof(body), "{\"KeySpec\":\"%s\",\"KeyUsage\":\"%s\"}", spec, usage);
    const wire_request request = {.operation = "CreateKey", .body = body};
    wire_get(&server, &request, "KeyMetadata.KeyId", id, 64);
}

#if OPENSSL_VERSION_PREREQ(3, 5)
#define TEXT_MAX 8192
#define BODY_MAX 24576

/* The body of a request, by format. */
#define FILL(body, ...) (snprintf(body, BODY_MAX, __VA_ARGS__), (body))

#define SIGN(type)                                                                                 \
    "{\"KeyId\":\"%s\",\"Message\":\"%s\",\"MessageType\":\"" type                                 \
    "\",\"SigningAlgorithm\":\"ML_DSA_SHAKE_256\"}"

/* Base64 of so many zero bytes. */
static void zeros(size_t len, char text[TEXT_MAX])
{
    static const unsigned char none[8192];

    EVP_EncodeBlock((unsigned char *)text, none, (int)len);
}

static void ml_dsa_signs_messages_and_their_mu(void **state)
{
    static const char *const specs[] = {"ML_DSA_44", "ML_DSA_65", "ML_DSA_87"};
    char id[64], message[TEXT_MAX], signature[TEXT_MAX], body[BODY_MAX], verify[BODY_MAX];

    (void)state;
    zeros(64, message);
    for (size_t i = 0; i < 3; i++) {
        create(specs[i], "SIGN_VERIFY", id);
        for (int mu = 0; mu < 2; mu++) {
            const wire_request sign = {
                .operation = "Sign",
                .body = FILL(body, mu ? SIGN("EXTERNAL_MU") : SIGN("RAW"), id, message)};
            wire_get(&server, &sign, "Signature", signature, sizeof(signature));
            for (int as_mu = 0; as_mu < 2; as_mu++) {
                snprintf(verify, sizeof(verify),
                         "{\"KeyId\":\"%s\",\"Message\":\"%s\",\"MessageType\":\"%s\","
                         "\"SigningAlgorithm\":\"ML_DSA_SHAKE_256\",\"Signature\":\"%s\"}",
                         id, message, as_mu ? "EXTERNAL_MU" : "RAW", signature);
                const wire_request check = {.operation = "Verify", .body = verify};
                wire_expect(&server, &check, as_mu == mu ? "" : "KMSInvalidSignatureException");
            }
        }
    }
}

static void ml_dsa_refuses_other_sizes_and_types(void **state)
{
    char id[64], p256[64], message[TEXT_MAX], body[BODY_MAX];

    (void)state;
    create("ML_DSA_65", "SIGN_VERIFY", id);
    create("ECC_NIST_P256", "SIGN_VERIFY", p256);
    zeros(63, message);
    const wire_request size = {.operation = "Sign",
                               .body = FILL(body, SIGN("EXTERNAL_MU"), id, message)};
    wire_expect(&server, &size, "ValidationException");
    zeros(4097, message);
    const wire_request large = {.operation = "Sign", .body = FILL(body, SIGN("RAW"), id, message)};
    wire_expect(&server, &large, "ValidationException");
    zeros(32, message);
    const wire_request digest = {.operation = "Sign",
                                 .body = FILL(body, SIGN("DIGEST"), id, message)};
    wire_expect(&server, &digest, "ValidationException");
    const wire_request other = {.operation = "Sign",
                                .body = FILL(body, SIGN("RAW"), p256, message)};
    wire_expect(&server, &other, "InvalidKeyUsageException");
    zeros(64, message);
    const wire_request mu = {
        .operation = "Sign",
        .body = FILL(body,
                     "{\"KeyId\":\"%s\",\"Message\":\"%s\",\"MessageType\":\"EXTERNAL_MU\","
                     "\"SigningAlgorithm\":\"ECDSA_SHA_256\"}",
                     p256, message)};
    wire_expect(&server, &mu, "ValidationException");
}

static void what_ml_kem_encapsulates_it_decapsulates(void **state)
{
    static const char *const specs[] = {"ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"};
    static const size_t sizes[] = {768, 1088, 1568};
    char id[64], text[TEXT_MAX], body[BODY_MAX], got[128];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        create(specs[i], "ENCAPSULATE_DECAPSULATE", id);
        const wire_request encapsulate = {
            .operation = "Encapsulate",
            .body = FILL(body, "{\"KeyId\":\"%s\",\"EncapsulationAlgorithm\":\"ML_KEM\"}", id)};
        wire_reply reply;
        wire_send(&server, &encapsulate, &reply);
        assert_int_equal(reply.status, 200);
        const char *secret =
            cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(reply.json, "SharedSecret"));
        const char *blob = cJSON_GetStringValue(
            cJSON_GetObjectItemCaseSensitive(reply.json, "SharedSecretCiphertextBlob"));
        assert_int_equal(strlen(secret), 44);
        assert_int_equal(strlen(blob), (sizes[i] + 2) / 3 * 4);
#define DECAPSULATE                                                                                \
    "{\"KeyId\":\"%s\",\"SharedSecretCiphertextBlob\":\"%s\","                                     \
    "\"EncapsulationAlgorithm\":\"ML_KEM\"}"
        const wire_request decapsulate = {.operation = "Decapsulate",
                                          .body = FILL(body, DECAPSULATE, id, blob)};
        wire_get(&server, &decapsulate, "SharedSecret", got, sizeof(got));
        assert_string_equal(got, secret);
        wire_reply_clear(&reply);
        zeros(sizes[i], text); /* wrong, but of the right size: another secret */
        const wire_request wrong = {.operation = "Decapsulate",
                                    .body = FILL(body, DECAPSULATE, id, text)};
        wire_expect(&server, &wrong, "");
        zeros(sizes[i] - 1, text);
        const wire_request size = {.operation = "Decapsulate",
                                   .body = FILL(body, DECAPSULATE, id, text)};
        wire_expect(&server, &size, "InvalidCiphertextException");
    }
}

static void ml_keys_survive_a_restart(void **state)
{
    char path[] = "/tmp/kms-local-ml-XXXXXX", first[TEXT_MAX], second[TEXT_MAX];
    const wire_request get = {.operation = "GetPublicKey", .body = "{\"KeyId\":\"alias/ml\"}"};
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
    for (int kem = 0; kem < 2; kem++) {
        const char *const options[] = {"--db", path, "--seed-key",
                                       kem ? "alias/ml:ML_KEM_768" : "alias/ml:ML_DSA_65", NULL};
        test_server one, two;
        test_server_start(&one, options);
        wire_get(&one, &get, "PublicKey", first, sizeof(first));
        test_server_stop(&one);
        test_server_start(&two, options);
        wire_get(&two, &get, "PublicKey", second, sizeof(second));
        test_server_stop(&two);
        assert_string_equal(first, second);
        unlink(path);
    }
}
#else
static void ml_keys_need_another_openssl(void **state)
{
    static const char *const specs[] = {"ML_DSA_44",  "ML_DSA_65",  "ML_DSA_87",
                                        "ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"};
    const char *const seed[] = {"--seed-key", "alias/x:ML_DSA_65:SIGN_VERIFY", NULL};
    char body[128], said[1024], id[64];

    (void)state;
    create("ECC_NIST_P256", "SIGN_VERIFY", id); /* others it makes */
    for (size_t i = 0; i < 6; i++) {
        snprintf(body, sizeof(body), "{\"KeySpec\":\"%s\",\"KeyUsage\":\"%s\"}", specs[i],
                 i < 3 ? "SIGN_VERIFY" : "ENCAPSULATE_DECAPSULATE");
        const wire_request request = {.operation = "CreateKey", .body = body};
        wire_reply reply;
        wire_send(&server, &request, &reply);
        assert_string_equal(reply.exception, "UnsupportedOperationException");
        assert_non_null(strstr(reply.text, "OpenSSL 3.5"));
        wire_reply_clear(&reply);
    }
    assert_int_not_equal(test_server_run(seed, said, sizeof(said)), 0);
    assert_non_null(strstr(said, "ML_DSA_65 needs OpenSSL 3.5"));
}
#endif

static int set_up(void **state)
{
    (void)state;
    test_server_start(&server, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#if OPENSSL_VERSION_PREREQ(3, 5)
        cmocka_unit_test(ml_dsa_signs_messages_and_their_mu),
        cmocka_unit_test(ml_dsa_refuses_other_sizes_and_types),
        cmocka_unit_test(what_ml_kem_encapsulates_it_decapsulates),
        cmocka_unit_test(ml_keys_survive_a_restart),
#else
        cmocka_unit_test(ml_keys_need_another_openssl),
#endif
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
