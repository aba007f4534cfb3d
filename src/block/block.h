/* SPDX-License-Identifier: MIT */
/* block/block.h - the multi-queue block layer between who submits bdev_reqs and a driver.
 *
 * bdev_submit issues a request that fits the limits at once to the driver
 * (blk_mq_try_issue_directly) when nothing waits before it; all else waits in
 * order and is cut into pieces and dispatched once per turn
 * (blk_mq_dispatch_rq_list).  What the driver took leaves with one commit:
 * bdev_commit, or by itself at the end of the turn.  Completions are gathered
 * and delivered at the end of the turn; a done callback may submit again.
 *
 * Nothing is allocated after bdev_queue_new.  A queue is used on its loop's
 * thread only; all queues of a bdev must be on the loop of its driver.
 */
#ifndef BLOCK_BLOCK_H
#define BLOCK_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "seam/bdev.h"
#include "seam/loop.h"

#define BLK_QUEUE_DEPTH_MAX    65536
#define BLK_TIMEOUT_DEFAULT_MS 30000
#define BLK_TRANSFER_MAX       (1u << 30) /* bytes of a piece, whatever the limits say */

/* What block/ offers to a driver (seam/bdev.h); complete is Linux's blk_mq_complete_request. */
extern const struct blk_upcalls blk_upcalls;

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

/* Who wants to know of events; embedded in its owner. */
struct bdev_listener {
    struct list node;
    void (*event)(struct bdev_listener *l, struct bdev *b, enum bdev_event ev);
};

/* drv is borrowed and handed to each of ops.  limits are copied: max_transfer and max_sg must not
 * be 0, block_size must be a power of two, else -EINVAL. */
int bdev_new(const struct bdev_driver_ops *ops, void *drv, const struct bdev_limits *limits,
             struct bdev **ret);

/* Fails what is outstanding with -ENODEV, each once, from inside this call, and frees *b and its
 * queues.  The driver must have let go of its pieces or never touch them again.  Not from a done
 * callback. */
void bdev_free(struct bdev **b);

/* depth: pieces that may be with the driver, 1..BLK_QUEUE_DEPTH_MAX; any number of requests may
 * wait.  *ret is the caller's until bdev_queue_free or bdev_free. */
int bdev_queue_new(struct bdev *b, struct loop *loop, uint32_t depth, struct bdev_queue **ret);

/* As bdev_free, for one queue. */
void bdev_queue_free(struct bdev_queue **q);

/* Takes r until r->done, which comes later, once, never from inside this call.  -errno, and no
 * done, only for a request that makes no sense: -EINVAL misaligned, past the end or with less
 * memory than len, -EROFS, -EOPNOTSUPP (compare and write not there), -ENODEV (device gone or
 * closing).  Length 0 is done without the device. */
int bdev_submit(struct bdev_queue *q, struct bdev_req *r);

/* Dispatches what waits and lets everything issued leave now instead of at the end of the turn. */
void bdev_commit(struct bdev_queue *q);

/* Requests submitted and not yet given back. */
uint32_t bdev_queue_outstanding(const struct bdev_queue *q);
uint32_t bdev_queue_depth(const struct bdev_queue *q);

/* Takes no new requests (-ENODEV).  0: none is outstanding on any queue.  -EINPROGRESS: drained is
 * called once, later, when that is so; it may free b. */
int bdev_drain(struct bdev *b, void (*drained)(void *user), void *user);

const struct bdev_limits *bdev_get_limits(const struct bdev *b);
struct bdev *bdev_queue_bdev(const struct bdev_queue *q);
struct loop *bdev_queue_loop(const struct bdev_queue *q);

/* For requests that say timeout_ms 0; flush gets twice, write zeroes four times as much. */
void bdev_set_timeout(struct bdev *b, uint32_t timeout_ms);

/* Sum over all queues, also those freed. */
void bdev_get_stats(const struct bdev *b, struct bdev_stats *ret);

/* l is called, on the driver's loop, until bdev_unlisten. */
void bdev_listen(struct bdev *b, struct bdev_listener *l);
void bdev_unlisten(struct bdev_listener *l);

#endif
