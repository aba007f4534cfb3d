/* SPDX-License-Identifier: MIT */
/* The connections of a session beside the leading one: added, refused, lost, and back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"
#include "tests/unit/login/tale.h"

#define LIMIT (600 * SEC)

/* What the target agrees to beside MaxConnections. */
#define AGREED                                                                                     \
    "HeaderDigest=None DataDigest=None InitialR2T=Yes ImmediateData=No MaxBurstLength=65536 "      \
    "FirstBurstLength=Irrelevant DefaultTime2Wait=2 DefaultTime2Retain=0 MaxOutstandingR2T=1 "     \
    "ErrorRecoveryLevel=0 "

static const struct step say_two[] = {
    {"", "AuthMethod=None TargetPortalGroupTag=1"}, {"", AGREED "MaxConnections=2"}, END};
static const struct step say_one[] = {
    {"", "AuthMethod=None TargetPortalGroupTag=1"}, {"", AGREED "MaxConnections=1"}, END};
static const struct step say_other_session[] = {
    {"", "AuthMethod=None TargetPortalGroupTag=1"}, {"", "@answer @TSIH=77"}, END};

static void
two(struct login_config *cfg)
{
    cfg->nr_connections = 2;
    cfg->offer.time2wait = 0;
}

static void
four(struct login_config *cfg)
{
    two(cfg);
    cfg->nr_connections = 4;
}

static uint32_t
conns_up(const struct tale *t)
{
    struct reopen_info info;

    reopen_get_info(t->r, &info);
    return info.conns;
}

static void
run_until_conns(struct tale *t, uint32_t n)
{
    uint64_t until = t->w->l.now_ns + LIMIT;

    while (conns_up(t) != n) {
        assert_true(world_step(t->w));
        assert_true(t->w->l.now_ns < until);
    }
}

/* A session whose members' logins meet these scripts, the last one again and again. */
static void
begin(struct tale *t, uint64_t seed, void (*tweak)(struct login_config *cfg),
      const struct step *const *scripts, int n)
{
    tale_begin_as(t, seed, 0, tweak, say_good);
    t->w->several = true;
    for (int i = 0; i < n; i++)
        t->w->scripts[1 + i] = scripts[i];
    t->w->nscripts = 1 + n;
}

static struct fake_conn *
conn(const struct tale *t, uint16_t cid)
{
    return fake_conn(t->w, t->res.sid, cid);
}

/* The data plane tells that the session is lost, with all its connections. */
static void
lose_all(struct tale *t, uint32_t time2wait_s, uint32_t time2retain_s)
{
    for (int i = 0; i < t->w->nconn; i++) {
        if (t->w->conn[i].there && t->w->conn[i].bound)
            fake_lose(t->w, &t->w->conn[i], time2wait_s, time2retain_s);
    }
}

/* ---- added ---------------------------------------------------------------------------------- */

/* As many as are wanted, each with a CID of its own, and none of them says what is the session's.
 */
static void
added(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct reopen_info info;
        struct tale t;

        begin(&t, seed, four, NULL, 0);
        run_until_conns(&t, 4);
        for (uint16_t cid = 0; cid < 4; cid++) {
            struct fake_conn *c = conn(&t, cid);

            assert_true(c != NULL && c->started);
            assert_int_equal(c->starts, 1);
            assert_int_equal(c->leading, cid == 0);
            assert_string_equal(c->names[ISCSI_PARAM_TARGET_NAME],
                                cid == 0 ? "iqn.2026-11.org.example:disk" : "");
            assert_string_equal(c->names[ISCSI_PARAM_PORTAL], "10.0.0.1:3260");
        }
        reopen_get_info(t.r, &info);
        assert_int_equal(info.conns_wanted, 4);
        assert_int_equal(t.losts + t.leds + t.waits + t.downs, 0);
        assert_int_equal(t.ups, 3);
        tale_pass(&t, 60 * SEC);
        assert_int_equal(t.w->nbound, 4);
        tale_end(&t);
    }
}

/* A target that takes fewer gets fewer, and is not asked for more. */
static void
negotiated_down(void **state)
{
    const struct step *const leads[] = {say_two, say_one};

    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        struct tale t;

        tale_begin_as(&t, 3 + i, 0, four, leads[i]);
        t.w->several = true;
        t.w->scripts[1] = say_good;
        t.w->nscripts = 2;
        run_until_conns(&t, 2 - i);
        tale_pass(&t, 60 * SEC);
        assert_int_equal(conns_up(&t), 2 - i);
        assert_int_equal(t.w->nbound, 2 - i);
        tale_end(&t);
    }
}

/* A target that is slow is not hurried: a login that is given up may have made a connection, which
 * the next one of that CID would end. */
static void
slow(void **state)
{
    static const struct step silent[] = {{"", "@silent"}, END};
    const struct step *const scripts[] = {silent, say_good};
    const uint32_t allowed[] = {30000, 5000};

    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        struct tale t;
        uint64_t began;

        begin(&t, 4 + i, two, scripts, 2);
        t.cfg.login_timeout_ms = allowed[i];
        assert_int_equal(reopen_change(t.r, &(struct reopen_config){.login = &t.cfg}), 0);
        began = t.w->l.now_ns;
        run_until_conns(&t, 2);
        assert_in_range(t.w->l.now_ns - began, i == 0 ? 14 * SEC : 4 * SEC,
                        i == 0 ? 16 * SEC : 6 * SEC);
        assert_int_equal(t.losts, 0);
        tale_end(&t);
    }
}

/* ---- refused -------------------------------------------------------------------------------- */

/* A target that refuses to add a connection is asked again, later and later, and the session does
 * not mind, whatever it says. */
static void
refused(void **state)
{
    static const struct step *const no[] = {say_refused, say_not_found, say_busy, say_garbage,
                                            say_other_session};

    (void)state;
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        const struct step *scripts[] = {no[i]};
        struct tale t;

        begin(&t, 10 + i, two, scripts, 1);
        tale_pass(&t, 120 * SEC);
        assert_int_equal(conns_up(&t), 1);
        assert_in_range(t.w->nconnects, 20, 130);
        assert_true(t.c->started);
        assert_int_equal(t.losts + t.gave_ups + t.leds, 0);
        t.w->scripts[1] = say_good;
        run_until_conns(&t, 2);
        assert_true(conn(&t, 1)->started);
        assert_int_equal(t.w->requests[ISCSI_UEVENT_CREATE_CONN],
                         t.w->requests[ISCSI_UEVENT_DESTROY_CONN] + 2);
        tale_end(&t);
    }
}

/* One that has come up and is lost at once goes on with its row of steps. */
static void
lost_at_once(void **state)
{
    struct tale t;

    (void)state;
    begin(&t, 20, two, NULL, 0);
    for (int i = 0; i < 40; i++) {
        run_until_conns(&t, 2);
        fake_lose(t.w, conn(&t, 1), 0, 0);
        run_until_conns(&t, 1);
    }
    assert_true(t.w->l.now_ns > 8 * SEC);
    assert_int_equal(t.losts + t.leds, 0);
    tale_end(&t);
}

/* ---- lost during its login ------------------------------------------------------------------ */

static void
lost_during_login(void **state)
{
    static const struct step *const scripts[] = {say_cut, say_cut, say_good};

    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct tale t;

        begin(&t, seed, four, scripts, 3);
        run_until_conns(&t, 4);
        assert_int_equal(t.losts + t.leds, 0);
        assert_int_equal(t.w->nbound, 6);
        for (uint16_t cid = 1; cid < 4; cid++)
            assert_false(conn(&t, cid)->leading);
        tale_end(&t);
    }
}

/* A login that ends after its connection has been started: what the data plane still asks the
 * target about is in use, and neither up nor down. */
static void
first_login_is_early(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct tale t;

        tale_begin_as(&t, seed, 0, two, say_good);
        t.w->several = true;
        t.w->busy_binds = 3;
        while (t.w->nbound < 2) {
            assert_true(world_step(t.w));
            assert_int_equal(conns_up(&t), 1);
        }
        assert_int_equal(t.w->requests[ISCSI_UEVENT_GET_CONN], 0);
        run_until_conns(&t, 2);
        assert_int_equal(t.w->requests[ISCSI_UEVENT_CREATE_CONN], 5);
        tale_end(&t);
    }
}

/* The same CID in the data plane, which knows it and is busy with it. */
static void
rejoin_is_early(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct tale t;

        begin(&t, seed, two, NULL, 0);
        run_until_conns(&t, 2);
        tale_pass(&t, SEC);
        t.w->busy_binds = 3;
        fake_lose(t.w, conn(&t, 1), 0, 0);
        run_until_conns(&t, 1);
        while (!conn(&t, 1)->started)
            assert_true(world_step(t.w));
        run_until_conns(&t, 2);
        tale_pass(&t, SEC);
        assert_int_equal(t.downs, 1); /* what is found to be down still is not lost again */
        assert_int_equal(t.ups, 2);
        assert_int_equal(t.w->requests[ISCSI_UEVENT_CREATE_CONN], 2);
        assert_int_equal(t.w->requests[ISCSI_UEVENT_DESTROY_CONN], 0);
        tale_end(&t);
    }
}

/* ---- lost and back -------------------------------------------------------------------------- */

/* It logs in with its CID when Time2Wait is over, and the session hears nothing of it. */
static void
member_lost(void **state)
{
    (void)state;
    for (uint32_t wait = 0; wait < 3; wait++) {
        struct tale t;
        uint64_t lost;

        begin(&t, 40 + wait, four, NULL, 0);
        run_until_conns(&t, 4);
        tale_pass(&t, SEC);
        t.w->nconnects = 0;
        lost = t.w->l.now_ns;
        fake_lose(t.w, conn(&t, 2), wait, 0);
        run_until_conns(&t, 3);
        assert_int_equal(t.downs, 1);
        assert_int_equal(t.down_cid, 2);
        assert_int_equal(t.down_left, 3);
        assert_int_equal(t.ups, 3);
        run_until_conns(&t, 4);
        assert_int_equal(t.ups, 4);
        assert_int_equal(t.up_cid, 2);
        assert_in_range(t.w->connected_ns[0], lost + wait * SEC, lost + wait * SEC + 10 * MS);
        assert_int_equal(conn(&t, 2)->starts, 2);
        assert_false(conn(&t, 2)->leading);
        assert_int_equal(t.w->requests[ISCSI_UEVENT_CREATE_CONN], 4);
        assert_int_equal(t.losts + t.leds, 0);
        tale_end(&t);
    }
}

/* Where the leading one is lost another leads, and it is a member from then on. */
static void
lead_lost(void **state)
{
    struct tale t;

    (void)state;
    begin(&t, 50, four, NULL, 0);
    run_until_conns(&t, 4);
    for (int i = 0; i < 12; i++) {
        uint16_t lead = (uint16_t)(i == 0 ? 0 : t.led_cid);

        tale_pass(&t, SEC);
        fake_lose(t.w, conn(&t, lead), 0, 0);
        run_until_conns(&t, 3);
        run_until_conns(&t, 4);
        assert_int_equal(t.leds, i + 1);
        assert_int_equal(t.downs, i + 1);
        assert_int_equal(t.down_cid, lead);
        assert_int_equal(t.down_left, 3);
        assert_int_equal(t.up_cid, lead);
        assert_int_not_equal(t.led_cid, lead);
        assert_true(conn(&t, lead)->started);
        assert_false(conn(&t, lead)->leading);
    }
    assert_int_equal(t.losts, 0);
    assert_int_equal(t.w->requests[ISCSI_UEVENT_CREATE_CONN], 4);
    tale_end(&t);
}

/* The event of its loss was lost. */
static void
loss_is_asked_for(void **state)
{
    (void)state;
    for (uint16_t cid = 0; cid < 2; cid++) {
        struct tale t;

        begin(&t, 55, two, NULL, 0);
        run_until_conns(&t, 2);
        tale_pass(&t, SEC);
        fake_conn_down(t.w, conn(&t, cid));
        fake_lose_events(t.w);
        run_until_conns(&t, 1);
        run_until_conns(&t, 2);
        tale_pass(&t, SEC);
        assert_true(conn(&t, 0)->started && conn(&t, 1)->started);
        assert_int_equal(t.losts, 0);
        assert_int_equal(t.leds, cid == 0);
        tale_end(&t);
    }
}

/* All are lost: the session is recovered, and the others are added to the new nexus. */
static void
all_lost(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct tale t;

        begin(&t, seed, four, NULL, 0);
        run_until_conns(&t, 4);
        tale_pass(&t, SEC);
        fake_session_state(t.w, t.res.sid, IPC_SESSION_BLOCKED);
        lose_all(&t, 0, 0);
        t.back = false;
        world_run(t.w, &t.back);
        assert_true(t.back);
        assert_int_equal(t.losts, 1);
        run_until_conns(&t, 4);
        for (uint16_t cid = 0; cid < 4; cid++)
            assert_int_equal(conn(&t, cid)->leading, cid == t.res.cid);
        assert_int_equal(t.w->sessions_made, 1);
        assert_int_equal(t.w->requests[ISCSI_UEVENT_CREATE_CONN], 4);
        tale_end(&t);
    }
}

/* Another number is wanted by now: that counts from the next nexus on. */
static void
number_changes(void **state)
{
    static const uint32_t numbers[] = {2, 5, 3, 1, 4};

    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct reopen_config rc = {.reopen_max = 0};
        struct tale t;

        begin(&t, seed, two, NULL, 0);
        for (size_t i = 1; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
            run_until_conns(&t, numbers[i - 1]);
            t.cfg.nr_connections = numbers[i];
            rc.login = &t.cfg;
            assert_int_equal(reopen_change(t.r, &rc), 0);
            tale_pass(&t, SEC);
            assert_int_equal(conns_up(&t), numbers[i - 1]);
            fake_session_state(t.w, t.res.sid, IPC_SESSION_BLOCKED);
            lose_all(&t, 0, 0);
            t.back = false;
            world_run(t.w, &t.back);
            run_until_conns(&t, numbers[i]);
            tale_pass(&t, SEC);
            assert_int_equal(t.w->requests[ISCSI_UEVENT_CREATE_CONN],
                             t.w->requests[ISCSI_UEVENT_DESTROY_CONN] + numbers[i]);
        }
        tale_end(&t);
    }
}

static void
level2(struct login_config *cfg)
{
    four(cfg);
    cfg->offer.erl = 2;
}

/* At level 2 a connection logs in to the session, and the members come again. */
static void
all_lost_at_level_2(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct tale t;
        unsigned led = 0;

        begin(&t, seed, level2, NULL, 0);
        run_until_conns(&t, 4);
        tale_pass(&t, SEC);
        t.leds = t.ups = 0;
        lose_all(&t, 0, 20);
        while (t.leds == 0 || conns_up(&t) < 4)
            assert_true(world_step(t.w));
        assert_int_equal(t.losts, 0);
        assert_int_equal(t.downs, 4);
        assert_int_equal(t.down_left, 0); /* of the last, for which requests wait */
        assert_int_equal(t.ups, 4);
        for (uint16_t cid = 0; cid < 4; cid++)
            led += conn(&t, cid)->leading;
        assert_int_equal(led, 0); /* none of them has begun a nexus */
        tale_end(&t);
    }
}

/* ---- asked to leave ------------------------------------------------------------------------- */

/* A connection that the target wants to end is logged out alone, and comes again. */
static void
member_asked_to_leave(void **state)
{
    (void)state;
    for (uint16_t cid = 0; cid < 2; cid++) {
        struct tale t;

        begin(&t, 60 + cid, two, NULL, 0);
        run_until_conns(&t, 2);
        tale_pass(&t, SEC);
        fake_async(t.w, conn(&t, cid), ISCSI_ASYNC_LOGOUT_REQUEST, 0, 0, 10);
        while (t.w->logouts == 0)
            assert_true(world_step(t.w));
        run_until_conns(&t, 1);
        run_until_conns(&t, 2);
        assert_int_equal(t.w->logouts, 1);
        assert_int_equal(conn(&t, cid)->starts, 2);
        assert_int_equal(conn(&t, !cid)->starts, 1);
        assert_int_equal(t.losts, 0);
        tale_end(&t);
    }
}

/* The target wants all of them to leave, as before it is serviced: each is logged out in its turn,
 * and none waits for the target to end it. */
static void
all_asked_to_leave(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct tale t;
        uint64_t began;

        begin(&t, seed, four, NULL, 0);
        run_until_conns(&t, 4);
        tale_pass(&t, SEC);
        began = t.w->l.now_ns;
        for (uint16_t cid = 0; cid < 4; cid++)
            fake_async(t.w, conn(&t, (uint16_t)((cid + seed) % 4)), ISCSI_ASYNC_LOGOUT_REQUEST, 0,
                       0, 10);
        while (t.w->logouts < 4)
            assert_true(world_step(t.w));
        assert_true(t.w->l.now_ns < began + SEC);
        run_until_conns(&t, 4);
        for (uint16_t cid = 0; cid < 4; cid++)
            assert_true(conn(&t, cid)->starts >= 2);
        tale_end(&t);
    }
}

/* ---- several portals ------------------------------------------------------------------------ */

static void
further(struct login_config *cfg, const char *host)
{
    struct portal *p = &cfg->group[cfg->ngroup++];

    (void)strcpy(p->host, host);
    p->port = ISCSI_PORT;
}

static void
four_on_two(struct login_config *cfg)
{
    four(cfg);
    further(cfg, "10.0.0.2");
}

static void
level2_on_two(struct login_config *cfg)
{
    level2(cfg);
    further(cfg, "10.0.0.2");
}

static void
one_on_two(struct login_config *cfg)
{
    further(cfg, "10.0.0.2");
}

static void
with_dead_ones(struct login_config *cfg)
{
    four(cfg);
    further(cfg, "10.0.0.100"); /* refuses */
    further(cfg, "10.0.0.200"); /* does not answer */
    further(cfg, "10.0.0.2");
}

/* Connections that are up at 10.0.0.N. */
static unsigned
conns_at(const struct tale *t, unsigned n)
{
    char portal[32];
    unsigned count = 0;

    (void)snprintf(portal, sizeof(portal), "10.0.0.%u:3260", n);
    for (int i = 0; i < t->w->nconn; i++) {
        const struct fake_conn *c = &t->w->conn[i];

        count += c->there && c->started && strcmp(c->names[ISCSI_PARAM_PORTAL], portal) == 0;
    }
    return count;
}

/* What the owner is told of where they are. */
static void
conns_are_told(const struct tale *t)
{
    struct reopen_conn c;
    char text[PORTAL_TEXT_MAX];
    uint32_t n = 0;

    for (; reopen_get_conn(t->r, n, &c); n++) {
        assert_int_equal(c.state, REOPEN_UP);
        assert_string_equal(portal_format(c.portal, text, sizeof(text)),
                            conn(t, c.cid)->names[ISCSI_PARAM_PORTAL]);
    }
    assert_int_equal(n, 4);
}

/* Each connection goes where there are the fewest. */
static void
spread(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct tale t;

        begin(&t, seed, four_on_two, NULL, 0);
        run_until_conns(&t, 4);
        assert_int_equal(conns_at(&t, 1), 2);
        assert_int_equal(conns_at(&t, 2), 2);
        conns_are_told(&t);
        for (int i = 0; i < 10; i++) { /* also when they have changed places */
            uint16_t cid = (uint16_t)(world_random(t.w) % 4);

            tale_pass(&t, SEC);
            fake_lose(t.w, conn(&t, cid), 0, 0);
            run_until_conns(&t, 3);
            run_until_conns(&t, 4);
            assert_int_equal(conns_at(&t, 1), 2);
            assert_int_equal(conns_at(&t, 2), 2);
            conns_are_told(&t);
        }
        tale_end(&t);
    }
}

/* Portals that are dead from the first are passed over at once. */
static void
dead_from_the_first(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct tale t;

        begin(&t, seed, with_dead_ones, NULL, 0);
        run_until_conns(&t, 4);
        assert_true(t.w->l.now_ns < 2 * SEC);
        assert_true(conns_at(&t, 1) >= 1 && conns_at(&t, 2) >= 1);
        tale_end(&t);
    }
}

/* A portal dies under its connections: they go to the other one, and when it lives again, those
 * that are lost next come back to it. */
static void
portal_dies(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct tale t;

        begin(&t, seed, four_on_two, NULL, 0);
        run_until_conns(&t, 4);
        tale_pass(&t, SEC);
        t.w->dead = (uint8_t)(1 + seed % 2);
        t.w->black_hole = seed % 3 == 0;
        for (uint16_t cid = 0; cid < 4; cid++) {
            if (strncmp(conn(&t, cid)->names[ISCSI_PARAM_PORTAL], "10.0.0.", 7) == 0 &&
                conn(&t, cid)->names[ISCSI_PARAM_PORTAL][7] == '0' + t.w->dead)
                fake_lose(t.w, conn(&t, cid), 0, 0);
        }
        run_until_conns(&t, 2);
        tale_pass(&t, SEC);
        assert_int_equal(conns_up(&t), 4);
        assert_int_equal(conns_at(&t, 3 - t.w->dead), 4);
        assert_int_equal(t.losts, 0);
        conns_are_told(&t);
        t.w->dead = 0;
        for (uint16_t cid = 0; cid < 2; cid++) {
            fake_lose(t.w, conn(&t, cid), 0, 0);
            run_until_conns(&t, 3);
            run_until_conns(&t, 4);
            tale_pass(&t, SEC);
        }
        assert_int_equal(conns_at(&t, 1), 2);
        assert_int_equal(conns_at(&t, 2), 2);
        tale_end(&t);
    }
}

/* All connections are lost, and the portal that the session is known by is dead. */
static void
recovered_elsewhere(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct login_config cfg;
        struct tale t;

        begin(&t, seed, seed % 2 == 0 ? one_on_two : four_on_two, NULL, 0);
        run_until_conns(&t, seed % 2 == 0 ? 1 : 4);
        tale_pass(&t, SEC);
        t.w->dead = 1;
        t.w->black_hole = seed % 3 == 0;
        fake_session_state(t.w, t.res.sid, IPC_SESSION_BLOCKED);
        lose_all(&t, 0, 0);
        t.back = false;
        world_run(t.w, &t.back);
        assert_true(t.down_ns < 500 * MS);
        assert_false(t.res.moved);
        assert_string_equal(t.res.portal.host, "10.0.0.2");
        reopen_get_config(t.r, &cfg); /* it is known by the same as before */
        assert_string_equal(cfg.portal.host, "10.0.0.1");
        tale_end(&t);
    }
}

static void
rejoined_elsewhere(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct tale t;

        begin(&t, seed, level2_on_two, NULL, 0);
        run_until_conns(&t, 4);
        tale_pass(&t, SEC);
        t.w->dead = (uint8_t)(1 + seed % 2);
        t.w->black_hole = seed % 3 == 0;
        lose_all(&t, 0, 20);
        run_until_conns(&t, 0);
        tale_pass(&t, 2 * SEC);
        assert_int_equal(conns_at(&t, 3 - t.w->dead), 4);
        assert_int_equal(t.losts, 0);
        conns_are_told(&t);
        tale_end(&t);
    }
}

/* A target that has moved for good says so to the login of any connection, and nobody else may hear
 * of it before the old portal is gone. */
static void
moved_for_good(void **state)
{
    static const struct step *const scripts[] = {say_good, say_good, say_good, say_moved_ever,
                                                 say_good};

    (void)state;
    for (int all = 0; all < 2; all++) {
        struct login_config cfg;
        struct tale t;

        begin(&t, 70, all ? level2 : four, scripts, 5);
        run_until_conns(&t, 4);
        tale_pass(&t, SEC);
        if (all)
            lose_all(&t, 0, 20);
        else
            fake_lose(t.w, conn(&t, 1), 0, 0);
        run_until_conns(&t, all ? 0 : 3);
        run_until_conns(&t, 4);
        assert_int_equal(t.losts, 0);
        reopen_get_config(t.r, &cfg);
        assert_string_equal(cfg.portal.host, "10.0.0.3");
        login_config_wipe(&cfg);
        tale_end(&t);
    }
}

/* At level 2 the data plane lets a connection wait while the target may still read a Logout of it
 * on another one that was lost as well.  Any of them brings the session back, whichever was the
 * last to be lost. */
static void
any_rejoins(void **state)
{
    (void)state;
    for (uint16_t free = 0; free < 4; free++) {
        struct tale t;
        uint64_t lost;

        begin(&t, 80 + free, level2_on_two, NULL, 0);
        run_until_conns(&t, 4);
        tale_pass(&t, SEC);
        t.w->busy_cids = 0xfu & ~(1u << free);
        lost = t.w->l.now_ns;
        lose_all(&t, 0, 20);
        run_until_conns(&t, 0);
        run_until_conns(&t, 1);
        assert_true(conn(&t, free)->started);
        assert_in_range(t.w->l.now_ns, lost, lost + 200 * MS);
        t.w->busy_cids = 0;
        run_until_conns(&t, 4);
        assert_int_equal(t.losts, 0);
        assert_int_equal(t.w->requests[ISCSI_UEVENT_CREATE_CONN], 4);
        conns_are_told(&t);
        tale_end(&t);
    }
}

/* None of them can be taken for now: they are tried less and less often. */
static void
none_rejoins_yet(void **state)
{
    struct tale t;
    uint32_t binds;

    (void)state;
    begin(&t, 85, level2_on_two, NULL, 0);
    run_until_conns(&t, 4);
    tale_pass(&t, SEC);
    t.w->busy_cids = 0xf;
    binds = t.w->requests[ISCSI_UEVENT_BIND_CONN];
    lose_all(&t, 0, 20);
    tale_pass(&t, 10 * SEC);
    assert_in_range(t.w->requests[ISCSI_UEVENT_BIND_CONN] - binds, 10 * 1000 / 400, 50);
    assert_int_equal(t.losts, 0);
    t.w->busy_cids = 0x7;
    tale_pass(&t, 2 * SEC);
    assert_true(conn(&t, 3)->started);
    t.w->busy_cids = 0;
    run_until_conns(&t, 4);
    assert_int_equal(t.losts, 0);
    conns_are_told(&t);
    tale_end(&t);
}

/* A portal of another group serves no connection of this session (RFC 7143 4.4.1), and its refusals
 * end nothing. */
static void
other_group(void **state)
{
    static const struct step *const scripts[] = {say_group2, say_good};
    static const struct step *const refuses[] = {say_not_found};
    struct tale t;

    (void)state;
    begin(&t, 90, four_on_two, scripts, 2);
    run_until_conns(&t, 4);
    assert_int_equal(t.w->nbound, 5);
    tale_end(&t);

    tale_begin_as(&t, 91, 1, one_on_two, say_good);
    t.w->scripts[1] = refuses[0];
    t.w->nscripts = 2;
    tale_pass(&t, SEC);
    t.w->dead = 1;
    fake_lose(t.w, t.c, 0, 0);
    tale_pass(&t, 60 * SEC);
    assert_int_equal(t.gave_ups, 0);
    t.w->scripts[1] = say_good;
    t.w->dead = 0;
    tale_run_until_back(&t);
    tale_end(&t);
}

/* ---- another control plane ------------------------------------------------------------------ */

/* One that comes finds out which are up, and adds those that are not. */
static void
taken_over(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct reopen_callbacks cb = {.gave_up = tale_on_gave_up};
        struct reopen_config rc = {.reopen_max = 1};
        static const uint16_t cids[] = {0, 1, 2, 3};
        struct reopen_found found = {.conn_up = true, .cids = cids, .ncids = 4};
        struct tale t;
        uint32_t starts = 0;

        begin(&t, seed, four, NULL, 0);
        run_until_conns(&t, 4);
        reopen_free(&t.r);
        t.w->gone_is_ok = true;
        fake_conn_down(t.w, conn(&t, 3)); /* while nobody looks */
        rc.login = &t.cfg;
        cb.user = &t;
        found.res = t.res;
        assert_int_equal(reopen_new(t.w->ctl, &t.gate, &rc, &cb, &t.r, NULL), 0);
        reopen_take_over(t.r, &found);
        run_until_conns(&t, 3);
        run_until_conns(&t, 4);
        for (uint16_t cid = 0; cid < 4; cid++)
            starts += conn(&t, cid)->starts;
        assert_int_equal(starts, 5);
        assert_int_equal(t.w->requests[ISCSI_UEVENT_CREATE_CONN], 4);
        tale_end(&t);
    }
}

/* ---- at any moment -------------------------------------------------------------------------- */

/* Connections break again and again after any number of steps: all are there in the end. */
/* The target has asked for logouts while no control plane was there to hear of it: the one that
 * comes finds it out, and logs out. */
static void
taken_over_and_asked(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct reopen_callbacks cb = {.gave_up = tale_on_gave_up};
        struct reopen_config rc = {.reopen_max = 1};
        static const uint16_t cids[] = {0, 1, 2, 3};
        struct reopen_found found = {.conn_up = true, .cids = cids, .ncids = 4};
        struct tale t;

        begin(&t, seed, four, NULL, 0);
        run_until_conns(&t, 4);
        reopen_free(&t.r);
        t.w->gone_is_ok = true;
        for (uint16_t cid = 0; cid < 4; cid++)
            conn(&t, cid)->leaves = (seed >> cid & 1) != 0;
        rc.login = &t.cfg;
        cb.user = &t;
        found.res = t.res;
        found.asked_to_leave = conn(&t, t.res.cid)->leaves;
        assert_int_equal(reopen_new(t.w->ctl, &t.gate, &rc, &cb, &t.r, NULL), 0);
        reopen_take_over(t.r, &found);
        for (uint16_t cid = 0; cid < 4; cid++) {
            while (conn(&t, cid)->leaves)
                assert_true(world_step(t.w));
        }
        assert_int_equal(t.w->logouts, __builtin_popcountll(seed & 15));
        run_until_conns(&t, 4);
        tale_end(&t);
    }
}

static void
cut_anywhere(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct tale t;

        begin(&t, seed, four, NULL, 0);
        t.w->gone_is_ok = true;
        for (int i = 0; i < 15; i++) {
            struct fake_conn *c = conn(&t, (uint16_t)(world_random(t.w) % 4));
            unsigned steps = (unsigned)(world_random(t.w) % 90);

            if (c != NULL && c->bound)
                fake_lose(t.w, c, 0, 0);
            for (unsigned step = 0; step < steps; step++)
                (void)world_step(t.w);
        }
        tale_pass(&t, 20 * SEC);
        run_until_conns(&t, 4);
        for (uint16_t cid = 0; cid < 4; cid++)
            assert_true(conn(&t, cid)->started);
        assert_int_equal(t.backs, t.losts);
        assert_int_equal(t.w->sessions_made, 1);
        tale_end(&t);
    }
}

/* The owner lets go after any number of steps. */
static void
close_anywhere(void **state)
{
    static const struct step *const scripts[] = {say_good, say_cut, say_refused, say_good};

    (void)state;
    for (unsigned steps = 0; steps < 400; steps += 3) {
        struct tale t;

        begin(&t, 1 + steps % 7, four, scripts, 4);
        for (unsigned i = 0; i < steps; i++) {
            if (i == 200 && conn(&t, 1) != NULL && conn(&t, 1)->started)
                fake_lose(t.w, conn(&t, 1), 0, 0);
            if (i == 300 && t.c->started)
                fake_lose(t.w, t.c, 0, 0);
            (void)world_step(t.w);
        }
        tale_end(&t);
    }
}

/* Or in the callback that tells him of another leading connection. */
static void
close_in_callback(void **state)
{
    struct tale t;

    (void)state;
    begin(&t, 70, two, NULL, 0);
    run_until_conns(&t, 2);
    t.free_in = "led";
    fake_lose(t.w, t.c, 0, 0);
    world_run(t.w, &t.over);
    assert_null(t.r);
    t.res.cid = 1;
    tale_end(&t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(added),
        cmocka_unit_test(negotiated_down),
        cmocka_unit_test(slow),
        cmocka_unit_test(refused),
        cmocka_unit_test(lost_at_once),
        cmocka_unit_test(lost_during_login),
        cmocka_unit_test(first_login_is_early),
        cmocka_unit_test(rejoin_is_early),
        cmocka_unit_test(member_lost),
        cmocka_unit_test(lead_lost),
        cmocka_unit_test(loss_is_asked_for),
        cmocka_unit_test(all_lost),
        cmocka_unit_test(number_changes),
        cmocka_unit_test(all_lost_at_level_2),
        cmocka_unit_test(member_asked_to_leave),
        cmocka_unit_test(all_asked_to_leave),
        cmocka_unit_test(spread),
        cmocka_unit_test(dead_from_the_first),
        cmocka_unit_test(portal_dies),
        cmocka_unit_test(recovered_elsewhere),
        cmocka_unit_test(rejoined_elsewhere),
        cmocka_unit_test(moved_for_good),
        cmocka_unit_test(any_rejoins),
        cmocka_unit_test(none_rejoins_yet),
        cmocka_unit_test(other_group),
        cmocka_unit_test(taken_over),
        cmocka_unit_test(taken_over_and_asked),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(close_anywhere),
        cmocka_unit_test(close_in_callback),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
