/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_check.c - what must hold after each turn of any loop. */
#include <assert.h>

#include "dataplane/dataplane.h"
#include "iscsi/iscsi.h"
#include "iscsi/session.h"
#include "tests/sim/lunette_sim.h"
#include "transport/transport.h"

#define PATIENCE_NS LOOP_NS_PER_S /* by which the end of a wait may be late */
#define EARLY_NS    LOOP_NS_PER_MS
#define SIDS        8 /* those made last are looked at, whether anybody has them or not */

static void
check_session(struct ls_world *w, const struct iscsi_session *pub)
{
    const struct session *s = (const void *)((const char *)pub - offsetof(struct session, pub));

    iscsi_session_check(pub);
    LIST_FOREACH (n, &s->conns) {
        if (!w->plan.rdma)
            sw_tcp_check_fast(&container_of(n, struct conn, node)->pub);
    }
    if (s->state == ISCSI_STATE_LOGGED_IN && loop_timer_running(&s->recovery_timer))
        ls_fail(w, "the session runs, and the time in which it must come back is still counted");
    if (s->state == ISCSI_STATE_FAILED && s->host.state != SCSI_HOST_GONE)
        ls_fail(w, "the session waits no more, and its commands do");
}

/* Sessions that are being opened and closed, too. */
static void
check_sessions(struct ls_world *w)
{
    const struct iscsi_session *s;

    while (dataplane_session(w->ctx->dp, w->last_sid + 1) != NULL)
        w->last_sid++;
    for (uint32_t i = 0; i < SIDS && i < w->last_sid; i++) {
        s = dataplane_session(w->ctx->dp, w->last_sid - i);
        if (s != NULL)
            check_session(w, s);
    }
}

/* ---- how long a session is waited for, by a clock of our own --------------------------------- */

/* The control plane lets commands fail where no login will ever do. */
static bool
given_up_for_good(const struct ls_session *se)
{
    struct reopen_info info;

    if (se->s->reopen == NULL)
        return false; /* its control plane is dead */
    reopen_get_info(se->s->reopen, &info);
    return info.state == REOPEN_ENDING || info.state == REOPEN_GAVE_UP;
}

static void
check_fails(struct ls_world *w, struct ls_session *se)
{
    uint64_t now = sim_now_ns(w->sim), least = (uint64_t)se->least_s * LOOP_NS_PER_S;

    se->failing_ns = now;
    if (se->gone_ns != 0)
        return;
    se->gone_ns = ls_clock_ns(w);
    if (given_up_for_good(se) || (w->lossy && se->said_ns > 0))
        return;
    if (se->least_s < 0)
        ls_fail(w, "session %u: its commands fail, and it was to be waited for without end",
                se->index);
    if (now - se->blocked_at_ns + EARLY_NS < least)
        ls_fail(w, "session %u: its commands fail after %llu ms, and it was to be waited for %d s",
                se->index, (unsigned long long)((now - se->blocked_at_ns) / LOOP_NS_PER_MS),
                se->least_s);
}

static void
check_waits(struct ls_world *w, const struct ls_session *se)
{
    uint64_t now = ls_clock_ns(w), most = (uint64_t)se->most_s * LOOP_NS_PER_S;
    uint64_t end = se->blocked_ns + most;

    if (end < se->said_ns)
        end = se->said_ns;
    if (w->lossy && se->said_ns > 0)
        return; /* the data plane may have had no memory for what was said */
    if (se->most_s >= 0 && now > end + PATIENCE_NS)
        ls_fail(w, "session %u: its commands wait for %llu ms, and were to wait %d s at most",
                se->index, (unsigned long long)((now - se->blocked_ns) / LOOP_NS_PER_MS),
                se->most_s);
}

/* It is back in the turn in which its time was over: nobody has seen its commands fail. */
static bool
was_waited_for(const struct ls_world *w, const struct ls_session *se)
{
    return se->gone_ns == 0 && se->least_s >= 0 &&
           sim_now_ns(w->sim) - se->blocked_at_ns >= (uint64_t)se->least_s * LOOP_NS_PER_S;
}

void
ls_check_host(struct ls_world *w, struct ls_session *se)
{
    const struct scsi_host *host = dataplane_host(w->ctx->dp, se->sid);
    enum scsi_host_state state = host != NULL ? host->state : SCSI_HOST_GONE;

    if (state == SCSI_HOST_RUNNING) {
        if (se->blocked_ns != 0 && was_waited_for(w, se))
            se->failing_ns = sim_now_ns(w->sim);
        se->blocked_ns = se->gone_ns = 0;
        return;
    }
    if (se->blocked_ns == 0) {
        se->blocked_ns = ls_clock_ns(w);
        se->blocked_at_ns = sim_now_ns(w->sim);
        ls_io_lost(w, se);
    }
    if (state == SCSI_HOST_GONE)
        check_fails(w, se);
    else
        check_waits(w, se);
}

void
ls_check_turn(struct ls_world *w)
{
    if (w->ctx == NULL)
        return;
    check_sessions(w);
    if (w->plan.rdma)
        ls_rdma_check(w);
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        struct ls_session *se = &w->session[i];

        if (se->s == NULL)
            continue;
        ls_check_host(w, se);
        if (se->s->stack != NULL)
            stack_check_fast(se->s->stack);
    }
}
