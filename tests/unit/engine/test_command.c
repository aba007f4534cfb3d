/* SPDX-License-Identifier: MIT */
/* A client's commands at a host: what is done for it, what ends it, and what it cannot do to
 * others. */
#include "tests/unit/engine/fake_host.h"
#include "tests/unit/engine/ring_client.h"

#include "engine/lane.h"

struct side { /* a client with one session */
    struct ring_client c;
    struct engine_lane *lane;
    struct engine_member m;
    struct lunette_error why;
    unsigned broken, drained;
};

static struct fake_shm w;
static struct fake_host host;
static struct list shares;
static struct side side[3];

static void
on_broken(void *user, const struct lunette_error *why)
{
    struct side *s = user;

    s->broken++;
    s->why = *why;
}

static void
on_drained(struct engine_member *m)
{
    container_of(m, struct side, m)->drained++;
}

static void
world_begin(unsigned window)
{
    fake_shm_init(&w, 1);
    fake_host_init(&host, &w.f.l, window);
    list_init(&shares);
    memset(side, 0, sizeof(side));
}

static void
side_begin(struct side *s, uint32_t slots)
{
    struct engine_lane_config cfg = {.loop = &w.f.l,
                                     .slots = slots,
                                     .generation = 1,
                                     .arena = 1 << 20,
                                     .broken = on_broken,
                                     .user = s};

    ring_client_init(&s->c, &w, slots, cfg.arena);
    cfg.region = s->c.region;
    cfg.arena_map = s->c.arena;
    cfg.bell_engine = s->c.fd[2];
    cfg.bell_client = s->c.fd[3];
    assert_int_equal(engine_lane_new(&cfg, &s->lane, NULL), 0);
    assert_int_equal(engine_lane_add(s->lane, &s->m), 0);
    assert_int_equal(engine_share_join(&shares, &w.f.l, &host, &s->m.sharer), 0);
    s->m.sharer.share->host = &host.h;
    s->m.state = IPC_SESSION_RUNNING;
}

static void
side_end(struct side *s)
{
    engine_lane_close(s->lane);
    if (engine_member_drain(&s->m, on_drained)) {
        while (host.nwait > 0)
            fake_host_eh(&host, SCSI_EH_SUCCESS);
        fake_turn(&w.f);
        assert_int_equal(s->drained, 1);
    }
    if (s->m.sharer.share != NULL)
        engine_share_leave(&s->m.sharer);
    engine_lane_remove(&s->m);
    engine_lane_free(s->lane);
}

static void
world_end(unsigned sides)
{
    for (unsigned i = 0; i < sides; i++)
        side_end(&side[i]);
    assert_true(list_empty(&shares));
    fake_shm_fini(&w);
}

/* ---- what is done --------------------------------------------------------------------------- */

static void
test_command_and_answer(void **state)
{
    struct side *s = &side[0];
    struct offload_sqe e;
    const struct offload_cqe *q;

    (void)state;
    world_begin(32);
    side_begin(s, 8);
    s->m.state_event = 7;
    e = ring_client_entry(&s->c, s->m.sid, 3);
    e.lun[1] = 5;
    e.in_off = 4096;
    e.in_len = 512;
    ring_client_put(&s->c, &e);
    ring_client_publish(&s->c);
    assert_int_equal(ring_client_turn(&s->c), 0);
    assert_int_equal(host.ncmd, 1);
    assert_int_equal(host.commits, 1);
    assert_int_equal(host.cmd[0]->cdb[0], 0x88);
    assert_int_equal(host.cmd[0]->cdb_len, 16);
    assert_int_equal(host.cmd[0]->lun[1], 5);
    assert_int_equal(host.cmd[0]->in.len, 512);
    assert_ptr_equal(sg_start(&host.cmd[0]->in, 512), s->c.arena + 4096);
    host.cmd[0]->status = 2;
    host.cmd[0]->sense_len = 18;
    memset(host.cmd[0]->sense, 0x70, 18);
    host.cmd[0]->resid_in = 100;
    fake_host_done(&host, 0, DID_OK);
    assert_int_equal(ring_client_turn(&s->c), 1);
    q = ring_client_last(&s->c);
    assert_int_equal(q->kind, OFFLOAD_CQ_DONE);
    assert_int_equal(q->slot, 3);
    assert_int_equal(q->generation, s->c.gen[3]);
    assert_int_equal(q->sid, s->m.sid);
    assert_int_equal(q->status, 2);
    assert_int_equal(q->sense_len, 18);
    assert_int_equal(q->resid_in, 100);
    assert_int_equal(q->state, IPC_SESSION_RUNNING);
    assert_int_equal(q->state_event, 7);
    assert_int_equal(s->c.region[offload_sense_at(8) + 3 * OFFLOAD_SENSE_BYTES + 17], 0x70);
    world_end(1);
}

static void
test_long_cdb_is_copied_once(void **state)
{
    struct side *s = &side[0];
    struct offload_sqe e;

    (void)state;
    world_begin(32);
    side_begin(s, 8);
    e = ring_client_entry(&s->c, s->m.sid, 0);
    memset(e.cdb, 0, sizeof(e.cdb));
    e.cdb_len = OFFLOAD_CDB_MAX;
    e.cdb_off = 8192;
    memset(s->c.arena + 8192, 0x7f, OFFLOAD_CDB_MAX);
    ring_client_put(&s->c, &e);
    ring_client_publish(&s->c);
    (void)ring_client_turn(&s->c);
    memset(s->c.arena + 8192, 0xff, OFFLOAD_CDB_MAX);
    assert_int_equal(host.ncmd, 1);
    assert_int_equal(scsi_cmd_cdb(host.cmd[0])[OFFLOAD_CDB_MAX - 1], 0x7f);
    fake_host_done(&host, 0, DID_OK);
    assert_int_equal(ring_client_turn(&s->c), 1);
    world_end(1);
}

/* Residuals and sense of a host that is wrong are not handed on. */
static void
test_answers_are_within_bounds(void **state)
{
    struct side *s = &side[0];

    (void)state;
    world_begin(32);
    side_begin(s, 8);
    ring_client_read(&s->c, s->m.sid, 0, 512);
    ring_client_publish(&s->c);
    (void)ring_client_turn(&s->c);
    host.cmd[0]->resid_in = 5000;
    host.cmd[0]->resid_out = 5000;
    host.cmd[0]->sense_len = 60000;
    fake_host_done(&host, 0, DID_OK);
    assert_int_equal(ring_client_turn(&s->c), 1);
    assert_int_equal(ring_client_last(&s->c)->resid_in, 512);
    assert_int_equal(ring_client_last(&s->c)->resid_out, 0);
    assert_int_equal(ring_client_last(&s->c)->sense_len, SCSI_SENSE_MAX);
    world_end(1);
}

static void
test_no_session_no_host(void **state)
{
    struct side *s = &side[0];

    (void)state;
    world_begin(32);
    side_begin(s, 8);
    ring_client_read(&s->c, s->m.sid + 1, 0, 512);
    ring_client_tmf(&s->c, 0, 1, OFFLOAD_LU_RESET, 0);
    ring_client_publish(&s->c);
    assert_int_equal(ring_client_turn(&s->c), 2);
    assert_int_equal(s->c.got[0].host_result, DID_NO_CONNECT);
    assert_int_equal(s->c.got[0].resid_in, 512);
    assert_int_equal(s->c.got[0].sid, s->m.sid + 1);
    assert_int_equal(s->c.got[1].kind, OFFLOAD_CQ_TMF_DONE);
    assert_int_equal(s->c.got[1].result, SCSI_EH_FAILED);
    host.h.max_transfer = 256; /* what this host does not take is no fault of the client */
    ring_client_read(&s->c, s->m.sid, 0, 512);
    ring_client_publish(&s->c);
    assert_int_equal(ring_client_turn(&s->c), 1);
    assert_int_equal(ring_client_last(&s->c)->host_result, DID_ERROR);
    assert_int_equal(s->broken, 0);
    world_end(1);
}

/* ---- bells and turns ------------------------------------------------------------------------ */

static void
test_bells_only_for_sleepers(void **state)
{
    struct side *s = &side[0];
    unsigned before;

    (void)state;
    world_begin(32);
    side_begin(s, 8);
    (void)ring_client_turn(&s->c); /* the client sleeps */
    for (uint16_t i = 0; i < 4; i++)
        ring_client_read(&s->c, s->m.sid, i, 512);
    ring_client_publish(&s->c);
    assert_int_equal(w.fd[s->c.fd[2] - FAKE_FD_FIRST].rings, 1);
    fake_shm_turn(&w);
    before = w.fd[s->c.fd[3] - FAKE_FD_FIRST].rings;
    while (host.ncmd > 0)
        fake_host_done(&host, 0, DID_OK);
    fake_shm_turn(&w);
    assert_int_equal(w.fd[s->c.fd[3] - FAKE_FD_FIRST].rings, before + 1);
    assert_int_equal(w.fd[s->c.fd[2] - FAKE_FD_FIRST].rung, 0);
    assert_int_equal(ring_client_turn(&s->c), 4);
    world_end(1);
}

/* More than a batch is served in further turns without another bell. */
static void
test_batches_have_a_bound(void **state)
{
    struct side *s = &side[0];

    (void)state;
    world_begin(1024);
    side_begin(s, 256);
    for (uint16_t i = 0; i < 256; i++)
        ring_client_read(&s->c, s->m.sid, i, 512);
    ring_client_publish(&s->c);
    fake_shm_turn(&w);
    assert_int_equal(host.ncmd, ENGINE_LANE_BATCH);
    for (unsigned i = 0; i < 4; i++)
        fake_shm_turn(&w);
    assert_int_equal(host.ncmd, 256);
    assert_int_equal(w.fd[s->c.fd[2] - FAKE_FD_FIRST].rung, 0);
    while (host.ncmd > 0)
        fake_host_done(&host, host.ncmd - 1, DID_OK);
    assert_int_equal(ring_client_turn(&s->c), 256);
    world_end(1);
}

static void
test_heart_beats_while_there_is_work(void **state)
{
    struct side *s = &side[0];
    const struct offload_head *head;
    uint64_t beat;

    (void)state;
    world_begin(32);
    side_begin(s, 8);
    head = (const void *)s->c.region;
    fake_advance(&w.f, SEC(5));
    assert_int_equal(head->beat, 0);
    ring_client_read(&s->c, s->m.sid, 0, 512);
    ring_client_publish(&s->c);
    fake_shm_turn(&w);
    for (unsigned i = 0; i < 5; i++) {
        beat = head->beat;
        fake_advance(&w.f, MS(OFFLOAD_BEAT_MS));
        assert_true(head->beat > beat);
    }
    fake_host_done(&host, 0, DID_OK);
    fake_advance(&w.f, SEC(1));
    beat = head->beat;
    fake_advance(&w.f, SEC(5));
    assert_int_equal(head->beat, beat);
    world_end(1);
}

/* ---- fairness ------------------------------------------------------------------------------- */

static void
test_flood_leaves_room_for_others(void **state)
{
    (void)state;
    world_begin(32);
    side_begin(&side[0], 256);
    side_begin(&side[1], 8);
    for (uint16_t i = 0; i < 200; i++)
        ring_client_read(&side[0].c, side[0].m.sid, i, 512);
    ring_client_publish(&side[0].c);
    for (unsigned i = 0; i < 8; i++)
        fake_shm_turn(&w);
    assert_int_equal(host.ncmd, 31); /* one is kept */
    ring_client_read(&side[1].c, side[1].m.sid, 0, 1024);
    ring_client_publish(&side[1].c);
    fake_shm_turn(&w);
    assert_int_equal(host.ncmd, 32);
    assert_int_equal(host.cmd[31]->in.len, 1024);
    world_end(2);
}

/* With the window closed, both get the same number of commands. */
static void
test_turns_are_fair(void **state)
{
    unsigned of[2] = {0, 0};

    (void)state;
    world_begin(4);
    side_begin(&side[0], 256);
    side_begin(&side[1], 256);
    for (uint16_t i = 0; i < 200; i++)
        ring_client_read(&side[0].c, side[0].m.sid, i, 512);
    ring_client_publish(&side[0].c);
    for (unsigned i = 0; i < 8; i++)
        fake_shm_turn(&w);
    for (uint16_t i = 0; i < 50; i++)
        ring_client_read(&side[1].c, side[1].m.sid, i, 1024);
    ring_client_publish(&side[1].c);
    for (unsigned i = 0; i < 40; i++) {
        fake_shm_turn(&w);
        of[host.cmd[0]->in.len == 1024]++;
        fake_host_done(&host, 0, DID_OK);
    }
    assert_in_range(of[1], 17, 23);
    world_end(2);
}

/* A host that refuses, though it has tasks, is asked again when it says so. */
static void
test_busy_waits_for_restart(void **state)
{
    struct side *s = &side[0];

    (void)state;
    world_begin(32);
    side_begin(s, 8);
    host.window = 0;
    ring_client_read(&s->c, s->m.sid, 0, 512);
    ring_client_read(&s->c, s->m.sid, 1, 1024);
    ring_client_publish(&s->c);
    for (unsigned i = 0; i < 5; i++)
        fake_shm_turn(&w);
    assert_int_equal(host.busy, 1);
    host.window = 32;
    engine_share_restart(s->m.sharer.share);
    fake_shm_turn(&w);
    assert_int_equal(host.ncmd, 2);
    assert_int_equal(host.cmd[0]->in.len, 512);
    world_end(1);
}

/* ---- task management ------------------------------------------------------------------------ */

static void
test_abort_answers_after_its_command(void **state)
{
    struct side *s = &side[0];

    (void)state;
    world_begin(32);
    side_begin(s, 8);
    ring_client_read(&s->c, s->m.sid, 0, 512);
    ring_client_tmf(&s->c, s->m.sid, 1, OFFLOAD_ABORT, 0);
    ring_client_publish(&s->c);
    assert_int_equal(ring_client_turn(&s->c), 0);
    assert_int_equal(host.nwait, 1);
    fake_host_done(&host, 0,
                   DID_OK); /* it ends while it is aborted: the host still has its memory */
    assert_int_equal(ring_client_turn(&s->c), 0);
    fake_host_eh(&host, SCSI_EH_NOT_FOUND);
    assert_int_equal(ring_client_turn(&s->c), 2);
    assert_int_equal(s->c.got[0].slot, 0);
    assert_int_equal(s->c.got[0].host_result, DID_OK);
    assert_int_equal(s->c.got[1].slot, 1);
    assert_int_equal(s->c.got[1].result, SCSI_EH_NOT_FOUND);
    world_end(1);
}

static void
test_abort_of_what_waits(void **state)
{
    struct side *s = &side[0];

    (void)state;
    world_begin(1);
    side_begin(s, 8);
    ring_client_read(&s->c, s->m.sid, 0, 512);
    ring_client_read(&s->c, s->m.sid, 1, 512);
    ring_client_tmf(&s->c, s->m.sid, 2, OFFLOAD_ABORT, 1);
    ring_client_tmf(&s->c, s->m.sid, 3, OFFLOAD_ABORT, 1); /* it is gone by then */
    ring_client_publish(&s->c);
    assert_int_equal(ring_client_turn(&s->c), 3);
    assert_int_equal(host.nwait, 0);
    assert_int_equal(s->c.got[0].slot, 1);
    assert_int_equal(s->c.got[0].host_result, DID_ABORT);
    assert_int_equal(s->c.got[0].resid_in, 512);
    assert_int_equal(s->c.got[1].result, SCSI_EH_SUCCESS);
    assert_int_equal(s->c.got[2].result, SCSI_EH_NOT_FOUND);
    fake_host_done(&host, 0, DID_OK);
    assert_int_equal(ring_client_turn(&s->c), 1);
    assert_int_equal(host.ncmd, 0);
    world_end(1);
}

/* Nobody aborts a command of another client's, or one of an earlier use of its slot. */
static void
test_abort_of_others(void **state)
{
    struct side *s = &side[0];

    (void)state;
    world_begin(32);
    side_begin(s, 8);
    side_begin(&side[1], 8);
    ring_client_read(&side[1].c, side[1].m.sid, 0, 512);
    ring_client_publish(&side[1].c);
    fake_shm_turn(&w);
    ring_client_tmf(&s->c, s->m.sid, 2, OFFLOAD_ABORT, 0);
    s->c.gen[0] = 0;
    ring_client_read(&s->c, s->m.sid, 0, 512);
    s->c.gen[0] = 0;
    ring_client_tmf(&s->c, s->m.sid, 3, OFFLOAD_ABORT, 0);
    s->c.gen[0] = 1;
    ring_client_publish(&s->c);
    assert_int_equal(ring_client_turn(&s->c), 2);
    assert_int_equal(s->c.got[0].result, SCSI_EH_NOT_FOUND);
    assert_int_equal(s->c.got[1].result, SCSI_EH_NOT_FOUND);
    assert_int_equal(host.nwait, 0);
    world_end(2);
}

static void
test_reset_ends_what_waits(void **state)
{
    struct side *s = &side[0];

    (void)state;
    world_begin(1);
    side_begin(s, 8);
    ring_client_read(&s->c, s->m.sid, 0, 512);
    ring_client_read(&s->c, s->m.sid, 1, 512);
    ring_client_tmf(&s->c, s->m.sid, 2, OFFLOAD_LU_RESET, 0);
    ring_client_tmf(&s->c, s->m.sid, 3, OFFLOAD_QUERY_TASK_SET, 0);
    ring_client_publish(&s->c);
    assert_int_equal(ring_client_turn(&s->c), 1);
    assert_int_equal(s->c.got[0].slot, 1);
    assert_int_equal(s->c.got[0].host_result, DID_RESET);
    assert_int_equal(host.nwait, 1); /* one at a time */
    assert_int_equal(host.what[0], 'd');
    fake_host_done(&host, 0, DID_RESET);
    fake_host_eh(&host, SCSI_EH_SUCCESS);
    assert_int_equal(ring_client_turn(&s->c), 2);
    assert_int_equal(host.what[0], 'q');
    fake_host_eh(&host, SCSI_EH_SUCCESS);
    assert_int_equal(ring_client_turn(&s->c), 1);
    assert_int_equal(ring_client_last(&s->c)->info, 0x123456);
    world_end(1);
}

/* ---- the end -------------------------------------------------------------------------------- */

static void
test_drain_of_a_dead_client(void **state)
{
    struct side *s = &side[0];

    (void)state;
    world_begin(2);
    side_begin(s, 8);
    side_begin(&side[1], 8);
    for (uint16_t i = 0; i < 4; i++)
        ring_client_read(&s->c, s->m.sid, i, 512);
    ring_client_publish(&s->c);
    fake_shm_turn(&w);
    assert_int_equal(host.ncmd, 1); /* half of two tasks are kept */
    engine_lane_close(s->lane);
    assert_true(engine_member_drain(&s->m, on_drained));
    assert_int_equal(s->m.busy, 1); /* what has not been sent is gone */
    assert_int_equal(host.nwait, 1);
    fake_host_eh(&host, SCSI_EH_FAILED);
    fake_turn(&w.f);
    assert_int_equal(s->drained, 0); /* the host still has its memory */
    fake_advance(&w.f, MS(ENGINE_ABORT_MS));
    assert_int_equal(host.nwait, 1); /* it is tried again */
    fake_host_eh(&host, SCSI_EH_SUCCESS);
    fake_turn(&w.f);
    assert_int_equal(s->drained, 1);
    ring_client_read(&side[1].c, side[1].m.sid, 0, 512); /* the other one sees nothing */
    ring_client_publish(&side[1].c);
    fake_shm_turn(&w);
    fake_host_done(&host, 0, DID_OK);
    assert_int_equal(ring_client_turn(&side[1].c), 1);
    s->drained = 0;
    world_end(2);
}

/* The client has asked for an abort itself, which fails when the client is gone: then it is ours to
 * try again. */
static void
test_drain_takes_over_an_abort(void **state)
{
    struct side *s = &side[0];

    (void)state;
    world_begin(2);
    side_begin(s, 8);
    ring_client_read(&s->c, s->m.sid, 0, 512);
    ring_client_tmf(&s->c, s->m.sid, 1, OFFLOAD_ABORT, 0);
    ring_client_publish(&s->c);
    fake_shm_turn(&w);
    assert_int_equal(host.nwait, 1);
    engine_lane_close(s->lane);
    assert_true(engine_member_drain(&s->m, on_drained));
    assert_int_equal(host.nwait, 1); /* there is one already */
    fake_host_eh(&host, SCSI_EH_FAILED);
    fake_turn(&w.f);
    assert_int_equal(s->drained, 0);
    fake_advance(&w.f, MS(ENGINE_ABORT_MS));
    assert_int_equal(host.nwait, 1);
    fake_host_eh(&host, SCSI_EH_SUCCESS);
    fake_turn(&w.f);
    assert_int_equal(s->drained, 1);
    s->drained = 0;
    world_end(1);
}

/* A session that is stopped: all is answered, and what we have aborted may be sent again. */
static void
test_drain_of_a_session(void **state)
{
    struct side *s = &side[0];

    (void)state;
    world_begin(1);
    side_begin(s, 8);
    for (uint16_t i = 0; i < 3; i++)
        ring_client_read(&s->c, s->m.sid, i, 512);
    ring_client_tmf(&s->c, s->m.sid, 4, OFFLOAD_TARGET_RESET, 0);
    ring_client_tmf(&s->c, s->m.sid, 5, OFFLOAD_LU_RESET, 0);
    ring_client_publish(&s->c);
    assert_int_equal(ring_client_turn(&s->c), 2); /* by the reset */
    assert_true(engine_member_drain(&s->m, on_drained));
    ring_client_read(&s->c, s->m.sid, 6, 512);
    ring_client_publish(&s->c);
    assert_int_equal(ring_client_turn(&s->c), 1);
    assert_int_equal(ring_client_last(&s->c)->host_result, DID_IMM_RETRY);
    fake_host_eh(&host, SCSI_EH_FAILED); /* the reset */
    assert_int_equal(ring_client_turn(&s->c), 2);
    fake_host_eh(&host, SCSI_EH_SUCCESS); /* our abort */
    assert_int_equal(ring_client_turn(&s->c), 1);
    assert_int_equal(ring_client_last(&s->c)->host_result, DID_TRANSPORT_DISRUPTED);
    assert_int_equal(s->drained, 1);
    engine_member_resume(&s->m);
    ring_client_read(&s->c, s->m.sid, 0, 512);
    ring_client_publish(&s->c);
    fake_shm_turn(&w);
    assert_int_equal(host.ncmd, 1);
    s->drained = 0;
    world_end(1);
}

static void
test_host_gone(void **state)
{
    struct side *s = &side[0];

    (void)state;
    world_begin(1);
    side_begin(s, 8);
    ring_client_read(&s->c, s->m.sid, 0, 512);
    ring_client_read(&s->c, s->m.sid, 1, 512);
    ring_client_publish(&s->c);
    fake_shm_turn(&w);
    fake_host_done(&host, 0, DID_NO_CONNECT);
    engine_member_host_gone(&s->m);
    assert_int_equal(ring_client_turn(&s->c), 2);
    assert_int_equal(ring_client_last(&s->c)->host_result, DID_NO_CONNECT);
    assert_int_equal(host.ncmd, 0);
    world_end(1);
}

/* ---- hostile clients ------------------------------------------------------------------------ */

static void
check_breaks(struct offload_sqe *e, const char *what)
{
    struct side *s = &side[0];

    ring_client_put(&s->c, e);
    ring_client_publish(&s->c);
    fake_shm_turn(&w);
    assert_int_equal(s->broken, 1);
    assert_non_null(strstr(s->why.msg, what));
    fake_shm_turn(&w);
    assert_int_equal(s->broken, 1);
    assert_int_equal(host.ncmd, 0);
    world_end(1);
}

static struct offload_sqe
hostile_entry(void)
{
    world_begin(32);
    side_begin(&side[0], 8);
    return ring_client_entry(&side[0].c, side[0].m.sid, 0);
}

static void
test_broken_rules(void **state)
{
    struct offload_sqe e;

    (void)state;
    e = hostile_entry();
    e.slot = 8;
    check_breaks(&e, "slot");
    e = hostile_entry();
    e.kind = 9;
    check_breaks(&e, "kind");
    e = hostile_entry();
    e.in_off = (1 << 20) - 511;
    e.in_len = 512;
    check_breaks(&e, "outside of the arena");
    e = hostile_entry();
    e.out_off = UINT64_MAX - 100; /* the sum is beyond 64 bits */
    e.out_len = 512;
    check_breaks(&e, "outside of the arena");
    e = hostile_entry();
    e.out_off = UINT32_MAX - 255; /* the sum is beyond 32 bits */
    e.out_len = 512;
    check_breaks(&e, "outside of the arena");
    e = hostile_entry();
    e.generation = 0;
    check_breaks(&e, "generation");
    e = hostile_entry();
    e.cdb_len = OFFLOAD_CDB_MAX + 1;
    check_breaks(&e, "CDB");
}

static void
test_slot_in_use(void **state)
{
    struct side *s = &side[0];

    (void)state;
    world_begin(32);
    side_begin(s, 8);
    ring_client_read(&s->c, s->m.sid, 0, 512);
    ring_client_read(&s->c, s->m.sid, 0, 512);
    ring_client_publish(&s->c);
    fake_shm_turn(&w);
    assert_int_equal(host.ncmd, 1);
    assert_int_equal(s->broken, 1);
    assert_non_null(strstr(s->why.msg, "generation"));
    world_end(1);
}

static void
test_impossible_indices(void **state)
{
    struct side *s = &side[0];

    (void)state;
    world_begin(32);
    side_begin(s, 8);
    s->c.sq.sh->produced = 1000;
    fake_bell_ring(&w.f.l, s->c.fd[2]);
    fake_shm_turn(&w);
    assert_int_equal(s->broken, 1);
    assert_int_equal(host.ncmd, 0);
    world_end(1);
    world_begin(32);
    side_begin(s, 8);
    s->c.cq.sh->consumed = 1000;
    for (uint16_t i = 0; i < 8; i++)
        ring_client_read(&s->c, s->m.sid, i, 512);
    ring_client_publish(&s->c);
    fake_shm_turn(&w);
    while (host.ncmd > 0)
        fake_host_done(&host, 0, DID_OK);
    for (uint16_t i = 0; i < 8; i++)
        ring_client_read(&s->c, s->m.sid, i, 512);
    ring_client_publish(&s->c);
    fake_shm_turn(&w);
    while (host.ncmd > 0)
        fake_host_done(&host, 0, DID_OK);
    fake_shm_turn(&w);
    assert_int_equal(s->broken, 1);
    world_end(1);
}

/* Random bytes as entries: a client may be ended for it, and nothing else happens. */
static void
test_random_entries(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 400; seed++) {
        struct side *s = &side[0];

        world_begin(4);
        w.f.rng ^= seed << 20;
        side_begin(s, 8);
        side_begin(&side[1], 8);
        for (unsigned i = 0; i < 60 && s->broken == 0; i++) {
            uint64_t r = fake_random(&w.f.l);
            struct offload_sqe e = ring_client_entry(&s->c, s->m.sid, (uint16_t)(r % 8));
            unsigned n = (unsigned)(r >> 8) % 4;

            if ((r >> 16) % 3 == 0)
                e = (struct offload_sqe){.kind = OFFLOAD_SQ_TMF,
                                         .slot = e.slot,
                                         .generation = e.generation,
                                         .sid = e.sid,
                                         .function = (uint8_t)((r >> 24) % 9)};
            if ((r >> 32) % 8 == 0)
                for (unsigned k = 0; k < n; k++)
                    ((uint8_t *)&e)[fake_random(&w.f.l) % sizeof(e)] = (uint8_t)fake_random(&w.f.l);
            if (s->lane->slot[e.slot % 8].stage != SLOT_FREE && (r >> 40) % 16 != 0)
                continue;
            if (ring_put(&s->c.sq, &e) == 0)
                ring_client_publish(&s->c);
            (void)ring_client_turn(&s->c);
            s->c.ngot = 0;
            if (host.ncmd > 0 && (r >> 48) % 2 == 0)
                fake_host_done(&host, (unsigned)(r >> 50) % host.ncmd, DID_OK);
            if (host.nwait > 0 && (r >> 56) % 2 == 0)
                fake_host_eh(&host, (enum scsi_eh_result)((r >> 58) % 3));
        }
        assert_int_equal(side[1].broken, 0);
        world_end(2);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_and_answer),
        cmocka_unit_test(test_long_cdb_is_copied_once),
        cmocka_unit_test(test_answers_are_within_bounds),
        cmocka_unit_test(test_no_session_no_host),
        cmocka_unit_test(test_bells_only_for_sleepers),
        cmocka_unit_test(test_batches_have_a_bound),
        cmocka_unit_test(test_heart_beats_while_there_is_work),
        cmocka_unit_test(test_flood_leaves_room_for_others),
        cmocka_unit_test(test_turns_are_fair),
        cmocka_unit_test(test_busy_waits_for_restart),
        cmocka_unit_test(test_abort_answers_after_its_command),
        cmocka_unit_test(test_abort_of_what_waits),
        cmocka_unit_test(test_abort_of_others),
        cmocka_unit_test(test_reset_ends_what_waits),
        cmocka_unit_test(test_drain_of_a_dead_client),
        cmocka_unit_test(test_drain_takes_over_an_abort),
        cmocka_unit_test(test_drain_of_a_session),
        cmocka_unit_test(test_host_gone),
        cmocka_unit_test(test_broken_rules),
        cmocka_unit_test(test_slot_in_use),
        cmocka_unit_test(test_impossible_indices),
        cmocka_unit_test(test_random_entries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
