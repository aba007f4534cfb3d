/* SPDX-License-Identifier: MIT */
/* scsi/exec.c - single commands with their own timer: pass-through, scans, bringing disks up. */
#include <assert.h>
#include <errno.h>

#include "scsi/internal.h"

#define EXEC_TRIES_MAX  100 /* of a command that was not sent */
#define EXEC_LINK_RETRY 3   /* of the midlayer's own commands, after a lost connection */
#define EXEC_SHORT_MS   500 /* until then a unit that has no resources is asked again, about */

static void exec_send(struct scsi_exec *x);

static void
exec_finish(struct scsi_exec *x, int err)
{
    const struct scsi_cmd *sc = &x->io.sc;

    assert(x->io.state == IO_IDLE || x->io.dev->target->host == &x->io.dev->target->dead);
    list_del(&x->node);
    x->waits = false;
    loop_timer_stop(x->io.dev->target->loop, &x->timer);
    x->result = (struct bdev_result){.err = err};
    x->in_len = 0;
    if (err == 0) {
        x->result.host_result = (uint8_t)sc->host_result;
        x->result.scsi_status = sc->status;
        x->result.sense_len = sc->sense_len;
        x->result.resid = sc->resid_out + sc->resid_in;
        x->result.overflow = sc->overflow;
        x->in_len = sc->resid_in < x->in.len ? x->in.len - sc->resid_in : 0;
    } else if (x->io.sc.host_result != DID_OK) {
        x->result.host_result = (uint8_t)sc->host_result;
    }
    x->done(x);
}

/* True while nothing is sent to the device since its session recovers or waits for a connection, or
 * since it has not been looked at then: the time of a command does not pass. */
static bool
exec_stands_still(const struct scsi_sdev *s)
{
    return s->dev.target->host->state == SCSI_HOST_BLOCKED || s->dev.target->still ||
           s->dev.state == SDEV_BLOCK;
}

/* Puts x on the waiting list.  Somebody waits for the answer to a pass-through command, and for how
 * long is told: it is given up where nothing sends it in that time. */
static void
exec_wait(struct scsi_exec *x)
{
    struct scsi_target *t = x->io.dev->target;
    uint64_t now = t->loop->now_ns;

    assert(x->io.state == IO_IDLE && list_empty(&x->node));
    x->waits = true;
    list_push_back(&t->waiting, &x->node);
    if (exec_stands_still(sdev_of(x->io.dev)))
        x->still_ns = now;
    else if (!x->internal)
        loop_timer_start(t->loop, &x->timer, x->wait_until_ns > now ? x->wait_until_ns - now : 0);
}

static void
exec_timer(struct loop_timer *t)
{
    struct scsi_exec *x = container_of(t, struct scsi_exec, timer);
    struct loop *l = x->io.dev->target->loop;

    if (x->io.state == IO_IDLE && (x->waits || x->canceled != 0)) {
        exec_finish(x, x->canceled != 0 ? x->canceled : -ETIMEDOUT);
    } else if (x->io.state == IO_IDLE) { /* it was not with the host, but delayed */
        list_del(&x->node);
        exec_send(x);
    } else if (!scsi_io_timed_out(&x->io)) {
        loop_timer_start(l, &x->timer, x->timeout_ms * LOOP_NS_PER_MS);
    }
}

/* True when x is not sent now: the session recovers, the device is blocked or in error handling. */
static bool
exec_must_wait(const struct scsi_sdev *s, const struct scsi_exec *x)
{
    if (x == &s->eh_tur)
        return false;
    if (s->dev.target->host->state == SCSI_HOST_BLOCKED || s->eh != EH_NONE)
        return true;
    return !x->internal && (s->dev.state == SDEV_QUIESCE || s->dev.state == SDEV_BLOCK);
}

/* Its clock runs on. */
static void
exec_move(struct scsi_exec *x)
{
    uint64_t by = x->still_ns == 0 ? 0 : x->io.dev->target->loop->now_ns - x->still_ns;

    x->still_ns = 0;
    x->wait_until_ns += by;
    if (x->deadline_ns != 0)
        x->deadline_ns += by;
}

/* What x ends with since it cannot be sent in the state that its device and the session are in; 0
 * where it can, or waits. */
static int
exec_refused(const struct scsi_sdev *s, const struct scsi_exec *x)
{
    const struct scsi_target *t = s->dev.target;

    if (x->canceled != 0)
        return x->canceled;
    if (t->host->state == SCSI_HOST_GONE)
        return -ENOTCONN;
    if (x == &s->rm) /* it is of the writes of one session, which another has not seen */
        return s->nexus != t->nexus || t->host->state != SCSI_HOST_RUNNING ? -ENOTCONN : 0;
    if (x->internal)
        return 0;
    if (s->leaving && exec_stands_still(s))
        return -ENOTCONN;
    if (s->dev.state == SDEV_OFFLINE || s->dev.state == SDEV_TRANSPORT_OFFLINE)
        return sdev_error(s);
    return s->dev.state == SDEV_CANCEL || s->dev.state == SDEV_DEL ? -ENODEV : 0;
}

static void
exec_send(struct scsi_exec *x)
{
    struct scsi_sdev *s = sdev_of(x->io.dev);
    struct scsi_target *t = s->dev.target;
    struct scsi_io *io = &x->io;
    int err;

    assert(io->state == IO_IDLE && list_empty(&x->node));
    x->waits = false;
    loop_timer_stop(t->loop, &x->timer);
    exec_move(x);
    err = exec_refused(s, x);
    if (err < 0) {
        exec_finish(x, err);
        return;
    }
    if (exec_must_wait(s, x)) {
        exec_wait(x);
        return;
    }
    scsi_io_prepare(io);
    io->sc.cdb_len = x->cdb_len;
    if (x->cdb_len <= SCSI_CDB_INLINE) {
        memset(io->sc.cdb, 0, sizeof(io->sc.cdb));
        memcpy(io->sc.cdb, x->cdb, x->cdb_len);
    } else {
        io->sc.cdb_long = x->cdb;
    }
    io->sc.out = x->out;
    io->sc.in = x->in;
    err = scsi_dispatch_cmd(s, io);
    if (err == -EBUSY) {
        exec_wait(x);
        return;
    }
    if (err < 0) {
        exec_finish(x, err);
        return;
    }
    if (x->deadline_ns == 0)
        x->deadline_ns = t->loop->now_ns + x->timeout_ms * LOOP_NS_PER_MS;
    list_push_back(&t->sent, &x->node);
    loop_timer_start(t->loop, &x->timer, x->timeout_ms * LOOP_NS_PER_MS);
    loop_defer(t->loop, &t->commit_work);
}

static void
exec_again_after(struct scsi_exec *x, uint32_t ms)
{
    struct scsi_target *t = x->io.dev->target;

    assert(x->io.state == IO_IDLE && list_empty(&x->node));
    list_push_back(&t->delayed, &x->node);
    loop_timer_start(t->loop, &x->timer, ms * LOOP_NS_PER_MS);
}

/* True when the command is sent once more because of what became of the transport. */
static bool
exec_host_retry(struct scsi_exec *x, const struct scsi_verdict *v)
{
    const struct scsi_sdev *s = sdev_of(x->io.dev);
    bool held = s->dev.target->host->state == SCSI_HOST_BLOCKED && x != &s->eh_tur;
    bool ours = x->internal && x != &s->eh_tur && v->maybe_done && v->err != -ETIMEDOUT;

    if (v->action != ACT_AGAIN && !ours)
        return false;
    if (!x->lost) {
        x->lost = true;
        x->lost_ns = s->dev.target->loop->now_ns;
    }
    if (scsi_patience_is_over(s->dev.target, x->lost_ns))
        return false;
    if (!held && x->tries++ >= (v->action == ACT_AGAIN ? EXEC_TRIES_MAX : EXEC_LINK_RETRY))
        return false; /* while it is held, losses of the session are not counted */
    exec_again_after(x, SCSI_NOT_SENT_MS);
    return true;
}

/* True where the midlayer's own command x was refused for now, and is sent again.  "Insufficient
 * resources" (55h) has the key of what the unit cannot do at all, so that somebody who asks for a
 * page would take it for one that is not there; but it may be all that a unit ever says. */
static bool
exec_busy(struct scsi_exec *x, const struct scsi_sense *sense)
{
    struct scsi_sdev *s = sdev_of(x->io.dev);
    struct loop *l = s->dev.target->loop;
    uint8_t status = x->io.sc.status;
    bool short_of = sense != NULL && sense->key == SENSE_ILLEGAL_REQUEST && sense->asc == 0x55 &&
                    x->backoff_ms < EXEC_SHORT_MS;

    if (!x->internal || l->now_ns >= x->deadline_ns ||
        !(status == SCSI_BUSY || status == SCSI_TASK_SET_FULL || short_of))
        return false;
    s->dev.stats.busy++;
    exec_again_after(x, scsi_backoff_ms(l, &x->backoff_ms));
    return true;
}

static void
scsi_exec_complete(struct scsi_io *io)
{
    struct scsi_exec *x = container_of(io, struct scsi_exec, io);
    struct scsi_sdev *s = sdev_of(io->dev);
    struct loop *l = s->dev.target->loop;
    enum scsi_host_result r = scsi_io_host_result(io);
    struct scsi_sense sense;
    bool told;

    assert(io->state == IO_IDLE && io->rq == NULL);
    list_del(&x->node);
    loop_timer_stop(l, &x->timer);
    if (r != DID_OK) {
        struct scsi_verdict v = scsi_judge_host(r);

        scsi_look_for_lost(s, io->sc.host_result);
        if (x->canceled != 0)
            exec_finish(x, x->canceled);
        else if (!exec_host_retry(x, &v))
            exec_finish(x, v.err);
        return;
    }
    told = io->sc.status == SCSI_CHECK_CONDITION &&
           sense_parse(io->sc.sense, io->sc.sense_len, &sense) && !sense.deferred;
    if (told && sense.key == SENSE_UNIT_ATTENTION) {
        scsi_unit_attention(s, sense.asc, sense.ascq);
        if (x->ua_left > 0) {
            x->ua_left--;
            s->dev.stats.requeues++;
            exec_send(x);
            return;
        }
    }
    if (!exec_busy(x, told ? &sense : NULL))
        exec_finish(x, 0);
}

static int
exec_start(struct scsi_sdev *s, struct scsi_exec *x)
{
    struct scsi_target *t = s->dev.target;

    assert(x->done != NULL);
    if (x->cdb_len < 6 || x->cdb_len > t->host->max_cdb_len || x->cdb_len > SCSI_CDB_MAX)
        return -EINVAL;
    if (x->in.len > t->host->max_transfer || x->out.len > t->host->max_transfer)
        return -EMSGSIZE;
    if (t->host->state == SCSI_HOST_GONE)
        return -ENOTCONN;
    list_init(&x->node);
    loop_timer_init(&x->timer, exec_timer);
    if (x->timeout_ms == 0)
        x->timeout_ms = SCSI_TIMEOUT_MS;
    x->ua_left = x->ua_retries;
    x->tries = 0;
    x->canceled = 0;
    x->lost = false;
    x->backoff_ms = 0;
    x->deadline_ns = x->still_ns = 0;
    x->wait_until_ns = t->loop->now_ns + x->timeout_ms * LOOP_NS_PER_MS;
    scsi_io_init(&x->io, &s->dev, scsi_done, scsi_exec_complete);
    x->io.rq = NULL;
    x->io.not_fresh = 0;
    x->io.sc.host_result = DID_OK;
    /* It is sent later, from the waiting list: an end must not be told from inside this call. */
    exec_wait(x);
    loop_defer(t->loop, &t->commit_work);
    return 0;
}

int
scsi_execute(struct scsi_device *dev, struct scsi_exec *x)
{
    switch (dev->state) {
    case SDEV_RUNNING:
    case SDEV_QUIESCE:
    case SDEV_BLOCK:
        break;
    case SDEV_TRANSPORT_OFFLINE:
    case SDEV_OFFLINE:
        return sdev_error(sdev_of(dev));
    case SDEV_CREATED:
    case SDEV_CREATED_BLOCK:
    case SDEV_CANCEL:
    case SDEV_DEL:
    case SDEV_NSTATES:
    default:
        return -ENODEV;
    }
    x->internal = false;
    return exec_start(sdev_of(dev), x);
}

int
scsi_execute_internal(struct scsi_sdev *s, struct scsi_exec *x)
{
    x->internal = true;
    return exec_start(s, x);
}

void
scsi_exec_cancel(struct scsi_exec *x, int err)
{
    assert(!x->internal && (err == -ECANCELED || err == -ETIMEDOUT));
    if (x->canceled == 0)
        x->canceled = err;
    if (x->io.state == IO_IDLE) /* it waits; nobody is told from inside this call */
        loop_timer_start(x->io.dev->target->loop, &x->timer, 0);
    else
        scsi_io_cancel(&x->io, err == -ETIMEDOUT);
}

void
scsi_exec_run_waiting(struct scsi_target *t)
{
    struct list batch, *n;

    list_init(&batch);
    list_splice(&batch, &t->waiting);
    while ((n = list_pop_front(&batch)) != NULL)
        exec_send(container_of(n, struct scsi_exec, node));
}

void
scsi_exec_fail_all(struct scsi_target *t, int err)
{
    list_splice(&t->waiting, &t->sent); /* the host has none of them any more */
    scsi_exec_fail_waiting(t, err);
}

void
scsi_exec_fail_waiting(struct scsi_target *t, int err)
{
    struct list batch, *n;

    list_init(&batch);
    list_splice(&batch, &t->waiting);
    list_splice(&batch, &t->delayed);
    while ((n = list_pop_front(&batch)) != NULL)
        exec_finish(container_of(n, struct scsi_exec, node), err);
}
