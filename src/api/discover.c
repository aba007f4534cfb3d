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
    return r < 0 ? r : w->err.code;
}

/* Tells whether the portal has refused the credentials that it was offered, and may be asked
 * without: they are the session's, and nobody has said that they are needed. */
static bool
may_go_without(const struct api_url *u, const struct lunette_error *why)
{
    if (u->cfg.chap.name[0] == '\0' || u->cfg.auth_required ||
        u->discovery_auth != URL_DISCOVERY_USUAL || u->discovery_chap_file[0] != '\0' ||
        why->domain != LUNETTE_DOM_LOGIN)
        return false;
    return why->detail == ISCSI_LOGIN_AUTH_FAILED || why->detail == ISCSI_LOGIN_BAD_REQUEST ||
           why->code == -EOPNOTSUPP;
}

/* Asks for the targets, with credentials where there are any. */
static int
ask_as_told(struct lunette_ctx *ctx, struct api_url *u, struct wait *w, struct lunette_error *err)
{
    int r = ask(ctx, u, w, err);

    if (r == w->err.code && may_go_without(u, &w->err)) {
        const struct lunette_error refused = w->err;

        log_line(ctx->loop->log, LOG_LEVEL_INFO, "discovery: %s; asking without credentials",
                 w->err.msg);
        login_config_wipe(&u->cfg);
        u->cfg.chap.name[0] = u->cfg.mutual.name[0] = '\0';
        *w = (struct wait){.done = false};
        r = ask(ctx, u, w, err);
        if (w->err.code < 0 && w->err.domain == LUNETTE_DOM_LOGIN) { /* it wants credentials */
            w->err = refused;
            r = refused.code;
        }
    }
    return r < 0 && r == w->err.code ? lunette_fail_as(err, &w->err) : r;
}

int
lunette_discover(struct lunette_ctx *ctx, const char *where, struct lunette_targets **ret,
                 struct lunette_error *err)
{
    struct api_url u;
    struct wait w = {0};
    int r = api_error_check(err);

    if (r == 0)
        r = api_url_of(ctx, where, true, &u, err);
    if (r < 0)
        return r;
    /* Most portals answer discovery without authentication, even those whose targets want CHAP; the
     * target itself still has to prove who it is at its login. */
    if (!u.cfg.auth_required && u.discovery_chap_file[0] == '\0')
        memset(&u.cfg.mutual, 0, sizeof(u.cfg.mutual));
    r = ask_as_told(ctx, &u, &w, err);
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
