/* SPDX-License-Identifier: MIT */
/* scsi/eh.c - the error handling ladder: what happens to commands whose abort failed.
 *
 * First the logical unit is reset; if that does not help, the target, then the session, for one
 * device at a time.  After each reset TEST UNIT READY finds out whether the unit answers.  Where
 * all fails the device goes OFFLINE, until somebody scans, or a new session begins.  A command ends
 * when the host gives it back and never before, as its buffers may still be written to.
 *
 * A session that is lost meanwhile ends the ladder: all commands come back by that, there is
 * nothing left to reset, and of the unit it says nothing.  The last step loses the session itself;
 * it is over when the session is back, or has been given up.  So each step ends: the first three by
 * time limits of the host, the fourth by that of the session's recovery, TEST UNIT READY by its
 * own.
 */
#include <assert.h>
#include <errno.h>

#include "scsi/internal.h"

#define EH_BARREN_MAX                                                                              \
    2 /* runs after which a unit that only answers TEST UNIT READY is given up                     \
       */

static void eh_climb(struct scsi_sdev *s);

static void
eh_release(struct scsi_sdev *s)
{
    struct scsi_target *t = s->dev.target;
    struct list *n;

    list_del(&s->eh_node);
    if (t->eh_owner != s)
        return;
    t->eh_owner = NULL;
    /* Each that waits takes the turn or, where its nexus is over, ends its ladder without. */
    while (t->eh_owner == NULL && (n = list_pop_front(&t->eh_queue)) != NULL)
        eh_climb(container_of(n, struct scsi_sdev, eh_node));
}

static void
eh_free_if_doomed(struct scsi_sdev *s)
{
    if (s->doomed && !sdev_in_eh(s))
        sdev_free(s);
}

enum eh_verdict {
    EH_ALIVE, /* the unit answers */
    EH_DEAD,
    EH_LOST, /* the session was lost, not by us: nothing is known of the unit */
};

/* The ladder stands in a nexus that is over. */
static bool
eh_is_lost(const struct scsi_sdev *s)
{
    const struct scsi_target *t = s->dev.target;

    return t->host->state != SCSI_HOST_RUNNING || s->eh_nexus != t->nexus;
}

static void
eh_give_up(struct scsi_sdev *s)
{
    sdev_log(s, LOG_LEVEL_ERROR, "error handling gave up, the device is offline");
    if (s->dev.state != SDEV_RUNNING && s->dev.state != SDEV_BLOCK)
        return;
    (void)sdev_set_state(s, SDEV_OFFLINE);
    s->given_up = true;
    sdev_tell_offline(s);
}

static void
eh_end(struct scsi_sdev *s, enum eh_verdict v)
{
    s->eh = EH_NONE;
    s->eh_tur_wanted = false;
    s->fast_done = false;
    if (v == EH_LOST)
        sdev_log(s, LOG_LEVEL_INFO, "the session was lost: error handling ends with it");
    else if (v == EH_DEAD || ++s->eh_barren >= EH_BARREN_MAX)
        eh_give_up(s);
    sdev_gate_clear(s, GATE_EH);
    sdev_restart(s); /* requests that wait go on, or fail where the device is offline now */
    eh_release(s);
    eh_free_if_doomed(s);
}

static void
eh_tur_done(struct scsi_exec *x)
{
    struct scsi_sdev *s = container_of(x, struct scsi_sdev, eh_tur);

    assert(s->eh_tur_out);
    s->eh_tur_out = false;
    if (!s->eh_tur_wanted) { /* it came back after the ladder had gone on without it */
        eh_free_if_doomed(s);
        return;
    }
    if (x->result.err == 0 && list_empty(&s->eh_cmds) && !eh_is_lost(s))
        eh_end(s, EH_ALIVE); /* the unit answers, and the host has given everything back */
    else
        eh_climb(s);
}

static void
eh_send_tur(struct scsi_sdev *s)
{
    if (s->eh_tur_out) { /* the one of the step before has not come back */
        eh_climb(s);
        return;
    }
    s->eh_tur = (struct scsi_exec){.cdb = s->eh_cdb,
                                   .timeout_ms = s->dev.target->params.eh_tur_ms,
                                   .ua_retries = SCSI_UA_TRIES,
                                   .done = eh_tur_done};
    s->eh_tur.cdb_len = (uint16_t)cdb_test_unit_ready(s->eh_cdb);
    s->eh_tur_out = s->eh_tur_wanted = true;
    if (scsi_execute_internal(s, &s->eh_tur) < 0) {
        s->eh_tur_out = false;
        eh_end(s, EH_LOST);
    }
}

static void
eh_reset_done(struct scsi_eh_wait *w, enum scsi_eh_result r)
{
    struct scsi_sdev *s = container_of(w, struct scsi_sdev, eh_wait);

    if (s->eh == EH_SESSION_RESET && r == SCSI_EH_SUCCESS)
        s->eh_nexus = s->dev.target->nexus; /* this loss was ours */
    if (r != SCSI_EH_SUCCESS || eh_is_lost(s)) {
        eh_climb(s);
        return;
    }
    if (s->eh == EH_LU_RESET) {
        s->expecting_ua = true;
    } else {
        LIST_FOREACH (n, &s->dev.target->devices) {
            sdev_of(container_of(n, struct scsi_device, node))->expecting_ua = true;
        }
    }
    eh_send_tur(s);
}

/* Takes the next step of the ladder; called when the present one did not help. */
static void
eh_climb(struct scsi_sdev *s)
{
    struct scsi_target *t = s->dev.target;
    struct scsi_host *h = t->host;

    if (eh_is_lost(s)) {
        eh_end(s, EH_LOST);
        return;
    }
    s->eh_wait.done = eh_reset_done;
    s->eh_tur_wanted = false;
    if (s->eh == EH_NONE &&
        s->replaced) /* what is there is not ours to reset, but for the session */
        s->eh = EH_TARGET_RESET;
    switch (s->eh) {
    case EH_NONE:
        s->eh = EH_LU_RESET;
        s->dev.stats.lu_resets++;
        sdev_log(s, LOG_LEVEL_WARN, "resetting the logical unit");
        h->ops->eh_device_reset(h, s->dev.lun, &s->eh_wait);
        return;
    case EH_LU_RESET:
        s->eh = EH_TARGET_WAIT;
        if (t->eh_owner != NULL) { /* another device's reset is under way */
            list_push_back(&t->eh_queue, &s->eh_node);
            return;
        }
        __attribute__((fallthrough));
    case EH_TARGET_WAIT:
        assert(t->eh_owner == NULL && list_empty(&s->eh_node));
        t->eh_owner = s;
        if (list_empty(&s->eh_cmds) &&
            !s->eh_tur_out) { /* another device's reset has brought them back */
            s->eh = EH_TARGET_RESET;
            eh_send_tur(s);
            return;
        }
        s->eh = EH_TARGET_RESET;
        s->dev.stats.target_resets++;
        sdev_log(s, LOG_LEVEL_WARN, "resetting the target");
        h->ops->eh_target_reset(h, &s->eh_wait);
        return;
    case EH_TARGET_RESET:
        s->eh = EH_SESSION_RESET;
        s->dev.stats.session_resets++;
        sdev_log(s, LOG_LEVEL_WARN, "resetting the session");
        h->ops->eh_session_reset(h, &s->eh_wait);
        return;
    case EH_SESSION_RESET:
    default:
        eh_end(s, EH_DEAD);
        return;
    }
}

void
eh_start(struct scsi_sdev *s)
{
    /* Without a session there is nothing to reset: the host gives every command back by itself. */
    if (s->eh != EH_NONE || s->dev.target->host->state != SCSI_HOST_RUNNING)
        return;
    s->eh_nexus = s->dev.target->nexus;
    sdev_gate_set(s, GATE_EH);
    eh_climb(s);
}

void
eh_add(struct scsi_io *io)
{
    struct scsi_sdev *s = sdev_of(io->dev);

    assert(io->state == IO_ABORTING && !io->back);
    io->state = IO_EH;
    list_push_back(&s->eh_cmds, &io->node);
    if (io ==
        &s->eh_tur.io) { /* the ladder's own TEST UNIT READY is stuck: the next step, at once */
        list_del(&io->node);
        if (s->eh != EH_NONE)
            eh_climb(s);
        return;
    }
    eh_start(s);
}

static void
eh_aca_cleared(struct scsi_eh_wait *w, enum scsi_eh_result r)
{
    struct scsi_sdev *s = container_of(w, struct scsi_sdev, aca_wait);

    sdev_log(s, LOG_LEVEL_WARN, "auto contingent allegiance %s",
             r == SCSI_EH_SUCCESS ? "cleared" : "could not be cleared");
    s->aca_out = false;
    sdev_gate_clear(s, GATE_ACA);
    eh_free_if_doomed(s);
}

void
eh_clear_aca(struct scsi_sdev *s)
{
    struct scsi_host *h = s->dev.target->host;

    if (s->aca_out || h->ops->eh_clear_aca == NULL)
        return;
    s->aca_out = true;
    s->aca_wait.done = eh_aca_cleared;
    sdev_gate_set(s, GATE_ACA);
    h->ops->eh_clear_aca(h, s->dev.lun, &s->aca_wait);
}

int
scsi_query_unit(struct scsi_device *dev, enum scsi_query what, struct scsi_eh_wait *w)
{
    struct scsi_host *h = dev->target->host;

    if (h->state != SCSI_HOST_RUNNING)
        return -ENOTCONN;
    if (h->ops->eh_query == NULL)
        return -EOPNOTSUPP;
    h->ops->eh_query(h, what, dev->lun, w);
    return 0;
}
