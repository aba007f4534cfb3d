/* SPDX-License-Identifier: MIT */
/* block/block.c - devices and queues: life, submission, statistics. */
#include "block/block.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "block/internal.h"

static const uint8_t zero_page[BLK_ZERO_PAGE];

int
bdev_new(const struct bdev_driver_ops *ops, void *drv, const struct bdev_limits *limits,
         struct bdev **ret)
{
    struct bdev *b = calloc(1, sizeof(*b));

    if (b == NULL)
        return -ENOMEM;
    b->ops = ops;
    b->queue_rq_fast = ops->queue_rq_fast;
    b->drv = drv;
    if (blk_set_limits(b, limits) < 0) {
        free(b);
        return -EINVAL;
    }
    bdev_set_timeout(b, BLK_TIMEOUT_DEFAULT_MS);
    list_init(&b->queues);
    list_init(&b->listeners);
    for (uint32_t i = 0; i < BLK_ZERO_IOVS; i++)
        b->zero_iov[i] = (struct iovec){(void *)(uintptr_t)zero_page, BLK_ZERO_PAGE};
    *ret = b;
    return 0;
}

void
bdev_free(struct bdev **pb)
{
    struct bdev *b = *pb;

    if (b == NULL)
        return;
    b->closing = true;
    b->drained = NULL;
    LIST_FOREACH (n, &b->queues) {
        container_of(n, struct bdev_queue, node)->closing = true;
    }
    while (!list_empty(&b->queues)) {
        struct bdev_queue *q = container_of(b->queues.next, struct bdev_queue, node);

        bdev_queue_free(&q);
    }
    while (list_pop_front(&b->listeners) != NULL)
        ;
    free(b);
    *pb = NULL;
}

static void
queue_init(struct bdev_queue *q, struct bdev *b, struct loop *loop, uint32_t depth)
{
    q->bdev = b;
    q->loop = loop;
    q->depth = depth;
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
    for (uint32_t i = 0; i < depth; i++) {
        struct blk_piece *p = piece_at(q, i);

        p->rq.tag = i;
        p->rq.queue = q;
        list_init(&p->node);
        blk_rest(p);
        if (b->ops->init_rq != NULL)
            b->ops->init_rq(b->drv, &p->rq);
        q->free[depth - 1 - i] = &p->rq;
    }
    q->closing = q->waits = b->closing;
    q->gone = b->gone;
    list_push_back(&b->queues, &q->node);
}

int
bdev_queue_new(struct bdev *b, struct loop *loop, uint32_t depth, struct bdev_queue **ret)
{
    struct bdev_queue *q;
    void *pieces;
    size_t size;

    if (depth == 0 || depth > BLK_QUEUE_DEPTH_MAX)
        return -EINVAL;
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
    queue_init(q, b, loop, depth);
    *ret = q;
    return 0;
}

/* Moves every request that is not finished to the done list, failed. */
static void
fail_all(struct bdev_queue *q, int err)
{
    struct list *n;

    for (uint32_t i = 0; i < q->depth; i++) {
        struct blk_piece *p = piece_at(q, i);
        struct bdev_req *r = p->rq.parent;

        if (p->rq.held == PIECE_FREE)
            continue;
        blk_make_general(p);
        p->rq.held = PIECE_FREE;
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

void
bdev_queue_free(struct bdev_queue **pq)
{
    struct bdev_queue *q = *pq;

    if (q == NULL)
        return;
    assert(!q->delivering);
    q->closing = true;
    fail_all(q, -ENODEV);
    blk_deliver(q);
    assert(blk_outstanding(q) == 0);
    loop_defer_cancel(&q->work);
    loop_timer_stop(q->loop, &q->tick);
    loop_timer_stop(q->loop, &q->delay_timer);
    list_del(&q->node);
    blk_stats_add(&q->bdev->old_stats, q);
    free(q->pieces);
    free(q->free);
    free(q);
    *pq = NULL;
}

void
bdev_commit(struct bdev_queue *q)
{
    if (q->committed && !q->waits && !q->gone)
        return; /* as mostly, when polling */
    if ((q->waits || q->gone) && !q->delivering)
        blk_mq_dispatch_rq_list(q);
    if (!q->committed) {
        q->committed = true;
        q->bdev->ops->commit(q->bdev->drv);
    }
    if (!blk_any_done(q) && q->bdev->drained == NULL)
        loop_defer_cancel(&q->work); /* has nothing left to do */
}

uint32_t
bdev_queue_outstanding(const struct bdev_queue *q)
{
    return (uint32_t)blk_outstanding(q);
}

uint32_t
bdev_queue_depth(const struct bdev_queue *q)
{
    return q->depth;
}

int
bdev_drain(struct bdev *b, void (*drained)(void *user), void *user)
{
    b->closing = true;
    LIST_FOREACH (n, &b->queues) {
        struct bdev_queue *q = container_of(n, struct bdev_queue, node);

        q->closing = q->waits = true;
        if (blk_outstanding(q) == 0)
            continue;
        b->drained = drained;
        b->drained_user = user;
    }
    return b->drained != NULL ? -EINPROGRESS : 0;
}

const struct bdev_limits *
bdev_get_limits(const struct bdev *b)
{
    return &b->limits;
}

struct bdev *
bdev_queue_bdev(const struct bdev_queue *q)
{
    return q->bdev;
}

struct loop *
bdev_queue_loop(const struct bdev_queue *q)
{
    return q->loop;
}

void
bdev_set_timeout(struct bdev *b, uint32_t timeout_ms)
{
    /* In units of the device's timeout (SC-130 and the table of timers). */
    static const uint8_t factor[BDEV_NOPS] = {
        [BDEV_READ] = 1,         [BDEV_WRITE] = 1,         [BDEV_FLUSH] = 2, [BDEV_DISCARD] = 1,
        [BDEV_WRITE_ZEROES] = 4, [BDEV_COMPARE_WRITE] = 1, [BDEV_SCSI] = 1,
    };

    assert(timeout_ms > 0);
    for (int i = 0; i < BDEV_NOPS; i++)
        b->timeout_ns[i] = timeout_ms * LOOP_NS_PER_MS * factor[i];
}

void
bdev_get_stats(const struct bdev *b, struct bdev_stats *ret)
{
    *ret = b->old_stats;
    LIST_FOREACH (n, &b->queues) {
        blk_stats_add(ret, container_of(n, struct bdev_queue, node));
    }
}

void
bdev_listen(struct bdev *b, struct bdev_listener *l)
{
    list_push_back(&b->listeners, &l->node);
}

void
bdev_unlisten(struct bdev_listener *l)
{
    list_del(&l->node);
}
