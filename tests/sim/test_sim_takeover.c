/* SPDX-License-Identifier: MIT */
/* A control plane that comes after another knows the connections of a session and its error
 * recovery level: what is lost then costs no more than it would have cost the one before.
 */
#include "tests/sim/control_world.h"

#include <stdio.h>

#define SEEDS 12

static struct control_info
info_of(const struct cw *w, unsigned i)
{
    struct control_info info;

    control_node_get_info(w->node[i].n, &info);
    return info;
}

static bool
all_conns(void *user)
{
    const struct cw *w = user;

    for (unsigned i = 0; i < CW_NODES; i++) {
        if (info_of(w, i).state != CONTROL_IS_UP || info_of(w, i).conns != w->conns)
            return false;
    }
    return true;
}

/* Sessions of several connections at level 2. */
static struct cw *
begin(uint64_t seed, unsigned loops)
{
    struct cw *w = cw_new(seed, loops);

    (void)snprintf(w->what, sizeof(w->what), "seed %u", (unsigned)seed);
    w->conns = 3;
    w->erl = 2;
    cw_control_start(w);
    cw_want(w, true);
    cw_settle(w);
    assert_true(sim_run_until(w->sim, all_conns, w, CW_LIMIT_NS));
    return w;
}

static bool
is_ready(void *user)
{
    return ((const struct cw *)user)->ready;
}

/* All have their connections again, and no session has been recovered. */
static void
goes_on(struct cw *w, const uint32_t *sid)
{
    if (!sim_run_until(w->sim, all_conns, w, CW_LIMIT_NS)) {
        for (unsigned i = 0; i < CW_NODES; i++)
            print_error("node %u: %s, %u connections: %s\n", i,
                        control_state_name(info_of(w, i).state), info_of(w, i).conns,
                        info_of(w, i).why.msg);
        fail_msg("%s", w->what);
    }
    for (unsigned i = 0; i < CW_NODES; i++) {
        assert_int_equal(info_of(w, i).reopens, 0);
        assert_true(cw_has_session(w, sid[i]));
        assert_int_equal(w->node[i].founds, 1);
    }
    assert_int_equal(w->events[CONTROL_FAILING], 0);
}

static void
end(struct cw *w)
{
    cw_settle(w);
    cw_check(w);
    cw_want(w, false);
    cw_settle(w);
    cw_check(w);
    cw_free(w);
}

/* Every connection is lost after the takeover, while it is under way, or before it. */
static void
all_are_lost(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 3 * SEEDS; seed++) {
        struct cw *w = begin(seed, 1 + seed % 2);
        uint32_t sid[CW_NODES];
        uint64_t logins = cw_logins(w);

        assert_int_equal(cw_running(w, sid), CW_NODES);
        assert_int_equal(logins, CW_NODES * 3);
        cw_control_die(w);
        if (seed % 3 == 0)
            (void)sim_cut(w->sim, NULL, SIM_RESET);
        cw_control_start(w);
        if (seed % 3 == 1)
            cw_pass(w, sim_below(w->sim, 20) * CW_MS);
        else if (seed % 3 == 2)
            assert_true(sim_run_until(w->sim, is_ready, w, CW_LIMIT_NS));
        if (seed % 3 != 0)
            (void)sim_cut(w->sim, NULL, SIM_RESET);
        assert_true(sim_run_until(w->sim, is_ready, w, CW_LIMIT_NS));
        cw_pass(w, 100 * CW_MS);
        goes_on(w, sid);
        assert_true(cw_logins(w) >= logins + CW_NODES * 3);
        end(w);
    }
}

/* A record that wants fewer by now ends none of those that there are. */
static void
fewer_are_wanted(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cw *w = begin(seed, 1);
        uint32_t sid[CW_NODES];

        assert_int_equal(cw_running(w, sid), CW_NODES);
        cw_control_die(w);
        w->conns = 1;
        cw_control_start(w);
        w->conns = 3;
        assert_true(sim_run_until(w->sim, is_ready, w, CW_LIMIT_NS));
        goes_on(w, sid);
        (void)sim_cut(w->sim, NULL, SIM_RESET);
        cw_pass(w, 100 * CW_MS);
        goes_on(w, sid);
        end(w);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_lost),
        cmocka_unit_test(fewer_are_wanted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
