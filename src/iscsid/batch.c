/* SPDX-License-Identifier: MIT */
/* Logins and logouts of many: all of them in parallel, since the gate bounds what is under way; and
 * the records of them are read a few in each turn. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"
#include "seam/ipc_lun.h"

#define BATCH_SETTLE_MS 10000 /* for the LUNs of a session to come up */

struct batch {
    struct job job;
    struct batch_options o;
    json_t *values; /* what o.values was */
    bool searching; /* not all records have been looked for */
    struct records_search search;
    struct ids ids;  /* records to log in to */
    size_t at;       /* the next one */
    bool second;     /* the records with leading_login follow */
    struct ids rest; /* of these, what is tried when another portal of the target has failed */
    json_t *results;
    struct list items;
    struct loop_timer go;
    bool answered;
    struct control_asker asker;
};

/* One login or logout that is waited for. */
struct batch_item {
    struct list node;
    struct batch *b;
    struct control_waiter w;
    struct control_name name;
    uint32_t sid;
    bool leading, multiple;
    bool settling; /* logged in, and its LUNs are coming up */
    struct loop_timer limit;
    bool asking;   /* whether its LUNs are in use */
    unsigned loop; /* where */
    uint32_t held; /* clients of its exports */
};

static void batch_go_on(struct batch *b);

static void
batch_free(struct batch *b)
{
    struct list *n;

    while ((n = list_pop_front(&b->items)) != NULL) {
        struct batch_item *i = container_of(n, struct batch_item, node);

        control_waiter_cancel(&i->w);
        loop_timer_stop(b->job.d->loop, &i->limit);
        free(i);
    }
    loop_timer_stop(b->job.d->loop, &b->go);
    job_finish(&b->job);
    json_decref(b->results);
    json_decref(b->values);
    records_search_end(&b->search);
    ids_fini(&b->ids);
    ids_fini(&b->rest);
    free(b);
}

static void
batch_drop(struct job *j)
{
    batch_free(container_of(j, struct batch, job));
}

static bool
batch_waits_for(struct job *j, unsigned index)
{
    struct batch *b = container_of(j, struct batch, job);

    LIST_FOREACH (n, &b->items) {
        if (session_is_at(j->d, &container_of(n, struct batch_item, node)->name, index))
            return true;
    }
    return false;
}

/* ---- telling -------------------------------------------------------------------------------- */

static json_t *
batch_outcome(const struct control_name *name, uint32_t sid, bool multiple)
{
    struct nodedb_id id;
    json_t *o;

    id_of_name(name, &id);
    o = say_id(&id);
    if (sid != 0)
        say_put(o, "sid", json_integer(sid));
    if (multiple)
        say_put(o, "multiple", json_true());
    return o;
}

static void
batch_tell(struct batch *b, json_t *o, const char *state)
{
    json_t *copy;

    if (b->job.call == NULL || b->answered)
        return;
    copy = json_copy(o);
    say_put(copy, "state", json_string(state));
    manage_progress(b->job.call, copy);
}

/* o and error are taken; error is NULL also where memory was short for it. */
static void
batch_result(struct batch *b, json_t *o, bool ok, json_t *error)
{
    say_put(o, "ok", json_boolean(ok));
    say_put(o, "error", error);
    batch_tell(b, o, "ended");
    (void)json_array_append_new(b->results, o);
}

static void
batch_log(const struct batch *b, const struct control_name *name, const struct lunette_error *err)
{
    char portal[PORTAL_TEXT_MAX];
    const char *what = b->o.logout ? "logout" : "login";

    (void)portal_format(&name->portal, portal, sizeof(portal));
    if (err == NULL)
        log_line(b->job.d->loop->log, LOG_LEVEL_INFO, "%s: %s at %s is done", name->target, what,
                 portal);
    else
        log_line(b->job.d->loop->log, LOG_LEVEL_WARN, "%s: %s at %s has failed: %s", name->target,
                 what, portal, err->msg);
}

static void
batch_answer(struct batch *b)
{
    struct manage_call *call = b->job.call;
    json_t *results = b->results;

    if (b->answered)
        return;
    b->answered = true;
    b->results = json_array();
    if (b->o.done != NULL) {
        b->o.done(b->o.user, results);
    } else if (call == NULL) {
        json_decref(results);
    } else if (json_array_size(results) == 0 && list_empty(&b->items)) {
        manage_fail(call, MANAGE_NOT_FOUND, "%s",
                    b->o.logout       ? "no session is like that"
                    : b->o.by_startup ? "no record is like that, or its target has a session"
                                      : "no record is like that");
        json_decref(results);
    } else {
        manage_reply(call, json_pack("{s:o}", "results", results));
    }
    b->job.call = NULL;
}

/* ---- what is under way ---------------------------------------------------------------------- */

/* A portal of a target whose leading login is enough has failed: another one is tried. */
static bool
batch_try_other(struct batch *b, const struct control_name *name)
{
    struct lunette_error why;

    for (size_t i = 0; i < b->rest.n; i++) {
        if (strcmp(b->rest.id[i].target, name->target) != 0)
            continue;
        if (ids_add(&b->ids, &b->rest.id[i], &why) < 0)
            return false;
        b->rest.id[i] = b->rest.id[--b->rest.n];
        return true;
    }
    return false;
}

static void
batch_finish(struct batch_item *i, const struct lunette_error *err)
{
    struct batch *b = i->b;
    struct control_node *n = control_find(b->job.d->control, &i->name);
    struct control_info info;

    if (n != NULL && !b->o.logout) {
        control_node_get_info(n, &info);
        i->sid = info.sid;
    }
    batch_log(b, &i->name, err);
    batch_result(b, batch_outcome(&i->name, i->sid, i->multiple), err == NULL,
                 err != NULL ? say_error(err) : NULL);
    if (err != NULL && i->leading)
        (void)batch_try_other(b, &i->name);
    list_del(&i->node);
    free(i);
    batch_go_on(b);
}

static void
batch_on_limit(struct loop_timer *t)
{
    struct batch_item *i = container_of(t, struct batch_item, limit);

    control_waiter_cancel(&i->w);
    batch_finish(i, NULL);
}

/* Logged in and done: whoever has asked for a login looks for its LUNs next.  That some of them
 * have failed, or are late, is no failure of the login. */
static void
batch_on_done(struct control_waiter *w, const struct lunette_error *err)
{
    struct batch_item *i = container_of(w, struct batch_item, w);
    struct control_node *n = control_find(i->b->job.d->control, &i->name);
    bool settled = i->settling || i->b->o.logout || err != NULL || n == NULL;

    loop_timer_stop(i->b->job.d->loop, &i->limit);
    if (i->settling)
        err = NULL;
    i->settling = true;
    if (!settled && control_settle(n, &i->w, NULL) == 0)
        loop_timer_start(i->b->job.d->loop, &i->limit, BATCH_SETTLE_MS * LOOP_NS_PER_MS);
    else
        batch_finish(i, err);
}

/* An item that is under way, or NULL. */
static struct batch_item *
batch_item_new(struct batch *b, const struct control_name *name, uint32_t sid, bool multiple)
{
    struct batch_item *i = calloc(1, sizeof(*i));

    if (i == NULL)
        return NULL;
    i->b = b;
    i->name = *name;
    i->sid = sid;
    i->multiple = multiple;
    control_waiter_init(&i->w, batch_on_done);
    loop_timer_init(&i->limit, batch_on_limit);
    list_push_back(&b->items, &i->node);
    return i;
}

static void
batch_item_drop(struct batch_item *i)
{
    list_del(&i->node);
    free(i);
}

/* ---- login ---------------------------------------------------------------------------------- */

static void
batch_on_noted(struct control_waiter *w, const struct lunette_error *err)
{
    struct batch_item *i = container_of(w, struct batch_item, w);
    struct batch *b = i->b;

    (void)err; /* that it has been logged out since is another story */
    batch_item_drop(i);
    batch_go_on(b);
}

/* The session is there, and has the lease now: the answer waits until that is safe. */
static bool
batch_wait_noted(struct batch_item *i, struct control_node *n)
{
    if (i->b->o.lease.owner[0] == '\0')
        return false;
    control_waiter_init(&i->w, batch_on_noted);
    return control_lease(n, &i->b->o.lease, false, &i->w, NULL) == 0;
}

static bool
batch_is_taken(const struct batch *b, const struct control_name *name)
{
    const struct control_node *n = control_find(b->job.d->control, name);
    struct control_info info;

    if (n == NULL)
        return false;
    control_node_get_info(n, &info);
    return info.sid != 0 || info.wanted == CONTROL_UP;
}

/* Asks for one session.  Returns 0; -EEXIST: it is there; or -errno. */
static int
batch_login_instance(struct batch *b, const struct nodedb_id *id, uint32_t instance,
                     const struct setup *s, struct lunette_error *err)
{
    struct control_node *n;
    struct batch_item *i;
    struct control_name name;
    json_t *o;
    int r;

    name_of_id(id, instance, &name);
    if (b->o.more && batch_is_taken(b, &name)) /* it stays whose it is */
        return -EEXIST;
    i = batch_item_new(b, &name, 0, s->opts.nr_sessions > 1 || b->o.more);
    if (i == NULL) {
        say_no_memory(err);
        return -ENOMEM;
    }
    i->leading = b->second;
    r = records_node(b->job.d, id, instance, s, &n, err);
    if (r == 0)
        r = b->o.lease.owner[0] != '\0' ? control_login_leased(n, &b->o.lease, &i->w, err)
                                        : control_login(n, &i->w, err);
    if (r == -EEXIST && batch_wait_noted(i, n))
        return r;
    if (r < 0) {
        batch_item_drop(i);
        return r;
    }
    history_asked(b->job.d, n, &b->asker, b->o.lease.owner[0] != '\0' ? b->o.lease.owner : NULL);
    o = batch_outcome(&name, 0, i->multiple);
    batch_tell(b, o, "started");
    if (b->o.no_wait) { /* it is logged and not told */
        say_put(o, "ok", json_true());
        (void)json_array_append_new(b->results, o);
    } else {
        json_decref(o);
    }
    return 0;
}

static void
batch_present(struct batch *b, const struct nodedb_id *id, unsigned requested, unsigned present)
{
    json_t *error = manage_error_json(MANAGE_SESSION_EXISTS, "there are as many sessions as the "
                                                             "record asks for already");

    say_put(error, "requested", json_integer(requested));
    say_put(error, "present", json_integer(present));
    batch_result(b, say_id(id), false, error);
}

static void
batch_login_sessions(struct batch *b, const struct nodedb_id *id, const struct setup *s)
{
    unsigned wanted = s->opts.nr_sessions > 0 ? s->opts.nr_sessions : 1, present = 0, begun = 0;
    struct lunette_error why;
    int r = 0;

    for (uint32_t i = 0; r == 0 && (b->o.more ? begun == 0 : i < wanted); i++) {
        r = batch_login_instance(b, id, i, s, &why);
        begun += r == 0;
        present += r == -EEXIST;
        r = r == -EEXIST ? 0 : r;
    }
    if (r < 0)
        batch_result(b, say_id(id), false, say_error(&why));
    else if (begun == 0)
        batch_present(b, id, wanted, present);
}

static void
batch_login_record(struct batch *b, const struct nodedb_id *id)
{
    struct lunette_error why = {.code = 0};
    struct setup s;
    bool leading;
    int r = b->o.firmware ? records_setup_firmware(b->job.d, id, b->values, &s, &why)
                          : records_setup(b->job.d, id, b->values, &s, &why);

    if (r < 0) {
        if (r != -ENOENT || b->o.firmware) { /* else it has just been removed */
            log_line(b->job.d->loop->log, LOG_LEVEL_WARN, "%s: %s", id->target, why.msg);
            batch_result(b, say_id(id), false, say_error(&why));
        }
        return;
    }
    leading = b->o.leading && s.opts.leading_login;
    if (b->o.by_startup && !(b->o.startups & (1u << s.opts.startup)))
        ;
    else if (leading && (!b->second || records_target_present(b->job.d, id)))
        (void)ids_add(&b->rest, id, NULL);
    else
        batch_login_sessions(b, id, &s);
    login_config_wipe(&s.login);
}

/* All records have been looked at but those of which one session for each target is enough. */
static void
batch_begin_second(struct batch *b)
{
    ids_fini(&b->ids);
    b->ids = b->rest;
    b->rest = (struct ids){.n = 0};
    b->at = 0;
    b->second = true;
}

static void
batch_go_on(struct batch *b)
{
    if (b->at < b->ids.n) {
        loop_timer_start(b->job.d->loop, &b->go, 0);
        return;
    }
    if (!b->second && b->rest.n > 0) {
        batch_begin_second(b);
        loop_timer_start(b->job.d->loop, &b->go, 0);
        return;
    }
    if (b->o.no_wait)
        batch_answer(b);
    if (!list_empty(&b->items))
        return;
    batch_answer(b);
    batch_free(b);
}

/* Looks for some of the records more. */
static void
batch_search(struct batch *b)
{
    const struct filter all = {.db.tpgt = -1};
    struct iscsid *d = b->job.d;
    struct lunette_error err = {.code = 0};
    int r = records_search(d, &all, &b->search, &b->ids, &err);

    if (r < 0) {
        log_line(d->loop->log, LOG_LEVEL_ERROR, "nothing is logged in to: %s", err.msg);
        batch_free(b);
        return;
    }
    b->searching = r > 0;
    if (b->searching)
        loop_timer_start(d->loop, &b->go, 0);
    else
        batch_go_on(b);
}

static void
batch_on_go(struct loop_timer *t)
{
    struct batch *b = container_of(t, struct batch, go);

    if (b->searching) {
        batch_search(b);
        return;
    }
    for (unsigned i = 0; i < SLICE && b->at < b->ids.n; i++) {
        struct nodedb_id id = b->ids.id[b->at++];

        batch_login_record(b, &id);
    }
    batch_go_on(b);
}

static struct batch *
batch_new(struct iscsid *d, struct manage_call *call, const struct batch_options *o)
{
    struct batch *b = calloc(1, sizeof(*b));

    if (b == NULL)
        return NULL;
    b->o = *o;
    b->results = json_array();
    b->values = o->values != NULL ? json_deep_copy(o->values) : NULL;
    if (b->results == NULL || (o->values != NULL && b->values == NULL)) {
        json_decref(b->results); /* nothing is logged in to without what was asked for it */
        json_decref(b->values);
        free(b);
        return NULL;
    }
    b->o.values = NULL;
    list_init(&b->items);
    loop_timer_init(&b->go, batch_on_go);
    job_begin_plane(&b->job, d, call, batch_drop);
    b->job.waits_for = batch_waits_for;
    b->asker.at_ns = d->loop->now_ns;
    if (call != NULL) {
        b->asker.how = CONTROL_ASKED_CALLER;
        b->asker.uid = (uint32_t)manage_call_uid(call);
        b->asker.pid = (int32_t)manage_call_pid(call);
    } else {
        b->asker.how = o->by_startup ? CONTROL_ASKED_STARTUP : CONTROL_ASKED_DISCOVERY;
    }
    return b;
}

static struct batch *
batch_login_new(struct iscsid *d, struct manage_call *call, const struct batch_options *o)
{
    struct batch *b = batch_new(d, call, o);

    if (b == NULL && o->done != NULL)
        o->done(o->user, NULL);
    else if (b == NULL && call != NULL)
        manage_fail(call, MANAGE_NO_MEMORY, "no memory for the logins");
    return b;
}

void
batch_login_all(struct iscsid *d, const struct batch_options *o)
{
    struct batch *b = batch_login_new(d, NULL, o);

    if (b == NULL)
        return;
    b->searching = true;
    loop_timer_start(d->loop, &b->go, 0);
}

void
batch_login(struct iscsid *d, struct manage_call *call, struct ids *ids,
            const struct batch_options *o)
{
    struct ids taken = *ids; /* who is told that there is no memory may free them */
    struct batch *b;

    *ids = (struct ids){.n = 0};
    b = batch_login_new(d, call, o);
    if (b == NULL) {
        ids_fini(&taken);
        return;
    }
    b->ids = taken;
    batch_go_on(b);
}

/* ---- logout --------------------------------------------------------------------------------- */

static bool
batch_startup_fits(struct batch *b, const struct control_name *name)
{
    struct lunette_error why;
    struct nodedb_id id;
    struct setup s;
    bool fits;

    if (!b->o.by_startup)
        return true;
    id_of_name(name, &id);
    if (records_setup(b->job.d, &id, NULL, &s, &why) < 0)
        return false; /* a session without a record has no startup */
    fits = (b->o.startups & (1u << s.opts.startup)) != 0;
    login_config_wipe(&s.login);
    return fits;
}

static void
batch_logout_begin(struct batch_item *i)
{
    struct batch *b = i->b;
    struct control_node *n = control_find(b->job.d->control, &i->name);
    struct lunette_error why;
    char who[ASKER_TEXT_MAX], by[ASKER_TEXT_MAX + 32];
    int r = n != NULL ? control_logout(n, &i->w, &why)
                      : lunette_fail(&why, -ENOENT, LUNETTE_DOM_NOTFOUND, 0,
                                     "there is no such session any more");

    if (r == 0) {
        (void)snprintf(by, sizeof(by), "logged out by %s",
                       b->job.call != NULL ? asker_text(&b->asker, who) : "the end of the daemon");
        history_leaves(b->job.d, n, by);
        return;
    }
    batch_result(b, batch_outcome(&i->name, i->sid, false), false, say_error(&why));
    batch_item_drop(i);
}

static bool batch_ask_held(struct batch_item *i, uint32_t after);

/* A session stays that is in use, or of which that could not be found out. */
static void
batch_judge_held(struct batch_item *i, bool unknown)
{
    const char *why = unknown
                          ? "whether exports of the session have clients could not be found out, "
                            "and iscsid.safe_logout is Yes; try again"
                          : "exports of the session have clients, and iscsid.safe_logout is Yes";

    if (i->held == 0 && !unknown) {
        batch_logout_begin(i);
        return;
    }
    batch_result(i->b, batch_outcome(&i->name, i->sid, false), false,
                 manage_error_json(MANAGE_BUSY, why));
    batch_item_drop(i);
}

/* iscsid.safe_logout: a session whose exports have clients stays. */
static void
batch_on_held(void *user, const struct iscsi_reply *rep)
{
    struct batch_item *i = user;
    struct batch *b = i->b;
    const uint8_t *at = rep->data, *end = at + ipc_reply_data_len(rep);
    struct ipc_lun_info info;
    uint32_t last = 0;
    bool more;

    i->asking = false;
    while (ipc_lun_next(&at, end, &info)) {
        last = info.index;
        i->held += info.export_clients;
    }
    more = rep->err == 0 && rep->r.luns.more && last > 0;
    if (more && batch_ask_held(i, last))
        return;
    batch_judge_held(i, more || (rep->err < 0 && rep->err != -ENOENT && rep->err != -EOPNOTSUPP));
    batch_go_on(b);
}

static bool
batch_ask_held(struct batch_item *i, uint32_t after)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_LIST_LUNS, .sid = i->sid};
    struct ctl *ctl = control_ctl(i->b->job.d->control, i->loop);

    ev.u.list_luns.after = after;
    i->asking = ctl != NULL && ctl_request(ctl, &ev, NULL, 0, batch_on_held, i) == 0;
    return i->asking;
}

/* Where the data plane has gone, nothing is in use. */
static void
batch_lost(struct job *j, unsigned index)
{
    struct batch *b = container_of(j, struct batch, job);

    LIST_FOREACH_SAFE (n, &b->items) {
        struct batch_item *i = container_of(n, struct batch_item, node);

        if (!i->asking || i->loop != index)
            continue;
        i->asking = false;
        batch_logout_begin(i);
    }
    batch_go_on(b);
}

static void
batch_logout_node(struct batch *b, struct control_node *n, const struct control_info *info)
{
    struct batch_item *i = batch_item_new(b, control_node_name(n), info->sid, false);
    json_t *o = batch_outcome(control_node_name(n), info->sid, false);
    struct lunette_error why;

    batch_tell(b, o, "started");
    if (i == NULL) {
        say_no_memory(&why);
        batch_result(b, o, false, say_error(&why));
        return;
    }
    json_decref(o);
    i->loop = info->loop;
    if (info->sid == 0 || nodedb_record_word(&b->job.d->conf, NODEDB_SAFE_LOGOUT) == 0 ||
        control_ctl(b->job.d->control, i->loop) == NULL)
        batch_logout_begin(i);
    else if (!batch_ask_held(i, 0))
        batch_judge_held(i, true);
}

void
batch_logout(struct iscsid *d, struct manage_call *call, const struct filter *f, uint32_t sid,
             const struct batch_options *o)
{
    struct batch *b = batch_new(d, call, o);
    struct control_node *next;
    struct control_info info;

    if (b == NULL) {
        if (o->done != NULL)
            o->done(o->user, NULL);
        else if (call != NULL)
            manage_fail(call, MANAGE_NO_MEMORY, "no memory for the logouts");
        return;
    }
    b->job.lost = batch_lost;
    for (struct control_node *n = control_next(d->control, NULL); n != NULL; n = next) {
        next = control_next(d->control, n);
        control_node_get_info(n, &info);
        /* One that is only wanted is logged out of, too: its login ends. */
        if ((info.sid == 0 && info.wanted != CONTROL_UP) || (sid != 0 && info.sid != sid) ||
            !filter_fits(f, control_node_name(n)) || !batch_startup_fits(b, control_node_name(n)))
            continue;
        batch_logout_node(b, n, &info);
    }
    batch_go_on(b);
}
