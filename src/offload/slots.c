/* SPDX-License-Identifier: MIT */
#include "offload/slots.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "offload/entry.h"

struct slots_one {
    void *owner;
    uint32_t generation; /* of its last use; 0: there was none */
    uint16_t next;       /* free ones of a client: the next one, from 1; 0: none */
    bool live;
};

int
slots_init(struct slots *t, uint32_t count, bool ours)
{
    assert(count > 0 && count <= OFFLOAD_SLOTS_MAX);
    *t = (struct slots){.count = count, .ours = ours, .one = calloc(count, sizeof(*t->one))};
    if (t->one == NULL)
        return -ENOMEM;
    for (uint32_t i = count; ours && i > 0; i--) {
        t->one[i - 1].next = (uint16_t)t->free;
        t->free = i;
    }
    return 0;
}

void
slots_fini(struct slots *t)
{
    free(t->one);
    *t = (struct slots){.one = NULL};
}

int
slots_take(struct slots *t, uint32_t spare, uint16_t *ret_slot, uint32_t *ret_generation)
{
    struct slots_one *one;

    assert(t->ours);
    if (t->held || t->count - t->live <= spare)
        return -EAGAIN;
    one = &t->one[t->free - 1];
    assert(!one->live);
    *ret_slot = (uint16_t)(t->free - 1);
    t->free = one->next;
    if (++one->generation == 0)
        one->generation = 1;
    one->live = true;
    one->owner = NULL;
    t->live++;
    *ret_generation = one->generation;
    return 0;
}

/* As serial numbers: 0 if they are the same, above 0 if a is ahead. */
static int32_t
ahead(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

int
slots_claim(struct slots *t, uint32_t slot, uint32_t generation)
{
    struct slots_one *one;

    assert(!t->ours);
    if (slot >= t->count || generation == 0)
        return -EPROTO;
    one = &t->one[slot];
    if (one->live || (one->generation != 0 && ahead(generation, one->generation) <= 0))
        return -EPROTO;
    one->generation = generation;
    one->live = true;
    one->owner = NULL;
    t->live++;
    return 0;
}

void
slots_own(struct slots *t, uint32_t slot, void *owner)
{
    assert(slot < t->count && t->one[slot].live);
    t->one[slot].owner = owner;
}

void *
slots_owner(const struct slots *t, uint32_t slot)
{
    assert(slot < t->count && t->one[slot].live);
    return t->one[slot].owner;
}

enum slots_look
slots_look(struct slots *t, uint32_t slot, uint32_t generation)
{
    const struct slots_one *one;

    if (slot >= t->count || generation == 0)
        return SLOTS_IMPOSSIBLE;
    one = &t->one[slot];
    if (one->live && generation == one->generation)
        return SLOTS_LIVE;
    if (one->generation == 0 || ahead(generation, one->generation) > 0)
        return SLOTS_IMPOSSIBLE;
    t->stale++;
    return SLOTS_STALE;
}

uint32_t
slots_next_live(const struct slots *t, uint32_t slot)
{
    while (slot < t->count && !t->one[slot].live)
        slot++;
    return slot;
}

bool
slots_give(struct slots *t, uint32_t slot)
{
    assert(slot < t->count && t->one[slot].live);
    if (t->held)
        return false;
    t->one[slot].live = false;
    t->live--;
    if (t->ours) {
        t->one[slot].next = (uint16_t)t->free;
        t->free = slot + 1;
    }
    return true;
}

void
slots_hold(struct slots *t)
{
    t->held = true;
}

void
slots_fence(struct slots *t)
{
    t->held = false;
}
