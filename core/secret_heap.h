/* The heap behind core/secret.h, as far as the fork handlers in core/lock.c need it. */
#ifndef KMS_CORE_SECRET_HEAP_H
#define KMS_CORE_SECRET_HEAP_H

void kms_secret_heap_before_fork(void);

/* in_child: memory locks are not inherited, so the child locks its pages anew. Where it can't, its
 * heap hands out nothing more. */
void kms_secret_heap_after_fork(int in_child);

#endif
