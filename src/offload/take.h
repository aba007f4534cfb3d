/* SPDX-License-Identifier: MIT */
/* offload/take.h - the next entry of a ring, copied once, checked, and looked up.
 *
 * A ring cannot overflow between two sides that keep one rule: entries that were taken are given
 * back (ring_release) before what their slots allow the other to put is shown to it (ring_publish
 * of the other ring).
 */
#ifndef OFFLOAD_TAKE_H
#define OFFLOAD_TAKE_H

#include "offload/check.h"
#include "offload/slots.h"

enum offload_take {
    OFFLOAD_NONE,    /* there is no entry now */
    OFFLOAD_TAKEN,   /* *ret is fine */
    OFFLOAD_DROPPED, /* the entry was about a use of its slot that is over; it is counted */
    OFFLOAD_BROKEN,  /* the other side has done what it must not: *ret_why says what */
};

/* The engine's: TAKEN has claimed its slot in t. */
enum offload_take offload_take_sqe(struct ring_consumer *sq, struct slots *t,
                                   const struct offload_limits *lim, struct offload_sqe *ret,
                                   enum offload_fault *ret_why);

/* The client's: asked[] has what each slot in use was taken for.  TAKEN leaves its slot in use,
 * until the caller has copied what it wants and gives it.  While the slots are held there is
 * nothing. */
enum offload_take offload_take_cqe(struct ring_consumer *cq, struct slots *t,
                                   const struct offload_limits *lim,
                                   const struct offload_asked asked[], struct offload_cqe *ret,
                                   enum offload_fault *ret_why);

#endif
