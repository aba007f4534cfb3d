/* SPDX-License-Identifier: MIT */
/* scsi/disk_up.c - bringing a disk up, and looking at it again.
 *
 * A run is a set of steps (enum disk_step), done in order, each one or more
 * commands.  Bringing up takes all but the name; a reconnect, a unit attention
 * or a rescan takes what it calls into question.  Each disk has its own run:
 * one that spins up does not stop others.
 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "scsi/disk_up.h"

#define RERUNS_MAX 3 /* SC-513 */
#define POLL_MS    1000u

static void run_next(struct scsi_disk *d);

/* The end of a run. */
static void
run_end(struct scsi_disk *d, int err, const struct lunette_error *why)
{
    struct scsi_sdev *s = d->sdev;
    void (*done)(void *user, int e, const struct lunette_error *w) = d->done;

    d->running = false;
    d->todo = 0;
    if (d->reconnect && (d->wanted & STEP_NAME) == 0 &&
        s->dev.target->host->state == SCSI_HOST_RUNNING) {
        d->reconnect = false;
        if (s->dev.state == SDEV_BLOCK)
            (void)sdev_set_state(s, SDEV_RUNNING);
    }
    if (!d->up && err == 0)
        d->up = true;
    if (err != 0 && d->up && why != NULL)
        sdev_log(s, LOG_LEVEL_WARN, "%s", why->msg);
    if (d->wanted != 0 && d->up && d->reruns++ < RERUNS_MAX) {
        loop_defer(s->dev.target->loop, &d->work);
    } else {
        d->wanted = 0;
        d->reruns = 0;
    }
    d->done = NULL;
    if (done != NULL)
        done(d->done_user, err, err != 0 ? why : NULL);
}

void
disk_fail(struct scsi_disk *d, int err, const char *fmt, ...)
{
    struct lunette_error why;
    struct scsi_sense sense;
    char label[SDEV_LABEL_MAX], text[160];
    uint32_t detail = (uint32_t)d->x.result.scsi_status << 24;
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (disk_sense(d, &sense))
        detail |= (uint32_t)sense.key << 16 | sense_code(&sense);
    (void)lunette_fail(&why, err, LUNETTE_DOM_SCSI, detail, "%s: %s",
                       sdev_label(d->sdev, label, sizeof(label)), text);
    run_end(d, err, &why);
}

void
disk_fail_sense(struct scsi_disk *d, int err, const char *what)
{
    struct scsi_sense sense;
    char text[SENSE_TEXT_MAX];

    if (d->x.result.err != 0)
        disk_fail(d, d->x.result.err, "%s got no answer", what);
    else if (disk_sense(d, &sense))
        disk_fail(d, err, "%s: %s", what, sense_format(&sense, text, sizeof(text)));
    else
        disk_fail(d, err, "%s: %s", what, scsi_status_name(d->x.result.scsi_status));
}

bool
disk_sense(const struct scsi_disk *d, struct scsi_sense *ret)
{
    *ret = (struct scsi_sense){0};
    return d->x.result.err == 0 && d->x.result.scsi_status == SCSI_CHECK_CONDITION &&
           sense_parse(d->x.io.sc.sense, d->x.result.sense_len, ret) && !ret->deferred;
}

bool
disk_good(const struct scsi_disk *d)
{
    struct scsi_sense s;

    return d->x.result.err == 0 && (d->x.result.scsi_status == SCSI_GOOD ||
                                    (disk_sense(d, &s) && s.key == SENSE_RECOVERED));
}

static void
command_done(struct scsi_exec *x)
{
    struct scsi_disk *d = container_of(x, struct scsi_disk, x);

    d->next(d);
}

void
disk_send(struct scsi_disk *d, int cdb_len, uint32_t in_len, void (*next)(struct scsi_disk *d))
{
    int err;

    assert(cdb_len > 0 && in_len <= sizeof(d->buf));
    d->next = next;
    d->iov = (struct iovec){d->buf, in_len};
    d->x = (struct scsi_exec){.cdb = d->cdb,
                              .cdb_len = (uint16_t)cdb_len,
                              .ua_retries = SCSI_UA_TRIES,
                              .timeout_ms = d->sdev->dev.target->params.timeout_ms,
                              .done = command_done};
    if (in_len > 0)
        d->x.in = sg_from_iov(&d->iov, 1, 0, in_len);
    err = scsi_execute_internal(d->sdev, &d->x);
    if (err < 0) {
        d->x.result = (struct bdev_result){.err = err};
        disk_fail(d, err, "no session");
    }
}

void
disk_step_done(struct scsi_disk *d)
{
    run_next(d);
}

/* ---- ready ---- */

static void tur_done(struct scsi_disk *d);

static void
start_tur(struct scsi_disk *d)
{
    disk_send(d, cdb_test_unit_ready(d->cdb), 0, tur_done);
}

static void
poll_again(struct scsi_disk *d)
{
    struct loop *l = d->sdev->dev.target->loop;

    if (l->now_ns >= d->ready_by_ns)
        disk_fail_sense(d, -EAGAIN, "still not ready");
    else
        loop_timer_start(l, &d->poll, POLL_MS * LOOP_NS_PER_MS);
}

static void
poll_expired(struct loop_timer *t)
{
    start_tur(container_of(t, struct scsi_disk, poll));
}

static void
start_unit_done(struct scsi_disk *d)
{
    poll_again(d);
}

static void
not_ready(struct scsi_disk *d, const struct scsi_sense *s)
{
    if (d->up) { /* I/O will tell */
        run_next(d);
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
            poll_again(d);
            return;
        }
        d->start_sent = true;
        disk_send(d, cdb_start_stop(d->cdb, true, 0, SCSI_START), 0, start_unit_done);
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
        poll_again(d);
        return;
    }
}

static void
tur_done(struct scsi_disk *d)
{
    struct scsi_sense s;

    if (d->x.result.err != 0) {
        disk_fail_sense(d, -EIO, "TEST UNIT READY");
        return;
    }
    if (!disk_sense(d, &s)) { /* GOOD; and a reservation conflict removes no disk (SC-413) */
        if (d->x.result.scsi_status == SCSI_BUSY || d->x.result.scsi_status == SCSI_TASK_SET_FULL)
            disk_fail_sense(d, -EBUSY, "TEST UNIT READY");
        else
            run_next(d);
        return;
    }
    if (s.key == SENSE_NOT_READY)
        not_ready(d, &s);
    else if (s.key == SENSE_ILLEGAL_REQUEST && s.asc == 0x25)
        disk_fail_sense(d, -ENXIO, "the unit is gone");
    else if (s.key == SENSE_UNIT_ATTENTION)
        disk_fail_sense(d, -EIO, "unit attentions without end");
    else if (s.key == SENSE_HARDWARE_ERROR || s.key == SENSE_MEDIUM_ERROR)
        disk_fail_sense(d, -EIO, "TEST UNIT READY");
    else
        run_next(d);
}

/* ---- is it the same? ---- */

void
disk_replaced(struct scsi_disk *d, const char *what)
{
    struct scsi_sdev *s = d->sdev;

    sdev_log(s, LOG_LEVEL_ERROR, "another unit is there: %s; offline", what);
    s->name_told = false; /* do not compare again */
    (void)sdev_set_state(s, SDEV_OFFLINE);
    sdev_raise(s, 1u << SCSI_EV_REPLACED);
    d->wanted = 0;
    if (s->up != NULL)
        s->up->event(s->bdev, BDEV_EV_GONE, NULL);
    disk_fail(d, -ENXIO, "another unit is there: %s", what);
}

static void
name_done(struct scsi_disk *d)
{
    char name[VPD_LU_NAME_MAX];

    if (disk_good(d) && vpd_lu_name(d->buf, d->x.in_len, name, sizeof(name)) > 0 &&
        strncmp(name, d->sdev->dev.name, sizeof(d->sdev->dev.name) - 1) != 0)
        disk_replaced(d, "its name changed");
    else
        run_next(d);
}

static void
start_name(struct scsi_disk *d)
{
    if (d->sdev->name_told)
        disk_send(d, cdb_inquiry_vpd(d->cdb, VPD_DEVICE_ID, sizeof(d->buf)), sizeof(d->buf),
                  name_done);
    else
        run_next(d);
}

/* ---- all steps ---- */

static bool
same_limits(const struct bdev_limits *a, const struct bdev_limits *b)
{
    return a->max_transfer == b->max_transfer && a->opt_transfer == b->opt_transfer &&
           a->max_discard == b->max_discard && a->max_write_zeroes == b->max_write_zeroes &&
           a->physical_block == b->physical_block && a->max_compare_write == b->max_compare_write &&
           a->read_only == b->read_only && a->write_cache == b->write_cache && a->fua == b->fua &&
           a->discard_granularity == b->discard_granularity && a->rotational == b->rotational &&
           a->max_fast == b->max_fast;
}

static void
new_limits(struct scsi_disk *d)
{
    struct scsi_sdev *s = d->sdev;
    struct bdev_limits old = d->limits;

    disk_make_limits(d);
    if (d->up && old.size != d->limits.size) {
        sdev_log(s, LOG_LEVEL_INFO, "size is %llu bytes now, was %llu",
                 (unsigned long long)d->limits.size, (unsigned long long)old.size);
        if (s->up != NULL)
            s->up->event(s->bdev, BDEV_EV_RESIZED, &d->limits);
        sdev_raise(s, 1u << SCSI_EV_CAPACITY);
    }
    if (d->up && !same_limits(&old, &d->limits)) {
        if (s->up != NULL)
            s->up->event(s->bdev, BDEV_EV_LIMITS, &d->limits);
        if (old.read_only != d->limits.read_only || old.write_cache != d->limits.write_cache)
            sdev_raise(s, 1u << SCSI_EV_MODE);
    }
    run_next(d);
}

static const struct {
    uint32_t step;
    void (*start)(struct scsi_disk *d);
} steps[] = {
    {STEP_TUR, start_tur},
    {STEP_NAME, start_name},
    {STEP_CAPACITY, disk_start_capacity},
    {STEP_PROVISIONING, disk_start_provisioning},
    {STEP_BLOCK_LIMITS, disk_start_block_limits},
    {STEP_BLOCK_CHAR, disk_start_block_char},
    {STEP_WRITE_PROTECT, disk_start_write_protect},
    {STEP_CACHE, disk_start_cache},
    {STEP_OPCODES, disk_start_opcodes},
    {STEP_LIMITS, new_limits},
};

static void
run_next(struct scsi_disk *d)
{
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if ((d->todo & steps[i].step) == 0)
            continue;
        d->todo &= ~steps[i].step;
        d->second = false;
        d->tries = 0;
        steps[i].start(d); /* may end here and come back by itself: at most ten levels deep */
        return;
    }
    run_end(d, 0, NULL);
}

static void
run(struct loop_work *w)
{
    struct scsi_disk *d = container_of(w, struct scsi_disk, work);
    struct scsi_target *t = d->sdev->dev.target;

    if (d->running || d->wanted == 0)
        return;
    d->running = true;
    d->todo = d->wanted;
    d->wanted = 0;
    d->start_sent = false;
    d->ready_by_ns = t->loop->now_ns + t->params.spinup_s * LOOP_NS_PER_S;
    if ((d->todo & STEP_OPCODES) != 0)
        d->discard_broken = d->zero_broken = d->zero_unmap_broken = false;
    run_next(d);
}

void
disk_want(struct scsi_disk *d, uint32_t wanted)
{
    d->wanted |= wanted;
    if (!d->running)
        loop_defer(d->sdev->dev.target->loop, &d->work);
}

void
disk_reconnect(struct scsi_disk *d)
{
    d->reconnect = true;
    d->reruns = 0;
    disk_want(d, STEP_TUR | STEP_NAME | STEPS_CAPACITY | STEPS_MODE);
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
    if (d != NULL && (d->up || d->running || d->wanted != 0))
        return -EALREADY;
    if (d == NULL) {
        d = calloc(1, sizeof(*d));
        if (d == NULL)
            return -ENOMEM;
        d->sdev = s;
        list_init(&d->x.node);
        loop_work_init(&d->work, run);
        loop_timer_init(&d->poll, poll_expired);
        dev->disk = d;
    }
    d->done = done;
    d->done_user = user;
    disk_want(d, STEPS_START);
    return 0;
}

void
disk_detach(struct scsi_sdev *s)
{
    struct scsi_disk *d = s->dev.disk;
    struct loop *l = s->dev.target->loop;
    struct lunette_error why;

    if (d == NULL)
        return;
    if (d->done != NULL) {
        (void)lunette_fail(&why, -ENODEV, LUNETTE_DOM_SCSI, 0, "the target is being closed");
        d->done(d->done_user, -ENODEV, &why);
    }
    loop_defer_cancel(&d->work);
    loop_timer_stop(l, &d->poll);
    loop_timer_stop(l, &d->x.timer);
    free(d);
    s->dev.disk = NULL;
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
