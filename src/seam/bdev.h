/* SPDX-License-Identifier: MIT */
/* seam/bdev.h - block devices: what exports and the API submit to, and what a driver takes.
 *
 * Upper half: struct bdev, a table of operations, with queues that take struct bdev_req.  Whoever
 * has a struct bdev uses it through the inline callers here and need not know who implements it:
 * block/ implements one for a driver; a filter or multipath would be a bdev on a bdev.
 *
 * Lower half: struct blk_request, a tagged piece of a bdev_req within the driver's limits, which
 * block/ hands to struct bdev_driver_ops.
 *
 * A queue lives on one loop and is used on that loop's thread only.  What belongs to the device as
 * a whole (limits, drain, listeners) is used on the loop of its driver.  So nothing here takes a
 * lock.
 */
#ifndef SEAM_BDEV_H
#define SEAM_BDEV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/latency.h"
#include "base/list.h"
#include "base/sg.h"
#include "seam/host.h" /* SCSI_SENSE_MAX, for pass-through */
#include "seam/watch.h"

struct loop;
struct bdev;
struct bdev_queue;
struct bdev_req;

enum bdev_op {
    BDEV_READ,
    BDEV_WRITE,
    BDEV_FLUSH,         /* everything completed before is on stable storage */
    BDEV_DISCARD,       /* a hint: contents become undefined (or zero) */
    BDEV_WRITE_ZEROES,  /* the range reads as zeroes afterwards; unlike a discard this is no hint */
    BDEV_COMPARE_WRITE, /* iov: data to compare, then data to write; len is of one
                         */
    BDEV_SCSI,          /* pass-through of one CDB; bypasses limits and retries */
    BDEV_BLOCK_STATUS,  /* which parts of the range have storage: see extents */
    BDEV_NOPS,
};

/* A run of bytes of the device that are in the same state. */
struct bdev_extent {
    uint64_t len; /* bytes, a multiple of the logical block, not 0 */
    uint64_t state;
};
#define BDEV_EXTENT_HOLE (1u << 0) /* no storage is kept for it: a write may find no space */
#define BDEV_EXTENT_ZERO (1u << 1) /* it reads as zeroes */
#define BDEV_EXTENTS_MIN 2u        /* the room that bdev_req.extents has at least */

#define BDEV_F_FUA      (1u << 0) /* on stable storage when it is done */
#define BDEV_F_NO_UNMAP (1u << 1) /* write zeroes: the blocks stay allocated */
#define BDEV_F_FAILFAST                                                                            \
    (1u << 2) /* transport errors are not retried: a multipath has other paths, on which it        \
                 sends again what may have been executed only when the host of this one knows      \
                 that it is over there (docs/design/nexus.md) */
#define BDEV_F_PROMPT                                                                              \
    (1u << 3) /* done may be called while the driver is at work, since it                          \
                 only stores that the request has ended: it submits nothing,                       \
                 frees nothing and calls nobody, but to stop a timer of its own or                 \
                 to defer work */
#define BDEV_F_FAST                                                                                \
    (1u << 4) /* write zeroes: -EOPNOTSUPP, and no zero pages are written, where the device has no \
                 command that does it as it is asked for */

/* How a request ended, as the device told it.  Of a request that changes the device, -ENOTCONN says
 * that nothing was done; it is -ENOLINK where some of it may have been. */
struct bdev_result {
    union {
        struct {
            int err;             /* 0 or -errno */
            uint8_t host_result; /* enum scsi_host_result */
            uint8_t scsi_status; /* SAM status */
            uint16_t sense_len;  /* bytes in bdev_req.sense */
        };
        uint64_t not_ok; /* all four read as one word: 0 says that all of them are 0 */
    };
    uint32_t resid; /* pass-through: bytes of the data phase that did not move */
    bool overflow;  /* pass-through: the target had more */
};

/* One request.  The structure is the submitter's memory; from bdev_submit until done it belongs to
 * the device, and the submitter neither changes nor frees it, the iovecs and the data.
 *
 * The members that a read or write uses, `node` to `result`, stand together in 80 bytes, since with
 * many requests under way each cache line that is touched is a miss. */
struct bdev_req {
    union { /* the device's, from bdev_submit until done */
        struct list node;
        struct bdev_req *next; /* on the done list */
    };
    union {
        struct {
            uint32_t flags; /* BDEV_F_... */
            enum bdev_op op;
        };
        uint64_t op_flags; /* both read as one word: bdev_op_flags() */
    };
    uint64_t offset;         /* bytes, a multiple of the logical block */
    const struct iovec *iov; /* the data */
    uint64_t len; /* bytes; iov holds at least so many, twice so many for BDEV_COMPARE_WRITE */
    uint32_t iovcnt;
    uint32_t timeout_ms;              /* of one try; 0: the device's default.  Who wants a limit for
                                         the whole request sets a timer and calls bdev_cancel */
    void (*done)(struct bdev_req *r); /* once, later, on the queue's loop */
    struct bdev_result result;        /* out */

    uint8_t *sense; /* out: NULL, or SCSI_SENSE_MAX bytes of the submitter's for the sense data */

    union {
        struct { /* BDEV_SCSI */
            const uint8_t *cdb;
            uint16_t cdb_len; /* bytes, 6..SCSI_CDB_MAX */
            struct sg out, in;
        };
        struct { /* BDEV_BLOCK_STATUS */
            /* out: extents_max elements of the submitter's, BDEV_EXTENTS_MIN at least.  The driver
             * may receive the device's answer there, so that all of them may be written to. */
            struct bdev_extent *extents;
            uint32_t extents_max;
            /* out: how many are set, one after the other from offset on.  They end at offset + len
             * at most, and may end before: the submitter asks again for the rest.  At least one
             * where len is not 0 and all went well. */
            uint32_t extents_n;
        };
    };

    /* the device's, from bdev_submit until done, for a request that is not one piece as it is */
    uint64_t issued; /* bytes already cut into pieces; UINT64_MAX: all are, and the flush that
                        follows them is under way */
    uint32_t pieces; /* pieces outstanding */
    int canceled;    /* 0, or the err of the first bdev_cancel */
    bool begun;      /* the device may have done some of it */
    struct io_watch *watch; /* of one that is timed, else NULL */
};

/* The value of bdev_req.op_flags for an op with its flags, so that one store sets both and one
 * comparison looks at both. */
static inline uint64_t
bdev_op_flags(enum bdev_op op, uint32_t flags)
{
    union {
        struct {
            uint32_t flags;
            enum bdev_op op;
        };
        uint64_t op_flags;
    } u = {.flags = flags, .op = op};

    return u.op_flags;
}

/* What the device can do.  Sizes are in bytes, and 0 where the device has not told them, unless the
 * member's comment says otherwise. */
struct bdev_limits {
    uint64_t size;           /* bytes */
    uint32_t block_size;     /* logical block, a power of two */
    uint32_t physical_block; /* >= block_size */
    uint64_t max_transfer;   /* read, write: one piece; never 0 */
    uint64_t max_fast;       /* the same of a piece that goes by queue_rq_fast; 0: none may */
    uint64_t opt_transfer;   /* bytes: the size that the device prefers */
    uint32_t max_sg;         /* iovecs of one piece; never 0 */
    uint64_t max_discard;    /* 0: no discard */
    uint64_t discard_granularity;
    uint64_t max_write_zeroes;  /* 0: block/ writes zero pages instead */
    uint32_t max_compare_write; /* 0: the device has no compare and write */
    bool read_only;
    bool write_cache; /* what is written may be lost with the power until it is flushed */
    bool fua;         /* a write with BDEV_F_FUA needs no flush behind it */
    bool rotational;
};

enum bdev_event {
    BDEV_EV_RESIZED,
    BDEV_EV_GONE, /* the driver gets no more pieces, but still completes those that it has */
    BDEV_EV_LIMITS,
};

/* Counters of a device, or of one queue; they only grow. */
struct bdev_stats {
    struct {
        uint64_t reqs, errors, bytes;
    } op[BDEV_NOPS];    /* requests completed */
    uint64_t pieces;    /* pieces handed to the driver; one that is handed over again counts once */
    uint64_t splits;    /* requests that took more than one piece */
    uint64_t requeues;  /* pieces that the driver gave back to be issued again */
    uint64_t busy;      /* refusals by the driver */
    uint64_t timeouts;  /* pieces whose deadline passed */
    uint64_t driver_ns; /* sum over pieces: first handed to the driver until complete, without the
                           time in which the clock of the device stood still */
};

/* Requests are timed apart for what they do. */
enum bdev_class {
    BDEV_CLASS_READ,
    BDEV_CLASS_WRITE,
    BDEV_CLASS_OTHER, /* all other operations */
    BDEV_CLASSES,
};

/* How long requests took, failed ones too: from their submission until they were completed, and how
 * much of that in each stage.  Not each request is timed.  One that is stands for those of its
 * queue since the one before it, and is counted as often; so the counts are about those of all
 * requests, and means and percentiles may be taken of them.  The time in which the clock of a
 * device stood still is in it. */
struct bdev_latency {
    uint64_t timed; /* requests */
    struct latency total[BDEV_CLASSES], stage[BDEV_CLASSES][IO_STAGES];
};
#define BDEV_WATCH_EVERY 512u

/* A subscription to the events of a device; embedded in its owner's memory. */
struct bdev_listener {
    struct list node;
    void (*event)(struct bdev_listener *l, struct bdev *b, enum bdev_event ev);
};

/* What an implementer provides.  The functions below, through which these are called, say what each
 * of them does. */
struct bdev_ops {
    int (*queue_new)(struct bdev *b, struct loop *loop, uint32_t depth, struct bdev_queue **ret);
    const struct bdev_limits *(*limits)(const struct bdev *b);
    int (*drain)(struct bdev *b, void (*drained)(void *user), void *user);
    void (*set_timeout)(struct bdev *b, uint32_t timeout_ms);
    void (*stats)(const struct bdev *b, struct bdev_stats *ret);
    const struct bdev_latency *(*latency)(const struct bdev *b); /* NULL: nothing is timed */
    void (*set_watch)(struct bdev *b, uint32_t every, bool few); /* NULL: the same */
};

struct bdev_queue_ops {
    int (*submit)(struct bdev_queue *q, struct bdev_req *r);
    void (*commit)(struct bdev_queue *q);
    void (*cancel)(struct bdev_queue *q, struct bdev_req *r, int err);
    uint32_t (*outstanding)(const struct bdev_queue *q);
    void (*free)(struct bdev_queue *q);
};

/* A device.  It is the first member of the structure in which its implementer keeps the device; the
 * implementer makes and frees it (blk_dev_new and blk_dev_free of block/).  Before it is freed its
 * users have freed their queues; listeners that are left are let go of without a call. */
struct bdev {
    const struct bdev_ops *ops;
    struct list listeners; /* bdev_listener */
};

/* A queue of a device; the first member of the implementer's own structure. */
struct bdev_queue {
    const struct bdev_queue_ops *ops;
    struct loop *loop; /* where it lives, and done is called */
    struct bdev *bdev;
    uint32_t depth; /* pieces that may be with the driver at once */
};

/* Makes a queue that lives on loop.  depth: pieces that may be with the driver at once, from 1; any
 * number of requests may wait.  *ret is the caller's until bdev_queue_free, which is due before
 * the device is freed.  0, -EINVAL depth, -ENOMEM, or -ENOTSUP: the device cannot serve that loop.
 * All queues of a device of block/ must live on the loop of its driver; block/ only notices a queue
 * that is on another loop than the first one. */
static inline int
bdev_queue_new(struct bdev *b, struct loop *loop, uint32_t depth, struct bdev_queue **ret)
{
    return b->ops->queue_new(b, loop, depth, ret);
}

/* Frees a queue on which nothing is outstanding (bdev_queue_outstanding), and sets *q NULL. Whoever
 * wants to stop early cancels what is outstanding, and waits all the same: until a request is done,
 * the driver may still write to its memory.  NULL is harmless.  Not to be called from a done
 * callback. */
static inline void
bdev_queue_free(struct bdev_queue **q)
{
    if (*q != NULL)
        (*q)->ops->free(*q);
    *q = NULL;
}

/* Takes r until r->done, which is called once, later, never from inside this call.  A request that
 * cannot be tried at all is refused with -errno, and its done is not called: -EINVAL (misaligned,
 * past the end, or with less memory than len), -EROFS, -EOPNOTSUPP (the device has no compare and
 * write, or has no write zeroes and BDEV_F_FAST asks for them), -ENODEV (the device is gone or
 * draining).  A request of length 0 ends well without the device. */
static inline int
bdev_submit(struct bdev_queue *q, struct bdev_req *r)
{
    return q->ops->submit(q, r);
}

/* Lets everything submitted leave now instead of at the end of the loop's turn. */
static inline void
bdev_commit(struct bdev_queue *q)
{
    q->ops->commit(q);
}

/* Has r, which has been submitted and whose done has not been called, end as soon as the device has
 * let go of it.  done is called once, as ever, and not from inside this call.  err is -ECANCELED,
 * or -ETIMEDOUT where the time is up that r had as a whole, however often it was tried.
 *
 * What the device does not have at that moment, since it waits to be sent or to be sent again, ends
 * at once.  What it has is aborted.  Where that does not help, the end of the command is waited
 * for; with -ETIMEDOUT it is brought about by all means that the device has, as that of a command
 * that is not answered.
 *
 * r ends with err, unless it has gone well, or has failed in a way that the device told, before the
 * abort took effect.  Of what the device had, any part may have been done, and may yet be while
 * there is no session: then it ends before anything else is sent.  A request that has ended already
 * stays as it is.  May be called again, as with -ETIMEDOUT after -ECANCELED; the first err counts.
 */
static inline void
bdev_cancel(struct bdev_queue *q, struct bdev_req *r, int err)
{
    q->ops->cancel(q, r, err);
}

/* Requests submitted and not yet given back. */
static inline uint32_t
bdev_queue_outstanding(const struct bdev_queue *q)
{
    return q->ops->outstanding(q);
}

/* From now on the device refuses new requests on all of its queues with -ENODEV.  Returns 0 when
 * nothing is outstanding on any queue.  Otherwise returns -EINPROGRESS and calls drained once,
 * later, on the loop of the device's driver, when that is so; the device may be freed from inside
 * drained. Not to be called again before drained has been. */
static inline int
bdev_drain(struct bdev *b, void (*drained)(void *user), void *user)
{
    return b->ops->drain(b, drained, user);
}

/* The limits are the device's memory: they are valid until its next event, or until it is freed. */
static inline const struct bdev_limits *
bdev_get_limits(const struct bdev *b)
{
    return b->ops->limits(b);
}

/* How many times the limit of bdev_set_timeout one try of a request with that op may take, where
 * the request does not say: a flush may have a whole cache to write, and write zeroes a whole
 * range. */
static inline uint32_t
bdev_time_limits(enum bdev_op op)
{
    return op == BDEV_WRITE_ZEROES ? 4 : op == BDEV_FLUSH ? 2 : 1;
}

/* Sets the time limit of requests whose own timeout_ms is 0; the limit is not 0.  A flush gets
 * twice as long, write zeroes four times as long (bdev_time_limits). */
static inline void
bdev_set_timeout(struct bdev *b, uint32_t timeout_ms)
{
    b->ops->set_timeout(b, timeout_ms);
}

/* *ret is the sum over all queues, also over those that have been freed. */
static inline void
bdev_get_stats(const struct bdev *b, struct bdev_stats *ret)
{
    b->ops->stats(b, ret);
}

/* The device's memory, which changes while requests end and is valid until the device is freed;
 * NULL: none has been timed yet. */
static inline const struct bdev_latency *
bdev_get_latency(const struct bdev *b)
{
    return b->ops->latency != NULL ? b->ops->latency(b) : NULL;
}

/* Has one request in `every` timed, on the average; 0: none.  few: with few requests more of them
 * are timed.  A device begins with BDEV_WATCH_EVERY and few. */
static inline void
bdev_set_watch(struct bdev *b, uint32_t every, bool few)
{
    if (b->ops->set_watch != NULL)
        b->ops->set_watch(b, every, few);
}

/* l is called for each event, on the loop of the device's driver, until bdev_unlisten.  By then
 * bdev_get_limits has the new limits.  From inside the callback a listener may unlisten itself, but
 * no other. */
static inline void
bdev_listen(struct bdev *b, struct bdev_listener *l)
{
    list_push_back(&b->listeners, &l->node);
}

/* May be called twice, and after the device has been freed. */
static inline void
bdev_unlisten(struct bdev_listener *l)
{
    list_del(&l->node);
}

/* The next three functions are for implementers: bdev_init for a new device, bdev_fini for one that
 * is about to be freed, and bdev_tell to tell each listener of an event. */
static inline void
bdev_init(struct bdev *b, const struct bdev_ops *ops)
{
    b->ops = ops;
    list_init(&b->listeners);
}

static inline void
bdev_fini(struct bdev *b)
{
    while (list_pop_front(&b->listeners) != NULL)
        ;
}

static inline void
bdev_tell(struct bdev *b, enum bdev_event ev)
{
    LIST_FOREACH_SAFE (n, &b->listeners) {
        struct bdev_listener *l = container_of(n, struct bdev_listener, node);

        l->event(l, b, ev);
    }
}

/* ---- the lower half: drivers ------------------------------------------------------------------
 */

/* A piece of a bdev_req on its way through a driver.  The driver's own part, cmd_size bytes,
 * follows it.
 *
 * The members that are set for queue_rq_fast stand in the first cache line. */
struct blk_request {
    struct bdev_req *parent; /* the request that it is a piece of */
    struct bdev_queue *queue;
    uint64_t start_ns; /* loop clock when first handed to the driver, moved on by the time in which
                          the clock of the device stood still */
    uint32_t tag;      /* 0 .. depth - 1, free again after complete */
    uint16_t retries;  /* the driver's count */
    uint8_t state;     /* enum piece_state of block/: who has the piece */

    /* The members from here on are not set in a piece that goes by queue_rq_fast, until
     * blk_upcalls.make_general sets them. */
    enum bdev_op op;
    uint32_t flags;
    uint64_t offset;      /* bytes */
    uint64_t len;         /* bytes */
    uint64_t deadline_ns; /* loop clock */
    struct sg data;

    struct bdev_result result; /* all 0 when the driver gets the piece; it sets what is not, before
                                  blk_upcalls.complete */
};

enum blk_timeout { BLK_TIMEOUT_RESET_TIMER, BLK_TIMEOUT_DRIVER_HAS_IT };

/* What a driver (the SCSI disk) implements; called by block/. */
struct bdev_driver_ops {
    size_t cmd_size; /* bytes of driver memory behind each blk_request */
    /* Called for each tag of a new queue, and again for one whose piece the driver has refused, or
     * given back by requeue, and will not see any more, when the driver's part is all zero.  What
     * it sets there stays from one use of the tag to the next.  May be NULL. */
    void (*init_rq)(void *drv, struct blk_request *rq);
    /* Returns 0: the driver has taken rq and will call blk_upcalls.complete or requeue; or -EBUSY:
     * not now, the driver calls blk_upcalls.restart when it can; any other -errno fails rq. */
    int (*queue_rq)(void *drv, struct blk_request *rq);
    /* Takes a read or write that is one piece: all of r, of one iovec, not above max_fast and with
     * no flag but BDEV_F_PROMPT.  lba and blocks say where it is and how long, in logical blocks.
     * Of rq only the result and the members before `op` are set, until blk_upcalls.make_general.
     * Always returns 0: to refuse rq, the driver calls blk_upcalls.refuse_fast, so that no caller
     * has to test what is returned.  May be NULL. */
    int (*queue_rq_fast)(void *drv, const struct bdev_req *r, struct blk_request *rq, uint64_t lba,
                         uint64_t blocks);
    /* Lets what the driver has taken since the last commit leave together. */
    void (*commit)(void *drv);
    /* The deadline of rq has passed.  BLK_TIMEOUT_RESET_TIMER: block/ waits for one more timeout;
     * BLK_TIMEOUT_DRIVER_HAS_IT: block/ watches rq no more, and the driver completes or requeues it
     * when it can. */
    enum blk_timeout (*timeout)(void *drv, struct blk_request *rq);
    /* rq is not wanted any more: the driver gives it back as soon as it can, by complete, with
     * result.host_result other than DID_OK where the device has told nothing; or by requeue, and
     * block/ issues it no more.  It may do so from inside.  err is that of bdev_cancel.  May be
     * called more than once.  NULL: rq is waited for. */
    void (*cancel)(void *drv, struct blk_request *rq, int err);
    /* The driver has just taken rq, by queue_rq or queue_rq_fast, which has been made general in
     * the second case; w goes along.  It is in the stage WINDOW, and from now on the driver moves
     * it, until it calls complete or requeue.  NULL: all that the driver does is TARGET. */
    void (*watch)(void *drv, struct blk_request *rq, struct io_watch *w);
};

/* What a driver calls.  block/ has the table, and whoever plugs a driver to block/ hands it to the
 * driver. */
struct blk_upcalls {
    /* Finishes rq; the submitter's done is called later in the turn.  May be called from inside
     * queue_rq, which then returns 0.  Where rq->result.err is -EOPNOTSUPP, a discard counts as
     * done, write zeroes are made of ordinary writes unless they have BDEV_F_FAST, and all of a
     * range counts as having storage.
     */
    void (*complete)(struct blk_request *rq);
    /* The same, but done is called at once.  Only for a piece that came by queue_rq_fast, has gone
     * well, and has been handed to none of the other calls; never from inside queue_rq_fast. */
    void (*complete_fast)(struct blk_request *rq);
    /* Sets what queue_rq_fast had left unset, so that rq is as if it had come by queue_rq. A piece
     * that did come by queue_rq stays as it is. */
    void (*make_general)(struct blk_request *rq);
    /* Called from inside queue_rq_fast: the driver does not take rq, and err is what queue_rq would
     * have returned. */
    void (*refuse_fast)(struct blk_request *rq, int err);
    /* Takes rq back to be issued again after delay_ns of the device's clock (0: this turn).  The
     * driver may have moved offset, len and data of rq past what is done already. */
    void (*requeue)(struct blk_request *rq, uint64_t delay_ns);
    /* The driver can take pieces again that it refused with -EBUSY. */
    void (*restart)(struct bdev *b);
    /* Tells of an event of the driver's device.  limits: the new ones, which are copied; NULL with
     * BDEV_EV_GONE, after which block/ does not call the driver any more. */
    void (*event)(struct bdev *b, enum bdev_event ev, const struct bdev_limits *limits);
    /* Tells of BDEV_EV_GONE where the driver lives on: block/ still calls timeout and cancel for
     * the pieces that it has.  What fails and is refused because of it has err; by event it has
     * -ENODEV. */
    void (*gone)(struct bdev *b, int err);
    /* The clock of the device stands still while the way to it is being recovered, and then runs
     * on: start_ns and deadline_ns of every piece, and the end of the delay of one that was taken
     * back, are moved by the time between.  So no piece passes its deadline meanwhile, and none has
     * less time left for it.  May be told again what is so already. */
    void (*clock)(struct bdev *b, bool runs);
    /* What was taken back with a delay is issued now: there is nothing left to wait for. */
    void (*no_delay)(struct bdev *b);
};

/* Where the sense data of rq is to be stored: NULL if nobody wants it, or if another piece of the
 * request has failed before, whose sense data is kept. */
static inline uint8_t *
blk_request_sense(const struct blk_request *rq)
{
    return rq->parent->result.err == 0 ? rq->parent->sense : NULL;
}

static inline void *
blk_request_cmd(struct blk_request *rq)
{
    return rq + 1;
}

#endif
