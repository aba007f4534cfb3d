/* SPDX-License-Identifier: MIT */
/* Methods that change something about sessions that are there: exports, scans, time limits. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"
#include "wire/lun.h"

/* A request about one session or several, which is answered when all of them are done. */
struct live {
    struct job job;
    enum { LIVE_RESCAN, LIVE_EXPORT, LIVE_UNEXPORT, LIVE_UPDATE } what;
    struct list parts;
    struct control_export wish;
    bool one; /* LUN wish.lun alone */
    unsigned pending;
    struct lunette_error err; /* the first failure */
    uint64_t units;
    json_t *exports;
};

struct live_part {
    struct list node;
    struct live *l;
    struct control_waiter w;
    struct control_name name;
    bool rest;     /* exports of single LUNs have been ended, too */
    unsigned loop; /* LIVE_UPDATE: where values are being set */
};

static void
live_free(struct live *l)
{
    struct list *n;

    while ((n = list_pop_front(&l->parts)) != NULL) {
        struct live_part *p = container_of(n, struct live_part, node);

        control_waiter_cancel(&p->w);
        free(p);
    }
    job_finish(&l->job);
    json_decref(l->exports);
    free(l);
}

static void
live_drop(struct job *j)
{
    live_free(container_of(j, struct live, job));
}

static bool
live_waits_for(struct job *j, unsigned index)
{
    struct live *l = container_of(j, struct live, job);

    LIST_FOREACH (n, &l->parts) {
        const struct live_part *p = container_of(n, struct live_part, node);

        if (l->what == LIVE_UPDATE ? p->loop == index : session_is_at(j->d, &p->name, index))
            return true;
    }
    return false;
}

static struct live *
live_new(struct iscsid *d, struct manage_call *call, int what)
{
    struct live *l = calloc(1, sizeof(*l));

    if (l == NULL) {
        manage_fail(call, MANAGE_NO_MEMORY, "no memory for the request");
        return NULL;
    }
    l->what = what;
    l->exports = json_array();
    list_init(&l->parts);
    job_begin_plane(&l->job, d, call, live_drop);
    l->job.waits_for = live_waits_for;
    return l;
}

/* Answers when nothing is under way any more. */
static void
live_go_on(struct live *l)
{
    json_t *exports = l->exports;

    if (l->pending > 0)
        return;
    l->exports = NULL;
    if (l->err.code != 0)
        say_fail(l->job.call, &l->err);
    else if (l->what == LIVE_RESCAN)
        manage_reply(l->job.call, json_pack("{s:I}", "units", (json_int_t)l->units));
    else if (l->what == LIVE_EXPORT && json_array_size(exports) == 0)
        manage_fail(l->job.call, MANAGE_NOT_FOUND,
                    "no LUN that was asked for can be exported: there is none, or its disk is not "
                    "up, for which session.list has the reason (iscsiadm%s -m session -P 3)",
                    l->job.d->cfg.options);
    else if (l->what == LIVE_EXPORT)
        manage_reply(l->job.call, json_pack("{s:O}", "exports", exports));
    else
        manage_reply(l->job.call, json_object());
    json_decref(exports);
    live_free(l);
}

static void
live_failed(struct live *l, const struct lunette_error *err)
{
    if (l->err.code == 0)
        (void)lunette_fail_as(&l->err, err);
}

/* ---- exports -------------------------------------------------------------------------------- */

static bool
live_is_meant(const struct live *l, const uint8_t *lun)
{
    return !l->one || memcmp(lun, l->wish.lun, sizeof(l->wish.lun)) == 0;
}

static void
live_say_exports(struct live *l, const struct control_node *n)
{
    const uint8_t *lun;
    const char *path;

    for (unsigned i = 0; control_node_lun(n, i, &lun, &path); i++) {
        uint64_t number = lun_to_view(lun_load(lun));
        bool same;

        if (path[0] == '\0' || !live_is_meant(l, lun))
            continue;
        (void)lun_to_number(lun_load(lun), &number);
        (void)json_array_append_new(
            l->exports,
            json_pack("{s:I,s:s,s:o*,s:b}", "lun", (json_int_t)number, "kind", l->wish.kind, "path",
                      say_text(path), "read_only", control_node_lun_read_only(n, i, false, &same)));
    }
}

/* An export that is there is not taken for one that may be written, or the other way round. */
static int
live_refuse_other(const struct live *l, const struct control_node *n, struct lunette_error *err)
{
    const uint8_t *lun;
    const char *path;
    bool same;

    for (unsigned i = 0; l->what == LIVE_EXPORT && control_node_lun(n, i, &lun, &path); i++) {
        if (path[0] == '\0' || !live_is_meant(l, lun))
            continue;
        (void)control_node_lun_read_only(n, i, l->wish.read_only, &same);
        if (!same)
            return lunette_fail(err, -EBUSY, LUNETTE_DOM_USAGE, 0,
                                "the LUN is exported %s already, at %s; end that export first",
                                l->wish.read_only ? "for writing, too," : "read-only", path);
    }
    return 0;
}

/* Exports that were wanted of single LUNs are not ended by a wish for all. */
static bool
live_end_singles(struct live_part *p, struct control_node *n)
{
    struct live *l = p->l;
    bool any = false;
    const uint8_t *lun;
    const char *path;

    if (p->rest || l->what != LIVE_UNEXPORT || l->one)
        return false;
    p->rest = true;
    for (unsigned i = 0; control_node_lun(n, i, &lun, &path); i++) {
        struct control_export none = {.all = false};

        if (path[0] == '\0')
            continue;
        memcpy(none.lun, lun, sizeof(none.lun));
        any |= control_set_export(n, &none, any ? NULL : &p->w, NULL) == 0;
    }
    return any;
}

static void
live_on_done(struct control_waiter *w, const struct lunette_error *err)
{
    struct live_part *p = container_of(w, struct live_part, w);
    struct live *l = p->l;
    struct control_node *n = control_find(l->job.d->control, &p->name);
    struct control_info info;

    if (err != NULL)
        live_failed(l, err);
    if (n != NULL && err == NULL && live_end_singles(p, n))
        return;
    if (n != NULL) {
        control_node_get_info(n, &info);
        l->units += info.luns;
        if (l->what == LIVE_EXPORT)
            live_say_exports(l, n);
    }
    list_del(&p->node);
    free(p);
    l->pending--;
    live_go_on(l);
}

static void
live_begin(struct live *l, struct control_node *n)
{
    struct live_part *p = calloc(1, sizeof(*p));
    struct lunette_error err = {.code = 0};
    int r = p != NULL ? 0 : -ENOMEM;

    if (r < 0) {
        say_no_memory(&err);
        live_failed(l, &err);
        return;
    }
    p->l = l;
    p->name = *control_node_name(n);
    control_waiter_init(&p->w, live_on_done);
    r = live_refuse_other(l, n, &err);
    if (r == 0)
        r = l->what == LIVE_RESCAN ? control_scan(n, &p->w, &err)
                                   : control_set_export(n, &l->wish, &p->w, &err);
    if (r < 0) {
        free(p);
        live_failed(l, &err);
        return;
    }
    list_push_back(&l->parts, &p->node);
    l->pending++;
}

/* Begins with each session that is meant. */
static void
live_all(struct live *l, const struct filter *f, int64_t sid)
{
    struct control_node *next;
    struct control_info info;
    bool any = false;

    for (struct control_node *n = session_next(l->job.d->control, NULL, &info); n != NULL;
         n = next) {
        bool fits = (sid == 0 || info.sid == (uint32_t)sid) && filter_fits(f, control_node_name(n));

        next = session_next(l->job.d->control, n, &info);
        any |= fits;
        if (fits)
            live_begin(l, n);
    }
    if (!any)
        (void)lunette_fail(&l->err, -ENOENT, LUNETTE_DOM_NOTFOUND, 0, "there is no such session");
    live_go_on(l);
}

METHOD(session_rescan_method)
{
    struct live *l = live_new(user, call, LIVE_RESCAN);
    struct filter f;
    int64_t sid = 0;
    int r;

    if (l == NULL)
        return;
    r = filter_get(params, &f, &l->err);
    if (r == 0)
        r = manage_get_int(params, "sid", MANAGE_OPTIONAL, 1, UINT32_MAX, &sid, &l->err);
    if (r < 0)
        live_go_on(l);
    else
        live_all(l, &f, sid);
}

static void
live_exports(struct live *l, const json_t *params)
{
    static const char *const kinds[] = {"nbd", NULL};
    struct filter all = {.db.tpgt = -1};
    int64_t sid = 0, lun = 0;
    unsigned kind = 0;
    int r = manage_get_int(params, "sid", MANAGE_OPTIONAL, 1, UINT32_MAX, &sid, &l->err);

    if (r >= 0 && l->what == LIVE_EXPORT)
        r = manage_get_word(params, "kind", MANAGE_NEEDED, kinds, &kind, &l->err);
    if (r >= 0)
        r = manage_get_bool(params, "read_only", &l->wish.read_only, &l->err);
    if (r >= 0)
        r = manage_get_int(params, "lun", MANAGE_OPTIONAL, 0, LUN_NUMBER_MAX, &lun, &l->err);
    if (r < 0) {
        live_go_on(l);
        return;
    }
    l->one = r > 0;
    l->wish.all = !l->one;
    if (l->one)
        lun_store(l->wish.lun, lun_from_number((uint64_t)lun));
    if (l->what == LIVE_EXPORT)
        (void)snprintf(l->wish.kind, sizeof(l->wish.kind), "%s", kinds[kind]);
    live_all(l, &all, sid);
}

METHOD(session_export_method)
{
    struct live *l = live_new(user, call, LIVE_EXPORT);

    if (l != NULL)
        live_exports(l, params);
}

METHOD(session_unexport_method)
{
    struct live *l = live_new(user, call, LIVE_UNEXPORT);

    if (l != NULL)
        live_exports(l, params);
}

/* ---- time limits ---------------------------------------------------------------------------- */

static const struct live_value {
    const char *name;
    enum iscsi_param param;
    int64_t factor;
    bool conn;
} live_values[] = {
    {"node.session.timeo.replacement_timeout", ISCSI_PARAM_RECOVERY_TMO, 1, false},
    {"node.session.err_timeo.abort_timeout", ISCSI_PARAM_ABORT_TIMEOUT_MS, 1000, false},
    {"node.session.err_timeo.lu_reset_timeout", ISCSI_PARAM_LU_RESET_TIMEOUT_MS, 1000, false},
    {"node.session.err_timeo.tgt_reset_timeout", ISCSI_PARAM_TGT_RESET_TIMEOUT_MS, 1000, false},
    {"node.conn[0].timeo.noop_out_interval", ISCSI_PARAM_PING_INTERVAL_MS, 1000, true},
    {"node.conn[0].timeo.noop_out_timeout", ISCSI_PARAM_PING_TIMEOUT_MS, 1000, true},
};

static void
live_on_set(void *user, const struct iscsi_reply *rep)
{
    struct live_part *p = user;
    struct live *l = p->l;

    if (rep->err < 0)
        live_failed(l, &rep->why);
    list_del(&p->node);
    free(p);
    l->pending--;
    live_go_on(l);
}

/* What was asked for there gets no answer. */
static void
live_lost(struct job *j, unsigned index)
{
    struct live *l = container_of(j, struct live, job);

    LIST_FOREACH_SAFE (n, &l->parts) {
        struct live_part *p = container_of(n, struct live_part, node);

        if (p->loop != index || l->what != LIVE_UPDATE)
            continue;
        (void)lunette_fail(&l->err, -EPIPE, LUNETTE_DOM_OS, EPIPE, "the data plane has gone");
        list_del(&p->node);
        free(p);
        l->pending--;
    }
    live_go_on(l);
}

/* What a value means for a session that is there.  Returns 1; 0, it is for the next login, which
 * takes it from the record; or -EINVAL. */
static int
live_value(const char *name, const char *value, const struct live_value **ret, int64_t *ret_number,
           struct lunette_error *err)
{
    const struct live_value *v = live_values;
    long long number;
    char *end;

    while (v < live_values + sizeof(live_values) / sizeof(live_values[0]) &&
           strcmp(v->name, name) != 0)
        v++;
    if (v == live_values + sizeof(live_values) / sizeof(live_values[0]))
        return nodedb_key_find(NODEDB_NODE, name, strlen(name), NULL) >= 0
                   ? 0
                   : lunette_fail(
                         err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                         "%s is no value of a session; time limits of one that is there are "
                         "called as in its record",
                         name);
    number = strtoll(value, &end, 10);
    if (*value == '\0' || *end != '\0' || number < -1 || number > INT32_MAX / v->factor)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "%s is not a number of seconds",
                            name);
    *ret = v;
    *ret_number = number * v->factor;
    return 1;
}

/* Are all values such as can be set? */
static int
live_check(const json_t *values, struct lunette_error *err)
{
    const struct live_value *v;
    const char *name, *value;
    int64_t number;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < json_array_size(values); i++) {
        manage_pair(values, i, &name, &value);
        r = live_value(name, value, &v, &number, err);
    }
    return r < 0 ? r : 0;
}

static int
live_set(struct live *l, const struct control_info *info, const char *name, const char *value,
         struct lunette_error *err)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SET_PARAM, .sid = info->sid, .cid = info->cid};
    struct ctl *ctl = control_ctl(l->job.d->control, info->loop);
    const struct live_value *v;
    struct live_part *p;
    int64_t number;
    int r = live_value(name, value, &v, &number, err);

    if (r <= 0)
        return r;
    ev.u.set_param.param = v->param;
    (void)snprintf(ev.u.set_param.value, sizeof(ev.u.set_param.value), "%lld", (long long)number);
    p = calloc(1, sizeof(*p));
    if (p == NULL || ctl == NULL || ctl_request(ctl, &ev, NULL, 0, live_on_set, p) < 0) {
        free(p);
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_OS, ENOTCONN,
                            "the data plane cannot be asked");
    }
    p->l = l;
    p->loop = info->loop;
    control_waiter_init(&p->w, NULL);
    list_push_back(&l->parts, &p->node);
    l->pending++;
    return 0;
}

METHOD(session_update_method)
{
    struct iscsid *d = user;
    struct live *l = live_new(d, call, LIVE_UPDATE);
    const json_t *values = NULL;
    const char *name, *value;
    struct control_info info;
    struct control_node *n;
    int64_t sid = 0;
    int r;

    if (l == NULL)
        return;
    l->job.lost = live_lost;
    r = manage_get_int(params, "sid", MANAGE_NEEDED, 1, UINT32_MAX, &sid, &l->err);
    if (r >= 0)
        r = manage_get_pairs(params, "values", VALUES_MAX, NODEDB_VALUE_MAX, &values, &l->err);
    if (r >= 0)
        r = live_check(values, &l->err);
    n = r >= 0 ? control_find_sid(d->control, (uint32_t)sid) : NULL;
    if (r >= 0 && n == NULL)
        r = lunette_fail(&l->err, -ENOENT, LUNETTE_DOM_NOTFOUND, 0, "there is no such session");
    if (r >= 0)
        control_node_get_info(n, &info);
    for (size_t i = 0; r >= 0 && i < json_array_size(values); i++) {
        manage_pair(values, i, &name, &value);
        r = live_set(l, &info, name, value, &l->err);
    }
    live_go_on(l);
}
