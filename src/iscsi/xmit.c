/* SPDX-License-Identifier: MIT */
/* iscsi/xmit.c - commands down: queuecommand, cmdqueue, xmitworker.
 *
 * A command gets its CmdSN and its connection only when the transport takes its PDU, so that a
 * connection that is stuck holds no number which all others wait for.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "iscsi/internal.h"
#include "wire/pdu.h"

/* Commands that one connection of several sends before others are looked at: they lie in one system
 * call. */
#define XMIT_RUN 4

static void
done_later(struct session *s, struct scsi_cmd *sc, enum scsi_host_result r)
{
    iscsi_set_unfinished(sc, r);
    list_push_back(&s->done, &sc->host_node);
    loop_defer(s->pub.loop, &s->done_work);
}

/* ---- PDUs out ------------------------------------------------------------------------------- */

static int
alloc_pdu(struct task *t, uint8_t opcode)
{
    const struct iscsi_transport *tt = t->pub.conn->tt;

    if (tt->alloc_pdu != NULL)
        return tt->alloc_pdu(&t->pub, opcode);
    t->pub.hdr_max = ISCSI_HDR_MAX - 4;
    return 0;
}

/* Decides how much data goes without an R2T, and whether with the command or in Data-Out PDUs
 * behind it (RFC 7143 4.2.5.2). */
static void
split_unsolicited(struct task *t)
{
    const struct iscsi_session_params *p = &t->pub.conn->session->params;
    uint32_t len = t->pub.sc->out.len;
    uint32_t unasked = len < p->first_burst ? len : p->first_burst;
    uint32_t imm = 0;

    if (__builtin_expect(t->pub.conn->all_or_none, 0)) {
        t->pub.imm_count = iscsi_is_immediate(t->pub.conn, t->pub.sc) ? len : 0;
        return;
    }
    if (p->imm_data)
        imm = unasked < t->pub.conn->max_xmit_dlength ? unasked : t->pub.conn->max_xmit_dlength;
    if (!p->initial_r2t && imm < unasked) {
        imm &= ~3u; /* more follows: a multiple of 4 (11.7.7) */
        t->pub.unsol.offset = imm;
        t->pub.unsol.len = unasked - imm;
    }
    t->pub.imm_count = imm;
}

/* Adds header segments for the CDB bytes from 16 on and for the read length of a bidirectional
 * command (RFC 7143 11.2.2). */
static void
put_ahs(struct task *t, const uint8_t *cdb)
{
    const struct scsi_cmd *sc = t->pub.sc;
    uint8_t *h = (void *)t->pub.hdr;
    int len = 0, n;

    if (sc->cdb_len > 16) {
        n = ahs_put_ext_cdb(h + 48, t->pub.hdr_max - 48u, cdb, sc->cdb_len);
        assert(n > 0);
        len += n;
    }
    if (sc->in.len > 0 && sc->out.len > 0) {
        n = ahs_put_bidi(h + 48 + len, t->pub.hdr_max - 48u - (uint32_t)len, sc->in.len);
        assert(n > 0);
        len += n;
    }
    t->pub.hdr->ahs_words = (uint8_t)(len / 4);
    t->pub.hdr_len = (uint16_t)(48 + len);
}

/* Lays out the PDU of a command that has its number and its header memory. */
static void
put_command(struct conn *c, struct task *t)
{
    const struct scsi_cmd *sc = t->pub.sc;
    const uint8_t *cdb = scsi_cmd_cdb(sc);
    uint8_t cdb16[16] = {0};
    uint32_t flags = ISCSI_FLAG_FINAL;

    if (sc->in.len > 0)
        flags |= ISCSI_CMD_READ;
    if (sc->out.len > 0) {
        flags |= ISCSI_CMD_WRITE;
        split_unsolicited(t);
        if (t->pub.unsol.len > 0)
            flags &= ~ISCSI_FLAG_FINAL;
    }
    memcpy(cdb16, cdb, sc->cdb_len < 16 ? sc->cdb_len : 16);
    iscsi_put_scsi_cmd((uint8_t *)t->pub.hdr, sc, cdb16, flags, t->pub.imm_count, t->pub.itt,
                       sc->out.len > 0 ? sc->out.len : sc->in.len, t->pub.cmd_sn,
                       c->pub.exp_statsn);
    statsn_window_ack(&c->statsn, c->pub.exp_statsn);
    t->pub.hdr_len = ISCSI_BHS_LEN;
    if (__builtin_expect(sc->cdb_len > 16 || (sc->in.len > 0 && sc->out.len > 0), 0))
        put_ahs(t, cdb);
    t->started = true;
}

/* Gives a command its connection, its header and its CmdSN, and takes it off its queue.  -EAGAIN:
 * the transport is full, and the command waits as it did. */
static int
iscsi_prep_scsi_cmd_pdu(struct conn *c, struct task *t)
{
    struct session *s = c->session;
    struct scsi_cmd *sc = t->pub.sc;
    int r;

    t->pub.conn = &c->pub;
    r = alloc_pdu(t, ISCSI_OP_SCSI_CMD);
    if (__builtin_expect(r < 0, 0)) {
        t->pub.conn = NULL;
        return r;
    }
    TRACE(c->pub.loop, iscsi_prep_scsi_cmd_pdu, t->pub.itt, s->win.cmdsn);
    if (__builtin_expect(!t->numbered, 1)) {
        t->pub.cmd_sn = s->win.cmdsn++;
        s->win.queued--;
    }
    t->numbered = false;
    if (__builtin_expect(t->eh != NULL, 0))
        loop_defer(c->pub.loop, &s->eh_work); /* it can be aborted from here on */
    put_command(c, t);
    list_del(&t->pub.node);
    c->running++;
    t->pub.state = ISCSI_TASK_RUNNING;
    t->pub.moved_ns = c->pub.loop->now_ns;
    c->pub.stats.scsicmd_pdus++;
    if (__builtin_expect(t->watched, 0))
        io_watch_enter(sc->watch, IO_STAGE_SEND, loop_clock(c->pub.loop));
    return c->pub.tt->init_task != NULL ? c->pub.tt->init_task(&t->pub) : 0;
}

/* It does not wait for the window. */
static bool
takes_no_number(const struct task *t)
{
    return (t->ctl.h.opcode & ISCSI_OP_IMMEDIATE) != 0 || t->kind == TASK_SNACK;
}

/* Prepares a command that goes again on its connection (resend.c).  -EAGAIN: the transport is full,
 * and it waits as it did. */
static int
prep_again(struct conn *c, struct task *t)
{
    int r = alloc_pdu(t, ISCSI_OP_SCSI_CMD);

    if (r < 0)
        return r;
    t->resend = t->xmit_fast = false;
    t->pub.unsol = (struct iscsi_unsolicited){0};
    t->pub.imm_count = t->pub.out_done = 0;
    put_command(c, t);
    t->pub.moved_ns = c->pub.loop->now_ns;
    c->pub.stats.scsicmd_pdus++;
    return c->pub.tt->init_task != NULL ? c->pub.tt->init_task(&t->pub) : 0;
}

/* Completes the header of a control PDU, t->ctl, with the numbers of this moment. */
static int
iscsi_prep_mgmt_task(struct conn *c, struct task *t)
{
    struct session *s = c->session;
    uint8_t opcode = pdu_opcode(&t->ctl.h);
    bool immediate = takes_no_number(t);
    int r;

    assert(immediate || t->numbered || !cmdsn_window_closed(&s->win));
    r = alloc_pdu(t, opcode);
    if (r < 0)
        return r;
    if (!t->numbered)
        t->pub.cmd_sn = immediate ? s->win.cmdsn : s->win.cmdsn++;
    t->numbered = false;
    if (t->kind != TASK_SNACK) /* every request but Data-Out and SNACK has the two at 24 and 28 */
        t->ctl.nop_out.cmd_sn = put32(t->pub.cmd_sn);
    t->ctl.nop_out.exp_stat_sn = put32(c->pub.exp_statsn);
    statsn_window_ack(&c->statsn, c->pub.exp_statsn);
    t->ctl.h.dseg_len = put24(t->pub.data_len);
    memcpy(t->pub.hdr, &t->ctl, sizeof(t->ctl.h));
    t->pub.hdr_len = sizeof(t->ctl.h);
    t->started = true;
    if (c->pub.flight == NULL)
        iscsi_flight_add(c, true, &t->ctl.h);
    r = c->pub.tt->init_task != NULL ? c->pub.tt->init_task(&t->pub) : 0;
    if (r < 0)
        return r;
    t->pub.state = ISCSI_TASK_RUNNING;
    iscsi_unexpected_sent(c, t);
    if (opcode == ISCSI_OP_NOP_OUT) /* whoever has asked for it */
        c->pub.stats.noptx_pdus++;
    if (opcode == ISCSI_OP_LOGOUT_REQ)
        iscsi_leave_sent(c, &t->ctl.logout_req);
    if (opcode == ISCSI_OP_TMF_REQ)
        iscsi_quiet_covered(c, &t->ctl.tmf_req);
    return 0;
}

/* All that there is to send of a command that is timed is with the transport, for now: when it has
 * been sent, the target is waited for. */
static void __attribute__((noinline, cold)) watch_sending(struct conn *c, struct task *t)
{
    struct io_watch *w = t->pub.sc->watch;

    io_watch_unlink(w);
    if (w->stage == IO_STAGE_SEND)
        io_watch_link(w, &c->pub.sending);
}

/* Hands the task to the transport.  Where that stops in the middle, the task goes on first in the
 * next round. */
static inline int
iscsi_xmit_task(struct conn *c, struct task *t)
{
    int r;

    TRACE(c->pub.loop, iscsi_xmit_task, t->pub.itt, 0);
    r = c->pub.tt->xmit_task(&t->pub);
    c->xmit_task = __builtin_expect(r == -EAGAIN, 0) ? t : NULL;
    if (r == 0 && __builtin_expect(t->kind == TASK_NOP_REPLY || t->kind == TASK_SNACK, 0))
        iscsi_complete_task(t); /* no answer will end it */
    else if (r == 0 && __builtin_expect(t->watched, 0))
        watch_sending(c, t);
    return r;
}

/* The first control PDU that may go: one that the window holds back keeps no ping or task
 * management waiting behind it. */
static struct task *
next_mgmt(struct conn *c)
{
    bool closed = cmdsn_window_closed(&c->session->win);

    LIST_FOREACH (n, &c->mgmtqueue) {
        struct task *t = to_task(container_of(n, struct iscsi_task, node));

        if (iscsi_conn_leaving(c) && t->kind != TASK_NOP_REPLY && t->kind != TASK_SNACK)
            continue;
        if (iscsi_leave_holds(c, t) || iscsi_unexpected_holds(c, t))
            continue;
        if (!closed || t->numbered || takes_no_number(t))
            return t;
    }
    return NULL;
}

/* Sends new commands, as many as the window and the transport take, or its share of them where
 * other connections may take some; meanwhile nothing can turn up that goes before them.  None goes
 * on a connection that is being left, and has been since before its Logout Request where the target
 * asked for one.  -ENOENT: none is left that may go. */
static int
xmit_commands(struct conn *c)
{
    struct session *s = c->session;
    uint32_t left = s->nserving > 1 ? XMIT_RUN : UINT32_MAX;
    struct task *t;
    int r = 0;

    while (r == 0 && left-- > 0 && (t = iscsi_next_command(s)) != NULL && iscsi_conn_serves(c)) {
        r = iscsi_prep_scsi_cmd_pdu(c, t);
        if (r == 0)
            r = iscsi_xmit_task(c, t);
    }
    return r < 0 ? r : -ENOENT;
}

/* The SNACK acknowledges data of a command whose status has come since.  The next PDU acknowledges
 * that, and with it the data: a DataACK must not come after it (RFC 7143 11.7.2). */
static bool
is_late_ack(const struct task *snack)
{
    const struct task *t;

    if ((snack->ctl.h.flags & ISCSI_SNACK_TYPE_MASK) != ISCSI_SNACK_DATA_ACK)
        return false;
    t = iscsi_task_at(snack->session, snack->acks_itt & (ITT_GEN_STEP - 1));
    return t->pub.itt != snack->acks_itt || t->pub.state != ISCSI_TASK_RUNNING;
}

/* Sends the next thing, in the order of Linux's iscsi_data_xmit: what was stopped in the middle,
 * control PDUs, data that R2Ts ask for, new commands.  -ENOENT: there is nothing. */
static int
xmit_one(struct conn *c)
{
    struct task *t;
    int r;

    if (c->xmit_task != NULL)
        return iscsi_xmit_task(c, c->xmit_task);
    t = next_mgmt(c);
    if (t != NULL && __builtin_expect(t->kind == TASK_SNACK, 0) && is_late_ack(t)) {
        iscsi_complete_task(t);
        return 0;
    }
    if (t != NULL) {
        r = iscsi_prep_mgmt_task(c, t);
        if (r < 0)
            return r;
        list_del(&t->pub.node);
        return iscsi_xmit_task(c, t);
    }
    if (!list_empty(&c->requeue)) {
        t = to_task(container_of(c->requeue.next, struct iscsi_task, node));
        if (__builtin_expect(t->resend, 0)) {
            r = prep_again(c, t);
            if (r < 0)
                return r;
        }
        list_del(&t->pub.node);
        return iscsi_xmit_task(c, t);
    }
    return xmit_commands(c);
}

void
iscsi_flush(struct conn *c)
{
    c->unflushed = false;
    if (c->pub.tt->xmit_flush != NULL)
        c->pub.tt->xmit_flush(&c->pub);
}

void __attribute__((noinline, cold)) iscsi_watch_sent(struct conn *c)
{
    if (c->pub.gather.end == NULL) /* else some of it waits for room */
        io_watch_sent(&c->pub.sending, c->pub.loop);
}

/* Something waits, for the window or for answers. */
static void
xmit_waits(struct conn *c)
{
    c->session->win.wanted = true;
    if (c->unexpected_held)
        iscsi_unexpected_ask(c);
}

/* Sends what the connection can, up to a flush. */
static void
xmit_round(struct conn *c)
{
    struct session *s = c->session;
    int r = 0;

    TRACE(c->pub.loop, iscsi_xmitworker, c->pub.cid, 0);
    loop_defer_cancel(&c->xmit_work);
    while (r == 0 && !c->suspended)
        r = xmit_one(c);
    if (c->suspended)
        return;
    if (r != -ENOENT && r != -EAGAIN) {
        iscsi_conn_failure(&c->pub, ISCSI_ERR_CONN_CLOSED, "the transport cannot send");
        return;
    }
    c->full = r == -EAGAIN;
    c->unflushed = true;
    if (!list_empty(&c->mgmtqueue) || (!list_empty(&s->cmdqueue) && cmdsn_window_closed(&s->win)))
        xmit_waits(c);
    else if (r == -ENOENT && c->pub.gather.end != NULL && iscsi_tx_fast_ok(s, c))
        s->fast_conn = c;
}

void
iscsi_round_over(struct conn *c)
{
    iscsi_flush(c);
    if (__builtin_expect(c->pub.sending != NULL, 0))
        iscsi_watch_sent(c);
}

void
iscsi_xmitworker(struct conn *c)
{
    xmit_round(c);
    if (c->suspended)
        return;
    iscsi_round_over(c);
    iscsi_xmit_wanted(c->session); /* of what it has left, others have their share */
}

/* Each round sends a command, or ends with a connection that takes none for now. */
void
iscsi_xmit_queued(struct session *s)
{
    struct conn *c;

    while (iscsi_next_command(s) != NULL && (c = iscsi_pick_conn(s)) != NULL)
        xmit_round(c);
}

/* ---- commands in ---------------------------------------------------------------------------- */

/* The midlayer is told when to try again. */
static int
refuse_command(struct session *s)
{
    s->want_restart = true;
    LIST_FOREACH (n, &s->conns)
        iscsi_leave_fast(container_of(n, struct conn, node)); /* the general path restarts it */
    return -EBUSY;
}

/* The window is closed, or all tasks are taken. */
static int __attribute__((noinline, cold)) no_room(struct session *s)
{
    iscsi_window_wanted(s);
    return refuse_command(s);
}

/* No connection takes commands.  While the leading one is being left in order the session goes on,
 * and so may the command, later: when another connection leads, or the host runs again. */
static int __attribute__((noinline, cold)) no_conn(struct session *s, struct scsi_cmd *sc)
{
    if (s->state == ISCSI_STATE_LOGGED_IN)
        return refuse_command(s);
    TRACE(s->pub.loop, iscsi_queuecommand, scsi_cmd_cdb(sc)[0], ISCSI_TAG_RSVD);
    done_later(s, sc, s->state == ISCSI_STATE_BLOCKED ? DID_IMM_RETRY : DID_NO_CONNECT);
    return 0;
}

int
iscsi_queue_general(struct session *s, struct scsi_cmd *sc)
{
    struct task *t;

    if (__builtin_expect(s->nserving == 0, 0))
        return no_conn(s, sc);
    assert(sc->cdb_len <= s->host.max_cdb_len && sc->out.iovcnt <= s->host.max_sg);
    /* What is queued counts, so that a closed window pushes back instead of letting commands pile
     * up. */
    if (__builtin_expect(cmdsn_window_full(&s->win), 0) ||
        (t = iscsi_alloc_task(s, NULL, TASK_SCSI)) == NULL)
        return no_room(s);
    assert(list_empty(&t->pub.node) && !t->cleaning);
    t->pub.sc = sc;
    sc->host_priv = t;
    TRACE(s->pub.loop, iscsi_queuecommand, scsi_cmd_cdb(sc)[0], t->pub.itt);
    s->fast_conn = NULL; /* commands that come now queue up behind it */
    list_push_back(&s->cmdqueue, &t->pub.node);
    s->win.queued++;
    return 0;
}

/* ---- what others ask to be sent
 * ------------------------------------------------------------------- */

void
iscsi_requeue_task(struct iscsi_task *pub)
{
    struct conn *c = to_conn(pub->conn);

    assert(pub->state == ISCSI_TASK_RUNNING && pub->sc != NULL);
    if (__builtin_expect(pub->quiet, 0) && !iscsi_quiet_asked(to_task(pub)))
        return;
    c->session->fast_conn = NULL;
    if (__builtin_expect(to_task(pub)->watched, 0)) {
        io_watch_unlink(pub->sc->watch);
        io_watch_arrived(pub->sc->watch, IO_STAGE_SEND, c->pub.last_recv_ns, c->pub.loop);
    }
    list_del(&pub->node);
    list_push_back(&c->requeue, &pub->node);
    iscsi_conn_queue_xmit(c);
}
