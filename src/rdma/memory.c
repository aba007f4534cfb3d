/* SPDX-License-Identifier: MIT */
/* rdma/memory.c - regions and windows. */
#include "rdma/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int
verbs_reg(struct rnic_ep *pub, void *addr, size_t len, unsigned access, struct rnic_mr **ret,
          struct lunette_error *err)
{
    struct verbs_ep *ep = verbs_ep(pub);
    /* The device writes into what it receives into, and into what it reads a peer's memory into. */
    int flags = IBV_ACCESS_LOCAL_WRITE;
    struct verbs_mr *m;

    assert(ep->pd != NULL && len > 0);
    if ((access & RNIC_PEER_READS) != 0)
        flags |= IBV_ACCESS_REMOTE_READ;
    if ((access & RNIC_PEER_WRITES) != 0)
        flags |= IBV_ACCESS_REMOTE_WRITE;
    if ((access & RNIC_WINDOWS) != 0)
        flags |= IBV_ACCESS_MW_BIND;
    m = malloc(sizeof(*m));
    if (m == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    m->mr = ibv_reg_mr(ep->pd, addr, len, flags);
    if (m->mr == NULL) {
        int e = errno;

        free(m);
        return verbs_no_room(err, e, "the memory of the connection", len, ep);
    }
    m->pub = (struct rnic_mr){.lkey = m->mr->lkey, .rkey = m->mr->rkey};
    list_push_back(&ep->mrs, &m->node);
    *ret = &m->pub;
    return 0;
}

/* What cannot be given back stays the kernel's until the process ends, which no caller can change;
 * the device does not touch it, since the queue pair is gone or nothing names it. */
static void
region_free(struct verbs_ep *ep, struct verbs_mr *m)
{
    int r = ibv_dereg_mr(m->mr);

    if (r != 0)
        log_line(ep->pub.loop->log, LOG_LEVEL_WARN,
                 "RDMA device %s keeps memory of a connection locked: %s",
                 ep->id->verbs->device->name, errno_text(r));
    list_del(&m->node);
    free(m);
}

void
verbs_dereg(struct rnic_ep *ep, struct rnic_mr *mr)
{
    region_free(verbs_ep(ep), container_of(mr, struct verbs_mr, pub));
}

int
verbs_mw_new(struct rnic_ep *pub, struct rnic_mw **ret, struct lunette_error *err)
{
    struct verbs_ep *ep = verbs_ep(pub);
    struct verbs_mw *w;

    assert(ep->pd != NULL);
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    w->mw = ibv_alloc_mw(ep->pd, IBV_MW_TYPE_2);
    if (w->mw == NULL) {
        int e = errno;

        free(w);
        return verbs_no_room(err, e, "a memory window", 0, ep);
    }
    w->pub.rkey = w->mw->rkey;
    list_push_back(&ep->mws, &w->node);
    *ret = &w->pub;
    return 0;
}

static void
window_free(struct verbs_mw *w)
{
    (void)ibv_dealloc_mw(w->mw); /* of a bind that is left, region_free hears */
    list_del(&w->node);
    free(w);
}

void
verbs_mw_free(struct rnic_ep *ep, struct rnic_mw *mw)
{
    (void)ep;
    window_free(container_of(mw, struct verbs_mw, pub));
}

void
verbs_windows_fini(struct verbs_ep *ep)
{
    LIST_FOREACH_SAFE (n, &ep->mws)
        window_free(container_of(n, struct verbs_mw, node));
}

void
verbs_regions_fini(struct verbs_ep *ep)
{
    LIST_FOREACH_SAFE (n, &ep->mrs)
        region_free(ep, container_of(n, struct verbs_mr, node));
}
