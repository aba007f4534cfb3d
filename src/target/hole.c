/* SPDX-License-Identifier: MIT */
#include "target/hole.h"

#include "target/conn.h"
#include "target/ctl.h"
#include "target/instance.h"
#include "target/session.h"
#include "target/state/tmf.h"

static bool
somebody_waits(const struct tgt_session *s)
{
    LIST_FOREACH (i, &s->tmfs) {
        if (!container_of(i, struct tgt_tmf, link)->started)
            return true;
    }
    return !list_empty(&s->held);
}

/* All connections are dropped, and nothing is kept for later ones (11.9.1, event 3). */
static void
session_fails(struct tgt_session *s)
{
    const uint16_t param[3] = {0, (uint16_t)s->params.time2wait, 0};

    tgt_session_forget(s);
    LIST_FOREACH_SAFE (i, &s->conns) {
        struct tgt_conn *c = container_of(i, struct tgt_conn, sess_link);

        c->asked = true;
        tgt_conn_log(c, LOG_LEVEL_WARN, "CmdSN %u has not come: the session ends", s->exp_cmd_sn);
        if (c->state == TGT_CONN_FFP && !c->blocked)
            tgt_tell_async(c, ISCSI_ASYNC_DROP_SESSION, param, true);
        else
            tgt_conn_kill(c, NULL);
    }
}

static void
hole_timeout(struct loop_timer *timer)
{
    struct tgt_session *s = container_of(timer, struct tgt_session, hole);

    if (!somebody_waits(s))
        return;
    if (s->exp_cmd_sn != s->hole_sn)
        tgt_hole_watch(s); /* another one */
    else
        session_fails(s);
}

void
tgt_hole_init(struct tgt_session *s)
{
    loop_timer_init(&s->hole, hole_timeout);
}

void
tgt_hole_watch(struct tgt_session *s)
{
    uint64_t ns = s->target->hole_timeout_ms * LOOP_NS_PER_MS;

    if (loop_timer_running(&s->hole))
        return;
    if (s->params.erl ==
        2) /* a connection that is lost may be in the midst of its recovery (7.5) */
        ns += ((uint64_t)s->params.time2wait + s->params.time2retain) * LOOP_NS_PER_S;
    s->hole_sn = s->exp_cmd_sn;
    loop_timer_start(s->target->loop, &s->hole, ns);
}
