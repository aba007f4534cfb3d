/* SPDX-License-Identifier: MIT */
/* From records to nodes of the policy.  A record becomes a node when somebody wants its session, or
 * when a session of it is found; so thousands of records that nobody uses cost nothing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"

/* ---- configuration -------------------------------------------------------------------------- */

static void
records_note(void *user, const struct lunette_error *why)
{
    struct iscsid *d = user;

    log_line(d->loop->log, why->code == -ENOTSUP ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "%s", why->msg);
}

int
records_read_conf(struct iscsid *d, struct lunette_error *err)
{
    uint8_t random[NODEDB_INITIATOR_RANDOM];
    struct nodedb_initiator who;
    struct nodedb_record conf;
    int r = loop_secure_random(d->loop, random, sizeof(random));

    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "there is no randomness: %s",
                            errno_text(r));
    r = nodedb_initiator_read(d->cfg.initiator_file, random, NULL, &who, err);
    if (r == 0)
        r = nodedb_conf_read(d->cfg.conf_file, &conf, records_note, d, err);
    if (r < 0)
        return r;
    if (d->has_conf)
        nodedb_record_fini(&d->conf);
    d->conf = conf;
    d->has_conf = true;
    d->who = who;
    return 0;
}

/* ---- a record, as a login needs it ---------------------------------------------------------- */

int
records_set(struct nodedb_record *r, const json_t *values, struct lunette_error *err)
{
    const char *name, *value;
    int e = 0;

    for (size_t i = 0; i < json_array_size(values) && e == 0; i++) {
        manage_pair(values, i, &name, &value);
        e = nodedb_record_update(r, name, value, err);
    }
    return e;
}

void
records_say_unused(struct iscsid *d, enum nodedb_kind kind, const json_t *values)
{
    const char *name, *value;

    for (size_t i = 0; i < json_array_size(values); i++) {
        const struct nodedb_key *k;
        int id;

        manage_pair(values, i, &name, &value);
        id = nodedb_key_find(kind, name, strlen(name), NULL);
        k = id >= 0 ? nodedb_key((enum nodedb_key_id)id) : NULL;
        if (k != NULL && k->unused != NULL && strcmp(value, k->dflt) != 0)
            log_line(d->loop->log, LOG_LEVEL_INFO,
                     "%s is kept in the records, but is not used here because %s", k->name,
                     k->unused);
    }
}

/* The same of a record in memory, and of an iface's; NULL: what the record has of it. */
static int
records_setup_of(struct iscsid *d, const struct nodedb_record *r, const struct nodedb_record *iface,
                 struct setup *ret, struct lunette_error *err)
{
    int e = nodedb_to_login_config(r, iface, &d->conf, &d->who, &ret->login, &ret->opts, err);

    if (e < 0)
        return e;
    e = nodedb_bind(&ret->opts.bind, SYS_NET, &ret->login, err);
    if (e < 0)
        login_config_wipe(&ret->login);
    return e;
}

/* The other portals of the record's portal group, as far as there are records of them by the same
 * iface.  A session of one connection stays at its own, since there may be one at each of the
 * others. */
static void
records_group(struct iscsid *d, const struct nodedb_id *id, struct login_config *login)
{
    const struct filter f = {
        .db = {.target = id->target, .iface = id->iface, .tpgt = id->portal.tpgt}};
    struct lunette_error why = {.code = 0};
    struct ids ids;

    if (login->nr_connections < 2 || id->portal.tpgt < 0)
        return;
    if (records_find(d, &f, &ids, &why) < 0)
        log_line(d->loop->log, LOG_LEVEL_WARN, "%s: all connections go to one portal: %s",
                 id->target, why.msg);
    for (size_t i = 0; i < ids.n && login->ngroup < LOGIN_GROUP_MAX; i++) {
        const struct portal *p = &ids.id[i].portal;

        if (strcmp(p->host, id->portal.host) != 0 || p->port != id->portal.port)
            login->group[login->ngroup++] = *p;
    }
    ids_fini(&ids);
}

int
records_setup_firmware(struct iscsid *d, const struct nodedb_id *id, const json_t *values,
                       struct setup *ret, struct lunette_error *err)
{
    struct nodedb_record r, iface;
    int e = firmware_record(d, id, values, &r, &iface, err);

    if (e < 0)
        return e;
    e = records_setup_of(d, &r, &iface, ret, err);
    nodedb_record_fini(&iface);
    nodedb_record_fini(&r);
    return e;
}

int
records_setup(struct iscsid *d, const struct nodedb_id *id, const json_t *values, struct setup *ret,
              struct lunette_error *err)
{
    struct nodedb_record r, iface, *with = NULL;
    struct lunette_error why = {.code = 0};
    int e = nodedb_node_read(d->db, id, &r, err);

    if (e == -ENOENT) { /* a session needs no record where the firmware knows its target */
        int f = records_setup_firmware(d, id, values, ret, &why);

        return f < 0 && f != -ENOENT ? lunette_fail_as(err, &why) : f;
    }
    if (e < 0)
        return e;
    e = records_set(&r, values, err);
    if (e == 0 && nodedb_iface_read(d->db, id->iface, &iface, NULL) == 0)
        with = &iface;
    if (e == 0)
        e = records_setup_of(d, &r, with, ret, err);
    if (e == 0)
        records_group(d, id, &ret->login);
    if (with != NULL)
        nodedb_record_fini(with);
    nodedb_record_fini(&r);
    return e;
}

/* ---- nodes ---------------------------------------------------------------------------------- */

int
records_node(struct iscsid *d, const struct nodedb_id *id, uint32_t instance, const struct setup *s,
             struct control_node **ret, struct lunette_error *err)
{
    struct control_export all = {.all = true, .kind = "nbd"};
    struct control_node_config cfg = {
        .login = &s->login,
        .login_retries = s->opts.login_retry_max,
        .reopen_max = s->opts.reopen_max,
        .logout_timeout_ms = s->opts.logout_timeout_ms,
        .scan_manual = !s->opts.scan,
        .kept = s->opts.startup != NODEDB_STARTUP_MANUAL,
    };
    struct control_info info;

    name_of_id(id, instance, &cfg.name);
    *ret = control_find(d->control, &cfg.name);
    if (*ret != NULL)
        control_node_get_info(*ret, &info);
    if (*ret != NULL && info.has_config)
        return control_node_change(*ret, &cfg, err);
    if (*ret == NULL && s->opts.export_nbd) {
        cfg.exports = &all;
        cfg.nexports = 1;
    }
    return control_node_add(d->control, &cfg, ret, err);
}

bool
records_target_present(struct iscsid *d, const struct nodedb_id *id)
{
    struct control_info info;

    for (struct control_node *c = NULL; (c = control_next(d->control, c)) != NULL;) {
        if (strcmp(control_node_name(c)->target, id->target) != 0)
            continue;
        control_node_get_info(c, &info);
        if (info.sid != 0 || info.wanted == CONTROL_UP)
            return true;
    }
    return false;
}

bool
records_in_use(void *user, const struct nodedb_id *id)
{
    struct iscsid *d = user;
    struct control_info info;

    for (struct control_node *c = NULL; (c = control_next(d->control, c)) != NULL;) {
        if (name_is_of(control_node_name(c), id) && session_is_told(c, &info))
            return true;
    }
    return false;
}

/* Gives a node the configuration of its record. */
static void
records_follow(struct iscsid *d, struct control_node *n)
{
    uint32_t instance = control_node_name(n)->instance;
    struct lunette_error why = {.code = 0};
    struct control_info info;
    struct nodedb_id id;
    struct setup s;
    int r;

    id_of_name(control_node_name(n), &id);
    control_node_get_info(n, &info);
    r = records_setup(d, &id, NULL, &s, &why);
    if (r == 0) {
        r = records_node(d, &id, instance, &s, &n, &why);
        login_config_wipe(&s.login);
    }
    if (r == -ENOENT && info.has_config)
        control_node_remove(n);
    else if (r < 0 && r != -ENOENT)
        log_line(d->loop->log, LOG_LEVEL_WARN, "the session with %s stays as it was: %s", id.target,
                 why.msg);
}

void
records_changed(struct iscsid *d, const struct nodedb_id *id)
{
    struct control_node *next;

    for (struct control_node *c = control_next(d->control, NULL); c != NULL; c = next) {
        next = control_next(d->control, c);
        if (name_is_of(control_node_name(c), id))
            records_follow(d, c);
    }
}

/* Nodes follow their records a few in each turn of the loop, since each of them reads files.  The
 * first few, which mostly are all, follow at once. */
static void
records_follow_some(struct iscsid *d)
{
    struct records_follow *f = &d->follow;
    struct control_info info;

    for (unsigned i = 0; i < SLICE && f->at < f->n; i++) {
        struct control_node *n = control_find(d->control, &f->name[f->at++]);

        if (n == NULL)
            continue;
        control_node_get_info(n, &info);
        if (f->all || !info.has_config)
            records_follow(d, n);
    }
    if (f->at < f->n)
        loop_timer_start(d->loop, &f->go, 0);
    else
        records_follow_stop(d);
}

static void
records_follow_on_go(struct loop_timer *t)
{
    records_follow_some(container_of(t, struct iscsid, follow.go));
}

/* Begins anew with all nodes, those that have not had their turn yet among them. */
static void
records_follow_start(struct iscsid *d, bool all)
{
    struct records_follow *f = &d->follow;
    struct control_node *c;
    size_t n = 0;

    all |= f->at < f->n && f->all;
    records_follow_stop(d);
    for (c = NULL; (c = control_next(d->control, c)) != NULL;)
        n++;
    f->name = n > 0 ? malloc(n * sizeof(f->name[0])) : NULL;
    if (n > 0 && f->name == NULL) {
        log_line(d->loop->log, LOG_LEVEL_ERROR,
                 "sessions do not follow their records: there is no memory left");
        return;
    }
    for (c = NULL; (c = control_next(d->control, c)) != NULL;)
        f->name[f->n++] = *control_node_name(c);
    f->all = all;
    records_follow_some(d);
}

void
records_follow_init(struct iscsid *d)
{
    loop_timer_init(&d->follow.go, records_follow_on_go);
}

void
records_follow_stop(struct iscsid *d)
{
    loop_timer_stop(d->loop, &d->follow.go);
    free(d->follow.name);
    d->follow.name = NULL;
    d->follow.n = d->follow.at = 0;
}

void
records_all_changed(struct iscsid *d)
{
    records_follow_start(d, true);
}

void
records_configure_found(struct iscsid *d)
{
    records_follow_start(d, false);
}

/* ---- ids ------------------------------------------------------------------------------------ */

int
ids_add(struct ids *ids, const struct nodedb_id *id, struct lunette_error *err)
{
    size_t room = ids->room < 16 ? 16 : 2 * ids->room;
    struct nodedb_id *more;

    if (ids->n == ids->room) {
        more = realloc(ids->id, room * sizeof(*more));
        if (more == NULL) {
            say_no_memory(err);
            return -ENOMEM;
        }
        ids->id = more;
        ids->room = room;
    }
    ids->id[ids->n++] = *id;
    return 0;
}

void
ids_fini(struct ids *ids)
{
    free(ids->id);
    *ids = (struct ids){.n = 0};
}

struct records_skipped {
    struct ids *ids;
    struct lunette_error *why; /* of the first that was left out */
};

static int
records_on_id(void *user, const struct nodedb_id *id, struct nodedb_record *r)
{
    struct records_skipped *s = user;

    (void)r;
    return ids_add(s->ids, id, NULL);
}

static void
records_on_skipped(void *user, const struct lunette_error *why)
{
    struct records_skipped *s = user;

    if (s->why->code == 0)
        (void)lunette_fail_as(s->why, why);
}

/* Visits one target's records. */
static int
records_search_target(struct iscsid *d, const struct filter *f, const char *target,
                      struct records_search *s, struct ids *ret, struct lunette_error *err)
{
    struct records_skipped skipped = {.ids = ret, .why = &s->skipped};
    const struct nodedb_visitor v = {
        .node = records_on_id, .skipped = records_on_skipped, .user = &skipped};
    struct nodedb_filter db = f->db;
    struct lunette_error why = {.code = 0};
    int r = nodedb_check_target(target, &why);

    if (r < 0) { /* somebody has put it there */
        records_on_skipped(&skipped, &why);
        return 0;
    }
    db.ids_only = true;
    db.target = target;
    r = nodedb_nodes(d->db, &db, &v, err);
    if (r == -ENOMEM)
        say_no_memory(err);
    return r;
}

int
records_search(struct iscsid *d, const struct filter *f, struct records_search *s, struct ids *ret,
               struct lunette_error *err)
{
    int r = 0;

    if (f->db.target != NULL) {
        r = nodedb_check_target(f->db.target, err);
        if (r == 0)
            r = records_search_target(d, f, f->db.target, s, ret, err);
    } else if (!s->listed) {
        r = nodedb_targets(d->db, &s->targets, err);
        s->listed = true;
    }
    for (unsigned i = 0; r == 0 && i < SEARCH_SLICE && s->at < s->targets.n; i++)
        r = records_search_target(d, f, s->targets.name[s->at++], s, ret, err);
    if (r == 0 && s->at < s->targets.n)
        return 1;
    /* "There are none" would be wrong, and sends people searching. */
    if (r == 0 && ret->n == 0 && s->skipped.code < 0)
        r = lunette_fail_as(err, &s->skipped);
    else if (r == 0 && s->skipped.code < 0)
        log_line(d->loop->log, LOG_LEVEL_WARN, "left out: %s", s->skipped.msg);
    records_search_end(s);
    if (r < 0)
        ids_fini(ret);
    return r;
}

void
records_search_end(struct records_search *s)
{
    whole_names_free(&s->targets);
    *s = (struct records_search){.at = 0};
}

int
records_find(struct iscsid *d, const struct filter *f, struct ids *ret, struct lunette_error *err)
{
    struct records_search s = {.at = 0};
    int r;

    *ret = (struct ids){.n = 0};
    do
        r = records_search(d, f, &s, ret, err);
    while (r > 0);
    return r;
}

/* ---- methods that are about records --------------------------------------------------------- */

struct searched {
    struct job job;
    json_t *params; /* of which f has texts */
    struct filter f;
    struct records_search search;
    struct ids ids;
    SEARCHED((*fn));
    struct loop_timer go;
};

static void
searched_free(struct searched *s)
{
    loop_timer_stop(s->job.d->loop, &s->go);
    job_finish(&s->job);
    records_search_end(&s->search);
    ids_fini(&s->ids);
    json_decref(s->params);
    free(s);
}

static void
searched_drop(struct job *j)
{
    searched_free(container_of(j, struct searched, job));
}

static void
searched_on_go(struct loop_timer *t)
{
    struct searched *s = container_of(t, struct searched, go);
    struct iscsid *d = s->job.d;
    struct lunette_error err = {.code = 0};
    int r = records_search(d, &s->f, &s->search, &s->ids, &err);

    if (r > 0) {
        loop_timer_start(d->loop, t, 0);
        return;
    }
    if (r < 0) {
        say_fail(s->job.call, &err);
    } else {
        s->fn(d, s->job.call, s->params, &s->ids);
        s->ids = (struct ids){.n = 0};
    }
    searched_free(s);
}

void
searched_method(struct iscsid *d, struct manage_call *call, const json_t *params, SEARCHED((*fn)))
{
    struct searched *s = calloc(1, sizeof(*s));
    struct lunette_error err = {.code = 0};

    if (s != NULL && params != NULL)
        s->params = json_deep_copy(params);
    if (s == NULL || (params != NULL && s->params == NULL)) {
        free(s);
        say_no_memory(&err);
        say_fail(call, &err);
        return;
    }
    s->fn = fn;
    loop_timer_init(&s->go, searched_on_go);
    job_begin(&s->job, d, call, searched_drop);
    if (filter_get(s->params, &s->f, &err) < 0) {
        say_fail(call, &err);
        searched_free(s);
        return;
    }
    searched_on_go(&s->go);
}
