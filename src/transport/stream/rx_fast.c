/* SPDX-License-Identifier: MIT */
/* transport/stream/rx_fast.c - the fast path of what is received.
 *
 * Most of the stream consists of two kinds of PDU: a Data-In that carries all data of its command
 * and GOOD status (RFC 7143 11.7.3), and a SCSI Response that has no data and says GOOD (11.4).
 * One that lies complete in the received bytes is taken here, with one copy and one up-call and
 * without the parser's states.  Whatever differs in any respect is left to the general path, which
 * reports what is wrong with it, too.  Each header is recorded here, so that a connection without a
 * recorder is left to the general path as a whole.
 */
#include "transport/stream/parser.h"

#include <assert.h>

#include "base/crc32c.h"
#include "wire/pdu.h"

/* Which digests the connection uses.  They are an argument of inlined functions, so that the
 * compiler makes a copy without any test for each combination. */
#define FAST_HDRDGST  1u
#define FAST_DATADGST 2u

#define ALWAYS_INLINE inline __attribute__((always_inline))

void
iscsi_tcp_check_fast(const struct iscsi_tcp_conn *tcp)
{
    const struct iscsi_task *t = tcp->task;

    if (iscsi_tcp_rx_fast_may(tcp))
        assert(t == NULL && !tcp->drop && tcp->ctl == NULL);
    assert(tcp->hdr_have <= sizeof(tcp->hdr) && tcp->trailer_have <= sizeof(tcp->trailer));
    if (t == NULL)
        return;
    assert(tcp->state == RX_DATA || tcp->state == RX_TRAILER);
    assert(!tcp->drop && t->conn == tcp->conn && t->state == ISCSI_TASK_RUNNING);
    assert(tcp->data_have <= tcp->data_len);
    assert(tcp->odd ? tcp->data_len <= t->sc->in.len
                    : t->in_done == ISCSI_IN_PIECES || tcp->data_len <= t->sc->in.len - t->in_done);
}

/* Takes SCSI Responses that stand one behind the other at p, the first of which is one for the fast
 * path, up to the first PDU that is not.  They are recorded together.  Returns the bytes used. */
static ALWAYS_INLINE size_t
rx_fast_rsps(struct iscsi_conn *c, const uint8_t *p, size_t n)
{
    const uint8_t *at = p;

    do {
        c->up->complete_scsi_rsp(c, (const void *)at);
        at += ISCSI_BHS_LEN;
        n -= ISCSI_BHS_LEN;
    } while (n >= ISCSI_BHS_LEN && ld_be64(at) == (uint64_t)ISCSI_FAST_RSP << 32 && !c->failed);
    if (at == p + ISCSI_BHS_LEN)
        flight_rx(c->flight, p);
    else
        flight_rx_run(c->flight, p, (size_t)(at - p));
    return (size_t)(at - p);
}

/* Takes one PDU at p.  Returns the bytes used; 0, and nothing has happened, where it is not one for
 * the fast path or not all of it has arrived. */
static ALWAYS_INLINE size_t
rx_fast_one(struct iscsi_tcp_conn *tcp, const uint8_t *p, size_t n, uint32_t digests)
{
    struct iscsi_conn *c = tcp->conn;
    const struct bhs_data_in *h = (const void *)p;
    uint32_t hlen = ISCSI_BHS_LEN + (digests & FAST_HDRDGST ? PDU_DIGEST_LEN : 0);
    uint32_t kind, len, padded, pdu_len;
    struct iscsi_task *t;
    void *to;

    if (n < hlen)
        return 0;
    kind = ld_be32(h);
    len = ld_be32(&h->ahs_words); /* TotalAHSLength, which is 0 here, and DataSegmentLength */
    if ((digests & FAST_HDRDGST) &&
        !pdu_digest_ok(crc32c_update(CRC32C_INIT, h, ISCSI_BHS_LEN), p + ISCSI_BHS_LEN))
        return 0;
    if ((kind & ISCSI_FAST_DATA_IN_MASK) != ISCSI_FAST_DATA_IN) {
        if (kind != ISCSI_FAST_RSP || len != 0)
            return 0;
        if (!(digests & FAST_HDRDGST))
            return rx_fast_rsps(c, p, n);
        flight_rx(c->flight, h);
        c->up->complete_scsi_rsp(c, (const void *)h);
        return hlen;
    }
    padded = (len + 3) & ~3u;
    pdu_len = hlen + padded + (digests & FAST_DATADGST ? PDU_DIGEST_LEN : 0);
    if (len - 1 >= c->max_recv_dlength || n < pdu_len)
        return 0;
    if (ld_be64(&h->data_sn) != 0) /* DataSN and Buffer Offset: it is not the only Data-In */
        return 0;
    t = iscsi_task_of(c, h->itt);
    if (t == NULL || t->sc == NULL || t->sc->in.len != len || (t->exp_datasn | t->in_done) != 0)
        return 0;
    to = sg_start(&t->sc->in, len);
    if (to == NULL)
        return 0;
    p += hlen;
    if ((digests & FAST_DATADGST) &&
        !pdu_digest_ok(crc32c_update(CRC32C_INIT, p, padded), p + padded))
        return 0;
    flight_rx(c->flight, h);
    t->in_done = tcp->last_data_in = len;
    c->stats.datain_pdus++;
    c->stats.rxdata_octets += len;
    memcpy(to, p, len); /* behind all that needs len */
    c->up->complete_data_in(t, h);
    return pdu_len;
}

/* One function for each combination: the compiler would mix them otherwise. */
static ALWAYS_INLINE size_t
rx_fast_run(struct iscsi_tcp_conn *tcp, const uint8_t *p, size_t len, uint32_t digests)
{
    size_t given = len, used;

    do {
        used = rx_fast_one(tcp, p, len, digests);
        p += used;
        len -= used;
    } while (used > 0 && !tcp->conn->failed);
    if (tcp->conn->failed)
        tcp->state = RX_DEAD;
    return given - len;
}

#define RX_FAST_RUN(name, digests)                                                                 \
    static size_t __attribute__((noinline))                                                        \
    name(struct iscsi_tcp_conn *tcp, const uint8_t *p, size_t len)                                 \
    {                                                                                              \
        return rx_fast_run(tcp, p, len, digests);                                                  \
    }
RX_FAST_RUN(rx_fast_bare, 0)
RX_FAST_RUN(rx_fast_hdrdgst, FAST_HDRDGST)
RX_FAST_RUN(rx_fast_datadgst, FAST_DATADGST)
RX_FAST_RUN(rx_fast_digests, FAST_HDRDGST | FAST_DATADGST)

size_t
iscsi_tcp_rx_fast(struct iscsi_tcp_conn *tcp, const uint8_t *p, size_t len)
{
    const struct iscsi_conn *c = tcp->conn;

    assert(iscsi_tcp_rx_fast_may(tcp) && tcp->task == NULL);
    if (__builtin_expect(tcp->pad_mask == 0, 0))
        return 0; /* it takes padding for granted */
    if (!c->hdrdgst_en && !c->datadgst_en)
        return rx_fast_bare(tcp, p, len);
    if (c->hdrdgst_en && c->datadgst_en)
        return rx_fast_digests(tcp, p, len);
    return c->hdrdgst_en ? rx_fast_hdrdgst(tcp, p, len) : rx_fast_datadgst(tcp, p, len);
}
