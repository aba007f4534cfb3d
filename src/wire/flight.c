/* SPDX-License-Identifier: MIT */
#include "wire/flight.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "wire/lun.h"
#include "wire/names.h"
#include "wire/pdu.h"
#include "wire/scsi.h"

/* ---- writing -------------------------------------------------------------------------------- */

/* Bytes that a PDU has in the output, whose data stand elsewhere. */
static uint32_t
staged_len(const struct bhs *h, const struct flight_epoch *e)
{
    uint32_t data = pdu_dseg_len(h), len = ISCSI_BHS_LEN + pdu_header_trailer(h, e->hdrdgst);

    return data == 0 ? len : len + pdu_data_trailer(h, e->datadgst) - data;
}

/* The digests at a place of the output ring. */
static struct flight_epoch
epoch_at(const struct flight *f, uint32_t at)
{
    uint32_t n = f->epochs < FLIGHT_EPOCHS ? f->epochs : FLIGHT_EPOCHS;

    for (uint32_t i = 1; i <= n; i++) {
        const struct flight_epoch *e = &f->epoch[(f->epochs - i) % FLIGHT_EPOCHS];

        if ((int32_t)(at - e->from) >= 0)
            return *e;
    }
    return (struct flight_epoch){.from = 0};
}

void
flight_digests(struct flight *f, bool hdrdgst, bool datadgst)
{
    f->epoch[f->epochs++ % FLIGHT_EPOCHS] =
        (struct flight_epoch){.from = f->at.tx, .hdrdgst = hdrdgst, .datadgst = datadgst};
}

void
flight_rx_run(struct flight *f, const uint8_t *p, size_t len)
{
    assert(len % ISCSI_BHS_LEN == 0);
    if (len > FLIGHT_RX - FLIGHT_RX % ISCSI_BHS_LEN) { /* the first of so many are forgotten */
        p += len - (FLIGHT_RX - FLIGHT_RX % ISCSI_BHS_LEN);
        len = FLIGHT_RX - FLIGHT_RX % ISCSI_BHS_LEN;
    }
    while (len > 0) {
        /* Headers stand one behind the other up to the one that begins last. */
        uint32_t at = f->at.rx % FLIGHT_RX;
        size_t room = (FLIGHT_RX - at + ISCSI_BHS_LEN - 1) / ISCSI_BHS_LEN * ISCSI_BHS_LEN;
        size_t n = len < room ? len : room;

        __asm__("" : "+r"(n)); /* as in flight_tx */
        memcpy(f->rx + at, p, n);
        f->at.rx += (uint32_t)n;
        p += n;
        len -= n;
    }
}

/* What was sent in a turn can be read from its beginning only: where that may be overwritten before
 * the turn is over, another begins. */
static void
turn_again(struct flight *f)
{
    f->turn[f->turns++ % FLIGHT_TURNS] = (struct flight_turn){.ns = f->ns, .from = f->at};
}

void
flight_tx_wrap(struct flight *f, const uint8_t *p, size_t len)
{
    struct flight_epoch e = epoch_at(f, f->at.tx);
    uint32_t at, n;

    turn_again(f);
    while (len > FLIGHT_TX) { /* the first of so many PDUs are forgotten */
        n = staged_len((const void *)p, &e);
        assert(n <= len);
        p += n;
        len -= n;
    }
    at = f->at.tx % FLIGHT_TX;
    n = FLIGHT_TX - at < len ? FLIGHT_TX - at : (uint32_t)len;
    f->at.tx += (uint32_t)len;
    len -= n;
    __asm__("" : "+r"(n), "+r"(len)); /* as in flight_tx */
    memcpy(f->tx + at, p, n);
    memcpy(f->tx, p + n, len);
    if (len + n > FLIGHT_TX / 2)
        turn_again(f);
}

/* ---- reading -------------------------------------------------------------------------------- */

struct reader {
    const struct flight *f;
    struct flight_pdu *ret;
    unsigned n, skip, max;
    uint64_t ns; /* of the turn that is read */
};

static void
flight_take(struct reader *r, bool tx, const struct bhs *h)
{
    if (r->skip > 0) {
        r->skip--;
    } else if (r->n < r->max) {
        if (r->ret != NULL)
            r->ret[r->n] = (struct flight_pdu){.ns = r->ns, .tx = tx, .hdr = *h};
        r->n++;
    }
}

/* Of what was received in a turn those headers are left that were not overwritten. */
static void
read_rx(struct reader *r, uint32_t at, uint32_t end)
{
    const struct flight *f = r->f;

    for (; at != end; at += ISCSI_BHS_LEN) {
        if (f->at.rx - at <= FLIGHT_RX)
            flight_take(r, false, (const void *)(f->rx + at % FLIGHT_RX));
    }
}

/* What was sent in a turn can be read from its beginning only. */
static void
read_tx(struct reader *r, uint32_t at, uint32_t end)
{
    const struct flight *f = r->f;
    struct flight_epoch e;
    uint8_t bytes[ISCSI_BHS_LEN];
    const struct bhs *h = (const void *)bytes;
    uint32_t n;

    if (f->at.tx - at > FLIGHT_TX)
        return;
    for (; end - at >= ISCSI_BHS_LEN; at += n) {
        for (unsigned i = 0; i < ISCSI_BHS_LEN; i++)
            bytes[i] = f->tx[(at + i) % FLIGHT_TX];
        flight_take(r, true, h);
        e = epoch_at(f, at);
        n = staged_len(h, &e);
        if (n > end - at) /* a transport that lays PDUs out in another way */
            return;
    }
}

static void
flight_walk(struct reader *r)
{
    const struct flight *f = r->f;
    uint32_t i = f->turns > FLIGHT_TURNS ? f->turns - FLIGHT_TURNS : 0;

    for (; i != f->turns; i++) {
        const struct flight_turn *t = &f->turn[i % FLIGHT_TURNS];
        const struct flight_at *end =
            i + 1 == f->turns ? &f->at : &f->turn[(i + 1) % FLIGHT_TURNS].from;

        r->ns = t->ns;
        read_rx(r, t->from.rx, end->rx);
        read_tx(r, t->from.tx, end->tx);
    }
}

unsigned
flight_read(const struct flight *f, struct flight_pdu *ret, unsigned max)
{
    struct reader all = {.f = f, .max = UINT32_MAX}, some = {.f = f, .ret = ret, .max = max};

    flight_walk(&all);
    some.skip = all.n > max ? all.n - max : 0;
    flight_walk(&some);
    return some.n;
}

/* ---- text ----------------------------------------------------------------------------------- */

struct line {
    char *text;
    size_t at;
};

static void __attribute__((format(printf, 2, 3))) flight_put(struct line *l, const char *fmt, ...)
{
    size_t room = FLIGHT_TEXT_MAX - l->at;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(l->text + l->at, room, fmt, ap);
    va_end(ap);
    if (n > 0)
        l->at += (size_t)n < room ? (size_t)n : room - 1;
}

static void
put_number(struct line *l, const char *name, struct be32 v)
{
    flight_put(l, " %s %u", name, get32(v));
}

static void
put_tag(struct line *l, const char *name, struct be32 v)
{
    if (get32(v) != ISCSI_TAG_RSVD)
        flight_put(l, " %s %08x", name, get32(v));
}

static void
put_lun(struct line *l, const uint8_t lun[8])
{
    uint64_t number = lun_to_view(lun_load(lun));

    (void)lun_to_number(lun_load(lun), &number);
    flight_put(l, " LUN %llu", (unsigned long long)number);
}

/* The numbers that most requests have at 24, and most responses. */
static void
put_request(struct line *l, const union bhs_any *h)
{
    put_number(l, "CmdSN", h->nop_out.cmd_sn);
    put_number(l, "ExpStatSN", h->nop_out.exp_stat_sn);
}

static void
put_response(struct line *l, const union bhs_any *h)
{
    put_number(l, "StatSN", h->nop_in.stat_sn);
    put_number(l, "ExpCmdSN", h->nop_in.exp_cmd_sn);
    put_number(l, "MaxCmdSN", h->nop_in.max_cmd_sn);
}

static void
put_flags(struct line *l, uint8_t flags, const char *names)
{
    char set[9];
    unsigned n = 0;

    for (unsigned i = 0; i < 8; i++) {
        if (names[i] != '.' && (flags & 0x80u >> i) != 0)
            set[n++] = names[i];
    }
    set[n] = '\0';
    if (n > 0)
        flight_put(l, " %s", set);
}

static void
put_residual(struct line *l, uint8_t flags, struct be32 residual)
{
    if (flags & (ISCSI_RSP_OVERFLOW | ISCSI_RSP_UNDERFLOW))
        flight_put(l, " %s %u", flags & ISCSI_RSP_OVERFLOW ? "overflow" : "underflow",
                   get32(residual));
}

static void
put_stages(struct line *l, uint8_t flags)
{
    put_flags(l, flags, "TC......");
    flight_put(l, " CSG %u NSG %u", flags >> 2 & 3u, flags & 3u);
}

static void
text_initiator(struct line *l, const union bhs_any *h)
{
    switch (pdu_opcode(&h->h)) {
    case ISCSI_OP_NOP_OUT:
        put_tag(l, "TTT", h->nop_out.ttt);
        put_request(l, h);
        break;
    case ISCSI_OP_SCSI_CMD:
        put_flags(l, h->h.flags, "FRW.....");
        put_lun(l, h->scsi_cmd.lun);
        flight_put(l, " CDB %02x %s", h->scsi_cmd.cdb[0], cdb_name(h->scsi_cmd.cdb, 16));
        put_number(l, "EDTL", h->scsi_cmd.edtl);
        put_request(l, h);
        break;
    case ISCSI_OP_TMF_REQ:
        flight_put(l, " %s", iscsi_tmf_name(h->h.flags & 0x7f));
        put_lun(l, h->h.lun);
        put_tag(l, "RefTag", h->tmf_req.ref_tag);
        put_number(l, "RefCmdSN", h->tmf_req.ref_cmd_sn);
        put_request(l, h);
        break;
    case ISCSI_OP_LOGIN_REQ:
        put_stages(l, h->h.flags);
        flight_put(l, " CID %u TSIH %u", get16(h->login_req.cid), get16(h->login_req.tsih));
        put_request(l, h);
        break;
    case ISCSI_OP_TEXT_REQ:
        put_flags(l, h->h.flags, "FC......");
        put_tag(l, "TTT", h->text_req.ttt);
        put_request(l, h);
        break;
    case ISCSI_OP_DATA_OUT:
        put_flags(l, h->h.flags, "F.......");
        put_tag(l, "TTT", h->data_out.ttt);
        put_number(l, "DataSN", h->data_out.data_sn);
        put_number(l, "Offset", h->data_out.offset);
        put_number(l, "ExpStatSN", h->data_out.exp_stat_sn);
        break;
    case ISCSI_OP_LOGOUT_REQ:
        flight_put(l, " %s", iscsi_logout_reason_name(h->h.flags & 0x7f));
        flight_put(l, " CID %u", get16(h->logout_req.cid));
        put_request(l, h);
        break;
    default:
        break;
    }
}

static void
text_target(struct line *l, const union bhs_any *h)
{
    switch (pdu_opcode(&h->h)) {
    case ISCSI_OP_NOP_IN:
        put_tag(l, "TTT", h->nop_in.ttt);
        break;
    case ISCSI_OP_SCSI_RSP:
        flight_put(l, " response %u status %02x", h->scsi_rsp.response, h->scsi_rsp.status);
        put_residual(l, h->h.flags, h->scsi_rsp.residual);
        put_number(l, "ExpDataSN", h->scsi_rsp.exp_data_sn);
        break;
    case ISCSI_OP_TMF_RSP:
        flight_put(l, " %s", iscsi_tmf_response_name(h->tmf_rsp.response));
        break;
    case ISCSI_OP_LOGIN_RSP:
        put_stages(l, h->h.flags);
        flight_put(l, " status %02x%02x TSIH %u", h->login_rsp.status_class,
                   h->login_rsp.status_detail, get16(h->login_rsp.tsih));
        break;
    case ISCSI_OP_TEXT_RSP:
        put_flags(l, h->h.flags, "FC......");
        put_tag(l, "TTT", h->text_rsp.ttt);
        break;
    case ISCSI_OP_DATA_IN:
        put_flags(l, h->h.flags, "FA.....S");
        put_number(l, "DataSN", h->data_in.data_sn);
        put_number(l, "Offset", h->data_in.offset);
        if (h->h.flags & ISCSI_DATA_IN_STATUS) {
            flight_put(l, " status %02x", h->data_in.status);
            put_residual(l, h->h.flags, h->data_in.residual);
        }
        break;
    case ISCSI_OP_R2T:
        put_tag(l, "TTT", h->r2t.ttt);
        put_number(l, "R2TSN", h->r2t.r2t_sn);
        put_number(l, "Offset", h->r2t.offset);
        put_number(l, "Desired", h->r2t.desired_len);
        break;
    case ISCSI_OP_LOGOUT_RSP:
        flight_put(l, " %s", iscsi_logout_response_name(h->logout_rsp.response));
        break;
    case ISCSI_OP_ASYNC:
        flight_put(l, " %s", iscsi_async_name(h->async.event));
        break;
    case ISCSI_OP_REJECT:
        flight_put(l, " %s", iscsi_reject_name(h->reject.reason));
        break;
    default:
        break;
    }
    put_response(l, h);
}

void
flight_text(const struct bhs *h, char *text)
{
    struct line l = {.text = text};
    uint8_t op = pdu_opcode(h);

    text[0] = '\0';
    flight_put(&l, "%s", pdu_opcode_name(op));
    if (strcmp(pdu_opcode_name(op), "unknown opcode") == 0)
        flight_put(&l, " %02x", op);
    if (h->opcode & ISCSI_OP_IMMEDIATE)
        flight_put(&l, " I");
    put_tag(&l, "ITT", h->itt);
    if (pdu_dseg_len(h) > 0)
        flight_put(&l, " data %u", pdu_dseg_len(h));
    if (op & 0x20)
        text_target(&l, (const void *)h);
    else
        text_initiator(&l, (const void *)h);
}
