/* SPDX-License-Identifier: MIT */
/* sockets.c - a transport as somebody else would write it: built from the installed headers, loaded
 * as a shared object.
 *
 * It differs from "tcp" in all that a transport may do differently: it connects by itself, copies
 * every PDU into one buffer that grows, knows nothing of the fast path, and needs time to stop.
 * LUNETTE_SOCKETS_REPORT names a file to which each connection adds a line at its end.
 */
#include <lunette/transport.h>
#include <lunette/transport/stream.h>
#include <lunette/transport/wire/pdu.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUT_FULL (256u * 1024) /* bytes that wait; no further PDU is begun then */

struct sockets_ep {
    struct iscsi_endpoint *ep;
    const struct iscsi_upcalls *up;
    struct stream *stream; /* NULL: gone */
    int state;             /* 1: up, 0: not yet, -errno */
};

struct sockets_conn {
    struct iscsi_tcp_conn tcp;              /* first: the stream library takes dd_data for this */
    struct sockets_ep *ep;                  /* while bound */
    _Alignas(8) uint8_t hdr[ISCSI_HDR_MAX]; /* of the PDU that is being made */
    uint8_t *out;
    size_t out_len, out_size;
    bool blocked, want_xmit;
    uint8_t *held;
    size_t held_len;
    struct loop_work start_work, stop_work;
    uint64_t sent, received, cleanups;
};

struct sockets_task {
    struct iscsi_tcp_task tcp; /* first */
};

struct sockets_session {
    unsigned conns;
};

/* ---- endpoints ------------------------------------------------------------------------------ */

static void
ep_connected(void *user, int err)
{
    struct sockets_ep *e = user;

    e->state = err < 0 ? err : 1;
    e->up->ep_event(e->ep, err);
}

/* Before a connection is bound to it only the end can come. */
static void
ep_readable(void *user)
{
    struct sockets_ep *e = user;

    stream_close(e->stream);
    e->stream = NULL;
    e->state = -ECONNRESET;
}

static const struct stream_events ep_events = {.connected = ep_connected, .readable = ep_readable};

static int
sockets_ep_connect(struct iscsi_endpoint *ep, const struct sock_addr *to,
                   const struct iscsi_upcalls *up, struct lunette_error *err)
{
    const struct stream_opts opts = {.nodelay = true, .source = ep->source};
    struct sockets_ep *e = ep->dd_data;
    int r;

    if (!ISCSI_HAS(up, ep_event))
        return -EINVAL;
    e->ep = ep;
    e->up = up;
    r = stream_connect(ep->loop, to, &opts, &ep_events, e, &e->stream);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_CONNECT, (uint32_t)-r, "cannot connect: %s",
                            errno_text(-r));
    return 0;
}

static int
sockets_ep_poll(struct iscsi_endpoint *ep)
{
    return ((struct sockets_ep *)ep->dd_data)->state;
}

static void
sockets_ep_disconnect(struct iscsi_endpoint *ep)
{
    struct sockets_ep *e = ep->dd_data;

    if (e->stream != NULL)
        stream_close(e->stream);
    e->stream = NULL;
}

/* ---- out ------------------------------------------------------------------------------------ */

static void
lost(struct sockets_conn *sc, const char *why)
{
    sc->tcp.conn->up->conn_failure(sc->tcp.conn, ISCSI_ERR_CONN_CLOSED, why);
}

static uint8_t *
out_room(struct sockets_conn *sc, size_t len)
{
    if (sc->out_size - sc->out_len < len) {
        size_t size = (sc->out_len + len) * 2;
        uint8_t *out = realloc(sc->out, size);

        if (out == NULL)
            return NULL;
        sc->out = out;
        sc->out_size = size;
    }
    return sc->out + sc->out_len;
}

static void
sockets_xmit_flush(struct iscsi_conn *c)
{
    struct sockets_conn *sc = c->dd_data;
    struct iovec v = {sc->out, sc->out_len};
    ssize_t n;

    if (sc->ep == NULL || sc->blocked || sc->out_len == 0)
        return;
    n = stream_sendv(sc->ep->stream, &v, 1, sc->out_len);
    if (n == -EAGAIN)
        n = 0;
    if (n < 0) {
        lost(sc, "sending failed");
        return;
    }
    sc->blocked = (size_t)n < sc->out_len;
    sc->sent += (uint64_t)n;
    sc->out_len -= (size_t)n;
    memmove(sc->out, sc->out + n, sc->out_len);
}

static int
sockets_alloc_pdu(struct iscsi_task *t, uint8_t opcode)
{
    struct sockets_conn *sc = t->conn->dd_data;

    (void)opcode;
    if (sc->ep == NULL)
        return -ENOTCONN;
    if (sc->out_len >= OUT_FULL)
        sockets_xmit_flush(t->conn);
    if (sc->out_len >= OUT_FULL) { /* then the socket is full, and conn_writable will come */
        sc->want_xmit = true;
        return -EAGAIN;
    }
    t->hdr = (struct bhs *)(void *)sc->hdr;
    t->hdr_max = ISCSI_HDR_MAX - 4;
    return 0;
}

static int
sockets_init_pdu(struct iscsi_task *t, uint32_t offset, uint32_t count)
{
    struct iscsi_conn *c = t->conn;
    struct sockets_conn *sc = c->dd_data;
    uint32_t padded = (count + 3) & ~3u;
    uint8_t *p = out_room(sc, t->hdr_len + (size_t)padded + 8);

    if (p == NULL) {
        lost(sc, "no memory");
        return -ENOMEM;
    }
    memcpy(p, t->hdr, t->hdr_len);
    p += t->hdr_len;
    if (c->hdrdgst_en) {
        pdu_header_digest(p - t->hdr_len, t->hdr_len, p);
        p += 4;
    }
    if (count > 0) {
        memset(p + count, 0, padded - count);
        if (t->sc != NULL) {
            struct sg_cursor at;

            sg_cursor_init(&at, &t->sc->out);
            sg_cursor_seek(&at, &t->sc->out, offset);
            sg_copy_from(&at, &t->sc->out, p, count);
        } else {
            memcpy(p, t->data, count);
        }
        p += padded;
        if (c->datadgst_en) {
            pdu_digest_put(p, crc32c_update(CRC32C_INIT, p - padded, padded));
            p += 4;
        }
    }
    sc->out_len = (size_t)(p - sc->out);
    return 0;
}

/* It goes with the next flush. */
static int
sockets_xmit_pdu(struct iscsi_task *t)
{
    t->hdr = NULL;
    return 0;
}

static const struct iscsi_tcp_ops pdus = {.init_pdu = sockets_init_pdu,
                                          .xmit_pdu = sockets_xmit_pdu};

static int
sockets_init_task(struct iscsi_task *t)
{
    return sockets_init_pdu(t, 0, iscsi_tcp_task_init(t));
}

static int
sockets_xmit_task(struct iscsi_task *t)
{
    struct sockets_task *st = t->dd_data;

    if (!st->tcp.cmd_sent && (sockets_xmit_pdu(t) < 0 || !iscsi_tcp_task_sent(t)))
        return 0;
    return iscsi_tcp_xmit_data(t);
}

static void
conn_writable(void *user)
{
    struct sockets_conn *sc = user;

    sc->blocked = false;
    sockets_xmit_flush(sc->tcp.conn);
    if (sc->want_xmit && sc->out_len < OUT_FULL) {
        sc->want_xmit = false;
        sc->tcp.conn->up->queue_xmit(sc->tcp.conn);
    }
}

/* Every byte has been copied: only the parser may know the task. */
static int
sockets_cleanup_task(struct iscsi_task *t)
{
    struct sockets_conn *sc = t->conn->dd_data;

    sc->cleanups++;
    iscsi_tcp_cleanup_task(t);
    return 0;
}

/* ---- in ------------------------------------------------------------------------------------- */

static void
hold(struct sockets_conn *sc, const uint8_t *p, size_t len)
{
    uint8_t *held = realloc(sc->held, sc->held_len + len + 1);

    if (held == NULL) {
        lost(sc, "no memory");
        return;
    }
    memcpy(held + sc->held_len, p, len);
    sc->held = held;
    sc->held_len += len;
}

static void
conn_readable(void *user)
{
    struct sockets_conn *sc = user;
    struct iscsi_conn *c = sc->tcp.conn;
    struct iovec v = {c->loop->scratch, c->loop->scratch_size};
    ssize_t n = stream_recvv(sc->ep->stream, &v, 1);
    size_t used = 0;

    if (n == -EAGAIN)
        return;
    if (n <= 0) {
        lost(sc, "receiving failed");
        return;
    }
    sc->received += (uint64_t)n;
    c->last_recv_ns = c->loop->now_ns;
    if (!sc->tcp.hold)
        used = iscsi_tcp_recv(&sc->tcp, v.iov_base, (size_t)n);
    if (sc->tcp.hold && used < (size_t)n)
        hold(sc, (uint8_t *)v.iov_base + used, (size_t)n - used);
}

static void
start_work(struct loop_work *w)
{
    struct sockets_conn *sc = container_of(w, struct sockets_conn, start_work);
    uint8_t *held = sc->held;

    sc->held = NULL;
    sc->tcp.hold = false;
    if (held != NULL)
        (void)iscsi_tcp_recv(&sc->tcp, held, sc->held_len);
    sc->held_len = 0;
    free(held);
}

/* ---- life ----------------------------------------------------------------------------------- */

static const struct stream_events conn_events = {.readable = conn_readable,
                                                 .writable = conn_writable};

static void
stop_work(struct loop_work *w)
{
    struct sockets_conn *sc = container_of(w, struct sockets_conn, stop_work);

    sc->tcp.conn->up->conn_stopped(sc->tcp.conn);
}

static int
sockets_create_session(struct iscsi_session *s, struct lunette_error *err)
{
    const struct sockets_session *ss = s->dd_data;

    return ss->conns == 0 ? 0 : lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "not zeroed");
}

static void
sockets_destroy_session(struct iscsi_session *s)
{
    assert(((struct sockets_session *)s->dd_data)->conns == 0);
}

static int
sockets_create_conn(struct iscsi_conn *c, struct lunette_error *err)
{
    struct sockets_conn *sc = c->dd_data;

    if (c->up->version != ISCSI_TRANSPORT_VERSION || !ISCSI_HAS(c->up, conn_stopped))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "up-calls of another version");
    iscsi_tcp_conn_init(&sc->tcp, c, &pdus);
    loop_work_init(&sc->start_work, start_work);
    loop_work_init(&sc->stop_work, stop_work);
    ((struct sockets_session *)c->session->dd_data)->conns++;
    return 0;
}

static int
sockets_bind_conn(struct iscsi_conn *c, int64_t eph, struct iscsi_endpoint *ep, bool leading,
                  struct lunette_error *err)
{
    struct sockets_conn *sc = c->dd_data;
    struct sockets_ep *e = ep != NULL ? ep->dd_data : NULL;

    (void)leading;
    if (e == NULL || ep->id != (uint64_t)eph || e->state != 1)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "an endpoint that is up is wanted");
    sc->ep = e;
    c->last_recv_ns = c->loop->now_ns;
    stream_set_events(e->stream, &conn_events, sc);
    return 0;
}

static int
sockets_start_conn(struct iscsi_conn *c, struct lunette_error *err)
{
    (void)err;
    loop_defer(c->loop, &((struct sockets_conn *)c->dd_data)->start_work);
    return 0;
}

static int
sockets_stop_conn(struct iscsi_conn *c, enum iscsi_stop how)
{
    struct sockets_conn *sc = c->dd_data;

    (void)how;
    if (sc->ep == NULL)
        return 0;
    stream_close(sc->ep->stream);
    sc->ep->stream = NULL;
    sc->ep = NULL;
    sc->out_len = sc->held_len = 0;
    sc->blocked = sc->want_xmit = false; /* they were the stream's, and it may be bound again */
    loop_defer_cancel(&sc->start_work);
    iscsi_tcp_conn_reset(&sc->tcp);
    loop_defer(c->loop, &sc->stop_work);
    return -EINPROGRESS;
}

static void
sockets_destroy_conn(struct iscsi_conn *c)
{
    struct sockets_conn *sc = c->dd_data;
    const char *report = getenv("LUNETTE_SOCKETS_REPORT");
    FILE *f = report != NULL ? fopen(report, "a") : NULL;

    if (f != NULL) {
        (void)fprintf(f, "sent %llu received %llu cleanups %llu\n", (unsigned long long)sc->sent,
                      (unsigned long long)sc->received, (unsigned long long)sc->cleanups);
        (void)fclose(f);
    }
    loop_defer_cancel(&sc->start_work);
    loop_defer_cancel(&sc->stop_work);
    free(sc->out);
    free(sc->held);
    ((struct sockets_session *)c->session->dd_data)->conns--;
}

#ifndef SOCKETS_VERSION
#define SOCKETS_VERSION ISCSI_TRANSPORT_VERSION
#endif
#ifndef SOCKETS_SIZE
#define SOCKETS_SIZE sizeof(struct iscsi_transport)
#endif

ISCSI_TRANSPORT_EXPORT const struct iscsi_transport lunette_transport = {
    .version = SOCKETS_VERSION,
    .size = SOCKETS_SIZE,
    .name = "sockets",
    .caps = CAP_RECOVERY_L0 | CAP_MULTI_R2T | CAP_HDRDGST | CAP_DATADGST | CAP_TEXT_NEGO,
    .max_recv_dlength = 65536,
    .session_size = sizeof(struct sockets_session),
    .conn_size = sizeof(struct sockets_conn),
    .task_size = sizeof(struct sockets_task),
    .ep_size = sizeof(struct sockets_ep),
    .bind_conn = sockets_bind_conn,
    .stop_conn = sockets_stop_conn,
    .xmit_task = sockets_xmit_task,
    .cleanup_task = sockets_cleanup_task,
    .ep_connect = sockets_ep_connect,
    .ep_poll = sockets_ep_poll,
    .ep_disconnect = sockets_ep_disconnect,
    .create_session = sockets_create_session,
    .destroy_session = sockets_destroy_session,
    .create_conn = sockets_create_conn,
    .destroy_conn = sockets_destroy_conn,
    .start_conn = sockets_start_conn,
    .alloc_pdu = sockets_alloc_pdu,
    .init_task = sockets_init_task,
    .xmit_flush = sockets_xmit_flush,
};
