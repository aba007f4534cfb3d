/* SPDX-License-Identifier: MIT */
/* block/device.c - makes and frees devices and queues, and has the tables behind seam/bdev.h. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "block/internal.h"

/* ---- queues --------------------------------------------------------------------------------- */

/* Moves every request that is not finished to the done list, failed. */
static void
blk_fail_all(struct blk_queue *q, int err)
{
    struct list *n;

    for (uint32_t i = 0; i < q->q.depth; i++) {
        struct blk_piece *p = piece_at(q, i);
        struct bdev_req *r = p->rq.parent;

        if (p->rq.state == PIECE_FREE)
            continue;
        blk_make_general(p);
        p->rq.state = PIECE_FREE;
        p->watch = NULL; /* the request's, which ends it */
        assert(r->pieces > 0);
        if (--r->pieces > 0)
            continue;
        if (r->issued < r->len)
            list_del(&r->node); /* from the pending list */
        if (r->result.err == 0)
            r->result.err = err;
        blk_add_done(q, r);
    }
    while ((n = list_pop_front(&q->pending)) != NULL) {
        struct bdev_req *r = container_of(n, struct bdev_req, node);

        if (r->result.err == 0)
            r->result.err = err;
        blk_add_done(q, r);
    }
}

/* Ends what is outstanding on q with an error, and frees q. */
static void
blk_queue_end(struct blk_queue *q)
{
    assert(!q->delivering);
    q->closing = true;
    blk_fail_all(q, -ENODEV);
    blk_deliver(q);
    assert(blk_outstanding(q) == 0);
    loop_defer_cancel(&q->work);
    loop_timer_stop(q->q.loop, &q->tick);
    loop_timer_stop(q->q.loop, &q->delay_timer);
    loop_timer_stop(q->q.loop, &q->watch_timer);
    list_del(&q->node);
    blk_stats_add(&blk_dev_of_queue(q)->old_stats, q);
    free(q->pieces);
    free(q->free);
    free(q);
}

static void
blk_queue_free(struct bdev_queue *bq)
{
    struct blk_queue *q = blk_queue_of(bq);

    assert(blk_outstanding(q) == 0); /* the driver may still write to their memory */
    blk_queue_end(q);
}

static void
blk_commit(struct bdev_queue *bq)
{
    struct blk_queue *q = blk_queue_of(bq);
    struct blk_dev *b = blk_dev_of_queue(q);

    if (q->committed && !q->waits && !q->gone)
        return; /* as in most calls of a caller that polls */
    if ((q->waits || q->gone) && !q->delivering)
        blk_mq_dispatch_rq_list(q);
    if (!q->committed) {
        q->committed = true;
        b->ops->commit(b->drv);
    }
    if (!blk_any_done(q) && b->drained == NULL)
        loop_defer_cancel(&q->work); /* the work would find nothing to do */
}

static uint32_t
blk_queue_outstanding(const struct bdev_queue *bq)
{
    return (uint32_t)blk_outstanding((const struct blk_queue *)bq);
}

static const struct bdev_queue_ops blk_queue_ops = {
    .submit = blk_submit,
    .commit = blk_commit,
    .cancel = blk_cancel,
    .outstanding = blk_queue_outstanding,
    .free = blk_queue_free,
};

static void
blk_queue_init(struct blk_queue *q, struct blk_dev *b, struct loop *loop, uint32_t depth)
{
    q->q = (struct bdev_queue){.ops = &blk_queue_ops, .loop = loop, .bdev = &b->b, .depth = depth};
    q->top = q->free + depth;
    q->tick_at = UINT64_MAX;
    q->committed = true;
    list_init(&q->pending);
    list_init(&q->dispatch);
    list_init(&q->delayed);
    q->done_last = &q->done;
    loop_work_init(&q->work, blk_run_work);
    loop_timer_init(&q->tick, blk_tick);
    loop_timer_init(&q->delay_timer, blk_delay_expired);
    loop_timer_init(&q->watch_timer, blk_watch_expired);
    blk_watch_start(q);
    for (uint32_t i = 0; i < depth; i++) {
        struct blk_piece *p = piece_at(q, i);

        p->rq.tag = i;
        p->rq.queue = &q->q;
        list_init(&p->node);
        blk_piece_clear(p);
        blk_init_cmd(q, p);
        q->free[depth - 1 - i] = &p->rq;
    }
    q->closing = q->waits = b->closing;
    q->gone = b->gone;
    list_push_back(&b->queues, &q->node);
}

static int
blk_queue_new(struct bdev *dev, struct loop *loop, uint32_t depth, struct bdev_queue **ret)
{
    struct blk_dev *b = blk_dev_of(dev);
    struct blk_queue *q;
    void *pieces;
    size_t size;

    if (depth == 0 || depth > BLK_QUEUE_DEPTH_MAX)
        return -EINVAL;
    if (!list_empty(&b->queues) && blk_queue_of_node(b->queues.next)->q.loop != loop)
        return -ENOTSUP;
    q = calloc(1, sizeof(*q));
    if (q == NULL)
        return -ENOMEM;
    q->stride = (BLK_PIECE_SIZE + b->ops->cmd_size + 63) & ~(size_t)63;
    size = q->stride * depth;
    q->free = calloc(depth, sizeof(q->free[0]));
    pieces = aligned_alloc(64, size);
    if (q->free == NULL || pieces == NULL) {
        free(pieces);
        free(q->free);
        free(q);
        return -ENOMEM;
    }
    memset(pieces, 0, size);
    q->pieces = pieces;
    blk_queue_init(q, b, loop, depth);
    *ret = &q->q;
    return 0;
}

/* ---- devices -------------------------------------------------------------------------------- */

static int
blk_drain(struct bdev *dev, void (*drained)(void *user), void *user)
{
    struct blk_dev *b = blk_dev_of(dev);

    assert(b->drained == NULL);
    b->closing = true;
    LIST_FOREACH (n, &b->queues) {
        struct blk_queue *q = blk_queue_of_node(n);

        q->closing = q->waits = true;
        if (blk_outstanding(q) == 0)
            continue;
        b->drained = drained;
        b->drained_user = user;
    }
    return b->drained != NULL ? -EINPROGRESS : 0;
}

static const struct bdev_limits *
blk_limits(const struct bdev *dev)
{
    return &blk_dev_of(dev)->limits;
}

static void
blk_set_timeout(struct bdev *dev, uint32_t timeout_ms)
{
    struct blk_dev *b = blk_dev_of(dev);

    assert(timeout_ms > 0);
    b->timeout_ns = timeout_ms * LOOP_NS_PER_MS;
}

static void
blk_stats(const struct bdev *dev, struct bdev_stats *ret)
{
    struct blk_dev *b = blk_dev_of(dev);

    *ret = b->old_stats;
    LIST_FOREACH (n, &b->queues) {
        blk_stats_add(ret, blk_queue_of_node(n));
    }
}

static const struct bdev_ops blk_dev_ops = {
    .queue_new = blk_queue_new,
    .limits = blk_limits,
    .drain = blk_drain,
    .set_timeout = blk_set_timeout,
    .stats = blk_stats,
    .latency = blk_latency,
    .set_watch = blk_set_watch,
};

int
blk_dev_new(const struct bdev_driver_ops *ops, void *drv, const struct bdev_limits *limits,
            struct bdev **ret)
{
    struct blk_dev *b = calloc(1, sizeof(*b));

    if (b == NULL)
        return -ENOMEM;
    bdev_init(&b->b, &blk_dev_ops);
    b->ops = ops;
    b->queue_rq_fast = ops->queue_rq_fast;
    b->drv = drv;
    b->watch_every = BDEV_WATCH_EVERY;
    b->watch_few = true;
    if (blk_set_limits(b, limits) < 0) {
        free(b);
        return -EINVAL;
    }
    blk_set_timeout(&b->b, BLK_TIMEOUT_DEFAULT_MS);
    list_init(&b->queues);
    *ret = &b->b;
    return 0;
}

void
blk_dev_free(struct bdev **pb)
{
    struct blk_dev *b = blk_dev_of(*pb);

    if (b == NULL)
        return;
    assert(b->b.ops == &blk_dev_ops);
    b->closing = true;
    b->drained = NULL;
    LIST_FOREACH (n, &b->queues) {
        blk_queue_of_node(n)->closing = true;
    }
    while (!list_empty(&b->queues))
        blk_queue_end(blk_queue_of_node(b->queues.next));
    bdev_fini(&b->b);
    free(b->latency);
    free(b);
    *pb = NULL;
}
