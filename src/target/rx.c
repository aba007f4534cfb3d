/* SPDX-License-Identifier: MIT */
/* Bytes arrive in the loop's scratch memory and are taken apart there.  What is not complete at its
 * end is kept: a header in conn->h, data of a command in its unit, other data in conn->buf. */
#include "target/rx.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lu/lu.h"
#include "target/conn.h"
#include "target/ctl.h"
#include "target/dataout.h"
#include "target/fence.h"
#include "target/ffp.h"
#include "target/flow.h"
#include "target/instance.h"
#include "target/keep.h"
#include "target/login.h"
#include "target/pace.h"
#include "target/session.h"
#include "target/state/command.h"

#define ROUNDS_MAX  16u          /* receives of one connection in one turn */
#define STAGING     (256u << 10) /* bytes of scratch used for one receive */
#define STAGING_MIN (64u << 10)  /* ... behind data that goes straight to its place */
#define DIRECT_MIN  (16u << 10)  /* data left over that is worth an iovec of its own */
#define LOWAT_MIN   (128u << 10) /* data left over that is worth waiting for in one piece */
#define LOWAT_MAX   (256u << 10)

/* Whether the PDU under way has a data digest: what its header found negotiated. */
static bool
has_digest(const struct tgt_conn *c)
{
    return c->tail_need >= PDU_DIGEST_LEN;
}

/* Whoever sends a PDU of a wrong form cannot be trusted with any: the session ends, on all of its
 * connections (RFC 7143 7.7). */
static void
format_error(struct tgt_conn *c, const char *why)
{
    if (c->sess != NULL)
        tgt_session_kill(c->sess, why);
    else
        tgt_conn_kill(c, why);
}

static void
begin_header(struct tgt_conn *c)
{
    c->turn_pdus++;
    c->rx = TGT_RX_HEADER;
    c->h_have = 0;
    c->h_need = ISCSI_BHS_LEN;
    c->rx_cmd = NULL;
}

static bool
is_data_out(const struct tgt_conn *c)
{
    return c->state == TGT_CONN_FFP && pdu_opcode(&c->h.bhs) == ISCSI_OP_DATA_OUT;
}

/* Whether its data goes where it belongs while it comes. */
static bool
rx_flows(const struct tgt_conn *c)
{
    return is_data_out(c) && !c->check_first;
}

static void
data_out_done(struct tgt_conn *c, const uint8_t *data, bool digest_ok)
{
    if (data != NULL && digest_ok) {
        c->data_off = 0;
        tgt_data_out_sink(c, data, c->data_len);
    }
    tgt_data_out_end(c, digest_ok);
}

/* A whole PDU has come; data is NULL where it has flown. */
static void
rx_deliver(struct tgt_conn *c, const uint8_t *data, bool digest_ok)
{
    uint32_t len = c->data_len;
    bool data_out = is_data_out(c);
    uint8_t *buf = c->buf;

    c->buf = NULL;
    c->target->stats.digest_errors += !digest_ok;
    if (data_out)
        data_out_done(c, data, digest_ok);
    else if (c->state == TGT_CONN_LOGIN)
        tgt_login_pdu(c, data, len);
    else if (!digest_ok)
        tgt_reject(c, &c->h.bhs, ISCSI_BHS_LEN + pdu_ahs_len(&c->h.bhs), ISCSI_REJECT_DATA_DIGEST);
    else
        tgt_ffp_pdu(c, data, len);
    free(buf);
    if (c->state != TGT_CONN_DEAD)
        begin_header(c);
}

static void
data_out_begins(struct tgt_conn *c)
{
    if (c->erl > 0 && tgt_hook(c->target->hook, TGT_HOOK_DATA_OUT, c->h.raw))
        c->rx_foreign = false; /* a fault: nobody has seen it */
    else
        tgt_data_out_begin(c);
}

/* At the same place in every request. */
static uint32_t
rx_exp_stat_sn(const struct tgt_conn *c)
{
    return get32(((const struct bhs_scsi_cmd *)(const void *)c->h.raw)->exp_stat_sn);
}

/* False: the connection is dead. */
static bool
header_done(struct tgt_conn *c)
{
    struct target *t = c->target;
    uint32_t hdr_len = ISCSI_BHS_LEN + pdu_ahs_len(&c->h.bhs);
    bool ffp = c->state == TGT_CONN_FFP;
    struct lunette_error err;

    if (c->header_digest && !pdu_header_digest_ok(c->h.raw, hdr_len, c->h.raw + hdr_len)) {
        t->stats.digest_errors++;
        tgt_conn_kill(c, "header digest error");
        return false;
    }
    if (ffp && tgt_hook(t->hook, TGT_HOOK_RECEIVED, &c->hook_count)) {
        tgt_conn_kill(c, "dropped on order");
        return false;
    }
    c->data_len = pdu_dseg_len(&c->h.bhs);
    if (c->data_len > c->recv_max) {
        format_error(c, "data segment longer than MaxRecvDataSegmentLength");
        return false;
    }
    if (!ffp && pdu_ahs_len(&c->h.bhs) != 0) {
        tgt_conn_kill(c, "additional header in a login PDU");
        return false;
    }
    if (ffp && pdu_check_header(&c->h.bhs, PDU_FROM_INITIATOR, c->recv_max, &err) < 0 &&
        err.detail != ISCSI_REJECT_UNSUPPORTED) {
        format_error(c, err.msg);
        return false;
    }
    if (c->takes_acks && ffp) {
        if (!tgt_keep_ack(c, rx_exp_stat_sn(c))) {
            tgt_conn_kill(c, "it acknowledges none of many responses");
            return false;
        }
        tgt_fence_acked(c);
    }
    c->data_off = 0;
    c->crc = CRC32C_INIT;
    c->tail_have = 0;
    c->tail_need =
        c->data_len == 0 ? 0 : pdu_pad(c->data_len) + (c->data_digest ? PDU_DIGEST_LEN : 0);
    if (is_data_out(c))
        data_out_begins(c);
    if (c->data_len == 0)
        rx_deliver(c, NULL, true);
    else
        c->rx = TGT_RX_DATA;
    return c->state != TGT_CONN_DEAD;
}

/* Returns the bytes taken. */
static size_t
take_header(struct tgt_conn *c, const uint8_t *p, size_t n)
{
    size_t k = c->h_need - c->h_have < n ? c->h_need - c->h_have : n;

    memcpy(c->h.raw + c->h_have, p, k);
    c->h_have += (uint32_t)k;
    if (c->h_have == ISCSI_BHS_LEN && c->h_need == ISCSI_BHS_LEN)
        c->h_need += pdu_header_trailer(&c->h.bhs, c->header_digest);
    if (c->h_have == c->h_need)
        (void)header_done(c);
    return k;
}

static void
data_done(struct tgt_conn *c)
{
    if (c->tail_need == 0)
        rx_deliver(c, c->buf, true);
    else
        c->rx = TGT_RX_TAIL;
}

/* The whole data segment lies in the scratch memory: no copy but the one into a LUN. */
static void
take_data_in_place(struct tgt_conn *c, const uint8_t *p)
{
    bool ok = true;

    if (has_digest(c))
        ok = pdu_data_digest_ok(p, c->data_len, p + c->data_len + pdu_pad(c->data_len));
    rx_deliver(c, p, ok);
}

static size_t
take_data(struct tgt_conn *c, const uint8_t *p, size_t n)
{
    bool data_out = rx_flows(c);
    size_t k = c->data_len - c->data_off;

    if (!data_out && c->data_off == 0 && n >= k + c->tail_need) {
        k += c->tail_need;
        take_data_in_place(c, p);
        return k;
    }
    if (k > n)
        k = n;
    if (has_digest(c))
        c->crc = crc32c_update(c->crc, p, k);
    if (data_out) {
        tgt_data_out_sink(c, p, (uint32_t)k);
    } else {
        if (c->buf == NULL)
            c->buf = malloc(c->data_len);
        if (c->buf == NULL) {
            tgt_conn_kill(c, "out of memory");
            return k;
        }
        memcpy(c->buf + c->data_off, p, k);
    }
    c->data_off += (uint32_t)k;
    if (c->data_off == c->data_len)
        data_done(c);
    return k;
}

static size_t
take_tail(struct tgt_conn *c, const uint8_t *p, size_t n)
{
    size_t k = c->tail_need - c->tail_have < n ? c->tail_need - c->tail_have : n;
    uint32_t pad = pdu_pad(c->data_len);
    bool ok = true;

    memcpy(c->tail + c->tail_have, p, k);
    c->tail_have += (uint32_t)k;
    if (c->tail_have < c->tail_need)
        return k;
    if (has_digest(c))
        ok = pdu_digest_ok(crc32c_update(c->crc, c->tail, pad), c->tail + pad);
    rx_deliver(c, c->buf, ok);
    return k;
}

static bool
rx_wanted(const struct tgt_conn *c)
{
    return (c->state == TGT_CONN_LOGIN || c->state == TGT_CONN_FFP) && tgt_flow_open(c);
}

/* Returns the bytes taken. */
static size_t
rx_take(struct tgt_conn *c, const uint8_t *p, size_t n)
{
    size_t left = n;

    while (left > 0 && rx_wanted(c)) {
        size_t k;

        if (c->rx == TGT_RX_HEADER)
            k = take_header(c, p, left);
        else if (c->rx == TGT_RX_DATA)
            k = take_data(c, p, left);
        else
            k = take_tail(c, p, left);
        p += k;
        left -= k;
    }
    return n - left;
}

/* Keeps what has been received and may not be dealt with now. */
static void
keep_rest(struct tgt_conn *c, const uint8_t *p, size_t n)
{
    if (c->state != TGT_CONN_LOGIN && c->state != TGT_CONN_FFP)
        return; /* it is not wanted any more */
    c->rest = malloc(n);
    if (c->rest == NULL) {
        tgt_conn_kill(c, "out of memory");
        return;
    }
    memcpy(c->rest, p, n);
    c->rest_off = 0;
    c->rest_len = (uint32_t)n;
}

static void
take_rest(struct tgt_conn *c)
{
    c->rest_off += (uint32_t)rx_take(c, c->rest + c->rest_off, c->rest_len - c->rest_off);
    if (c->rest_off < c->rest_len)
        return;
    free(c->rest);
    c->rest = NULL;
}

/* Memory of the LUN for what is left of a Data-Out, if it is worth it. */
static uint8_t *
direct(struct tgt_conn *c, uint32_t *len)
{
    uint8_t *p;

    *len = c->data_len - c->data_off;
    if (c->rx != TGT_RX_DATA || *len < DIRECT_MIN || c->rx_cmd == NULL)
        return NULL;
    if (c->check_first || c->rx_cmd->data_lost)
        return NULL;
    if (c->rx_cmd->s.failed || c->rx_base + c->data_off + *len > c->rx_cmd->need)
        return NULL;
    p = lu_cmd_place(&c->rx_cmd->s, c->rx_base + c->data_off, len);
    return *len >= DIRECT_MIN ? p : NULL;
}

/* While a large data segment is under way, wake up for a good part of it only. */
static void
set_lowat(struct tgt_conn *c)
{
    uint32_t rest = c->rx == TGT_RX_DATA ? c->data_len - c->data_off : 0;
    uint32_t mark = tgt_pace_turn(c);

    if (rest >= LOWAT_MIN)
        mark = rest < LOWAT_MAX ? rest : LOWAT_MAX;
    if (mark != c->lowat) {
        (void)stream_set_rcvlowat(c->stream, mark);
        c->lowat = mark;
    }
}

/* One receive.  False: nothing more for now. */
static bool
rx_receive(struct tgt_conn *c)
{
    struct loop *l = c->target->loop;
    size_t scratch = l->scratch_size < STAGING ? l->scratch_size : STAGING;
    struct iovec iov[2];
    uint32_t direct_len;
    uint8_t *place = direct(c, &direct_len);
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
    r = stream_recvv(c->stream, iov, n);
    if (r == -EAGAIN)
        return false;
    if (r <= 0) {
        tgt_conn_kill(c, r == 0 ? "closed by the initiator" : errno_text((int)-r));
        return false;
    }
    c->alive_ns = l->now_ns;
    in_place = (size_t)r < direct_len ? (size_t)r : direct_len;
    if (in_place > 0) {
        if (has_digest(c))
            c->crc = crc32c_update(c->crc, place, in_place);
        c->data_off += (uint32_t)in_place;
        if (c->data_off == c->data_len)
            data_done(c);
    }
    staged = (size_t)r - in_place;
    taken = rx_take(c, l->scratch, staged);
    if (taken < staged)
        keep_rest(c, (const uint8_t *)l->scratch + taken, staged - taken);
    return (size_t)r == direct_len + scratch;
}

/* Nothing is wanted any more, but a close with unread data would be a reset, which could overtake
 * our last response. */
static void
rx_drain(struct tgt_conn *c)
{
    struct loop *l = c->target->loop;
    struct iovec iov = {l->scratch, l->scratch_size};
    ssize_t r = stream_recvv(c->stream, &iov, 1);

    if (r <= 0 && r != -EAGAIN)
        tgt_conn_kill(c, NULL);
}

void
tgt_rx_readable(void *user)
{
    struct tgt_conn *c = user;

    if (c->paused)
        return;
    c->turn_pdus = 0;
    if (c->rest != NULL)
        take_rest(c);
    for (unsigned i = 0; i < ROUNDS_MAX && rx_wanted(c); i++) {
        if (!rx_receive(c))
            break;
    }
    if ((c->state == TGT_CONN_LOGIN || c->state == TGT_CONN_FFP) && !tgt_flow_open(c))
        tgt_flow_pause(c);
    else if (c->state == TGT_CONN_FFP)
        set_lowat(c);
    else if (c->state == TGT_CONN_CLOSING)
        rx_drain(c);
}
