/* SPDX-License-Identifier: MIT */
/* iscsi/reassign.c - the tasks of a lost connection go on with another one, at error recovery level
 * 2 (docs/design/level2.md, RFC 7143 7.2.2, 11.5.6).
 *
 * A task gets here when its connection is gone on our side and is known to be over at the target:
 * it was logged out for recovery, or its CID has logged in again.  A TASK REASSIGN, which is
 * immediate, moves it; one is out on a connection at a time, since each target takes one task
 * management request of a connection (4.2.2.1).  From its success on the task is like any other.
 */
#include <stdio.h>

#include "iscsi/internal.h"

#define REASSIGN_LIMIT_NS (5 * LOOP_NS_PER_S) /* for the answer */
#define REASSIGN_RETRY_NS                                                                          \
    (20 * LOOP_NS_PER_MS) /* where there is no connection or no task for it                        \
                           */

/* The command that the request r is about, if it waits for the answer yet. */
static struct task *
asked_about(const struct session *s, const struct task *r)
{
    uint32_t itt = get32(r->ctl.tmf_req.ref_tag);
    struct task *t = iscsi_task_at(s, itt & (ITT_GEN_STEP - 1));

    return t->pub.itt == itt && t->pub.state == ISCSI_TASK_UNASSIGNED &&
                   t->reassign == REASSIGN_ASKED
               ? t
               : NULL;
}

/* The connection that has the least to do of those that can carry a request; NULL: there is none.
 */
static struct conn *
conn_for_reassign(const struct session *s)
{
    struct conn *best = NULL;

    LIST_FOREACH (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if (iscsi_conn_serves(c) && c->reassign == NULL &&
            (s->tmf == NULL || s->tmf->pub.conn != &c->pub) &&
            (best == NULL || c->running < best->running))
            best = c;
    }
    return best;
}

static bool
ask_to_reassign(struct session *s, struct conn *c, struct task *t)
{
    struct task *r = iscsi_alloc_task(s, c, TASK_REASSIGN);
    struct bhs_tmf_req *h;

    if (r == NULL)
        return false;
    h = &r->ctl.tmf_req;
    bhs_init(h, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | ISCSI_TMF_TASK_REASSIGN);
    memcpy(h->lun, t->pub.sc->lun, sizeof(h->lun));
    h->itt = put32(r->pub.itt);
    h->ref_tag = put32(t->pub.itt);
    h->ref_cmd_sn = put32(t->pub.cmd_sn);
    if (t->pub.sc->in.len > 0)
        h->exp_data_sn = put32(t->pub.exp_datasn);
    t->reassign = REASSIGN_ASKED;
    c->reassign = r;
    c->pub.stats.tmfcmd_pdus++;
    iscsi_queue_mgmt(r, NULL, 0);
    return true;
}

/* When the connection has had the time for its answer; it began with the request, since the command
 * may have ended meanwhile. */
static uint64_t
overdue_ns(const struct conn *c)
{
    return c->reassign != NULL && !c->suspended ? c->reassign->pub.moved_ns + REASSIGN_LIMIT_NS
                                                : UINT64_MAX;
}

/* When the task is to be asked for next. */
static uint64_t
next_look(const struct task *t, uint64_t now)
{
    if (t->reassign != REASSIGN_DUE || t->cleaning)
        return UINT64_MAX;
    return t->reassign_ns > now ? t->reassign_ns : now + REASSIGN_RETRY_NS;
}

static void
reassign_work(struct loop_work *w)
{
    struct session *s = container_of(w, struct session, reassign_work);
    uint64_t now = s->pub.loop->now_ns, next = UINT64_MAX;

    loop_timer_stop(s->pub.loop, &s->reassign_timer);
    if (s->state != ISCSI_STATE_LOGGED_IN || s->adrift)
        return;
    LIST_FOREACH (n, &s->unassigned) {
        struct task *t = to_task(container_of(n, struct iscsi_task, node));
        struct conn *c = NULL;

        if (t->reassign == REASSIGN_DUE && !t->cleaning && !t->conn_logged_out &&
            t->reassign_ns <= now)
            c = conn_for_reassign(s);
        if (c != NULL && t->blamed >= ISCSI_BLAMED_MAX && t->blamed_itt == t->pub.itt) {
            iscsi_session_failure(s, ISCSI_ERR_ASYNC,
                                  "a task does not go on, however often it is reassigned");
            return;
        }
        if (c != NULL)
            (void)ask_to_reassign(s, c, t);
        if (next_look(t, now) < next)
            next = next_look(t, now);
    }
    LIST_FOREACH (n, &s->conns) {
        uint64_t overdue = overdue_ns(container_of(n, struct conn, node));

        if (overdue < next)
            next = overdue;
    }
    if (next != UINT64_MAX)
        loop_timer_start(s->pub.loop, &s->reassign_timer, next > now ? next - now : 0);
}

/* A connection on which the target does not answer for so long is given up: the task may be its
 * own by now. */
static void
reassign_timer(struct loop_timer *timer)
{
    struct session *s = container_of(timer, struct session, reassign_timer);
    uint64_t now = s->pub.loop->now_ns;

    LIST_FOREACH (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if (now >= overdue_ns(c))
            iscsi_conn_failure(&c->pub, ISCSI_ERR_TMF_TIMEDOUT,
                               "the target does not answer a TASK REASSIGN");
    }
    loop_defer(s->pub.loop, &s->reassign_work);
}

/* The task is one of c's from now on. */
static void
move_task(struct conn *c, struct task *t)
{
    list_del(&t->pub.node);
    t->pub.conn = &c->pub;
    t->pub.state = ISCSI_TASK_RUNNING;
    t->pub.unsol = (struct iscsi_unsolicited){0};
    t->pub.moved_ns = c->pub.loop->now_ns;
    t->reassign = REASSIGN_NONE;
    t->started = true;
    t->xmit_fast = false;
    c->running++;
    c->pub.stats.tasks_reassigned++;
    if (c->pub.tt->reassign_task != NULL)
        c->pub.tt->reassign_task(&t->pub);
    if (t->watched)
        io_watch_enter(t->pub.sc->watch, IO_STAGE_TARGET, loop_clock(c->pub.loop));
    loop_defer(c->pub.loop, &c->session->eh_work); /* it can be aborted again */
}

/* The answer to r is that the target has nothing of t: it has ended, and its status is lost. */
static void
task_is_over(struct session *s, struct task *t)
{
    t->reassign = REASSIGN_NONE;
    t->conn_logged_out = true;
    loop_timer_start(s->pub.loop, &s->fate_timer, 0);
}

int
iscsi_reassign_answered(struct conn *c, struct task *r, uint8_t response)
{
    struct session *s = c->session;
    struct task *t = asked_about(s, r); /* NULL: a reset has ended it meanwhile */
    char why[96];

    c->pub.stats.tmfrsp_pdus++;
    iscsi_complete_task(r);
    loop_defer(s->pub.loop, &s->reassign_work);
    if (response == ISCSI_TMF_RSP_COMPLETE) {
        if (t != NULL)
            move_task(c, t);
        return 0;
    }
    if (response == ISCSI_TMF_RSP_NO_TASK) {
        if (t != NULL)
            task_is_over(s, t);
        return 0;
    }
    (void)snprintf(why, sizeof(why), "the target does not reassign a task (response %u)", response);
    iscsi_session_failure(s, ISCSI_ERR_ASYNC, why);
    return -EPROTO;
}

int
iscsi_reassign_rejected(struct conn *c, struct task *r, uint8_t reason)
{
    struct session *s = c->session;
    struct task *t = asked_about(s, r);

    iscsi_complete_task(r);
    if (reason != ISCSI_REJECT_TOO_MANY_IMMEDIATE) {
        iscsi_session_failure(s, ISCSI_ERR_ASYNC, "the target rejects TASK REASSIGN");
        return -EPROTO;
    }
    if (t != NULL) { /* it has too many immediate requests: 11.17.1 */
        t->reassign = REASSIGN_DUE;
        t->reassign_ns = s->pub.loop->now_ns + REASSIGN_RETRY_NS;
        loop_defer(s->pub.loop, &s->reassign_work);
        loop_timer_start(s->pub.loop, &s->fate_timer, 0);
    }
    return 0;
}

/* The target may have done as it was asked: then the task was one of this connection. */
void
iscsi_reassign_lost(struct session *s, const struct task *r)
{
    const struct conn *c = to_conn(r->pub.conn);
    struct task *t = asked_about(s, r);

    if (t == NULL)
        return;
    t->reassign = REASSIGN_DUE;
    t->reassign_ns = 0;
    loop_defer(s->pub.loop, &s->reassign_work);
    loop_timer_start(s->pub.loop, &s->fate_timer, 0); /* its time counts again */
    if (r->pub.state != ISCSI_TASK_RUNNING)
        return; /* it has not been sent */
    iscsi_blame_task(t, c);
    t->reassign = REASSIGN_NONE;
    t->lost_ns = s->pub.loop->now_ns;
    t->lost_cid = c->pub.cid;
    t->time2wait_s = (uint16_t)iscsi_time2wait(c);
    t->time2retain_s = (uint16_t)iscsi_time2retain(c);
    t->conn_is_back = false;
}

void
iscsi_reassign_init(struct session *s)
{
    loop_work_init(&s->reassign_work, reassign_work);
    loop_timer_init(&s->reassign_timer, reassign_timer);
}
