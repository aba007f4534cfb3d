/* SPDX-License-Identifier: MIT */
/* target/deliver.h - the way of a PDU from its face into the code above.
 *
 * These are in a header so that they become part of the loop in which a face receives.
 */
#ifndef TARGET_DELIVER_H
#define TARGET_DELIVER_H

#include "target/conn.h"
#include "target/ctl.h"
#include "target/dataout.h"
#include "target/fence.h"
#include "target/ffp.h"
#include "target/instance.h"
#include "target/keep.h"
#include "target/login.h"
#include "target/session.h"

static inline bool
tgt_is_data_out(const struct tgt_conn *c)
{
    return c->state == TGT_CONN_FFP && pdu_opcode(&c->h.bhs) == ISCSI_OP_DATA_OUT;
}

/* ExpStatSN, which is at the same place in every request. */
static inline uint32_t
tgt_deliver_exp_stat_sn(const struct tgt_conn *c)
{
    return get32(((const struct bhs_scsi_cmd *)(const void *)c->h.raw)->exp_stat_sn);
}

/* Looks at a header that has come, in c->h, and sets c->data_len, and c->data_off to 0.  False: it
 * is so wrong that the connection is dead. */
static inline bool
tgt_deliver_header(struct tgt_conn *c)
{
    bool ffp = c->state == TGT_CONN_FFP;
    struct lunette_error err;

    if (ffp && tgt_hook(c->target->hook, TGT_HOOK_RECEIVED, &c->hook_count)) {
        tgt_conn_kill(c, "dropped on order");
        return false;
    }
    c->data_len = pdu_dseg_len(&c->h.bhs);
    if (c->data_len > c->recv_max) {
        tgt_format_error(c, "data segment longer than MaxRecvDataSegmentLength");
        return false;
    }
    if (!ffp && pdu_ahs_len(&c->h.bhs) != 0) {
        tgt_conn_kill(c, "additional header in a login PDU");
        return false;
    }
    if (ffp && pdu_check_header(&c->h.bhs, PDU_FROM_INITIATOR, c->recv_max, &err) < 0 &&
        err.detail != ISCSI_REJECT_UNSUPPORTED) {
        tgt_format_error(c, err.msg);
        return false;
    }
    if (c->takes_acks && ffp) {
        if (!tgt_keep_ack(c, tgt_deliver_exp_stat_sn(c))) {
            tgt_conn_kill(c, "it acknowledges none of many responses");
            return false;
        }
        tgt_fence_acked(c);
    }
    c->data_off = 0;
    return true;
}

/* The data of the PDU follows.  Where it is a Data-Out, c->rx_cmd is the command that takes it, and
 * the face may hand the data over as it comes: tgt_data_out_sink. */
static inline void
tgt_deliver_begin(struct tgt_conn *c)
{
    if (!tgt_is_data_out(c))
        return;
    if (c->erl > 0 && tgt_hook(c->target->hook, TGT_HOOK_DATA_OUT, c->h.raw))
        c->rx_foreign = false; /* a fault: nobody has seen it */
    else
        tgt_data_out_begin(c);
}

/* The PDU is whole.  data has all c->data_len bytes, and is borrowed; NULL: there are none, or they
 * are handed over already.  digest_ok: false where its data digest is wrong. */
static inline void
tgt_deliver(struct tgt_conn *c, const uint8_t *data, bool digest_ok)
{
    if (tgt_is_data_out(c)) {
        if (data != NULL && digest_ok) {
            c->data_off = 0;
            tgt_data_out_sink(c, data, c->data_len);
        }
        tgt_data_out_end(c, digest_ok);
    } else if (c->state == TGT_CONN_LOGIN) {
        tgt_login_pdu(c, data, c->data_len);
    } else if (!digest_ok) {
        tgt_reject(c, &c->h.bhs, ISCSI_BHS_LEN + pdu_ahs_len(&c->h.bhs), ISCSI_REJECT_DATA_DIGEST);
    } else {
        tgt_ffp_pdu(c, data, c->data_len);
    }
}

#endif
