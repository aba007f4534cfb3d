/* SPDX-License-Identifier: MIT */
/* scsi/device.c - targets and devices: life, states, gates, events. */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fsm.h"
#include "scsi/internal.h"

#define SCSI_DEPTH_DEFAULT 128

static const struct fsm_state sdev_states[SDEV_NSTATES] = {
#define STATE FSM_STATE
#include "scsi/state.def"
};

/* Each event is the state that is asked for. */
static const char *const sdev_events[SDEV_NSTATES] = {
#define STATE(name, flags, text) #name,
#include "scsi/state.def"
};

static const struct fsm_row sdev_rows[SDEV_NSTATES][SDEV_NSTATES] = {
#define ROW(from, event, to, what) [SDEV_##from][SDEV_##event] = FSM_ROW(SDEV_##to, what)
#include "scsi/state.def"
};

static const struct fsm sdev_fsm = {.states = sdev_states,
                                    .events = sdev_events,
                                    .rows = sdev_rows[0],
                                    .nstates = SDEV_NSTATES,
                                    .nevents = SDEV_NSTATES};

const char *
scsi_state_name(enum scsi_device_state s)
{
    return (size_t)s < SDEV_NSTATES ? fsm_state(&sdev_fsm, s)->text : "unknown";
}

const char *
scsi_event_name(enum scsi_event ev)
{
    static const char *const names[SCSI_NEVENTS] = {
        [SCSI_EV_LUNS_CHANGED] = "luns-changed",
        [SCSI_EV_INQUIRY_CHANGED] = "inquiry-changed",
        [SCSI_EV_CAPACITY] = "capacity-changed",
        [SCSI_EV_MODE] = "mode-changed",
        [SCSI_EV_POWER_ON] = "power-on",
        [SCSI_EV_LOST_WRITES] = "lost-writes",
        [SCSI_EV_DEFERRED_ERROR] = "deferred-error",
        [SCSI_EV_RESERVATIONS] = "reservations-changed",
        [SCSI_EV_ALUA] = "alua-changed",
        [SCSI_EV_SOFT_THRESHOLD] = "soft-threshold",
        [SCSI_EV_REPLACED] = "replaced",
        [SCSI_EV_OFFLINE] = "offline",
    };

    return (size_t)ev < SCSI_NEVENTS ? names[ev] : "unknown";
}

const char *
sdev_label(const struct scsi_sdev *s, char *buf, size_t size)
{
    char lun[LUN_TEXT_MAX];

    (void)snprintf(buf, size, "%.15s lun %s", s->dev.target->host->name,
                   lun_format(lun_load(s->dev.lun), lun));
    return buf;
}

void
sdev_log_line(const struct scsi_target *t, int level, const char *label, const char *fmt, ...)
{
    char text[320];
    va_list ap;

    if (t->loop->log == NULL)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    log_line(t->loop->log, (enum log_level)level, "%s: %s", label, text);
}

void
sdev_restart(struct scsi_sdev *s)
{
    if (s->refused && s->up != NULL) {
        s->refused = false;
        s->up->restart(s->bdev);
    }
}

void
sdev_open(struct scsi_sdev *s)
{
    s->open = s->gate == 0 && s->dev.target->loop->trace == NULL ? s->depth_now : 0;
}

void
sdev_gate_set(struct scsi_sdev *s, uint8_t gate)
{
    s->gate |= gate;
    sdev_open(s);
}

void
sdev_gate_clear(struct scsi_sdev *s, uint8_t gate)
{
    s->gate &= (uint8_t)~gate;
    sdev_open(s);
    if (s->gate == 0)
        sdev_restart(s);
    if (!list_empty(&s->dev.target->waiting))
        loop_defer(s->dev.target->loop, &s->dev.target->commit_work);
}

static void
hold_expired(struct loop_timer *t)
{
    sdev_gate_clear(container_of(t, struct scsi_sdev, hold_timer), GATE_HOLD);
}

void
sdev_hold(struct scsi_sdev *s, uint32_t ms)
{
    struct loop *l = s->dev.target->loop;
    uint64_t ns = ms * LOOP_NS_PER_MS;

    s->dev.stats.held++;
    sdev_gate_set(s, GATE_HOLD);
    if (!loop_timer_running(&s->hold_timer) || s->hold_timer.node.when_ns < l->now_ns + ns)
        loop_timer_start(l, &s->hold_timer, ns);
}

bool
sdev_set_state(struct scsi_sdev *s, enum scsi_device_state to)
{
    enum scsi_device_state from = s->dev.state;
    const struct fsm_row *row = fsm_find(&sdev_fsm, from, to);

    if (from == to)
        return true;
    if (row == NULL) {
        sdev_log(s, LOG_LEVEL_WARN, "state change from %s to %s refused", scsi_state_name(from),
                 scsi_state_name(to));
        return false;
    }
    sdev_log(s, LOG_LEVEL_DEBUG, "%s, was %s (%s)", scsi_state_name(to), scsi_state_name(from),
             row->what);
    s->dev.state = to;
    if (to == SDEV_RUNNING) {
        sdev_gate_clear(s, GATE_STATE);
    } else {
        sdev_gate_set(s, GATE_STATE);
        sdev_restart(s); /* what is held is held again, or fails now */
    }
    return true;
}

static void
deliver_events(struct loop_work *w)
{
    struct scsi_sdev *s = container_of(w, struct scsi_sdev, ev_work);
    struct scsi_target *t = s->dev.target;
    uint32_t events = s->events;

    s->events = 0;
    if (t->ev == NULL || t->ev->event == NULL)
        return;
    for (int i = 0; i < SCSI_NEVENTS; i++) {
        if ((events & (1u << i)) != 0)
            t->ev->event(t->user, &s->dev, (enum scsi_event)i);
    }
}

void
sdev_raise(struct scsi_sdev *s, uint32_t events)
{
    if (events == 0 || list_empty(&s->dev.node)) /* a scan's own has nobody who listens */
        return;
    s->events |= events;
    loop_defer(s->dev.target->loop, &s->ev_work);
}

static void
removed(struct loop_work *w)
{
    struct scsi_sdev *s = container_of(w, struct scsi_sdev, rm_work);

    (void)sdev_set_state(s, SDEV_DEL);
    if (s->rm_done != NULL)
        s->rm_done(s->rm_user, s->rm_err);
}

int
sdev_new(struct scsi_target *t, const uint8_t lun[8], struct scsi_sdev **ret)
{
    struct scsi_sdev *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return -ENOMEM;
    s->dev.target = t;
    memcpy(s->dev.lun, lun, sizeof(s->dev.lun));
    s->dev.state = SDEV_CREATED;
    if (t->host->state == SCSI_HOST_BLOCKED)
        s->dev.state = SDEV_CREATED_BLOCK;
    s->gate = GATE_STATE;
    s->depth_max = t->params.queue_depth;
    s->depth_now = s->depth_max;
    list_init(&s->dev.node);
    list_init(&s->eh_cmds);
    list_init(&s->eh_node);
    list_init(&s->rm.node);
    list_init(&s->eh_tur.node);
    loop_timer_init(&s->hold_timer, hold_expired);
    loop_work_init(&s->ev_work, deliver_events);
    loop_work_init(&s->rm_work, removed);
    *ret = s;
    return 0;
}

void
sdev_free(struct scsi_sdev *s)
{
    struct loop *l = s->dev.target->loop;

    list_del(&s->dev.node);
    if ((s->eh != EH_NONE || s->eh_tur_out) && !s->doomed) { /* eh.c frees it */
        s->doomed = true;
        list_push_back(&s->dev.target->doomed, &s->dev.node);
        return;
    }
    if (s->up != NULL) /* block/ must not call us any more */
        s->up->event(s->bdev, BDEV_EV_GONE, NULL);
    list_del(&s->eh_node);
    loop_timer_stop(l, &s->hold_timer);
    loop_timer_stop(l, &s->eh_tur.timer);
    loop_timer_stop(l, &s->rm.timer);
    loop_defer_cancel(&s->ev_work);
    loop_defer_cancel(&s->rm_work);
    disk_detach(s);
    free(s);
}

int
scsi_device_online(struct scsi_device *dev)
{
    struct scsi_sdev *s = sdev_of(dev);

    if (dev->state != SDEV_OFFLINE)
        return -EINVAL;
    s->eh_barren = 0;
    return sdev_set_state(s, SDEV_RUNNING) ? 0 : -EINVAL;
}

static void
last_flush_done(struct scsi_exec *x)
{
    struct scsi_sdev *s = container_of(x, struct scsi_sdev, rm);

    s->rm_err = x->result.err;
    if (s->rm_err == 0 && x->result.scsi_status != SCSI_GOOD)
        s->rm_err = -EIO;
    removed(&s->rm_work);
}

int
scsi_device_remove(struct scsi_device *dev, void (*done)(void *user, int err), void *user)
{
    struct scsi_sdev *s = sdev_of(dev);
    bool flush = dev->disk != NULL && dev->disk->up && dev->disk->limits.write_cache &&
                 dev->state == SDEV_RUNNING;

    if (dev->state == SDEV_CANCEL || dev->state == SDEV_DEL)
        return -EALREADY;
    if (dev->state == SDEV_QUIESCE)
        (void)sdev_set_state(s, SDEV_RUNNING);
    if (dev->state == SDEV_CREATED || dev->state == SDEV_CREATED_BLOCK) {
        s->dev.state = SDEV_CREATED; /* straight to DEL */
        flush = false;
    } else if (!sdev_set_state(s, SDEV_CANCEL)) {
        return -EINVAL;
    }
    s->rm_done = done;
    s->rm_user = user;
    s->rm_err = 0;
    if (flush) {
        s->rm = (struct scsi_exec){.cdb = s->rm_cdb,
                                   .timeout_ms = 2 * dev->target->params.timeout_ms,
                                   .ua_retries = SCSI_UA_TRIES,
                                   .done = last_flush_done};
        s->rm.cdb_len = (uint16_t)cdb_sync_cache10(s->rm_cdb, 0, 0, 0);
        if (scsi_execute_internal(s, &s->rm) == 0)
            return 0;
    }
    loop_defer(dev->target->loop, &s->rm_work);
    return 0;
}

struct scsi_device *
scsi_first_device(struct scsi_target *t)
{
    return list_empty(&t->devices) ? NULL : container_of(t->devices.next, struct scsi_device, node);
}

struct scsi_device *
scsi_next_device(struct scsi_device *dev)
{
    struct list *n = dev->node.next;

    return n == &dev->target->devices ? NULL : container_of(n, struct scsi_device, node);
}

struct scsi_device *
scsi_find_device(struct scsi_target *t, const uint8_t lun[8])
{
    LIST_FOREACH (n, &t->devices) {
        struct scsi_device *d = container_of(n, struct scsi_device, node);

        if (memcmp(d->lun, lun, sizeof(d->lun)) == 0 && d->state != SDEV_DEL)
            return d;
    }
    return NULL;
}

/* ---- the host's events ---- */

static void
host_restart(void *user)
{
    struct scsi_target *t = user;

    if (!list_empty(&t->waiting))
        loop_defer(t->loop, &t->commit_work);
    LIST_FOREACH (n, &t->devices) {
        struct scsi_sdev *s = sdev_of(container_of(n, struct scsi_device, node));

        if (s->gate == 0)
            sdev_restart(s);
    }
}

static void
device_follows(struct scsi_sdev *s, enum scsi_host_state state)
{
    enum scsi_device_state now = s->dev.state;

    switch (state) {
    case SCSI_HOST_BLOCKED:
        if (now == SDEV_RUNNING || now == SDEV_TRANSPORT_OFFLINE || now == SDEV_QUIESCE) {
            if (now == SDEV_QUIESCE)
                (void)sdev_set_state(s, SDEV_RUNNING);
            (void)sdev_set_state(s, SDEV_BLOCK);
        } else if (now == SDEV_CREATED) {
            (void)sdev_set_state(s, SDEV_CREATED_BLOCK);
        }
        break;
    case SCSI_HOST_RUNNING:
        if (now == SDEV_CREATED_BLOCK) {
            (void)sdev_set_state(s, SDEV_CREATED);
        } else if (now == SDEV_BLOCK || now == SDEV_TRANSPORT_OFFLINE) {
            (void)sdev_set_state(s, SDEV_BLOCK);
            if (s->dev.disk != NULL && s->dev.disk->up)
                disk_reconnect(s->dev.disk); /* lets I/O through when it has looked */
            else
                (void)sdev_set_state(s, SDEV_RUNNING);
        }
        if (!list_empty(&s->eh_cmds))
            eh_start(s);
        break;
    case SCSI_HOST_GONE:
    default:
        if (now == SDEV_RUNNING || now == SDEV_BLOCK || now == SDEV_CREATED_BLOCK)
            (void)sdev_set_state(s, SDEV_TRANSPORT_OFFLINE);
        break;
    }
}

static void
host_state(void *user, enum scsi_host_state state, const struct lunette_error *why)
{
    struct scsi_target *t = user;

    if (why != NULL)
        log_line(t->loop->log, LOG_LEVEL_INFO, "%.15s: %s", t->host->name, why->msg);
    LIST_FOREACH_SAFE (n, &t->devices) {
        device_follows(sdev_of(container_of(n, struct scsi_device, node)), state);
    }
    if (state == SCSI_HOST_RUNNING)
        t->link_errors = 0;
    if (state == SCSI_HOST_GONE)
        scsi_exec_fail_waiting(t, -ENOTCONN);
    else
        host_restart(t);
}

static void
host_async_sense(void *user, const uint8_t lun[8], const uint8_t *sense, uint16_t len)
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
host_freed(void *user)
{
    struct scsi_target *t = user;

    t->host = &t->dead;
}

static const struct scsi_host_events host_events = {
    .restart = host_restart,
    .state = host_state,
    .async_sense = host_async_sense,
    .freed = host_freed,
};

/* ---- what stands in for a host that is gone ---- */

static int
dead_queuecommand(struct scsi_host *h, struct scsi_cmd *sc)
{
    (void)h;
    (void)sc;
    return -ENOTCONN;
}

static void
dead_commit(struct scsi_host *h)
{
    (void)h;
}

static enum scsi_timeout_action
dead_timed_out(struct scsi_host *h, struct scsi_cmd *sc)
{
    (void)h;
    (void)sc;
    return SCSI_TIMEOUT_RESET_TIMER;
}

static void
dead_abort(struct scsi_host *h, struct scsi_cmd *sc, struct scsi_eh_wait *w)
{
    (void)h;
    (void)sc;
    w->done(w, SCSI_EH_FAILED);
}

static void
dead_device_reset(struct scsi_host *h, const uint8_t lun[8], struct scsi_eh_wait *w)
{
    (void)h;
    (void)lun;
    w->done(w, SCSI_EH_FAILED);
}

static void
dead_reset(struct scsi_host *h, struct scsi_eh_wait *w)
{
    (void)h;
    w->done(w, SCSI_EH_FAILED);
}

static const struct scsi_host_ops dead_ops = {
    .queuecommand = dead_queuecommand,
    .commit = dead_commit,
    .eh_timed_out = dead_timed_out,
    .eh_abort = dead_abort,
    .eh_device_reset = dead_device_reset,
    .eh_target_reset = dead_reset,
    .eh_session_reset = dead_reset,
};

static void
commit(struct loop_work *w)
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
    assert(h->max_transfer > 0 && h->max_sg > 0);
    t->host = h;
    t->loop = h->loop;
    t->dead = (struct scsi_host){.ops = &dead_ops,
                                 .loop = h->loop,
                                 .max_cdb_len = h->max_cdb_len,
                                 .max_sg = h->max_sg,
                                 .max_transfer = h->max_transfer,
                                 .state = SCSI_HOST_GONE};
    memcpy(t->dead.name, h->name, sizeof(t->dead.name));
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
    t->ev = ev;
    t->user = user;
    list_init(&t->devices);
    list_init(&t->waiting);
    list_init(&t->delayed);
    list_init(&t->sent);
    list_init(&t->doomed);
    list_init(&t->scans);
    list_init(&t->eh_queue);
    loop_work_init(&t->commit_work, commit);
    loop_work_init(&t->scan_work, scsi_scan_work);
    h->ev = &host_events;
    h->ev_user = t;
    *ret = t;
    return 0;
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
    loop_defer_cancel(&t->commit_work);
    loop_defer_cancel(&t->scan_work);
    free(t);
    *pt = NULL;
}
