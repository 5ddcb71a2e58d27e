/* Keys made in KMS by EVP_PKEY_generate. */
#include "tests/provider/application.h"

#include "include/kms/kms_provider.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#define ALLOWED "allow_key_creation = yes\n"

static test_server server;

static application open_with(const char *settings)
{
    use_settings(settings);
    application app = application_open();
    test_server_reset(&server);
    return app;
}

static void close_application(application *app)
{
    assert_no_error();
    application_close(app);
    use_settings(NULL);
}

/* Generates with options as -pkeyopt has them, NAME:VALUE separated by blanks. NULL where it
 * fails. */
static EVP_PKEY *generate(const application *app, const char *type, const char *options)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(app->libctx, type, "provider=kms");
    char copy[512], *rest = copy, *option;
    EVP_PKEY *key = NULL;
    bool ok = ctx != NULL && EVP_PKEY_keygen_init(ctx) == 1;

    snprintf(copy, sizeof(copy), "%s", options);
    while (ok && (option = strsep(&rest, " ")) != NULL) {
        char *value = strchr(option, ':');
        if (value == NULL)
            continue;
        *value++ = '\0';
        ok = EVP_PKEY_CTX_ctrl_str(ctx, option, value) == 1;
    }
    if (ok)
        EVP_PKEY_generate(ctx, &key);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static long made(void)
{
    return test_server_count(&server, "CreateKey");
}

static void each_type_is_made_and_found_by_its_alias(void **state)
{
    static const struct {
        const char *type, *options, *alias;
        int bits;
    } rows[] = {
        {"RSA", "alias:made-rsa", "kms:alias/made-rsa", 2048},
        {"RSA", "bits:3072 alias:made-rsa3 usage:ENCRYPT_DECRYPT", "kms:alias/made-rsa3", 3072},
        {"EC", "group:P-256 alias:alias/made-p256", "kms:alias/made-p256", 256},
        {"EC", "group:secp256r1 alias:made-r1", "kms:alias/made-r1", 256},
        {"EC", "group:secp384r1 alias:kms:alias/made-p384 usage:KEY_AGREEMENT",
         "kms:alias/made-p384", 384},
        {"EC", "group:P-521 alias:made-p521", "kms:alias/made-p521", 521},
        {"EC", "group:secp256k1 alias:made-k1", "kms:alias/made-k1", 256},
        {"ED25519", "alias:made-ed", "kms:alias/made-ed", 256},
        {"KMS", "alias:made-kms tags:a=b tags:c=d description:mine", "kms:alias/made-kms", 256},
        {"KMS-HMAC", "alias:made-mac", "kms:alias/made-mac", 256},
        {"KMS-HMAC", "alias:made-mac5 bits:512", "kms:alias/made-mac5", 512},
    };
    application app = open_with(ALLOWED);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        test_server_reset(&server);
        EVP_PKEY *key = generate(&app, rows[i].type, rows[i].options), *again;
        if (key == NULL)
            application_key(&app, rows[i].alias); /* says what the queue holds */
        assert_true(EVP_PKEY_is_a(key, rows[i].type));
        assert_int_equal(EVP_PKEY_get_bits(key), rows[i].bits);
        assert_int_equal(made(), 1);
        assert_int_equal(test_server_count(&server, "EnableKeyRotation"),
                         strcmp(rows[i].type, "KMS") == 0);
        again = application_key(&app, rows[i].alias);
        assert_int_equal(EVP_PKEY_eq(key, again), 1);
        EVP_PKEY_free(again);
        EVP_PKEY_free(key);
    }
    close_application(&app);
}

static void a_new_key_signs_at_once(void **state)
{
    application app = open_with(ALLOWED);
    EVP_PKEY *key = generate(&app, "EC", "group:P-256 alias:signs-at-once"), *public;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bytes signature = {.len = sizeof(signature.data)};
    static const unsigned char message[] = "message";

    (void)state;
    assert_non_null(key);
    public = application_public(&app, key);
    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", app.libctx, NULL, key, NULL), 1);
    assert_int_equal(EVP_DigestSign(ctx, signature.data, &signature.len, message, 7), 1);
    EVP_MD_CTX_reset(ctx);
    assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", app.libctx, NULL, public, NULL),
                     1);
    assert_int_equal(EVP_DigestVerify(ctx, signature.data, signature.len, message, 7), 1);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(public);
    EVP_PKEY_free(key);
    close_application(&app);
}

static void a_new_key_carries_the_context_of_its_address(void **state)
{
    application app = open_with(ALLOWED);
    EVP_PKEY *key = generate(
        &app, "KMS", "alias:contextual?context.dataType=credentials&context.operationId=op-1");
    bytes plain = bytes_of("secret"), wrapped;

    (void)state;
    assert_non_null(key);
    assert_true(wrap(&app, key, NULL, &plain, &wrapped));
    EVP_PKEY_free(key);
    close_application(&app);
}

static void nothing_is_made_unless_it_is_allowed(void **state)
{
    application app = open_with(NULL);

    (void)state;
    assert_null(generate(&app, "EC", "group:P-256 alias:forbidden"));
    assert_only_error("creating keys is not allowed", "allow_key_creation is off");
    assert_int_equal(made(), 0);
    close_application(&app);
}

static void what_kms_has_not_is_refused_before_anything_is_made(void **state)
{
    static const struct {
        const char *type, *options, *sentence, *detail;
    } rows[] = {
        {"RSA", "", "key address is not valid", "only with an alias"},
        {"EC", "group:P-256", "key address is not valid", "activate the provider default"},
        {"RSA", "alias:no bits:1024", "KMS has no such algorithm for this key", "2048, 3072"},
        {"EC", "alias:no", "KMS has no such algorithm for this key", "the group P-256"},
        {"EC", "alias:no group:brainpoolP256r1", "KMS has no such algorithm for this key", ""},
        {"KMS-HMAC", "alias:no bits:128", "KMS has no such algorithm for this key", "224"},
        {"KMS", "alias:no usage:SIGN_VERIFY", "key is made for another use", "SIGN_VERIFY"},
        {"KMS", "alias:aws/no", "key address is not valid", "AWS's own"},
        {"KMS", "alias:no#x", "key address is not valid", ""},
        {"KMS", "alias:kms:", "key address is not valid", "a new key needs an alias"},
        {"KMS", "alias:matbakh-ai", "alias is taken", "arn:aws:kms:"},
        {"KMS", "alias:no policy-file:/nonexistent", "invalid argument", "/nonexistent"},
        {"KMS", "alias:no?region=us-east-1", "region is outside the allowed set", "us-east-1"},
    };
    application app = open_with(ALLOWED);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_null(generate(&app, rows[i].type, rows[i].options));
        assert_only_error(rows[i].sentence, rows[i].detail);
    }
    assert_int_equal(made(), 0);
    close_application(&app);
}

static void malformed_options_are_refused_where_they_are_set(void **state)
{
    static const char *const options[] = {"alias:no tags:nonsense", "alias:no group:nonsense"};
    application app = open_with(ALLOWED);

    (void)state;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        assert_null(generate(&app, "EC", options[i]));
        assert_first_error("invalid argument", "");
    }
    assert_null(generate(&app, "EC", "colour:red"));
    assert_int_not_equal(ERR_peek_error(), 0);
    ERR_clear_error();
    assert_int_equal(made(), 0);
    close_application(&app);
}

static void parameters_alone_are_not_made(void **state)
{
    application app = open_with(ALLOWED);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(app.libctx, "EC", "provider=kms");

    (void)state;
    assert_int_not_equal(EVP_PKEY_paramgen_init(ctx), 1);
    assert_first_error("operation not supported by this key", "not parameters");
    EVP_PKEY_CTX_free(ctx);
    close_application(&app);
}

static void ordinary_keys_are_made_by_default(void **state)
{
    application app = open_with(ALLOWED);
    EVP_PKEY *rsa = EVP_PKEY_Q_keygen(app.libctx, NULL, "RSA", (size_t)2048);
    EVP_PKEY *ec = EVP_PKEY_Q_keygen(app.libctx, NULL, "EC", "P-256");

    (void)state;
    assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(rsa)), "default");
    assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(ec)), "default");
    assert_int_equal(made(), 0);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(rsa);
    close_application(&app);
}

static void with_kms_first_no_key_is_made_by_mistake(void **state)
{
    use_settings(ALLOWED);
    application app = application_open_order("kms", "default");

    (void)state;
    test_server_reset(&server);
    assert_null(EVP_PKEY_Q_keygen(app.libctx, NULL, "EC", "P-256"));
    assert_first_error("key address is not valid", "only with an alias");
    assert_int_equal(made(), 0);
    close_application(&app);
}

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
        cmocka_unit_test(each_type_is_made_and_found_by_its_alias),
        cmocka_unit_test(a_new_key_signs_at_once),
        cmocka_unit_test(a_new_key_carries_the_context_of_its_address),
        cmocka_unit_test(nothing_is_made_unless_it_is_allowed),
        cmocka_unit_test(what_kms_has_not_is_refused_before_anything_is_made),
        cmocka_unit_test(malformed_options_are_refused_where_they_are_set),
        cmocka_unit_test(parameters_alone_are_not_made),
        cmocka_unit_test(ordinary_keys_are_made_by_default),
        cmocka_unit_test(with_kms_first_no_key_is_made_by_mistake),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
