/* SPDX-License-Identifier: MIT */
/* scsi/disk_again.c - a disk is looked at again: soon, or later where a look has failed.
 *
 * A unit tells once that something of it has changed, and what a look was to find stays unknown
 * where no answer came.  Nobody else would ask for that as long as the session runs: so the steps
 * are kept in disk.missed until they have been done, and tried again and again, less and less
 * often.
 */
#include "scsi/internal.h"

void
disk_want(struct scsi_disk *d, uint32_t wanted)
{
    d->wanted |= wanted;
    if (!d->running)
        loop_defer(d->sdev->dev.target->loop, &d->work);
}

/* Whoever changes what this asks for calls disk_look_missed: sdev_set_state, alua_set_gate, and
 * reconnect.c, whose look asks for what was missed, too. */
static bool
disk_may_be_looked_at(const struct scsi_disk *d)
{
    const struct scsi_sdev *s = d->sdev;

    return d->up && s->dev.target->host->state == SCSI_HOST_RUNNING && s->access == ACCESS_OK &&
           (s->dev.state == SDEV_RUNNING || s->dev.state == SDEV_QUIESCE);
}

void
disk_look_missed(struct scsi_disk *d)
{
    struct loop *l = d->sdev->dev.target->loop;
    uint32_t ms = d->again_ms < SCSI_LOOK_MIN_MS ? SCSI_LOOK_MIN_MS : d->again_ms;

    if (d->missed == 0 || d->running || loop_timer_running(&d->again) || !disk_may_be_looked_at(d))
        return; /* the end of a run calls this again */
    d->again_ms = ms * 2 < SCSI_LOOK_MAX_MS ? ms * 2 : SCSI_LOOK_MAX_MS;
    loop_timer_start(l, &d->again, (ms / 2 + loop_random(l) % (ms / 2 + 1)) * LOOP_NS_PER_MS);
}

void
disk_miss(struct scsi_disk *d, uint32_t steps)
{
    if (d->running) { /* what the run has found may be older */
        d->wanted |= steps;
    } else if (d->up) {
        d->missed |= steps;
        disk_look_missed(d);
    }
}

void
disk_again_expired(struct loop_timer *t)
{
    struct scsi_disk *d = container_of(t, struct scsi_disk, again);

    if (d->missed != 0 && disk_may_be_looked_at(d))
        disk_want(d, d->missed);
}
