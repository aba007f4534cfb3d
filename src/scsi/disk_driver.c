/* SPDX-License-Identifier: MIT */
/* scsi/disk_driver.c - the disk as a driver of block/: the table, and plugging both together. */
#include <assert.h>
#include <errno.h>

#include "scsi/internal.h"

_Static_assert(sizeof(void *) != 8 ||
                   (offsetof(struct scsi_io, sc) + sizeof(struct blk_request)) % 64 == 0,
               "block/ starts requests at a cache line: so do commands");

static void
disk_init_rq(void *drv, struct blk_request *rq)
{
    struct scsi_io *io = blk_request_cmd(rq);

    io->rq = rq;
    scsi_io_init(io, drv, scsi_done_fast, disk_complete);
    disk_io_clear(io);
}

static void
disk_commit(void *drv)
{
    struct scsi_host *h = ((struct scsi_device *)drv)->target->host;

    h->ops->commit(h);
}

static enum blk_timeout
disk_timeout(void *drv, struct blk_request *rq)
{
    (void)drv;
    return scsi_io_timed_out(blk_request_cmd(rq)) ? BLK_TIMEOUT_DRIVER_HAS_IT
                                                  : BLK_TIMEOUT_RESET_TIMER;
}

static void
disk_cancel(void *drv, struct blk_request *rq, int err)
{
    (void)drv;
    scsi_io_cancel(blk_request_cmd(rq), err == -ETIMEDOUT);
}

static void
disk_watch(void *drv, struct blk_request *rq, struct io_watch *w)
{
    struct scsi_host *h = ((struct scsi_device *)drv)->target->host;
    struct scsi_io *io = blk_request_cmd(rq);

    scsi_io_make_general(io);
    io->sc.watch = w;
    if (h->ops->watch != NULL)
        h->ops->watch(h, &io->sc);
    else
        io_watch_enter(w, IO_STAGE_TARGET, loop_clock(h->loop));
}

const struct bdev_driver_ops scsi_disk_ops = {
    .cmd_size = sizeof(struct scsi_io),
    .init_rq = disk_init_rq,
    .queue_rq = scsi_queue_rq,
    .queue_rq_fast = scsi_queue_rq_fast,
    .commit = disk_commit,
    .timeout = disk_timeout,
    .cancel = disk_cancel,
    .watch = disk_watch,
};

void
scsi_disk_plug(struct scsi_device *dev, const struct blk_upcalls *up, struct bdev *b)
{
    struct scsi_sdev *s = sdev_of(dev);

    assert((up == NULL) == (b == NULL));
    assert(up == NULL || (s->up == NULL && dev->disk != NULL && dev->disk->up));
    s->up = up;
    s->bdev = b;
    s->refused = false;
    sdev_set_clock(s);
    sdev_set_fast(s);
}
