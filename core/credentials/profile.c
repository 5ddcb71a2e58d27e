/* Credentials from the shared AWS files: ~/.aws/credentials and ~/.aws/config.
 *
 * The files are read where they lie in locked memory, by a reader of our own: a general parser
 * copies values through buffers that it frees without cleansing, and would give a meaning to '$',
 * '\', quotes and '#', which AWS's format does not have. */
#include "core/credentials/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX ((off_t)1024 * 1024)

/* Settings of a profile that are of interest. */
typedef enum profile_key {
    KEY_ID,
    KEY_SECRET,
    KEY_TOKEN,
    KEY_REGION,
    KEY_ROLE,
    KEY_WEB_IDENTITY,
    KEY_PROCESS,
    KEY_SSO_SESSION,
    KEY_SSO_URL,
    KEY_COUNT
} profile_key;

static const struct {
    const char *name;
    bool beats_keys; /* another identity than the profile's own keys, where it has any */
    bool other_way;  /* to get credentials, which is not among the sources of the chain */
} profile_keys[KEY_COUNT] = {
    [KEY_ID] = {"aws_access_key_id", false, false},
    [KEY_SECRET] = {"aws_secret_access_key", false, false},
    [KEY_TOKEN] = {"aws_session_token", false, false},
    [KEY_REGION] = {"region", false, false},
    [KEY_ROLE] = {"role_arn", true, true},
    [KEY_WEB_IDENTITY] = {"web_identity_token_file", true, true},
    [KEY_PROCESS] = {"credential_process", false, true},
    [KEY_SSO_SESSION] = {"sso_session", false, true},
    [KEY_SSO_URL] = {"sso_start_url", false, true},
};

/* What one file says of one profile. values point into text. */
typedef struct profile_file {
    const char *path;
    bool prefixed; /* sections are "[profile NAME]", as in ~/.aws/config */
    bool present;  /* the profile has a section */
    kms_secret text;
    kms_bytes values[KEY_COUNT];
} profile_file;

static kms_status bad_file(const profile_file *file, kms_error *err, const char *fault)
{
    return kms_fail(err, KMS_E_CREDENTIALS_INVALID, "%s: %s", file->path, fault);
}

/* ---- reading ---- */

/* Reads the open file into locked memory. */
static kms_status read_open(profile_file *file, int fd, kms_error *err)
{
    struct stat info;
    ssize_t got = 1;
    kms_status st;

    if (fstat(fd, &info) != 0)
        return bad_file(file, err, strerror(errno));
    if (S_ISDIR(info.st_mode))
        return bad_file(file, err, strerror(EISDIR));
    if (info.st_size > FILE_BYTES_MAX)
        return bad_file(file, err, "larger than 1 MiB");
    st = kms_secret_reserve(&file->text, (size_t)info.st_size + 1, err);
    while (st == KMS_OK && got != 0) {
        size_t room = file->text.cap - file->text.len;
        got = room == 0 ? 0 : read(fd, file->text.data + file->text.len, room);
        if (got > 0)
            file->text.len += (size_t)got;
        else if (got < 0 && errno != EINTR)
            st = bad_file(file, err, strerror(errno));
    }
    if (st == KMS_OK && file->text.len == file->text.cap)
        st = bad_file(file, err, "grew while it was read");
    return st;
}

/* named: by the user, so that it must exist. */
static kms_status read_file(profile_file *file, bool named, kms_error *err)
{
    int fd;
    kms_status st;

    if (file->path == NULL)
        return KMS_OK;
    fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 && !named && (errno == ENOENT || errno == ENOTDIR))
        return KMS_OK;
    if (fd < 0)
        return bad_file(file, err, strerror(errno));
    st = read_open(file, fd, err);
    close(fd);
    return st;
}

/* ---- parsing ---- */

static bool blank_is(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

static kms_bytes trimmed(kms_bytes text)
{
    while (text.len > 0 && blank_is(text.data[0])) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && blank_is(text.data[text.len - 1]))
        text.len--;
    return text;
}

static bool equals(kms_bytes text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

/* The part before byte, and what follows it in *rest; false where the text has no such byte. */
static bool split(kms_bytes text, char byte, kms_bytes *before, kms_bytes *rest)
{
    const uint8_t *at = text.len == 0 ? NULL : memchr(text.data, byte, text.len);

    if (at == NULL)
        return false;
    *before = (kms_bytes){text.data, (size_t)(at - text.data)};
    *rest = (kms_bytes){at + 1, text.len - before->len - 1};
    return true;
}

/* A comment behind a value begins with '#' or ';' after a blank. */
static kms_bytes without_comment(kms_bytes value)
{
    for (size_t i = 1; i < value.len; i++) {
        if (blank_is(value.data[i - 1]) && (value.data[i] == '#' || value.data[i] == ';'))
            value.len = i;
    }
    return trimmed(value);
}

/* True for "[profile NAME]" or "[NAME]", as the file has it; "[default]" goes in both. */
static bool section_is(const profile_file *file, kms_bytes section, const char *profile)
{
    kms_bytes name = trimmed(section);

    if (!file->prefixed || (equals(name, "default") && strcmp(profile, "default") == 0))
        return equals(name, profile);
    if (name.len < 8 || memcmp(name.data, "profile", 7) != 0 || !blank_is(name.data[7]))
        return false;
    return equals(trimmed((kms_bytes){name.data + 7, name.len - 7}), profile);
}

static void take_setting(profile_file *file, kms_bytes name, kms_bytes value)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (name.len == strlen(profile_keys[i].name) &&
            strncasecmp((const char *)name.data, profile_keys[i].name, name.len) == 0)
            file->values[i] = without_comment(value);
    }
}

/* Takes one line; what is wrong with it comes back, or NULL. */
static const char *take_line(profile_file *file, kms_bytes line, const char *profile,
                             bool *any_section, bool *inside)
{
    kms_bytes name, rest;

    if (trimmed(line).len == 0 || line.data[0] == '#' || line.data[0] == ';')
        return NULL;
    if (blank_is(line.data[0])) /* a nested setting, of which none is of interest */
        return NULL;
    if (line.data[0] == '[') {
        if (!split((kms_bytes){line.data + 1, line.len - 1}, ']', &name, &rest))
            return "']' is missing";
        *any_section = true;
        *inside = section_is(file, name, profile);
        file->present = file->present || *inside;
        return NULL;
    }
    if (!*any_section)
        return "a setting stands before the first section";
    if (!split(line, '=', &name, &rest))
        return "'=' is missing";
    if (*inside)
        take_setting(file, trimmed(name), rest);
    return NULL;
}

static kms_status parse_file(profile_file *file, const char *profile, kms_error *err)
{
    kms_bytes text = kms_secret_bytes(&file->text), line;
    bool any_section = false, inside = false;

    for (long number = 1; text.len > 0; number++) {
        if (!split(text, '\n', &line, &text)) {
            line = text;
            text.len = 0;
        }
        const char *fault = take_line(file, line, profile, &any_section, &inside);
        if (fault != NULL)
            return kms_fail(err, KMS_E_CREDENTIALS_INVALID, "%s, line %ld: %s", file->path, number,
                            fault);
    }
    return KMS_OK;
}

/* ---- the profile in both files ---- */

typedef struct profile_files {
    profile_file credentials;
    profile_file config;
} profile_files;

static void files_clear(profile_files *files)
{
    kms_secret_clear(&files->credentials.text);
    kms_secret_clear(&files->config.text);
}

static kms_status files_read(const kms_credential_request *request, profile_files *files,
                             kms_error *err)
{
    kms_status st;

    *files = (profile_files){.credentials = {.path = request->credentials_path},
                             .config = {.path = request->config_path, .prefixed = true}};
    st = read_file(&files->credentials, request->credentials_named, err);
    if (st == KMS_OK)
        st = parse_file(&files->credentials, request->profile, err);
    if (st == KMS_OK)
        st = read_file(&files->config, request->config_named, err);
    if (st == KMS_OK)
        st = parse_file(&files->config, request->profile, err);
    if (st == KMS_OK && request->profile_named && !files->credentials.present &&
        !files->config.present)
        st = kms_fail(err, KMS_E_CREDENTIALS_INVALID,
                      "profile \"%.64s\" is neither in %s nor in %s", request->profile,
                      request->credentials_path != NULL ? request->credentials_path : "(no file)",
                      request->config_path != NULL ? request->config_path : "(no file)");
    return st;
}

static bool has_keys(const profile_file *file)
{
    return file->values[KEY_ID].len > 0 || file->values[KEY_SECRET].len > 0 ||
           file->values[KEY_TOKEN].len > 0;
}

/* The first setting in either file that asks for another way to credentials, or NULL. */
static const char *other_way(const profile_files *files, bool with_keys, const char **path)
{
    const profile_file *both[] = {&files->credentials, &files->config};

    for (size_t i = 0; i < KEY_COUNT; i++) {
        for (size_t j = 0; j < 2; j++) {
            if (both[j]->values[i].len > 0 &&
                (with_keys ? profile_keys[i].beats_keys : profile_keys[i].other_way)) {
                *path = both[j]->path;
                return profile_keys[i].name;
            }
        }
    }
    return NULL;
}

/* The keys come from one file as a whole: half of one and half of the other is no identity. */
static kms_status take_keys(const kms_credential_request *request, const profile_files *files,
                            kms_credentials *out, bool *found, kms_error *err)
{
    const profile_file *file = has_keys(&files->credentials) ? &files->credentials : &files->config;
    const char *path = NULL, *way = other_way(files, has_keys(file), &path);
    char source[KMS_CREDENTIAL_SOURCE_MAX];
    kms_status st;

    if (way != NULL)
        return kms_fail(err, KMS_E_CREDENTIALS_INVALID,
                        "profile \"%.64s\" in %s: %s is not supported; give the profile keys",
                        request->profile, path, way);
    if (!has_keys(file))
        return KMS_OK;
    snprintf(source, sizeof(source), "profile \"%.64s\" in %s", request->profile, file->path);
    if (file->values[KEY_ID].len == 0 || file->values[KEY_SECRET].len == 0)
        return kms_fail(err, KMS_E_CREDENTIALS_INVALID, "%s: %s is missing", source,
                        profile_keys[file->values[KEY_ID].len == 0 ? KEY_ID : KEY_SECRET].name);
    st = kms_credentials_fill(out, source, file->values[KEY_ID], file->values[KEY_SECRET],
                              file->values[KEY_TOKEN], err);
    *found = st == KMS_OK;
    return st;
}

kms_status kms_profile_fetch(const kms_credential_request *request, kms_credentials *out,
                             bool *found, kms_error *err)
{
    profile_files files;
    kms_status st = files_read(request, &files, err);

    *found = false;
    if (st == KMS_OK)
        st = take_keys(request, &files, out, found, err);
    files_clear(&files);
    return st;
}

kms_status kms_profile_region(const kms_credential_request *request, char *text, size_t size,
                              kms_error *err)
{
    profile_files files;
    kms_status st = files_read(request, &files, err);
    kms_bytes region = {0};

    text[0] = '\0';
    if (st == KMS_OK)
        region = files.credentials.values[KEY_REGION].len > 0 ? files.credentials.values[KEY_REGION]
                                                              : files.config.values[KEY_REGION];
    if (region.len >= size) {
        st = kms_fail(err, KMS_E_CREDENTIALS_INVALID,
                      "profile \"%.64s\": region is not the name of an AWS region",
                      request->profile);
    } else if (region.len > 0) {
        memcpy(text, region.data, region.len);
        text[region.len] = '\0';
    }
    files_clear(&files);
    return st;
}

void kms_profile_stamp(const kms_credential_request *request, kms_credential_stamp *stamp)
{
    const char *paths[] = {request->credentials_path, request->config_path};
    struct stat info;

    memset(stamp, 0, sizeof(*stamp));
    for (size_t i = 0; i < 2; i++) {
        if (paths[i] == NULL || stat(paths[i], &info) != 0)
            continue;
        stamp->files[i].device = info.st_dev;
        stamp->files[i].inode = info.st_ino;
        stamp->files[i].size = info.st_size;
        stamp->files[i].modified = info.st_mtim;
    }
}
