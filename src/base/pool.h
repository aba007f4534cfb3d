/* SPDX-License-Identifier: MIT */
/* base/pool.h - buffers of one size that many owners use in turn.
 *
 * Thousands of connections each need a buffer now and then, but few at the same time.
 * So none keeps its own: it takes one from the pool and puts it back when it is done.
 * That saves memory, and the next owner gets a buffer that is still in the CPU's cache.
 * A pool belongs to one thread.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__)
/* With ASan every buffer but one is freed at once, so that ASan sees a use after pool_put. */
#define POOL_KEPT_MAX 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_KEPT_MAX 1
#endif
#endif
#ifndef POOL_KEPT_MAX
#define POOL_KEPT_MAX 16 /* free buffers that a pool keeps; it frees those beyond */
#endif

/* A pool that is all zero is empty.  The first pool_get decides on the size. */
struct pool {
    void *free;     /* the free buffers that are kept, chained through their first words */
    size_t size;    /* bytes of a buffer */
    uint32_t kept;  /* how many are in free */
    uint32_t taken; /* how many have not been put back yet */
};

/* Returns a buffer of size bytes that is not initialized, or NULL when there is no memory.  size is
 * the same in all calls for one pool.  The caller owns the buffer until pool_put. */
void *pool_get(struct pool *p, size_t size);
void pool_put(struct pool *p, void *buf);

/* Sees to it that p has at least one buffer, taken or free, which it never gives back to the system
 * before pool_fini: one owner at a time is served even when there is no memory.  Returns 0 or
 * -ENOMEM.  size is as in pool_get. */
int pool_reserve(struct pool *p, size_t size);

/* Frees the buffers that p keeps.  All that were taken must have been put back.  p may be used
 * again. */
void pool_fini(struct pool *p);

#endif
