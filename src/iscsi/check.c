/* SPDX-License-Identifier: MIT */
/* iscsi/check.c - for tests: what is true of a session whenever its loop has nothing to do at once.
 *
 * None of this depends on what a target sends: a check that fails is a fault of ours.
 */
#include <assert.h>

#include "iscsi/internal.h"
#include "iscsi/mend.h"
#include "wire/sn.h"

/* What the tasks of a session come to. */
struct check_count {
    uint32_t free, scsi, unassigned, awaited, pending_scsi, numbered, reset, swept;
};

static uint32_t
check_length(const struct list *l)
{
    uint32_t n = 0;

    LIST_FOREACH (at, l)
        n++;
    return n;
}

static void
check_command(const struct session *s, const struct task *t)
{
    const struct scsi_cmd *sc = t->pub.sc;

    assert(sc != NULL && sc->host_priv == t); /* so no two tasks have one command */
    assert(t->mended == (t->mend != NULL));
    assert(t->mend == NULL || (t->mend->task == t && t->pub.state == ISCSI_TASK_RUNNING));
    assert((t->pub.in_done == ISCSI_IN_PIECES) == (t->mended && sc->in.len > 0));
    assert(t->eh == NULL || (t->marked && t->eh->sc == sc));
    assert(!(t->reset || t->swept || t->pub.quiet) || t->marked);
    assert(!(t->told || t->covered || t->owes) || t->pub.quiet);
    assert(!t->resend || t->pub.state == ISCSI_TASK_RUNNING ||
           (t->pub.state == ISCSI_TASK_COMPLETED && t->cleaning));
    if (t->pub.state != ISCSI_TASK_RUNNING || t->old_nexus)
        return;
    assert(sn_lt(t->pub.cmd_sn, s->win.cmdsn)); /* a number is used once */
}

/* Where a task is, it has what belongs there. */
static void
check_place(const struct task *t)
{
    const struct conn *c = t->pub.conn != NULL ? to_conn(t->pub.conn) : NULL;

    assert((t->pub.itt & (ITT_GEN_STEP - 1)) == t->slot && t->pub.itt < ITT_GEN_LIMIT);
    switch (t->pub.state) {
    case ISCSI_TASK_PENDING:
        assert((c == NULL) == (t->kind == TASK_SCSI) && !list_empty(&t->pub.node));
        assert(!t->cleaning && (c == NULL || !c->down));
        break;
    case ISCSI_TASK_RUNNING:
        assert(c != NULL && !c->down);
        assert(!t->cleaning || t->resend || (t->kind == TASK_USER && t->answered));
        break;
    case ISCSI_TASK_COMPLETED: /* else it would be free */
        assert(t->cleaning && list_empty(&t->pub.node));
        break;
    case ISCSI_TASK_UNASSIGNED:
        assert(t->kind == TASK_SCSI && !list_empty(&t->pub.node));
        assert((c == NULL) == !t->cleaning);
        break;
    case ISCSI_TASK_FREE:
        assert(!t->cleaning && list_empty(&t->pub.node));
        break;
    }
}

/* The connection of that number logs in again: its login, or the end of it, decides. */
static bool
logs_in(const struct session *s, uint16_t cid)
{
    LIST_FOREACH (n, &s->conns) {
        const struct conn *c = container_of(n, struct conn, node);

        if (c->pub.cid == cid && c->state == CONN_IN_LOGIN)
            return true;
    }
    return false;
}

static struct check_count
check_tasks(const struct session *s)
{
    struct check_count n = {0};

    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        const struct task *t = iscsi_task_at(s, slot);
        bool command = t->pub.state != ISCSI_TASK_FREE && t->kind == TASK_SCSI;

        assert(t->slot == slot && t->session == s);
        check_place(t);
        n.free += t->pub.state == ISCSI_TASK_FREE;
        if (!command)
            continue;
        check_command(s, t);
        n.scsi++;
        n.unassigned += t->pub.state == ISCSI_TASK_UNASSIGNED;
        n.pending_scsi += t->pub.state == ISCSI_TASK_PENDING && !t->numbered;
        n.awaited +=
            t->pub.state == ISCSI_TASK_UNASSIGNED &&
            (t->discarded || t->unsure || logs_in(s, t->lost_cid) || t->reassign == REASSIGN_ASKED);
        n.numbered += t->numbered;
        n.reset += t->reset;
        n.swept += t->swept;
    }
    return n;
}

static void
check_counts(const struct session *s, const struct check_count *n)
{
    uint32_t stacked = 0;

    for (const struct task *t = s->free_tasks; t != NULL; t = t->next_free) {
        assert(t->pub.state == ISCSI_TASK_FREE && stacked < s->pub.tasks.made);
        stacked++;
    }
    assert(stacked == n->free);
    assert(s->outstanding == n->scsi && s->outstanding <= s->pub.cmds_max);
    assert(check_length(&s->unassigned) == n->unassigned);
    assert(s->win.queued == n->pending_scsi);
    assert(check_length(&s->cmdqueue) == n->pending_scsi);
    assert(check_length(&s->reissue) == n->numbered);
    assert(s->reset_left == n->reset);
    assert(s->eh_detained == 0 || (s->eh_now != NULL && s->tmf == NULL));
    assert(s->eh_detained == 0 || s->eh_detained == n->swept);
    /* The next number is in the window, or right behind it, where the window is closed. */
    assert(sn_lte(s->win.cmdsn, s->win.max_cmdsn + 1));
}

static void
check_conn(const struct conn *c)
{
    const struct session *s = c->session;

    assert(!c->rx_fast || iscsi_rx_fast_ok(c));
    assert(!c->suspended || c->pub.failed || c->down);
    assert(!c->failing || c->suspended);
    assert(!(c->stopping && c->down));
    assert(!c->down || c->suspended);
    assert(!c->stopping || (c->suspended && list_empty(&c->mgmtqueue)));
    assert(!c->leave_hold || c->state == CONN_LOGOUT_REQUESTED);
    /* Nothing is acknowledged that has not come. */
    assert(c->statsn.no_gap || !c->statsn.known || c->pub.exp_statsn == c->statsn.good);
    if (c->down) {
        assert(list_empty(&c->mends));
        assert(c->state == CONN_FREE || c->state == CONN_XPT_WAIT);
        assert(list_empty(&c->mgmtqueue) && list_empty(&c->requeue) && c->running == 0);
        assert(c->xmit_task == NULL && c->ping == NULL && !c->failing);
        assert(!loop_timer_running(&c->leave_timer));
    }
    if (s->state == ISCSI_STATE_LOGGED_IN && c != s->leadconn)
        assert(c->down || c->stopping || s->leadconn != NULL);
    assert((c->clear == CLEAR_NONE) == list_empty(&c->clear_node));
    /* A leading connection that fails takes the state with it at once, and the rest in a moment. */
    assert(c->clear == CLEAR_NONE || (c->down && (s->state == ISCSI_STATE_LOGGED_IN ||
                                                  (s->leadconn != NULL && s->leadconn->failing))));
    assert(c->clear != CLEAR_ASKED || (s->clear_task != NULL && s->clear_conn == c));
    assert(c->clear != CLEAR_CARRIED || c->clear_via->carrier);
}

/* The session is what its host and its connections say. */
static void
check_state(const struct session *s, const struct check_count *n)
{
    const struct conn *lead = s->leadconn;
    bool told = lead == NULL || !lead->failing; /* else recovery.c has not done the rest yet */
    bool waits = s->state == ISCSI_STATE_BLOCKED && s->host.state == SCSI_HOST_BLOCKED &&
                 s->recovery_tmo_s != ISCSI_RECOVERY_TMO_NEVER;

    assert(loop_timer_running(&s->recovery_timer) == waits);
    assert(!(s->host.state == SCSI_HOST_RUNNING && waits));
    if (s->state == ISCSI_STATE_LOGGED_IN) {
        assert(lead != NULL);
        assert(s->adrift ||
               (!lead->down && !lead->stopping && (!lead->failing || iscsi_may_drift(lead))));
        assert(s->adrift == loop_timer_running(&s->adrift_timer));
        assert(s->host.state == SCSI_HOST_RUNNING);
        assert(n->unassigned == n->awaited || loop_timer_running(&s->fate_timer) ||
               !list_empty(&s->clearing) || s->adrift);
    } else if (told) {
        assert(s->host.state != SCSI_HOST_RUNNING);
        assert(list_empty(&s->unassigned)); /* nothing is sent that could overtake them */
        assert(s->host.state == (s->state == ISCSI_STATE_FREE || s->state == ISCSI_STATE_BLOCKED
                                     ? SCSI_HOST_BLOCKED
                                     : SCSI_HOST_GONE));
    }
    assert(s->tmf == NULL || (s->eh_now != NULL && s->tmf->kind == TASK_TMF));
    assert(s->eh_now == NULL || s->state == ISCSI_STATE_LOGGED_IN || !told);
    assert(s->eh_now == NULL || loop_timer_running(&s->tmf_timer) || !told ||
           (s->tmf != NULL && iscsi_conn_leaving(to_conn(s->tmf->pub.conn))));
}

void
iscsi_session_check(const struct iscsi_session *pub)
{
    const struct session *s = (const void *)((const char *)pub - offsetof(struct session, pub));
    struct check_count n = check_tasks(s);

    check_counts(s, &n);
    LIST_FOREACH (at, &s->conns)
        check_conn(container_of(at, struct conn, node));
    check_state(s, &n);
    iscsi_check_fast(pub);
}
