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
    if (s->rc.step == RECONNECT_READY) { /* of the new nexus: what follows reads all anew */
        events &= ~(1u << SCSI_EV_POWER_ON);
        steps &= ~(STEP_TUR | STEP_NAME | STEPS_RECONNECT);
    }
    if (s->expecting_ua && asc != 0x28) { /* but a new medium is news */
        s->expecting_ua = false;
        if (reset)
            return;
    }
    if ((events & (1u << SCSI_EV_LUNS_CHANGED)) != 0) { /* each unit says so, once is enough */
        if (t->luns_changed)
            events &= ~(1u << SCSI_EV_LUNS_CHANGED);
        t->luns_changed = true;
    }
    if (power)
        scsi_check_lost_writes(s);
    sdev_raise(s, events);
    if ((steps & STEP_NAME) != 0 || (asc == 0x3f && ascq == 0x0e)) /* it may be another unit */
        t->doubt(s);
    if (steps != 0 && s->dev.disk != NULL && s->dev.disk->up)
        disk_want(s->dev.disk, steps);
}
