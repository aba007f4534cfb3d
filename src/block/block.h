/* SPDX-License-Identifier: MIT */
/* block/block.h - the multi-queue block layer: a block device (seam/bdev.h) made of a driver.
 *
 * A request that fits the limits is issued to the driver at once when nothing waits before it
 * (blk_mq_try_issue_directly); all else waits in order, is cut into pieces and dispatched once per
 * turn of the loop (blk_mq_dispatch_rq_list).  What the driver took leaves with one commit:
 * bdev_commit, or by itself at the end of the turn.  Completions are gathered and delivered at the
 * end of the turn; a done callback may submit again.
 *
 * Nothing is allocated after bdev_queue_new.  All queues of a device must be on the loop of its
 * driver, and everything here runs on that loop's thread.
 */
#ifndef BLOCK_BLOCK_H
#define BLOCK_BLOCK_H

#include "seam/bdev.h"
#include "seam/loop.h"

#define BLK_QUEUE_DEPTH_MAX    65536
#define BLK_TIMEOUT_DEFAULT_MS 30000
#define BLK_TRANSFER_MAX       (1u << 30) /* bytes of a piece, whatever the limits say */

/* What block/ offers to a driver (seam/bdev.h); complete is Linux's blk_mq_complete_request. */
extern const struct blk_upcalls blk_upcalls;

/* Makes a device of a driver.  ops and drv are borrowed until blk_dev_free; drv is handed to each
 * of ops.  limits are copied.  *ret is the caller's.  0, -ENOMEM, or -EINVAL: max_transfer below a
 * block, max_sg 0, or a block_size that is no power of two. */
int blk_dev_new(const struct bdev_driver_ops *ops, void *drv, const struct bdev_limits *limits,
                struct bdev **ret);

/* Ends what is outstanding with -ENODEV, each request once, from inside this call, frees *b and the
 * queues that are left, and sets *b NULL.  The caller has seen to it that the driver has let go of
 * its pieces and will not touch them again.  A drain that still waits is forgotten: its callback is
 * not called.  NULL is harmless.  Not to be called from a done callback. */
void blk_dev_free(struct bdev **b);

/* For tests: asserts that no queue of b is set to take the fast path where its state forbids it,
 * that each of its tags is free or has one piece, and that no request has been submitted twice. */
void blk_check_fast(const struct bdev *b);

#endif
