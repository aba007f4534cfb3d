/* SPDX-License-Identifier: MIT */
/* mem_loop.h - a loop in memory: timers on a clock that the test sets forward, deferred work, and
 * streams whose bytes the test puts in and takes out.  Nothing of it comes from the system, so that
 * the same input is the same run. */
#ifndef TESTS_FUZZ_MEM_LOOP_H
#define TESTS_FUZZ_MEM_LOOP_H

#include <errno.h>

#include "base/list.h"
#include "base/timerq.h"
#include "seam/loop.h"
#include "tests/fuzz/fuzz.h"

#define MEM_SCRATCH 8192 /* small, so that long PDUs come in pieces */

struct mem_loop {
    struct loop l;
    struct timerq timers;
    struct list deferred;
    uint64_t rng;
    uint8_t scratch[MEM_SCRATCH];
};

struct mem_stream {
    struct stream base;
    const struct stream_events *ev;
    void *user;
    const uint8_t *in; /* borrowed until mem_feed returns */
    size_t in_len;
    bool eof, open, stuck, want_room;
    uint8_t *out;
    size_t out_len, out_size;
};

static inline struct mem_loop *
mem_of(struct loop *l)
{
    return container_of(l, struct mem_loop, l);
}

static inline struct mem_stream *
mem_stream_of(struct stream *s)
{
    return container_of(s, struct mem_stream, base);
}

static inline void
mem_timer_stop(struct loop *l, struct loop_timer *t)
{
    if (t->node.queued)
        timerq_del(&mem_of(l)->timers, &t->node);
}

static inline void
mem_timer_start(struct loop *l, struct loop_timer *t, uint64_t delay_ns)
{
    mem_timer_stop(l, t);
    timerq_add(&mem_of(l)->timers, &t->node, l->now_ns + delay_ns);
}

static inline void
mem_defer(struct loop *l, struct loop_work *w)
{
    list_push_back(&mem_of(l)->deferred, &w->node);
}

static inline uint64_t
mem_random(struct loop *l)
{
    return mem_of(l)->rng = mem_of(l)->rng * 6364136223846793005ull + 1442695040888963407ull;
}

static inline int
mem_secure_random(struct loop *l, void *buf, size_t len)
{
    (void)l;
    memset(buf, 0x5a, len); /* so that an input can hold the right CHAP response */
    return 0;
}

static inline void
mem_set_events(struct stream *s, const struct stream_events *ev, void *user)
{
    mem_stream_of(s)->ev = ev;
    mem_stream_of(s)->user = user;
}

static inline ssize_t
mem_sendv(struct stream *s, const struct iovec *iov, int n, size_t total)
{
    struct mem_stream *m = mem_stream_of(s);
    size_t sum = 0, room = m->stuck ? 100 : SIZE_MAX;

    CHECK(m->open);
    m->want_room = room < total;
    for (int i = 0; i < n && sum < room; i++) {
        size_t len = iov[i].iov_len < room - sum ? iov[i].iov_len : room - sum;

        if (m->out_size - m->out_len < len) {
            m->out_size = 2 * (m->out_len + len);
            m->out = realloc(m->out, m->out_size);
            CHECK(m->out != NULL);
        }
        memcpy(m->out + m->out_len, iov[i].iov_base, len);
        m->out_len += len;
        sum += len;
    }
    CHECK(sum == (room < total ? room : total));
    return (ssize_t)sum;
}

static inline ssize_t
mem_recvv(struct stream *s, const struct iovec *iov, int n)
{
    struct mem_stream *m = mem_stream_of(s);
    size_t sum = 0;

    CHECK(m->open);
    for (int i = 0; i < n && m->in_len > 0; i++) {
        size_t len = iov[i].iov_len < m->in_len ? iov[i].iov_len : m->in_len;

        memcpy(iov[i].iov_base, m->in, len);
        m->in += len;
        m->in_len -= len;
        sum += len;
    }
    return sum > 0 ? (ssize_t)sum : m->eof ? 0 : -EAGAIN;
}

static inline int
mem_set_rcvlowat(struct stream *s, uint32_t bytes)
{
    (void)s;
    (void)bytes;
    return 0;
}

static inline int
mem_set_opts(struct stream *s, const struct stream_opts *opts)
{
    (void)s;
    (void)opts;
    return 0;
}

static inline int
mem_names(struct stream *s, struct sock_addr *ret_local, struct sock_addr *ret_peer)
{
    (void)s;
    (void)ret_local;
    (void)ret_peer;
    return -ENOTSUP;
}

static inline void
mem_close(struct stream *s)
{
    CHECK(mem_stream_of(s)->open);
    mem_stream_of(s)->open = false;
}

static const struct loop_ops mem_loop_ops = {
    .name = "mem",
    .timer_start = mem_timer_start,
    .timer_stop = mem_timer_stop,
    .defer = mem_defer,
    .random = mem_random,
    .secure_random = mem_secure_random,
    .set_events = mem_set_events,
    .sendv = mem_sendv,
    .recvv = mem_recvv,
    .set_rcvlowat = mem_set_rcvlowat,
    .set_opts = mem_set_opts,
    .names = mem_names,
    .close = mem_close,
    .reset = mem_close,
};

static inline void
mem_loop_init(struct mem_loop *m)
{
    memset(m, 0, sizeof(*m));
    m->l.ops = &mem_loop_ops;
    m->l.now_ns = 1000000000;
    m->l.scratch = m->scratch;
    m->l.scratch_size = MEM_SCRATCH;
    list_init(&m->deferred);
}

static inline void
mem_work(struct mem_loop *m)
{
    unsigned bound = 0;
    struct list *n;

    while ((n = list_pop_front(&m->deferred)) != NULL) {
        CHECK(++bound < 100000);
        container_of(n, struct loop_work, node)->fn(container_of(n, struct loop_work, node));
    }
}

/* Time passes by ns, with every timer at its time. */
static inline void
mem_advance(struct mem_loop *m, uint64_t ns)
{
    uint64_t end = m->l.now_ns + ns;
    struct timerq_node *n;

    while ((n = timerq_first(&m->timers)) != NULL && n->when_ns <= end) {
        struct loop_timer *t = container_of(n, struct loop_timer, node);

        timerq_del(&m->timers, n);
        if (n->when_ns > m->l.now_ns)
            m->l.now_ns = n->when_ns;
        t->fn(t);
        mem_work(m);
    }
    m->l.now_ns = end;
    mem_work(m);
}

/* There is room in the stream again, or for little at a time from now on. */
static inline void
mem_room(struct mem_loop *m, struct mem_stream *s, bool stuck)
{
    s->stuck = stuck;
    if (s->open && s->want_room && s->ev->writable != NULL) {
        s->want_room = false;
        s->ev->writable(s->user);
    }
    mem_work(m);
}

/* The owner of s receives len bytes, and then the end of the stream if eof.  An owner that does not
 * receive for a while, since it cannot send, is given room. */
static inline void
mem_feed(struct mem_loop *m, struct mem_stream *s, const uint8_t *bytes, size_t len, bool eof)
{
    uint8_t *copy = fuzz_copy(bytes, len);
    unsigned bound = 0;

    s->in = copy;
    s->in_len = len;
    s->eof = eof;
    while (s->open && (s->in_len > 0 || eof)) {
        size_t before = s->in_len;

        CHECK(++bound < 10000);
        if (s->ev->readable != NULL)
            s->ev->readable(s->user);
        mem_work(m);
        if (s->open && s->in_len == before) {
            mem_advance(m, 1000000);
            mem_room(m, s, false);
        }
    }
    s->in_len = 0;
    free(copy);
}

#endif
