/* SPDX-License-Identifier: MIT */
/* iscsi/tmf.c - task management: abort and resets, one request out at a time (RFC 7143 11.5).
 *
 * Every immediate request needs room at the target; one per session is what
 * each target must take (4.2.2.1).  An unanswered request ends the connection.
 */
#include <assert.h>
#include <string.h>

#include "iscsi/internal.h"
#include "wire/sn.h"

#define TMF_ALIVE_MS 2000 /* for the answer to a ping, where a function is not answered */

static void
tmf_end_wait(struct session *s, struct scsi_eh_wait *w, enum scsi_eh_result r)
{
    struct task *t = w->sc != NULL ? w->sc->host_priv : NULL;

    if (t != NULL && t->eh == w) /* nobody waits for the abort of that command any more */
        t->eh = NULL;
    w->sc = NULL;
    w->result = r;
    list_push_back(&s->eh_done, &w->node);
    loop_defer(s->pub.loop, &s->eh_work);
}

static bool
lun_valid(uint8_t function)
{
    return function != ISCSI_TMF_TARGET_WARM_RESET && function != ISCSI_TMF_TARGET_COLD_RESET &&
           function != ISCSI_TMF_I_T_NEXUS_RESET;
}

/* The functions that concern one task. */
static bool
of_a_task(uint8_t function)
{
    return function == ISCSI_TMF_ABORT_TASK || function == ISCSI_TMF_QUERY_TASK;
}

/* Those that only ask (RFC 7144 6.3). */
static bool
is_query(uint8_t function)
{
    return function == ISCSI_TMF_QUERY_TASK || function == ISCSI_TMF_QUERY_TASK_SET ||
           function == ISCSI_TMF_QUERY_ASYNC_EVENT;
}

static uint32_t
limit_ms(const struct session *s, uint8_t function)
{
    switch (function) {
    case ISCSI_TMF_ABORT_TASK:
    case ISCSI_TMF_QUERY_TASK:
    case ISCSI_TMF_QUERY_TASK_SET:
    case ISCSI_TMF_QUERY_ASYNC_EVENT:
        return s->abort_timeout_ms;
    case ISCSI_TMF_LU_RESET:
    case ISCSI_TMF_CLEAR_ACA:
        return s->lu_reset_timeout_ms;
    default:
        return s->tgt_reset_timeout_ms;
    }
}

static void
send_tmf(struct session *s, struct conn *c, struct scsi_eh_wait *w)
{
    struct task *t = iscsi_alloc_task(s, c, TASK_TMF);
    struct bhs_tmf_req *h;

    if (t == NULL) {
        tmf_end_wait(s, w, SCSI_EH_FAILED);
        return;
    }
    h = &t->ctl.tmf_req;
    bhs_init(h, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE, (uint8_t)(ISCSI_FLAG_FINAL | w->function));
    h->itt = put32(t->pub.itt);
    h->ref_tag = put32(ISCSI_TAG_RSVD);
    if (lun_valid(w->function))
        memcpy(h->lun, w->lun, sizeof(h->lun));
    if (of_a_task(w->function)) {
        const struct task *victim = w->sc->host_priv;

        h->ref_tag = put32(victim->pub.itt);
        if (w->function == ISCSI_TMF_ABORT_TASK)
            h->ref_cmd_sn = put32(victim->pub.cmd_sn);
    }
    s->eh_now = w;
    s->tmf = t;
    s->tmf_overdue = s->tmf_spared = false;
    s->tmf_asked_ns = 0;
    c->pub.stats.tmfcmd_pdus++;
    loop_timer_start(s->pub.loop, &s->tmf_timer, limit_ms(s, w->function) * LOOP_NS_PER_MS);
    iscsi_queue_mgmt(t, NULL, 0);
}

/* The command comes back by itself, or goes again: its connection was lost while others serve. */
static bool
comes_back(const struct session *s, const struct task *t)
{
    return s->state == ISCSI_STATE_LOGGED_IN && !t->old_nexus &&
           (t->numbered || iscsi_task_is_lost(t));
}

/* The connection of a request; NULL: none can carry it.  An abort goes where its command is
 * (RFC 7143 11.5.1). */
static struct conn *
conn_for(const struct session *s, const struct scsi_eh_wait *w)
{
    const struct task *t = w->sc != NULL ? w->sc->host_priv : NULL;
    struct conn *c = t != NULL && t->pub.conn != NULL ? to_conn(t->pub.conn) : iscsi_live_conn(s);

    return s->state == ISCSI_STATE_LOGGED_IN && c != NULL && !iscsi_conn_leaving(c) ? c : NULL;
}

/* Ends a command that is to be aborted and has not been sent, so that the target does not know it.
 */
static void
abort_pending(struct session *s, struct task *t)
{
    struct scsi_cmd *sc = t->pub.sc;

    s->win.queued--;
    iscsi_set_unfinished(sc, DID_ABORT);
    iscsi_complete_task(t);
}

static void
next_tmf(struct session *s)
{
    while (s->eh_now == NULL && !list_empty(&s->eh_waiting)) {
        struct scsi_eh_wait *w =
            container_of(list_pop_front(&s->eh_waiting), struct scsi_eh_wait, node);
        struct conn *c = NULL;

        if (w->sc != NULL && comes_back(s, w->sc->host_priv)) {
            list_push_back(&s->eh_lost, &w->node);
            continue;
        }
        c = conn_for(s, w);
        if (c == NULL) {
            tmf_end_wait(s, w, SCSI_EH_FAILED);
        } else if (of_a_task(w->function) && w->sc == NULL) {
            tmf_end_wait(s, w, SCSI_EH_NOT_FOUND);
        } else if (w == &s->ask && !((struct task *)w->sc->host_priv)->pub.quiet) {
            tmf_end_wait(s, w, SCSI_EH_NOT_FOUND); /* it is known to go on */
        } else if (w->function == ISCSI_TMF_ABORT_TASK && iscsi_task_is_lost(w->sc->host_priv)) {
            tmf_end_wait(s, w, SCSI_EH_FAILED);
        } else if (w->function == ISCSI_TMF_ABORT_TASK &&
                   ((struct task *)w->sc->host_priv)->pub.state == ISCSI_TASK_PENDING) {
            struct task *t = w->sc->host_priv;

            t->eh = NULL;
            w->sc = NULL;
            abort_pending(s, t);
            tmf_end_wait(s, w, SCSI_EH_SUCCESS);
        } else {
            send_tmf(s, c, w);
        }
    }
}

static void
queue_tmf(struct scsi_host *h, uint8_t function, const uint8_t *lun, struct scsi_cmd *sc,
          struct scsi_eh_wait *w)
{
    struct session *s = container_of(h, struct session, host);

    w->function = function;
    w->sc = sc;
    memset(w->lun, 0, sizeof(w->lun));
    if (lun != NULL)
        memcpy(w->lun, lun, sizeof(w->lun));
    list_push_back(&s->eh_waiting, &w->node);
    loop_defer(s->pub.loop, &s->eh_work); /* whoever waits is never told from inside this call */
}

void
iscsi_eh_abort(struct scsi_host *h, struct scsi_cmd *sc, struct scsi_eh_wait *w)
{
    struct task *t = sc->host_priv;

    if (t != NULL) {
        t->eh = w;
        t->marked = true;
    }
    queue_tmf(h, ISCSI_TMF_ABORT_TASK, sc->lun, t != NULL ? sc : NULL, w);
}

void
iscsi_eh_device_reset(struct scsi_host *h, const uint8_t lun[8], struct scsi_eh_wait *w)
{
    queue_tmf(h, ISCSI_TMF_LU_RESET, lun, NULL, w);
}

void
iscsi_eh_clear_aca(struct scsi_host *h, const uint8_t lun[8], struct scsi_eh_wait *w)
{
    queue_tmf(h, ISCSI_TMF_CLEAR_ACA, lun, NULL, w);
}

void
iscsi_eh_target_reset(struct scsi_host *h, struct scsi_eh_wait *w)
{
    queue_tmf(h, ISCSI_TMF_TARGET_WARM_RESET, NULL, NULL, w);
}

void
iscsi_eh_query(struct scsi_host *h, enum scsi_query what, const uint8_t lun[8],
               struct scsi_eh_wait *w)
{
    struct session *s = container_of(h, struct session, host);
    uint8_t function =
        what == SCSI_QUERY_TASK_SET ? ISCSI_TMF_QUERY_TASK_SET : ISCSI_TMF_QUERY_ASYNC_EVENT;

    w->info = 0;
    w->function = function;
    if (s->pub.params.protocol_level >= 2) {
        queue_tmf(h, function, lun, NULL, w);
    } else { /* RFC 7144 6.3: the target must not be asked */
        w->sc = NULL;
        tmf_end_wait(s, w, SCSI_EH_FAILED);
    }
}

static void
drop_session(struct session *s)
{
    iscsi_session_failure(s, ISCSI_ERR_LOCAL,
                          "session reset: commands could not be ended otherwise");
}

/* The target has ended the nexus, or does not say so: it ends here. */
static void
nexus_reset_done(struct scsi_eh_wait *w, enum scsi_eh_result r)
{
    struct session *s = container_of(w, struct session, nexus_reset);

    (void)r;
    s->nexus_resetting = false;
    if (s->state == ISCSI_STATE_LOGGED_IN)
        drop_session(s);
    iscsi_tmf_session_changed(s);
}

/* At protocol level 2 the target is asked to end the nexus, which ends there what it would keep of
 * it else, and tells it that we are not merely gone (RFC 7144 6.3).  Not where another function is
 * out, since that may not be answered either. */
static bool
reset_nexus(struct session *s)
{
    if (s->pub.params.protocol_level < 2 || s->eh_now != NULL || s->adrift ||
        iscsi_live_conn(s) == NULL)
        return false;
    if (s->nexus_resetting)
        return true;
    s->ends = true;
    s->nexus_resetting = true;
    s->nexus_reset.done = nexus_reset_done;
    queue_tmf(&s->host, ISCSI_TMF_I_T_NEXUS_RESET, NULL, NULL, &s->nexus_reset);
    return true;
}

/* Below protocol level 2 task management has no function that resets a session, so its connections
 * are dropped.  The reset is over when every command that was outstanding is back, and the session
 * is up again or has failed. */
void
iscsi_eh_session_reset(struct scsi_host *h, struct scsi_eh_wait *w)
{
    struct session *s = container_of(h, struct session, host);

    if (s->state == ISCSI_STATE_LOGGED_IN && !reset_nexus(s))
        drop_session(s);
    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        struct task *t = iscsi_task_at(s, slot);

        if (t->kind != TASK_SCSI || t->pub.state == ISCSI_TASK_FREE || t->reset)
            continue;
        t->reset = t->marked = true;
        s->reset_left++;
    }
    w->sc = NULL;
    list_push_back(&s->eh_resets, &w->node);
    iscsi_tmf_session_changed(s);
}

void
iscsi_tmf_session_changed(struct session *s)
{
    if (s->reset_left > 0 || s->state == ISCSI_STATE_BLOCKED || s->nexus_resetting)
        return;
    while (!list_empty(&s->eh_resets))
        tmf_end_wait(s, container_of(list_pop_front(&s->eh_resets), struct scsi_eh_wait, node),
                     SCSI_EH_SUCCESS);
}

static bool
concerns(const struct session *s, const struct scsi_eh_wait *w, const struct task *t)
{
    if (t->kind != TASK_SCSI)
        return false;
    if (of_a_task(w->function))
        return w->sc == t->pub.sc;
    if (!sn_lt(t->pub.cmd_sn, s->tmf_cmdsn)) /* it was sent after the request: 11.5.1 */
        return false;
    return !lun_valid(w->function) || memcmp(t->pub.sc->lun, w->lun, 8) == 0;
}

/* Ends the tasks that a successful function has ended at the target (RFC 7143 4.2.3.2). */
static void
sweep(struct session *s, const struct scsi_eh_wait *w)
{
    struct list swept;

    list_init(&swept);
    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        struct task *t = iscsi_task_at(s, slot);

        if (t->pub.state == ISCSI_TASK_UNASSIGNED && concerns(s, w, t) && !t->old_nexus)
            t->conn_logged_out |= !iscsi_task_unacknowledged(s, t); /* it is over there as well */
        if (t->pub.state != ISCSI_TASK_RUNNING || !concerns(s, w, t) || iscsi_task_is_lost(t))
            continue;
        list_del(&t->pub.node); /* it may be due to send what an R2T asked for */
        list_push_back(&swept, &t->pub.node);
    }
    while (!list_empty(&swept)) {
        struct task *t = to_task(container_of(swept.next, struct iscsi_task, node));
        struct scsi_cmd *sc = t->pub.sc;

        t->ended_itt = t->pub.itt;
        iscsi_set_unfinished(sc, of_a_task(w->function) && w != &s->ask ? DID_ABORT : DID_RESET);
        iscsi_complete_task(t);
    }
    if (!list_empty(&s->unassigned))
        loop_timer_start(s->pub.loop, &s->fate_timer, 0);
}

/* Commands that are over, but whose memory the transport has not given back yet; or that run on a
 * connection which is being stopped; or that were lost with one, and end soon or go again. */
static uint32_t
detained(struct session *s, const struct scsi_eh_wait *w)
{
    uint32_t n = 0;

    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        struct task *t = iscsi_task_at(s, slot);

        t->swept = t->pub.state != ISCSI_TASK_FREE &&
                   (t->pub.state != ISCSI_TASK_PENDING || t->numbered) && concerns(s, w, t);
        t->marked |= t->swept;
        n += t->swept;
    }
    return n;
}

static void
tmf_end_now(struct session *s, enum scsi_eh_result r)
{
    struct scsi_eh_wait *w = s->eh_now;

    s->eh_now = NULL;
    s->eh_detained = 0;
    loop_timer_stop(s->pub.loop, &s->tmf_timer);
    if (!of_a_task(w->function))
        iscsi_quiet_uncovered(s);
    tmf_end_wait(s, w, r);
}

static void
tmf_task_back(struct session *s, struct task *t)
{
    t->swept = false;
    if (s->eh_now != NULL && s->eh_detained > 0 && --s->eh_detained == 0)
        tmf_end_now(s, SCSI_EH_SUCCESS);
}

/* Those who wait for an abort of a command that was lost are served anew. */
static void
tmf_look_again(struct session *s)
{
    list_splice(&s->eh_waiting, &s->eh_lost);
    loop_defer(s->pub.loop, &s->eh_work);
}

/* A task that task management has a hand in is about to be free. */
static void
tmf_marked_ended(struct session *s, struct task *t)
{
    if (t->swept)
        tmf_task_back(s, t);
    if (t->eh != NULL) { /* the command ended by itself */
        t->eh->sc = NULL;
        tmf_look_again(s);
    }
    if (s->ask.sc != NULL && s->ask.sc == t->pub.sc) {
        s->ask.sc = NULL;
        tmf_look_again(s);
    }
    t->pub.quiet = false;
    iscsi_leave_command_ended(s);
    if (t->reset) {
        assert(s->reset_left > 0);
        s->reset_left--;
        iscsi_tmf_session_changed(s);
    }
    t->marked = t->reset = false;
    t->eh = NULL;
}

/* False: the task that was asked about is over, as if an abort had found none. */
static bool
query_answered(struct session *s, struct scsi_eh_wait *w, const struct bhs_tmf_rsp *h)
{
    w->info = get24(h->info);
    if (h->response == ISCSI_TMF_RSP_SUCCEEDED) { /* RFC 7144 6.4: it is there */
        if (w->sc != NULL)
            iscsi_quiet_lives(w->sc->host_priv);
        tmf_end_now(s, SCSI_EH_SUCCESS);
        return true;
    }
    if (w->function == ISCSI_TMF_QUERY_TASK)
        return false;
    tmf_end_now(s, h->response == ISCSI_TMF_RSP_COMPLETE ? SCSI_EH_NOT_FOUND : SCSI_EH_FAILED);
    return true;
}

void
iscsi_tmf_rsp(struct conn *c, struct task *t, const struct bhs_tmf_rsp *h)
{
    struct session *s = c->session;
    struct scsi_eh_wait *w = s->eh_now;
    uint8_t response = h->response;

    c->pub.stats.tmfrsp_pdus++;
    assert(t == s->tmf && w != NULL);
    s->tmf = NULL;
    s->tmf_cmdsn = t->pub.cmd_sn;
    iscsi_complete_task(t);
    if (of_a_task(w->function) && w->sc == NULL) {
        tmf_end_now(s, SCSI_EH_NOT_FOUND);
        return;
    }
    if (is_query(w->function) && query_answered(s, w, h))
        return;
    if (response != ISCSI_TMF_RSP_COMPLETE &&
        (response != ISCSI_TMF_RSP_NO_TASK || w->function != ISCSI_TMF_ABORT_TASK)) {
        tmf_end_now(s, SCSI_EH_FAILED);
        return;
    }
    /* The first ends no task of ours, and those of the other end with their connections. */
    if (w->function == ISCSI_TMF_CLEAR_ACA || w->function == ISCSI_TMF_I_T_NEXUS_RESET) {
        tmf_end_now(s, SCSI_EH_SUCCESS);
        return;
    }
    /* "Task does not exist" also says that the command is over: had the target answered it, the
     * answer would have come before on this ordered stream (7.11). */
    sweep(s, w);
    s->eh_detained = detained(s, w);
    if (s->eh_detained == 0)
        tmf_end_now(s, SCSI_EH_SUCCESS);
    else
        loop_timer_start(s->pub.loop, &s->tmf_timer, limit_ms(s, w->function) * LOOP_NS_PER_MS);
}

/* A connection that works and still has one of the commands that eh_now waits for, so that to end
 * it brings them back; NULL: there is none.  What a connection has that was lost before is not its
 * matter. */
static struct iscsi_conn *
conn_that_detains(const struct session *s)
{
    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        const struct task *t = iscsi_task_at(s, slot);

        if (t->pub.state != ISCSI_TASK_FREE && t->swept && !iscsi_task_is_lost(t) &&
            t->pub.conn != NULL)
            return t->pub.conn;
    }
    return NULL;
}

/* The connection of the request that has that number; NULL: none has. */
static struct conn *
conn_of_number(const struct session *s, uint32_t cmd_sn)
{
    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        const struct task *t = iscsi_task_at(s, slot);

        if (t->pub.state == ISCSI_TASK_RUNNING && t->pub.cmd_sn == cmd_sn && !t->old_nexus &&
            (t->kind == TASK_SCSI || (t->ctl.h.opcode & ISCSI_OP_IMMEDIATE) == 0))
            return to_conn(t->pub.conn);
    }
    return NULL;
}

/* The target does what a function asks when it has all commands before it (RFC 7143 11.5.1), and
 * may wait for one that lies on another connection, which is stuck.  Then it is that connection
 * which is given up, and not this one, which may be the last that is good; and where nobody has the
 * number, a NOP-Out takes the target there.  That this one is good, the answer to a ping shows, and
 * it also says what the target waits for: what we know of that may be old.  Returns false where
 * there is no such excuse. */
static bool
tmf_is_held_up(struct session *s)
{
    struct conn *c = to_conn(s->tmf->pub.conn), *holds;
    uint64_t now = s->pub.loop->now_ns;

    if (s->tmf->pub.state != ISCSI_TASK_RUNNING || c->suspended || c->failing ||
        (s->nserving < 2 && list_empty(&s->unassigned)) ||
        !sn_lt(s->win.exp_cmdsn, s->tmf->pub.cmd_sn))
        return false;
    if (s->tmf_asked_ns == 0) {
        s->tmf_asked_ns = now;
        if (c->ping == NULL) {
            iscsi_send_nopout(c, NULL);
            c->ping_ns = now;
        }
        loop_timer_start(s->pub.loop, &s->tmf_timer, TMF_ALIVE_MS * LOOP_NS_PER_MS);
        return true;
    }
    holds = conn_of_number(s, s->win.exp_cmdsn);
    if (c->pub.last_recv_ns <= s->tmf_asked_ns || holds == c || (holds == NULL && s->tmf_spared))
        return false;
    s->tmf_asked_ns = 0;
    loop_timer_start(s->pub.loop, &s->tmf_timer, limit_ms(s, s->eh_now->function) * LOOP_NS_PER_MS);
    if (holds != NULL) {
        iscsi_conn_failure(
            &holds->pub, ISCSI_ERR_TMF_TIMEDOUT,
            "the target waits for a command that was sent on it, and does not answer "
            "task management on another connection before");
        return true;
    }
    s->tmf_spared = true; /* a command that was lost goes again, or nobody has the number */
    iscsi_fill_gap(s);
    return true;
}

static void
tmf_timed_out(struct loop_timer *t)
{
    struct session *s = container_of(t, struct session, tmf_timer);
    struct iscsi_conn *detains = s->eh_now != NULL ? conn_that_detains(s) : NULL;

    if (s->tmf != NULL && tmf_is_held_up(s))
        return;
    if (s->tmf != NULL) {
        s->tmf_overdue = true;
        iscsi_conn_failure(s->tmf->pub.conn, ISCSI_ERR_TMF_TIMEDOUT,
                           "the target does not answer task management");
    } else if (detains != NULL && !s->tmf_overdue) {
        /* It need not: at level 2 they go on elsewhere, and so does what goes again. */
        s->tmf_overdue = true;
        loop_timer_start(s->pub.loop, &s->tmf_timer,
                         limit_ms(s, s->eh_now->function) * LOOP_NS_PER_MS);
        iscsi_conn_failure(detains, ISCSI_ERR_TMF_TIMEDOUT,
                           "what task management has ended cannot be taken off the transport");
    } else if (s->eh_now != NULL) {
        tmf_end_now(s, SCSI_EH_FAILED);
    }
}

/* Asks, one after the other, about the tasks that the target may have ended.  At protocol level 2
 * that is a question; below, an abort ends those that were not, which came right behind the
 * reset, and whoever has sent them sends them again. */
static void
ask_next(struct session *s)
{
    uint8_t function =
        s->pub.params.protocol_level >= 2 ? ISCSI_TMF_QUERY_TASK : ISCSI_TMF_ABORT_TASK;

    for (uint32_t slot = 0; slot < s->pub.tasks.made && !s->asking; slot++) {
        struct task *t = iscsi_task_at(s, slot);

        if (t->kind != TASK_SCSI || t->pub.state != ISCSI_TASK_RUNNING || !t->told)
            continue;
        t->told = false;
        s->asking = true;
        queue_tmf(&s->host, function, t->pub.sc->lun, t->pub.sc, &s->ask);
    }
}

/* Where there was no answer that says anything, the task's own time limit ends it. */
static void
ask_done(struct scsi_eh_wait *w, enum scsi_eh_result r)
{
    struct session *s = container_of(w, struct session, ask);

    (void)r;
    s->asking = false;
    ask_next(s);
}

void
iscsi_tmf_told(struct session *s)
{
    ask_next(s);
}

void
iscsi_tmf_fail_all(struct session *s)
{
    s->tmf = NULL;
    if (s->eh_now != NULL)
        tmf_end_now(s, SCSI_EH_FAILED);
    list_splice(&s->eh_waiting, &s->eh_lost);
    while (!list_empty(&s->eh_waiting)) {
        struct scsi_eh_wait *w =
            container_of(list_pop_front(&s->eh_waiting), struct scsi_eh_wait, node);

        tmf_end_wait(s, w, SCSI_EH_FAILED);
    }
}

void
iscsi_tmf_lost(struct session *s, const struct task *t)
{
    struct scsi_eh_wait *w = s->eh_now;

    if (s->tmf != t)
        return;
    s->tmf = NULL;
    if (w->function == ISCSI_TMF_I_T_NEXUS_RESET) { /* it may have been the reset that ended it */
        tmf_end_now(s, SCSI_EH_SUCCESS);
        return;
    }
    if (s->tmf_overdue || s->state != ISCSI_STATE_LOGGED_IN) {
        tmf_end_now(s, SCSI_EH_FAILED);
        return;
    }
    /* An immediate request does not survive its connection (7.14): it goes again on another. */
    s->eh_now = NULL;
    loop_timer_stop(s->pub.loop, &s->tmf_timer);
    iscsi_quiet_uncovered(s);
    list_push_front(&s->eh_waiting, &w->node);
    loop_defer(s->pub.loop, &s->eh_work);
}

void
iscsi_tmf_new_nexus(struct session *s)
{
    assert(s->tmf == NULL && s->eh_now == NULL && s->eh_detained == 0);
    s->tmf_cmdsn = s->win.cmdsn;
    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        iscsi_task_at(s, slot)->old_nexus = true; /* until the slot is used again */
        iscsi_task_at(s, slot)->ended_itt = ISCSI_TAG_RSVD;
    }
}

static void
eh_work(struct loop_work *work)
{
    struct session *s = container_of(work, struct session, eh_work);
    struct list now;

    list_splice(&s->eh_waiting, &s->eh_lost);
    next_tmf(s);
    list_init(&now);
    list_splice(&now, &s->eh_done);
    while (!list_empty(&now)) {
        struct scsi_eh_wait *w = container_of(list_pop_front(&now), struct scsi_eh_wait, node);

        w->done(w, w->result);
    }
    if (s->dying)
        iscsi_session_maybe_free(s);
}

void
iscsi_tmf_init(struct session *s)
{
    list_init(&s->eh_waiting);
    list_init(&s->eh_done);
    list_init(&s->eh_resets);
    list_init(&s->eh_lost);
    s->marked_ended = tmf_marked_ended;
    s->ask.done = ask_done;
    loop_work_init(&s->eh_work, eh_work);
    loop_timer_init(&s->tmf_timer, tmf_timed_out);
    s->abort_timeout_ms = 15000;
    s->lu_reset_timeout_ms = 30000;
    s->tgt_reset_timeout_ms = 30000;
}
