/* SPDX-License-Identifier: MIT */
/* block/fast.h - the fast way down through block/, for a read or write that is one piece as it is
 * (docs/design/fast.md). */
#ifndef BLOCK_FAST_H
#define BLOCK_FAST_H

#include "block/internal.h"

/* Bytes in logical blocks.  The low bits of bytes, which are 0 where it is a multiple of the block,
 * become the high bits of the result: what is not aligned is larger than any device. */
static inline uint64_t
blk_in_blocks(uint64_t bytes, uint32_t shift)
{
    return bytes >> shift | bytes << (-shift & 63);
}

/* A read or write in range that is one piece of one iovec and asks for nothing else, as most do.
 * lba and blocks are its offset and length by blk_in_blocks. */
static inline bool
blk_req_is_fast(const struct blk_fast *l, const struct bdev_req *r, uint64_t lba, uint64_t blocks)
{
    return (r->op_flags == bdev_op_flags(BDEV_READ, BDEV_F_PROMPT) || r->op_flags == l->write) &&
           blocks - 1 < l->max && lba <= l->blocks - blocks && r->iovcnt == 1 &&
           r->timeout_ms == 0 && r->iov->iov_len >= r->len;
}

/* The end of blk_mq_try_issue_directly where there is a trace ring.  Out of line, so that the fast
 * way itself calls nothing and keeps nothing. */
int blk_issue_fast_traced(struct blk_queue *q, struct bdev_req *r, struct blk_request *rq,
                          uint64_t lba, uint64_t blocks);

/* Takes a tag for r and hands it to the driver: what blk_cut and blk_issue do on the general way.
 * Reads nothing of block/'s after queue_rq_fast, so that the call is a jump. */
static inline int
blk_mq_try_issue_directly(struct blk_queue *q, struct bdev_req *r, uint64_t lba, uint64_t blocks)
{
    struct blk_dev *b = blk_dev_of_queue(q);
    struct blk_request *rq = *--q->top;

    r->result.not_ok = 0;
    rq->parent = r;
    rq->start_ns = q->q.loop->now_ns;
    rq->state = PIECE_FAST;
    q->nfast++;
    if (__builtin_expect(q->q.loop->trace != NULL, 0))
        return blk_issue_fast_traced(q, r, rq, lba, blocks);
    return b->queue_rq_fast(b->drv, r, rq, lba, blocks);
}

#endif
