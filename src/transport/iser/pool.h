/* SPDX-License-Identifier: MIT */
/* transport/iser/pool.h - memory for the data of commands whose own memory is not known to the
 * device: blocks of one region, each in one piece.
 *
 * It is a buddy system: a block has 4 KiB times a power of two and begins at a multiple of its
 * size, and two halves that are free become one again.  So whatever order blocks are given back in,
 * when all are back the largest can be had.  What it knows of its blocks lies apart from them,
 * since a target may write to free ones.  Loop's thread only.
 */
#ifndef TRANSPORT_ISER_POOL_H
#define TRANSPORT_ISER_POOL_H

#include <stddef.h>
#include <stdint.h>

#define ISER_PAGE        4096u
#define ISER_POOL_ORDERS 9 /* blocks of up to 1 MiB */
#define ISER_BLOCK_MAX   (ISER_PAGE << (ISER_POOL_ORDERS - 1))

struct iser_pool_page;

/* All zero: there is no memory. */
struct iser_pool {
    uint8_t *base; /* bytes of it, page-aligned */
    size_t bytes;
    struct iser_pool_page *page;
    uint32_t head[ISER_POOL_ORDERS]; /* of the free blocks of each order: index of a page, from 1 */
    uint32_t taken;                  /* blocks that are out */
};

/* Gets memory of `bytes`, a multiple of ISER_BLOCK_MAX.  -ENOMEM. */
int iser_pool_init(struct iser_pool *p, size_t bytes);
/* Blocks may be out: they are gone, too. */
void iser_pool_fini(struct iser_pool *p);

/* A block of at least len bytes, 1..ISER_BLOCK_MAX; NULL: there is none now. */
void *iser_pool_take(struct iser_pool *p, uint32_t len);
void iser_pool_give(struct iser_pool *p, void *block);

#endif
