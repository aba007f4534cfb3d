/* SPDX-License-Identifier: MIT */
#include "target/iser/lie.h"

#include <string.h>

#include "target/state/session.h"

#define FAR        (1ull << 40) /* bytes */
#define OTHER_STAG 0x5500u      /* in bits that name the region, and not its use */

void
tgt_lie_move(const struct tgt_cmd *cmd, struct rnic_wr *wr)
{
    switch (cmd->lie) {
    case TARGET_RDMA_WRITE_BEFORE:
        wr->remote_addr--;
        break;
    case TARGET_RDMA_WRITE_BEHIND:
        wr->remote_addr++;
        break;
    case TARGET_RDMA_READ_FAR:
    case TARGET_RDMA_WRITE_FAR:
        wr->remote_addr += FAR;
        break;
    case TARGET_RDMA_READ_STAG:
    case TARGET_RDMA_WRITE_STAG:
        wr->rkey ^= OTHER_STAG;
        break;
    default:
        break;
    }
}

/* An STag of another command of the session, or else one that nobody gave. */
static uint32_t
other_stag(const struct tgt_cmd *cmd)
{
    const struct tgt_stags *s = &cmd->stags;

    LIST_FOREACH (i, &cmd->sess->cmds) {
        const struct tgt_cmd *other = container_of(i, struct tgt_cmd, sess_link);

        if (other == cmd)
            continue;
        if (other->stags.has_read && other->stags.read.stag != s->read.stag)
            return other->stags.read.stag;
        if (other->stags.has_write && other->stags.write.stag != s->write.stag)
            return other->stags.write.stag;
    }
    return (s->has_read ? s->read.stag : s->write.stag) ^ OTHER_STAG;
}

void
tgt_lie_answer(const struct tgt_cmd *cmd, struct rnic_wr *wr)
{
    struct iser_hdr *h = wr->sge[0].addr;
    struct bhs_scsi_rsp *rsp = (struct bhs_scsi_rsp *)(void *)(h + 1);

    switch (cmd->lie) {
    case TARGET_RDMA_TYPE:
        h->flags = 0xf0;
        break;
    case TARGET_RDMA_HELLO:
        iser_put_hello_reply((struct iser_hello *)(void *)h, 1, false);
        break;
    case TARGET_RDMA_STAGS:
        iser_put(h, &cmd->stags.write, &cmd->stags.read);
        break;
    case TARGET_RDMA_SHORT:
        wr->sge[0].len = 20;
        break;
    case TARGET_RDMA_CUT:
        wr->sge[0].len = 60;
        break;
    case TARGET_RDMA_LENGTH:
        rsp->dseg_len = put24(get24(rsp->dseg_len) + 100);
        break;
    case TARGET_RDMA_LONG:
        rsp->dseg_len = put24(wr->sge[0].len - ISER_HDRS_LEN);
        break;
    case TARGET_RDMA_DATA_IN:
        rsp->opcode = ISCSI_OP_DATA_IN;
        rsp->flags |= ISCSI_DATA_IN_STATUS;
        break;
    case TARGET_RDMA_INVALIDATE:
        wr->invalidate = other_stag(cmd);
        break;
    default:
        break;
    }
}

void
tgt_lie_r2t(const struct tgt_cmd *cmd, uint8_t *msg)
{
    struct bhs_r2t h;

    bhs_init(&h, ISCSI_OP_R2T, ISCSI_FLAG_FINAL);
    memcpy(h.lun, cmd->s.lun, sizeof(h.lun));
    h.itt = put32(cmd->itt);
    h.ttt = put32(1);
    h.stat_sn = put32(cmd->conn->stat_sn);
    h.exp_cmd_sn = put32(cmd->sess->exp_cmd_sn);
    h.max_cmd_sn = put32(cmd->sess->max_cmd_sn);
    h.offset = put32(cmd->r2t_off);
    h.desired_len = put32(cmd->need - cmd->r2t_off);
    iser_put((struct iser_hdr *)(void *)msg, NULL, NULL);
    memcpy(msg + ISER_LEN, &h, sizeof(h));
}
