/* SPDX-License-Identifier: MIT */
#include "login/members.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "login/group.h"

/* A login of a member has so long at least, where login_timeout_ms allows it.  Others serve
 * meanwhile, so that there is no hurry.  And a target that is slow with many logins at once is not
 * through with one that was given up: the next one of that CID ends what it has made after all (RFC
 * 7143 6.3.4), which LIO takes for a failure that ends the session.  LIO gives a login as long. */
#define MEMBER_LOGIN_MS 15000

/* ---- waiting, and what is left of a connection ---------------------------------------------- */

struct member_undo {
    struct undo undo;
    struct login_member *m;
};

static void
member_wait(struct login_member *m, uint64_t due_ns)
{
    struct loop *loop = m->reopen->loop;

    m->state = MEMBER_WAITING;
    m->due_ns = due_ns;
    loop_timer_start(loop, &m->timer, due_ns > loop->now_ns ? due_ns - loop->now_ns : 0);
}

static void
member_stopped(struct undo *u)
{
    struct login_member *m = container_of(u, struct member_undo, undo)->m;

    free(container_of(u, struct member_undo, undo));
    m->undo = NULL;
    ctl_unreserve(m->reopen->ctl);
    if (m->state == MEMBER_STOPPING)
        member_wait(m, m->due_ns);
    reopen_end_if_over(m->reopen);
}

/* Stops the connection, disconnects its endpoint, and perhaps takes it out of the data plane.
 * False: there was no memory for it. */
static bool
member_undo(struct login_member *m, bool destroy)
{
    struct iscsi_reopen *r = m->reopen;
    struct member_undo *u = malloc(sizeof(*u));

    if (u == NULL || ctl_reserve(r->ctl) < 0) {
        free(u);
        return false;
    }
    u->m = m;
    u->undo = (struct undo){
        .ctl = r->ctl,
        .sid = r->sid,
        .conns = {{.cid = m->cid, .ep = m->ep, .stop = true, .destroy = destroy}},
        .nconns = 1,
        .how = STOP_CONN_RECOVER,
        .done = member_stopped,
    };
    m->ep = 0;
    m->undo = &u->undo;
    undo_start(&u->undo);
    return true;
}

/* Without memory for it that is tried again. */
static void
member_stop(struct login_member *m)
{
    if (!member_undo(m, false))
        loop_timer_start(m->reopen->loop, &m->timer, REOPEN_RETRY_MS * LOOP_NS_PER_MS);
}

/* The connection has ended, and another is wanted at due_ns. */
static void
member_ended(struct login_member *m, uint64_t due_ns, bool stop)
{
    ctl_watch_del(&m->watch);
    m->due_ns = due_ns;
    m->leave_ns = 0;
    if (!stop && m->ep == 0) {
        member_wait(m, due_ns);
        return;
    }
    m->state = MEMBER_STOPPING;
    member_stop(m);
}

/* ---- losses --------------------------------------------------------------------------------- */

/* Keeps why it is not up; NULL: it is, or is another one. */
static void
member_keep_why(struct login_member *m, const struct lunette_error *why)
{
    free(m->why);
    m->err = why != NULL ? why->code : 0;
    m->why = why != NULL ? strdup(why->msg) : NULL;
}

/* The owner is told of each that it is up, and then of its loss: what is found to be down may never
 * have been up. */
static void
member_tell_up(struct login_member *m)
{
    if (!m->told)
        reopen_tell_conn(m->reopen, m->cid, NULL);
    m->told = true;
}

/* A connection that is lost as soon as it has come up goes on with its row of steps. */
static void
member_lost(struct login_member *m, uint32_t wait_s, const struct lunette_error *why)
{
    struct iscsi_reopen *r = m->reopen;
    uint64_t now = r->loop->now_ns, due = now + wait_s * LOOP_NS_PER_S;

    log_line(r->loop->log, LOG_LEVEL_WARN, "%s: connection %u: %s", r->target_name, m->cid,
             why->code < 0 ? why->msg : "lost");
    member_keep_why(m, why->code < 0 ? why : NULL);
    if (now - m->up_ns >= BACKOFF_STEADY_MS * LOOP_NS_PER_MS)
        backoff_reset(&m->backoff, now);
    else
        due += backoff_next(&m->backoff, r->loop, now, why);
    member_ended(m, due, false);
    if (m->told)
        reopen_tell_conn(r, m->cid, why);
    m->told = false;
}

void
members_take_portal(struct portal *p, const struct iscsi_reply *rep)
{
    const uint8_t *at = rep->data, *end = at + rep->r.conn.values_len;
    struct ipc_value v;

    while (ipc_value_next(&at, end, &v)) {
        if (v.param == ISCSI_PARAM_PORTAL)
            (void)portal_read(v.text, v.len, p);
    }
}

static void
member_on_conn(void *user, const struct iscsi_reply *rep)
{
    struct login_member *m = user;
    struct iscsi_reopen *r = m->reopen;
    struct lunette_error why = {.code = 0};
    bool here = m->asked_cid == m->cid; /* else it has changed places since */

    m->asking = false;
    ctl_op_enter(&r->op); /* the owner may let go of r when it is told */
    if (here && rep->err == 0)
        members_take_portal(&m->portal, rep);
    if (here && m->state == MEMBER_UP &&
        (rep->err == -ENOENT || (rep->err == 0 && !ipc_conn_is_up(rep->r.conn.state)))) {
        m->made = rep->err == 0;
        (void)lunette_fail(&why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "it is down");
        member_lost(m, m->ask_wait_s, &why);
    } else if (here && m->state == MEMBER_UP && rep->err == 0) {
        member_tell_up(m);
        if (rep->r.conn.state == IPC_CONN_LEAVING)
            r->member_asked(r, m, 0);
    }
    reopen_end_if_over(r);
    ctl_op_leave(&r->op);
}

/* Asks whether the connection is there, as an event may have been lost. */
static void
member_ask(struct login_member *m, uint32_t wait_s)
{
    struct iscsi_reopen *r = m->reopen;
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_GET_CONN, .sid = r->sid, .cid = m->cid};

    if (m->asking)
        return;
    m->asked_cid = m->cid;
    m->ask_wait_s = wait_s;
    m->asking = ctl_request(r->ctl, &ev, NULL, 0, member_on_conn, m) == 0;
}

/* ---- logging in ----------------------------------------------------------------------------- */

/* The data plane has the connection, and perhaps it is up: it is taken for that until GET_CONN has
 * been answered. */
static void
member_look(struct login_member *m)
{
    struct iscsi_reopen *r = m->reopen;

    m->state = MEMBER_UP;
    member_keep_why(m, NULL);
    m->made = true;
    m->up_ns = r->loop->now_ns;
    ctl_watch_add(r->ctl, &m->watch, r->sid, m->cid);
    member_ask(m, 0);
}

static void
member_failed(struct login_member *m, const struct lunette_error *why)
{
    struct iscsi_reopen *r = m->reopen;

    /* Of a connection that was not known before, -EBUSY says that the target is still being asked
     * about one of the same CID, which an earlier login had started and given up. */
    if (why->domain == LUNETTE_DOM_USAGE &&
        (why->code == -EEXIST || (why->code == -EBUSY && m->made))) {
        member_look(m);
        return;
    }
    if (m->backoff.step_ms == 0) /* the first of a row */
        log_line(r->loop->log, LOG_LEVEL_WARN, "%s: connection %u is not there, tried again: %s",
                 r->target_name, m->cid, why->msg);
    if (why->domain == LUNETTE_DOM_USAGE && why->code == -ENOENT)
        m->made = false;
    m->tries++;
    member_keep_why(m, why);
    member_wait(m, r->loop->now_ns + backoff_next(&m->backoff, r->loop, m->began_ns, why));
}

static void
member_login_done(void *user, const struct login_result *res, const struct lunette_error *err)
{
    struct login_member *m = user;
    struct iscsi_reopen *r = m->reopen;
    struct lunette_error why = {.code = 0};
    bool moved = res != NULL && res->moved && !login_passed_over(m->login);

    if (err != NULL)
        why = *err;
    login_gate_leave(&m->turn);
    if (login_is_over(m->login))
        login_free(&m->login);
    if (m->state != MEMBER_LOGIN) /* it was given up */
        return;
    if (res == NULL) {
        member_failed(m, &why);
        return;
    }
    m->state = MEMBER_UP;
    member_keep_why(m, NULL);
    m->made = true;
    m->ep = res->ep;
    if (moved)
        reopen_moved(r, &m->portal, &res->moved_to);
    m->portal = res->portal;
    m->tries = 0;
    m->up_ns = r->loop->now_ns;
    ctl_watch_add(r->ctl, &m->watch, r->sid, m->cid);
    log_line(r->loop->log, LOG_LEVEL_INFO, "%s: connection %u is logged in", r->target_name,
             m->cid);
    member_tell_up(m);
}

/* It goes where the fewest of the session's connections are, and after a failure to the next one.
 * Where no further portals are configured that is where the leading one has logged in. */
static void
member_choose_portal(struct login_member *m, struct login_config *cfg)
{
    const struct iscsi_reopen *r = m->reopen;
    struct portal_group g;
    bool spread = cfg->ngroup > 0;

    group_init(&g, cfg, r->members.portal);
    if (spread && reopen_has_conn(r))
        group_count(&g, r->members.portal);
    for (uint32_t i = 0; spread && i < r->members.n; i++) {
        const struct login_member *o = &r->members.m[i];

        if (o != m && (o->state == MEMBER_UP || o->state == MEMBER_LOGIN))
            group_count(&g, &o->portal);
    }
    group_sort(&g);
    group_store(&g, m->tries, cfg);
    m->portal = cfg->portal;
}

static uint32_t
member_at_least(uint32_t ms, const struct login_config *cfg)
{
    if (ms < MEMBER_LOGIN_MS)
        ms = MEMBER_LOGIN_MS;
    return ms < cfg->login_timeout_ms ? ms : cfg->login_timeout_ms;
}

static void
member_set_limits(const struct login_member *m, struct login_config *cfg)
{
    uint64_t took_ns = m->reopen->connect_ns;

    cfg->connect_try_ms = backoff_connect_ms(&m->backoff, cfg, took_ns);
    backoff_ep(&m->backoff, cfg, took_ns);
    cfg->ep_login_ms = member_at_least(cfg->ep_login_ms, cfg);
    cfg->login_timeout_ms = member_at_least(backoff_login_ms(&m->backoff, cfg, took_ns), cfg);
}

static void
member_try(struct login_member *m)
{
    struct login_callbacks cb = {.done = member_login_done, .user = m};
    struct iscsi_reopen *r = m->reopen;
    struct login_config cfg;
    struct lunette_error err;
    int e;

    m->state = MEMBER_LOGIN;
    m->began_ns = r->loop->now_ns;
    reopen_get_config(r, &cfg);
    cfg.kind = LOGIN_ADD_CONN;
    cfg.cid = m->cid;
    cfg.tsih = r->members.tsih;
    cfg.rejoins = m->made;
    member_choose_portal(m, &cfg);
    cfg.expected_tpgt = r->tpgt; /* the portals of a session are of one group: RFC 7143 4.4.1 */
    member_set_limits(m, &cfg);
    e = login_start(r->ctl, &cfg, &cb, &m->login, &err);
    login_config_wipe(&cfg);
    if (e == 0)
        return;
    login_gate_leave(&m->turn);
    member_failed(m, &err);
}

static void
member_passed(struct login_turn *t)
{
    member_try(container_of(t, struct login_member, turn));
}

static void
member_on_timer(struct loop_timer *t)
{
    struct login_member *m = container_of(t, struct login_member, timer);
    struct iscsi_reopen *r = m->reopen;

    if (m->state == MEMBER_STOPPING || (m->state == MEMBER_OFF && m->ep != 0)) {
        member_stop(m); /* there was no memory for it */
        return;
    }
    if (m->ep != 0 && m->undo == NULL) { /* there was no memory to give it back when it ended */
        member_stop(m);
        if (m->state == MEMBER_WAITING)
            loop_timer_start(r->loop, &m->timer, REOPEN_RETRY_MS * LOOP_NS_PER_MS);
        return;
    }
    if (m->state != MEMBER_WAITING)
        return;
    if (m->undo != NULL || (m->login != NULL && !login_is_over(m->login))) {
        loop_timer_start(r->loop, &m->timer, REOPEN_RETRY_MS * LOOP_NS_PER_MS);
        return;
    }
    login_free(&m->login);
    m->state = MEMBER_QUEUED;
    m->turn.behind = m->backoff.step_ms > 0; /* one that has failed lets others go first */
    if (login_gate_enter(r->gate, &m->turn))
        member_try(m);
}

/* ---- events ------------------------------------------------------------------------------- */

static void
member_on_event(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data)
{
    struct login_member *m = container_of(w, struct login_member, watch);
    struct iscsi_reopen *r = m->reopen;

    if (m->state != MEMBER_UP)
        return;
    if (ev->type == ISCSI_KEVENT_CONN_ERROR)
        member_lost(m, ev->u.conn_error.time2wait_s, &ev->u.conn_error.why);
    else if (ev->type == ISCSI_KEVENT_LOST)
        member_ask(m, r->time2wait_s);
    else
        r->member_event(r, m, ev, data);
}

/* ---- all of them ---------------------------------------------------------------------------- */

static void
member_init(struct login_member *m, struct iscsi_reopen *r, uint16_t cid)
{
    m->reopen = r;
    m->cid = cid;
    ctl_watch_init(&m->watch, member_on_event);
    login_turn_init(&m->turn, member_passed);
    loop_timer_init(&m->timer, member_on_timer);
}

/* The next CID that none of the connections before has. */
static uint16_t
members_next_cid(const struct iscsi_reopen *r, uint32_t n, uint16_t cid)
{
    uint32_t i = 0;

    while (i < n || cid == r->cid) {
        if (cid == r->cid || r->members.m[i].cid == cid) {
            cid++;
            i = 0;
        } else {
            i++;
        }
    }
    return cid;
}

/* Places for as many as are wanted, and for those that there are.  They stay as long as the reopen
 * does. */
static void
members_make(struct iscsi_reopen *r, const uint16_t *cids, uint32_t ncids)
{
    struct login_members *all = &r->members;
    uint32_t n = all->wanted > ncids ? all->wanted : ncids, made = 0;
    uint16_t cid = 0;

    if (all->m != NULL || n < 2)
        return;
    all->m = calloc(n - 1, sizeof(all->m[0]));
    all->portal = calloc(1, sizeof(*all->portal));
    if (all->m == NULL || all->portal == NULL) {
        log_line(r->loop->log, LOG_LEVEL_WARN, "%s: no memory for %u connections", r->target_name,
                 n);
        free(all->m);
        free(all->portal);
        all->m = NULL;
        all->portal = NULL;
        return;
    }
    all->n = n - 1;
    for (uint32_t i = 0; i < ncids && made < all->n; i++) {
        if (cids[i] != r->cid)
            member_init(&all->m[made++], r, cids[i]);
    }
    for (; made < all->n; made++, cid++) {
        cid = members_next_cid(r, made, cid);
        member_init(&all->m[made], r, cid);
    }
}

void
members_resume(struct iscsi_reopen *r)
{
    uint64_t now = r->loop->now_ns;

    for (uint32_t i = 0; i < r->members.on; i++) {
        backoff_reset(&r->members.m[i].backoff, now);
        r->members.m[i].tries = 0;
        member_wait(&r->members.m[i], now);
    }
}

static bool
members_are_idle(const struct login_members *all)
{
    for (uint32_t i = 0; i < all->n; i++) {
        const struct login_member *m = &all->m[i];

        if (m->state != MEMBER_OFF || m->login != NULL || m->undo != NULL || m->asking)
            return false;
    }
    return true;
}

/* More are wanted than there are places for, since the configuration has changed.  Where there is
 * no memory, or something is on its way yet, that waits for the next nexus. */
static void
members_grow(struct iscsi_reopen *r)
{
    struct login_members *all = &r->members;
    struct login_member *old = all->m, *m;
    uint32_t n = all->wanted > 1 ? all->wanted - 1 : 0;
    uint16_t cid = 0;

    if (old == NULL || n <= all->n || !members_are_idle(all))
        return;
    m = calloc(n, sizeof(m[0]));
    if (m == NULL)
        return;
    for (uint32_t i = 0; i < all->n; i++) {
        member_init(&m[i], r, old[i].cid);
        m[i].made = old[i].made;
        m[i].portal = old[i].portal;
        m[i].err = old[i].err;
        m[i].why = old[i].why;
    }
    all->m = m;
    free(old);
    for (; all->n < n; all->n++, cid++) {
        cid = members_next_cid(r, all->n, cid);
        member_init(&all->m[all->n], r, cid);
    }
}

/* Those that are not wanted any more go from the data plane. */
static void
members_drop(struct iscsi_reopen *r)
{
    for (uint32_t i = r->members.on; i < r->members.n; i++) {
        struct login_member *m = &r->members.m[i];

        if (!m->made || m->state != MEMBER_OFF || m->login != NULL || m->undo != NULL)
            continue;
        m->made = !member_undo(m, true);
    }
}

/* As many as the target agrees to are to be there. */
static void
members_begin(struct iscsi_reopen *r, const struct login_result *res, uint32_t n)
{
    struct login_members *all = &r->members;
    uint32_t most = res->params.max_connections > 0 ? res->params.max_connections - 1 : 0;

    if (all->m == NULL)
        return;
    if (res->portal.host[0] != '\0')
        *all->portal = res->portal;
    all->on = most < n ? most : n;
    if (all->on < n)
        log_line(r->loop->log, LOG_LEVEL_INFO,
                 "%s: %u connections are wanted, and the target takes %u", r->target_name, n + 1,
                 res->params.max_connections);
    members_resume(r);
    members_drop(r);
}

void
members_up(struct iscsi_reopen *r, const struct login_result *res)
{
    r->members.tsih = res->tsih;
    members_make(r, NULL, 0);
    members_grow(r);
    members_begin(r, res, r->members.wanted > 1 ? r->members.wanted - 1 : 0);
}

void
members_down(struct iscsi_reopen *r)
{
    for (uint32_t i = 0; i < r->members.n; i++) {
        struct login_member *m = &r->members.m[i];

        loop_timer_stop(r->loop, &m->timer);
        ctl_watch_del(&m->watch);
        login_gate_leave(&m->turn);
        m->state = MEMBER_OFF;
        m->told = false;
        if (m->login != NULL && r->freed)
            login_free(&m->login);
        else if (m->login != NULL)
            login_cancel(m->login);
        if (m->ep != 0)
            member_stop(m);
    }
}

static void
members_swap(struct iscsi_reopen *r, struct login_member *m)
{
    struct portal portal = m->portal;
    uint16_t cid = r->cid;
    uint64_t ep = r->ep, leave_ns = r->leave_ns;

    m->portal = *r->members.portal;
    *r->members.portal = portal;
    ctl_watch_del(&r->watch);
    ctl_watch_del(&m->watch);
    r->cid = m->cid;
    r->ep = m->ep;
    r->leave_ns = m->leave_ns;
    m->cid = cid;
    m->ep = ep;
    m->leave_ns = leave_ns;
    m->made = true;
    member_keep_why(m, NULL);
    ctl_watch_add(r->ctl, &r->watch, r->sid, r->cid);
    log_line(r->loop->log, LOG_LEVEL_INFO, "%s: connection %u leads", r->target_name, r->cid);
}

bool
members_take_lead(struct iscsi_reopen *r, uint32_t wait_s, bool stop)
{
    uint64_t now = r->loop->now_ns;

    for (uint32_t i = 0; i < r->members.n; i++) {
        struct login_member *m = &r->members.m[i];

        if (m->state != MEMBER_UP || m->asking)
            continue;
        members_swap(r, m);
        m->told = false; /* the caller tells of this loss */
        backoff_reset(&m->backoff, now);
        member_ended(m, now + wait_s * LOOP_NS_PER_S, stop);
        return true;
    }
    return false;
}

bool
members_try_another(struct iscsi_reopen *r)
{
    struct login_members *all = &r->members;

    for (uint32_t i = 0; i < all->on; i++) {
        struct login_member *m = &all->m[all->turn++ % all->on];

        assert(m->state == MEMBER_OFF);
        if (!m->made || m->ep != 0 || m->undo != NULL ||
            (m->login != NULL && !login_is_over(m->login)))
            continue; /* what is left of it is being taken out of the data plane by its CID */
        members_swap(r, m);
        return all->turn <= all->on;
    }
    return false;
}

bool
members_are_asked(const struct iscsi_reopen *r)
{
    for (uint32_t i = 0; i < r->members.n; i++) {
        if (r->members.m[i].state == MEMBER_UP && r->members.m[i].asking)
            return true;
    }
    return false;
}

void
members_change_places(struct iscsi_reopen *r, struct login_member *m)
{
    assert(m->state == MEMBER_UP);
    members_swap(r, m);
    m->told = true; /* it is the one that led */
    m->up_ns = r->up_ns;
    ctl_watch_add(r->ctl, &m->watch, r->sid, m->cid);
}

void
members_found(struct iscsi_reopen *r, const struct reopen_found *found)
{
    r->members.tsih = found->res.tsih;
    members_make(r, found->cids, found->ncids);
    members_begin(r, &found->res, r->members.n);
    for (uint32_t i = 0; i < r->members.n; i++) {
        struct login_member *m = &r->members.m[i];

        if (m->state != MEMBER_WAITING)
            continue;
        loop_timer_stop(r->loop, &m->timer);
        member_look(m);
    }
}

bool
members_lead_to_leave(struct iscsi_reopen *r)
{
    for (uint32_t i = 0; r->leave_ns == 0 && i < r->members.n; i++) {
        struct login_member *m = &r->members.m[i];

        if (m->state == MEMBER_UP && m->leave_ns > 0)
            members_change_places(r, m);
    }
    return r->leave_ns > 0;
}

uint32_t
members_count_up(const struct iscsi_reopen *r)
{
    uint32_t n = reopen_has_conn(r);

    for (uint32_t i = 0; i < r->members.n; i++)
        n += r->members.m[i].state == MEMBER_UP;
    return n;
}

void
members_free(struct iscsi_reopen *r)
{
    for (uint32_t i = 0; i < r->members.n; i++) {
        struct login_member *m = &r->members.m[i];

        assert(m->login == NULL);
        loop_timer_stop(r->loop, &m->timer);
        free(m->why);
        if (m->undo == NULL)
            continue;
        ctl_unreserve(r->ctl); /* the control plane ends in the middle of it */
        free(container_of(m->undo, struct member_undo, undo));
    }
    free(r->members.m);
    free(r->members.portal);
    r->members = (struct login_members){.m = NULL};
}
