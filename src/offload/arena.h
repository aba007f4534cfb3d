/* SPDX-License-Identifier: MIT */
/* offload/arena.h - which parts of the arena have data of commands (offload/entry.h).  The client
 * keeps this: in memory of its own, since the engine may write to the arena at any time.
 *
 * Extents are of whole pages, a power of two of them (base/buddy.h).  With `poison` everything that
 * is free has a pattern, which is looked at when it is given out again: an engine that has written
 * to data of a command that had ended is found so.  That costs as much as the data, and is for
 * tests.  One thread.
 */
#ifndef OFFLOAD_ARENA_H
#define OFFLOAD_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buddy.h"

#define ARENA_PAGE 4096u

struct arena {
    uint8_t *base;
    uint64_t size; /* bytes */
    struct buddy buddy;
    bool poison;
    uint64_t spoiled;    /* extents that did not have their pattern any more */
    uint64_t spoiled_at; /* offset of the first byte that was found so */
};

/* Begins with the memory at base, all of which is free: `size` bytes, a multiple of ARENA_PAGE and
 * at most OFFLOAD_ARENA_MAX.  It stays the caller's.  0 or -ENOMEM. */
int arena_init(struct arena *a, void *base, uint64_t size, bool poison);
/* Extents may be out: they are gone, too.  The memory is not touched. */
void arena_fini(struct arena *a);

/* The bytes of the largest extent that there can be. */
uint32_t arena_largest(const struct arena *a);
/* Returns the offset of an extent of at least len bytes, 1..arena_largest, with bytes that mean
 * nothing; -EAGAIN: there is none until others are freed. */
int64_t arena_alloc(struct arena *a, uint32_t len);
/* off is what arena_alloc has returned.  Nobody may write to the extent on behalf of the command
 * that had it, else it must not be freed yet (slots_give in offload/slots.h). */
void arena_free(struct arena *a, uint64_t off);

/* Looks at all that is free: true if each byte of it has its pattern; else it is counted in
 * a->spoiled.  True without poison. */
bool arena_check(struct arena *a);

#endif
