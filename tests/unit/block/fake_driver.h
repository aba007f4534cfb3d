/* SPDX-License-Identifier: MIT */
/* A driver that keeps what it is given until the test says how it ends. */
#ifndef TESTS_FAKE_DRIVER_H
#define TESTS_FAKE_DRIVER_H

#include "tests/unit/fake_loop.h"

#include <errno.h>
#include <stdlib.h>

#include "block/block.h"

#define DRV_MAX 8192

struct drv {
    struct fake_loop loop;
    struct bdev *b;
    struct bdev_queue *q;
    struct blk_request *rq[DRV_MAX]; /* all ever taken, NULL once given back */
    unsigned n, given_back, commits, refuse, timeouts, held;
    enum blk_timeout on_timeout;
    unsigned cancels;
    int cancel_err;
    int on_cancel;   /* 0: give nothing back; 1: complete from inside; 2: requeue from inside */
    int fail_inside; /* complete from inside queue_rq with that */
    bool now;        /* complete from inside queue_rq with 0 */
    bool general;    /* take fast ones as all others */
    unsigned fast;   /* how many came by queue_rq_fast and were taken */
    struct {
        enum bdev_op op;
        uint64_t offset, len;
        uint32_t flags, data_len, iovcnt;
    } log[DRV_MAX];
};

struct drv_cmd {
    uint64_t magic;
    bool fast;
    bool refused; /* it keeps that for the next time that it sees the piece */
};

static int
drv_queue_rq(void *p, struct blk_request *rq)
{
    struct drv *d = p;

    if (d->refuse > 0) {
        d->refuse--;
        ((struct drv_cmd *)blk_request_cmd(rq))->refused = true;
        return -EBUSY;
    }
    ((struct drv_cmd *)blk_request_cmd(rq))->refused = false;
    assert_true(d->n < DRV_MAX);
    d->log[d->n].op = rq->op;
    d->log[d->n].offset = rq->offset;
    d->log[d->n].len = rq->len;
    d->log[d->n].flags = rq->flags;
    d->log[d->n].data_len = rq->data.len;
    d->log[d->n].iovcnt = rq->data.iovcnt;
    ((struct drv_cmd *)blk_request_cmd(rq))->magic = 42 + rq->tag;
    ((struct drv_cmd *)blk_request_cmd(rq))->fast = false;
    if (d->fail_inside != 0 || d->now) {
        rq->result = (struct bdev_result){.err = d->fail_inside};
        d->n++;
        d->given_back++;
        blk_upcalls.complete(rq);
        return 0;
    }
    d->rq[d->n++] = rq;
    d->held++;
    return 0;
}

static int
drv_queue_fast(void *p, const struct bdev_req *r, struct blk_request *rq, uint64_t lba,
               uint64_t blocks)
{
    struct drv *d = p;
    const struct bdev_limits *l = bdev_get_limits(d->b);
    int err;

    assert_ptr_equal(rq->parent, r);
    assert_true(r->op == BDEV_READ || (r->op == BDEV_WRITE && !l->read_only));
    assert_int_equal(r->flags, BDEV_F_PROMPT);
    assert_int_equal(lba * l->block_size, r->offset);
    assert_int_equal(blocks * l->block_size, r->len);
    assert_true(r->len > 0 && r->len <= l->max_fast && r->offset + r->len <= l->size);
    assert_int_equal(r->iovcnt, 1);
    assert_true(r->iov->iov_len >= r->len);
    if (d->general || d->refuse > 0 || d->fail_inside != 0 || d->now) {
        if (d->refuse == 0)
            blk_upcalls.make_general(rq);
        err = drv_queue_rq(p, rq);
        if (err < 0)
            blk_upcalls.refuse_fast(rq, err);
        return 0;
    }
    assert_false(((struct drv_cmd *)blk_request_cmd(rq))->refused); /* else it is another's */
    assert_true(d->n < DRV_MAX);
    d->log[d->n].op = r->op;
    d->log[d->n].offset = r->offset;
    d->log[d->n].len = r->len;
    d->log[d->n].flags = r->flags;
    d->log[d->n].data_len = (uint32_t)r->len;
    d->log[d->n].iovcnt = 1;
    ((struct drv_cmd *)blk_request_cmd(rq))->magic = 42 + rq->tag;
    ((struct drv_cmd *)blk_request_cmd(rq))->fast = true;
    d->rq[d->n++] = rq;
    d->held++;
    d->fast++;
    return 0;
}

static void
drv_commit(void *p)
{
    ((struct drv *)p)->commits++;
}

static enum blk_timeout
drv_timeout(void *p, struct blk_request *rq)
{
    struct drv *d = p;

    (void)rq;
    d->timeouts++;
    return d->on_timeout;
}

static void
drv_cancel(void *p, struct blk_request *rq, int err)
{
    struct drv *d = p;

    d->cancels++;
    d->cancel_err = err;
    if (d->on_cancel == 0)
        return;
    for (unsigned i = 0; i < d->n; i++) {
        if (d->rq[i] == rq)
            d->rq[i] = NULL;
    }
    d->held--;
    d->given_back++;
    if (d->on_cancel == 2) {
        blk_upcalls.requeue(rq, 0);
        return;
    }
    rq->result = (struct bdev_result){.err = -ENOLINK, .host_result = DID_ABORT};
    blk_upcalls.complete(rq);
}

static const struct bdev_driver_ops drv_ops = {
    .cmd_size = sizeof(struct drv_cmd),
    .queue_rq = drv_queue_rq,
    .queue_rq_fast = drv_queue_fast,
    .commit = drv_commit,
    .timeout = drv_timeout,
    .cancel = drv_cancel,
};

static const struct bdev_limits drv_limits = {
    .size = 1 << 30,
    .block_size = 512,
    .physical_block = 4096,
    .max_transfer = 65536,
    .max_fast = 65536,
    .max_sg = 16,
    .max_discard = 1 << 20,
    .discard_granularity = 8192,
    .max_write_zeroes = 1 << 20,
    .max_compare_write = 4096,
    .write_cache = true,
    .fua = true,
};

static inline void
drv_open(struct drv *d, const struct bdev_limits *limits, uint32_t depth)
{
    memset(d, 0, sizeof(*d));
    fake_loop_init(&d->loop, 1);
    assert_int_equal(blk_dev_new(&drv_ops, d, limits, &d->b), 0);
    assert_int_equal(bdev_queue_new(d->b, &d->loop.l, depth, &d->q), 0);
}

static inline void
drv_close(struct drv *d)
{
    blk_dev_free(&d->b);
    assert_null(d->b);
}

/* Ends the i-th request ever taken. */
static inline void
drv_end(struct drv *d, unsigned i, int err)
{
    struct blk_request *rq = d->rq[i];

    assert_true(i < d->n);
    assert_non_null(rq);
    assert_int_equal(((struct drv_cmd *)blk_request_cmd(rq))->magic, 42 + rq->tag);
    d->rq[i] = NULL;
    d->held--;
    d->given_back++;
    if (err == 0 && ((struct drv_cmd *)blk_request_cmd(rq))->fast) {
        blk_upcalls.complete_fast(rq);
        return;
    }
    rq->result = (struct bdev_result){.err = err};
    blk_upcalls.complete(rq);
}

static inline void
drv_end_all(struct drv *d)
{
    for (unsigned i = 0; i < d->n; i++) {
        if (d->rq[i] != NULL)
            drv_end(d, i, 0);
    }
}

/* A request of the tests. */
struct req {
    struct bdev_req r;
    struct drv *d;
    struct iovec iov;
    int done, want;     /* times */
    bool out, canceled; /* for tests that keep count */
    unsigned order;
    void (*then)(struct req *q);
};

static unsigned req_order;

static void
req_done(struct bdev_req *r)
{
    struct req *q = container_of(r, struct req, r);

    q->done++;
    q->order = ++req_order;
    if (q->then != NULL)
        q->then(q);
}

static char req_mem[4 << 20];

static inline void
req_init(struct req *q, struct drv *d, enum bdev_op op, uint64_t offset, uint64_t len)
{
    memset(q, 0, sizeof(*q));
    q->d = d;
    q->iov = (struct iovec){req_mem, sizeof(req_mem)};
    q->r = (struct bdev_req){
        .op = op, .offset = offset, .len = len, .iov = &q->iov, .iovcnt = 1, .done = req_done};
}

#endif
