/* SPDX-License-Identifier: MIT */
/* scsi/disk_run.c - runs the steps by which a disk is looked at, each of which is one or more
 * commands. */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "scsi/disk_up.h"

#define RERUNS_MAX 3 /* times that what happens during a run starts another at once */
/* The first looks of a row that fail are told of; the others, which fail as they did, are not. */
#define LOOKS_LOGGED_MS (4 * SCSI_LOOK_MIN_MS)

/* What d is to be asked for again after a run that has ended with err: at once, or after a while
 * where there is no answer, or no end of it.  True where it is at once. */
static bool
disk_run_again(struct scsi_disk *d, int err)
{
    bool again = err == 0 && d->wanted != 0 && d->reruns < RERUNS_MAX;

    if (again) {
        d->reruns++;
        loop_defer(d->sdev->dev.target->loop, &d->work);
        return true;
    }
    d->missed |= d->wanted;
    d->wanted = 0;
    d->reruns = 0;
    if (err == 0 && d->missed == 0)
        d->again_ms = 0;
    disk_look_missed(d);
    return false;
}

/* Ends a run: tells who brought the disk up, or the reconnect that waits for it; and sets another
 * going where more came into question meanwhile. */
static void
disk_run_end(struct scsi_disk *d, int err, const struct lunette_error *why)
{
    struct scsi_sdev *s = d->sdev;
    void (*done)(void *user, int e, const struct lunette_error *w) = d->done;
    void (*looked)(struct scsi_sdev * t, int e, const struct lunette_error *w) = d->looked;
    struct lunette_error other;

    assert(d->running);
    d->running = false;
    d->missed |= d->todo | d->step; /* none, where it went well */
    d->todo = d->step = 0;
    if (!d->up && err == 0 && s->replaced) { /* while it came up */
        err = -ENXIO;
        (void)lunette_fail(&other, err, LUNETTE_DOM_NOTFOUND, 0, "%s",
                           s->why != NULL ? s->why->msg : "another unit is in its place");
        why = &other;
    }
    if (!d->up && err == 0)
        d->up = true;
    if (err != 0 && d->up && why != NULL)
        sdev_log(s, d->again_ms > LOOKS_LOGGED_MS ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, "%s",
                 sdev_unlabelled(s, why->msg));
    if (!d->up)
        d->wanted = d->missed = 0;
    else if (disk_run_again(d, err))
        looked = NULL;
    if (looked != NULL) {
        d->looked = NULL;
        looked(s, err, why);
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
    disk_run_end(d, err, &why);
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
disk_command_done(struct scsi_exec *x)
{
    struct scsi_disk *d = container_of(x, struct scsi_disk, x);

    d->next(d);
}

void
disk_send(struct scsi_disk *d, int cdb_len, uint32_t in_len, void (*next)(struct scsi_disk *d))
{
    int err;

    assert(d->running && list_empty(&d->x.node));
    assert(cdb_len > 0 && in_len <= sizeof(d->buf));
    d->next = next;
    d->iov = (struct iovec){d->buf, in_len};
    d->x = (struct scsi_exec){.cdb = d->cdb,
                              .cdb_len = (uint16_t)cdb_len,
                              .ua_retries = SCSI_UA_TRIES,
                              .timeout_ms = d->sdev->dev.target->params.timeout_ms,
                              .done = disk_command_done};
    list_init(&d->x.node); /* it is on no list, even where it cannot be sent */
    if (in_len > 0)
        d->x.in = sg_from_iov(&d->iov, 1, 0, in_len);
    err = scsi_execute_internal(d->sdev, &d->x);
    if (err < 0) {
        d->x.result = (struct bdev_result){.err = err};
        disk_fail(d, err, "no session");
    }
}

void
disk_replaced(struct scsi_disk *d, const char *text)
{
    sdev_replaced(d->sdev, text);
    d->wanted = 0;
    disk_fail(d, -ENXIO, "another unit is in its place: %s", text);
}

void
disk_step_done(struct scsi_disk *d)
{
    d->missed &= ~d->step;
    d->step = 0;
    for (size_t i = 0; i < d->nsteps; i++) {
        if ((d->todo & d->steps[i].step) == 0)
            continue;
        d->step = d->steps[i].step;
        d->todo &= ~d->step;
        d->second = false;
        d->tries = 0;
        d->steps[i].start(
            d); /* a step without a command calls this again: at most ten levels deep */
        return;
    }
    disk_run_end(d, 0, NULL);
}

void
disk_step_missed(struct scsi_disk *d)
{
    if (d->up) /* else who brings it up does without */
        d->missed |= d->step;
    d->step = 0;
    disk_step_done(d);
}

void
disk_run_work(struct loop_work *w)
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
        d->discard_broken = d->zero_broken = d->zero_unmap_broken = d->caw_broken =
            d->status_broken = false;
    disk_step_done(d);
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
    loop_timer_stop(l, &d->again);
    loop_timer_stop(l, &d->x.timer);
    alua_free(d);
    free(d);
    s->dev.disk = NULL;
}
