/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_user.c - what a program does besides its requests, in whatever state its
 * sessions are: it closes LUNs and sessions, gives openings up, sets other time limits, has a login
 * tried at once, and makes calls that wait.
 */
#include <errno.h>

#include "tests/sim/lunette_sim.h"

#define SAID_NS (500 * LOOP_NS_PER_MS) /* by which the data plane knows a new limit */

static const char *const acts[LS_ACTS] = {
#define X(name, text) [ACT_##name] = text,
    LS_ACT_LIST(X)
#undef X
};

const char *
ls_act_name(enum ls_act a)
{
    return acts[a];
}

/* ---- replacement_timeout -------------------------------------------------------------------- */

static bool
is_longer(int32_t a, int32_t b)
{
    return b != LS_NO_LIMIT && (a == LS_NO_LIMIT || a > b);
}

static void
say_timeout(struct ls_session *se, int32_t s)
{
    if (is_longer(se->least_s, s))
        se->least_s = s;
    if (is_longer(s, se->most_s))
        se->most_s = s;
    se->replacement_s = s;
    se->said_ns = ls_clock_ns(se->w);
}

void
ls_user_said(struct ls_session *se)
{
    if (se->least_s != se->replacement_s || se->most_s != se->replacement_s)
        se->said_ns = ls_clock_ns(se->w);
}

/* What was said last is known everywhere, unless it was said to a control plane that has died. */
static void
settle_timeout(struct ls_session *se)
{
    if (!ls_ctl_is_away(se->w) && ls_clock_ns(se->w) - se->said_ns > SAID_NS)
        se->least_s = se->most_s = se->replacement_s;
}

static bool
set_timeouts(struct ls_world *w, struct ls_session *se)
{
    static const int32_t limits[] = {LS_NO_LIMIT, 0, 1, 3, 10, 60, 119};
    struct lunette_timeouts t = LUNETTE_INIT(t), now = LUNETTE_INIT(now);
    struct lunette_error err = LUNETTE_INIT(err);
    int r;

    if (se->s == NULL || lunette_session_get_timeouts(se->s, &t) < 0)
        return false;
    t.replacement_s = limits[ls_random(w, sizeof(limits) / sizeof(limits[0]))];
    t.noop_interval_ms = 1000 + (uint32_t)ls_random(w, 3000);
    r = lunette_session_set_timeouts(se->s, &t, &err);
    if (r < 0 && r != -ENOTCONN && !w->lossy)
        ls_fail(w, "time limits are refused: %s", err.msg);
    say_timeout(se, t.replacement_s);
    if (r == 0 &&
        (lunette_session_get_timeouts(se->s, &now) < 0 || now.replacement_s != t.replacement_s ||
         now.noop_interval_ms != t.noop_interval_ms))
        ls_fail(w, "time limits were set, and are others");
    ls_say(w, "user: session %u is to be waited for %d s (%d)", se->index, t.replacement_s, r);
    return true;
}

/* ---- acts ----------------------------------------------------------------------------------- */

static bool
cancel_opening(struct ls_handle *h)
{
    bool did = h->op != NULL;

    ls_handle_cancel(h);
    return did;
}

static bool
try_at_once(struct ls_world *w, struct ls_session *se)
{
    int r;

    if (se->s == NULL)
        return false;
    r = lunette_session_reopen_now(se->s);
    if (r != 0 && r != -EALREADY && r != -ENOTCONN)
        ls_fail(w, "a login at once is refused: %d", r);
    if (r == 0 && !se->lost)
        ls_fail(w, "a login at once, and the session was not lost");
    return r == 0;
}

static bool
want_close(struct ls_world *w, bool *want, bool is_there)
{
    if (!is_there || *want || ls_random(w, 3) != 0)
        return false;
    *want = true;
    return true;
}

static bool
act(struct ls_world *w, enum ls_act a, struct ls_handle *h)
{
    switch (a) {
    case ACT_CLOSE_LUN:
        return want_close(w, &h->want_close, h->lun != NULL);
    case ACT_CLOSE_SESSION:
        return w->plan.shared && want_close(w, &h->se->want_close, h->se->s != NULL);
    case ACT_CANCEL_OPENING:
        return cancel_opening(h);
    case ACT_TIMEOUTS:
        return set_timeouts(w, h->se);
    case ACT_REOPEN_NOW:
        return try_at_once(w, h->se);
    case ACT_CALL: /* the target has no turns while it waits, where it is another process; and a
                      session that is left behind is not closed by who waits for it */
        if (w->plan.two_loops || ls_has_fault(w, FAULT_MOVED))
            return false;
        ls_io_call(w, h);
        return true;
    case LS_ACTS:
        break;
    }
    return false;
}

void
ls_user_acts(struct ls_world *w)
{
    enum ls_act a;

    for (uint32_t i = 0; i < w->plan.luns; i++)
        settle_timeout(&w->session[i]);
    if (!w->plan.restless || ls_ctl_is_away(w) || w->leaving || w->calm || ls_random(w, 40) != 0)
        return;
    a = (enum ls_act)ls_random(w, LS_ACTS);
    if (act(w, a, &w->handle[ls_random(w, w->plan.luns)])) {
        ls_say(w, "user: %s", ls_act_name(a));
        LS_COUNT(acts[a], 1);
    }
}
