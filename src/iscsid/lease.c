/* SPDX-License-Identifier: MIT */
/* Methods about leases of sessions. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"

/* ---- parameters ----------------------------------------------------------------------------- */

static int
lease_owner(const json_t *params, struct control_lease *ret, struct lunette_error *err)
{
    const char *owner = NULL;
    int r = manage_get_text(params, "owner", MANAGE_NEEDED, CONTROL_OWNER_MAX, &owner, err);

    if (r >= 0)
        (void)snprintf(ret->owner, sizeof(ret->owner), "%s", owner);
    return r < 0 ? r : 0;
}

static int
lease_fill(const json_t *params, const struct manage_call *call, struct control_lease *ret,
           struct lunette_error *err)
{
    int64_t seconds = 0;
    int r;

    *ret = (struct control_lease){.uid = (uint32_t)manage_call_uid(call)};
    r = lease_owner(params, ret, err);
    if (r == 0)
        r = manage_get_int(params, "seconds", MANAGE_NEEDED, 1, CONTROL_LEASE_S_MAX, &seconds, err);
    ret->ttl_ns = (uint64_t)seconds * LOOP_NS_PER_S;
    return r < 0 ? r : 0;
}

int
lease_get(const json_t *params, const struct manage_call *call, struct control_lease *ret,
          struct lunette_error *err)
{
    const json_t *lease = json_object_get(params, "lease");
    int r;

    ret->owner[0] = '\0';
    if (lease == NULL || json_is_null(lease))
        return 0;
    if (!json_is_object(lease))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "lease is an object: {\"owner\": NAME, \"seconds\": N}");
    r = manage_check_members(lease, "owner seconds", err);
    if (r == 0)
        r = lease_fill(lease, call, ret, err);
    return r == 0 ? 1 : r;
}

json_t *
say_leases(const struct control_node *n)
{
    json_t *list = json_array(), *o;
    struct control_lease l;

    for (unsigned i = 0; control_node_lease(n, i, &l); i++) {
        o = json_object();
        say_put(o, "owner", say_text(l.owner));
        say_put(o, "seconds", json_integer((json_int_t)(l.ttl_ns / LOOP_NS_PER_S)));
        say_put(o, "left_ms", json_integer((json_int_t)(l.left_ns / LOOP_NS_PER_MS)));
        say_put(o, "uid", json_integer(l.uid));
        (void)json_array_append_new(list, o);
    }
    return list;
}

/* ---- a request ------------------------------------------------------------------------------ */

/* It is answered when the data plane knows all leases that it has given.  A session that goes
 * meanwhile is none that is meant any more, and is left out. */
struct lease_job {
    struct job job;
    struct list parts;
    json_t *sessions;
    struct lunette_error err;  /* the first failure */
    struct lunette_error gone; /* of the first session that has gone meanwhile */
};

struct lease_part {
    struct list node;
    struct lease_job *l;
    struct control_waiter w;
    struct control_name name;
};

static void
lease_job_free(struct lease_job *l)
{
    struct list *n;

    while ((n = list_pop_front(&l->parts)) != NULL) {
        struct lease_part *p = container_of(n, struct lease_part, node);

        control_waiter_cancel(&p->w);
        free(p);
    }
    job_finish(&l->job);
    json_decref(l->sessions);
    free(l);
}

static void
lease_job_drop(struct job *j)
{
    lease_job_free(container_of(j, struct lease_job, job));
}

static void
lease_job_go_on(struct lease_job *l)
{
    if (!list_empty(&l->parts))
        return;
    if (l->err.code != 0)
        say_fail(l->job.call, &l->err);
    else if (json_array_size(l->sessions) == 0)
        manage_fail(l->job.call, MANAGE_NOT_FOUND, "%s",
                    l->gone.code != 0 ? l->gone.msg : "no session is like that");
    else
        manage_reply(l->job.call, json_pack("{s:O}", "sessions", l->sessions));
    lease_job_free(l);
}

static bool
lease_waits_for(struct job *j, unsigned index)
{
    struct lease_job *l = container_of(j, struct lease_job, job);

    LIST_FOREACH (n, &l->parts) {
        if (session_is_at(j->d, &container_of(n, struct lease_part, node)->name, index))
            return true;
    }
    return false;
}

static void
lease_failed(struct lease_job *l, const struct lunette_error *err)
{
    bool gone = err->code == -ENOENT || err->code == -ECANCELED;
    struct lunette_error *first = gone ? &l->gone : &l->err;

    if (first->code == 0)
        (void)lunette_fail_as(first, err);
}

static void
lease_say_session(struct lease_job *l, const struct control_node *n)
{
    struct control_info info;
    struct nodedb_id id;
    json_t *o;

    control_node_get_info(n, &info);
    id_of_name(control_node_name(n), &id);
    o = say_id(&id);
    say_put(o, "sid", json_integer(info.sid));
    say_put(o, "leases", say_leases(n));
    (void)json_array_append_new(l->sessions, o);
}

static void
lease_on_noted(struct control_waiter *w, const struct lunette_error *err)
{
    struct lease_part *p = container_of(w, struct lease_part, w);
    struct lease_job *l = p->l;
    struct control_node *n = control_find(l->job.d->control, &p->name);

    if (err != NULL)
        lease_failed(l, err);
    else if (n != NULL)
        lease_say_session(l, n);
    list_del(&p->node);
    free(p);
    lease_job_go_on(l);
}

static bool
lease_is_owned(const struct control_node *n, const char *owner)
{
    struct control_lease has;

    for (unsigned i = 0; control_node_lease(n, i, &has); i++) {
        if (strcmp(has.owner, owner) == 0)
            return true;
    }
    return false;
}

/* Which sessions are meant: those that are selected, or else those of which the owner has a lease.
 */
struct lease_scope {
    struct filter f;
    int64_t sid;
    bool selected;
};

static int
lease_scope_get(const json_t *params, struct lease_scope *ret, struct lunette_error *err)
{
    int r;

    ret->sid = 0;
    r = filter_get(params, &ret->f, err);
    if (r == 0)
        r = manage_get_int(params, "sid", MANAGE_OPTIONAL, 1, UINT32_MAX, &ret->sid, err);
    ret->selected = ret->f.any || ret->sid != 0;
    return r < 0 ? r : 0;
}

static bool
lease_is_meant(const struct lease_scope *s, const struct control_node *n, const char *owner)
{
    struct control_info info;

    control_node_get_info(n, &info);
    if (info.wanted == CONTROL_DOWN || (info.sid == 0 && info.wanted != CONTROL_UP))
        return false;
    if (!s->selected)
        return lease_is_owned(n, owner);
    return (s->sid == 0 || info.sid == (uint32_t)s->sid) &&
           filter_fits(&s->f, control_node_name(n));
}

static void
lease_give(struct lease_job *l, struct control_node *n, const struct control_lease *lease,
           bool only)
{
    struct lease_part *p = calloc(1, sizeof(*p));
    struct lunette_error why = {.code = 0};
    int r;

    if (p == NULL) {
        say_no_memory(&why);
        r = -ENOMEM;
    } else {
        p->l = l;
        p->name = *control_node_name(n);
        control_waiter_init(&p->w, lease_on_noted);
        r = control_lease(n, lease, only, &p->w, &why);
    }
    if (r == 0) {
        list_push_back(&l->parts, &p->node);
        return;
    }
    free(p);
    lease_failed(l, &why);
}

static struct lease_job *
lease_job_new(struct iscsid *d, struct manage_call *call)
{
    struct lease_job *l = calloc(1, sizeof(*l));

    if (l == NULL) {
        manage_fail(call, MANAGE_NO_MEMORY, "no memory for the request");
        return NULL;
    }
    l->sessions = json_array();
    list_init(&l->parts);
    job_begin_plane(&l->job, d, call, lease_job_drop);
    l->job.waits_for = lease_waits_for;
    return l;
}

METHOD(session_lease_method)
{
    struct iscsid *d = user;
    struct lease_job *l = lease_job_new(d, call);
    struct control_lease lease;
    struct lease_scope scope;
    bool only = false;
    int r;

    if (l == NULL)
        return;
    r = lease_scope_get(params, &scope, &l->err);
    if (r == 0)
        r = lease_fill(params, call, &lease, &l->err);
    if (r == 0)
        r = manage_get_bool(params, "leases_only", &only, &l->err);
    for (struct control_node *n = NULL; r >= 0 && (n = control_next(d->control, n)) != NULL;) {
        if (lease_is_meant(&scope, n, lease.owner))
            lease_give(l, n, &lease, only);
    }
    lease_job_go_on(l);
}

METHOD(session_release_method)
{
    struct iscsid *d = user;
    struct lease_job *l = lease_job_new(d, call);
    struct control_lease lease;
    struct lease_scope scope;
    int r;

    if (l == NULL)
        return;
    r = lease_scope_get(params, &scope, &l->err);
    if (r == 0)
        r = lease_owner(params, &lease, &l->err);
    for (struct control_node *n = NULL; r >= 0 && (n = control_next(d->control, n)) != NULL;) {
        if (lease_is_meant(&scope, n, lease.owner) && control_release(n, lease.owner, &l->err) == 0)
            lease_say_session(l, n);
    }
    if (json_array_size(l->sessions) > 0)
        l->err.code = 0; /* of some it had none */
    lease_job_go_on(l);
}
