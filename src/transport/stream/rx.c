/* SPDX-License-Identifier: MIT */
/* transport/stream/rx.c - bytes become PDUs (RFC 7143 11.2): header, data, padding and digests,
 * however they are cut. */
#include "transport/stream/rx.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "wire/pdu.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))

void
iscsi_tcp_conn_init(struct iscsi_tcp_conn *tcp, struct iscsi_conn *c)
{
    *tcp = (struct iscsi_tcp_conn){.conn = c, .bhs = (void *)tcp->hdr, .state = RX_HEADER};
}

void
iscsi_tcp_conn_reset(struct iscsi_tcp_conn *tcp)
{
    free(tcp->ctl);
    iscsi_tcp_conn_init(tcp, tcp->conn);
}

/* No AHS, and a length that we declared: one look for both, they share a word. */
static inline bool
plain_header(const struct bhs *h, uint32_t max)
{
    uint8_t op = h->opcode & ISCSI_OP_MASK;

    return (op == ISCSI_OP_DATA_IN || op == ISCSI_OP_SCSI_RSP) && ld_be32(&h->ahs_words) <= max;
}

/* A whole header is at tcp->bhs. */
static ALWAYS_INLINE void
hdr_done(struct iscsi_tcp_conn *tcp)
{
    struct iscsi_conn *c = tcp->conn;
    const struct bhs *h = tcp->bhs;
    struct lunette_error why;

    if (c->hdrdgst_en &&
        !pdu_digest_ok(crc32c_update(CRC32C_INIT, h, sizeof(*h)), (const uint8_t *)h + 48)) {
        c->stats.digest_err++;
        iscsi_tcp_rx_fail(tcp, ISCSI_ERR_HDR_DGST, "header digest of a PDU is wrong");
        return;
    }
    if (__builtin_expect(!plain_header(h, c->max_recv_dlength), 0) &&
        pdu_check_header(h, PDU_FROM_TARGET, c->max_recv_dlength, &why) < 0) {
        iscsi_tcp_rx_fail(tcp, ISCSI_ERR_PROTO, why.msg);
        return;
    }
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
    tcp->trailer_len = pdu_pad(tcp->data_len) + (c->datadgst_en ? PDU_DIGEST_LEN : 0);
    tcp->crc = CRC32C_INIT;
    tcp->state = RX_DATA;
}

static bool __attribute__((noinline, cold)) bad_data_digest(struct iscsi_tcp_conn *tcp)
{
    tcp->conn->stats.digest_err++;
    iscsi_tcp_rx_fail(tcp, ISCSI_ERR_DATA_DGST, "data digest of a PDU is wrong");
    return false;
}

/* Where a PDU came in pieces. */
static void __attribute__((noinline)) pieces_done(struct iscsi_tcp_conn *tcp, const void *data)
{
    iscsi_tcp_pdu_end(tcp, data);
}

static void __attribute__((noinline)) trailer_done(struct iscsi_tcp_conn *tcp, const void *data)
{
    struct iscsi_conn *c = tcp->conn;
    uint32_t pad = pdu_pad(tcp->data_len);

    if (c->datadgst_en) {
        tcp->crc = crc32c_update(tcp->crc, tcp->trailer, pad); /* padding counts: 11.2.3 */
        if (!pdu_digest_ok(tcp->crc, tcp->trailer + pad)) {
            (void)bad_data_digest(tcp);
            return;
        }
    }
    pieces_done(tcp, data);
}

/* Takes data bytes of a Data-In into the command's memory, of a control PDU into tcp->ctl. */
static void
take_data(struct iscsi_tcp_conn *tcp, const uint8_t *p, uint32_t n)
{
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

/* The data segment lies whole at p: checks its digest where it lies. */
static inline bool
whole_digest_ok(struct iscsi_tcp_conn *tcp, const uint8_t *p)
{
    uint32_t padded = tcp->data_len + pdu_pad(tcp->data_len); /* padding counts: 11.2.3 */

    return !tcp->conn->datadgst_en ||
           pdu_digest_ok(crc32c_update(CRC32C_INIT, p, padded), p + padded) || bad_data_digest(tcp);
}

/* The data segment lies whole at p, as that of most PDUs: false where it takes more than one copy
 * to place it. */
static ALWAYS_INLINE bool
rx_whole(struct iscsi_tcp_conn *tcp, const uint8_t *p)
{
    if (tcp->task != NULL) {
        struct iscsi_tcp_task *tt = tcp->task->dd_data;
        void *to = sg_cursor_take(&tt->in, &tcp->task->sc->in, tcp->data_len);

        if (__builtin_expect(to == NULL, 0))
            return false;
        if (!whole_digest_ok(tcp, p))
            return true;
        memcpy(to, p, tcp->data_len);
    } else if (!whole_digest_ok(tcp, p)) {
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
    uint32_t whole = tcp->data_len + tcp->trailer_len;

    if (tcp->data_have == 0 && n >= whole && rx_whole(tcp, p))
        return whole;
    if (tcp->task == NULL && tcp->ctl == NULL && !tcp->drop) {
        tcp->ctl = malloc(tcp->data_len); /* bounded by max_recv_dlength; control PDUs only */
        if (tcp->ctl == NULL) {
            iscsi_tcp_rx_fail(tcp, ISCSI_ERR_LOCAL, "out of memory for a control PDU");
            return n;
        }
    }
    if (n < want)
        want = (uint32_t)n;
    take_data(tcp, p, want);
    if (tcp->data_have == tcp->data_len) {
        if (tcp->trailer_len == 0)
            pieces_done(tcp, tcp->ctl);
        else
            tcp->state = RX_TRAILER;
    }
    return want;
}

/* In RX_HEADER with n bytes at p.  A header that is whole is parsed where it lies. */
static ALWAYS_INLINE size_t
rx_header(struct iscsi_tcp_conn *tcp, const uint8_t *p, size_t n)
{
    size_t whole = ISCSI_BHS_LEN + (tcp->conn->hdrdgst_en ? PDU_DIGEST_LEN : 0);
    size_t used = whole - tcp->hdr_have;

    if (__builtin_expect(n < used || tcp->hdr_have > 0, 0)) {
        used = n < used ? n : used;
        memcpy(tcp->hdr + tcp->hdr_have, p, used);
        tcp->hdr_have += (uint32_t)used;
        if (tcp->hdr_have < whole)
            return used;
        p = tcp->hdr;
    }
    tcp->bhs = (const void *)p;
    hdr_done(tcp);
    return used;
}

/* What was received goes away: the header of the PDU under way must not. */
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
    while (len > 0 && tcp->state != RX_DEAD && !tcp->hold) {
        size_t used = 0;
        uint32_t want;

        switch (tcp->state) {
        case RX_HEADER:
            if (tcp->hdr_have == 0)
                used = iscsi_tcp_rx_fast(tcp, p, len);
            if (used == 0)
                used = rx_header(tcp, p, len);
            break;
        case RX_DATA:
            used = rx_data(tcp, p, len);
            break;
        case RX_TRAILER:
            want = tcp->trailer_len - tcp->trailer_have;
            used = len < want ? len : want;
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

void
iscsi_tcp_placed(struct iscsi_tcp_conn *tcp, const struct iovec *iov, uint32_t len)
{
    struct iscsi_tcp_task *tt = tcp->task->dd_data;
    uint32_t rest = len;

    assert(tcp->state == RX_DATA && len <= tcp->data_len - tcp->data_have);
    if (tcp->conn->datadgst_en) {
        for (; rest > 0; iov++) {
            uint32_t n = rest < iov->iov_len ? rest : (uint32_t)iov->iov_len;

            tcp->crc = crc32c_update(tcp->crc, iov->iov_base, n);
            rest -= n;
        }
    }
    sg_cursor_seek(&tt->in, &tcp->task->sc->in, tt->in.at + len);
    tcp->task->moved_ns = tcp->conn->loop->now_ns;
    tcp->data_have += len;
    if (tcp->data_have == tcp->data_len) {
        if (tcp->trailer_len == 0)
            pieces_done(tcp, NULL);
        else
            tcp->state = RX_TRAILER;
    }
}
