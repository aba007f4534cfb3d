/* SPDX-License-Identifier: MIT */
#include "target/dataout.h"

#include <assert.h>
#include <string.h>

#include "lu/buf.h"
#include "target/command.h"
#include "target/ctl.h"
#include "target/exec.h"
#include "target/instance.h"
#include "target/state/conn.h"
#include "target/state/session.h"
#include "target/tmf.h"
#include "wire/sn.h"

#define ASC_WRONG_AMOUNT SENSE_ASC(0x0c, 0x0d)
#define ASC_CRC          SENSE_ASC(0x47, 0x05)

static uint32_t
dataout_min(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static const struct bhs_data_out *
header(const struct tgt_conn *conn)
{
    return (const struct bhs_data_out *)(const void *)conn->h.raw;
}

/* Keeps the first error. */
static void
data_error(struct tgt_cmd *c, uint16_t asc)
{
    if (!c->s.failed)
        lu_cmd_fail(&c->s, SENSE_ABORTED_COMMAND, asc);
    c->r2t_want = 0;
    tgt_cmd_drop_early(c);
}

/* Does the PDU belong to what is expected of this command? */
static bool
fits(const struct tgt_cmd *c, const struct bhs_data_out *h)
{
    uint32_t ttt = get32(h->ttt);

    if (pdu_opcode(&c->h.bhs) != ISCSI_OP_SCSI_CMD)
        return false; /* another kind of request that waits for its turn */
    if (c->state != TGT_CMD_DATA && c->state != TGT_CMD_DRAIN && c->state != TGT_CMD_HELD)
        return false;
    if (c->unsolicited)
        return ttt == ISCSI_TAG_RSVD;
    return c->r2t_sn != c->r2t_done && ttt == c->ttt[c->r2t_done % TGT_R2T_MAX] &&
           memcmp(h->lun, c->s.lun, sizeof(h->lun)) == 0;
}

/* A PDU with another DataSN than the next one: something is missing.  From error recovery level 1
 * on that is asked for when the burst is over (7.8); before, nothing can be sent again.  True: the
 * PDU is dropped. */
static bool
lost_before(struct tgt_conn *conn, struct tgt_cmd *c, uint32_t data_sn)
{
    if (data_sn == c->data_sn)
        return false;
    if (conn->erl == 0)
        data_error(c, ASC_CRC);
    else
        c->data_lost = true;
    return true;
}

void
tgt_data_out_begin(struct tgt_conn *conn)
{
    const struct bhs_data_out *h = header(conn);
    struct tgt_cmd *c = tgt_cmd_find(conn->sess, get32(h->itt));
    uint32_t off = get32(h->offset);

    conn->rx_cmd = NULL;
    conn->rx_base = off;
    conn->rx_foreign = c != NULL && c->conn != conn;
    if (c == NULL || c->conn != conn || !fits(c, h))
        return; /* its task is gone: read and dropped (10.7) */
    if (conn->erl > 0 && !c->data_lost && sn_lt(get32(h->data_sn), c->data_sn))
        return; /* it has come already */
    if (c->data_lost || lost_before(conn, c, get32(h->data_sn)))
        ; /* it is dropped */
    else if (off != c->rx_off || conn->data_len > tgt_exec_burst_end(c) - c->rx_off)
        data_error(c, ASC_WRONG_AMOUNT);
    conn->rx_cmd = c;
}

/* Data for a command that still waits for its turn.  What goes beyond the burst has failed the
 * command in tgt_data_out_begin, so there is room for all that comes here. */
static void
keep_early(struct tgt_cmd *c, uint32_t off, const uint8_t *data, uint32_t len)
{
    uint32_t room = tgt_exec_burst_end(c);

    if (c->s.failed)
        return;
    assert(off <= room && len <= room - off);
    if (c->early == NULL)
        c->early = lu_buf_alloc(room);
    if (c->early == NULL)
        data_error(c, SENSE_ASC(0x55, 0x03));
    else
        memcpy(c->early + off, data, len);
}

void
tgt_data_out_sink(struct tgt_conn *conn, const uint8_t *data, uint32_t len)
{
    struct tgt_cmd *c = conn->rx_cmd;

    if (c == NULL || c->data_lost)
        return;
    if (c->state == TGT_CMD_HELD)
        keep_early(c, conn->rx_base + conn->data_off, data, len);
    else if (c->state == TGT_CMD_DATA)
        tgt_exec_take(c, conn->rx_base + conn->data_off, data, len);
}

/* The burst is over. */
static void
burst_done(struct tgt_cmd *c, bool whole)
{
    if (c->data_lost && !c->unsolicited && !c->s.failed) {
        c->r2t_recover = true; /* up to where this burst should have ended */
        c->r2t_base -= c->sess->params.max_burst;
    } else if (!c->data_lost && !whole) {
        data_error(c, ASC_WRONG_AMOUNT);
    }
    c->data_lost = false;
    if (c->unsolicited) {
        c->unsolicited = false;
        c->r2t_off = c->r2t_base = c->rx_off;
    } else {
        c->r2t_done++;
    }
    c->data_sn = 0;
    if (c->state == TGT_CMD_DATA)
        tgt_exec_want_data(c);
    else if (c->state == TGT_CMD_DRAIN && c->r2t_done == c->r2t_sn)
        tgt_tmf_drained(c);
}

void
tgt_data_out_end(struct tgt_conn *conn, bool digest_ok)
{
    struct tgt_cmd *c = conn->rx_cmd;
    bool final = header(conn)->flags & ISCSI_FLAG_FINAL;
    uint32_t end;

    conn->rx_cmd = NULL;
    if (!digest_ok) {
        tgt_reject(conn, &conn->h.bhs, ISCSI_BHS_LEN, ISCSI_REJECT_DATA_DIGEST);
        if (conn->state == TGT_CONN_DEAD)
            return; /* no memory for the Reject: c is gone */
        if (c != NULL && conn->erl > 0)
            c->data_lost = true;
        else if (c != NULL)
            data_error(c, ASC_CRC);
    } else if (conn->rx_foreign) {
        /* Data goes on the connection of its command (4.2.5.1). */
        tgt_reject(conn, &conn->h.bhs, ISCSI_BHS_LEN, ISCSI_REJECT_PROTOCOL_ERROR);
    }
    if (c == NULL)
        return;
    if (c->data_lost) {
        if (final)
            burst_done(c, false);
        return;
    }
    end = tgt_exec_burst_end(c);
    c->data_sn++;
    if (!c->s.failed)
        c->rx_off += conn->data_len;
    else
        c->rx_off = dataout_min(c->rx_off + conn->data_len, end); /* only counted */
    if (c->state != TGT_CMD_HELD)                                 /* else counted when it runs */
        conn->target->stats.bytes_written += conn->data_len;
    if (final)
        burst_done(c, c->rx_off == end);
    else if (c->rx_off == end && !c->s.failed)
        data_error(c, ASC_WRONG_AMOUNT); /* F was due; it may still come with an empty PDU */
}
