/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_model.c - what each unit of the medium may hold.
 *
 * A unit has a list of values that it may have.  A write that begins adds one, which may be there
 * from then on.  A write that has been acknowledged takes away all that was over before it began:
 * none of these may ever be seen again, whatever is sent once more and whatever was lost on the
 * way.  A write that failed stays a possibility until then; it may be there in part.  Where nothing
 * is under way, the first look tells which it is, and it must stay that.
 *
 * A session that is back has ended what was under way before.  One that is closed while it is lost
 * has not: as long as the network has bytes of its connection, what may have been executed may come
 * yet, over what was written in another session, and only then is it over.
 *
 * The order of what happens is counted in moments: each begin and each end has one of its own.
 */
#include <assert.h>
#include <string.h>

#include "tests/sim/lunette_sim.h"
#include "tests/support/steady_alloc.h"

#define NEVER UINT64_MAX

/* A value that a unit may have. */
struct value {
    uint32_t id; /* of the write; 0: what was there at first, or what was seen */
    enum ls_what what;
    bool maybe, loose, wild; /* loose: it may come yet; wild: any bytes */
    bool acked, stable;
    uint64_t from, to; /* moments at which its write began and ended; to NEVER: it has not */
    uint64_t gone;     /* the moment from which on it cannot be there; NEVER: it can */
    bool hidden;       /* a crash may bring it back, as what came over it is not stable */
};

struct unit {
    struct value *v;
    uint32_t n, room;
};

struct ls_model {
    struct ls_world *w;
    uint32_t lun;
    uint64_t moment, units;
    uint64_t nexus; /* the moment at which it began */
    struct unit *unit;
    uint8_t *seen;                  /* what LS_BYTES stands for */
    bool cache;                     /* there is a cache that a crash takes */
    uint64_t reading[LS_SLOTS * 2]; /* moments of the reads that are under way */
    uint32_t readers;
};

void
ls_pattern(uint32_t id, uint64_t at, uint8_t *to, size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        uint64_t z = ((uint64_t)id << 32 | (at + i) / 8) * 0x9e3779b97f4a7c15ull;

        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
        z ^= z >> 31;
        memcpy(to + i, &z, 8);
    }
}

struct ls_model *
ls_model_new(struct ls_world *w, uint32_t lun, uint64_t size, bool cache)
{
    struct ls_model *m = steady_calloc(1, sizeof(*m));

    m->w = w;
    m->lun = lun;
    m->cache = cache;
    m->units = size / LS_UNIT;
    m->unit = steady_calloc(m->units, sizeof(*m->unit));
    m->seen = steady_calloc(1, size);
    for (uint64_t u = 0; u < m->units; u++) {
        m->unit[u].room = 4;
        m->unit[u].v = steady_calloc(4, sizeof(struct value));
        m->unit[u].v[0] = (struct value){.what = LS_ZEROES, .gone = NEVER};
        m->unit[u].n = 1;
    }
    return m;
}

void
ls_model_free(struct ls_model *m)
{
    if (m == NULL)
        return;
    for (uint64_t u = 0; u < m->units; u++)
        steady_free(m->unit[u].v);
    steady_free(m->unit);
    steady_free(m->seen);
    steady_free(m);
}

static uint64_t
oldest_reader(const struct ls_model *m)
{
    uint64_t oldest = NEVER;

    for (uint32_t i = 0; i < m->readers; i++) {
        if (m->reading[i] < oldest)
            oldest = m->reading[i];
    }
    return oldest;
}

/* Drops what no read that is under way may still have found. */
static void
sweep(struct ls_model *m, struct unit *u)
{
    uint64_t oldest = oldest_reader(m);
    uint32_t k = 0;

    for (uint32_t i = 0; i < u->n; i++) {
        if (u->v[i].gone == NEVER || u->v[i].gone > oldest || u->v[i].hidden)
            u->v[k++] = u->v[i];
    }
    u->n = k;
    assert(k > 0);
}

static void
add(struct ls_model *m, struct unit *u, const struct value *v)
{
    if (u->n == u->room)
        sweep(m, u);
    if (u->n == u->room) {
        u->room *= 2;
        u->v = steady_realloc(u->v, u->room * sizeof(*u->v));
    }
    u->v[u->n++] = *v;
}

uint64_t
ls_model_write(struct ls_model *m, uint32_t id, enum ls_what what, uint64_t at, uint64_t len)
{
    struct value v = {.id = id, .what = what, .from = ++m->moment, .to = NEVER, .gone = NEVER};

    for (uint64_t u = at / LS_UNIT; u < (at + len) / LS_UNIT; u++)
        add(m, &m->unit[u], &v);
    return v.from;
}

uint64_t
ls_model_read(struct ls_model *m)
{
    assert(m->readers < sizeof(m->reading) / sizeof(m->reading[0]));
    m->reading[m->readers++] = ++m->moment;
    return m->moment;
}

void
ls_model_read_over(struct ls_model *m, uint64_t since)
{
    for (uint32_t i = 0; i < m->readers; i++) {
        if (m->reading[i] != since)
            continue;
        m->reading[i] = m->reading[--m->readers];
        return;
    }
    assert(!"a read that nobody began");
}

static struct value *
value_of(struct unit *u, uint32_t id)
{
    for (uint32_t i = 0; i < u->n; i++) {
        if (u->v[i].id == id)
            return &u->v[i];
    }
    return NULL;
}

/* v was acknowledged: what was over before it began is history; or it is if there is no crash. */
static void
supersede(struct ls_model *m, struct unit *u, const struct value *v, bool stable)
{
    for (uint32_t i = 0; i < u->n; i++) {
        struct value *x = &u->v[i];

        if (x == v || x->to >= v->from || x->loose)
            continue;
        if (x->gone == NEVER) {
            x->gone = m->moment;
            x->hidden = m->cache;
        }
        x->hidden &= !stable;
    }
}

void
ls_model_flushed(struct ls_model *m, uint64_t since)
{
    for (uint64_t n = 0; n < m->units && m->cache; n++) {
        struct unit *u = &m->unit[n];

        for (uint32_t i = 0; i < u->n; i++) {
            if (!u->v[i].acked || u->v[i].to >= since)
                continue;
            u->v[i].stable = true;
            supersede(m, u, &u->v[i], true);
        }
    }
}

void
ls_model_crash(struct ls_model *m)
{
    for (uint64_t n = 0; n < m->units; n++) {
        struct unit *u = &m->unit[n];

        for (uint32_t i = 0; i < u->n; i++) {
            if (u->v[i].hidden)
                u->v[i].gone = NEVER;
            u->v[i].hidden = false;
            u->v[i].acked &= u->v[i].stable; /* or it is one of several, as if it had failed */
        }
    }
}

void
ls_model_wrote(struct ls_model *m, uint32_t id, uint64_t at, uint64_t len, enum ls_outcome how)
{
    m->moment++;
    for (uint64_t n = at / LS_UNIT; n < (at + len) / LS_UNIT; n++) {
        struct unit *u = &m->unit[n];
        struct value *v = value_of(u, id);

        assert(v != NULL && v->to == NEVER);
        v->to = m->moment;
        v->maybe = how == LS_MAYBE;
        if (how == LS_NOT_DONE)
            v->gone = v->from; /* nor may anybody have seen it */
        if (how == LS_DONE || how == LS_STABLE) {
            v->wild = false;
            v->acked = true;
            v->stable = how == LS_STABLE;
            supersede(m, u, v, how == LS_STABLE);
        }
    }
}

static void
bytes_of(const struct ls_model *m, const struct value *v, uint64_t u, uint8_t *to)
{
    if (v->what == LS_PATTERN)
        ls_pattern(v->id, u * LS_UNIT, to, LS_UNIT);
    else if (v->what == LS_ZEROES)
        memset(to, 0, LS_UNIT);
    else
        memcpy(to, m->seen + u * LS_UNIT, LS_UNIT);
}

/* Each byte has to be of one of the values that were possible at a moment since the read began. */
static bool
allowed(const struct ls_model *m, const struct unit *u, uint64_t n, uint64_t since,
        const uint8_t *got)
{
    uint8_t want[LS_UNIT];
    bool fits[LS_UNIT] = {false};

    for (uint32_t i = 0; i < u->n; i++) {
        const struct value *v = &u->v[i];

        if (v->gone <= since)
            continue;
        if (v->wild)
            return true;
        bytes_of(m, v, n, want);
        if (memcmp(want, got, LS_UNIT) == 0)
            return true;
        for (uint32_t k = 0; k < LS_UNIT; k++)
            fits[k] |= want[k] == got[k];
    }
    for (uint32_t k = 0; k < LS_UNIT; k++) {
        if (!fits[k])
            return false;
    }
    return true;
}

/* Nothing was under way when the unit was read, so what was read is what it is. */
static void
settle(struct ls_model *m, struct unit *u, uint64_t n, uint64_t since, const uint8_t *got)
{
    bool several = false;

    if (m->cache)
        return; /* there is no telling what a crash would bring back */

    for (uint32_t i = 0; i < u->n; i++) {
        if (u->v[i].gone == NEVER && (u->v[i].to > since || u->v[i].loose))
            return;
        several |= i > 0 || u->v[i].wild;
    }
    if (!several)
        return;
    for (uint32_t i = 0; i < u->n; i++) {
        if (u->v[i].gone == NEVER)
            u->v[i].gone = m->moment;
    }
    memcpy(m->seen + n * LS_UNIT, got, LS_UNIT);
    for (uint32_t i = 0; i < u->n; i++) { /* what stood for other bytes was one of the values */
        if (u->v[i].what == LS_BYTES)
            u->v[i].wild = true;
    }
    /* A read that began before this one may have found what was there before. */
    add(m, u, &(struct value){.what = LS_BYTES, .to = since, .gone = NEVER});
}

static _Noreturn void
tell_wrong(struct ls_model *m, const struct unit *u, uint64_t n, uint64_t since, const uint8_t *got,
           const char *what)
{
    uint8_t want[LS_UNIT];

    for (uint32_t i = 0; i < u->n; i++) {
        const struct value *v = &u->v[i];
        uint32_t same = 0;

        bytes_of(m, v, n, want);
        for (uint32_t k = 0; k < LS_UNIT; k++)
            same += want[k] == got[k];
        ls_say(m->w, "model: unit %llu: write %u, moments %llu..%lld, gone %lld%s: %u bytes alike",
               (unsigned long long)n, v->id, (unsigned long long)v->from, (long long)v->to,
               (long long)v->gone, v->gone <= since ? ", must not be seen" : "", same);
    }
    for (uint32_t id = 1; id <= m->w->next_id; id++) {
        ls_pattern(id, n * LS_UNIT, want, LS_UNIT);
        if (memcmp(want, got, LS_UNIT) == 0)
            ls_fail(m->w,
                    "%s: bytes %llu.. of LUN %u are those of write %u, which must not be "
                    "there (read since moment %llu)",
                    what, (unsigned long long)(n * LS_UNIT), m->lun, id, (unsigned long long)since);
    }
    ls_fail(m->w,
            "%s: bytes %llu.. of LUN %u begin with %02x%02x%02x%02x, which nobody has "
            "written there",
            what, (unsigned long long)(n * LS_UNIT), m->lun, got[0], got[1], got[2], got[3]);
}

void
ls_model_check(struct ls_model *m, uint64_t since, uint64_t at, const uint8_t *got, uint64_t len,
               const char *what)
{
    m->moment++;
    for (uint64_t n = at / LS_UNIT; n < (at + len) / LS_UNIT; n++, got += LS_UNIT) {
        struct unit *u = &m->unit[n];

        if (!allowed(m, u, n, since, got))
            tell_wrong(m, u, n, since, got, what);
        settle(m, u, n, since, got);
    }
}

bool
ls_model_known(struct ls_model *m, uint64_t at, uint8_t *ret, uint64_t len)
{
    for (uint64_t n = at / LS_UNIT; n < (at + len) / LS_UNIT; n++, ret += LS_UNIT) {
        const struct value *only = NULL;

        for (uint32_t i = 0; i < m->unit[n].n; i++) {
            const struct value *v = &m->unit[n].v[i];

            if (v->gone != NEVER)
                continue;
            if (only != NULL || v->to == NEVER || v->wild)
                return false;
            only = v;
        }
        assert(only != NULL);
        bytes_of(m, only, n, ret);
    }
    return true;
}

void
ls_model_new_nexus(struct ls_model *m)
{
    m->nexus = ++m->moment;
}

void
ls_model_adrift(struct ls_model *m)
{
    for (uint64_t n = 0; n < m->units; n++) {
        for (uint32_t i = 0; i < m->unit[n].n; i++) {
            struct value *v = &m->unit[n].v[i];

            v->loose |= v->maybe && v->to > m->nexus && v->gone == NEVER;
        }
    }
}

void
ls_model_settled(struct ls_model *m)
{
    m->moment++;
    for (uint64_t n = 0; n < m->units; n++) {
        for (uint32_t i = 0; i < m->unit[n].n; i++) {
            struct value *v = &m->unit[n].v[i];

            if (v->loose)
                v->to = m->moment;
            v->loose = false;
        }
    }
}

void
ls_model_spoiled(struct ls_model *m)
{
    for (uint64_t n = 0; n < m->units; n++) {
        for (uint32_t i = 0; i < m->unit[n].n; i++)
            m->unit[n].v[i].wild |= m->unit[n].v[i].to == NEVER;
    }
}
