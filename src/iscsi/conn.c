/* SPDX-License-Identifier: MIT */
/* iscsi/conn.c - the life of a connection: set up, bound, started, freed. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsi/internal.h"

static void
xmit_work(struct loop_work *w)
{
    iscsi_xmitworker(container_of(w, struct conn, xmit_work));
}

static void
up_queue_xmit(struct iscsi_conn *pub)
{
    to_conn(pub)->full = false;
    iscsi_conn_queue_xmit(to_conn(pub));
}

/* What a transport may call; the two answers of the fast path are the only ones that differ where
 * the loop has a trace ring (see HOST_OPS in host.c). */
#define UPCALLS(data_in, scsi_rsp)                                                                 \
    {                                                                                              \
        .version = ISCSI_TRANSPORT_VERSION, .size = sizeof(struct iscsi_upcalls),                  \
        .itt_ended = iscsi_itt_late, .complete_pdu = iscsi_complete_pdu,                           \
        .complete_data_in = (data_in), .complete_scsi_rsp = (scsi_rsp),                            \
        .update_cmdsn = iscsi_update_cmdsn, .conn_failure = iscsi_conn_failure,                    \
        .requeue_task = iscsi_requeue_task, .queue_xmit = up_queue_xmit,                           \
        .task_cleaned = iscsi_task_cleaned, .conn_stopped = iscsi_conn_stopped,                    \
        .odd_data_in = iscsi_odd_data_in, .data_in_came = iscsi_data_in_came,                      \
        .odd_r2t = iscsi_odd_r2t, .bad_data_digest = iscsi_bad_data_digest,                        \
    }
static const struct iscsi_upcalls upcalls =
    UPCALLS(iscsi_complete_data_in, iscsi_complete_scsi_rsp);
static const struct iscsi_upcalls upcalls_traced =
    UPCALLS(iscsi_complete_data_in_traced, iscsi_complete_scsi_rsp_traced);

struct iscsi_conn *
iscsi_conn_find(struct iscsi_session *pub, uint16_t cid)
{
    struct conn *c = iscsi_conn_of_cid(to_session(pub), cid);

    return c != NULL ? &c->pub : NULL;
}

static void
conn_init(struct conn *c, struct session *s, uint16_t cid)
{
    c->session = s;
    c->pub.session = &s->pub;
    c->pub.tt = s->pub.tt;
    c->pub.up = s->pub.loop->trace != NULL ? &upcalls_traced : &upcalls;
    c->pub.loop = s->pub.loop;
    c->pub.cid = cid;
    c->pub.dd_data = c->dd_data;
    c->down = c->suspended = true;
    c->ping_interval_ms = 5000;
    c->ping_timeout_ms = 5000;
    list_init(&c->mgmtqueue);
    list_init(&c->requeue);
    list_init(&c->clear_node);
    list_init(&c->mends);
    loop_work_init(&c->xmit_work, xmit_work);
    loop_work_init(&c->fail_work, iscsi_fail_work);
    loop_timer_init(&c->transport_timer, iscsi_transport_timer);
    loop_timer_init(&c->leave_timer, iscsi_leave_timer);
    loop_timer_init(&c->snack_timer, iscsi_snack_timer);
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
    iscsi_conn_event(c, EV_CONNECT);
    list_push_back(&s->conns, &c->node);
    *ret = &c->pub;
    return 0;
}

/* A nexus is over before another begins (RFC 7143 4.2.6): its leading connection takes part in
 * nothing any more, though the transport may need time to let go of it. */
static bool
lead_may_change(const struct session *s, const struct conn *to)
{
    return s->state != ISCSI_STATE_LOGGED_IN &&
           (s->leadconn == NULL || s->leadconn == to || s->leadconn->down || s->leadconn->stopping);
}

/* Sets the connection back to what it is before anything has been agreed on. */
static void
conn_reset(struct conn *c)
{
    assert(list_empty(&c->mgmtqueue) && list_empty(&c->requeue) && c->running == 0);
    assert(c->xmit_task == NULL && c->ping == NULL && !c->failing);
    assert(c->clear == CLEAR_NONE && c->reassign == NULL && list_empty(&c->mends));
    c->full = false;
    c->pub.hdrdgst_en = c->pub.datadgst_en = c->want_hdrdgst = c->want_datadgst = false;
    c->pub.hdrdgst_offload = c->pub.datadgst_offload = false;
    c->pub.max_recv_dlength = c->pub.max_xmit_dlength = ISCSI_LOGIN_DSEG_MAX;
    c->declared_recv_dlength = c->declared_xmit_dlength = 8192; /* RFC 7143 13.12: defaults */
    c->flight_of_login |= c->pub.flight == NULL;
    iscsi_flight_need(c);
    statsn_window_reset(&c->statsn);
    c->ping_ns = 0;
    c->unacked_itt = ISCSI_TAG_RSVD;
    c->pings_in_a_row = 0;
    c->max_unexpected = c->mutes = c->mutes_asked = 0;
    c->unexpected_held = c->mutes_ask = false;
    c->moved = (struct iscsi_moved){0, 0, 0};
    c->logged_out = c->leave_hold = c->times_told = c->started = false;
}

int
iscsi_conn_bind(struct iscsi_conn *pub, int64_t eph, struct iscsi_endpoint *ep, bool leading,
                struct lunette_error *err)
{
    struct conn *c = to_conn(pub);
    struct session *s = c->session;
    bool yields = false;
    int r;

    if (!c->down || c->dying)
        return lunette_fail(err, -EBUSY, LUNETTE_DOM_USAGE, 0, "connection %u is bound already",
                            pub->cid);
    if (s->leadconn == NULL && s->state == ISCSI_STATE_FREE)
        leading = true;
    if (leading && s->adrift) /* the session is recovered instead */
        iscsi_adrift_over(s);
    if (iscsi_clear_holds(s, pub->cid) && !(yields = iscsi_clear_yields(c)))
        return lunette_fail(err, -EBUSY, LUNETTE_DOM_USAGE, 0,
                            "connection %u was lost, and the target is still being asked about it",
                            pub->cid);
    /* The target may know of the session yet, and what was sent to it may yet arrive. */
    if (!leading && s->state != ISCSI_STATE_LOGGED_IN)
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_USAGE, 0,
                            "the session has been lost meanwhile");
    if (leading && !lead_may_change(s, c))
        return lunette_fail(err, -EBUSY, LUNETTE_DOM_USAGE, 0,
                            "the session has a leading connection");
    TRACE(pub->loop, bind_conn, s->pub.sid, pub->cid);
    conn_reset(c);
    r = pub->tt->bind_conn(pub, eph, ep, leading, err);
    if (r < 0) {
        if (yields)
            iscsi_clear_conn(c);
        return r;
    }
    if (c->state == CONN_FREE) /* it was lost, or logged out: the same connection once more */
        iscsi_conn_event(c, EV_CONNECT);
    assert(c->state == CONN_XPT_WAIT);
    c->down = c->suspended = pub->failed = false;
    memset(&c->why, 0, sizeof(c->why));
    if (leading) {
        s->leadconn = c;
        iscsi_session_new_nexus(s);
    }
    iscsi_conn_event(c, EV_BOUND);
    return 0;
}

int
iscsi_conn_start(struct iscsi_conn *pub, struct lunette_error *err)
{
    struct conn *c = to_conn(pub);
    struct session *s = c->session;
    bool offload = (pub->tt->caps & CAP_DIGEST_OFFLOAD) != 0;
    int r;

    if (c->state != CONN_IN_LOGIN || c->suspended)
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "%s",
                            c->why.code != 0 ? c->why.msg : "the connection is not logging in");
    if (!s->adrift && c != s->leadconn && s->state != ISCSI_STATE_LOGGED_IN)
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                            "the session has no leading connection that is logged in");
    /* RFC 7143 13.14: where nothing goes unsolicited, FirstBurstLength is irrelevant and perhaps
     * was never agreed on. */
    if (s->pub.params.first_burst > s->pub.params.max_burst &&
        (!s->pub.params.initial_r2t || s->pub.params.imm_data))
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, 0x04,
                            "FirstBurstLength %u is above MaxBurstLength %u",
                            s->pub.params.first_burst, s->pub.params.max_burst);
    TRACE(pub->loop, iscsi_conn_start, s->pub.sid, pub->cid);
    pub->max_recv_dlength = c->declared_recv_dlength;
    pub->max_xmit_dlength = c->declared_xmit_dlength;
    pub->hdrdgst_en = c->want_hdrdgst && !offload;
    pub->datadgst_en = c->want_datadgst && !offload;
    pub->hdrdgst_offload = c->want_hdrdgst && offload;
    pub->datadgst_offload = c->want_datadgst && offload;
    pub->fast_write_limit = UINT32_MAX;
    pub->all_or_none = false;
    iscsi_flight_digests(c);
    iscsi_user_login_over(c);
    r = pub->tt->start_conn != NULL ? pub->tt->start_conn(pub, err) : 0;
    if (r < 0)
        return r;
    c->fast_write_max = iscsi_fast_write_max(c);
    c->started = true;
    c->started_ns = pub->loop->now_ns;
    iscsi_flight_rest(c);
    c->flight_of_login = false;
    c->unserved_sn = pub->exp_statsn;
    iscsi_conn_event(c, EV_STARTED);
    if (s->adrift)
        iscsi_adrift_ended(c);
    else if (c == s->leadconn)
        iscsi_session_up(s);
    iscsi_stall_start(s);
    iscsi_xmit_wanted(s); /* of what waits for room on the others */
    iscsi_clear_back(c);
    iscsi_conn_is_back(c);
    pub->last_recv_ns = pub->loop->now_ns;
    iscsi_ping_start(c);
    return 0;
}

void
iscsi_conn_free(struct conn *c)
{
    struct session *s = c->session;

    assert(c->down && !c->stopping);
    TRACE(s->pub.loop, destroy_conn, s->pub.sid, c->pub.cid);
    if (s->leadconn == c)
        s->leadconn = NULL;
    if (c->pub.tt->destroy_conn != NULL)
        c->pub.tt->destroy_conn(&c->pub);
    loop_defer_cancel(&c->xmit_work);
    loop_defer_cancel(&c->fail_work);
    loop_timer_stop(c->pub.loop, &c->transport_timer);
    loop_timer_stop(c->pub.loop, &c->leave_timer);
    loop_timer_stop(c->pub.loop, &c->snack_timer);
    list_del(&c->node);
    iscsi_flight_free(c);
    free(c);
}

void
iscsi_conn_teardown(struct iscsi_conn *pub)
{
    struct conn *c = to_conn(pub);

    c->dying = true;
    iscsi_count_serving(c->session);
    iscsi_leave_fast(c);
    iscsi_conn_stop(pub, STOP_CONN_TERM);
    iscsi_session_maybe_free(c->session);
}
