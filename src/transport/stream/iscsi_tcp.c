/* SPDX-License-Identifier: MIT */
/* transport/stream/iscsi_tcp.c - PDUs out of bytes, Data-Out PDUs out of tasks.  RFC
 * 7143 11.2, 11.7, 11.8. */
#include "transport/stream/iscsi_tcp.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "wire/pdu.h"

#define PLAIN_HDRDGST  1u
#define PLAIN_DATADGST 2u

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* ---- receiving ------------------------------------------------------------------------------ */

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

/* The peer's fault: reports it once and drops what still arrives. */
static void __attribute__((noinline, cold))
fail(struct iscsi_tcp_conn *tcp, enum iscsi_err err, const char *why)
{
    tcp->state = RX_DEAD;
    tcp->conn->up->conn_failure(tcp->conn, err, why);
}

/* What is wrong with a Data-In (RFC 7143 11.7; 4.2.5.3): fails the connection, unless it is one to
 * be dropped. */
static void __attribute__((noinline, cold))
odd_data_in(struct iscsi_tcp_conn *tcp, const struct bhs_data_in *h, const struct iscsi_task *t)
{
    struct iscsi_conn *c = tcp->conn;
    uint32_t offset = get32(h->offset), len = tcp->data_len;

    if (t == NULL && c->up->itt_ended(c, h->itt))
        tcp->drop = true;
    else if (t == NULL || t->sc == NULL)
        fail(tcp, ISCSI_ERR_BAD_ITT, "Data-In for a task that is not there");
    else if (t->sc->in.len == 0 && len > 0)
        fail(tcp, ISCSI_ERR_PROTO, "Data-In for a command that reads nothing");
    else if (get32(h->data_sn) != t->exp_datasn)
        fail(tcp, ISCSI_ERR_DATASN, "Data-In out of sequence: DataSN is not the next one");
    else if (offset > t->sc->in.len || len > t->sc->in.len - offset)
        fail(tcp, ISCSI_ERR_DATA_OFFSET, "Data-In beyond the end of the command's buffer");
    else if (len > 0 && offset != t->in_done)
        fail(tcp, ISCSI_ERR_DATA_OFFSET, "Data-In does not continue where the last one ended");
    else
        fail(tcp, ISCSI_ERR_PROTO, "Data-In with status but without the final bit");
}

/* DataPDUInOrder and DataSequenceInOrder are Yes: a hole would leave stale bytes behind. */
static inline bool
data_in_fits(const struct iscsi_tcp_conn *tcp, const struct bhs_data_in *h,
             const struct iscsi_task *t)
{
    uint32_t offset = get32(h->offset), len = tcp->data_len, in_len = t->sc->in.len;

    return get32(h->data_sn) == t->exp_datasn && offset <= in_len && len <= in_len - offset &&
           (offset == t->in_done || len == 0) &&
           (h->flags & (ISCSI_DATA_IN_STATUS | ISCSI_FLAG_FINAL)) != ISCSI_DATA_IN_STATUS;
}

static ALWAYS_INLINE void
rx_data_in(struct iscsi_tcp_conn *tcp, const struct bhs_data_in *h)
{
    struct iscsi_conn *c = tcp->conn;
    struct iscsi_task *t = c->up->itt_to_task(c, h->itt);

    if (__builtin_expect(t == NULL || t->sc == NULL || !data_in_fits(tcp, h, t), 0)) {
        odd_data_in(tcp, h, t);
        return;
    }
    tcp->task = t;
    tcp->last_data_in = tcp->data_len;
    if (t->in_done == 0) /* the walk along its memory begins */
        sg_cursor_init(&((struct iscsi_tcp_task *)t->dd_data)->in, &t->sc->in);
    t->exp_datasn++;
    t->moved_ns = c->loop->now_ns;
    c->stats.datain_pdus++;
    c->stats.rxdata_octets += tcp->data_len;
}

/* R2T: keeps it with its task; the xmitworker answers (RFC 7143 11.8). */
static void
iscsi_tcp_r2t_rsp(struct iscsi_tcp_conn *tcp, const struct bhs_r2t *h)
{
    struct iscsi_conn *c = tcp->conn;
    struct iscsi_task *t = c->up->itt_to_task(c, h->itt);
    uint32_t offset = get32(h->offset), len = get32(h->desired_len), max;
    struct iscsi_tcp_task *tt;
    const char *why = NULL;
    enum iscsi_err err = ISCSI_ERR_PROTO;

    TRACE(c->loop, iscsi_tcp_r2t_rsp, get32(h->itt), len);
    c->stats.r2t_pdus++;
    if (t == NULL && c->up->itt_ended(c, h->itt)) {
        c->up->update_cmdsn(c, h->exp_cmd_sn, h->max_cmd_sn);
        return;
    }
    if (t == NULL || t->sc == NULL) {
        fail(tcp, ISCSI_ERR_BAD_ITT, "R2T for a task that is not there");
        return;
    }
    tt = t->dd_data;
    max = c->session->params.max_r2t < ISCSI_TCP_R2T_MAX ? c->session->params.max_r2t
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
    else if (offset != tt->next_offset)
        why = "R2T does not continue where the last one ended"; /* 13.19 */
    else if (tt->r2t_count >= max)
        why = "more R2Ts outstanding than MaxOutstandingR2T";
    if (get32(h->r2t_sn) != tt->exp_r2tsn) {
        why = "R2T out of sequence: R2TSN is not the next one";
        err = ISCSI_ERR_R2TSN;
    }
    if (why != NULL) {
        fail(tcp, err, why);
        return;
    }
    c->up->update_cmdsn(c, h->exp_cmd_sn, h->max_cmd_sn);
    tt->r2t[(tt->r2t_head + tt->r2t_count++) % ISCSI_TCP_R2T_MAX] =
        (struct iscsi_r2t){.ttt = h->ttt, .offset = offset, .len = len};
    tt->exp_r2tsn++;
    tt->next_offset = offset + len;
    if (t->sc->in.len > 0)
        t->exp_datasn++; /* bidirectional: R2Ts and Data-Ins share one sequence (4.2.2.4) */
    t->moved_ns = c->loop->now_ns;
    c->up->requeue_task(t);
}

/* The data segment has been taken, its digest was good: what now? */
static ALWAYS_INLINE void
pdu_done(struct iscsi_tcp_conn *tcp, const void *data)
{
    struct iscsi_conn *c = tcp->conn;
    const struct bhs *h = tcp->bhs;
    uint8_t op = h->opcode & ISCSI_OP_MASK;
    int r = 0;

    if (op == ISCSI_OP_DATA_IN) {
        const struct bhs_data_in *in = (const void *)h;

        assert(tcp->task != NULL || tcp->drop);
        if (tcp->task != NULL)
            tcp->task->in_done += tcp->data_len;
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
    tcp->task = NULL;
    tcp->drop = false;
    if (__builtin_expect(r < 0 || tcp->state == RX_DEAD, 0)) {
        tcp->state = RX_DEAD;
        return;
    }
    tcp->hold = r == ISCSI_RX_HOLD;
    tcp->state = RX_HEADER;
    tcp->hdr_have = 0;
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
        fail(tcp, ISCSI_ERR_HDR_DGST, "header digest of a PDU is wrong");
        return;
    }
    if (__builtin_expect(!plain_header(h, c->max_recv_dlength), 0) &&
        pdu_check_header(h, PDU_FROM_TARGET, c->max_recv_dlength, &why) < 0) {
        fail(tcp, ISCSI_ERR_PROTO, why.msg);
        return;
    }
    tcp->data_len = get24(h->dseg_len);
    if ((h->opcode & ISCSI_OP_MASK) == ISCSI_OP_DATA_IN) {
        rx_data_in(tcp, (const void *)h);
        if (__builtin_expect(tcp->state == RX_DEAD, 0))
            return;
    }
    if (tcp->data_len == 0) {
        pdu_done(tcp, NULL);
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
    fail(tcp, ISCSI_ERR_DATA_DGST, "data digest of a PDU is wrong");
    return false;
}

/* Where a PDU came in pieces. */
static void __attribute__((noinline)) pieces_done(struct iscsi_tcp_conn *tcp, const void *data)
{
    pdu_done(tcp, data);
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
    pdu_done(tcp, p);
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
            fail(tcp, ISCSI_ERR_LOCAL, "out of memory for a control PDU");
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

static size_t
rx_plain_run(struct iscsi_tcp_conn *tcp, const uint8_t *p, size_t len)
{
    const struct iscsi_conn *c = tcp->conn;

    if (!c->hdrdgst_en && !c->datadgst_en)
        return rx_plain_all(tcp, p, len, 0);
    if (c->hdrdgst_en && c->datadgst_en)
        return rx_plain_all(tcp, p, len, PLAIN_HDRDGST | PLAIN_DATADGST);
    return rx_plain_all(tcp, p, len, c->hdrdgst_en ? PLAIN_HDRDGST : PLAIN_DATADGST);
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
                used = rx_plain_run(tcp, p, len);
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

/* ---- sending -------------------------------------------------------------------------------- */

/* One Data-Out PDU of sequence s (RFC 7143 11.7). */
static int
xmit_data_out(struct iscsi_task *t, struct iscsi_r2t *s)
{
    struct iscsi_conn *c = t->conn;
    uint32_t max = c->max_xmit_dlength & ~3u; /* all but the last are multiples of 4: 11.7.7 */
    uint32_t count = s->len < c->max_xmit_dlength ? s->len : max;
    struct bhs_data_out *h;
    int r = c->tt->alloc_pdu(t, ISCSI_OP_DATA_OUT);

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
    r = c->tt->init_pdu(t, s->offset, count);
    if (r == 0)
        r = c->tt->xmit_pdu(t);
    if (r < 0)
        return r;
    c->stats.dataout_pdus++;
    c->stats.txdata_octets += count;
    t->out_done += count;
    s->data_sn++;
    s->offset += count;
    s->len -= count;
    t->moved_ns = c->loop->now_ns;
    return 0;
}

int
iscsi_tcp_xmit_data(struct iscsi_task *t)
{
    struct iscsi_tcp_task *tt = t->dd_data;
    int r = 0;

    while (r == 0 && tt->unsol.len > 0)
        r = xmit_data_out(t, &tt->unsol);
    while (r == 0 && tt->r2t_count > 0) {
        struct iscsi_r2t *s = &tt->r2t[tt->r2t_head];

        r = xmit_data_out(t, s);
        if (r == 0 && s->len == 0) {
            tt->r2t_head = (tt->r2t_head + 1) % ISCSI_TCP_R2T_MAX;
            tt->r2t_count--;
        }
    }
    return r;
}
