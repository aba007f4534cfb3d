/* SPDX-License-Identifier: MIT */
#include "samples.h"

#include <assert.h>
#include <string.h>

#include "wire/bhs.h"
#include "wire/lun.h"
#include "wire/pdu.h"
#include "wire/scsi.h"
#include "wire/sense.h"
#include "wire/text.h"

static const uint8_t isid[6] = {0x80, 0x12, 0x34, 0x56, 0x00, 0x07};

/* The header h, the AHS and the data, padded. */
static size_t
finish(uint8_t *buf, void *h, const void *ahs, size_t ahs_len, const void *data, size_t len)
{
    struct bhs *b = h;
    size_t at = ISCSI_BHS_LEN;

    assert(ahs_len % 4 == 0);
    b->ahs_words = (uint8_t)(ahs_len / 4);
    b->dseg_len = put24((uint32_t)len);
    memcpy(buf, h, ISCSI_BHS_LEN);
    if (ahs_len > 0)
        memcpy(buf + at, ahs, ahs_len);
    at += ahs_len;
    if (len > 0)
        memcpy(buf + at, data, len);
    at += len;
    memset(buf + at, 0, pdu_pad((uint32_t)len));
    return at + pdu_pad((uint32_t)len);
}

size_t
sample_add_digests(uint8_t *buf, size_t len)
{
    const struct bhs *h = (const struct bhs *)buf;
    size_t hdr = ISCSI_BHS_LEN + pdu_ahs_len(h);
    uint8_t digest[PDU_DIGEST_LEN];

    if (len > hdr) {
        pdu_data_digest(buf + hdr, pdu_dseg_len(h), buf + len);
        len += PDU_DIGEST_LEN;
    }
    pdu_header_digest(buf, hdr, digest);
    memmove(buf + hdr + PDU_DIGEST_LEN, buf + hdr, len - hdr);
    memcpy(buf + hdr, digest, sizeof(digest));
    return len + PDU_DIGEST_LEN;
}

static size_t
login_req(uint8_t *buf)
{
    struct bhs_login_req h;
    struct text_buf t;
    char text[200];

    text_buf_init(&t, text, sizeof(text));
    assert(text_put(&t, "InitiatorName", "iqn.2024-01.org.example:i") == 0);
    assert(text_put(&t, "TargetName", "iqn.2024-01.org.example:t") == 0);
    assert(text_put(&t, "SessionType", "Normal") == 0);
    assert(text_put(&t, "AuthMethod", "CHAP,None") == 0);
    bhs_init(&h, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE,
             bhs_login_flags(ISCSI_STAGE_SECURITY, ISCSI_STAGE_OPERATIONAL, ISCSI_LOGIN_TRANSIT));
    memcpy(h.isid, isid, sizeof(isid));
    h.itt = put32(0x11);
    h.cid = put16(3);
    h.cmd_sn = put32(100);
    return finish(buf, &h, NULL, 0, text, t.len);
}

static size_t
login_rsp(uint8_t *buf)
{
    struct bhs_login_rsp h;
    struct text_buf t;
    char text[100];

    text_buf_init(&t, text, sizeof(text));
    assert(text_put_num(&t, "TargetPortalGroupTag", 1) == 0);
    assert(text_put(&t, "AuthMethod", "None") == 0);
    bhs_init(&h, ISCSI_OP_LOGIN_RSP,
             bhs_login_flags(ISCSI_STAGE_SECURITY, ISCSI_STAGE_OPERATIONAL, ISCSI_LOGIN_TRANSIT));
    memcpy(h.isid, isid, sizeof(isid));
    h.itt = put32(0x11);
    h.stat_sn = put32(500);
    h.exp_cmd_sn = put32(100);
    h.max_cmd_sn = put32(131);
    return finish(buf, &h, NULL, 0, text, t.len);
}

static size_t
login_req_final(uint8_t *buf)
{
    struct bhs_login_req h;
    struct text_buf t;
    char text[100];

    text_buf_init(&t, text, sizeof(text));
    assert(text_put_num(&t, "MaxConnections", 4) == 0);
    assert(text_put_bool(&t, "InitialR2T", false) == 0);
    bhs_init(&h, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE,
             bhs_login_flags(ISCSI_STAGE_OPERATIONAL, ISCSI_STAGE_FFP, ISCSI_LOGIN_TRANSIT));
    memcpy(h.isid, isid, sizeof(isid));
    h.itt = put32(0x11);
    h.cid = put16(3);
    h.cmd_sn = put32(100);
    h.exp_stat_sn = put32(501);
    return finish(buf, &h, NULL, 0, text, t.len);
}

static size_t
login_rsp_final(uint8_t *buf)
{
    struct bhs_login_rsp h;
    struct text_buf t;
    char text[100];

    text_buf_init(&t, text, sizeof(text));
    assert(text_put_num(&t, "MaxConnections", 1) == 0);
    assert(text_put_bool(&t, "InitialR2T", true) == 0);
    bhs_init(&h, ISCSI_OP_LOGIN_RSP,
             bhs_login_flags(ISCSI_STAGE_OPERATIONAL, ISCSI_STAGE_FFP, ISCSI_LOGIN_TRANSIT));
    memcpy(h.isid, isid, sizeof(isid));
    h.tsih = put16(0x42);
    h.itt = put32(0x11);
    h.stat_sn = put32(501);
    h.exp_cmd_sn = put32(100);
    h.max_cmd_sn = put32(131);
    return finish(buf, &h, NULL, 0, text, t.len);
}

static void
cmd_init(struct bhs_scsi_cmd *h, unsigned flags, uint32_t itt, uint32_t edtl, uint32_t cmd_sn)
{
    bhs_init(h, ISCSI_OP_SCSI_CMD, (uint8_t)flags);
    lun_store(h->lun, lun_from_number(1));
    h->itt = put32(itt);
    h->edtl = put32(edtl);
    h->cmd_sn = put32(cmd_sn);
    h->exp_stat_sn = put32(502);
}

static size_t
cmd_read(uint8_t *buf)
{
    struct bhs_scsi_cmd h;
    uint8_t cdb[CDB_MAX];

    cmd_init(&h, ISCSI_FLAG_FINAL | ISCSI_CMD_READ | ISCSI_ATTR_SIMPLE, 0x21, 1026, 100);
    h.pri = 0x50;
    assert(cdb_read10(cdb, 0x01020304, 2, SCSI_FUA) == 10);
    memcpy(h.cdb, cdb, sizeof(h.cdb));
    return finish(buf, &h, NULL, 0, NULL, 0);
}

static size_t
data_in(uint8_t *buf)
{
    struct bhs_data_in h;
    uint8_t data[512];

    memset(data, 'A', sizeof(data));
    bhs_init(&h, ISCSI_OP_DATA_IN, ISCSI_DATA_IN_ACK);
    lun_store(h.lun, lun_from_number(1));
    h.itt = put32(0x21);
    h.ttt = put32(0x5a5a0001);
    h.exp_cmd_sn = put32(101);
    h.max_cmd_sn = put32(132);
    return finish(buf, &h, NULL, 0, data, sizeof(data));
}

static size_t
data_in_status(uint8_t *buf)
{
    struct bhs_data_in h;
    uint8_t data[513];

    memset(data, 'B', sizeof(data));
    bhs_init(&h, ISCSI_OP_DATA_IN, ISCSI_FLAG_FINAL | ISCSI_RSP_UNDERFLOW | ISCSI_DATA_IN_STATUS);
    h.status = SCSI_CONDITION_MET;
    h.itt = put32(0x21);
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.stat_sn = put32(502);
    h.exp_cmd_sn = put32(101);
    h.max_cmd_sn = put32(132);
    h.data_sn = put32(1);
    h.offset = put32(512);
    h.residual = put32(1);
    return finish(buf, &h, NULL, 0, data, sizeof(data));
}

/* WRITE(32) with an Extended CDB AHS and immediate data. */
static size_t
cmd_write32(uint8_t *buf)
{
    uint8_t cdb[CDB_MAX], ahs[64], data[256];
    struct bhs_scsi_cmd h;
    int n;

    memset(data, 'C', sizeof(data));
    cmd_init(&h, ISCSI_FLAG_FINAL | ISCSI_CMD_WRITE | ISCSI_ATTR_ORDERED, 0x22, 1024, 101);
    assert(cdb_write32(cdb, 0x1122334455667788, 2, SCSI_DPO, 0xaabbccdd) == 32);
    memcpy(h.cdb, cdb, sizeof(h.cdb));
    n = ahs_put_ext_cdb(ahs, sizeof(ahs), cdb, 32);
    assert(n == 20);
    return finish(buf, &h, ahs, (size_t)n, data, sizeof(data));
}

/* A bidirectional command of 32 bytes, both AHS, in either order. */
static size_t
cmd_bidi(uint8_t *buf, bool bidi_first)
{
    uint8_t cdb[CDB_MAX], ahs[64];
    struct bhs_scsi_cmd h;
    int n = 0;

    cmd_init(&h, ISCSI_CMD_READ | ISCSI_CMD_WRITE | ISCSI_FLAG_FINAL | ISCSI_ATTR_SIMPLE, 0x27, 512,
             102);
    memset(cdb, 0, sizeof(cdb));
    cdb[0] = SCSI_VARIABLE_LENGTH;
    cdb[7] = 0x18;
    cdb[9] = 0x07; /* XDWRITEREAD(32) */
    for (uint8_t i = 16; i < 32; i++)
        cdb[i] = i;
    memcpy(h.cdb, cdb, sizeof(h.cdb));
    if (bidi_first)
        n = ahs_put_bidi(ahs, sizeof(ahs), 0x00010203);
    n += ahs_put_ext_cdb(ahs + n, sizeof(ahs) - (size_t)n, cdb, sizeof(cdb));
    if (!bidi_first)
        n += ahs_put_bidi(ahs + n, sizeof(ahs) - (size_t)n, 0x00010203);
    assert(n == 28);
    return finish(buf, &h, ahs, (size_t)n, NULL, 0);
}

static size_t
cmd_bidi_cdb_first(uint8_t *buf)
{
    return cmd_bidi(buf, false);
}

static size_t
cmd_bidi_len_first(uint8_t *buf)
{
    return cmd_bidi(buf, true);
}

static size_t
r2t(uint8_t *buf)
{
    struct bhs_r2t h;

    bhs_init(&h, ISCSI_OP_R2T, ISCSI_FLAG_FINAL);
    lun_store(h.lun, lun_from_number(1));
    h.itt = put32(0x22);
    h.ttt = put32(0x77);
    h.stat_sn = put32(503);
    h.exp_cmd_sn = put32(102);
    h.max_cmd_sn = put32(133);
    h.r2t_sn = put32(3);
    h.offset = put32(256);
    h.desired_len = put32(768);
    return finish(buf, &h, NULL, 0, NULL, 0);
}

static size_t
data_out(uint8_t *buf)
{
    struct bhs_data_out h;
    uint8_t data[7];

    memset(data, 'D', sizeof(data));
    bhs_init(&h, ISCSI_OP_DATA_OUT, ISCSI_FLAG_FINAL);
    lun_store(h.lun, lun_from_number(1));
    h.itt = put32(0x22);
    h.ttt = put32(0x77);
    h.exp_stat_sn = put32(503);
    h.data_sn = put32(4);
    h.offset = put32(1017);
    return finish(buf, &h, NULL, 0, data, sizeof(data));
}

static size_t
scsi_rsp(uint8_t *buf)
{
    struct bhs_scsi_rsp h;
    uint8_t data[2 + SENSE_FIXED_LEN];

    st_be16(data, SENSE_FIXED_LEN);
    assert(sense_build(data + 2, SENSE_UNIT_ATTENTION, 0x29, 0x00) == SENSE_FIXED_LEN);
    bhs_init(&h, ISCSI_OP_SCSI_RSP,
             ISCSI_FLAG_FINAL | ISCSI_RSP_BIDI_UNDERFLOW | ISCSI_RSP_UNDERFLOW);
    h.response = ISCSI_RESPONSE_COMPLETED;
    h.status = SCSI_CHECK_CONDITION;
    h.status_qualifier = put16(5);
    h.itt = put32(0x22);
    h.snack_tag = put32(0x99);
    h.stat_sn = put32(503);
    h.exp_cmd_sn = put32(103);
    h.max_cmd_sn = put32(134);
    h.exp_data_sn = put32(6);
    h.bidi_residual = put32(77);
    h.residual = put32(1024);
    return finish(buf, &h, NULL, 0, data, sizeof(data));
}

static size_t
tmf_req(uint8_t *buf)
{
    struct bhs_tmf_req h;

    bhs_init(&h, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | ISCSI_TMF_ABORT_TASK);
    lun_store(h.lun, lun_from_number(1));
    h.itt = put32(0x23);
    h.ref_tag = put32(0x22);
    h.cmd_sn = put32(103);
    h.exp_stat_sn = put32(504);
    h.ref_cmd_sn = put32(101);
    h.exp_data_sn = put32(8);
    return finish(buf, &h, NULL, 0, NULL, 0);
}

static size_t
tmf_rsp(uint8_t *buf)
{
    struct bhs_tmf_rsp h;

    bhs_init(&h, ISCSI_OP_TMF_RSP, ISCSI_FLAG_FINAL);
    h.response = ISCSI_TMF_RSP_NO_TASK;
    h.info = put24(0x010203);
    h.itt = put32(0x23);
    h.stat_sn = put32(504);
    h.exp_cmd_sn = put32(103);
    h.max_cmd_sn = put32(134);
    return finish(buf, &h, NULL, 0, NULL, 0);
}

static size_t
nop_out(uint8_t *buf)
{
    struct bhs_nop_out h;

    bhs_init(&h, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    lun_store(h.lun, lun_from_number(300));
    h.itt = put32(0x24);
    h.ttt = put32(0x88);
    h.cmd_sn = put32(103);
    h.exp_stat_sn = put32(505);
    return finish(buf, &h, NULL, 0, "ping!", 5);
}

static size_t
nop_in(uint8_t *buf)
{
    struct bhs_nop_in h;

    bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    h.itt = put32(0x24);
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.stat_sn = put32(505);
    h.exp_cmd_sn = put32(103);
    h.max_cmd_sn = put32(134);
    return finish(buf, &h, NULL, 0, "ping!", 5);
}

static size_t
text_req(uint8_t *buf)
{
    struct bhs_text_req h;
    struct text_buf t;
    char text[32];

    text_buf_init(&t, text, sizeof(text));
    assert(text_put(&t, "SendTargets", "All") == 0);
    bhs_init(&h, ISCSI_OP_TEXT_REQ, ISCSI_FLAG_FINAL);
    h.itt = put32(0x25);
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.cmd_sn = put32(103);
    h.exp_stat_sn = put32(506);
    return finish(buf, &h, NULL, 0, text, t.len);
}

static size_t
text_rsp(uint8_t *buf)
{
    struct bhs_text_rsp h;
    struct text_buf t;
    char text[100];

    text_buf_init(&t, text, sizeof(text));
    assert(text_put(&t, "TargetName", "iqn.2024-01.org.example:t") == 0);
    assert(text_put(&t, "TargetAddress", "127.0.0.1:3260,1") == 0);
    bhs_init(&h, ISCSI_OP_TEXT_RSP, ISCSI_TEXT_CONTINUE);
    h.itt = put32(0x25);
    h.ttt = put32(0x99);
    h.stat_sn = put32(506);
    h.exp_cmd_sn = put32(104);
    h.max_cmd_sn = put32(135);
    return finish(buf, &h, NULL, 0, text, t.len);
}

static size_t
snack_req(uint8_t *buf)
{
    struct bhs_snack_req h;

    bhs_init(&h, ISCSI_OP_SNACK_REQ, ISCSI_FLAG_FINAL | ISCSI_SNACK_STATUS);
    h.itt = put32(ISCSI_TAG_RSVD);
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.exp_stat_sn = put32(507);
    h.beg_run = put32(505);
    h.run_length = put32(2);
    return finish(buf, &h, NULL, 0, NULL, 0);
}

static size_t
async_msg(uint8_t *buf)
{
    struct bhs_async h;

    bhs_init(&h, ISCSI_OP_ASYNC, ISCSI_FLAG_FINAL);
    h.itt = put32(ISCSI_TAG_RSVD);
    h.stat_sn = put32(507);
    h.exp_cmd_sn = put32(104);
    h.max_cmd_sn = put32(135);
    h.event = ISCSI_ASYNC_DROP_CONNECTION;
    h.vcode = 9;
    h.param1 = put16(3);
    h.param2 = put16(2);
    h.param3 = put16(20);
    return finish(buf, &h, NULL, 0, NULL, 0);
}

static size_t
reject(uint8_t *buf)
{
    struct bhs_reject h;
    uint8_t bad[SAMPLE_MAX];

    (void)snack_req(bad);
    bhs_init(&h, ISCSI_OP_REJECT, ISCSI_FLAG_FINAL);
    h.reason = ISCSI_REJECT_PROTOCOL_ERROR;
    h.itt = put32(ISCSI_TAG_RSVD);
    h.stat_sn = put32(508);
    h.exp_cmd_sn = put32(104);
    h.max_cmd_sn = put32(135);
    h.data_sn = put32(11);
    return finish(buf, &h, NULL, 0, bad, ISCSI_BHS_LEN);
}

static size_t
logout_req(uint8_t *buf)
{
    struct bhs_logout_req h;

    bhs_init(&h, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE,
             ISCSI_FLAG_FINAL | ISCSI_LOGOUT_CLOSE_CONNECTION);
    h.itt = put32(0x26);
    h.cid = put16(3);
    h.cmd_sn = put32(104);
    h.exp_stat_sn = put32(509);
    return finish(buf, &h, NULL, 0, NULL, 0);
}

static size_t
logout_rsp(uint8_t *buf)
{
    struct bhs_logout_rsp h;

    bhs_init(&h, ISCSI_OP_LOGOUT_RSP, ISCSI_FLAG_FINAL);
    h.response = ISCSI_LOGOUT_RSP_CLEANUP_FAILED;
    h.itt = put32(0x26);
    h.stat_sn = put32(509);
    h.exp_cmd_sn = put32(105);
    h.max_cmd_sn = put32(136);
    h.time2wait = put16(2);
    h.time2retain = put16(20);
    return finish(buf, &h, NULL, 0, NULL, 0);
}

const struct sample samples[] = {
    {"login_req", false, login_req},
    {"login_rsp", true, login_rsp},
    {"login_req_final", false, login_req_final},
    {"login_rsp_final", true, login_rsp_final},
    {"cmd_read", false, cmd_read},
    {"data_in", true, data_in},
    {"data_in_status", true, data_in_status},
    {"cmd_write32", false, cmd_write32},
    {"r2t", true, r2t},
    {"data_out", false, data_out},
    {"scsi_rsp", true, scsi_rsp},
    {"cmd_bidi_cdb_first", false, cmd_bidi_cdb_first},
    {"cmd_bidi_len_first", false, cmd_bidi_len_first},
    {"tmf_req", false, tmf_req},
    {"tmf_rsp", true, tmf_rsp},
    {"nop_out", false, nop_out},
    {"nop_in", true, nop_in},
    {"text_req", false, text_req},
    {"text_rsp", true, text_rsp},
    {"snack_req", false, snack_req},
    {"async", true, async_msg},
    {"reject", true, reject},
    {"logout_req", false, logout_req},
    {"logout_rsp", true, logout_rsp},
};
const unsigned nsamples = sizeof(samples) / sizeof(samples[0]);
