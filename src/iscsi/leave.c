/* SPDX-License-Identifier: MIT */
/* iscsi/leave.c - a connection is left in order: the target has asked for a logout, or the control
 * plane logs out (RFC 7143 11.9.1, 11.14, 11.15).
 *
 * From the target's wish on no new command goes out, and those that come wait.  What is under way
 * goes on: the Logout Request of the control plane is held back until that has ended, but no longer
 * than half of the time that the target gave.  If nobody logs out in time, or does not stop the
 * connection afterwards, the connection is given up here, so that nothing waits for a control plane
 * that is not there.
 */
#include <stdio.h>

#include "iscsi/internal.h"
#include "wire/pdu.h"

/* For the Logout Response, and then for the control plane to stop the connection. */
#define LEAVE_LIMIT_NS (30 * LOOP_NS_PER_S)

static void
leave_timer_start(struct conn *c, uint64_t ns)
{
    loop_timer_start(c->pub.loop, &c->leave_timer, ns);
}

static bool
has_commands(const struct conn *c)
{
    const struct session *s = c->session;

    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        const struct task *t = iscsi_task_at(s, slot);

        if (t->kind == TASK_SCSI && t->pub.state == ISCSI_TASK_RUNNING && t->pub.conn == &c->pub)
            return true;
    }
    return false;
}

/* The end of each command that is under way is told to iscsi_leave_command_ended. */
static void
mark_commands(const struct conn *c)
{
    const struct session *s = c->session;

    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        struct task *t = iscsi_task_at(s, slot);

        if (t->kind == TASK_SCSI && t->pub.state == ISCSI_TASK_RUNNING && t->pub.conn == &c->pub)
            t->marked = true;
    }
}

void
iscsi_leave_asked(struct conn *c, uint32_t seconds)
{
    bool again = c->state != CONN_LOGGED_IN; /* which gives no more time */

    iscsi_conn_event(c, EV_ASYNC_LOGOUT);
    if (again)
        return;
    mark_commands(c);
    c->leave_given_s = seconds;
    c->leave_hold = true;
    leave_timer_start(c, seconds * LOOP_NS_PER_S / 2);
}

bool
iscsi_leave_holds(const struct conn *c, const struct task *t)
{
    return c->leave_hold && t->kind == TASK_USER && pdu_opcode(&t->ctl.h) == ISCSI_OP_LOGOUT_REQ &&
           has_commands(c);
}

void
iscsi_leave_command_ended(struct session *s)
{
    LIST_FOREACH (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if (c->leave_hold)
            iscsi_conn_queue_xmit(c);
    }
}

/* Is the Logout Request, which goes on c, about the connection that it goes on, or about all of
 * them? */
static bool
leaves_this(const struct conn *c, const struct bhs_logout_req *h)
{
    return (h->flags & ISCSI_LOGOUT_REASON_MASK) == ISCSI_LOGOUT_CLOSE_SESSION ||
           get16(h->cid) == c->pub.cid;
}

/* Is it about d, too? */
static bool
leaves(const struct conn *c, const struct conn *d, const struct bhs_logout_req *h)
{
    bool all = (h->flags & ISCSI_LOGOUT_REASON_MASK) == ISCSI_LOGOUT_CLOSE_SESSION;

    return leaves_this(c, h) && (d == c || all) && !d->suspended;
}

void
iscsi_leave_sent(struct conn *c, const struct bhs_logout_req *h)
{
    LIST_FOREACH (n, &c->session->conns) {
        struct conn *d = container_of(n, struct conn, node);

        if (!leaves(c, d, h) || (d->state != CONN_LOGGED_IN && d->state != CONN_LOGOUT_REQUESTED))
            continue;
        iscsi_conn_event(d, EV_LOGOUT_SENT);
        d->leave_hold = false;
        leave_timer_start(d, LEAVE_LIMIT_NS);
    }
}

/* Time2Wait and Time2Retain mean nothing with the responses 0, at levels below 2, and 1 (RFC 7143
 * 11.15.3, 11.15.4). */
bool
iscsi_leave_answered(struct conn *c, const struct bhs_logout_req *asked,
                     const struct bhs_logout_rsp *h)
{
    bool recovery =
        (asked->flags & ISCSI_LOGOUT_REASON_MASK) == ISCSI_LOGOUT_RECOVERY; /* ends no task */
    bool ok = h->response == ISCSI_LOGOUT_RSP_OK;

    if (!leaves_this(c, asked)) {
        if (ok && !recovery && c->session->state == ISCSI_STATE_LOGGED_IN)
            iscsi_conn_cleared(c->session, c, get16(asked->cid), true);
        return true;
    }
    if (ok) {
        LIST_FOREACH (n, &c->session->conns) {
            struct conn *d = container_of(n, struct conn, node);

            if (!leaves(c, d, asked) || d->state != CONN_IN_LOGOUT)
                continue;
            d->logged_out = !recovery;
            iscsi_conn_event(d, EV_LOGOUT_OK);
            leave_timer_start(d, LEAVE_LIMIT_NS);
        }
    } else if (h->response != ISCSI_LOGOUT_RSP_CID_NOT_FOUND) {
        iscsi_conn_set_times(c, get16(h->time2wait), get16(h->time2retain));
    }
    return ok;
}

void
iscsi_leave_timer(struct loop_timer *timer)
{
    struct conn *c = container_of(timer, struct conn, leave_timer);
    char why[96] = "the target does not answer the Logout Request";

    if (c->leave_hold) { /* the Logout Request has waited long enough, if there is one */
        c->leave_hold = false;
        iscsi_conn_queue_xmit(c);
        leave_timer_start(c, c->leave_given_s * LOOP_NS_PER_S / 2 + LEAVE_LIMIT_NS);
        return;
    }
    if (c->state == CONN_FREE) { /* logged out, and no control plane has stopped it */
        loop_defer(c->pub.loop, &c->fail_work);
        return;
    }
    if (c->state != CONN_IN_LOGOUT)
        (void)snprintf(why, sizeof(why),
                       "the target asked for a logout within %u s, and nobody has logged out",
                       c->leave_given_s);
    iscsi_conn_failure(&c->pub, ISCSI_ERR_ASYNC, why);
}
