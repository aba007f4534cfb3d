/* SPDX-License-Identifier: MIT */
/* tests/unit/fake_loop.h - a loop with timers, deferred work and virtual time, and nothing else. */
#ifndef TESTS_FAKE_LOOP_H
#define TESTS_FAKE_LOOP_H

#include "tests/test.h"

#include <string.h>

#include "seam/loop.h"

struct fake_loop {
    struct loop l;
    struct timerq timers;
    struct list deferred;
    uint64_t rng;
    unsigned timer_starts;
};

static inline struct fake_loop *
fake_of(struct loop *l)
{
    return container_of(l, struct fake_loop, l);
}

static inline void
fake_timer_stop(struct loop *l, struct loop_timer *t)
{
    if (t->node.queued)
        timerq_del(&fake_of(l)->timers, &t->node);
}

static inline void
fake_timer_start(struct loop *l, struct loop_timer *t, uint64_t delay_ns)
{
    fake_timer_stop(l, t);
    fake_of(l)->timer_starts++;
    timerq_add(&fake_of(l)->timers, &t->node, l->now_ns + delay_ns);
}

static inline void
fake_defer(struct loop *l, struct loop_work *w)
{
    list_push_back(&fake_of(l)->deferred, &w->node);
}

static inline uint64_t
fake_random(struct loop *l)
{
    uint64_t x = fake_of(l)->rng;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return fake_of(l)->rng = x;
}

static const struct loop_ops fake_loop_ops = {
    .name = "fake",
    .timer_start = fake_timer_start,
    .timer_stop = fake_timer_stop,
    .defer = fake_defer,
    .random = fake_random,
};

static inline void
fake_loop_init(struct fake_loop *f, uint64_t seed)
{
    memset(f, 0, sizeof(*f));
    f->l.ops = &fake_loop_ops;
    f->l.now_ns = 1000000000;
    f->rng = seed * 2654435761u + 88172645463325252ull;
    list_init(&f->deferred);
}

/* Runs what has been deferred, and what that defers. */
static inline void
fake_turn(struct fake_loop *f)
{
    struct list *n;
    unsigned bound = 0;

    while ((n = list_pop_front(&f->deferred)) != NULL) {
        struct loop_work *w = container_of(n, struct loop_work, node);

        assert_true(++bound < 1000000);
        w->fn(w);
    }
}

/* A turn, then time passes by ns with every timer at its time. */
static inline void
fake_advance(struct fake_loop *f, uint64_t ns)
{
    uint64_t end = f->l.now_ns + ns;
    struct timerq_node *n;

    fake_turn(f);
    while ((n = timerq_first(&f->timers)) != NULL && n->when_ns <= end) {
        struct loop_timer *t = container_of(n, struct loop_timer, node);

        timerq_del(&f->timers, n);
        if (n->when_ns > f->l.now_ns)
            f->l.now_ns = n->when_ns;
        t->fn(t);
        fake_turn(f);
    }
    f->l.now_ns = end;
    fake_turn(f);
}

#define MS(n)  ((uint64_t)(n)*1000000)
#define SEC(n) ((uint64_t)(n)*1000000000)

#endif
