/* SPDX-License-Identifier: MIT */
/* iscsi/clear.c - a connection that was lost while others serve is cleared at the target
 * (docs/design/mcs.md, RFC 7143 11.14).
 *
 * What the target has of it stands in the way of the others: numbers that are missing, and commands
 * that may be executed yet.  A Logout that goes on another connection ends both, after Time2Wait
 * (13.15).  One is out at a time.  Until it is answered the CID is not bound again, since a Logout
 * that is on its way would end the new connection.  Where the connection that carries it is lost as
 * well, it may still be on its way, until that one has been cleared.
 */
#include "iscsi/internal.h"

#define CLEAR_LIMIT_NS   (5 * LOOP_NS_PER_S)   /* for the answer */
#define CLEAR_SILENT_MAX 3                     /* Logouts without an answer that level 2 takes */
#define CLEAR_RETRY_NS   (50 * LOOP_NS_PER_MS) /* where there is no task or no connection for it */

static bool
has_unassigned(const struct session *s, uint16_t cid)
{
    LIST_FOREACH (n, &s->unassigned) {
        const struct task *t = to_task(container_of(n, struct iscsi_task, node));

        if (!t->old_nexus && t->lost_cid == cid)
            return true;
    }
    return false;
}

static void
clear_timer_start(struct session *s, uint64_t ns)
{
    loop_timer_start(s->pub.loop, &s->clear_timer, ns);
}

static void
ask_about(struct session *s, struct conn *c, struct conn *via)
{
    struct task *t = iscsi_alloc_task(s, via, TASK_CLEAR);
    struct bhs_logout_req *h;

    if (t == NULL) {
        clear_timer_start(s, CLEAR_RETRY_NS);
        return;
    }
    h = &t->ctl.logout_req;
    bhs_init(h, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE,
             (uint8_t)(ISCSI_FLAG_FINAL | (iscsi_reassigns(s) ? ISCSI_LOGOUT_RECOVERY
                                                              : ISCSI_LOGOUT_CLOSE_CONNECTION)));
    h->itt = put32(t->pub.itt);
    h->cid = put16(c->pub.cid);
    c->clear = CLEAR_ASKED;
    s->clear_task = t;
    s->clear_conn = c;
    clear_timer_start(s, CLEAR_LIMIT_NS);
    iscsi_queue_mgmt(t, NULL, 0);
}

/* Asks about the connection whose turn it is, if none is asked about. */
static void
clear_next(struct session *s)
{
    struct conn *next = NULL, *via = iscsi_live_conn(s);
    uint64_t now = s->pub.loop->now_ns;

    if (s->clear_task != NULL)
        return;
    loop_timer_stop(s->pub.loop, &s->clear_timer);
    LIST_FOREACH (n, &s->clearing) {
        struct conn *c = container_of(n, struct conn, clear_node);

        if (c->clear == CLEAR_DUE && (next == NULL || c->clear_ns < next->clear_ns))
            next = c;
    }
    if (next == NULL)
        return;
    if (next->clear_ns > now)
        clear_timer_start(s, next->clear_ns - now);
    else if (via != NULL)
        ask_about(s, next, via);
    else if (!s->adrift) /* else whoever logs in is told */
        clear_timer_start(s, CLEAR_RETRY_NS);
}

/* The target has let go of what c was: Logouts that c has carried are on their way no more. */
static void
carries_no_more(struct conn *c)
{
    c->carrier = false;
    LIST_FOREACH (n, &c->session->clearing) {
        struct conn *other = container_of(n, struct conn, clear_node);

        if (other->clear == CLEAR_CARRIED && other->clear_via == c)
            other->clear = CLEAR_DUE;
    }
}

void
iscsi_clear_back(struct conn *c)
{
    carries_no_more(c);
    clear_next(c->session);
}

static void
clear_timer(struct loop_timer *t)
{
    struct session *s = container_of(t, struct session, clear_timer);

    if (s->clear_task != NULL && ++s->clear_silent >= CLEAR_SILENT_MAX && iscsi_reassigns(s))
        iscsi_session_failure(s, ISCSI_ERR_ASYNC,
                              "the target answers no Logout of a connection that was lost");
    else if (s->clear_task != NULL)
        iscsi_conn_failure(s->clear_task->pub.conn, ISCSI_ERR_ASYNC,
                           "the target does not answer the Logout of another connection");
    else
        clear_next(s);
}

void
iscsi_clear_conn(struct conn *c)
{
    struct session *s = c->session;

    if (s->state != ISCSI_STATE_LOGGED_IN || c->clear != CLEAR_NONE ||
        (!has_unassigned(s, c->pub.cid) && !c->carrier))
        return;
    c->clear = CLEAR_DUE;
    c->clear_ns = s->pub.loop->now_ns + iscsi_time2wait(c) * LOOP_NS_PER_S;
    list_push_back(&s->clearing, &c->clear_node);
    clear_next(s);
}

/* It needs to be asked about no more. */
static void
clear_over(struct conn *c)
{
    c->clear = CLEAR_NONE;
    list_del(&c->clear_node);
    carries_no_more(c);
    if (c->dying)
        iscsi_session_maybe_free(c->session);
}

void
iscsi_clear_lost(struct session *s, const struct task *t)
{
    struct conn *via = to_conn(t->pub.conn);

    if (s->clear_task != t)
        return;
    s->clear_task = NULL;
    s->clear_conn->clear = CLEAR_DUE;
    if (t->pub.state == ISCSI_TASK_RUNNING) { /* else it has not been sent */
        s->clear_conn->clear = CLEAR_CARRIED;
        s->clear_conn->clear_via = via;
        via->carrier = true; /* it is cleared when it is down */
    }
    clear_next(s);
}

/* A Logout for recovery begins the times of the connection's tasks anew (RFC 7143 11.15.3,
 * 11.15.4). */
static void
keep_told(struct session *s, uint16_t cid, const struct bhs_logout_rsp *h)
{
    LIST_FOREACH (n, &s->unassigned) {
        struct task *t = to_task(container_of(n, struct iscsi_task, node));

        if (t->old_nexus || t->lost_cid != cid)
            continue;
        t->lost_ns = s->pub.loop->now_ns;
        t->time2wait_s = get16(h->time2wait);
        t->time2retain_s = get16(h->time2retain);
        t->reassign_ns = t->lost_ns + t->time2wait_s * LOOP_NS_PER_S;
    }
}

/* An answer that is no success leaves nothing but session recovery.  "CID not found" says nothing
 * of what the connection had been given: targets forget the connection first. */
int
iscsi_clear_answered(struct conn *via, struct task *t, const struct bhs_logout_rsp *h)
{
    struct session *s = via->session;
    struct conn *c = s->clear_conn;
    bool known = h->response == ISCSI_LOGOUT_RSP_OK;

    assert(t == s->clear_task);
    s->clear_task = NULL;
    s->clear_silent = 0;
    iscsi_complete_task(t);
    if (!known && h->response != ISCSI_LOGOUT_RSP_CID_NOT_FOUND) {
        clear_over(c);
        iscsi_session_failure(s, ISCSI_ERR_ASYNC,
                              "the target does not log out a connection that was lost");
        return -EPROTO;
    }
    clear_over(c);
    if (known && iscsi_reassigns(s))
        keep_told(s, c->pub.cid, h);
    iscsi_conn_cleared(s, via, c->pub.cid, known && !iscsi_reassigns(s));
    iscsi_fill_gap(s);
    clear_next(s);
    return 0;
}

/* What it has carried may arrive until its login is through. */
bool
iscsi_clear_yields(struct conn *c)
{
    if (c->clear != CLEAR_DUE || !c->session->adrift)
        return false;
    c->clear = CLEAR_NONE;
    list_del(&c->clear_node);
    clear_next(c->session);
    return true;
}

bool
iscsi_clear_holds(const struct session *s, uint16_t cid)
{
    LIST_FOREACH (n, &s->clearing) {
        if (container_of(n, struct conn, clear_node)->pub.cid == cid)
            return true;
    }
    LIST_FOREACH (n, &s->conns) {
        const struct conn *c = container_of(n, struct conn, node);

        if (c->stopping && c->pub.cid == cid && s->state == ISCSI_STATE_LOGGED_IN)
            return true;
    }
    return false;
}

void
iscsi_clear_told(struct session *s, uint16_t cid, uint32_t time2wait_s, uint32_t time2retain_s)
{
    LIST_FOREACH (n, &s->unassigned) {
        struct task *t = to_task(container_of(n, struct iscsi_task, node));

        if (t->old_nexus || t->lost_cid != cid)
            continue;
        t->time2wait_s = (uint16_t)time2wait_s;
        t->time2retain_s = (uint16_t)time2retain_s;
    }
    LIST_FOREACH (n, &s->clearing) {
        struct conn *c = container_of(n, struct conn, clear_node);

        if (c->pub.cid == cid && c->clear == CLEAR_DUE)
            c->clear_ns = s->pub.loop->now_ns + time2wait_s * LOOP_NS_PER_S;
    }
    clear_next(s);
}

void
iscsi_clear_none(struct session *s)
{
    assert(s->state != ISCSI_STATE_LOGGED_IN);
    s->clear_task = NULL;
    s->clear_silent = 0;
    loop_timer_stop(s->pub.loop, &s->clear_timer);
    while (!list_empty(&s->clearing))
        clear_over(container_of(s->clearing.next, struct conn, clear_node));
    LIST_FOREACH (n, &s->conns)
        container_of(n, struct conn, node)->carrier = false;
}

void
iscsi_clear_init(struct session *s)
{
    list_init(&s->clearing);
    loop_timer_init(&s->clear_timer, clear_timer);
}
