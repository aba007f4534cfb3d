/* SPDX-License-Identifier: MIT */
/* transport/stream/tx.c - Data-Out PDUs out of tasks (RFC 7143 11.7, 11.8). */
#include <string.h>

#include "transport/stream/iscsi_tcp.h"
#include "wire/bhs.h"

/* One Data-Out PDU of sequence s (RFC 7143 11.7). */
static int
xmit_data_out(struct iscsi_task *t, struct iscsi_r2t *s)
{
    struct iscsi_conn *c = t->conn;
    const struct iscsi_tcp_ops *ops = ((struct iscsi_tcp_conn *)c->dd_data)->ops;
    uint32_t max = c->max_xmit_dlength & ~3u; /* all but the last are multiples of 4: 11.7.7 */
    uint32_t count = s->len < c->max_xmit_dlength ? s->len : max;
    struct bhs_data_out *h;
    int r = c->tt->alloc_pdu != NULL ? c->tt->alloc_pdu(t, ISCSI_OP_DATA_OUT) : 0;

    if (r < 0)
        return r;
    h = (void *)t->hdr;
    *h = (struct bhs_data_out){
        .opcode = ISCSI_OP_DATA_OUT,
        .flags = count == s->len ? ISCSI_FLAG_FINAL : 0,
        .dseg_len = put24(count),
        .itt = put32(t->itt),
        .ttt = s->ttt,
        .exp_stat_sn = put32(c->exp_statsn),
        .data_sn = put32(s->data_sn),
        .offset = put32(s->offset),
    };
    memcpy(h->lun, t->sc->lun, 8); /* RFC 7143 11.7.4: with the TTT; harmless without */
    t->hdr_len = sizeof(*h);
    r = ops->init_pdu(t, s->offset, count);
    if (r == 0)
        r = ops->xmit_pdu(t);
    if (r < 0)
        return r;
    c->stats.dataout_pdus++;
    c->stats.txdata_octets += count;
    t->out_done += count;
    if (__builtin_expect(s->again > 0, 0)) { /* they have been counted */
        uint32_t again = count < s->again ? count : s->again;

        t->out_done -= again;
        s->again -= again;
    }
    s->data_sn++;
    s->offset += count;
    s->len -= count;
    t->moved_ns = c->loop->now_ns;
    return 0;
}

void
iscsi_tcp_reassign_task(struct iscsi_task *t)
{
    struct iscsi_tcp_task *tt = t->dd_data;

    assert(tt->r2t_count == 0 && tt->unsol.len == 0);
    tt->cmd_sent = true;
    tt->out.at = SG_CURSOR_NOWHERE;
    tt->unsol.again = 0;
    tt->exp_r2tsn = tt->asked_again = 0;
    tt->any_r2tsn = true;
    tt->next_offset = t->out_done; /* the most that the target can have */
    if (t->in_done > 0) {
        sg_cursor_init(&tt->in, &t->sc->in);
        sg_cursor_seek(&tt->in, &t->sc->in, t->in_done);
    }
}

int
iscsi_tcp_xmit_data(struct iscsi_task *t)
{
    struct iscsi_tcp_task *tt = t->dd_data;
    int r = 0;

    while (r == 0 && !t->quiet && tt->unsol.len > 0)
        r = xmit_data_out(t, &tt->unsol);
    while (r == 0 && !t->quiet && tt->r2t_count > 0) {
        struct iscsi_r2t *s = &tt->r2t[tt->r2t_head];

        r = xmit_data_out(t, s);
        if (r == 0 && s->len == 0) {
            tt->r2t_head = (tt->r2t_head + 1) % ISCSI_TCP_R2T_MAX;
            tt->r2t_count--;
        }
    }
    return r;
}
