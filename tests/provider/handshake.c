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

typedef struct side {
    SSL_CTX *ctx;
    SSL *ssl;
} side;

static side open_side(const application *app, const meeting *how, const SSL_METHOD *method,
                      EVP_PKEY *key, X509 *cert, X509 *peer)
{
    side s = {.ctx = SSL_CTX_new_ex(app->libctx, NULL, method)};

    assert_non_null(s.ctx);
    if (key != NULL) {
        assert_int_equal(SSL_CTX_use_certificate(s.ctx, cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(s.ctx, key), 1);
        assert_int_equal(SSL_CTX_check_private_key(s.ctx), 1);
    }
    if (peer != NULL) {
        SSL_CTX_set_verify(s.ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        X509_STORE_add_cert(SSL_CTX_get_cert_store(s.ctx), peer);
    }
    s.ssl = SSL_new(s.ctx);
    SSL_set_min_proto_version(s.ssl, how->version);
    SSL_set_max_proto_version(s.ssl, how->version);
    if (how->groups != NULL)
        assert_int_equal(SSL_set1_groups_list(s.ssl, how->groups), 1);
    if (how->algorithms != NULL)
        assert_int_equal(SSL_set1_sigalgs_list(s.ssl, how->algorithms), 1);
    return s;
}

static void close_side(side *s)
{
    SSL_free(s->ssl);
    SSL_CTX_free(s->ctx);
}

static void connect_sides(const side *client, const side *server)
{
    BIO *to_server = BIO_new(BIO_s_mem()), *to_client = BIO_new(BIO_s_mem());

    BIO_up_ref(to_server);
    BIO_up_ref(to_client);
    SSL_set_bio(server->ssl, to_server, to_client);
    SSL_set_bio(client->ssl, to_client, to_server);
    SSL_set_accept_state(server->ssl);
    SSL_set_connect_state(client->ssl);
}

static void say(SSL *from, SSL *to)
{
    char word[8] = "";

    assert_int_equal(SSL_write(from, "word", 5), 5);
    assert_int_equal(SSL_read(to, word, sizeof(word)), 5);
    assert_string_equal(word, "word");
}

void handshake(const application *app, const meeting *how)
{
    X509 *server_cert = self_signed(app, how->server);
    X509 *client_cert = how->client != NULL ? self_signed(app, how->client) : NULL;
    side s = open_side(app, how, TLS_server_method(), how->server, server_cert, client_cert);
    side c = open_side(app, how, TLS_client_method(), how->client, client_cert, server_cert);

    connect_sides(&c, &s);
    for (int i = 0; i < 10 && (!SSL_is_init_finished(c.ssl) || !SSL_is_init_finished(s.ssl)); i++) {
        SSL_do_handshake(c.ssl);
        SSL_do_handshake(s.ssl);
    }
    if (!SSL_is_init_finished(c.ssl) || !SSL_is_init_finished(s.ssl))
        fail_msg("no handshake: %s", ERR_reason_error_string(ERR_peek_error()));
    assert_int_equal(SSL_get_verify_result(c.ssl), X509_V_OK);
    assert_int_equal(SSL_get_verify_result(s.ssl), X509_V_OK);
    say(c.ssl, s.ssl);
    say(s.ssl, c.ssl);
    close_side(&c);
    close_side(&s);
    X509_free(client_cert);
    X509_free(server_cert);
}
