/* SPDX-License-Identifier: MIT */
/* scsi/disk_up.c - bringing a disk up, and looking at it again.
 *
 * A run is a set of steps (enum disk_step), done in order, each one or more commands.  Bringing a
 * disk up takes all steps but the comparison of its name; a reconnect, a unit attention or a rescan
 * takes those whose result it calls into question.  Each disk has a run of its own, so one that
 * spins up does not stop others.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "scsi/disk_up.h"

/* ---- all steps ---- */

static bool
disk_same_limits(const struct bdev_limits *a, const struct bdev_limits *b)
{
    return a->max_transfer == b->max_transfer && a->opt_transfer == b->opt_transfer &&
           a->max_discard == b->max_discard && a->max_write_zeroes == b->max_write_zeroes &&
           a->physical_block == b->physical_block && a->max_compare_write == b->max_compare_write &&
           a->read_only == b->read_only && a->write_cache == b->write_cache && a->fua == b->fua &&
           a->discard_granularity == b->discard_granularity && a->rotational == b->rotational &&
           a->max_fast == b->max_fast;
}

static void
disk_new_limits(struct scsi_disk *d)
{
    struct scsi_sdev *s = d->sdev;
    struct bdev_limits old = d->limits;

    disk_make_limits(d);
    if (d->up && old.size != d->limits.size) {
        sdev_log(s, LOG_LEVEL_INFO, "size is %llu bytes now, was %llu",
                 (unsigned long long)d->limits.size, (unsigned long long)old.size);
        if (s->up != NULL)
            s->up->event(s->bdev, BDEV_EV_RESIZED, &d->limits);
        sdev_raise(s, 1u << SCSI_EV_CAPACITY, 0);
    }
    if (d->up && !disk_same_limits(&old, &d->limits)) {
        if (s->up != NULL)
            s->up->event(s->bdev, BDEV_EV_LIMITS, &d->limits);
        if (old.read_only != d->limits.read_only || old.write_cache != d->limits.write_cache)
            sdev_raise(s, 1u << SCSI_EV_MODE, 0);
    }
    disk_step_done(d);
}

static const struct disk_step_row disk_steps[] = {
    {STEP_ALUA, disk_start_alua},
    {STEP_TUR, disk_start_ready},
    {STEP_NAME, disk_start_name},
    {STEP_CAPACITY, disk_start_capacity},
    {STEP_PROVISIONING, disk_start_provisioning},
    {STEP_BLOCK_LIMITS, disk_start_block_limits},
    {STEP_BLOCK_CHAR, disk_start_block_char},
    {STEP_WRITE_PROTECT, disk_start_write_protect},
    {STEP_CACHE, disk_start_cache},
    {STEP_OPCODES, disk_start_opcodes},
    {STEP_LIMITS, disk_new_limits},
};

void
disk_reconnect(struct scsi_disk *d,
               void (*looked)(struct scsi_sdev *s, int err, const struct lunette_error *why))
{
    if (!d->up) { /* it is coming up, and what it told so far was told to another nexus */
        if (d->running)
            d->todo |= STEPS_START;
        return;
    }
    d->looked = looked;
    d->reruns = 0;
    d->missed &= ~(uint32_t)(STEP_TUR | STEP_NAME); /* it is ready, and the same */
    d->again_ms = 0;
    alua_new_nexus(d->sdev);
    if (d->running)
        d->todo |= STEPS_RECONNECT | d->missed;
    else
        disk_want(d, STEPS_RECONNECT | d->missed);
}

int
scsi_disk_start(struct scsi_device *dev,
                void (*done)(void *user, int err, const struct lunette_error *why), void *user)
{
    struct scsi_sdev *s = sdev_of(dev);
    struct scsi_disk *d = dev->disk;

    if (dev->qualifier != 0 || (dev->type != SCSI_TYPE_DISK && dev->type != SCSI_TYPE_OPTICAL &&
                                dev->type != SCSI_TYPE_RBC))
        return -EMEDIUMTYPE;
    if (d != NULL && (d->up || d->done != NULL))
        return -EALREADY;
    if (d == NULL) {
        d = calloc(1, sizeof(*d));
        if (d == NULL)
            return -ENOMEM;
        d->sdev = s;
        d->steps = disk_steps;
        d->nsteps = sizeof(disk_steps) / sizeof(disk_steps[0]);
        list_init(&d->x.node);
        loop_work_init(&d->work, disk_run_work);
        loop_timer_init(&d->poll, disk_poll_expired);
        loop_timer_init(&d->again, disk_again_expired);
        dev->disk = d;
    }
    if (alua_new(d) < 0)
        return -ENOMEM; /* d stays, and is started the next time */
    d->done = done;
    d->done_user = user;
    if (!d->running) /* else somebody has abandoned it */
        disk_want(d, STEPS_START);
    return 0;
}

void
scsi_disk_abandon(struct scsi_device *dev)
{
    if (dev->disk != NULL)
        dev->disk->done = NULL;
}

const struct bdev_limits *
scsi_disk_limits(const struct scsi_device *dev)
{
    assert(dev->disk != NULL && dev->disk->up);
    return &dev->disk->limits;
}

bool
scsi_disk_thin(const struct scsi_device *dev)
{
    return dev->disk != NULL &&
           (dev->disk->b2_told ? dev->disk->b2.type == 2 : dev->disk->capacity.lbpme);
}
