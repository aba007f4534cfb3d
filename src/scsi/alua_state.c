/* SPDX-License-Identifier: MIT */
/* scsi/alua_state.c - the ALUA state of the path that a disk has, as far as it is known, and what
 * follows from it for I/O. */
#include <errno.h>
#include <stdlib.h>

#include "scsi/alua.h"
#include "wire/capacity.h"

#define ALUA_WAIT_S 60u /* for a transition of unknown length */

static struct disk_alua *
alua_of(const struct scsi_sdev *s)
{
    return s->dev.disk != NULL ? s->dev.disk->alua : NULL;
}

const char *
scsi_path_trouble(const struct scsi_device *dev)
{
    if (((const struct scsi_sdev *)dev)->access == ACCESS_OK)
        return NULL;
    switch (dev->alua_state) {
    case ALUA_STANDBY:
        return "the path is in ALUA standby state";
    case ALUA_UNAVAILABLE:
        return "the path is in ALUA unavailable state";
    case ALUA_OFFLINE:
        return "the path is in ALUA offline state";
    case ALUA_TRANSITIONING:
        return "the path is in ALUA transitioning state";
    default:
        return "the path is in an unknown ALUA state";
    }
}

uint64_t
alua_wait_left_ns(const struct disk_alua *a)
{
    uint32_t limit_s = a->transition_s > 0 ? a->transition_s : ALUA_WAIT_S;
    uint64_t until = a->wait_since_ns + limit_s * LOOP_NS_PER_S;
    uint64_t now = a->disk->sdev->dev.target->loop->now_ns;

    return a->wait_since_ns > 0 && now < until ? until - now : 0;
}

static enum sdev_access
alua_access(const struct disk_alua *a, uint8_t state)
{
    switch (state) {
    case ALUA_OPTIMIZED:
    case ALUA_NON_OPTIMIZED:
    case ALUA_LBA_DEPENDENT:
        return ACCESS_OK;
    case ALUA_TRANSITIONING:
        return alua_wait_left_ns(a) > 0 ? ACCESS_WAIT : ACCESS_FAIL;
    default:
        return ACCESS_FAIL;
    }
}

/* Keeps the reason for scsi_device_why, unless there is one of more weight. */
static void
alua_keep_why(struct scsi_sdev *s)
{
    char label[SDEV_LABEL_MAX];

    if (s->access == ACCESS_FAIL && (s->why_code == 0 || s->why_code == -EHOSTUNREACH))
        sdev_why(s, -EHOSTUNREACH, LUNETTE_DOM_SCSI, 0, "%s: %s",
                 sdev_label(s, label, sizeof(label)), scsi_path_trouble(&s->dev));
    else if (s->access != ACCESS_FAIL && s->why_code == -EHOSTUNREACH &&
             s->dev.state != SDEV_TRANSPORT_OFFLINE) /* that is until it is looked at again */
        sdev_why_clear(s);
}

static void
alua_set_access(struct scsi_sdev *s, enum sdev_access to)
{
    enum sdev_access from = s->access;

    s->access = to;
    alua_keep_why(s);
    if (to != ACCESS_OK)
        sdev_gate_set(s, GATE_ALUA);
    else if (from != ACCESS_OK)
        sdev_gate_clear(s, GATE_ALUA);
    if (to == ACCESS_FAIL && from != ACCESS_FAIL)
        sdev_restart(s); /* what waits fails now */
}

/* What the state lets the disk do.  Where I/O had failed, the unit is looked at before it goes on.
 */
void
alua_set_gate(struct disk_alua *a)
{
    struct scsi_disk *d = a->disk;
    struct scsi_sdev *s = d->sdev;
    enum sdev_access from = s->access, to = alua_access(a, s->dev.alua_state);

    if (to == ACCESS_OK && a->failed && d->up && !a->step)
        s->dev.target->doubt(s); /* which holds I/O until it is over */
    a->failed = to == ACCESS_FAIL || (to == ACCESS_WAIT && a->failed);
    alua_set_access(s, to);
    if (to == ACCESS_OK && from != ACCESS_OK) {
        d->again_ms = 0;
        disk_look_missed(d); /* it could not be asked meanwhile */
    }
}

void
alua_take(struct disk_alua *a, uint8_t state)
{
    struct scsi_sdev *s = a->disk->sdev;
    bool changed = state != s->dev.alua_state || !s->dev.alua_told;

    if (state != ALUA_TRANSITIONING)
        a->wait_since_ns = 0;
    else if (a->wait_since_ns == 0)
        a->wait_since_ns = s->dev.target->loop->now_ns | 1; /* never 0 */
    s->dev.alua_state = state;
    if (changed)
        sdev_log(s, LOG_LEVEL_INFO, "ALUA state is %s%s", alua_state_name(state),
                 s->dev.alua_preferred ? ", preferred" : "");
    if (changed && s->dev.alua_told && a->disk->up)
        sdev_raise(s, 1u << SCSI_EV_ALUA, 0);
    s->dev.alua_told = true;
}

void
alua_not_told(struct disk_alua *a, const char *why)
{
    struct scsi_sdev *s = a->disk->sdev;

    if (!a->mute)
        sdev_log(s, LOG_LEVEL_WARN, "%s: taken as active", why);
    a->mute = true;
    a->wait_since_ns = 0;
    s->dev.alua_told = s->dev.alua_preferred = false;
    s->dev.alua_state = ALUA_OPTIMIZED;
}

bool
alua_ask(struct scsi_sdev *s)
{
    struct disk_alua *a = alua_of(s);

    if (a == NULL)
        return false;
    if (a->q != NULL) /* what it answers may be older than what happened just now; but not where it
                         is yet to be sent, as after a unit attention */
        a->again |= a->q->x.io.state != IO_IDLE;
    else
        loop_defer(s->dev.target->loop, &a->work);
    return true;
}

void
alua_look_at_sense(struct scsi_sdev *s, const struct scsi_sense *sense)
{
    static const uint8_t states[] = {ALUA_TRANSITIONING, ALUA_STANDBY, ALUA_UNAVAILABLE};
    struct disk_alua *a = alua_of(s);
    bool stpg_failed =
        sense->key == SENSE_ILLEGAL_REQUEST && sense->asc == 0x67 && sense->ascq == 0x0a;
    bool not_ready = sense->key == SENSE_NOT_READY && sense->asc == 0x04;

    if (a == NULL || sense->deferred)
        return;
    if (not_ready && sense->ascq >= 0x0a && sense->ascq <= 0x0c && !a->mute) {
        alua_take(a, states[sense->ascq - 0x0a]);
        alua_set_gate(a);
        (void)alua_ask(s);
    } else if (stpg_failed || (not_ready && sense->ascq == 0x12)) { /* 04/12: offline, but perhaps
                                                                       not for ALUA's sake */
        (void)alua_ask(s);
    }
}

void
alua_new_nexus(struct scsi_sdev *s)
{
    struct disk_alua *a = alua_of(s);

    if (a == NULL)
        return;
    a->ids_stale = true;
    a->wait_since_ns = 0;
    if (s->access == ACCESS_FAIL) /* of the port that answered before */
        s->access = ACCESS_WAIT;
}

void
alua_free(struct scsi_disk *d)
{
    struct disk_alua *a = d->alua;
    struct loop *l = d->sdev->dev.target->loop;

    if (a == NULL)
        return;
    loop_defer_cancel(&a->work);
    loop_timer_stop(l, &a->poll);
    if (a->q != NULL)
        loop_timer_stop(l, &a->q->x.timer);
    free(a->q);
    free(a);
    d->alua = NULL;
}
