/* SPDX-License-Identifier: MIT */
#include "target/exec.h"

#include <assert.h>
#include <string.h>

#include "lu/lu.h"
#include "target/command.h"
#include "target/instance.h"
#include "target/state/conn.h"
#include "target/state/session.h"
#include "target/txq.h"
#include "wire/sense.h"

#define ASC_UNEXPECTED   SENSE_ASC(0x0c, 0x0c)
#define ASC_WRONG_AMOUNT SENSE_ASC(0x0c, 0x0d)

static uint32_t
exec_min(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

uint32_t
tgt_exec_burst_end(const struct tgt_cmd *c)
{
    uint32_t burst = c->sess->params.max_burst;

    if (c->unsolicited)
        return exec_min(c->edtl, c->sess->params.first_burst);
    return exec_min(c->r2t_base + (c->r2t_done + 1) * burst, c->need);
}

/* A fault makes the response wait. */
static void
delay_response(struct tgt_cmd *c, uint32_t ms)
{
    c->state = ms == TGT_HOOK_NEVER ? TGT_CMD_MUTE : TGT_CMD_DELAY;
    if (ms != TGT_HOOK_NEVER)
        loop_timer_start(c->sess->target->loop, &c->timer, ms * LOOP_NS_PER_MS);
}

void
tgt_exec_complete(struct tgt_cmd *c)
{
    uint32_t ms = tgt_hook(c->sess->target->hook, TGT_HOOK_RESPONSE, c->s.cdb);

    assert(c->state == TGT_CMD_SERVER);
    c->tx_len = 0;
    if (!c->s.failed && c->s.dir == LU_DIR_IN && (c->h.cmd.flags & ISCSI_CMD_READ))
        c->tx_len = c->s.len < c->edtl ? c->s.len : c->edtl;
    c->burst_left = c->sess->params.max_burst;
    if (ms != 0)
        delay_response(c, ms);
    else
        tgt_cmd_queue(c);
}

void
tgt_exec_take(struct tgt_cmd *c, uint32_t off, const uint8_t *data, uint32_t len)
{
    if (c->s.failed || off >= c->need)
        return;
    lu_cmd_take(&c->s, off, data, len < c->need - off ? len : c->need - off);
    if (c->s.failed)
        c->r2t_want = 0; /* the store has failed: no more data is of use */
}

/* Its data is complete, or it has failed. */
static void
finish_command(struct tgt_cmd *c)
{
    c->state = TGT_CMD_SERVER;
    lu_cmd_finish(&c->s);
}

void
tgt_exec_want_data(struct tgt_cmd *c)
{
    uint32_t out = c->r2t_sn - c->r2t_done, bursts;
    uint32_t max = c->conn->rdma ? TGT_R2T_MAX /* no R2T leaves */
                                 : exec_min(c->sess->params.max_outstanding_r2t, TGT_R2T_MAX);

    if (c->s.failed || c->r2t_off >= c->need)
        c->r2t_want = 0;
    if ((c->s.failed || c->rx_off >= c->need) && !c->unsolicited && out == 0) {
        list_del(&c->tx.link);
        finish_command(c);
        return;
    }
    c->state = TGT_CMD_DATA;
    if (c->s.failed || c->unsolicited)
        return;
    bursts = (c->need - c->r2t_off + c->sess->params.max_burst - 1) / c->sess->params.max_burst;
    bursts += c->r2t_recover;
    c->r2t_want = out < max ? exec_min(bursts, max - out) : 0;
    if (c->r2t_want > 0 && list_empty(&c->tx.link))
        tgt_tx_queue(c->conn, &c->tx);
}

/* Whether the direction that the initiator expects goes with what the CDB moves.  A read that is
 * flagged as a write moves nothing, which the residual tells; a write that would silently not
 * happen must fail. */
static void
check_direction(struct tgt_cmd *c)
{
    if (c->s.failed || c->edtl == 0)
        return;
    if (c->s.dir == LU_DIR_OUT && (c->h.cmd.flags & ISCSI_CMD_READ))
        lu_cmd_fail_field(&c->s, true, 0);
    else if (c->s.dir == LU_DIR_IN && (c->h.cmd.flags & ISCSI_CMD_WRITE))
        c->s.len = 0;
}

/* What came without being asked for, against what was negotiated (RFC 7143 11.4.7.2). */
void
tgt_exec_check_unsolicited(struct tgt_cmd *c, uint32_t immediate)
{
    const struct iscsi_params *p = &c->sess->params;

    if (!(c->h.cmd.flags & ISCSI_FLAG_FINAL) && p->initial_r2t)
        lu_cmd_fail(&c->s, SENSE_ABORTED_COMMAND, ASC_UNEXPECTED);
    else if (immediate > 0 && !p->immediate_data)
        lu_cmd_fail(&c->s, SENSE_ABORTED_COMMAND, ASC_UNEXPECTED);
    else if (immediate > p->first_burst)
        lu_cmd_fail(&c->s, SENSE_ABORTED_COMMAND, ASC_WRONG_AMOUNT);
}

void
tgt_exec_run(struct tgt_cmd *c, const uint8_t *data, uint32_t len)
{
    bool writes = c->h.cmd.flags & ISCSI_CMD_WRITE;
    uint32_t status;

    c->sess->target->stats.commands++;
    memcpy(c->s.cdb, c->h.cmd.cdb, sizeof(c->s.cdb));
    memcpy(c->s.lun, c->h.cmd.lun, sizeof(c->s.lun));
    c->s.nexus = c->sess->nexus;
    c->s.expect = c->edtl;
    c->s.ordered = (c->h.cmd.flags & ISCSI_CMD_ATTR_MASK) == ISCSI_ATTR_ORDERED;
    c->state = TGT_CMD_DATA;
    status = c->s.failed ? 0 : tgt_hook(c->sess->target->hook, TGT_HOOK_COMMAND, NULL);
    if (status != 0)
        lu_cmd_fail_status(&c->s, (uint8_t)status);
    lu_cmd_start(&c->s);
    check_direction(c);
    if (!c->s.failed && c->s.dir == LU_DIR_OUT) {
        c->need = writes && c->edtl < c->s.len ? c->edtl : writes ? c->s.len : 0;
        if (c->need < c->s.len && c->s.data != LU_DATA_MEDIA)
            lu_cmd_fail_field(&c->s, true, 0); /* half a parameter list means nothing */
    }
    c->unsolicited = writes && !(c->h.cmd.flags & ISCSI_FLAG_FINAL);
    tgt_exec_take(c, 0, data, len);
    c->sess->target->stats.bytes_written += len;
    c->rx_off = c->r2t_off = c->r2t_base = len;
    tgt_exec_want_data(c);
}
