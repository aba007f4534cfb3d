/* SPDX-License-Identifier: MIT */
#include "wire/flight.h"

#include <assert.h>

#include "wire/pdu.h"

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

/* Places are numbers modulo 2^32: what the last epoch begins with must not be so far away that it
 * seems to lie ahead.  What is older than that is overwritten. */
static void
epoch_renew(struct flight *f)
{
    struct flight_epoch e;

    if (f->epochs == 0)
        return;
    e = f->epoch[(f->epochs - 1) % FLIGHT_EPOCHS];
    if (f->at.tx - e.from <= 1u << 30)
        return;
    e.from = f->at.tx - (1u << 20);
    f->epoch[0] = e;
    f->epochs = 1;
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
    struct flight_epoch e;
    uint32_t at, n;

    epoch_renew(f);
    e = epoch_at(f, f->at.tx);
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

/* ---- a few ---------------------------------------------------------------------------------- */

void
flight_few_add(struct flight_few *few, uint64_t ns, bool tx, const struct bhs *h)
{
    uint32_t at = few->count++ % FLIGHT_FEW;

    few->pdu[at].ns = ns;
    few->pdu[at].hdr = *h;
    few->tx = (few->tx & ~(1u << at)) | (uint32_t)tx << at;
    if (few->count == 2 * FLIGHT_FEW) /* as many places are taken as before */
        few->count = FLIGHT_FEW;
}

unsigned
flight_few_read(const struct flight_few *few, struct flight_pdu *ret, unsigned max)
{
    uint32_t have = few->count < FLIGHT_FEW ? few->count : FLIGHT_FEW;
    uint32_t n = have < max ? have : max;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = (few->count - n + i) % FLIGHT_FEW;

        ret[i] = (struct flight_pdu){
            .ns = few->pdu[at].ns, .tx = (few->tx >> at & 1) != 0, .hdr = few->pdu[at].hdr};
    }
    return n;
}

void
flight_few_from(struct flight_few *few, const struct flight *f)
{
    struct flight_pdu pdus[FLIGHT_FEW];
    unsigned n = flight_read(f, pdus, FLIGHT_FEW);

    *few = (struct flight_few){.count = 0};
    for (unsigned i = 0; i < n; i++)
        flight_few_add(few, pdus[i].ns, pdus[i].tx, &pdus[i].hdr);
}

void
flight_from_few(struct flight *f, const struct flight_few *few)
{
    static const struct flight_epoch none;
    struct flight_pdu pdus[FLIGHT_FEW];
    unsigned n = flight_few_read(few, pdus, FLIGHT_FEW);

    for (unsigned i = 0; i < n; i++) {
        uint8_t bytes[ISCSI_BHS_LEN + 4] = {0}; /* with padding */

        flight_now(f, pdus[i].ns);
        pdus[i].hdr.ahs_words = 0; /* which is not there */
        memcpy(bytes, &pdus[i].hdr, ISCSI_BHS_LEN);
        if (!pdus[i].tx)
            flight_rx(f, bytes);
        else
            flight_tx(f, bytes, staged_len(&pdus[i].hdr, &none));
        turn_again(f); /* one that came goes before one that went only where it came before */
    }
}
