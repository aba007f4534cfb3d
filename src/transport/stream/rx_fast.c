/* SPDX-License-Identifier: MIT */
/* transport/stream/rx_fast.c - the fast path of what is received. */
#include "transport/stream/rx.h"

#include "base/crc32c.h"
#include "wire/pdu.h"

#define PLAIN_HDRDGST  1u
#define PLAIN_DATADGST 2u

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* What most of the stream is, when it lies whole at p (RFC 7143 11.7.3, 11.4): all data of a read
 * with its status, or a response without data.  Returns the bytes used; 0, and nothing has
 * happened, for whatever is different in any way. */
static ALWAYS_INLINE size_t
rx_fast(struct iscsi_tcp_conn *tcp, const uint8_t *p, size_t n, uint32_t digests)
{
    struct iscsi_conn *c = tcp->conn;
    const struct bhs_data_in *h = (const void *)p;
    uint32_t hlen = ISCSI_BHS_LEN + (digests & PLAIN_HDRDGST ? PDU_DIGEST_LEN : 0);
    uint32_t kind, len, padded, whole;
    struct iscsi_task *t;
    void *to;

    if (n < hlen)
        return 0;
    kind = ld_be32(h);
    len = ld_be32(&h->ahs_words); /* TotalAHSLength, which is 0 here, and DataSegmentLength */
    if ((digests & PLAIN_HDRDGST) &&
        !pdu_digest_ok(crc32c_update(CRC32C_INIT, h, ISCSI_BHS_LEN), p + ISCSI_BHS_LEN))
        return 0;
    if ((kind & ISCSI_FAST_DATA_IN_MASK) != ISCSI_FAST_DATA_IN) {
        if (kind != ISCSI_FAST_RSP || len != 0)
            return 0;
        c->up->complete_scsi_rsp(c, (const void *)h);
        return hlen;
    }
    padded = (len + 3) & ~3u;
    whole = hlen + padded + (digests & PLAIN_DATADGST ? PDU_DIGEST_LEN : 0);
    if (len - 1 >= c->max_recv_dlength || n < whole || ld_be64(&h->data_sn) != 0)
        return 0; /* not all in one: DataSN and Buffer Offset are 0 then */
    t = iscsi_task_of(c, h->itt);
    if (t == NULL || t->sc == NULL || t->sc->in.len != len || (t->exp_datasn | t->in_done) != 0)
        return 0;
    to = sg_start(&t->sc->in, len);
    if (to == NULL)
        return 0;
    p += hlen;
    if ((digests & PLAIN_DATADGST) &&
        !pdu_digest_ok(crc32c_update(CRC32C_INIT, p, padded), p + padded))
        return 0;
    memcpy(to, p, len);
    t->in_done = tcp->last_data_in = len;
    c->stats.datain_pdus++;
    c->stats.rxdata_octets += len;
    c->up->complete_data_in(t, h);
    return whole;
}

/* As many of them as there are. */
static ALWAYS_INLINE size_t
rx_plain_all(struct iscsi_tcp_conn *tcp, const uint8_t *p, size_t len, uint32_t digests)
{
    size_t given = len, used;

    do {
        used = rx_fast(tcp, p, len, digests);
        p += used;
        len -= used;
    } while (used > 0 && !tcp->conn->failed);
    if (tcp->conn->failed)
        tcp->state = RX_DEAD;
    return given - len;
}

size_t
iscsi_tcp_rx_fast(struct iscsi_tcp_conn *tcp, const uint8_t *p, size_t len)
{
    const struct iscsi_conn *c = tcp->conn;

    if (!c->hdrdgst_en && !c->datadgst_en)
        return rx_plain_all(tcp, p, len, 0);
    if (c->hdrdgst_en && c->datadgst_en)
        return rx_plain_all(tcp, p, len, PLAIN_HDRDGST | PLAIN_DATADGST);
    return rx_plain_all(tcp, p, len, c->hdrdgst_en ? PLAIN_HDRDGST : PLAIN_DATADGST);
}
