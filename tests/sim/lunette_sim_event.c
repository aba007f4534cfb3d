/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_event.c - what the library tells of its sessions: that it is told in an
 * order that makes sense, and is true. */
#include <string.h>

#include "tests/sim/lunette_sim.h"

static struct ls_session *
session_of(struct ls_world *w, const struct lunette_event *ev)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        if (w->session[i].s != NULL && w->session[i].s == ev->session)
            return &w->session[i];
    }
    return NULL;
}

static struct ls_handle *
handle_of(struct ls_world *w, const struct lunette_event *ev)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        if (ev->lun != NULL && w->handle[i].lun == ev->lun)
            return &w->handle[i];
    }
    return NULL;
}

static void
lost(struct ls_world *w, struct ls_session *se, const struct lunette_event *ev)
{
    if (se->lost)
        ls_fail(w, "session %u: its connection is lost twice", se->index);
    if (w->plan.nfaults == 0 && !w->leaving)
        ls_fail(w, "session %u: the connection was lost: %s", se->index, ev->why);
    if (ev->why[0] == '\0' || ev->err >= 0)
        ls_fail(w, "session %u: the connection was lost, and nothing says why", se->index);
    if (w->plan.keeps && !w->leaving)
        ls_fail(w, "session %u: was lost, and level 2 could have kept it: %s", se->index, ev->why);
    se->lost = true;
    se->attempt = 0;
    LS_COUNT(losses, 1);
}

static void
reopening(struct ls_world *w, struct ls_session *se, const struct lunette_event *ev)
{
    if (!se->lost || se->gone)
        ls_fail(w, "session %u: login %u is told of, and it is not lost", se->index, ev->attempt);
    if (ev->attempt != se->attempt + 1)
        ls_fail(w, "session %u: login %u follows login %u", se->index, ev->attempt, se->attempt);
    if (ev->next_try_ms < 0 || ev->why[0] == '\0')
        ls_fail(w, "session %u: login %u is due in %lld ms: \"%s\"", se->index, ev->attempt,
                (long long)ev->next_try_ms, ev->why);
    se->attempt = ev->attempt;
}

static void
recovered(struct ls_world *w, struct ls_session *se)
{
    if (!se->lost || se->gone)
        ls_fail(w, "session %u: is back, and was not lost", se->index);
    se->lost = se->failed = false;
    se->reopens++;
    se->attempt = 0;
    ls_session_new_nexus(se);
    LS_COUNT(reopens, 1);
}

/* That the session has waited long enough, the check of the data plane says (check.c). */
static void
timed_out(struct ls_world *w, struct ls_session *se)
{
    if (!se->lost || se->failed || se->gone)
        ls_fail(w, "session %u: is given up, and is not waited for", se->index);
    if (se->failing_ns == 0)
        ls_check_host(w, se); /* lost and given up within a turn */
    if (se->failing_ns == 0)
        ls_fail(w, "session %u: is given up, and its commands have never failed", se->index);
    se->failed = true;
    LS_COUNT(timeouts, 1);
}

static void
gone(struct ls_world *w, struct ls_session *se, const struct lunette_event *ev)
{
    if (se->gone)
        ls_fail(w, "session %u: is gone twice", se->index);
    if (!ls_has_fault(w, FAULT_LOGIN_REFUSED) && !w->lossy)
        ls_fail(w, "session %u: is gone, and no login was refused: %s", se->index, ev->why);
    if (ev->why[0] == '\0')
        ls_fail(w, "session %u: is gone, and nothing says why", se->index);
    se->gone = true;
    LS_COUNT(gone, 1);
}

static void
of_session(struct ls_world *w, struct ls_session *se, const struct lunette_event *ev)
{
    if (ev->type == LUNETTE_EVENT_CONN_LOST)
        lost(w, se, ev);
    else if (ev->type == LUNETTE_EVENT_REOPENING)
        reopening(w, se, ev);
    else if (ev->type == LUNETTE_EVENT_RECOVERED)
        recovered(w, se);
    else if (ev->type == LUNETTE_EVENT_TIMED_OUT)
        timed_out(w, se);
    else if (ev->type == LUNETTE_EVENT_GONE)
        gone(w, se, ev);
}

static void
of_lun(struct ls_world *w, struct ls_handle *h, const struct lunette_event *ev)
{
    if (ev->type == LUNETTE_EVENT_REPLACED && !ls_has_fault(w, FAULT_SWAP))
        ls_fail(w, "LUN %u: another unit is said to be in its place", h->index);
    if (ev->type == LUNETTE_EVENT_OFFLINE && !(w->plan.may & LS_MAY_BE_SILENT) &&
        !ls_has_fault(w, FAULT_ALUA) &&
        !((w->plan.may & LS_MAY_LOSE) && strstr(ev->why, "lost again and again") != NULL))
        ls_fail(w, "LUN %u: is offline, and it always answers: %s", h->index, ev->why);
    if (ev->type == LUNETTE_EVENT_OFFLINE)
        h->offline_ns = sim_now_ns(w->sim);
    if (ev->type == LUNETTE_EVENT_REPLACED || ev->type == LUNETTE_EVENT_OFFLINE)
        h->gone = true;
}

static void
on_event(void *user, const struct lunette_event *ev)
{
    struct ls_world *w = user;
    struct ls_session *se = session_of(w, ev);
    struct ls_handle *h = handle_of(w, ev);
    char text[400];

    ls_say(w, "event: session %d, LUN %d: %s", se != NULL ? (int)se->index : -1,
           h != NULL ? (int)h->index : -1, lunette_event_text(ev, text, sizeof(text)));
    if (ev->type == LUNETTE_EVENT_DROPPED && w->lossy) {
        w->dropped = true;
        return;
    }
    if (se == NULL)
        ls_fail(w, "an event of a session that nobody has: %s", text);
    if (!w->dropped)
        of_session(w, se, ev);
    if (h != NULL)
        of_lun(w, h, ev);
}

/* What a program is told when it asks is what the events have said. */
void
ls_events_check(struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        struct ls_session *se = &w->session[i];
        struct lunette_session_info info = LUNETTE_INIT(info);
        enum lunette_session_state want = se->gone     ? LUNETTE_SESSION_GONE
                                          : se->failed ? LUNETTE_SESSION_FAILED
                                          : se->lost   ? LUNETTE_SESSION_BLOCKED
                                                       : LUNETTE_SESSION_LOGGED_IN;

        if (se->s == NULL)
            continue;
        if (w->dropped) { /* some did not come, for want of memory: a program asks then */
            ls_session_ask(se);
            continue;
        }
        if (lunette_session_get_info(se->s, &info) < 0 || info.state != want)
            ls_fail(w, "session %u is in state %d, and its events say %d", se->index,
                    (int)info.state, (int)want);
        if (info.reopens != se->reopens)
            ls_fail(w, "session %u was recovered %u times, and %u events have said so", se->index,
                    info.reopens, se->reopens);
    }
    w->dropped = false;
}

void
ls_events_init(struct ls_world *w)
{
    (void)lunette_ctx_set_events(w->ctx, on_event, w);
}
