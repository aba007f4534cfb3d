/* SPDX-License-Identifier: MIT */
/* When a session that is lost is logged in to again, where, and when no more; and the gate. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "login/backoff.h"
#include "tests/test.h"
#include "tests/unit/login/tale.h"

/* ---- when it tries -------------------------------------------------------------------------- */

/* The first try is made when Time2Wait is over, and not later. */
static void
first_try(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        for (uint32_t wait = 0; wait < 3; wait++) {
            struct tale t;
            struct reopen_info info;

            tale_begin(&t, seed, 0, NULL);
            tale_lose(&t, wait);
            tale_run_until_back(&t);
            assert_int_equal(t.losts, 1);
            assert_string_equal(t.why.msg, "the connection was cut");
            assert_int_equal(t.waits, 1);
            assert_int_equal(t.attempt[0], 1);
            assert_int_equal(t.delay_ms[0], wait * 1000);
            assert_in_range(t.w->connected_ns[0], t.lost_ns + wait * SEC,
                            t.lost_ns + wait * SEC + 10 * MS);
            assert_int_equal(t.down_ns, t.back_ns - t.lost_ns);
            assert_int_equal(t.w->sessions_made, 1);
            reopen_get_info(t.r, &info);
            assert_int_equal(info.state, REOPEN_UP);
            assert_int_equal(info.reopens, 1);
            assert_int_equal(info.why.code, 0);
            tale_end(&t);
        }
    }
}

/* A Time2Wait beyond what the RFC allows is not waited for. */
static void
longest_wait(void **state)
{
    struct tale t;

    (void)state;
    tale_begin(&t, 3, 0, NULL);
    tale_lose(&t, 65535);
    tale_run_until_back(&t);
    assert_in_range(t.down_ns, 3600 * SEC, 3601 * SEC);
    tale_end(&t);
}

static void
outage(struct tale *t, uint64_t ns, bool black_hole)
{
    tale_pass(t, SEC);
    t->w->nconnects = 0;
    t->waits = 0;
    t->w->outage_until_ns = t->w->l.now_ns + ns;
    t->w->black_hole = black_hole;
    fake_lose(t->w, t->c, 0, 0);
    tale_run_until_back(t);
}

/* However long an outage of up to half a minute is, it is found to be over within half a second,
 * both where connections are refused and where nobody answers. */
static void
found_soon(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct tale t;
        uint64_t ns = seed * 450 * MS;

        tale_begin(&t, seed, 0, NULL);
        outage(&t, ns, seed % 2 == 0);
        assert_in_range(t.down_ns, ns - 3 * MS, ns + 500 * MS);
        assert_int_equal(t.attempt[0], 1);
        assert_int_equal(t.delay_ms[0], 0);
        for (unsigned i = 1; i < t.waits; i++) {
            uint32_t step = i < 6 ? 20u << (i - 1) : 400; /* 20, 40, ... 320, 400 */

            assert_int_equal(t.attempt[i], i + 1);
            assert_in_range(t.delay_ms[i], 10, step);
            if (seed % 2 == 1) /* where a try takes no time, half of the step passes at least */
                assert_true(t.delay_ms[i] + 30 >= step / 2);
        }
        assert_true(t.waits <= ns / (190 * MS) + 8);
        tale_end(&t);
    }
}

/* After half a minute the steps grow to ten seconds. */
static void
slow_later(void **state)
{
    struct tale t;

    (void)state;
    for (int black = 0; black < 2; black++) {
        tale_begin(&t, 7, 0, NULL);
        outage(&t, 3600 * SEC, black);
        assert_in_range(t.down_ns, 3600 * SEC, 3611 * SEC);
        assert_in_range(t.waits, 360, black ? 500 : 720);
        tale_end(&t);
    }
}

/* Sessions that are lost together do not come together, except for the first try. */
static void
jitter(void **state)
{
    struct tale a, b;
    unsigned same = 0;

    (void)state;
    tale_begin(&a, 11, 0, NULL);
    tale_begin(&b, 12, 0, NULL);
    outage(&a, 20 * SEC, false);
    outage(&b, 20 * SEC, false);
    for (unsigned i = 10; i < 40; i++)
        same += a.delay_ms[i] == b.delay_ms[i];
    assert_true(same < 5);
    tale_end(&a);
    tale_end(&b);
}

/* A connection whose round trip takes longer than a try may take at first is given its time. */
static void
long_way(void **state)
{
    struct tale t;

    (void)state;
    tale_begin(&t, 5, 0, NULL);
    t.w->delay_max_ns = 900 * MS;
    tale_lose(&t, 0);
    tale_run_until_back(&t); /* by chance, or as the steps grow */
    t.w->nconnects = 0;
    tale_lose(&t, 0);
    tale_run_until_back(&t);
    tale_end(&t);
}

/* A session that is lost as soon as it is up is not logged in to without a pause. */
static void
flapping(void **state)
{
    struct tale t;
    uint64_t began;

    (void)state;
    tale_begin(&t, 9, 0, NULL);
    tale_pass(&t, SEC);
    began = t.w->l.now_ns;
    for (int i = 0; i < 20; i++) {
        fake_lose(t.w, t.c, 0, 0);
        tale_run_until_back(&t);
    }
    assert_true(t.w->l.now_ns - began > 14 * 200 * MS);
    assert_true(t.down_ns >= 200 * MS);
    tale_lose(&t, 0); /* after it was up for a second */
    tale_run_until_back(&t);
    assert_true(t.down_ns < 50 * MS);
    tale_end(&t);
}

/* But one that serves requests is of use, however short a time it is up: it comes back soon, with a
 * short pause, however often that happens. */
static void
flapping_in_use(void **state)
{
    struct tale t;
    uint64_t began;

    (void)state;
    tale_begin(&t, 11, 0, NULL);
    tale_pass(&t, SEC);
    began = t.w->l.now_ns;
    for (int i = 0; i < 2000; i++) {
        tale_pass(&t, 30 * MS);
        fake_lose_served(t.w, t.c);
        tale_run_until_back(&t);
        assert_in_range(t.down_ns, 10 * MS, 60 * MS);
    }
    assert_true(t.w->l.now_ns - began > 60 * SEC);
    for (int i = 0; i < 10; i++) { /* when it serves none any more, that is another thing */
        fake_lose(t.w, t.c, 0, 0);
        tale_run_until_back(&t);
    }
    assert_true(t.down_ns >= 200 * MS);
    tale_end(&t);
}

static void
now(void **state)
{
    struct reopen_info info;
    struct tale t;
    uint64_t asked;

    (void)state;
    tale_begin(&t, 10, 0, NULL);
    reopen_now(t.r); /* nothing is lost */
    tale_pass(&t, SEC);
    t.w->outage_until_ns = t.w->l.now_ns + 600 * SEC;
    fake_lose(t.w, t.c, 2, 0);
    tale_pass(&t, SEC);
    reopen_now(t.r); /* Time2Wait is not skipped */
    reopen_get_info(t.r, &info);
    assert_int_equal(info.state, REOPEN_WAITING);
    assert_in_range(info.next_try_ns, SEC - 10 * MS, SEC + 10 * MS);
    tale_pass(&t, 300 * SEC);
    t.w->outage_until_ns = 0;
    do /* somewhere in one of the long waits */
        tale_pass(&t, 100 * MS);
    while (reopen_get_info(t.r, &info), t.backs == 0 && info.next_try_ns < 2 * SEC);
    if (t.backs == 0) {
        asked = t.w->l.now_ns;
        reopen_now(t.r);
        tale_run_until_back(&t);
        assert_true(t.back_ns - asked < 50 * MS);
    }
    tale_end(&t);
}

/* A target that takes the connection and says nothing is given time for an answer twice. */
static void
silent_target(void **state)
{
    struct tale t;

    (void)state;
    tale_begin(&t, 4, 1, NULL);
    t.w->scripts[1] = t.w->scripts[2] = t.w->scripts[3] = say_silent;
    t.w->scripts[4] = say_good;
    t.w->nscripts = 5;
    tale_lose(&t, 0);
    tale_run_until_back(&t);
    assert_in_range(t.down_ns, 6400 * MS, 6500 * MS);
    tale_end(&t);
}

static void
mute(struct tale *t, uint64_t seed, uint64_t ns)
{
    tale_begin(t, seed, 0, NULL);
    t->w->mute = true;
    outage(t, ns, false);
}

/* A portal that takes connections and says nothing is found to answer again as soon as one that
 * does not take any, once the patient tries are over. */
static void
mute_found_soon(void **state)
{
    struct tale t;

    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        uint64_t ns = 6100 * MS + seed * 390 * MS;

        mute(&t, seed, ns);
        assert_in_range(t.down_ns, ns, ns + 500 * MS);
        tale_end(&t);
    }
    for (uint64_t seed = 1; seed <= 20; seed++) {
        mute(&t, seed, seed * 300 * MS);
        assert_in_range(t.down_ns, seed * 300 * MS, seed * 300 * MS + 4100 * MS);
        tale_end(&t);
    }
    mute(&t, 1, 600 * SEC); /* who has waited for long is in no hurry */
    assert_in_range(t.down_ns, 600 * SEC, 630 * SEC);
    assert_in_range(t.w->nbound, 70, 120);
    tale_end(&t);
}

/* A target that has become slow, or was always, is given the time that it takes: at once, after an
 * outage in which its portal was silent, and after one in which there was no portal. */
static void
slow_target(void **state)
{
    static const struct {
        uint64_t answer_ms, outage_ms;
        bool mute;
        uint64_t within_ms;
    } rows[] = {{700, 0, false, 1500},      {1400, 0, false, 6000},     {1400, 3000, true, 36000},
                {700, 9000, false, 11000},  {1400, 9000, false, 15000}, {700, 10000, true, 36000},
                {3000, 10000, true, 45000}, {5000, 0, false, 120000}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tale t;

        tale_begin(&t, i, 0, NULL);
        t.w->answer_ns = rows[i].answer_ms * MS;
        t.w->mute = rows[i].mute;
        outage(&t, rows[i].outage_ms * MS, false);
        assert_in_range(t.down_ns, 2 * rows[i].answer_ms * MS, rows[i].within_ms * MS);
        outage(&t, 10 * SEC, false); /* now it is known to be slow */
        assert_true(t.down_ns < (10 + 2 + 4 + 8) * SEC + 3 * t.w->answer_ns);
        tale_end(&t);
    }
}

static void
own_endpoints(struct login_config *cfg)
{
    (void)strcpy(cfg->transport, "own");
}

/* What connects by itself waits for the peer's program, which takes its time after it was started:
 * a request that it works at is not given up.  Where nobody answered before, 2 s are all. */
static void
slow_endpoint(void **state)
{
    static const struct {
        uint64_t outage_ms;
        bool black_hole;
        uint64_t ep_ms, within_ms;
    } rows[] = {{0, false, 1900, 2000},
                {6000, false, 1900, 8400},
                {6000, false, 14000, 20500},
                {6000, true, 1900, 10000},
                {20000, true, 0, 22100}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tale t;

        tale_begin(&t, 30 + i, 0, own_endpoints);
        t.w->ep_ns = rows[i].ep_ms * MS;
        outage(&t, rows[i].outage_ms * MS, rows[i].black_hole);
        assert_in_range(t.down_ns, (rows[i].outage_ms + rows[i].ep_ms) * MS,
                        rows[i].within_ms * MS);
        assert_int_equal(t.w->eps_given_up, 0);
        tale_end(&t);
    }
}

/* One that nobody has time enough for is given up, and found in the end. */
static void
slowest_endpoint(void **state)
{
    struct tale t;

    (void)state;
    tale_begin(&t, 40, 0, own_endpoints);
    t.w->ep_ns = 3 * SEC;
    outage(&t, 6 * SEC, true);
    assert_true(t.w->eps_given_up > 0);
    assert_true(t.down_ns < 45 * SEC);
    t.w->eps_given_up = 0; /* now it is known to be slow */
    outage(&t, 6 * SEC, true);
    assert_int_equal(t.w->eps_given_up, 0);
    tale_end(&t);
}

/* The steps, to the nanosecond: half of each at least, all of it at most, less what the try took.
 */
static void
steps(void **state)
{
    static const struct lunette_error no_conn = {.domain = LUNETTE_DOM_CONNECT},
                                      no_answer = {.domain = LUNETTE_DOM_TIMEOUT},
                                      refused = {.domain = LUNETTE_DOM_CONNECT,
                                                 .code = -ECONNREFUSED},
                                      who = {.domain = LUNETTE_DOM_LOGIN, .detail = 0x0201},
                                      prove = {.domain = LUNETTE_DOM_LOGIN, .detail = 0};
    struct world *w = world_new(90);
    struct login_config cfg;
    struct login_backoff b;
    uint64_t least = UINT64_MAX, most = 0;

    (void)state;
    world_config(w, &cfg);
    backoff_reset(&b, w->l.now_ns);
    for (uint64_t step = 20; step < 2000; step *= 2) {
        uint64_t want = (step > 400 ? 400 : step) * MS;

        assert_in_range(backoff_next(&b, &w->l, w->l.now_ns, &no_conn), want / 2, want);
    }
    for (int i = 0; i < 2000; i++) {
        uint64_t ns = backoff_next(&b, &w->l, w->l.now_ns, &no_conn);

        assert_in_range(ns, 200 * MS, 400 * MS);
        least = ns < least ? ns : least;
        most = ns > most ? ns : most;
    }
    assert_true(least < 202 * MS && most > 398 * MS);
    for (int i = 0; i < 100; i++) {
        assert_in_range(backoff_next(&b, &w->l, w->l.now_ns, &who), 500 * MS, 1000 * MS);
        assert_in_range(backoff_next(&b, &w->l, w->l.now_ns, &prove), 500 * MS, 1000 * MS);
    }
    assert_int_equal(backoff_connect_ms(&b, &cfg, 0), 400);
    assert_int_equal(backoff_connect_ms(&b, &cfg, 300 * MS), 1200);
    assert_int_equal(backoff_connect_ms(&b, &cfg, 9 * SEC), cfg.connect_timeout_ms);
    assert_int_equal(backoff_login_ms(&b, &cfg, 0), 2000);
    assert_int_equal(backoff_login_ms(&b, &cfg, 2 * SEC), 16000);
    (void)backoff_next(&b, &w->l, w->l.now_ns, &no_conn);
    backoff_ep(&b, &cfg, 0);
    assert_int_equal(cfg.ep_try_ms, 2000);
    assert_int_equal(cfg.ep_login_ms, 4000);
    backoff_ep(&b, &cfg, SEC);
    assert_int_equal(cfg.ep_try_ms, 4000);
    assert_int_equal(cfg.ep_login_ms, 4000 + 8000);
    (void)backoff_next(&b, &w->l, w->l.now_ns, &refused);
    backoff_ep(&b, &cfg, 0);
    assert_int_equal(cfg.ep_try_ms, cfg.connect_timeout_ms);
    assert_int_equal(cfg.ep_login_ms, cfg.connect_timeout_ms + 2000);
    (void)backoff_next(&b, &w->l, w->l.now_ns, &no_conn);
    backoff_ep(&b, &cfg, 0);
    assert_int_equal(cfg.ep_try_ms, 2000);
    w->l.now_ns += 10 * SEC;
    assert_int_equal(backoff_next(&b, &w->l, w->l.now_ns - 400 * MS, &no_conn), 10 * MS);
    w->l.now_ns += 30 * SEC;
    for (uint64_t step = 800; step < 40000; step *= 2) {
        uint64_t want = (step > 10000 ? 10000 : step) * MS;

        assert_in_range(backoff_next(&b, &w->l, w->l.now_ns, &no_conn), want / 2, want);
    }
    assert_int_equal(backoff_connect_ms(&b, &cfg, 0), 10000);
    for (int i = 0; i < 100; i++)
        (void)backoff_next(&b, &w->l, w->l.now_ns, &no_answer);
    assert_int_equal(backoff_login_ms(&b, &cfg, 0), cfg.login_timeout_ms);
    backoff_reset(&b, w->l.now_ns);
    assert_in_range(backoff_next(&b, &w->l, w->l.now_ns, &no_conn), 10 * MS, 20 * MS);
    for (unsigned i = 0; i < 10; i++) {
        bool hasty = i >= BACKOFF_PATIENT;

        assert_int_equal(backoff_answer_ms(&b, w->l.now_ns, 0), hasty ? 400 : 0);
        assert_int_equal(backoff_answer_ms(&b, w->l.now_ns, SEC), hasty ? 4000 : 0);
        assert_int_equal(backoff_login_ms(&b, &cfg, 0), 2000u << (hasty ? 2 : i));
        (void)backoff_next(&b, &w->l, w->l.now_ns - 400 * MS, &no_answer);
    }
    assert_int_equal(backoff_answer_ms(&b, w->l.now_ns + 30 * SEC, 0), 0);
    world_free(w);
}

/* ---- where it goes -------------------------------------------------------------------------- */

/* A temporary move is forgotten, a permanent one is not. */
static void
redirects(void **state)
{
    static const struct step *const scripts[] = {say_good,       say_moved_now, say_good, say_good,
                                                 say_moved_ever, say_good,      say_good};
    static const uint8_t to[][3] = {{1, 2, 0}, {1, 0, 0}, {1, 3, 0}, {3, 0, 0}};
    struct login_config cfg;
    struct tale t;

    (void)state;
    tale_begin(&t, 21, 0, NULL);
    memcpy(t.w->scripts, scripts, sizeof(scripts));
    t.w->nscripts = 7;
    for (unsigned i = 0; i < 4; i++) {
        tale_lose(&t, 0);
        tale_run_until_back(&t);
        assert_int_equal(t.w->connected_to[0], to[i][0]);
        if (to[i][1] != 0)
            assert_int_equal(t.w->connected_to[1], to[i][1]);
        assert_int_equal(t.w->nconnects, to[i][1] != 0 ? 2 : 1);
        assert_int_equal(t.res.moved, i == 2);
    }
    reopen_get_config(t.r, &cfg);
    assert_string_equal(cfg.portal.host, "10.0.0.3");
    tale_end(&t);
}

/* A login that the target has sent elsewhere and that fails there is tried where the session is
 * known. */
static void
redirect_fails(void **state)
{
    struct tale t;

    (void)state;
    tale_begin(&t, 22, 0, NULL);
    t.w->scripts[1] = say_moved_ever;
    t.w->scripts[2] = say_cut;
    t.w->scripts[3] = say_good;
    t.w->nscripts = 4;
    tale_lose(&t, 0);
    tale_run_until_back(&t);
    assert_int_equal(t.w->nconnects, 3);
    assert_int_equal(t.w->connected_to[2], 1);
    tale_end(&t);
}

/* Until Time2Retain is over, another portal group is not taken: it would not end the old nexus. */
static void
other_group(void **state)
{
    struct tale t;

    (void)state;
    tale_begin(&t, 23, 1, NULL);
    t.w->scripts[1] = say_group2;
    t.w->nscripts = 2;
    tale_pass(&t, SEC);
    fake_lose(t.w, t.c, 1, 4);
    tale_run_until_back(&t);
    assert_in_range(t.down_ns, 5 * SEC, 6200 * MS);
    assert_int_equal(t.res.tpgt, 2);
    tale_end(&t);
}

static void
same_settings(struct login_config *cfg)
{
    (void)strcpy(cfg->chap.name, "alice");
    (void)strcpy((char *)cfg->chap.secret, "initiator-secret");
    cfg->chap.secret_len = 16;
    cfg->auth_required = true;
    (void)strcpy(cfg->header_digest, "CRC32C");
    (void)strcpy(cfg->initiator_alias, "host 1");
}

static const struct step chap[] = {
    {"InitiatorName TargetName InitiatorAlias SessionType=Normal AuthMethod=CHAP CSG0 !T",
     "AuthMethod=CHAP TargetPortalGroupTag=1 @noT"},
    {"CHAP_A", "@chap=5 @noT"},
    {"CHAP_N CHAP_R T", "@verify"},
    {"CSG1 T HeaderDigest=CRC32C", "@answer"},
    END};

/* Each login proves the same name, offers the same and has the same ISID. */
static void
settings_stay(void **state)
{
    char isid[IPC_VALUE_MAX];
    struct tale t;

    (void)state;
    tale_begin_as(&t, 24, 1, same_settings, chap);
    memcpy(isid, t.c->names[ISCSI_PARAM_ISID], sizeof(isid));
    for (int i = 0; i < 3; i++) {
        tale_lose(&t, 0);
        reopen_limits(t.r)->replacement_timeout_s = 7 + i;
        tale_run_until_back(&t);
        assert_string_equal(t.c->names[ISCSI_PARAM_ISID], isid);
        assert_string_equal(t.c->names[ISCSI_PARAM_HEADER_DIGEST], "CRC32C");
        assert_int_equal(atoi(t.c->names[ISCSI_PARAM_RECOVERY_TMO]), 7 + i);
        assert_string_equal(t.res.auth_method, "CHAP");
    }
    tale_end(&t);
}

/* A limit that the owner sets while a login is under way, which tells the data plane of the one
 * before, holds from the end of that login on. */
static void
limit_set_during_a_login(void **state)
{
    struct reopen_info info;
    struct tale t;

    (void)state;
    for (int i = 0; i < 12; i++) {
        tale_begin(&t, 30 + (uint64_t)i, 1, NULL);
        tale_lose(&t, 0);
        do {
            assert_true(world_step(t.w));
            reopen_get_info(t.r, &info);
        } while (info.state != REOPEN_LOGIN);
        for (int n = 0; n < i && !t.back; n++)
            (void)world_step(t.w);
        *reopen_limits(t.r) = (struct reopen_limits){.login_timeout_ms = 15000,
                                                     .ping_interval_ms = 1234,
                                                     .ping_timeout_ms = 2345,
                                                     .replacement_timeout_s = -1};
        reopen_limits_changed(t.r);
        tale_run_until_back(&t);
        if (i == 0) /* the login itself has told it, and never the one before */
            assert_int_equal(atoi(t.c->names[ISCSI_PARAM_RECOVERY_TMO]), -1);
        tale_pass(&t, SEC);
        assert_int_equal(atoi(t.c->names[ISCSI_PARAM_RECOVERY_TMO]), -1);
        assert_int_equal(atoi(t.c->names[ISCSI_PARAM_PING_INTERVAL_MS]), 1234);
        assert_int_equal(atoi(t.c->names[ISCSI_PARAM_PING_TIMEOUT_MS]), 2345);
        tale_end(&t);
    }
}

/* A control plane that takes the session over tells its limits, whatever the one before has told.
 */
static void
limits_of_another_control_plane(void **state)
{
    struct reopen_callbacks cb = {.gave_up = tale_on_gave_up};
    struct reopen_config rc = {.reopen_max = 1};
    struct tale t;

    (void)state;
    tale_begin(&t, 29, 1, NULL);
    reopen_free(&t.r);
    t.cfg.replacement_timeout_s = 33;
    t.cfg.ping_interval_ms = 1234;
    t.cfg.ping_timeout_ms = 2345;
    rc.login = &t.cfg;
    cb.user = &t;
    assert_int_equal(reopen_new(t.w->ctl, &t.gate, &rc, &cb, &t.r, NULL), 0);
    reopen_take_over(t.r, &(struct reopen_found){.res = t.res, .conn_up = true});
    tale_pass(&t, SEC);
    assert_int_equal(atoi(t.c->names[ISCSI_PARAM_RECOVERY_TMO]), 33);
    assert_int_equal(atoi(t.c->names[ISCSI_PARAM_PING_INTERVAL_MS]), 1234);
    assert_int_equal(atoi(t.c->names[ISCSI_PARAM_PING_TIMEOUT_MS]), 2345);
    tale_end(&t);
}

/* ---- refused -------------------------------------------------------------------------------- */

/* Refusals for good count once a second; the last that is allowed ends the session. */
static void
refusals(void **state)
{
    static const struct step *const no[] = {say_not_found, say_refused};

    (void)state;
    for (uint32_t max = 1; max <= 4; max++) {
        for (int how = 0; how < 2; how++) {
            struct reopen_info info;
            struct tale t;

            tale_begin_as(&t, 30 + max, max, same_settings, chap);
            t.w->scripts[1] = no[how];
            t.w->nscripts = 2;
            tale_lose(&t, 0);
            world_run(t.w, &t.over);
            assert_int_equal(t.gave_ups, 1);
            assert_int_equal(t.backs, 0);
            assert_int_equal(t.why.domain, LUNETTE_DOM_LOGIN);
            assert_int_equal(t.why.detail, how == 0 ? 0x0203 : 0x0201);
            assert_in_range(t.w->l.now_ns - t.lost_ns, (max - 1) * SEC,
                            (max - 1) * (how == 0 ? 1450 : 2050) * MS + 50 * MS);
            assert_int_equal(t.c->stopped_how, STOP_CONN_TERM); /* so that commands fail */
            if (how == 1) /* a password is not tried again and again */
                assert_true((unsigned)t.w->nconnects <= 2 * max);
            reopen_get_info(t.r, &info);
            assert_int_equal(info.state, REOPEN_GAVE_UP);
            reopen_now(t.r);
            world_drain(t.w);
            assert_int_equal(t.gave_ups, 1);
            tale_end(&t);
        }
    }
}

/* What may pass does not count, and a target that says "not found" while it starts is waited for.
 */
static void
what_passes(void **state)
{
    static const struct step *const passing[] = {say_busy, say_garbage, say_cut};
    struct tale t;

    (void)state;
    tale_begin(&t, 40, 1, NULL);
    for (int i = 1; i < 30; i++)
        t.w->scripts[i] = passing[i % 3];
    t.w->scripts[30] = say_good;
    t.w->nscripts = 31;
    tale_lose(&t, 0);
    tale_run_until_back(&t);
    assert_int_equal(t.waits, 30);
    tale_end(&t);

    for (uint32_t max = 0; max <= REOPEN_MAX_DEFAULT; max += REOPEN_MAX_DEFAULT) {
        tale_begin(&t, 41, max, NULL);
        for (int i = 1; i < 24; i++)
            t.w->scripts[i] = say_not_found;
        t.w->scripts[24] = say_good;
        t.w->nscripts = 25;
        tale_lose(&t, 0);
        tale_run_until_back(&t);
        assert_int_equal(t.gave_ups, 0);
        assert_true(t.down_ns > 4 * SEC);
        tale_end(&t);
    }
}

/* Refusals of one outage do not count in the next. */
static void
refusals_are_forgotten(void **state)
{
    struct tale t;

    (void)state;
    tale_begin(&t, 42, 2, NULL);
    for (int i = 1; i < 20; i++)
        t.w->scripts[i] = i % 2 == 1 ? say_not_found : say_good;
    t.w->nscripts = 20;
    for (int i = 0; i < 9; i++) {
        tale_lose(&t, 0);
        tale_run_until_back(&t);
    }
    tale_end(&t);
}

static void
gone_end(struct tale *t)
{
    reopen_free(&t->r);
    world_drain(t->w);
    assert_true(ctl_idle(t->w->ctl));
    login_gate_fini(&t->gate);
    world_free(t->w);
}

/* A session that is gone from the data plane cannot come back. */
static void
session_is_gone(void **state)
{
    struct reopen_info info;
    struct tale t;

    (void)state;
    tale_begin(&t, 43, 0, NULL);
    tale_pass(&t, SEC);
    t.w->gone_is_ok = true;
    fake_conn_down(t.w, t.c);
    t.c->there = false;
    fake_lose_events(t.w);
    world_run(t.w, &t.over);
    assert_int_equal(t.gave_ups, 1);
    assert_int_equal(t.why.code, -ENOENT);
    assert_int_equal(t.lost_events, 1);
    reopen_get_info(t.r, &info);
    assert_int_equal(info.state, REOPEN_GAVE_UP);
    assert_int_equal(info.down_ns, 0); /* it was not lost before */
    gone_end(&t);
}

/* And it is found to be gone just when the owner has told of a loss. */
static void
session_is_gone_and_lost(void **state)
{
    struct lunette_error why;
    struct tale t;

    (void)state;
    (void)lunette_fail(&why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "found so");
    tale_begin(&t, 43, 0, NULL);
    tale_pass(&t, SEC);
    t.w->gone_is_ok = true;
    fake_conn_down(t.w, t.c);
    t.c->there = false;
    fake_lose_events(t.w);
    while (t.gave_ups == 0) {
        struct timerq_node *first = timerq_first(&t.w->timers);
        struct loop_timer *timer = container_of(first, struct loop_timer, node);

        reopen_lost(t.r, &why, 0);
        timerq_del(&t.w->timers, first); /* before the loop comes to what that has deferred */
        t.w->l.now_ns = first->when_ns;
        timer->fn(timer);
    }
    world_drain(t.w);
    assert_int_equal(t.losts, 0);
    gone_end(&t);
}

/* ---- the gate ------------------------------------------------------------------------------- */

struct guest {
    struct login_turn turn;
    unsigned *order;
    unsigned passed_at;
};

static void
guest_passed(struct login_turn *t)
{
    struct guest *g = container_of(t, struct guest, turn);

    g->passed_at = ++*g->order;
}

static void
gate_order(void **state)
{
    struct world *w = world_new(1);
    struct login_gate gate;
    struct guest g[10];
    unsigned order = 0;

    (void)state;
    login_gate_init(&gate, &w->l, 3);
    for (int i = 0; i < 10; i++) {
        g[i] = (struct guest){.order = &order};
        login_turn_init(&g[i].turn, guest_passed);
        assert_int_equal(login_gate_enter(&gate, &g[i].turn), i < 3);
    }
    world_drain(w);
    assert_int_equal(order, 0);
    login_gate_leave(&g[4].turn); /* gives up waiting */
    login_gate_leave(&g[1].turn);
    login_gate_leave(&g[1].turn);
    assert_false(login_gate_enter(&gate, &g[1].turn)); /* behind all others, though there is room */
    assert_int_equal(order, 0);                        /* never from inside a call */
    world_drain(w);
    assert_int_equal(g[3].passed_at, 1);
    assert_int_equal(order, 1);
    login_gate_set_max(&gate, 5);
    world_drain(w);
    assert_int_equal(g[5].passed_at, 2);
    assert_int_equal(g[6].passed_at, 3);
    assert_int_equal(order, 3);
    login_gate_set_max(&gate, 1);
    login_gate_leave(&g[0].turn);
    world_drain(w);
    assert_int_equal(order, 3);
    login_gate_set_max(&gate, 0);
    world_drain(w);
    assert_int_equal(g[7].passed_at, 4);
    assert_int_equal(g[9].passed_at, 6);
    assert_int_equal(g[1].passed_at, 7);
    for (int i = 0; i < 10; i++)
        login_gate_leave(&g[i].turn);
    login_gate_fini(&gate);
    world_free(w);
}

static void
guest_comes(struct login_gate *gate, struct guest *g, unsigned *order, bool behind, bool passes)
{
    *g = (struct guest){.order = order};
    login_turn_init(&g->turn, guest_passed);
    g->turn.behind = behind;
    assert_int_equal(login_gate_enter(gate, &g->turn), passes);
}

/* Those whose portal is dead have half of the places, and others go first. */
static void
gate_behind(void **state)
{
    struct world *w = world_new(1);
    struct login_gate gate;
    struct guest dead[4], live[6];
    unsigned order = 0;

    (void)state;
    login_gate_init(&gate, &w->l, 4);
    for (int i = 0; i < 4; i++)
        guest_comes(&gate, &dead[i], &order, true, i < 2); /* though there is room for all */
    guest_comes(&gate, &live[0], &order, false, true);
    guest_comes(&gate, &live[1], &order, false, true);
    guest_comes(&gate, &live[2], &order, false, false);
    login_gate_leave(&dead[0].turn);
    world_drain(w);
    assert_int_equal(live[2].passed_at, 1); /* before dead[2], which came earlier */
    login_gate_leave(&live[0].turn);
    world_drain(w);
    assert_int_equal(dead[2].passed_at, 2); /* there is nobody else */
    login_gate_leave(&live[1].turn);
    world_drain(w);
    assert_int_equal(dead[3].passed_at, 0); /* a place is kept for others */
    guest_comes(&gate, &live[3], &order, false, true);
    login_gate_leave(&dead[3].turn); /* gives up waiting */
    for (int i = 0; i < 4; i++)
        login_gate_leave(&dead[i].turn);
    for (int i = 0; i < 4; i++)
        login_gate_leave(&live[i].turn);
    world_drain(w);
    assert_int_equal(order, 2);
    login_gate_fini(&gate);
    world_free(w);
}

/* However many others come, whoever stands behind gets his turn. */
static void
gate_behind_goes_too(void **state)
{
    struct world *w = world_new(1);
    struct login_gate gate;
    struct guest dead, live[LOGIN_GATE_OVERTAKEN + 3];
    unsigned order = 0, n = LOGIN_GATE_OVERTAKEN + 3;

    (void)state;
    login_gate_init(&gate, &w->l, 1);
    guest_comes(&gate, &live[0], &order, false, true);
    guest_comes(&gate, &dead, &order, true, false);
    for (unsigned i = 1; i < n; i++)
        guest_comes(&gate, &live[i], &order, false, false);
    for (unsigned i = 0; i < n; i++) {
        login_gate_leave(&live[i].turn);
        world_drain(w);
        login_gate_leave(dead.passed_at > 0 ? &dead.turn : &live[i].turn);
        world_drain(w);
    }
    assert_int_equal(dead.passed_at, LOGIN_GATE_OVERTAKEN + 1);
    assert_int_equal(order, n);
    login_gate_fini(&gate);
    world_free(w);
}

/* Many sessions of one gate are lost together: no more than its limit log in at a time, and all
 * come back. */
static void
gate_cap(void **state)
{
    enum { MANY = 20, CAP = 3 };
    static struct tale t[MANY];
    struct world *w;
    struct login_gate gate;
    unsigned most = 0, back = 0;

    (void)state;
    w = world_new(80);
    login_gate_init(&gate, &w->l, CAP);
    w->scripts[0] = say_good;
    w->nscripts = 1;
    for (int i = 0; i < MANY; i++) {
        struct reopen_callbacks cb = {
            .lost = tale_on_lost, .back = tale_on_back, .gave_up = tale_on_gave_up, .user = &t[i]};
        struct reopen_config rc = {.login = &t[i].cfg};
        struct login_callbacks first = {.done = tale_on_first_login, .user = &t[i]};
        struct iscsi_login *l;

        t[i] = (struct tale){.w = w};
        world_config(w, &t[i].cfg);
        assert_int_equal(reopen_new(w->ctl, &gate, &rc, &cb, &t[i].r, NULL), 0);
        assert_int_equal(login_start(w->ctl, &t[i].cfg, &first, &l, NULL), 0);
        world_run(w, &t[i].back);
        login_free(&l);
        t[i].c = fake_conn(w, t[i].res.sid, t[i].res.cid);
    }
    tale_pass(&t[0], SEC);
    for (int i = 0; i < MANY; i++)
        fake_lose(w, t[i].c, 0, 0);
    while (back < MANY) {
        unsigned logins = 0;

        assert_true(world_step(w));
        back = 0;
        for (int i = 0; i < MANY; i++) {
            struct reopen_info info;

            reopen_get_info(t[i].r, &info);
            logins += info.state == REOPEN_LOGIN;
            back += t[i].backs;
        }
        most = logins > most ? logins : most;
    }
    assert_int_equal(most, CAP);
    for (int i = 0; i < MANY; i++) {
        struct logout_config lc;
        struct iscsi_logout *lo;

        reopen_logout_config(t[i].r, &lc);
        assert_false(lc.skip_request);
        reopen_free(&t[i].r);
        w->done = false;
        assert_int_equal(session_logout_task(w->ctl, &lc, world_logout_done, w, &lo), 0);
        world_run(w, &w->done);
        logout_free(&lo);
    }
    world_drain(w);
    login_gate_fini(&gate);
    world_free(w);
}

/* ---- error recovery level 2 ----------------------------------------------------------------- */

static const struct step say_no_session[] = {{"", "@status=020a"}, END};

static void
offers_level2(struct login_config *cfg)
{
    cfg->offer.erl = 2;
}

static struct reopen_info
info_of(const struct tale *t)
{
    struct reopen_info info;

    reopen_get_info(t->r, &info);
    return info;
}

/* ERL-12: the connection is lost, and another one goes on with the session: nobody hears of a loss.
 * Time2Wait is kept (ERL-13). */
static void
rejoins(void **state)
{
    struct tale t;

    (void)state;
    for (uint32_t wait = 0; wait < 2; wait++) {
        tale_begin(&t, 1, 0, offers_level2);
        for (int i = 0; i < 3; i++) {
            uint64_t lost_ns;

            tale_pass(&t, SEC);
            t.w->nconnects = 0;
            lost_ns = t.w->l.now_ns;
            fake_lose(t.w, t.c, wait, 20);
            assert_int_not_equal(t.c->started, true);
            tale_pass(&t, SEC + wait * SEC);
            assert_in_range(t.w->connected_ns[0], lost_ns + wait * SEC,
                            lost_ns + wait * SEC + 20 * MS);
            assert_true(t.c->started);
            assert_int_equal(info_of(&t).state, REOPEN_UP);
        }
        assert_int_equal(t.losts + t.backs + t.waits, 0);
        assert_int_equal(info_of(&t).reopens, 0);
        tale_end(&t);
    }
}

/* The target keeps nothing, does not know the session, or the data plane has given it up: it is
 * recovered, and its owner hears of that. */
static void
recovers_instead(void **state)
{
    struct tale t;

    (void)state;
    for (int why = 0; why < 3; why++) {
        tale_begin(&t, 2, 0, offers_level2);
        t.w->scripts[1] = say_no_session;
        t.w->scripts[2] = say_good;
        t.w->nscripts = why == 1 ? 3 : 1;
        tale_pass(&t, SEC);
        if (why == 2)
            fake_session_state(t.w, t.res.sid, IPC_SESSION_BLOCKED);
        tale_pass(&t, SEC);
        fake_lose(t.w, t.c, 0, why == 0 ? 0 : 20);
        tale_run_until_back(&t);
        assert_int_equal(t.losts, 1);
        assert_int_equal(info_of(&t).reopens, 1);
        tale_end(&t);
    }
}

/* ERL-13: when Time2Retain is over the session is recovered. */
static void
rejoins_in_time(void **state)
{
    struct tale t;
    uint64_t lost_ns;

    (void)state;
    tale_begin(&t, 3, 0, offers_level2);
    tale_pass(&t, SEC);
    lost_ns = t.w->l.now_ns;
    t.w->outage_until_ns = lost_ns + 30 * SEC;
    fake_lose(t.w, t.c, 1, 20);
    tale_pass(&t, 20 * SEC);
    assert_int_equal(t.losts, 0);
    tale_pass(&t, 2 * SEC);
    assert_int_equal(t.losts, 1);
    tale_run_until_back(&t);
    assert_in_range(t.back_ns, lost_ns + 30 * SEC, lost_ns + 31 * SEC);
    tale_end(&t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rejoins),
        cmocka_unit_test(recovers_instead),
        cmocka_unit_test(rejoins_in_time),
        cmocka_unit_test(limit_set_during_a_login),
        cmocka_unit_test(limits_of_another_control_plane),
        cmocka_unit_test(first_try),
        cmocka_unit_test(longest_wait),
        cmocka_unit_test(found_soon),
        cmocka_unit_test(slow_later),
        cmocka_unit_test(jitter),
        cmocka_unit_test(long_way),
        cmocka_unit_test(flapping),
        cmocka_unit_test(flapping_in_use),
        cmocka_unit_test(now),
        cmocka_unit_test(silent_target),
        cmocka_unit_test(mute_found_soon),
        cmocka_unit_test(slow_target),
        cmocka_unit_test(slow_endpoint),
        cmocka_unit_test(slowest_endpoint),
        cmocka_unit_test(steps),
        cmocka_unit_test(redirects),
        cmocka_unit_test(redirect_fails),
        cmocka_unit_test(other_group),
        cmocka_unit_test(settings_stay),
        cmocka_unit_test(refusals),
        cmocka_unit_test(what_passes),
        cmocka_unit_test(refusals_are_forgotten),
        cmocka_unit_test(session_is_gone),
        cmocka_unit_test(session_is_gone_and_lost),
        cmocka_unit_test(gate_order),
        cmocka_unit_test(gate_behind),
        cmocka_unit_test(gate_behind_goes_too),
        cmocka_unit_test(gate_cap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
