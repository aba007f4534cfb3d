/* SPDX-License-Identifier: MIT */
/* fuzz_ipc_socket.c - packets as they come out of a local socket, at both ends of the binding and
 * at the acceptor.
 *
 * Record after record: what (1 byte, see enum record), an argument (1), the length (2, low byte
 * first), so many bytes.  Whatever comes: each descriptor is closed once, each request gets one
 * answer, what is sent is what an encoder writes, an end is told once that the other has gone, and
 * what is queued stays within its bounds.
 */
#include "ipc/acceptor.h"
#include "ipc/fragment.h"
#include "mem_loop.h"

#define HEAD      4
#define LATER_MAX 256
#define FD        1000 /* the first descriptor of the fake loop */
#define FDS       4096

enum record {
    TO_SERVER,   /* a packet; argument: bit 0 a descriptor, bit 1 another, bit 2 lost */
    TO_CLIENT,   /* the same */
    TO_ACCEPTOR, /* the same, on a new connection */
    ASK,         /* the client sends a request; argument: which, bytes: data of SEND_PDU */
    TELL,        /* the server sends an event with so many bytes of data */
    ANSWER,      /* the server answers what it has kept */
    ROOM,        /* argument: how many packets the sockets take from now on; 255: any number */
    TIME,        /* passes by so many milliseconds */
    RECORDS,
};

struct packet_stream {
    struct stream base;
    const struct stream_events *ev;
    void *user;
    const uint8_t *in; /* the packet that is there, or NULL */
    size_t in_len;
    int in_fd;
    bool many, eof, open, want_room;
};

struct run {
    struct mem_loop m;
    struct loop_ops ops;
    struct packet_stream client_s, server_s, listener, fresh;
    unsigned room;
    bool fd_open[FDS];
    unsigned nfds;
    struct ipc_socket *client, *server;
    struct ipc_encoded_client *client_end;
    struct ipc_encoded_server *server_end;
    struct ipc_client to_client;
    struct ipc_acceptor *acceptor;
    uint64_t later[LATER_MAX], events;
    unsigned nlater, served, answered, client_gone, server_gone;
    unsigned asked, replies;
};

static struct run *
run_of(struct loop *l)
{
    return container_of(mem_of(l), struct run, m);
}

static struct packet_stream *
packets_of(struct stream *s)
{
    return container_of(s, struct packet_stream, base);
}

/* ---- the loop ------------------------------------------------------------------------------- */

static int
run_open_fd(struct run *r)
{
    CHECK(r->nfds < FDS);
    r->fd_open[r->nfds] = true;
    return FD + (int)r->nfds++;
}

static void
run_close_fd(struct loop *l, int fd)
{
    struct run *r = run_of(l);

    CHECK(fd >= FD && (unsigned)(fd - FD) < r->nfds && r->fd_open[fd - FD]);
    r->fd_open[fd - FD] = false;
}

static void
run_set_events(struct stream *s, const struct stream_events *ev, void *user)
{
    CHECK(packets_of(s)->open);
    packets_of(s)->ev = ev;
    packets_of(s)->user = user;
}

static void
run_close(struct stream *s)
{
    CHECK(packets_of(s)->open);
    packets_of(s)->open = false;
}

static int
run_peer_cred(struct stream *s, uid_t *uid, pid_t *pid)
{
    (void)s;
    *uid = 0;
    *pid = 1;
    return 0;
}

static int
run_listen(struct loop *l, const struct sock_addr *at, const struct stream_events *ev, void *user,
           struct stream **ret)
{
    struct run *r = run_of(l);

    (void)at;
    r->listener = (struct packet_stream){.base = {l}, .ev = ev, .user = user, .open = true};
    *ret = &r->listener.base;
    return 0;
}

/* Looks at what an end sends, which the other would take. */
static int
run_send(struct stream *s, const struct iovec *iov, int n, int fd)
{
    struct packet_stream *p = packets_of(s);
    struct run *r = run_of(s->loop);
    struct ipc_fragment f;
    static uint8_t buf[IPC_FRAGMENT_MAX];
    size_t len = 0;

    CHECK(p->open && !p->eof);
    if (r->room == 0) {
        p->want_room = true;
        return -EAGAIN;
    }
    r->room -= r->room < 255;
    for (int i = 0; i < n; i++) {
        CHECK(iov[i].iov_len <= sizeof(buf) - len);
        memcpy(buf + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    CHECK(ipc_fragment_get(buf, len, &f));
    CHECK((f.lane == IPC_LANE_REQUESTS) == (p == &r->client_s));
    CHECK(fd < 0 || (p == &r->client_s && f.at == 0));
    return 0;
}

static ssize_t
run_recv(struct stream *s, void *buf, size_t size, int *ret_fd)
{
    struct packet_stream *p = packets_of(s);
    size_t len = p->in_len;

    CHECK(p->open);
    *ret_fd = -1;
    if (p->in == NULL)
        return p->eof ? 0 : -EAGAIN;
    if (len > size || p->many) {
        if (p->in_fd >= 0)
            run_close_fd(s->loop, p->in_fd);
        p->in = NULL;
        return p->many ? -EPROTO : -EMSGSIZE;
    }
    memcpy(buf, p->in, len);
    p->in = NULL;
    *ret_fd = p->in_fd;
    return (ssize_t)len;
}

static const struct packet_ops packet_ops = {
    .listen = run_listen, .send = run_send, .recv = run_recv};

/* Room for the sockets, and the time that it takes. */
static void
give_room(struct run *r)
{
    struct packet_stream *all[] = {&r->client_s, &r->server_s};

    r->room = 255;
    for (unsigned i = 0; i < 2; i++) {
        if (all[i]->open && all[i]->want_room) {
            all[i]->want_room = false;
            all[i]->ev->writable(all[i]->user);
        }
    }
    mem_advance(&r->m, 25 * LOOP_NS_PER_MS);
}

/* A packet, or the end, comes to s. */
static void
feed(struct run *r, struct packet_stream *s, const uint8_t *p, size_t len, uint8_t how)
{
    uint8_t *copy = p != NULL ? fuzz_copy(p, len) : NULL;
    unsigned bound = 0;

    s->in = copy;
    s->in_len = len;
    s->in_fd = p != NULL && (how & 1) ? run_open_fd(r) : (how & 4) ? -EMFILE : -1;
    s->many = how & 2;
    s->eof = p == NULL;
    while (s->open && (s->in != NULL || s->eof)) {
        CHECK(++bound < 100);
        if (s->ev->readable != NULL)
            s->ev->readable(s->user);
        mem_work(&r->m);
        if (s->open && (s->in != NULL || s->eof))
            give_room(r);
    }
    if (s->in != NULL && s->in_fd >= 0) /* it was never received */
        run_close_fd(&r->m.l, s->in_fd);
    s->in = NULL;
    free(copy);
}

/* ---- the two ends --------------------------------------------------------------------------- */

static void
answer_one(struct run *r, enum iscsi_uevent_type type, uint64_t seq)
{
    static uint8_t data[IPC_REPLY_DATA_MAX];
    struct iscsi_reply rep = {.type = type, .seq = seq, .data = data};

    if (type == ISCSI_UEVENT_GET_SESSION) {
        rep.r.session.values_len = IPC_VALUES_MAX;
        rep.r.session.note_len = IPC_NOTE_MAX;
    } else if (type == ISCSI_UEVENT_GET_CONN) {
        rep.r.conn.values_len = IPC_VALUES_MAX;
    }
    r->answered++;
    r->to_client.reply(r->to_client.binding, &rep);
}

static void
serve(void *server, const struct ipc_client *from, const struct iscsi_uevent *ev, const void *data,
      uint32_t data_len)
{
    struct run *r = server;
    void *copy = fuzz_copy(data, data_len); /* every byte is there */

    CHECK(from->binding == r->to_client.binding && data_len == ipc_uevent_data_len(ev));
    free(copy);
    r->served++;
    if (ev->type == ISCSI_UEVENT_BIND_CONN)
        loop_close_fd(&r->m.l, ev->u.bind_conn.fd);
    if (ev->type == ISCSI_UEVENT_DESTROY_SESSION && r->nlater < LATER_MAX)
        r->later[r->nlater++] = ev->seq;
    else
        answer_one(r, ev->type, ev->seq);
}

static void
answer_later(struct run *r)
{
    while (r->nlater > 0)
        answer_one(r, ISCSI_UEVENT_DESTROY_SESSION, r->later[--r->nlater]);
}

static void
on_reply(void *user, const struct iscsi_reply *rep)
{
    struct run *r = user;

    CHECK(++r->replies <= r->asked);
    free(fuzz_copy(rep->data, ipc_reply_data_len(rep)));
}

static void
on_event(void *user, const struct iscsi_kevent *ev, const void *data)
{
    (void)user;
    free(fuzz_copy(data, ipc_kevent_data_len(ev)));
}

static const struct ipc_server_ops server_ops = {.serve = serve};
static const struct ipc_events client_events = {.reply = on_reply, .event = on_event};

static void
client_close(struct run *r)
{
    ipc_encoded_client_free(r->client_end);
    ipc_socket_free(r->client);
    r->client_end = NULL;
    r->client = NULL;
}

static void
server_close(struct run *r)
{
    answer_later(r);
    ipc_encoded_server_free(r->server_end);
    ipc_socket_free(r->server);
    r->server_end = NULL;
    r->server = NULL;
}

static void
on_client_gone(void *user, const struct lunette_error *why)
{
    struct run *r = user;

    CHECK(why->code < 0 && r->client_gone++ == 0);
    client_close(r);
}

static void
on_server_gone(void *user, const struct lunette_error *why)
{
    struct run *r = user;

    CHECK(why->code < 0 && r->server_gone++ == 0);
    server_close(r);
}

/* A new client said HELLO: it is the server's, if that has none. */
static void
on_accepted(void *user, uint32_t loop, struct stream *s, struct ipc_packet *hello)
{
    struct run *r = user;

    CHECK(loop < 4 && hello->len > 0 && hello->fd == -1);
    if (r->server != NULL) {
        free(hello);
        stream_close(s);
        return;
    }
    r->server_gone = 0;
    r->server_s = r->fresh; /* the stream changes its place, and the acceptor has let go of it */
    r->fresh.open = false;
    CHECK(ipc_socket_server_new(&r->server_s.base, hello, on_server_gone, r, &r->server) == 0);
    CHECK(ipc_encoded_server_new(ipc_socket_carrier(r->server), &server_ops, r, ipc_socket_broken,
                                 r->server, &r->server_end, &r->to_client) == 0);
}

static void
run_open(struct run *r)
{
    struct sock_addr at;

    mem_loop_init(&r->m);
    r->ops = mem_loop_ops;
    r->ops.set_events = run_set_events;
    r->ops.close = run_close;
    r->ops.close_fd = run_close_fd;
    r->ops.peer_cred = run_peer_cred;
    r->ops.packets = &packet_ops;
    r->m.l.ops = &r->ops;
    r->room = 255;
    r->client_s = r->server_s = (struct packet_stream){.base = {&r->m.l}, .open = true};
    CHECK(sock_addr_local("x", 1, &at, NULL) == 0);
    CHECK(ipc_socket_client_new(&r->client_s.base, on_client_gone, r, &r->client) == 0);
    CHECK(ipc_encoded_client_new(ipc_socket_carrier(r->client), ipc_socket_broken, r->client,
                                 &r->client_end) == 0);
    ipc_encoded_client_ipc(r->client_end)->ev = &client_events;
    ipc_encoded_client_ipc(r->client_end)->ev_user = r;
    CHECK(ipc_socket_server_new(&r->server_s.base, NULL, on_server_gone, r, &r->server) == 0);
    CHECK(ipc_encoded_server_new(ipc_socket_carrier(r->server), &server_ops, r, ipc_socket_broken,
                                 r->server, &r->server_end, &r->to_client) == 0);
    CHECK(ipc_acceptor_new(&r->m.l, &at, -1, 4, on_accepted, r, &r->acceptor, NULL) == 0);
    mem_work(&r->m);
}

static void
run_end(struct run *r)
{
    if (r->client != NULL)
        client_close(r);
    if (r->server != NULL)
        server_close(r);
    ipc_acceptor_free(r->acceptor);
    mem_work(&r->m);
    CHECK(r->answered == r->served);
    CHECK(!r->client_s.open && !r->server_s.open && !r->fresh.open && !r->listener.open);
    CHECK(timerq_first(&r->m.timers) == NULL);
    for (unsigned i = 0; i < r->nfds; i++)
        CHECK(!r->fd_open[i]);
}

/* ---- records -------------------------------------------------------------------------------- */

static void
connect_and_feed(struct run *r, const uint8_t *p, size_t len, uint8_t how)
{
    struct sock_addr nobody = {.len = 0};

    r->fresh = (struct packet_stream){.base = {&r->m.l}, .open = true};
    r->listener.ev->accepted(r->listener.user, &r->fresh.base, &nobody);
    if (how & 8) /* it says nothing, and its time passes */
        mem_advance(&r->m, IPC_ACCEPTOR_HELLO_MS * LOOP_NS_PER_MS);
    else
        feed(r, &r->fresh, p, len, how);
    mem_work(&r->m);
    CHECK(!r->fresh.open); /* one packet decides */
}

static void
ask(struct run *r, uint8_t which, const uint8_t *p, uint32_t len)
{
    struct iscsi_uevent ev = {.type = (enum iscsi_uevent_type)(which % ISCSI_UEVENT_COUNT)};
    bool pdu = ev.type == ISCSI_UEVENT_SEND_PDU;

    if (ev.type == ISCSI_UEVENT_BIND_CONN)
        ev.u.bind_conn.fd = run_open_fd(r);
    if (pdu)
        ev.u.send_pdu.data_len = len;
    if (ipc_request(ipc_encoded_client_ipc(r->client_end), &ev, pdu ? p : NULL, pdu ? len : 0) == 0)
        r->asked++;
    else if (ev.type == ISCSI_UEVENT_BIND_CONN)
        run_close_fd(&r->m.l, ev.u.bind_conn.fd);
}

static void
tell(struct run *r, const uint8_t *p, uint32_t len)
{
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_RECV_PDU, .number = ++r->events};

    ev.u.recv_pdu.data_len = len;
    (void)r->to_client.event(r->to_client.binding, &ev, p);
}

static void
one_record(struct run *r, const uint8_t *head, const uint8_t *p, size_t len)
{
    switch ((enum record)(head[0] % RECORDS)) {
    case TO_SERVER:
        if (r->server != NULL)
            feed(r, &r->server_s, len > 0 ? p : NULL, len, head[1]);
        break;
    case TO_CLIENT:
        if (r->client != NULL)
            feed(r, &r->client_s, len > 0 ? p : NULL, len, head[1]);
        break;
    case TO_ACCEPTOR:
        connect_and_feed(r, len > 0 ? p : NULL, len, head[1]);
        break;
    case ASK:
        if (r->client != NULL)
            ask(r, head[1], p, (uint32_t)len);
        break;
    case TELL:
        if (r->server != NULL)
            tell(r, p, (uint32_t)len);
        break;
    case ANSWER:
        if (r->server != NULL)
            answer_later(r);
        break;
    case ROOM:
        if (head[1] == 255)
            give_room(r);
        else
            r->room = head[1];
        break;
    case TIME:
        mem_advance(&r->m, head[1] * LOOP_NS_PER_MS);
        break;
    case RECORDS:
        break;
    }
    mem_work(&r->m);
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    static struct run r;

    memset(&r, 0, sizeof(r));
    run_open(&r);
    while (len >= HEAD && r.nfds < FDS - 2) {
        size_t n = (size_t)data[2] | (size_t)data[3] << 8;
        const uint8_t *head = data;

        data += HEAD;
        len -= HEAD;
        n = n < len ? n : len;
        one_record(&r, head, data, n);
        data += n;
        len -= n;
    }
    run_end(&r);
}
