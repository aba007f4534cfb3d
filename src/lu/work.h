/* SPDX-License-Identifier: MIT */
/* lu/work.h - long work of commands, done in slices.
 *
 * A command that fills, frees or compares many megabytes would keep everybody else
 * waiting.  Its work is cut into slices.  A turn of the loop does about LU_TURN_COST bytes
 * of them; what is left goes on in the next turn.  Owners, which are nexuses, take turns
 * slice by slice; the works of one owner are done one after the other.
 */
#ifndef LU_WORK_H
#define LU_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "seam/loop.h"

#define LU_SLICE     (512u << 10) /* bytes that a slice deals with at most */
#define LU_TURN_COST (1u << 20)

/* One for all devices of a loop, embedded in its owner. */
struct lu_worker {
    struct loop *loop;
    struct loop_timer timer;
    struct list owners; /* struct lu_work_owner with works, the next first */
    uint64_t turn_ns;   /* of the turn in which `cost` was spent */
    uint64_t cost;
};

struct lu_work_owner {
    struct list link;  /* lu_worker.owners */
    struct list works; /* struct lu_work by link */
};

struct lu_work {
    struct list link;
    struct lu_work_owner *owner;
    /* Does a slice and returns how many bytes it has dealt with; 0: nothing is left to do. */
    uint32_t (*slice)(struct lu_work *w);
    /* Called when nothing is left.  w is in no list any more. */
    void (*done)(struct lu_work *w);
};

void lu_worker_init(struct lu_worker *k, struct loop *loop);
/* Called when no work is left. */
void lu_worker_fini(struct lu_worker *k);

/* Prepares an owner that has no works. */
void lu_work_owner_init(struct lu_work_owner *o);

/* Prepares work that is not under way. */
static inline void
lu_work_init(struct lu_work *w)
{
    list_init(&w->link);
}

/* Begins w, whose functions the caller has set.  w->done is called in this call if there is not
 * much to do, or later. */
void lu_work_start(struct lu_worker *k, struct lu_work_owner *o, struct lu_work *w);

/* Ends w without calling w->done; does nothing and returns false when it is not under way. */
bool lu_work_cancel(struct lu_work *w);

#endif
