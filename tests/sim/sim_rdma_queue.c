/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_rdma_queue.c - requests of simulated queue pairs at their own end: posting,
 * launching, completing, flushing.
 *
 * A request of the send queue is launched in its turn.  Binds and invalidations are done then; the
 * others fly to the other end (sim_rdma_xfer.c) and come back.  They are completed in the order of
 * their posting, whatever order they came back in.
 */
#include <assert.h>
#include <string.h>

#include "tests/sim/sim_rdma_priv.h"
#include "tests/support/steady_alloc.h"

static void ep_drain(struct rsim_ep *ep);

/* What comes of requests. */

static void
req_free(struct rsim_req *req)
{
    sim_event_del(req->ep->m->r->sim, &req->back);
    list_del(&req->node);
    steady_free(req->data);
    steady_free(req);
}

void
rsim_complete(struct rsim_req *req)
{
    struct rsim_ep *ep = req->ep;

    req->done = true;
    sim_event_del(ep->m->r->sim, &req->back);
    if (ep->next_launch == req)
        ep->next_launch =
            req->node.next != &ep->sq ? container_of(req->node.next, struct rsim_req, node) : NULL;
    list_del(&req->node);
    ep->m->r->stats.flushed += req->wc.status == RNIC_FLUSHED;
    if (req->wr.quiet && req->wc.status == RNIC_OK && !req->wc.recv) {
        list_push_back(&ep->quiet, &req->node);
        return;
    }
    list_push_back(&ep->cq, &req->node);
    rsim_wake(ep);
}

/* A request of the send queue has its result; it is completed when those before it are. */
static void
finish(struct rsim_req *req, enum rnic_status status)
{
    req->done = true;
    req->wc.status = status;
    ep_drain(req->ep);
}

static void
ep_drain(struct rsim_ep *ep)
{
    while (!list_empty(&ep->sq) && !ep->error) {
        struct rsim_req *req = container_of(ep->sq.next, struct rsim_req, node);
        enum rnic_status status = req->wc.status;

        if (!req->done)
            break;
        rsim_complete(req);
        if (status != RNIC_OK)
            rsim_error(ep, true);
    }
    if (!ep->error)
        rsim_watch_retry(ep);
}

unsigned
rsim_take(struct rsim_ep *ep, struct rnic_wc *wc, unsigned max)
{
    unsigned n = 0;

    while (n < max && !list_empty(&ep->cq)) {
        struct rsim_req *req = container_of(ep->cq.next, struct rsim_req, node);

        wc[n++] = req->wc;
        if (req->wc.recv)
            ep->rq_used--;
        else
            ep->sq_used--;
        while (!req->wc.recv && !list_empty(&ep->quiet)) {
            struct rsim_req *held = container_of(ep->quiet.next, struct rsim_req, node);

            if (held->seq > req->seq)
                break;
            ep->sq_used--;
            req_free(held);
        }
        req_free(req);
    }
    return n;
}

/* Who gets no answer. */

static bool
cannot_answer(const struct rsim_ep *ep)
{
    const struct rsim_conn *c = ep->conn;
    const struct rsim_ep *peer = c->ep[1 - ep->side];

    if (c->severed || c->stalled)
        return true;
    return !c->stuck && (peer == NULL || peer->dead || peer->error);
}

static struct rsim_req *
unanswered(struct rsim_ep *ep)
{
    LIST_FOREACH (n, &ep->sq) {
        struct rsim_req *req = container_of(n, struct rsim_req, node);

        if (req->launched && !req->done)
            return req;
    }
    return NULL;
}

void
rsim_watch_retry(struct rsim_ep *ep)
{
    struct rsim *r = ep->m->r;
    bool waits =
        !ep->error && !ep->closed && !ep->dead && unanswered(ep) != NULL && cannot_answer(ep);

    if (!waits)
        sim_event_del(r->sim, &ep->retry);
    else if (!ep->retry.node.queued)
        sim_event_at(r->sim, &ep->retry,
                     r->sim->now_ns + r->cfg.retry_ms * LOOP_NS_PER_MS +
                         sim_below(r->sim, r->cfg.retry_ms * LOOP_NS_PER_MS / 2 + 1));
}

static void
retry_due(struct sim_event *e)
{
    struct rsim_ep *ep = container_of(e, struct rsim_ep, retry);
    struct rsim_req *req = unanswered(ep);

    if (req == NULL || !cannot_answer(ep))
        return;
    ep->broken = true;
    finish(req, RNIC_NO_ANSWER);
}

/* On the way back. */

void
rsim_come_back(struct rsim_req *req, enum rnic_status status)
{
    struct rsim_ep *ep = req->ep;
    struct sim *sim = ep->m->r->sim;

    req->x = NULL;
    req->wc.status = status;
    if (status != RNIC_OK)
        ep->broken = true;
    sim_event_at(sim, &req->back, sim->now_ns + sim_delay_ns(sim) + rsim_way_to(ep)->late_ns);
}

static void
back_due(struct sim_event *e)
{
    struct rsim_req *req = container_of(e, struct rsim_req, back);
    struct rsim_ep *ep = req->ep;
    struct rsim *r = ep->m->r;
    uint32_t n;

    if (ep->conn->severed)
        return;
    if (ep->conn->stalled) {
        req->missed = true;
        return;
    }
    if (req->wc.status != RNIC_OK || req->wr.op != RNIC_READ) {
        finish(req, req->wc.status);
        return;
    }
    if (req->pieces == 0)
        req->pieces = rsim_pieces(r, req->len);
    n = rsim_piece(r, req->len - req->moved, req->pieces);
    if (!rsim_scatter(ep, &req->wr, req->moved, n, req->data + req->moved)) {
        r->stats.late_writes += req->was_valid;
        ep->broken = true;
        finish(req, RNIC_LOCAL_ERROR);
        return;
    }
    req->moved += n;
    if (req->moved == req->len) {
        finish(req, RNIC_OK);
        return;
    }
    req->pieces -= req->pieces > 1;
    sim_event_at(r->sim, e, r->sim->now_ns + rsim_moment(r, r->cfg.gap_max_us));
}

/* Launching. */

static void
launch_one(struct rsim_ep *ep, struct rsim_req *req)
{
    struct rsim *r = ep->m->r;
    bool ok = true;

    req->launched = true;
    if (req->wr.op == RNIC_BIND)
        ok = rsim_bind(req);
    else if (req->wr.op == RNIC_INVALIDATE)
        ok = rsim_invalidate(ep, req->wr.invalidate);
    else
        ok = rsim_sges_valid(ep, &req->wr);
    if (!ok) {
        ep->broken = true;
        finish(req, RNIC_LOCAL_ERROR);
        return;
    }
    if (req->wr.op == RNIC_BIND || req->wr.op == RNIC_INVALIDATE) {
        r->stats.invalidations += req->wr.op == RNIC_INVALIDATE;
        finish(req, RNIC_OK);
        return;
    }
    rsim_fly(req);
    if (req->wr.op != RNIC_SEND || ep->conn->severed)
        return;
    if (sim_chance_ppm(r->sim, r->sim->cfg.reset_ppm))
        rsim_sever(ep->conn, SIM_RDMA_LEAVE);
    else if (sim_chance_ppm(r->sim, r->sim->cfg.eof_ppm))
        rsim_sever(ep->conn, SIM_RDMA_SILENT);
}

static void
schedule_launch(struct rsim_ep *ep)
{
    struct sim *sim = ep->m->r->sim;

    if (ep->next_launch != NULL && !ep->broken && !ep->error && !ep->launch.node.queued)
        sim_event_at(sim, &ep->launch, sim->now_ns + 1 + sim_below(sim, 1000));
}

/* As many as the seed likes, so that what was posted together does not always leave together. */
static void
launch_due(struct sim_event *e)
{
    struct rsim_ep *ep = container_of(e, struct rsim_ep, launch);

    while (ep->next_launch != NULL && !ep->broken && !ep->error) {
        struct rsim_req *req = ep->next_launch;

        ep->next_launch =
            req->node.next != &ep->sq ? container_of(req->node.next, struct rsim_req, node) : NULL;
        launch_one(ep, req);
        if (sim_below(ep->m->r->sim, 4) == 0)
            break;
    }
    schedule_launch(ep);
}

/* Posting. */

static struct rsim_req *
req_new(struct rsim_ep *ep, bool recv)
{
    struct rsim_req *req = steady_calloc(1, sizeof(*req));

    req->ep = ep;
    req->seq = ep->next_seq++;
    req->wc.recv = recv;
    req->back.fn = back_due;
    return req;
}

static void
req_post(struct rsim_req *req, struct list *to)
{
    req->wc.id = req->wr.id;
    for (unsigned i = 0; i < req->wr.nsge; i++)
        req->len += req->wr.sge[i].len;
    req->was_valid = rsim_sges_valid(req->ep, &req->wr);
    list_push_back(to, &req->node);
}

static void
post_one(struct rsim_ep *ep, const struct rnic_wr *wr)
{
    struct rsim_req *req = req_new(ep, false);
    bool local = wr->op == RNIC_BIND || wr->op == RNIC_INVALIDATE;
    struct rsim_way *w = rsim_way_from(ep);

    assert(local || (wr->nsge >= 1 && wr->nsge <= RNIC_SGE_MAX));
    req->wr = *wr;
    if (local)
        req->wr.nsge = 0;
    if (wr->op == RNIC_BIND) {
        struct rsim_mw *mw = container_of(wr->bind.mw, struct rsim_mw, pub);

        mw->pub.rkey = rnic_next_rkey(&mw->pub);
        mw->binds++;
        req->key = mw->pub.rkey;
    }
    req_post(req, &ep->sq);
    if (ep->next_launch == NULL)
        ep->next_launch = req;
    if (!local && ep->m->r->tap != NULL) {
        uint8_t *shown = rsim_copy_of(ep, &req->wr, req->len, NULL);

        (void)rsim_show(w, SIM_RDMA_POSTED, &req->wr, w->posted + 1, shown, req->len);
        steady_free(shown);
    }
    w->posted += !local;
}

int
rsim_post_send(struct rnic_ep *pub, const struct rnic_wr *wr, unsigned n)
{
    struct rsim_ep *ep = rsim_ep_of(pub);
    struct rsim *r = ep->m->r;

    if (ep->dead)
        return 0;
    if (ep->conn == NULL || (!ep->told_up && !ep->told_end && !ep->disconnected)) {
        rsim_wrong(r, "rnic_post_send before the connection was established");
        return -ENOTCONN;
    }
    if (n > ep->depth.send - ep->sq_used) {
        r->stats.again++;
        return -EAGAIN;
    }
    for (unsigned i = 0; i < n; i++)
        post_one(ep, &wr[i]);
    ep->sq_used += n;
    schedule_launch(ep);
    if (ep->flushes)
        rsim_flush(ep);
    return 0;
}

int
rsim_post_recv(struct rnic_ep *pub, const struct rnic_recv *recv, unsigned n)
{
    struct rsim_ep *ep = rsim_ep_of(pub);

    if (ep->dead)
        return 0;
    if (ep->state == RSIM_LISTENING || ep->state == RSIM_RESOLVING) {
        rsim_wrong(ep->m->r, "rnic_post_recv on an endpoint that is not resolved");
        return -ENOTCONN;
    }
    if (n > ep->depth.recv - ep->rq_used) {
        ep->m->r->stats.again++;
        return -EAGAIN;
    }
    for (unsigned i = 0; i < n; i++) {
        struct rsim_req *req = req_new(ep, true);

        req->wr.id = recv[i].id;
        req->wr.nsge = 1;
        req->wr.sge[0] = recv[i].sge;
        req_post(req, &ep->rq);
    }
    ep->rq_used += n;
    if (ep->flushes)
        rsim_flush(ep);
    else if (rsim_way_to(ep)->waits && n > 0) { /* the peer tries again after its own time */
        struct rsim_way *w = rsim_way_to(ep);
        struct sim *sim = ep->m->r->sim;

        w->waits = false;
        if (!w->due.node.queued)
            sim_event_at(sim, &w->due,
                         sim->now_ns + sim_delay_ns(sim) + sim_below(sim, 5 * LOOP_NS_PER_MS));
    }
    return 0;
}

/* Ends. */

static void
stop_moving(struct rsim_ep *ep)
{
    struct sim *sim = ep->m->r->sim;
    struct rsim_ep *peer = rsim_peer(ep);

    sim_event_del(sim, &ep->launch);
    sim_event_del(sim, &ep->retry);
    sim_event_del(sim, &ep->stop);
    rsim_forget_flying(ep);
    rsim_drop_coming(ep);
    LIST_FOREACH (n, &ep->sq)
        sim_event_del(sim, &container_of(n, struct rsim_req, node)->back);
    if (peer != NULL)
        rsim_watch_retry(peer);
}

void
rsim_error(struct rsim_ep *ep, bool flushes)
{
    if (ep->error || ep->closed || ep->dead)
        return;
    ep->error = true;
    stop_moving(ep);
    sim_note(ep->m->r->sim, NOTE_RDMA, ep->id, 1);
    if (ep->disconnected || (flushes && sim_below(ep->m->r->sim, 4) != 0))
        rsim_flush(ep);
}

void
rsim_flush(struct rsim_ep *ep)
{
    struct rsim *r = ep->m->r;

    ep->flushes = true;
    if (!ep->flush.node.queued && (!list_empty(&ep->sq) || !list_empty(&ep->rq)))
        sim_event_at(r->sim, &ep->flush, r->sim->now_ns + rsim_moment(r, r->cfg.flush_max_us));
}

/* One after the other: each queue in its order, and the two mixed as the seed likes. */
static void
flush_due(struct sim_event *e)
{
    struct rsim_ep *ep = container_of(e, struct rsim_ep, flush);
    struct list *q = sim_below(ep->m->r->sim, 2) == 0 ? &ep->sq : &ep->rq;
    struct rsim_req *req;

    if (list_empty(q))
        q = q == &ep->sq ? &ep->rq : &ep->sq;
    if (list_empty(q))
        return;
    req = container_of(q->next, struct rsim_req, node);
    req->wc.status = RNIC_FLUSHED;
    req->wc.len = 0;
    rsim_complete(req);
    rsim_flush(ep);
}

static void
stop_due(struct sim_event *e)
{
    struct rsim_ep *ep = container_of(e, struct rsim_ep, stop);

    rsim_error(ep, true);
}

void
rsim_detach(struct rsim_ep *ep)
{
    struct list *all[] = {&ep->sq, &ep->rq, &ep->cq, &ep->quiet};
    struct list *n;

    ep->error = true;
    stop_moving(ep);
    sim_event_del(ep->m->r->sim, &ep->flush);
    ep->next_launch = NULL;
    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        while ((n = list_pop_front(all[i])) != NULL)
            req_free(container_of(n, struct rsim_req, node));
    }
    ep->sq_used = ep->rq_used = 0;
}

void
rsim_queues_init(struct rsim_ep *ep)
{
    list_init(&ep->sq);
    list_init(&ep->rq);
    list_init(&ep->cq);
    list_init(&ep->quiet);
    ep->launch.fn = launch_due;
    ep->retry.fn = retry_due;
    ep->stop.fn = stop_due;
    ep->flush.fn = flush_due;
}

/* The network is there again. */
void
rsim_conn_heal(struct rsim_conn *c)
{
    struct sim *sim = c->r->sim;

    for (int side = 0; side < 2; side++) {
        struct rsim_ep *ep = c->ep[side];

        rsim_kick(&c->way[side]);
        if (ep == NULL)
            continue;
        LIST_FOREACH (n, &ep->sq) {
            struct rsim_req *req = container_of(n, struct rsim_req, node);

            if (req->missed)
                sim_event_at(sim, &req->back, sim->now_ns + sim_delay_ns(sim));
            req->missed = false;
        }
        rsim_watch_retry(ep);
    }
}
