/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_rdma_conn.c - how simulated RDMA connections are made: looking for the way, asking,
 * taking or refusing, step by step. */
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim_rdma_priv.h"
#include "tests/support/steady_alloc.h"

static void
step_later(struct rsim_conn *c, void (*step)(struct rsim_conn *c))
{
    struct sim *sim = c->r->sim;

    c->step = step;
    sim_event_at(sim, &c->setup, sim->now_ns + sim_delay_ns(sim));
}

static void
setup_due(struct sim_event *e)
{
    struct rsim_conn *c = container_of(e, struct rsim_conn, setup);

    /* That the peer has an address was known before its network went silent. */
    if ((c->stalled || c->severed) && c->asked)
        c->waits = true;
    else
        c->step(c);
}

static void
timeout_due(struct sim_event *e)
{
    struct rsim_conn *c = container_of(e, struct rsim_conn, timeout);
    struct rsim *r = c->r;

    c->waits = false;
    sim_event_del(r->sim, &c->setup);
    for (int side = 0; side < 2; side++) {
        struct rsim_ep *ep = c->ep[side];

        if (ep != NULL && !ep->told_up && !ep->up_due)
            rsim_tell_end(ep, 0, -ETIMEDOUT, "no answer to the request to connect");
    }
}

static void
no_answer_in(struct rsim_conn *c)
{
    struct sim *sim = c->r->sim;

    if (!c->timeout.node.queued)
        sim_event_at(sim, &c->timeout, sim->now_ns + c->r->cfg.connect_timeout_ms * LOOP_NS_PER_MS);
}

static void
step_refused(struct rsim_conn *c)
{
    char why[RSIM_WHY_MAX];

    sim_event_del(c->r->sim, &c->timeout);
    (void)snprintf(why, sizeof(why),
                   c->reason == 8 ? "nobody listens there for RDMA (rejected, reason %u)"
                                  : "the listener refuses (rejected, reason %u)",
                   c->reason);
    if (c->ep[0] != NULL)
        rsim_tell_end(c->ep[0], 0, -ECONNREFUSED, why);
}

void
rsim_refuse(struct rsim_conn *c, unsigned reason)
{
    c->reason = reason;
    step_later(c, step_refused);
}

/* The client has everything that it needs, and its own owner hears of it. */
static void
client_up(struct rsim_conn *c)
{
    struct rsim_ep *ep = c->ep[0];

    sim_event_del(c->r->sim, &c->timeout);
    if (ep == NULL || ep->disconnected || ep->end_due || ep->told_end || ep->error)
        return;
    ep->state = RSIM_UP;
    ep->can_receive = true;
    ep->up_due = true;
    rsim_wake(ep);
    rsim_kick(rsim_way_to(ep));
}

static void
step_use(struct rsim_conn *c)
{
    struct rsim_ep *ep = c->ep[1];

    sim_event_del(c->r->sim, &c->timeout);
    if (ep == NULL || ep->disconnected || ep->end_due || ep->told_end || ep->error)
        return;
    ep->state = RSIM_UP;
    ep->up_due = true;
    rsim_wake(ep);
}

static void
step_reply(struct rsim_conn *c)
{
    struct rsim_ep *client = c->ep[0];

    if (client == NULL || client->dead || client->disconnected) {
        no_answer_in(c); /* the server's reply is for nobody */
        return;
    }
    c->stuck = false;
    if (client->state == RSIM_CONNECTING)
        client_up(c);
    sim_event_del(c->r->sim, &c->timeout);
    no_answer_in(c); /* the server waits for the client's last word */
    c->made = true;
    c->r->stats.made++;
    rsim_apply_cuts(c);
    (void)rsim_show(&c->way[SIM_RDMA_TO_CLIENT], SIM_RDMA_MADE, NULL, 0, NULL, 0);
    for (int way = 0; way < SIM_RDMA_WAYS; way++)
        rsim_kick(&c->way[way]);
    if (c->ep[1] != NULL && !c->severed)
        step_later(c, step_use);
}

static struct rsim_ep *
ep_new(struct rsim_machine *m, struct rsim_conn *c, unsigned side, const struct rnic_depth *depth)
{
    struct rsim_ep *ep = steady_calloc(1, sizeof(*ep));

    ep->pub.ops = &rsim_ops;
    ep->pub.loop = &m->l->pub;
    ep->m = m;
    ep->conn = c;
    ep->side = side;
    ep->depth = *depth;
    ep->id = ++m->r->sim->next_id;
    ep->end.fn = rsim_end_due;
    list_init(&ep->ready);
    list_init(&ep->asking);
    list_init(&ep->queued);
    list_init(&ep->mrs);
    list_init(&ep->mws);
    rsim_queues_init(ep);
    list_push_back(&m->r->eps, &ep->node);
    if (c != NULL)
        c->ep[side] = ep;
    m->r->stats.open++;
    return ep;
}

static struct rsim_ep *
find_listener(const struct rsim *r, const struct sock_addr *at)
{
    LIST_FOREACH (n, &r->eps) {
        struct rsim_ep *ep = container_of(n, struct rsim_ep, node);

        if (ep->state == RSIM_LISTENING && !ep->closed && !ep->dead && ep->end_err == 0 &&
            rsim_same_addr(&ep->addr, at, false))
            return ep;
    }
    return NULL;
}

/* The request has arrived. */
static void
step_request(struct rsim_conn *c)
{
    struct rsim_ep *listener = find_listener(c->r, rsim_leads_to(c)), *ep;
    enum sim_rdma_fate fate = rsim_fate(c);

    c->waits = c->stuck = false;
    if (fate == SIM_RDMA_BLACK_HOLE || fate == SIM_RDMA_NOBODY) {
        c->waits = true;
        return;
    }
    if (fate == SIM_RDMA_STUCK) {
        c->waits = c->stuck = true;
        client_up(c);
        return;
    }
    if (fate != SIM_RDMA_NORMAL || listener == NULL) {
        rsim_refuse(c, fate == SIM_RDMA_UNWANTED ? 28 : 8);
        return;
    }
    ep = ep_new(listener->m, c, 1, &listener->depth);
    ep->state = RSIM_REQUESTED;
    ep->addr = listener->addr;
    list_push_back(&listener->asking, &ep->queued);
    rsim_wake(listener);
}

/* What waits for the network, or for its fate, goes on. */
void
rsim_request_again(struct rsim_conn *c)
{
    if (!c->waits || c->stalled || c->severed)
        return;
    c->waits = false;
    step_later(c, c->step);
}

static void
step_resolved(struct rsim_conn *c)
{
    struct rsim_ep *ep = c->ep[0];

    if (rsim_fate(c) == SIM_RDMA_NOBODY) {
        bool timeout = sim_below(c->r->sim, 2) == 0;

        rsim_tell_end(ep, c->r->cfg.resolve_timeout_ms * LOOP_NS_PER_MS,
                      timeout ? -ETIMEDOUT : -EHOSTUNREACH,
                      timeout ? "nobody answers at this address" : "no way leads to this address");
        return;
    }
    ep->resolved_due = true;
    rsim_wake(ep);
}

static int
no_device(const struct rsim_machine *m, struct lunette_error *err)
{
    if (!m->r->cfg.no_device && !m->removed)
        return 0;
    return lunette_fail(err, -ENODEV, LUNETTE_DOM_OS, ENODEV, "this machine has no RDMA device");
}

static uint16_t *
port_of(struct sock_addr *a)
{
    return a->ss.ss_family == AF_INET ? &((struct sockaddr_in *)(void *)&a->ss)->sin_port
                                      : &((struct sockaddr_in6 *)(void *)&a->ss)->sin6_port;
}

static bool
is_ip(const struct sock_addr *a)
{
    return a->ss.ss_family == AF_INET || a->ss.ss_family == AF_INET6;
}

static void
draw_port(struct rsim *r, struct sock_addr *a)
{
    if (*port_of(a) != 0)
        return;
    *port_of(a) = htons(r->next_port);
    r->next_port = r->next_port == UINT16_MAX ? RSIM_FIRST_PORT : (uint16_t)(r->next_port + 1);
}

static struct rsim_conn *
conn_new(struct rsim *r, const struct sock_addr *to)
{
    struct rsim_conn *c = steady_calloc(1, sizeof(*c));

    c->r = r;
    c->id = ++r->next_conn;
    c->server = *to;
    c->setup.fn = setup_due;
    c->timeout.fn = timeout_due;
    rsim_way_init(c, SIM_RDMA_TO_SERVER);
    rsim_way_init(c, SIM_RDMA_TO_CLIENT);
    rsim_apply_rules(c);
    list_push_back(&r->conns, &c->node);
    r->stats.asked++;
    return c;
}

int
rsim_resolve(struct loop *l, const struct sock_addr *to, const struct sock_addr *from,
             const struct rnic_depth *depth, const struct rnic_events *ev, void *user,
             struct rnic_ep **ret, struct lunette_error *err)
{
    struct rsim_machine *m = rsim_machine_of(l);
    struct rsim_conn *c;
    struct rsim_ep *ep;
    int r = no_device(m, err);

    assert(ev->resolved != NULL && ev->established != NULL && ev->ended != NULL &&
           ev->completed != NULL && depth->send > 0 && depth->recv > 0);
    if (r < 0)
        return r;
    if (!is_ip(to) || (from != NULL && from->ss.ss_family != to->ss.ss_family))
        return lunette_fail(err, -EAFNOSUPPORT, LUNETTE_DOM_USAGE, 0,
                            "RDMA connects to addresses of IPv4 and IPv6, from the same family");
    c = conn_new(m->r, to);
    ep = ep_new(m, c, 0, depth);
    ep->state = RSIM_RESOLVING;
    ep->ev = ev;
    ep->user = user;
    ep->addr = from != NULL ? *from : *to;
    if (from == NULL)
        *port_of(&ep->addr) = 0;
    draw_port(m->r, &ep->addr);
    step_later(c, step_resolved);
    *ret = &ep->pub;
    return 0;
}

int
rsim_connect(struct rnic_ep *pub, const void *private_data, size_t len, struct lunette_error *err)
{
    struct rsim_ep *ep = rsim_ep_of(pub);

    if (ep->dead)
        return 0;
    if (ep->side != 0 || ep->state != RSIM_RESOLVED || ep->disconnected || ep->conn == NULL) {
        rsim_wrong(ep->m->r, "rnic_connect on an endpoint that is not just resolved");
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "the address is not resolved");
    }
    ep->state = RSIM_CONNECTING;
    if (len > 0)
        memcpy(ep->conn->request, private_data, len);
    ep->conn->asked = true;
    no_answer_in(ep->conn);
    step_later(ep->conn, step_request);
    return 0;
}

int
rsim_listen(struct loop *l, const struct sock_addr *at, const struct rnic_depth *depth,
            const struct rnic_events *ev, void *user, struct rnic_ep **ret,
            struct sock_addr *ret_bound, struct lunette_error *err)
{
    struct rsim_machine *m = rsim_machine_of(l);
    struct sock_addr bound = *at;
    struct rsim_ep *ep;
    int r = no_device(m, err);

    assert(ev->requested != NULL && ev->ended != NULL);
    if (r < 0)
        return r;
    if (!is_ip(at))
        return lunette_fail(err, -EAFNOSUPPORT, LUNETTE_DOM_USAGE, 0,
                            "RDMA listens at addresses of IPv4 and IPv6");
    draw_port(m->r, &bound);
    if (find_listener(m->r, &bound) != NULL)
        return lunette_fail(err, -EADDRINUSE, LUNETTE_DOM_OS, EADDRINUSE,
                            "something listens there already");
    ep = ep_new(m, NULL, 1, depth);
    ep->state = RSIM_LISTENING;
    ep->ev = ev;
    ep->user = user;
    ep->addr = bound;
    *ret = &ep->pub;
    *ret_bound = bound;
    return 0;
}

int
rsim_accept(struct rnic_ep *pub, const void *private_data, size_t len, struct lunette_error *err)
{
    struct rsim_ep *ep = rsim_ep_of(pub);
    struct rsim_conn *c = ep->conn;

    if (ep->dead)
        return 0;
    if (ep->side != 1 || ep->state != RSIM_REQUESTED || ep->disconnected) {
        rsim_wrong(ep->m->r, "rnic_accept on an endpoint that was not just requested");
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "nobody has asked to connect");
    }
    if (ep->told_end || ep->error)
        return lunette_fail(err, -ECONNRESET, LUNETTE_DOM_CONNECT, ECONNRESET, RSIM_LEFT);
    ep->state = RSIM_ACCEPTED;
    ep->can_receive = true;
    if (len > 0)
        memcpy(c->answer, private_data, len);
    no_answer_in(c);
    step_later(c, step_reply);
    return 0;
}
