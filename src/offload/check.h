/* SPDX-License-Identifier: MIT */
/* offload/check.h - what is wrong with an entry that came from the other side.
 *
 * Both functions look at a copy of an entry (ring_get) and nothing else.  What a kind of entry, or
 * a length of 0, leaves unused has to be 0, except the LUN, and the bytes of a CDB that is in the
 * arena.  Slots and generations are looked up by offload/slots.h, sessions by whoever has them.
 */
#ifndef OFFLOAD_CHECK_H
#define OFFLOAD_CHECK_H

#include "offload/entry.h"

/* What both sides have kept of ATTACH. */
struct offload_limits {
    uint32_t slots; /* 1..OFFLOAD_SLOTS_MAX */
    uint64_t arena; /* bytes */
};

/* What a client has asked for in a slot. */
struct offload_asked {
    uint8_t kind; /* enum offload_sq_kind */
    uint32_t sid;
    uint32_t in_len, out_len; /* bytes; 0 of a TMF */
};

enum offload_fault {
    OFFLOAD_FINE,
    OFFLOAD_BAD_KIND,
    OFFLOAD_BAD_SLOT,       /* not below slots, or an abort of itself */
    OFFLOAD_BAD_GENERATION, /* the slot is in use, or was never asked for */
    OFFLOAD_BAD_INDEX,      /* of the ring */
    OFFLOAD_BAD_RESERVED,   /* something that is not used is not 0 */
    OFFLOAD_BAD_ATTR,
    OFFLOAD_BAD_CDB_LEN,
    OFFLOAD_BAD_RANGE, /* data, or a CDB, not within the arena */
    OFFLOAD_BAD_FUNCTION,
    OFFLOAD_BAD_RESULT,   /* host_result, result, info or overflow */
    OFFLOAD_BAD_SENSE,    /* longer than sense can be */
    OFFLOAD_BAD_STATE,    /* of the session */
    OFFLOAD_BAD_RESIDUAL, /* more than was asked for */
    OFFLOAD_BAD_ANSWER,   /* another kind, or another session, than what was asked */
    OFFLOAD_FAULTS,
};

/* For a sentence such as "the engine has sent an entry that has ...". */
const char *offload_fault_text(enum offload_fault f);

/* The engine's: whether it may do what the entry asks for.  OFFLOAD_FINE: every offset with its
 * length is within the arena, in 64 bits. */
enum offload_fault offload_check_sqe(const struct offload_sqe *e, const struct offload_limits *lim);

/* The client's, before it knows what the entry is about. */
enum offload_fault offload_check_cqe(const struct offload_cqe *e, const struct offload_limits *lim);
/* And then, for an entry that is fine, when it does: `asked` in its slot. */
enum offload_fault offload_check_answer(const struct offload_cqe *e,
                                        const struct offload_asked *asked);

#endif
