#include "pkcs11/module.h"

#include "core/log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The module's one global: PKCS#11 gives its functions no context. */
static struct {
    pthread_mutex_t mutex; /* C_Initialize against C_Finalize */
    struct module *root;
    pid_t owner;
} global = {.mutex = PTHREAD_MUTEX_INITIALIZER};

struct module *module_root(void)
{
    /* A child must call C_Initialize itself (PKCS#11 v2.40, 6.7.1 "Applications and processes"). */
    return global.owner == getpid() ? global.root : NULL;
}

CK_RV module_ready(void)
{
    return module_root() != NULL ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED;
}

CK_RV module_fail(const char *function, const kms_error *err)
{
    const struct module *m = module_root();

    kms_log_error(m != NULL ? kms_client_config(m->client) : NULL, function, err);
    return (CK_RV)kms_status_ckr(err->status);
}

void module_pad(unsigned char *field, size_t size, const char *text)
{
    size_t len = strlen(text);

    memset(field, ' ', size);
    memcpy(field, text, len < size ? len : size);
}

static CK_RV check_args(const CK_C_INITIALIZE_ARGS *args)
{
    int functions;

    if (args == NULL)
        return CKR_OK;
    if (args->pReserved != NULL)
        return CKR_ARGUMENTS_BAD;
    functions = (args->CreateMutex != NULL) + (args->DestroyMutex != NULL) +
                (args->LockMutex != NULL) + (args->UnlockMutex != NULL);
    if (functions != 0 && functions != 4)
        return CKR_ARGUMENTS_BAD;
    /* We lock with the system's mutexes only. */
    if (functions == 4 && !(args->flags & CKF_OS_LOCKING_OK))
        return CKR_CANT_LOCK;
    return CKR_OK;
}

static CK_RV make_root(void)
{
    struct module *m = calloc(1, sizeof(*m));
    kms_error err = {0};

    if (m == NULL)
        return CKR_HOST_MEMORY;
    if (kms_lock_init(&m->lock, &err) != KMS_OK) {
        free(m);
        return CKR_HOST_MEMORY;
    }
    if (kms_client_open(NULL, &m->client, &err) != KMS_OK) {
        kms_lock_destroy(&m->lock);
        free(m);
        return module_fail("C_Initialize", &err);
    }
    m->next_handle = 1;
    global.root = m;
    global.owner = getpid();
    return CKR_OK;
}

/* Reads the configuration and nothing else: no connection is made. */
CK_RV C_Initialize(void *init_args)
{
    CK_RV rv = check_args(init_args);

    if (rv != CKR_OK)
        return rv;
    pthread_mutex_lock(&global.mutex);
    /* What a parent left behind in a child is not touched: its locks and threads are not ours. */
    rv = module_root() != NULL ? CKR_CRYPTOKI_ALREADY_INITIALIZED : make_root();
    pthread_mutex_unlock(&global.mutex);
    return rv;
}

CK_RV C_Finalize(void *reserved)
{
    struct module *m;

    if (reserved != NULL)
        return CKR_ARGUMENTS_BAD;
    pthread_mutex_lock(&global.mutex);
    m = module_root();
    if (m != NULL) {
        session_close_all();
        object_remove_of_session(0);
        global.root = NULL;
        kms_client_close(m->client);
        kms_lock_destroy(&m->lock);
        free(m);
    }
    pthread_mutex_unlock(&global.mutex);
    return m != NULL ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED;
}

CK_RV C_GetInfo(CK_INFO *info)
{
    if (module_ready() != CKR_OK)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (info == NULL)
        return CKR_ARGUMENTS_BAD;
    memset(info, 0, sizeof(*info));
    info->cryptokiVersion.major = 2;
    info->cryptokiVersion.minor = 40;
    module_pad(info->manufacturerID, sizeof(info->manufacturerID), "kms-provider");
    module_pad(info->libraryDescription, sizeof(info->libraryDescription),
               "AWS KMS keys in the EU");
    info->libraryVersion.major = KMS_VERSION_MAJOR;
    info->libraryVersion.minor = KMS_VERSION_MINOR;
    return CKR_OK;
}

/* --- token objects --- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The 16 bytes of a key id: a UUID, or mrk- and 32 digits. */
static size_t id_bytes(const char *key_id, uint8_t out[16])
{
    size_t digits = 0;

    memset(out, 0, 16);
    if (strncmp(key_id, "mrk-", 4) == 0)
        key_id += 4;
    for (; *key_id != '\0' && digits < 32; key_id++) {
        int d = hex_digit(*key_id);
        if (d >= 0) {
            out[digits / 2] = (uint8_t)(out[digits / 2] << 4 | d);
            digits++;
        }
    }
    return 16;
}

static CK_RV add_kms_object(struct module *m, kms_key *key)
{
    const char *alias = kms_key_alias(key);
    object *o = object_new();

    if (o == NULL ||
        (o->label = strdup(alias != NULL ? alias + strlen("alias/") : kms_key_id(key))) == NULL) {
        object_free(o);
        return CKR_HOST_MEMORY;
    }
    (void)m;
    o->kms = kms_key_ref(key);
    o->id_len = id_bytes(kms_key_id(key), o->id);
    o->sensitive = o->always_sensitive = o->never_extractable = o->local = true;
    o->encrypt = o->decrypt = o->wrap = o->unwrap = true;
    object_add(o, 0);
    object_put(o);
    return CKR_OK;
}

static bool is_shown(struct module *m, const kms_key *key)
{
    bool shown = false;

    kms_lock_take(&m->lock);
    for (size_t i = 0; i < HANDLE_BUCKETS && !shown; i++)
        for (const object *o = m->objects[i]; o != NULL && !shown; o = o->next)
            shown = o->kms != NULL && strcmp(kms_key_arn(o->kms), kms_key_arn(key)) == 0;
    kms_lock_give(&m->lock);
    return shown;
}

static CK_RV load_one(struct module *m, const char *name, bool must_fit, const char *function)
{
    kms_address address = {0};
    kms_key *key = NULL;
    kms_error err = {0};
    CK_RV rv = CKR_OK;

    if (kms_address_parse(name, &address, &err) != KMS_OK ||
        kms_client_key(m->client, &address, &key, &err) != KMS_OK)
        rv = module_fail(function, &err);
    else if (!kms_key_is_symmetric(key) && must_fit) {
        kms_fail(&err, KMS_E_UNSUPPORTED, "%s is %s for %s; symmetric keys can be used so far",
                 kms_key_arn(key), kms_key_spec(key), kms_key_usage(key));
        rv = module_fail(function, &err);
    } else if (kms_key_is_symmetric(key) && !is_shown(m, key)) {
        rv = add_kms_object(m, key);
    }
    kms_key_free(key);
    kms_address_clear(&address);
    return rv;
}

CK_RV module_load_token_objects(const char *function)
{
    struct module *m = module_root();
    const char *configured = kms_config_text(kms_client_config(m->client), KMS_SET_KEY);
    char **names = NULL;
    size_t count = 0;
    kms_error err = {0};
    CK_RV rv = CKR_OK;

    if (configured != NULL)
        return load_one(m, configured, true, function);
    if (kms_client_list(m->client, NULL, &names, &count, &err) != KMS_OK)
        return module_fail(function, &err);
    for (size_t i = 0; rv == CKR_OK && i < count; i++)
        rv = load_one(m, names[i], false, function);
    kms_client_list_free(names, count);
    return rv;
}
