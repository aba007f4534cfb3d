/* SPDX-License-Identifier: MIT */
/* Sessions of several connections: what the loss of one means for the others (RFC
 * 7143 4.2.2, 4.2.5, 7.6, 11.9, 11.14). */
#include "tests/unit/target/puppet.h"

#include <string.h>

#include "wire/lun.h"

#define MCS "MaxConnections=4\0InitialR2T=Yes\0ImmediateData=No"

static uint8_t bytes[4096];

static struct puppet *
join(const struct puppet *a, uint16_t cid)
{
    struct puppet *b = puppet_new(a->w, 1);

    b->tsih = a->tsih;
    b->cid = cid;
    b->cmd_sn = a->cmd_sn;
    b->itt = a->itt + 1000u * cid;
    assert_int_equal(puppet_login(b, KEYS("")), 0);
    return b;
}

static void
write_begin(struct puppet *p, uint32_t *ret_itt, uint32_t *ret_ttt)
{
    uint8_t cdb[CDB_MAX];

    (void)cdb_write10(cdb, 0, 1, 0);
    *ret_itt = puppet_cmd(p, 0, WR, cdb, 512, NULL, 0);
    *ret_ttt = get32(puppet_expect(p, ISCSI_OP_R2T)->h.r2t.ttt);
}

static void
write_data(struct puppet *p, uint32_t itt, uint32_t ttt)
{
    struct bhs_data_out h;

    bhs_init(&h, ISCSI_OP_DATA_OUT, ISCSI_FLAG_FINAL);
    h.itt = put32(itt);
    h.ttt = put32(ttt);
    puppet_send(p, &h, bytes, 512);
}

static void
logout(struct puppet *p, uint8_t reason, uint16_t cid)
{
    struct bhs_logout_req h;

    bhs_init(&h, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | reason);
    h.itt = put32(++p->itt);
    h.cid = put16(cid);
    h.cmd_sn = put32(p->cmd_sn);
    puppet_send(p, &h, NULL, 0);
}

static uint8_t
logout_answer(struct puppet *p)
{
    return puppet_expect(p, ISCSI_OP_LOGOUT_RSP)->h.logout_rsp.response;
}

/* The next command of LUN 0 tells that tasks were ended: 47/7F, once. */
static void
expect_tasks_lost(struct puppet *p)
{
    struct scsi_sense s;
    uint8_t cdb[CDB_MAX];

    (void)cdb_test_unit_ready(cdb);
    assert_int_equal(puppet_do(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(s.key << 16 | sense_code(&s), 0x06477f);
    assert_int_equal(puppet_do(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, NULL), SCSI_GOOD);
}

static void
expect_async(struct puppet *p, uint8_t event, uint16_t param1)
{
    struct pdu *r = puppet_expect(p, ISCSI_OP_ASYNC);

    assert_int_equal(r->h.async.event, event);
    assert_int_equal(get16(r->h.async.param1), param1);
    /* DefaultTime2Wait; but a new connection need not wait, for nothing is kept of the old one */
    assert_int_equal(get16(r->h.async.param2), event == ISCSI_ASYNC_DROP_CONNECTION ? 0 : 2);
    assert_int_equal(get16(r->h.async.param3), 0); /* nothing can be reassigned */
    assert_int_equal(get32(r->h.async.itt), ISCSI_TAG_RSVD);
}

/* RFC7143-11.9.1: the others learn of a connection that is lost, and go on; its tasks have ended.
 */
static void
others_are_told(void **state)
{
    struct puppet *a = puppet_session(*state, KEYS(MCS)), *b = join(a, 7), *c = join(a, 9);
    uint32_t itt, ttt;

    write_begin(b, &itt, &ttt);
    puppet_free(b);
    expect_async(a, ISCSI_ASYNC_DROP_CONNECTION, 7);
    expect_async(c, ISCSI_ASYNC_DROP_CONNECTION, 7);
    a->cmd_sn++;
    expect_tasks_lost(a);
    c->cmd_sn = a->cmd_sn;
    write_begin(c, &itt, &ttt);
    write_data(c, itt, ttt);
    assert_int_equal(puppet_status(c, NULL, NULL, NULL), SCSI_GOOD);
    puppet_free(c);
    expect_async(a, ISCSI_ASYNC_DROP_CONNECTION, 9);
    puppet_free(a);
}

/* RFC7143-11.14, 11.14.5: a connection that is logged out, by itself or through another one, and
 * one that is reinstated.  Nobody is told of what was asked for. */
static void
end_that_was_asked_for(void **state)
{
    struct puppet *a = puppet_session(*state, KEYS(MCS)), *b, *again;
    uint32_t itt, ttt;

    for (unsigned way = 0; way < 3; way++) {
        b = join(a, 7);
        write_begin(b, &itt, &ttt);
        a->cmd_sn = b->cmd_sn;
        if (way == 0) {
            logout(b, ISCSI_LOGOUT_CLOSE_CONNECTION, 7);
            assert_int_equal(logout_answer(b), ISCSI_LOGOUT_RSP_OK);
        } else if (way == 1) {
            logout(a, ISCSI_LOGOUT_CLOSE_CONNECTION, 7);
            assert_int_equal(logout_answer(a), ISCSI_LOGOUT_RSP_OK);
        } else {
            again = join(a, 7);
            puppet_expect_nothing(again);
            logout(again, ISCSI_LOGOUT_CLOSE_CONNECTION, 7);
            assert_int_equal(logout_answer(again), ISCSI_LOGOUT_RSP_OK);
            puppet_free(again);
        }
        puppet_expect_close(b);
        puppet_free(b);
        expect_tasks_lost(a);
        puppet_expect_nothing(a);
    }
    logout(a, ISCSI_LOGOUT_CLOSE_CONNECTION, 7);
    assert_int_equal(logout_answer(a), ISCSI_LOGOUT_RSP_CID_NOT_FOUND);
    b = join(a, 7);
    logout(a, ISCSI_LOGOUT_RECOVERY, 7);
    assert_int_equal(logout_answer(a), ISCSI_LOGOUT_RSP_NO_RECOVERY);
    logout(a, ISCSI_LOGOUT_CLOSE_SESSION, 0);
    assert_int_equal(logout_answer(a), ISCSI_LOGOUT_RSP_OK);
    puppet_expect_close(a);
    puppet_expect_close(b);
    puppet_free(a);
    puppet_free(b);
}

/* RFC7143-4.2.5.1: data of a command on another connection than its own. */
static void
data_on_another_connection(void **state)
{
    struct puppet *a = puppet_session(*state, KEYS(MCS)), *b = join(a, 7);
    uint32_t itt, ttt;

    memset(bytes, 0x5a, sizeof(bytes));
    write_begin(b, &itt, &ttt);
    write_data(a, itt, ttt);
    puppet_expect_reject(a, ISCSI_REJECT_PROTOCOL_ERROR);
    assert_int_equal(world_memory(*state)[0], 0);
    write_data(b, itt, ttt);
    assert_int_equal(puppet_status(b, NULL, NULL, NULL), SCSI_GOOD);
    assert_int_equal(world_memory(*state)[0], 0x5a);
    puppet_free(b);
    puppet_free(a);
}

static void
ping(struct puppet *p, uint32_t cmd_sn)
{
    struct bhs_nop_out h;

    bhs_init(&h, ISCSI_OP_NOP_OUT, ISCSI_FLAG_FINAL);
    h.itt = put32(++p->itt);
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.cmd_sn = put32(cmd_sn);
    puppet_send(p, &h, NULL, 0);
}

static void
until_hole_times_out(struct world *w)
{
    uint64_t end = w->loop->now_ns + (HOLE_TIMEOUT_MS + 500) * LOOP_NS_PER_MS;

    while (w->loop->now_ns < end)
        world_turn(w);
}

/* What was sent on a connection that is lost has left a hole in the CmdSNs.  It can be plugged by
 * sending the command again on another one (7.2.1), or by aborting it (11.6.1b); otherwise the
 * session fails, for what came behind it must not wait for ever. */
static void
hole_of_a_lost_connection(void **state)
{
    struct puppet *a = puppet_session(*state, KEYS(MCS)), *b = join(a, 7);
    uint32_t sn = a->cmd_sn;
    struct bhs_tmf_req t;

    puppet_free(b);
    expect_async(a, ISCSI_ASYNC_DROP_CONNECTION, 7);
    ping(a, sn + 1);
    puppet_expect_nothing(a);
    ping(a, sn); /* the retry */
    (void)puppet_expect(a, ISCSI_OP_NOP_IN);
    (void)puppet_expect(a, ISCSI_OP_NOP_IN);
    assert_int_equal(get32(a->rx.h.nop_in.exp_cmd_sn), sn + 2);

    ping(a, sn + 3);
    puppet_expect_nothing(a);
    bhs_init(&t, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | ISCSI_TMF_ABORT_TASK);
    t.itt = put32(++a->itt);
    t.ref_tag = put32(77);
    t.ref_cmd_sn = put32(sn + 2);
    t.cmd_sn = put32(sn + 4);
    puppet_send(a, &t, NULL, 0);
    assert_int_equal(puppet_expect(a, ISCSI_OP_TMF_RSP)->h.tmf_rsp.response, 0);
    (void)puppet_expect(a, ISCSI_OP_NOP_IN);
    until_hole_times_out(*state); /* there is none any more */
    puppet_expect_nothing(a);

    b = join(a, 8);
    ping(a, sn + 5);
    until_hole_times_out(*state);
    expect_async(a, ISCSI_ASYNC_DROP_SESSION, 0);
    expect_async(b, ISCSI_ASYNC_DROP_SESSION, 0);
    puppet_expect_close(a);
    puppet_expect_close(b);
    puppet_free(a);
    puppet_free(b);
}

/* A function that waits for requests before it does not wait for ever either. */
static void
hole_before_a_function(void **state)
{
    struct puppet *a = puppet_session(*state, KEYS(MCS));
    struct bhs_tmf_req t;

    bhs_init(&t, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE,
             ISCSI_FLAG_FINAL | ISCSI_TMF_ABORT_TASK_SET);
    t.itt = put32(++a->itt);
    t.ref_tag = put32(ISCSI_TAG_RSVD);
    t.cmd_sn = put32(a->cmd_sn + 1);
    puppet_send(a, &t, NULL, 0);
    puppet_expect_nothing(a);
    until_hole_times_out(*state);
    expect_async(a, ISCSI_ASYNC_DROP_SESSION, 0);
    puppet_expect_close(a);
    puppet_free(a);
}

static void
tmf(struct puppet *p, uint8_t function, uint64_t lun)
{
    struct bhs_tmf_req t;

    bhs_init(&t, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | function);
    lun_store(t.lun, lun_from_number(lun));
    t.itt = put32(++p->itt);
    t.ref_tag = put32(ISCSI_TAG_RSVD);
    t.cmd_sn = put32(p->cmd_sn);
    puppet_send(p, &t, NULL, 0);
}

/* Answers the NOP-In that asks what has been read: up to that StatSN. */
static void
answer_ping(struct puppet *p, uint32_t exp_stat_sn)
{
    struct pdu *r = puppet_expect(p, ISCSI_OP_NOP_IN);
    struct bhs_nop_out h;

    assert_int_equal(get32(r->h.nop_in.itt), ISCSI_TAG_RSVD);
    assert_int_not_equal(get32(r->h.nop_in.ttt), ISCSI_TAG_RSVD);
    bhs_init(&h, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    h.itt = put32(ISCSI_TAG_RSVD);
    h.ttt = r->h.nop_in.ttt;
    h.cmd_sn = put32(p->cmd_sn);
    p->exp_stat_sn = exp_stat_sn;
    puppet_send(p, &h, NULL, 0);
}

/* RFC7143-4.2.3.3 d, 4.2.2.3: the response of a function on a task set goes when what the other
 * connection has told before is acknowledged, and what follows there when it is itself. */
static void
response_fence(void **state)
{
    struct puppet *a = puppet_session(*state, KEYS(MCS)), *b = join(a, 7);
    uint32_t itt, ttt, told;

    for (unsigned i = 0; i < 2; i++) {
        ping(b, a->cmd_sn); /* a response that b may not have read */
        told = get32(puppet_expect(b, ISCSI_OP_NOP_IN)->h.nop_in.stat_sn);
        b->cmd_sn = ++a->cmd_sn;
        write_begin(b, &itt, &ttt);
        a->cmd_sn = b->cmd_sn;
        tmf(a, ISCSI_TMF_ABORT_TASK_SET, 0);
        write_data(b, itt, ttt); /* asked for before: it is waited for */
        puppet_expect_nothing(a);
        answer_ping(b, told); /* not yet */
        puppet_expect_nothing(a);
        b->exp_stat_sn = told + 1;
        ping(b, b->cmd_sn);
        assert_int_equal(puppet_expect(a, ISCSI_OP_TMF_RSP)->h.tmf_rsp.response, 0);
        told = get32(a->rx.h.tmf_rsp.stat_sn);
        puppet_expect_nothing(b); /* the answer to its ping waits for a */
        answer_ping(a, told + 1);
        (void)puppet_expect(b, ISCSI_OP_NOP_IN);
        a->cmd_sn = ++b->cmd_sn;
    }
    puppet_free(b);
    expect_async(a, ISCSI_ASYNC_DROP_CONNECTION, 7);
    tmf(a, ISCSI_TMF_LU_RESET, 0); /* alone it waits for nobody */
    assert_int_equal(puppet_expect(a, ISCSI_OP_TMF_RSP)->h.tmf_rsp.response, 0);
    puppet_expect_nothing(a);
    puppet_free(a);
}

/* Two functions at once, of which one ends with its connection; and one that acknowledges nothing.
 */
static void
fence_ends(void **state)
{
    struct puppet *a = puppet_session(*state, KEYS(MCS)), *b = join(a, 7), *c = join(a, 9);
    struct world *w = *state;
    uint64_t end;

    tmf(a, ISCSI_TMF_LU_RESET, 0);
    tmf(b, ISCSI_TMF_LU_RESET, 0);
    puppet_expect_nothing(a);
    (void)puppet_expect(b, ISCSI_OP_NOP_IN);
    puppet_free(a); /* its function is forgotten, and that of b has its turn */
    expect_async(b, ISCSI_ASYNC_DROP_CONNECTION, 0);
    (void)puppet_expect(c, ISCSI_OP_NOP_IN);
    expect_async(c, ISCSI_ASYNC_DROP_CONNECTION, 0);
    end = w->loop->now_ns + (PING_TIMEOUT_MS + 200) * LOOP_NS_PER_MS;
    while (w->loop->now_ns < end)
        world_turn(w);
    puppet_expect_close(c);
    puppet_expect_close(b); /* it did not acknowledge for a's either */
    puppet_free(b);
    puppet_free(c);
}

/* One acknowledges nothing and is ended for that.  The function that waited for it is answered
 * then, and its connection has all the time that there is to acknowledge that. */
static void
fence_outlasts_the_mute(void **state)
{
    struct puppet *a = puppet_session(*state, KEYS(MCS)), *b = join(a, 7);
    struct world *w = *state;
    uint64_t end;
    uint32_t told;

    tmf(b, ISCSI_TMF_LU_RESET, 0);
    (void)puppet_expect(a, ISCSI_OP_NOP_IN);
    end = w->loop->now_ns + (PING_TIMEOUT_MS + 200) * LOOP_NS_PER_MS;
    while (w->loop->now_ns < end)
        world_turn(w);
    puppet_expect_close(a);
    assert_int_equal(puppet_expect(b, ISCSI_OP_TMF_RSP)->h.tmf_rsp.response, 0);
    told = get32(b->rx.h.tmf_rsp.stat_sn);
    answer_ping(b, told + 1);
    expect_async(b, ISCSI_ASYNC_DROP_CONNECTION, 0);
    ping(b, b->cmd_sn);
    (void)puppet_expect(b, ISCSI_OP_NOP_IN);
    puppet_free(b);
    puppet_free(a);
}

/* RFC7143-4.2.3.3 e, 4.2.2.3.3: somebody else's reset has ended tasks of a session with several
 * connections: the first answer that tells of it goes when all before it are acknowledged, and what
 * follows on others when it is itself. */
static void
others_reset_is_fenced(void **state)
{
    struct puppet *a = puppet_session(*state, KEYS(MCS)), *b = join(a, 7);
    struct puppet *who = puppet_new(*state, 2);
    uint8_t cdb[CDB_MAX];
    uint32_t itt, ttt, told;
    struct scsi_sense sense;

    assert_int_equal(puppet_login(who, KEYS("")), 0);
    puppet_clear_ua(who);
    (void)cdb_test_unit_ready(cdb);
    for (int gone = 0; gone < 2; gone++) { /* and where its connection is lost meanwhile */
        b->cmd_sn = a->cmd_sn;
        write_begin(b, &itt, &ttt);
        a->cmd_sn = b->cmd_sn;
        ping(a, a->cmd_sn); /* a response that a may not have read */
        b->cmd_sn = ++a->cmd_sn;
        told = get32(puppet_expect(a, ISCSI_OP_NOP_IN)->h.nop_in.stat_sn);
        tmf(who, ISCSI_TMF_LU_RESET, 0);
        assert_int_equal(puppet_expect(who, ISCSI_OP_TMF_RSP)->h.tmf_rsp.response, 0);
        (void)puppet_cmd(b, 0, ISCSI_FLAG_FINAL, cdb, 0, NULL, 0);
        a->cmd_sn = b->cmd_sn;
        puppet_expect_nothing(b);
        if (gone) {
            puppet_free(b);
            answer_ping(a, told + 1);
            expect_async(a, ISCSI_ASYNC_DROP_CONNECTION, 7);
            break;
        }
        answer_ping(a, told + 1);
        assert_int_equal(puppet_status(b, NULL, NULL, &sense), SCSI_CHECK_CONDITION);
        assert_int_equal(sense.asc, 0x29);
        told = get32(b->rx.h.scsi_rsp.stat_sn);
        ping(a, a->cmd_sn);
        b->cmd_sn = ++a->cmd_sn;
        puppet_expect_nothing(a);
        answer_ping(b, told + 1);
        (void)puppet_expect(a, ISCSI_OP_NOP_IN);
        puppet_clear_ua(b); /* what follows waits for nobody */
        a->cmd_sn = b->cmd_sn;
    }
    ping(a, a->cmd_sn);
    (void)puppet_expect(a, ISCSI_OP_NOP_IN);
    puppet_free(a);
    puppet_free(who);
}

#define FAST MCS "\0TaskReporting=FastAbort,ResponseFence,RFC3720"

static void
expect_fast_abort(struct puppet *p, uint64_t lun)
{
    struct pdu *r = puppet_expect(p, ISCSI_OP_ASYNC);
    uint8_t want[8];

    lun_store(want, lun_from_number(lun));
    assert_int_equal(r->h.async.event, ISCSI_ASYNC_FAST_ABORT);
    assert_memory_equal(r->h.async.lun, want, 8);
}

/* RFC7143-4.2.3.4: with FastAbort no data is waited for, and event 5 tells the other connections
 * that had tasks of the unit, once each; a session that has not agreed on it gets none. */
static void
fast_abort(void **state)
{
    struct puppet *a = puppet_session(*state, KEYS(FAST)), *b = join(a, 7), *c = join(a, 9);
    struct puppet *other = puppet_new(*state, 2), *plain = puppet_new(*state, 3);
    uint32_t itt, ttt, sn;

    assert_int_equal(puppet_login(other, KEYS(FAST)), 0);
    assert_true(puppet_text_has(&other->rx, "TaskReporting=FastAbort"));
    assert_int_equal(puppet_login(plain, KEYS("TaskReporting=RFC3720,ResponseFence,FastAbort")), 0);
    assert_true(puppet_text_has(&plain->rx, "TaskReporting=RFC3720"));
    puppet_clear_ua(other);
    puppet_clear_ua(plain);
    write_begin(other, &itt, &ttt);
    write_begin(other, &itt, &ttt);
    write_begin(plain, &itt, &ttt);
    write_begin(b, &itt, &ttt);
    write_begin(b, &itt, &ttt);
    a->cmd_sn = c->cmd_sn = b->cmd_sn;
    tmf(a, ISCSI_TMF_LU_RESET, 0);
    expect_fast_abort(b, 0);
    expect_fast_abort(other, 0);
    puppet_expect_nothing(other);
    puppet_expect_nothing(plain);
    sn = get32(b->rx.h.async.stat_sn);
    answer_ping(b, sn + 1);
    write_data(b, itt, ttt); /* it was under way: it is dropped */
    puppet_expect_nothing(a);
    (void)puppet_expect(c, ISCSI_OP_NOP_IN);
    sn = get32(c->rx.h.nop_in.stat_sn);
    c->exp_stat_sn = sn;
    ping(c, c->cmd_sn);
    assert_int_equal(puppet_expect(a, ISCSI_OP_TMF_RSP)->h.tmf_rsp.response, 0);
    answer_ping(a, get32(a->rx.h.tmf_rsp.stat_sn) + 1);
    (void)puppet_expect(c, ISCSI_OP_NOP_IN);
    puppet_expect_nothing(b);
    puppet_free(b);
    puppet_free(c);
    puppet_free(a);
    puppet_free(other);
    puppet_free(plain);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(others_are_told, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(end_that_was_asked_for, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(data_on_another_connection, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(hole_of_a_lost_connection, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(hole_before_a_function, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(response_fence, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(fence_ends, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(fence_outlasts_the_mute, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(others_reset_is_fenced, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(fast_abort, world_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
