/* SPDX-License-Identifier: MIT */
/* dataplane/memory.c - memory that is registered once, for every session of a data plane
 * (docs/design/memory.md).
 *
 * A region has a place in the table, and a session keeps a bit for each place whose region its
 * transport knows.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>

#include "base/log.h"
#include "dataplane/internal.h"
#include "iscsi/iscsi.h"

static_assert(DATAPLANE_REGIONS_MAX <= 64, "a bit for each, dp_session.regions");

static uint64_t
region_bit(const struct dataplane *dp, const struct dp_region *g)
{
    return UINT64_C(1) << (g - dp->regions);
}

/* Sessions of the transport's own (session_ops) know none. */
static bool
wants_regions(const struct dp_session *ds)
{
    return ds->ops == &dp_iscsi_session_ops && ds->tt->mem_add != NULL;
}

static int
region_tell(struct dp_session *ds, const struct dp_region *g, struct lunette_error *err)
{
    int r = ds->tt->mem_add(dp_iscsi_session(ds->s), g->addr, g->len, err);

    assert(r <= 0);
    if (r == 0)
        ds->regions |= region_bit(ds->dp, g);
    return r;
}

static void
region_forget(struct dp_session *ds, const struct dp_region *g)
{
    if (!(ds->regions & region_bit(ds->dp, g)))
        return;
    ds->regions &= ~region_bit(ds->dp, g);
    ds->tt->mem_remove(dp_iscsi_session(ds->s), g->addr, g->len);
}

/* Also by those that are ending: their connections may still be there. */
static void
region_forget_everywhere(struct dataplane *dp, struct dp_region *g)
{
    LIST_FOREACH (n, &dp->sessions) {
        struct dp_session *ds = container_of(n, struct dp_session, node);

        if (!ds->freed)
            region_forget(ds, g);
    }
    *g = (struct dp_region){NULL, 0};
}

void
dp_session_regions(struct dp_session *ds)
{
    struct dataplane *dp = ds->dp;

    if (!wants_regions(ds))
        return;
    for (unsigned i = 0; i < DATAPLANE_REGIONS_MAX; i++) {
        const struct dp_region *g = &dp->regions[i];
        struct lunette_error why = {.code = 0};

        if (g->len > 0 && region_tell(ds, g, &why) < 0)
            log_line(dp->loop->log, LOG_LEVEL_WARN,
                     "session %u: %zu bytes of registered memory are not used as such by "
                     "transport %s: %s",
                     ds->sid, g->len, ds->tt->name, why.msg);
    }
}

static int
region_place(struct dataplane *dp, const char *addr, size_t len, struct dp_region **ret,
             struct lunette_error *err)
{
    struct dp_region *place = NULL;

    for (unsigned i = 0; i < DATAPLANE_REGIONS_MAX; i++) {
        struct dp_region *g = &dp->regions[i];

        if (g->len == 0) {
            if (place == NULL)
                place = g;
        } else if (addr < g->addr + g->len && g->addr < addr + len) {
            return lunette_fail(err, -EEXIST, LUNETTE_DOM_USAGE, 0,
                                "memory: %zu bytes at %p overlap the %zu at %p, which are "
                                "registered already",
                                len, (const void *)addr, g->len, (const void *)g->addr);
        }
    }
    if (place == NULL)
        return lunette_fail(err, -ENOSPC, LUNETTE_DOM_USAGE, 0,
                            "memory: %d regions are registered, and there can be no more: register "
                            "few large ones",
                            DATAPLANE_REGIONS_MAX);
    *ret = place;
    return 0;
}

int
dataplane_mem_add(struct dataplane *dp, void *addr, size_t len, struct lunette_error *err)
{
    struct dp_region *g = NULL;
    int r;

    if (addr == NULL || len == 0 || (uintptr_t)addr > UINTPTR_MAX - len)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "memory: %zu bytes at %p are no memory", len, addr);
    r = region_place(dp, addr, len, &g, err);
    if (r < 0)
        return r;
    *g = (struct dp_region){addr, len};
    LIST_FOREACH (n, &dp->sessions) {
        struct dp_session *ds = container_of(n, struct dp_session, node);

        if (!ds->dying && wants_regions(ds))
            r = region_tell(ds, g, err);
        if (r < 0)
            break;
    }
    if (r < 0)
        region_forget_everywhere(dp, g);
    return r;
}

int
dataplane_mem_remove(struct dataplane *dp, const void *addr, struct lunette_error *err)
{
    struct dp_region *g = NULL;
    unsigned users = 0;

    for (unsigned i = 0; i < DATAPLANE_REGIONS_MAX && addr != NULL; i++) {
        if (dp->regions[i].addr == addr)
            g = &dp->regions[i];
    }
    if (g == NULL)
        return lunette_fail(err, -ENOENT, LUNETTE_DOM_USAGE, 0,
                            "memory: none is registered that begins at %p", addr);
    LIST_FOREACH (n, &dp->sessions) {
        const struct dp_session *ds = container_of(n, struct dp_session, node);

        if (!ds->freed && ds->ops == &dp_iscsi_session_ops)
            users += iscsi_session_users(dp_iscsi_session(ds->s), g->addr, g->len);
    }
    if (users > 0)
        return lunette_fail(err, -EBUSY, LUNETTE_DOM_USAGE, 0,
                            "memory: %u command%s that %s not ended use%s the %zu bytes at %p",
                            users, users == 1 ? "" : "s", users == 1 ? "has" : "have",
                            users == 1 ? "s" : "", g->len, addr);
    region_forget_everywhere(dp, g);
    return 0;
}
