/* SPDX-License-Identifier: MIT */
/* Worlds of a client and an engine (offload_ring.h), one for each seed.
 *
 * usage: offload_ring_seeds [--first N] [--seeds N]     exit code 1: a seed has found something */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/offload_ring.h"

#define PHASES 6
#define STEPS  150

struct or_world *offload_ring_hook;

enum offload_fault __wrap_offload_check_sqe(const struct offload_sqe *e,
                                            const struct offload_limits *lim);
enum offload_fault __real_offload_check_sqe(const struct offload_sqe *e,
                                            const struct offload_limits *lim);
enum offload_fault __wrap_offload_check_cqe(const struct offload_cqe *e,
                                            const struct offload_limits *lim);
enum offload_fault __real_offload_check_cqe(const struct offload_cqe *e,
                                            const struct offload_limits *lim);

_Noreturn void
or_fail(const struct or_world *w, const char *file, int line, const char *what)
{
    (void)fprintf(stderr, "seed %" PRIu64 ": %s:%d: %s does not hold\n", w->seed, file, line, what);
    exit(1);
}

uint8_t
or_byte(uint64_t id, uint32_t at)
{
    return (uint8_t)(id * 131 + at * 7 + (at >> 8) + 1);
}

uint64_t
or_lie(struct or_world *w)
{
    static const uint64_t near_[] = {0,          OR_ARENA,   UINT16_MAX,
                                     UINT32_MAX, INT32_MAX,  UINT64_C(1) << 32,
                                     INT64_MAX,  UINT64_MAX, OR_SLOTS_MAX};
    uint64_t v = near_[dice_below(&w->dice, sizeof(near_) / sizeof(near_[0]))];

    switch (dice_below(&w->dice, 4)) {
    case 0:
        return v + dice_below(&w->dice, 5) - 2;
    case 1:
        return v - dice_below(&w->dice, 3 * ARENA_PAGE);
    case 2:
        return v + dice_below(&w->dice, 3 * ARENA_PAGE);
    default:
        return dice_u64(&w->dice);
    }
}

void
or_lie_over(struct or_world *w, void *entry, size_t size)
{
    for (unsigned n = 1 + dice_below(&w->dice, 3); n > 0; n--) {
        uint64_t v = or_lie(w);
        size_t len = (size_t)1 << dice_below(&w->dice, 4);

        memcpy((uint8_t *)entry + len * dice_below(&w->dice, (uint32_t)(size / len)), &v, len);
    }
}

void
or_lie_ring(struct or_world *w, struct ring_shared *sh, uint32_t *index, uint8_t *entries,
            size_t size)
{
    switch (dice_below(&w->dice, 4)) {
    case 0:
        *index += dice_below(&w->dice, 5) - 2;
        break;
    case 1:
        *index = (uint32_t)or_lie(w);
        break;
    case 2:
        sh->asleep = (uint32_t)or_lie(w);
        break;
    default:
        or_lie_over(w, entries, size);
    }
}

/* The other side is at work while an entry is looked at. */
static void
seen(struct or_world *w, enum or_liar whose, const void *e, size_t size, uint8_t *ring,
     uint32_t index)
{
    uint8_t *slot = ring + sizeof(struct ring_shared) + index * size;

    memcpy(w->seen, e, size);
    w->checked = true;
    if (w->liar == whose && dice_below(&w->dice, 3) == 0)
        or_lie_over(w, slot, size);
}

enum offload_fault
__wrap_offload_check_sqe(const struct offload_sqe *e, const struct offload_limits *lim)
{
    struct or_world *w = offload_ring_hook;
    enum offload_fault f = __real_offload_check_sqe(e, lim);

    seen(w, OR_CLIENT, e, sizeof(*e), w->region + offload_sq_at(),
         (w->e.sq.consumed - 1) & (w->e.sq.count - 1));
    return f;
}

enum offload_fault
__wrap_offload_check_cqe(const struct offload_cqe *e, const struct offload_limits *lim)
{
    struct or_world *w = offload_ring_hook;
    enum offload_fault f = __real_offload_check_cqe(e, lim);

    seen(w, OR_ENGINE, e, sizeof(*e), w->region + offload_cq_at(w->slots),
         (w->c.cq.consumed - 1) & (w->c.cq.count - 1));
    return f;
}

/* A ring that has been in use for a long time: the indices run over their end in some worlds. */
static void
aged(struct or_world *w, struct ring_producer *p, struct ring_consumer *c)
{
    uint32_t at = dice_below(&w->dice, 2) == 0 ? UINT32_MAX - dice_below(&w->dice, 60) : 0;

    p->sh->produced = p->sh->consumed = at;
    p->produced = p->published = p->consumed = at;
    c->consumed = c->produced = at;
    w->counts->wraps += at > 0;
}

static void
attach(struct or_world *w)
{
    uint32_t count = offload_ring_count(w->slots);

    memset(w->region, 0, offload_region_size(w->slots));
    w->c = (struct or_client){.asleep = false};
    w->e = (struct or_engine){.asleep = false};
    w->over = false;
    ring_producer_init(&w->c.sq, w->region + offload_sq_at(), sizeof(struct offload_sqe), count);
    ring_consumer_init(&w->e.sq, w->region + offload_sq_at(), sizeof(struct offload_sqe), count);
    ring_producer_init(&w->e.cq, w->region + offload_cq_at(w->slots), sizeof(struct offload_cqe),
                       count);
    ring_consumer_init(&w->c.cq, w->region + offload_cq_at(w->slots), sizeof(struct offload_cqe),
                       count);
    aged(w, &w->c.sq, &w->e.sq);
    aged(w, &w->e.cq, &w->c.cq);
    if (slots_init(&w->c.slots, w->slots, true) < 0 ||
        slots_init(&w->e.slots, w->slots, false) < 0 ||
        arena_init(&w->c.arena, w->arena, OR_ARENA, true) < 0)
        abort();
}

static void
detach(struct or_world *w)
{
    arena_fini(&w->c.arena);
    slots_fini(&w->c.slots);
    slots_fini(&w->e.slots);
}

/* Nothing is written to what is free; only an engine that tells of an end before it is there does.
 */
static void
arena_is_clean(struct or_world *w)
{
    OR_CHECK(w, w->liar != OR_NOBODY || (arena_check(&w->c.arena) && w->c.arena.spoiled == 0));
}

/* Killed, seen to be gone, reaped; and then there is a new one. */
static void
engine_dies(struct or_world *w)
{
    unsigned before = dice_below(&w->dice, 20), after = dice_below(&w->dice, 20);

    w->counts->deaths++;
    for (unsigned i = 0; i < before && !w->over; i++)
        dice_below(&w->dice, 2) == 0 ? or_client_step(w) : or_engine_last_step(w);
    for (unsigned i = 0; i < after; i++)
        dice_below(&w->dice, 2) == 0 ? or_client_gone_step(w) : or_engine_last_step(w);
    or_client_fence(w);
    arena_is_clean(w);
    OR_CHECK(w, w->c.arena.buddy.taken == 0 && w->c.slots.live == 0);
}

/* Both run until both sleep, woken by their bells alone: then everything is done. */
static void
settle(struct or_world *w)
{
    bool any = true;

    for (unsigned turns = 0; any; turns++) {
        OR_CHECK(w, turns < 1000);
        any = or_client_turn(w);
        any |= or_engine_turn(w);
        any |= w->c.bell || w->e.bell;
    }
    OR_CHECK(w, w->c.slots.live == 0 && w->e.slots.live == 0);
    OR_CHECK(w, w->c.arena.buddy.taken == 0);
    OR_CHECK(w, w->c.slots.stale == 0);
}

static void
phase(struct or_world *w)
{
    for (unsigned i = 0; i < STEPS && !w->over; i++)
        dice_below(&w->dice, 2) == 0 ? or_client_step(w) : or_engine_step(w);
    arena_is_clean(w);
    if (w->liar == OR_NOBODY && dice_below(&w->dice, 3) > 0) {
        settle(w);
        arena_is_clean(w);
        return;
    }
    w->counts->broken += w->over;
    engine_dies(w); /* or it has lied, or was lied to: to the client that is the same */
    detach(w);
    attach(w);
}

static void
run(uint64_t seed, struct or_counts *counts)
{
    struct or_world w = {.seed = seed, .dice = {seed}, .counts = counts};

    offload_ring_hook = &w;
    w.liar = (enum or_liar)dice_below(&w.dice, 3);
    w.slots = 1 + dice_below(&w.dice, OR_SLOTS_MAX);
    w.limits = (struct offload_limits){w.slots, OR_ARENA};
    w.region = aligned_alloc(4096, offload_region_size(w.slots));
    w.arena = aligned_alloc(4096, OR_ARENA);
    if (w.region == NULL || w.arena == NULL)
        abort();
    attach(&w);
    for (unsigned i = 0; i < PHASES; i++)
        phase(&w);
    detach(&w);
    free(w.region);
    free(w.arena);
    counts->worlds++;
}

int
main(int argc, char **argv)
{
    uint64_t first = 1, seeds = 1000;
    struct or_counts n = {0};

    for (int i = 1; i < argc; i += 2) {
        uint64_t *to = strcmp(argv[i], "--first") == 0   ? &first
                       : strcmp(argv[i], "--seeds") == 0 ? &seeds
                                                         : NULL;

        if (to == NULL || i + 1 == argc || (*to = strtoull(argv[i + 1], NULL, 10)) == 0) {
            (void)fprintf(stderr, "usage: %s [--first N] [--seeds N]\n", argv[0]);
            return 2;
        }
    }
    for (uint64_t seed = first; seed < first + seeds; seed++)
        run(seed, &n);
    printf("%" PRIu64 " worlds, %" PRIu64 " commands; asleep %" PRIu64 " times; %" PRIu64
           " rings at their end; dropped %" PRIu64 "; found out %" PRIu64 "; engines gone %" PRIu64
           ", before which %" PRIu64 " commands had to wait\n",
           n.worlds, n.uses, n.slept, n.wraps, n.stale, n.broken, n.deaths, n.refused_before_fence);
    /* A world in which nothing happens finds nothing. */
    return seeds < 100 || (n.uses > 20 * seeds && n.slept > seeds && n.wraps > seeds / 2 &&
                           n.stale > seeds / 10 && n.broken > seeds / 2 &&
                           n.refused_before_fence > seeds / 2)
               ? 0
               : 1;
}
