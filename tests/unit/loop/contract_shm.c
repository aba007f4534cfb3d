/* SPDX-License-Identifier: MIT */
/* What seam/shm.h promises: memory that cannot shrink, bells, and the end of another process. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "seam/shm.h"
#include "tests/test.h"
#include "tests/unit/loop/contract.h"

#define MS       LOOP_NS_PER_MS
#define LIMIT_NS (20 * LOOP_NS_PER_S)
#define PAGE     ((size_t)4096)
#define SIZE     (16 * PAGE)

static const struct loop_factory *factory;

/* What another process does: it connects, sends memory and two bells of its own, and from then on
 * counts in the memory, rings the first bell, and counts how often the second was rung. */
struct shared {
    _Alignas(64) volatile uint64_t steps;
    _Alignas(64) volatile uint64_t heard;
};

enum gift { GIFT_MEMORY, GIFT_RINGS, GIFT_HEARS, GIFTS };

static struct program {
    struct loop *l;
    struct stream *s;
    struct shared *mem;
    struct loop_watch *watch;
    int fd[GIFTS], given;
} program;
static struct sock_addr program_at;

static void
program_hears(void *user)
{
    struct program *p = user;

    shm_bell_clear(p->l, p->fd[GIFT_HEARS]);
    p->mem->heard++;
}

static void
program_gives(void *user)
{
    struct program *p = user;

    while (p->given < GIFTS) {
        int r = stream_send_packet(p->s, &(struct iovec){"gift", 4}, 1, p->fd[p->given]);

        if (r == -EAGAIN)
            return;
        assert_int_equal(r, 0);
        p->given++;
    }
}

static void
program_connected(void *user, int err)
{
    struct program *p = user;
    void *map = NULL;

    assert_int_equal(err, 0);
    assert_int_equal(shm_make(p->l, SIZE, &p->fd[GIFT_MEMORY], &map), 0);
    p->mem = map;
    assert_int_equal(shm_bell_make(p->l, &p->fd[GIFT_RINGS]), 0);
    assert_int_equal(shm_bell_make(p->l, &p->fd[GIFT_HEARS]), 0);
    assert_int_equal(loop_watch(p->l, p->fd[GIFT_HEARS], program_hears, p, &p->watch), 0);
    program_gives(p);
}

static const struct stream_events program_events = {.connected = program_connected,
                                                    .writable = program_gives};

static void
program_begin(struct loop *l)
{
    program = (struct program){.l = l};
    assert_int_equal(stream_connect_packets(l, &program_at, &program_events, &program, &program.s),
                     0);
}

static void
program_step(void)
{
    if (program.mem == NULL)
        return;
    program.mem->steps++;
    shm_bell_ring(program.l, program.fd[GIFT_RINGS]);
}

static void
program_end(void)
{
    struct program *p = &program;

    stream_close(p->s);
    if (p->mem == NULL)
        return;
    loop_unwatch(p->l, p->watch);
    for (int i = 0; i < GIFTS; i++)
        loop_close_fd(p->l, p->fd[i]);
    shm_unmap(p->l, p->mem, SIZE);
}

/* This side. */

struct world {
    struct loop *a, *b;
    char dir[64], path[80];
    struct stream *listener, *s;
    int fd[GIFTS];
    unsigned gifts, ends;
    struct shared *mem;
    struct loop_watch *watch;
    unsigned rings;
    struct shm_process *process;
    unsigned gone;
    bool unwatch_in_gone, ended_at_gone;
    struct shared at_gone;
};

#define UNTIL(w, cond)                                                                             \
    do {                                                                                           \
        uint64_t limit_ = (w)->a->now_ns + LIMIT_NS;                                               \
        while (!(cond)) {                                                                          \
            world_turn(w);                                                                         \
            if ((w)->a->now_ns > limit_)                                                           \
                fail_msg("never: %s", #cond);                                                      \
        }                                                                                          \
    } while (0)

static void
world_turn(struct world *w)
{
    assert_true(loop_run(w->a, (int64_t)MS / 2) >= 0);
    if (factory->runs(w->b))
        assert_true(loop_run(w->b, (int64_t)MS / 2) >= 0);
}

static void
linger(struct world *w)
{
    uint64_t limit = w->a->now_ns + 20 * MS;

    while (w->a->now_ns < limit)
        world_turn(w);
}

static int
setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    const char *why = NULL;

    assert_non_null(w);
    assert_true(factory->make(&w->a, &w->b, &why));
    strcpy(w->dir, "/tmp/lunette-shm-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->path, sizeof(w->path), "%s/sock", w->dir);
    assert_int_equal(sock_addr_local(w->path, strlen(w->path), &program_at, NULL), 0);
    *state = w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;

    if (w->process != NULL)
        shm_process_unwatch(w->a, w->process);
    if (w->watch != NULL)
        loop_unwatch(w->a, w->watch);
    if (w->mem != NULL)
        shm_unmap(w->a, w->mem, SIZE);
    for (unsigned i = 0; i < w->gifts; i++)
        loop_close_fd(w->a, w->fd[i]);
    if (w->s != NULL)
        stream_close(w->s);
    if (w->listener != NULL)
        stream_close(w->listener);
    factory->unmake(w->a, w->b);
    (void)unlink(w->path);
    assert_int_equal(rmdir(w->dir), 0);
    free(w);
    return 0;
}

static void
on_gift(void *user)
{
    struct world *w = user;
    char buf[16];
    ssize_t r;
    int fd;

    while ((r = stream_recv_packet(w->s, buf, sizeof(buf), &fd)) > 0) {
        assert_int_equal(r, 4);
        assert_true(fd >= 0 && w->gifts < GIFTS);
        w->fd[w->gifts++] = fd;
    }
    if (r == -EAGAIN)
        return;
    assert_true(r == 0 || r == -ECONNRESET);
    w->ends++;
}

static const struct stream_events gift_events = {.readable = on_gift};

static void
on_other(void *user, struct stream *s, const struct sock_addr *peer)
{
    struct world *w = user;

    (void)peer;
    assert_null(w->s);
    w->s = s;
    stream_set_events(s, &gift_events, w);
}

static const struct stream_events other_events = {.accepted = on_other};

static void
on_ring(void *user)
{
    struct world *w = user;

    w->rings++;
    shm_bell_clear(w->a, w->fd[GIFT_RINGS]);
}

static void
on_gone(void *user)
{
    struct world *w = user;

    w->gone++;
    w->ended_at_gone = factory->ended();
    w->at_gone = *w->mem;
    if (!w->unwatch_in_gone)
        return;
    shm_process_unwatch(w->a, w->process);
    w->process = NULL;
}

/* Starts the other process, and takes what it sends. */
static void
world_meet(struct world *w)
{
    void *map = NULL;

    assert_int_equal(stream_listen_packets(w->a, &program_at, &other_events, w, &w->listener), 0);
    factory->process(w->b, program_begin, program_step);
    UNTIL(w, w->gifts == GIFTS);
    assert_int_equal(shm_map(w->a, w->fd[GIFT_MEMORY], SIZE, &map), 0);
    w->mem = map;
    assert_int_equal(shm_bell_check_wait(w->a, w->fd[GIFT_RINGS]), 0);
    for (int i = 0; i < 20; i++) /* while the other process watches it and clears it */
        assert_int_equal(shm_bell_check(w->a, w->fd[GIFT_HEARS]), 0);
}

static void
world_part(struct world *w)
{
    (void)w;
    factory->kill();
    UNTIL(w, factory->ended());
    factory->reap(program_end);
}

/* Memory. */

static void
test_memory_is_shared_and_zero(void **state)
{
    struct world *w = *state;
    uint8_t *x, *y, *z;
    void *map = NULL;
    int fd = -1;

    assert_int_equal(shm_make(w->a, SIZE, &fd, &map), 0);
    x = map;
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(x[i], 0);
    assert_int_equal(shm_map(w->a, fd, SIZE, &map), 0);
    y = map;
    assert_ptr_not_equal(x, y);
    memset(x, 0x5a, SIZE);
    assert_memory_equal(x, y, SIZE);
    shm_unmap(w->a, x, SIZE);
    assert_int_equal(shm_map(w->a, fd, SIZE, &map), 0);
    z = map;
    loop_close_fd(w->a, fd); /* what is mapped stays */
    z[SIZE - 1] = 1;
    assert_int_equal(y[SIZE - 1], 1);
    shm_unmap(w->a, y, SIZE);
    assert_int_equal(z[0], 0x5a);
    shm_unmap(w->a, z, SIZE);
}

static void
test_sizes(void **state)
{
    static const uint64_t bad[] = {0, 1, PAGE - 1, PAGE + 1, SHM_SIZE_MAX + PAGE};
    struct world *w = *state;
    void *map = NULL, *no = NULL;
    int fd = -1, none = -1;

    assert_int_equal(shm_make(w->a, SIZE, &fd, &map), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (bad[i] > SIZE_MAX)
            continue;
        assert_int_equal(shm_make(w->a, (size_t)bad[i], &none, &no), -EINVAL);
        assert_int_equal(shm_map(w->a, fd, (size_t)bad[i], &no), -EINVAL);
    }
    assert_int_equal(shm_map(w->a, fd, SIZE - PAGE, &no), -EINVAL);
    assert_int_equal(shm_map(w->a, fd, SIZE + PAGE, &no), -EINVAL);
    assert_true(none == -1 && no == NULL);
    shm_unmap(w->a, map, SIZE);
    loop_close_fd(w->a, fd);
}

/* Memory that can be made smaller would kill whoever touches what is behind its end. */
static void
test_memory_without_seals(void **state)
{
    static const int bad[] = {0, F_SEAL_SHRINK, F_SEAL_GROW};
    struct world *w = *state;
    void *map = NULL;
    int fd;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        fd = factory->unsealed(w->a, SIZE, bad[i]);
        assert_int_equal(shm_map(w->a, fd, SIZE, &map), -EPERM);
        loop_close_fd(w->a, fd);
    }
    assert_null(map);
    fd = factory->unsealed(w->a, SIZE, F_SEAL_SHRINK | F_SEAL_GROW);
    assert_int_equal(shm_map(w->a, fd, SIZE, &map), 0);
    shm_unmap(w->a, map, SIZE);
    loop_close_fd(w->a, fd);
}

static void
test_other_descriptors(void **state)
{
    struct world *w = *state;
    void *map = NULL, *no = NULL;
    int fd = -1, bell = -1;

    assert_int_equal(shm_make(w->a, SIZE, &fd, &map), 0);
    assert_int_equal(shm_bell_make(w->a, &bell), 0);
    assert_int_equal(shm_map(w->a, bell, SIZE, &no), -EPERM);
    assert_int_equal(shm_bell_check(w->a, fd), -EINVAL);
    assert_int_equal(shm_bell_check_wait(w->a, fd), -EINVAL);
    assert_int_equal(shm_bell_check(w->a, bell), 0);
    assert_int_equal(shm_bell_check_wait(w->a, bell), 0);
    assert_null(no);
    shm_unmap(w->a, map, SIZE);
    loop_close_fd(w->a, fd);
    loop_close_fd(w->a, bell);
}

static void
test_another_descriptor(void **state)
{
    struct world *w = *state;
    void *map = NULL, *again = NULL;
    int fd = -1, copy = -1;

    assert_int_equal(shm_make(w->a, SIZE, &fd, &map), 0);
    assert_int_equal(shm_dup(w->a, fd, &copy), 0);
    assert_int_not_equal(copy, fd);
    loop_close_fd(w->a, fd);
    assert_int_equal(shm_map(w->a, copy, SIZE, &again), 0);
    memset(map, 7, SIZE);
    assert_memory_equal(map, again, SIZE);
    shm_unmap(w->a, map, SIZE);
    shm_unmap(w->a, again, SIZE);
    loop_close_fd(w->a, copy);
}

/* Bells. */

static void
bell_watch(struct world *w)
{
    assert_int_equal(loop_watch(w->a, w->fd[GIFT_RINGS], on_ring, w, &w->watch), 0);
}

static void
world_bell(struct world *w)
{
    assert_int_equal(shm_bell_make(w->a, &w->fd[GIFT_MEMORY]), 0);
    assert_int_equal(shm_bell_make(w->a, &w->fd[GIFT_RINGS]), 0);
    w->gifts = 2;
}

static void
test_bell_rings(void **state)
{
    struct world *w = *state;

    world_bell(w);
    bell_watch(w);
    linger(w);
    assert_int_equal(w->rings, 0); /* one that was made is silent */
    for (unsigned i = 1; i <= 300; i++) {
        shm_bell_ring(w->a, w->fd[GIFT_RINGS]);
        UNTIL(w, w->rings >= i);
        shm_bell_ring(w->a, w->fd[GIFT_MEMORY]); /* another bell is not heard */
    }
    linger(w);
    assert_true(w->rings < 300 + 50); /* in vain now and then, but not for ever */
}

static void
test_bell_is_heard_by_whoever_comes_later(void **state)
{
    struct world *w = *state;

    world_bell(w);
    shm_bell_ring(w->a, w->fd[GIFT_RINGS]);
    shm_bell_ring(w->a, w->fd[GIFT_RINGS]);
    bell_watch(w);
    UNTIL(w, w->rings == 1);
    linger(w);
    assert_true(w->rings <= 3);
}

static void
test_bell_is_cleared(void **state)
{
    struct world *w = *state;

    world_bell(w);
    for (int i = 0; i < 1000; i++) /* more than anything that counts them may hold */
        shm_bell_ring(w->a, w->fd[GIFT_RINGS]);
    shm_bell_clear(w->a, w->fd[GIFT_RINGS]);
    shm_bell_clear(w->a, w->fd[GIFT_RINGS]); /* there is nothing, which does no harm */
    bell_watch(w);
    linger(w);
    assert_int_equal(w->rings, 0);
    shm_bell_ring(w->a, w->fd[GIFT_RINGS]);
    UNTIL(w, w->rings == 1);
}

/* Looking at a bell loses nothing that was rung. */
static void
test_bell_check_keeps_the_ring(void **state)
{
    struct world *w = *state;

    world_bell(w);
    shm_bell_ring(w->a, w->fd[GIFT_RINGS]);
    assert_int_equal(shm_bell_check_wait(w->a, w->fd[GIFT_RINGS]), 0);
    bell_watch(w);
    UNTIL(w, w->rings == 1);
}

static void
on_ring_unwatch(void *user)
{
    struct world *w = user;

    w->rings++;
    loop_unwatch(w->a, w->watch);
    w->watch = NULL;
    loop_close_fd(w->a, w->fd[GIFT_RINGS]);
    w->gifts = 1;
}

static void
test_bell_goes_in_its_callback(void **state)
{
    struct world *w = *state;

    world_bell(w);
    assert_int_equal(loop_watch(w->a, w->fd[GIFT_RINGS], on_ring_unwatch, w, &w->watch), 0);
    shm_bell_ring(w->a, w->fd[GIFT_RINGS]);
    UNTIL(w, w->rings == 1);
    linger(w);
    assert_int_equal(w->rings, 1);
}

/* Another process. */

static void
test_processes_share_memory_and_bells(void **state)
{
    struct world *w = *state;
    uint64_t heard;

    world_meet(w);
    bell_watch(w);
    UNTIL(w, w->rings >= 5 && w->mem->steps >= 5);
    for (int i = 0; i < 5; i++) {
        heard = w->mem->heard;
        shm_bell_ring(w->a, w->fd[GIFT_HEARS]);
        UNTIL(w, w->mem->heard > heard);
    }
    world_part(w);
}

/* The end of the connection comes first, and memory may be written to until the process is gone. */
static void
test_process_is_gone(void **state)
{
    struct world *w = *state;

    world_meet(w);
    assert_int_equal(shm_process_watch(w->a, w->s, on_gone, w, &w->process), 0);
    UNTIL(w, w->mem->steps >= 3);
    linger(w);
    assert_int_equal(w->gone, 0);
    factory->kill();
    UNTIL(w, w->gone > 0);
    assert_true(w->ended_at_gone);
    linger(w);
    assert_int_equal(w->gone, 1);
    assert_true(w->mem->steps == w->at_gone.steps && w->mem->heard == w->at_gone.heard);
    UNTIL(w, w->ends > 0);
    factory->reap(program_end);
    linger(w);
    assert_int_equal(w->gone, 1);
}

static void
test_process_watch_outlives_the_stream(void **state)
{
    struct world *w = *state;

    world_meet(w);
    w->unwatch_in_gone = true;
    assert_int_equal(shm_process_watch(w->a, w->s, on_gone, w, &w->process), 0);
    stream_close(w->s);
    w->s = NULL;
    linger(w);
    assert_int_equal(w->gone, 0);
    factory->kill();
    UNTIL(w, w->gone > 0);
    assert_null(w->process);
    assert_true(w->ended_at_gone);
    factory->reap(program_end);
}

static void
test_process_unwatch(void **state)
{
    struct world *w = *state;
    struct shm_process *other = NULL;
    unsigned before;

    world_meet(w);
    assert_int_equal(shm_process_watch(w->a, w->s, on_gone, w, &w->process), 0);
    assert_int_equal(shm_process_watch(w->a, w->s, on_gone, w, &other), 0);
    shm_process_unwatch(w->a, other);
    shm_process_unwatch(w->a, w->process);
    assert_int_equal(shm_process_watch(w->a, w->s, on_gone, w, &w->process), 0);
    factory->kill();
    UNTIL(w, factory->ended());
    before = w->gone;
    shm_process_unwatch(w->a, w->process); /* it may be due, or have come */
    w->process = NULL;
    linger(w);
    assert_int_equal(w->gone, before);
    factory->reap(program_end);
}

static void
test_process_that_has_ended(void **state)
{
    struct world *w = *state;

    world_meet(w);
    factory->kill();
    UNTIL(w, factory->ended());
    assert_int_equal(shm_process_watch(w->a, w->s, on_gone, w, &w->process), -ESRCH);
    factory->reap(program_end);
    assert_int_equal(shm_process_watch(w->a, w->s, on_gone, w, &w->process), -ESRCH);
    assert_null(w->process);
    assert_int_equal(w->gone, 0);
}

static void
test_process_of_no_connection(void **state)
{
    struct world *w = *state;

    assert_int_equal(stream_listen_packets(w->a, &program_at, &other_events, w, &w->listener), 0);
    assert_int_equal(shm_process_watch(w->a, w->listener, on_gone, w, &w->process), -EOPNOTSUPP);
    assert_null(w->process);
}

int
contract_shm_run(const struct loop_factory *f)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest shm[] = {
        T(test_memory_is_shared_and_zero),
        T(test_sizes),
        T(test_memory_without_seals),
        T(test_other_descriptors),
        T(test_another_descriptor),
        T(test_bell_rings),
        T(test_bell_is_heard_by_whoever_comes_later),
        T(test_bell_is_cleared),
        T(test_bell_check_keeps_the_ring),
        T(test_bell_goes_in_its_callback),
        T(test_processes_share_memory_and_bells),
        T(test_process_is_gone),
        T(test_process_watch_outlives_the_stream),
        T(test_process_unwatch),
        T(test_process_that_has_ended),
        T(test_process_of_no_connection),
    };

    factory = f;
    print_message("shm: %s\n", f->name);
    return cmocka_run_group_tests(shm, NULL, NULL);
}
