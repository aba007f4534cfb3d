/* SPDX-License-Identifier: MIT */
#include "cmd/lunette/hist.h"

#include <stddef.h>

/* The largest value that falls into the cell. */
static uint64_t
upper(uint32_t cell)
{
    if (cell < HIST_STEPS)
        return cell;
    uint32_t shift = cell / HIST_STEPS - 1;
    return ((uint64_t)(cell % HIST_STEPS + HIST_STEPS + 1) << shift) - 1;
}

uint64_t
hist_percentile(const struct hist *h, double share)
{
    uint64_t want = (uint64_t)(share * (double)h->count + 0.5), seen = 0;

    if (h->count == 0)
        return 0;
    if (want == 0)
        want = 1;
    for (uint32_t i = 0; i < HIST_CELLS - 1; i++) {
        seen += h->cell[i];
        if (seen >= want)
            return upper(i) < h->max ? upper(i) : h->max;
    }
    return h->max; /* the last cell takes all longer times */
}
