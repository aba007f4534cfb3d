/* SPDX-License-Identifier: MIT */
/* scsi/io.c - commands between the midlayer and the host, and what unit attentions set going. */
#include <assert.h>
#include <errno.h>

#include "scsi/internal.h"

/* Ours again.  Whoever is told last may free the device. */
static void
give_back(struct scsi_sdev *s, struct scsi_io *io)
{
    io->state = IO_IDLE;
    if (s->refused && s->gate == 0)
        sdev_restart(s);
    if (io->rq != NULL)
        disk_complete(io);
    else
        scsi_exec_complete(io);
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

/* Any command that comes back. */
static void __attribute__((noinline)) done_other(struct scsi_sdev *s, struct scsi_io *io)
{
    TRACE(s->dev.target->loop, scsi_done, scsi_cmd_cdb(&io->sc)[0], io->sc.status);
    assert(io->state != IO_IDLE && s->inflight > 0);
    s->inflight--;
    scsi_io_make_general(io);
    if (io->state == IO_ABORTING) { /* its memory is still the abort's */
        io->back = true;
        return;
    }
    if (io->state == IO_EH)
        list_del(&io->node);
    give_back(s, io);
}

/* For a plain command with status GOOD that has moved everything what disk_complete does. */
static void
scsi_done(struct scsi_cmd *sc)
{
    struct scsi_io *io = container_of(sc, struct scsi_io, sc);
    struct scsi_sdev *s = sdev_of(io->dev);

    if (__builtin_expect(io->state != IO_FAST || (sc->not_good | sc->resids) != 0 || s->watch, 0)) {
        done_other(s, io);
        return;
    }
    io->state = IO_IDLE;
    s->inflight--;
    if (sc->out.len > 0) {
        sc->out.len = 0;
        s->writes += s->fast.cached;
    }
    sc->in.len = 0; /* as disk_rest */
    s->up->complete_fast(io->rq);
}

void
scsi_io_init(struct scsi_io *io, struct scsi_device *dev)
{
    io->dev = dev;
    io->sc.attr = 1; /* simple */
    memcpy(io->sc.lun, dev->lun, sizeof(io->sc.lun));
    io->sc.done = scsi_done;
}

void
scsi_io_prepare(struct scsi_io *io)
{
    io->sc.not_good = 0;
    io->sc.resids = 0;
    io->back = io->timed_out = false;
}

int
scsi_dispatch_cmd(struct scsi_sdev *s, struct scsi_io *io)
{
    struct scsi_host *h = s->dev.target->host;
    int err;

    TRACE(h->loop, scsi_dispatch_cmd, scsi_cmd_cdb(&io->sc)[0], io->sc.cdb_len);
    assert(io->state == IO_IDLE);
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

    return io->timed_out && (r == DID_ABORT || r == DID_RESET) ? DID_TIME_OUT : r;
}

static void
abort_done(struct scsi_eh_wait *w, enum scsi_eh_result r)
{
    struct scsi_io *io = container_of(w, struct scsi_io, wait);
    struct scsi_sdev *s = sdev_of(io->dev);

    assert(io->state == IO_ABORTING);
    if (!io->back) {
        if (r != SCSI_EH_FAILED)
            sdev_log(s, LOG_LEVEL_WARN, "abort ended but the command did not come back");
        eh_add(io);
        return;
    }
    io->back = false;
    give_back(s, io);
}

bool
scsi_io_timed_out(struct scsi_io *io)
{
    struct scsi_sdev *s = sdev_of(io->dev);
    struct scsi_host *h = s->dev.target->host;

    scsi_io_make_general(io);
    if (io->state != IO_HOST)
        return true; /* on its way already */
    if (h->ops->eh_timed_out(h, &io->sc) == SCSI_TIMEOUT_RESET_TIMER)
        return false;
    s->dev.stats.timeouts++;
    s->dev.stats.aborts++;
    sdev_log(s, LOG_LEVEL_WARN, "%s timed out, aborting it",
             cdb_name(scsi_cmd_cdb(&io->sc), io->sc.cdb_len));
    io->timed_out = true;
    io->back = false;
    io->state = IO_ABORTING;
    io->wait.done = abort_done;
    h->ops->eh_abort(h, &io->sc, &io->wait);
    return true;
}

/* SC-132: writes acknowledged into a cache whose power went. */
static void
check_lost_writes(struct scsi_sdev *s)
{
    struct scsi_disk *d = s->dev.disk;

    if (d == NULL || !d->up || !d->limits.write_cache || s->writes == s->flushed)
        return;
    s->flushed = s->writes; /* told once */
    s->dev.stats.lost_writes++;
    sdev_log(s, LOG_LEVEL_ERROR, "the unit was reset with writes in its cache: data may be lost");
    sdev_raise(s, 1u << SCSI_EV_LOST_WRITES);
}

void
scsi_unit_attention(struct scsi_sdev *s, uint8_t asc, uint8_t ascq)
{
    struct scsi_target *t = s->dev.target;
    const char *text = sense_code_text(asc, ascq);
    bool reset, power;
    uint32_t steps, events;

    s->dev.stats.unit_attentions++;
    sdev_log(s, LOG_LEVEL_INFO, "unit attention %02x/%02x%s%s", asc, ascq, text != NULL ? ": " : "",
             text != NULL ? text : "");
    scsi_ua_effects(asc, ascq, &steps, &events, &reset, &power);
    if (s->expecting_ua && asc != 0x28) { /* SC-500 */
        s->expecting_ua = false;
        if (reset)
            return;
    }
    if ((events & (1u << SCSI_EV_LUNS_CHANGED)) != 0) { /* SC-501: once per target */
        if (t->luns_changed)
            events &= ~(1u << SCSI_EV_LUNS_CHANGED);
        t->luns_changed = true;
    }
    if (power)
        check_lost_writes(s);
    sdev_raise(s, events);
    if (steps != 0 && s->dev.disk != NULL && s->dev.disk->up)
        disk_want(s->dev.disk, steps);
}

uint32_t
scsi_backoff_ms(struct loop *l, uint32_t *state)
{
    uint32_t ms = *state < SCSI_BACKOFF_MIN_MS ? SCSI_BACKOFF_MIN_MS : *state;

    *state = ms * 2 < SCSI_BACKOFF_MAX_MS ? ms * 2 : SCSI_BACKOFF_MAX_MS;
    if (ms < 4)
        return ms;
    return ms - ms / 4 + (uint32_t)(loop_random(l) % (ms / 2 + 1));
}
