#include "tests/provider/application.h"

#include <dlfcn.h>
#include <netdb.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/store.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- library contexts ---- */

static void fail_with_errors(const char *what)
{
    char text[1024] = "no error";
    const char *data = NULL;
    unsigned long code = ERR_peek_error_data(&data, NULL);

    if (code != 0)
        ERR_error_string_n(code, text, sizeof(text));
    fail_msg("%s: %s: %s", what, text, data != NULL ? data : "");
}

static OSSL_LIB_CTX *new_context(void)
{
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();

    assert_non_null(libctx);
    assert_true(OSSL_PROVIDER_set_default_search_path(libctx, KMS_MODULES));
    return libctx;
}

application application_open_order(const char *first, const char *second)
{
    application app = {.libctx = new_context()};

    app.first = OSSL_PROVIDER_load(app.libctx, first);
    if (app.first == NULL)
        fail_with_errors(first);
    app.second = OSSL_PROVIDER_load(app.libctx, second);
    if (app.second == NULL)
        fail_with_errors(second);
    return app;
}

application application_open(void)
{
    return application_open_order("default", "kms");
}

application application_open_config(const char *text)
{
    application app = {.libctx = new_context()};
    char path[PATH_ROOM];

    write_file(text, path);
    if (!OSSL_LIB_CTX_load_config(app.libctx, path))
        fail_with_errors(path);
    unlink(path);
    return app;
}

void application_close(application *app)
{
    OSSL_PROVIDER_unload(app->second);
    OSSL_PROVIDER_unload(app->first);
    OSSL_LIB_CTX_free(app->libctx);
    *app = (application){0};
}

/* ---- keys ---- */

EVP_PKEY *application_try_key(const application *app, const char *uri)
{
    EVP_PKEY *key = NULL;
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(uri, app->libctx, NULL, NULL, NULL, NULL, NULL, NULL);

    if (store == NULL)
        return NULL;
    assert_true(OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY));
    while (key == NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info != NULL)
            key = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return key;
}

EVP_PKEY *application_key(const application *app, const char *uri)
{
    EVP_PKEY *key = application_try_key(app, uri);

    if (key == NULL)
        fail_with_errors(uri);
    return key;
}

EVP_PKEY *ordinary_public(EVP_PKEY *key)
{
    unsigned char *der = NULL;
    const unsigned char *at;
    int len = i2d_PUBKEY(key, &der);
    EVP_PKEY *public;

    if (len <= 0)
        fail_with_errors("public half");
    at = der;
    public = d2i_PUBKEY_ex(NULL, &at, len, NULL, NULL);
    OPENSSL_free(der);
    if (public == NULL)
        fail_with_errors("public half");
    assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(public)), "default");
    return public;
}

bytes bytes_of(const char *text)
{
    bytes b = {.len = strlen(text)};

    assert_true(b.len <= sizeof(b.data));
    memcpy(b.data, text, b.len);
    return b;
}

static EVP_PKEY_CTX *begin(const application *app, EVP_PKEY *key, const char *context,
                           int (*init)(EVP_PKEY_CTX *))
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(app->libctx, key, NULL);

    assert_non_null(ctx);
    if (init(ctx) != 1)
        fail_with_errors("init");
    if (context != NULL && EVP_PKEY_CTX_ctrl_str(ctx, "context", context) != 1)
        fail_with_errors(context);
    return ctx;
}

EVP_PKEY_CTX *begin_wrap(const application *app, EVP_PKEY *key, const char *context)
{
    return begin(app, key, context, EVP_PKEY_encrypt_init);
}

EVP_PKEY_CTX *begin_unwrap(const application *app, EVP_PKEY *key, const char *context)
{
    return begin(app, key, context, EVP_PKEY_decrypt_init);
}

bool wrap(const application *app, EVP_PKEY *key, const char *context, const bytes *in, bytes *out)
{
    EVP_PKEY_CTX *ctx = begin_wrap(app, key, context);
    bool ok;

    out->len = sizeof(out->data);
    ok = EVP_PKEY_encrypt(ctx, out->data, &out->len, in->data, in->len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

bool unwrap(const application *app, EVP_PKEY *key, const char *context, const bytes *in, bytes *out)
{
    EVP_PKEY_CTX *ctx = begin_unwrap(app, key, context);
    bool ok;

    out->len = sizeof(out->data);
    ok = EVP_PKEY_decrypt(ctx, out->data, &out->len, in->data, in->len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* ---- errors ---- */

static void check_first(const char *sentence, const char *detail)
{
    const char *data = "", *reason;
    int flags = 0;
    unsigned long code = ERR_get_error_all(NULL, NULL, NULL, &data, &flags);

    if (code == 0)
        fail_msg("no error where \"%s\" was due", sentence);
    reason = ERR_reason_error_string(code);
    if (reason == NULL || strcmp(reason, sentence) != 0)
        fail_msg("\"%s\" (%s) where \"%s\" was due", reason != NULL ? reason : "?", data, sentence);
    if (strstr(data, detail) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", data, detail);
}

void assert_first_error(const char *sentence, const char *detail)
{
    check_first(sentence, detail);
    ERR_clear_error();
}

void assert_only_error(const char *sentence, const char *detail)
{
    char extra[256] = "";
    unsigned long code;
    const char *data = NULL;

    check_first(sentence, detail);
    code = ERR_peek_error_data(&data, NULL);
#ifdef EVP_R_PROVIDER_SIGNATURE_FAILURE
    /* OpenSSL 3.5 says after a provider's error that there was one. */
    if (ERR_GET_LIB(code) == ERR_LIB_EVP &&
        ERR_GET_REASON(code) == EVP_R_PROVIDER_SIGNATURE_FAILURE) {
        ERR_get_error();
        code = ERR_peek_error_data(&data, NULL);
    }
#endif
    if (code != 0)
        ERR_error_string_n(code, extra, sizeof(extra));
    ERR_clear_error();
    if (code != 0)
        fail_msg("after \"%s\" stands also %s", sentence, extra);
}

void assert_no_error(void)
{
    if (ERR_peek_error() != 0)
        fail_with_errors("a stray error");
}

/* ---- files ---- */

void write_file(const char *text, char *path)
{
    const char *folder = getenv("TMPDIR");
    int fd;

    snprintf(path, PATH_ROOM, "%s/kms-provider-XXXXXX", folder != NULL ? folder : "/tmp");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

void use_settings(const char *text)
{
    char path[PATH_ROOM];
    const char *before = getenv("KMS_PROVIDER_CONF");

    if (before != NULL)
        unlink(before);
    unsetenv("KMS_PROVIDER_CONF");
    if (text == NULL)
        return;
    write_file(text, path);
    setenv("KMS_PROVIDER_CONF", path, 1);
}

void tls_start(tls_server *tls)
{
    const char *options[] = {"--tls-self-signed", tls->folder, NULL};

    snprintf(tls->folder, sizeof(tls->folder), "/tmp/kms-provider-tls-XXXXXX");
    assert_non_null(mkdtemp(tls->folder));
    snprintf(tls->certificate, sizeof(tls->certificate), "%s/cert.pem", tls->folder);
    test_server_start(&tls->server, options);
    assert_memory_equal(tls->server.url, "https://", 8);
}

void tls_stop(tls_server *tls, const test_server *back)
{
    char command[96];

    test_server_stop(&tls->server);
    unsetenv("AWS_CA_BUNDLE");
    setenv("AWS_ENDPOINT_URL_KMS", back->url, 1);
    snprintf(command, sizeof(command), "rm -r '%s'", tls->folder);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a folder of our own */
}

/* ---- the network, as this process sees it ---- */

static atomic_int attempts;

#define EXPORTED __attribute__((visibility("default")))

/* These stand before libc's for every library of the process: they count and pass on. */
EXPORTED int connect(int fd, const struct sockaddr *address, socklen_t len)
{
    int (*real)(int, const struct sockaddr *, socklen_t);

    *(void **)&real = dlsym(RTLD_NEXT, "connect");
    if (address->sa_family == AF_INET || address->sa_family == AF_INET6)
        atomic_fetch_add(&attempts, 1);
    return real(fd, address, len);
}

EXPORTED int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                         struct addrinfo **result)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    atomic_fetch_add(&attempts, 1);
    return real(name, service, hints, result);
}

int network_attempts(void)
{
    return atomic_exchange(&attempts, 0);
}

long requests(const test_server *server)
{
    static const char *const operations[] = {
        "Encrypt",     "Decrypt",    "GenerateDataKey", "GenerateDataKeyWithoutPlaintext",
        "DescribeKey", "ListKeys",   "ListAliases",     "ReEncrypt",
        "Sign",        "Verify",     "GetPublicKey",    "DeriveSharedSecret",
        "Encapsulate", "Decapsulate"};
    long sum = 0;

    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
        sum += test_server_count(server, operations[i]);
    return sum;
}

EVP_PKEY *application_public(const application *app, EVP_PKEY *key)
{
    unsigned char *spki = NULL;
    const unsigned char *at;
    int len = i2d_PUBKEY(key, &spki);
    EVP_PKEY *public;

    if (len <= 0)
        fail_with_errors("public half");
    at = spki;
    public = d2i_PUBKEY_ex(NULL, &at, len, app->libctx, NULL);
    OPENSSL_free(spki);
    if (public == NULL)
        fail_with_errors("public half");
    return public;
}

EVP_PKEY *application_software_key(const application *app, const char *group)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(app->libctx, "provider=default", "EC", group);

    if (key == NULL)
        fail_with_errors(group);
    return key;
}
