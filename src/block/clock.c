/* SPDX-License-Identifier: MIT */
/* block/clock.c - the clock of a device, which stands still while the way to it is being recovered.
 *
 * All pieces are moved when it runs again, so that nothing need be asked where no connection is
 * lost.
 */
#include "block/internal.h"

/* Moves the times of p by how long the clock has stood still since p came to the driver. */
static void
blk_piece_move(struct blk_piece *p, uint64_t since_ns, uint64_t now)
{
    struct blk_request *rq = &p->rq;
    uint64_t by = now - (rq->start_ns > since_ns ? rq->start_ns : since_ns);

    if (rq->state == PIECE_FREE || rq->start_ns == 0)
        return;
    rq->start_ns += by;
    if (rq->state == PIECE_DRIVER)
        rq->deadline_ns += by;
}

/* Moves the pieces of q, and sets the timer by their deadlines; and so that the fast path may count
 * on it until the next commit. */
static void
blk_queue_move(struct blk_queue *q, uint64_t since_ns)
{
    struct blk_dev *b = blk_dev_of_queue(q);
    uint64_t now = q->q.loop->now_ns, next = now + b->timeout_ns;

    for (uint32_t i = 0; i < q->q.depth; i++) {
        struct blk_piece *p = piece_at(q, i);

        blk_piece_move(p, since_ns, now);
        if (p->rq.state == PIECE_DELAYED)
            p->due_ns += now - since_ns;
        if (piece_with_driver(p) && blk_deadline_ns(b, &p->rq) < next)
            next = blk_deadline_ns(b, &p->rq);
    }
    if (!list_empty(&q->delayed))
        loop_timer_start(q->q.loop, &q->delay_timer, 0); /* finds out when the first is due */
    if (!loop_timer_running(&q->tick))
        return;
    q->tick_at = next;
    loop_timer_start(q->q.loop, &q->tick, next > now ? next - now : 0);
}

void
blk_clock(struct bdev *dev, bool runs)
{
    struct blk_dev *b = blk_dev_of(dev);

    if (b->still == !runs)
        return;
    b->still = !runs;
    if (!runs) {
        b->still_ns =
            list_empty(&b->queues) ? 0 : blk_queue_of_node(b->queues.next)->q.loop->now_ns;
        return;
    }
    LIST_FOREACH (n, &b->queues) {
        blk_queue_move(blk_queue_of_node(n), b->still_ns);
    }
}
