/* SPDX-License-Identifier: MIT */
/* control/keep.c - a session that is there.  Where the node has a configuration, login/reopen.h
 * watches its connection and logs in again; else its loss is taken note of, and no more. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/internal.h"

void
keep_config(const struct control_node *n, struct login_config *ret)
{
    assert(n->packed != NULL);
    login_unpack(n->packed, ret);
    memcpy(ret->isid, n->isid, sizeof(ret->isid));
    ret->kind = LOGIN_NEW;
    ret->sid = 0;
    ret->cid = 0;
    ret->max_retries = 0;
    if (n->initiator_name != NULL)
        memcpy(ret->initiator_name, n->initiator_name, strlen(n->initiator_name) + 1);
}

/* ---- what the reopen tells ------------------------------------------------------------------ */

static void
keep_on_lost(void *user, const struct lunette_error *why)
{
    struct control_node *n = user;

    n->why = *why;
    node_post(n, NODE_EV_CONN_LOST);
}

static void
keep_on_waiting(void *user, uint32_t attempt, uint32_t delay_ms, const struct lunette_error *why)
{
    struct control_node *n = user;
    struct lunette_error copy = *why;

    n->why = copy;
    if (attempt > 1)
        node_tell(n, CONTROL_WAITING, delay_ms, &copy);
}

static void
keep_take_result(struct control_node *n, const struct login_result *res)
{
    node_set_sid(n, res->sid);
    n->session.cid = res->cid;
    n->session.ep = res->ep;
    n->session.tpgt = res->tpgt;
    n->session.tsih = res->tsih;
    n->session.max_connections = res->params.max_connections;
    n->session.erl = res->params.erl;
    n->session.ncids = 0;
    n->session.down = false;
    n->session.time2wait_s = res->params.time2wait;
    n->session.time2retain_s = res->params.time2retain;
    n->session.no_conn = n->session.conn_down = n->session.failing = false;
    if (n->portal != NULL)
        n->portal->silent = false;
    if (res->moved) {
        struct control_event ev = {.type = CONTROL_MOVED, .node = n, .portal = &res->moved_to};

        control_tell(n->c, &ev);
    }
}

static void
keep_on_back(void *user, const struct login_result *res, uint64_t down_ns)
{
    struct control_node *n = user;

    (void)down_ns;
    n->why.code = 0;
    n->reopens++;
    keep_take_result(n, res);
    node_post(n, NODE_EV_BACK);
}

/* A session that was found without a connection may go on by another one, and is back then. */
static void
keep_on_led(void *user, uint16_t cid)
{
    struct control_node *n = user;

    n->session.cid = cid;
    if (n->state != CONTROL_IS_LOST)
        return;
    n->why.code = 0;
    n->session.no_conn = false;
    node_post(n, NODE_EV_BACK);
}

static void
keep_on_one_conn(void *user, uint16_t cid, const struct lunette_error *why)
{
    node_tell(user, CONTROL_CONN, cid, why);
}

/* Does the reopen tell that the session is not in the data plane any more? */
static bool
keep_has_vanished(const struct lunette_error *why)
{
    return why->domain == LUNETTE_DOM_USAGE && why->code == -ENOENT;
}

static void
keep_on_gave_up(void *user, const struct lunette_error *why)
{
    struct control_node *n = user;

    n->why = *why;
    node_post(n, keep_has_vanished(&n->why) ? NODE_EV_VANISHED : NODE_EV_NOT_BACK);
}

/* Tells when commands of the session begin to fail, since replacement_timeout is over, and keeps in
 * mind until when they do. */
static void
keep_session_event(struct control_node *n, const struct iscsi_kevent *ev)
{
    bool failing =
        ev->type == ISCSI_KEVENT_SESSION_STATE && ev->u.session_state.state == IPC_SESSION_FAILED;

    if (ev->type == ISCSI_KEVENT_SESSION_STATE && n->session.failing != failing) {
        n->session.failing = failing;
        if (failing)
            node_tell(n, CONTROL_FAILING, 0, &ev->u.session_state.why);
    }
    units_event(n, ev);
}

static void
keep_on_event(void *user, const struct iscsi_kevent *ev, const void *data)
{
    (void)data;
    keep_session_event(user, ev);
}

int
keep_prepare(struct control_node *n, struct lunette_error *err)
{
    static const struct reopen_callbacks calls = {.lost = keep_on_lost,
                                                  .waiting = keep_on_waiting,
                                                  .back = keep_on_back,
                                                  .led = keep_on_led,
                                                  .conn = keep_on_one_conn,
                                                  .gave_up = keep_on_gave_up,
                                                  .event = keep_on_event};
    struct reopen_callbacks cb = calls;
    struct login_config cfg;
    struct reopen_config rc = {.login = &cfg, .reopen_max = n->reopen_max};
    int r;

    assert(n->loop != NULL);
    if (n->packed == NULL || n->reopen != NULL)
        return 0;
    cb.user = n;
    keep_config(n, &cfg);
    r = reopen_new(n->loop->ctl, n->c->gate, &rc, &cb, &n->reopen, err);
    login_config_wipe(&cfg);
    return r;
}

/* ---- watching without a reopen -------------------------------------------------------------- */

static void
keep_conn_down(struct control_node *n, const struct lunette_error *why)
{
    if (why->code < 0)
        n->why = *why;
    else
        (void)lunette_fail(&n->why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "the connection was lost");
    if (n->state == CONTROL_IS_UP)
        node_post(n, NODE_EV_CONN_LOST);
}

/* Events were dropped, and the loss may have been among them. */
static void
keep_on_conn(void *user, const struct iscsi_reply *rep)
{
    struct control_node *n = user;
    struct lunette_error why = {.code = 0};

    if (rep->err == 0 && !ipc_conn_is_up(rep->r.conn.state))
        keep_conn_down(n, &why);
}

static void
keep_ask(struct control_node *n)
{
    struct iscsi_uevent ev = {
        .type = ISCSI_UEVENT_GET_CONN, .sid = n->session.sid, .cid = n->session.cid};

    (void)ask_send(n->loop, &n->asks, &ev, NULL, 0, keep_on_conn, n);
}

static void
keep_on_watch(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data)
{
    struct control_node *n = container_of(w, struct control_node, watch);

    (void)data;
    if (ev->type == ISCSI_KEVENT_CONN_ERROR) {
        keep_conn_down(n, &ev->u.conn_error.why);
    } else if (ev->type == ISCSI_KEVENT_LOST) {
        keep_ask(n);
        units_event(n, ev);
    }
}

static void
keep_on_session_watch(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data)
{
    struct control_node *n = container_of(w, struct control_node, session_watch);

    (void)data;
    if (ev->type != ISCSI_KEVENT_LOST) /* that keep_on_watch has as well */
        keep_session_event(n, ev);
}

static void
keep_watch(struct control_node *n)
{
    ctl_watch_init(&n->watch, keep_on_watch);
    ctl_watch_init(&n->session_watch, keep_on_session_watch);
    ctl_watch_add(n->loop->ctl, &n->watch, n->session.sid, n->session.cid);
    ctl_watch_add_session(n->loop->ctl, &n->session_watch, n->session.sid);
}

/* ---- attaching ------------------------------------------------------------------------------ */

void
keep_attach(struct control_node *n, const struct login_result *res)
{
    const struct node_session *s = &n->session;
    struct reopen_found found = {
        .res = {.sid = s->sid, .cid = s->cid, .ep = s->ep, .tsih = s->tsih, .tpgt = s->tpgt},
        .conn_up = !s->conn_down && !s->no_conn,
        .asked_to_leave = s->asked_to_leave,
        .down = s->down,
        .cids = s->cids,
        .ncids = s->ncids,
    };

    found.res.params.max_connections = s->max_connections;
    found.res.params.time2wait = s->time2wait_s;
    found.res.params.time2retain = s->time2retain_s;
    found.res.params.erl = s->erl;
    n->was_up = true;
    if (n->up_ns == 0)
        n->up_ns = n->c->loop->now_ns;
    if (res != NULL)
        keep_take_result(n, res);
    if (n->reopen == NULL)
        keep_watch(n);
    else if (res != NULL)
        reopen_attach(n->reopen, res);
    else
        reopen_take_over(n->reopen, &found);
}

/* How long the first try has to wait.  Time2Wait counts from the loss: a control plane that dies
 * again and again would else never come to the end of it. */
static int32_t
keep_time2wait(const struct control_node *n)
{
    uint64_t waited_s;

    if (n->session.lost_ns == 0)
        return -1;
    waited_s = (n->c->loop->now_ns - n->session.lost_ns) / LOOP_NS_PER_S;
    return waited_s < n->session.time2wait_s ? (int32_t)(n->session.time2wait_s - waited_s) : 0;
}

void
keep_lost(struct control_node *n)
{
    struct lunette_error why = {.code = 0};
    int32_t wait_s = keep_time2wait(n);

    n->session.conn_down = false;
    if (n->reopen == NULL)
        return;
    (void)lunette_fail(&why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                       "the connection was lost while nobody watched it");
    n->session.lost_ns = 0;
    reopen_lost(n->reopen, &why, wait_s);
}

void
keep_stop(struct control_node *n)
{
    reopen_free(&n->reopen);
    ctl_watch_del(&n->watch);
    ctl_watch_del(&n->session_watch);
    n->config_new = false;
}

/* ---- actions -------------------------------------------------------------------------------- */

/* A session was found.  What is wanted decides whether it stays. */
static void
keep_found(struct control_node *n)
{
    keep_attach(n, NULL);
    if (n->wanted == CONTROL_AS_FOUND)
        n->wanted = CONTROL_UP;
    node_tell(n, CONTROL_FOUND, n->session.sid, NULL);
    if (n->wanted == CONTROL_DOWN)
        node_post(n, NODE_EV_WANT_DOWN);
}

static int
keep_change(struct control_node *n)
{
    struct login_config cfg;
    struct reopen_config rc = {.login = &cfg, .reopen_max = n->reopen_max};
    int r;

    keep_config(n, &cfg);
    r = reopen_change(n->reopen, &rc);
    login_config_wipe(&cfg);
    return r;
}

void
keep_renew(struct control_node *n)
{
    bool kept = n->reopen != NULL;
    int r = kept ? keep_change(n) : keep_prepare(n, NULL);

    n->config_new = r < 0;
    if (r < 0) { /* until then it is kept as before */
        loop_timer_start(n->c->loop, &n->timer, CONTROL_RETRY_MS * LOOP_NS_PER_MS);
    } else if (!kept) {
        ctl_watch_del(&n->watch);
        ctl_watch_del(&n->session_watch);
        keep_attach(n, NULL);
        if (n->state == CONTROL_IS_LOST)
            keep_lost(n);
    }
}

/* The session is up, and its LUNs are looked after. */
static void
keep_is_up(struct control_node *n)
{
    n->why.code = 0;
    n->tries = n->failures = 0;
    node_kick(n); /* what is due begins when the state is UP */
}

void
node_take_up(struct control_node *n)
{
    keep_found(n);
    units_list(n);
    keep_is_up(n);
}

/* The loss is told to the reopen when the events that the data plane has kept have come, since
 * those say more of it (adopt.c). */
void
node_take_lost(struct control_node *n)
{
    (void)lunette_fail(&n->why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                       "the connection was lost while nobody watched it");
    keep_found(n);
    units_list(n);
}

void
node_came_up(struct control_node *n)
{
    if (n->note_due)
        node_send_note(n, false);
    if (n->scan_manual)
        units_list(n);
    else
        units_scan(n);
    keep_is_up(n);
    if (n->wanted == CONTROL_DOWN)
        node_post(n, NODE_EV_WANT_DOWN);
}

void
node_lost(struct control_node *n)
{
    n->session.ep = 0;
}

void
node_back(struct control_node *n)
{
    keep_is_up(n);
}

void
node_gave_up(struct control_node *n)
{
    struct lunette_error why = n->why;

    n->session.down = true;
    keep_stop(n);
    keep_watch(n);
    node_tell_waiters(n, WAITER_LOGIN, &why);
    node_tell_waiters(n, WAITER_UNITS, &why);
}

/* Somebody wants a session again that was given up: it is still in the data plane, and perhaps its
 * exports with it. */
void
node_revive(struct control_node *n)
{
    struct lunette_error why = {.code = 0};

    keep_stop(n);
    if (keep_prepare(n, &why) < 0) {
        n->why = why;
        keep_watch(n);
        node_post(n, NODE_EV_NOT_BACK);
        return;
    }
    keep_attach(n, NULL);
    keep_lost(n);
}
