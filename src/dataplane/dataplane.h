/* SPDX-License-Identifier: MIT */
/* dataplane/dataplane.h - owns sessions, connections and endpoints, and serves the control plane's
 * requests (Linux: scsi_transport_iscsi).
 *
 * One per loop, and everything but dp_ids on its thread.  Ids come from outside
 * and are looked up, never trusted.  One client (control plane) is attached at
 * a time; sessions that run do not need any.
 */
#ifndef DATAPLANE_DATAPLANE_H
#define DATAPLANE_DATAPLANE_H

#include "dataplane/ids.h"
#include "seam/ipc.h"

struct transport_registry;
struct dp_session_ops;
struct dataplane;

#define DATAPLANE_GRACE_MS        60000
#define DATAPLANE_EVENTS_MAX      4096
#define DATAPLANE_EVENT_BYTES_MAX (1u << 20)
#define DATAPLANE_ENDPOINTS_MAX   65536 /* at a time: EP_CONNECT is refused with -EAGAIN */

struct dataplane_limits {
    uint32_t grace_ms;        /* for a client to adopt what its predecessor left half-made */
    uint32_t events_max;      /* events that wait for a client */
    uint32_t event_bytes_max; /* and their bytes, PDUs and all */
};

/* registry is borrowed and must outlive the data plane.  -ENOMEM. */
int dataplane_new(struct loop *l, const struct transport_registry *registry, struct dataplane **ret,
                  struct lunette_error *err);

/* Before the first session: ids come from one allocator with other data planes of the process;
 * borrowed, must outlive dp.  (Otherwise they are unique in dp alone.) */
void dataplane_share_ids(struct dataplane *dp, struct dp_ids *ids);

/* Before the first client. */
void dataplane_set_limits(struct dataplane *dp, const struct dataplane_limits *limits);

/* Before the first client: this is data plane `index` of `loops` in the process, which HELLO asks
 * for and tells.  A data plane alone is 0 of 1. */
void dataplane_set_loops(struct dataplane *dp, uint32_t index, uint32_t loops);

/* Before the first session: sessions over the transport of that name are not iscsi/'s but have
 * these operations.  name and ops are borrowed.  -ENOSPC: too many; -EINVAL: ops is of another
 * size. */
int dataplane_add_owner(struct dataplane *dp, const char *transport,
                        const struct dp_session_ops *ops);

/* All sessions and endpoints must be gone (dataplane_busy).  NULL is harmless. */
void dataplane_free(struct dataplane *dp);

/* Sessions and endpoints that are still there. */
unsigned dataplane_busy(const struct dataplane *dp);

/* Destroys every session and endpoint that is left, in the right order, and makes no more;
 * dataplane_busy tells when done. */
void dataplane_shutdown(struct dataplane *dp);

/* What a binding of ipc/ calls. */
extern const struct ipc_server_ops dataplane_server_ops;

/* Attaches a client, which is copied; one that was attached is detached before: the newest wins.
 * Without client->hello, events that were kept for it flow at once.  Returns its generation. */
uint64_t dataplane_set_client(struct dataplane *dp, const struct ipc_client *client);

/* The client of that generation has gone and is not called any more; harmless where it is not
 * attached.  Its binding calls this, or whoever owns the binding, before it is freed. */
void dataplane_detach(struct dataplane *dp, uint64_t generation);

/* The session for the SCSI midlayer, or NULL.  Lives until the session is destroyed. */
struct scsi_host *dataplane_host(struct dataplane *dp, uint32_t sid);

/* Tells whether connection cid of session sid is not there, or has been lost or stopped. */
bool dataplane_conn_is_down(struct dataplane *dp, uint32_t sid, uint16_t cid);

/* The session, for whoever shows its values, or NULL: there is none, or it is not iscsi/'s. */
const struct iscsi_session *dataplane_session(struct dataplane *dp, uint32_t sid);

#endif
