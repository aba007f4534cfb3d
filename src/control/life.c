/* SPDX-License-Identifier: MIT */
/* control/life.c - the table that brings the parts of a node together, and the life of all. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/internal.h"

/* The action for events that change nothing in a state. */
static void
node_goes_on(struct control_node *n)
{
    (void)n;
}

static const struct node_action control_actions[CONTROL_STATES][NODE_NEVENTS] = {
#define ROW(from, ev, to, what) [CONTROL_IS_##from][NODE_EV_##ev] = {what},
#include "control/fsm.def"
};

/* ---- life ----------------------------------------------------------------------------------- */

int
control_new(struct loop *loop, struct login_gate *gate, const struct control_callbacks *cb,
            struct control **ret)
{
    struct control *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return -ENOMEM;
    c->loop = loop;
    c->gate = gate;
    c->cb = *cb;
    c->actions = control_actions;
    c->idle_ns = CONTROL_IDLE_S * LOOP_NS_PER_S;
    list_init(&c->nodes);
    list_init(&c->discoveries);
    list_init(&c->nobody);
    htab_init(&c->by_name);
    htab_init(&c->by_sid);
    portals_init(&c->portals);
    *ret = c;
    return 0;
}

void
control_set_idle(struct control *c, uint32_t ms)
{
    assert(ms > 0);
    c->idle_ns = ms * LOOP_NS_PER_MS;
}

void
control_free(struct control **pc)
{
    struct control *c = *pc;

    if (c == NULL)
        return;
    *pc = NULL;
    targets_free(c);
    while (!list_empty(&c->nodes))
        node_free(container_of(c->nodes.next, struct control_node, node));
    for (unsigned i = 0; i < CONTROL_LOOPS_MAX; i++) {
        if (c->loops[i] == NULL)
            continue;
        adopt_stop(c->loops[i]);
        asks_drop(c->loops[i]);
        free(c->loops[i]);
    }
    portals_fini(&c->portals);
    htab_fini(&c->by_name);
    htab_fini(&c->by_sid);
    free(c);
}

/* ---- the data plane ------------------------------------------------------------------------- */

bool
control_is_ready(const struct control *c)
{
    return c->ready;
}

struct ctl *
control_ctl(const struct control *c, unsigned index)
{
    return index < CONTROL_LOOPS_MAX && c->loops[index] != NULL ? c->loops[index]->ctl : NULL;
}

int
control_loop_set(struct control *c, unsigned index, struct ctl *ctl)
{
    struct control_loop *l;
    int r;

    assert(index < CONTROL_LOOPS_MAX && control_ctl(c, index) == NULL);
    l = c->loops[index];
    if (l == NULL) {
        l = calloc(1, sizeof(*l));
        if (l == NULL)
            return -ENOMEM;
        l->c = c;
        l->index = index;
        list_init(&l->asks);
        c->loops[index] = l;
    }
    l->ctl = ctl;
    r = adopt_begin(l);
    if (r < 0)
        l->ctl = NULL;
    return r;
}

void
control_loop_lost(struct control *c, unsigned index)
{
    struct control_loop *l = index < CONTROL_LOOPS_MAX ? c->loops[index] : NULL;

    if (l == NULL || l->ctl == NULL)
        return;
    adopt_stop(l);
    targets_lost(l);
    LIST_FOREACH (at, &c->nodes) {
        struct control_node *n = container_of(at, struct control_node, node);

        if (n->loop == l)
            node_post(n, NODE_EV_IOD_GONE);
    }
    asks_drop(l);
    l->ctl = NULL;
    adopt_judge(c);
}
