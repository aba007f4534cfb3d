/* SPDX-License-Identifier: MIT */
/* transport/sw_tcp/sw_tcp.c - iSCSI over a socket (Linux: iscsi_tcp).
 *
 * Out: PDUs are gathered, and xmit_flush sends all of them in one system call; some are sent before
 * only where the room for them runs out, or digested data is about to leave the cache.  Headers,
 * padding and digests of all PDUs stand one behind the other in staging memory, among them the
 * headers that the iSCSI layer puts at conn->gather; payload is sent from the caller's memory, and
 * an iovec ends only where payload comes between. What the socket does not take waits for
 * ->writable, and alloc_pdu and gather_room return -EAGAIN meanwhile.  A connection takes staging
 * from the loop's pool for the first PDU and puts it back when the last byte has been sent: one
 * that is idle holds none.
 *
 * With zero_copy the stream may lend large payload to the kernel instead of
 * copying it.  The memory of a task whose last byte has been sent is then still not
 * free: the kernel refers to it until the target's kernel has acknowledged the
 * bytes, and a target may answer before that.  Such a task waits on `cleanup`.
 *
 * In: one bounded receive into the loop's scratch memory yields many PDUs.  In
 * the middle of a large Data-In the receive list starts with the command's own
 * memory and continues into a little of scratch: payload is received in place.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "transport/stream/iscsi_tcp.h"
#include "transport/transport.h"
#include "wire/pdu.h"

#define TX_STAGING              16384u  /* bytes of headers, padding, digests gathered at most */
#define TX_IOV                  1024    /* iovecs of one send at most */
#define TX_WARM                 262144u /* bytes that were digested and may still be in a cache */
#define TX_LEND_MIN             131072u /* from here on, to lend payload is faster than to copy it */
#define TX_ROOM_MS              10      /* until staging that could not be had is asked for again */
#define TX_ACK_MS               10     /* how often to ask what of the lent bytes is acknowledged */
#define RX_IN_PLACE_MIN         16384u /* below, to copy out of scratch is cheaper than another iovec */
#define RX_IN_PLACE_IOV         16
#define RX_TAIL                 4096u /* room behind large data: for the next header, and little to copy */
#define RX_LOWAT_MIN            65536u /* missing data for which to set SO_RCVLOWAT saves wake-ups */
#define RX_LOWAT_MAX            262144u /* more would keep the receiver idle while the sender works */
#define RX_ROUNDS               4 /* receives per readable event, so that no connection starves another */
#define RX_HELD_MAX             65536 /* bytes that may come between the login's end and start_conn */
#define MAX_SG                  256   /* iovecs of one command's data at most (host max_sg) */
#define SW_TCP_MAX_RECV_DLENGTH 262144u

struct sw_tcp_conn {
    struct iscsi_tcp_conn tcp; /* first: stream/ takes dd_data for this */
    struct stream *stream;
    bool blocked;                 /* the socket was full; ->writable will come */
    bool want_xmit;               /* alloc_pdu refused since */
    struct loop_timer room_timer; /* there was no memory for staging */
    uint8_t *staging; /* TX_STAGING bytes, taken from the pool; NULL: nothing is to be sent */
    struct iovec *iov;
    uint8_t *gathered;     /* staging from here up to conn->gather.next is not in iov yet */
    uint8_t *seen;         /* what stands in staging before this has been recorded */
    int iov_at, iov_n;     /* iov[iov_at .. iov_n) is still to be sent */
    uint64_t queued, sent; /* bytes of the stream, counted from bind */
    uint64_t acked;        /* of those sent, when last asked; only where bytes are lent */
    uint32_t lend_min;     /* bytes of payload from which on it may be lent; UINT32_MAX: never */
    struct list cleanup;   /* tasks that are over but whose memory is still in iov, or lent */
    struct loop_work sent_work;
    struct loop_timer ack_timer;
    uint8_t *held; /* received before start_conn, not parsed yet; RX_HELD_MAX bytes */
    uint32_t held_len;
    struct loop_work start_work;
    bool started; /* start_conn has been called since bind_conn */
};

/* What a connection takes from the pool. */
struct sw_tcp_tx {
    struct iovec iov[TX_IOV];
    uint8_t staging[TX_STAGING];
};

/* Where in the stream of t->conn the task's payload ends.  A slot is used on one connection after
 * the other: both numbers are set before they are looked at, `last` by whatever lays out payload,
 * and `lent` is 0 between two uses. */
struct sw_tcp_task {
    struct iscsi_tcp_task tcp; /* first: stream/ takes dd_data for this */
    struct list node;          /* sw_tcp_conn.cleanup */
    struct iscsi_task *task;   /* while on cleanup, else NULL */
    uint64_t last;             /* behind its last byte of payload */
    uint64_t lent;             /* behind its last byte that may be lent; 0: none is */
};

static_assert(TX_LEND_MIN > TX_STAGING, "staging, which is used again at once, is never lent");

static void
sw_tcp_failed(struct sw_tcp_conn *sc, int err, const char *doing)
{
    struct iscsi_conn *c = sc->tcp.conn;
    char why[128];

    if (err == 0)
        (void)snprintf(why, sizeof(why), "the target closed the connection");
    else
        (void)snprintf(why, sizeof(why), "%s: %s", doing, errno_text(-err));
    c->up->conn_failure(c, ISCSI_ERR_CONN_CLOSED, why);
}

/* ---- out ------------------------------------------------------------------------------------ */

static int
take_staging(struct sw_tcp_conn *sc)
{
    struct sw_tcp_tx *tx;

    assert(sc->iov == NULL && sc->staging == NULL && sc->sent == sc->queued);
    tx = pool_get(&sc->tcp.conn->loop->tx, sizeof(*tx));
    if (tx == NULL) { /* others have all there is: they put it back when they have sent */
        sc->want_xmit = true;
        loop_timer_start(sc->tcp.conn->loop, &sc->room_timer, TX_ROOM_MS * LOOP_NS_PER_MS);
        return -EAGAIN;
    }
    sc->iov = tx->iov;
    sc->staging = tx->staging;
    sc->gathered = sc->seen = tx->staging;
    sc->tcp.conn->gather = (struct iscsi_gather){tx->staging, tx->staging + TX_STAGING};
    return 0;
}

/* Nothing is left to send: staging goes back to the pool. */
static void
put_staging(struct sw_tcp_conn *sc)
{
    sc->iov_at = sc->iov_n = 0;
    if (sc->iov == NULL)
        return;
    assert(sc->staging != NULL);
    pool_put(&sc->tcp.conn->loop->tx, container_of(sc->iov, struct sw_tcp_tx, iov));
    sc->iov = NULL;
    sc->staging = sc->gathered = sc->seen = NULL;
    sc->tcp.conn->gather = (struct iscsi_gather){NULL, NULL};
}

static inline void
add_iov(struct sw_tcp_conn *sc, void *base, size_t len)
{
    assert(sc->iov_n < TX_IOV);
    sc->iov[sc->iov_n++] = (struct iovec){base, len};
    sc->queued += len;
}

/* What has been put into staging since the last payload, by the iSCSI layer too, joins the stream
 * as one piece. */
static inline void
take_gathered(struct sw_tcp_conn *sc)
{
    uint8_t *next = sc->tcp.conn->gather.next;

    if (next == sc->gathered)
        return;
    add_iov(sc, sc->gathered, (size_t)(next - sc->gathered));
    sc->gathered = next;
}

/* Whether a command may have payload in the output.  One without out data may be a header that the
 * iSCSI layer has put at conn->gather by itself: nothing of its sw_tcp_task was set then. */
static inline bool
sends_payload(const struct iscsi_task *t)
{
    return t->sc == NULL || t->sc->out.len > 0;
}

/* Neither the iovecs nor, as far as is known, the kernel refers to the task's memory any more. */
static bool
memory_free(const struct sw_tcp_conn *sc, const struct sw_tcp_task *st)
{
    return sc->stream == NULL || (st->last <= sc->sent && st->lent <= sc->acked);
}

static void
ask_acked(struct sw_tcp_conn *sc)
{
    int64_t unacked = stream_unacked(sc->stream);

    if (unacked >= 0)
        sc->acked = sc->sent - (uint64_t)unacked;
}

/* Ends the cleanup of each task whose memory is free now, and looks again later for the rest. */
static void
finish_cleanups(struct sw_tcp_conn *sc)
{
    if (sc->stream != NULL && sc->lend_min != UINT32_MAX && !list_empty(&sc->cleanup))
        ask_acked(sc);
    LIST_FOREACH_SAFE (n, &sc->cleanup) {
        struct sw_tcp_task *st = container_of(n, struct sw_tcp_task, node);
        struct iscsi_task *t;

        if (!memory_free(sc, st))
            continue;
        t = st->task;
        assert(t != NULL && t->conn == sc->tcp.conn);
        list_del(&st->node);
        st->task = NULL;
        st->lent = 0;
        sc->tcp.conn->up->task_cleaned(t); /* the up-call may use the slot again */
    }
    if (!list_empty(&sc->cleanup) && sc->lend_min != UINT32_MAX)
        loop_timer_start(sc->tcp.conn->loop, &sc->ack_timer, TX_ACK_MS * LOOP_NS_PER_MS);
}

static void
sent_work(struct loop_work *w)
{
    finish_cleanups(container_of(w, struct sw_tcp_conn, sent_work));
}

static void
ack_timer(struct loop_timer *t)
{
    finish_cleanups(container_of(t, struct sw_tcp_conn, ack_timer));
}

static void
sw_tcp_consume(struct sw_tcp_conn *sc, size_t n)
{
    sc->sent += n;
    assert(sc->sent <= sc->queued);
    if (sc->sent == sc->queued) { /* nearly always all of it is sent at once */
        n = 0;
        sc->iov_at = sc->iov_n;
    }
    while (n > 0) {
        struct iovec *v = &sc->iov[sc->iov_at];

        if (n < v->iov_len) {
            v->iov_base = (char *)v->iov_base + n;
            v->iov_len -= n;
            break;
        }
        n -= v->iov_len;
        sc->iov_at++;
    }
    if (sc->iov_at == sc->iov_n)
        put_staging(sc);
    if (!list_empty(&sc->cleanup)) /* no up-call may be made from inside an operation */
        loop_defer(sc->tcp.conn->loop, &sc->sent_work);
}

/* Somebody looks on (struct iscsi_tap) and is shown the PDUs that have come to iov since they were
 * recorded, none of which has been sent in part.  The first of them begins at `seen`; BHS, AHS and
 * header digest stand together. */
static void __attribute__((noinline, cold)) tap_output(const struct sw_tcp_conn *sc)
{
    struct iscsi_conn *c = sc->tcp.conn;
    const struct iscsi_tap *tap = c->tap;
    uint32_t rest = 0, n;
    int i = sc->iov_at;

    while (sc->iov[i].iov_base != sc->seen)
        i++;
    for (; i < sc->iov_n; i++) {
        const uint8_t *p = sc->iov[i].iov_base;
        uint32_t len = (uint32_t)sc->iov[i].iov_len;

        for (; len > 0; p += n, len -= n) {
            if (rest > 0) {
                n = rest < len ? rest : len;
                tap->more(tap->user, c, true, p, n);
                rest -= n;
                continue;
            }
            n = ISCSI_BHS_LEN + pdu_header_trailer((const void *)p, c->hdrdgst_en);
            assert(n <= len);
            rest = pdu_data_trailer((const void *)p, c->datadgst_en);
            tap->begin(tap->user, c, true, p, n, rest);
        }
    }
    assert(rest == 0);
}

/* The PDUs that have been put into staging since it was looked at last are recorded. */
static inline void
record(struct sw_tcp_conn *sc)
{
    struct iscsi_conn *c = sc->tcp.conn;
    uint8_t *from = sc->seen, *to = sc->gathered;

    if (from == to)
        return;
    if (__builtin_expect(c->flight != NULL, 1)) {
        flight_now(c->flight, c->loop->now_ns);
        flight_tx(c->flight, from, (size_t)(to - from));
    }
    if (__builtin_expect(c->tap != NULL, 0))
        tap_output(sc);
    sc->seen = to;
}

/* Sends what is gathered.  0 all of it, -EAGAIN blocked, else the connection failed. */
static int
push(struct sw_tcp_conn *sc)
{
    ssize_t n;
    size_t want;

    if (sc->staging != NULL) {
        take_gathered(sc);
        record(sc);
    }
    want = (size_t)(sc->queued - sc->sent);
    if (want == 0)
        return 0;
    if (sc->blocked)
        return -EAGAIN;
    if (sc->stream == NULL)
        return -ENOTCONN;
    n = stream_sendv(sc->stream, sc->iov + sc->iov_at, sc->iov_n - sc->iov_at, want);
    TRACE(sc->tcp.conn->loop, xmit_flush, sc->tcp.conn->cid, n > 0 ? n : 0);
    if (n == -EAGAIN)
        n = 0;
    if (n < 0) {
        sw_tcp_failed(sc, (int)n, "sending failed");
        return (int)n;
    }
    if ((size_t)n < want) {
        sc->blocked = true;
        sc->tcp.conn->gather.end = sc->tcp.conn->gather.next;
    }
    sw_tcp_consume(sc, (size_t)n);
    return sc->blocked ? -EAGAIN : 0;
}

static inline bool
room(const struct sw_tcp_conn *sc, int iovs)
{
    const struct iscsi_gather *g = &sc->tcp.conn->gather;

    return (size_t)(g->end - g->next) >= ISCSI_GATHER_MIN && sc->iov_n + iovs <= TX_IOV;
}

/* Room for one more PDU, by sending what is there.  Nothing has changed when it fails. */
static int
sw_tcp_gather_room(struct iscsi_conn *c)
{
    struct sw_tcp_conn *sc = c->dd_data;
    int r;

    if (sc->stream == NULL)
        return -ENOTCONN;
    r = push(sc);
    if (r == -EAGAIN)
        sc->want_xmit = true;
    return r == 0 ? take_staging(sc) : r;
}

static int __attribute__((noinline)) make_room(struct iscsi_task *t)
{
    int r = sw_tcp_gather_room(t->conn);

    if (r == 0) {
        t->hdr = (void *)t->conn->gather.next;
        t->hdr_max = ISCSI_HDR_MAX - 4;
    }
    return r;
}

static int
sw_tcp_alloc_pdu(struct iscsi_task *t, uint8_t opcode)
{
    struct sw_tcp_conn *sc = t->conn->dd_data;
    uint32_t pieces = t->sc != NULL ? t->sc->out.iovcnt : 1;

    (void)opcode;
    assert(pieces <= MAX_SG);
    /* Besides those of the payload, one iovec before it and one behind it may be needed. */
    if (__builtin_expect(!room(sc, (int)pieces + 2), 0))
        return make_room(t);
    t->hdr = (void *)t->conn->gather.next;
    t->hdr_max = ISCSI_HDR_MAX - 4;
    return 0;
}

/* Header into staging, with its digest. */
static inline void
put_header(struct iscsi_conn *c, const struct iscsi_task *t)
{
    uint8_t *h = (void *)t->hdr;
    size_t len = t->hdr_len;

    assert(h == c->gather.next);
    if (c->hdrdgst_en) {
        pdu_header_digest(h, len, h + len);
        len += PDU_DIGEST_LEN;
    }
    c->gather.next = h + len;
}

/* Padding and data digest behind the payload. */
static inline void
put_trailer(struct iscsi_conn *c, uint32_t count, uint32_t crc)
{
    uint8_t *p = c->gather.next;
    uint32_t len = pdu_pad(count);

    memset(p, 0, len);
    if (c->datadgst_en) {
        pdu_digest_put(p + len, pdu_crc_zero_pad(crc, count));
        len += PDU_DIGEST_LEN;
    }
    c->gather.next = p + len;
}

static uint32_t
put_pieces(struct sw_tcp_conn *sc, struct iscsi_task *t, uint32_t count, uint32_t crc)
{
    struct sw_tcp_task *st = t->dd_data;

    while (count > 0) {
        struct iovec v;
        uint32_t n;

        (void)sg_cursor_map(&st->tcp.out, &t->sc->out, count, &v, 1, &n);
        if (t->conn->datadgst_en)
            crc = crc32c_update(crc, v.iov_base, n);
        add_iov(sc, v.iov_base, n);
        count -= n;
    }
    return crc;
}

/* Payload: of a command from its memory, mostly in one piece, of a control PDU from t->data. */
static inline uint32_t
put_payload(struct sw_tcp_conn *sc, struct iscsi_task *t, uint32_t offset, uint32_t count)
{
    struct sw_tcp_task *st = t->dd_data;
    void *p = (void *)(uintptr_t)t->data;

    if (t->sc != NULL && !(offset == 0 && (p = sg_start(&t->sc->out, count)) != NULL)) {
        if (offset != st->tcp.out.at)
            sg_cursor_seek(&st->tcp.out, &t->sc->out, offset);
        p = sg_cursor_take(&st->tcp.out, &t->sc->out, count);
        if (p == NULL)
            return put_pieces(sc, t, count, CRC32C_INIT);
    }
    add_iov(sc, p, count);
    return t->conn->datadgst_en ? crc32c_update(CRC32C_INIT, p, count) : 0;
}

static inline bool
scarce(const struct sw_tcp_conn *sc)
{
    return sc->iov_n > TX_IOV - MAX_SG - 2;
}

/* Whether to send before more is gathered, although staging has bytes left: iovecs are scarce, or
 * what has been digested is about to leave the cache, where the send would still find it. */
static inline bool
enough(const struct sw_tcp_conn *sc, const struct iscsi_conn *c)
{
    return scarce(sc) || (c->datadgst_en && sc->queued - sc->sent >= TX_WARM);
}

static inline void
lay_out(struct iscsi_task *t, uint32_t offset, uint32_t count)
{
    struct iscsi_conn *c = t->conn;
    struct sw_tcp_conn *sc = c->dd_data;
    struct sw_tcp_task *st = t->dd_data;
    uint32_t crc;

    TRACE(c->loop, init_pdu, pdu_opcode(t->hdr), count);
    put_header(c, t);
    if (count == 0)
        return;
    take_gathered(sc);
    crc = put_payload(sc, t, offset, count);
    st->last = sc->queued;
    if (count >= sc->lend_min)
        st->lent = sc->queued;
    if (c->datadgst_en || (count & 3) != 0)
        put_trailer(c, count, crc);
    if (enough(sc, c))
        c->gather.end = c->gather.next;
}

static int
sw_tcp_init_pdu(struct iscsi_task *t, uint32_t offset, uint32_t count)
{
    lay_out(t, offset, count);
    return 0;
}

static inline int
sw_tcp_xmit_pdu(struct iscsi_task *t)
{
    TRACE(t->conn->loop, xmit_pdu, pdu_opcode(t->hdr), pdu_dseg_len(t->hdr));
    t->hdr = NULL;
    return 0;
}

static int
sw_tcp_xmit_task(struct iscsi_task *t)
{
    struct sw_tcp_task *st = t->dd_data;

    TRACE(t->conn->loop, xmit_task, t->itt, 0);
    if (__builtin_expect(!st->tcp.cmd_sent, 1)) {
        (void)sw_tcp_xmit_pdu(t);
        if (__builtin_expect(!iscsi_tcp_task_sent(t), 1))
            return 0;
    }
    return iscsi_tcp_xmit_data(t);
}

static void
sw_tcp_xmit_flush(struct iscsi_conn *c)
{
    (void)push(c->dd_data); /* a failure has been reported; -EAGAIN goes on in writable() */
}

static int
sw_tcp_init_task(struct iscsi_task *t)
{
    struct sw_tcp_task *st = t->dd_data;

    assert(st->task == NULL && st->lent == 0);
    st->last = 0;
    lay_out(t, 0, iscsi_tcp_task_init(t));
    return 0;
}

/* ---- the fast path out ---------------------------------------------------------------------- */

/* Whether the iSCSI layer may put headers at conn->gather, found from the state: there is a socket
 * that takes bytes, staging to put them into, and iovecs for a header, its data and what is
 * gathered behind that.  Room of ISCSI_GATHER_MIN bytes in conn->gather says the same in one
 * comparison. */
static bool
sw_tcp_fast_ok(const struct sw_tcp_conn *sc)
{
    return sc->stream != NULL && !sc->blocked && sc->staging != NULL && !enough(sc, sc->tcp.conn) &&
           sc->iov_n + 3 <= TX_IOV;
}

void
sw_tcp_check_fast(const struct iscsi_conn *c)
{
    const struct sw_tcp_conn *sc = c->dd_data;
    const struct iscsi_gather *g = &c->gather;
    uint64_t unsent = 0;

    assert(sc->tcp.conn == c && sc->sent <= sc->queued);
    assert((sc->iov == NULL) == (sc->staging == NULL));
    assert(g->end - g->next < ISCSI_GATHER_MIN || sw_tcp_fast_ok(sc));
    if (sc->staging == NULL)
        assert(g->end == NULL && g->next == NULL && sc->iov_n == 0 && !sc->blocked);
    else
        assert(sc->staging <= sc->gathered && sc->gathered <= g->next && g->next <= g->end &&
               g->end <= sc->staging + TX_STAGING);
    for (int i = sc->iov_at; i < sc->iov_n; i++)
        unsent += sc->iov[i].iov_len;
    assert(unsent == sc->queued - sc->sent);
    LIST_FOREACH (n, &sc->cleanup) {
        const struct sw_tcp_task *st = container_of(n, struct sw_tcp_task, node);

        assert(st->task != NULL && st->task->conn == c && st->task->dd_data == st);
    }
    iscsi_tcp_check_fast(&sc->tcp);
}

/* The general form of xmit_fast: with digests, with padding, or with data in several pieces. */
static int __attribute__((noinline)) xmit_fast_general(struct iscsi_task *t)
{
    struct iscsi_conn *c = t->conn;
    struct sw_tcp_conn *sc = c->dd_data;
    struct sw_tcp_task *st = t->dd_data;
    uint32_t len = t->imm_count;
    void *data = sg_start(&t->sc->out, len);
    uint8_t *h = c->gather.next;

    if (data == NULL) {
        t->hdr = (void *)h;
        t->hdr_len = ISCSI_BHS_LEN;
        return sw_tcp_init_task(t);
    }
    c->gather.next = h + ISCSI_BHS_LEN;
    if (c->hdrdgst_en) {
        pdu_digest_put(c->gather.next, crc32c_update(CRC32C_INIT, h, ISCSI_BHS_LEN));
        c->gather.next += PDU_DIGEST_LEN;
    }
    take_gathered(sc);
    add_iov(sc, data, len);
    st->last = sc->queued;
    st->tcp.next_offset = len;
    put_trailer(c, len, c->datadgst_en ? crc32c_update(CRC32C_INIT, data, len) : 0);
    if (enough(sc, c))
        c->gather.end = c->gather.next;
    return 0;
}

/* Whether len bytes at data need nothing but an iovec: they are in one piece (data is not NULL),
 * and neither padding nor digest goes with them. */
static inline bool
tx_fast_may(const struct iscsi_conn *c, const void *data, uint32_t len)
{
    return data != NULL && (len & 3) == 0 && !c->hdrdgst_en && !c->datadgst_en;
}

/* Payload is never lent here: fast_write_limit is below lend_min. */
static int
sw_tcp_xmit_fast(struct iscsi_task *t)
{
    struct iscsi_conn *c = t->conn;
    struct sw_tcp_conn *sc = c->dd_data;
    struct sw_tcp_task *st = t->dd_data;
    uint32_t len = t->imm_count;
    void *data = sg_start(&t->sc->out, len);
    uint8_t *next = c->gather.next + ISCSI_BHS_LEN;
    struct iovec *v;
    size_t n;

    if (__builtin_expect(!tx_fast_may(c, data, len), 0))
        return xmit_fast_general(t);
    c->gather.next = next;
    v = &sc->iov[sc->iov_n];
    sc->iov_n += 2;
    v[1] = (struct iovec){data, len};
    v[0].iov_base = sc->gathered;
    n = (size_t)(next - sc->gathered);
    sc->gathered = next;
    v[0].iov_len = n;
    st->tcp.next_offset = len; /* no R2T can be right: all data has been sent */
    sc->queued += n + len;
    st->last = sc->queued;
    if (__builtin_expect(scarce(sc), 0))
        c->gather.end = next;
    return 0;
}

/* ---- the end of a task ---------------------------------------------------------------------- */

static int
sw_tcp_cleanup_task(struct iscsi_task *t)
{
    struct sw_tcp_conn *sc = t->conn->dd_data;
    struct sw_tcp_task *st = t->dd_data;

    TRACE(t->conn->loop, cleanup_task, t->itt, 0);
    assert(st->task == NULL);
    iscsi_tcp_cleanup_task(t);
    if (!sends_payload(t))
        return 0;
    if (!memory_free(sc, st) && st->last <= sc->sent) /* all is sent, and some of it lent */
        ask_acked(sc);
    if (memory_free(sc, st)) {
        st->lent = 0;
        return 0;
    }
    assert(st->last <= sc->queued && st->lent <= st->last);
    st->task = t;
    list_push_back(&sc->cleanup, &st->node);
    if (sc->lend_min != UINT32_MAX && !loop_timer_running(&sc->ack_timer))
        loop_timer_start(t->conn->loop, &sc->ack_timer, TX_ACK_MS * LOOP_NS_PER_MS);
    return -EINPROGRESS;
}

static void
sw_tcp_reassign_task(struct iscsi_task *t)
{
    struct sw_tcp_task *st = t->dd_data;

    assert(st->task == NULL);
    st->last = st->lent = 0; /* they count bytes of a connection */
    iscsi_tcp_reassign_task(t);
}

static void
writable(void *user)
{
    struct sw_tcp_conn *sc = user;

    sc->blocked = false;
    if (push(sc) != 0)
        return;
    if (sc->tcp.conn->sending != NULL)
        io_watch_sent(&sc->tcp.conn->sending, sc->tcp.conn->loop);
    if (sc->want_xmit) {
        sc->want_xmit = false;
        sc->tcp.conn->up->queue_xmit(sc->tcp.conn);
    }
}

static void
room_timer(struct loop_timer *t)
{
    struct sw_tcp_conn *sc = container_of(t, struct sw_tcp_conn, room_timer);

    if (!sc->blocked)
        writable(sc);
}

/* ---- in ------------------------------------------------------------------------------------- */

/* Keeps bytes that came behind the final Login Response until start_conn, since before it is not
 * known whether they have digests. */
static void
keep_held(struct sw_tcp_conn *sc, const void *p, size_t len)
{
    if (len > 0 && sc->held == NULL)
        sc->held = malloc(RX_HELD_MAX);
    if (len > 0 && sc->held == NULL) {
        sc->tcp.conn->up->conn_failure(sc->tcp.conn, ISCSI_ERR_MEMORY,
                                       "no memory for what the target sends before full feature "
                                       "phase");
        return;
    }
    if (len > RX_HELD_MAX - sc->held_len) {
        sc->tcp.conn->up->conn_failure(sc->tcp.conn, ISCSI_ERR_PROTO,
                                       "the target sends more than expected before full feature "
                                       "phase");
        return;
    }
    if (len > 0)
        memcpy(sc->held + sc->held_len, p, len);
    sc->held_len += (uint32_t)len;
}

static bool
receive_held(struct sw_tcp_conn *sc)
{
    struct loop *l = sc->tcp.conn->loop;
    struct iovec v = {l->scratch, RX_HELD_MAX};
    ssize_t r = stream_recvv(sc->stream, &v, 1);

    if (r <= 0 && r != -EAGAIN)
        sw_tcp_failed(sc, (int)r, "receiving failed");
    if (r > 0)
        keep_held(sc, l->scratch, (size_t)r);
    return false;
}

static void
start_work(struct loop_work *w)
{
    struct sw_tcp_conn *sc = container_of(w, struct sw_tcp_conn, start_work);
    uint8_t *held = sc->held;
    uint32_t len = sc->held_len;

    assert((held == NULL) == (len == 0) && len <= RX_HELD_MAX);
    sc->held = NULL;
    sc->held_len = 0;
    sc->tcp.hold = false;
    if (len > 0)
        (void)iscsi_tcp_recv(&sc->tcp, held, len);
    free(held);
}

static int
sw_tcp_start_conn(struct iscsi_conn *c, struct lunette_error *err)
{
    struct sw_tcp_conn *sc = c->dd_data;

    (void)err;
    if (c->zero_copy && stream_lend(sc->stream, TX_LEND_MIN) == 0) {
        sc->lend_min = TX_LEND_MIN;
        c->fast_write_limit = TX_LEND_MIN - 1; /* what is lent needs cleanup_task */
    }
    sc->started = true;
    loop_defer(c->loop, &sc->start_work);
    return 0;
}

/* Receives once.  Returns true where there may be more. */
static bool
sw_tcp_receive(struct sw_tcp_conn *sc)
{
    struct iscsi_conn *c = sc->tcp.conn;
    struct iovec iov[RX_IN_PLACE_IOV + 1];
    uint32_t in_place = 0;
    size_t want, got, tail = c->loop->scratch_size;
    ssize_t r;
    int n = 0;

    if (sc->tcp.hold)
        return receive_held(sc);
    if (sc->tcp.state == RX_DATA && sc->tcp.data_len - sc->tcp.data_have >= RX_IN_PLACE_MIN)
        n = iscsi_tcp_map_in(&sc->tcp, iov, RX_IN_PLACE_IOV, &in_place);
    if (sc->tcp.last_data_in >= RX_IN_PLACE_MIN && tail > RX_TAIL)
        tail = RX_TAIL; /* the next Data-In is large, too, and is received in place */
    iov[n++] = (struct iovec){c->loop->scratch, tail};
    want = in_place + tail;
    r = stream_recvv(sc->stream, iov, n);
    if (r == -EAGAIN)
        return false;
    if (r <= 0) {
        sw_tcp_failed(sc, (int)r, "receiving failed");
        return false;
    }
    c->last_recv_ns = c->loop->now_ns;
    got = (size_t)r;
    if (in_place > 0) {
        uint32_t placed = got < in_place ? (uint32_t)got : in_place;

        iscsi_tcp_placed(&sc->tcp, iov, placed);
        got -= placed;
    }
    if (got > 0) {
        size_t used = iscsi_tcp_recv(&sc->tcp, c->loop->scratch, got);

        if (sc->tcp.hold)
            keep_held(sc, (uint8_t *)c->loop->scratch + used, got - used);
    }
    return (size_t)r == want && sc->tcp.state != RX_DEAD;
}

/* In the middle of large data the rest is sure to come, or the connection is dead: the loop need
 * not wake up for each piece of it. */
static void
sw_tcp_set_lowat(struct sw_tcp_conn *sc)
{
    uint32_t rest = sc->tcp.state == RX_DATA ? sc->tcp.data_len - sc->tcp.data_have : 0;

    if (rest < RX_LOWAT_MIN)
        rest = 1;
    (void)stream_set_rcvlowat(sc->stream, rest < RX_LOWAT_MAX ? rest : RX_LOWAT_MAX);
}

static void
readable(void *user)
{
    struct sw_tcp_conn *sc = user;
    bool more = true;

    for (int i = 0; i < RX_ROUNDS && more && sc->stream != NULL; i++)
        more = sw_tcp_receive(sc);
    if (!more && sc->stream != NULL)
        sw_tcp_set_lowat(sc);
    if (__builtin_expect(!list_empty(&sc->cleanup), 0)) /* an acknowledgement may have come, too */
        finish_cleanups(sc);
}

static void
sw_tcp_get_moved(struct iscsi_conn *c, struct iscsi_moved *ret)
{
    struct sw_tcp_conn *sc = c->dd_data;
    int64_t unread, unacked;

    *ret = (struct iscsi_moved){0, 0, 0};
    if (sc->stream == NULL)
        return;
    unread = stream_unread(sc->stream);
    unacked = stream_unacked(sc->stream);
    if (unread > 0)
        ret->unread = (uint64_t)unread;
    if (unacked < 0)
        return;
    ret->acked = sc->sent - (uint64_t)unacked;
    ret->unacked = sc->queued - ret->acked;
}

/* ---- life ----------------------------------------------------------------------------------- */

static const struct iscsi_tcp_ops sw_tcp_pdus = {.init_pdu = sw_tcp_init_pdu,
                                                 .xmit_pdu = sw_tcp_xmit_pdu};

static const struct stream_events sw_tcp_events = {.readable = readable, .writable = writable};

static int
sw_tcp_create_conn(struct iscsi_conn *c, struct lunette_error *err)
{
    struct sw_tcp_conn *sc = c->dd_data;

    (void)err;
    iscsi_tcp_conn_init(&sc->tcp, c, &sw_tcp_pdus);
    list_init(&sc->cleanup);
    loop_work_init(&sc->sent_work, sent_work);
    loop_work_init(&sc->start_work, start_work);
    loop_timer_init(&sc->ack_timer, ack_timer);
    loop_timer_init(&sc->room_timer, room_timer);
    sc->lend_min = UINT32_MAX;
    return 0;
}

static void
drop_output(struct sw_tcp_conn *sc)
{
    put_staging(sc);
    sc->sent = sc->queued;
    sc->blocked = sc->want_xmit = false;
    finish_cleanups(sc);
    loop_defer_cancel(&sc->sent_work);
    loop_timer_stop(sc->tcp.conn->loop, &sc->ack_timer);
    loop_timer_stop(sc->tcp.conn->loop, &sc->room_timer);
    sc->acked = sc->sent;
    sc->lend_min = UINT32_MAX;
}

static int
sw_tcp_stop_conn(struct iscsi_conn *c, enum iscsi_stop how)
{
    struct sw_tcp_conn *sc = c->dd_data;

    (void)how;
    if (sc->stream != NULL && sc->started)
        stream_close(sc->stream);
    else if (sc->stream != NULL) /* A login that is given up must not be served later, when it could
                                    end a newer session of the same nexus (RFC 7143 6.3.5). */
        stream_reset(sc->stream);
    sc->stream = NULL;
    drop_output(sc);
    loop_defer_cancel(&sc->start_work);
    free(sc->held);
    sc->held = NULL;
    sc->held_len = 0;
    iscsi_tcp_conn_reset(&sc->tcp);
    sc->tcp.state = RX_DEAD;
    return 0;
}

static void
sw_tcp_destroy_conn(struct iscsi_conn *c)
{
    struct sw_tcp_conn *sc = c->dd_data;

    (void)sw_tcp_stop_conn(c, STOP_CONN_TERM);
    assert(sc->iov == NULL && sc->held == NULL && list_empty(&sc->cleanup));
}

static int
sw_tcp_bind_conn(struct iscsi_conn *c, int64_t eph, struct iscsi_endpoint *ep, bool leading,
                 struct lunette_error *err)
{
    struct sw_tcp_conn *sc = c->dd_data;
    int r;

    (void)ep;
    (void)leading;
    if (sc->stream != NULL || eph < 0)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_OS, EINVAL,
                            "bind_conn wants a connected socket, once");
    assert(sc->iov == NULL && sc->sent == sc->queued && list_empty(&sc->cleanup));
    assert(sc->held == NULL && !loop_timer_running(&sc->ack_timer));
    if (pool_reserve(&c->loop->tx, sizeof(struct sw_tcp_tx)) < 0)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory to send from");
    iscsi_tcp_conn_reset(&sc->tcp);
    r = stream_adopt(c->loop, (int)eph, &sw_tcp_events, sc, &sc->stream);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "cannot take over the socket: %s",
                            errno_text(-r));
    assert(sc->stream != NULL && sc->stream->loop == c->loop);
    sc->started = false;
    c->last_recv_ns = c->loop->now_ns;
    return 0;
}

static int
sw_tcp_get_names(struct iscsi_conn *c, struct sock_addr *ret_local, struct sock_addr *ret_peer)
{
    struct sw_tcp_conn *sc = c->dd_data;

    return sc->stream != NULL ? stream_names(sc->stream, ret_local, ret_peer) : -ENOTCONN;
}

static uint64_t
sw_tcp_unsent(const struct iscsi_conn *c)
{
    const struct sw_tcp_conn *sc = c->dd_data;

    return sc->queued - sc->sent + (uint64_t)(c->gather.next - sc->gathered);
}

const struct iscsi_transport sw_tcp_transport = {
    .version = ISCSI_TRANSPORT_VERSION,
    .size = sizeof(struct iscsi_transport),
    .name = "tcp",
    .caps = CAP_RECOVERY_L0 | CAP_RECOVERY_L1 | CAP_RECOVERY_L2 | CAP_MULTI_R2T | CAP_HDRDGST |
            CAP_DATADGST | CAP_MULTI_CONN | CAP_TEXT_NEGO | CAP_BIND_DESCRIPTOR,
    .max_recv_dlength = SW_TCP_MAX_RECV_DLENGTH,
    .conn_size = sizeof(struct sw_tcp_conn),
    .task_size = sizeof(struct sw_tcp_task),
    .create_conn = sw_tcp_create_conn,
    .destroy_conn = sw_tcp_destroy_conn,
    .bind_conn = sw_tcp_bind_conn,
    .start_conn = sw_tcp_start_conn,
    .stop_conn = sw_tcp_stop_conn,
    .alloc_pdu = sw_tcp_alloc_pdu,
    .init_task = sw_tcp_init_task,
    .xmit_task = sw_tcp_xmit_task,
    .gather_room = sw_tcp_gather_room,
    .xmit_fast = sw_tcp_xmit_fast,
    .xmit_flush = sw_tcp_xmit_flush,
    .cleanup_task = sw_tcp_cleanup_task,
    .get_moved = sw_tcp_get_moved,
    .get_names = sw_tcp_get_names,
    .unsent = sw_tcp_unsent,
    .reassign_task = sw_tcp_reassign_task,
};
