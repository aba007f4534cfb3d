/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_ctl.c - a control plane that dies at any of its messages, as a process that
 * is killed, and another that comes and takes over the sessions that it finds.  I/O goes on all the
 * while, or waits for the next login, which only the other one makes.
 *
 * The library has its control plane inside itself, and never loses it; so what stands for that is
 * taken out of it here: the ctl, the reopen of each session, and the binding.  It is done while no
 * program waits for an opening or a closing, whose control plane is the program's own.
 */
#include <errno.h>

#include "ctl/ctl.h"
#include "iscsi/session.h"
#include "login/logout.h"
#include "login/reopen.h"
#include "tests/sim/lunette_sim.h"
#include "tests/support/steady_alloc.h"

static uint64_t
messages(const struct ls_world *w)
{
    const struct ctl_stats *s = ctl_get_stats(w->ctx->ctl);

    return s->requests + s->replies + s->events;
}

static bool
nobody_waits(const struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        const struct ls_session *se = &w->session[i];

        if (w->handle[i].op != NULL || w->handle[i].closing || se->op != NULL || se->closing)
            return false;
    }
    return w->ctx->closing == 0;
}

void
ls_ctl_doom(struct ls_world *w, uint64_t arg, uint32_t for_ms)
{
    w->ctl.doomed = true;
    w->ctl.at = (w->ctl.down ? 0 : messages(w)) + arg % 24;
    w->ctl.away_ms = arg >> 8 & 3 ? (uint32_t)(arg >> 12) % 60 : for_ms;
    w->ctl.noticed = arg >> 10 & 1;
    if (arg >> 11 & 1)
        ls_world_cut(w);
}

static void
forget(struct ls_world *w)
{
    if (w->ctl.old == NULL)
        return;
    dataplane_detach(w->ctx->dp, w->ctl.generation);
    ipc_delayed_free(w->ctl.old);
    w->ctl.old = NULL;
}

static void
die(struct ls_world *w)
{
    ls_say(w, "the control plane dies");
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        struct ls_session *se = &w->session[i];

        if (se->s == NULL || se->gone)
            continue;
        reopen_get_config(se->s->reopen, &w->ctl.cfg[i]);
        reopen_free(&se->s->reopen);
    }
    ipc_delayed_cut(w->binding);
    ctl_free(&w->ctx->ctl);
    w->ctl.old = w->binding;
    w->binding = NULL;
    w->ctl.down = true;
    w->ctl.doomed = false;
    w->ctl.back_ns = sim_now_ns(w->sim) + w->ctl.away_ms * LOOP_NS_PER_MS;
    if (w->ctl.noticed)
        forget(w);
    LS_COUNT(deaths, 1);
}

/* Events of a connection that is asked for are nobody's yet, and may overtake the reply. */
static void
on_unowned(struct ctl_watch *watch, const struct iscsi_kevent *ev, const void *data)
{
    struct ls_session *se = container_of(watch, struct ls_session, asked);

    (void)data;
    se->missed |= ev->type == ISCSI_KEVENT_CONN_ERROR || ev->type == ISCSI_KEVENT_LOST;
}

static void on_found(void *user, const struct iscsi_reply *rep);

static int
ask_for(struct ls_session *se)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_GET_CONN, .sid = se->s->sid, .cid = se->s->cid};

    se->missed = false;
    return ctl_request(se->w->ctx->ctl, &ev, NULL, 0, on_found, se);
}

/* The connection as the data plane knows it; what happens from now on, events tell. */
static void
on_found(void *user, const struct iscsi_reply *rep)
{
    struct ls_session *se = user;
    struct lunette_session *s = se->s;
    struct reopen_found found = {
        .res = {
            .sid = s->sid, .cid = s->cid, .tsih = s->tsih, .tpgt = s->tpgt, .params = s->params}};
    const struct scsi_host *host = dataplane_host(s->ctx->dp, s->sid);
    struct lunette_error why;

    if (se->missed) { /* the reply may be older than what has happened */
        ls_memory_pause(true);
        if (ask_for(se) < 0)
            ls_fail(se->w, "a control plane cannot ask");
        ls_memory_pause(false);
        return;
    }
    se->w->ctl.adoptions--;
    if (rep->err == 0)
        found.res.ep = rep->r.conn.ep;
    found.conn_up = rep->err == 0 && ipc_conn_is_up(rep->r.conn.state);
    found.asked_to_leave = found.conn_up && rep->r.conn.state == IPC_CONN_LEAVING;
    found.down = host == NULL || host->state != SCSI_HOST_RUNNING;
    reopen_take_over(s->reopen, &found);
    ctl_watch_del(&se->asked);
    ls_user_said(se);
    se->reopens = se->attempt = 0;
    se->lost = se->failed = s->lost = false;
    s->timed_out = host == NULL || host->state == SCSI_HOST_GONE;
    ls_say(se->w, "session %u is taken over (%d, %d)", se->index, rep->err, (int)rep->r.conn.state);
    if (found.conn_up) {
        s->timed_out = false;
        api_units_moved(s);
        return;
    }
    (void)lunette_fail(&why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "it was found lost");
    reopen_lost(s->reopen, &why, -1);
}

static void
take_over(struct ls_world *w, struct ls_session *se)
{
    struct lunette_error err = LUNETTE_INIT(err);

    ctl_watch_init(&se->asked, on_unowned);
    ctl_watch_add(w->ctx->ctl, &se->asked, se->s->sid, se->s->cid);
    if (api_session_keep(se->s, &w->ctl.cfg[se->index], &err) < 0 || ask_for(se) < 0)
        ls_fail(w, "no control plane: %s", err.msg);
    login_config_wipe(&w->ctl.cfg[se->index]);
    w->ctl.adoptions++;
}

/* A session whose opening was given up, and which the one that died had not undone yet. */
struct left {
    struct ls_world *w;
    struct logout_config lc;
    struct iscsi_logout *logout;
};

static void
left_is_gone(void *user, const struct lunette_error *err)
{
    struct left *l = user;

    (void)err;
    l->w->ctl.adoptions--;
    logout_free(&l->logout);
    steady_free(l);
}

static bool
is_wanted(const struct ls_world *w, uint32_t sid)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        if (w->session[i].s != NULL && w->session[i].sid == sid)
            return true;
    }
    return false;
}

static void
log_left_out(struct left *l)
{
    if (session_logout_task(l->w->ctx->ctl, &l->lc, left_is_gone, l, &l->logout) < 0)
        ls_fail(l->w, "a session that nobody has cannot be ended");
}

static void
left_is_known(void *user, const struct iscsi_reply *rep)
{
    struct left *l = user;

    if (rep->err == 0)
        l->lc.conns[0].ep = rep->r.conn.ep;
    ls_memory_pause(true);
    log_left_out(l);
    ls_memory_pause(false);
}

/* What was never started the data plane undoes by itself. */
static void
end_left(struct ls_world *w, uint32_t sid)
{
    const struct iscsi_session *pub = dataplane_session(w->ctx->dp, sid);
    const struct session *s;
    struct iscsi_uevent ask = {.type = ISCSI_UEVENT_GET_CONN, .sid = sid};
    struct left *l;
    int r = 0;

    if (pub == NULL || is_wanted(w, sid))
        return;
    s = (const void *)((const char *)pub - offsetof(struct session, pub));
    if (s->state == ISCSI_STATE_FREE || list_empty(&s->conns))
        return;
    ls_say(w, "session id %u is ended, which nobody has", sid);
    ask.cid = container_of(s->conns.next, struct conn, node)->pub.cid;
    l = steady_calloc(1, sizeof(*l));
    l->w = w;
    l->lc = (struct logout_config){.sid = sid, .nconns = 1, .skip_request = true};
    l->lc.conns[0].cid = ask.cid;
    if (w->plan.rdma) /* an endpoint of the transport's own is there, too */
        r = ctl_request(w->ctx->ctl, &ask, NULL, 0, left_is_known, l);
    else
        log_left_out(l);
    if (r < 0)
        ls_fail(w, "a control plane cannot ask");
    w->ctl.adoptions++;
}

static void
come(struct ls_world *w)
{
    struct ipc_client client;

    ls_say(w, "another control plane comes");
    ls_memory_pause(true);
    forget(w);
    if (ipc_delayed_new(w->loop, w->plan.ipc_delay_ns, &dataplane_server_ops, w->ctx->dp,
                        &w->binding, &client) < 0 ||
        ctl_new(w->loop, ipc_delayed_ipc(w->binding), &w->ctx->ctl) < 0)
        ls_fail(w, "no control plane");
    w->ctl.generation = dataplane_set_client(w->ctx->dp, &client);
    ipc_delayed_refuse_events(w->binding, w->held[FAULT_EVENTS] > 0);
    w->ctl.down = false;
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        if (w->session[i].s != NULL && !w->session[i].gone)
            take_over(w, &w->session[i]);
    }
    for (uint32_t sid = 1; sid <= w->last_sid; sid++)
        end_left(w, sid);
    ls_memory_pause(false);
}

/* Between two turns: does what is due. */
void
ls_ctl_look(struct ls_world *w)
{
    if (w->ctl.down && sim_now_ns(w->sim) >= w->ctl.back_ns)
        come(w);
    else if (ls_ctl_is_due(w))
        die(w);
}

bool
ls_ctl_is_due(const struct ls_world *w)
{
    return w->ctl.doomed && !w->ctl.down && w->ctl.adoptions == 0 && messages(w) >= w->ctl.at &&
           nobody_waits(w);
}

bool
ls_ctl_is_away(const struct ls_world *w)
{
    return w->ctl.down || w->ctl.adoptions > 0;
}
