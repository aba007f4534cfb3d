/* SPDX-License-Identifier: MIT */
/* tests/support/ram_driver.h - a driver of block/ without SCSI: memory that is read and written.
 *
 * Each piece ends a while after it was committed.  Every busy_every-th is refused at first, every
 * fail_every-th ends with -EIO and moves nothing.  Zeroes that keep their storage are refused where
 * only_unmaps is set. */
#ifndef TESTS_RAM_DRIVER_H
#define TESTS_RAM_DRIVER_H

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/sg.h"
#include "seam/bdev.h"
#include "seam/loop.h"

#define RAM_DELAY_NS 1000000

struct ram_driver {
    struct loop *loop;
    const struct blk_upcalls *up;
    struct bdev *b; /* the device of block/ that it is plugged to */
    uint8_t *memory;
    uint64_t size;
    struct list taken, committed; /* ram_cmd */
    struct loop_timer timer;
    unsigned count, fast, busy_every, fail_every;
    bool refused, hold; /* hold: ends nothing */
    bool only_unmaps;
};

struct ram_cmd {
    struct list node;
    struct blk_request *rq;
    bool fast, fail;
};

static inline void
ram_move(struct ram_driver *d, enum bdev_op op, uint64_t offset, uint64_t len,
         const struct sg *data)
{
    struct sg_cursor c;

    assert(offset + len <= d->size);
    if (op == BDEV_READ || op == BDEV_WRITE) {
        assert(data->len == len);
        sg_cursor_init(&c, data);
    }
    if (op == BDEV_READ)
        sg_copy_to(&c, data, d->memory + offset, (uint32_t)len);
    else if (op == BDEV_WRITE)
        sg_copy_from(&c, data, d->memory + offset, (uint32_t)len);
    else if (op == BDEV_WRITE_ZEROES)
        memset(d->memory + offset, 0, (size_t)len);
}

static inline int
ram_take(struct ram_driver *d, struct blk_request *rq, bool fast)
{
    struct ram_cmd *c = blk_request_cmd(rq);

    d->count++;
    if (d->busy_every > 0 && d->count % d->busy_every == 0) {
        d->refused = true;
        loop_timer_start(d->loop, &d->timer, RAM_DELAY_NS);
        return -EBUSY;
    }
    *c = (struct ram_cmd){.rq = rq, .fast = fast};
    c->fail = d->fail_every > 0 && d->count % d->fail_every == 0;
    list_push_back(&d->taken, &c->node);
    return 0;
}

static inline int
ram_queue_rq(void *drv, struct blk_request *rq)
{
    const struct ram_driver *d = drv;

    if (d->only_unmaps && rq->op == BDEV_WRITE_ZEROES && (rq->flags & BDEV_F_NO_UNMAP) != 0)
        return -EOPNOTSUPP;
    return ram_take(drv, rq, false);
}

static inline int
ram_queue_rq_fast(void *drv, const struct bdev_req *r, struct blk_request *rq, uint64_t lba,
                  uint64_t blocks)
{
    struct ram_driver *d = drv;
    int err = ram_take(d, rq, true);

    assert(lba * r->len == r->offset * blocks); /* both in the same unit */
    d->fast += err == 0;
    if (err < 0)
        d->up->refuse_fast(rq, err);
    return 0;
}

static inline void
ram_commit(void *drv)
{
    struct ram_driver *d = drv;

    list_splice(&d->committed, &d->taken);
    if (!list_empty(&d->committed) && !loop_timer_running(&d->timer))
        loop_timer_start(d->loop, &d->timer, RAM_DELAY_NS);
}

static inline void
ram_end(struct ram_driver *d, struct ram_cmd *c)
{
    struct blk_request *rq = c->rq;
    struct bdev_req *r = rq->parent;
    struct sg data;

    if (c->fail) {
        d->up->make_general(rq);
        rq->result = (struct bdev_result){.err = -EIO};
        d->up->complete(rq);
    } else if (c->fast) {
        data = sg_from_iov(r->iov, r->iovcnt, 0, (uint32_t)r->len);
        ram_move(d, r->op, r->offset, r->len, &data);
        d->up->complete_fast(rq);
    } else {
        if (rq->op == BDEV_BLOCK_STATUS)
            rq->result = (struct bdev_result){.err = -EOPNOTSUPP};
        if (rq->op != BDEV_FLUSH)
            ram_move(d, rq->op, rq->offset, rq->len, &rq->data);
        d->up->complete(rq);
    }
}

static inline void
ram_expired(struct loop_timer *t)
{
    struct ram_driver *d = container_of(t, struct ram_driver, timer);
    struct list batch, *n;

    list_init(&batch);
    if (!d->hold)
        list_splice(&batch, &d->committed);
    while ((n = list_pop_front(&batch)) != NULL)
        ram_end(d, container_of(n, struct ram_cmd, node));
    if (d->refused) {
        d->refused = false;
        d->up->restart(d->b);
    }
}

static inline enum blk_timeout
ram_timeout(void *drv, struct blk_request *rq)
{
    (void)drv;
    (void)rq;
    return BLK_TIMEOUT_RESET_TIMER;
}

static const struct bdev_driver_ops ram_driver_ops = {
    .cmd_size = sizeof(struct ram_cmd),
    .queue_rq = ram_queue_rq,
    .queue_rq_fast = ram_queue_rq_fast,
    .commit = ram_commit,
    .timeout = ram_timeout,
};

static inline void
ram_init(struct ram_driver *d, struct loop *loop, const struct blk_upcalls *up, uint8_t *memory,
         uint64_t size)
{
    *d = (struct ram_driver){.loop = loop, .up = up, .memory = memory, .size = size};
    list_init(&d->taken);
    list_init(&d->committed);
    loop_timer_init(&d->timer, ram_expired);
}

#endif
