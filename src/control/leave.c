/* SPDX-License-Identifier: MIT */
/* control/leave.c - logout: the note says so, so that a control plane that comes after this one
 * goes on with it; exports and disks are closed, the target is asked, the session is destroyed.
 *
 * Where the connection is lost, nobody is asked and nothing is flushed: the session goes at once.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "control/internal.h"

static void leave_on_logged_out(void *user, const struct lunette_error *err);

static void
leave_ask_target(struct control_node *n)
{
    struct logout_config cfg = {.sid = n->session.sid, .nconns = 1, .skip_request = n->no_request};

    assert(n->logout == NULL);
    n->leave = LEAVE_ASKING;
    cfg.timeout_ms = n->logout_timeout_ms;
    cfg.conns[0].cid = n->session.cid;
    cfg.conns[0].ep = n->session.ep;
    ctl_watch_del(&n->watch);
    ctl_watch_del(&n->session_watch);
    if (session_logout_task(n->loop->ctl, &cfg, leave_on_logged_out, n, &n->logout) < 0)
        loop_timer_start(n->c->loop, &n->timer, LOGOUT_RETRY_MS * LOOP_NS_PER_MS);
    else
        loop_timer_stop(n->c->loop, &n->timer);
}

static void
leave_on_logged_out(void *user, const struct lunette_error *err)
{
    struct control_node *n = user;

    if (err != NULL)
        log_line(n->c->loop->log, LOG_LEVEL_WARN, "%s: logged out, though not in order: %s",
                 n->name.target, err->msg);
    logout_free(&n->logout);
    node_post(n, NODE_EV_LOGGED_OUT);
}

static void
leave_on_unbound(void *user, const struct iscsi_reply *rep)
{
    struct control_node *n = user;
    struct lunette_error why;

    if (n->leave != LEAVE_UNBINDING)
        return; /* the time limit was over before */
    if (rep->err < 0 && rep->err != -EOPNOTSUPP) {
        reply_error(rep, "the disks were not closed in order", &why);
        log_line(n->c->loop->log, LOG_LEVEL_ERROR, "%s: %s", n->name.target, why.msg);
        node_tell(n, CONTROL_TROUBLE, 0, &why);
    }
    leave_ask_target(n);
}

static void
leave_unbind(struct control_node *n)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_UNBIND_SESSION, .sid = n->session.sid};
    int r = ask_send(n->loop, &n->asks, &ev, NULL, 0, leave_on_unbound, n);

    n->leave = r == 0 ? LEAVE_UNBINDING : LEAVE_UNBIND;
    loop_timer_start(n->c->loop, &n->timer,
                     (r == 0 ? CONTROL_UNBIND_MS : CONTROL_RETRY_MS) * LOOP_NS_PER_MS);
}

/* The connection is lost while the disks are flushed, which cannot end well any more. */
static void
leave_on_watch(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data)
{
    struct control_node *n = container_of(w, struct control_node, watch);

    (void)data;
    if (ev->type != ISCSI_KEVENT_CONN_ERROR || n->leave == LEAVE_ASKING)
        return;
    n->no_request = true;
    leave_ask_target(n);
}

void
leave_on_timer(struct control_node *n)
{
    assert(n->state == CONTROL_IS_LOGOUT && n->logout == NULL);
    if (n->leave == LEAVE_UNBIND) {
        leave_unbind(n);
        return;
    }
    if (n->leave == LEAVE_UNBINDING)
        log_line(n->c->loop->log, LOG_LEVEL_ERROR,
                 "%s: the disks were not closed within %d ms; what was written last may be lost",
                 n->name.target, CONTROL_UNBIND_MS);
    leave_ask_target(n);
}

static void
leave_begin(struct control_node *n)
{
    units_stop(n);
    if (n->no_request) {
        leave_ask_target(n);
        return;
    }
    ctl_watch_init(&n->watch, leave_on_watch);
    ctl_watch_add(n->loop->ctl, &n->watch, n->session.sid, n->session.cid);
    leave_unbind(n);
}

void
node_log_out(struct control_node *n)
{
    struct logout_config cfg;
    struct lunette_error why = {.code = 0};

    assert(n->session.sid != 0 && n->loop != NULL);
    login_gate_leave(&n->turn);
    login_free(&n->login);
    n->no_request = n->state == CONTROL_IS_LOST || n->state == CONTROL_IS_GAVE_UP;
    if (n->reopen != NULL) {
        reopen_logout_config(n->reopen, &cfg);
        n->session.cid = cfg.conns[0].cid;
        n->session.ep = cfg.conns[0].ep;
        n->no_request |= cfg.skip_request;
    }
    keep_stop(n);
    (void)lunette_fail(&why, -ECANCELED, LUNETTE_DOM_USAGE, 0, "the session is logged out");
    node_tell_waiters(n, WAITER_LOGIN, &why);
    node_tell_waiters(n, WAITER_UNITS, &why);
    node_forget_asks(n);
    node_send_note(n, true);
    leave_begin(n);
}

/* The control plane before this one was doing that. */
void
node_finish_logout(struct control_node *n)
{
    n->wanted = n->wanted == CONTROL_UP ? CONTROL_UP : CONTROL_DOWN;
    n->no_request = n->session.conn_down || n->session.no_conn;
    node_tell(n, CONTROL_FOUND, n->session.sid, NULL);
    leave_begin(n);
}
