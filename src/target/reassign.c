/* SPDX-License-Identifier: MIT */
#include "target/reassign.h"

#include "target/command.h"
#include "target/exec.h"
#include "target/keep.h"
#include "target/state/conn.h"
#include "target/state/session.h"
#include "target/txq.h"

/* A task, or its answer while it is not acknowledged. */
static struct tgt_cmd *
find_task(const struct tgt_session *s, uint32_t itt)
{
    const struct list *const conns[] = {&s->lost, &s->conns};
    struct tgt_cmd *cmd = tgt_cmd_find(s, itt);

    for (unsigned k = 0; k < 2 && cmd == NULL; k++) {
        for (struct list *l = conns[k]->next; l != conns[k] && cmd == NULL; l = l->next)
            cmd = tgt_keep_find(container_of(l, struct tgt_conn, sess_link), itt);
    }
    return cmd;
}

struct tgt_cmd *
tgt_reassign_task(const struct tgt_session *s, uint32_t itt, uint8_t *ret_response)
{
    struct tgt_cmd *cmd = find_task(s, itt);

    if (s->params.erl < 2)
        *ret_response = ISCSI_TMF_RSP_REASSIGN_UNSUPPORTED;
    else if (cmd == NULL)
        *ret_response = ISCSI_TMF_RSP_NO_TASK;
    else if (pdu_opcode(&cmd->h.bhs) != ISCSI_OP_SCSI_CMD || cmd->state == TGT_CMD_DRAIN)
        *ret_response = ISCSI_TMF_RSP_REJECTED;
    else if (!cmd->conn->lost || !cmd->conn->recovers)
        *ret_response = ISCSI_TMF_RSP_STILL_ALLEGIANT;
    else
        *ret_response = ISCSI_TMF_RSP_COMPLETE;
    return *ret_response == ISCSI_TMF_RSP_COMPLETE ? cmd : NULL;
}

/* Asks for all data that has not come, with the next R2TSN. */
static void
ask_for_rest(struct tgt_cmd *cmd)
{
    cmd->unsolicited = cmd->data_lost = cmd->r2t_recover = cmd->r2t_again = false;
    cmd->data_sn = 0;
    cmd->r2t_done = cmd->r2t_sn;
    cmd->r2t_off = cmd->rx_off;
    cmd->r2t_base = cmd->rx_off - cmd->r2t_sn * cmd->sess->params.max_burst;
    tgt_exec_want_data(cmd);
}

void
tgt_reassign(struct tgt_cmd *cmd, struct tgt_conn *c, uint32_t exp_data_sn)
{
    uint32_t next = cmd->recut ? cmd->recut_sn : cmd->tx_sn;

    if (!list_empty(&cmd->tx.kept))
        tgt_keep_take(cmd->conn, &cmd->tx);
    list_del(&cmd->tx.link);
    cmd->conn = c;
    cmd->snack_tag = 0;
    cmd->again_sn = cmd->again_end = 0;
    cmd->ack_asked = false;
    if (cmd->state == TGT_CMD_DATA) {
        ask_for_rest(cmd);
    } else if (cmd->state == TGT_CMD_SEND || cmd->state == TGT_CMD_SENT) {
        if (exp_data_sn != 0 && exp_data_sn - cmd->ack_sn <= next - cmd->ack_sn)
            cmd->ack_sn = exp_data_sn; /* any other value is ignored (11.5.6) */
        tgt_cmd_rewind(cmd);
        cmd->tx.again = cmd->state == TGT_CMD_SENT;
        tgt_tx_queue(c, &cmd->tx);
    } /* else it is still with the device server */
}
