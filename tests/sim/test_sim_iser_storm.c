/* SPDX-License-Identifier: MIT */
/* Everything at once over iSER: devices that go and come back, few windows, little memory, ways
 * that stand still, cuts, connections that are never answered, requests that are given up, memory
 * that is registered and taken away, sessions beside that are closed at any step, and a target that
 * turns bits.  Whatever comes: each request ends once, no device has its memory then, and when
 * it is over a session can be opened and all that was written well is there. */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

#define BLOCK  512u
#define SLOTS  16u
#define PART   (WORLD_LUN_SIZE / SLOTS)
#define BESIDE 5u

struct slot {
    uint8_t *buf; /* PART bytes, and its place on the disk is that of the slot */
    uint32_t len;
    bool write, busy, registered;
    bool unknown; /* a write has failed */
    uint8_t model[PART];
};

struct beside {
    struct lunette_open *op;
    struct lunette_lun *lun;
    bool closing, keeps;
    char why[300];
};

static struct storm {
    struct world w;
    struct lunette_queue *q;
    struct slot slot[SLOTS];
    struct beside other[BESIDE];
    struct sim_rdma_config fabric;
    uint64_t x, lx;
    unsigned done, failed, busy, opened, way;
    bool lies, lying, windows;
} p;

static uint64_t
draw(uint64_t below)
{
    p.x = p.x * 6364136223846793005u + 1442695040888963407u;
    return (p.x >> 33) % below;
}

static uint64_t
lie_draw(uint64_t below)
{
    p.lx = p.lx * 6364136223846793005u + 1442695040888963407u;
    return (p.lx >> 33) % below;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void
begin(struct slot *s)
{
    uint64_t at = (uint64_t)(s - p.slot) * PART;
    int r;

    s->len = BLOCK * (uint32_t)(1 + draw(draw(3) == 0 ? PART / BLOCK : 24));
    s->write = draw(2) == 0;
    for (uint32_t i = 0; i < s->len; i++)
        s->buf[i] = s->write ? (uint8_t)(i * 31 + p.x) : 0xee;
    (void)lunette_queue_set_timeout(p.q, draw(3) == 0 ? 1 + (uint32_t)draw(3000) : 0);
    r = s->write ? lunette_queue_write(p.q, s->buf, s->len, at, 0, s)
                 : lunette_queue_read(p.q, s->buf, s->len, at, s);
    if (r == -ENXIO) { /* the disk has been given up */
        s->unknown |= s->write;
        return;
    }
    assert_int_equal(r, 0);
    s->busy = true;
    p.busy++;
}

static void
ended(struct slot *s, int err)
{
    unsigned uses = sim_rdma_owns(p.w.sim, s->buf, PART);

    assert_true(s->busy);
    s->busy = false;
    p.busy--;
    p.done++;
    if (!s->registered)
        assert_int_equal(uses, 0);
    else if (!p.lies)
        assert_int_equal(uses & (unsigned)(SIM_RDMA_PEER_WRITES | SIM_RDMA_WINDOW), 0);
    if (err != 0) {
        p.failed++;
        s->unknown |= s->write;
        return;
    }
    if (s->write) {
        if (s->len == PART)
            s->unknown = false;
        memcpy(s->model, s->buf, s->len);
    } else if (!s->unknown && !p.lies) {
        assert_memory_equal(s->buf, s->model, s->len);
    }
}

static void
collect(int min, int timeout_ms)
{
    struct lunette_completion c[SLOTS];
    int n = lunette_queue_poll(p.q, c, SLOTS, min, timeout_ms);

    if (n < 0)
        fail_msg("poll: %d", n);
    for (int i = 0; i < n; i++)
        ended(c[i].user_data, c[i].err);
}

static void
toggle(struct slot *s)
{
    struct lunette_error err = LUNETTE_INIT(err);
    int r;

    if (!s->registered) {
        r = lunette_register(p.w.ctx, s->buf, PART, &err);
        s->registered = r == 0;
        if (r != 0 && err.msg[0] == '\0')
            fail_msg("no sentence: %d", r);
        if (r != 0 && !s->busy)
            assert_int_equal(sim_rdma_owns(p.w.sim, s->buf, PART), 0);
        return;
    }
    r = lunette_unregister(p.w.ctx, s->buf, &err);
    if (r == -EBUSY && s->busy)
        return;
    if (r != 0)
        fail_msg("%s", err.msg);
    s->registered = false;
    assert_int_equal(sim_rdma_owns(p.w.sim, s->buf, PART), 0);
}

/* ---- sessions beside ------------------------------------------------------------------------- */

static void
on_closed(void *user)
{
    ((struct beside *)user)->closing = false;
}

static void
on_opened(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    struct beside *b = user;

    if (err != NULL)
        (void)snprintf(b->why, sizeof(b->why), "%s", err->msg);
    b->op = NULL;
    b->lun = lun;
    p.opened += lun != NULL;
    if (lun != NULL && !b->keeps && draw(3) == 0) { /* inside the callback */
        b->lun = NULL;
        b->closing = true;
        lunette_close_start(lun, on_closed, b);
    }
}

static void
other_moves(struct beside *b)
{
    struct lunette_error err = LUNETTE_INIT(err);

    if (b->op != NULL && draw(2) == 0) {
        lunette_open_cancel(b->op);
        b->op = NULL;
    } else if (b->lun != NULL) {
        b->closing = true;
        lunette_close_start(b->lun, on_closed, b);
        b->lun = NULL;
    } else if (b->op == NULL && !b->closing) {
        assert_int_equal(lunette_open_start(p.w.ctx, p.w.url, 0, on_opened, b, &b->op, &err), 0);
    }
}

/* ---- weather --------------------------------------------------------------------------------- */

static enum sim_rdma_verdict
lie(void *user, const struct sim_rdma_message *m)
{
    (void)user;
    if (!p.lying || m->stage != SIM_RDMA_ARRIVES || lie_draw(16) != 0)
        return SIM_RDMA_PASS;
    if (m->kind != SIM_RDMA_A_SEND)
        return SIM_RDMA_PASS;
    for (uint64_t n = 1 + lie_draw(3); n > 0; n--)
        m->bytes[lie_draw(lie_draw(4) == 0 ? m->len : 76)] ^= (uint8_t)(1u << lie_draw(8));
    switch (lie_draw(24)) {
    case 0:
        return SIM_RDMA_CUT_INSIDE;
    case 1:
        return SIM_RDMA_CUT_BEHIND;
    case 2:
        return SIM_RDMA_SWALLOW;
    default:
        return SIM_RDMA_PASS;
    }
}

static void
weather(void)
{
    struct sim *sim = p.w.sim;
    struct sim_rdma_config *f = &p.fabric;

    switch (draw(14)) {
    case 0:
        (void)sim_rdma_cut(sim, NULL, (enum sim_rdma_cut)draw(4));
        break;
    case 1:
        sim_rdma_cut_one(sim, (unsigned)draw(8), (enum sim_rdma_cut)draw(4));
        break;
    case 2:
        sim_rdma_cut_after(sim, NULL, (enum sim_rdma_cut)draw(4),
                           draw(2) == 0 ? draw(20) : UINT64_MAX,
                           draw(2) == 0 ? draw(20) : UINT64_MAX);
        break;
    case 3:
        sim_rdma_set_fate(sim, NULL, (enum sim_rdma_fate)draw(6));
        break;
    case 4:
        sim_rdma_set_fate(sim, NULL, SIM_RDMA_NORMAL);
        break;
    case 5:
        sim_rdma_hold(sim, 0, (enum sim_rdma_way)draw(2), draw(2) == 0);
        break;
    case 6:
        sim_rdma_stall(sim, NULL, draw(2) == 0);
        break;
    case 7:
        sim_rdma_remove_device(sim, p.w.loop, true);
        break;
    case 8:
        sim_rdma_remove_device(sim, p.w.loop, false);
        break;
    case 9:
        f->memlock = draw(2) == 0 ? 0 : (1u << 20) + draw(12u << 20);
        sim_rdma_configure(sim, f);
        break;
    case 10:
        f->max_windows = (uint32_t)(draw(2) == 0 ? 0 : 1 + draw(12));
        f->max_regions = (uint32_t)(draw(2) == 0 ? 0 : 1 + draw(12));
        sim_rdma_configure(sim, f);
        break;
    case 11:
        f->no_windows = p.way != 1 && draw(2) == 0;
        f->ended_never_percent = (uint32_t)draw(101);
        f->ended_late_percent = (uint32_t)draw(101);
        f->linger_max_us = (uint32_t)(draw(2) == 0 ? 0 : draw(8000000)); /* drains that are late */
        f->flush_max_us = (uint32_t)(draw(2) == 0 ? 0 : draw(200000));
        sim_rdma_configure(sim, f);
        break;
    case 12:
        p.lying = p.lies && !p.lying;
        break;
    default:
        for (struct slot *s = p.slot; s < p.slot + SLOTS; s++) {
            if (s->busy && draw(3) == 0)
                (void)lunette_queue_cancel(p.q, s);
        }
        break;
    }
}

static void
fair_weather(void)
{
    p.fabric = sim_rdma_rough;
    sim_rdma_configure(p.w.sim, &p.fabric);
    sim_rdma_set_fate(p.w.sim, NULL, SIM_RDMA_NORMAL);
    sim_rdma_stall(p.w.sim, NULL, false);
    sim_rdma_remove_device(p.w.sim, p.w.loop, false);
    sim_rdma_hold(p.w.sim, 0, SIM_RDMA_TO_CLIENT, false);
    sim_rdma_hold(p.w.sim, 0, SIM_RDMA_TO_SERVER, false);
    sim_rdma_cut_after(p.w.sim, NULL, SIM_RDMA_LEAVE, UINT64_MAX, UINT64_MAX);
    p.lying = false;
}

/* Both machines go on: calls that wait drive only their own. */
static void
let_pass(uint64_t ms)
{
    (void)sim_run_until(p.w.sim, NULL, NULL, (ms + 1) * LOOP_NS_PER_MS);
}

/* A session that must come up. */
static void
open_first(void)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct beside b = {.keeps = true};

    for (unsigned i = 0; i < 40 && b.lun == NULL; i++) {
        assert_int_equal(lunette_open_start(p.w.ctx, p.w.url, 0, on_opened, &b, &b.op, &err), 0);
        while (b.op != NULL)
            let_pass(100);
    }
    if (b.lun == NULL)
        fail_msg("%s (%u links, %u open)", b.why, sim_rdma_links(p.w.sim, NULL),
                 (unsigned)sim_rdma_stats(p.w.sim)->open);
    p.w.lun = b.lun;
}

static void
close_lun(struct lunette_lun *lun)
{
    struct beside b = {.closing = true};

    lunette_close_start(lun, on_closed, &b);
    for (unsigned i = 0; b.closing; i++) {
        if (i > 3000)
            fail_msg("a session does not end");
        let_pass(100);
    }
}

static void
step(void)
{
    struct slot *s = &p.slot[draw(SLOTS)];

    switch (draw(9)) {
    case 0:
    case 1:
    case 2:
        if (!s->busy)
            begin(s);
        break;
    case 3:
        (void)lunette_queue_submit(p.q);
        break;
    case 4:
        toggle(s);
        break;
    case 5:
        if (draw(6) == 0)
            weather();
        break;
    case 6:
        other_moves(&p.other[draw(BESIDE)]);
        break;
    default:
        collect(0, 0);
        let_pass(draw(draw(8) == 0 ? 1500 : 4));
        break;
    }
}

static void
storm_begin(uint64_t seed)
{
    static const char *const ways[] = {"", "&iser_stag=window", "&iser_stag=pool",
                                       "&iser_stag=register"};
    static char options[300];
    struct world_config cfg = {
        .block = BLOCK, .options = options, .rdma = true, .apart = true, .fabric = &p.fabric};
    struct lunette_error err = LUNETTE_INIT(err);

    memset(&p, 0, sizeof(p));
    p.x = p.lx = seed;
    p.way = seed % 4;
    p.lies = seed % 3 == 0;
    p.fabric = sim_rdma_rough;
    (void)snprintf(options, sizeof(options),
                   "?transport=iser&default_time2wait=0&replacement_timeout=%s&noop_interval=1s"
                   "&noop_timeout=1s&login_timeout=15000&connect_timeout=15000%s%s",
                   seed % 5 == 0 ? "-1" : "4", ways[p.way], seed % 2 ? "&iser_pool=1M" : "");
    world_new(&p.w, seed, &cfg);
    sim_rdma_tap(p.w.sim, lie, NULL);
    for (unsigned i = 0; i < SLOTS; i++) {
        p.slot[i].buf = aligned_alloc(4096, PART);
        assert_non_null(p.slot[i].buf);
        memcpy(p.slot[i].model, p.w.disk + i * PART, PART);
    }
    open_first();
    if (lunette_queue_new(p.w.lun, SLOTS, &p.q, &err) != 0)
        fail_msg("%s", err.msg);
}

static void
storm_end(bool fair)
{
    struct lunette_lun *lun = p.w.lun;

    if (fair)
        fair_weather();
    else
        for (struct slot *s = p.slot; s < p.slot + SLOTS; s++)
            if (s->busy)
                (void)lunette_queue_cancel(p.q, s);
    for (unsigned i = 0; p.busy > 0; i++) {
        if (i == 3000)
            fail_msg("requests do not end");
        if (i == 1000)
            fair_weather();
        collect(0, 0);
        let_pass(100);
    }
    for (struct beside *b = p.other; b < p.other + BESIDE; b++) {
        lunette_open_cancel(b->op);
        if (b->lun != NULL)
            lunette_close_start(b->lun, NULL, NULL);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        if (p.slot[i].registered && i % 2 == 0)
            toggle(&p.slot[i]);
        if (!p.slot[i].unknown && !p.lies)
            assert_memory_equal(p.w.disk + i * PART, p.slot[i].model, PART);
    }
    lunette_queue_free(p.q);
    p.w.lun = NULL;
    close_lun(lun);
    if (fair) {
        open_first();
        lun = p.w.lun;
        p.w.lun = NULL;
        close_lun(lun);
    }
    for (struct beside *b = p.other; b < p.other + BESIDE; b++) {
        for (unsigned i = 0; b->closing; i++) {
            if (i > 3000)
                fail_msg("a session beside does not end");
            let_pass(100);
        }
    }
    world_free(&p.w);
    for (unsigned i = 0; i < SLOTS; i++)
        free(p.slot[i].buf);
}

static void
storms(void **state)
{
    unsigned done = 0, failed = 0, opened = 0;
    const char *first = getenv("STORM_FIRST"), *count = getenv("STORM_COUNT");
    uint64_t from = first != NULL ? strtoull(first, NULL, 10) : 1;
    uint64_t n = count != NULL ? strtoull(count, NULL, 10) : 40;

    (void)state;
    for (uint64_t seed = from; seed < from + n; seed++) {
        if (count != NULL)
            (void)fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        storm_begin(seed);
        for (unsigned i = 0; i < 1200; i++)
            step();
        storm_end(seed % 7 != 0);
        done += p.done;
        failed += p.failed;
        opened += p.opened;
    }
    if (count != NULL)
        (void)fprintf(stderr, "%u done, %u failed, %u opened\n", done, failed, opened);
    assert_true(done > 20 * n && failed > n && opened > n);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(storms)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
