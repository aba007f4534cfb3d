/* SPDX-License-Identifier: MIT */
/* Single rules of RFC 7143 that the target keeps, one short case each; ids of
 * docs/rfc-coverage.md. */
#include "tests/unit/target/puppet.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "wire/lun.h"

#define NAMES  "InitiatorName=" INITIATOR "\0TargetName=" IQN
#define OPER   bhs_login_flags(1, 0, 0)
#define TO_FFP bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT)
#define TWO    "MaxConnections=2\0InitialR2T=Yes\0ImmediateData=No"
#define LEN    512u
#define TUR    ISCSI_FLAG_FINAL /* flags of a command without data */

static const uint8_t fill[4096] = {1, 2, 3};
static const uint8_t zeros[4096];

static void
nop_out(struct puppet *p, uint32_t itt, uint32_t cmd_sn, bool immediate)
{
    struct bhs_nop_out h;

    bhs_init(&h, ISCSI_OP_NOP_OUT | (immediate ? ISCSI_OP_IMMEDIATE : 0), ISCSI_FLAG_FINAL);
    h.itt = put32(itt);
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.cmd_sn = put32(cmd_sn);
    puppet_send(p, &h, NULL, 0);
}

/* What a target may tell beside all else: that another connection is gone, that data was for
 * nobody, and where it is. */
static bool
is_notice(const struct pdu *r)
{
    uint8_t op = pdu_opcode(&r->h.h);

    return (op == ISCSI_OP_NOP_IN && get32(r->h.nop_in.itt) == ISCSI_TAG_RSVD) ||
           (op == ISCSI_OP_ASYNC && r->h.async.event == ISCSI_ASYNC_DROP_CONNECTION) ||
           (op == ISCSI_OP_REJECT && r->h.reject.reason != ISCSI_REJECT_DATA_DIGEST &&
            pdu_opcode((const struct bhs *)(const void *)r->data) == ISCSI_OP_DATA_OUT);
}

static struct pdu *
expect_past_notices(struct puppet *p, uint8_t opcode)
{
    do
        assert_int_equal(puppet_recv(p), GOT_PDU);
    while (is_notice(&p->rx));
    assert_int_equal(pdu_opcode(&p->rx.h.h), opcode);
    return &p->rx;
}

static void
expect_only_notices(struct puppet *p)
{
    enum got got;

    while ((got = puppet_recv(p)) == GOT_PDU) {
        if (!is_notice(&p->rx))
            fail_msg("%s came", pdu_opcode_name(pdu_opcode(&p->rx.h.h)));
    }
    assert_int_equal(got, GOT_NOTHING);
}

/* A ping that is answered; the answer. */
static const struct bhs_nop_in *
ping(struct puppet *p)
{
    nop_out(p, ++p->itt, p->cmd_sn, true);
    return &expect_past_notices(p, ISCSI_OP_NOP_IN)->h.nop_in;
}

/* Tells that all that has come is acknowledged: the target may wait for that, where there are
 * several connections, before it answers a function (4.2.2.3). */
static void
acknowledge(struct puppet *p)
{
    struct bhs_nop_out h;

    assert_false(p->header_digest);
    bhs_init(&h, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    h.itt = put32(ISCSI_TAG_RSVD);
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.cmd_sn = put32(p->cmd_sn);
    h.exp_stat_sn = put32(p->judge.stat_sn);
    puppet_send_raw(p, &h, sizeof(h));
}

static uint32_t
window_of(struct puppet *p)
{
    const struct bhs_nop_in *h = ping(p);

    return get32(h->max_cmd_sn) - get32(h->exp_cmd_sn) + 1;
}

/* How many commands are open: those for which the window has no room. */
static uint32_t
open_commands(struct puppet *p, uint32_t depth)
{
    return depth - window_of(p);
}

static void
data_for(struct puppet *p, uint64_t lun, uint32_t itt, uint32_t ttt)
{
    struct bhs_data_out h;

    bhs_init(&h, ISCSI_OP_DATA_OUT, ISCSI_FLAG_FINAL);
    lun_store(h.lun, lun_from_number(lun));
    h.itt = put32(itt);
    h.ttt = put32(ttt);
    puppet_send(p, &h, fill, LEN);
}

/* A write of one block of LUN 0 whose data has been asked for. */
static uint32_t
write_begun(struct puppet *p, uint32_t *ret_ttt)
{
    uint8_t cdb[CDB_MAX];
    uint32_t itt;

    (void)cdb_write10(cdb, 0, 1, 0);
    itt = puppet_cmd(p, 0, WR, cdb, LEN, NULL, 0);
    *ret_ttt = get32(puppet_expect(p, ISCSI_OP_R2T)->h.r2t.ttt);
    return itt;
}

static void
tmf_send(struct puppet *p, uint8_t function, uint32_t ref_tag, uint32_t ref_sn)
{
    struct bhs_tmf_req h;

    bhs_init(&h, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE, (uint8_t)(ISCSI_FLAG_FINAL | function));
    h.itt = put32(++p->itt);
    h.ref_tag = put32(ref_tag);
    h.ref_cmd_sn = put32(ref_sn);
    h.cmd_sn = put32(p->cmd_sn);
    puppet_send(p, &h, NULL, 0);
}

static uint8_t
tmf_response(struct puppet *p)
{
    return expect_past_notices(p, ISCSI_OP_TMF_RSP)->h.tmf_rsp.response;
}

/* One more connection of p's session. */
static struct puppet *
joined(struct puppet *p, uint16_t cid)
{
    struct puppet *q = puppet_new(p->w, p->isid[5]);

    q->tsih = p->tsih;
    q->cid = cid;
    q->cmd_sn = p->cmd_sn;
    q->itt = p->itt + 1000u * cid;
    assert_int_equal(puppet_login(q, KEYS("")), 0);
    return q;
}

static uint8_t
ready(struct puppet *p, struct scsi_sense *ret)
{
    uint8_t cdb[CDB_MAX];

    (void)cdb_test_unit_ready(cdb);
    return puppet_do(p, cdb, TUR, 0, NULL, 0, ret);
}

/* ---- login ------------------------------------------------------------------------------------
 */

/* ID-07, ID-08: what the first request said holds for the login. */
static void
login_keeps_its_first_header(void **state)
{
    static const struct {
        size_t at; /* of the byte that the second request changes; 0: none */
        uint16_t status;
    } rows[] = {
        {0, 0},
        {offsetof(struct bhs_login_req, isid) + 5, 0x0200},
        {offsetof(struct bhs_login_req, tsih) + 1, 0x0200},
        {offsetof(struct bhs_login_req, cid) + 1, 0x0200},
        {offsetof(struct bhs_login_req, itt) + 3, 0x0200},
        {offsetof(struct bhs_login_req, version_min), 0x0205},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct puppet *p = puppet_new(*state, 1);
        struct bhs_login_req h;

        puppet_login_send(p, OPER, KEYS(NAMES));
        assert_int_equal(puppet_login_status(p), 0);
        assert_int_equal(get16(p->rx.h.login_rsp.tsih), 0); /* ID-06 */
        bhs_init(&h, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE, TO_FFP);
        memcpy(h.isid, p->isid, sizeof(h.isid));
        h.itt = put32(7);
        h.cmd_sn = put32(p->cmd_sn);
        h.exp_stat_sn = put32(get32(p->rx.h.login_rsp.stat_sn) + 1);
        if (rows[i].at != 0)
            ((uint8_t *)&h)[rows[i].at]++;
        puppet_send(p, &h, NULL, 0);
        assert_int_equal(puppet_login_status(p), rows[i].status);
        if (rows[i].status != 0) {
            puppet_expect_close(p);
        } else {
            assert_memory_equal(p->rx.h.login_rsp.isid, p->isid, sizeof(p->isid));
            assert_int_equal(get32(p->rx.h.login_rsp.itt), 7);
            assert_true(get16(p->rx.h.login_rsp.tsih) != 0);
        }
        puppet_free(p);
    }
}

static struct puppet *
discoverer(struct world *w, const char *keys, size_t len)
{
    struct puppet *p = puppet_new(w, 1);

    puppet_login_send(p, TO_FFP, keys, len);
    assert_int_equal(puppet_login_status(p), 0);
    return p;
}

/* Whether the connection still asks and is answered. */
static bool
discovers(struct puppet *p)
{
    struct bhs_text_req h;

    bhs_init(&h, ISCSI_OP_TEXT_REQ, ISCSI_FLAG_FINAL);
    h.itt = put32(++p->itt);
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.cmd_sn = put32(p->cmd_sn++);
    puppet_send(p, &h, KEYS("SendTargets=All"));
    if (puppet_recv(p) != GOT_PDU)
        return false;
    assert_int_equal(pdu_opcode(&p->rx.h.h), ISCSI_OP_TEXT_RSP);
    return true;
}

#define UNNAMED "InitiatorName=" INITIATOR "\0SessionType=Discovery"
#define NAMED   UNNAMED "\0TargetName=" IQN

/* ID-16, ID-17: which older sessions a discovery session ends, and is ended by. */
static void
discovery_sessions(void **state)
{
    struct world *w = *state;
    struct sock_addr first = w->addr, second = w->addr;
    struct puppet *a, *b;

    ((struct sockaddr_in *)(void *)&second.ss)->sin_port = 0;
    assert_int_equal(target_listen(w->target, &second, &second, NULL), 0);
    a = discoverer(w, KEYS(UNNAMED));
    w->addr = second; /* another portal */
    b = discoverer(w, KEYS(UNNAMED));
    assert_true(discovers(a));
    assert_true(discovers(b));
    puppet_free(b);
    w->addr = first; /* the same one */
    b = discoverer(w, KEYS(UNNAMED));
    assert_false(discovers(a));
    assert_true(discovers(b));
    puppet_free(a);
    a = puppet_session(w, KEYS("")); /* a normal session of that port is another thing */
    assert_true(discovers(b));
    puppet_free(a);
    a = discoverer(w, KEYS(NAMED)); /* so is one that names the target */
    assert_true(discovers(b));
    assert_true(discovers(a));
    puppet_free(b);
    b = puppet_session(w, KEYS("")); /* a normal one takes the place of that */
    assert_false(discovers(a));
    puppet_free(a);
    a = discoverer(w, KEYS(NAMED));
    puppet_expect_close(b);
    assert_true(discovers(a));
    puppet_free(a);
    puppet_free(b);
}

/* NAME-01: two targets of one name are none. */
static void
names_are_given_once(void **state)
{
    const struct lu_config lun = {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1};
    const char *const names[][2] = {{IQN, IQN}, {IQN, "IQN.2026-11.Example:Disk"}, {IQN, IQN ":2"}};
    struct world *w = *state;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct target_node_config n[2] = {
            {.name = names[i][0], .luns = &lun, .luns_count = 1},
            {.name = names[i][1], .luns = &lun, .luns_count = 1},
        };
        const struct target_config cfg = {.nodes = n, .nodes_count = 2};
        struct lunette_error err;
        struct target *t = NULL;
        int r = target_new(w->loop, &cfg, &t, &err);

        assert_int_equal(r, i < 2 ? -EINVAL : 0);
        if (r == 0)
            target_free(t);
        else
            assert_non_null(strstr(err.msg, "two targets of that name"));
    }
}

/* NAME-12: what is called alike is not the same. */
static void
aliases_name_nobody(void **state)
{
    const struct lu_config lun = {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1};
    const struct target_node_config n[2] = {
        {.name = IQN, .luns = &lun, .luns_count = 1, .alias = "iqn.2026-11.example:alias"},
        {.name = IQN "2", .luns = &lun, .luns_count = 1, .alias = "iqn.2026-11.example:alias"},
    };
    struct puppet *a, *b;
    struct target_stats st;
    struct world w;

    (void)state;
    world_new(&w, n, 2);
    a = puppet_new(&w, 1);
    assert_int_equal(puppet_login(a, KEYS("InitiatorAlias=x")), 0);
    assert_true(puppet_text_has(&a->rx, "TargetAlias=iqn.2026-11.example:alias"));
    b = puppet_new(&w, 1); /* the same port of another name, and the same alias */
    puppet_login_send(b, TO_FFP,
                      KEYS("InitiatorName=" INITIATOR "2\0InitiatorAlias=x\0"
                           "TargetName=" IQN));
    assert_int_equal(puppet_login_status(b), 0);
    puppet_free(b);
    b = puppet_new(&w, 1);
    puppet_login_send(b, TO_FFP,
                      KEYS("InitiatorName=" INITIATOR "\0InitiatorAlias=x\0"
                           "TargetName=" IQN "2"));
    assert_int_equal(puppet_login_status(b), 0);
    target_stats(w.target, &st);
    assert_int_equal(st.sessions, 2);
    (void)ping(a);
    puppet_free(b);
    b = puppet_new(&w, 1);
    puppet_login_send(b, TO_FFP,
                      KEYS("InitiatorName=" INITIATOR "\0TargetName=iqn.2026-11.example:alias"));
    assert_int_equal(puppet_login_status(b), 0x0203);
    puppet_free(a);
    puppet_free(b);
    world_free(&w);
}

/* ---- numbering --------------------------------------------------------------------------------
 */

/* CSN-12, ERL-04: what comes again, while it runs or waits for its turn, runs once. */
static void
retries_run_once(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS("InitialR2T=Yes\0ImmediateData=No"));
    struct bhs_scsi_cmd h;
    uint8_t cdb[CDB_MAX];
    uint32_t itt, ttt, sn;

    itt = write_begun(p, &ttt);
    p->itt--;
    p->cmd_sn--;
    (void)cdb_write10(cdb, 0, 1, 0);
    assert_int_equal(puppet_cmd(p, 0, WR, cdb, LEN, NULL, 0), itt);
    puppet_expect_nothing(p); /* no second R2T, and no Reject */
    data_for(p, 0, itt, ttt);
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    puppet_expect_nothing(p);

    sn = p->cmd_sn++; /* the next one waits for this number */
    (void)cdb_test_unit_ready(cdb);
    for (unsigned i = 0; i < 3; i++) {
        p->itt = itt;
        p->cmd_sn = sn + 1;
        (void)puppet_cmd(p, 0, TUR, cdb, 0, NULL, 0);
    }
    puppet_expect_nothing(p);
    nop_out(p, 77, sn, false);
    (void)puppet_expect(p, ISCSI_OP_NOP_IN);
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    puppet_expect_nothing(p);
    assert_int_equal(get32(ping(p)->exp_cmd_sn), sn + 2);

    p->cmd_sn = sn + 2; /* an immediate one, which no number protects */
    bhs_init(&h, ISCSI_OP_SCSI_CMD | ISCSI_OP_IMMEDIATE, WR);
    h.itt = put32(++p->itt);
    h.cmd_sn = put32(p->cmd_sn);
    h.edtl = put32(LEN);
    (void)cdb_write10(cdb, 0, 1, 0);
    memcpy(h.cdb, cdb, sizeof(h.cdb));
    puppet_send(p, &h, NULL, 0);
    ttt = get32(puppet_expect(p, ISCSI_OP_R2T)->h.r2t.ttt);
    puppet_send(p, &h, NULL, 0);
    puppet_expect_nothing(p);
    data_for(p, 0, p->itt, ttt);
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    puppet_expect_nothing(p);
    puppet_free(p);
}

/* CSN-16, TM-08: a session learns of a window that another one's reset has opened by a NOP-In that
 * asks for nothing, and hears of no event that it has not agreed on (TaskReporting). */
static void
others_resets_are_told(void **state)
{
    static const uint8_t functions[] = {ISCSI_TMF_CLEAR_TASK_SET, ISCSI_TMF_LU_RESET,
                                        ISCSI_TMF_TARGET_WARM_RESET};
    const struct lu_config lun = {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1};
    const struct target_key_value set = {"QueueDepth", "2"};
    const struct target_node_config n = {
        .name = IQN, .luns = &lun, .luns_count = 1, .set = &set, .set_count = 1};

    (void)state;
    for (size_t i = 0; i < sizeof(functions); i++) {
        struct world w;
        struct puppet *p, *q;
        const struct bhs_nop_in *h;
        uint32_t itt[2], ttt[2], stat_sn;

        world_new(&w, &n, 1);
        p = puppet_new(&w, 1);
        assert_int_equal(puppet_login(p, KEYS("InitialR2T=Yes\0ImmediateData=No")), 0);
        assert_int_equal(ready(p, NULL), SCSI_CHECK_CONDITION);
        q = puppet_new(&w, 2);
        assert_int_equal(puppet_login(q, KEYS("")), 0);
        for (unsigned k = 0; k < 2; k++)
            itt[k] = write_begun(p, &ttt[k]);
        stat_sn = get32(p->rx.h.r2t.stat_sn);
        assert_int_equal(get32(p->rx.h.r2t.max_cmd_sn), p->cmd_sn - 1); /* closed */
        tmf_send(q, functions[i], ISCSI_TAG_RSVD, 0);
        assert_int_equal(tmf_response(q), ISCSI_TMF_RSP_COMPLETE);
        h = &puppet_expect(p, ISCSI_OP_NOP_IN)->h.nop_in;
        assert_int_equal(get32(h->itt), ISCSI_TAG_RSVD);
        assert_int_equal(get32(h->ttt), ISCSI_TAG_RSVD);
        assert_int_equal(p->rx.len, 0);
        assert_int_equal(get32(h->stat_sn), stat_sn); /* SSN-03 */
        assert_true(get32(h->max_cmd_sn) - get32(h->exp_cmd_sn) + 1 > 0);
        for (unsigned k = 0; k < 2; k++)
            data_for(p, 0, itt[k], ttt[k]);
        while (puppet_recv(p) == GOT_PDU) /* no status of the writes, and no Async Message */
            assert_int_equal(pdu_opcode(&p->rx.h.h), ISCSI_OP_NOP_IN);
        assert_memory_equal(world_memory(&w), zeros, LEN);
        assert_int_equal(get32(ping(p)->stat_sn), stat_sn);
        assert_int_equal(open_commands(p, 2), 0);
        puppet_free(p);
        puppet_free(q);
        world_free(&w);
    }
}

/* SSN-02: from the first Login Response on, each takes one number. */
static void
stat_sn_of_a_login(void **state)
{
    struct puppet *p = puppet_new(*state, 1);
    uint32_t first;

    puppet_login_send(p, OPER, KEYS(NAMES));
    assert_int_equal(puppet_login_status(p), 0);
    first = get32(p->rx.h.login_rsp.stat_sn);
    puppet_login_send(p, OPER, KEYS("MaxBurstLength=512"));
    assert_int_equal(puppet_login_status(p), 0);
    assert_int_equal(get32(p->rx.h.login_rsp.stat_sn), first + 1);
    puppet_login_send(p, TO_FFP, NULL, 0);
    assert_int_equal(puppet_login_status(p), 0);
    assert_int_equal(get32(p->rx.h.login_rsp.stat_sn), first + 2);
    assert_int_equal(get32(ping(p)->stat_sn), first + 3);
    puppet_free(p);
}

/* What came must be of that opcode and have the number that is due; numbered: and take it. */
static const struct pdu *
has_number(struct puppet *p, uint8_t opcode, uint32_t *stat_sn, bool numbered)
{
    const struct pdu *r = puppet_expect(p, opcode);

    assert_int_equal(get32(r->h.nop_in.stat_sn), *stat_sn); /* the same place in all of them */
    *stat_sn += numbered;
    return r;
}

static void
stopped(void *user)
{
    (void)user;
}

/* SSN-03, SSN-04, DSN-01, DSN-08: what takes a StatSN, and what does not. */
static void
what_takes_a_stat_sn(void **state)
{
    struct puppet *p =
        puppet_session(*state, KEYS("InitialR2T=Yes\0ImmediateData=No\0MaxRecvDataSegmentLength=512"
                                    "\0MaxBurstLength=1024"));
    uint8_t cdb[CDB_MAX];
    uint32_t sn = get32(ping(p)->stat_sn) + 1, itt, ttt;
    struct bhs_text_req text;
    union bhs_any h;
    const struct pdu *r;

    (void)cdb_write10(cdb, 0, 1, 0);
    itt = puppet_cmd(p, 0, WR, cdb, LEN, NULL, 0);
    ttt = get32(has_number(p, ISCSI_OP_R2T, &sn, false)->h.r2t.ttt);
    data_for(p, 0, itt, ttt);
    r = has_number(p, ISCSI_OP_SCSI_RSP, &sn, true);
    assert_int_equal(get32(r->h.scsi_rsp.exp_data_sn), 0);

    (void)cdb_read10(cdb, 0, 6, 0);
    (void)puppet_cmd(p, 0, RD, cdb, 6 * LEN, NULL, 0);
    for (uint32_t i = 0; i < 6; i++) {
        r = puppet_expect(p, ISCSI_OP_DATA_IN);
        assert_int_equal(get32(r->h.data_in.data_sn), i);
        assert_int_equal(!!(r->h.data_in.flags & ISCSI_FLAG_FINAL), i % 2);
        assert_int_equal(!!(r->h.data_in.flags & ISCSI_DATA_IN_STATUS), i == 5);
        if (i == 5)
            assert_int_equal(get32(r->h.data_in.stat_sn), sn++);
    }
    (void)cdb_read10(cdb, 0x7fffffff, 1, 0); /* fails before any Data-In */
    (void)puppet_cmd(p, 0, RD, cdb, LEN, NULL, 0);
    r = has_number(p, ISCSI_OP_SCSI_RSP, &sn, true);
    assert_int_equal(r->h.scsi_rsp.status, SCSI_CHECK_CONDITION);
    assert_int_equal(get32(r->h.scsi_rsp.exp_data_sn), 0);

    nop_out(p, ++p->itt, p->cmd_sn++, false);
    (void)has_number(p, ISCSI_OP_NOP_IN, &sn, true);
    tmf_send(p, ISCSI_TMF_ABORT_TASK, 0x9999, p->cmd_sn - 1);
    (void)has_number(p, ISCSI_OP_TMF_RSP, &sn, true);
    bhs_init(&h, 0x1f, ISCSI_FLAG_FINAL);
    puppet_send(p, &h, NULL, 0);
    (void)has_number(p, ISCSI_OP_REJECT, &sn, true);
    bhs_init(&text, ISCSI_OP_TEXT_REQ, ISCSI_FLAG_FINAL);
    text.itt = put32(++p->itt);
    text.ttt = put32(ISCSI_TAG_RSVD);
    text.cmd_sn = put32(p->cmd_sn++);
    puppet_send(p, &text, KEYS("SendTargets="));
    (void)has_number(p, ISCSI_OP_TEXT_RSP, &sn, true);
    target_stop(p->w->target, stopped, NULL);
    (void)has_number(p, ISCSI_OP_ASYNC, &sn, true);
    bhs_init(&h, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    puppet_send(p, &h, NULL, 0);
    (void)has_number(p, ISCSI_OP_LOGOUT_RSP, &sn, true);
    puppet_expect_close(p);
    puppet_free(p);
}

/* ---- tasks and what ends them ------------------------------------------------------------------
 */

/* ID-13: a task's data counts on its own connection only, and its answers come there. */
static void
tasks_keep_to_their_connection(void **state)
{
    struct puppet *a = puppet_session(*state, KEYS(TWO)), *b = joined(a, 1);
    uint32_t itt, ttt;

    itt = write_begun(a, &ttt);
    puppet_expect_nothing(b);
    data_for(b, 0, itt, ttt);
    expect_only_notices(b);
    puppet_expect_nothing(a);
    assert_memory_equal(world_memory(*state), zeros, LEN);
    data_for(a, 0, itt, ttt);
    assert_int_equal(puppet_status(a, NULL, NULL, NULL), SCSI_GOOD);
    puppet_expect_nothing(b);
    assert_memory_equal(world_memory(*state), fill, LEN);
    puppet_free(a);
    puppet_free(b);
}

/* TMF-07: a function that waits is no task for ABORT TASK, nor for TASK REASSIGN, where there is
 * that. */
static void
functions_are_not_aborted(void **state)
{
    static const struct lu_config luns[2] = {
        {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1},
        {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1},
    };
    static const struct target_key_value set = {"ErrorRecoveryLevel", "2"};
    static const char keys[] = "InitialR2T=Yes\0ImmediateData=No\0ErrorRecoveryLevel=2";

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        const struct target_node_config n = {
            .name = IQN, .luns = luns, .luns_count = 2, .set = &set, .set_count = i};
        struct world w;
        struct puppet *p;
        uint32_t itt, ttt, reset;

        world_new(&w, &n, 1);
        p = puppet_session(&w, keys, sizeof(keys));
        itt = write_begun(p, &ttt);
        tmf_send(p, ISCSI_TMF_LU_RESET, ISCSI_TAG_RSVD, 0); /* waits for that data */
        reset = p->itt;
        tmf_send(p, ISCSI_TMF_ABORT_TASK, reset, p->cmd_sn);
        assert_int_equal(tmf_response(p), ISCSI_TMF_RSP_REJECTED);
        assert_int_equal(get32(p->rx.h.tmf_rsp.itt), p->itt);
        tmf_send(p, ISCSI_TMF_TASK_REASSIGN, reset, 0);
        assert_int_equal(tmf_response(p),
                         i == 0 ? ISCSI_TMF_RSP_REASSIGN_UNSUPPORTED : ISCSI_TMF_RSP_REJECTED);
        data_for(p, 0, itt, ttt);
        assert_int_equal(tmf_response(p), ISCSI_TMF_RSP_COMPLETE); /* the reset's own */
        assert_int_equal(get32(p->rx.h.tmf_rsp.itt), reset);
        puppet_free(p);
        world_free(&w);
    }
}

/* ERL-16: what was immediate ends with its connection, and nobody hears of it. */
static void
immediate_requests_go_with_their_connection(void **state)
{
    struct puppet *a = puppet_session(*state, KEYS(TWO)), *b = joined(a, 1);
    uint32_t depth = window_of(a), itt, ttt;
    struct bhs_scsi_cmd h;
    struct scsi_sense s = {0};
    uint8_t cdb[CDB_MAX];

    itt = write_begun(a, &ttt);
    bhs_init(&h, ISCSI_OP_SCSI_CMD | ISCSI_OP_IMMEDIATE, WR);
    h.itt = put32(++b->itt);
    h.cmd_sn = put32(a->cmd_sn);
    h.edtl = put32(LEN);
    (void)cdb_write10(cdb, 0, 1, 0);
    memcpy(h.cdb, cdb, sizeof(h.cdb));
    puppet_send(b, &h, NULL, 0);
    (void)puppet_expect(b, ISCSI_OP_R2T);
    b->cmd_sn = a->cmd_sn;
    tmf_send(b, ISCSI_TMF_LU_RESET, ISCSI_TAG_RSVD, 0); /* waits for the data of both */
    puppet_expect_nothing(b);
    puppet_free(b);
    data_for(a, 0, itt, ttt);
    expect_only_notices(a); /* the reset had taken the write of a; its answer goes nowhere */
    assert_int_equal(ready(a, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(open_commands(a, depth), 0);
    while (ready(a, &s) != SCSI_GOOD)
        ;
    puppet_free(a);
}

/* A write to a unit whose data has been asked for. */
static void
write_to(struct puppet *p, uint64_t lun, uint32_t *ret_itt, uint32_t *ret_ttt)
{
    uint8_t cdb[CDB_MAX];

    (void)cdb_write10(cdb, 0, 1, 0);
    *ret_itt = puppet_cmd(p, lun, WR, cdb, lun == 0 ? LEN : 4096, NULL, 0);
    *ret_ttt = get32(puppet_expect(p, ISCSI_OP_R2T)->h.r2t.ttt);
}

/* TM-01: which tasks each function ends: of the unit or of all units, of the session or of all. */
static void
functions_and_whom_they_concern(void **state)
{
    static const struct {
        uint8_t function;
        bool others; /* also tasks of the other initiator */
        bool units;  /* also tasks of the other unit */
    } rows[] = {
        {ISCSI_TMF_ABORT_TASK_SET, false, false},
        {ISCSI_TMF_CLEAR_TASK_SET, true, false},
        {ISCSI_TMF_LU_RESET, true, false},
        {ISCSI_TMF_TARGET_WARM_RESET, true, true},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct puppet *p[2] = {puppet_session(w, KEYS("InitialR2T=Yes\0ImmediateData=No")),
                               puppet_new(w, 2)};
        uint32_t itt[2][2], ttt[2][2];
        static const uint8_t block[4096];

        assert_int_equal(puppet_login(p[1], KEYS("InitialR2T=Yes\0ImmediateData=No")), 0);
        puppet_clear_ua(p[1]);
        for (unsigned k = 0; k < 2; k++) {
            for (unsigned lun = 0; lun < 2; lun++)
                write_to(p[k], lun, &itt[k][lun], &ttt[k][lun]);
        }
        tmf_send(p[0], rows[i].function, ISCSI_TAG_RSVD, 0);
        for (unsigned lun = 0; lun < 2; lun++) { /* its own tasks' data is waited for */
            struct bhs_data_out h;

            bhs_init(&h, ISCSI_OP_DATA_OUT, ISCSI_FLAG_FINAL);
            lun_store(h.lun, lun_from_number(lun));
            h.itt = put32(itt[0][lun]);
            h.ttt = put32(ttt[0][lun]);
            if (lun == 0 || rows[i].units) {
                assert_int_equal(puppet_recv(p[0]), GOT_NOTHING);
                puppet_send(p[0], &h, block, lun == 0 ? LEN : 4096);
            }
        }
        assert_int_equal(tmf_response(p[0]), ISCSI_TMF_RSP_COMPLETE);
        for (unsigned k = 0; k < 2; k++) {
            for (unsigned lun = 0; lun < 2; lun++) {
                bool gone = (k == 0 || rows[i].others) && (lun == 0 || rows[i].units);
                bool answered = false;
                struct bhs_data_out h;

                bhs_init(&h, ISCSI_OP_DATA_OUT, ISCSI_FLAG_FINAL);
                lun_store(h.lun, lun_from_number(lun));
                h.itt = put32(itt[k][lun]);
                h.ttt = put32(ttt[k][lun]);
                puppet_send(p[k], &h, block, lun == 0 ? LEN : 4096);
                while (puppet_recv(p[k]) == GOT_PDU)
                    answered |= pdu_opcode(&p[k]->rx.h.h) == ISCSI_OP_SCSI_RSP;
                if (answered == gone)
                    fail_msg("function %u: the task of initiator %u, unit %u is %s",
                             rows[i].function, k, lun, gone ? "alive" : "gone");
            }
        }
        puppet_free(p[0]);
        puppet_free(p[1]);
    }
}

/* CSN-19: a function that is immediate ends what was sent before it, by its CmdSN, and no more. */
static void
functions_spare_what_comes_after(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS("InitialR2T=Yes\0ImmediateData=No"));
    uint32_t itt[2], ttt[2];

    for (unsigned i = 0; i < 2; i++)
        itt[i] = write_begun(p, &ttt[i]);
    p->cmd_sn--; /* it was made between the two, and comes late */
    tmf_send(p, ISCSI_TMF_ABORT_TASK_SET, ISCSI_TAG_RSVD, 0);
    p->cmd_sn++;
    data_for(p, 0, itt[0], ttt[0]);
    assert_int_equal(tmf_response(p), ISCSI_TMF_RSP_COMPLETE);
    puppet_expect_nothing(p);
    data_for(p, 0, itt[1], ttt[1]);
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    assert_int_equal(get32(p->rx.h.scsi_rsp.itt), itt[1]);
    puppet_free(p);
}

/* CSN-13, CSN-14: there is a bound on immediate commands and on functions that wait, and behind it
 * a ping, an abort and, when one has ended, the next command still go through. */
static void
immediate_requests_have_a_bound(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS("InitialR2T=Yes\0ImmediateData=No"));
    struct bhs_scsi_cmd h;
    uint8_t cdb[CDB_MAX];
    uint32_t itt = 0, ttt = 0, resets = 0;
    unsigned n;

    (void)cdb_write10(cdb, 0, 1, 0);
    for (n = 0; n < 100; n++) {
        bhs_init(&h, ISCSI_OP_SCSI_CMD | ISCSI_OP_IMMEDIATE, WR);
        h.itt = put32(++p->itt);
        h.cmd_sn = put32(p->cmd_sn);
        h.edtl = put32(LEN);
        memcpy(h.cdb, cdb, sizeof(h.cdb));
        puppet_send(p, &h, NULL, 0);
        assert_int_equal(puppet_recv(p), GOT_PDU);
        if (pdu_opcode(&p->rx.h.h) != ISCSI_OP_R2T)
            break;
        itt = p->itt;
        ttt = get32(p->rx.h.r2t.ttt);
    }
    assert_true(n >= 1 && n < 100);
    assert_int_equal(pdu_opcode(&p->rx.h.h), ISCSI_OP_REJECT);
    assert_int_equal(p->rx.h.reject.reason, ISCSI_REJECT_TOO_MANY_IMMEDIATE);
    (void)ping(p);
    tmf_send(p, ISCSI_TMF_ABORT_TASK, itt - 1, p->cmd_sn);
    assert_int_equal(tmf_response(p), n > 1 ? ISCSI_TMF_RSP_COMPLETE : ISCSI_TMF_RSP_NO_TASK);
    data_for(p, 0, itt, ttt);
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    puppet_send(p, &h, NULL, 0); /* what was rejected may be sent again */
    (void)puppet_expect(p, ISCSI_OP_R2T);
    p->cmd_sn++;
    for (;;) { /* functions that wait for the request that is missing */
        tmf_send(p, ISCSI_TMF_LU_RESET, ISCSI_TAG_RSVD, 0);
        if (puppet_recv(p) == GOT_PDU)
            break;
        assert_true(++resets < 100);
    }
    assert_true(resets >= 1);
    assert_int_equal(pdu_opcode(&p->rx.h.h), ISCSI_OP_REJECT);
    assert_int_equal(p->rx.h.reject.reason, ISCSI_REJECT_TOO_MANY_IMMEDIATE);
    (void)ping(p);
    puppet_free(p);
}

/* ---- FSM-06: what each event clears -------------------------------------------------------------
 */

enum event {
    CONNECTION_FAILS,
    CONNECTION_LOGS_OUT,
    LOGGED_OUT_BY_ANOTHER,
    CONNECTION_REINSTATED,
    SESSION_LOGS_OUT,
    SESSION_REINSTATED,
    LU_RESET,
    WARM_RESET,
    COLD_RESET,
};

/* Tasks of the connection b that the event is about, and of a, which is of the same session. */
static const struct clears {
    enum event event;
    bool closes_a, closes_b; /* connections */
    bool a_gone;             /* the tasks of a */
    bool waits;              /* until the data of the cleared tasks has come */
} clears[] = {
    {CONNECTION_FAILS, .closes_b = true},
    {CONNECTION_LOGS_OUT, .closes_b = true},
    {LOGGED_OUT_BY_ANOTHER, .closes_b = true},
    {CONNECTION_REINSTATED, .closes_b = true},
    {SESSION_LOGS_OUT, .closes_a = true, .closes_b = true, .a_gone = true},
    {SESSION_REINSTATED, .closes_a = true, .closes_b = true, .a_gone = true},
    {LU_RESET, .a_gone = true, .waits = true},
    {WARM_RESET, .a_gone = true, .waits = true},
    {COLD_RESET, .closes_a = true, .closes_b = true, .a_gone = true},
};

static void
logout(struct puppet *p, uint8_t reason, uint16_t cid)
{
    struct bhs_logout_req h;

    bhs_init(&h, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE, (uint8_t)(ISCSI_FLAG_FINAL | reason));
    h.itt = put32(++p->itt);
    h.cid = put16(cid);
    h.cmd_sn = put32(p->cmd_sn);
    puppet_send(p, &h, NULL, 0);
    assert_int_equal(puppet_expect(p, ISCSI_OP_LOGOUT_RSP)->h.logout_rsp.response,
                     ISCSI_LOGOUT_RSP_OK);
}

/* Another puppet, if the event brings one. */
static struct puppet *
happen(const struct clears *c, struct puppet *a, struct puppet *b)
{
    struct puppet *q = NULL;

    switch (c->event) {
    case CONNECTION_FAILS:
        (void)shutdown(b->fd, SHUT_WR);
        break;
    case CONNECTION_LOGS_OUT:
        logout(b, ISCSI_LOGOUT_CLOSE_CONNECTION, b->cid);
        break;
    case LOGGED_OUT_BY_ANOTHER:
        logout(a, ISCSI_LOGOUT_CLOSE_CONNECTION, b->cid);
        break;
    case CONNECTION_REINSTATED:
        q = joined(a, b->cid);
        break;
    case SESSION_LOGS_OUT:
        logout(a, ISCSI_LOGOUT_CLOSE_SESSION, 0);
        break;
    case SESSION_REINSTATED:
        q = puppet_new(a->w, a->isid[5]);
        assert_int_equal(puppet_login(q, KEYS(TWO)), 0);
        assert_int_not_equal(q->tsih, a->tsih);
        break;
    case LU_RESET:
        tmf_send(a, ISCSI_TMF_LU_RESET, ISCSI_TAG_RSVD, 0);
        break;
    case WARM_RESET:
        tmf_send(a, ISCSI_TMF_TARGET_WARM_RESET, ISCSI_TAG_RSVD, 0);
        break;
    case COLD_RESET:
        tmf_send(a, ISCSI_TMF_TARGET_COLD_RESET, ISCSI_TAG_RSVD, 0);
        break;
    }
    return q;
}

/* Of a command that waits for its turn, of which the rest of the data never comes. */
static void
held_with_data(struct puppet *p)
{
    uint8_t cdb[CDB_MAX];

    (void)cdb_write10(cdb, 8, 8, 0);
    p->cmd_sn++; /* is missing */
    (void)puppet_cmd(p, 0, WR, cdb, sizeof(fill), NULL, 0);
}

/* TEST UNIT READY on p: where its answer tells of a reset, all that has come on the other
 * connection is to be acknowledged before (4.2.2.3.3), and then the answer itself. */
static uint8_t
ready_past_fence(struct puppet *p, struct puppet *other)
{
    uint8_t cdb[CDB_MAX], status;

    (void)cdb_test_unit_ready(cdb);
    (void)puppet_cmd(p, 0, TUR, cdb, 0, NULL, 0);
    if (other != NULL) {
        expect_only_notices(other);
        acknowledge(other);
    }
    status = expect_past_notices(p, ISCSI_OP_SCSI_RSP)->h.scsi_rsp.status;
    if (other != NULL) {
        expect_only_notices(p);
        acknowledge(p);
    }
    return status;
}

static void
one_event(const struct clears *c, struct world *w)
{
    struct puppet *a = puppet_session(w, KEYS(TWO)), *b = joined(a, 1), *q;
    uint32_t depth = window_of(a), itt_a, itt_b, ttt_a, ttt_b, sn;
    static const uint8_t half[20] = {0};

    itt_a = write_begun(a, &ttt_a);
    b->cmd_sn = a->cmd_sn;
    itt_b = write_begun(b, &ttt_b);
    a->cmd_sn = sn = b->cmd_sn;
    assert_int_equal(open_commands(a, depth), 2);
    if (c->closes_b)
        held_with_data(b);
    q = happen(c, a, b);
    if (c->waits) { /* TTTs are good until their data has come */
        expect_only_notices(a);
        data_for(a, 0, itt_a, ttt_a);
        expect_only_notices(a);
        data_for(b, 0, itt_b, ttt_b);
        acknowledge(a);
        acknowledge(b);
        assert_int_equal(tmf_response(a), ISCSI_TMF_RSP_COMPLETE);
        acknowledge(a);
        expect_only_notices(b);
    }
    if (c->event == COLD_RESET) { /* the data of b has lost its connection */
        expect_only_notices(a);
        data_for(a, 0, itt_a, ttt_a);
        assert_int_equal(tmf_response(a), ISCSI_TMF_RSP_COMPLETE);
    }
    if (c->closes_b) {
        puppet_send_raw(b, half, sizeof(half)); /* a PDU that will never be whole */
        puppet_expect_close(b);
    }
    if (c->closes_a) {
        puppet_expect_close(a);
    } else {
        /* The session's numbers go on, and what the event did not clear still runs. */
        assert_int_equal(get32(ping(a)->exp_cmd_sn), sn);
        assert_int_equal(open_commands(a, depth), c->a_gone ? 0 : 1);
        if (!c->a_gone) {
            data_for(a, 0, itt_a, ttt_a);
            assert_int_equal(puppet_status(a, NULL, NULL, NULL), SCSI_GOOD);
        }
        while (ready_past_fence(a, c->closes_b ? NULL : b) != SCSI_GOOD)
            ; /* attentions; what b held back took no number */
    }
    if (q != NULL && c->closes_a) { /* a new session begins with numbers and a window of its own */
        puppet_clear_ua(q);
        assert_int_equal(get32(ping(q)->exp_cmd_sn), q->cmd_sn);
        assert_int_equal(open_commands(q, depth), 0);
    }
    if (q != NULL && !c->closes_a) { /* as a new connection does not */
        q->cmd_sn = a->cmd_sn;
        q->itt = itt_b;
        data_for(q, 0, itt_b, ttt_b); /* the task of its predecessor is gone */
        expect_only_notices(q);
        assert_int_equal(ready(q, NULL), SCSI_GOOD);
    }
    assert_memory_equal(world_memory(w) + 8 * LEN, zeros, sizeof(zeros));
    if (q != NULL)
        puppet_free(q);
    puppet_free(a);
    puppet_free(b);
}

static void
events_clear_what_they_should(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(clears) / sizeof(clears[0]); i++) {
        struct target_stats st;
        struct world w;

        world_new(&w, NULL, 0);
        one_event(&clears[i], &w);
        target_stats(w.target, &st);
        assert_int_equal(st.sessions, 0);
        world_free(&w);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(login_keeps_its_first_header, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(discovery_sessions, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(names_are_given_once, world_setup, world_teardown),
        cmocka_unit_test(aliases_name_nobody),
        cmocka_unit_test_setup_teardown(retries_run_once, world_setup, world_teardown),
        cmocka_unit_test(others_resets_are_told),
        cmocka_unit_test_setup_teardown(stat_sn_of_a_login, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(what_takes_a_stat_sn, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(tasks_keep_to_their_connection, world_setup,
                                        world_teardown),
        cmocka_unit_test(functions_are_not_aborted),
        cmocka_unit_test_setup_teardown(immediate_requests_go_with_their_connection, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(functions_and_whom_they_concern, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(functions_spare_what_comes_after, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(immediate_requests_have_a_bound, world_setup,
                                        world_teardown),
        cmocka_unit_test(events_clear_what_they_should),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
