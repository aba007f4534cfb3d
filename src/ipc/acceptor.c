/* SPDX-License-Identifier: MIT */
/* ipc/acceptor.c - new connections: who is it, and which loop is meant?
 *
 * A connection that has said nothing is a pending one.  There are few of them at a time,
 * and the oldest goes when there are too many or when it has been silent for too long: so
 * nobody can lock others out by saying nothing.
 */
#include "ipc/acceptor.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/fragment.h"

#define LOG_EVERY_MS 1000 /* strangers are mentioned at most so often */

struct pending {
    struct list node; /* of ipc_acceptor.pending, the oldest first */
    struct ipc_acceptor *acceptor;
    struct stream *s;
    uint64_t until_ns;
};

struct ipc_acceptor {
    struct loop *loop;
    struct stream *listener;
    uint32_t loops;
    ipc_accepted_fn *accepted;
    void *user;
    struct list pending;
    unsigned npending;
    uint32_t hello_ms;
    struct loop_timer timer; /* for the oldest */
    uint64_t log_from_ns;
    const uid_t *allowed;
    unsigned nallowed;
    struct ipc_acceptor_stats stats;
    uint8_t rx[IPC_FRAGMENT_MAX];
};

static void
start_timer(struct ipc_acceptor *a)
{
    const struct pending *p;
    uint64_t now = a->loop->now_ns;

    loop_timer_stop(a->loop, &a->timer);
    if (list_empty(&a->pending))
        return;
    p = container_of(a->pending.next, struct pending, node);
    loop_timer_start(a->loop, &a->timer, p->until_ns > now ? p->until_ns - now : 0);
}

/* Frees p and returns its stream. */
static struct stream *
pending_end(struct pending *p)
{
    struct ipc_acceptor *a = p->acceptor;
    struct stream *s = p->s;

    assert(a->npending > 0);
    a->npending--;
    list_del(&p->node);
    free(p);
    start_timer(a);
    return s;
}

/* ---- HELLO ---------------------------------------------------------------------------------- */

/* Says why, as far as the socket takes it. */
static void
refuse(struct ipc_acceptor *a, struct stream *s, const struct iscsi_uevent *ev,
       const struct lunette_error *why)
{
    struct iscsi_reply rep = {.type = ev->type, .seq = ev->seq, .err = why->code, .why = *why};
    uint8_t head[IPC_FRAGMENT_HEAD], msg[IPC_MSG_MAX];
    int len = ipc_encode_reply(&rep, msg, sizeof(msg));
    struct ipc_packet p = {.lane = IPC_LANE_REPLIES, .len = (uint32_t)len};
    struct iovec iov[2] = {{head, sizeof(head)}, {msg, (size_t)len}};

    assert(len > 0);
    a->stats.refused++;
    ipc_fragment_put(head, &p, 0);
    (void)stream_send_packet(s, iov, 2, -1);
    stream_close(s);
}

/* Reads a packet that must be a HELLO, whole and alone.  Returns its packet, or NULL. */
static struct ipc_packet *
hello_of(struct ipc_acceptor *a, size_t size, int fd, struct iscsi_uevent *ev)
{
    struct ipc_fragment f;
    struct ipc_packet *p;

    if (fd >= 0 || !ipc_fragment_get(a->rx, size, &f) || f.lane != IPC_LANE_REQUESTS || f.at != 0 ||
        f.data_len != 0 || f.count != f.len || ipc_decode_uevent(f.bytes, f.len, ev) < 0 ||
        ev->type != ISCSI_UEVENT_HELLO)
        return NULL;
    p = ipc_request_packet(0);
    if (p == NULL)
        return NULL;
    p->lane = f.lane;
    p->len = f.len;
    memcpy(p->bytes, f.bytes, f.len);
    return p;
}

/* Reads what c has said.  False: nothing yet; else c is freed. */
static bool
pending_look(struct pending *c)
{
    struct ipc_acceptor *a = c->acceptor;
    struct lunette_error why = {.code = 0};
    struct iscsi_uevent ev;
    struct ipc_packet *p;
    struct stream *s;
    int fd = -1;
    ssize_t r = stream_recv_packet(c->s, a->rx, sizeof(a->rx), &fd);

    if (r == -EAGAIN)
        return false;
    s = pending_end(c);
    p = r > 0 ? hello_of(a, (size_t)r, fd, &ev) : NULL;
    if (p == NULL) {
        loop_close_fd(a->loop, fd);
        if (r == 0)
            a->stats.silent++;
        else
            a->stats.impostors++;
        stream_close(s);
    } else if (ipc_hello_check(&ev, a->loops, &why) < 0) {
        free(p);
        refuse(a, s, &ev, &why);
    } else {
        a->stats.accepted++;
        a->accepted(a->user, ev.u.hello.loop, s, p);
    }
    return true;
}

static void
pending_readable(void *user)
{
    (void)pending_look(user);
}

static const struct stream_events pending_events = {.readable = pending_readable};

/* The oldest has to go, unless it has said HELLO meanwhile: one turn may bring more connections
 * than may be pending, and time may have passed while the loop was busy. */
static void
drop_oldest(struct ipc_acceptor *a)
{
    struct pending *c = container_of(a->pending.next, struct pending, node);

    if (pending_look(c))
        return;
    a->stats.silent++;
    stream_close(pending_end(c));
}

static void
on_timer(struct loop_timer *t)
{
    drop_oldest(container_of(t, struct ipc_acceptor, timer));
}

/* ---- connections ---------------------------------------------------------------------------- */

static bool
user_is_let_in(const struct ipc_acceptor *a, uid_t uid)
{
    unsigned i = 0;

    while (i < a->nallowed && a->allowed[i] != uid)
        i++;
    return uid == geteuid() || uid == 0 || i < a->nallowed;
}

/* Only our own user and root command our sessions, and whom the owner lets in, wherever the socket
 * stands. */
static bool
peer_is_ours(struct ipc_acceptor *a, struct stream *s)
{
    uid_t uid = 0;
    pid_t pid = 0;
    int r = stream_peer_cred(s, &uid, &pid);

    if (r == 0 && user_is_let_in(a, uid))
        return true;
    a->stats.strangers++;
    if (a->loop->now_ns < a->log_from_ns)
        return false;
    a->log_from_ns = a->loop->now_ns + LOG_EVERY_MS * LOOP_NS_PER_MS;
    if (r < 0)
        log_line(a->loop->log, LOG_LEVEL_WARN,
                 "a client was turned away: who it is, nobody says: %s", errno_text(r));
    else
        log_line(a->loop->log, LOG_LEVEL_WARN,
                 "a client was turned away: process %d belongs to user %u", (int)pid,
                 (unsigned)uid);
    return false;
}

static void
on_accepted(void *user, struct stream *s, const struct sock_addr *peer)
{
    struct ipc_acceptor *a = user;
    struct pending *c;

    (void)peer;
    if (!peer_is_ours(a, s)) {
        stream_close(s);
        return;
    }
    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        if (a->stats.starved++ == 0)
            log_line(a->loop->log, LOG_LEVEL_WARN,
                     "a client was turned away: no memory; this is not told again");
        stream_close(s);
        return;
    }
    *c = (struct pending){
        .acceptor = a, .s = s, .until_ns = a->loop->now_ns + a->hello_ms * LOOP_NS_PER_MS};
    list_push_back(&a->pending, &c->node);
    a->npending++;
    stream_set_events(s, &pending_events, c);
    if (a->npending == 1)
        start_timer(a);
    if (a->npending > IPC_ACCEPTOR_PENDING)
        drop_oldest(a);
}

static const struct stream_events listener_events = {.accepted = on_accepted};

int
ipc_acceptor_new(struct loop *l, const struct sock_addr *at, int fd, uint32_t loops,
                 ipc_accepted_fn *accepted, void *user, struct ipc_acceptor **ret,
                 struct lunette_error *err)
{
    struct ipc_acceptor *a = malloc(sizeof(*a)); /* rx is not touched before it is needed */
    char text[SOCK_PATH_MAX + 2] = "the socket that was handed over";
    int r;

    if (a == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    assert(loops > 0 && accepted != NULL);
    memset(a, 0, offsetof(struct ipc_acceptor, rx));
    a->loop = l;
    a->loops = loops;
    a->hello_ms = IPC_ACCEPTOR_HELLO_MS;
    a->accepted = accepted;
    a->user = user;
    list_init(&a->pending);
    loop_timer_init(&a->timer, on_timer);
    if (at != NULL) {
        (void)sock_addr_format(at, text, sizeof(text));
        r = stream_listen_packets(l, at, &listener_events, a, &a->listener);
    } else {
        r = stream_adopt_packet_listener(l, fd, &listener_events, a, &a->listener);
    }
    if (r < 0) {
        free(a);
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "cannot listen at %s: %s", text,
                            r == -EADDRINUSE ? "somebody listens there already, or it is no socket"
                                             : errno_text(r));
    }
    *ret = a;
    return 0;
}

void
ipc_acceptor_set_hello_ms(struct ipc_acceptor *a, uint32_t ms)
{
    a->hello_ms = ms;
}

void
ipc_acceptor_allow(struct ipc_acceptor *a, const uid_t *uids, unsigned n)
{
    a->allowed = uids;
    a->nallowed = n;
}

void
ipc_acceptor_free(struct ipc_acceptor *a)
{
    if (a == NULL)
        return;
    while (!list_empty(&a->pending))
        stream_close(pending_end(container_of(a->pending.next, struct pending, node)));
    stream_close(a->listener);
    free(a);
}

const struct ipc_acceptor_stats *
ipc_acceptor_get_stats(const struct ipc_acceptor *a)
{
    return &a->stats;
}
