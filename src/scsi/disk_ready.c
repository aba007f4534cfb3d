/* SPDX-License-Identifier: MIT */
/* scsi/disk_ready.c - finds out whether a disk is ready, and whether it is still the same. */
#include <errno.h>

#include "scsi/disk_up.h"

#define POLL_MS 1000u

/* ---- ready ---- */

static void disk_tur_done(struct scsi_disk *d);

void
disk_start_ready(struct scsi_disk *d)
{
    disk_send(d, cdb_test_unit_ready(d->cdb), 0, disk_tur_done);
}

static void
disk_poll_again(struct scsi_disk *d)
{
    struct loop *l = d->sdev->dev.target->loop;

    if (l->now_ns >= d->ready_by_ns)
        disk_fail_sense(d, -EAGAIN, "still not ready");
    else
        loop_timer_start(l, &d->poll, POLL_MS * LOOP_NS_PER_MS);
}

void
disk_poll_expired(struct loop_timer *t)
{
    disk_start_ready(container_of(t, struct scsi_disk, poll));
}

static void
disk_start_unit_done(struct scsi_disk *d)
{
    disk_poll_again(d);
}

static void
disk_not_ready(struct scsi_disk *d, const struct scsi_sense *s)
{
    if (d->up) { /* the disk is in use, and a command that fails tells more */
        disk_step_done(d);
        return;
    }
    if (s->asc == 0x3a) {
        disk_fail(d, -ENOMEDIUM, "no medium");
        return;
    }
    if (s->asc != 0x04) {
        disk_fail_sense(d, -EIO, "not ready");
        return;
    }
    switch (s->ascq) {
    case 0x02:
        if (d->start_sent) {
            disk_poll_again(d);
            return;
        }
        d->start_sent = true;
        disk_send(d, cdb_start_stop(d->cdb, true, 0, SCSI_START), 0, disk_start_unit_done);
        return;
    case 0x03: /* manual intervention */
    case 0x0b: /* standby port */
    case 0x0c: /* unavailable port */
    case 0x1b: /* sanitize */
    case 0x24: /* depopulation */
    case 0x25:
        disk_fail_sense(d, -EIO, "not ready");
        return;
    default:
        disk_poll_again(d);
        return;
    }
}

static void
disk_tur_done(struct scsi_disk *d)
{
    struct scsi_sense s;

    if (d->x.result.err != 0) {
        disk_fail_sense(d, -EIO, "TEST UNIT READY");
        return;
    }
    if (!disk_sense(
            d,
            &s)) { /* GOOD; or a reservation conflict, which is no reason to do without the disk */
        if (d->x.result.scsi_status == SCSI_BUSY || d->x.result.scsi_status == SCSI_TASK_SET_FULL)
            disk_fail_sense(d, -EBUSY, "TEST UNIT READY");
        else
            disk_step_done(d);
        return;
    }
    if (s.key == SENSE_NOT_READY)
        disk_not_ready(d, &s);
    else if (s.key == SENSE_ILLEGAL_REQUEST && s.asc == 0x25)
        disk_fail_sense(d, -ENXIO, "the unit is gone");
    else if (s.key == SENSE_UNIT_ATTENTION)
        disk_fail_sense(d, -EIO, "unit attentions without end");
    else if (s.key == SENSE_HARDWARE_ERROR || s.key == SENSE_MEDIUM_ERROR)
        disk_fail_sense(d, -EIO, "TEST UNIT READY");
    else
        disk_step_done(d);
}

/* ---- is it the same? ---- */

static void
disk_identified(void *user, enum ident_result r, const struct lunette_error *why)
{
    struct scsi_disk *d = user;

    if (r == IDENT_OTHER)
        disk_replaced(d, why->msg);
    else if (r == IDENT_UNKNOWN)
        disk_step_missed(d);
    else
        disk_step_done(d); /* a unit that is gone shows at the next command */
}

void
disk_start_name(struct scsi_disk *d)
{
    ident_start(d->sdev, disk_identified, d);
}
