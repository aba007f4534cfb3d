/* SPDX-License-Identifier: MIT */
/* What an owner of control/ may ask for, and when: callers who share, who give up, who interrupt;
 * sessions without records; exports; thousands of sessions with dead portals among them.
 */
#include "tests/sim/control_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Somebody who waits. */
struct person {
    struct control_waiter w;
    unsigned told;
    struct lunette_error err;
};

static void
person_told(struct control_waiter *w, const struct lunette_error *err)
{
    struct person *p = container_of(w, struct person, w);

    p->told++;
    p->err = (struct lunette_error){.code = 0};
    if (err != NULL)
        p->err = *err;
}

static void
person_init(struct person *p)
{
    *p = (struct person){.told = 0};
    control_waiter_init(&p->w, person_told);
}

static bool
is_told(void *user)
{
    return ((struct person *)user)->told > 0;
}

static void
wait_for(struct cw *w, struct person *p)
{
    assert_true(sim_run_until(w->sim, is_told, p, CW_LIMIT_NS));
}

static struct cw *
quiet_world(unsigned loops)
{
    struct cw *w = cw_new(1, loops);

    w->quiet = true;
    cw_control_start(w);
    return w;
}

/* All sessions are up. */
static struct cw *
settled_world(unsigned loops)
{
    struct cw *w = cw_new(1, loops);

    cw_control_start(w);
    cw_want(w, true);
    cw_settle(w);
    return w;
}

static void
ask_login(struct control_node *n, struct person *p)
{
    person_init(p);
    assert_int_equal(control_login(n, &p->w, NULL), 0);
}

static void
ask_logout(struct control_node *n, struct person *p)
{
    person_init(p);
    assert_int_equal(control_logout(n, &p->w, NULL), 0);
}

/* The connections break, and the target is not reached any more. */
static void
cut_off(struct cw *w)
{
    sim_refuse(w->sim, NULL, true);
    (void)sim_cut(w->sim, NULL, SIM_RESET);
}

/* The control plane dies, and another comes. */
static void
take_over(struct cw *w)
{
    cw_control_die(w);
    cw_control_start(w);
}

/* Asks for a login, and waits until it has succeeded or failed. */
static void
log_in(struct cw *w, struct control_node *n, struct person *p)
{
    ask_login(n, p);
    wait_for(w, p);
}

static void
log_out(struct cw *w, struct control_node *n, struct person *p)
{
    ask_logout(n, p);
    wait_for(w, p);
}

static enum control_state
state_of(struct cw *w, unsigned i)
{
    struct control_info info;

    control_node_get_info(w->node[i].n, &info);
    return info.state;
}

static bool
is_in_state(void *user)
{
    struct cw *w = user;

    return w->node[0].n->state == w->until;
}

/* Runs until the first node is in that state. */
static void
until_state(struct cw *w, enum control_state state)
{
    w->until = state;
    assert_true(sim_run_until(w->sim, is_in_state, w, CW_LIMIT_NS));
}

/* ---- callers -------------------------------------------------------------------------------- */

/* All who ask for the same share one login, and each gives up alone. */
static void
callers_share(void **state)
{
    struct cw *w = quiet_world(1);
    struct control_node *n = w->node[0].n;
    struct person p[4];

    (void)state;
    for (int i = 0; i < 4; i++) { /* before the data plane was looked at */
        ask_login(n, &p[i]);
    }
    control_waiter_cancel(&p[1].w);
    wait_for(w, &p[0]);
    assert_int_equal(p[0].err.code, 0);
    assert_int_equal(p[2].told, 1);
    assert_int_equal(p[3].told, 1);
    assert_int_equal(p[1].told, 0);
    assert_int_equal(cw_logins(w), 1);
    assert_int_equal(control_login(n, &p[1].w, &p[1].err), -EEXIST);
    assert_int_equal(control_logout(w->node[1].n, &p[1].w, &p[1].err), -ENOENT);
    ask_logout(n, &p[0]);
    ask_login(n, &p[1]); /* who asks last, wins */
    ask_logout(n, &p[2]);
    wait_for(w, &p[0]);
    assert_int_equal(p[0].err.code, 0);
    assert_int_equal(p[1].err.code, -ECANCELED);
    assert_int_equal(p[2].told, 1);
    assert_int_equal(state_of(w, 0), CONTROL_IS_DOWN);
    cw_check(w);
    cw_free(w);
}

/* A logout comes in each state that a login goes through. */
static void
logout_interrupts(void **state)
{
    static const enum control_state in[] = {CONTROL_IS_WAITING, CONTROL_IS_QUEUED, CONTROL_IS_LOGIN,
                                            CONTROL_IS_UP, CONTROL_IS_LOST};

    (void)state;
    for (unsigned i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
        struct cw *w = quiet_world(1);
        struct person login, logout;
        uint64_t began;

        w->until = in[i];
        person_init(&login);
        person_init(&logout);
        if (in[i] == CONTROL_IS_QUEUED)
            w->gate.inside = w->gate.max; /* others are logging in */
        sim_refuse(w->sim, NULL, in[i] == CONTROL_IS_WAITING);
        sim_stall(w->sim, NULL, in[i] == CONTROL_IS_LOGIN);
        assert_int_equal(control_login(w->node[0].n, &login.w, NULL), 0);
        if (in[i] == CONTROL_IS_LOST) {
            wait_for(w, &login);
            cut_off(w);
        }
        assert_true(sim_run_until(w->sim, is_in_state, w, CW_LIMIT_NS));
        began = sim_now_ns(w->sim);
        assert_int_equal(control_logout(w->node[0].n, &logout.w, NULL), 0);
        wait_for(w, &logout);
        assert_int_equal(logout.err.code, 0);
        assert_true(sim_now_ns(w->sim) - began < 100 * CW_MS);
        wait_for(w, &login);
        assert_int_equal(login.err.code, in[i] < CONTROL_IS_UP ? -ECANCELED : 0);
        if (in[i] == CONTROL_IS_QUEUED)
            w->gate.inside = 0;
        sim_refuse(w->sim, NULL, false);
        sim_stall(w->sim, NULL, false);
        cw_check(w);
        cw_free(w);
    }
}

/* Who asks for something else before anything was done has the last word, and all are told. */
static void
last_word_counts(void **state)
{
    struct cw *w = quiet_world(1);
    struct control_node *n = w->node[0].n;
    struct person login, logout, again;

    (void)state;
    log_in(w, n, &login);
    person_init(&logout);
    person_init(&again);
    assert_int_equal(control_logout(n, &logout.w, NULL), 0);
    assert_int_equal(control_login(n, &again.w, NULL), 0);
    wait_for(w, &again);
    wait_for(w, &logout);
    assert_int_equal(again.err.code, 0);
    assert_int_equal(logout.err.code, -ECANCELED);
    assert_int_equal(state_of(w, 0), CONTROL_IS_UP);
    assert_int_equal(cw_logins(w), 1);
    cw_free(w);
}

/* A login that the target refuses is told with its reason at once; one that finds nobody there,
 * when its tries are used up.  Whoever asks again is served again. */
static void
first_login_gives_up(void **state)
{
    struct cw *w = quiet_world(1);
    struct control_node_config cfg;
    struct login_config login;
    struct control_node *n;
    struct control_info info;
    struct person p;
    uint64_t began;

    (void)state;
    cw_config(w, 7, &login, &cfg); /* the target does not know it */
    assert_int_equal(control_node_add(w->c, &cfg, &n, NULL), 0);
    assert_int_equal(control_node_add(w->c, &cfg, NULL, &p.err), -EEXIST);
    log_in(w, n, &p);
    assert_int_equal(p.err.domain, LUNETTE_DOM_LOGIN);
    control_node_get_info(n, &info);
    assert_int_equal(info.state, CONTROL_IS_FAILED);
    assert_int_equal(info.wanted, CONTROL_UP);
    assert_int_equal(info.why.domain, LUNETTE_DOM_LOGIN);
    cw_config(w, 0, &login, &cfg);
    cfg.name.instance = 1;
    cfg.login_retries = 2;
    assert_int_equal(control_node_add(w->c, &cfg, &n, NULL), 0);
    sim_refuse(w->sim, NULL, true);
    for (int i = 0; i < 2; i++) {
        began = sim_now_ns(w->sim);
        log_in(w, n, &p);
        assert_int_equal(p.err.domain, LUNETTE_DOM_CONNECT);
        assert_in_range(sim_now_ns(w->sim) - began, 2000 * CW_MS, 4000 * CW_MS);
    }
    sim_refuse(w->sim, NULL, false);
    sim_stall(w->sim, NULL, true);
    login.login_timeout_ms = 3000;
    assert_int_equal(control_node_change(n, &cfg, NULL), 0);
    began = sim_now_ns(w->sim);
    log_in(w, n, &p);
    assert_in_range(sim_now_ns(w->sim) - began, 9000 * CW_MS, 12000 * CW_MS);
    sim_stall(w->sim, NULL, false);
    cw_pass(w, 1000 * CW_MS);
    assert_int_equal(state_of(w, 0), CONTROL_IS_DOWN);
    cw_free(w);
}

/* Which transport a node's record names is known without asking the data plane. */
static void
transport_is_known(void **state)
{
    struct cw *w = quiet_world(1);
    struct control_node_config cfg;
    struct login_config login;
    struct control_info info;

    (void)state;
    control_node_get_info(w->node[0].n, &info);
    assert_string_equal(info.transport, "tcp");
    cw_config(w, 0, &login, &cfg);
    (void)strcpy(login.transport, "iser");
    assert_int_equal(control_node_change(w->node[0].n, &cfg, NULL), 0);
    control_node_get_info(w->node[0].n, &info);
    assert_string_equal(info.transport, "iser");
    cw_free(w);
}

/* A record may allow more tries than anybody lives to see. */
static void
first_login_never_gives_up(void **state)
{
    struct cw *w = quiet_world(1);
    struct control_node_config cfg;
    struct login_config login;

    (void)state;
    cw_config(w, 0, &login, &cfg);
    cfg.login_retries = INT32_MAX;
    login.login_timeout_ms = 1u << 30; /* (INT32_MAX + 1) times that are 0 ns of 64 bits */
    assert_int_equal(control_node_change(w->node[0].n, &cfg, NULL), 0);
    sim_refuse(w->sim, NULL, true);
    assert_int_equal(control_login(w->node[0].n, NULL, NULL), 0);
    cw_pass(w, 20 * LOOP_NS_PER_S);
    assert_int_not_equal(state_of(w, 0), CONTROL_IS_FAILED);
    cw_free(w);
}

/* The data plane goes in the middle of a login, and its end is told a little later: that was no try
 * that the target has failed. */
static void
data_plane_goes_first(void **state)
{
    struct cw *w = quiet_world(1);
    struct control_node_config cfg;
    struct login_config login;

    (void)state;
    cw_config(w, 0, &login, &cfg);
    cfg.login_retries = 0;
    assert_int_equal(control_node_change(w->node[0].n, &cfg, NULL), 0);
    cw_pass(w, 100 * CW_MS);
    w->gate.inside = w->gate.max; /* others are logging in */
    assert_int_equal(control_login(w->node[0].n, NULL, NULL), 0);
    cw_pass(w, 1 * CW_MS);
    assert_int_equal(state_of(w, 0), CONTROL_IS_QUEUED);
    ipc_delayed_cut(w->binding[0]);
    w->gate.inside = 0;
    login_gate_set_max(&w->gate, w->gate.max);
    cw_pass(w, 5 * CW_MS);
    assert_int_not_equal(state_of(w, 0), CONTROL_IS_FAILED);
    cw_loop_hiccup(w, 0);
    cw_pass(w, 1000 * CW_MS);
    assert_int_equal(state_of(w, 0), CONTROL_IS_UP);
    cw_free(w);
}

/* The record of node 0 names a target that does not exist, and a lost session cannot come back. */
static void
lose_for_good(struct cw *w, struct control_node_config *cfg, struct login_config *login)
{
    strcpy(login->target_name, "iqn.2026-11.example:t7");
    assert_int_equal(control_node_change(w->node[0].n, cfg, NULL), 0);
    (void)sim_cut(w->sim, NULL, SIM_RESET);
    until_state(w, CONTROL_IS_GAVE_UP);
}

/* A session that was refused for good stays until somebody says what shall be: it is brought back
 * with its exports, or logged out. */
static void
given_up_and_revived(void **state)
{
    struct cw *w = quiet_world(1);
    struct control_node *n = w->node[0].n;
    struct control_node_config cfg;
    struct login_config login;
    struct control_info info;
    struct person p;
    uint32_t sid;

    (void)state;
    w->node[0].want = true;
    cw_config(w, 0, &login, &cfg);
    cfg.reopen_max = 2;
    assert_int_equal(control_login(n, NULL, NULL), 0);
    until_state(w, CONTROL_IS_UP);
    cw_settle(w);
    control_node_get_info(n, &info);
    sid = info.sid;
    lose_for_good(w, &cfg, &login);
    control_node_get_info(n, &info);
    assert_int_equal(info.why.domain, LUNETTE_DOM_LOGIN);
    assert_int_equal(info.sid, sid);
    log_in(w, n, &p); /* nobody has changed anything */
    assert_int_equal(p.err.domain, LUNETTE_DOM_LOGIN);
    cw_config(w, 0, &login, &cfg);
    cfg.reopen_max = 2;
    assert_int_equal(control_node_change(n, &cfg, NULL), 0);
    log_in(w, n, &p);
    assert_int_equal(p.err.code, 0);
    cw_settle(w);
    cw_check(w);
    control_node_get_info(n, &info);
    assert_int_equal(info.sid, sid);
    lose_for_good(w, &cfg, &login);
    log_out(w, n, &p);
    assert_int_equal(state_of(w, 0), CONTROL_IS_DOWN);
    w->node[0].want = false;
    cw_check(w);
    cw_free(w);
}

/* A session is away for longer than its commands wait; a control plane that comes then knows. */
static void
commands_fail(void **state)
{
    struct cw *w = quiet_world(1);
    struct control_node_config cfg;
    struct login_config login;
    struct control_info info;
    struct person p;

    (void)state;
    cw_config(w, 0, &login, &cfg);
    login.replacement_timeout_s = 3;
    assert_int_equal(control_node_change(w->node[0].n, &cfg, NULL), 0);
    log_in(w, w->node[0].n, &p);
    cut_off(w);
    cw_pass(w, 2 * LOOP_NS_PER_S);
    control_node_get_info(w->node[0].n, &info);
    assert_false(info.failing);
    cw_pass(w, 2 * LOOP_NS_PER_S);
    assert_int_equal(w->events[CONTROL_FAILING], 1);
    for (int i = 0; i < 2; i++) {
        control_node_get_info(w->node[0].n, &info);
        assert_int_equal(info.state, CONTROL_IS_LOST);
        assert_true(info.failing);
        if (i == 0)
            take_over(w);
        cw_pass(w, LOOP_NS_PER_S);
    }
    sim_refuse(w->sim, NULL, false);
    cw_pass(w, 5 * LOOP_NS_PER_S);
    control_node_get_info(w->node[0].n, &info);
    assert_int_equal(info.state, CONTROL_IS_UP);
    assert_false(info.failing);
    cw_free(w);
}

/* The record says another limit when the next control plane comes: it is in force at once, as the
 * one before may have died before it could tell. */
static void
limits_at_takeover(void **state)
{
    struct cw *w = quiet_world(1);
    struct control_node_config cfg;
    struct login_config login;
    struct control_info info;
    struct person p;

    (void)state;
    cw_config(w, 0, &login, &cfg);
    login.replacement_timeout_s = 3;
    assert_int_equal(control_node_change(w->node[0].n, &cfg, NULL), 0);
    log_in(w, w->node[0].n, &p);
    take_over(w); /* with the default */
    cw_pass(w, 100 * CW_MS);
    cut_off(w);
    cw_pass(w, 10 * LOOP_NS_PER_S);
    control_node_get_info(w->node[0].n, &info);
    assert_int_equal(info.state, CONTROL_IS_LOST);
    assert_false(info.failing);
    cw_free(w);
}

/* A record that changes while its session logs in is in force from then on. */
static void
config_changes_in_login(void **state)
{
    struct cw *w = quiet_world(1);
    struct control_node *n = w->node[0].n;
    struct control_node_config cfg;
    struct login_config login;
    struct control_info info;

    (void)state;
    w->until = CONTROL_IS_LOGIN;
    assert_int_equal(control_login(n, NULL, NULL), 0);
    assert_true(sim_run_until(w->sim, is_in_state, w, CW_LIMIT_NS));
    cw_config(w, 0, &login, &cfg);
    cfg.reopen_max = 1;
    strcpy(login.target_name, "iqn.2026-11.example:t7");
    assert_int_equal(control_node_change(n, &cfg, NULL), 0);
    until_state(w, CONTROL_IS_UP);
    (void)sim_cut(w->sim, NULL, SIM_RESET);
    cw_pass(w, 5 * LOOP_NS_PER_S);
    control_node_get_info(n, &info);
    assert_int_equal(info.state, CONTROL_IS_GAVE_UP);
    cw_free(w);
}

/* Somebody knows that the target is back. */
static void
tried_now(void **state)
{
    struct cw *w = quiet_world(1);
    struct control_node *n = w->node[0].n;
    struct control_info info;
    struct person p;

    (void)state;
    person_init(&p);
    sim_refuse(w->sim, NULL, true);
    assert_int_equal(control_login(n, &p.w, NULL), 0);
    cw_pass(w, 100 * LOOP_NS_PER_S);
    until_state(w, CONTROL_IS_WAITING);
    control_node_get_info(n, &info);
    assert_true(info.next_try_ns > LOOP_NS_PER_S);
    assert_true(info.attempt > 10 && info.why.msg[0] != '\0');
    sim_refuse(w->sim, NULL, false);
    control_try_now(n);
    cw_pass(w, 100 * CW_MS);
    assert_int_equal(p.told, 1);
    assert_int_equal(state_of(w, 0), CONTROL_IS_UP);
    cw_free(w);
}

/* The record goes before anything was done for those who wait: they are told all the same. */
static void
record_goes_while_somebody_waits(void **state)
{
    struct cw *w = quiet_world(1);
    struct control_node *n = w->node[0].n;
    struct person login, logout;

    (void)state;
    cw_pass(w, 100 * CW_MS);
    assert_int_equal(state_of(w, 0), CONTROL_IS_DOWN);
    person_init(&login);
    person_init(&logout);
    assert_int_equal(control_login(n, &login.w, NULL), 0);
    assert_int_equal(control_logout(n, &logout.w, NULL), 0);
    control_node_remove(n);
    w->node[0].n = NULL;
    cw_pass(w, 100 * CW_MS);
    assert_int_equal(w->events[CONTROL_GONE], 1);
    assert_int_equal(login.told, 1);
    assert_int_equal(login.err.code, -ECANCELED);
    assert_int_equal(logout.told, 1);
    assert_int_equal(logout.err.code, 0);
    cw_free(w);
}

/* A session that was found keeps the names that it was logged in with until it is logged out.  The
 * login after that is by the record. */
static void
found_session_logs_in_by_record(void **state)
{
    struct cw *w = quiet_world(1);
    struct control_node_config cfg;
    struct login_config login, next;
    struct person p;

    (void)state;
    log_in(w, w->node[0].n, &p);
    take_over(w);
    cw_pass(w, 100 * CW_MS);
    assert_int_equal(state_of(w, 0), CONTROL_IS_UP);
    cw_config(w, 0, &login, &cfg);
    strcpy(login.initiator_name, "iqn.2026-11.example:another");
    memcpy(login.isid, "\x80\x11\x22\x33\x44\x55", LOGIN_ISID_LEN);
    assert_int_equal(control_node_change(w->node[0].n, &cfg, NULL), 0);
    keep_config(w->node[0].n, &next);
    assert_string_equal(next.initiator_name, "iqn.2026-11.example:initiator");
    assert_memory_equal(next.isid, w->node[0].isid, LOGIN_ISID_LEN);
    log_out(w, w->node[0].n, &p);
    w->node[0].has_isid = false;
    log_in(w, w->node[0].n, &p);
    keep_config(w->node[0].n, &next);
    assert_string_equal(next.initiator_name, login.initiator_name);
    assert_memory_equal(next.isid, login.isid, LOGIN_ISID_LEN);
    cw_free(w);
}

/* The record is put right while the session is lost, and is refused by what it was. */
static void
config_changes_while_lost(void **state)
{
    struct cw *w = quiet_world(1);
    struct control_node *n = w->node[0].n;
    struct control_node_config cfg;
    struct login_config login;
    struct control_info info;
    struct person p;

    (void)state;
    log_in(w, n, &p);
    cw_config(w, 0, &login, &cfg);
    strcpy(login.target_name, "iqn.2026-11.example:t7");
    assert_int_equal(control_node_change(n, &cfg, NULL), 0);
    (void)sim_cut(w->sim, NULL, SIM_RESET);
    cw_pass(w, 10 * LOOP_NS_PER_S);
    control_node_get_info(n, &info);
    assert_int_equal(info.state, CONTROL_IS_LOST);
    assert_int_equal(info.why.domain, LUNETTE_DOM_LOGIN);
    cw_config(w, 0, &login, &cfg);
    assert_int_equal(control_node_change(n, &cfg, NULL), 0);
    control_node_get_info(n, &info);
    assert_true(info.down_ns > 9 * LOOP_NS_PER_S); /* it is the same loss */
    cw_pass(w, 10 * LOOP_NS_PER_S);
    control_node_get_info(n, &info);
    assert_int_equal(info.state, CONTROL_IS_UP);
    assert_int_equal(info.reopens, 1);
    cw_free(w);
}

/* ---- sessions without records --------------------------------------------------------------- */

static struct control_node *
node_named(struct cw *w, unsigned i)
{
    struct control_node_config cfg;
    struct login_config login;

    cw_config(w, i, &login, &cfg);
    return control_find(w->c, &cfg.name);
}

/* Records are gone when the next control plane comes: the sessions are kept with their exports, are
 * found by their names, can be logged out, and are kept again when the record is back. */
static void
records_are_gone(void **state)
{
    struct cw *w = settled_world(2);
    struct control_node_config cfg;
    struct login_config login;
    struct control_node *n;
    struct control_info info;
    struct person p;

    (void)state;
    cw_control_die(w);
    w->no_nodes = true;
    cw_control_start(w);
    cw_pass(w, 200 * CW_MS);
    assert_int_equal(w->events[CONTROL_FOUND], CW_NODES);
    for (unsigned i = 0; i < CW_NODES; i++) {
        n = node_named(w, i);
        assert_non_null(n);
        control_node_get_info(n, &info);
        assert_int_equal(info.state, CONTROL_IS_UP);
        assert_int_equal(info.exports, CW_LUNS);
        assert_false(info.has_config);
        assert_string_equal(info.owner, "sim");
        assert_ptr_equal(control_find_sid(w->c, info.sid), n);
        assert_int_equal(control_login(n, NULL, NULL), -EINVAL);
    }
    (void)sim_cut(w->sim, NULL, SIM_RESET);
    cw_pass(w, 1000 * CW_MS);
    control_node_get_info(n, &info);
    assert_int_equal(info.state, CONTROL_IS_LOST); /* nobody knows how to log in */
    cw_config(w, 1, &login, &cfg);
    assert_int_equal(control_node_add(w->c, &cfg, &n, NULL), 0);
    cw_pass(w, 3000 * CW_MS); /* the target has told a Time2Wait of 2 s */
    control_node_get_info(n, &info);
    assert_int_equal(info.state, CONTROL_IS_UP);
    assert_memory_equal(info.isid, w->node[1].isid, LOGIN_ISID_LEN);
    control_node_remove(n); /* and gone once more, while it is up */
    (void)sim_cut(w->sim, NULL, SIM_RESET);
    cw_pass(w, 3000 * CW_MS);
    control_node_get_info(n, &info);
    assert_int_equal(info.state, CONTROL_IS_UP); /* this one we knew */
    assert_int_equal(info.reopens, 2);
    for (unsigned i = 0; i < CW_NODES; i++) {
        log_out(w, node_named(w, i), &p);
    }
    cw_pass(w, 100 * CW_MS);
    assert_null(control_next(w->c, NULL));
    assert_int_equal(w->events[CONTROL_GONE], CW_NODES);
    assert_int_equal(cw_running(w, NULL), 0);
    cw_free(w);
}

/* ---- loops and exports ---------------------------------------------------------------------- */

static void
loops_share_sessions(void **state)
{
    struct cw *w = settled_world(2);
    struct control_info a, b;

    (void)state;
    control_node_get_info(w->node[0].n, &a);
    control_node_get_info(w->node[1].n, &b);
    assert_int_not_equal(a.loop, b.loop);
    assert_int_not_equal(a.sid, b.sid);
    cw_check(w);
    cw_free(w);
}

/* The connection to one loop is lost, and the data plane lives: nothing is logged in again. */
static void
one_loop_is_out_of_reach(void **state)
{
    struct cw *w = settled_world(2);

    (void)state;
    cw_loop_hiccup(w, 0);
    assert_false(control_is_ready(w->c));
    cw_settle(w);
    assert_int_equal(cw_logins(w), CW_NODES);
    cw_check(w);
    cw_free(w);
}

/* A login fails while another loop is out of reach: it is not tried again before that one has been
 * looked at, and nobody falls over where the last loop goes, too. */
static void
login_fails_while_a_loop_is_away(void **state)
{
    struct cw *w = quiet_world(2);

    (void)state;
    sim_stall(w->sim, NULL, true);
    for (unsigned i = 0; i < CW_NODES; i++)
        assert_int_equal(control_login(w->node[i].n, NULL, NULL), 0);
    until_state(w, CONTROL_IS_LOGIN);
    cw_pass(w, 1 * CW_MS);
    assert_int_equal(state_of(w, 1), CONTROL_IS_LOGIN);
    assert_ptr_equal(w->node[1].n->loop->ctl, w->ctl[1]);
    cw_loop_lose(w, 0);
    assert_int_equal(state_of(w, 0), CONTROL_IS_AWAY);
    cw_pass(w, 5 * LOOP_NS_PER_S);
    assert_int_equal(state_of(w, 1), CONTROL_IS_AWAY);
    cw_loop_lose(w, 1);
    cw_pass(w, 5 * LOOP_NS_PER_S);
    sim_stall(w->sim, NULL, false);
    for (unsigned i = 0; i < 2; i++)
        cw_loop_back(w, i);
    cw_pass(w, 5 * LOOP_NS_PER_S);
    for (unsigned i = 0; i < CW_NODES; i++)
        assert_int_equal(state_of(w, i), CONTROL_IS_UP);
    cw_free(w);
}

static unsigned
exports_of(const struct control_node *n)
{
    const uint8_t *lun;
    const char *path;
    unsigned found = 0;

    for (unsigned i = 0; control_node_lun(n, i, &lun, &path); i++)
        found += path[0] != '\0';
    return found;
}

static void
export_and_wait(struct cw *w, struct control_node *n, const struct control_export *e)
{
    struct person p;

    person_init(&p);
    assert_int_equal(control_set_export(n, e, &p.w, NULL), 0);
    wait_for(w, &p);
    assert_int_equal(p.err.code, 0);
}

/* To export all is to export those, too, whose exports had been ended one by one. */
static void
exports_of_all_again(void **state)
{
    struct cw *w = settled_world(1);
    const struct control_export all = {.all = true, .kind = "nbd"}, none = {.all = true};
    const struct control_export not_one = {.lun = {0, 1}};
    struct control_node *n = w->node[0].n;
    unsigned luns = exports_of(n);

    (void)state;
    assert_true(luns > 1);
    export_and_wait(w, n, &not_one);
    assert_int_equal(exports_of(n), luns - 1);
    export_and_wait(w, n, &all);
    assert_int_equal(exports_of(n), luns);
    export_and_wait(w, n, &not_one);
    export_and_wait(w, n, &none);
    assert_int_equal(exports_of(n), 0);
    export_and_wait(w, n, &all);
    assert_int_equal(exports_of(n), luns);
    cw_free(w);
}

static void
exports_come_and_go(void **state)
{
    struct cw *w = settled_world(1);
    struct control_export none = {.all = true}, one = {.lun = {0, 1}, .kind = "nbd"};
    struct control_export odd = {.lun = {0, 1}, .kind = "odd"};
    struct control_node *n;
    struct person p;

    (void)state;
    n = w->node[0].n;
    cw_export_breaks();
    cw_pass(w, 50 * CW_MS);
    assert_int_equal(w->events[CONTROL_EXPORT_STOPPED], 1);
    cw_settle(w); /* it was started again */
    export_and_wait(w, n, &none);
    assert_int_equal(exports_of(n), 0);
    person_init(&p);
    assert_int_equal(control_set_export(n, &odd, &p.w, NULL), 0);
    wait_for(w, &p);
    assert_true(p.err.code < 0 && p.err.msg[0] != '\0');
    export_and_wait(w, n, &one);
    assert_int_equal(exports_of(n), 1);
    w->no_nodes = true; /* the note tells of it */
    take_over(w);
    cw_pass(w, 200 * CW_MS);
    assert_int_equal(exports_of(node_named(w, 0)), 1);
    assert_int_equal(node_named(w, 0)->nexports, 2);
    cw_free(w);
}

/* ---- discovery ------------------------------------------------------------------------------ */

struct seeker {
    struct control_discovery *d;
    unsigned told;
    size_t targets;
    int err;
};

static void
seeker_done(void *user, struct discovery_result *res, const struct lunette_error *err)
{
    struct seeker *s = user;

    s->told++;
    s->err = err != NULL ? err->code : 0;
    if (res != NULL) {
        s->targets = res->ntargets;
        discovery_result_free(res);
    }
    control_discovery_free(&s->d);
}

static bool
seekers_are_told(void *user)
{
    const struct seeker *s = user;

    for (int i = 0; i < 8; i++) {
        if (s[i].told == 0)
            return false;
    }
    return true;
}

static void
targets_are_asked_for(void **state)
{
    struct cw *w = quiet_world(2);
    struct seeker s[8] = {{.told = 0}};
    struct control_node_config cfg;
    struct login_config login;
    struct discovery_callbacks cb = {.done = seeker_done};
    char name[ISCSI_NAME_MAX + 2] = "";

    (void)state;
    cw_config(w, 0, &login, &cfg);
    assert_int_equal(control_discover(w->c, &login, NULL, &cb, &s[0].d, NULL), -ENOTCONN);
    cw_pass(w, 100 * CW_MS);
    memset(name, 'a', sizeof(name) - 1); /* too long by one */
    memcpy(name, "iqn.2026-11.example:", 20);
    assert_int_equal(control_discover(w->c, &login, name, &cb, &s[0].d, NULL), -EINVAL);
    for (int round = 0; round < 3; round++) {
        cw_pass(w, 100 * CW_MS);
        for (int i = 0; i < 8; i++) {
            s[i] = (struct seeker){.told = 0};
            cb.user = &s[i];
            assert_int_equal(control_discover(w->c, &login, NULL, &cb, &s[i].d, NULL), 0);
        }
        if (round == 2) {
            cw_pass(w, CW_MS / 2);
            cw_data_restart(w, 0);
        }
        assert_true(sim_run_until(w->sim, seekers_are_told, s, CW_LIMIT_NS));
        for (int i = 0; i < 8; i++) {
            assert_true(round == 2 ? s[i].err == -EPIPE || s[i].err == 0 : s[i].err == 0);
            assert_int_equal(s[i].targets, s[i].err == 0 ? CW_NODES : 0);
        }
    }
    cw_pass(w, 100 * CW_MS);
    cw_check(w);
    cw_free(w);
}

/* ---- many ----------------------------------------------------------------------------------- */

#define MANY    2000
#define DEAD    (MANY * 3 / 10)
#define PORTALS 10 /* 3 of them do not answer */
#define GATE    32

struct crowd {
    struct cw *w;
    struct control_node *n[MANY];
    unsigned up, most;
    uint64_t first_ns;
};

static void
crowd_look(void *user)
{
    struct crowd *m = user;

    m->up = 0;
    for (unsigned i = 0; i < MANY; i++)
        m->up += m->n[i]->state == CONTROL_IS_UP;
    if (m->up > 0 && m->first_ns == 0)
        m->first_ns = sim_now_ns(m->w->sim);
    if (m->w->gate.inside > m->most)
        m->most = m->w->gate.inside;
}

static bool
crowd_is_up(void *user)
{
    struct crowd *m = user;

    crowd_look(m);
    return m->up == MANY - DEAD;
}

static bool
everybody_is_up(void *user)
{
    struct crowd *m = user;

    crowd_look(m);
    return m->up == MANY;
}

static void
crowd_add(struct crowd *m, unsigned i)
{
    struct control_node_config cfg;
    struct login_config login;

    cw_config(m->w, i % CW_NODES, &login, &cfg);
    cfg.nexports = 0;
    cfg.scan_manual = true;
    cfg.name.instance = i;
    (void)snprintf(login.portal.host, sizeof(login.portal.host), "10.0.0.%u", 10 + i % PORTALS);
    cfg.name.portal = login.portal;
    assert_int_equal(control_node_add(m->w->c, &cfg, &m->n[i], NULL), 0);
    assert_int_equal(control_login(m->n[i], NULL, NULL), 0);
}

/* A record that says nothing of exports leaves those that somebody has asked for: they are there
 * again, too, when the data plane has been away. */
static void
exports_outlive_records(void **state)
{
    struct cw *w = quiet_world(1);
    struct control_node_config cfg;
    struct login_config login;
    struct person p;

    (void)state;
    ask_login(w->node[0].n, &p);
    w->node[0].want = true;
    wait_for(w, &p);
    cw_settle(w);
    cw_config(w, 0, &login, &cfg);
    cfg.name = *control_node_name(w->node[0].n);
    cfg.exports = NULL;
    cfg.nexports = 0;
    assert_int_equal(control_node_change(w->node[0].n, &cfg, NULL), 0);
    cw_data_restart(w, 100 * CW_MS);
    cw_settle(w);
    cw_check(w);
    cw_free(w);
}

/* Of 2,000 sessions a third has a portal that does not answer: the others do not wait for them. */
static void
dead_portals_delay_nobody(void **state)
{
    struct crowd *m = calloc(1, sizeof(*m));
    struct sock_addr at[PORTALS];
    struct cw *w = m->w = cw_new(1, 2);
    uint64_t began;

    (void)state;
    w->quiet = true;
    w->gate_max = GATE;
    cw_control_start(w);
    for (unsigned i = 0; i < PORTALS; i++) {
        cw_listen(w, 10 + i, &at[i]);
        if (i % 10 < 3)
            sim_stall(w->sim, &at[i], true);
    }
    began = sim_now_ns(w->sim);
    for (unsigned i = 0; i < MANY; i++)
        crowd_add(m, i);
    assert_true(sim_run_until(w->sim, crowd_is_up, m, 20 * LOOP_NS_PER_S));
    print_message("all up after %u ms, the first after %u ms\n",
                  (unsigned)((sim_now_ns(w->sim) - began) / CW_MS),
                  (unsigned)((m->first_ns - began) / CW_MS));
    assert_true(m->first_ns - began < 100 * CW_MS);
    assert_true(sim_now_ns(w->sim) - began < 2500 * CW_MS); /* no more than the turns take */
    assert_true(m->most <= GATE);
    for (unsigned i = 0; i < 3; i++)
        sim_stall(w->sim, &at[i], false);
    assert_true(sim_run_until(w->sim, everybody_is_up, m, 60 * LOOP_NS_PER_S));
    assert_true(m->most <= GATE);
    free(m);
    cw_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(callers_share),
        cmocka_unit_test(last_word_counts),
        cmocka_unit_test(given_up_and_revived),
        cmocka_unit_test(tried_now),
        cmocka_unit_test(commands_fail),
        cmocka_unit_test(limits_at_takeover),
        cmocka_unit_test(config_changes_in_login),
        cmocka_unit_test(config_changes_while_lost),
        cmocka_unit_test(record_goes_while_somebody_waits),
        cmocka_unit_test(found_session_logs_in_by_record),
        cmocka_unit_test(logout_interrupts),
        cmocka_unit_test(first_login_gives_up),
        cmocka_unit_test(transport_is_known),
        cmocka_unit_test(first_login_never_gives_up),
        cmocka_unit_test(data_plane_goes_first),
        cmocka_unit_test(records_are_gone),
        cmocka_unit_test(loops_share_sessions),
        cmocka_unit_test(one_loop_is_out_of_reach),
        cmocka_unit_test(login_fails_while_a_loop_is_away),
        cmocka_unit_test(exports_of_all_again),
        cmocka_unit_test(exports_come_and_go),
        cmocka_unit_test(exports_outlive_records),
        cmocka_unit_test(targets_are_asked_for),
        cmocka_unit_test(dead_portals_delay_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
