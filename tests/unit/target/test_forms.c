/* SPDX-License-Identifier: MIT */
/* The form of PDUs that initiators send: digests, padding, reserved fields, opcodes, additional
 * headers, lengths, tags; RFC 7143 7.7, 11.  Ids of docs/rfc-coverage.md. */
#include "tests/unit/target/puppet.h"

#include <stdlib.h>
#include <string.h>

#include "target/instance.h"
#include "target/state/conn.h"
#include "wire/lun.h"

#define LEN        512u
#define TARGET_MAX 262144u /* MaxRecvDataSegmentLength of the target */
#define NO_R2T     "InitialR2T=Yes\0ImmediateData=No"

static const uint8_t bytes[9000] = {0xde, 0xad, 0xbe, 0xef, 5, 6, 7, 8, 9};

static void
nop_init(struct puppet *p, struct bhs_nop_out *h)
{
    bhs_init(h, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    h->itt = put32(++p->itt);
    h->ttt = put32(ISCSI_TAG_RSVD);
    h->cmd_sn = put32(p->cmd_sn);
}

/* The connection works. */
static void
still_there(struct puppet *p)
{
    struct bhs_nop_out h;

    nop_init(p, &h);
    puppet_send(p, &h, "alive", 5);
    assert_int_equal(puppet_expect(p, ISCSI_OP_NOP_IN)->len, 5);
    assert_int_equal(get32(p->rx.h.nop_in.itt), p->itt);
    assert_memory_equal(p->rx.data, "alive", 5);
}

/* A PDU with padding of that byte, and digests that are right. */
static void
send_padded(struct puppet *p, void *bhs, const uint8_t *data, uint32_t len, uint8_t pad)
{
    static uint8_t out[sizeof(bytes) + 128];
    size_t n = ISCSI_BHS_LEN;

    ((struct bhs *)bhs)->dseg_len = put24(len);
    memcpy(out, bhs, n);
    if (p->header_digest) {
        pdu_header_digest(out, n, out + n);
        n += PDU_DIGEST_LEN;
    }
    memcpy(out + n, data, len);
    memset(out + n + len, pad, 4);
    if (p->data_digest && len > 0)
        pdu_digest_put(out + n + len + pdu_pad(len),
                       crc32c_update(CRC32C_INIT, out + n, len + pdu_pad(len)));
    n += len + pdu_pad(len) + (p->data_digest && len > 0 ? PDU_DIGEST_LEN : 0);
    puppet_send_raw(p, out, n);
}

/* DIG-01 to DIG-04, PDU-05, PDU-08, NPI-01: data of every length comes back as it was, with each
 * pair of digests and with padding of any value. */
static void
echoes_of_each_length(void **state)
{
    static const char *const digests[4] = {
        "HeaderDigest=None\0DataDigest=None", "HeaderDigest=CRC32C\0DataDigest=None",
        "HeaderDigest=None\0DataDigest=CRC32C", "HeaderDigest=CRC32C\0DataDigest=CRC32C"};
    static const uint32_t lens[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 511, 8191, 8192};

    for (unsigned d = 0; d < 4; d++) {
        size_t first = strlen(digests[d]) + 1;
        struct puppet *p = puppet_new(*state, 1);

        assert_int_equal(puppet_login(p, digests[d], first + strlen(digests[d] + first) + 1), 0);
        assert_int_equal(p->header_digest, d & 1);
        assert_int_equal(p->data_digest, d >> 1);
        for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
            struct bhs_nop_out h;

            nop_init(p, &h);
            send_padded(p, &h, bytes, lens[i], (uint8_t)(0xff - i));
            assert_int_equal(puppet_expect(p, ISCSI_OP_NOP_IN)->len, lens[i]);
            assert_memory_equal(p->rx.data, bytes, lens[i]);
            assert_int_equal(get32(p->rx.h.nop_in.itt), p->itt);
        }
        puppet_free(p);
    }
}

/* DIG-05, DIG-06: each bit of a header counts, and so does each of the data and its padding. */
static void
each_bit_is_covered(void **state)
{
    struct puppet *p;

    for (unsigned bit = 0; bit < ISCSI_BHS_LEN * 8; bit += 7) {
        uint8_t pdu[ISCSI_BHS_LEN + PDU_DIGEST_LEN + 1020] = {0}; /* and what the header may say */
        struct bhs_nop_out h;

        p = puppet_new(*state, 1);
        assert_int_equal(puppet_login(p, KEYS("HeaderDigest=CRC32C")), 0);
        nop_init(p, &h);
        memcpy(pdu, &h, sizeof(h));
        pdu_header_digest(pdu, ISCSI_BHS_LEN, pdu + ISCSI_BHS_LEN);
        pdu[bit / 8] ^= (uint8_t)(1u << bit % 8);
        puppet_send_raw(p, pdu, sizeof(pdu));
        puppet_expect_close(p);
        puppet_free(p);
    }
    p = puppet_new(*state, 1);
    assert_int_equal(puppet_login(p, KEYS("DataDigest=CRC32C")), 0);
    for (unsigned bit = 0; bit < 8 * 8; bit += 5) { /* 5 bytes, 3 of padding */
        uint8_t pdu[ISCSI_BHS_LEN + 8 + PDU_DIGEST_LEN] = {0};
        struct bhs_nop_out h;

        nop_init(p, &h);
        h.dseg_len = put24(5);
        memcpy(pdu, &h, sizeof(h));
        memcpy(pdu + ISCSI_BHS_LEN, bytes, 5);
        pdu_data_digest(bytes, 5, pdu + ISCSI_BHS_LEN + 8);
        pdu[ISCSI_BHS_LEN + bit / 8] ^= (uint8_t)(1u << bit % 8);
        puppet_send_raw(p, pdu, sizeof(pdu));
        puppet_expect_reject(p, ISCSI_REJECT_DATA_DIGEST);
        assert_memory_equal(p->rx.data, pdu, ISCSI_BHS_LEN);
    }
    still_there(p);
    puppet_free(p);
}

/* PDU-04: what no initiator may send is refused, and nothing else comes of it. */
static void
opcodes_of_others(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS(""));

    for (uint8_t op = 0; op <= ISCSI_OP_MASK; op++) {
        union bhs_any h;

        if (op <= ISCSI_OP_LOGOUT_REQ || op == ISCSI_OP_SNACK_REQ)
            continue;
        bhs_init(&h, op, ISCSI_FLAG_FINAL);
        h.h.itt = put32(++p->itt);
        puppet_send(p, &h, bytes, op % 5);
        puppet_expect_reject(p, ISCSI_REJECT_UNSUPPORTED);
        assert_memory_equal(p->rx.data, &h, ISCSI_BHS_LEN);
    }
    still_there(p);
    puppet_free(p);
}

/* What must be the same with and without bits that mean nothing. */
struct plain_request {
    uint8_t opcode, flags, answer;
    uint8_t reserved_flags;
    uint64_t reserved; /* bytes, a bit for each */
};

#define BYTES(from, to) (((1ull << ((to) - (from))) - 1) << (from))

/* PDU-02, PL-03: reserved fields of requests are ignored, and so is the priority. */
static void
reserved_fields_are_nothing(void **state)
{
    static const struct plain_request rows[] = {
        {ISCSI_OP_NOP_OUT, 0x80, ISCSI_OP_NOP_IN, 0x7f, BYTES(2, 4) | BYTES(32, 48)},
        {ISCSI_OP_SCSI_CMD, 0x80, ISCSI_OP_SCSI_RSP, 0x18, BYTES(2, 4)},
        {ISCSI_OP_TMF_REQ, 0x80 | ISCSI_TMF_LU_RESET, ISCSI_OP_TMF_RSP, 0,
         BYTES(2, 4) | BYTES(36, 48)},
        {ISCSI_OP_TEXT_REQ, 0x80, ISCSI_OP_TEXT_RSP, 0x3f, BYTES(2, 4) | BYTES(32, 48)},
        {ISCSI_OP_LOGOUT_REQ, 0x80 | ISCSI_LOGOUT_CLOSE_CONNECTION, ISCSI_OP_LOGOUT_RSP, 0,
         BYTES(2, 4) | BYTES(8, 16) | BYTES(22, 24) | BYTES(32, 48)},
    };

    for (unsigned set = 0; set < 2; set++) {
        struct puppet *p = puppet_session(*state, KEYS(""));

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            uint8_t raw[ISCSI_BHS_LEN];
            struct bhs_nop_out h; /* numbers and tags are where they are in the others */

            bhs_init(&h, rows[i].opcode, rows[i].flags);
            h.itt = put32(++p->itt);
            h.ttt = put32(rows[i].opcode == ISCSI_OP_SCSI_CMD ? 0 : ISCSI_TAG_RSVD);
            if (rows[i].opcode == ISCSI_OP_LOGOUT_REQ)
                h.ttt = put32(0);
            h.cmd_sn = put32(p->cmd_sn++);
            memcpy(raw, &h, sizeof(raw));
            for (unsigned k = 0; set && k < sizeof(raw); k++)
                raw[k] |= rows[i].reserved >> k & 1 ? 0xff : 0;
            raw[1] |= set ? rows[i].reserved_flags : 0;
            puppet_send(p, raw, NULL, 0);
            (void)puppet_expect(p, rows[i].answer);
            assert_int_equal(get32(p->rx.h.h.itt), p->itt);
            /* status or response, which is at byte 2 or 3: the unit attention comes later */
            assert_int_equal(p->rx.h.h.op2[0] | p->rx.h.h.op2[1], 0);
        }
        puppet_expect_close(p);
        puppet_free(p);
    }
}

/* FMT-01, PDU-05, PDU-06, TMF-01, LGO-01, DOU-03: a PDU of a wrong form ends the session, on all of
 * its connections, before any of its data has come. */
static void
wrong_forms_end_the_session(void **state)
{
    static const struct {
        uint8_t opcode, ahs_words;
        uint32_t dseg_len;
    } rows[] = {
        {ISCSI_OP_NOP_OUT, 0, TARGET_MAX + 1},
        {ISCSI_OP_NOP_OUT, 0, ISCSI_DSEG_MAX},
        {ISCSI_OP_SCSI_CMD, 0, TARGET_MAX + 1},
        {ISCSI_OP_DATA_OUT, 0, TARGET_MAX + 1},
        {ISCSI_OP_TEXT_REQ, 0, TARGET_MAX + 1},
        {0x1c, 0, TARGET_MAX + 1},
        {ISCSI_OP_TMF_REQ, 0, 1},
        {ISCSI_OP_LOGOUT_REQ, 0, 4},
        {ISCSI_OP_NOP_OUT, 1, 0},
        {ISCSI_OP_TMF_REQ, 1, 0},
        {ISCSI_OP_TEXT_REQ, 2, 4},
        {ISCSI_OP_DATA_OUT, 255, 512},
        {ISCSI_OP_LOGOUT_REQ, 1, 0},
        {ISCSI_OP_SNACK_REQ, 1, 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct puppet *a = puppet_session(*state, KEYS("MaxConnections=2"));
        struct puppet *b = puppet_new(*state, 1);
        uint8_t pdu[ISCSI_BHS_LEN + 1020] = {0};
        union bhs_any h;
        struct target_stats st;

        b->tsih = a->tsih;
        b->cid = 1;
        b->cmd_sn = a->cmd_sn;
        assert_int_equal(puppet_login(b, KEYS("")), 0);
        bhs_init(&h, rows[i].opcode, ISCSI_FLAG_FINAL);
        h.h.itt = put32(++b->itt);
        h.nop_out.ttt = put32(ISCSI_TAG_RSVD);
        h.nop_out.cmd_sn = put32(b->cmd_sn);
        h.h.ahs_words = rows[i].ahs_words;
        h.h.dseg_len = put24(rows[i].dseg_len);
        memcpy(pdu, &h, ISCSI_BHS_LEN);
        puppet_send_raw(b, pdu, ISCSI_BHS_LEN + 4u * rows[i].ahs_words);
        puppet_expect_close(b);
        puppet_expect_close(a);
        target_stats(a->w->target, &st);
        assert_int_equal(st.sessions, 0);
        puppet_free(a);
        puppet_free(b);
    }
}

/* A SCSI command with an additional header of `words` words. */
static uint32_t
send_ahs(struct puppet *p, uint8_t flags, uint8_t opcode, uint32_t edtl, const uint8_t *ahs,
         uint8_t words)
{
    uint8_t pdu[ISCSI_BHS_LEN + 1020];
    struct bhs_scsi_cmd h;

    bhs_init(&h, ISCSI_OP_SCSI_CMD, flags);
    h.ahs_words = words;
    h.itt = put32(++p->itt);
    h.cmd_sn = put32(p->cmd_sn);
    h.edtl = put32(edtl);
    h.cdb[0] = opcode;
    judge_sent(&p->judge, &h, NULL, 0);
    memcpy(pdu, &h, ISCSI_BHS_LEN);
    memcpy(pdu + ISCSI_BHS_LEN, ahs, 4u * words);
    puppet_send_raw(p, pdu, ISCSI_BHS_LEN + 4u * words);
    return p->itt;
}

/* PDU-09, PDU-11, CMD-04: additional headers that are none are refused, and their command does not
 * count as received (CSN-20). */
static void
additional_headers(void **state)
{
#define RW (ISCSI_FLAG_FINAL | ISCSI_CMD_READ | ISCSI_CMD_WRITE)
    static const struct {
        uint8_t flags, words;
        uint32_t edtl;
        bool good;
        uint8_t ahs[32];
    } rows[] = {
        {RD, 1, 512, false, {0, 0, 1, 0}},                      /* AHSLength 0 */
        {RD, 1, 512, false, {0, 1, 1, 0}},                      /* no bytes of a CDB */
        {RD, 1, 512, false, {0, 2, 1, 0}},                      /* past TotalAHSLength */
        {RD, 2, 512, false, {0, 6, 1, 0}},                      /* past it by one */
        {RD, 2, 512, false, {0, 5, 3, 0}},                      /* an unknown type */
        {RD, 2, 512, false, {0, 4, 2, 0}},                      /* a wrong length of type 2 */
        {RW, 4, 512, false, {0, 5, 2, 0, 0, 0, 2, 0, 0, 5, 2}}, /* twice */
        {RD, 4, 512, false, {0, 5, 1, 0, 0, 0, 0, 0, 0, 5, 1}}, /* twice */
        {RW, 0, 512, false, {0}},                               /* both ways, and no read length */
        {RD, 2, 512, true, {0, 5, 1, 0}},                       /* a CDB of 20 bytes */
        {RD, 5, 512, true, {0, 17, 1, 0}},                      /* of 32 */
        {RW, 2, 0, true, {0, 5, 2, 0}},
        {RW, 7, 0, true, {0, 17, 1, [20] = 0, 5, 2, 0, 0, 0, 0, 0}},
        {RW, 7, 0, true, {0, 5, 2, 0, 0, 0, 0, 0, 0, 17, 1}}, /* in either order */
    };
    struct puppet *p = puppet_session(*state, KEYS(""));

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t sn = p->cmd_sn;
        struct scsi_sense s = {0};

        (void)send_ahs(p, rows[i].flags, 0x7f, rows[i].edtl, rows[i].ahs, rows[i].words);
        if (rows[i].good) { /* it came to the unit, which does not know the command */
            assert_int_equal(puppet_status(p, NULL, NULL, &s), SCSI_CHECK_CONDITION);
            assert_int_equal(s.key, SENSE_ILLEGAL_REQUEST);
            p->cmd_sn++;
        } else {
            puppet_expect_reject(p, ISCSI_REJECT_INVALID_FIELD);
            assert_int_equal(p->rx.len, ISCSI_BHS_LEN + 4u * rows[i].words);
        }
        still_there(p);
        assert_int_equal(get32(p->rx.h.nop_in.exp_cmd_sn), sn + rows[i].good);
    }
    puppet_free(p);
}

static void
data_out(struct puppet *p, uint64_t lun, uint32_t itt, uint32_t ttt, uint32_t sn, uint32_t off,
         uint32_t len, bool final)
{
    struct bhs_data_out h;

    bhs_init(&h, ISCSI_OP_DATA_OUT, final ? ISCSI_FLAG_FINAL : 0);
    lun_store(h.lun, lun_from_number(lun));
    h.itt = put32(itt);
    h.ttt = put32(ttt);
    h.data_sn = put32(sn);
    h.offset = put32(off);
    puppet_send(p, &h, bytes + off, len);
}

/* ID-11, ID-12, ID-14: a tag in use, the reserved tag, and data that does not fit its task. */
static void
tags_must_fit(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS(NO_R2T));
    uint8_t cdb[CDB_MAX];
    uint32_t itt, ttt;
    struct bhs_nop_out nop;

    (void)cdb_write10(cdb, 0, 1, 0);
    itt = puppet_cmd(p, 0, WR, cdb, LEN, NULL, 0);
    ttt = get32(puppet_expect(p, ISCSI_OP_R2T)->h.r2t.ttt);
    p->itt--;
    (void)puppet_cmd(p, 0, WR, cdb, LEN, NULL, 0); /* the same tag, another command */
    puppet_expect_reject(p, ISCSI_REJECT_TASK_IN_PROGRESS);
    p->cmd_sn--;
    p->itt = ISCSI_TAG_RSVD - 1;
    (void)puppet_cmd(p, 0, WR, cdb, LEN, NULL, 0);
    puppet_expect_reject(p, ISCSI_REJECT_INVALID_FIELD);
    p->cmd_sn--;
    p->itt = itt;
    nop_init(p, &nop);
    nop.opcode = ISCSI_OP_NOP_OUT;
    nop.itt = put32(ISCSI_TAG_RSVD);
    puppet_send(p, &nop, NULL, 0);
    puppet_expect_reject(p, ISCSI_REJECT_PROTOCOL_ERROR);

    data_out(p, 1, itt, ttt, 0, 0, LEN, true);            /* another LUN */
    data_out(p, 0, itt, ttt + 1, 0, 0, LEN, true);        /* another TTT */
    data_out(p, 0, itt, ISCSI_TAG_RSVD, 0, 0, LEN, true); /* as if nobody had asked */
    data_out(p, 0, itt + 1, ttt, 0, 0, LEN, true);        /* another task */
    data_out(p, 0, ISCSI_TAG_RSVD, ttt, 0, 0, LEN, true);
    puppet_expect_nothing(p);
    assert_int_equal(world_memory(p->w)[0], 0);
    data_out(p, 0, itt, ttt, 0, 0, LEN, true);
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    assert_memory_equal(world_memory(p->w), bytes, LEN);

    (void)cdb_test_unit_ready(cdb); /* data for a command that takes none */
    itt = puppet_cmd(p, 0, ISCSI_FLAG_FINAL, cdb, 0, NULL, 0);
    data_out(p, 0, itt, ISCSI_TAG_RSVD, 0, 0, LEN, true);
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    puppet_expect_nothing(p);
    puppet_free(p);
}

/* PDU-03: codes that the RFC reserves are not taken for one that it knows. */
static void
reserved_codes(void **state)
{
    static const uint8_t functions[] = {0, 13, 99, 127};
    struct puppet *p = puppet_session(*state, KEYS(""));
    uint8_t cdb[CDB_MAX];
    union bhs_any h;

    for (size_t i = 0; i < sizeof(functions); i++) {
        bhs_init(&h, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE,
                 (uint8_t)(ISCSI_FLAG_FINAL | functions[i]));
        h.h.itt = put32(++p->itt);
        h.tmf_req.ref_tag = put32(ISCSI_TAG_RSVD);
        h.tmf_req.cmd_sn = put32(p->cmd_sn);
        puppet_send(p, &h, NULL, 0);
        assert_int_equal(puppet_expect(p, ISCSI_OP_TMF_RSP)->h.tmf_rsp.response,
                         ISCSI_TMF_RSP_UNSUPPORTED);
    }
    (void)cdb_test_unit_ready(cdb);
    for (uint8_t attr = 0; attr < 8; attr++) {
        (void)puppet_cmd(p, 0, ISCSI_FLAG_FINAL | attr, cdb, 0, NULL, 0);
        if (attr > ISCSI_ATTR_ACA) {
            puppet_expect_reject(p, ISCSI_REJECT_INVALID_FIELD);
            p->cmd_sn--;
        } else {
            (void)puppet_status(p, NULL, NULL, NULL);
        }
    }
    for (uint8_t reason = 3; reason < 128; reason += 31) {
        bhs_init(&h, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | reason);
        puppet_send(p, &h, NULL, 0);
        puppet_expect_reject(p, ISCSI_REJECT_INVALID_FIELD);
    }
    for (uint8_t type = 0; type < 16; type++) { /* SNK-01: of any kind, at level 0 */
        bhs_init(&h, ISCSI_OP_SNACK_REQ, ISCSI_FLAG_FINAL | type);
        h.h.itt = put32(p->itt);
        puppet_send(p, &h, NULL, 0);
        puppet_expect_reject(p, ISCSI_REJECT_PROTOCOL_ERROR);
    }
    still_there(p);
    puppet_free(p);
}

/* CSN-01, SSN-01: numbers go around, and what is 2^31 away is neither before nor behind. */
static void
numbers_go_around(void **state)
{
    struct world *w = *state;
    struct puppet *p = puppet_new(w, 1);
    uint8_t cdb[CDB_MAX];
    struct tgt_conn *c;
    uint32_t sn;

    p->cmd_sn = 0xfffffff0;
    assert_int_equal(puppet_login(p, KEYS("")), 0);
    puppet_clear_ua(p);
    c = container_of(w->target->conns.next, struct tgt_conn, link);
    c->stat_sn = 0xfffffffc;
    p->judge.stat_sn = c->stat_sn;
    (void)cdb_test_unit_ready(cdb);
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(puppet_do(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, NULL), SCSI_GOOD);
        assert_int_equal(get32(p->rx.h.scsi_rsp.exp_cmd_sn), p->cmd_sn);
        assert_int_equal(get32(p->rx.h.scsi_rsp.stat_sn), 0xfffffffcu + i);
    }
    assert_true(p->cmd_sn < 100);
    sn = p->cmd_sn;
    p->cmd_sn = sn ^ 0x80000000;
    for (unsigned i = 0; i < 3; i++) /* also the ones beside it */
        (void)puppet_cmd(p, 0, ISCSI_FLAG_FINAL, cdb, 0, NULL, 0);
    p->cmd_sn = sn - 1;
    (void)puppet_cmd(p, 0, ISCSI_FLAG_FINAL, cdb, 0, NULL, 0);
    puppet_expect_nothing(p);
    assert_int_equal(puppet_do(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, NULL), SCSI_GOOD);
    puppet_free(p);
}

/* DOU-06, DSN-07: empty PDUs of data are taken, however many there are; each has its number. */
static void
empty_data(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS("InitialR2T=No\0ImmediateData=No"));
    uint8_t cdb[CDB_MAX];
    uint32_t itt, sn = 0;

    (void)cdb_write10(cdb, 0, 2, 0);
    itt = puppet_cmd(p, 0, ISCSI_CMD_WRITE, cdb, 2 * LEN, NULL, 0);
    for (; sn < 500; sn++)
        data_out(p, 0, itt, ISCSI_TAG_RSVD, sn, 0, 0, false);
    data_out(p, 0, itt, ISCSI_TAG_RSVD, sn++, 0, LEN, false);
    data_out(p, 0, itt, ISCSI_TAG_RSVD, sn++, LEN, 0, false);
    data_out(p, 0, itt, ISCSI_TAG_RSVD, sn++, LEN, LEN, true);
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    assert_memory_equal(world_memory(p->w), bytes, 2 * LEN);
    puppet_free(p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(echoes_of_each_length, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(each_bit_is_covered, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(opcodes_of_others, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(reserved_fields_are_nothing, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(wrong_forms_end_the_session, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(additional_headers, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(tags_must_fit, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(reserved_codes, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(numbers_go_around, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(empty_data, world_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
