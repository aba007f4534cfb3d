/* SPDX-License-Identifier: MIT */
/* iscsi/recovery.c - the end of a connection: what becomes of its tasks and of its session.
 *
 * Here is the one place where tasks end that no answer ends.  A connection stops; the transport
 * lets go of each of its commands, which then have no connection (UNASSIGNED) and wait for a
 * verdict.  At error recovery level 0 that comes at once: each may have been executed, and ends.
 */
#include <errno.h>

#include "iscsi/internal.h"

/* Control PDUs belong to their connection and end with it. */
static void
end_control(struct conn *c, struct task *t)
{
    struct session *s = c->session;

    if (t->kind == TASK_TMF)
        iscsi_tmf_lost(s, t);
    iscsi_complete_task(t);
}

/* Ends the tasks that are with the transport, whether they are still being sent or wait for an
 * answer. */
static void
end_running(struct conn *c)
{
    struct session *s = c->session;

    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        struct task *t = iscsi_task_at(s, slot);

        if (t->pub.state != ISCSI_TASK_RUNNING || t->pub.conn != &c->pub)
            continue;
        if (t->kind == TASK_SCSI)
            iscsi_unassign_task(t);
        else
            end_control(c, t);
    }
}

/* Ends the tasks that wait to be sent: no target has seen them. */
static void
end_pending(struct conn *c)
{
    struct session *s = c->session;
    bool goes_on = s->state == ISCSI_STATE_LOGGED_IN || s->state == ISCSI_STATE_BLOCKED;

    while (!list_empty(&c->mgmtqueue))
        end_control(c, to_task(container_of(c->mgmtqueue.next, struct iscsi_task, node)));
    while (!list_empty(&c->cmdqueue)) {
        struct task *t = to_task(container_of(c->cmdqueue.next, struct iscsi_task, node));

        assert(t->kind == TASK_SCSI && t->pub.state == ISCSI_TASK_PENDING);
        s->win.queued--;
        iscsi_set_unfinished(t->pub.sc, goes_on ? DID_REQUEUE : DID_NO_CONNECT);
        iscsi_complete_task(t);
    }
}

/* Ends all commands without a connection, which is the verdict of level 0 on them. */
static void
end_unassigned(struct session *s)
{
    while (!list_empty(&s->unassigned)) {
        struct task *t = to_task(container_of(s->unassigned.next, struct iscsi_task, node));

        iscsi_set_unfinished(t->pub.sc, DID_TRANSPORT_DISRUPTED);
        iscsi_complete_unassigned(t);
    }
}

static void
conn_stopped(struct conn *c)
{
    struct session *s = c->session;

    assert(c->stopping && !c->down);
    c->stopping = false;
    c->down = true;
    end_running(c);
    assert(list_empty(&c->requeue) && c->xmit_task == NULL && c->ping == NULL);
    end_unassigned(s);
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

/* The session's leading connection has ended: none of the others can go on without it. */
static void
lead_lost(struct session *s, struct conn *lead, bool recover)
{
    if (recover)
        iscsi_session_lost(s, &lead->why);
    else
        iscsi_session_fail(s, &lead->why);
    iscsi_tmf_fail_all(s);
    LIST_FOREACH (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if (c != lead)
            iscsi_conn_failure(&c->pub, ISCSI_ERR_LOCAL,
                               "the leading connection of the session has ended");
    }
}

/* Takes the connection down from any state. */
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
    c->stopping = true;
    if (c == s->leadconn)
        lead_lost(s, c, how == STOP_CONN_RECOVER);
    end_pending(c); /* the transport never had them */
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
    struct session *s = c->session;

    if (!c->down && !c->stopping) {
        if (c->why.code == 0)
            (void)lunette_fail(&c->why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                               "the session was closed");
        take_down(c, how);
    } else if (how == STOP_CONN_TERM && c == s->leadconn && !c->dying &&
               s->state == ISCSI_STATE_BLOCKED) {
        iscsi_session_fail(s, &c->why); /* nobody will log in again */
    }
}
