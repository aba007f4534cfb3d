/* SPDX-License-Identifier: MIT */
/* dataplane/ids.c - a counter, and a bit for each residue of the ids that live.
 *
 * A session holds the bit of its id modulo the table's size.  Two living
 * sessions never hold the same bit, so their ids differ even after the counter
 * has gone round, and no thread needs to know the sessions of another.
 */
#include "dataplane/ids.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SLOTS (DP_SIDS_MAX + 1u) /* bit 0 is never used, so that no id is 0 */
#define WORDS (SLOTS / 64)

struct dp_ids {
    _Atomic uint32_t last_sid;
    _Atomic uint64_t last_ep;
    _Atomic uint64_t used[WORDS];
};

struct dp_ids *
dp_ids_new(void)
{
    return calloc(1, sizeof(struct dp_ids));
}

void
dp_ids_free(struct dp_ids *ids)
{
    free(ids);
}

static uint64_t
bit_of(uint32_t sid)
{
    return (uint64_t)1 << (sid % 64);
}

static _Atomic uint64_t *
word_of(struct dp_ids *ids, uint32_t sid)
{
    return &ids->used[sid % SLOTS / 64];
}

uint32_t
dp_ids_take_sid(struct dp_ids *ids)
{
    for (uint32_t tries = 0; tries < SLOTS; tries++) {
        uint32_t sid = atomic_fetch_add_explicit(&ids->last_sid, 1, memory_order_relaxed) + 1;

        if (sid % SLOTS == 0)
            continue;
        /* acquire: whoever gives the id back has done with the session before */
        if (!(atomic_fetch_or_explicit(word_of(ids, sid), bit_of(sid), memory_order_acquire) &
              bit_of(sid)))
            return sid;
    }
    return 0;
}

void
dp_ids_put_sid(struct dp_ids *ids, uint32_t sid)
{
    uint64_t before =
        atomic_fetch_and_explicit(word_of(ids, sid), ~bit_of(sid), memory_order_release);

    assert(sid % SLOTS != 0 && (before & bit_of(sid)) != 0);
    (void)before;
}

uint64_t
dp_ids_take_ep(struct dp_ids *ids)
{
    return atomic_fetch_add_explicit(&ids->last_ep, 1, memory_order_relaxed) + 1;
}
