/* What the client does with asymmetric and HMAC keys: against a real server, and against a peer
 * that answers as no real KMS would. */
#include "tests/integration/peer.h"
#include "tests/integration/server.h"
#include "tests/unit/settings.h"

#include "core/asymmetric.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <pthread.h>

static test_server server;

/* ---- shared ---- */

static void expect(const char *what, kms_status got, kms_status wanted, const kms_error *err)
{
    if (got != wanted)
        fail_msg("%s: %s instead of %s (%s)", what, kms_status_name(got), kms_status_name(wanted),
                 err->detail);
}

static kms_status load(kms_client *client, const char *name, kms_key **key, kms_error *err)
{
    kms_address address = {0};
    kms_status st = kms_address_parse(name, &address, err);

    if (st == KMS_OK)
        st = kms_client_key(client, &address, key, err);
    kms_address_clear(&address);
    return st;
}

/* ---- the real server ---- */

typedef struct fixture {
    kms_client *client;
    kms_key *key;
    kms_error err;
} fixture;

static fixture open_fixture(const char *name)
{
    fixture f = {0};

    test_server_faults(&server, "[]");
    if (kms_client_open(NULL, &f.client, &f.err) != KMS_OK ||
        load(f.client, name, &f.key, &f.err) != KMS_OK)
        fail_msg("%s: %s", kms_status_name(f.err.status), f.err.detail);
    test_server_reset(&server);
    return f;
}

static void close_fixture(fixture *f)
{
    kms_key_free(f->key);
    kms_client_close(f->client);
    assert_int_equal(ERR_peek_error(), 0);
}

static kms_bytes some_bytes(size_t len)
{
    static uint8_t bytes[8192];

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7 + 1);
    return (kms_bytes){bytes, len};
}

static const kms_algorithm *nth(const fixture *f, kms_scheme scheme, size_t n)
{
    const kms_algorithm *algorithm = kms_algorithm_at(kms_key_kind(f->key), scheme, n);

    assert_non_null(algorithm);
    return algorithm;
}

static void loading_asks_for_metadata_and_public_half_once(void **state)
{
    fixture f = {0};
    kms_key *again = NULL;

    (void)state;
    assert_int_equal(kms_client_open(NULL, &f.client, NULL), KMS_OK);
    test_server_reset(&server);
    assert_int_equal(load(f.client, "kms:alias/p256", &f.key, &f.err), KMS_OK);
    assert_int_equal(load(f.client, "kms:alias/p256", &again, &f.err), KMS_OK);
    assert_int_equal(test_server_count(&server, "DescribeKey"), 1);
    assert_int_equal(test_server_count(&server, "GetPublicKey"), 1);
    assert_string_equal(kms_key_kind(f.key)->name, "ECC_NIST_P256");
    assert_non_null(kms_key_public(f.key));
    assert_true(kms_key_spki(f.key).len > 0);
    assert_false(kms_key_is_symmetric(f.key));
    kms_key_free(again);
    close_fixture(&f);
}

static void keys_without_a_public_half_have_none(void **state)
{
    static const char *const names[] = {"kms:alias/hmac", "kms:alias/matbakh-ai"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        fixture f = open_fixture(names[i]);
        assert_null(kms_key_public(f.key));
        assert_int_equal(kms_key_spki(f.key).len, 0);
        assert_int_equal(test_server_count(&server, "GetPublicKey"), 0);
        close_fixture(&f);
    }
}

static void every_signing_algorithm_works_in_one_request(void **state)
{
    static const struct {
        const char *name;
        kms_scheme scheme;
        size_t count;
    } rows[] = {
        {"kms:alias/rsa", KMS_SCHEME_PKCS1, 3},  {"kms:alias/rsa", KMS_SCHEME_PSS, 3},
        {"kms:alias/p256", KMS_SCHEME_ECDSA, 1}, {"kms:alias/p384", KMS_SCHEME_ECDSA, 1},
        {"kms:alias/p521", KMS_SCHEME_ECDSA, 1}, {"kms:alias/k1", KMS_SCHEME_ECDSA, 1},
        {"kms:alias/ed", KMS_SCHEME_EDDSA, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fixture f = open_fixture(rows[i].name);
        for (size_t n = 0; n < rows[i].count; n++) {
            const kms_algorithm *algorithm = nth(&f, rows[i].scheme, n);
            kms_bytes in = some_bytes(algorithm->digest_len != 0 ? algorithm->digest_len : 4096);
            kms_buffer signature = {0};
            expect(algorithm->name,
                   kms_client_sign(f.client, f.key, algorithm, in, &signature, &f.err), KMS_OK,
                   &f.err);
            assert_int_equal(test_server_count(&server, "Sign"), (long)n + 1);
            assert_int_equal(test_server_count(&server, "Verify"), 0);
            kms_buffer_clear(&signature);
        }
        close_fixture(&f);
    }
}

static void input_of_a_wrong_size_is_refused_before_any_request(void **state)
{
    static const struct {
        const char *name;
        kms_scheme scheme;
        size_t len;
        kms_status status;
    } rows[] = {
        {"kms:alias/rsa", KMS_SCHEME_PKCS1, 0, KMS_E_DIGEST_SIZE},
        {"kms:alias/rsa", KMS_SCHEME_PKCS1, 31, KMS_E_DIGEST_SIZE},
        {"kms:alias/rsa", KMS_SCHEME_PSS, 33, KMS_E_DIGEST_SIZE},
        {"kms:alias/rsa", KMS_SCHEME_PSS, 48, KMS_E_DIGEST_SIZE},
        {"kms:alias/p256", KMS_SCHEME_ECDSA, 20, KMS_E_DIGEST_SIZE},
        {"kms:alias/p256", KMS_SCHEME_ECDSA, 36, KMS_E_DIGEST_SIZE},
        {"kms:alias/p521", KMS_SCHEME_ECDSA, 65, KMS_E_DIGEST_SIZE},
        {"kms:alias/ed", KMS_SCHEME_EDDSA, 0, KMS_E_MESSAGE_EMPTY},
        {"kms:alias/ed", KMS_SCHEME_EDDSA, 4097, KMS_E_MESSAGE_TOO_LARGE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fixture f = open_fixture(rows[i].name);
        kms_buffer signature = {0};
        expect(rows[i].name,
               kms_client_sign(f.client, f.key, nth(&f, rows[i].scheme, 0), some_bytes(rows[i].len),
                               &signature, &f.err),
               rows[i].status, &f.err);
        assert_null(signature.data);
        assert_int_equal(test_server_count(&server, "Sign"), 0);
        close_fixture(&f);
    }
}

/* What the standard makes of a digest that is longer or shorter than the curve. */
static void ecdsa_takes_digests_of_other_hashes(void **state)
{
    static const char *const names[] = {"kms:alias/p256", "kms:alias/p384", "kms:alias/p521",
                                        "kms:alias/k1"};
    static const size_t sizes[] = {28, 32, 48, 64};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        fixture f = open_fixture(names[i]);
        for (size_t s = 0; s < 4; s++) {
            kms_bytes digest = some_bytes(sizes[s]);
            kms_buffer signature = {0};
            EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(kms_client_libctx(f.client),
                                                           kms_key_public(f.key), NULL);
            expect(names[i],
                   kms_client_sign(f.client, f.key, nth(&f, KMS_SCHEME_ECDSA, 0), digest,
                                   &signature, &f.err),
                   KMS_OK, &f.err);
            assert_int_equal(EVP_PKEY_verify_init(ctx), 1);
            assert_int_equal(
                EVP_PKEY_verify(ctx, signature.data, signature.len, digest.data, digest.len), 1);
            EVP_PKEY_CTX_free(ctx);
            kms_buffer_clear(&signature);
        }
        close_fixture(&f);
    }
}

static void keys_of_another_use_are_refused_before_any_request(void **state)
{
    fixture f = open_fixture("kms:alias/rsa-encrypt");
    kms_buffer signature = {0};
    kms_secret secret = {0};

    (void)state;
    expect("sign",
           kms_client_sign(f.client, f.key, nth(&f, KMS_SCHEME_PKCS1, 0), some_bytes(32),
                           &signature, &f.err),
           KMS_E_KEY_USAGE, &f.err);
    assert_non_null(strstr(f.err.detail, "RSA_2048 for ENCRYPT_DECRYPT, not for SIGN_VERIFY"));
    close_fixture(&f);
    f = open_fixture("kms:alias/rsa");
    expect("decrypt",
           kms_client_decrypt(f.client, f.key, nth(&f, KMS_SCHEME_OAEP, 0), some_bytes(256),
                              &secret, &f.err),
           KMS_E_KEY_USAGE, &f.err);
    assert_int_equal(test_server_count(&server, "Sign"), 0);
    assert_int_equal(test_server_count(&server, "Decrypt"), 0);
    close_fixture(&f);
}

/* A reference does not tell the usage: then KMS refuses. */
static void a_reference_to_a_key_of_another_use_is_refused_by_kms(void **state)
{
    fixture f = open_fixture("kms:alias/rsa-encrypt");
    const kms_reference reference = {
        .arn = (char *)(uintptr_t)kms_key_arn(f.key),
        .spki = {(uint8_t *)(uintptr_t)kms_key_spki(f.key).data, kms_key_spki(f.key).len}};
    kms_key *referred = NULL;
    kms_buffer signature = {0};

    (void)state;
    assert_int_equal(kms_client_key_of_reference(f.client, &reference, &referred, &f.err), KMS_OK);
    assert_string_equal(kms_key_usage(referred), "");
    expect("sign",
           kms_client_sign(f.client, referred, nth(&f, KMS_SCHEME_PKCS1, 0), some_bytes(32),
                           &signature, &f.err),
           KMS_E_KEY_USAGE, &f.err);
    assert_int_equal(test_server_count(&server, "Sign"), 1);
    kms_key_free(referred);
    close_fixture(&f);
}

static void a_reference_needs_no_network_and_signs_as_the_key(void **state)
{
    fixture f = open_fixture("kms:alias/p256"), fresh = {0};
    kms_reference reference = {
        .arn = (char *)(uintptr_t)kms_key_arn(f.key),
        .spki = {(uint8_t *)(uintptr_t)kms_key_spki(f.key).data, kms_key_spki(f.key).len}};
    const kms_algorithm *algorithm = nth(&f, KMS_SCHEME_ECDSA, 0);
    kms_buffer signature = {0};

    (void)state;
    assert_int_equal(kms_client_open(NULL, &fresh.client, NULL), KMS_OK);
    assert_int_equal(kms_client_key_of_reference(fresh.client, &reference, &fresh.key, &fresh.err),
                     KMS_OK);
    assert_int_equal(test_server_count(&server, "connections"), 1); /* the one that asks */
    assert_int_equal(test_server_count(&server, "DescribeKey"), 0);
    expect(
        "sign",
        kms_client_sign(fresh.client, fresh.key, algorithm, some_bytes(32), &signature, &fresh.err),
        KMS_OK, &fresh.err);
    assert_int_equal(test_server_count(&server, "Sign"), 1);
    kms_buffer_clear(&signature);
    close_fixture(&fresh);
    close_fixture(&f);
}

static void references_to_places_that_are_not_allowed_are_refused(void **state)
{
    static const struct {
        const char *arn;
        kms_status status;
    } rows[] = {
        {"arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
         KMS_E_REGION_NOT_ALLOWED},
        {"arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
         KMS_E_REGION_NOT_ALLOWED},
    };
    fixture f = open_fixture("kms:alias/p256");

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const kms_reference reference = {.arn = (char *)(uintptr_t)rows[i].arn};
        kms_key *key = NULL;
        expect(rows[i].arn, kms_client_key_of_reference(f.client, &reference, &key, &f.err),
               rows[i].status, &f.err);
        assert_null(key);
    }
    close_fixture(&f);
}

/* ---- threads ---- */

#define THREADS 32

static void *load_and_sign(void *arg)
{
    kms_client *client = arg;
    kms_key *key = NULL;
    kms_buffer signature = {0};
    kms_status st = load(client, "kms:alias/p256", &key, NULL);

    if (st == KMS_OK)
        st = kms_client_sign(client, key, kms_algorithm_at(kms_key_kind(key), KMS_SCHEME_ECDSA, 0),
                             (kms_bytes){(const uint8_t *)"0123456789abcdef0123456789abcdef", 32},
                             &signature, NULL);
    kms_buffer_clear(&signature);
    kms_key_free(key);
    return st == KMS_OK ? NULL : (void *)(uintptr_t)kms_status_name(st);
}

static void many_first_users_ask_for_the_key_once(void **state)
{
    pthread_t threads[THREADS];
    kms_client *client = NULL;

    (void)state;
    test_server_faults(&server, "[]");
    assert_int_equal(kms_client_open(NULL, &client, NULL), KMS_OK);
    test_server_reset(&server);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, load_and_sign, client), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        if (failed != NULL)
            fail_msg("thread %d: %s", i, (const char *)failed);
    }
    assert_int_equal(test_server_count(&server, "DescribeKey"), 1);
    assert_int_equal(test_server_count(&server, "GetPublicKey"), 1);
    assert_int_equal(test_server_count(&server, "Sign"), THREADS);
    kms_client_close(client);
}

/* ---- a peer that is no KMS ---- */

#define KEY_ID "1234abcd-12ab-34cd-56ef-1234567890ab"
#define KEY    "arn:aws:kms:eu-central-1:111122223333:key/" KEY_ID
#define OTHER  "arn:aws:kms:eu-central-1:111122223333:key/99999999-12ab-34cd-56ef-1234567890ab"
#define ROOM   8192

static void base64(const uint8_t *data, size_t len, char *out)
{
    assert_true(len * 4 / 3 + 4 < ROOM / 2);
    EVP_EncodeBlock((unsigned char *)out, data, (int)len);
}

static void described(const char *spec, char *answer)
{
    char body[ROOM / 2];

    snprintf(body, sizeof(body),
             "{\"KeyMetadata\":{\"Arn\":\"" KEY "\",\"KeyId\":\"" KEY_ID
             "\",\"KeySpec\":\"%s\",\"KeyUsage\":\"SIGN_VERIFY\",\"KeyState\":\"Enabled\"}}",
             spec);
    peer_json(answer, ROOM, 200, "", body);
}

static void public_key(const uint8_t *spki, size_t len, const char *arn, char *answer)
{
    char text[ROOM / 2], body[ROOM];

    base64(spki, len, text);
    snprintf(body, sizeof(body), "{\"KeyId\":\"%s\",\"PublicKey\":\"%s\"}", arn, text);
    peer_json(answer, ROOM, 200, "", body);
}

static void signature_by(const uint8_t *signature, size_t len, const char *arn,
                         const char *algorithm, char *answer)
{
    char text[ROOM / 2], body[ROOM];

    base64(signature, len, text);
    snprintf(body, sizeof(body),
             "{\"KeyId\":\"%s\",\"Signature\":\"%s\",\"SigningAlgorithm\":\"%s\"}", arn, text,
             algorithm);
    peer_json(answer, ROOM, 200, "", body);
}

/* A client whose only place is the peer. */
typedef struct peer_fixture {
    test_peer peer;
    kms_client *client;
    kms_error err;
    char config[PATH_SIZE];
    char url[96];
} peer_fixture;

static void open_peer(peer_fixture *f, const peer_answer *script, size_t count,
                      const char *settings)
{
    const kms_config_given given = {.path = f->config};

    *f = (peer_fixture){0};
    test_peer_start(&f->peer, script, count);
    snprintf(f->url, sizeof(f->url), "%s", getenv("AWS_ENDPOINT_URL_KMS"));
    setenv("AWS_ENDPOINT_URL_KMS", f->peer.url, 1);
    make_file(settings, strlen(settings), f->config);
    if (kms_client_open(&given, &f->client, &f->err) != KMS_OK)
        fail_msg("%s: %s", kms_status_name(f->err.status), f->err.detail);
}

static void close_peer(peer_fixture *f)
{
    kms_client_close(f->client);
    test_peer_stop(&f->peer);
    unlink(f->config);
    setenv("AWS_ENDPOINT_URL_KMS", f->url, 1);
    assert_int_equal(ERR_peek_error(), 0);
}

/* An ordinary key that plays one of KMS. */
typedef struct played_key {
    EVP_PKEY *key;
    uint8_t *spki;
    size_t len;
} played_key;

static played_key play(const char *type, const char *group)
{
    played_key p = {.key = group != NULL ? EVP_PKEY_Q_keygen(NULL, NULL, type, group)
                                         : EVP_PKEY_Q_keygen(NULL, NULL, type)};

    assert_non_null(p.key);
    p.len = (size_t)i2d_PUBKEY(p.key, &p.spki);
    return p;
}

static void stop_playing(played_key *p)
{
    EVP_PKEY_free(p->key);
    OPENSSL_free(p->spki);
}

static void a_public_half_that_is_not_the_key_s_is_refused(void **state)
{
    played_key p256 = play("EC", "P-256"), k1 = play("EC", "secp256k1"), ed = play("ED25519", NULL);
    const struct {
        const char *what, *spec, *arn;
        const played_key *key;
        size_t less;
        kms_status status;
    } rows[] = {
        {"right", "ECC_NIST_P256", KEY, &p256, 0, KMS_OK},
        {"of another curve", "ECC_NIST_P256", KEY, &k1, 0, KMS_E_PUBLIC_KEY},
        {"of another curve of that size", "ECC_SECG_P256K1", KEY, &p256, 0, KMS_E_PUBLIC_KEY},
        {"of another type", "RSA_2048", KEY, &p256, 0, KMS_E_PUBLIC_KEY},
        {"Ed25519 for P-256", "ECC_NIST_P256", KEY, &ed, 0, KMS_E_PUBLIC_KEY},
        {"cut", "ECC_NIST_P256", KEY, &p256, 1, KMS_E_PUBLIC_KEY},
        {"of another key", "ECC_NIST_P256", OTHER, &p256, 0, KMS_E_REPLY_OTHER_KEY},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        static char first[ROOM], second[ROOM];
        const peer_answer script[] = {{first, PEER_KEEP}, {second, PEER_KEEP}};
        peer_fixture f;
        kms_key *key = NULL;
        described(rows[i].spec, first);
        public_key(rows[i].key->spki, rows[i].key->len - rows[i].less, rows[i].arn, second);
        open_peer(&f, script, 2, "");
        expect(rows[i].what, load(f.client, KEY, &key, &f.err), rows[i].status, &f.err);
        assert_int_equal(key != NULL, rows[i].status == KMS_OK);
        kms_key_free(key);
        close_peer(&f);
    }
    stop_playing(&ed);
    stop_playing(&k1);
    stop_playing(&p256);
}

/* By the played key, over a digest of 32 bytes. */
static size_t sign_as(const played_key *p, kms_bytes digest, uint8_t out[256])
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(p->key, NULL);
    size_t len = 256;

    assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
    assert_int_equal(EVP_PKEY_sign(ctx, out, &len, digest.data, digest.len), 1);
    EVP_PKEY_CTX_free(ctx);
    return len;
}

/* What the third answer of a peer is, and what becomes of it. */
typedef struct forged {
    const char *what, *arn, *algorithm, *settings;
    const played_key *signer;
    size_t less;   /* bytes cut */
    unsigned flip; /* of the last byte */
    kms_status status;
} forged;

static void check_forged(const forged *row, const played_key *of)
{
    static char first[ROOM], second[ROOM], third[ROOM];
    const peer_answer script[] = {{first, PEER_KEEP}, {second, PEER_KEEP}, {third, PEER_KEEP}};
    const kms_bytes digest = some_bytes(32);
    kms_buffer signature = {0};
    uint8_t made[256];
    size_t len = sign_as(row->signer, digest, made);
    peer_fixture f;
    kms_key *key = NULL;

    made[len - 1] ^= (uint8_t)row->flip;
    described("ECC_NIST_P256", first);
    public_key(of->spki, of->len, KEY, second);
    signature_by(made, len - row->less, row->arn, row->algorithm, third);
    open_peer(&f, script, 3, row->settings);
    expect(row->what, load(f.client, KEY, &key, &f.err), KMS_OK, &f.err);
    expect(row->what,
           kms_client_sign(f.client, key, kms_algorithm_at(kms_key_kind(key), KMS_SCHEME_ECDSA, 0),
                           digest, &signature, &f.err),
           row->status, &f.err);
    assert_int_equal(signature.data != NULL, row->status == KMS_OK);
    assert_int_equal(atomic_load(&f.peer.requests), 3); /* and asked once only */
    kms_buffer_clear(&signature);
    kms_key_free(key);
    close_peer(&f);
}

static void a_signature_that_is_not_the_key_s_is_thrown_away(void **state)
{
    static const char off[] = "verify_signatures = no\n";
    played_key mine = play("EC", "P-256"), other = play("EC", "P-256");
    const forged rows[] = {
        {"right", KEY, "ECDSA_SHA_256", "", &mine, 0, 0, KMS_OK},
        {"of another key", OTHER, "ECDSA_SHA_256", "", &mine, 0, 0, KMS_E_REPLY_OTHER_KEY},
        {"of another algorithm", KEY, "ECDSA_SHA_384", "", &mine, 0, 0, KMS_E_REPLY_MALFORMED},
        {"made by another key", KEY, "ECDSA_SHA_256", "", &other, 0, 0, KMS_E_REPLY_SIGNATURE},
        {"cut", KEY, "ECDSA_SHA_256", "", &mine, 1, 0, KMS_E_REPLY_SIGNATURE},
        {"altered", KEY, "ECDSA_SHA_256", "", &mine, 0, 1, KMS_E_REPLY_SIGNATURE},
        /* Who turns the check off gets what came; whose it is, is still looked at. */
        {"unchecked", KEY, "ECDSA_SHA_256", off, &other, 0, 0, KMS_OK},
        {"unchecked, of another key", OTHER, "ECDSA_SHA_256", off, &mine, 0, 0,
         KMS_E_REPLY_OTHER_KEY},
        {"unchecked, of another algorithm", KEY, "ECDSA_SHA_512", off, &mine, 0, 0,
         KMS_E_REPLY_MALFORMED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_forged(&rows[i], &mine);
    stop_playing(&other);
    stop_playing(&mine);
}

static int set_up(void **state)
{
    static const char *const options[] = {
        "--seed-key", "alias/rsa:RSA_2048:SIGN_VERIFY",
        "--seed-key", "alias/rsa-encrypt:RSA_2048:ENCRYPT_DECRYPT",
        "--seed-key", "alias/p256:ECC_NIST_P256:SIGN_VERIFY",
        "--seed-key", "alias/p384:ECC_NIST_P384:SIGN_VERIFY",
        "--seed-key", "alias/p521:ECC_NIST_P521:SIGN_VERIFY",
        "--seed-key", "alias/k1:ECC_SECG_P256K1:SIGN_VERIFY",
        "--seed-key", "alias/ed:ECC_NIST_EDWARDS25519:SIGN_VERIFY",
        "--seed-key", "alias/hmac:HMAC_256:GENERATE_VERIFY_MAC",
        NULL};

    (void)state;
    clear_environment();
    test_server_start(&server, options);
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
        cmocka_unit_test(loading_asks_for_metadata_and_public_half_once),
        cmocka_unit_test(keys_without_a_public_half_have_none),
        cmocka_unit_test(every_signing_algorithm_works_in_one_request),
        cmocka_unit_test(input_of_a_wrong_size_is_refused_before_any_request),
        cmocka_unit_test(ecdsa_takes_digests_of_other_hashes),
        cmocka_unit_test(keys_of_another_use_are_refused_before_any_request),
        cmocka_unit_test(a_reference_to_a_key_of_another_use_is_refused_by_kms),
        cmocka_unit_test(a_reference_needs_no_network_and_signs_as_the_key),
        cmocka_unit_test(references_to_places_that_are_not_allowed_are_refused),
        cmocka_unit_test(many_first_users_ask_for_the_key_once),
        cmocka_unit_test(a_public_half_that_is_not_the_key_s_is_refused),
        cmocka_unit_test(a_signature_that_is_not_the_key_s_is_thrown_away),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
