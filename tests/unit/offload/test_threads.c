/* SPDX-License-Identifier: MIT */
/* Two threads, a ring each way and bells that sleep: no wake-up is lost, and no entry is torn.
 *
 * Each thread sleeps whenever it has nothing to do, which is all the time, since neither has much
 * ahead of the other; so the moment in which one goes to sleep while the other publishes comes
 * again and again.  A lost wake-up leaves both asleep, and the wait says so. */
#include "tests/test.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "offload/ring.h"
#include "tests/support/dice.h"

#define ENTRY   128u
#define ROUNDS  60000u
#define MOMENTS 1000000u
#define SECONDS 5     /* of those moments, where a machine is slow */
#define WAIT_MS 30000 /* how long nothing is believed to be late only */

struct side {
    const char *name;
    struct ring_producer to;
    struct ring_consumer from;
    int bell, other;   /* eventfds: what wakes this side, and the other one */
    uint32_t depth;    /* entries that may be out */
    uint64_t put, got; /* entries */
    uint64_t slept, rung;
    struct dice dice;
    bool echoes; /* gives back what comes, in any batches */
    bool failed;
};

static void
entry_fill(uint64_t *e, uint64_t n)
{
    for (uint32_t i = 0; i < ENTRY / 8; i++)
        e[i] = n * UINT64_C(0x9e3779b97f4a7c15) + i;
}

static bool
take_all(struct side *s)
{
    uint64_t e[ENTRY / 8], want[ENTRY / 8];
    int r;

    while ((r = ring_get(&s->from, e)) == 1) {
        entry_fill(want, s->got++);
        if (memcmp(e, want, sizeof(e)) != 0)
            return false;
    }
    ring_release(&s->from);
    return r == 0;
}

static void
send_some(struct side *s)
{
    uint64_t limit = s->echoes ? s->got : ROUNDS;
    uint64_t batch = 1 + dice_below(&s->dice, s->depth), e[ENTRY / 8];

    while (batch-- > 0 && s->put < limit && (s->echoes || s->put - s->got < s->depth)) {
        entry_fill(e, s->put);
        if (ring_put(&s->to, e) < 0)
            break;
        s->put++;
    }
    if (ring_publish(&s->to)) {
        const uint64_t one = 1;

        s->rung++;
        s->failed |= write(s->other, &one, sizeof(one)) != (ssize_t)sizeof(one);
    }
}

static void
sleep_for_bell(struct side *s)
{
    struct pollfd p = {.fd = s->bell, .events = POLLIN};
    uint64_t n;

    if (!ring_sleep(&s->from))
        return;
    s->slept++;
    if (poll(&p, 1, WAIT_MS) != 1 || read(s->bell, &n, sizeof(n)) < 0) {
        print_error("%s: asleep, and nobody wakes it: put %llu, got %llu\n", s->name,
                    (unsigned long long)s->put, (unsigned long long)s->got);
        s->failed = true;
    }
    ring_awake(&s->from);
}

static void *
side_run(void *arg)
{
    struct side *s = arg;

    while (!s->failed && s->got < ROUNDS) {
        if (!take_all(s)) {
            print_error("%s: a bad entry or index\n", s->name);
            s->failed = true;
        }
        send_some(s);
        if (s->echoes ? s->put == s->got && s->got < ROUNDS : s->got < s->put)
            sleep_for_bell(s);
    }
    while (!s->failed && s->put < s->got)
        send_some(s);
    return NULL;
}

static void *
ring_new(uint32_t count)
{
    void *mem = aligned_alloc(64, ring_bytes(ENTRY, count));

    assert_non_null(mem);
    memset(mem, 0, ring_bytes(ENTRY, count));
    return mem;
}

static void
run_at_depth(uint32_t depth)
{
    void *there = ring_new(32), *back = ring_new(32);
    int bells[2] = {eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK)};
    struct side a = {
        .name = "asks", .bell = bells[0], .other = bells[1], .depth = depth, .dice = {1}};
    struct side b = {.name = "echoes",
                     .bell = bells[1],
                     .other = bells[0],
                     .depth = depth,
                     .dice = {2},
                     .echoes = true};
    pthread_t thread;

    ring_producer_init(&a.to, there, ENTRY, 32);
    ring_consumer_init(&b.from, there, ENTRY, 32);
    ring_producer_init(&b.to, back, ENTRY, 32);
    ring_consumer_init(&a.from, back, ENTRY, 32);
    assert_int_equal(pthread_create(&thread, NULL, side_run, &b), 0);
    side_run(&a);
    assert_int_equal(pthread_join(thread, NULL), 0);
    print_message("depth %u: slept %llu and %llu times, rung %llu and %llu times\n", depth,
                  (unsigned long long)a.slept, (unsigned long long)b.slept,
                  (unsigned long long)a.rung, (unsigned long long)b.rung);
    assert_false(a.failed || b.failed);
    assert_int_equal(a.got, ROUNDS);
    assert_int_equal(b.put, ROUNDS);
    assert_true(a.slept > 0 && b.slept > 0); /* else nothing was tried */
    close(bells[0]);
    close(bells[1]);
    free(there);
    free(back);
}

static void
test_depth_1(void **state)
{
    (void)state;
    run_at_depth(1);
}

static void
test_depth_32(void **state)
{
    (void)state;
    run_at_depth(32);
}

/* The moment alone: one thread publishes while the other goes to sleep, again and again.  Either
 * the one rings or the other stays awake; where both believe that it is not their business, a store
 * has been overtaken by the load behind it. */
struct moment {
    struct ring_producer p;
    struct ring_consumer c;
    uint32_t at[2];     /* rounds that each thread has come to */
    bool rings, sleeps; /* of this round */
    bool enough;        /* it is the last one */
};

static void
meet(struct moment *m, unsigned me, uint32_t round)
{
    unsigned spins = 0;

    __atomic_store_n(&m->at[me], round, __ATOMIC_RELEASE);
    while (__atomic_load_n(&m->at[!me], __ATOMIC_ACQUIRE) < round) {
        if (++spins > 2000) /* it has lost its core */
            (void)sched_yield();
    }
}

static void *
goes_to_sleep(void *arg)
{
    struct moment *m = arg;
    uint64_t e[ENTRY / 8];

    for (uint32_t round = 1;; round++) {
        ring_awake(&m->c);
        meet(m, 1, 2 * round);
        for (uint32_t i = 0; i < round * 7 % 509; i++)
            __asm__ volatile("" ::: "memory");
        m->sleeps = ring_sleep(&m->c);
        meet(m, 1, 2 * round + 1);
        if (ring_get(&m->c, e) != 1)
            return m;
        ring_release(&m->c);
        if (m->enough)
            break;
    }
    return NULL;
}

static void
test_one_of_them_sees_it(void **state)
{
    struct moment m = {.rings = false};
    void *mem = ring_new(4), *bad = NULL;
    uint64_t e[ENTRY / 8] = {0};
    time_t from = time(NULL);
    unsigned lost = 0;
    pthread_t thread;

    (void)state;
    ring_producer_init(&m.p, mem, ENTRY, 4);
    ring_consumer_init(&m.c, mem, ENTRY, 4);
    assert_int_equal(pthread_create(&thread, NULL, goes_to_sleep, &m), 0);
    for (uint32_t round = 1; round <= MOMENTS && !m.enough; round++) {
        assert_int_equal(ring_put(&m.p, e), 0);
        meet(&m, 0, 2 * round);
        for (uint32_t i = 0; i < round * 11 % 503; i++)
            __asm__ volatile("" ::: "memory");
        m.rings = ring_publish(&m.p);
        m.enough = round == MOMENTS || (round % 256 == 0 && time(NULL) - from > SECONDS);
        meet(&m, 0, 2 * round + 1);
        lost += m.sleeps && !m.rings;
    }
    assert_int_equal(pthread_join(thread, &bad), 0);
    assert_null(bad);
    assert_int_equal(lost, 0);
    free(mem);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_depth_1),
        cmocka_unit_test(test_depth_32),
        cmocka_unit_test(test_one_of_them_sees_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
