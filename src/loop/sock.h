/* SPDX-License-Identifier: MIT */
/* loop/sock.h - a stream on a socket, for the two files that move what flows in it: stream.c, which
 * owns it and moves bytes, and packets.c above it. */
#ifndef LOOP_SOCK_H
#define LOOP_SOCK_H

#include "loop/real.h"

enum sock_state { SOCK_CONNECTING, SOCK_OPEN, SOCK_LISTENING, SOCK_FAILED };

/* What only a listener has. */
struct sock_listening {
    struct sock *s;
    struct loop_timer retry; /* of one that ran out of descriptors or memory */
    uint32_t starved; /* how often it did, since a connection was taken; told the first time */
    struct local_file *file; /* owned: where it has made a socket file, */
    struct loop_timer look;  /* which is looked at, since others may remove it */
    int file_err;            /* what was found then and told: 0, or -errno */
};

struct sock {
    struct stream pub;
    struct pollee poll;
    struct list ready; /* real_loop.ready */
    struct list dead;  /* real_loop.dead */
    const struct stream_events *ev;
    void *user;
    int family, type;
    int connect_err; /* -errno with which connect() itself failed, or 0 */
    uint32_t lowat;
    struct lend *lend;         /* owned; NULL where all that is sent is copied */
    struct sock_listening *at; /* owned; NULL: no listener */
    enum sock_state state;
    bool registered;
    bool settled;    /* CONNECTING: the kernel knows whether it succeeded */
    bool readable;   /* there may be bytes, or the end, to receive */
    bool out;        /* the kernel has reported room to send, and no send has filled it since */
    bool want_write; /* a send was cut short: the owner is to be told when there is room */
    bool hung_up;    /* the end or an error has come, behind the bytes that are still to receive */
    bool ended;      /* a receive has returned 0 to the owner */
    bool closed;
};

static inline struct sock *
sock_of(struct stream *s)
{
    return container_of(s, struct sock, pub);
}

/* Whether there is something to tell the owner. */
static inline bool
sock_has_news(const struct sock *s)
{
    if (s->state == SOCK_CONNECTING)
        return s->settled;
    if (s->state == SOCK_LISTENING)
        return s->readable;
    return s->state == SOCK_OPEN &&
           ((s->readable && s->ev->readable != NULL) || (s->want_write && s->out));
}

static inline size_t
sock_total(const struct iovec *iov, int n)
{
    size_t sum = 0;

    for (int i = 0; i < n; i++)
        sum += iov[i].iov_len;
    return sum;
}

/* As the functions of seam/loop.h, for sockets of that type. */
int sock_connect(struct loop *l, const struct sock_addr *to, int type,
                 const struct stream_opts *opts, const struct stream_events *ev, void *user,
                 struct stream **ret);
/* Binds a new socket to what opts names, for a connection to `to`, which is of IPv4 or IPv6. */
int sock_bind_source(struct stream *s, const struct stream_opts *opts, const struct sock_addr *to);
int sock_listen(struct loop *l, const struct sock_addr *at, int type,
                const struct stream_events *ev, void *user, struct stream **ret,
                struct sock_addr *ret_bound);
int sock_adopt(struct loop *l, int fd, int type, enum sock_state state,
               const struct stream_events *ev, void *user, struct stream **ret);
int sock_adopt_listener(struct loop *l, int fd, int type, const struct stream_events *ev,
                        void *user, struct stream **ret);

#endif
