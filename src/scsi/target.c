/* SPDX-License-Identifier: MIT */
/* scsi/target.c - targets: attaches to a host, detaches from it, and acts on its events. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "scsi/internal.h"

#define SCSI_DEPTH_DEFAULT 128

/* ---- the host's events ---- */

/* Whoever is restarted first may take all the room that the host has, so another device is the
 * first each time. */
static void
target_restart_devices(struct scsi_target *t)
{
    struct list *from = t->last_first, *n = from;
    bool first = true;

    do {
        struct scsi_sdev *s;

        n = n->next;
        if (n == &t->devices)
            continue;
        s = sdev_of(container_of(n, struct scsi_device, node));
        if (s->gate != 0 || !s->refused)
            continue;
        if (first)
            t->last_first = n;
        first = false;
        sdev_restart(s);
    } while (n != from);
}

static void
target_restart(void *user)
{
    struct scsi_target *t = user;

    if (!list_empty(&t->waiting))
        loop_defer(t->loop, &t->commit_work);
    target_restart_devices(t);
}

/* Why the host is in its state, for those whose commands fail because of it. */
static void
target_keep_why(struct scsi_target *t, enum scsi_host_state state, const struct lunette_error *why)
{
    t->gone.code = 0;
    if (state != SCSI_HOST_GONE)
        return;
    if (why != NULL)
        (void)lunette_fail_as(&t->gone, why);
    else
        (void)lunette_fail(&t->gone, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "there is no session");
    t->gone.code = -ENOTCONN;
}

static void
target_host_state(void *user, enum scsi_host_state state, const struct lunette_error *why)
{
    struct scsi_target *t = user;

    if (why != NULL)
        log_line(t->loop->log, LOG_LEVEL_INFO, "%.15s: %s", t->host->name, why->msg);
    target_keep_why(t, state, why);
    if (state == SCSI_HOST_RUNNING) {
        t->nexus++;
        t->link_errors = 0;
    }
    LIST_FOREACH_SAFE (n, &t->devices) {
        sdev_follow_host(sdev_of(container_of(n, struct scsi_device, node)), state);
    }
    if (state == SCSI_HOST_GONE)
        scsi_exec_fail_waiting(t, -ENOTCONN);
    else
        target_restart(t);
}

static void
target_async_sense(void *user, const uint8_t lun[8], const uint8_t *sense, uint16_t len)
{
    struct scsi_target *t = user;
    struct scsi_device *dev = scsi_find_device(t, lun);
    struct scsi_sense s;

    if (dev == NULL)
        dev = scsi_first_device(t);
    if (dev != NULL && sense_parse(sense, len, &s) && s.key == SENSE_UNIT_ATTENTION)
        scsi_unit_attention(sdev_of(dev), s.asc, s.ascq);
}

static void
target_clock(void *user, bool runs)
{
    struct scsi_target *t = user;

    t->still = !runs;
    LIST_FOREACH (n, &t->devices) {
        sdev_set_clock(sdev_of(container_of(n, struct scsi_device, node)));
    }
    if (!list_empty(&t->waiting)) /* exec.c keeps time for those by itself */
        loop_defer(t->loop, &t->commit_work);
}

static void
target_host_freed(void *user)
{
    struct scsi_target *t = user;

    t->host = &t->dead;
}

static const struct scsi_host_events host_events = {
    .restart = target_restart,
    .state = target_host_state,
    .async_sense = target_async_sense,
    .freed = target_host_freed,
    .clock = target_clock,
};

static void
target_commit(struct loop_work *w)
{
    struct scsi_target *t = container_of(w, struct scsi_target, commit_work);

    scsi_exec_run_waiting(t);
    t->host->ops->commit(t->host);
}

int
scsi_attach(struct scsi_host *h, const struct scsi_params *params, const struct scsi_events *ev,
            void *user, struct scsi_target **ret)
{
    struct scsi_target *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return -ENOMEM;
    assert(h->ev == NULL && h->max_transfer > 0 && h->max_sg > 0);
    t->host = h;
    t->loop = h->loop;
    scsi_dead_host_init(&t->dead, h);
    t->escalate = eh_add;
    t->doubt = sdev_doubt;
    if (params != NULL)
        t->params = *params;
    if (t->params.timeout_ms == 0)
        t->params.timeout_ms = SCSI_TIMEOUT_MS;
    if (t->params.queue_depth == 0)
        t->params.queue_depth = h->can_queue > 0 ? h->can_queue : SCSI_DEPTH_DEFAULT;
    if (t->params.max_scan_lun == 0)
        t->params.max_scan_lun = 256;
    if (t->params.spinup_s == 0)
        t->params.spinup_s = 100;
    if (t->params.eh_tur_ms == 0)
        t->params.eh_tur_ms = SCSI_EH_TIMEOUT_MS;
    t->ev = ev;
    t->user = user;
    list_init(&t->devices);
    t->last_first = &t->devices;
    list_init(&t->waiting);
    list_init(&t->delayed);
    list_init(&t->sent);
    list_init(&t->doomed);
    list_init(&t->scans);
    list_init(&t->eh_queue);
    loop_work_init(&t->commit_work, target_commit);
    loop_work_init(&t->scan_work, scsi_scan_work);
    h->ev = &host_events;
    h->ev_user = t;
    *ret = t;
    return 0;
}

void
scsi_set_timeout(struct scsi_target *t, uint32_t timeout_ms)
{
    assert(timeout_ms > 0);
    t->params.timeout_ms = timeout_ms;
}

void
scsi_detach(struct scsi_target **pt)
{
    struct scsi_target *t = *pt;

    if (t == NULL)
        return;
    if (t->host != &t->dead) {
        t->host->ev = NULL;
        t->host = &t->dead;
    }
    scsi_scan_fail_all(t, -ENODEV);
    scsi_exec_fail_all(t, -ENODEV);
    while (!list_empty(&t->devices))
        sdev_free(sdev_of(container_of(t->devices.next, struct scsi_device, node)));
    while (!list_empty(&t->doomed))
        sdev_free(sdev_of(container_of(t->doomed.next, struct scsi_device, node)));
    assert(list_empty(&t->waiting) && list_empty(&t->sent) && list_empty(&t->delayed));
    assert(list_empty(&t->scans) && list_empty(&t->eh_queue));
    loop_defer_cancel(&t->commit_work);
    loop_defer_cancel(&t->scan_work);
    free(t);
    *pt = NULL;
}
