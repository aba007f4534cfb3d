/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_rdma_fault.c - what a test does to a simulated RDMA fabric. */
#include <assert.h>
#include <netinet/in.h>
#include <string.h>

#include "tests/sim/sim_rdma_priv.h"
#include "tests/support/steady_alloc.h"

const struct sim_rdma_config sim_rdma_rough = {
    .piece_percent = 60,
    .gap_max_us = 2000,
    .early_percent = 30,
    .linger_max_us = 3000,
    .flush_max_us = 500,
    .batch_max = 7,
    .turn_max = 11,
    .ended_never_percent = 30,
    .ended_late_percent = 40,
    .ended_late_max_ms = 3000,
};

static uint32_t
or_else(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

void
rsim_configure(struct rsim *r, const struct sim_rdma_config *cfg)
{
    static const struct sim_rdma_config none;
    struct sim_rdma_config *c = &r->cfg;

    *c = cfg != NULL ? *cfg : none;
    c->max_windows = or_else(c->max_windows, 4096);
    c->max_regions = or_else(c->max_regions, 4096);
    c->max_region = c->max_region != 0 ? c->max_region : UINT64_C(1) << 30;
    c->private_len = or_else(c->private_len, 196);
    c->resolve_timeout_ms = or_else(c->resolve_timeout_ms, 2000);
    c->connect_timeout_ms = or_else(c->connect_timeout_ms, 60000);
    c->retry_ms = or_else(c->retry_ms, 4000);
    c->gap_max_us = or_else(c->gap_max_us, 50);
    c->linger_max_us = or_else(c->linger_max_us, 200);
    c->flush_max_us = or_else(c->flush_max_us, 20);
    c->batch_max = or_else(c->batch_max, 16);
    c->turn_max = or_else(c->turn_max, 64);
    c->ended_late_max_ms = or_else(c->ended_late_max_ms, 1000);
    assert(c->private_len >= RNIC_PRIVATE_MAX && c->private_len <= RSIM_ANSWER_MAX);
}

void
sim_rdma_configure(struct sim *sim, const struct sim_rdma_config *cfg)
{
    rsim_configure(sim->rdma, cfg);
}

bool
rsim_same_addr(const struct sock_addr *a, const struct sock_addr *b, bool any_port)
{
    if (a->ss.ss_family != b->ss.ss_family)
        return false;
    if (a->ss.ss_family == AF_INET) {
        const struct sockaddr_in *x = (const void *)&a->ss, *y = (const void *)&b->ss;

        return (any_port || x->sin_port == y->sin_port) && x->sin_addr.s_addr == y->sin_addr.s_addr;
    } else {
        const struct sockaddr_in6 *x = (const void *)&a->ss, *y = (const void *)&b->ss;

        return (any_port || x->sin6_port == y->sin6_port) &&
               memcmp(&x->sin6_addr, &y->sin6_addr, 16) == 0;
    }
}

/* Rules. */

static struct rsim_rule *
find_rule(const struct rsim *r, const struct sock_addr *server)
{
    LIST_FOREACH (n, &r->rules) {
        struct rsim_rule *u = container_of(n, struct rsim_rule, node);

        if (server == NULL ? u->any : !u->any && rsim_same_addr(&u->server, server, false))
            return u;
    }
    return NULL;
}

static struct rsim_rule *
rule_for(struct rsim *r, const struct sock_addr *server)
{
    struct rsim_rule *u = find_rule(r, server);

    if (u != NULL)
        return u;
    u = steady_calloc(1, sizeof(*u));
    u->any = server == NULL;
    if (server != NULL)
        u->server = *server;
    list_push_back(&r->rules, &u->node);
    return u;
}

static bool
rule_fits(const struct rsim_rule *u, const struct rsim_conn *c)
{
    return u->any || rsim_same_addr(&u->server, &c->server, false);
}

/* What a server's own rule says goes before what the rule of all says. */
enum sim_rdma_fate
rsim_fate(const struct rsim_conn *c)
{
    enum sim_rdma_fate fate = SIM_RDMA_NORMAL;

    LIST_FOREACH (n, &c->r->rules) {
        const struct rsim_rule *u = container_of(n, struct rsim_rule, node);

        if (u->fate == SIM_RDMA_NOBODY && !u->any && rsim_same_addr(&u->server, &c->server, true))
            return u->fate;
        if (u->fate != SIM_RDMA_NORMAL && rule_fits(u, c) && (!u->any || fate == SIM_RDMA_NORMAL))
            fate = u->fate;
    }
    return fate;
}

const struct sock_addr *
rsim_leads_to(const struct rsim_conn *c)
{
    const struct rsim_rule *u = find_rule(c->r, &c->server);

    return u != NULL && u->leads ? &u->to : &c->server;
}

void
rsim_apply_rules(struct rsim_conn *c)
{
    LIST_FOREACH (n, &c->r->rules) {
        const struct rsim_rule *u = container_of(n, struct rsim_rule, node);

        if (!rule_fits(u, c))
            continue;
        c->stalled = c->stalled || u->stall;
        for (int way = 0; way < SIM_RDMA_WAYS; way++)
            c->way[way].late_ns += u->late_ns[way];
    }
}

static void
set_cuts(struct rsim_conn *c, const struct rsim_rule *u)
{
    bool now = false;

    c->how = u->how;
    for (int way = 0; way < SIM_RDMA_WAYS; way++) {
        c->way[way].cut_left = u->cut_left[way];
        now = now || u->cut_left[way] == 0;
    }
    if (now)
        rsim_sever(c, c->how);
}

/* The connection has been made: is it the next one, that is to be cut? */
void
rsim_apply_cuts(struct rsim_conn *c)
{
    LIST_FOREACH (n, &c->r->rules) {
        struct rsim_rule *u = container_of(n, struct rsim_rule, node);

        if (!u->cut_next || !rule_fits(u, c))
            continue;
        u->cut_next = false;
        set_cuts(c, u);
    }
}

void
sim_rdma_set_fate(struct sim *sim, const struct sock_addr *server, enum sim_rdma_fate fate)
{
    struct rsim_rule *u = rule_for(sim->rdma, server);

    u->fate = fate;
    LIST_FOREACH (n, &sim->rdma->conns) {
        struct rsim_conn *c = container_of(n, struct rsim_conn, node);

        if (rule_fits(u, c))
            rsim_request_again(c);
    }
}

void
sim_rdma_lead(struct sim *sim, const struct sock_addr *portal, const struct sock_addr *to)
{
    struct rsim_rule *u = rule_for(sim->rdma, portal);

    u->leads = to != NULL;
    if (to != NULL)
        u->to = *to;
}

/* Cuts. */

static bool
is_up(const struct rsim_conn *c)
{
    return c->made && !c->severed && c->ep[0] != NULL && c->ep[1] != NULL && !c->ep[0]->dead &&
           !c->ep[1]->dead && !c->ep[0]->disconnected && !c->ep[1]->disconnected;
}

void
rsim_sever(struct rsim_conn *c, enum sim_rdma_cut how)
{
    if (c->severed)
        return;
    sim_note(c->r->sim, NOTE_CUT, c->id, how);
    c->severed = true;
    c->r->stats.cuts++;
    for (int side = 0; side < 2; side++) {
        struct rsim_ep *ep = c->ep[side];

        if (ep == NULL)
            continue;
        if (how == SIM_RDMA_LEAVE)
            rsim_tell_left(ep, false);
        else if (how == (side == 0 ? SIM_RDMA_CLIENT_ERROR : SIM_RDMA_SERVER_ERROR))
            rsim_error(ep, true);
        rsim_watch_retry(ep);
    }
}

int
sim_rdma_cut(struct sim *sim, const struct sock_addr *server, enum sim_rdma_cut how)
{
    int n = 0;

    LIST_FOREACH (p, &sim->rdma->conns) {
        struct rsim_conn *c = container_of(p, struct rsim_conn, node);

        if (!is_up(c) || (server != NULL && !rsim_same_addr(&c->server, server, false)))
            continue;
        rsim_sever(c, how);
        n++;
    }
    return n;
}

/* The n-th of those that are up, counted round; NULL: none is. */
static struct rsim_conn *
nth_up(struct sim *sim, unsigned n)
{
    unsigned up = sim_rdma_links(sim, NULL);

    n = up > 0 ? n % up : 0;
    LIST_FOREACH (p, &sim->rdma->conns) {
        struct rsim_conn *c = container_of(p, struct rsim_conn, node);

        if (is_up(c) && n-- == 0)
            return c;
    }
    return NULL;
}

void
sim_rdma_cut_one(struct sim *sim, unsigned n, enum sim_rdma_cut how)
{
    struct rsim_conn *c = nth_up(sim, n);

    if (c != NULL)
        rsim_sever(c, how);
}

void
sim_rdma_cut_after(struct sim *sim, const struct sock_addr *server, enum sim_rdma_cut how,
                   uint64_t to_server, uint64_t to_client)
{
    struct rsim_rule *u = rule_for(sim->rdma, server);

    u->cut_next = true;
    u->how = how;
    u->cut_left[SIM_RDMA_TO_SERVER] = to_server;
    u->cut_left[SIM_RDMA_TO_CLIENT] = to_client;
    LIST_FOREACH (p, &sim->rdma->conns) {
        struct rsim_conn *c = container_of(p, struct rsim_conn, node);

        if (is_up(c) && rule_fits(u, c))
            set_cuts(c, u);
    }
}

/* Stalls, holds and delays. */

static void
conn_stall(struct rsim_conn *c, bool on)
{
    if (c->stalled == on)
        return;
    c->stalled = on;
    if (!on)
        rsim_request_again(c);
    rsim_conn_heal(c);
}

void
sim_rdma_stall(struct sim *sim, const struct sock_addr *server, bool on)
{
    struct rsim_rule *u = rule_for(sim->rdma, server);

    u->stall = on;
    LIST_FOREACH (p, &sim->rdma->conns) {
        struct rsim_conn *c = container_of(p, struct rsim_conn, node);

        if (rule_fits(u, c))
            conn_stall(c, on);
    }
}

void
sim_rdma_stall_one(struct sim *sim, unsigned n)
{
    struct rsim_conn *c = nth_up(sim, n);

    if (c != NULL)
        conn_stall(c, true);
}

void
sim_rdma_hold(struct sim *sim, uint32_t conn, enum sim_rdma_way way, bool on)
{
    if (conn == 0)
        sim->rdma->held[way] = on;
    LIST_FOREACH (p, &sim->rdma->conns) {
        struct rsim_conn *c = container_of(p, struct rsim_conn, node);

        if (conn != 0 && c->id != conn)
            continue;
        if (conn != 0 || !on)
            c->way[way].held = on;
        if (!on)
            rsim_kick(&c->way[way]);
    }
}

void
sim_rdma_late(struct sim *sim, const struct sock_addr *server, enum sim_rdma_way way, uint64_t ns)
{
    struct rsim_rule *u = rule_for(sim->rdma, server);

    LIST_FOREACH (p, &sim->rdma->conns) {
        struct rsim_conn *c = container_of(p, struct rsim_conn, node);

        if (rule_fits(u, c))
            c->way[way].late_ns += ns - u->late_ns[way];
    }
    u->late_ns[way] = ns;
}

/* Reading along. */

void
sim_rdma_tap(struct sim *sim,
             enum sim_rdma_verdict (*fn)(void *user, const struct sim_rdma_message *m), void *user)
{
    sim->rdma->tap = fn;
    sim->rdma->tap_user = user;
}

enum sim_rdma_verdict
rsim_show(struct rsim_way *w, enum sim_rdma_stage stage, const struct rnic_wr *wr, uint32_t number,
          uint8_t *bytes, uint32_t len)
{
    struct rsim *r = w->conn->r;
    struct sim_rdma_message m = {.stage = stage,
                                 .conn = w->conn->id,
                                 .server = &w->conn->server,
                                 .way = w->way,
                                 .number = number,
                                 .bytes = bytes,
                                 .len = len};

    if (r->tap == NULL)
        return SIM_RDMA_PASS;
    if (wr != NULL && wr->op == RNIC_SEND) {
        m.kind = SIM_RDMA_A_SEND;
        m.invalidate = wr->invalidate;
    } else if (wr != NULL) {
        m.kind = wr->op == RNIC_WRITE ? SIM_RDMA_A_WRITE : SIM_RDMA_A_READ;
        m.remote_addr = wr->remote_addr;
        m.rkey = wr->rkey;
    }
    return r->tap(r->tap_user, &m);
}

const struct sim_rdma_stats *
sim_rdma_stats(const struct sim *sim)
{
    return &sim->rdma->stats;
}

unsigned
sim_rdma_links(const struct sim *sim, const struct sock_addr *server)
{
    unsigned n = 0;

    LIST_FOREACH (p, &sim->rdma->conns) {
        const struct rsim_conn *c = container_of(p, struct rsim_conn, node);

        n += is_up(c) && (server == NULL || rsim_same_addr(&c->server, server, false));
    }
    return n;
}

static bool
has_left(const struct rsim_ep *ep)
{
    return ep == NULL || ep->dead || ep->disconnected;
}

unsigned
sim_rdma_orphans(const struct sim *sim)
{
    unsigned n = 0;

    LIST_FOREACH (p, &sim->rdma->conns) {
        const struct rsim_conn *c = container_of(p, struct rsim_conn, node);

        n += has_left(c->ep[0]) && !has_left(c->ep[1]);
    }
    return n;
}

void
rsim_faults_free(struct rsim *r)
{
    struct list *n;

    while ((n = list_pop_front(&r->rules)) != NULL)
        steady_free(container_of(n, struct rsim_rule, node));
}
