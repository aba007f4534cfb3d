/* SPDX-License-Identifier: MIT */
/* iscsi/again.c - commands that are sent again with their number (RFC 7143 4.2.2.1, 7.2.1).
 *
 * A command that was sent on a connection which has been lost, and that the target had not
 * acknowledged when it let go of that connection, was discarded (11.14): nothing of it has been
 * executed.  Its CmdSN should be missing.  But targets that had received it out of order count it
 * as received (LIO does), and ignore what comes with that number (4.2.2.1).  So a command goes
 * again as soon as the target is seen to wait for its number, and with it those that followed it on
 * its connection, since the target has received nothing behind it.  Till then another number is
 * missing, which is on its way, or goes again itself; where ExpCmdSN then moves past a command that
 * had not gone again, that command is like one that was acknowledged before.
 *
 * What is told once is not enough to see it.  LIO answers a Logout before it ends the connection,
 * which may take one more command in until then; and while it works off numbers that it counts, it
 * tells of each.  A command that then goes again is ignored, and waits for its time limit.  So the
 * target is asked by a ping, behind the answer that has cleared the connection: LIO sends nothing
 * on that connection before the other one has ended.  It waits for the number if it says so again.
 *
 * The number that it waits for may be nobody's: its command was aborted before it was acknowledged,
 * and what the target knew of that went with a connection.  Where commands wait for their numbers
 * behind it, a NOP-Out takes it at once.
 */
#include "iscsi/internal.h"

/* For the answer; without one, once has to be enough. */
#define AGAIN_LIMIT_NS (5 * LOOP_NS_PER_S)

/* It waits as a command does that was never sent, but it has its number. */
static void
send_again(struct session *s, struct task *t)
{
    struct list *after = s->reissue.prev;

    assert(t->pub.state == ISCSI_TASK_UNASSIGNED && t->pub.conn == NULL && !t->cleaning);
    while (after != &s->reissue &&
           sn_gt(to_task(container_of(after, struct iscsi_task, node))->pub.cmd_sn, t->pub.cmd_sn))
        after = after->prev;
    list_del(&t->pub.node);
    list_push_front(after, &t->pub.node);
    t->pub.state = ISCSI_TASK_PENDING;
    t->pub.unsol = (struct iscsi_unsolicited){0};
    t->pub.imm_count = t->pub.out_done = 0;
    t->started = t->xmit_fast = t->discarded = false;
    t->numbered = t->went_again = true;
    s->fast_conn = NULL;
}

/* The target keeps the task (RFC 7143 11.14, reason 2), and lets it go on where we say.  A command
 * that moves data both ways, whose R2Ts and Data-Ins are counted together, ends with the time that
 * the target keeps it. */
static void
reassign_due(struct session *s, struct task *t)
{
    if (t->reassign != REASSIGN_NONE || (t->pub.sc->in.len > 0 && t->pub.sc->out.len > 0))
        return; /* it is about to be, and its CID has logged in again */
    t->reassign = REASSIGN_DUE;
    loop_defer(s->pub.loop, &s->reassign_work);
}

/* The target has the command's number, and its connection is no more.  Where that was logged out
 * for good, nothing of the command is executed any more. */
static void
acknowledged(struct session *s, struct task *t)
{
    if (iscsi_reassigns(s) && !t->conn_logged_out)
        reassign_due(s, t);
}

/* The command that the target waits for, of those whose connection has been cleared; NULL: it waits
 * for another number. */
static const struct task *
waited_for(const struct session *s)
{
    LIST_FOREACH (n, &s->unassigned) {
        const struct task *t = to_task(container_of(n, struct iscsi_task, node));

        if (t->unsure && t->pub.cmd_sn == s->win.exp_cmdsn)
            return t;
    }
    return NULL;
}

/* As the target has not received first, it has not received what came behind it. */
static bool
came_behind(const struct task *t, const struct task *first)
{
    return t == first ||
           (sn_gt(t->pub.cmd_sn, first->pub.cmd_sn) && !first->went_again && !t->went_again &&
            t->lost_cid == first->lost_cid && t->lost_ns == first->lost_ns);
}

/* The target has said it again, or is not going to. */
static bool
said_again(const struct session *s)
{
    return s->again_known && s->again_sn == s->win.exp_cmdsn;
}

/* Has the target asked what number it waits for, unless it is about to say so. */
static void
again_ask(struct session *s)
{
    if (s->again_ping != NULL || loop_timer_running(&s->again_timer))
        return;
    s->again_sn = s->win.exp_cmdsn;
    s->again_known = false;
    loop_timer_start(s->pub.loop, &s->again_timer, AGAIN_LIMIT_NS);
    loop_defer(s->pub.loop, &s->ask_work);
}

/* Some request that is under way has that number, or is to go again with it. */
static bool
somebody_has(const struct session *s, uint32_t cmd_sn)
{
    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        const struct task *t = iscsi_task_at(s, slot);
        bool there = t->pub.state == ISCSI_TASK_RUNNING || t->pub.state == ISCSI_TASK_UNASSIGNED ||
                     (t->pub.state == ISCSI_TASK_PENDING && t->numbered);

        if (there && t->pub.cmd_sn == cmd_sn && !t->old_nexus &&
            (t->kind == TASK_SCSI || (t->ctl.h.opcode & ISCSI_OP_IMMEDIATE) == 0))
            return true;
    }
    return false;
}

bool
iscsi_has_gap(const struct session *s)
{
    return s->state == ISCSI_STATE_LOGGED_IN && s->win.exp_cmdsn != s->win.cmdsn &&
           !somebody_has(s, s->win.exp_cmdsn);
}

/* Commands wait until the target comes to their numbers, and it waits for one that nobody has. */
static bool
held_by_gap(const struct session *s)
{
    LIST_FOREACH (n, &s->unassigned) {
        if (to_task(container_of(n, struct iscsi_task, node))->unsure)
            return iscsi_has_gap(s);
    }
    return false;
}

/* Decides on those of which that is possible by now. */
static void
decide(struct session *s)
{
    const struct task *first = waited_for(s);
    bool gap = first == NULL && held_by_gap(s);

    if ((first != NULL || gap) && !said_again(s)) {
        again_ask(s);
        first = NULL;
        gap = false;
    }
    if (gap)
        loop_defer(s->pub.loop, &s->ask_work);
    s->unsure = false;
    LIST_FOREACH (n, &s->unassigned) {
        struct task *t = to_task(container_of(n, struct iscsi_task, node));

        if (!t->unsure)
            continue;
        t->discarded = first != NULL && came_behind(t, first);
        t->unsure = !t->discarded && iscsi_task_unacknowledged(s, t);
        s->unsure |= t->unsure;
        if (!t->discarded && !t->unsure)
            acknowledged(s, t);
    }
    LIST_FOREACH_SAFE (n, &s->unassigned) {
        struct task *t = to_task(container_of(n, struct iscsi_task, node));

        if (t->discarded && !t->cleaning)
            send_again(s, t);
    }
    LIST_FOREACH (n, &s->conns) {
        if (s->unsure) /* the fast path does not look at ExpCmdSN */
            iscsi_leave_fast(container_of(n, struct conn, node));
    }
    loop_timer_start(s->pub.loop, &s->fate_timer, 0);
    iscsi_xmit_wanted(s);
}

static void
again_work(struct loop_work *w)
{
    struct session *s = container_of(w, struct session, again_work);

    if (s->state == ISCSI_STATE_LOGGED_IN)
        decide(s);
}

/* What is asked from here on is asked anew. */
static void
forget_answer(struct session *s)
{
    s->again_ping = NULL;
    s->again_known = false;
    loop_timer_stop(s->pub.loop, &s->again_timer);
}

void
iscsi_again_told(struct session *s, const struct task *ping)
{
    if (ping != s->again_ping)
        return;
    forget_answer(s);
    s->again_known = true;
    loop_defer(s->pub.loop, &s->again_work);
}

void
iscsi_again_lost(struct session *s, const struct task *ping)
{
    bool filler = ping->kind == TASK_PING && (ping->ctl.h.opcode & ISCSI_OP_IMMEDIATE) == 0;

    if (ping == s->again_ping)
        forget_answer(s);
    else if (!filler)
        return;
    loop_defer(s->pub.loop, &s->again_work);
}

static void
again_timer(struct loop_timer *t)
{
    struct session *s = container_of(t, struct session, again_timer);

    forget_answer(s);
    s->again_known = true;
    loop_defer(s->pub.loop, &s->again_work);
}

void
iscsi_conn_cleared(struct session *s, const struct conn *via, uint16_t cid, bool over)
{
    assert(s->state == ISCSI_STATE_LOGGED_IN);
    forget_answer(s);
    s->again_cid = via->pub.cid;
    LIST_FOREACH (n, &s->unassigned) {
        struct task *t = to_task(container_of(n, struct iscsi_task, node));
        bool unknown = iscsi_task_unacknowledged(s, t);

        if (t->old_nexus || t->lost_cid != cid || (t->discarded && unknown))
            continue;
        t->discarded = false;
        t->unsure = unknown;
        t->conn_logged_out |= over;
        if (!unknown)
            acknowledged(s, t);
    }
    decide(s);
}

void
iscsi_again_init(struct session *s)
{
    loop_work_init(&s->again_work, again_work);
    loop_timer_init(&s->again_timer, again_timer);
}

void
iscsi_task_again(struct session *s, struct task *t)
{
    if (s->state != ISCSI_STATE_LOGGED_IN || t->old_nexus)
        return;
    send_again(s, t);
    iscsi_xmit_wanted(s);
}
