/* Signatures by RSA, EC and Ed25519 keys in KMS: what is asked for is what the default provider
 * verifies, or it is refused without a request. One request a signature, none for what is public.
 */
#include "tests/integration/wire.h"
#include "tests/provider/application.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <sys/wait.h>
#include <unistd.h>

#define RSA_KEY "kms:alias/rsa"
#define P256    "kms:alias/p256"
#define P384    "kms:alias/p384"
#define P521    "kms:alias/p521"
#define K1      "kms:alias/k1"
#define ED      "kms:alias/ed"

static test_server server;

typedef struct fixture {
    application app;
    EVP_PKEY *key, *public; /* the public half is an ordinary key */
} fixture;

static fixture open_fixture(const char *uri)
{
    fixture f = {0};

    ERR_clear_error(); /* of a test that failed */
    f.app = application_open();
    f.key = application_key(&f.app, uri);
    f.public = ordinary_public(f.key);
    test_server_reset(&server);
    return f;
}

/* What a test asked of KMS: so many signatures and nothing else. */
static void close_fixture(fixture *f, long signatures)
{
    assert_no_error();
    assert_int_equal(test_server_count(&server, "Sign"), signatures);
    assert_int_equal(requests(&server), signatures);
    EVP_PKEY_free(f->public);
    EVP_PKEY_free(f->key);
    application_close(&f->app);
}

/* ---- operations; the parameters are set in the order given ---- */

typedef struct wish {
    const char *digest, *padding, *salt, *mgf1; /* NULL: not set */
} wish;

static bool set(EVP_PKEY_CTX *ctx, const char *name, const char *value)
{
    return value == NULL || EVP_PKEY_CTX_ctrl_str(ctx, name, value) > 0;
}

static bool set_wish(EVP_PKEY_CTX *ctx, const wish *w)
{
    return set(ctx, "rsa_padding_mode", w->padding) && set(ctx, "rsa_pss_saltlen", w->salt) &&
           set(ctx, "rsa_mgf1_md", w->mgf1);
}

/* In parts of growing size. */
static bool digest_sign(const fixture *f, const wish *w, const bytes *message, bytes *signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    bool ok =
        EVP_DigestSignInit_ex(ctx, &pctx, w->digest, f->app.libctx, NULL, f->key, NULL) == 1 &&
        set_wish(pctx, w);

    signature->len = sizeof(signature->data);
    if (EVP_PKEY_is_a(f->key, "ED25519")) {
        ok = ok && EVP_DigestSign(ctx, signature->data, &signature->len, message->data,
                                  message->len) == 1;
    } else {
        for (size_t at = 0, part = 1; ok && at < message->len; at += part, part++) {
            part = part < message->len - at ? part : message->len - at;
            ok = EVP_DigestSignUpdate(ctx, message->data + at, part) == 1;
        }
        ok = ok && EVP_DigestSignFinal(ctx, signature->data, &signature->len) == 1;
    }
    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool digest_verify(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const wish *w, const bytes *message,
                          const bytes *signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    bool ok;

    ERR_set_mark();
    ok = EVP_DigestVerifyInit_ex(ctx, &pctx, w->digest, libctx, NULL, key, NULL) == 1 &&
         set_wish(pctx, w) &&
         EVP_DigestVerify(ctx, signature->data, signature->len, message->data, message->len) == 1;
    ERR_pop_to_mark();
    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool sign(const fixture *f, const wish *w, const bytes *digest, bytes *signature)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(f->app.libctx, f->key, NULL);
    bool ok;

    signature->len = sizeof(signature->data);
    ok = EVP_PKEY_sign_init(ctx) == 1 && set(ctx, "digest", w->digest) && set_wish(ctx, w) &&
         EVP_PKEY_sign(ctx, signature->data, &signature->len, digest->data, digest->len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool verify(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const wish *w, const bytes *digest,
                   const bytes *signature)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    bool ok;

    ERR_set_mark();
    ok = EVP_PKEY_verify_init(ctx) == 1 && set(ctx, "digest", w->digest) && set_wish(ctx, w) &&
         EVP_PKEY_verify(ctx, signature->data, signature->len, digest->data, digest->len) == 1;
    ERR_pop_to_mark();
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* Length bytes that differ from one another. */
static bytes some_bytes(size_t len)
{
    bytes b = {.len = len};

    for (size_t i = 0; i < len; i++)
        b.data[i] = (unsigned char)(i * 7 + i / 256);
    return b;
}

/* ---- every algorithm ---- */

/* The last member is the digest's size. */
static const struct row {
    const char *uri;
    wish wish;
    size_t digest_len;
} rows[] = {
    {RSA_KEY, {.digest = "SHA256"}, 32},
    {RSA_KEY, {.digest = "SHA2-384"}, 48},
    {RSA_KEY, {.digest = "SHA-512"}, 64},
    {RSA_KEY, {.digest = "SHA256", .padding = "pkcs1"}, 32},
    {RSA_KEY, {.digest = "SHA256", .padding = "pss", .salt = "digest"}, 32},
    {RSA_KEY, {.digest = "SHA384", .padding = "pss", .salt = "digest"}, 48},
    {RSA_KEY, {.digest = "SHA512", .padding = "pss", .salt = "digest"}, 64},
    {"kms:alias/rsa3072", {.digest = "SHA384"}, 48},
    {"kms:alias/rsa4096", {.digest = "SHA512", .padding = "pss", .salt = "64"}, 64},
    {P256, {.digest = "SHA256"}, 32},
    {P384, {.digest = "SHA384"}, 48},
    {P521, {.digest = "SHA512"}, 64},
    {K1, {.digest = "SHA256"}, 32},
    /* The one digest size that KMS has for a curve stands for the others. */
    {P256, {.digest = "SHA512"}, 64},
    {P256, {.digest = "SHA384"}, 48},
    {P256, {.digest = "SHA224"}, 28},
    {P256, {.digest = "SHA3-256"}, 32},
    {P384, {.digest = "SHA256"}, 32},
    {P384, {.digest = "SHA512"}, 64},
    {P521, {.digest = "SHA256"}, 32},
    {P521, {.digest = "SHA3-384"}, 48},
    {K1, {.digest = "SHA512"}, 64},
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void say(const struct row *row)
{
    print_message("%s %s %s\n", row->uri, row->wish.digest,
                  row->wish.padding != NULL ? row->wish.padding : "");
}

static void messages_are_signed_in_one_request_and_verified_by_the_default_provider(void **state)
{
    const bytes message = some_bytes(5000),
                empty = {.len = 0}, *const inputs[] = {&message, &empty};
    bytes other = message, signature;

    (void)state;
    other.data[4999] ^= 1;
    for (size_t i = 0; i < ROWS; i++) {
        fixture f = open_fixture(rows[i].uri);
        say(&rows[i]);
        for (size_t m = 0; m < 2; m++) {
            assert_true(digest_sign(&f, &rows[i].wish, inputs[m], &signature));
            assert_true(digest_verify(NULL, f.public, &rows[i].wish, inputs[m], &signature));
            assert_true(digest_verify(f.app.libctx, f.key, &rows[i].wish, inputs[m], &signature));
            assert_false(digest_verify(f.app.libctx, f.key, &rows[i].wish, &other, &signature));
            signature.data[signature.len / 2] ^= 1;
            assert_false(digest_verify(f.app.libctx, f.key, &rows[i].wish, inputs[m], &signature));
        }
        close_fixture(&f, 2);
    }
}

static void digests_are_signed_as_they_are(void **state)
{
    bytes signature;

    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        fixture f = open_fixture(rows[i].uri);
        bytes digest = some_bytes(rows[i].digest_len), other = digest;
        say(&rows[i]);
        other.data[0] ^= 1;
        assert_true(sign(&f, &rows[i].wish, &digest, &signature));
        assert_true(verify(NULL, f.public, &rows[i].wish, &digest, &signature));
        assert_true(verify(f.app.libctx, f.key, &rows[i].wish, &digest, &signature));
        assert_false(verify(f.app.libctx, f.key, &rows[i].wish, &other, &signature));
        close_fixture(&f, 1);
    }
}

static void without_a_digest_the_key_s_own_is_used(void **state)
{
    static const char *const uris[] = {RSA_KEY, P256, P384, P521};
    const wish none = {0};
    bytes message = bytes_of("a message"), signature;

    (void)state;
    for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
        fixture f = open_fixture(uris[i]);
        char ours[64] = "", theirs[64] = "";
        assert_int_equal(EVP_PKEY_get_default_digest_name(f.key, ours, sizeof(ours)),
                         EVP_PKEY_get_default_digest_name(f.public, theirs, sizeof(theirs)));
        assert_string_equal(ours, theirs);
        assert_true(digest_sign(&f, &none, &message, &signature));
        assert_true(digest_verify(NULL, f.public, &none, &message, &signature));
        close_fixture(&f, 1);
    }
}

static void every_name_of_a_digest_is_understood(void **state)
{
    static const char *const names[] = {"SHA256", "sha256", "SHA-256", "SHA2-256",
                                        "2.16.840.1.101.3.4.2.1"};
    bytes message = bytes_of("a message"), signature;
    const wish plain = {.digest = "SHA256"};
    fixture f = open_fixture(RSA_KEY);

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const wish w = {.digest = names[i]};
        print_message("%s\n", names[i]);
        assert_true(digest_sign(&f, &w, &message, &signature));
        assert_true(digest_verify(NULL, f.public, &plain, &message, &signature));
    }
    close_fixture(&f, sizeof(names) / sizeof(names[0]));
}

/* ---- what KMS has not ---- */

#define NO_ALGORITHM "KMS has no such algorithm for this key"
#define DIGEST_SIZE  "digest has the wrong size"

static void what_kms_has_not_is_refused_without_a_request(void **state)
{
    static const struct {
        const char *uri;
        wish wish;
        const char *sentence, *detail;
    } cases[] = {
        {RSA_KEY, {.digest = "SHA1"}, NO_ALGORITHM, "digest SHA1"},
        {RSA_KEY, {.digest = "SHA224"}, NO_ALGORITHM, "digest SHA224"},
        {RSA_KEY, {.digest = "SHA3-256"}, NO_ALGORITHM, "digest SHA3-256"},
        {RSA_KEY, {.digest = "SHA512-256"}, NO_ALGORITHM, "digest SHA512-256"},
        {RSA_KEY, {.digest = "MD5-SHA1"}, NO_ALGORITHM, "digest MD5-SHA1"},
        {RSA_KEY, {.digest = "SHA1", .padding = "pss"}, NO_ALGORITHM, "digest SHA1"},
        {RSA_KEY, {.digest = "SHA256", .padding = "x931"}, NO_ALGORITHM, "RSA padding 5"},
        {RSA_KEY,
         {.digest = "SHA256", .padding = "pss", .salt = "max"},
         NO_ALGORITHM,
         "salt length max"},
        {RSA_KEY,
         {.digest = "SHA256", .padding = "pss", .salt = "0"},
         NO_ALGORITHM,
         "salt length 0"},
        {RSA_KEY,
         {.digest = "SHA256", .padding = "pss", .salt = "20"},
         NO_ALGORITHM,
         "salt length 20"},
        {RSA_KEY,
         {.digest = "SHA256", .padding = "pss", .salt = "48"},
         NO_ALGORITHM,
         "rsa_pss_saltlen:digest"},
        {RSA_KEY,
         {.digest = "SHA256", .padding = "pss", .salt = "digest", .mgf1 = "SHA1"},
         NO_ALGORITHM,
         "MGF1 with SHA1"},
        {RSA_KEY,
         {.digest = "SHA256", .padding = "pss", .salt = "digest", .mgf1 = "SHA512"},
         NO_ALGORITHM,
         "MGF1 with SHA512"},
        {P256, {.digest = "SHA1"}, DIGEST_SIZE, "20 bytes for ECDSA_SHA_256"},
        {P256, {.digest = "MD5-SHA1"}, DIGEST_SIZE, "36 bytes for ECDSA_SHA_256"},
        {P521, {.digest = "SHA1"}, DIGEST_SIZE, "20 bytes for ECDSA_SHA_512"},
        {ED, {.digest = "SHA512"}, NO_ALGORITHM, "SHA512"},
    };
    bytes message = bytes_of("a message"), signature;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fixture f = open_fixture(cases[i].uri);
        print_message("%s %s\n", cases[i].uri, cases[i].detail);
        assert_false(digest_sign(&f, &cases[i].wish, &message, &signature));
        assert_first_error(cases[i].sentence, cases[i].detail);
        close_fixture(&f, 0);
    }
}

/* A verifier finds the salt length by itself; the signature that KMS makes is one of them. */
static void salt_lengths_that_leave_it_to_the_signer_mean_the_digest_s(void **state)
{
    static const char *const salts[] = {NULL, "auto", "digest", "32"};
    const wish strict = {.digest = "SHA256", .padding = "pss", .salt = "digest"};
    bytes message = bytes_of("a message"), signature;
    fixture f = open_fixture(RSA_KEY);

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        const wish w = {.digest = "SHA256", .padding = "pss", .salt = salts[i], .mgf1 = "SHA256"};
        assert_true(digest_sign(&f, &w, &message, &signature));
        assert_true(digest_verify(NULL, f.public, &strict, &message, &signature));
        if (salts[i] == NULL || strcmp(salts[i], "auto") == 0)
            assert_true(digest_verify(f.app.libctx, f.key, &w, &message, &signature));
    }
    close_fixture(&f, 4);
}

static void digests_of_a_wrong_size_are_refused(void **state)
{
    static const size_t sizes[] = {0, 1, 16, 20, 27, 29, 31, 33, 36, 40, 63, 65, 128};
    static const char *const uris[] = {RSA_KEY, P256, P384, P521};
    bytes signature;

    (void)state;
    for (size_t u = 0; u < 4; u++) {
        const wish w = {.digest = u == 0 ? "SHA256" : NULL};
        fixture f = open_fixture(uris[u]);
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            bytes digest = some_bytes(sizes[i]);
            print_message("%s %zu\n", uris[u], sizes[i]);
            assert_false(sign(&f, &w, &digest, &signature));
            assert_first_error(DIGEST_SIZE, "bytes for");
        }
        close_fixture(&f, 0);
    }
}

/* ---- raw RSA without a digest: DigestInfo ---- */

/* Makes the DigestInfo of a digest by libcrypto; the parameter's type is V_ASN1_NULL or UNDEF. */
static bytes digest_info(int nid, size_t digest_len, int parameter)
{
    bytes digest = some_bytes(digest_len), info = {0};
    X509_SIG *sig = X509_SIG_new();
    X509_ALGOR *hash = NULL;
    ASN1_OCTET_STRING *inside = NULL;
    unsigned char *at = info.data;

    X509_SIG_getm(sig, &hash, &inside);
    X509_ALGOR_set0(hash, OBJ_nid2obj(nid), parameter, NULL);
    ASN1_OCTET_STRING_set(inside, digest.data, (int)digest.len);
    info.len = (size_t)i2d_X509_SIG(sig, &at);
    X509_SIG_free(sig);
    return info;
}

static void a_digest_info_is_signed_as_the_hash_that_it_names(void **state)
{
    static const struct {
        int nid;
        size_t len;
        const char *digest;
    } hashes[] = {
        {NID_sha256, 32, "SHA256"}, {NID_sha384, 48, "SHA384"}, {NID_sha512, 64, "SHA512"}};
    const wish none = {0}, pkcs1 = {.padding = "pkcs1"};
    fixture f = open_fixture(RSA_KEY);
    bytes signature;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        bytes info = digest_info(hashes[i].nid, hashes[i].len, V_ASN1_NULL);
        bytes digest = some_bytes(hashes[i].len);
        const wish named = {.digest = hashes[i].digest};
        assert_true(sign(&f, i == 0 ? &none : &pkcs1, &info, &signature));
        assert_true(verify(NULL, f.public, &named, &digest, &signature));
        assert_true(verify(NULL, f.public, &none, &info, &signature));
        assert_true(verify(f.app.libctx, f.key, &none, &info, &signature));
    }
    close_fixture(&f, 3);
}

static void other_input_of_raw_rsa_is_refused_and_never_signed_as_another_hash(void **state)
{
    static const int others[] = {NID_sha1, NID_sha224, NID_md5, NID_sha3_256, NID_sha512_256};
    static const size_t lens[] = {20, 28, 16, 32, 32};
    const wish none = {0};
    fixture f = open_fixture(RSA_KEY);
    bytes inputs[128], signature;
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < 5; i++)
        inputs[count++] = digest_info(others[i], lens[i], V_ASN1_NULL);
    inputs[count++] = digest_info(NID_sha256, 32, V_ASN1_UNDEF); /* without NULL */
    inputs[count++] = digest_info(NID_sha256, 31, V_ASN1_NULL);
    inputs[count++] = digest_info(NID_sha256, 48, V_ASN1_NULL);
    inputs[count++] = digest_info(NID_sha384, 32, V_ASN1_NULL);
    for (size_t len = 0; len < 83; len += len < 64 ? 4 : 1) /* bare digests, cut DigestInfos */
        inputs[count++] = some_bytes(len);
    for (size_t cut = 1; cut <= 18; cut++) {
        inputs[count] = digest_info(NID_sha512, 64, V_ASN1_NULL);
        inputs[count++].len -= cut;
    }
    inputs[count] = digest_info(NID_sha256, 32, V_ASN1_NULL);
    inputs[count].data[inputs[count].len] = 0; /* one byte behind */
    inputs[count++].len++;
    for (size_t i = 0; i < count; i++) {
        assert_false(sign(&f, &none, &inputs[i], &signature));
        assert_only_error(NO_ALGORITHM, "no DigestInfo of SHA-256");
    }
    close_fixture(&f, 0);
}

static void a_signature_gives_back_its_digest(void **state)
{
    const wish w = {.digest = "SHA256"};
    fixture f = open_fixture(RSA_KEY);
    bytes digest = some_bytes(32), signature, back = {.len = sizeof(back.data)};
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(f.app.libctx, f.key, NULL);

    (void)state;
    assert_true(sign(&f, &w, &digest, &signature));
    assert_int_equal(EVP_PKEY_verify_recover_init(ctx), 1);
    assert_true(set(ctx, "digest", "SHA256"));
    assert_int_equal(
        EVP_PKEY_verify_recover(ctx, back.data, &back.len, signature.data, signature.len), 1);
    assert_int_equal(back.len, 32);
    assert_memory_equal(back.data, digest.data, 32);
    EVP_PKEY_CTX_free(ctx);
    close_fixture(&f, 1);
}

/* ---- Ed25519 ---- */

static void ed25519_signs_messages_of_1_to_4096_bytes(void **state)
{
    static const struct {
        size_t len;
        const char *sentence;
    } sizes[] = {
        {0, "message is empty"},
        {1, NULL},
        {4096, NULL},
        {4097, "message is larger than 4096 bytes, the limit of KMS"},
    };
    const wish none = {0};
    fixture f = open_fixture(ED);
    bytes signature;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        bytes message = some_bytes(sizes[i].len);
        if (sizes[i].sentence != NULL) {
            assert_false(digest_sign(&f, &none, &message, &signature));
            assert_only_error(sizes[i].sentence, "bytes");
            continue;
        }
        assert_true(digest_sign(&f, &none, &message, &signature));
        assert_int_equal(signature.len, 64);
        assert_true(digest_verify(NULL, f.public, &none, &message, &signature));
        assert_true(digest_verify(f.app.libctx, f.key, &none, &message, &signature));
        signature.data[0] ^= 1;
        assert_false(digest_verify(f.app.libctx, f.key, &none, &message, &signature));
    }
    close_fixture(&f, 2);
}

static void ed25519_verifies_messages_that_kms_would_not_sign(void **state)
{
    EVP_PKEY *ordinary = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    fixture f = open_fixture(ED);
    bytes message = some_bytes(5000), signature = {.len = 64};

    (void)state;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, NULL, NULL, ordinary), 1);
    assert_int_equal(EVP_DigestSign(ctx, signature.data, &signature.len, message.data, message.len),
                     1);
    assert_false(digest_verify(f.app.libctx, f.key, &(wish){0}, &message, &signature));
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(ordinary);
    close_fixture(&f, 0);
}

/* ---- the life of an operation ---- */

static void sizes_are_told_and_short_buffers_refused_without_a_request(void **state)
{
    static const struct {
        const char *uri, *digest;
        size_t size;
    } sizes[] = {{RSA_KEY, "SHA256", 256},
                 {P256, "SHA256", 72},
                 {P384, "SHA384", 104},
                 {P521, "SHA512", 139},
                 {ED, NULL, 64}};
    bytes message = bytes_of("a message"), signature;

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        fixture f = open_fixture(sizes[i].uri);
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        size_t len = 0;
        print_message("%s\n", sizes[i].uri);
        assert_int_equal(EVP_PKEY_get_size(f.key), sizes[i].size);
        assert_int_equal(
            EVP_DigestSignInit_ex(ctx, NULL, sizes[i].digest, f.app.libctx, NULL, f.key, NULL), 1);
        assert_int_equal(EVP_DigestSign(ctx, NULL, &len, message.data, message.len), 1);
        assert_int_equal(len, sizes[i].size);
        len--;
        assert_true(EVP_DigestSign(ctx, signature.data, &len, message.data, message.len) <= 0);
        assert_first_error("output buffer too small", "bytes for a signature of up to");
        EVP_MD_CTX_free(ctx);
        close_fixture(&f, 0);
    }
}

static void a_copied_context_goes_its_own_way(void **state)
{
    const wish w = {.digest = "SHA256", .padding = "pss", .salt = "digest"};
    fixture f = open_fixture(RSA_KEY);
    bytes whole = bytes_of("one two"), other = bytes_of("one three"), signature, copied;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new(), *copy = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;

    (void)state;
    assert_int_equal(EVP_DigestSignInit_ex(ctx, &pctx, "SHA256", f.app.libctx, NULL, f.key, NULL),
                     1);
    assert_true(set_wish(pctx, &w));
    assert_int_equal(EVP_DigestSignUpdate(ctx, "one ", 4), 1);
    assert_int_equal(EVP_MD_CTX_copy_ex(copy, ctx), 1);
    assert_int_equal(EVP_DigestSignUpdate(ctx, "two", 3), 1);
    assert_int_equal(EVP_DigestSignUpdate(copy, "three", 5), 1);
    signature.len = copied.len = sizeof(signature.data);
    assert_int_equal(EVP_DigestSignFinal(ctx, signature.data, &signature.len), 1);
    EVP_MD_CTX_free(ctx);
    assert_int_equal(EVP_DigestSignFinal(copy, copied.data, &copied.len), 1);
    EVP_MD_CTX_free(copy);
    assert_true(digest_verify(NULL, f.public, &w, &whole, &signature));
    assert_true(digest_verify(NULL, f.public, &w, &other, &copied));

    EVP_PKEY_CTX *raw = EVP_PKEY_CTX_new_from_pkey(f.app.libctx, f.key, NULL);
    assert_int_equal(EVP_PKEY_sign_init(raw), 1);
    assert_true(set(raw, "digest", w.digest) && set_wish(raw, &w));
    EVP_PKEY_CTX *raw_copy = EVP_PKEY_CTX_dup(raw);
    EVP_PKEY_CTX_free(raw);
    bytes digest = some_bytes(32);
    signature.len = sizeof(signature.data);
    assert_int_equal(
        EVP_PKEY_sign(raw_copy, signature.data, &signature.len, digest.data, digest.len), 1);
    EVP_PKEY_CTX_free(raw_copy);
    assert_true(verify(NULL, f.public, &w, &digest, &signature));
    close_fixture(&f, 3);
}

static void one_context_signs_again_and_again(void **state)
{
    const wish w = {.digest = "SHA384"};
    fixture f = open_fixture(P384);
    bytes digests[2] = {some_bytes(48), some_bytes(48)}, signature;
    EVP_PKEY_CTX *raw = EVP_PKEY_CTX_new_from_pkey(f.app.libctx, f.key, NULL);

    (void)state;
    digests[1].data[5] ^= 1;
    assert_int_equal(EVP_PKEY_sign_init(raw), 1);
    for (size_t i = 0; i < 2; i++) {
        signature.len = sizeof(signature.data);
        assert_int_equal(EVP_PKEY_sign(raw, signature.data, &signature.len, digests[i].data, 48),
                         1);
        assert_true(verify(NULL, f.public, &w, &digests[i], &signature));
    }
    EVP_PKEY_CTX_free(raw);

    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    for (size_t i = 0; i < 2; i++) { /* the second time for another key's algorithm */
        bytes message = bytes_of(i == 0 ? "first" : "second");
        const char *digest = i == 0 ? "SHA384" : "SHA512";
        assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, digest, f.app.libctx, NULL, f.key, NULL),
                         1);
        signature.len = sizeof(signature.data);
        assert_int_equal(
            EVP_DigestSign(ctx, signature.data, &signature.len, message.data, message.len), 1);
        assert_true(digest_verify(NULL, f.public, &(wish){.digest = digest}, &message, &signature));
    }
    EVP_MD_CTX_free(ctx);
    close_fixture(&f, 4);
}

static void a_context_begun_anew_keeps_key_and_digest(void **state)
{
    const wish w = {.digest = "SHA512"};
    fixture f = open_fixture(RSA_KEY);
    bytes message = bytes_of("a message"), signature = {.len = sizeof(signature.data)};
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    (void)state;
    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, "SHA512", f.app.libctx, NULL, f.key, NULL),
                     1);
    assert_int_equal(EVP_DigestSignUpdate(ctx, "forgotten", 9), 1);
    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, NULL, f.app.libctx, NULL, NULL, NULL), 1);
    assert_int_equal(EVP_DigestSign(ctx, signature.data, &signature.len, message.data, message.len),
                     1);
    assert_true(digest_verify(NULL, f.public, &w, &message, &signature));
    EVP_MD_CTX_free(ctx);
    close_fixture(&f, 1);
}

static void a_child_finishes_what_its_parent_began(void **state)
{
    const wish w = {.digest = "SHA256"};
    fixture f = open_fixture(P256);
    bytes message = bytes_of("before after"), signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int status = 0;

    (void)state;
    assert_true(digest_sign(&f, &w, &message, &signature)); /* so that there is a connection */
    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", f.app.libctx, NULL, f.key, NULL),
                     1);
    assert_int_equal(EVP_DigestSignUpdate(ctx, "before ", 7), 1);
    pid_t child = fork();
    assert_true(child >= 0);
    signature.len = sizeof(signature.data);
    bool ok = EVP_DigestSignUpdate(ctx, "after", 5) == 1 &&
              EVP_DigestSignFinal(ctx, signature.data, &signature.len) == 1 &&
              digest_verify(NULL, f.public, &w, &message, &signature);
    if (child == 0)
        _exit(ok ? 0 : 1);
    waitpid(child, &status, 0);
    assert_true(ok);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    EVP_MD_CTX_free(ctx);
    close_fixture(&f, 3);
}

/* ---- AlgorithmIdentifiers ---- */

static void requests_and_certificates_name_the_algorithm_that_signed_them(void **state)
{
    static const struct {
        const char *uri, *digest, *padding;
        int nid;
    } cases[] = {
        {RSA_KEY, "SHA256", NULL, NID_sha256WithRSAEncryption},
        {RSA_KEY, "SHA384", NULL, NID_sha384WithRSAEncryption},
        {RSA_KEY, "SHA512", NULL, NID_sha512WithRSAEncryption},
        {RSA_KEY, "SHA256", "pss", NID_rsassaPss}, /* the salt length is left open */
        {RSA_KEY, "SHA512", "pss", NID_rsassaPss},
        {P256, "SHA256", NULL, NID_ecdsa_with_SHA256},
        {P384, "SHA384", NULL, NID_ecdsa_with_SHA384},
        {P521, "SHA512", NULL, NID_ecdsa_with_SHA512},
        {P256, "SHA512", NULL, NID_ecdsa_with_SHA512},
        {ED, NULL, NULL, NID_ED25519},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const wish w = {.padding = cases[i].padding};
        fixture f = open_fixture(cases[i].uri);
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        EVP_PKEY_CTX *pctx = NULL;
        X509_REQ *req = X509_REQ_new();
        print_message("%s %s\n", cases[i].uri, OBJ_nid2sn(cases[i].nid));
        X509_REQ_set_version(req, X509_REQ_VERSION_1);
        assert_int_equal(X509_REQ_set_pubkey(req, f.key), 1);
        assert_int_equal(
            EVP_DigestSignInit_ex(ctx, &pctx, cases[i].digest, f.app.libctx, NULL, f.key, NULL), 1);
        assert_true(set_wish(pctx, &w));
        assert_true(X509_REQ_sign_ctx(req, ctx) > 0);
        assert_int_equal(X509_REQ_get_signature_nid(req), cases[i].nid);
        assert_int_equal(X509_REQ_verify_ex(req, f.public, NULL, NULL), 1);
        assert_int_equal(X509_REQ_verify_ex(req, f.key, f.app.libctx, NULL), 1);
        X509_REQ_free(req);
        EVP_MD_CTX_free(ctx);
        close_fixture(&f, 1);
    }
}

/* ---- which key ---- */

static void keys_of_another_use_do_not_sign(void **state)
{
    static const char *const uris[] = {"kms:alias/rsa-encrypt", "kms:alias/p256-agree"};
    const wish w = {.digest = "SHA256"};
    bytes message = bytes_of("a message"), signature;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        fixture f = open_fixture(uris[i]);
        assert_false(digest_sign(&f, &w, &message, &signature));
        assert_only_error("key is made for another use", "not for SIGN_VERIFY");
        close_fixture(&f, 0);
    }
}

static void another_key_of_the_same_type_does_not_verify(void **state)
{
    static const struct {
        const char *uri, *other, *digest;
    } pairs[] = {{RSA_KEY, "kms:alias/rsa-two", "SHA256"},
                 {P256, "kms:alias/p256-two", "SHA256"},
                 {ED, "kms:alias/ed-two", NULL}};
    bytes message = bytes_of("a message"), signature;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const wish w = {.digest = pairs[i].digest};
        fixture f = open_fixture(pairs[i].uri);
        EVP_PKEY *other = application_key(&f.app, pairs[i].other);
        test_server_reset(&server);
        assert_true(digest_sign(&f, &w, &message, &signature));
        assert_false(digest_verify(f.app.libctx, other, &w, &message, &signature));
        EVP_PKEY_free(other);
        close_fixture(&f, 1);
    }
}

static void an_alias_that_moves_leaves_loaded_keys_alone(void **state)
{
    const wish w = {.digest = "SHA256"};
    fixture f = open_fixture("kms:alias/moving");
    EVP_PKEY *other = application_key(&f.app, "kms:alias/p256-two");
    char arn[256], body[512];
    bytes message = bytes_of("a message"), signature;

    (void)state;
    assert_int_equal(EVP_PKEY_get_utf8_string_param(other, "arn", arn, sizeof(arn), NULL), 1);
    snprintf(body, sizeof(body), "{\"AliasName\":\"alias/moving\",\"TargetKeyId\":\"%s\"}", arn);
    wire_expect(&server, &(wire_request){.operation = "UpdateAlias", .body = body}, "");
    test_server_reset(&server);
    assert_true(digest_sign(&f, &w, &message, &signature));
    assert_true(digest_verify(NULL, f.public, &w, &message, &signature));
    assert_false(digest_verify(f.app.libctx, other, &w, &message, &signature));
    EVP_PKEY_free(other);
    close_fixture(&f, 1);
}

static void a_fault_of_kms_reaches_the_application(void **state)
{
    static const struct {
        const char *faults, *sentence;
    } cases[] = {
        {"[\"Sign:AccessDeniedException:1\"]", "access denied by AWS"},
        {"[\"Sign:DisabledException:1\"]", "key is disabled"},
        {"[\"Sign:wrong-keyid:1\"]", "reply comes from another key than asked"},
        {"[\"Sign:garbage:1\"]", "reply of KMS is not valid"},
    };
    const wish w = {.digest = "SHA256"};
    bytes message = bytes_of("a message"), signature;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fixture f = open_fixture(P256);
        test_server_faults(&server, cases[i].faults);
        assert_false(digest_sign(&f, &w, &message, &signature));
        assert_first_error(cases[i].sentence, "");
        test_server_faults(&server, "[]");
        close_fixture(&f, 1);
    }
}

static int set_up(void **state)
{
    static const char *const options[] = {
        "--seed-key", "alias/rsa:RSA_2048:SIGN_VERIFY",
        "--seed-key", "alias/rsa-two:RSA_2048:SIGN_VERIFY",
        "--seed-key", "alias/rsa3072:RSA_3072:SIGN_VERIFY",
        "--seed-key", "alias/rsa4096:RSA_4096:SIGN_VERIFY",
        "--seed-key", "alias/rsa-encrypt:RSA_2048:ENCRYPT_DECRYPT",
        "--seed-key", "alias/p256:ECC_NIST_P256:SIGN_VERIFY",
        "--seed-key", "alias/p256-two:ECC_NIST_P256:SIGN_VERIFY",
        "--seed-key", "alias/moving:ECC_NIST_P256:SIGN_VERIFY",
        "--seed-key", "alias/p256-agree:ECC_NIST_P256:KEY_AGREEMENT",
        "--seed-key", "alias/p384:ECC_NIST_P384:SIGN_VERIFY",
        "--seed-key", "alias/p521:ECC_NIST_P521:SIGN_VERIFY",
        "--seed-key", "alias/k1:ECC_SECG_P256K1:SIGN_VERIFY",
        "--seed-key", "alias/ed:ECC_NIST_EDWARDS25519:SIGN_VERIFY",
        "--seed-key", "alias/ed-two:ECC_NIST_EDWARDS25519:SIGN_VERIFY",
        NULL};

    (void)state;
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
        cmocka_unit_test(messages_are_signed_in_one_request_and_verified_by_the_default_provider),
        cmocka_unit_test(digests_are_signed_as_they_are),
        cmocka_unit_test(without_a_digest_the_key_s_own_is_used),
        cmocka_unit_test(every_name_of_a_digest_is_understood),
        cmocka_unit_test(what_kms_has_not_is_refused_without_a_request),
        cmocka_unit_test(salt_lengths_that_leave_it_to_the_signer_mean_the_digest_s),
        cmocka_unit_test(digests_of_a_wrong_size_are_refused),
        cmocka_unit_test(a_digest_info_is_signed_as_the_hash_that_it_names),
        cmocka_unit_test(other_input_of_raw_rsa_is_refused_and_never_signed_as_another_hash),
        cmocka_unit_test(a_signature_gives_back_its_digest),
        cmocka_unit_test(ed25519_signs_messages_of_1_to_4096_bytes),
        cmocka_unit_test(ed25519_verifies_messages_that_kms_would_not_sign),
        cmocka_unit_test(sizes_are_told_and_short_buffers_refused_without_a_request),
        cmocka_unit_test(a_copied_context_goes_its_own_way),
        cmocka_unit_test(one_context_signs_again_and_again),
        cmocka_unit_test(a_context_begun_anew_keeps_key_and_digest),
        cmocka_unit_test(a_child_finishes_what_its_parent_began),
        cmocka_unit_test(requests_and_certificates_name_the_algorithm_that_signed_them),
        cmocka_unit_test(keys_of_another_use_do_not_sign),
        cmocka_unit_test(another_key_of_the_same_type_does_not_verify),
        cmocka_unit_test(an_alias_that_moves_leaves_loaded_keys_alone),
        cmocka_unit_test(a_fault_of_kms_reaches_the_application),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
