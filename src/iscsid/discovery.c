/* SPDX-License-Identifier: MIT */
/* Methods about discoveries. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"

#define FORGET_SLICE 128 /* records; all slices are synced together */

/* Of the first two there are records of how to discover, of the others of what was named. */
enum discovery_type { BY_SENDTARGETS, BY_ISNS, BY_STATIC, BY_FW, BY_ALL };
static const char *const discovery_types[] = {"sendtargets", "isns", "static", "fw", NULL};

static enum nodedb_kind
discovery_record_kind(enum discovery_type type)
{
    return type == BY_ISNS ? NODEDB_ISNS : NODEDB_SENDTARGETS;
}

/* ---- discovering --------------------------------------------------------------------------- */

/* What is to be done with what is found; without a word what is safe. */
static int
discovery_ops(const json_t *params, unsigned *ret, struct lunette_error *err)
{
    const json_t *ops = NULL;
    int r = manage_get_texts(params, "op", 8, 16, &ops, err);

    *ret = json_array_size(ops) == 0 ? NODEDB_OP_NEW | NODEDB_OP_UPDATE : 0;
    for (size_t i = 0; r > 0 && i < json_array_size(ops); i++) {
        const char *op = json_string_value(json_array_get(ops, i));

        if (strcmp(op, "nonpersistent") == 0) {
            *ret = 0;
            break;
        }
        if (strcmp(op, "new") == 0)
            *ret |= NODEDB_OP_NEW;
        else if (strcmp(op, "update") == 0)
            *ret |= NODEDB_OP_UPDATE | NODEDB_OP_NEW; /* open-iscsi adds what is new with either */
        else if (strcmp(op, "delete") == 0)
            *ret |= NODEDB_OP_DELETE;
        else
            r = lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                             "op is new, update, delete or nonpersistent");
    }
    return r < 0 ? r : 0;
}

static int
discovery_portal(const json_t *params, enum manage_need need, struct portal *ret,
                 struct lunette_error *err)
{
    const char *text = NULL;
    int r = manage_get_text(params, "portal", need, PORTAL_TEXT_MAX, &text, err);

    if (r <= 0)
        return r;
    r = portal_parse(text, strlen(text), ret, err);
    return r < 0 ? r : 1;
}

/* What all discoveries may be told; their own type, too. */
static int
discovery_options(const json_t *params, enum discovery_type type, struct seek_options *o,
                  struct lunette_error *err)
{
    const char *const own[] = {discovery_types[type], NULL};
    unsigned word = 0;
    bool wait = true;
    int r = manage_get_word(params, "type", MANAGE_OPTIONAL, own, &word, err);

    if (r >= 0)
        r = discovery_ops(params, &o->ops, err);

    if (r >= 0)
        r = manage_get_texts(params, "iface", IFACES_MAX, NODEDB_IFACE_NAME_MAX, &o->ifaces, err);
    if (r >= 0)
        r = manage_get_bool(params, "login", &o->login, err);
    if (r >= 0)
        r = manage_get_bool(params, "wait", &wait, err);
    if (r >= 0)
        r = manage_get_pairs(params, "values", VALUES_MAX, NODEDB_VALUE_MAX, &o->values, err);
    if (r >= 0 && o->login && o->ops == 0)
        r = lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                         "a login is made by a record, and nonpersistent writes none; leave one of "
                         "them out");
    o->no_wait = !wait;
    return r;
}

static void
discovery_start(struct iscsid *d, struct manage_call *call, const json_t *params,
                enum discovery_type type)
{
    struct seek_options o = {.kind = discovery_record_kind(type)};
    struct lunette_error err = {.code = 0};
    int r = discovery_portal(params, MANAGE_NEEDED, &o.via, &err);

    if (r >= 0)
        r = discovery_options(params, type, &o, &err);
    if (r < 0)
        say_fail(call, &err);
    else
        seek_start(d, call, &o);
}

METHOD(discovery_sendtargets_method)
{
    discovery_start(user, call, params, BY_SENDTARGETS);
}

METHOD(discovery_isns_method)
{
    discovery_start(user, call, params, BY_ISNS);
}

/* Nobody is asked, and there is no record of how. */
METHOD(discovery_fw_method)
{
    struct found_options found = {.source = NODEDB_BY_FW, .via.tpgt = -1};
    struct lunette_error err = {.code = 0};
    struct seek_options o = {.ops = 0};
    struct found *f;
    int r = discovery_options(params, BY_FW, &o, &err);

    if (r >= 0 && json_array_size(o.values) > 0)
        r = lunette_fail(&err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                         "a discovery of the firmware's targets has no record with values");
    if (r < 0) {
        say_fail(call, &err);
        return;
    }
    if (firmware_list(user, call, &found.firmware) < 0)
        return;
    found.ops = o.ops;
    found.login = o.login;
    found.no_wait = o.no_wait;
    f = found_new(user, &found);
    if (f == NULL) {
        say_no_memory(&err);
        say_fail(call, &err);
        return;
    }
    r = json_array_size(o.ifaces) == 0 ? found_add_firmware(f, "default", &err) : 0;
    for (size_t i = 0; r == 0 && i < json_array_size(o.ifaces); i++)
        r = found_add_firmware(f, json_string_value(json_array_get(o.ifaces, i)), &err);
    if (r < 0) {
        found_free(f);
        say_fail(call, &err);
        return;
    }
    found_start(f, call);
}

/* ---- records -------------------------------------------------------------------------------- */

struct discovery_list {
    struct iscsid *d;
    json_t *records;
    enum discovery_type type; /* BY_ALL: any */
    bool at_portal;           /* only records of that portal */
    struct portal portal;
    bool show, show_secrets, targets;
    struct lunette_error *err;
    enum discovery_type now; /* whose records are visited */
};

static int
discovery_on_target(void *user, const struct nodedb_id *id)
{
    (void)json_array_append_new(user, say_id(id));
    return 0;
}

/* The one record that is asked for cannot be read: why. */
static int
discovery_unreadable(struct discovery_list *l, const struct portal *at)
{
    struct nodedb_record r;
    int e = nodedb_disc_read(l->d->db, discovery_record_kind(l->now), at, &r, l->err);

    if (e == 0)
        nodedb_record_fini(&r);
    return e;
}

static int
discovery_on_record(void *user, const struct portal *at, struct nodedb_record *r)
{
    struct discovery_list *l = user;
    json_t *o, *targets;
    int e = 0;

    if (l->at_portal && (strcasecmp(at->host, l->portal.host) != 0 || at->port != l->portal.port))
        return 0;
    if (l->show && l->at_portal && r == NULL)
        return discovery_unreadable(l, at);
    o = json_object();
    say_put(o, "type", json_string(discovery_types[l->now]));
    say_portal(o, "portal", at);
    if (l->show && r != NULL)
        say_put(o, "values", say_record(r, l->show_secrets));
    if (!l->show) {
        targets = json_array();
        if (l->targets)
            e = nodedb_found(l->d->db, l->now == BY_ISNS ? NODEDB_BY_ISNS : NODEDB_BY_SENDTARGETS,
                             at, discovery_on_target, targets, l->err);
        say_put(o, "targets", targets);
    }
    (void)json_array_append_new(l->records, o);
    return e;
}

/* Nodes that people, or the firmware, have named: they are what there is to tell of, and at no
 * portal. */
static int
discovery_named(struct discovery_list *l, enum nodedb_source source)
{
    json_t *targets = json_array();
    int r = nodedb_found(l->d->db, source, NULL, discovery_on_target, targets, l->err);

    if (r == 0 && json_array_size(targets) > 0)
        (void)json_array_append_new(
            l->records,
            json_pack("{s:s,s:O}", "type", discovery_types[l->now], "targets", targets));
    json_decref(targets);
    return r;
}

static int
discovery_collect_type(struct discovery_list *l, enum discovery_type type)
{
    if (l->type != BY_ALL && l->type != type)
        return 0;
    l->now = type;
    if (type == BY_SENDTARGETS || type == BY_ISNS)
        return nodedb_discs(l->d->db, discovery_record_kind(type), discovery_on_record, l, l->err);
    if (l->at_portal || (!l->targets && !l->show))
        return 0;
    return discovery_named(l, type == BY_FW ? NODEDB_BY_FW : NODEDB_BY_STATIC);
}

/* What the request selects. */
static int
discovery_select(struct discovery_list *l, const json_t *params)
{
    unsigned type = BY_ALL;
    int r = manage_get_word(params, "type", MANAGE_OPTIONAL, discovery_types, &type, l->err);

    l->type = (enum discovery_type)type;
    if (r >= 0)
        r = discovery_portal(params, MANAGE_OPTIONAL, &l->portal, l->err);
    l->at_portal = r > 0;
    return r < 0 ? r : 0;
}

static void
discovery_tell(struct discovery_list *l, struct manage_call *call, int r)
{
    for (int type = BY_SENDTARGETS; r >= 0 && type < BY_ALL; type++)
        r = discovery_collect_type(l, (enum discovery_type)type);
    if (r >= 0 && l->show && l->at_portal && json_array_size(l->records) == 0)
        r = lunette_fail(l->err, -ENOENT, LUNETTE_DOM_NOTFOUND, 0,
                         "there is no discovery record of that portal");
    if (r >= 0) {
        manage_reply(call, json_pack("{s:o}", "records", l->records));
        return;
    }
    json_decref(l->records);
    say_fail(call, l->err);
}

METHOD(discovery_list_method)
{
    struct lunette_error err = {.code = 0};
    struct discovery_list l = {.d = user, .records = json_array(), .err = &err};
    int r = discovery_select(&l, params);

    if (r >= 0)
        r = manage_get_bool(params, "targets", &l.targets, &err);
    discovery_tell(&l, call, r);
}

METHOD(discovery_show_method)
{
    struct lunette_error err = {.code = 0};
    struct discovery_list l = {.d = user, .records = json_array(), .show = true, .err = &err};
    int r = discovery_select(&l, params);

    if (r >= 0)
        r = manage_get_bool(params, "show_secrets", &l.show_secrets, &err);
    discovery_tell(&l, call, r);
}

/* Which record is meant: its kind and its portal. */
static int
discovery_which(const json_t *params, enum nodedb_kind *kind, struct portal *at,
                struct lunette_error *err)
{
    unsigned type = BY_SENDTARGETS;
    int r = manage_get_word(params, "type", MANAGE_NEEDED, discovery_types, &type, err);

    if (r >= 0 && type != BY_SENDTARGETS && type != BY_ISNS)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "only discoveries by sendtargets and isns have records");
    *kind = discovery_record_kind((enum discovery_type)type);
    if (r >= 0)
        r = discovery_portal(params, MANAGE_NEEDED, at, err);
    return r < 0 ? r : 0;
}

static void
discovery_write(struct iscsid *d, struct manage_call *call, const json_t *params, bool make)
{
    struct lunette_error err = {.code = 0};
    const json_t *values = NULL;
    struct nodedb_record rec;
    enum nodedb_kind kind;
    struct portal at;
    int r = discovery_which(params, &kind, &at, &err);

    if (r == 0)
        r = manage_get_pairs(params, "values", VALUES_MAX, NODEDB_VALUE_MAX, &values, &err);
    if (r >= 0)
        r = make ? nodedb_disc_init(&rec, kind, &at, &d->conf, &err)
                 : nodedb_disc_read(d->db, kind, &at, &rec, &err);
    if (r < 0) {
        say_fail(call, &err);
        return;
    }
    r = records_set(&rec, values, &err);
    if (r == 0)
        r = nodedb_disc_write(d->db, &rec, &err);
    nodedb_record_fini(&rec);
    if (r < 0) {
        say_fail(call, &err);
        return;
    }
    records_say_unused(d, kind, values);
    periodic_follow(d);
    manage_reply(call, json_object());
}

LOCKED_METHOD(discovery_new_method)
{
    discovery_write(user, call, params, true);
}

LOCKED_METHOD(discovery_update_method)
{
    discovery_write(user, call, params, false);
}

/* A discovery that is forgotten, with what it has found, a slice in each turn. */
struct forget {
    struct job job;
    enum nodedb_kind kind;
    struct portal at;
    struct ids found;
    size_t gone;
    struct sync *sync;
    struct loop_timer go;
    uint64_t lock_until_ns;
};

static void
forget_free(struct forget *f)
{
    loop_timer_stop(f->job.d->loop, &f->go);
    job_finish(&f->job);
    ids_fini(&f->found);
    sync_free(&f->sync);
    free(f);
}

static void
forget_drop(struct job *j)
{
    forget_free(container_of(j, struct forget, job));
}

static int
forget_on_found(void *user, const struct nodedb_id *id)
{
    return ids_add(user, id, NULL);
}

/* Removes a slice, then waits until all of that lasts, and then removes the record of the
 * discovery, which would tell of what has come back.  Returns 1 where that was the last step, 0, or
 * -errno. */
static int
forget_step(struct forget *f, uint64_t *wait_ns, struct lunette_error *err)
{
    struct iscsid *d = f->job.d;
    size_t n = f->found.n - f->gone < FORGET_SLICE ? f->found.n - f->gone : FORGET_SLICE;
    int r = 0;

    if (n > 0) {
        f->gone += n;
        return nodedb_found_drop(d->db, f->found.id + f->gone - n, n, records_in_use, d, err);
    }
    if (f->found.n > 0) {
        if (f->sync == NULL)
            r = sync_begin(d, &f->sync);
        if (r == 0)
            r = sync_poll(f->sync);
        *wait_ns = SYNC_POLL_NS;
        if (r == 1)
            return 0;
    }
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r,
                            "what was found cannot be removed for good: %s", errno_text(-r));
    r = nodedb_disc_delete(d->db, f->kind, &f->at, records_in_use, d, err);
    return r < 0 ? r : 1;
}

static void
forget_on_go(struct loop_timer *t)
{
    struct forget *f = container_of(t, struct forget, go);
    struct iscsid *d = f->job.d;
    struct lunette_error err = {.code = 0};
    uint64_t wait_ns = 0;
    int r;

    if (f->sync != NULL && sync_poll(f->sync) == 1) {
        loop_timer_start(d->loop, t, SYNC_POLL_NS);
        return;
    }
    r = records_lock(d, t, &f->lock_until_ns, &err);

    if (r == -EAGAIN)
        return;
    if (r == 0) {
        r = forget_step(f, &wait_ns, &err);
        nodedb_unlock(d->db);
    }
    if (r == 0) {
        loop_timer_start(d->loop, &f->go, wait_ns);
        return;
    }
    records_all_changed(d);
    periodic_follow(d);
    if (r < 0)
        say_fail(f->job.call, &err);
    else
        manage_reply(f->job.call, json_object());
    forget_free(f);
}

METHOD(discovery_delete_method)
{
    struct iscsid *d = user;
    struct lunette_error err = {.code = 0};
    struct forget *f = calloc(1, sizeof(*f));
    int r;

    if (f == NULL) {
        manage_fail(call, MANAGE_NO_MEMORY, "no memory to forget a discovery");
        return;
    }
    loop_timer_init(&f->go, forget_on_go);
    job_begin(&f->job, d, call, forget_drop);
    r = discovery_which(params, &f->kind, &f->at, &err);
    if (r == 0)
        r = nodedb_found(d->db, f->kind == NODEDB_ISNS ? NODEDB_BY_ISNS : NODEDB_BY_SENDTARGETS,
                         &f->at, forget_on_found, &f->found, &err);
    if (r < 0) {
        if (r == -ENOMEM)
            say_no_memory(&err);
        say_fail(call, &err);
        forget_free(f);
        return;
    }
    loop_timer_start(d->loop, &f->go, 0);
}
