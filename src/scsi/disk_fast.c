/* SPDX-License-Identifier: MIT */
/* scsi/disk_fast.c - the fast path of a disk: READs and WRITEs that go out as they are and come
 * back GOOD (docs/design/fast.md).
 *
 * Everything else goes to disk.c on the way down and to io.c on the way up.  That is decided before
 * anything has been changed, so that nothing has to be undone.
 */
#include <assert.h>
#include <errno.h>

#include "scsi/internal.h"

/* The gate is shut in every state but RUNNING, and then no way is fast; and a device RUNs only in
 * the nexus in which it was found to be itself. */
static void
sdev_check_gate(const struct scsi_sdev *s)
{
    const struct scsi_target *t = s->dev.target;
    bool runs = s->dev.state == SDEV_RUNNING;

    assert(s->gate == 0 || s->fast_depth == 0);
    assert(((s->gate & GATE_STATE) == 0) == runs);
    assert(!runs || (s->nexus == t->nexus && t->host->state == SCSI_HOST_RUNNING && !s->replaced));
    assert(s->dev.state != SDEV_BLOCK || t->host->state == SCSI_HOST_BLOCKED ||
           s->rc.step != RECONNECT_NONE); /* somebody opens it again */
}

void
scsi_check_fast(struct scsi_target *t)
{
    LIST_FOREACH (n, &t->devices) {
        const struct scsi_device *dev = container_of(n, struct scsi_device, node);
        const struct scsi_sdev *s = (const struct scsi_sdev *)dev;

        sdev_check_gate(s);
        assert(s->fast_depth == 0 || (scsi_fast_ok(dev) && s->fast_depth == s->depth_now));
        assert(!s->fast_done || scsi_fast_done_ok(dev));
        assert(s->depth_now > 0 && s->depth_now <= s->depth_cap && s->depth_cap <= s->depth_max);
    }
}

/* The device has as many commands as it takes, or its commands may not take the fast path now. */
static int __attribute__((noinline, cold))
scsi_queue_rq_other(struct scsi_sdev *s, struct blk_request *rq)
{
    int err;

    s->up->make_general(rq);
    err = scsi_queue_rq(&s->dev, rq);
    if (err < 0)
        s->up->refuse_fast(rq, err);
    return 0;
}

/* The host did not take the command. */
static int __attribute__((noinline, cold)) scsi_fast_refused(struct scsi_cmd *sc, int err)
{
    struct scsi_io *io = container_of(sc, struct scsi_io, sc);
    struct scsi_sdev *s = sdev_of(io->dev);

    assert(io->state == IO_FAST && s->inflight > 0 && err < 0);
    disk_io_clear(io);
    s->inflight--;
    s->dev.stats.commands--;
    if (err == -EBUSY) {
        s->refused = true;
        s->fast_done = false;
    }
    s->up->refuse_fast(io->rq, err);
    return 0;
}

_Static_assert(SCSI_WRITE_10 == SCSI_READ_10 + 2 * BDEV_WRITE &&
                   SCSI_WRITE_16 == SCSI_READ_16 + 2 * BDEV_WRITE && BDEV_READ == 0,
               "the opcode follows from the operation");

/* What scsi_queue_rq and scsi_dispatch_cmd do on the general path.  block/ has checked lba and
 * blocks. Reads nothing of scsi/'s after a queuecommand that took the command, so that nothing need
 * be kept across the call. */
int
scsi_queue_rq_fast(void *drv, const struct bdev_req *r, struct blk_request *rq, uint64_t lba,
                   uint64_t blocks)
{
    struct scsi_sdev *s = sdev_of((struct scsi_device *)drv);
    struct scsi_io *io = blk_request_cmd(rq);
    struct scsi_cmd *sc = &io->sc;
    enum bdev_op op = r->op;
    struct scsi_host *h;
    int err;

    if (__builtin_expect(s->inflight >= s->fast_depth, 0))
        return scsi_queue_rq_other(s, rq);
    if (op == BDEV_READ) {
        sc->in.iov = r->iov;
        sc->in.len = (uint32_t)r->len;
    } else {
        sc->out.iov = r->iov;
        sc->out.len = (uint32_t)r->len;
    }
    if (s->fast.form == FORM_10)
        sc->cdb_len = (uint16_t)cdb_rw10(sc->cdb, SCSI_READ_10 + 2 * op, lba, blocks);
    else
        sc->cdb_len = (uint16_t)cdb_rw16(sc->cdb, SCSI_READ_16 + 2 * op, lba, blocks);
    io->state = IO_FAST;
    s->inflight++;
    s->dev.stats.commands++;
    h = s->dev.target->host;
    err = h->ops->queuecommand(h, sc);
    if (__builtin_expect(err != 0, 0))
        return scsi_fast_refused(sc, err);
    return err;
}

/* For a command that went out by the fast path and came back GOOD with all its data, what scsi_done
 * and disk_complete do on the general path. */
void
scsi_done_fast(struct scsi_cmd *sc)
{
    struct scsi_io *io = container_of(sc, struct scsi_io, sc);
    struct scsi_sdev *s = sdev_of(io->dev);

    if (__builtin_expect(
            io->state != IO_FAST || (sc->not_good | sc->not_moved) != 0 || !s->fast_done, 0)) {
        scsi_done(sc);
        return;
    }
    io->state = IO_IDLE;
    s->inflight--;
    if (sc->out.len > 0) {
        sc->out.len = 0;
        s->writes += s->fast.cached;
    }
    sc->in.len = 0; /* which leaves the command as disk_io_clear does */
    s->up->complete_fast(io->rq);
}
