/* SPDX-License-Identifier: MIT */
/* base/pool.h - buffers of one size that many owners use in turn.
 *
 * What is needed now and then by each of thousands need not be held by each:
 * an owner borrows a buffer, warm from the one before, and gives it back.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__)
#define POOL_KEPT_MAX 0 /* a use of what was given back is seen */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_KEPT_MAX 0
#endif
#endif
#ifndef POOL_KEPT_MAX
#define POOL_KEPT_MAX 16 /* buffers kept for the next borrower; more are freed */
#endif

/* All zero: empty.  The first borrower decides on the size. */
struct pool {
    void *free; /* a chain through their first words */
    size_t size;
    uint32_t kept;
    uint32_t lent;
};

/* size bytes, uninitialized; every borrower of p wants the same size.  NULL: no memory. */
void *pool_get(struct pool *p, size_t size);
void pool_put(struct pool *p, void *buf);

/* Everything must have been given back.  p is empty then and may be used again. */
void pool_fini(struct pool *p);

#endif
