/* SPDX-License-Identifier: MIT */
/* block/upcalls.c - the table of functions that a driver calls, and those of them that concern the
 * device as a whole. */
#include <errno.h>

#include "block/internal.h"

static void
blk_up_make_general(struct blk_request *rq)
{
    blk_make_general(piece_of(rq));
}

static void
blk_restart(struct bdev *dev)
{
    LIST_FOREACH (n, &blk_dev_of(dev)->queues) {
        struct blk_queue *q = blk_queue_of_node(n);

        if (q->busy) {
            q->busy = false;
            loop_defer(q->q.loop, &q->work);
        }
    }
}

static void
blk_gone(struct blk_dev *b, int err)
{
    if (!b->gone)
        b->gone_err = err;
    b->gone = true;
    LIST_FOREACH (n, &b->queues) {
        struct blk_queue *q = blk_queue_of_node(n);

        q->gone = true;
        q->committed = true;
        loop_defer(q->q.loop, &q->work);
    }
}

static void
blk_event(struct bdev *dev, enum bdev_event ev, const struct bdev_limits *limits)
{
    struct blk_dev *b = blk_dev_of(dev);

    if (ev == BDEV_EV_GONE) {
        b->mute = true;
        blk_gone(b, -ENODEV);
    } else if (limits != NULL && blk_set_limits(b, limits) < 0) {
        /* The new limits of the driver make no sense and were not taken: it must see each request
         * by queue_rq. */
        b->fast.max = 0;
        return;
    }
    bdev_tell(dev, ev);
}

static void
blk_up_gone(struct bdev *dev, int err)
{
    blk_gone(blk_dev_of(dev), err);
    bdev_tell(dev, BDEV_EV_GONE);
}

const struct blk_upcalls blk_upcalls = {
    .complete = blk_mq_complete_request,
    .complete_fast = blk_complete_fast,
    .make_general = blk_up_make_general,
    .refuse_fast = blk_refuse_fast,
    .requeue = blk_requeue,
    .restart = blk_restart,
    .event = blk_event,
    .gone = blk_up_gone,
    .clock = blk_clock,
    .no_delay = blk_no_delay,
};
