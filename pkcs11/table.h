/* Handles: numbers that stand for pointers. A handle that was removed is not given again until
 * thousands of others were, so that a stale one is recognised. The caller locks. */
#ifndef KMS_PKCS11_TABLE_H
#define KMS_PKCS11_TABLE_H

#include <p11-kit/pkcs11.h>
#include <stddef.h>

typedef struct p11_table_entry {
    void *value; /* NULL: free */
    CK_ULONG generation;
} p11_table_entry;

/* {0} is empty. */
typedef struct p11_table {
    p11_table_entry *entries;
    size_t count, used, next; /* entries there are, in use, and where the search goes on */
} p11_table;

/* Gives value, which is not NULL, a handle, or 0 without memory. */
CK_ULONG p11_table_add(p11_table *table, void *value);

/* The value of a handle, or NULL; remove also forgets it. */
void *p11_table_get(const p11_table *table, CK_ULONG handle);
void *p11_table_remove(p11_table *table, CK_ULONG handle);

/* The handle in place number `at`, or 0 where that place is free, for 0 <= at < table->count. */
CK_ULONG p11_table_at(const p11_table *table, size_t at);

/* Frees the places, not the values. */
void p11_table_clear(p11_table *table);

#endif
