/* SPDX-License-Identifier: MIT */
#include "transport/iser/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum page_use {
    PAGE_INSIDE, /* of a block that begins before it */
    PAGE_FREE,   /* a free block begins here */
    PAGE_TAKEN,
};

/* Links are indexes from 1 on; 0: none. */
struct iser_pool_page {
    uint32_t next, prev; /* PAGE_FREE */
    uint8_t use, order;  /* not of PAGE_INSIDE */
};

static void
pool_link(struct iser_pool *p, uint32_t at, unsigned order)
{
    struct iser_pool_page *b = &p->page[at];

    *b = (struct iser_pool_page){.next = p->head[order], .use = PAGE_FREE, .order = (uint8_t)order};
    if (b->next != 0)
        p->page[b->next - 1].prev = at + 1;
    p->head[order] = at + 1;
}

static void
pool_unlink(struct iser_pool *p, uint32_t at)
{
    struct iser_pool_page *b = &p->page[at];

    assert(b->use == PAGE_FREE);
    if (b->next != 0)
        p->page[b->next - 1].prev = b->prev;
    if (b->prev != 0)
        p->page[b->prev - 1].next = b->next;
    else
        p->head[b->order] = b->next;
    b->use = PAGE_INSIDE;
}

int
iser_pool_init(struct iser_pool *p, size_t bytes)
{
    size_t pages = bytes / ISER_PAGE;

    assert(bytes > 0 && bytes % ISER_BLOCK_MAX == 0 && pages < UINT32_MAX);
    *p = (struct iser_pool){.bytes = bytes};
    p->base = aligned_alloc(ISER_PAGE, bytes);
    p->page = calloc(pages, sizeof(p->page[0]));
    if (p->base == NULL || p->page == NULL) {
        iser_pool_fini(p);
        return -ENOMEM;
    }
    memset(p->base, 0, bytes); /* a target that sends less than it says shows nobody's secrets */
    for (uint32_t at = 0; at < pages; at += ISER_BLOCK_MAX / ISER_PAGE)
        pool_link(p, at, ISER_POOL_ORDERS - 1);
    return 0;
}

void
iser_pool_fini(struct iser_pool *p)
{
    free(p->base);
    free(p->page);
    *p = (struct iser_pool){.base = NULL};
}

static unsigned
order_of(uint32_t len)
{
    unsigned order = 0;

    assert(len > 0 && len <= ISER_BLOCK_MAX);
    while (ISER_PAGE << order < len)
        order++;
    return order;
}

void *
iser_pool_take(struct iser_pool *p, uint32_t len)
{
    unsigned want = order_of(len), order = want;
    uint32_t at;

    while (order < ISER_POOL_ORDERS && p->head[order] == 0)
        order++;
    if (order == ISER_POOL_ORDERS)
        return NULL;
    at = p->head[order] - 1;
    pool_unlink(p, at);
    while (order > want) { /* the upper half stays free */
        order--;
        pool_link(p, at + (UINT32_C(1) << order), order);
    }
    p->page[at] = (struct iser_pool_page){.use = PAGE_TAKEN, .order = (uint8_t)want};
    p->taken++;
    return p->base + (size_t)at * ISER_PAGE;
}

void
iser_pool_give(struct iser_pool *p, void *block)
{
    size_t offset = (size_t)((uint8_t *)block - p->base);
    uint32_t at = (uint32_t)(offset / ISER_PAGE);
    unsigned order;

    assert(offset < p->bytes && offset % ISER_PAGE == 0 && p->page[at].use == PAGE_TAKEN);
    order = p->page[at].order;
    p->page[at].use = PAGE_INSIDE;
    while (order < ISER_POOL_ORDERS - 1) {
        uint32_t other = at ^ UINT32_C(1) << order;

        if (p->page[other].use != PAGE_FREE || p->page[other].order != order)
            break;
        pool_unlink(p, other);
        at &= ~(UINT32_C(1) << order);
        order++;
    }
    pool_link(p, at, order);
    p->taken--;
}
