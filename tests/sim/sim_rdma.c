/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_rdma.c - simulated RDMA endpoints: what their owners are told, and how they end.
 *
 * The world's events change endpoints at any time.  Their owners are told in a turn of their own
 * loop: an endpoint that has news is in its machine's list `ready`, and the machine's work, which
 * is posted to the loop then, makes the callbacks.
 */
#include "tests/sim/sim_rdma.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim_rdma_priv.h"
#include "tests/support/steady_alloc.h"

#define ACCEPT_MAX 8   /* callbacks of one listener in a turn */
#define BATCH_MAX  256 /* whatever the configuration says */

/* News. */

static bool
has_news(const struct rsim_ep *ep)
{
    if (ep->closed || ep->dead || ep->ev == NULL)
        return false;
    return !list_empty(&ep->asking) || ep->resolved_due || ep->up_due || ep->end_due ||
           (!list_empty(&ep->cq) && (ep->told_up || ep->disconnected));
}

void
rsim_wake(struct rsim_ep *ep)
{
    struct rsim_machine *m = ep->m;

    if (!has_news(ep) || !list_empty(&ep->ready))
        return;
    list_push_back(&m->ready, &ep->ready);
    if (list_empty(&m->work.node))
        list_push_back(&m->l->posted, &m->work.node);
}

static void
ep_free(struct rsim_ep *ep)
{
    assert(ep->closed && ep->calling == 0);
    list_del(&ep->ready);
    list_del(&ep->node);
    steady_free(ep);
}

static void
call_begins(struct rsim_ep *ep, uint64_t what)
{
    ep->calling++;
    sim_note(ep->m->r->sim, NOTE_RDMA, ep->id, what);
}

/* False: the owner has closed it meanwhile. */
static bool
call_ends(struct rsim_ep *ep)
{
    ep->calling--;
    if (!ep->closed)
        return !ep->dead;
    if (ep->calling == 0)
        ep_free(ep);
    return false;
}

static bool
tell_asked(struct rsim_ep *ep)
{
    for (int i = 0; i < ACCEPT_MAX && !list_empty(&ep->asking); i++) {
        struct rsim_ep *new = container_of(ep->asking.next, struct rsim_ep, queued);
        struct rsim_ep *peer = rsim_peer(new);
        struct sock_addr from = peer != NULL ? peer->addr : new->conn->server;

        list_del(&new->queued);
        call_begins(ep, new->id << 8 | 2);
        ep->ev->requested(ep->user, &new->pub, &from, new->conn->request, RSIM_REQUEST_LEN);
        if (!call_ends(ep))
            return false;
    }
    return true;
}

static bool
tell_up(struct rsim_ep *ep)
{
    const struct rsim_conn *c = ep->conn;
    bool client = ep->side == 0;

    ep->up_due = false;
    ep->told_up = true;
    call_begins(ep, 3);
    ep->ev->established(ep->user, client ? c->answer : NULL, client ? c->r->cfg.private_len : 0);
    return call_ends(ep);
}

static bool
tell_end(struct rsim_ep *ep)
{
    ep->end_due = false;
    ep->told_end = true;
    call_begins(ep, 4);
    ep->ev->ended(ep->user, ep->end_err, ep->why);
    return call_ends(ep);
}

static bool
tell_completed(struct rsim_ep *ep, uint32_t *budget)
{
    const struct sim_rdma_config *cfg = &ep->m->r->cfg;
    struct rnic_wc wc[BATCH_MAX];
    uint32_t max = cfg->batch_max < *budget ? cfg->batch_max : *budget;
    unsigned n;

    if (max == 0 || list_empty(&ep->cq))
        return true;
    max = max > BATCH_MAX ? BATCH_MAX : max;
    n = rsim_take(ep, wc, 1 + (unsigned)sim_below(ep->m->r->sim, max));
    *budget -= n;
    call_begins(ep, (uint64_t)n << 8 | 5);
    ep->ev->completed(ep->user, wc, n);
    return call_ends(ep);
}

/* Tells what there is.  The completion queue and the connection's events come by ways of their own,
 * so that the end may be told before what was done before it. */
static void
tell(struct rsim_ep *ep, uint32_t *budget)
{
    bool end_first = sim_below(ep->m->r->sim, 2) == 0;

    if (!tell_asked(ep))
        return;
    if (ep->resolved_due) {
        ep->resolved_due = false;
        ep->state = RSIM_RESOLVED;
        call_begins(ep, 6);
        ep->ev->resolved(ep->user);
        if (!call_ends(ep))
            return;
    }
    if (ep->up_due && !tell_up(ep))
        return;
    if (ep->end_due && end_first && !tell_end(ep))
        return;
    if ((ep->told_up || ep->disconnected) && !tell_completed(ep, budget))
        return;
    if (ep->end_due && !end_first && list_empty(&ep->cq) && !tell_end(ep))
        return;
    rsim_wake(ep);
}

static void
machine_run(struct loop_work *w)
{
    struct rsim_machine *m = container_of(w, struct rsim_machine, work);
    uint32_t budget = m->r->cfg.turn_max;
    struct list now;

    list_init(&now);
    list_splice(&now, &m->ready);
    while (!list_empty(&now)) { /* in no order that anybody may count on */
        struct list *n = sim_below(m->r->sim, 2) == 0 ? now.next : now.prev;
        struct rsim_ep *ep = container_of(n, struct rsim_ep, ready);

        list_del(n);
        if (has_news(ep))
            tell(ep, &budget);
    }
}

/* Ends. */

void
rsim_end_due(struct sim_event *e)
{
    struct rsim_ep *ep = container_of(e, struct rsim_ep, end);

    /* Word of a peer that has left goes by the same network. */
    if (ep->conn != NULL && ep->conn->stalled && ep->end_err == -ECONNRESET)
        return;
    ep->end_due = true;
    ep->up_due = ep->resolved_due = false;
    rsim_wake(ep);
}

void
rsim_tell_end(struct rsim_ep *ep, uint64_t delay_ns, int err, const char *why)
{
    struct sim *sim = ep->m->r->sim;

    if (ep->disconnected || ep->told_end || ep->end_due || ep->closed || ep->dead)
        return;
    ep->end_err = err;
    (void)snprintf(ep->why, sizeof(ep->why), "%s", why);
    sim_event_at(sim, &ep->end, sim->now_ns + delay_ns);
}

void
rsim_tell_left(struct rsim_ep *ep, bool late)
{
    struct rsim *r = ep->m->r;
    uint64_t delay = sim_delay_ns(r->sim);

    if (sim_chance(r->sim, late ? 50 : r->cfg.ended_never_percent) || ep->end.node.queued)
        return;
    if (late || sim_chance(r->sim, r->cfg.ended_late_percent))
        delay += sim_below(r->sim, r->cfg.ended_late_max_ms * LOOP_NS_PER_MS);
    rsim_tell_end(ep, delay, -ECONNRESET, RSIM_LEFT);
}

static void
rsim_set_events(struct rnic_ep *pub, const struct rnic_events *ev, void *user)
{
    struct rsim_ep *ep = rsim_ep_of(pub);

    ep->ev = ev;
    ep->user = user;
    rsim_wake(ep);
}

/* Closing. */

static void
show_closed(const struct rsim_ep *ep)
{
    if (ep->conn != NULL && ep->conn->made && !ep->disconnected)
        (void)rsim_show(rsim_way_from(ep), SIM_RDMA_CLOSED, NULL, 0, NULL, 0);
}

/* The other end is to hear that this one leaves, whatever has been reached. */
static void
leave(struct rsim_ep *ep, bool late)
{
    struct rsim_conn *c = ep->conn;
    struct rsim_ep *peer = rsim_peer(ep);

    if (ep->side == 1 && ep->state == RSIM_REQUESTED) {
        rsim_refuse(c, 28);
        return;
    }
    if (ep->side == 0 && peer == NULL) {
        sim_event_del(c->r->sim, &c->setup);
        sim_event_del(c->r->sim, &c->timeout);
        c->waits = false;
    }
    if (peer != NULL && !c->severed && !c->stalled)
        rsim_tell_left(peer, late);
}

static void
rsim_disconnect(struct rnic_ep *pub)
{
    struct rsim_ep *ep = rsim_ep_of(pub);
    struct sim *sim = ep->m->r->sim;

    if (ep->dead || ep->disconnected)
        return;
    if (ep->conn == NULL || (ep->state == RSIM_RESOLVING && !ep->told_end)) {
        rsim_wrong(ep->m->r, "rnic_disconnect on an endpoint that is not resolved");
        return;
    }
    show_closed(ep);
    leave(ep, false);
    ep->disconnected = true;
    ep->resolved_due = ep->up_due = ep->end_due = false;
    sim_event_del(sim, &ep->end);
    rsim_wake(ep);
    if (ep->error)
        rsim_flush(ep);
    else
        sim_event_at(sim, &ep->stop,
                     sim->now_ns + sim_below(sim, ep->m->r->cfg.linger_max_us * 1000ull + 1));
}

static void
conn_free(struct rsim_conn *c)
{
    rsim_drop_ways(c);
    sim_event_del(c->r->sim, &c->setup);
    sim_event_del(c->r->sim, &c->timeout);
    list_del(&c->node);
    steady_free(c);
}

/* Nothing of it moves or is told any more. */
static void
ep_stop(struct rsim_ep *ep, bool late)
{
    struct rsim_conn *c = ep->conn;

    sim_event_del(ep->m->r->sim, &ep->end);
    while (!list_empty(&ep->asking)) {
        struct rsim_ep *new = container_of(ep->asking.next, struct rsim_ep, queued);

        new->pub.ops->close(&new->pub);
    }
    if (c == NULL)
        return;
    show_closed(ep);
    if (!ep->disconnected)
        leave(ep, late);
    rsim_detach(ep);
}

static void
rsim_close(struct rnic_ep *pub)
{
    struct rsim_ep *ep = rsim_ep_of(pub);
    struct rsim_conn *c = ep->conn;
    struct rsim_ep *peer = rsim_peer(ep);

    assert(!ep->closed);
    if (!ep->dead)
        ep_stop(ep, false);
    ep->closed = true;
    list_del(&ep->queued);
    rsim_mem_free(ep);
    ep->m->r->stats.open--;
    ep->conn = NULL;
    if (c != NULL) {
        c->ep[ep->side] = NULL;
        if (peer != NULL)
            rsim_watch_retry(peer);
        else
            conn_free(c);
    }
    if (ep->calling == 0)
        ep_free(ep);
}

/* One that has an owner, or NULL. */
static struct rsim_ep *
one_alive(const struct rsim_machine *m)
{
    LIST_FOREACH (n, &m->r->eps) {
        struct rsim_ep *ep = container_of(n, struct rsim_ep, node);

        if (ep->m == m && !ep->closed && !ep->dead && list_empty(&ep->queued))
            return ep;
    }
    return NULL;
}

void
sim_rdma_kill(struct sim *sim, struct loop *l)
{
    struct rsim_ep *ep;

    assert(rsim_machine_of(l)->r == sim->rdma);
    while ((ep = one_alive(rsim_machine_of(l))) != NULL) {
        ep_stop(ep, true);
        ep->dead = true;
        list_del(&ep->ready);
    }
}

void
sim_rdma_remove_device(struct sim *sim, struct loop *l, bool on)
{
    struct rsim_machine *m = rsim_machine_of(l);

    m->removed = on;
    if (!on)
        return;
    LIST_FOREACH (n, &sim->rdma->eps) {
        struct rsim_ep *ep = container_of(n, struct rsim_ep, node);

        if (ep->m != m || ep->closed || ep->dead)
            continue;
        rsim_tell_end(ep, sim_delay_ns(sim), -ENODEV, "the RDMA device is gone");
        if (ep->conn != NULL)
            rsim_error(ep, false);
        if (ep->conn != NULL && ep->side == 0 && rsim_peer(ep) == NULL)
            sim_event_del(sim, &ep->conn->setup);
    }
}

/* The small operations. */

static void
rsim_caps(const struct rnic_ep *pub, struct rnic_caps *ret)
{
    const struct rsim_ep *ep = rsim_const_ep_of(pub);
    const struct sim_rdma_config *cfg = &ep->m->r->cfg;

    if (ep->state == RSIM_LISTENING || ep->state == RSIM_RESOLVING)
        rsim_wrong(ep->m->r, "rnic_get_caps on an endpoint that is not resolved");
    memset(ret, 0, sizeof(*ret));
    ret->windows = !cfg->no_windows;
    ret->max_windows = cfg->no_windows ? 0 : cfg->max_windows;
    ret->max_region = cfg->max_region;
    ret->sends = ep->depth.send;
    ret->recvs = ep->depth.recv;
    (void)snprintf(ret->device, sizeof(ret->device), "sim%u", ep->m->l->id);
}

static int
rsim_names(const struct rnic_ep *pub, struct sock_addr *ret_local, struct sock_addr *ret_peer)
{
    const struct rsim_ep *ep = rsim_const_ep_of(pub), *peer = rsim_peer(ep);

    if (ep->conn == NULL || !ep->told_up)
        return -ENOTCONN;
    *ret_local = ep->addr;
    if (ep->side == 0)
        *ret_peer = ep->conn->server;
    else if (peer != NULL)
        *ret_peer = peer->addr;
    else
        return -ENOTCONN;
    return 0;
}

static void
rsim_spin(struct loop *l, uint64_t ns)
{
    rsim_machine_of(l)->r->stats.spins += ns > 0;
}

const struct rnic_ops rsim_ops = {
    .name = "sim",
    .resolve = rsim_resolve,
    .connect = rsim_connect,
    .listen = rsim_listen,
    .accept = rsim_accept,
    .set_events = rsim_set_events,
    .disconnect = rsim_disconnect,
    .close = rsim_close,
    .caps = rsim_caps,
    .names = rsim_names,
    .reg = rsim_reg,
    .dereg = rsim_dereg,
    .mw_new = rsim_mw_new,
    .mw_free = rsim_mw_free,
    .post_send = rsim_post_send,
    .post_recv = rsim_post_recv,
    .spin = rsim_spin,
};

/* Making and freeing. */

void
sim_rdma_new_loop(struct sim *sim, struct sim_loop *l)
{
    struct rsim_machine *m;

    if (sim->rdma == NULL)
        return;
    m = steady_calloc(1, sizeof(*m));
    m->r = sim->rdma;
    m->l = l;
    loop_work_init(&m->work, machine_run);
    list_init(&m->ready);
    list_push_back(&sim->rdma->machines, &m->node);
    l->pub.rnic = &rsim_ops;
    l->pub.rnic_state = m;
}

void
sim_rdma_open(struct sim *sim, const struct sim_rdma_config *cfg)
{
    struct rsim *r = steady_calloc(1, sizeof(*r));

    assert(sim->rdma == NULL);
    r->sim = sim;
    r->next_port = RSIM_FIRST_PORT;
    list_init(&r->machines);
    list_init(&r->eps);
    list_init(&r->conns);
    list_init(&r->rules);
    rsim_configure(r, cfg);
    sim->rdma = r;
    LIST_FOREACH (n, &sim->loops)
        sim_rdma_new_loop(sim, container_of(n, struct sim_loop, node));
}

void
sim_rdma_free(struct sim *sim)
{
    struct rsim *r = sim->rdma;
    struct list *n;

    if (r == NULL)
        return;
    LIST_FOREACH_SAFE (e, &r->eps) {
        struct rsim_ep *ep = container_of(e, struct rsim_ep, node);

        if (ep->dead && !ep->closed)
            rsim_close(&ep->pub);
    }
    assert(list_empty(&r->eps)); /* an endpoint is not closed */
    assert(list_empty(&r->conns));
    rsim_faults_free(r);
    while ((n = list_pop_front(&r->machines)) != NULL) {
        struct rsim_machine *m = container_of(n, struct rsim_machine, node);

        list_del(&m->work.node);
        m->l->pub.rnic = NULL;
        m->l->pub.rnic_state = NULL;
        steady_free(m);
    }
    steady_free(r);
    sim->rdma = NULL;
}
