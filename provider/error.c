#include "provider/provider.h"

#include <stdarg.h>

static void vset(const kms_provider *provider, uint32_t reason, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    provider->vset_error(provider->handle, reason, format, args);
    va_end(args);
}

int provider_raise(const kms_provider *provider, const kms_error *err)
{
    char text[KMS_ERROR_TEXT_MAX];

    if (provider->new_error == NULL || provider->vset_error == NULL)
        return 0;
    kms_error_explain(err, text, sizeof(text));
    provider->new_error(provider->handle);
    vset(provider, (uint32_t)err->status, "%s", text);
    return 0;
}

int provider_raise_status(const kms_provider *provider, kms_status status, const char *detail)
{
    kms_error err = {0};

    kms_fail(&err, status, "%s", detail);
    return provider_raise(provider, &err);
}
