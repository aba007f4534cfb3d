/* SPDX-License-Identifier: MIT */
/* Memory that is registered and taken away at any moment: under requests, while connections are cut
 * and come back, and while another session logs in and out beside.  When it has been taken away no
 * device has it, and what is never taken away is used without a copy. */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

#define BLOCK 512u
#define SLOTS 8u
#define PART  (WORLD_LUN_SIZE / SLOTS)
#define TIGHT ((5u << 20) + 3 * PART) /* bytes that may be locked */

struct slot {
    uint8_t *buf; /* PART bytes, and its place on the disk is that of the slot */
    uint32_t len;
    bool write, busy, registered;
    uint8_t model[PART]; /* what the disk has there */
};

/* The other session: nobody, one that logs in, or one that is there. */
struct beside {
    struct lunette_open *op;
    struct lunette_lun *lun;
    bool closing;
};

static struct play {
    struct world w;
    struct lunette_queue *q;
    struct slot slot[SLOTS];
    struct beside other;
    uint64_t x;
    unsigned done, busy, taken, refused, opened;
    bool rdma;
    bool tight; /* there is not enough memory that may be locked */
    unsigned short_of;
} p;

static uint64_t
draw(uint64_t below)
{
    p.x = p.x * 6364136223846793005u + 1442695040888963407u;
    return (p.x >> 33) % below;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void
begin(struct slot *s)
{
    uint64_t at = (uint64_t)(s - p.slot) * PART;
    int r;

    s->len = BLOCK * (uint32_t)(1 + draw(draw(4) == 0 ? PART / BLOCK : 24));
    s->write = draw(2) == 0;
    for (uint32_t i = 0; i < s->len; i++)
        s->buf[i] = s->write ? (uint8_t)(i * 31 + p.x) : 0xee;
    r = s->write ? lunette_queue_write(p.q, s->buf, s->len, at, 0, s)
                 : lunette_queue_read(p.q, s->buf, s->len, at, s);
    assert_int_equal(r, 0);
    s->busy = true;
    p.busy++;
}

/* What has ended is the program's, but for the region that it has registered. */
static void
ended(struct slot *s, int err)
{
    s->busy = false;
    p.busy--;
    p.done++;
    if (p.rdma && !s->registered)
        assert_int_equal(sim_rdma_owns(p.w.sim, s->buf, PART), 0);
    assert_int_equal(err, 0);
    if (s->write)
        memcpy(s->model, s->buf, s->len);
    else
        assert_memory_equal(s->buf, s->model, s->len);
}

static void
collect(int min, int timeout_ms)
{
    struct lunette_completion c[SLOTS];
    int n = lunette_queue_poll(p.q, c, SLOTS, min, timeout_ms);

    assert_true(n >= 0);
    for (int i = 0; i < n; i++)
        ended(c[i].user_data, c[i].err);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void
toggle(struct slot *s)
{
    struct lunette_error err = LUNETTE_INIT(err);
    int r;

    if (!s->registered) {
        r = lunette_register(p.w.ctx, s->buf, PART, &err);
        s->registered = r == 0;
        if (r == -ENOMEM && p.tight) {
            p.short_of++;
            assert_non_null(strstr(err.msg, "RLIMIT_MEMLOCK"));
            assert_int_equal(lunette_unregister(p.w.ctx, s->buf, NULL), -ENOENT);
        } else if (r != 0) {
            fail_msg("%s", err.msg);
        }
        return;
    }
    r = lunette_unregister(p.w.ctx, s->buf, &err);
    if (r == -EBUSY && s->busy) {
        p.refused++;
        return;
    }
    if (r != 0)
        fail_msg("%s", err.msg);
    s->registered = false;
    p.taken++;
    if (p.rdma)
        assert_int_equal(sim_rdma_owns(p.w.sim, s->buf, PART), 0);
}

/* ---- another session ------------------------------------------------------------------------- */

static void
on_opened(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    struct beside *b = user;

    (void)err; /* a cut may have come at any moment */
    b->op = NULL;
    b->lun = lun;
    p.opened += lun != NULL;
}

static void
on_closed(void *user)
{
    ((struct beside *)user)->closing = false;
}

static void
other_moves(void)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct beside *b = &p.other;

    if (b->op != NULL && draw(4) == 0) {
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

/* ---- all of it ------------------------------------------------------------------------------- */

static void
cut(void)
{
    static const enum sim_rdma_cut how[] = {SIM_RDMA_LEAVE, SIM_RDMA_SILENT, SIM_RDMA_CLIENT_ERROR,
                                            SIM_RDMA_SERVER_ERROR};

    if (p.rdma)
        (void)sim_rdma_cut(p.w.sim, NULL, how[p.tight ? 0 : draw(4)]);
    else
        (void)sim_cut(p.w.sim, NULL, SIM_RESET);
}

static void
let_pass(uint64_t ms)
{
    uint64_t until = sim_now_ns(p.w.sim) + ms * LOOP_NS_PER_MS;

    do
        assert_int_equal(lunette_ctx_run(p.w.ctx, 1), 0);
    while (sim_now_ns(p.w.sim) < until);
}

static void
step(void)
{
    struct slot *s = &p.slot[draw(SLOTS)];

    switch (draw(8)) {
    case 0:
    case 1:
    case 2:
        if (!s->busy)
            begin(s);
        break;
    case 3:
        assert_int_equal(lunette_queue_submit(p.q), 0);
        break;
    case 4:
        toggle(s);
        break;
    case 6:
        if (draw(20) == 0)
            cut();
        else if (draw(2) == 0)
            other_moves();
        break;
    default:
        collect(0, 0);
        let_pass(draw(draw(8) == 0 ? 400 : 4));
        break;
    }
}

static void
play_begin(uint64_t seed)
{
    static const char *const ways[] = {"", "&iser_stag=window", "&iser_stag=pool",
                                       "&iser_stag=register"};
    static char options[200];
    struct sim_rdma_config fabric = sim_rdma_rough;
    struct world_config cfg = {.block = BLOCK, .options = options, .fabric = &fabric};
    struct lunette_error err = LUNETTE_INIT(err);

    memset(&p, 0, sizeof(p));
    p.x = seed;
    p.rdma = cfg.rdma = seed % 5 != 0;
    p.tight = p.rdma && seed % 7 == 0;
    if (p.tight) { /* a pool, and a few of the parts; the target has memory of the same loop, and
                      so hears of the end of each connection */
        fabric = (struct sim_rdma_config){0};
        fabric.memlock = TIGHT;
    }
    fabric.no_windows = seed % 3 == 0 && seed % 4 != 1;
    (void)snprintf(options, sizeof(options), "?default_time2wait=0&replacement_timeout=-1%s%s",
                   p.rdma ? "&transport=iser&noop_interval=1s&noop_timeout=1s" : "",
                   p.rdma ? ways[seed % 4] : "");
    world_new(&p.w, seed, &cfg);
    for (unsigned i = 0; i < SLOTS; i++) {
        p.slot[i].buf = aligned_alloc(4096, PART);
        assert_non_null(p.slot[i].buf);
        memcpy(p.slot[i].model, p.w.disk + i * PART, PART);
    }
    toggle(&p.slot[0]);
    p.w.lun = world_open_lun(&p.w);
    if (lunette_queue_new(p.w.lun, SLOTS, &p.q, &err) != 0)
        fail_msg("%s", err.msg);
}

static void
play_end(void)
{
    uint64_t until = sim_now_ns(p.w.sim) + 600 * LOOP_NS_PER_S;
    struct lunette_lun *lun = p.w.lun;

    /* First, since what it has locked may keep the session of the requests from logging in. */
    lunette_open_cancel(p.other.op);
    lunette_close(p.other.lun);
    while (p.other.closing)
        assert_int_equal(lunette_ctx_run(p.w.ctx, -1), 0);
    while (p.busy > 0) {
        assert_true(sim_now_ns(p.w.sim) < until);
        collect(1, 1000);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        if (p.slot[i].registered && i % 2 == 0)
            toggle(&p.slot[i]); /* the others end with the context */
        assert_memory_equal(p.w.disk + i * PART, p.slot[i].model, PART);
    }
    lunette_queue_free(p.q);
    p.w.lun = NULL;
    lunette_close(lun);
    world_free(&p.w);
    for (unsigned i = 0; i < SLOTS; i++)
        free(p.slot[i].buf);
}

static void
comes_and_goes(void **state)
{
    unsigned taken = 0, refused = 0, opened = 0, done = 0, short_of = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        play_begin(seed);
        for (unsigned i = 0; i < 1500; i++)
            step();
        play_end();
        taken += p.taken;
        refused += p.refused;
        opened += p.opened;
        done += p.done;
        short_of += p.short_of;
    }
    assert_true(taken > 1000 && refused > 100 && opened > 100 && done > 1000 && short_of > 10);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(comes_and_goes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
