/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_rdma_mem.c - regions, windows and keys of simulated devices, and who may still
 * touch a byte.
 *
 * Memory is the program's own: an address that a peer names is an address here.  So every access
 * is looked up in what its endpoint has registered, and never made where it is not.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim_rdma_priv.h"
#include "tests/support/steady_alloc.h"

#define PAGE 4096u

/* Judging. */

void
rsim_wrong(struct rsim *r, const char *fmt, ...)
{
    char what[200];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    if (r->judge != NULL) {
        r->judge(r->judge_user, what);
        return;
    }
    fprintf(stderr, "the owner of an RDMA endpoint breaks seam/rdma.h: %s\n", what);
    abort();
}

void
sim_rdma_judge(struct sim *sim, void (*fn)(void *user, const char *what), void *user)
{
    sim->rdma->judge = fn;
    sim->rdma->judge_user = user;
}

/* Keys. */

/* Another one each time, so that no key of one endpoint is one of another; what its low byte is
 * does not matter, as long as binds count from it. */
static uint32_t
new_key(struct rsim *r)
{
    return ++r->next_key << 8 | (uint32_t)sim_below(r->sim, 256);
}

static struct rsim_mr *
find_lkey(const struct rsim_ep *ep, uint32_t lkey)
{
    LIST_FOREACH (n, &ep->mrs) {
        struct rsim_mr *mr = container_of(n, struct rsim_mr, node);

        if (mr->pub.lkey == lkey)
            return mr;
    }
    return NULL;
}

/* Is [addr, addr + len) in [base, base + size)?  No sum is made that could wrap. */
static bool
inside(uint64_t addr, uint64_t len, uint64_t base, uint64_t size)
{
    return addr >= base && addr - base <= size && len <= size - (addr - base);
}

static uint64_t
address(const void *p)
{
    return (uint64_t)(uintptr_t)p;
}

static bool
overlap(const void *a, uint64_t alen, const void *b, uint64_t blen)
{
    return alen > 0 && blen > 0 && address(a) < address(b) + blen && address(b) < address(a) + alen;
}

/* Regions. */

static uint64_t
pages_of(const void *addr, size_t len)
{
    uint64_t from = address(addr) / PAGE, to = (address(addr) + len + PAGE - 1) / PAGE;

    return (to - from) * PAGE;
}

int
rsim_reg(struct rnic_ep *pub, void *addr, size_t len, unsigned access, struct rnic_mr **ret,
         struct lunette_error *err)
{
    struct rsim_ep *ep = rsim_ep_of(pub);
    struct rsim_machine *m = ep->m;
    const struct sim_rdma_config *cfg = &m->r->cfg;
    uint64_t pages = pages_of(addr, len);
    struct rsim_mr *mr;

    if (ep->state == RSIM_LISTENING || ep->state == RSIM_RESOLVING)
        rsim_wrong(m->r, "rnic_reg on an endpoint that is not resolved");
    if (len == 0)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "no memory to register");
    if (cfg->memlock > 0 && m->locked + pages > cfg->memlock)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM,
                            "registering %llu bytes of memory beside %llu needs more than the "
                            "limit of locked memory, %llu bytes (RLIMIT_MEMLOCK, ulimit -l)",
                            (unsigned long long)len, (unsigned long long)m->locked,
                            (unsigned long long)cfg->memlock);
    if (len > cfg->max_region || m->regions >= cfg->max_regions)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM,
                            "the device has no room to register %llu bytes of memory",
                            (unsigned long long)len);
    mr = steady_calloc(1, sizeof(*mr));
    mr->pub.lkey = new_key(m->r);
    mr->pub.rkey = new_key(m->r);
    mr->ep = ep;
    mr->addr = addr;
    mr->len = len;
    mr->pages = pages;
    mr->access = access;
    list_push_back(&ep->mrs, &mr->node);
    m->locked += pages;
    m->regions++;
    m->r->stats.regions++;
    m->r->stats.region_bytes += len;
    *ret = &mr->pub;
    return 0;
}

static void
mr_free(struct rsim_mr *mr)
{
    struct rsim_machine *m = mr->ep->m;

    m->locked -= mr->pages;
    m->regions--;
    m->r->stats.regions--;
    m->r->stats.region_bytes -= mr->len;
    list_del(&mr->node);
    steady_free(mr);
}

/* Does a request name the region? */
static bool
names_mr(const struct rsim_req *req, const struct rsim_mr *mr)
{
    for (unsigned i = 0; i < req->wr.nsge; i++) {
        if (req->wr.sge[i].lkey == mr->pub.lkey)
            return true;
    }
    return req->wr.op == RNIC_BIND && !req->done && req->wr.bind.mr == &mr->pub;
}

static const struct rsim_req *
user_of(const struct rsim_ep *ep, const struct rsim_mr *mr)
{
    const struct list *all[] = {&ep->sq, &ep->rq};

    for (unsigned i = 0; i < 2; i++) {
        LIST_FOREACH (n, all[i]) {
            const struct rsim_req *req = container_of(n, struct rsim_req, node);

            if (names_mr(req, mr))
                return req;
        }
    }
    return NULL;
}

void
rsim_dereg(struct rnic_ep *pub, struct rnic_mr *pub_mr)
{
    struct rsim_ep *ep = rsim_ep_of(pub);
    struct rsim_mr *mr = container_of(pub_mr, struct rsim_mr, pub);
    const struct rsim_req *req = user_of(ep, mr);

    assert(mr->ep == ep);
    if (req != NULL)
        rsim_wrong(ep->m->r, "rnic_dereg of memory that posted request %llu (%s) uses",
                   (unsigned long long)req->wr.id,
                   req->wc.recv ? "a receive" : "of the send queue");
    LIST_FOREACH (n, &ep->mws) {
        struct rsim_mw *mw = container_of(n, struct rsim_mw, node);

        if (mw->bound && mw->mr == mr) {
            rsim_wrong(ep->m->r, "rnic_dereg of memory that window %08x is bound to", mw->key);
            mw->bound = false;
        }
    }
    mr_free(mr);
}

/* Windows. */

int
rsim_mw_new(struct rnic_ep *pub, struct rnic_mw **ret, struct lunette_error *err)
{
    struct rsim_ep *ep = rsim_ep_of(pub);
    struct rsim_machine *m = ep->m;
    struct rsim_mw *mw;

    if (ep->state == RSIM_LISTENING || ep->state == RSIM_RESOLVING)
        rsim_wrong(m->r, "rnic_mw_new on an endpoint that is not resolved");
    if (m->r->cfg.no_windows)
        return lunette_fail(err, -EOPNOTSUPP, LUNETTE_DOM_OS, EOPNOTSUPP,
                            "the device has no memory windows of type 2");
    if (m->windows >= m->r->cfg.max_windows)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM,
                            "the device has no more than %u memory windows", m->windows);
    mw = steady_calloc(1, sizeof(*mw));
    mw->pub.rkey = new_key(m->r);
    list_push_back(&ep->mws, &mw->node);
    m->windows++;
    m->r->stats.windows++;
    *ret = &mw->pub;
    return 0;
}

static void
mw_free(struct rsim_ep *ep, struct rsim_mw *mw)
{
    ep->m->windows--;
    ep->m->r->stats.windows--;
    list_del(&mw->node);
    steady_free(mw);
}

void
rsim_mw_free(struct rnic_ep *pub, struct rnic_mw *pub_mw)
{
    struct rsim_ep *ep = rsim_ep_of(pub);
    struct rsim_mw *mw = container_of(pub_mw, struct rsim_mw, pub);

    if ((mw->bound || mw->binds > 0) && !ep->error && !ep->dead && !ep->disconnected &&
        !ep->told_end)
        rsim_wrong(ep->m->r,
                   "rnic_mw_free of window %08x, which is bound, on a connection that is up",
                   mw->pub.rkey);
    LIST_FOREACH (n, &ep->sq) {
        struct rsim_req *req = container_of(n, struct rsim_req, node);

        if (req->wr.op == RNIC_BIND && req->wr.bind.mw == &mw->pub)
            req->wr.bind.mw = NULL;
    }
    mw_free(ep, mw);
}

void
rsim_mem_free(struct rsim_ep *ep)
{
    struct list *n;

    while ((n = list_pop_front(&ep->mws)) != NULL)
        mw_free(ep, container_of(n, struct rsim_mw, node));
    while ((n = list_pop_front(&ep->mrs)) != NULL)
        mr_free(container_of(n, struct rsim_mr, node));
}

/* In its turn on the send queue. */
bool
rsim_bind(struct rsim_req *req)
{
    struct rsim_ep *ep = req->ep;
    const struct rsim_mr *found = NULL;
    struct rsim_mw *mw;

    if (req->wr.bind.mw == NULL)
        return false;
    mw = container_of(req->wr.bind.mw, struct rsim_mw, pub);
    mw->binds--;
    LIST_FOREACH (n, &ep->mrs) {
        const struct rsim_mr *mr = container_of(n, struct rsim_mr, node);

        if (&mr->pub == req->wr.bind.mr)
            found = mr;
    }
    if (found == NULL || mw->bound || (found->access & RNIC_WINDOWS) == 0 ||
        req->wr.bind.len == 0 ||
        !inside(address(req->wr.bind.addr), req->wr.bind.len, address(found->addr), found->len))
        return false;
    mw->bound = true;
    mw->key = req->key;
    mw->mr = found;
    mw->addr = req->wr.bind.addr;
    mw->len = req->wr.bind.len;
    mw->access = req->wr.bind.access;
    ep->m->r->stats.binds++;
    return true;
}

static struct rsim_mw *
find_bound(const struct rsim_ep *ep, uint32_t rkey)
{
    LIST_FOREACH (n, &ep->mws) {
        struct rsim_mw *mw = container_of(n, struct rsim_mw, node);

        if (mw->bound && mw->key == rkey)
            return mw;
    }
    return NULL;
}

bool
rsim_invalidate(struct rsim_ep *ep, uint32_t rkey)
{
    struct rsim_mw *mw = find_bound(ep, rkey);

    if (mw == NULL)
        return false;
    mw->bound = false;
    return true;
}

/* Access. */

uint8_t *
rsim_open(const struct rsim_ep *ep, uint32_t rkey, uint64_t addr, uint64_t len, unsigned access)
{
    const struct rsim_mw *mw = find_bound(ep, rkey);

    if (mw != NULL)
        return (mw->access & access) == access && inside(addr, len, address(mw->addr), mw->len)
                   ? mw->addr + (addr - address(mw->addr))
                   : NULL;
    LIST_FOREACH (n, &ep->mrs) {
        const struct rsim_mr *mr = container_of(n, struct rsim_mr, node);

        if (mr->pub.rkey == rkey && (mr->access & access) == access &&
            inside(addr, len, address(mr->addr), mr->len))
            return mr->addr + (addr - address(mr->addr));
    }
    return NULL;
}

static bool
sge_valid(const struct rsim_ep *ep, const struct rnic_sge *sge)
{
    const struct rsim_mr *mr = find_lkey(ep, sge->lkey);

    return mr != NULL && inside(address(sge->addr), sge->len, address(mr->addr), mr->len);
}

bool
rsim_sges_valid(const struct rsim_ep *ep, const struct rnic_wr *wr)
{
    for (unsigned i = 0; i < wr->nsge; i++) {
        if (!sge_valid(ep, &wr->sge[i]))
            return false;
    }
    return true;
}

/* Copies bytes off.. of the pieces to or from buf. */
static bool
copy(const struct rsim_ep *ep, const struct rnic_wr *wr, uint32_t off, uint32_t n, uint8_t *to,
     const uint8_t *from)
{
    for (unsigned i = 0; i < wr->nsge && n > 0; i++) {
        const struct rnic_sge *sge = &wr->sge[i];
        uint32_t some;

        if (off >= sge->len) {
            off -= sge->len;
            continue;
        }
        if (!sge_valid(ep, sge))
            return false;
        some = sge->len - off < n ? sge->len - off : n;
        if (to != NULL) {
            memcpy(to, (const uint8_t *)sge->addr + off, some);
            to += some;
        } else {
            memcpy((uint8_t *)sge->addr + off, from, some);
            from += some;
        }
        off = 0;
        n -= some;
    }
    return n == 0;
}

bool
rsim_gather(const struct rsim_ep *ep, const struct rnic_wr *wr, uint32_t off, uint32_t n,
            uint8_t *to)
{
    return copy(ep, wr, off, n, to, NULL);
}

bool
rsim_scatter(const struct rsim_ep *ep, const struct rnic_wr *wr, uint32_t off, uint32_t n,
             const uint8_t *from)
{
    return copy(ep, wr, off, n, NULL, from);
}

/* Who may still touch it. */

static unsigned
use_of(const struct rsim_req *req)
{
    if (req->wc.recv)
        return SIM_RDMA_RECEIVES;
    return req->wr.op == RNIC_READ ? SIM_RDMA_READS_IN : SIM_RDMA_SENDS;
}

static unsigned
uses_posted(const struct list *reqs, const void *addr, size_t len)
{
    unsigned uses = 0;

    LIST_FOREACH (n, reqs) {
        const struct rsim_req *req = container_of(n, struct rsim_req, node);

        for (unsigned i = 0; i < req->wr.nsge; i++) {
            if (overlap(req->wr.sge[i].addr, req->wr.sge[i].len, addr, len))
                uses |= use_of(req);
        }
        if (req->wr.op == RNIC_BIND && !req->wc.recv && !req->done &&
            overlap(req->wr.bind.addr, req->wr.bind.len, addr, len))
            uses |= SIM_RDMA_WINDOW;
    }
    return uses;
}

/* What a request of the peer's may do here: the key that it has must be open. */
static unsigned
use_by_peer(const struct rsim_ep *ep, const struct rnic_wr *wr, uint32_t wr_len, const void *addr,
            size_t len)
{
    unsigned access = wr->op == RNIC_WRITE ? RNIC_PEER_WRITES : RNIC_PEER_READS;
    const uint8_t *at;

    if (wr->op != RNIC_WRITE && wr->op != RNIC_READ)
        return 0;
    at = rsim_open(ep, wr->rkey, wr->remote_addr, wr_len, access);
    if (at == NULL || !overlap(at, wr_len, addr, len))
        return 0;
    return wr->op == RNIC_WRITE ? SIM_RDMA_PEER_WRITES : SIM_RDMA_PEER_READS;
}

static unsigned
uses_by_peer(const struct rsim_ep *ep, const void *addr, size_t len)
{
    const struct rsim_ep *peer = rsim_peer(ep);
    unsigned uses = 0;

    if (ep->conn == NULL || ep->error)
        return 0;
    LIST_FOREACH (n, &rsim_way_to(ep)->flying) {
        const struct rsim_xfer *x = container_of(n, struct rsim_xfer, node);

        uses |= use_by_peer(ep, &x->wr, x->len, addr, len);
    }
    if (peer == NULL)
        return uses;
    LIST_FOREACH (n, &peer->sq) {
        const struct rsim_req *req = container_of(n, struct rsim_req, node);

        if (!req->launched)
            uses |= use_by_peer(ep, &req->wr, req->len, addr, len);
    }
    return uses;
}

static unsigned
uses_of_ep(const struct rsim_ep *ep, const void *addr, size_t len)
{
    const struct list *all[] = {&ep->sq, &ep->rq, &ep->cq, &ep->quiet};
    unsigned uses = uses_by_peer(ep, addr, len);

    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        uses |= uses_posted(all[i], addr, len);
    LIST_FOREACH (n, &ep->mws) {
        const struct rsim_mw *mw = container_of(n, struct rsim_mw, node);

        if (mw->bound && overlap(mw->addr, mw->len, addr, len))
            uses |= SIM_RDMA_WINDOW;
    }
    LIST_FOREACH (n, &ep->mrs) {
        const struct rsim_mr *mr = container_of(n, struct rsim_mr, node);

        if ((mr->access & (RNIC_PEER_WRITES | RNIC_PEER_READS)) != 0 &&
            overlap(mr->addr, mr->len, addr, len))
            uses |= SIM_RDMA_REGION;
    }
    return uses;
}

unsigned
sim_rdma_owns(const struct sim *sim, const void *addr, size_t len)
{
    unsigned uses = 0;

    if (sim->rdma == NULL)
        return 0;
    LIST_FOREACH (n, &sim->rdma->eps) {
        const struct rsim_ep *ep = container_of(n, struct rsim_ep, node);

        if (!ep->closed && !ep->dead)
            uses |= uses_of_ep(ep, addr, len);
    }
    return uses;
}

static bool
region_is_open(const struct rsim_ep *ep, uint32_t rkey)
{
    LIST_FOREACH (n, &ep->mrs) {
        const struct rsim_mr *mr = container_of(n, struct rsim_mr, node);

        if (mr->pub.rkey == rkey)
            return (mr->access & (RNIC_PEER_WRITES | RNIC_PEER_READS)) != 0;
    }
    return false;
}

bool
sim_rdma_key_is_open(const struct sim *sim, uint32_t conn, enum sim_rdma_way way, uint32_t rkey)
{
    LIST_FOREACH (n, &sim->rdma->conns) {
        const struct rsim_conn *c = container_of(n, struct rsim_conn, node);
        const struct rsim_ep *ep = c->ep[way == SIM_RDMA_TO_SERVER];

        if (c->id == conn && ep != NULL && !ep->dead)
            return find_bound(ep, rkey) != NULL || region_is_open(ep, rkey);
    }
    return false;
}
