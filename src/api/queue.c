/* SPDX-License-Identifier: MIT */
/* api/queue.c - queues driven by the caller's thread.
 *
 * Requests come from a pool of `depth`; the block layer gives completions back
 * at the end of a turn, and they wait here in a list until they are polled.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/exec.h"
#include "api/internal.h"

#define DEPTH_MAX 4096

struct api_req {
    struct bdev_req req; /* first */
    struct list node;    /* free, finished, or shown */
    struct lunette_queue *q;
    void *user_data;
    struct iovec iov; /* of the calls that take a plain buffer */
    struct api_raw *raw;
    uint8_t *sense; /* SCSI_SENSE_MAX bytes in the queue's pool */
};

struct api_raw { /* a raw CDB under way: rare, so allocated */
    struct scsi_exec x;
    struct iovec iov[2];
    struct lunette_scsi *cmd;
    struct api_req *r;
};

struct lunette_queue {
    struct lunette_lun *lun;
    struct bdev_queue *q; /* NULL: no disk, only raw CDBs */
    uint32_t depth, inflight;
    struct list free, finished, shown; /* shown: their sense is lent to the caller */
    uint32_t nfinished;
    struct api_req *reqs;
    uint8_t *sense;
};

static void
finished(struct api_req *r)
{
    list_push_back(&r->q->finished, &r->node);
    r->q->nfinished++;
}

static void
req_done(struct bdev_req *b)
{
    finished(container_of(b, struct api_req, req));
}

int
lunette_queue_new(struct lunette_lun *lun, uint32_t depth, struct lunette_queue **ret,
                  struct lunette_error *err)
{
    struct lunette_queue *q;
    int r = -ENOMEM;

    if (lun->dev == NULL)
        return api_no_unit("queue", err);
    if (depth == 0 || depth > DEPTH_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "a queue's depth is 1..%d",
                            DEPTH_MAX);
    q = calloc(1, sizeof(*q));
    if (q != NULL) {
        q->reqs = calloc(depth, sizeof(*q->reqs));
        q->sense = malloc((size_t)depth * SCSI_SENSE_MAX);
        if (q->reqs != NULL && q->sense != NULL)
            r = lun->bdev != NULL ? bdev_queue_new(lun->bdev, lun->s.ctx->loop, depth, &q->q) : 0;
    }
    if (r < 0) {
        if (q != NULL) {
            free(q->reqs);
            free(q->sense);
        }
        free(q);
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "no memory for a queue");
    }
    q->lun = lun;
    q->depth = depth;
    list_init(&q->free);
    list_init(&q->finished);
    list_init(&q->shown);
    for (uint32_t i = 0; i < depth; i++) {
        q->reqs[i].q = q;
        q->reqs[i].sense = q->sense + (size_t)i * SCSI_SENSE_MAX;
        list_push_back(&q->free, &q->reqs[i].node);
    }
    lun->queues++;
    *ret = q;
    return 0;
}

void
lunette_queue_free(struct lunette_queue *q)
{
    if (q == NULL)
        return;
    (void)lunette_queue_submit(q);
    while (q->nfinished < q->inflight) {
        if (loop_run(q->lun->s.ctx->loop, -1) < 0)
            break;
    }
    if (q->q != NULL)
        bdev_queue_free(&q->q);
    q->lun->queues--;
    free(q->reqs);
    free(q->sense);
    free(q);
}

/* ---- submitting ----------------------------------------------------------------------------- */

static struct api_req *
take(struct lunette_queue *q)
{
    struct list *n;

    if (list_empty(&q->free)) /* this is the call that ends the loan of their sense */
        list_splice(&q->free, &q->shown);
    n = list_pop_front(&q->free);
    return n != NULL ? container_of(n, struct api_req, node) : NULL;
}

static void
give_back(struct lunette_queue *q, struct api_req *r)
{
    list_push_front(&q->free, &r->node);
}

static int
submit(struct lunette_queue *q, struct api_req *r, void *user_data)
{
    int e;

    r->user_data = user_data;
    r->req.done = req_done;
    r->req.sense = r->sense;
    e = q->q != NULL ? bdev_submit(q->q, &r->req) : -EOPNOTSUPP;
    if (e < 0) {
        give_back(q, r);
        return e;
    }
    q->inflight++;
    return 0;
}

/* A read or write as the calls below have it: less to fill in than a request. */
struct transfer {
    enum bdev_op op;
    uint32_t flags; /* LUNETTE_ */
    uint64_t offset, len;
    const struct iovec *iov;
    uint32_t iovcnt;
};

/* `like` says what; with copy, its one iovec is the call's own and moves into the request. */
static int
data_req(struct lunette_queue *q, const struct transfer *like, bool copy, void *user_data)
{
    struct api_req *r;

    if (like->op == BDEV_WRITE && (q->lun->flags & LUNETTE_OPEN_RDONLY))
        return -EROFS;
    r = take(q);
    if (r == NULL)
        return -EAGAIN;
    if (copy)
        r->iov = *like->iov;
    r->req.op = like->op;
    r->req.flags = like->flags & LUNETTE_FUA ? BDEV_F_FUA : 0;
    r->req.offset = like->offset;
    r->req.len = like->len;
    r->req.iov = copy ? &r->iov : like->iov;
    r->req.iovcnt = like->iovcnt;
    r->req.timeout_ms = 0;
    return submit(q, r, user_data);
}

/* Sum of an iovec array, -EINVAL when it overflows. */
static int
iov_len(const struct iovec *iov, int iovcnt, size_t *ret)
{
    size_t len = 0;

    if (iovcnt < 0)
        return -EINVAL;
    for (int i = 0; i < iovcnt; i++) {
        if (__builtin_add_overflow(len, iov[i].iov_len, &len))
            return -EINVAL;
    }
    *ret = len;
    return 0;
}

int
lunette_queue_read(struct lunette_queue *q, void *buf, size_t len, uint64_t offset, void *user_data)
{
    struct iovec iov = {buf, len};
    struct transfer r = {.op = BDEV_READ, .offset = offset, .len = len, .iov = &iov, .iovcnt = 1};

    return data_req(q, &r, true, user_data);
}

int
lunette_queue_write(struct lunette_queue *q, const void *buf, size_t len, uint64_t offset,
                    uint32_t flags, void *user_data)
{
    struct iovec iov = {(void *)(uintptr_t)buf, len};
    struct transfer r = {
        .op = BDEV_WRITE, .flags = flags, .offset = offset, .len = len, .iov = &iov, .iovcnt = 1};

    return data_req(q, &r, true, user_data);
}

static int
vector_req(struct lunette_queue *q, struct transfer *r, const struct iovec *iov, int iovcnt,
           void *user_data)
{
    size_t len;
    int e = iov_len(iov, iovcnt, &len);

    if (e < 0)
        return e;
    r->iov = iov;
    r->iovcnt = (uint32_t)iovcnt;
    r->len = len;
    return data_req(q, r, false, user_data);
}

int
lunette_queue_readv(struct lunette_queue *q, const struct iovec *iov, int iovcnt, uint64_t offset,
                    void *user_data)
{
    struct transfer r = {.op = BDEV_READ, .offset = offset};

    return vector_req(q, &r, iov, iovcnt, user_data);
}

int
lunette_queue_writev(struct lunette_queue *q, const struct iovec *iov, int iovcnt, uint64_t offset,
                     uint32_t flags, void *user_data)
{
    struct transfer r = {.op = BDEV_WRITE, .flags = flags, .offset = offset};

    return vector_req(q, &r, iov, iovcnt, user_data);
}

static int
range_req(struct lunette_queue *q, enum bdev_op op, uint64_t len, uint64_t offset, uint32_t flags,
          void *user_data)
{
    struct api_req *r;

    if (op != BDEV_FLUSH && (q->lun->flags & LUNETTE_OPEN_RDONLY))
        return -EROFS;
    r = take(q);
    if (r == NULL)
        return -EAGAIN;
    r->req.op = op;
    r->req.flags =
        (flags & LUNETTE_FUA ? BDEV_F_FUA : 0) | (flags & LUNETTE_NO_UNMAP ? BDEV_F_NO_UNMAP : 0);
    r->req.offset = offset;
    r->req.len = len;
    r->req.iov = NULL;
    r->req.iovcnt = 0;
    r->req.timeout_ms = 0;
    return submit(q, r, user_data);
}

int
lunette_queue_flush(struct lunette_queue *q, void *user_data)
{
    return range_req(q, BDEV_FLUSH, 0, 0, 0, user_data);
}

int
lunette_queue_discard(struct lunette_queue *q, uint64_t len, uint64_t offset, void *user_data)
{
    return range_req(q, BDEV_DISCARD, len, offset, 0, user_data);
}

int
lunette_queue_write_zeroes(struct lunette_queue *q, uint64_t len, uint64_t offset, uint32_t flags,
                           void *user_data)
{
    return range_req(q, BDEV_WRITE_ZEROES, len, offset, flags, user_data);
}

static void
raw_done(struct scsi_exec *x)
{
    struct api_raw *raw = x->user;
    struct api_req *r = raw->r;

    api_exec_result(x, raw->cmd);
    r->req.result = x->result;
    if (x->result.scsi_status != 0)
        r->req.result.err = 0; /* a status came back, whatever it is */
    memcpy(r->sense, x->io.sc.sense, x->result.sense_len);
    r->raw = NULL;
    free(raw);
    finished(r);
}

int
lunette_queue_scsi(struct lunette_queue *q, struct lunette_scsi *cmd, void *user_data)
{
    struct api_raw *raw = calloc(1, sizeof(*raw));
    struct api_req *r;
    int e;

    if (raw == NULL)
        return -ENOMEM;
    e = api_exec_prepare(q->lun, cmd, raw->iov, &raw->x);
    r = e == 0 ? take(q) : NULL;
    if (e == 0 && r == NULL)
        e = -EAGAIN;
    if (e == 0) {
        raw->cmd = cmd;
        raw->r = r;
        raw->x.done = raw_done;
        raw->x.user = raw;
        e = scsi_execute(q->lun->dev, &raw->x);
        if (e < 0)
            give_back(q, r);
    }
    if (e < 0) {
        free(raw);
        return e;
    }
    r->user_data = user_data;
    r->raw = raw;
    q->inflight++;
    return 0;
}

int
lunette_queue_submit(struct lunette_queue *q)
{
    if (q->q != NULL)
        bdev_commit(q->q);
    return 0;
}

/* ---- polling -------------------------------------------------------------------------------- */

static int
collect(struct lunette_queue *q, struct lunette_completion *c, int max)
{
    int n = 0;

    while (n < max && !list_empty(&q->finished)) {
        struct api_req *r = container_of(list_pop_front(&q->finished), struct api_req, node);

        c[n++] = (struct lunette_completion){
            .user_data = r->user_data,
            .err = r->req.result.err,
            .status = r->req.result.scsi_status,
            .sense_len = r->req.result.sense_len,
            .sense = r->req.result.sense_len > 0 ? r->sense : NULL,
        };
        q->nfinished--;
        q->inflight--;
        list_push_back(r->req.result.sense_len > 0 ? &q->shown : &q->free, &r->node);
    }
    return n;
}

int
lunette_queue_poll(struct lunette_queue *q, struct lunette_completion *c, int max, int min,
                   int timeout_ms)
{
    struct loop *l = q->lun->s.ctx->loop;
    uint64_t end;
    int r;

    if (max <= 0)
        return -EINVAL;
    list_splice(&q->free, &q->shown);
    (void)lunette_queue_submit(q);
    if (min > max)
        min = max;
    if (min < 0)
        min = 0;
    if (q->nfinished >= (uint32_t)min && q->nfinished > 0 && timeout_ms == 0)
        return collect(q, c, max);
    if (q->nfinished < (uint32_t)(min > 0 ? min : 1)) {
        r = loop_run(l, 0);
        if (r < 0)
            return r;
    }
    end = timeout_ms < 0 ? UINT64_MAX : l->now_ns + (uint64_t)timeout_ms * LOOP_NS_PER_MS;
    while (q->nfinished < (uint32_t)min && q->nfinished < q->inflight && l->now_ns < end) {
        r = loop_run(l, end == UINT64_MAX ? -1 : (int64_t)(end - l->now_ns));
        if (r < 0)
            return r;
    }
    return collect(q, c, max);
}

int
lunette_queue_explain(const struct lunette_queue *q, const struct lunette_completion *c,
                      const char *what, struct lunette_error *err)
{
    struct bdev_result r = {.err = c->err, .scsi_status = c->status, .sense_len = c->sense_len};

    return api_result(&q->lun->s, &r, c->sense, what, err);
}

int
lunette_queue_fd(struct lunette_queue *q)
{
    return loop_fd(q->lun->s.ctx->loop);
}

uint32_t
lunette_queue_inflight(const struct lunette_queue *q)
{
    return q->inflight;
}
