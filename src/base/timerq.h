/* SPDX-License-Identifier: MIT */
/* base/timerq.h - timers in order of time: an intrusive pairing heap.
 *
 * Adding a timer is O(1), removing one O(log n) amortized, and nothing is allocated.
 * The real loop and the simulator's both use it, so that timers run in the same order
 * in both; of timers with the same time the one that was added first is first.
 * A queue belongs to one thread.
 */
#ifndef BASE_TIMERQ_H
#define BASE_TIMERQ_H

#include <stdbool.h>
#include <stdint.h>

/* A timer, embedded in its owner, which keeps it until it is removed. */
struct timerq_node {
    uint64_t when_ns;                        /* on the clock of the loop */
    uint64_t seq;                            /* in the order of adding */
    struct timerq_node *child, *next, *prev; /* prev: elder sibling, or parent of a first child */
    bool queued;
};

/* A queue that is all zero is empty. */
struct timerq {
    struct timerq_node *root;
    uint64_t seq; /* that the next timer gets */
};

/* n must not be queued for timerq_add, and must be in q for timerq_del. */
void timerq_add(struct timerq *q, struct timerq_node *n, uint64_t when_ns);
void timerq_del(struct timerq *q, struct timerq_node *n);

/* The node with the earliest time, or NULL; it stays queued. */
static inline struct timerq_node *
timerq_first(const struct timerq *q)
{
    return q->root;
}

#endif
