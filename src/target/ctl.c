/* SPDX-License-Identifier: MIT */
#include "target/ctl.h"

#include <string.h>

#include "target/conn.h"
#include "target/instance.h"
#include "target/session.h"
#include "target/txq.h"

static void
send_reject(struct tgt_conn *c, const struct bhs *h, uint32_t hdr_len, uint8_t reason, bool close)
{
    struct tgt_ctl *ctl = tgt_ctl_new_with(ISCSI_OP_REJECT, ISCSI_TAG_RSVD, h, hdr_len);

    c->target->stats.rejects++;
    tgt_conn_log(c, LOG_LEVEL_INFO, "rejects %s, reason %u", pdu_opcode_name(pdu_opcode(h)),
                 reason);
    if (ctl == NULL) {
        tgt_conn_kill(c, "out of memory");
        return;
    }
    ((struct bhs_reject *)(void *)ctl->hdr)->reason = reason;
    ctl->close_after = close;
    tgt_ctl_send(c, ctl);
    if (close)
        tgt_conn_close_soon(c);
}

void
tgt_reject(struct tgt_conn *c, const struct bhs *h, uint32_t hdr_len, uint8_t reason)
{
    send_reject(c, h, hdr_len, reason, false);
}

void
tgt_reject_and_close(struct tgt_conn *c, const struct bhs *h, uint8_t reason)
{
    send_reject(c, h, ISCSI_BHS_LEN, reason, true);
}

void
tgt_reject_snack(struct tgt_conn *c, uint32_t itt, uint32_t begin, uint32_t run)
{
    struct bhs_snack_req h;
    struct tgt_ctl *ctl;

    bhs_init(&h, ISCSI_OP_SNACK_REQ, ISCSI_FLAG_FINAL | ISCSI_SNACK_DATA_R2T);
    h.itt = put32(itt);
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.exp_stat_sn = put32(c->exp_stat_sn);
    h.beg_run = put32(begin);
    h.run_length = put32(run);
    ctl = tgt_ctl_new_with(ISCSI_OP_REJECT, ISCSI_TAG_RSVD, &h, sizeof(h));
    if (ctl == NULL)
        return;
    c->target->stats.rejects++;
    ((struct bhs_reject *)(void *)ctl->hdr)->reason = ISCSI_REJECT_SNACK;
    tgt_ctl_send(c, ctl);
}

static void
nop_in(struct tgt_conn *c, uint32_t ttt)
{
    struct tgt_ctl *ctl = tgt_ctl_new(ISCSI_OP_NOP_IN, ISCSI_TAG_RSVD);

    if (ctl == NULL)
        return;
    ctl->numbered = false;
    ((struct bhs_nop_in *)(void *)ctl->hdr)->ttt = put32(ttt);
    tgt_ctl_send(c, ctl);
}

void
tgt_nop_ping(struct tgt_conn *c)
{
    c->ping_sent = true;
    c->ping_ns = c->target->loop->now_ns;
    nop_in(c, tgt_session_ttt(c->sess));
}

void
tgt_nop_tell(struct tgt_conn *c)
{
    nop_in(c, ISCSI_TAG_RSVD);
}

static struct bhs_async *
async_header(struct tgt_ctl *ctl, uint8_t event)
{
    struct bhs_async *h = (struct bhs_async *)(void *)ctl->hdr;

    h->event = event;
    return h;
}

void
tgt_tell_fast_abort(struct tgt_conn *c, const uint8_t lun[8])
{
    struct tgt_ctl *ctl = tgt_ctl_new(ISCSI_OP_ASYNC, ISCSI_TAG_RSVD);

    if (ctl == NULL)
        return;
    memcpy(async_header(ctl, ISCSI_ASYNC_FAST_ABORT)->lun, lun, 8);
    tgt_ctl_send(c, ctl);
}

void
tgt_tell_async(struct tgt_conn *c, uint8_t event, const uint16_t param[3], bool close)
{
    struct tgt_ctl *ctl = tgt_ctl_new(ISCSI_OP_ASYNC, ISCSI_TAG_RSVD);
    struct bhs_async *h;

    if (ctl == NULL)
        return;
    h = async_header(ctl, event);
    h->param1 = put16(param[0]);
    h->param2 = put16(param[1]);
    h->param3 = put16(param[2]);
    ctl->close_after = close;
    tgt_ctl_send(c, ctl);
    if (close)
        tgt_conn_close_soon(c);
}

void
tgt_ask_logout(struct tgt_conn *c, uint32_t seconds)
{
    const uint16_t param[3] = {0, 0, (uint16_t)seconds};

    tgt_tell_async(c, ISCSI_ASYNC_LOGOUT_REQUEST, param, false);
}
