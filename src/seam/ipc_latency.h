/* SPDX-License-Identifier: MIT */
/* seam/ipc_latency.h - how long the requests of a unit took (struct bdev_latency), as the data of
 * the answer to GET_LUN_STATS.
 *
 * Of each histogram that is not empty there are its class and its stage, one byte each, how many
 * buckets follow, one byte, and the sum of its times; then the buckets that are not 0, each with
 * its number, one byte, and its count.  Sums and counts have 64 bits, the low byte first.  The
 * server packs them and the client unpacks them.
 */
#ifndef SEAM_IPC_LATENCY_H
#define SEAM_IPC_LATENCY_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "seam/bdev.h"
#include "seam/ipc.h"

#define IPC_LATENCY_HEAD   11u       /* bytes before the buckets */
#define IPC_LATENCY_BUCKET 9u        /* bytes of one */
#define IPC_LATENCY_TOTAL  IO_STAGES /* in place of a stage: from end to end */

_Static_assert(BDEV_CLASSES *(IO_STAGES + 1) *
                       (IPC_LATENCY_HEAD + LATENCY_BUCKETS * IPC_LATENCY_BUCKET) <=
                   IPC_LATENCY_DATA_MAX,
               "all histograms fit");

static inline uint8_t *
ipc_latency_put(uint8_t *at, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        at[i] = (uint8_t)(v >> (8 * i));
    return at + 8;
}

static inline uint64_t
ipc_latency_get(const uint8_t *at)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < 8; i++)
        v |= (uint64_t)at[i] << (8 * i);
    return v;
}

static inline uint8_t *
ipc_latency_pack_one(const struct latency *h, uint8_t class, uint8_t stage, uint8_t *at)
{
    uint8_t *head = at;

    at = ipc_latency_put(at + 3, h->sum_ns);
    head[0] = class;
    head[1] = stage;
    head[2] = 0;
    for (uint32_t i = 0; i < LATENCY_BUCKETS; i++) {
        if (h->bucket[i] == 0)
            continue;
        head[2]++;
        *at = (uint8_t)i;
        at = ipc_latency_put(at + 1, h->bucket[i]);
    }
    return head[2] > 0 ? at : head;
}

/* Packs *l at `at`, where there are IPC_LATENCY_DATA_MAX bytes.  Returns the bytes that it took. */
static inline uint32_t
ipc_latency_pack(const struct bdev_latency *l, uint8_t *at)
{
    uint8_t *p = at;

    for (uint8_t c = 0; c < BDEV_CLASSES; c++) {
        p = ipc_latency_pack_one(&l->total[c], c, IPC_LATENCY_TOTAL, p);
        for (uint8_t s = 0; s < IO_STAGES; s++)
            p = ipc_latency_pack_one(&l->stage[c][s], c, s, p);
    }
    return (uint32_t)(p - at);
}

/* Unpacks len bytes into *ret, all of which it sets but `timed`.  What a later version adds,
 * another class, stage or bucket, is left out.  Returns false where the bytes make no sense. */
static inline bool
ipc_latency_unpack(const uint8_t *at, uint32_t len, struct bdev_latency *ret)
{
    const uint8_t *end = at + len;
    struct latency other, *h;

    memset(ret, 0, sizeof(*ret));
    while (at < end) {
        uint32_t n = end - at >= IPC_LATENCY_HEAD ? at[2] : 0;

        if (n == 0 || (size_t)(end - at) < IPC_LATENCY_HEAD + n * IPC_LATENCY_BUCKET)
            return false;
        h = &other;
        if (at[0] < BDEV_CLASSES && at[1] == IPC_LATENCY_TOTAL)
            h = &ret->total[at[0]];
        else if (at[0] < BDEV_CLASSES && at[1] < IPC_LATENCY_TOTAL)
            h = &ret->stage[at[0]][at[1]];
        h->sum_ns = ipc_latency_get(at + 3);
        at += IPC_LATENCY_HEAD;
        for (; n > 0; n--, at += IPC_LATENCY_BUCKET) {
            if (at[0] < LATENCY_BUCKETS)
                h->bucket[at[0]] = ipc_latency_get(at + 1);
        }
    }
    return true;
}

#endif
