/* SPDX-License-Identifier: MIT */
/* Methods about ifaces, and about hosts, of which each session has one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"

#define IFACE_SLICE      1  /* records that are written in one turn of the loop, each synced */
#define IFACE_GONE_SLICE 64 /* that are removed; all are synced together */

/* ---- ifaces --------------------------------------------------------------------------------- */

static int
iface_on_list(void *user, struct nodedb_record *r)
{
    json_t *o = json_object();

    say_put(o, "name", say_text(nodedb_record_text(r, NODEDB_IFACE_NAME)));
    say_put(o, "transport", say_text(nodedb_record_text(r, NODEDB_IFACE_TRANSPORT)));
    say_put(o, "hwaddress", say_text(nodedb_record_text(r, NODEDB_IFACE_HWADDRESS)));
    say_put(o, "ipaddress", say_text(nodedb_record_text(r, NODEDB_IFACE_IPADDRESS)));
    say_put(o, "netdev", say_text(nodedb_record_text(r, NODEDB_IFACE_NETDEV)));
    say_put(o, "initiatorname", say_text(nodedb_record_text(r, NODEDB_IFACE_INITIATORNAME)));
    return json_array_append_new(user, o) < 0 ? -ENOMEM : 0;
}

METHOD(iface_list_method)
{
    struct iscsid *d = user;
    json_t *ifaces = json_array();
    struct lunette_error err;
    int r;

    (void)params;
    say_no_memory(&err); /* where it is told by nobody else */
    r = nodedb_ifaces(d->db, iface_on_list, ifaces, &err);
    if (r < 0) {
        json_decref(ifaces);
        say_fail(call, &err);
        return;
    }
    manage_reply(call, json_pack("{s:o}", "ifaces", ifaces));
}

static json_t *
iface_shown(const struct nodedb_record *r)
{
    json_t *o = json_object();

    say_put(o, "name", say_text(nodedb_record_text(r, NODEDB_IFACE_NAME)));
    say_put(o, "values", say_record(r, false));
    return o;
}

static int
iface_on_show(void *user, struct nodedb_record *r)
{
    return json_array_append_new(user, iface_shown(r)) < 0 ? -ENOMEM : 0;
}

METHOD(iface_show_method)
{
    struct iscsid *d = user;
    json_t *ifaces = json_array();
    const char *name = NULL;
    struct nodedb_record rec;
    struct lunette_error err;
    int r = manage_get_text(params, "iface", MANAGE_OPTIONAL, NODEDB_IFACE_NAME_MAX, &name, &err);

    if (r > 0) {
        r = nodedb_iface_read(d->db, name, &rec, &err);
        if (r == 0) {
            say_no_memory(&err);
            r = iface_on_show(ifaces, &rec);
            nodedb_record_fini(&rec);
        }
    } else if (r == 0) {
        say_no_memory(&err);
        r = nodedb_ifaces(d->db, iface_on_show, ifaces, &err);
    }
    if (r < 0) {
        json_decref(ifaces);
        say_fail(call, &err);
        return;
    }
    manage_reply(call, json_pack("{s:o}", "ifaces", ifaces));
}

static int
iface_named(const json_t *params, const char **ret, struct lunette_error *err)
{
    return manage_get_text(params, "iface", MANAGE_NEEDED, NODEDB_IFACE_NAME_MAX, ret, err);
}

/* Answers the call: r and err are what has become of a change. */
static void
iface_changed(struct iscsid *d, struct manage_call *call, int r, const struct lunette_error *err)
{
    if (r < 0) {
        say_fail(call, err);
        return;
    }
    records_all_changed(d);
    periodic_follow(d);
    manage_reply(call, json_object());
}

/* Is there a session by the iface? */
static bool
iface_in_use(struct iscsid *d, const char *name)
{
    struct control_info info;

    for (struct control_node *n = NULL; (n = session_next(d->control, n, &info)) != NULL;) {
        if (strcmp(control_node_name(n)->iface, name) == 0)
            return true;
    }
    return false;
}

static int
iface_say_used(const char *name, struct lunette_error *err)
{
    return lunette_fail(err, -EEXIST, LUNETTE_DOM_USAGE, 0,
                        "there are sessions by iface %s; log them out, and then delete it", name);
}

/* ---- the nodes that are bound to one -------------------------------------------------------- */

/* Records of nodes have a copy of that of their iface, and go when it goes.  There may be
 * thousands, so that others are served between a few and the next. */
struct iface_bound {
    struct job job;
    struct nodedb_record iface;
    bool remove;
    bool gone; /* the iface is; what was bound to it meanwhile is looked for */
    struct whole_names targets;
    size_t searched; /* of targets */
    struct ids ids;
    size_t at; /* the first of them that has not had its turn */
    struct sync *sync;
    struct loop_timer go;
    uint64_t lock_until_ns;
};

static void
iface_bound_free(struct iface_bound *b)
{
    loop_timer_stop(b->job.d->loop, &b->go);
    job_finish(&b->job);
    nodedb_record_fini(&b->iface);
    whole_names_free(&b->targets);
    ids_fini(&b->ids);
    sync_free(&b->sync);
    free(b);
}

static void
iface_bound_drop(struct job *j)
{
    iface_bound_free(container_of(j, struct iface_bound, job));
}

static int
iface_bound_found(void *user, const struct nodedb_id *id, struct nodedb_record *r)
{
    struct iface_bound *b = user;

    (void)r;
    return ids_add(&b->ids, id, NULL);
}

/* Looks for those that are bound to it, at some of the targets.  What cannot be read is left out.
 */
static int
iface_bound_search(struct iface_bound *b, struct lunette_error *err)
{
    const struct nodedb_visitor v = {.node = iface_bound_found, .user = b};
    struct nodedb_filter f = {
        .iface = nodedb_record_text(&b->iface, NODEDB_IFACE_NAME), .tpgt = -1, .ids_only = true};
    int r = 0;

    for (unsigned i = 0; r == 0 && i < SEARCH_SLICE && b->searched < b->targets.n; i++) {
        f.target = b->targets.name[b->searched++];
        if (nodedb_check_target(f.target, NULL) == 0)
            r = nodedb_nodes(b->job.d->db, &f, &v, err);
    }
    if (r == -ENOMEM)
        say_no_memory(err);
    return r;
}

/* The iface goes, and so does what somebody has bound to it since it was looked for. */
static int
iface_bound_go(struct iface_bound *b, struct lunette_error *err)
{
    int r = nodedb_iface_drop(b->job.d->db, nodedb_record_text(&b->iface, NODEDB_IFACE_NAME), err);

    if (r < 0)
        return r;
    b->gone = true;
    b->searched = b->at = 0;
    ids_fini(&b->ids);
    whole_names_free(&b->targets);
    return nodedb_targets(b->job.d->db, &b->targets, err);
}

/* Removes a slice, then waits until all of that lasts, and then removes the iface.  Returns 1 where
 * that was the last step, 0, or -errno. */
static int
iface_bound_remove(struct iface_bound *b, uint64_t *wait_ns, struct lunette_error *err)
{
    const char *name = nodedb_record_text(&b->iface, NODEDB_IFACE_NAME);
    size_t n = b->ids.n - b->at < IFACE_GONE_SLICE ? b->ids.n - b->at : IFACE_GONE_SLICE;
    struct iscsid *d = b->job.d;
    int r = 0;

    if (!b->gone && iface_in_use(d, name)) /* by now */
        return iface_say_used(name, err);
    if (n > 0) {
        sync_free(&b->sync);
        b->at += n;
        return nodedb_found_drop(d->db, &b->ids.id[b->at - n], n, NULL, NULL, err);
    }
    if (b->ids.n > 0) {
        if (b->sync == NULL)
            r = sync_begin(d, &b->sync);
        if (r == 0)
            r = sync_poll(b->sync);
        *wait_ns = SYNC_POLL_NS;
        if (r == 1)
            return 0;
    }
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r,
                            "the nodes of iface %s cannot be removed for good: %s", name,
                            errno_text(r));
    return b->gone ? 1 : iface_bound_go(b, err);
}

/* Returns 1 where that was the last step, 0, or -errno. */
static int
iface_bound_change(struct iface_bound *b, struct lunette_error *err)
{
    size_t n = b->ids.n - b->at < IFACE_SLICE ? b->ids.n - b->at : IFACE_SLICE;
    int r = 0;

    if (n > 0) /* somebody may have changed it once more */
        r = nodedb_iface_follow(b->job.d->db, nodedb_record_text(&b->iface, NODEDB_IFACE_NAME),
                                &b->ids.id[b->at], n, err);
    b->at += n;
    return r == 0 && b->at == b->ids.n ? 1 : r;
}

static void
iface_bound_on_go(struct loop_timer *t)
{
    struct iface_bound *b = container_of(t, struct iface_bound, go);
    struct iscsid *d = b->job.d;
    struct lunette_error err = {.code = 0};
    uint64_t wait_ns = 0;
    int r;

    if (b->sync != NULL && sync_poll(b->sync) == 1) {
        loop_timer_start(d->loop, t, SYNC_POLL_NS);
        return;
    }
    r = records_lock(d, t, &b->lock_until_ns, &err);
    if (r == -EAGAIN)
        return;
    if (r == 0) {
        if (b->searched < b->targets.n)
            r = iface_bound_search(b, &err);
        else
            r = b->remove ? iface_bound_remove(b, &wait_ns, &err) : iface_bound_change(b, &err);
        nodedb_unlock(d->db);
    }
    if (r == 0) {
        loop_timer_start(d->loop, t, wait_ns);
        return;
    }
    if (r < 0 && (b->at > 0 || b->gone))
        records_all_changed(d);
    iface_changed(d, b->job.call, r, &err);
    iface_bound_free(b);
}

/* Goes on with the nodes of an iface, whose record is taken, and answers the call. */
static void
iface_bound_start(struct iscsid *d, struct manage_call *call, struct nodedb_record *iface,
                  bool remove)
{
    struct iface_bound *b = calloc(1, sizeof(*b));
    struct lunette_error err = {.code = 0};

    if (b == NULL) {
        nodedb_record_fini(iface);
        say_no_memory(&err);
        say_fail(call, &err);
        return;
    }
    b->iface = *iface;
    b->remove = remove;
    loop_timer_init(&b->go, iface_bound_on_go);
    job_begin(&b->job, d, call, iface_bound_drop);
    if (nodedb_targets(d->db, &b->targets, &err) < 0) {
        say_fail(call, &err);
        iface_bound_free(b);
        return;
    }
    loop_timer_start(d->loop, &b->go, 0);
}

/* ---- changes -------------------------------------------------------------------------------- */

/* All values are set, or none is. */
static int
iface_set(struct iscsid *d, const char *name, const json_t *values, struct nodedb_record *ret,
          struct lunette_error *err)
{
    int e = nodedb_iface_read(d->db, name, ret, err);

    if (e < 0)
        return e;
    e = records_set(ret, values, err);
    if (e == 0 && json_array_size(values) > 0)
        e = nodedb_iface_write(d->db, ret, err);
    if (e < 0)
        nodedb_record_fini(ret);
    return e;
}

/* An iface that is new has all values, or is not made. */
static int
iface_make(struct iscsid *d, const char *name, const json_t *values, struct nodedb_record *ret,
           struct lunette_error *err)
{
    int e = nodedb_iface_read(d->db, name, ret, err);

    if (e == 0)
        e = lunette_fail(err, -EEXIST, LUNETTE_DOM_USAGE, 0, "the interface %s is there already",
                         name);
    else if (e == -ENOENT && nodedb_record_set(ret, NODEDB_IFACE_NAME, name) < 0)
        say_no_memory(err);
    else if (e == -ENOENT)
        e = records_set(ret, values, err);
    if (e == 0)
        e = nodedb_iface_write(d->db, ret, err);
    if (e < 0)
        nodedb_record_fini(ret);
    return e;
}

static void
iface_alter(struct iscsid *d, struct manage_call *call, const json_t *params, bool make)
{
    const json_t *values = NULL;
    const char *name = NULL;
    struct nodedb_record iface;
    struct lunette_error err;
    int r = iface_named(params, &name, &err);

    if (r >= 0)
        r = manage_get_pairs(params, "values", VALUES_MAX, NODEDB_VALUE_MAX, &values, &err);
    if (r >= 0)
        r = make ? iface_make(d, name, values, &iface, &err)
                 : iface_set(d, name, values, &iface, &err);
    if (r < 0) {
        say_fail(call, &err);
    } else if (!make && json_array_size(values) == 0) {
        nodedb_record_fini(&iface);
        iface_changed(d, call, 0, &err);
    } else {
        iface_bound_start(d, call, &iface, false);
    }
}

LOCKED_METHOD(iface_new_method)
{
    iface_alter(user, call, params, true);
}

LOCKED_METHOD(iface_update_method)
{
    iface_alter(user, call, params, false);
}

LOCKED_METHOD(iface_delete_method)
{
    struct iscsid *d = user;
    const char *name = NULL;
    struct nodedb_record iface;
    struct lunette_error err;
    int r = iface_named(params, &name, &err);

    if (r >= 0 && iface_in_use(d, name))
        r = iface_say_used(name, &err);
    if (r >= 0 && nodedb_iface_reserved(name))
        r = nodedb_iface_drop(d->db, name, &err); /* which says why not */
    if (r >= 0) {
        r = nodedb_iface_read(d->db, name, &iface, &err);
        if (r < 0 && r != -ENOENT) /* what cannot be read is removed all the same */
            r = nodedb_record_set(&iface, NODEDB_IFACE_NAME, name);
    }
    if (r < 0)
        say_fail(call, &err);
    else
        iface_bound_start(d, call, &iface, true);
}

/* What an iface holds takes effect with the next login; there is no adapter to be told. */
METHOD(iface_apply_method)
{
    struct iscsid *d = user;
    const char *name = NULL;
    struct nodedb_record rec;
    struct lunette_error err;
    int r = manage_get_text(params, "iface", MANAGE_OPTIONAL, NODEDB_IFACE_NAME_MAX, &name, &err);

    if (r > 0) {
        r = nodedb_iface_read(d->db, name, &rec, &err);
        if (r == 0)
            nodedb_record_fini(&rec);
    }
    if (r < 0)
        say_fail(call, &err);
    else
        manage_reply(call, json_object());
}

/* ---- hosts ---------------------------------------------------------------------------------- */

/* The record of a session may have another transport than that of its iface. */
static void
host_say_transport(struct iscsid *d, json_t *o, const struct control_name *name)
{
    struct nodedb_record r;
    struct nodedb_id id;
    const char *text;

    id_of_name(name, &id);
    if (nodedb_node_read(d->db, &id, &r, NULL) < 0)
        return;
    text = nodedb_record_text(&r, NODEDB_IFACE_TRANSPORT);
    if (text[0] != '\0')
        say_put(o, "transport", say_text(text));
    nodedb_record_fini(&r);
}

/* What the iface of a session says, as far as it says something. */
static void
host_say_iface(struct iscsid *d, json_t *o, const char *name)
{
    static const struct {
        const char *member;
        enum nodedb_key_id key;
    } told[] = {
        {"transport", NODEDB_IFACE_TRANSPORT},         {"ipaddress", NODEDB_IFACE_IPADDRESS},
        {"hwaddress", NODEDB_IFACE_HWADDRESS},         {"netdev", NODEDB_IFACE_NETDEV},
        {"initiatorname", NODEDB_IFACE_INITIATORNAME},
    };
    struct nodedb_record r;

    say_put(o, "transport", json_string("tcp"));
    say_put(o, "initiatorname", say_text(d->who.name));
    if (nodedb_iface_read(d->db, name[0] != '\0' ? name : "default", &r, NULL) < 0)
        return;
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
        const char *text = nodedb_record_text(&r, told[i].key);

        if (text[0] != '\0')
            say_put(o, told[i].member, say_text(text));
    }
    nodedb_record_fini(&r);
}

METHOD(host_list_method)
{
    struct iscsid *d = user;
    json_t *hosts = json_array(), *o;
    struct control_info info;

    (void)params;
    for (struct control_node *n = NULL; (n = session_next(d->control, n, &info)) != NULL;) {
        o = json_object();
        say_put(o, "number", json_integer(info.sid));
        say_put(o, "sid", json_integer(info.sid));
        say_put(o, "state", json_string(info.state == CONTROL_IS_UP ? "running" : "recovery"));
        host_say_iface(d, o, control_node_name(n)->iface);
        host_say_transport(d, o, control_node_name(n));
        (void)json_array_append_new(hosts, o);
    }
    manage_reply(call, json_pack("{s:o}", "hosts", hosts));
}
