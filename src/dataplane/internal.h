/* SPDX-License-Identifier: MIT */
/* dataplane/internal.h - what the files of dataplane/ share.
 *
 * Each calls only those after it: dataplane.c (requests, life), undo.c (what
 * nobody adopts), list.c (answers that describe), session.c, memory.c, capture.c, endpoint.c,
 * adapter.c, client.c (who is attached, events), values.c, ids.c.  iscsi_session.c is
 * reached by its table alone.
 */
#ifndef DATAPLANE_INTERNAL_H
#define DATAPLANE_INTERNAL_H

#include <stddef.h>

#include "base/htab.h"
#include "dataplane/dataplane.h"
#include "dataplane/values.h"
#include "seam/session.h"

#define DP_CAPTURES_MAX 8 /* at a time, each with memory of its own */
#define DP_CAPTURES_END 4 /* that have ended, while their readers take what is left */

struct dp_capture;
struct dp_adapter;

/* A session or an endpoint as a user of its transport's host. */
struct dp_adapter_use {
    struct list node; /* of dp_adapter.uses */
    struct dp_adapter *adapter;
    struct iscsi_host *host; /* NULL: the transport has none */
    /* The adapter has failed.  It may end any use. */
    void (*failed)(struct dp_adapter_use *u, enum iscsi_err err, const char *why);
    bool doomed; /* it is to be told of that */
};

/* Who owns something that is half-made.  owner: the generation of the client, which may have gone;
 * 0: the thing is in use and belongs to nobody, or to what it is bound to.  undo_at_ns: when it is
 * to be undone because its owner has gone; 0: never. */
struct dp_half {
    uint64_t owner, undo_at_ns;
};

/* References: one from its making until EP_DISCONNECT (or until it is undone), and one of the
 * connection that is bound to it, until the transport has let go of that. */
struct dp_endpoint {
    struct hnode hnode; /* of dataplane.by_ep until it is released */
    struct list node;   /* of dataplane.endpoints, ascending by id; then of dataplane.released */
    struct dataplane *dp;
    struct dp_conn *conn; /* bound to it, or NULL */
    struct dp_adapter_use use;
    struct dp_half half;
    uint64_t known_to; /* generation of the last client that made, adopted or bound it */
    unsigned refs;
    bool closing; /* the first reference is gone: it is not found any more */
    int state;    /* 1 up, 0 not yet, -errno */
    struct dp_call disconnect;
    struct sock_addr to;
    struct iscsi_endpoint pub;
    max_align_t dd_data[]; /* the transport's part, which may have any type */
};

struct dp_conn {
    struct list node; /* of dp_session.conns */
    struct dp_session *session;
    void *handle; /* the owner's */
    struct dp_endpoint *ep;
    struct dp_half half; /* of its own where the session has been started */
    struct dp_values values;
    uint16_t cid;
    enum ipc_conn_state state;
    bool leaving; /* STARTED: the target has asked for a logout, and said so in RECV_PDU */
    bool bound;   /* until conn_down */
    bool started; /* once */
    bool dying;   /* destroyed, but the transport still has it: not found any more */
    bool doomed;  /* its adapter has failed, and it has not been told yet */
};

struct dp_session {
    struct hnode hnode; /* of dataplane.by_sid */
    struct list node;   /* of dataplane.sessions, ascending by sid */
    struct dataplane *dp;
    const struct dp_session_ops *ops;
    void *s; /* the owner's */
    struct scsi_host *host;
    const struct iscsi_transport *tt;
    struct dp_adapter_use use;
    struct list conns;
    unsigned nconns;
    struct dp_half half;
    struct dp_values values;
    uint8_t *note;
    uint32_t note_len;
    uint32_t sid;
    bool started, dying;
    uint64_t lost_ns; /* loop clock when it lost its connection; 0: it runs */
    bool freed;       /* its owner has let go of it: only the upper still has something of it */
    struct dp_call destroy;
    struct dp_capture *capture; /* NULL: none */
    uint64_t regions;           /* a bit for each of dataplane.regions that its transport knows */
};

/* Memory that is registered; len 0: a free place. */
struct dp_region {
    char *addr;
    size_t len;
};

struct dataplane {
    struct loop *loop;
    const struct transport_registry *registry;
    struct dp_ids *ids;
    bool own_ids, closing;
    const struct dataplane_upper_ops *upper_ops; /* NULL: nobody stands above the sessions */
    void *upper;
    struct dataplane_limits limits;
    uint32_t loop_index, loops; /* which of the process's loops this is, and how many there are */

    /* client.c */
    struct ipc_client client;
    uint64_t generation;  /* of the client that is attached; 0: none is */
    uint64_t generations; /* how many generations there have been */
    bool greeted;         /* HELLO has been answered, or is not asked for */
    bool flowing;         /* events go to the client at once */
    struct list events;   /* events that wait, without a gap between their numbers */
    uint32_t nevents, event_bytes;
    uint64_t lost; /* how many events after those that wait are lost; LOST tells it */
    uint64_t last_event;
    struct loop_timer retry;

    /* capture.c */
    struct list captures;
    unsigned ncaptures, nended;     /* nended of them have ended */
    struct dp_capture *capture_all; /* of each session from its beginning; NULL: none */

    struct dp_region regions[DATAPLANE_REGIONS_MAX];

    struct list adapters; /* struct dp_adapter */
    struct loop_work adapters_left;

    struct list sessions, endpoints, released;
    struct htab by_sid, by_ep; /* the sessions and the endpoints again */
    unsigned nsessions, nendpoints;
    struct loop_work release;
    struct loop_timer undo;
};

/* A request is served by functions that fill in *rep and return 0, -errno with rep->why, or
 * DP_ANSWERED_LATER. */

/* ---- client.c ------------------------------------------------------------------------------- */

void dp_client_init(struct dataplane *dp);
void dp_client_fini(struct dataplane *dp);
void dp_client_attach(struct dataplane *dp, const struct ipc_client *client);
void dp_client_detach(struct dataplane *dp);
/* Numbers ev and sends it, or keeps it, or counts it as lost. */
void dp_event(struct dataplane *dp, struct iscsi_kevent *ev, const void *data);
/* Remembers that the request is answered later. */
struct dp_call dp_call_of(const struct dataplane *dp, const struct iscsi_uevent *ev);
/* Answers it, if whoever asked is still attached; then there is no call any more. */
void dp_call_answer(struct dataplane *dp, struct dp_call *call, struct iscsi_reply *rep);
int dp_serve_hello(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep);
int dp_serve_take_events(struct dataplane *dp, const struct iscsi_uevent *ev,
                         struct iscsi_reply *rep);

/* The client that is attached owns it from now on. */
void dp_half_adopt(struct dataplane *dp, struct dp_half *half);
/* Its owner has gone: it is undone after the grace, unless it is adopted. */
void dp_half_leave(struct dataplane *dp, struct dp_half *half);

/* ---- memory.c ------------------------------------------------------------------------------- */

/* Tells the session, which has just been made, of all memory that is registered. */
void dp_session_regions(struct dp_session *ds);

/* ---- adapter.c ------------------------------------------------------------------------------ */

void dp_adapters_init(struct dataplane *dp);
void dp_adapters_fini(struct dataplane *dp);
/* Has u use the host of that transport on this loop, which is made where there is none; u->host is
 * NULL where the transport has no hosts.  u->failed is set before, or NULL.  0, or -errno with
 * *err.
 */
int dp_adapter_join(struct dataplane *dp, const struct iscsi_transport *tt,
                    struct dp_adapter_use *u, struct lunette_error *err);
/* u does not use it any more.  The last one ends the host, later. */
void dp_adapter_leave(struct dp_adapter_use *u);

/* ---- endpoint.c ----------------------------------------------------------------------------- */

void dp_endpoints_init(struct dataplane *dp);
void dp_endpoints_fini(struct dataplane *dp);
struct dp_endpoint *dp_ep_find(struct dataplane *dp, uint64_t id);
int dp_ep_missing(const struct iscsi_uevent *ev, struct iscsi_reply *rep);
/* It has been connected, though the event that says so may still come. */
bool dp_ep_is_up(struct dp_endpoint *e);
void dp_ep_bound(struct dp_endpoint *e, struct dp_conn *c);
/* The client that is attached has e from now on. */
void dp_ep_adopt(struct dp_endpoint *e);
/* The transport has let go of c. */
void dp_ep_unbound(struct dp_conn *c);
/* Ends the first reference: e is disconnected as soon as no connection is bound to it. */
void dp_ep_close(struct dp_endpoint *e);
int dp_transport(struct dataplane *dp, const char name[IPC_NAME_MAX],
                 const struct iscsi_transport **ret, struct lunette_error *err);
int dp_serve_get_transport(struct dataplane *dp, const struct iscsi_uevent *ev,
                           struct iscsi_reply *rep);
int dp_serve_ep_connect(struct dataplane *dp, const struct iscsi_uevent *ev,
                        struct iscsi_reply *rep);
int dp_serve_ep_poll(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep);
int dp_serve_ep_disconnect(struct dataplane *dp, const struct iscsi_uevent *ev,
                           struct iscsi_reply *rep);

/* ---- session.c ------------------------------------------------------------------------------ */

struct dp_session *dp_session_even_dying(struct dataplane *dp, uint32_t sid);
/* Neither finds what is being destroyed. */
struct dp_session *dp_session_find(struct dataplane *dp, uint32_t sid);
struct dp_conn *dp_conn_find(struct dp_session *ds, uint16_t cid);
int dp_session_missing(const struct iscsi_uevent *ev, struct iscsi_reply *rep);
int dp_conn_missing(const struct iscsi_uevent *ev, struct iscsi_reply *rep);
/* The state of a session that has been started and whose host is in that state. */
enum ipc_session_state dp_state_of_host(enum scsi_host_state state);
/* The client that is attached takes the session or the connection over, unless it is in use. */
void dp_session_adopt(struct dp_session *ds);
void dp_conn_adopt(struct dp_conn *c);
/* Starts the session's end; not twice. */
void dp_session_end(struct dp_session *ds);
/* The upper has nothing left of a session whose owner has let go of it. */
void dp_session_upper_done(struct dataplane *dp, uint32_t sid);
void dp_conn_end(struct dp_conn *c);
/* Closes the descriptor in a request that was not served; it is ours by contract. */
void dp_close_descriptor(struct dataplane *dp, const struct iscsi_uevent *ev);

int dp_serve_create_session(struct dataplane *dp, const struct iscsi_uevent *ev,
                            struct iscsi_reply *rep);
int dp_serve_destroy_session(struct dataplane *dp, const struct iscsi_uevent *ev,
                             struct iscsi_reply *rep);
int dp_serve_create_conn(struct dataplane *dp, const struct iscsi_uevent *ev,
                         struct iscsi_reply *rep);
int dp_serve_destroy_conn(struct dataplane *dp, const struct iscsi_uevent *ev,
                          struct iscsi_reply *rep);
int dp_serve_bind_conn(struct dataplane *dp, const struct iscsi_uevent *ev,
                       struct iscsi_reply *rep);
int dp_serve_set_param(struct dataplane *dp, const struct iscsi_uevent *ev,
                       struct iscsi_reply *rep);
int dp_serve_start_conn(struct dataplane *dp, const struct iscsi_uevent *ev,
                        struct iscsi_reply *rep);
int dp_serve_stop_conn(struct dataplane *dp, const struct iscsi_uevent *ev,
                       struct iscsi_reply *rep);
int dp_serve_send_pdu(struct dataplane *dp, const struct iscsi_uevent *ev, const void *data,
                      uint32_t data_len, struct iscsi_reply *rep);
int dp_serve_upper(struct dataplane *dp, const struct iscsi_uevent *ev, const void *data,
                   uint32_t data_len, struct iscsi_reply *rep);
int dp_serve_set_note(struct dataplane *dp, const struct iscsi_uevent *ev, const void *data,
                      uint32_t data_len, struct iscsi_reply *rep);
int dp_serve_start_capture(struct dataplane *dp, const struct iscsi_uevent *ev, const void *data,
                           uint32_t data_len, struct iscsi_reply *rep);
int dp_serve_get_stats(struct dataplane *dp, const struct iscsi_uevent *ev,
                       struct iscsi_reply *rep);

/* ---- list.c: answers that describe; data points into a buffer of IPC_SESSION_DATA_MAX bytes ----
 */

int dp_serve_list_sessions(struct dataplane *dp, const struct iscsi_uevent *ev,
                           struct iscsi_reply *rep);
int dp_serve_list_endpoints(struct dataplane *dp, const struct iscsi_uevent *ev,
                            struct iscsi_reply *rep);
int dp_serve_get_session(struct dataplane *dp, const struct iscsi_uevent *ev,
                         uint8_t buf[IPC_SESSION_DATA_MAX], struct iscsi_reply *rep);
int dp_serve_get_conn(struct dataplane *dp, const struct iscsi_uevent *ev,
                      uint8_t buf[IPC_SESSION_DATA_MAX], struct iscsi_reply *rep);

int dp_serve_get_flight(struct dataplane *dp, const struct iscsi_uevent *ev,
                        struct iscsi_reply *rep);

/* ---- capture.c ------------------------------------------------------------------------------ */

int dp_capture_start(struct dp_session *ds, const struct iscsi_uevent *ev, const void *data,
                     uint32_t data_len, struct iscsi_reply *rep);
/* The session has been made. */
void dp_capture_created(struct dp_session *ds);
/* A connection of the session is bound.  fresh: just now. */
void dp_capture_bound(const struct dp_session *ds, const struct dp_conn *c, bool fresh);
/* The transport has let go of the connection, or is about to. */
void dp_capture_down(const struct dp_session *ds, const void *conn);
/* All connections of the session are gone. */
void dp_capture_session_over(const struct dp_session *ds);
/* No session is made any more: captures that nobody reads end. */
void dp_captures_shutdown(struct dataplane *dp);
/* Drops every capture as it is, with what its reader has not taken. */
void dp_captures_drop(struct dataplane *dp);

/* ---- undo.c --------------------------------------------------------------------------------- */

void dp_undo_init(struct dataplane *dp);
/* The client of that generation has gone: what it left half-made is undone after the grace, unless
 * it is adopted. */
void dp_undo_schedule(struct dataplane *dp, uint64_t generation);
int dp_serve_adopt(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep);

/* ---- iscsi_session.c ------------------------------------------------------------------------ */

/* Tells both ends' addresses.  0, or -errno, and then writes neither: the connection is not bound,
 * or its transport does not tell. */
int dp_conn_names(const struct dp_conn *c, struct sock_addr *ret_local, struct sock_addr *ret_peer);
/* What carries the connection, in words.  False, and then writes nothing: as above. */
bool dp_conn_describe(const struct dp_conn *c, char *buf, size_t size);

extern const struct dp_session_ops dp_iscsi_session_ops;
/* The connection of a session of these operations is lost. */
void dp_iscsi_conn_fail(void *conn, enum iscsi_err err, const char *why);
/* The session behind a handle of these operations. */
struct iscsi_session *dp_iscsi_session(const void *session);

#endif
