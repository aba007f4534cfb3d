/* SPDX-License-Identifier: MIT */
/* PDUs out of bytes however they are cut, and Data-Outs out of R2Ts.  CONFORMANCE ids at the rows.
 */
#include "tests/test.h"
#include "tests/unit/fake_loop.h"

#include <errno.h>
#include <stdlib.h>

#include "transport/stream/iscsi_tcp.h"
#include "wire/pdu.h"

#define READ_LEN 3000u
#define ITT      0x5000u /* slot 0 in its fifth use */

static struct rig {
    struct fake_loop fl;
    struct iscsi_session session;
    struct iscsi_conn conn;
    struct flight flight; /* the fast path wants one */
    struct iscsi_tcp_conn tcp;
    struct iscsi_task task; /* the only one of the session's table */
    void *chunk[1];
    struct iscsi_tcp_task tcp_task;
    void (*in_complete)(const struct bhs *hdr); /* what the layer above does in complete_pdu */
    struct scsi_cmd sc;
    struct iovec iov[2];
    uint8_t buf[8192];
    enum iscsi_err err;
    unsigned completes, updates, requeues;
    uint8_t op[16];
    uint8_t ctl[64];
    uint32_t ctl_len;
    bool hold_next;
    /* what the transport under iscsi_tcp was told to send */
    struct bhs_data_out out[256];
    uint32_t nout, room;
    uint8_t hdr[ISCSI_HDR_MAX];
    uint8_t target[8192]; /* the data as a target would assemble it */
    uint32_t offset, count;
} r;

static bool
itt_ended(struct iscsi_conn *c, struct be32 itt)
{
    (void)c;
    return get32(itt) == 0x9999;
}

static int
complete_pdu(struct iscsi_conn *c, const struct bhs *hdr, const void *data, uint32_t len)
{
    (void)c;
    assert_true(r.completes < sizeof(r.op));
    r.op[r.completes++] = pdu_opcode(hdr);
    if (len > 0 && data != NULL) {
        assert_true(len <= sizeof(r.ctl));
        memcpy(r.ctl, data, len);
        r.ctl_len = len;
    }
    if (r.in_complete != NULL)
        r.in_complete(hdr);
    if (r.hold_next) {
        r.hold_next = false;
        return ISCSI_RX_HOLD;
    }
    return 0;
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
    (void)c;
    assert_true(why[0] != '\0');
    if (r.err == ISCSI_OK)
        r.err = err;
}

static void
requeue_task(struct iscsi_task *t)
{
    (void)t;
    r.requeues++;
}

static const struct iscsi_upcalls upcalls = {
    .itt_ended = itt_ended,
    .complete_pdu = complete_pdu,
    .update_cmdsn = update_cmdsn,
    .conn_failure = conn_failure,
    .requeue_task = requeue_task,
};

static int
alloc_pdu(struct iscsi_task *t, uint8_t opcode)
{
    (void)opcode;
    if (r.room == 0)
        return -EAGAIN;
    r.room--;
    t->hdr = (void *)r.hdr;
    return 0;
}

static int
init_pdu(struct iscsi_task *t, uint32_t offset, uint32_t count)
{
    (void)t;
    r.offset = offset;
    r.count = count;
    return 0;
}

static int
xmit_pdu(struct iscsi_task *t)
{
    if (pdu_opcode(t->hdr) == ISCSI_OP_DATA_OUT) {
        struct sg_cursor at;

        assert_true(r.nout < 256);
        memcpy(&r.out[r.nout++], t->hdr, 48);
        assert_int_equal(pdu_dseg_len(t->hdr), r.count);
        assert_int_equal(get32(r.out[r.nout - 1].offset), r.offset);
        sg_cursor_init(&at, &t->sc->out);
        sg_cursor_seek(&at, &t->sc->out, r.offset);
        sg_copy_from(&at, &t->sc->out, r.target + r.offset, r.count);
    }
    return 0;
}

static const struct iscsi_tcp_ops pdus = {.init_pdu = init_pdu, .xmit_pdu = xmit_pdu};
static const struct iscsi_transport transport = {.alloc_pdu = alloc_pdu};
static const struct iscsi_transport offloads = {.alloc_pdu = alloc_pdu,
                                                .caps = CAP_DIGEST_OFFLOAD | CAP_PADDING_OFFLOAD};

static void
rig(bool read, uint32_t len, bool digests)
{
    memset(&r, 0, sizeof(r));
    fake_loop_init(&r.fl, 1);
    r.session.params = (struct iscsi_session_params){.max_burst = 4096, .max_r2t = 4};
    r.chunk[0] = &r.task;
    r.session.tasks = (struct iscsi_tasks){.chunk = r.chunk, .made = 1, .bytes = sizeof(r.task)};
    r.task.state = ISCSI_TASK_RUNNING;
    r.conn.session = &r.session;
    r.conn.flight = &r.flight;
    r.conn.loop = &r.fl.l;
    r.conn.up = &upcalls;
    r.conn.tt = &transport;
    r.conn.dd_data = &r.tcp;
    r.conn.max_recv_dlength = 4096;
    r.conn.max_xmit_dlength = 1000;
    r.conn.hdrdgst_en = r.conn.datadgst_en = digests;
    iscsi_tcp_conn_init(&r.tcp, &r.conn, &pdus);
    r.task.conn = &r.conn;
    r.task.sc = &r.sc;
    r.task.dd_data = &r.tcp_task;
    r.task.itt = ITT;
    r.sc.lun[1] = 5;
    r.iov[0] = (struct iovec){r.buf, 1001};
    r.iov[1] = (struct iovec){r.buf + 1001, len - 1001};
    if (read)
        r.sc.in = sg_from_iov(r.iov, 2, 0, len);
    else
        r.sc.out = sg_from_iov(r.iov, 2, 0, len);
    r.room = 1000;
    assert_int_equal(init_pdu(&r.task, 0, iscsi_tcp_task_init(&r.task)), 0);
}

/* The same rig over another transport. */
static void
rig_of(const struct iscsi_transport *tt)
{
    r.conn.tt = tt;
    iscsi_tcp_conn_init(&r.tcp, &r.conn, &pdus);
}

/* As a transport does. */
static int
xmit_task(struct iscsi_task *t)
{
    if (!r.tcp_task.cmd_sent) {
        int e = xmit_pdu(t);

        if (e < 0 || !iscsi_tcp_task_sent(t))
            return e;
    }
    return iscsi_tcp_xmit_data(t);
}

/* What behind a PDU's data pads it as the transport lets it pass. */
static uint32_t
padding(uint32_t len)
{
    return r.conn.tt->caps & CAP_PADDING_OFFLOAD ? 0 : pdu_pad(len);
}

/* Appends a PDU with its padding and digests. */
static size_t
put(uint8_t *to, const union bhs_any *h, const void *data, uint32_t len)
{
    union bhs_any x = *h;
    size_t n = 48;

    x.h.dseg_len = put24(len);
    memcpy(to, &x, 48);
    if (r.conn.hdrdgst_en) {
        pdu_header_digest(to, 48, to + n);
        n += 4;
    }
    if (len == 0)
        return n;
    memcpy(to + n, data, len);
    memset(to + n + len, 0x55, padding(len)); /* any padding is taken: PDU-08 */
    if (r.conn.datadgst_en)
        pdu_digest_put(to + n + len + pdu_pad(len),
                       crc32c_update(CRC32C_INIT, to + n, len + pdu_pad(len)));
    return n + len + padding(len) + (r.conn.datadgst_en ? 4 : 0);
}

static size_t
data_in(uint8_t *to, uint32_t sn, uint32_t offset, uint32_t len, uint8_t flags)
{
    union bhs_any h;
    uint8_t data[4096];

    for (uint32_t i = 0; i < len; i++)
        data[i] = (uint8_t)((offset + i) * 13);
    bhs_init(&h, ISCSI_OP_DATA_IN, flags);
    h.h.itt = put32(ITT);
    h.data_in.data_sn = put32(sn);
    h.data_in.offset = put32(offset);
    return put(to, &h, data, len);
}

/* A read of three Data-Ins, a NOP-In between, a response with sense at the end. */
static size_t
stream(uint8_t *to)
{
    union bhs_any h;
    size_t n = data_in(to, 0, 0, 1023, 0);

    bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    n += put(to + n, &h, NULL, 0);
    n += data_in(to + n, 1, 1023, 1, 0);
    n += data_in(to + n, 2, 1024, READ_LEN - 1024, ISCSI_FLAG_FINAL);
    bhs_init(&h, ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = put32(ITT);
    n += put(to + n, &h, "\0\5sense", 7);
    return n;
}

static void
check_stream(void)
{
    assert_int_equal(r.err, ISCSI_OK);
    assert_int_equal(r.completes, 2);
    assert_int_equal(r.op[0], ISCSI_OP_NOP_IN);
    assert_int_equal(r.op[1], ISCSI_OP_SCSI_RSP);
    assert_int_equal(r.ctl_len, 7);
    assert_memory_equal(r.ctl, "\0\5sense", 7);
    assert_int_equal(r.updates, 3);
    assert_int_equal(r.task.in_done, READ_LEN);
    assert_int_equal(r.task.exp_datasn, 3);
    for (uint32_t i = 0; i < READ_LEN; i++)
        assert_int_equal(r.buf[i], (uint8_t)(i * 13));
}

static void
test_pieces_of_every_size(void **state)
{
    static uint8_t bytes[16384];

    (void)state;
    for (int digests = 0; digests < 2; digests++) {
        for (size_t piece = 1; piece < 3400; piece += piece < 200 ? 1 : 97) {
            size_t n;

            rig(true, READ_LEN, digests);
            n = stream(bytes);
            for (size_t at = 0; at < n; at += piece) {
                size_t len = n - at < piece ? n - at : piece;

                assert_int_equal(iscsi_tcp_recv(&r.tcp, bytes + at, len), len);
            }
            check_stream();
        }
    }
}

/* What somebody who looks on is shown: the PDUs as they would be with padding. */
static struct {
    size_t n;
    uint32_t rest;
    uint8_t bytes[16384];
} shown;

static void
show_begin(void *user, struct iscsi_conn *c, bool tx, const void *hdr, uint32_t hdr_len,
           uint32_t rest)
{
    (void)user;
    (void)c;
    assert_false(tx);
    assert_int_equal(shown.rest, 0);
    assert_int_equal(hdr_len, 48);
    memcpy(shown.bytes + shown.n, hdr, hdr_len);
    shown.n += hdr_len;
    shown.rest = rest;
}

static void
show_more(void *user, struct iscsi_conn *c, bool tx, const void *data, uint32_t len)
{
    (void)user;
    (void)c;
    (void)tx;
    assert_true(len <= shown.rest);
    memcpy(shown.bytes + shown.n, data, len);
    shown.n += len;
    shown.rest -= len;
}

static const struct iscsi_tap show = {.begin = show_begin, .more = show_more};

/* Of a transport that keeps padding to itself; the fast path and lookers-on included. */
static void
test_no_padding(void **state)
{
    static uint8_t bytes[16384], padded[16384];

    (void)state;
    for (size_t piece = 1; piece < 3400; piece += piece < 60 ? 1 : 97) {
        for (int tapped = 0; tapped < 2; tapped++) {
            size_t n, all;

            rig(true, READ_LEN, false);
            all = stream(padded);
            rig_of(&offloads);
            n = stream(bytes);
            assert_int_equal(n, all - 1 - 3 - 1); /* 1023, 1 and 7 bytes are padded, the rest not */
            memset(&shown, 0, sizeof(shown));
            r.conn.tap = tapped ? &show : NULL;
            for (size_t at = 0; at < n; at += piece) {
                size_t len = n - at < piece ? n - at : piece;

                assert_int_equal(iscsi_tcp_recv(&r.tcp, bytes + at, len), len);
            }
            check_stream();
            if (!tapped)
                continue;
            assert_int_equal(shown.n, all);
            assert_int_equal(shown.rest, 0);
            for (size_t i = 0; i < all; i++) /* padding is shown as zeroes */
                assert_true(shown.bytes[i] == padded[i] ||
                            (padded[i] == 0x55 && shown.bytes[i] == 0));
        }
    }
}

/* A command that is timed and answered while others wait to be sent is not of those any more: what
 * is sent later does not send it back to an earlier stage. */
static void
test_answered_while_others_wait(void **state)
{
    static uint8_t bytes[8192];
    struct io_watch mine, other;

    (void)state;
    rig(true, READ_LEN, false);
    io_watch_start(&other, r.fl.l.now_ns);
    io_watch_start(&mine, r.fl.l.now_ns);
    mine.stage = other.stage = IO_STAGE_SEND;
    io_watch_link(&other, &r.conn.sending);
    io_watch_link(&mine, &r.conn.sending);
    r.sc.watch = &mine;
    r.fl.l.now_ns += MS(3);
    r.conn.last_recv_ns = r.fl.l.now_ns;
    (void)iscsi_tcp_recv(&r.tcp, bytes, data_in(bytes, 0, 0, 1024, 0));
    assert_int_equal(r.err, ISCSI_OK);
    assert_int_equal(mine.stage, IO_STAGE_RECEIVE);
    assert_null(mine.link);
    assert_ptr_equal(r.conn.sending, &other);
    r.fl.l.now_ns += MS(4);
    io_watch_sent(&r.conn.sending, &r.fl.l);
    assert_int_equal(other.stage, IO_STAGE_TARGET);
    assert_int_equal(mine.stage, IO_STAGE_RECEIVE);
    assert_int_equal(mine.ns[IO_STAGE_SEND], MS(3));
    r.sc.watch = NULL;
}

/* Payload received in place, as sw_tcp does it, in pieces of every size. */
static void
test_in_place(void **state)
{
    static uint8_t bytes[16384];

    (void)state;
    for (size_t piece = 1; piece < 1200; piece += 13) {
        size_t n, at = 0;

        rig(true, READ_LEN, true);
        n = stream(bytes);
        while (at < n) {
            struct iovec iov[4];
            uint32_t direct = 0, took;
            int cnt = iscsi_tcp_map_in(&r.tcp, iov, 4, &direct);
            size_t len = n - at < piece ? n - at : piece, put_in = 0;

            took = cnt > 0 ? (len < direct ? (uint32_t)len : direct) : 0;
            for (int i = 0; i < cnt && put_in < took; i++) {
                size_t here = took - put_in < iov[i].iov_len ? took - put_in : iov[i].iov_len;

                memcpy(iov[i].iov_base, bytes + at + put_in, here);
                put_in += here;
            }
            if (took > 0)
                iscsi_tcp_placed(&r.tcp, iov, took);
            (void)iscsi_tcp_recv(&r.tcp, bytes + at + took, len - took);
            at += len;
        }
        check_stream();
    }
}

/* DIG-05, DIG-07: one flipped bit anywhere is noticed, and nothing is completed as good. */
static void
test_digests_notice_every_bit(void **state)
{
    static uint8_t bytes[8192];

    (void)state;
    for (size_t bit = 0; bit < 200 * 8; bit++) {
        size_t n;

        rig(true, READ_LEN, true);
        n = data_in(bytes, 0, 0, 96, ISCSI_FLAG_FINAL | ISCSI_DATA_IN_STATUS);
        if (bit >= n * 8)
            break;
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        (void)iscsi_tcp_recv(&r.tcp, bytes, n);
        assert_true(r.err == ISCSI_ERR_HDR_DGST || r.err == ISCSI_ERR_DATA_DGST);
        assert_int_equal(r.completes, 0);
    }
}

static void
test_bad_data_in(void **state)
{
    static const struct {
        uint32_t sn, offset, len;
        uint8_t flags;
        bool read;
        enum iscsi_err err;
    } rows[] = {
        {1, 0, 512, 0x80, true, ISCSI_ERR_DATASN},                   /* DSN-04 */
        {0, READ_LEN - 511, 512, 0x80, true, ISCSI_ERR_DATA_OFFSET}, /* DIN-03 */
        {0, 0xfffffffc, 8, 0x80, true, ISCSI_ERR_DATA_OFFSET},       /* DIN-03: wraps */
        {0, 512, 512, 0x80, true, ISCSI_ERR_DATA_OFFSET},            /* KEY-14: a hole */
        {0, 0, 512, 0x01, true, ISCSI_ERR_PROTO},                    /* DIN-01: S without F */
        {0, 0, 512, 0x80, false, ISCSI_ERR_PROTO},                   /* ID-14: for a write */
    };
    uint8_t bytes[8192];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t n;

        rig(rows[i].read, READ_LEN, false);
        n = data_in(bytes, rows[i].sn, rows[i].offset, rows[i].len, rows[i].flags);
        (void)iscsi_tcp_recv(&r.tcp, bytes, n);
        assert_int_equal(r.err, rows[i].err);
        assert_int_equal(r.completes, 0);
        for (uint32_t k = 0; k < READ_LEN; k++)
            assert_int_equal(r.buf[k], 0);                  /* nothing was touched */
        assert_true(iscsi_tcp_recv(&r.tcp, bytes, n) == 0); /* and nothing is any more */
    }
}

/* Data-Ins without data for commands that read nothing, of which the midlayer says so by a slice of
 * no memory at all: with a status they are answers, without one they are nothing. */
static void
test_empty_data_in(void **state)
{
    static const uint8_t flags[] = {ISCSI_FLAG_FINAL, ISCSI_FLAG_FINAL | ISCSI_DATA_IN_STATUS, 0};
    uint8_t bytes[128];

    (void)state;
    for (size_t i = 0; i < sizeof(flags); i++) {
        rig(false, READ_LEN, false);
        r.sc.in = (struct sg){.iovcnt = 1};
        assert_int_equal(iscsi_tcp_recv(&r.tcp, bytes, data_in(bytes, 0, 0, 0, flags[i])), 48);
        assert_int_equal(r.err, ISCSI_OK);
        assert_int_equal(r.completes, flags[i] & ISCSI_DATA_IN_STATUS ? 1 : 0);
        assert_int_equal(r.task.in_done, 0);
    }
}

static size_t
r2t(uint8_t *to, uint32_t sn, uint32_t offset, uint32_t len, uint32_t ttt, uint8_t lun)
{
    union bhs_any h;

    bhs_init(&h, ISCSI_OP_R2T, ISCSI_FLAG_FINAL);
    h.h.itt = put32(ITT);
    h.h.lun[1] = lun;
    h.r2t.ttt = put32(ttt);
    h.r2t.r2t_sn = put32(sn);
    h.r2t.offset = put32(offset);
    h.r2t.desired_len = put32(len);
    return put(to, &h, NULL, 0);
}

static void
test_bad_r2t(void **state)
{
    static const struct {
        uint32_t sn, offset, len, ttt;
        uint8_t lun;
        bool read;
        enum iscsi_err err;
    } rows[] = {
        {1, 0, 512, 9, 5, false, ISCSI_ERR_R2TSN},
        {0, 0, 0, 9, 5, false, ISCSI_ERR_PROTO},            /* R2T-02 */
        {0, 0, 4097, 9, 5, false, ISCSI_ERR_PROTO},         /* R2T-02: above MaxBurstLength */
        {0, 0, 512, 0xffffffff, 5, false, ISCSI_ERR_PROTO}, /* R2T-02 */
        {0, 5990, 11, 9, 5, false, ISCSI_ERR_PROTO},        /* R2T-03 */
        {0, 0xfffffff0, 32, 9, 5, false, ISCSI_ERR_PROTO},  /* R2T-03: wraps */
        {0, 512, 512, 9, 5, false, ISCSI_ERR_PROTO},        /* R2T-06: a gap */
        {0, 0, 512, 9, 6, false, ISCSI_ERR_PROTO},          /* ID-14: another LUN */
        {0, 0, 512, 9, 5, true, ISCSI_ERR_PROTO},           /* ID-14: for a read */
    };
    uint8_t bytes[64];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rig(rows[i].read, 6000, false);
        (void)iscsi_tcp_recv(
            &r.tcp, bytes,
            r2t(bytes, rows[i].sn, rows[i].offset, rows[i].len, rows[i].ttt, rows[i].lun));
        assert_int_equal(r.err, rows[i].err);
        assert_int_equal(r.requeues, 0);
    }
    rig(false, 6000, false); /* R2T-05: one more than MaxOutstandingR2T */
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(r.err, ISCSI_OK);
        (void)iscsi_tcp_recv(&r.tcp, bytes, r2t(bytes, i, i * 100, 100, i, 5));
    }
    assert_int_equal(r.err, ISCSI_ERR_PROTO);
}

/* DSN-05: at level 0 a Data-In or R2T that brings only what has come is dropped, and moves nothing;
 * one that looks like it and brings more is a fault. */
static void
test_duplicates_are_dropped(void **state)
{
    static const struct {
        uint32_t sn, offset, len;
        uint8_t flags;
        enum iscsi_err err;
    } reads[] = {
        {0, 0, 512, 0, ISCSI_OK},
        {1, 512, 512, 0x80, ISCSI_OK},
        {1, 512, 0, 0, ISCSI_OK},
        {0, 0, 1024, 0, ISCSI_OK},
        {1, 512, 513, 0, ISCSI_ERR_DATASN},  /* more than has come */
        {0, 0, 512, 0x81, ISCSI_ERR_DATASN}, /* a status that has not come */
        {0xfffffff0, 0xffffffff, 512, 0, ISCSI_ERR_DATASN},
        {3, 0, 512, 0, ISCSI_ERR_DATASN},
    };
    uint8_t bytes[8192];

    (void)state;
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
        uint8_t was[1024];
        size_t n;

        rig(true, READ_LEN, false);
        for (uint32_t k = 0; k < 2; k++) {
            n = data_in(bytes, k, 512 * k, 512, 0);
            assert_int_equal(iscsi_tcp_recv(&r.tcp, bytes, n), n);
        }
        memcpy(was, r.buf, sizeof(was));
        memset(r.buf, 0xaa, sizeof(was)); /* nothing is placed again */
        n = data_in(bytes, reads[i].sn, reads[i].offset, reads[i].len, reads[i].flags);
        (void)iscsi_tcp_recv(&r.tcp, bytes, n);
        assert_int_equal(r.err, reads[i].err);
        assert_int_equal(r.task.in_done, 1024);
        assert_int_equal(r.task.exp_datasn, 2);
        for (size_t k = 0; k < sizeof(was); k++)
            assert_int_equal(r.buf[k], 0xaa);
        if (reads[i].err != ISCSI_OK)
            continue;
        n = data_in(bytes, 2, 1024, 512, 0x80);
        assert_int_equal(iscsi_tcp_recv(&r.tcp, bytes, n), n);
        assert_int_equal(r.err, ISCSI_OK);
        assert_int_equal(r.task.in_done, 1536);
    }
    for (uint32_t more = 0; more < 2; more++) {
        rig(false, 6000, false);
        (void)iscsi_tcp_recv(&r.tcp, bytes, r2t(bytes, 0, 0, 100, 9, 5));
        (void)iscsi_tcp_recv(&r.tcp, bytes, r2t(bytes, 1, 100, 100, 10, 5));
        assert_int_equal(r.requeues, 2);
        (void)iscsi_tcp_recv(&r.tcp, bytes, r2t(bytes, 0, 0, 100 + 101 * more, 9, 5));
        assert_int_equal(r.requeues, 2);
        assert_int_equal(r.tcp_task.r2t_count, 2);
        assert_int_equal(r.err, more ? ISCSI_ERR_R2TSN : ISCSI_OK);
    }
}

/* DOU-01..05, DSN-02, R2T-01, R2T-04: whatever is asked for comes, in order, in legal pieces, also
 * when the transport is full now and then. */
static void
test_every_r2t_is_honoured(void **state)
{
    uint8_t bytes[64];

    (void)state;
    for (uint64_t seed = 1; seed < 300; seed++) {
        uint32_t sn = 0, at = 0, len = 1002 + (uint32_t)(seed * 37 % 6000), unsol;
        uint32_t seq_start[64], nseq = 0, seq = 0, data_sn = 0, within = 0;

        rig(false, len, false);
        for (uint32_t i = 0; i < len; i++)
            r.buf[i] = (uint8_t)(i ^ seed);
        unsol = (uint32_t)(seed % 3) * 500; /* 1000 < len */
        r.conn.max_xmit_dlength = seed & 4 ? 513 : 1000;
        r.task.unsol.len = unsol;
        fake_loop_init(&r.fl, seed);
        iscsi_tcp_cleanup_task(&r.task); /* what the rig has begun */
        assert_int_equal(init_pdu(&r.task, 0, iscsi_tcp_task_init(&r.task)), 0);
        at = unsol;
        r.room = (uint32_t)fake_random(&r.fl.l) % 3;
        r.hdr[0] = ISCSI_OP_SCSI_CMD;
        r.task.hdr = (void *)r.hdr;
        if (unsol > 0)
            seq_start[nseq++] = 0;
        for (int guard = 0;
             guard < 1000 && (at < len || r.tcp_task.r2t_count > 0 || r.tcp_task.unsol.len > 0);
             guard++) {
            if (at < len && r.tcp_task.r2t_count < 4 && (fake_random(&r.fl.l) & 1)) {
                uint32_t n = 1 + (uint32_t)(fake_random(&r.fl.l) % 2500);

                if (n > len - at)
                    n = len - at;
                seq_start[nseq++] = at;
                assert_int_equal(iscsi_tcp_recv(&r.tcp, bytes, r2t(bytes, sn, at, n, sn, 5)), 48);
                at += n;
                sn++;
            }
            r.room += (uint32_t)(fake_random(&r.fl.l) % 2);
            if (xmit_task(&r.task) == -EAGAIN)
                assert_int_equal(r.room, 0);
        }
        assert_int_equal(r.err, ISCSI_OK);
        assert_memory_equal(r.target, r.buf, len);
        for (uint32_t i = 0; i < r.nout; i++) {
            const struct bhs_data_out *d = &r.out[i];
            uint32_t n = get24(d->dseg_len);

            assert_int_equal(get32(d->data_sn), data_sn++);
            assert_int_equal(get32(d->offset), seq_start[seq] + within);
            assert_true(n > 0 && n <= r.conn.max_xmit_dlength);
            assert_true((n & 3) == 0 || (d->flags & ISCSI_FLAG_FINAL));
            assert_int_equal(d->lun[1], 5);
            within += n;
            if (d->flags & ISCSI_FLAG_FINAL) {
                seq++;
                within = data_sn = 0;
            }
        }
        assert_int_equal(seq, nseq);
    }
}

/* TM-03: a quiet task begins no Data-Out, in the middle of what an R2T asked for either, and keeps
 * what is due until it is not quiet any more. */
static void
test_quiet_tasks_send_nothing(void **state)
{
    uint8_t bytes[64];

    (void)state;
    for (uint32_t unsol = 0; unsol <= 2500; unsol += 2500) {
        rig(false, 6000, false);
        for (uint32_t i = 0; i < 6000; i++)
            r.buf[i] = (uint8_t)(i * 7);
        r.task.unsol.len = unsol;
        iscsi_tcp_cleanup_task(&r.task); /* what the rig has begun */
        assert_int_equal(init_pdu(&r.task, 0, iscsi_tcp_task_init(&r.task)), 0);
        r.hdr[0] = ISCSI_OP_SCSI_CMD;
        r.task.hdr = (void *)r.hdr;
        r.room = 2;
        if (unsol == 0)
            assert_int_equal(iscsi_tcp_recv(&r.tcp, bytes, r2t(bytes, 0, 0, 2500, 9, 5)), 48);
        assert_int_equal(xmit_task(&r.task), -EAGAIN);
        assert_int_equal(r.nout, 2);
        assert_int_equal(iscsi_tcp_recv(&r.tcp, bytes, r2t(bytes, unsol == 0, 2500, 3500, 9, 5)),
                         48);
        r.task.quiet = true;
        r.room = 100;
        assert_int_equal(xmit_task(&r.task), 0);
        assert_int_equal(r.nout, 2);
        r.task.quiet = false;
        assert_int_equal(xmit_task(&r.task), 0);
        assert_int_equal(r.nout, 3 + 4);
        assert_memory_equal(r.target, r.buf, 6000);
    }
}

/* TM-05: PDUs of a task that was aborted are eaten whole, in pieces of every size, and the stream
 * goes on behind them. */
static void
test_late_pdus_are_dropped(void **state)
{
    static uint8_t bytes[16384];

    (void)state;
    for (size_t piece = 1; piece < 1500; piece += 31) {
        union bhs_any h;
        size_t n;

        rig(true, READ_LEN, true);
        n = data_in(bytes, 5, 77, 1023, 0);
        memcpy(bytes + 16, (uint8_t[]){0, 0, 0x99, 0x99}, 4);
        pdu_header_digest(bytes, 48, bytes + 48);
        bhs_init(&h, ISCSI_OP_R2T, ISCSI_FLAG_FINAL);
        h.h.itt = put32(0x9999);
        n += put(bytes + n, &h, NULL, 0);
        n += stream(bytes + n);
        for (size_t at = 0; at < n; at += piece)
            (void)iscsi_tcp_recv(&r.tcp, bytes + at, n - at < piece ? n - at : piece);
        r.updates -= 2; /* the late PDUs still move the window: CSN-08 */
        check_stream();
    }
}

/* ---- after cleanup_task ---------------------------------------------------------------------- */

/* Gives the task up, and its memory and slot get other uses. */
static void
give_task_up(void)
{
    iscsi_tcp_cleanup_task(&r.task);
    memset(r.buf, 0xcc, sizeof(r.buf));
    r.task.sc = NULL;
    r.task.state = ISCSI_TASK_FREE;
}

static void
memory_is_untouched(void)
{
    for (size_t i = 0; i < sizeof(r.buf); i++)
        assert_int_equal(r.buf[i], 0xcc);
}

/* A Data-In of len bytes and a NOP-In behind it; cut bytes of it have come when the task is given
 * up, the rest comes in pieces, received in place where the parser still says a place. */
static void
cut_data_in(bool digests, uint32_t len, uint8_t flags, size_t cut, size_t piece, bool spoil)
{
    static uint8_t bytes[8192];
    union bhs_any h;
    size_t first, n;

    rig(true, READ_LEN, digests);
    first = data_in(bytes, 0, 0, len, flags);
    if (spoil)
        bytes[first - 5] ^= 1; /* the last byte of data or padding */
    bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    n = first + put(bytes + first, &h, NULL, 0);
    assert_true(cut < first);
    assert_int_equal(iscsi_tcp_recv(&r.tcp, bytes, cut), cut);
    assert_int_equal(r.completes, 0);
    give_task_up();
    for (size_t at = cut; at < n; at += piece) {
        struct iovec iov[4];
        uint32_t room;

        assert_int_equal(iscsi_tcp_map_in(&r.tcp, iov, 4, &room), 0);
        (void)iscsi_tcp_recv(&r.tcp, bytes + at, n - at < piece ? n - at : piece);
    }
    memory_is_untouched();
    assert_null(r.tcp.task);
}

/* In every state of the parser behind the header, the rest of the Data-In goes nowhere, its digest
 * still counts, and the stream goes on behind it. */
static void
a_task_given_up_in_its_data_in(void **state)
{
    static const uint8_t all = ISCSI_FLAG_FINAL | ISCSI_DATA_IN_STATUS;

    (void)state;
    for (int digests = 0; digests < 2; digests++) {
        size_t hlen = digests ? 52 : 48, end = hlen + 203 + 1 + (digests ? 4 : 0);

        for (size_t cut = hlen; cut < end; cut++) {
            for (size_t piece = 1; piece < 400; piece += 57) {
                cut_data_in(digests, 203, ISCSI_FLAG_FINAL, cut, piece, false);
                assert_int_equal(r.err, ISCSI_OK);
                assert_int_equal(r.completes, 1);
                assert_int_equal(r.op[0], ISCSI_OP_NOP_IN);
                assert_int_equal(r.updates, 1); /* CSN-08 */
                cut_data_in(digests, 203, all, cut, piece, false);
                assert_int_equal(r.err, ISCSI_OK);
                assert_int_equal(r.completes, 2); /* its StatSN is for the layer above */
                assert_int_equal(r.op[0], ISCSI_OP_DATA_IN);
                assert_int_equal(r.op[1], ISCSI_OP_NOP_IN);
            }
        }
    }
    cut_data_in(true, 2000, ISCSI_FLAG_FINAL, 700, 4096, true);
    assert_int_equal(r.err, ISCSI_ERR_DATA_DGST);
    assert_int_equal(r.completes, 0);
}

/* A header that has come in part names nobody yet: the task is looked up when it is complete. */
static void
a_task_given_up_before_its_header_is_complete(void **state)
{
    uint8_t bytes[1024];
    size_t n;

    (void)state;
    rig(true, READ_LEN, false);
    n = data_in(bytes, 0, 0, 512, ISCSI_FLAG_FINAL);
    memcpy(bytes + 16, (uint8_t[]){0, 0, 0x99, 0x99}, 4); /* itt_ended knows it */
    assert_int_equal(iscsi_tcp_recv(&r.tcp, bytes, 47), 47);
    give_task_up();
    assert_int_equal(iscsi_tcp_recv(&r.tcp, bytes + 47, n - 47), n - 47);
    assert_int_equal(r.err, ISCSI_OK);
    memory_is_untouched();
}

/* The layer above ends the task in complete_pdu and uses its slot for the next command. */
static void
use_slot_again(const struct bhs *hdr)
{
    if (pdu_opcode(hdr) != ISCSI_OP_DATA_IN)
        return;
    iscsi_tcp_cleanup_task(&r.task);
    r.task.exp_datasn = r.task.in_done = 0;
    (void)iscsi_tcp_task_init(&r.task);
}

static void
a_slot_used_again_within_the_up_call(void **state)
{
    uint8_t bytes[2048];
    size_t n;

    (void)state;
    for (size_t cut = 48; cut < 560; cut += 511) { /* in pieces, and not */
        rig(true, 512 + 1001, false);
        r.in_complete = use_slot_again;
        n = data_in(bytes, 0, 0, 512, ISCSI_FLAG_FINAL | ISCSI_DATA_IN_STATUS);
        n += data_in(bytes + n, 0, 0, 100, ISCSI_FLAG_FINAL);
        (void)iscsi_tcp_recv(&r.tcp, bytes, cut);
        (void)iscsi_tcp_recv(&r.tcp, bytes + cut, n - cut);
        assert_int_equal(r.err, ISCSI_OK);
        assert_int_equal(r.completes, 1);
        assert_int_equal(r.task.in_done, 100); /* of the second command alone */
        assert_int_equal(r.task.exp_datasn, 1);
    }
}

/* Another task's cleanup is nothing to the Data-In that is under way. */
static void
the_cleanup_of_another_task(void **state)
{
    static uint8_t bytes[8192];
    struct iscsi_tcp_task tt = {.r2t_count = 0};
    struct iscsi_task other = {.conn = &r.conn, .dd_data = &tt};
    size_t n;

    (void)state;
    rig(true, READ_LEN, true);
    n = stream(bytes);
    (void)iscsi_tcp_recv(&r.tcp, bytes, 500);
    iscsi_tcp_cleanup_task(&other);
    (void)iscsi_tcp_recv(&r.tcp, bytes + 500, n - 500);
    check_stream();
}

/* Neither the R2Ts that wait, nor the one being answered, nor unsolicited data under way goes on.
 */
static void
a_task_given_up_while_it_sends(void **state)
{
    uint8_t bytes[64];

    (void)state;
    for (uint32_t room = 0; room < 9; room++) {
        unsigned sent;

        rig(false, 6000, false);
        iscsi_tcp_cleanup_task(&r.task);
        r.task.unsol.len = 2500;
        assert_int_equal(init_pdu(&r.task, 0, iscsi_tcp_task_init(&r.task)), 0);
        r.hdr[0] = ISCSI_OP_SCSI_CMD;
        r.task.hdr = (void *)r.hdr;
        for (uint32_t i = 0; i < 3; i++)
            (void)iscsi_tcp_recv(&r.tcp, bytes, r2t(bytes, i, 2500 + i * 1100, 1100, i, 5));
        assert_int_equal(r.tcp_task.r2t_count, 3);
        r.room = room;
        assert_int_equal(xmit_task(&r.task), room == 9 ? 0 : -EAGAIN);
        sent = r.nout;
        assert_int_equal(sent, room);
        iscsi_tcp_cleanup_task(&r.task);
        r.room = 1000;
        assert_int_equal(iscsi_tcp_xmit_data(&r.task), 0);
        assert_int_equal(r.nout, sent);
        /* the slot's next command starts from nothing */
        r.task.unsol.len = 0;
        r.task.out_done = 0;
        assert_int_equal(init_pdu(&r.task, 0, iscsi_tcp_task_init(&r.task)), 0);
        (void)iscsi_tcp_recv(&r.tcp, bytes, r2t(bytes, 0, 0, 800, 77, 5));
        assert_int_equal(r.err, ISCSI_OK);
        assert_int_equal(iscsi_tcp_xmit_data(&r.task), 0);
        assert_int_equal(r.nout, sent + 1);
        assert_int_equal(get32(r.out[sent].ttt), 77);
    }
}

/* A connection that has failed holds no task's memory, and parses nothing more. */
static void
a_failed_parser_holds_no_task(void **state)
{
    static uint8_t bytes[8192];
    size_t n;

    (void)state;
    rig(true, READ_LEN, true);
    n = data_in(bytes, 0, 0, 2000, ISCSI_FLAG_FINAL);
    bytes[n - 1] ^= 1;
    (void)iscsi_tcp_recv(&r.tcp, bytes, 700);
    assert_ptr_equal(r.tcp.task, &r.task);
    (void)iscsi_tcp_recv(&r.tcp, bytes + 700, n - 700);
    assert_int_equal(r.err, ISCSI_ERR_DATA_DGST);
    assert_null(r.tcp.task);
    rig(true, READ_LEN, false); /* somebody else says that it has failed */
    n = data_in(bytes, 0, 0, 2000, ISCSI_FLAG_FINAL);
    (void)iscsi_tcp_recv(&r.tcp, bytes, 700);
    r.conn.failed = true;
    assert_int_equal(iscsi_tcp_recv(&r.tcp, bytes + 700, n - 700), 0);
}

/* LGN-09: what follows the final Login Response waits, byte for byte. */
static void
test_hold_stops_at_the_pdu(void **state)
{
    uint8_t bytes[8192];
    union bhs_any h;
    size_t first, n, used;

    (void)state;
    rig(true, READ_LEN, false);
    bhs_init(&h, ISCSI_OP_LOGIN_RSP, 0x87);
    first = put(bytes, &h, "x", 1);
    r.conn.hdrdgst_en = true; /* how the peer already speaks */
    bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    n = first + put(bytes + first, &h, NULL, 0);
    r.conn.hdrdgst_en = false;
    r.hold_next = true;
    used = iscsi_tcp_recv(&r.tcp, bytes, n);
    assert_int_equal(used, first);
    assert_true(r.tcp.hold);
    r.conn.hdrdgst_en = true;
    r.tcp.hold = false;
    assert_int_equal(iscsi_tcp_recv(&r.tcp, bytes + used, n - used), n - used);
    assert_int_equal(r.completes, 2);
    assert_int_equal(r.err, ISCSI_OK);
}

/* ERL-12, ERL-15: a read whose connection ends at any byte goes on with another one, from the first
 * Data-In on that has not come whole. */
static void
test_reassigned_read(void **state)
{
    static const uint32_t at[] = {0, 1023, 1024, READ_LEN};
    static uint8_t bytes[16384];

    (void)state;
    for (size_t cut = 0; cut < 3200; cut += 7) {
        uint32_t next;
        size_t n = 0;

        rig(true, READ_LEN, false);
        r.session.params.erl = 2;
        for (uint32_t i = 0; i < 3; i++)
            n += data_in(bytes + n, i, at[i], at[i + 1] - at[i], i == 2 ? ISCSI_FLAG_FINAL : 0);
        (void)iscsi_tcp_recv(&r.tcp, bytes, cut < n ? cut : n);
        iscsi_tcp_conn_reset(&r.tcp); /* as stop_conn does */
        r.task.state = ISCSI_TASK_UNASSIGNED;
        iscsi_tcp_cleanup_task(&r.task);
        next = r.task.exp_datasn;
        assert_int_equal(r.task.in_done, at[next]);
        r.tcp.drop = false;
        r.task.state = ISCSI_TASK_RUNNING;
        iscsi_tcp_reassign_task(&r.task);
        n = 0;
        for (uint32_t i = next; i < 3; i++)
            n += data_in(bytes + n, i, at[i], at[i + 1] - at[i], i == 2 ? ISCSI_FLAG_FINAL : 0);
        assert_int_equal(iscsi_tcp_recv(&r.tcp, bytes, n), n);
        assert_int_equal(r.err, ISCSI_OK);
        assert_int_equal(r.task.exp_datasn, 3);
        assert_int_equal(r.task.in_done, READ_LEN);
        for (uint32_t i = 0; i < READ_LEN; i++)
            assert_int_equal(r.buf[i], (uint8_t)(i * 13));
    }
}

static enum iscsi_odd
never_odd(struct iscsi_task *t, const struct bhs_r2t *h, uint32_t exp_r2tsn)
{
    (void)t;
    (void)h;
    (void)exp_r2tsn;
    fail_msg("the number of an R2T is taken for one that was skipped");
    return ISCSI_ODD_FAIL;
}

static bool
never_bad(struct iscsi_conn *c, struct iscsi_task *t, const struct bhs *hdr)
{
    (void)c;
    (void)t;
    (void)hdr;
    return false;
}

static void
ask(uint32_t sn, uint32_t offset, uint32_t len)
{
    uint8_t bytes[64];
    union bhs_any h;
    size_t n;

    bhs_init(&h, ISCSI_OP_R2T, ISCSI_FLAG_FINAL);
    h.h.itt = put32(ITT);
    h.r2t.lun[1] = 5;
    h.r2t.ttt = put32(0x77);
    h.r2t.r2t_sn = put32(sn);
    h.r2t.offset = put32(offset);
    h.r2t.desired_len = put32(len);
    n = put(bytes, &h, NULL, 0);
    (void)iscsi_tcp_recv(&r.tcp, bytes, n);
}

/* A write sends nothing unasked, and what the first R2T asks for, whatever its number is; data that
 * was never sent cannot be left out. */
static void
test_reassigned_write(void **state)
{
    struct iscsi_upcalls up = upcalls;

    (void)state;
    up.size = sizeof(up);
    up.odd_r2t = never_odd;
    up.bad_data_digest = never_bad;
    for (int hole = 0; hole < 2; hole++) {
        rig(false, 6000, false);
        r.session.params.erl = 2;
        r.conn.up = &up;
        r.task.hdr = (void *)r.hdr;
        assert_int_equal(xmit_task(&r.task), 0);
        ask(0, 0, 3000);
        assert_int_equal(xmit_task(&r.task), 0);
        assert_int_equal(r.task.out_done, 3000);
        ask(1, 3000, 1000); /* it is not answered any more */
        iscsi_tcp_conn_reset(&r.tcp);
        iscsi_tcp_cleanup_task(&r.task);
        iscsi_tcp_reassign_task(&r.task);
        r.nout = 0;
        assert_int_equal(iscsi_tcp_xmit_data(&r.task), 0);
        assert_int_equal(r.nout, 0);
        ask(3, hole ? 3500 : 2000, 2500);
        if (hole) {
            assert_int_equal(r.err, ISCSI_ERR_PROTO);
            continue;
        }
        assert_int_equal(r.err, ISCSI_OK);
        assert_int_equal(iscsi_tcp_xmit_data(&r.task), 0);
        assert_int_equal(r.nout, 3);
        assert_int_equal(get32(r.out[0].offset), 2000);
        assert_int_equal(get32(r.out[0].data_sn), 0);
        assert_int_equal(r.task.out_done, 4500);
        ask(4, 4500, 1500);
        assert_int_equal(r.err, ISCSI_OK);
        assert_int_equal(iscsi_tcp_xmit_data(&r.task), 0);
        assert_int_equal(r.task.out_done, 6000);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reassigned_read),
        cmocka_unit_test(test_reassigned_write),
        cmocka_unit_test(test_pieces_of_every_size),
        cmocka_unit_test(test_no_padding),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_answered_while_others_wait),
        cmocka_unit_test(test_digests_notice_every_bit),
        cmocka_unit_test(test_bad_data_in),
        cmocka_unit_test(test_empty_data_in),
        cmocka_unit_test(test_bad_r2t),
        cmocka_unit_test(test_duplicates_are_dropped),
        cmocka_unit_test(test_every_r2t_is_honoured),
        cmocka_unit_test(test_quiet_tasks_send_nothing),
        cmocka_unit_test(test_late_pdus_are_dropped),
        cmocka_unit_test(a_task_given_up_in_its_data_in),
        cmocka_unit_test(a_task_given_up_before_its_header_is_complete),
        cmocka_unit_test(a_slot_used_again_within_the_up_call),
        cmocka_unit_test(the_cleanup_of_another_task),
        cmocka_unit_test(a_task_given_up_while_it_sends),
        cmocka_unit_test(a_failed_parser_holds_no_task),
        cmocka_unit_test(test_hold_stops_at_the_pdu),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
