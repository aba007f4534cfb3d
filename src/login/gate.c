/* SPDX-License-Identifier: MIT */
#include "login/gate.h"

#include <assert.h>

static bool
gate_has_room(const struct login_gate *g)
{
    return g->max == 0 || g->inside < g->max;
}

static void
gate_work(struct loop_work *w)
{
    struct login_gate *g = container_of(w, struct login_gate, work);

    while (gate_has_room(g) && !list_empty(&g->waiting)) {
        struct login_turn *t = container_of(list_pop_front(&g->waiting), struct login_turn, node);

        t->inside = true;
        g->inside++;
        t->passed(t); /* t may be gone */
    }
}

/* Lets those in for whom there is room, at the end of this turn of the loop. */
static void
gate_wake(struct login_gate *g)
{
    if (gate_has_room(g) && !list_empty(&g->waiting))
        loop_defer(g->loop, &g->work);
}

void
login_gate_init(struct login_gate *g, struct loop *loop, uint32_t max)
{
    *g = (struct login_gate){.loop = loop, .max = max};
    list_init(&g->waiting);
    loop_work_init(&g->work, gate_work);
}

void
login_gate_fini(struct login_gate *g)
{
    assert(g->inside == 0 && list_empty(&g->waiting));
    loop_defer_cancel(&g->work);
}

void
login_gate_set_max(struct login_gate *g, uint32_t max)
{
    g->max = max;
    gate_wake(g);
}

void
login_turn_init(struct login_turn *t, void (*passed)(struct login_turn *t))
{
    *t = (struct login_turn){.passed = passed};
    list_init(&t->node);
}

bool
login_gate_enter(struct login_gate *g, struct login_turn *t)
{
    assert(t->gate == NULL && t->passed != NULL);
    t->gate = g;
    if (gate_has_room(g) && list_empty(&g->waiting)) { /* nobody is overtaken */
        t->inside = true;
        g->inside++;
        return true;
    }
    list_push_back(&g->waiting, &t->node);
    return false;
}

void
login_gate_leave(struct login_turn *t)
{
    struct login_gate *g = t->gate;

    if (g == NULL)
        return;
    t->gate = NULL;
    list_del(&t->node);
    if (!t->inside)
        return;
    t->inside = false;
    assert(g->inside > 0);
    g->inside--;
    gate_wake(g);
}
