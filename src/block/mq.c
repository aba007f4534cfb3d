/* SPDX-License-Identifier: MIT */
/* block/mq.c - the general path, for any request at any time: issue, dispatch, requeue, deadlines,
 * completion.
 *
 * The names blk_mq_… are Linux's, for what is the same there.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "block/internal.h"

static inline struct blk_piece *
blk_take_tag(struct blk_queue *q)
{
    struct blk_piece *p;

    assert(blk_any_tag(q));
    p = piece_of(*--q->top);
    assert(p->rq.state == PIECE_FREE);
    return p;
}

static void
blk_put_tag(struct blk_queue *q, struct blk_piece *p)
{
    assert(p->rq.state != PIECE_FREE && q->top < q->free + q->q.depth);
    blk_piece_clear(p);
    *q->top++ = &p->rq;
}

static void
blk_dispatch_later(struct blk_queue *q, struct blk_piece *p)
{
    assert(p->rq.state != PIECE_FREE && list_empty(&p->node));
    p->rq.state = PIECE_WAITING;
    list_push_back(&q->dispatch, &p->node);
    q->waits = true;
    loop_defer(q->q.loop, &q->work);
}

void
blk_note_issue(struct blk_queue *q, uint64_t deadline_ns)
{
    uint64_t at = q->q.loop->now_ns + blk_dev_of_queue(q)->timeout_ns;

    q->committed = false;
    if (deadline_ns < at)
        at = deadline_ns;
    if (at >= q->tick_at)
        return;
    q->tick_at = at;
    loop_timer_start(q->q.loop, &q->tick, at - q->q.loop->now_ns);
}

bool __attribute__((noinline, cold)) blk_refused(struct blk_queue *q, struct blk_piece *p, int err)
{
    assert(piece_with_driver(p) && list_empty(&p->node));
    blk_make_general(p);
    if (err != -EBUSY) {
        blk_forget_cmd(q, p);
        p->rq.result = (struct bdev_result){.err = err};
        blk_mq_complete_request(&p->rq);
        return true;
    }
    p->rq.state = PIECE_WAITING;
    if (p->watch != NULL)
        blk_watch_enter(q, p->watch, IO_STAGE_WINDOW);
    list_push_front(&q->dispatch, &p->node);
    q->busy = q->waits = true;
    q->stats.busy++;
    return false;
}

/* False where the piece reaches beyond the end of the device, which has become smaller since the
 * request was taken. */
static bool
blk_piece_in_device(const struct blk_dev *b, const struct blk_request *rq)
{
    if (rq->op == BDEV_FLUSH || rq->op == BDEV_SCSI)
        return true;
    return rq->len <= b->limits.size && rq->offset <= b->limits.size - rq->len;
}

/* Hands a piece to the driver.  Returns false when the driver refused it for now. */
static bool
blk_issue(struct blk_queue *q, struct blk_piece *p)
{
    struct blk_dev *b = blk_dev_of_queue(q);
    uint64_t start = p->rq.start_ns;
    int err;

    assert(p->rq.state == PIECE_FREE || p->rq.state == PIECE_WAITING); /* not the driver's */
    if (start == 0)
        p->rq.start_ns = q->q.loop->now_ns;
    p->rq.deadline_ns = q->q.loop->now_ns + blk_timeout_ns(b, &p->rq);
    assert(!piece_with_driver(p) && p->rq.parent != NULL);
    p->rq.state = PIECE_DRIVER;
    if (__builtin_expect(p->watch != NULL, 0))
        blk_watch_enter(q, p->watch, IO_STAGE_WINDOW);
    err = blk_piece_in_device(b, &p->rq) ? b->ops->queue_rq(b->drv, &p->rq) : -EINVAL;
    if (__builtin_expect(err != 0, 0)) {
        if (blk_refused(q, p, err))
            return true;
        p->rq.start_ns = start;
        return false;
    }
    q->stats.pieces += start == 0;
    if (__builtin_expect(p->watch != NULL, 0) && piece_with_driver(p))
        blk_watch_issued(q, p);           /* it has not ended from inside */
    blk_note_issue(q, p->rq.deadline_ns); /* the caller queues q->work */
    return true;
}

/* True when a request may go to the driver from inside bdev_submit: nothing waits before it. */
static bool
blk_may_issue(const struct blk_queue *q)
{
    return !q->busy && !q->delivering && !q->closing && !q->gone && !q->waits && blk_any_tag(q);
}

/* Counts a request that takes the general path, and begins to time it where it is its turn.  One
 * that is done without the device is never timed. */
static inline struct io_watch *
blk_watch_general(struct blk_queue *q, bool done)
{
    if (done)
        q->due++;
    else if (__builtin_expect(--q->left == 0, 0))
        return blk_watch_begin(q);
    return NULL;
}

int __attribute__((noinline)) blk_submit_general(struct blk_queue *q, struct bdev_req *r)
{
    struct blk_dev *b = blk_dev_of_queue(q);
    int err;

    assert(r->done != NULL);
    if (q->closing || q->gone)
        return q->gone ? b->gone_err : -ENODEV;
    err = blk_check(b, r);
    if (err < 0)
        return err;
    r->result = (struct bdev_result){0};
    q->nother++;
    r->watch = blk_watch_general(q, err > 0);
    list_init(&r->node);
    r->issued = 0;
    r->pieces = 0;
    r->canceled = 0;
    r->begun = false;
    if (r->op == BDEV_BLOCK_STATUS)
        r->extents_n = 0;
    if (err > 0) {
        blk_add_done(q, r);
    } else if (blk_may_issue(q) && blk_fits(b, r)) {
        struct blk_piece *p = blk_take_tag(q);

        err = blk_cut(q, r, p);
        assert(err == 0);
        TRACE(q->q.loop, blk_mq_try_issue_directly, r->op, p->rq.tag);
        p->watch = r->watch;
        r->pieces = 1;
        (void)blk_issue(q, p);
    } else {
        list_push_back(&q->pending, &r->node);
        q->waits = true;
        if (q->busy || !blk_any_tag(q))
            return 0; /* blk_restart or a completion queues work */
    }
    loop_defer(q->q.loop, &q->work);
    return 0;
}

/* That there is no session any more is not all that is to be said where some of r may have been
 * done: it says that nothing was. */
static void
blk_tell_truth(struct bdev_req *r)
{
    bool changes = r->op == BDEV_WRITE || r->op == BDEV_DISCARD || r->op == BDEV_WRITE_ZEROES ||
                   r->op == BDEV_COMPARE_WRITE;

    if (r->result.err == -ENOTCONN && r->begun && changes)
        r->result.err = -ENOLINK;
}

void
blk_finish(struct blk_queue *q, struct bdev_req *r)
{
    const struct bdev_limits *l = &blk_dev_of_queue(q)->limits;
    bool by_itself =
        r->op == BDEV_WRITE && l->fua; /* the device does FUA; WRITE SAME has no such bit */
    bool flush =
        (r->flags & BDEV_F_FUA) != 0 && l->write_cache && !by_itself && r->result.err == 0 &&
        (r->op == BDEV_WRITE || r->op == BDEV_WRITE_ZEROES || r->op == BDEV_COMPARE_WRITE) &&
        r->issued != BLK_ISSUED_FLUSH && r->len > 0;

    blk_tell_truth(r);
    if (flush && r->canceled != 0) { /* it is written, but not on stable storage */
        r->result.err = r->canceled;
        blk_add_done(q, r);
    } else if (flush) {
        r->issued = BLK_ISSUED_FLUSH;
        list_push_front(&q->pending, &r->node);
        q->waits = true;
    } else {
        blk_add_done(q, r);
    }
    loop_defer(q->q.loop, &q->work);
}

/* Cuts one piece off the first pending request and issues it.  What is left of the request goes
 * behind the others, so that a small one does not wait for all the pieces of a large one.  Returns
 * false when the driver refused the piece for now. */
static bool
blk_issue_pending(struct blk_queue *q)
{
    struct bdev_req *r = container_of(q->pending.next, struct bdev_req, node);
    struct blk_piece *p = blk_take_tag(q);
    bool fresh = r->issued == 0;
    int err = blk_cut(q, r, p);

    if (err < 0) {
        p->rq.state = PIECE_WAITING;
        blk_put_tag(q, p);
        list_del(&r->node);
        r->issued = r->len;
        if (r->result.err == 0)
            r->result.err = err;
        if (r->pieces == 0)
            blk_finish(q, r);
        return true;
    }
    r->pieces++;
    if (fresh)
        p->watch = r->watch; /* it goes along with the first piece */
    list_del(&r->node);
    if (r->issued < r->len) {
        list_push_back(&q->pending, &r->node);
        q->stats.splits += fresh;
    }
    return blk_issue(q, p);
}

/* The driver is gone: pieces and requests that it does not have fail here, since nobody else will
 * end them. */
static void
blk_fail_waiting(struct blk_queue *q)
{
    int err = blk_dev_of_queue(q)->gone_err;
    struct list *n;

    list_splice(&q->dispatch, &q->delayed);
    while ((n = list_pop_front(&q->dispatch)) != NULL) {
        struct blk_piece *p = container_of(n, struct blk_piece, node);

        p->rq.result = (struct bdev_result){.err = err};
        blk_end_piece(q, p);
    }
    while ((n = list_pop_front(&q->pending)) != NULL) {
        struct bdev_req *r = container_of(n, struct bdev_req, node);

        r->issued = r->len;
        if (r->result.err == 0)
            r->result.err = err;
        if (r->pieces == 0)
            blk_finish(q, r);
    }
}

void
blk_mq_dispatch_rq_list(struct blk_queue *q)
{
    uint32_t n = 0;

    if (__builtin_expect(q->gone, 0)) {
        blk_fail_waiting(q);
        return;
    }
    while (!q->busy) {
        struct list *node = list_pop_front(&q->dispatch);
        bool taken;

        if (node != NULL)
            taken = blk_issue(q, container_of(node, struct blk_piece, node));
        else if (!list_empty(&q->pending) && blk_any_tag(q))
            taken = blk_issue_pending(q);
        else
            break;
        n += taken;
    }
    q->waits = !list_empty(&q->dispatch) || !list_empty(&q->pending) || q->closing;
    if (n > 0)
        TRACE(q->q.loop, blk_mq_dispatch_rq_list, n, 0);
}

/* Makes the error of rq the result of its request, or that of bdev_cancel where the device did not
 * tell how rq has ended; unless another piece has failed before.  Nothing more of the request is
 * issued. */
static void
blk_keep_error(struct bdev_req *r, const struct blk_request *rq)
{
    if (r->result.err != 0)
        return;
    r->result = rq->result;
    if (r->canceled != 0 && (rq->result.host_result != DID_OK || rq->result.err == -ECANCELED))
        r->result.err = r->canceled;
    if (r->issued < r->len) {
        list_del(&r->node);
        r->issued = r->len;
    }
}

/* Where the driver has no write zeroes, they are made of ordinary writes of zero pages, one chunk
 * after the other.  True when another chunk follows in p. */
static bool
blk_more_zeroes(struct blk_queue *q, struct blk_piece *p)
{
    struct blk_request *rq = &p->rq;

    if (rq->result.err == -EOPNOTSUPP && rq->op == BDEV_WRITE_ZEROES &&
        (rq->flags & BDEV_F_FAST) == 0) {
        p->zero_end = rq->offset + rq->len;
    } else if (rq->result.err == 0 && rq->offset + rq->len < p->zero_end) {
        rq->offset += rq->len;
    } else {
        return false;
    }
    if (rq->parent->canceled != 0) {
        rq->result = (struct bdev_result){.err = rq->parent->canceled};
        return false;
    }
    rq->result = (struct bdev_result){0};
    rq->start_ns = 0;
    rq->retries = 0;
    blk_cut_zeroes(q, p);
    blk_dispatch_later(q, p);
    return true;
}

/* A device that does not tell which of its blocks have storage is taken to have it for all. */
static void
blk_all_has_storage(struct blk_request *rq)
{
    rq->parent->extents[0] = (struct bdev_extent){.len = rq->len};
    rq->parent->extents_n = 1;
    rq->result = (struct bdev_result){0};
}

void __attribute__((noinline)) blk_end_piece(struct blk_queue *q, struct blk_piece *p)
{
    struct blk_request *rq = &p->rq;
    struct bdev_req *r = rq->parent;

    assert(r->pieces > 0);
    r->begun |= rq->result.err != -ENOTCONN && rq->result.err != -EOPNOTSUPP;
    if (rq->result.err != 0 || p->zero_end != 0) {
        if (blk_more_zeroes(q, p))
            return;
        if (rq->result.err == -EOPNOTSUPP && rq->op == BDEV_DISCARD)
            rq->result = (struct bdev_result){0}; /* a discard is a hint: it may fail untold */
        if (rq->result.err == -EOPNOTSUPP && rq->op == BDEV_BLOCK_STATUS)
            blk_all_has_storage(rq);
        if (rq->result.err != 0)
            blk_keep_error(r, rq);
    } else if (r->op == BDEV_SCSI) {
        r->result = rq->result;
    }
    if (__builtin_expect(p->watch != NULL, 0))
        blk_watch_enter(q, p->watch, IO_STAGE_RECEIVE); /* for what is left of the request */
    blk_put_tag(q, p);
    if (--r->pieces == 0 && r->issued >= r->len)
        blk_finish(q, r);
    else if (!list_empty(&q->pending))
        loop_defer(q->q.loop, &q->work);
}

void
blk_drop_piece(struct blk_queue *q, struct blk_piece *p, int err)
{
    blk_forget_cmd(q, p);
    p->rq.result = (struct bdev_result){.err = err};
    blk_end_piece(q, p);
}

void
blk_mq_complete_request(struct blk_request *rq)
{
    struct blk_piece *p = piece_of(rq);
    struct blk_queue *q = blk_queue_of(rq->queue);

    assert(piece_with_driver(p) || rq->state == PIECE_KEPT);
    blk_make_general(p);
    TRACE(q->q.loop, blk_mq_complete_request, rq->op, -rq->result.err);
    q->stats.driver_ns += q->q.loop->now_ns - rq->start_ns;
    blk_end_piece(q, p);
}

void
blk_requeue(struct blk_request *rq, uint64_t delay_ns)
{
    struct blk_piece *p = piece_of(rq);
    struct blk_queue *q = blk_queue_of(rq->queue);
    const struct blk_dev *b = blk_dev_of_queue(q);

    assert(piece_with_driver(p) || rq->state == PIECE_KEPT);
    blk_make_general(p);
    q->stats.requeues++;
    if (p->watch != NULL)
        blk_watch_enter(q, p->watch, IO_STAGE_WINDOW);
    if (rq->parent->canceled != 0) {
        q->stats.driver_ns += q->q.loop->now_ns - rq->start_ns;
        blk_drop_piece(q, p, rq->parent->canceled);
        return;
    }
    if (delay_ns == 0) {
        blk_dispatch_later(q, p);
        return;
    }
    assert(list_empty(&p->node));
    rq->state = PIECE_DELAYED;
    p->due_ns = (b->still ? b->still_ns : q->q.loop->now_ns) + delay_ns;
    list_push_back(&q->delayed, &p->node);
    if (b->still && !b->gone) /* blk_clock sets the timer when it runs again */
        return;
    if (!loop_timer_running(&q->delay_timer) || p->due_ns < q->delay_timer.node.when_ns)
        loop_timer_start(q->q.loop, &q->delay_timer, delay_ns);
}

void
blk_delay_expired(struct loop_timer *t)
{
    struct blk_queue *q = container_of(t, struct blk_queue, delay_timer);
    const struct blk_dev *b = blk_dev_of_queue(q);
    uint64_t next = UINT64_MAX, now = q->q.loop->now_ns;

    if (b->still && !b->gone)
        return; /* no time passes; blk_clock sets the timer */
    LIST_FOREACH_SAFE (n, &q->delayed) {
        struct blk_piece *p = container_of(n, struct blk_piece, node);

        if (p->due_ns <= now) {
            list_del(n);
            blk_dispatch_later(q, p);
        } else if (p->due_ns < next) {
            next = p->due_ns;
        }
    }
    if (next != UINT64_MAX)
        loop_timer_start(q->q.loop, t, next - now);
    loop_defer(q->q.loop, &q->work);
}

void
blk_no_delay(struct bdev *dev)
{
    LIST_FOREACH (m, &blk_dev_of(dev)->queues) {
        struct blk_queue *q = blk_queue_of_node(m);
        struct list *n;

        while ((n = list_pop_front(&q->delayed)) != NULL)
            blk_dispatch_later(q, container_of(n, struct blk_piece, node));
    }
}

/* One timer for all pieces.  It is set to the earliest deadline among those that were outstanding
 * when it fired last; so where requests are answered it fires once in a timeout, not once in each.
 */
void
blk_tick(struct loop_timer *t)
{
    struct blk_queue *q = container_of(t, struct blk_queue, tick);
    struct blk_dev *b = blk_dev_of_queue(q);
    uint64_t now = q->q.loop->now_ns, next = UINT64_MAX;

    if (b->still &&
        !b->mute) { /* no deadline passes; blk_clock sets the timer by those that are left */
        q->tick_at = now + b->timeout_ns;
        loop_timer_start(q->q.loop, &q->tick, b->timeout_ns);
        return;
    }
    for (uint32_t i = 0; i < q->q.depth && !b->mute; i++) {
        struct blk_piece *p = piece_at(q, i);

        if (piece_with_driver(p) && blk_deadline_ns(b, &p->rq) <= now) {
            enum blk_timeout what;

            blk_make_general(p);
            q->stats.timeouts++;
            what = b->ops->timeout(b->drv, &p->rq);
            if (!piece_with_driver(p))
                continue; /* the driver has completed or requeued it from inside */
            if (what == BLK_TIMEOUT_DRIVER_HAS_IT)
                p->rq.state = PIECE_KEPT;
            else
                p->rq.deadline_ns = now + blk_timeout_ns(b, &p->rq);
        }
        if (piece_with_driver(p) && blk_deadline_ns(b, &p->rq) < next)
            next = blk_deadline_ns(b, &p->rq);
    }
    q->tick_at = next;
    if (next != UINT64_MAX)
        loop_timer_start(q->q.loop, &q->tick, next - now);
    else if (!q->committed)
        blk_note_issue(q, UINT64_MAX); /* the fast path counts on it until the next commit */
}

void
blk_deliver(struct blk_queue *q)
{
    struct bdev_req *r, *next;

    assert(!q->delivering);
    *q->done_last = NULL;
    r = q->done;
    q->done_last = &q->done;
    q->delivering = true;
    for (; r != NULL; r = next) { /* after done it is the submitter's, who may have freed it */
        next = r->next;
        q->stats.op[r->op].reqs++;
        if (__builtin_expect(r->result.err == 0, 1))
            q->stats.op[r->op].bytes += r->len;
        else
            q->stats.op[r->op].errors++;
        if (__builtin_expect(r->watch != NULL, 0))
            blk_watch_end(q, r);
        r->done(r);
    }
    q->delivering = false;
}

static bool
blk_all_done(const struct blk_dev *b)
{
    LIST_FOREACH (n, &b->queues) {
        if (blk_outstanding(blk_queue_of_node(n)) > 0)
            return false;
    }
    return true;
}

void
blk_run_work(struct loop_work *w)
{
    struct blk_queue *q = container_of(w, struct blk_queue, work);
    struct blk_dev *b = blk_dev_of_queue(q);

    if (blk_any_done(q))
        blk_deliver(q);
    if (q->waits || q->gone)
        blk_mq_dispatch_rq_list(q);
    if (!q->committed) {
        q->committed = true;
        b->ops->commit(b->drv);
    }
    if (b->drained != NULL && blk_all_done(b)) {
        void (*drained)(void *user) = b->drained;

        b->drained = NULL;
        drained(b->drained_user); /* may free b and q */
    }
}
