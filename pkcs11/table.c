#include "pkcs11/table.h"

#include <stdlib.h>

/* A handle is its place plus one, and above that how often the place was given before. */
#define PLACE_BITS      20
#define PLACES_MAX      (((size_t)1 << PLACE_BITS) - 1)
#define GENERATION_MASK 0x7FFUL

static CK_ULONG handle_of(const p11_table *table, size_t at)
{
    return (table->entries[at].generation << PLACE_BITS) | (CK_ULONG)(at + 1);
}

static int grow(p11_table *table)
{
    size_t count = table->count == 0 ? 16 : table->count * 2;
    p11_table_entry *grown;

    if (count > PLACES_MAX)
        count = PLACES_MAX;
    if (count == table->count)
        return 0;
    grown = realloc(table->entries, count * sizeof(*grown));
    if (grown == NULL)
        return 0;
    for (size_t i = table->count; i < count; i++)
        grown[i] = (p11_table_entry){0};
    table->entries = grown;
    table->next = table->count;
    table->count = count;
    return 1;
}

CK_ULONG p11_table_add(p11_table *table, void *value)
{
    size_t at;

    if (table->used == table->count && !grow(table))
        return 0;
    while (table->entries[table->next].value != NULL)
        table->next = (table->next + 1) % table->count;
    at = table->next;
    table->entries[at].value = value;
    table->used++;
    table->next = (at + 1) % table->count; /* a place just freed comes last again */
    return handle_of(table, at);
}

void *p11_table_get(const p11_table *table, CK_ULONG handle)
{
    size_t place = handle & PLACES_MAX;

    if (place == 0 || place > table->count || handle_of(table, place - 1) != handle)
        return NULL;
    return table->entries[place - 1].value;
}

void *p11_table_remove(p11_table *table, CK_ULONG handle)
{
    void *value = p11_table_get(table, handle);

    if (value != NULL) {
        p11_table_entry *entry = &table->entries[(handle & PLACES_MAX) - 1];
        entry->value = NULL;
        entry->generation = (entry->generation + 1) & GENERATION_MASK;
        table->used--;
    }
    return value;
}

CK_ULONG p11_table_at(const p11_table *table, size_t at)
{
    return table->entries[at].value != NULL ? handle_of(table, at) : 0;
}

void p11_table_clear(p11_table *table)
{
    free(table->entries);
    *table = (p11_table){0};
}
