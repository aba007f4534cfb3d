/* SPDX-License-Identifier: MIT */
/* Error recovery level 2: tasks outlive their connection, and go on over another one (RFC
 * 7143 6.3.4, 7.1.4.3, 7.2.2, 7.5, 11.14). */
#include "tests/unit/target/puppet.h"

#include <string.h>

#include "wire/lun.h"

#define LEVEL                                                                                      \
    "ErrorRecoveryLevel=2\0DefaultTime2Wait=0\0DefaultTime2Retain=1\0"                             \
    "MaxRecvDataSegmentLength=1024\0MaxBurstLength=4096\0"
#define KEYS2    LEVEL "InitialR2T=Yes\0ImmediateData=No\0MaxConnections=4"
#define PDUS     12u
#define RETAIN_S 1u

static uint8_t noise[65536];

static int
two_setup(void **state)
{
    static const struct lu_config ram = {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1};
    static const struct target_key_value set[] = {
        {"ErrorRecoveryLevel", "2"}, {"DefaultTime2Wait", "0"}, {"DefaultTime2Retain", "1"}};
    static const struct target_node_config n = {
        .name = IQN, .luns = &ram, .luns_count = 1, .set = set, .set_count = 3};
    static struct world w;
    uint64_t size;

    world_new(&w, &n, 1);
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (uint8_t)(i * 7 + i / 251 + 3);
    memcpy(target_lun_memory(w.target, IQN, 0, &size), noise, sizeof(noise));
    *state = &w;
    return 0;
}

static void
no_attention(struct puppet *p)
{
    uint8_t cdb[CDB_MAX];

    (void)cdb_test_unit_ready(cdb);
    assert_int_equal(puppet_do(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, NULL), SCSI_GOOD);
}

static struct puppet *
two_session(struct world *w, const char *keys, size_t len)
{
    struct puppet *p = puppet_new(w, 1);
    uint8_t cdb[CDB_MAX];

    assert_int_equal(puppet_login(p, keys, len), 0);
    (void)cdb_test_unit_ready(cdb);
    while (puppet_do(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, NULL) != SCSI_GOOD)
        ;
    return p;
}

static struct puppet *
two_join(struct world *w, const struct puppet *like, uint16_t cid)
{
    struct puppet *b = puppet_new(w, 1);

    b->tsih = like->tsih;
    b->cid = cid;
    b->cmd_sn = like->cmd_sn;
    b->itt = like->itt + 1000u * (cid + 1u);
    assert_int_equal(puppet_login(b, KEYS("MaxRecvDataSegmentLength=1024")), 0);
    return b;
}

static void
expect_lost(struct puppet *p, uint16_t cid)
{
    struct pdu *r = puppet_expect(p, ISCSI_OP_ASYNC);

    assert_int_equal(r->h.async.event, ISCSI_ASYNC_DROP_CONNECTION);
    assert_int_equal(get16(r->h.async.param1), cid);
    assert_int_equal(get16(r->h.async.param2), 0);
    assert_int_equal(get16(r->h.async.param3), RETAIN_S);
}

static void
logout(struct puppet *p, uint8_t reason, uint16_t cid, uint8_t want)
{
    struct bhs_logout_req h;
    struct pdu *r;

    bhs_init(&h, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | reason);
    h.itt = put32(++p->itt);
    h.cid = put16(cid);
    h.cmd_sn = put32(p->cmd_sn);
    puppet_send(p, &h, NULL, 0);
    r = puppet_expect(p, ISCSI_OP_LOGOUT_RSP);
    assert_int_equal(r->h.logout_rsp.response, want);
    assert_int_equal(get16(r->h.logout_rsp.time2retain), RETAIN_S);
}

static void
reassign(struct puppet *p, uint32_t itt, uint32_t exp_data_sn, uint8_t want)
{
    struct bhs_tmf_req t;

    bhs_init(&t, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | ISCSI_TMF_TASK_REASSIGN);
    t.itt = put32(++p->itt);
    t.ref_tag = put32(itt);
    t.cmd_sn = put32(p->cmd_sn);
    t.exp_data_sn = put32(exp_data_sn);
    puppet_send(p, &t, NULL, 0);
    assert_int_equal(puppet_expect(p, ISCSI_OP_TMF_RSP)->h.tmf_rsp.response, want);
}

static uint32_t
read_begin(struct puppet *p)
{
    uint8_t cdb[CDB_MAX];

    (void)cdb_read10(cdb, 0, PDUS * 2, 0);
    return puppet_cmd(p, 0, RD, cdb, PDUS * 1024, NULL, 0);
}

/* Data-In from DataSN `from` on, and the response, all with the StatSN of this connection. */
static void
expect_read(struct puppet *p, uint32_t itt, uint32_t from)
{
    uint32_t stat_sn = get32(p->rx.h.nop_in.stat_sn);
    struct pdu *r;

    for (uint32_t i = from; i < PDUS; i++) {
        r = puppet_expect(p, ISCSI_OP_DATA_IN);
        assert_int_equal(get32(r->h.data_in.itt), itt);
        assert_int_equal(get32(r->h.data_in.data_sn), i);
        assert_int_equal(get32(r->h.data_in.offset), i * 1024);
        assert_memory_equal(r->data, noise + (size_t)i * 1024, 1024);
    }
    r = puppet_expect(p, ISCSI_OP_SCSI_RSP);
    assert_int_equal(get32(r->h.scsi_rsp.itt), itt);
    assert_int_equal(r->h.scsi_rsp.status, SCSI_GOOD);
    assert_int_equal(get32(r->h.scsi_rsp.exp_data_sn), PDUS);
    assert_int_equal(get32(r->h.scsi_rsp.snack_tag), 0);
    assert_true(from == 0 || get32(r->h.scsi_rsp.stat_sn) == stat_sn + 1);
}

static uint32_t
expect_r2t(struct puppet *p, uint32_t sn, uint32_t off, uint32_t len)
{
    struct pdu *r = puppet_expect(p, ISCSI_OP_R2T);

    assert_int_equal(get32(r->h.r2t.r2t_sn), sn);
    assert_int_equal(get32(r->h.r2t.offset), off);
    assert_int_equal(get32(r->h.r2t.desired_len), len);
    return get32(r->h.r2t.ttt);
}

static uint32_t
write_begin(struct puppet *p, uint32_t lba)
{
    uint8_t cdb[CDB_MAX];

    (void)cdb_write10(cdb, lba, 16, 0);
    return puppet_cmd(p, 0, WR, cdb, 8192, NULL, 0);
}

static void
data_out(struct puppet *p, uint32_t itt, uint32_t ttt, uint32_t off, uint32_t len, bool final)
{
    struct bhs_data_out h;

    bhs_init(&h, ISCSI_OP_DATA_OUT, final ? ISCSI_FLAG_FINAL : 0);
    h.itt = put32(itt);
    h.ttt = put32(ttt);
    h.offset = put32(off);
    puppet_send(p, &h, noise + off, len);
}

/* The writes go to this block, and so begin at noise + 0 there. */
#define LBA 256u

static void
expect_written(struct puppet *p)
{
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    assert_memory_equal(world_memory(p->w) + (size_t)LBA * 512, noise, 8192);
}

static void
wait_s(struct world *w, uint64_t ms)
{
    uint64_t end = w->loop->now_ns + ms * LOOP_NS_PER_MS;

    while (w->loop->now_ns < end)
        world_turn(w);
}

/* RFC7143-7.1.4.3, 7.2.2: a write goes on where it was, a read behind what was acknowledged; each
 * only after the lost connection is logged out for recovery. */
static void
tasks_go_on(void **state)
{
    struct puppet *a = two_session(*state, KEYS(KEYS2)), *b = two_join(*state, a, 7);
    uint32_t w, ttt, r, r2;

    w = write_begin(b, LBA);
    ttt = expect_r2t(b, 0, 0, 4096);
    data_out(b, w, ttt, 0, 1024, false);
    r = read_begin(b);
    expect_read(b, r, 0); /* its status is not acknowledged */
    r2 = read_begin(b);
    expect_read(b, r2, 0);
    a->cmd_sn = b->cmd_sn;
    reassign(a, w, 0, ISCSI_TMF_RSP_STILL_ALLEGIANT); /* it lives */
    puppet_free(b);
    expect_lost(a, 7);
    reassign(a, w, 0, ISCSI_TMF_RSP_STILL_ALLEGIANT); /* it is not logged out */
    logout(a, ISCSI_LOGOUT_RECOVERY, 7, ISCSI_LOGOUT_RSP_OK);
    logout(a, ISCSI_LOGOUT_RECOVERY, 8, ISCSI_LOGOUT_RSP_CID_NOT_FOUND);
    reassign(a, 4711, 0, ISCSI_TMF_RSP_NO_TASK);
    reassign(a, w, 0, ISCSI_TMF_RSP_COMPLETE);
    ttt = expect_r2t(a, 1, 1024, 4096);
    data_out(a, w, ttt, 1024, 4096, true);
    ttt = expect_r2t(a, 2, 5120, 3072);
    data_out(a, w, ttt, 5120, 3072, true);
    expect_written(a);
    reassign(a, w, 0, ISCSI_TMF_RSP_STILL_ALLEGIANT); /* its status is kept here now */
    reassign(a, r, 5, ISCSI_TMF_RSP_COMPLETE);
    expect_read(a, r, 5);
    reassign(a, r2, PDUS + 1, ISCSI_TMF_RSP_COMPLETE); /* nonsense is as 0 */
    expect_read(a, r2, 0);
    wait_s(*state, RETAIN_S * 1000 + 300); /* nothing of it is left to end */
    no_attention(a);
    puppet_free(a);
}

/* RFC7143-6.3.4, 11.12.9: the same CID again logs the old connection out, and its ExpStatSN tells
 * what was read there. */
static void
reinstated(void **state)
{
    struct puppet *a = two_session(*state, KEYS(KEYS2)), *b = two_join(*state, a, 7), *c;
    uint32_t itt[2], read_sn;

    for (unsigned alive = 0; alive < 2; alive++) {
        for (unsigned i = 0; i < 2; i++) {
            itt[i] = read_begin(b);
            expect_read(b, itt[i], 0);
        }
        a->cmd_sn = b->cmd_sn;
        read_sn = get32(b->rx.h.scsi_rsp.stat_sn);
        if (!alive) {
            puppet_free(b);
            expect_lost(a, 7);
        }
        c = puppet_new(*state, 1);
        c->exp_stat_sn = read_sn;
        c->tsih = a->tsih;
        c->cid = 7;
        c->cmd_sn = a->cmd_sn;
        c->itt = itt[1] + 5000;
        assert_int_equal(puppet_login(c, KEYS("MaxRecvDataSegmentLength=1024")), 0);
        if (alive) {
            puppet_expect_close(b);
            puppet_free(b);
        }
        c->exp_stat_sn = 0;
        reassign(c, itt[0], 0, ISCSI_TMF_RSP_NO_TASK);
        reassign(c, itt[1], 3, ISCSI_TMF_RSP_COMPLETE);
        expect_read(c, itt[1], 3);
        puppet_expect_nothing(a);
        b = c;
    }
    puppet_free(b);
    expect_lost(a, 7);
    puppet_free(a);
}

/* A session outlives its only connection, and may have one more than was agreed on. */
static void
only_connection(void **state)
{
    struct puppet *a = two_session(*state, KEYS(LEVEL "InitialR2T=Yes\0ImmediateData=No")), *b, *c;
    uint32_t itt = write_begin(a, LBA);
    uint16_t tsih = a->tsih;
    struct target_stats st;

    (void)expect_r2t(a, 0, 0, 4096);
    b = two_join(*state, a, 1);
    c = puppet_new(*state, 1);
    c->tsih = tsih;
    c->cid = 2;
    assert_int_equal(puppet_login(c, KEYS("")), 0x0206);
    puppet_free(c);
    logout(b, ISCSI_LOGOUT_CLOSE_CONNECTION, 1, ISCSI_LOGOUT_RSP_OK);
    puppet_expect_close(b);
    puppet_free(b);
    puppet_free(a);
    c = puppet_new(*state, 1);
    c->tsih = tsih;
    c->cmd_sn = 100;
    c->itt = 9000;
    assert_int_equal(puppet_login(c, KEYS("MaxRecvDataSegmentLength=1024")), 0);
    reassign(c, itt, 0, ISCSI_TMF_RSP_COMPLETE);
    data_out(c, itt, expect_r2t(c, 1, 0, 4096), 0, 4096, true);
    data_out(c, itt, expect_r2t(c, 2, 4096, 4096), 4096, 4096, true);
    expect_written(c);
    puppet_free(c);
    wait_s(*state, RETAIN_S * 1000 + 300); /* nobody comes back */
    target_stats((*(struct world **)state)->target, &st);
    assert_int_equal(st.sessions, 0);
    c = puppet_new(*state, 1);
    c->tsih = tsih;
    assert_int_equal(puppet_login(c, KEYS("")), 0x020a);
    puppet_free(c);
}

static void
expect_tasks_lost(struct puppet *p)
{
    struct scsi_sense s;
    uint8_t cdb[CDB_MAX];

    (void)cdb_test_unit_ready(cdb);
    assert_int_equal(puppet_do(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(s.key << 16 | sense_code(&s), 0x06477f);
    no_attention(p);
}

/* RFC7143-7.5, 7.6: tasks that nobody reassigns in time end, and so do those of a connection that
 * is logged out for good. */
static void
tasks_end(void **state)
{
    struct puppet *a = two_session(*state, KEYS(KEYS2));

    for (unsigned way = 0; way < 3; way++) {
        struct puppet *b = two_join(*state, a, 7);
        uint32_t itt = write_begin(b, LBA);

        (void)expect_r2t(b, 0, 0, 4096);
        a->cmd_sn = b->cmd_sn;
        puppet_free(b);
        expect_lost(a, 7);
        if (way == 0) {
            logout(a, ISCSI_LOGOUT_CLOSE_CONNECTION, 7, ISCSI_LOGOUT_RSP_OK);
        } else {
            wait_s(*state, RETAIN_S * 700);
            if (way == 2) {
                logout(a, ISCSI_LOGOUT_RECOVERY, 7, ISCSI_LOGOUT_RSP_OK);
                wait_s(*state, RETAIN_S * 700); /* the time begins with the logout */
                reassign(a, itt, 0, ISCSI_TMF_RSP_COMPLETE);
                (void)expect_r2t(a, 1, 0, 4096);
                wait_s(*state, RETAIN_S * 700);
                no_attention(a);
                continue;
            }
            wait_s(*state, RETAIN_S * 700);
        }
        reassign(a, itt, 0, ISCSI_TMF_RSP_NO_TASK);
        logout(a, ISCSI_LOGOUT_RECOVERY, 7, ISCSI_LOGOUT_RSP_CID_NOT_FOUND);
        expect_tasks_lost(a);
    }
    puppet_free(a);
}

/* RFC7143-7.14, 11.14: immediate commands and what is not acknowledged end with their connection;
 * what the device server works on answers over the new one. */
static void
what_waits(void **state)
{
    struct puppet *a = two_session(*state, KEYS(KEYS2)), *b = two_join(*state, a, 7);
    const struct target_faults slow = {.response_delay_ms = 200};
    struct world *w = *state;
    uint32_t r, held, ttt;
    uint8_t cdb[CDB_MAX];
    struct bhs_scsi_cmd h;

    bhs_init(&h, ISCSI_OP_SCSI_CMD | ISCSI_OP_IMMEDIATE, WR);
    (void)cdb_write10(cdb, LBA, 16, 0);
    memcpy(h.cdb, cdb, sizeof(h.cdb));
    h.itt = put32(77);
    h.edtl = put32(8192);
    h.cmd_sn = put32(b->cmd_sn);
    puppet_send(b, &h, NULL, 0);
    (void)expect_r2t(b, 0, 0, 4096);
    target_set_faults(w->target, &slow);
    r = read_begin(b);
    b->cmd_sn++; /* a command that does not arrive */
    held = write_begin(b, LBA);
    puppet_expect_nothing(b);
    logout(a, ISCSI_LOGOUT_RECOVERY, 7, ISCSI_LOGOUT_RSP_OK); /* of one that is alive */
    puppet_expect_close(b);
    reassign(a, 77, 0, ISCSI_TMF_RSP_NO_TASK);
    reassign(a, held, 0, ISCSI_TMF_RSP_NO_TASK);
    reassign(a, r, 0, ISCSI_TMF_RSP_COMPLETE);
    puppet_expect_nothing(a);
    wait_s(w, 300);
    expect_read(a, r, 0);
    target_set_faults(w->target, NULL);
    a->cmd_sn = b->cmd_sn - 2;
    no_attention(a); /* in the place of what did not arrive */
    a->itt = held - 1;
    assert_int_equal(write_begin(a, LBA), held); /* and the retry of what was held */
    ttt = expect_r2t(a, 0, 0, 4096);
    data_out(a, held, ttt, 0, 4096, true);
    ttt = expect_r2t(a, 1, 4096, 4096);
    data_out(a, held, ttt, 4096, 4096, true);
    expect_written(a);
    puppet_free(b);
    puppet_free(a);
}

/* A session that ends takes along what waits in it, whichever way it ends. */
static void
session_ends(void **state)
{
    struct world *w = *state;
    struct target_stats st;

    for (unsigned way = 0; way < 5; way++) {
        struct puppet *a = two_session(w, KEYS(KEYS2)), *b = two_join(w, a, 7), *c = NULL;

        (void)write_begin(b, LBA);
        (void)expect_r2t(b, 0, 0, 4096);
        (void)read_begin(b);
        expect_read(b, b->itt, 0);
        a->cmd_sn = b->cmd_sn;
        puppet_free(b);
        expect_lost(a, 7);
        switch (way) {
        case 0:
            logout(a, ISCSI_LOGOUT_CLOSE_SESSION, 0, ISCSI_LOGOUT_RSP_OK);
            puppet_expect_close(a);
            break;
        case 1:
            c = puppet_new(w, 1);
            assert_int_equal(puppet_login(c, KEYS("")), 0);
            puppet_expect_close(a);
            break;
        case 2:
            target_drop_connections(w->target);
            puppet_expect_close(a);
            break;
        case 3: { /* the function ends them, and with the last one the connections */
            struct bhs_tmf_req t;

            bhs_init(&t, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE,
                     ISCSI_FLAG_FINAL | ISCSI_TMF_TARGET_COLD_RESET);
            t.itt = put32(++a->itt);
            t.ref_tag = put32(ISCSI_TAG_RSVD);
            t.cmd_sn = put32(a->cmd_sn);
            puppet_send(a, &t, NULL, 0);
            assert_int_equal(puppet_expect(a, ISCSI_OP_TMF_RSP)->h.tmf_rsp.response, 0);
            puppet_expect_close(a);
            break;
        }
        default:
            break; /* target_free */
        }
        target_stats(w->target, &st);
        assert_int_equal(st.sessions, way == 1 || way == 4);
        puppet_free(a);
        if (c != NULL)
            puppet_free(c);
        wait_s(w, way == 1 ? RETAIN_S * 1000 + 100 : 0);
    }
}

/* A hole in the CmdSNs may be that of a connection whose recovery still has its time. */
static void
hole_waits_longer(void **state)
{
    struct puppet *a = two_session(*state, KEYS(KEYS2));
    uint8_t cdb[CDB_MAX];

    a->cmd_sn++;
    (void)cdb_test_unit_ready(cdb);
    (void)puppet_cmd(a, 0, ISCSI_FLAG_FINAL, cdb, 0, NULL, 0);
    wait_s(*state, HOLE_TIMEOUT_MS + 300);
    puppet_expect_nothing(a);
    wait_s(*state, RETAIN_S * 1000);
    assert_int_equal(puppet_expect(a, ISCSI_OP_ASYNC)->h.async.event, ISCSI_ASYNC_DROP_SESSION);
    puppet_expect_close(a);
    puppet_free(a);
}

static void
acknowledge(struct puppet *p)
{
    struct bhs_nop_out n;

    (void)puppet_expect(p, ISCSI_OP_NOP_IN); /* what has it read? */
    p->exp_stat_sn = get32(p->rx.h.nop_in.stat_sn);
    bhs_init(&n, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    n.itt = put32(ISCSI_TAG_RSVD);
    n.ttt = p->rx.h.nop_in.ttt;
    puppet_send(p, &n, NULL, 0);
}

/* Two functions of a connection that is lost: the response of one is to be acknowledged, and the
 * other has had no turn yet. */
static void
functions_end(void **state)
{
    struct puppet *a = two_session(*state, KEYS(KEYS2)), *b = two_join(*state, a, 7);
    struct bhs_tmf_req t;

    for (unsigned i = 0; i < 2; i++) {
        bhs_init(&t, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | ISCSI_TMF_LU_RESET);
        t.itt = put32(++a->itt);
        t.ref_tag = put32(ISCSI_TAG_RSVD);
        t.cmd_sn = put32(a->cmd_sn);
        puppet_send(a, &t, NULL, 0);
    }
    acknowledge(b);
    (void)puppet_expect(a, ISCSI_OP_TMF_RSP);
    puppet_free(a);
    expect_lost(b, 0);
    reassign(b, 4711, 0, ISCSI_TMF_RSP_NO_TASK); /* nothing is held back any more */
    puppet_free(b);
}

/* A command that has been answered is reassigned to a connection that is lost before the answer has
 * left on it, which a fence holds back there: it can be reassigned once more, or ends with it. */
static void
reassigned_twice(void **state)
{
    for (unsigned ends = 0; ends < 2; ends++) {
        struct puppet *a = two_session(*state, KEYS(KEYS2)), *b = two_join(*state, a, 7);
        struct puppet *d = two_join(*state, a, 8);
        struct bhs_tmf_req t;
        uint32_t r = read_begin(b);

        expect_read(b, r, 0);
        a->cmd_sn = d->cmd_sn = b->cmd_sn;
        puppet_free(b);
        expect_lost(a, 7);
        expect_lost(d, 7);
        logout(a, ISCSI_LOGOUT_RECOVERY, 7, ISCSI_LOGOUT_RSP_OK);
        bhs_init(&t, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | ISCSI_TMF_LU_RESET);
        t.itt = put32(++d->itt);
        t.ref_tag = put32(ISCSI_TAG_RSVD);
        t.cmd_sn = put32(d->cmd_sn);
        puppet_send(d, &t, NULL, 0);
        acknowledge(a);
        (void)puppet_expect(d, ISCSI_OP_TMF_RSP);
        bhs_init(&t, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE,
                 ISCSI_FLAG_FINAL | ISCSI_TMF_TASK_REASSIGN);
        t.itt = put32(++a->itt);
        t.ref_tag = put32(r);
        t.cmd_sn = put32(a->cmd_sn);
        puppet_send(a, &t, NULL, 0);
        puppet_expect_nothing(a); /* it is held back */
        puppet_free(a);
        acknowledge(d);
        expect_lost(d, 0);
        if (ends) {
            logout(d, ISCSI_LOGOUT_CLOSE_CONNECTION, 0, ISCSI_LOGOUT_RSP_OK);
            reassign(d, r, 0, ISCSI_TMF_RSP_NO_TASK);
        } else {
            logout(d, ISCSI_LOGOUT_RECOVERY, 0, ISCSI_LOGOUT_RSP_OK);
            reassign(d, r, 0, ISCSI_TMF_RSP_COMPLETE);
            expect_read(d, r, 0);
        }
        logout(d, ISCSI_LOGOUT_CLOSE_SESSION, 0, ISCSI_LOGOUT_RSP_OK);
        puppet_expect_close(d);
        puppet_free(d);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tasks_go_on, two_setup, world_teardown),
        cmocka_unit_test_setup_teardown(reassigned_twice, two_setup, world_teardown),
        cmocka_unit_test_setup_teardown(reinstated, two_setup, world_teardown),
        cmocka_unit_test_setup_teardown(only_connection, two_setup, world_teardown),
        cmocka_unit_test_setup_teardown(tasks_end, two_setup, world_teardown),
        cmocka_unit_test_setup_teardown(what_waits, two_setup, world_teardown),
        cmocka_unit_test_setup_teardown(session_ends, two_setup, world_teardown),
        cmocka_unit_test_setup_teardown(functions_end, two_setup, world_teardown),
        cmocka_unit_test_setup_teardown(hole_waits_longer, two_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
