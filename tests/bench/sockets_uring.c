/* SPDX-License-Identifier: MIT */
/* tests/bench/sockets_uring.c - the bare sockets on io_uring: a multishot receive into provided
 * buffers, one gathered send under way. */
#include "tests/bench/sockets.h"

#if HAVE_URING

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define BUFFERS     64
#define BUFFER_SIZE ((size_t)65536)
#define GROUP       1
#define ENTRIES     256
#define COMPLETIONS 4096

enum kind { RECEIVED = 1, SENT = 2 };

struct uring_conn {
    bool armed, sending;
    struct msghdr m;
    struct iovec iov[IOV_MAX_USED];
};

struct uring {
    struct io_uring ring;
    struct io_uring_buf_ring *buffers;
    char *memory;
    int given_back;
    struct uring_conn conns[LOAD_SESSIONS_MAX];
};

static void
set_up(struct uring *u)
{
    struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                         IORING_SETUP_CQSIZE,
                                .cq_entries = COMPLETIONS};
    int r = io_uring_queue_init_params(ENTRIES, &u->ring, &p);

    if (r < 0)
        load_die("io_uring: %s", strerror(-r));
    u->buffers = mmap(NULL, BUFFERS * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE,
                      MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    u->memory = aligned_alloc(4096, BUFFERS * BUFFER_SIZE);
    if (u->buffers == MAP_FAILED || u->memory == NULL)
        load_die("no memory");
    memset(u->memory, 0, BUFFERS * BUFFER_SIZE);
    struct io_uring_buf_reg reg = {
        .ring_addr = (uintptr_t)u->buffers, .ring_entries = BUFFERS, .bgid = GROUP};
    r = io_uring_register_buf_ring(&u->ring, &reg, 0);
    if (r < 0)
        load_die("io_uring's buffers: %s", strerror(-r));
    io_uring_buf_ring_init(u->buffers);
    for (unsigned short i = 0; i < BUFFERS; i++)
        io_uring_buf_ring_add(u->buffers, u->memory + i * BUFFER_SIZE, (unsigned)BUFFER_SIZE, i,
                              io_uring_buf_ring_mask(BUFFERS), i);
    io_uring_buf_ring_advance(u->buffers, BUFFERS);
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

    if (!uc->armed) {
        struct io_uring_sqe *e = io_uring_get_sqe(&u->ring);

        io_uring_prep_recv_multishot(e, c->fd, NULL, 0, 0);
        e->flags |= IOSQE_BUFFER_SELECT;
        e->buf_group = GROUP;
        tag(e, i, RECEIVED);
        uc->armed = true;
    }
    if (c->due > 0 && !uc->sending) {
        struct io_uring_sqe *e = io_uring_get_sqe(&u->ring);
        int n = list_due(s, c, uc->iov);

        if (n == 1) {
            io_uring_prep_send(e, c->fd, uc->iov[0].iov_base, uc->iov[0].iov_len,
                               MSG_NOSIGNAL | MSG_WAITALL);
        } else {
            uc->m = (struct msghdr){.msg_iov = uc->iov, .msg_iovlen = (size_t)n};
            io_uring_prep_sendmsg(e, c->fd, &uc->m, MSG_NOSIGNAL | MSG_WAITALL);
        }
        tag(e, i, SENT);
        uc->sending = true;
    }
}

static void
closed(struct side *s, struct conn *c)
{
    if (s->client)
        load_die("the peer is gone");
    c->closed = true;
}

static void
received(struct side *s, struct uring *u, uint32_t i, const struct io_uring_cqe *e)
{
    struct conn *c = &s->conns[i];

    if ((e->flags & IORING_CQE_F_MORE) == 0)
        u->conns[i].armed = false;
    if (e->res == -ENOBUFS)
        return;
    if (e->res <= 0) {
        closed(s, c);
        return;
    }
    unsigned id = e->flags >> IORING_CQE_BUFFER_SHIFT;
    char *b = u->memory + id * BUFFER_SIZE;
    units_done(s, c, consume(s, c, b, (size_t)e->res));
    io_uring_buf_ring_add(u->buffers, b, (unsigned)BUFFER_SIZE, (unsigned short)id,
                          io_uring_buf_ring_mask(BUFFERS), u->given_back++);
}

static void
completed(struct side *s, struct uring *u, const struct io_uring_cqe *e)
{
    uint32_t i = (uint32_t)(e->user_data >> 8);

    if ((e->user_data & 0xff) == RECEIVED) {
        received(s, u, i, e);
        return;
    }
    u->conns[i].sending = false;
    if (e->res < 0)
        closed(s, &s->conns[i]);
    else
        bytes_sent(s, &s->conns[i], (size_t)e->res);
}

void
run_uring(struct side *s)
{
    struct uring *u = calloc(1, sizeof(*u));

    if (u == NULL)
        load_die("no memory");
    set_up(u);
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
        io_uring_buf_ring_advance(u->buffers, u->given_back);
        u->given_back = 0;
    }
    io_uring_queue_exit(&u->ring);
    (void)munmap(u->buffers, BUFFERS * sizeof(struct io_uring_buf));
    free(u->memory);
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
