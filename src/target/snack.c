/* SPDX-License-Identifier: MIT */
#include "target/snack.h"

#include <string.h>

#include "target/command.h"
#include "target/ctl.h"
#include "target/keep.h"
#include "target/state/conn.h"
#include "target/state/session.h"
#include "target/txq.h"
#include "wire/sn.h"

/* The numbers [begin, end) that h asks for, of those [first, next) that are sent and not
 * acknowledged.  False: it asks for others, too (11.16.6, 11.16.7). */
static bool
snack_run(const struct bhs_snack_req *h, uint32_t first, uint32_t next, uint32_t *begin,
          uint32_t *end)
{
    uint32_t beg = get32(h->beg_run), len = get32(h->run_length);

    if (beg == 0 && len == 0) {
        *begin = first;
        *end = next;
        return true;
    }
    *begin = beg;
    *end = len == 0 ? next : beg + len;
    return beg - first < next - first && *end - beg <= next - beg;
}

static struct tgt_cmd *
snack_command(const struct tgt_conn *c, uint32_t itt)
{
    struct tgt_cmd *cmd = tgt_cmd_find(c->sess, itt);

    if (cmd != NULL && cmd->conn == c && cmd->state != TGT_CMD_HELD)
        return cmd;
    return tgt_keep_find(c, itt);
}

static void
queue_again(struct tgt_cmd *cmd)
{
    if (list_empty(&cmd->tx.link))
        tgt_tx_queue(cmd->conn, &cmd->tx);
}

static bool
is_sending(const struct tgt_cmd *cmd)
{
    return cmd->state == TGT_CMD_SEND || cmd->state == TGT_CMD_SENT;
}

static uint8_t
snack_r2t(struct tgt_cmd *cmd, const struct bhs_snack_req *h)
{
    uint32_t begin, end;

    if (!snack_run(h, cmd->r2t_done, cmd->r2t_sn, &begin, &end))
        return ISCSI_REJECT_PROTOCOL_ERROR;
    cmd->r2t_again = begin != end; /* there is one at most (13.17, 13.19) */
    if (cmd->r2t_again)
        queue_again(cmd);
    return 0;
}

static uint8_t
snack_data(struct tgt_conn *c, const struct bhs_snack_req *h)
{
    struct tgt_cmd *cmd = snack_command(c, get32(h->itt));
    uint32_t begin, end;

    if (cmd != NULL && cmd->state == TGT_CMD_DATA)
        return snack_r2t(cmd, h);
    if (cmd == NULL || !is_sending(cmd) || !snack_run(h, cmd->ack_sn, cmd->tx_sn, &begin, &end))
        return ISCSI_REJECT_PROTOCOL_ERROR;
    if (cmd->recut)
        return ISCSI_REJECT_SNACK; /* R-Data is for that (11.16.3) */
    if (begin == end)
        return 0;
    if (cmd->again_sn != cmd->again_end) { /* of an earlier run, which has not left yet */
        begin = sn_lt(begin, cmd->again_sn) ? begin : cmd->again_sn;
        end = sn_gt(end, cmd->again_end) ? end : cmd->again_end;
    }
    cmd->again_sn = begin;
    cmd->again_end = end;
    queue_again(cmd);
    return 0;
}

static uint8_t
snack_status(struct tgt_conn *c, const struct bhs_snack_req *h)
{
    uint32_t begin, end;

    if (get32(h->itt) != ISCSI_TAG_RSVD)
        return ISCSI_REJECT_INVALID_FIELD;
    if (!snack_run(h, c->exp_stat_sn, c->stat_sn, &begin, &end))
        return ISCSI_REJECT_PROTOCOL_ERROR;
    tgt_keep_send_again(c, begin, end);
    return 0;
}

/* The command whose Data-In has carried that tag. */
static struct tgt_cmd *
asked_with(const struct tgt_conn *c, uint32_t ttt)
{
    LIST_FOREACH (i, &c->sess->cmds) {
        struct tgt_cmd *cmd = container_of(i, struct tgt_cmd, sess_link);

        if (cmd->conn == c && cmd->ack_asked && cmd->ack_ttt == ttt)
            return cmd;
    }
    return tgt_keep_find_ttt(c, ttt);
}

static uint8_t
data_ack(struct tgt_conn *c, const struct bhs_snack_req *h)
{
    struct tgt_cmd *cmd = asked_with(c, get32(h->ttt));
    uint32_t next = get32(h->beg_run);

    if (cmd == NULL || memcmp(h->lun, cmd->s.lun, sizeof(h->lun)) != 0 ||
        get32(h->itt) != ISCSI_TAG_RSVD || get32(h->run_length) != 0)
        return ISCSI_REJECT_INVALID_DATA_ACK;
    if (next - cmd->ack_sn > (cmd->recut ? cmd->recut_sn : cmd->tx_sn) - cmd->ack_sn)
        return ISCSI_REJECT_INVALID_DATA_ACK;
    cmd->ack_sn = next;
    if (cmd->again_sn != cmd->again_end && sn_lt(cmd->again_sn, next))
        cmd->again_sn = sn_lt(next, cmd->again_end) ? next : cmd->again_end;
    return 0;
}

/* All that is not acknowledged is cut anew and sent, and then a response with the tag (11.16.3). */
static uint8_t
snack_r_data(struct tgt_conn *c, const struct bhs_snack_req *h)
{
    struct tgt_cmd *cmd = snack_command(c, get32(h->itt));
    uint32_t tag = get32(h->ttt);

    if (tag == 0 || tag == ISCSI_TAG_RSVD || get32(h->beg_run) != 0 || get32(h->run_length) != 0)
        return ISCSI_REJECT_INVALID_FIELD;
    if (cmd == NULL || !is_sending(cmd))
        return ISCSI_REJECT_PROTOCOL_ERROR;
    cmd->snack_tag = tag;
    cmd->again_sn = cmd->again_end = 0;
    cmd->tx.again = cmd->state == TGT_CMD_SENT;
    tgt_cmd_rewind(cmd);
    queue_again(cmd);
    return 0;
}

void
tgt_snack_pdu(struct tgt_conn *c, const struct bhs_snack_req *h)
{
    uint8_t reason;

    switch (c->erl > 0 ? h->flags & ISCSI_SNACK_TYPE_MASK : UINT8_MAX) {
    case ISCSI_SNACK_DATA_R2T:
        reason = snack_data(c, h);
        break;
    case ISCSI_SNACK_STATUS:
        reason = snack_status(c, h);
        break;
    case ISCSI_SNACK_DATA_ACK:
        reason = data_ack(c, h);
        break;
    case ISCSI_SNACK_R_DATA:
        reason = snack_r_data(c, h);
        break;
    default:
        reason = ISCSI_REJECT_PROTOCOL_ERROR; /* nothing is recovered at level 0 (7.1.4) */
        break;
    }
    if (reason != 0)
        tgt_reject(c, (const struct bhs *)(const void *)h, ISCSI_BHS_LEN, reason);
}
