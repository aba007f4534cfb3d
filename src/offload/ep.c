/* SPDX-License-Identifier: MIT */
#include "offload/ep.h"

#include <errno.h>

static void
offload_ep_attached(struct offload_user *u)
{
    struct offload_ep *e = container_of(u, struct offload_ep, user);

    if (e->state != 0)
        return;
    e->state = 1;
    e->up->ep_event(e->ep, 0);
}

/* One that was up stays so: whoever is bound to it hears of a loss by itself. */
static void
offload_ep_failed(struct offload_user *u, const struct lunette_error *why)
{
    struct offload_ep *e = container_of(u, struct offload_ep, user);

    if (e->state != 0)
        return;
    e->why = *why;
    e->state = why->code < 0 ? why->code : -EIO;
    e->up->ep_event(e->ep, e->state);
}

int
offload_ep_connect(struct iscsi_endpoint *ep, const struct sock_addr *to,
                   const struct iscsi_upcalls *up, struct lunette_error *err)
{
    struct offload_ep *e = ep->dd_data;
    int r;

    (void)to;
    if (!shm_there(ep->loop))
        return lunette_fail(err, -EOPNOTSUPP, LUNETTE_DOM_USAGE, EOPNOTSUPP,
                            "this loop shares no memory with other processes, as engines need it");
    r = offload_options_parse(ep->options, &e->opt, err);
    if (r < 0)
        return r;
    e->ep = ep;
    e->up = up;
    e->user.attached = offload_ep_attached;
    e->user.failed = offload_ep_failed;
    return offload_join(ep->host->dd_data, &e->opt, 0, &e->user, err);
}

int
offload_ep_poll(struct iscsi_endpoint *ep)
{
    return ((const struct offload_ep *)ep->dd_data)->state;
}

void
offload_ep_disconnect(struct iscsi_endpoint *ep)
{
    offload_leave(&((struct offload_ep *)ep->dd_data)->user);
}

void
offload_ep_why(const struct iscsi_endpoint *ep, struct lunette_error *ret)
{
    const struct offload_ep *e = ep->dd_data;

    if (e->state < 0)
        (void)lunette_fail_as(ret, &e->why);
}
