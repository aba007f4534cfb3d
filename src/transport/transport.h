/* SPDX-License-Identifier: MIT */
/* transport/transport.h - the registry, and the transports that are built in. */
#ifndef TRANSPORT_TRANSPORT_H
#define TRANSPORT_TRANSPORT_H

#include "seam/transport.h"

#define TRANSPORT_MAX 16

/* Transports by name; filled before the first session, read-only after.  Third parties add theirs.
 */
struct transport_registry {
    const struct iscsi_transport *t[TRANSPORT_MAX];
    size_t count;
};

/* -EINVAL: wrong version, or operations missing that its caps promise; -EEXIST; -ENOSPC.  t must
 * live as long as the registry. */
int transport_register(struct transport_registry *r, const struct iscsi_transport *t,
                       struct lunette_error *err);
/* NULL if there is none of that name. */
const struct iscsi_transport *transport_find(const struct transport_registry *r, const char *name);

/* Sockets: "tcp", as iscsiadm calls it. */
extern const struct iscsi_transport sw_tcp_transport;

#endif
