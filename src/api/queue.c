/* SPDX-License-Identifier: MIT */
/* api/queue.c - queues driven by the caller's thread.
 *
 * Requests come from a pool of `depth`.  When one ends, that is only noted and kept until the
 * caller polls, so that done may be called at any time (BDEV_F_PROMPT).
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/exec.h"
#include "api/internal.h"
#include "api/sized.h"

#define DEPTH_MAX 4096

struct api_req {
    _Alignas(64) struct iovec iov; /* of the calls that take one buffer */
    void *user_data;
    struct lunette_queue *q;
    uint8_t *sense; /* SCSI_SENSE_MAX bytes in the queue's pool */
    struct api_raw *raw;
    struct bdev_req req;  /* the fields that a read or write needs end with the second cache line */
    struct iovec pair[2]; /* of a compare-and-write: what is expected, and what is written */
    struct loop_timer limit; /* runs while the request is under way, where it has a time limit */
    bool idle;               /* lunette_queue_cancel's, which finds out each time */
};
_Static_assert(sizeof(void *) != 8 ||
                   offsetof(struct api_req, req.result) + sizeof(struct bdev_result) == 128,
               "two cache lines for a read or write");

struct api_raw { /* a raw CDB under way; allocated, since these are rare */
    struct scsi_exec x;
    struct iovec iov[2];
    struct lunette_scsi *cmd;
    struct api_req *r;
};

struct lunette_queue {
    struct lunette_lun *lun;
    struct bdev_queue *q;         /* NULL: no disk, only raw CDBs */
    struct api_req **free, **top; /* a stack and where it ends: the request used last, which is the
                                     one in the cache, is taken next */
    struct api_req **no_read,
        **no_write; /* a read or write may take a request at once while top is above this: `free`,
                       or the stack's end where more has to be looked at */
    struct api_req **finished, **begin,
        **end;             /* room for 2 * depth; [begin, end) are not polled yet */
    struct api_req **held; /* the caller has their sense, until its next call */
    uint32_t nheld, depth;
    uint32_t timeout_ms; /* of requests as a whole; 0: none */
    bool read_only;
    struct api_req *reqs;
    uint8_t *sense;
};

static inline uint32_t
queue_finished(const struct lunette_queue *q)
{
    return (uint32_t)(q->end - q->begin);
}

static inline uint32_t
queue_inflight(const struct lunette_queue *q)
{
    return q->depth - (uint32_t)(q->top - q->free) - q->nheld;
}

static inline void
queue_add_finished(struct api_req *r)
{
    *r->q->end++ = r;
}

static void
queue_req_done(struct bdev_req *b)
{
    queue_add_finished(container_of(b, struct api_req, req));
}

/* The end of a request with a time limit: that of all others does not look for one. */
static void
queue_timed_done(struct bdev_req *b)
{
    struct api_req *r = container_of(b, struct api_req, req);

    b->done = queue_req_done;
    loop_timer_stop(r->q->lun->s->ctx->loop, &r->limit);
    queue_add_finished(r);
}

static void
queue_end(struct api_req *r, int err)
{
    if (r->raw != NULL)
        stack_cancel(&r->raw->x, err);
    else
        bdev_cancel(r->q->q, &r->req, err);
}

static void
queue_time_is_up(struct loop_timer *t)
{
    queue_end(container_of(t, struct api_req, limit), -ETIMEDOUT);
}

static void
queue_start_limit(struct api_req *r)
{
    loop_timer_start(r->q->lun->s->ctx->loop, &r->limit, r->q->timeout_ms * LOOP_NS_PER_MS);
}

static void
queue_set_fast(struct lunette_queue *q)
{
    struct api_req **none = q->free + q->depth;
    bool fast = q->q != NULL && q->timeout_ms == 0;

    q->no_read = fast ? q->free : none;
    q->no_write = fast && !q->read_only ? q->free : none;
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
    q->top = q->no_read = q->no_write = q->held = q->free + depth;
    q->finished = q->begin = q->end = q->held + depth;
    q->depth = depth;
    memset(q->reqs, 0, depth * sizeof(*q->reqs));
    for (uint32_t i = 0; i < depth; i++) {
        struct api_req *r = &q->reqs[i];

        r->q = q;
        r->sense = q->sense + (size_t)i * SCSI_SENSE_MAX;
        r->req.sense = r->sense;
        r->req.done = queue_req_done;
        loop_timer_init(&r->limit, queue_time_is_up);
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
    int r = api_error_check(err);

    if (r < 0)
        return r;
    if (lun->dev == NULL)
        return api_no_unit("queue", err);
    if (depth == 0 || depth > DEPTH_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "a queue's depth is 1..%d",
                            DEPTH_MAX);
    r = queue_alloc(depth, &q);
    if (r == 0 && lun->disk != NULL) {
        r = bdev_queue_new(lun->disk->bdev, lun->s->ctx->loop, depth, &q->q);
        if (r < 0)
            queue_release(q);
    }
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "no memory for a queue");
    q->lun = lun;
    q->read_only = (lun->flags & LUNETTE_OPEN_RDONLY) != 0;
    queue_set_fast(q);
    lun->queues++;
    *ret = q;
    return 0;
}

void
lunette_queue_free(struct lunette_queue *q)
{
    int r = 0;

    if (q == NULL)
        return;
    (void)lunette_queue_submit(q);
    assert(q->lun->queues > 0);
    while (r >= 0 && queue_finished(q) < queue_inflight(q))
        r = loop_run(q->lun->s->ctx->loop, -1);
    q->lun->queues--; /* which no callback may close before */
    if (r < 0)
        return; /* the loop is broken and requests still point here: the memory is left to them */
    if (q->q != NULL)
        bdev_queue_free(&q->q);
    queue_release(q);
}

/* ---- submitting ----------------------------------------------------------------------------- */

/* The caller's next call has come: requests whose sense it had may be used again.  True when there
 * is one to take. */
static bool __attribute__((noinline)) queue_end_hold(struct lunette_queue *q)
{
    assert(q->nheld <= q->depth);
    while (q->nheld > 0)
        *q->top++ = q->held[--q->nheld];
    return q->top != q->free;
}

static inline bool
queue_any_free(struct lunette_queue *q)
{
    return __builtin_expect(q->top != q->free, 1) || queue_end_hold(q);
}

static inline struct api_req *
queue_take(struct lunette_queue *q)
{
    return *--q->top;
}

static void
queue_give_back(struct api_req *r)
{
    assert(r->q->top < r->q->free + r->q->depth);
    *r->q->top++ = r;
}

static int __attribute__((noinline, cold)) queue_not_taken(struct api_req *r, int err)
{
    queue_give_back(r);
    return err;
}

/* Reads nothing of the queue after a bdev_submit that went well, so that nothing need be kept
 * across the call. */
static inline int
queue_submit_req(struct bdev_queue *q, struct api_req *r)
{
    int e = bdev_submit(q, &r->req);

    if (__builtin_expect(e != 0, 0))
        return queue_not_taken(r, e);
    return e;
}

static int
queue_submit_as(struct lunette_queue *q, struct api_req *r, void *user_data)
{
    int e;

    r->user_data = user_data;
    if (q->q == NULL)
        return queue_not_taken(r, -EOPNOTSUPP);
    if (q->timeout_ms == 0)
        return queue_submit_req(q->q, r);
    r->req.done = queue_timed_done;
    e = bdev_submit(q->q, &r->req);
    if (e < 0) {
        r->req.done = queue_req_done;
        return queue_not_taken(r, e);
    }
    queue_start_limit(r);
    return 0;
}

static inline uint32_t
queue_bdev_flags(uint32_t flags)
{
    return (flags & LUNETTE_FUA ? BDEV_F_FUA : 0) |
           (flags & LUNETTE_NO_UNMAP ? BDEV_F_NO_UNMAP : 0);
}

/* Sum of an iovec array, -EINVAL when it overflows. */
static int
queue_iov_len(const struct iovec *iov, int iovcnt, size_t *ret)
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

/* Called when the quick test has found no request to take.  0: one is free after all; -EOPNOTSUPP:
 * there is no disk; -EAGAIN: all are in use. */
static int __attribute__((noinline, cold)) queue_make_free(struct lunette_queue *q)
{
    if (q->q == NULL)
        return -EOPNOTSUPP;
    return queue_any_free(q) ? 0 : -EAGAIN;
}

static inline struct api_req *
queue_buffer_req(struct lunette_queue *q, uint64_t what, const struct iovec iov, uint64_t offset,
                 void *user_data)
{
    struct api_req *r = queue_take(q);

    r->iov = iov;
    r->user_data = user_data;
    r->req.op_flags = what;
    r->req.offset = offset;
    r->req.iov = &r->iov;
    r->req.len = iov.iov_len;
    r->req.iovcnt = 1;
    return r;
}

static int __attribute__((noinline, cold))
queue_read_other(struct lunette_queue *q, void *buf, size_t len, uint64_t offset, void *user_data)
{
    int e = queue_make_free(q);

    if (e < 0)
        return e;
    return queue_submit_as(q,
                           queue_buffer_req(q, bdev_op_flags(BDEV_READ, BDEV_F_PROMPT),
                                            (struct iovec){buf, len}, offset, user_data),
                           user_data);
}

int
lunette_queue_read(struct lunette_queue *q, void *buf, size_t len, uint64_t offset, void *user_data)
{
    if (__builtin_expect(q->top <= q->no_read, 0))
        return queue_read_other(q, buf, len, offset, user_data);
    return queue_submit_req(q->q, queue_buffer_req(q, bdev_op_flags(BDEV_READ, BDEV_F_PROMPT),
                                                   (struct iovec){buf, len}, offset, user_data));
}

static int __attribute__((noinline))
queue_write_other(struct lunette_queue *q, const void *buf, size_t len, uint64_t offset,
                  uint32_t flags, void *user_data)
{
    int e;

    if ((flags & ~API_WRITE_FLAGS) != 0)
        return -EINVAL;
    e = q->read_only ? -EROFS : queue_make_free(q);
    if (e < 0)
        return e;
    return queue_submit_as(
        q,
        queue_buffer_req(q, bdev_op_flags(BDEV_WRITE, queue_bdev_flags(flags) | BDEV_F_PROMPT),
                         (struct iovec){(void *)(uintptr_t)buf, len}, offset, user_data),
        user_data);
}

int
lunette_queue_write(struct lunette_queue *q, const void *buf, size_t len, uint64_t offset,
                    uint32_t flags, void *user_data)
{
    if (__builtin_expect(q->top <= q->no_write || flags != 0, 0))
        return queue_write_other(q, buf, len, offset, flags, user_data);
    return queue_submit_req(q->q, queue_buffer_req(q, bdev_op_flags(BDEV_WRITE, BDEV_F_PROMPT),
                                                   (struct iovec){(void *)(uintptr_t)buf, len},
                                                   offset, user_data));
}

static int
queue_vector_req(struct lunette_queue *q, enum bdev_op op, const struct iovec *iov, int iovcnt,
                 uint64_t offset, uint32_t flags, void *user_data)
{
    struct api_req *r;
    size_t len;
    int e = queue_iov_len(iov, iovcnt, &len);

    if (e < 0)
        return e;
    if ((flags & ~API_WRITE_FLAGS) != 0)
        return -EINVAL;
    if (op == BDEV_WRITE && q->read_only)
        return -EROFS;
    if (!queue_any_free(q))
        return -EAGAIN;
    r = queue_take(q);
    r->req.op_flags = bdev_op_flags(op, queue_bdev_flags(flags) | BDEV_F_PROMPT);
    r->req.offset = offset;
    r->req.iov = iov;
    r->req.len = len;
    r->req.iovcnt = (uint32_t)iovcnt;
    return queue_submit_as(q, r, user_data);
}

int
lunette_queue_readv(struct lunette_queue *q, const struct iovec *iov, int iovcnt, uint64_t offset,
                    void *user_data)
{
    return queue_vector_req(q, BDEV_READ, iov, iovcnt, offset, 0, user_data);
}

int
lunette_queue_writev(struct lunette_queue *q, const struct iovec *iov, int iovcnt, uint64_t offset,
                     uint32_t flags, void *user_data)
{
    return queue_vector_req(q, BDEV_WRITE, iov, iovcnt, offset, flags, user_data);
}

static int
queue_range_req(struct lunette_queue *q, enum bdev_op op, uint64_t len, uint64_t offset,
                uint32_t flags, void *user_data)
{
    struct api_req *r;

    if ((flags & ~API_ZERO_FLAGS) != 0)
        return -EINVAL;
    if (op != BDEV_FLUSH && q->read_only)
        return -EROFS;
    if (!queue_any_free(q))
        return -EAGAIN;
    r = queue_take(q);
    r->req.op_flags = bdev_op_flags(op, queue_bdev_flags(flags) | BDEV_F_PROMPT);
    r->req.offset = offset;
    r->req.len = len;
    r->req.iov = NULL;
    r->req.iovcnt = 0;
    return queue_submit_as(q, r, user_data);
}

int
lunette_queue_flush(struct lunette_queue *q, void *user_data)
{
    return queue_range_req(q, BDEV_FLUSH, 0, 0, 0, user_data);
}

int
lunette_queue_discard(struct lunette_queue *q, uint64_t len, uint64_t offset, void *user_data)
{
    return queue_range_req(q, BDEV_DISCARD, len, offset, 0, user_data);
}

int
lunette_queue_write_zeroes(struct lunette_queue *q, uint64_t len, uint64_t offset, uint32_t flags,
                           void *user_data)
{
    return queue_range_req(q, BDEV_WRITE_ZEROES, len, offset, flags, user_data);
}

int
lunette_queue_compare_and_write(struct lunette_queue *q, const void *expected, const void *data,
                                size_t len, uint64_t offset, uint32_t flags, void *user_data)
{
    struct api_req *r;

    if ((flags & ~API_WRITE_FLAGS) != 0)
        return -EINVAL;
    if (q->read_only)
        return -EROFS;
    if (!queue_any_free(q))
        return -EAGAIN;
    r = queue_take(q);
    r->pair[0] = (struct iovec){(void *)(uintptr_t)expected, len};
    r->pair[1] = (struct iovec){(void *)(uintptr_t)data, len};
    r->req.op_flags = bdev_op_flags(BDEV_COMPARE_WRITE, queue_bdev_flags(flags) | BDEV_F_PROMPT);
    r->req.offset = offset;
    r->req.iov = r->pair;
    r->req.len = len;
    r->req.iovcnt = 2;
    return queue_submit_as(q, r, user_data);
}

static void
queue_raw_done(struct scsi_exec *x)
{
    struct api_raw *raw = x->user;
    struct api_req *r = raw->r;

    assert(r->raw == raw);
    api_exec_result(x, raw->cmd);
    r->req.result = x->result;
    if (x->result.scsi_status != 0)
        r->req.result.err = 0; /* a status came back, and that is what the caller asked for */
    memcpy(r->sense, x->io.sc.sense, x->result.sense_len);
    r->raw = NULL;
    free(raw);
    loop_timer_stop(r->q->lun->s->ctx->loop, &r->limit);
    queue_add_finished(r);
}

int
lunette_queue_scsi(struct lunette_queue *q, struct lunette_scsi *cmd, void *user_data)
{
    struct api_raw *raw = calloc(1, sizeof(*raw));
    struct api_req *r = NULL;
    int e;

    if (raw == NULL)
        return -ENOMEM;
    e = api_scsi_check(cmd, NULL);
    if (e == 0)
        e = api_exec_prepare(q->lun, cmd, raw->iov, &raw->x);
    if (e == 0 && !queue_any_free(q))
        e = -EAGAIN;
    if (e == 0) {
        r = queue_take(q);
        r->raw = raw;
        raw->cmd = cmd;
        raw->r = r;
        raw->x.done = queue_raw_done;
        raw->x.user = raw;
        e = stack_execute(q->lun->dev, &raw->x);
        if (e < 0) {
            r->raw = NULL;
            queue_give_back(r);
        }
    }
    if (e < 0) {
        free(raw);
        return e;
    }
    r->user_data = user_data;
    if (q->timeout_ms != 0)
        queue_start_limit(r);
    return 0;
}

int
lunette_queue_set_timeout(struct lunette_queue *q, uint32_t timeout_ms)
{
    q->timeout_ms = timeout_ms;
    queue_set_fast(q);
    return 0;
}

int
lunette_queue_cancel(struct lunette_queue *q, const void *user_data)
{
    int n = 0;

    for (uint32_t i = 0; i < q->depth; i++)
        q->reqs[i].idle = false;
    for (struct api_req **r = q->free; r != q->top; r++)
        (*r)->idle = true;
    for (struct api_req **r = q->begin; r != q->end; r++)
        (*r)->idle = true;
    for (uint32_t i = 0; i < q->nheld; i++)
        q->held[i]->idle = true;
    for (uint32_t i = 0; i < q->depth; i++) {
        if (q->reqs[i].idle || q->reqs[i].user_data != user_data)
            continue;
        queue_end(&q->reqs[i], -ECANCELED);
        n++;
    }
    return n > 0 ? n : -ENOENT;
}

int
lunette_queue_submit(struct lunette_queue *q)
{
    if (q->q != NULL)
        bdev_commit(q->q);
    return 0;
}

/* ---- polling -------------------------------------------------------------------------------- */

/* Fills in *c for a request that did not simply go well.  True: the caller has its sense now, and r
 * is held until the next call. */
static bool __attribute__((noinline, cold))
queue_tell(struct api_req *r, struct lunette_completion *c)
{
    struct lunette_queue *q = r->q;

    c->err = r->req.result.err;
    c->status = r->req.result.scsi_status;
    c->sense_len = r->req.result.sense_len;
    if (c->sense_len == 0)
        return false;
    c->sense = r->sense;
    q->held[q->nheld++] = r;
    return true;
}

/* Sees to it that all requests that may yet finish have room behind `end`. */
static inline void
queue_make_room(struct lunette_queue *q)
{
    uint32_t n = queue_finished(q);

    if (n > 0 && q->begin < q->finished + q->depth)
        return;
    if (n > 0)
        memmove(q->finished, q->begin, n * sizeof(*q->begin));
    q->begin = q->finished;
    q->end = q->finished + n;
}

_Static_assert(sizeof(struct lunette_completion) == API_FIRST_COMPLETION,
               "queue_fill writes all of it: an older program's elements are smaller");

/* A completion for r.  True: as queue_tell. */
static inline bool
queue_fill(struct api_req *r, void *to)
{
    struct lunette_completion *c = to;

    *c = (struct lunette_completion){.user_data = r->user_data};
    return __builtin_expect(r->req.result.not_ok != 0, 0) && queue_tell(r, c);
}

/* Of n completions of a newer program, `size` bytes from one to the next, zeroes what is not known
 * here. */
static void
queue_zero_tails(char *c, size_t size, ptrdiff_t n)
{
    for (; n > 0; n--, c += size)
        memset(c + sizeof(struct lunette_completion), 0, size - sizeof(struct lunette_completion));
}

static int
queue_collect(struct lunette_queue *q, char *c, size_t size, int max)
{
    struct api_req **from = q->begin, **end = q->end, **to = q->top;
    ptrdiff_t n = end - from;

    if (n > max) {
        n = max;
        end = from + n;
    }
    if (__builtin_expect(size > sizeof(struct lunette_completion), 0))
        queue_zero_tails(c, size, n);
    for (; from != end; c += size) {
        struct api_req *r = *from++;

        *to = r;
        if (!queue_fill(r, c))
            to++;
    }
    q->top = to;
    q->begin = end;
    queue_make_room(q);
    return (int)n;
}

int
lunette_queue_poll_sized(struct lunette_queue *q, struct lunette_completion *done, size_t size,
                         int max, int min, int timeout_ms)
{
    struct loop *l = q->lun->s->ctx->loop;
    char *c = (char *)done;
    uint64_t end;
    int r;

    if (max <= 0 || size < API_FIRST_COMPLETION || size > API_SIZED_MAX)
        return -EINVAL;
    if (q->nheld > 0)
        queue_end_hold(q);
    (void)lunette_queue_submit(q);
    if (min > max)
        min = max;
    if (min < 0)
        min = 0;
    if (queue_finished(q) >= (uint32_t)min && queue_finished(q) > 0 && timeout_ms == 0)
        return queue_collect(q, c, size, max);
    /* One turn of the loop without waiting.  It is left out where one that waits follows at once,
     * unless that needs the present time for its deadline. */
    if (queue_finished(q) < (uint32_t)(min > 0 ? min : 1) &&
        (min == 0 || timeout_ms >= 0 || queue_finished(q) == queue_inflight(q))) {
        r = loop_run(l, 0);
        if (r < 0)
            return r;
    }
    end = timeout_ms < 0 ? UINT64_MAX : l->now_ns + (uint64_t)timeout_ms * LOOP_NS_PER_MS;
    while (queue_finished(q) < (uint32_t)min && queue_finished(q) < queue_inflight(q) &&
           l->now_ns < end) {
        r = loop_run(l, end == UINT64_MAX ? -1 : (int64_t)(end - l->now_ns));
        if (r < 0)
            return r;
    }
    return queue_collect(q, c, size, max);
}

int
lunette_queue_explain(const struct lunette_queue *q, const struct lunette_completion *c,
                      const char *what, struct lunette_error *err)
{
    struct bdev_result r = {.err = c->err, .scsi_status = c->status, .sense_len = c->sense_len};
    int e = api_error_check(err);

    return e < 0 ? e : api_result(q->lun, &r, c->sense, what, err);
}

int
lunette_queue_fd(struct lunette_queue *q)
{
    return loop_fd(q->lun->s->ctx->loop);
}

uint32_t
lunette_queue_inflight(const struct lunette_queue *q)
{
    return queue_inflight(q);
}
