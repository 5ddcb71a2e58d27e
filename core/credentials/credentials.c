#include "core/credentials/credentials.h"

#include "core/credentials/source.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_MAX 1024  /* AWS's have 40 characters */
#define TOKEN_MAX  65536 /* AWS names no limit; it must fit into a header */

void kms_credentials_clear(kms_credentials *credentials)
{
    kms_secret_clear(&credentials->secret_access_key);
    kms_secret_clear(&credentials->session_token);
    OPENSSL_cleanse(credentials, sizeof(*credentials));
    *credentials = (kms_credentials){0};
}

const char *kms_credential_variable(const char *name)
{
    const char *value = secure_getenv(name);

    return value != NULL && *value != '\0' ? value : NULL;
}

/* Header values and signatures are made of these: printable ASCII without blanks. */
static bool printable(kms_bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= 0x20 || text.data[i] >= 0x7f)
            return false;
    }
    return true;
}

/* Letters, digits, '_' and '-': the others have a meaning in the Authorization header. */
static bool access_key_id_is(kms_bytes id)
{
    for (size_t i = 0; i < id.len; i++) {
        if (!printable((kms_bytes){id.data + i, 1}) ||
            (!isalnum(id.data[i]) && id.data[i] != '_' && id.data[i] != '-'))
            return false;
    }
    return id.len > 0 && id.len < KMS_ACCESS_KEY_ID_MAX;
}

kms_status kms_credentials_fill(kms_credentials *out, const char *source, kms_bytes access_key_id,
                                kms_bytes secret_access_key, kms_bytes session_token,
                                kms_error *err)
{
    const char *wrong = NULL;
    kms_status st;

    if (!access_key_id_is(access_key_id))
        wrong = "access key id";
    else if (secret_access_key.len == 0 || secret_access_key.len > SECRET_MAX ||
             !printable(secret_access_key))
        wrong = "secret access key";
    else if (session_token.len > TOKEN_MAX || !printable(session_token))
        wrong = "session token";
    if (wrong != NULL)
        return kms_fail(err, KMS_E_CREDENTIALS_INVALID,
                        "%s: the %s has a wrong size or a character that it can't have", source,
                        wrong);

    st = kms_secret_copy(&out->secret_access_key, secret_access_key, err);
    if (st == KMS_OK && session_token.len > 0)
        st = kms_secret_copy(&out->session_token, session_token, err);
    if (st != KMS_OK) {
        kms_credentials_clear(out);
        return st;
    }
    memcpy(out->access_key_id, access_key_id.data, access_key_id.len);
    out->access_key_id[access_key_id.len] = '\0';
    kms_text_copy(out->source, sizeof(out->source), source);
    return KMS_OK;
}

kms_status kms_credentials_copy(kms_credentials *out, const kms_credentials *from, kms_error *err)
{
    const kms_bytes id = {(const uint8_t *)from->access_key_id, strlen(from->access_key_id)};
    kms_status st =
        kms_credentials_fill(out, from->source, id, kms_secret_bytes(&from->secret_access_key),
                             kms_secret_bytes(&from->session_token), err);

    if (st == KMS_OK)
        out->expires = from->expires;
    return st;
}

/* Two decimal digits, at most limit; they are there or it is false. */
static bool two_digits(const char *text, long limit, long *number)
{
    if (!isdigit((unsigned char)text[0]) || !isdigit((unsigned char)text[1]))
        return false;
    *number = (text[0] - '0') * 10L + (text[1] - '0');
    return *number <= limit;
}

/* The seconds that an offset behind a time adds to UTC: "Z", "+01:00", "-0130". */
static bool offset_parse(const char *text, long *seconds)
{
    long hours, minutes;
    const char *rest;

    *seconds = 0;
    if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0)
        return true;
    if ((*text != '+' && *text != '-') || !two_digits(text + 1, 23, &hours))
        return false;
    rest = text + 3 + (text[3] == ':');
    if (!two_digits(rest, 59, &minutes) || rest[2] != '\0')
        return false;
    *seconds = (hours * 3600 + minutes * 60) * (*text == '-' ? -1 : 1);
    return true;
}

bool kms_credential_time_parse(const char *text, time_t *out)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    long offset;

    if (rest == NULL)
        return false;
    if (*rest == '.') {
        size_t digits = strspn(rest + 1, "0123456789");
        if (digits == 0)
            return false;
        rest += 1 + digits;
    }
    if (!offset_parse(rest, &offset))
        return false;
    *out = timegm(&tm) - offset;
    return *out > 0;
}
