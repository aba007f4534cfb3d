/* SPDX-License-Identifier: MIT */
/* What a session that is kept by login/reopen.h hears, and losses, closes and want of memory at any
 * moment. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "login/reopen_task.h"
#include "tests/support/alloc_fail.h"
#include "tests/test.h"
#include "tests/unit/login/tale.h"

/* ---- events ---------------------------------------------------------------------------------- */

/* Events were dropped: it asks for the connection. */
static void
events_lost(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        bool down = seed % 2, memory = seed % 4 < 2;
        struct tale t;

        tale_begin(&t, seed, 0, NULL);
        tale_pass(&t, SEC);
        if (down)
            fake_conn_down(t.w, t.c);
        t.w->no_memory = !memory; /* for the question */
        fake_lose_events(t.w);
        fake_lose_events(t.w);
        tale_pass(&t, 200 * MS);
        t.w->no_memory = false;
        if (down) {
            if (t.backs == 0)
                tale_run_until_back(&t);
        } else {
            tale_pass(&t, SEC);
        }
        assert_int_equal(t.losts, down);
        assert_int_equal(t.lost_events, 2);
        tale_end(&t);
    }
}

/* What happens to units and exports is the owner's, whether the session is up or not, and says
 * nothing of the session. */
static void
units_are_the_owners(void **state)
{
    struct tale t;

    (void)state;
    tale_begin(&t, 51, 0, NULL);
    tale_pass(&t, SEC);
    fake_unit_event(t.w, t.res.sid, ISCSI_KEVENT_LUN);
    fake_unit_event(t.w, t.res.sid, ISCSI_KEVENT_EXPORT_STOPPED);
    tale_pass(&t, SEC);
    assert_int_equal(t.others, 2);
    assert_int_equal(t.losts, 0);
    t.w->outage_until_ns = t.w->l.now_ns + 5 * SEC;
    fake_lose(t.w, t.c, 0, 0);
    tale_pass(&t, SEC);
    fake_unit_event(t.w, t.res.sid, ISCSI_KEVENT_LUN);
    tale_pass(&t, SEC);
    assert_int_equal(t.others, 3);
    assert_int_equal(t.losts, 1);
    tale_run_until_back(&t);
    tale_end(&t);
}

/* The data plane says that the session is blocked, and what told of the connection is not there. */
static void
session_state_tells(void **state)
{
    struct tale t;

    (void)state;
    tale_begin(&t, 50, 0, NULL);
    tale_pass(&t, SEC);
    fake_conn_down(t.w, t.c);
    fake_session_state(t.w, t.res.sid, IPC_SESSION_BLOCKED);
    tale_run_until_back(&t);
    assert_int_equal(t.others, 1);
    fake_session_state(t.w, t.res.sid, IPC_SESSION_RUNNING);
    tale_pass(&t, SEC);
    assert_int_equal(t.others, 2);
    assert_int_equal(t.losts, 1);
    /* while a login is under way, the owner hears of it as well */
    t.w->outage_until_ns = t.w->l.now_ns + 5 * SEC;
    fake_lose(t.w, t.c, 0, 0);
    tale_pass(&t, SEC);
    fake_session_state(t.w, t.res.sid, IPC_SESSION_FAILED);
    tale_pass(&t, SEC);
    assert_int_equal(t.others, 3);
    tale_run_until_back(&t);
    tale_end(&t);
}

static void
told_of_loss(void **state)
{
    struct lunette_error why;

    (void)state;
    (void)lunette_fail(&why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "found so");
    for (int32_t wait = -1; wait < 4; wait++) {
        struct tale t;

        tale_begin(&t, 51, 0, NULL);
        tale_pass(&t, SEC);
        fake_conn_down(t.w, t.c);
        reopen_lost(t.r, &why, wait);
        reopen_lost(t.r, &why, wait);
        assert_int_equal(t.losts, 0); /* never from inside the call */
        tale_run_until_back(&t);
        assert_int_equal(t.losts, 1);
        assert_string_equal(t.why.msg, "found so");
        assert_in_range(t.down_ns, (wait < 0 ? 2 : wait) * SEC,
                        (wait < 0 ? 2 : wait) * SEC + 100 * MS);
        tale_end(&t);
    }
}

/* The loss that is told is not one, as when it was that of a connection before this one: what is
 * there is stopped, and the session comes back. */
static void
not_lost(void **state)
{
    struct tale t;

    (void)state;
    tale_begin(&t, 52, 1, NULL);
    t.w->gone_is_ok = true;
    tale_pass(&t, SEC);
    fake_cut(t.w, t.c);
    tale_run_until_back(&t);
    assert_int_equal(t.c->stops, 1);
    assert_int_equal(t.c->stopped_how, STOP_CONN_RECOVER);
    tale_end(&t);
}

/* A request to log out, or to negotiate: out in order within the time given, and in again after the
 * Time2Wait of the response. */
static void
asked_to_leave(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        uint16_t wait = (uint16_t)(seed % 3);
        struct tale t;

        tale_begin(&t, seed, 0, NULL);
        tale_pass(&t, SEC);
        t.w->logout_time2wait = wait;
        t.w->nconnects = 0;
        fake_async(t.w, t.c, seed % 2 ? ISCSI_ASYNC_LOGOUT_REQUEST : ISCSI_ASYNC_NEGOTIATE, 0, 0,
                   10);
        fake_async(t.w, t.c, ISCSI_ASYNC_LOGOUT_REQUEST, 0, 0, 10); /* it says so twice */
        tale_run_until_back(&t);
        assert_int_equal(t.w->logouts, 1);
        assert_int_equal(t.losts, 1);
        assert_int_equal(t.others, 0);
        assert_non_null(strstr(t.why.msg, "in order"));
        assert_in_range(t.w->connected_ns[0], t.lost_ns + wait * SEC,
                        t.lost_ns + wait * SEC + 10 * MS);
        assert_int_equal(t.c->stopped_how, STOP_CONN_RECOVER);
        assert_int_equal(t.w->sessions_made, 1);
        assert_int_equal(t.w->requests[ISCSI_UEVENT_DESTROY_CONN], 0);
        tale_end(&t);
    }
}

/* The target does not answer the Logout, or answers that it failed: it ends within the time that
 * was given, and the session comes back. */
static void
leaving_goes_wrong(void **state)
{
    static const struct {
        uint16_t given;
        uint64_t limit_ms;
    } limits[] = {{0, 5000}, {1, 1000}, {10, 10000}, {30, 20000}, {65535, 32772500}};

    (void)state;
    for (unsigned i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct tale t;
        uint64_t began;

        tale_begin(&t, 60, 0, NULL);
        tale_pass(&t, SEC);
        t.w->silent_logout = true;
        began = t.w->l.now_ns;
        fake_async(t.w, t.c, ISCSI_ASYNC_LOGOUT_REQUEST, 0, 0, limits[i].given);
        tale_run_until_back(&t);
        assert_in_range(t.lost_ns - began, limits[i].limit_ms * MS,
                        limits[i].limit_ms * MS + 50 * MS);
        assert_in_range(t.down_ns, 2 * SEC, 2 * SEC + 100 * MS); /* as agreed */
        t.w->silent_logout = false;
        t.w->logout_response = 2;
        t.w->logout_time2wait = 1;
        tale_pass(&t, SEC);
        fake_async(t.w, t.c, ISCSI_ASYNC_LOGOUT_REQUEST, 0, 0, limits[i].given);
        tale_run_until_back(&t);
        assert_in_range(t.down_ns, SEC, SEC + 100 * MS);
        t.w->silent_logout = true; /* and the connection breaks before the answer */
        tale_pass(&t, SEC);
        fake_async(t.w, t.c, ISCSI_ASYNC_LOGOUT_REQUEST, 0, 0, 30);
        tale_pass(&t, SEC / 2);
        fake_lose(t.w, t.c, 3, 0);
        tale_run_until_back(&t);
        assert_in_range(t.down_ns, 3 * SEC, 3 * SEC + 100 * MS);
        t.w->silent_logout = false;
        tale_end(&t);
    }
}

/* However much time the target gives, a data plane that does not tidy up is not waited for so long.
 */
static void
leaving_is_not_undone(void **state)
{
    struct tale t;
    uint64_t began;

    (void)state;
    tale_begin(&t, 63, 0, NULL);
    tale_pass(&t, SEC);
    /* SEND_PDU, then STOP_CONN, which is answered after 100 s */
    t.w->stall = STALL_LATE;
    t.w->stall_at = t.w->nrequests + 2;
    began = t.w->l.now_ns;
    fake_async(t.w, t.c, ISCSI_ASYNC_LOGOUT_REQUEST, 0, 0, 65535);
    while (t.losts == 0)
        assert_true(world_step(t.w));
    assert_in_range(t.lost_ns - began, LOGOUT_TIMEOUT_MS * MS, (LOGOUT_TIMEOUT_MS + 100) * MS);
    tale_run_until_back(&t);
    assert_true(t.back_ns - began > 100 * SEC); /* when it has tidied up */
    tale_end(&t);
}

/* The target is going to drop the connection: the Time2Wait of the message, and if it does not drop
 * it, we do. */
static void
dropped(void **state)
{
    (void)state;
    for (uint8_t event = ISCSI_ASYNC_DROP_CONNECTION; event <= ISCSI_ASYNC_DROP_SESSION; event++) {
        for (int drops = 0; drops < 2; drops++) {
            struct tale t;

            tale_begin(&t, 61, 0, NULL);
            tale_pass(&t, SEC);
            t.w->nconnects = 0;
            fake_async(t.w, t.c, event, t.res.cid, 3, 0);
            if (drops)
                fake_lose(t.w, t.c, 3, 0);
            tale_run_until_back(&t);
            assert_int_equal(t.w->logouts, 0);
            assert_int_equal(t.losts, 1);
            assert_int_equal(t.c->stops, drops ? 0 : 1);
            assert_in_range(t.w->connected_ns[0], t.lost_ns + 3 * SEC,
                            t.lost_ns + 3 * SEC + 10 * MS);
            tale_end(&t);
        }
    }
}

/* A target that drops us while we log out at its wish, or that says again and again that it is
 * going to drop us: it ends once, and no later. */
static void
dropped_while_leaving(void **state)
{
    static const uint8_t events[] = {ISCSI_ASYNC_DROP_CONNECTION, ISCSI_ASYNC_DROP_SESSION};

    (void)state;
    for (size_t i = 0; i < sizeof(events); i++) {
        struct tale t;
        uint64_t began;

        tale_begin(&t, 64, 0, NULL);
        tale_pass(&t, SEC);
        t.w->silent_logout = true;
        began = t.w->l.now_ns;
        fake_async(t.w, t.c, ISCSI_ASYNC_LOGOUT_REQUEST, 0, 0, 10);
        tale_pass(&t, SEC / 2);
        fake_async(t.w, t.c, events[i], t.res.cid, 3, 0); /* the event of the loss itself is lost */
        tale_run_until_back(&t);
        assert_int_equal(t.losts, 1);
        assert_in_range(t.lost_ns - began, 0, 10 * SEC + 50 * MS);
        tale_pass(&t, 60 * SEC);
        assert_int_equal(t.backs, 1);
        t.w->silent_logout = false;
        began = t.w->l.now_ns;
        while (t.losts == 1 && t.w->l.now_ns - began < 10 * SEC) {
            fake_async(t.w, t.c, events[i], t.res.cid, 3, 0);
            tale_pass(&t, 300 * MS);
        }
        assert_int_equal(t.losts, 2);
        assert_in_range(t.lost_ns - began, SEC, SEC + 350 * MS);
        tale_run_until_back(&t);
        tale_end(&t);
    }
}

/* The rest is the owner's: other events, another connection. */
static void
not_ours(void **state)
{
    struct tale t;

    (void)state;
    tale_begin(&t, 62, 0, NULL);
    fake_async(t.w, t.c, ISCSI_ASYNC_DROP_CONNECTION, (uint16_t)(t.res.cid + 1), 3, 0);
    fake_async(t.w, t.c, ISCSI_ASYNC_SCSI, 0, 0, 0);
    fake_async(t.w, t.c, 250, 0, 0, 0);
    tale_pass(&t, 5 * SEC);
    assert_int_equal(t.others, 3);
    assert_int_equal(t.losts, 0);
    tale_end(&t);
}

/* A message that came with the last of the login is the session's. */
static void
message_in_login(void **state)
{
    static const struct step then_async[] = {
        {"", "AuthMethod=None TargetPortalGroupTag=1"}, {"", "@answer @async"}, END};

    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct tale t;

        tale_begin(&t, seed, 0, NULL);
        t.w->scripts[1] = then_async;
        t.w->nscripts = 2;
        tale_lose(&t, 0);
        tale_run_until_back(&t);
        tale_pass(&t, SEC / 2);
        assert_true(t.others + t.losts > 1); /* what puppet.c sends is an event of its choice */
        tale_end(&t);
    }
}

/* ---- at any moment -------------------------------------------------------------------------- */

/* The connection breaks, again and again, after any number of steps: also in the middle of a login,
 * and between its end and its owner. */
static void
cut_anywhere(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct tale t;
        unsigned step = 0;

        tale_begin(&t, seed, 0, NULL);
        t.w->gone_is_ok = true;
        for (int i = 0; i < 12; i++) {
            unsigned steps = (unsigned)(world_random(t.w) % 70);

            if (t.c->bound)
                fake_lose(t.w, t.c, 0, 0);
            for (step = 0; step < steps; step++)
                (void)world_step(t.w);
        }
        while (!t.c->started || t.backs < t.losts || t.losts == 0)
            assert_true(world_step(t.w));
        tale_pass(&t, 20 * SEC); /* nothing happens any more */
        assert_true(t.c->started);
        assert_int_equal(t.backs, t.losts);
        tale_end(&t);
    }
}

static void
begin_trouble(struct tale *t, unsigned kind)
{
    static const struct step *const scripts[] = {say_good, say_not_found, say_busy, say_moved_now,
                                                 say_good};

    memcpy(t->w->scripts, scripts, sizeof(scripts));
    t->w->nscripts = 5;
    tale_pass(t, SEC);
    if (kind == 0)
        fake_lose(t->w, t->c, 0, 0);
    else if (kind == 1)
        fake_async(t->w, t->c, ISCSI_ASYNC_LOGOUT_REQUEST, 0, 0, 10);
    else if (kind == 2)
        fake_async(t->w, t->c, ISCSI_ASYNC_DROP_SESSION, 0, 0, 0);
    else
        fake_lose_events(t->w);
}

static void
own_transport(struct login_config *cfg)
{
    (void)strcpy(cfg->transport, "own");
}

/* The owner closes the session after any number of steps. */
static void
close_anywhere(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 4; kind++) {
        for (int own = 0; own < 2; own++) {
            for (unsigned steps = 0; steps < 260; steps += 1 + kind) {
                struct tale t;

                tale_begin(&t, 1 + steps % 7, 2, own ? own_transport : NULL);
                begin_trouble(&t, kind);
                for (unsigned i = 0; i < steps; i++)
                    (void)world_step(t.w);
                tale_end(&t);
            }
        }
    }
}

/* Or inside any callback. */
static void
close_in_callback(void **state)
{
    static const char *const in[] = {"lost", "waiting", "back", "gave_up", "event"};

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct tale t;

        tale_begin(&t, 70, 1, NULL);
        t.w->scripts[1] = i == 3 ? say_not_found : say_good;
        t.w->nscripts = 2;
        t.free_in = in[i];
        tale_pass(&t, SEC);
        if (i == 4)
            fake_async(t.w, t.c, ISCSI_ASYNC_SCSI, 0, 0, 0);
        else
            fake_lose(t.w, t.c, 0, 0);
        world_run(t.w, &t.over);
        assert_null(t.r);
        tale_end(&t);
    }
}

/* Before the first login, and after it has failed. */
static void
free_early(void **state)
{
    struct reopen_callbacks cb = {.gave_up = tale_on_gave_up};
    struct world *w = world_new(1);
    struct login_gate gate;
    struct login_config cfg;
    struct reopen_config rc = {.login = &cfg};
    struct iscsi_reopen *r = NULL;

    (void)state;
    reopen_free(&r);
    login_gate_init(&gate, &w->l, 1);
    world_config(w, &cfg);
    assert_int_equal(reopen_new(w->ctl, &gate, &rc, &cb, &r, NULL), 0);
    reopen_free(&r);
    assert_true(ctl_idle(w->ctl));
    alloc_left = 0;
    assert_int_equal(reopen_new(w->ctl, &gate, &rc, &cb, &r, NULL), -ENOMEM);
    alloc_left = -1;
    world_free(w);
}

/* The copy of the secrets is overwritten as soon as the owner lets go, though a reply is still
 * due. */
static void
secrets(void **state)
{
    const struct iscsi_reopen *kept;
    struct iscsi_reopen *r;
    struct tale t;

    (void)state;
    tale_begin(&t, 71, 0, NULL);
    tale_pass(&t, SEC);
    fake_lose_events(t.w);
    while (t.lost_events == 0)
        assert_true(world_step(t.w));
    kept = r = t.r;
    assert_non_null(kept->packed);
    reopen_free(&r);
    assert_false(ctl_idle(t.w->ctl)); /* it is asking */
    assert_null(kept->packed);
    t.r = NULL;
    fake_conn_down(t.w, t.c);
    tale_end(&t);
}

/* The first allocation that fails, for each n: the session comes back all the same. */
static void
no_memory_at_n(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        for (int own = 0; own < 2; own++) {
            for (long n = 0; n < 50; n++) {
                struct tale t;

                tale_begin(&t, 72, 0, own ? own_transport : NULL);
                begin_trouble(&t, kind);
                alloc_left = n;
                world_run(t.w, &t.back);
                alloc_left = -1;
                assert_true(t.back);
                assert_int_equal(t.losts, 1);
                tale_end(&t);
            }
        }
    }
}

/* None at all for a while. */
static void
no_memory_for_long(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        struct tale t;

        tale_begin(&t, 73, 1, NULL);
        tale_pass(&t, SEC);
        t.w->no_memory = true;
        if (kind == 0)
            fake_lose(t.w, t.c, 0, 0);
        else
            fake_async(t.w, t.c, kind == 1 ? ISCSI_ASYNC_LOGOUT_REQUEST : ISCSI_ASYNC_DROP_SESSION,
                       0, 0, 5);
        tale_pass(&t, 10 * SEC);
        assert_int_equal(t.backs, 0);
        assert_int_equal(t.gave_ups, 0);
        t.w->no_memory = false;
        tale_run_until_back(&t);
        tale_end(&t);
    }
}

static void
own_transport_of_four(struct login_config *cfg)
{
    own_transport(cfg);
    cfg->nr_connections = 4;
}

/* The owner lets go while there is no memory to give the endpoints of members back. */
static void
members_without_memory(void **state)
{
    (void)state;
    for (long n = 0; n < 12; n++) {
        struct tale t;

        tale_begin(&t, 75 + (uint64_t)n, 0, own_transport_of_four);
        t.w->several = true;
        tale_pass(&t, SEC);
        assert_int_equal(t.w->open_eps, 4);
        alloc_left = n;
        reopen_free(&t.r);
        alloc_left = -1;
        tale_end(&t);
    }
}

/* A data plane that has not undone a try is not given another. */
static void
untidy(void **state)
{
    struct tale t;
    uint64_t stalled;

    (void)state;
    tale_begin(&t, 74, 0, NULL);
    t.w->scripts[1] = say_busy;
    t.w->scripts[2] = say_good;
    t.w->nscripts = 3;
    tale_lose(&t, 0);
    while (t.w->requests[ISCSI_UEVENT_BIND_CONN] < 2)
        assert_true(world_step(t.w));
    /* GET_TRANSPORT, BIND_CONN, SEND_PDU, then STOP_CONN, which is answered after 100 s */
    t.w->stall = STALL_LATE;
    t.w->stall_at = t.w->nrequests + 2;
    stalled = t.w->l.now_ns;
    tale_run_until_back(&t);
    assert_true(t.back_ns - stalled > 100 * SEC);
    assert_int_equal(t.w->nconnects, 2);
    tale_end(&t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_lost),
        cmocka_unit_test(session_state_tells),
        cmocka_unit_test(units_are_the_owners),
        cmocka_unit_test(told_of_loss),
        cmocka_unit_test(not_lost),
        cmocka_unit_test(asked_to_leave),
        cmocka_unit_test(leaving_goes_wrong),
        cmocka_unit_test(leaving_is_not_undone),
        cmocka_unit_test(dropped),
        cmocka_unit_test(dropped_while_leaving),
        cmocka_unit_test(not_ours),
        cmocka_unit_test(message_in_login),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(close_anywhere),
        cmocka_unit_test(close_in_callback),
        cmocka_unit_test(free_early),
        cmocka_unit_test(secrets),
        cmocka_unit_test(no_memory_at_n),
        cmocka_unit_test(no_memory_for_long),
        cmocka_unit_test(members_without_memory),
        cmocka_unit_test(untidy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
