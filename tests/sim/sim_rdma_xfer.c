/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_rdma_xfer.c - requests of simulated queue pairs at the other end: how they arrive,
 * take effect piece by piece, and fail.
 *
 * One request of a way takes effect at a time, in the order in which they left.  The memory of
 * either end is touched at the moment that a piece moves, and not before.
 */
#include <assert.h>
#include <string.h>

#include "tests/sim/sim_rdma_priv.h"
#include "tests/support/steady_alloc.h"

#define PIECES_MAX 4

enum step { STEP_WAITS, STEP_LATER, STEP_DONE };

uint64_t
rsim_moment(struct rsim *r, uint32_t max_us)
{
    return 1 + sim_below(r->sim, (uint64_t)max_us * 1000 + 1);
}

unsigned
rsim_pieces(struct rsim *r, uint32_t len)
{
    return len >= PIECES_MAX && sim_chance(r->sim, r->cfg.piece_percent)
               ? 2 + (unsigned)sim_below(r->sim, PIECES_MAX - 1)
               : 1;
}

/* How much of what is left moves now. */
uint32_t
rsim_piece(struct rsim *r, uint32_t left, unsigned pieces)
{
    return pieces <= 1 || left < 2 ? left : 1 + (uint32_t)sim_below(r->sim, left - 1);
}

/* At the other end. */

static struct rsim_ep *
target_of(const struct rsim_way *w)
{
    return w->conn->ep[w->way == SIM_RDMA_TO_SERVER ? 1 : 0];
}

static bool
way_open(const struct rsim_way *w)
{
    const struct rsim_conn *c = w->conn;
    const struct rsim_ep *to = target_of(w);

    return !c->severed && !c->stalled && !w->held && !c->r->held[w->way] && to != NULL &&
           !to->dead && !to->error && to->can_receive;
}

void
rsim_kick(struct rsim_way *w)
{
    struct sim *sim = w->conn->r->sim;
    const struct rsim_xfer *x;

    if (list_empty(&w->flying)) {
        sim_event_del(sim, &w->due);
        return;
    }
    x = container_of(w->flying.next, struct rsim_xfer, node);
    if (!w->due.node.queued)
        sim_event_at(sim, &w->due, x->at_ns);
}

static void
xfer_free(struct rsim_xfer *x)
{
    if (x->req != NULL)
        x->req->x = NULL;
    if (x->into != NULL)
        x->into->x = NULL;
    list_del(&x->node);
    steady_free(x->data);
    steady_free(x);
}

/* It will not take effect any more.  One whose reader is being asked about it ends behind that. */
static void
xfer_drop(struct rsim_xfer *x)
{
    if (!x->way->busy || x->way->flying.next != &x->node) {
        xfer_free(x);
        return;
    }
    if (x->req != NULL)
        x->req->x = NULL;
    x->req = NULL;
    x->dropped = true;
}

/* The bytes of a message or write from where they lie now. */
static bool
xfer_fetch(struct rsim_xfer *x)
{
    if (x->data != NULL || x->len == 0)
        return true;
    x->data = steady_calloc(1, x->len);
    if (x->req != NULL && rsim_gather(x->req->ep, &x->wr, 0, x->len, x->data))
        return true;
    steady_free(x->data);
    x->data = NULL;
    return false;
}

/* The requester hears of it, if it still listens. */
static void
xfer_end(struct rsim_xfer *x, enum rnic_status status)
{
    struct rsim_req *req = x->req;

    if (req != NULL) {
        if (x->wr.op == RNIC_READ && status == RNIC_OK) {
            req->data = x->data;
            x->data = NULL;
        }
        rsim_come_back(req, status);
    }
    xfer_free(x);
}

/* Takes over what the reader has made of a message.  What he has left as it was still lies in the
 * sender's memory, and is read when it moves. */
static void
xfer_change(struct rsim_xfer *x, const uint8_t *shown)
{
    uint8_t *now;

    if (x->data != NULL) {
        memcpy(x->data, shown, x->len);
        return;
    }
    now = steady_calloc(1, x->len);
    if (x->req == NULL || !rsim_gather(x->req->ep, &x->wr, 0, x->len, now) ||
        memcmp(now, shown, x->len) != 0) {
        memcpy(now, shown, x->len);
        x->data = now;
    } else {
        steady_free(now);
    }
}

/* A copy of a message, for whoever reads along. */
uint8_t *
rsim_copy_of(const struct rsim_ep *from, const struct rnic_wr *wr, uint32_t len,
             const uint8_t *data)
{
    uint8_t *p;

    if (wr->op != RNIC_SEND || len == 0)
        return NULL;
    p = steady_calloc(1, len);
    if (data != NULL)
        memcpy(p, data, len);
    else if (from == NULL || !rsim_gather(from, wr, 0, len, p))
        memset(p, 0, len);
    return p;
}

/* Asks whoever reads along.  False: it waits, or is gone. */
static bool
xfer_ask(struct rsim_xfer *x)
{
    struct rsim_way *w = x->way;
    uint8_t *shown;
    bool go_on;

    if (w->conn->r->tap == NULL)
        return true;
    shown = rsim_copy_of(x->req != NULL ? x->req->ep : NULL, &x->wr, x->len, x->data);
    w->busy = true;
    x->verdict = rsim_show(w, SIM_RDMA_ARRIVES, &x->wr, w->number + 1, shown, x->len);
    w->busy = false;
    if (x->verdict == SIM_RDMA_HOLD)
        w->held = true;
    go_on = !x->dropped && way_open(w);
    if (go_on && shown != NULL)
        xfer_change(x, shown);
    steady_free(shown);
    if (x->dropped)
        xfer_free(x);
    return go_on;
}

/* A receive that a message came into is completed. */
static void
receive(struct rsim_xfer *x, enum rnic_status status, uint32_t invalidated)
{
    struct rsim_req *into = x->into;

    x->into = NULL;
    into->x = NULL;
    into->wc.status = status;
    into->wc.len = status == RNIC_OK ? x->len : 0;
    into->wc.invalidated = invalidated;
    rsim_complete(into);
}

/* Whether it may begin. */
static enum step
xfer_begin(struct rsim_xfer *x)
{
    struct rsim_way *w = x->way;
    struct rsim_ep *to = target_of(w);
    struct rsim *r = w->conn->r;
    enum rnic_status theirs;

    if (x->wr.op == RNIC_SEND && list_empty(&to->rq)) {
        r->stats.waits += !w->waits;
        w->waits = true;
        return STEP_WAITS;
    }
    w->waits = false;
    if (!xfer_ask(x))
        return STEP_WAITS;
    if (x->verdict == SIM_RDMA_CUT_BEFORE) {
        rsim_sever(w->conn, SIM_RDMA_LEAVE);
        return STEP_WAITS;
    }
    x->begun = true;
    w->number++;
    if (x->verdict == SIM_RDMA_SWALLOW) {
        xfer_end(x, RNIC_OK);
        return STEP_DONE;
    }
    x->stop_at = x->verdict == SIM_RDMA_CUT_INSIDE ? x->len / 2 : x->len;
    x->pieces = rsim_pieces(r, x->stop_at);
    if (x->wr.op == RNIC_READ && x->len > 0)
        x->data = steady_calloc(1, x->len);
    if (x->wr.op != RNIC_SEND)
        return STEP_LATER;
    x->into = container_of(to->rq.next, struct rsim_req, node);
    x->into->x = x;
    if (x->len <= x->into->len && rsim_sges_valid(to, &x->into->wr))
        return STEP_LATER;
    theirs = x->len > x->into->len ? RNIC_TOO_LONG : RNIC_LOCAL_ERROR;
    r->stats.late_writes += theirs == RNIC_LOCAL_ERROR && x->into->was_valid;
    receive(x, theirs, 0);
    xfer_end(x, RNIC_REMOTE_ERROR);
    rsim_error(to, true);
    return STEP_DONE;
}

/* Who is to blame where a piece cannot move. */
enum moved {
    MOVED,
    MOVED_NOT_OURS,   /* the sender's own memory */
    MOVED_NOT_THEIRS, /* that of the receive */
    MOVED_NOT_OPEN,   /* what the peer has named */
};

static enum moved
move_message(struct rsim_xfer *x, uint32_t n)
{
    struct rsim_ep *to = target_of(x->way);
    uint8_t *piece = steady_calloc(1, n);
    enum moved r = MOVED;

    if (x->data != NULL)
        memcpy(piece, x->data + x->moved, n);
    else if (x->req == NULL || !rsim_gather(x->req->ep, &x->wr, x->moved, n, piece))
        r = MOVED_NOT_OURS;
    if (r == MOVED && !rsim_scatter(to, &x->into->wr, x->moved, n, piece)) {
        x->way->conn->r->stats.late_writes += x->into->was_valid;
        r = MOVED_NOT_THEIRS;
    }
    steady_free(piece);
    return r;
}

/* The length of all is known with the first byte (InfiniBand's RETH), and checked with each. */
static enum moved
move_data(struct rsim_xfer *x, uint32_t n)
{
    unsigned access = x->wr.op == RNIC_WRITE ? RNIC_PEER_WRITES : RNIC_PEER_READS;
    uint8_t *there = rsim_open(target_of(x->way), x->wr.rkey, x->wr.remote_addr, x->len, access);

    if (there == NULL)
        return MOVED_NOT_OPEN;
    there += x->moved;
    if (x->wr.op == RNIC_READ)
        memcpy(x->data + x->moved, there, n);
    else if (x->data != NULL)
        memcpy(there, x->data + x->moved, n);
    else if (x->req == NULL || !rsim_gather(x->req->ep, &x->wr, x->moved, n, there))
        return MOVED_NOT_OURS;
    return MOVED;
}

static enum moved
xfer_move(struct rsim_xfer *x)
{
    struct rsim *r = x->way->conn->r;
    uint32_t n = rsim_piece(r, x->stop_at - x->moved, x->pieces);
    enum moved done = MOVED;

    if (n > 0)
        done = x->wr.op == RNIC_SEND ? move_message(x, n) : move_data(x, n);
    x->moved += n;
    x->pieces -= x->pieces > 1;
    return done;
}

/* All of it is there.  False: it invalidates what it may not. */
static bool
xfer_arrived(struct rsim_xfer *x)
{
    struct rsim_ep *to = target_of(x->way);
    struct sim_rdma_stats *stats = &to->m->r->stats;
    enum sim_rdma_way way = x->way->way;

    sim_note(to->m->r->sim, NOTE_RDMA, x->way->conn->id, (uint64_t)x->wr.op << 32 | x->len);
    if (x->wr.op == RNIC_WRITE) {
        stats->writes[way]++;
        stats->write_bytes[way] += x->len;
        return true;
    }
    if (x->wr.op == RNIC_READ) {
        stats->reads[way]++;
        stats->read_bytes[way] += x->len;
        return true;
    }
    if (x->wr.invalidate != 0 && !rsim_invalidate(to, x->wr.invalidate))
        return false;
    stats->messages[way]++;
    stats->message_bytes[way] += x->len;
    stats->remote_invalidations += x->wr.invalidate != 0;
    receive(x, RNIC_OK, x->wr.invalidate);
    return true;
}

static void
count_down(struct rsim_way *w)
{
    struct rsim_conn *c = w->conn;

    if (w->cut_left != UINT64_MAX && --w->cut_left == 0)
        rsim_sever(c, c->how);
}

/* It cannot be done: what the requester gets, and whether this end's queues survive it. */
static void
xfer_fail(struct rsim_xfer *x, enum moved why)
{
    struct rsim_ep *to = target_of(x->way);

    if (why == MOVED_NOT_OURS) {
        if (x->into != NULL)
            x->into->x = NULL;
        x->into = NULL;
        xfer_end(x, RNIC_LOCAL_ERROR);
        return;
    }
    to->m->r->stats.refused += why == MOVED_NOT_OPEN;
    if (x->into != NULL)
        receive(x, RNIC_LOCAL_ERROR, 0);
    xfer_end(x, why == MOVED_NOT_OPEN ? RNIC_REMOTE_ACCESS : RNIC_REMOTE_ERROR);
    rsim_error(to, true);
}

/* Half of it is there, and then the connection ends. */
static void
xfer_cut(struct rsim_xfer *x)
{
    struct rsim_conn *c = x->way->conn;

    if (x->into != NULL)
        x->into->x = NULL;
    x->into = NULL;
    xfer_free(x);
    rsim_sever(c, SIM_RDMA_LEAVE);
}

static void
xfer_finish(struct rsim_xfer *x)
{
    struct rsim_way *w = x->way;
    struct rsim_conn *c = w->conn;
    bool cut = x->verdict == SIM_RDMA_CUT_BEHIND;

    if (xfer_arrived(x)) {
        xfer_end(x, RNIC_OK);
        if (cut)
            rsim_sever(c, SIM_RDMA_LEAVE);
        else
            count_down(w);
        return;
    }
    /* It invalidates what it may not: some devices say so to the peer, and some just stop. */
    receive(x, RNIC_LOCAL_ERROR, 0);
    if (sim_below(c->r->sim, 2) == 0)
        xfer_end(x, RNIC_REMOTE_ERROR);
    else
        xfer_free(x);
    rsim_error(target_of(w), true);
}

/* The next piece of the request whose turn it is. */
static enum step
xfer_step(struct rsim_xfer *x)
{
    enum moved moved;

    if (!x->begun) {
        enum step s = xfer_begin(x);

        if (s != STEP_LATER)
            return s;
    }
    moved = xfer_move(x);
    if (moved == MOVED && x->moved < x->stop_at)
        return STEP_LATER;
    if (moved != MOVED)
        xfer_fail(x, moved);
    else if (x->verdict == SIM_RDMA_CUT_INSIDE)
        xfer_cut(x);
    else
        xfer_finish(x);
    return STEP_DONE;
}

static void
way_due(struct sim_event *e)
{
    struct rsim_way *w = container_of(e, struct rsim_way, due);
    struct rsim *r = w->conn->r;

    if (list_empty(&w->flying) || !way_open(w))
        return;
    if (xfer_step(container_of(w->flying.next, struct rsim_xfer, node)) == STEP_LATER)
        sim_event_at(r->sim, &w->due, r->sim->now_ns + rsim_moment(r, r->cfg.gap_max_us));
    else if (!list_empty(&w->flying) && way_open(w) && !w->waits)
        rsim_kick(w);
}

void
rsim_fly(struct rsim_req *req)
{
    struct rsim_way *w = rsim_way_from(req->ep);
    struct rsim *r = req->ep->m->r;
    struct rsim_xfer *x = steady_calloc(1, sizeof(*x));
    uint64_t at = r->sim->now_ns + sim_delay_ns(r->sim) + w->late_ns;

    x->way = w;
    x->req = req;
    x->wr = req->wr;
    x->len = req->len;
    x->at_ns = at > w->last_ns ? at : w->last_ns;
    w->last_ns = x->at_ns;
    req->x = x;
    list_push_back(&w->flying, &x->node);
    if (req->wr.op != RNIC_READ && sim_chance(r->sim, r->cfg.early_percent))
        (void)xfer_fetch(x);
    rsim_kick(w);
    rsim_watch_retry(req->ep);
}

/* What has left may still arrive, with the bytes that it had.  One that has not arrived keeps those
 * behind it from arriving. */
void
rsim_forget_flying(struct rsim_ep *ep)
{
    bool go_on = true;

    if (ep->conn == NULL)
        return;
    LIST_FOREACH_SAFE (n, &rsim_way_from(ep)->flying) {
        struct rsim_xfer *x = container_of(n, struct rsim_xfer, node);

        if (x->req == NULL)
            continue;
        go_on = go_on && x->wr.op != RNIC_READ && sim_below(ep->m->r->sim, 2) == 0 && xfer_fetch(x);
        if (go_on) {
            x->req->x = NULL;
            x->req = NULL;
        } else {
            xfer_drop(x);
        }
    }
}

/* What comes from the peer finds nobody. */
void
rsim_drop_coming(struct rsim_ep *ep)
{
    if (ep->conn == NULL)
        return;
    LIST_FOREACH_SAFE (n, &rsim_way_to(ep)->flying) {
        struct rsim_xfer *x = container_of(n, struct rsim_xfer, node);

        if (x->into != NULL)
            x->into->x = NULL;
        x->into = NULL;
        xfer_drop(x);
    }
    rsim_way_to(ep)->waits = false;
}

void
rsim_way_init(struct rsim_conn *c, enum sim_rdma_way way)
{
    struct rsim_way *w = &c->way[way];

    w->conn = c;
    w->way = way;
    w->due.fn = way_due;
    w->cut_left = UINT64_MAX;
    list_init(&w->flying);
}

void
rsim_drop_ways(struct rsim_conn *c)
{
    for (int i = 0; i < SIM_RDMA_WAYS; i++) {
        LIST_FOREACH_SAFE (n, &c->way[i].flying)
            xfer_free(container_of(n, struct rsim_xfer, node));
        sim_event_del(c->r->sim, &c->way[i].due);
    }
}

uint64_t
sim_rdma_kept(const struct sim *sim, enum sim_rdma_way way)
{
    uint64_t bytes = 0;

    LIST_FOREACH (n, &sim->rdma->conns) {
        const struct rsim_way *w = &container_of(n, struct rsim_conn, node)->way[way];

        if (!w->held && !w->conn->r->held[way])
            continue;
        LIST_FOREACH (m, &w->flying) {
            const struct rsim_xfer *x = container_of(m, struct rsim_xfer, node);

            if (x->wr.op != RNIC_READ)
                bytes += x->len;
        }
    }
    return bytes;
}
