/* Key references in PEM: written by openssl's own functions, loaded by them without the network,
 * and refused with one clear error where they are damaged. */
#include "tests/provider/application.h"

#include "core/reference.h"

#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/store.h>
#include <openssl/x509.h>
#include <unistd.h>

#define BAD_REFERENCE "key reference is damaged"

static test_server server;

#define SYMMETRIC "kms:alias/matbakh-ai?context.dataType=credentials"

static const char *const uris[] = {"kms:alias/rsa",  "kms:alias/p256", "kms:alias/p384",
                                   "kms:alias/p521", "kms:alias/k1",   "kms:alias/ed",
                                   SYMMETRIC};

#define URIS (sizeof(uris) / sizeof(uris[0]))

/* The PEM text of a key; the BIO is read from its start. */
static BIO *written(EVP_PKEY *key)
{
    BIO *out = BIO_new(BIO_s_mem());

    assert_int_equal(PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
    return out;
}

static EVP_PKEY *read_key(const application *app, BIO *in)
{
    return PEM_read_bio_PrivateKey_ex(in, NULL, NULL, NULL, app->libctx, NULL);
}

/* The text of the BIO, which the BIO keeps. */
static const char *text_of(BIO *bio)
{
    char *text = NULL;

    BIO_write(bio, "", 1);
    BIO_get_mem_data(bio, &text);
    return text;
}

static bool signs(const application *app, EVP_PKEY *key)
{
    EVP_PKEY *public = ordinary_public(key);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new(), *check = EVP_MD_CTX_new();
    bytes message = bytes_of("a message"), signature = {.len = sizeof(signature.data)};
    bool ok =
        EVP_DigestSignInit_ex(ctx, NULL, NULL, app->libctx, NULL, key, NULL) == 1 &&
        EVP_DigestSign(ctx, signature.data, &signature.len, message.data, message.len) == 1 &&
        EVP_DigestVerifyInit_ex(check, NULL, NULL, NULL, NULL, public, NULL) == 1 &&
        EVP_DigestVerify(check, signature.data, signature.len, message.data, message.len) == 1;

    EVP_MD_CTX_free(check);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(public);
    return ok;
}

static void every_key_is_written_and_loaded_without_the_network(void **state)
{
    application app = application_open();

    (void)state;
    for (size_t i = 0; i < URIS; i++) {
        EVP_PKEY *key = application_key(&app, uris[i]), *back;
        BIO *pem = written(key);
        application fresh = application_open(); /* knows no key yet */
        print_message("%s\n", uris[i]);
        network_attempts();
        back = read_key(&fresh, pem);
        assert_int_equal(network_attempts(), 0);
        assert_no_error();
        assert_non_null(back);
        assert_string_equal(EVP_PKEY_get0_type_name(back), EVP_PKEY_get0_type_name(key));
        if (!EVP_PKEY_is_a(key, "KMS")) {
            EVP_PKEY *public = ordinary_public(key);
            assert_int_equal(EVP_PKEY_eq(back, public), 1);
            EVP_PKEY_free(public);
            test_server_reset(&server);
            assert_true(signs(&fresh, back));
            assert_int_equal(test_server_count(&server, "Sign"), 1);
            assert_int_equal(requests(&server), 1);
        } else {
            bytes plain = bytes_of("secret"), wrapped, opened;
            assert_true(wrap(&fresh, back, "operationId=op-1", &plain, &wrapped));
            assert_true(unwrap(&app, key, "operationId=op-1", &wrapped, &opened));
        }
        assert_no_error();
        EVP_PKEY_free(back);
        EVP_PKEY_free(key);
        BIO_free(pem);
        application_close(&fresh);
    }
    application_close(&app);
}

static void the_text_says_what_it_is_and_holds_no_secret(void **state)
{
    application app = application_open();
    EVP_PKEY *key = application_key(&app, "kms:alias/p256");
    char arn[256];
    BIO *pem = written(key);
    const char *text = text_of(pem);

    (void)state;
    assert_int_equal(EVP_PKEY_get_utf8_string_param(key, "arn", arn, sizeof(arn), NULL), 1);
    assert_non_null(strstr(text, "# Names a key in AWS KMS; holds no secret.\n"));
    assert_non_null(strstr(text, arn));
    assert_non_null(strstr(text, "-----BEGIN KMS KEY REFERENCE-----\n"));
    assert_non_null(strstr(text, "-----END KMS KEY REFERENCE-----\n"));
    BIO_free(pem);
    EVP_PKEY_free(key);
    application_close(&app);
}

/* There is nothing to encrypt: the passphrase that a program insists on changes nothing. */
static void a_passphrase_changes_nothing(void **state)
{
    application app = application_open();
    EVP_PKEY *key = application_key(&app, "kms:alias/p256"), *back;
    BIO *plain = written(key), *pem = BIO_new(BIO_s_mem());

    (void)state;
    assert_int_equal(PEM_write_bio_PrivateKey(pem, key, EVP_aes_256_cbc(),
                                              (const unsigned char *)"x", 1, NULL, NULL),
                     1);
    assert_string_equal(text_of(pem), text_of(plain));
    back = read_key(&app, plain);
    assert_non_null(back);
    EVP_PKEY_free(back);
    BIO_free(plain);
    BIO_free(pem);
    EVP_PKEY_free(key);
    application_close(&app);
}

/* As HAProxy has it: the certificate before the key. */
static void a_reference_is_found_behind_other_blocks(void **state)
{
    application app = application_open();
    EVP_PKEY *key = application_key(&app, "kms:alias/p256"), *back;
    EVP_PKEY *ordinary = EVP_PKEY_Q_keygen(app.libctx, NULL, "EC", "P-256");
    X509 *cert = X509_new_ex(app.libctx, NULL);
    BIO *file = BIO_new(BIO_s_mem()), *pem = written(key);

    (void)state;
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 60);
    X509_set_pubkey(cert, ordinary);
    assert_true(X509_sign(cert, ordinary, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_bio_X509(file, cert), 1);
    assert_int_equal(PEM_write_bio_PUBKEY(file, ordinary), 1);
    BIO_puts(file, text_of(pem));
    back = read_key(&app, file);
    assert_non_null(back);
    assert_int_equal(EVP_PKEY_eq(back, key), 1);
    assert_no_error();
    EVP_PKEY_free(back);
    BIO_free(pem);
    BIO_free(file);
    X509_free(cert);
    EVP_PKEY_free(ordinary);
    EVP_PKEY_free(key);
    application_close(&app);
}

static void keys_behind_a_reference_are_left_in_the_file(void **state)
{
    application app = application_open();
    EVP_PKEY *key = application_key(&app, "kms:alias/p256"), *first, *second;
    EVP_PKEY *ordinary = EVP_PKEY_Q_keygen(app.libctx, NULL, "EC", "P-256");
    char path[PATH_ROOM];
    BIO *pem = written(key);

    (void)state;
    assert_int_equal(PEM_write_bio_PrivateKey(pem, ordinary, NULL, NULL, 0, NULL, NULL), 1);
    write_file(text_of(pem), path);
    BIO *file = BIO_new_file(path, "r");
    first = read_key(&app, file);
    second = read_key(&app, file);
    assert_int_equal(EVP_PKEY_eq(first, key), 1);
    assert_int_equal(EVP_PKEY_eq(second, ordinary), 1);
    assert_no_error();
    EVP_PKEY_free(second);
    EVP_PKEY_free(first);
    BIO_free(file);
    unlink(path);
    BIO_free(pem);
    EVP_PKEY_free(ordinary);
    EVP_PKEY_free(key);
    application_close(&app);
}

static void the_file_store_and_libssl_load_it(void **state)
{
    application app = application_open();
    EVP_PKEY *key = application_key(&app, "kms:alias/rsa"), *back;
    char path[PATH_ROOM], uri[PATH_ROOM + 8];
    BIO *pem = written(key);
    SSL_CTX *ssl = SSL_CTX_new_ex(app.libctx, NULL, TLS_server_method());

    (void)state;
    write_file(text_of(pem), path);
    network_attempts();
    snprintf(uri, sizeof(uri), "file:%s", path);
    back = application_key(&app, uri);
    assert_int_equal(EVP_PKEY_eq(back, key), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(ssl, path, SSL_FILETYPE_PEM), 1);
    assert_int_equal(EVP_PKEY_eq(SSL_CTX_get0_privatekey(ssl), key), 1);
    assert_int_equal(network_attempts(), 0);
    assert_no_error();
    SSL_CTX_free(ssl);
    EVP_PKEY_free(back);
    unlink(path);
    BIO_free(pem);
    EVP_PKEY_free(key);
    application_close(&app);
}

/* ---- damage ---- */

/* The text with its body replaced: base64 of other bytes, or none. */
static BIO *with_body(const char *body)
{
    BIO *pem = BIO_new(BIO_s_mem());

    BIO_printf(pem, "-----BEGIN KMS KEY REFERENCE-----\n%s-----END KMS KEY REFERENCE-----\n", body);
    return pem;
}

static void damaged_references_give_one_clear_error(void **state)
{
    static const struct {
        const char *what, *body, *detail;
    } rows[] = {
        {"no body", "", "PEM block is not whole"},
        {"no base64", "!!!!\n", "PEM block is not whole"},
        {"another structure", "MAMCAQE=\n", "bytes are not one whole reference"},
        {"text", "aGVsbG8gd29ybGQ=\n", "bytes are not one whole reference"},
    };
    application app = application_open();

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        BIO *pem = with_body(rows[i].body);
        print_message("%s\n", rows[i].what);
        assert_null(read_key(&app, pem));
        assert_first_error(BAD_REFERENCE, rows[i].detail);
        BIO_free(pem);
    }
    application_close(&app);
}

static void every_truncation_is_refused_and_none_crashes(void **state)
{
    application app = application_open();
    EVP_PKEY *key = application_key(&app, "kms:alias/p256"), *back;
    BIO *pem = written(key);
    const char *text = text_of(pem), *begin = strstr(text, "-----BEGIN");
    const char *first = strchr(begin, '\n') + 1;

    (void)state;
    for (size_t len = 0; len < strlen(text) - 1; len++) {
        BIO *cut = BIO_new_mem_buf(text, (int)len);
        back = read_key(&app, cut);
        if (back != NULL)
            fail_msg("%zu of %zu bytes make a key", len, strlen(text));
        if (text + len > first) /* the label is there: it is ours */
            assert_first_error(BAD_REFERENCE, "");
        ERR_clear_error();
        BIO_free(cut);
    }
    BIO_free(pem);
    EVP_PKEY_free(key);
    application_close(&app);
}

static void a_changed_character_is_refused_or_names_another_key(void **state)
{
    application app = application_open();
    EVP_PKEY *key = application_key(&app, "kms:alias/ed"), *back;
    BIO *pem = written(key);
    char *text = strdup(text_of(pem));

    (void)state;
    for (size_t at = 0; at < strlen(text); at++) {
        const char before = text[at];
        text[at] = before == 'A' ? 'B' : 'A';
        BIO *changed = BIO_new_mem_buf(text, -1);
        back = read_key(&app, changed);
        EVP_PKEY_free(back);
        ERR_clear_error();
        BIO_free(changed);
        text[at] = before;
    }
    free(text);
    BIO_free(pem);
    EVP_PKEY_free(key);
    application_close(&app);
}

static BIO *pem_of(const kms_reference *reference)
{
    kms_buffer der = {0};
    BIO *pem = BIO_new(BIO_s_mem());

    assert_int_equal(kms_reference_write(reference, &der, NULL), KMS_OK);
    assert_true(PEM_write_bio(pem, KMS_REFERENCE_PEM_LABEL, "", der.data, (long)der.len) > 0);
    kms_buffer_clear(&der);
    return pem;
}

#define ID "/1234abcd-12ab-34cd-56ef-1234567890ab"

static void references_that_policy_forbids_say_why(void **state)
{
    static const struct {
        const char *arn, *sentence, *detail;
    } rows[] = {
        {"arn:aws:kms:us-east-1:111122223333:key" ID, "region is outside the allowed set",
         "us-east-1"},
        {"arn:aws:kms:eu-west-2:111122223333:key" ID, "region is outside the allowed set",
         "eu-west-2"},
        {"arn:aws:kms:eu-central-1:111122223333:alias/app", BAD_REFERENCE, "by its ARN"},
    };
    uint8_t junk[] = {1, 2, 3};
    application app = application_open();

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const kms_reference reference = {.arn = (char *)(uintptr_t)rows[i].arn};
        BIO *pem = pem_of(&reference);
        assert_null(read_key(&app, pem));
        assert_first_error(rows[i].sentence, rows[i].detail);
        BIO_free(pem);
    }
    const kms_reference spki = {
        .arn = (char *)(uintptr_t) "arn:aws:kms:eu-central-1:111122223333:key" ID,
        .spki = {junk, sizeof(junk)}};
    BIO *pem = pem_of(&spki);
    assert_null(read_key(&app, pem));
    assert_first_error("public key is not valid", "not one whole SubjectPublicKeyInfo");
    BIO_free(pem);
    application_close(&app);
}

static void the_feature_flag_and_a_broken_configuration_refuse_it(void **state)
{
    application app = application_open();
    EVP_PKEY *key = application_key(&app, "kms:alias/p256");
    BIO *pem = written(key);
    const char *text = text_of(pem);

    (void)state;
    setenv("KMS_ENCRYPTION_ENABLED", "false", 1);
    application off = application_open();
    BIO *in = BIO_new_mem_buf(text, -1);
    assert_null(read_key(&off, in));
    assert_first_error("KMS encryption is disabled", "");
    BIO_free(in);
    application_close(&off);
    unsetenv("KMS_ENCRYPTION_ENABLED");

    use_settings("residency = world\n");
    application broken = application_open();
    in = BIO_new_mem_buf(text, -1);
    assert_null(read_key(&broken, in));
    assert_first_error("setting has an invalid value", "residency");
    BIO_free(in);
    application_close(&broken);
    use_settings(NULL);
    BIO_free(pem);
    EVP_PKEY_free(key);
    application_close(&app);
}

/* ---- what isn't ours is left alone ---- */

static void other_files_are_read_as_if_kms_were_not_there(void **state)
{
    static const char *const types[] = {"EC", "RSA", "ED25519"};
    application app = application_open();

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        EVP_PKEY *key = i == 0   ? EVP_PKEY_Q_keygen(app.libctx, NULL, "EC", "P-256")
                        : i == 1 ? EVP_PKEY_Q_keygen(app.libctx, NULL, "RSA", (size_t)2048)
                                 : EVP_PKEY_Q_keygen(app.libctx, NULL, "ED25519");
        BIO *out = BIO_new(BIO_s_mem());
        EVP_PKEY *back;
        assert_int_equal(PEM_write_bio_PrivateKey(out, key, EVP_aes_128_cbc(),
                                                  (const unsigned char *)"word", 4, NULL, NULL),
                         1);
        back = PEM_read_bio_PrivateKey_ex(out, NULL, NULL, (void *)(uintptr_t) "word", app.libctx,
                                          NULL);
        assert_int_equal(EVP_PKEY_eq(back, key), 1);
        assert_true(EVP_PKEY_is_a(back, types[i]));
        assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(back)), "default");
        assert_no_error();
        EVP_PKEY_free(back);
        assert_int_equal(i2d_PrivateKey_bio(out, key), 1);
        back = d2i_PrivateKey_ex_bio(out, NULL, app.libctx, NULL);
        assert_int_equal(EVP_PKEY_eq(back, key), 1);
        assert_no_error();
        EVP_PKEY_free(back);
        BIO_free(out);
        EVP_PKEY_free(key);
    }
    application_close(&app);
}

static void nonsense_gives_no_error_of_ours(void **state)
{
    static const char *const texts[] = {"", "hello\n", "-----BEGIN NONSENSE-----\n",
                                        "-----BEGIN KMS KEY REFERENCES-----\nAAAA\n",
                                        "\x30\x03\x02\x01\x01"};
    application app = application_open();

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        BIO *in = BIO_new_mem_buf(texts[i], -1);
        const char *data = NULL;
        assert_null(read_key(&app, in));
        for (unsigned long code; (code = ERR_get_error_all(NULL, NULL, NULL, &data, NULL)) != 0;)
            assert_null(
                strstr(ERR_reason_error_string(code) != NULL ? ERR_reason_error_string(code) : "",
                       "key reference"));
        BIO_free(in);
    }
    application_close(&app);
}

/* ---- DER ---- */

static EVP_PKEY *decode(const application *app, const unsigned char *der, size_t len)
{
    EVP_PKEY *key = NULL;
    OSSL_DECODER_CTX *ctx =
        OSSL_DECODER_CTX_new_for_pkey(&key, "DER", NULL, NULL, EVP_PKEY_KEYPAIR, app->libctx, NULL);

    OSSL_DECODER_from_data(ctx, &der, &len);
    OSSL_DECODER_CTX_free(ctx);
    return key;
}

static void bare_der_is_loaded_too_and_policy_says_why_not(void **state)
{
    static const char *const arns[] = {"arn:aws:kms:eu-central-1:111122223333:key" ID,
                                       "arn:aws:kms:us-east-1:111122223333:key" ID};
    application app = application_open();

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const kms_reference reference = {.arn = (char *)(uintptr_t)arns[i]};
        kms_buffer der = {0};
        EVP_PKEY *key;
        assert_int_equal(kms_reference_write(&reference, &der, NULL), KMS_OK);
        key = decode(&app, der.data, der.len);
        if (i == 0) {
            assert_true(EVP_PKEY_is_a(key, "KMS"));
            assert_no_error();
        } else {
            assert_null(key);
            assert_first_error("region is outside the allowed set", "us-east-1");
        }
        EVP_PKEY_free(key);
        kms_buffer_clear(&der);
    }
    application_close(&app);
}

static int set_up(void **state)
{
    static const char *const options[] = {
        "--seed-key", "alias/rsa:RSA_2048:SIGN_VERIFY",
        "--seed-key", "alias/p256:ECC_NIST_P256:SIGN_VERIFY",
        "--seed-key", "alias/p384:ECC_NIST_P384:SIGN_VERIFY",
        "--seed-key", "alias/p521:ECC_NIST_P521:SIGN_VERIFY",
        "--seed-key", "alias/k1:ECC_SECG_P256K1:SIGN_VERIFY",
        "--seed-key", "alias/ed:ECC_NIST_EDWARDS25519:SIGN_VERIFY",
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
        cmocka_unit_test(every_key_is_written_and_loaded_without_the_network),
        cmocka_unit_test(the_text_says_what_it_is_and_holds_no_secret),
        cmocka_unit_test(a_passphrase_changes_nothing),
        cmocka_unit_test(a_reference_is_found_behind_other_blocks),
        cmocka_unit_test(keys_behind_a_reference_are_left_in_the_file),
        cmocka_unit_test(the_file_store_and_libssl_load_it),
        cmocka_unit_test(damaged_references_give_one_clear_error),
        cmocka_unit_test(every_truncation_is_refused_and_none_crashes),
        cmocka_unit_test(a_changed_character_is_refused_or_names_another_key),
        cmocka_unit_test(references_that_policy_forbids_say_why),
        cmocka_unit_test(the_feature_flag_and_a_broken_configuration_refuse_it),
        cmocka_unit_test(other_files_are_read_as_if_kms_were_not_there),
        cmocka_unit_test(nonsense_gives_no_error_of_ours),
        cmocka_unit_test(bare_der_is_loaded_too_and_policy_says_why_not),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
