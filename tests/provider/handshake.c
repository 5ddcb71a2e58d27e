#include "tests/provider/handshake.h"

#include <openssl/err.h>
#include <openssl/x509.h>

X509 *self_signed(const application *app, EVP_PKEY *key)
{
    X509 *cert = X509_new_ex(app->libctx, NULL);
    X509_NAME *name = X509_get_subject_name(cert);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                                (const unsigned char *)"neighbour", -1, -1, 0),
                     1);
    X509_set_version(cert, X509_VERSION_3);
    X509_set_issuer_name(cert, name);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, NULL, app->libctx, NULL, key, NULL), 1);
    assert_true(X509_sign_ctx(cert, ctx) > 0);
    EVP_MD_CTX_free(ctx);
    return cert;
}

static SSL_CTX *new_context(const application *app, const meeting *how, const SSL_METHOD *method,
                            EVP_PKEY *key, X509 *cert, X509 *peer)
{
    SSL_CTX *ctx = SSL_CTX_new_ex(app->libctx, NULL, method);

    assert_non_null(ctx);
    if (key != NULL) {
        assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
        assert_int_equal(SSL_CTX_check_private_key(ctx), 1);
    }
    if (peer != NULL) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), peer);
    }
    SSL_CTX_set_min_proto_version(ctx, how->version);
    SSL_CTX_set_max_proto_version(ctx, how->version);
    if (how->groups != NULL)
        assert_int_equal(SSL_CTX_set1_groups_list(ctx, how->groups), 1);
    if (how->algorithms != NULL)
        assert_int_equal(SSL_CTX_set1_sigalgs_list(ctx, how->algorithms), 1);
    return ctx;
}

sides sides_open(const application *app, const meeting *how)
{
    X509 *server_cert = self_signed(app, how->server);
    X509 *client_cert = how->client != NULL ? self_signed(app, how->client) : NULL;
    sides s = {
        .client = new_context(app, how, TLS_client_method(), how->client, client_cert, server_cert),
        .server = new_context(app, how, TLS_server_method(), how->server, server_cert, client_cert),
    };

    X509_free(client_cert);
    X509_free(server_cert);
    return s;
}

void sides_close(sides *s)
{
    SSL_CTX_free(s->client);
    SSL_CTX_free(s->server);
}

pair pair_open(const sides *s)
{
    BIO *to_server = BIO_new(BIO_s_mem()), *to_client = BIO_new(BIO_s_mem());
    pair p = {.client = SSL_new(s->client), .server = SSL_new(s->server)};

    BIO_up_ref(to_server);
    BIO_up_ref(to_client);
    SSL_set_bio(p.server, to_server, to_client);
    SSL_set_bio(p.client, to_client, to_server);
    SSL_set_accept_state(p.server);
    SSL_set_connect_state(p.client);
    return p;
}

bool pair_is_connected(const pair *p)
{
    return SSL_is_init_finished(p->client) && SSL_is_init_finished(p->server);
}

void pair_close(pair *p)
{
    SSL_free(p->client);
    SSL_free(p->server);
}

static void say(SSL *from, SSL *to)
{
    char word[8] = "";

    assert_int_equal(SSL_write(from, "word", 5), 5);
    assert_int_equal(SSL_read(to, word, sizeof(word)), 5);
    assert_string_equal(word, "word");
}

void pair_talk(const pair *p)
{
    assert_true(pair_is_connected(p));
    assert_int_equal(SSL_get_verify_result(p->client), X509_V_OK);
    assert_int_equal(SSL_get_verify_result(p->server), X509_V_OK);
    say(p->client, p->server);
    say(p->server, p->client);
}

void handshake(const application *app, const meeting *how)
{
    sides s = sides_open(app, how);
    pair p = pair_open(&s);

    for (int i = 0; i < 10 && !pair_is_connected(&p); i++) {
        SSL_do_handshake(p.client);
        SSL_do_handshake(p.server);
    }
    if (!pair_is_connected(&p))
        fail_msg("no handshake: %s", ERR_reason_error_string(ERR_peek_error()));
    pair_talk(&p);
    pair_close(&p);
    sides_close(&s);
}
