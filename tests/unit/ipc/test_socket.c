/* SPDX-License-Identifier: MIT */
/* The encoded binding over real local sockets: messages of all sizes both ways, bounds, peers that
 * lie, and processes that are killed.  "test_socket epoll" or "uring". */
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/socket.h"
#include "loop/loop.h"
#include "tests/support/alloc_fail.h"
#include "tests/support/loop_kind.h"
#include "tests/support/loop_until.h"

#define LIMIT_NS  (20 * LOOP_NS_PER_S)
#define LATER_MAX 20000

static enum loop_kind kind;

/* Both ends on one loop, or one of them and a peer that the test plays itself. */
struct world {
    struct loop *l;
    struct ipc_socket *cs, *ss;
    struct ipc_encoded_client *ce;
    struct ipc_encoded_server *se;
    struct ipc_client to_client;
    struct ipc *ipc;
    int peer; /* the test's end, or -1 */
    /* what came */
    unsigned served, replies, events, nlater, fds, data_bad;
    uint64_t later[LATER_MAX];
    uint64_t last_seq, last_number;
    int last_fd_err;
    bool keep; /* requests are answered later */
    uint32_t event_data;
    struct lunette_error client_gone, server_gone;
    unsigned nclient_gone, nserver_gone;
};

static uint8_t
pattern(size_t i)
{
    return (uint8_t)(i * 3 + (i >> 8) * 7);
}

static uint8_t *
patterned(size_t len)
{
    uint8_t *p = malloc(len > 0 ? len : 1);

    assert_non_null(p);
    for (size_t i = 0; i < len; i++)
        p[i] = pattern(i);
    return p;
}

static bool
is_patterned(const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++) {
        if (p[i] != pattern(i))
            return false;
    }
    return true;
}

/* ---- the two sides -------------------------------------------------------------------------- */

static void
answer(struct world *w, enum iscsi_uevent_type type, uint64_t seq)
{
    static uint8_t data[IPC_REPLY_DATA_MAX];
    struct iscsi_reply rep = {.type = type, .seq = seq, .data = data};

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = pattern(i);
    if (type == ISCSI_UEVENT_GET_SESSION) {
        rep.r.session.values_len = IPC_VALUES_MAX;
        rep.r.session.note_len = IPC_NOTE_MAX;
    }
    w->to_client.reply(w->to_client.binding, &rep);
}

static void
serve(void *server, const struct ipc_client *from, const struct iscsi_uevent *ev, const void *data,
      uint32_t data_len)
{
    struct world *w = server;

    (void)from;
    w->served++;
    w->data_bad += !is_patterned(data, data_len);
    if (ev->type == ISCSI_UEVENT_BIND_CONN) {
        w->fds += ev->u.bind_conn.fd >= 0;
        w->last_fd_err = ev->u.bind_conn.fd;
        loop_close_fd(w->l, ev->u.bind_conn.fd);
    }
    if (w->keep && w->nlater < LATER_MAX)
        w->later[w->nlater++] = ev->seq;
    else
        answer(w, ev->type, ev->seq);
}

static const struct ipc_server_ops server_ops = {.serve = serve};

static void
on_reply(void *user, const struct iscsi_reply *rep)
{
    struct world *w = user;

    w->data_bad += !is_patterned(rep->data, ipc_reply_data_len(rep));
    w->last_seq = rep->seq;
    w->replies++;
}

static void
on_event(void *user, const struct iscsi_kevent *ev, const void *data)
{
    struct world *w = user;

    assert_int_equal(ev->number, w->last_number + 1);
    w->last_number = ev->number;
    w->event_data = ipc_kevent_data_len(ev);
    w->data_bad += !is_patterned(data, w->event_data);
    w->events++;
}

static const struct ipc_events client_events = {.reply = on_reply, .event = on_event};

static void
client_end(struct world *w)
{
    if (w->ce != NULL)
        ipc_encoded_client_free(w->ce);
    ipc_socket_free(w->cs);
    w->ce = NULL;
    w->cs = NULL;
}

static void
server_end(struct world *w)
{
    if (w->se != NULL)
        ipc_encoded_server_free(w->se);
    ipc_socket_free(w->ss);
    w->se = NULL;
    w->ss = NULL;
}

static void
on_client_gone(void *user, const struct lunette_error *why)
{
    struct world *w = user;

    w->client_gone = *why;
    w->nclient_gone++;
    client_end(w);
}

static void
on_server_gone(void *user, const struct lunette_error *why)
{
    struct world *w = user;

    w->server_gone = *why;
    w->nserver_gone++;
    server_end(w);
}

static const struct stream_events no_events = {.readable = NULL};

static void
client_begin(struct world *w, int fd)
{
    struct stream *s = NULL;

    assert_int_equal(stream_adopt_packets(w->l, fd, &no_events, NULL, &s), 0);
    assert_int_equal(ipc_socket_client_new(s, on_client_gone, w, &w->cs), 0);
    assert_int_equal(
        ipc_encoded_client_new(ipc_socket_carrier(w->cs), ipc_socket_broken, w->cs, &w->ce), 0);
    w->ipc = ipc_encoded_client_ipc(w->ce);
    w->ipc->ev = &client_events;
    w->ipc->ev_user = w;
}

static void
server_begin(struct world *w, int fd)
{
    struct stream *s = NULL;

    assert_int_equal(stream_adopt_packets(w->l, fd, &no_events, NULL, &s), 0);
    assert_int_equal(ipc_socket_server_new(s, NULL, on_server_gone, w, &w->ss), 0);
    assert_int_equal(ipc_encoded_server_new(ipc_socket_carrier(w->ss), &server_ops, w,
                                            ipc_socket_broken, w->ss, &w->se, &w->to_client),
                     0);
}

static void
pair_of(int sv[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
}

static struct world *
world_new(bool client, bool server)
{
    struct world *w = calloc(1, sizeof(*w));
    struct loop_config cfg = {.kind = kind};
    int sv[2];

    assert_non_null(w);
    assert_int_equal(loop_new(&cfg, &w->l, NULL), 0);
    pair_of(sv);
    w->peer = -1;
    if (client)
        client_begin(w, sv[0]);
    else
        w->peer = sv[0];
    if (server)
        server_begin(w, sv[1]);
    else
        w->peer = sv[1];
    if (w->peer >= 0)
        assert_int_equal(fcntl(w->peer, F_SETFL, O_NONBLOCK), 0);
    return w;
}

static void
world_free(struct world *w)
{
    client_end(w);
    server_end(w);
    if (w->peer >= 0)
        (void)close(w->peer);
    loop_free(w->l);
    free(w);
}

#define UNTIL(w, cond) LOOP_UNTIL((w)->l, cond)

static void
turns(struct world *w, unsigned n)
{
    while (n-- > 0)
        assert_true(loop_run(w->l, 0) >= 0);
}

static int
request(struct world *w, enum iscsi_uevent_type type, uint32_t data_len)
{
    struct iscsi_uevent ev = {.type = type, .sid = 1, .cid = 2};
    uint8_t *data = patterned(data_len);
    int r;

    if (type == ISCSI_UEVENT_SEND_PDU)
        ev.u.send_pdu.data_len = data_len;
    if (type == ISCSI_UEVENT_BIND_CONN)
        ev.u.bind_conn.fd = -1;
    r = ipc_request(w->ipc, &ev, data, data_len);
    free(data);
    return r;
}

/* A request that brings one end of a pipe; the other is returned. */
static int
request_bind(struct world *w)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_BIND_CONN, .sid = 1, .cid = 2};
    int ends[2];

    assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    ev.u.bind_conn.fd = ends[1];
    assert_int_equal(ipc_request(w->ipc, &ev, NULL, 0), 0);
    return ends[0];
}

static int
event(struct world *w, uint64_t number, uint32_t data_len)
{
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_RECV_PDU, .number = number};
    uint8_t *data = patterned(data_len);
    int r;

    ev.u.recv_pdu.data_len = data_len;
    r = w->to_client.event(w->to_client.binding, &ev, data);
    free(data);
    return r;
}

/* ---- what is sent arrives ------------------------------------------------------------------- */

static void
exchange(struct world *w)
{
    static const uint32_t sizes[] = {0, 1, 60000, IPC_FRAGMENT_MAX, 130000, IPC_PDU_DATA_MAX};
    unsigned n = 0, fds = 0;
    int left[8];

    for (unsigned i = 0; i < 60; i++, n++) {
        if (i % 3 == 0)
            assert_int_equal(request(w, ISCSI_UEVENT_SEND_PDU, sizes[i % 6]), 0);
        else
            assert_int_equal(
                request(w, i % 3 == 1 ? ISCSI_UEVENT_GET_SESSION : ISCSI_UEVENT_START_CONN, 0), 0);
        if (i % 8 == 7 && fds < 7) {
            left[fds++] = request_bind(w);
            n++;
        }
        if (i % 5 == 0)
            turns(w, 1);
    }
    UNTIL(w, w->replies == n);
    assert_int_equal(w->served, n);
    assert_int_equal(w->fds, fds);
    assert_int_equal(w->data_bad, 0);
    for (unsigned i = 0; i < fds; i++) {
        char c;

        assert_int_equal(read(left[i], &c, 1), 0); /* both copies are closed */
        (void)close(left[i]);
    }
}

static void
test_messages_of_all_sizes(void **state)
{
    static const uint32_t sizes[] = {0, 5, 65530, 1u << 20, IPC_RECV_DATA_MAX};
    unsigned before = count_fds();
    struct world *w = world_new(true, true);

    (void)state;
    exchange(w);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(event(w, i + 1, sizes[i]), 0);
        UNTIL(w, w->events == i + 1);
        assert_int_equal(w->event_data, sizes[i]);
    }
    assert_int_equal(w->data_bad, 0);
    assert_int_equal(w->nclient_gone + w->nserver_gone, 0);
    world_free(w);
    assert_int_equal(count_fds(), before);
}

static void
test_answers_in_another_order(void **state)
{
    struct world *w = world_new(true, true);

    (void)state;
    w->keep = true;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(request(w, i % 2 ? ISCSI_UEVENT_GET_SESSION : ISCSI_UEVENT_STOP_CONN, 0),
                         0);
    UNTIL(w, w->nlater == 100);
    for (unsigned i = 0; i < 100; i += 2) /* small answers, for which small packets are kept */
        answer(w, ISCSI_UEVENT_STOP_CONN, w->later[98 - i]);
    for (unsigned i = 0; i < 100; i += 2)
        answer(w, ISCSI_UEVENT_GET_SESSION, w->later[99 - i]);
    UNTIL(w, w->replies == 100);
    assert_int_equal(w->last_seq, w->later[1]);
    assert_int_equal(w->data_bad, 0);
    world_free(w);
}

/* A socket whose buffer is too small for large fragments. */
static void
test_a_small_socket(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct loop_config cfg = {.kind = kind};
    int sv[2], small = 1;

    (void)state;
    assert_non_null(w);
    assert_int_equal(loop_new(&cfg, &w->l, NULL), 0);
    w->peer = -1;
    pair_of(sv);
    for (int i = 0; i < 2; i++)
        assert_int_equal(setsockopt(sv[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    client_begin(w, sv[0]);
    server_begin(w, sv[1]);
    exchange(w);
    assert_int_equal(event(w, 1, 300000), 0);
    UNTIL(w, w->events == 1);
    assert_int_equal(w->data_bad, 0);
    world_free(w);
}

/* Each allocation fails in turn, and then all do for a while: what waited comes later. */
static void
test_no_memory(void **state)
{
    (void)state;
    for (long n = 0; n < 12; n++) {
        struct world *w = world_new(true, true);
        unsigned sent = 0;

        for (unsigned i = 0; i < 5; i++)
            sent += request(w, i % 2 ? ISCSI_UEVENT_GET_SESSION : ISCSI_UEVENT_SEND_PDU,
                            i % 2 ? 0 : 100000) == 0;
        assert_int_equal(event(w, 1, 200000), 0);
        alloc_left = n;
        turns(w, 3);
        alloc_left = -1;
        alloc_none = n % 2 == 0;
        turns(w, 5);
        alloc_none = false;
        UNTIL(w, w->replies == sent && w->events == 1);
        assert_int_equal(w->data_bad, 0);
        world_free(w);
    }
}

/* ---- bounds --------------------------------------------------------------------------------- */

/* The other side sends request after request and reads no answer: it is not read from any more. */
static void
test_a_client_that_does_not_read(void **state)
{
    struct world *w = world_new(false, true);
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_GET_SESSION, .sid = 1};
    static uint8_t buf[IPC_FRAGMENT_MAX];
    unsigned sent = 0, got = 0, idle = 0;

    (void)state;
    while (idle < 200) {
        uint8_t msg[IPC_FRAGMENT_HEAD + 64] = {IPC_LANE_REQUESTS};
        int len;

        ev.seq = sent + 1;
        len = ipc_encode_uevent(&ev, msg + IPC_FRAGMENT_HEAD, 64);
        assert_true(len > 0);
        msg[2] = (uint8_t)len;
        if (send(w->peer, msg, IPC_FRAGMENT_HEAD + (size_t)len, 0) > 0) {
            sent++;
            idle = 0;
        } else {
            assert_int_equal(errno, EAGAIN);
            idle++;
        }
        turns(w, 1);
    }
    assert_true(w->served < 1000);
    assert_true(w->served < sent);
    assert_int_equal(loop_run(w->l, 0), 0); /* and it is not asked in vain */
    while (got < sent) {
        while (recv(w->peer, buf, sizeof(buf), 0) > 0)
            got++;
        turns(w, 1);
    }
    assert_int_equal(w->served, sent);
    assert_int_equal(w->nserver_gone, 0);
    world_free(w);
}

static void
test_events_are_bounded(void **state)
{
    struct world *w = world_new(true, true);
    uint64_t n = 0;

    (void)state;
    while (event(w, n + 1, 0) == 0)
        n++;
    assert_int_equal(n, IPC_SOCKET_EVENTS_MAX);
    assert_int_equal(event(w, n + 1, 0), -EAGAIN);
    UNTIL(w, w->events == n);
    assert_int_equal(event(w, ++n, IPC_RECV_DATA_MAX), 0); /* one alone may be large */
    assert_int_equal(event(w, n + 1, 1), -EAGAIN);
    UNTIL(w, w->events == n);
    while (event(w, n + 1, 100000) == 0)
        n++;
    UNTIL(w, w->events == n);
    assert_true(n < IPC_SOCKET_EVENTS_MAX + 20);
    world_free(w);
}

/* More requests than may be without an answer: the rest waits at home. */
static void
test_requests_are_bounded(void **state)
{
    struct world *w = world_new(true, true);
    unsigned n = IPC_SOCKET_REQUESTS_MAX + 100;

    (void)state;
    w->keep = true;
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(request(w, ISCSI_UEVENT_STOP_CONN, 0), 0);
    UNTIL(w, w->served == IPC_SOCKET_REQUESTS_MAX);
    turns(w, 50);
    assert_int_equal(w->served, IPC_SOCKET_REQUESTS_MAX);
    for (unsigned i = 0; i < IPC_SOCKET_REQUESTS_MAX; i++)
        answer(w, ISCSI_UEVENT_STOP_CONN, w->later[i]);
    UNTIL(w, w->served == n);
    for (unsigned i = IPC_SOCKET_REQUESTS_MAX; i < n; i++)
        answer(w, ISCSI_UEVENT_STOP_CONN, w->later[i]);
    UNTIL(w, w->replies == n);
    assert_int_equal(w->nclient_gone + w->nserver_gone, 0);
    world_free(w);
}

/* ---- peers that lie ------------------------------------------------------------------------- */

struct head {
    uint8_t lane, zero;
    uint32_t len, data_len, at;
};

/* One packet with a head, `count` bytes behind it, and nfds descriptors of a pipe. */
static void
peer_send(struct world *w, const struct head *h, const uint8_t *bytes, size_t count, int nfds,
          int *ret_left)
{
    uint8_t head[IPC_FRAGMENT_HEAD] = {h->lane, h->zero, (uint8_t)h->len, (uint8_t)(h->len >> 8)};
    struct iovec iov[2] = {{head, sizeof(head)}, {(void *)(uintptr_t)bytes, count}};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control = {.bytes = {0}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    int ends[2] = {-1, -1};

    for (unsigned i = 0; i < 4; i++) {
        head[4 + i] = (uint8_t)(h->data_len >> (8 * i));
        head[8 + i] = (uint8_t)(h->at >> (8 * i));
    }
    if (nfds > 0) {
        struct cmsghdr *c;

        assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
        for (int i = 0; i < nfds; i++)
            memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &ends[1], sizeof(int));
    }
    assert_true(sendmsg(w->peer, &msg, MSG_NOSIGNAL) > 0);
    if (nfds > 0)
        (void)close(ends[1]);
    if (ret_left != NULL)
        *ret_left = ends[0];
    else if (nfds > 0)
        (void)close(ends[0]);
}

static size_t
a_request(uint8_t *buf, size_t size, enum iscsi_uevent_type type, uint32_t data_len)
{
    struct iscsi_uevent ev = {.type = type, .seq = 1};
    int len;

    if (type == ISCSI_UEVENT_SEND_PDU)
        ev.u.send_pdu.data_len = data_len;
    len = ipc_encode_uevent(&ev, buf, size);
    assert_true(len > 0);
    return (size_t)len;
}

static size_t
a_reply(uint8_t *buf, size_t size)
{
    struct iscsi_reply rep = {.type = ISCSI_UEVENT_STOP_CONN, .seq = 1};
    int len = ipc_encode_reply(&rep, buf, size);

    assert_true(len > 0);
    return (size_t)len;
}

/* A packet that the server's end does not take; what was open before is open after. */
static void
server_refuses(const struct head *h, const uint8_t *bytes, size_t count, int nfds, bool after_first)
{
    unsigned before = count_fds();
    struct world *w = world_new(false, true);
    uint8_t msg[128];
    size_t len = a_request(msg, sizeof(msg), ISCSI_UEVENT_SEND_PDU, 1000);
    int left = -1;
    char c;

    if (after_first) {
        struct head first = {IPC_LANE_REQUESTS, 0, (uint32_t)len, 1000, 0};

        peer_send(w, &first, msg, len, 0, NULL);
    }
    peer_send(w, h, bytes, count, nfds, &left);
    UNTIL(w, w->nserver_gone == 1);
    assert_int_equal(w->server_gone.code, -EPROTO);
    assert_true(strlen(w->server_gone.msg) > 20);
    assert_int_equal(w->served, 0);
    if (left >= 0) {
        assert_int_equal(read(left, &c, 1), 0);
        (void)close(left);
    }
    turns(w, 2);
    assert_int_equal(w->nserver_gone, 1);
    world_free(w);
    assert_int_equal(count_fds(), before);
}

static void
test_a_client_that_sends_garbage(void **state)
{
    static uint8_t big[IPC_FRAGMENT_MAX + 100];
    uint8_t msg[256];
    uint32_t len = (uint32_t)a_request(msg, sizeof(msg), ISCSI_UEVENT_STOP_CONN, 0);
    uint32_t pdu;
    const struct head good = {IPC_LANE_REQUESTS, 0, len, 0, 0};
    struct head h;

#define BAD(field, value) (h = good, h.field = (value), &h)
    (void)state;
    server_refuses(BAD(lane, IPC_LANE_REPLIES), msg, len, 0, false);
    server_refuses(BAD(lane, IPC_LANE_EVENTS), msg, len, 0, false);
    server_refuses(BAD(lane, 3), msg, len, 0, false);
    server_refuses(BAD(lane, 255), msg, len, 1, false);
    server_refuses(BAD(zero, 1), msg, len, 0, false);
    server_refuses(BAD(len, 0), msg, len, 0, false);
    server_refuses(BAD(len, len - 1), msg, len, 0, false);
    server_refuses(BAD(len, IPC_MSG_MAX + 1), msg, len, 0, false);
    server_refuses(BAD(len, 65535), msg, len, 1, false);
    server_refuses(BAD(data_len, IPC_PDU_DATA_MAX + 1), msg, len, 0, false);
    server_refuses(BAD(data_len, UINT32_MAX), msg, len, 1, false);
    server_refuses(BAD(data_len, UINT32_MAX - len + 1), msg, len, 0, false);
    server_refuses(BAD(at, 1), msg, len - 1, 0, false);
    server_refuses(BAD(at, len), msg, len, 0, false);
    server_refuses(BAD(at, UINT32_MAX), msg, 1, 0, false);
    server_refuses(&good, msg, 0, 0, false); /* nothing behind the head */
    server_refuses(&good, big, sizeof(big), 1, false);
    server_refuses(&good, msg, len, 1, false); /* no request of this type brings a descriptor */
    len = (uint32_t)a_request(msg, sizeof(msg), ISCSI_UEVENT_BIND_CONN, 0);
    h = (struct head){IPC_LANE_REQUESTS, 0, len, 0, 0};
    server_refuses(&h, msg, len, 2, false);
    server_refuses(&h, msg, len, 4, false);
    msg[0] ^= 0x40; /* no message at all */
    server_refuses(&h, msg, len, 1, false);
    h.len = len - 4; /* a message that ends too early */
    msg[0] ^= 0x40;
    server_refuses(&h, msg, len - 4, 1, false);
    /* in the middle of another message */
    pdu = (uint32_t)a_request(msg, sizeof(msg), ISCSI_UEVENT_SEND_PDU, 1000);
    h = (struct head){IPC_LANE_REQUESTS, 0, pdu, 1000, 0};
    server_refuses(&h, msg, pdu, 0, true);
    h.at = pdu + 1;
    server_refuses(&h, big, 999, 0, true);
    h.at = pdu;
    server_refuses(&h, big, 1001, 0, true);
    server_refuses(&h, big, 10, 1, true); /* descriptors come at the beginning */
    h.data_len = 1001;
    server_refuses(&h, big, 10, 0, true);
    h.data_len = 1000;
    h.len = pdu + 1;
    server_refuses(&h, big, 10, 0, true);
#undef BAD
}

static void
client_refuses(const struct head *h, const uint8_t *bytes, size_t count, int nfds, unsigned asked)
{
    unsigned before = count_fds();
    struct world *w = world_new(true, false);
    int left = -1;
    char c;

    for (unsigned i = 0; i < asked; i++)
        assert_int_equal(request(w, ISCSI_UEVENT_STOP_CONN, 0), 0);
    turns(w, 2);
    peer_send(w, h, bytes, count, nfds, &left);
    UNTIL(w, w->nclient_gone == 1);
    assert_int_equal(w->client_gone.code, -EPROTO);
    assert_int_equal(w->replies + w->events, 0);
    if (left >= 0) {
        assert_int_equal(read(left, &c, 1), 0);
        (void)close(left);
    }
    world_free(w);
    assert_int_equal(count_fds(), before);
}

static void
test_a_server_that_sends_garbage(void **state)
{
    static uint8_t big[IPC_FRAGMENT_MAX];
    uint8_t msg[256];
    uint32_t len = (uint32_t)a_reply(msg, sizeof(msg));
    struct head h = {IPC_LANE_REPLIES, 0, len, 0, 0};

    (void)state;
    client_refuses(&h, msg, len, 0, 0); /* nothing was asked */
    client_refuses(&h, msg, len, 1, 1); /* no answer brings a descriptor */
    h.data_len = IPC_REPLY_DATA_MAX;    /* more than this answer has */
    client_refuses(&h, msg, len, 0, 1);
    h.data_len = IPC_REPLY_DATA_MAX + 1;
    client_refuses(&h, msg, len, 0, 1);
    h = (struct head){IPC_LANE_REQUESTS, 0, len, 0, 0};
    client_refuses(&h, msg, len, 0, 1);
    h = (struct head){IPC_LANE_EVENTS, 0, len, IPC_RECV_DATA_MAX + 1, 0};
    client_refuses(&h, msg, len, 0, 1);
    h = (struct head){IPC_LANE_EVENTS, 0, len, 0, 0}; /* no event */
    client_refuses(&h, msg, len, 0, 1);
    h = (struct head){IPC_LANE_REPLIES, 0, 40, 0, 0};
    client_refuses(&h, big, 40, 0, 1);
}

/* The other side goes in the middle of a message. */
static void
test_a_truncated_message(void **state)
{
    unsigned before = count_fds();
    struct world *w = world_new(false, true);
    uint8_t msg[128];
    uint32_t len = (uint32_t)a_request(msg, sizeof(msg), ISCSI_UEVENT_SEND_PDU, 200000);
    struct head h = {IPC_LANE_REQUESTS, 0, len, 200000, 0};

    (void)state;
    peer_send(w, &h, msg, len, 1, NULL);
    turns(w, 2);
    (void)close(w->peer);
    w->peer = -1;
    UNTIL(w, w->nserver_gone == 1);
    assert_int_equal(w->server_gone.code, -EPIPE);
    assert_int_equal(w->served, 0);
    world_free(w);
    assert_int_equal(count_fds(), before);
}

/* What the other side said before it went is heard, though it does not hear us any more: more than
 * is read at a time. */
static void
test_last_words(void **state)
{
    struct world *w = world_new(true, false);
    uint8_t msg[256];

    (void)state;
    for (unsigned i = 1; i <= 100; i++) {
        struct iscsi_kevent ev = {.type = ISCSI_KEVENT_EP_EVENT, .number = i};
        int len = ipc_encode_kevent(&ev, msg, sizeof(msg));
        struct head h = {IPC_LANE_EVENTS, 0, (uint32_t)len, 0, 0};

        assert_true(len > 0);
        peer_send(w, &h, msg, (size_t)len, 0, NULL);
    }
    (void)close(w->peer);
    w->peer = -1;
    turns(w, 1); /* the socket begins to read when the turn ends */
    assert_int_equal(request(w, ISCSI_UEVENT_STOP_CONN, 0), 0);
    UNTIL(w, w->nclient_gone == 1);
    assert_int_equal(w->events, 100);
    assert_int_equal(w->client_gone.code, -EPIPE);
    world_free(w);
}

/* ---- processes that are killed -------------------------------------------------------------- */

/* A child that is one end until it is killed. */
static pid_t
fork_end(bool client, int fd, int other)
{
    pid_t pid = fork();
    struct world *w;
    uint64_t number = 1;
    struct loop_config cfg = {.kind = kind};

    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when the test fails */
    (void)close(other);
    w = calloc(1, sizeof(*w));
    if (w == NULL || loop_new(&cfg, &w->l, NULL) < 0)
        _exit(1);
    w->peer = -1;
    if (client)
        client_begin(w, fd);
    else
        server_begin(w, fd);
    for (uint64_t n = 1;; n++) {
        if (client) {
            (void)close(request_bind(w));
            (void)request(w, ISCSI_UEVENT_SEND_PDU, (uint32_t)(n * 7919 % IPC_PDU_DATA_MAX));
        } else {
            /* One that is refused has not had its number. */
            number += event(w, number, (uint32_t)(n * 7919 % 300000)) == 0;
        }
        if (loop_run(w->l, 0) < 0 || w->nclient_gone + w->nserver_gone > 0)
            _exit(1);
    }
}

static void
kill_one(bool child_is_client, unsigned turns_before)
{
    unsigned before = count_fds();
    struct world *w = calloc(1, sizeof(*w));
    struct loop_config cfg = {.kind = kind};
    int sv[2], status;
    pid_t pid;

    assert_non_null(w);
    pair_of(sv);
    pid = fork_end(child_is_client, sv[0], sv[1]);
    (void)close(sv[0]);
    assert_int_equal(loop_new(&cfg, &w->l, NULL), 0);
    w->peer = -1;
    if (child_is_client)
        server_begin(w, sv[1]);
    else
        client_begin(w, sv[1]);
    for (unsigned i = 0; i < turns_before; i++) {
        if (!child_is_client) {
            (void)close(request_bind(w));
            assert_int_equal(request(w, ISCSI_UEVENT_SEND_PDU, 100000), 0);
        }
        assert_true(loop_run(w->l, (int64_t)LOOP_NS_PER_MS) >= 0);
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    if (!child_is_client) /* with a message and a descriptor on the way to nobody */
        (void)close(request_bind(w));
    UNTIL(w, w->nclient_gone + w->nserver_gone == 1);
    assert_int_equal(w->data_bad, 0);
    world_free(w);
    assert_int_equal(count_fds(), before);
}

static void
test_a_killed_server(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 24; i++)
        kill_one(false, i % 12);
}

static void
test_a_killed_client(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 24; i++)
        kill_one(true, i % 12);
}

/* An end that goes in the middle of what it sends: nothing is left open on either side. */
static void
test_an_end_that_is_freed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        unsigned before = count_fds();
        struct world *w = world_new(true, true);

        for (unsigned j = 0; j < 30; j++) {
            (void)close(request_bind(w));
            assert_int_equal(request(w, ISCSI_UEVENT_SEND_PDU, 70000), 0);
            (void)event(w, j + 1, 10000);
        }
        turns(w, i / 2);
        if (i % 2)
            client_end(w);
        else
            server_end(w);
        UNTIL(w, w->nclient_gone + w->nserver_gone == 1);
        assert_int_equal(w->data_bad, 0);
        world_free(w);
        assert_int_equal(count_fds(), before);
    }
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_of_all_sizes),
        cmocka_unit_test(test_answers_in_another_order),
        cmocka_unit_test(test_a_small_socket),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_a_client_that_does_not_read),
        cmocka_unit_test(test_events_are_bounded),
        cmocka_unit_test(test_requests_are_bounded),
        cmocka_unit_test(test_a_client_that_sends_garbage),
        cmocka_unit_test(test_a_server_that_sends_garbage),
        cmocka_unit_test(test_a_truncated_message),
        cmocka_unit_test(test_last_words),
        cmocka_unit_test(test_a_killed_server),
        cmocka_unit_test(test_a_killed_client),
        cmocka_unit_test(test_an_end_that_is_freed),
    };
    int r = loop_kind_named(argc, argv, &kind);

    return r != 0 ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
