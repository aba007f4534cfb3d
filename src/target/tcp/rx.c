/* SPDX-License-Identifier: MIT */
/* Bytes arrive in the loop's scratch memory and are taken apart there.  What is not complete at its
 * end is kept: a header in c.h, data of a command in its unit, other data in buf. */
#include "target/tcp/rx.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lu/lu.h"
#include "target/deliver.h"
#include "target/flow.h"
#include "target/state/command.h"
#include "target/tcp/pace.h"
#include "target/tcp/tcp.h"

#define ROUNDS_MAX  16u          /* receives of one connection in one turn */
#define STAGING     (256u << 10) /* bytes of scratch used for one receive */
#define STAGING_MIN (64u << 10)  /* ... behind data that goes straight to its place */
#define DIRECT_MIN  (16u << 10)  /* data left over that is worth an iovec of its own */
#define LOWAT_MIN   (128u << 10) /* data left over that is worth waiting for in one piece */
#define LOWAT_MAX   (256u << 10)

/* Whether the PDU under way has a data digest: what its header found negotiated. */
static bool
has_digest(const struct tgt_tcp *f)
{
    return f->tail_need >= PDU_DIGEST_LEN;
}

static void
begin_header(struct tgt_tcp *f)
{
    f->c.turn_pdus++;
    f->rx = TGT_RX_HEADER;
    f->h_have = 0;
    f->h_need = ISCSI_BHS_LEN;
    f->c.rx_cmd = NULL;
}

/* Whether its data goes where it belongs while it comes. */
static bool
rx_flows(const struct tgt_tcp *f)
{
    return tgt_is_data_out(&f->c) && !f->c.check_first;
}

/* A whole PDU has come; data is NULL where it has flown. */
static void
rx_deliver(struct tgt_tcp *f, const uint8_t *data, bool digest_ok)
{
    uint8_t *buf = f->buf;

    if (f->c.state == TGT_CONN_FFP && pdu_opcode(&f->c.h.bhs) == ISCSI_OP_SCSI_CMD)
        tgt_pace_command(f, tgt_deliver_exp_stat_sn(&f->c));
    f->buf = NULL;
    f->c.target->stats.digest_errors += !digest_ok;
    tgt_deliver(&f->c, data, digest_ok);
    free(buf);
    if (f->c.state != TGT_CONN_DEAD)
        begin_header(f);
}

/* False: the connection is dead. */
static bool
header_done(struct tgt_tcp *f)
{
    uint32_t hdr_len = ISCSI_BHS_LEN + pdu_ahs_len(&f->c.h.bhs);

    if (f->c.header_digest && !pdu_header_digest_ok(f->c.h.raw, hdr_len, f->c.h.raw + hdr_len)) {
        f->c.target->stats.digest_errors++;
        tgt_conn_kill(&f->c, "header digest error");
        return false;
    }
    if (!tgt_deliver_header(&f->c))
        return false;
    f->crc = CRC32C_INIT;
    f->tail_have = 0;
    f->tail_need =
        f->c.data_len == 0 ? 0 : pdu_pad(f->c.data_len) + (f->c.data_digest ? PDU_DIGEST_LEN : 0);
    tgt_deliver_begin(&f->c);
    if (f->c.data_len == 0)
        rx_deliver(f, NULL, true);
    else
        f->rx = TGT_RX_DATA;
    return f->c.state != TGT_CONN_DEAD;
}

/* Returns the bytes taken. */
static size_t
take_header(struct tgt_tcp *f, const uint8_t *p, size_t n)
{
    size_t k = f->h_need - f->h_have < n ? f->h_need - f->h_have : n;

    memcpy(f->c.h.raw + f->h_have, p, k);
    f->h_have += (uint32_t)k;
    if (f->h_have == ISCSI_BHS_LEN && f->h_need == ISCSI_BHS_LEN)
        f->h_need += pdu_header_trailer(&f->c.h.bhs, f->c.header_digest);
    if (f->h_have == f->h_need)
        (void)header_done(f);
    return k;
}

static void
data_done(struct tgt_tcp *f)
{
    if (f->tail_need == 0)
        rx_deliver(f, f->buf, true);
    else
        f->rx = TGT_RX_TAIL;
}

/* The whole data segment lies in the scratch memory: no copy but the one into a LUN. */
static void
take_data_in_place(struct tgt_tcp *f, const uint8_t *p)
{
    bool ok = true;

    if (has_digest(f))
        ok = pdu_data_digest_ok(p, f->c.data_len, p + f->c.data_len + pdu_pad(f->c.data_len));
    rx_deliver(f, p, ok);
}

static size_t
take_data(struct tgt_tcp *f, const uint8_t *p, size_t n)
{
    bool data_out = rx_flows(f);
    size_t k = f->c.data_len - f->c.data_off;

    if (!data_out && f->c.data_off == 0 && n >= k + f->tail_need) {
        k += f->tail_need;
        take_data_in_place(f, p);
        return k;
    }
    if (k > n)
        k = n;
    if (has_digest(f))
        f->crc = crc32c_update(f->crc, p, k);
    if (data_out) {
        tgt_data_out_sink(&f->c, p, (uint32_t)k);
    } else {
        if (f->buf == NULL)
            f->buf = malloc(f->c.data_len);
        if (f->buf == NULL) {
            tgt_conn_kill(&f->c, "out of memory");
            return k;
        }
        memcpy(f->buf + f->c.data_off, p, k);
    }
    f->c.data_off += (uint32_t)k;
    if (f->c.data_off == f->c.data_len)
        data_done(f);
    return k;
}

static size_t
take_tail(struct tgt_tcp *f, const uint8_t *p, size_t n)
{
    size_t k = f->tail_need - f->tail_have < n ? f->tail_need - f->tail_have : n;
    uint32_t pad = pdu_pad(f->c.data_len);
    bool ok = true;

    memcpy(f->tail + f->tail_have, p, k);
    f->tail_have += (uint32_t)k;
    if (f->tail_have < f->tail_need)
        return k;
    if (has_digest(f))
        ok = pdu_digest_ok(crc32c_update(f->crc, f->tail, pad), f->tail + pad);
    rx_deliver(f, f->buf, ok);
    return k;
}

static bool
rx_wanted(const struct tgt_tcp *f)
{
    return (f->c.state == TGT_CONN_LOGIN || f->c.state == TGT_CONN_FFP) && tgt_flow_open(&f->c);
}

/* Returns the bytes taken. */
static size_t
rx_take(struct tgt_tcp *f, const uint8_t *p, size_t n)
{
    size_t left = n;

    while (left > 0 && rx_wanted(f)) {
        size_t k;

        if (f->rx == TGT_RX_HEADER)
            k = take_header(f, p, left);
        else if (f->rx == TGT_RX_DATA)
            k = take_data(f, p, left);
        else
            k = take_tail(f, p, left);
        p += k;
        left -= k;
    }
    return n - left;
}

/* Keeps what has been received and may not be dealt with now. */
static void
keep_rest(struct tgt_tcp *f, const uint8_t *p, size_t n)
{
    if (f->c.state != TGT_CONN_LOGIN && f->c.state != TGT_CONN_FFP)
        return; /* it is not wanted any more */
    f->rest = malloc(n);
    if (f->rest == NULL) {
        tgt_conn_kill(&f->c, "out of memory");
        return;
    }
    memcpy(f->rest, p, n);
    f->rest_off = 0;
    f->rest_len = (uint32_t)n;
}

static void
take_rest(struct tgt_tcp *f)
{
    f->rest_off += (uint32_t)rx_take(f, f->rest + f->rest_off, f->rest_len - f->rest_off);
    if (f->rest_off < f->rest_len)
        return;
    free(f->rest);
    f->rest = NULL;
}

/* Memory of the LUN for what is left of a Data-Out, if it is worth it. */
static uint8_t *
direct(struct tgt_tcp *f, uint32_t *len)
{
    uint8_t *p;

    *len = f->c.data_len - f->c.data_off;
    if (f->rx != TGT_RX_DATA || *len < DIRECT_MIN || f->c.rx_cmd == NULL)
        return NULL;
    if (f->c.check_first || f->c.rx_cmd->data_lost)
        return NULL;
    if (f->c.rx_cmd->s.failed || f->c.rx_base + f->c.data_off + *len > f->c.rx_cmd->need)
        return NULL;
    p = lu_cmd_place(&f->c.rx_cmd->s, f->c.rx_base + f->c.data_off, len);
    return *len >= DIRECT_MIN ? p : NULL;
}

/* While a large data segment is under way, wake up for a good part of it only. */
static void
set_lowat(struct tgt_tcp *f)
{
    uint32_t rest = f->rx == TGT_RX_DATA ? f->c.data_len - f->c.data_off : 0;
    uint32_t mark = tgt_pace_turn(f);

    if (rest >= LOWAT_MIN)
        mark = rest < LOWAT_MAX ? rest : LOWAT_MAX;
    if (mark != f->lowat) {
        (void)stream_set_rcvlowat(f->stream, mark);
        f->lowat = mark;
    }
}

/* One receive.  False: nothing more for now. */
static bool
rx_receive(struct tgt_tcp *f)
{
    struct loop *l = f->c.target->loop;
    size_t scratch = l->scratch_size < STAGING ? l->scratch_size : STAGING;
    struct iovec iov[2];
    uint32_t direct_len;
    uint8_t *place = direct(f, &direct_len);
    size_t in_place, staged, taken;
    ssize_t r;
    int n = 0;

    if (place != NULL) {
        iov[n++] = (struct iovec){place, direct_len};
        scratch = scratch < STAGING_MIN ? scratch : STAGING_MIN;
    } else {
        direct_len = 0;
    }
    iov[n++] = (struct iovec){l->scratch, scratch};
    r = stream_recvv(f->stream, iov, n);
    if (r == -EAGAIN)
        return false;
    if (r <= 0) {
        tgt_conn_kill(&f->c, r == 0 ? "closed by the initiator" : errno_text((int)-r));
        return false;
    }
    f->c.alive_ns = l->now_ns;
    in_place = (size_t)r < direct_len ? (size_t)r : direct_len;
    if (in_place > 0) {
        if (has_digest(f))
            f->crc = crc32c_update(f->crc, place, in_place);
        f->c.data_off += (uint32_t)in_place;
        if (f->c.data_off == f->c.data_len)
            data_done(f);
    }
    staged = (size_t)r - in_place;
    taken = rx_take(f, l->scratch, staged);
    if (taken < staged)
        keep_rest(f, (const uint8_t *)l->scratch + taken, staged - taken);
    return (size_t)r == direct_len + scratch;
}

/* Nothing is wanted any more, but a close with unread data would be a reset, which could overtake
 * our last response. */
static void
rx_drain(struct tgt_tcp *f)
{
    struct loop *l = f->c.target->loop;
    struct iovec iov = {l->scratch, l->scratch_size};
    ssize_t r = stream_recvv(f->stream, &iov, 1);

    if (r <= 0 && r != -EAGAIN)
        tgt_conn_kill(&f->c, NULL);
}

void
tgt_rx_readable(void *user)
{
    struct tgt_tcp *f = user;

    if (f->c.paused)
        return;
    f->c.turn_pdus = 0;
    if (f->rest != NULL)
        take_rest(f);
    for (unsigned i = 0; i < ROUNDS_MAX && rx_wanted(f); i++) {
        if (!rx_receive(f))
            break;
    }
    if ((f->c.state == TGT_CONN_LOGIN || f->c.state == TGT_CONN_FFP) && !tgt_flow_open(&f->c))
        tgt_flow_pause(&f->c);
    else if (f->c.state == TGT_CONN_FFP)
        set_lowat(f);
    else if (f->c.state == TGT_CONN_CLOSING)
        rx_drain(f);
}
