/* SPDX-License-Identifier: MIT */
#include "export/nbd/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h" /* POOL_KEPT_MAX: with ASan nothing is kept, so that it sees late use */

#define KEPT_MAX (POOL_KEPT_MAX > 1 ? (size_t)16 << 20 : 0) /* bytes */

static unsigned
class_of(size_t len)
{
    unsigned c = 0;

    assert(len <= NBD_BUF_MAX);
    for (size_t size = NBD_BUF_MIN; size < len; size *= 4)
        c++;
    return c;
}

static size_t
size_of(unsigned c)
{
    return c < NBD_BUF_CLASSES - 1 ? (size_t)NBD_BUF_MIN << (2 * c) : NBD_BUF_MAX;
}

size_t
nbd_buf_size(size_t len)
{
    return size_of(class_of(len));
}

void *
nbd_buf_get(struct nbd_memory *m, size_t len)
{
    unsigned c = class_of(len);
    void *buf = m->free[c];

    if (buf == NULL) {
        buf = aligned_alloc(NBD_BUF_MIN, size_of(c));
        if (buf != NULL || m->kept == 0)
            return buf;
        nbd_memory_trim(m);
        return aligned_alloc(NBD_BUF_MIN, size_of(c));
    }
    memcpy(&m->free[c], buf, sizeof(m->free[c]));
    m->kept -= size_of(c);
    return buf;
}

void
nbd_buf_put(struct nbd_memory *m, void *buf, size_t len)
{
    unsigned c = class_of(len);
    size_t size = size_of(c);

    if (m->kept + size > KEPT_MAX) {
        free(buf);
        return;
    }
    memcpy(buf, &m->free[c], sizeof(m->free[c]));
    m->free[c] = buf;
    m->kept += size;
}

void
nbd_memory_trim(struct nbd_memory *m)
{
    for (unsigned c = 0; c < NBD_BUF_CLASSES; c++) {
        void *buf, *next;

        for (buf = m->free[c]; buf != NULL; buf = next) {
            memcpy(&next, buf, sizeof(next));
            free(buf);
        }
        m->free[c] = NULL;
    }
    m->kept = 0;
}
