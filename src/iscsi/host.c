/* SPDX-License-Identifier: MIT */
/* iscsi/host.c - the session as the SCSI midlayer sees it (seam/host.h). */
#include "iscsi/internal.h"

static void
iscsi_commit(struct scsi_host *h)
{
    struct session *s = container_of(h, struct session, host);

    LIST_FOREACH (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if (__builtin_expect(c->pub.flight == NULL, 0) && !c->down)
            iscsi_flight_need(c);
    }
    if (!list_empty(&s->cmdqueue))
        iscsi_xmit_queued(s);
    LIST_FOREACH (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if (c->unflushed)
            iscsi_round_over(c);
        else if (c->pub.gather.next != NULL)
            iscsi_flush(c);
    }
    if (__builtin_expect(s->nserving > 1, 0) && s->fast_conn != NULL)
        iscsi_next_fast(s);
}

/* The same where a command that is timed is to be told of when it has been sent: the session has
 * this commit until then, so that the other one need not look. */
static void
iscsi_commit_watched(struct scsi_host *h)
{
    struct session *s = container_of(h, struct session, host);
    bool waits = false;

    iscsi_commit(h);
    LIST_FOREACH (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if (c->pub.sending != NULL)
            iscsi_watch_sent(c);
        waits |= c->pub.sending != NULL;
    }
    if (!waits)
        h->ops = iscsi_host_ops_of(h->loop, false);
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
        (t->pub.conn != NULL ? iscsi_conn_leaving(to_conn(t->pub.conn)) : s->nserving == 0))
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
    h->ops = iscsi_host_ops_of(h->loop, true);
}

/* The operations of a session.  One whose loop has a trace ring, which it has from its beginning or
 * not at all, gets a queuecommand that records, so that the fast path need not ask for the ring. */
#define HOST_OPS(queue, commit_)                                                                   \
    {                                                                                              \
        .queuecommand = (queue), .commit = (commit_), .eh_timed_out = iscsi_eh_cmd_timed_out,      \
        .eh_abort = iscsi_eh_abort, .eh_device_reset = iscsi_eh_device_reset,                      \
        .eh_clear_aca = iscsi_eh_clear_aca, .eh_target_reset = iscsi_eh_target_reset,              \
        .eh_session_reset = iscsi_eh_session_reset, .eh_query = iscsi_eh_query,                    \
        .watch = iscsi_host_watch,                                                                 \
    }
const struct scsi_host_ops *
iscsi_host_ops_of(const struct loop *l, bool watched)
{
    static const struct scsi_host_ops ops[2][2] = {
        {HOST_OPS(iscsi_queuecommand, iscsi_commit),
         HOST_OPS(iscsi_queuecommand, iscsi_commit_watched)},
        {HOST_OPS(iscsi_queuecommand_traced, iscsi_commit),
         HOST_OPS(iscsi_queuecommand_traced, iscsi_commit_watched)},
    };

    return &ops[l->trace != NULL][watched];
}
