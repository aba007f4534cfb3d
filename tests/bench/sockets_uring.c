/* SPDX-License-Identifier: MIT */
/* tests/bench/sockets_uring.c - the bare sockets on io_uring: of each connection one receive under
 * way, and one gathered send.  docs/design/io-uring.md says why not otherwise. */
#include "tests/bench/sockets.h"

#if HAVE_URING

#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ENTRIES 256

enum kind { RECEIVED = 1, SENT = 2 };

struct uring_conn {
    bool receiving, sending;
    char *room; /* its own, since the kernel writes there at any time */
    struct msghdr in, out;
    struct iovec in_iov[2], out_iov[IOV_MAX_USED];
};

struct uring {
    struct io_uring ring;
    struct uring_conn conns[LOAD_SESSIONS_MAX];
};

static void
set_up(struct side *s, struct uring *u)
{
    struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
    int r = io_uring_queue_init_params(ENTRIES, &u->ring, &p);

    if (r < 0)
        load_die("io_uring: %s", strerror(-r));
    for (uint32_t i = 0; i < s->nconns; i++) {
        u->conns[i].room = malloc(STAGING);
        if (u->conns[i].room == NULL)
            load_die("no memory");
        memset(u->conns[i].room, 0, STAGING);
    }
}

static void
tag(struct io_uring_sqe *e, uint32_t conn, enum kind kind)
{
    e->user_data = (uint64_t)conn << 8 | kind;
}

static void
prepare(struct side *s, struct uring *u, uint32_t i)
{
    struct conn *c = &s->conns[i];
    struct uring_conn *uc = &u->conns[i];

    if (c->due > 0 && !uc->sending) {
        struct io_uring_sqe *e = io_uring_get_sqe(&u->ring);
        int n = list_due(s, c, uc->out_iov);

        uc->out = (struct msghdr){.msg_iov = uc->out_iov, .msg_iovlen = (size_t)n};
        io_uring_prep_sendmsg(e, c->fd, &uc->out, MSG_NOSIGNAL | MSG_WAITALL);
        tag(e, i, SENT);
        uc->sending = true;
    }
    if (!uc->receiving) {
        struct io_uring_sqe *e = io_uring_get_sqe(&u->ring);
        int n = list_room(s, c, uc->room, uc->in_iov);

        set_lowat(s, c);
        uc->in = (struct msghdr){.msg_iov = uc->in_iov, .msg_iovlen = (size_t)n};
        io_uring_prep_recvmsg(e, c->fd, &uc->in, 0);
        tag(e, i, RECEIVED);
        uc->receiving = true;
    }
}

static void
completed(struct side *s, struct uring *u, const struct io_uring_cqe *e)
{
    uint32_t i = (uint32_t)(e->user_data >> 8);
    struct conn *c = &s->conns[i];
    bool sent = (e->user_data & 0xff) == SENT;

    if (sent)
        u->conns[i].sending = false;
    else
        u->conns[i].receiving = false;
    if (e->res < 0 || (e->res == 0 && !sent)) {
        if (s->client)
            load_die("the peer is gone");
        c->closed = true;
    } else if (sent) {
        bytes_sent(s, c, (size_t)e->res);
    } else {
        bytes_received(s, c, u->conns[i].room, (size_t)e->res);
    }
}

void
run_uring(struct side *s)
{
    struct uring *u = calloc(1, sizeof(*u));

    if (u == NULL)
        load_die("no memory");
    set_up(s, u);
    while (!side_over(s)) {
        struct io_uring_cqe *e;
        unsigned head, n = 0;

        for (uint32_t i = 0; i < s->nconns; i++) {
            if (!s->conns[i].closed)
                prepare(s, u, i);
        }
        (void)io_uring_submit_and_wait(&u->ring, 1);
        s->calls++;
        io_uring_for_each_cqe(&u->ring, head, e)
        {
            n++;
            completed(s, u, e);
        }
        io_uring_cq_advance(&u->ring, n);
    }
    io_uring_queue_exit(&u->ring);
    for (uint32_t i = 0; i < s->nconns; i++)
        free(u->conns[i].room);
    free(u);
}

#else

void
run_uring(struct side *s)
{
    (void)s;
    load_die("built without io_uring");
}

#endif
