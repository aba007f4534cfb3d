/* SPDX-License-Identifier: MIT */
/* rdma/ep.c - the parts of an endpoint, from its making to the fence that ends it. */
#include "rdma/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define READS_MAX 16 /* RDMA Reads of one connection under way at once, each way */

static void
ring_fini(struct verbs_ring *r)
{
    free(r->id);
    *r = (struct verbs_ring){0};
}

static int
ring_init(struct verbs_ring *r, uint32_t depth)
{
    uint32_t size = 1;

    while (size < depth)
        size *= 2;
    *r = (struct verbs_ring){.depth = depth, .mask = size - 1};
    r->id = calloc(size, sizeof(r->id[0]));
    return r->id != NULL ? 0 : -ENOMEM;
}

int
verbs_ep_new(struct verbs_state *st, const struct rnic_depth *depth, const struct rnic_events *ev,
             void *user, struct verbs_ep **ret, struct lunette_error *err)
{
    struct verbs_ep *ep;

    assert(depth->send > 0 && depth->recv > 0 && ev->ended != NULL);
    if (depth->send > VERBS_DEPTH_MAX || depth->recv > VERBS_DEPTH_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "a connection has at most %u requests each way, and %u to send and %u "
                            "to receive are wanted",
                            VERBS_DEPTH_MAX, depth->send, depth->recv);
    ep = calloc(1, sizeof(*ep));
    if (ep == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    ep->pub = (struct rnic_ep){.ops = st->loop->rnic, .loop = st->loop};
    ep->state = st;
    ep->ev = ev;
    ep->user = user;
    ep->depth = *depth;
    list_init(&ep->cq_node);
    list_init(&ep->flush_node);
    list_init(&ep->mrs);
    list_init(&ep->mws);
    do
        ep->serial = ++st->serial;
    while (verbs_find(st, ep->serial) != NULL); /* after 2^32 of them */
    htab_add(&st->eps, &ep->node, hash_u64(0, ep->serial));
    *ret = ep;
    return 0;
}

static int
make_pair(struct verbs_ep *ep, struct lunette_error *err)
{
    struct ibv_qp_init_attr attr = {.send_cq = ep->cq->cq,
                                    .recv_cq = ep->cq->cq,
                                    .qp_type = IBV_QPT_RC,
                                    .cap = {.max_send_wr = ep->depth.send,
                                            .max_recv_wr = ep->depth.recv,
                                            .max_send_sge = RNIC_SGE_MAX,
                                            .max_recv_sge = 1}};

    ep->pd = ibv_alloc_pd(ep->id->verbs);
    if (ep->pd == NULL)
        return verbs_no_room(err, errno, "a protection domain", 0, ep);
    if (rdma_create_qp(ep->id, ep->pd, &attr) != 0)
        return verbs_no_room(err, errno, "the queues of a connection",
                             (uint64_t)(ep->depth.send + ep->depth.recv) * 64, ep);
    return 0;
}

static uint8_t
reads_at_most(uint8_t wanted, int device)
{
    int n = wanted < READS_MAX ? wanted : READS_MAX;

    return (uint8_t)(device < 0 ? 0 : device < n ? device : n);
}

int
verbs_ep_ready(struct verbs_ep *ep, struct lunette_error *err)
{
    int r;

    if (ep->id->verbs == NULL)
        return verbs_no_device(err, ENODEV);
    r = verbs_device_join(ep, err);
    if (r == 0 &&
        (ring_init(&ep->sends, ep->depth.send) < 0 || ring_init(&ep->recvs, ep->depth.recv) < 0))
        r = lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    if (r == 0)
        r = make_pair(ep, err);
    if (r < 0)
        return r;
    if (!ep->passive)
        ep->reads_in = ep->reads_out = READS_MAX;
    ep->reads_in = reads_at_most(ep->reads_in, ep->dev->attr.max_qp_rd_atom);
    ep->reads_out = reads_at_most(ep->reads_out, ep->dev->attr.max_qp_init_rd_atom);
    ep->phase = VERBS_READY;
    return 0;
}

/* In the error state nothing new begins, and all that is posted comes back. */
static int
pair_to_error(struct verbs_ep *ep)
{
    struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};

    return ibv_modify_qp(ep->id->qp, &attr, IBV_QP_STATE) == 0 ? 0 : -EIO;
}

/* The peer's end alone leaves the queue pair as it is.  rdma_disconnect moves it to the error state
 * first, in which all that is posted comes back, and so it does where there is nobody to tell. */
void
verbs_disconnect(struct rnic_ep *pub)
{
    struct verbs_ep *ep = verbs_ep(pub);

    if (ep->left || ep->phase < VERBS_READY)
        return;
    ep->left = ep->over = true;
    ep->recvs_left = ep->recvs.head;
    loop_timer_stop(pub->loop, &ep->limit);
    (void)rdma_disconnect(ep->id);
    if (pair_to_error(ep) < 0)
        ep->device_err = true;
    if (ep->device_err || ep->held)
        verbs_flush_soon(ep);
}

/* The fence is the end of the queue pair: from then on the device touches no memory of the
 * connection.  Windows go before it, since soft RDMA waits in the kernel, for most of a minute,
 * until none is bound to the pair; so it is in the error state then, and binds none any more. */
static void
close_pair(struct verbs_ep *ep)
{
    if (ep->id->qp != NULL) {
        (void)pair_to_error(ep);
        verbs_windows_fini(ep);
        rdma_destroy_qp(ep->id);
    }
    verbs_regions_fini(ep);
    if (ep->pd != NULL && ibv_dealloc_pd(ep->pd) != 0)
        log_line(ep->pub.loop->log, LOG_LEVEL_WARN,
                 "RDMA device %s keeps the protection domain of a connection",
                 ep->id->verbs->device->name);
}

/* What the pair has used of the completion queue is the next ones', who drop what is left there.
 * The id is last, since librdmacm closes a device that is gone with the last id that it has on it.
 */
void
verbs_close(struct rnic_ep *pub)
{
    struct verbs_ep *ep = verbs_ep(pub);
    struct verbs_state *st = ep->state;

    loop_timer_stop(pub->loop, &ep->limit);
    list_del(&ep->flush_node);
    htab_del(&st->eps, &ep->node);
    if (ep->id != NULL && ep->passive && ep->phase == VERBS_READY && !ep->over)
        (void)rdma_reject(ep->id, NULL, 0);
    else if (ep->phase >= VERBS_CONNECTING && !ep->left)
        (void)rdma_disconnect(ep->id);
    if (ep->id != NULL)
        close_pair(ep);
    verbs_device_leave(ep);
    if (ep->id != NULL)
        (void)rdma_destroy_id(ep->id);
    ring_fini(&ep->sends);
    ring_fini(&ep->recvs);
    free(ep);
    verbs_state_rest(st);
}
