/* SPDX-License-Identifier: MIT */
/* iscsi/window.c - the command window: CmdSN and MaxCmdSN (RFC 7143 4.2.2.1). */
#include <stdio.h>

#include "iscsi/internal.h"
#include "wire/sn.h"

/* RFC 7143 4.2.2.1: ExpCmdSN <= CmdSN <= MaxCmdSN. */
bool
iscsi_cmdsn_window_closed(const struct session *s)
{
    return !sn_lte(s->cmdsn, s->max_cmdsn);
}

/* What had to wait for the window may go. */
static void __attribute__((noinline, cold)) window_opened(struct session *s)
{
    s->window_wanted = false;
    loop_timer_stop(s->pub.loop, &s->shut_timer);
    if (s->want_restart)
        iscsi_want_restart(s);
    LIST_FOREACH (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if (!list_empty(&c->cmdqueue) || !list_empty(&c->mgmtqueue))
            iscsi_conn_queue_xmit(c);
    }
}

/* RFC 7143 4.2.2.1: an impossible pair is ignored, each value only ever grows. */
void
iscsi_window_update(struct session *s, struct be32 exp_cmdsn, struct be32 max_cmdsn)
{
    uint32_t exp = get32(exp_cmdsn), max = get32(max_cmdsn);

    if (__builtin_expect(sn_lt(max, exp - 1), 0))
        return;
    if (!sn_gt(max, s->max_cmdsn))
        return;
    s->max_cmdsn = max;
    if (__builtin_expect(s->window_wanted, 0))
        window_opened(s);
}

void
iscsi_update_cmdsn(struct iscsi_conn *pub, struct be32 exp_cmdsn, struct be32 max_cmdsn)
{
    iscsi_window_update(to_conn(pub)->session, exp_cmdsn, max_cmdsn);
}

/* Nothing is outstanding whose answer could open the window, and none of our timers runs for
 * commands that were never taken: a target that keeps it shut serves nobody. */
void
iscsi_window_shut(struct loop_timer *t)
{
    struct session *s = container_of(t, struct session, shut_timer);
    char why[96];

    if (s->outstanding > 0 || s->leadconn == NULL || !iscsi_cmdsn_window_closed(s))
        return;
    (void)snprintf(why, sizeof(why), "the target has kept the command window closed for %u ms",
                   s->abort_timeout_ms);
    iscsi_conn_failure(&s->leadconn->pub, ISCSI_ERR_WINDOW, why);
}
