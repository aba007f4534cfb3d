/* SPDX-License-Identifier: MIT */
#include "transport/iser/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int
iser_pool_init(struct iser_pool *p, size_t bytes)
{
    size_t pages = bytes / ISER_PAGE;

    assert(bytes > 0 && bytes % ISER_BLOCK_MAX == 0 && pages <= BUDDY_UNITS_MAX);
    *p = (struct iser_pool){.bytes = bytes};
    p->base = aligned_alloc(ISER_PAGE, bytes);
    if (p->base == NULL || buddy_init(&p->pages, (uint32_t)pages, ISER_BLOCK_MAX / ISER_PAGE) < 0) {
        iser_pool_fini(p);
        return -ENOMEM;
    }
    memset(p->base, 0, bytes); /* a target that sends less than it says shows nobody's secrets */
    return 0;
}

void
iser_pool_fini(struct iser_pool *p)
{
    free(p->base);
    buddy_fini(&p->pages);
    *p = (struct iser_pool){.base = NULL};
}

void *
iser_pool_take(struct iser_pool *p, uint32_t len)
{
    uint32_t at = 0;

    assert(len > 0 && len <= ISER_BLOCK_MAX);
    if (buddy_take(&p->pages, (len + ISER_PAGE - 1) / ISER_PAGE, &at) < 0)
        return NULL;
    return p->base + (size_t)at * ISER_PAGE;
}

void
iser_pool_give(struct iser_pool *p, void *block)
{
    size_t offset = (size_t)((uint8_t *)block - p->base);

    assert(offset < p->bytes && offset % ISER_PAGE == 0);
    (void)buddy_give(&p->pages, (uint32_t)(offset / ISER_PAGE));
}
