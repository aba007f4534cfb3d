/* SPDX-License-Identifier: MIT */
/* iscsi/host.c - the session as the SCSI midlayer sees it (seam/host.h). */
#include "iscsi/internal.h"

static void
iscsi_commit(struct scsi_host *h)
{
    struct session *s = container_of(h, struct session, host);

    LIST_FOREACH (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if (!list_empty(&c->cmdqueue))
            iscsi_xmitworker(c);
        else if (c->pub.gather.next != NULL)
            iscsi_flush(c);
    }
}

/* A command that has moved since the midlayer last asked is left alone, and so is one that is
 * ending, or whose session is not logged in or is being logged out: something else ends that. */
static enum scsi_timeout_action
iscsi_eh_cmd_timed_out(struct scsi_host *h, struct scsi_cmd *sc)
{
    struct session *s = container_of(h, struct session, host);
    struct task *t = sc->host_priv;
    bool moved;

    if (t == NULL || s->state != ISCSI_STATE_LOGGED_IN || iscsi_task_is_lost(t) ||
        iscsi_conn_leaving(to_conn(t->pub.conn)))
        return SCSI_TIMEOUT_RESET_TIMER; /* it is ending */
    moved = t->pub.moved_ns > t->asked_ns;
    t->asked_ns = s->pub.loop->now_ns;
    return moved ? SCSI_TIMEOUT_RESET_TIMER : SCSI_TIMEOUT_ABORT;
}

/* The command has been taken just now.  One that was refused, or that will come back without having
 * been sent, has no task; one that waits has its stage changed when it is sent. */
static void
iscsi_host_watch(struct scsi_host *h, struct scsi_cmd *sc)
{
    struct task *t = sc->host_priv;

    if (t == NULL)
        return;
    t->watched = true;
    if (t->pub.state != ISCSI_TASK_RUNNING)
        return;
    io_watch_enter(sc->watch, IO_STAGE_SEND, loop_clock(h->loop));
    io_watch_link(sc->watch, &t->pub.conn->sending);
}

/* The operations of a session.  One whose loop has a trace ring, which it has from its beginning or
 * not at all, gets a queuecommand that records, so that the fast path need not ask for the ring. */
#define HOST_OPS(queue)                                                                            \
    {                                                                                              \
        .queuecommand = (queue), .commit = iscsi_commit, .eh_timed_out = iscsi_eh_cmd_timed_out,   \
        .eh_abort = iscsi_eh_abort, .eh_device_reset = iscsi_eh_device_reset,                      \
        .eh_clear_aca = iscsi_eh_clear_aca, .eh_target_reset = iscsi_eh_target_reset,              \
        .eh_session_reset = iscsi_eh_session_reset, .watch = iscsi_host_watch,                     \
    }
const struct scsi_host_ops iscsi_host_ops = HOST_OPS(iscsi_queuecommand);
const struct scsi_host_ops iscsi_host_ops_traced = HOST_OPS(iscsi_queuecommand_traced);
