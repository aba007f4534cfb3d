/* SPDX-License-Identifier: MIT */
/* cmd/lunette/compare.c - reads both ends again and compares them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/lunette/buffers.h"
#include "cmd/lunette/transfer.h"

/* One stretch, read from both ends. */
struct pair {
    char *buf[2];
    bool started[2];
    bool busy;
    uint64_t offset; /* from the transfer's begin */
    size_t len;
    struct io io[2];
};

struct compare {
    struct transfer *t;
    struct pair *pairs;
    uint64_t next, done, differs;
    unsigned busy;
};

/* Bytes in common at the beginning of a and b. */
static size_t
same_bytes(const char *a, const char *b, size_t len)
{
    size_t n = 0;

    while (n < len && a[n] == b[n])
        n++;
    return n;
}

static int
start_side(struct compare *c, struct pair *p, int side)
{
    struct transfer *t = c->t;
    struct end *e = side == 0 ? t->src : t->dst;
    uint64_t at = (side == 0 ? t->src_offset : t->dst_offset) + p->offset;
    size_t n = (p->len + e->block - 1) / e->block * e->block;

    if (p->started[side])
        return 0;
    p->io[side].offset = at;
    int r = end_read(e, p->buf[side], n, at, &p->io[side]);
    p->started[side] = r == 0;
    return r == -EAGAIN ? 0 : r;
}

/* Starts or finishes reads of p.  Above 0: something was done; 0: nothing; or -errno. */
static int
step_pair(struct compare *c, struct pair *p)
{
    struct transfer *t = c->t;
    int moved = 0;

    if (!p->busy && c->next < t->length && c->differs == UINT64_MAX) {
        p->busy = true;
        p->started[0] = p->started[1] = false;
        p->offset = c->next;
        p->len = (size_t)(t->length - c->next < t->bs ? t->length - c->next : t->bs);
        c->next += p->len;
        c->busy++;
        moved = 1;
    }
    if (!p->busy)
        return 0;
    for (int side = 0; side < 2; side++) {
        int r = start_side(c, p, side);
        if (r < 0)
            return r;
    }
    if (!p->started[0] || !p->started[1] || p->io[0].pending > 0 || p->io[1].pending > 0)
        return moved;
    if (memcmp(p->buf[0], p->buf[1], p->len) != 0) {
        uint64_t at = p->offset + same_bytes(p->buf[0], p->buf[1], p->len);
        if (at < c->differs)
            c->differs = at;
    }
    p->busy = false;
    c->busy--;
    c->done += p->len;
    progress_update(t->progress, c->done);
    return 1;
}

static int
compare_step(struct compare *c)
{
    struct end *ends[2] = {c->t->src, c->t->dst};
    int moved = 0;

    for (uint64_t i = 0; i < c->t->depth; i++) {
        int r = step_pair(c, &c->pairs[i]);
        if (r < 0)
            return r;
        moved |= r;
    }
    for (int i = 0; i < 2; i++) {
        int r = end_reap(ends[i]);
        if (r < 0 || ends[i]->err.code != 0)
            return r < 0 ? r : ends[i]->err.code;
        moved |= r;
    }
    return moved;
}

static int
compare_loop(struct compare *c)
{
    struct transfer *t = c->t;

    while (c->busy > 0 || (c->next < t->length && c->differs == UINT64_MAX)) {
        if (interrupted() != 0)
            return EXIT_SIGNAL + interrupted();
        int r = compare_step(c);
        if (r == 0)
            r = end_wait(t->src, t->dst, false, false);
        progress_update(t->progress, c->done);
        if (r >= 0 || r == -EINTR)
            continue;
        progress_end(t->progress, c->done);
        if (t->src->err.code != 0)
            return fail_with(&t->src->err, t->src->name);
        if (t->dst->err.code != 0)
            return fail_with(&t->dst->err, t->dst->name);
        return fail_errno(r, "verifying");
    }
    return 0;
}

int
transfer_compare(struct transfer *t, uint64_t *ret_offset)
{
    struct compare c = {.t = t, .differs = UINT64_MAX};
    struct buffers buffers;

    c.pairs = xmalloc(t->depth * sizeof(*c.pairs));
    buffers_init(&buffers, t->cli, 2 * t->depth, t->bs + BLOCK_MAX);
    for (uint64_t i = 0; i < t->depth; i++) {
        c.pairs[i].buf[0] = buffers_at(&buffers, 2 * i);
        c.pairs[i].buf[1] = buffers_at(&buffers, 2 * i + 1);
    }
    t->cli->progress = t->progress;
    int code = compare_loop(&c);
    progress_end(t->progress, c.done);
    t->cli->progress = NULL;
    if (code != 0) {
        for (uint64_t i = 0; i < t->depth; i++) {
            end_give_up(t->src, &c.pairs[i].io[0]);
            end_give_up(t->dst, &c.pairs[i].io[1]);
        }
        end_drain(t->src, t->dst, t->cli->cmd->name);
        lunette_queue_free(t->src->queue);
        lunette_queue_free(t->dst->queue);
        t->src->queue = t->dst->queue = NULL;
    } else if (c.differs != UINT64_MAX) {
        code = EXIT_VERIFY;
        *ret_offset = c.differs;
    }
    buffers_fini(&buffers);
    free(c.pairs);
    return code;
}
