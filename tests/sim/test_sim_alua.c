/* SPDX-License-Identifier: MIT */
/* tests/sim/test_sim_alua.c - asymmetric access from end to end: the target's LUN changes its state
 * under I/O, by the public calls on virtual time. */
#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "tests/sim/world.h"
#include "wire/capacity.h"

#define BLOCK 512u

static void
alua_world(struct world *w, uint64_t seed)
{
    struct world_config cfg = {.block = BLOCK, .options = ""};

    world_new(w, seed, &cfg);
}

static void
set_state(struct world *w, uint8_t state, uint8_t transition_s)
{
    assert_int_equal(target_set_alua(w->target, WORLD_NODE, 0, state, transition_s, NULL), 0);
}

static struct lunette_lun *
alua_lun(struct world *w)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;

    if (lunette_open(w->ctx, w->url, 0, &lun, &err) < 0)
        fail_msg("%s", err.msg);
    return lun;
}

/* A state that another loop timer sets later. */
struct later {
    struct loop_timer timer;
    struct world *w;
    uint8_t state;
};

static void
later_fires(struct loop_timer *t)
{
    struct later *l = container_of(t, struct later, timer);

    set_state(l->w, l->state, 0);
}

static void
set_state_later(struct later *l, struct world *w, uint8_t state, uint64_t s)
{
    *l = (struct later){.w = w, .state = state};
    loop_timer_init(&l->timer, later_fires);
    loop_timer_start(w->loop, &l->timer, s * LOOP_NS_PER_S);
}

static void
a_transition_is_waited_for(void **state)
{
    struct lunette_error err = LUNETTE_INIT(err);
    uint8_t out[BLOCK], in[BLOCK];
    struct lunette_lun *lun;
    struct later later;
    struct world w;
    uint64_t t0;

    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        alua_world(&w, seed);
        lun = alua_lun(&w);
        memset(out, (int)seed, sizeof(out));
        assert_int_equal(lunette_pwrite(lun, out, BLOCK, 0, 0, &err), 0);
        set_state(&w, ALUA_TRANSITIONING, 0);
        set_state_later(&later, &w, ALUA_NON_OPTIMIZED, 20 + seed);
        t0 = w.loop->now_ns;
        memset(out, 0x55, sizeof(out));
        assert_int_equal(lunette_pwrite(lun, out, BLOCK, 0, 0, &err), 0);
        assert_true(w.loop->now_ns - t0 >= 20 * LOOP_NS_PER_S);
        assert_true(w.loop->now_ns - t0 <= (seed + 26) * LOOP_NS_PER_S);
        assert_int_equal(lunette_pread(lun, in, BLOCK, 0, &err), 0);
        assert_memory_equal(in, out, BLOCK);
        lunette_close(lun);
        world_free(&w);
    }
}

static void
no_access_fails_and_comes_back(void **state)
{
    static const uint8_t states[] = {ALUA_STANDBY, ALUA_UNAVAILABLE, ALUA_OFFLINE};
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun;
    struct later later;
    uint8_t buf[BLOCK];
    struct world w;
    uint64_t t0;

    (void)state;
    for (size_t i = 0; i < sizeof(states); i++) {
        alua_world(&w, i + 1);
        lun = alua_lun(&w);
        set_state(&w, states[i], 0);
        t0 = w.loop->now_ns;
        assert_true(lunette_pread(lun, buf, BLOCK, 0, &err) < 0);
        while (w.loop->now_ns - t0 < LOOP_NS_PER_S / 2)
            assert_int_equal(lunette_ctx_run(w.ctx, 100),
                             0); /* 04/12 does not say whose state it is */
        assert_int_equal(lunette_pread(lun, buf, BLOCK, 0, &err), -EHOSTUNREACH);
        assert_non_null(strstr(err.msg, "ALUA"));
        assert_true(w.loop->now_ns - t0 < LOOP_NS_PER_S);
        set_state_later(&later, &w, ALUA_OPTIMIZED, 100);
        while (w.loop->now_ns - t0 < 110 * LOOP_NS_PER_S)
            assert_int_equal(lunette_ctx_run(w.ctx, 1000), 0);
        assert_int_equal(lunette_pread(lun, buf, BLOCK, 0, &err), 0);
        lunette_close(lun);
        world_free(&w);
    }
}

static void
opened_without_access(void **state)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;
    struct world w;

    (void)state;
    alua_world(&w, 1);
    set_state(&w, ALUA_STANDBY, 0);
    assert_int_equal(lunette_open(w.ctx, w.url, 0, &lun, &err), -EHOSTUNREACH);
    assert_non_null(strstr(err.msg, "the path is in ALUA standby state"));
    set_state(&w, ALUA_OPTIMIZED, 0);
    lun = alua_lun(&w);
    lunette_close(lun);
    world_free(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transition_is_waited_for),
        cmocka_unit_test(no_access_fails_and_comes_back),
        cmocka_unit_test(opened_without_access),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
