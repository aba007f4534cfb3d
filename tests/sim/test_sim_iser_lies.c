/* SPDX-License-Identifier: MIT */
/* tests/sim/test_sim_iser_lies.c - the initiator against a target that breaks the rules of RFC 7145
 * in every way that target_faults.rdma has, over simulated devices.
 *
 * Whatever it does: each request ends once, not a byte is written beside the buffers of requests
 * that are under way, and when the target is honest again all is as it should be. */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

#define BLOCK       512u
#define SLOTS       8u /* requests at a time, each with a part of the disk to itself */
#define PART        (WORLD_LUN_SIZE / SLOTS)
#define GUARD       4096u /* bytes before and behind each buffer */
#define GUARDED     0xa5
#define REQUESTS    100u
#define EVERY       19u /* a session that comes back reads a few things first */
#define EVERY_WRITE 5u

static const char *const ways[] = {"window", "pool", "register"};

enum { WINDOW, POOL, REGISTER, WAYS };

struct slot {
    bool write, busy;
    uint64_t at;
    size_t len;
    uint8_t *buf;   /* PART bytes between two guards */
    uint8_t *quiet; /* what they were when the last request ended */
    unsigned begun, ended;
};

struct liar {
    struct world w;
    struct lunette_queue *q;
    uint64_t x;
    unsigned left, failed;
    bool honest;
    struct slot slots[SLOTS];
};

static uint64_t
draw(uint64_t *x)
{
    *x = *x * 6364136223846793005u + 1442695040888963407u;
    return *x >> 33;
}

/* Nobody has touched the memory of a slot since its last request ended. */
static void
check_quiet(const struct slot *s)
{
    for (size_t i = 0; i < GUARD; i++) {
        assert_int_equal(s->buf[-(ptrdiff_t)GUARD + (ptrdiff_t)i], GUARDED);
        assert_int_equal(s->buf[PART + i], GUARDED);
    }
    if (!s->busy)
        assert_memory_equal(s->buf, s->quiet, PART);
}

static void
begin(struct liar *l, struct slot *s)
{
    uint64_t most = draw(&l->x) % 4 == 0 ? PART / BLOCK : 20;
    uint64_t n = 1 + draw(&l->x) % most, from = draw(&l->x) % (PART / BLOCK - n + 1);
    int r;

    check_quiet(s);
    s->at = (uint64_t)(s - l->slots) * PART + from * BLOCK;
    s->len = n * BLOCK;
    s->write = draw(&l->x) % 2 == 0;
    s->busy = true;
    s->begun++;
    l->left--;
    if (s->write)
        r = lunette_queue_write(l->q, s->buf, s->len, s->at, 0, s);
    else
        r = lunette_queue_read(l->q, s->buf, s->len, s->at, s);
    assert_int_equal(r, 0);
}

static void
end(struct liar *l, const struct lunette_completion *c)
{
    struct slot *s = c->user_data;

    assert_true(s->busy);
    s->busy = false;
    s->ended++;
    /* Nor is memory open that was registered for it: what comes later is refused. */
    assert_int_equal(sim_rdma_owns(l->w.sim, s->buf, PART) &
                         (unsigned)(SIM_RDMA_PEER_WRITES | SIM_RDMA_WINDOW | SIM_RDMA_READS_IN |
                                    SIM_RDMA_REGION),
                     0);
    if (c->err != 0) {
        l->failed++;
        assert_false(l->honest);
    } else if (l->honest) {
        assert_memory_equal(s->buf, l->w.disk + s->at, s->len);
    }
    memcpy(s->quiet, s->buf, PART);
}

static void
run(struct liar *l, unsigned requests)
{
    struct lunette_completion c[SLOTS];

    l->left = requests;
    while (l->left > 0 || lunette_queue_inflight(l->q) > 0) {
        int n;

        for (unsigned i = 0; i < SLOTS && l->left > 0; i++)
            if (!l->slots[i].busy)
                begin(l, &l->slots[i]);
        n = lunette_queue_poll(l->q, c, SLOTS, 1, 600000);
        assert_true(n > 0);
        for (int i = 0; i < n; i++)
            end(l, &c[i]);
        for (unsigned i = 0; i < SLOTS; i++)
            check_quiet(&l->slots[i]);
    }
}

static void
liar_new(struct liar *l, uint64_t seed, unsigned way, const struct sim_rdma_config *fabric)
{
    static char options[100];
    struct world_config cfg = {.block = BLOCK, .options = options, .rdma = true, .fabric = fabric};
    struct lunette_error err = LUNETTE_INIT(err);

    memset(l, 0, sizeof(*l));
    l->x = seed;
    (void)snprintf(options, sizeof(options), "?transport=iser&iser_stag=%s", ways[way]);
    world_new(&l->w, seed, &cfg);
    l->w.lun = world_open_lun(&l->w);
    assert_int_equal(lunette_queue_new(l->w.lun, SLOTS, &l->q, &err), 0);
    for (unsigned i = 0; i < SLOTS; i++) {
        uint8_t *mem = malloc(PART + 2 * GUARD);

        assert_non_null(mem);
        memset(mem, GUARDED, PART + 2 * GUARD);
        l->slots[i].buf = mem + GUARD;
        memset(l->slots[i].buf, (int)i, PART);
        l->slots[i].quiet = malloc(PART);
        assert_non_null(l->slots[i].quiet);
        memcpy(l->slots[i].quiet, l->slots[i].buf, PART);
    }
}

static void
liar_free(struct liar *l)
{
    struct lunette_lun *lun = l->w.lun;

    l->w.lun = NULL;
    lunette_queue_free(l->q);
    lunette_close(lun);
    for (unsigned i = 0; i < SLOTS; i++) {
        check_quiet(&l->slots[i]);
        assert_int_equal(l->slots[i].begun, l->slots[i].ended);
        free(l->slots[i].buf - GUARD);
        free(l->slots[i].quiet);
    }
    world_free(&l->w);
}

/* Whether the connection must end for it.  What goes to memory that is open cannot be told from
 * what should go there: an address beside a command's in the pool of its own session; nor can data
 * that do not come.  Memory that was registered for a command is closed when we hear of the
 * response, so that what comes right behind that may find it open; a window is closed by it.  A
 * response whose StatSN has been there is dropped, as over TCP. */
static bool
breaks(enum target_rdma_fault fault, unsigned way)
{
    if (fault == TARGET_RDMA_NO_DATA || fault == TARGET_RDMA_TWICE)
        return false;
    if (fault == TARGET_RDMA_WRITE_BEFORE || fault == TARGET_RDMA_WRITE_BEHIND)
        return way != POOL;
    if (fault == TARGET_RDMA_DATA_LATE)
        return way == WINDOW;
    return true;
}

static void
lie(enum target_rdma_fault fault, unsigned way, uint64_t seed, const struct sim_rdma_config *fabric)
{
    const struct target_faults faults = {
        .rdma = fault, .rdma_every = fault <= TARGET_RDMA_READ_STAG ? EVERY_WRITE : EVERY};
    struct target_stats before, after;
    uint64_t refused;
    struct liar l;

    liar_new(&l, seed, way, fabric);
    refused = sim_rdma_stats(l.w.sim)->refused;
    target_stats(l.w.target, &before);
    target_set_faults(l.w.target, &faults);
    run(&l, REQUESTS);
    target_set_faults(l.w.target, NULL);
    target_stats(l.w.target, &after);
    /* Where it depends on the moment, what came too late has ended it, too. */
    refused = sim_rdma_stats(l.w.sim)->refused - refused;
    if ((breaks(fault, way) || refused > 0) && after.logins == before.logins)
        fail_msg("fault %d, %s: the connection stays", fault, ways[way]);
    assert_int_equal(sim_rdma_stats(l.w.sim)->late_writes, 0);
    run(&l, SLOTS); /* what was broken is found and mended here at the latest */
    l.honest = true;
    run(&l, REQUESTS);
    liar_free(&l);
}

static void
each_way_to_lie(void **state)
{
    (void)state;
    for (int fault = 1; fault < TARGET_RDMA_FAULTS; fault++) {
        for (unsigned way = 0; way < WAYS; way++)
            lie((enum target_rdma_fault)fault, way, (uint64_t)fault * 10 + way,
                (unsigned)fault % 2 == way % 2 ? NULL : &sim_rdma_rough);
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_way_to_lie),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
