/* SPDX-License-Identifier: MIT */
/* iscsi/recovery.c - what the loss or the end of a connection does to its tasks and its session. */
#include <errno.h>

#include "iscsi/internal.h"

void
iscsi_host_state(struct session *s, enum scsi_host_state state, const struct lunette_error *why)
{
    if (s->host.state == state)
        return;
    s->host.state = state;
    if (s->host.ev != NULL)
        s->host.ev->state(s->host.ev_user, state, why);
}

static void
fail_list(struct conn *c, struct list *l, enum scsi_host_result result)
{
    while (!list_empty(l)) {
        struct task *t = to_task(container_of(l->next, struct iscsi_task, node));
        struct scsi_cmd *sc = t->pub.sc;

        if (t->pub.state == ISCSI_TASK_PENDING && t->kind == TASK_SCSI)
            c->session->win.queued--;
        if (sc != NULL)
            iscsi_set_unfinished(sc, result);
        iscsi_complete_task(t);
    }
}

/* What is with the transport, to be sent on or waiting for its answer. */
static void
fail_running(struct conn *c, enum scsi_host_result result)
{
    const struct session *s = c->session;
    struct list running;

    list_init(&running);
    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        struct task *t = iscsi_task_at(s, slot);

        if (t->pub.state != ISCSI_TASK_RUNNING || t->pub.conn != &c->pub)
            continue;
        list_del(&t->pub.node);
        list_push_back(&running, &t->pub.node);
    }
    fail_list(c, &running, result);
}

/* Every task of the connection ends, each once: what was sent may have been executed. */
static void
fail_tasks(struct conn *c, enum scsi_host_result sent)
{
    if (c->user != NULL && list_empty(&c->user->pub.node)) /* answered, between two requests */
        iscsi_complete_task(c->user);
    fail_running(c, sent);
    fail_list(c, &c->mgmtqueue, sent);
    fail_list(c, &c->cmdqueue, DID_NO_CONNECT);
}

static void
conn_stopped(struct conn *c)
{
    struct session *s = c->session;

    c->stopping = false;
    c->down = true;
    fail_tasks(c, DID_TRANSPORT_DISRUPTED);
    if (s->state != ISCSI_STATE_LOGGED_IN)
        iscsi_tmf_fail_all(s);
    iscsi_conn_event(c, EV_CLEANED);
    s->ev->conn_down(s->ev_user, &c->pub);
    if (c->report) {
        c->report = false;
        s->ev->conn_error(s->ev_user, &c->pub, c->err, &c->why);
    }
    if (c->dying || s->dying)
        iscsi_session_maybe_free(s);
}

void
iscsi_conn_stopped(struct iscsi_conn *pub)
{
    conn_stopped(to_conn(pub));
}

/* Down for good, from any state; at level 0 the session goes with its connection. */
static void
take_down(struct conn *c, enum iscsi_stop how)
{
    struct session *s = c->session;

    if (c->stopping || c->down)
        return;
    c->suspended = c->pub.failed = true;
    iscsi_leave_fast(c);
    c->failing = false;
    loop_defer_cancel(&c->fail_work);
    loop_defer_cancel(&c->xmit_work);
    loop_timer_stop(c->pub.loop, &c->transport_timer);
    if (c->state != CONN_FREE) /* FREE: logged out in order, but tasks may be left */
        iscsi_conn_event(c, EV_FAILED);
    if (s->state == ISCSI_STATE_LOGGED_IN)
        s->state = ISCSI_STATE_FAILED;
    if (s->host.state != SCSI_HOST_GONE) {
        s->why = c->why;
        if (s->why.code == 0)
            (void)lunette_fail(&s->why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                               "the session was closed");
        iscsi_host_state(s, SCSI_HOST_GONE, &s->why);
    }
    c->stopping = true;
    TRACE(c->pub.loop, stop_conn, s->pub.sid, c->pub.cid);
    if (c->pub.tt->stop_conn(&c->pub, how) != -EINPROGRESS)
        conn_stopped(c);
}

void
iscsi_fail_work(struct loop_work *w)
{
    struct conn *c = container_of(w, struct conn, fail_work);

    c->report = true;
    take_down(c, STOP_CONN_RECOVER);
}

void
iscsi_conn_stop(struct iscsi_conn *pub, enum iscsi_stop how)
{
    struct conn *c = to_conn(pub);

    if (c->down)
        return;
    if (c->why.code == 0)
        (void)lunette_fail(&c->why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "the session was closed");
    take_down(c, how);
}
