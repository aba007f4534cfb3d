/* SPDX-License-Identifier: MIT */
/* block/watch.c - one request in many is timed: which one, and what becomes of its times
 * (docs/design/observe.md).
 *
 * A queue counts down to the next one, so that with much to do one request in `watch_every` is
 * timed. With less to do the countdown is shorter, so that one is timed about each BLK_WATCH_NS: it
 * is set by how fast requests have come since the last one that was timed, and a timer, which runs
 * while requests come, shortens it where they do not come that fast any more.
 */
#include <assert.h>
#include <stdlib.h>

#include "block/internal.h"

static enum bdev_class
blk_class(enum bdev_op op)
{
    if (op == BDEV_READ)
        return BDEV_CLASS_READ;
    return op == BDEV_WRITE ? BDEV_CLASS_WRITE : BDEV_CLASS_OTHER;
}

/* ---- which request -------------------------------------------------------------------------- */

/* The n-th request from now on is the next one that is timed. */
static void
blk_watch_in(struct blk_queue *q, uint64_t n)
{
    q->due = blk_taken(q) + n;
    q->left = n;
}

/* 1 to n, any of them as likely as the others. */
static uint64_t
blk_watch_any(struct blk_queue *q, uint64_t n)
{
    q->dice = q->dice * 6364136223846793005u + 1442695040888963407u;
    return n > 1 ? 1 + (q->dice >> 33) % n : 1;
}

/* One request in n is timed from now on, on the average.  Requests come in batches, and the first
 * of a batch is the first to be answered: to time each n-th might be to time that of each batch. */
static void
blk_watch_one_in(struct blk_queue *q, uint64_t n)
{
    blk_watch_in(q, blk_watch_any(q, 2 * n - 1));
}

static void
blk_watch_reload(struct blk_queue *q)
{
    const struct blk_dev *b = blk_dev_of_queue(q);

    if (b->watch_every > 0)
        blk_watch_one_in(q, b->watch_every);
    else
        blk_watch_in(q, BLK_WATCH_NEVER);
}

void
blk_watch_start(struct blk_queue *q)
{
    const struct blk_dev *b = blk_dev_of_queue(q);

    loop_timer_stop(q->q.loop, &q->watch_timer);
    blk_watch_reload(q);
    if (b->watch_every > 2 && b->watch_few)
        blk_watch_in(q, 2); /* the second one, so that there is something to see soon */
}

/* None has been timed for a while.  Where others have come, any one of those that come next is: as
 * many as are under way, or as came between the last two.  The timer goes on until that is so. */
void
blk_watch_expired(struct loop_timer *t)
{
    struct blk_queue *q = container_of(t, struct blk_queue, watch_timer);
    uint64_t n = blk_outstanding(q);

    n = blk_watch_any(q, n > q->watch_batch ? n : q->watch_batch);
    if (n < q->left)
        blk_watch_in(q, n);
}

/* Of n requests in ns, how many come in BLK_WATCH_NS. */
static uint64_t
blk_watch_rate(uint64_t n, uint64_t ns)
{
    return n * BLK_WATCH_NS / (ns + 1);
}

/* With few requests, the next one that is timed comes sooner. */
static void
blk_watch_few(struct blk_queue *q, uint64_t since, uint64_t ns)
{
    const struct blk_dev *b = blk_dev_of_queue(q);
    uint64_t n = blk_watch_rate(since, ns);

    q->watch_batch = since < q->q.depth ? since : q->q.depth;
    if (n < b->watch_every)
        blk_watch_one_in(q, n > 0 ? n : 1);
    loop_timer_start(q->q.loop, &q->watch_timer, 2 * BLK_WATCH_NS);
}

/* ---- its times ------------------------------------------------------------------------------ */

static struct blk_watch *
blk_watch_free_slot(struct blk_queue *q)
{
    for (uint32_t i = 0; i < BLK_WATCHES; i++) {
        if (q->watch[i].weight == 0)
            return &q->watch[i];
    }
    return NULL;
}

struct io_watch *
blk_watch_begin(struct blk_queue *q)
{
    struct blk_dev *b = blk_dev_of_queue(q);
    uint64_t now = q->q.loop->now_ns;
    struct blk_watch *w;

    assert(q->left == 0);
    blk_watch_reload(q);
    if (b->latency == NULL)
        b->latency = calloc(1, sizeof(*b->latency));
    w = blk_watch_free_slot(q);
    if (b->latency == NULL || w == NULL)
        return NULL; /* the next one counts for those that this one would have counted for */
    w->weight = blk_taken(q) - q->watched;
    assert(w->weight > 0);
    if (b->watch_few)
        blk_watch_few(q, w->weight, now - q->watched_ns);
    q->watched = blk_taken(q);
    q->watched_ns = now;
    io_watch_start(&w->io, loop_clock(q->q.loop));
    return &w->io;
}

void
blk_watch_issued(struct blk_queue *q, struct blk_piece *p)
{
    struct blk_dev *b = blk_dev_of_queue(q);

    if (b->ops->watch != NULL)
        b->ops->watch(b->drv, &p->rq, p->watch);
    else /* what the driver does with it, it does not tell */
        io_watch_enter(p->watch, IO_STAGE_TARGET, loop_clock(q->q.loop));
}

void
blk_watch_enter(struct blk_queue *q, struct io_watch *w, enum io_stage stage)
{
    io_watch_unlink(w);
    io_watch_enter(w, stage, loop_clock(q->q.loop));
}

void
blk_watch_end(struct blk_queue *q, struct bdev_req *r)
{
    struct bdev_latency *l = blk_dev_of_queue(q)->latency;
    struct blk_watch *w = container_of(r->watch, struct blk_watch, io);
    enum bdev_class class = blk_class(r->op);
    uint64_t total = 0;

    assert(l != NULL && w->weight > 0);
    blk_watch_enter(q, &w->io, IO_STAGE_RECEIVE);
    for (int i = 0; i < IO_STAGES; i++) {
        total += w->io.ns[i];
        latency_add(&l->stage[class][i], w->io.ns[i], w->weight);
    }
    latency_add(&l->total[class], total, w->weight);
    l->timed++;
    w->weight = 0;
    r->watch = NULL;
}

/* ---- the device ----------------------------------------------------------------------------- */

const struct bdev_latency *
blk_latency(const struct bdev *dev)
{
    return blk_dev_of(dev)->latency;
}

void
blk_set_watch(struct bdev *dev, uint32_t every, bool few)
{
    struct blk_dev *b = blk_dev_of(dev);

    b->watch_every = every;
    b->watch_few = few;
    LIST_FOREACH (n, &b->queues)
        blk_watch_start(blk_queue_of_node(n));
}
