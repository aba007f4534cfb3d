/* SPDX-License-Identifier: MIT */
/* iscsi/task.c - the table of tasks, their tags, and their end. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "iscsi/internal.h"
#include "iscsi/mend.h"

static size_t
task_round_up(size_t n)
{
    return (n + 63) & ~(size_t)63; /* a task starts on a cache line */
}

/* How many there may be.  The connections of a session may all log in, or be asked whether they
 * live, at the same moment. */
static uint32_t
tasks_max(const struct session *s)
{
    uint32_t n = s->pub.cmds_max + MGMT_TASKS, most = s->pub.cmds_max + MGMT_TASKS_MAX;

    LIST_FOREACH (at, &s->conns) {
        (void)at;
        n += MGMT_TASKS_CONN;
    }
    return n < most ? n : most;
}

/* Adds one more chunk to the free tasks: sessions start small and grow to cmds_max. */
int
iscsi_alloc_tasks(struct session *s)
{
    const struct iscsi_transport *tt = s->pub.tt;
    size_t own = task_round_up(sizeof(struct task)), dd = task_round_up(tt->task_size);
    uint32_t n = s->pub.tasks.made / ISCSI_TASK_CHUNK;
    void *mem;

    s->pub.tasks.chunk = s->chunk;
    s->pub.tasks.bytes =
        (uint32_t)(own + dd) + (tt->alloc_pdu == NULL ? (uint32_t)task_round_up(ISCSI_HDR_MAX) : 0);
    if (s->pub.tasks.made >= tasks_max(s))
        return -EBUSY;
    assert(n < s->chunks);
    mem = aligned_alloc(64, s->pub.tasks.bytes * ISCSI_TASK_CHUNK);
    if (mem == NULL)
        return -ENOMEM;
    memset(mem, 0, s->pub.tasks.bytes * ISCSI_TASK_CHUNK);
    s->chunk[n] = mem;
    for (uint32_t i = ISCSI_TASK_CHUNK; i-- > 0;) { /* the first slot ends up on top */
        struct task *t = iscsi_task_at(s, s->pub.tasks.made + i);

        t->pub.itt = t->slot = s->pub.tasks.made + i;
        t->ended_itt = ISCSI_TAG_RSVD;
        t->session = s;
        t->pub.dd_data = (char *)t + own;
        if (tt->alloc_pdu == NULL)
            t->pub.hdr = (void *)((char *)t + own + dd);
        list_init(&t->pub.node);
        t->next_free = s->free_tasks;
        s->free_tasks = t;
    }
    s->pub.tasks.made += ISCSI_TASK_CHUNK;
    return 0;
}

void
iscsi_free_tasks(struct session *s)
{
    for (uint32_t i = 0; i < s->chunks; i++)
        free(s->chunk[i]);
}

unsigned
iscsi_session_users(const struct iscsi_session *pub, const void *addr, size_t len)
{
    unsigned n = 0;

    for (uint32_t slot = 0; slot < pub->tasks.made; slot++) {
        const struct iscsi_task *t = iscsi_task_in(&pub->tasks, slot);

        n += t->state != ISCSI_TASK_FREE && t->sc != NULL &&
             (sg_touches(&t->sc->in, addr, len) || sg_touches(&t->sc->out, addr, len));
    }
    return n;
}

/* Looks a tag of the peer up, which is never trusted (RFC 7143 4.2.5.3). */
struct iscsi_task *
iscsi_itt_to_task(struct iscsi_conn *pub, struct be32 itt)
{
    struct task *t = iscsi_task_of_itt(to_conn(pub), itt);

    return t != NULL ? &t->pub : NULL;
}

/* Tells whether task management has ended the task of that tag not long ago: it was the last one of
 * its slot that ended so.  On another connection than that of the request many late PDUs may come.
 */
bool
iscsi_itt_ended(struct iscsi_conn *pub, struct be32 itt)
{
    const struct session *s = to_conn(pub)->session;
    uint32_t slot = get32(itt) & (ITT_GEN_STEP - 1);

    return slot < s->pub.tasks.made && iscsi_task_at(s, slot)->ended_itt == get32(itt);
}

#define LATE_USES 64 /* of a slot, whose tags are known as ones that were used */

/* The same for a transport, which drops what comes for that tag.  Where PDUs are asked for again,
 * one that was only late may come twice, the second time for a task that has got all and is over.
 */
bool
iscsi_itt_late(struct iscsi_conn *pub, struct be32 itt)
{
    const struct session *s = to_conn(pub)->session;
    uint32_t slot = get32(itt) & (ITT_GEN_STEP - 1), ago;
    const struct task *t;

    if (iscsi_itt_ended(pub, itt))
        return true;
    if (s->pub.params.erl == 0 || slot >= s->pub.tasks.made)
        return false;
    t = iscsi_task_at(s, slot);
    ago = (t->pub.itt - get32(itt)) / ITT_GEN_STEP;
    return ago < LATE_USES && (ago > 0 || t->pub.state != ISCSI_TASK_RUNNING);
}

static void __attribute__((noinline, cold)) task_gone(struct session *s)
{
    if (s->want_restart)
        iscsi_want_restart(s);
    iscsi_session_maybe_free(s);
}

/* The one end of a task, after the transport has let go of it: gives the slot back and tells
 * whoever waited.  Nobody refers to t afterwards. */
static void
finish_task(struct task *t)
{
    struct session *s = t->session;
    const struct conn *c = t->pub.conn != NULL ? to_conn(t->pub.conn) : NULL;
    struct scsi_cmd *sc = t->pub.sc;

    assert(t->pub.state == ISCSI_TASK_COMPLETED && !t->cleaning && list_empty(&t->pub.node));
    t->pub.unsol = (struct iscsi_unsolicited){0};
    if (t->kind == TASK_SCSI) {
        s->outstanding--;
        if (__builtin_expect(t->marked, 0))
            s->marked_ended(s, t);
    } else {
        if (t->next)
            free(t->next_data);
        free(t->user_data);
        t->user_data = t->next_data = NULL;
        t->next = false;
        t->pub.data = NULL;
        t->pub.data_len = 0;
    }
    t->pub.state = ISCSI_TASK_FREE;
    t->pub.sc = NULL;
    t->next_free = s->free_tasks;
    s->free_tasks = t;
    if (__builtin_expect(s->want_restart || s->dying || (c != NULL && c->dying), 0))
        task_gone(s);
    if (sc != NULL) {
        sc->host_priv = NULL;
        sc->done(sc);
    }
}

/* Takes the task off its queue; its connection, if it has one, knows of it no more. */
static void
leave_conn(struct task *t)
{
    struct conn *c;

    list_del(&t->pub.node);
    if (__builtin_expect(t->watched, 0))
        io_watch_unlink(t->pub.sc->watch);
    if (__builtin_expect(t->mended, 0))
        iscsi_mend_end(t);
    if (t->pub.conn == NULL)
        return;
    c = to_conn(t->pub.conn);
    if (c->xmit_task == t)
        c->xmit_task = NULL;
    if (c->reassign == t)
        c->reassign = NULL;
    if (t->kind == TASK_SCSI) {
        assert(c->running > 0);
        c->running--;
        return;
    }
    if (c->ping == t)
        c->ping = NULL;
    iscsi_unexpected_over(c, t);
    for (int i = 0; t->kind == TASK_USER && i < USER_TASKS; i++) {
        if (c->user[i] == t)
            c->user[i] = NULL;
    }
}

static void
set_over(struct task *t)
{
    assert(t->pub.state == ISCSI_TASK_PENDING || t->pub.state == ISCSI_TASK_RUNNING);
    TRACE(t->session->pub.loop, iscsi_complete_task, t->pub.itt,
          t->pub.sc != NULL ? t->pub.sc->status : 0);
    t->pub.state = ISCSI_TASK_COMPLETED;
    leave_conn(t);
}

/* Asks the transport to let go of the task.  True when it has.  A command of the fast path that
 * only reads was sent without the transport's knowledge; where it ends otherwise than by its own
 * answer, Data-In for it may be half received. */
static bool
clean_task(struct task *t, bool half_received)
{
    const struct iscsi_transport *tt = t->session->pub.tt;

    if (t->cleaning && (t->resend || t->kind == TASK_USER))
        return false; /* resend.c has asked, or control.c */
    assert(!t->cleaning);
    t->cleaning =
        (t->started || t->xmit_fast || half_received) && tt->cleanup_task(&t->pub) == -EINPROGRESS;
    return !t->cleaning;
}

/* The answer has begun to arrive by now at the latest. */
static void __attribute__((noinline, cold)) watch_answered(struct task *t)
{
    struct io_watch *w = t->pub.sc->watch;

    if (w->stage != IO_STAGE_RECEIVE)
        io_watch_arrived(w, IO_STAGE_RECEIVE, t->pub.conn->last_recv_ns, t->session->pub.loop);
}

void
iscsi_complete_task(struct task *t)
{
    bool half_received =
        t->pub.state == ISCSI_TASK_RUNNING && t->pub.sc != NULL && t->pub.sc->host_result != DID_OK;

    if (__builtin_expect(t->watched, 0) && t->pub.state == ISCSI_TASK_RUNNING && !half_received)
        watch_answered(t);
    set_over(t);
    if (clean_task(t, half_received))
        finish_task(t);
}

void
iscsi_blame_task(struct task *t, const struct conn *c)
{
    bool network = c->err == ISCSI_ERR_CONN_CLOSED || c->err == ISCSI_ERR_NOP_TIMEDOUT ||
                   c->err == ISCSI_ERR_LOCAL || c->err == ISCSI_ERR_MEMORY;

    if (t->blamed_itt != t->pub.itt)
        t->blamed = t->unheard = 0;
    t->blamed_itt = t->pub.itt;
    if (t->blamed < ISCSI_BLAMED_MAX)
        t->blamed = (uint8_t)(t->blamed + (network ? 1 : ISCSI_BLAMED_FAULT));
}

void
iscsi_unassign_task(struct task *t)
{
    struct session *s = t->session;
    uint32_t first;

    assert(t->pub.state == ISCSI_TASK_RUNNING && t->kind == TASK_SCSI);
    if (__builtin_expect(t->mended, 0) && t->pub.sc->in.len > 0 &&
        iscsi_mend_missing(t->mend, 0, &first) > 0)
        t->pub.exp_datasn = first; /* what has come behind a hole does not count any more */
    leave_conn(t);
    if (t->watched)
        io_watch_enter(t->pub.sc->watch, IO_STAGE_WINDOW, loop_clock(s->pub.loop));
    t->pub.state = ISCSI_TASK_UNASSIGNED;
    iscsi_blame_task(t, to_conn(t->pub.conn));
    if (t->pub.cmd_sn == s->win.exp_cmdsn && t->unheard < ISCSI_UNHEARD_MAX)
        t->unheard++;
    t->lost_ns = s->pub.loop->now_ns;
    t->lost_cid = t->pub.conn->cid;
    t->time2wait_s = (uint16_t)iscsi_time2wait(to_conn(t->pub.conn));
    t->time2retain_s = (uint16_t)iscsi_time2retain(to_conn(t->pub.conn));
    t->conn_logged_out = to_conn(t->pub.conn)->logged_out;
    t->conn_is_back = t->discarded = t->unsure = false;
    t->pub.quiet = t->told = t->covered = t->owes = false; /* whoever reassigns it is told */
    t->reassign = REASSIGN_NONE;
    t->reassign_ns = 0;
    list_push_back(&s->unassigned, &t->pub.node);
    if (clean_task(t, true))
        t->pub.conn = NULL;
    t->resend = false; /* where it goes again, it goes on another connection */
}

void
iscsi_complete_unassigned(struct task *t)
{
    assert(t->pub.state == ISCSI_TASK_UNASSIGNED);
    TRACE(t->session->pub.loop, iscsi_complete_task, t->pub.itt, t->pub.sc->status);
    if (t->reassign == REASSIGN_ASKED) /* what comes for it yet is dropped */
        t->ended_itt = t->pub.itt;
    list_del(&t->pub.node);
    t->pub.state = ISCSI_TASK_COMPLETED;
    if (!t->cleaning)
        finish_task(t);
}

void
iscsi_queue_mgmt(struct task *t, const void *data, uint32_t len)
{
    struct conn *c = to_conn(t->pub.conn);

    assert(t->kind != TASK_SCSI && list_empty(&t->pub.node) && !t->cleaning && !c->down);
    t->pub.data = data;
    t->pub.data_len = len;
    t->pub.state = ISCSI_TASK_PENDING;
    c->session->fast_conn = NULL;
    list_push_back(&c->mgmtqueue, &t->pub.node);
    iscsi_conn_queue_xmit(c);
}

void
iscsi_send_user(struct task *t, void *data, uint32_t len)
{
    free(t->user_data);
    t->user_data = data;
    t->answered = false;
    iscsi_queue_mgmt(t, data, len);
}

/* A PDU of an exchange that goes on is the iSCSI layer's again: the next one may be sent, unless
 * the connection is about to end, and the task with it. */
static void
user_cleaned(struct task *t)
{
    const struct conn *c = to_conn(t->pub.conn);
    void *data = t->next_data;

    t->started = false;
    if (!t->next || c->suspended || c->failing)
        return;
    t->next = false;
    t->next_data = NULL;
    iscsi_send_user(t, data, t->next_len);
}

void
iscsi_task_cleaned(struct iscsi_task *pub)
{
    struct task *t = to_task(pub);
    const struct conn *c = to_conn(pub->conn);

    assert(t->cleaning);
    t->cleaning = false;
    if (pub->state == ISCSI_TASK_COMPLETED) {
        finish_task(t);
        return;
    }
    if (pub->state == ISCSI_TASK_RUNNING && t->kind == TASK_USER) {
        user_cleaned(t);
        return;
    }
    if (pub->state == ISCSI_TASK_RUNNING) {
        assert(t->resend && list_empty(&pub->node));
        list_push_back(&to_conn(pub->conn)->requeue, &pub->node);
        t->session->fast_conn = NULL;
        iscsi_conn_queue_xmit(to_conn(pub->conn));
        return;
    }
    assert(pub->state == ISCSI_TASK_UNASSIGNED);
    pub->conn = NULL;
    if (t->discarded)
        iscsi_task_again(t->session, t);
    else if (t->reassign == REASSIGN_DUE)
        loop_defer(t->session->pub.loop, &t->session->reassign_work);
    if (c->dying)
        iscsi_session_maybe_free(t->session);
}
