/* SPDX-License-Identifier: MIT */
/* Either plane dies at every message in turn of a login with scan and exports, of a reopen, of a
 * logout, and of a takeover; another comes.  In the end all is as it is wanted, with no session
 * lost, none logged in to twice, and nothing left over.
 */
#include "tests/sim/control_world.h"

#include <stdio.h>
#include <string.h>

enum story { LOGIN, REOPEN, LOGOUT, TAKEOVER, TAKEOVER_LOST, LOGOUT_LOST, STORIES };
enum death { CONTROL_PLANE, DATA_PLANE };

static const char *const story_names[STORIES] = {"login",    "reopen",           "logout",
                                                 "takeover", "takeover of lost", "logout of lost"};

#define MESSAGES_MAX 4000
#define SEEDS        3 /* for each message */

static bool
is_cut(const struct cw *w)
{
    for (unsigned i = 0; i < w->loops; i++) {
        if (ipc_delayed_is_cut(w->binding[i]))
            return true;
    }
    return false;
}

struct until {
    struct cw *w;
    bool reopened; /* both sessions have to come back first */
};

static bool
over(void *user)
{
    const struct until *u = user;

    for (unsigned i = 0; u->reopened && i < CW_NODES; i++) {
        struct control_info info;

        control_node_get_info(u->w->node[i].n, &info);
        if (info.reopens == 0)
            return is_cut(u->w);
    }
    return is_cut(u->w) || cw_steady(u->w);
}

static bool
all_lost(void *user)
{
    struct cw *w = user;

    for (unsigned i = 0; i < CW_NODES; i++) {
        if (w->node[i].n->state != CONTROL_IS_LOST)
            return false;
    }
    return true;
}

/* Both sessions are lost, and cannot come back yet. */
static void
lose(struct cw *w)
{
    sim_refuse(w->sim, NULL, true);
    (void)sim_cut(w->sim, NULL, SIM_RESET);
    assert_true(sim_run_until(w->sim, all_lost, w, CW_LIMIT_NS));
    cw_pass(w, sim_below(w->sim, 100) * CW_MS);
}

static void
target_is_back(void *user)
{
    sim_refuse(((struct cw *)user)->sim, NULL, false);
}

/* Brings the world to where the story begins, and begins it. */
static void
begin(struct cw *w, enum story story, unsigned which, uint64_t message)
{
    cw_control_start(w);
    cw_want(w, true);
    if (story != LOGIN)
        cw_settle(w);
    if (story == TAKEOVER_LOST || story == LOGOUT_LOST) {
        lose(w);
        sim_at(w->sim, sim_below(w->sim, 300) * CW_MS, target_is_back, w);
    }
    if (story == TAKEOVER || story == TAKEOVER_LOST) {
        cw_control_die(w);
        cw_control_start(w);
    }
    ipc_delayed_cut_at(w->binding[which], message);
    if (story == REOPEN)
        (void)sim_cut(w->sim, NULL, SIM_RESET);
    if (story == LOGOUT || story == LOGOUT_LOST)
        cw_want(w, false);
}

/* A logout that its control plane has begun is ended by the next one, though nobody asks for it
 * again; one that had not begun leaves all as it was. */
static void
logout_is_whole(struct cw *w)
{
    struct control_info info;

    w->quiet = true;
    cw_control_start(w);
    cw_pass(w, 6000 * CW_MS);
    assert_true(w->ready);
    for (unsigned i = 0; i < CW_NODES; i++) {
        control_node_get_info(w->node[i].n, &info);
        if (info.state != CONTROL_IS_DOWN)
            assert_true(info.state == CONTROL_IS_UP && info.settled && info.exports == CW_LUNS);
    }
    w->quiet = false;
    cw_want(w, true); /* forgets what was asked for before */
    cw_want(w, false);
}

/* The control plane dies and another comes. */
static void
another_control_plane(struct cw *w, enum story story)
{
    uint32_t sid[CW_NODES];
    unsigned n = cw_running(w, sid);
    uint64_t logins = cw_logins(w);

    cw_control_die(w);
    cw_pass(w, sim_below(w->sim, 2 * CW_GRACE_MS) * CW_MS);
    if (story == LOGOUT || story == LOGOUT_LOST)
        logout_is_whole(w);
    else
        cw_control_start(w);
    cw_settle(w);
    if (story == LOGOUT || story == LOGOUT_LOST)
        return;
    for (unsigned i = 0; i < n; i++)
        assert_true(cw_has_session(w, sid[i]));
    /* A login may have been under way at the target, which the next one makes again.  In a reopen
     * a connection may be lost already, and nobody has noticed. */
    assert_true(cw_logins(w) - logins <= 2 * (CW_NODES - (story == REOPEN ? 0 : n)));
}

static void
another_data_plane(struct cw *w)
{
    cw_data_restart(w, sim_below(w->sim, 500) * CW_MS);
    cw_settle(w);
}

/* False: the story had fewer messages. */
static bool
tell(enum story story, enum death death, uint64_t message, uint64_t seed, unsigned loops)
{
    struct cw *w = cw_new(seed, loops);
    struct until until = {.w = w, .reopened = story == REOPEN};
    bool died;

    (void)snprintf(w->what, sizeof(w->what), "%s, the %s plane dies at message %u, %u loops",
                   story_names[story], death == DATA_PLANE ? "data" : "control", (unsigned)message,
                   loops);
    begin(w, story, (unsigned)(seed % loops), message);
    assert_true(sim_run_until(w->sim, over, &until, CW_LIMIT_NS));
    died = is_cut(w);
    if (died && death == CONTROL_PLANE)
        another_control_plane(w, story);
    else if (died)
        another_data_plane(w);
    else
        ipc_delayed_cut_at(w->binding[seed % loops], 0);
    cw_check(w);
    if (story == TAKEOVER && death == CONTROL_PLANE) {
        assert_int_equal(cw_logins(w), CW_NODES);
        for (unsigned i = 0; i < CW_NODES; i++)
            assert_int_equal(w->node[i].founds, 1);
    }
    cw_want(w, false);
    cw_settle(w);
    cw_check(w);
    cw_free(w);
    return died;
}

static void
tell_all(enum death death, unsigned loops)
{
    for (enum story story = LOGIN; story < STORIES; story++) {
        uint64_t message = 1;

        for (bool died = true; died; message++) {
            died = false;
            for (uint64_t i = 0; i < SEEDS; i++)
                died |= tell(story, death, message, (message * STORIES + story) * SEEDS + i, loops);
            assert_true(message < MESSAGES_MAX);
        }
        print_message("%s, %u loops: %u messages\n", story_names[story], loops,
                      (unsigned)message - 2);
        assert_true(message > 10);
    }
}

static void
control_plane_dies(void **state)
{
    (void)state;
    tell_all(CONTROL_PLANE, 1);
    tell_all(CONTROL_PLANE, 2);
}

static void
data_plane_dies(void **state)
{
    (void)state;
    tell_all(DATA_PLANE, 1);
    tell_all(DATA_PLANE, 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_plane_dies),
        cmocka_unit_test(data_plane_dies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
