#include "core/error.h"

#include <p11-kit/pkcs11.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef struct status_row {
    const char *name;
    const char *sentence;
    const char *remedy;
    unsigned long ckr;
    int exit_code;
} status_row;

static const status_row rows[KMS_STATUS_COUNT] = {
    [KMS_OK] = {"KMS_OK", "no error", "nothing to do", CKR_OK, 0},
#define STATUS_ROW(id, return_value, exit, text, advice)                                           \
    [KMS_E_##id] = {"KMS_E_" #id, text, advice, return_value, exit},
    KMS_ERROR_TABLE(STATUS_ROW)
#undef STATUS_ROW
};

/* A number that is no status is a fault of ours. */
static const status_row *row_of(kms_status status)
{
    if ((unsigned int)status >= KMS_STATUS_COUNT)
        status = KMS_E_INTERNAL;
    return &rows[status];
}

/* A text that was cut may end inside a UTF-8 sequence: then the rest of it goes too. */
static void drop_cut_character(char *text, size_t len)
{
    size_t start = len, need;
    unsigned char lead;

    while (start > 0 && len - start < 3 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0)
        return;
    lead = (unsigned char)text[start - 1];
    need = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (need > len - start + 1)
        text[start - 1] = '\0';
}

kms_status kms_fail(kms_error *err, kms_status status, const char *format, ...)
{
    char detail[KMS_ERROR_DETAIL_MAX]; /* an argument may be err's own detail */
    va_list args;
    int len;

    if (err == NULL)
        return status;
    va_start(args, format);
    len = vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    if (len < 0)
        detail[0] = '\0';
    else if ((size_t)len >= sizeof(detail))
        drop_cut_character(detail, sizeof(detail) - 1);

    memset(err, 0, sizeof(*err));
    err->status = status;
    memcpy(err->detail, detail, strlen(detail) + 1);
    return status;
}

const char *kms_status_name(kms_status status)
{
    return row_of(status)->name;
}

const char *kms_status_sentence(kms_status status)
{
    return row_of(status)->sentence;
}

const char *kms_status_remedy(kms_status status)
{
    return row_of(status)->remedy;
}

unsigned long kms_status_ckr(kms_status status)
{
    return row_of(status)->ckr;
}

int kms_status_exit_code(kms_status status)
{
    return row_of(status)->exit_code;
}

/* What AWS said of the request, " (AWS exception X, request id Y)", or nothing. */
static void format_aws(const kms_error *err, char *text, size_t size)
{
    bool exception = err->exception[0] != '\0', request = err->request_id[0] != '\0';

    text[0] = '\0';
    if (exception || request)
        snprintf(text, size, " (%s%s%s%s%s)", exception ? "AWS exception " : "", err->exception,
                 exception && request ? ", " : "", request ? "request id " : "", err->request_id);
}

/* Makes control characters blanks, those of UTF-8's second block (U+0080 to U+009F) as well: a line
 * stays one line, and a terminal does nothing but show it. */
static void strip_controls(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f)
            *c = ' ';
        else if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
            c[0] = c[1] = ' ';
    }
}

static void format_error(const kms_error *err, const char *sentence, char *text, size_t size)
{
    char aws[sizeof(err->exception) + sizeof(err->request_id) + 32];
    bool detail = err->detail[0] != '\0';
    int len;

    if (size == 0)
        return;
    format_aws(err, aws, sizeof(aws));
    len = snprintf(text, size, "%s%s%s%s%s%s", sentence, sentence[0] != '\0' && detail ? ": " : "",
                   err->detail, sentence[0] != '\0' || detail ? "; " : "",
                   kms_status_remedy(err->status), aws);
    if (len < 0)
        text[0] = '\0';
    else if ((size_t)len >= size)
        drop_cut_character(text, size - 1);
    strip_controls(text);
}

void kms_error_explain(const kms_error *err, char *text, size_t size)
{
    format_error(err, "", text, size);
}

void kms_error_text(const kms_error *err, char *text, size_t size)
{
    format_error(err, kms_status_sentence(err->status), text, size);
}
