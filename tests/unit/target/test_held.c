/* SPDX-License-Identifier: MIT */
/* Writes that wait for the turn of their CmdSN, and the unsolicited data that comes for them
 * meanwhile (RFC 7143 4.2.2.1, 4.2.5.2, 11.7). */
#include "tests/unit/target/puppet.h"

#include <malloc.h>
#include <string.h>

#include "target/bounds.h"

#define BURST 65536u

static uint8_t fill[DATA_MAX];

static int
held_setup(void **state)
{
    for (size_t i = 0; i < sizeof(fill); i++)
        fill[i] = (uint8_t)(i * 11 + i / 512 + 1);
    return world_setup(state);
}

/* The CmdSN that is missing: puppet_cmd leaves it out, held_release sends it. */
static uint32_t
held_write(struct puppet *p, uint8_t flags, uint32_t edtl, uint32_t immediate)
{
    uint8_t cdb[CDB_MAX];

    (void)cdb_write10(cdb, 0, (uint16_t)(edtl / 512), 0);
    p->cmd_sn++;
    return puppet_cmd(p, 0, flags, cdb, edtl, fill, immediate);
}

/* A write that waits for the same CmdSN as the one before it. */
static uint32_t
held_next(struct puppet *p, uint32_t edtl)
{
    uint8_t cdb[CDB_MAX];

    (void)cdb_write10(cdb, 0, (uint16_t)(edtl / 512), 0);
    return puppet_cmd(p, 0, ISCSI_CMD_WRITE, cdb, edtl, NULL, 0);
}

static void
held_release(struct puppet *p, uint32_t cmd_sn)
{
    struct bhs_nop_out h;

    bhs_init(&h, ISCSI_OP_NOP_OUT, ISCSI_FLAG_FINAL);
    h.itt = put32(++p->itt);
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.cmd_sn = put32(cmd_sn);
    puppet_send(p, &h, NULL, 0);
    (void)puppet_expect(p, ISCSI_OP_NOP_IN);
}

static struct bhs_data_out
out_header(uint32_t itt, uint32_t ttt, uint32_t sn, uint32_t off, bool final)
{
    struct bhs_data_out h;

    bhs_init(&h, ISCSI_OP_DATA_OUT, final ? ISCSI_FLAG_FINAL : 0);
    h.itt = put32(itt);
    h.ttt = put32(ttt);
    h.data_sn = put32(sn);
    h.offset = put32(off);
    return h;
}

static void
unsolicited(struct puppet *p, uint32_t itt, uint32_t sn, uint32_t off, uint32_t len, bool final)
{
    struct bhs_data_out h = out_header(itt, ISCSI_TAG_RSVD, sn, off, final);

    puppet_send(p, &h, fill + off, len);
}

/* The command has failed with that sense code, and the LUN still holds zeroes. */
static void
expect_refused(struct puppet *p, uint32_t code)
{
    static const uint8_t zeros[BURST];
    struct scsi_sense s = {0};

    assert_int_equal(puppet_status(p, NULL, NULL, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(s.key << 16 | sense_code(&s), code);
    assert_memory_equal(world_memory(p->w), zeros, sizeof(zeros));
}

/* RFC7143-13.14: more than FirstBurstLength, in one PDU, in the next, or as immediate data. */
static void
more_than_first_burst(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS("InitialR2T=No\0FirstBurstLength=4096"));
    static const struct {
        uint32_t immediate, len[3];
    } rows[] = {
        {0, {8192}}, {0, {4096, 65536}}, {0, {2048, 2049}},   {512, {3585}},
        {4096, {1}}, {4097, {0}},        {512, {3584, 0, 1}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t itt = held_write(p, ISCSI_CMD_WRITE, 131072, rows[i].immediate);
        uint32_t off = rows[i].immediate;

        for (uint32_t sn = 0; sn < 3; sn++) {
            unsolicited(p, itt, sn, off, rows[i].len[sn], sn == 2);
            off += rows[i].len[sn];
        }
        held_release(p, p->cmd_sn - 2);
        expect_refused(p, 0x0b0c0d);
    }
    puppet_free(p);
}

/* What a command that runs would be refused for: a gap, a DataSN that is missing, less than the
 * burst. */
static void
bad_sequence(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS("InitialR2T=No\0FirstBurstLength=4096"));
    static const struct {
        uint32_t sn, off, len, code;
    } rows[] = {
        {0, 512, 512, 0x0b0c0d},
        {1, 0, 4096, 0x0b4705},
        {0, 0, 1024, 0x0b0c0d},
        {0, 0xfffff000, 4096, 0x0b0c0d},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t itt = held_write(p, ISCSI_CMD_WRITE, 8192, 0);
        struct bhs_data_out h = out_header(itt, ISCSI_TAG_RSVD, rows[i].sn, rows[i].off, true);

        puppet_send(p, &h, fill, rows[i].len);
        held_release(p, p->cmd_sn - 2);
        expect_refused(p, rows[i].code);
    }
    puppet_free(p);
}

/* Takes the R2T of a write and answers it with other bytes than came before. */
static void
solicited(struct puppet *p, uint32_t itt, uint32_t off, uint32_t len)
{
    const struct bhs_r2t *r = &puppet_expect(p, ISCSI_OP_R2T)->h.r2t;
    struct bhs_data_out h = out_header(itt, get32(r->ttt), 0, off, true);

    assert_int_equal(get32(r->offset), off);
    assert_int_equal(get32(r->desired_len), len);
    puppet_send(p, &h, fill + 65536 + off, len);
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    assert_memory_equal(world_memory(p->w) + off, fill + 65536 + off, len);
}

/* RFC7143-4.2.5.2: a command with F takes no unsolicited data, nor does any with InitialR2T=Yes. */
static void
nobody_asked(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS("InitialR2T=No\0FirstBurstLength=4096"));
    uint32_t itt = held_write(p, WR, 4096, 512);

    unsolicited(p, itt, 0, 512, 3584, true); /* the command was final */
    held_release(p, p->cmd_sn - 2);
    solicited(p, itt, 512, 3584);
    assert_memory_equal(world_memory(*state), fill, 512);
    itt = held_write(p, ISCSI_CMD_WRITE, 8192, 0);
    unsolicited(p, itt, 0, 0, 4096, true);
    unsolicited(p, itt, 0, 4096, 4096, true); /* its data was final */
    held_release(p, p->cmd_sn - 2);
    solicited(p, itt, 4096, 4096);
    assert_memory_equal(world_memory(*state), fill, 4096);
    puppet_free(p);

    p = puppet_session(*state, KEYS("InitialR2T=Yes\0ImmediateData=No"));
    itt = held_write(p, WR, 4096, 0);
    unsolicited(p, itt, 0, 0, 4096, true);
    held_release(p, p->cmd_sn - 2);
    solicited(p, itt, 0, 4096);
    puppet_free(p);
}

static void
initial_r2t(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS("InitialR2T=Yes\0ImmediateData=No"));
    uint32_t itt = held_write(p, ISCSI_CMD_WRITE, 4096, 0);

    unsolicited(p, itt, 0, 0, 4096, true);
    held_release(p, p->cmd_sn - 2);
    expect_refused(p, 0x0b0c0c);
    (void)held_write(p, WR, 4096, 512);
    held_release(p, p->cmd_sn - 2);
    expect_refused(p, 0x0b0c0c);
    puppet_free(p);
}

/* A second connection of a's session, which sends what a leaves out. */
static struct puppet *
held_join(struct puppet *a)
{
    struct puppet *b = puppet_new(a->w, 1);

    b->tsih = a->tsih;
    b->cid = 1;
    b->cmd_sn = a->cmd_sn;
    assert_int_equal(puppet_login(b, KEYS("")), 0);
    return b;
}

static void
let_it_come(struct world *w)
{
    for (int i = 0; i < 20; i++)
        world_turn(w);
}

/* RFC7143-4.2.2.1: the missing command comes on the other connection while a Data-Out is under way,
 * cut anywhere. */
static void
turn_in_mid_pdu(struct world *w, const char *keys, size_t keys_len, uint32_t immediate)
{
    struct puppet *a = puppet_session(w, keys, keys_len), *b = held_join(a);
    uint32_t head = ISCSI_BHS_LEN + (a->header_digest ? PDU_DIGEST_LEN : 0);
    uint32_t len = BURST - immediate, whole = head + len + (a->data_digest ? PDU_DIGEST_LEN : 0);
    const uint32_t cuts[] = {1, head - 1, head, head + 1, head + 20000, head + len - 1, whole - 1};
    static uint8_t out[BURST + 64];

    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        uint32_t itt = held_write(a, ISCSI_CMD_WRITE, BURST, immediate), missing = a->cmd_sn - 2;
        struct bhs_data_out h = out_header(itt, ISCSI_TAG_RSVD, 0, immediate, true);

        fill[0]++; /* not what the LUN holds already */
        fill[BURST - 1]++;
        h.dseg_len = put24(len);
        memcpy(out, &h, ISCSI_BHS_LEN);
        if (a->header_digest)
            pdu_header_digest(out, ISCSI_BHS_LEN, out + ISCSI_BHS_LEN);
        memcpy(out + head, fill + immediate, len);
        if (a->data_digest)
            pdu_data_digest(out + head, len, out + head + len);
        puppet_send_raw(a, out, cuts[i]);
        let_it_come(w);
        held_release(b, missing);
        puppet_send_raw(a, out + cuts[i], whole - cuts[i]);
        assert_int_equal(puppet_status(a, NULL, NULL, NULL), SCSI_GOOD);
        assert_memory_equal(world_memory(w) + immediate, fill + immediate, len);
    }
    puppet_free(a);
    puppet_free(b);
}

#define MCS "MaxConnections=2\0InitialR2T=No\0FirstBurstLength=65536"

static void
turn_on_other_connection(void **state)
{
    turn_in_mid_pdu(*state, KEYS(MCS), 0);
    turn_in_mid_pdu(*state, KEYS(MCS), 8192);
    turn_in_mid_pdu(*state, KEYS(MCS "\0HeaderDigest=CRC32C\0DataDigest=CRC32C"), 0);
}

/* RFC7143-11.5.1: ABORT TASK of a held command, on another connection than its data, which is just
 * coming. */
static void
aborted_in_mid_pdu(void **state)
{
    struct puppet *a = puppet_session(*state, KEYS(MCS)), *b = held_join(a);
    uint32_t itt = held_write(a, ISCSI_CMD_WRITE, BURST, 0), missing = a->cmd_sn - 2;
    struct bhs_data_out h = out_header(itt, ISCSI_TAG_RSVD, 0, 0, true);
    static const uint8_t zeros[BURST];
    struct bhs_tmf_req t;
    uint8_t cdb[CDB_MAX];

    h.dseg_len = put24(BURST);
    puppet_send_raw(a, &h, ISCSI_BHS_LEN);
    puppet_send_raw(a, fill, 1000);
    let_it_come(*state);
    bhs_init(&t, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | ISCSI_TMF_ABORT_TASK);
    t.itt = put32(++b->itt);
    t.ref_tag = put32(itt);
    t.ref_cmd_sn = put32(missing + 1);
    t.cmd_sn = put32(missing + 2);
    puppet_send(b, &t, NULL, 0);
    assert_int_equal(puppet_expect(b, ISCSI_OP_TMF_RSP)->h.tmf_rsp.response, 0);
    puppet_send_raw(a, fill + 1000, BURST - 1000);
    held_release(b, missing);
    puppet_expect_nothing(a);
    assert_memory_equal(world_memory(*state), zeros, sizeof(zeros));
    (void)cdb_test_unit_ready(cdb);
    assert_int_equal(puppet_do(a, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, NULL), SCSI_GOOD);
    puppet_free(a);
    puppet_free(b);
}

/* RFC7143-11.2.1.8: a tag is free again when its task has been aborted. */
static void
aborted_tag_is_free(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS("InitialR2T=No"));
    uint32_t itt = held_write(p, WR, 512, 512), missing = p->cmd_sn - 2;
    struct bhs_tmf_req t;

    bhs_init(&t, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | ISCSI_TMF_ABORT_TASK);
    t.itt = put32(itt + 1);
    t.ref_tag = put32(itt);
    t.ref_cmd_sn = put32(missing + 1);
    t.cmd_sn = put32(p->cmd_sn);
    puppet_send(p, &t, NULL, 0);
    assert_int_equal(puppet_expect(p, ISCSI_OP_TMF_RSP)->h.tmf_rsp.response, 0);
    p->itt = itt - 1;
    assert_int_equal(held_next(p, 512), itt);
    unsolicited(p, itt, 0, 0, 512, true);
    p->itt += 10;
    held_release(p, missing);
    p->itt = itt;
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    assert_memory_equal(world_memory(*state), fill, 512);
    puppet_free(p);
}

static size_t
memory_in_use(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}

#define LARGE 262144u /* FirstBurstLength that the target offers */

static struct puppet *
held_login_large(struct world *w, uint8_t isid)
{
    struct puppet *p = puppet_new(w, isid);

    assert_int_equal(puppet_login(p, KEYS("InitialR2T=No\0FirstBurstLength=262144")), 0);
    puppet_clear_ua(p);
    p->cmd_sn++;
    return p;
}

/* What has failed keeps no data: else the bound of a session would not be one. */
static void
failed_keeps_nothing(void **state)
{
    struct puppet *p = held_login_large(*state, 1);
    size_t before = memory_in_use();

    for (unsigned i = 0; i < 100; i++) {
        uint32_t itt = held_next(p, LARGE);

        unsolicited(p, itt, 0, 0, LARGE - 512, false);
        unsolicited(p, itt, 7, LARGE - 512, 512, true); /* another DataSN was due */
    }
    let_it_come(*state);
    assert_true(memory_in_use() < before + TGT_HELD_BYTES / 2);
    held_release(p, p->cmd_sn - 101);
    for (unsigned i = 0; i < 100; i++)
        expect_refused(p, 0x0b4705);
    puppet_free(p);
}

/* Sends the data of the last `count` writes, and what they wait for; returns how many were BUSY. */
static unsigned
held_busy(struct puppet *p, unsigned count)
{
    unsigned busy = 0;

    for (uint32_t itt = p->itt - count + 1, i = 0; i < count; i++)
        unsolicited(p, itt + i, 0, 0, LARGE, true);
    held_release(p, p->cmd_sn - count - 1);
    for (unsigned i = 0; i < count; i++) {
        uint8_t status = puppet_status(p, NULL, NULL, NULL);

        assert_true(status == SCSI_GOOD || status == SCSI_BUSY);
        busy += status == SCSI_BUSY;
    }
    return busy;
}

/* All sessions share a bound, too; what a session has taken of it is there for others later. */
static void
sessions_share(void **state)
{
    enum { MANY = 4, EACH = 50 };
    struct puppet *p[MANY];

    for (unsigned i = 0; i < MANY; i++)
        p[i] = held_login_large(*state, (uint8_t)(i + 1));
    for (unsigned i = 0; i < MANY; i++) {
        for (unsigned k = 0; k < EACH; k++)
            (void)held_next(p[i], LARGE);
        let_it_come(*state);
    }
    assert_int_equal(held_busy(p[MANY - 1], EACH), EACH);
    assert_int_equal(held_busy(p[0], EACH), 0);
    puppet_free(p[1]); /* its session ends */
    let_it_come(*state);
    p[0]->cmd_sn++;
    for (unsigned k = 0; k < EACH; k++)
        (void)held_next(p[0], LARGE);
    assert_int_equal(held_busy(p[0], EACH), 0);
    for (unsigned i = 0; i < MANY; i++) {
        if (i != 1)
            puppet_free(p[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(more_than_first_burst, held_setup, world_teardown),
        cmocka_unit_test_setup_teardown(bad_sequence, held_setup, world_teardown),
        cmocka_unit_test_setup_teardown(nobody_asked, held_setup, world_teardown),
        cmocka_unit_test_setup_teardown(initial_r2t, held_setup, world_teardown),
        cmocka_unit_test_setup_teardown(turn_on_other_connection, held_setup, world_teardown),
        cmocka_unit_test_setup_teardown(aborted_in_mid_pdu, held_setup, world_teardown),
        cmocka_unit_test_setup_teardown(aborted_tag_is_free, held_setup, world_teardown),
        cmocka_unit_test_setup_teardown(failed_keeps_nothing, held_setup, world_teardown),
        cmocka_unit_test_setup_teardown(sessions_share, held_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
