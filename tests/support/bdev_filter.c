/* SPDX-License-Identifier: MIT */
#include "tests/support/bdev_filter.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define PART_IOVS 8

struct filter_part {
    struct bdev_req req; /* of the lower device */
    struct filter_queue *q;
    struct bdev_req *parent;
    struct iovec iov[PART_IOVS];
    struct list node; /* of those that are free */
};

struct filter_queue {
    struct bdev_queue q; /* first */
    struct bdev_filter *f;
    struct bdev_queue *lower;
    struct list node;    /* of the filter */
    struct list parts;   /* free ones */
    struct list waiting; /* bdev_req: not, or not all of it, handed on */
    struct filter_part *memory;
    struct loop_work work;
    uint32_t outstanding;
};

struct bdev_filter {
    struct bdev b; /* first */
    struct bdev *lower;
    struct bdev_listener listener;
    uint64_t chunk, parts;
    struct bdev_stats stats;
    struct list queues;
    bool closing;
    void (*drained)(void *user);
    void *drained_user;
};

static struct bdev_filter *
filter_of(const struct bdev *b)
{
    return (struct bdev_filter *)(uintptr_t)b;
}

static bool
may_cut(const struct bdev_req *r)
{
    return r->op == BDEV_READ || r->op == BDEV_WRITE || r->op == BDEV_DISCARD ||
           r->op == BDEV_WRITE_ZEROES;
}

static bool
has_data(const struct bdev_req *r)
{
    return r->op == BDEV_READ || r->op == BDEV_WRITE;
}

/* All of r has been handed on and has ended. */
static void
filter_finish(struct filter_queue *q, struct bdev_req *r)
{
    q->outstanding--;
    q->f->stats.op[r->op].reqs++;
    if (r->result.err == 0)
        q->f->stats.op[r->op].bytes += r->len;
    else
        q->f->stats.op[r->op].errors++;
    if (q->f->closing)
        loop_defer(q->q.loop, &q->work);
    r->done(r);
}

static void
part_done(struct bdev_req *lower)
{
    struct filter_part *p = container_of(lower, struct filter_part, req);
    struct filter_queue *q = p->q;
    struct bdev_req *r = p->parent;
    bool waits = r->issued < r->len;

    if (r->result.err == 0 && lower->result.err != 0) {
        r->result = lower->result;
        if (waits) { /* nothing more of it is handed on */
            list_del(&r->node);
            r->issued = r->len;
            waits = false;
        }
    } else if (r->result.err == 0 && r->op == BDEV_SCSI) {
        r->result = lower->result;
    }
    p->parent = NULL;
    list_push_back(&q->parts, &p->node);
    if (!list_empty(&q->waiting))
        loop_defer(q->q.loop, &q->work);
    if (--r->pieces == 0 && !waits)
        filter_finish(q, r);
}

/* Fills p with what is next of r. */
static void
part_fill(struct filter_part *p, const struct bdev_req *r)
{
    const struct bdev_limits *l = bdev_get_limits(p->q->f->lower);
    uint64_t left = r->len - r->issued, chunk = p->q->f->chunk;

    p->req = *r;
    p->req.done = part_done;
    if (!may_cut(r) || left <= chunk) {
        if (r->issued == 0)
            return; /* all of it, as it is */
        chunk = left;
    }
    p->req.sense = NULL;
    p->req.offset = r->offset + r->issued;
    p->req.len = chunk;
    if (has_data(r)) {
        struct sg s = sg_from_iov(r->iov, r->iovcnt, r->issued, (uint32_t)chunk);
        struct sg_cursor c;
        uint32_t len;

        sg_cursor_init(&c, &s);
        p->req.iovcnt = (uint32_t)sg_cursor_map(&c, &s, (uint32_t)chunk, p->iov, PART_IOVS, &len);
        p->req.iov = p->iov;
        p->req.len = len - len % l->block_size;
        assert(p->req.len > 0);
    }
}

/* Hands on what can be of the first that waits.  -errno where the lower device took nothing of it.
 */
static int
hand_on(struct filter_queue *q)
{
    struct bdev_req *r = container_of(q->waiting.next, struct bdev_req, node);
    struct filter_part *p;
    int err;

    if (r->canceled != 0) {
        list_del(&r->node);
        r->issued = r->len;
        return r->canceled;
    }
    p = container_of(list_pop_front(&q->parts), struct filter_part, node);
    p->parent = r;
    part_fill(p, r);
    err = bdev_submit(q->lower, &p->req);
    if (err < 0) {
        p->parent = NULL;
        list_push_back(&q->parts, &p->node);
        list_del(&r->node);
        r->issued = r->len;
        return err;
    }
    q->f->parts++;
    r->pieces++;
    r->issued += p->req.len;
    if (r->issued >= r->len)
        list_del(&r->node);
    return 0;
}

/* True when something can be done about the first that waits. */
static bool
may_go_on(const struct filter_queue *q)
{
    return !list_empty(&q->waiting) &&
           (!list_empty(&q->parts) ||
            container_of(q->waiting.next, struct bdev_req, node)->canceled != 0);
}

static void
filter_work(struct loop_work *w)
{
    struct filter_queue *q = container_of(w, struct filter_queue, work);
    struct bdev_filter *f = q->f;

    while (may_go_on(q)) {
        struct bdev_req *r = container_of(q->waiting.next, struct bdev_req, node);
        int err = hand_on(q);

        if (err == 0)
            continue;
        if (r->result.err == 0)
            r->result.err = err;
        if (r->pieces == 0)
            filter_finish(q, r);
    }
    bdev_commit(q->lower);
    if (f->drained == NULL)
        return;
    LIST_FOREACH (n, &f->queues) {
        if (container_of(n, struct filter_queue, node)->outstanding > 0)
            return;
    }
    {
        void (*drained)(void *user) = f->drained;

        f->drained = NULL;
        drained(f->drained_user);
    }
}

static int
filter_submit(struct bdev_queue *bq, struct bdev_req *r)
{
    struct filter_queue *q = (struct filter_queue *)bq;
    bool first = list_empty(&q->waiting) && !list_empty(&q->parts);
    int err;

    if (q->f->closing)
        return -ENODEV;
    r->result = (struct bdev_result){0};
    r->issued = 0;
    r->pieces = 0;
    r->canceled = 0;
    list_init(&r->node);
    list_push_back(&q->waiting, &r->node);
    if (first) {
        err = hand_on(q);
        if (err < 0)
            return err;
    }
    q->outstanding++;
    loop_defer(q->q.loop, &q->work);
    return 0;
}

static void
filter_commit(struct bdev_queue *bq)
{
    struct filter_queue *q = (struct filter_queue *)bq;

    bdev_commit(q->lower);
}

static uint32_t
filter_outstanding(const struct bdev_queue *bq)
{
    return ((const struct filter_queue *)bq)->outstanding;
}

static void
filter_queue_free(struct bdev_queue *bq)
{
    struct filter_queue *q = (struct filter_queue *)bq;

    assert(q->outstanding == 0);
    bdev_queue_free(&q->lower);
    loop_defer_cancel(&q->work);
    list_del(&q->node);
    free(q->memory);
    free(q);
}

static void
filter_cancel(struct bdev_queue *bq, struct bdev_req *r, int err)
{
    struct filter_queue *q = (struct filter_queue *)bq;

    LIST_FOREACH_SAFE (n, &q->waiting) {
        if (n != &r->node)
            continue;
        r->canceled = err;
        list_del(n);
        list_push_front(&q->waiting, n); /* so that it waits for no part */
        loop_defer(q->q.loop, &q->work);
    }
    for (uint32_t i = 0; i < q->q.depth; i++) {
        if (q->memory[i].parent == r)
            bdev_cancel(q->lower, &q->memory[i].req, err);
    }
}

static const struct bdev_queue_ops filter_queue_ops = {
    .submit = filter_submit,
    .commit = filter_commit,
    .cancel = filter_cancel,
    .outstanding = filter_outstanding,
    .free = filter_queue_free,
};

static int
filter_queue_new(struct bdev *b, struct loop *loop, uint32_t depth, struct bdev_queue **ret)
{
    struct bdev_filter *f = filter_of(b);
    struct filter_queue *q = calloc(1, sizeof(*q));
    int r;

    assert(q != NULL);
    r = bdev_queue_new(f->lower, loop, depth, &q->lower);
    if (r < 0) {
        free(q);
        return r;
    }
    q->q = (struct bdev_queue){.ops = &filter_queue_ops, .loop = loop, .bdev = b, .depth = depth};
    q->f = f;
    q->memory = calloc(depth, sizeof(*q->memory));
    assert(q->memory != NULL);
    list_init(&q->parts);
    list_init(&q->waiting);
    loop_work_init(&q->work, filter_work);
    for (uint32_t i = 0; i < depth; i++) {
        q->memory[i].q = q;
        list_push_back(&q->parts, &q->memory[i].node);
    }
    list_push_back(&f->queues, &q->node);
    *ret = &q->q;
    return 0;
}

static const struct bdev_limits *
filter_limits(const struct bdev *b)
{
    return bdev_get_limits(filter_of(b)->lower);
}

static int
filter_drain(struct bdev *b, void (*drained)(void *user), void *user)
{
    struct bdev_filter *f = filter_of(b);

    f->closing = true;
    LIST_FOREACH (n, &f->queues) {
        if (container_of(n, struct filter_queue, node)->outstanding > 0) {
            f->drained = drained;
            f->drained_user = user;
            return -EINPROGRESS;
        }
    }
    return 0;
}

static void
filter_set_timeout(struct bdev *b, uint32_t timeout_ms)
{
    bdev_set_timeout(filter_of(b)->lower, timeout_ms);
}

static void
filter_stats(const struct bdev *b, struct bdev_stats *ret)
{
    *ret = filter_of(b)->stats;
    ret->pieces = filter_of(b)->parts;
}

static const struct bdev_ops filter_ops = {
    .queue_new = filter_queue_new,
    .limits = filter_limits,
    .drain = filter_drain,
    .set_timeout = filter_set_timeout,
    .stats = filter_stats,
};

static void
lower_event(struct bdev_listener *l, struct bdev *b, enum bdev_event ev)
{
    (void)b;
    bdev_tell(&container_of(l, struct bdev_filter, listener)->b, ev);
}

struct bdev_filter *
bdev_filter_new(struct bdev *lower, uint64_t chunk)
{
    struct bdev_filter *f = calloc(1, sizeof(*f));

    assert(f != NULL && chunk % bdev_get_limits(lower)->block_size == 0);
    bdev_init(&f->b, &filter_ops);
    f->lower = lower;
    f->chunk = chunk;
    list_init(&f->queues);
    f->listener.event = lower_event;
    bdev_listen(lower, &f->listener);
    return f;
}

void
bdev_filter_free(struct bdev_filter *f)
{
    assert(list_empty(&f->queues));
    bdev_unlisten(&f->listener);
    bdev_fini(&f->b);
    free(f);
}

struct bdev *
bdev_filter_bdev(struct bdev_filter *f)
{
    return &f->b;
}

uint64_t
bdev_filter_parts(const struct bdev_filter *f)
{
    return f->parts;
}
