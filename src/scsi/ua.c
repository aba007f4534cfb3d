/* SPDX-License-Identifier: MIT */
/* scsi/ua.c - acts on unit attentions: events, and looks at the disk again. */
#include "scsi/internal.h"

/* The unit has lost its power: writes that were acknowledged into its cache, and not flushed since,
 * may be lost.  Its user is told, once. */
static void
scsi_check_lost_writes(struct scsi_sdev *s)
{
    struct scsi_disk *d = s->dev.disk;

    if (d == NULL || !d->up || !d->limits.write_cache || s->writes == s->flushed)
        return;
    s->flushed = s->writes; /* so that it is told once */
    s->dev.stats.lost_writes++;
    sdev_log(s, LOG_LEVEL_ERROR, "the unit was reset with writes in its cache: data may be lost");
    sdev_raise(s, 1u << SCSI_EV_LOST_WRITES, 0);
}

/* The disk is looked at again.  While it comes up, what it has told already is asked for once more,
 * and what is to come tells the news anyway. */
static void
ua_look(struct scsi_sdev *s, uint32_t steps)
{
    struct scsi_disk *d = s->dev.disk;

    if (d == NULL || (!d->up && !d->running))
        return;
    if (!d->up && (steps & ~(d->todo | STEP_LIMITS)) == 0)
        return;
    disk_want(d, d->up ? steps : (steps & ~d->todo) | STEP_LIMITS);
}

void
scsi_unit_attention(struct scsi_sdev *s, uint8_t asc, uint8_t ascq)
{
    struct scsi_target *t = s->dev.target;
    bool up = s->dev.disk != NULL && s->dev.disk->up;
    const char *text = sense_code_text(asc, ascq);
    struct ua_effects e = scsi_ua_effects(asc, ascq);
    /* It is told when it is known what has changed, if anything has. */
    bool later = (e.what & UA_LOOK) != 0 && up && (e.steps != 0 || s->dev.disk->alua != NULL);
    bool doubt =
        ((e.what & UA_UNIT) != 0 && (up || (e.what & UA_RESET) == 0)) || (e.steps & STEP_NAME) != 0;
    uint32_t events = later ? 0 : e.events;

    if (s->rc.step == RECONNECT_READY) { /* of the new nexus: what follows reads all anew */
        events &= ~(1u << SCSI_EV_POWER_ON);
        e.steps &= ~(STEP_TUR | STEP_NAME | STEPS_RECONNECT);
    }
    s->dev.stats.unit_attentions++;
    sdev_log(s, LOG_LEVEL_INFO, "unit attention %02x/%02x%s%s", asc, ascq, text != NULL ? ": " : "",
             text != NULL ? text : "");
    if (s->expecting_ua && asc != 0x28) { /* but a new medium is news */
        s->expecting_ua = false;
        if ((e.what & (UA_RESET | UA_SURE)) == UA_RESET) {
            ua_look(s, e.steps); /* it has taken modes back, and unit attentions may have gone */
            return;
        }
    }
    if ((events & (1u << SCSI_EV_LUNS_CHANGED)) != 0) { /* each unit says so, once is enough */
        if (t->luns_changed)
            events &= ~(1u << SCSI_EV_LUNS_CHANGED);
        t->luns_changed = true;
    }
    if ((e.what & UA_POWER) != 0)
        scsi_check_lost_writes(s);
    sdev_raise(s, events, SENSE_ASC(asc, ascq));
    if ((e.what & UA_ALUA) != 0)
        (void)alua_ask(s);
    if (doubt) /* it may be another unit */
        t->doubt(s);
    if (e.steps != 0)
        ua_look(s, e.steps);
}

/* The unit is not doubted for that: I/O goes on meanwhile, as it would where the unit attention had
 * been the answer to another command of those that are under way. */
void
scsi_look_for_lost(struct scsi_sdev *s, enum scsi_host_result r)
{
    struct scsi_disk *d = s->dev.disk;

    if (r != DID_TRANSPORT_DISRUPTED && r != DID_ABORT && r != DID_RESET && r != DID_TIME_OUT &&
        r != DID_BAD_TARGET)
        return;
    if (d == NULL || s->dev.target->host->state != SCSI_HOST_RUNNING)
        return; /* the next nexus looks at each unit */
    if (d->up)
        disk_miss(d, STEPS_UNTOLD);
    else
        ua_look(s, STEPS_RECONNECT);
}
