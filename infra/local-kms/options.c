#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: kms-local [OPTIONS]\n"
    "A local server that speaks the AWS KMS protocol, for development and tests.\n"
    "It binds to loopback only, and its keys are for tests.\n"
    "\n"
    "  --port N                     port to listen on (default 4599; 0 picks a free one)\n"
    "  --db FILE                    keep the keys in FILE (default: in memory)\n"
    "  --account ID                 12-digit account (default 000000000000)\n"
    "  --credentials ID:SECRET[:TOKEN]  accepted credentials, repeatable (default local:local)\n"
    "  --seed-key alias/NAME[:SPEC[:USAGE]]  make this key unless it is there, repeatable\n"
    "  --seed-region REGION         region of seeded keys (default eu-central-1)\n"
    "  --latency-ms N               wait before each answer\n"
    "  --fault OP:KIND:PROBABILITY  fail on purpose, repeatable; OP may be *, KIND an exception\n"
    "                               name, reset, reset-after, garbage, truncate, html503, huge,\n"
    "                               wrong-keyid, wrong-length, no-type, skew or slow\n"
    "  --tls-cert FILE --tls-key FILE   serve HTTPS\n"
    "  --tls-self-signed DIR        serve HTTPS with a certificate made in DIR (cert.pem)\n"
    "  --help, --version\n";

enum {
    OPT_PORT = 256,
    OPT_DB,
    OPT_ACCOUNT,
    OPT_CREDENTIALS,
    OPT_SEED_KEY,
    OPT_SEED_REGION,
    OPT_LATENCY,
    OPT_FAULT,
    OPT_TLS_CERT,
    OPT_TLS_KEY,
    OPT_TLS_SELF,
    OPT_HELP,
    OPT_VERSION
};

static const struct option table[] = {
    {"port", required_argument, NULL, OPT_PORT},
    {"db", required_argument, NULL, OPT_DB},
    {"account", required_argument, NULL, OPT_ACCOUNT},
    {"credentials", required_argument, NULL, OPT_CREDENTIALS},
    {"seed-key", required_argument, NULL, OPT_SEED_KEY},
    {"seed-region", required_argument, NULL, OPT_SEED_REGION},
    {"latency-ms", required_argument, NULL, OPT_LATENCY},
    {"fault", required_argument, NULL, OPT_FAULT},
    {"tls-cert", required_argument, NULL, OPT_TLS_CERT},
    {"tls-key", required_argument, NULL, OPT_TLS_KEY},
    {"tls-self-signed", required_argument, NULL, OPT_TLS_SELF},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static bool wrong(const char *option, const char *value, const char *expected)
{
    fprintf(stderr, "kms-local: %s: '%s' is not %s\n", option, value, expected);
    return false;
}

static bool number(const char *option, const char *text, long max, long *out)
{
    char *end;

    *out = strtol(text, &end, 10);
    if (end == text || *end != '\0' || *out < 0 || *out > max) {
        fprintf(stderr, "kms-local: %s: '%s' is not a number from 0 to %ld\n", option, text, max);
        return false;
    }
    return true;
}

bool region_plausible(const char *name)
{
    size_t len = strlen(name);

    return len > 0 && len < REGION_SIZE &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static bool add_text(const char **list, int *count, const char *option, const char *value)
{
    if (*count == OPTIONS_LIST_MAX)
        return wrong(option, value, "possible: too many of this option");
    list[(*count)++] = value;
    return true;
}

/* The value holds a secret, which no message repeats. */
static bool wrong_credential(void)
{
    fprintf(stderr,
            "kms-local: --credentials takes ID:SECRET or ID:SECRET:TOKEN, at most %d times\n",
            OPTIONS_LIST_MAX);
    return false;
}

static bool add_credential(options *o, const char *value)
{
    const char *colon = strchr(value, ':');
    credential *c = &o->credentials[o->credential_count];

    if (o->credential_count == OPTIONS_LIST_MAX || colon == NULL || colon == value ||
        (size_t)(colon - value) >= sizeof(c->id))
        return wrong_credential();
    snprintf(c->id, sizeof(c->id), "%.*s", (int)(colon - value), value);
    const char *secret = colon + 1;
    colon = strchr(secret, ':');
    size_t len = colon != NULL ? (size_t)(colon - secret) : strlen(secret);
    if (len == 0 || len >= sizeof(c->secret) || (colon != NULL && colon[1] == '\0'))
        return wrong_credential();
    snprintf(c->secret, sizeof(c->secret), "%.*s", (int)len, secret);
    c->token = colon != NULL ? strdup(colon + 1) : NULL;
    o->credential_count++;
    return true;
}

static bool set_account(options *o, const char *value)
{
    if (strlen(value) != 12 || strspn(value, "0123456789") != 12)
        return wrong("--account", value, "a number of 12 digits");
    o->account = value;
    return true;
}

static bool take(options *o, int option, const char *value)
{
    long n = 0;

    switch (option) {
    case OPT_PORT:
        if (!number("--port", value, 65535, &n))
            return false;
        o->port = (uint16_t)n;
        return true;
    case OPT_DB:
        o->db = value;
        return true;
    case OPT_ACCOUNT:
        return set_account(o, value);
    case OPT_CREDENTIALS:
        return add_credential(o, value);
    case OPT_SEED_KEY:
        return strncmp(value, "alias/", 6) == 0
                   ? add_text(o->seeds, &o->seed_count, "--seed-key", value)
                   : wrong("--seed-key", value, "alias/NAME[:SPEC[:USAGE]]");
    case OPT_SEED_REGION:
        o->region = value;
        return region_plausible(value) || wrong("--seed-region", value, "the name of a region");
    case OPT_LATENCY:
        return number("--latency-ms", value, LATENCY_MS_MAX, &o->latency_ms);
    case OPT_FAULT:
        return add_text(o->faults, &o->fault_count, "--fault", value);
    case OPT_TLS_CERT:
        o->tls_cert = value;
        return true;
    case OPT_TLS_KEY:
        o->tls_key = value;
        return true;
    case OPT_TLS_SELF:
        o->tls_folder = value;
        return true;
    default:
        return false;
    }
}

static bool consistent(const options *o)
{
    if ((o->tls_cert == NULL) != (o->tls_key == NULL)) {
        fprintf(stderr, "kms-local: --tls-cert and --tls-key go together\n");
        return false;
    }
    if (o->tls_cert != NULL && o->tls_folder != NULL) {
        fprintf(stderr, "kms-local: give either --tls-cert or --tls-self-signed\n");
        return false;
    }
    return true;
}

options_result options_read(options *o, int argc, char **argv)
{
    int option;

    *o = (options){.port = 4599, .account = "000000000000", .region = "eu-central-1"};
    while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (option == OPT_HELP || option == OPT_VERSION) {
            fputs(option == OPT_HELP ? usage : "kms-local " KMS_VERSION "\n", stdout);
            return OPTIONS_DONE;
        }
        if (option == '?') {
            fprintf(stderr, "kms-local: try 'kms-local --help'\n");
            return OPTIONS_WRONG;
        }
        if (!take(o, option, optarg))
            return OPTIONS_WRONG;
    }
    if (optind < argc) {
        fprintf(stderr, "kms-local: unexpected argument '%s'; try 'kms-local --help'\n",
                argv[optind]);
        return OPTIONS_WRONG;
    }
    if (o->credential_count == 0 && !add_credential(o, "local:local"))
        return OPTIONS_WRONG;
    return consistent(o) ? OPTIONS_RUN : OPTIONS_WRONG;
}

void options_free(options *o)
{
    for (int i = 0; i < o->credential_count; i++)
        free(o->credentials[i].token);
}
