/* SPDX-License-Identifier: MIT */
/* transport/iser/pool.h - memory for the data of commands whose own memory is not known to the
 * device: blocks of one region, each in one piece.
 *
 * base/buddy.h knows which of it is free, apart from the blocks, since a target may write to free
 * ones: whatever order they are given back in, when all are back the largest can be had.  Loop's
 * thread only.
 */
#ifndef TRANSPORT_ISER_POOL_H
#define TRANSPORT_ISER_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/buddy.h"

#define ISER_PAGE      4096u
#define ISER_BLOCK_MAX (1u << 20)

/* All zero: there is no memory. */
struct iser_pool {
    uint8_t *base; /* bytes of it, page-aligned */
    size_t bytes;
    struct buddy pages;
};

/* Gets memory of `bytes`, a multiple of ISER_BLOCK_MAX.  -ENOMEM. */
int iser_pool_init(struct iser_pool *p, size_t bytes);
/* Blocks may be out: they are gone, too. */
void iser_pool_fini(struct iser_pool *p);

/* A block of at least len bytes, 1..ISER_BLOCK_MAX; NULL: there is none now. */
void *iser_pool_take(struct iser_pool *p, uint32_t len);
void iser_pool_give(struct iser_pool *p, void *block);

#endif
