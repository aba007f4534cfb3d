/* SPDX-License-Identifier: MIT */
/* Full feature phase as a scripted initiator sees it: numbering, data, residuals, task management,
 * digests, rejects (RFC 7143 4.2.2, 4.2.5, 7.8, 11). */
#include "tests/unit/target/puppet.h"

#include <stdio.h>

#include <stdlib.h>
#include <string.h>

#include "wire/lun.h"

static uint8_t pattern[DATA_MAX];

static int
setup(void **state)
{
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)(i * 7 + i / 512);
    return world_setup(state);
}

/* A Data-Out PDU. */
static void
data_out(struct puppet *p, uint32_t itt, uint32_t ttt, uint32_t sn, uint32_t off, uint32_t len,
         bool final)
{
    struct bhs_data_out h;

    bhs_init(&h, ISCSI_OP_DATA_OUT, final ? ISCSI_FLAG_FINAL : 0);
    h.itt = put32(itt);
    h.ttt = put32(ttt);
    h.data_sn = put32(sn);
    h.offset = put32(off);
    puppet_send(p, &h, pattern + off, len);
}

/* RFC7143-11.4.5: what the CDB moves against what the initiator expects. */
static void
residuals(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS(""));
    static const struct {
        uint16_t blocks;
        uint32_t edtl, got;
        uint8_t flags;
        uint32_t residual;
    } rows[] = {
        {1, 512, 512, 0, 0},
        {1, 0, 0, ISCSI_RSP_OVERFLOW, 512},
        {1, 200, 200, ISCSI_RSP_OVERFLOW, 312},
        {2, 512, 512, ISCSI_RSP_OVERFLOW, 512},
        {1, 10000, 512, ISCSI_RSP_UNDERFLOW, 9488},
        {0, 512, 0, ISCSI_RSP_UNDERFLOW, 512},
    };
    uint8_t cdb[CDB_MAX], buf[10000];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t got = 0;

        (void)cdb_read10(cdb, 0, rows[i].blocks, 0);
        (void)puppet_cmd(p, 0, RD, cdb, rows[i].edtl, NULL, 0);
        assert_int_equal(puppet_status(p, buf, &got, NULL), SCSI_GOOD);
        assert_int_equal(got, rows[i].got);
        assert_int_equal(p->rx.h.h.flags & 0x06, rows[i].flags);
        /* at the same place in Data-In and SCSI Response */
        assert_int_equal(get32(p->rx.h.scsi_rsp.residual), rows[i].residual);
    }
    (void)cdb_inquiry(cdb, 16); /* truncation by ALLOCATION LENGTH is no overflow */
    (void)puppet_cmd(p, 0, RD, cdb, 255, NULL, 0);
    assert_int_equal(puppet_status(p, buf, NULL, NULL), SCSI_GOOD);
    assert_int_equal(get32(p->rx.h.scsi_rsp.residual), 239);
    puppet_free(p);
}

/* Does one write as the answers of the target demand; at most `immediate` bytes go along, and the
 * unsolicited burst is of `first` bytes if there is one.  Checks R2Ts. */
static void
one_write(struct puppet *p, uint32_t len, uint32_t immediate, uint32_t first, uint32_t burst,
          unsigned out_max)
{
    uint8_t cdb[CDB_MAX];
    uint32_t sent = immediate, itt, r2t_sn = 0, asked;
    bool unsolicited = first > immediate;

    (void)cdb_write10(cdb, 0, (uint16_t)(len / 512), 0);
    itt = puppet_cmd(p, 0, unsolicited ? ISCSI_CMD_WRITE : WR, cdb, len, pattern, immediate);
    for (uint32_t sn = 0; unsolicited && sent < first; sn++) {
        uint32_t n = first - sent < 700 ? first - sent : 700;

        data_out(p, itt, ISCSI_TAG_RSVD, sn, sent, n, sent + n == first);
        sent += n;
    }
    asked = sent;
    while (sent < len) {
        struct pdu *r = puppet_expect(p, ISCSI_OP_R2T);
        uint32_t n = get32(r->h.r2t.desired_len), ttt = get32(r->h.r2t.ttt);

        assert_int_equal(get32(r->h.r2t.r2t_sn), r2t_sn++);
        assert_int_equal(get32(r->h.r2t.offset), asked);
        assert_true(n > 0 && n <= burst && asked + n <= len);
        assert_true(ttt != ISCSI_TAG_RSVD);
        assert_true((asked - sent) / burst < out_max);
        asked += n;
        for (uint32_t at = 0, sn = 0; at < n; sn++) {
            uint32_t k = n - at < 1000 ? n - at : 1000;

            data_out(p, itt, ttt, sn, sent + at, k, at + k == n);
            at += k;
        }
        sent += n;
    }
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    assert_int_equal(p->rx.h.h.flags & 0x06, 0);
    assert_memory_equal(world_memory(p->w), pattern, len);
}

/* RFC7143-13.11: the four regimes of InitialR2T and ImmediateData. */
static void
write_regimes(void **state)
{
    static const char *const yes_no[] = {"Yes", "No"};

    for (unsigned i = 0; i < 4; i++) {
        bool r2t = !(i & 1), imm = !(i & 2);
        char mem[512];
        struct text_buf b;
        struct puppet *p;

        text_buf_init(&b, mem, sizeof(mem));
        assert_int_equal(text_put(&b, "InitialR2T", yes_no[i & 1]), 0);
        assert_int_equal(text_put(&b, "ImmediateData", yes_no[i >> 1]), 0);
        assert_int_equal(text_put_num(&b, "MaxBurstLength", 8192), 0);
        assert_int_equal(text_put_num(&b, "FirstBurstLength", 4096), 0);
        assert_int_equal(text_put_num(&b, "MaxOutstandingR2T", 3), 0);
        p = puppet_session(*state, b.buf, b.len);
        for (uint32_t len = 512; len <= 65536; len = len * 3 / 512 * 512) {
            uint32_t first = len < 4096 ? len : 4096;

            pattern[0]++;
            one_write(p, len, imm ? 512 : 0, r2t ? 0 : first, 8192, 3);
            one_write(p, len, 0, 0, 8192, 3);
            one_write(p, len, imm ? first : 0, 0, 8192, 3);
        }
        puppet_free(p);
    }
}

/* RFC7143-11.4.7.2: data that nobody wanted, or not that much. */
static void
bad_unsolicited(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS("InitialR2T=Yes\0ImmediateData=No"));
    struct scsi_sense s = {0};
    uint8_t cdb[CDB_MAX];
    uint32_t itt;

    (void)cdb_write10(cdb, 0, 2, 0);
    (void)puppet_cmd(p, 0, WR, cdb, 1024, pattern, 512);
    assert_int_equal(puppet_status(p, NULL, NULL, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(s.key << 16 | sense_code(&s), 0x0b0c0c);
    itt = puppet_cmd(p, 0, ISCSI_CMD_WRITE, cdb, 1024, NULL, 0);
    puppet_expect_nothing(p); /* the answer waits for F */
    data_out(p, itt, ISCSI_TAG_RSVD, 0, 0, 1024, true);
    assert_int_equal(puppet_status(p, NULL, NULL, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(s.key << 16 | sense_code(&s), 0x0b0c0c);
    puppet_free(p);

    p = puppet_session(*state, KEYS("InitialR2T=No\0FirstBurstLength=4096"));
    (void)cdb_write10(cdb, 0, 16, 0);
    itt = puppet_cmd(p, 0, ISCSI_CMD_WRITE, cdb, 8192, NULL, 0);
    data_out(p, itt, ISCSI_TAG_RSVD, 0, 0, 1024, true); /* less than the first burst */
    assert_int_equal(puppet_status(p, NULL, NULL, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(s.key << 16 | sense_code(&s), 0x0b0c0d);
    itt = puppet_cmd(p, 0, ISCSI_CMD_WRITE, cdb, 8192, NULL, 0);
    data_out(p, itt, ISCSI_TAG_RSVD, 0, 512, 512, true); /* a gap */
    assert_int_equal(puppet_status(p, NULL, NULL, &s), SCSI_CHECK_CONDITION);
    itt = puppet_cmd(p, 0, ISCSI_CMD_WRITE, cdb, 8192, NULL, 0);
    data_out(p, itt, ISCSI_TAG_RSVD, 5, 0, 4096, true); /* DataSN 5 comes first */
    assert_int_equal(puppet_status(p, NULL, NULL, &s), SCSI_CHECK_CONDITION);
    data_out(p, 0xdead, 0xbeef, 0, 0, 512, true); /* for no task at all: dropped */
    puppet_expect_nothing(p);
    puppet_free(p);
}

/* RFC7143-11.4.2: an error is told when the data that was asked for has come. */
static void
error_with_data_under_way(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS("InitialR2T=No\0FirstBurstLength=4096"));
    struct scsi_sense s = {0};
    uint8_t cdb[CDB_MAX];
    uint32_t itt;

    (void)cdb_write10(cdb, 0x7fffffff, 8, 0);
    itt = puppet_cmd(p, 0, ISCSI_CMD_WRITE, cdb, 4096, NULL, 0);
    data_out(p, itt, ISCSI_TAG_RSVD, 0, 0, 1024, false);
    puppet_expect_nothing(p);
    data_out(p, itt, ISCSI_TAG_RSVD, 1, 1024, 3072, true);
    assert_int_equal(puppet_status(p, NULL, NULL, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(s.key << 16 | sense_code(&s), 0x052100);
    puppet_free(p);
}

static void
send_nop(struct puppet *p, uint32_t cmd_sn, bool immediate, const void *data, uint32_t len)
{
    struct bhs_nop_out h;

    bhs_init(&h, ISCSI_OP_NOP_OUT | (immediate ? ISCSI_OP_IMMEDIATE : 0), ISCSI_FLAG_FINAL);
    h.itt = put32(++p->itt);
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.cmd_sn = put32(cmd_sn);
    puppet_send(p, &h, data, len);
}

/* RFC7143-4.2.2.1: order over two connections, duplicates, the window. */
static void
ordering(void **state)
{
    struct puppet *a = puppet_session(*state, KEYS("MaxConnections=2")), *b = puppet_new(*state, 1);
    uint32_t sn, max;

    b->tsih = a->tsih;
    b->cid = 1;
    b->cmd_sn = sn = a->cmd_sn;
    assert_int_equal(puppet_login(b, KEYS("")), 0);
    send_nop(b, sn + 1, false, "b", 1); /* one too early */
    puppet_expect_nothing(b);
    send_nop(b, sn + 1, false, "b", 1); /* and again */
    send_nop(a, sn + 2, false, "c", 1);
    puppet_expect_nothing(a);
    send_nop(b, sn - 1, true, "i", 1); /* an immediate one does not wait */
    assert_memory_equal(puppet_expect(b, ISCSI_OP_NOP_IN)->data, "i", 1);
    assert_int_equal(get32(b->rx.h.nop_in.exp_cmd_sn), sn);
    send_nop(a, sn, false, "a", 1);
    assert_memory_equal(puppet_expect(a, ISCSI_OP_NOP_IN)->data, "a", 1);
    assert_memory_equal(puppet_expect(a, ISCSI_OP_NOP_IN)->data, "c", 1);
    assert_int_equal(get32(a->rx.h.nop_in.exp_cmd_sn), sn + 3);
    max = get32(a->rx.h.nop_in.max_cmd_sn);
    assert_memory_equal(puppet_expect(b, ISCSI_OP_NOP_IN)->data, "b", 1);
    puppet_expect_nothing(b);
    send_nop(a, sn + 1, false, "x", 1);  /* old */
    send_nop(a, max + 1, false, "x", 1); /* beyond the window */
    puppet_expect_nothing(a);
    puppet_free(a);
    puppet_free(b);
}

/* RFC7143-11.14.5 (LOUT-06): one of two connections goes with a write under way; the other is told.
 */
static void
lost_with_a_connection(void **state)
{
    struct puppet *a =
        puppet_session(*state, KEYS("MaxConnections=2\0InitialR2T=Yes\0ImmediateData=No"));
    struct puppet *b = puppet_new(*state, 1);
    struct scsi_sense s;
    uint8_t cdb[CDB_MAX];

    b->tsih = a->tsih;
    b->cid = 1;
    b->cmd_sn = a->cmd_sn;
    assert_int_equal(puppet_login(b, KEYS("")), 0);
    (void)cdb_write10(cdb, 0, 1, 0);
    (void)puppet_cmd(b, 0, WR, cdb, 512, NULL, 0);
    (void)puppet_expect(b, ISCSI_OP_R2T);
    a->cmd_sn = b->cmd_sn;
    puppet_free(b);
    (void)puppet_expect(a, ISCSI_OP_ASYNC);
    (void)cdb_test_unit_ready(cdb);
    (void)puppet_cmd(a, 0, ISCSI_FLAG_FINAL, cdb, 0, NULL, 0);
    assert_int_equal(puppet_status(a, NULL, NULL, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(s.key << 16 | sense_code(&s), 0x06477f);
    (void)puppet_cmd(a, 0, ISCSI_FLAG_FINAL, cdb, 0, NULL, 0);
    assert_int_equal(puppet_status(a, NULL, NULL, NULL), SCSI_GOOD);
    puppet_free(a);
}

/* Data for a request that waits for its turn and is no SCSI command goes nowhere. */
static void
data_for_held_request(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS("InitialR2T=No"));
    uint8_t cdb[CDB_MAX];
    uint32_t itt;

    send_nop(p, p->cmd_sn + 1, false, pattern, 512);
    data_out(p, p->itt, ISCSI_TAG_RSVD, 0, 512, 512, true);
    puppet_expect_nothing(p);
    send_nop(p, p->cmd_sn, false, NULL, 0);
    assert_int_equal(puppet_expect(p, ISCSI_OP_NOP_IN)->len, 0);
    assert_int_equal(puppet_expect(p, ISCSI_OP_NOP_IN)->len, 512);
    assert_memory_equal(p->rx.data, pattern, 512);
    p->cmd_sn += 3; /* a write that waits, with its data in two pieces behind it */
    (void)cdb_write10(cdb, 0, 4, 0);
    itt = puppet_cmd(p, 0, ISCSI_CMD_WRITE, cdb, 2048, pattern, 512);
    data_out(p, itt, ISCSI_TAG_RSVD, 0, 512, 512, false);
    puppet_expect_nothing(p);
    send_nop(p, p->cmd_sn - 2, false, NULL, 0);
    (void)puppet_expect(p, ISCSI_OP_NOP_IN);
    data_out(p, itt, ISCSI_TAG_RSVD, 1, 1024, 1024, true);
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    assert_memory_equal(world_memory(p->w), pattern, 2048);
    puppet_free(p);
}

/* Commands that wait for data close the window, immediate requests still pass. */
static void
window(void **state)
{
    const struct lu_config lun = {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1};
    const struct target_key_value set = {"QueueDepth", "2"};
    const struct target_node_config n = {
        .name = IQN, .luns = &lun, .luns_count = 1, .set = &set, .set_count = 1};
    struct world w;
    struct puppet *p;
    uint8_t cdb[CDB_MAX];
    uint32_t itt[2], ttt[2];

    (void)state;
    world_new(&w, &n, 1);
    p = puppet_new(&w, 1);
    assert_int_equal(puppet_login(p, KEYS("")), 0);
    (void)cdb_test_unit_ready(cdb);
    assert_int_equal(puppet_do(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, NULL), SCSI_CHECK_CONDITION);
    (void)cdb_write10(cdb, 0, 1, 0);
    for (int i = 0; i < 2; i++) {
        itt[i] = puppet_cmd(p, 0, WR, cdb, 512, NULL, 0);
        ttt[i] = get32(puppet_expect(p, ISCSI_OP_R2T)->h.r2t.ttt);
    }
    assert_int_equal(get32(p->rx.h.r2t.max_cmd_sn), get32(p->rx.h.r2t.exp_cmd_sn) - 1);
    send_nop(p, p->cmd_sn, false, "x", 1); /* closed */
    puppet_expect_nothing(p);
    send_nop(p, p->cmd_sn, true, "i", 1);
    assert_memory_equal(puppet_expect(p, ISCSI_OP_NOP_IN)->data, "i", 1);
    data_out(p, itt[1], ttt[1], 0, 0, 512, true);
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    assert_int_equal(get32(p->rx.h.scsi_rsp.max_cmd_sn), get32(p->rx.h.scsi_rsp.exp_cmd_sn));
    data_out(p, itt[0], ttt[0], 0, 0, 512, true);
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    puppet_free(p);
    world_free(&w);
}

static uint8_t
tmf(struct puppet *p, uint8_t function, uint32_t ref_tag, uint32_t ref_sn)
{
    struct bhs_tmf_req h;

    bhs_init(&h, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE, (uint8_t)(ISCSI_FLAG_FINAL | function));
    h.itt = put32(++p->itt);
    h.ref_tag = put32(ref_tag);
    h.ref_cmd_sn = put32(ref_sn);
    h.cmd_sn = put32(p->cmd_sn);
    puppet_send(p, &h, NULL, 0);
    return puppet_expect(p, ISCSI_OP_TMF_RSP)->h.tmf_rsp.response;
}

/* RFC7143-11.6.1 */
static void
task_management(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS("InitialR2T=Yes\0ImmediateData=No"));
    struct scsi_sense s = {0};
    uint8_t cdb[CDB_MAX];
    uint32_t itt, ttt;

    (void)cdb_write10(cdb, 0, 1, 0);
    itt = puppet_cmd(p, 0, WR, cdb, 512, NULL, 0);
    ttt = get32(puppet_expect(p, ISCSI_OP_R2T)->h.r2t.ttt);
    assert_int_equal(tmf(p, ISCSI_TMF_ABORT_TASK, itt, p->cmd_sn - 1), 0);
    data_out(p, itt, ttt, 0, 0, 512, true); /* too late: dropped */
    puppet_expect_nothing(p);
    assert_int_equal(tmf(p, ISCSI_TMF_ABORT_TASK, itt, p->cmd_sn - 1), 1);
    p->cmd_sn++; /* a command that never arrives, then its ABORT TASK */
    assert_int_equal(tmf(p, ISCSI_TMF_ABORT_TASK, 0x1234, p->cmd_sn - 1), 0);
    (void)cdb_test_unit_ready(cdb);
    assert_int_equal(puppet_do(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, NULL), SCSI_GOOD);
    assert_int_equal(tmf(p, ISCSI_TMF_TASK_REASSIGN, itt, 0), 4);
    assert_int_equal(tmf(p, ISCSI_TMF_QUERY_TASK, itt, 0), 5);
    (void)cdb_write10(cdb, 0, 1, 0);
    itt = puppet_cmd(p, 0, WR, cdb, 512, NULL, 0); /* a reset waits for what was asked for */
    ttt = get32(puppet_expect(p, ISCSI_OP_R2T)->h.r2t.ttt);
    {
        struct bhs_tmf_req h;

        bhs_init(&h, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | ISCSI_TMF_LU_RESET);
        h.itt = put32(++p->itt);
        h.ref_tag = put32(ISCSI_TAG_RSVD);
        h.cmd_sn = put32(p->cmd_sn);
        puppet_send(p, &h, NULL, 0);
    }
    puppet_expect_nothing(p);
    data_out(p, itt, ttt, 0, 0, 512, true);
    assert_int_equal(puppet_expect(p, ISCSI_OP_TMF_RSP)->h.tmf_rsp.response, 0);
    (void)cdb_test_unit_ready(cdb);
    assert_int_equal(puppet_do(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(s.key << 16 | sense_code(&s), 0x062903);
    puppet_free(p);
}

/* What is no request of an initiator, or not at this time. */
static void
rejects(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS(""));
    union bhs_any h;
    uint8_t cdb[CDB_MAX];

    bhs_init(&h, ISCSI_OP_SNACK_REQ, ISCSI_FLAG_FINAL);
    puppet_send(p, &h, NULL, 0);
    puppet_expect_reject(p, ISCSI_REJECT_PROTOCOL_ERROR);
    assert_memory_equal(p->rx.data, &h, ISCSI_BHS_LEN);
    bhs_init(&h, 0x1f, ISCSI_FLAG_FINAL);
    puppet_send(p, &h, NULL, 0);
    puppet_expect_reject(p, ISCSI_REJECT_UNSUPPORTED);
    (void)cdb_read10(cdb, 0, 1, 0);
    (void)puppet_cmd(p, 0, ISCSI_CMD_READ, cdb, 512, NULL, 0); /* neither F nor W */
    puppet_expect_reject(p, ISCSI_REJECT_INVALID_FIELD);
    p->cmd_sn--;                                                 /* it does not count as received */
    (void)puppet_cmd(p, 0, ISCSI_FLAG_FINAL, cdb, 512, NULL, 0); /* data in no direction */
    puppet_expect_reject(p, ISCSI_REJECT_INVALID_FIELD);
    p->cmd_sn--;
    (void)puppet_cmd(p, 0, RD | 6, cdb, 512, NULL, 0); /* a reserved attribute */
    puppet_expect_reject(p, ISCSI_REJECT_INVALID_FIELD);
    p->cmd_sn--;
    bhs_init(&h, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | 3);
    puppet_send(p, &h, NULL, 0);
    puppet_expect_reject(p, ISCSI_REJECT_INVALID_FIELD);
    bhs_init(&h, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | 1);
    h.logout_req.cid = put16(99);
    puppet_send(p, &h, NULL, 0);
    assert_int_equal(puppet_expect(p, ISCSI_OP_LOGOUT_RSP)->h.logout_rsp.response, 1);
    bhs_init(&h, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | 2);
    puppet_send(p, &h, NULL, 0);
    assert_int_equal(puppet_expect(p, ISCSI_OP_LOGOUT_RSP)->h.logout_rsp.response, 2);
    puppet_clear_ua(p); /* all is well */
    bhs_init(&h, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE, 0);
    puppet_send(p, &h, NULL, 0);
    puppet_expect_reject(p, ISCSI_REJECT_PROTOCOL_ERROR);
    puppet_expect_close(p);
    puppet_free(p);
}

/* RFC7143-7.8 */
static void
digest_errors(void **state)
{
    struct puppet *p =
        puppet_session(*state, KEYS("DataDigest=CRC32C\0HeaderDigest=CRC32C\0InitialR2T=No"));
    uint8_t cdb[CDB_MAX], bad[ISCSI_BHS_LEN + 4 + 4 + 4] = {0};
    struct bhs_data_out *d = (struct bhs_data_out *)(void *)bad;
    struct scsi_sense s = {0};
    uint32_t itt;

    one_write(p, 65536, 512, 0, 1 << 20, 16);
    one_write(p, 65536, 0, 65536, 1 << 20, 16);
    (void)cdb_write10(cdb, 0, 1, 0);
    itt = puppet_cmd(p, 0, ISCSI_CMD_WRITE, cdb, 512, NULL, 0);
    bhs_init(d, ISCSI_OP_DATA_OUT, ISCSI_FLAG_FINAL);
    d->itt = put32(itt);
    d->ttt = put32(ISCSI_TAG_RSVD);
    d->dseg_len = put24(4);
    pdu_header_digest(bad, ISCSI_BHS_LEN, bad + ISCSI_BHS_LEN);
    puppet_send_raw(p, bad, sizeof(bad)); /* a data digest of 0 */
    puppet_expect_reject(p, ISCSI_REJECT_DATA_DIGEST);
    assert_int_equal(puppet_status(p, NULL, NULL, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(s.key << 16 | sense_code(&s), 0x0b4705);
    bad[ISCSI_BHS_LEN] ^= 1;
    puppet_send_raw(p, bad, sizeof(bad));
    puppet_expect_close(p);
    puppet_free(p);
}

#define TARGETS 3000

/* RFC7143-7.4.3, appendix C */
static void
discovery(void **state)
{
    struct target_node_config *n = calloc(TARGETS, sizeof(*n));
    char(*names)[64] = calloc(TARGETS, sizeof(*names));
    const struct lu_config lun = {.kind = LU_NULL, .size = 1 << 20, .lun = -1, .wce = -1};
    struct bhs_text_req h;
    struct world w;
    struct puppet *p;
    static char all[TARGETS * 128];
    size_t len = 0, found = 0;

    (void)state;
    for (unsigned i = 0; i < TARGETS; i++) {
        (void)snprintf(names[i], 64, "iqn.2026-11.example:disk-%u", i);
        n[i] = (struct target_node_config){.name = names[i], .luns = &lun, .luns_count = 1};
    }
    world_new(&w, n, TARGETS);
    p = puppet_new(&w, 1);
    puppet_login_send(
        p, bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT),
        KEYS("InitiatorName=" INITIATOR "\0SessionType=Discovery\0MaxRecvDataSegmentLength=512"));
    assert_int_equal(puppet_login_status(p), 0);
    send_nop(p, 0, true, NULL, 0);
    puppet_expect_reject(p, ISCSI_REJECT_PROTOCOL_ERROR);
    bhs_init(&h, ISCSI_OP_TEXT_REQ, ISCSI_FLAG_FINAL);
    h.itt = put32(5);
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.cmd_sn = put32(p->cmd_sn++);
    puppet_send(p, &h, KEYS("SendTargets=All"));
    for (;;) {
        struct pdu *r = puppet_expect(p, ISCSI_OP_TEXT_RSP);

        assert_true(r->len <= 512);
        memcpy(all + len, r->data, r->len);
        len += r->len;
        if (r->h.text_rsp.flags & ISCSI_FLAG_FINAL)
            break;
        assert_true(get32(r->h.text_rsp.ttt) != ISCSI_TAG_RSVD);
        h.ttt = r->h.text_rsp.ttt;
        h.cmd_sn = put32(p->cmd_sn++);
        puppet_send(p, &h, NULL, 0);
    }
    for (size_t at = 0; at < len; at += strlen(all + at) + 1)
        found += strncmp(all + at, "TargetName=", 11) == 0;
    assert_int_equal(found, TARGETS);
    puppet_free(p);
    world_free(&w);
    free(n);
    free(names);
}

/* Whoever fills the answer with keys that nobody knows gets a Reject, and the target lives. */
static void
text_without_room(void **state)
{
    struct puppet *p = puppet_new(*state, 1);
    static const char unknown[] = "A=", all[] = "SendTargets=All";
    char text[8192];
    bool rejected = false;

    puppet_login_send(p, bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT),
                      KEYS("InitiatorName=" INITIATOR "\0SessionType=Discovery"));
    assert_int_equal(puppet_login_status(p), 0);
    for (size_t n = 0; !rejected; n += 5) {
        size_t len = n * sizeof(unknown) + sizeof(all);
        struct bhs_text_req h;

        assert_true(len <= sizeof(text));
        for (size_t i = 0; i < n; i++)
            memcpy(text + i * sizeof(unknown), unknown, sizeof(unknown));
        memcpy(text + n * sizeof(unknown), all, sizeof(all));
        bhs_init(&h, ISCSI_OP_TEXT_REQ, ISCSI_FLAG_FINAL);
        h.itt = put32((uint32_t)n);
        h.ttt = put32(ISCSI_TAG_RSVD);
        h.cmd_sn = put32(p->cmd_sn++);
        puppet_send(p, &h, text, (uint32_t)len);
        assert_int_equal(puppet_recv(p), GOT_PDU);
        rejected = pdu_opcode(&p->rx.h.h) == ISCSI_OP_REJECT;
        assert_true(rejected || pdu_opcode(&p->rx.h.h) == ISCSI_OP_TEXT_RSP);
        assert_true(!rejected || n > 100); /* there is room for a good many */
    }
    assert_int_equal(p->rx.h.reject.reason, ISCSI_REJECT_PROTOCOL_ERROR);
    puppet_free(p);
}

/* The target asks for logouts, and ends those that do not hear. */
static void
stopped(void *user)
{
    *(bool *)user = true;
}

static void
target_shutdown(void **state)
{
    struct world *w = *state;
    struct puppet *a = puppet_session(w, KEYS("")), *b = puppet_new(w, 2);
    struct bhs_logout_req h;
    bool done = false;

    assert_int_equal(puppet_login(b, KEYS("")), 0);
    target_stop(w->target, stopped, &done);
    assert_int_equal(puppet_expect(a, ISCSI_OP_ASYNC)->h.async.event, ISCSI_ASYNC_LOGOUT_REQUEST);
    bhs_init(&h, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    puppet_send(a, &h, NULL, 0);
    assert_int_equal(puppet_expect(a, ISCSI_OP_LOGOUT_RSP)->h.logout_rsp.response, 0);
    puppet_expect_close(a);
    assert_false(done);
    (void)puppet_expect(b, ISCSI_OP_ASYNC);
    for (int i = 0; i < 200 && !done; i++)
        world_turn(w);
    assert_true(done);
    puppet_expect_close(b);
    puppet_free(a);
    puppet_free(b);
}

/* Unit attentions, one at a time; capacity. */
static void
attentions(void **state)
{
    struct world *w = *state;
    struct puppet *p = puppet_new(w, 1), *q;
    struct scsi_sense s = {0};
    uint8_t cdb[CDB_MAX];

    assert_int_equal(puppet_login(p, KEYS("")), 0);
    (void)cdb_test_unit_ready(cdb);
    assert_int_equal(puppet_do(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(sense_code(&s), 0x2900);
    assert_int_equal(puppet_do(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, &s), SCSI_GOOD);
    assert_int_equal(target_resize(w->target, IQN, 0, 2 << 20, NULL), 0);
    assert_true(target_resize(w->target, IQN, 0, 4 << 20, NULL) < 0);
    assert_int_equal(puppet_do(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(sense_code(&s), 0x2a09);
    q = puppet_new(w, 1); /* reinstatement: nexus loss */
    assert_int_equal(puppet_login(q, KEYS("")), 0);
    assert_int_equal(puppet_do(q, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(sense_code(&s), 0x2907);
    puppet_free(p);
    puppet_free(q);
}

/* A command is aborted before its answer, which had a unit attention: the next one has it. */
static void
attention_of_an_aborted_command(void **state)
{
    struct target_faults slow = {.response_delay_ms = 60000};
    struct world *w = *state;
    struct puppet *p = puppet_session(w, KEYS(""));
    struct scsi_sense s = {0};
    uint8_t cdb[CDB_MAX];
    uint32_t itt;

    (void)cdb_test_unit_ready(cdb);
    assert_int_equal(target_resize(w->target, IQN, 0, 2 << 20, NULL), 0);
    target_set_faults(w->target, &slow);
    itt = puppet_cmd(p, 0, ISCSI_FLAG_FINAL, cdb, 0, NULL, 0);
    assert_int_equal(tmf(p, ISCSI_TMF_ABORT_TASK, itt, p->cmd_sn - 1), 0);
    target_set_faults(w->target, NULL);
    assert_int_equal(puppet_do(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(sense_code(&s), 0x2a09);
    assert_int_equal(puppet_do(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, &s), SCSI_GOOD);
    puppet_free(p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(residuals, setup, world_teardown),
        cmocka_unit_test_setup_teardown(write_regimes, setup, world_teardown),
        cmocka_unit_test_setup_teardown(bad_unsolicited, setup, world_teardown),
        cmocka_unit_test_setup_teardown(error_with_data_under_way, setup, world_teardown),
        cmocka_unit_test_setup_teardown(ordering, setup, world_teardown),
        cmocka_unit_test_setup_teardown(lost_with_a_connection, setup, world_teardown),
        cmocka_unit_test_setup_teardown(data_for_held_request, setup, world_teardown),
        cmocka_unit_test(window),
        cmocka_unit_test_setup_teardown(task_management, setup, world_teardown),
        cmocka_unit_test_setup_teardown(rejects, setup, world_teardown),
        cmocka_unit_test_setup_teardown(digest_errors, setup, world_teardown),
        cmocka_unit_test(discovery),
        cmocka_unit_test_setup_teardown(text_without_room, setup, world_teardown),
        cmocka_unit_test_setup_teardown(target_shutdown, setup, world_teardown),
        cmocka_unit_test_setup_teardown(attentions, setup, world_teardown),
        cmocka_unit_test_setup_teardown(attention_of_an_aborted_command, setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
