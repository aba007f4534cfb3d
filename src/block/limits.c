/* SPDX-License-Identifier: MIT */
/* block/limits.c - checks the limits that a driver gives, and derives from them what requests are
 * compared with. */
#include <errno.h>

#include "block/internal.h"

int
blk_set_limits(struct blk_dev *b, const struct bdev_limits *limits)
{
    struct bdev_limits l = *limits;

    if (l.block_size == 0 || (l.block_size & (l.block_size - 1)) != 0 || l.max_sg == 0 ||
        l.max_transfer < l.block_size || l.block_size > BLK_ZERO_PAGE * BLK_ZERO_IOVS ||
        (uint64_t)l.max_sg * BLK_ZERO_PAGE < l.block_size)
        return -EINVAL;
    if (l.max_transfer > BLK_TRANSFER_MAX)
        l.max_transfer = BLK_TRANSFER_MAX;
    l.max_transfer -= l.max_transfer % l.block_size;
    if (l.max_fast > l.max_transfer || b->ops->queue_rq_fast == NULL)
        l.max_fast = b->ops->queue_rq_fast == NULL ? 0 : l.max_transfer;
    l.max_discard -= l.max_discard % l.block_size;
    l.max_write_zeroes -= l.max_write_zeroes % l.block_size;
    if (l.physical_block < l.block_size)
        l.physical_block = l.block_size;
    b->limits = l;
    b->fast = (struct blk_fast){
        .blocks = l.size / l.block_size,
        .max = (l.max_fast < l.size ? l.max_fast : l.size) / l.block_size,
        .write = bdev_op_flags(l.read_only ? BDEV_READ : BDEV_WRITE, BDEV_F_PROMPT),
        .shift = (uint32_t)__builtin_ctz(l.block_size),
    };
    return 0;
}
