/* SPDX-License-Identifier: MIT */
/* iod/unit.c - the units of a session, what happens to them, and requests that wait. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iod/internal.h"
#include "wire/lun.h"

/* ---- units ---------------------------------------------------------------------------------- */

static uint64_t
lun_hash(const uint8_t lun[8])
{
    uint64_t v;

    memcpy(&v, lun, sizeof(v));
    return hash_u64(0, v);
}

struct unit *
unit_find(struct unit_host *h, const uint8_t lun[8])
{
    for (struct hnode *n = htab_find(&h->by_lun, lun_hash(lun)); n != NULL; n = htab_next(n)) {
        struct unit *u = container_of(n, struct unit, hnode);

        if (memcmp(u->lun, lun, sizeof(u->lun)) == 0)
            return u;
    }
    return NULL;
}

int
unit_missing(const uint8_t lun[8], struct iscsi_reply *rep)
{
    char text[LUN_TEXT_MAX];

    return lunette_fail(&rep->why, -ENXIO, LUNETTE_DOM_NOTFOUND, 0,
                        "no LUN %s has been found on session %u; scan the session",
                        lun_format(lun_load(lun), text), rep->sid);
}

struct unit *
unit_of_device(struct unit_host *h, struct scsi_device *dev)
{
    struct unit *u = unit_find(h, dev->lun);

    if (u != NULL) {
        assert(u->dev == dev || u->disk == NULL);
        u->dev = dev; /* another one where the midlayer has forgotten one without a disk */
        return u;
    }
    u = calloc(1, sizeof(*u));
    if (u == NULL)
        return NULL;
    u->host = h;
    u->dev = dev;
    memcpy(u->lun, dev->lun, sizeof(u->lun));
    u->index = ++h->last_index;
    list_init(&u->listener.node);
    list_push_back(&h->list, &u->node);
    htab_add(&h->by_lun, &u->hnode, lun_hash(dev->lun));
    h->nunits++;
    return u;
}

void
unit_free(struct unit *u)
{
    assert(u->export == NULL && u->disk == NULL && u->host->nunits > 0);
    bdev_unlisten(&u->listener);
    list_del(&u->node);
    htab_del(&u->host->by_lun, &u->hnode);
    u->host->nunits--;
    free(u);
}

/* ---- events --------------------------------------------------------------------------------- */

static enum ipc_lun_event
lun_event_of(enum stack_event ev)
{
    static const enum ipc_lun_event of[] = {
        [STACK_EV_CAME] = IPC_LUN_EV_CAME,
        [STACK_EV_CHANGED] = IPC_LUN_EV_CHANGED,
        [STACK_EV_GONE] = IPC_LUN_EV_GONE,
        [STACK_EV_LUNS_CHANGED] = IPC_LUN_EV_LUNS_CHANGED,
        [STACK_EV_ATTENTION] = IPC_LUN_EV_ATTENTION,
    };

    return of[ev];
}

static void
on_stack_event(void *user, enum stack_event what, struct scsi_device *dev, enum scsi_event why)
{
    struct unit_host *h = user;
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_LUN, .sid = h->sid};
    const struct lunette_error *trouble = stack_device_why(dev);

    if (h->ending)
        return;
    if (what == STACK_EV_CAME && !h->unbound)
        (void)unit_of_device(h, dev); /* without memory the end of the scan tries again */
    memcpy(ev.u.lun.lun, dev->lun, sizeof(ev.u.lun.lun));
    ev.u.lun.what = lun_event_of(what);
    if (what == STACK_EV_GONE && trouble != NULL)
        (void)lunette_fail_as(&ev.u.lun.why, trouble);
    else
        (void)lunette_fail(&ev.u.lun.why, -ENODEV, LUNETTE_DOM_SCSI, 0, "%s",
                           stack_event_name(why));
    if (what != STACK_EV_GONE)
        ev.u.lun.why.code = 0; /* nothing is wrong */
    dataplane_event(h->units->dp, &ev);
}

const struct stack_events unit_stack_events = {.event = on_stack_event};

/* ---- requests that wait ---------------------------------------------------------------------- */

struct iod_wait {
    struct list node;
    struct dp_call call;
};

void
iod_waits_init(struct iod_waits *w)
{
    list_init(&w->calls);
    w->n = 0;
}

int
iod_wait_add(struct iod_waits *w, struct dataplane *dp, const struct iscsi_uevent *ev,
             struct iscsi_reply *rep)
{
    struct iod_wait *wait;

    if (w->n == IOD_WAITS_MAX)
        return lunette_fail(&rep->why, -EBUSY, LUNETTE_DOM_USAGE, 0,
                            "%d requests wait for the same already", IOD_WAITS_MAX);
    wait = malloc(sizeof(*wait));
    if (wait == NULL)
        return lunette_fail(&rep->why, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    wait->call = dataplane_call_of(dp, ev);
    list_push_back(&w->calls, &wait->node);
    w->n++;
    return DP_ANSWERED_LATER;
}

void
iod_waits_answer(struct iod_waits *w, struct dataplane *dp, struct iscsi_reply *rep)
{
    while (!list_empty(&w->calls)) {
        struct iod_wait *wait = container_of(list_pop_front(&w->calls), struct iod_wait, node);

        w->n--;
        dataplane_answer(dp, &wait->call, rep);
        free(wait);
    }
}
