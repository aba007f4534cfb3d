/* SPDX-License-Identifier: MIT */
/* offload_ring.h - a world of one client and one engine with rings, arena and slots between them,
 * and nothing else: no loop, no session.
 *
 * Both run on one thread, and a seed decides whose step is next; a step is one call of src/offload.
 * So whatever two processes can do between two calls of each other happens in some seed.  What a
 * process can do within a call of the other happens where a check has just looked at an entry: the
 * other one then writes over it in the ring (offload_ring_hook).
 *
 * In a seed nobody lies, or the client does, or the engine.  Who lies writes anything anywhere in
 * the shared memory; the other one must not believe it.  An engine may be killed, and then goes on
 * to write to data of its commands until it is reaped.
 */
#ifndef TESTS_SIM_OFFLOAD_RING_H
#define TESTS_SIM_OFFLOAD_RING_H

#include "offload/arena.h"
#include "offload/take.h"
#include "tests/support/dice.h"

#define OR_SLOTS_MAX 16
#define OR_PAGES     24
#define OR_ARENA     ((uint64_t)OR_PAGES * ARENA_PAGE)

enum or_liar { OR_NOBODY, OR_CLIENT, OR_ENGINE };

/* One use of a slot, as it really is. */
struct or_use {
    struct offload_sqe sqe; /* as it was put */
    uint64_t id;            /* of all uses of the world: what its data look like */
    bool live;              /* at the client */
    bool finished;          /* by the engine */
    uint32_t resid_in;      /* as the engine has told */
};

struct or_client {
    struct ring_producer sq;
    struct ring_consumer cq;
    struct slots slots;
    struct arena arena;
    struct offload_asked asked[OR_SLOTS_MAX];
    struct or_use use[OR_SLOTS_MAX];
    bool asleep, idle; /* idle: the last look found nothing */
    bool bell;
};

/* A command that the engine works on. */
struct or_work {
    struct offload_sqe sqe;
    bool live;
    uint32_t moved; /* bytes of in */
};

struct or_engine {
    struct ring_consumer sq;
    struct ring_producer cq;
    struct slots slots;
    struct or_work work[OR_SLOTS_MAX];
    struct offload_cqe last[OR_SLOTS_MAX]; /* that it has put for each slot */
    bool asleep, idle;
    bool bell;
    bool killed, reaped;
};

struct or_counts {
    uint64_t worlds, uses, stale, broken, deaths, slept, wraps, refused_before_fence;
};

struct or_world {
    uint64_t seed;
    struct dice dice;
    enum or_liar liar;
    uint32_t slots;
    struct offload_limits limits;
    uint8_t *region, *arena; /* shared */
    uint64_t next_id;
    struct or_client c;
    struct or_engine e;
    bool over; /* the attachment: one side has found out that the other lies */
    bool checked;
    uint8_t seen[sizeof(struct offload_sqe)]; /* what the check of that entry has looked at */
    struct or_counts *counts;
};

/* As assert, with the seed. */
#define OR_CHECK(w, cond)                                                                          \
    do {                                                                                           \
        if (!(cond))                                                                               \
            or_fail(w, __FILE__, __LINE__, #cond);                                                 \
    } while (0)
_Noreturn void or_fail(const struct or_world *w, const char *file, int line, const char *what);

/* One step of each side; the client's, once it has seen that the engine is gone, and what an engine
 * does that is killed and not yet reaped. */
void or_client_step(struct or_world *w);
void or_client_gone_step(struct or_world *w);
void or_engine_step(struct or_world *w);
void or_engine_last_step(struct or_world *w);

/* Everything that a side does when it is woken, up to its sleep; false: it sleeps, and its bell is
 * silent. */
bool or_client_turn(struct or_world *w);
bool or_engine_turn(struct or_world *w);

/* The engine runs no more: each command ends. */
void or_client_fence(struct or_world *w);

/* The byte at `at` of the data of a use. */
uint8_t or_byte(uint64_t id, uint32_t at);

/* A number that a liar likes. */
uint64_t or_lie(struct or_world *w);
/* A few of them over an entry. */
void or_lie_over(struct or_world *w, void *entry, size_t size);
/* And over an index, or all of a ring. */
void or_lie_ring(struct or_world *w, struct ring_shared *sh, uint32_t *index, uint8_t *entries,
                 size_t size);

/* The world in which offload_check_sqe and offload_check_cqe are called. */
extern struct or_world *offload_ring_hook;

#endif
