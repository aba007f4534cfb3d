/* SPDX-License-Identifier: MIT */
/* PDUs that an adapter has framed: what they mean, with nothing linked that frames bytes. */
#include "tests/test.h"
#include "tests/unit/fake_loop.h"

#include <errno.h>
#include <string.h>

#include "transport/stream/iscsi_tcp.h"
#include "wire/pdu.h"

#define LEN   3000u
#define ITT   0x5000u /* slot 0 in its fifth use */
#define GONE  0x9999u /* of a task that has ended */
#define GUARD 0xa5u

static struct rig {
    struct fake_loop fl;
    struct iscsi_session session;
    struct iscsi_conn conn;
    struct iscsi_tcp_conn tcp;
    struct iscsi_task task;
    void *chunk[1];
    struct iscsi_tcp_task tcp_task;
    struct scsi_cmd sc;
    struct iovec iov[2];
    uint8_t buf[LEN + 100];
    enum iscsi_err err;
    unsigned completes, updates, requeues, asked_again, odd;
    uint8_t op;
    uint8_t ctl[64];
    uint32_t ctl_len;
    bool hold_next;
    struct bhs_data_out out[8];
    uint32_t nout;
    uint8_t hdr[ISCSI_HDR_MAX];
    uint32_t shown, rest;
    uint8_t show[8192];
} r;

static bool
itt_ended(struct iscsi_conn *c, struct be32 itt)
{
    (void)c;
    return get32(itt) == GONE;
}

static int
complete_pdu(struct iscsi_conn *c, const struct bhs *hdr, const void *data, uint32_t len)
{
    (void)c;
    r.completes++;
    r.op = pdu_opcode(hdr);
    assert_true(len <= sizeof(r.ctl));
    r.ctl_len = len;
    if (len > 0)
        memcpy(r.ctl, data, len);
    if (!r.hold_next)
        return 0;
    r.hold_next = false;
    return ISCSI_RX_HOLD;
}

static void
update_cmdsn(struct iscsi_conn *c, struct be32 e, struct be32 m)
{
    (void)c;
    (void)e;
    (void)m;
    r.updates++;
}

static void
conn_failure(struct iscsi_conn *c, enum iscsi_err err, const char *why)
{
    assert_true(why[0] != '\0');
    c->failed = true;
    r.err = err;
}

static void
requeue_task(struct iscsi_task *t)
{
    (void)t;
    r.requeues++;
}

static bool
bad_data_digest(struct iscsi_conn *c, struct iscsi_task *t, const struct bhs *hdr)
{
    (void)c;
    assert_true(t == NULL || pdu_opcode(hdr) == ISCSI_OP_DATA_IN);
    r.asked_again++;
    return true;
}

static enum iscsi_odd
odd_data_in(struct iscsi_task *t, const struct bhs_data_in *h)
{
    (void)t;
    (void)h;
    return ISCSI_ODD_TAKE;
}

static void
data_in_came(struct iscsi_task *t, const struct bhs_data_in *h)
{
    (void)t;
    (void)h;
    r.odd++;
}

static const struct iscsi_upcalls upcalls = {
    .size = sizeof(struct iscsi_upcalls),
    .itt_ended = itt_ended,
    .complete_pdu = complete_pdu,
    .update_cmdsn = update_cmdsn,
    .conn_failure = conn_failure,
    .requeue_task = requeue_task,
    .bad_data_digest = bad_data_digest,
    .odd_data_in = odd_data_in,
    .data_in_came = data_in_came,
};

static int
alloc_pdu(struct iscsi_task *t, uint8_t opcode)
{
    (void)opcode;
    t->hdr = (void *)r.hdr;
    return 0;
}

static int
init_pdu(struct iscsi_task *t, uint32_t offset, uint32_t count)
{
    assert_int_equal(pdu_dseg_len(t->hdr), count);
    assert_true(offset + count <= LEN);
    return 0;
}

static int
xmit_pdu(struct iscsi_task *t)
{
    assert_true(r.nout < 8);
    memcpy(&r.out[r.nout++], t->hdr, ISCSI_BHS_LEN);
    return 0;
}

static const struct iscsi_tcp_ops pdus = {.init_pdu = init_pdu, .xmit_pdu = xmit_pdu};
static const struct iscsi_transport transport = {
    .alloc_pdu = alloc_pdu,
    .caps = CAP_HDRDGST | CAP_DATADGST | CAP_DIGEST_OFFLOAD | CAP_PADDING_OFFLOAD,
};

static void
rig(bool read)
{
    memset(&r, 0, sizeof(r));
    memset(r.buf, GUARD, sizeof(r.buf));
    fake_loop_init(&r.fl, 1);
    r.session.params = (struct iscsi_session_params){.max_burst = 4096, .max_r2t = 4};
    r.chunk[0] = &r.task;
    r.session.tasks = (struct iscsi_tasks){.chunk = r.chunk, .made = 1, .bytes = sizeof(r.task)};
    r.task.state = ISCSI_TASK_RUNNING;
    r.conn = (struct iscsi_conn){.session = &r.session,
                                 .loop = &r.fl.l,
                                 .up = &upcalls,
                                 .tt = &transport,
                                 .dd_data = &r.tcp,
                                 .max_recv_dlength = 2048,
                                 .max_xmit_dlength = 1000};
    iscsi_tcp_conn_init(&r.tcp, &r.conn, &pdus);
    r.task.conn = &r.conn;
    r.task.sc = &r.sc;
    r.task.dd_data = &r.tcp_task;
    r.task.itt = ITT;
    r.iov[0] = (struct iovec){r.buf, 1001};
    r.iov[1] = (struct iovec){r.buf + 1001, LEN - 1001};
    if (read)
        r.sc.in = sg_from_iov(r.iov, 2, 0, LEN);
    else
        r.sc.out = sg_from_iov(r.iov, 2, 0, LEN);
    (void)iscsi_tcp_task_init(&r.task);
    (void)iscsi_tcp_task_sent(&r.task);
}

static uint8_t
pattern(uint32_t i)
{
    return (uint8_t)(i * 13 + 1);
}

/* A Data-In; with ISCSI_TCP_PLACED the adapter has put its data where they belong. */
static int
data_in(uint32_t sn, uint32_t offset, uint32_t len, uint8_t bits, uint32_t flags)
{
    uint8_t data[4096];
    union bhs_any h;

    assert_true(len <= sizeof(data));
    for (uint32_t i = 0; i < len; i++)
        data[i] = pattern(offset + i);
    bhs_init(&h, ISCSI_OP_DATA_IN, bits);
    h.h.itt = put32(ITT);
    h.h.dseg_len = put24(len);
    h.data_in.data_sn = put32(sn);
    h.data_in.offset = put32(offset);
    if ((flags & ISCSI_TCP_PLACED) == 0)
        return iscsi_tcp_recv_pdu(&r.tcp, &h.h, data, len, flags);
    if (offset + len <= LEN)
        memcpy(r.buf + offset, data, len);
    return iscsi_tcp_recv_pdu(&r.tcp, &h.h, NULL, len, flags);
}

static int
control(uint8_t opcode, uint32_t itt, const void *data, uint32_t len, uint32_t flags)
{
    union bhs_any h;

    bhs_init(&h, opcode, ISCSI_FLAG_FINAL);
    h.h.itt = put32(itt);
    h.h.dseg_len = put24(len);
    return iscsi_tcp_recv_pdu(&r.tcp, &h.h, data, len, flags);
}

static void
all_came(void)
{
    assert_int_equal(r.err, ISCSI_OK);
    assert_int_equal(r.task.in_done, LEN);
    for (uint32_t i = 0; i < LEN; i++)
        assert_int_equal(r.buf[i], pattern(i));
    for (uint32_t i = LEN; i < sizeof(r.buf); i++)
        assert_int_equal(r.buf[i], GUARD);
}

/* Any of the Data-Ins of a read may have been placed by the adapter, and others not. */
static void
reads(void **state)
{
    (void)state;
    for (uint32_t placed = 0; placed < 8; placed++) {
        rig(true);
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(data_in(i, i * 1000, 1000, i == 2 ? ISCSI_FLAG_FINAL : 0,
                                     placed & 1u << i ? ISCSI_TCP_PLACED : 0),
                             0);
        all_came();
        assert_int_equal(r.updates, 3);
        assert_int_equal(r.conn.stats.datain_pdus, 3);
        assert_int_equal(r.conn.stats.rxdata_octets, LEN);
        assert_int_equal(control(ISCSI_OP_SCSI_RSP, ITT, "\0\5sense", 7, 0), 0);
        assert_true(r.completes == 1 && r.op == ISCSI_OP_SCSI_RSP && r.ctl_len == 7);
        assert_memory_equal(r.ctl, "\0\5sense", 7);
    }
}

/* Status in the last Data-In, which is told without data. */
static void
status_in_data(void **state)
{
    (void)state;
    rig(true);
    assert_int_equal(data_in(0, 0, 2000, 0, ISCSI_TCP_PLACED), 0);
    assert_int_equal(data_in(1, 2000, 1000, ISCSI_FLAG_FINAL | ISCSI_DATA_IN_STATUS, 0), 0);
    all_came();
    assert_true(r.completes == 1 && r.op == ISCSI_OP_DATA_IN && r.ctl_len == 0);
}

/* The connection fails with that error; whatever follows is dropped, and memory stays as it is. */
static void
failed(int result, enum iscsi_err err)
{
    assert_true(result < 0);
    assert_int_equal(r.err, err);
    for (uint32_t i = 0; i < sizeof(r.buf); i++)
        assert_int_equal(r.buf[i], GUARD);
    assert_true(control(ISCSI_OP_NOP_IN, ISCSI_TAG_RSVD, NULL, 0, 0) < 0);
    assert_true(data_in(0, 0, 100, 0, 0) < 0);
    assert_int_equal(r.completes + r.updates, 0);
    assert_int_equal(r.buf[0], GUARD);
}

static void
wrong_ones(void **state)
{
    union bhs_any h;

    (void)state;
    rig(true);
    failed(data_in(0, 0, 100, 0, ISCSI_TCP_BAD_HEADER), ISCSI_ERR_HDR_DGST);
    assert_int_equal(r.conn.stats.digest_err, 1);
    rig(true);
    failed(data_in(0, 0, 100, 0, ISCSI_TCP_BAD_DATA), ISCSI_ERR_DATA_DGST);
    rig(true);
    failed(control(ISCSI_OP_NOP_IN, ISCSI_TAG_RSVD, "data", 4, ISCSI_TCP_BAD_DATA),
           ISCSI_ERR_DATA_DGST);
    rig(true);
    failed(control(ISCSI_OP_NOP_IN, ISCSI_TAG_RSVD, NULL, 4, ISCSI_TCP_PLACED), ISCSI_ERR_PROTO);
    rig(true);
    failed(control(ISCSI_OP_SCSI_CMD, ITT, NULL, 0, 0), ISCSI_ERR_PROTO);
    rig(true);
    failed(data_in(0, 0, 2049, 0, 0), ISCSI_ERR_PROTO); /* above what we declared */
    rig(true);
    failed(data_in(0, LEN - 10, 11, 0, 0), ISCSI_ERR_DATA_OFFSET);
    rig(true);
    failed(data_in(0, LEN - 10, 11, 0, ISCSI_TCP_PLACED), ISCSI_ERR_DATA_OFFSET);
    rig(true);
    failed(data_in(1, 0, 100, 0, 0), ISCSI_ERR_DATASN);
    rig(true); /* the entry of a ring and the header in it say different lengths */
    bhs_init(&h, ISCSI_OP_DATA_IN, 0);
    h.h.itt = put32(ITT);
    h.h.dseg_len = put24(2000);
    failed(iscsi_tcp_recv_pdu(&r.tcp, &h.h, "data", 4, 0), ISCSI_ERR_PROTO);
}

/* From level 1 on what was spoilt is asked for again, and counts for nothing. */
static void
spoilt_at_level_1(void **state)
{
    (void)state;
    for (uint32_t placed = 0; placed <= ISCSI_TCP_PLACED; placed += ISCSI_TCP_PLACED) {
        rig(true);
        r.session.params.erl = 1;
        assert_int_equal(data_in(0, 0, 1000, 0, placed | ISCSI_TCP_BAD_DATA), 0);
        assert_int_equal(r.asked_again, 1);
        assert_int_equal(r.task.in_done, 0);
        assert_int_equal(control(ISCSI_OP_NOP_IN, ISCSI_TAG_RSVD, "data", 4, ISCSI_TCP_BAD_DATA),
                         0);
        assert_int_equal(r.asked_again, 2);
        assert_int_equal(r.completes, 0);
        assert_int_equal(data_in(1, 1000, 1000, 0, placed), 0); /* not the next one: taken */
        assert_int_equal(r.odd, 1);
        for (uint32_t i = 1000; i < 2000; i++)
            assert_int_equal(r.buf[i], pattern(i));
        assert_int_equal(r.err, ISCSI_OK);
    }
}

/* Of a task that is gone: received and kept nowhere. */
static void
late_ones(void **state)
{
    union bhs_any h;

    (void)state;
    rig(true);
    bhs_init(&h, ISCSI_OP_DATA_IN, 0);
    h.h.itt = put32(GONE);
    h.h.dseg_len = put24(100);
    assert_int_equal(iscsi_tcp_recv_pdu(&r.tcp, &h.h, NULL, 100, ISCSI_TCP_PLACED), 0);
    assert_int_equal(iscsi_tcp_recv_pdu(&r.tcp, &h.h, r.ctl, 100, 0), 0);
    assert_int_equal(r.updates, 2);
    assert_int_equal(r.buf[0], GUARD);
    iscsi_tcp_cleanup_task(&r.task);
    assert_int_equal(r.err, ISCSI_OK);
}

static void
held_until_start(void **state)
{
    (void)state;
    rig(true);
    r.hold_next = true;
    assert_int_equal(control(ISCSI_OP_LOGIN_RSP, ITT, "a=b", 4, 0), ISCSI_RX_HOLD);
    assert_true(r.tcp.hold);
    assert_int_equal(r.completes, 1);
    r.tcp.hold = false; /* start_conn */
    assert_int_equal(control(ISCSI_OP_NOP_IN, ISCSI_TAG_RSVD, NULL, 0, 0), 0);
    assert_int_equal(r.completes, 2);
}

/* R2Ts are answered by Data-Outs: the way out is that of the stream transports. */
static void
writes(void **state)
{
    union bhs_any h;

    (void)state;
    rig(false);
    bhs_init(&h, ISCSI_OP_R2T, ISCSI_FLAG_FINAL);
    h.h.itt = put32(ITT);
    h.r2t.ttt = put32(7);
    h.r2t.desired_len = put32(LEN);
    assert_int_equal(iscsi_tcp_recv_pdu(&r.tcp, &h.h, NULL, 0, 0), 0);
    assert_int_equal(r.requeues, 1);
    assert_int_equal(iscsi_tcp_xmit_data(&r.task), 0);
    assert_int_equal(r.nout, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(get32(r.out[i].offset), i * 1000);
        assert_int_equal(get32(r.out[i].ttt), 7);
        assert_int_equal(r.out[i].flags, i == 2 ? ISCSI_FLAG_FINAL : 0);
    }
    assert_int_equal(r.task.out_done, LEN);
}

static void
show_begin(void *user, struct iscsi_conn *c, bool tx, const void *hdr, uint32_t hdr_len,
           uint32_t rest)
{
    (void)user;
    (void)c;
    assert_true(!tx && r.rest == 0 && hdr_len == ISCSI_BHS_LEN);
    memcpy(r.show + r.shown, hdr, hdr_len);
    r.shown += hdr_len;
    r.rest = rest;
}

static void
show_more(void *user, struct iscsi_conn *c, bool tx, const void *data, uint32_t len)
{
    (void)user;
    (void)c;
    assert_true(!tx && len <= r.rest);
    memcpy(r.show + r.shown, data, len);
    r.shown += len;
    r.rest -= len;
}

/* Those who look on see whole PDUs with padding, also of data that the adapter has placed. */
static void
looked_on(void **state)
{
    static const struct iscsi_tap show = {.begin = show_begin, .more = show_more};

    (void)state;
    for (uint32_t placed = 0; placed <= ISCSI_TCP_PLACED; placed += ISCSI_TCP_PLACED) {
        rig(true);
        r.conn.tap = &show;
        assert_int_equal(data_in(0, 0, 1005, 0, placed), 0);
        assert_int_equal(r.shown, 48 + 1008);
        for (uint32_t i = 0; i < 1008; i++)
            assert_int_equal(r.show[48 + i], i < 1005 ? pattern(i) : 0);
        assert_int_equal(control(ISCSI_OP_NOP_IN, ISCSI_TAG_RSVD, "da", 2, 0), 0);
        assert_int_equal(r.shown, 48 + 1008 + 48 + 4);
        assert_int_equal(r.rest, 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),      cmocka_unit_test(status_in_data),
        cmocka_unit_test(wrong_ones), cmocka_unit_test(spoilt_at_level_1),
        cmocka_unit_test(late_ones),  cmocka_unit_test(held_until_start),
        cmocka_unit_test(writes),     cmocka_unit_test(looked_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
