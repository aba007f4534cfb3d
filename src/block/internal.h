/* SPDX-License-Identifier: MIT */
/* block/internal.h - what the files of block/ share. */
#ifndef BLOCK_INTERNAL_H
#define BLOCK_INTERNAL_H

#include <assert.h>
#include <string.h>

#include "block/block.h"

#define BLK_ZERO_PAGE   4096u
#define BLK_ZERO_IOVS   64u /* zero pages in one ordinary write that stands for write zeroes */
#define BLK_WATCHES     16u /* requests of a queue that are timed at a time, at most */
#define BLK_WATCH_NEVER (UINT64_MAX / 2)
#define BLK_WATCH_NS    (20 * LOOP_NS_PER_MS)
#define BLK_ISSUED_FLUSH                                                                           \
    UINT64_MAX /* bdev_req.issued: the flush behind a FUA write is under way                       \
                */

/* blk_request.state: who has the piece. */
enum piece_state {
    PIECE_FREE,
    PIECE_WAITING, /* on the dispatch list */
    PIECE_DELAYED, /* on the delayed list */
    PIECE_DRIVER,  /* handed over, deadline running */
    PIECE_FAST, /* handed over by queue_rq_fast: not set are the members that it leaves unset, the
                   deadline, and `issued` and `pieces` of the request */
    PIECE_KEPT, /* handed over, deadline passed: the driver deals with it */
};

/* The memory of a tag.  What block/ rarely uses has a cache line of its own.  Then come the part of
 * seam/bdev.h and the driver's, so that both begin at the same place of a line for each tag. */
struct blk_piece {
    _Alignas(64) struct list node; /* dispatch or delayed */
    uint64_t due_ns;               /* PIECE_DELAYED: issue again then */
    uint64_t zero_end; /* write zeroes that became writes, chunk by chunk: where the last one ends;
                          else 0 */
    struct io_watch *watch;             /* NULL: none goes along */
    _Alignas(64) struct blk_request rq; /* last, but for padding */
};
_Static_assert(offsetof(struct blk_piece, rq) == 64, "one line");
#define BLK_PIECE_SIZE (offsetof(struct blk_piece, rq) + sizeof(struct blk_request))

/* What the fast path compares a request with; follows from the limits. */
struct blk_fast {
    uint64_t blocks, max; /* logical blocks: of the device, of one piece */
    uint64_t write;       /* bdev_req.op_flags of a write, or of a read where it is read-only */
    uint32_t shift;       /* log2 of the logical block */
};

/* A request that is timed. */
struct blk_watch {
    struct io_watch io;
    uint64_t weight; /* requests that it stands for; 0: the place is free */
};

struct blk_queue {
    struct bdev_queue q;              /* first: a struct bdev_queue * points here */
    struct blk_request **free, **top; /* a stack of free tags, and its end.  The tag that was freed
                                         last is taken next, since its memory is in the cache */
    union {
        struct {
            bool busy;       /* the driver refused; blk_restart follows */
            bool delivering; /* done callbacks are being called */
            bool closing;    /* takes no new requests */
            bool gone;       /* the driver gets no more pieces */
            bool waits;      /* pending or dispatch may hold something, or a drain waits */
            bool committed;  /* nothing has been handed over since the last commit.  Whoever hands
                                over next queues the work and sets the deadline timer; those who
                                follow until the next commit need not */
        };
        uint64_t not_fast; /* all of them read as one word: 0 says that no reason is left to take
                              the general path, which blk_fast_ok() finds by looking */
    };
    /* Requests taken until the next one that is timed, and how many will have been taken then: the
     * fast path counts with one instruction what it has taken, and finds out whether to time it. */
    uint64_t left, due;
    uint64_t nother;  /* requests taken and not handed to queue_rq_fast */
    uint64_t tick_at; /* when the deadline timer fires; UINT64_MAX: it does not run */
    struct bdev_req *done, **done_last; /* requests that are finished and whose done has not been
                                           called, in order; `next` of the last one is not set */
    struct loop_work work;
    struct bdev_stats stats; /* `pieces` counts none that was handed to queue_rq_fast; blk_stats_add
                                adds those */
    struct list node;        /* of the device */
    uint64_t watched, watched_ns; /* blk_taken and the loop's clock when one was timed last */
    uint64_t watch_batch;         /* as many requests as may come in a batch */
    uint64_t dice;
    struct list pending;  /* bdev_req of which some is still to be cut into pieces */
    struct list dispatch; /* blk_piece that the driver refused or gave back: issued first */
    struct list delayed;  /* blk_piece */
    uint8_t *pieces;
    size_t stride; /* bytes from one blk_piece to the next */
    struct loop_timer tick, delay_timer, watch_timer;
    struct blk_watch watch[BLK_WATCHES];
};

struct blk_dev {
    struct bdev b; /* first: a struct bdev * points here */
    int (*queue_rq_fast)(void *drv, const struct bdev_req *r, struct blk_request *rq, uint64_t lba,
                         uint64_t blocks); /* that of ops */
    void *drv;
    struct blk_fast fast;
    const struct bdev_driver_ops *ops;
    struct bdev_limits limits;
    uint64_t timeout_ns; /* of reads that do not say: bdev_time_limits of others */
    bool closing, gone;  /* as in its queues */
    bool mute;           /* the driver is not called any more, for nothing */
    bool still;          /* its clock stands still, since still_ns */
    int gone_err;        /* what is refused because it is gone */
    uint64_t still_ns;
    struct list queues;
    void (*drained)(void *user); /* NULL: nobody waits */
    void *drained_user;
    struct bdev_stats old_stats;  /* of queues freed */
    uint32_t watch_every;         /* 0: no request is timed */
    bool watch_few;               /* with few requests, more of them are timed */
    struct bdev_latency *latency; /* made when the first request is timed */
};

static inline struct blk_queue *
blk_queue_of(struct bdev_queue *q)
{
    return container_of(q, struct blk_queue, q);
}

static inline struct blk_dev *
blk_dev_of(const struct bdev *b)
{
    return (struct blk_dev *)(uintptr_t)b;
}

static inline struct blk_dev *
blk_dev_of_queue(const struct blk_queue *q)
{
    return blk_dev_of(q->q.bdev);
}

static inline struct blk_queue *
blk_queue_of_node(struct list *n)
{
    return container_of(n, struct blk_queue, node);
}

static inline struct blk_piece *
piece_of(struct blk_request *rq)
{
    return container_of(rq, struct blk_piece, rq);
}

static inline bool
piece_with_driver(const struct blk_piece *p)
{
    return p->rq.state == PIECE_DRIVER || p->rq.state == PIECE_FAST;
}

static inline uint64_t
blk_timeout_ns(const struct blk_dev *b, const struct blk_request *rq)
{
    uint64_t ms = rq->parent->timeout_ms;

    return ms == 0 ? bdev_time_limits(rq->op) * b->timeout_ns : ms * LOOP_NS_PER_MS;
}

static inline uint64_t
blk_deadline_ns(const struct blk_dev *b, const struct blk_request *rq)
{
    return rq->state == PIECE_FAST ? rq->start_ns + b->timeout_ns : rq->deadline_ns;
}

/* Sets the fields that the fast path left unset, before anything happens to p but its completion
 * without an error. */
static inline void
blk_make_general(struct blk_piece *p)
{
    struct bdev_req *r = p->rq.parent;

    if (p->rq.state != PIECE_FAST)
        return;
    p->rq.deadline_ns = blk_deadline_ns(blk_dev_of(p->rq.queue->bdev), &p->rq);
    p->rq.state = PIECE_DRIVER;
    p->rq.op = r->op;
    p->rq.flags = r->flags;
    p->rq.offset = r->offset;
    p->rq.len = r->len;
    p->rq.data = sg_from_iov(r->iov, 1, 0, (uint32_t)r->len);
    r->issued = r->len;
    r->pieces = 1;
    r->canceled = 0;
    r->begun = false;
    r->watch = p->watch;
    list_init(&r->node);
}

/* Puts r on the done list.  The caller queues the work that delivers it. */
static inline void
blk_add_done(struct blk_queue *q, struct bdev_req *r)
{
    assert(r->pieces == 0);
    *q->done_last = r;
    q->done_last = &r->next;
}

static inline bool
blk_any_done(const struct blk_queue *q)
{
    return q->done_last != &q->done;
}

/* Requests that q has taken. */
static inline uint64_t
blk_taken(const struct blk_queue *q)
{
    return q->due - q->left;
}

static inline bool
blk_any_tag(const struct blk_queue *q)
{
    return q->top != q->free;
}

static inline struct blk_piece *
piece_at(const struct blk_queue *q, uint32_t tag)
{
    return (struct blk_piece *)(void *)(q->pieces + tag * q->stride);
}

/* What the fast path takes for granted of a tag that is not in use. */
static inline void
blk_piece_clear(struct blk_piece *p)
{
    p->rq.state = PIECE_FREE;
    p->rq.retries = 0;
    p->rq.result = (struct bdev_result){0};
    p->watch = NULL;
    p->zero_end = 0;
}

/* Makes the driver's part of a tag, which is all zero, ready for use. */
static inline void
blk_init_cmd(struct blk_queue *q, struct blk_piece *p)
{
    struct blk_dev *b = blk_dev_of_queue(q);

    if (b->ops->init_rq != NULL)
        b->ops->init_rq(b->drv, &p->rq);
}

/* The driver does not see the piece any more: what it has stored in its part, when it refused the
 * piece or gave it back, was meant for the next time, and the tag is used again. */
static inline void
blk_forget_cmd(struct blk_queue *q, struct blk_piece *p)
{
    memset(blk_request_cmd(&p->rq), 0, blk_dev_of_queue(q)->ops->cmd_size);
    blk_init_cmd(q, p);
}

/* ---- split.c ---- */

/* Checks r against the limits.  Returns 0, -errno as bdev_submit does, or 1 where r is done without
 * the device. */
int blk_check(const struct blk_dev *b, const struct bdev_req *r);

/* Makes p the next piece of r and moves r->issued on.  Returns 0; -EINVAL when max_sg iovecs of r
 * hold less than a logical block, so that the driver cannot take it; or -EOPNOTSUPP when the device
 * has no write zeroes any more, and they may not become writes. */
int blk_cut(struct blk_queue *q, struct bdev_req *r, struct blk_piece *p);

/* True when all of r fits into one piece. */
bool blk_fits(const struct blk_dev *b, const struct bdev_req *r);

/* Makes p an ordinary write of zeroes that begins at p->rq.offset and ends at p->zero_end at most.
 */
void blk_cut_zeroes(struct blk_queue *q, struct blk_piece *p);

/* ---- limits.c ---- */

/* Checks the limits and takes them over, or returns -EINVAL and changes nothing. */
int blk_set_limits(struct blk_dev *b, const struct bdev_limits *limits);

/* ---- count.c ---- */

/* Adds the counters of q to those in `to`. */
void blk_stats_add(struct bdev_stats *to, const struct blk_queue *q);

/* The number of requests that q has taken and not given back. */
uint64_t blk_outstanding(const struct blk_queue *q);

/* ---- watch.c ---- */

/* The countdown of q begins. */
void blk_watch_start(struct blk_queue *q);
/* The timer of the countdown. */
void blk_watch_expired(struct loop_timer *t);
/* q->left has come to 0: the request that has just been taken is to be timed.  Returns the watch,
 * in the stage QUEUE, or NULL: this one is not timed. */
struct io_watch *blk_watch_begin(struct blk_queue *q);
/* The driver has taken p, which has a watch, and has it still. */
void blk_watch_issued(struct blk_queue *q, struct blk_piece *p);
/* The driver has given up the request of w, and nobody below knows of it any more. */
void blk_watch_enter(struct blk_queue *q, struct io_watch *w, enum io_stage stage);
/* r, which has a watch, is completed: its times are counted. */
void blk_watch_end(struct blk_queue *q, struct bdev_req *r);
/* As bdev_get_latency and bdev_set_watch. */
const struct bdev_latency *blk_latency(const struct bdev *dev);
void blk_set_watch(struct bdev *dev, uint32_t every, bool few);

/* ---- clock.c ---- */

/* The up-call clock. */
void blk_clock(struct bdev *dev, bool runs);

/* ---- mq.c: the general path ---- */

/* As bdev_submit, for any request in any state of the queue. */
int blk_submit_general(struct blk_queue *q, struct bdev_req *r);
void blk_mq_dispatch_rq_list(struct blk_queue *q);

/* Called when a piece with that deadline is handed over (UINT64_MAX: by the fast path, with the
 * default time limit).  Sets the timer so that it fires by then, and by the deadlines of all pieces
 * that take the fast path before the next commit, since those do not set it. */
void blk_note_issue(struct blk_queue *q, uint64_t deadline_ns);

/* Deals with a piece that queue_rq or queue_rq_fast has refused with err.  False: it will be tried
 * again; true: it has ended. */
bool blk_refused(struct blk_queue *q, struct blk_piece *p, int err);
/* The up-calls complete and requeue. */
void blk_mq_complete_request(struct blk_request *rq);
void blk_requeue(struct blk_request *rq, uint64_t delay_ns);
/* The up-call no_delay. */
void blk_no_delay(struct bdev *dev);

/* A piece has its result: takes it over into the request, and frees the tag. */
void blk_end_piece(struct blk_queue *q, struct blk_piece *p);
/* Ends a piece that the driver has given back, or has never had, with err. */
void blk_drop_piece(struct blk_queue *q, struct blk_piece *p, int err);
/* All pieces of r have ended: puts r on the done list, or first sees to the flush that a FUA
 * request needs where the device has no FUA. */
void blk_finish(struct blk_queue *q, struct bdev_req *r);

/* Calls done of everything on the done list. */
void blk_deliver(struct blk_queue *q);

void blk_run_work(struct loop_work *w);
void blk_tick(struct loop_timer *t);
void blk_delay_expired(struct loop_timer *t);

/* ---- cancel.c ---- */

/* As bdev_cancel. */
void blk_cancel(struct bdev_queue *q, struct bdev_req *r, int err);

/* ---- fast.c: the fast path ---- */

/* As bdev_submit, for everything: what is not for the fast path goes to blk_submit_general. */
int blk_submit(struct bdev_queue *q, struct bdev_req *r);
/* The up-calls complete_fast and refuse_fast. */
void blk_complete_fast(struct blk_request *rq);
void blk_refuse_fast(struct blk_request *rq, int err);

#endif
