/* SPDX-License-Identifier: MIT */
/* tests/support/bdev_filter.h - a block device on a block device that cuts requests and counts
 * them: written against seam/bdev.h alone. */
#ifndef TESTS_BDEV_FILTER_H
#define TESTS_BDEV_FILTER_H

#include "seam/bdev.h"
#include "seam/loop.h"

struct bdev_filter;

/* chunk: bytes, a multiple of the logical block: reads, writes, discards and write zeroes go on in
 * parts of that at most.  lower is borrowed until bdev_filter_free; it is told to go by whoever has
 * it, after this one. */
struct bdev_filter *bdev_filter_new(struct bdev *lower, uint64_t chunk);
/* All its queues must have been freed. */
void bdev_filter_free(struct bdev_filter *f);

struct bdev *bdev_filter_bdev(struct bdev_filter *f);
/* Parts handed on, ever. */
uint64_t bdev_filter_parts(const struct bdev_filter *f);

#endif
