/* SPDX-License-Identifier: MIT */
/* base/pool.h - buffers of one size that many owners use in turn.
 *
 * Thousands of owners that each need a buffer now and then need not each keep
 * one: an owner takes a buffer, which is still in the cache from the owner
 * before it, and puts it back.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__)
#define POOL_KEPT_MAX                                                                              \
    0 /* every buffer is freed at once, so that ASan sees a use after pool_put                     \
       */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_KEPT_MAX 0
#endif
#endif
#ifndef POOL_KEPT_MAX
#define POOL_KEPT_MAX 16 /* buffers kept for the next owner; more are freed */
#endif

/* A pool that is all zero is empty.  The first pool_get decides on the size. */
struct pool {
    void *free; /* the kept ones, chained through their first words */
    size_t size;
    uint32_t kept;
    uint32_t taken; /* not put back yet */
};

/* A buffer of size bytes, uninitialized; size is the same in all calls of one pool.  NULL: there is
 * no memory.  The caller owns it until pool_put. */
void *pool_get(struct pool *p, size_t size);
void pool_put(struct pool *p, void *buf);

/* Every buffer must have been put back.  p is empty then and may be used again. */
void pool_fini(struct pool *p);

#endif
