/* SPDX-License-Identifier: MIT */
#include "target/segment.h"

static uint32_t
pdus_of(uint32_t bytes, uint32_t xmit)
{
    return (uint32_t)(((uint64_t)bytes + xmit - 1) / xmit);
}

/* Where the part and the burst of `off` end, both counted from base_off. */
static uint64_t
sequence_end(const struct tgt_seg *g, uint32_t off)
{
    uint64_t at = off - g->base_off, part = g->part != 0 ? at - at % g->part : 0;
    uint64_t end = part + ((at - part) / g->burst + 1) * g->burst;

    return g->part != 0 && end > part + g->part ? part + g->part : end;
}

uint32_t
tgt_seg_len(const struct tgt_seg *g, uint32_t off, uint32_t total)
{
    uint64_t at = off - g->base_off, len = sequence_end(g, off) - at;

    if (len > g->xmit)
        len = g->xmit;
    return len < total - off ? (uint32_t)len : total - off;
}

bool
tgt_seg_final(const struct tgt_seg *g, uint32_t end, uint32_t total)
{
    return end == total || sequence_end(g, end - 1) == end - g->base_off;
}

bool
tgt_seg_ack(const struct tgt_seg *g, uint32_t end, uint32_t total)
{
    uint64_t unit = g->burst;

    if (g->part != 0)
        unit = (uint64_t)pdus_of(g->burst, g->part) * g->part;
    return end != total && (end - g->base_off) % unit == 0;
}

uint32_t
tgt_seg_off(const struct tgt_seg *g, uint32_t data_sn)
{
    uint32_t n = data_sn - g->base_sn, burst_pdus = pdus_of(g->burst, g->xmit), part_pdus;
    uint64_t off = 0;

    if (g->part != 0) {
        part_pdus = g->part / g->burst * burst_pdus + pdus_of(g->part % g->burst, g->xmit);
        off = (uint64_t)(n / part_pdus) * g->part;
        n %= part_pdus;
    }
    off += (uint64_t)(n / burst_pdus) * g->burst + (uint64_t)(n % burst_pdus) * g->xmit;
    return g->base_off + (uint32_t)off;
}
