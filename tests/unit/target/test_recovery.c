/* SPDX-License-Identifier: MIT */
/* Error recovery level 1: what is kept, what SNACK gets, and how lost data is asked for (RFC
 * 7143 7.1, 7.2.1, 7.8, 11.7.2, 11.16). */
#include "tests/unit/target/puppet.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "target/bounds.h"

#define BLOCK 512u
#define LEVEL "ErrorRecoveryLevel=2\0MaxRecvDataSegmentLength=1024\0MaxBurstLength=4096\0"
#define READS LEVEL "InitialR2T=Yes\0ImmediateData=No"
#define SAFE  "HeaderDigest=CRC32C\0DataDigest=CRC32C"

static uint8_t noise[65536];

static uint8_t
noise_at(size_t i)
{
    return (uint8_t)(i * 7 + i / 251 + 3);
}

/* A target of level 1 with two LUNs, the first is RAM if it is not given. */
static void
level_world(struct world *w, const struct lu_config *lun)
{
    static const struct lu_config ram = {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1};
    const struct lu_config luns[] = {*(lun != NULL ? lun : &ram), ram};
    const struct target_key_value set = {"ErrorRecoveryLevel", "1"};
    const struct target_node_config n = {
        .name = IQN, .luns = luns, .luns_count = 2, .set = &set, .set_count = 1};

    world_new(w, &n, 1);
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = noise_at(i);
}

static int
level_setup(void **state)
{
    static struct world w;

    level_world(&w, NULL);
    *state = &w;
    return 0;
}

/* Puts noise into the LUN. */
static void
fill_lun(const struct world *w)
{
    uint64_t size;

    memcpy(target_lun_memory(w->target, IQN, 0, &size), noise, sizeof(noise));
}

/* Acknowledges all that has come, and waits until that is known. */
static void
acknowledge(struct puppet *p)
{
    struct bhs_nop_out h;

    bhs_init(&h, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    h.itt = put32(++p->itt);
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.cmd_sn = put32(p->cmd_sn);
    puppet_send(p, &h, NULL, 0);
    (void)puppet_expect(p, ISCSI_OP_NOP_IN);
    p->exp_stat_sn = get32(p->rx.h.nop_in.stat_sn) + 1;
}

/* A session of that level whose earlier responses are acknowledged. */
static struct puppet *
level_session(struct world *w, const char *keys, size_t len)
{
    struct puppet *p = puppet_session(w, keys, len);

    acknowledge(p);
    return p;
}

static void
snack(struct puppet *p, uint8_t type, uint32_t itt, uint32_t ttt, uint32_t begin, uint32_t run)
{
    struct bhs_snack_req h;

    bhs_init(&h, ISCSI_OP_SNACK_REQ, ISCSI_FLAG_FINAL | type);
    h.itt = put32(itt);
    h.ttt = put32(ttt);
    h.beg_run = put32(begin);
    h.run_length = put32(run);
    puppet_send(p, &h, NULL, 0);
}

static void
snack_data(struct puppet *p, uint32_t itt, uint32_t begin, uint32_t run)
{
    snack(p, ISCSI_SNACK_DATA_R2T, itt, ISCSI_TAG_RSVD, begin, run);
}

static void
snack_status(struct puppet *p, uint32_t begin, uint32_t run)
{
    snack(p, ISCSI_SNACK_STATUS, ISCSI_TAG_RSVD, ISCSI_TAG_RSVD, begin, run);
}

struct copy {
    union bhs_any h;
    uint8_t data[4096];
    uint32_t len;
};

static void
keep_copy(struct copy *k, const struct pdu *r)
{
    assert_true(r->len <= sizeof(k->data));
    k->h = r->h;
    k->len = r->len;
    memcpy(k->data, r->data, r->len);
}

/* RFC7143-11.16: what comes again is what came before, but for ExpCmdSN and MaxCmdSN. */
static void
expect_copy(struct puppet *p, const struct copy *k)
{
    struct pdu *r = puppet_expect(p, pdu_opcode(&k->h.h));

    r->h.nop_in.exp_cmd_sn = k->h.nop_in.exp_cmd_sn;
    r->h.nop_in.max_cmd_sn = k->h.nop_in.max_cmd_sn;
    assert_memory_equal(&r->h, &k->h, ISCSI_BHS_LEN);
    assert_int_equal(r->len, k->len);
    assert_memory_equal(r->data, k->data, k->len);
}

#define PDUS 12u

/* Reads 12 KiB: twelve Data-In and a response, which are copied. */
static uint32_t
read_all(struct puppet *p, struct copy *k)
{
    uint8_t cdb[CDB_MAX];
    uint32_t itt;

    (void)cdb_read10(cdb, 0, PDUS * 2, 0);
    itt = puppet_cmd(p, 0, RD, cdb, PDUS * 1024, NULL, 0);
    for (uint32_t i = 0; i < PDUS; i++) {
        keep_copy(&k[i], puppet_expect(p, ISCSI_OP_DATA_IN));
        assert_int_equal(get32(k[i].h.data_in.data_sn), i);
        assert_memory_equal(k[i].data, noise + (size_t)1024 * i, 1024);
        /* a status would be lost with its data */
        assert_int_equal(k[i].h.data_in.flags & ISCSI_DATA_IN_STATUS, 0);
        assert_int_equal(!!(k[i].h.data_in.flags & ISCSI_FLAG_FINAL), i % 4 == 3);
    }
    keep_copy(&k[PDUS], puppet_expect(p, ISCSI_OP_SCSI_RSP));
    assert_int_equal(get32(k[PDUS].h.scsi_rsp.exp_data_sn), PDUS);
    return itt;
}

/* RFC7143-11.16.6: runs of Data-In, before and after the status. */
static void
data_again(void **state)
{
    struct puppet *p = level_session(*state, KEYS(READS));
    static struct copy k[PDUS + 1];
    uint32_t itt;

    fill_lun(*state);
    itt = read_all(p, k);
    snack_data(p, itt, 3, 1);
    expect_copy(p, &k[3]);
    puppet_expect_nothing(p);
    snack_data(p, itt, 10, 0);
    expect_copy(p, &k[10]);
    expect_copy(p, &k[11]);
    puppet_expect_nothing(p);
    snack_data(p, itt, 0, 0);
    for (uint32_t i = 0; i < PDUS; i++)
        expect_copy(p, &k[i]);
    snack_data(p, itt, 0, PDUS);
    for (uint32_t i = 0; i < PDUS; i++)
        expect_copy(p, &k[i]);
    puppet_expect_nothing(p);
    snack_data(p, itt, PDUS, 1); /* never sent */
    puppet_expect_reject(p, ISCSI_REJECT_PROTOCOL_ERROR);
    snack_data(p, itt, 3, PDUS);
    puppet_expect_reject(p, ISCSI_REJECT_PROTOCOL_ERROR);
    snack_data(p, itt, 3, UINT32_MAX);
    puppet_expect_reject(p, ISCSI_REJECT_PROTOCOL_ERROR);
    snack_data(p, itt + 1, 0, 0); /* no such task */
    puppet_expect_reject(p, ISCSI_REJECT_PROTOCOL_ERROR);
    snack(p, 9, itt, ISCSI_TAG_RSVD, 0, 0);
    puppet_expect_reject(p, ISCSI_REJECT_PROTOCOL_ERROR);
    acknowledge(p);
    snack_data(p, itt, 3, 1); /* acknowledged with its status */
    puppet_expect_reject(p, ISCSI_REJECT_PROTOCOL_ERROR);
    puppet_free(p);
}

/* RFC7143-11.16: responses of every kind come again with their StatSN. */
static void
status_again(void **state)
{
    struct puppet *p = level_session(*state, KEYS(READS));
    static struct copy k[4], reads[PDUS + 1];
    struct bhs_nop_out n;
    struct bhs_tmf_req t;
    uint8_t cdb[CDB_MAX];
    uint32_t first;

    fill_lun(*state);
    (void)read_all(p, reads);
    k[0] = reads[PDUS];
    bhs_init(&n, ISCSI_OP_NOP_OUT, ISCSI_FLAG_FINAL);
    n.itt = put32(++p->itt);
    n.ttt = put32(ISCSI_TAG_RSVD);
    n.cmd_sn = put32(p->cmd_sn++);
    puppet_send(p, &n, noise, 777);
    keep_copy(&k[1], puppet_expect(p, ISCSI_OP_NOP_IN));
    bhs_init(&t, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | ISCSI_TMF_ABORT_TASK);
    t.itt = put32(++p->itt);
    t.ref_tag = put32(4711);
    t.cmd_sn = t.ref_cmd_sn = put32(p->cmd_sn);
    puppet_send(p, &t, NULL, 0);
    keep_copy(&k[2], puppet_expect(p, ISCSI_OP_TMF_RSP));
    (void)cdb_read10(cdb, 1 << 20, 1, 0); /* with sense data */
    (void)puppet_cmd(p, 0, RD, cdb, BLOCK, NULL, 0);
    keep_copy(&k[3], puppet_expect(p, ISCSI_OP_SCSI_RSP));
    assert_int_equal(k[3].h.scsi_rsp.status, SCSI_CHECK_CONDITION);
    first = get32(k[0].h.scsi_rsp.stat_sn);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(get32(k[i].h.nop_in.stat_sn), first + i);
        snack_status(p, first + i, 1);
        expect_copy(p, &k[i]);
        puppet_expect_nothing(p);
    }
    snack_status(p, 0, 0);
    for (uint32_t i = 0; i < 4; i++)
        expect_copy(p, &k[i]);
    snack_status(p, first + 2, 0);
    expect_copy(p, &k[2]);
    expect_copy(p, &k[3]);
    puppet_expect_nothing(p);
    snack_status(p, first + 4, 1); /* never sent */
    puppet_expect_reject(p, ISCSI_REJECT_PROTOCOL_ERROR);
    snack_status(p, first - 1, 1); /* acknowledged */
    puppet_expect_reject(p, ISCSI_REJECT_PROTOCOL_ERROR);
    snack(p, ISCSI_SNACK_STATUS, p->itt, ISCSI_TAG_RSVD, first, 1);
    puppet_expect_reject(p, ISCSI_REJECT_INVALID_FIELD);
    p->exp_stat_sn = first + 2;
    snack_status(p, first + 1, 1);
    puppet_expect_reject(p, ISCSI_REJECT_PROTOCOL_ERROR);
    snack_status(p, first + 2, 2);
    expect_copy(p, &k[2]);
    expect_copy(p, &k[3]);
    p->exp_stat_sn = first + 1000; /* of what was not sent: it counts for nothing */
    snack_status(p, first + 2, 2);
    expect_copy(p, &k[2]);
    expect_copy(p, &k[3]);
    puppet_free(p);
}

/* A tag may be used again before the status of its old task is acknowledged: on another connection
 * the initiator had no way to do so. */
static void
tag_used_again(void **state)
{
    struct puppet *p = level_session(*state, KEYS(READS));
    uint8_t cdb[CDB_MAX];
    uint32_t itt;

    fill_lun(*state);
    (void)cdb_read10(cdb, 0, 1, 0);
    itt = puppet_cmd(p, 0, RD, cdb, BLOCK, NULL, 0);
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    (void)cdb_read10(cdb, 2, 1, 0);
    p->itt = itt - 1;
    assert_int_equal(puppet_cmd(p, 0, RD, cdb, BLOCK, NULL, 0), itt);
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    snack_data(p, itt, 0, 1);
    assert_memory_equal(puppet_expect(p, ISCSI_OP_DATA_IN)->data, noise + 1024, BLOCK);
    puppet_free(p);
}

/* RFC7143-11.7.2, 11.16.2: the A bit once in MaxBurstLength bytes; what it brings cannot be asked
 * for again. */
static void
data_acknowledged(void **state)
{
    struct puppet *p = level_session(*state, KEYS(READS));
    static struct copy k[PDUS + 1];
    uint32_t itt, ttt;

    fill_lun(*state);
    itt = read_all(p, k);
    for (uint32_t i = 0; i < PDUS; i++) {
        bool asks = i == 3 || i == 7;

        assert_int_equal(!!(k[i].h.data_in.flags & ISCSI_DATA_IN_ACK), asks);
        assert_int_equal(get32(k[i].h.data_in.ttt) != ISCSI_TAG_RSVD, asks);
    }
    ttt = get32(k[3].h.data_in.ttt);
    snack(p, ISCSI_SNACK_DATA_ACK, ISCSI_TAG_RSVD, ttt, 4, 0);
    puppet_expect_nothing(p);
    snack_data(p, itt, 3, 2);
    puppet_expect_reject(p, ISCSI_REJECT_PROTOCOL_ERROR);
    snack_data(p, itt, 4, 1);
    expect_copy(p, &k[4]);
    snack_data(p, itt, 0, 0);
    for (uint32_t i = 4; i < PDUS; i++)
        expect_copy(p, &k[i]);
    snack(p, ISCSI_SNACK_DATA_ACK, ISCSI_TAG_RSVD, ttt, 3, 0); /* backwards */
    puppet_expect_reject(p, ISCSI_REJECT_INVALID_DATA_ACK);
    snack(p, ISCSI_SNACK_DATA_ACK, ISCSI_TAG_RSVD, ttt, PDUS + 1, 0);
    puppet_expect_reject(p, ISCSI_REJECT_INVALID_DATA_ACK);
    snack(p, ISCSI_SNACK_DATA_ACK, ISCSI_TAG_RSVD, ttt + 77, 5, 0);
    puppet_expect_reject(p, ISCSI_REJECT_INVALID_DATA_ACK);
    snack(p, ISCSI_SNACK_DATA_ACK, itt, ttt, 5, 0);
    puppet_expect_reject(p, ISCSI_REJECT_INVALID_DATA_ACK);
    snack(p, ISCSI_SNACK_DATA_ACK, ISCSI_TAG_RSVD, ttt, PDUS, 0); /* all of it */
    snack_data(p, itt, 0, 0);
    puppet_expect_nothing(p);
    puppet_free(p);
}

static void
change_limit(struct puppet *p, const char *pair)
{
    struct bhs_text_req h;

    bhs_init(&h, ISCSI_OP_TEXT_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    h.itt = put32(++p->itt);
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.cmd_sn = put32(p->cmd_sn);
    puppet_send(p, &h, pair, (uint32_t)strlen(pair) + 1);
    (void)puppet_expect(p, ISCSI_OP_TEXT_RSP);
}

/* RFC7143-11.16.3: R-Data SNACK gets all that is not acknowledged, cut anew, and a response with
 * its tag and the old StatSN. */
static void
cut_anew(void **state)
{
    struct puppet *p = level_session(*state, KEYS(READS));
    static struct copy k[PDUS + 1];
    struct pdu *r;
    uint32_t itt, sn = 4;

    fill_lun(*state);
    itt = read_all(p, k);
    snack(p, ISCSI_SNACK_DATA_ACK, ISCSI_TAG_RSVD, get32(k[3].h.data_in.ttt), 4, 0);
    change_limit(p, "MaxRecvDataSegmentLength=512");
    snack(p, ISCSI_SNACK_R_DATA, itt, 0, 0, 0);
    puppet_expect_reject(p, ISCSI_REJECT_INVALID_FIELD);
    snack(p, ISCSI_SNACK_R_DATA, itt, ISCSI_TAG_RSVD, 0, 0);
    puppet_expect_reject(p, ISCSI_REJECT_INVALID_FIELD);
    snack(p, ISCSI_SNACK_R_DATA, itt, 5, 1, 0);
    puppet_expect_reject(p, ISCSI_REJECT_INVALID_FIELD);
    snack(p, ISCSI_SNACK_R_DATA, itt, 0x5a5a, 0, 0);
    for (uint32_t off = 4096; off < PDUS * 1024; off += 512) {
        r = puppet_expect(p, ISCSI_OP_DATA_IN);
        assert_int_equal(r->len, 512);
        assert_int_equal(get32(r->h.data_in.data_sn), sn++);
        assert_int_equal(get32(r->h.data_in.offset), off);
        assert_memory_equal(r->data, noise + off, 512);
    }
    k[PDUS].h.scsi_rsp.snack_tag = put32(0x5a5a);
    k[PDUS].h.scsi_rsp.exp_data_sn = put32(sn);
    expect_copy(p, &k[PDUS]);
    snack_status(p, get32(k[PDUS].h.scsi_rsp.stat_sn), 1); /* the newest, with the tag */
    expect_copy(p, &k[PDUS]);
    snack_data(p, itt, sn - 1, 1);
    r = puppet_expect(p, ISCSI_OP_DATA_IN);
    assert_int_equal(get32(r->h.data_in.offset), PDUS * 1024 - 512);
    puppet_expect_nothing(p);
    puppet_free(p);
}

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
    puppet_send(p, &h, noise + off, len);
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
write_begin(struct puppet *p, uint8_t flags, uint32_t len, uint32_t immediate)
{
    uint8_t cdb[CDB_MAX];

    (void)cdb_write10(cdb, 0, (uint16_t)(len / BLOCK), 0);
    return puppet_cmd(p, 0, flags, cdb, len, noise, immediate);
}

static void
expect_written(struct puppet *p, uint32_t len)
{
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    assert_memory_equal(world_memory(p->w), noise, len);
    puppet_expect_nothing(p);
}

static void
clean_lun(const struct world *w)
{
    uint64_t size;

    memset(target_lun_memory(w->target, IQN, 0, &size), 0, sizeof(noise));
}

/* RFC7143-7.8: Data-Out with a bad digest is rejected, taken nowhere, and asked for again up to the
 * end of its burst, with the next R2TSN; the burst behind goes on as ever. */
static void
data_out_digest(void **state)
{
    struct puppet *p = level_session(*state, KEYS(READS "\0" SAFE));

    for (uint32_t bad = 0; bad < 4; bad++) {
        uint32_t itt, ttt;

        clean_lun(*state);
        itt = write_begin(p, WR, 8192, 0);
        ttt = expect_r2t(p, 0, 0, 4096);
        for (uint32_t i = 0; i < 4; i++) {
            p->spoil_data = i == bad;
            data_out(p, itt, ttt, i, i * 1024, 1024, i == 3);
        }
        puppet_expect_reject(p, ISCSI_REJECT_DATA_DIGEST);
        ttt = expect_r2t(p, 1, bad * 1024, 4096 - bad * 1024);
        assert_int_equal(world_memory(*state)[bad * 1024], 0);
        for (uint32_t i = bad; i < 4; i++) /* and once more */
            data_out(p, itt, ttt, i - bad, i * 1024, 1024, i == 3 || (p->spoil_data = i == 2));
        if (bad <= 2) {
            puppet_expect_reject(p, ISCSI_REJECT_DATA_DIGEST);
            ttt = expect_r2t(p, 2, 2048, 2048);
            data_out(p, itt, ttt, 0, 2048, 2048, true);
        }
        ttt = expect_r2t(p, bad <= 2 ? 3 : 2, 4096, 4096);
        data_out(p, itt, ttt, 0, 4096, 4096, true);
        expect_written(p, 8192);
    }
    puppet_free(p);
}

/* Unsolicited data that is lost is asked for as if it had not been there. */
static void
unsolicited_digest(void **state)
{
    struct puppet *p = level_session(
        *state, KEYS(LEVEL "FirstBurstLength=2048\0InitialR2T=No\0ImmediateData=Yes\0" SAFE));
    uint32_t itt = write_begin(p, ISCSI_CMD_WRITE, 8192, 512), ttt;

    clean_lun(*state);
    p->spoil_data = true;
    data_out(p, itt, ISCSI_TAG_RSVD, 0, 512, 1024, false);
    data_out(p, itt, ISCSI_TAG_RSVD, 1, 1536, 512, true);
    puppet_expect_reject(p, ISCSI_REJECT_DATA_DIGEST);
    memcpy(target_lun_memory((*(struct world **)state)->target, IQN, 0, NULL), noise, 512);
    ttt = expect_r2t(p, 0, 512, 4096);
    data_out(p, itt, ttt, 0, 512, 4096, true);
    ttt = expect_r2t(p, 1, 4608, 3584);
    data_out(p, itt, ttt, 0, 4608, 3584, true);
    expect_written(p, 8192);
    puppet_free(p);
}

/* RFC7143-7.9: a gap in DataSN is a loss, a number that was there is a duplicate. */
static void
data_sn(void **state)
{
    struct puppet *p = level_session(*state, KEYS(READS));
    uint32_t itt, ttt;

    clean_lun(*state);
    itt = write_begin(p, WR, 4096, 0);
    ttt = expect_r2t(p, 0, 0, 4096);
    data_out(p, itt, ttt, 0, 0, 1024, false);
    data_out(p, itt, ttt, 0, 0, 1024, false);
    data_out(p, itt, ttt, 2, 2048, 2048, true);
    ttt = expect_r2t(p, 1, 1024, 3072);
    snack_data(p, itt, 0, 1); /* it has been answered */
    puppet_expect_reject(p, ISCSI_REJECT_PROTOCOL_ERROR);
    snack_data(p, itt, 1, 1);
    assert_int_equal(expect_r2t(p, 1, 1024, 3072), ttt);
    snack_data(p, itt, 0, 0);
    assert_int_equal(expect_r2t(p, 1, 1024, 3072), ttt);
    puppet_expect_nothing(p);
    data_out(p, itt, ttt, 0, 1024, 3072, true);
    expect_written(p, 4096);
    puppet_free(p);
}

/* RFC7143-7.8, 7.2.1: a command whose immediate data is bad has not come; it is sent again with its
 * CmdSN, and what came behind waits for it.  A retry of one that has come is dropped. */
static void
command_again(void **state)
{
    struct puppet *p = level_session(*state, KEYS(LEVEL "InitialR2T=No\0ImmediateData=Yes\0" SAFE));
    uint32_t sn = p->cmd_sn, itt = p->itt;
    uint8_t cdb[CDB_MAX];

    clean_lun(*state);
    p->spoil_data = true;
    (void)write_begin(p, WR, 512, 512);
    puppet_expect_reject(p, ISCSI_REJECT_DATA_DIGEST);
    (void)cdb_test_unit_ready(cdb);
    (void)puppet_cmd(p, 0, ISCSI_FLAG_FINAL, cdb, 0, NULL, 0);
    puppet_expect_nothing(p);
    for (unsigned i = 0; i < 2; i++) {
        p->cmd_sn = sn;
        p->itt = itt;
        (void)write_begin(p, WR, 512, 512);
    }
    p->cmd_sn = sn + 2;
    p->itt = itt + 2;
    assert_int_equal(get32(puppet_expect(p, ISCSI_OP_SCSI_RSP)->h.scsi_rsp.itt), itt + 1);
    assert_int_equal(get32(puppet_expect(p, ISCSI_OP_SCSI_RSP)->h.scsi_rsp.itt), itt + 2);
    puppet_expect_nothing(p);
    assert_memory_equal(world_memory(*state), noise, 512);
    p->spoil_header = true; /* what follows cannot be told from its data any more */
    (void)puppet_cmd(p, 0, ISCSI_FLAG_FINAL, cdb, 0, NULL, 0);
    puppet_expect_close(p);
    puppet_free(p);
}

static void
level_offers(struct world *w, const char *keys, size_t len, const char *want, const char *want2)
{
    struct puppet *p = puppet_new(w, 1);

    assert_int_equal(puppet_login(p, keys, len), 0);
    assert_true(puppet_text_has(&p->rx, want));
    assert_true(want2 == NULL || puppet_text_has(&p->rx, want2));
    puppet_free(p);
}

#define NAMES "InitiatorName=" INITIATOR "\0TargetName=" IQN "\0"

/* RFC7143-13.20, 13.17: the lower level; with one above 0 there is one R2T at a time. */
static void
level_negotiated(void **state)
{
    static const char discovery[] = NAMES "SessionType=Discovery\0ErrorRecoveryLevel=2";
    static const char early[] = NAMES "MaxOutstandingR2T=8";
    static const char late[] = "ErrorRecoveryLevel=1";
    const struct lu_config lun = {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1};
    const struct target_key_value set = {"ErrorRecoveryLevel", "3"};
    const struct target_node_config n = {
        .name = IQN, .luns = &lun, .luns_count = 1, .set = &set, .set_count = 1};
    const struct target_config cfg = {.nodes = &n, .nodes_count = 1};
    struct world *w = *state, plain;
    struct lunette_error err;
    struct target *t;
    struct puppet *p;

    level_offers(w, KEYS("ErrorRecoveryLevel=2"), "ErrorRecoveryLevel=1", NULL);
    level_offers(w, KEYS("ErrorRecoveryLevel=0\0MaxOutstandingR2T=8"), "ErrorRecoveryLevel=0",
                 "MaxOutstandingR2T=8");
    level_offers(w, KEYS("MaxOutstandingR2T=8\0ErrorRecoveryLevel=2"), "ErrorRecoveryLevel=1",
                 "MaxOutstandingR2T=1");
    p = puppet_new(w, 1);
    puppet_login_send(p, bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT), discovery, sizeof(discovery));
    assert_int_equal(puppet_login_status(p), 0);
    assert_true(puppet_text_has(&p->rx, "ErrorRecoveryLevel=0"));
    puppet_free(p);
    p = puppet_new(w, 1); /* too late */
    puppet_login_send(p, bhs_login_flags(1, 0, 0), early, sizeof(early));
    assert_int_equal(puppet_login_status(p), 0);
    assert_true(puppet_text_has(&p->rx, "MaxOutstandingR2T=8"));
    puppet_login_send(p, bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT), late, sizeof(late));
    assert_int_equal(puppet_login_status(p), 0);
    assert_true(puppet_text_has(&p->rx, "ErrorRecoveryLevel=0"));
    puppet_free(p);
    world_new(&plain, NULL, 0);
    level_offers(&plain, KEYS("ErrorRecoveryLevel=2"), "ErrorRecoveryLevel=0", NULL);
    world_free(&plain);
    assert_int_equal(target_new(w->loop, &cfg, &t, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "ErrorRecoveryLevel"));
}

/* RFC7143-7.1.4: at level 0 there is no SNACK, and a read takes its status along. */
static void
level_zero(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS("ErrorRecoveryLevel=0"));
    uint8_t cdb[CDB_MAX];

    (void)cdb_read10(cdb, 0, 1, 0);
    (void)puppet_cmd(p, 0, RD, cdb, BLOCK, NULL, 0);
    assert_true(puppet_expect(p, ISCSI_OP_DATA_IN)->h.data_in.flags & ISCSI_DATA_IN_STATUS);
    snack_status(p, 0, 0);
    puppet_expect_reject(p, ISCSI_REJECT_PROTOCOL_ERROR);
    puppet_free(p);
}

/* Units without memory are read again; parameter data is kept; a unit that has shrunk is not. */
static void
other_units(void **state)
{
    char path[] = "/tmp/lunette-recovery-XXXXXX";
    int fd = mkstemp(path);
    struct lu_config file = {.kind = LU_FILE, .lun = -1, .wce = -1};
    static struct copy k[PDUS + 1];
    struct world w;
    struct puppet *p;
    uint8_t cdb[CDB_MAX];
    uint32_t itt;

    (void)state;
    assert_true(fd >= 0);
    (void)strcpy(file.path, path);
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = noise_at(i);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    assert_int_equal(pwrite(fd, noise, sizeof(noise), 0), sizeof(noise));
    level_world(&w, &file);
    p = level_session(&w, KEYS(READS));
    itt = read_all(p, k);
    snack_data(p, itt, 0, 0);
    for (uint32_t i = 0; i < PDUS; i++)
        expect_copy(p, &k[i]);
    (void)cdb_inquiry(cdb, 255);
    itt = puppet_cmd(p, 0, RD, cdb, 255, NULL, 0);
    keep_copy(&k[0], puppet_expect(p, ISCSI_OP_DATA_IN));
    (void)puppet_expect(p, ISCSI_OP_SCSI_RSP);
    snack_data(p, itt, 0, 1);
    expect_copy(p, &k[0]);
    acknowledge(p);
    itt = read_all(p, k);
    assert_int_equal(ftruncate(fd, 4096), 0); /* somebody has cut it off */
    snack_data(p, itt, 5, 2);
    puppet_expect_reject(p, ISCSI_REJECT_SNACK);
    puppet_expect_nothing(p);
    puppet_free(p);
    world_free(&w);
    (void)close(fd);
    (void)unlink(path);
}

static enum got
big_ping(struct puppet *p)
{
    struct bhs_nop_out h;

    bhs_init(&h, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    h.itt = put32(++p->itt);
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.cmd_sn = put32(p->cmd_sn);
    puppet_send(p, &h, noise, sizeof(noise));
    return puppet_recv(p);
}

/* Nor may many of them together. */
static void
never_acknowledged_by_many(void **state)
{
    enum { MANY = 12, EACH = TGT_KEPT_BYTES / sizeof(noise) };
    struct puppet *p[MANY];
    uint32_t sum = 0;

    for (unsigned i = 0; i < MANY; i++) {
        enum got got = GOT_PDU;
        uint32_t had = 0;

        p[i] = puppet_new(*state, (uint8_t)(i + 1));
        assert_int_equal(puppet_login(p[i], KEYS("ErrorRecoveryLevel=1\0"
                                                 "MaxRecvDataSegmentLength=262144")),
                         0);
        while (had < EACH && got == GOT_PDU) {
            got = big_ping(p[i]);
            had += got == GOT_PDU;
        }
        assert_true(had >= TGT_KEPT_FAIR / sizeof(noise)); /* that much in any case */
        if (got == GOT_PDU)
            sum += had;
    }
    assert_int_equal(sum, TGT_KEPT_ALL / TGT_KEPT_BYTES * EACH);
    assert_int_equal(big_ping(p[0]), GOT_PDU);   /* its last one counts when the next PDU comes */
    assert_int_equal(big_ping(p[0]), GOT_CLOSE); /* each has a bound of its own, too */
    for (unsigned i = 0; i < MANY; i++)
        puppet_free(p[i]);
}

/* An initiator that acknowledges nothing may not make us keep what it likes. */
static void
never_acknowledged(void **state)
{
    struct puppet *p = level_session(*state, KEYS(READS));
    uint32_t count = 0;

    for (enum got got = GOT_PDU; got == GOT_PDU && count < 2 * TGT_KEPT_MAX; count++) {
        struct bhs_nop_out h;

        bhs_init(&h, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
        h.itt = put32(++p->itt);
        h.ttt = put32(ISCSI_TAG_RSVD);
        h.cmd_sn = put32(p->cmd_sn);
        puppet_send(p, &h, NULL, 0);
        got = puppet_recv(p);
    }
    assert_true(count > TGT_KEPT_MAX && count < TGT_KEPT_MAX + 8);
    puppet_free(p);
}

/* What tests of initiators can have a target do: what is lost comes when it is asked for, at the
 * third time at the latest. */
static void
lost_and_repeated_as_ordered(void **state)
{
    struct target_faults f = {.losses = {.seed = 1, .response = 1024}};
    struct world *w = *state;
    struct puppet *p = level_session(w, KEYS(READS));
    uint8_t cdb[CDB_MAX];
    uint32_t itt;

    fill_lun(w);
    (void)cdb_read10(cdb, 0, 1, 0);
    target_set_faults(w->target, &f);
    itt = puppet_cmd(p, 0, RD, cdb, BLOCK, NULL, 0);
    (void)puppet_expect(p, ISCSI_OP_DATA_IN);
    puppet_expect_nothing(p);
    snack_status(p, 0, 0);
    puppet_expect_nothing(p);
    snack_status(p, 0, 0);
    assert_int_equal(get32(puppet_expect(p, ISCSI_OP_SCSI_RSP)->h.h.itt), itt);
    acknowledge(p);
    f.losses = (struct target_losses){.seed = 2, .twice = 1024};
    target_set_faults(w->target, &f);
    (void)puppet_cmd(p, 0, RD, cdb, BLOCK, NULL, 0);
    for (int i = 0; i < 2; i++)
        assert_memory_equal(puppet_expect(p, ISCSI_OP_DATA_IN)->data, noise, BLOCK);
    for (int i = 0; i < 2; i++)
        (void)puppet_expect(p, ISCSI_OP_SCSI_RSP);
    puppet_expect_nothing(p);
    target_set_faults(w->target, NULL);
    puppet_free(p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(level_negotiated, level_setup, world_teardown),
        cmocka_unit_test_setup_teardown(level_zero, level_setup, world_teardown),
        cmocka_unit_test_setup_teardown(data_again, level_setup, world_teardown),
        cmocka_unit_test_setup_teardown(status_again, level_setup, world_teardown),
        cmocka_unit_test_setup_teardown(tag_used_again, level_setup, world_teardown),
        cmocka_unit_test_setup_teardown(data_acknowledged, level_setup, world_teardown),
        cmocka_unit_test_setup_teardown(cut_anew, level_setup, world_teardown),
        cmocka_unit_test_setup_teardown(data_out_digest, level_setup, world_teardown),
        cmocka_unit_test_setup_teardown(unsolicited_digest, level_setup, world_teardown),
        cmocka_unit_test_setup_teardown(data_sn, level_setup, world_teardown),
        cmocka_unit_test_setup_teardown(command_again, level_setup, world_teardown),
        cmocka_unit_test_setup_teardown(never_acknowledged, level_setup, world_teardown),
        cmocka_unit_test_setup_teardown(never_acknowledged_by_many, level_setup, world_teardown),
        cmocka_unit_test_setup_teardown(lost_and_repeated_as_ordered, level_setup, world_teardown),
        cmocka_unit_test(other_units),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
