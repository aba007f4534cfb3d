/* SPDX-License-Identifier: MIT */
/* iscsi/session.c - the life of sessions and connections, and the end of a connection. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iscsi/internal.h"

#define PING_SLOTS                                                                                 \
    64               /* wake-ups for pings in an interval, or in the time that an answer may take */
#define PING_EARLY 8 /* a ping comes at most that part of the interval before its end */

const char *
iscsi_err_name(enum iscsi_err e)
{
    static const char *const names[ISCSI_ERR_COUNT] = {
        "OK",           "CONN_CLOSED",  "BAD_OPCODE", "PROTO", "BAD_ITT",  "DATASN",
        "DATA_OFFSET",  "STATSN",       "DATALEN",    "R2TSN", "HDR_DGST", "DATA_DGST",
        "NOP_TIMEDOUT", "TMF_TIMEDOUT", "WINDOW",     "ASYNC", "LOCAL",
    };

    assert(e < ISCSI_ERR_COUNT);
    return names[e];
}

void
conn_event(struct conn *c, enum conn_event ev)
{
    int next = conn_fsm_next(c->state, ev);

    if (next < 0) {
        c->refused_events++;
        return;
    }
    c->last_row = conn_fsm_row(c->state, ev);
    log_line(c->pub.loop->log, LOG_LEVEL_DEBUG, "%s: connection %u: %s -> %s (%s)",
             c->session->host.name, c->pub.cid, conn_state_name(c->state),
             conn_state_name((enum conn_state)next), c->last_row);
    c->state = (enum conn_state)next;
    iscsi_leave_fast(c);
}

/* ---- failure -------------------------------------------------------------------------------- */

static void
host_state(struct session *s, enum scsi_host_state state, const struct lunette_error *why)
{
    if (s->host.state == state)
        return;
    s->host.state = state;
    if (s->host.ev != NULL)
        s->host.ev->state(s->host.ev_user, state, why);
}

/* First call wins.  Nothing is torn down here: the caller may be deep inside the parser. */
void
iscsi_conn_failure(struct iscsi_conn *pub, enum iscsi_err err, const char *why)
{
    struct conn *c = to_conn(pub);
    struct session *s = c->session;

    if (c->failing || c->state == CONN_FREE || c->state == CONN_CLEANUP_WAIT)
        return;
    TRACE(pub->loop, iscsi_conn_failure, pub->cid, err);
    c->failing = true;
    c->suspended = c->pub.failed = true;
    iscsi_leave_fast(c);
    c->err = err;
    (void)lunette_fail(
        &c->why, -ENOTCONN,
        err == ISCSI_ERR_NOP_TIMEDOUT || err == ISCSI_ERR_TMF_TIMEDOUT || err == ISCSI_ERR_WINDOW
            ? LUNETTE_DOM_TIMEOUT
        : err == ISCSI_ERR_CONN_CLOSED || err == ISCSI_ERR_ASYNC || err == ISCSI_ERR_LOCAL
            ? LUNETTE_DOM_CONNECT
            : LUNETTE_DOM_PROTO,
        err, "%s", why);
    log_line(pub->loop->log, LOG_LEVEL_WARN, "%s: connection %u lost (%s): %s", s->host.name,
             pub->cid, iscsi_err_name(err), why);
    if (s->state == ISCSI_STATE_LOGGED_IN)
        s->state = ISCSI_STATE_FAILED;
    loop_defer(pub->loop, &c->fail_work);
}

static void
fail_list(struct conn *c, struct list *l, enum scsi_host_result result)
{
    while (!list_empty(l)) {
        struct task *t = to_task(container_of(l->next, struct iscsi_task, node));
        struct scsi_cmd *sc = t->pub.sc;

        if (t->pub.state == ISCSI_TASK_PENDING && t->kind == TASK_SCSI)
            c->session->queued--;
        if (sc != NULL)
            iscsi_set_unfinished(sc, result);
        iscsi_complete_task(t);
    }
}

/* What is with the transport, to be sent on or waiting for its answer. */
static void
fail_running(struct conn *c, enum scsi_host_result result)
{
    const struct session *s = c->session;
    struct list running;

    list_init(&running);
    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        struct task *t = iscsi_task_at(s, slot);

        if (t->pub.state != ISCSI_TASK_RUNNING || t->pub.conn != &c->pub)
            continue;
        list_del(&t->pub.node);
        list_push_back(&running, &t->pub.node);
    }
    fail_list(c, &running, result);
}

/* Every task of the connection ends, each once: what was sent may have been executed. */
void
iscsi_fail_tasks(struct conn *c, enum scsi_host_result sent)
{
    if (c->user != NULL && list_empty(&c->user->pub.node)) /* answered, between two requests */
        iscsi_complete_task(c->user);
    fail_running(c, sent);
    fail_list(c, &c->mgmtqueue, sent);
    fail_list(c, &c->cmdqueue, DID_NO_CONNECT);
}

static void
conn_stopped(struct conn *c)
{
    struct session *s = c->session;

    c->stopping = false;
    c->down = true;
    iscsi_fail_tasks(c, DID_TRANSPORT_DISRUPTED);
    if (s->state != ISCSI_STATE_LOGGED_IN)
        iscsi_tmf_fail_all(s);
    conn_event(c, EV_CLEANED);
    s->ev->conn_down(s->ev_user, &c->pub);
    if (c->report) {
        c->report = false;
        s->ev->conn_error(s->ev_user, &c->pub, c->err, &c->why);
    }
    if (c->dying || s->dying)
        iscsi_session_maybe_free(s);
}

static void
up_conn_stopped(struct iscsi_conn *pub)
{
    conn_stopped(to_conn(pub));
}

/* Down for good, from any state; at level 0 the session goes with its connection. */
static void
take_down(struct conn *c, enum iscsi_stop how)
{
    struct session *s = c->session;

    if (c->stopping || c->down)
        return;
    c->suspended = c->pub.failed = true;
    iscsi_leave_fast(c);
    c->failing = false;
    loop_defer_cancel(&c->fail_work);
    loop_defer_cancel(&c->xmit_work);
    loop_timer_stop(c->pub.loop, &c->transport_timer);
    if (c->state != CONN_FREE) /* FREE: logged out in order, but tasks may be left */
        conn_event(c, EV_FAILED);
    if (s->state == ISCSI_STATE_LOGGED_IN)
        s->state = ISCSI_STATE_FAILED;
    if (s->host.state != SCSI_HOST_GONE) {
        s->why = c->why;
        if (s->why.code == 0)
            (void)lunette_fail(&s->why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                               "the session was closed");
        host_state(s, SCSI_HOST_GONE, &s->why);
    }
    c->stopping = true;
    TRACE(c->pub.loop, stop_conn, s->pub.sid, c->pub.cid);
    if (c->pub.tt->stop_conn(&c->pub, how) != -EINPROGRESS)
        conn_stopped(c);
}

static void
fail_work(struct loop_work *w)
{
    struct conn *c = container_of(w, struct conn, fail_work);

    c->report = true;
    take_down(c, STOP_CONN_RECOVER);
}

void
iscsi_conn_stop(struct iscsi_conn *pub, enum iscsi_stop how)
{
    struct conn *c = to_conn(pub);

    if (c->down)
        return;
    if (c->why.code == 0)
        (void)lunette_fail(&c->why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "the session was closed");
    take_down(c, how);
}

/* ---- pings ---------------------------------------------------------------------------------- */

/* Timers of many connections end together: in slots that are the same for all with the same limits,
 * small against them.  Ten thousand idle connections cost a few wake-ups per second, and as each
 * pings a little early, by its own amount, not all of them fall into one slot even where all went
 * silent at once. */
static void
start_ping_timer(struct conn *c, uint64_t delay)
{
    uint32_t ms =
        c->ping_timeout_ms < c->ping_interval_ms ? c->ping_timeout_ms : c->ping_interval_ms;
    uint64_t slot = ms * LOOP_NS_PER_MS / PING_SLOTS;
    uint64_t when = c->pub.loop->now_ns + delay;

    if (slot > 0)
        delay += (slot - when % slot) % slot;
    loop_timer_start(c->pub.loop, &c->transport_timer, delay);
}

/* One coarse timer per connection (RFC 7143 7.14): silence for an interval brings a ping, silence
 * for a timeout after it ends the connection.  Traffic of any kind is life.  The limit counts from
 * the ping, not from the last traffic: nobody may have run the loop for a while. */
static void
transport_timer(struct loop_timer *timer)
{
    struct conn *c = container_of(timer, struct conn, transport_timer);
    uint64_t now = c->pub.loop->now_ns;
    uint64_t idle = now - c->pub.last_recv_ns;
    uint64_t interval = c->ping_interval_ms * LOOP_NS_PER_MS - c->ping_early_ns;
    uint64_t limit = c->ping_timeout_ms * LOOP_NS_PER_MS;
    uint64_t dead_at = c->pub.last_recv_ns + interval + limit;
    uint64_t next = interval;

    if (c->suspended || c->state != CONN_LOGGED_IN)
        return;
    if (dead_at < c->ping_ns + limit)
        dead_at = c->ping_ns + limit;
    if (c->ping != NULL && now >= dead_at) {
        char why[96];

        (void)snprintf(why, sizeof(why),
                       "no answer to a ping for %u ms, nothing received for %llu ms",
                       c->ping_timeout_ms, (unsigned long long)(idle / LOOP_NS_PER_MS));
        iscsi_conn_failure(&c->pub, ISCSI_ERR_NOP_TIMEDOUT, why);
        return;
    }
    if (idle >= interval) {
        if (c->ping == NULL) {
            iscsi_send_nopout(c, NULL);
            c->ping_ns = now;
            dead_at = now + limit;
        }
        next = dead_at - now;
    } else {
        next = interval - idle;
    }
    start_ping_timer(c, next);
}

/* ---- connections ---------------------------------------------------------------------------- */

static void
xmit_work(struct loop_work *w)
{
    iscsi_xmitworker(container_of(w, struct conn, xmit_work));
}

const struct iscsi_upcalls iscsi_upcalls = {
    .version = ISCSI_TRANSPORT_VERSION,
    .size = sizeof(struct iscsi_upcalls),
    .itt_ended = iscsi_itt_ended,
    .complete_pdu = iscsi_complete_pdu,
    .complete_data_in = iscsi_complete_data_in,
    .complete_scsi_rsp = iscsi_complete_scsi_rsp,
    .update_cmdsn = iscsi_update_cmdsn,
    .conn_failure = iscsi_conn_failure,
    .requeue_task = iscsi_requeue_task,
    .queue_xmit = iscsi_queue_xmit,
    .task_cleaned = iscsi_task_cleaned,
    .conn_stopped = up_conn_stopped,
};

struct iscsi_conn *
iscsi_conn_find(struct iscsi_session *pub, uint16_t cid)
{
    struct session *s = to_session(pub);

    LIST_FOREACH (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if (c->pub.cid == cid && !c->dying)
            return &c->pub;
    }
    return NULL;
}

static void
conn_init(struct conn *c, struct session *s, uint16_t cid)
{
    c->session = s;
    c->pub.session = &s->pub;
    c->pub.tt = s->pub.tt;
    c->pub.up = &iscsi_upcalls;
    c->pub.loop = s->pub.loop;
    c->pub.cid = cid;
    c->pub.dd_data = c + 1;
    c->down = c->suspended = true;
    c->ping_interval_ms = 5000;
    c->ping_timeout_ms = 5000;
    list_init(&c->mgmtqueue);
    list_init(&c->requeue);
    list_init(&c->cmdqueue);
    loop_work_init(&c->xmit_work, xmit_work);
    loop_work_init(&c->fail_work, fail_work);
    loop_timer_init(&c->transport_timer, transport_timer);
}

int
iscsi_conn_setup(struct iscsi_session *pub, uint16_t cid, struct iscsi_conn **ret,
                 struct lunette_error *err)
{
    struct session *s = to_session(pub);
    struct conn *c;
    int r;

    if (iscsi_conn_find(pub, cid) != NULL)
        return lunette_fail(err, -EEXIST, LUNETTE_DOM_USAGE, 0, "the session has a connection %u",
                            cid);
    c = calloc(1, sizeof(*c) + s->pub.tt->conn_size);
    if (c == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for a connection");
    conn_init(c, s, cid);
    TRACE(s->pub.loop, create_conn, s->pub.sid, cid);
    r = s->pub.tt->create_conn != NULL ? s->pub.tt->create_conn(&c->pub, err) : 0;
    if (r < 0) {
        free(c);
        return r;
    }
    conn_event(c, EV_CONNECT);
    list_push_back(&s->conns, &c->node);
    *ret = &c->pub;
    return 0;
}

int
iscsi_conn_bind(struct iscsi_conn *pub, int64_t eph, struct iscsi_endpoint *ep, bool leading,
                struct lunette_error *err)
{
    struct conn *c = to_conn(pub);
    struct session *s = c->session;
    int r;

    if (c->state != CONN_XPT_WAIT)
        return lunette_fail(err, -EBUSY, LUNETTE_DOM_USAGE, 0, "connection %u is bound already",
                            pub->cid);
    TRACE(pub->loop, bind_conn, s->pub.sid, pub->cid);
    pub->hdrdgst_en = pub->datadgst_en = false;
    pub->max_recv_dlength = pub->max_xmit_dlength = ISCSI_LOGIN_DSEG_MAX;
    c->declared_recv_dlength = c->declared_xmit_dlength = 8192; /* RFC 7143 13.12: defaults */
    c->first_rsp_seen = false;
    r = pub->tt->bind_conn(pub, eph, ep, leading, err);
    if (r < 0)
        return r;
    c->down = c->suspended = pub->failed = false;
    memset(&c->why, 0, sizeof(c->why));
    if (leading || s->leadconn == NULL)
        s->leadconn = c;
    conn_event(c, EV_BOUND);
    return 0;
}

/* The largest write that goes with its command, in one go. */
static uint32_t
fast_write_max(const struct iscsi_conn *c, const struct iscsi_session_params *p)
{
    uint32_t max = p->imm_data ? p->first_burst : 0;

    if (max > c->max_xmit_dlength)
        max = c->max_xmit_dlength;
    return max < c->fast_write_limit ? max : c->fast_write_limit;
}

int
iscsi_conn_start(struct iscsi_conn *pub, struct lunette_error *err)
{
    struct conn *c = to_conn(pub);
    struct session *s = c->session;
    bool reopen = s->state == ISCSI_STATE_FAILED;
    int r;

    if (c->state != CONN_IN_LOGIN || c->suspended)
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "%s",
                            c->why.code != 0 ? c->why.msg : "the connection is not logging in");
    /* RFC 7143 13.14: irrelevant, and perhaps never agreed, where nothing goes unasked */
    if (s->pub.params.first_burst > s->pub.params.max_burst &&
        (!s->pub.params.initial_r2t || s->pub.params.imm_data))
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, 0x04,
                            "FirstBurstLength %u is above MaxBurstLength %u",
                            s->pub.params.first_burst, s->pub.params.max_burst);
    TRACE(pub->loop, iscsi_conn_start, s->pub.sid, pub->cid);
    pub->max_recv_dlength = c->declared_recv_dlength;
    pub->max_xmit_dlength = c->declared_xmit_dlength;
    pub->hdrdgst_en = c->want_hdrdgst;
    pub->datadgst_en = c->want_datadgst;
    pub->fast_write_limit = UINT32_MAX;
    if (c->user != NULL)
        iscsi_complete_task(c->user);
    r = pub->tt->start_conn != NULL ? pub->tt->start_conn(pub, err) : 0;
    if (r < 0)
        return r;
    c->fast_write_max = fast_write_max(pub, &s->pub.params);
    conn_event(c, EV_STARTED);
    s->state = ISCSI_STATE_LOGGED_IN;
    if (reopen) {
        TRACE(pub->loop, iscsi_unblock_session, s->pub.sid, 0);
    }
    host_state(s, SCSI_HOST_RUNNING, NULL);
    pub->last_recv_ns = pub->loop->now_ns;
    if (c->ping_interval_ms > 0) {
        uint64_t interval = c->ping_interval_ms * LOOP_NS_PER_MS;

        c->ping_early_ns = loop_random(pub->loop) % (interval / PING_EARLY + 1);
        start_ping_timer(c, interval - c->ping_early_ns);
    }
    return 0;
}

/* Which of the control plane's requests has no answer. */
static bool
wants_answer(const struct bhs *h)
{
    return (h->opcode & ISCSI_OP_MASK) != ISCSI_OP_NOP_OUT || get32(h->itt) != ISCSI_TAG_RSVD;
}

static struct task *
user_task(struct conn *c, const struct bhs *hdr, struct lunette_error *err)
{
    struct task *t = c->user;

    if (t != NULL && !c->user_answered) {
        (void)lunette_fail(err, -EBUSY, LUNETTE_DOM_USAGE, 0,
                           "a request of the control plane waits for its answer");
        return NULL;
    }
    if (t != NULL && (t->ctl.h.opcode & ISCSI_OP_MASK) != (hdr->opcode & ISCSI_OP_MASK)) {
        iscsi_complete_task(t); /* an exchange that was left in the middle */
        t = NULL;
    }
    if (t == NULL)
        t = task_alloc(c->session, c, wants_answer(hdr) ? TASK_USER : TASK_NOP_REPLY);
    if (t == NULL)
        (void)lunette_fail(err, -EBUSY, LUNETTE_DOM_OS, EBUSY, "no task is free");
    return t;
}

int
iscsi_conn_send_pdu(struct iscsi_conn *pub, const struct bhs *hdr, const void *data, uint32_t len,
                    struct lunette_error *err)
{
    struct conn *c = to_conn(pub);
    struct task *t;
    void *copy = NULL;

    if (c->suspended || c->failing)
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "%s",
                            c->why.code != 0 ? c->why.msg : "the connection is down");
    if (len > pub->max_xmit_dlength)
        return lunette_fail(err, -EMSGSIZE, LUNETTE_DOM_USAGE, 0,
                            "%u bytes are more than the target takes in one PDU (%u)", len,
                            pub->max_xmit_dlength);
    t = user_task(c, hdr, err);
    if (t == NULL)
        return -EBUSY;
    if (len > 0) {
        copy = malloc(len);
        if (copy == NULL) {
            if (c->user != t)
                iscsi_complete_task(t);
            return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for a PDU");
        }
        memcpy(copy, data, len);
    }
    TRACE(pub->loop, send_pdu, pub->cid, hdr->opcode & ISCSI_OP_MASK);
    free(t->user_data);
    t->user_data = copy;
    memcpy(&t->ctl, hdr, sizeof(t->ctl));
    if (t->kind == TASK_USER) {
        t->ctl.h.itt = put32(t->pub.itt);
        c->user = t;
        c->user_answered = false;
    }
    iscsi_queue_mgmt(t, copy, len);
    return 0;
}

static void
conn_free(struct conn *c)
{
    struct session *s = c->session;

    TRACE(s->pub.loop, destroy_conn, s->pub.sid, c->pub.cid);
    if (s->leadconn == c)
        s->leadconn = NULL;
    if (c->pub.tt->destroy_conn != NULL)
        c->pub.tt->destroy_conn(&c->pub);
    loop_defer_cancel(&c->xmit_work);
    loop_defer_cancel(&c->fail_work);
    loop_timer_stop(c->pub.loop, &c->transport_timer);
    list_del(&c->node);
    free(c);
}

void
iscsi_conn_teardown(struct iscsi_conn *pub)
{
    struct conn *c = to_conn(pub);

    c->dying = true;
    iscsi_leave_fast(c);
    iscsi_conn_stop(pub, STOP_CONN_TERM);
    iscsi_session_maybe_free(c->session);
}

/* Nothing is outstanding whose answer could open the window, and none of our timers runs for
 * commands that were never taken: a target that keeps it shut serves nobody. */
static void
window_shut(struct loop_timer *t)
{
    struct session *s = container_of(t, struct session, shut_timer);
    char why[96];

    if (s->outstanding > 0 || s->leadconn == NULL || !iscsi_cmdsn_window_closed(s))
        return;
    (void)snprintf(why, sizeof(why), "the target has kept the command window closed for %u ms",
                   s->abort_timeout_ms);
    iscsi_conn_failure(&s->leadconn->pub, ISCSI_ERR_WINDOW, why);
}

/* ---- sessions ------------------------------------------------------------------------------- */

static void
done_work(struct loop_work *w)
{
    struct session *s = container_of(w, struct session, done_work);
    struct list now;

    list_init(&now);
    list_splice(&now, &s->done);
    while (!list_empty(&now)) {
        struct scsi_cmd *sc = container_of(list_pop_front(&now), struct scsi_cmd, host_node);

        sc->done(sc);
    }
    if (s->dying)
        iscsi_session_maybe_free(s);
}

static void
restart_work(struct loop_work *w)
{
    struct session *s = container_of(w, struct session, restart_work);

    if (!s->want_restart)
        return;
    s->want_restart = false;
    if (s->host.ev != NULL && s->host.ev->restart != NULL)
        s->host.ev->restart(s->host.ev_user);
}

static bool
has_tasks(const struct conn *c)
{
    const struct session *s = c->session;

    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        const struct task *t = iscsi_task_at(s, slot);

        if (t->pub.state != ISCSI_TASK_FREE && t->pub.conn == &c->pub)
            return true;
    }
    return false;
}

void
iscsi_session_maybe_free(struct session *s)
{
    loop_defer(s->pub.loop, &s->free_work);
}

static void
free_work(struct loop_work *w)
{
    struct session *s = container_of(w, struct session, free_work);

    LIST_FOREACH_SAFE (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if ((c->dying || s->dying) && !has_tasks(c) && !c->stopping)
            conn_free(c);
    }
    if (!s->dying || !list_empty(&s->conns) || !list_empty(&s->done) || !list_empty(&s->eh_done) ||
        !list_empty(&s->eh_waiting))
        return;
    TRACE(s->pub.loop, destroy_session, s->pub.sid, 0);
    if (s->host.ev != NULL && s->host.ev->freed != NULL)
        s->host.ev->freed(s->host.ev_user);
    if (s->pub.tt->destroy_session != NULL)
        s->pub.tt->destroy_session(&s->pub);
    loop_timer_stop(s->pub.loop, &s->tmf_timer);
    loop_timer_stop(s->pub.loop, &s->shut_timer);
    loop_defer_cancel(&s->restart_work);
    loop_defer_cancel(&s->done_work);
    loop_defer_cancel(&s->eh_work);
    iscsi_free_tasks(s);
    s->ev->freed(s->ev_user, s->pub.sid);
    free(s);
}

/* A session with its table of tasks, without the transport's part. */
static size_t
own_bytes(uint32_t chunks)
{
    size_t n = sizeof(struct session) + chunks * sizeof(struct task *);

    return (n + 15) & ~(size_t)15;
}

static void
session_init(struct session *s, struct loop *l, const struct iscsi_transport *tt, uint32_t sid)
{
    s->pub.tt = tt;
    s->pub.loop = l;
    s->pub.sid = sid;
    s->pub.dd_data = (char *)s + own_bytes(s->chunks);
    s->pub.params = (struct iscsi_session_params){
        /* RFC 7143 13: defaults */
        .initial_r2t = true,  .imm_data = true,    .pdu_inorder = true, .dataseq_inorder = true,
        .first_burst = 65536, .max_burst = 262144, .max_r2t = 1,        .max_connections = 1,
        .time2wait_s = 2,     .time2retain_s = 20, .protocol_level = 1,
    };
    list_init(&s->conns);
    list_init(&s->done);
    loop_work_init(&s->done_work, done_work);
    loop_work_init(&s->restart_work, restart_work);
    loop_work_init(&s->free_work, free_work);
    loop_timer_init(&s->shut_timer, window_shut);
    iscsi_tmf_init(s);
    s->host = (struct scsi_host){
        .ops = &iscsi_host_ops,
        .loop = l,
        .can_queue = s->pub.cmds_max,
        .max_cdb_len = SCSI_CDB_MAX,
        .max_sg = ISCSI_HOST_MAX_SG,
        .max_transfer = 16u << 20,
        .state = SCSI_HOST_BLOCKED,
    };
    (void)snprintf(s->host.name, sizeof(s->host.name), "host%u", sid);
}

int
iscsi_session_setup(struct loop *l, const struct iscsi_transport *tt,
                    const struct iscsi_session_config *cfg, struct iscsi_session **ret,
                    struct lunette_error *err)
{
    uint32_t cmds_max = cfg->cmds_max > 0 ? cfg->cmds_max : ISCSI_CMDS_MAX_DEFAULT;
    uint32_t chunks = (cmds_max + MGMT_TASKS + ISCSI_TASK_CHUNK - 1) / ISCSI_TASK_CHUNK;
    struct session *s;
    int r;

    if (cmds_max > ISCSI_CMDS_MAX_LIMIT)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "cmds_max %u: at most %d", cmds_max,
                            ISCSI_CMDS_MAX_LIMIT);
    s = calloc(1, own_bytes(chunks) + tt->session_size);
    if (s == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for a session");
    s->pub.cmds_max = cmds_max;
    s->chunks = chunks;
    session_init(s, l, tt, cfg->sid);
    s->ev = cfg->ev;
    s->ev_user = cfg->user;
    s->cmdsn = cfg->initial_cmdsn;
    s->max_cmdsn = cfg->initial_cmdsn - 1; /* closed until the target opens it */
    TRACE(l, create_session, cfg->sid, 0);
    r = iscsi_alloc_tasks(s);
    if (r == 0 && tt->create_session != NULL)
        r = tt->create_session(&s->pub, err);
    if (r < 0) {
        iscsi_free_tasks(s);
        free(s);
        return r == -ENOMEM ? lunette_fail(err, r, LUNETTE_DOM_OS, ENOMEM, "no memory for tasks")
                            : r;
    }
    *ret = &s->pub;
    return 0;
}

void
iscsi_session_teardown(struct iscsi_session *pub)
{
    struct session *s = to_session(pub);

    assert(!s->dying);
    s->dying = true;
    s->state = ISCSI_STATE_TERMINATE;
    s->fast_conn = NULL;
    LIST_FOREACH (n, &s->conns)
        iscsi_leave_fast(container_of(n, struct conn, node));
    LIST_FOREACH_SAFE (n, &s->conns) {
        iscsi_conn_stop(&container_of(n, struct conn, node)->pub, STOP_CONN_TERM);
    }
    iscsi_session_maybe_free(s);
}

struct scsi_host *
iscsi_session_host(struct iscsi_session *pub)
{
    return &to_session(pub)->host;
}
