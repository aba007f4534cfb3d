/* SPDX-License-Identifier: MIT */
/* transport/stream/rx_framed.c - PDUs that somebody else has framed: an adapter, another process.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "transport/stream/parser.h"
#include "wire/pdu.h"

/* The data of the Data-In at tcp->bhs are in the command's memory, or are copied there. */
static void
framed_data_in(struct iscsi_tcp_conn *tcp, const void *data)
{
    struct iscsi_tcp_task *tt = tcp->task->dd_data;
    const struct sg *in = &tcp->task->sc->in;

    if (data != NULL)
        sg_copy_to(&tt->in, in, data, tcp->data_len);
    else
        sg_cursor_seek(&tt->in, in, tt->in.at + tcp->data_len);
}

/* Somebody looks on.  What was placed is shown where it lies; of a task that is gone nobody knows
 * where that is, and zeroes are shown. */
static void __attribute__((noinline, cold)) framed_tap(struct iscsi_tcp_conn *tcp, const void *data)
{
    static const uint8_t zeroes[256];
    struct iovec iov[16];
    struct sg_cursor at;
    uint32_t done = 0, n;

    if (data != NULL) {
        iscsi_tcp_tap_bytes(tcp, 0, data, tcp->data_len);
        return;
    }
    if (tcp->task != NULL)
        at = ((struct iscsi_tcp_task *)tcp->task->dd_data)->in;
    while (done < tcp->data_len) {
        if (tcp->task != NULL) {
            (void)sg_cursor_map(&at, &tcp->task->sc->in, tcp->data_len - done, iov, 1, &n);
        } else {
            n = tcp->data_len - done < sizeof(zeroes) ? tcp->data_len - done : sizeof(zeroes);
            iov[0].iov_base = (void *)(uintptr_t)zeroes;
        }
        iscsi_tcp_tap_bytes(tcp, done, iov[0].iov_base, n);
        done += n;
    }
}

/* The header at tcp->bhs is checked; false: the connection has failed. */
static bool
framed_header(struct iscsi_tcp_conn *tcp, uint32_t data_len, uint32_t flags)
{
    struct iscsi_conn *c = tcp->conn;
    const struct bhs *h = tcp->bhs;
    bool data_in = (h->opcode & ISCSI_OP_MASK) == ISCSI_OP_DATA_IN;

    if (c->flight != NULL) {
        flight_now(c->flight, c->loop->now_ns);
        flight_rx(c->flight, h);
    }
    if (__builtin_expect(c->tap != NULL, 0))
        iscsi_tcp_tap_header(tcp);
    if (flags & ISCSI_TCP_BAD_HEADER) {
        c->stats.digest_err++;
        iscsi_tcp_rx_fail(tcp, ISCSI_ERR_HDR_DGST, "header digest of a PDU is wrong");
    } else if (!iscsi_tcp_header_fits(h, c->max_recv_dlength) && iscsi_tcp_refused_header(tcp, h)) {
        return false;
    } else if (get24(h->dseg_len) != data_len) {
        iscsi_tcp_rx_fail(tcp, ISCSI_ERR_PROTO, "a PDU has other data than its header says");
    } else if ((flags & ISCSI_TCP_PLACED) && !data_in) {
        iscsi_tcp_rx_fail(tcp, ISCSI_ERR_PROTO, "data of a PDU that has none to place were placed");
    } else {
        tcp->data_len = data_len;
        if (data_in)
            iscsi_tcp_data_in_begin(tcp);
    }
    return tcp->state != RX_DEAD;
}

int
iscsi_tcp_recv_pdu(struct iscsi_tcp_conn *tcp, const struct bhs *hdr, const void *data,
                   uint32_t data_len, uint32_t flags)
{
    TRACE(tcp->conn->loop, iscsi_tcp_recv, tcp->conn->cid, ISCSI_BHS_LEN + data_len);
    assert(data_len == 0 || data != NULL || (flags & ISCSI_TCP_PLACED));
    assert(tcp->hdr_have == 0 && !tcp->hold && tcp->ctl == NULL);
    if (tcp->conn->failed)
        tcp->state = RX_DEAD;
    if (tcp->state == RX_DEAD)
        return -ECONNABORTED;
    assert(tcp->state == RX_HEADER);
    memcpy(tcp->hdr, hdr, ISCSI_BHS_LEN);
    tcp->bhs = (const void *)tcp->hdr;
    if (!framed_header(tcp, data_len, flags))
        return -ECONNABORTED;
    if (flags & ISCSI_TCP_PLACED)
        data = NULL;
    if (__builtin_expect(tcp->conn->tap != NULL, 0) && data_len > 0)
        framed_tap(tcp, data);
    if ((flags & ISCSI_TCP_BAD_DATA) && data_len > 0) {
        iscsi_tcp_bad_data_digest(tcp);
    } else {
        if (tcp->task != NULL && data_len > 0)
            framed_data_in(tcp, data);
        iscsi_tcp_pdu_end(tcp, data);
    }
    if (tcp->state == RX_DEAD)
        return -ECONNABORTED;
    return tcp->hold ? ISCSI_RX_HOLD : 0;
}
