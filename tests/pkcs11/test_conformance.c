/* Every function of the standard in the states that it must tell apart. */
#include "tests/pkcs11/token.h"

#include <dlfcn.h>
#include <stdio.h>

/* What the calls below are made of; a state changes one thing about it. */
typedef struct arguments {
    CK_SESSION_HANDLE session;
    CK_SLOT_ID slot;
    CK_OBJECT_HANDLE key;
    CK_MECHANISM *mechanism;
    CK_ATTRIBUTE *template;
    unsigned char *in;
    void *out;
    CK_ULONG *number;
} arguments;

#define CALL(name, ...)                                                                            \
    static CK_RV call_##name(const arguments *a)                                                   \
    {                                                                                              \
        return p11->name(__VA_ARGS__);                                                             \
    }

CALL(C_Finalize, a->in == NULL ? (void *)&p11 : NULL)
CALL(C_GetInfo, a->out)
CALL(C_GetSlotList, CK_TRUE, a->out, a->number)
CALL(C_GetSlotInfo, a->slot, a->out)
CALL(C_GetTokenInfo, a->slot, a->out)
CALL(C_GetMechanismList, a->slot, a->out, a->number)
CALL(C_GetMechanismInfo, a->slot, CKM_AES_GCM, a->out)
CALL(C_InitToken, a->slot, a->in, 1, a->in)
CALL(C_InitPIN, a->session, a->in, 1)
CALL(C_SetPIN, a->session, a->in, 1, a->in, 1)
CALL(C_OpenSession, a->slot, CKF_SERIAL_SESSION, NULL, NULL, a->number)
CALL(C_CloseSession, a->session)
CALL(C_CloseAllSessions, a->slot)
CALL(C_GetSessionInfo, a->session, a->out)
CALL(C_GetOperationState, a->session, a->out, a->number)
CALL(C_SetOperationState, a->session, a->in, 1, 0, 0)
CALL(C_Login, a->session, CKU_USER, a->in, 1)
CALL(C_Logout, a->session)
CALL(C_CreateObject, a->session, a->template, 1, a->number)
CALL(C_CopyObject, a->session, a->key, a->template, 1, a->number)
CALL(C_DestroyObject, a->session, a->key)
CALL(C_GetObjectSize, a->session, a->key, a->number)
CALL(C_GetAttributeValue, a->session, a->key, a->template, 1)
CALL(C_SetAttributeValue, a->session, a->key, a->template, 1)
CALL(C_FindObjectsInit, a->session, a->template, 1)
CALL(C_FindObjects, a->session, a->out, 1, a->number)
CALL(C_FindObjectsFinal, a->session)
CALL(C_EncryptInit, a->session, a->mechanism, a->key)
CALL(C_Encrypt, a->session, a->in, 1, a->out, a->number)
CALL(C_EncryptUpdate, a->session, a->in, 1, a->out, a->number)
CALL(C_EncryptFinal, a->session, a->out, a->number)
CALL(C_DecryptInit, a->session, a->mechanism, a->key)
CALL(C_Decrypt, a->session, a->in, 1, a->out, a->number)
CALL(C_DecryptUpdate, a->session, a->in, 1, a->out, a->number)
CALL(C_DecryptFinal, a->session, a->out, a->number)
CALL(C_DigestInit, a->session, a->mechanism)
CALL(C_Digest, a->session, a->in, 1, a->out, a->number)
CALL(C_DigestUpdate, a->session, a->in, 1)
CALL(C_DigestKey, a->session, a->key)
CALL(C_DigestFinal, a->session, a->out, a->number)
CALL(C_SignInit, a->session, a->mechanism, a->key)
CALL(C_Sign, a->session, a->in, 1, a->out, a->number)
CALL(C_SignUpdate, a->session, a->in, 1)
CALL(C_SignFinal, a->session, a->out, a->number)
CALL(C_SignRecoverInit, a->session, a->mechanism, a->key)
CALL(C_SignRecover, a->session, a->in, 1, a->out, a->number)
CALL(C_VerifyInit, a->session, a->mechanism, a->key)
CALL(C_Verify, a->session, a->in, 1, a->in, 1)
CALL(C_VerifyUpdate, a->session, a->in, 1)
CALL(C_VerifyFinal, a->session, a->in, 1)
CALL(C_VerifyRecoverInit, a->session, a->mechanism, a->key)
CALL(C_VerifyRecover, a->session, a->in, 1, a->out, a->number)
CALL(C_DigestEncryptUpdate, a->session, a->in, 1, a->out, a->number)
CALL(C_DecryptDigestUpdate, a->session, a->in, 1, a->out, a->number)
CALL(C_SignEncryptUpdate, a->session, a->in, 1, a->out, a->number)
CALL(C_DecryptVerifyUpdate, a->session, a->in, 1, a->out, a->number)
CALL(C_GenerateKey, a->session, a->mechanism, a->template, 1, a->number)
CALL(C_GenerateKeyPair, a->session, a->mechanism, a->template, 1, a->template, 1, a->number,
     a->number)
CALL(C_WrapKey, a->session, a->mechanism, a->key, a->key, a->out, a->number)
CALL(C_UnwrapKey, a->session, a->mechanism, a->key, a->in, 1, a->template, 1, a->number)
CALL(C_DeriveKey, a->session, a->mechanism, a->key, a->template, 1, a->number)
CALL(C_SeedRandom, a->session, a->in, 1)
CALL(C_GenerateRandom, a->session, a->out, 1)
CALL(C_GetFunctionStatus, a->session)
CALL(C_CancelFunction, a->session)
CALL(C_WaitForSlotEvent, CKF_DONT_BLOCK, a->number, NULL)

#define NONE          ((CK_RV)-1) /* the state says nothing about this function */
#define UNSUPPORTED   CKR_FUNCTION_NOT_SUPPORTED
#define NO_PARALLEL   CKR_FUNCTION_NOT_PARALLEL
#define BAD_SESSION   CKR_SESSION_HANDLE_INVALID
#define BAD_SLOT      CKR_SLOT_ID_INVALID
#define BAD_ARGUMENT  CKR_ARGUMENTS_BAD
#define BAD_KEY       CKR_KEY_HANDLE_INVALID
#define BAD_OBJECT    CKR_OBJECT_HANDLE_INVALID
#define NO_OPERATION  CKR_OPERATION_NOT_INITIALIZED
#define NO_SEED       CKR_RANDOM_SEED_NOT_SUPPORTED
#define NOT_LOGGED_IN CKR_USER_NOT_LOGGED_IN
#define BAD_WRAPPING  CKR_WRAPPING_KEY_HANDLE_INVALID
#define BAD_UNWRAP    CKR_UNWRAPPING_KEY_HANDLE_INVALID

#define ROW(name, ...)                                                                             \
    {                                                                                              \
#name, call_##name, __VA_ARGS__                                                            \
    }

/* clang-format off */
static const struct {
    const char *name;
    CK_RV (*call)(const arguments *a);
    CK_RV bad_place;     /* a session or slot that is not there */
    CK_RV bad_object;    /* a right session, an object that is not there */
    CK_RV null_argument; /* NULL for everything that points */
    CK_RV idle;          /* right arguments, but no operation is active; NONE: tested elsewhere */
} rows[] = {
    /* function                    place        object       NULL          idle */
    ROW(C_Finalize,                NONE,        NONE,        BAD_ARGUMENT, NONE),
    ROW(C_GetInfo,                 NONE,        NONE,        BAD_ARGUMENT, CKR_OK),
    ROW(C_GetSlotList,             NONE,        NONE,        BAD_ARGUMENT, CKR_OK),
    ROW(C_GetSlotInfo,             BAD_SLOT,    NONE,        BAD_ARGUMENT, CKR_OK),
    ROW(C_GetTokenInfo,            BAD_SLOT,    NONE,        BAD_ARGUMENT, CKR_OK),
    ROW(C_GetMechanismList,        BAD_SLOT,    NONE,        BAD_ARGUMENT, CKR_OK),
    ROW(C_GetMechanismInfo,        BAD_SLOT,    NONE,        BAD_ARGUMENT, CKR_OK),
    ROW(C_InitToken,               UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_InitPIN,                 UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_SetPIN,                  UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_OpenSession,             BAD_SLOT,    NONE,        BAD_ARGUMENT, CKR_OK),
    ROW(C_CloseSession,            BAD_SESSION, NONE,        NONE,         NONE),
    ROW(C_CloseAllSessions,        BAD_SLOT,    NONE,        NONE,         NONE),
    ROW(C_GetSessionInfo,          BAD_SESSION, NONE,        BAD_ARGUMENT, CKR_OK),
    ROW(C_GetOperationState,       UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_SetOperationState,       UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_Login,                   BAD_SESSION, NONE,        BAD_ARGUMENT, NONE),
    ROW(C_Logout,                  BAD_SESSION, NONE,        NONE,         NOT_LOGGED_IN),
    ROW(C_CreateObject,            UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_CopyObject,              UNSUPPORTED, UNSUPPORTED, UNSUPPORTED,  UNSUPPORTED),
    ROW(C_DestroyObject,           BAD_SESSION, BAD_OBJECT,  NONE,         CKR_ACTION_PROHIBITED),
    ROW(C_GetObjectSize,           UNSUPPORTED, UNSUPPORTED, UNSUPPORTED,  UNSUPPORTED),
    ROW(C_GetAttributeValue,       BAD_SESSION, BAD_OBJECT,  BAD_ARGUMENT, CKR_OK),
    ROW(C_SetAttributeValue,       UNSUPPORTED, UNSUPPORTED, UNSUPPORTED,  UNSUPPORTED),
    ROW(C_FindObjectsInit,         BAD_SESSION, NONE,        BAD_ARGUMENT, NONE),
    ROW(C_FindObjects,             BAD_SESSION, NONE,        BAD_ARGUMENT, NO_OPERATION),
    ROW(C_FindObjectsFinal,        BAD_SESSION, NONE,        NONE,         NO_OPERATION),
    ROW(C_EncryptInit,             BAD_SESSION, BAD_KEY,     BAD_ARGUMENT, NONE),
    ROW(C_Encrypt,                 BAD_SESSION, NONE,        NONE,         NO_OPERATION),
    ROW(C_EncryptUpdate,           BAD_SESSION, NONE,        NONE,         NO_OPERATION),
    ROW(C_EncryptFinal,            BAD_SESSION, NONE,        NONE,         NO_OPERATION),
    ROW(C_DecryptInit,             BAD_SESSION, BAD_KEY,     BAD_ARGUMENT, NONE),
    ROW(C_Decrypt,                 BAD_SESSION, NONE,        NONE,         NO_OPERATION),
    ROW(C_DecryptUpdate,           BAD_SESSION, NONE,        NONE,         NO_OPERATION),
    ROW(C_DecryptFinal,            BAD_SESSION, NONE,        NONE,         NO_OPERATION),
    ROW(C_DigestInit,              UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_Digest,                  UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_DigestUpdate,            UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_DigestKey,               UNSUPPORTED, UNSUPPORTED, UNSUPPORTED,  UNSUPPORTED),
    ROW(C_DigestFinal,             UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_SignInit,                UNSUPPORTED, UNSUPPORTED, UNSUPPORTED,  UNSUPPORTED),
    ROW(C_Sign,                    UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_SignUpdate,              UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_SignFinal,               UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_SignRecoverInit,         UNSUPPORTED, UNSUPPORTED, UNSUPPORTED,  UNSUPPORTED),
    ROW(C_SignRecover,             UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_VerifyInit,              UNSUPPORTED, UNSUPPORTED, UNSUPPORTED,  UNSUPPORTED),
    ROW(C_Verify,                  UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_VerifyUpdate,            UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_VerifyFinal,             UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_VerifyRecoverInit,       UNSUPPORTED, UNSUPPORTED, UNSUPPORTED,  UNSUPPORTED),
    ROW(C_VerifyRecover,           UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_DigestEncryptUpdate,     UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_DecryptDigestUpdate,     UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_SignEncryptUpdate,       UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_DecryptVerifyUpdate,     UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_GenerateKey,             BAD_SESSION, NONE,        BAD_ARGUMENT, NONE),
    ROW(C_GenerateKeyPair,         UNSUPPORTED, NONE,        UNSUPPORTED,  UNSUPPORTED),
    ROW(C_WrapKey,                 BAD_SESSION, BAD_WRAPPING, BAD_ARGUMENT, NONE),
    ROW(C_UnwrapKey,               BAD_SESSION, BAD_UNWRAP,  BAD_ARGUMENT, NONE),
    ROW(C_DeriveKey,               UNSUPPORTED, UNSUPPORTED, UNSUPPORTED,  UNSUPPORTED),
    ROW(C_SeedRandom,              BAD_SESSION, NONE,        NONE,         NO_SEED),
    ROW(C_GenerateRandom,          BAD_SESSION, NONE,        BAD_ARGUMENT, CKR_OK),
    ROW(C_GetFunctionStatus,       NO_PARALLEL, NONE,        NONE,         NO_PARALLEL),
    ROW(C_CancelFunction,          NO_PARALLEL, NONE,        NONE,         NO_PARALLEL),
    ROW(C_WaitForSlotEvent,        NONE,        NONE,        UNSUPPORTED,  UNSUPPORTED),
};
/* clang-format on */

#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* Room for every answer, and right arguments all over. */
typedef struct room {
    unsigned char in[64], out[1024];
    CK_ULONG number;
    CK_MECHANISM mechanism;
    CK_ATTRIBUTE template;
    CK_KEY_TYPE type;
    arguments a;
} room;

static arguments *fill(room *r, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
    memset(r, 0, sizeof(*r));
    r->number = 16;
    r->mechanism = token_wrap_mechanism(CONTEXT);
    r->type = CKK_AES;
    r->template = (CK_ATTRIBUTE){CKA_KEY_TYPE, &r->type, sizeof(r->type)};
    r->a = (arguments){session, SLOT, key, &r->mechanism, &r->template, r->in, r->out, &r->number};
    return &r->a;
}

static void expect(size_t row, const char *state, CK_RV got, CK_RV expected)
{
    if (got != expected)
        fail_msg("%s, %s: 0x%lx instead of 0x%lx", rows[row].name, state, got, expected);
}

static void the_table_has_every_function_of_the_list(void **state)
{
    const size_t members = (sizeof(CK_FUNCTION_LIST) - sizeof(void *)) / sizeof(void *);

    (void)state;
    assert_int_equal(ROWS,
                     members - 2); /* C_Initialize and C_GetFunctionList have their own tests */
    for (size_t i = 0; i < members; i++)
        assert_non_null(((void **)p11)[i + 1]);
}

static void nothing_works_before_initialising_and_after_finalising(void **state)
{
    room r;

    (void)state;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < ROWS; i++)
            expect(i, round == 0 ? "not initialised" : "finalised", rows[i].call(fill(&r, 1, 1)),
                   CKR_CRYPTOKI_NOT_INITIALIZED);
        token_open();
        token_close();
    }
}

static void sessions_and_slots_that_are_not_there_are_told(void **state)
{
    static const CK_SESSION_HANDLE strange[] = {0, 2, 0xFFFFF, 0x100001, (CK_SESSION_HANDLE)-1};
    CK_SESSION_HANDLE closed;
    room r;

    (void)state;
    token_open();
    assert_ok(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &closed));
    assert_ok(p11->C_CloseSession(closed));
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].bad_place == NONE)
            continue;
        for (size_t j = 0; j < sizeof(strange) / sizeof(strange[0]); j++) {
            fill(&r, strange[j], 1);
            r.a.slot = strange[j];
            expect(i, "strange handle", rows[i].call(&r.a), rows[i].bad_place);
        }
        fill(&r, closed, 1);
        r.a.slot = 0;
        expect(i, "closed session", rows[i].call(&r.a), rows[i].bad_place);
    }
    token_close();
}

static void objects_that_are_not_there_are_told(void **state)
{
    static const CK_OBJECT_HANDLE strange[] = {0, 777, 0xFFFFF, (CK_OBJECT_HANDLE)-1};
    CK_SESSION_HANDLE session = token_open();
    room r;

    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t j = 0; rows[i].bad_object != NONE && j < 4; j++) {
            fill(&r, session, strange[j]);
            if (rows[i].call == call_C_EncryptInit || rows[i].call == call_C_DecryptInit)
                r.mechanism.mechanism = CKM_KMS_ENCRYPT;
            expect(i, "strange object", rows[i].call(&r.a), rows[i].bad_object);
        }
    }
    token_close();
}

static void null_is_no_argument(void **state)
{
    CK_SESSION_HANDLE session = token_open();
    CK_OBJECT_HANDLE key = token_kms_key(session);
    const arguments null = {.session = session, .slot = SLOT, .key = key};

    (void)state;
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].null_argument != NONE)
            expect(i, "NULL", rows[i].call(&null), rows[i].null_argument);
    token_close();
}

static void nothing_continues_what_was_not_begun(void **state)
{
    CK_SESSION_HANDLE session = token_open();
    CK_OBJECT_HANDLE key = token_kms_key(session);
    room r;

    (void)state;
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].idle != NONE)
            expect(i, "idle", rows[i].call(fill(&r, session, key)), rows[i].idle);
    token_close();
}

static CK_RV no_mutex(void **mutex)
{
    (void)mutex;
    return CKR_OK;
}

static CK_RV no_lock(void *mutex)
{
    (void)mutex;
    return CKR_OK;
}

static void initialising_takes_the_arguments_of_the_standard(void **state)
{
    const CK_C_INITIALIZE_ARGS all = {.CreateMutex = no_mutex,
                                      .DestroyMutex = no_lock,
                                      .LockMutex = no_lock,
                                      .UnlockMutex = no_lock};
    CK_C_INITIALIZE_ARGS args;

    (void)state;
    assert_ok(p11->C_Initialize(NULL));
    assert_rv(p11->C_Initialize(NULL), CKR_CRYPTOKI_ALREADY_INITIALIZED);
    assert_ok(p11->C_Finalize(NULL));
    assert_rv(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);

    args = (CK_C_INITIALIZE_ARGS){.flags = CKF_OS_LOCKING_OK | CKF_LIBRARY_CANT_CREATE_OS_THREADS};
    assert_ok(p11->C_Initialize(&args));
    token_close();
    args = all; /* only the caller's mutexes: those are never used */
    assert_rv(p11->C_Initialize(&args), CKR_CANT_LOCK);
    args.flags = CKF_OS_LOCKING_OK;
    assert_ok(p11->C_Initialize(&args));
    token_close();
    args.LockMutex = NULL;
    assert_rv(p11->C_Initialize(&args), CKR_ARGUMENTS_BAD);
    args = (CK_C_INITIALIZE_ARGS){.pReserved = &args};
    assert_rv(p11->C_Initialize(&args), CKR_ARGUMENTS_BAD);
    assert_rv(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
}

static void function_lists_are_given_without_initialising(void **state)
{
    typedef struct interface {
        const char *name;
        void *list;
        CK_FLAGS flags;
    } interface;
    void *module = dlopen(token_path, RTLD_NOW | RTLD_LOCAL);
    CK_RV (*get_list)(CK_FUNCTION_LIST **);
    CK_RV (*interfaces)(interface *, CK_ULONG *);
    CK_RV (*get)(const char *, CK_VERSION *, interface **, CK_FLAGS);
    CK_VERSION version = {2, 40}, newer = {3, 0};
    interface one = {0}, *given = NULL;
    CK_ULONG count = 0;

    (void)state;
    *(void **)(&get_list) = dlsym(module, "C_GetFunctionList");
    *(void **)(&interfaces) = dlsym(module, "C_GetInterfaceList");
    *(void **)(&get) = dlsym(module, "C_GetInterface");
    if (get_list == NULL || interfaces == NULL || get == NULL) {
        fail();
        return;
    }
    assert_rv(get_list(NULL), CKR_ARGUMENTS_BAD);
    assert_rv(p11->C_GetFunctionList(NULL), CKR_ARGUMENTS_BAD);
    assert_int_equal(p11->version.major * 100 + p11->version.minor, 240);

    assert_rv(interfaces(NULL, NULL), CKR_ARGUMENTS_BAD);
    assert_ok(interfaces(NULL, &count));
    assert_int_equal(count, 1);
    count = 0;
    assert_rv(interfaces(&one, &count), CKR_BUFFER_TOO_SMALL);
    assert_ok(interfaces(&one, &count));
    assert_string_equal(one.name, "PKCS 11");
    assert_ptr_equal(one.list, p11);
    assert_ok(get(NULL, NULL, &given, 0));
    assert_ok(get("PKCS 11", &version, &given, 0));
    assert_ptr_equal(given->list, p11);
    assert_rv(get("PKCS 11", &newer, &given, 0), CKR_FUNCTION_FAILED);
    assert_rv(get("Vendor", NULL, &given, 0), CKR_FUNCTION_FAILED);
    assert_rv(get(NULL, NULL, &given, 1), CKR_FUNCTION_FAILED);
    assert_rv(get(NULL, NULL, NULL, 0), CKR_ARGUMENTS_BAD);
    dlclose(module);
}

static void lists_tell_their_size_and_refuse_short_room(void **state)
{
    CK_MECHANISM_TYPE mechanisms[16];
    CK_SLOT_ID slots[2];
    CK_ULONG count = 0, all;

    (void)state;
    token_open();
    assert_ok(p11->C_GetSlotList(CK_FALSE, NULL, &count));
    assert_int_equal(count, 1);
    count = 0;
    assert_rv(p11->C_GetSlotList(CK_TRUE, slots, &count), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(count, 1);
    assert_ok(p11->C_GetSlotList(CK_TRUE, slots, &count));
    assert_int_equal(slots[0], SLOT);

    assert_ok(p11->C_GetMechanismList(SLOT, NULL, &all));
    count = all - 1;
    assert_rv(p11->C_GetMechanismList(SLOT, mechanisms, &count), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(count, all);
    assert_ok(p11->C_GetMechanismList(SLOT, mechanisms, &count));
    token_close();
}

static void the_mechanisms_say_what_they_do(void **state)
{
    static const struct {
        CK_MECHANISM_TYPE type;
        CK_ULONG smallest, largest;
        CK_FLAGS flags;
        bool mapped;
    } expected[] = {
        {CKM_KMS_WRAP, 32, 32, CKF_HW | CKF_WRAP | CKF_UNWRAP, false},
        {CKM_KMS_ENCRYPT, 32, 32, CKF_HW | CKF_ENCRYPT | CKF_DECRYPT, false},
        {CKM_AES_KEY_GEN, 16, 32, CKF_GENERATE, false},
        {CKM_AES_GCM, 16, 32, CKF_ENCRYPT | CKF_DECRYPT, false},
        {CKM_AES_CBC_PAD, 16, 32, CKF_ENCRYPT | CKF_DECRYPT, false},
        {CKM_AES_CTR, 16, 32, CKF_ENCRYPT | CKF_DECRYPT, false},
        {CKM_AES_KEY_WRAP, 32, 32, CKF_HW | CKF_WRAP | CKF_UNWRAP, true},
        {CKM_AES_KEY_WRAP_PAD, 32, 32, CKF_HW | CKF_WRAP | CKF_UNWRAP, true},
    };
    static const char *const settings[] = {"", "map_standard_wrap = yes\n"};
    CK_MECHANISM_INFO info;
    CK_ULONG count;

    (void)state;
    for (int mapped = 0; mapped < 2; mapped++) {
        token_configure(settings[mapped]);
        token_open();
        assert_ok(p11->C_GetMechanismList(SLOT, NULL, &count));
        assert_int_equal(count, mapped ? 8 : 6);
        for (size_t i = 0; i < 8; i++) {
            CK_RV rv = p11->C_GetMechanismInfo(SLOT, expected[i].type, &info);
            if (expected[i].mapped && !mapped) {
                assert_rv(rv, CKR_MECHANISM_INVALID);
                continue;
            }
            assert_ok(rv);
            assert_int_equal(info.ulMinKeySize, expected[i].smallest);
            assert_int_equal(info.ulMaxKeySize, expected[i].largest);
            assert_int_equal(info.flags, expected[i].flags);
        }
        assert_rv(p11->C_GetMechanismInfo(SLOT, CKM_RSA_PKCS, &info), CKR_MECHANISM_INVALID);
        token_close();
    }
    token_configure("");
}

static void slot_and_token_describe_themselves_in_blank_padded_fields(void **state)
{
    CK_TOKEN_INFO token;
    CK_SLOT_INFO slot;
    CK_INFO info;

    (void)state;
    token_open();
    assert_ok(p11->C_GetInfo(&info));
    assert_memory_equal(info.manufacturerID, "kms-provider                    ", 32);
    assert_int_equal(info.cryptokiVersion.major * 100 + info.cryptokiVersion.minor, 240);
    assert_ok(p11->C_GetSlotInfo(SLOT, &slot));
    assert_int_equal(slot.flags, CKF_TOKEN_PRESENT);
    assert_ok(p11->C_GetTokenInfo(SLOT, &token));
    assert_memory_equal(token.label, "kms                             ", 32);
    assert_int_equal(token.flags, CKF_RNG | CKF_TOKEN_INITIALIZED);
    assert_int_equal(token.ulSessionCount, 1);
    assert_int_equal(token.ulRwSessionCount, 1);
    for (size_t i = 0; i < sizeof(token.model); i++)
        assert_true(token.model[i] >= 0x20 && token.model[i] < 0x7f);
    token_close();
}

static void sessions_are_serial_and_count(void **state)
{
    CK_SESSION_HANDLE session = token_open(), second;
    CK_TOKEN_INFO token;
    CK_SESSION_INFO info;

    (void)state;
    assert_rv(p11->C_OpenSession(SLOT, 0, NULL, NULL, &second), CKR_SESSION_PARALLEL_NOT_SUPPORTED);
    assert_ok(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &second));
    assert_true(second != session);
    assert_ok(p11->C_GetSessionInfo(second, &info));
    assert_int_equal(info.state, CKS_RO_PUBLIC_SESSION);
    assert_int_equal(info.slotID, SLOT);
    assert_int_equal(info.flags, CKF_SERIAL_SESSION);
    assert_ok(p11->C_GetTokenInfo(SLOT, &token));
    assert_int_equal(token.ulSessionCount, 2);
    assert_int_equal(token.ulRwSessionCount, 1);
    assert_ok(p11->C_CloseAllSessions(SLOT));
    assert_rv(p11->C_GetSessionInfo(session, &info), CKR_SESSION_HANDLE_INVALID);
    assert_ok(p11->C_GetTokenInfo(SLOT, &token));
    assert_int_equal(token.ulSessionCount + token.ulRwSessionCount, 0);
    token_close();
}

static void a_closed_session_never_answers_again(void **state)
{
    CK_SESSION_HANDLE first, next;
    CK_SESSION_INFO info;

    (void)state;
    token_open();
    assert_ok(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &first));
    assert_ok(p11->C_CloseSession(first));
    for (int i = 0; i < 4000; i++) {
        assert_ok(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &next));
        assert_true(next != first);
        assert_rv(p11->C_GetSessionInfo(first, &info), CKR_SESSION_HANDLE_INVALID);
        assert_ok(p11->C_CloseSession(next));
    }
    token_close();
}

static void logging_in_is_never_needed_and_follows_the_rules(void **state)
{
    static unsigned char pin[] = "1234";
    CK_SESSION_HANDLE session = token_open();
    CK_SESSION_INFO info;

    (void)state;
    assert_rv(p11->C_Login(session, CKU_SO, pin, 4), CKR_USER_TYPE_INVALID);
    assert_rv(p11->C_Login(session, CKU_CONTEXT_SPECIFIC, pin, 4), CKR_OPERATION_NOT_INITIALIZED);
    assert_ok(p11->C_Login(session, CKU_USER, pin, 4));
    assert_rv(p11->C_Login(session, CKU_USER, pin, 4), CKR_USER_ALREADY_LOGGED_IN);
    assert_ok(p11->C_GetSessionInfo(session, &info));
    assert_int_equal(info.state, CKS_RW_USER_FUNCTIONS);
    assert_ok(p11->C_Logout(session));
    assert_ok(p11->C_Login(session, CKU_USER, NULL, 0));
    assert_ok(p11->C_CloseSession(session)); /* the last: logged out */
    assert_ok(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session));
    assert_ok(p11->C_GetSessionInfo(session, &info));
    assert_int_equal(info.state, CKS_RO_PUBLIC_SESSION);
    token_close();
}

static void random_bytes_differ(void **state)
{
    CK_SESSION_HANDLE session = token_open();
    unsigned char a[64] = {0}, b[64] = {0};

    (void)state;
    assert_ok(p11->C_GenerateRandom(session, a, sizeof(a)));
    assert_ok(p11->C_GenerateRandom(session, b, sizeof(b)));
    assert_memory_not_equal(a, b, sizeof(a));
    assert_ok(p11->C_GenerateRandom(session, a, 0));
    token_close();
}

/* A test that failed midway leaves nothing to the next. */
static int finalise(void **state)
{
    (void)state;
    p11->C_Finalize(NULL);
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, finalise)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_table_has_every_function_of_the_list),
        TEST(nothing_works_before_initialising_and_after_finalising),
        TEST(sessions_and_slots_that_are_not_there_are_told),
        TEST(objects_that_are_not_there_are_told),
        TEST(null_is_no_argument),
        TEST(nothing_continues_what_was_not_begun),
        TEST(initialising_takes_the_arguments_of_the_standard),
        TEST(function_lists_are_given_without_initialising),
        TEST(lists_tell_their_size_and_refuse_short_room),
        TEST(the_mechanisms_say_what_they_do),
        TEST(slot_and_token_describe_themselves_in_blank_padded_fields),
        TEST(sessions_are_serial_and_count),
        TEST(a_closed_session_never_answers_again),
        TEST(logging_in_is_never_needed_and_follows_the_rules),
        TEST(random_bytes_differ),
    };
    return cmocka_run_group_tests(tests, token_set_up, token_tear_down);
}
