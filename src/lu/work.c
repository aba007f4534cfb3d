/* SPDX-License-Identifier: MIT */
#include "lu/work.h"

#include <assert.h>

#define COST_MIN (16u << 10) /* what a slice costs at least: that it is done at all */

/* Takes w out; its owner loses its turn with its last work. */
static void
leave_owner(struct lu_work *w)
{
    list_del(&w->link);
    if (list_empty(&w->owner->works))
        list_del(&w->owner->link);
}

/* One slice of the owner whose turn it is. */
static void
do_slice(struct lu_worker *k)
{
    struct lu_work_owner *o = container_of(k->owners.next, struct lu_work_owner, link);
    struct lu_work *w = container_of(o->works.next, struct lu_work, link);
    uint32_t bytes = w->slice(w);

    k->cost += bytes > COST_MIN ? bytes : COST_MIN;
    if (bytes > 0) {
        list_del(&o->link);
        list_push_back(&k->owners, &o->link);
        return;
    }
    leave_owner(w);
    w->done(w);
}

static void
do_some(struct lu_worker *k)
{
    while (k->cost < LU_TURN_COST && !list_empty(&k->owners))
        do_slice(k);
    if (!list_empty(&k->owners) && !loop_timer_running(&k->timer))
        loop_timer_start(k->loop, &k->timer, 0); /* which is in the next turn */
}

static void
worker_next_turn(struct loop_timer *t)
{
    struct lu_worker *k = container_of(t, struct lu_worker, timer);

    k->turn_ns = k->loop->now_ns;
    k->cost = 0;
    do_some(k);
}

void
lu_worker_init(struct lu_worker *k, struct loop *loop)
{
    k->loop = loop;
    k->turn_ns = k->cost = 0;
    list_init(&k->owners);
    loop_timer_init(&k->timer, worker_next_turn);
}

void
lu_worker_fini(struct lu_worker *k)
{
    assert(list_empty(&k->owners));
    loop_timer_stop(k->loop, &k->timer);
}

void
lu_work_owner_init(struct lu_work_owner *o)
{
    list_init(&o->link);
    list_init(&o->works);
}

void
lu_work_start(struct lu_worker *k, struct lu_work_owner *o, struct lu_work *w)
{
    assert(list_empty(&w->link));
    w->owner = o;
    list_push_back(&o->works, &w->link);
    if (list_empty(&o->link))
        list_push_back(&k->owners, &o->link);
    if (k->turn_ns != k->loop->now_ns) {
        k->turn_ns = k->loop->now_ns;
        k->cost = 0;
    }
    do_some(k);
}

bool
lu_work_cancel(struct lu_work *w)
{
    if (list_empty(&w->link))
        return false;
    leave_owner(w);
    return true;
}
