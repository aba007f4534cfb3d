/* SPDX-License-Identifier: MIT */
/* cmd/lunette/hist.h - a log-linear histogram of nanoseconds: 64 steps for each power of two, so a
 * percentile is right to 1.6 %.  Fixed memory, no allocation. */
#ifndef CMD_LUNETTE_HIST_H
#define CMD_LUNETTE_HIST_H

#include <stdint.h>

#define HIST_STEP_BITS 6
#define HIST_STEPS     (1u << HIST_STEP_BITS)
#define HIST_POWERS    34 /* up to 2^40 ns: 18 minutes */

#define HIST_CELLS (HIST_POWERS * HIST_STEPS + HIST_STEPS)

struct hist {
    uint64_t count, max, sum;
    uint64_t cell[HIST_CELLS];
};

static inline uint32_t
hist_cell(uint64_t ns)
{
    if (ns < HIST_STEPS)
        return (uint32_t)ns;
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(ns) - HIST_STEP_BITS;
    if (shift >= HIST_POWERS)
        return HIST_CELLS - 1;
    return (shift + 1) * HIST_STEPS + (uint32_t)(ns >> shift) - HIST_STEPS;
}

/* Adds the same value n times. */
static inline void
hist_add_n(struct hist *h, uint64_t ns, uint64_t n)
{
    if (n == 0)
        return;
    h->count += n;
    h->sum += ns * n;
    if (ns > h->max)
        h->max = ns;
    h->cell[hist_cell(ns)] += n;
}

static inline void
hist_add(struct hist *h, uint64_t ns)
{
    hist_add_n(h, ns, 1);
}

/* The value that `share` (0..1) of all values do not exceed; 0 if there are none. */
uint64_t hist_percentile(const struct hist *h, double share);

#endif
