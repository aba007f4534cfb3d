/* SPDX-License-Identifier: MIT */
/* The staging memory that connections on sockets borrow: when it is held, when it goes back, and
 * that no two have the same.  The sockets here take as many bytes as they are told to. */
#include "tests/test.h"
#include "tests/unit/fake_loop.h"

#include <errno.h>
#include <stdlib.h>

#include "transport/transport.h"
#include "wire/pdu.h"

#define NCONNS 40

struct fake_stream {
    struct stream s;
    const struct stream_events *ev;
    void *user;
    size_t room;     /* bytes it still takes */
    uint8_t got[96]; /* the first ones */
    size_t sent;
    bool want_write;
    bool closed, was_reset;
    uint32_t lend_min;  /* as asked for */
    size_t unacked;     /* what it says */
    unsigned asked;     /* how often */
    unsigned closed_at; /* tasks that were cleaned before it was closed */
    const uint8_t *in;  /* what may be received */
    size_t in_len;
    struct iovec asked_for; /* the first piece of the last receive list */
    uint32_t lowat;
};

struct side {
    struct iscsi_conn *conn;
    struct flight flight;
    struct fake_stream stream;
    struct iscsi_task *task, *second;
    struct bhs_nop_out nop;
    unsigned xmits, failures, cleaned, completed;
};

static struct rig {
    struct fake_loop fl;
    struct loop_ops ops;
    struct iscsi_session session;
    void *chunk[1]; /* the session's table: the first task of the first side */
    struct side side[NCONNS];
} r;

static uint8_t scratch[65536];
static const struct iscsi_transport *const tt = &sw_tcp_transport;

static struct side *
side_of(const struct iscsi_conn *c)
{
    return &r.side[c->cid];
}

/* ---- sockets -------------------------------------------------------------------------------- */

static int
adopt(struct loop *l, int fd, const struct stream_events *ev, void *user, struct stream **ret)
{
    struct fake_stream *f = &r.side[fd].stream;

    *f = (struct fake_stream){.s = {.loop = l}, .ev = ev, .user = user, .room = SIZE_MAX};
    *ret = &f->s;
    return 0;
}

static ssize_t
sendv(struct stream *s, const struct iovec *iov, int n, size_t total)
{
    struct fake_stream *f = container_of(s, struct fake_stream, s);
    size_t want = 0, taken = 0;

    for (int i = 0; i < n; i++) {
        size_t len = iov[i].iov_len < f->room ? iov[i].iov_len : f->room;
        size_t keep = f->sent < sizeof(f->got) ? sizeof(f->got) - f->sent : 0;

        want += iov[i].iov_len;
        if (keep > 0)
            memcpy(f->got + f->sent, iov[i].iov_base, len < keep ? len : keep);
        f->sent += len;
        f->room -= len;
        taken += len;
    }
    assert_int_equal(want, total);
    f->want_write = taken < want;
    return taken > 0 ? (ssize_t)taken : -EAGAIN;
}

static int
lend(struct stream *s, uint32_t min)
{
    container_of(s, struct fake_stream, s)->lend_min = min;
    return 0;
}

static int64_t
unacked(struct stream *s)
{
    struct fake_stream *f = container_of(s, struct fake_stream, s);

    f->asked++;
    return (int64_t)f->unacked;
}

static int64_t
unread(struct stream *s)
{
    return (int64_t)container_of(s, struct fake_stream, s)->in_len;
}

static void
close_stream(struct stream *s)
{
    struct fake_stream *f = container_of(s, struct fake_stream, s);

    f->closed = true;
    f->closed_at = container_of(f, struct side, stream)->cleaned;
}

static void
reset_stream(struct stream *s)
{
    container_of(s, struct fake_stream, s)->was_reset = true;
    close_stream(s);
}

static ssize_t
recvv(struct stream *s, const struct iovec *iov, int n)
{
    struct fake_stream *f = container_of(s, struct fake_stream, s);
    size_t got = 0;

    f->asked_for = iov[0];
    for (int i = 0; i < n && f->in_len > 0; i++) {
        size_t len = f->in_len < iov[i].iov_len ? f->in_len : iov[i].iov_len;

        memcpy(iov[i].iov_base, f->in, len);
        f->in += len;
        f->in_len -= len;
        got += len;
    }
    return got > 0 ? (ssize_t)got : -EAGAIN;
}

static int
set_rcvlowat(struct stream *s, uint32_t bytes)
{
    container_of(s, struct fake_stream, s)->lowat = bytes;
    return 0;
}

static void
arrives(struct side *e, const uint8_t *p, size_t len)
{
    e->stream.in = p;
    e->stream.in_len = len;
    e->stream.ev->readable(e->stream.user);
    assert_int_equal(e->stream.in_len, 0);
    sw_tcp_check_fast(e->conn);
}

static void
make_writable(struct side *e, size_t room)
{
    assert_true(e->stream.want_write);
    e->stream.want_write = false;
    e->stream.room = room;
    e->stream.ev->writable(e->stream.user);
    sw_tcp_check_fast(e->conn);
}

/* ---- the layer above ------------------------------------------------------------------------ */

static void
queue_xmit(struct iscsi_conn *c)
{
    side_of(c)->xmits++;
}

static void
conn_failure(struct iscsi_conn *c, enum iscsi_err err, const char *why)
{
    assert_int_equal(err, ISCSI_ERR_CONN_CLOSED);
    assert_true(why[0] != '\0');
    side_of(c)->failures++;
}

static void
task_cleaned(struct iscsi_task *t)
{
    side_of(t->conn)->cleaned++;
}

static void
update_cmdsn(struct iscsi_conn *c, struct be32 exp_cmdsn, struct be32 max_cmdsn)
{
    (void)exp_cmdsn;
    (void)max_cmdsn;
    side_of(c)->completed++;
}

static const struct iscsi_upcalls upcalls = {.queue_xmit = queue_xmit,
                                             .conn_failure = conn_failure,
                                             .task_cleaned = task_cleaned,
                                             .update_cmdsn = update_cmdsn};

static struct iscsi_task *
new_task(struct iscsi_conn *c)
{
    struct iscsi_task *t = calloc(1, sizeof(*t) + tt->task_size);

    assert_non_null(t);
    t->conn = c;
    t->dd_data = t + 1;
    return t;
}

static void
setup(int n)
{
    memset(&r, 0, sizeof(r));
    fake_loop_init(&r.fl, 1);
    r.ops = fake_loop_ops;
    r.ops.adopt = adopt;
    r.ops.sendv = sendv;
    r.ops.close = close_stream;
    r.ops.reset = reset_stream;
    r.ops.lend = lend;
    r.ops.unacked = unacked;
    r.ops.unread = unread;
    r.ops.recvv = recvv;
    r.ops.set_rcvlowat = set_rcvlowat;
    r.fl.l.scratch = scratch;
    r.fl.l.scratch_size = sizeof(scratch);
    r.fl.l.ops = &r.ops;
    r.session = (struct iscsi_session){.tt = tt, .loop = &r.fl.l};
    for (int i = 0; i < n; i++) {
        struct side *e = &r.side[i];
        struct iscsi_conn *c = calloc(1, sizeof(*c) + tt->conn_size);

        assert_non_null(c);
        *c = (struct iscsi_conn){.session = &r.session,
                                 .tt = tt,
                                 .up = &upcalls,
                                 .loop = &r.fl.l,
                                 .cid = (uint16_t)i,
                                 .flight = &e->flight,
                                 .dd_data = c + 1};
        e->conn = c;
        assert_int_equal(tt->create_conn(c, NULL), 0);
        assert_int_equal(tt->bind_conn(c, i, NULL, true, NULL), 0);
        e->task = new_task(c);
        e->second = new_task(c);
    }
    r.chunk[0] = r.side[0].task;
    r.session.tasks =
        (struct iscsi_tasks){.chunk = r.chunk, .made = 1, .bytes = sizeof(struct iscsi_task)};
    assert_int_equal(r.fl.l.tx.taken, 0); /* an idle connection has nothing */
}

static void
teardown(void)
{
    for (int i = 0; i < NCONNS; i++) {
        if (r.side[i].conn != NULL)
            tt->destroy_conn(r.side[i].conn);
        free(r.side[i].conn);
        free(r.side[i].task);
        free(r.side[i].second);
    }
    fake_turn(&r.fl);
    assert_int_equal(r.fl.l.tx.taken, 0);
    pool_fini(&r.fl.l.tx);
}

/* A NOP-Out that says whose it is, with len bytes of data.  alloc_pdu's result. */
static int
gather(struct side *e, const void *data, uint32_t len)
{
    struct iscsi_task *t = e->task;
    int err = tt->alloc_pdu(t, ISCSI_OP_NOP_OUT);

    sw_tcp_check_fast(e->conn);
    if (err < 0)
        return err;
    bhs_init(&e->nop, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    e->nop.itt = put32(0xab000000u + e->conn->cid);
    e->nop.dseg_len = put24(len);
    memcpy(t->hdr, &e->nop, sizeof(e->nop));
    t->hdr_len = sizeof(e->nop);
    t->data = data;
    t->data_len = len;
    assert_int_equal(tt->init_task(t), 0);
    assert_int_equal(tt->xmit_task(t), 0);
    return 0;
}

static void
got_its_own(const struct side *e)
{
    assert_memory_equal(e->stream.got, &e->nop, 48);
}

/* ---- lent payload --------------------------------------------------------------------------- */

#define LENT 262144u /* bytes of a write that is lent */

static uint8_t payload[LENT];

static void
start(struct side *e, bool zero_copy)
{
    e->conn->zero_copy = zero_copy;
    e->conn->fast_write_limit = UINT32_MAX;
    e->conn->max_xmit_dlength = LENT;
    assert_int_equal(tt->start_conn(e->conn, NULL), 0);
    fake_turn(&r.fl);
}

/* A write of len bytes, all of them immediate data, handed to the socket. */
static void
write_task(struct side *e, struct iscsi_task *t, struct scsi_cmd *sc, uint32_t len)
{
    static struct iovec iov;

    iov = (struct iovec){payload, len};
    *sc = (struct scsi_cmd){.out = sg_from_iov(&iov, 1, 0, len)};
    assert_int_equal(tt->alloc_pdu(t, ISCSI_OP_SCSI_CMD), 0);
    memset(t->hdr, 0, ISCSI_BHS_LEN);
    t->hdr->opcode = ISCSI_OP_SCSI_CMD;
    t->hdr_len = ISCSI_BHS_LEN;
    t->sc = sc;
    t->imm_count = len;
    assert_int_equal(tt->init_task(t), 0);
    assert_int_equal(tt->xmit_task(t), 0);
    tt->xmit_flush(e->conn);
    sw_tcp_check_fast(e->conn);
}

static void
write_out(struct side *e, struct scsi_cmd *sc, uint32_t len)
{
    write_task(e, e->task, sc, len);
}

/* A command of the fast path: a write of len bytes, or with 0 a read of 512. */
static void
put_fast(struct side *e, struct iscsi_task *t, struct scsi_cmd *sc, uint32_t len)
{
    static struct iovec iov;

    iov = (struct iovec){payload, len > 0 ? len : 512};
    *sc = (struct scsi_cmd){0};
    if (len > 0)
        sc->out = sg_from_iov(&iov, 1, 0, len);
    else
        sc->in = sg_from_iov(&iov, 1, 0, 512);
    t->conn = e->conn;
    t->sc = sc;
    t->imm_count = len;
    if (e->conn->gather.end == NULL)
        assert_int_equal(tt->gather_room(e->conn), 0);
    memset(e->conn->gather.next, 0, ISCSI_BHS_LEN);
    if (len > 0)
        assert_int_equal(tt->xmit_fast(t), 0);
    else
        e->conn->gather.next += ISCSI_BHS_LEN;
    sw_tcp_check_fast(e->conn);
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void
held_only_while_something_is_to_be_sent(void **state)
{
    struct side *e = &r.side[0];

    (void)state;
    setup(1);
    for (int i = 0; i < 3; i++) {
        e->stream.sent = 0;
        assert_int_equal(gather(e, NULL, 0), 0);
        assert_int_equal(r.fl.l.tx.taken, 1);
        assert_int_equal(e->stream.sent, 0);
        tt->xmit_flush(e->conn);
        assert_int_equal(e->stream.sent, 48);
        got_its_own(e);
        assert_int_equal(r.fl.l.tx.taken, 0);
    }
    tt->xmit_flush(e->conn); /* of nothing */
    assert_int_equal(e->stream.sent, 48);
    teardown();
}

/* More than one buffer holds: it is sent and borrowed again in the middle. */
static void
one_is_enough_however_much_is_gathered(void **state)
{
    struct side *e = &r.side[0];

    (void)state;
    setup(1);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(gather(e, NULL, 0), 0);
        assert_int_equal(r.fl.l.tx.taken, 1);
    }
    tt->xmit_flush(e->conn);
    assert_int_equal(e->stream.sent, 48000);
    assert_int_equal(r.fl.l.tx.taken, 0);
    teardown();
}

static void
blocked_connections_keep_their_own(void **state)
{
    (void)state;
    setup(NCONNS);
    for (int i = 0; i < NCONNS; i++) {
        r.side[i].stream.room = (size_t)i; /* a part of the header, or nothing */
        assert_int_equal(gather(&r.side[i], NULL, 0), 0);
        tt->xmit_flush(r.side[i].conn);
        assert_int_equal(r.side[i].stream.sent, i);
    }
    assert_int_equal(r.fl.l.tx.taken, NCONNS);
    for (int i = 0; i < NCONNS; i++) { /* refused, and nothing changes by it */
        assert_int_equal(tt->alloc_pdu(r.side[i].task, ISCSI_OP_NOP_OUT), -EAGAIN);
        assert_int_equal(r.side[i].xmits, 0);
    }
    assert_int_equal(r.fl.l.tx.taken, NCONNS);
    for (int i = 0; i < NCONNS; i++) {
        make_writable(&r.side[i], SIZE_MAX);
        assert_int_equal(r.side[i].stream.sent, 48);
        got_its_own(&r.side[i]);
        assert_int_equal(r.side[i].xmits, 1); /* the -EAGAIN is made good */
        assert_int_equal(r.fl.l.tx.taken, NCONNS - 1 - i);
    }
    assert_true(r.fl.l.tx.kept <= POOL_KEPT_MAX);
    for (int i = 0; i < NCONNS; i++) {
        r.side[i].stream.sent = 0;
        assert_int_equal(gather(&r.side[i], NULL, 0), 0);
        tt->xmit_flush(r.side[i].conn);
        got_its_own(&r.side[i]);
        assert_int_equal(r.side[i].failures, 0);
    }
    assert_int_equal(r.fl.l.tx.taken, 0);
    teardown();
}

/* Half a PDU is out, with data behind it that a task still owns. */
static void
a_connection_that_dies_gives_back(void **state)
{
    static const uint8_t data[64] = {1, 2, 3};
    struct side *e = &r.side[0], *other = &r.side[1];

    (void)state;
    setup(2);
    e->stream.room = 50;
    assert_int_equal(gather(e, data, sizeof(data)), 0);
    tt->xmit_flush(e->conn);
    assert_int_equal(e->stream.sent, 50);
    assert_int_equal(tt->cleanup_task(e->task), -EINPROGRESS); /* its data is in the iovecs */
    assert_int_equal(r.fl.l.tx.taken, 1);
    assert_int_equal(tt->stop_conn(e->conn, STOP_CONN_TERM), 0);
    assert_int_equal(e->cleaned, 1);
    assert_int_equal(r.fl.l.tx.taken, 0);
    assert_int_equal(tt->alloc_pdu(e->task, ISCSI_OP_NOP_OUT), -ENOTCONN);
    assert_int_equal(gather(other, NULL, 0), 0); /* gets what the dead one had */
    assert_int_equal(r.fl.l.tx.taken, 1);
    assert_int_equal(tt->stop_conn(e->conn, STOP_CONN_TERM), 0); /* once more: harmless */
    assert_int_equal(r.fl.l.tx.taken, 1);
    tt->xmit_flush(other->conn);
    got_its_own(other);
    teardown();
}

/* The target is not to serve a login that is given up; what has been started ends in order. */
static void
a_login_that_is_given_up_is_reset(void **state)
{
    (void)state;
    for (int started = 0; started < 2; started++) {
        setup(1);
        if (started)
            assert_int_equal(tt->start_conn(r.side[0].conn, NULL), 0);
        assert_int_equal(tt->stop_conn(r.side[0].conn, STOP_CONN_RECOVER), 0);
        assert_true(r.side[0].stream.closed);
        assert_int_equal(r.side[0].stream.was_reset, !started);
        teardown();
    }
}

/* As nearly always: the target has read the data that it answers. */
static void
an_answer_after_the_acknowledgement(void **state)
{
    struct side *e = &r.side[0];
    struct scsi_cmd sc, sc2;

    (void)state;
    setup(1);
    start(e, true);
    assert_true(e->stream.lend_min > 0 && e->stream.lend_min <= LENT);
    assert_int_equal(e->conn->fast_write_limit, e->stream.lend_min - 1);
    write_out(e, &sc, LENT);
    write_task(e, e->second, &sc2, LENT);
    assert_int_equal(e->stream.asked, 0);
    assert_int_equal(tt->cleanup_task(e->task), 0);
    assert_int_equal(e->stream.asked, 1);
    assert_int_equal(tt->cleanup_task(e->second), 0); /* what is known is new enough */
    assert_int_equal(e->stream.asked, 1);
    write_out(e, &sc, LENT);
    write_task(e, e->second, &sc2, LENT); /* behind it, and not acknowledged: of no interest */
    e->stream.unacked = 48 + LENT;
    assert_int_equal(tt->cleanup_task(e->task), 0);
    assert_int_equal(tt->cleanup_task(e->second), -EINPROGRESS);
    assert_int_equal(e->cleaned, 0);
    teardown();
}

/* What lies in the two sockets, and what is not in ours yet. */
static void
bytes_on_their_way_are_told(void **state)
{
    static const uint8_t data[64] = {1, 2, 3};
    struct side *e = &r.side[0];
    struct iscsi_moved m;

    (void)state;
    setup(1);
    tt->get_moved(e->conn, &m);
    assert_int_equal(m.unread + m.acked + m.unacked, 0);
    e->stream.room = 50;
    assert_int_equal(gather(e, data, sizeof(data)), 0);
    tt->xmit_flush(e->conn);
    e->stream.unacked = 20;
    e->stream.in_len = 1234;
    tt->get_moved(e->conn, &m);
    assert_int_equal(m.unread, 1234);
    assert_int_equal(m.acked, 30);
    assert_int_equal(m.unacked, 48 + 64 - 30);
    e->stream.in_len = 0;
    teardown();
}

/* A write that has left, and is over while some of it is not acknowledged. */
static struct side *
answered_early(struct scsi_cmd *sc, size_t unacked)
{
    struct side *e = &r.side[0];

    setup(1);
    start(e, true);
    write_out(e, sc, LENT);
    assert_int_equal(e->stream.sent, 48 + LENT);
    e->stream.unacked = unacked;
    assert_int_equal(tt->cleanup_task(e->task), -EINPROGRESS);
    return e;
}

static void
an_early_answer_keeps_the_memory(void **state)
{
    struct scsi_cmd sc;
    struct side *e = answered_early(&sc, 1);
    unsigned asked;

    (void)state;
    fake_advance(&r.fl, SEC(1));
    assert_int_equal(e->cleaned, 0);
    asked = e->stream.asked;
    assert_true(asked > 10 && asked < 1000); /* now and then */
    e->stream.unacked = 0;
    fake_advance(&r.fl, MS(100));
    assert_int_equal(e->cleaned, 1);
    assert_true(e->stream.asked <= asked + 1);
    asked = e->stream.asked;
    fake_advance(&r.fl, SEC(1)); /* and no more */
    assert_int_equal(e->stream.asked, asked);
    teardown();
}

/* Whatever comes brings an acknowledgement along. */
static void
the_next_receive_asks(void **state)
{
    struct scsi_cmd sc;
    struct side *e = answered_early(&sc, LENT);

    (void)state;
    e->stream.ev->readable(e->stream.user);
    assert_int_equal(e->cleaned, 0);
    e->stream.unacked = 0;
    e->stream.ev->readable(e->stream.user);
    assert_int_equal(e->cleaned, 1);
    teardown();
}

/* First all of it has to leave, then to be acknowledged. */
static void
blocked_and_answered_early(void **state)
{
    struct side *e = &r.side[0];
    struct scsi_cmd sc;

    (void)state;
    setup(1);
    start(e, true);
    e->stream.room = 1000;
    write_out(e, &sc, LENT);
    e->stream.unacked = 1000;
    assert_int_equal(tt->cleanup_task(e->task), -EINPROGRESS);
    fake_advance(&r.fl, MS(100));
    assert_int_equal(e->cleaned, 0);
    e->stream.unacked = 48 + LENT;
    make_writable(e, SIZE_MAX);
    fake_advance(&r.fl, MS(100));
    assert_int_equal(e->stream.sent, 48 + LENT);
    assert_int_equal(e->cleaned, 0);
    e->stream.unacked = 0;
    fake_advance(&r.fl, MS(100));
    assert_int_equal(e->cleaned, 1);
    teardown();
}

/* The stream, and with it all that refers to the memory, goes first. */
static void
a_dead_connection_lets_go_before_the_memory_is_given_back(void **state)
{
    struct scsi_cmd sc;
    struct side *e = answered_early(&sc, LENT);

    (void)state;
    assert_int_equal(tt->stop_conn(e->conn, STOP_CONN_RECOVER), 0);
    assert_true(e->stream.closed);
    assert_int_equal(e->stream.closed_at, 0);
    assert_int_equal(e->cleaned, 1);
    assert_int_equal(tt->cleanup_task(e->task), 0);
    fake_advance(&r.fl, SEC(1));
    assert_int_equal(e->cleaned, 1);
    teardown();
}

static void
what_is_copied_is_free_when_it_has_left(void **state)
{
    struct side *e = &r.side[0];
    struct scsi_cmd sc;

    (void)state;
    for (int zero_copy = 0; zero_copy < 2; zero_copy++) {
        setup(1);
        start(e, zero_copy);
        assert_int_equal(e->conn->fast_write_limit == UINT32_MAX, !zero_copy);
        e->stream.unacked = SIZE_MAX / 4;
        write_out(e, &sc, zero_copy ? e->stream.lend_min - 1 : LENT);
        assert_int_equal(tt->cleanup_task(e->task), 0);
        assert_int_equal(e->stream.asked, 0);
        fake_turn(&r.fl);
        teardown();
    }
}

/* ---- after cleanup_task ---------------------------------------------------------------------- */

/* A slot whose payload ended far up in one connection's stream, and was lent there, is used on
 * another: what is said of the first stream says nothing of the second. */
static void
a_slot_used_on_one_connection_and_then_on_another(void **state)
{
    struct side *a = &r.side[0], *b = &r.side[1];
    struct scsi_cmd sc;

    (void)state;
    for (uint32_t len = 0; len <= 1536; len += 512) {
        for (int early = 0; early < 2; early++) {
            struct iscsi_task *t;

            setup(2);
            t = a->task;
            start(a, true);
            start(b, false);
            write_out(a, &sc, LENT);
            a->stream.unacked = early ? 1 : 0;
            assert_int_equal(tt->cleanup_task(t), early ? -EINPROGRESS : 0);
            a->stream.unacked = 0;
            fake_advance(&r.fl, MS(100));
            assert_int_equal(a->cleaned, early);
            put_fast(b, t, &sc, len);
            b->stream.room = len > 0 ? 100 : 10; /* half of it is out when it is given up */
            tt->xmit_flush(b->conn);
            /* of a read, the output has nothing but a header, which is the transport's own */
            assert_int_equal(tt->cleanup_task(t), len > 0 ? -EINPROGRESS : 0);
            make_writable(b, SIZE_MAX);
            fake_turn(&r.fl);
            assert_int_equal(b->stream.sent, 48 + len);
            assert_int_equal(b->cleaned, len > 0);
            assert_int_equal(b->stream.asked, 0);
            /* and back on the first one */
            put_fast(a, t, &sc, len);
            tt->xmit_flush(a->conn);
            assert_int_equal(tt->cleanup_task(t), 0);
            teardown();
        }
    }
}

/* In every state of the output: gathered, blocked, partly sent.  The memory is the caller's again
 * exactly when the last byte of it has been sent. */
static void
the_output_lets_go_with_the_last_byte(void **state)
{
    struct side *e = &r.side[0];
    struct scsi_cmd sc;

    (void)state;
    for (size_t taken = 0; taken <= 48 + 40; taken += 4) {
        for (int fast = 0; fast < 2; fast++) {
            setup(1);
            start(e, false);
            memset(payload, 0x11, 40);
            e->stream.room = taken;
            if (fast)
                put_fast(e, e->task, &sc, 40);
            else
                write_out(e, &sc, 40);
            if (taken > 0)
                tt->xmit_flush(e->conn);
            if (taken == 48 + 40) {
                assert_int_equal(tt->cleanup_task(e->task), 0);
            } else {
                assert_int_equal(tt->cleanup_task(e->task), -EINPROGRESS);
                fake_turn(&r.fl);
                assert_int_equal(e->cleaned, 0);
                e->stream.room = SIZE_MAX;
                if (e->stream.want_write)
                    make_writable(e, SIZE_MAX);
                else
                    tt->xmit_flush(e->conn);
                assert_int_equal(e->cleaned, 0); /* never from inside an operation */
                fake_turn(&r.fl);
                assert_int_equal(e->cleaned, 1);
            }
            memset(payload, 0x22, 40);
            assert_int_equal(e->stream.sent, 48 + 40);
            for (int i = 0; i < 40; i++)
                assert_int_equal(e->stream.got[48 + i], 0x11);
            assert_int_equal(r.fl.l.tx.taken, 0);
            memset(payload, 0, 40);
            teardown();
        }
    }
}

/* A header that alloc_pdu gave room for, and that was never laid out, leaves no trace. */
static void
a_header_that_was_not_laid_out(void **state)
{
    struct side *e = &r.side[0];

    (void)state;
    setup(1);
    assert_int_equal(tt->alloc_pdu(e->second, ISCSI_OP_NOP_OUT), 0);
    memset(e->second->hdr, 0xee, 48);
    assert_int_equal(tt->cleanup_task(e->second), 0);
    assert_int_equal(gather(e, NULL, 0), 0);
    tt->xmit_flush(e->conn);
    assert_int_equal(e->stream.sent, 48);
    got_its_own(e);
    teardown();
}

#define READ_LEN 200000u /* bytes of a Data-In that is received in place */

/* Given up while large data is received in place, with SO_RCVLOWAT set: the next receive list does
 * not have its memory. */
static void
a_read_given_up_while_it_is_received_in_place(void **state)
{
    static uint8_t bytes[48 + READ_LEN + 48], memory[READ_LEN];
    struct side *e = &r.side[0];
    struct iovec iov = {memory, sizeof(memory)};
    struct scsi_cmd sc = {.in = sg_from_iov(&iov, 1, 0, READ_LEN)};
    struct bhs_data_in h;

    (void)state;
    setup(1);
    e->conn->max_recv_dlength = 262144;
    start(e, false);
    e->task->sc = &sc;
    e->task->state = ISCSI_TASK_RUNNING;
    bhs_init(&h, ISCSI_OP_DATA_IN, ISCSI_FLAG_FINAL);
    h.dseg_len = put24(READ_LEN);
    memset(bytes, 0x77, sizeof(bytes));
    memcpy(bytes, &h, sizeof(h));
    arrives(e, bytes, 50000);
    assert_true(e->stream.lowat > 1);
    arrives(e, bytes + 50000, 1000);
    assert_ptr_equal(e->stream.asked_for.iov_base, memory + 50000 - 48);
    assert_int_equal(tt->cleanup_task(e->task), 0);
    memset(memory, 0xcc, sizeof(memory));
    e->task->sc = NULL;
    for (size_t at = 51000; at < 48 + READ_LEN; at += 10000) {
        arrives(e, bytes + at, 48 + READ_LEN - at < 10000 ? 48 + READ_LEN - at : 10000);
        assert_ptr_equal(e->stream.asked_for.iov_base, scratch);
    }
    for (size_t i = 0; i < sizeof(memory); i++)
        assert_int_equal(memory[i], 0xcc);
    assert_int_equal(e->completed, 1); /* its MaxCmdSN counts */
    assert_int_equal(e->failures, 0);
    assert_int_equal(e->stream.lowat, 1);
    teardown();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(held_only_while_something_is_to_be_sent),
        cmocka_unit_test(one_is_enough_however_much_is_gathered),
        cmocka_unit_test(blocked_connections_keep_their_own),
        cmocka_unit_test(a_connection_that_dies_gives_back),
        cmocka_unit_test(a_login_that_is_given_up_is_reset),
        cmocka_unit_test(bytes_on_their_way_are_told),
        cmocka_unit_test(an_answer_after_the_acknowledgement),
        cmocka_unit_test(an_early_answer_keeps_the_memory),
        cmocka_unit_test(the_next_receive_asks),
        cmocka_unit_test(blocked_and_answered_early),
        cmocka_unit_test(a_dead_connection_lets_go_before_the_memory_is_given_back),
        cmocka_unit_test(what_is_copied_is_free_when_it_has_left),
        cmocka_unit_test(a_slot_used_on_one_connection_and_then_on_another),
        cmocka_unit_test(the_output_lets_go_with_the_last_byte),
        cmocka_unit_test(a_header_that_was_not_laid_out),
        cmocka_unit_test(a_read_given_up_while_it_is_received_in_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
