/* Key specs, usages and algorithms: the one table of what fits what. */
#ifndef LOCAL_SPEC_H
#define LOCAL_SPEC_H

#include <stdbool.h>
#include <stddef.h>

typedef enum spec_kind {
    SPEC_SYMMETRIC,
    SPEC_RSA,
    SPEC_EC,
    SPEC_ED25519,
    SPEC_HMAC,
    SPEC_ML_DSA,
    SPEC_ML_KEM
} spec_kind;

typedef struct key_spec {
    const char *name;
    spec_kind kind;
    unsigned bits;         /* RSA modulus, HMAC key, symmetric key */
    const char *group;     /* EC group, or type of an ML key, in OpenSSL's name */
    const char *usages[4]; /* first: the default where CreateKey may leave it out */
} key_spec;

const key_spec *spec_find(const char *name);

typedef struct algorithm {
    const char *name;
    const char *member; /* of the metadata that lists it */
    const char *usage;
    spec_kind kind;
    const char *spec;   /* NULL: all of the kind */
    const char *digest; /* OpenSSL's name; NULL: none */
    bool pss;
} algorithm;

/* The algorithm, if it exists and fits the usage; or NULL. */
const algorithm *algorithm_find(const char *name, const char *usage);
bool algorithm_fits(const algorithm *a, const key_spec *spec);

/* Walks the algorithms of a spec and usage: index from 0; NULL ends. */
const algorithm *algorithm_at(const key_spec *spec, const char *usage, size_t index);

#endif
