/* SPDX-License-Identifier: MIT */
#include "login/group.h"

#include <assert.h>

#include "login/task.h"

static void
group_add(struct portal_group *g, const struct portal *p)
{
    for (uint32_t i = 0; i < g->n; i++) {
        if (portal_same(&g->portal[i], p))
            return;
    }
    assert(g->n < GROUP_PORTALS_MAX);
    g->conns[g->n] = 0;
    g->portal[g->n++] = *p;
}

void
group_init(struct portal_group *g, const struct login_config *cfg, const struct portal *first)
{
    g->n = 0;
    if (first != NULL && first->host[0] != '\0')
        group_add(g, first);
    group_add(g, &cfg->portal);
    for (uint32_t i = 0; i < cfg->ngroup; i++)
        group_add(g, &cfg->group[i]);
}

void
group_count(struct portal_group *g, const struct portal *p)
{
    for (uint32_t i = 0; i < g->n; i++)
        g->conns[i] += portal_same(&g->portal[i], p);
}

void
group_sort(struct portal_group *g)
{
    for (uint32_t i = 1; i < g->n; i++) {
        struct portal p = g->portal[i];
        uint32_t conns = g->conns[i], at = i;

        for (; at > 0 && g->conns[at - 1] > conns; at--) {
            g->portal[at] = g->portal[at - 1];
            g->conns[at] = g->conns[at - 1];
        }
        g->portal[at] = p;
        g->conns[at] = conns;
    }
}

void
group_store(const struct portal_group *g, uint32_t turn, struct login_config *cfg)
{
    cfg->portal = g->portal[turn % g->n];
    cfg->ngroup = 0;
    for (uint32_t i = 1; i < g->n && cfg->ngroup < LOGIN_GROUP_MAX; i++)
        cfg->group[cfg->ngroup++] = g->portal[(turn % g->n + i) % g->n];
}
