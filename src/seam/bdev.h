/* SPDX-License-Identifier: MIT */
/* seam/bdev.h - block devices: what exports and the API submit to, and what a driver takes.
 *
 * Upper half: struct bdev with queues that take struct bdev_req.  Lower half:
 * struct blk_request, a tagged piece of a bdev_req within the driver's limits,
 * handed to struct bdev_driver_ops.  A filter or multipath is a bdev on a bdev.
 *
 * A queue lives on one loop and is used on its thread only: no lock.
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

#define BDEV_F_FUA      (1u << 0) /* write through the cache */
#define BDEV_F_NO_UNMAP (1u << 1) /* write zeroes: allocate */
#define BDEV_F_FAILFAST                                                                            \
    (1u << 2) /* no retries of transport errors: a multipath has another path                      \
               */
#define BDEV_F_PROMPT                                                                              \
    (1u << 3) /* done only takes note, and may be called at once, from inside the driver's work:   \
                 it submits nothing, frees nothing and calls nobody */

/* How a request ended, kept as the device told it. */
struct bdev_result {
    union { /* one look tells whether there is anything to tell */
        struct {
            int err;             /* 0 or -errno */
            uint8_t host_result; /* enum scsi_host_result */
            uint8_t scsi_status; /* SAM status */
            uint16_t sense_len;
        };
        uint64_t not_ok; /* 0: err, host_result, scsi_status and sense_len are all 0 */
    };
    uint32_t resid; /* pass-through: bytes of the data phase that did not move */
    bool overflow;  /* pass-through: the target had more */
};

/* One request; the submitter's memory until done, untouched by it meanwhile.
 *
 * What a read or write uses stands together, `node` to `result` in 80 bytes: with many requests
 * under way each cache line of one is a miss. */
struct bdev_req {
    union { /* block/'s while it owns the request */
        struct list node;
        struct bdev_req *next; /* on the done list */
    };
    union {
        struct {
            uint32_t flags;
            enum bdev_op op;
        };
        uint64_t op_flags; /* both: bdev_op_flags */
    };
    uint64_t offset;         /* bytes, a multiple of the logical block */
    const struct iovec *iov; /* data; the array and the memory stay the submitter's until done */
    uint64_t len;            /* bytes; data requests: also the bytes in data */
    uint32_t iovcnt;
    uint32_t timeout_ms;              /* 0: the device's default */
    void (*done)(struct bdev_req *r); /* once, later, on the queue's loop */
    struct bdev_result result;        /* out */

    uint8_t *sense; /* out: NULL, or SCSI_SENSE_MAX bytes of the submitter's for the sense data */

    /* BDEV_SCSI */
    const uint8_t *cdb;
    uint16_t cdb_len;
    struct sg out, in;

    /* block/'s while it owns the request and it is not wholly in one piece */
    uint64_t issued; /* bytes already cut into pieces; UINT64_MAX: and flushed behind */
    uint32_t pieces; /* pieces outstanding */
};

/* One store or look for both. */
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
    uint64_t max_fast;       /* likewise, as queue_rq_fast takes them; 0: it takes none */
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

/* A piece of a bdev_req on its way through a driver.  The driver's own part follows it.
 *
 * What a plain one uses is in the first cache line. */
struct blk_request {
    struct bdev_req *parent;
    struct bdev_queue *queue;
    uint64_t start_ns; /* loop clock when first handed to the driver */
    uint32_t tag;      /* 0 .. depth - 1, free again after complete */
    uint16_t retries;  /* the driver's count */
    uint8_t held;      /* block/'s */

    /* not laid out for queue_rq_fast */
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
    /* What came by queue_rq_fast becomes as if it had come by queue_rq, all of it laid out.
     * Harmless when it has. */
    void (*make_general)(struct blk_request *rq);
    /* From inside queue_rq_fast: rq is not taken, err is what queue_rq would return. */
    void (*refuse_fast)(struct blk_request *rq, int err);
    /* Takes rq back to be issued again after delay_ns (0: this turn).  The driver may have moved
     * offset, len and data of rq past what is done already. */
    void (*requeue)(struct blk_request *rq, uint64_t delay_ns);
    /* Queues that were refused may try again. */
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
