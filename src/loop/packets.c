/* SPDX-License-Identifier: MIT */
/* loop/packets.c - streams of packets on sockets.  They are apart from those of bytes so that
 * moving bytes need not ask which of the two a stream is. */
#include <assert.h>
#include <errno.h>

#include "loop/sock.h"

static int
packets_connect(struct loop *l, const struct sock_addr *to, const struct stream_events *ev,
                void *user, struct stream **ret)
{
    if (to->ss.ss_family != AF_UNIX)
        return -EOPNOTSUPP;
    return sock_connect(l, to, SOCK_SEQPACKET, NULL, ev, user, ret);
}

static int
packets_listen(struct loop *l, const struct sock_addr *at, const struct stream_events *ev,
               void *user, struct stream **ret)
{
    if (at->ss.ss_family != AF_UNIX)
        return -EOPNOTSUPP;
    return sock_listen(l, at, SOCK_SEQPACKET, ev, user, ret, NULL);
}

static int
packets_adopt(struct loop *l, int fd, const struct stream_events *ev, void *user,
              struct stream **ret)
{
    assert(ev != NULL);
    return sock_adopt(l, fd, SOCK_SEQPACKET, SOCK_OPEN, ev, user, ret);
}

static int
packets_adopt_listener(struct loop *l, int fd, const struct stream_events *ev, void *user,
                       struct stream **ret)
{
    return sock_adopt_listener(l, fd, SOCK_SEQPACKET, ev, user, ret);
}

static int
packets_send(struct stream *pub, const struct iovec *iov, int n, int fd)
{
    struct sock *s = sock_of(pub);
    int r;

    assert(!s->closed && s->type == SOCK_SEQPACKET && s->state == SOCK_OPEN);
    assert(sock_total(iov, n) > 0); /* an empty packet would look like the end */
    r = local_send_packet(s->poll.fd, iov, n, fd, &pub->loop->stats);
    if (r == -EAGAIN) { /* the kernel will report room as an edge */
        s->want_write = true;
        s->out = false;
    }
    return r;
}

/* Only -EAGAIN says that there is no further packet. */
static ssize_t
packets_recv(struct stream *pub, void *buf, size_t size, int *ret_fd)
{
    struct sock *s = sock_of(pub);
    ssize_t r;

    assert(!s->closed && s->type == SOCK_SEQPACKET && s->state == SOCK_OPEN);
    r = local_recv_packet(s->poll.fd, buf, size, ret_fd, &pub->loop->stats);
    if (r <= 0 && r != -EMSGSIZE && r != -EPROTO) {
        s->readable = false;
        if (r == 0)
            s->ended = true;
        if (!sock_has_news(s))
            list_del(&s->ready);
    }
    return r;
}

const struct packet_ops real_packet_ops = {
    .connect = packets_connect,
    .listen = packets_listen,
    .adopt = packets_adopt,
    .adopt_listener = packets_adopt_listener,
    .send = packets_send,
    .recv = packets_recv,
};
