/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_event.c - what the library tells of its sessions: that it is told in an
 * order that makes sense, and is true. */
#include <string.h>

#include "tests/sim/lunette_sim.h"

static struct ls_handle *
handle_of(struct ls_world *w, const struct lunette_event *ev)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        struct ls_handle *h = &w->handle[i];

        if (h->lun != NULL && lunette_lun_session(h->lun) == ev->session)
            return h;
    }
    return NULL;
}

static void
lost(struct ls_world *w, struct ls_handle *h, const struct lunette_event *ev)
{
    if (h->lost)
        ls_fail(w, "LUN %u: its connection is lost twice", h->index);
    if (w->plan.nfaults == 0 && !w->leaving)
        ls_fail(w, "LUN %u: the connection was lost: %s", h->index, ev->why);
    if (ev->why[0] == '\0')
        ls_fail(w, "LUN %u: the connection was lost, and nothing says why", h->index);
    h->lost = true;
    h->lost_ns = sim_now_ns(w->sim) - (uint64_t)ev->down_ms * LOOP_NS_PER_MS;
    LS_COUNT(losses, 1);
}

static void
recovered(struct ls_handle *h)
{
    h->lost = false; /* which may have been before its opening had ended */
    LS_COUNT(reopens, 1);
}

/* The session has waited as long as it was told to, and no less. */
static void
timed_out(struct ls_world *w, struct ls_handle *h, const struct lunette_event *ev)
{
    int64_t limit = (int64_t)w->plan.replacement_s * 1000;
    bool late = ls_has_fault(w, FAULT_EVENTS) || ls_has_fault(w, FAULT_CLOCK);

    if ((!h->lost && !late && !w->lossy) || limit < 0)
        ls_fail(w, "LUN %u: has waited too long, and was not to wait", h->index);
    if (ev->down_ms + 1000 < limit && !late)
        ls_fail(w, "LUN %u: has waited %lld ms, and was to wait %lld", h->index,
                (long long)ev->down_ms, (long long)limit);
    h->failures++;
    LS_COUNT(timeouts, 1);
}

static void
on_event(void *user, const struct lunette_event *ev)
{
    struct ls_world *w = user;
    struct ls_handle *h = handle_of(w, ev);
    char text[400];

    ls_say(w, "event: LUN %d: %s", h != NULL ? (int)h->index : -1,
           lunette_event_text(ev, text, sizeof(text)));
    if (h == NULL)
        return; /* its opening has not ended */
    if (ev->type == LUNETTE_EVENT_CONN_LOST)
        lost(w, h, ev);
    else if (ev->type == LUNETTE_EVENT_RECOVERED)
        recovered(h);
    else if (ev->type == LUNETTE_EVENT_TIMED_OUT)
        timed_out(w, h, ev);
    else if (ev->type == LUNETTE_EVENT_GONE)
        h->gone = true;
    h->failures += h->gone;
}

void
ls_events_init(struct ls_world *w)
{
    (void)lunette_ctx_set_events(w->ctx, on_event, w);
}
