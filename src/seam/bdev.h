/* SPDX-License-Identifier: MIT */
/* seam/bdev.h - block devices: what exports and the API submit to, and what a driver takes.
 *
 * Upper half: struct bdev, a table of operations, with queues that take struct bdev_req.  Whoever
 * has a struct bdev uses it through the inline callers here and need not know who implements it:
 * block/ does for a driver, and a filter or multipath is a bdev on a bdev.
 *
 * Lower half: struct blk_request, a tagged piece of a bdev_req within the driver's limits, which
 * block/ hands to struct bdev_driver_ops.
 *
 * A queue lives on one loop and is used on its thread only, and so is what belongs to the device as
 * a whole (limits, drain, listeners), on the loop of its driver: no lock.
 */
#ifndef SEAM_BDEV_H
#define SEAM_BDEV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/sg.h"
#include "seam/host.h" /* SCSI_SENSE_MAX, for pass-through */

struct loop;
struct bdev;
struct bdev_queue;
struct bdev_req;

enum bdev_op {
    BDEV_READ,
    BDEV_WRITE,
    BDEV_FLUSH,         /* everything completed before is on stable storage */
    BDEV_DISCARD,       /* a hint: contents become undefined (or zero) */
    BDEV_WRITE_ZEROES,  /* not a hint */
    BDEV_COMPARE_WRITE, /* data: compare part, then write part, offset/len of one part */
    BDEV_SCSI,          /* pass-through of one CDB; bypasses limits and retries */
    BDEV_NOPS,
};

#define BDEV_F_FUA      (1u << 0) /* on stable storage when it is done */
#define BDEV_F_NO_UNMAP (1u << 1) /* write zeroes: the blocks stay allocated */
#define BDEV_F_FAILFAST                                                                            \
    (1u << 2) /* transport errors are not retried: a multipath has other paths */
#define BDEV_F_PROMPT                                                                              \
    (1u << 3) /* done may be called at once, from inside the driver's work,                        \
                 because it only takes note: it submits nothing, frees nothing                     \
                 and calls nobody */

/* How a request ended, kept as the device told it. */
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
 * What a read or write uses stands together, `node` to `result` in 80 bytes: with many requests
 * under way each cache line of one is a miss. */
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
    uint64_t len;            /* bytes; data requests: also the bytes in data */
    uint32_t iovcnt;
    uint32_t timeout_ms;              /* of one try; 0: the device's default */
    void (*done)(struct bdev_req *r); /* once, later, on the queue's loop */
    struct bdev_result result;        /* out */

    uint8_t *sense; /* out: NULL, or SCSI_SENSE_MAX bytes of the submitter's for the sense data */

    /* BDEV_SCSI */
    const uint8_t *cdb;
    uint16_t cdb_len; /* bytes, 6..SCSI_CDB_MAX */
    struct sg out, in;

    /* the device's, from bdev_submit until done, for a request that is not one piece as it is */
    uint64_t issued; /* bytes already cut into pieces; UINT64_MAX: and flushed behind */
    uint32_t pieces; /* pieces outstanding */
};

/* What bdev_req.op_flags is for op and flags: one store sets both, one comparison compares both. */
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

/* What the device can do; in bytes, 0 where not told, unless said. */
struct bdev_limits {
    uint64_t size;           /* bytes */
    uint32_t block_size;     /* logical block, a power of two */
    uint32_t physical_block; /* >= block_size */
    uint64_t max_transfer;   /* read, write: one piece; never 0 */
    uint64_t max_fast;       /* likewise, of queue_rq_fast; 0: it takes none */
    uint64_t opt_transfer;   /* good size */
    uint32_t max_sg;         /* iovecs of one piece; never 0 */
    uint64_t max_discard;    /* 0: no discard */
    uint64_t discard_granularity;
    uint64_t max_write_zeroes;  /* 0: block/ writes zero pages instead */
    uint32_t max_compare_write; /* 0: not there */
    bool read_only;
    bool write_cache; /* flush does something */
    bool fua;         /* BDEV_F_FUA needs no flush behind it */
    bool rotational;
};

enum bdev_event {
    BDEV_EV_RESIZED,
    BDEV_EV_GONE, /* the driver is not called any more; it gives back what it has */
    BDEV_EV_LIMITS,
};

/* Counters of a device, or of one queue; they only grow. */
struct bdev_stats {
    struct {
        uint64_t reqs, errors, bytes;
    } op[BDEV_NOPS];    /* requests completed */
    uint64_t pieces;    /* handed to the driver, again ones not counted */
    uint64_t splits;    /* requests that took more than one piece */
    uint64_t requeues;  /* pieces taken back */
    uint64_t busy;      /* refusals by the driver */
    uint64_t timeouts;  /* pieces whose deadline passed */
    uint64_t driver_ns; /* sum over pieces: first handed to the driver until complete */
};

/* Who wants to know of events; embedded in its owner, whose it stays. */
struct bdev_listener {
    struct list node;
    void (*event)(struct bdev_listener *l, struct bdev *b, enum bdev_event ev);
};

/* What implements a device.  Called through the functions below, which say what each does. */
struct bdev_ops {
    int (*queue_new)(struct bdev *b, struct loop *loop, uint32_t depth, struct bdev_queue **ret);
    const struct bdev_limits *(*limits)(const struct bdev *b);
    int (*drain)(struct bdev *b, void (*drained)(void *user), void *user);
    void (*set_timeout)(struct bdev *b, uint32_t timeout_ms);
    void (*stats)(const struct bdev *b, struct bdev_stats *ret);
};

struct bdev_queue_ops {
    int (*submit)(struct bdev_queue *q, struct bdev_req *r);
    void (*commit)(struct bdev_queue *q);
    uint32_t (*outstanding)(const struct bdev_queue *q);
    void (*free)(struct bdev_queue *q);
};

/* A device; the first member of what its implementer keeps of it, who makes and frees it
 * (blk_dev_new of block/, or a filter's own).  Before it is freed its users have let go: no
 * listener is left that may be called, and no queue that may be used. */
struct bdev {
    const struct bdev_ops *ops;
    struct list listeners; /* bdev_listener */
};

/* A queue of a device; the first member of what the device's implementer keeps of it. */
struct bdev_queue {
    const struct bdev_queue_ops *ops;
    struct loop *loop; /* where it lives, and done is called */
    struct bdev *bdev;
    uint32_t depth; /* pieces that may be with the driver at once */
};

/* Makes a queue that lives on loop.  depth: pieces that may be with the driver at once, from 1; any
 * number of requests may wait.  *ret is the caller's until bdev_queue_free, which is due before
 * the device is freed.  0, -EINVAL depth, -ENOMEM, or -ENOTSUP: the device cannot serve that loop
 * (block/ serves that of its driver, which the caller sees to). */
static inline int
bdev_queue_new(struct bdev *b, struct loop *loop, uint32_t depth, struct bdev_queue **ret)
{
    return b->ops->queue_new(b, loop, depth, ret);
}

/* Frees a queue on which nothing is outstanding (bdev_queue_outstanding), and sets *q NULL. Whoever
 * wants to stop early waits all the same: until a request is done, the driver may still write to
 * its memory.  Only the end of the device itself ends requests before their time.  NULL is
 * harmless. Not to be called from a done callback. */
static inline void
bdev_queue_free(struct bdev_queue **q)
{
    if (*q != NULL)
        (*q)->ops->free(*q);
    *q = NULL;
}

/* Takes r until r->done, which comes later, once, never from inside this call.  -errno, and no
 * done, only for a request that makes no sense: -EINVAL misaligned, past the end or with less
 * memory than len, -EROFS, -EOPNOTSUPP (compare and write not there), -ENODEV (device gone or
 * draining).  Length 0 is done without the device. */
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

/* Requests submitted and not yet given back. */
static inline uint32_t
bdev_queue_outstanding(const struct bdev_queue *q)
{
    return q->ops->outstanding(q);
}

/* Takes no new requests (-ENODEV), on no queue, from now on.  0: none is outstanding on any queue.
 * -EINPROGRESS: drained is called once, later, when that is so, on the loop of the device's
 * driver; the device may be freed from it.  One drain at a time. */
static inline int
bdev_drain(struct bdev *b, void (*drained)(void *user), void *user)
{
    return b->ops->drain(b, drained, user);
}

/* The device's, valid until its next event and its end. */
static inline const struct bdev_limits *
bdev_get_limits(const struct bdev *b)
{
    return b->ops->limits(b);
}

/* For requests that say timeout_ms 0; not 0.  Flush gets twice, write zeroes four times as much. */
static inline void
bdev_set_timeout(struct bdev *b, uint32_t timeout_ms)
{
    b->ops->set_timeout(b, timeout_ms);
}

/* Sum over all queues, also those freed. */
static inline void
bdev_get_stats(const struct bdev *b, struct bdev_stats *ret)
{
    b->ops->stats(b, ret);
}

/* l is called, on the loop of the device's driver, until bdev_unlisten; it may unlisten itself from
 * inside, but no other.  New limits can be had from bdev_get_limits then. */
static inline void
bdev_listen(struct bdev *b, struct bdev_listener *l)
{
    list_push_back(&b->listeners, &l->node);
}

/* Harmless twice, and after the device's end. */
static inline void
bdev_unlisten(struct bdev_listener *l)
{
    list_del(&l->node);
}

/* For implementers: a new device has no listeners, a device that ends lets go of those it has, and
 * each hears of an event. */
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

/* A piece of a bdev_req on its way through a driver.  The driver's own part follows it.
 *
 * What one uses that came by queue_rq_fast is in the first cache line. */
struct blk_request {
    struct bdev_req *parent; /* the request that it is a piece of */
    struct bdev_queue *queue;
    uint64_t start_ns; /* loop clock when first handed to the driver */
    uint32_t tag;      /* 0 .. depth - 1, free again after complete */
    uint16_t retries;  /* the driver's count */
    uint8_t state;     /* block/'s: who has the piece */

    /* From here on nothing is set for queue_rq_fast, until make_general. */
    enum bdev_op op;
    uint32_t flags;
    uint64_t offset;      /* bytes */
    uint64_t len;         /* bytes */
    uint64_t deadline_ns; /* loop clock */
    struct sg data;

    struct bdev_result result; /* all 0; where it is not, set by the driver before blk_complete */
};

enum blk_timeout { BLK_TIMEOUT_RESET_TIMER, BLK_TIMEOUT_DRIVER_HAS_IT };

/* What a driver (the SCSI disk) implements; called by block/. */
struct bdev_driver_ops {
    size_t cmd_size; /* bytes of driver memory behind each blk_request */
    /* Once for each tag of a new queue, its driver memory being zero; may be NULL.  What is laid
     * out here stays from one use of the tag to the next. */
    void (*init_rq)(void *drv, struct blk_request *rq);
    /* 0: taken, blk_complete follows.  -EBUSY: not now; the driver calls blk_restart. */
    int (*queue_rq)(void *drv, struct blk_request *rq);
    /* Likewise for a read or write that is the whole of r, of one iovec, within max_fast and
     * without flags but BDEV_F_PROMPT, in logical blocks.  Of rq the result and what stands before
     * `op` hold, until blk_upcalls.make_general.  Returns 0: refuses by blk_upcalls.refuse_fast, so
     * that nobody above has to look.  May be NULL. */
    int (*queue_rq_fast)(void *drv, const struct bdev_req *r, struct blk_request *rq, uint64_t lba,
                         uint64_t blocks);
    /* What queue_rq took since the last commit may leave. */
    void (*commit)(void *drv);
    /* rq's deadline has passed.  DRIVER_HAS_IT: the driver completes or requeues it some day. */
    enum blk_timeout (*timeout)(void *drv, struct blk_request *rq);
};

/* How the driver calls back; given to it by block/ through whoever plugs both together. */
struct blk_upcalls {
    /* Finishes rq; the submitter's done comes later in the turn, in lists.  May be called from
     * inside queue_rq, which then returns 0.  rq->result.err -EOPNOTSUPP: a discard is dropped,
     * write zeroes become ordinary writes. */
    void (*complete)(struct blk_request *rq);
    /* The same, with done called at once, for what came by queue_rq_fast, has gone well and has
     * been through none of the others.  Not from inside queue_rq_fast. */
    void (*complete_fast)(struct blk_request *rq);
    /* Sets what queue_rq_fast had left unset, so that rq is as if it had come by queue_rq. Harmless
     * where it did. */
    void (*make_general)(struct blk_request *rq);
    /* From inside queue_rq_fast: rq is not taken, err is what queue_rq would return. */
    void (*refuse_fast)(struct blk_request *rq, int err);
    /* Takes rq back to be issued again after delay_ns (0: this turn).  The driver may have moved
     * offset, len and data of rq past what is done already. */
    void (*requeue)(struct blk_request *rq, uint64_t delay_ns);
    /* Queues whose pieces were refused with -EBUSY may try again. */
    void (*restart)(struct bdev *b);
    /* limits: the new ones, copied; NULL with BDEV_EV_GONE. */
    void (*event)(struct bdev *b, enum bdev_event ev, const struct bdev_limits *limits);
};

/* Where sense data of rq belongs: NULL if nobody wants it, or another piece's is there already. */
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
