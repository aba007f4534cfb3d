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

enum piece_state {
    PIECE_FREE,
    PIECE_WAITING, /* on the dispatch list */
    PIECE_DELAYED, /* on the delayed list */
    PIECE_DRIVER,  /* handed over, deadline running */
    PIECE_KEPT,    /* handed over, deadline passed: the driver deals with it */
};

/* A tag's memory: ours, then the contract's part, then the driver's. */
struct blk_piece {
    uint64_t due_ns;   /* PIECE_DELAYED: issue again then */
    uint64_t zero_end; /* write zeroes that became writes, chunk by chunk: end; else 0 */
    enum piece_state state;
    struct blk_request rq; /* last */
};

struct bdev_queue {
    struct bdev *bdev;
    struct loop *loop;
    struct list node; /* of the bdev */
    uint32_t depth, nfree;
    uint32_t *free; /* a stack of tags: the last one used is the one in the cache */
    uint8_t *pieces;
    size_t stride;
    struct list pending;  /* bdev_req: not, or not wholly, cut into pieces */
    struct list dispatch; /* blk_request: refused or taken back, to be issued first */
    struct list delayed;  /* blk_request */
    struct list done;     /* bdev_req: finished, done not called */
    bool need_commit;
    union { /* why bdev_submit must not issue by itself: one look */
        struct {
            bool busy;       /* the driver refused; blk_restart follows */
            bool delivering; /* done callbacks are being called */
            bool closing;    /* takes no new requests */
            bool gone;       /* the driver is not called any more */
        };
        uint32_t stopped;
    };
    uint32_t outstanding; /* requests */
    uint64_t tick_at;     /* when the deadline timer fires; UINT64_MAX: it does not run */
    struct loop_work work;
    struct loop_timer tick, delay_timer;
    struct bdev_stats stats;
};

struct bdev {
    const struct bdev_driver_ops *ops;
    void *drv;
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

void blk_mq_dispatch_rq_list(struct bdev_queue *q);

/* The end of a request: onto the done list. */
void blk_finish(struct bdev_queue *q, struct bdev_req *r);

/* Calls done of everything on the done list. */
void blk_deliver(struct bdev_queue *q);

/* Takes checked limits; -EINVAL when they make no sense, nothing changed. */
int bdev_set_limits(struct bdev *b, const struct bdev_limits *limits);

void blk_stats_add(struct bdev_stats *to, const struct bdev_stats *s);

void blk_run_work(struct loop_work *w);
void blk_tick(struct loop_timer *t);
void blk_delay_expired(struct loop_timer *t);

#endif
