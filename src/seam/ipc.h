/* SPDX-License-Identifier: MIT */
/* seam/ipc.h - the uevents between control plane and data plane.
 *
 * The control plane (ctl/ for login/, discovery/ and later control/) calls;
 * dataplane/ serves.  Requests are asynchronous and carry ids and bytes, never
 * pointers into the other side.  Three bindings of ipc/ carry them: direct (one
 * loop), encoded (bytes through a carrier: a queue in the tests, a socket
 * between daemons, where a descriptor travels by SCM_RIGHTS), and encoded over
 * the posted carrier (two loops of two threads).
 *
 * Order: replies come in the order of their requests on one connection, but for
 * DESTROY_SESSION and EP_DISCONNECT, which are answered when the thing is gone;
 * events come in the order of their numbers; replies and events are not ordered
 * to each other but for one connection's.
 *
 * Clients come and go; each attachment of one is a generation.  A client whose
 * binding says so (ipc_client.hello) begins with HELLO, which agrees on a
 * version.  Events wait from then until TAKE_EVENTS, so that the client can look
 * at what is there first: every answer that describes state names the event
 * number from which events go on.  What a client had made and not brought into
 * use when it went away (a session never started, a connection never started, an
 * endpoint without a connection) is kept for a time for its successor, which
 * adopts it with ADOPT or with any request that changes it; then it is undone.
 */
#ifndef SEAM_IPC_H
#define SEAM_IPC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "seam/transport.h"

struct ipc;

/* Versions of the messages that this tree speaks.  Version 1 is the first.  HELLO, its reply and
 * the head of every message keep their form in all versions. */
#define IPC_VERSION_MIN 1
#define IPC_VERSION_MAX 1

/* Requests, named as in Linux's iscsi_if.h.  The numbers are what goes between processes of
 * different versions: they are never changed or used again, new ones are added before COUNT. */
enum iscsi_uevent_type {
    ISCSI_UEVENT_UNKNOWN = 0,
    ISCSI_UEVENT_TRANSPORT_EP_CONNECT = 1,    /* -> ep; EP_EVENT follows */
    ISCSI_UEVENT_TRANSPORT_EP_POLL = 2,       /* -> value: 1 up, 0 not yet */
    ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT = 3, /* first stops a connection that is bound to it */
    ISCSI_UEVENT_CREATE_SESSION = 4,          /* -> sid */
    ISCSI_UEVENT_DESTROY_SESSION = 5,
    ISCSI_UEVENT_CREATE_CONN = 6, /* -> (sid, cid) exists */
    ISCSI_UEVENT_DESTROY_CONN = 7,
    ISCSI_UEVENT_BIND_CONN = 8,
    ISCSI_UEVENT_SET_PARAM = 9,
    ISCSI_UEVENT_START_CONN = 10,
    ISCSI_UEVENT_STOP_CONN = 11,
    ISCSI_UEVENT_SEND_PDU = 12,       /* reply: queued, not yet sent */
    ISCSI_UEVENT_GET_STATS = 13,      /* -> stats */
    ISCSI_UEVENT_GET_TRANSPORT = 14,  /* -> transport; -ENOENT: there is none of that name */
    ISCSI_UEVENT_HELLO = 15,          /* -> hello; -EPROTONOSUPPORT: no version in common */
    ISCSI_UEVENT_TAKE_EVENTS = 16,    /* events flow from here on */
    ISCSI_UEVENT_LIST_SESSIONS = 17,  /* -> sessions */
    ISCSI_UEVENT_LIST_ENDPOINTS = 18, /* -> endpoints */
    ISCSI_UEVENT_GET_SESSION = 19,    /* -> session; data: values_len bytes of values, the note */
    ISCSI_UEVENT_GET_CONN = 20,       /* -> conn; data: the connection's values */
    ISCSI_UEVENT_SET_NOTE = 21,       /* data: the session's note, IPC_NOTE_MAX bytes at most */
    ISCSI_UEVENT_ADOPT = 22,          /* the session sid, or the endpoint ep where sid is 0 */
    ISCSI_UEVENT_COUNT,
};

/* Events of the data plane; numbered as the requests. */
enum iscsi_kevent_type {
    ISCSI_KEVENT_UNKNOWN = 0,
    ISCSI_KEVENT_RECV_PDU = 1,     /* login, text, logout responses, async messages, our rejects */
    ISCSI_KEVENT_CONN_ERROR = 2,   /* once per connection and bind */
    ISCSI_KEVENT_EP_EVENT = 3,     /* an endpoint came up or failed, once each; sid and cid are 0 */
    ISCSI_KEVENT_LOST = 4,         /* events could not be kept: ask for the state; sid, cid are 0 */
    ISCSI_KEVENT_SESSION_GONE = 5, /* nobody adopted the session in time; cid is 0 */
    ISCSI_KEVENT_COUNT,
};

#define IPC_NAME_MAX       32
#define IPC_VALUE_MAX      256
#define IPC_PDU_DATA_MAX   65536 /* bytes of a control PDU's data segment, either way */
#define IPC_NOTE_MAX       1024  /* bytes of the control plane's note in a session */
#define IPC_VALUES_MAX     2048  /* bytes of all values of a session or of a connection, packed */
#define IPC_REPLY_DATA_MAX (IPC_VALUES_MAX + IPC_NOTE_MAX)
#define IPC_CONNS_MAX      32 /* connections of a session */
#define IPC_SESSIONS_PAGE  64 /* sessions that one LIST_SESSIONS names at most */
#define IPC_ENDPOINTS_PAGE 16

enum ipc_session_state {
    IPC_SESSION_NEW,     /* never started */
    IPC_SESSION_RUNNING, /* logged in: commands flow */
    IPC_SESSION_BLOCKED, /* commands wait for a connection */
    IPC_SESSION_FAILED,  /* commands fail */
    IPC_SESSION_ENDING,  /* being destroyed */
    IPC_SESSION_STATES,
};

enum ipc_conn_state {
    IPC_CONN_NEW,     /* not bound yet, or not again since it was stopped */
    IPC_CONN_BOUND,   /* logging in */
    IPC_CONN_STARTED, /* full feature phase */
    IPC_CONN_DOWN,    /* lost, or stopped */
    IPC_CONN_STATES,
};

/* A request.  Fields not named for a type are 0. */
struct iscsi_uevent {
    enum iscsi_uevent_type type;
    uint64_t seq; /* set by the binding, comes back in the reply */
    uint32_t sid; /* all that concern a session or a connection, but CREATE_SESSION */
    uint16_t cid; /* all that concern a connection */
    uint64_t ep;  /* EP_POLL, EP_DISCONNECT, ADOPT, BIND_CONN of transports that connect by
                     themselves */
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
        struct {
            uint32_t min, max; /* versions that the client speaks */
        } hello;
        struct {
            uint64_t from; /* events with lower numbers are dropped; 0: none is */
        } take_events;
        struct {
            uint64_t after; /* the page begins with the lowest id above this */
        } list;
        struct {
            uint32_t len; /* data follows the message; 0 takes the note away */
        } set_note;
    } u;
};

struct ipc_endpoint_info {
    uint64_t ep;
    uint64_t owner; /* the generation that made or adopted it; 0: its connection */
    uint32_t sid;   /* bound to (sid, cid); 0: to none */
    uint16_t cid;
    int32_t state; /* 1 up, 0 not yet, or -errno */
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
        struct {
            uint32_t version;     /* to be spoken from here on */
            uint64_t generation;  /* of this attachment: 1, 2, ... */
            uint64_t first_event; /* the lowest number that is kept for TAKE_EVENTS */
            uint64_t next_event;  /* the number that the next event gets */
            uint32_t grace_ms;    /* time to adopt what a predecessor left, from when it went */
        } hello;
        struct {
            uint64_t next_event;
            bool more; /* ask again after the last id */
            uint32_t count;
            uint32_t sid[IPC_SESSIONS_PAGE]; /* ascending */
        } sessions;
        struct {
            uint64_t next_event;
            bool more;
            uint32_t count;
            struct ipc_endpoint_info ep[IPC_ENDPOINTS_PAGE]; /* ascending by id */
        } endpoints;
        struct {
            uint64_t next_event;
            uint64_t owner; /* the generation that made or adopted it; 0: it has been started */
            enum ipc_session_state state;
            char transport[IPC_NAME_MAX];
            uint32_t nconns;
            uint16_t cid[IPC_CONNS_MAX];
            uint32_t values_len, note_len; /* bytes of the data: values, then the note */
        } session;
        struct {
            uint64_t next_event;
            uint64_t owner; /* as of a session */
            enum ipc_conn_state state;
            uint64_t ep;           /* 0: bound to none */
            struct sock_addr peer; /* where the endpoint was connected to; len 0: not known */
            uint32_t values_len;
        } conn;
    } r;
    const void *data; /* ipc_reply_data_len bytes, borrowed for the call; the client's side never
                         sees NULL here; not part of the encoding */
};

/* Bytes behind a reply. */
static inline uint32_t
ipc_reply_data_len(const struct iscsi_reply *rep)
{
    if (rep->err < 0)
        return 0;
    if (rep->type == ISCSI_UEVENT_GET_SESSION)
        return rep->r.session.values_len + rep->r.session.note_len;
    return rep->type == ISCSI_UEVENT_GET_CONN ? rep->r.conn.values_len : 0;
}

struct iscsi_kevent {
    enum iscsi_kevent_type type;
    uint64_t number; /* 1, 2, ... over all clients; a gap has been said by LOST */
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
        struct {
            uint64_t count; /* events that had the numbers before this one's */
        } lost;
    } u;
};

/* Bytes behind an event. */
static inline uint32_t
ipc_kevent_data_len(const struct iscsi_kevent *ev)
{
    return ev->type == ISCSI_KEVENT_RECV_PDU ? ev->u.recv_pdu.data_len : 0;
}

/* Values as GET_SESSION and GET_CONN pack them: for each, the parameter and the length of its text
 * (16 bits each, low byte first), then the text without a NUL.  Parameters that a reader does not
 * know are skipped by their length. */
struct ipc_value {
    uint32_t param; /* enum iscsi_param, perhaps one of a later version */
    uint32_t len;
    const char *text; /* in the caller's bytes, no NUL */
};
#define IPC_VALUE_HEAD 4

/* Takes the value at *at, which moves on; false at `end` and where the bytes make no sense. */
static inline bool
ipc_value_next(const uint8_t **at, const uint8_t *end, struct ipc_value *ret)
{
    const uint8_t *p = *at;
    uint32_t len;

    if (end - p < IPC_VALUE_HEAD)
        return false;
    len = (uint32_t)p[2] | (uint32_t)p[3] << 8;
    if ((uint32_t)(end - p - IPC_VALUE_HEAD) < len)
        return false;
    *ret = (struct ipc_value){(uint32_t)p[0] | (uint32_t)p[1] << 8, len,
                              (const char *)p + IPC_VALUE_HEAD};
    *at = p + IPC_VALUE_HEAD + len;
    return true;
}

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

/* Sends a request; ev->seq is set.  The reply comes later, never from inside this call; room for it
 * is taken here, so that it cannot fail for want of memory.  -errno only where the message itself
 * could not be sent (then no reply comes, and a descriptor in it stays the caller's): -ENOMEM;
 * -EMSGSIZE: more than IPC_PDU_DATA_MAX bytes of data; -EPIPE: the other side has gone. */
static inline int
ipc_request(struct ipc *ipc, struct iscsi_uevent *ev, const void *data, uint32_t data_len)
{
    return ipc->ops->request(ipc, ev, data, data_len);
}

/* How the server talks back to one client: a binding fills this in. */
struct ipc_client {
    /* The answer to the request with rep->seq, once; does not fail. */
    void (*reply)(void *binding, const struct iscsi_reply *rep);
    /* 0, or -errno: not taken, for want of memory or room; the server keeps or counts it. */
    int (*event)(void *binding, const struct iscsi_kevent *ev, const void *data);
    void *binding;
    bool hello; /* the client is another program: it must begin with HELLO */
};

/* What serves the requests: dataplane/ fills this in, a binding of ipc/ calls it.  serve answers
 * at once or later through from->reply; data and *from are borrowed for the call.  A request of a
 * client that is not attached, or not any more, is refused with -ESTALE. */
struct ipc_server_ops {
    void (*serve)(void *server, const struct ipc_client *from, const struct iscsi_uevent *ev,
                  const void *data, uint32_t data_len);
};

#endif
