/* SPDX-License-Identifier: MIT */
/* scsi/reconnect.c - looking at a device in a new nexus before anything else is sent to it.
 *
 * A session that was lost and is back has perhaps another unit behind the same LUN, a smaller one,
 * or one that is not ready; and so has a unit that says that it may have changed.  So the device
 * stays BLOCK until it has been looked at: TEST UNIT READY, who it is, and, of a disk, its capacity
 * and cache.  A look that fails is repeated, in each nexus anew and as often as it takes; only
 * whether requests wait for it has a bound.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "scsi/internal.h"

#define ABSENT_S     5   /* a target that has just started may find its units a little later */
#define AGAIN_MIN_MS 50u /* between two looks that failed: doubles */
#define AGAIN_MAX_MS 2000u

/* A command of the look.  It is there only as long as it is under way, since of thousands of units
 * none is looked at most of the time. */
struct reconnect_cmd {
    struct scsi_sdev *s;
    struct scsi_exec x;
    uint8_t cdb[CDB_MAX];
};

static void reconnect_look(struct scsi_sdev *s);

/* Only a device that waits for it is looked at, or that has waited for too long. */
static bool
reconnect_wanted(const struct scsi_sdev *s)
{
    return s->dev.target->host->state == SCSI_HOST_RUNNING &&
           (s->dev.state == SDEV_BLOCK || s->dev.state == SDEV_TRANSPORT_OFFLINE);
}

/* An answer has come.  False where it is of no use any more: the look has ended or has begun anew
 * then. */
static bool
reconnect_goes_on(struct scsi_sdev *s)
{
    struct sdev_reconnect *rc = &s->rc;

    if (!reconnect_wanted(s)) { /* sdev_reconnect begins another when the host runs */
        rc->step = RECONNECT_NONE;
        return false;
    }
    if (rc->began == s->dev.target->nexus)
        return true;
    reconnect_look(s); /* the session was lost and came back meanwhile */
    return false;
}

/* Requests do not wait any longer. */
static void
reconnect_give_up(struct scsi_sdev *s)
{
    if (s->dev.state != SDEV_BLOCK)
        return;
    sdev_log(s, LOG_LEVEL_WARN, "the session is back, but %s; commands fail, and it is tried on",
             s->why != NULL ? sdev_unlabelled(s, s->why->msg) : "the unit does not answer");
    if (s->why_code == 0)
        sdev_why(s, -EIO, LUNETTE_DOM_SCSI, 0, "the unit does not answer in the new session");
    (void)sdev_set_state(s, SDEV_TRANSPORT_OFFLINE);
    sdev_tell_offline(s);
}

static void
reconnect_limit(struct loop_timer *t)
{
    reconnect_give_up(container_of(t, struct scsi_sdev, rc.limit));
}

static void
reconnect_again(struct loop_timer *t)
{
    struct scsi_sdev *s = container_of(t, struct scsi_sdev, rc.again);

    if (reconnect_wanted(s))
        reconnect_look(s);
    else
        s->rc.step = RECONNECT_NONE; /* it has gone OFFLINE meanwhile */
}

/* The look has failed, with s->why saying how: it is repeated.  wait: requests wait for that. */
static void
reconnect_failed(struct scsi_sdev *s, bool wait)
{
    struct sdev_reconnect *rc = &s->rc;
    struct loop *l = s->dev.target->loop;
    uint32_t ms = rc->backoff_ms < AGAIN_MIN_MS ? AGAIN_MIN_MS : rc->backoff_ms;

    assert(reconnect_wanted(s));
    if (!wait)
        reconnect_give_up(s);
    rc->backoff_ms = ms * 2 < AGAIN_MAX_MS ? ms * 2 : AGAIN_MAX_MS;
    rc->step = RECONNECT_WAIT;
    loop_timer_start(l, &rc->again, (ms / 2 + loop_random(l) % (ms / 2 + 1)) * LOOP_NS_PER_MS);
}

/* There is no unit now. */
static void
reconnect_absent(struct scsi_sdev *s)
{
    char label[SDEV_LABEL_MAX];
    uint64_t now = s->dev.target->loop->now_ns;

    sdev_why(s, -ENXIO, LUNETTE_DOM_NOTFOUND, 0, "%s: the target has no such unit now",
             sdev_label(s, label, sizeof(label)));
    reconnect_failed(s, now < s->rc.since_ns + ABSENT_S * LOOP_NS_PER_S);
}

/* It is the same unit, and all that depends on the nexus has been read: unless it is another one
 * since. */
static void
reconnect_done(struct scsi_sdev *s)
{
    struct sdev_reconnect *rc = &s->rc;

    if (rc->doubted) {
        sdev_why(s, -EIO, LUNETTE_DOM_SCSI, 0,
                 "the unit says again and again that it may have changed");
        reconnect_failed(s, true);
        return;
    }
    rc->step = RECONNECT_NONE;
    rc->lost = false;
    loop_timer_stop(s->dev.target->loop, &rc->limit);
    s->nexus = rc->began;
    (void)sdev_set_state(s, SDEV_RUNNING);
}

/* ---- the disk ---- */

static void
reconnect_looked(struct scsi_sdev *s, int err, const struct lunette_error *why)
{
    if (s->rc.step != RECONNECT_DISK || !reconnect_goes_on(s))
        return;
    if (err == 0) {
        reconnect_done(s);
        return;
    }
    sdev_why_as(s, why);
    reconnect_failed(s, true);
}

/* ---- who is it? ---- */

static void
reconnect_identified(void *user, enum ident_result r, const struct lunette_error *why)
{
    struct scsi_sdev *s = user;

    assert(s->rc.step == RECONNECT_IDENT);
    if (!reconnect_goes_on(s))
        return;
    switch (r) {
    case IDENT_SAME:
        if (s->dev.disk == NULL || !s->dev.disk->up) {
            if (s->dev.disk != NULL)
                disk_reconnect(
                    s->dev.disk,
                    reconnect_looked); /* what it has been asked so far is of the old nexus */
            reconnect_done(s);
            return;
        }
        s->rc.step = RECONNECT_DISK;
        disk_reconnect(s->dev.disk, reconnect_looked);
        return;
    case IDENT_OTHER:
        s->rc.step = RECONNECT_NONE;
        sdev_replaced(s, why->msg);
        return;
    case IDENT_ABSENT:
        reconnect_absent(s);
        return;
    case IDENT_UNKNOWN:
    default:
        sdev_why_as(s, why);
        reconnect_failed(s, true);
        return;
    }
}

static void
reconnect_identify(struct scsi_sdev *s)
{
    s->rc.step = RECONNECT_IDENT;
    s->rc.doubted = false;
    ident_start(s, reconnect_identified, s);
}

/* ---- is it ready? ---- */

static void reconnect_start_unit(struct scsi_sdev *s);

/* What TEST UNIT READY failed with becomes the reason. */
static void
reconnect_not_ready(struct scsi_sdev *s, int err, const struct scsi_sense *sense, bool wait)
{
    char text[SENSE_TEXT_MAX], label[SDEV_LABEL_MAX];

    sdev_why(s, err, LUNETTE_DOM_SCSI,
             (uint32_t)SCSI_CHECK_CONDITION << 24 | (uint32_t)sense->key << 16 | sense_code(sense),
             "%s: TEST UNIT READY: %s", sdev_label(s, label, sizeof(label)),
             sense_format(sense, text, sizeof(text)));
    reconnect_failed(s, wait);
}

static void
reconnect_started_unit(struct scsi_exec *x)
{
    struct reconnect_cmd *c = container_of(x, struct reconnect_cmd, x);
    struct scsi_sdev *s = c->s;

    free(c);
    if (!reconnect_goes_on(s))
        return;
    sdev_why(s, -EIO, LUNETTE_DOM_SCSI, 0, "the unit is being started");
    reconnect_failed(s, true);
}

/* The path is in standby or unavailable state: alua.c says what requests fail with. */
static bool
reconnect_path_is_closed(const struct scsi_sense *sense)
{
    return sense->asc == 0x04 && (sense->ascq == 0x0b || sense->ascq == 0x0c);
}

/* A disk that is in use was ready before, and becomes so again: but not by waiting where somebody
 * has to do something. */
static void
reconnect_sense(struct scsi_sdev *s, const struct scsi_sense *sense)
{
    bool disk = s->dev.disk != NULL && s->dev.disk->up;

    if (sense->key == SENSE_ILLEGAL_REQUEST && sense->asc == 0x25) {
        if (s->known)
            reconnect_absent(s);
        else
            reconnect_identify(s);
    } else if (sense->key == SENSE_UNIT_ATTENTION) {
        reconnect_not_ready(s, -EIO, sense, true);
    } else if (!disk || sense->key != SENSE_NOT_READY) {
        reconnect_identify(s);
    } else if (sense->asc == 0x3a) {
        reconnect_not_ready(s, -ENOMEDIUM, sense, false);
    } else if (sense->asc == 0x04 && sense->ascq == 0x02 && !s->rc.start_sent) {
        reconnect_start_unit(s);
    } else {
        bool manual = sense->asc == 0x04 && (sense->ascq == 0x03 || sense->ascq == 0x0b ||
                                             sense->ascq == 0x0c || sense->ascq == 0x1b);

        reconnect_not_ready(s, reconnect_path_is_closed(sense) ? -EHOSTUNREACH : -EIO, sense,
                            !manual);
    }
}

static void
reconnect_ready(struct scsi_exec *x)
{
    struct reconnect_cmd *c = container_of(x, struct reconnect_cmd, x);
    struct scsi_sdev *s = c->s;
    uint8_t status = x->result.scsi_status;
    int err = x->result.err;
    struct scsi_sense sense;
    bool told = err == 0 && status == SCSI_CHECK_CONDITION &&
                sense_parse(x->io.sc.sense, x->result.sense_len, &sense) && !sense.deferred;

    free(c);
    assert(s->rc.step == RECONNECT_READY);
    if (!reconnect_goes_on(s))
        return;
    if (err == 0 && (status == SCSI_BUSY || status == SCSI_TASK_SET_FULL))
        err = -EBUSY;
    if (err != 0) {
        sdev_why(s, err, LUNETTE_DOM_SCSI, (uint32_t)status << 24, "TEST UNIT READY: %s",
                 err == -EBUSY ? "the unit is busy" : "no answer");
        reconnect_failed(s, true);
    } else if (told) {
        reconnect_sense(s, &sense);
    } else { /* or a reservation conflict, say, which is no reason to do without the disk */
        reconnect_identify(s);
    }
}

/* NULL, and the look has failed: there is no memory. */
static struct reconnect_cmd *
reconnect_cmd_new(struct scsi_sdev *s)
{
    struct reconnect_cmd *c = calloc(1, sizeof(*c));

    s->rc.step = RECONNECT_READY;
    if (c == NULL) {
        sdev_why(s, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
        reconnect_failed(s, true);
        return NULL;
    }
    c->s = s;
    return c;
}

static void
reconnect_send(struct reconnect_cmd *c, int cdb_len, void (*done)(struct scsi_exec *x))
{
    uint32_t ms = c->s->dev.target->params.timeout_ms;
    int err;

    c->x = (struct scsi_exec){.cdb = c->cdb,
                              .cdb_len = (uint16_t)cdb_len,
                              .timeout_ms = ms < SCSI_EH_TIMEOUT_MS ? ms : SCSI_EH_TIMEOUT_MS,
                              .ua_retries = SCSI_UA_TRIES,
                              .done = done};
    err = scsi_execute_internal(c->s, &c->x);
    assert(err == 0); /* the host runs, and takes six bytes */
    (void)err;
}

static void
reconnect_start_unit(struct scsi_sdev *s)
{
    struct reconnect_cmd *c = reconnect_cmd_new(s);

    if (c == NULL)
        return;
    s->rc.start_sent = true;
    reconnect_send(c, cdb_start_stop(c->cdb, true, 0, SCSI_START), reconnect_started_unit);
}

static void
reconnect_look(struct scsi_sdev *s)
{
    struct reconnect_cmd *c;

    s->rc.began = s->dev.target->nexus;
    c = reconnect_cmd_new(s);
    if (c != NULL)
        reconnect_send(c, cdb_test_unit_ready(c->cdb), reconnect_ready);
}

/* ---- begin and end ---- */

static void
sdev_reconnect(struct scsi_sdev *s)
{
    struct scsi_target *t = s->dev.target;
    struct sdev_reconnect *rc = &s->rc;

    assert(s->dev.state == SDEV_BLOCK && t->host->state == SCSI_HOST_RUNNING);
    sdev_reconnect_stop(s);
    loop_timer_init(&rc->again, reconnect_again);
    loop_timer_init(&rc->limit, reconnect_limit);
    s->expecting_ua = false; /* whatever the new nexus has to say, TEST UNIT READY takes */
    rc->since_ns = t->loop->now_ns;
    rc->backoff_ms = 0;
    rc->start_sent = false;
    loop_timer_start(t->loop, &rc->limit, t->params.spinup_s * LOOP_NS_PER_S);
    if (rc->step == RECONNECT_NONE)
        reconnect_look(s); /* else the end of the look of an earlier nexus begins it */
}

/* The session is lost.  One that comes back again and again, and is lost before the device has been
 * looked at, is not waited for any longer than one that does not come back. */
static void
reconnect_lost(struct scsi_sdev *s)
{
    const struct scsi_target *t = s->dev.target;
    struct sdev_reconnect *rc = &s->rc;

    sdev_reconnect_stop(s);
    /* A unit that has answered, if only that it is not of use, has had its requests fail: those
     * that come now wait for a session of their own. */
    if (!rc->lost || (s->dev.state == SDEV_TRANSPORT_OFFLINE && s->why_code != -ENOTCONN))
        rc->lost_ns = t->loop->now_ns;
    rc->lost = true;
    if (t->host->patience_ns == 0 || t->loop->now_ns - rc->lost_ns < t->host->patience_ns) {
        if (s->dev.state == SDEV_RUNNING || s->dev.state == SDEV_TRANSPORT_OFFLINE)
            (void)sdev_set_state(s, SDEV_BLOCK);
        return;
    }
    if (s->dev.state != SDEV_BLOCK && s->dev.state != SDEV_TRANSPORT_OFFLINE)
        return;
    sdev_why(s, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
             "the session is lost again and again before the unit has answered");
    reconnect_give_up(s);
}

void
sdev_follow_host(struct scsi_sdev *s, enum scsi_host_state state)
{
    struct scsi_target *t = s->dev.target;

    if (s->dev.state == SDEV_QUIESCE)
        (void)sdev_set_state(s, SDEV_RUNNING);
    switch (state) {
    case SCSI_HOST_BLOCKED:
        reconnect_lost(s);
        break;
    case SCSI_HOST_RUNNING:
        if (s->dev.state == SDEV_RUNNING || s->dev.state == SDEV_TRANSPORT_OFFLINE ||
            s->given_up) /* what error handling gave it up in is over */
            (void)sdev_set_state(s, SDEV_BLOCK);
        if (s->dev.state == SDEV_BLOCK)
            sdev_reconnect(s); /* sets it RUNNING once it is known to be the same */
        if (!list_empty(&s->eh_cmds))
            eh_start(s);
        break;
    case SCSI_HOST_GONE:
    default:
        sdev_reconnect_stop(s);
        if (s->dev.state == SDEV_RUNNING || s->dev.state == SDEV_BLOCK ||
            s->dev.state == SDEV_TRANSPORT_OFFLINE)
            sdev_set_failed(s, SDEV_TRANSPORT_OFFLINE, &t->gone);
        break;
    }
}

void
sdev_doubt(struct scsi_sdev *s)
{
    if (s->dev.state == SDEV_CREATED || s->dev.state == SDEV_CREATED_BLOCK ||
        s->dev.state == SDEV_CANCEL || s->dev.state == SDEV_DEL)
        return; /* it is being found, or closed with a flush, which writes nothing new */
    s->nexus = SDEV_NO_NEXUS;
    s->rc.doubted = true;
    if (s->dev.state == SDEV_RUNNING)
        sdev_follow_host(s, SCSI_HOST_RUNNING);
}

int
scsi_device_online(struct scsi_device *dev)
{
    struct scsi_sdev *s = sdev_of(dev);

    if (dev->state != SDEV_OFFLINE || s->replaced)
        return -EINVAL;
    s->eh_barren = 0;
    if (s->nexus == dev->target->nexus && dev->target->host->state == SCSI_HOST_RUNNING)
        return sdev_set_state(s, SDEV_RUNNING) ? 0 : -EINVAL;
    if (!sdev_set_state(s, SDEV_BLOCK))
        return -EINVAL;
    sdev_follow_host(s, dev->target->host->state);
    return 0;
}
