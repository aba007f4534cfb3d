/* SPDX-License-Identifier: MIT */
/* base/timerq.h - timers in order of time: an intrusive pairing heap.
 *
 * Starting is O(1), stopping and expiring O(log n) amortized, nothing is
 * allocated.  Shared by the loops, so that real and simulated time keep the
 * same order (ties: first started, first expired).
 */
#ifndef BASE_TIMERQ_H
#define BASE_TIMERQ_H

#include <stdbool.h>
#include <stdint.h>

struct timerq_node {
    uint64_t when_ns;
    uint64_t seq;
    struct timerq_node *child, *next, *prev; /* prev: elder sibling, or parent of a first child */
    bool queued;
};

struct timerq {
    struct timerq_node *root;
    uint64_t seq;
};

/* n must not be queued. */
void timerq_add(struct timerq *q, struct timerq_node *n, uint64_t when_ns);
void timerq_del(struct timerq *q, struct timerq_node *n);

/* The node with the earliest time, or NULL; it stays queued. */
static inline struct timerq_node *
timerq_first(const struct timerq *q)
{
    return q->root;
}

#endif
