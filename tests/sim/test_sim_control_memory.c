/* SPDX-License-Identifier: MIT */
/* Each allocation in turn fails, of either plane and of the target, while sessions are logged in to
 * and exported, come back, are taken over, are logged out, and end with their leases: in the end
 * all is as it is wanted.
 */
#include "tests/sim/control_world.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/alloc_fail.h"

enum story { LOGIN, REOPEN, LOGOUT, TAKEOVER, LEASE, STORIES };

#define ALLOCATIONS_MAX 20000

static bool
failed_and_steady(void *user)
{
    struct cw *w = user;

    for (unsigned i = 0; i < CW_NODES && w->until == CONTROL_IS_LOST; i++) {
        struct control_info info;

        control_node_get_info(w->node[i].n, &info);
        if (info.reopens == 0)
            return false;
    }
    return !(w->node[0].leased && w->node[0].want) && cw_steady(w);
}

/* A scan that finds no memory for a unit does without it, and says no word of that: whoever misses
 * it looks again. */
static void
look_again(struct cw *w)
{
    for (unsigned i = 0; i < CW_NODES; i++) {
        struct control_info info;

        control_node_get_info(w->node[i].n, &info);
        if (info.state == CONTROL_IS_UP && info.settled && info.luns < CW_LUNS)
            assert_int_equal(control_scan(w->node[i].n, NULL, NULL), 0);
    }
}

/* False: fewer allocations were made. */
static bool
tell(enum story story, long allocation)
{
    struct cw *w = cw_new(1, 1);
    bool failed;

    (void)snprintf(w->what, sizeof(w->what), "story %d, allocation %ld", (int)story, allocation);
    w->node[0].leased = story == LEASE;
    w->node[0].ttl_ns = LOOP_NS_PER_S;
    w->idle_ms = 500;
    cw_control_start(w);
    cw_want(w, true);
    if (story != LOGIN)
        cw_settle(w);
    if (story == TAKEOVER) {
        cw_control_die(w);
        cw_control_start(w);
    }
    if (story == REOPEN) {
        w->until = CONTROL_IS_LOST;
        (void)sim_cut(w->sim, NULL, SIM_RESET);
    }
    if (story == LOGOUT)
        cw_want(w, false);
    alloc_left = allocation;
    if (story == LEASE)
        cw_lease_give(w, 0, 1, 2 * LOOP_NS_PER_S, false);
    if (!sim_run_until(w->sim, failed_and_steady, w, CW_LIMIT_NS)) {
        look_again(w);
        cw_settle(w);
    }
    failed = alloc_left < 0;
    alloc_left = -1;
    cw_check(w);
    assert_true(story != LEASE || (w->node[0].overs == 1 && !w->node[0].want));
    cw_want(w, false);
    cw_settle(w);
    cw_check(w);
    cw_free(w);
    return failed;
}

static void
each_allocation_fails(void **state)
{
    (void)state;
    for (enum story story = LOGIN; story < STORIES; story++) {
        long allocation = 0;

        while (tell(story, allocation))
            assert_true(++allocation < ALLOCATIONS_MAX);
        print_message("story %d: %ld allocations\n", (int)story, allocation);
        assert_true(allocation > 10);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_allocation_fails)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
