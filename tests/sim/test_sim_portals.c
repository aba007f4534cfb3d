/* SPDX-License-Identifier: MIT */
/* A session over two portals of a portal group: one of them dies under I/O, and comes back. */
#include "tests/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/world.h"

#define BLOCK 512u
#define CONNS 4u

struct pw {
    struct world w;
    struct sock_addr at[2];
    struct lunette_lun *lun;
    unsigned round;
    unsigned lost; /* events of a lost session */
};

static void
on_event(void *user, const struct lunette_event *ev)
{
    struct pw *p = user;

    p->lost += ev->type == LUNETTE_EVENT_CONN_LOST;
}

static void
start(struct pw *p, uint64_t seed, const char *options)
{
    static const struct target_key_value set[] = {{"ErrorRecoveryLevel", "2"}};
    struct world_config cfg = {.block = BLOCK, .set = set, .set_count = 1, .options = options};
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sock_addr at = {.len = sizeof(in)};

    memset(p, 0, sizeof(*p));
    world_new(&p->w, seed, &cfg);
    p->at[0] = p->w.portal;
    in.sin_addr.s_addr = htonl(0x0a000002);
    in.sin_port = htons(3260);
    memcpy(&at.ss, &in, sizeof(in));
    assert_int_equal(target_listen(p->w.target, &at, &p->at[1], NULL), 0);
    assert_int_equal(lunette_ctx_set_events(p->w.ctx, on_event, p), 0);
}

static void
finish(struct pw *p)
{
    p->w.lun = NULL;
    lunette_close(p->lun);
    world_free(&p->w);
}

/* Connections that are logged in at portal i. */
static unsigned
conns_at(const struct pw *p, unsigned i)
{
    const struct lunette_session *s = lunette_lun_session(p->lun);
    struct lunette_conn_info c = LUNETTE_INIT(c);
    struct lunette_session_info info = LUNETTE_INIT(info);
    char portal[64];
    unsigned n = 0;

    (void)sock_addr_format(&p->at[i], portal, sizeof(portal));
    assert_int_equal(lunette_session_get_info(s, &info), 0);
    for (size_t k = 0; lunette_session_get_conn(s, k, &c) == 0; k++) {
        assert_true(k < info.nconnections);
        if (c.state != LUNETTE_CONN_LOGGED_IN)
            continue;
        n += strcmp(c.portal, portal) == 0;
    }
    return n;
}

static void
one_write(struct pw *p)
{
    uint8_t buf[BLOCK], back[BLOCK];
    uint64_t at = p->round % 64 * (uint64_t)BLOCK;
    struct lunette_error err = LUNETTE_INIT(err);

    memset(buf, (int)(p->round * 7 % 251), sizeof(buf));
    if (lunette_pwrite(p->lun, buf, BLOCK, at, 0, &err) < 0 ||
        lunette_pread(p->lun, back, BLOCK, at, &err) < 0)
        fail_msg("round %u: %s", p->round, err.msg);
    assert_memory_equal(buf, back, BLOCK);
    p->round++;
    assert_int_equal(lunette_ctx_run(p->w.ctx, 1), 0);
}

/* I/O goes on until so many connections are at portal i. */
static void
write_until(struct pw *p, unsigned i, unsigned conns)
{
    uint64_t until = sim_now_ns(p->w.sim) + 60 * LOOP_NS_PER_S;

    while (conns_at(p, i) != conns) {
        one_write(p);
        if (sim_now_ns(p->w.sim) > until)
            fail_msg("%u connections at portal %u, %u at the other", conns_at(p, i), i,
                     conns_at(p, !i));
    }
    for (int k = 0; k < 50; k++)
        one_write(p);
}

static void
kill_portal(struct pw *p, unsigned i, bool silent, bool on)
{
    if (silent) {
        sim_stall(p->w.sim, &p->at[i], on);
        return;
    }
    sim_refuse(p->w.sim, &p->at[i], on);
    if (on)
        (void)sim_cut(p->w.sim, &p->at[i], SIM_RESET);
}

/* Either portal refuses connections, or says nothing, one after the other. */
static void
one_dies(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 4; kind++) {
        bool silent = kind % 2 != 0;
        char options[128];
        struct pw p;

        (void)snprintf(options, sizeof(options),
                       "?nr_connections=%u&portals=10.0.0.2&error_recovery_level=%u&replacement_"
                       "timeout=60&ping_interval=1s&ping_timeout=1s",
                       CONNS, kind / 2 * 2);
        start(&p, 7 + kind, options);
        p.lun = p.w.lun = world_open_lun(&p.w);
        write_until(&p, 0, 2);
        write_until(&p, 1, 2);
        for (unsigned i = 0; i < 4; i++) {
            unsigned dead = i % 2;

            kill_portal(&p, dead, silent, true);
            write_until(&p, !dead, CONNS);
            kill_portal(&p, dead, silent, false);
            sim_cut_one(p.w.sim, 0, SIM_RESET);
            sim_cut_one(p.w.sim, 1, SIM_RESET);
            write_until(&p, dead, 2);
            write_until(&p, !dead, 2);
        }
        assert_int_equal(p.lost, 0);
        finish(&p);
    }
}

/* A portal that is dead when the session is opened is passed over, and so it is by a session of one
 * connection that is lost. */
static void
dead_from_the_first(void **state)
{
    struct pw p;

    (void)state;
    start(&p, 3, "?portals=10.0.0.2&default_time2wait=0");
    sim_refuse(p.w.sim, &p.at[0], true);
    p.lun = p.w.lun = world_open_lun(&p.w);
    assert_int_equal(conns_at(&p, 1), 1);
    one_write(&p);
    kill_portal(&p, 0, false, false);
    kill_portal(&p, 1, false, true);
    write_until(&p, 0, 1);
    assert_int_equal(p.lost, 1);
    finish(&p);
}

/* Both ends are told. */
static void
addresses(void **state)
{
    struct lunette_conn_info c = LUNETTE_INIT(c);
    struct pw p;

    (void)state;
    start(&p, 4, "?nr_connections=2&portals=10.0.0.2");
    p.lun = p.w.lun = world_open_lun(&p.w);
    write_until(&p, 1, 1);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(lunette_session_get_conn(lunette_lun_session(p.lun), i, &c), 0);
        assert_int_equal(c.cid, i);
        assert_string_equal(c.portal, i == 0 ? "10.0.0.1:3260" : "10.0.0.2:3260");
        assert_non_null(strchr(c.local, ':'));
    }
    assert_int_equal(lunette_session_get_conn(lunette_lun_session(p.lun), 2, &c), -ENOENT);
    finish(&p);
}

/* Writes until the second connection is, or is not, logged in and says why not. */
static void
write_until_why(struct pw *p, bool why, struct lunette_conn_info *c)
{
    uint64_t until = sim_now_ns(p->w.sim) + 60 * LOOP_NS_PER_S;

    do {
        one_write(p);
        assert_int_equal(lunette_session_get_conn(lunette_lun_session(p->lun), 1, c), 0);
        assert_true(sim_now_ns(p->w.sim) < until);
    } while (why ? c->error == 0 : c->state != LUNETTE_CONN_LOGGED_IN);
}

/* One that does not come up says why, as long as it does not. */
static void
why_not(void **state)
{
    struct lunette_conn_info c = LUNETTE_INIT(c);
    struct pw p;

    (void)state;
    start(&p, 5, "?nr_connections=2&portals=10.0.0.2&default_time2wait=0");
    p.lun = p.w.lun = world_open_lun(&p.w);
    write_until(&p, 1, 1);
    sim_refuse(p.w.sim, &p.at[0], true);
    kill_portal(&p, 1, false, true);
    write_until_why(&p, true, &c);
    while (strstr(c.error_text, "efused") == NULL) { /* at first it is why it was lost */
        assert_true(c.error < 0 && c.error_text[0] != '\0' && c.state != LUNETTE_CONN_LOGGED_IN);
        write_until_why(&p, true, &c);
    }
    sim_refuse(p.w.sim, &p.at[0], false);
    write_until_why(&p, false, &c);
    assert_int_equal(c.error, 0);
    assert_string_equal(c.error_text, "");
    finish(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_dies),
        cmocka_unit_test(dead_from_the_first),
        cmocka_unit_test(addresses),
        cmocka_unit_test(why_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
