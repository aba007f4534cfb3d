/* SPDX-License-Identifier: MIT */
/* iscsi/complete.c - takes PDUs of the target in: first their numbers, then each kind by its rules.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "iscsi/datasn.h"
#include "iscsi/internal.h"
#include "iscsi/mend.h"
#include "wire/names.h"
#include "wire/pdu.h"
#include "wire/sn.h"

/* What is said of a connection on another one may be under way for so long. */
#define ASYNC_LATE_NS (5 * LOOP_NS_PER_S)

#define SAM_GOOD            0x00
#define SAM_CHECK_CONDITION 0x02

static int
proto_error(struct conn *c, const char *why)
{
    iscsi_conn_failure(&c->pub, ISCSI_ERR_PROTO, why);
    return -EPROTO;
}

/* ---- numbers -------------------------------------------------------------------------------- */

/* Has the request that h answers no answer yet?  Then h is no response that came before, whatever
 * its StatSN says. */
static bool
is_first_answer(const struct conn *c, const union bhs_any *h, const void *data, uint32_t len)
{
    const struct bhs *bad = data;
    struct be32 itt = h->h.itt;
    const struct task *t;

    if (pdu_opcode(&h->h) == ISCSI_OP_REJECT && len >= ISCSI_BHS_LEN)
        itt = bad->itt;
    t = iscsi_task_of_itt(c, itt);
    return t != NULL && !(t->kind == TASK_USER && t->answered);
}

/* A response with an old StatSN.  It is dropped where it is a repetition (RFC 7143 7.9).  Where a
 * request still waits for it, dropping it would leave the request to its time limit. */
static int
old_statsn(struct conn *c, uint32_t sn, const union bhs_any *h, const void *data, uint32_t len)
{
    char why[160];

    if (!is_first_answer(c, h, data, len))
        return 0;
    (void)snprintf(why, sizeof(why),
                   "the target gives several answers one StatSN (%u, in a PDU of type \"%s\"): "
                   "answers cannot be told from repetitions",
                   sn, pdu_opcode_name(pdu_opcode(&h->h)));
    iscsi_conn_failure(&c->pub, ISCSI_ERR_STATSN, why);
    return -EPROTO;
}

/* A response that is not simply the next one; returns as check_statsn. */
static int __attribute__((noinline, cold))
odd_statsn(struct conn *c, uint32_t sn, const union bhs_any *h, const void *data, uint32_t len)
{
    bool repairs = c->session->pub.params.erl > 0 && c->started;
    struct statsn_window *w = &c->statsn;
    enum statsn_verdict verdict;
    uint32_t first, n, seen;
    char why[160];

    if (w->known && w->ahead == 0 && !repairs && iscsi_bend_explains(c, sn))
        c->pub.exp_statsn = sn;
    statsn_window_good(w, c->pub.exp_statsn);
    seen = w->seen;
    verdict = statsn_window_add(w, sn);
    c->rx_fast = c->rx_fast && w->no_gap;
    switch (verdict) {
    case STATSN_IN_ORDER:
        c->pub.exp_statsn = w->good;
        if (repairs)
            iscsi_snack_closed(c);
        return 1;
    case STATSN_DUPLICATE:
        return old_statsn(c, sn, h, data, len);
    case STATSN_GAP:
    case STATSN_TOO_FAR: /* it is dropped, and asked for when the gap is closed */
        if (!repairs)
            break;
        return !iscsi_snack_gap(c, seen, sn, verdict == STATSN_TOO_FAR) ? -EPROTO
                                                                        : verdict == STATSN_GAP;
    }
    n = statsn_window_missing(w, &first);
    (void)snprintf(why, sizeof(why),
                   "responses were lost: StatSN %u where %u was expected; %u from there on are "
                   "missing, the target knows that we have those below %u",
                   sn, first, n, w->acked);
    iscsi_conn_failure(&c->pub, ISCSI_ERR_STATSN, why);
    return -EPROTO;
}

/* 1: the next response in order, or one that may be taken before others that are asked for; 0: a
 * duplicate, to be dropped; < 0: a gap, responses were lost, which nothing can mend at error
 * recovery level 0 (RFC 7143 7.9). */
static inline int
check_statsn(struct conn *c, const union bhs_any *h, const void *data, uint32_t len)
{
    uint32_t sn = get32(h->nop_in.stat_sn); /* every response has it at 24 */

    if (__builtin_expect(sn != c->pub.exp_statsn || !c->statsn.no_gap, 0))
        return odd_statsn(c, sn, h, data, len);
    c->pub.exp_statsn = sn + 1;
    return 1;
}

/* The StatSN of a NOP-In that answers nothing is the next one (RFC 7143 11.19.2).  A target that
 * pings often keeps us from pinging it, so that nothing else may ever tell of a response that was
 * lost and was the last one.  Returns as check_statsn. */
static int
told_statsn(struct conn *c, const union bhs_any *h)
{
    if (c->session->pub.params.erl == 0 || !c->started)
        return 1;
    return iscsi_status_told(c, get32(h->nop_in.stat_sn)) ? 1 : -EPROTO;
}

/* ---- SCSI ----------------------------------------------------------------------------------- */

/* Takes the residual of one direction.  False when what the target says cannot be. */
static bool
take_residual(struct scsi_cmd *sc, bool over, bool under, uint32_t count, uint32_t len,
              uint32_t *ret_resid)
{
    *ret_resid = 0;
    if (over && under)
        return false; /* RFC 7143 11.4.1 */
    if (over)
        sc->overflow = true;
    if (under) {
        if (count > len)
            return false;
        *ret_resid = count;
    }
    return true;
}

static void
take_sense(struct conn *c, struct scsi_cmd *sc, const uint8_t *data, uint32_t len)
{
    uint32_t sense_len;

    if (len < 2)
        return;
    sense_len = ld_be16(data);
    if (sense_len > len - 2) { /* its two length bytes are part of the segment */
        log_line(c->pub.loop->log, LOG_LEVEL_WARN, "%s: sense of %u bytes in a segment of %u",
                 c->session->host.name, sense_len, len);
        sc->host_result = DID_BAD_TARGET;
        return;
    }
    sc->sense_len = (uint16_t)(sense_len < SCSI_SENSE_MAX ? sense_len : SCSI_SENSE_MAX);
    memcpy(sc->sense, data + 2, sc->sense_len);
}

/* True unless the target says GOOD although less data has come than was expected, and the residual
 * does not account for it. */
static bool
data_complete(const struct task *t)
{
    const struct scsi_cmd *sc = t->pub.sc;

    return sc->status != SAM_GOOD || t->pub.in_done >= sc->in.len - sc->resid_in;
}

/* Data that never came was not received, and data that never left was not taken, whatever the
 * residual says.  (What an offloading transport sends by itself is not counted here.) */
static void
correct_residuals(const struct task *t)
{
    struct scsi_cmd *sc = t->pub.sc;

    if (sc->host_result != DID_OK)
        return;
    if (sc->resid_in < sc->in.len && t->pub.in_done < sc->in.len - sc->resid_in)
        sc->resid_in = sc->in.len - t->pub.in_done;
    if ((t->pub.conn->tt->caps & CAP_DATA_PATH_OFFLOAD) == 0 && sc->resid_out < sc->out.len &&
        t->pub.out_done < sc->out.len - sc->resid_out)
        sc->resid_out = sc->out.len - t->pub.out_done;
}

static inline void
clear_result(struct scsi_cmd *sc)
{
    sc->host_result = DID_OK;
    sc->status = 0;
    sc->response = 0;
    sc->status_qualifier = 0;
    sc->sense_len = 0;
    sc->resid_in = sc->resid_out = 0;
    sc->overflow = false;
}

/* Data were lost, and the target does not send them again: the command has failed, whatever its
 * status says, as if the target had found a CRC error itself (RFC 7143 7.8). */
static void __attribute__((noinline, cold)) set_crc_error(struct scsi_cmd *sc)
{
    static const uint8_t crc_error[] = {0x70, 0, 0x0b, 0,    0,    0, 0, 10, 0,
                                        0,    0, 0,    0x47, 0x05, 0, 0, 0,  0};

    if (sc->status != SAM_GOOD)
        return;
    sc->host_result = DID_OK;
    sc->status = SAM_CHECK_CONDITION;
    sc->sense_len = sizeof(crc_error);
    memcpy(sc->sense, crc_error, sizeof(crc_error));
}

/* The response says that the target has sent more data PDUs than came (RFC 7143 11.4.8). */
static int __attribute__((noinline, cold))
data_in_lost(struct conn *c, const struct task *t, uint32_t exp_data_sn)
{
    struct datasn_runs came;
    uint32_t sn, at, pdus, bytes;
    char why[160];

    datasn_runs_init(&came, t->pub.exp_datasn, t->pub.in_done);
    pdus = datasn_set_missing(&came.seen, exp_data_sn, &sn);
    bytes = datasn_set_missing(&came.good, t->pub.sc->in.len, &at);
    (void)snprintf(why, sizeof(why),
                   "the response counts more Data-In PDUs than came: %u from DataSN %u on, with %u "
                   "bytes from %u on, are missing",
                   pdus, sn, bytes, at);
    iscsi_conn_failure(&c->pub, ISCSI_ERR_PROTO, why);
    return -EPROTO;
}

/* Takes a SCSI Response (RFC 7143 11.4). */
static int
iscsi_scsi_cmd_rsp(struct conn *c, struct task *t, const struct bhs_scsi_rsp *h, const void *data,
                   uint32_t len)
{
    struct scsi_cmd *sc = t->pub.sc;
    bool bidi = sc->in.len > 0 && sc->out.len > 0;
    uint32_t *resid = sc->out.len > 0 ? &sc->resid_out : &sc->resid_in;
    uint32_t expected = sc->out.len > 0 ? sc->out.len : sc->in.len;
    bool ok;

    c->pub.stats.scsirsp_pdus++;
    clear_result(sc);
    if (h->response !=
        ISCSI_RESPONSE_COMPLETED) { /* status, flags and residuals mean nothing then */
        iscsi_set_unfinished(sc, DID_ERROR);
        sc->response = h->response;
        iscsi_complete_task(t);
        return 0;
    }
    if (h->status == SAM_CHECK_CONDITION && len < 2)
        return proto_error(c, "CHECK CONDITION without sense data");
    if (sn_gt(get32(h->exp_data_sn), t->pub.exp_datasn) && sc->in.len > 0 && !t->data_lost)
        return data_in_lost(c, t, get32(h->exp_data_sn));
    sc->status = h->status;
    if (c->session->pub.params.protocol_level >= 2)
        sc->status_qualifier = get16(h->status_qualifier);
    ok = take_residual(sc, h->flags & ISCSI_RSP_OVERFLOW, h->flags & ISCSI_RSP_UNDERFLOW,
                       get32(h->residual), expected, resid);
    if (bidi)
        ok = ok && take_residual(sc, h->flags & ISCSI_RSP_BIDI_OVERFLOW,
                                 h->flags & ISCSI_RSP_BIDI_UNDERFLOW, get32(h->bidi_residual),
                                 sc->in.len, &sc->resid_in);
    if (!ok || !data_complete(t))
        sc->host_result = DID_BAD_TARGET;
    correct_residuals(t);
    take_sense(c, sc, data, len);
    if (__builtin_expect(t->data_lost, 0))
        set_crc_error(sc);
    iscsi_complete_task(t);
    return 0;
}

/* Takes a status that comes with the last data (RFC 7143 11.7.3): only those without sense may. */
static int
iscsi_data_in_rsp(struct conn *c, struct task *t, const struct bhs_data_in *h)
{
    struct scsi_cmd *sc = t->pub.sc;

    if (h->status != SAM_GOOD && h->status != 0x04 && h->status != 0x10 && h->status != 0x14)
        return proto_error(c, "Data-In carries a status that needs a response of its own");
    clear_result(sc);
    sc->status = h->status;
    if (!take_residual(sc, h->flags & ISCSI_RSP_OVERFLOW, h->flags & ISCSI_RSP_UNDERFLOW,
                       get32(h->residual), sc->in.len, &sc->resid_in) ||
        !data_complete(t))
        sc->host_result = DID_BAD_TARGET;
    correct_residuals(t);
    if (__builtin_expect(t->data_lost, 0))
        set_crc_error(sc);
    iscsi_complete_task(t);
    return 0;
}

/* ---- all other PDUs
 * ------------------------------------------------------------------------------- */

/* The last Login Response of a connection: it has joined its session. */
static bool
is_final_login(const struct bhs_login_rsp *l)
{
    return l->status_class == 0 && (l->flags & ISCSI_LOGIN_TRANSIT) &&
           bhs_login_nsg(l->flags) == ISCSI_STAGE_FFP;
}

static int
iscsi_login_rsp(struct conn *c, struct task *t, const union bhs_any *h, const void *data,
                uint32_t len)
{
    bool final = is_final_login(&h->login_rsp);
    int r;

    if (c->state != CONN_IN_LOGIN)
        return proto_error(c, "Login Response outside the login phase");
    r = iscsi_user_answer(c, t, h, data, len, final || h->login_rsp.status_class != 0);
    return r < 0 ? r : final ? ISCSI_RX_HOLD : 0;
}

/* Takes a NOP-In: an answer to one of our pings, a question, or neither (RFC 7143 11.19). */
static int
iscsi_nop_in(struct conn *c, const union bhs_any *h, const void *data, uint32_t len)
{
    bool for_us = get32(h->nop_in.ttt) != ISCSI_TAG_RSVD;
    struct iscsi_task *pub;
    struct task *t;

    c->pub.stats.noprx_pdus++;
    if (get32(h->nop_in.itt) == ISCSI_TAG_RSVD) {
        if (len > 0)
            return proto_error(c, "a NOP-In that answers nothing carries data");
        iscsi_bend_pinged(c);
        if (for_us)
            iscsi_send_nopout(c, &h->nop_in);
        return 0;
    }
    if (get32(h->nop_in.ttt) == 0)
        iscsi_bend(c, BEND_NOP_TTT_ZERO);
    else if (for_us)
        return proto_error(c, "NOP-In that is an answer and a question at once");
    pub = iscsi_itt_to_task(&c->pub, h->nop_in.itt);
    t = pub != NULL ? to_task(pub) : NULL;
    if (t != NULL && t->kind == TASK_PING) {
        bool filled = (t->ctl.h.opcode & ISCSI_OP_IMMEDIATE) == 0;

        iscsi_again_told(c->session, t);
        iscsi_complete_task(t);
        if (filled)
            iscsi_fill_gap(c->session); /* the next one */
        if (c->unacked_itt != ISCSI_TAG_RSVD)
            iscsi_ask_unacked(c);
        return c->suspended ? -EPROTO : 0;
    }
    if (t != NULL && t->kind == TASK_USER && pdu_opcode(&t->ctl.h) == ISCSI_OP_NOP_OUT)
        return iscsi_user_answer(c, t, h, data, len, true);
    return proto_error(c, "NOP-In answers a ping that nobody sent");
}

/* Takes a Reject, whose data is the header of what was rejected (RFC 7143 11.17, 7.3). */
static int
iscsi_handle_reject(struct conn *c, const union bhs_any *h, const void *data, uint32_t len)
{
    const struct bhs *bad = data;
    struct task *t;
    char why[160];

    c->pub.stats.reject_pdus++;
    if (len < ISCSI_BHS_LEN)
        return proto_error(c, "a Reject without the header that it rejects");
    if (pdu_opcode(bad) == ISCSI_OP_SNACK_REQ && c->session->pub.params.erl > 0) {
        log_line(c->pub.loop->log, LOG_LEVEL_WARN, "%s: the target rejected our SNACK: %s",
                 c->session->host.name, iscsi_reject_name(h->reject.reason));
        iscsi_snack_rejected(c, data);
        return c->suspended ? -EPROTO : 0;
    }
    t = iscsi_task_of_itt(c, bad->itt);
    (void)snprintf(why, sizeof(why), "the target rejected our %s: %s",
                   pdu_opcode_name(bad->opcode & ISCSI_OP_MASK),
                   iscsi_reject_name(h->reject.reason));
    log_line(c->pub.loop->log, LOG_LEVEL_WARN, "%s: %s", c->session->host.name, why);
    if (t == NULL)
        return 0;
    switch (t->kind) {
    case TASK_PING: /* the target is alive, which is what was asked, or says what it waits for */
        iscsi_again_told(c->session, t);
        iscsi_complete_task(t);
        return 0;
    case TASK_USER:
        return iscsi_user_answer(c, t, h, data, len, true);
    case TASK_SCSI:
        if (pdu_opcode(bad) == ISCSI_OP_DATA_OUT)
            return 0; /* the command gets a response of its own: 7.3 */
        if (h->reject.reason == ISCSI_REJECT_WAITING_FOR_LOGOUT && c->state != CONN_LOGGED_IN) {
            /* It crossed the target's wish for a logout (11.9.1), and was not executed. */
            iscsi_set_unfinished(t->pub.sc, DID_REQUEUE);
            iscsi_complete_task(t);
            return 0;
        }
        if (h->reject.reason == ISCSI_REJECT_DATA_DIGEST && c->session->pub.params.erl > 0 &&
            pdu_opcode(bad) == ISCSI_OP_SCSI_CMD && iscsi_resend(c, t))
            return 0;
        /* The command's CmdSN counts as never received; at level 0 only a new session closes the
         * gap. */
        return proto_error(c, why);
    case TASK_REASSIGN:
        return iscsi_reassign_rejected(c, t, h->reject.reason);
    case TASK_TMF:
    case TASK_NOP_REPLY:
    case TASK_SNACK:
    case TASK_CLEAR:
        return proto_error(c, why);
    }
    return 0;
}

/* Another connection than d brings the message that d is dropped.  Nothing orders it behind d's
 * login, and targets tell of a loss late that we have seen first: then it is about the connection
 * that had the CID before.  Where d is dropped nevertheless, it closes, or pings find out. */
static bool
told_of_predecessor(const struct conn *c, const struct conn *d)
{
    return d != c && (!d->started || c->pub.loop->now_ns - d->started_ns < ASYNC_LATE_NS);
}

/* The target drops a connection, or all of them with dropped NULL: that is their loss, with the
 * times that the target gives. */
static int
async_drop(struct conn *c, struct conn *dropped, const struct bhs_async *a)
{
    struct session *s = c->session;
    char why[160];

    (void)snprintf(why, sizeof(why), "the target announced: %s", iscsi_async_name(a->event));
    LIST_FOREACH (n, &s->conns) {
        struct conn *d = container_of(n, struct conn, node);

        if (dropped != NULL && d != dropped)
            continue;
        iscsi_clear_told(s, d->pub.cid, get16(a->param2), get16(a->param3));
        if (dropped != NULL && told_of_predecessor(c, d))
            continue;
        iscsi_conn_set_times(d, get16(a->param2), get16(a->param3));
        iscsi_conn_failure(&d->pub, ISCSI_ERR_ASYNC, why);
    }
    return c->suspended ? -EPROTO : 0;
}

/* The target ends all tasks that it has of a unit on this connection, since somebody has reset it.
 * Their data stops, and then the message is acknowledged, so that the target may forget them
 * (11.9.1).  Which ones it had is to be found out. */
static void
tasks_are_ended(struct conn *c, const struct bhs_async *a)
{
    struct bhs_nop_in ack = {.ttt = put32(ISCSI_TAG_RSVD)};

    memcpy(ack.lun, a->lun, sizeof(ack.lun));
    iscsi_quiet_told(c, a->lun, get32(a->exp_cmd_sn));
    iscsi_send_nopout(c, &ack);
    iscsi_tmf_told(c->session);
}

/* Takes an asynchronous message (RFC 7143 11.9).  A request to negotiate is one for a logout, since
 * that is how we answer it. */
static int
iscsi_async(struct conn *c, const union bhs_any *h, const void *data, uint32_t len)
{
    struct session *s = c->session;
    const struct bhs_async *a = &h->async;
    struct conn *dropped;

    c->pub.stats.async_pdus++;
    c->unserved_sn++; /* nobody has asked for it */
    switch (a->event) {
    case ISCSI_ASYNC_SCSI:
        if (len >= 2 && ld_be16(data) <= len - 2 && s->host.ev != NULL)
            s->host.ev->async_sense(s->host.ev_user, a->lun, (const uint8_t *)data + 2,
                                    ld_be16(data));
        return 0;
    case ISCSI_ASYNC_LOGOUT_REQUEST:
    case ISCSI_ASYNC_NEGOTIATE:
        iscsi_leave_asked(c, get16(a->param3));
        break;
    case ISCSI_ASYNC_DROP_CONNECTION:
        (void)iscsi_to_control_plane(c, &h->h, data, len);
        dropped = iscsi_conn_of_cid(s, get16(a->param1));
        return dropped != NULL ? async_drop(c, dropped, a) : 0;
    case ISCSI_ASYNC_DROP_SESSION:
        (void)iscsi_to_control_plane(c, &h->h, data, len);
        return async_drop(c, NULL, a);
    case ISCSI_ASYNC_FAST_ABORT:
        if (!s->pub.params.fast_abort)
            return proto_error(c, "async event 5 without TaskReporting=FastAbort");
        tasks_are_ended(c, a);
        break;
    default:
        break;
    }
    return iscsi_to_control_plane(c, &h->h, data, len);
}

/* Takes the answer to a Logout Request (RFC 7143 11.15).  One that is no success ends the
 * connection all the same (8.1.2 T17). */
static int
iscsi_logout_rsp(struct conn *c, struct task *t, const union bhs_any *h, const void *data,
                 uint32_t len)
{
    const struct bhs_logout_req asked = t->ctl.logout_req;
    bool ok = iscsi_leave_answered(c, &asked, &h->logout_rsp);
    int r = iscsi_user_answer(c, t, h, data, len, true);

    if (r < 0 || ok)
        return r;
    if ((asked.flags & ISCSI_LOGOUT_REASON_MASK) == ISCSI_LOGOUT_CLOSE_SESSION)
        iscsi_session_failure(c->session, ISCSI_ERR_ASYNC,
                              "the target has not logged the session out");
    else
        iscsi_conn_failure(&c->pub, ISCSI_ERR_ASYNC,
                           "the target has not logged the connection out");
    return -EPROTO;
}

/* Takes a response to a task that is not a SCSI command, if the task is of the kind that it
 * answers. */
static int
task_rsp(struct conn *c, struct task *t, const union bhs_any *h, const void *data, uint32_t len)
{
    uint8_t op = pdu_opcode(&h->h), asked = t != NULL ? pdu_opcode(&t->ctl.h) : 0;
    bool user = t != NULL && t->kind == TASK_USER;

    if (t != NULL && t->kind == TASK_TMF && op == ISCSI_OP_TMF_RSP) {
        iscsi_tmf_rsp(c, t, &h->tmf_rsp);
        return 0;
    }
    if (t != NULL && t->kind == TASK_REASSIGN && op == ISCSI_OP_TMF_RSP)
        return iscsi_reassign_answered(c, t, h->tmf_rsp.response);
    if (user && op == ISCSI_OP_LOGIN_RSP && asked == ISCSI_OP_LOGIN_REQ)
        return iscsi_login_rsp(c, t, h, data, len);
    if (user && op == ISCSI_OP_TEXT_RSP && asked == ISCSI_OP_TEXT_REQ)
        return iscsi_user_answer(c, t, h, data, len, (h->h.flags & ISCSI_FLAG_FINAL) != 0);
    if (user && op == ISCSI_OP_LOGOUT_RSP && asked == ISCSI_OP_LOGOUT_REQ)
        return iscsi_logout_rsp(c, t, h, data, len);
    if (t != NULL && t->kind == TASK_CLEAR && op == ISCSI_OP_LOGOUT_RSP)
        return iscsi_clear_answered(c, t, &h->logout_rsp);
    if (t == NULL && (op == ISCSI_OP_SCSI_RSP || op == ISCSI_OP_DATA_IN) &&
        iscsi_itt_ended(&c->pub, h->h.itt))
        return 0; /* the target answered before it took note of the abort: 4.2.3.3 */
    iscsi_conn_failure(&c->pub, ISCSI_ERR_BAD_ITT, "a response to a task that is not there");
    return -EPROTO;
}

/* Until login is over only Login Responses may come, and afterwards none (RFC 7143 4.2.4). */
static bool
legal_now(const struct conn *c, uint8_t op)
{
    return c->state == CONN_IN_LOGIN ? op == ISCSI_OP_LOGIN_RSP : op != ISCSI_OP_LOGIN_RSP;
}

/* Takes everything but answers to SCSI commands in full feature phase. */
static int __attribute__((noinline))
other_pdu(struct conn *c, const union bhs_any *h, const void *data, uint32_t len)
{
    uint8_t op = pdu_opcode(&h->h);
    bool unnumbered = op == ISCSI_OP_NOP_IN && get32(h->h.itt) == ISCSI_TAG_RSVD;
    int r;

    if (!legal_now(c, op))
        return proto_error(c, c->state == CONN_IN_LOGIN ? "another PDU than Login Response in login"
                                                        : "Login Response after login");
    if (op == ISCSI_OP_LOGIN_RSP && h->login_rsp.status_class != 0) {
        r = 1; /* the numbers in a refusal mean nothing: 11.13.4 */
    } else {
        r = unnumbered ? told_statsn(c, h) : check_statsn(c, h, data, len);
        /* Before a login is through, a target need not have said anything of the session. */
        if (r > 0 && (op != ISCSI_OP_LOGIN_RSP || is_final_login(&h->login_rsp)))
            iscsi_window_update(c->session, h->nop_in.exp_cmd_sn, h->nop_in.max_cmd_sn);
    }
    if (r <= 0)
        return r;
    if (op == ISCSI_OP_NOP_IN)
        return iscsi_nop_in(c, h, data, len);
    if (op == ISCSI_OP_ASYNC)
        return iscsi_async(c, h, data, len);
    if (op == ISCSI_OP_REJECT)
        return iscsi_handle_reject(c, h, data, len);
    return task_rsp(c, iscsi_task_of_itt(c, h->h.itt), h, data, len);
}

static int __attribute__((noinline))
any_pdu(struct conn *c, const union bhs_any *h, const void *data, uint32_t len)
{
    struct session *s = c->session;
    uint8_t op = pdu_opcode(&h->h);
    struct task *t;
    int r;

    TRACE(c->pub.loop, iscsi_complete_pdu, op, get32(h->h.itt));
    if (c->pub.flight == NULL)
        iscsi_flight_add(c, false, &h->h);
    if (c->suspended || c->pub.failed) /* one that was refused leaves the numbers in a state that
                                          nothing follows */
        return -ENOTCONN;
    if ((op != ISCSI_OP_DATA_IN && op != ISCSI_OP_SCSI_RSP) || c->state == CONN_IN_LOGIN)
        return other_pdu(c, h, data, len);
    if (__builtin_expect(s->pub.params.erl > 0, 0) && iscsi_snack_holds(c, h, data, len))
        return c->suspended ? -EPROTO : 0;
    r = check_statsn(c, h, data, len);
    if (r <= 0)
        return r;
    iscsi_window_update(s, h->scsi_rsp.exp_cmd_sn, h->scsi_rsp.max_cmd_sn);
    c->rx_fast = iscsi_rx_fast_ok(c);
    t = iscsi_task_of_itt(c, h->h.itt);
    if (t == NULL || t->kind != TASK_SCSI)
        return task_rsp(c, t, h, data, len);
    return op == ISCSI_OP_DATA_IN ? iscsi_data_in_rsp(c, t, &h->data_in)
                                  : iscsi_scsi_cmd_rsp(c, t, &h->scsi_rsp, data, len);
}

int
iscsi_complete_pdu(struct iscsi_conn *pub, const struct bhs *hdr, const void *data, uint32_t len)
{
    struct conn *c = to_conn(pub);
    int r = any_pdu(c, (const void *)hdr, data, len);

    pub->failed |= r < 0;
    return r;
}
