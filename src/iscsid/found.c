/* SPDX-License-Identifier: MIT */
/* What a discovery has found: it becomes records, a few in each turn of the loop, and is logged in
 * to where that is asked for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"

#define FOUND_SLICE     128 /* records; all slices are synced together */
#define FOUND_REWRITTEN 2   /* records in a slice that replace another, each synced by itself */

struct found {
    struct job job;
    struct found_options o;
    struct ids ids;
    size_t at; /* the first of them that is not written yet */
    bool compared;
    struct ids stale; /* what was found before and not now, once that was compared */
    size_t removed;   /* how many of them were looked at */
    bool dropped;     /* a record was removed, which sessions have to follow */
    bool unsynced;    /* something was written that may be lost yet */
    struct sync *sync;
    json_t *targets;
    struct loop_timer go;
    uint64_t lock_until_ns;
};

void
found_free(struct found *f)
{
    loop_timer_stop(f->job.d->loop, &f->go);
    job_finish(&f->job);
    firmware_list_fini(&f->o.firmware);
    ids_fini(&f->ids);
    ids_fini(&f->stale);
    sync_free(&f->sync);
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
found_add(struct found *f, const char *iface, const char *target, const struct portal *at,
          struct lunette_error *err)
{
    struct nodedb_id id;
    int r;

    memset(&id, 0, sizeof(id));
    (void)snprintf(id.target, sizeof(id.target), "%s", target);
    (void)snprintf(id.iface, sizeof(id.iface), "%s", iface);
    id.portal = *at;
    portal_take_scope(&id.portal, &f->o.via);
    r = ids_add(&f->ids, &id, err);
    if (r == 0)
        (void)json_array_append_new(f->targets, say_id(&id));
    return r;
}

int
found_add_targets(struct found *f, const char *iface, const struct discovery_result *res,
                  struct lunette_error *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < res->ntargets; i++) {
        const struct discovered_target *t = &res->targets[i];

        for (size_t k = 0; r == 0 && k < t->nportals; k++)
            r = found_add(f, iface, t->name, &t->portals[k], err);
        if (r == 0 && t->nportals == 0 && t->nunclear == 0)
            r = found_add(f, iface, t->name, &f->o.via, err);
    }
    if (r == 0 && res->bad.code != 0)
        log_line(f->job.d->loop->log, LOG_LEVEL_WARN,
                 "a discovery at %s told %zu names and %zu addresses that are left out: %s",
                 f->o.via.host, res->bad_names, res->bad_addresses, res->bad.msg);
    return r;
}

int
found_add_portals(struct found *f, const char *iface, const struct isns_targets *t,
                  struct lunette_error *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < t->n; i++)
        r = found_add(f, iface, t->portal[i].name, &t->portal[i].at, err);
    if (r == 0 && t->bad > 0)
        log_line(f->job.d->loop->log, LOG_LEVEL_WARN,
                 "the iSNS server %s told %zu portals that are left out: %s", f->o.via.host, t->bad,
                 t->why.msg);
    return r;
}

int
found_add_firmware(struct found *f, const char *iface, struct lunette_error *err)
{
    size_t before = f->ids.n;
    int r = nodedb_check_iface(iface, err);

    if (r == 0)
        r = firmware_ids(&f->o.firmware, iface, &f->ids, err);
    for (size_t i = before; r == 0 && i < f->ids.n; i++)
        (void)json_array_append_new(f->targets, say_id(&f->ids.id[i]));
    return r;
}

/* ---- records -------------------------------------------------------------------------------- */

static int
found_fill(void *user, const struct nodedb_id *id, struct nodedb_record *r)
{
    struct found *f = user;

    return firmware_fill(&f->o.firmware, id, r);
}

static void
found_discovered(struct found *f, const struct ids *ids, size_t at, struct nodedb_discovered *ret)
{
    size_t n = ids->n - at;

    *ret = (struct nodedb_discovered){
        .source = f->o.source,
        .via = f->o.source != NODEDB_BY_FW ? &f->o.via : NULL,
        .ids = n > 0 ? ids->id + at : NULL,
        .nids = n < FOUND_SLICE ? n : FOUND_SLICE,
        .ops = f->o.ops & ~(unsigned)NODEDB_OP_DELETE,
        .conf = &f->job.d->conf,
        .in_use = records_in_use,
        .user = f->job.d,
        .fill = found_fill,
        .fill_user = f,
        .later = true,
        .rewritten_max = FOUND_REWRITTEN,
    };
}

/* Writes a slice. */
static int
found_write(struct found *f, struct lunette_error *err)
{
    struct nodedb_discovered d;
    int r;

    found_discovered(f, &f->ids, f->at, &d);
    r = nodedb_discovered(f->job.d->db, &d, err);
    if (r == 0 && d.refused > 0)
        log_line(f->job.d->loop->log, LOG_LEVEL_WARN, "%zu nodes that were told are left out: %s",
                 d.refused, d.why.msg);
    if (d.added > 0) /* there may be sessions that have had no record before */
        loop_defer(f->job.d->loop, &f->job.d->found_work);
    f->dropped |= d.removed > 0;
    f->at += d.taken;
    f->unsynced |= d.added > 0;
    return r;
}

static int
found_on_stale(void *user, const struct nodedb_id *id)
{
    return ids_add(user, id, NULL);
}

/* Looks for what was not found any more, and then removes a slice of it. */
static int
found_remove(struct found *f, struct lunette_error *err)
{
    struct nodedb_discovered d;
    int r;

    if (!f->compared) {
        found_discovered(f, &f->ids, 0, &d);
        d.nids = f->ids.n;
        f->compared = true;
        r = nodedb_stale(f->job.d->db, &d, found_on_stale, &f->stale, err);
        if (r == -ENOMEM)
            say_no_memory(err);
        return r;
    }
    found_discovered(f, &f->stale, f->removed, &d);
    f->removed += d.nids;
    r = nodedb_stale_drop(f->job.d->db, &d, err);
    if (r == 0 && d.refused > 0)
        log_line(f->job.d->loop->log, LOG_LEVEL_WARN,
                 "%zu nodes that are not told any more are not removed: %s", d.refused, d.why.msg);
    f->dropped |= d.removed > 0;
    f->unsynced |= d.removed > 0;
    return r;
}

/* What was written is synced on another thread.  Returns 0, 1 while it is under way, or -errno. */
static int
found_sync(struct found *f, struct lunette_error *err)
{
    int r = 0;

    if (f->sync == NULL)
        r = sync_begin(f->job.d, &f->sync);
    if (r == 0)
        r = sync_poll(f->sync);
    if (r == 1)
        return 1;
    f->unsynced = false;
    sync_free(&f->sync);
    return r == 0 ? 0
                  : lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r,
                                 "what was found cannot be kept: %s", errno_text(-r));
}

/* Does one step.  Returns 1 where there was none left to do, 0, or -errno. */
static int
found_step(struct found *f, uint64_t *wait_ns, struct lunette_error *err)
{
    int r;

    if (f->o.ops == 0)
        return 1;
    if (f->at < f->ids.n)
        return found_write(f, err);
    if ((f->o.ops & NODEDB_OP_DELETE) != 0 && (!f->compared || f->removed < f->stale.n))
        return found_remove(f, err);
    if (!f->unsynced)
        return 1;
    r = found_sync(f, err);
    if (r == 1)
        *wait_ns = SYNC_POLL_NS;
    return r < 0 ? r : 0;
}

static int
found_id_order(const void *a, const void *b)
{
    return nodedb_id_order(a, b);
}

/* A target that was told of twice is logged in to once. */
static void
found_once(struct ids *ids)
{
    size_t n = 0;

    if (ids->n > 1)
        qsort(ids->id, ids->n, sizeof(ids->id[0]), found_id_order);
    for (size_t i = 0; i < ids->n; i++) {
        if (n == 0 || !nodedb_id_same(&ids->id[n - 1], &ids->id[i]))
            ids->id[n++] = ids->id[i];
    }
    ids->n = n;
}

/* results NULL: nothing was begun. */
static void
found_logged_in(void *user, json_t *results)
{
    struct found *f = user;

    if (results == NULL)
        manage_fail(f->job.call, MANAGE_NO_MEMORY, "no memory for the logins to what was found");
    else
        manage_reply(f->job.call,
                     json_pack("{s:O,s:o}", "targets", f->targets, "results", results));
    found_free(f);
}

static void
found_done(struct found *f)
{
    struct batch_options o = {.no_wait = f->o.no_wait, .done = found_logged_in, .user = f};

    if (f->job.call == NULL) {
        f->o.done(f->o.user, &f->ids, NULL);
        found_free(f);
    } else if (!f->o.login || f->ids.n == 0) {
        manage_reply(f->job.call, json_pack("{s:O}", "targets", f->targets));
        found_free(f);
    } else {
        found_once(&f->ids);
        manage_progress(f->job.call,
                        json_pack("{s:s,s:O}", "state", "found", "targets", f->targets));
        batch_login(f->job.d, f->job.call, &f->ids, &o);
    }
}

static void
found_failed(struct found *f, const struct lunette_error *err)
{
    if (f->job.call != NULL)
        say_fail(f->job.call, err);
    else
        f->o.done(f->o.user, NULL, err);
    found_free(f);
}

static void
found_on_go(struct loop_timer *t)
{
    struct found *f = container_of(t, struct found, go);
    struct lunette_error err = {.code = 0};
    uint64_t wait_ns = 0;
    bool writes = f->o.ops != 0 && !(f->sync != NULL && sync_poll(f->sync) == 1);
    int r = writes ? records_lock(f->job.d, t, &f->lock_until_ns, &err) : 0;

    if (r == -EAGAIN)
        return;
    if (r == 0) {
        r = found_step(f, &wait_ns, &err);
        if (writes)
            nodedb_unlock(f->job.d->db);
    }
    if (r != 0 && f->dropped)
        records_all_changed(f->job.d);
    if (r < 0)
        found_failed(f, &err);
    else if (r == 0)
        loop_timer_start(f->job.d->loop, &f->go, wait_ns);
    else
        found_done(f);
}

struct found *
found_new(struct iscsid *d, const struct found_options *o)
{
    struct found *f = calloc(1, sizeof(*f));
    struct firmware_list firmware = o->firmware;

    if (f == NULL) {
        firmware_list_fini(&firmware);
        return NULL;
    }
    f->o = *o;
    f->targets = json_array();
    loop_timer_init(&f->go, found_on_go);
    job_begin(&f->job, d, NULL, found_drop);
    return f;
}

void
found_keep_stale(struct found *f)
{
    f->o.ops &= ~(unsigned)NODEDB_OP_DELETE;
    log_line(f->job.d->loop->log, LOG_LEVEL_WARN,
             "a discovery at %s has failed by some of the ifaces: no record is removed",
             f->o.via.host);
}

void
found_start(struct found *f, struct manage_call *call)
{
    f->job.call = call;
    loop_timer_start(f->job.d->loop, &f->go, 0);
}
