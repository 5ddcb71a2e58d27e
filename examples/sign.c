/* Signs a file with a key in KMS and verifies the signature, by OpenSSL's EVP interface alone: the
 * program knows nothing of KMS. The key is an address, kms:alias/NAME, or a file: then what it
 * names is read with OpenSSL's ordinary loaders.
 *
 * build: cc -o sign sign.c $(pkg-config --cflags --libs libcrypto)
 * run:   OPENSSL_CONF=openssl.cnf ./sign kms:alias/NAME FILE SIGNATURE */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/store.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The private key that the address or file name leads to; NULL where there is none. */
static EVP_PKEY *load_key(const char *address)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open(address, NULL, NULL, NULL, NULL);
    EVP_PKEY *key = NULL;

    if (store == NULL || OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY) != 1) {
        OSSL_STORE_close(store);
        return NULL;
    }
    while (key == NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info == NULL)
            break;
        key = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return key;
}

/* The whole file, released with OPENSSL_free. */
static unsigned char *read_file(const char *name, size_t *len)
{
    BIO *in = BIO_new_file(name, "rb");
    BIO *all = BIO_new(BIO_s_mem());
    unsigned char part[4096], *bytes = NULL;
    char *data = NULL;
    int n = 0;

    while (in != NULL && all != NULL && (n = BIO_read(in, part, sizeof(part))) > 0) {
        if (BIO_write(all, part, n) != n)
            break;
    }
    if (in != NULL && n <= 0 && BIO_eof(in)) {
        *len = (size_t)BIO_get_mem_data(all, &data);
        bytes = OPENSSL_malloc(*len + 1);
        if (bytes != NULL && *len > 0)
            memcpy(bytes, data, *len);
    }
    BIO_free(in);
    BIO_free(all);
    return bytes;
}

/* Ed25519 takes the message alone; the others hash it, here always with the key's own default. */
static const char *digest_of(EVP_PKEY *key, char *name, size_t room)
{
    int mandatory = EVP_PKEY_get_default_digest_name(key, name, room);

    return mandatory > 0 && strcmp(name, "UNDEF") != 0 ? name : NULL;
}

/* One signature; released with OPENSSL_free. */
static unsigned char *sign(EVP_PKEY *key, const char *digest, const unsigned char *data, size_t len,
                           size_t *made)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char *signature = NULL;
    int ok = ctx != NULL && EVP_DigestSignInit_ex(ctx, NULL, digest, NULL, NULL, key, NULL) == 1 &&
             EVP_DigestSign(ctx, NULL, made, data, len) == 1 &&
             (signature = OPENSSL_malloc(*made)) != NULL &&
             EVP_DigestSign(ctx, signature, made, data, len) == 1;

    EVP_MD_CTX_free(ctx);
    if (!ok) {
        OPENSSL_free(signature);
        signature = NULL;
    }
    return signature;
}

static int verifies(EVP_PKEY *key, const char *digest, const unsigned char *data, size_t len,
                    const unsigned char *signature, size_t made)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int ok = ctx != NULL &&
             EVP_DigestVerifyInit_ex(ctx, NULL, digest, NULL, NULL, key, NULL) == 1 &&
             EVP_DigestVerify(ctx, signature, made, data, len) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

static int write_file(const char *name, const unsigned char *data, size_t len)
{
    BIO *out = BIO_new_file(name, "wb");
    size_t written = 0;
    int ok = out != NULL && BIO_write_ex(out, data, len, &written) == 1 && written == len;

    return BIO_free(out) == 1 && ok;
}

int main(int argc, char **argv)
{
    unsigned char *data = NULL, *signature = NULL;
    size_t len = 0, made = 0;
    char name[64];
    const char *digest;
    EVP_PKEY *key;
    int ok;

    if (argc != 4) {
        fprintf(stderr, "usage: sign KEY FILE SIGNATURE\n");
        return 2;
    }
    key = load_key(argv[1]);
    ok = key != NULL && (data = read_file(argv[2], &len)) != NULL;
    if (ok) {
        digest = digest_of(key, name, sizeof(name));
        signature = sign(key, digest, data, len, &made);
        ok = signature != NULL && verifies(key, digest, data, len, signature, made) &&
             write_file(argv[3], signature, made);
    }
    if (ok)
        printf("signed with %s, %s, and verified\n", EVP_PKEY_get0_type_name(key),
               digest != NULL ? digest : "no digest");
    else
        ERR_print_errors_fp(stderr);
    OPENSSL_free(signature);
    OPENSSL_free(data);
    EVP_PKEY_free(key);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
