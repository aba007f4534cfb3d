/* SPDX-License-Identifier: MIT */
/* iod/units.c - which request about units is served where, and what is above a session from its
 * first scan to its end.
 *
 * UNBIND_SESSION: the scans are given up (one that the midlayer has goes on, and
 * what it finds is dropped), the exports are stopped, the disks closed.  The
 * end of a session: the exports are stopped, which does not take long, since
 * the host gives every command back; then the stack goes with its disks.
 */
#include "iod/units.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "iod/internal.h"

static struct unit_host *
host_find(struct iod_units *u, uint32_t sid)
{
    for (struct hnode *n = htab_find(&u->by_sid, hash_u64(0, sid)); n != NULL; n = htab_next(n)) {
        struct unit_host *h = container_of(n, struct unit_host, hnode);

        if (h->sid == sid)
            return h;
    }
    return NULL;
}

/* ---- what happens next ---------------------------------------------------------------------- */

/* Requests that exports still have with the disks wait for the session no longer. */
static void
unbind_leave(struct unit_host *h)
{
    LIST_FOREACH (n, &h->list) {
        struct unit *u = container_of(n, struct unit, node);

        if (u->up && !u->closing)
            stack_disk_leave(u->disk);
    }
}

static void
unbind_impatient(struct loop_timer *t)
{
    unbind_leave(container_of(t, struct unit_host, patience));
}

/* The host of the session has been freed, and no export is left. */
static void
host_end(struct unit_host *h)
{
    struct iod_units *u = h->units;
    struct iscsi_reply rep = {.type = ISCSI_UEVENT_UNBIND_SESSION, .sid = h->sid, .err = -ENOTCONN};
    uint32_t sid = h->sid;

    assert(h->gone && h->nexports == 0);
    h->detaching = true;
    stack_detach(&h->stack);
    unit_scan_cancel(h, -ENODEV, "the session has ended");
    assert(list_empty(&h->jobs));
    (void)lunette_fail(&rep.why, rep.err, LUNETTE_DOM_USAGE, 0,
                       "the session has ended: what was written last may not be on stable storage");
    iod_waits_answer(&h->unbind, u->dp, &rep);
    LIST_FOREACH_SAFE (n, &h->list) {
        struct unit *unit = container_of(n, struct unit, node);

        unit->disk = NULL;
        unit_free(unit);
    }
    loop_defer_cancel(&h->step);
    loop_timer_stop(u->loop, &h->patience);
    htab_del(&u->by_sid, &h->hnode);
    htab_fini(&h->by_lun);
    list_del(&h->node);
    free(h);
    dataplane_upper_done(u->dp, sid);
}

static void
unbind_end(struct unit_host *h)
{
    struct iscsi_reply rep = {
        .type = ISCSI_UEVENT_UNBIND_SESSION, .sid = h->sid, .err = h->unbind_err};

    LIST_FOREACH_SAFE (n, &h->list)
        unit_free(container_of(n, struct unit, node));
    h->unbinding = false;
    loop_timer_stop(h->units->loop, &h->patience);
    if (rep.err < 0)
        (void)lunette_fail(&rep.why, rep.err, LUNETTE_DOM_SCSI, 0,
                           "a disk could not be flushed: what was written last may not be on "
                           "stable storage: %s",
                           errno_text(-rep.err));
    iod_waits_answer(&h->unbind, h->units->dp, &rep);
}

/* Closes the disks whose exports are gone. */
static void
unbind_step(struct unit_host *h)
{
    bool left = false;

    LIST_FOREACH_SAFE (n, &h->list) {
        struct unit *u = container_of(n, struct unit, node);

        if (u->export == NULL && u->disk != NULL && !u->closing)
            unit_close(u);
        left = left || u->export != NULL || u->disk != NULL;
    }
    if (!left)
        unbind_end(h);
}

static void
host_step(struct loop_work *w)
{
    struct unit_host *h = container_of(w, struct unit_host, step);

    if (h->ending) {
        if (h->gone && h->nexports == 0)
            host_end(h);
        return;
    }
    unit_scan_step(h);
    if (h->unbinding)
        unbind_step(h);
}

/* ---- requests ------------------------------------------------------------------------------- */

static struct unit_host *
host_new(struct iod_units *u, uint32_t sid)
{
    struct unit_host *h = calloc(1, sizeof(*h));

    if (h == NULL)
        return NULL;
    h->units = u;
    h->sid = sid;
    list_init(&h->list);
    list_init(&h->jobs);
    htab_init(&h->by_lun);
    iod_waits_init(&h->unbind);
    loop_work_init(&h->step, host_step);
    loop_timer_init(&h->patience, unbind_impatient);
    htab_add(&u->by_sid, &h->hnode, hash_u64(0, sid));
    list_push_back(&u->hosts, &h->node);
    return h;
}

static void
unbind_begin(struct unit_host *h)
{
    if (h->unbinding)
        return;
    h->unbinding = h->unbound = true;
    h->unbind_err = 0;
    unit_scan_cancel(h, -ECANCELED, "the units of the session are being unbound");
    if (dataplane_host(h->units->dp, h->sid)->state == SCSI_HOST_RUNNING)
        loop_timer_start(h->units->loop, &h->patience, IOD_UNBIND_MS * LOOP_NS_PER_MS);
    else
        unbind_leave(h);
    LIST_FOREACH (n, &h->list)
        unit_export_stop(container_of(n, struct unit, node));
    loop_defer(h->units->loop, &h->step);
}

static int
serve_unbind(struct unit_host *h, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    int r = iod_wait_add(&h->unbind, h->units->dp, ev, rep);

    if (r == DP_ANSWERED_LATER)
        unbind_begin(h);
    return r;
}

/* SCAN_HOST and UNBIND_SESSION, which may come before anything is above the session. */
static int
serve_host(struct iod_units *u, struct unit_host *h, const struct iscsi_uevent *ev,
           struct iscsi_reply *rep)
{
    if (ev->type == ISCSI_UEVENT_SCAN_HOST && !dataplane_started(u->dp, ev->sid))
        return lunette_fail(&rep->why, -EAGAIN, LUNETTE_DOM_USAGE, 0,
                            "session %u has not been logged in yet", ev->sid);
    if (h == NULL)
        h = host_new(u, ev->sid);
    if (h == NULL)
        return lunette_fail(&rep->why, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    return ev->type == ISCSI_UEVENT_SCAN_HOST ? unit_serve_scan(h, ev, rep)
                                              : serve_unbind(h, ev, rep);
}

static int
units_serve(void *upper, const struct iscsi_uevent *ev, const void *data, uint32_t data_len,
            struct iscsi_reply *rep)
{
    struct iod_units *u = upper;
    struct unit_host *h = host_find(u, ev->sid);

    assert(h == NULL || !h->ending);
    (void)data_len;
    switch ((int)ev->type) {
    case ISCSI_UEVENT_SCAN_HOST:
    case ISCSI_UEVENT_UNBIND_SESSION:
        return serve_host(u, h, ev, rep);
    case ISCSI_UEVENT_LIST_LUNS:
        return unit_serve_list(u, h, ev, rep);
    case ISCSI_UEVENT_START_EXPORT:
        return unit_serve_start_export(h, ev, data, rep);
    case ISCSI_UEVENT_STOP_EXPORT:
        return unit_serve_stop_export(h, ev, rep);
    case ISCSI_UEVENT_GET_LUN_STATS:
        return unit_serve_stats(h, ev, rep);
    default:
        return lunette_fail(&rep->why, -ENOSYS, LUNETTE_DOM_USAGE, 0, "request %d is not known",
                            (int)ev->type);
    }
}

/* ---- sessions that start and end ------------------------------------------------------------ */

static void
units_started(void *upper, uint32_t sid)
{
    struct unit_host *h = host_find(upper, sid);

    if (h != NULL)
        h->unbound = false;
}

static void
units_ending(void *upper, uint32_t sid)
{
    struct unit_host *h = host_find(upper, sid);

    if (h == NULL)
        return;
    h->ending = true;
    unit_scan_cancel(h, -ENODEV, "the session is being ended");
    LIST_FOREACH (n, &h->list)
        unit_export_stop(container_of(n, struct unit, node));
}

static bool
units_gone(void *upper, uint32_t sid)
{
    struct unit_host *h = host_find(upper, sid);

    if (h == NULL)
        return false;
    h->gone = true;
    loop_defer(h->units->loop, &h->step);
    return true;
}

static const struct dataplane_upper_ops units_ops = {
    .serve = units_serve, .started = units_started, .ending = units_ending, .gone = units_gone};

/* ---- life ----------------------------------------------------------------------------------- */

int
iod_units_new(struct loop *loop, struct dataplane *dp, const struct export_ops *const *kinds,
              struct iod_units **ret)
{
    struct iod_units *u = calloc(1, sizeof(*u));

    if (u == NULL)
        return -ENOMEM;
    u->loop = loop;
    u->dp = dp;
    u->kinds = kinds;
    u->watch_every = BDEV_WATCH_EVERY;
    htab_init(&u->by_sid);
    list_init(&u->hosts);
    dataplane_set_upper(dp, &units_ops, u);
    *ret = u;
    return 0;
}

void
iod_units_set_watch(struct iod_units *u, uint32_t every)
{
    u->watch_every = every;
}

void
iod_units_free(struct iod_units *u)
{
    if (u == NULL)
        return;
    assert(list_empty(&u->hosts) && u->nexports == 0);
    htab_fini(&u->by_sid);
    free(u);
}

unsigned
iod_units_exports(const struct iod_units *u)
{
    return u->nexports;
}

void
iod_units_close(struct iod_units *u)
{
    LIST_FOREACH (n, &u->hosts) {
        struct unit_host *h = container_of(n, struct unit_host, node);

        if (!h->ending)
            unbind_begin(h);
    }
}

bool
iod_units_closed(const struct iod_units *u)
{
    LIST_FOREACH (n, &u->hosts) {
        const struct unit_host *h = container_of(n, struct unit_host, node);

        if (h->ending || h->unbinding || h->nunits > 0)
            return false;
    }
    return true;
}
