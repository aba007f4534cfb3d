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
