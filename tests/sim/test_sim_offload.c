/* SPDX-License-Identifier: MIT */
/* offload_session, an engine that does as it should, and one that ends: logins, commands, losses.
 */
#include "tests/test.h"

#include "tests/sim/offload_world.h"

#include <string.h>

static struct world world;

static void
begin_running(struct world *w)
{
    world_begin(w, 1, NULL);
    fake_engine_start(&w->fe, w->sim);
    world_log_in(w, 0);
}

/* ---- logging in ----------------------------------------------------------------------------- */

static void
test_login(void **state)
{
    struct world *w = &world;

    (void)state;
    begin_running(w);
    assert_int_equal(w->fe.hellos, 1);
    assert_int_equal(w->fe.attaches, 1);
    assert_string_equal(w->fe.client[0].param[ISCSI_PARAM_TARGET_NAME], "iqn.2026-11.example:disk");
    assert_string_equal(w->fe.client[0].param[ISCSI_PARAM_INITIATOR_NAME],
                        "iqn.2026-11.example:me");
    assert_string_equal(w->fe.client[0].param[ISCSI_PARAM_PORTAL], "192.0.2.1:3260");
    assert_int_equal(w->ses[0].host->max_transfer, 1u << 20);
    assert_int_equal(w->ses[0].state, SCSI_HOST_RUNNING);
    assert_int_equal(w->ses[0].host->can_queue, 124);
    world_end(w);
    assert_int_equal(w->fe.leaves, 1);
    assert_string_equal(w->log, "");
}

/* The event may overtake the answer. */
static void
test_login_early(void **state)
{
    struct world *w = &world;

    (void)state;
    world_begin(w, 1, NULL);
    w->fe.early_login = true;
    fake_engine_start(&w->fe, w->sim);
    world_log_in(w, 0);
    world_end(w);
}

static void
test_no_engine(void **state)
{
    struct world *w = &world;
    struct lunette_error err = {0};

    (void)state;
    world_begin(w, 1, NULL);
    assert_int_equal(world_connect(w, 0, "engine=/run/nobody", &err), 0);
    world_run(w, SEC);
    assert_int_equal(w->ses[0].ep_events, 1);
    assert_true(w->ses[0].ep_event < 0);
    assert_true(offload_session_transport.ep_poll(&w->ses[0].ep) < 0);
    offload_session_transport.ep_why(&w->ses[0].ep, &err);
    assert_non_null(strstr(err.msg, "no engine at /run/nobody: start one with `iscsi-engine"));
    world_disconnect(w, 0);
    assert_int_equal(world_connect(w, 0, "offload_slots=9", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "which engine is meant"));
    assert_int_equal(world_connect(w, 0, "engine=x", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "begins with a slash"));
    world_end(w);
}

/* Each step that an engine can refuse, and what a person is told. */
static void
test_refused(void **state)
{
    static const struct {
        size_t knob;
        bool at_connect;
        const char *why;
    } rows[] = {
        {offsetof(struct fake_engine, hello_err), true, "versions 7 to 9"},
        {offsetof(struct fake_engine, attach_err), true, "not now"},
        {offsetof(struct fake_engine, create_err), false, "too many sessions"},
        {offsetof(struct fake_engine, param_err), false, "no such value"},
        {offsetof(struct fake_engine, start_err), false, "no such record"},
        {offsetof(struct fake_engine, login_err), false, "does not know us"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world *w = &world;
        struct lunette_error err = {0};

        world_begin(w, 1, NULL);
        *(int *)(void *)((char *)&w->fe + rows[i].knob) = -EPERM;
        fake_engine_start(&w->fe, w->sim);
        assert_int_equal(world_connect(w, 0, WORLD_ENGINE, &err), 0);
        world_run(w, SEC);
        assert_int_equal(w->ses[0].ep_events, 1);
        assert_int_equal(w->ses[0].ep_event, rows[i].at_connect ? -EPERM : 1);
        if (rows[i].at_connect) {
            offload_session_transport.ep_why(&w->ses[0].ep, &err);
        } else {
            world_create(w, 0);
            assert_int_equal(world_start(w, 0), 0);
            world_run(w, SEC);
            assert_int_equal(w->ses[0].logins, 1);
            err = w->ses[0].login_why;
            world_run(w, 100 * SEC); /* it is not tried again by itself */
            assert_int_equal(w->ses[0].logins, 1);
            assert_true(w->fe.sessions == 1);
            assert_int_equal(w->fe.leaves, i == 2 ? 0 : 1);
        }
        assert_int_equal(err.code, -EPERM);
        assert_non_null(strstr(err.msg, rows[i].why));
        world_end(w);
    }
}

/* An engine that refuses and gives no reason is no reason to fall over. */
static void
test_refused_without_words(void **state)
{
    static const size_t knobs[] = {
        offsetof(struct fake_engine, hello_err), offsetof(struct fake_engine, attach_err),
        offsetof(struct fake_engine, create_err), offsetof(struct fake_engine, param_err),
        offsetof(struct fake_engine, start_err)};

    (void)state;
    for (size_t i = 0; i < sizeof(knobs) / sizeof(knobs[0]); i++) {
        struct world *w = &world;
        struct lunette_error err = {0};

        world_begin(w, 1, NULL);
        w->fe.wordless = true;
        *(int *)(void *)((char *)&w->fe + knobs[i]) = -EPERM;
        fake_engine_start(&w->fe, w->sim);
        assert_int_equal(world_connect(w, 0, WORLD_ENGINE, &err), 0);
        world_run(w, SEC);
        assert_int_equal(w->ses[0].ep_event, i < 2 ? -EPERM : 1);
        if (i < 2) {
            offload_session_transport.ep_why(&w->ses[0].ep, &err);
        } else {
            world_create(w, 0);
            assert_int_equal(world_start(w, 0), 0);
            world_run(w, SEC);
            assert_int_equal(w->ses[0].logins, 1);
            err = w->ses[0].login_why;
        }
        assert_int_equal(err.code, -EPERM);
        assert_non_null(strstr(err.msg, "not said why"));
        world_end(w);
    }
}

/* Nor is one that answers what it was not asked: what it agrees to would not be there. */
static void
test_confused(void **state)
{
    struct world *w = &world;
    struct lunette_error err = {0};

    (void)state;
    world_begin(w, 1, NULL);
    w->fe.confused = true;
    fake_engine_start(&w->fe, w->sim);
    assert_int_equal(world_connect(w, 0, WORLD_ENGINE, &err), 0);
    world_run(w, SEC);
    assert_int_equal(w->ses[0].ep_event, -EPROTO);
    offload_session_transport.ep_why(&w->ses[0].ep, &err);
    assert_non_null(strstr(err.msg, "something else"));
    world_end(w);
}

static void
test_silent(void **state)
{
    struct world *w = &world;
    struct lunette_error err = {0};

    (void)state;
    world_begin(w, 1, NULL);
    w->fe.silent = true;
    fake_engine_start(&w->fe, w->sim);
    assert_int_equal(world_connect(w, 0, WORLD_ENGINE, &err), 0);
    world_run(w, 9 * SEC);
    assert_int_equal(w->ses[0].ep_event, 0);
    world_run(w, 2 * SEC);
    assert_int_equal(w->ses[0].ep_event, -ETIMEDOUT);
    offload_session_transport.ep_why(&w->ses[0].ep, &err);
    assert_non_null(strstr(err.msg, "does not answer"));
    world_end(w);
}

/* Two sessions of a loop share the attachment. */
static void
test_shared(void **state)
{
    struct world *w = &world;

    (void)state;
    begin_running(w);
    world_log_in(w, 1);
    assert_int_equal(w->fe.attaches, 1);
    assert_int_equal(w->fe.sessions, 2);
    assert_int_equal(world_submit(w, 0, 0, 0x00, 0, 0), 0);
    assert_int_equal(world_submit(w, 1, 1, 0x00, 0, 0), 0);
    assert_true(world_until(w, world_idle, SEC));
    world_end(w);
}

/* An engine of several loops has the target on one of them. */
static void
test_loops(void **state)
{
    struct world *w = &world;
    uint32_t home = offload_loop_of("iqn.2026-11.example:disk", 6);

    (void)state;
    assert_true(home != 0);
    world_begin(w, 1, NULL);
    w->fe.loops = 6;
    fake_engine_start(&w->fe, w->sim);
    world_log_in(w, 0);
    assert_int_equal(w->fe.attaches, 2);
    assert_int_equal(w->fe.client[0].index, 0);
    assert_int_equal(w->fe.client[1].index, home);
    assert_true(w->fe.client[1].running);
    assert_int_equal(world_submit(w, 0, 0, 0x00, 0, 0), 0);
    assert_true(world_until(w, world_idle, SEC));
    world_end(w);
}

/* ---- commands ------------------------------------------------------------------------------- */

static void
test_data(void **state)
{
    struct world *w = &world;

    (void)state;
    begin_running(w);
    for (unsigned i = 0; i < 4; i++) {
        memset(w->cmd[i].data, (int)(0x30 + i), sizeof(w->cmd[i].data));
        assert_int_equal(world_submit(w, 0, i, 0x2a, 8 * i, 4096), 0);
        assert_int_equal(w->cmd[i].done, 0); /* never from inside */
    }
    assert_true(world_until(w, world_idle, SEC));
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(w->fe.disk[4096 * i], 0x30 + i);
        assert_int_equal(w->fe.disk[4096 * i + 4095], 0x30 + i);
        memset(w->cmd[i].data, 0, sizeof(w->cmd[i].data));
        assert_int_equal(world_submit(w, 0, i, 0x28, 8 * i, 512 * (i + 1)), 0);
    }
    assert_int_equal(w->fe.last.lun[1], 3);
    assert_true(world_until(w, world_idle, SEC));
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(w->cmd[i].sc.not_good, 0);
        assert_int_equal(w->cmd[i].data[512 * i + 511], 0x30 + i);
        assert_int_equal(w->cmd[i].data[512 * (i + 1)], 0);
    }
    world_end(w);
}

/* A long CDB goes through the arena. */
static void
test_long_cdb(void **state)
{
    struct world *w = &world;
    uint8_t cdb[260];

    (void)state;
    begin_running(w);
    w->fe.hold = true;
    for (unsigned i = 0; i < sizeof(cdb); i++)
        cdb[i] = (uint8_t)i;
    w->cmd[0].sc = (struct scsi_cmd){.done = NULL};
    assert_int_equal(world_submit(w, 0, 0, 0x00, 0, 0), 0);
    assert_true(w->fe.nheld == 0);
    world_run(w, MS);
    fake_engine_serve_all(&w->fe);
    world_run(w, MS);
    w->cmd[0].sc.cdb_long = cdb;
    w->cmd[0].sc.cdb_len = sizeof(cdb);
    w->cmd[0].sc.not_good = w->cmd[0].sc.not_moved = 0;
    w->cmd[0].out = true;
    assert_int_equal(w->ses[0].host->ops->queuecommand(w->ses[0].host, &w->cmd[0].sc), 0);
    w->ses[0].host->ops->commit(w->ses[0].host);
    world_run(w, MS);
    assert_int_equal(w->fe.nheld, 1);
    assert_int_equal(w->fe.held[0].cdb_len, 260);
    assert_memory_equal((uint8_t *)w->fe.client[0].arena + w->fe.held[0].cdb_off, cdb, 260);
    fake_engine_serve_all(&w->fe);
    assert_true(world_until(w, world_idle, SEC));
    world_end(w);
}

/* What an answer says is told as it is; data come as far as they were moved. */
static void
test_answer(void **state)
{
    struct world *w = &world;
    struct offload_cqe e;
    uint8_t *sense;

    (void)state;
    begin_running(w);
    w->fe.hold = true;
    memset(w->cmd[0].data, 0xee, sizeof(w->cmd[0].data));
    assert_int_equal(world_submit(w, 0, 0, 0x28, 0, 1024), 0);
    world_run(w, MS);
    e = fake_engine_answer(&w->fe, &w->fe.held[0]);
    memset((uint8_t *)w->fe.client[0].arena + w->fe.held[0].in_off, 0x55, 1024);
    e.status = 2;
    e.status_qualifier = 77;
    e.resid_in = 1000;
    e.sense_len = 18;
    sense = (uint8_t *)w->fe.client[0].region + offload_sense_at(w->fe.client[0].slots) +
            (size_t)e.slot * OFFLOAD_SENSE_BYTES;
    for (unsigned i = 0; i < 18; i++)
        sense[i] = (uint8_t)(0x70 + i);
    w->fe.nheld = 0;
    fake_engine_put(&w->fe, 0, &e);
    assert_true(world_until(w, world_idle, SEC));
    assert_int_equal(w->cmd[0].sc.host_result, DID_OK);
    assert_int_equal(w->cmd[0].sc.status, 2);
    assert_int_equal(w->cmd[0].sc.status_qualifier, 77);
    assert_int_equal(w->cmd[0].sc.resid_in, 1000);
    assert_int_equal(w->cmd[0].sc.sense_len, 18);
    assert_int_equal(w->cmd[0].sc.sense[17], 0x81);
    assert_int_equal(w->cmd[0].data[23], 0x55);
    assert_int_equal(w->cmd[0].data[24], 0xee);
    world_end(w);
}

static void
test_busy(void **state)
{
    struct world *w = &world;
    struct lunette_error err;
    int r = 0;
    unsigned n = 0;

    (void)state;
    world_begin(w, 1, NULL);
    fake_engine_start(&w->fe, w->sim);
    assert_int_equal(world_connect(w, 0, WORLD_ENGINE "&offload_slots=8", &err), 0);
    world_run(w, SEC);
    world_create(w, 0);
    assert_int_equal(world_start(w, 0), 0);
    world_run(w, SEC);
    assert_int_equal(w->ses[0].host->can_queue, 4); /* four are kept for task management */
    w->fe.hold = true;
    while (n < WORLD_CMDS && (r = world_submit(w, 0, n, 0x00, 0, 0)) == 0)
        n++;
    assert_int_equal(r, -EBUSY);
    assert_int_equal(n, 4);
    world_run(w, SEC);
    assert_int_equal(w->ses[0].restarts, 0);
    fake_engine_serve_held(&w->fe, 0);
    world_run(w, SEC);
    assert_int_equal(w->ses[0].restarts, 1);
    assert_int_equal(world_submit(w, 0, n, 0x00, 0, 0), 0);
    w->fe.hold = false;
    world_run(w, SEC);
    fake_engine_serve_all(&w->fe);
    assert_true(world_until(w, world_idle, SEC));
    world_end(w);
}

/* ---- task management ------------------------------------------------------------------------ */

static void
test_abort(void **state)
{
    struct world *w = &world;
    struct offload_cqe e;
    struct world_wait x;

    (void)state;
    begin_running(w);
    w->fe.hold = true;
    assert_int_equal(world_submit(w, 0, 0, 0x2a, 0, 512), 0);
    world_run(w, MS);
    assert_int_equal(w->ses[0].host->ops->eh_timed_out(w->ses[0].host, &w->cmd[0].sc),
                     SCSI_TIMEOUT_ABORT);
    world_abort(w, 0, 0, &x);
    assert_int_equal(x.done, 0);
    world_run(w, MS);
    assert_int_equal(w->fe.nheld, 2);
    assert_int_equal(w->fe.held[1].function, OFFLOAD_ABORT);
    assert_int_equal(w->fe.held[1].ref_slot, w->fe.held[0].slot);
    assert_int_equal(w->fe.held[1].ref_generation, w->fe.held[0].generation);
    e = fake_engine_answer(&w->fe, &w->fe.held[0]);
    e.host_result = DID_ABORT;
    e.resid_out = 512;
    fake_engine_put(&w->fe, 0, &e);
    fake_engine_serve_held(&w->fe, 1);
    w->fe.nheld = 0;
    world_run(w, MS);
    assert_int_equal(x.done, 1);
    assert_int_equal(x.result, SCSI_EH_SUCCESS);
    assert_int_equal(w->cmd[0].done, 1);
    assert_int_equal(w->cmd[0].sc.host_result, DID_ABORT);
    world_end(w);
    assert_string_equal(w->log, "");
}

/* An engine that says so and keeps the command is not believed. */
static void
test_abort_lie(void **state)
{
    struct world *w = &world;
    struct world_wait x;

    (void)state;
    begin_running(w);
    w->fe.hold = true;
    assert_int_equal(world_submit(w, 0, 0, 0x2a, 0, 512), 0);
    world_run(w, MS);
    world_abort(w, 0, 0, &x);
    world_run(w, MS);
    fake_engine_serve_held(&w->fe, 1);
    world_run(w, 100 * MS);
    assert_int_equal(x.done, 1);
    assert_int_equal(x.result, SCSI_EH_FAILED);
    assert_int_equal(w->cmd[0].done, 0); /* it may still be executed */
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_BLOCKED);
    assert_non_null(strstr(w->log, "has aborted a command and has not given it back"));
    fake_engine_kill(&w->fe);
    world_run(w, SEC);
    assert_int_equal(w->cmd[0].done, 1);
    assert_int_equal(w->cmd[0].sc.host_result, DID_TRANSPORT_DISRUPTED);
    world_end(w);
}

static void
test_resets(void **state)
{
    struct world *w = &world;
    struct world_wait x[6];
    struct scsi_host *h;
    static const uint8_t lun[8] = {0, 9};

    (void)state;
    begin_running(w);
    h = w->ses[0].host;
    w->fe.hold = true;
    for (unsigned i = 0; i < 6; i++)
        world_wait_init(&x[i]);
    h->ops->eh_device_reset(h, lun, &x[0].w);
    h->ops->eh_target_reset(h, &x[1].w);
    h->ops->eh_clear_aca(h, lun, &x[2].w);
    h->ops->eh_query(h, SCSI_QUERY_TASK_SET, lun, &x[3].w);
    h->ops->eh_query(h, SCSI_QUERY_ASYNC_EVENT, lun, &x[4].w);
    h->ops->eh_session_reset(h, &x[5].w);
    world_run(w, MS);
    assert_int_equal(w->fe.nheld, 6);
    for (unsigned i = 0; i < 6; i++) {
        static const uint8_t function[] = {OFFLOAD_LU_RESET,          OFFLOAD_TARGET_RESET,
                                           OFFLOAD_CLEAR_ACA,         OFFLOAD_QUERY_TASK_SET,
                                           OFFLOAD_QUERY_ASYNC_EVENT, OFFLOAD_SESSION_RESET};
        struct offload_cqe e = fake_engine_answer(&w->fe, &w->fe.held[i]);

        assert_int_equal(w->fe.held[i].function, function[i]);
        e.result = (uint8_t)(i % 3);
        e.info = i == 3 ? 0x123456 : 0;
        if (i == 5)
            e.result = SCSI_EH_SUCCESS;
        fake_engine_put(&w->fe, 0, &e);
    }
    w->fe.nheld = 0;
    world_run(w, MS);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(x[i].done, 1);
        assert_int_equal(x[i].result, i == 5 ? SCSI_EH_SUCCESS : i % 3);
    }
    assert_int_equal(x[3].w.info, 0x123456);
    world_end(w);
}

/* ---- states --------------------------------------------------------------------------------- */

/* A loss is known no later than of the commands that it has ended, and what is older then is
 * nothing. */
static void
test_state_order(void **state)
{
    struct world *w = &world;
    struct offload_cqe e;
    uint64_t lost, back;
    unsigned states;

    (void)state;
    begin_running(w);
    w->fe.hold = true;
    assert_int_equal(world_submit(w, 0, 0, 0x28, 0, 512), 0);
    world_run(w, MS);
    back = fake_engine_number(&w->fe);
    lost = fake_engine_number(&w->fe);
    e = fake_engine_answer(&w->fe, &w->fe.held[0]);
    e.host_result = DID_TRANSPORT_DISRUPTED;
    e.resid_in = 512;
    e.state = IPC_SESSION_BLOCKED;
    w->fe.nheld = 0;
    fake_engine_put(&w->fe, 0, &e);
    assert_true(world_until(w, world_idle, SEC));
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_BLOCKED);
    states = w->ses[0].states;
    fake_engine_state_as(&w->fe, 0, IPC_SESSION_RUNNING, back); /* from before */
    fake_engine_state_as(&w->fe, 0, IPC_SESSION_BLOCKED, lost);
    world_run(w, MS);
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_BLOCKED);
    assert_int_equal(w->ses[0].states, states); /* nor did it run in between */
    /* Nothing is sent meanwhile. */
    assert_int_equal(world_submit(w, 0, 0, 0x28, 0, 512), 0);
    assert_true(world_until(w, world_idle, SEC));
    assert_int_equal(w->cmd[0].sc.host_result, DID_IMM_RETRY);
    (void)fake_engine_state(&w->fe, 0, IPC_SESSION_RUNNING);
    world_run(w, MS);
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_RUNNING);
    (void)fake_engine_state(&w->fe, 0, IPC_SESSION_FAILED);
    world_run(w, MS);
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_GONE);
    assert_int_equal(world_submit(w, 0, 0, 0x28, 0, 512), 0);
    assert_true(world_until(w, world_idle, SEC));
    assert_int_equal(w->cmd[0].sc.host_result, DID_NO_CONNECT);
    (void)fake_engine_state(&w->fe, 0, IPC_SESSION_RUNNING);
    world_run(w, MS);
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_RUNNING);
    world_end(w);
}

/* The client's own patience, while the engine goes on trying. */
static void
test_replacement(void **state)
{
    struct world *w = &world;

    (void)state;
    begin_running(w);
    world_param(w, 0, ISCSI_PARAM_RECOVERY_TMO, "5");
    assert_int_equal(w->ses[0].host->patience_ns, 5 * SEC);
    (void)fake_engine_state(&w->fe, 0, IPC_SESSION_BLOCKED);
    world_run(w, 4 * SEC);
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_BLOCKED);
    assert_non_null(strstr(w->ses[0].state_why.msg, "wire is cut"));
    world_run(w, 2 * SEC);
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_GONE);
    assert_non_null(strstr(w->ses[0].state_why.msg, "not recovered within 5 s"));
    (void)fake_engine_state(&w->fe, 0, IPC_SESSION_BLOCKED);
    world_run(w, MS);
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_GONE);
    (void)fake_engine_state(&w->fe, 0, IPC_SESSION_RUNNING);
    world_run(w, MS);
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_RUNNING);
    world_end(w);
}

/* ---- the engine ends ------------------------------------------------------------------------ */

static void
engine_again(struct world *w)
{
    fake_engine_stop(&w->fe);
    w->fe.hold = false;
    w->fe.die_after = 0;
    fake_engine_start(&w->fe, w->sim);
}

static void
test_death(void **state)
{
    struct world *w = &world;
    struct world_wait x;
    uint32_t generation;

    (void)state;
    begin_running(w);
    sim_set_reaping(w->sim, 1); /* at once or nearly so, see below */
    generation = w->fe.client[0].generation;
    w->fe.hold = true;
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(world_submit(w, 0, i, i % 2 == 0 ? 0x28 : 0x2a, i, 512), 0);
    world_run(w, MS);
    world_wait_init(&x);
    w->ses[0].host->ops->eh_target_reset(w->ses[0].host, &x.w);
    world_run(w, MS);
    fake_engine_kill(&w->fe);
    world_run(w, SEC);
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_BLOCKED);
    assert_non_null(strstr(w->log, "the engine at /run/engine"));
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(w->cmd[i].done, 1);
        assert_int_equal(w->cmd[i].sc.host_result, DID_TRANSPORT_DISRUPTED);
        assert_int_equal(w->cmd[i].sc.resid_in + w->cmd[i].sc.resid_out, 512);
    }
    assert_int_equal(x.done, 1);
    assert_int_equal(x.result, SCSI_EH_FAILED);
    world_wait_init(&x);
    w->ses[0].host->ops->eh_session_reset(w->ses[0].host, &x.w);
    world_run(w, SEC);
    assert_int_equal(x.done, 0); /* until it runs, or is gone */
    engine_again(w);
    world_run(w, 20 * SEC);
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_RUNNING);
    assert_int_equal(x.done, 1);
    assert_int_equal(x.result, SCSI_EH_SUCCESS);
    assert_int_equal(w->ses[0].logins, 1); /* that was told once */
    assert_true(w->fe.client[0].generation > generation);
    assert_int_equal(world_submit(w, 0, 0, 0x28, 0, 512), 0);
    assert_true(world_until(w, world_idle, SEC));
    assert_int_equal(w->cmd[0].sc.host_result, DID_OK);
    world_end(w);
}

static bool
blocked(void *user)
{
    const struct world *w = user;

    return w->ses[0].host->state == SCSI_HOST_BLOCKED;
}

/* Until the process runs no more, its commands may still be executed: none is given back, unless
 * nobody waits for the session any more. */
static void
test_quarantine(void **state)
{
    struct world *w = &world;

    (void)state;
    for (unsigned patient = 0; patient < 2; patient++) {
        begin_running(w);
        sim_set_reaping(w->sim, 1000 * SEC);
        world_param(w, 0, ISCSI_PARAM_RECOVERY_TMO, patient ? "-1" : "5");
        w->fe.hold = true;
        assert_int_equal(world_submit(w, 0, 0, 0x2a, 0, 512), 0);
        world_run(w, MS);
        fake_engine_kill(&w->fe);
        assert_true(world_until(w, blocked, SEC));
        assert_int_equal(w->ses[0].host->ops->eh_timed_out(w->ses[0].host, &w->cmd[0].sc),
                         SCSI_TIMEOUT_RESET_TIMER);
        if (!sim_process_reaped(w->fe.l))
            assert_int_equal(w->cmd[0].done, 0);
        world_run(w, 6 * SEC);
        if (!patient) {
            assert_int_equal(w->ses[0].host->state, SCSI_HOST_GONE);
            assert_int_equal(w->cmd[0].done, 1);
            if (!sim_process_reaped(w->fe.l))
                assert_int_equal(w->cmd[0].sc.host_result, DID_TRANSPORT_FAILFAST);
        } else {
            assert_int_equal(w->cmd[0].done, sim_process_reaped(w->fe.l));
            world_run(w, 1000 * SEC);
            assert_int_equal(w->cmd[0].done, 1);
            assert_int_equal(w->cmd[0].sc.host_result, DID_TRANSPORT_DISRUPTED);
        }
        world_end(w);
    }
}

/* An engine that lives and does nothing. */
static void
test_wedged(void **state)
{
    struct world *w = &world;

    (void)state;
    begin_running(w);
    w->fe.hold = w->fe.no_beat = true;
    assert_int_equal(world_submit(w, 0, 0, 0x2a, 0, 512), 0);
    world_run(w, 8 * SEC);
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_RUNNING);
    world_run(w, 5 * SEC);
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_BLOCKED);
    assert_non_null(strstr(w->log, "has done nothing for 10 s"));
    assert_int_equal(w->cmd[0].done, 0);
    assert_int_equal(w->fe.hellos, 1); /* nor is it attached to again */
    fake_engine_kill(&w->fe);
    world_run(w, SEC);
    assert_int_equal(w->cmd[0].done, 1);
    world_end(w);
}

/* Whoever comes while the engine has not let go is told why, after a while or at once. */
static void
test_wedged_newcomer(void **state)
{
    struct world *w = &world;
    struct lunette_error err = {0};

    (void)state;
    begin_running(w);
    w->fe.hold = w->fe.no_beat = true;
    assert_int_equal(world_submit(w, 0, 0, 0x2a, 0, 512), 0);
    world_run(w, 13 * SEC);
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_BLOCKED);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(world_connect(w, 1, WORLD_ENGINE, &err), 0);
        world_run(w, SEC);
        assert_int_equal(w->ses[1].ep_event, i == 0 ? 0 : -ETIMEDOUT);
        world_run(w, 11 * SEC);
        assert_int_equal(w->ses[1].ep_event, -ETIMEDOUT);
        offload_session_transport.ep_why(&w->ses[1].ep, &err);
        assert_non_null(strstr(err.msg, "has done nothing for 10 s"));
        world_disconnect(w, 1);
    }
    assert_int_equal(w->cmd[0].done, 0);
    fake_engine_kill(&w->fe);
    world_end(w);
}

/* Idle, it need not beat. */
static void
test_idle(void **state)
{
    struct world *w = &world;

    (void)state;
    begin_running(w);
    w->fe.no_beat = true;
    assert_int_equal(world_submit(w, 0, 0, 0x00, 0, 0), 0);
    world_run(w, 60 * SEC);
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_RUNNING);
    world_end(w);
    assert_string_equal(w->log, "");
}

/* It closes the connection and lives: with nothing of ours it is attached to again. */
static void
test_dropped(void **state)
{
    struct world *w = &world;

    (void)state;
    begin_running(w);
    fake_engine_drop(&w->fe, 0);
    world_run(w, 5 * SEC);
    assert_int_equal(w->fe.attaches, 2);
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_RUNNING);
    world_end(w);
}

/* With a command of ours it is waited for, until it says that the command has ended.  The process
 * need not end for that: it may have stood still for a while, as with its machine. */
static void
test_let_go(void **state)
{
    struct world *w = &world;

    (void)state;
    for (unsigned lets_go = 0; lets_go < 2; lets_go++) {
        begin_running(w);
        world_param(w, 0, ISCSI_PARAM_RECOVERY_TMO, "-1");
        w->fe.hold = true;
        w->fe.lets_go = lets_go;
        assert_int_equal(world_submit(w, 0, 0, 0x2a, 0, 512), 0);
        world_run(w, MS);
        fake_engine_drop(&w->fe, 0);
        w->fe.hold = false;
        world_run(w, 5 * SEC);
        assert_int_equal(w->fe.attaches, 1 + lets_go);
        assert_int_equal(w->cmd[0].done, lets_go);
        if (lets_go) {
            assert_int_equal(w->cmd[0].sc.host_result, DID_TRANSPORT_DISRUPTED);
            assert_int_equal(w->ses[0].host->state, SCSI_HOST_RUNNING);
        } else {
            assert_int_equal(w->ses[0].host->state, SCSI_HOST_BLOCKED);
        }
        world_end(w);
    }
}

/* ---- ends ----------------------------------------------------------------------------------- */

static void
test_logout(void **state)
{
    struct world *w = &world;
    struct bhs h;

    (void)state;
    begin_running(w);
    bhs_init(&h, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    assert_int_equal(offload_session_ops.send_pdu(w->ses[0].conn, &h, NULL, 0, NULL), -EOPNOTSUPP);
    bhs_init(&h, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    assert_int_equal(offload_session_ops.send_pdu(w->ses[0].conn, &h, NULL, 0, NULL), 0);
    assert_int_equal(w->ses[0].pdus, 0);
    world_run(w, SEC);
    assert_int_equal(w->ses[0].pdus, 1);
    assert_int_equal(w->ses[0].pdu.opcode, ISCSI_OP_LOGOUT_RSP);
    assert_int_equal(w->fe.leaves, 1);
    offload_session_ops.stop_conn(w->ses[0].conn, STOP_CONN_TERM);
    assert_int_equal(w->ses[0].downs, 1);
    offload_session_ops.stop_conn(w->ses[0].conn, STOP_CONN_TERM);
    assert_int_equal(w->ses[0].downs, 1);
    world_end(w);
}

/* Stopped and started again, with commands out. */
static void
test_stop(void **state)
{
    struct world *w = &world;
    struct lunette_error err;

    (void)state;
    begin_running(w);
    w->fe.hold = w->fe.keeps = true;
    assert_int_equal(world_submit(w, 0, 0, 0x2a, 0, 512), 0);
    world_run(w, MS);
    offload_session_ops.stop_conn(w->ses[0].conn, STOP_CONN_RECOVER);
    world_run(w, SEC);
    assert_int_equal(w->ses[0].downs, 0);
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_BLOCKED);
    fake_engine_serve_all(&w->fe);
    world_run(w, SEC);
    assert_int_equal(w->cmd[0].done, 1);
    assert_int_equal(w->ses[0].downs, 0); /* the engine has not said that it has left */
    world_run(w, 61 * SEC);
    assert_int_equal(w->ses[0].downs, 1); /* and is not waited for any longer */
    w->fe.keeps = w->fe.hold = false;
    assert_int_equal(offload_session_ops.bind_conn(w->ses[0].conn, (int64_t)w->ses[0].ep.id,
                                                   &w->ses[0].ep, true, &err),
                     0);
    assert_int_equal(world_start(w, 0), 0);
    world_run(w, 5 * SEC);
    assert_int_equal(w->ses[0].logins, 2);
    assert_int_equal(w->ses[0].login_why.code, 0);
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_RUNNING);
    world_end(w);
}

/* ---- what is done from inside --------------------------------------------------------------- */

/* Whoever hears of the loss of one session ends another, which has not been told yet, and sends it
 * a command. */
static void
use_other(struct world_session *ws)
{
    struct world *w = ws->w;

    ws->in_state = NULL;
    assert_int_equal(w->ses[1].host->state, SCSI_HOST_RUNNING);
    assert_int_equal(world_submit(w, 1, 0, 0x28, 0, 512), 0);
    offload_session_ops.stop_conn(w->ses[1].conn, STOP_CONN_TERM);
}

static void
test_other_inside(void **state)
{
    struct world *w = &world;

    (void)state;
    begin_running(w);
    world_log_in(w, 1);
    w->ses[0].in_state = use_other;
    fake_engine_kill(&w->fe);
    world_run(w, SEC);
    assert_null(w->ses[0].in_state);
    assert_int_equal(w->cmd[0].done, 1);
    assert_int_equal(w->cmd[0].sc.host_result, DID_IMM_RETRY); /* it was not known to be over */
    assert_int_equal(w->ses[1].downs, 1);
    world_end(w);
}

/* The state that an answer tells has the session stopped, and the engine cannot be asked for
 * anything any more. */
static void
stop_broken(struct world_session *ws)
{
    ws->in_state = NULL;
    ipc_socket_broken(((struct offload_session *)ws->s)->user.at->carrier, -EIO);
    offload_session_ops.stop_conn(ws->conn, STOP_CONN_TERM);
}

static void
test_lost_inside(void **state)
{
    struct world *w = &world;
    struct offload_cqe e;

    (void)state;
    begin_running(w);
    w->fe.hold = true;
    assert_int_equal(world_submit(w, 0, 0, 0x28, 0, 512), 0);
    assert_int_equal(world_submit(w, 0, 1, 0x28, 0, 512), 0);
    world_run(w, MS);
    e = fake_engine_answer(&w->fe, &w->fe.held[0]);
    e.state = IPC_SESSION_FAILED;
    e.state_event = (uint32_t)fake_engine_number(&w->fe);
    w->ses[0].in_state = stop_broken;
    fake_engine_put(&w->fe, 0, &e);
    world_run(w, SEC);
    assert_null(w->ses[0].in_state);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(w->cmd[i].done, 1);
        assert_int_equal(w->cmd[i].sc.host_result, DID_TRANSPORT_FAILFAST);
    }
    assert_int_equal(w->ses[0].downs, 1);
    world_end(w);
}

static void
destroy_inside(struct world_session *ws)
{
    ws->in_down = NULL;
    offload_session_ops.destroy_conn(ws->conn);
    ws->conn = NULL;
}

static void
test_destroyed_inside(void **state)
{
    struct world *w = &world;

    (void)state;
    begin_running(w);
    w->ses[0].in_down = destroy_inside;
    offload_session_ops.stop_conn(w->ses[0].conn, STOP_CONN_TERM);
    world_run(w, SEC);
    assert_int_equal(w->ses[0].downs, 1);
    assert_null(w->ses[0].conn);
    world_end(w);
}

/* ---- what comes later ----------------------------------------------------------------------- */

/* An engine that comes back and takes less is not sent what disks count on, however often it is
 * tried. */
static void
test_takes_less(void **state)
{
    struct world *w = &world;

    (void)state;
    begin_running(w);
    fake_engine_kill(&w->fe);
    world_run(w, SEC);
    w->fe.max_transfer = 65536;
    engine_again(w);
    world_run(w, 60 * SEC);
    assert_int_equal(w->ses[0].host->state, SCSI_HOST_BLOCKED);
    assert_int_equal(w->fe.sessions, 1);
    assert_non_null(strstr(w->log, "takes 65536 bytes at a time"));
    world_end(w);
}

/* One request may take a minute; the next has no more time for that. */
static void
test_two_limits(void **state)
{
    struct world *w = &world;
    struct lunette_error err;

    (void)state;
    begin_running(w);
    assert_int_equal(world_connect(w, 1, WORLD_ENGINE, &err), 0);
    world_run(w, SEC);
    world_create(w, 1);
    w->fe.keeps = true;
    offload_session_ops.stop_conn(w->ses[0].conn, STOP_CONN_TERM);
    world_run(w, 15 * SEC);
    w->fe.silent = true;
    assert_int_equal(world_start(w, 1), 0);
    world_run(w, 12 * SEC);
    assert_int_equal(w->ses[1].logins, 1);
    assert_int_equal(w->ses[1].login_why.code, -ETIMEDOUT);
    world_end(w);
}

/* Torn down with commands out: they end first. */
static void
test_teardown_busy(void **state)
{
    struct world *w = &world;

    (void)state;
    begin_running(w);
    w->fe.hold = true;
    assert_int_equal(world_submit(w, 0, 0, 0x2a, 0, 512), 0);
    world_run(w, MS);
    offload_session_ops.teardown(w->ses[0].s);
    world_run(w, SEC);
    assert_int_equal(w->ses[0].freed, 0);
    fake_engine_serve_all(&w->fe);
    world_run(w, SEC);
    assert_int_equal(w->ses[0].freed, 1);
    assert_int_equal(w->cmd[0].done, 1);
    world_end(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_login_early),
        cmocka_unit_test(test_no_engine),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_without_words),
        cmocka_unit_test(test_confused),
        cmocka_unit_test(test_silent),
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_loops),
        cmocka_unit_test(test_data),
        cmocka_unit_test(test_long_cdb),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_abort_lie),
        cmocka_unit_test(test_resets),
        cmocka_unit_test(test_state_order),
        cmocka_unit_test(test_replacement),
        cmocka_unit_test(test_death),
        cmocka_unit_test(test_quarantine),
        cmocka_unit_test(test_wedged),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_dropped),
        cmocka_unit_test(test_let_go),
        cmocka_unit_test(test_logout),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_teardown_busy),
        cmocka_unit_test(test_other_inside),
        cmocka_unit_test(test_lost_inside),
        cmocka_unit_test(test_destroyed_inside),
        cmocka_unit_test(test_takes_less),
        cmocka_unit_test(test_two_limits),
        cmocka_unit_test(test_wedged_newcomer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
