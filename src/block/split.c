/* SPDX-License-Identifier: MIT */
/* block/split.c - checks requests, and cuts them into pieces within the limits.
 *
 * No data is copied and nothing is allocated: the data of a piece is a slice of the request's
 * iovecs.
 */
#include <errno.h>

#include "block/internal.h"

/* All of them point to the same page of zeroes. */
#define ZERO_IOV                                                                                   \
    {                                                                                              \
        (void *)(uintptr_t)blk_zero_page, BLK_ZERO_PAGE                                            \
    }
#define ZERO_IOV_8 ZERO_IOV, ZERO_IOV, ZERO_IOV, ZERO_IOV, ZERO_IOV, ZERO_IOV, ZERO_IOV, ZERO_IOV
#define ZERO_IOV_64                                                                                \
    ZERO_IOV_8, ZERO_IOV_8, ZERO_IOV_8, ZERO_IOV_8, ZERO_IOV_8, ZERO_IOV_8, ZERO_IOV_8, ZERO_IOV_8

static const uint8_t blk_zero_page[BLK_ZERO_PAGE];
static const struct iovec blk_zero_iov[] = {ZERO_IOV_64};
_Static_assert(sizeof(blk_zero_iov) / sizeof(blk_zero_iov[0]) == BLK_ZERO_IOVS, "one each");

static uint64_t
blk_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool
blk_memory_covers(const struct bdev_req *r, uint64_t len)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < r->iovcnt && sum < len; i++)
        sum += r->iov[i].iov_len;
    return sum >= len;
}

static bool
blk_in_range(const struct bdev_limits *l, const struct bdev_req *r)
{
    return ((r->offset | r->len) & (l->block_size - 1)) == 0 && r->len <= l->size &&
           r->offset <= l->size - r->len;
}

int
blk_check(const struct blk_dev *b, const struct bdev_req *r)
{
    const struct bdev_limits *l = &b->limits;

    switch (r->op) {
    case BDEV_FLUSH:
        return l->write_cache ? 0 : 1;
    case BDEV_SCSI:
        return r->cdb != NULL && r->cdb_len >= 6 && r->cdb_len <= SCSI_CDB_MAX ? 0 : -EINVAL;
    case BDEV_READ:
        if (!blk_in_range(l, r) || !blk_memory_covers(r, r->len))
            return -EINVAL;
        return r->len == 0;
    case BDEV_WRITE:
        if (!blk_in_range(l, r) || !blk_memory_covers(r, r->len))
            return -EINVAL;
        break;
    case BDEV_COMPARE_WRITE:
        if (l->max_compare_write == 0)
            return -EOPNOTSUPP;
        if (!blk_in_range(l, r) || r->len > l->max_compare_write || r->iovcnt > l->max_sg ||
            !blk_memory_covers(r, 2 * r->len))
            return -EINVAL;
        break;
    case BDEV_DISCARD:
        if (!blk_in_range(l, r))
            return -EINVAL;
        if (l->max_discard == 0 && !l->read_only)
            return 1;
        break;
    case BDEV_WRITE_ZEROES:
        if (!blk_in_range(l, r))
            return -EINVAL;
        if ((r->flags & BDEV_F_FAST) != 0 && l->max_write_zeroes == 0 && !l->read_only)
            return -EOPNOTSUPP;
        break;
    case BDEV_BLOCK_STATUS:
        if (!blk_in_range(l, r) || r->extents == NULL || r->extents_max < BDEV_EXTENTS_MIN)
            return -EINVAL;
        return r->len == 0;
    case BDEV_NOPS:
    default:
        return -EINVAL;
    }
    if (l->read_only)
        return -EROFS;
    return r->len == 0;
}

bool
blk_fits(const struct blk_dev *b, const struct bdev_req *r)
{
    switch (r->op) {
    case BDEV_READ:
    case BDEV_WRITE:
        return r->len <= b->limits.max_transfer && r->iovcnt <= b->limits.max_sg;
    case BDEV_DISCARD:
        return r->len <= b->limits.max_discard;
    case BDEV_WRITE_ZEROES:
        return r->len <= b->limits.max_write_zeroes;
    case BDEV_FLUSH:
    case BDEV_COMPARE_WRITE:
    case BDEV_SCSI:
    case BDEV_BLOCK_STATUS: /* it may be answered in part */
    case BDEV_NOPS:
        break;
    }
    return true;
}

/* How many bytes the next piece has, which begins at offset: all of `left` if that is max at most.
 * Otherwise the piece ends on a multiple of opt, or else of the physical block, or else of the
 * logical block. */
static uint64_t
blk_aligned_len(const struct bdev_limits *l, uint64_t offset, uint64_t left, uint64_t max,
                uint64_t opt)
{
    const uint64_t by[] = {opt, l->physical_block, l->block_size};

    if (left <= max)
        return left;
    for (size_t i = 0; i < sizeof(by) / sizeof(by[0]); i++) {
        uint64_t end = offset + max;

        if (by[i] == 0)
            continue;
        end -= end % by[i];
        if (end > offset && (end - offset) % l->block_size == 0)
            return end - offset;
    }
    return max - max % l->block_size;
}

/* The slice of r's memory from `at`, of at most len bytes and max_sg iovecs. */
static struct sg
blk_slice(const struct bdev_req *r, uint64_t at, uint64_t len, uint32_t max_sg)
{
    struct sg s;
    uint32_t i = 0, n = 0;
    uint64_t skip = at, sum = 0;

    while (i < r->iovcnt && skip >= r->iov[i].iov_len)
        skip -= r->iov[i++].iov_len;
    while (i + n < r->iovcnt && n < max_sg && sum < len + skip)
        sum += r->iov[i + n++].iov_len;
    s = sg_from_iov(r->iov + i, n, skip, (uint32_t)blk_min(len, sum - skip));
    return s;
}

static int
blk_cut_data(struct blk_queue *q, struct bdev_req *r, struct blk_request *rq)
{
    const struct bdev_limits *l = &blk_dev_of_queue(q)->limits;
    uint64_t left = r->len - r->issued, len;

    len = blk_aligned_len(l, rq->offset, left, l->max_transfer, l->opt_transfer);
    rq->data = blk_slice(r, r->issued, len, l->max_sg);
    if (rq->data.len < len) { /* more iovecs than the driver takes: what they hold is the bound */
        if (rq->data.len < l->block_size)
            return -EINVAL;
        len = blk_aligned_len(l, rq->offset, left, rq->data.len, l->opt_transfer);
        rq->data.len = (uint32_t)len;
    }
    rq->len = len;
    return 0;
}

void
blk_cut_zeroes(struct blk_queue *q, struct blk_piece *p)
{
    const struct bdev_limits *l = &blk_dev_of_queue(q)->limits;
    uint64_t max =
        BLK_ZERO_PAGE * (uint64_t)(l->max_sg < BLK_ZERO_IOVS ? l->max_sg : BLK_ZERO_IOVS);

    max = blk_min(max, l->max_transfer);
    p->rq.op = BDEV_WRITE;
    p->rq.len = blk_aligned_len(l, p->rq.offset, p->zero_end - p->rq.offset, max, 0);
    p->rq.data =
        sg_from_iov(blk_zero_iov, (uint32_t)((p->rq.len + BLK_ZERO_PAGE - 1) / BLK_ZERO_PAGE), 0,
                    (uint32_t)p->rq.len);
}

int
blk_cut(struct blk_queue *q, struct bdev_req *r, struct blk_piece *p)
{
    const struct bdev_limits *l = &blk_dev_of_queue(q)->limits;
    struct blk_request *rq = &p->rq;
    uint64_t left = r->len - r->issued;
    int err = 0;

    rq->op = r->op;
    rq->flags = r->flags;
    rq->parent = r;
    rq->start_ns = 0;
    if (r->issued == BLK_ISSUED_FLUSH) {
        rq->op = BDEV_FLUSH;
        rq->offset = rq->len = 0;
        rq->data = (struct sg){0};
        return 0;
    }
    rq->offset = r->offset + r->issued;
    rq->len = left;
    rq->data = (struct sg){0};
    switch (r->op) {
    case BDEV_READ:
    case BDEV_WRITE:
        if (__builtin_expect(r->issued == 0 && blk_fits(blk_dev_of_queue(q), r), 1))
            rq->data = sg_from_iov(r->iov, r->iovcnt, 0, (uint32_t)left);
        else
            err = blk_cut_data(q, r, rq);
        break;
    case BDEV_COMPARE_WRITE:
        rq->data = sg_from_iov(r->iov, r->iovcnt, 0, (uint32_t)(2 * left));
        break;
    case BDEV_DISCARD:
        rq->len = blk_aligned_len(l, rq->offset, left, l->max_discard > 0 ? l->max_discard : left,
                                  l->discard_granularity);
        break;
    case BDEV_WRITE_ZEROES:
        if (l->max_write_zeroes > 0) {
            rq->len = blk_aligned_len(l, rq->offset, left, l->max_write_zeroes, 0);
        } else if ((r->flags & BDEV_F_FAST) != 0) {
            err = -EOPNOTSUPP; /* what the device has told since the request was taken */
        } else {
            p->zero_end = rq->offset + left;
            blk_cut_zeroes(q, p);
            p->zero_end = 0; /* r->issued moves on: what follows is a piece of its own */
        }
        break;
    case BDEV_FLUSH:
    case BDEV_SCSI:
    case BDEV_BLOCK_STATUS:
    case BDEV_NOPS:
        break;
    }
    if (err == 0)
        r->issued += rq->len;
    return err;
}
