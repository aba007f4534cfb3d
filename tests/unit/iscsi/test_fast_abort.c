/* SPDX-License-Identifier: MIT */
/* TaskReporting=FastAbort and the functions of RFC 7144, over the fake adapter with the test as the
 * target. */
#include "tests/unit/iscsi/world.h"

#include "iscsi/internal.h"

static const uint8_t lun_0[8], lun_1[8] = {0, 1};

static struct session *
session_of(const struct world *w)
{
    return container_of(w->host, struct session, host);
}

static struct world *
fast_world(uint64_t seed, const char *level)
{
    struct world *w = world_new(seed);

    world_logged_in(w);
    assert_int_equal(world_param(w, ISCSI_PARAM_TASK_REPORTING, "FastAbort"), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_PROTOCOL_LEVEL, level), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_IMM_DATA, "No"), 0); /* writes wait for R2Ts */
    assert_int_equal(world_param(w, ISCSI_PARAM_RECOVERY_TMO, "60"), 0);
    world_start(w);
    fake_adapter.max_cmdsn += 20;
    fake_adapter.conn->up->update_cmdsn(fake_adapter.conn, put32(fake_adapter.exp_cmdsn),
                                        put32(fake_adapter.max_cmdsn));
    return w;
}

static void
command_to(struct world *w, struct cmd *c, const uint8_t lun[8], bool read)
{
    cmd_init(c, read, 512);
    memcpy(c->sc.lun, lun, 8);
    assert_int_equal(world_queue(w, c), 0);
    world_commit(w);
}

static struct task *
task_of(const struct cmd *c)
{
    return c->sc.host_priv;
}

static const struct fake_sent *
sent_for(const struct cmd *c)
{
    for (unsigned i = fake_adapter.nsent; i-- > 0;) {
        if (get32(fake_adapter.sent[i].h.h.itt) == task_of(c)->pub.itt)
            return &fake_adapter.sent[i];
    }
    fail();
    return NULL;
}

static void
answer(struct world *w, struct cmd *c)
{
    assert_int_equal(fake_answer(sent_for(c), 0, NULL, 0, 0), 0);
    assert_int_equal(c->done, 1);
    assert_int_equal(c->sc.host_result, DID_OK);
    fake_turn(&w->fl);
    iscsi_session_check(dataplane_session(w->dp, w->sid));
}

/* The target asks the command for data; true: they are sent. */
static bool
asked_for_data(struct world *w, const struct cmd *c)
{
    unsigned before = fake_adapter.nsent;

    to_conn(task_of(c)->pub.conn)->pub.up->requeue_task(&task_of(c)->pub);
    fake_turn(&w->fl);
    iscsi_session_check(dataplane_session(w->dp, w->sid));
    return fake_adapter.nsent > before;
}

/* Async event 5: all commands up to the last of c are over that the target has of the unit. */
static void
told(struct world *w, const uint8_t lun[8], const struct cmd *last)
{
    union bhs_any h;

    bhs_init(&h, ISCSI_OP_ASYNC, ISCSI_FLAG_FINAL);
    h.h.itt = put32(ISCSI_TAG_RSVD);
    memcpy(h.h.lun, lun, 8);
    h.async.event = ISCSI_ASYNC_FAST_ABORT;
    fake_adapter.exp_cmdsn = task_of(last)->pub.cmd_sn + 1;
    assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
    fake_turn(&w->fl);
    iscsi_session_check(dataplane_session(w->dp, w->sid));
}

/* The message was acknowledged as it should be. */
static void
acknowledged(const uint8_t lun[8], uint16_t cid)
{
    const struct fake_sent *s = fake_last(ISCSI_OP_NOP_OUT);

    assert_non_null(s);
    assert_int_equal(s->cid, cid);
    assert_int_equal(s->h.h.opcode, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE);
    assert_int_equal(get32(s->h.h.itt), ISCSI_TAG_RSVD);
    assert_int_equal(get32(s->h.nop_out.ttt), ISCSI_TAG_RSVD);
    assert_memory_equal(s->h.h.lun, lun, 8);
    assert_int_equal(get32(s->h.nop_out.exp_stat_sn), fake_adapter.stat_sn);
}

/* The last function that was sent is this one, about the task. */
static void
is_asked_about(uint8_t function, const struct cmd *c)
{
    const struct bhs_tmf_req *h = &fake_last(ISCSI_OP_TMF_REQ)->h.tmf_req;

    assert_int_equal(h->flags, ISCSI_FLAG_FINAL | function);
    assert_int_equal(get32(h->ref_tag), task_of(c)->pub.itt);
    assert_memory_equal(h->lun, c->sc.lun, 8);
}

static unsigned
functions_sent(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < fake_adapter.nsent; i++)
        n += (fake_adapter.sent[i].h.h.opcode & ISCSI_OP_MASK) == ISCSI_OP_TMF_REQ;
    return n;
}

static void
function_answered(struct world *w, uint8_t response)
{
    assert_int_equal(tmf_answer(response), 0);
    fake_turn(&w->fl);
    iscsi_session_check(dataplane_session(w->dp, w->sid));
}

/* TM-03, TM-04: once a reset is out, its commands send no data, though they may end; others do.
 * Where the target refuses it, they send what they owe. */
static void
reset_silences_its_commands(void **state)
{
    (void)state;
    for (int refused = 0; refused < 2; refused++) {
        struct world *w = fast_world(1, "1");
        struct waiter x = {.w.done = eh_done};
        struct cmd a, b, other, late;

        command_to(w, &a, lun_0, false);
        command_to(w, &b, lun_0, true);
        command_to(w, &other, lun_1, false);
        assert_true(asked_for_data(w, &a));
        w->host->ops->eh_device_reset(w->host, lun_0, &x.w);
        fake_turn(&w->fl);
        assert_int_equal(functions_sent(), 1);
        command_to(w, &late, lun_0, false);
        assert_false(asked_for_data(w, &a));
        assert_true(asked_for_data(w, &other));
        assert_true(asked_for_data(w, &late)); /* it was sent after the reset */
        answer(w, &b);
        if (refused) {
            unsigned before = fake_adapter.nsent;

            function_answered(w, ISCSI_TMF_RSP_REJECTED);
            assert_int_equal(fake_adapter.nsent, before + 1);
            assert_int_equal(x.r, SCSI_EH_FAILED);
            assert_true(asked_for_data(w, &a));
            answer(w, &a);
        } else {
            function_answered(w, ISCSI_TMF_RSP_COMPLETE);
            assert_int_equal(x.r, SCSI_EH_SUCCESS);
            assert_int_equal(a.done, 1);
            assert_int_equal(a.sc.host_result, DID_RESET);
        }
        answer(w, &other);
        answer(w, &late);
        world_free(w);
    }
}

/* Without FastAbort an R2T is answered to the end (TM-02), whatever the function. */
static void
others_are_not_silenced(void **state)
{
    struct world *w = world_new(2);
    struct waiter x = {.w.done = eh_done};
    struct cmd a;

    (void)state;
    world_logged_in(w);
    assert_int_equal(world_param(w, ISCSI_PARAM_IMM_DATA, "No"), 0);
    world_start(w);
    command_to(w, &a, lun_0, false);
    w->host->ops->eh_target_reset(w->host, &x.w);
    fake_turn(&w->fl);
    assert_true(asked_for_data(w, &a));
    function_answered(w, ISCSI_TMF_RSP_COMPLETE);
    assert_int_equal(a.sc.host_result, DID_RESET);
    world_free(w);
}

/* ASY-06: somebody else has reset the unit.  Data stop, the message is acknowledged, and each
 * command that the target may have had is asked about, on its connection and once.  What it does
 * not have is over, as by a reset, so that whoever sent it knows that it may have been executed. */
static void
somebody_elses_reset(void **state)
{
    (void)state;
    for (unsigned level = 1; level <= 2; level++) {
        uint8_t function = level == 1 ? ISCSI_TMF_ABORT_TASK : ISCSI_TMF_QUERY_TASK;
        struct world *w = fast_world(3, level == 1 ? "1" : "2");
        struct cmd write, read, other, later;

        command_to(w, &write, lun_0, false);
        command_to(w, &read, lun_0, true);
        command_to(w, &other, lun_1, false);
        command_to(w, &later, lun_0, false);
        told(w, lun_0, &other);
        acknowledged(lun_0, 1);
        assert_true(asked_for_data(w, &other));
        assert_true(asked_for_data(w, &later));
        assert_int_equal(functions_sent(), 1);
        is_asked_about(function, &write);
        function_answered(w, level == 1 ? ISCSI_TMF_RSP_NO_TASK : ISCSI_TMF_RSP_COMPLETE);
        assert_int_equal(write.done, 1);
        assert_int_equal(write.sc.host_result, DID_RESET);
        assert_int_equal(functions_sent(), 2);
        is_asked_about(function, &read);
        function_answered(w, ISCSI_TMF_RSP_COMPLETE);
        assert_int_equal(read.done, 1);
        assert_int_equal(read.sc.host_result, DID_RESET);
        assert_int_equal(functions_sent(), 2);
        answer(w, &other);
        answer(w, &later);
        world_free(w);
    }
}

/* PL-04: code 7 says that the task is there: it came right behind the reset, and goes on. */
static void
task_that_is_there_goes_on(void **state)
{
    struct world *w = fast_world(4, "2");
    struct cmd a, b;
    unsigned before;

    (void)state;
    command_to(w, &a, lun_0, false);
    command_to(w, &b, lun_0, false);
    task_of(&a)->pub.conn->up->requeue_task(&task_of(&a)->pub); /* the R2T and the event together */
    before = fake_adapter.nsent;
    told(w, lun_0, &b);
    assert_int_equal(fake_adapter.nsent, before + 2); /* NOP-Out and function, no data */
    is_asked_about(ISCSI_TMF_QUERY_TASK, &a);
    function_answered(w, ISCSI_TMF_RSP_SUCCEEDED);
    assert_int_equal(fake_adapter.nsent, before + 4); /* what it owes, and the next question */
    assert_int_equal(a.done, 0);
    is_asked_about(ISCSI_TMF_QUERY_TASK, &b);
    answer(w, &b); /* it ends by itself: the answer to the question says nothing any more */
    function_answered(w, ISCSI_TMF_RSP_COMPLETE);
    assert_int_equal(b.done, 1);
    answer(w, &a);
    assert_int_equal(functions_sent(), 2);
    world_free(w);
}

/* An R2T behind the message is one of a task that is not over. */
static void
task_that_is_asked_for_data_goes_on(void **state)
{
    struct world *w = fast_world(5, "1");
    struct cmd a, b;

    (void)state;
    command_to(w, &a, lun_0, true);
    command_to(w, &b, lun_0, false);
    told(w, lun_0, &b);
    is_asked_about(ISCSI_TMF_ABORT_TASK, &a);
    assert_true(asked_for_data(w, &b));
    function_answered(w, ISCSI_TMF_RSP_NO_TASK);
    assert_int_equal(a.sc.host_result, DID_RESET);
    assert_int_equal(functions_sent(), 1);
    answer(w, &b);
    world_free(w);
}

/* The midlayer aborts a command that is asked about; the target says nothing of one; a connection
 * is lost meanwhile: each command ends once. */
static void
questions_that_come_to_nothing(void **state)
{
    struct world *w = fast_world(6, "1");
    struct waiter x = {.w.done = eh_done};
    struct cmd a, b;

    (void)state;
    command_to(w, &a, lun_0, true);
    command_to(w, &b, lun_0, false);
    told(w, lun_0, &b);
    w->host->ops->eh_abort(w->host, &a.sc, &x.w);
    fake_turn(&w->fl);
    function_answered(w, ISCSI_TMF_RSP_REJECTED); /* the question about a */
    is_asked_about(ISCSI_TMF_ABORT_TASK, &a);     /* the midlayer's abort */
    function_answered(w, ISCSI_TMF_RSP_COMPLETE);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.sc.host_result, DID_ABORT);
    assert_int_equal(x.r, SCSI_EH_SUCCESS);
    is_asked_about(ISCSI_TMF_ABORT_TASK, &b);
    fake_adapter.conn->up->conn_failure(fake_adapter.conn, ISCSI_ERR_CONN_CLOSED, "cut");
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(b.done, 1);
    assert_int_equal(b.sc.host_result, DID_TRANSPORT_DISRUPTED);
    world_free(w);
}

/* ASY-06, over several connections: a reset of ours is answered on one, and told on the other,
 * where data stop as well; the answer ends the commands of both, and none is asked about. */
static void
reset_is_told_on_others(void **state)
{
    struct world *w = fast_world(7, "1");
    struct waiter x = {.w.done = eh_done};
    struct iscsi_conn *conn[2];
    uint32_t stat_sn[2];
    struct cmd c[4];
    int via, other;

    (void)state;
    conn[0] = fake_adapter.conn;
    stat_sn[0] = fake_adapter.stat_sn;
    w->cid = 2;
    w->follows = true;
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    conn[1] = fake_adapter.conn;
    stat_sn[1] = 77;
    assert_int_equal(iscsi_conn_start(conn[1], NULL), 0);
    for (int i = 0; i < 4; i++)
        command_to(w, &c[i], lun_0, false);
    w->host->ops->eh_device_reset(w->host, lun_0, &x.w);
    fake_turn(&w->fl);
    via = fake_last(ISCSI_OP_TMF_REQ)->cid - 1;
    other = 1 - via;
    for (int i = 0; i < 4; i++) /* until it hears of it, another connection goes on */
        assert_int_equal(asked_for_data(w, &c[i]), task_of(&c[i])->pub.conn == conn[other]);
    fake_adapter.conn = conn[other];
    fake_adapter.stat_sn = stat_sn[other];
    told(w, lun_0, &c[3]);
    acknowledged(lun_0, (uint16_t)(other + 1));
    assert_int_equal(functions_sent(), 1);
    fake_adapter.conn = conn[via];
    fake_adapter.stat_sn = stat_sn[via];
    function_answered(w, ISCSI_TMF_RSP_COMPLETE);
    assert_int_equal(x.r, SCSI_EH_SUCCESS);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(c[i].done, 1);
        assert_int_equal(c[i].sc.host_result, DID_RESET);
    }
    fake_advance(&w->fl, MS(100));
    assert_int_equal(functions_sent(), 1);
    assert_int_equal(session_of(w)->nserving, 2);
    world_free(w);
}

/* PL-02, PL-04: what a unit is asked at level 2, and that it is asked nothing below. */
static void
questions_of_level_2(void **state)
{
    static const struct {
        enum scsi_query what;
        uint8_t function, response;
        enum scsi_eh_result r;
    } rows[] = {
        {SCSI_QUERY_TASK_SET, ISCSI_TMF_QUERY_TASK_SET, ISCSI_TMF_RSP_SUCCEEDED, SCSI_EH_SUCCESS},
        {SCSI_QUERY_TASK_SET, ISCSI_TMF_QUERY_TASK_SET, ISCSI_TMF_RSP_COMPLETE, SCSI_EH_NOT_FOUND},
        {SCSI_QUERY_ASYNC_EVENT, ISCSI_TMF_QUERY_ASYNC_EVENT, ISCSI_TMF_RSP_SUCCEEDED,
         SCSI_EH_SUCCESS},
        {SCSI_QUERY_ASYNC_EVENT, ISCSI_TMF_QUERY_ASYNC_EVENT, ISCSI_TMF_RSP_UNSUPPORTED,
         SCSI_EH_FAILED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world *w = fast_world(10 + i, "2"), *below;
        struct waiter x = {.w.done = eh_done}, y = {.w.done = eh_done};
        const struct bhs_tmf_req *req;
        union bhs_any h;
        struct cmd c;

        command_to(w, &c, lun_1, true);
        w->host->ops->eh_query(w->host, rows[i].what, lun_1, &x.w);
        fake_turn(&w->fl);
        req = &fake_last(ISCSI_OP_TMF_REQ)->h.tmf_req;
        assert_int_equal(req->flags, ISCSI_FLAG_FINAL | rows[i].function);
        assert_memory_equal(req->lun, lun_1, 8);
        assert_int_equal(get32(req->ref_tag), ISCSI_TAG_RSVD);
        assert_int_equal(get32(req->ref_cmd_sn), 0);
        bhs_init(&h, ISCSI_OP_TMF_RSP, ISCSI_FLAG_FINAL);
        h.h.itt = fake_last(ISCSI_OP_TMF_REQ)->h.h.itt;
        h.tmf_rsp.response = rows[i].response;
        h.tmf_rsp.info = put24(0x162900);
        assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
        fake_turn(&w->fl);
        assert_int_equal(x.done, 1);
        assert_int_equal(x.r, rows[i].r);
        assert_true(rows[i].r != SCSI_EH_SUCCESS || x.w.info == 0x162900);
        answer(w, &c); /* a question ends nothing */
        world_free(w);

        below = fast_world(20 + i, "1");
        below->host->ops->eh_query(below->host, rows[i].what, lun_1, &y.w);
        assert_int_equal(y.done, 0);
        fake_turn(&below->fl);
        assert_int_equal(y.done, 1);
        assert_int_equal(y.r, SCSI_EH_FAILED);
        assert_int_equal(functions_sent(), 0);
        world_free(below);
    }
}

/* PL-05: at level 2 the target hears of a session reset, by I_T NEXUS RESET.  It may answer, close
 * its connections, or do nothing; the session is dropped in any case. */
static void
session_reset_is_told(void **state)
{
    enum { ANSWERS, REFUSES, CLOSES, SILENT, KINDS };

    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        struct world *w = fast_world(30 + (uint64_t)kind, "2");
        struct waiter x = {.w.done = eh_done}, y = {.w.done = eh_done};
        const struct bhs_tmf_req *req;
        struct cmd c;

        assert_int_equal(world_param(w, ISCSI_PARAM_TGT_RESET_TIMEOUT_MS, "5000"), 0);
        assert_int_equal(world_param(w, ISCSI_PARAM_PING_INTERVAL_MS, "0"), 0);
        command_to(w, &c, lun_1, true);
        w->host->ops->eh_session_reset(w->host, &x.w);
        w->host->ops->eh_session_reset(w->host, &y.w);
        fake_turn(&w->fl);
        assert_int_equal(functions_sent(), 1);
        req = &fake_last(ISCSI_OP_TMF_REQ)->h.tmf_req;
        assert_int_equal(req->flags, ISCSI_FLAG_FINAL | ISCSI_TMF_I_T_NEXUS_RESET);
        assert_memory_equal(req->lun, lun_0, 8);
        assert_int_equal(get32(req->ref_tag), ISCSI_TAG_RSVD);
        assert_int_equal(c.done + x.done + y.done, 0);
        if (kind == ANSWERS || kind == REFUSES)
            (void)tmf_answer(kind == ANSWERS ? ISCSI_TMF_RSP_COMPLETE : ISCSI_TMF_RSP_UNSUPPORTED);
        if (kind == CLOSES)
            fake_adapter.conn->up->conn_failure(fake_adapter.conn, ISCSI_ERR_CONN_CLOSED, "closed");
        fake_advance(&w->fl, kind == SILENT ? SEC(6) : SEC(1));
        iscsi_session_check(dataplane_session(w->dp, w->sid));
        assert_int_equal(c.done, 1);
        assert_int_equal(c.sc.host_result, DID_TRANSPORT_DISRUPTED);
        assert_int_equal(w->blocked, 1);
        assert_int_equal(x.done + y.done, 0); /* the session may come back yet */
        fake_advance(&w->fl, SEC(61));
        assert_int_equal(x.done + y.done, 2);
        assert_int_equal(x.r, SCSI_EH_SUCCESS);
        assert_int_equal(functions_sent(), 1);
        world_free(w);
    }
}

/* FMT-01: what cannot be, on one connection, ends all of them, and the session is recovered; a
 * loss or an opcode that is not known ends its own connection only. */
static void
format_error_ends_the_session(void **state)
{
    static const struct {
        enum iscsi_err err;
        bool all;
    } rows[] = {
        {ISCSI_ERR_PROTO, true},       {ISCSI_ERR_DATALEN, true}, {ISCSI_ERR_DATA_OFFSET, true},
        {ISCSI_ERR_BAD_OPCODE, false}, {ISCSI_ERR_STATSN, false}, {ISCSI_ERR_HDR_DGST, false},
        {ISCSI_ERR_DATASN, false},     {ISCSI_ERR_R2TSN, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world *w = fast_world(40 + i, "1");
        struct iscsi_conn *second;
        struct cmd c;

        w->cid = 2;
        w->follows = true;
        world_connect(w);
        assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
        assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
        second = fake_adapter.conn;
        assert_int_equal(iscsi_conn_start(second, NULL), 0);
        second->up->conn_failure(second, rows[i].err, "cannot be");
        fake_advance(&w->fl, MS(100));
        iscsi_session_check(dataplane_session(w->dp, w->sid));
        assert_int_equal(w->blocked, rows[i].all ? 1 : 0);
        assert_int_equal(session_of(w)->nserving, rows[i].all ? 0 : 1);
        assert_int_equal(w->nerrors, rows[i].all ? 2 : 1);
        if (!rows[i].all) {
            fake_adapter.conn =
                session_of(w)->leadconn != NULL ? &session_of(w)->leadconn->pub : NULL;
            command_to(w, &c, lun_0, true);
            assert_int_equal(c.done, 0);
        }
        world_free(w);
    }
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reset_silences_its_commands),
        cmocka_unit_test(others_are_not_silenced),
        cmocka_unit_test(somebody_elses_reset),
        cmocka_unit_test(task_that_is_there_goes_on),
        cmocka_unit_test(task_that_is_asked_for_data_goes_on),
        cmocka_unit_test(questions_that_come_to_nothing),
        cmocka_unit_test(reset_is_told_on_others),
        cmocka_unit_test(questions_of_level_2),
        cmocka_unit_test(session_reset_is_told),
        cmocka_unit_test(format_error_ends_the_session),
    };
    int r;

    fake_gathers = argc > 1 && strcmp(argv[1], "gathers") == 0;
    r = cmocka_run_group_tests(tests, NULL, NULL);
    return r != 0 || (fake_gathers && fake_fast == 0);
}
