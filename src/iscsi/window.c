/* SPDX-License-Identifier: MIT */
/* iscsi/window.c - the command window of a session moves, opens, or stays shut. */
#include <stdio.h>

#include "iscsi/internal.h"

/* What had to wait for the window may go. */
static void __attribute__((noinline, cold)) window_opened(struct session *s)
{
    s->win.wanted = false;
    loop_timer_stop(s->pub.loop, &s->win.shut_timer);
    if (s->want_restart)
        iscsi_want_restart(s);
    LIST_FOREACH (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if (!list_empty(&c->mgmtqueue))
            iscsi_conn_queue_xmit(c);
    }
    iscsi_xmit_wanted(s);
}

/* What is unsure about commands that were lost may be decided. */
static void __attribute__((noinline, cold)) exp_cmdsn_moved(struct session *s)
{
    loop_defer(s->pub.loop, &s->again_work);
}

static inline void
window_update(struct session *s, struct be32 exp_cmdsn, struct be32 max_cmdsn)
{
    uint32_t exp = get32(exp_cmdsn), max = get32(max_cmdsn);

    if (__builtin_expect(!cmdsn_window_possible(exp, max), 0))
        return;
    if (cmdsn_window_newer(&s->win, exp)) {
        s->win.exp_cmdsn = exp;
        if (__builtin_expect(s->unsure, 0))
            exp_cmdsn_moved(s);
    }
    if (cmdsn_window_grow(&s->win, max) && __builtin_expect(s->win.wanted, 0))
        window_opened(s);
}

void
iscsi_window_update(struct session *s, struct be32 exp_cmdsn, struct be32 max_cmdsn)
{
    window_update(s, exp_cmdsn, max_cmdsn);
}

void
iscsi_update_cmdsn(struct iscsi_conn *pub, struct be32 exp_cmdsn, struct be32 max_cmdsn)
{
    window_update(to_conn(pub)->session, exp_cmdsn, max_cmdsn);
}

void
iscsi_window_wanted(struct session *s)
{
    s->win.wanted = true;
    if (s->outstanding == 0 && !loop_timer_running(&s->win.shut_timer))
        loop_timer_start(s->pub.loop, &s->win.shut_timer, s->abort_timeout_ms * LOOP_NS_PER_MS);
}

/* Nothing is outstanding whose answer could open the window, and no timer of the midlayer runs for
 * commands that were never taken: a target that keeps the window shut serves nobody. */
static void
shut_timer(struct loop_timer *t)
{
    struct session *s = container_of(t, struct session, win.shut_timer);
    char why[128];

    if (s->outstanding > 0 || !cmdsn_window_closed(&s->win))
        return;
    (void)snprintf(why, sizeof(why),
                   "the target has kept the command window closed for %u ms: CmdSN %u, MaxCmdSN %u",
                   s->abort_timeout_ms, s->win.cmdsn, s->win.max_cmdsn);
    iscsi_session_failure(s, ISCSI_ERR_WINDOW, why);
}

void
iscsi_window_init(struct session *s, uint32_t initial_cmdsn)
{
    loop_timer_init(&s->win.shut_timer, shut_timer);
    cmdsn_window_reset(&s->win, initial_cmdsn);
}
