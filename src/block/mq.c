/* SPDX-License-Identifier: MIT */
/* block/mq.c - pieces on their way: issue, dispatch, requeue, deadlines, completion.
 *
 * The names blk_mq_… are Linux's, for what is the same there.
 */
#include <assert.h>
#include <errno.h>

#include "block/internal.h"

static inline struct blk_piece *
take_tag(struct bdev_queue *q)
{
    assert(blk_any_tag(q));
    return piece_of(*--q->top);
}

static void
put_tag(struct bdev_queue *q, struct blk_piece *p)
{
    assert(p->rq.held != PIECE_FREE);
    blk_rest(p);
    *q->top++ = &p->rq;
}

static void
wait_in(struct bdev_queue *q, struct blk_piece *p)
{
    p->rq.held = PIECE_WAITING;
    list_push_back(&q->dispatch, &p->node);
    q->waits = true;
    loop_defer(q->loop, &q->work);
}

/* Something is handed over whose deadline that is: the timer must run, and not later than for what
 * plain requests that follow before the next commit have for theirs. */
static void
not_committed(struct bdev_queue *q, uint64_t deadline_ns)
{
    uint64_t at = q->loop->now_ns + q->bdev->timeout_ns[BDEV_READ];

    q->committed = false;
    q->traced = q->loop->trace != NULL;
    if (deadline_ns < at)
        at = deadline_ns;
    if (at >= q->tick_at)
        return;
    q->tick_at = at;
    loop_timer_start(q->loop, &q->tick, at - q->loop->now_ns);
}

/* What queue_rq did not take: false when it is to be tried again. */
static bool __attribute__((noinline, cold))
refused(struct bdev_queue *q, struct blk_piece *p, int err)
{
    assert(piece_with_driver(p));
    blk_make_general(p);
    if (err != -EBUSY) {
        p->rq.result = (struct bdev_result){.err = err};
        blk_upcalls.complete(&p->rq);
        return true;
    }
    p->rq.held = PIECE_WAITING;
    list_push_front(&q->dispatch, &p->node);
    q->busy = q->waits = true;
    q->stats.busy++;
    return false;
}

/* Hands a piece to the driver; false when it was refused. */
static bool
issue(struct bdev_queue *q, struct blk_piece *p)
{
    struct bdev *b = q->bdev;
    uint64_t start = p->rq.start_ns;
    int err;

    if (start == 0)
        p->rq.start_ns = q->loop->now_ns;
    p->rq.deadline_ns = q->loop->now_ns + blk_timeout_ns(b, &p->rq);
    p->rq.held = PIECE_DRIVER;
    err = b->ops->queue_rq(b->drv, &p->rq);
    if (__builtin_expect(err != 0, 0)) {
        if (refused(q, p, err))
            return true;
        p->rq.start_ns = start;
        return false;
    }
    q->stats.pieces += start == 0;
    not_committed(q, p->rq.deadline_ns); /* the caller sees to work */
    return true;
}

/* In logical blocks: what is not aligned is beyond every device and every piece. */
static inline uint64_t
in_blocks(uint64_t bytes, uint32_t shift)
{
    return bytes >> shift | bytes << (-shift & 63);
}

/* A read or write that is in range and one piece of one iovec, as most are. */
static inline bool
plain(const struct blk_fast *l, const struct bdev_req *r, uint64_t lba, uint64_t blocks)
{
    return (r->op_flags == bdev_op_flags(BDEV_READ, BDEV_F_PROMPT) || r->op_flags == l->write) &&
           blocks - 1 < l->max && lba <= l->blocks - blocks && r->iovcnt == 1 &&
           r->timeout_ms == 0 && r->iov->iov_len >= r->len;
}

static void
blk_refuse_fast(struct blk_request *rq, int err)
{
    struct bdev_queue *q = rq->queue;

    assert(piece_with_driver(piece_of(rq)) && err < 0);
    q->nfast--;
    q->nother++;
    if (!refused(q, piece_of(rq), err))
        rq->start_ns = 0;
}

/* What blk_cut and issue do, for a plain request while nothing waits.  Nothing of ours is looked
 * at behind queue_rq_fast, so that there is nothing to keep. */
static inline int
blk_mq_try_issue_directly(struct bdev_queue *q, struct bdev_req *r, uint64_t lba, uint64_t blocks)
{
    struct bdev *b = q->bdev;
    struct blk_request *rq = *--q->top;

    r->result.not_ok = 0;
    rq->parent = r;
    rq->start_ns = q->loop->now_ns;
    rq->held = PIECE_FAST;
    q->nfast++;
    return b->queue_rq_fast(b->drv, r, rq, lba, blocks);
}

/* Nothing that must be served before it, or makes all wait. */
static bool
free_way(const struct bdev_queue *q)
{
    return !q->busy && !q->delivering && !q->closing && !q->gone && !q->waits && blk_any_tag(q);
}

/* Any request, at any time. */
static int __attribute__((noinline)) submit(struct bdev_queue *q, struct bdev_req *r)
{
    struct bdev *b = q->bdev;
    uint64_t lba = in_blocks(r->offset, b->fast.shift), n = in_blocks(r->len, b->fast.shift);
    int err;

    if (q->closing || q->gone)
        return -ENODEV;
    if (q->committed && free_way(q) && plain(&b->fast, r, lba, n)) {
        not_committed(q, UINT64_MAX);
        loop_defer(q->loop, &q->work);
        if (!q->traced)
            return blk_mq_try_issue_directly(q, r, lba, n);
    }
    err = blk_check(b, r);
    if (err < 0)
        return err;
    r->result = (struct bdev_result){0};
    q->nother++;
    list_init(&r->node);
    r->issued = 0;
    r->pieces = 0;
    if (err > 0) {
        blk_add_done(q, r);
    } else if (free_way(q) && blk_fits(b, r)) {
        struct blk_piece *p = take_tag(q);

        err = blk_cut(q, r, p);
        assert(err == 0);
        TRACE(q->loop, blk_mq_try_issue_directly, r->op, p->rq.tag);
        r->pieces = 1;
        (void)issue(q, p);
    } else {
        list_push_back(&q->pending, &r->node);
        q->waits = true;
        if (q->busy || !blk_any_tag(q))
            return 0; /* a restart or a completion goes on */
    }
    loop_defer(q->loop, &q->work);
    return 0;
}

int
bdev_submit(struct bdev_queue *q, struct bdev_req *r)
{
    const struct blk_fast *l = &q->bdev->fast;
    uint64_t lba = in_blocks(r->offset, l->shift), n = in_blocks(r->len, l->shift);

    if (__builtin_expect(q->stopped != 0 || !blk_any_tag(q) || !plain(l, r, lba, n), 0))
        return submit(q, r);
    return blk_mq_try_issue_directly(q, r, lba, n);
}

/* Cuts one piece off the first pending request and issues it; false when the driver refused. */
static bool
issue_pending(struct bdev_queue *q)
{
    struct bdev_req *r = container_of(q->pending.next, struct bdev_req, node);
    struct blk_piece *p = take_tag(q);
    bool fresh = r->issued == 0;

    if (blk_cut(q, r, p) < 0) {
        p->rq.held = PIECE_WAITING;
        put_tag(q, p);
        list_del(&r->node);
        r->issued = r->len;
        if (r->result.err == 0)
            r->result.err = -EINVAL;
        if (r->pieces == 0)
            blk_finish(q, r);
        return true;
    }
    r->pieces++;
    if (r->issued >= r->len)
        list_del(&r->node);
    else if (fresh)
        q->stats.splits++;
    return issue(q, p);
}

static void end_piece(struct bdev_queue *q, struct blk_piece *p);

/* The driver is gone: what it does not have fails here. */
static void
fail_waiting(struct bdev_queue *q)
{
    struct list *n;

    list_splice(&q->dispatch, &q->delayed);
    while ((n = list_pop_front(&q->dispatch)) != NULL) {
        struct blk_piece *p = container_of(n, struct blk_piece, node);

        p->rq.result = (struct bdev_result){.err = -ENODEV};
        end_piece(q, p);
    }
    while ((n = list_pop_front(&q->pending)) != NULL) {
        struct bdev_req *r = container_of(n, struct bdev_req, node);

        r->issued = r->len;
        if (r->result.err == 0)
            r->result.err = -ENODEV;
        if (r->pieces == 0)
            blk_finish(q, r);
    }
}

void
blk_mq_dispatch_rq_list(struct bdev_queue *q)
{
    uint32_t n = 0;

    if (__builtin_expect(q->gone, 0)) {
        fail_waiting(q);
        return;
    }
    while (!q->busy) {
        struct list *node = list_pop_front(&q->dispatch);
        bool taken;

        if (node != NULL)
            taken = issue(q, container_of(node, struct blk_piece, node));
        else if (!list_empty(&q->pending) && blk_any_tag(q))
            taken = issue_pending(q);
        else
            break;
        n += taken;
    }
    q->waits = !list_empty(&q->dispatch) || !list_empty(&q->pending) || q->closing;
    if (n > 0)
        TRACE(q->loop, blk_mq_dispatch_rq_list, n, 0);
}

void
blk_finish(struct bdev_queue *q, struct bdev_req *r)
{
    const struct bdev_limits *l = &q->bdev->limits;
    bool by_itself = r->op == BDEV_WRITE && l->fua; /* write same has no FUA bit */

    if ((r->flags & BDEV_F_FUA) != 0 && l->write_cache && !by_itself && r->result.err == 0 &&
        (r->op == BDEV_WRITE || r->op == BDEV_WRITE_ZEROES || r->op == BDEV_COMPARE_WRITE) &&
        r->issued != BLK_ISSUED_FLUSH && r->len > 0) {
        r->issued = BLK_ISSUED_FLUSH;
        list_push_front(&q->pending, &r->node);
        q->waits = true;
    } else {
        blk_add_done(q, r);
    }
    loop_defer(q->loop, &q->work);
}

/* The first error of a request's pieces is its result; nothing more of it is issued. */
static void
keep_error(struct bdev_req *r, const struct blk_request *rq)
{
    if (r->result.err != 0)
        return;
    r->result = rq->result;
    if (r->issued < r->len) {
        list_del(&r->node);
        r->issued = r->len;
    }
}

/* Write zeroes as ordinary writes: the next chunk of a piece, if there is one. */
static bool
more_zeroes(struct bdev_queue *q, struct blk_piece *p)
{
    struct blk_request *rq = &p->rq;

    if (rq->result.err == -EOPNOTSUPP && rq->op == BDEV_WRITE_ZEROES) {
        p->zero_end = rq->offset + rq->len;
    } else if (rq->result.err == 0 && rq->offset + rq->len < p->zero_end) {
        rq->offset += rq->len;
    } else {
        return false;
    }
    rq->result = (struct bdev_result){0};
    rq->start_ns = 0;
    rq->retries = 0;
    blk_cut_zeroes(q, p);
    wait_in(q, p);
    return true;
}

/* A piece with its result: to its parent. */
static void __attribute__((noinline)) end_piece(struct bdev_queue *q, struct blk_piece *p)
{
    struct blk_request *rq = &p->rq;
    struct bdev_req *r = rq->parent;

    if (rq->result.err != 0 || p->zero_end != 0) {
        if (more_zeroes(q, p))
            return;
        if (rq->result.err == -EOPNOTSUPP && rq->op == BDEV_DISCARD)
            rq->result = (struct bdev_result){0}; /* only a hint (SC-227) */
        if (rq->result.err != 0)
            keep_error(r, rq);
    } else if (r->op == BDEV_SCSI) {
        r->result = rq->result;
    }
    put_tag(q, p);
    assert(r->pieces > 0);
    if (--r->pieces == 0 && r->issued >= r->len)
        blk_finish(q, r);
    else if (!list_empty(&q->pending))
        loop_defer(q->loop, &q->work);
}

static void
blk_mq_complete_request(struct blk_request *rq)
{
    struct blk_piece *p = piece_of(rq);
    struct bdev_queue *q = rq->queue;

    assert(piece_with_driver(p) || rq->held == PIECE_KEPT);
    blk_make_general(p);
    TRACE(q->loop, blk_mq_complete_request, rq->op, -rq->result.err);
    q->stats.driver_ns += q->loop->now_ns - rq->start_ns;
    end_piece(q, p);
}

/* For a plain request what blk_mq_complete_request and blk_deliver do. */
static void
blk_complete_fast(struct blk_request *rq)
{
    struct bdev_queue *q = rq->queue;
    struct bdev_req *r = rq->parent;

    if (__builtin_expect(rq->held != PIECE_FAST || q->waits, 0)) {
        blk_mq_complete_request(rq);
        return;
    }
    rq->held = PIECE_FREE;
    *q->top++ = rq;
    q->stats.driver_ns += q->loop->now_ns - rq->start_ns;
    q->stats.op[r->op].reqs++;
    q->stats.op[r->op].bytes += r->len;
    r->done(r);
}

static void
blk_up_make_general(struct blk_request *rq)
{
    blk_make_general(piece_of(rq));
}

static void
blk_requeue(struct blk_request *rq, uint64_t delay_ns)
{
    struct blk_piece *p = piece_of(rq);
    struct bdev_queue *q = rq->queue;

    assert(piece_with_driver(p) || rq->held == PIECE_KEPT);
    blk_make_general(p);
    q->stats.requeues++;
    if (delay_ns == 0) {
        wait_in(q, p);
        return;
    }
    rq->held = PIECE_DELAYED;
    p->due_ns = q->loop->now_ns + delay_ns;
    list_push_back(&q->delayed, &p->node);
    if (!loop_timer_running(&q->delay_timer) || p->due_ns < q->delay_timer.node.when_ns)
        loop_timer_start(q->loop, &q->delay_timer, delay_ns);
}

void
blk_delay_expired(struct loop_timer *t)
{
    struct bdev_queue *q = container_of(t, struct bdev_queue, delay_timer);
    uint64_t next = UINT64_MAX, now = q->loop->now_ns;

    LIST_FOREACH_SAFE (n, &q->delayed) {
        struct blk_piece *p = container_of(n, struct blk_piece, node);

        if (p->due_ns <= now) {
            list_del(n);
            wait_in(q, p);
        } else if (p->due_ns < next) {
            next = p->due_ns;
        }
    }
    if (next != UINT64_MAX)
        loop_timer_start(q->loop, t, next - now);
    loop_defer(q->loop, &q->work);
}

/* One timer for all pieces: it stands at the earliest deadline when last looked, so with I/O that
 * is answered it fires once in a timeout and not once in a request. */
void
blk_tick(struct loop_timer *t)
{
    struct bdev_queue *q = container_of(t, struct bdev_queue, tick);
    struct bdev *b = q->bdev;
    uint64_t now = q->loop->now_ns, next = UINT64_MAX;

    for (uint32_t i = 0; i < q->depth && !b->gone; i++) {
        struct blk_piece *p = piece_at(q, i);

        if (piece_with_driver(p) && blk_deadline_ns(b, &p->rq) <= now) {
            enum blk_timeout what;

            blk_make_general(p);
            q->stats.timeouts++;
            what = b->ops->timeout(b->drv, &p->rq);
            if (!piece_with_driver(p))
                continue; /* completed or taken back in there */
            if (what == BLK_TIMEOUT_DRIVER_HAS_IT)
                p->rq.held = PIECE_KEPT;
            else
                p->rq.deadline_ns = now + blk_timeout_ns(b, &p->rq);
        }
        if (piece_with_driver(p) && blk_deadline_ns(b, &p->rq) < next)
            next = blk_deadline_ns(b, &p->rq);
    }
    q->tick_at = next;
    if (next != UINT64_MAX)
        loop_timer_start(q->loop, &q->tick, next - now);
    else if (!q->committed)
        not_committed(q, UINT64_MAX); /* plain requests that follow count on it */
}

static void
blk_restart(struct bdev *b)
{
    LIST_FOREACH (n, &b->queues) {
        struct bdev_queue *q = container_of(n, struct bdev_queue, node);

        if (q->busy) {
            q->busy = false;
            loop_defer(q->loop, &q->work);
        }
    }
}

static void
gone(struct bdev *b)
{
    b->gone = true;
    LIST_FOREACH (n, &b->queues) {
        struct bdev_queue *q = container_of(n, struct bdev_queue, node);

        q->gone = true;
        q->committed = true;
        loop_defer(q->loop, &q->work);
    }
}

static void
blk_event(struct bdev *b, enum bdev_event ev, const struct bdev_limits *limits)
{
    if (ev == BDEV_EV_GONE)
        gone(b);
    else if (limits != NULL && blk_set_limits(b, limits) < 0) {
        b->fast.max = 0; /* the driver goes by others now */
        return;
    }
    LIST_FOREACH_SAFE (n, &b->listeners) {
        struct bdev_listener *l = container_of(n, struct bdev_listener, node);

        l->event(l, b, ev);
    }
}

const struct blk_upcalls blk_upcalls = {
    .complete = blk_mq_complete_request,
    .complete_fast = blk_complete_fast,
    .make_general = blk_up_make_general,
    .refuse_fast = blk_refuse_fast,
    .requeue = blk_requeue,
    .restart = blk_restart,
    .event = blk_event,
};

void
blk_deliver(struct bdev_queue *q)
{
    struct bdev_req *r, *next;

    *q->done_last = NULL;
    r = q->done;
    q->done_last = &q->done;
    q->delivering = true;
    for (; r != NULL; r = next) { /* each is the submitter's again, and may be gone, after done */
        next = r->next;
        q->stats.op[r->op].reqs++;
        if (__builtin_expect(r->result.err == 0, 1))
            q->stats.op[r->op].bytes += r->len;
        else
            q->stats.op[r->op].errors++;
        r->done(r);
    }
    q->delivering = false;
}

static bool
all_done(const struct bdev *b)
{
    LIST_FOREACH (n, &b->queues) {
        if (blk_outstanding(container_of(n, struct bdev_queue, node)) > 0)
            return false;
    }
    return true;
}

void
blk_run_work(struct loop_work *w)
{
    struct bdev_queue *q = container_of(w, struct bdev_queue, work);
    struct bdev *b = q->bdev;

    if (blk_any_done(q))
        blk_deliver(q);
    if (q->waits || q->gone)
        blk_mq_dispatch_rq_list(q);
    if (!q->committed) {
        q->committed = true;
        b->ops->commit(b->drv);
    }
    if (b->drained != NULL && all_done(b)) {
        void (*drained)(void *user) = b->drained;

        b->drained = NULL;
        drained(b->drained_user); /* may free b and q */
    }
}
