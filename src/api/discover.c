/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
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

/* Copies the targets into the form that the public header has. */
static int
convert(const struct discovery_result *res, struct lunette_target **ret, size_t *ret_count)
{
    struct lunette_target *t = calloc(res->ntargets + 1, sizeof(*t));

    if (t == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < res->ntargets; i++) {
        const struct discovered_target *d = &res->targets[i];

        (void)snprintf(t[i].name, sizeof(t[i].name), "%s", d->name);
        t[i].portals = calloc(d->nportals + 1, sizeof(*t[i].portals));
        if (t[i].portals == NULL) {
            lunette_targets_free(t, i);
            return -ENOMEM;
        }
        t[i].nportals = d->nportals;
        for (size_t k = 0; k < d->nportals; k++) {
            (void)portal_format(&d->portals[k], t[i].portals[k].address,
                                sizeof(t[i].portals[k].address));
            t[i].portals[k].tpgt = d->portals[k].tpgt;
        }
    }
    *ret = t;
    *ret_count = res->ntargets;
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
    if (r == 0 && w->err.code != 0) {
        r = w->err.code;
        if (err != NULL)
            *err = w->err;
    }
    return r;
}

int
lunette_discover(struct lunette_ctx *ctx, const char *where, struct lunette_target **ret,
                 size_t *ret_count, struct lunette_error *err)
{
    struct api_url u;
    struct wait w = {0};
    int r = api_url_of(ctx, where, &u, err);

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
                 "discovery: %zu names and %zu addresses left out: %s", w.res.bad_names,
                 w.res.bad_addresses, w.res.bad.msg);
    r = convert(&w.res, ret, ret_count);
    discovery_result_free(&w.res);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "no memory");
    return 0;
}

void
lunette_targets_free(struct lunette_target *targets, size_t count)
{
    if (targets == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        free(targets[i].portals);
    free(targets);
}
