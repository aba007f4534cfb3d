/* SPDX-License-Identifier: MIT */
#include "offload/arena.h"

#include <assert.h>
#include <string.h>

#include "offload/entry.h"

/* Each word of a free extent tells where it is, so that data that were meant for another place do
 * not pass for it. */
static uint64_t
poison_word(uint64_t off)
{
    return (off + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static void
poison_fill(struct arena *a, uint64_t off, uint64_t len)
{
    if (!a->poison)
        return;
    for (uint64_t at = off; at < off + len; at += sizeof(uint64_t)) {
        uint64_t w = poison_word(at);

        memcpy(a->base + at, &w, sizeof(w));
    }
}

static bool
poison_holds(struct arena *a, uint64_t off, uint64_t len)
{
    if (!a->poison)
        return true;
    for (uint64_t at = off; at < off + len; at += sizeof(uint64_t)) {
        uint64_t w;

        memcpy(&w, a->base + at, sizeof(w));
        if (w == poison_word(at))
            continue;
        if (a->spoiled++ == 0)
            a->spoiled_at = at;
        return false;
    }
    return true;
}

int
arena_init(struct arena *a, void *base, uint64_t size, bool poison)
{
    assert(size > 0 && size % ARENA_PAGE == 0 && size <= OFFLOAD_ARENA_MAX);
    *a = (struct arena){.base = base, .size = size, .poison = poison};
    poison_fill(a, 0, size);
    return buddy_init(&a->buddy, (uint32_t)(size / ARENA_PAGE), BUDDY_LARGEST);
}

void
arena_fini(struct arena *a)
{
    buddy_fini(&a->buddy);
    *a = (struct arena){.base = NULL};
}

uint32_t
arena_largest(const struct arena *a)
{
    return a->buddy.largest * ARENA_PAGE;
}

static uint32_t
arena_pages(uint32_t len)
{
    return len / ARENA_PAGE + (len % ARENA_PAGE != 0);
}

int64_t
arena_alloc(struct arena *a, uint32_t len)
{
    uint32_t page = 0;
    uint64_t off;
    int r;

    assert(len > 0 && len <= arena_largest(a));
    r = buddy_take(&a->buddy, arena_pages(len), &page);
    if (r < 0)
        return r;
    off = (uint64_t)page * ARENA_PAGE;
    (void)poison_holds(a, off, (uint64_t)buddy_rounded(arena_pages(len)) * ARENA_PAGE);
    return (int64_t)off;
}

void
arena_free(struct arena *a, uint64_t off)
{
    uint32_t pages;

    assert(off < a->size && off % ARENA_PAGE == 0);
    pages = buddy_give(&a->buddy, (uint32_t)(off / ARENA_PAGE));
    poison_fill(a, off, (uint64_t)pages * ARENA_PAGE);
}

bool
arena_check(struct arena *a)
{
    uint32_t at = 0, units = 0;
    bool holds = true;

    for (; a->poison && buddy_next_free(&a->buddy, at, &at, &units); at += units)
        holds &= poison_holds(a, (uint64_t)at * ARENA_PAGE, (uint64_t)units * ARENA_PAGE);
    return holds;
}
