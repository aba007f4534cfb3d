/* SPDX-License-Identifier: MIT */
/* rdma/poll.c - completions.
 *
 * A queue is polled until it is empty, then armed, then polled once more, since what has completed
 * before it was armed makes no event.  While there is more than one turn has time for, and while
 * the loop spins, deferred work goes on with it and nothing is armed: a system call and an event
 * for each completion would be lost time.
 *
 * A completion names its endpoint by a serial number in the id of the work request, and not by the
 * number of its queue pair, which the device may give away again while completions of the former
 * owner are still in the queue. */
#include "rdma/internal.h"

#define POLL_BATCH 16u /* completions that are taken out of a queue at once */
#define POLL_TURN  64u /* of one queue, before others have their turn */

/* Events of a queue that are acknowledged together: each time takes a lock. */
#define EVENTS_HELD 64u

/* What Linux calls IB_WC_WITH_INVALIDATE, and what rxe hands through to user space, where
 * IBV_WC_WITH_INV is another bit. */
#define KERNEL_WC_WITH_INV 0x4u

static enum rnic_status
status_of(int status, bool recv)
{
    switch (status) { /* of an int: which others there are depends on the library's version */
    case IBV_WC_SUCCESS:
        return RNIC_OK;
    case IBV_WC_WR_FLUSH_ERR:
        return RNIC_FLUSHED;
    case IBV_WC_LOC_LEN_ERR:
        return recv ? RNIC_TOO_LONG : RNIC_LOCAL_ERROR;
    case IBV_WC_LOC_QP_OP_ERR:
        return recv ? RNIC_TOO_LONG : RNIC_LOCAL_ERROR; /* so says rxe */
    case IBV_WC_REM_ACCESS_ERR:
        return RNIC_REMOTE_ACCESS;
    case IBV_WC_REM_INV_REQ_ERR:
        return recv ? RNIC_LOCAL_ERROR : RNIC_REMOTE_ERROR;
    case IBV_WC_REM_OP_ERR:
    case IBV_WC_REM_ABORT_ERR:
    case IBV_WC_REM_INV_RD_REQ_ERR:
        return RNIC_REMOTE_ERROR;
    case IBV_WC_RETRY_EXC_ERR:
    case IBV_WC_RNR_RETRY_EXC_ERR:
    case IBV_WC_RESP_TIMEOUT_ERR:
        return RNIC_NO_ANSWER;
    default:
        return RNIC_LOCAL_ERROR;
    }
}

void
verbs_flush_soon(struct verbs_ep *ep)
{
    if (list_empty(&ep->flush_node))
        list_push_back(&ep->state->flushing, &ep->flush_node);
    loop_defer(ep->pub.loop, &ep->state->poll);
}

/* Ends the request that a completion is of, and with it those before it, which were quiet and are
 * done.  False: it is over already. */
static bool
wc_retire(struct verbs_ep *ep, const struct ibv_wc *wc, struct rnic_wc *ret)
{
    bool recv = (wc->wr_id & VERBS_ID_RECV) != 0;
    struct verbs_ring *r = recv ? &ep->recvs : &ep->sends;
    uint32_t ahead = ((uint32_t)wc->wr_id - r->tail) & VERBS_ID_POS;

    if (ep->flushed || ahead >= r->head - r->tail)
        return false;
    /* A completion ends the requests before it, too: none may be told behind one that is held. */
    if (recv && (ep->held ||
                 (wc->status != IBV_WC_SUCCESS && ep->phase == VERBS_CONNECTING && !ep->left))) {
        ep->held = true;
        return false;
    }
    r->tail += ahead;
    *ret = (struct rnic_wc){
        .id = r->id[r->tail & r->mask], .status = status_of((int)wc->status, recv), .recv = recv};
    r->tail++;
    if (recv && ep->left && r->tail == ep->recvs_left && r->head != r->tail)
        verbs_flush_soon(ep);
    if (recv && ret->status == RNIC_OK) {
        ret->len = wc->byte_len;
        if ((wc->wc_flags & (IBV_WC_WITH_INV | KERNEL_WC_WITH_INV)) != 0)
            ret->invalidated = wc->invalidated_rkey;
    }
    return true;
}

/* The peer's first message may overtake the event that says that it has our answer; the connection
 * is up all the same.  The kernel is told, too, in case that event was lost on the way. */
static struct verbs_ep *
establish(struct verbs_ep *ep)
{
    struct verbs_state *st = ep->state;
    uint32_t serial = ep->serial;

    ep->phase = VERBS_UP;
    (void)rdma_notify(ep->id, IBV_EVENT_COMM_EST);
    ep->ev->established(ep->user, NULL, 0);
    return verbs_find(st, serial);
}

static void
wc_deliver(struct verbs_ep *ep, const struct rnic_wc *wc, unsigned n)
{
    if (ep->passive && ep->phase == VERBS_CONNECTING && !ep->over && wc[0].status == RNIC_OK)
        ep = establish(ep);
    if (ep != NULL)
        ep->ev->completed(ep->user, wc, n);
}

static void
wc_dispatch(struct verbs_state *st, const struct ibv_wc *wc, unsigned n)
{
    struct rnic_wc out[POLL_BATCH];

    for (unsigned i = 0; i < n;) {
        uint32_t serial = VERBS_ID_SERIAL(wc[i].wr_id);
        struct verbs_ep *ep = verbs_find(st, serial);
        unsigned m = 0;
        bool held;

        for (; i < n && VERBS_ID_SERIAL(wc[i].wr_id) == serial; i++) {
            if (ep != NULL && wc_retire(ep, &wc[i], &out[m]))
                m++;
        }
        held = ep != NULL && ep->held && !ep->over;
        if (m > 0)
            wc_deliver(ep, out, m);
        if (held && (ep = verbs_find(st, serial)) != NULL)
            verbs_tell_end(ep, -ECONNRESET, "the connection ended while it was being made");
    }
}

/* A queue that can be polled no more takes all its endpoints with it. */
static void
queue_failed(struct verbs_cq *q)
{
    struct verbs_state *st = q->dev->state;
    uint32_t changes = st->changes;
    bool found;

    do {
        found = false;
        LIST_FOREACH (n, &q->eps) {
            struct verbs_ep *ep = container_of(n, struct verbs_ep, cq_node);

            if (ep->device_err)
                continue;
            found = ep->device_err = true;
            if (ep->left)
                verbs_flush_soon(ep);
            verbs_tell_end(ep, -EIO, "the RDMA device has failed: its completions cannot be read");
            break; /* anything may have been closed */
        }
    } while (found && st->changes == changes);
}

/* Polls a queue once, for at most `max`.  The number of completions; < 0: the queue has failed, or
 * it is no more. */
static int
poll_some(struct verbs_cq *q, unsigned max)
{
    struct verbs_state *st = q->dev->state;
    uint32_t changes = st->changes;
    struct ibv_wc wc[POLL_BATCH];
    int n = ibv_poll_cq(q->cq, (int)(max < POLL_BATCH ? max : POLL_BATCH), wc);

    if (n < 0) {
        queue_failed(q);
        return n;
    }
    if (n == 0) { /* whatever closed endpoints have left was here before */
        q->used -= q->stale;
        q->stale = 0;
        return 0;
    }
    st->seen_ns = st->loop->now_ns;
    if (st->loop->rnic_spin_ns > 0)
        st->spinning = true;
    wc_dispatch(st, wc, (unsigned)n);
    return st->changes == changes ? n : -1;
}

/* Polls a queue for its part of this turn.  True: there may be more. */
static bool
poll_queue(struct verbs_cq *q)
{
    struct verbs_state *st = q->dev->state;
    unsigned left = POLL_TURN;

    while (left > 0) {
        int n = poll_some(q, left);

        if (n < 0)
            return false;
        left -= (unsigned)n;
        if (n > 0)
            continue;
        if (q->armed || st->spinning)
            return false;
        if (ibv_req_notify_cq(q->cq, 0) != 0) {
            queue_failed(q);
            return false;
        }
        q->armed = true;
    }
    return true;
}

/* Polls all queues.  True: there may be more. */
static bool
poll_all(struct verbs_state *st)
{
    uint32_t changes = st->changes;
    bool more = false;

    LIST_FOREACH (d, &st->devices) {
        struct verbs_device *dev = container_of(d, struct verbs_device, node);

        LIST_FOREACH (n, &dev->queues) {
            if (poll_queue(container_of(n, struct verbs_cq, node)))
                more = true;
            if (st->changes != changes)
                return true; /* the lists are not what they were */
        }
    }
    return more;
}

/* Gives back what one queue of ep still has, as not done.  False: ep is closed. */
static bool
flush_ring(struct verbs_ep *ep, bool recv)
{
    struct verbs_state *st = ep->state;
    struct verbs_ring *r = recv ? &ep->recvs : &ep->sends;
    uint32_t serial = ep->serial, end = r->head; /* what the owner posts meanwhile comes later */

    while (r->tail != end) {
        struct rnic_wc out[POLL_BATCH];
        unsigned n = 0;

        for (; n < POLL_BATCH && r->tail != end; r->tail++)
            out[n++] = (struct rnic_wc){
                .id = r->id[r->tail & r->mask], .status = RNIC_FLUSHED, .recv = recv};
        ep->ev->completed(ep->user, out, n);
        if (verbs_find(st, serial) == NULL)
            return false;
    }
    return true;
}

/* Gives back the requests that no device gives back any more. */
static void
flush_endpoints(struct verbs_state *st)
{
    struct list now, *n;

    list_init(&now);
    list_splice(&now, &st->flushing);
    while ((n = list_pop_front(&now)) != NULL) {
        struct verbs_ep *ep = container_of(n, struct verbs_ep, flush_node);

        if (ep->device_err) {
            ep->flushed = true;
            if (!flush_ring(ep, false))
                continue;
        }
        (void)flush_ring(ep, true);
    }
}

static void
walk(struct verbs_state *st)
{
    bool more;

    verbs_walk_begin(st);
    more = poll_all(st);
    flush_endpoints(st);
    if (st->spinning && st->loop->now_ns - st->seen_ns >= st->loop->rnic_spin_ns) {
        st->spinning = false;
        more = true; /* to be armed */
    }
    if ((more || st->spinning) && !list_empty(&st->devices))
        loop_defer(st->loop, &st->poll);
    verbs_walk_end(st);
}

void
verbs_poll_work(struct loop_work *w)
{
    walk(container_of(w, struct verbs_state, poll));
}

void
verbs_channel_readable(void *user)
{
    struct verbs_device *dev = user;
    struct ibv_cq *cq;
    void *queue;

    while (ibv_get_cq_event(dev->channel, &cq, &queue) == 0) {
        struct verbs_cq *q = queue;

        q->armed = false;
        if (++q->unacked == EVENTS_HELD) {
            ibv_ack_cq_events(q->cq, q->unacked);
            q->unacked = 0;
        }
    }
    walk(dev->state);
}

void
verbs_drain(struct verbs_ep *ep)
{
    struct verbs_cq *q = ep->cq;
    unsigned left;

    if (q == NULL)
        return;
    for (left = (unsigned)q->cq->cqe; left > 0;) {
        int n = poll_some(q, left);

        if (n <= 0)
            return;
        left = (unsigned)n < left ? left - (unsigned)n : 0;
    }
}
