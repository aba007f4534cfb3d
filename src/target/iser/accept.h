/* SPDX-License-Identifier: MIT */
/* target/iser/accept.h - listening for initiators on RDMA. */
#ifndef TARGET_ISER_ACCEPT_H
#define TARGET_ISER_ACCEPT_H

#include "target/instance.h"

/* Listens for l->target at an address; l->rnic and l->bound are set then.  0, or -errno with err.
 */
int tgt_iser_listen(struct tgt_listener *l, const struct sock_addr *at, struct lunette_error *err);

#endif
