/* SPDX-License-Identifier: MIT */
/* offload/ep.h - endpoints: each is an attachment to the engine that its options name.  Where it
 * was connected to only the session tells the engine. */
#ifndef OFFLOAD_EP_H
#define OFFLOAD_EP_H

#include "offload/attach.h"

struct offload_ep {
    struct offload_user user;
    struct iscsi_endpoint *ep;
    const struct iscsi_upcalls *up;
    struct offload_options opt;
    int state; /* 1 up, 0 not yet, -errno with why */
    struct lunette_error why;
};

/* Operations of struct iscsi_transport, whose ep_size is that of struct offload_ep and whose
 * hosts are struct offload_adapter. */
int offload_ep_connect(struct iscsi_endpoint *ep, const struct sock_addr *to,
                       const struct iscsi_upcalls *up, struct lunette_error *err);
int offload_ep_poll(struct iscsi_endpoint *ep);
void offload_ep_disconnect(struct iscsi_endpoint *ep);
void offload_ep_why(const struct iscsi_endpoint *ep, struct lunette_error *ret);

#endif
