/* SPDX-License-Identifier: MIT */
/* scsi/disk_done.c - commands of a disk coming back: done, once more, later, or failed.
 *
 * Transport result, then status, then sense data are judged, each by a table, then the residual.
 * Whatever happens, a request ends within (retries + 1) of its timeouts, not counting the time in
 * which its session is being recovered and its device looked at.
 */
#include <assert.h>
#include <errno.h>

#include "scsi/internal.h"

#define STALLS_MAX 2

static void __attribute__((noinline)) disk_finish(struct scsi_sdev *s, struct scsi_io *io, int err)
{
    struct blk_request *rq = io->rq;
    const struct scsi_cmd *sc = &io->sc;

    assert(io->state == IO_IDLE && s->up != NULL);
    rq->result.err = disk_true_error(io, err);
    if (__builtin_expect(err != 0 || io->form == FORM_RAW, 0)) {
        rq->result.host_result = (uint8_t)sc->host_result;
        rq->result.scsi_status = sc->host_result == DID_OK ? sc->status : 0;
        rq->result.sense_len = sc->sense_len;
        rq->result.resid = sc->resid_out + sc->resid_in;
        rq->result.overflow = sc->overflow;
        if (blk_request_sense(rq) != NULL && sc->sense_len > 0)
            memcpy(blk_request_sense(rq), sc->sense, sc->sense_len);
    }
    disk_io_clear(io);
    s->up->complete(rq);
}

static void
disk_again(struct scsi_sdev *s, struct scsi_io *io, uint32_t ms)
{
    assert(io->state == IO_IDLE);
    s->dev.stats.requeues++;
    s->up->requeue(io->rq, ms * LOOP_NS_PER_MS);
}

/* The limit of one try is that of block/, so that each of them may take as long as it may. */
static bool
disk_time_is_up(const struct scsi_sdev *s, const struct blk_request *rq)
{
    const struct scsi_target *t = s->dev.target;
    uint64_t ms = rq->parent->timeout_ms > 0
                      ? rq->parent->timeout_ms
                      : (uint64_t)bdev_time_limits(rq->op) * t->params.timeout_ms;

    return t->loop->now_ns >= rq->start_ns + (SCSI_DISK_RETRIES + 1) * ms * LOOP_NS_PER_MS;
}

static bool
disk_changes(const struct blk_request *rq)
{
    return rq->op != BDEV_READ && rq->op != BDEV_FLUSH && rq->op != BDEV_SCSI &&
           rq->op != BDEV_BLOCK_STATUS;
}

/* True when rq may be sent again although it may have been executed: doing it twice is as doing it
 * once.  Of a pass-through command nobody knows, and a compare may fail on what it wrote itself. */
static bool
disk_may_repeat(const struct blk_request *rq)
{
    return rq->op != BDEV_COMPARE_WRITE && rq->op != BDEV_SCSI;
}

/* Sends rq again at once and counts it.  False where no try is left. */
static bool
disk_retry(struct scsi_sdev *s, struct scsi_io *io, const struct scsi_verdict *v)
{
    struct blk_request *rq = io->rq;

    if (v->transport && (rq->flags & BDEV_F_FAILFAST) != 0)
        return false;
    if (rq->retries >= SCSI_DISK_RETRIES || disk_time_is_up(s, rq) ||
        (v->maybe_done && !disk_may_repeat(rq)) || rq->op == BDEV_SCSI)
        return false;
    rq->retries++;
    s->dev.stats.retries++;
    s->up->requeue(rq, 0);
    return true;
}

/* io was lost with its connection, perhaps once more. */
static void
disk_note_loss(const struct scsi_sdev *s, struct scsi_io *io)
{
    if (io->lost)
        return;
    io->lost = true;
    io->lost_ns = s->dev.target->loop->now_ns;
    io->losses = 0;
}

/* True where io is lost with each connection that it goes on, and has been for as long as a session
 * is waited for.  It may be io itself that ends them. */
static bool
disk_is_lost_for_good(const struct scsi_sdev *s, const struct scsi_io *io)
{
    assert(io->lost);
    return scsi_patience_is_over(s->dev.target, io->lost_ns);
}

/* What is to go again as soon as it can waits at the gate, or else a little here. */
static uint32_t
disk_pause_ms(const struct scsi_sdev *s)
{
    return s->dev.target->host->state != SCSI_HOST_RUNNING ? 0 : SCSI_NOT_SENT_MS;
}

/* How long io, which is lost, waits before it goes again, in its own time.  A request that is lost
 * each time that it is sent may be what ends the sessions.  So it goes less and less often, and not
 * when others of its age do: between its tries they get their turn, and in the end its own time is
 * up. */
static uint32_t
disk_replay_ms(const struct scsi_sdev *s, struct scsi_io *io)
{
    const struct scsi_target *t = s->dev.target;
    uint64_t left = io->lost_ns + t->host->patience_ns - t->loop->now_ns;
    uint32_t ms = SCSI_LOST_MIN_MS;

    if (io->losses < UINT8_MAX)
        io->losses++;
    if (io->losses == 1 || s->leaving)
        return disk_pause_ms(s);
    for (uint8_t i = 2; i < io->losses && ms < SCSI_LOST_MAX_MS; i++)
        ms *= 2;
    if (ms > SCSI_LOST_MAX_MS)
        ms = SCSI_LOST_MAX_MS;
    ms = ms / 2 + (uint32_t)(loop_random(t->loop) % (ms / 2 + 1));
    if (t->host->patience_ns > 0 && left / LOOP_NS_PER_MS < ms)
        ms = (uint32_t)(left / LOOP_NS_PER_MS) + 1; /* the last try */
    return ms;
}

/* io was lost with its connection.  It goes again in the next nexus, which begins by ending what is
 * left of the old one; the connection's loss is not its fault, and is not counted. */
static bool
disk_replay(struct scsi_sdev *s, struct scsi_io *io)
{
    const struct blk_request *rq = io->rq;

    disk_note_loss(s, io);
    if ((rq->flags & BDEV_F_FAILFAST) != 0 || !disk_may_repeat(rq) || disk_time_is_up(s, rq) ||
        disk_is_lost_for_good(s, io))
        return false;
    disk_again(s, io, disk_replay_ms(s, io));
    return true;
}

/* The device is busy: its commands are held back for a while, and io is sent again, uncounted. */
static void
disk_back_off(struct scsi_sdev *s, struct scsi_io *io, const struct scsi_verdict *v, uint32_t ms)
{
    if (io->rq->op == BDEV_SCSI || disk_time_is_up(s, io->rq)) {
        disk_finish(s, io, io->rq->op == BDEV_SCSI && v->err == -EBUSY ? 0 : v->err);
        return;
    }
    if (ms == 0 && s->inflight > 0)
        ms = SCSI_BACKOFF_MIN_MS; /* others are being served, so it will not take long */
    else if (ms == 0)
        ms = scsi_backoff_ms(s->dev.target->loop, &s->backoff_ms);
    s->fast_done = false;
    sdev_hold(s, ms);
    disk_again(s, io, 0);
}

/* RFC 7144: the low 14 bits of the status qualifier, in 100 ms; a minute at most, as nobody
 * should be able to stop us for longer. */
static uint32_t
disk_qualifier_ms(const struct scsi_cmd *sc)
{
    uint32_t q = sc->status_qualifier & 0x3fff;

    if (q == 0 || q > 0x3fef)
        return 0;
    return q > 600 ? 60000 : q * 100;
}

/* The device refuses what it had claimed to have: does without it from now on.  True when the
 * request goes on in another form, or has ended. */
static bool
disk_feature_off(struct scsi_sdev *s, struct scsi_io *io, bool opcode)
{
    struct scsi_disk *d = s->dev.disk;
    bool dropped = true;

    switch ((enum disk_form)io->form) {
    case FORM_UNMAP:
        d->discard_broken = true;
        break;
    case FORM_WS10_UNMAP:
    case FORM_WS16_UNMAP:
        d->discard_broken = d->zero_unmap_broken = true;
        break;
    case FORM_WS10:
    case FORM_WS16:
        d->zero_broken = true;
        break;
    case FORM_10:
        dropped = opcode && !d->no_10;
        d->no_10 |= opcode;
        break;
    case FORM_16:
        dropped = opcode && !d->no_16 && d->capacity.blocks <= 0xffffffffu;
        d->no_16 |= dropped;
        break;
    case FORM_SYNC_10:
        dropped = opcode;
        d->no_sync_10 |= opcode;
        break;
    case FORM_SYNC_16: /* no flush of any kind: taken as write-through, which is logged */
        if (!opcode)
            return false;
        d->no_flush = true;
        break;
    case FORM_CAW:
        dropped = opcode;
        d->caw_broken |= opcode;
        break;
    case FORM_LBA_STATUS:
        d->status_broken = true;
        break;
    case FORM_RAW:
    case FORM_6:
    default:
        return false;
    }
    if (!dropped)
        return false;
    sdev_log(s, LOG_LEVEL_WARN, "the unit refuses %s: not used any more",
             cdb_name(scsi_cmd_cdb(&io->sc), io->sc.cdb_len));
    disk_make_limits(d);
    s->up->event(s->bdev, BDEV_EV_LIMITS, &d->limits);
    if (d->no_flush && io->rq->op == BDEV_FLUSH)
        disk_finish(s, io, 0);
    else if (io->rq->op == BDEV_DISCARD || io->rq->op == BDEV_COMPARE_WRITE ||
             io->rq->op == BDEV_BLOCK_STATUS)
        disk_finish(s, io, -EOPNOTSUPP);
    else
        disk_again(s, io, 0); /* disk_build finds another form, or -EOPNOTSUPP */
    return true;
}

/* Several protocol service errors in a row: target and initiator disagree about the data that was
 * sent (RFC 7143 11.4.7.2), and only a new session can mend that. */
static void
disk_drop_done(struct scsi_eh_wait *w, enum scsi_eh_result r)
{
    struct scsi_target *t = container_of(w, struct scsi_target, drop_wait);

    (void)r;
    t->dropping = false;
    t->link_errors = 0;
}

static void
disk_link_error(struct scsi_sdev *s, const struct scsi_sense *sense)
{
    struct scsi_target *t = s->dev.target;
    char text[SENSE_TEXT_MAX];

    sdev_log(s, LOG_LEVEL_WARN, "protocol service error: %s",
             sense_format(sense, text, sizeof(text)));
    if (t->link_errors < SCSI_LINK_ERRORS_MAX) {
        t->link_errors++;
    } else if (!t->dropping) {
        t->dropping = true;
        t->drop_wait.done = disk_drop_done;
        s->dev.stats.session_resets++;
        t->host->ops->eh_session_reset(t->host, &t->drop_wait);
    }
}

static void
disk_unit_attention(struct scsi_sdev *s, struct scsi_io *io, const struct scsi_sense *sense)
{
    scsi_unit_attention(s, sense->asc, sense->ascq);
    if (io->rq->op == BDEV_SCSI) { /* the sender of a pass-through command may repeat it */
        disk_finish(s, io, 0);
    } else if ((s->dev.removable && sense->asc == 0x28) || ++io->unit_attentions > SCSI_UA_MAX ||
               disk_time_is_up(s, io->rq)) {
        disk_finish(s, io, -EIO);
    } else {
        disk_again(s, io, 0);
    }
}

static void disk_went_well(struct scsi_sdev *s, struct scsi_io *io, bool nothing_moved);

static void
disk_act(struct scsi_sdev *s, struct scsi_io *io, const struct scsi_verdict *v,
         const struct scsi_sense *sense)
{
    int err = v->err;

    if (v->maybe_done && disk_changes(io->rq))
        io->maybe_done = true;
    switch (v->action) {
    case ACT_DONE:
        disk_went_well(s, io, false);
        return;
    case ACT_NOTHING_MOVED:
        disk_went_well(s, io, true);
        return;
    case ACT_RETRY_LINK:
        disk_link_error(s, sense);
        if (disk_retry(s, io, v))
            return;
        break;
    case ACT_RETRY:
        if (disk_retry(s, io, v))
            return;
        break;
    case ACT_REPLAY:
        if (disk_replay(s, io))
            return;
        break;
    case ACT_RETRY_DELAY:
        if (disk_retry(s, io, v))
            return;
        disk_back_off(s, io, v, 0);
        return;
    case ACT_SWEPT:
        if (!disk_may_repeat(io->rq) || disk_time_is_up(s, io->rq))
            break;
        disk_again(s, io, 0);
        return;
    case ACT_AGAIN:
        disk_note_loss(s, io);
        if (disk_time_is_up(s, io->rq) || disk_is_lost_for_good(s, io))
            break;
        disk_again(s, io, disk_pause_ms(s));
        return;
    case ACT_DELAY:
        s->dev.stats.busy++;
        disk_back_off(s, io, v, disk_qualifier_ms(&io->sc));
        return;
    case ACT_FULL:
        sdev_depth_down(s);
        disk_back_off(s, io, v, disk_qualifier_ms(&io->sc));
        return;
    case ACT_ALUA:
        disk_back_off(s, io, v, 1000);
        return;
    case ACT_ACA:
        /* It answers commands of the nexus that has the condition; those of others are answered
         * with BUSY (SAM).  So it is ours: a raw command had NACA set, since nothing else sets it.
         * Its sender cannot send a command with the ACA attribute, and the condition would last. */
        if (io->rq->op == BDEV_SCSI)
            break;
        eh_clear_aca(s);
        if (disk_retry(s, io, v))
            return;
        break;
    case ACT_UA:
        disk_unit_attention(s, io, sense);
        return;
    case ACT_OPCODE:
    case ACT_FIELD:
        if (disk_feature_off(s, io, v->action == ACT_OPCODE))
            return;
        break;
    case ACT_FAIL:
    case ACT_SENSE: /* CHECK CONDITION came without sense data: it is tried once more */
    default:
        if (v->action == ACT_SENSE && io->rq->retries == 0 && disk_retry(s, io, v))
            return;
        break;
    }
    /* For a pass-through any status is an answer, whatever it says. */
    disk_finish(s, io, io->rq->op == BDEV_SCSI && io->sc.host_result == DID_OK ? 0 : err);
}

static void
disk_act_on_sense(struct scsi_sdev *s, struct scsi_io *io)
{
    struct scsi_verdict v = scsi_judge_status(SCSI_CHECK_CONDITION);
    struct scsi_sense sense;

    if (sense_parse(io->sc.sense, io->sc.sense_len, &sense)) {
        v = scsi_judge_sense(&sense);
        if (sense.deferred) {
            s->dev.stats.deferred++;
            sdev_log(s, LOG_LEVEL_ERROR, "deferred error: an earlier write was lost");
        } else if (sense.key == SENSE_RECOVERED) {
            s->dev.stats.recovered++;
        }
        sdev_raise(s, v.events, 0);
        alua_look_at_sense(s, &sense);
        if (v.steps != 0)
            disk_want(s->dev.disk, v.steps);
        if (v.action != ACT_RETRY_LINK)
            s->dev.target->link_errors = 0;
    }
    if (io->rq->op == BDEV_SCSI && v.action != ACT_UA)
        disk_finish(s, io, 0);
    else
        disk_act(s, io, &v, &sense);
}

/* A READ or WRITE went well, but part of its data has not moved, or part of the request did not fit
 * one command: what is left is sent again. */
static void
disk_moved(struct scsi_sdev *s, struct scsi_io *io, uint32_t sent, uint32_t resid)
{
    struct scsi_disk *d = s->dev.disk;
    struct blk_request *rq = io->rq;
    uint32_t n = (sent - resid) & ~(d->limits.block_size - 1);

    if (resid > 0)
        s->dev.stats.short_transfers++;
    if (n == 0) {
        if (++io->stalls > STALLS_MAX || disk_time_is_up(s, rq)) {
            s->dev.stats.residual_errors++;
            disk_finish(s, io, -EIO);
            return;
        }
    } else {
        io->stalls = 0;
        io->lost = false;
        io->maybe_done = rq->op == BDEV_WRITE;
        rq->offset += n;
        rq->len -= n;
        rq->data.skip += n;
        rq->data.len -= n;
        if (rq->len == 0) {
            disk_finish(s, io, 0);
            return;
        }
    }
    disk_again(s, io, 0);
}

static void
disk_note_write(struct scsi_sdev *s, const struct blk_request *rq)
{
    const struct scsi_disk *d = s->dev.disk;

    if (d->limits.write_cache && !((rq->flags & BDEV_F_FUA) != 0 && d->limits.fua))
        s->writes++;
}

/* Turns the descriptors of GET LBA STATUS into extents, which lie in the same memory: each extent
 * ends before the next descriptor begins.  An answer that does not begin with the block that was
 * asked for says nothing, and as little does what comes behind a gap. */
static int
disk_take_status(struct scsi_sdev *s, struct blk_request *rq, uint32_t len)
{
    struct scsi_disk *d = s->dev.disk;
    struct bdev_req *r = rq->parent;
    const uint8_t *buf = (const uint8_t *)r->extents;
    uint64_t lba = rq->offset >> d->shift, end = lba + (rq->len >> d->shift);
    uint32_t n = lba_status_count(buf, len), used = 0;
    bool zero = d->capacity.lbprz && (!d->b2_told || (d->b2.lbprz & 1) != 0);

    for (uint32_t i = 0; i < n && lba < end; i++) {
        struct lba_status st = lba_status_get(buf, i);
        uint64_t next = st.lba + st.blocks, state = 0;

        if (st.lba > lba || next <= lba || next < st.lba)
            break;
        if (next > end)
            next = end;
        if (st.provisioning == LBA_DEALLOCATED)
            state = BDEV_EXTENT_HOLE;
        if (zero && (st.provisioning == LBA_DEALLOCATED || st.provisioning == LBA_ANCHORED))
            state |= BDEV_EXTENT_ZERO;
        if (used > 0 && r->extents[used - 1].state == state)
            r->extents[used - 1].len += (next - lba) << d->shift;
        else
            r->extents[used++] = (struct bdev_extent){(next - lba) << d->shift, state};
        lba = next;
    }
    r->extents_n = used;
    if (used > 0)
        return 0;
    sdev_log(s, LOG_LEVEL_WARN, "GET LBA STATUS makes no sense: not used any more");
    d->status_broken = true;
    return -EOPNOTSUPP;
}

static void
disk_went_well(struct scsi_sdev *s, struct scsi_io *io, bool nothing_moved)
{
    struct blk_request *rq = io->rq;
    const struct scsi_cmd *sc = &io->sc;
    bool write = sc->out.len > 0;
    uint32_t sent = write ? sc->out.len : sc->in.len;
    uint32_t resid = write ? sc->resid_out : sc->resid_in;

    sdev_good(s);
    if (rq->op == BDEV_SCSI) {
        disk_finish(s, io, 0);
        return;
    }
    if (nothing_moved)
        resid = sent;
    if (resid > sent) {
        s->dev.stats.residual_errors++;
        disk_finish(s, io, -EPROTO);
        return;
    }
    if (write && resid < sent && rq->op != BDEV_DISCARD)
        disk_note_write(s, rq);
    if (rq->op == BDEV_READ || rq->op == BDEV_WRITE) {
        if (resid == 0 && sent == rq->len)
            disk_finish(s, io, 0);
        else
            disk_moved(s, io, sent, resid);
        return;
    }
    if (rq->op == BDEV_BLOCK_STATUS) {
        disk_finish(s, io, disk_take_status(s, rq, sent - resid));
        return;
    }
    if (resid > 0) { /* what has no data of the caller's cannot be done in part */
        s->dev.stats.residual_errors++;
        disk_finish(s, io, -EIO);
        return;
    }
    if (rq->op == BDEV_FLUSH && io->seen > s->flushed)
        s->flushed = io->seen;
    disk_finish(s, io, 0);
}

void
disk_complete(struct scsi_io *io)
{
    struct scsi_sdev *s = sdev_of(io->dev);
    const struct scsi_cmd *sc = &io->sc;
    struct scsi_verdict v;

    assert(io->state == IO_IDLE && io->rq != NULL && s->up != NULL);
    if (s->full_skip > 0)
        s->full_skip--;
    if (sc->host_result == DID_OK && sc->status == SCSI_GOOD) {
        disk_went_well(s, io, false);
        return;
    }
    scsi_look_for_lost(s, sc->host_result);
    v = scsi_judge_host(scsi_io_host_result(io));
    if (sc->host_result == DID_OK)
        v = scsi_judge_status(sc->status);
    else if (sc->host_result == DID_ERROR && sc->status == SCSI_RESERVATION_CONFLICT)
        v = scsi_judge_status(sc->status);
    if (v.action == ACT_SENSE)
        disk_act_on_sense(s, io);
    else
        disk_act(s, io, &v, NULL);
}
