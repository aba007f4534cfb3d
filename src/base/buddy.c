/* SPDX-License-Identifier: MIT */
#include "base/buddy.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum unit_use {
    UNIT_INSIDE, /* of a block that begins before it */
    UNIT_FREE,   /* a free block begins here */
    UNIT_TAKEN,
};

/* Links are indexes from 1 on; 0: none. */
struct buddy_unit {
    uint32_t next, prev; /* UNIT_FREE */
    uint8_t use, order;  /* not of UNIT_INSIDE */
};

static void
buddy_link(struct buddy *b, uint32_t at, unsigned order)
{
    struct buddy_unit *u = &b->unit[at];

    *u = (struct buddy_unit){.next = b->head[order], .use = UNIT_FREE, .order = (uint8_t)order};
    if (u->next != 0)
        b->unit[u->next - 1].prev = at + 1;
    b->head[order] = at + 1;
}

static void
buddy_unlink(struct buddy *b, uint32_t at)
{
    struct buddy_unit *u = &b->unit[at];

    assert(u->use == UNIT_FREE);
    if (u->next != 0)
        b->unit[u->next - 1].prev = u->prev;
    if (u->prev != 0)
        b->unit[u->prev - 1].next = u->next;
    else
        b->head[u->order] = u->next;
    u->use = UNIT_INSIDE;
}

/* The order of the largest block that can begin at `at`, a multiple of its size, and that does not
 * reach past the end. */
static unsigned
order_at(const struct buddy *b, uint32_t at)
{
    unsigned order = 0;

    while (UINT32_C(2) << order <= b->largest && at % (UINT32_C(2) << order) == 0 &&
           UINT32_C(2) << order <= b->units - at)
        order++;
    return order;
}

int
buddy_init(struct buddy *b, uint32_t units, uint32_t largest)
{
    assert(units > 0 && units <= BUDDY_UNITS_MAX);
    assert(largest > 0 && largest <= BUDDY_LARGEST && (largest & (largest - 1)) == 0);
    *b = (struct buddy){.units = units, .largest = largest};
    b->largest = UINT32_C(1) << order_at(b, 0);
    b->unit = calloc(units, sizeof(b->unit[0]));
    if (b->unit == NULL)
        return -ENOMEM;
    for (uint32_t at = 0; at < units;) {
        unsigned order = order_at(b, at);

        buddy_link(b, at, order);
        at += UINT32_C(1) << order;
    }
    return 0;
}

void
buddy_fini(struct buddy *b)
{
    free(b->unit);
    *b = (struct buddy){.unit = NULL};
}

static unsigned
buddy_order(uint32_t units)
{
    unsigned order = 0;

    while (UINT32_C(1) << order < units)
        order++;
    return order;
}

uint32_t
buddy_rounded(uint32_t units)
{
    return UINT32_C(1) << buddy_order(units);
}

int
buddy_take(struct buddy *b, uint32_t units, uint32_t *ret)
{
    unsigned want, order;
    uint32_t at;

    assert(units > 0 && units <= b->largest);
    want = buddy_order(units);
    for (order = want; order < BUDDY_ORDERS && b->head[order] == 0; order++)
        ;
    if (order == BUDDY_ORDERS)
        return -EAGAIN;
    at = b->head[order] - 1;
    buddy_unlink(b, at);
    while (order > want) { /* the upper half stays free */
        order--;
        buddy_link(b, at + (UINT32_C(1) << order), order);
    }
    b->unit[at] = (struct buddy_unit){.use = UNIT_TAKEN, .order = (uint8_t)want};
    b->taken++;
    *ret = at;
    return 0;
}

uint32_t
buddy_give(struct buddy *b, uint32_t at)
{
    unsigned order;
    uint32_t units;

    assert(at < b->units && b->unit[at].use == UNIT_TAKEN);
    order = b->unit[at].order;
    units = UINT32_C(1) << order;
    b->unit[at].use = UNIT_INSIDE;
    while (UINT32_C(1) << order < b->largest) {
        uint32_t other = at ^ UINT32_C(1) << order;

        if (other >= b->units || b->unit[other].use != UNIT_FREE || b->unit[other].order != order)
            break;
        buddy_unlink(b, other);
        at &= ~(UINT32_C(1) << order);
        order++;
    }
    buddy_link(b, at, order);
    b->taken--;
    return units;
}

bool
buddy_next_free(const struct buddy *b, uint32_t at, uint32_t *ret_at, uint32_t *ret_units)
{
    for (; at < b->units; at++) {
        if (b->unit[at].use == UNIT_FREE) {
            *ret_at = at;
            *ret_units = UINT32_C(1) << b->unit[at].order;
            return true;
        }
    }
    return false;
}
