/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_packets.c - local sockets that carry packets, and descriptors in them.
 *
 * What is sent is under way for a while, as if the receiver's process had to be woken first; it
 * arrives in order, and the end of the stream behind it.  Whether the other end is open the sender
 * is told at once, as the kernel knows.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "tests/sim/sim_net.h"
#include "tests/support/steady_alloc.h"

struct sim_packet {
    struct list node; /* end.packets, once it is there */
    size_t len;
    int fd; /* what goes with it; -1: nothing */
    uint8_t bytes[];
};

void
sim_packet_free(struct sim *sim, struct sim_packet *p)
{
    if (p->fd >= 0)
        sim_fd_close(sim, p->fd);
    steady_free(p);
}

void
sim_packets_drop(struct end *e)
{
    struct list *n;

    while ((n = list_pop_front(&e->packets)) != NULL)
        sim_packet_free(e->conn->sim, container_of(n, struct sim_packet, node));
    if (e->conn->packets)
        e->unread = 0;
}

void
sim_packet_arrive(struct end *to, struct sim_packet *p)
{
    to->flying -= p->len;
    if (to->state == END_CLOSED) {
        sim_packet_free(to->conn->sim, p);
        return;
    }
    to->unread += p->len;
    list_push_back(&to->packets, &p->node);
}

static int
sim_packets_connect(struct loop *l, const struct sock_addr *to, const struct stream_events *ev,
                    void *user, struct stream **ret)
{
    if (!is_local(to))
        return -EOPNOTSUPP;
    return sim_open(l, to, true, NULL, ev, user, ret);
}

static int
sim_packets_listen(struct loop *l, const struct sock_addr *at, const struct stream_events *ev,
                   void *user, struct stream **ret)
{
    if (!is_local(at))
        return -EOPNOTSUPP;
    return sim_hear(l, at, true, ev, user, ret, NULL);
}

static int
sim_packets_adopt(struct loop *l, int fd, const struct stream_events *ev, void *user,
                  struct stream **ret)
{
    return sim_take_over(l, fd, true, ev, user, ret);
}

static int
sim_packets_adopt_listener(struct loop *l, int fd, const struct stream_events *ev, void *user,
                           struct stream **ret)
{
    return sim_take_over_listener(l, fd, true, ev, user, ret);
}

static struct sim_packet *
packet_of(struct sim *sim, const struct iovec *iov, int n, size_t len)
{
    struct sim_packet *p = steady_calloc(1, sizeof(*p) + len);
    size_t at = 0;

    for (int i = 0; i < n; i++) {
        if (iov[i].iov_len > 0)
            memcpy(p->bytes + at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    p->len = len;
    p->fd = -1;
    sim_note_bytes(sim, p->bytes, len < 64 ? len : 64);
    return p;
}

/* Whether there is no room for it now.  Now and then it is said that there is none. */
static bool
is_full(struct end *e, size_t len)
{
    struct sim *sim = e->conn->sim;
    struct end *to = peer_of(e);
    bool lie = sim_chance(sim, sim->cfg.short_send_percent);

    e->room_wanted = len;
    if (room_for(to) >= len && !lie)
        return false;
    if (room_for(to) >= len)
        sim_schedule_room(e);
    e->s->want_write = true;
    e->s->out = false;
    return true;
}

static int
send_to(struct end *e, const struct iovec *iov, int n, size_t len, int fd)
{
    struct sim *sim = e->conn->sim;
    struct end *to = peer_of(e);
    struct sim_fd *f = fd >= 0 ? sim_fd_find(sim, fd) : NULL;
    struct sim_packet *p;

    if (fd >= 0 && f == NULL)
        return -EBADF;
    if (e->err < 0 && !e->err_told) {
        e->err_told = true;
        return e->err;
    }
    if (e->err < 0 || e->fin || e->conn->severed || to->state == END_CLOSED)
        return -EPIPE;
    if (len > to->cap)
        return -EMSGSIZE;
    if (is_full(e, len))
        return -EAGAIN;
    p = packet_of(sim, iov, n, len);
    if (f != NULL)
        p->fd = sim_fd_new(sim, f->ops, f->of, NULL);
    sim_push_seg(to, SEG_PACKET, len, p);
    return 0;
}

static int
sim_packets_send(struct stream *pub, const struct iovec *iov, int n, int fd)
{
    struct sim_stream *s = stream_of(pub);
    struct sim_loop *l = loop_of(s);
    size_t len = 0;
    int r;

    assert(!s->closed && s->packets && !s->connecting && !s->failed && n >= 0 && n <= IOV_MAX);
    for (int i = 0; i < n; i++)
        len += iov[i].iov_len;
    assert(len > 0);
    l->pub.stats.syscalls++;
    l->pub.stats.sends++;
    if (s->cut_off)
        return -EPIPE;
    r = send_to(s->end, iov, n, len, fd);
    sim_note(l->sim, NOTE_SEND, s->id, (uint64_t)r);
    if (r == 0)
        l->pub.stats.bytes_sent += len;
    return r;
}

static ssize_t
recv_from(struct end *e, void *buf, size_t size, int *ret_fd)
{
    struct sim *sim = e->conn->sim;
    struct sim_process *process = loop_of(e->s)->process;
    struct sim_packet *p;
    ssize_t r;

    if (list_empty(&e->packets)) {
        if (e->err < 0 && !e->err_told) {
            e->err_told = true;
            return e->err;
        }
        return e->err < 0 || e->fin ? 0 : -EAGAIN;
    }
    p = container_of(list_pop_front(&e->packets), struct sim_packet, node);
    e->unread -= p->len;
    if (peer_of(e)->s != NULL)
        sim_schedule_room(peer_of(e));
    r = p->len <= size ? (ssize_t)p->len : -EMSGSIZE;
    if (r > 0) {
        memcpy(buf, p->bytes, p->len);
        if (p->fd >= 0 && sim_fd_room(process)) {
            sim_fd_give(sim_fd_find(sim, p->fd), process);
            *ret_fd = p->fd;
            p->fd = -1;
        } else if (p->fd >= 0) {
            *ret_fd = -EMFILE;
        }
    }
    sim_packet_free(sim, p);
    return r;
}

static ssize_t
sim_packets_recv(struct stream *pub, void *buf, size_t size, int *ret_fd)
{
    struct sim_stream *s = stream_of(pub);
    struct sim_loop *l = loop_of(s);
    ssize_t r;

    assert(!s->closed && s->packets && !s->connecting && !s->failed);
    *ret_fd = -1;
    l->pub.stats.syscalls++;
    l->pub.stats.recvs++;
    if (s->cut_off)
        return 0;
    r = recv_from(s->end, buf, size, ret_fd);
    sim_note(l->sim, NOTE_RECV, s->id, (uint64_t)r);
    if (r > 0)
        l->pub.stats.bytes_received += (uint64_t)r;
    s->readable = r > 0 || r == -EMSGSIZE; /* only -EAGAIN says that there is no further one */
    if (!s->readable && !(s->want_write && s->out))
        list_del(&s->ready);
    return r;
}

const struct packet_ops sim_packet_ops = {
    .connect = sim_packets_connect,
    .listen = sim_packets_listen,
    .adopt = sim_packets_adopt,
    .adopt_listener = sim_packets_adopt_listener,
    .send = sim_packets_send,
    .recv = sim_packets_recv,
};
