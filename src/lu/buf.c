/* SPDX-License-Identifier: MIT */
#include "lu/buf.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

struct buf_head {
    _Alignas(max_align_t) void *next; /* what follows is aligned as malloc's memory is */
};

static struct buf_head *
buf_head_of(void *buf)
{
    return (struct buf_head *)buf - 1;
}

void *
lu_buf_alloc(uint32_t size)
{
    struct buf_head *h = calloc(1, sizeof(*h) + size);

    return h == NULL ? NULL : h + 1;
}

void *
lu_buf_alloc_unset(uint32_t size)
{
    struct buf_head *h = malloc(sizeof(*h) + size);

    if (h == NULL)
        return NULL;
    h->next = NULL;
    return h + 1;
}

void
lu_buf_free(void *buf)
{
    while (buf != NULL) {
        void *next = buf_head_of(buf)->next;

        free(buf_head_of(buf));
        buf = next;
    }
}

void *
lu_buf_chain(void *buf, void *chain)
{
    assert(buf != NULL && buf != chain && buf_head_of(buf)->next == NULL);
    buf_head_of(buf)->next = chain;
    return buf;
}
