/* SPDX-License-Identifier: MIT */
/* engine/uses.c - those who use a session are told of it.  Any of them may leave while they are
 * told, so that a walk goes by what comes next, and who leaves moves that on. */
#include "engine/login_priv.h"

void
engine_uses_init(struct engine_uses *u)
{
    list_init(&u->list);
    u->walk = NULL;
}

void
engine_uses_add(struct engine_uses *u, struct engine_use *use)
{
    use->told = false;
    list_push_back(&u->list, &use->node);
}

void
engine_uses_remove(struct engine_uses *u, struct engine_use *use)
{
    for (struct use_walk *w = u->walk; w != NULL; w = w->outer) {
        if (w->next == &use->node)
            w->next = use->node.next;
    }
    list_del(&use->node);
    use->login = NULL;
}

static void
walk_begin(struct engine_uses *u, struct use_walk *w)
{
    *w = (struct use_walk){.next = u->list.next, .outer = u->walk};
    u->walk = w;
}

static struct engine_use *
walk_next(struct engine_uses *u, struct use_walk *w)
{
    struct list *n = w->next;

    if (n == &u->list) {
        u->walk = w->outer;
        return NULL;
    }
    w->next = n->next;
    return container_of(n, struct engine_use, node);
}

void
engine_uses_state(struct engine_uses *u, enum ipc_session_state st, const struct lunette_error *why)
{
    struct engine_use *use;
    struct use_walk w;

    walk_begin(u, &w);
    while ((use = walk_next(u, &w)) != NULL) {
        if (use->told)
            use->state(use, st, why);
    }
}

void
engine_uses_news(struct engine_uses *u, enum ipc_session_state st, const struct lunette_error *why)
{
    struct engine_use *use;
    struct use_walk w;

    walk_begin(u, &w);
    while ((use = walk_next(u, &w)) != NULL) {
        if (use->told)
            continue;
        use->told = true;
        use->state(use, st, why);
    }
}

void
engine_uses_restart(struct engine_uses *u)
{
    struct engine_use *use;
    struct use_walk w;

    walk_begin(u, &w);
    while ((use = walk_next(u, &w)) != NULL)
        use->restart(use);
}

void
engine_uses_gone(struct engine_uses *u)
{
    while (!list_empty(&u->list)) {
        struct engine_use *use = container_of(u->list.next, struct engine_use, node);

        engine_uses_remove(u, use);
        use->gone(use);
    }
}
