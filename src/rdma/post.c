/* SPDX-License-Identifier: MIT */
/* rdma/post.c - work requests.
 *
 * How many are in a queue is counted here and not left to the device, which may have rounded its
 * queue up: -EAGAIN comes at the depth that was asked for.  A quiet request is over when a later
 * one completes, so it is counted until then, as the device does. */
#include "rdma/internal.h"

#include <assert.h>
#include <errno.h>

#define POST_BATCH 16u /* requests that one call of the library gets */

static int
post_errno(int r)
{
    return r > 0 ? -r : -errno; /* some drivers return -1 and errno */
}

static struct verbs_mw *
window_of(const struct rnic_wr *wr)
{
    return wr->op == RNIC_BIND ? container_of(wr->bind.mw, struct verbs_mw, pub) : NULL;
}

static void
wr_convert_bind(const struct rnic_wr *wr, struct ibv_send_wr *to)
{
    struct verbs_mw *w = window_of(wr);
    const struct verbs_mr *m =
        (const void *)((const char *)wr->bind.mr - offsetof(struct verbs_mr, pub));

    to->opcode = IBV_WR_BIND_MW;
    to->bind_mw.mw = w->mw;
    to->bind_mw.rkey = rnic_next_rkey(&w->pub);
    to->bind_mw.bind_info = (struct ibv_mw_bind_info){
        .mr = m->mr, .addr = (uintptr_t)wr->bind.addr, .length = wr->bind.len};
    if ((wr->bind.access & RNIC_PEER_READS) != 0)
        to->bind_mw.bind_info.mw_access_flags |= IBV_ACCESS_REMOTE_READ;
    if ((wr->bind.access & RNIC_PEER_WRITES) != 0)
        to->bind_mw.bind_info.mw_access_flags |= IBV_ACCESS_REMOTE_WRITE;
    w->posting = true;
}

static void
wr_convert(const struct rnic_wr *wr, struct ibv_send_wr *to, struct ibv_sge *sge)
{
    *to = (struct ibv_send_wr){.send_flags = wr->quiet ? 0 : IBV_SEND_SIGNALED};
    switch (wr->op) {
    case RNIC_SEND:
        to->opcode = wr->invalidate != 0 ? IBV_WR_SEND_WITH_INV : IBV_WR_SEND;
        to->invalidate_rkey = wr->invalidate;
        break;
    case RNIC_WRITE:
    case RNIC_READ:
        to->opcode = wr->op == RNIC_WRITE ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ;
        to->wr.rdma.remote_addr = wr->remote_addr;
        to->wr.rdma.rkey = wr->rkey;
        break;
    case RNIC_BIND:
        wr_convert_bind(wr, to);
        return;
    case RNIC_INVALIDATE:
        to->opcode = IBV_WR_LOCAL_INV;
        to->invalidate_rkey = wr->invalidate;
        return;
    }
    assert(wr->nsge >= 1 && wr->nsge <= RNIC_SGE_MAX);
    for (unsigned i = 0; i < wr->nsge; i++)
        sge[i] = (struct ibv_sge){
            .addr = (uintptr_t)wr->sge[i].addr, .length = wr->sge[i].len, .lkey = wr->sge[i].lkey};
    to->sg_list = sge;
    to->num_sge = wr->nsge;
}

/* After a bind was posted the window has its new rkey, by which the next bind names it. */
static void
bind_posted(const struct rnic_wr *wr, bool posted)
{
    struct verbs_mw *w = window_of(wr);

    if (w == NULL)
        return;
    w->posting = false;
    if (posted)
        w->pub.rkey = w->mw->rkey = rnic_next_rkey(&w->pub);
}

/* Posts some of n requests, at least one: *ret_n tells how many it has tried. */
static int
post_some(struct verbs_ep *ep, const struct rnic_wr *wr, unsigned n, unsigned *ret_n)
{
    struct ibv_send_wr to[POST_BATCH], *bad = NULL;
    struct ibv_sge sge[POST_BATCH][RNIC_SGE_MAX];
    struct verbs_ring *r = &ep->sends;
    unsigned m = 0, done;
    int e;

    for (; m < n && m < POST_BATCH; m++) {
        struct verbs_mw *w = window_of(&wr[m]);

        if (w != NULL && w->posting)
            break; /* its rkey is known to the library only when the former bind is posted */
        wr_convert(&wr[m], &to[m], sge[m]);
        to[m].wr_id = verbs_id(ep, 0, r->head + m);
        r->id[(r->head + m) & r->mask] = wr[m].id;
        if (m > 0)
            to[m - 1].next = &to[m];
    }
    e = ibv_post_send(ep->id->qp, to, &bad);
    done = e == 0 ? m : bad != NULL ? (unsigned)(bad - to) : 0;
    r->head += done;
    for (unsigned i = 0; i < m; i++)
        bind_posted(&wr[i], i < done);
    *ret_n = m;
    return e == 0 ? 0 : post_errno(e);
}

int
verbs_post_send(struct rnic_ep *pub, const struct rnic_wr *wr, unsigned n)
{
    struct verbs_ep *ep = verbs_ep(pub);
    unsigned some;
    int r = 0;

    if (ep->phase < VERBS_READY || (ep->phase < VERBS_UP && !ep->left))
        return -ENOTCONN;
    if (n > verbs_ring_room(&ep->sends))
        return -EAGAIN;
    if (ep->left && ep->device_err) {
        for (unsigned i = 0; i < n; i++)
            ep->sends.id[ep->sends.head++ & ep->sends.mask] = wr[i].id;
        verbs_flush_soon(ep);
        return 0;
    }
    for (; n > 0 && r == 0; wr += some, n -= some)
        r = post_some(ep, wr, n, &some);
    return r;
}

int
verbs_post_recv(struct rnic_ep *pub, const struct rnic_recv *recv, unsigned n)
{
    struct verbs_ep *ep = verbs_ep(pub);
    struct verbs_ring *r = &ep->recvs;

    if (ep->phase < VERBS_READY)
        return -ENOTCONN;
    if (n > verbs_ring_room(r))
        return -EAGAIN;
    if (ep->left) { /* rxe does not look at receives that come into a queue in the error state */
        for (unsigned i = 0; i < n; i++)
            r->id[r->head++ & r->mask] = recv[i].id;
        if (ep->device_err || (int32_t)(r->tail - ep->recvs_left) >= 0)
            verbs_flush_soon(ep);
        return 0;
    }
    while (n > 0) {
        struct ibv_recv_wr to[POST_BATCH], *bad = NULL;
        struct ibv_sge sge[POST_BATCH];
        unsigned m = n < POST_BATCH ? n : POST_BATCH;
        int e;

        for (unsigned i = 0; i < m; i++) {
            sge[i] = (struct ibv_sge){.addr = (uintptr_t)recv[i].sge.addr,
                                      .length = recv[i].sge.len,
                                      .lkey = recv[i].sge.lkey};
            to[i] = (struct ibv_recv_wr){.wr_id = verbs_id(ep, VERBS_ID_RECV, r->head + i),
                                         .next = i + 1 < m ? &to[i + 1] : NULL,
                                         .sg_list = &sge[i],
                                         .num_sge = 1};
            r->id[(r->head + i) & r->mask] = recv[i].id;
        }
        e = ibv_post_recv(ep->id->qp, to, &bad);
        r->head += e == 0 ? m : bad != NULL ? (unsigned)(bad - to) : 0;
        if (e != 0)
            return post_errno(e);
        recv += m;
        n -= m;
    }
    return 0;
}
