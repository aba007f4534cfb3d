/* SPDX-License-Identifier: MIT */
/* block/count.c - sums of the counters of a queue. */
#include "block/internal.h"

uint64_t
blk_outstanding(const struct blk_queue *q)
{
    uint64_t n = blk_taken(q);

    for (int i = 0; i < BDEV_NOPS; i++)
        n -= q->stats.op[i].reqs;
    return n;
}

void
blk_stats_add(struct bdev_stats *to, const struct blk_queue *q)
{
    const struct bdev_stats *s = &q->stats;

    for (int i = 0; i < BDEV_NOPS; i++) {
        to->op[i].reqs += s->op[i].reqs;
        to->op[i].bytes += s->op[i].bytes;
        to->op[i].errors += s->op[i].errors;
    }
    to->pieces += s->pieces + blk_taken(q) - q->nother;
    to->splits += s->splits;
    to->requeues += s->requeues;
    to->busy += s->busy;
    to->timeouts += s->timeouts;
    to->driver_ns += s->driver_ns;
}
