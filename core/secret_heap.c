/* Pages that are locked and left out of core files, cut into blocks of one size per region.
 * One mlock a block would cost a page and a system call for each 32-byte key, and OpenSSL's own
 * secure heap can only be set up once for the whole process, which is not ours to decide. */
#include "core/secret_heap.h"
#include "core/secret.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define REGION_SIZE                                                                                \
    ((size_t)64 * 1024) /* also the alignment: a block finds its region by masking */
#define BLOCK_MIN  ((size_t)64)
#define SHARED_MAX ((size_t)16 * 1024) /* larger blocks get a region of their own */
#define CLASSES    9                   /* 64 bytes to 16 KiB in powers of two */

typedef struct free_block {
    struct free_block *next;
} free_block;

typedef struct region {
    struct region *next;
    free_block *free;
    size_t mapped; /* bytes, this header included */
    size_t block;  /* bytes of one block */
    size_t used;   /* blocks in use */
} region;

#define HEADER_SIZE BLOCK_MIN
_Static_assert(sizeof(region) <= HEADER_SIZE, "the region's header fits before its first block");

/* One heap for the process: pages are a process-wide resource with a process-wide limit. */
static struct {
    pthread_mutex_t mutex;
    region *shared[CLASSES];
    region *single;
    size_t live; /* blocks in use in all regions */
    bool unlocked_after_fork;
} heap = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static region *map_region(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t wanted = (size + page - 1) / page * page;
    size_t total = wanted + REGION_SIZE;
    uint8_t *raw = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED)
        return NULL;

    size_t lead = (REGION_SIZE - (uintptr_t)raw % REGION_SIZE) % REGION_SIZE;
    if (lead != 0)
        munmap(raw, lead);
    if (total - lead > wanted)
        munmap(raw + lead + wanted, total - lead - wanted);

    region *r = (region *)(void *)(raw + lead);
    if (mlock(r, wanted) != 0 || madvise(r, wanted, MADV_DONTDUMP) != 0) {
        munmap(r, wanted);
        return NULL;
    }
    r->mapped = wanted;
    return r;
}

static void unmap_list(region **list)
{
    while (*list != NULL) {
        region *r = *list;
        *list = r->next;
        munmap(r, r->mapped);
    }
}

static region *add_shared_region(int rank)
{
    region *r = map_region(REGION_SIZE);
    if (r == NULL)
        return NULL;

    r->block = BLOCK_MIN << rank;
    uint8_t *first = (uint8_t *)r + HEADER_SIZE;
    size_t count = (REGION_SIZE - HEADER_SIZE) / r->block;
    for (size_t i = count; i-- > 0;) {
        free_block *block = (free_block *)(void *)(first + i * r->block);
        block->next = r->free;
        r->free = block;
    }
    r->next = heap.shared[rank];
    heap.shared[rank] = r;
    return r;
}

static void *take_shared(size_t size)
{
    int rank = 0;
    while ((BLOCK_MIN << rank) < size)
        rank++;

    region *r = heap.shared[rank];
    while (r != NULL && r->free == NULL)
        r = r->next;
    if (r == NULL)
        r = add_shared_region(rank);
    if (r == NULL)
        return NULL;

    free_block *block = r->free;
    r->free = block->next;
    block->next = NULL;
    r->used++;
    return block;
}

static void *take_single(size_t size)
{
    region *r = map_region(HEADER_SIZE + size);
    if (r == NULL)
        return NULL;
    r->block = size;
    r->used = 1;
    r->next = heap.single;
    heap.single = r;
    return (uint8_t *)r + HEADER_SIZE;
}

static void give_single(region *r)
{
    region **link = &heap.single;
    while (*link != r)
        link = &(*link)->next;
    *link = r->next;
    munmap(r, r->mapped);
}

static void give_block(void *memory)
{
    region *r = (region *)((uintptr_t)memory & ~(uintptr_t)(REGION_SIZE - 1));

    OPENSSL_cleanse(memory, r->block);
    if (r->block > SHARED_MAX) {
        give_single(r);
    } else {
        free_block *block = memory;
        block->next = r->free;
        r->free = block;
        r->used--;
    }
    /* A module that is unloaded leaves no locked pages behind. */
    if (--heap.live == 0)
        for (int rank = 0; rank < CLASSES; rank++)
            unmap_list(&heap.shared[rank]);
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
    void *block = NULL;

    if (KMS_HEAP_IS_MALLOC)
        return OPENSSL_zalloc(size);
    if (size == 0 || size > (size_t)1 << 30)
        return NULL;

    pthread_mutex_lock(&heap.mutex);
    if (!heap.unlocked_after_fork)
        block = size <= SHARED_MAX ? take_shared(size) : take_single(size);
    if (block != NULL)
        heap.live++;
    pthread_mutex_unlock(&heap.mutex);
    return block;
}

void kms_locked_free(void *block)
{
    if (block == NULL)
        return;
    if (KMS_HEAP_IS_MALLOC) {
        OPENSSL_free(block);
        return;
    }
    pthread_mutex_lock(&heap.mutex);
    give_block(block);
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
        bool locked = lock_again(heap.single);
        for (int rank = 0; rank < CLASSES; rank++)
            locked = lock_again(heap.shared[rank]) && locked;
        heap.unlocked_after_fork = !locked;
    }
    pthread_mutex_unlock(&heap.mutex);
}
