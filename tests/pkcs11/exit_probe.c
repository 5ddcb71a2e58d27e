/* A program that uses the module, with a connection to KMS open, and ends in the way named by its
 * argument. Status 0: the module stood it. test_exit runs it. */
#include "tests/pkcs11/token.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static bool finalise_in_destructor;

static void expect(CK_RV got, CK_RV expected)
{
    if (got != expected)
        _exit(2);
}

static void finalise(void)
{
    expect(p11->C_Finalize(NULL), CKR_OK);
}

__attribute__((destructor)) static void at_the_very_end(void)
{
    if (finalise_in_destructor)
        finalise();
}

/* A data key, an encryption that is under way, a search, and a live connection. */
static CK_SESSION_HANDLE use(void)
{
    static unsigned char value[32] = {1};
    static CK_GCM_PARAMS gcm = {value, 12, 96, NULL, 0, 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &gcm, sizeof(gcm)};
    unsigned char out[64];
    CK_ULONG len = sizeof(out);
    CK_SESSION_HANDLE session = token_open();
    CK_OBJECT_HANDLE key = token_import(session, CKK_AES, value, sizeof(value));

    expect(p11->C_EncryptInit(session, &mechanism, key), CKR_OK);
    expect(p11->C_EncryptUpdate(session, value, 20, out, &len), CKR_OK);
    expect(p11->C_FindObjectsInit(session, NULL, 0), CKR_OK);
    return session;
}

/* A program that cleans OpenSSL up itself: the module goes no further, and can still be ended. */
static void after_cleanup(CK_SESSION_HANDLE session)
{
    unsigned char out[64];
    CK_ULONG len = sizeof(out);
    CK_SESSION_HANDLE another;

    OPENSSL_cleanup();
    expect(p11->C_EncryptFinal(session, out, &len), CKR_CRYPTOKI_NOT_INITIALIZED);
    expect(p11->C_GenerateRandom(session, out, sizeof(out)), CKR_CRYPTOKI_NOT_INITIALIZED);
    expect(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &another),
           CKR_CRYPTOKI_NOT_INITIALIZED);
    expect(p11->C_CloseSession(session), CKR_CRYPTOKI_NOT_INITIALIZED);
    expect(p11->C_Finalize(NULL), CKR_OK);
    expect(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    expect(p11->C_Initialize(NULL), CKR_FUNCTION_FAILED);
}

static void in_a_child(void)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0)
        exit(0); /* with the parent's handlers, connection and keys */
    waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        _exit(3);
    finalise();
    use();
    finalise();
}

int main(int argc, char **argv)
{
    const char *mode = argc == 2 ? argv[1] : "";
    CK_SESSION_HANDLE session;

    if (strcmp(mode, "early-handler") == 0) /* runs after OpenSSL's */
        atexit(finalise);
    finalise_in_destructor = strcmp(mode, "destructor") == 0;
    token_load();
    session = use();
    if (strcmp(mode, "late-handler") == 0) /* runs before OpenSSL's */
        atexit(finalise);
    else if (strcmp(mode, "cleanup") == 0)
        after_cleanup(session);
    else if (strcmp(mode, "child") == 0)
        in_a_child();
    else if (strcmp(mode, "quick") == 0)
        quick_exit(0);
    return 0;
}
