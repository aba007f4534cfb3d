/* SPDX-License-Identifier: MIT */
/* iSER between a fake RDMA device and a fake iSCSI layer: what is said, in what order, and who has
 * which memory when (docs/design/iser.md). */
#include "tests/unit/transport/iser_rig.h"

#include "wire/flight.h"

static const struct iscsi_transport *const tt = &iser_transport;
static uint8_t buf[ISER_MAX_TRANSFER], buf2[ISER_MAX_TRANSFER];

static void
fill(uint8_t *p, uint32_t n, unsigned seed)
{
    for (uint32_t i = 0; i < n; i++)
        p[i] = (uint8_t)(i * 7 + seed);
}

/* ---- connecting ----------------------------------------------------------------------------- */

static void
connects(void **state)
{
    static const struct {
        bool windows;
        const char *options;
        uint8_t says;
    } rows[] = {
        {false, NULL, 0xc0},
        {true, NULL, 0x80},
        {true, "iser_stag=window", 0x80},
        {false, "iser_stag=window", 0xc0}, /* bind_conn says why not */
        {true, "iser_stag=pool", 0xc0},
        {true, "iser_stag=register", 0xc0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rig_up(rows[i].windows, rows[i].options, 16);
        assert_false(fake_rnic->has_from);
        assert_int_equal(fake_rnic->private_data[0], rows[i].says);
        assert_int_equal(fake_rnic->private_data[1] | fake_rnic->private_data[2] |
                             fake_rnic->private_data[3],
                         0);
        assert_int_equal(tt->ep_poll(r.ep), 1);
        rig_free();
    }
}

static void
connecting_fails(void **state)
{
    struct lunette_error why = {.code = 0};

    (void)state;
    fake_rnic_resolve_err = -ENODEV;
    assert_int_equal(rig_connect(false, NULL, 16), -ENODEV);
    rig_free();
    fake_rnic_resolve_err = 0;
    assert_int_equal(rig_connect(false, "iser_stag=x", 16), -EINVAL);
    fake_rnic_resolve_err = 1; /* nothing was made */
    rig_free();
    fake_rnic_resolve_err = 0;

    assert_int_equal(rig_connect(false, NULL, 16), 0);
    assert_int_equal(tt->ep_poll(r.ep), 0);
    tt->ep_why(r.ep, &why);
    assert_int_equal(why.code, 0); /* nothing has failed yet */
    fake_rnic->ev->ended(fake_rnic->user, -EHOSTUNREACH, "nobody has the address");
    assert_int_equal(r.ep_err, -EHOSTUNREACH);
    assert_int_equal(tt->ep_poll(r.ep), -EHOSTUNREACH);
    tt->ep_why(r.ep, &why);
    assert_int_equal(why.code, -EHOSTUNREACH);
    assert_string_equal(why.msg, "nobody has the address");
    rig_free();

    assert_int_equal(rig_connect(false, NULL, 16), 0);
    fake_rnic->fail_connect = -EIO;
    fake_rnic->ev->resolved(fake_rnic->user);
    assert_int_equal(r.events, 1);
    assert_int_equal(r.ep_err, -EIO);
    fake_rnic->ev->ended(fake_rnic->user, -EIO, "gone");
    assert_int_equal(r.events, 1);
    rig_free();

    /* It ends while it is resolved, connected, or before anybody has bound it. */
    assert_int_equal(rig_connect(false, NULL, 16), 0);
    rig_free();
    assert_int_equal(rig_connect(true, NULL, 16), 0);
    fake_rnic->ev->resolved(fake_rnic->user);
    rig_free();
    rig_up(false, NULL, 16);
    fake_rnic->ev->ended(fake_rnic->user, -ECONNRESET, "the target has left");
    assert_int_equal(tt->ep_poll(r.ep), -ECONNRESET);
    assert_int_equal(tt->bind_conn(r.conn, 7, r.ep, true, NULL), -ENOTCONN);
    assert_true(fake_rnic->disconnected);
    rig_free();
}

static void
the_way_is_agreed_on(void **state)
{
    struct lunette_error err = {.code = 0};

    (void)state;
    rig_up(false, "iser_stag=window", 16);
    assert_int_equal(tt->bind_conn(r.conn, 7, r.ep, true, &err), -EOPNOTSUPP);
    assert_non_null(strstr(err.msg, "fake0 has no memory windows of type 2"));
    assert_int_equal(tt->bind_conn(r.conn, 7, r.ep, true, &err), -EINVAL); /* once */
    rig_free();
    assert_int_equal(rig_connect(true, "iser_stag=window", 16), 0);
    fake_rnic->windows_max = 1;
    fake_rnic->ev->resolved(fake_rnic->user);
    fake_rnic->ev->established(fake_rnic->user, NULL, 0);
    assert_int_equal(tt->bind_conn(r.conn, 7, r.ep, true, &err), -ENOMEM);
    assert_non_null(strstr(err.msg, "fake0 has no more memory windows"));
    rig_free();
    rig_up(true, NULL, 16);
    assert_int_equal(
        tt->set_param(r.conn, ISCSI_PARAM_OPTIONS, "iser_stag=pool&iser_poll_us=5", NULL), 0);
    assert_int_equal(tt->set_param(r.conn, ISCSI_PARAM_OPTIONS, "iser_stag=zool", NULL), -EINVAL);
    assert_int_equal(tt->set_param(r.conn, ISCSI_PARAM_ERL, "0", NULL), 0);
    assert_int_equal(tt->bind_conn(r.conn, 7, r.ep, true, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "iser_stag=pool: the connection was made for memory windows"));
    rig_free();
    rig_up(false, NULL, 16);
    assert_int_equal(
        tt->set_param(r.conn, ISCSI_PARAM_OPTIONS, "iser_stag=register&iser_poll_us=5", NULL), 0);
    assert_int_equal(tt->bind_conn(r.conn, 7, r.ep, true, &err), 0);
    assert_int_equal(fake_rnic->spin_ns, 5000);
    rig_free();
}

static void
describes(void **state)
{
    static const struct {
        bool windows;
        const char *options, *says;
    } rows[] = {
        {true, NULL, "fake0, 17 memory windows, a pool of 4096 KiB"},
        {false, "iser_pool=1M", "fake0, a pool of 1024 KiB"},
        {false, "iser_stag=register",
         "fake0, memory registered for each command, a pool of 4096 KiB"},
    };
    char text[96];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rig_start(rows[i].windows, rows[i].options);
        tt->describe(r.conn, text, sizeof(text));
        assert_string_equal(text, rows[i].says);
        tt->describe(r.conn, text, 6);
        assert_string_equal(text, "fake0");
        rig_free();
    }
}

/* ---- login ---------------------------------------------------------------------------------- */

/* ISR-08: whatever the target may send, a receive is posted before it was asked. */
static void
receives_before_login(void **state)
{
    (void)state;
    rig_bind(false, NULL);
    assert_int_equal(fake_rnic->nrecv, RIG_TASKS + 16);
    for (uint32_t i = 0; i < fake_rnic->nrecv; i++)
        assert_int_equal(fake_rnic->recv[i].sge.len, 8268);
    rig_free();
    rig_up(false, NULL, 2048);
    assert_int_equal(tt->bind_conn(r.conn, 7, r.ep, true, NULL), 0);
    assert_int_equal(fake_rnic->nrecv, 512 + 16);
    rig_free();
}

static void
login_pdus(void **state)
{
    static const char text[] = "RDMAExtensions=Yes"; /* 19 bytes with the NUL */
    uint8_t msg[ISER_HDRS_LEN + 20];
    const struct iser_hdr *h;
    const struct rnic_wr *wr;

    (void)state;
    rig_bind(false, NULL);
    assert_int_equal(rig_control(ISCSI_OP_LOGIN_REQ, text, sizeof(text)), 0);
    assert_int_equal(fake_rnic->posts, 0); /* what goes together is posted together */
    rig_flush();
    assert_int_equal(fake_rnic->posts, 1);
    h = rig_sent(&wr);
    assert_int_equal(h->flags, 0x10);
    for (int i = 1; i < 28; i++)
        assert_int_equal(((const uint8_t *)h)[i], 0);
    assert_int_equal(wr->nsge, 2);
    assert_int_equal(wr->sge[0].len, 76);
    assert_int_equal(wr->sge[1].len, 20);
    assert_memory_equal(wr->sge[1].addr, "RDMAExtensions=Yes\0", 20);

    memcpy(msg, h, ISER_LEN);
    bhs_init(msg + ISER_LEN, ISCSI_OP_LOGIN_RSP, 0x87);
    st_be24(msg + ISER_LEN + 5, 19);
    memcpy(msg + ISER_HDRS_LEN, "iSERHelloRequired=\0\0", 20);
    r.answer = ISCSI_RX_HOLD;
    fake_rnic_message(fake_rnic, msg, sizeof(msg), 0);
    assert_int_equal(r.pdus, 1);
    assert_int_equal(r.data_len, 19);
    assert_string_equal((const char *)r.data, "iSERHelloRequired=");
    assert_int_equal(r.conn->last_recv_ns, r.fl.l.now_ns);

    /* tgt pings at once, which waits for full feature phase. */
    r.answer = 0;
    rig_message(ISCSI_OP_NOP_IN, ISCSI_TAG_RSVD, 0);
    rig_message(ISCSI_OP_ASYNC, ISCSI_TAG_RSVD, 0);
    assert_int_equal(r.pdus, 1);
    r.conn->max_xmit_dlength = 262144; /* as LIO echoes it */
    assert_int_equal(tt->start_conn(r.conn, NULL), 0);
    assert_int_equal(r.conn->max_xmit_dlength, 8192);
    assert_true(r.conn->all_or_none);
    assert_int_equal(r.pdus, 1); /* not from inside */
    fake_turn(&r.fl);
    assert_int_equal(r.pdus, 3);
    assert_int_equal(r.last.opcode, ISCSI_OP_ASYNC);
    assert_int_equal(fake_rnic->nrecv, RIG_TASKS + 16); /* all posted again */
    rig_free();
}

/* Text slots and header slots come back with the completion of the last of those that were posted
 * together. */
static void
slots_come_back(void **state)
{
    (void)state;
    rig_bind(false, NULL);
    for (unsigned i = 0; i < ISER_TEXTS; i++)
        assert_int_equal(rig_control(ISCSI_OP_TEXT_REQ, "x", 1), 0);
    assert_int_equal(rig_control(ISCSI_OP_TEXT_REQ, "x", 1), -EAGAIN);
    rig_flush();
    assert_int_equal(fake_rnic->posts, 1);
    assert_int_equal(r.xmits, 0);
    fake_rnic_sends_done(fake_rnic, RNIC_OK);
    assert_int_equal(r.xmits, 1);
    for (unsigned i = 0; i < RIG_TASKS + ISER_TX_EXTRA; i++)
        assert_int_equal(rig_control(ISCSI_OP_NOP_OUT, NULL, 0), 0);
    assert_int_equal(rig_control(ISCSI_OP_NOP_OUT, NULL, 0), -EAGAIN);
    rig_flush();
    fake_rnic_sends_done(fake_rnic, RNIC_OK);
    assert_int_equal(r.xmits, 2);
    rig_free();
}

/* ---- commands ------------------------------------------------------------------------------- */

static const struct fake_window *
bound_window(uint32_t stag, unsigned access, const void *addr, uint64_t len)
{
    const struct fake_window *w = fake_window_of(fake_rnic, stag);

    assert_non_null(w);
    assert_int_equal(w->access, access);
    assert_int_equal(w->len, len);
    if (addr != NULL)
        assert_ptr_equal(w->addr, addr);
    return w;
}

/* ISR-04: a read has a read STag, and what was written there is in the application's memory. */
static void
reads(void **state)
{
    static const char *const ways[] = {"iser_stag=window", "iser_stag=pool", "iser_stag=register"};

    (void)state;
    for (int way = 0; way < 3; way++) {
        const struct iser_hdr *h;
        struct rig_cmd c;
        uint8_t *at;

        rig_start(way == 0, ways[way]);
        memset(buf, 0xee, sizeof(buf));
        assert_int_equal(rig_command(&c, buf, 8192, NULL, 0), 0);
        rig_flush();
        h = rig_sent(NULL);
        assert_int_equal(h->flags, 0x14);
        assert_int_equal(get32(h->write_stag), 0);
        at = (uint8_t *)(uintptr_t)get64(h->read_base);
        if (way == 0)
            (void)bound_window(get32(h->read_stag), RNIC_PEER_WRITES, at, 8192);
        if (way == 2)
            assert_ptr_equal(at, buf);
        else
            assert_true(at < buf || at >= buf + sizeof(buf));
        fake_rnic_sends_done(fake_rnic, RNIC_OK);
        fill(at, 8192, 3);
        rig_answer(&c, 512, way == 0 ? get32(h->read_stag) : 0);
        assert_true(c.answered && c.cleaned);
        assert_int_equal(c.in_done, 8192 - 512);
        for (int i = 0; i < 8192 - 512; i++)
            assert_int_equal(buf[i], (uint8_t)(i * 7 + 3));
        assert_int_equal(buf[8192], 0xee);
        if (way != 2)
            assert_int_equal(buf[8192 - 512], 0xee); /* what was not read is not copied */
        assert_int_equal(r.conn->stats.rxdata_octets, 8192 - 512);
        assert_int_equal(fake_rnic->nregions, 2); /* that of the command is gone */
        rig_free();
    }
}

static void
writes(void **state)
{
    static const char *const ways[] = {"iser_stag=window", "iser_stag=pool", "iser_stag=register"};

    (void)state;
    fill(buf, sizeof(buf), 9);
    for (int way = 0; way < 3; way++) {
        const struct iser_hdr *h;
        const struct rnic_wr *wr;
        struct rig_cmd c;
        uint8_t *at;

        rig_start(way == 0, ways[way]);
        /* all of it goes with the command: no STag at all */
        assert_int_equal(rig_command(&c, NULL, 0, buf, 4095), 0);
        rig_flush();
        h = rig_sent(&wr);
        assert_int_equal(h->flags, 0x10);
        assert_int_equal(wr->nsge, 2);
        assert_int_equal(wr->sge[1].len, 4096);
        assert_memory_equal(wr->sge[1].addr, buf, 4095);
        assert_int_equal(((uint8_t *)wr->sge[1].addr)[4095], 0); /* padding */
        rig_answer(&c, 0, 0); /* before the Send is known to be done */
        assert_true(c.cleaned);
        fake_rnic_sends_done(fake_rnic, RNIC_OK);
        /* none of it does */
        assert_int_equal(rig_command(&c, NULL, 0, buf, 8193), 0);
        rig_flush();
        h = rig_sent(&wr);
        assert_int_equal(h->flags, 0x18);
        assert_int_equal(wr->nsge, 1);
        assert_int_equal(get24(((const struct bhs *)(const void *)(h + 1))->dseg_len), 0);
        at = (uint8_t *)(uintptr_t)get64(h->write_base);
        assert_memory_equal(at, buf, 8193);
        if (way == 0)
            (void)bound_window(get32(h->write_stag), RNIC_PEER_READS, at, 8193);
        assert_int_equal(at == buf, way == 2);
        fake_rnic_sends_done(fake_rnic, RNIC_OK);
        rig_answer(&c, 0, way == 0 ? get32(h->write_stag) : 0);
        assert_true(c.cleaned);
        assert_int_equal(r.conn->stats.txdata_octets, 4095 + 8193);
        assert_int_equal(rig_command(&c, NULL, 0, buf, 16384), 0);
        rig_flush();
        h = rig_sent(NULL);
        fake_rnic_sends_done(fake_rnic, RNIC_OK);
        rig_answer(&c, 16000, way == 0 ? get32(h->write_stag) : 0); /* so much was not read */
        assert_int_equal(r.conn->stats.txdata_octets, 4095 + 8193 + 384);
        /* nor where the target takes no immediate data */
        r.session->params.imm_data = false;
        assert_int_equal(rig_command(&c, NULL, 0, buf, 512), 0);
        rig_flush();
        h = rig_sent(NULL);
        assert_int_equal(h->flags, 0x18);
        rig_answer(&c, 0, way == 0 ? get32(h->write_stag) : 0);
        rig_free();
    }
}

/* Receives of targets have no room for header segments and all the data of a PDU. */
static void
with_header_segments(void **state)
{
    static const struct {
        uint32_t in;
        uint16_t cdb_len;
        uint8_t flags; /* of the iSER header */
    } rows[] = {{0, 16, 0x10}, {0, 32, 0x18}, {512, 16, 0x1c}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct rnic_wr *wr;
        struct rig_cmd c = {.sc.cdb_len = rows[i].cdb_len};

        rig_start(false, NULL);
        c.iov[0] = (struct iovec){buf, ISER_DSEG_MAX};
        c.iov[1] = (struct iovec){buf2, rows[i].in};
        c.sc.out = sg_from_iov(&c.iov[0], 1, 0, ISER_DSEG_MAX);
        if (rows[i].in > 0)
            c.sc.in = sg_from_iov(&c.iov[1], 1, 0, rows[i].in);
        assert_int_equal(rig_queue(&c), 0);
        rig_flush();
        assert_int_equal(rig_sent(&wr)->flags, rows[i].flags);
        assert_int_equal(wr->nsge, rows[i].flags == 0x10 ? 2 : 1);
        fake_rnic_sends_done(fake_rnic, RNIC_OK);
        rig_answer(&c, 0, 0);
        rig_free();
    }
}

/* Bidirectional, and in pieces that are not in one. */
static void
both_ways(void **state)
{
    struct rig_cmd c;

    (void)state;
    fill(buf, 20000, 1);
    for (int windows = 0; windows < 2; windows++) {
        const struct iser_hdr *h;
        uint8_t *in, *out;

        rig_start(windows, windows ? NULL : "iser_stag=register");
        memset(&c, 0, sizeof(c));
        memset(buf2, 0, sizeof(buf2));
        for (int i = 0; i < 4; i++) {
            c.iov[i] = (struct iovec){buf + i * 5000, 4000};
            c.iov[4 + i] = (struct iovec){buf2 + i * 5000, 4000};
        }
        c.sc.out = sg_from_iov(c.iov, 4, 100, 15000);
        c.sc.in = sg_from_iov(c.iov + 4, 4, 200, 14000);
        assert_int_equal(rig_queue(&c), 0);
        rig_flush();
        h = rig_sent(NULL);
        assert_int_equal(h->flags, 0x1c);
        in = (uint8_t *)(uintptr_t)get64(h->read_base);
        out = (uint8_t *)(uintptr_t)get64(h->write_base);
        assert_memory_equal(out, buf + 100, 3900);
        assert_memory_equal(out + 3900, buf + 5000, 4000);
        if (windows) {
            (void)bound_window(get32(h->read_stag), RNIC_PEER_WRITES, in, 14000);
            (void)bound_window(get32(h->write_stag), RNIC_PEER_READS, out, 15000);
        }
        fill(in, 14000, 77);
        fake_rnic_sends_done(fake_rnic, RNIC_OK);
        /* the target invalidates one of the two */
        rig_answer(&c, 0, windows ? get32(h->read_stag) : 0);
        assert_int_equal(c.answered, !windows);
        if (windows)
            fake_rnic_sends_done(fake_rnic, RNIC_OK);
        assert_true(c.cleaned);
        assert_int_equal(c.in_done, 14000);
        for (int i = 0; i < 14000; i++) {
            int at = 200 + i;

            assert_int_equal(buf2[at / 4000 * 5000 + at % 4000], (uint8_t)(i * 7 + 77));
        }
        rig_free();
    }
}

/* ---- STags end before commands -------------------------------------------------------------- */

/* A target that does not invalidate: we do, and what comes meanwhile waits, since StatSN counts. */
static void
local_invalidation(void **state)
{
    struct rig_cmd a, b;

    (void)state;
    rig_start(true, NULL);
    assert_int_equal(rig_command(&a, buf, 4096, NULL, 0), 0);
    assert_int_equal(rig_command(&b, buf2, 4096, NULL, 0), 0);
    rig_flush();
    assert_int_equal(fake_rnic->nsent, 4);
    assert_true(fake_rnic->sent[0].quiet && fake_rnic->sent[1].quiet && fake_rnic->sent[2].quiet);
    fake_rnic_sends_done(fake_rnic, RNIC_OK);
    rig_answer(&a, 0, 0);
    assert_false(a.answered);
    assert_int_equal(fake_rnic->nsent, 1);
    assert_int_equal(fake_rnic->sent[0].op, RNIC_INVALIDATE);
    rig_message(ISCSI_OP_NOP_IN, ISCSI_TAG_RSVD, 0);
    rig_answer(&b, 0, ((struct iser_task *)b.task->dd_data)->in.stag);
    assert_int_equal(r.pdus, 0);
    assert_false(b.answered);
    fake_rnic_sends_done(fake_rnic, RNIC_OK);
    assert_true(a.cleaned && b.cleaned);
    assert_int_equal(r.pdus, 3);
    assert_int_equal(r.failures, 0);
    assert_int_equal(fake_rnic->nrecv, RIG_TASKS + 16);
    rig_free();
}

/* ISR-04: what is not the STag of the command that was answered must not be invalidated. */
static void
wrong_invalidation(void **state)
{
    struct rig_cmd a, b;

    (void)state;
    for (int i = 0; i < 5; i++) {
        rig_start(i < 4, i < 4 ? NULL : "iser_stag=pool");
        assert_int_equal(rig_command(&a, buf, 4096, NULL, 0), 0);
        assert_int_equal(rig_command(&b, buf2, 4096, NULL, 0), 0);
        rig_flush();
        fake_rnic_sends_done(fake_rnic, RNIC_OK);
        if (i == 0)
            rig_answer(&a, 0, ((struct iser_task *)b.task->dd_data)->in.stag);
        if (i == 1)
            rig_answer(&a, 0, 0xabcdef);
        if (i == 2)
            rig_message(ISCSI_OP_NOP_IN, ISCSI_TAG_RSVD,
                        ((struct iser_task *)a.task->dd_data)->in.stag);
        if (i == 3)
            rig_message(ISCSI_OP_SCSI_RSP, 0x12345, 1);
        if (i == 4)
            rig_answer(&a, 0, ((struct iser_task *)a.task->dd_data)->in.stag);
        assert_int_equal(r.failures, 1);
        assert_int_equal(r.err, ISCSI_ERR_PROTO);
        assert_non_null(strstr(r.why, "has invalidated STag 0x"));
        assert_true(fake_rnic->disconnected);
        assert_false(a.answered || b.answered);
        rig_free();
    }
}

/* A command that was aborted has its STag closed before its memory is anybody else's. */
static void
aborted(void **state)
{
    struct rig_cmd c;

    (void)state;
    rig_start(true, NULL);
    assert_int_equal(rig_command(&c, buf, 65536, NULL, 0), 0);
    rig_flush();
    fake_rnic_sends_done(fake_rnic, RNIC_OK);
    c.task->state = ISCSI_TASK_COMPLETED;
    assert_int_equal(tt->cleanup_task(c.task), -EINPROGRESS);
    assert_int_equal(fake_rnic->sent[0].op, RNIC_INVALIDATE); /* it left at once */
    assert_false(c.cleaned);
    fake_rnic_sends_done(fake_rnic, RNIC_OK);
    assert_true(c.cleaned);
    assert_int_equal(r.cleaned, 1);
    /* the late answer is for nobody */
    rig_message(ISCSI_OP_SCSI_RSP, 0, 0);
    assert_int_equal(r.pdus, 1);
    rig_free();

    rig_start(false, NULL);
    assert_int_equal(rig_command(&c, buf, 65536, NULL, 0), 0);
    rig_flush();
    c.task->state = ISCSI_TASK_COMPLETED;
    assert_int_equal(tt->cleanup_task(c.task), 0);
    r.cmd[0] = NULL;
    assert_int_equal(((struct iser_ep *)r.ep->dd_data)->pool.pages.taken, 0);
    rig_free();
}

/* ---- limits --------------------------------------------------------------------------------- */

static void
full(void **state)
{
    static struct rig_cmd c[RIG_TASKS];
    const struct iser_ep *e;

    (void)state;
    /* the pool */
    rig_start(false, "iser_pool=1M");
    e = r.ep->dd_data;
    assert_int_equal(rig_command(&c[0], buf, 524288, NULL, 0), 0);
    assert_int_equal(rig_command(&c[1], buf, 524288, NULL, 0), 0);
    assert_int_equal(rig_command(&c[2], buf, 512, NULL, 0), -EAGAIN);
    assert_int_equal(rig_control(ISCSI_OP_NOP_OUT, "data", 4), 0); /* it does not need the pool */
    rig_flush();
    fake_rnic_sends_done(fake_rnic, RNIC_OK);
    r.xmits = 0; /* it may have been told too often */
    assert_int_equal(rig_command(&c[2], buf, 512, NULL, 0), -EAGAIN);
    rig_answer(&c[0], 0, 0);
    assert_int_equal(r.xmits, 1);
    assert_int_equal(rig_command(&c[2], buf, 512, NULL, 0), 0);
    assert_int_equal(rig_command(&c[3], buf, 262145, NULL, 0), -EAGAIN);
    rig_flush();
    rig_answer(&c[2], 0, 0);
    rig_answer(&c[1], 0, 0);
    assert_int_equal(r.xmits, 2);
    assert_int_equal(e->pool.pages.taken, 0);
    assert_int_equal(e->cmds, 0);
    rig_free();

    /* windows: of a write and a read at once, both or none */
    rig_start(true, NULL);
    ((struct iser_ep *)r.ep->dd_data)->nfree_mw = 1;
    assert_int_equal(rig_command(&c[0], buf, 512, buf2, 9000), -EAGAIN);
    assert_int_equal(rig_command(&c[0], buf, 512, NULL, 0), 0);
    assert_int_equal(rig_command(&c[1], buf, 512, NULL, 0), -EAGAIN);
    assert_int_equal(rig_command(&c[1], NULL, 0, buf, 512), 0); /* needs none */
    rig_flush();
    fake_rnic_sends_done(fake_rnic, RNIC_OK);
    rig_answer(&c[0], 0, ((struct iser_task *)c[0].task->dd_data)->in.stag);
    assert_int_equal(rig_command(&c[0], buf, 512, NULL, 0), 0);
    ((struct iser_ep *)r.ep->dd_data)->nfree_mw = 0;
    rig_flush();
    rig_free();

    /* commands, of which each needs a receive for its answer */
    rig_up(false, NULL, 4);
    assert_int_equal(tt->bind_conn(r.conn, 7, r.ep, true, NULL), 0);
    assert_int_equal(tt->start_conn(r.conn, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(rig_command(&c[i], buf, 512, NULL, 0), 0);
    assert_int_equal(rig_command(&c[4], buf, 512, NULL, 0), -EAGAIN);
    assert_int_equal(rig_control(ISCSI_OP_TMF_REQ, NULL, 0), 0);
    rig_flush();
    c[1].task->state = ISCSI_TASK_COMPLETED;
    assert_int_equal(tt->cleanup_task(c[1].task), 0);
    r.cmd[1] = NULL;
    assert_int_equal(r.xmits, 0); /* not from inside an operation */
    fake_turn(&r.fl);
    assert_int_equal(r.xmits, 1);
    rig_free();
}

/* The send queue never has more than its places, whatever is posted. */
static void
places(void **state)
{
    struct rig_cmd c;

    (void)state;
    rig_start(true, NULL);
    for (int round = 0; round < 400; round++) { /* the Sends are not known to be done */
        int err = rig_command(&c, buf, 4096, buf2, 16384);
        uint32_t in, out;

        if (err == -EAGAIN) {
            rig_flush();
            fake_rnic_sends_done(fake_rnic, RNIC_OK);
            continue;
        }
        assert_int_equal(err, 0);
        rig_flush();
        in = ((struct iser_task *)c.task->dd_data)->in.stag;
        out = ((struct iser_task *)c.task->dd_data)->out.stag;
        assert_int_not_equal(in, out);
        rig_answer(&c, 0, round % 2 == 0 ? in : out);
        fake_rnic_sends_done(fake_rnic, RNIC_OK);
        assert_true(c.cleaned);
    }
    assert_int_equal(((struct iser_ep *)r.ep->dd_data)->bound, 0);
    rig_free();
}

static unsigned small_said;

static void
small_sink(void *user, enum log_level level, const char *line)
{
    (void)user;
    (void)level;
    small_said += strstr(line, "fake0 has queues of") != NULL;
    if (strstr(line, "fake0 has queues of") != NULL)
        assert_non_null(strstr(line, "queues of 27 requests, so that 11 commands go at a time and "
                                     "not 16"));
}

/* A device with small queues: as many commands as it has receives for, and the places of its send
 * queue are never exceeded (which the fake device sees to), whatever waits for them. */
static void
small_queues(void **state)
{
    static const struct log log = {.level = LOG_LEVEL_INFO, .sink = small_sink};
    static struct rig_cmd c[RIG_TASKS];

    (void)state;
    rig_sends = ISER_SENDS_MIN;
    rig_recvs = 11 + ISER_RECV_EXTRA;
    for (int windows = 0; windows < 2; windows++) {
        const struct iser_ep *e;
        unsigned done = 0, out = 0;

        small_said = 0;
        assert_int_equal(rig_connect(windows, NULL, RIG_TASKS), 0);
        r.fl.l.log = &log;
        fake_rnic->ev->resolved(fake_rnic->user);
        fake_rnic->ev->established(fake_rnic->user, "", 0);
        assert_int_equal(tt->bind_conn(r.conn, 7, r.ep, true, NULL), 0);
        assert_int_equal(tt->start_conn(r.conn, NULL), 0);
        assert_int_equal(small_said, 1);
        e = r.ep->dd_data;
        assert_int_equal(e->limit, 11);
        for (unsigned round = 0; done < 200; round++) {
            assert_true(round < 2000);
            while (out < RIG_TASKS && rig_command(&c[out], buf, 4096, buf2, 16384) == 0)
                out++;
            assert_in_range(out, 1, 11);
            rig_flush();
            fake_rnic_sends_done(fake_rnic, RNIC_OK);
            while (out > 0) {
                const struct iser_task *it = c[out - 1].task->dd_data;

                rig_answer(&c[--out], 0, windows ? it->in.stag : 0);
                rig_flush();
                fake_rnic_sends_done(fake_rnic, RNIC_OK);
                done++;
            }
        }
        assert_int_equal(e->bound, 0);
        assert_int_equal(e->cmds, 0);
        r.fl.l.log = NULL;
        rig_free();
    }
    rig_sends = rig_recvs = 0;
}

/* ---- ends ----------------------------------------------------------------------------------- */

static void
ends(void **state)
{
    static const struct {
        enum rnic_status status;
        bool recv;
        enum iscsi_err err;
        const char *why;
    } rows[] = {
        {RNIC_FLUSHED, true, ISCSI_ERR_CONN_CLOSED, "has ended"},
        {RNIC_FLUSHED, false, ISCSI_ERR_CONN_CLOSED, "has ended"},
        {RNIC_TOO_LONG, true, ISCSI_ERR_DATALEN, "longer than any may be"},
        {RNIC_LOCAL_ERROR, true, ISCSI_ERR_PROTO, "invalidated an STag"},
        {RNIC_LOCAL_ERROR, false, ISCSI_ERR_PROTO, "refuses what is to be sent"},
        {RNIC_REMOTE_ACCESS, false, ISCSI_ERR_CONN_CLOSED, "not open"},
        {RNIC_REMOTE_ERROR, false, ISCSI_ERR_CONN_CLOSED, "its receive is too short"},
        {RNIC_NO_ANSWER, false, ISCSI_ERR_CONN_CLOSED, "the way to it"},
    };
    static struct rig_cmd read, write, small;

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        bool windows = i % 2 == 0;

        rig_start(windows, NULL);
        assert_int_equal(rig_command(&read, buf, 65536, NULL, 0), 0);
        assert_int_equal(rig_command(&write, NULL, 0, buf2, 65536), 0);
        assert_int_equal(rig_command(&small, NULL, 0, buf2, 512), 0);
        rig_flush();
        if (rows[i / 2].recv)
            fake_rnic_recv_done(fake_rnic, rows[i / 2].status, 0, 0);
        else
            fake_rnic_sends_done(fake_rnic, rows[i / 2].status);
        assert_int_equal(r.failures, 1);
        assert_int_equal(r.err, rows[i / 2].err);
        assert_non_null(strstr(r.why, rows[i / 2].why));
        assert_true(fake_rnic->disconnected);
        assert_int_equal(rig_control(ISCSI_OP_NOP_OUT, NULL, 0), -ENOTCONN);
        assert_int_equal(tt->ep_poll(r.ep), -ECONNRESET);
        fake_rnic->ev->ended(fake_rnic->user, -ECONNRESET, "late");
        assert_int_equal(r.failures, 1);
        /* One is given up already, and its memory may be in use. */
        read.task->state = ISCSI_TASK_COMPLETED;
        assert_int_equal(tt->cleanup_task(read.task), -EINPROGRESS);
        assert_int_equal(tt->stop_conn(r.conn, STOP_CONN_RECOVER), -EINPROGRESS);
        assert_int_equal(tt->stop_conn(r.conn, STOP_CONN_RECOVER), -EINPROGRESS);
        assert_true(fake_rnic->open);
        assert_int_equal(r.cleaned, 0);
        fake_rnic_flush(fake_rnic);
        assert_int_equal(fake_rnic->closed, 1);
        assert_int_equal(r.cleaned, 1);
        assert_int_equal(r.stopped, 1);
        assert_int_equal(tt->cleanup_task(write.task), 0);
        assert_int_equal(tt->cleanup_task(small.task), 0);
        r.cmd[1] = r.cmd[2] = NULL;
        assert_int_equal(tt->stop_conn(r.conn, STOP_CONN_TERM), 0);
        rig_free();
    }
}

/* Nobody is told of room after stop_conn. */
static void
stopped_when_there_is_room(void **state)
{
    struct rig_cmd a, b;

    (void)state;
    rig_start(false, "iser_pool=1M");
    assert_int_equal(rig_command(&a, buf, 524288, buf2, 524288), 0);
    assert_int_equal(rig_command(&b, buf, 512, NULL, 0), -EAGAIN);
    rig_flush();
    a.task->state = ISCSI_TASK_COMPLETED;
    assert_int_equal(tt->cleanup_task(a.task), 0);
    r.cmd[0] = NULL;
    assert_int_equal(tt->stop_conn(r.conn, STOP_CONN_TERM), -EINPROGRESS);
    fake_turn(&r.fl);
    assert_int_equal(r.xmits, 0);
    rig_free();
}

/* The target leaves, and what is posted comes back only when we leave, too; or never. */
static void
leaves(void **state)
{
    struct rig_cmd c;

    (void)state;
    for (int never = 0; never < 2; never++) {
        rig_start(true, NULL);
        assert_int_equal(rig_command(&c, buf, 65536, NULL, 0), 0);
        rig_flush();
        fake_rnic_sends_done(fake_rnic, RNIC_OK);
        fake_rnic->ev->ended(fake_rnic->user, -ECONNRESET, "the target has closed the connection");
        assert_int_equal(r.failures, 1);
        assert_string_equal(r.why, "the target has closed the connection");
        assert_true(fake_rnic->disconnected);
        assert_int_equal(tt->stop_conn(r.conn, STOP_CONN_RECOVER), -EINPROGRESS);
        if (never) {
            fake_advance(&r.fl, MS(4999));
            assert_int_equal(r.stopped, 0);
            fake_advance(&r.fl, MS(2));
        } else {
            fake_rnic_flush(fake_rnic);
        }
        assert_int_equal(fake_rnic->closed, 1);
        assert_int_equal(r.stopped, 1);
        assert_int_equal(tt->cleanup_task(c.task), 0);
        r.cmd[0] = NULL;
        rig_free();
    }
}

/* What has not been posted is dropped, and nobody waits for it. */
static void
stopped_unflushed(void **state)
{
    struct rig_cmd c;

    (void)state;
    rig_start(true, NULL);
    assert_int_equal(rig_command(&c, buf, 65536, NULL, 0), 0);
    assert_int_equal(tt->stop_conn(r.conn, STOP_CONN_TERM), -EINPROGRESS);
    assert_int_equal(fake_rnic->nsent, 0);
    fake_rnic_flush(fake_rnic);
    assert_int_equal(r.stopped, 1);
    assert_int_equal(tt->cleanup_task(c.task), 0);
    r.cmd[0] = NULL;
    rig_free();

    /* The device does not take it: what was posted is not known, and is not waited for. */
    rig_start(true, NULL);
    assert_int_equal(rig_command(&c, buf, 65536, NULL, 0), 0);
    fake_rnic->fail_send = -EIO;
    rig_flush();
    assert_int_equal(r.failures, 1);
    assert_int_equal(tt->stop_conn(r.conn, STOP_CONN_TERM), 0);
    assert_int_equal(fake_rnic->closed, 1);
    assert_int_equal(r.stopped, 0);
    assert_int_equal(tt->cleanup_task(c.task), 0);
    r.cmd[0] = NULL;
    rig_free();

    rig_start(false, NULL);
    fake_rnic->fail_recv = -EIO;
    rig_message(ISCSI_OP_NOP_IN, ISCSI_TAG_RSVD, 0);
    assert_int_equal(r.pdus, 1);
    assert_int_equal(r.failures, 1);
    assert_non_null(strstr(r.why, "does not take receives"));
    assert_int_equal(tt->stop_conn(r.conn, STOP_CONN_TERM), 0);
    rig_free();
}

/* ISR-05, ISR-06, and messages that are none. */
static void
bad_messages(void **state)
{
    static const struct {
        uint8_t iser, opcode;
        uint32_t dseg, len;
        const char *why;
    } rows[] = {
        {0x10, ISCSI_OP_DATA_IN, 0, 76, "SCSI Data-In: there is none over iSER"},
        {0x10, ISCSI_OP_R2T, 0, 76, "there is none over iSER"},
        {0x20, ISCSI_OP_NOP_IN, 0, 76, "where only PDUs"},
        {0x00, ISCSI_OP_NOP_IN, 0, 76, "where only PDUs"},
        {0x14, ISCSI_OP_SCSI_RSP, 0, 76, "only a SCSI Command has an STag"},
        {0x10, ISCSI_OP_NOP_IN, 0, 75, "no whole PDU header"},
        {0x10, ISCSI_OP_NOP_IN, 0, 0, "no iSER header"},
        {0x10, ISCSI_OP_NOP_IN, 8, 76, "came in a message of 76"},
        {0x10, ISCSI_OP_NOP_IN, 0, 80, "came in a message of 80"},
        {0x10, ISCSI_OP_NOP_IN, 513, 592, "the limit is 512"},
        {0x10, ISCSI_OP_SCSI_CMD, 0, 76, "must not come from the target"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t msg[600] = {rows[i].iser};

        rig_start(true, NULL);
        r.conn->max_recv_dlength = 512;
        bhs_init(msg + ISER_LEN, rows[i].opcode, ISCSI_FLAG_FINAL);
        st_be24(msg + ISER_LEN + 5, rows[i].dseg);
        fake_rnic_message(fake_rnic, msg, rows[i].len, 0);
        assert_int_equal(r.failures, 1);
        assert_int_equal(r.err, ISCSI_ERR_PROTO);
        if (strstr(r.why, rows[i].why) == NULL)
            fail_msg("'%s' does not have '%s'", r.why, rows[i].why);
        assert_int_equal(r.pdus, 0);
        assert_true(fake_rnic->disconnected);
        rig_free();
    }
}

/* ---- little memory -------------------------------------------------------------------------- */

static void
no_memory(void **state)
{
    struct lunette_error err = {.code = 0};
    struct rig_cmd c;

    (void)state;
    rig_up(false, NULL, 16);
    fake_rnic->fail_reg = 1;
    assert_int_equal(tt->bind_conn(r.conn, 7, r.ep, true, &err), -ENOMEM);
    assert_non_null(strstr(err.msg, "RLIMIT_MEMLOCK is 64"));
    assert_true(fake_rnic->disconnected && fake_rnic->open);
    rig_free();

    rig_up(false, NULL, 16);
    fake_rnic->fail_recv = -EIO;
    assert_int_equal(tt->bind_conn(r.conn, 7, r.ep, true, &err), -EIO);
    rig_free();

    /* Some have been posted, and come back. */
    rig_up(false, NULL, 16);
    fake_rnic->fail_recv = -EIO;
    fake_rnic->recv_some = 5;
    assert_int_equal(tt->bind_conn(r.conn, 7, r.ep, true, &err), -EIO);
    assert_true(fake_rnic->disconnected);
    fake_rnic_flush(fake_rnic);
    assert_int_equal(r.failures, 0); /* it was not bound */
    rig_free();

    /* The pool is smaller, where no size was asked for. */
    rig_bind(false, NULL);
    fake_rnic->fail_reg = 2;
    assert_int_equal(tt->start_conn(r.conn, &err), 0);
    assert_int_equal(((struct iser_ep *)r.ep->dd_data)->pool.bytes, ISER_POOL_DEFAULT / 2);
    rig_free();
    rig_bind(false, NULL);
    fake_rnic->fail_reg_from = 2;
    assert_int_equal(tt->start_conn(r.conn, &err), -ENOMEM);
    assert_non_null(strstr(err.msg, "1048576 bytes are wanted, RLIMIT_MEMLOCK is 64"));
    rig_free();
    rig_bind(false, "iser_pool=8M");
    fake_rnic->fail_reg = 2;
    assert_int_equal(tt->start_conn(r.conn, &err), -ENOMEM);
    assert_non_null(strstr(err.msg, "8388608 bytes are wanted"));
    rig_free();

    /* Fewer windows: fewer commands at a time. */
    assert_int_equal(rig_connect(true, NULL, 16), 0);
    fake_rnic->windows_max = 1;
    fake_rnic->ev->resolved(fake_rnic->user);
    assert_int_equal(fake_rnic->private_data[0], 0xc0); /* too few for any: the pool */
    rig_free();
    assert_int_equal(rig_connect(true, NULL, 16), 0);
    fake_rnic->windows_max = 3;
    fake_rnic->ev->resolved(fake_rnic->user);
    fake_rnic->ev->established(fake_rnic->user, NULL, 0);
    assert_int_equal(tt->bind_conn(r.conn, 7, r.ep, true, &err), 0);
    assert_int_equal(tt->start_conn(r.conn, &err), 0);
    assert_int_equal(((struct iser_ep *)r.ep->dd_data)->nfree_mw, 3);
    rig_free();

    /* What cannot be registered for a command is copied. */
    rig_start(false, "iser_stag=register");
    fake_rnic->fail_reg = fake_rnic->regs + 1;
    assert_int_equal(rig_command(&c, buf, 8192, NULL, 0), 0);
    assert_true((uint8_t *)((struct iser_task *)c.task->dd_data)->in.block != NULL);
    rig_flush();
    rig_answer(&c, 0, 0);
    rig_free();
}

/* ---- registered memory ---------------------------------------------------------------------- */

static void
registered(void **state)
{
    static uint8_t mem[3][65536];
    struct lunette_error err = {.code = 0};
    struct rig_cmd c;

    (void)state;
    for (int windows = 0; windows < 2; windows++) {
        rig_bind(windows, NULL);
        assert_int_equal(tt->mem_add(r.session, mem[1], sizeof(mem[1]), &err), 0);
        assert_int_equal(tt->start_conn(r.conn, &err), 0);
        assert_int_equal(tt->mem_add(r.session, mem[2], 4096, &err), 0);
        assert_int_equal(tt->mem_add(r.session, mem[0], sizeof(mem[0]), &err), 0);
        assert_int_equal(tt->mem_add(r.session, mem[2] + 4095, 2, &err), -EINVAL);
        assert_int_equal(tt->mem_add(r.session, mem[1] + 5, 2, &err), -EINVAL);
        assert_int_equal(fake_rnic->nregions, 5);

        assert_int_equal(rig_command(&c, mem[1] + 100, 20000, NULL, 0), 0);
        rig_flush();
        fake_rnic_sends_done(fake_rnic, RNIC_OK);
        assert_null(((struct iser_task *)c.task->dd_data)->in.block);
        assert_ptr_equal(((struct iser_task *)c.task->dd_data)->in.at, mem[1] + 100);
        rig_answer(&c, 0, windows ? ((struct iser_task *)c.task->dd_data)->in.stag : 0);
        assert_true(c.cleaned);
        /* over the end of one: copied */
        assert_int_equal(rig_command(&c, mem[2], 4097, NULL, 0), 0);
        assert_non_null(((struct iser_task *)c.task->dd_data)->in.block);
        rig_flush();
        fake_rnic_sends_done(fake_rnic, RNIC_OK);
        rig_answer(&c, 0, windows ? ((struct iser_task *)c.task->dd_data)->in.stag : 0);
        assert_int_equal(rig_command(&c, NULL, 0, mem[2], 4096), 0); /* immediate */
        rig_flush();
        fake_rnic_sends_done(fake_rnic, RNIC_OK);
        rig_answer(&c, 0, 0);

        tt->mem_remove(r.session, mem[1], sizeof(mem[1]));
        assert_int_equal(fake_rnic->nregions, 4);
        assert_int_equal(rig_command(&c, mem[1] + 100, 20000, NULL, 0), 0);
        assert_non_null(((struct iser_task *)c.task->dd_data)->in.block);
        rig_flush();
        fake_rnic_sends_done(fake_rnic, RNIC_OK);
        rig_answer(&c, 0, windows ? ((struct iser_task *)c.task->dd_data)->in.stag : 0);
        /* one that does not fit is not known, and nothing else is lost */
        fake_rnic->fail_reg = fake_rnic->regs + 1;
        assert_int_equal(tt->mem_add(r.session, mem[1], 4096, &err), -ENOMEM);
        assert_int_equal(fake_rnic->nregions, 4);
        assert_int_equal(rig_command(&c, mem[2], 4096, NULL, 0), 0);
        assert_ptr_equal(((struct iser_task *)c.task->dd_data)->in.at, mem[2]);
        rig_flush();
        tt->mem_remove(r.session, mem[0], sizeof(mem[0]));
        rig_free();
    }

    /* Many; and of those that there are before there is a connection, the one that its device does
     * not take is copied. */
    rig_up(false, NULL, 16);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(tt->mem_add(r.session, mem[i], 4096, &err), 0);
    assert_int_equal(tt->bind_conn(r.conn, 7, r.ep, true, &err), 0);
    fake_rnic->fail_reg = fake_rnic->regs + 3; /* behind the pool */
    assert_int_equal(tt->start_conn(r.conn, &err), 0);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(iser_mem_find(r.ep->dd_data, mem[i], 4096) != NULL, i != 1);
    for (uint32_t i = 0; i < 3; i++)
        tt->mem_remove(r.session, mem[i], 4096);
    rig_free();
    rig_bind(false, NULL);
    for (uint32_t i = 0; i < ISER_MEM_MAX; i++)
        assert_int_equal(tt->mem_add(r.session, mem[0] + (i * 37 % ISER_MEM_MAX) * 512, 512, &err),
                         0);
    assert_int_equal(tt->mem_add(r.session, mem[1], 512, &err), -ENOSPC);
    assert_int_equal(tt->start_conn(r.conn, &err), 0);
    for (uint32_t i = 0; i < ISER_MEM_MAX; i++)
        assert_non_null(iser_mem_find(r.ep->dd_data, mem[0] + i * 512, 512));
    assert_null(iser_mem_find(r.ep->dd_data, mem[0], 513));
    assert_null(iser_mem_find(r.ep->dd_data, mem[0] + ISER_MEM_MAX * 512, 1));
    for (uint32_t i = 0; i < ISER_MEM_MAX; i++)
        tt->mem_remove(r.session, mem[0] + i * 512, 512);
    assert_int_equal(fake_rnic->nregions, 2);
    rig_free();
}

/* ---- those who look on ---------------------------------------------------------------------- */

static uint8_t seen[2][2048];
static uint32_t nseen[2], due[2];

static void
tap_begin(void *user, struct iscsi_conn *c, bool tx, const void *hdr, uint32_t hdr_len,
          uint32_t rest)
{
    (void)user;
    (void)c;
    assert_int_equal(due[tx], 0);
    memcpy(seen[tx] + nseen[tx], hdr, hdr_len);
    nseen[tx] += hdr_len;
    due[tx] = rest;
}

static void
tap_more(void *user, struct iscsi_conn *c, bool tx, const void *data, uint32_t len)
{
    (void)user;
    (void)c;
    assert_true(len <= due[tx]);
    memcpy(seen[tx] + nseen[tx], data, len);
    nseen[tx] += len;
    due[tx] -= len;
}

static void
looked_at(void **state)
{
    static const struct iscsi_tap tap = {.begin = tap_begin, .more = tap_more};
    static struct flight flight;
    uint8_t msg[ISER_HDRS_LEN + 5] = {0x10};
    struct flight_pdu pdus[8];
    struct rig_cmd c;

    (void)state;
    rig_start(false, NULL);
    r.conn->tap = &tap;
    r.conn->flight = &flight;
    fill(buf, 510, 5);
    assert_int_equal(rig_command(&c, NULL, 0, buf, 510), 0);
    assert_int_equal(rig_control(ISCSI_OP_NOP_OUT, NULL, 0), 0);
    rig_flush();
    assert_int_equal(nseen[1], 48 + 512 + 48);
    assert_int_equal(due[1], 0);
    assert_memory_equal(seen[1] + 48, buf, 510);
    bhs_init(msg + ISER_LEN, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    st_be24(msg + ISER_LEN + 5, 5);
    fake_rnic_message(fake_rnic, msg, sizeof(msg), 0); /* its padding is missing */
    assert_int_equal(nseen[0], 48 + 8);
    assert_int_equal(due[0], 0);
    assert_int_equal(flight_read(&flight, pdus, 8), 3);
    assert_false(pdus[0].tx);
    assert_int_equal(pdus[1].hdr.opcode, ISCSI_OP_SCSI_CMD);
    assert_int_equal(pdus[2].hdr.opcode, ISCSI_OP_NOP_OUT);
    rig_free();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connects),
        cmocka_unit_test(connecting_fails),
        cmocka_unit_test(the_way_is_agreed_on),
        cmocka_unit_test(describes),
        cmocka_unit_test(receives_before_login),
        cmocka_unit_test(login_pdus),
        cmocka_unit_test(slots_come_back),
        cmocka_unit_test(reads),
        cmocka_unit_test(writes),
        cmocka_unit_test(with_header_segments),
        cmocka_unit_test(both_ways),
        cmocka_unit_test(local_invalidation),
        cmocka_unit_test(wrong_invalidation),
        cmocka_unit_test(aborted),
        cmocka_unit_test(full),
        cmocka_unit_test(places),
        cmocka_unit_test(small_queues),
        cmocka_unit_test(ends),
        cmocka_unit_test(stopped_when_there_is_room),
        cmocka_unit_test(leaves),
        cmocka_unit_test(stopped_unflushed),
        cmocka_unit_test(bad_messages),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(registered),
        cmocka_unit_test(looked_at),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
