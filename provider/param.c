/* Reading parameters. OpenSSL since 3.1 raises an error of its own for a value of the wrong type;
 * the caller's says more, and must be the first. */
#include "provider/provider.h"

#include <openssl/err.h>
#include <openssl/params.h>

static int quiet(int result)
{
    ERR_pop_to_mark();
    return result;
}

int provider_get_int(const OSSL_PARAM *p, int *value)
{
    ERR_set_mark();
    return quiet(OSSL_PARAM_get_int(p, value));
}

int provider_get_size(const OSSL_PARAM *p, size_t *value)
{
    ERR_set_mark();
    return quiet(OSSL_PARAM_get_size_t(p, value));
}

int provider_get_name(const OSSL_PARAM *p, char *name, size_t room)
{
    ERR_set_mark();
    return quiet(p->data != NULL && OSSL_PARAM_get_utf8_string(p, &name, room));
}

int provider_get_text(const OSSL_PARAM *p, char **text)
{
    *text = NULL;
    ERR_set_mark();
    return quiet(p->data != NULL && OSSL_PARAM_get_utf8_string(p, text, 0));
}

int provider_get_bytes(const OSSL_PARAM *p, kms_bytes *bytes)
{
    const void *data = NULL;

    *bytes = (kms_bytes){0};
    ERR_set_mark();
    if (!quiet(OSSL_PARAM_get_octet_string_ptr(p, &data, &bytes->len)))
        return 0;
    bytes->data = data;
    return 1;
}
