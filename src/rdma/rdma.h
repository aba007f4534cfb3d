/* SPDX-License-Identifier: MIT */
/* rdma/rdma.h - the RDMA devices of this machine, by libibverbs and librdmacm.
 *
 * Whoever makes a loop that shall carry iSER gives it this implementation of seam/rdma.h:
 * loop->rnic = rdma_verbs.  It costs nothing until a connection is made, and what it keeps for a
 * loop is gone with the loop's last connection and listener. */
#ifndef RDMA_RDMA_H
#define RDMA_RDMA_H

#include "seam/rdma.h"

/* NULL where lunette was built without RDMA (-Diser=disabled, or the libraries were not there). */
extern const struct rnic_ops *const rdma_verbs;

/* Tells whether connections can be made here and now: 0; or -errno and a sentence that says what is
 * missing and what to do.  -EOPNOTSUPP: built without; -ENODEV: this machine has no RDMA device, or
 * no driver for it; -EACCES: this process may not use it.  Any thread; changes nothing. */
int rdma_usable(struct lunette_error *err);

#endif
