/* Pages that are locked and left out of core files, cut into blocks of one size per region.
 * One mlock a block would cost a page and a system call for each 32-byte key, and OpenSSL's own
 * secure heap can only be set up once for the whole process, which is not ours to decide.
 * Regions are a few pages each: an operation must fit into a RLIMIT_MEMLOCK of 64 KiB, which is all
 * that many containers allow. */
#include "core/secret_heap.h"
#include "core/secret.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK_MIN ((size_t)64)
#define CLASSES   9       /* 64 bytes to 16 KiB in powers of two */
#define RANK_NONE CLASSES /* larger blocks: a region of their own */

/* A block begins with its region, so that freeing needs no search; its bytes follow. */
typedef struct block {
    struct region *home;
    struct block *next_free;
    _Alignas(max_align_t) uint8_t bytes[];
} block;

typedef struct region {
    struct region *next, *previous; /* in the list of its state */
    block *free;
    size_t mapped; /* bytes, this header included */
    size_t size;   /* bytes of one block */
    size_t used;   /* blocks in use */
    int rank;
    _Alignas(max_align_t) uint8_t blocks[];
} region;

/* One heap for the process: pages are a process-wide resource with a process-wide limit. */
static struct {
    pthread_mutex_t mutex;
    region *open[CLASSES]; /* with room for another block */
    region *full;          /* of all sizes */
    size_t live;           /* blocks in use in all regions */
    bool unlocked_after_fork;
} heap = {.mutex = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP};

static void link_region(region **list, region *r)
{
    r->previous = NULL;
    r->next = *list;
    if (*list != NULL)
        (*list)->previous = r;
    *list = r;
}

static void unlink_region(region **list, region *r)
{
    if (r->next != NULL)
        r->next->previous = r->previous;
    if (r->previous != NULL)
        r->previous->next = r->next;
    else
        *list = r->next;
}

static region *map_region(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t mapped = (size + page - 1) / page * page;
    region *r = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (r == MAP_FAILED)
        return NULL;
    if (mlock(r, mapped) != 0 || madvise(r, mapped, MADV_DONTDUMP) != 0) {
        munmap(r, mapped);
        return NULL;
    }
    r->mapped = mapped;
    return r;
}

/* Gives back the regions that hold nothing. */
static void unmap_empty(void)
{
    for (int rank = 0; rank < CLASSES; rank++) {
        region *next;
        for (region *r = heap.open[rank]; r != NULL; r = next) {
            next = r->next;
            if (r->used > 0)
                continue;
            unlink_region(&heap.open[rank], r);
            munmap(r, r->mapped);
        }
    }
}

/* A new region for blocks of size bytes, all of them free: at least one, else what fits on a page.
 * Where the limit is reached, other sizes may have pages to spare. */
static region *new_region(size_t size, int rank)
{
    size_t stride = sizeof(block) + size;
    region *r = map_region(sizeof(region) + stride);

    if (r == NULL) {
        unmap_empty();
        r = map_region(sizeof(region) + stride);
    }
    if (r == NULL)
        return NULL;
    r->size = size;
    r->rank = rank;
    for (size_t i = rank == RANK_NONE ? 1 : (r->mapped - sizeof(region)) / stride; i-- > 0;) {
        block *b = (block *)(void *)(r->blocks + i * stride);
        b->home = r;
        b->next_free = r->free;
        r->free = b;
    }
    return r;
}

static void *take_block(size_t size)
{
    int rank = 0;
    region *r;

    while (rank < CLASSES && (BLOCK_MIN << rank) < size)
        rank++;
    r = rank < CLASSES ? heap.open[rank] : NULL;
    if (r == NULL) {
        r = new_region(rank < CLASSES ? BLOCK_MIN << rank : size, rank);
        if (r == NULL)
            return NULL;
    } else {
        unlink_region(&heap.open[rank], r);
    }
    block *b = r->free;
    r->free = b->next_free;
    r->used++;
    link_region(r->free == NULL ? &heap.full : &heap.open[rank], r);
    heap.live++;
    return b->bytes;
}

static void give_block(block *b)
{
    region *r = b->home;

    unlink_region(r->free == NULL ? &heap.full : &heap.open[r->rank], r);
    b->next_free = r->free;
    r->free = b;
    r->used--;
    if (r->rank == RANK_NONE)
        munmap(r, r->mapped);
    else
        link_region(&heap.open[r->rank], r);
    /* A module that is unloaded leaves no locked pages behind. */
    if (--heap.live == 0)
        unmap_empty();
}

/* AddressSanitizer can't see into a heap of ours: under it each block is its own allocation, so
 * that overruns and leaks of secrets are found. The other builds test the real pages. */
#if defined(__SANITIZE_ADDRESS__)
#define KMS_HEAP_IS_MALLOC 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KMS_HEAP_IS_MALLOC 1
#endif
#endif
#ifndef KMS_HEAP_IS_MALLOC
#define KMS_HEAP_IS_MALLOC 0
#endif

void *kms_locked_alloc(size_t size)
{
    void *bytes = NULL;

    if (KMS_HEAP_IS_MALLOC)
        return size == 0 ? NULL : calloc(1, size);
    if (size == 0 || size > (size_t)1 << 30)
        return NULL;

    pthread_mutex_lock(&heap.mutex);
    if (!heap.unlocked_after_fork)
        bytes = take_block(size);
    pthread_mutex_unlock(&heap.mutex);
    return bytes;
}

void kms_locked_free(void *bytes)
{
    if (bytes == NULL)
        return;
    if (KMS_HEAP_IS_MALLOC) {
        OPENSSL_cleanse(bytes, malloc_usable_size(bytes));
        free(bytes);
        return;
    }
    block *b = (block *)(void *)((uint8_t *)bytes - offsetof(block, bytes));
    explicit_bzero(bytes, b->home->size); /* never optimised away, and fast on whole blocks */
    pthread_mutex_lock(&heap.mutex);
    give_block(b);
    pthread_mutex_unlock(&heap.mutex);
}

void kms_secret_heap_before_fork(void)
{
    pthread_mutex_lock(&heap.mutex);
}

static bool lock_again(const region *list)
{
    bool locked = true;
    for (const region *r = list; r != NULL; r = r->next)
        locked = mlock(r, r->mapped) == 0 && locked;
    return locked;
}

void kms_secret_heap_after_fork(int in_child)
{
    if (in_child) {
        bool locked = lock_again(heap.full);
        for (int rank = 0; rank < CLASSES; rank++)
            locked = lock_again(heap.open[rank]) && locked;
        heap.unlocked_after_fork = !locked;
    }
    pthread_mutex_unlock(&heap.mutex);
}
