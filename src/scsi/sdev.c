/* SPDX-License-Identifier: MIT */
/* scsi/sdev.c - the state of one device, the gates that hold its disk commands back, its queue
 * depth, and the delivery of its events. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fsm.h"
#include "scsi/internal.h"

#define DEPTH_FULL_TIMES 11   /* times in a row that one depth was too many, before it is avoided */
#define DEPTH_RISE_S     120u /* then it is tried again that often */

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
        [SCSI_EV_FOUND] = "found",
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
        [SCSI_EV_ONLINE] = "online",
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

const char *
sdev_unlabelled(const struct scsi_sdev *s, const char *text)
{
    char label[SDEV_LABEL_MAX];
    size_t len = strlen(sdev_label(s, label, sizeof(label)));

    return strncmp(text, label, len) == 0 && strncmp(text + len, ": ", 2) == 0 ? text + len + 2
                                                                               : text;
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

bool
scsi_fast_ok(const struct scsi_device *dev)
{
    const struct scsi_sdev *s = (const struct scsi_sdev *)dev;

    return s->up != NULL && dev->disk != NULL && dev->disk->up && dev->state == SDEV_RUNNING &&
           s->eh == EH_NONE && !s->aca_out && s->access == ACCESS_OK &&
           !loop_timer_running(&s->hold_timer);
}

bool
scsi_fast_done_ok(const struct scsi_device *dev)
{
    const struct scsi_sdev *s = (const struct scsi_sdev *)dev;

    return !s->refused && s->full_skip == 0 && s->depth_now >= s->depth_max && s->backoff_ms == 0 &&
           s->eh_barren == 0;
}

void
sdev_set_fast(struct scsi_sdev *s)
{
    s->fast_depth = s->gate == 0 && scsi_fast_ok(&s->dev) ? s->depth_now : 0;
}

void
sdev_gate_set(struct scsi_sdev *s, uint8_t gate)
{
    s->gate |= gate;
    sdev_set_fast(s);
}

void
sdev_gate_clear(struct scsi_sdev *s, uint8_t gate)
{
    s->gate &= (uint8_t)~gate;
    sdev_set_fast(s);
    if (s->gate == 0)
        sdev_restart(s);
    if (!list_empty(&s->dev.target->waiting))
        loop_defer(s->dev.target->loop, &s->dev.target->commit_work);
}

static void
sdev_hold_expired(struct loop_timer *t)
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

uint32_t
scsi_backoff_ms(struct loop *l, uint32_t *state)
{
    uint32_t ms = *state < SCSI_BACKOFF_MIN_MS ? SCSI_BACKOFF_MIN_MS : *state;

    *state = ms * 2 < SCSI_BACKOFF_MAX_MS ? ms * 2 : SCSI_BACKOFF_MAX_MS;
    if (ms < 4)
        return ms;
    return ms - ms / 4 + (uint32_t)(loop_random(l) % (ms / 2 + 1));
}

int
sdev_error(const struct scsi_sdev *s)
{
    if (s->why_code != 0)
        return s->why_code;
    return s->dev.state == SDEV_TRANSPORT_OFFLINE ? -ENOTCONN : -ENODEV;
}

const struct lunette_error *
scsi_device_why(const struct scsi_device *dev)
{
    const struct scsi_sdev *s = (const struct scsi_sdev *)dev;
    bool fails = dev->state == SDEV_OFFLINE || dev->state == SDEV_TRANSPORT_OFFLINE ||
                 s->access == ACCESS_FAIL;

    return fails && s->why_code != 0 ? s->why : NULL;
}

void
sdev_why_clear(struct scsi_sdev *s)
{
    s->why_code = 0;
    free(s->why);
    s->why = NULL;
}

void
sdev_why_as(struct scsi_sdev *s, const struct lunette_error *why)
{
    s->why_code = why->code;
    if (s->why == NULL)
        s->why = calloc(1, sizeof(*s->why));
    if (s->why != NULL)
        (void)lunette_fail_as(s->why, why);
}

void
sdev_why(struct scsi_sdev *s, int err, enum lunette_domain domain, uint32_t detail, const char *fmt,
         ...)
{
    struct lunette_error why;
    char text[sizeof(why.msg)];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    (void)lunette_fail(&why, err, domain, detail, "%s", text);
    sdev_why_as(s, &why);
}

void
sdev_set_failed(struct scsi_sdev *s, enum scsi_device_state to, const struct lunette_error *why)
{
    if (sdev_set_state(s, to))
        sdev_why_as(s, why);
}

void
sdev_reconnect_stop(struct scsi_sdev *s)
{
    struct loop *l = s->dev.target->loop;

    loop_timer_stop(l, &s->rc.limit);
    loop_timer_stop(l, &s->rc.again);
    if (s->rc.step == RECONNECT_WAIT || s->rc.step == RECONNECT_DISK)
        s->rc.step = RECONNECT_NONE;
}

void
sdev_replaced(struct scsi_sdev *s, const char *text)
{
    struct lunette_error why;
    char lun[LUN_TEXT_MAX];

    if (s->replaced || s->dev.state == SDEV_CANCEL || s->dev.state == SDEV_DEL)
        return;
    s->replaced = true;
    (void)lunette_fail(&why, -ENXIO, LUNETTE_DOM_NOTFOUND, 0,
                       "another unit is in the place of LUN %s: %s",
                       lun_format(lun_load(s->dev.lun), lun), text);
    sdev_log(s, LOG_LEVEL_ERROR, "%s", why.msg);
    sdev_reconnect_stop(s);
    sdev_set_failed(s, SDEV_OFFLINE, &why);
    sdev_raise(s, 1u << SCSI_EV_REPLACED, 0);
    if (s->up != NULL)
        s->up->gone(s->bdev, -ENXIO);
}

/* While s waits for its session, and until it has been looked at then, the clock of its requests
 * stands still; and while the session waits for a connection. */
void
sdev_set_clock(const struct scsi_sdev *s)
{
    if (s->up != NULL)
        s->up->clock(s->bdev, s->dev.state != SDEV_BLOCK && !s->dev.target->still);
}

void
sdev_tell_offline(struct scsi_sdev *s)
{
    s->told_offline = true;
    sdev_raise(s, 1u << SCSI_EV_OFFLINE, 0);
}

/* A device that was said to be offline is RUNNING again. */
static void
sdev_back_online(struct scsi_sdev *s)
{
    s->given_up = s->told_offline = false;
    s->eh_barren = 0;
    sdev_log(s, LOG_LEVEL_WARN, "online again");
    sdev_raise(s, 1u << SCSI_EV_ONLINE, 0);
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
    sdev_set_clock(s);
    if (to == SDEV_RUNNING || to == SDEV_BLOCK)
        sdev_why_clear(s);
    if (to == SDEV_OFFLINE)
        s->given_up = false; /* eh.c says so where it is why */
    if (to == SDEV_RUNNING) {
        if (s->told_offline)
            sdev_back_online(s);
        sdev_gate_clear(s, GATE_STATE);
        if (s->dev.disk != NULL)
            disk_look_missed(s->dev.disk);
    } else {
        sdev_gate_set(s, GATE_STATE);
        if (to != SDEV_BLOCK && s->up != NULL)
            s->up->no_delay(s->bdev);
        sdev_restart(s); /* what waits is refused again, or fails in the new state */
        if (!list_empty(&s->dev.target->waiting))
            loop_defer(s->dev.target->loop, &s->dev.target->commit_work);
    }
    return true;
}

/* TASK SET FULL came.  Where that happens again and again at one depth, that is one too many for
 * the unit, for as long as it stays so. */
static void
sdev_note_full(struct scsi_sdev *s)
{
    if (s->full_depth != s->depth_now)
        s->full_times = 0;
    s->full_depth = s->depth_now;
    s->cap_since_ns = s->dev.target->loop->now_ns;
    if (++s->full_times < DEPTH_FULL_TIMES)
        return;
    s->full_times = 0;
    s->depth_cap = s->full_depth > 1 ? s->full_depth - 1 : 1;
    sdev_log(s, LOG_LEVEL_INFO, "it takes %u commands at once, no more are sent", s->depth_cap);
}

/* The depth is halved once for all commands that were out when the target was full, and grows by
 * one for each full round of commands without TASK SET FULL, as a congestion window does: up to the
 * cap, which is set above, and rises by one in two minutes. */
void
sdev_depth_down(struct scsi_sdev *s)
{
    s->dev.stats.task_set_full++;
    s->fast_done = false;
    s->good = 0;
    if (s->full_skip > 0)
        return;
    sdev_note_full(s);
    s->full_skip = s->inflight + 1; /* it is counted down before it is looked at */
    s->depth_now = s->depth_now / 2 > s->inflight ? s->inflight : s->depth_now / 2;
    if (s->depth_now == 0)
        s->depth_now = 1;
    sdev_set_fast(s);
}

static void
sdev_depth_up(struct scsi_sdev *s)
{
    uint64_t now = s->dev.target->loop->now_ns;

    if (++s->good < s->depth_now)
        return;
    s->good = 0;
    if (s->depth_now >= s->depth_cap) {
        if (now < s->cap_since_ns + DEPTH_RISE_S * LOOP_NS_PER_S)
            return;
        s->cap_since_ns = now;
        s->depth_cap = s->full_depth = s->depth_now + 1;
        s->full_times = DEPTH_FULL_TIMES - 1; /* once is enough to go back */
    }
    s->depth_now++;
    sdev_set_fast(s);
}

void
sdev_good(struct scsi_sdev *s)
{
    s->backoff_ms = 0;
    s->eh_barren = 0;
    if (s->depth_now < s->depth_max)
        sdev_depth_up(s);
    s->fast_done = scsi_fast_done_ok(&s->dev);
}

static void
sdev_deliver_events(struct loop_work *w)
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

uint16_t
scsi_event_code(const struct scsi_device *dev, enum scsi_event ev)
{
    return ((const struct scsi_sdev *)dev)->ev_code[ev];
}

void
sdev_raise(struct scsi_sdev *s, uint32_t events, uint16_t code)
{
    if (events == 0 || list_empty(&s->dev.node)) /* no scan has added it: nobody listens */
        return;
    for (int i = 0; i < SCSI_NEVENTS; i++) {
        if ((events & (1u << i)) != 0)
            s->ev_code[i] = code;
    }
    s->events |= events;
    loop_defer(s->dev.target->loop, &s->ev_work);
}

void
sdev_init(struct scsi_sdev *s)
{
    s->fast_done = true;
    loop_timer_init(&s->hold_timer, sdev_hold_expired);
    loop_work_init(&s->ev_work, sdev_deliver_events);
}
