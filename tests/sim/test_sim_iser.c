/* SPDX-License-Identifier: MIT */
/* tests/sim/test_sim_iser.c - whole sessions over iSER: the initiator behind its public header and
 * lunette-target's RDMA face, over simulated devices. */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

#define BLOCK 512u
#define SLOTS 16u /* requests at a time, each with a part of the disk to itself */
#define PART  (WORLD_LUN_SIZE / SLOTS)

static const struct sim_rdma_config polite = {0}, old = {.no_windows = true};

static const char *const ways[] = {"", "&iser_stag=window", "&iser_stag=pool",
                                   "&iser_stag=register"};

static void
start(struct world *w, uint64_t seed, const struct sim_rdma_config *rdma, const char *more)
{
    static char options[200];
    struct world_config cfg = {.block = BLOCK, .options = options, .rdma = true, .fabric = rdma};

    (void)snprintf(options, sizeof(options), "?transport=iser%s", more);
    world_new(w, seed, &cfg);
}

static void
stop(struct world *w)
{
    struct lunette_lun *lun = w->lun;

    w->lun = NULL;
    if (lun != NULL)
        lunette_close(lun);
    world_free(w);
}

static uint64_t
draw(uint64_t *x)
{
    *x = *x * 6364136223846793005u + 1442695040888963407u;
    return *x >> 33;
}

static void
fill(uint8_t *p, size_t len, uint64_t x)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)draw(&x);
}

/* ---- all sizes ------------------------------------------------------------------------------ */

/* Every size up to all of the disk, in each way of giving memory to the target. */
static void
sizes(void **state)
{
    static const uint32_t blocks[] = {1, 2, 7, 8, 15, 16, 17, 64, 128, 129, 511, 1024, 1025, 2048};
    uint8_t *out = malloc(WORLD_LUN_SIZE), *in = malloc(WORLD_LUN_SIZE);

    (void)state;
    assert_true(out != NULL && in != NULL);
    for (size_t way = 0; way < 2 * sizeof(ways) / sizeof(ways[0]); way++) {
        const struct sim_rdma_config *cfg = way % 2 == 0 ? &polite : &old;
        bool windows = cfg == &polite && way / 2 < 2;
        struct lunette_error err = LUNETTE_INIT(err);
        const struct sim_rdma_stats *st;
        struct world w;

        if (way / 2 == 1 && cfg == &old)
            continue; /* windows, and there are none */
        start(&w, 1 + way, cfg, ways[way / 2]);
        w.lun = world_open_lun(&w);
        for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
            size_t len = blocks[i] * (size_t)BLOCK;
            uint64_t at = WORLD_LUN_SIZE - len;

            fill(out, len, i + way);
            memset(in, 0, len);
            if (lunette_pwrite(w.lun, out, len, at, 0, &err) != 0)
                fail_msg("write of %zu: %s", len, err.msg);
            assert_memory_equal(w.disk + at, out, len);
            if (lunette_pread(w.lun, in, len, at, &err) != 0)
                fail_msg("read of %zu: %s", len, err.msg);
            assert_memory_equal(in, out, len);
        }
        st = sim_rdma_stats(w.sim);
        assert_true(st->read_bytes[SIM_RDMA_TO_CLIENT] > 0);
        assert_true(st->write_bytes[SIM_RDMA_TO_CLIENT] > 0);
        assert_int_equal(st->binds > 0, windows);
        assert_int_equal(st->remote_invalidations > 0, windows);
        assert_int_equal(st->refused, 0);
        stop(&w);
    }
    free(out);
    free(in);
}

static void
windows_that_are_not_there(void **state)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;
    struct world w;

    (void)state;
    start(&w, 1, &old, "&iser_stag=window");
    assert_true(lunette_open(w.ctx, w.url, 0, &lun, &err) < 0);
    if (strstr(err.msg, "has no memory windows of type 2") == NULL)
        fail_msg("%s", err.msg);
    stop(&w);
}

/* ---- many at a time ------------------------------------------------------------------------- */

enum judge {
    JUDGE_BOUNCED = 1, /* the application's memory is never the device's */
    JUDGE_CLOSED = 2,  /* of a command that has ended, nothing is open to the target */
};

struct load {
    struct world *w;
    struct lunette_queue *q;
    uint64_t x;
    unsigned left, done, lost;
    int judge;
    bool ends[SLOTS]; /* whose data on the disk are not known: the write has failed */
    struct request {
        bool write, busy;
        uint64_t at;
        size_t len;
    } rq[SLOTS];
    uint8_t *buf, *model; /* as large as the disk */
};

static void
load_new(struct load *l, struct world *w, uint64_t seed, unsigned requests)
{
    struct lunette_error err = LUNETTE_INIT(err);

    memset(l, 0, sizeof(*l));
    l->w = w;
    l->x = seed;
    l->left = requests;
    l->buf = aligned_alloc(4096, WORLD_LUN_SIZE);
    l->model = calloc(1, WORLD_LUN_SIZE);
    assert_true(l->buf != NULL && l->model != NULL);
    memcpy(l->model, w->disk, WORLD_LUN_SIZE);
    assert_int_equal(lunette_queue_new(w->lun, SLOTS, &l->q, &err), 0);
}

static void
load_free(struct load *l)
{
    lunette_queue_free(l->q);
    free(l->buf);
    free(l->model);
}

static void
load_begin(struct load *l, unsigned slot)
{
    struct request *rq = &l->rq[slot];
    uint64_t most = draw(&l->x) % 4 == 0 ? PART / BLOCK : 20;
    uint64_t n = 1 + draw(&l->x) % most, from = draw(&l->x) % (PART / BLOCK - n + 1);
    int r;

    rq->len = n * BLOCK;
    rq->at = slot * PART + from * BLOCK;
    rq->write = draw(&l->x) % 2 == 0;
    rq->busy = true;
    l->left--;
    if (rq->write)
        fill(l->buf + rq->at, rq->len, l->x);
    else
        memset(l->buf + rq->at, 0xee, rq->len);
    if (rq->write)
        r = lunette_queue_write(l->q, l->buf + rq->at, rq->len, rq->at, 0, rq);
    else
        r = lunette_queue_read(l->q, l->buf + rq->at, rq->len, rq->at, rq);
    assert_int_equal(r, 0);
}

static void
load_ended(struct load *l, const struct lunette_completion *c)
{
    struct request *rq = c->user_data;
    unsigned slot = (unsigned)(rq - l->rq);
    unsigned uses = sim_rdma_owns(l->w->sim, l->buf + rq->at, rq->len);

    rq->busy = false;
    l->done++;
    if (l->judge & JUDGE_BOUNCED)
        assert_int_equal(uses, 0);
    if (l->judge & JUDGE_CLOSED)
        assert_int_equal(uses & ~(unsigned)SIM_RDMA_REGION, 0);
    if (c->err != 0) {
        l->lost++;
        l->ends[slot] |= rq->write;
    } else if (rq->write) {
        memcpy(l->model + rq->at, l->buf + rq->at, rq->len);
        if (rq->len == PART)
            l->ends[slot] = false;
    } else if (!l->ends[slot]) {
        assert_memory_equal(l->buf + rq->at, l->model + rq->at, rq->len);
    }
}

/* One request at a time in each slot, until all have been made and have ended. */
static void
load_run(struct load *l)
{
    struct lunette_completion c[SLOTS];

    while (l->left > 0 || lunette_queue_inflight(l->q) > 0) {
        int n;

        for (unsigned slot = 0; slot < SLOTS && l->left > 0; slot++)
            if (!l->rq[slot].busy)
                load_begin(l, slot);
        n = lunette_queue_poll(l->q, c, SLOTS, 1, 600000);
        assert_true(n > 0);
        for (int i = 0; i < n; i++)
            load_ended(l, &c[i]);
    }
    for (unsigned slot = 0; slot < SLOTS; slot++)
        if (!l->ends[slot])
            assert_memory_equal(l->w->disk + slot * PART, l->model + slot * PART, PART);
}

static void
load_once(struct world *w, uint64_t seed, unsigned requests, int judge, unsigned lost_max)
{
    struct load l;

    load_new(&l, w, seed, requests);
    l.judge = judge;
    load_run(&l);
    assert_true(l.lost <= lost_max);
    load_free(&l);
}

/* Sixteen at a time, on a fabric that does everything it may do. */
static void
loads(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct sim_rdma_config cfg = sim_rdma_rough;
        unsigned way = (unsigned)(seed % 4);
        struct world w;

        cfg.no_windows = seed % 8 >= 4 && way != 1;
        if (seed % 3 == 0)
            cfg.max_windows = 5;
        start(&w, seed, &cfg, ways[way]);
        w.lun = world_open_lun(&w);
        load_once(&w, seed, 300, way == 3 ? JUDGE_CLOSED : JUDGE_BOUNCED, 0);
        assert_int_equal(sim_rdma_stats(w.sim)->late_writes, 0);
        stop(&w);
    }
}

/* Memory that was registered is used as it is, and of a command that has ended nothing is open. */
static void
registered(void **state)
{
    struct lunette_error err = LUNETTE_INIT(err);

    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        bool windows = seed % 2 == 0;
        struct sim_rdma_config cfg = sim_rdma_rough;
        const struct sim_rdma_stats *st;
        uint64_t regions;
        struct world w;
        struct load l;

        cfg.no_windows = !windows;
        start(&w, seed, &cfg, "");
        st = sim_rdma_stats(w.sim);
        w.lun = world_open_lun(&w);
        load_new(&l, &w, seed, 300);
        regions = st->regions;
        assert_int_equal(lunette_register(w.ctx, l.buf, WORLD_LUN_SIZE, &err), 0);
        assert_int_equal(st->regions, regions + 1);
        assert_int_equal(sim_rdma_owns(w.sim, l.buf, WORLD_LUN_SIZE),
                         windows ? 0 : SIM_RDMA_REGION);
        l.judge = windows ? JUDGE_CLOSED : 0;
        load_run(&l);
        assert_int_equal(l.lost, 0);
        /* the same when another connection has come in its place */
        assert_int_equal(sim_rdma_cut(w.sim, NULL, SIM_RDMA_LEAVE), 1);
        l.left = 300;
        load_run(&l);
        assert_int_equal(l.lost, 0);
        assert_int_equal(st->regions, regions + 1);
        l.rq[0] = (struct request){.busy = true, .len = PART};
        assert_int_equal(lunette_queue_read(l.q, l.buf, PART, 0, &l.rq[0]), 0);
        assert_int_equal(lunette_queue_submit(l.q), 0);
        assert_true(sim_rdma_owns(w.sim, l.buf, PART) & /* the device uses it as it is */
                    (unsigned)(windows ? SIM_RDMA_WINDOW : SIM_RDMA_REGION));
        load_run(&l);
        assert_int_equal(lunette_unregister(w.ctx, l.buf, &err), 0);
        assert_int_equal(sim_rdma_owns(w.sim, l.buf, WORLD_LUN_SIZE), 0);
        assert_int_equal(st->regions, regions);
        l.judge = JUDGE_BOUNCED;
        l.left = 50;
        load_run(&l);
        load_free(&l);
        stop(&w);
    }
}

/* ---- task management ------------------------------------------------------------------------ */

/* A target that does not answer reads has them aborted; then it is itself again. */
static void
aborts(void **state)
{
    struct target_faults mute = {.mute = true, .mute_opcode = 0x28};

    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct target_faults none = {0};
        struct sim_rdma_config cfg = sim_rdma_rough;
        struct lunette_completion c[SLOTS];
        unsigned way = (unsigned)(seed % 4), ended = 0;
        struct world w;
        struct load l;

        start(&w, seed, &cfg, ways[way]);
        w.lun = world_open_lun(&w);
        load_new(&l, &w, seed, SLOTS);
        l.judge = way == 3 ? JUDGE_CLOSED : JUDGE_BOUNCED;
        mute.mute_opcode = seed % 2 == 0 ? 0x28 : 0x2a;
        target_set_faults(w.target, &mute);
        for (unsigned slot = 0; slot < SLOTS; slot++)
            load_begin(&l, slot);
        assert_true(lunette_queue_poll(l.q, c, SLOTS, 0, 0) >= 0);
        for (int i = 0; i < 10; i++)
            assert_int_equal(lunette_ctx_run(w.ctx, 1), 0);
        for (unsigned slot = 0; slot < SLOTS; slot++)
            (void)lunette_queue_cancel(l.q, &l.rq[slot]);
        while (ended < SLOTS) {
            int n = lunette_queue_poll(l.q, c, SLOTS, 1, 600000);

            assert_true(n > 0);
            for (int i = 0; i < n; i++)
                load_ended(&l, &c[i]);
            ended += (unsigned)n;
        }
        target_set_faults(w.target, &none);
        l.left = 100;
        l.lost = 0;
        load_run(&l);
        assert_int_equal(l.lost, 0);
        assert_int_equal(sim_rdma_stats(w.sim)->asked, 1); /* the connection has held */
        load_free(&l);
        stop(&w);
    }
}

/* ---- cuts ----------------------------------------------------------------------------------- */

/* The connection is cut behind each message of its life, in each way; the session comes back, and
 * all that was asked for is done. */
static void
cuts(void **state)
{
    static const enum sim_rdma_cut how[] = {SIM_RDMA_LEAVE, SIM_RDMA_SILENT, SIM_RDMA_CLIENT_ERROR,
                                            SIM_RDMA_SERVER_ERROR};

    (void)state;
    for (unsigned n = 0; n < 112; n++) {
        struct sim_rdma_config cfg = sim_rdma_rough;
        struct world w;
        struct load l;

        start(&w, 1000 + n, &cfg, ways[n % 4]);
        w.lun = world_open_lun(&w);
        load_new(&l, &w, n, 120);
        l.judge = n % 4 == 3 ? JUDGE_CLOSED : JUDGE_BOUNCED;
        sim_rdma_cut_after(w.sim, NULL, how[n / 4 % 4], n % 2 == 0 ? n : UINT64_MAX,
                           n % 2 == 0 ? UINT64_MAX : n);
        load_run(&l);
        assert_int_equal(l.lost, 0);
        assert_true(sim_rdma_stats(w.sim)->asked >= 2);
        assert_int_equal(sim_rdma_stats(w.sim)->late_writes, 0);
        sim_rdma_cut_after(w.sim, NULL, SIM_RDMA_LEAVE, UINT64_MAX, UINT64_MAX);
        load_free(&l);
        stop(&w);
    }
}

/* The same while it logs in for the first time. */
static void
cut_logins(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 24; n++) {
        struct lunette_error err = LUNETTE_INIT(err);
        struct world w;

        start(&w, n, &polite, ways[n % 4]);
        sim_rdma_cut_after(w.sim, NULL, (enum sim_rdma_cut)(n / 6), n % 2 ? n / 2 % 3 : UINT64_MAX,
                           n % 2 ? UINT64_MAX : n / 2 % 3);
        if (lunette_open(w.ctx, w.url, 0, &w.lun, &err) < 0) {
            assert_true(err.msg[0] != '\0');
            w.lun = NULL;
        }
        sim_rdma_cut_after(w.sim, NULL, SIM_RDMA_LEAVE, UINT64_MAX, UINT64_MAX);
        if (w.lun == NULL)
            w.lun = world_open_lun(&w);
        load_once(&w, n, 60, 0, 0);
        stop(&w);
    }
}

/* ---- a target that says anything ------------------------------------------------------------ */

struct liar {
    uint64_t x;
    unsigned every, lies;
};

/* Headers that come have some of their bits turned. */
static enum sim_rdma_verdict
lie(void *user, const struct sim_rdma_message *m)
{
    struct liar *l = user;

    if (m->stage != SIM_RDMA_ARRIVES || m->kind != SIM_RDMA_A_SEND ||
        m->way != SIM_RDMA_TO_CLIENT || draw(&l->x) % l->every != 0)
        return SIM_RDMA_PASS;
    for (uint64_t n = 1 + draw(&l->x) % 3; n > 0; n--)
        m->bytes[draw(&l->x) % (draw(&l->x) % 4 == 0 ? m->len : 76)] ^=
            (uint8_t)(1u << draw(&l->x) % 8);
    l->lies++;
    return draw(&l->x) % 16 == 0 ? SIM_RDMA_CUT_INSIDE : SIM_RDMA_PASS;
}

/* Whatever comes, requests end once, and nothing of them is open to the target then; when it lies
 * no more, all is well. */
static void
lies(void **state)
{
    unsigned told = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct liar liar = {.x = seed, .every = 1 + (unsigned)(seed % 20)};
        struct sim_rdma_config cfg = sim_rdma_rough;
        struct lunette_completion c[SLOTS];
        unsigned way = (unsigned)(seed % 4);
        struct world w;
        struct load l;

        start(&w, seed, &cfg, ways[way]);
        w.lun = world_open_lun(&w);
        load_new(&l, &w, seed, SLOTS);
        sim_rdma_tap(w.sim, lie, &liar);
        assert_int_equal(lunette_queue_set_timeout(l.q, 20000), 0);
        for (unsigned slot = 0; slot < SLOTS; slot++)
            load_begin(&l, slot);
        while (lunette_queue_inflight(l.q) > 0) {
            int n = lunette_queue_poll(l.q, c, SLOTS, 1, 600000);

            assert_true(n > 0);
            for (int i = 0; i < n; i++) {
                const struct request *rq = c[i].user_data;
                unsigned uses = sim_rdma_owns(w.sim, l.buf + rq->at, rq->len);

                assert_int_equal(way == 3 ? uses & ~(unsigned)SIM_RDMA_REGION : uses, 0);
            }
        }
        sim_rdma_tap(w.sim, NULL, NULL);
        told += liar.lies;
        load_free(&l);
        for (int i = 0; i < 100; i++)
            assert_int_equal(lunette_ctx_run(w.ctx, 1000), 0);
        load_once(&w, seed, 100, 0, 0);
        stop(&w);
    }
    assert_true(told > 200);
}

/* ---- what cannot be ------------------------------------------------------------------------- */

static void
refused(uint64_t seed, const struct sim_rdma_config *cfg, enum sim_rdma_fate fate,
        const char *options, const char *why)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;
    struct world w;

    start(&w, seed, &polite, options);
    sim_rdma_configure(w.sim, cfg);
    sim_rdma_set_fate(w.sim, NULL, fate);
    assert_true(lunette_open(w.ctx, w.url, 0, &lun, &err) < 0);
    if (strstr(err.msg, why) == NULL)
        fail_msg("'%s' does not have '%s'", err.msg, why);
    sim_rdma_configure(w.sim, &polite);
    sim_rdma_set_fate(w.sim, NULL, SIM_RDMA_NORMAL);
    w.lun = world_open_lun(&w);
    stop(&w);
}

static void
not_there(void **state)
{
    static const struct sim_rdma_config no_device = {.no_device = true},
                                        little = {.memlock = 1u << 20};

    (void)state;
    refused(1, &no_device, SIM_RDMA_NORMAL, "", "no RDMA device");
    refused(2, &polite, SIM_RDMA_REFUSED, "", "nobody listens there for RDMA");
    refused(3, &polite, SIM_RDMA_UNWANTED, "", "the listener refuses");
    refused(4, &polite, SIM_RDMA_NOBODY, "", "this address");
    refused(5, &polite, SIM_RDMA_BLACK_HOLE, "&connect_timeout=3000", "no answer in time");
    refused(6, &polite, SIM_RDMA_STUCK, "&login_timeout=3000", "no answer to a Login Request");
    /* both numbers */
    refused(7, &little, SIM_RDMA_NORMAL, "", "1048576");
    refused(8, &little, SIM_RDMA_NORMAL, "", "1294336");
}

/* Less memory than the default pool wants: it is smaller, and all goes well. */
static void
little_memory(void **state)
{
    static const struct sim_rdma_config cfg = {.memlock = 8u << 20};
    struct world w;

    (void)state;
    start(&w, 1, &cfg, "&iser_stag=pool");
    w.lun = world_open_lun(&w);
    load_once(&w, 1, 300, JUDGE_BOUNCED, 0);
    stop(&w);
}

static void
discovery(void **state)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_targets *targets = NULL;
    char where[128], portal[64];
    struct world w;

    (void)state;
    start(&w, 1, &polite, "");
    (void)snprintf(where, sizeof(where), "iscsi://%s/?transport=iser",
                   sock_addr_format(&w.portal, portal, sizeof(portal)));
    if (lunette_discover(w.ctx, where, &targets, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(lunette_targets_count(targets), 1);
    lunette_targets_free(targets);
    stop(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),      cmocka_unit_test(windows_that_are_not_there),
        cmocka_unit_test(loads),      cmocka_unit_test(registered),
        cmocka_unit_test(aborts),     cmocka_unit_test(cuts),
        cmocka_unit_test(cut_logins), cmocka_unit_test(lies),
        cmocka_unit_test(not_there),  cmocka_unit_test(little_memory),
        cmocka_unit_test(discovery),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
