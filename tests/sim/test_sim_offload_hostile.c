/* SPDX-License-Identifier: MIT */
/* offload_session and engines that lie, or that die at each step: each command is given back once,
 * nothing outside of it is written, and a good engine that comes afterwards is used again. */
#include "tests/test.h"

#include "tests/sim/offload_world.h"

#include <string.h>

#include "seam/shm.h"

#define SEEDS 200

static struct world world;

/* ---- entries -------------------------------------------------------------------------------- */

/* Mostly what could be right, with one thing in it that is not; the memory of the head and the
 * indices as well. */
static void
lie(struct world *w)
{
    struct fake_engine *fe = &w->fe;
    struct fake_engine_client *c = &fe->client[0];
    struct sim *sim = w->sim;
    struct offload_cqe e = {.kind = 1};
    struct ring_shared *cq;

    if (!c->attached || sim_process_killed(fe->l))
        return;
    cq = (struct ring_shared *)(void *)((char *)c->region + offload_cq_at(c->slots));
    if (fe->nheld > 0)
        e = fake_engine_answer(fe, &fe->held[sim_below(sim, fe->nheld)]);
    switch (sim_below(sim, 12)) {
    case 0:
        e.slot = (uint16_t)sim_below(sim, 300);
        break;
    case 1:
        e.generation += (uint32_t)sim_below(sim, 5) - 2;
        break;
    case 2:
        e.resid_in = (uint32_t)sim_below(sim, UINT32_MAX);
        break;
    case 3:
        e.sense_len = (uint16_t)sim_below(sim, 400);
        break;
    case 4:
        e.kind = (uint8_t)sim_below(sim, 4);
        break;
    case 5:
        e.host_result = (uint8_t)sim_below(sim, 256);
        break;
    case 6:
        e.state = (uint32_t)sim_below(sim, 8);
        e.state_event = (uint32_t)sim_below(sim, 10);
        break;
    case 7:
        e.sid = (uint32_t)sim_below(sim, 110);
        break;
    case 8:
        cq->produced = (uint32_t)sim_below(sim, UINT32_MAX);
        shm_bell_ring(fe->l, c->fd[IPC_ENGINE_BELL_CLIENT]);
        return;
    case 9: /* of our ring: how much of it was taken */
        ((struct ring_shared *)(void *)((char *)c->region + offload_sq_at()))->consumed =
            (uint32_t)sim_below(sim, UINT32_MAX);
        return;
    case 10:
        for (size_t i = 0; i < sizeof(e); i++)
            ((uint8_t *)&e)[i] = (uint8_t)sim_below(sim, 256);
        break;
    default:
        break;
    }
    fake_engine_put(fe, 0, &e);
}

/* Messages of the control socket that nobody has asked for. */
static void
babble(struct world *w)
{
    struct fake_engine_client *c = &w->fe.client[0];
    struct iscsi_kevent ev = {.type = (enum iscsi_kevent_type)(1 + sim_below(w->sim, 9)),
                              .number = sim_below(w->sim, 20)};

    if (!c->attached || sim_process_killed(w->fe.l))
        return;
    ev.sid = (uint32_t)(FAKE_ENGINE_SID + sim_below(w->sim, 3));
    if (ev.type == ISCSI_KEVENT_SESSION_STATE)
        ev.u.session_state.state = (enum ipc_session_state)sim_below(w->sim, IPC_SESSION_STATES);
    (void)c->ipc.event(c->ipc.binding, &ev, NULL);
}

static void
submit_some(struct world *w)
{
    for (unsigned i = 0; i < WORLD_CMDS; i++) {
        if (!w->cmd[i].out && sim_below(w->sim, 2) == 0)
            (void)world_submit(w, 0, i, sim_below(w->sim, 2) ? 0x28 : 0x2a,
                               (uint32_t)sim_below(w->sim, 64), 512);
    }
}

static void
good_engine(struct world *w)
{
    fake_engine_stop(&w->fe);
    w->fe.hold = w->fe.silent = w->fe.keeps = w->fe.no_login = false;
    w->fe.die_after = 0;
    fake_engine_start(&w->fe, w->sim);
}

static bool
runs_idle(void *user)
{
    struct world *w = user;

    return w->ses[0].host->state == SCSI_HOST_RUNNING && world_idle(w);
}

static void
test_lies(void **state)
{
    unsigned lost = 0;

    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        struct world *w = &world;

        world_begin(w, seed, NULL);
        fake_engine_start(&w->fe, w->sim);
        world_log_in(w, 0);
        w->fe.hold = true;
        for (unsigned i = 0; i < 20; i++) {
            if (w->fe.nheld + WORLD_CMDS < FAKE_ENGINE_HELD)
                submit_some(w);
            world_run(w, MS);
            lie(w);
            if (sim_below(w->sim, 4) == 0)
                babble(w);
            world_run(w, MS);
        }
        lost += w->fe.client[0].there ? 0 : 1;
        good_engine(w);
        assert_true(world_until(w, runs_idle, 100 * SEC));
        world_end(w);
    }
    assert_true(lost > SEEDS / 2); /* most lies are found out */
}

/* What an engine writes to a command that it has answered already. */
static void
test_late_write(void **state)
{
    struct world *w = &world;
    struct offload_sqe e;

    (void)state;
    world_begin(w, 1, NULL);
    fake_engine_start(&w->fe, w->sim);
    world_log_in(w, 0);
    w->fe.hold = true;
    assert_int_equal(world_submit(w, 0, 0, 0x28, 0, 512), 0);
    world_run(w, MS);
    e = w->fe.held[0];
    fake_engine_serve_all(&w->fe);
    assert_true(world_until(w, world_idle, SEC));
    memset((uint8_t *)w->fe.client[0].arena + e.in_off, 0x5a, 16);
    assert_int_equal(world_submit(w, 0, 0, 0x28, 0, 512), 0);
    world_run(w, MS);
    fake_engine_serve_all(&w->fe);
    world_run(w, 100 * MS);
    assert_non_null(strstr(w->log, "has written to data of a request that had ended"));
    assert_true(world_idle(w));
    world_end(w);
}

/* ---- deaths --------------------------------------------------------------------------------- */

/* What a killed engine still does to memory must not matter. */
static void
scribble(void *user, uint8_t *mem, size_t size)
{
    struct world *w = user;

    for (unsigned i = 0; i < 64; i++)
        mem[sim_below(w->sim, size)] = (uint8_t)sim_below(w->sim, 256);
}

static bool
login_is_told(void *user)
{
    return ((struct world *)user)->ses[0].logins > 0;
}

/* It dies at its n-th step; a good one comes later.  The control plane tries again where the login
 * has failed. */
static void
die_at(struct world *w, unsigned n)
{
    struct lunette_error err;

    world_begin(w, n, n % 2 ? &sim_rough : NULL);
    w->fe.die_after = n;
    fake_engine_start(&w->fe, w->sim);
    sim_process_set_dying(w->fe.l, scribble, w);
    assert_int_equal(world_connect(w, 0, WORLD_ENGINE, &err), 0);
    world_run(w, SEC);
    assert_int_equal(w->ses[0].ep_events, 1);
    if (w->ses[0].ep_event < 0) {
        good_engine(w);
        world_disconnect(w, 0);
        assert_int_equal(world_connect(w, 0, WORLD_ENGINE, &err), 0);
        world_run(w, SEC);
        assert_int_equal(w->ses[0].ep_event, 1);
    }
    world_create(w, 0);
    assert_int_equal(world_start(w, 0), 0);
    assert_true(world_until(w, login_is_told, 60 * SEC));
    if (w->ses[0].login_why.code < 0) {
        good_engine(w);
        offload_session_ops.stop_conn(w->ses[0].conn, STOP_CONN_RECOVER);
        world_run(w, SEC);
        assert_int_equal(w->ses[0].downs, 1);
        assert_int_equal(
            offload_session_ops.bind_conn(w->ses[0].conn, 7, &w->ses[0].ep, true, &err), 0);
        assert_int_equal(world_start(w, 0), 0);
        world_run(w, 60 * SEC);
    }
    assert_int_equal(w->ses[0].login_why.code, 0);
    for (unsigned i = 0; i < 8; i++) {
        submit_some(w);
        world_run(w, MS);
    }
    if (sim_process_killed(w->fe.l))
        good_engine(w);
    assert_true(world_until(w, runs_idle, 60 * SEC));
    world_end(w);
}

static void
test_deaths(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 120; n++)
        die_at(&world, n);
}

/* Torn down while the engine is dying, at any time. */
static void
test_deaths_in_teardown(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 100; seed++) {
        struct world *w = &world;

        world_begin(w, seed, NULL);
        fake_engine_start(&w->fe, w->sim);
        world_log_in(w, 0);
        sim_set_reaping(w->sim, seed % 2 ? 30 * SEC : 0);
        w->fe.hold = w->fe.keeps = true;
        submit_some(w);
        world_run(w, sim_below(w->sim, 3 * MS));
        if (seed % 3 == 0)
            fake_engine_kill(&w->fe);
        world_run(w, sim_below(w->sim, 3 * MS));
        offload_session_ops.teardown(w->ses[0].s);
        world_run(w, sim_below(w->sim, 3 * MS));
        fake_engine_kill(&w->fe);
        world_run(w, SEC);
        assert_int_equal(w->ses[0].freed, 1); /* nobody waits for the end of a process here */
        assert_true(world_idle(w));
        world_end(w);
    }
}

/* ---- want of memory ------------------------------------------------------------------------- */

static void
test_shm_short(void **state)
{
    struct lunette_error err = {0};
    unsigned failed = 0;

    (void)state;
    for (unsigned after = 0; after < 12; after++) {
        struct world *w = &world;
        unsigned fds;

        world_begin(w, 1, NULL);
        fake_engine_start(&w->fe, w->sim);
        sim_shm_fail(w->sim, after, EMFILE);
        assert_int_equal(world_connect(w, 0, WORLD_ENGINE, &err), 0);
        world_run(w, SEC);
        assert_int_equal(w->ses[0].ep_events, 1);
        if (w->ses[0].ep_event < 0) {
            failed++;
            offload_session_transport.ep_why(&w->ses[0].ep, &err);
            assert_int_equal(err.code, -EMFILE);
        }
        world_disconnect(w, 0);
        world_run(w, SEC);
        fds = sim_process_fds(w->l);
        assert_int_equal(fds, 0);
        world_end(w);
    }
    assert_true(failed >= 7); /* two memories, two bells, two copies, a watch; and the engine's */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lies),      cmocka_unit_test(test_late_write),
        cmocka_unit_test(test_deaths),    cmocka_unit_test(test_deaths_in_teardown),
        cmocka_unit_test(test_shm_short),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
