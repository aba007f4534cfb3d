/* SPDX-License-Identifier: MIT */
#include "base/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void *
pool_get(struct pool *p, size_t size)
{
    void *buf = p->free;

    assert(size >= sizeof(buf) && (p->size == 0 || p->size == size));
    p->size = size;
    if (buf != NULL) {
        memcpy(&p->free, buf, sizeof(p->free));
        p->kept--;
    } else {
        buf = malloc(size);
        if (buf == NULL)
            return NULL;
    }
    p->taken++;
    return buf;
}

void
pool_put(struct pool *p, void *buf)
{
    assert(buf != NULL && p->taken > 0);
    p->taken--;
    if (p->kept == POOL_KEPT_MAX) {
        free(buf);
        return;
    }
    memcpy(buf, &p->free, sizeof(p->free));
    p->free = buf;
    p->kept++;
}

int
pool_reserve(struct pool *p, size_t size)
{
    void *buf;

    if (p->kept + p->taken > 0) /* and pool_put keeps the last one */
        return 0;
    buf = pool_get(p, size);
    if (buf == NULL)
        return -ENOMEM;
    pool_put(p, buf);
    return 0;
}

void
pool_fini(struct pool *p)
{
    assert(p->taken == 0);
    while (p->free != NULL) {
        void *buf = p->free;

        memcpy(&p->free, buf, sizeof(p->free));
        free(buf);
    }
    *p = (struct pool){0};
}
