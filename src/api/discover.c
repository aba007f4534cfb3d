/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "api/sized.h"
#include "discovery/discovery.h"

struct wait {
    bool done;
    struct lunette_error err;
    struct discovery_result res;
};

static void
discover_done(void *user, struct discovery_result *res, const struct lunette_error *err)
{
    struct wait *w = user;

    w->done = true;
    if (res != NULL) {
        w->res = *res;
        memset(res, 0, sizeof(*res)); /* we own it from here on */
    } else {
        w->err = *err;
    }
}

struct api_target {
    struct lunette_target t;
    struct lunette_portal *portals;
};

struct lunette_targets {
    size_t n;
    struct api_target target[];
};

/* An address that was not understood stands behind the others, as it came. */
static int
convert_target(const struct discovered_target *from, struct api_target *to)
{
    struct lunette_portal *p = calloc(from->nportals + from->nunclear + 1, sizeof(*p));

    if (p == NULL)
        return -ENOMEM;
    (void)snprintf(to->t.name, sizeof(to->t.name), "%s", from->name);
    to->t.nportals = from->nportals + from->nunclear;
    to->portals = p;
    for (size_t k = 0; k < from->nportals; k++, p++) {
        (void)portal_format(&from->portals[k], p->address, sizeof(p->address));
        p->tpgt = from->portals[k].tpgt;
    }
    for (size_t k = 0; k < from->nunclear; k++, p++) {
        (void)snprintf(p->address, sizeof(p->address), "%s", from->unclear[k]);
        p->tpgt = -1;
    }
    return 0;
}

/* Copies the targets into the form that the public header has. */
static int
convert(const struct discovery_result *res, struct lunette_targets **ret)
{
    struct lunette_targets *list =
        calloc(1, sizeof(*list) + res->ntargets * sizeof(list->target[0]));

    if (list == NULL)
        return -ENOMEM;
    for (; list->n < res->ntargets; list->n++) {
        if (convert_target(&res->targets[list->n], &list->target[list->n]) < 0) {
            lunette_targets_free(list);
            return -ENOMEM;
        }
    }
    *ret = list;
    return 0;
}

static int
ask(struct lunette_ctx *ctx, const struct api_url *u, struct wait *w, struct lunette_error *err)
{
    struct discovery_callbacks cb = {.done = discover_done, .user = w};
    struct discovery *d = NULL;
    int r = discovery_sendtargets(ctx->ctl, &u->cfg, u->has_target ? u->cfg.target_name : NULL, &cb,
                                  &d, err);

    if (r == 0)
        r = api_wait(ctx, &w->done, err);
    discovery_free(&d);
    if (r == 0 && w->err.code != 0)
        r = lunette_fail_as(err, &w->err);
    return r;
}

int
lunette_discover(struct lunette_ctx *ctx, const char *where, struct lunette_targets **ret,
                 struct lunette_error *err)
{
    struct api_url u;
    struct wait w = {0};
    int r = api_error_check(err);

    if (r == 0)
        r = api_url_of(ctx, where, &u, err);
    if (r < 0)
        return r;
    /* Most portals answer discovery without authentication, even those whose targets want CHAP; the
     * target itself still has to prove who it is at its login. */
    if (!u.cfg.auth_required)
        memset(&u.cfg.mutual, 0, sizeof(u.cfg.mutual));
    r = ask(ctx, &u, &w, err);
    url_wipe(&u);
    if (r < 0)
        return r;
    if (w.res.bad_names + w.res.bad_addresses > 0)
        log_line(ctx->loop->log, LOG_LEVEL_WARN,
                 "discovery: %zu targets left out, %zu addresses not understood; the first: %s",
                 w.res.bad_names, w.res.bad_addresses, w.res.bad.msg);
    r = convert(&w.res, ret);
    discovery_result_free(&w.res);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "no memory");
    return 0;
}

size_t
lunette_targets_count(const struct lunette_targets *targets)
{
    return targets->n;
}

int
lunette_targets_get(const struct lunette_targets *targets, size_t i, struct lunette_target *ret)
{
    if (i >= targets->n)
        return -ENOENT;
    return api_sized_out(ret, API_FIRST_TARGET, &targets->target[i].t, sizeof(*ret));
}

int
lunette_targets_get_portal(const struct lunette_targets *targets, size_t i, size_t k,
                           struct lunette_portal *ret)
{
    if (i >= targets->n || k >= targets->target[i].t.nportals)
        return -ENOENT;
    return api_sized_out(ret, API_FIRST_PORTAL, &targets->target[i].portals[k], sizeof(*ret));
}

void
lunette_targets_free(struct lunette_targets *targets)
{
    if (targets == NULL)
        return;
    for (size_t i = 0; i < targets->n; i++)
        free(targets->target[i].portals);
    free(targets);
}
