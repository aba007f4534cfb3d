/* SPDX-License-Identifier: MIT */
/* offload/turn.c - what comes out of an engine's ring, and what goes into ours.
 *
 * Entries are taken until there is none, or until others of the loop are to have their turn.  Then
 * the ring is looked at again without a bell for as long as the loop spins, and then we sleep: the
 * engine rings only a bell of somebody who has said so.
 */
#include "offload/turn.h"

#include <stdio.h>

#define TURN_ENTRIES 64 /* that are taken before others have their turn */

void
offload_publish(struct offload_attach *at)
{
    if (at->state != OFFLOAD_UP)
        return;
    ring_release(&at->share.cq); /* before what their slots allow (offload/take.h) */
    if (ring_publish(&at->share.sq))
        shm_bell_ring(at->loop, at->share.bell_engine);
}

/* False: there is nothing more, or the engine has done what it must not, and `what` says so. */
static bool
turn_take(struct offload_attach *at, char *what, size_t size)
{
    struct offload_share *sh = &at->share;
    enum offload_fault why = OFFLOAD_FINE;
    struct offload_user *u;
    struct offload_cqe e;

    switch (offload_take_cqe(&sh->cq, &sh->slots, &sh->lim, sh->asked, &e, &why)) {
    case OFFLOAD_NONE:
        return false;
    case OFFLOAD_DROPPED:
        at->stale++;
        return true;
    case OFFLOAD_BROKEN:
        (void)snprintf(what, size, "has sent an entry that has %s", offload_fault_text(why));
        return false;
    case OFFLOAD_TAKEN:
        break;
    }
    at->looked_ns = at->loop->now_ns;
    u = sh->use[e.slot].user;
    if (u != NULL)
        u->answer(u, &e);
    else
        offload_share_give(sh, e.slot);
    /* It may be that there is no attachment any more. */
    if (at->state == OFFLOAD_UP && sh->arena.spoiled != 0) {
        (void)snprintf(what, size, "has written to data of a request that had ended (offset %llu)",
                       (unsigned long long)sh->arena.spoiled_at);
        return false;
    }
    return true;
}

/* Whoever was served first is last the next time. */
static void
turn_tell_room(struct offload_attach *at)
{
    unsigned n = 0;

    at->want_room = false;
    LIST_FOREACH (node, &at->users)
        n++;
    for (; n > 0 && !list_empty(&at->users) && at->state == OFFLOAD_UP; n--) {
        struct offload_user *u =
            container_of(list_pop_front(&at->users), struct offload_user, node);

        list_push_back(&at->users, &u->node);
        if (u->room != NULL && u->up)
            u->room(u);
    }
}

static bool
turn_spins(const struct offload_attach *at)
{
    uint64_t spin = at->loop->shm_spin_ns;

    return spin > 0 && at->looked_ns != 0 && at->loop->now_ns - at->looked_ns < spin;
}

bool
offload_turn(struct offload_attach *at, char *what, size_t size)
{
    unsigned n = 0;

    what[0] = '\0';
    while (n < TURN_ENTRIES && at->state == OFFLOAD_UP && turn_take(at, what, size))
        n++;
    if (at->state != OFFLOAD_UP || what[0] != '\0')
        return false;
    ring_release(&at->share.cq);
    if (n > 0 && at->want_room)
        turn_tell_room(at);
    if (at->state != OFFLOAD_UP)
        return false;
    return n == TURN_ENTRIES || turn_spins(at) || !ring_sleep(&at->share.cq);
}

void
offload_give_back(struct offload_attach *at)
{
    struct offload_share *sh = &at->share;

    for (uint32_t i = slots_next_live(&sh->slots, 0); i < sh->slots.count;
         i = slots_next_live(&sh->slots, i + 1)) {
        struct offload_use u = sh->use[i];

        offload_share_give(sh, i);
        if (u.user != NULL)
            u.user->back(u.user, &u);
    }
    (void)arena_check(&sh->arena);
    if (sh->arena.spoiled != 0)
        log_line(at->loop->log, LOG_LEVEL_ERROR,
                 "the engine at %s had written to data of requests that had ended", at->opt.engine);
}
