/* SPDX-License-Identifier: MIT */
/* block/cancel.c - ends a request before its time.
 *
 * What the driver does not have ends here and now; what it has, the driver is asked for.  Each
 * piece still ends once, by blk_end_piece, and the request with the last of them.
 */
#include <assert.h>
#include <errno.h>

#include "block/internal.h"

static bool
piece_is_of(const struct blk_piece *p, const struct bdev_req *r)
{
    return p->rq.state != PIECE_FREE && p->rq.parent == r;
}

/* True when some of r waits to be cut into pieces.  The list is searched, since the node of a
 * request that is done means something else. */
static bool
blk_is_pending(const struct blk_queue *q, const struct bdev_req *r)
{
    LIST_FOREACH (n, &q->pending) {
        if (n == &r->node)
            return true;
    }
    return false;
}

static bool
blk_has_pieces(struct blk_queue *q, const struct bdev_req *r)
{
    bool any = false;

    for (uint32_t i = 0; i < q->q.depth; i++) {
        struct blk_piece *p = piece_at(q, i);

        if (!piece_is_of(p, r))
            continue;
        blk_make_general(p); /* there is one where the request took the fast path */
        any = true;
    }
    return any;
}

static void
blk_cancel_piece(struct blk_queue *q, struct blk_piece *p, int err)
{
    struct blk_dev *b = blk_dev_of_queue(q);

    if (p->rq.state == PIECE_WAITING || p->rq.state == PIECE_DELAYED) {
        list_del(&p->node);
        blk_drop_piece(q, p, p->rq.parent->canceled);
    } else if (b->ops->cancel != NULL && !b->mute) {
        b->ops->cancel(b->drv, &p->rq, err);
    }
}

void
blk_cancel(struct bdev_queue *bq, struct bdev_req *r, int err)
{
    struct blk_queue *q = blk_queue_of(bq);
    bool issued = blk_has_pieces(q, r), pending = blk_is_pending(q, r);

    assert(err == -ECANCELED || err == -ETIMEDOUT);
    if (!issued && !pending)
        return; /* it has ended, and only waits to be delivered */
    if (r->canceled == 0)
        r->canceled = err;
    if (pending) {
        list_del(&r->node);
        r->issued = r->len;
        if (r->result.err == 0)
            r->result.err = r->canceled;
    }
    r->pieces++; /* held until all have been looked at: one that ends here may be the last */
    for (uint32_t i = 0; i < q->q.depth; i++) {
        if (piece_is_of(piece_at(q, i), r))
            blk_cancel_piece(q, piece_at(q, i), err);
    }
    if (--r->pieces == 0)
        blk_finish(q, r);
    loop_defer(q->q.loop, &q->work);
}
