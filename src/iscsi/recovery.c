/* SPDX-License-Identifier: MIT */
/* iscsi/recovery.c - the end of a connection: what becomes of its tasks and of its session.
 *
 * Here is the one place where tasks end that no answer ends.  A connection stops; the transport
 * lets go of each of its commands, which then have no connection (UNASSIGNED) and wait for a
 * verdict.  At error recovery level 0 each may have been executed, and ends: as soon as nothing can
 * be sent before the target has ended it (iscsi/fate.h).  Where the session was lost with its
 * connection that is at once, since the session sends nothing before its next nexus.
 */
#include <errno.h>
#include <inttypes.h>

#include "iscsi/fate.h"
#include "iscsi/internal.h"

/* Answers of a connection that was of use.  The look at a unit that has come back gets several
 * before a target that is of none can fall over. */
#define SERVED_MIN 16

#define FLIGHT_LOGGED      16 /* PDUs of a connection that are written to the log */
#define FLIGHT_LOGS_MAX    8  /* connections of a loop within that time, since many fail together */
#define FLIGHT_LOGS_WINDOW (60 * LOOP_NS_PER_S)

/* Control PDUs belong to their connection and end with it. */
static void
end_control(struct conn *c, struct task *t)
{
    struct session *s = c->session;

    if (t->kind == TASK_TMF)
        iscsi_tmf_lost(s, t);
    if (t->kind == TASK_CLEAR)
        iscsi_clear_lost(s, t);
    if (t->kind == TASK_REASSIGN)
        iscsi_reassign_lost(s, t);
    iscsi_again_lost(s, t);
    iscsi_complete_task(t);
}

/* The request has a CmdSN of its own that the target may not have got.  Nothing but the same
 * request could fill that gap.  A NOP-Out of ours that has one was to fill a gap, and another one
 * can; a SNACK has none. */
static bool
leaves_gap(const struct session *s, const struct task *t)
{
    return t->kind != TASK_SCSI && t->kind != TASK_PING && t->kind != TASK_SNACK &&
           (t->ctl.h.opcode & ISCSI_OP_IMMEDIATE) == 0 && sn_gte(t->pub.cmd_sn, s->win.exp_cmdsn);
}

/* Ends the tasks that are with the transport, whether they are still being sent or wait for an
 * answer. */
static void
end_running(struct conn *c)
{
    struct session *s = c->session;
    bool gap = false, stuck = false;

    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        struct task *t = iscsi_task_at(s, slot);

        if (t->pub.state != ISCSI_TASK_RUNNING || t->pub.conn != &c->pub)
            continue;
        gap |= leaves_gap(s, t);
        if (t->kind != TASK_SCSI) {
            end_control(c, t);
            continue;
        }
        iscsi_unassign_task(t);
        stuck |= t->unheard >= ISCSI_UNHEARD_MAX;
    }
    if (stuck && s->state == ISCSI_STATE_LOGGED_IN)
        iscsi_session_failure(s, ISCSI_ERR_ASYNC,
                              "a command is not acknowledged, however many connections it costs");
    if (gap)
        iscsi_session_failure(s, ISCSI_ERR_LOCAL,
                              "a request of the control plane was lost with its number");
}

/* Ends the control PDUs that wait to be sent: no target has seen them. */
static void
end_pending_control(struct conn *c)
{
    while (!list_empty(&c->mgmtqueue))
        end_control(c, to_task(container_of(c->mgmtqueue.next, struct iscsi_task, node)));
}

/* The session is lost: ends the commands that wait to be sent, or sent again. */
static void
end_pending_commands(struct session *s)
{
    bool goes_on = s->state == ISCSI_STATE_BLOCKED;

    list_splice(&s->cmdqueue, &s->reissue);
    while (!list_empty(&s->cmdqueue)) {
        struct task *t = to_task(container_of(s->cmdqueue.next, struct iscsi_task, node));

        assert(t->kind == TASK_SCSI && t->pub.state == ISCSI_TASK_PENDING);
        s->win.queued -= !t->numbered;
        iscsi_set_unfinished(t->pub.sc, goes_on ? DID_REQUEUE : DID_NO_CONNECT);
        iscsi_complete_task(t);
    }
}

static struct fate_facts
fate_facts_of(const struct session *s, const struct task *t)
{
    bool up = s->state == ISCSI_STATE_LOGGED_IN;

    return (struct fate_facts){
        .nexus_serves = up,
        .reinstated = up && t->old_nexus,
        .conn_reinstated = t->conn_is_back,
        .logged_out = t->conn_logged_out,
        .erl = (uint8_t)s->pub.params.erl,
        .lost_ns = s->pub.loop->now_ns - t->lost_ns,
        .time2wait_s = t->time2wait_s,
        .time2retain_s = t->time2retain_s,
    };
}

/* The first command without a connection that may end now; NULL: there is none, and the timer runs
 * for the next that a time limit ends. */
static struct task *
next_to_end(struct session *s)
{
    uint64_t next = UINT64_MAX;

    LIST_FOREACH (n, &s->unassigned) {
        struct task *t = to_task(container_of(n, struct iscsi_task, node));
        struct fate_facts f = fate_facts_of(s, t);

        if (f.nexus_serves && !t->old_nexus && iscsi_task_unacknowledged(s, t))
            continue; /* it goes again, so that its number is not missing: clear.c */
        if (f.nexus_serves && t->reassign == REASSIGN_ASKED && !t->conn_logged_out)
            continue; /* the answer says */
        if (iscsi_fate(&f) != FATE_MAY_RUN)
            return t;
        if (iscsi_fate_limit_ns(&f) - f.lost_ns < next)
            next = iscsi_fate_limit_ns(&f) - f.lost_ns;
    }
    if (next != UINT64_MAX)
        loop_timer_start(s->pub.loop, &s->fate_timer, next);
    return NULL;
}

/* Ends the commands without a connection, which is the verdict of level 0 on them, as far as they
 * may end. */
static void
end_unassigned(struct session *s)
{
    struct task *t;

    while ((t = next_to_end(s)) != NULL) { /* whoever is told may do anything */
        iscsi_set_unfinished(t->pub.sc, DID_TRANSPORT_DISRUPTED);
        iscsi_complete_unassigned(t);
    }
}

static void
fate_timer(struct loop_timer *t)
{
    end_unassigned(container_of(t, struct session, fate_timer));
}

void
iscsi_conn_is_back(const struct conn *c)
{
    struct session *s = c->session;

    LIST_FOREACH (n, &s->unassigned) {
        struct task *t = to_task(container_of(n, struct iscsi_task, node));

        if (t->lost_cid != c->pub.cid)
            continue;
        t->conn_is_back = true;
        if (iscsi_reassigns(s)) { /* the target keeps it from now on as long as was agreed on */
            t->lost_ns = s->pub.loop->now_ns;
            t->time2wait_s = (uint16_t)s->pub.params.time2wait_s;
            t->time2retain_s = (uint16_t)s->pub.params.time2retain_s;
        }
    }
    iscsi_conn_cleared(s, c, c->pub.cid, false);
    end_unassigned(s);
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
    assert(c->running == 0);
    end_unassigned(s);
    iscsi_conn_event(c, EV_CLEANED);
    iscsi_clear_conn(c);
    s->ev->conn_down(s->ev_user, &c->pub);
    if (c->report) {
        struct dp_conn_loss loss = {.err = c->err,
                                    .time2wait_s = iscsi_time2wait(c),
                                    .time2retain_s = iscsi_time2retain(c),
                                    .served = c->started &&
                                              c->pub.exp_statsn - c->unserved_sn >= SERVED_MIN,
                                    .why = c->why};

        c->report = false;
        s->ev->conn_error(s->ev_user, &c->pub, &loss);
    }
    if (c->dying || s->dying)
        iscsi_session_maybe_free(s);
}

void
iscsi_conn_stopped(struct iscsi_conn *pub)
{
    conn_stopped(to_conn(pub));
}

/* The session's last connection that was of use has ended: what there is beside it cannot go on. */
static void
iscsi_end_nexus(struct session *s, struct conn *lead, bool recover)
{
    if (recover)
        iscsi_session_lost(s, &lead->why);
    else
        iscsi_session_fail(s, &lead->why);
    iscsi_clear_none(s);
    end_unassigned(s); /* those of connections that ended before */
    end_pending_commands(s);
    iscsi_tmf_fail_all(s);
    LIST_FOREACH (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if (c == lead && c->stopping)
            continue;
        iscsi_conn_failure(&c->pub, ISCSI_ERR_LOCAL,
                           "the last connection of the session that served it has ended");
        if (c->state == CONN_FREE && !c->down && !c->stopping)
            loop_defer(s->pub.loop, &c->fail_work); /* it was logged out */
    }
}

/* The session is adrift, or is not any more; the time of commands stands still meanwhile, as
 * nothing can be done for them. */
static void
tell_adrift(struct session *s, bool adrift)
{
    if (s->adrift == adrift)
        return;
    s->adrift = adrift;
    if (!adrift)
        loop_timer_stop(s->pub.loop, &s->adrift_timer);
    if (s->host.ev != NULL && s->host.ev->clock != NULL)
        s->host.ev->clock(s->host.ev_user, !adrift);
}

/* The session's last connection is lost at level 2.  Its state stays, commands that come wait, and
 * whoever logs in to it in time goes on with its tasks (RFC 7143 7.1.4.3, 7.5). */
static void
set_adrift(struct conn *c)
{
    struct session *s = c->session;
    uint64_t keeps_s = (uint64_t)iscsi_time2wait(c) + iscsi_time2retain(c);

    if (s->recovery_tmo_s > 0 && keeps_s > (uint32_t)s->recovery_tmo_s)
        keeps_s = (uint32_t)s->recovery_tmo_s;
    loop_timer_start(s->pub.loop, &s->adrift_timer, keeps_s * LOOP_NS_PER_S);
    tell_adrift(s, true);
    log_line(s->pub.loop->log, LOG_LEVEL_INFO,
             "%s: the last connection is lost; the target keeps the tasks, and they wait for %u s",
             s->host.name, (unsigned)keeps_s);
}

void
iscsi_adrift_ended(struct conn *c)
{
    struct session *s = c->session;

    assert(s->adrift && s->state == ISCSI_STATE_LOGGED_IN);
    tell_adrift(s, false);
    s->leadconn = c;
    iscsi_count_serving(s);
    if (s->want_restart)
        iscsi_want_restart(s);
    loop_defer(s->pub.loop, &s->eh_work); /* task management that has waited */
    loop_defer(s->pub.loop, &s->reassign_work);
}

void
iscsi_adrift_over(struct session *s)
{
    struct conn *lead = s->leadconn;

    assert(s->adrift && lead != NULL);
    tell_adrift(s, false);
    if (lead->why.code == 0) /* it was about to log in */
        (void)lunette_fail(&lead->why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                           "the connection was lost, and none came in its place in time");
    iscsi_end_nexus(s, lead, true);
}

static void
adrift_timer(struct loop_timer *t)
{
    iscsi_adrift_over(container_of(t, struct session, adrift_timer));
}

void
iscsi_recovery_init(struct session *s)
{
    list_init(&s->unassigned);
    loop_timer_init(&s->fate_timer, fate_timer);
    loop_timer_init(&s->adrift_timer, adrift_timer);
}

/* A connection that was lost last is no longer wanted, such as one whose login was given up as it
 * came to its end: another one that was lost may come back. */
static void
leave_adrift(struct conn *c)
{
    struct session *s = c->session;

    LIST_FOREACH (n, &s->conns) {
        struct conn *other = container_of(n, struct conn, node);

        if (other->down && !other->dying && other->clear != CLEAR_CARRIED) {
            s->leadconn = other;
            return;
        }
    }
    iscsi_adrift_over(s);
}

/* No other connection leads. */
static void
last_lost(struct conn *c, enum iscsi_stop how)
{
    struct session *s = c->session;
    bool recover = how == STOP_CONN_RECOVER;

    /* A login that was given up may have brought the session back: whoever gave it up logs in
     * again. */
    if (c->dying && !s->dying && iscsi_reassigns(s) && s->state == ISCSI_STATE_LOGGED_IN)
        recover = true;
    if (s->adrift && recover) { /* it was about to log in */
        if (c->dying)
            leave_adrift(c);
        return;
    }
    if (!s->adrift && recover && iscsi_may_drift(c)) {
        set_adrift(c);
        return;
    }
    tell_adrift(s, false);
    iscsi_end_nexus(s, c, recover);
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
    loop_timer_stop(c->pub.loop, &c->leave_timer);
    loop_timer_stop(c->pub.loop, &c->snack_timer);
    c->leave_hold = false;
    if (c->state != CONN_FREE) /* FREE: logged out in order, but tasks may be left */
        iscsi_conn_event(c, EV_FAILED);
    c->stopping = true;
    iscsi_count_serving(s);
    if (c == s->leadconn && (s->state != ISCSI_STATE_LOGGED_IN || !iscsi_pass_lead_on(s)))
        last_lost(c, how);
    iscsi_xmit_wanted(s);   /* of what has waited for its room */
    end_pending_control(c); /* the transport never had them */
    TRACE(c->pub.loop, stop_conn, s->pub.sid, c->pub.cid);
    if (c->pub.tt->stop_conn(&c->pub, how) != -EINPROGRESS)
        conn_stopped(c);
}

/* Why the connection ends, where it has not failed. */
static void
set_why(struct conn *c)
{
    if (c->why.code != 0)
        return;
    (void)lunette_fail(&c->why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                       c->logged_out ? "the session was logged out" : "the session was closed");
}

/* A peer that has broken a rule or does not answer is looked into; one that is gone is mostly just
 * gone. */
static enum log_level
flight_level(enum iscsi_err err)
{
    return err == ISCSI_ERR_CONN_CLOSED || err == ISCSI_ERR_ASYNC || err == ISCSI_ERR_LOCAL ||
                   err == ISCSI_ERR_MEMORY
               ? LOG_LEVEL_INFO
               : LOG_LEVEL_WARN;
}

/* Writes the last PDUs of the connection to the log, where the log wants them. */
static void
log_flight(struct conn *c)
{
    struct loop *l = c->pub.loop;
    enum log_level level = flight_level(c->err);
    struct flight_pdu pdus[FLIGHT_LOGGED];
    char text[FLIGHT_TEXT_MAX];
    unsigned n, unsaid = 0;

    if (l->log == NULL || l->log->sink == NULL || level > l->log->level)
        return;
    n = iscsi_conn_flight(&c->pub, pdus, FLIGHT_LOGGED);
    if (n == 0 ||
        !log_limit_ok(&l->flights, l->now_ns, FLIGHT_LOGS_WINDOW, FLIGHT_LOGS_MAX, &unsaid))
        return;
    if (unsaid > 0)
        log_line(l->log, level, "%u further connections failed, whose last PDUs are not shown",
                 unsaid);
    for (unsigned i = 0; i < n; i++) {
        uint64_t us = (l->now_ns - pdus[i].ns) / 1000;

        flight_text(&pdus[i].hdr, text);
        log_line(l->log, level, "%s: connection %u: -%" PRIu64 ".%03u ms %c %s",
                 c->session->host.name, c->pub.cid, us / 1000, (unsigned)(us % 1000),
                 pdus[i].tx ? '>' : '<', text);
    }
}

void
iscsi_fail_work(struct loop_work *w)
{
    struct conn *c = container_of(w, struct conn, fail_work);

    /* FREE: logged out in order.  Where nobody has stopped it since, and the session goes on, so
     * that its state tells nobody, whoever looks after the connection does not know. */
    c->report = c->state != CONN_FREE || c->session->nserving > 0;
    set_why(c);
    if (c->report)
        log_flight(c);
    take_down(c, STOP_CONN_RECOVER);
}

void
iscsi_conn_stop(struct iscsi_conn *pub, enum iscsi_stop how)
{
    struct conn *c = to_conn(pub);
    struct session *s = c->session;

    if (!c->down && !c->stopping) {
        set_why(c);
        take_down(c, how);
    } else if (how == STOP_CONN_TERM && c == s->leadconn && s->adrift && c->dying) {
        leave_adrift(c);
    } else if (how == STOP_CONN_TERM && c == s->leadconn && s->adrift) {
        iscsi_adrift_over(s);
        iscsi_session_fail(s, &c->why);
    } else if (how == STOP_CONN_TERM && c == s->leadconn && !c->dying &&
               s->state == ISCSI_STATE_BLOCKED) {
        iscsi_session_fail(s, &c->why); /* nobody will log in again */
    }
}
