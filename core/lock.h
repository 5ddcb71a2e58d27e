/* Mutexes that survive fork(): a handler takes all of them before the fork and gives them back on
 * both sides, so that a child never inherits a lock that a lost thread holds. They guard a few
 * instructions each, so a thread that finds one taken spins a moment before it sleeps; are never
 * held across the network and never nested, except that the secret heap's, created first, may be
 * taken inside any other. */
#ifndef KMS_CORE_LOCK_H
#define KMS_CORE_LOCK_H

#include "core/error.h"

#include <pthread.h>

typedef struct kms_lock {
    pthread_mutex_t mutex;
    struct kms_lock *next, *previous;
} kms_lock;

/* The struct must stay where it is until kms_lock_destroy. Errors: KMS_E_NO_MEMORY. */
kms_status kms_lock_init(kms_lock *lock, kms_error *err);
void kms_lock_destroy(kms_lock *lock);

void kms_lock_take(kms_lock *lock);
void kms_lock_give(kms_lock *lock);

#endif
