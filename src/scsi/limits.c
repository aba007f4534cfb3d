/* SPDX-License-Identifier: MIT */
/* scsi/limits.c - from what a disk told to the limits that block/ cuts by. */
#include "scsi/internal.h"

#define TRANSFER_DEFAULT (1u << 20)
#define TRANSFER_MAX     (16u << 20) /* bytes of one command, whatever the device takes */
#define UNMAP_SANE       0x7fffffu   /* blocks */
#define WS_SANE          0x7fffffu
#define WS10_MAX         0xffffu

static uint64_t
disk_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t
disk_min_nonzero(uint64_t a, uint64_t b)
{
    return a == 0 ? b : b == 0 ? a : disk_min(a, b);
}

static void
disk_transfer_limits(struct scsi_disk *d)
{
    struct bdev_limits *l = &d->limits;
    const struct scsi_target *t = d->sdev->dev.target;
    uint64_t bs = l->block_size, cdb_max, dev_max, opt, gran, hard, max;
    bool opt_ok;

    cdb_max = d->capacity.blocks > 0xffffffffu ? 0xffffffffu : 0xffff;
    dev_max = disk_min_nonzero(cdb_max, d->b0.max_transfer);
    opt = d->b0.opt_transfer * bs;
    gran = d->b0.opt_granularity * bs;
    opt_ok = opt != 0 && d->b0.opt_transfer <= dev_max && d->b0.opt_transfer <= 0xffff &&
             opt >= 4096 && opt % (gran > 0 ? gran : 1) == 0 && opt % l->physical_block == 0;
    hard = disk_min(disk_min(dev_max * bs, t->host->max_transfer), TRANSFER_MAX);
    max = t->params.max_transfer > 0 ? t->params.max_transfer : opt_ok ? opt : TRANSFER_DEFAULT;
    max = disk_min(max, hard);
    max -= max % (max >= l->physical_block ? l->physical_block : bs);
    l->max_transfer = max > bs ? max : bs;
    l->opt_transfer = opt_ok && opt <= l->max_transfer ? opt : 0;
    l->max_sg = t->host->max_sg;
    d->max_blocks = (uint32_t)(l->max_transfer / bs);
}

/* Chooses the first of three commands that the device claims to have: UNMAP says most exactly what
 * is meant, WRITE SAME(10) least. */
static enum disk_discard
disk_discard_mode(const struct scsi_disk *d)
{
    bool unmap = d->b0_told && d->b0.max_unmap_lba > 0 && d->b0.max_unmap_desc > 0;

    if (!d->capacity.lbpme || d->discard_broken)
        return DISCARD_OFF;
    if (!d->b2_told)
        return unmap ? DISCARD_UNMAP : DISCARD_WS16;
    if (d->b2.lbpu && unmap)
        return DISCARD_UNMAP;
    if (d->b2.lbpws)
        return DISCARD_WS16;
    return d->b2.lbpws10 ? DISCARD_WS10 : DISCARD_OFF;
}

static void
disk_provisioning_limits(struct scsi_disk *d)
{
    struct bdev_limits *l = &d->limits;
    uint64_t bs = l->block_size, ws = d->b0.max_write_same, blocks = 0;
    uint64_t ws_max = ws == 0
                          ? WS10_MAX
                          : disk_min(ws, WS_SANE); /* 0: not told, so what WRITE SAME(10) can say */

    d->discard = disk_discard_mode(d);
    switch (d->discard) {
    case DISCARD_UNMAP:
        blocks = disk_min(d->b0.max_unmap_lba, UNMAP_SANE);
        break;
    case DISCARD_WS16:
        blocks = disk_min_nonzero(ws, WS_SANE);
        blocks = disk_min(blocks, WS_SANE);
        break;
    case DISCARD_WS10:
        blocks = disk_min_nonzero(disk_min(ws, WS10_MAX), WS10_MAX);
        break;
    case DISCARD_OFF:
    default:
        break;
    }
    l->max_discard = blocks * bs;
    l->discard_granularity = d->b0.opt_unmap_granularity * bs;
    if (l->discard_granularity < l->physical_block)
        l->discard_granularity = l->physical_block;

    /* Zeroes are made by unmapping only where READ CAPACITY and VPD page B2h both say that unmapped
     * blocks read as zeroes. */
    d->zero_unmap = d->capacity.lbpme && d->capacity.lbprz && d->b2_told &&
                    (d->b2.lbprz & 1) != 0 && (d->b2.lbpws || d->b2.lbpws10) &&
                    !d->zero_unmap_broken;
    blocks = 0;
    if ((d->zero_unmap && d->b2.lbpws) || (d->ws16 && !d->zero_broken))
        blocks = ws_max;
    else if (d->zero_unmap || (d->ws10 && !d->zero_broken))
        blocks = disk_min(ws_max, WS10_MAX);
    l->max_write_zeroes = blocks * bs;
}

/* How the fast path builds its CDBs: what disk_rw_form in disk.c would find for each that is not
 * longer than max_fast. */
static void
disk_fast_form(struct scsi_disk *d)
{
    struct disk_fast *p = &d->sdev->fast;
    uint64_t max = 0;

    *p = (struct disk_fast){.form = FORM_10, .cached = d->limits.write_cache};
    if (d->capacity.blocks > 0xffffffffu && !d->no_16) {
        p->form = FORM_16;
        max = d->max_blocks;
    } else if (d->capacity.blocks <= 0x100000000ull && !d->no_10) {
        max = disk_min(d->max_blocks, 0xffff);
    }
    d->limits.max_fast = max << d->shift;
}

void
disk_make_limits(struct scsi_disk *d)
{
    struct bdev_limits *l = &d->limits;
    uint32_t bs = d->capacity.block_len;

    *l = (struct bdev_limits){.block_size = bs};
    d->shift = (uint32_t)__builtin_ctz(bs);
    l->size = d->capacity.blocks * bs;
    l->physical_block = bs << d->capacity.physical_exponent;
    disk_transfer_limits(d);
    disk_provisioning_limits(d);
    if (!d->caw_broken && 2ull * d->b0.max_caw * bs <= d->sdev->dev.target->host->max_transfer)
        l->max_compare_write = d->b0.max_caw * bs;
    l->read_only = d->write_protect;
    l->write_cache = d->wce && !d->write_protect && !d->no_flush;
    l->fua = d->dpofua && l->write_cache && !d->no_10;
    l->rotational = d->b1.rotation > 1;
    disk_fast_form(d);
}
