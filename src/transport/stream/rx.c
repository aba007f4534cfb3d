/* SPDX-License-Identifier: MIT */
/* transport/stream/rx.c - bytes become PDUs (RFC 7143 11.2): header, data, padding and digests,
 * however they are cut. */
#include "transport/stream/parser.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "wire/pdu.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* Shows bytes behind a header to somebody who looks on; `before` as in iscsi_tcp_tap_bytes. */
static inline void
tap_more(const struct iscsi_tcp_conn *tcp, uint32_t before, const void *p, uint32_t len)
{
    if (__builtin_expect(tcp->conn->tap != NULL, 0))
        iscsi_tcp_tap_bytes(tcp, before, p, len);
}

/* The complete header at tcp->bhs, with its digest, is checked, and the parser told what follows.
 */
static ALWAYS_INLINE void
rx_header_done(struct iscsi_tcp_conn *tcp)
{
    struct iscsi_conn *c = tcp->conn;
    const struct bhs *h = tcp->bhs;

    if (c->flight != NULL)
        flight_rx(c->flight, h);
    if (__builtin_expect(c->tap != NULL, 0))
        iscsi_tcp_tap_header(tcp);
    if (c->hdrdgst_en &&
        !pdu_digest_ok(crc32c_update(CRC32C_INIT, h, sizeof(*h)), (const uint8_t *)h + 48)) {
        c->stats.digest_err++;
        iscsi_tcp_rx_fail(tcp, ISCSI_ERR_HDR_DGST, "header digest of a PDU is wrong");
        return;
    }
    if (__builtin_expect(!iscsi_tcp_header_fits(h, c->max_recv_dlength), 0) &&
        iscsi_tcp_refused_header(tcp, h))
        return;
    tcp->data_len = get24(h->dseg_len);
    if ((h->opcode & ISCSI_OP_MASK) == ISCSI_OP_DATA_IN) {
        iscsi_tcp_data_in_begin(tcp);
        if (__builtin_expect(tcp->state == RX_DEAD, 0))
            return;
    }
    if (tcp->data_len == 0) {
        iscsi_tcp_pdu_end(tcp, NULL);
        return;
    }
    tcp->data_have = 0;
    tcp->trailer_have = 0;
    tcp->trailer_len = (-tcp->data_len & tcp->pad_mask) + (c->datadgst_en ? PDU_DIGEST_LEN : 0);
    tcp->crc = CRC32C_INIT;
    tcp->state = RX_DATA;
}

static void __attribute__((noinline)) trailer_done(struct iscsi_tcp_conn *tcp, const void *data)
{
    struct iscsi_conn *c = tcp->conn;
    uint32_t pad = pdu_pad(tcp->data_len);

    if (c->datadgst_en) {
        tcp->crc = crc32c_update(tcp->crc, tcp->trailer, pad); /* padding counts: 11.2.3 */
        if (!pdu_digest_ok(tcp->crc, tcp->trailer + pad)) {
            iscsi_tcp_bad_data_digest(tcp);
            return;
        }
    }
    iscsi_tcp_pdu_end(tcp, data);
}

/* Copies n bytes of a data segment that comes in pieces: those of a Data-In into the command's
 * memory, those of a control PDU into tcp->ctl, and those of a task that is gone nowhere. */
static void
rx_take_data(struct iscsi_tcp_conn *tcp, const uint8_t *p, uint32_t n)
{
    tap_more(tcp, tcp->data_have, p, n);
    if (tcp->conn->datadgst_en)
        tcp->crc = crc32c_update(tcp->crc, p, n);
    if (tcp->task != NULL) {
        struct iscsi_tcp_task *tt = tcp->task->dd_data;

        sg_copy_to(&tt->in, &tcp->task->sc->in, p, n);
    } else if (!tcp->drop) {
        memcpy(tcp->ctl + tcp->data_have, p, n);
    }
    tcp->data_have += n;
}

/* The data segment at p has arrived with padding and digest, which is checked there. */
static inline bool
segment_digest_ok(struct iscsi_tcp_conn *tcp, const uint8_t *p)
{
    uint32_t padded = tcp->data_len + pdu_pad(tcp->data_len); /* padding counts: 11.2.3 */

    if (!tcp->conn->datadgst_en || pdu_digest_ok(crc32c_update(CRC32C_INIT, p, padded), p + padded))
        return true;
    iscsi_tcp_bad_data_digest(tcp);
    return false;
}

/* Takes a data segment that has arrived with padding and digest, as that of most PDUs, and ends the
 * PDU.  False, and nothing has happened, where its place is in more than one piece of memory. */
static ALWAYS_INLINE bool
rx_segment(struct iscsi_tcp_conn *tcp, const uint8_t *p)
{
    if (tcp->task != NULL) {
        struct iscsi_tcp_task *tt = tcp->task->dd_data;
        void *to = sg_cursor_take(&tt->in, &tcp->task->sc->in, tcp->data_len);

        if (__builtin_expect(to == NULL, 0))
            return false;
        tap_more(tcp, 0, p, tcp->data_len + tcp->trailer_len);
        if (!segment_digest_ok(tcp, p))
            return true;
        memcpy(to, p, tcp->data_len);
    } else {
        tap_more(tcp, 0, p, tcp->data_len + tcp->trailer_len);
        if (!segment_digest_ok(tcp, p))
            return true;
    }
    iscsi_tcp_pdu_end(tcp, p);
    return true;
}

/* In RX_DATA with n bytes at p: returns how many were used. */
static ALWAYS_INLINE size_t
rx_data(struct iscsi_tcp_conn *tcp, const uint8_t *p, size_t n)
{
    uint32_t want = tcp->data_len - tcp->data_have;
    uint32_t segment = tcp->data_len + tcp->trailer_len;

    if (tcp->data_have == 0 && n >= segment && rx_segment(tcp, p))
        return segment;
    if (tcp->task == NULL && tcp->ctl == NULL && !tcp->drop) {
        tcp->ctl = malloc(tcp->data_len); /* control PDUs only; at most max_recv_dlength */
        if (tcp->ctl == NULL) {
            iscsi_tcp_rx_fail(tcp, ISCSI_ERR_MEMORY, "no memory for a control PDU");
            return n;
        }
    }
    if (n < want)
        want = (uint32_t)n;
    rx_take_data(tcp, p, want);
    if (tcp->data_have == tcp->data_len) {
        if (tcp->trailer_len == 0)
            iscsi_tcp_pdu_end(tcp, tcp->ctl);
        else
            tcp->state = RX_TRAILER;
    }
    return want;
}

/* Whether n bytes at p, where a PDU begins, hold its header and data segment.  Mostly they do not
 * where reads are large, and the fast path need not look at it then. */
static inline bool
rx_has_pdu(const uint8_t *p, size_t n)
{
    return n >= ISCSI_BHS_LEN &&
           n - ISCSI_BHS_LEN >= get24(((const struct bhs *)(const void *)p)->dseg_len);
}

/* In RX_HEADER with n bytes at p: returns how many were used.  A header that has arrived completely
 * is parsed where it lies; one in pieces is put together in tcp->hdr. */
static ALWAYS_INLINE size_t
rx_header(struct iscsi_tcp_conn *tcp, const uint8_t *p, size_t n)
{
    size_t hlen = ISCSI_BHS_LEN + (tcp->conn->hdrdgst_en ? PDU_DIGEST_LEN : 0);
    size_t used = hlen - tcp->hdr_have;

    if (__builtin_expect(n < used || tcp->hdr_have > 0, 0)) {
        used = n < used ? n : used;
        memcpy(tcp->hdr + tcp->hdr_have, p, used);
        tcp->hdr_have += (uint32_t)used;
        if (tcp->hdr_have < hlen)
            return used;
        p = tcp->hdr;
    }
    tcp->bhs = (const void *)p;
    rx_header_done(tcp);
    return used;
}

/* The memory of the received bytes is used for others next; the header of the PDU under way is
 * still needed, so it moves to tcp->hdr. */
static inline void
keep_header(struct iscsi_tcp_conn *tcp)
{
    if ((tcp->state == RX_DATA || tcp->state == RX_TRAILER) &&
        (const uint8_t *)tcp->bhs != tcp->hdr) {
        memcpy(tcp->hdr, tcp->bhs, ISCSI_BHS_LEN);
        tcp->bhs = (const void *)tcp->hdr;
    }
}

size_t
iscsi_tcp_recv(struct iscsi_tcp_conn *tcp, const uint8_t *p, size_t len)
{
    size_t given = len;

    TRACE(tcp->conn->loop, iscsi_tcp_recv, tcp->conn->cid, len);
    if (tcp->conn->flight != NULL)
        flight_now(tcp->conn->flight, tcp->conn->loop->now_ns);
    if (__builtin_expect(tcp->conn->failed, 0))
        tcp->state = RX_DEAD;
    while (len > 0 && tcp->state != RX_DEAD && !tcp->hold) {
        size_t used = 0;
        uint32_t want;

        switch (tcp->state) {
        case RX_HEADER:
            if (iscsi_tcp_rx_fast_may(tcp) && rx_has_pdu(p, len) &&
                __builtin_expect(tcp->conn->tap == NULL, 1))
                used = iscsi_tcp_rx_fast(tcp, p, len);
            if (used == 0 && tcp->state == RX_HEADER)
                used = rx_header(tcp, p, len);
            break;
        case RX_DATA:
            used = rx_data(tcp, p, len);
            break;
        case RX_TRAILER:
            want = tcp->trailer_len - tcp->trailer_have;
            used = len < want ? len : want;
            tap_more(tcp, tcp->data_len, p, (uint32_t)used);
            memcpy(tcp->trailer + tcp->trailer_have, p, used);
            tcp->trailer_have += (uint32_t)used;
            if (used == want)
                trailer_done(tcp, tcp->ctl);
            break;
        case RX_DEAD:
            break;
        }
        p += used;
        len -= used;
    }
    keep_header(tcp);
    return given - len;
}

int
iscsi_tcp_map_in(struct iscsi_tcp_conn *tcp, struct iovec *iov, int max, uint32_t *ret_len)
{
    struct iscsi_tcp_task *tt;
    struct sg_cursor at;

    if (tcp->state != RX_DATA || tcp->task == NULL)
        return 0;
    tt = tcp->task->dd_data;
    at = tt->in; /* a copy: only iscsi_tcp_placed moves the real one */
    return sg_cursor_map(&at, &tcp->task->sc->in, tcp->data_len - tcp->data_have, iov, max,
                         ret_len);
}

/* What was received in place is looked at, since it has a digest or somebody looks on. */
static void __attribute__((noinline))
look_at_placed(struct iscsi_tcp_conn *tcp, const struct iovec *iov, uint32_t len)
{
    for (uint32_t done = 0, n; done < len; done += n, iov++) {
        n = len - done < iov->iov_len ? len - done : (uint32_t)iov->iov_len;
        tap_more(tcp, tcp->data_have + done, iov->iov_base, n);
        if (tcp->conn->datadgst_en)
            tcp->crc = crc32c_update(tcp->crc, iov->iov_base, n);
    }
}

void
iscsi_tcp_placed(struct iscsi_tcp_conn *tcp, const struct iovec *iov, uint32_t len)
{
    struct iscsi_tcp_task *tt;

    assert(tcp->state == RX_DATA && tcp->task != NULL && len <= tcp->data_len - tcp->data_have);
    tt = tcp->task->dd_data;
    if (tcp->conn->datadgst_en || tcp->conn->tap != NULL)
        look_at_placed(tcp, iov, len);
    sg_cursor_seek(&tt->in, &tcp->task->sc->in, tt->in.at + len);
    tcp->task->moved_ns = tcp->conn->loop->now_ns;
    tcp->data_have += len;
    if (tcp->data_have == tcp->data_len) {
        if (tcp->trailer_len == 0)
            iscsi_tcp_pdu_end(tcp, NULL);
        else
            tcp->state = RX_TRAILER;
    }
}
