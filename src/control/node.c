/* SPDX-License-Identifier: MIT */
/* control/node.c - the life of a node, and what it is configured to be. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "control/internal.h"

/* ---- by name -------------------------------------------------------------------------------- */

static uint64_t
node_hash(const struct control_name *name)
{
    uint64_t h = hash_bytes(0, name->target, strlen(name->target));

    for (const char *s = name->portal.host; *s != '\0'; s++)
        h = hash_u64(h, (uint64_t)tolower((unsigned char)*s));
    h = hash_u64(h, (uint64_t)name->portal.port << 32 | (uint32_t)name->portal.tpgt);
    h = hash_u64(h, name->instance);
    return hash_bytes(h, name->iface, strlen(name->iface));
}

static bool
node_is_named(const struct control_node *n, const struct control_name *name)
{
    return n->name.instance == name->instance && n->name.portal.port == name->portal.port &&
           n->name.portal.tpgt == name->portal.tpgt && strcmp(n->name.target, name->target) == 0 &&
           strcmp(n->name.iface, name->iface) == 0 &&
           strcasecmp(n->name.portal.host, name->portal.host) == 0;
}

struct control_node *
control_find(struct control *c, const struct control_name *name)
{
    struct hnode *h = htab_find(&c->by_name, node_hash(name));

    for (; h != NULL; h = htab_next(h)) {
        struct control_node *n = container_of(h, struct control_node, hnode);

        if (node_is_named(n, name))
            return n;
    }
    return NULL;
}

/* ---- life ----------------------------------------------------------------------------------- */

static bool
node_is_to_go(const struct control_node *n)
{
    return node_is(n, NODE_IS_IDLE) && (n->removed || n->packed == NULL);
}

/* Somebody wants the session up, after others have wanted it down, or while it is up. */
static void
node_tell_settled(struct control_node *n)
{
    struct lunette_error why = {.code = 0};

    (void)lunette_fail(&why, -ECANCELED, LUNETTE_DOM_USAGE, 0,
                       "the logout was overtaken by a login");
    if (n->state != CONTROL_IS_LOGOUT && n->state != CONTROL_IS_CANCELING)
        node_tell_waiters(n, WAITER_LOGOUT, &why);
    if (n->state == CONTROL_IS_UP)
        node_tell_waiters(n, WAITER_LOGIN, NULL);
}

/* The node goes, and nobody shall wait for it any more. */
static void
node_tell_going(struct control_node *n)
{
    struct lunette_error why = {.code = 0};

    (void)lunette_fail(&why, -ECANCELED, LUNETTE_DOM_USAGE, 0, "the record was removed");
    node_tell_waiters(n, WAITER_LOGIN, &why);
    node_tell_waiters(n, WAITER_UNITS, &why);
    node_tell_waiters(n, WAITER_NOTE, &why);
    node_tell_waiters(n, WAITER_LOGOUT, NULL);
}

/* Does what has become due: nodes go, and wishes reach the machine, in the loop's time and not in
 * that of whoever has asked. */
static void
node_on_kick(struct loop_work *w)
{
    struct control_node *n = container_of(w, struct control_node, kick);
    bool said = n->wish_new;

    n->wish_new = false;
    if (node_is_to_go(n)) {
        node_tell_going(n);
        node_tell(n, CONTROL_GONE, 0, NULL);
        if (node_is_to_go(n)) { /* else it has just been configured anew */
            node_free(n);
            return;
        }
    }
    if (n->wanted == CONTROL_UP && said)
        node_tell_settled(n);
    if (n->wanted == CONTROL_UP && (said || n->state == CONTROL_IS_DOWN))
        node_post(n, NODE_EV_WANT_UP);
    else if (n->wanted == CONTROL_DOWN && (said || n->state != CONTROL_IS_DOWN))
        node_post(n, NODE_EV_WANT_DOWN);
    units_go_on(n);
    unused_go_on(n);
    node_tell_noted(n);
}

struct control_node *
node_new(struct control *c, const struct control_name *name)
{
    struct control_node *n = calloc(1, sizeof(*n));

    if (n == NULL)
        return NULL;
    n->c = c;
    n->name = *name;
    n->state = c->ready ? CONTROL_IS_DOWN : CONTROL_IS_AWAY;
    list_init(&n->waiters);
    list_init(&n->asks);
    loop_work_init(&n->kick, node_on_kick);
    attempt_init(n);
    units_init(n);
    leases_init(n);
    unused_init(n);
    n->state_ns = c->loop->now_ns;
    htab_add(&c->by_name, &n->hnode, node_hash(name));
    list_push_back(&c->nodes, &n->node);
    return n;
}

void
node_free(struct control_node *n)
{
    struct control *c = n->c;
    struct list *at;

    assert(!n->running);
    while ((at = list_pop_front(&n->waiters)) != NULL)
        container_of(at, struct control_waiter, node)->kind = WAITER_NONE;
    node_leave_row(n);
    login_free(&n->login);
    logout_free(&n->logout);
    keep_stop(n);
    units_stop(n);
    node_drop_session(n);
    loop_timer_stop(c->loop, &n->leases.timer);
    loop_defer_cancel(&n->kick);
    htab_del(&c->by_name, &n->hnode);
    list_del(&n->node);
    portals_put(&c->portals, n->portal);
    login_packed_free(&n->packed);
    free(n->initiator_name);
    free(n);
}

/* ---- configuration -------------------------------------------------------------------------- */

static int
node_check(const struct control_node_config *cfg, struct lunette_error *err)
{
    struct login_config login = *cfg->login;
    static const uint8_t none[LOGIN_ISID_LEN];
    int r;

    if (cfg->name.target[0] == '\0' || cfg->nexports > CONTROL_EXPORTS_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "a node has a target's name, and at most %d exports of single LUNs",
                            CONTROL_EXPORTS_MAX);
    if (memcmp(login.isid, none, sizeof(none)) == 0)
        login.isid[0] = 0x80; /* one of the random type is drawn later */
    login.kind = LOGIN_NEW;
    r = login_config_check(&login, err);
    login_config_wipe(&login);
    return r;
}

static void
node_take_options(struct control_node *n, const struct control_node_config *cfg)
{
    static const uint8_t none[LOGIN_ISID_LEN];

    if (n->session.sid == 0 && n->loop == NULL && memcmp(cfg->login->isid, none, sizeof(none)) != 0)
        memcpy(n->isid, cfg->login->isid, sizeof(n->isid));
    n->login_retries = cfg->login_retries;
    n->reopen_max = cfg->reopen_max;
    n->logout_timeout_ms = cfg->logout_timeout_ms;
    n->login_timeout_ms = cfg->login->login_timeout_ms;
    n->scan_manual = cfg->scan_manual;
    n->leases.kept_by_record = cfg->kept;
    memcpy(n->owner, cfg->owner, sizeof(n->owner));
    memcpy(n->transport, cfg->login->transport, sizeof(n->transport));
    if (cfg->exports == NULL)
        return;
    memcpy(n->exports, cfg->exports, cfg->nexports * sizeof(n->exports[0]));
    n->nexports = cfg->nexports;
    n->units.recheck = true;
}

int
node_configure(struct control_node *n, const struct control_node_config *cfg,
               struct lunette_error *err)
{
    struct login_packed *packed = NULL;
    struct portal_entry *portal;
    int r = node_check(cfg, err);

    if (r < 0)
        return r;
    portal = portals_get(&n->c->portals, &cfg->login->portal);
    if (portal == NULL || login_pack(cfg->login, &packed) < 0) {
        portals_put(&n->c->portals, portal);
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for a node");
    }
    portals_put(&n->c->portals, n->portal);
    login_packed_free(&n->packed);
    n->portal = portal;
    n->packed = packed;
    n->removed = false;
    node_take_options(n, cfg);
    return 0;
}
