/* SPDX-License-Identifier: MIT */
#include "target/ffp.h"

#include <assert.h>
#include <string.h>

#include "lu/buf.h"
#include "target/command.h"
#include "target/conn.h"
#include "target/ctl.h"
#include "target/exec.h"
#include "target/hole.h"
#include "target/instance.h"
#include "target/leave.h"
#include "target/lost.h"
#include "target/order.h"
#include "target/session.h"
#include "target/snack.h"
#include "target/text.h"
#include "target/tmf.h"
#include "target/txq.h"
#include "wire/pdu.h"

static void
ffp_reject(struct tgt_conn *c, uint8_t reason)
{
    tgt_reject(c, &c->h.bhs, ISCSI_BHS_LEN + pdu_ahs_len(&c->h.bhs), reason);
}

static void
do_nop(struct tgt_conn *c, const struct bhs *bhs, const uint8_t *data, uint32_t len)
{
    const struct bhs_nop_out *h = (const struct bhs_nop_out *)(const void *)bhs;
    struct tgt_ctl *ctl;

    c->ping_sent = false;
    if (get32(h->itt) == ISCSI_TAG_RSVD)
        return; /* an answer to ours, or a mere acknowledgment */
    if (tgt_hook(c->target->hook, TGT_HOOK_NOP, NULL))
        return;
    ctl = tgt_ctl_new_with(ISCSI_OP_NOP_IN, get32(h->itt), data,
                           len < c->xmit_max ? len : c->xmit_max);
    if (ctl == NULL) {
        tgt_conn_kill(c, "out of memory");
        return;
    }
    memcpy(((struct bhs_nop_in *)(void *)ctl->hdr)->lun, h->lun, sizeof(h->lun));
    ((struct bhs_nop_in *)(void *)ctl->hdr)->ttt = put32(ISCSI_TAG_RSVD);
    tgt_ctl_send(c, ctl);
}

static void
logout_respond(struct tgt_conn *c, uint32_t itt, uint8_t code, bool close)
{
    struct tgt_ctl *ctl = tgt_ctl_new(ISCSI_OP_LOGOUT_RSP, itt);
    struct bhs_logout_rsp *h;

    if (ctl == NULL) {
        tgt_conn_kill(c, "out of memory");
        return;
    }
    h = (struct bhs_logout_rsp *)(void *)ctl->hdr;
    h->response = code;
    if (!c->sess->discovery) {
        h->time2wait = put16((uint16_t)c->sess->params.time2wait);
        if (c->sess->params.erl == 2) /* else nothing is kept for a later connection */
            h->time2retain = put16((uint16_t)c->sess->params.time2retain);
    }
    ctl->close_after = close;
    tgt_ctl_send(c, ctl);
    if (!close)
        return;
    c->asked = true;
    tgt_conn_close_soon(c);
}

/* All that is of the session ends but c. */
static void
logout_session(struct tgt_conn *c)
{
    struct tgt_session *s = c->sess;

    tgt_session_forget(s);
    tgt_end_commands(s, NULL);
    LIST_FOREACH_SAFE (i, &s->conns) {
        struct tgt_conn *other = container_of(i, struct tgt_conn, sess_link);

        if (other == c)
            continue;
        other->asked = true;
        tgt_conn_kill(other, "session logged out");
    }
}

/* Ends a connection, or lets its tasks wait for another one.  Whether c itself is to close. */
static bool
logout_conn(struct tgt_conn *c, struct tgt_conn *other, uint8_t reason)
{
    bool recovers = reason == ISCSI_LOGOUT_RECOVERY;

    if (other->lost && recovers) {
        tgt_lost_logged_out(other);
    } else if (other->lost) {
        tgt_lost_end(other);
    } else if (other == c) {
        c->recovers = recovers;
        if (!recovers)
            tgt_end_commands(c->sess, c);
    } else {
        other->recovers = recovers;
        other->asked = true;
        tgt_conn_kill(other, "logged out through another connection");
    }
    return other == c;
}

static void
do_logout(struct tgt_conn *c, const struct bhs *bhs, const uint8_t *data, uint32_t len)
{
    const struct bhs_logout_req *h = (const struct bhs_logout_req *)(const void *)bhs;
    uint8_t reason = h->flags & ISCSI_LOGOUT_REASON_MASK;
    uint32_t itt = get32(h->itt);
    struct tgt_session *s = c->sess;
    struct tgt_conn *other;

    (void)data;
    (void)len;
    if (reason > ISCSI_LOGOUT_RECOVERY || (s->discovery && reason != ISCSI_LOGOUT_CLOSE_SESSION)) {
        tgt_reject(c, bhs, ISCSI_BHS_LEN, ISCSI_REJECT_INVALID_FIELD);
        return;
    }
    if (reason == ISCSI_LOGOUT_CLOSE_SESSION) {
        logout_session(c);
        logout_respond(c, itt, ISCSI_LOGOUT_RSP_OK, true);
        return;
    }
    other = tgt_session_conn(s, get16(h->cid));
    if (other == NULL)
        other = tgt_lost_find(s, get16(h->cid));
    if (other == NULL)
        logout_respond(c, itt, ISCSI_LOGOUT_RSP_CID_NOT_FOUND, false);
    else if (reason == ISCSI_LOGOUT_RECOVERY && s->params.erl < 2)
        logout_respond(c, itt, ISCSI_LOGOUT_RSP_NO_RECOVERY, false);
    else
        logout_respond(c, itt, ISCSI_LOGOUT_RSP_OK, logout_conn(c, other, reason));
}

static void
do_text(struct tgt_conn *c, const struct bhs *bhs, const uint8_t *data, uint32_t len)
{
    tgt_text_pdu(c, (const struct bhs_text_req *)(const void *)bhs, data, len);
}

static void run_in_order(struct tgt_session *s);

static void
do_tmf(struct tgt_conn *c, const struct bhs *bhs, const uint8_t *data, uint32_t len)
{
    struct tgt_session *s = c->sess;

    (void)data;
    (void)len;
    tgt_tmf_pdu(c, (const struct bhs_tmf_req *)(const void *)bhs);
    if (s->live)
        run_in_order(s); /* an aborted request may have been the one that others wait for */
}

/* Requests other than SCSI Command that carry a CmdSN. */
static const struct request {
    uint8_t opcode;
    bool discovery; /* allowed in Discovery sessions */
    void (*run)(struct tgt_conn *c, const struct bhs *h, const uint8_t *data, uint32_t len);
} requests[] = {
    {ISCSI_OP_NOP_OUT, false, do_nop},
    {ISCSI_OP_TMF_REQ, false, do_tmf},
    {ISCSI_OP_TEXT_REQ, true, do_text},
    {ISCSI_OP_LOGOUT_REQ, true, do_logout},
};

static const struct request *
find_request(uint8_t opcode)
{
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        if (requests[i].opcode == opcode)
            return &requests[i];
    }
    return NULL;
}

/* A held request has its turn; takes c. */
static void
run_held(struct tgt_cmd *c)
{
    const struct request *r = find_request(pdu_opcode(&c->h.bhs));
    struct tgt_conn *conn = c->conn;
    uint8_t *early = tgt_cmd_take_early(c);

    if (r != NULL) {
        union bhs_any h;
        uint32_t len = c->rx_off;

        memcpy(&h, &c->h, sizeof(h));
        c->state = TGT_CMD_DATA;
        tgt_cmd_free(c);
        r->run(conn, &h.h, early, len);
    } else {
        c->opened = true;
        c->sess->open++;
        if (!c->unsolicited)
            c->h.cmd.flags |= ISCSI_FLAG_FINAL; /* all of its unsolicited data is there */
        tgt_exec_run(c, early, c->rx_off);
        /* Its turn may have come on another connection, in the middle of a Data-Out on its own,
         * which was kept unless another one before it was lost. */
        if (conn->rx_cmd == c && !c->s.failed && early != NULL && !conn->check_first &&
            !c->data_lost)
            tgt_exec_take(c, conn->rx_base, early + conn->rx_base, conn->data_off);
    }
    lu_buf_free(early);
}

/* Runs what was held and has its turn now, and then the functions that waited for it. */
static void
run_in_order(struct tgt_session *s)
{
    struct tgt_cmd *c;

    while (s->live && (c = tgt_order_next(s)) != NULL) {
        if (get32(c->h.cmd.cmd_sn) == s->exp_cmd_sn) {
            tgt_order_advance(s);
            run_held(c);
        } else {
            tgt_cmd_free(c); /* an ABORT TASK has counted it as received */
        }
    }
    tgt_tmf_run_waiting(s);
}

/* The memory that a held command may need for data that comes before its turn. */
static uint32_t
held_room(const struct tgt_cmd *c, uint32_t immediate)
{
    uint32_t burst = c->sess->params.first_burst;

    if (!c->unsolicited)
        return immediate;
    return c->edtl < burst ? c->edtl : burst;
}

static void
ffp_hold(struct tgt_conn *c, const uint8_t *data, uint32_t len, bool scsi)
{
    struct tgt_cmd *cmd = tgt_cmd_new(c, (const struct bhs_scsi_cmd *)(const void *)c->h.raw);
    uint32_t room = len;

    if (cmd != NULL && scsi) {
        tgt_exec_check_unsolicited(cmd, len);
        cmd->unsolicited = !(cmd->h.cmd.flags & ISCSI_FLAG_FINAL);
        room = held_room(cmd, len);
        if (!cmd->s.failed && !tgt_cmd_reserve_early(cmd, room))
            lu_cmd_fail_status(&cmd->s, SCSI_BUSY);
        if (cmd->s.failed)
            len = 0;
        if (len == 0)
            room = 0; /* allocated when data comes */
    }
    if (cmd == NULL || (room > 0 && (cmd->early = lu_buf_alloc(room)) == NULL)) {
        if (cmd != NULL)
            tgt_cmd_free(cmd); /* else it is a task that its connection leaves behind */
        tgt_conn_kill(c, "out of memory");
        return;
    }
    if (len > 0)
        memcpy(cmd->early, data, len);
    cmd->rx_off = len;
    tgt_order_hold(c->sess, cmd);
    tgt_hole_watch(c->sess);
}

/* 0, or the reason of a Reject. */
static uint8_t
check_scsi(const struct tgt_conn *c, const struct bhs_scsi_cmd *h, uint32_t len)
{
    bool r = h->flags & ISCSI_CMD_READ, w = h->flags & ISCSI_CMD_WRITE;
    bool f = h->flags & ISCSI_FLAG_FINAL;
    uint32_t edtl = get32(h->edtl);
    struct lunette_error err;
    struct cmd_ahs a;

    if (cmd_ahs_parse(c->h.raw + ISCSI_BHS_LEN, pdu_ahs_len(&c->h.bhs), &a, &err) < 0)
        return ISCSI_REJECT_INVALID_FIELD;
    if ((!f && !w) || (h->flags & ISCSI_CMD_ATTR_MASK) > ISCSI_ATTR_ACA)
        return ISCSI_REJECT_INVALID_FIELD;
    if (get32(h->itt) == ISCSI_TAG_RSVD)
        return ISCSI_REJECT_INVALID_FIELD;
    if ((edtl != 0 && !r && !w) || (len > 0 && !w) || len > edtl)
        return ISCSI_REJECT_INVALID_FIELD;
    if (r && w && edtl != 0 && !a.has_bidi)
        return ISCSI_REJECT_INVALID_FIELD;
    return 0;
}

static void
scsi_pdu(struct tgt_conn *c, const uint8_t *data, uint32_t len)
{
    const struct bhs_scsi_cmd *h = (const struct bhs_scsi_cmd *)(const void *)c->h.raw;
    bool immediate = h->opcode & ISCSI_OP_IMMEDIATE;
    enum tgt_order order = TGT_ORDER_NOW;
    struct tgt_session *s = c->sess;
    struct tgt_cmd *cmd;
    uint8_t reason;

    if (!immediate)
        order = tgt_order_check(s, get32(h->cmd_sn));
    if (order == TGT_ORDER_DROP)
        return;
    cmd = tgt_cmd_find(s, get32(h->itt));
    if (cmd != NULL && get32(cmd->h.cmd.cmd_sn) == get32(h->cmd_sn))
        return; /* a retry of what runs already */
    reason = cmd != NULL ? ISCSI_REJECT_TASK_IN_PROGRESS : check_scsi(c, h, len);
    if (reason == 0 && immediate && s->immediate >= TGT_IMMEDIATE_MAX)
        reason = ISCSI_REJECT_TOO_MANY_IMMEDIATE;
    if (reason != 0) {
        ffp_reject(c, reason);
        return;
    }
    if (order == TGT_ORDER_LATER) {
        ffp_hold(c, data, len, true);
        return;
    }
    cmd = tgt_cmd_new(c, h);
    if (cmd == NULL) {
        tgt_conn_kill(c, "out of memory");
        return;
    }
    if (!immediate) {
        tgt_order_advance(s);
        cmd->opened = true;
        s->open++;
    }
    tgt_exec_check_unsolicited(cmd, len);
    tgt_exec_run(cmd, data, len);
    if (!immediate && !list_empty(&s->held))
        run_in_order(s);
    else if (!immediate && s->tmfs_count > 0)
        tgt_tmf_run_waiting(s);
}

static void
ffp_other_pdu(struct tgt_conn *c, const struct request *r, const uint8_t *data, uint32_t len)
{
    const struct bhs_nop_out *h = (const struct bhs_nop_out *)(const void *)c->h.raw;
    bool immediate = h->opcode & ISCSI_OP_IMMEDIATE;
    struct tgt_session *s = c->sess;
    enum tgt_order order = TGT_ORDER_NOW;
    union bhs_any copy;

    if (!immediate && get32(h->itt) == ISCSI_TAG_RSVD) {
        ffp_reject(c, ISCSI_REJECT_PROTOCOL_ERROR);
        return;
    }
    if (!immediate)
        order = tgt_order_check(s, get32(h->cmd_sn));
    if (order == TGT_ORDER_DROP)
        return;
    if (order == TGT_ORDER_LATER) {
        ffp_hold(c, data, len < TGT_HELD_MAX ? len : TGT_HELD_MAX, false);
        return;
    }
    if (!immediate)
        tgt_order_advance(s);
    memcpy(&copy, h, sizeof(copy));
    r->run(c, &copy.h, data, len);
    if (!immediate && s->live)
        run_in_order(s);
}

void
tgt_ffp_pdu(struct tgt_conn *c, const uint8_t *data, uint32_t len)
{
    uint8_t opcode = pdu_opcode(&c->h.bhs);
    const struct request *r = find_request(opcode);

    if (c->sess->discovery && (r == NULL || !r->discovery)) {
        ffp_reject(c, ISCSI_REJECT_PROTOCOL_ERROR);
    } else if (opcode == ISCSI_OP_SCSI_CMD) {
        scsi_pdu(c, data, len);
    } else if (r != NULL) {
        ffp_other_pdu(c, r, data, len);
    } else if (opcode == ISCSI_OP_SNACK_REQ) {
        tgt_snack_pdu(c, (const struct bhs_snack_req *)(const void *)c->h.raw);
    } else if (opcode == ISCSI_OP_LOGIN_REQ) {
        tgt_reject_and_close(c, &c->h.bhs, ISCSI_REJECT_PROTOCOL_ERROR);
    } else {
        ffp_reject(c, ISCSI_REJECT_UNSUPPORTED);
    }
}
