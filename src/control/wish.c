/* SPDX-License-Identifier: MIT */
/* control/wish.c - what the owner asks for, and asks. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/internal.h"

/* ---- nodes ---------------------------------------------------------------------------------- */

/* What is configured now is in force from the next login on, also of a session that is lost. */
static void
wish_renew(struct control_node *n)
{
    if (n->reopen != NULL || n->state == CONTROL_IS_UP || n->state == CONTROL_IS_LOST)
        keep_renew(n);
    if (node_is(n, NODE_IS_SESSION))
        node_send_note(n, false);
    node_kick(n);
}

int
control_node_add(struct control *c, const struct control_node_config *cfg,
                 struct control_node **ret, struct lunette_error *err)
{
    struct control_node *n = control_find(c, &cfg->name);
    bool is_new = n == NULL;
    int r;

    if (n != NULL && n->packed != NULL && !n->removed)
        return lunette_fail(err, -EEXIST, LUNETTE_DOM_USAGE, 0, "there is such a node already");
    if (n == NULL)
        n = node_new(c, &cfg->name);
    if (n == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for a node");
    r = node_configure(n, cfg, err);
    if (r < 0) {
        if (is_new)
            node_free(n);
        return r;
    }
    if (!is_new)
        wish_renew(n);
    if (ret != NULL)
        *ret = n;
    return 0;
}

int
control_node_change(struct control_node *n, const struct control_node_config *cfg,
                    struct lunette_error *err)
{
    int r = node_configure(n, cfg, err);

    if (r == 0)
        wish_renew(n);
    return r;
}

void
control_node_remove(struct control_node *n)
{
    n->removed = true;
    n->leases.kept_by_record = false;
    if (node_is(n, NODE_IS_SESSION))
        login_packed_free(&n->packed); /* whoever keeps the session has a copy */
    else
        n->wanted = CONTROL_DOWN;
    node_kick(n);
}

struct control_node *
control_find_sid(struct control *c, uint32_t sid)
{
    struct hnode *h = sid != 0 ? htab_find(&c->by_sid, hash_u64(0, sid)) : NULL;

    for (; h != NULL; h = htab_next(h)) {
        struct control_node *n = container_of(h, struct control_node, sid_node);

        if (n->session.sid == sid && n->state != CONTROL_IS_LOGIN)
            return n;
    }
    return NULL;
}

struct control_node *
control_next(struct control *c, const struct control_node *n)
{
    struct list *at = n != NULL ? n->node.next : c->nodes.next;

    return at != &c->nodes ? container_of(at, struct control_node, node) : NULL;
}

const struct control_name *
control_node_name(const struct control_node *n)
{
    return &n->name;
}

static void
wish_try_info(const struct control_node *n, struct control_info *ret)
{
    uint64_t now = n->c->loop->now_ns;
    struct reopen_info info;

    if (n->reopen != NULL) {
        reopen_get_info(n->reopen, &info);
        ret->conns = info.conns;
        ret->conns_wanted = info.conns_wanted;
    }
    if (n->state == CONTROL_IS_WAITING || n->state == CONTROL_IS_QUEUED ||
        n->state == CONTROL_IS_LOGIN) {
        ret->attempt = n->tries + 1;
        if (n->state == CONTROL_IS_WAITING && n->due_ns > now)
            ret->next_try_ns = n->due_ns - now;
    } else if (n->reopen != NULL && n->state == CONTROL_IS_LOST) {
        ret->attempt = info.attempt;
        ret->next_try_ns = info.next_try_ns;
        ret->down_ns = info.down_ns;
    }
}

static void
wish_lease_info(const struct control_node *n, struct control_info *ret)
{
    const struct node_leases *l = &n->leases;
    uint64_t now = n->c->loop->now_ns;
    struct control_lease lease;

    ret->kept = l->kept;
    ret->kept_by_record = l->kept_by_record;
    while (control_node_lease(n, ret->leases, &lease))
        ret->leases++;
    ret->over = l->over;
    if (l->over && l->look_ns > now)
        ret->idle_ns = l->look_ns - now;
    ret->clients = l->over ? l->clients : 0;
}

void
control_node_get_info(const struct control_node *n, struct control_info *ret)
{
    *ret = (struct control_info){.wanted = n->wanted,
                                 .state = n->state,
                                 .has_config = n->packed != NULL,
                                 .sid = n->session.sid,
                                 .cid = n->session.cid,
                                 .loop = n->loop != NULL ? n->loop->index : 0,
                                 .reopens = n->reopens,
                                 .failing = n->session.failing,
                                 .why = n->why,
                                 .luns = n->units.nluns,
                                 .settled = units_settled(n)};
    memcpy(ret->isid, n->isid, sizeof(ret->isid));
    memcpy(ret->owner, n->owner, sizeof(ret->owner));
    memcpy(ret->transport, n->transport, sizeof(ret->transport));
    ret->asker = n->asker;
    ret->state_ns = n->state_ns;
    ret->up_ns = n->up_ns;
    wish_lease_info(n, ret);
    for (unsigned i = 0; i < n->units.nluns; i++)
        ret->exports += n->units.luns[i].exported;
    wish_try_info(n, ret);
}

bool
control_node_lun(const struct control_node *n, unsigned i, const uint8_t **lun, const char **path)
{
    const struct node_lun *l;

    if (i >= n->units.nluns)
        return false;
    l = &n->units.luns[i];
    *lun = l->lun;
    *path = l->exported && l->path != NULL ? l->path : "";
    return true;
}

bool
control_node_lun_read_only(const struct control_node *n, unsigned i, bool wanted, bool *same)
{
    const struct node_lun *l = &n->units.luns[i];

    *same = l->read_only == wanted || l->disk_read_only;
    return l->read_only;
}

/* ---- what is wanted ------------------------------------------------------------------------- */

void
control_waiter_init(struct control_waiter *w,
                    void (*done)(struct control_waiter *w, const struct lunette_error *err))
{
    *w = (struct control_waiter){.kind = WAITER_NONE, .done = done};
    list_init(&w->node);
}

void
control_waiter_cancel(struct control_waiter *w)
{
    list_del(&w->node);
    w->kind = WAITER_NONE;
}

static void
wish_wait(struct control_node *n, struct control_waiter *w, enum waiter_kind kind)
{
    if (w == NULL)
        return;
    assert(w->kind == WAITER_NONE && w->done != NULL);
    w->kind = kind;
    list_push_back(&n->waiters, &w->node);
}

static void
wish_say(struct control_node *n, enum control_wanted wanted)
{
    n->wanted = wanted;
    n->wish_new = true;
    node_kick(n);
}

/* What the note says has changed. */
static void
wish_change_note(struct control_node *n)
{
    if (node_has_note(n))
        node_send_note(n, false);
    if (n->note_due)
        node_note_later(n);
    node_kick(n);
}

static int
wish_login(struct control_node *n, struct control_waiter *w, struct lunette_error *err)
{
    if ((n->state == CONTROL_IS_UP || n->state == CONTROL_IS_LOST) && n->wanted != CONTROL_DOWN)
        return lunette_fail(err, -EEXIST, LUNETTE_DOM_USAGE, 0, "the session is present already");
    wish_wait(n, w, WAITER_LOGIN);
    wish_say(n, CONTROL_UP);
    return 0;
}

static int
wish_needs_record(const struct control_node *n, struct lunette_error *err)
{
    if (n->packed != NULL && !n->removed)
        return 0;
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                        "the session has no record, from which it could be logged in");
}

int
control_login(struct control_node *n, struct control_waiter *w, struct lunette_error *err)
{
    int r = wish_needs_record(n, err);

    if (r < 0)
        return r;
    if (!n->leases.kept) {
        n->leases.kept = true; /* also where it is there: who is told so relies on it */
        wish_change_note(n);
    }
    return wish_login(n, w, err);
}

/* Does nobody want the session yet who has no lease?  A login that has failed for good is over; and
 * what a session says that is only found later counts then. */
static bool
wish_is_first(const struct control_node *n)
{
    return n->wanted == CONTROL_DOWN ||
           (n->wanted == CONTROL_AS_FOUND && !node_is(n, NODE_IS_SESSION)) ||
           (node_is(n, NODE_IS_IDLE) && !(n->wanted == CONTROL_UP && n->wish_new));
}

int
control_login_leased(struct control_node *n, const struct control_lease *lease,
                     struct control_waiter *w, struct lunette_error *err)
{
    int r = wish_needs_record(n, err);

    if (r == 0)
        r = lease_put(n, lease, err);
    if (r < 0)
        return r;
    if (wish_is_first(n))
        n->leases.kept = false;
    wish_change_note(n);
    return wish_login(n, w, err);
}

int
control_logout(struct control_node *n, struct control_waiter *w, struct lunette_error *err)
{
    if (node_is(n, NODE_IS_IDLE) && n->wanted != CONTROL_UP)
        return lunette_fail(err, -ENOENT, LUNETTE_DOM_USAGE, 0, "there is no such session");
    leases_clear(n);
    wish_wait(n, w, WAITER_LOGOUT);
    wish_say(n, CONTROL_DOWN);
    return 0;
}

void
control_try_now(struct control_node *n)
{
    struct loop *loop = n->c->loop;

    if (n->reopen != NULL) {
        reopen_now(n->reopen);
    } else if (n->state == CONTROL_IS_WAITING) {
        backoff_reset(&n->backoff, loop->now_ns);
        n->due_ns = loop->now_ns;
        loop_timer_start(loop, &n->timer, 0);
    }
}

static int
wish_needs_up(const struct control_node *n, struct lunette_error *err)
{
    if (n->state == CONTROL_IS_UP)
        return 0;
    return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_USAGE, 0, "the session is not up: it %s",
                        control_state_text(n->state));
}

int
control_scan(struct control_node *n, struct control_waiter *w, struct lunette_error *err)
{
    int r = wish_needs_up(n, err);

    if (r < 0)
        return r;
    wish_wait(n, w, WAITER_UNITS);
    units_scan(n);
    units_hurry(n);
    node_kick(n);
    return 0;
}

int
control_settle(struct control_node *n, struct control_waiter *w, struct lunette_error *err)
{
    /* Whoever is told of a login is told on the way to that state. */
    int r = n->running ? 0 : wish_needs_up(n, err);

    if (r < 0)
        return r;
    wish_wait(n, w, WAITER_UNITS);
    node_kick(n);
    return 0;
}

static bool
wish_is_exported(const struct control_node *n, const uint8_t lun[8])
{
    for (unsigned i = 0; i < n->units.nluns; i++) {
        const struct node_lun *l = &n->units.luns[i];

        if (memcmp(l->lun, lun, sizeof(l->lun)) == 0)
            return l->exported || l->changing;
    }
    return false;
}

/* Finds a wish that a LUN has no export, which is fulfilled, and which would be so without it. */
static unsigned
wish_fulfilled(const struct control_node *n)
{
    unsigned found = n->nexports;

    for (unsigned i = 0; i < n->nexports; i++) {
        const struct control_export *e = &n->exports[i];

        if (e->all && e->kind[0] != '\0')
            return n->nexports;
        if (!e->all && e->kind[0] == '\0' && !wish_is_exported(n, e->lun))
            found = i;
    }
    return found;
}

/* Whoever exports all does not want the LUNs left out whose exports somebody had ended. */
static void
wish_forget_ended(struct control_node *n)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < n->nexports; i++) {
        const struct control_export *e = &n->exports[i];

        if (e->all || e->kind[0] != '\0')
            n->exports[kept++] = *e;
    }
    n->nexports = kept;
}

static int
wish_put_export(struct control_node *n, const struct control_export *e, struct lunette_error *err)
{
    unsigned i = 0;

    if (e->all && e->kind[0] != '\0')
        wish_forget_ended(n);
    while (i < n->nexports && (n->exports[i].all != e->all ||
                               (!e->all && memcmp(n->exports[i].lun, e->lun, sizeof(e->lun)) != 0)))
        i++;
    if (i == CONTROL_EXPORTS_MAX)
        i = wish_fulfilled(n);
    if (i == CONTROL_EXPORTS_MAX)
        return lunette_fail(err, -E2BIG, LUNETTE_DOM_USAGE, 0,
                            "a session has %d exports of single LUNs at most; export all instead",
                            CONTROL_EXPORTS_MAX);
    n->exports[i] = *e;
    if (i == n->nexports)
        n->nexports++;
    return 0;
}

int
control_set_export(struct control_node *n, const struct control_export *e, struct control_waiter *w,
                   struct lunette_error *err)
{
    int r = w != NULL ? wish_needs_up(n, err) : 0;

    if (r == 0)
        r = wish_put_export(n, e, err);
    if (r < 0)
        return r;
    wish_wait(n, w, WAITER_UNITS);
    if (node_is(n, NODE_IS_SESSION))
        node_send_note(n, false);
    units_list(n);
    units_hurry(n);
    node_kick(n);
    return 0;
}

/* ---- leases --------------------------------------------------------------------------------- */

int
control_lease(struct control_node *n, const struct control_lease *lease, bool only,
              struct control_waiter *w, struct lunette_error *err)
{
    int r;

    if (n->wanted == CONTROL_DOWN || (node_is(n, NODE_IS_IDLE) && n->wanted != CONTROL_UP))
        return lunette_fail(err, -ENOENT, LUNETTE_DOM_NOTFOUND, 0,
                            "there is no such session, or it is being logged out: log in with a "
                            "lease");
    r = lease_put(n, lease, err);
    if (r < 0)
        return r;
    if (only)
        n->leases.kept = false;
    wish_change_note(n);
    wish_wait(n, w, WAITER_NOTE);
    return 0;
}

int
control_release(struct control_node *n, const char *owner, struct lunette_error *err)
{
    uint64_t now = n->c->loop->now_ns;

    for (unsigned i = 0; i < n->leases.n; i++) {
        struct node_lease *l = &n->leases.lease[i];

        if (strcmp(l->owner, owner) != 0 || l->ends_ns <= now)
            continue;
        l->ends_ns = now;
        l->released = true;
        wish_change_note(n);
        return 0;
    }
    return lunette_fail(err, -ENOENT, LUNETTE_DOM_NOTFOUND, 0, "the owner has no lease");
}

bool
control_node_lease(const struct control_node *n, unsigned i, struct control_lease *ret)
{
    uint64_t now = n->c->loop->now_ns;

    for (unsigned k = 0; k < n->leases.n; k++) {
        const struct node_lease *l = &n->leases.lease[k];

        if (l->ends_ns <= now || i-- > 0)
            continue;
        *ret =
            (struct control_lease){.uid = l->uid, .ttl_ns = l->ttl_ns, .left_ns = l->ends_ns - now};
        memcpy(ret->owner, l->owner, sizeof(ret->owner));
        return true;
    }
    return false;
}

/* ---- what the owner keeps ------------------------------------------------------------------- */

void
control_node_set_user(struct control_node *n, void *user)
{
    n->user = user;
}

void *
control_node_user(const struct control_node *n)
{
    return n->user;
}

void
control_node_set_asker(struct control_node *n, const struct control_asker *a)
{
    n->asker = *a;
}
