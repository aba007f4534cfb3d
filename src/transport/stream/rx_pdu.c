/* SPDX-License-Identifier: MIT */
/* transport/stream/rx_pdu.c - what a PDU that came means: Data-In finds its task (RFC 7143 11.7),
 * R2T queues at its own (11.8), the rest goes up. */
#include "transport/stream/parser.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "wire/pdu.h"

void
iscsi_tcp_conn_init(struct iscsi_tcp_conn *tcp, struct iscsi_conn *c,
                    const struct iscsi_tcp_ops *ops)
{
    *tcp = (struct iscsi_tcp_conn){.conn = c,
                                   .ops = ops,
                                   .bhs = (void *)tcp->hdr,
                                   .state = RX_HEADER,
                                   .pad_mask = c->tt->caps & CAP_PADDING_OFFLOAD ? 0 : 3};
}

void
iscsi_tcp_conn_reset(struct iscsi_tcp_conn *tcp)
{
    free(tcp->ctl);
    iscsi_tcp_half_data_in(tcp);
    iscsi_tcp_conn_init(tcp, tcp->conn, tcp->ops);
}

void __attribute__((noinline, cold))
iscsi_tcp_rx_fail(struct iscsi_tcp_conn *tcp, enum iscsi_err err, const char *why)
{
    iscsi_tcp_half_data_in(tcp);
    tcp->state = RX_DEAD;
    tcp->task = NULL;
    tcp->conn->up->conn_failure(tcp->conn, err, why);
}

bool __attribute__((noinline, cold))
iscsi_tcp_refused_header(struct iscsi_tcp_conn *tcp, const struct bhs *h)
{
    struct lunette_error why;

    if (pdu_check_header(h, PDU_FROM_TARGET, tcp->conn->max_recv_dlength, &why) == 0)
        return false;
    iscsi_tcp_rx_fail(tcp, ISCSI_ERR_PROTO, why.msg);
    return true;
}

void __attribute__((noinline, cold)) iscsi_tcp_bad_data_digest(struct iscsi_tcp_conn *tcp)
{
    struct iscsi_conn *c = tcp->conn;

    c->stats.digest_err++;
    if (c->session->params.erl == 0 || !ISCSI_HAS(c->up, bad_data_digest) ||
        !c->up->bad_data_digest(c, tcp->task, tcp->bhs))
        iscsi_tcp_rx_fail(tcp, ISCSI_ERR_DATA_DGST, "data digest of a PDU is wrong");
    else
        iscsi_tcp_pdu_drop(tcp);
}

/* They are shown the PDU as it is on the wire but for digests that the transport keeps to itself.
 * Padding that has not come is shown as zeroes. */
void __attribute__((noinline, cold)) iscsi_tcp_tap_header(const struct iscsi_tcp_conn *tcp)
{
    struct iscsi_conn *c = tcp->conn;

    c->tap->begin(c->tap->user, c, false, tcp->bhs,
                  ISCSI_BHS_LEN + (c->hdrdgst_en ? PDU_DIGEST_LEN : 0),
                  pdu_data_trailer(tcp->bhs, c->datadgst_en));
}

void __attribute__((noinline, cold))
iscsi_tcp_tap_bytes(const struct iscsi_tcp_conn *tcp, uint32_t before, const void *p, uint32_t len)
{
    static const uint8_t zeroes[3];
    struct iscsi_conn *c = tcp->conn;
    uint32_t pad = pdu_pad(tcp->data_len);

    c->tap->more(c->tap->user, c, false, p, len);
    if (tcp->pad_mask == 0 && pad > 0 && before + len == tcp->data_len)
        c->tap->more(c->tap->user, c, false, zeroes, pad);
}

/* What is lost is asked for again (RFC 7143 7.1.4.1, 7.8). */
static bool
repairs(const struct iscsi_conn *c)
{
    return c->session->params.erl > 0 && ISCSI_HAS(c->up, bad_data_digest);
}

/* A Data-In that is not simply the next one of its task.  Where its level allows it, it may come
 * behind others that are lost, or be one that was.  ISCSI_ODD_FAIL: data_in_misfit knows why. */
static enum iscsi_odd
odd_data_in(const struct iscsi_tcp_conn *tcp, const struct bhs_data_in *h, struct iscsi_task *t)
{
    uint32_t offset = get32(h->offset), len = tcp->data_len;

    if (t == NULL || t->sc == NULL || !repairs(tcp->conn) || t->sc->in.len == 0 ||
        offset > t->sc->in.len || len > t->sc->in.len - offset ||
        (h->flags & (ISCSI_DATA_IN_STATUS | ISCSI_FLAG_FINAL)) == ISCSI_DATA_IN_STATUS)
        return ISCSI_ODD_FAIL;
    return tcp->conn->up->odd_data_in(t, h);
}

/* A PDU of number sn that ends at `end` has come before, where the next one is `next` and all up to
 * `done` has come or has been asked for.  It brings nothing and is dropped (RFC 7143 7.9). */
static bool
came_before(uint32_t sn, uint32_t next, uint64_t end, uint32_t done)
{
    return next - sn <= INT32_MAX && sn != next && end <= done;
}

static bool
data_in_came_before(const struct iscsi_tcp_conn *tcp, const struct bhs_data_in *h,
                    const struct iscsi_task *t)
{
    return t != NULL && t->sc != NULL && !repairs(tcp->conn) &&
           (h->flags & ISCSI_DATA_IN_STATUS) == 0 &&
           came_before(get32(h->data_sn), t->exp_datasn, (uint64_t)get32(h->offset) + tcp->data_len,
                       t->in_done);
}

/* A Data-In does not fit the task of its tag (RFC 7143 11.7, 4.2.5.3).  Where task management has
 * ended that task its data is dropped; else the connection fails, and the reason is found here. */
static void __attribute__((noinline, cold))
data_in_misfit(struct iscsi_tcp_conn *tcp, const struct bhs_data_in *h, struct iscsi_task *t)
{
    struct iscsi_conn *c = tcp->conn;
    uint32_t offset = get32(h->offset), len = tcp->data_len;
    enum iscsi_odd odd = odd_data_in(tcp, h, t);

    if (odd == ISCSI_ODD_TAKE) {
        struct iscsi_tcp_task *tt = t->dd_data;

        tcp->task = t;
        tcp->odd = true;
        sg_cursor_init(&tt->in, &t->sc->in);
        sg_cursor_seek(&tt->in, &t->sc->in, offset);
    } else if (odd == ISCSI_ODD_DROP || (t == NULL && c->up->itt_ended(c, h->itt)) ||
               data_in_came_before(tcp, h, t))
        tcp->drop = true;
    else if (t == NULL || t->sc == NULL)
        iscsi_tcp_rx_fail(tcp, ISCSI_ERR_BAD_ITT, "Data-In for a task that is not there");
    else if (t->sc->in.len == 0 && len > 0)
        iscsi_tcp_rx_fail(tcp, ISCSI_ERR_PROTO, "Data-In for a command that reads nothing");
    else if (get32(h->data_sn) != t->exp_datasn)
        iscsi_tcp_rx_fail(tcp, ISCSI_ERR_DATASN,
                          "Data-In out of sequence: DataSN is not the next one");
    else if (offset > t->sc->in.len || len > t->sc->in.len - offset)
        iscsi_tcp_rx_fail(tcp, ISCSI_ERR_DATA_OFFSET,
                          "Data-In beyond the end of the command's buffer");
    else if (len > 0 && offset != t->in_done)
        iscsi_tcp_rx_fail(tcp, ISCSI_ERR_DATA_OFFSET,
                          "Data-In does not continue where the last one ended");
    else
        iscsi_tcp_rx_fail(tcp, ISCSI_ERR_PROTO, "Data-In with status but without the final bit");
}

/* Whether the Data-In is the next one of its task.  DataPDUInOrder and DataSequenceInOrder are Yes:
 * where a Data-In skipped bytes, the command's memory would keep stale ones there. */
static inline bool
data_in_fits(const struct iscsi_tcp_conn *tcp, const struct bhs_data_in *h,
             const struct iscsi_task *t)
{
    uint32_t offset = get32(h->offset), len = tcp->data_len, in_len = t->sc->in.len;

    return get32(h->data_sn) == t->exp_datasn && offset <= in_len && len <= in_len - offset &&
           (offset == t->in_done || len == 0) &&
           (h->flags & (ISCSI_DATA_IN_STATUS | ISCSI_FLAG_FINAL)) != ISCSI_DATA_IN_STATUS &&
           ((h->flags & ISCSI_DATA_IN_ACK) == 0 || !repairs(tcp->conn));
}

void
iscsi_tcp_data_in_begin(struct iscsi_tcp_conn *tcp)
{
    const struct bhs_data_in *h = (const void *)tcp->bhs;
    struct iscsi_conn *c = tcp->conn;
    struct iscsi_task *t = iscsi_task_of(c, h->itt);

    assert(tcp->task == NULL && !tcp->drop);
    if (__builtin_expect(t == NULL || t->sc == NULL || !data_in_fits(tcp, h, t), 0)) {
        data_in_misfit(tcp, h, t);
        if (tcp->task == NULL)
            return;
    } else {
        tcp->task = t;
        if (__builtin_expect(t->sc->watch != NULL && t->exp_datasn == 0, 0)) {
            io_watch_unlink(t->sc->watch); /* others may still wait to be sent */
            io_watch_arrived(t->sc->watch, IO_STAGE_RECEIVE, c->last_recv_ns, c->loop);
        }
        if (t->in_done == 0) /* the walk along its memory begins */
            sg_cursor_init(&((struct iscsi_tcp_task *)t->dd_data)->in, &t->sc->in);
        t->exp_datasn++;
    }
    tcp->last_data_in = tcp->data_len;
    t->moved_ns = c->loop->now_ns;
    c->stats.datain_pdus++;
    c->stats.rxdata_octets += tcp->data_len;
}

/* Checks an R2T and queues it at its task; the xmitworker answers it (RFC 7143 11.8). */
static void
iscsi_tcp_r2t_rsp(struct iscsi_tcp_conn *tcp, const struct bhs_r2t *h)
{
    struct iscsi_conn *c = tcp->conn;
    struct iscsi_task *t = iscsi_task_of(c, h->itt);
    uint32_t offset = get32(h->offset), len = get32(h->desired_len), max, sn = get32(h->r2t_sn);
    bool again = repairs(c); /* it may be for data that was sent (RFC 7143 7.8) */
    enum iscsi_err err = ISCSI_ERR_PROTO;
    enum iscsi_odd odd = ISCSI_ODD_TAKE;
    struct iscsi_tcp_task *tt;
    struct iscsi_r2t *r2t;
    const char *why = NULL;

    TRACE(c->loop, iscsi_tcp_r2t_rsp, get32(h->itt), len);
    c->stats.r2t_pdus++;
    if (t == NULL && c->up->itt_ended(c, h->itt)) {
        c->up->update_cmdsn(c, h->exp_cmd_sn, h->max_cmd_sn);
        return;
    }
    if (t == NULL || t->sc == NULL) {
        iscsi_tcp_rx_fail(tcp, ISCSI_ERR_BAD_ITT, "R2T for a task that is not there");
        return;
    }
    tt = t->dd_data;
    /* The command is about to be sent again: its R2Ts come anew, or are asked for again. */
    if (again && t->sc->out.len > 0 && !tt->cmd_sent) {
        c->up->update_cmdsn(c, h->exp_cmd_sn, h->max_cmd_sn);
        return;
    }
    max = c->session->params.max_r2t < ISCSI_TCP_R2T_MAX && !again ? c->session->params.max_r2t
                                                                   : ISCSI_TCP_R2T_MAX;
    if (t->sc->out.len == 0)
        why = "R2T for a command that writes nothing";
    else if (memcmp(h->lun, t->sc->lun, 8) != 0)
        why = "R2T names another LUN than its command";
    else if (get32(h->ttt) == ISCSI_TAG_RSVD)
        why = "R2T with the reserved Target Transfer Tag";
    else if (len == 0)
        why = "R2T for no bytes";
    else if (len > c->session->params.max_burst)
        why = "R2T for more than MaxBurstLength";
    else if (offset > t->sc->out.len || len > t->sc->out.len - offset)
        why = "R2T beyond the end of the command's data";
    else if (!again && came_before(sn, tt->exp_r2tsn, (uint64_t)offset + len, tt->next_offset))
        odd = ISCSI_ODD_DROP;
    else if (offset != tt->next_offset && !again)
        why = "R2T does not continue where the last one ended"; /* 13.19 */
    else if (tt->r2t_count >= max)
        why = "more R2Ts outstanding than MaxOutstandingR2T";
    else if (tt->asked_again >= ISCSI_TCP_AGAIN_MAX)
        why = "the target asks for data that it has been sent, again and again";
    if (tt->any_r2tsn && why == NULL) {
        tt->any_r2tsn = false;
        tt->exp_r2tsn = sn;
    }
    if (sn != tt->exp_r2tsn) {
        if (odd != ISCSI_ODD_DROP)
            odd = again && why == NULL ? c->up->odd_r2t(t, h, tt->exp_r2tsn) : ISCSI_ODD_FAIL;
        if (odd == ISCSI_ODD_DROP) {
            c->up->update_cmdsn(c, h->exp_cmd_sn, h->max_cmd_sn);
            return;
        }
    } else if (why == NULL && offset > tt->next_offset) {
        why = "R2T leaves out data"; /* 13.19 */
    }
    if (odd == ISCSI_ODD_FAIL) {
        why = "R2T out of sequence: R2TSN is not the next one";
        err = ISCSI_ERR_R2TSN;
    }
    if (why != NULL) {
        iscsi_tcp_rx_fail(tcp, err, why);
        return;
    }
    assert(tt->r2t_count < ISCSI_TCP_R2T_MAX);
    c->up->update_cmdsn(c, h->exp_cmd_sn, h->max_cmd_sn);
    r2t = &tt->r2t[(tt->r2t_head + tt->r2t_count++) % ISCSI_TCP_R2T_MAX];
    *r2t = (struct iscsi_r2t){.ttt = h->ttt, .offset = offset, .len = len};
    if (sn - tt->exp_r2tsn <= INT32_MAX) { /* else it is one that was lost, for data never sent */
        r2t->again = offset >= tt->next_offset        ? 0
                     : len < tt->next_offset - offset ? len
                                                      : tt->next_offset - offset;
        tt->asked_again += r2t->again > 0;
        tt->exp_r2tsn = sn + 1;
    }
    if (tt->next_offset < offset + len)
        tt->next_offset = offset + len;
    if (t->sc->in.len > 0)
        t->exp_datasn++; /* bidirectional: R2Ts and Data-Ins share one sequence (4.2.2.4) */
    t->moved_ns = c->loop->now_ns;
    c->up->requeue_task(t);
}

void
iscsi_tcp_pdu_end(struct iscsi_tcp_conn *tcp, const void *data)
{
    struct iscsi_conn *c = tcp->conn;
    const struct bhs *h = tcp->bhs;
    uint8_t op = h->opcode & ISCSI_OP_MASK;
    int r = 0;

    if (op == ISCSI_OP_DATA_IN) {
        const struct bhs_data_in *in = (const void *)h;

        assert(tcp->task != NULL || tcp->drop);
        if (__builtin_expect(tcp->odd, 0))
            c->up->data_in_came(tcp->task, in);
        else if (tcp->task != NULL)
            tcp->task->in_done += tcp->data_len;
        /* The up-call may end the task and use its slot for another command. */
        tcp->task = NULL;
        tcp->drop = tcp->odd = false;
        if ((in->flags & ISCSI_DATA_IN_STATUS) == 0)
            c->up->update_cmdsn(c, in->exp_cmd_sn, in->max_cmd_sn);
        else
            r = c->up->complete_pdu(c, h, NULL, 0);
    } else if (op == ISCSI_OP_R2T) {
        iscsi_tcp_r2t_rsp(tcp, (const void *)h);
    } else {
        r = c->up->complete_pdu(c, h, data, tcp->data_len);
    }
    if (__builtin_expect(tcp->ctl != NULL, 0)) {
        free(tcp->ctl);
        tcp->ctl = NULL;
    }
    if (__builtin_expect(r < 0 || c->failed || tcp->state == RX_DEAD, 0)) {
        tcp->state = RX_DEAD;
        return;
    }
    tcp->hold = r == ISCSI_RX_HOLD;
    tcp->state = RX_HEADER;
    tcp->hdr_have = 0;
}

void
iscsi_tcp_pdu_drop(struct iscsi_tcp_conn *tcp)
{
    tcp->task = NULL;
    tcp->drop = tcp->odd = false;
    free(tcp->ctl);
    tcp->ctl = NULL;
    tcp->state = tcp->conn->failed ? RX_DEAD : RX_HEADER;
    tcp->hdr_have = 0;
}
