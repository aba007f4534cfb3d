/* SPDX-License-Identifier: MIT */
/* stack/stack.c - a host with its midlayer: attach, scan, events, detach. */
#include "stack/stack.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "stack/internal.h"

#define SPINUP_MIN_S 30

static enum stack_event
stack_event_of(enum scsi_event ev)
{
    switch (ev) {
    case SCSI_EV_FOUND:
        return STACK_EV_CAME;
    case SCSI_EV_CAPACITY:
    case SCSI_EV_MODE:
        return STACK_EV_CHANGED;
    case SCSI_EV_REPLACED:
    case SCSI_EV_OFFLINE:
        return STACK_EV_GONE;
    case SCSI_EV_LUNS_CHANGED:
        return STACK_EV_LUNS_CHANGED;
    case SCSI_EV_INQUIRY_CHANGED:
    case SCSI_EV_POWER_ON:
    case SCSI_EV_LOST_WRITES:
    case SCSI_EV_DEFERRED_ERROR:
    case SCSI_EV_RESERVATIONS:
    case SCSI_EV_ALUA:
    case SCSI_EV_SOFT_THRESHOLD:
    case SCSI_EV_ONLINE:
    case SCSI_NEVENTS:
    default:
        return STACK_EV_ATTENTION;
    }
}

static void
stack_scsi_event(void *user, struct scsi_device *dev, enum scsi_event ev)
{
    struct stack *s = user;

    if (s->ev != NULL && !s->detaching)
        s->ev->event(s->user, stack_event_of(ev), dev, ev);
}

static const struct scsi_events stack_scsi_events = {.event = stack_scsi_event};

/* How long to wait for a disk that is becoming ready: as long as the midlayer thinks best where
 * nobody asks for quicker answers, else as long as a command may take, but long enough for a disk
 * that spins up. */
static uint32_t
stack_spinup_s(uint32_t timeout_ms)
{
    uint32_t s = timeout_ms / 1000;

    return timeout_ms == 0 ? 0 : s > SPINUP_MIN_S ? s : SPINUP_MIN_S;
}

int
stack_attach(struct scsi_host *h, const struct stack_params *params, const struct stack_events *ev,
             void *user, struct stack **ret)
{
    static const struct stack_params none;
    const struct stack_params *p = params != NULL ? params : &none;
    struct scsi_params sp = {.timeout_ms = p->timeout_ms,
                             .queue_depth = p->queue_depth,
                             .max_transfer = p->max_transfer,
                             .max_scan_lun = p->max_scan_lun,
                             .spinup_s = stack_spinup_s(p->timeout_ms)};
    struct stack *s = calloc(1, sizeof(*s));
    int r;

    assert(h->ev == NULL);
    if (s == NULL)
        return -ENOMEM;
    s->loop = h->loop;
    s->timeout_ms = p->timeout_ms;
    s->ev = ev;
    s->user = user;
    list_init(&s->disks);
    r = scsi_attach(h, &sp, &stack_scsi_events, s, &s->target);
    if (r < 0) {
        free(s);
        return r;
    }
    *ret = s;
    return 0;
}

void
stack_detach(struct stack **ps)
{
    struct stack *s = *ps;

    if (s == NULL)
        return;
    assert(!s->detaching);
    s->detaching = true;
    scsi_detach(&s->target);
    while (!list_empty(&s->disks))
        stack_unit_end(container_of(s->disks.next, struct stack_unit, node));
    free(s);
    *ps = NULL;
}

int
stack_scan(struct stack *s, void (*done)(void *user, int err, const struct lunette_error *why),
           void *user)
{
    assert(done != NULL && !s->detaching);
    return scsi_scan(s->target, done, user);
}

int
stack_scan_lun(struct stack *s, const uint8_t lun[8],
               void (*done)(void *user, struct scsi_device *dev, const struct lunette_error *why),
               void *user)
{
    assert(done != NULL && !s->detaching);
    return scsi_scan_lun(s->target, lun, done, user);
}

int
stack_add_lun(struct stack *s, const uint8_t lun[8],
              void (*done)(void *user, struct scsi_device *dev, const struct lunette_error *why),
              void *user)
{
    assert(done != NULL && !s->detaching);
    return scsi_add_lun(s->target, lun, done, user);
}

struct scsi_device *
stack_first_device(struct stack *s)
{
    return scsi_first_device(s->target);
}

struct scsi_device *
stack_next_device(struct scsi_device *dev)
{
    return scsi_next_device(dev);
}

void
stack_set_timeout(struct stack *s, uint32_t timeout_ms)
{
    assert(timeout_ms > 0);
    s->timeout_ms = timeout_ms;
    scsi_set_timeout(s->target, timeout_ms);
    LIST_FOREACH (n, &s->disks) {
        const struct stack_unit *u = container_of(n, struct stack_unit, node);

        if (u->disk.bdev != NULL)
            bdev_set_timeout(u->disk.bdev, timeout_ms);
    }
}

bool
stack_disk_thin(const struct scsi_device *dev)
{
    return scsi_disk_thin(dev);
}

int
stack_execute(struct scsi_device *dev, struct scsi_exec *x)
{
    return scsi_execute(dev, x);
}

int
stack_query(struct scsi_device *dev, enum scsi_query what, struct scsi_eh_wait *w)
{
    return scsi_query_unit(dev, what, w);
}

const struct lunette_error *
stack_device_why(const struct scsi_device *dev)
{
    return scsi_device_why(dev);
}

void
stack_cancel(struct scsi_exec *x, int err)
{
    scsi_exec_cancel(x, err);
}

const char *
stack_event_name(enum scsi_event why)
{
    return scsi_event_name(why);
}

void
stack_check_fast(struct stack *s)
{
    scsi_check_fast(s->target);
    LIST_FOREACH (n, &s->disks) {
        const struct stack_unit *u = container_of(n, struct stack_unit, node);

        if (u->disk.bdev != NULL)
            blk_check_fast(u->disk.bdev);
    }
}
