/* SPDX-License-Identifier: MIT */
#include "offload/take.h"

/* 1: *entry is the next one. */
static int
next_entry(struct ring_consumer *c, void *entry, enum offload_take *ret,
           enum offload_fault *ret_why)
{
    int r = ring_get(c, entry);

    *ret_why = r < 0 ? OFFLOAD_BAD_INDEX : OFFLOAD_FINE;
    *ret = r < 0 ? OFFLOAD_BROKEN : OFFLOAD_NONE;
    return r;
}

enum offload_take
offload_take_sqe(struct ring_consumer *sq, struct slots *t, const struct offload_limits *lim,
                 struct offload_sqe *ret, enum offload_fault *ret_why)
{
    enum offload_take got;

    if (next_entry(sq, ret, &got, ret_why) <= 0)
        return got;
    *ret_why = offload_check_sqe(ret, lim);
    if (*ret_why == OFFLOAD_FINE && slots_claim(t, ret->slot, ret->generation) < 0)
        *ret_why = OFFLOAD_BAD_GENERATION;
    return *ret_why == OFFLOAD_FINE ? OFFLOAD_TAKEN : OFFLOAD_BROKEN;
}

enum offload_take
offload_take_cqe(struct ring_consumer *cq, struct slots *t, const struct offload_limits *lim,
                 const struct offload_asked asked[], struct offload_cqe *ret,
                 enum offload_fault *ret_why)
{
    enum offload_take got;
    enum slots_look look;

    *ret_why = OFFLOAD_FINE;
    if (t->held)
        return OFFLOAD_NONE;
    if (next_entry(cq, ret, &got, ret_why) <= 0)
        return got;
    *ret_why = offload_check_cqe(ret, lim);
    if (*ret_why != OFFLOAD_FINE)
        return OFFLOAD_BROKEN;
    look = slots_look(t, ret->slot, ret->generation);
    if (look == SLOTS_STALE)
        return OFFLOAD_DROPPED;
    *ret_why =
        look == SLOTS_LIVE ? offload_check_answer(ret, &asked[ret->slot]) : OFFLOAD_BAD_GENERATION;
    return *ret_why == OFFLOAD_FINE ? OFFLOAD_TAKEN : OFFLOAD_BROKEN;
}
