/* SPDX-License-Identifier: MIT */
/* rdma/device.c - a device as a loop uses it: one completion channel, and one completion queue for
 * all connections.
 *
 * A queue has an entry for each request that its connections may have under way, so that it never
 * overflows, whatever completes without being polled.  It grows when connections are added; where
 * the device cannot make it grow, a further queue is made on the same channel. */
#include "rdma/internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#define QUEUE_FIRST 256u /* entries that a queue has at least */

static int
device_failed(struct lunette_error *err, int e, const struct ibv_context *ctx, const char *what)
{
    return lunette_fail(err, -e, LUNETTE_DOM_OS, (uint32_t)e, "RDMA device %s: %s: %s",
                        ctx->device->name, what, errno_text(e));
}

static void
queue_free(struct verbs_cq *q)
{
    assert(list_empty(&q->eps));
    list_del(&q->node);
    if (q->unacked > 0)
        ibv_ack_cq_events(q->cq, q->unacked);
    (void)ibv_destroy_cq(q->cq);
    free(q);
}

static void
device_free(struct verbs_device *dev)
{
    list_del(&dev->node);
    LIST_FOREACH_SAFE (n, &dev->queues)
        queue_free(container_of(n, struct verbs_cq, node));
    if (dev->watch != NULL)
        loop_unwatch(dev->state->loop, dev->watch);
    if (dev->channel != NULL)
        (void)ibv_destroy_comp_channel(dev->channel);
    dev->state->changes++;
    free(dev);
}

static int
device_open(struct verbs_device *dev, struct lunette_error *err)
{
    int fd, r = ibv_query_device(dev->ctx, &dev->attr);

    if (r != 0)
        return device_failed(err, r > 0 ? r : errno, dev->ctx, "it does not say what it can do");
    dev->channel = ibv_create_comp_channel(dev->ctx);
    if (dev->channel == NULL)
        return device_failed(err, errno, dev->ctx, "no completion channel");
    fd = dev->channel->fd;
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
        return device_failed(err, errno, dev->ctx, "its completion channel");
    r = loop_watch(dev->state->loop, fd, verbs_channel_readable, dev, &dev->watch);
    return r < 0 ? device_failed(err, -r, dev->ctx, "completions cannot be waited for") : 0;
}

static int
device_get(struct verbs_state *st, struct ibv_context *ctx, struct verbs_device **ret,
           struct lunette_error *err)
{
    struct verbs_device *dev;
    int r;

    LIST_FOREACH (n, &st->devices) {
        dev = container_of(n, struct verbs_device, node);
        if (dev->ctx == ctx) {
            *ret = dev;
            return 0;
        }
    }
    dev = calloc(1, sizeof(*dev));
    if (dev == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    dev->state = st;
    dev->ctx = ctx;
    list_init(&dev->queues);
    list_push_back(&st->devices, &dev->node);
    r = device_open(dev, err);
    if (r < 0) {
        device_free(dev);
        return r;
    }
    *ret = dev;
    return 0;
}

static uint32_t
entries(const struct verbs_cq *q)
{
    return (uint32_t)q->cq->cqe;
}

/* Has the next turn poll the queues, and arm what has not been. */
static void
poll_soon(struct verbs_state *st)
{
    loop_defer(st->loop, &st->poll);
}

/* Makes q have room for `need` more entries, and at least twice what it had, since more connections
 * may follow.  False: the device cannot. */
static bool
queue_grow(struct verbs_cq *q, uint32_t need)
{
    uint64_t max = (uint64_t)q->dev->attr.max_cqe, want = (uint64_t)q->used + need;

    if (want > max)
        return false;
    if (want < 2ull * entries(q))
        want = 2ull * entries(q) < max ? 2ull * entries(q) : max;
    if (ibv_resize_cq(q->cq, (int)want) != 0)
        return false;
    q->armed = false; /* may have been lost */
    poll_soon(q->dev->state);
    return (uint64_t)q->used + need <= entries(q);
}

static int
queue_new(struct verbs_ep *ep, struct verbs_device *dev, uint32_t need, struct verbs_cq **ret,
          struct lunette_error *err)
{
    struct verbs_cq *q = calloc(1, sizeof(*q));
    int vectors = dev->ctx->num_comp_vectors, max = dev->attr.max_cqe, want;

    if (q == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    want = (int)(need > QUEUE_FIRST ? need : QUEUE_FIRST);
    if (want > max && (int)need <= max)
        want = max;
    q->dev = dev;
    list_init(&q->eps);
    /* Loops take different vectors, so that they do not all wait for one processor's interrupts. */
    q->cq =
        ibv_create_cq(dev->ctx, want, q, dev->channel,
                      vectors > 1 ? (int)(loop_random(dev->state->loop) % (unsigned)vectors) : 0);
    if (q->cq == NULL) {
        int e = errno;

        free(q);
        return verbs_no_room(err, e, "completions", (uint64_t)want * sizeof(struct ibv_wc), ep);
    }
    list_push_back(&dev->queues, &q->node);
    poll_soon(dev->state);
    *ret = q;
    return 0;
}

static int
queue_get(struct verbs_ep *ep, struct verbs_device *dev, uint32_t need, struct verbs_cq **ret,
          struct lunette_error *err)
{
    for (int grow = 0; grow <= 1; grow++) {
        LIST_FOREACH (n, &dev->queues) {
            struct verbs_cq *q = container_of(n, struct verbs_cq, node);

            if ((uint64_t)q->used + need <= entries(q) || (grow > 0 && queue_grow(q, need))) {
                *ret = q;
                return 0;
            }
        }
    }
    return queue_new(ep, dev, need, ret, err);
}

static uint32_t
least_of(uint32_t wanted, uint32_t least)
{
    return least > 0 && least < wanted ? least : wanted;
}

static uint32_t
depth_cut(uint32_t wanted, uint32_t least, uint32_t most)
{
    return wanted <= most ? wanted : most > least ? most : least;
}

/* Makes the queues of a connection as deep as the device can have them, as far as its owner is
 * content with that.  Returns false where he is not. */
static bool
depth_fit(struct rnic_depth *d, const struct ibv_device_attr *attr)
{
    uint32_t pair = attr->max_qp_wr > 0 ? (uint32_t)attr->max_qp_wr : 0;
    uint32_t queue = attr->max_cqe > 0 ? (uint32_t)attr->max_cqe : 0;
    uint32_t send = least_of(d->send, d->least_send), recv = least_of(d->recv, d->least_recv);

    if (send > pair || recv > pair || (uint64_t)send + recv > queue)
        return false;
    d->recv = depth_cut(d->recv, recv, pair < queue - send ? pair : queue - send);
    d->send = depth_cut(d->send, send, pair < queue - d->recv ? pair : queue - d->recv);
    return true;
}

int
verbs_device_join(struct verbs_ep *ep, struct lunette_error *err)
{
    struct verbs_device *dev = NULL;
    uint32_t need;
    int r;

    assert(ep->dev == NULL && ep->id->verbs != NULL);
    r = device_get(ep->state, ep->id->verbs, &dev, err);
    if (r < 0)
        return r;
    ep->dev = dev;
    dev->eps++;
    if (!depth_fit(&ep->depth, &dev->attr)) {
        bool some = ep->depth.least_send > 0 || ep->depth.least_recv > 0;

        r = lunette_fail(err, -EOPNOTSUPP, LUNETTE_DOM_OS, EOPNOTSUPP,
                         "RDMA device %s has queues of %d requests, and of %d completions, and %u "
                         "to send and %u to receive are wanted%s",
                         dev->ctx->device->name, dev->attr.max_qp_wr, dev->attr.max_cqe,
                         least_of(ep->depth.send, ep->depth.least_send),
                         least_of(ep->depth.recv, ep->depth.least_recv),
                         some ? " at least" : ": use fewer commands at once");
        verbs_device_leave(ep);
        return r;
    }
    need = ep->depth.send + ep->depth.recv;
    r = queue_get(ep, dev, need, &ep->cq, err);
    if (r < 0) {
        verbs_device_leave(ep);
        return r;
    }
    ep->cq->used += need;
    list_push_back(&ep->cq->eps, &ep->cq_node);
    return 0;
}

void
verbs_device_leave(struct verbs_ep *ep)
{
    struct verbs_device *dev = ep->dev;

    if (dev == NULL)
        return;
    if (ep->cq != NULL) {
        list_del(&ep->cq_node);
        ep->cq->stale += ep->depth.send + ep->depth.recv;
        poll_soon(ep->state);
    }
    ep->cq = NULL;
    ep->dev = NULL;
    if (--dev->eps == 0)
        device_free(dev);
}
