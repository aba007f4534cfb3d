/* SPDX-License-Identifier: MIT */
/* What a discovery has found: it becomes records, a few in each turn of the loop, and is logged in
 * to where that is asked for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"

#define FOUND_SLICE 128 /* records; each slice is synced as a whole */

struct found {
    struct job job;
    struct found_options o;
    json_t *ifaces;
    struct ids ids;
    size_t at;
    size_t refused;
    json_t *targets;
    struct loop_timer go;
};

static void
found_free(struct found *f)
{
    loop_timer_stop(f->job.d->loop, &f->go);
    job_finish(&f->job);
    ids_fini(&f->ids);
    json_decref(f->ifaces);
    json_decref(f->targets);
    free(f);
}

static void
found_drop(struct job *j)
{
    found_free(container_of(j, struct found, job));
}

/* ---- what was found ------------------------------------------------------------------------- */

static int
found_add(struct found *f, const char *target, const struct portal *at, struct lunette_error *err)
{
    size_t n = json_array_size(f->ifaces);
    struct nodedb_id id;
    int r = 0;

    memset(&id, 0, sizeof(id));
    (void)snprintf(id.target, sizeof(id.target), "%s", target);
    id.portal = *at;
    portal_take_scope(&id.portal, &f->o.via);
    for (size_t i = 0; r == 0 && i < (n > 0 ? n : 1); i++) {
        (void)snprintf(id.iface, sizeof(id.iface), "%s",
                       n > 0 ? json_string_value(json_array_get(f->ifaces, i)) : "default");
        r = ids_add(&f->ids, &id, err);
        if (r == 0)
            (void)json_array_append_new(f->targets, say_id(&id));
    }
    return r;
}

static int
found_take(struct found *f, const struct discovery_result *res, struct lunette_error *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < res->ntargets; i++) {
        const struct discovered_target *t = &res->targets[i];

        for (size_t k = 0; r == 0 && k < t->nportals; k++)
            r = found_add(f, t->name, &t->portals[k], err);
        if (r == 0 && t->nportals == 0 && t->nunclear == 0)
            r = found_add(f, t->name, &f->o.via, err);
    }
    if (r == 0 && res->bad.code != 0)
        log_line(f->job.d->loop->log, LOG_LEVEL_WARN,
                 "a discovery at %s told %zu names and %zu addresses that are left out: %s",
                 f->o.via.host, res->bad_names, res->bad_addresses, res->bad.msg);
    return r;
}

/* ---- records -------------------------------------------------------------------------------- */

/* Writes a slice, or at the end removes what was not found any more. */
static int
found_write(struct found *f, struct lunette_error *err)
{
    size_t n = f->ids.n - f->at;
    struct nodedb_discovered d = {
        .source = NODEDB_BY_SENDTARGETS,
        .via = &f->o.via,
        .ids = f->ids.id + f->at,
        .nids = n < FOUND_SLICE ? n : FOUND_SLICE,
        .ops = f->o.ops & ~(unsigned)NODEDB_OP_DELETE,
        .conf = &f->job.d->conf,
        .in_use = records_in_use,
        .user = f->job.d,
    };
    int r;

    if (n == 0) {
        d.ids = f->ids.id;
        d.nids = f->ids.n;
        d.ops = NODEDB_OP_DELETE;
    }
    r = nodedb_discovered(f->job.d->db, &d, err);
    if (r == 0 && d.refused > 0)
        log_line(f->job.d->loop->log, LOG_LEVEL_WARN, "%zu names that were told are left out: %s",
                 d.refused, d.why.msg);
    f->at += n == 0 ? 1 : d.nids;
    return r;
}

static void
found_logged_in(void *user, json_t *results)
{
    struct found *f = user;

    manage_reply(f->job.call, json_pack("{s:O,s:o}", "targets", f->targets, "results",
                                        results != NULL ? results : json_array()));
    found_free(f);
}

static void
found_done(struct found *f)
{
    struct batch_options o = {.no_wait = f->o.no_wait, .done = found_logged_in, .user = f};

    if (!f->o.login || f->ids.n == 0) {
        manage_reply(f->job.call, json_pack("{s:O}", "targets", f->targets));
        found_free(f);
        return;
    }
    manage_progress(f->job.call, json_pack("{s:s,s:O}", "state", "found", "targets", f->targets));
    batch_login(f->job.d, f->job.call, &f->ids, &o);
}

static void
found_on_go(struct loop_timer *t)
{
    struct found *f = container_of(t, struct found, go);
    size_t end = f->ids.n + ((f->o.ops & NODEDB_OP_DELETE) != 0 ? 1 : 0);
    struct lunette_error err = {.code = 0};

    if (f->o.ops != 0 && f->at < end) {
        if (found_write(f, &err) < 0) {
            say_fail(f->job.call, &err);
            found_free(f);
        } else {
            loop_timer_start(f->job.d->loop, &f->go, 0);
        }
        return;
    }
    found_done(f);
}

void
found_start(struct iscsid *d, struct manage_call *call, struct discovery_result *res,
            const struct found_options *o)
{
    struct found *f = calloc(1, sizeof(*f));
    struct lunette_error err = {.code = 0};

    if (f == NULL) {
        discovery_result_free(res);
        manage_fail(call, MANAGE_NO_MEMORY, "no memory for what was found");
        return;
    }
    f->o = *o;
    f->ifaces = o->ifaces != NULL ? json_deep_copy(o->ifaces) : NULL;
    f->o.ifaces = NULL;
    f->targets = json_array();
    loop_timer_init(&f->go, found_on_go);
    job_begin(&f->job, d, call, found_drop);
    if (found_take(f, res, &err) < 0) {
        say_fail(call, &err);
        found_free(f);
    } else {
        loop_timer_start(d->loop, &f->go, 0);
    }
    discovery_result_free(res);
}
