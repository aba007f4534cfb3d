/* SPDX-License-Identifier: MIT */
/* api/queue.c - queues driven by the caller's thread.
 *
 * Requests come from a pool of `depth`; what the block layer gives back is only
 * noted, which it may be at any time (BDEV_F_PROMPT), until it is polled.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/exec.h"
#include "api/internal.h"

#define DEPTH_MAX 4096

struct api_req {
    _Alignas(64) struct iovec iov; /* of the calls that take a plain buffer */
    void *user_data;
    struct lunette_queue *q;
    uint8_t *sense; /* SCSI_SENSE_MAX bytes in the queue's pool */
    struct api_raw *raw;
    struct bdev_req req; /* what a read or write uses of it ends with the second cache line */
};
_Static_assert(offsetof(struct api_req, req.result) + sizeof(struct bdev_result) == 128,
               "two cache lines for a read or write");

struct api_raw { /* a raw CDB under way: rare, so allocated */
    struct scsi_exec x;
    struct iovec iov[2];
    struct lunette_scsi *cmd;
    struct api_req *r;
};

struct lunette_queue {
    struct lunette_lun *lun;
    struct bdev_queue *q;         /* NULL: no disk, only raw CDBs */
    struct api_req **free, **top; /* a stack and where it ends: the last one used is the one in the
                                     cache */
    struct api_req **no_read, **no_write;      /* top so low: none can be taken just so */
    struct api_req **finished, **begin, **end; /* room for 2 * depth; of it, those not polled */
    struct api_req **lent;                     /* their sense is lent to the caller */
    uint32_t nlent, depth;
    bool read_only;
    struct api_req *reqs;
    uint8_t *sense;
};

static inline uint32_t
nfinished(const struct lunette_queue *q)
{
    return (uint32_t)(q->end - q->begin);
}

static inline uint32_t
inflight(const struct lunette_queue *q)
{
    return q->depth - (uint32_t)(q->top - q->free) - q->nlent;
}

static inline void
finished(struct api_req *r)
{
    *r->q->end++ = r;
}

static void
req_done(struct bdev_req *b)
{
    finished(container_of(b, struct api_req, req));
}

static void
queue_release(struct lunette_queue *q)
{
    free(q->reqs);
    free(q->sense);
    free(q->free);
    free(q);
}

static int
queue_alloc(uint32_t depth, struct lunette_queue **ret)
{
    struct lunette_queue *q = calloc(1, sizeof(*q));

    if (q == NULL)
        return -ENOMEM;
    q->reqs = aligned_alloc(_Alignof(struct api_req), depth * sizeof(*q->reqs));
    q->sense = malloc((size_t)depth * SCSI_SENSE_MAX);
    q->free = malloc(4 * (size_t)depth * sizeof(struct api_req *));
    if (q->reqs == NULL || q->sense == NULL || q->free == NULL) {
        queue_release(q);
        return -ENOMEM;
    }
    q->top = q->no_read = q->no_write = q->lent = q->free + depth;
    q->finished = q->begin = q->end = q->lent + depth;
    q->depth = depth;
    memset(q->reqs, 0, depth * sizeof(*q->reqs));
    for (uint32_t i = 0; i < depth; i++) {
        struct api_req *r = &q->reqs[i];

        r->q = q;
        r->sense = q->sense + (size_t)i * SCSI_SENSE_MAX;
        r->req.sense = r->sense;
        r->req.done = req_done;
        q->free[depth - 1 - i] = r;
    }
    *ret = q;
    return 0;
}

int
lunette_queue_new(struct lunette_lun *lun, uint32_t depth, struct lunette_queue **ret,
                  struct lunette_error *err)
{
    struct lunette_queue *q;
    int r;

    if (lun->dev == NULL)
        return api_no_unit("queue", err);
    if (depth == 0 || depth > DEPTH_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "a queue's depth is 1..%d",
                            DEPTH_MAX);
    r = queue_alloc(depth, &q);
    if (r == 0 && lun->disk != NULL) {
        r = bdev_queue_new(lun->disk->bdev, lun->s.ctx->loop, depth, &q->q);
        if (r < 0)
            queue_release(q);
    }
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "no memory for a queue");
    q->lun = lun;
    q->read_only = (lun->flags & LUNETTE_OPEN_RDONLY) != 0;
    if (q->q != NULL) {
        q->no_read = q->free;
        q->no_write = q->read_only ? q->no_write : q->free;
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
    while (nfinished(q) < inflight(q)) {
        if (loop_run(q->lun->s.ctx->loop, -1) < 0)
            break;
    }
    if (q->q != NULL)
        bdev_queue_free(&q->q);
    q->lun->queues--;
    queue_release(q);
}

/* ---- submitting ----------------------------------------------------------------------------- */

/* True when there is a request to take now. */
static bool __attribute__((noinline)) end_loan(struct lunette_queue *q)
{
    while (q->nlent > 0)
        *q->top++ = q->lent[--q->nlent];
    return q->top != q->free;
}

static inline bool
any_free(struct lunette_queue *q)
{
    return __builtin_expect(q->top != q->free, 1) || end_loan(q); /* the call that ends it */
}

static inline struct api_req *
take(struct lunette_queue *q)
{
    return *--q->top;
}

static void
give_back(struct api_req *r)
{
    *r->q->top++ = r;
}

static int __attribute__((noinline, cold)) not_taken(struct api_req *r, int err)
{
    give_back(r);
    return err;
}

/* Nothing of q is looked at behind bdev_submit, so that there is nothing of it to keep. */
static inline int
submit_to(struct bdev_queue *q, struct api_req *r)
{
    int e = bdev_submit(q, &r->req);

    if (__builtin_expect(e != 0, 0))
        return not_taken(r, e);
    return e;
}

static int
submit(struct lunette_queue *q, struct api_req *r, void *user_data)
{
    r->user_data = user_data;
    if (q->q == NULL)
        return not_taken(r, -EOPNOTSUPP);
    return submit_to(q->q, r);
}

static inline uint32_t
bdev_flags(uint32_t flags)
{
    return (flags & LUNETTE_FUA ? BDEV_F_FUA : 0) |
           (flags & LUNETTE_NO_UNMAP ? BDEV_F_NO_UNMAP : 0);
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

/* None is free, or there is no disk: 0 when one can be taken after all. */
static int __attribute__((noinline, cold)) make_free(struct lunette_queue *q)
{
    if (q->q == NULL)
        return -EOPNOTSUPP;
    return any_free(q) ? 0 : -EAGAIN;
}

static inline int
buffer_req(struct lunette_queue *q, uint64_t what, const struct iovec iov, uint64_t offset,
           void *user_data)
{
    struct api_req *r = take(q);

    r->iov = iov;
    r->user_data = user_data;
    r->req.op_flags = what;
    r->req.offset = offset;
    r->req.iov = &r->iov;
    r->req.len = iov.iov_len;
    r->req.iovcnt = 1;
    return submit_to(q->q, r);
}

static int __attribute__((noinline, cold))
read_then(struct lunette_queue *q, void *buf, size_t len, uint64_t offset, void *user_data)
{
    int e = make_free(q);

    return e < 0 ? e : lunette_queue_read(q, buf, len, offset, user_data);
}

int
lunette_queue_read(struct lunette_queue *q, void *buf, size_t len, uint64_t offset, void *user_data)
{
    if (__builtin_expect(q->top <= q->no_read, 0))
        return read_then(q, buf, len, offset, user_data);
    return buffer_req(q, bdev_op_flags(BDEV_READ, BDEV_F_PROMPT), (struct iovec){buf, len}, offset,
                      user_data);
}

static int __attribute__((noinline))
write_then(struct lunette_queue *q, const void *buf, size_t len, uint64_t offset, uint32_t flags,
           void *user_data)
{
    int e = q->read_only ? -EROFS : make_free(q);

    if (e < 0)
        return e;
    return buffer_req(q, bdev_op_flags(BDEV_WRITE, bdev_flags(flags & LUNETTE_FUA) | BDEV_F_PROMPT),
                      (struct iovec){(void *)(uintptr_t)buf, len}, offset, user_data);
}

int
lunette_queue_write(struct lunette_queue *q, const void *buf, size_t len, uint64_t offset,
                    uint32_t flags, void *user_data)
{
    if (__builtin_expect(q->top <= q->no_write || flags != 0, 0))
        return write_then(q, buf, len, offset, flags, user_data);
    return buffer_req(q, bdev_op_flags(BDEV_WRITE, BDEV_F_PROMPT),
                      (struct iovec){(void *)(uintptr_t)buf, len}, offset, user_data);
}

static int
vector_req(struct lunette_queue *q, enum bdev_op op, const struct iovec *iov, int iovcnt,
           uint64_t offset, uint32_t flags, void *user_data)
{
    struct api_req *r;
    size_t len;
    int e = iov_len(iov, iovcnt, &len);

    if (e < 0)
        return e;
    if (op == BDEV_WRITE && q->read_only)
        return -EROFS;
    if (!any_free(q))
        return -EAGAIN;
    r = take(q);
    r->req.op_flags = bdev_op_flags(op, bdev_flags(flags & LUNETTE_FUA) | BDEV_F_PROMPT);
    r->req.offset = offset;
    r->req.iov = iov;
    r->req.len = len;
    r->req.iovcnt = (uint32_t)iovcnt;
    return submit(q, r, user_data);
}

int
lunette_queue_readv(struct lunette_queue *q, const struct iovec *iov, int iovcnt, uint64_t offset,
                    void *user_data)
{
    return vector_req(q, BDEV_READ, iov, iovcnt, offset, 0, user_data);
}

int
lunette_queue_writev(struct lunette_queue *q, const struct iovec *iov, int iovcnt, uint64_t offset,
                     uint32_t flags, void *user_data)
{
    return vector_req(q, BDEV_WRITE, iov, iovcnt, offset, flags, user_data);
}

static int
range_req(struct lunette_queue *q, enum bdev_op op, uint64_t len, uint64_t offset, uint32_t flags,
          void *user_data)
{
    struct api_req *r;

    if (op != BDEV_FLUSH && q->read_only)
        return -EROFS;
    if (!any_free(q))
        return -EAGAIN;
    r = take(q);
    r->req.op_flags = bdev_op_flags(op, bdev_flags(flags) | BDEV_F_PROMPT);
    r->req.offset = offset;
    r->req.len = len;
    r->req.iov = NULL;
    r->req.iovcnt = 0;
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
    struct api_req *r = NULL;
    int e;

    if (raw == NULL)
        return -ENOMEM;
    e = api_exec_prepare(q->lun, cmd, raw->iov, &raw->x);
    if (e == 0 && !any_free(q))
        e = -EAGAIN;
    if (e == 0) {
        r = take(q);
        raw->cmd = cmd;
        raw->r = r;
        raw->x.done = raw_done;
        raw->x.user = raw;
        e = stack_execute(q->lun->dev, &raw->x);
        if (e < 0)
            give_back(r);
    }
    if (e < 0) {
        free(raw);
        return e;
    }
    r->user_data = user_data;
    r->raw = raw;
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

/* How r ended, where there is more to tell than that it went well.  True: r is lent with it. */
static bool __attribute__((noinline, cold)) tell(struct api_req *r, struct lunette_completion *c)
{
    struct lunette_queue *q = r->q;

    c->err = r->req.result.err;
    c->status = r->req.result.scsi_status;
    c->sense_len = r->req.result.sense_len;
    if (c->sense_len == 0)
        return false;
    c->sense = r->sense;
    q->lent[q->nlent++] = r;
    return true;
}

/* So that what may yet finish has room behind `end`. */
static inline void
make_room(struct lunette_queue *q)
{
    uint32_t n = nfinished(q);

    if (n > 0 && q->begin < q->finished + q->depth)
        return;
    if (n > 0)
        memmove(q->finished, q->begin, n * sizeof(*q->begin));
    q->begin = q->finished;
    q->end = q->finished + n;
}

static int
collect(struct lunette_queue *q, struct lunette_completion *c, int max)
{
    struct api_req **from = q->begin, **end = q->end, **to = q->top;
    ptrdiff_t n = end - from;

    if (n > max) {
        n = max;
        end = from + n;
    }
    for (; from != end; c++) {
        struct api_req *r = *from++;

        *c = (struct lunette_completion){.user_data = r->user_data};
        *to = r;
        if (__builtin_expect(r->req.result.not_ok == 0, 1) || !tell(r, c))
            to++;
    }
    q->top = to;
    q->begin = end;
    make_room(q);
    return (int)n;
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
    if (q->nlent > 0)
        end_loan(q);
    (void)lunette_queue_submit(q);
    if (min > max)
        min = max;
    if (min < 0)
        min = 0;
    if (nfinished(q) >= (uint32_t)min && nfinished(q) > 0 && timeout_ms == 0)
        return collect(q, c, max);
    /* One turn without waiting, unless one that waits follows at once and has no deadline to take.
     */
    if (nfinished(q) < (uint32_t)(min > 0 ? min : 1) &&
        (min == 0 || timeout_ms >= 0 || nfinished(q) == inflight(q))) {
        r = loop_run(l, 0);
        if (r < 0)
            return r;
    }
    end = timeout_ms < 0 ? UINT64_MAX : l->now_ns + (uint64_t)timeout_ms * LOOP_NS_PER_MS;
    while (nfinished(q) < (uint32_t)min && nfinished(q) < inflight(q) && l->now_ns < end) {
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
    return inflight(q);
}
