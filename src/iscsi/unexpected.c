/* SPDX-License-Identifier: MIT */
/* iscsi/unexpected.c - requests that the target has not asked for and whose number no window
 * bounds: over iSER each takes a receive that the target has to have posted, and it may have
 * declared how many of them it can have (RFC 7145 6.7, MaxOutstandingUnexpectedPDUs).
 *
 * Those are immediate requests, each outstanding until it is answered, and a NOP-Out that nobody
 * answers.  An answer to a ping of the target is none of them, since the target waits for it.
 * Nothing but tasks is counted: every one of ours stays in the table until its answer comes or its
 * connection ends.
 */
#include "iscsi/internal.h"
#include "wire/pdu.h"
#include "wire/sn.h"

/* A NOP-Out that neither asks nor answers. */
static bool
is_mute(const struct task *t)
{
    return t->kind == TASK_NOP_REPLY && get32(t->ctl.nop_out.ttt) == ISCSI_TAG_RSVD;
}

static bool
is_unexpected(const struct task *t)
{
    switch (t->kind) {
    case TASK_PING:
    case TASK_TMF:
    case TASK_USER:
    case TASK_CLEAR:
    case TASK_REASSIGN:
        return (t->ctl.h.opcode & ISCSI_OP_IMMEDIATE) != 0;
    case TASK_NOP_REPLY:
        return is_mute(t);
    case TASK_SCSI:
    case TASK_SNACK: /* there is none over iSER */
        break;
    }
    return false;
}

/* A NOP-Out that nobody answers has been taken when the target has taken a command with the number
 * that was the next one then, as messages do not overtake each other. */
static void
forget_mutes(struct conn *c)
{
    if (c->mutes > 0 && sn_lt(c->mute_cmdsn, c->session->win.exp_cmdsn))
        c->mutes = c->mutes_asked = 0;
}

/* How many are outstanding, but for the ping. */
static uint32_t
count_unexpected(struct conn *c)
{
    struct session *s = c->session;
    uint32_t n;

    forget_mutes(c);
    n = c->mutes;
    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        const struct task *t = iscsi_task_at(s, slot);

        n += t->pub.state == ISCSI_TASK_RUNNING && t->pub.conn == &c->pub && t->kind != TASK_PING &&
             is_unexpected(t) && !is_mute(t) && !(t->kind == TASK_USER && t->answered);
    }
    return n;
}

/* One place is kept for our ping, of which there is one at a time: it tells whether the target
 * lives, and has its time whatever waits.  The least that a target declares is 2. */
bool
iscsi_unexpected_holds(struct conn *c, const struct task *t)
{
    if (c->max_unexpected == 0 || c->state == CONN_IN_LOGIN || t->kind == TASK_PING ||
        !is_unexpected(t) || count_unexpected(c) + 1 < c->max_unexpected)
        return false;
    c->unexpected_held = true;
    return true;
}

void
iscsi_unexpected_sent(struct conn *c, const struct task *t)
{
    if (is_mute(t)) {
        forget_mutes(c);
        c->mutes++;
        c->mute_cmdsn = t->pub.cmd_sn;
    } else if (t->kind == TASK_PING) {
        c->mutes_asked = c->mutes;
    }
}

/* The ping is sent by the timer of pings, which is not stopped here but comes at once. */
void
iscsi_unexpected_ask(struct conn *c)
{
    if (c->mutes == 0 || c->ping != NULL || iscsi_conn_leaving(c))
        return;
    c->mutes_ask = true;
    loop_timer_start(c->pub.loop, &c->transport_timer, 0);
}

void
iscsi_unexpected_over(struct conn *c, const struct task *t)
{
    if (t->kind == TASK_PING) { /* what was sent before it has been taken, too */
        c->mutes -= c->mutes_asked;
        c->mutes_asked = 0;
    }
    if (!c->unexpected_held || c->suspended)
        return;
    c->unexpected_held = false;
    iscsi_conn_queue_xmit(c);
}
