/* SPDX-License-Identifier: MIT */
/* seam/ipc.h - the messages between control plane and data plane, which are named after the
 * uevents of Linux's iscsi_if.h.
 *
 * The control plane sends requests, through ctl/ on behalf of login/ and discovery/.
 * dataplane/ serves them.  Every request gets one reply, later and never from inside
 * the call.  Messages carry ids and bytes, never pointers into the other side.
 *
 * A binding carries the messages.  ipc/ has a direct one, for two sides on one loop,
 * and an encoded one, which turns each message into bytes and hands them to a
 * carrier: the posted carrier goes between the loops of two threads, the tests have
 * one that delays each message, and a socket can serve two processes.
 *
 * Order: the replies to requests that concern the same connection come in the order
 * of the requests.  DESTROY_SESSION and EP_DISCONNECT are excepted, which are
 * answered when the session or the endpoint is gone, and so are SCAN_HOST,
 * UNBIND_SESSION, START_EXPORT and STOP_EXPORT, which take their time.  Events come in the
 * order of their numbers.  A reply and an event may overtake each other, since a
 * carrier keeps only replies among themselves and events among themselves in order.
 *
 * The control plane that is attached is the client, and each attachment has a number,
 * its generation.  A client whose binding says so (ipc_client.hello) begins with
 * HELLO, in which both sides agree on a version.  From HELLO until TAKE_EVENTS the
 * data plane holds all events back, so that the client can first ask for the state
 * that it finds.  Every reply that describes state carries next_event: what has a
 * lower number is in the reply already, and the client can have it dropped.
 *
 * A client may go away before it has brought into use what it had made: a session or
 * a connection that was never started, an endpoint without a connection.  The data
 * plane keeps such things for the next client for hello.grace_ms.  The next client takes
 * them over with ADOPT, or with any request that changes them; what nobody has taken
 * over by then is undone.
 */
#ifndef SEAM_IPC_H
#define SEAM_IPC_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "seam/transport.h"

struct ipc;

/* Versions of the messages that this tree speaks; 1 is the first that there was.  HELLO, its reply
 * and the head of every message keep their form in all versions, so that any two can agree on one.
 */
#define IPC_VERSION_MIN 1
#define IPC_VERSION_MAX 1

/* Requests.  Peers of other versions know them by number, so a number never changes its meaning and
 * is never used again; new ones are added before COUNT.
 *
 * "-> x" says that a reply without an error has the member x of iscsi_reply.r (-> sid:
 * iscsi_reply.sid); "data" is what follows the message.  Which fields a request has is said at
 * struct iscsi_uevent. */
enum iscsi_uevent_type {
    ISCSI_UEVENT_UNKNOWN = 0,
    ISCSI_UEVENT_TRANSPORT_EP_CONNECT = 1, /* -> ep; the event EP_EVENT tells whether it came up */
    ISCSI_UEVENT_TRANSPORT_EP_POLL = 2,    /* -> value: 1 up, 0 not yet */
    ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT =
        3,                           /* a connection that is bound to it is stopped first */
    ISCSI_UEVENT_CREATE_SESSION = 4, /* -> sid */
    ISCSI_UEVENT_DESTROY_SESSION = 5,
    ISCSI_UEVENT_CREATE_CONN = 6, /* the client chooses the cid, which is free in the session */
    ISCSI_UEVENT_DESTROY_CONN = 7,
    ISCSI_UEVENT_BIND_CONN = 8,
    ISCSI_UEVENT_SET_PARAM = 9,
    ISCSI_UEVENT_START_CONN = 10,
    ISCSI_UEVENT_STOP_CONN = 11,
    /* Answered when the PDU is queued, not when it is sent.  After an Asynchronous Message that
     * asks for a logout (RFC 7143 11.9.1, events 1 and 4) a Logout Request waits for the commands
     * that are under way, for half of the time that the target gave at most, and new commands wait
     * until another login.  Where nobody logs out in time, or nobody stops the connection when the
     * target has answered, the data plane gives the connection up by itself. */
    ISCSI_UEVENT_SEND_PDU = 12,
    ISCSI_UEVENT_GET_STATS = 13,      /* -> stats */
    ISCSI_UEVENT_GET_TRANSPORT = 14,  /* -> transport; -ENOENT: there is none of that name */
    ISCSI_UEVENT_HELLO = 15,          /* -> hello; -EPROTONOSUPPORT: no version in common */
    ISCSI_UEVENT_TAKE_EVENTS = 16,    /* from now on the data plane sends events */
    ISCSI_UEVENT_LIST_SESSIONS = 17,  /* -> sessions */
    ISCSI_UEVENT_LIST_ENDPOINTS = 18, /* -> endpoints */
    ISCSI_UEVENT_GET_SESSION = 19,    /* -> session; data: values_len bytes of values, the note */
    ISCSI_UEVENT_GET_CONN = 20,       /* -> conn; data: the connection's values */
    ISCSI_UEVENT_SET_NOTE = 21,       /* data: the session's note, IPC_NOTE_MAX bytes at most */
    ISCSI_UEVENT_ADOPT = 22, /* takes over the session sid, or with sid 0 the endpoint ep */

    /* What is above a session: SCSI units, their disks, and exports of these.  Where nobody stands
     * above the sessions, as in the library, these are answered with -EOPNOTSUPP.
     *
     * SCAN_HOST looks for the units of the session (or for one) and brings their disks up.  It is
     * answered when that has ended, also where single units failed, if it was not for one -> value:
     * units that are known.  A unit that is gone for good, or in whose place another one is, and
     * that has no export any more, is forgotten before.  -EAGAIN: the session has never been
     * started, or its units have been unbound since. */
    ISCSI_UEVENT_SCAN_HOST = 23,
    ISCSI_UEVENT_LIST_LUNS = 24, /* -> luns; data: packed units (seam/ipc_lun.h) */
    /* Stops all exports of the session, flushes and closes its disks, and is answered then. Nothing
     * can be scanned or exported until START_CONN has started the session again.  Asked for a
     * second time, it is answered together with the first.  With an error, it is done all the same:
     * what was written last may not be on stable storage. */
    ISCSI_UEVENT_UNBIND_SESSION = 25,
    /* Serves the disk of a unit to other processes; answered when clients may come.  data: the path
     * at which they find it.  A unit has one export at most (-EBUSY). */
    ISCSI_UEVENT_START_EXPORT = 26,
    ISCSI_UEVENT_STOP_EXPORT = 27,   /* answered when the export is gone */
    ISCSI_UEVENT_GET_LUN_STATS = 28, /* -> lun_stats; data: histograms (seam/ipc_latency.h) */

    /* The last headers that the connection has sent and received -> flight; data: packed PDUs, the
     * oldest first (ipc_flight_next). */
    ISCSI_UEVENT_GET_FLIGHT = 31,
    /* Shows all PDUs of the session from now on as a capture file (pcapng).  data: the absolute
     * path of a local socket at which the file is read, by one reader, who has to come within 10
     * seconds.  The capture goes over to new connections of the session.  It ends with the session,
     * at its limits, when the reader shuts down its side, and when it goes.  Answered when the
     * reader may come.  -EBUSY: the session is being captured, and one that has ended does not
     * count, though it is still read; -EAGAIN: too many sessions are; -EINVAL: the path. */
    ISCSI_UEVENT_START_CAPTURE = 32,

    /* Those of an engine (engine/), which plays an adapter, and of its clients; a data plane
     * answers them with -EOPNOTSUPP.
     *
     * After HELLO a client sends each of the descriptors of enum ipc_engine_fd once, and then
     * ATTACH, which makes them the attachment's.  -EBUSY: it is attached. */
    ISCSI_UEVENT_ENGINE_FD = 33,
    ISCSI_UEVENT_ENGINE_ATTACH = 34, /* -> attach */
    /* The table of targets that an engine keeps, by index, 0..IPC_FLASHNODES_MAX - 1.  Texts are
     * lines "NAME = VALUE" with the names of open-iscsi's flashnode records. */
    ISCSI_UEVENT_NEW_FLASHNODE = 35, /* -> value: its index, which is free until then */
    ISCSI_UEVENT_DEL_FLASHNODE = 36, /* -EBUSY: it is logged in */
    ISCSI_UEVENT_SET_FLASHNODE = 37, /* data: text; all of it is taken, or nothing */
    ISCSI_UEVENT_GET_FLASHNODE = 38, /* -> text; data: text */
    ISCSI_UEVENT_LIST_FLASHNODES =
        39, /* -> text; data: a line each: index, state, target, portal */
    ISCSI_UEVENT_LOGIN_FLASHNODE = 40,  /* answered when it is logged in, or could not */
    ISCSI_UEVENT_LOGOUT_FLASHNODE = 41, /* answered when it is logged out */
    /* The table of names and secrets, which never leave it. */
    ISCSI_UEVENT_SET_CHAP = 42,    /* data: a line each: name, secret */
    ISCSI_UEVENT_LIST_CHAP = 43,   /* -> text; data: a line each: index, name */
    ISCSI_UEVENT_DELETE_CHAP = 44, /* -EBUSY: a record of the other table has it */
    /* Connects to data, an address as "HOST:PORT", and closes: -> value: microseconds that it took.
     */
    ISCSI_UEVENT_SEND_PING = 45,
    ISCSI_UEVENT_GET_HOST_STATS = 46, /* -> text; data: lines "NAME = NUMBER" */
    ISCSI_UEVENT_COUNT,
};

/* Events of the data plane.  Their numbers keep their meaning as those of the requests do. */
enum iscsi_kevent_type {
    ISCSI_KEVENT_UNKNOWN = 0,
    /* A PDU for the control plane: a Login, Text or Logout Response, a NOP-In that answers its
     * ping, an Asynchronous Message, or a Reject. */
    ISCSI_KEVENT_RECV_PDU = 1,
    ISCSI_KEVENT_CONN_ERROR = 2, /* the connection is lost: at most one event for each bind */
    ISCSI_KEVENT_EP_EVENT = 3,   /* an endpoint came up or failed, once each; sid and cid are 0 */
    /* The data plane had to drop events, so the client has to ask for the state again; sid and cid
     * are 0. */
    ISCSI_KEVENT_LOST = 4,
    ISCSI_KEVENT_SESSION_GONE = 5, /* nobody adopted the session in time; cid is 0 */
    /* The session, which has been started, is in another state: RUNNING, BLOCKED or FAILED.  cid is
     * 0.  Where the cause is a lost connection, its CONN_ERROR comes later. */
    ISCSI_KEVENT_SESSION_STATE = 6,
    ISCSI_KEVENT_LUN = 7,            /* something happened to a unit of the session; cid is 0 */
    ISCSI_KEVENT_EXPORT_STOPPED = 8, /* an export has ended by itself, and is gone; cid is 0 */
    /* A connection whose adapter logs in by itself (CAP_LOGIN_OFFLOAD) is logged in, or could not:
     * once for each START_CONN that went well, perhaps before its reply.  Where it could not, the
     * client has to stop it. */
    ISCSI_KEVENT_CONN_LOGIN_STATE = 9,
    ISCSI_KEVENT_COUNT,
};

/* What an engine's client sends it, one descriptor each. */
enum ipc_engine_fd {
    IPC_ENGINE_REGION,      /* memory of seam/shm.h with the rings (offload/entry.h) */
    IPC_ENGINE_ARENA,       /* the same with data */
    IPC_ENGINE_BELL_ENGINE, /* the bell that wakes the engine */
    IPC_ENGINE_BELL_CLIENT,
    IPC_ENGINE_FDS,
};

/* How an engine serves a client: the classes of adapters. */
enum ipc_engine_class {
    IPC_ENGINE_ADMIN,   /* the tables only: no memory is shared */
    IPC_ENGINE_SESSION, /* the engine has the sessions */
    IPC_ENGINE_PDU,     /* the engine moves the data of tasks */
    IPC_ENGINE_TCP,     /* the engine moves PDUs */
    IPC_ENGINE_CLASSES,
};

#define IPC_FLASHNODES_MAX   512
#define IPC_NAME_MAX         32       /* bytes of a transport's name, with the NUL */
#define IPC_VALUE_MAX        256      /* bytes of a parameter's text, with the NUL */
#define IPC_PDU_DATA_MAX     262144   /* bytes of the data segment of a control PDU that is sent, */
#define IPC_RECV_DATA_MAX    0xffffff /* and of one that has come, which can be no larger */
#define IPC_NOTE_MAX         2048     /* bytes of the control plane's note in a session */
#define IPC_VALUES_MAX       2048 /* bytes of all values of a session or of a connection, packed */
#define IPC_SESSION_DATA_MAX (IPC_VALUES_MAX + IPC_NOTE_MAX)
#define IPC_CONNS_MAX        32                /* connections of a session */
#define IPC_SESSIONS_PAGE    64                /* sessions that one LIST_SESSIONS names at most */
#define IPC_ENDPOINTS_PAGE   16                /* endpoints that one LIST_ENDPOINTS names at most */
#define IPC_LUNS_PAGE        16                /* units that one LIST_LUNS names at most */
#define IPC_LUNS_DATA_MAX    12288             /* bytes of them, packed */
#define IPC_LATENCY_DATA_MAX 9216              /* bytes of the histograms of a unit, packed */
#define IPC_FLIGHT_PDU       57                /* bytes of a packed PDU of GET_FLIGHT */
#define IPC_FLIGHT_MAX       200               /* PDUs that one GET_FLIGHT tells of */
#define IPC_REPLY_DATA_MAX   IPC_LUNS_DATA_MAX /* bytes of the data of any reply */
#define IPC_PATH_MAX         108               /* bytes of the path of an export, with the NUL */

enum ipc_session_state {
    IPC_SESSION_NEW,     /* never started */
    IPC_SESSION_RUNNING, /* logged in: commands flow */
    IPC_SESSION_BLOCKED, /* commands wait for a connection */
    IPC_SESSION_FAILED,  /* commands fail */
    IPC_SESSION_ENDING,  /* being destroyed */
    IPC_SESSION_STATES,
};

enum ipc_conn_state {
    IPC_CONN_NEW,     /* never bound */
    IPC_CONN_BOUND,   /* logging in */
    IPC_CONN_STARTED, /* full feature phase */
    IPC_CONN_DOWN,    /* lost or stopped, and not bound again since */
    IPC_CONN_LEAVING, /* full feature phase, and the target wants it to be logged out */
    IPC_CONN_STATES,
};

static inline bool
ipc_conn_is_up(enum ipc_conn_state state)
{
    return state == IPC_CONN_STARTED || state == IPC_CONN_LEAVING;
}

/* What an event LUN tells. */
enum ipc_lun_event {
    IPC_LUN_EV_CAME,         /* a scan has found the unit */
    IPC_LUN_EV_CHANGED,      /* its size, write protection or cache */
    IPC_LUN_EV_GONE,         /* it takes no I/O any more; it may come back by itself */
    IPC_LUN_EV_LUNS_CHANGED, /* the target's list of units has changed: scan again */
    IPC_LUN_EV_ATTENTION,    /* anything else: see why */
    IPC_LUN_EVENTS,
};

/* A request.  A field that does not belong to its type is 0. */
struct iscsi_uevent {
    enum iscsi_uevent_type type;
    uint64_t seq; /* the binding sets it, and the reply has the same */
    uint32_t sid; /* in requests about a session or a connection, except CREATE_SESSION */
    uint16_t cid; /* in requests about a connection */
    uint64_t ep;  /* in EP_POLL, EP_DISCONNECT, ADOPT, and in BIND_CONN where the transport connects
                     by itself */
    union {
        struct {
            char transport[IPC_NAME_MAX];
            struct sock_addr to;
            struct sock_addr source;     /* the local address to use, port 0; len 0: any */
            char options[IPC_VALUE_MAX]; /* as ISCSI_PARAM_OPTIONS; "": none */
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
            /* A connected descriptor, which the data plane owns once ipc_request has returned 0,
             * even if it refuses the request; -1: the connection is bound to ep.  A binding between
             * processes hands the server -EMFILE where one was sent and could not be received. */
            int fd;
            uint8_t leading; /* 1: the first connection of a new nexus; 0: a further one */
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
            uint32_t loop;     /* of the data plane that is meant, 0..hello.loops-1 */
        } hello;
        struct {
            uint64_t from; /* the first event to send: those before it are dropped; 0: send all */
        } take_events;
        struct {
            uint64_t after; /* the reply begins with the lowest id above this */
        } list;             /* LIST_SESSIONS, LIST_ENDPOINTS */
        struct {
            uint32_t len; /* data follows the message; 0 takes the note away */
        } set_note;
        struct {
            bool one;       /* this unit and no other */
            uint8_t lun[8]; /* as on the wire */
        } scan;
        struct {
            uint32_t after; /* the reply begins with the lowest index above this; 0: at the first */
        } list_luns;
        struct {
            uint8_t lun[8];
        } lun; /* STOP_EXPORT, GET_LUN_STATS */
        struct {
            char kind[IPC_NAME_MAX]; /* "nbd" */
            uint8_t lun[8];
            bool read_only;
            uint32_t path_len; /* bytes of the data that follows the message: the path, which begins
                                  with a slash, no NUL */
        } start_export;
        struct {
            uint64_t unix_ns;      /* nanoseconds since 1970, now: the data plane has no calendar */
            uint64_t segments_max; /* the capture ends after so many; 0: no limit */
            uint32_t limit_s;      /* seconds after which it ends; 0: no limit */
            bool no_payload;       /* data of commands stay out */
            uint32_t path_len; /* bytes of the data that follows the message: the path, no NUL */
        } start_capture;
        struct {
            int fd; /* as bind_conn.fd, but never -1 */
            enum ipc_engine_fd what;
        } engine_fd;
        struct {
            enum ipc_engine_class class;
            uint32_t slots;      /* 1..OFFLOAD_SLOTS_MAX (offload/entry.h) */
            uint32_t generation; /* of the memory: another with each attachment of a client */
            uint64_t arena;      /* bytes; a multiple of 4096 */
        } engine_attach;
        struct {
            uint32_t index;    /* of the table; 0 where the request has none */
            uint32_t text_len; /* bytes of the data that follows the message */
        } engine_table;        /* NEW_FLASHNODE to GET_HOST_STATS */
    } u;
};

struct ipc_endpoint_info {
    uint64_t ep;
    uint64_t owner; /* generation of the client that made or adopted it; 0: a connection holds it */
    uint32_t sid;   /* of the connection that it is bound to; 0: it is bound to none */
    uint16_t cid;
    int32_t state; /* 1 up, 0 not yet, or -errno with which it failed */
};

/* Counters of a unit since its disk came up, and of its export since that was started: 0 where
 * there is none.  All are 64 bits wide, since they cross as an array of such numbers. */
struct ipc_lun_stats {
    /* struct bdev_stats of seam/bdev.h */
    struct {
        uint64_t reqs, errors, bytes;
    } read, write, flush, discard, write_zeroes;
    uint64_t pieces, splits, requeues, busy, timeouts, driver_ns;
    /* struct scsi_device_stats of scsi/scsi.h */
    uint64_t commands, retries, unit_attentions, aborts, lu_resets, lost_writes;
    /* struct export_stats of seam/export.h */
    uint64_t export_reads, export_writes, export_flushes, export_discards, export_errors;
    uint64_t export_bytes_read, export_bytes_written, export_clients;
    /* struct bdev_latency of seam/bdev.h */
    uint64_t timed;    /* requests */
    uint64_t data_len; /* bytes of the data: packed histograms; IPC_LATENCY_DATA_MAX at most */
};

/* The answer to a request.  It is borrowed, with its data, for the call that hands it over. */
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
            uint32_t max_recv_dlength; /* bytes: the largest MaxRecvDataSegmentLength that it is
                                          worth to declare; 0: no limit */
        } transport;
        struct {
            uint32_t version;     /* to be spoken from here on */
            uint64_t generation;  /* of this attachment: 1, 2, ... */
            uint64_t first_event; /* the lowest number that the data plane still has to send */
            uint64_t next_event;  /* the number that the next event gets */
            uint32_t grace_ms;    /* how long the data plane keeps what a client has left half-made,
                                     from the moment that the client went away */
            uint32_t loops; /* that the other process has: each has sessions, events and a client
                               of its own, and the client attaches to each by itself */
        } hello;
        struct {
            uint64_t next_event;
            bool more; /* there are further ones: ask again, with list.after = the last id */
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
            uint64_t owner; /* generation of the client that made or adopted it; 0: it has been
                               started, and needs no owner any more */
            enum ipc_session_state state;
            uint32_t down_ms; /* since it lost its connection: Time2Wait counts from there; 0: it
                                 runs, or was never started */
            char transport[IPC_NAME_MAX];
            uint32_t nconns;
            uint16_t cid[IPC_CONNS_MAX];
            uint32_t values_len, note_len; /* bytes of the data: values, then the note */
        } session;
        struct {
            uint64_t next_event;
            uint64_t owner; /* as for a session */
            enum ipc_conn_state state;
            uint64_t ep; /* 0: bound to none */
            /* The addresses of both ends while it is bound, else where its endpoint was connected
             * to; len 0: not known. */
            struct sock_addr local, peer;
            uint32_t values_len;
        } conn;
        struct {
            uint64_t next_event;
            bool
                more; /* there are further ones: ask again, with list_luns.after = the last index */
            uint32_t count;
            uint32_t data_len; /* bytes of the data: count packed units, ascending by index */
        } luns;
        struct ipc_lun_stats lun_stats;
        struct {
            uint32_t count; /* PDUs in the data */
        } flight;
        struct {
            uint32_t sessions_max;      /* that the client may have attached at a time */
            uint32_t max_transfer;      /* bytes of one command */
            uint32_t pid;               /* of the engine, for people */
            char version[IPC_NAME_MAX]; /* of the engine's program, for people */
        } attach;
        struct {
            uint32_t len; /* bytes of the data */
            bool more;    /* there are further ones: ask again, from the index after the last */
        } text;
    } r;
    /* ipc_reply_data_len bytes.  The server may leave it NULL where that is 0; a binding hands the
     * client a pointer that is never NULL. */
    const void *data;
};

/* Bytes of the data that follow a reply. */
static inline uint32_t
ipc_reply_data_len(const struct iscsi_reply *rep)
{
    if (rep->err < 0)
        return 0;
    if (rep->type == ISCSI_UEVENT_GET_SESSION)
        return rep->r.session.values_len + rep->r.session.note_len;
    if (rep->type == ISCSI_UEVENT_LIST_LUNS)
        return rep->r.luns.data_len;
    if (rep->type == ISCSI_UEVENT_GET_LUN_STATS)
        return (uint32_t)rep->r.lun_stats.data_len;
    if (rep->type == ISCSI_UEVENT_GET_FLIGHT)
        return rep->r.flight.count * IPC_FLIGHT_PDU;
    if (rep->type == ISCSI_UEVENT_GET_FLASHNODE || rep->type == ISCSI_UEVENT_LIST_FLASHNODES ||
        rep->type == ISCSI_UEVENT_LIST_CHAP || rep->type == ISCSI_UEVENT_GET_HOST_STATS)
        return rep->r.text.len;
    return rep->type == ISCSI_UEVENT_GET_CONN ? rep->r.conn.values_len : 0;
}

/* An event.  It is borrowed, with its data, for the call that hands it over. */
struct iscsi_kevent {
    enum iscsi_kevent_type type;
    /* 1, 2, ...  for the life of the data plane, whoever is attached.  Numbers go up by one, except
     * that a LOST has the number after those that it stands for. */
    uint64_t number;
    uint32_t sid;
    uint16_t cid;
    union {
        struct {
            struct bhs hdr;
            uint32_t data_len; /* data follows the message */
        } recv_pdu;
        struct {
            enum iscsi_err err;
            /* In force for this loss: what the target has said in an Asynchronous Message, else
             * what was agreed on (RFC 7143 11.9.1, 13.15, 13.16). */
            uint32_t time2wait_s, time2retain_s;
            bool served; /* the target has answered many requests since the login */
            struct lunette_error why;
        } conn_error;
        struct {
            enum ipc_session_state state;
            struct lunette_error why; /* code 0 with RUNNING */
        } session_state;
        struct {
            uint64_t ep;
            int err; /* 0: it is up; -errno: it failed, and the client has to disconnect it */
        } ep_event;
        struct {
            uint64_t count; /* events that were dropped; their numbers end right before this one */
        } lost;
        struct {
            uint8_t lun[8]; /* for LUNS_CHANGED the unit that has reported it */
            enum ipc_lun_event what;
            struct lunette_error why; /* the sentence; code is 0 where nothing is wrong */
        } lun;
        struct {
            uint8_t lun[8];
            char kind[IPC_NAME_MAX];
            struct lunette_error why;
        } export_stopped;
        struct {
            struct lunette_error why; /* code 0: it is logged in */
        } conn_login;
    } u;
};

/* Bytes of the data that follow an event. */
static inline uint32_t
ipc_kevent_data_len(const struct iscsi_kevent *ev)
{
    return ev->type == ISCSI_KEVENT_RECV_PDU ? ev->u.recv_pdu.data_len : 0;
}

/* One of the values of GET_SESSION and GET_CONN.  Each is packed as the number of the parameter and
 * the length of its text, both of 16 bits with the low byte first, and the text without a NUL.  A
 * reader that does not know a parameter can skip it. */
struct ipc_value {
    uint32_t param;   /* enum iscsi_param, perhaps one of a later version */
    uint32_t len;     /* bytes of text */
    const char *text; /* points into the packed bytes; no NUL ends it */
};
#define IPC_VALUE_HEAD 4 /* bytes before the text of a packed value */

/* Unpacks the value at *at and moves *at behind it.  Returns false, and moves nothing, at `end` and
 * where the rest is too short for a value. */
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

/* Packs a PDU of GET_FLIGHT: how long ago it was, in nanoseconds, with the low byte first; 1 where
 * we have sent it; and its BHS. */
static inline void
ipc_flight_put(uint8_t out[IPC_FLIGHT_PDU], const struct flight_pdu *pdu, uint64_t now_ns)
{
    for (unsigned i = 0; i < 8; i++)
        out[i] = (uint8_t)((now_ns - pdu->ns) >> (8 * i));
    out[8] = pdu->tx;
    memcpy(out + 9, &pdu->hdr, ISCSI_BHS_LEN);
}

/* Unpacks the PDU at *at and moves *at behind it; ret->ns is how long ago it was.  Returns false,
 * and moves nothing, at `end` and where the rest is too short. */
static inline bool
ipc_flight_next(const uint8_t **at, const uint8_t *end, struct flight_pdu *ret)
{
    const uint8_t *p = *at;

    if (end - p < IPC_FLIGHT_PDU)
        return false;
    ret->ns = 0;
    for (unsigned i = 0; i < 8; i++)
        ret->ns |= (uint64_t)p[i] << (8 * i);
    ret->tx = p[8] != 0;
    memcpy(&ret->hdr, p + 9, ISCSI_BHS_LEN);
    *at = p + IPC_FLIGHT_PDU;
    return true;
}

/* What a binding calls on the control plane's side, on that side's loop. */
struct ipc_events {
    void (*reply)(void *user, const struct iscsi_reply *rep);
    /* data is ipc_kevent_data_len(ev) bytes. */
    void (*event)(void *user, const struct iscsi_kevent *ev, const void *data);
};

/* What a binding implements; see ipc_request and ipc_reserve. */
struct ipc_ops {
    int (*request)(struct ipc *ipc, struct iscsi_uevent *ev, const void *data, uint32_t data_len);
    /* Both NULL: no request is ever refused for want of memory. */
    int (*reserve)(struct ipc *ipc);
    void (*unreserve)(struct ipc *ipc);
};

/* The requests that take something out of the data plane, for which memory can be reserved. */
static inline bool
ipc_tidies_up(enum iscsi_uevent_type type)
{
    return type == ISCSI_UEVENT_STOP_CONN || type == ISCSI_UEVENT_DESTROY_CONN ||
           type == ISCSI_UEVENT_DESTROY_SESSION || type == ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT;
}

/* The part of a binding that the control plane sees.  The binding embeds it. */
struct ipc {
    const struct ipc_ops *ops;
    const struct ipc_events *ev; /* borrowed; set by the control plane before the first request */
    void *ev_user;
};

/* Sends a request, and sets ev->seq so that the caller knows its reply.  Called on the control
 * plane's loop; ev and data are borrowed for the call.  The reply comes later, never from inside
 * this call.  The call takes the memory for the reply, so that no reply is lost for want of it.
 * Returns 0; or -errno when the message could not be sent, and then no reply comes and a descriptor
 * in it stays the caller's: -ENOMEM; -EMSGSIZE when data_len is above IPC_PDU_DATA_MAX; -EPIPE when
 * the other side is gone for good. */
static inline int
ipc_request(struct ipc *ipc, struct iscsi_uevent *ev, const void *data, uint32_t data_len)
{
    return ipc->ops->request(ipc, ev, data, data_len);
}

/* Takes memory so that one more of the requests of ipc_tidies_up may be under way at a time, from
 * being sent to its reply, and is not refused with -ENOMEM.  Returns 0 or -ENOMEM.  Each is given
 * back with ipc_unreserve, when no such request is under way on it. */
static inline int
ipc_reserve(struct ipc *ipc)
{
    return ipc->ops->reserve != NULL ? ipc->ops->reserve(ipc) : 0;
}

static inline void
ipc_unreserve(struct ipc *ipc)
{
    if (ipc->ops->unreserve != NULL)
        ipc->ops->unreserve(ipc);
}

/* How the server talks back to one client.  A binding fills this in; the server calls it on its own
 * loop. */
struct ipc_client {
    /* Answers the request that has rep->seq.  The server calls it once for each request.  Cannot
     * fail. */
    void (*reply)(void *binding, const struct iscsi_reply *rep);
    /* Sends an event.  Returns 0; or -errno when there is no memory or no room for it, and then the
     * server keeps the event and tries again later, or counts it for a LOST.  A binding keeps
     * memory for one LOST, so that the client hears of it even when there is none. */
    int (*event)(void *binding, const struct iscsi_kevent *ev, const void *data);
    void *binding;
    bool hello; /* the client is another program: it must begin with HELLO */
};

/* Tells whether a HELLO can be served by a process of so many loops, and why not.  Returns 0, or
 * -errno with *why: -EINVAL, -EPROTONOSUPPORT.  Whoever hands connections to loops asks before a
 * client replaces another. */
static inline int
ipc_hello_check(const struct iscsi_uevent *ev, uint32_t loops, struct lunette_error *why)
{
    uint32_t min = ev->u.hello.min, max = ev->u.hello.max;

    if (min > max)
        return lunette_fail(why, -EINVAL, LUNETTE_DOM_USAGE, 0, "HELLO: versions from %u to %u",
                            min, max);
    if (max < IPC_VERSION_MIN || min > IPC_VERSION_MAX)
        return lunette_fail(why, -EPROTONOSUPPORT, LUNETTE_DOM_USAGE, 0,
                            "the control plane speaks versions %u to %u of the messages, this "
                            "data plane %d to %d",
                            min, max, IPC_VERSION_MIN, IPC_VERSION_MAX);
    if (ev->u.hello.loop >= loops)
        return lunette_fail(why, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "HELLO: loop %u is asked for, this data plane has %u", ev->u.hello.loop,
                            loops);
    return 0;
}

/* What serves the requests.  dataplane/ fills this in, and a binding of ipc/ calls it on the
 * server's loop.  serve answers through from->reply, at once or later; ev, data and *from are
 * borrowed for the call.  It answers a client that is not attached, or not any more, with -ESTALE.
 */
struct ipc_server_ops {
    void (*serve)(void *server, const struct ipc_client *from, const struct iscsi_uevent *ev,
                  const void *data, uint32_t data_len);
};

#endif
