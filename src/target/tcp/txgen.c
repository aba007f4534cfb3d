/* SPDX-License-Identifier: MIT */
#include "target/tcp/txgen.h"

#include <assert.h>
#include <string.h>

#include "lu/lu.h"
#include "target/answer.h"
#include "target/command.h"
#include "target/ctl.h"
#include "target/exec.h"
#include "target/instance.h"
#include "target/keep.h"
#include "target/order.h"
#include "target/session.h"
#include "target/state/conn.h"
#include "target/tcp/ring.h"

#define APART __attribute__((noinline)) /* from the way that each command goes */

static uint32_t
min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* The R2T that was numbered last. */
static void
put_r2t(struct tgt_cmd *c, struct tgt_slot *slot, uint32_t len)
{
    struct bhs_r2t *h = (struct bhs_r2t *)(void *)slot->hdr;

    bhs_init(h, ISCSI_OP_R2T, ISCSI_FLAG_FINAL);
    memcpy(h->lun, c->s.lun, sizeof(h->lun));
    h->itt = put32(c->itt);
    h->ttt = put32(c->ttt[(c->r2t_sn - 1) % TGT_R2T_MAX]);
    h->r2t_sn = put32(c->r2t_sn - 1);
    h->offset = put32(c->r2t_from);
    h->desired_len = put32(len);
    tgt_order_stamp(c->conn, slot->hdr, false);
}

static bool
next_r2t(struct tgt_cmd *c, struct tgt_slot *slot)
{
    uint32_t len = min_u32(c->need - c->r2t_off, c->sess->params.max_burst);

    if (c->r2t_again) {
        c->r2t_again = false;
        put_r2t(c, slot, tgt_exec_burst_end(c) - c->r2t_from);
        return true;
    }
    if (c->r2t_want == 0 || (len == 0 && !c->r2t_recover)) {
        c->r2t_want = 0;
        list_del(&c->tx.link);
        return false;
    }
    c->ttt[c->r2t_sn++ % TGT_R2T_MAX] = tgt_session_ttt(c->sess);
    if (c->r2t_recover) {
        c->r2t_recover = false;
        c->r2t_from = c->rx_off;
        len = tgt_exec_burst_end(c) - c->r2t_from;
    } else {
        c->r2t_from = c->r2t_off;
        c->r2t_off += len;
    }
    put_r2t(c, slot, len);
    if (--c->r2t_want == 0)
        list_del(&c->tx.link);
    return true;
}

/* From error recovery level 1 on. */
static APART void
keep_answer(struct tgt_cmd *c)
{
    tgt_cmd_sent(c);
    tgt_keep(c->conn, &c->tx, tgt_cmd_kept_bytes(c));
}

/* The command's last PDU is made: all that must outlive it hangs on the slot. */
static inline __attribute__((always_inline)) void
done(struct tgt_cmd *c, struct tgt_slot *slot)
{
    list_del(&c->tx.link);
    lu_cmd_answered(&c->s);
    if (c->conn->erl > 0) {
        keep_answer(c);
        return;
    }
    if (c->s.buf != NULL)
        tgt_slot_own(slot, c->s.buf);
    c->s.buf = NULL;
    tgt_cmd_free(c);
}

static bool
next_response(struct tgt_cmd *c, struct tgt_slot *slot)
{
    struct bhs_scsi_rsp *h = (struct bhs_scsi_rsp *)(void *)slot->hdr;

    slot->data_len = tgt_answer(c, h, slot->small);
    if (slot->data_len > 0)
        slot->data = slot->small;
    if (c->state == TGT_CMD_SENT) {
        c->tx.again = false;
        if (!list_empty(&c->tx.kept)) {
            tgt_order_stamp_again(c->conn, slot->hdr, c->tx.stat_sn);
            return true;
        }
        tgt_order_stamp(c->conn, slot->hdr, true); /* it was reassigned to this connection */
        list_del(&c->tx.link);
        tgt_keep(c->conn, &c->tx, tgt_cmd_kept_bytes(c));
        return true;
    }
    tgt_cmd_close_window(c);
    tgt_order_stamp(c->conn, slot->hdr, true);
    done(c, slot);
    return true;
}

/* The store has failed to read: what was sent so far counts, and the response says why it ends. */
static bool
read_failed(struct tgt_cmd *c, struct tgt_slot *slot)
{
    c->s.len = c->tx_len = c->tx_off;
    return next_response(c, slot);
}

/* Notes how the data is cut from here on. */
static APART void
note_cut(struct tgt_cmd *c, uint32_t xmit)
{
    struct tgt_seg *g = &c->seg;

    if (c->tx_sn == 0)
        g->base_sn = g->base_off = 0;
    if (c->tx_sn == g->base_sn) {
        g->xmit = xmit;
        g->burst = c->sess->params.max_burst;
        g->part = lu_cmd_part(&c->s);
    } else if (g->xmit != xmit && !c->recut) {
        c->recut = true;
        c->recut_sn = c->tx_sn;
    }
}

/* Asks for DataACK where it may, which tells what can no longer be asked for again. */
static APART void
ask_ack(struct tgt_cmd *c, struct bhs_data_in *h, uint32_t end)
{
    if (c->recut || !tgt_seg_ack(&c->seg, end, c->tx_len))
        return;
    if (!c->ack_asked)
        c->ack_ttt = tgt_session_ttt(c->sess);
    c->ack_asked = true;
    h->flags |= ISCSI_DATA_IN_ACK;
    h->ttt = put32(c->ack_ttt);
    memcpy(h->lun, c->s.lun, sizeof(h->lun));
}

/* A Data-In that is asked for again, with the numbers and bounds that it had.  False: it cannot be
 * read any more. */
static APART bool
data_in_again(struct tgt_cmd *c, struct tgt_slot *slot)
{
    struct bhs_data_in *h = (struct bhs_data_in *)(void *)slot->hdr;
    uint32_t off = tgt_seg_off(&c->seg, c->again_sn), len = tgt_seg_len(&c->seg, off, c->tx_len);
    uint32_t sn = c->again_sn++;

    slot->data = lu_cmd_again(&c->s, off, len, &slot->owned);
    if (slot->data == NULL) {
        tgt_reject_snack(c->conn, c->itt, sn, c->again_end - sn);
        c->again_sn = c->again_end;
        return false;
    }
    bhs_init(h, ISCSI_OP_DATA_IN,
             tgt_seg_final(&c->seg, off + len, c->tx_len) ? ISCSI_FLAG_FINAL : 0);
    slot->data_len = len;
    slot->copied = slot->owned != NULL || c->s.buf != NULL;
    h->itt = put32(c->itt);
    h->ttt = put32(ISCSI_TAG_RSVD);
    h->data_sn = put32(sn);
    h->offset = put32(off);
    ask_ack(c, h, off + len);
    tgt_order_stamp_again(c->conn, slot->hdr, 0);
    return true;
}

static bool
next_data_in(struct tgt_cmd *c, struct tgt_slot *slot)
{
    struct bhs_data_in *h = (struct bhs_data_in *)(void *)slot->hdr;
    uint32_t left = c->tx_len - c->tx_off, xmit = min_u32(c->conn->xmit_max, TGT_DATA_IN_MAX) & ~3u;
    uint32_t len = min_u32(min_u32(left, xmit), c->burst_left);
    bool last, recovers = c->conn->erl > 0;

    if (recovers)
        note_cut(c, xmit);
    slot->data = lu_cmd_source(&c->s, c->tx_off, &len, &slot->owned);
    if (slot->data == NULL)
        return read_failed(c, slot);
    bhs_init(h, ISCSI_OP_DATA_IN, 0);
    slot->data_len = len;
    slot->copied = slot->owned != NULL || c->s.buf != NULL;
    h->itt = put32(c->itt);
    h->ttt = put32(ISCSI_TAG_RSVD);
    h->data_sn = put32(c->tx_sn++);
    h->offset = put32(c->tx_off);
    c->tx_off += len;
    c->burst_left -= len;
    last = c->tx_off == c->tx_len;
    /* A part ends a sequence, since the store may fail to read the next one. */
    if (last || c->burst_left == 0 || slot->owned != NULL) {
        h->flags = ISCSI_FLAG_FINAL;
        c->burst_left = c->sess->params.max_burst;
    }
    c->sess->target->stats.bytes_read += len;
    if (recovers)
        ask_ack(c, h, c->tx_off);
    if (!last || recovers) { /* one that is lost must not take the status along */
        tgt_order_stamp(c->conn, slot->hdr, false);
        h->stat_sn = put32(0);
        return true;
    }
    h->flags |= (uint8_t)(ISCSI_DATA_IN_STATUS | tgt_residual(c, &h->residual));
    h->status = c->s.status;
    tgt_cmd_close_window(c);
    tgt_order_stamp(c->conn, slot->hdr, true);
    done(c, slot);
    return true;
}

bool
tgt_cmd_next_pdu(struct tgt_cmd *c, struct tgt_slot *slot)
{
    if (c->state == TGT_CMD_DATA)
        return next_r2t(c, slot);
    assert(c->state == TGT_CMD_SEND || c->state == TGT_CMD_SENT);
    if (c->again_sn != c->again_end)
        return data_in_again(c, slot);
    if (c->tx_off < c->tx_len)
        return next_data_in(c, slot);
    if (c->state == TGT_CMD_SEND || c->tx.again)
        return next_response(c, slot);
    list_del(&c->tx.link);
    return false;
}
