/* SPDX-License-Identifier: MIT */
/* Sessions, tasks and completions over the fake adapter.  CONFORMANCE ids in the names of rows. */
#include "tests/unit/iscsi/world.h"
#include "wire/pdu.h"

#include "iscsi/conn_fsm.h"
#include "iscsi/iscsi.h"

static void
read_with_data_placed_by_the_transport(void **state)
{
    struct world *w = world_new(1);
    struct cmd c;

    (void)state;
    world_up(w);
    cmd_init(&c, true, 512);
    assert_int_equal(world_queue(w, &c), 0);
    assert_null(fake_last(ISCSI_OP_SCSI_CMD)); /* commit sends */
    world_commit(w);
    assert_non_null(fake_last(ISCSI_OP_SCSI_CMD));
    assert_int_equal(get32(fake_last(ISCSI_OP_SCSI_CMD)->h.scsi_cmd.edtl), 512);
    /* CSN-02: the first command carries the login's CmdSN */
    assert_int_equal(get32(fake_last(ISCSI_OP_SCSI_CMD)->h.scsi_cmd.cmd_sn), 0xfffffffe);
    fake_adapter.exp_cmdsn++;
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.host_result, DID_OK);
    assert_int_equal(c.buf[3], 21);
    world_free(w);
}

/* The buffer is the caller's again only when cleanup_task has ended. */
static void
late_cleanup_holds_the_completion(void **state)
{
    struct world *w = world_new(2);
    struct cmd c;

    (void)state;
    world_up(w);
    fake_adapter.cleanup_delay_ns = SEC(2);
    cmd_init(&c, true, 512);
    assert_int_equal(world_queue(w, &c), 0);
    world_commit(w);
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
    assert_int_equal(c.done, 0);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(c.done, 0);
    fake_advance(&w->fl, SEC(2));
    assert_int_equal(c.done, 1);
    assert_int_equal(c.buf[511], 0xee); /* the adapter wrote until the end */
    assert_int_equal(fake_adapter.late_cleanups, 1);

    /* The same when the session is destroyed meanwhile: the answer waits. */
    cmd_init(&c, true, 512);
    assert_int_equal(world_queue(w, &c), 0);
    world_commit(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_DESTROY_SESSION), 0);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.host_result, DID_TRANSPORT_DISRUPTED);
    assert_int_equal(fake_adapter.late_cleanups, 2);
    world_free(w);
}

/* A failed command whose data never came has not received it, though no residual says so. */
static void
no_residual_but_no_data(void **state)
{
    static const uint8_t sense[18] = {0x70, 0, 5};
    struct world *w = world_new(20);
    struct cmd c;

    (void)state;
    world_up(w);
    cmd_init(&c, true, 512);
    assert_int_equal(world_queue(w, &c), 0);
    world_commit(w);
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 2, sense, sizeof(sense), 0), 0);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.host_result, DID_OK);
    assert_int_equal(c.sc.sense_len, sizeof(sense));
    assert_int_equal(c.sc.resid_in, 512);
    world_free(w);
}

/* CSN-06, CSN-07, CSN-21 */
static void
closed_window_pushes_back(void **state)
{
    struct world *w = world_new(3);
    struct cmd c[6];

    (void)state;
    world_up(w);
    for (int i = 0; i < 6; i++)
        cmd_init(&c[i], true, 16);
    for (int i = 0; i < 4; i++) /* fffffffe, ffffffff, 0, 1 */
        assert_int_equal(world_queue(w, &c[i]), 0);
    assert_int_equal(world_queue(w, &c[4]), -EBUSY);
    world_commit(w);
    assert_int_equal(get32(fake_last(ISCSI_OP_SCSI_CMD)->h.scsi_cmd.cmd_sn), 1);
    assert_int_equal(w->restarts, 0);
    /* an impossible pair and a stale one change nothing */
    fake_adapter.max_cmdsn = 0xfffffffc;
    assert_int_equal(fake_answer(&fake_adapter.sent[1], 0, NULL, 0, 0), 0);
    fake_turn(&w->fl);
    assert_int_equal(w->restarts, 1); /* a task came free, but the window is closed */
    assert_int_equal(world_queue(w, &c[4]), -EBUSY);
    fake_adapter.exp_cmdsn = 2;
    fake_adapter.max_cmdsn = 3;
    assert_int_equal(fake_answer(&fake_adapter.sent[2], 0, NULL, 0, 0), 0);
    fake_turn(&w->fl);
    assert_int_equal(w->restarts, 2);
    assert_int_equal(world_queue(w, &c[4]), 0);
    world_commit(w);
    assert_int_equal(get32(fake_last(ISCSI_OP_SCSI_CMD)->h.scsi_cmd.cmd_sn), 2);
    world_free(w);
    for (int i = 0; i < 5; i++)
        assert_int_equal(c[i].done, 1);
    assert_int_equal(c[5].done, 0);
}

/* A transport that is full keeps the order and uses no CmdSN twice. */
static void
full_transport_goes_on_where_it_stopped(void **state)
{
    struct world *w = world_new(4);
    struct cmd c[3];

    (void)state;
    world_up(w);
    fake_adapter.full = true;
    for (int i = 0; i < 3; i++) {
        cmd_init(&c[i], true, 16);
        c[i].sc.cdb[1] = (uint8_t)i;
        assert_int_equal(world_queue(w, &c[i]), 0);
    }
    world_commit(w);
    assert_null(fake_last(ISCSI_OP_SCSI_CMD));
    fake_room();
    fake_turn(&w->fl);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(fake_adapter.sent[1 + i].h.scsi_cmd.cdb[1], i);
        assert_int_equal(get32(fake_adapter.sent[1 + i].h.scsi_cmd.cmd_sn), 0xfffffffe + i);
    }
    world_free(w);
}

static const uint8_t sense_ua[18] = {0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29};

/* RSP-01, -02, -03, -06, -07 */
static void
responses_tell_the_truth(void **state)
{
    struct world *w = world_new(5);
    union bhs_any h;
    struct cmd c;

    (void)state;
    world_up(w);
    fake_adapter.max_cmdsn = 100;
    one_command(w, &c, true);
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 2, sense_ua, 18, 0), 0);
    assert_int_equal(c.sc.status, 2);
    assert_int_equal(c.sc.sense_len, 18);
    assert_memory_equal(c.sc.sense, sense_ua, 18);

    one_command(w, &c, true);
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 100), 0);
    assert_int_equal(c.sc.host_result, DID_OK);
    assert_int_equal(c.sc.resid_in, 100);

    one_command(w, &c, true); /* GOOD, but not all of the data came */
    bhs_init(&h, ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = fake_last(ISCSI_OP_SCSI_CMD)->h.h.itt;
    assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
    assert_int_equal(c.sc.host_result, DID_BAD_TARGET);

    one_command(w, &c, true); /* residual above the length */
    bhs_init(&h, ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL | ISCSI_RSP_UNDERFLOW);
    h.h.itt = fake_last(ISCSI_OP_SCSI_CMD)->h.h.itt;
    h.scsi_rsp.residual = put32(513);
    assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
    assert_int_equal(c.sc.host_result, DID_BAD_TARGET);

    one_command(w, &c, false); /* both O and U */
    bhs_init(&h, ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL | ISCSI_RSP_UNDERFLOW | ISCSI_RSP_OVERFLOW);
    h.h.itt = fake_last(ISCSI_OP_SCSI_CMD)->h.h.itt;
    assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
    assert_int_equal(c.sc.host_result, DID_BAD_TARGET);

    one_command(w, &c, false); /* target failure */
    bhs_init(&h, ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = fake_last(ISCSI_OP_SCSI_CMD)->h.h.itt;
    h.scsi_rsp.response = 1;
    assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
    assert_int_equal(c.sc.host_result, DID_ERROR);

    one_command(w, &c, true); /* sense longer than its segment: no over-read */
    bhs_init(&h, ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = fake_last(ISCSI_OP_SCSI_CMD)->h.h.itt;
    h.scsi_rsp.status = 2;
    assert_int_equal(fake_pdu(&h,
                              "\x00\x13"
                              "012345678901234567",
                              20, true),
                     0);
    assert_int_equal(c.sc.host_result, DID_BAD_TARGET);
    assert_int_equal(c.sc.sense_len, 0);
    assert_int_equal(w->nerrors, 0);
    world_free(w);
}

/* SSN-06, SSN-07 */
static void
gap_in_statsn_is_a_loss_duplicate_is_dropped(void **state)
{
    struct world *w = world_new(6);
    struct cmd c, d;

    (void)state;
    world_up(w);
    one_command(w, &c, true);
    one_command(w, &d, true);
    assert_int_equal(fake_answer(&fake_adapter.sent[1], 0, NULL, 0, 0), 0);
    assert_int_equal(c.done, 1);
    fake_adapter.stat_sn--; /* once more */
    assert_int_equal(fake_answer(&fake_adapter.sent[1], 0, NULL, 0, 0), 0);
    assert_int_equal(d.done, 0);
    fake_adapter.stat_sn++;
    assert_true(fake_answer(&fake_adapter.sent[2], 0, NULL, 0, 0) < 0);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->nerrors, 1);
    assert_int_equal(w->error, ISCSI_ERR_STATSN);
    assert_int_equal(d.done, 1);
    assert_int_equal(d.sc.host_result, DID_TRANSPORT_DISRUPTED);
    assert_int_equal(w->gone, 1);
    world_free(w);
}

/* Each line: what a target must not do, and how the connection dies. */
static void
peer_mistakes_end_the_connection(void **state)
{
    static const struct {
        uint8_t opcode, flags, status;
        bool itt_of_command, ttt_valid;
        uint32_t len;
        enum iscsi_err err;
    } rows[] = {
        {ISCSI_OP_SCSI_RSP, 0x80, 0, false, false, 0, ISCSI_ERR_BAD_ITT}, /* ID-14 */
        {ISCSI_OP_TMF_RSP, 0x80, 0, true, false, 0, ISCSI_ERR_BAD_ITT},
        {ISCSI_OP_LOGIN_RSP, 0x87, 0, true, false, 0, ISCSI_ERR_PROTO}, /* LGN-01 */
        {ISCSI_OP_SCSI_RSP, 0x80, 2, true, false, 0, ISCSI_ERR_PROTO},  /* RSP-07 */
        {ISCSI_OP_DATA_IN, 0x81, 2, true, false, 0, ISCSI_ERR_PROTO},   /* RSP-11 */
        {ISCSI_OP_NOP_IN, 0x80, 0, true, true, 0, ISCSI_ERR_PROTO},     /* FMT-01 */
        {ISCSI_OP_NOP_IN, 0x80, 0, true, false, 0, ISCSI_ERR_PROTO},
        {ISCSI_OP_TEXT_RSP, 0x80, 0, true, false, 0, ISCSI_ERR_BAD_ITT},
        {ISCSI_OP_LOGOUT_RSP, 0x80, 0, true, false, 0, ISCSI_ERR_BAD_ITT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world *w = world_new(100 + i);
        union bhs_any h;
        struct cmd c;

        world_up(w);
        one_command(w, &c, true);
        bhs_init(&h, rows[i].opcode, rows[i].flags);
        h.h.itt = rows[i].itt_of_command ? fake_last(ISCSI_OP_SCSI_CMD)->h.h.itt : put32(0x12345);
        h.nop_in.ttt = put32(rows[i].ttt_valid ? 5 : ISCSI_TAG_RSVD);
        if (rows[i].opcode == ISCSI_OP_DATA_IN || rows[i].opcode == ISCSI_OP_SCSI_RSP)
            h.scsi_rsp.status = rows[i].status;
        assert_true(fake_pdu(&h, NULL, rows[i].len, true) < 0);
        assert_int_equal(c.done, 0); /* never from deep inside the parser */
        fake_advance(&w->fl, SEC(1));
        assert_int_equal(w->nerrors, 1);
        assert_int_equal(w->error, rows[i].err);
        assert_int_equal(c.done, 1);
        one_command(w, &c, true); /* taken, and completed with the truth */
        assert_int_equal(c.done, 1);
        assert_int_equal(c.sc.host_result, DID_NO_CONNECT);
        world_free(w);
    }
}

/* TMF-03, TMF-04, TMR-03, TM-10 */
static void
abort_sent_and_answered(void **state)
{
    struct world *w = world_new(7);
    struct waiter x = {.w.done = eh_done};
    const struct bhs_tmf_req *req;
    struct cmd c;

    (void)state;
    world_up(w);
    one_command(w, &c, true);
    w->host->ops->eh_abort(w->host, &c.sc, &x.w);
    assert_int_equal(x.done, 0);
    fake_turn(&w->fl);
    req = &fake_last(ISCSI_OP_TMF_REQ)->h.tmf_req;
    assert_int_equal(req->opcode, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE);
    assert_int_equal(req->flags, 0x81);
    assert_memory_equal(&req->ref_tag, &fake_last(ISCSI_OP_SCSI_CMD)->h.h.itt, 4);
    assert_int_equal(get32(req->ref_cmd_sn), 0xfffffffe);
    assert_int_equal(c.done, 0);
    assert_int_equal(tmf_answer(0), 0);
    fake_turn(&w->fl);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.host_result, DID_ABORT);
    assert_int_equal(x.done, 1);
    assert_int_equal(x.r, SCSI_EH_SUCCESS);
    world_free(w);
}

/* A read whose header the transport got without being told may be half received when it is given
 * up: the transport must let go of its memory. */
static void
a_read_given_up_leaves_the_transport(void **state)
{
    struct world *w = world_new(7);
    struct waiter x = {.w.done = eh_done};
    unsigned fast = fake_fast, cleanups;
    struct cmd c[3];

    (void)state;
    world_up(w);
    for (int i = 0; i < 2; i++) { /* the fast path opens behind the first */
        one_command(w, &c[i], true);
        assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
        assert_int_equal(c[i].done, 1);
    }
    one_command(w, &c[2], true);
    assert_true(!fake_gathers || fake_fast > fast);
    cleanups = fake_adapter.cleanups;
    w->host->ops->eh_abort(w->host, &c[2].sc, &x.w);
    fake_turn(&w->fl);
    assert_int_equal(tmf_answer(0), 0);
    fake_turn(&w->fl);
    assert_int_equal(c[2].sc.host_result, DID_ABORT);
    assert_int_equal(fake_adapter.cleanups, cleanups + 2); /* the read, and the abort itself */
    world_free(w);
}

/* TMR-05: the command answered first; nothing is completed twice. */
static void
abort_that_comes_too_late(void **state)
{
    struct world *w = world_new(8);
    struct waiter x = {.w.done = eh_done};
    struct cmd c;

    (void)state;
    world_up(w);
    one_command(w, &c, true);
    w->host->ops->eh_abort(w->host, &c.sc, &x.w);
    fake_turn(&w->fl);
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.host_result, DID_OK);
    assert_int_equal(tmf_answer(1), 0);
    fake_turn(&w->fl);
    assert_int_equal(x.r, SCSI_EH_NOT_FOUND);
    assert_int_equal(c.done, 1);
    world_free(w);
}

/* The command is over at the target, but the transport still has its memory: the abort ends when
 * that has come back, and nothing is reset for it. */
static void
abort_waits_for_the_memory(void **state)
{
    struct world *w = world_new(16);
    struct waiter x = {.w.done = eh_done};
    struct cmd c;

    (void)state;
    world_up(w);
    fake_adapter.cleanup_delay_ns = SEC(2);
    one_command(w, &c, true);
    w->host->ops->eh_abort(w->host, &c.sc, &x.w);
    fake_turn(&w->fl);
    assert_int_equal(tmf_answer(0), 0);
    fake_turn(&w->fl);
    assert_int_equal(c.done, 0);
    assert_int_equal(x.done, 0);
    fake_advance(&w->fl, SEC(3));
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.host_result, DID_ABORT);
    assert_int_equal(x.done, 1);
    assert_int_equal(x.r, SCSI_EH_SUCCESS);

    /* it ended by itself, before the abort was sent; w may be gone once it has been told */
    x.done = 0;
    one_command(w, &c, true);
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
    w->host->ops->eh_abort(w->host, &c.sc, &x.w);
    fake_turn(&w->fl);
    assert_int_equal(tmf_answer(1), 0);
    fake_turn(&w->fl);
    assert_int_equal(x.done, 0);
    fake_advance(&w->fl, SEC(3));
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.host_result, DID_OK);
    assert_int_equal(x.done, 1);

    /* a transport that never lets go costs the connection, as silence does */
    x.done = 0;
    fake_adapter.cleanup_delay_ns = SEC(60);
    one_command(w, &c, true);
    w->host->ops->eh_abort(w->host, &c.sc, &x.w);
    fake_turn(&w->fl);
    assert_int_equal(tmf_answer(0), 0);
    for (int i = 0; i < 40; i++) {
        union bhs_any h;

        bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL); /* alive */
        h.h.itt = h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
        if (fake_adapter.conn != NULL)
            assert_int_equal(fake_pdu(&h, NULL, 0, false), 0);
        fake_advance(&w->fl, SEC(1));
    }
    assert_int_equal(w->error, ISCSI_ERR_TMF_TIMEDOUT);
    assert_int_equal(x.done, 1);
    assert_int_equal(x.r, SCSI_EH_FAILED);
    fake_advance(&w->fl, SEC(60));
    assert_int_equal(c.done, 1);
    assert_int_equal(x.done, 1);
    world_free(w);
}

/* After the abort has been refused nobody writes to its memory any more. */
static void
refused_abort_is_forgotten(void **state)
{
    struct world *w = world_new(17);
    struct waiter x = {.w.done = eh_done};
    struct cmd c;

    (void)state;
    world_up(w);
    one_command(w, &c, true);
    w->host->ops->eh_abort(w->host, &c.sc, &x.w);
    fake_turn(&w->fl);
    assert_int_equal(tmf_answer(5), 0);
    fake_turn(&w->fl);
    assert_int_equal(x.r, SCSI_EH_FAILED);
    memset(&x, 0x5a, sizeof(x));
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
    assert_int_equal(c.done, 1);
    assert_ptr_equal(x.w.sc, (void *)(uintptr_t)0x5a5a5a5a5a5a5a5a);
    world_free(w);
}

static void
abort_of_a_command_never_sent(void **state)
{
    struct world *w = world_new(9);
    struct waiter x = {.w.done = eh_done};
    struct cmd c;

    (void)state;
    world_up(w);
    fake_adapter.full = true;
    cmd_init(&c, true, 16);
    assert_int_equal(world_queue(w, &c), 0);
    w->host->ops->eh_abort(w->host, &c.sc, &x.w);
    fake_turn(&w->fl);
    assert_int_equal(c.done, 1);
    assert_int_equal(x.r, SCSI_EH_SUCCESS);
    assert_null(fake_last(ISCSI_OP_TMF_REQ));
    world_free(w);
}

/* TM-12: an unanswered function ends the connection, in bounded time. */
static void
silent_target_costs_the_connection(void **state)
{
    struct world *w = world_new(10);
    struct waiter x = {.w.done = eh_done}, y = {.w.done = eh_done};
    static const uint8_t lun[8];
    struct cmd c;

    (void)state;
    world_up(w);
    one_command(w, &c, true);
    w->host->ops->eh_abort(w->host, &c.sc, &x.w);
    w->host->ops->eh_device_reset(w->host, lun, &y.w); /* waits for its turn */
    for (int i = 0; i < 20; i++) {
        fake_adapter.conn != NULL ? (void)(fake_adapter.conn->last_recv_ns = w->fl.l.now_ns)
                                  : (void)0;
        fake_advance(&w->fl, SEC(1));
    }
    assert_int_equal(w->nerrors, 1);
    assert_int_equal(w->error, ISCSI_ERR_TMF_TIMEDOUT);
    assert_int_equal(c.done, 1);
    assert_int_equal(x.r, SCSI_EH_FAILED);
    assert_int_equal(y.r, SCSI_EH_FAILED);
    world_free(w);
}

/* LU reset sweeps its LUN only. */
static void
reset_sweeps_its_lun(void **state)
{
    struct world *w = world_new(11);
    struct waiter x = {.w.done = eh_done};
    uint8_t lun[8] = {0, 1};
    struct cmd a, b;

    (void)state;
    world_up(w);
    one_command(w, &a, true);
    cmd_init(&b, true, 16);
    memcpy(b.sc.lun, lun, 8);
    assert_int_equal(world_queue(w, &b), 0);
    world_commit(w);
    w->host->ops->eh_device_reset(w->host, lun, &x.w);
    fake_turn(&w->fl);
    assert_memory_equal(fake_last(ISCSI_OP_TMF_REQ)->h.tmf_req.lun, lun, 8);
    assert_int_equal(tmf_answer(0), 0);
    fake_turn(&w->fl);
    assert_int_equal(a.done, 0);
    assert_int_equal(b.done, 1);
    assert_int_equal(b.sc.host_result, DID_RESET);
    assert_int_equal(x.r, SCSI_EH_SUCCESS);
    world_free(w);
}

/* LOUT-01, LGO-02: a logout in order leaves no command hanging. */
static void
logout_ends_what_is_outstanding(void **state)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU, .cid = 1};
    struct world *w = world_new(15);
    union bhs_any h;
    struct cmd c;

    (void)state;
    world_up(w);
    one_command(w, &c, true);
    ev.sid = w->sid;
    bhs_init(&ev.u.send_pdu.hdr, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    assert_int_equal(world_ask(w, &ev, NULL, 0), 0);
    fake_advance(&w->fl, MS(1));
    bhs_init(&h, ISCSI_OP_LOGOUT_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = fake_last(ISCSI_OP_LOGOUT_REQ)->h.h.itt;
    assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
    assert_int_equal(c.done, 0);
    assert_int_equal(world_do(w, ISCSI_UEVENT_STOP_CONN), 0);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.host_result, DID_TRANSPORT_DISRUPTED);
    assert_int_equal(w->gone, 1);
    world_free(w);
}

/* CSN-13: a text request that waits for the window keeps no task management waiting. */
static void
closed_window_lets_immediate_pdus_by(void **state)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU, .cid = 1};
    struct world *w = world_new(16);
    struct waiter x = {.w.done = eh_done};
    struct cmd c[4];

    (void)state;
    world_up(w);
    for (int i = 0; i < 4; i++)
        one_command(w, &c[i], true); /* the window is used up */
    ev.sid = w->sid;
    bhs_init(&ev.u.send_pdu.hdr, ISCSI_OP_TEXT_REQ, ISCSI_FLAG_FINAL);
    assert_int_equal(world_ask(w, &ev, NULL, 0), 0);
    w->host->ops->eh_abort(w->host, &c[0].sc, &x.w);
    fake_turn(&w->fl);
    assert_null(fake_last(ISCSI_OP_TEXT_REQ));
    assert_non_null(fake_last(ISCSI_OP_TMF_REQ));
    fake_adapter.exp_cmdsn += 4;
    fake_adapter.max_cmdsn += 4;
    assert_int_equal(tmf_answer(0), 0);
    fake_turn(&w->fl);
    assert_int_equal(c[0].done, 1);
    assert_non_null(fake_last(ISCSI_OP_TEXT_REQ));
    assert_int_equal(get32(fake_last(ISCSI_OP_TEXT_REQ)->h.text_req.cmd_sn), 2);
    world_free(w);
}

/* TMO-01, NPO-01..03 */
static void
pings_both_ways(void **state)
{
    struct world *w = world_new(12);
    union bhs_any h;
    unsigned before;

    (void)state;
    world_up(w);
    bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    h.h.itt = put32(ISCSI_TAG_RSVD);
    h.nop_in.ttt = put32(0x77);
    h.h.lun[1] = 3;
    assert_int_equal(fake_pdu(&h, NULL, 0, false), 0);
    fake_turn(&w->fl);
    assert_int_equal(get32(fake_last(ISCSI_OP_NOP_OUT)->h.nop_out.ttt), 0x77);
    assert_int_equal(get32(fake_last(ISCSI_OP_NOP_OUT)->h.h.itt), ISCSI_TAG_RSVD);
    assert_int_equal(fake_last(ISCSI_OP_NOP_OUT)->h.h.lun[1], 3);
    before = fake_adapter.nsent;
    h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
    assert_int_equal(fake_pdu(&h, NULL, 0, false), 0); /* asks for nothing */
    fake_turn(&w->fl);
    assert_int_equal(fake_adapter.nsent, before);

    for (int i = 0; i < 3; i++) { /* silence, ping, answer */
        fake_advance(&w->fl, SEC(6));
        assert_int_equal(fake_adapter.nsent, before + 1 + (unsigned)i);
        bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
        h.h.itt = fake_last(ISCSI_OP_NOP_OUT)->h.h.itt;
        h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
        assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
    }
    fake_advance(&w->fl, SEC(9));
    assert_int_equal(w->nerrors, 0);
    fake_advance(&w->fl, SEC(2)); /* no answer this time */
    assert_int_equal(w->nerrors, 1);
    assert_int_equal(w->error, ISCSI_ERR_NOP_TIMEDOUT);
    world_free(w);
}

static unsigned lines_out, lines_in;

static void
count_flight(void *user, enum log_level level, const char *line)
{
    (void)user;
    (void)level;
    lines_out += strstr(line, " ms > NOP-Out") != NULL;
    lines_in += strstr(line, " ms < NOP-In") != NULL;
}

/* One that only waits has no recorder, of which there could be thousands, and its last PDUs are
 * known all the same; its first command brings one, which goes on with them. */
static void
last_pdus_of_one_that_waits(void **state)
{
    static const struct log log = {.level = LOG_LEVEL_WARN, .sink = count_flight};
    struct flight_pdu pdus[8];
    struct iscsi_conn *conn;
    union bhs_any h;
    struct cmd c;

    (void)state;
    for (int commands = 0; commands < 2; commands++) {
        struct world *w = world_new(12);

        world_up(w);
        w->fl.l.log = &log;
        lines_out = lines_in = 0;
        conn = fake_adapter.conn;
        assert_null(conn->flight);
        for (int i = 0; i < 3; i++) {
            fake_advance(&w->fl, SEC(6));
            bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
            h.h.itt = fake_last(ISCSI_OP_NOP_OUT)->h.h.itt;
            h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
            assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
        }
        assert_null(conn->flight);
        if (commands)
            one_command(w, &c, true);
        assert_int_equal(conn->flight != NULL, commands);
        assert_int_equal(iscsi_conn_flight(conn, pdus, 8), FLIGHT_FEW);
        for (int i = 0; i < FLIGHT_FEW; i++) {
            assert_int_equal(pdus[i].tx, i % 2 == 0);
            assert_int_equal(pdu_opcode(&pdus[i].hdr),
                             i % 2 == 0 ? ISCSI_OP_NOP_OUT : ISCSI_OP_NOP_IN);
        }
        assert_int_equal(iscsi_conn_flight(conn, pdus, 1), 1);
        assert_int_equal(get32(pdus[0].hdr.itt), get32(h.h.itt));
        fake_advance(&w->fl, SEC(20)); /* it does not answer any more */
        assert_int_equal(w->error, ISCSI_ERR_NOP_TIMEDOUT);
        assert_true(lines_out >= 1 && lines_in >= 1);
        world_free(w);
    }
}

/* A program that did not run its loop for a minute has not lost its connection: the target still
 * has all of the limit to answer. */
static void
pause_of_the_program_is_no_silence(void **state)
{
    struct world *w = world_new(18);
    union bhs_any h;
    unsigned before;

    (void)state;
    world_up(w);
    before = fake_adapter.nsent;
    w->fl.l.now_ns += SEC(60);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(fake_adapter.nsent, before + 1);
    assert_int_equal(w->nerrors, 0);
    bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    h.h.itt = fake_last(ISCSI_OP_NOP_OUT)->h.h.itt;
    h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
    assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->nerrors, 0);
    w->fl.l.now_ns += SEC(60);
    fake_advance(&w->fl, SEC(4));
    assert_int_equal(w->nerrors, 0);
    fake_advance(&w->fl, SEC(2));
    assert_int_equal(w->error, ISCSI_ERR_NOP_TIMEDOUT);
    world_free(w);
}

/* An answer while the request is still on its way out: the target guessed.  Its memory comes back
 * from the transport once, and the connection ends in order. */
static void
answer_to_a_request_not_sent_yet(void **state)
{
    for (int final = 0; final < 2; final++) {
        struct world *w = world_new(19);
        struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU, .cid = 1};
        union bhs_any h;

        (void)state;
        world_up(w);
        fake_adapter.cleanup_delay_ns = SEC(5);
        fake_adapter.control = true;
        ev.sid = w->sid;
        bhs_init(&ev.u.send_pdu.hdr, ISCSI_OP_TEXT_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
        ev.u.send_pdu.data_len = 4;
        assert_int_equal(world_ask(w, &ev, "a=b", 4), 0);
        fake_advance(&w->fl, MS(1));
        bhs_init(&h, ISCSI_OP_TEXT_RSP, final ? ISCSI_FLAG_FINAL : ISCSI_TEXT_CONTINUE);
        h.h.itt = fake_last(ISCSI_OP_TEXT_REQ)->h.h.itt;
        (void)fake_pdu(&h, NULL, 0, true);
        fake_advance(&w->fl, SEC(30));
        world_free(w);
    }
}

/* PDU-10, PDU-12 */
static void
long_and_bidirectional_cdbs(void **state)
{
    struct world *w = world_new(13);
    struct iovec out;
    uint8_t data[64];
    struct cmd c;

    (void)state;
    world_up(w);
    cmd_init(&c, true, 128);
    out = (struct iovec){data, sizeof(data)};
    c.sc.out = sg_from_iov(&out, 1, 0, sizeof(data));
    c.sc.cdb_len = 32;
    for (int i = 0; i < 32; i++)
        c.sc.cdb[i] = (uint8_t)(0x40 + i);
    assert_int_equal(world_queue(w, &c), 0);
    world_commit(w);
    assert_int_equal(fake_last(ISCSI_OP_SCSI_CMD)->h.h.ahs_words, 7);
    assert_int_equal(fake_last(ISCSI_OP_SCSI_CMD)->h.h.flags & 0x60, 0x60);
    assert_int_equal(get32(fake_last(ISCSI_OP_SCSI_CMD)->h.scsi_cmd.edtl), 64);
    assert_memory_equal(fake_last(ISCSI_OP_SCSI_CMD)->ahs, "\x00\x11\x01\x00\x50\x51", 6);
    assert_memory_equal(fake_last(ISCSI_OP_SCSI_CMD)->ahs + 20, "\x00\x05\x02\x00\x00\x00\x00\x80",
                        8);
    world_free(w);
}

static void
impossible_requests_are_refused(void **state)
{
    static const struct {
        enum iscsi_param p;
        const char *value;
    } bad[] = {
        {ISCSI_PARAM_MAX_BURST, "511"},     {ISCSI_PARAM_MAX_BURST, "16777216"},
        {ISCSI_PARAM_MAX_BURST, "-1"},      {ISCSI_PARAM_IMM_DATA, "maybe"},
        {ISCSI_PARAM_HEADER_DIGEST, "MD5"}, {ISCSI_PARAM_HEADER_DIGEST, "CRC32C"}, /* no caps */
        {ISCSI_PARAM_PDU_INORDER, "No"},    {ISCSI_PARAM_ERL, "3"},
    };
    struct world *w = world_new(14);

    (void)state;
    world_up(w);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_true(world_param(w, bad[i].p, bad[i].value) < 0);
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), -EEXIST);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), -EBUSY);
    assert_true(world_do(w, ISCSI_UEVENT_START_CONN) < 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_MAX_R2T, "2"), -EBUSY);
    assert_int_equal(world_param(w, ISCSI_PARAM_PING_INTERVAL_MS, "1000"), 0);
    w->sid = 4711;
    assert_int_equal(world_do(w, ISCSI_UEVENT_STOP_CONN), -ENOENT);
    assert_int_equal(world_do(w, ISCSI_UEVENT_DESTROY_SESSION), -ENOENT);
    world_free(w);
}

/* FSM-01: every cell, by the RFC's table or refused. */
static void
state_machine_is_the_rfc_s(void **state)
{
    int legal = 0;

    (void)state;
    for (unsigned s = 0; s < CONN_NSTATES; s++)
        for (unsigned e = 0; e < EV_COUNT; e++)
            legal += fsm_find(&conn_fsm, s, e) != NULL;
    assert_int_equal(legal, 17);
    assert_int_equal(fsm_find(&conn_fsm, CONN_LOGGED_IN, EV_FAILED)->to, CONN_CLEANUP_WAIT);
    assert_string_equal(fsm_find(&conn_fsm, CONN_LOGGED_IN, EV_FAILED)->what, "T15");
    assert_int_equal(fsm_find(&conn_fsm, CONN_IN_LOGIN, EV_STARTED)->to, CONN_LOGGED_IN);
    assert_null(fsm_find(&conn_fsm, CONN_FREE, EV_STARTED));
}

/* Random traffic, then the end at a random moment: each command completes exactly once. */
static void
exactly_once_whatever_happens(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct world *w = world_new(1000 + seed);
        static struct cmd c[64];
        unsigned queued = 0, answered = 1;
        uint64_t end = loop_random(&w->fl.l) % 60;

        world_up(w);
        fake_adapter.cleanup_delay_ns = seed % 3 == 0 ? MS(200) : 0;
        for (unsigned i = 0; i < 64 && i < end; i++) {
            cmd_init(&c[queued], loop_random(&w->fl.l) & 1, 64);
            if (world_queue(w, &c[queued]) == 0)
                queued++;
            if (loop_random(&w->fl.l) % 3 == 0)
                world_commit(w);
            if (answered < fake_adapter.nsent && loop_random(&w->fl.l) & 1) {
                fake_adapter.exp_cmdsn++;
                fake_adapter.max_cmdsn++;
                assert_int_equal(fake_answer(&fake_adapter.sent[answered++], 0, NULL, 0, 0), 0);
            }
            if (loop_random(&w->fl.l) % 5 == 0)
                fake_advance(&w->fl, MS(100));
        }
        switch (seed % 4) {
        case 0:
            fake_adapter.conn->up->conn_failure(fake_adapter.conn, ISCSI_ERR_CONN_CLOSED, "cut");
            break;
        case 1:
            assert_int_equal(world_do(w, ISCSI_UEVENT_STOP_CONN), 0);
            break;
        case 2:
            assert_int_equal(world_do(w, ISCSI_UEVENT_DESTROY_CONN), 0);
            break;
        default:
            break;
        }
        fake_advance(&w->fl, SEC(1));
        world_free(w);
        for (unsigned i = 0; i < queued; i++)
            assert_int_equal(c[i].done, 1);
    }
}

/* "gathers": the adapter gathers, so that the fast path is taken. */
int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_with_data_placed_by_the_transport),
        cmocka_unit_test(late_cleanup_holds_the_completion),
        cmocka_unit_test(no_residual_but_no_data),
        cmocka_unit_test(closed_window_pushes_back),
        cmocka_unit_test(full_transport_goes_on_where_it_stopped),
        cmocka_unit_test(responses_tell_the_truth),
        cmocka_unit_test(gap_in_statsn_is_a_loss_duplicate_is_dropped),
        cmocka_unit_test(peer_mistakes_end_the_connection),
        cmocka_unit_test(abort_sent_and_answered),
        cmocka_unit_test(a_read_given_up_leaves_the_transport),
        cmocka_unit_test(abort_that_comes_too_late),
        cmocka_unit_test(abort_waits_for_the_memory),
        cmocka_unit_test(refused_abort_is_forgotten),
        cmocka_unit_test(abort_of_a_command_never_sent),
        cmocka_unit_test(silent_target_costs_the_connection),
        cmocka_unit_test(reset_sweeps_its_lun),
        cmocka_unit_test(logout_ends_what_is_outstanding),
        cmocka_unit_test(closed_window_lets_immediate_pdus_by),
        cmocka_unit_test(pings_both_ways),
        cmocka_unit_test(last_pdus_of_one_that_waits),
        cmocka_unit_test(pause_of_the_program_is_no_silence),
        cmocka_unit_test(answer_to_a_request_not_sent_yet),
        cmocka_unit_test(long_and_bidirectional_cdbs),
        cmocka_unit_test(impossible_requests_are_refused),
        cmocka_unit_test(state_machine_is_the_rfc_s),
        cmocka_unit_test(exactly_once_whatever_happens),
    };

    int r;

    fake_gathers = argc > 1 && strcmp(argv[1], "gathers") == 0;
    r = cmocka_run_group_tests(tests, NULL, NULL);
    return r != 0 || (fake_gathers && fake_fast == 0);
}
