/* SPDX-License-Identifier: MIT */
/* The target asks for a logout, drops what it has, or answers a logout: over the fake adapter. */
#include "tests/unit/iscsi/world.h"

#include "iscsi/internal.h"

#define GIVEN_S 10 /* within which these targets want a Logout Request */

static struct session *
session_of(const struct world *w)
{
    return container_of(w->host, struct session, host);
}

static struct world *
leave_world(uint64_t seed, const char *patience)
{
    struct world *w = world_new(seed);

    world_logged_in(w);
    assert_int_equal(world_param(w, ISCSI_PARAM_RECOVERY_TMO, patience), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_DEF_TIME2WAIT, "2"), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_DEF_TIME2RETAIN, "20"), 0);
    world_start(w);
    return w;
}

/* Time passes, and the target is heard of. */
static void
pass(struct world *w, uint64_t ms)
{
    for (; ms > 0; ms -= ms < 100 ? ms : 100) {
        if (fake_adapter.conn != NULL)
            fake_adapter.conn->last_recv_ns = w->fl.l.now_ns;
        fake_advance(&w->fl, MS(ms < 100 ? ms : 100));
    }
}

static void
async(uint8_t event, uint16_t p1, uint16_t p2, uint16_t p3)
{
    union bhs_any h;
    bool drops = event == ISCSI_ASYNC_DROP_CONNECTION || event == ISCSI_ASYNC_DROP_SESSION;

    bhs_init(&h, ISCSI_OP_ASYNC, ISCSI_FLAG_FINAL);
    h.async.event = event;
    h.async.param1 = put16(p1);
    h.async.param2 = put16(p2);
    h.async.param3 = put16(p3);
    assert_int_equal(fake_pdu(&h, NULL, 0, true), drops && p1 <= 1 ? -EPROTO : 0);
}

static int
log_out(struct world *w, uint8_t reason, uint16_t cid)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU, .sid = w->sid, .cid = w->cid};
    struct bhs_logout_req *h = (void *)&ev.u.send_pdu.hdr;

    bhs_init(h, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE, (uint8_t)(ISCSI_FLAG_FINAL | reason));
    h->cid = put16(cid);
    return world_ask(w, &ev, NULL, 0);
}

static int
logged_out(uint8_t response, uint16_t time2wait, uint16_t time2retain)
{
    union bhs_any h;

    bhs_init(&h, ISCSI_OP_LOGOUT_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = fake_last(ISCSI_OP_LOGOUT_REQ)->h.h.itt;
    h.logout_rsp.response = response;
    h.logout_rsp.time2wait = put16(time2wait);
    h.logout_rsp.time2retain = put16(time2retain);
    return fake_pdu(&h, NULL, 0, true);
}

static void
stop(struct world *w)
{
    w->how = STOP_CONN_RECOVER;
    assert_int_equal(world_do(w, ISCSI_UEVENT_STOP_CONN), 0);
}

static void
reopen(struct world *w)
{
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    world_login(w, session_of(w)->win.cmdsn, 4);
    assert_int_equal(world_do(w, ISCSI_UEVENT_START_CONN), 0);
    assert_int_equal(w->host->state, SCSI_HOST_RUNNING);
}

static void
answer_first(void)
{
    assert_int_equal(fake_answer(&fake_adapter.sent[1], 0, NULL, 0, 0), 0); /* behind the login */
}

static void
works(struct world *w)
{
    struct cmd c;

    one_command(w, &c, true);
    fake_adapter.exp_cmdsn++;
    fake_adapter.max_cmdsn++;
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
    fake_turn(&w->fl);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.host_result, DID_OK);
}

/* ASY-02, ASY-05: what is under way ends, new commands wait, then the Logout Request goes. */
static void
asked_to_leave(void **state)
{
    static const uint8_t events[] = {ISCSI_ASYNC_LOGOUT_REQUEST, ISCSI_ASYNC_NEGOTIATE};

    (void)state;
    for (size_t i = 0; i < sizeof(events); i++) {
        struct world *w = leave_world(1, "60");
        struct cmd sent, queued, late;

        one_command(w, &sent, true);
        cmd_init(&queued, false, 512);
        fake_adapter.full = true;
        assert_int_equal(world_queue(w, &queued), 0);
        async(events[i], 0, 0, GIVEN_S);
        fake_room();
        world_commit(w);
        cmd_init(&late, true, 512);
        assert_int_equal(world_queue(w, &late), -EBUSY);
        world_commit(w);
        assert_int_equal(log_out(w, ISCSI_LOGOUT_CLOSE_SESSION, 0), 0);
        fake_turn(&w->fl);
        assert_null(fake_last(ISCSI_OP_LOGOUT_REQ)); /* it is held back */
        answer_first();
        fake_turn(&w->fl);
        assert_int_equal(sent.done, 1);
        assert_int_equal(sent.sc.host_result, DID_OK);
        assert_non_null(fake_last(ISCSI_OP_LOGOUT_REQ));
        assert_int_equal(fake_adapter.nsent, 3); /* `queued` never was */
        assert_int_equal(world_queue(w, &late), -EBUSY);
        assert_int_equal(logged_out(0, 0, 0), 0);
        assert_int_equal(world_queue(w, &late), -EBUSY);
        assert_int_equal(w->blocked + w->gone + queued.done, 0);
        stop(w);
        assert_int_equal(w->blocked, 1);
        assert_int_equal(queued.done, 1);
        assert_int_equal(queued.sc.host_result, DID_REQUEUE);
        assert_true(loop_timer_running(&session_of(w)->recovery_timer));
        assert_int_equal(w->nerrors, 0);
        reopen(w);
        works(w);
        pass(w, 120000); /* no timer of the old connection is left */
        assert_int_equal(w->nerrors + w->gone, 0);
        world_free(w);
    }
}

/* ASY-02: what does not end in half of the time is given up to the logout, which ends it at the
 * target.  A second wish gives no more time. */
static void
half_of_the_time(void **state)
{
    struct world *w = leave_world(2, "60");
    struct cmd c;

    (void)state;
    one_command(w, &c, true);
    async(ISCSI_ASYNC_LOGOUT_REQUEST, 0, 0, GIVEN_S);
    assert_int_equal(log_out(w, ISCSI_LOGOUT_CLOSE_SESSION, 0), 0);
    pass(w, 3000);
    async(ISCSI_ASYNC_LOGOUT_REQUEST, 0, 0, GIVEN_S);
    assert_null(fake_last(ISCSI_OP_LOGOUT_REQ));
    pass(w, 2000);
    assert_non_null(fake_last(ISCSI_OP_LOGOUT_REQ));
    assert_int_equal(logged_out(0, 0, 0), 0);
    assert_int_equal(c.done, 0);
    stop(w);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.host_result, DID_TRANSPORT_DISRUPTED);
    assert_int_equal(w->blocked, 1);
    world_free(w);
}

/* A command that is aborted meanwhile ends as well, and the Logout Request goes. */
static void
aborted_while_leaving(void **state)
{
    struct world *w = leave_world(3, "60");
    struct waiter x = {.w.done = eh_done};
    struct cmd c;

    (void)state;
    one_command(w, &c, true);
    async(ISCSI_ASYNC_LOGOUT_REQUEST, 0, 0, GIVEN_S);
    assert_int_equal(log_out(w, ISCSI_LOGOUT_CLOSE_SESSION, 0), 0);
    w->host->ops->eh_abort(w->host, &c.sc, &x.w);
    fake_turn(&w->fl);
    assert_null(fake_last(ISCSI_OP_LOGOUT_REQ));
    assert_int_equal(tmf_answer(0), 0);
    fake_turn(&w->fl);
    assert_int_equal(x.r, SCSI_EH_SUCCESS);
    assert_int_equal(c.sc.host_result, DID_ABORT);
    assert_non_null(fake_last(ISCSI_OP_LOGOUT_REQ));
    world_free(w);
}

/* No control plane is there at any of three moments: the session does not hang. */
static void
nobody_logs_out(void **state)
{
    enum { NOT_ASKED, NOT_ANSWERED, NOT_STOPPED, MOMENTS };

    (void)state;
    for (int moment = 0; moment < MOMENTS; moment++) {
        struct world *w = leave_world(4, "60");
        struct cmd c;

        async(ISCSI_ASYNC_LOGOUT_REQUEST, 0, 0, GIVEN_S);
        if (moment >= NOT_ANSWERED)
            assert_int_equal(log_out(w, ISCSI_LOGOUT_CLOSE_SESSION, 0), 0);
        if (moment >= NOT_STOPPED)
            assert_int_equal(logged_out(0, 0, 0), 0);
        cmd_init(&c, true, 512);
        assert_int_equal(world_queue(w, &c), -EBUSY);
        pass(w, 25000);
        assert_int_equal(w->blocked, 0);
        pass(w, 20000);
        assert_int_equal(w->blocked, 1);
        assert_int_equal(w->nerrors, moment == NOT_STOPPED ? 0 : 1);
        assert_true(moment == NOT_STOPPED || w->error == ISCSI_ERR_ASYNC);
        pass(w, 60000);
        assert_int_equal(w->gone, 1); /* nor does anybody log in again */
        one_command(w, &c, true);
        assert_int_equal(c.sc.host_result, DID_NO_CONNECT);
        world_free(w);
    }
}

/* ERL-14, LOR-02, ASY-03, ASY-04: which times are in force for a loss. */
static void
times_of_a_loss(void **state)
{
    static const struct {
        uint8_t async, response; /* one of the two, or neither */
        uint16_t p1;
        uint32_t time2wait, time2retain;
    } t[] = {
        {0, 0, 0, 2, 20},
        {ISCSI_ASYNC_DROP_CONNECTION, 0, 1, 5, 7},
        {ISCSI_ASYNC_DROP_SESSION, 0, 0, 5, 7},
        {0, ISCSI_LOGOUT_RSP_CID_NOT_FOUND, 0, 2, 20},
        {0, ISCSI_LOGOUT_RSP_NO_RECOVERY, 0, 5, 7},
        {0, ISCSI_LOGOUT_RSP_CLEANUP_FAILED, 0, 5, 7},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct world *w = leave_world(5, "60");
        struct cmd c;

        one_command(w, &c, true);
        if (t[i].async != 0) {
            async(t[i].async, t[i].p1, 5, 7);
        } else if (t[i].response != 0) {
            assert_int_equal(log_out(w, ISCSI_LOGOUT_CLOSE_SESSION, 0), 0);
            assert_int_equal(logged_out(t[i].response, 5, 7), -EPROTO);
        } else {
            fake_adapter.conn->up->conn_failure(fake_adapter.conn, ISCSI_ERR_CONN_CLOSED, "cut");
        }
        fake_advance(&w->fl, MS(1));
        assert_int_equal(c.done, 1);
        assert_int_equal(c.sc.host_result, DID_TRANSPORT_DISRUPTED);
        fake_advance(&w->fl, SEC(1));
        assert_int_equal(w->nerrors, 1);
        assert_int_equal(w->event.u.conn_error.time2wait_s, t[i].time2wait);
        assert_int_equal(w->event.u.conn_error.time2retain_s, t[i].time2retain);
        reopen(w); /* they were of that loss alone */
        fake_adapter.conn->up->conn_failure(fake_adapter.conn, ISCSI_ERR_CONN_CLOSED, "cut");
        fake_advance(&w->fl, SEC(1));
        assert_int_equal(w->event.u.conn_error.time2wait_s, 2);
        assert_int_equal(w->event.u.conn_error.time2retain_s, 20);
        world_free(w);
    }
}

/* A drop of a connection that is not there is no matter. */
static void
drop_of_another(void **state)
{
    struct world *w = leave_world(6, "60");

    (void)state;
    async(ISCSI_ASYNC_DROP_CONNECTION, 9, 5, 7);
    works(w);
    assert_int_equal(w->nerrors, 0);
    world_free(w);
}

/* RJT: a command that crossed the target's wish and was rejected for it was not executed. */
static void
rejected_while_leaving(void **state)
{
    struct world *w = leave_world(7, "60");
    union bhs_any h;
    struct cmd c;

    (void)state;
    one_command(w, &c, false);
    async(ISCSI_ASYNC_LOGOUT_REQUEST, 0, 0, GIVEN_S);
    bhs_init(&h, ISCSI_OP_REJECT, ISCSI_FLAG_FINAL);
    h.reject.reason = ISCSI_REJECT_WAITING_FOR_LOGOUT;
    h.h.itt = put32(ISCSI_TAG_RSVD);
    assert_int_equal(fake_pdu(&h, &fake_last(ISCSI_OP_SCSI_CMD)->h, ISCSI_BHS_LEN, true), 0);
    fake_turn(&w->fl);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.host_result, DID_REQUEUE);
    assert_int_equal(log_out(w, ISCSI_LOGOUT_CLOSE_SESSION, 0), 0);
    fake_turn(&w->fl);
    assert_non_null(fake_last(ISCSI_OP_LOGOUT_REQ));
    assert_int_equal(w->nerrors, 0);
    world_free(w);
}

/* Only one connection is asked to leave: others serve on, and another takes the lead when it has
 * gone. */
static void
another_leads_on(void **state)
{
    struct world *w = leave_world(8, "60");
    struct iscsi_conn *second;
    struct cmd c;

    (void)state;
    w->cid = 2;
    w->follows = true;
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    second = fake_adapter.conn;
    fake_adapter.conn = iscsi_conn_find(&session_of(w)->pub, 1);
    assert_int_equal(iscsi_conn_start(second, NULL), 0);
    w->cid = 1;
    async(ISCSI_ASYNC_LOGOUT_REQUEST, 0, 0, GIVEN_S);
    one_command(w, &c, true);
    assert_ptr_equal(((struct task *)c.sc.host_priv)->pub.conn, second);
    assert_int_equal(log_out(w, ISCSI_LOGOUT_CLOSE_CONNECTION, 1), 0);
    assert_int_equal(logged_out(0, 0, 0), 0);
    assert_int_equal(world_do(w, ISCSI_UEVENT_DESTROY_CONN), 0);
    assert_int_equal(w->restarts + w->blocked + w->gone, 0);
    fake_adapter.conn = second;
    fake_adapter.stat_sn = 77;
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
    assert_int_equal(c.done, 1);
    works(w);
    world_free(w);
}

/* LOUT-03: a connection that is dead is logged out through another; what it had is over then. */
static void
dead_connection_is_logged_out(void **state)
{
    struct world *w = leave_world(9, "60");
    struct iscsi_conn *second;
    struct cmd c;

    (void)state;
    w->cid = 2;
    w->follows = true;
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    second = fake_adapter.conn;
    fake_adapter.conn = iscsi_conn_find(&session_of(w)->pub, 1);
    assert_int_equal(iscsi_conn_start(second, NULL), 0);
    w->cid = 1;
    one_command(w, &c, true);
    assert_int_equal(world_do(w, ISCSI_UEVENT_DESTROY_CONN), 0);
    fake_adapter.conn = second;
    fake_adapter.stat_sn = 77;
    works(w);
    pass(w, 1000);
    assert_int_equal(c.done, 0); /* it may run yet */
    w->cid = 2;
    assert_int_equal(log_out(w, ISCSI_LOGOUT_CLOSE_CONNECTION, 1), 0);
    assert_int_equal(logged_out(0, 0, 0), 0);
    fake_advance(&w->fl, MS(1));
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.host_result, DID_TRANSPORT_DISRUPTED);
    works(w); /* this one is not left */
    world_free(w);
}

/* "gathers": the adapter gathers, so that the fast path is taken. */
int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asked_to_leave),
        cmocka_unit_test(half_of_the_time),
        cmocka_unit_test(aborted_while_leaving),
        cmocka_unit_test(nobody_logs_out),
        cmocka_unit_test(times_of_a_loss),
        cmocka_unit_test(drop_of_another),
        cmocka_unit_test(rejected_while_leaving),
        cmocka_unit_test(another_leads_on),
        cmocka_unit_test(dead_connection_is_logged_out),
    };
    int r;

    fake_gathers = argc > 1 && strcmp(argv[1], "gathers") == 0;
    r = cmocka_run_group_tests(tests, NULL, NULL);
    return r != 0 || (fake_gathers && fake_fast == 0);
}
