/* SPDX-License-Identifier: MIT */
/* transport_thread.c - a transport whose adapter is a thread of this process.
 *
 *     cc -shared -fPIC -pthread transport_thread.c -o thread.so $FLAGS
 *     LUNETTE_TRANSPORTS=$PWD/thread.so lunette ls 'iscsi://192.0.2.1/?transport=thread'
 *
 * where FLAGS is what pkg-config --cflags --libs lunette-transport prints.
 *
 * The thread does what an adapter of the kind "TCP offload" does: it has the socket, makes and
 * checks digests and padding, and takes and hands over whole PDUs.  The library does the rest:
 * login, CmdSN, R2T, Data-Out.  Both sides have a queue of PDUs for the other, and an eventfd that
 * says that something is in it; the loop waits for its one with loop_watch.
 *
 * To be short, it copies all data, takes a lock for the queues, and makes two system calls for each
 * PDU that it receives.  None of that is in the nature of such a transport.
 */
#define _GNU_SOURCE /* SOCK_NONBLOCK and others */
#include <lunette/transport.h>
#include <lunette/transport/stream.h>
#include <lunette/transport/wire/pdu.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define DATA_MAX  65536u         /* bytes of a data segment that we declare and receive */
#define QUEUE_MAX (512u * 1024u) /* bytes that wait in a queue; its side stops filling it then */

/* A PDU on its way.  Out: bytes has all that is sent, where digests and padding are yet to be
 * filled in.  In: bytes has the BHS, the header digest, the data, padding and the data digest. */
struct pdu {
    struct pdu *next;
    uint32_t hdr_len, data_len;       /* without digests and padding */
    uint32_t hdr_digest, data_digest; /* their bytes: 4 or 0 */
    uint32_t flags;                   /* in: of iscsi_tcp_recv_pdu */
    uint8_t bytes[];
};

struct queue {
    struct pdu *first, **end;
    size_t bytes;
};

/* The endpoint's part is the adapter. */
struct adapter {
    pthread_t thread;
    int to_loop, to_adapter; /* eventfds */

    /* What both sides use, under the lock. */
    pthread_mutex_t lock;
    struct queue out, in;
    int state; /* 1: connected, 0: not yet, -errno: not, or no more */
    bool hdr_digest, data_digest;
    bool paused; /* a Login Response was received: what follows may have digests */
    bool stop;   /* the loop wants the thread to end */
    bool over;   /* it has */

    /* The thread's own. */
    int fd;
    struct sock_addr to, source;
    struct pdu *sending, *coming;
    size_t sent, have;
    uint8_t hdr[ISCSI_BHS_LEN + PDU_DIGEST_LEN];

    /* The loop's own. */
    struct iscsi_endpoint *ep;
    const struct iscsi_upcalls *up;
    struct loop_watch *watch;
    struct thread_conn *conn;     /* bound to it, or NULL */
    struct thread_conn *stopping; /* waits for the end of the thread */
    bool told, joined;
};

struct thread_conn {
    struct iscsi_tcp_conn tcp; /* first: the stream library takes dd_data for this */
    struct adapter *a;
    struct queue batch; /* for the next flush */
    bool want_xmit;
    _Alignas(8) uint8_t hdr[ISCSI_HDR_MAX]; /* of the PDU that is being made */
};

static void
queue_init(struct queue *q)
{
    *q = (struct queue){.first = NULL, .end = &q->first};
}

static size_t
pdu_size(const struct pdu *p)
{
    return p->hdr_len + p->hdr_digest + p->data_len + pdu_pad(p->data_len) + p->data_digest;
}

static void
queue_put(struct queue *q, struct pdu *p)
{
    p->next = NULL;
    *q->end = p;
    q->end = &p->next;
    q->bytes += pdu_size(p);
}

static struct pdu *
queue_take(struct queue *q)
{
    struct pdu *p = q->first;

    if (p == NULL)
        return NULL;
    q->first = p->next;
    q->bytes -= pdu_size(p);
    if (q->first == NULL)
        q->end = &q->first;
    return p;
}

/* Moves all of `from` to the end of `to`. */
static void
queue_move(struct queue *to, struct queue *from)
{
    if (from->first == NULL)
        return;
    *to->end = from->first;
    to->end = from->end;
    to->bytes += from->bytes;
    queue_init(from);
}

static void
queue_drop(struct queue *q)
{
    struct pdu *p;

    while ((p = queue_take(q)) != NULL)
        free(p);
}

/* A PDU with room for all that belongs to it; NULL: no memory. */
static struct pdu *
pdu_new(uint32_t hdr_len, uint32_t data_len, bool hdr_digest, bool data_digest)
{
    struct pdu *p = malloc(sizeof(*p) + hdr_len + data_len + 3 + 2 * PDU_DIGEST_LEN);

    if (p != NULL)
        *p = (struct pdu){.hdr_len = hdr_len,
                          .data_len = data_len,
                          .hdr_digest = hdr_digest ? PDU_DIGEST_LEN : 0,
                          .data_digest = data_digest && data_len > 0 ? PDU_DIGEST_LEN : 0};
    return p;
}

static uint8_t *
pdu_data(struct pdu *p)
{
    return p->bytes + p->hdr_len + p->hdr_digest;
}

static void
ring(int fd)
{
    (void)eventfd_write(fd, 1); /* it fails only where 2^64 - 1 rings are waiting */
}

/* ---- the adapter: all of this runs on the thread ----------------------------------------------
 */

/* Waits for the socket or for the loop.  False: the thread is to end. */
static bool
adapter_wait(struct adapter *a, short events)
{
    struct pollfd p[2] = {{.fd = a->to_adapter, .events = POLLIN}, {.fd = a->fd, .events = events}};
    eventfd_t rings;
    bool stop;

    /* Without events even the end is not asked for, which poll would report again and again. */
    if (poll(p, events != 0 ? 2 : 1, -1) > 0 && (p[0].revents & POLLIN))
        (void)eventfd_read(a->to_adapter, &rings);
    pthread_mutex_lock(&a->lock);
    stop = a->stop;
    pthread_mutex_unlock(&a->lock);
    return !stop;
}

static int
adapter_connect(struct adapter *a)
{
    int one = 1, err = 0;
    socklen_t len = sizeof(err);

    a->fd = socket(a->to.ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (a->fd < 0)
        return -errno;
    (void)setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (a->source.len > 0 && bind(a->fd, (const struct sockaddr *)&a->source.ss, a->source.len) < 0)
        return -errno;
    if (connect(a->fd, (const struct sockaddr *)&a->to.ss, a->to.len) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return -errno;
    for (;;) {
        struct pollfd p = {.fd = a->fd, .events = POLLOUT};

        if (!adapter_wait(a, POLLOUT))
            return -ECANCELED;
        if (poll(&p, 1, 0) > 0)
            break;
    }
    return getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? -errno : -err;
}

static void
fill_in(struct pdu *p)
{
    uint8_t *data = pdu_data(p);

    if (p->hdr_digest > 0)
        pdu_header_digest(p->bytes, p->hdr_len, p->bytes + p->hdr_len);
    memset(data + p->data_len, 0, pdu_pad(p->data_len));
    if (p->data_digest > 0)
        pdu_data_digest(data, p->data_len, data + p->data_len + pdu_pad(p->data_len));
}

/* Sends what there is.  1: the socket is full; 0: all is sent; or -errno. */
static int
adapter_send(struct adapter *a)
{
    for (;;) {
        ssize_t n;

        if (a->sending == NULL) {
            pthread_mutex_lock(&a->lock);
            a->sending = queue_take(&a->out);
            pthread_mutex_unlock(&a->lock);
            if (a->sending == NULL)
                return 0;
            fill_in(a->sending);
            a->sent = 0;
            ring(a->to_loop); /* there is room */
        }
        n = send(a->fd, a->sending->bytes + a->sent, pdu_size(a->sending) - a->sent, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 1 : -errno;
        a->sent += (size_t)n;
        if (a->sent == pdu_size(a->sending)) {
            free(a->sending);
            a->sending = NULL;
        }
    }
}

/* The header is complete: makes room for what follows it. */
static int
begin_data(struct adapter *a, bool hdr_digest, bool data_digest)
{
    const struct bhs *h = (const struct bhs *)(const void *)a->hdr;
    bool bad = hdr_digest && !pdu_header_digest_ok(a->hdr, ISCSI_BHS_LEN, a->hdr + ISCSI_BHS_LEN);
    uint32_t len = pdu_dseg_len(h);

    /* More than was declared, or who knows how much: the library sees the header, and ends the
     * connection. */
    if (bad || len > DATA_MAX)
        len = 0;
    a->coming = pdu_new(ISCSI_BHS_LEN, len, hdr_digest, data_digest);
    if (a->coming == NULL)
        return -ENOMEM;
    memcpy(a->coming->bytes, a->hdr, a->have);
    if (bad)
        a->coming->flags |= ISCSI_TCP_BAD_HEADER;
    return 0;
}

/* The PDU is complete: it goes to the loop. */
static void
end_pdu(struct adapter *a)
{
    struct pdu *p = a->coming;
    const uint8_t *data = pdu_data(p);

    if (p->data_digest > 0 &&
        !pdu_data_digest_ok(data, p->data_len, data + p->data_len + pdu_pad(p->data_len)))
        p->flags |= ISCSI_TCP_BAD_DATA;
    a->coming = NULL;
    a->have = 0;
    pthread_mutex_lock(&a->lock);
    a->paused = pdu_opcode((const struct bhs *)(const void *)p->bytes) == ISCSI_OP_LOGIN_RSP;
    queue_put(&a->in, p);
    pthread_mutex_unlock(&a->lock);
    ring(a->to_loop);
}

/* Receives what there is.  1: there is no more, or the loop has enough; or -errno. */
static int
adapter_receive(struct adapter *a)
{
    for (;;) {
        bool wait, hdr_digest, data_digest;
        size_t want;
        ssize_t n;

        pthread_mutex_lock(&a->lock);
        wait = a->paused || a->in.bytes >= QUEUE_MAX;
        hdr_digest = a->hdr_digest;
        data_digest = a->data_digest;
        pthread_mutex_unlock(&a->lock);
        if (wait)
            return 1;
        want = a->coming != NULL ? pdu_size(a->coming)
                                 : ISCSI_BHS_LEN + (hdr_digest ? PDU_DIGEST_LEN : 0u);
        n = recv(a->fd, (a->coming != NULL ? a->coming->bytes : a->hdr) + a->have, want - a->have,
                 0);
        if (n <= 0)
            return n == 0 ? -ECONNRESET : errno == EAGAIN || errno == EINTR ? 1 : -errno;
        a->have += (size_t)n;
        if (a->have < want)
            continue;
        if (a->coming == NULL && begin_data(a, hdr_digest, data_digest) < 0)
            return -ENOMEM;
        if (a->have == pdu_size(a->coming))
            end_pdu(a);
    }
}

static bool
adapter_wants_data(struct adapter *a)
{
    bool wants;

    pthread_mutex_lock(&a->lock);
    wants = !a->paused && a->in.bytes < QUEUE_MAX;
    pthread_mutex_unlock(&a->lock);
    return wants;
}

static void *
adapter_main(void *user)
{
    struct adapter *a = user;
    int r = adapter_connect(a);

    if (r == 0) {
        pthread_mutex_lock(&a->lock);
        a->state = 1;
        pthread_mutex_unlock(&a->lock);
        ring(a->to_loop);
    }
    while (r >= 0) {
        short events;

        r = adapter_send(a);
        events = r > 0 ? POLLOUT : 0;
        if (r >= 0)
            r = adapter_receive(a);
        if (adapter_wants_data(a))
            events = (short)(events | POLLIN);
        if (r >= 0 && !adapter_wait(a, events))
            r = -ECANCELED;
    }
    if (a->fd >= 0)
        (void)close(a->fd);
    free(a->sending);
    free(a->coming);
    pthread_mutex_lock(&a->lock);
    a->state = r;
    a->over = true;
    pthread_mutex_unlock(&a->lock);
    ring(a->to_loop); /* the last use of *a */
    return NULL;
}

/* ---- the loop's side ------------------------------------------------------------------------ */

/* Ends the thread, which does nothing but poll and so does not keep us waiting. */
static void
adapter_join(struct adapter *a)
{
    if (a->joined)
        return;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_mutex_unlock(&a->lock);
    ring(a->to_adapter);
    (void)pthread_join(a->thread, NULL);
    a->joined = true;
    loop_unwatch(a->ep->loop, a->watch);
    queue_drop(&a->in);
    queue_drop(&a->out);
    (void)close(a->to_loop);
    (void)close(a->to_adapter);
    (void)pthread_mutex_destroy(&a->lock);
}

/* Whatever follows a Login Response may come now. */
static void
adapter_go_on(struct adapter *a)
{
    pthread_mutex_lock(&a->lock);
    a->paused = false;
    pthread_mutex_unlock(&a->lock);
    ring(a->to_adapter);
}

static void
take_pdu(struct thread_conn *tc, struct pdu *p)
{
    const struct bhs *h = (const struct bhs *)(const void *)p->bytes;
    struct adapter *a = tc->a;
    int r;

    tc->tcp.conn->last_recv_ns = tc->tcp.conn->loop->now_ns;
    r = iscsi_tcp_recv_pdu(&tc->tcp, h, p->data_len > 0 ? pdu_data(p) : NULL, p->data_len,
                           p->flags);
    if (r == 0 && pdu_opcode(h) == ISCSI_OP_LOGIN_RSP && a->conn == tc)
        adapter_go_on(a);
}

/* The thread has rung.  An up-call may stop the connection, and then nothing more is told of it. */
static void
on_ring(void *user)
{
    struct adapter *a = user;
    struct queue in;
    struct pdu *p;
    eventfd_t rings;
    bool over, room, was_full;
    int state;

    (void)eventfd_read(a->to_loop, &rings);
    queue_init(&in);
    pthread_mutex_lock(&a->lock);
    was_full = a->in.bytes >= QUEUE_MAX;
    queue_move(&in, &a->in);
    state = a->state;
    over = a->over;
    room = a->out.bytes < QUEUE_MAX;
    pthread_mutex_unlock(&a->lock);
    if (was_full)
        ring(a->to_adapter);
    if (!a->told && state != 0) {
        a->told = true;
        a->up->ep_event(a->ep, state < 0 ? state : 0);
    }
    while ((p = queue_take(&in)) != NULL) {
        if (a->conn != NULL)
            take_pdu(a->conn, p);
        free(p);
    }
    if (over && a->conn != NULL)
        a->conn->tcp.conn->up->conn_failure(a->conn->tcp.conn, ISCSI_ERR_CONN_CLOSED,
                                            errno_text(-state));
    if (room && a->conn != NULL && a->conn->want_xmit) {
        a->conn->want_xmit = false;
        a->conn->tcp.conn->up->queue_xmit(a->conn->tcp.conn);
    }
    if (over) {
        struct thread_conn *tc = a->stopping;

        adapter_join(a);
        a->stopping = NULL;
        if (tc != NULL) /* the last use of *a: its endpoint may be gone after this */
            tc->tcp.conn->up->conn_stopped(tc->tcp.conn);
    }
}

static int
adapter_start(struct adapter *a)
{
    sigset_t all, old;
    int r;

    /* Signals are for the program's own threads. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    r = -pthread_create(&a->thread, NULL, adapter_main, a);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return r;
}

static int
thread_ep_connect(struct iscsi_endpoint *ep, const struct sock_addr *to,
                  const struct iscsi_upcalls *up, struct lunette_error *err)
{
    struct adapter *a = ep->dd_data;
    int r;

    a->ep = ep;
    a->up = up;
    a->to = *to;
    a->source = ep->source;
    a->fd = -1;
    a->joined = true;
    queue_init(&a->in);
    queue_init(&a->out);
    a->to_loop = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    a->to_adapter = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    r = a->to_loop < 0 || a->to_adapter < 0 ? -errno : 0;
    if (r == 0)
        r = loop_watch(ep->loop, a->to_loop, on_ring, a, &a->watch);
    if (r == 0) {
        (void)pthread_mutex_init(&a->lock, NULL);
        r = adapter_start(a);
        if (r < 0) {
            loop_unwatch(ep->loop, a->watch);
            (void)pthread_mutex_destroy(&a->lock);
        }
    }
    if (r < 0) {
        loop_close_fd(ep->loop, a->to_loop);
        loop_close_fd(ep->loop, a->to_adapter);
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "no adapter: %s", errno_text(-r));
    }
    a->joined = false;
    return 0;
}

static int
thread_ep_poll(struct iscsi_endpoint *ep)
{
    struct adapter *a = ep->dd_data;
    int state;

    if (a->joined)
        return a->state;
    pthread_mutex_lock(&a->lock);
    state = a->state;
    pthread_mutex_unlock(&a->lock);
    return state;
}

static void
thread_ep_disconnect(struct iscsi_endpoint *ep)
{
    adapter_join(ep->dd_data);
}

static int
thread_bind_conn(struct iscsi_conn *c, int64_t eph, struct iscsi_endpoint *ep, bool leading,
                 struct lunette_error *err)
{
    struct thread_conn *tc = c->dd_data;

    (void)leading;
    if (ep == NULL || ep->id != (uint64_t)eph || thread_ep_poll(ep) != 1)
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                            "the endpoint is not connected");
    tc->a = ep->dd_data;
    tc->a->conn = tc;
    c->last_recv_ns = c->loop->now_ns;
    return 0;
}

/* Now it is known which digests PDUs have, and that of those which follow. */
static int
thread_start_conn(struct iscsi_conn *c, struct lunette_error *err)
{
    struct thread_conn *tc = c->dd_data;

    if (tc->a == NULL)
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "the connection is not bound");
    tc->tcp.hold = false;
    pthread_mutex_lock(&tc->a->lock);
    tc->a->hdr_digest = c->hdrdgst_offload;
    tc->a->data_digest = c->datadgst_offload;
    pthread_mutex_unlock(&tc->a->lock);
    adapter_go_on(tc->a);
    return 0;
}

static int
thread_stop_conn(struct iscsi_conn *c, enum iscsi_stop how)
{
    struct thread_conn *tc = c->dd_data;
    struct adapter *a = tc->a;

    (void)how;
    if (a == NULL)
        return 0;
    tc->a = NULL;
    a->conn = NULL;
    tc->want_xmit = false;
    queue_drop(&tc->batch);
    iscsi_tcp_conn_reset(&tc->tcp);
    if (a->joined)
        return 0;
    a->stopping = tc;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_mutex_unlock(&a->lock);
    ring(a->to_adapter);
    return -EINPROGRESS; /* until the thread has gone */
}

/* ---- out ------------------------------------------------------------------------------------ */

static int
thread_alloc_pdu(struct iscsi_task *t, uint8_t opcode)
{
    struct thread_conn *tc = t->conn->dd_data;
    struct adapter *a = tc->a;
    bool full;

    (void)opcode;
    if (a == NULL || a->joined)
        return -ENOTCONN;
    pthread_mutex_lock(&a->lock);
    full = a->out.bytes + tc->batch.bytes >= QUEUE_MAX;
    pthread_mutex_unlock(&a->lock);
    if (full) {
        tc->want_xmit = true; /* the thread rings for each PDU that it takes */
        return -EAGAIN;
    }
    t->hdr = (struct bhs *)(void *)tc->hdr;
    t->hdr_max = ISCSI_HDR_MAX;
    return 0;
}

/* Digests and padding are filled in by the thread. */
static int
thread_init_pdu(struct iscsi_task *t, uint32_t offset, uint32_t count)
{
    struct iscsi_conn *c = t->conn;
    struct thread_conn *tc = c->dd_data;
    struct pdu *p = pdu_new(t->hdr_len, count, c->hdrdgst_offload, c->datadgst_offload);
    struct sg_cursor at;

    if (p == NULL) {
        c->up->conn_failure(c, ISCSI_ERR_MEMORY, "no memory for a PDU");
        return -ENOMEM;
    }
    memcpy(p->bytes, t->hdr, t->hdr_len);
    if (t->sc == NULL && count > 0)
        memcpy(pdu_data(p), t->data, count);
    if (t->sc != NULL && count > 0) {
        sg_cursor_init(&at, &t->sc->out);
        sg_cursor_seek(&at, &t->sc->out, offset);
        sg_copy_from(&at, &t->sc->out, pdu_data(p), count);
    }
    queue_put(&tc->batch, p);
    return 0;
}

static int
thread_xmit_pdu(struct iscsi_task *t)
{
    t->hdr = NULL; /* it goes with the next flush */
    return 0;
}

static int
thread_init_task(struct iscsi_task *t)
{
    return thread_init_pdu(t, 0, iscsi_tcp_task_init(t));
}

static int
thread_xmit_task(struct iscsi_task *t)
{
    struct iscsi_tcp_task *tt = t->dd_data;

    if (!tt->cmd_sent && (thread_xmit_pdu(t) < 0 || !iscsi_tcp_task_sent(t)))
        return 0;
    return iscsi_tcp_xmit_data(t);
}

static void
thread_xmit_flush(struct iscsi_conn *c)
{
    struct thread_conn *tc = c->dd_data;
    struct adapter *a = tc->a;

    if (a == NULL || a->joined || tc->batch.first == NULL)
        return;
    pthread_mutex_lock(&a->lock);
    queue_move(&a->out, &tc->batch);
    pthread_mutex_unlock(&a->lock);
    ring(a->to_adapter);
}

/* All data has been copied, both ways: nothing refers to the task's memory. */
static int
thread_cleanup_task(struct iscsi_task *t)
{
    iscsi_tcp_cleanup_task(t);
    return 0;
}

/* ---- life ----------------------------------------------------------------------------------- */

static int
thread_create_conn(struct iscsi_conn *c, struct lunette_error *err)
{
    static const struct iscsi_tcp_ops ops = {.init_pdu = thread_init_pdu,
                                             .xmit_pdu = thread_xmit_pdu};
    struct thread_conn *tc = c->dd_data;

    (void)err;
    iscsi_tcp_conn_init(&tc->tcp, c, &ops);
    queue_init(&tc->batch);
    return 0;
}

static void
thread_destroy_conn(struct iscsi_conn *c)
{
    struct thread_conn *tc = c->dd_data;

    queue_drop(&tc->batch);
}

ISCSI_TRANSPORT_EXPORT const struct iscsi_transport lunette_transport = {
    .version = ISCSI_TRANSPORT_VERSION,
    .size = sizeof(struct iscsi_transport),
    .name = "thread",
    .caps = CAP_RECOVERY_L0 | CAP_MULTI_R2T | CAP_HDRDGST | CAP_DATADGST | CAP_TEXT_NEGO |
            CAP_DIGEST_OFFLOAD | CAP_PADDING_OFFLOAD,
    .max_recv_dlength = DATA_MAX,
    .conn_size = sizeof(struct thread_conn),
    .task_size = sizeof(struct iscsi_tcp_task),
    .ep_size = sizeof(struct adapter),
    .ep_connect = thread_ep_connect,
    .ep_poll = thread_ep_poll,
    .ep_disconnect = thread_ep_disconnect,
    .create_conn = thread_create_conn,
    .destroy_conn = thread_destroy_conn,
    .bind_conn = thread_bind_conn,
    .start_conn = thread_start_conn,
    .stop_conn = thread_stop_conn,
    .alloc_pdu = thread_alloc_pdu,
    .init_task = thread_init_task,
    .xmit_task = thread_xmit_task,
    .xmit_flush = thread_xmit_flush,
    .cleanup_task = thread_cleanup_task,
};
