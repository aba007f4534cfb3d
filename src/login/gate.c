/* SPDX-License-Identifier: MIT */
#include "login/gate.h"

#include <assert.h>

static bool
gate_has_room(const struct login_gate *g)
{
    return g->max == 0 || g->inside < g->max;
}

/* Is there room for one more of those that stand behind? */
static bool
gate_has_room_behind(const struct login_gate *g)
{
    return g->max == 0 || g->inside_behind < (g->max > 1 ? g->max / 2 : 1);
}

static void
gate_pass(struct login_gate *g, struct login_turn *t)
{
    t->inside = true;
    g->inside++;
    g->inside_behind += t->behind;
    if (t->behind)
        g->overtaken = 0;
    else if (!list_empty(&g->behind))
        g->overtaken++;
}

/* Whose turn it is, or NULL: nobody's. */
static struct login_turn *
gate_next(const struct login_gate *g)
{
    bool behind = !list_empty(&g->behind) && gate_has_room_behind(g) &&
                  (list_empty(&g->waiting) || g->overtaken >= LOGIN_GATE_OVERTAKEN);
    const struct list *row = behind ? &g->behind : &g->waiting;

    if (!gate_has_room(g) || list_empty(row))
        return NULL;
    return container_of(row->next, struct login_turn, node);
}

static void
gate_work(struct loop_work *w)
{
    struct login_gate *g = container_of(w, struct login_gate, work);
    struct login_turn *t;

    while ((t = gate_next(g)) != NULL) {
        list_del(&t->node);
        gate_pass(g, t);
        t->passed(t); /* t may be gone */
    }
}

/* Lets those in for whom there is room, at the end of this turn of the loop. */
static void
gate_wake(struct login_gate *g)
{
    if (gate_next(g) != NULL)
        loop_defer(g->loop, &g->work);
}

void
login_gate_init(struct login_gate *g, struct loop *loop, uint32_t max)
{
    *g = (struct login_gate){.loop = loop, .max = max};
    list_init(&g->waiting);
    list_init(&g->behind);
    loop_work_init(&g->work, gate_work);
}

void
login_gate_fini(struct login_gate *g)
{
    assert(g->inside == 0 && list_empty(&g->waiting) && list_empty(&g->behind));
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
    list_push_back(t->behind ? &g->behind : &g->waiting, &t->node);
    if (gate_next(g) != t) { /* nobody is overtaken */
        gate_wake(g);
        return false;
    }
    list_del(&t->node);
    gate_pass(g, t);
    return true;
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
    g->inside_behind -= t->behind;
    gate_wake(g);
}
