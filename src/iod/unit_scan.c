/* SPDX-License-Identifier: MIT */
/* iod/unit_scan.c - scans of a session, one after the other: units that are gone for good are
 * forgotten, the target is asked for what there is, and the disks that have not come up are brought
 * up. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iod/internal.h"
#include "wire/inquiry.h"

enum scan_step {
    SCAN_WAITING,  /* for its turn */
    SCAN_CLEARING, /* disks of units that are gone are being closed */
    SCAN_LOOKING,  /* the midlayer scans */
    SCAN_STARTING, /* disks come up */
};

struct scan_job {
    struct list node; /* of unit_host.jobs */
    struct unit_host *host;
    struct dp_call call;
    enum scan_step step;
    bool
        canceled; /* and answered: it only waits for the midlayer, and what that finds is dropped */
    bool one;
    uint8_t lun[8];
    int err;
    struct lunette_error why;
};

static struct scan_job *
job_first(const struct unit_host *h)
{
    return container_of(h->jobs.next, struct scan_job, node);
}

static void
job_answer(struct scan_job *j)
{
    struct unit_host *h = j->host;
    struct iscsi_reply rep = {.type = ISCSI_UEVENT_SCAN_HOST, .sid = h->sid, .err = j->err};

    if (j->err < 0)
        rep.why = j->why;
    else
        rep.r.value = (int)h->nunits;
    dataplane_answer(h->units->dp, &j->call, &rep); /* at once only */
}

static void
job_end(struct scan_job *j)
{
    struct unit_host *h = j->host;

    job_answer(j);
    list_del(&j->node);
    h->njobs--;
    free(j);
    loop_defer(h->units->loop, &h->step);
}

static void
job_fail(struct scan_job *j, const struct lunette_error *why)
{
    if (j->err == 0)
        j->err = lunette_fail_as(&j->why, why);
}

/* ---- disks ---------------------------------------------------------------------------------- */

static void
on_bdev_event(struct bdev_listener *l, struct bdev *b, enum bdev_event ev)
{
    struct unit *u = container_of(l, struct unit, listener);

    (void)b;
    if (ev == BDEV_EV_GONE)
        u->gone = true;
}

static void
unit_disk_failed(struct unit *u, const struct lunette_error *why)
{
    struct unit_host *h = u->host;

    u->err = why->code;
    (void)snprintf(u->why, sizeof(u->why), "%s", why->msg);
    if (!list_empty(&h->jobs) && job_first(h)->one &&
        memcmp(job_first(h)->lun, u->lun, sizeof(u->lun)) == 0)
        job_fail(job_first(h), why);
}

static void
on_disk_up(void *user, struct stack_disk *d, const struct lunette_error *why)
{
    struct unit *u = user;
    struct unit_host *h = u->host;

    assert(h->starting > 0);
    h->starting--;
    u->disk = d;
    if (d != NULL) {
        u->up = true;
        u->listener.event = on_bdev_event;
        bdev_listen(d->bdev, &u->listener);
        bdev_set_watch(d->bdev, h->units->watch_every, true);
    } else {
        unit_disk_failed(u, why);
    }
    loop_defer(h->units->loop, &h->step);
}

static void
unit_start(struct unit *u)
{
    struct unit_host *h = u->host;
    struct lunette_error why = {.code = 0};
    int r;

    if (u->disk != NULL)
        return;
    u->err = 0;
    memset(u->why, 0, sizeof(u->why));
    r = stack_disk_start(h->stack, u->dev, on_disk_up, u, &u->disk);
    if (r == 0) {
        h->starting++;
    } else if (r != -EMEDIUMTYPE) { /* which is for other drivers than a disk's */
        (void)lunette_fail(&why, r, LUNETTE_DOM_OS, (uint32_t)-r, "the disk cannot come up: %s",
                           errno_text(-r));
        unit_disk_failed(u, &why);
    }
}

static void
on_disk_closed(void *user, int err)
{
    struct unit *u = user;
    struct unit_host *h = u->host;

    assert(h->closing > 0);
    h->closing--;
    if (h->unbind_err == 0)
        h->unbind_err = err;
    u->disk = NULL;
    u->up = u->closing = false;
    unit_free(u);
    loop_defer(h->units->loop, &h->step);
}

void
unit_close(struct unit *u)
{
    struct unit_host *h = u->host;

    assert(u->disk != NULL && u->export == NULL && !u->closing);
    if (!u->up) {
        assert(h->starting > 0);
        h->starting--; /* it is given up, and not told of any more */
    }
    u->closing = true;
    h->closing++;
    bdev_unlisten(&u->listener);
    stack_disk_close(u->disk, on_disk_closed, u);
}

/* ---- steps of a scan ------------------------------------------------------------------------ */

/* Units that are gone for good, of which nobody uses anything. */
static void
job_clear(struct scan_job *j)
{
    LIST_FOREACH_SAFE (n, &j->host->list) {
        struct unit *u = container_of(n, struct unit, node);

        if (u->gone && u->up && !u->closing && u->export == NULL &&
            (!j->one || memcmp(u->lun, j->lun, sizeof(j->lun)) == 0))
            unit_close(u);
    }
    j->step = SCAN_CLEARING;
}

static bool
unit_wanted(const struct scan_job *j, const struct scsi_device *dev)
{
    return dev->state != SDEV_CANCEL && dev->state != SDEV_DEL && dev->type != SCSI_TYPE_NONE &&
           (!j->one || memcmp(dev->lun, j->lun, sizeof(j->lun)) == 0);
}

static void
job_start_disks(struct scan_job *j)
{
    struct unit_host *h = j->host;
    struct lunette_error why = {.code = 0};

    for (struct scsi_device *dev = stack_first_device(h->stack); dev != NULL;
         dev = stack_next_device(dev)) {
        struct unit *u;

        if (!unit_wanted(j, dev))
            continue;
        u = unit_of_device(h, dev);
        if (u != NULL) {
            unit_start(u);
        } else {
            (void)lunette_fail(&why, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
            job_fail(j, &why);
        }
    }
}

static void
job_looked(struct scan_job *j, const struct lunette_error *why)
{
    struct unit_host *h = j->host;

    assert(j->step == SCAN_LOOKING);
    if (why != NULL)
        job_fail(j, why);
    j->step = SCAN_STARTING;
    if (!j->canceled)
        job_start_disks(j); /* also after a scan that did not get to its end */
    loop_defer(h->units->loop, &h->step);
}

static void
on_scanned(void *user, int err, const struct lunette_error *why)
{
    job_looked(user, err < 0 ? why : NULL);
}

static void
on_found(void *user, struct scsi_device *dev, const struct lunette_error *why)
{
    struct scan_job *j = user;

    /* It may stand for one that the midlayer has forgotten. */
    if (dev != NULL && (!j->canceled || unit_find(j->host, dev->lun) != NULL))
        (void)unit_of_device(j->host, dev);
    job_looked(user, dev == NULL ? why : NULL);
}

static int
job_attach(struct unit_host *h)
{
    struct scsi_host *host;

    if (h->stack != NULL)
        return 0;
    host = dataplane_host(h->units->dp, h->sid);
    assert(host != NULL); /* it is told before it goes */
    return stack_attach(host, NULL, &unit_stack_events, h, &h->stack);
}

static void
job_look(struct scan_job *j)
{
    struct unit_host *h = j->host;
    struct lunette_error why = {.code = 0};
    int r = job_attach(h);

    j->step = SCAN_LOOKING;
    if (r == 0)
        r = j->one ? stack_scan_lun(h->stack, j->lun, on_found, j)
                   : stack_scan(h->stack, on_scanned, j);
    if (r < 0) {
        (void)lunette_fail(&why, r, LUNETTE_DOM_OS, (uint32_t)-r, "cannot scan: %s",
                           errno_text(-r));
        job_fail(j, &why);
        j->step = SCAN_STARTING; /* nothing starts */
    }
}

void
unit_scan_step(struct unit_host *h)
{
    while (!list_empty(&h->jobs)) {
        struct scan_job *j = job_first(h);

        if (j->step == SCAN_WAITING)
            job_clear(j);
        if (j->step == SCAN_CLEARING && h->closing == 0)
            job_look(j);
        if (j->step != SCAN_STARTING || h->starting > 0)
            return;
        job_end(j);
    }
}

void
unit_scan_cancel(struct unit_host *h, int err, const char *text)
{
    struct lunette_error why = {.code = 0};

    (void)lunette_fail(&why, err, LUNETTE_DOM_USAGE, 0, "%s", text);
    LIST_FOREACH_SAFE (n, &h->jobs) {
        struct scan_job *j = container_of(n, struct scan_job, node);

        j->err = 0;
        job_fail(j, &why);
        if (j->step != SCAN_LOOKING) {
            job_end(j);
            continue;
        }
        j->canceled = true;
        job_answer(j);
    }
}

int
unit_serve_scan(struct unit_host *h, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct scan_job *j;

    if (h->unbinding || h->unbound)
        return lunette_fail(&rep->why, -EAGAIN, LUNETTE_DOM_USAGE, 0,
                            "the units of session %u have been unbound: log in again", h->sid);
    if (h->njobs == IOD_WAITS_MAX)
        return lunette_fail(&rep->why, -EBUSY, LUNETTE_DOM_USAGE, 0,
                            "%d scans of session %u wait already", IOD_WAITS_MAX, h->sid);
    j = calloc(1, sizeof(*j));
    if (j == NULL)
        return lunette_fail(&rep->why, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    j->host = h;
    j->call = dataplane_call_of(h->units->dp, ev);
    j->one = ev->u.scan.one;
    memcpy(j->lun, ev->u.scan.lun, sizeof(j->lun));
    list_push_back(&h->jobs, &j->node);
    h->njobs++;
    loop_defer(h->units->loop, &h->step);
    return DP_ANSWERED_LATER;
}
