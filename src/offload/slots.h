/* SPDX-License-Identifier: MIT */
/* offload/slots.h - which slots are in use, and by which of their uses (offload/entry.h).
 *
 * A client takes slots, and its engine claims them as their entries come; each keeps a table of its
 * own in private memory and believes nothing else.  Generations begin at 1, and each use has one
 * that is ahead of the one before, as serial numbers are (RFC 1982): so what is behind has been,
 * and what is ahead has never been.  One thread.
 */
#ifndef OFFLOAD_SLOTS_H
#define OFFLOAD_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

struct slots_one;

struct slots {
    struct slots_one *one;
    uint32_t count;
    uint32_t live; /* slots that are in use */
    uint32_t free; /* of a client: the first that is not, from 1; 0: none */
    bool ours;     /* of a client */
    bool held;
    uint64_t stale; /* how often slots_look has seen a use that is over */
};

enum slots_look {
    SLOTS_LIVE,
    SLOTS_STALE,      /* that use is over */
    SLOTS_IMPOSSIBLE, /* there never was such a use */
};

/* A table of `count` slots, 1..OFFLOAD_SLOTS_MAX, none of which is in use.  ours: a client's, which
 * takes them; else an engine's, which claims them.  0 or -ENOMEM. */
int slots_init(struct slots *t, uint32_t count, bool ours);
void slots_fini(struct slots *t);

/* A client begins a use, and leaves `spare` slots free for others.  0; -EAGAIN: too many are in
 * use, or they are held. */
int slots_take(struct slots *t, uint32_t spare, uint16_t *ret_slot, uint32_t *ret_generation);

/* An engine sees a use begin.  0; -EPROTO: there is no such slot, it is in use, or the generation
 * is not ahead of the one before. */
int slots_claim(struct slots *t, uint32_t slot, uint32_t generation);

/* Whatever the use of a slot is for, while it lasts; NULL when it begins. */
void slots_own(struct slots *t, uint32_t slot, void *owner);
void *slots_owner(const struct slots *t, uint32_t slot);

/* Looks up what the other side has named. */
enum slots_look slots_look(struct slots *t, uint32_t slot, uint32_t generation);
/* The first slot that is in use from `slot` on; count: none. */
uint32_t slots_next_live(const struct slots *t, uint32_t slot);

/* The use of a slot is over.  True: it is free, and so is what belonged to it.  False: the slots
 * are held, and nothing has happened: the other side may still write to the data of that use, which
 * goes on, and is to be given once more behind slots_fence. */
bool slots_give(struct slots *t, uint32_t slot) __attribute__((warn_unused_result));

/* The other side is gone, or is believed no more, and may still run: from now on no use begins or
 * ends, until slots_fence tells that it runs no more (shm_process_watch of seam/shm.h). */
void slots_hold(struct slots *t);
void slots_fence(struct slots *t);

#endif
