/* SPDX-License-Identifier: MIT */
/* Leases, one case after the other: when a session ends by them, and when it does not. */
#include "tests/sim/control_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_MS 1000u
#define S(n)    ((n)*LOOP_NS_PER_S)

/* Nothing is logged in yet, and what is asked for is asked for once. */
static struct cw *
lease_world(void)
{
    struct cw *w = cw_new(1, 1);

    w->quiet = true;
    w->idle_ms = IDLE_MS;
    w->node[0].leased = true;
    cw_control_start(w);
    cw_pass(w, S(1));
    return w;
}

static void
lease_of(const char *owner, uint64_t ttl_ns, struct control_lease *ret)
{
    *ret = (struct control_lease){.uid = 1000, .ttl_ns = ttl_ns};
    strcpy(ret->owner, owner);
}

/* A session with a lease of "a", and exports. */
static void
log_in(struct cw *w, uint64_t ttl_ns)
{
    struct control_lease l;

    lease_of("a", ttl_ns, &l);
    w->node[0].want = true;
    assert_int_equal(control_login_leased(w->node[0].n, &l, NULL, NULL), 0);
    cw_pass(w, S(1) / 2);
    assert_int_equal(cw_running(w, NULL), 1);
}

static bool
nothing_runs(void *user)
{
    return cw_running(user, NULL) == 0;
}

/* Runs until the session has ended, and returns how long that took. */
static uint64_t
until_ended(struct cw *w)
{
    uint64_t began = sim_now_ns(w->sim);

    assert_true(sim_run_until(w->sim, nothing_runs, w, CW_LIMIT_NS));
    return sim_now_ns(w->sim) - began;
}

static unsigned
leases_left(struct cw *w, uint64_t *ret_ns)
{
    struct control_info info;
    struct control_lease l;

    control_node_get_info(w->node[0].n, &info);
    if (info.leases > 0 && control_node_lease(w->node[0].n, 0, &l) && ret_ns != NULL)
        *ret_ns = l.left_ns;
    return info.leases;
}

/* ---- the end -------------------------------------------------------------------------------- */

static void
ends_when_unused(void **state)
{
    struct cw *w = lease_world();
    uint64_t took;

    (void)state;
    log_in(w, S(5));
    took = until_ended(w); /* a half second of the lease is over */
    assert_true(took >= S(5) - S(1) / 2 + S(1));
    assert_true(took <= S(5) - S(1) / 2 + S(2) + S(1));
    assert_int_equal(w->node[0].overs, 1);
    cw_pass(w, S(60)); /* and nothing brings it back */
    assert_int_equal(cw_running(w, NULL), 0);
    assert_int_equal(cw_logins(w), 1);
    cw_free(w);
}

static void
lives_while_renewed(void **state)
{
    struct cw *w = lease_world();

    (void)state;
    log_in(w, S(5));
    for (int i = 0; i < 40; i++) { /* from outside a turn the clock is that of the last one */
        cw_lease_give(w, 0, i % 2 == 0 ? 0 : 1, S(5), false);
        cw_pass(w, S(2));
    }
    assert_int_equal(cw_running(w, NULL), 1);
    assert_int_equal(w->node[0].overs, 0);
    (void)until_ended(w);
    assert_int_equal(cw_logins(w), 1);
    cw_free(w);
}

static void
lives_while_used(void **state)
{
    struct cw *w = lease_world();

    (void)state;
    log_in(w, S(2));
    cw_use(w, true);
    cw_pass(w, S(60));
    assert_int_equal(cw_running(w, NULL), 1);
    for (int i = 0; i < 100; i++) { /* a client that comes and goes between two looks */
        cw_use(w, true);
        cw_use(w, false);
        cw_pass(w, S(1) / 2);
    }
    assert_int_equal(cw_running(w, NULL), 1);
    assert_true(until_ended(w) <= S(4));
    cw_free(w);
}

/* A lease that has ended while the machine slept may be renewed until the session begins to go. */
static void
clock_jumps(void **state)
{
    struct cw *w = lease_world();

    (void)state;
    log_in(w, S(5));
    sim_jump(w->sim, S(3600));
    cw_pass(w, S(1) / 2);
    assert_int_equal(leases_left(w, NULL), 0);
    assert_int_equal(cw_running(w, NULL), 1);
    cw_lease_give(w, 0, 0, S(5), false);
    cw_pass(w, S(4));
    assert_int_equal(cw_running(w, NULL), 1);
    assert_true(until_ended(w) <= S(4));
    cw_free(w);
}

/* A lease that ends before the login has ended takes that with it. */
static void
login_that_is_late(void **state)
{
    static const struct {
        bool refuse, stall;
    } how[] = {{true, false}, {false, true}};

    (void)state;
    for (size_t i = 0; i < sizeof(how) / sizeof(how[0]); i++) {
        struct cw *w = lease_world();
        struct control_lease l;
        struct control_info info;

        sim_refuse(w->sim, NULL, how[i].refuse);
        sim_stall(w->sim, NULL, how[i].stall);
        lease_of("a", S(2), &l);
        w->node[0].want = true;
        assert_int_equal(control_login_leased(w->node[0].n, &l, &w->node[0].waiter, NULL), 0);
        cw_pass(w, S(1));
        assert_int_equal(w->node[0].told, 0);
        cw_pass(w, S(3));
        assert_int_equal(w->node[0].told, 1);
        assert_int_equal(w->node[0].err.code, -ECANCELED);
        control_node_get_info(w->node[0].n, &info);
        assert_int_equal(info.state, CONTROL_IS_DOWN);
        sim_refuse(w->sim, NULL, false);
        sim_stall(w->sim, NULL, false);
        cw_pass(w, S(60));
        assert_int_equal(cw_running(w, NULL), 0);
        cw_free(w);
    }
}

/* ---- others --------------------------------------------------------------------------------- */

static void
record_keeps_it(void **state)
{
    struct cw *w = lease_world();
    struct control_node_config cfg;
    struct login_config login;

    (void)state;
    cw_config(w, 0, &login, &cfg);
    cfg.kept = true;
    assert_int_equal(control_node_change(w->node[0].n, &cfg, NULL), 0);
    log_in(w, S(2));
    cw_pass(w, S(60));
    assert_int_equal(cw_running(w, NULL), 1);
    cfg.kept = false;
    assert_int_equal(control_node_change(w->node[0].n, &cfg, NULL), 0);
    assert_true(until_ended(w) <= S(3));
    cw_free(w);
}

static void
others_keep_it(void **state)
{
    struct cw *w = lease_world();

    (void)state;
    log_in(w, S(2));
    /* It is there already, and whoever is told so relies on it. */
    assert_int_equal(control_login(w->node[0].n, NULL, NULL), -EEXIST);
    cw_pass(w, S(60));
    assert_int_equal(cw_running(w, NULL), 1);
    cw_control_die(w); /* that, too, stands in the note */
    cw_control_start(w);
    cw_pass(w, S(60));
    assert_int_equal(cw_running(w, NULL), 1);
    cw_lease_give(w, 0, 0, S(2), true);
    assert_true(until_ended(w) <= S(5));
    cw_free(w);
}

/* ---- races ---------------------------------------------------------------------------------- */

/* The look that decides is under way. */
static bool
is_looked_at(void *user)
{
    const struct node_leases *l = &((struct cw *)user)->node[0].n->leases;

    return l->over && l->has_count && l->look != NULL;
}

static void
renewal_in_the_last_moment(void **state)
{
    struct cw *w = cw_new(2, 1);
    struct control_lease l;

    (void)state;
    w->quiet = true;
    w->idle_ms = IDLE_MS;
    w->delay_ns = 5 * CW_MS;
    w->node[0].leased = true;
    cw_control_start(w);
    cw_pass(w, S(1));
    log_in(w, S(2));
    lease_of("b", S(60), &l);
    assert_true(sim_run_until(w->sim, is_looked_at, w, CW_LIMIT_NS));
    assert_int_equal(control_lease(w->node[0].n, &l, false, NULL, NULL), 0);
    cw_pass(w, S(50));
    assert_int_equal(cw_running(w, NULL), 1);
    assert_true(until_ended(w) <= S(13));
    cw_free(w);
}

static bool
is_going(void *user)
{
    struct cw *w = user;

    return w->node[0].overs > 0;
}

static void
renewal_while_it_goes(void **state)
{
    struct cw *w = lease_world();
    struct control_lease l;
    struct lunette_error err;

    (void)state;
    log_in(w, S(2));
    assert_true(sim_run_until(w->sim, is_going, w, CW_LIMIT_NS));
    assert_int_equal(cw_running(w, NULL), 1); /* it has begun */
    lease_of("a", S(5), &l);
    assert_int_equal(control_lease(w->node[0].n, &l, false, NULL, &err), -ENOENT);
    assert_int_equal(control_release(w->node[0].n, "a", &err), -ENOENT);
    w->node[0].want = true;
    assert_int_equal(control_login_leased(w->node[0].n, &l, &w->node[0].waiter, NULL), 0);
    cw_settle(w);
    assert_int_equal(w->node[0].told, 1);
    assert_int_equal(w->node[0].err.code, 0);
    assert_int_equal(leases_left(w, NULL), 1);
    assert_true(until_ended(w) <= S(8));
    assert_int_equal(w->node[0].overs, 2);
    cw_free(w);
}

/* What is left of a lease is what a control plane that comes later goes on with, whatever is lost
 * meanwhile. */
static void
restarts(void **state)
{
    struct cw *w = lease_world();
    uint64_t left = 0;

    (void)state;
    log_in(w, S(10));
    cw_control_die(w);
    cw_pass(w, S(3));
    cw_control_start(w);
    cw_pass(w, S(1) / 2);
    assert_int_equal(leases_left(w, &left), 1);
    assert_in_range(left, S(6), S(7));
    cw_loop_hiccup(w, 0);
    cw_pass(w, S(1) / 2);
    assert_int_equal(leases_left(w, &left), 1);
    cw_data_restart(w, S(1));
    w->node[0].want = true;
    cw_pass(w, S(1));
    assert_int_equal(cw_running(w, NULL), 1);
    assert_int_equal(leases_left(w, &left), 1);
    cw_control_die(w);
    cw_control_start(w);
    cw_pass(w, S(1) / 2);
    assert_int_equal(leases_left(w, &left), 1);
    assert_in_range(left, S(1), S(4));
    assert_true(until_ended(w) <= S(7));
    cw_free(w);
}

/* A lease that was released while the data plane was out of reach does not come back with it. */
static void
released_meanwhile(void **state)
{
    struct cw *w = lease_world();

    (void)state;
    log_in(w, S(1000));
    cw_loop_lose(w, 0);
    assert_int_equal(control_release(w->node[0].n, "a", NULL), 0);
    cw_pass(w, S(1));
    cw_loop_back(w, 0);
    cw_pass(w, S(1) / 2);
    assert_int_equal(leases_left(w, NULL), 0);
    cw_control_die(w);
    cw_control_start(w);
    cw_pass(w, S(1) / 2);
    assert_int_equal(leases_left(w, NULL), 0);
    assert_true(until_ended(w) <= S(4));
    cw_free(w);
}

/* ---- bounds --------------------------------------------------------------------------------- */

static void
bounds(void **state)
{
    struct cw *w = lease_world();
    struct control_lease l;
    struct lunette_error err;
    char owner[16];

    (void)state;
    log_in(w, S(100));
    for (int i = 1; i < CONTROL_LEASES_MAX; i++) {
        (void)snprintf(owner, sizeof(owner), "b%d", i);
        lease_of(owner, S(100), &l);
        assert_int_equal(control_lease(w->node[0].n, &l, false, NULL, &err), 0);
    }
    lease_of("c", S(100), &l);
    assert_int_equal(control_lease(w->node[0].n, &l, false, NULL, &err), -E2BIG);
    assert_int_equal(control_login_leased(w->node[0].n, &l, NULL, &err), -E2BIG);
    lease_of("a", S(100), &l); /* one that is there is renewed all the same */
    assert_int_equal(control_lease(w->node[0].n, &l, false, NULL, &err), 0);
    lease_of("a", 0, &l);
    assert_int_equal(control_lease(w->node[0].n, &l, false, NULL, &err), -EINVAL);
    lease_of("a", S(CONTROL_LEASE_S_MAX) + 1, &l);
    assert_int_equal(control_lease(w->node[0].n, &l, false, NULL, &err), -EINVAL);
    lease_of("", S(1), &l);
    assert_int_equal(control_lease(w->node[0].n, &l, false, NULL, &err), -EINVAL);
    assert_int_equal(leases_left(w, NULL), CONTROL_LEASES_MAX);
    lease_of("a", S(1), &l);
    assert_int_equal(control_lease(w->node[1].n, &l, false, NULL, &err), -ENOENT);
    cw_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_when_unused),
        cmocka_unit_test(lives_while_renewed),
        cmocka_unit_test(lives_while_used),
        cmocka_unit_test(clock_jumps),
        cmocka_unit_test(login_that_is_late),
        cmocka_unit_test(record_keeps_it),
        cmocka_unit_test(others_keep_it),
        cmocka_unit_test(renewal_while_it_goes),
        cmocka_unit_test(restarts),
        cmocka_unit_test(released_meanwhile),
        cmocka_unit_test(bounds),
        cmocka_unit_test(renewal_in_the_last_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
