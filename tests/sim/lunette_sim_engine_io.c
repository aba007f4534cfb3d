/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_engine_io.c - requests of clients, and what each block may hold. */
#include <errno.h>
#include <string.h>

#include "tests/sim/lunette_sim_engine.h"
#include "tests/support/steady_alloc.h"

#define IDLE 0xeeu /* in memory that no request uses */

uint8_t
le_byte(uint32_t id, uint64_t at)
{
    uint64_t x = (uint64_t)id * 0x9e3779b97f4a7c15ull + at / 8 * 0xbf58476d1ce4e5b9ull;

    x ^= x >> 29;
    return id == 0 ? 0 : (uint8_t)(x >> (8 * (at % 8)));
}

void
le_slots_init(struct le_client *c)
{
    for (uint32_t life = 0; life < LE_LIVES; life++) {
        for (uint32_t i = 0; i < LE_SLOTS; i++) {
            struct le_slot *s = &c->slot[life][i];

            s->c = c;
            s->at = (c->index * LE_LIVES + life) * LE_LIFE + (uint64_t)i * LE_PART;
            s->buf = steady_calloc(1, LE_PART);
            memset(s->buf, IDLE, LE_PART);
            for (uint32_t b = 0; b < LE_PART / LE_BLOCK; b++)
                s->block[b].n = 1; /* of number 0: zeroes */
        }
    }
}

/* ---- what a block may hold --------------------------------------------------------------------
 */

static bool
block_may_be(const struct le_block *b, uint64_t at, const uint8_t *got)
{
    for (uint32_t i = 0; i < LE_BLOCK && !b->any; i++) {
        bool found = false;

        for (uint32_t k = 0; k < b->n && !found; k++)
            found = le_byte(b->id[k], at + i) == got[i];
        if (!found)
            return false;
    }
    return true;
}

static void
judge(struct le_slot *s, const uint8_t *got, uint32_t off, uint32_t len, const char *what)
{
    struct le_world *w = s->c->w;

    for (uint32_t at = off; at < off + len; at += LE_BLOCK) {
        const struct le_block *b = &s->block[at / LE_BLOCK];

        if (!block_may_be(b, s->at + at, got + (at - off)))
            LE_FAIL(w, "%s has what must not be there at byte %llu of client %u (%u values may be)",
                    what, (unsigned long long)(s->at + at), s->c->index, b->n);
    }
}

static void
wrote(struct le_slot *s, bool good)
{
    for (uint32_t at = s->off; at < s->off + s->len; at += LE_BLOCK) {
        struct le_block *b = &s->block[at / LE_BLOCK];

        if (good) {
            b->n = 0;
            b->any = false;
        }
        if (b->n == LE_MAYBE_MAX)
            b->any = true;
        else
            b->id[b->n++] = s->id;
    }
}

/* ---- requests ---------------------------------------------------------------------------------
 */

static void
begin(struct le_client *c, struct le_slot *s)
{
    struct le_world *w = c->w;
    uint32_t most = w->plan.most / LE_BLOCK;
    uint32_t blocks = 1 + (uint32_t)le_below(w, le_below(w, 3) == 0 ? most : (most + 7) / 8);
    int r;

    s->len = blocks * LE_BLOCK;
    s->off = (uint32_t)le_below(w, (LE_PART - s->len) / LE_BLOCK + 1) * LE_BLOCK;
    s->write = le_below(w, 5) < 3;
    s->id = ++w->next_id;
    s->canceled = false;
    for (uint32_t i = 0; i < s->len && s->write; i++)
        s->buf[i] = le_byte(s->id, s->at + s->off + i);
    r = s->write ? lunette_queue_write(c->q, s->buf, s->len, s->at + s->off, 0, s)
                 : lunette_queue_read(c->q, s->buf, s->len, s->at + s->off, s);
    if (r == 0) {
        s->busy = true;
        c->inflight++;
        return;
    }
    memset(s->buf, IDLE, s->len);
    if (r != -ENXIO && r != -ENOTCONN)
        LE_FAIL(w, "a request of client %u is refused: %d", c->index, r);
    if (w->plan.patient)
        LE_FAIL(w, "client %u cannot ask, and is to wait for as long as it takes", c->index);
}

static void
ended(struct le_client *c, const struct lunette_completion *done)
{
    struct le_slot *s = done->user_data;
    struct le_world *w = c->w;

    if (!s->busy || s->c != c)
        LE_FAIL(w, "a request of client %u has ended twice", c->index);
    s->busy = false;
    c->inflight--;
    c->done++;
    LS_COUNT(ios, 1);
    if (s->write)
        wrote(s, done->err == 0);
    if (done->err == 0) {
        c->good++;
        c->good_in_calm += w->calm;
        if (!s->write)
            judge(s, s->buf, s->off, s->len, "what was read");
    } else if (done->err == -ECANCELED && s->canceled) {
        LS_COUNT(canceled, 1);
    } else {
        c->failed++;
        LS_COUNT(failed, 1);
        LE_SAY(w, "client %u: a %s has failed: %d", c->index, s->write ? "write" : "read",
               done->err);
        if (!c->lied && (w->plan.patient || c->good_in_calm > 0))
            LE_FAIL(w, "a request of client %u has failed: %d", c->index, done->err);
    }
    memset(s->buf, IDLE, LE_PART);
}

void
le_io_memory(struct le_client *c)
{
    for (uint32_t i = 0; i < LE_SLOTS; i++) {
        const struct le_slot *s = &c->slot[c->life][i];

        for (uint32_t k = s->busy ? s->len : 0; k < LE_PART; k++) {
            if (s->buf[k] != IDLE)
                LE_FAIL(c->w, "memory of no request of client %u was written to", c->index);
        }
    }
}

static void
change_mind(struct le_client *c)
{
    struct le_slot *s = &c->slot[c->life][le_below(c->w, LE_SLOTS)];

    if (!s->busy || s->canceled)
        return;
    s->canceled = true;
    (void)lunette_queue_cancel(c->q, s);
}

void
le_io_turn(struct le_client *c, bool more)
{
    struct lunette_completion done[LE_SLOTS];
    int n;

    if (c->q == NULL)
        return;
    for (uint32_t i = 0; i < LE_SLOTS && more; i++) {
        if (!c->slot[c->life][i].busy && le_below(c->w, 3) == 0)
            begin(c, &c->slot[c->life][i]);
    }
    (void)lunette_queue_submit(c->q);
    if (c->w->plan.cancels && !c->w->calm && le_below(c->w, 30) == 0)
        change_mind(c);
    n = lunette_queue_poll(c->q, done, LE_SLOTS, 0, 0);
    if (n < 0)
        LE_FAIL(c->w, "client %u cannot take what has ended: %d", c->index, n);
    for (int i = 0; i < n; i++)
        ended(c, &done[i]);
}

/* ---- deaths and the end -----------------------------------------------------------------------
 */

void
le_io_died(struct le_client *c, bool garbage)
{
    for (uint32_t i = 0; i < LE_SLOTS; i++) {
        struct le_slot *s = &c->slot[c->life][i];

        if (s->busy && s->write) {
            wrote(s, false);
            for (uint32_t at = s->off; at < s->off + s->len && garbage; at += LE_BLOCK)
                s->block[at / LE_BLOCK].any = true;
        }
        s->busy = false;
        memset(s->buf, IDLE, LE_PART);
    }
    c->inflight = 0;
}

void
le_io_compare(struct le_world *w)
{
    for (uint32_t i = 0; i < LE_CLIENTS; i++) {
        for (uint32_t k = 0; k < LE_LIVES * LE_SLOTS; k++) {
            struct le_slot *s = &w->client[i].slot[k / LE_SLOTS][k % LE_SLOTS];

            judge(s, w->disk + s->at, 0, LE_PART, "the medium");
        }
    }
}
