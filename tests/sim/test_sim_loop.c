/* SPDX-License-Identifier: MIT */
/* The simulated loop against the contract, and what it promises besides: the same seed is the same
 * run, and the faults that it is asked for. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "tests/sim/sim_loop.h"
#include "tests/test.h"
#include "tests/unit/loop/contract.h"

#define MS      LOOP_NS_PER_MS
#define SEC     LOOP_NS_PER_S
#define PAYLOAD 300000u

static struct sim *contract_sim;
static uint64_t contract_seed;

static bool
make(struct loop **a, struct loop **b, const char **why)
{
    (void)why;
    contract_sim = sim_new(contract_seed, NULL);
    *a = sim_loop(contract_sim);
    *b = sim_loop(contract_sim);
    return true;
}

static void
unmake(struct loop *a, struct loop *b)
{
    (void)a;
    (void)b;
    sim_free(contract_sim);
}

static int
bell(void)
{
    return sim_bell(contract_sim);
}

static void
bell_ring(int fd)
{
    sim_bell_ring(contract_sim, fd, 0);
}

static uint64_t
bell_read(int fd)
{
    return sim_bell_read(contract_sim, fd);
}

static void
bell_free(int fd)
{
    sim_bell_free(contract_sim, fd);
}

/* Nobody executes anything in the simulator. */
static bool
closes_on_exec(int fd)
{
    return fd >= 0;
}

static unsigned
open_fds(void)
{
    return sim_fds(contract_sim);
}

/* A client that sends PAYLOAD bytes and a server that sends them back. */
struct end {
    struct stream *s;
    size_t got, sent, to_send;
    int connected, err; /* err: 1 the end */
    uint64_t err_ns;
    bool server;
};

struct world {
    struct sim *sim;
    struct loop *a, *b;
    struct stream *listener;
    struct sock_addr at;
    struct end c, s;
    int accepted;
};

static uint8_t
pattern(size_t i)
{
    return (uint8_t)(i * 11 + (i >> 9) * 5);
}

static void
end_failed(struct end *e, int err)
{
    if (e->err != 0) /* TCP tells an error once, and the end after it */
        return;
    e->err_ns = e->s->loop->now_ns;
    e->err = err;
}

static void
end_send(struct end *e)
{
    uint8_t buf[5000];

    while (e->sent < e->to_send && e->err <= 0) {
        size_t n = e->to_send - e->sent < sizeof(buf) ? e->to_send - e->sent : sizeof(buf);
        struct iovec iov = {buf, n};
        ssize_t r;

        for (size_t i = 0; i < n; i++)
            buf[i] = pattern(e->sent + i);
        r = stream_sendv(e->s, &iov, 1, n);
        if (r == -EAGAIN)
            return;
        if (r < 0) {
            end_failed(e, (int)r);
            return;
        }
        e->sent += (size_t)r;
        if ((size_t)r < n)
            return;
    }
}

static void
on_connected(void *user, int err)
{
    struct end *e = user;

    e->connected++;
    if (err < 0)
        end_failed(e, err);
    else
        end_send(e);
}

static void
on_readable(void *user)
{
    struct end *e = user;
    uint8_t buf[3000];
    struct iovec iov[2] = {{buf, 1000}, {buf + 1000, 2000}};
    ssize_t r = stream_recvv(e->s, iov, 2);

    if (r == -EAGAIN)
        return;
    if (r <= 0) {
        end_failed(e, r == 0 ? 1 : (int)r);
        return;
    }
    for (ssize_t i = 0; i < r; i++)
        assert_int_equal(buf[i], pattern(e->got + (size_t)i));
    e->got += (size_t)r;
    if (e->server) {
        e->to_send = e->got;
        end_send(e);
    }
}

static void
on_writable(void *user)
{
    end_send(user);
}

static const struct stream_events events = {
    .connected = on_connected, .readable = on_readable, .writable = on_writable};

static void
on_accepted(void *user, struct stream *s, const struct sock_addr *peer)
{
    struct world *w = user;

    (void)peer;
    w->accepted++;
    if (w->s.s != NULL)
        stream_close(w->s.s);
    w->s = (struct end){.s = s, .server = true};
    stream_set_events(s, &events, &w->s);
}

static const struct stream_events listener_events = {.accepted = on_accepted};

static void
world_open(struct world *w, uint64_t seed, const struct sim_config *cfg)
{
    struct sock_addr at = {.len = sizeof(struct sockaddr_in)};

    *w = (struct world){.sim = sim_new(seed, cfg)};
    w->a = sim_loop(w->sim);
    w->b = sim_loop(w->sim);
    ((struct sockaddr_in *)(void *)&at.ss)->sin_family = AF_INET;
    ((struct sockaddr_in *)(void *)&at.ss)->sin_addr.s_addr = htonl(0x0a000001);
    assert_int_equal(stream_listen(w->b, &at, &listener_events, w, &w->listener, &w->at), 0);
}

static void
world_connect(struct world *w, const struct stream_opts *opts)
{
    w->c.to_send = PAYLOAD;
    assert_int_equal(stream_connect(w->a, &w->at, opts, &events, &w->c, &w->c.s), 0);
}

static void
world_close(struct world *w)
{
    if (w->c.s != NULL)
        stream_close(w->c.s);
    if (w->s.s != NULL)
        stream_close(w->s.s);
    stream_close(w->listener);
    sim_free(w->sim);
}

static bool
finished(void *user)
{
    const struct world *w = user;

    return w->c.err != 0 || w->c.got == PAYLOAD;
}

static bool
both_failed(void *user)
{
    const struct world *w = user;

    return w->c.err != 0 && w->s.err != 0;
}

static bool
half_way(void *user)
{
    const struct world *w = user;

    return w->s.got >= PAYLOAD / 2;
}

static bool
never(void *user)
{
    (void)user;
    return false;
}

static uint64_t
echo_hash(uint64_t seed, const struct sim_config *cfg)
{
    struct world w;
    uint64_t hash;

    world_open(&w, seed, cfg);
    world_connect(&w, NULL);
    assert_true(sim_run_until(w.sim, finished, &w, 60 * SEC));
    if (w.c.err == 0)
        assert_int_equal(w.s.got, PAYLOAD);
    hash = sim_hash(w.sim);
    world_close(&w);
    return hash;
}

static void
test_same_seed_same_run(void **state)
{
    struct sim_config faulty = sim_rough;
    uint64_t last = 0;

    (void)state;
    faulty.reset_ppm = faulty.eof_ppm = 5000;
    faulty.refuse_ppm = faulty.lose_ppm = 50000;
    faulty.connect_timeout_ms = 3000;
    for (uint64_t seed = 0; seed < 50; seed++) {
        const struct sim_config *cfg = seed % 3 == 0 ? NULL : seed % 3 == 1 ? &sim_rough : &faulty;
        uint64_t hash = echo_hash(seed, cfg);

        assert_true(hash == echo_hash(seed, cfg));
        assert_true(hash != last);
        last = hash;
    }
}

static void
test_rough_network_loses_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed < 200; seed++) {
        struct world w;

        world_open(&w, seed, &sim_rough);
        world_connect(&w, NULL);
        assert_true(sim_run_until(w.sim, finished, &w, 600 * SEC));
        assert_int_equal(w.c.err, 0);
        assert_int_equal(w.c.got, PAYLOAD);
        stream_close(w.c.s);
        w.c.s = NULL;
        w.c.err = 1;
        assert_true(sim_run_until(w.sim, both_failed, &w, SEC));
        assert_int_equal(w.s.err, 1);
        assert_int_equal(w.s.got, PAYLOAD);
        world_close(&w);
    }
}

static void
test_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        enum sim_cut how = seed % 2 == 0 ? SIM_RESET : SIM_EOF;
        struct world w;

        world_open(&w, seed, seed % 4 < 2 ? NULL : &sim_rough);
        world_connect(&w, NULL);
        assert_true(sim_run_until(w.sim, half_way, &w, 60 * SEC));
        assert_int_equal(sim_cut(w.sim, &w.at, how), 1);
        assert_int_equal(sim_cut(w.sim, &w.at, how), 0);
        assert_true(sim_run_until(w.sim, both_failed, &w, 60 * SEC));
        assert_true(w.c.err == -ECONNRESET || (how == SIM_EOF && w.c.err == 1));
        assert_true(w.s.err == -ECONNRESET || (how == SIM_EOF && w.s.err == 1));
        world_close(&w);
    }
}

static void
test_cut_after_bytes(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        uint64_t n = 1 + seed * 3001;
        struct world w;

        world_open(&w, seed, &sim_rough);
        sim_cut_after(w.sim, &w.at, SIM_EOF, n, UINT64_MAX);
        world_connect(&w, NULL);
        assert_true(sim_run_until(w.sim, both_failed, &w, 60 * SEC));
        assert_int_equal(w.s.err, 1);
        assert_int_equal(w.s.got, n);
        stream_close(w.c.s);
        w.c = (struct end){0};
        world_connect(&w, NULL); /* the next one is not cut */
        assert_true(sim_run_until(w.sim, finished, &w, 60 * SEC));
        assert_int_equal(w.c.got, PAYLOAD);
        world_close(&w);
    }
}

static void
test_refused_then_not(void **state)
{
    struct world w;

    (void)state;
    world_open(&w, 1, NULL);
    sim_refuse(w.sim, NULL, true);
    world_connect(&w, NULL);
    assert_true(sim_run_until(w.sim, finished, &w, SEC));
    assert_int_equal(w.c.err, -ECONNREFUSED);
    stream_close(w.c.s);
    sim_refuse(w.sim, NULL, false);
    w.c = (struct end){0};
    world_connect(&w, NULL);
    assert_true(sim_run_until(w.sim, finished, &w, SEC));
    assert_int_equal(w.c.err, 0);
    world_close(&w);
}

static void
test_lost_attempt_times_out(void **state)
{
    struct sim_config cfg = {.lose_ppm = 1000000, .connect_timeout_ms = 5000};
    struct world w;
    uint64_t t0;

    (void)state;
    world_open(&w, 1, &cfg);
    t0 = sim_now_ns(w.sim);
    world_connect(&w, NULL);
    assert_true(sim_run_until(w.sim, finished, &w, 60 * SEC));
    assert_int_equal(w.c.err, -ETIMEDOUT);
    assert_true(w.c.err_ns - t0 >= 5 * SEC && w.c.err_ns - t0 < 6 * SEC);
    world_close(&w);
}

static void
test_stall_holds_and_heals(void **state)
{
    struct world w;
    size_t got;

    (void)state;
    world_open(&w, 3, &sim_rough);
    sim_stall(w.sim, &w.at, true);
    world_connect(&w, NULL);
    assert_false(sim_run_until(w.sim, finished, &w, SEC));
    assert_int_equal(w.c.connected + w.accepted, 0);
    sim_stall(w.sim, &w.at, false);
    assert_true(sim_run_until(w.sim, half_way, &w, 60 * SEC));
    sim_stall(w.sim, &w.at, true);
    (void)sim_run_until(w.sim, finished, &w, SEC);
    got = w.s.got;
    assert_false(sim_run_until(w.sim, finished, &w, SEC));
    assert_int_equal(w.s.got, got);
    sim_stall(w.sim, &w.at, false);
    assert_true(sim_run_until(w.sim, finished, &w, 60 * SEC));
    assert_int_equal(w.c.got, PAYLOAD);
    world_close(&w);
}

static void
test_user_timeout(void **state)
{
    struct stream_opts opts = {.user_timeout_ms = 7000};
    struct world w;
    uint64_t t0;

    (void)state;
    world_open(&w, 4, NULL);
    world_connect(&w, &opts);
    assert_true(sim_run_until(w.sim, half_way, &w, 60 * SEC));
    sim_stall(w.sim, NULL, true);
    t0 = sim_now_ns(w.sim);
    assert_true(sim_run_until(w.sim, finished, &w, 60 * SEC));
    assert_int_equal(w.c.err, -ETIMEDOUT);
    assert_true(w.c.err_ns - t0 >= 7 * SEC && w.c.err_ns - t0 < 8 * SEC);
    world_close(&w);
}

/* A connection has the source and the device that were asked for. */
static void
test_bound(void **state)
{
    struct stream_opts opts = {.device = "eth7", .source = {.len = sizeof(struct sockaddr_in)}};
    struct sockaddr_in *in = (void *)&opts.source.ss;
    struct sock_addr local;
    struct stream *no;
    struct world w;
    char text[64];

    (void)state;
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(0x0a000063);
    world_open(&w, 5, NULL);
    world_connect(&w, &opts);
    assert_true(sim_run_until(w.sim, finished, &w, 60 * SEC));
    assert_string_equal(sim_device(w.c.s), "eth7");
    assert_int_equal(stream_names(w.c.s, &local, NULL), 0);
    assert_memory_equal(sock_addr_format(&local, text, sizeof(text)), "10.0.0.99:", 10);
    opts.source.ss.ss_family = AF_INET6;
    opts.source.len = sizeof(struct sockaddr_in6);
    assert_int_equal(stream_connect(w.a, &w.at, &opts, &events, &w.c, &no), -EAFNOSUPPORT);
    world_close(&w);
}

static void
cut_now(void *user)
{
    struct world *w = user;

    (void)sim_cut(w->sim, &w->at, SIM_RESET);
}

static void
test_at(void **state)
{
    struct sim_config slow = {.delay_min_us = 1000, .delay_max_us = 1001};
    struct world w;
    uint64_t t0;

    (void)state;
    world_open(&w, 5, &slow);
    t0 = sim_now_ns(w.sim);
    sim_at(w.sim, 3 * MS, cut_now, &w);
    sim_at(w.sim, 3600 * SEC, cut_now, &w); /* never run: freed */
    world_connect(&w, NULL);
    assert_true(sim_run_until(w.sim, finished, &w, 60 * SEC));
    assert_int_equal(w.c.err, -ECONNRESET);
    assert_true(w.c.err_ns - t0 >= 3 * MS && w.c.err_ns - t0 < 5 * MS);
    world_close(&w);
}

struct answer {
    int calls, err, count;
    struct sock_addr first;
};

static void
on_resolved(void *user, int err, const struct sock_addr *addr, int count)
{
    struct answer *a = user;

    a->calls++;
    a->err = err;
    a->count = count;
    if (count > 0)
        a->first = addr[0];
}

static void
test_hosts(void **state)
{
    static const char *const two[] = {"10.0.0.1", "fd00::1"};
    struct sim *sim = sim_new(1, NULL);
    struct loop *l = sim_loop(sim);
    struct answer a = {0}, b = {0};
    struct resolve *r;
    char buf[64];

    (void)state;
    sim_host(sim, "target.example", 0, two, 2);
    sim_host(sim, "slow.example", -EAGAIN, NULL, 0);
    assert_int_equal(loop_resolve(l, "Target.example", 3260, on_resolved, &a, &r), 0);
    assert_int_equal(loop_resolve(l, "slow.example", 3260, on_resolved, &b, &r), 0);
    assert_false(sim_run_until(sim, never, NULL, SEC)); /* idle before that */
    assert_true(a.calls == 1 && a.err == 0 && a.count == 2);
    assert_string_equal(sock_addr_format(&a.first, buf, sizeof(buf)), "10.0.0.1:3260");
    assert_true(b.calls == 1 && b.err == -EAGAIN && b.count == 0);
    assert_int_equal(loop_run(l, -1), -EDEADLK);
    assert_int_equal(loop_fd(l), -ENOTSUP);
    sim_free(sim);
}

static void
test_released_descriptor_can_be_closed(void **state)
{
    struct world w;
    int fd;

    (void)state;
    world_open(&w, 6, NULL);
    world_connect(&w, NULL);
    assert_true(sim_run_until(w.sim, half_way, &w, SEC));
    fd = stream_release(w.s.s);
    w.s.s = NULL;
    (void)sim_run_until(w.sim, never, NULL, 10 * MS);
    sim_close_fd(w.sim, fd);
    assert_true(sim_run_until(w.sim, finished, &w, SEC));
    assert_int_equal(w.c.err, -ECONNRESET);
    world_close(&w);
}

static void
note_ring(void *user)
{
    uint64_t *at = user;

    *at = sim_now_ns(contract_sim);
}

/* A ring that is on its way wakes a loop that waits, at its time; one whose bell is gone does not.
 */
static void
test_ring_comes_later(void **state)
{
    uint64_t from, at = 0;
    struct loop_watch *w;
    struct loop *l;
    int fd, other;

    (void)state;
    contract_sim = sim_new(3, NULL);
    l = sim_loop(contract_sim);
    fd = sim_bell(contract_sim);
    other = sim_bell(contract_sim);
    assert_int_equal(loop_watch(l, fd, note_ring, &at, &w), 0);
    from = sim_now_ns(contract_sim);
    sim_bell_ring(contract_sim, fd, 5 * MS);
    sim_bell_ring(contract_sim, other, MS);
    sim_bell_free(contract_sim, other);
    assert_int_equal(loop_run(l, -1), 1);
    assert_true(at >= from + 5 * MS && at < from + 6 * MS);
    assert_int_equal(sim_bell_read(contract_sim, fd), 1);
    assert_int_equal(loop_run(l, -1), -EDEADLK); /* nothing can happen any more */
    loop_unwatch(l, w);
    sim_bell_ring(contract_sim, fd, MS); /* the world ends before it comes */
    sim_free(contract_sim);
}

int
main(void)
{
    static const struct loop_factory factory = {.name = "sim",
                                                .make = make,
                                                .unmake = unmake,
                                                .bell = bell,
                                                .ring = bell_ring,
                                                .read = bell_read,
                                                .bell_free = bell_free,
                                                .closes_on_exec = closes_on_exec,
                                                .open_fds = open_fds};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_seed_same_run),
        cmocka_unit_test(test_rough_network_loses_nothing),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_cut_after_bytes),
        cmocka_unit_test(test_refused_then_not),
        cmocka_unit_test(test_lost_attempt_times_out),
        cmocka_unit_test(test_stall_holds_and_heals),
        cmocka_unit_test(test_user_timeout),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_at),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_released_descriptor_can_be_closed),
        cmocka_unit_test(test_ring_comes_later),
    };
    int failed = 0;

    for (contract_seed = 1; contract_seed <= 5; contract_seed++)
        failed +=
            contract_run(&factory) + contract_local_run(&factory) + contract_watch_run(&factory);
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
