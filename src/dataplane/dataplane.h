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
struct dataplane;

#define DATAPLANE_GRACE_MS        60000
#define DATAPLANE_EVENTS_MAX      4096
#define DATAPLANE_EVENT_BYTES_MAX (1u << 20)
#define DATAPLANE_REGIONS_MAX     64    /* of memory that are registered at a time */
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

/* All sessions and endpoints must be gone (dataplane_busy).  NULL is harmless. */
void dataplane_free(struct dataplane *dp);

/* Sessions and endpoints that are still there, and captures whose readers have not taken all. */
unsigned dataplane_busy(const struct dataplane *dp);

/* Destroys every session and endpoint that is left, in the right order, and makes no more;
 * dataplane_busy tells when done. */
void dataplane_shutdown(struct dataplane *dp);

/* Drops what readers of captures have not taken, when their time is over.  On the loop's thread. */
void dataplane_drop_captures(struct dataplane *dp);

/* Captures every session from its beginning (docs/design/tape.md), before the first of them, once
 * (-EBUSY). fd: a connected stream socket, which the data plane owns after success, and through
 * which the file is read; unix_ns: nanoseconds since 1970, now. */
int dataplane_capture_all(struct dataplane *dp, int fd, uint64_t unix_ns, bool no_payload,
                          struct lunette_error *err);

/* A request that is answered later; generation 0: none. */
struct dp_call {
    uint64_t generation, seq;
};

#define DP_ANSWERED_LATER 1

/* Whoever stands above the sessions, where somebody does, and serves the requests about SCSI units
 * and exports (SCAN_HOST and those after it).  It is called on the loop of the data plane. */
struct dataplane_upper_ops {
    /* Serves a request about the session ev->sid, which is there.  Returns 0 with *rep filled in;
     * -errno with a sentence in rep->why; or DP_ANSWERED_LATER after it has kept
     * dataplane_call_of(), which dataplane_answer() then answers.  ev and data are borrowed for the
     * call; rep->data stays as it is until the next call of serve. */
    int (*serve)(void *upper, const struct iscsi_uevent *ev, const void *data, uint32_t data_len,
                 struct iscsi_reply *rep);
    /* START_CONN has brought a connection of the session into use. */
    void (*started)(void *upper, uint32_t sid);
    /* The session begins to end.  Its host is still there, and begins to give every command back
     * when this call has returned. */
    void (*ending)(void *upper, uint32_t sid);
    /* The host of the session is gone.  Returns true where something of the upper's is still left
     * above it: then DESTROY_SESSION is not answered, and the id of the session not used again,
     * until the upper calls dataplane_upper_done(), which it does not from inside this call. */
    bool (*gone)(void *upper, uint32_t sid);
};

/* Before the first client.  ops and upper are borrowed and outlive the sessions.  Without an upper
 * its requests are answered with -EOPNOTSUPP. */
void dataplane_set_upper(struct dataplane *dp, const struct dataplane_upper_ops *ops, void *upper);
void dataplane_upper_done(struct dataplane *dp, uint32_t sid);

/* Tells whether START_CONN has ever brought the session into use. */
bool dataplane_started(struct dataplane *dp, uint32_t sid);

/* Names the request that is being served, so that it can be answered later. */
struct dp_call dataplane_call_of(const struct dataplane *dp, const struct iscsi_uevent *ev);
/* Answers it once, if whoever asked is still attached.  The seq of *rep is filled in; rep->data is
 * borrowed for the call.  Harmless where *call is none. */
void dataplane_answer(struct dataplane *dp, struct dp_call *call, struct iscsi_reply *rep);

/* Numbers an event and sends it, or keeps it for a client that comes. */
void dataplane_event(struct dataplane *dp, struct iscsi_kevent *ev);
/* The number that the next event gets, for answers that describe. */
uint64_t dataplane_next_event(const struct dataplane *dp);

/* What a binding of ipc/ calls. */
extern const struct ipc_server_ops dataplane_server_ops;

/* Attaches a client, which is copied; one that was attached is detached before: the newest wins.
 * Without client->hello, events that were kept for it flow at once.  Returns its generation. */
uint64_t dataplane_set_client(struct dataplane *dp, const struct ipc_client *client);

/* The client of that generation has gone and is not called any more; harmless where it is not
 * attached.  Its binding calls this, or whoever owns the binding, before it is freed. */
void dataplane_detach(struct dataplane *dp, uint64_t generation);

/* Makes [addr, addr + len) known to every session whose transport wants that (mem_add), now and
 * when another is made.  The memory stays, and stays mapped, until dataplane_mem_remove, or until
 * all sessions are gone.  -EINVAL: it is no memory; -EEXIST: it overlaps what is registered;
 * -ENOSPC; or a session's transport refuses it, and then no session knows it.  Where that of a
 * session which is made later does, a warning is logged, and commands of that session go as with
 * other memory. */
int dataplane_mem_add(struct dataplane *dp, void *addr, size_t len, struct lunette_error *err);

/* The memory that was added at addr is not used as such any more.  -ENOENT: there is none; -EBUSY:
 * commands that have not ended use it, and nothing has changed. */
int dataplane_mem_remove(struct dataplane *dp, const void *addr, struct lunette_error *err);

/* The session for the SCSI midlayer, or NULL.  Lives until the session is destroyed. */
struct scsi_host *dataplane_host(struct dataplane *dp, uint32_t sid);

/* Tells whether connection cid of session sid is not there, or has been lost or stopped. */
bool dataplane_conn_is_down(struct dataplane *dp, uint32_t sid, uint16_t cid);

/* Tells both ends' addresses of a connection.  0, or -errno, and then writes neither: it is not
 * there, not bound, or its transport does not tell. */
int dataplane_conn_names(struct dataplane *dp, uint32_t sid, uint16_t cid,
                         struct sock_addr *ret_local, struct sock_addr *ret_peer);

/* Fills in the counters of a connection.  0; or -ENOENT, and then writes nothing: it is not there.
 */
int dataplane_conn_stats(struct dataplane *dp, uint32_t sid, uint16_t cid, struct iscsi_stats *ret);

/* Says in a few words what carries a connection: buf, or "" where that is not known. */
const char *dataplane_conn_describe(struct dataplane *dp, uint32_t sid, uint16_t cid, char *buf,
                                    size_t size);

/* The name of a session's transport, which lives as long as the registry; NULL: there is no such
 * session. */
const char *dataplane_transport(struct dataplane *dp, uint32_t sid);

/* The session, for whoever shows its values, or NULL: there is none, or it is not iscsi/'s. */
const struct iscsi_session *dataplane_session(struct dataplane *dp, uint32_t sid);

#endif
