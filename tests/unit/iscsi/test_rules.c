/* SPDX-License-Identifier: MIT */
/* Single rules of RFC 7143 that a session keeps, over the fake adapter; ids of
 * docs/rfc-coverage.md.
 */
#include "tests/unit/iscsi/world.h"

#include "iscsi/internal.h"

/* ID-12: all generations of a slot come before one comes again, and none makes the reserved tag. */
static void
generations_go_around(void **state)
{
    static const uint32_t slots[] = {0, 1, (1u << ISCSI_SLOT_BITS) - 1};

    (void)state;
    for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
        struct task t = {.pub.itt = slots[i], .slot = slots[i]};
        uint32_t n = 0;

        do {
            uint32_t itt = iscsi_next_itt(&t);

            assert_int_not_equal(itt, ISCSI_TAG_RSVD);
            assert_int_not_equal(itt, t.pub.itt);
            assert_int_equal(itt & ((1u << ISCSI_SLOT_BITS) - 1), slots[i]);
            t.pub.itt = itt;
            n++;
        } while (t.pub.itt != slots[i]);
        assert_int_equal(n, (1u << (32 - ISCSI_SLOT_BITS)) - 1);
    }
}

/* CSN-02, CSN-07: what the target says that it has had is no number of ours: tgt is one ahead after
 * a login over iSER, and has no answer for a command that follows it.  It may ping at once, too,
 * and wants no answer. */
static void
numbers_go_on_from_what_was_sent(void **state)
{
    struct world *w = world_new(35);
    union bhs_any h;
    struct cmd c;

    (void)state;
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_SESSION), 0);
    w->sid = w->reply.sid;
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    world_login_ahead(w, 0xfffffffe, 4, 1);
    world_start(w);
    bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    h.h.itt = put32(ISCSI_TAG_RSVD);
    h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
    assert_int_equal(fake_pdu(&h, NULL, 0, false), 0);
    fake_turn(&w->fl);
    assert_null(fake_last(ISCSI_OP_NOP_OUT));
    for (uint32_t i = 0; i < 8; i++) {
        one_command(w, &c, true);
        assert_int_equal(get32(fake_last(ISCSI_OP_SCSI_CMD)->h.scsi_cmd.cmd_sn), 0xfffffffe + i);
        fake_adapter.exp_cmdsn = 0xffffffff + i;
        fake_adapter.max_cmdsn = fake_adapter.exp_cmdsn + 3;
        assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
        assert_int_equal(c.done, 1);
    }
    assert_int_equal(w->nerrors, 0);
    world_free(w);
}

/* A transport that takes no parameters has no options, and whoever gives it some hears of that. */
static void
options_are_for_those_that_have_them(void **state)
{
    struct world *w = world_new(36);

    (void)state;
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_SESSION), 0);
    w->sid = w->reply.sid;
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
    assert_null(fake_transport.set_param);
    assert_int_equal(world_param(w, ISCSI_PARAM_OPTIONS, "fake_x=1"), -EINVAL);
    assert_non_null(strstr(w->reply.why.msg, "has no options"));
    world_free(w);
}

/* ID-11, ID-12, ID-19: a tag is never the reserved one, and a late answer hits no newer task. */
static void
tags_change_with_each_use(void **state)
{
    struct world *w = world_new(20);
    uint32_t last = ISCSI_TAG_RSVD;
    union bhs_any h;
    struct cmd c;

    (void)state;
    world_up(w);
    for (uint32_t i = 0; i < 10000; i++) {
        uint32_t itt;

        fake_adapter.nsent = 0;
        one_command(w, &c, true);
        itt = get32(fake_last(ISCSI_OP_SCSI_CMD)->h.h.itt);
        assert_int_not_equal(itt, last);
        assert_int_not_equal(itt, ISCSI_TAG_RSVD);
        last = itt;
        fake_adapter.exp_cmdsn++;
        fake_adapter.max_cmdsn++;
        assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
        assert_int_equal(c.done, 1);
    }
    one_command(w, &c, true);
    bhs_init(&h, ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = put32(last);
    assert_true(fake_pdu(&h, NULL, 0, true) < 0);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->error, ISCSI_ERR_BAD_ITT);
    assert_int_equal(c.sc.host_result, DID_TRANSPORT_DISRUPTED);
    world_free(w);
}

/* CSN-03, CSN-04: a request that is immediate shows the next number and takes none. */
static void
immediate_requests_take_no_number(void **state)
{
    struct world *w = world_new(21);
    struct waiter x = {.w.done = eh_done};
    struct cmd a, b;

    (void)state;
    world_up(w);
    one_command(w, &a, true);
    w->host->ops->eh_abort(w->host, &a.sc, &x.w);
    fake_turn(&w->fl);
    assert_int_equal(get32(fake_last(ISCSI_OP_TMF_REQ)->h.tmf_req.cmd_sn), 0xffffffff);
    one_command(w, &b, true);
    assert_int_equal(get32(fake_last(ISCSI_OP_SCSI_CMD)->h.scsi_cmd.cmd_sn), 0xffffffff);
    fake_advance(&w->fl, SEC(6)); /* a ping */
    assert_int_equal(get32(fake_last(ISCSI_OP_NOP_OUT)->h.nop_out.cmd_sn), 0);
    assert_int_equal(fake_last(ISCSI_OP_NOP_OUT)->h.h.opcode,
                     ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE);
    assert_int_equal(get32(fake_last(ISCSI_OP_NOP_OUT)->h.nop_out.exp_stat_sn), 0);
    world_free(w);
}

/* CSN-08: whatever carries MaxCmdSN opens the window. */
static void
every_kind_of_pdu_opens_the_window(void **state)
{
    static const uint8_t kinds[] = {ISCSI_OP_NOP_IN,   ISCSI_OP_ASYNC,   ISCSI_OP_REJECT,
                                    ISCSI_OP_SCSI_RSP, ISCSI_OP_TMF_RSP, ISCSI_OP_DATA_IN};

    (void)state;
    for (size_t i = 0; i < sizeof(kinds); i++) {
        struct world *w = world_new(220 + i);
        struct waiter x = {.w.done = eh_done};
        struct cmd c[5];
        union bhs_any h;
        struct bhs bad = {.opcode = ISCSI_OP_NOP_OUT, .itt = put32(ISCSI_TAG_RSVD)};

        world_up(w);
        for (int k = 0; k < 4; k++)
            one_command(w, &c[k], false);
        cmd_init(&c[4], false, 16);
        assert_int_equal(world_queue(w, &c[4]), -EBUSY);
        w->host->ops->eh_abort(w->host, &c[0].sc, &x.w);
        fake_turn(&w->fl);
        bhs_init(&h, kinds[i], ISCSI_FLAG_FINAL);
        h.h.itt = put32(ISCSI_TAG_RSVD);
        h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
        if (kinds[i] == ISCSI_OP_ASYNC) {
            h.async.event = 250;
        } else if (kinds[i] == ISCSI_OP_SCSI_RSP || kinds[i] == ISCSI_OP_DATA_IN) {
            h.h.itt = fake_adapter.sent[2].h.h.itt;
            h.h.flags |= kinds[i] == ISCSI_OP_DATA_IN ? ISCSI_DATA_IN_STATUS : 0;
        } else if (kinds[i] == ISCSI_OP_TMF_RSP) {
            h.h.itt = fake_last(ISCSI_OP_TMF_REQ)->h.h.itt;
        }
        fake_adapter.exp_cmdsn += 4;
        fake_adapter.max_cmdsn += 4;
        assert_int_equal(fake_pdu(&h, &bad, kinds[i] == ISCSI_OP_REJECT ? sizeof(bad) : 0,
                                  kinds[i] != ISCSI_OP_NOP_IN),
                         0);
        fake_turn(&w->fl);
        assert_int_equal(w->restarts, 1);
        assert_int_equal(world_queue(w, &c[4]), 0);
        world_free(w);
    }
}

/* TMF-01..03, TMF-09, TMR-01 */
static void
one_function_at_a_time(void **state)
{
    static const uint8_t zero[8], lun[8] = {0, 7};
    static const uint8_t refusals[] = {ISCSI_TMF_RSP_UNSUPPORTED, ISCSI_TMF_RSP_REJECTED, 99};
    const struct bhs_tmf_req *req;

    (void)state;
    for (size_t i = 0; i < sizeof(refusals); i++) {
        struct world *w = world_new(230 + i);
        struct waiter x = {.w.done = eh_done}, y = {.w.done = eh_done};

        world_up(w);
        w->host->ops->eh_device_reset(w->host, lun, &x.w);
        w->host->ops->eh_target_reset(w->host, &y.w);
        fake_turn(&w->fl);
        req = &fake_last(ISCSI_OP_TMF_REQ)->h.tmf_req;
        assert_int_equal(req->flags, ISCSI_FLAG_FINAL | ISCSI_TMF_LU_RESET);
        assert_memory_equal(req->lun, lun, 8);
        assert_int_equal(get32(req->ref_tag), ISCSI_TAG_RSVD);
        assert_int_equal(get24(((const struct bhs *)(const void *)req)->dseg_len), 0);
        assert_int_equal(tmf_answer(refusals[i]), 0);
        fake_turn(&w->fl);
        assert_int_equal(x.r, SCSI_EH_FAILED);
        assert_int_equal(y.done, 0);
        req = &fake_last(ISCSI_OP_TMF_REQ)->h.tmf_req;
        assert_int_equal(req->flags, ISCSI_FLAG_FINAL | ISCSI_TMF_TARGET_WARM_RESET);
        assert_memory_equal(req->lun, zero, 8);
        assert_int_equal(get32(req->ref_tag), ISCSI_TAG_RSVD);
        assert_int_equal(get32(req->ref_cmd_sn), 0);
        assert_int_equal(tmf_answer(0), 0);
        fake_turn(&w->fl);
        assert_int_equal(y.r, SCSI_EH_SUCCESS);
        world_free(w);
    }
}

/* A second connection that works beside the first; the adapter's answers go to the first one. */
static struct iscsi_conn *
second_started(struct world *w)
{
    struct iscsi_conn *first = fake_adapter.conn, *second;

    w->cid = 2;
    w->follows = true;
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    second = fake_adapter.conn;
    assert_int_equal(iscsi_conn_start(second, NULL), 0);
    fake_adapter.conn = first;
    w->cid = 1;
    w->follows = false;
    return second;
}

/* TMF-05: ABORT TASK leaves on the connection of its task while that lives. */
static void
abort_goes_where_its_task_went(void **state)
{
    struct world *w = world_new(27);
    struct waiter x = {.w.done = eh_done};
    struct iscsi_conn *second;
    const struct iscsi_conn *of_task;
    struct cmd c;

    (void)state;
    world_up(w);
    second = second_started(w);
    one_command(w, &c, true);
    of_task = fake_last(ISCSI_OP_SCSI_CMD)->task->conn;
    w->host->ops->eh_abort(w->host, &c.sc, &x.w);
    fake_turn(&w->fl);
    assert_ptr_equal(fake_last(ISCSI_OP_TMF_REQ)->task->conn, of_task);
    fake_adapter.conn = of_task == second ? second : fake_adapter.conn;
    assert_int_equal(tmf_answer(0), 0);
    fake_turn(&w->fl);
    assert_int_equal(x.r, SCSI_EH_SUCCESS);
    world_free(w);
}

/* ID-13: what comes over another connection than the request's own is no answer to it. */
static void
answers_come_where_the_request_went(void **state)
{
    static const uint8_t kinds[] = {ISCSI_OP_SCSI_RSP, ISCSI_OP_DATA_IN, ISCSI_OP_TMF_RSP};

    (void)state;
    for (size_t i = 0; i < sizeof(kinds); i++) {
        struct world *w = world_new(280 + i);
        struct waiter x = {.w.done = eh_done};
        struct iscsi_conn *second;
        union bhs_any h;
        struct cmd c;

        world_up(w);
        second = second_started(w);
        one_command(w, &c, true);
        if (fake_last(ISCSI_OP_SCSI_CMD)->task->conn == second)
            second = fake_adapter.conn;
        if (kinds[i] == ISCSI_OP_TMF_RSP) {
            w->host->ops->eh_abort(w->host, &c.sc, &x.w);
            fake_turn(&w->fl);
        }
        bhs_init(&h, kinds[i],
                 kinds[i] == ISCSI_OP_DATA_IN ? ISCSI_FLAG_FINAL | ISCSI_DATA_IN_STATUS
                                              : ISCSI_FLAG_FINAL);
        h.h.itt =
            fake_last(kinds[i] == ISCSI_OP_TMF_RSP ? ISCSI_OP_TMF_REQ : ISCSI_OP_SCSI_CMD)->h.h.itt;
        fake_adapter.conn = second;
        fake_adapter.stat_sn = 500; /* it has its own */
        assert_true(fake_pdu(&h, NULL, 0, true) < 0);
        assert_int_equal(c.done, 0);
        assert_int_equal(x.done, 0);
        fake_advance(&w->fl, MS(500));
        assert_int_equal(w->nerrors, 1);
        assert_int_equal(w->event.cid, second->cid);
        assert_true(c.done == 0 || c.sc.host_result != DID_OK);
        world_free(w);
    }
}

/* LGQ-03: the first Login Request of a connection acknowledges nothing, the next ones what came. */
static void
logins_acknowledge_their_responses(void **state)
{
    struct world *w = world_new(28);
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU};
    const struct fake_sent *s;
    union bhs_any h;

    (void)state;
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_SESSION), 0);
    w->sid = w->reply.sid;
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    ev.sid = w->sid;
    ev.cid = w->cid;
    for (uint32_t i = 0; i < 3; i++) {
        bool last = i == 2;
        uint8_t flags =
            last ? bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT) : bhs_login_flags(1, 0, 0);

        bhs_init(&ev.u.send_pdu.hdr, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE, flags);
        assert_int_equal(world_ask(w, &ev, NULL, 0), 0);
        fake_advance(&w->fl, MS(1));
        s = fake_last(ISCSI_OP_LOGIN_REQ);
        assert_int_equal(get32(s->h.login_req.exp_stat_sn), i == 0 ? 0 : 0xffffffff + i);
        assert_int_equal(get32(s->h.login_req.cmd_sn), 0xfffffffe); /* CSN-02 */
        bhs_init(&h, ISCSI_OP_LOGIN_RSP, flags);
        h.h.itt = s->h.h.itt;
        if (i == 0)
            fake_adapter.stat_sn = 0xffffffff;
        fake_adapter.exp_cmdsn = 0xfffffffe;
        fake_adapter.max_cmdsn = 0xfffffffe + 3;
        assert_int_equal(fake_pdu(&h, NULL, 0, true), last ? ISCSI_RX_HOLD : 0);
        fake_advance(&w->fl, SEC(1));
    }
    world_free(w);
}

/* TM-11: the target does not know the task, and no answer came from it: it is over. */
static void
abort_of_a_task_that_is_not_there(void **state)
{
    struct world *w = world_new(24);
    struct waiter x = {.w.done = eh_done};
    struct cmd c;

    (void)state;
    world_up(w);
    one_command(w, &c, true);
    w->host->ops->eh_abort(w->host, &c.sc, &x.w);
    fake_turn(&w->fl);
    assert_int_equal(tmf_answer(ISCSI_TMF_RSP_NO_TASK), 0);
    fake_turn(&w->fl);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.host_result, DID_ABORT);
    assert_int_equal(x.r, SCSI_EH_SUCCESS);
    world_free(w);
}

/* CLEAR ACA ends no command, whatever the answer (SAM). */
static void
clear_aca_ends_no_command(void **state)
{
    static const uint8_t lun[8], answers[] = {ISCSI_TMF_RSP_COMPLETE, ISCSI_TMF_RSP_UNSUPPORTED};

    (void)state;
    for (size_t i = 0; i < sizeof(answers); i++) {
        struct world *w = world_new(26);
        struct waiter x = {.w.done = eh_done};
        struct cmd a;

        world_up(w);
        one_command(w, &a, false);
        w->host->ops->eh_clear_aca(w->host, lun, &x.w);
        fake_turn(&w->fl);
        assert_int_equal(fake_last(ISCSI_OP_TMF_REQ)->h.tmf_req.flags,
                         ISCSI_FLAG_FINAL | ISCSI_TMF_CLEAR_ACA);
        assert_int_equal(tmf_answer(answers[i]), 0);
        fake_turn(&w->fl);
        assert_int_equal(x.done, 1);
        assert_int_equal(x.r, i == 0 ? SCSI_EH_SUCCESS : SCSI_EH_FAILED);
        assert_int_equal(a.done, 0);
        assert_int_equal(fake_answer(&fake_adapter.sent[1], 0, NULL, 0, 0), 0);
        assert_int_equal(a.done, 1);
        assert_int_equal(a.sc.host_result, DID_OK);
        world_free(w);
    }
}

/* TM-02, TM-04: until the answer to a reset comes, its tasks send what is asked for and may end. */
static void
tasks_of_a_reset_go_on_until_its_answer(void **state)
{
    static const uint8_t lun[8];
    struct world *w = world_new(25);
    struct waiter x = {.w.done = eh_done};
    struct cmd a, b;
    unsigned before;

    (void)state;
    world_up(w);
    one_command(w, &a, false);
    one_command(w, &b, false);
    w->host->ops->eh_device_reset(w->host, lun, &x.w);
    fake_turn(&w->fl);
    before = fake_adapter.nsent;
    fake_adapter.conn->up->requeue_task(fake_adapter.sent[1].task); /* as an R2T does */
    fake_turn(&w->fl);
    assert_int_equal(fake_adapter.nsent, before + 1);
    assert_int_equal(fake_answer(&fake_adapter.sent[2], 0, NULL, 0, 0), 0);
    assert_int_equal(b.done, 1);
    assert_int_equal(b.sc.host_result, DID_OK);
    assert_int_equal(tmf_answer(0), 0);
    fake_turn(&w->fl);
    assert_int_equal(a.sc.host_result, DID_RESET);
    assert_int_equal(a.done + b.done, 2);
    world_free(w);
}

/* RSP-10: the statuses that need no response of their own. */
static void
status_comes_with_the_last_data(void **state)
{
    static const uint8_t statuses[] = {0x00, 0x04, 0x10, 0x14};

    (void)state;
    for (size_t i = 0; i < sizeof(statuses); i++) {
        struct world *w = world_new(260 + i);
        union bhs_any h;
        struct cmd c;

        world_up(w);
        one_command(w, &c, true);
        fake_last(ISCSI_OP_SCSI_CMD)->task->in_done = 500;
        bhs_init(&h, ISCSI_OP_DATA_IN,
                 ISCSI_FLAG_FINAL | ISCSI_DATA_IN_STATUS | ISCSI_RSP_UNDERFLOW);
        h.h.itt = fake_last(ISCSI_OP_SCSI_CMD)->h.h.itt;
        h.data_in.status = statuses[i];
        h.data_in.residual = put32(12);
        assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
        assert_int_equal(c.sc.host_result, DID_OK);
        assert_int_equal(c.sc.status, statuses[i]);
        assert_int_equal(c.sc.resid_in, 12);
        world_free(w);
    }
}

/* PL-01, PL-03, PL-06: a Status Qualifier from level 2 on, sense data with any status. */
static void
level_two_says_more(void **state)
{
    (void)state;
    for (unsigned level = 1; level <= 2; level++) {
        struct world *w = world_new(270 + level);
        union bhs_any h;
        struct cmd c;

        world_logged_in(w);
        assert_int_equal(world_param(w, ISCSI_PARAM_PROTOCOL_LEVEL, level == 1 ? "1" : "2"), 0);
        world_start(w);
        one_command(w, &c, true);
        fake_last(ISCSI_OP_SCSI_CMD)->task->in_done = 512;
        bhs_init(&h, ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL);
        h.h.itt = fake_last(ISCSI_OP_SCSI_CMD)->h.h.itt;
        h.scsi_rsp.status_qualifier = put16(0x4003);
        assert_int_equal(fake_pdu(&h, "\x00\x04wxyz", 6, true), 0);
        assert_int_equal(c.sc.host_result, DID_OK);
        assert_int_equal(c.sc.status_qualifier, level == 1 ? 0 : 0x4003);
        assert_int_equal(c.sc.sense_len, 4);
        assert_memory_equal(c.sc.sense, "wxyz", 4);
        world_free(w);
    }
}

/* CMD-01, CMD-04, CMD-10, CMD-11, CSN-22, PDU-11 */
static void
commands_are_well_formed(void **state)
{
    static const uint8_t zero[16];

    (void)state;
    for (uint16_t len = 6; len <= 16; len += 2) {
        struct world *w = world_new(280 + len);
        const struct bhs_scsi_cmd *h;
        struct cmd c;

        world_up(w);
        cmd_init(&c, len & 4, 100);
        c.sc.attr = (uint8_t)(len % 5);
        c.sc.cdb_len = len;
        memset(c.sc.cdb, 0xa5, sizeof(c.sc.cdb)); /* what lies behind the CDB stays here */
        assert_int_equal(world_queue(w, &c), 0);
        world_commit(w);
        h = &fake_last(ISCSI_OP_SCSI_CMD)->h.scsi_cmd;
        assert_int_equal(h->opcode, ISCSI_OP_SCSI_CMD);
        assert_int_equal(h->flags,
                         ISCSI_FLAG_FINAL | len % 5 | (len & 4 ? ISCSI_CMD_READ : ISCSI_CMD_WRITE));
        assert_int_equal(h->ahs_words, 0);
        assert_int_equal(get32(h->edtl), 100);
        assert_memory_equal(h->cdb, c.sc.cdb, len);
        assert_memory_equal(h->cdb + len, zero, 16u - len);
        world_free(w);
    }
}

/* CMD-02, CMD-05..08, KEY-05: what goes unasked, by the regime, the lengths and the limits. */
static void
unsolicited_data_by_the_regime(void **state)
{
    static const struct unsolicited_row {
        const char *imm_data, *initial_r2t, *first_burst;
        uint32_t len, imm, unsol;
    } rows[] = {
        {"Yes", "Yes", "4096", 512, 512, 0},       {"Yes", "Yes", "4096", 4096, 4096, 0},
        {"Yes", "Yes", "4096", 5000, 4096, 0},     {"Yes", "Yes", "65536", 20000, 8192, 0},
        {"Yes", "No", "4096", 512, 512, 0},        {"Yes", "No", "4096", 20000, 4096, 0},
        {"Yes", "No", "16384", 20000, 8192, 8192}, {"Yes", "No", "65536", 20001, 8192, 11809},
        {"No", "Yes", "4096", 512, 0, 0},          {"No", "Yes", "4096", 20000, 0, 0},
        {"No", "No", "4096", 512, 0, 512},         {"No", "No", "4096", 20000, 0, 4096},
        {"No", "No", "513", 20000, 0, 513},        {"Yes", "No", "513", 513, 513, 0},
    };
    /* The same, where the transport sends a write whole or not at all unasked. */
    static const uint32_t whole[] = {512, 4096, 0, 0, 512, 0, 0, 0, 0, 0, 0, 0, 0, 513};
    static uint8_t data[20001];

    (void)state;
    static_assert(sizeof(whole) / sizeof(whole[0]) == sizeof(rows) / sizeof(rows[0]), "each");
    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        struct world *w = world_new(300 + i);
        const struct unsolicited_row *row = &rows[i / 2];
        bool all_or_none = i % 2 != 0;
        uint32_t imm = all_or_none ? whole[i / 2] : row->imm, unsol = all_or_none ? 0 : row->unsol;
        const struct fake_sent *s;
        struct cmd c;

        world_logged_in(w);
        fake_adapter.all_or_none = all_or_none;
        assert_int_equal(world_param(w, ISCSI_PARAM_IMM_DATA, row->imm_data), 0);
        assert_int_equal(world_param(w, ISCSI_PARAM_INITIAL_R2T, row->initial_r2t), 0);
        assert_int_equal(world_param(w, ISCSI_PARAM_FIRST_BURST, row->first_burst), 0);
        world_start(w);
        cmd_init(&c, false, 512);
        c.iov = (struct iovec){data, row->len};
        c.sc.out = sg_from_iov(&c.iov, 1, 0, row->len);
        assert_int_equal(world_queue(w, &c), 0);
        world_commit(w);
        s = fake_last(ISCSI_OP_SCSI_CMD);
        assert_int_equal(get32(s->h.scsi_cmd.edtl), row->len);
        assert_int_equal(get24(s->h.scsi_cmd.dseg_len), imm);
        assert_int_equal(s->task->unsol.len, unsol);
        assert_int_equal(s->task->unsol.offset, unsol > 0 ? imm : 0);
        assert_int_equal((s->h.scsi_cmd.flags & ISCSI_FLAG_FINAL) != 0, unsol == 0);
        world_free(w);
    }
}

/* NPO-03: each is answered, also a thousand in one go; who takes no answers is left. */
static void
every_ping_is_answered(void **state)
{
    struct world *w = world_new(54);
    union bhs_any h;
    unsigned before;
    int r = 0;

    (void)state;
    world_up(w);
    before = fake_adapter.nsent;
    bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    h.h.itt = put32(ISCSI_TAG_RSVD);
    for (unsigned i = 0; i < 1000; i++) {
        h.nop_in.ttt = put32(i);
        assert_int_equal(fake_pdu(&h, NULL, 0, false), 0);
    }
    fake_turn(&w->fl);
    assert_int_equal(fake_adapter.nsent - before, 1000);
    fake_adapter.full = true;
    for (unsigned i = 0; i < 1000 && r == 0; i++)
        r = fake_pdu(&h, NULL, 0, false);
    assert_true(r < 0);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->error, ISCSI_ERR_PROTO);
    world_free(w);
}

/* LGO-02 */
static void
nothing_new_after_a_logout_request(void **state)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU, .cid = 1};
    struct world *w = world_new(51);
    struct waiter x = {.w.done = eh_done};
    static const uint8_t lun[8];
    struct cmd c;

    (void)state;
    world_up(w);
    cmd_init(&c, true, 16);
    assert_int_equal(world_queue(w, &c), 0); /* queued, not sent */
    ev.sid = w->sid;
    bhs_init(&ev.u.send_pdu.hdr, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    fake_adapter.full = true; /* both wait: the logout goes first */
    assert_int_equal(world_ask(w, &ev, NULL, 0), 0);
    fake_room();
    fake_turn(&w->fl);
    world_commit(w);
    w->host->ops->eh_device_reset(w->host, lun, &x.w);
    fake_turn(&w->fl);
    assert_non_null(fake_last(ISCSI_OP_LOGOUT_REQ));
    assert_null(fake_last(ISCSI_OP_SCSI_CMD));
    assert_null(fake_last(ISCSI_OP_TMF_REQ));
    assert_int_equal(x.done, 1);
    assert_int_equal(x.r, SCSI_EH_FAILED);
    world_free(w);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.host_result, DID_NO_CONNECT);
}

/* TM-05, TMR-02 */
static void
late_response_of_an_aborted_task_is_dropped(void **state)
{
    struct world *w = world_new(52);
    struct waiter x = {.w.done = eh_done};
    struct cmd c, d;

    (void)state;
    world_up(w);
    one_command(w, &c, true);
    w->host->ops->eh_abort(w->host, &c.sc, &x.w);
    fake_turn(&w->fl);
    assert_int_equal(tmf_answer(0), 0);
    fake_turn(&w->fl);
    assert_int_equal(x.r, SCSI_EH_SUCCESS);
    assert_int_equal(c.done, 1);
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->nerrors, 0);
    assert_int_equal(c.done, 1);
    one_command(w, &d, true); /* the session goes on, StatSN and all */
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
    assert_int_equal(d.done, 1);
    assert_int_equal(d.sc.host_result, DID_OK);
    world_free(w);
}

/* CSN-19 */
static void
reset_spares_what_was_sent_after_it(void **state)
{
    struct world *w = world_new(53);
    struct waiter x = {.w.done = eh_done};
    static const uint8_t lun[8];
    struct cmd a, b;

    (void)state;
    world_up(w);
    one_command(w, &a, true);
    w->host->ops->eh_device_reset(w->host, lun, &x.w);
    fake_turn(&w->fl);
    one_command(w, &b, true);
    assert_int_equal(tmf_answer(0), 0);
    fake_turn(&w->fl);
    assert_int_equal(a.sc.host_result, DID_RESET);
    assert_int_equal(a.done, 1);
    assert_int_equal(b.done, 0);
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
    assert_int_equal(b.done, 1);
    assert_int_equal(b.sc.host_result, DID_OK);
    assert_int_equal(x.r, SCSI_EH_SUCCESS);
    world_free(w);
}

/* REJ-01: whatever transport hands it over, a Reject without the header that it rejects is an error
 * of the target. */
static void
reject_of_nothing(void **state)
{
    static const uint32_t lens[] = {0, 47};
    static const uint8_t part[47];

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(90);
        union bhs_any h;

        world_up(w);
        bhs_init(&h, ISCSI_OP_REJECT, ISCSI_FLAG_FINAL);
        h.h.itt = put32(ISCSI_TAG_RSVD);
        h.reject.reason = 4;
        assert_true(fake_pdu(&h, lens[i] > 0 ? part : NULL, lens[i], true) < 0);
        fake_advance(&w->fl, SEC(1));
        assert_int_equal(w->nerrors, 1);
        assert_int_equal(w->error, ISCSI_ERR_PROTO);
        world_free(w);
    }
}

/* "gathers": the adapter gathers, so that the fast path is taken. */
/* A PDU that was refused is the last one: whatever else a transport brings is not looked at, in any
 * state of the connection. */
static void
nothing_after_a_refused_pdu(void **state)
{
    for (int logged_out = 0; logged_out < 2; logged_out++) {
        struct world *w = world_new(31);
        union bhs_any h;
        uint32_t next;

        (void)state;
        world_up(w);
        if (logged_out) {
            struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU, .sid = w->sid, .cid = w->cid};

            bhs_init(&ev.u.send_pdu.hdr, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE,
                     ISCSI_FLAG_FINAL);
            assert_int_equal(world_ask(w, &ev, NULL, 0), 0);
            fake_advance(&w->fl, MS(1));
            bhs_init(&h, ISCSI_OP_LOGOUT_RSP, ISCSI_FLAG_FINAL);
            h.h.itt = fake_last(ISCSI_OP_LOGOUT_REQ)->h.h.itt;
            assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
        }
        next = fake_adapter.stat_sn;
        for (int i = 0; i < 3; i++) { /* a gap, what was missing, another gap */
            static const uint32_t ahead[] = {3, 0, 5};

            fake_adapter.stat_sn = next + ahead[i];
            bhs_init(&h, ISCSI_OP_ASYNC, ISCSI_FLAG_FINAL);
            h.async.event = 200;
            assert_true(fake_pdu(&h, NULL, 0, true) < 0);
        }
        world_free(w);
    }
}

/* CSN-07: a pair that cannot be says nothing; else each number counts where it is newer, ExpCmdSN
 * only up to CmdSN. */
static void
windows_that_count(void **state)
{
    /* all against CmdSN 0xfffffffe, with which the session begins; it is 8 more by now */
    static const struct {
        int32_t exp, max;           /* what comes */
        int32_t then_exp, then_max; /* what holds then */
    } rows[] = {
        {0, 3, 0, 3},    {-1, 2, 0, 3},
        {-1, 5, 0, 5}, /* one is stale, one is not */
        {4, 5, 4, 5},  /* both go around */
        {9, 7, 4, 5},  /* MaxCmdSN below ExpCmdSN - 1 */
        {9, -100, 4, 5}, {5, 4, 5, 5},
        {6, 5, 6, 5}, /* closed, which can be */
        {6, 6, 6, 6},    {INT32_MAX, INT32_MAX - 2, 6, 6},
        {9, 9, 6, 9},
    };
    struct world *w = world_new(29);
    struct session *s;

    (void)state;
    world_up(w);
    s = container_of(w->host, struct session, host);
    s->win.cmdsn += 8;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        union bhs_any h;

        bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
        h.h.itt = h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
        fake_adapter.exp_cmdsn = 0xfffffffe + (uint32_t)rows[i].exp;
        fake_adapter.max_cmdsn = 0xfffffffe + (uint32_t)rows[i].max;
        assert_int_equal(fake_pdu(&h, NULL, 0, false), 0);
        assert_int_equal(s->win.exp_cmdsn, 0xfffffffe + (uint32_t)rows[i].then_exp);
        assert_int_equal(s->win.max_cmdsn, 0xfffffffe + (uint32_t)rows[i].then_max);
    }
    world_free(w);
}

/* DSN-06, NPI-02, ASY-06: what cannot be, or was not agreed on, ends the connection, and completes
 * no command well. */
static void
pdus_that_cannot_be(void **state)
{
    enum { PING_WITH_DATA, MORE_DATA_THAN_CAME, EVENT_5, KINDS };

    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        struct world *w = world_new(320 + (uint64_t)kind);
        union bhs_any h;
        struct cmd c;

        world_up(w);
        one_command(w, &c, true);
        fake_last(ISCSI_OP_SCSI_CMD)->task->in_done = 512;
        bhs_init(&h,
                 kind == PING_WITH_DATA        ? ISCSI_OP_NOP_IN
                 : kind == MORE_DATA_THAN_CAME ? ISCSI_OP_SCSI_RSP
                                               : ISCSI_OP_ASYNC,
                 ISCSI_FLAG_FINAL);
        h.h.itt = put32(ISCSI_TAG_RSVD);
        if (kind == PING_WITH_DATA) {
            h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
        } else if (kind == MORE_DATA_THAN_CAME) {
            h.h.itt = fake_last(ISCSI_OP_SCSI_CMD)->h.h.itt;
            h.scsi_rsp.exp_data_sn = put32(1);
        } else {
            h.async.event = ISCSI_ASYNC_FAST_ABORT;
        }
        assert_true(fake_pdu(&h, "data", kind == PING_WITH_DATA ? 4 : 0, kind != PING_WITH_DATA) <
                    0);
        fake_advance(&w->fl, SEC(1));
        assert_int_equal(w->nerrors, 1);
        assert_int_equal(w->error, ISCSI_ERR_PROTO);
        assert_true(c.done == 0 || c.sc.host_result != DID_OK);
        world_free(w);
    }
}

/* REJ-03: a Data-Out that is rejected ends no command: its response comes. */
static void
rejected_data_ends_no_command(void **state)
{
    struct world *w = world_new(33);
    union bhs_any h, bad;
    struct cmd c;

    (void)state;
    world_up(w);
    one_command(w, &c, false);
    bhs_init(&bad, ISCSI_OP_DATA_OUT, ISCSI_FLAG_FINAL);
    bad.h.itt = fake_last(ISCSI_OP_SCSI_CMD)->h.h.itt;
    bhs_init(&h, ISCSI_OP_REJECT, ISCSI_FLAG_FINAL);
    h.h.itt = put32(ISCSI_TAG_RSVD);
    h.reject.reason = ISCSI_REJECT_DATA_DIGEST;
    assert_int_equal(fake_pdu(&h, &bad, ISCSI_BHS_LEN, true), 0);
    fake_advance(&w->fl, MS(10));
    assert_int_equal(c.done, 0);
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0x02, "sense", 5, 0), 0);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.status, 0x02);
    assert_int_equal(w->nerrors, 0);
    world_free(w);
}

/* LGR-02: the numbers of a refusal are nothing, however wild. */
static void
refusals_have_no_numbers(void **state)
{
    struct world *w = world_new(34);
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU};
    const struct session *s;
    uint32_t exp, max;
    union bhs_any h;

    (void)state;
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_SESSION), 0);
    w->sid = w->reply.sid;
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    s = (const void *)((const char *)dataplane_session(w->dp, w->sid) -
                       offsetof(struct session, pub));
    ev.sid = w->sid;
    ev.cid = w->cid;
    bhs_init(&ev.u.send_pdu.hdr, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE, bhs_login_flags(1, 0, 0));
    assert_int_equal(world_ask(w, &ev, NULL, 0), 0);
    fake_advance(&w->fl, MS(1));
    exp = s->win.exp_cmdsn;
    max = s->win.max_cmdsn;
    bhs_init(&h, ISCSI_OP_LOGIN_RSP, bhs_login_flags(1, 0, 0));
    h.h.itt = fake_last(ISCSI_OP_LOGIN_REQ)->h.h.itt;
    h.login_rsp.status_class = ISCSI_LOGIN_INITIATOR_ERROR;
    fake_adapter.stat_sn = 0x12345678;
    fake_adapter.exp_cmdsn = exp + 1000;
    fake_adapter.max_cmdsn = max + 100000;
    assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
    assert_int_equal(s->win.exp_cmdsn, exp);
    assert_int_equal(s->win.max_cmdsn, max);
    world_free(w);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reject_of_nothing),
        cmocka_unit_test(nothing_after_a_refused_pdu),
        cmocka_unit_test(windows_that_count),
        cmocka_unit_test(pdus_that_cannot_be),
        cmocka_unit_test(rejected_data_ends_no_command),
        cmocka_unit_test(refusals_have_no_numbers),
        cmocka_unit_test(generations_go_around),
        cmocka_unit_test(numbers_go_on_from_what_was_sent),
        cmocka_unit_test(options_are_for_those_that_have_them),
        cmocka_unit_test(tags_change_with_each_use),
        cmocka_unit_test(immediate_requests_take_no_number),
        cmocka_unit_test(every_kind_of_pdu_opens_the_window),
        cmocka_unit_test(one_function_at_a_time),
        cmocka_unit_test(abort_goes_where_its_task_went),
        cmocka_unit_test(answers_come_where_the_request_went),
        cmocka_unit_test(logins_acknowledge_their_responses),
        cmocka_unit_test(abort_of_a_task_that_is_not_there),
        cmocka_unit_test(clear_aca_ends_no_command),
        cmocka_unit_test(tasks_of_a_reset_go_on_until_its_answer),
        cmocka_unit_test(status_comes_with_the_last_data),
        cmocka_unit_test(level_two_says_more),
        cmocka_unit_test(commands_are_well_formed),
        cmocka_unit_test(unsolicited_data_by_the_regime),
        cmocka_unit_test(every_ping_is_answered),
        cmocka_unit_test(nothing_new_after_a_logout_request),
        cmocka_unit_test(late_response_of_an_aborted_task_is_dropped),
        cmocka_unit_test(reset_spares_what_was_sent_after_it),
    };

    int r;

    fake_gathers = argc > 1 && strcmp(argv[1], "gathers") == 0;
    r = cmocka_run_group_tests(tests, NULL, NULL);
    return r != 0 || (fake_gathers && fake_fast == 0);
}
