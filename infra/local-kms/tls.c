#include "tls.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX  65536
#define PATH_SIZE 4096
#define LIFETIME  (30L * 24 * 3600)

static char *read_file(const char *path)
{
    char *text = calloc(1, FILE_MAX + 1);
    FILE *file = fopen(path, "r");
    size_t len = file != NULL && text != NULL ? fread(text, 1, FILE_MAX, file) : 0;

    if (file != NULL)
        fclose(file);
    if (len == 0) {
        fprintf(stderr, "kms-local: %s can't be read: %s\n", path, strerror(errno));
        free(text);
        return NULL;
    }
    return text;
}

static bool add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *extension;
    bool ok;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ok = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static X509 *make_certificate(EVP_PKEY *pkey)
{
    X509 *cert = X509_new();
    X509_NAME *name = cert != NULL ? X509_get_subject_name(cert) : NULL;

    if (name != NULL && X509_set_version(cert, X509_VERSION_3) == 1 &&
        ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) == 1 &&
        X509_gmtime_adj(X509_getm_notBefore(cert), -60) != NULL &&
        X509_gmtime_adj(X509_getm_notAfter(cert), LIFETIME) != NULL &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"kms-local", -1,
                                   -1, 0) == 1 &&
        X509_set_issuer_name(cert, name) == 1 && X509_set_pubkey(cert, pkey) == 1 &&
        add_extension(cert, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1") &&
        add_extension(cert, NID_basic_constraints, "critical,CA:TRUE") &&
        X509_sign(cert, pkey, EVP_sha256()) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}

static FILE *create(const char *folder, const char *name, mode_t mode, char *path, size_t size)
{
    snprintf(path, size, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;

    if (file == NULL)
        fprintf(stderr, "kms-local: %s can't be written: %s\n", path, strerror(errno));
    return file;
}

static bool make_files(const char *folder, char *cert_path, char *key_path, size_t size)
{
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    X509 *cert = pkey != NULL ? make_certificate(pkey) : NULL;
    FILE *cert_file = create(folder, "cert.pem", 0644, cert_path, size);
    FILE *key_file = create(folder, "key.pem", 0600, key_path, size);
    bool ok = cert != NULL && cert_file != NULL && key_file != NULL &&
              PEM_write_X509(cert_file, cert) == 1 &&
              PEM_write_PrivateKey(key_file, pkey, NULL, NULL, 0, NULL, NULL) == 1;

    if (cert_file != NULL)
        ok = fclose(cert_file) == 0 && ok;
    if (key_file != NULL)
        ok = fclose(key_file) == 0 && ok;
    X509_free(cert);
    EVP_PKEY_free(pkey);
    return ok;
}

/* libmicrohttpd would only say that it can't start. */
static bool fit_together(const tls_files *files)
{
    static char no_password[] = ""; /* else libcrypto would ask on the terminal */
    BIO *cert_text = BIO_new_mem_buf(files->certificate, -1);
    BIO *key_text = BIO_new_mem_buf(files->key, -1);
    X509 *cert = cert_text != NULL ? PEM_read_bio_X509(cert_text, NULL, NULL, NULL) : NULL;
    EVP_PKEY *pkey =
        key_text != NULL ? PEM_read_bio_PrivateKey(key_text, NULL, NULL, no_password) : NULL;
    bool ok = cert != NULL && pkey != NULL && X509_check_private_key(cert, pkey) == 1;

    if (!ok)
        fprintf(stderr, "kms-local: %s\n",
                cert == NULL ? "the file of --tls-cert holds no certificate in PEM"
                : pkey == NULL
                    ? "the file of --tls-key holds no unencrypted private key in PEM"
                    : "the certificate of --tls-cert is not one of the key of --tls-key");
    EVP_PKEY_free(pkey);
    X509_free(cert);
    BIO_free(key_text);
    BIO_free(cert_text);
    return ok;
}

bool tls_load(const options *o, tls_files *out)
{
    char cert_path[PATH_SIZE], key_path[PATH_SIZE];

    *out = (tls_files){0};
    if (o->tls_cert == NULL && o->tls_folder == NULL)
        return true;
    if (o->tls_folder != NULL) {
        if (!make_files(o->tls_folder, cert_path, key_path, sizeof(cert_path)))
            return false;
    } else {
        snprintf(cert_path, sizeof(cert_path), "%s", o->tls_cert);
        snprintf(key_path, sizeof(key_path), "%s", o->tls_key);
    }
    out->certificate = read_file(cert_path);
    out->key = read_file(key_path);
    if (out->certificate != NULL && out->key != NULL && fit_together(out))
        return true;
    tls_clear(out);
    return false;
}

void tls_clear(tls_files *files)
{
    if (files->key != NULL)
        OPENSSL_cleanse(files->key, strlen(files->key));
    free(files->key);
    free(files->certificate);
    *files = (tls_files){0};
}
