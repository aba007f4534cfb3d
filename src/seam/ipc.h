/* SPDX-License-Identifier: MIT */
/* seam/ipc.h - the uevents between control plane and data plane.
 *
 * login/ (and later control/) call; dataplane/ serves.  Requests are
 * asynchronous, carry ids and bytes, never pointers into the other side:
 * the library binds both directly (ipc/direct), daemons put a socket between
 * (a descriptor then travels by SCM_RIGHTS), and a test encodes, delays and
 * decodes every message (ipc/codec), so that nothing relies on a direct call.
 *
 * Order: replies come in the order of their requests on one connection;
 * events and replies are not ordered to each other but for one connection's.
 */
#ifndef SEAM_IPC_H
#define SEAM_IPC_H

#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "seam/transport.h"

struct ipc;

/* Requests, named as in Linux's iscsi_if.h.  The numbers are what goes between processes of
 * different versions: they are never changed or used again, new ones are added before COUNT. */
enum iscsi_uevent_type {
    ISCSI_UEVENT_UNKNOWN = 0,
    ISCSI_UEVENT_TRANSPORT_EP_CONNECT = 1, /* -> ep; EP_EVENT follows */
    ISCSI_UEVENT_TRANSPORT_EP_POLL = 2,    /* -> value: 1 up, 0 not yet */
    ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT = 3,
    ISCSI_UEVENT_CREATE_SESSION = 4, /* -> sid */
    ISCSI_UEVENT_DESTROY_SESSION = 5,
    ISCSI_UEVENT_CREATE_CONN = 6, /* -> (sid, cid) exists */
    ISCSI_UEVENT_DESTROY_CONN = 7,
    ISCSI_UEVENT_BIND_CONN = 8,
    ISCSI_UEVENT_SET_PARAM = 9,
    ISCSI_UEVENT_START_CONN = 10,
    ISCSI_UEVENT_STOP_CONN = 11,
    ISCSI_UEVENT_SEND_PDU = 12,      /* reply: queued, not yet sent */
    ISCSI_UEVENT_GET_STATS = 13,     /* -> stats */
    ISCSI_UEVENT_GET_TRANSPORT = 14, /* -> transport; -ENOENT: there is none of that name */
    ISCSI_UEVENT_COUNT,
};

/* Events of the data plane; numbered as the requests. */
enum iscsi_kevent_type {
    ISCSI_KEVENT_UNKNOWN = 0,
    ISCSI_KEVENT_RECV_PDU = 1,   /* login, text, logout responses, async messages, our rejects */
    ISCSI_KEVENT_CONN_ERROR = 2, /* once per connection and bind */
    ISCSI_KEVENT_EP_EVENT = 3,   /* an endpoint came up or failed, once each; sid and cid are 0 */
    ISCSI_KEVENT_COUNT,
};

#define IPC_NAME_MAX     32
#define IPC_VALUE_MAX    256
#define IPC_PDU_DATA_MAX 65536 /* bytes of a control PDU's data segment, either way */

/* A request.  Fields not named for a type are 0. */
struct iscsi_uevent {
    enum iscsi_uevent_type type;
    uint64_t seq; /* set by the binding, comes back in the reply */
    uint32_t sid; /* all but EP_*, CREATE_SESSION */
    uint16_t cid; /* all that concern a connection */
    uint64_t ep;  /* EP_POLL, EP_DISCONNECT, BIND_CONN of transports that connect by themselves */
    union {
        struct {
            char transport[IPC_NAME_MAX];
            struct sock_addr to;
        } ep_connect;
        struct {
            char transport[IPC_NAME_MAX];
        } get_transport;
        struct {
            char transport[IPC_NAME_MAX];
            uint32_t initial_cmdsn;
            uint32_t cmds_max; /* tasks; 0: default */
        } create_session;
        struct {
            int fd; /* connected descriptor, owned by the data plane from the call on; -1: use ep */
            uint8_t leading;
        } bind_conn;
        struct {
            enum iscsi_param param;
            char value[IPC_VALUE_MAX];
        } set_param;
        struct {
            enum iscsi_stop how;
        } stop_conn;
        struct {
            struct bhs hdr;    /* ITT, CmdSN, ExpStatSN are filled in by the data plane */
            uint32_t data_len; /* data follows the message */
        } send_pdu;
    } u;
};

struct iscsi_reply {
    enum iscsi_uevent_type type; /* of the request */
    uint64_t seq;
    uint32_t sid;
    uint16_t cid;
    int err;                  /* 0 or -errno */
    struct lunette_error why; /* where err < 0 */
    union {
        uint64_t ep;
        int value;
        struct iscsi_stats stats;
        struct {
            uint32_t caps;             /* enum iscsi_caps */
            uint32_t max_recv_dlength; /* the largest worth declaring, bytes */
        } transport;
    } r;
};

struct iscsi_kevent {
    enum iscsi_kevent_type type;
    uint32_t sid;
    uint16_t cid;
    union {
        struct {
            struct bhs hdr;
            uint32_t data_len; /* data follows the message */
        } recv_pdu;
        struct {
            enum iscsi_err err;
            struct lunette_error why;
        } conn_error;
        struct {
            uint64_t ep;
            int err; /* 0: up; or -errno: failed, and still to be disconnected */
        } ep_event;
    } u;
};

/* The control plane's side.  data is borrowed for the call. */
struct ipc_events {
    void (*reply)(void *user, const struct iscsi_reply *rep);
    void (*event)(void *user, const struct iscsi_kevent *ev, const void *data);
};

struct ipc_ops {
    int (*request)(struct ipc *ipc, struct iscsi_uevent *ev, const void *data, uint32_t data_len);
};

/* The head of a binding. */
struct ipc {
    const struct ipc_ops *ops;
    const struct ipc_events *ev; /* set by the control plane before the first request */
    void *ev_user;
};

/* Sends a request; ev->seq is set.  The reply comes later, never from inside this call.  -errno
 * only where the message itself could not be sent (then no reply comes, and a descriptor in it
 * stays the caller's). */
static inline int
ipc_request(struct ipc *ipc, struct iscsi_uevent *ev, const void *data, uint32_t data_len)
{
    return ipc->ops->request(ipc, ev, data, data_len);
}

/* What serves the requests: dataplane/ fills this in, a binding of ipc/ calls it.  serve answers
 * at once or later through *reply; on its way in, data is borrowed for the call. */
struct ipc_server_ops {
    void (*serve)(void *server, const struct iscsi_uevent *ev, const void *data, uint32_t data_len);
};

/* How the server talks back: a binding fills this in before the first request. */
struct ipc_client {
    void (*reply)(void *binding, const struct iscsi_reply *rep);
    void (*event)(void *binding, const struct iscsi_kevent *ev, const void *data);
    void *binding;
};

#endif
