/* SPDX-License-Identifier: MIT */
/* scsi/io.c - commands between the midlayer and the host: sent, taken back, and aborted. */
#include <assert.h>

#include "scsi/internal.h"

/* The host has given io back for good: whoever sent it goes on with it, and may free the device. */
static void
scsi_io_back(struct scsi_sdev *s, struct scsi_io *io)
{
    assert(io->state != IO_IDLE && !io->back);
    io->state = IO_IDLE;
    if (s->refused && s->gate == 0)
        sdev_restart(s);
    io->complete(io);
}

void
scsi_io_make_general(struct scsi_io *io)
{
    if (io->state != IO_FAST)
        return;
    sdev_of(io->dev)->up->make_general(io->rq);
    io->state = IO_HOST;
    io->form = io->sc.cdb_len == 10 ? FORM_10 : FORM_16;
}

void
scsi_done(struct scsi_cmd *sc)
{
    struct scsi_io *io = container_of(sc, struct scsi_io, sc);
    struct scsi_sdev *s = sdev_of(io->dev);

    TRACE(s->dev.target->loop, scsi_done, scsi_cmd_cdb(&io->sc)[0], io->sc.status);
    assert(io->state != IO_IDLE && !io->back && s->inflight > 0);
    s->inflight--;
    scsi_io_make_general(io);
    if (io->state == IO_ABORTING) { /* the abort still refers to it: scsi_abort_done goes on */
        io->back = true;
        return;
    }
    if (io->state == IO_EH)
        list_del(&io->node);
    scsi_io_back(s, io);
}

void
scsi_io_init(struct scsi_io *io, struct scsi_device *dev, void (*done)(struct scsi_cmd *sc),
             void (*complete)(struct scsi_io *io))
{
    io->dev = dev;
    io->sc.attr = 1; /* simple */
    io->sc.watch = NULL;
    memcpy(io->sc.lun, dev->lun, sizeof(io->sc.lun));
    io->sc.done = done;
    io->complete = complete;
}

void
scsi_io_prepare(struct scsi_io *io)
{
    io->sc.not_good = 0;
    io->sc.not_moved = 0;
    io->back = io->timed_out = false;
}

int
scsi_dispatch_cmd(struct scsi_sdev *s, struct scsi_io *io)
{
    struct scsi_host *h = s->dev.target->host;
    int err;

    TRACE(h->loop, scsi_dispatch_cmd, scsi_cmd_cdb(&io->sc)[0], io->sc.cdb_len);
    assert(io->state == IO_IDLE && io->sc.done != NULL && io->complete != NULL);
    assert(io->sc.cdb_len > 0 && io->sc.not_good == 0);
    err = h->ops->queuecommand(h, &io->sc);
    if (err < 0)
        return err;
    io->state = IO_HOST;
    s->inflight++;
    s->dev.stats.commands++;
    return 0;
}

enum scsi_host_result
scsi_io_host_result(const struct scsi_io *io)
{
    enum scsi_host_result r = io->sc.host_result;

    /* Where nothing else helped, the session was dropped to end it: that loss was the command's
     * doing, and counts as its time-out, or else it would be sent again for ever. */
    return io->timed_out && (r == DID_ABORT || r == DID_RESET || r == DID_TRANSPORT_DISRUPTED)
               ? DID_TIME_OUT
               : r;
}

static void
scsi_abort_done(struct scsi_eh_wait *w, enum scsi_eh_result r)
{
    struct scsi_io *io = container_of(w, struct scsi_io, wait);
    struct scsi_sdev *s = sdev_of(io->dev);

    assert(io->state == IO_ABORTING);
    if (!io->back && !io->timed_out) { /* a wish that was not granted: its deadline still runs */
        io->state = IO_HOST;
        return;
    }
    if (!io->back) {
        if (r != SCSI_EH_FAILED)
            sdev_log(s, LOG_LEVEL_WARN, "abort ended but the command did not come back");
        s->dev.target->escalate(io);
        return;
    }
    io->back = false;
    scsi_io_back(s, io);
}

static void
scsi_io_abort(struct scsi_io *io)
{
    struct scsi_host *h = sdev_of(io->dev)->dev.target->host;

    assert(io->state == IO_HOST);
    sdev_of(io->dev)->dev.stats.aborts++;
    io->back = false;
    io->state = IO_ABORTING;
    io->wait.done = scsi_abort_done;
    h->ops->eh_abort(h, &io->sc, &io->wait);
}

void
scsi_io_cancel(struct scsi_io *io, bool by_force)
{
    assert(io->state != IO_IDLE);
    scsi_io_make_general(io);
    io->timed_out |= by_force;
    if (io->state == IO_HOST && sdev_of(io->dev)->dev.target->host->state == SCSI_HOST_RUNNING)
        scsi_io_abort(io); /* without a session the host gives it back by itself */
}

bool
scsi_io_timed_out(struct scsi_io *io)
{
    struct scsi_sdev *s = sdev_of(io->dev);
    struct scsi_host *h = s->dev.target->host;

    assert(io->state != IO_IDLE);
    scsi_io_make_general(io);
    if (io->state != IO_HOST) {
        io->timed_out = true; /* it is being aborted already, or has been */
        return true;
    }
    if (h->state != SCSI_HOST_RUNNING)
        return false; /* its connection is gone: the host gives it back, and there is nothing to
                         abort */
    if (h->ops->eh_timed_out(h, &io->sc) == SCSI_TIMEOUT_RESET_TIMER)
        return false;
    s->dev.stats.timeouts++;
    sdev_log(s, LOG_LEVEL_WARN, "%s timed out, aborting it",
             cdb_name(scsi_cmd_cdb(&io->sc), io->sc.cdb_len));
    io->timed_out = true;
    scsi_io_abort(io);
    return true;
}
