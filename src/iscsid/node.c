/* SPDX-License-Identifier: MIT */
/* Methods about records of nodes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"

#define WRITE_SLICE 1   /* records that are written in one turn of the loop, each of them synced */
#define TELL_EVERY  128 /* records, after which a caller is told that it goes on */

/* ---- reading, in slices --------------------------------------------------------------------- */

/* One list after the other is made, a slice in each turn of the loop: however many are asked for,
 * a turn stays short, and only one of them takes memory. */
struct node_read {
    struct job job;
    struct list turn; /* of d->readers */
    json_t *params;   /* of which f has texts */
    struct filter f;
    struct records_search search;
    bool found;
    struct ids ids;
    size_t at;
    bool show, show_secrets;
    bool is_short; /* of memory or descriptors, as why tells */
    json_t *nodes;
    struct lunette_error why; /* the first that could not be read */
    struct loop_timer go;
};

static void
node_read_free(struct node_read *q)
{
    struct iscsid *d = q->job.d;

    loop_timer_stop(d->loop, &q->go);
    list_del(&q->turn);
    job_finish(&q->job);
    records_search_end(&q->search);
    ids_fini(&q->ids);
    json_decref(q->nodes);
    json_decref(q->params);
    free(q);
}

static void
node_read_next(struct iscsid *d)
{
    struct node_read *q;

    if (list_empty(&d->readers))
        return;
    q = container_of(d->readers.next, struct node_read, turn);
    loop_timer_start(d->loop, &q->go, 0);
}

static void
node_read_drop(struct job *j)
{
    node_read_free(container_of(j, struct node_read, job));
}

/* Nobody waits for the list any more. */
static void
node_read_on_gone(void *user, struct manage_call *call)
{
    struct node_read *q = user;
    struct iscsid *d = q->job.d;

    manage_fail(call, MANAGE_TIMEOUT, "nobody waits for it");
    node_read_free(q);
    node_read_next(d);
}

static void
node_read_one(struct node_read *q, const struct nodedb_id *id)
{
    struct lunette_error why = {.code = 0};
    struct nodedb_record r;
    json_t *o;
    int e = nodedb_node_read(q->job.d->db, id, &r, &why);

    if (e == -ENOMEM || e == -EMFILE ||
        e == -ENFILE) /* then a list would lack those that are good */
        q->is_short = true;
    if (e < 0) { /* it has just been removed, or cannot be read */
        if (q->is_short || (e != -ENOENT && q->why.code == 0))
            (void)lunette_fail_as(&q->why, &why);
        return;
    }
    o = say_id(id);
    if (q->show)
        say_put(o, "values", say_record(&r, q->show_secrets));
    else
        say_put(o, "startup",
                json_string((const char *[]){
                    "manual", "automatic", "onboot"}[nodedb_record_word(&r, NODEDB_NODE_STARTUP)]));
    nodedb_record_fini(&r);
    (void)json_array_append_new(q->nodes, o);
}

static void
node_read_answer(struct node_read *q)
{
    struct manage_call *call = q->job.call;
    json_t *nodes = q->nodes;

    if (q->why.code < 0 && json_array_size(nodes) > 0 && !q->is_short)
        log_line(q->job.d->loop->log, LOG_LEVEL_WARN, "left out of a list of records: %s",
                 q->why.msg);
    q->nodes = NULL;
    if (q->is_short || (json_array_size(nodes) == 0 && q->why.code < 0)) {
        json_decref(nodes);
        say_fail(call, &q->why);
    } else if (nodes != NULL && json_array_size(nodes) == 0 && q->show) {
        json_decref(nodes);
        manage_fail(call, MANAGE_NOT_FOUND, "no record is like that");
    } else {
        manage_reply(call, json_pack("{s:o}", "nodes", nodes));
    }
}

static void
node_read_on_go(struct loop_timer *t)
{
    struct node_read *q = container_of(t, struct node_read, go);
    struct iscsid *d = q->job.d;

    if (!q->found) {
        q->found = records_search(d, &q->f, &q->search, &q->ids, &q->why) <= 0;
        if (q->found)
            q->nodes = json_array();
    }
    for (unsigned i = 0; q->found && i < SLICE && q->at < q->ids.n && !q->is_short; i++)
        node_read_one(q, &q->ids.id[q->at++]);
    if (q->found && (q->at == q->ids.n || q->is_short)) {
        node_read_answer(q);
        node_read_free(q);
    }
    node_read_next(d);
}

static void
node_read_start(struct iscsid *d, struct manage_call *call, const json_t *params, bool show)
{
    struct node_read *q = calloc(1, sizeof(*q));
    struct lunette_error err = {.code = 0};
    int r;

    if (q != NULL && params != NULL)
        q->params = json_deep_copy(params);
    if (q == NULL || (params != NULL && q->params == NULL)) {
        free(q);
        manage_fail(call, MANAGE_NO_MEMORY, "no memory for the list of records");
        return;
    }
    q->show = show;
    loop_timer_init(&q->go, node_read_on_go);
    job_begin(&q->job, d, call, node_read_drop);
    list_push_back(&d->readers, &q->turn);
    r = filter_get(q->params, &q->f, &err);
    if (r == 0)
        r = manage_get_bool(params, "show_secrets", &q->show_secrets, &err);
    if (r < 0) {
        say_fail(call, &err);
        node_read_free(q);
        return;
    }
    manage_call_on_gone(call, node_read_on_gone, q);
    if (d->readers.next == &q->turn)
        node_read_next(d);
}

METHOD(node_list_method)
{
    node_read_start(user, call, params, false);
}

METHOD(node_show_method)
{
    node_read_start(user, call, params, true);
}

/* ---- new ------------------------------------------------------------------------------------ */

static json_t *
node_iface_settings(const struct nodedb_record *r)
{
    json_t *o = json_object();

    say_put(o, "transport", say_text(nodedb_record_text(r, NODEDB_IFACE_TRANSPORT)));
    say_put(o, "hwaddress", say_text(nodedb_record_text(r, NODEDB_IFACE_HWADDRESS)));
    say_put(o, "ipaddress", say_text(nodedb_record_text(r, NODEDB_IFACE_IPADDRESS)));
    say_put(o, "netdev", say_text(nodedb_record_text(r, NODEDB_IFACE_NETDEV)));
    return o;
}

static int
node_make(struct iscsid *d, const struct nodedb_id *id, const json_t *values, json_t *nodes,
          struct lunette_error *err)
{
    struct nodedb_record r, iface;
    json_t *o;
    int e = nodedb_check_id(id, err);

    if (e == 0)
        e = nodedb_iface_read(d->db, id->iface, &iface, err);
    if (e < 0)
        return e;
    e = nodedb_node_init(&r, id, &iface, &d->conf, err);
    nodedb_record_fini(&iface);
    if (e < 0)
        return e;
    e = nodedb_node_set_source(&r, NODEDB_BY_STATIC, NULL);
    if (e == 0)
        e = records_set(&r, values, err);
    else
        say_no_memory(err);
    if (e == 0)
        e = nodedb_node_write(d->db, &r, err);
    if (e == 0) {
        o = say_id(id);
        say_put(o, "iface_settings", node_iface_settings(&r));
        (void)json_array_append_new(nodes, o);
    }
    nodedb_record_fini(&r);
    return e;
}

/* The portals at which a target is known, each once, when none is given. */
static int
node_known_portals(struct iscsid *d, const struct filter *f, struct ids *ret,
                   struct lunette_error *err)
{
    struct filter of = {.db = {.target = f->db.target, .tpgt = f->db.tpgt}};
    size_t kept = 0;
    int r = records_find(d, &of, ret, err);

    for (size_t i = 0; r == 0 && i < ret->n; i++) {
        size_t j = 0;

        while (j < kept && (strcmp(ret->id[j].portal.host, ret->id[i].portal.host) != 0 ||
                            ret->id[j].portal.port != ret->id[i].portal.port))
            j++;
        if (j == kept)
            ret->id[kept++] = ret->id[i];
    }
    ret->n = kept;
    if (r == 0 && kept == 0)
        return lunette_fail(err, -ENOENT, LUNETTE_DOM_NOTFOUND, 0,
                            "the target is not known; say at which portal it is");
    return r;
}

LOCKED_METHOD(node_new_method)
{
    struct iscsid *d = user;
    const json_t *values = NULL;
    struct lunette_error err = {.code = 0};
    struct ids ids = {.n = 0};
    json_t *nodes = json_array();
    struct nodedb_id id;
    struct filter f;
    int r = filter_get(params, &f, &err);

    if (r == 0 && f.db.target == NULL)
        r = lunette_fail(&err, -EINVAL, LUNETTE_DOM_USAGE, 0, "target is missing");
    if (r == 0)
        r = manage_get_pairs(params, "values", VALUES_MAX, NODEDB_VALUE_MAX, &values, &err);
    if (r >= 0 && f.db.host == NULL) {
        r = node_known_portals(d, &f, &ids, &err);
    } else if (r >= 0) {
        memset(&id, 0, sizeof(id));
        (void)snprintf(id.target, sizeof(id.target), "%s", f.db.target);
        id.portal = f.portal;
        r = ids_add(&ids, &id, &err);
    }
    for (size_t i = 0; r == 0 && i < ids.n; i++) {
        (void)snprintf(ids.id[i].iface, sizeof(ids.id[i].iface), "%s",
                       f.db.iface != NULL ? f.db.iface : "default");
        r = node_make(d, &ids.id[i], values, nodes, &err);
        records_changed(d, &ids.id[i]);
    }
    ids_fini(&ids);
    if (r < 0) {
        json_decref(nodes);
        say_fail(call, &err);
        return;
    }
    manage_reply(call, json_pack("{s:o}", "nodes", nodes));
}

/* ---- update and delete ---------------------------------------------------------------------- */

/* Is each value one that may be set in the record? */
static int
node_update_check(struct iscsid *d, const struct nodedb_id *id, const json_t *values,
                  struct lunette_error *err)
{
    const char *name, *value;
    struct nodedb_record r;
    int e = nodedb_node_read(d->db, id, &r, err);

    if (e < 0)
        return e;
    for (size_t i = 0; i < json_array_size(values) && e == 0; i++) {
        manage_pair(values, i, &name, &value);
        e = nodedb_record_update(&r, name, value, err);
        if (e == -EINVAL && nodedb_key_find(NODEDB_NODE, name, strlen(name), NULL) < 0)
            (void)lunette_fail(err, e, LUNETTE_DOM_USAGE, 0,
                               "Cannot modify %s. Invalid param name.", name);
    }
    nodedb_record_fini(&r);
    return e;
}

static int
node_update_write(struct iscsid *d, const struct nodedb_id *id, const json_t *values,
                  struct lunette_error *err)
{
    struct nodedb_record r;
    int e = nodedb_node_read(d->db, id, &r, err);

    if (e < 0)
        return e;
    e = records_set(&r, values, err);
    if (e == 0)
        e = nodedb_node_write(d->db, &r, err);
    nodedb_record_fini(&r);
    return e;
}

/* What the record says of exports is wanted of its sessions from now on. */
static void
node_update_exports(struct iscsid *d, const struct nodedb_id *id, const json_t *values)
{
    struct control_export e = {.all = true};
    const char *name, *value;
    bool any = false;

    for (size_t i = 0; i < json_array_size(values); i++) {
        manage_pair(values, i, &name, &value);
        if (strcmp(name, "node.export") != 0)
            continue;
        any = true;
        (void)snprintf(e.kind, sizeof(e.kind), "%s", strcmp(value, "nbd") == 0 ? "nbd" : "");
    }
    for (struct control_node *n = NULL; any && (n = control_next(d->control, n)) != NULL;) {
        if (name_is_of(control_node_name(n), id))
            (void)control_set_export(n, &e, NULL, NULL);
    }
}

/* Many records that are changed or removed: first all are checked, then each is written.  Every one
 * of them is synced, which is slow, so that others are served between a few and the next. */
struct node_change {
    struct job job;
    json_t *values; /* NULL: they are removed */
    struct ids ids;
    size_t at, done;
    bool checked;
    struct loop_timer go;
    uint64_t lock_until_ns;
};

static void
node_change_free(struct node_change *q)
{
    loop_timer_stop(q->job.d->loop, &q->go);
    job_finish(&q->job);
    ids_fini(&q->ids);
    json_decref(q->values);
    free(q);
}

static void
node_change_drop(struct job *j)
{
    node_change_free(container_of(j, struct node_change, job));
}

static int
node_delete_check(struct iscsid *d, const struct nodedb_id *id, struct manage_call *call)
{
    if (!records_in_use(d, id))
        return 0;
    manage_fail(call, MANAGE_SESSION_EXISTS,
                "This command will remove the record [iface: %s, target: %s, portal: %s,%u], but a "
                "session is using it. Logout session then rerun command to remove record.",
                id->iface, id->target, id->portal.host, id->portal.port);
    return -EEXIST;
}

/* Takes the next step with a record: nothing changes before all of them are checked. */
static int
node_change_one(struct node_change *q, const struct nodedb_id *id, struct lunette_error *err)
{
    struct iscsid *d = q->job.d;
    int r = 0;

    if (q->values == NULL && node_delete_check(d, id, q->job.call) < 0) {
        q->job.call = NULL;
        return -EBUSY;
    }
    if (!q->checked)
        return q->values != NULL ? node_update_check(d, id, q->values, err) : 0;
    r = q->values != NULL ? node_update_write(d, id, q->values, err)
                          : nodedb_node_delete(d->db, id, err);
    if (r == 0) {
        q->done++;
        records_changed(d, id);
        if (q->values != NULL) {
            node_update_exports(d, id, q->values);
            r = nodedb_untagged_drop(d->db, id, records_in_use, d, err);
        }
    }
    return r;
}

/* Returns whether everything is done. */
static bool
node_change_slice(struct node_change *q, int *ret, struct lunette_error *err)
{
    unsigned most = q->checked ? WRITE_SLICE : SLICE;

    for (unsigned i = 0; i < most && q->at < q->ids.n && *ret == 0; i++) {
        *ret = node_change_one(q, &q->ids.id[q->at++], err);
        if (*ret == -ENOENT && q->ids.n > 1)
            *ret = 0; /* somebody else has just removed it */
    }
    if (*ret < 0 || q->at < q->ids.n)
        return *ret < 0;
    q->at = 0;
    if (q->checked)
        return true;
    q->checked = true;
    return false;
}

static void
node_change_on_go(struct loop_timer *t)
{
    struct node_change *q = container_of(t, struct node_change, go);
    struct lunette_error err = {.code = 0};
    bool over = false, locked = q->checked;
    int r = locked ? records_lock(q->job.d, t, &q->lock_until_ns, &err) : 0;

    if (r == -EAGAIN)
        return;
    if (r == 0) {
        over = node_change_slice(q, &r, &err);
        if (locked)
            nodedb_unlock(q->job.d->db);
    }
    if (!over && r == 0) {
        if (q->checked && q->at % TELL_EVERY == 0 && q->at > 0)
            manage_progress(q->job.call,
                            json_pack("{s:s,s:I}", "state", "changed", "count", (json_int_t)q->at));
        loop_timer_start(q->job.d->loop, &q->go, 0);
        return;
    }
    if (r == 0)
        manage_reply(q->job.call, json_pack("{s:I}", "count", (json_int_t)q->done));
    else if (q->job.call != NULL)
        say_fail(q->job.call, &err);
    node_change_free(q);
}

static void
node_change_start(struct iscsid *d, struct manage_call *call, const json_t *params, struct ids *ids,
                  bool remove)
{
    struct node_change *q = calloc(1, sizeof(*q));
    const json_t *values = NULL;
    struct lunette_error err = {.code = 0};
    int r = 0;

    if (q == NULL) {
        ids_fini(ids);
        manage_fail(call, MANAGE_NO_MEMORY, "no memory for the records");
        return;
    }
    q->ids = *ids;
    loop_timer_init(&q->go, node_change_on_go);
    job_begin(&q->job, d, call, node_change_drop);
    if (!remove)
        r = manage_get_pairs(params, "values", VALUES_MAX, NODEDB_VALUE_MAX, &values, &err);
    if (r == 0 && !remove)
        r = lunette_fail(&err, -EINVAL, LUNETTE_DOM_USAGE, 0, "values are missing");
    if (r >= 0 && !remove) {
        records_say_unused(d, NODEDB_NODE, values);
        q->values = json_deep_copy(values);
        if (q->values == NULL) {
            say_no_memory(&err);
            r = -ENOMEM;
        }
    }
    if (r >= 0 && q->ids.n == 0)
        r = lunette_fail(&err, -ENOENT, LUNETTE_DOM_NOTFOUND, 0, "no record is like that");
    if (r < 0) {
        say_fail(call, &err);
        node_change_free(q);
        return;
    }
    loop_timer_start(d->loop, &q->go, 0);
}

static SEARCHED(node_update_found)
{
    node_change_start(d, call, params, ids, false);
}

METHOD(node_update_method)
{
    searched_method(user, call, params, node_update_found);
}

static SEARCHED(node_delete_found)
{
    node_change_start(d, call, params, ids, true);
}

METHOD(node_delete_method)
{
    searched_method(user, call, params, node_delete_found);
}

/* ---- login and logout ----------------------------------------------------------------------- */

/* Which startups "all" means.  Records that are needed for booting are in "all" of neither: logging
 * out of them takes the root file system away. */
static int
node_startups(const json_t *params, bool logout, struct batch_options *o, struct lunette_error *err)
{
    static const char *const words[] = {"manual", "automatic", "onboot", "all", NULL};
    unsigned word = 0;
    int r = manage_get_word(params, "all", MANAGE_OPTIONAL, words, &word, err);

    if (r <= 0)
        return r;
    if (logout && word == NODEDB_STARTUP_ONBOOT)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "sessions that are needed for booting are logged out one by one");
    o->by_startup = o->leading = true;
    o->startups =
        word == 3 ? 1u << NODEDB_STARTUP_MANUAL | 1u << NODEDB_STARTUP_AUTOMATIC : 1u << word;
    return 0;
}

/* A record that somebody has made by hand, of which no tag is known, can stand beside one that a
 * discovery has found at the same portal.  Leaves only those without a tag, if there are any. */
static void
node_keep_untagged(struct ids *ids)
{
    size_t n = 0;

    for (size_t i = 0; i < ids->n; i++) {
        if (ids->id[i].portal.tpgt < 0)
            ids->id[n++] = ids->id[i];
    }
    if (n > 0)
        ids->n = n;
}

static SEARCHED(node_login_found)
{
    struct batch_options o = {.logout = false};
    struct lunette_error err = {.code = 0};
    bool wait = true, untagged = false;
    int r = node_startups(params, false, &o, &err);

    if (r >= 0)
        r = manage_get_bool(params, "wait", &wait, &err);
    if (r >= 0)
        r = manage_get_bool(params, "untagged", &untagged, &err);
    if (r >= 0)
        r = manage_get_bool(params, "more", &o.more, &err);
    if (r >= 0)
        r = manage_get_pairs(params, "values", VALUES_MAX, NODEDB_VALUE_MAX, &o.values, &err);
    if (r >= 0)
        r = lease_get(params, call, &o.lease, &err);
    if (r < 0) {
        ids_fini(ids);
        say_fail(call, &err);
        return;
    }
    o.no_wait = !wait;
    if (untagged)
        node_keep_untagged(ids);
    batch_login(d, call, ids, &o);
}

METHOD(node_login_method)
{
    searched_method(user, call, params, node_login_found);
}

METHOD(node_logout_method)
{
    struct batch_options o = {.logout = true};
    struct lunette_error err = {.code = 0};
    struct filter f;
    int r = filter_get(params, &f, &err);

    if (r == 0)
        r = node_startups(params, true, &o, &err);
    if (r < 0)
        say_fail(call, &err);
    else
        batch_logout(user, call, &f, 0, &o);
}
