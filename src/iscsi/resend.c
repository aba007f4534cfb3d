/* SPDX-License-Identifier: MIT */
/* iscsi/resend.c - a command goes again on the connection that it has, with its number and its tag
 * (RFC 7143 7.2.1), from ErrorRecoveryLevel 1 on.
 *
 * The target has told that it threw the command away, since the data that came with it were broken
 * (7.8), or it has not acknowledged the number for long.  Nothing has been executed then, and the
 * number is missing, so that nothing behind it is.  A target that has the command ignores another
 * one with its number (4.2.2.1).
 */
#include "iscsi/internal.h"

#define RESENT_MAX 8
/* Until a ping asks; its answer tells whether the target has the command. */
#define UNACKED_MS 1000

/* The command whose number is the next that the target expects, if it is the connection's own and
 * nothing was heard of it for long. */
static struct task *
unacked_for_long(const struct conn *c)
{
    struct session *s = c->session;

    for (uint32_t i = 0; s->win.exp_cmdsn != s->win.cmdsn && i < s->pub.tasks.made; i++) {
        struct task *t = iscsi_task_at(s, i);

        if (t->pub.state == ISCSI_TASK_RUNNING && t->kind == TASK_SCSI && t->pub.conn == &c->pub &&
            t->pub.cmd_sn == s->win.exp_cmdsn && iscsi_task_unacknowledged(s, t) &&
            c->pub.loop->now_ns - t->pub.moved_ns >= UNACKED_MS * LOOP_NS_PER_MS)
            return t;
    }
    return NULL;
}

/* The ping that counts is one that was sent behind the command, and after it was found to be
 * missing: the target takes note of commands in the order in which they come. */
bool
iscsi_look_unacked(struct conn *c)
{
    struct task *t = c->session->pub.params.erl > 0 ? unacked_for_long(c) : NULL;
    uint32_t was = c->unacked_itt;

    c->unacked_itt = ISCSI_TAG_RSVD;
    if (t == NULL || t->resend)
        return false;
    if (c->ping == NULL || was == t->pub.itt)
        c->unacked_itt = t->pub.itt;
    if (c->ping != NULL || was != t->pub.itt)
        return true;
    c->unacked_itt = ISCSI_TAG_RSVD; /* the ping has been answered, and it says the same */
    if (!iscsi_resend(c, t))
        iscsi_conn_failure(&c->pub, ISCSI_ERR_PROTO,
                           "the target does not acknowledge a command, however often it is sent");
    return false;
}

bool
iscsi_resend(struct conn *c, struct task *t)
{
    assert(t->kind == TASK_SCSI && t->pub.state == ISCSI_TASK_RUNNING);
    if (t->resend)
        return true;
    if (t->resent >= RESENT_MAX)
        return false;
    t->resent++;
    t->resend = true;
    if (c->xmit_task == t) /* the rest of its data is of no use */
        c->xmit_task = NULL;
    list_del(&t->pub.node);
    t->cleaning = (t->started || t->xmit_fast) && c->pub.tt->cleanup_task(&t->pub) == -EINPROGRESS;
    t->started = t->xmit_fast = false;
    if (!t->cleaning)
        iscsi_requeue_task(&t->pub);
    return true;
}
