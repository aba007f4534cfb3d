/* SPDX-License-Identifier: MIT */
/* transport/iser/rx.c - completions, and PDUs in.
 *
 * A message is checked as it comes, and the STags of the command that it answers are closed then,
 * unless the target has done so.  It is handed up when that is done, and never before what came
 * before it, since StatSN counts.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "transport/iser/internal.h"
#include "wire/flight.h"
#include "wire/pdu.h"

#define ISER_RECV_BATCH 32u

/* ---- receives ------------------------------------------------------------------------------- */

/* Posts those that are to be posted. */
static int
post_back(struct iser_ep *e)
{
    struct rnic_recv v[ISER_RECV_BATCH];
    uint32_t at = 0;

    while (at < e->nback) {
        uint32_t n = e->nback - at < ISER_RECV_BATCH ? e->nback - at : ISER_RECV_BATCH;
        int r;

        for (uint32_t i = 0; i < n; i++) {
            uint32_t rx = e->back[at + i];

            v[i] = (struct rnic_recv){.id = rx,
                                      .sge = {e->rx[rx].msg, ISER_RECV_LEN, e->arena_mr->lkey}};
        }
        r = rnic_post_recv(e->rnic, v, n);
        if (r < 0) {
            e->unsure = true;
            return r;
        }
        at += n;
        e->posted += n;
    }
    e->nback = 0;
    return 0;
}

int
iser_post_receives(struct iser_ep *e, struct lunette_error *err)
{
    int r = post_back(e);

    return r < 0 ? lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r,
                                "the RDMA device %s takes no receives: %s", e->caps.device,
                                errno_text(-r))
                 : 0;
}

/* ---- PDUs in -------------------------------------------------------------------------------- */

static const struct bhs *
bhs_of_rx(const struct iser_rx *rx)
{
    return (const struct bhs *)(const void *)(rx->msg + ISER_LEN);
}

/* The command that a SCSI Response answers and that has memory here; NULL: there is none. */
static struct iscsi_task *
answered_task(const struct iser_ep *e, const struct bhs *h)
{
    struct iscsi_task *t;

    if (pdu_opcode(h) != ISCSI_OP_SCSI_RSP)
        return NULL;
    t = iscsi_task_of(e->conn->conn, h->itt);
    return t != NULL && t->sc != NULL && ((struct iser_task *)t->dd_data)->ep == e ? t : NULL;
}

/* The target has invalidated an STag, as a Send of it said. */
static bool
take_invalidated(struct iser_ep *e, struct iser_task *it, uint32_t stag)
{
    struct iser_data *d = NULL;
    char why[160];

    if (it != NULL && it->in.open && it->in.stag == stag)
        d = &it->in;
    else if (it != NULL && it->out.open && it->out.stag == stag)
        d = &it->out;
    if (d == NULL) { /* RFC 7145 7.3.1 */
        (void)snprintf(why, sizeof(why),
                       "the target has invalidated STag 0x%08x, which is none of the command that "
                       "it has answered",
                       stag);
        iser_lost(e, ISCSI_ERR_PROTO, why);
        return false;
    }
    d->open = false;
    assert(e->bound > 0);
    e->bound--;
    return true;
}

/* A message has come. */
static void
received(struct iser_ep *e, const struct rnic_wc *wc)
{
    struct iscsi_conn *c = e->conn->conn;
    struct iser_rx *rx = &e->rx[wc->id];
    struct lunette_error err = {.code = 0};
    struct iser_task *it = NULL;
    struct iscsi_task *t;
    struct iser_pdu pdu;

    c->last_recv_ns = c->loop->now_ns;
    if (iser_take(rx->msg, wc->len, PDU_FROM_TARGET,
                  c->max_recv_dlength < ISER_DSEG_MAX ? c->max_recv_dlength : ISER_DSEG_MAX, &pdu,
                  &err) < 0) {
        iser_lost(e, ISCSI_ERR_PROTO, err.msg);
        return;
    }
    t = answered_task(e, pdu.hdr);
    if (t != NULL)
        it = t->dd_data;
    if (wc->invalidated != 0 && !take_invalidated(e, it, wc->invalidated))
        return;
    rx->len = wc->len;
    rx->after = it != NULL ? iser_post_close(e, it) : 0;
    list_push_back(&e->came, &rx->node);
}

/* How much of len bytes has moved, where an underflow leaves `residual` of them. */
static uint32_t
bytes_moved(uint32_t len, bool underflow, struct be32 residual)
{
    if (!underflow)
        return len;
    return get32(residual) < len ? len - get32(residual) : 0;
}

/* All that the residuals leave has moved, since the target has read and written it before it sent
 * its response (RFC 7145 7.3.5).  The iSCSI layer finds what it would have counted of Data-Ins. */
static void
iser_take_data(const struct iser_ep *e, const struct bhs *bhs)
{
    const struct bhs_scsi_rsp *h = (const void *)bhs;
    struct iscsi_task *t = answered_task(e, bhs);
    bool under = (h->flags & ISCSI_RSP_UNDERFLOW) != 0;
    struct iser_task *it;

    if (t == NULL)
        return;
    it = t->dd_data;
    if (it->out.at != NULL)
        t->conn->stats.txdata_octets += bytes_moved(it->out.len, under, h->residual);
    if (t->sc->in.len == 0)
        return;
    t->exp_datasn = get32(h->exp_data_sn);
    if (t->sc->out.len > 0)
        t->in_done = bytes_moved(t->sc->in.len, (h->flags & ISCSI_RSP_BIDI_UNDERFLOW) != 0,
                                 h->bidi_residual);
    else
        t->in_done = bytes_moved(t->sc->in.len, under, h->residual);
    t->conn->stats.rxdata_octets += t->in_done;
    iser_data_take(&it->in, &t->sc->in, t->in_done);
}

static void
show_received(struct iscsi_conn *c, const struct iser_rx *rx)
{
    const struct bhs *h = bhs_of_rx(rx);

    if (c->flight != NULL) {
        flight_now(c->flight, c->loop->now_ns);
        flight_rx(c->flight, h);
    }
    if (__builtin_expect(c->tap != NULL, 0)) {
        uint32_t rest = rx->len - ISER_HDRS_LEN;
        uint32_t pad = pdu_pad(rest); /* which the target may have left out */
        static const uint8_t zeroes[3];

        c->tap->begin(c->tap->user, c, false, h, ISCSI_BHS_LEN, rest + pad);
        if (rest > 0)
            c->tap->more(c->tap->user, c, false, h + 1, rest);
        if (pad > 0)
            c->tap->more(c->tap->user, c, false, zeroes, pad);
    }
}

void
iser_hand_up(struct iser_ep *e)
{
    while (iser_ep_works(e) && !e->hold && !list_empty(&e->came)) {
        struct iser_rx *rx = container_of(e->came.next, struct iser_rx, node);
        struct iscsi_conn *c = e->conn->conn;
        const struct bhs *h = bhs_of_rx(rx);

        if (c->failed || rx->after > e->done)
            break; /* STags are invalid before their command ends (7.3.1, 7.3.2) */
        list_del(&rx->node);
        show_received(c, rx);
        iser_take_data(e, h);
        /* The target never sends AHS: iser_take has seen to that. */
        if (c->up->complete_pdu(c, h, h + 1, pdu_dseg_len(h)) == ISCSI_RX_HOLD)
            e->hold = true;
        if (e->rnic != NULL)
            e->back[e->nback++] = (uint32_t)(rx - e->rx);
    }
}

/* ---- completions ---------------------------------------------------------------------------- */

static void
completed_badly(struct iser_ep *e, const struct rnic_wc *wc)
{
    static const struct {
        enum iscsi_err err;
        const char *recv, *send;
    } rows[RNIC_STATUS_COUNT] = {
        [RNIC_FLUSHED] = {ISCSI_ERR_CONN_CLOSED, "the RDMA connection has ended",
                          "the RDMA connection has ended"},
        [RNIC_TOO_LONG] = {ISCSI_ERR_DATALEN,
                           "the target has sent a message that is longer than any may be",
                           "the target has sent a message that is longer than any may be"},
        [RNIC_LOCAL_ERROR] = {ISCSI_ERR_PROTO,
                              "the target has sent more than a receive takes, or has invalidated "
                              "an STag that it may not",
                              "the RDMA device refuses what is to be sent"},
        [RNIC_REMOTE_ACCESS] = {ISCSI_ERR_CONN_CLOSED, "the RDMA connection has broken",
                                "the target's memory is not open"},
        [RNIC_REMOTE_ERROR] = {ISCSI_ERR_CONN_CLOSED, "the RDMA connection has broken",
                               "the target could not take a message: its receive is too short"},
        [RNIC_NO_ANSWER] = {ISCSI_ERR_CONN_CLOSED, "the target, or the way to it, is gone",
                            "the target, or the way to it, is gone"},
    };
    const char *why = wc->recv ? rows[wc->status].recv : rows[wc->status].send;

    iser_lost(e, rows[wc->status].err, why);
}

static void
completed_one(struct iser_ep *e, const struct rnic_wc *wc)
{
    if (wc->recv) {
        assert(e->posted > 0 || e->unsure);
        e->posted -= e->posted > 0;
    }
    if (wc->status != RNIC_OK)
        completed_badly(e, wc);
    if (!wc->recv)
        iser_sends_done(e, wc->id);
    else if (wc->status == RNIC_OK && iser_ep_works(e))
        received(e, wc);
}

/* What is due after completions: first what they have ended, then receives for what that makes
 * room for, then everything that is to be sent, together. */
static void
after_event(struct iser_ep *e)
{
    struct iscsi_conn *c = e->conn->conn;

    if (post_back(e) < 0)
        iser_lost(e, ISCSI_ERR_CONN_CLOSED, "the RDMA device does not take receives any more");
    iser_flush(e);
    if (e->want_xmit && iser_ep_works(e)) {
        e->want_xmit = false;
        c->up->queue_xmit(c);
    }
}

void
iser_completed(void *user, const struct rnic_wc *wc, unsigned n)
{
    struct iser_ep *e = user;

    e->in_event = true;
    for (unsigned i = 0; i < n && e->rnic != NULL; i++)
        completed_one(e, &wc[i]);
    iser_finish_cleanups(e, false);
    iser_hand_up(e);
    e->in_event = false;
    if (iser_ep_works(e))
        after_event(e);
    iser_drained(e);
}
