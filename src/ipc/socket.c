/* SPDX-License-Identifier: MIT */
/* ipc/socket.c - a carrier over a local socket to another process.
 *
 * What is sent waits in `out` until the turn ends, and then goes in fragments as far as
 * the socket takes them.  A fragment that has come is put into the packet that it belongs
 * to; where there is no memory for that packet it is kept, and nothing more is read until
 * there is.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/fragment.h"

#define READ_BATCH 64   /* packets in one turn */
#define READ_LAST  4096 /* packets that are still read when nothing can be sent any more */
#define RETRY_MS   20   /* until memory or descriptors are asked for again */

struct ipc_socket {
    struct ipc_carrier carrier;
    struct ipc_receiver *receiver; /* carrier.client or carrier.server */
    struct loop *loop;
    struct stream *s;
    ipc_socket_gone_fn *gone;
    void *user;
    struct loop_work work;
    struct loop_timer retry;
    struct lunette_error why;
    bool server;
    bool failed;  /* why says it; nothing is sent or taken any more */
    bool told;    /* gone has been called */
    bool inside;  /* a callback of ours is under way, which ends with leave() */
    bool closing; /* leave() frees it */

    struct list out;
    uint32_t sent; /* bytes of the first of them */
    uint32_t packet_max;
    bool full;          /* the socket takes no more for now */
    uint64_t out_bytes; /* of memory */
    uint32_t nevents;
    uint64_t event_bytes;

    struct list asked;   /* client: packets of requests that are sent and have no answer */
    uint32_t unanswered; /* client: how many those are; server: requests taken and not answered */

    struct ipc_packet *first; /* server: what the acceptor has read */
    struct ipc_packet *in;    /* a message of which some fragments have come */
    uint32_t got;             /* bytes of it */
    bool reading;             /* the loop is to tell what can be received */
    uint32_t kept;            /* bytes in rx, a fragment that waits for memory; 0: none */
    int kept_fd;              /* what came with it */
    uint8_t rx[IPC_FRAGMENT_MAX];
};

static uint32_t
packet_bytes(const struct ipc_packet *p)
{
    return p->len + p->data_len;
}

/* What it takes while it waits: an answer has the memory of its request, which is that of the
 * longest answer. */
static uint64_t
packet_memory(const struct ipc_packet *p)
{
    return sizeof(*p) + p->room;
}

/* ---- the end -------------------------------------------------------------------------------- */

/* The owner is told later, at the end of the turn. */
static void
fail(struct ipc_socket *k, int err, const char *what)
{
    if (k->failed)
        return;
    k->failed = true;
    (void)lunette_fail(&k->why, err, LUNETTE_DOM_OS, (uint32_t)-err, "%s", what);
    loop_timer_stop(k->loop, &k->retry);
    loop_defer(k->loop, &k->work);
}

static void
broke_rules(struct ipc_socket *k, const char *what)
{
    fail(k, -EPROTO, what);
}

static void
drop_packets(struct ipc_socket *k, struct list *l)
{
    while (!list_empty(l))
        ipc_packet_drop(k->loop, container_of(list_pop_front(l), struct ipc_packet, node));
}

static void
socket_destroy(struct ipc_socket *k)
{
    loop_timer_stop(k->loop, &k->retry);
    loop_defer_cancel(&k->work);
    stream_close(k->s);
    drop_packets(k, &k->out);
    drop_packets(k, &k->asked);
    if (k->in != NULL)
        ipc_packet_drop(k->loop, k->in);
    if (k->first != NULL)
        ipc_packet_drop(k->loop, k->first);
    if (k->kept > 0)
        loop_close_fd(k->loop, k->kept_fd);
    free(k);
}

/* ---- sending -------------------------------------------------------------------------------- */

static int
socket_send(struct ipc_carrier *c, struct ipc_packet *p)
{
    struct ipc_socket *k = container_of(c, struct ipc_socket, carrier);
    uint32_t bytes = packet_bytes(p);

    assert((p->lane == IPC_LANE_REQUESTS) == !k->server);
    assert(p->len > 0 && p->len <= IPC_MSG_MAX && p->data_len <= ipc_lane_data_max(p->lane));
    if (p->lane == IPC_LANE_REPLIES) {
        assert(k->unanswered > 0);
        k->unanswered--;
    }
    if (k->failed)
        return -EPIPE;
    if (p->lane == IPC_LANE_EVENTS) {
        if (k->nevents > 0 && (k->nevents >= IPC_SOCKET_EVENTS_MAX ||
                               k->event_bytes + bytes > IPC_SOCKET_EVENT_BYTES_MAX))
            return -EAGAIN;
        k->nevents++;
        k->event_bytes += bytes;
    }
    k->out_bytes += packet_memory(p);
    list_push_back(&k->out, &p->node);
    loop_defer(k->loop, &k->work);
    return 0;
}

static const struct ipc_carrier_ops socket_carrier_ops = {.send = socket_send};

/* The first packet of `out` is on its way. */
static void
sent_one(struct ipc_socket *k)
{
    struct ipc_packet *p = container_of(list_pop_front(&k->out), struct ipc_packet, node);

    assert(k->out_bytes >= packet_memory(p));
    k->out_bytes -= packet_memory(p);
    k->sent = 0;
    if (p->lane == IPC_LANE_EVENTS) {
        assert(k->nevents > 0);
        k->nevents--;
        k->event_bytes -= packet_bytes(p);
    }
    if (k->server) {
        free(p);
        return;
    }
    list_push_back(&k->asked, &p->node);
    k->unanswered++;
}

/* Sends one fragment.  Returns 0, or -errno as stream_send_packet. */
static int
send_fragment(struct ipc_socket *k, struct ipc_packet *p)
{
    uint8_t head[IPC_FRAGMENT_HEAD];
    uint32_t left = packet_bytes(p) - k->sent, room = k->packet_max - IPC_FRAGMENT_HEAD;
    uint32_t n = left < room ? left : room;
    struct iovec iov[2] = {{head, sizeof(head)}, {p->bytes + k->sent, n}};
    int r;

    ipc_fragment_put(head, p, k->sent);
    r = stream_send_packet(k->s, iov, 2, k->sent == 0 ? p->fd : -1);
    if (r < 0)
        return r;
    loop_close_fd(k->loop, p->fd); /* the other process has one of its own now */
    p->fd = -1;
    k->sent += n;
    if (k->sent == packet_bytes(p))
        sent_one(k);
    return 0;
}

/* Whether there is something that may be sent. */
static bool
may_send(const struct ipc_socket *k)
{
    if (k->failed || k->full || list_empty(&k->out))
        return false;
    return k->server || k->sent > 0 || k->unanswered < IPC_SOCKET_REQUESTS_MAX;
}

/* Returns 0; or -errno, and then nothing can be sent any more. */
static int
flush(struct ipc_socket *k)
{
    while (may_send(k)) {
        int r = send_fragment(k, container_of(k->out.next, struct ipc_packet, node));

        if (r == -EMSGSIZE && k->packet_max / 2 >= IPC_FRAGMENT_MIN) {
            k->packet_max /= 2;
        } else if (r == -EAGAIN) {
            k->full = true;
        } else if (r == -ENOMEM || r == -ENOBUFS || r == -ETOOMANYREFS) {
            k->full = true;
            loop_timer_start(k->loop, &k->retry, RETRY_MS * LOOP_NS_PER_MS);
        } else if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* ---- receiving ------------------------------------------------------------------------------ */

/* The packet of a request that has had no answer yet, for an answer of so many bytes: the smallest
 * that has room, so that those that are left have room for all other answers. */
static struct ipc_packet *
take_asked(struct ipc_socket *k, uint32_t bytes)
{
    struct ipc_packet *best = NULL;

    LIST_FOREACH (n, &k->asked) {
        struct ipc_packet *p = container_of(n, struct ipc_packet, node);

        if (p->room >= bytes && (best == NULL || p->room < best->room))
            best = p;
        if (best != NULL && best->room <= IPC_MSG_MAX) /* there is none that is smaller */
            break;
    }
    if (best == NULL)
        return NULL;
    assert(k->unanswered > 0);
    k->unanswered--;
    list_del(&best->node);
    ipc_packet_reset(best);
    return best;
}

/* Gets a packet for the message that f begins.  Returns false where there is no memory, or none is
 * due. */
static bool
begin_message(struct ipc_socket *k, const struct ipc_fragment *f)
{
    if (k->server) {
        if (k->unanswered >= IPC_SOCKET_REQUESTS_MAX) {
            broke_rules(k, "the other process asks for more at a time than is allowed");
            return false;
        }
        k->in = ipc_request_packet(f->data_len);
    } else if (f->lane == IPC_LANE_REPLIES) {
        k->in = take_asked(k, f->len + f->data_len);
        if (k->in == NULL)
            broke_rules(k, "the other process answers what was not asked");
    } else {
        k->in = ipc_packet_new(f->len + f->data_len);
    }
    if (k->in == NULL)
        return false;
    k->in->lane = f->lane;
    k->in->len = f->len;
    k->in->data_len = f->data_len;
    k->got = 0;
    return true;
}

/* Whether f may come now. */
static bool
is_due(const struct ipc_socket *k, const struct ipc_fragment *f)
{
    if ((f->lane == IPC_LANE_REQUESTS) != k->server)
        return false;
    if (k->in == NULL)
        return f->at == 0;
    return f->lane == k->in->lane && f->len == k->in->len && f->data_len == k->in->data_len &&
           f->at == k->got;
}

static void
deliver(struct ipc_socket *k, struct ipc_packet *p)
{
    if (k->server)
        k->unanswered++;
    if (k->receiver->take != NULL)
        k->receiver->take(k->receiver->user, p);
    else
        ipc_packet_drop(k->loop, p);
}

/* Takes the packet of `size` bytes in rx, and the descriptor that came with it. */
static void
take_packet(struct ipc_socket *k, uint32_t size, int fd)
{
    struct ipc_fragment f;

    if (!ipc_fragment_get(k->rx, size, &f) || !is_due(k, &f) ||
        (fd >= 0 && (!k->server || f.at > 0))) {
        loop_close_fd(k->loop, fd);
        broke_rules(k, "the other process sent what no encoder writes");
        return;
    }
    if (k->in == NULL) {
        if (!begin_message(k, &f)) {
            if (k->failed) {
                loop_close_fd(k->loop, fd);
                return;
            }
            k->kept = size;
            k->kept_fd = fd;
            loop_timer_start(k->loop, &k->retry, RETRY_MS * LOOP_NS_PER_MS);
            return;
        }
        k->in->fd = fd;
    }
    memcpy(k->in->bytes + f.at, f.bytes, f.count);
    k->got += f.count;
    if (k->got == f.len + f.data_len) {
        struct ipc_packet *p = k->in;

        k->in = NULL;
        deliver(k, p);
    }
}

/* Whether the other side's messages are wanted now. */
static bool
may_read(const struct ipc_socket *k)
{
    return !k->failed && !k->closing && k->kept == 0 &&
           !(k->server && k->out_bytes > IPC_SOCKET_OUT_MAX);
}

/* Reads at most `batch` packets. */
static void
read_some(struct ipc_socket *k, unsigned batch)
{
    while (batch-- > 0 && may_read(k)) {
        int fd = -1;
        ssize_t r = stream_recv_packet(k->s, k->rx, sizeof(k->rx), &fd);

        if (r == -EAGAIN)
            return;
        if (r > 0)
            take_packet(k, (uint32_t)r, fd);
        else if (r == 0)
            fail(k, -EPIPE, "the other process has closed the connection, or has ended");
        else if (r == -EMSGSIZE || r == -EPROTO)
            broke_rules(k, "the other process sent a packet that is too long, or descriptors that "
                           "nobody needs");
        else
            fail(k, (int)r, errno_text((int)r));
    }
}

/* ---- callbacks ------------------------------------------------------------------------------ */

static void on_readable(void *user);
static void on_writable(void *user);

static const struct stream_events reading_events = {.readable = on_readable,
                                                    .writable = on_writable};
static const struct stream_events waiting_events = {.writable = on_writable};

static void
enter(struct ipc_socket *k)
{
    assert(!k->inside);
    k->inside = true;
}

/* Sends what there is, and frees k if its owner has asked for it meanwhile. */
static void
leave(struct ipc_socket *k)
{
    int r = k->closing ? 0 : flush(k);

    if (r < 0) { /* it may have said before it went what was wrong */
        k->out_bytes = 0;
        read_some(k, READ_LAST);
        fail(k, r, "the other process has closed the connection, or has ended");
    }
    k->inside = false;
    if (k->closing) {
        socket_destroy(k);
        return;
    }
    if (may_read(k) != k->reading) {
        k->reading = !k->reading;
        stream_set_events(k->s, k->reading ? &reading_events : &waiting_events, k);
    }
}

static void
on_readable(void *user)
{
    struct ipc_socket *k = user;

    enter(k);
    read_some(k, READ_BATCH);
    leave(k);
}

static void
on_writable(void *user)
{
    struct ipc_socket *k = user;

    enter(k);
    k->full = false;
    leave(k);
}

static void
socket_retry(struct loop_timer *t)
{
    struct ipc_socket *k = container_of(t, struct ipc_socket, retry);
    uint32_t size = k->kept;

    enter(k);
    k->full = false;
    k->kept = 0;
    if (size > 0)
        take_packet(k, size, k->kept_fd);
    leave(k);
}

static void
on_work(struct loop_work *w)
{
    struct ipc_socket *k = container_of(w, struct ipc_socket, work);
    struct ipc_packet *first = k->first;

    enter(k);
    k->first = NULL;
    if (first != NULL)
        deliver(k, first);
    if (k->failed && !k->told && !k->closing) {
        k->told = true;
        k->gone(k->user, &k->why);
    }
    leave(k);
}

/* ---- life ----------------------------------------------------------------------------------- */

static int
socket_new(struct stream *s, bool server, struct ipc_packet *first, ipc_socket_gone_fn *gone,
           void *user, struct ipc_socket **ret)
{
    struct ipc_socket *k = malloc(sizeof(*k)); /* rx is not touched before it is needed */

    if (k == NULL)
        return -ENOMEM;
    assert(gone != NULL);
    memset(k, 0, offsetof(struct ipc_socket, rx));
    k->carrier.ops = &socket_carrier_ops;
    k->carrier.client_loop = k->carrier.server_loop = s->loop;
    k->receiver = server ? &k->carrier.server : &k->carrier.client;
    k->loop = s->loop;
    k->s = s;
    k->gone = gone;
    k->user = user;
    k->server = server;
    k->first = first;
    k->packet_max = IPC_FRAGMENT_MAX;
    list_init(&k->out);
    list_init(&k->asked);
    loop_work_init(&k->work, on_work);
    loop_timer_init(&k->retry, socket_retry);
    /* Reading begins when the turn ends, after `first` and with an end on the carrier. */
    stream_set_events(s, &waiting_events, k);
    loop_defer(k->loop, &k->work);
    *ret = k;
    return 0;
}

int
ipc_socket_client_new(struct stream *s, ipc_socket_gone_fn *gone, void *user,
                      struct ipc_socket **ret)
{
    return socket_new(s, false, NULL, gone, user, ret);
}

int
ipc_socket_server_new(struct stream *s, struct ipc_packet *first, ipc_socket_gone_fn *gone,
                      void *user, struct ipc_socket **ret)
{
    assert(first == NULL || first->lane == IPC_LANE_REQUESTS);
    return socket_new(s, true, first, gone, user, ret);
}

struct ipc_carrier *
ipc_socket_carrier(struct ipc_socket *k)
{
    return &k->carrier;
}

void
ipc_socket_broken(void *socket, int err)
{
    fail(socket, err, "the other process sent a message that no encoder writes");
}

void
ipc_socket_free(struct ipc_socket *k)
{
    if (k == NULL)
        return;
    assert(k->receiver->take == NULL && !k->closing);
    if (!k->failed)
        (void)flush(k);
    k->closing = true;
    if (!k->inside)
        socket_destroy(k);
}
