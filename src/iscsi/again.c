/* SPDX-License-Identifier: MIT */
/* iscsi/again.c - commands that are sent again with their number (RFC 7143 4.2.2.1, 7.2.1).
 *
 * A command that was sent on a connection which has been lost, and that the target had not
 * acknowledged when it let go of that connection, was discarded (11.14): nothing of it has been
 * executed, and its CmdSN is missing, so that the target executes nothing behind it.
 */
#include "iscsi/internal.h"

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
    t->numbered = true;
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

void
iscsi_conn_cleared(struct session *s, uint16_t cid, bool over)
{
    assert(s->state == ISCSI_STATE_LOGGED_IN);
    LIST_FOREACH_SAFE (n, &s->unassigned) {
        struct task *t = to_task(container_of(n, struct iscsi_task, node));

        if (t->old_nexus || t->lost_cid != cid)
            continue;
        t->discarded = iscsi_task_unacknowledged(s, t);
        if (!t->discarded && iscsi_reassigns(s))
            reassign_due(s, t);
        else if (!t->discarded)
            t->conn_logged_out |= over;
        else if (!t->cleaning)
            send_again(s, t);
    }
    loop_timer_start(s->pub.loop, &s->fate_timer, 0);
    iscsi_xmit_wanted(s);
}

void
iscsi_task_again(struct session *s, struct task *t)
{
    if (s->state != ISCSI_STATE_LOGGED_IN || t->old_nexus)
        return;
    send_again(s, t);
    iscsi_xmit_wanted(s);
}
