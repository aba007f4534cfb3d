/* SPDX-License-Identifier: MIT */
/* base/buddy.h - which pieces of some memory are free: blocks of a power of two of units, each of
 * which begins at a multiple of its size.
 *
 * Two halves that are free become one again, so whatever order blocks are given back in, when all
 * are back the largest can be had.  Taking and giving take a step for each power of two at most,
 * and allocate nothing.  It touches no byte of the memory itself: whoever else can write there
 * cannot spoil what is known about it.  One thread.
 */
#ifndef BASE_BUDDY_H
#define BASE_BUDDY_H

#include <stdbool.h>
#include <stdint.h>

#define BUDDY_ORDERS    19
#define BUDDY_LARGEST   (UINT32_C(1) << (BUDDY_ORDERS - 1)) /* units of a block */
#define BUDDY_UNITS_MAX (UINT32_C(1) << 30)

struct buddy_unit;

/* All zero: there is no memory. */
struct buddy {
    struct buddy_unit *unit;
    uint32_t units;
    uint32_t largest;            /* units of the largest block that there can be */
    uint32_t taken;              /* blocks that are out */
    uint32_t head[BUDDY_ORDERS]; /* of the free blocks of each order: index of a unit, from 1 */
};

/* Memory of `units` units, 1..BUDDY_UNITS_MAX, is all free, in blocks of at most `largest` units, a
 * power of two and at most BUDDY_LARGEST: none is split or put together further than that.  0 or
 * -ENOMEM. */
int buddy_init(struct buddy *b, uint32_t units, uint32_t largest);
/* Blocks may be out: they are gone, too. */
void buddy_fini(struct buddy *b);

/* The units of the block that buddy_take(units) gives: the next power of two. */
uint32_t buddy_rounded(uint32_t units);

/* A block of at least `units` units, 1..b->largest; 0 with the index of its first unit in *ret,
 * or -EAGAIN: there is none now. */
int buddy_take(struct buddy *b, uint32_t units, uint32_t *ret);
/* `at` is what buddy_take has returned.  Returns the units of the block. */
uint32_t buddy_give(struct buddy *b, uint32_t at);

/* The first free block that begins at unit `at` or behind it: true with its place and its units. */
bool buddy_next_free(const struct buddy *b, uint32_t at, uint32_t *ret_at, uint32_t *ret_units);

#endif
