/* SPDX-License-Identifier: MIT */
/* Methods about discoveries. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"

static const char *const discovery_types[] = {"sendtargets", "isns", "static", "fw", NULL};

/* ---- SendTargets ---------------------------------------------------------------------------- */

struct seek {
    struct job job;
    struct found_options o;
    json_t *ifaces;
    struct nodedb_record disc;
    bool has_disc, is_new;
    struct control_discovery *discovery;
};

static void
seek_free(struct seek *s)
{
    control_discovery_free(&s->discovery);
    job_finish(&s->job);
    if (s->has_disc)
        nodedb_record_fini(&s->disc);
    json_decref(s->ifaces);
    free(s);
}

static void
seek_drop(struct job *j)
{
    seek_free(container_of(j, struct seek, job));
}

static void
seek_failed(struct seek *s, const struct lunette_error *err)
{
    if (err->domain == LUNETTE_DOM_CONNECT || err->domain == LUNETTE_DOM_TIMEOUT)
        manage_fail(s->job.call, say_code(err), "cannot make connection to %s: %s", s->o.via.host,
                    err->msg);
    else
        say_fail(s->job.call, err);
}

static void
seek_done(void *user, struct discovery_result *res, const struct lunette_error *err)
{
    struct seek *s = user;
    struct lunette_error why;

    if (err != NULL) {
        seek_failed(s, err);
    } else if (s->o.ops != 0 && s->is_new && nodedb_disc_write(s->job.d->db, &s->disc, &why) < 0) {
        discovery_result_free(res);
        say_fail(s->job.call, &why);
    } else {
        found_start(s->job.d, s->job.call, res, &s->o);
    }
    seek_free(s);
}

/* The record of the discovery, or a new one, and what it is to be changed by. */
static int
seek_record(struct seek *s, const json_t *values, struct lunette_error *err)
{
    struct iscsid *d = s->job.d;
    int r = nodedb_disc_read(d->db, NODEDB_SENDTARGETS, &s->o.via, &s->disc, err);

    s->is_new = r == -ENOENT;
    if (s->is_new)
        r = nodedb_disc_init(&s->disc, NODEDB_SENDTARGETS, &s->o.via, &d->conf, err);
    s->has_disc = r == 0;
    return r == 0 ? records_set(&s->disc, values, err) : r;
}

static int
seek_config(struct seek *s, struct login_config *cfg, struct nodedb_disc_opts *opts,
            struct lunette_error *err)
{
    const char *name = json_string_value(json_array_get(s->ifaces, 0));
    struct nodedb_record iface;
    int r = nodedb_iface_read(s->job.d->db, name != NULL ? name : "default", &iface, err);

    if (r < 0)
        return r;
    r = nodedb_to_discovery_config(&s->disc, &iface, &s->job.d->conf, &s->job.d->who, cfg, opts,
                                   err);
    nodedb_record_fini(&iface);
    return r;
}

static int
seek_begin(struct seek *s, const json_t *values, struct lunette_error *err)
{
    struct discovery_callbacks cb = {.done = seek_done, .user = s};
    struct nodedb_disc_opts opts;
    struct login_config cfg;
    int r = seek_record(s, values, err);

    if (r == 0)
        r = seek_config(s, &cfg, &opts, err);
    if (r < 0)
        return r;
    cb.text_timeout_ms = opts.text_timeout_ms;
    r = control_discover(s->job.d->control, &cfg, NULL, &cb, &s->discovery, err);
    login_config_wipe(&cfg);
    return r;
}

/* What is to be done with what is found; without a word what is safe. */
static int
seek_ops(const json_t *params, struct found_options *o, struct lunette_error *err)
{
    const json_t *ops = NULL;
    int r = manage_get_texts(params, "op", 8, 16, &ops, err);

    o->ops = json_array_size(ops) == 0 ? NODEDB_OP_NEW | NODEDB_OP_UPDATE : 0;
    for (size_t i = 0; r > 0 && i < json_array_size(ops); i++) {
        const char *op = json_string_value(json_array_get(ops, i));

        if (strcmp(op, "nonpersistent") == 0) {
            o->ops = 0;
            break;
        }
        if (strcmp(op, "new") == 0)
            o->ops |= NODEDB_OP_NEW;
        else if (strcmp(op, "update") == 0)
            o->ops |= NODEDB_OP_UPDATE;
        else if (strcmp(op, "delete") == 0)
            o->ops |= NODEDB_OP_DELETE;
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

METHOD(discovery_sendtargets_method)
{
    struct seek *s = calloc(1, sizeof(*s));
    const json_t *values = NULL, *ifaces = NULL;
    struct lunette_error err = {.code = 0};
    bool wait = true;
    int r;

    if (s == NULL) {
        manage_fail(call, MANAGE_NO_MEMORY, "no memory for a discovery");
        return;
    }
    job_begin(&s->job, user, call, seek_drop);
    r = discovery_portal(params, MANAGE_NEEDED, &s->o.via, &err);
    if (r >= 0)
        r = seek_ops(params, &s->o, &err);
    if (r >= 0)
        r = manage_get_texts(params, "iface", IFACES_MAX, NODEDB_IFACE_NAME_MAX, &ifaces, &err);
    if (r >= 0)
        r = manage_get_bool(params, "login", &s->o.login, &err);
    if (r >= 0)
        r = manage_get_bool(params, "wait", &wait, &err);
    if (r >= 0)
        r = manage_get_pairs(params, "values", VALUES_MAX, NODEDB_VALUE_MAX, &values, &err);
    s->ifaces = ifaces != NULL ? json_deep_copy(ifaces) : NULL;
    s->o.ifaces = s->ifaces;
    s->o.no_wait = !wait;
    if (r >= 0)
        r = seek_begin(s, values, &err);
    if (r < 0) {
        say_fail(call, &err);
        seek_free(s);
    }
}

METHOD(discovery_none_method)
{
    (void)user;
    (void)params;
    manage_fail(
        call, MANAGE_NOT_SUPPORTED,
        "this daemon asks no iSNS server and reads no firmware yet; use discovery.sendtargets");
}

/* ---- records -------------------------------------------------------------------------------- */

struct discovery_list {
    struct iscsid *d;
    json_t *records;
    const char *type;
    enum nodedb_kind kind;
    bool show, show_secrets, targets;
};

static int
discovery_on_target(void *user, const struct nodedb_id *id)
{
    (void)json_array_append_new(user, say_id(id));
    return 0;
}

static int
discovery_on_record(void *user, const struct portal *at, struct nodedb_record *r)
{
    struct discovery_list *l = user;
    json_t *o = json_object(), *targets = json_array();
    int e = 0;

    say_put(o, "type", json_string(l->type));
    say_portal(o, "portal", at);
    if (l->show && r != NULL)
        say_put(o, "values", say_record(r, l->show_secrets));
    if (l->targets)
        e = nodedb_found(l->d->db, l->kind == NODEDB_ISNS ? NODEDB_BY_ISNS : NODEDB_BY_SENDTARGETS,
                         at, discovery_on_target, targets, NULL);
    say_put(o, "targets", json_incref(targets));
    json_decref(targets);
    (void)json_array_append_new(l->records, o);
    return e;
}

/* Nodes that people, or the firmware, have named. */
static int
discovery_named(struct discovery_list *l, const char *type, enum nodedb_source source,
                struct lunette_error *err)
{
    json_t *targets = json_array();
    int r = nodedb_found(l->d->db, source, NULL, discovery_on_target, targets, err);

    if (r == 0 && json_array_size(targets) > 0)
        (void)json_array_append_new(l->records,
                                    json_pack("{s:s,s:O}", "type", type, "targets", targets));
    json_decref(targets);
    return r;
}

static int
discovery_collect(struct discovery_list *l, int type, struct lunette_error *err)
{
    int r = 0;

    l->type = "sendtargets";
    l->kind = NODEDB_SENDTARGETS;
    if (type < 0 || type == 0)
        r = nodedb_discs(l->d->db, l->kind, discovery_on_record, l, err);
    l->type = "isns";
    l->kind = NODEDB_ISNS;
    if (r == 0 && (type < 0 || type == 1))
        r = nodedb_discs(l->d->db, l->kind, discovery_on_record, l, err);
    if (r == 0 && l->targets && (type < 0 || type == 2))
        r = discovery_named(l, "static", NODEDB_BY_STATIC, err);
    if (r == 0 && l->targets && (type < 0 || type == 3))
        r = discovery_named(l, "fw", NODEDB_BY_FW, err);
    return r;
}

METHOD(discovery_list_method)
{
    struct discovery_list l = {.d = user, .records = json_array()};
    struct lunette_error err = {.code = 0};
    unsigned type = 0;
    int r = manage_get_word(params, "type", MANAGE_OPTIONAL, discovery_types, &type, &err);
    int which = r > 0 ? (int)type : -1;

    if (r >= 0)
        r = manage_get_bool(params, "targets", &l.targets, &err);
    if (r >= 0)
        r = discovery_collect(&l, which, &err);
    if (r < 0) {
        json_decref(l.records);
        say_fail(call, &err);
        return;
    }
    manage_reply(call, json_pack("{s:o}", "records", l.records));
}

/* Which record is meant: its kind and its portal. */
static int
discovery_which(const json_t *params, enum nodedb_kind *kind, struct portal *at,
                struct lunette_error *err)
{
    unsigned type = 0;
    int r = manage_get_word(params, "type", MANAGE_OPTIONAL, discovery_types, &type, err);

    if (r >= 0 && type > 1)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "only discoveries by sendtargets and isns have records");
    *kind = type == 1 ? NODEDB_ISNS : NODEDB_SENDTARGETS;
    if (r >= 0)
        r = discovery_portal(params, MANAGE_NEEDED, at, err);
    return r < 0 ? r : 0;
}

METHOD(discovery_show_method)
{
    struct iscsid *d = user;
    struct lunette_error err = {.code = 0};
    struct nodedb_record rec;
    enum nodedb_kind kind;
    struct portal at;
    bool secrets = false;
    json_t *o;
    int r = discovery_which(params, &kind, &at, &err);

    if (r == 0)
        r = manage_get_bool(params, "show_secrets", &secrets, &err);
    if (r >= 0)
        r = nodedb_disc_read(d->db, kind, &at, &rec, &err);
    if (r < 0) {
        say_fail(call, &err);
        return;
    }
    o = json_object();
    say_put(o, "type", json_string(kind == NODEDB_ISNS ? "isns" : "sendtargets"));
    say_portal(o, "portal", &at);
    say_put(o, "values", say_record(&rec, secrets));
    nodedb_record_fini(&rec);
    manage_reply(call, json_pack("{s:[o]}", "records", o));
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
    if (r < 0)
        say_fail(call, &err);
    else
        manage_reply(call, json_object());
}

METHOD(discovery_new_method)
{
    discovery_write(user, call, params, true);
}

METHOD(discovery_update_method)
{
    discovery_write(user, call, params, false);
}

METHOD(discovery_delete_method)
{
    struct iscsid *d = user;
    struct lunette_error err = {.code = 0};
    enum nodedb_kind kind;
    struct portal at;
    int r = discovery_which(params, &kind, &at, &err);

    if (r == 0)
        r = nodedb_disc_delete(d->db, kind, &at, records_in_use, d, &err);
    if (r < 0) {
        say_fail(call, &err);
        return;
    }
    records_all_changed(d);
    manage_reply(call, json_object());
}
