/* What a signed request may hold: the first byte chooses the operation, the rest is the body. Every
 * one is answered, with a result or a refusal, and the store stays usable. */
#include "call.h"

#include <stdint.h>
#include <stdlib.h>

#define REGION "eu-central-1"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not those that make key pairs, which takes too long, and not those that only make the store
 * larger. */
static const char *const names[] = {
    "Encrypt",
    "Decrypt",
    "ReEncrypt",
    "GenerateDataKey",
    "GenerateRandom",
    "Sign",
    "Verify",
    "GenerateMac",
    "VerifyMac",
    "GetPublicKey",
    "DescribeKey",
    "DeriveSharedSecret",
    "ListKeys",
    "EnableKey",
    "DisableKey",
    "UpdateKeyDescription",
    "CreateAlias",
    "UpdateAlias",
    "DeleteAlias",
    "ListAliases",
    "EnableKeyRotation",
    "GetKeyPolicy",
    "PutKeyPolicy",
    "ListKeyRotations",
    "TagResource",
    "UntagResource",
    "ListResourceTags",
    "ScheduleKeyDeletion",
    "CancelKeyDeletion",
    "RotateKeyOnDemand",
};

static store *opened(void)
{
    static store s;
    static bool ready;
    static const char *const seeds[] = {"alias/s", "alias/r:RSA_2048", "alias/e:ECC_NIST_P256",
                                        "alias/a:ECC_NIST_P256:KEY_AGREEMENT", "alias/h:HMAC_256"};

    if (ready)
        return &s;
    if (!crypto_start() || !store_open(&s, NULL, "000000000000"))
        abort();
    for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++)
        if (!seed_key(&s, REGION, seeds[i]))
            abort();
    ready = true;
    return &s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    store *s = opened();
    failure f = {0};
    char *out = NULL;

    if (size == 0)
        return 0;
    const operation *op = operation_find(names[data[0] % (sizeof(names) / sizeof(names[0]))]);
    cJSON *in = call_parse((const char *)data + 1, size - 1, &f);
    if (op == NULL || (in == NULL) != (f.exception != NULL))
        abort();
    if (in != NULL) {
        bool ok = call_run(op, s, REGION, in, &out, &f);
        if (ok != (f.exception == NULL) || (ok && !op->silent && out == NULL))
            abort();
        cJSON_free(out);
    }
    cJSON_Delete(in);
    return 0;
}
