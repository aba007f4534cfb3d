/* SPDX-License-Identifier: MIT */
/* Discoveries that are repeated (use_discoveryd), and registrations with iSNS servers, which tell
 * of changes.
 *
 * What is found becomes records, and what is found for the first time is logged in to.  Nothing
 * that an operator has set is undone by it: records that are there stay as they are; who has logged
 * out of a target is not logged in again as long as the target goes on to be told of; and what is
 * no longer told of is logged, while its record and its session stay.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"

#define PERIODIC_AT_ONCE_MS 10

struct periodic {
    struct list node; /* of iscsid.periodics */
    struct iscsid *d;
    enum nodedb_kind kind;
    struct portal via;
    uint32_t poll_s;         /* 0: only at the beginning, and when a server tells of changes */
    struct isns_config isns; /* what the registration was made with */
    struct isns_registration *registration; /* iSNS only; NULL: not yet */
    struct loop_timer go;
    bool running, again; /* a discovery is under way; another one follows it */
    bool failing;        /* which was logged */
    bool leaving;        /* the server is told that the registration ends */
    bool kept, ended; /* its record still says so; it is freed when what is under way has ended */
    bool has_seen;
    struct ids seen; /* what the last discovery found, in order */
};

static int
periodic_order(const void *a, const void *b)
{
    return nodedb_id_order(a, b);
}

static void
periodic_sort(struct ids *ids)
{
    if (ids->n > 0)
        qsort(ids->id, ids->n, sizeof(ids->id[0]), periodic_order);
}

static bool
periodic_has(const struct ids *ids, const struct nodedb_id *id)
{
    return ids->n > 0 && bsearch(id, ids->id, ids->n, sizeof(*id), periodic_order) != NULL;
}

static void
periodic_drop(struct periodic *p)
{
    list_del(&p->node);
    loop_timer_stop(p->d->loop, &p->go);
    isns_registration_free(&p->registration);
    ids_fini(&p->seen);
    free(p);
}

/* ---- what was found ------------------------------------------------------------------------- */

static int
periodic_known(void *user, const struct nodedb_id *id)
{
    return ids_add(user, id, NULL);
}

/* What was found before this process began.  Where it began with the data plane, all is logged in
 * to; where it took over, somebody may have logged out of some since. */
static void
periodic_recall(struct periodic *p)
{
    if (p->has_seen || !p->d->took_over)
        return;
    (void)nodedb_found(p->d->db, p->kind == NODEDB_ISNS ? NODEDB_BY_ISNS : NODEDB_BY_SENDTARGETS,
                       &p->via, periodic_known, &p->seen, NULL);
    periodic_sort(&p->seen);
    p->has_seen = true;
}

/* Has its login failed for good?  Then it is tried again. */
static bool
periodic_failed_before(struct iscsid *d, const struct nodedb_id *id)
{
    const struct control_node *n;
    struct control_info info;
    struct control_name name;

    name_of_id(id, 0, &name);
    for (; (n = control_find(d->control, &name)) != NULL; name.instance++) {
        control_node_get_info(n, &info);
        if (info.state == CONTROL_IS_FAILED)
            return true;
    }
    return false;
}

static void
periodic_log_gone(const struct periodic *p, const struct ids *now)
{
    char portal[PORTAL_TEXT_MAX];

    for (size_t i = 0; i < p->seen.n; i++) {
        const struct nodedb_id *id = &p->seen.id[i];

        if (!periodic_has(now, id))
            log_line(p->d->loop->log, LOG_LEVEL_WARN,
                     "%s does not tell of %s at %s any more; its record and its session stay until "
                     "somebody removes them",
                     p->via.host, id->target, portal_format(&id->portal, portal, sizeof(portal)));
    }
}

static void
periodic_take(struct periodic *p, const struct ids *found)
{
    struct batch_options o = {.leading = true};
    struct ids now = {.n = 0}, login = {.n = 0};
    int r = 0;

    for (size_t i = 0; r == 0 && i < found->n; i++) {
        r = ids_add(&now, &found->id[i], NULL);
        if (r == 0 &&
            (!periodic_has(&p->seen, &found->id[i]) || periodic_failed_before(p->d, &found->id[i])))
            r = ids_add(&login, &found->id[i], NULL);
    }
    if (r < 0) { /* memory is short: the next one compares with what this one has compared with */
        ids_fini(&now);
        ids_fini(&login);
        return;
    }
    periodic_sort(&now);
    periodic_log_gone(p, &now);
    ids_fini(&p->seen);
    p->seen = now;
    p->has_seen = true;
    if (login.n > 0)
        batch_login(p->d, NULL, &login, &o);
    ids_fini(&login);
}

static void
periodic_schedule(struct periodic *p)
{
    uint64_t ns = p->poll_s * LOOP_NS_PER_S;

    if (p->again)
        loop_timer_start(p->d->loop, &p->go, PERIODIC_AT_ONCE_MS * LOOP_NS_PER_MS);
    else if (ns > 0)
        loop_timer_start(p->d->loop, &p->go, ns);
    p->again = false;
}

static void
periodic_done(void *user, const struct ids *found, const struct lunette_error *err)
{
    struct periodic *p = user;

    p->running = false;
    if (p->ended) {
        if (!p->leaving)
            periodic_drop(p);
        return;
    }
    if (err != NULL && !p->failing)
        log_line(p->d->loop->log, LOG_LEVEL_WARN, "the repeated discovery at %s has failed: %s",
                 p->via.host, err->msg);
    p->failing = err != NULL;
    if (err == NULL)
        periodic_take(p, found);
    periodic_schedule(p);
}

static void
periodic_on_go(struct loop_timer *t)
{
    struct periodic *p = container_of(t, struct periodic, go);
    struct seek_options o = {
        .kind = p->kind,
        .via = p->via,
        .ops = NODEDB_OP_NEW | NODEDB_OP_UPDATE,
        .done = periodic_done,
        .user = p,
    };

    if (p->running) {
        p->again = true;
        return;
    }
    periodic_recall(p);
    p->running = true;
    seek_start(p->d, NULL, &o);
}

/* ---- iSNS ----------------------------------------------------------------------------------- */

static void
periodic_on_changed(void *user)
{
    struct periodic *p = user;

    loop_timer_start(p->d->loop, &p->go, 0);
}

static void
periodic_on_failed(void *user, const struct lunette_error *err)
{
    struct periodic *p = user;

    log_line(p->d->loop->log, LOG_LEVEL_WARN, "registration, which is tried again later: %s",
             err->msg);
    loop_timer_start(p->d->loop, &p->go, 0); /* a server may answer whom it does not register */
}

static const struct isns_registration_events periodic_events = {.changed = periodic_on_changed,
                                                                .failed = periodic_on_failed};

static void
periodic_on_left(void *user)
{
    struct periodic *p = user;

    p->registration = NULL; /* it has freed itself */
    p->leaving = false;
    p->d->leaving--;
    if (p->ended && !p->running)
        periodic_drop(p);
}

static void
periodic_leave(struct periodic *p)
{
    if (p->registration == NULL || p->leaving)
        return;
    p->leaving = true;
    p->d->leaving++;
    isns_deregister(p->registration, periodic_on_left, p);
}

/* Registers with what the record says now.  Where it says what it said, the registration stays. */
static void
periodic_register(struct periodic *p, const struct login_config *cfg)
{
    struct lunette_error err = {.code = 0};
    struct isns_config isns;

    seek_isns_config(cfg, &isns);
    if (p->registration != NULL && memcmp(&isns, &p->isns, sizeof(isns)) == 0)
        return;
    isns_registration_free(&p->registration); /* the next one replaces it */
    p->isns = isns;
    if (isns_register(p->d->loop, &isns, &periodic_events, p, &p->registration, &err) < 0)
        periodic_on_failed(p, &err);
}

/* ---- which ones ----------------------------------------------------------------------------- */

static struct periodic *
periodic_find(struct iscsid *d, enum nodedb_kind kind, const struct portal *at)
{
    LIST_FOREACH (n, &d->periodics) {
        struct periodic *p = container_of(n, struct periodic, node);

        if (!p->ended && p->kind == kind && p->via.port == at->port &&
            strcmp(p->via.host, at->host) == 0)
            return p;
    }
    return NULL;
}

static struct periodic *
periodic_new(struct iscsid *d, enum nodedb_kind kind, const struct portal *at)
{
    struct periodic *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    p->d = d;
    p->kind = kind;
    p->via = *at;
    loop_timer_init(&p->go, periodic_on_go);
    list_push_back(&d->periodics, &p->node);
    return p;
}

/* One record says that its discovery is repeated. */
static void
periodic_keep(struct iscsid *d, enum nodedb_kind kind, const struct portal *at,
              const struct login_config *cfg, const struct nodedb_disc_opts *opts)
{
    struct periodic *p = periodic_find(d, kind, at);
    bool is_new = p == NULL;

    if (is_new)
        p = periodic_new(d, kind, at);
    if (p == NULL) {
        log_line(d->loop->log, LOG_LEVEL_WARN, "no memory to repeat the discovery at %s", at->host);
        return;
    }
    p->kept = true;
    if (is_new || p->poll_s != opts->poll_s) {
        p->poll_s = opts->poll_s;
        p->again = is_new || opts->poll_s > 0;
        if (kind == NODEDB_ISNS && is_new)
            p->again = false; /* the registration's success begins it */
        if (!p->running)
            periodic_schedule(p);
    }
    if (kind == NODEDB_ISNS)
        periodic_register(p, cfg);
}

struct periodic_walk {
    struct iscsid *d;
    enum nodedb_kind kind;
};

static int
periodic_on_record(void *user, const struct portal *at, struct nodedb_record *r)
{
    const struct periodic_walk *w = user;
    struct lunette_error err = {.code = 0};
    struct nodedb_disc_opts opts;
    struct login_config cfg;

    if (r == NULL) { /* what is repeated goes on, until somebody has looked after its record */
        struct periodic *p = periodic_find(w->d, w->kind, at);

        if (p != NULL)
            p->kept = true;
        log_line(w->d->loop->log, LOG_LEVEL_WARN,
                 "the record of the discovery at %s cannot be read: put it right or remove it",
                 at->host);
        return 0;
    }
    if (seek_config(w->d, r, "default", &cfg, &opts, &err) < 0) {
        log_line(w->d->loop->log, LOG_LEVEL_WARN, "the discovery at %s is not repeated: %s",
                 at->host, err.msg);
        return 0;
    }
    if (opts.periodic)
        periodic_keep(w->d, w->kind, at, &cfg, &opts);
    login_config_wipe(&cfg);
    return 0;
}

void
periodic_follow(struct iscsid *d)
{
    static const enum nodedb_kind kinds[] = {NODEDB_SENDTARGETS, NODEDB_ISNS};
    struct lunette_error err = {.code = 0};
    int r = 0;

    if (!d->periodic_on)
        return;
    LIST_FOREACH (n, &d->periodics)
        container_of(n, struct periodic, node)->kept = false;
    for (size_t i = 0; r == 0 && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct periodic_walk w = {.d = d, .kind = kinds[i]};

        r = nodedb_discs(d->db, kinds[i], periodic_on_record, &w, &err);
    }
    if (r < 0) {
        log_line(d->loop->log, LOG_LEVEL_WARN, "repeated discoveries stay as they were: %s",
                 err.msg);
        return;
    }
    LIST_FOREACH_SAFE (n, &d->periodics) {
        struct periodic *p = container_of(n, struct periodic, node);

        if (p->kept || p->ended)
            continue;
        periodic_leave(p);
        loop_timer_stop(d->loop, &p->go);
        p->ended = true;
        if (!p->running && !p->leaving)
            periodic_drop(p);
    }
}

void
periodic_start(struct iscsid *d)
{
    if (d->periodic_on)
        return;
    d->periodic_on = true;
    periodic_follow(d);
}

bool
iscsid_leave(struct iscsid *d)
{
    d->periodic_on = false;
    LIST_FOREACH (n, &d->periodics)
        periodic_leave(container_of(n, struct periodic, node));
    return d->leaving > 0;
}

void
periodic_free(struct iscsid *d)
{
    LIST_FOREACH_SAFE (n, &d->periodics)
        periodic_drop(container_of(n, struct periodic, node));
}
