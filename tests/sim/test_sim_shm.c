/* SPDX-License-Identifier: MIT */
/* seam/shm.h and packets in the simulator: the contract from many seeds, and what a world can do
 * besides to processes. */
#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "seam/shm.h"
#include "tests/sim/sim_loop.h"
#include "tests/unit/loop/contract.h"

#define SEEDS 40
#define STEP  (200 * 1000ull)

static struct sim *sim;
static uint64_t seed;
static struct loop *second; /* of the second process */
static void (*other_step)(void);

static bool
make(struct loop **a, struct loop **b, const char **why)
{
    (void)why;
    sim = sim_new(seed, seed % 2 == 1 ? &sim_rough : NULL);
    *a = sim_loop(sim);
    *b = second = sim_loop(sim);
    return true;
}

static void
unmake(struct loop *a, struct loop *b)
{
    (void)a;
    (void)b;
    sim_free(sim);
}

static int
unsealed(struct loop *l, size_t size, int seals)
{
    int fd = -1;

    assert_int_equal(sim_memory_unsealed(l, size, seals, &fd), 0);
    return fd;
}

static void
step_due(void *user)
{
    (void)user;
    if (sim_process_killed(second))
        return;
    other_step();
    sim_at(sim, STEP, step_due, NULL);
}

/* The last that a killed process does. */
static void
scribble(void *user, uint8_t *mem, size_t size)
{
    unsigned *times = user;

    for (size_t i = 0; i < size; i += 64)
        mem[i] = (uint8_t)(mem[i] + 1);
    (*times)++;
}

static unsigned scribbles;

static void
process(struct loop *b, void (*begin)(struct loop *l), void (*step)(void))
{
    begin(b);
    other_step = step;
    sim_process_set_dying(b, scribble, &scribbles);
    sim_at(sim, STEP, step_due, NULL);
}

static void
kill_other(void)
{
    sim_process_kill(second);
}

static bool
other_ended(void)
{
    return sim_process_reaped(second);
}

static void
reap_other(void (*end)(void))
{
    end();
}

static bool
other_runs(struct loop *b)
{
    return !sim_process_killed(b);
}

/* What a world can do to processes: one shares memory and bells with another, and is killed. */

#define SIZE ((size_t)16384)

struct pair {
    struct sim *sim;
    struct loop *a, *b;
    struct stream *listener, *sa, *sb;
    struct sock_addr at;
    uint8_t *ma, *mb; /* the same memory in both */
    int fa, fb;       /* its descriptors */
    struct shm_process *watch;
    unsigned gone, got, fds_lost, ends;
};

static void
pair_connected(void *user, int err)
{
    assert_int_equal(err, 0);
    (void)user;
}

static void
pair_readable(void *user)
{
    struct pair *p = user;
    char buf[8];
    int fd = -1;
    ssize_t r;

    while ((r = stream_recv_packet(p->sa, buf, sizeof(buf), &fd)) > 0) {
        p->got++;
        p->fds_lost += fd == -EMFILE;
        if (fd >= 0 && p->fa >= 0)
            loop_close_fd(p->a, fd);
        else if (fd >= 0)
            p->fa = fd;
    }
    p->ends += r == 0;
}

static const struct stream_events pair_events = {.connected = pair_connected,
                                                 .readable = pair_readable};

static void
pair_accepted(void *user, struct stream *s, const struct sock_addr *peer)
{
    struct pair *p = user;

    (void)peer;
    p->sa = s;
    stream_set_events(s, &pair_events, p);
}

static const struct stream_events pair_listening = {.accepted = pair_accepted};

static void
pair_gone(void *user)
{
    ((struct pair *)user)->gone++;
}

static void
pair_give(struct pair *p, int fd)
{
    assert_int_equal(stream_send_packet(p->sb, &(struct iovec){"x", 1}, 1, fd), 0);
}

static void
pair_open(struct pair *p, uint64_t s)
{
    void *map = NULL;

    *p = (struct pair){.sim = sim_new(s, NULL), .fa = -1};
    p->a = sim_loop(p->sim);
    p->b = sim_loop(p->sim);
    assert_int_equal(sock_addr_local("/run/pair", 9, &p->at, NULL), 0);
    assert_int_equal(stream_listen_packets(p->a, &p->at, &pair_listening, p, &p->listener), 0);
    assert_int_equal(stream_connect_packets(p->b, &p->at, &pair_events, p, &p->sb), 0);
    (void)sim_run_until(p->sim, NULL, NULL, LOOP_NS_PER_S);
    assert_int_equal(shm_make(p->b, SIZE, &p->fb, &map), 0);
    p->mb = map;
    pair_give(p, p->fb);
    (void)sim_run_until(p->sim, NULL, NULL, LOOP_NS_PER_S);
    assert_int_equal(shm_map(p->a, p->fa, SIZE, &map), 0);
    p->ma = map;
    assert_int_equal(shm_process_watch(p->a, p->sa, pair_gone, p, &p->watch), 0);
}

/* The program of b is not taken apart. */
static void
pair_close(struct pair *p)
{
    shm_process_unwatch(p->a, p->watch);
    shm_unmap(p->a, p->ma, SIZE);
    loop_close_fd(p->a, p->fa);
    stream_close(p->sa);
    stream_close(p->listener);
    sim_free(p->sim);
}

/* What it had sent arrives, its end is seen at once, and its memory is safe when it is reaped. */
static void
test_killed_in_the_middle(void **state)
{
    (void)state;
    for (uint64_t s = 0; s < 100; s++) {
        struct sim_guard *before, *after;
        unsigned scribbled = 0;
        struct pair p;

        pair_open(&p, s);
        p.mb[0] = 42;
        assert_int_equal(p.ma[0], 42);
        assert_ptr_not_equal(p.ma, p.mb);
        before = sim_guard(p.a, p.ma + 64, 4096);
        assert_true(sim_guard_holds(before));
        sim_process_set_dying(p.b, scribble, &scribbled);
        pair_give(&p, p.fb);
        pair_give(&p, -1);
        sim_process_kill(p.b);
        assert_true(sim_process_killed(p.b) && !sim_process_reaped(p.b));
        p.mb[0] = 7; /* what its program does now nobody sees */
        assert_int_equal(p.ma[0], 42);
        while (p.gone == 0) {
            assert_false(sim_run_until(p.sim, NULL, NULL, LOOP_NS_PER_MS));
            assert_true(sim_process_reaped(p.b) || p.gone == 0);
        }
        assert_true(scribbled > 0 && !sim_guard_holds(before));
        after = sim_guard(p.a, p.ma, SIZE);
        (void)sim_run_until(p.sim, NULL, NULL, LOOP_NS_PER_S);
        assert_true(sim_guard_holds(after));
        p.ma[SIZE - 1]++;
        assert_false(sim_guard_holds(after));
        assert_int_equal(p.gone, 1);
        assert_int_equal(p.got, 3);
        assert_int_equal(p.ends, 1);
        sim_unguard(before);
        sim_unguard(after);
        pair_close(&p);
    }
}

static void
never(struct loop_timer *t)
{
    (void)t;
    fail_msg("a killed process runs");
}

/* A killed program can be taken apart with its own calls, which nobody sees. */
static void
test_calls_of_the_dead(void **state)
{
    struct loop_watch *watch = NULL;
    struct loop_timer timer;
    int bell = -1, other = -1;
    struct pair p;

    (void)state;
    pair_open(&p, 7);
    assert_int_equal(shm_bell_make(p.b, &bell), 0);
    assert_int_equal(loop_watch(p.b, bell, pair_gone, &p, &watch), 0);
    loop_timer_init(&timer, never);
    loop_timer_start(p.b, &timer, 1000);
    shm_bell_ring(p.b, bell);
    sim_process_kill(p.b);
    assert_int_equal(sim_process_fds(p.b), 0);
    (void)sim_run_until(p.sim, NULL, NULL, LOOP_NS_PER_S);
    assert_int_equal(p.gone, 1);
    shm_bell_ring(p.b, bell);
    shm_bell_clear(p.b, bell);
    assert_int_equal(stream_send_packet(p.sb, &(struct iovec){"x", 1}, 1, -1), -EPIPE);
    assert_int_equal(shm_bell_make(p.b, &other), -EIO);
    loop_timer_stop(p.b, &timer);
    loop_unwatch(p.b, watch);
    loop_close_fd(p.b, bell);
    loop_close_fd(p.b, p.fb);
    shm_unmap(p.b, p.mb, SIZE);
    stream_close(p.sb);
    pair_close(&p);
}

/* A thread dies with its process, others live on. */
static void
test_threads_die_together(void **state)
{
    struct pair p;
    struct loop *beside;
    uid_t uid = 0;
    pid_t pid = 0, other = 0;

    (void)state;
    pair_open(&p, 8);
    beside = sim_loop_beside(p.b);
    sim_process_set_uid(beside, 4711);
    assert_int_equal(stream_peer_cred(p.sa, &uid, &pid), 0);
    assert_int_equal(uid, 4711);
    assert_int_equal(stream_peer_cred(p.sb, NULL, &other), 0);
    assert_int_not_equal(pid, other);
    sim_process_kill(beside);
    assert_true(sim_process_killed(p.b) && !sim_process_killed(p.a));
    (void)sim_run_until(p.sim, NULL, NULL, LOOP_NS_PER_S);
    assert_int_equal(p.gone, 1);
    pair_close(&p);
}

static void
test_shortage(void **state)
{
    void *map = NULL;
    struct pair p;
    int fd = -1;

    (void)state;
    pair_open(&p, 9);
    sim_process_set_fds(p.a, sim_process_fds(p.a));
    assert_int_equal(shm_make(p.a, SIZE, &fd, &map), -EMFILE);
    assert_int_equal(shm_bell_make(p.a, &fd), -EMFILE);
    assert_int_equal(shm_dup(p.a, p.fa, &fd), -EMFILE);
    pair_give(&p, p.fb);
    (void)sim_run_until(p.sim, NULL, NULL, LOOP_NS_PER_S);
    assert_int_equal(p.fds_lost, 1);
    sim_process_set_fds(p.a, 0);
    sim_shm_fail(p.sim, 1, ENOMEM);
    assert_int_equal(shm_map(p.a, p.fa, SIZE, &map), 0);
    shm_unmap(p.a, map, SIZE);
    assert_int_equal(shm_map(p.a, p.fa, SIZE, &map), -ENOMEM);
    assert_int_equal(shm_map(p.a, p.fa, SIZE, &map), 0);
    shm_unmap(p.a, map, SIZE);
    assert_int_equal(fd, -1);
    sim_process_kill(p.b);
    pair_close(&p); /* before it is reaped */
}

/* Whoever connects before anybody has the listener waits; then it is as one's own. */
static void
test_listener_is_handed_over(void **state)
{
    struct sock_addr at;
    struct stream *no = NULL;
    int fd = -1, none = -1;
    struct pair p;

    (void)state;
    pair_open(&p, 10);
    stream_close(p.listener);
    stream_close(p.sa);
    stream_close(p.sb);
    p.sa = p.sb = NULL;
    p.got = p.ends = 0;
    assert_int_equal(sock_addr_local("/run/other", 10, &at, NULL), 0);
    assert_int_equal(sim_listening_fd(p.a, &at, true, &fd), 0);
    assert_int_equal(sim_listening_fd(p.a, &at, false, &none), -EADDRINUSE);
    assert_int_equal(stream_connect_packets(p.b, &at, &pair_events, &p, &p.sb), 0);
    (void)sim_run_until(p.sim, NULL, NULL, LOOP_NS_PER_S);
    assert_null(p.sa);
    pair_give(&p, -1);
    assert_int_equal(stream_adopt_listener(p.a, fd, &pair_listening, &p, &no), -EPROTOTYPE);
    assert_int_equal(stream_adopt_packets(p.a, fd, &pair_events, &p, &no), -EINVAL);
    assert_int_equal(stream_adopt_packet_listener(p.a, p.fa, &pair_listening, &p, &no), -EINVAL);
    assert_int_equal(stream_adopt_packet_listener(p.a, fd, &pair_listening, &p, &p.listener), 0);
    (void)sim_run_until(p.sim, NULL, NULL, LOOP_NS_PER_S);
    assert_non_null(p.sa);
    assert_int_equal(p.got, 1);
    stream_close(p.listener);
    assert_int_equal(sim_listening_fd(p.a, &at, true, &fd), 0);
    loop_close_fd(p.a, fd); /* nobody has wanted it */
    assert_int_equal(stream_listen_packets(p.a, &at, &pair_listening, &p, &p.listener), 0);
    sim_process_kill(p.b);
    pair_close(&p);
}

static void
test_same_seed_same_end(void **state)
{
    (void)state;
    for (uint64_t s = 0; s < 10; s++) {
        uint64_t hash[2];

        for (int i = 0; i < 2; i++) {
            struct pair p;

            pair_open(&p, s);
            sim_process_kill(p.b);
            (void)sim_run_until(p.sim, NULL, NULL, LOOP_NS_PER_S);
            hash[i] = sim_hash(p.sim);
            pair_close(&p);
        }
        assert_true(hash[0] == hash[1]);
    }
}

int
main(void)
{
    static const struct loop_factory factory = {.name = "sim",
                                                .make = make,
                                                .unmake = unmake,
                                                .unsealed = unsealed,
                                                .process = process,
                                                .kill = kill_other,
                                                .ended = other_ended,
                                                .reap = reap_other,
                                                .runs = other_runs};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_in_the_middle),    cmocka_unit_test(test_calls_of_the_dead),
        cmocka_unit_test(test_threads_die_together),    cmocka_unit_test(test_shortage),
        cmocka_unit_test(test_listener_is_handed_over), cmocka_unit_test(test_same_seed_same_end),
    };
    int failed = 0;

    for (seed = 1; seed <= SEEDS; seed++)
        failed += contract_shm_run(&factory);
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
