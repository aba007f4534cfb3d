/* SPDX-License-Identifier: MIT */
/* block/fast.c - the fast path: a read or write that is one piece as it is, while nothing waits
 * before it, and its completion without an error (docs/design/fast.md).
 *
 * Everything else goes to mq.c.  That is decided before anything has been changed, so that nothing
 * has to be undone.
 */
#include <assert.h>

#include "block/internal.h"

/* True when a request of q may take the fast path, found from the state itself; blk_queue.not_fast
 * keeps the answer in one word.  It may where the driver may be called, nothing waits that must be
 * served before, and the work and the deadline timer have been set for an earlier request since the
 * last commit. */
static bool
blk_fast_but_for_commit_ok(const struct blk_queue *q)
{
    const struct blk_dev *b = blk_dev_of_queue(q);

    return !b->closing && !b->gone && !q->busy && !q->delivering && list_empty(&q->pending) &&
           list_empty(&q->dispatch);
}

/* True when a request of q may take the fast way, of which blk_queue.not_fast is a summary in one
 * word. The first request since the last commit has set the work and the deadline timer. */
static bool
blk_fast_ok(const struct blk_queue *q)
{
    return blk_fast_but_for_commit_ok(q) && !list_empty(&q->work.node) &&
           loop_timer_running(&q->tick);
}

/* The flags of q imply what they stand for.  Between two turns of the loop everything is committed,
 * so that not_fast is not 0; but blk_submit_other leaves `committed` out when it looks, and so does
 * this. */
static void
blk_check_flags(const struct blk_queue *q)
{
    assert(q->not_fast != 0 || blk_fast_ok(q));
    assert(q->busy || q->delivering || q->closing || q->gone || q->waits ||
           blk_fast_but_for_commit_ok(q));
}

/* Each tag is on the stack of free ones or has a piece of a request; no request has been submitted
 * a second time while the device had it. */
static void
blk_check_tags(const struct blk_queue *q)
{
    uint32_t used = 0;

    assert(q->top >= q->free && q->top <= q->free + q->q.depth);
    for (struct blk_request **rq = q->free; rq != q->top; rq++)
        assert((*rq)->state == PIECE_FREE);
    for (uint32_t i = 0; i < q->q.depth; i++) {
        const struct blk_request *rq = &piece_at(q, i)->rq;

        used += rq->state != PIECE_FREE;
        assert(piece_at(q, i)->watch == NULL ||
               (rq->state != PIECE_FREE && rq->state != PIECE_FAST));
        for (uint32_t k = 0; k < i; k++) { /* one that went fast is all of its request */
            const struct blk_request *other = &piece_at(q, k)->rq;

            if (rq->state == PIECE_FAST || other->state == PIECE_FAST)
                assert(rq->state == PIECE_FREE || other->state == PIECE_FREE ||
                       other->parent != rq->parent);
        }
    }
    assert(used == q->q.depth - (uint32_t)(q->top - q->free));
}

/* All time of what was timed was spent in some stage. */
static void
blk_check_latency(const struct bdev_latency *l)
{
    for (int c = 0; c < BDEV_CLASSES; c++) {
        uint64_t sum = 0;

        for (int s = 0; s < IO_STAGES; s++)
            sum += l->stage[c][s].sum_ns;
        assert(sum == l->total[c].sum_ns);
    }
}

void
blk_check_fast(const struct bdev *dev)
{
    struct blk_dev *b = blk_dev_of(dev);

    LIST_FOREACH (n, &b->queues) {
        struct blk_queue *q = blk_queue_of_node(n);

        blk_check_flags(q);
        blk_check_tags(q);
    }
    assert(b->fast.max <= b->limits.max_fast >> b->fast.shift);
    if (b->latency != NULL)
        blk_check_latency(b->latency);
}

/* Converts bytes to logical blocks.  The bits below a block, which are 0 in a multiple of it,
 * become the highest bits of the result.  So an offset or length that is not aligned turns into a
 * number that exceeds every limit, and the comparison with the limit is the only test that is
 * needed. */
static inline uint64_t
blk_in_blocks(uint64_t bytes, uint32_t shift)
{
    return bytes >> shift | bytes << (-shift & 63);
}

/* True for what nearly every request is: a read or write in range that is one piece of one iovec,
 * with the default timeout and no flag but BDEV_F_PROMPT.  lba and blocks are its offset and length
 * as blk_in_blocks gives them. */
static inline bool
blk_req_is_fast(const struct blk_fast *l, const struct bdev_req *r, uint64_t lba, uint64_t blocks)
{
    return (r->op_flags == bdev_op_flags(BDEV_READ, BDEV_F_PROMPT) || r->op_flags == l->write) &&
           blocks - 1 < l->max && lba <= l->blocks - blocks && r->iovcnt == 1 &&
           r->timeout_ms == 0 && r->iov->iov_len >= r->len;
}

/* The end of blk_mq_try_issue_directly where there is a trace ring.  It is out of line, so that the
 * fast path itself makes no call and saves no registers. */
static int __attribute__((noinline, cold))
blk_issue_fast_traced(struct blk_queue *q, struct bdev_req *r, struct blk_request *rq, uint64_t lba,
                      uint64_t blocks)
{
    struct blk_dev *b = blk_dev_of_queue(q);

    TRACE(q->q.loop, blk_mq_try_issue_directly, r->op, rq->tag);
    return b->queue_rq_fast(b->drv, r, rq, lba, blocks);
}

static inline int
blk_issue_fast(struct blk_queue *q, struct bdev_req *r, struct blk_request *rq, uint64_t lba,
               uint64_t blocks)
{
    struct blk_dev *b = blk_dev_of_queue(q);

    if (__builtin_expect(q->q.loop->trace != NULL, 0))
        return blk_issue_fast_traced(q, r, rq, lba, blocks);
    return b->queue_rq_fast(b->drv, r, rq, lba, blocks);
}

/* The same for a request that is to be timed.  It goes down as those around it do, and leaves the
 * fast path when the driver has taken it, so that they do not have to look whether they are timed.
 */
static int __attribute__((noinline, cold))
blk_issue_fast_watched(struct blk_queue *q, struct bdev_req *r, struct blk_request *rq,
                       uint64_t lba, uint64_t blocks)
{
    struct io_watch *w = blk_watch_begin(q);
    struct blk_piece *p = piece_of(rq);
    int err;

    p->watch = w;
    if (w != NULL)
        w->stage = IO_STAGE_WINDOW; /* it has not waited */
    err = blk_issue_fast(q, r, rq, lba, blocks);
    if (w != NULL && p->watch == w && piece_with_driver(p)) {
        blk_make_general(p);
        blk_watch_issued(q, p);
    }
    return err;
}

/* Takes a tag for r and hands it to the driver: what blk_cut and blk_issue do on the general path.
 * Reads nothing of block/'s after queue_rq_fast, so that the call is a jump. */
static inline int
blk_mq_try_issue_directly(struct blk_queue *q, struct bdev_req *r, uint64_t lba, uint64_t blocks)
{
    struct blk_request *rq = *--q->top;

    assert(rq->state == PIECE_FREE);
    r->result.not_ok = 0;
    rq->parent = r;
    rq->start_ns = q->q.loop->now_ns;
    rq->state = PIECE_FAST;
    if (__builtin_expect(--q->left == 0, 0))
        return blk_issue_fast_watched(q, r, rq, lba, blocks);
    return blk_issue_fast(q, r, rq, lba, blocks);
}

/* Takes a request that blk_submit did not send by the fast path.  Where the only reason is that it
 * is the first since the last commit, it takes the fast path after the work and the timer have been
 * set; any other takes the general path. */
static int __attribute__((noinline))
blk_submit_other(struct blk_queue *q, struct bdev_req *r, uint64_t lba, uint64_t blocks)
{
    if (q->committed) {
        q->committed = false; /* so that not_fast says what else there is */
        if (q->not_fast == 0 && blk_any_tag(q) &&
            blk_req_is_fast(&blk_dev_of_queue(q)->fast, r, lba, blocks)) {
            blk_note_issue(q, UINT64_MAX);
            loop_defer(q->q.loop, &q->work);
            return blk_mq_try_issue_directly(q, r, lba, blocks);
        }
        q->committed = true;
    }
    return blk_submit_general(q, r);
}

int
blk_submit(struct bdev_queue *bq, struct bdev_req *r)
{
    struct blk_queue *q = blk_queue_of(bq);
    const struct blk_fast *l = &blk_dev_of_queue(q)->fast;
    uint64_t lba = blk_in_blocks(r->offset, l->shift), n = blk_in_blocks(r->len, l->shift);

    if (__builtin_expect(q->not_fast != 0 || !blk_any_tag(q) || !blk_req_is_fast(l, r, lba, n), 0))
        return blk_submit_other(q, r, lba, n);
    return blk_mq_try_issue_directly(q, r, lba, n);
}

void
blk_refuse_fast(struct blk_request *rq, int err)
{
    struct blk_queue *q = blk_queue_of(rq->queue);

    assert(piece_with_driver(piece_of(rq)) && err < 0);
    q->nother++;
    if (!blk_refused(q, piece_of(rq), err))
        rq->start_ns = 0;
}

/* What blk_mq_complete_request, blk_end_piece and blk_deliver do on the general path. */
static inline void
blk_end_fast(struct blk_queue *q, struct blk_request *rq)
{
    struct bdev_req *r = rq->parent;

    rq->state = PIECE_FREE;
    *q->top++ = rq;
    q->stats.driver_ns += q->q.loop->now_ns - rq->start_ns;
    q->stats.op[r->op].reqs++;
    q->stats.op[r->op].bytes += r->len;
    r->done(r);
}

static void __attribute__((noinline, cold))
blk_end_fast_traced(struct blk_queue *q, struct blk_request *rq)
{
    TRACE(q->q.loop, blk_mq_complete_request, rq->parent->op, 0);
    blk_end_fast(q, rq);
}

void
blk_complete_fast(struct blk_request *rq)
{
    struct blk_queue *q = blk_queue_of(rq->queue);

    if (__builtin_expect(rq->state != PIECE_FAST || q->waits, 0))
        blk_mq_complete_request(rq);
    else if (__builtin_expect(q->q.loop->trace != NULL, 0))
        blk_end_fast_traced(q, rq);
    else
        blk_end_fast(q, rq);
}
