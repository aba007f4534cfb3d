/* SPDX-License-Identifier: MIT */
/* scsi/disk.c - the general path down: requests of a disk become CDBs.
 *
 * What comes back is judged in disk_done.c.  Nothing is allocated, and of a command's memory
 * nothing is cleared that is set anyway.
 */
#include <assert.h>
#include <errno.h>

#include "scsi/internal.h"

#define MAX_LBA_6   0x1fffffu
#define MAX_COUNT_6 256u
#define STATUS_MAX  1024u /* extents that one GET LBA STATUS asks for */
_Static_assert(sizeof(struct bdev_extent) == LBA_STATUS_LEN(1) - LBA_STATUS_LEN(0), "in its place");

static const uint8_t zero_block[4096];

static enum disk_form
disk_rw_form(const struct scsi_disk *d, uint64_t lba, uint32_t blocks)
{
    bool fits10 = lba + blocks <= 0x100000000ull && blocks <= 0xffff;

    if (!d->no_16 && (d->capacity.blocks > 0xffffffffu || !fits10))
        return FORM_16;
    if (!d->no_10 && fits10)
        return FORM_10;
    if (lba + blocks <= MAX_LBA_6 + 1)
        return FORM_6;
    return d->no_16 ? FORM_10 : FORM_16;
}

/* How much of rq goes into one command; the rest follows when it is done. */
static uint32_t
disk_rw_blocks(const struct scsi_disk *d, const struct blk_request *rq, enum disk_form form)
{
    uint64_t blocks = rq->len >> d->shift;
    uint32_t max = d->max_blocks;

    if (form == FORM_6 && max > MAX_COUNT_6)
        max = MAX_COUNT_6;
    else if (form == FORM_10 && max > 0xffff)
        max = 0xffff;
    return blocks < max ? (uint32_t)blocks : max;
}

static int
disk_build_rw(struct scsi_disk *d, struct blk_request *rq, struct scsi_io *io)
{
    bool write = rq->op == BDEV_WRITE;
    uint64_t lba = rq->offset >> d->shift;
    enum disk_form form = disk_rw_form(d, lba, (uint32_t)(rq->len >> d->shift));
    uint32_t n = disk_rw_blocks(d, rq, form);
    uint8_t fua = write && (rq->flags & BDEV_F_FUA) != 0 && d->limits.fua ? SCSI_FUA : 0;
    struct sg data = rq->data;
    uint8_t *cdb = io->sc.cdb;
    int len;

    data.len = n << d->shift;
    if (form == FORM_10)
        len = write ? cdb_write10(cdb, (uint32_t)lba, (uint16_t)n, fua)
                    : cdb_read10(cdb, (uint32_t)lba, (uint16_t)n, 0);
    else if (form == FORM_16)
        len = write ? cdb_write16(cdb, lba, n, fua) : cdb_read16(cdb, lba, n, 0);
    else
        len = write ? cdb_write6(cdb, (uint32_t)lba, n) : cdb_read6(cdb, (uint32_t)lba, n);
    io->form = (uint8_t)form;
    io->sc.out = write ? data : (struct sg){0};
    io->sc.in = write ? (struct sg){0} : data;
    return len;
}

static struct sg
disk_own_data(struct scsi_io *io, const void *data, uint32_t len)
{
    io->small = (struct iovec){(void *)(uintptr_t)data, len};
    return sg_from_iov(&io->small, 1, 0, len);
}

static int
disk_build_write_same(struct scsi_disk *d, struct blk_request *rq, struct scsi_io *io,
                      enum disk_form form)
{
    uint64_t lba = rq->offset >> d->shift;
    uint32_t n = (uint32_t)(rq->len >> d->shift);
    uint8_t flags = form == FORM_WS16_UNMAP || form == FORM_WS10_UNMAP ? SCSI_WS_UNMAP : 0;

    io->form = (uint8_t)form;
    io->sc.out = disk_own_data(io, zero_block, d->limits.block_size);
    if (form == FORM_WS10 || form == FORM_WS10_UNMAP)
        return cdb_write_same10(io->sc.cdb, (uint32_t)lba, (uint16_t)n, flags);
    return cdb_write_same16(io->sc.cdb, lba, n, flags);
}

static int
disk_build_discard(struct scsi_disk *d, struct blk_request *rq, struct scsi_io *io)
{
    struct unmap_range range = {rq->offset >> d->shift, (uint32_t)(rq->len >> d->shift)};

    switch (d->discard) {
    case DISCARD_UNMAP:
        (void)unmap_list_build(io->param, sizeof(io->param), &range, 1);
        io->form = FORM_UNMAP;
        io->sc.out = disk_own_data(io, io->param, UNMAP_LIST_LEN(1));
        return cdb_unmap(io->sc.cdb, (uint16_t)UNMAP_LIST_LEN(1), 0);
    case DISCARD_WS16:
        return disk_build_write_same(d, rq, io, FORM_WS16_UNMAP);
    case DISCARD_WS10:
        return disk_build_write_same(d, rq, io, FORM_WS10_UNMAP);
    case DISCARD_OFF:
    default:
        return -EOPNOTSUPP;
    }
}

static int
disk_build_zeroes(struct scsi_disk *d, struct blk_request *rq, struct scsi_io *io)
{
    uint64_t end = (rq->offset + rq->len) >> d->shift, n = rq->len >> d->shift;
    bool fits10 = end <= 0x100000000ull && n <= 0xffff;

    if (d->zero_unmap && (rq->flags & BDEV_F_NO_UNMAP) == 0) {
        if (d->b2.lbpws)
            return disk_build_write_same(d, rq, io, FORM_WS16_UNMAP);
        if (fits10)
            return disk_build_write_same(d, rq, io, FORM_WS10_UNMAP);
    }
    if (d->limits.max_write_zeroes == 0 || d->zero_broken)
        return -EOPNOTSUPP;
    if (d->ws10 && fits10)
        return disk_build_write_same(d, rq, io, FORM_WS10);
    return d->ws16 ? disk_build_write_same(d, rq, io, FORM_WS16) : -EOPNOTSUPP;
}

/* The answer is received where the extents of the submitter are: a descriptor has as many bytes as
 * an extent, and the header needs less than one more. */
static int
disk_build_status(struct scsi_disk *d, struct blk_request *rq, struct scsi_io *io)
{
    const struct bdev_req *r = rq->parent;
    uint32_t n = r->extents_max < STATUS_MAX ? r->extents_max : STATUS_MAX;
    uint32_t len = (uint32_t)LBA_STATUS_LEN(n - 1);

    if (!d->capacity.lbpme || d->status_broken)
        return -EOPNOTSUPP;
    io->form = FORM_LBA_STATUS;
    io->sc.in = disk_own_data(io, r->extents, len);
    return cdb_get_lba_status(io->sc.cdb, rq->offset >> d->shift, len);
}

static int
disk_build_raw(struct scsi_sdev *s, struct blk_request *rq, struct scsi_io *io)
{
    const struct bdev_req *r = rq->parent;

    if (r->cdb_len > s->dev.target->host->max_cdb_len)
        return -EINVAL;
    if (r->in.len > s->dev.target->host->max_transfer ||
        r->out.len > s->dev.target->host->max_transfer)
        return -EMSGSIZE;
    if (r->cdb_len > SCSI_CDB_INLINE) {
        io->sc.cdb_long = r->cdb;
    } else {
        memset(io->sc.cdb, 0, sizeof(io->sc.cdb));
        memcpy(io->sc.cdb, r->cdb, r->cdb_len);
    }
    io->form = FORM_RAW;
    io->sc.out = r->out;
    io->sc.in = r->in;
    return r->cdb_len;
}

/* Builds the command that does rq, or the first part of it.  Returns the CDB's length, or -errno.
 */
static int
disk_build(struct scsi_sdev *s, struct blk_request *rq, struct scsi_io *io)
{
    struct scsi_disk *d = s->dev.disk;
    uint32_t n = (uint32_t)(rq->len >> d->shift);

    if (rq->op == BDEV_READ || rq->op == BDEV_WRITE)
        return disk_build_rw(d, rq, io);
    io->sc.out = io->sc.in = (struct sg){0};
    switch (rq->op) {
    case BDEV_FLUSH:
        io->seen = s->writes;
        io->form = d->no_sync_10 ? FORM_SYNC_16 : FORM_SYNC_10;
        return d->no_sync_10 ? cdb_sync_cache16(io->sc.cdb, 0, 0, 0)
                             : cdb_sync_cache10(io->sc.cdb, 0, 0, 0);
    case BDEV_DISCARD:
        return disk_build_discard(d, rq, io);
    case BDEV_WRITE_ZEROES:
        return disk_build_zeroes(d, rq, io);
    case BDEV_COMPARE_WRITE:
        io->form = FORM_CAW;
        io->sc.out = rq->data;
        return cdb_compare_and_write(io->sc.cdb, rq->offset >> d->shift, (uint8_t)n,
                                     (rq->flags & BDEV_F_FUA) != 0 && d->limits.fua ? SCSI_FUA : 0);
    case BDEV_SCSI:
        return disk_build_raw(s, rq, io);
    case BDEV_BLOCK_STATUS:
        return disk_build_status(d, rq, io);
    case BDEV_READ:
    case BDEV_WRITE:
    case BDEV_NOPS:
    default:
        return -EINVAL;
    }
}

static int
disk_fail_now(struct scsi_sdev *s, struct blk_request *rq, int err)
{
    struct scsi_io *io = blk_request_cmd(rq);

    rq->result = (struct bdev_result){.err = disk_true_error(io, err)};
    disk_io_clear(io);
    s->up->complete(rq);
    return 0;
}

/* A gate is shut or the device has enough commands: rq waits, or fails with the error of the
 * device's state.
 */
static int __attribute__((noinline, cold)) disk_not_now(struct scsi_sdev *s, struct blk_request *rq)
{
    if (s->access == ACCESS_FAIL && s->dev.target->host->state == SCSI_HOST_RUNNING &&
        (s->dev.state == SDEV_RUNNING || s->dev.state == SDEV_BLOCK))
        return disk_fail_now(s, rq, -EHOSTUNREACH);
    switch (s->dev.state) {
    case SDEV_OFFLINE:
        if (s->replaced)
            return disk_fail_now(s, rq, -ENXIO);
        /* a request that was retried is one of those whose time-outs took the device
                          offline */
        return disk_fail_now(s, rq, rq->retries > 0 ? -ETIMEDOUT : -ENODEV);
    case SDEV_CANCEL:
    case SDEV_DEL:
        return disk_fail_now(s, rq, -ENODEV);
    case SDEV_TRANSPORT_OFFLINE:
        return disk_fail_now(s, rq, sdev_error(s));
    case SDEV_BLOCK:
        if (s->leaving)
            return disk_fail_now(s, rq, -ENOTCONN);
        __attribute__((fallthrough));
    case SDEV_CREATED:
    case SDEV_RUNNING:
    case SDEV_QUIESCE:
    case SDEV_CREATED_BLOCK:
    case SDEV_NSTATES:
    default:
        s->refused = true;
        s->fast_done = false;
        return -EBUSY;
    }
}

/* The general path down: takes any request at any time. */
int
scsi_queue_rq(void *drv, struct blk_request *rq)
{
    struct scsi_sdev *s = sdev_of((struct scsi_device *)drv);
    struct scsi_io *io = blk_request_cmd(rq);
    int len, err;

    TRACE(s->dev.target->loop, scsi_queue_rq, rq->op, rq->tag);
    assert(io->state == IO_IDLE && io->rq == rq && s->up != NULL);
    if ((s->gate != 0 && !(s->gate == GATE_ALUA && rq->op == BDEV_SCSI)) ||
        s->inflight >= s->depth_now) /* a raw command may be one that works in any ALUA state */
        return disk_not_now(s, rq);
    scsi_io_prepare(io);
    len = disk_build(s, rq, io);
    if (len < 0)
        return disk_fail_now(s, rq, len);
    io->sc.cdb_len = (uint16_t)len;
    err = scsi_dispatch_cmd(s, io);
    if (err < 0 && err != -EBUSY)
        return disk_fail_now(s, rq, err);
    if (err == -EBUSY) {
        s->refused = true;
        s->fast_done = false;
    }
    return err;
}
