/* SPDX-License-Identifier: MIT */
/* block/internal.h - what the files of block/ share. */
#ifndef BLOCK_INTERNAL_H
#define BLOCK_INTERNAL_H

#include "block/block.h"

#define BLK_ZERO_PAGE 4096u
#define BLK_ZERO_IOVS 64u /* zero pages in one ordinary write that stands for write zeroes */
#define BLK_ISSUED_FLUSH                                                                           \
    UINT64_MAX /* bdev_req.issued: the flush behind a FUA write is under way                       \
                */

/* blk_request.held: who has the piece. */
enum piece_state {
    PIECE_FREE,
    PIECE_WAITING, /* on the dispatch list */
    PIECE_DELAYED, /* on the delayed list */
    PIECE_DRIVER,  /* handed over, deadline running */
    PIECE_FAST, /* likewise, by queue_rq_fast: not set are what a driver does not get laid out, its
                    deadline, and `issued` and `pieces` of its parent */
    PIECE_KEPT, /* handed over, deadline passed: the driver deals with it */
};

/* A tag's memory: what is rarely used of ours in a cache line of its own, then the contract's part,
 * then the driver's, so that both begin at the same place of a line for each tag. */
struct blk_piece {
    _Alignas(64) struct list node; /* dispatch or delayed */
    uint64_t due_ns;               /* PIECE_DELAYED: issue again then */
    uint64_t zero_end; /* write zeroes that became writes, chunk by chunk: end; else 0 */
    _Alignas(64) struct blk_request rq; /* last, but for padding */
};
_Static_assert(offsetof(struct blk_piece, rq) == 64, "one line");
#define BLK_PIECE_SIZE (offsetof(struct blk_piece, rq) + sizeof(struct blk_request))

/* In-range reads and writes up to that size, of one iovec, are issued without a further look. */
struct blk_fast {
    uint64_t blocks, max; /* logical blocks: of the device, of one piece */
    uint64_t write;       /* bdev_req.op_flags of a write, or of a read where it is read-only */
    uint32_t shift;       /* log2 of the logical block */
};

struct bdev_queue {
    struct bdev *bdev;
    struct loop *loop;
    struct blk_request **free, **top; /* a stack of tags and where it ends: the last one used is
                                         the one in the cache */
    uint32_t depth;
    union { /* why bdev_submit must not issue by itself: one look */
        struct {
            bool busy;       /* the driver refused; blk_restart follows */
            bool delivering; /* done callbacks are being called */
            bool closing;    /* takes no new requests */
            bool gone;       /* the driver is not called any more */
            bool waits;      /* something is on pending or dispatch, or was when last looked; or
                                somebody waits for the end of all: completions are looked at */
            bool traced;     /* the loop had a ring of trace points when last looked */
            bool committed;  /* nothing has been handed over since the last commit: now work must
                                be queued and the deadline timer looked at, and once is enough */
        };
        uint64_t stopped;
    };
    uint64_t nfast, nother; /* requests taken: handed to queue_rq_fast, all others */
    uint64_t tick_at;       /* when the deadline timer fires; UINT64_MAX: it does not run */
    struct bdev_req *done, **done_last; /* finished, done not called: in order; the last is not
                                           terminated */
    struct loop_work work;
    struct bdev_stats stats; /* pieces: but for nfast; see blk_stats */
    struct list node;        /* of the bdev */
    struct list pending;     /* bdev_req: not, or not wholly, cut into pieces */
    struct list dispatch;    /* blk_piece: refused or taken back, to be issued first */
    struct list delayed;     /* blk_piece */
    uint8_t *pieces;
    size_t stride;
    struct loop_timer tick, delay_timer;
};

struct bdev {
    const struct bdev_driver_ops *ops;
    int (*queue_rq_fast)(void *drv, const struct bdev_req *r, struct blk_request *rq, uint64_t lba,
                         uint64_t blocks); /* that of ops */
    void *drv;
    struct blk_fast fast; /* follows from the limits */
    struct bdev_limits limits;
    uint64_t timeout_ns[BDEV_NOPS]; /* for requests that do not say */
    bool closing, gone;             /* as in its queues */
    struct list queues, listeners;
    void (*drained)(void *user);
    void *drained_user;
    struct bdev_stats old_stats;          /* of queues freed */
    struct iovec zero_iov[BLK_ZERO_IOVS]; /* the same page again and again */
};

static inline struct blk_piece *
piece_of(struct blk_request *rq)
{
    return container_of(rq, struct blk_piece, rq);
}

static inline bool
piece_with_driver(const struct blk_piece *p)
{
    return p->rq.held == PIECE_DRIVER || p->rq.held == PIECE_FAST;
}

static inline uint64_t
blk_timeout_ns(const struct bdev *b, const struct blk_request *rq)
{
    uint64_t ms = rq->parent->timeout_ms;

    return ms == 0 ? b->timeout_ns[rq->op] : ms * LOOP_NS_PER_MS;
}

static inline uint64_t
blk_deadline_ns(const struct bdev *b, const struct blk_request *rq)
{
    return rq->held == PIECE_FAST ? rq->start_ns + b->timeout_ns[rq->parent->op] : rq->deadline_ns;
}

/* Something happens to p that is not foreseen for one that is all of its request. */
static inline void
blk_make_general(struct blk_piece *p)
{
    struct bdev_req *r = p->rq.parent;

    if (p->rq.held != PIECE_FAST)
        return;
    p->rq.deadline_ns = blk_deadline_ns(p->rq.queue->bdev, &p->rq);
    p->rq.held = PIECE_DRIVER;
    p->rq.op = r->op;
    p->rq.flags = r->flags;
    p->rq.offset = r->offset;
    p->rq.len = r->len;
    p->rq.data = sg_from_iov(r->iov, 1, 0, (uint32_t)r->len);
    r->issued = r->len;
    r->pieces = 1;
    list_init(&r->node);
}

/* Onto the done list; the work that delivers is the caller's to queue. */
static inline void
blk_add_done(struct bdev_queue *q, struct bdev_req *r)
{
    *q->done_last = r;
    q->done_last = &r->next;
}

static inline bool
blk_any_done(const struct bdev_queue *q)
{
    return q->done_last != &q->done;
}

static inline bool
blk_any_tag(const struct bdev_queue *q)
{
    return q->top != q->free;
}

static inline struct blk_piece *
piece_at(const struct bdev_queue *q, uint32_t tag)
{
    return (struct blk_piece *)(void *)(q->pieces + tag * q->stride);
}

/* Checks r against the limits: 0, -errno as bdev_submit, or 1: done without the device. */
int blk_check(const struct bdev *b, const struct bdev_req *r);

/* Lays the next piece of r out in p and moves r->issued.  0, or -EINVAL when the memory of r is
 * in too small pieces for the driver. */
int blk_cut(struct bdev_queue *q, struct bdev_req *r, struct blk_piece *p);

/* True when one piece takes all of r. */
bool blk_fits(const struct bdev *b, const struct bdev_req *r);

/* Lays the next chunk of zeroes from p->rq.offset to p->zero_end out as an ordinary write. */
void blk_cut_zeroes(struct bdev_queue *q, struct blk_piece *p);

/* What the short way down takes for granted of a tag that is not in use. */
static inline void
blk_rest(struct blk_piece *p)
{
    p->rq.held = PIECE_FREE;
    p->rq.retries = 0;
    p->rq.result = (struct bdev_result){0};
    p->zero_end = 0;
}

void blk_mq_dispatch_rq_list(struct bdev_queue *q);

/* The end of a request: onto the done list. */
void blk_finish(struct bdev_queue *q, struct bdev_req *r);

/* Calls done of everything on the done list. */
void blk_deliver(struct bdev_queue *q);

/* Takes checked limits; -EINVAL when they make no sense, nothing changed. */
int blk_set_limits(struct bdev *b, const struct bdev_limits *limits);

/* Adds what q has counted. */
void blk_stats_add(struct bdev_stats *to, const struct bdev_queue *q);

/* Requests taken and not given back. */
uint64_t blk_outstanding(const struct bdev_queue *q);

void blk_run_work(struct loop_work *w);
void blk_tick(struct loop_timer *t);
void blk_delay_expired(struct loop_timer *t);

#endif
