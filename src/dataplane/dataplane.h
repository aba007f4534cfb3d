/* SPDX-License-Identifier: MIT */
/* dataplane/dataplane.h - plugs sessions and transports together and serves the control plane's
 * requests (Linux: scsi_transport_iscsi).
 *
 * One per loop.  Ids come from outside and are looked up, never trusted.
 */
#ifndef DATAPLANE_DATAPLANE_H
#define DATAPLANE_DATAPLANE_H

#include "seam/ipc.h"

struct transport_registry;
struct dataplane;

/* registry is borrowed and must outlive the data plane. */
int dataplane_new(struct loop *l, const struct transport_registry *registry, struct dataplane **ret,
                  struct lunette_error *err);

/* All sessions must be gone (dataplane_busy).  NULL is harmless. */
void dataplane_free(struct dataplane *dp);

/* Sessions and endpoints that are still there. */
unsigned dataplane_busy(const struct dataplane *dp);

/* Destroys every session that is left, as DESTROY_SESSION does; dataplane_busy tells when done. */
void dataplane_shutdown(struct dataplane *dp);

/* What a binding of ipc/ calls, and whom it hears from. */
extern const struct ipc_server_ops dataplane_server_ops;
void dataplane_set_client(struct dataplane *dp, const struct ipc_client *client);

/* The session for the SCSI midlayer, or NULL.  Lives until the session is destroyed. */
struct scsi_host *dataplane_host(struct dataplane *dp, uint32_t sid);

/* The session, for whoever shows its values, or NULL. */
const struct iscsi_session *dataplane_session(struct dataplane *dp, uint32_t sid);

#endif
