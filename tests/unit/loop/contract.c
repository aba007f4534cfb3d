/* SPDX-License-Identifier: MIT */
#include "tests/unit/loop/contract.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

#define MS       LOOP_NS_PER_MS
#define LIMIT_NS (20 * LOOP_NS_PER_S)
#define BULK     (6u << 20)
#define LEND_MIN 32768u

struct world {
    const struct loop_factory *f;
    struct loop *a, *b;
};

static const struct loop_factory *factory;

static int
setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    const char *why = NULL;

    assert_non_null(w);
    w->f = factory;
    if (!factory->make(&w->a, &w->b, &why)) {
        print_message("%s: %s\n", factory->name, why);
        free(w);
        w = NULL;
    }
    *state = w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;

    if (w != NULL)
        w->f->unmake(w->a, w->b);
    free(w);
    return 0;
}

static struct world *
enter(void **state)
{
    if (*state == NULL)
        skip();
    return *state;
}

/* Turns of both loops until cond, or failure. */
#define UNTIL(w, cond)                                                                             \
    do {                                                                                           \
        uint64_t limit_ = (w)->a->now_ns + LIMIT_NS;                                               \
        while (!(cond)) {                                                                          \
            assert_true(loop_run((w)->a, (int64_t)MS / 2) >= 0);                                   \
            assert_true(loop_run((w)->b, (int64_t)MS / 2) >= 0);                                   \
            if ((w)->a->now_ns > limit_)                                                           \
                fail_msg("never: %s", #cond);                                                      \
        }                                                                                          \
    } while (0)

static void
linger(struct world *w, uint64_t ns)
{
    uint64_t limit = w->a->now_ns + ns;

    while (w->a->now_ns < limit) {
        assert_true(loop_run(w->a, (int64_t)MS) >= 0);
        assert_true(loop_run(w->b, (int64_t)MS) >= 0);
    }
}

/* One end of a connection. */
struct end {
    struct loop *l;
    struct stream *s;
    int connects, connect_err, readables, writables;
    int err; /* of recvv: 1 the end, <0 an error */
    size_t got, sent, to_send;
    const uint8_t *lent; /* where the bytes to send stand, which stay there; NULL: they do not */
    size_t read_max;     /* bytes taken per callback; 0: until drained */
    int ignore;          /* callbacks that read nothing */
    bool close_on_data;  /* in ->readable */
    struct stream **also_close;
    bool in_call;
};

static uint8_t
pattern(size_t i)
{
    return (uint8_t)(i * 7 + (i >> 8) * 13 + (i >> 16));
}

static void
end_close(struct end *e)
{
    if (e->s != NULL)
        stream_close(e->s);
    e->s = NULL;
}

/* A header, then more than is copied, at odd places. */
static void
end_send_lent(struct end *e)
{
    while (e->sent < e->to_send) {
        size_t n = e->to_send - e->sent < 100000 ? e->to_send - e->sent : 100000;
        size_t head = n < 48 ? n : 48;
        uint8_t *p = (uint8_t *)(uintptr_t)e->lent + e->sent;
        struct iovec iov[2] = {{p, head}, {p + head, n - head}};
        ssize_t r;

        e->in_call = true;
        r = stream_sendv(e->s, iov, 2, n);
        e->in_call = false;
        if (r == -EAGAIN)
            return;
        assert_true(r > 0);
        e->sent += (size_t)r;
        if ((size_t)r < n)
            return;
    }
}

static void
end_send(struct end *e)
{
    static uint8_t buf[65536];

    if (e->lent != NULL) {
        end_send_lent(e);
        return;
    }

    while (e->sent < e->to_send) {
        size_t n = e->to_send - e->sent < sizeof(buf) ? e->to_send - e->sent : sizeof(buf);
        struct iovec iov[2] = {{buf, n / 3}, {buf + n / 3, n - n / 3}};
        ssize_t r;

        for (size_t i = 0; i < n; i++)
            buf[i] = pattern(e->sent + i);
        e->in_call = true;
        r = stream_sendv(e->s, iov, 2, n);
        e->in_call = false;
        if (r == -EAGAIN)
            return;
        assert_true(r > 0);
        e->sent += (size_t)r;
        if ((size_t)r < n)
            return;
    }
}

/* One receive of at most max bytes; false when there is nothing more. */
static bool
end_recv(struct end *e, size_t max)
{
    static uint8_t buf[100000];
    size_t n = max < sizeof(buf) ? max : sizeof(buf);
    struct iovec iov[2] = {{buf, n / 2}, {buf + n / 2, n - n / 2}};
    ssize_t r;

    e->in_call = true;
    r = stream_recvv(e->s, iov, 2);
    e->in_call = false;
    if (r == -EAGAIN)
        return false;
    if (r <= 0) {
        e->err = r == 0 ? 1 : (int)r;
        return false;
    }
    for (ssize_t i = 0; i < r; i++)
        assert_int_equal(buf[i], pattern(e->got + (size_t)i));
    e->got += (size_t)r;
    return true;
}

static void
on_connected(void *user, int err)
{
    struct end *e = user;

    assert_false(e->in_call);
    e->connects++;
    e->connect_err = err;
    if (err == 0)
        end_send(e);
}

static void
on_readable(void *user)
{
    struct end *e = user;

    assert_false(e->in_call);
    assert_non_null(e->s);
    e->readables++;
    if (e->also_close != NULL && *e->also_close != NULL) {
        stream_close(*e->also_close);
        *e->also_close = NULL;
    }
    if (e->close_on_data) {
        end_close(e);
        return;
    }
    if (e->readables <= e->ignore)
        return;
    if (e->read_max > 0) {
        (void)end_recv(e, e->read_max);
        return;
    }
    while (end_recv(e, SIZE_MAX)) {
    }
}

static void
on_writable(void *user)
{
    struct end *e = user;

    assert_false(e->in_call);
    e->writables++;
    end_send(e);
}

static const struct stream_events end_events = {
    .connected = on_connected, .readable = on_readable, .writable = on_writable};

/* A listener that gives its connections to ends[]. */
struct server {
    struct stream *s;
    struct sock_addr at, peer;
    struct end *ends[4];
    int accepted;
    bool close_new, close_self;
};

static void
on_accepted(void *user, struct stream *s, const struct sock_addr *peer)
{
    struct server *v = user;

    v->peer = *peer;
    if (v->close_self) {
        stream_close(v->s);
        v->s = NULL;
    }
    if (v->close_new || v->ends[v->accepted] == NULL) {
        stream_close(s);
    } else {
        v->ends[v->accepted]->s = s;
        v->ends[v->accepted]->l = s->loop;
        stream_set_events(s, &end_events, v->ends[v->accepted]);
    }
    v->accepted++;
}

static const struct stream_events server_events = {.accepted = on_accepted};

static struct sock_addr
loopback(int family)
{
    struct sock_addr a = {.len = sizeof(struct sockaddr_in)};

    if (family == AF_INET) {
        struct sockaddr_in *in = (void *)&a.ss;

        in->sin_family = AF_INET;
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else {
        struct sockaddr_in6 *in = (void *)&a.ss;

        in->sin6_family = AF_INET6;
        in->sin6_addr = in6addr_loopback;
        a.len = sizeof(*in);
    }
    return a;
}

static void
server_open(struct server *v, struct loop *l, int family)
{
    struct sock_addr at = loopback(family);
    int r = stream_listen(l, &at, &server_events, v, &v->s, &v->at);

    if (family == AF_INET6 && (r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT))
        skip();
    assert_int_equal(r, 0);
}

static void
end_connect(struct end *e, struct loop *l, const struct server *v, const struct stream_opts *opts)
{
    e->l = l;
    assert_int_equal(stream_connect(l, &v->at, opts, &end_events, e, &e->s), 0);
    assert_int_equal(e->connects, 0);
}

/* c on loop a, s on loop b, connected. */
struct pair {
    struct server v;
    struct end c, s;
};

static void
pair_open(struct world *w, struct pair *p)
{
    struct stream_opts opts = {.nodelay = true, .sndbuf = 65536, .rcvbuf = 65536};

    p->v.ends[0] = &p->s;
    server_open(&p->v, w->b, AF_INET);
    end_connect(&p->c, w->a, &p->v, &opts);
    UNTIL(w, p->c.connects > 0 && p->s.s != NULL);
    assert_int_equal(p->c.connect_err, 0);
    stream_close(p->v.s);
}

/* The same with small buffers, where c lends what it sends: BULK bytes that the caller frees. */
static uint8_t *
pair_open_lending(struct world *w, struct pair *p, uint32_t sndbuf)
{
    struct stream_opts opts = {.nodelay = true, .sndbuf = sndbuf, .rcvbuf = 65536};
    uint8_t *mem = malloc(BULK);

    assert_non_null(mem);
    for (size_t i = 0; i < BULK; i++)
        mem[i] = pattern(i);
    pair_open(w, p);
    assert_int_equal(stream_set_opts(p->c.s, &opts), 0);
    assert_int_equal(stream_lend(p->c.s, LEND_MIN), 0);
    p->c.lent = mem;
    return mem;
}

static void
pair_close(struct pair *p)
{
    end_close(&p->c);
    end_close(&p->s);
}

/* Timers. */

struct tick {
    struct loop_timer t;
    struct loop *l;
    uint64_t at_ns;
    int id, runs, again;
    int *log, *nlog;
    struct loop_timer *stop;
};

static void
on_tick(struct loop_timer *t)
{
    struct tick *k = container_of(t, struct tick, t);

    assert_false(loop_timer_running(t));
    k->runs++;
    k->at_ns = k->l->now_ns;
    if (k->log != NULL)
        k->log[(*k->nlog)++] = k->id;
    if (k->stop != NULL)
        loop_timer_stop(k->l, k->stop);
    if (k->again-- > 0)
        loop_timer_start(k->l, t, 0);
}

static void
test_timers_in_order(void **state)
{
    static const int delay_ms[] = {7, 3, 3, 0, 12, 3, 1};
    static const int want[] = {3, 6, 1, 2, 5, 0};
    struct world *w = enter(state);
    struct tick k[7];
    int log[16], n = 0;
    uint64_t t0;

    (void)loop_run(w->a, 0);
    t0 = w->a->now_ns;
    for (int i = 0; i < 7; i++) {
        k[i] = (struct tick){.l = w->a, .id = i, .log = log, .nlog = &n};
        loop_timer_init(&k[i].t, on_tick);
        loop_timer_start(w->a, &k[i].t, (uint64_t)delay_ms[i] * MS);
        assert_true(loop_timer_running(&k[i].t));
    }
    loop_timer_stop(w->a, &k[4].t);
    loop_timer_stop(w->a, &k[4].t);
    UNTIL(w, n == 6);
    assert_memory_equal(log, want, sizeof(want));
    for (int i = 0; i < 7; i++) {
        assert_int_equal(k[i].runs, i != 4);
        assert_true(i == 4 || k[i].at_ns >= t0 + (uint64_t)delay_ms[i] * MS);
    }
}

static void
test_timer_restart_moves_it(void **state)
{
    struct world *w = enter(state);
    struct tick k = {.l = w->a}, j = {.l = w->a};

    loop_timer_init(&k.t, on_tick);
    loop_timer_init(&j.t, on_tick);
    loop_timer_start(w->a, &k.t, 2 * MS);
    loop_timer_start(w->a, &j.t, 20 * MS);
    loop_timer_start(w->a, &k.t, 40 * MS);
    UNTIL(w, j.runs == 1);
    assert_int_equal(k.runs, 0);
    UNTIL(w, k.runs == 1);
    linger(w, 5 * MS);
    assert_int_equal(k.runs, 1);
}

static void
test_timer_stopped_by_another_of_the_same_turn(void **state)
{
    struct world *w = enter(state);
    struct tick k = {.l = w->a}, j = {.l = w->a};

    loop_timer_init(&k.t, on_tick);
    loop_timer_init(&j.t, on_tick);
    k.stop = &j.t;
    loop_timer_start(w->a, &k.t, MS);
    loop_timer_start(w->a, &j.t, MS);
    UNTIL(w, k.runs == 1);
    linger(w, 5 * MS);
    assert_int_equal(j.runs, 0);
}

static void
test_timer_of_no_delay_waits_for_the_next_turn(void **state)
{
    struct world *w = enter(state);
    struct tick k = {.l = w->a, .again = 3};

    loop_timer_init(&k.t, on_tick);
    loop_timer_start(w->a, &k.t, 0);
    for (int i = 1; i <= 4; i++) {
        assert_int_equal(loop_run(w->a, 0), 1);
        assert_int_equal(k.runs, i);
    }
    assert_int_equal(loop_run(w->a, 0), 0);
}

static void
test_run_gives_up_after_its_timeout(void **state)
{
    struct world *w = enter(state);
    uint64_t t0;

    (void)loop_run(w->a, 0);
    t0 = w->a->now_ns;
    assert_int_equal(loop_run(w->a, (int64_t)(5 * MS)), 0);
    assert_true(w->a->now_ns >= t0 + 5 * MS);
}

/* Work. */

struct job {
    struct loop_work w;
    struct loop *l;
    int id, runs, again;
    int *log, *nlog;
    struct job *also;
};

static void
on_work(struct loop_work *w)
{
    struct job *j = container_of(w, struct job, w);

    assert_true(list_empty(&w->node));
    j->runs++;
    if (j->log != NULL)
        j->log[(*j->nlog)++] = j->id;
    if (j->also != NULL)
        loop_defer(j->l, &j->also->w);
    if (j->again-- > 0)
        loop_defer(j->l, w);
}

static void
test_deferred_work_in_order(void **state)
{
    static const int want[] = {0, 1, 3, 4};
    struct world *w = enter(state);
    struct job j[5];
    int log[8], n = 0;

    for (int i = 0; i < 5; i++) {
        j[i] = (struct job){.l = w->a, .id = i, .log = log, .nlog = &n};
        loop_work_init(&j[i].w, on_work);
    }
    j[0].also = &j[4]; /* in the same turn */
    for (int i = 0; i < 4; i++)
        loop_defer(w->a, &j[i].w);
    loop_defer(w->a, &j[0].w); /* queued already */
    loop_defer_cancel(&j[2].w);
    loop_defer_cancel(&j[2].w);
    assert_int_equal(n, 0);
    assert_int_equal(loop_run(w->a, (int64_t)MS), 4);
    assert_int_equal(n, 4);
    assert_memory_equal(log, want, sizeof(want));
}

static void
test_deferred_work_is_bounded(void **state)
{
    struct world *w = enter(state);
    struct job j = {.l = w->a, .again = 100000}, k = {.l = w->a};
    int seen;

    loop_work_init(&j.w, on_work);
    loop_work_init(&k.w, on_work);
    loop_defer(w->a, &j.w);
    assert_true(loop_run(w->a, 0) > 0);
    assert_true(j.runs > 1 && j.runs < 10000);
    seen = j.runs;
    assert_true(loop_run(w->a, -1) > 0); /* goes on without waiting */
    assert_true(j.runs > seen);
    loop_post(w->a, &k.w);
    (void)loop_run(w->a, 0);
    assert_int_equal(k.runs, 1);
    loop_defer_cancel(&j.w);
    assert_int_equal(loop_run(w->a, 0), 0);
}

static void
test_posted_work_wakes(void **state)
{
    struct world *w = enter(state);
    struct job j = {.l = w->a}, k = {.l = w->a};

    loop_work_init(&j.w, on_work);
    loop_work_init(&k.w, on_work);
    loop_post(w->a, &j.w);
    loop_post(w->a, &k.w);
    assert_int_equal(j.runs, 0);
    assert_int_equal(loop_run(w->a, -1), 2);
    assert_int_equal(j.runs + k.runs, 2);
    loop_post(w->a, &j.w);
    assert_int_equal(loop_run(w->a, -1), 1);
    assert_int_equal(loop_run(w->a, 0), 0);
}

static void
test_random(void **state)
{
    struct world *w = enter(state);
    uint64_t x = loop_random(w->a), y = loop_random(w->a), z = loop_random(w->b);
    uint8_t buf[3][16] = {{0}};

    assert_true(x != y && y != z && x != z);
    assert_int_equal(loop_secure_random(w->a, buf[0], 16), 0);
    assert_int_equal(loop_secure_random(w->a, buf[1], 16), 0);
    assert_memory_not_equal(buf[0], buf[1], 16);
    assert_memory_not_equal(buf[0], buf[2], 16);
    assert_true(w->a->scratch_size >= 65536);
    assert_int_equal((uintptr_t)w->a->scratch % 64, 0);
    memset(w->a->scratch, 0, w->a->scratch_size);
}

/* Connections. */

static void
check_accept(struct world *w, int family)
{
    struct server v = {0};
    struct end c = {0}, s = {0};
    struct sock_addr cl, cp, sl, sp;
    char x[128], y[128];

    v.ends[0] = &s;
    server_open(&v, w->b, family);
    assert_int_equal(v.at.ss.ss_family, family);
    assert_int_not_equal(((struct sockaddr_in *)(void *)&v.at.ss)->sin_port, 0);
    end_connect(&c, w->a, &v, NULL);
    UNTIL(w, c.connects > 0 && v.accepted > 0);
    assert_int_equal(c.connect_err, 0);
    assert_int_equal(stream_names(c.s, &cl, &cp), 0);
    assert_int_equal(stream_names(s.s, &sl, &sp), 0);
    assert_int_equal(stream_names(s.s, NULL, NULL), 0);
    assert_string_equal(sock_addr_format(&cl, x, sizeof(x)), sock_addr_format(&sp, y, sizeof(y)));
    assert_string_equal(sock_addr_format(&cp, x, sizeof(x)), sock_addr_format(&sl, y, sizeof(y)));
    assert_string_equal(sock_addr_format(&cp, x, sizeof(x)), sock_addr_format(&v.at, y, sizeof(y)));
    assert_string_equal(sock_addr_format(&v.peer, x, sizeof(x)),
                        sock_addr_format(&cl, y, sizeof(y)));
    linger(w, 3 * MS);
    assert_int_equal(c.connects, 1);
    assert_int_equal(c.readables + s.readables + c.writables + s.writables, 0);
    end_close(&c);
    end_close(&s);
    stream_close(v.s);
}

static void
test_accept_v4(void **state)
{
    check_accept(enter(state), AF_INET);
}

static void
test_accept_v6(void **state)
{
    check_accept(enter(state), AF_INET6);
}

static void
test_connect_refused(void **state)
{
    struct world *w = enter(state);
    struct server v = {0};
    struct end c = {0};

    server_open(&v, w->b, AF_INET);
    stream_close(v.s);
    (void)loop_run(w->b, 0);
    end_connect(&c, w->a, &v, NULL);
    UNTIL(w, c.connects > 0);
    assert_int_equal(c.connect_err, -ECONNREFUSED);
    linger(w, 3 * MS);
    assert_int_equal(c.connects, 1);
    assert_int_equal(c.readables + c.writables, 0);
    end_close(&c);
}

static void
test_listen_twice_is_refused(void **state)
{
    struct world *w = enter(state);
    struct server v = {0};
    struct stream *s = NULL;
    struct sock_addr at;

    server_open(&v, w->b, AF_INET);
    assert_int_equal(stream_listen(w->b, &v.at, &server_events, &v, &s, &at), -EADDRINUSE);
    stream_close(v.s);
}

static void
test_close_while_connecting(void **state)
{
    struct world *w = enter(state);
    struct server v = {0};
    struct end c = {0};

    server_open(&v, w->b, AF_INET);
    end_connect(&c, w->a, &v, NULL);
    end_close(&c);
    linger(w, 5 * MS);
    assert_int_equal(c.connects, 0);
    stream_close(v.s);
}

static void
test_bulk_with_backpressure_both_ways(void **state)
{
    struct world *w = enter(state);
    struct pair p = {0};

    pair_open(w, &p);
    p.c.to_send = p.s.to_send = BULK;
    p.s.ignore = 3;
    end_send(&p.c);
    end_send(&p.s);
    assert_true(p.c.sent < BULK && p.s.sent < BULK);
    UNTIL(w, p.c.got == BULK && p.s.got == BULK);
    assert_true(p.c.writables > 0 && p.s.writables > 0);
    linger(w, 2 * MS);
    assert_int_equal(p.c.err, 0);
    assert_int_equal(p.s.err, 0);
    pair_close(&p);
}

static void
test_lent_bulk(void **state)
{
    static const uint32_t sndbuf[] = {4608, 65536, 1 << 20};
    struct world *w = enter(state);

    for (size_t i = 0; i < 3; i++) {
        struct pair p = {0};
        uint8_t *mem = pair_open_lending(w, &p, sndbuf[i]);

        p.c.to_send = BULK / (i == 0 ? 8 : 1);
        p.s.to_send = BULK / 8;
        p.s.read_max = i == 1 ? 20000 : 0;
        p.s.ignore = 3;
        end_send(&p.c);
        end_send(&p.s);
        assert_true(p.c.sent < BULK);
        UNTIL(w, p.s.got == p.c.to_send && p.c.got == BULK / 8);
        UNTIL(w, stream_unacked(p.c.s) == 0);
        assert_true(p.c.writables > 0);
        pair_close(&p); /* nothing is lent any more: in order */
        free(mem);
    }
}

/* What is taken and not acknowledged can be told, and does not leave after a close. */
static void
test_close_while_bytes_are_lent(void **state)
{
    struct world *w = enter(state);
    struct pair p = {0};
    uint8_t *mem = pair_open_lending(w, &p, 1 << 20);
    size_t there;
    int64_t unacked;

    p.c.to_send = BULK;
    p.s.ignore = INT32_MAX;
    end_send(&p.c);
    unacked = stream_unacked(p.c.s);
    assert_true(unacked > 0 && (size_t)unacked <= p.c.sent && p.c.sent < BULK);
    there = p.c.sent - (size_t)unacked; /* and perhaps more */
    end_close(&p.c);
    memset(mem + p.c.sent, 0, BULK - p.c.sent);
    p.s.ignore = 0;
    UNTIL(w, p.s.err != 0);
    assert_int_equal(p.s.err, -ECONNRESET);
    assert_true(p.s.got >= there && p.s.got < p.c.sent);
    pair_close(&p);
    free(mem);
}

static void
test_end_after_lent_data(void **state)
{
    struct world *w = enter(state);
    struct pair p = {0};
    uint8_t *mem = pair_open_lending(w, &p, 1 << 20);

    p.c.to_send = 60000;
    end_send(&p.c);
    UNTIL(w, p.c.sent == 60000 && p.s.got == 60000 && stream_unacked(p.c.s) == 0);
    end_close(&p.c);
    UNTIL(w, p.s.err != 0);
    assert_int_equal(p.s.err, 1);
    pair_close(&p);
    free(mem);
}

static void
test_writable_comes_once(void **state)
{
    struct world *w = enter(state);
    struct pair p = {0};
    size_t sent;

    pair_open(w, &p);
    p.c.to_send = BULK;
    p.s.ignore = INT32_MAX;
    end_send(&p.c);
    linger(w, 20 * MS);
    assert_int_equal(stream_unread(p.c.s), 0);
    assert_true(stream_unread(p.s.s) > 0 && (size_t)stream_unread(p.s.s) <= p.c.sent);
    sent = p.c.sent; /* both buffers are full */
    p.c.to_send = sent;
    p.c.writables = 0;
    p.s.ignore = 0;
    UNTIL(w, p.s.got == sent && p.c.writables > 0);
    linger(w, 10 * MS);
    assert_int_equal(p.c.writables, 1); /* nothing was sent in it */
    pair_close(&p);
}

static void
test_readable_comes_again_until_drained(void **state)
{
    struct world *w = enter(state);
    struct pair p = {0};

    pair_open(w, &p);
    p.s.read_max = 1;
    p.s.ignore = 5;
    p.c.to_send = 200;
    end_send(&p.c);
    UNTIL(w, p.s.got == 200);
    assert_true(p.s.readables >= 205);
    linger(w, 2 * MS);
    assert_true(p.s.readables <= 410);
    pair_close(&p);
}

static void
test_end_after_data(void **state)
{
    struct world *w = enter(state);
    struct pair p = {0};

    pair_open(w, &p);
    p.s.read_max = 1000;
    p.c.to_send = 30000;
    end_send(&p.c);
    assert_int_equal(p.c.sent, 30000);
    end_close(&p.c);
    UNTIL(w, p.s.err != 0);
    assert_int_equal(p.s.err, 1);
    assert_int_equal(p.s.got, 30000);
    p.s.readables = 0;
    linger(w, 3 * MS);
    assert_int_equal(p.s.readables, 0);
    pair_close(&p);
}

static void
test_reset_by_peer(void **state)
{
    struct world *w = enter(state);
    struct pair p = {0};

    pair_open(w, &p);
    p.s.ignore = INT32_MAX;
    p.c.to_send = 1000;
    end_send(&p.c);
    UNTIL(w, p.s.readables > 0);
    end_close(&p.s); /* with data unread */
    UNTIL(w, p.c.err != 0);
    assert_int_equal(p.c.err, -ECONNRESET);
    p.c.readables = 0;
    linger(w, 3 * MS);
    assert_int_equal(p.c.readables, 0);
    pair_close(&p);
}

/* A stream that is reset tells its peer of an error, not of the end, though all is read. */
static void
test_reset_is_an_error(void **state)
{
    struct world *w = enter(state);
    struct pair p = {0};

    pair_open(w, &p);
    p.c.to_send = 1000;
    end_send(&p.c);
    UNTIL(w, p.s.got == 1000);
    stream_reset(p.c.s);
    p.c.s = NULL;
    UNTIL(w, p.s.err != 0);
    assert_int_equal(p.s.err, -ECONNRESET);
    pair_close(&p);
}

static void
test_send_to_closed_peer_fails(void **state)
{
    struct world *w = enter(state);
    struct pair p = {0};
    struct iovec iov = {(void *)(uintptr_t) "x", 1};
    ssize_t r = 0;

    pair_open(w, &p);
    end_close(&p.s);
    UNTIL(w, p.c.err != 0);
    assert_int_equal(p.c.err, 1);
    for (int i = 0; i < 50 && (r = stream_sendv(p.c.s, &iov, 1, 1)) == 1; i++)
        linger(w, MS);
    assert_true(r == -EPIPE || r == -ECONNRESET);
    pair_close(&p);
}

static void
test_rcvlowat(void **state)
{
    struct world *w = enter(state);
    struct pair p = {0};

    pair_open(w, &p);
    assert_int_equal(stream_set_rcvlowat(p.s.s, 1000), 0);
    assert_int_equal(stream_set_rcvlowat(p.s.s, 1000), 0);
    p.c.to_send = 900;
    end_send(&p.c);
    linger(w, 20 * MS);
    assert_int_equal(p.s.readables, 0);
    p.c.to_send = 1000;
    end_send(&p.c);
    UNTIL(w, p.s.got == 1000);
    p.c.to_send = 1100;
    end_send(&p.c);
    linger(w, 20 * MS);
    assert_int_equal(p.s.got, 1000);
    assert_int_equal(stream_set_rcvlowat(p.s.s, 50), 0); /* they are there already */
    UNTIL(w, p.s.got == 1100);
    assert_int_equal(stream_set_rcvlowat(p.s.s, 5000), 0);
    p.c.to_send = 1101;
    end_send(&p.c);
    end_close(&p.c);
    UNTIL(w, p.s.err == 1); /* the end comes through */
    assert_int_equal(p.s.got, 1101);
    pair_close(&p);
}

static void
test_release_and_adopt(void **state)
{
    struct world *w = enter(state);
    struct pair p = {0};
    int fd;

    pair_open(w, &p);
    p.s.read_max = 7;
    p.c.to_send = 700;
    end_send(&p.c);
    UNTIL(w, p.s.got >= 7);
    assert_int_equal(stream_set_rcvlowat(p.s.s, 10000), 0);
    fd = stream_release(p.s.s);
    assert_true(fd >= 0);
    p.s.s = NULL;
    p.s.read_max = 0;
    linger(w, 2 * MS);
    assert_int_equal(stream_adopt(w->a, fd, &end_events, &p.s, &p.s.s), 0);
    assert_ptr_equal(p.s.s->loop, w->a);
    UNTIL(w, p.s.got == 700);
    p.s.to_send = BULK;
    end_send(&p.s);
    UNTIL(w, p.c.got == BULK);
    assert_int_equal(p.s.connects, 0);
    pair_close(&p);
    assert_true(stream_adopt(w->a, -1, &end_events, &p.s, &p.s.s) < 0);
}

/* Closing inside callbacks. */

static void
test_close_in_readable(void **state)
{
    struct world *w = enter(state);
    struct pair p = {0};

    pair_open(w, &p);
    p.s.close_on_data = true;
    p.c.to_send = 10;
    end_send(&p.c);
    UNTIL(w, p.s.readables > 0);
    linger(w, 5 * MS);
    assert_int_equal(p.s.readables, 1);
    pair_close(&p);
}

static void
test_close_another_ready_one(void **state)
{
    struct world *w = enter(state);
    struct pair p = {0}, q = {0};

    pair_open(w, &p);
    pair_open(w, &q);
    p.s.also_close = &q.s.s;
    q.s.also_close = &p.s.s;
    p.c.to_send = q.c.to_send = 10;
    end_send(&p.c);
    end_send(&q.c);
    UNTIL(w, p.s.readables + q.s.readables > 0);
    linger(w, 5 * MS);
    assert_true((p.s.s == NULL) != (q.s.s == NULL));
    pair_close(&p);
    pair_close(&q);
}

static void
close_in_connected(void *user, int err)
{
    struct end *e = user;

    (void)err;
    e->connects++;
    end_close(e);
}

static void
test_close_in_connected_and_accepted(void **state)
{
    static const struct stream_events ev = {.connected = close_in_connected};
    struct world *w = enter(state);
    struct server v = {.close_new = true};
    struct end c = {0}, d = {0};

    server_open(&v, w->b, AF_INET);
    assert_int_equal(stream_connect(w->a, &v.at, NULL, &ev, &c, &c.s), 0);
    UNTIL(w, c.connects == 1);
    linger(w, 5 * MS); /* it may or may not be seen by the listener */
    v.close_self = true;
    v.accepted = 0;
    end_connect(&d, w->a, &v, NULL);
    UNTIL(w, v.s == NULL && d.err != 0);
    end_close(&d);
}

static void
close_in_writable(void *user)
{
    struct end *e = user;

    e->writables++;
    end_close(e);
}

static void
test_close_in_writable(void **state)
{
    static const struct stream_events ev = {.readable = on_readable, .writable = close_in_writable};
    struct world *w = enter(state);
    struct pair p = {0};

    pair_open(w, &p);
    stream_set_events(p.c.s, &ev, &p.c);
    p.c.to_send = BULK;
    p.s.to_send = 100;
    end_send(&p.s);
    end_send(&p.c);
    UNTIL(w, p.c.writables > 0 && p.s.err != 0);
    linger(w, 5 * MS);
    assert_int_equal(p.c.writables, 1);
    pair_close(&p);
}

static void
test_set_events_changes_the_owner(void **state)
{
    struct world *w = enter(state);
    struct pair p = {0};
    struct end other = {.ignore = 1};

    pair_open(w, &p);
    p.s.ignore = INT32_MAX;
    p.c.to_send = 10;
    end_send(&p.c);
    UNTIL(w, p.s.readables > 0);
    other.s = p.s.s;
    stream_set_events(p.s.s, &end_events, &other);
    UNTIL(w, other.got == 10);
    pair_close(&p);
}

/* Names. */

struct answer {
    int calls, err, count;
    struct sock_addr addr[LOOP_RESOLVE_MAX];
};

static void
on_resolved(void *user, int err, const struct sock_addr *addr, int count)
{
    struct answer *a = user;

    a->calls++;
    a->err = err;
    a->count = count;
    assert_true(count >= 0 && count <= LOOP_RESOLVE_MAX);
    if (count > 0)
        memcpy(a->addr, addr, (size_t)count * sizeof(*addr));
}

static void
test_resolve(void **state)
{
    static const struct {
        const char *host, *text;
        int err;
    } rows[] = {
        {"127.0.0.1", "127.0.0.1:3260", 0},
        {"::1", "[::1]:3260", 0},
        {"fe80::5%1", NULL, 0},
        {"localhost", NULL, 0},
        {"1:2:3", NULL, -ENOENT},
        {"no-such-host.invalid", NULL, -1},
    };
    struct world *w = enter(state);
    struct resolve *r;
    char x[128];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct answer a = {0};

        assert_int_equal(loop_resolve(w->a, rows[i].host, 3260, on_resolved, &a, &r), 0);
        assert_int_equal(a.calls, 0);
        UNTIL(w, a.calls > 0);
        assert_int_equal(a.calls, 1);
        if (rows[i].err == -1)
            assert_true(a.err < 0);
        else
            assert_int_equal(a.err, rows[i].err);
        assert_int_equal(a.count > 0, a.err == 0);
        if (rows[i].text != NULL)
            assert_string_equal(sock_addr_format(&a.addr[0], x, sizeof(x)), rows[i].text);
    }
    assert_true(loop_resolve(w->a, "", 1, on_resolved, NULL, &r) < 0);
}

static void
test_resolve_cancel(void **state)
{
    static const char *hosts[] = {"127.0.0.1", "localhost"};
    struct world *w = enter(state);
    struct answer a = {0};
    struct resolve *r[40];

    for (int i = 0; i < 40; i++)
        assert_int_equal(loop_resolve(w->a, hosts[i % 2], 1, on_resolved, &a, &r[i]), 0);
    for (int i = 0; i < 40; i++) {
        if (i % 4 < 2)
            loop_resolve_cancel(w->a, r[i]);
    }
    UNTIL(w, a.calls == 20);
    linger(w, 20 * MS);
    assert_int_equal(a.calls, 20);
}

int
contract_run(const struct loop_factory *f)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest contract[] = {
        T(test_timers_in_order),
        T(test_timer_restart_moves_it),
        T(test_timer_stopped_by_another_of_the_same_turn),
        T(test_timer_of_no_delay_waits_for_the_next_turn),
        T(test_run_gives_up_after_its_timeout),
        T(test_deferred_work_in_order),
        T(test_deferred_work_is_bounded),
        T(test_posted_work_wakes),
        T(test_random),
        T(test_accept_v4),
        T(test_accept_v6),
        T(test_connect_refused),
        T(test_listen_twice_is_refused),
        T(test_close_while_connecting),
        T(test_bulk_with_backpressure_both_ways),
        T(test_lent_bulk),
        T(test_close_while_bytes_are_lent),
        T(test_end_after_lent_data),
        T(test_writable_comes_once),
        T(test_readable_comes_again_until_drained),
        T(test_end_after_data),
        T(test_reset_by_peer),
        T(test_reset_is_an_error),
        T(test_send_to_closed_peer_fails),
        T(test_rcvlowat),
        T(test_release_and_adopt),
        T(test_close_in_readable),
        T(test_close_another_ready_one),
        T(test_close_in_connected_and_accepted),
        T(test_close_in_writable),
        T(test_set_events_changes_the_owner),
        T(test_resolve),
        T(test_resolve_cancel),
    };

    factory = f;
    print_message("loop: %s\n", f->name);
    return cmocka_run_group_tests(contract, NULL, NULL);
}
