/* SPDX-License-Identifier: MIT */
/* ipc/codec.c - messages as bytes.  One walk over the fields serves both ways, so that encoder and
 * decoder cannot differ. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "ipc/ipc.h"

#define IPC_VERSION 1 /* in every head; the only one there is, see HELLO */

struct walk {
    bool decode, bad;
    uint8_t *out;
    const uint8_t *in;
    size_t at, size;
};

static void
walk_bytes(struct walk *w, void *p, size_t n)
{
    if (w->bad || n > w->size - w->at) {
        w->bad = true;
        return;
    }
    if (w->decode)
        memcpy(p, w->in + w->at, n);
    else
        memcpy(w->out + w->at, p, n);
    w->at += n;
}

static uint64_t
walk_number(struct walk *w, uint64_t v, unsigned n)
{
    uint8_t b[8];

    for (unsigned i = 0; i < n; i++)
        b[i] = (uint8_t)(v >> (8 * i));
    walk_bytes(w, b, n);
    if (!w->decode || w->bad)
        return v;
    v = 0;
    for (unsigned i = 0; i < n; i++)
        v |= (uint64_t)b[i] << (8 * i);
    return v;
}

#define U(w, field, n) ((field) = (__typeof__(field))walk_number(w, (uint64_t)(field), n))

/* A string in an array: its length, then its bytes; always ends with a NUL. */
static void
walk_string(struct walk *w, char *s, size_t size)
{
    size_t len = w->decode ? 0 : strnlen(s, size - 1);

    U(w, len, 2);
    if (w->bad || len >= size) {
        w->bad = true;
        return;
    }
    walk_bytes(w, s, len);
    if (w->decode && !w->bad) {
        s[len] = '\0';
        w->bad = strlen(s) != len;
    }
}

/* An enumeration: refused from `count` on. */
#define ENUM(w, field, count)                                                                      \
    do {                                                                                           \
        uint32_t v_ = (uint32_t)(field);                                                           \
        U(w, v_, 4);                                                                               \
        if (v_ >= (uint32_t)(count))                                                               \
            (w)->bad = true;                                                                       \
        else                                                                                       \
            (field) = (__typeof__(field))v_;                                                       \
    } while (0)

/* The sentence goes to logs and terminals, which the process at the other end must not steer, nor
 * add lines to: it has the bytes that lunette_fail leaves in one. */
static void
walk_error(struct walk *w, struct lunette_error *e)
{
    U(w, e->code, 4);
    ENUM(w, e->domain, LUNETTE_DOM_NOTFOUND + 1);
    U(w, e->detail, 4);
    walk_string(w, e->msg, sizeof(e->msg));
    if (!w->decode || w->bad)
        return;
    for (char *c = e->msg; *c != '\0'; c++) {
        if (*c < ' ' || *c > '~')
            *c = '?';
    }
}

static void
walk_addr(struct walk *w, struct sock_addr *a)
{
    U(w, a->len, 4);
    if (a->len > sizeof(a->ss))
        w->bad = true;
    else
        walk_bytes(w, &a->ss, a->len);
}

/* A length or a count that has a limit. */
static void
walk_count(struct walk *w, uint32_t *count, uint32_t max)
{
    U(w, *count, 4);
    if (*count > max)
        w->bad = true;
}

#define ERRNO_MAX 4095 /* no system has a larger one, and each can be negated */

/* 0 or -errno. */
static void
walk_errno(struct walk *w, int *err)
{
    U(w, *err, 4);
    if (*err > 0 || *err < -ERRNO_MAX)
        w->bad = true;
}

static void
walk_head(struct walk *w, unsigned kind)
{
    uint32_t v = IPC_VERSION << 8 | kind;

    U(w, v, 4);
    if (v != (IPC_VERSION << 8 | kind))
        w->bad = true;
}

/* What stands behind all else of a message, and is not sent where there is nothing: so peers that
 * do not know of it understand each message that does without. */
static void
walk_ep_extras(struct walk *w, struct iscsi_uevent *ev)
{
    struct sock_addr *source = &ev->u.ep_connect.source;
    char *options = ev->u.ep_connect.options;

    if (w->bad || (w->decode ? w->at == w->size : source->len == 0 && options[0] == '\0'))
        return;
    walk_addr(w, source);
    walk_string(w, options, sizeof(ev->u.ep_connect.options));
    if (source->len == 0 && options[0] == '\0')
        w->bad = true;
}

static void
walk_uevent(struct walk *w, struct iscsi_uevent *ev)
{
    walk_head(w, 1);
    ENUM(w, ev->type, ISCSI_UEVENT_COUNT);
    U(w, ev->seq, 8);
    U(w, ev->sid, 4);
    U(w, ev->cid, 2);
    U(w, ev->ep, 8);
    if (w->bad)
        return;
    switch (ev->type) {
    case ISCSI_UEVENT_TRANSPORT_EP_CONNECT:
        walk_string(w, ev->u.ep_connect.transport, sizeof(ev->u.ep_connect.transport));
        walk_addr(w, &ev->u.ep_connect.to);
        walk_ep_extras(w, ev);
        break;
    case ISCSI_UEVENT_GET_TRANSPORT:
        walk_string(w, ev->u.get_transport.transport, sizeof(ev->u.get_transport.transport));
        break;
    case ISCSI_UEVENT_CREATE_SESSION:
        walk_string(w, ev->u.create_session.transport, sizeof(ev->u.create_session.transport));
        U(w, ev->u.create_session.initial_cmdsn, 4);
        U(w, ev->u.create_session.cmds_max, 4);
        break;
    case ISCSI_UEVENT_BIND_CONN:
        U(w, ev->u.bind_conn.leading, 1);
        if (w->decode)
            ev->u.bind_conn.fd = -1;
        break;
    case ISCSI_UEVENT_SET_PARAM:
        ENUM(w, ev->u.set_param.param, ISCSI_PARAM_COUNT);
        walk_string(w, ev->u.set_param.value, sizeof(ev->u.set_param.value));
        break;
    case ISCSI_UEVENT_STOP_CONN:
        ENUM(w, ev->u.stop_conn.how, STOP_CONN_RECOVER + 1);
        break;
    case ISCSI_UEVENT_SEND_PDU:
        walk_bytes(w, &ev->u.send_pdu.hdr, sizeof(ev->u.send_pdu.hdr));
        walk_count(w, &ev->u.send_pdu.data_len, IPC_PDU_DATA_MAX);
        break;
    case ISCSI_UEVENT_HELLO:
        U(w, ev->u.hello.min, 4);
        U(w, ev->u.hello.max, 4);
        U(w, ev->u.hello.loop, 4);
        break;
    case ISCSI_UEVENT_TAKE_EVENTS:
        U(w, ev->u.take_events.from, 8);
        break;
    case ISCSI_UEVENT_LIST_SESSIONS:
    case ISCSI_UEVENT_LIST_ENDPOINTS:
        U(w, ev->u.list.after, 8);
        break;
    case ISCSI_UEVENT_SET_NOTE:
        walk_count(w, &ev->u.set_note.len, IPC_PDU_DATA_MAX); /* the server's limit is lower */
        break;
    case ISCSI_UEVENT_SCAN_HOST:
        ENUM(w, ev->u.scan.one, 2);
        walk_bytes(w, ev->u.scan.lun, sizeof(ev->u.scan.lun));
        break;
    case ISCSI_UEVENT_LIST_LUNS:
        U(w, ev->u.list_luns.after, 4);
        break;
    case ISCSI_UEVENT_STOP_EXPORT:
    case ISCSI_UEVENT_GET_LUN_STATS:
        walk_bytes(w, ev->u.lun.lun, sizeof(ev->u.lun.lun));
        break;
    case ISCSI_UEVENT_START_EXPORT:
        walk_string(w, ev->u.start_export.kind, sizeof(ev->u.start_export.kind));
        walk_bytes(w, ev->u.start_export.lun, sizeof(ev->u.start_export.lun));
        ENUM(w, ev->u.start_export.read_only, 2);
        walk_count(w, &ev->u.start_export.path_len, IPC_PDU_DATA_MAX); /* as for the note */
        break;
    case ISCSI_UEVENT_START_CAPTURE:
        U(w, ev->u.start_capture.unix_ns, 8);
        U(w, ev->u.start_capture.segments_max, 8);
        U(w, ev->u.start_capture.limit_s, 4);
        ENUM(w, ev->u.start_capture.no_payload, 2);
        walk_count(w, &ev->u.start_capture.path_len, IPC_PDU_DATA_MAX); /* as for the note */
        break;
    case ISCSI_UEVENT_ENGINE_FD:
        ENUM(w, ev->u.engine_fd.what, IPC_ENGINE_FDS);
        if (w->decode)
            ev->u.engine_fd.fd = -1;
        break;
    case ISCSI_UEVENT_ENGINE_ATTACH:
        ENUM(w, ev->u.engine_attach.class, IPC_ENGINE_CLASSES);
        U(w, ev->u.engine_attach.slots, 4);
        U(w, ev->u.engine_attach.generation, 4);
        U(w, ev->u.engine_attach.arena, 8);
        break;
    case ISCSI_UEVENT_NEW_FLASHNODE:
    case ISCSI_UEVENT_DEL_FLASHNODE:
    case ISCSI_UEVENT_SET_FLASHNODE:
    case ISCSI_UEVENT_GET_FLASHNODE:
    case ISCSI_UEVENT_LIST_FLASHNODES:
    case ISCSI_UEVENT_LOGIN_FLASHNODE:
    case ISCSI_UEVENT_LOGOUT_FLASHNODE:
    case ISCSI_UEVENT_SET_CHAP:
    case ISCSI_UEVENT_LIST_CHAP:
    case ISCSI_UEVENT_DELETE_CHAP:
    case ISCSI_UEVENT_SEND_PING:
    case ISCSI_UEVENT_GET_HOST_STATS:
        U(w, ev->u.engine_table.index, 4);
        walk_count(w, &ev->u.engine_table.text_len, IPC_PDU_DATA_MAX); /* as for the note */
        break;
    case ISCSI_UEVENT_GET_FLIGHT:
    case ISCSI_UEVENT_GET_SESSION:
    case ISCSI_UEVENT_GET_CONN:
    case ISCSI_UEVENT_ADOPT:
    case ISCSI_UEVENT_UNKNOWN:
    case ISCSI_UEVENT_TRANSPORT_EP_POLL:
    case ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT:
    case ISCSI_UEVENT_DESTROY_SESSION:
    case ISCSI_UEVENT_CREATE_CONN:
    case ISCSI_UEVENT_DESTROY_CONN:
    case ISCSI_UEVENT_START_CONN:
    case ISCSI_UEVENT_GET_STATS:
    case ISCSI_UEVENT_UNBIND_SESSION:
    case ISCSI_UEVENT_COUNT:
        break;
    }
}

static void
walk_sessions(struct walk *w, struct iscsi_reply *rep)
{
    U(w, rep->r.sessions.next_event, 8);
    ENUM(w, rep->r.sessions.more, 2);
    walk_count(w, &rep->r.sessions.count, IPC_SESSIONS_PAGE);
    for (uint32_t i = 0; !w->bad && i < rep->r.sessions.count; i++)
        U(w, rep->r.sessions.sid[i], 4);
}

static void
walk_endpoints(struct walk *w, struct iscsi_reply *rep)
{
    U(w, rep->r.endpoints.next_event, 8);
    ENUM(w, rep->r.endpoints.more, 2);
    walk_count(w, &rep->r.endpoints.count, IPC_ENDPOINTS_PAGE);
    for (uint32_t i = 0; !w->bad && i < rep->r.endpoints.count; i++) {
        struct ipc_endpoint_info *e = &rep->r.endpoints.ep[i];

        U(w, e->ep, 8);
        U(w, e->owner, 8);
        U(w, e->sid, 4);
        U(w, e->cid, 2);
        U(w, e->state, 4);
    }
}

static void
walk_session(struct walk *w, struct iscsi_reply *rep)
{
    U(w, rep->r.session.next_event, 8);
    U(w, rep->r.session.owner, 8);
    ENUM(w, rep->r.session.state, IPC_SESSION_STATES);
    U(w, rep->r.session.down_ms, 4);
    walk_string(w, rep->r.session.transport, sizeof(rep->r.session.transport));
    walk_count(w, &rep->r.session.nconns, IPC_CONNS_MAX);
    for (uint32_t i = 0; !w->bad && i < rep->r.session.nconns; i++)
        U(w, rep->r.session.cid[i], 2);
    walk_count(w, &rep->r.session.values_len, IPC_VALUES_MAX);
    walk_count(w, &rep->r.session.note_len, IPC_NOTE_MAX);
}

static void
walk_conn(struct walk *w, struct iscsi_reply *rep)
{
    U(w, rep->r.conn.next_event, 8);
    U(w, rep->r.conn.owner, 8);
    ENUM(w, rep->r.conn.state, IPC_CONN_STATES);
    U(w, rep->r.conn.ep, 8);
    walk_addr(w, &rep->r.conn.local);
    walk_addr(w, &rep->r.conn.peer);
    walk_count(w, &rep->r.conn.values_len, IPC_VALUES_MAX);
}

static void
walk_hello(struct walk *w, struct iscsi_reply *rep)
{
    U(w, rep->r.hello.version, 4);
    U(w, rep->r.hello.generation, 8);
    U(w, rep->r.hello.first_event, 8);
    U(w, rep->r.hello.next_event, 8);
    U(w, rep->r.hello.grace_ms, 4);
    U(w, rep->r.hello.loops, 4);
}

/* Counters in a structure that has nothing but numbers of 64 bits. */
static void
walk_counters(struct walk *w, void *counters, size_t size)
{
    uint64_t *v = counters;

    for (size_t i = 0; i < size / sizeof(*v); i++)
        U(w, v[i], 8);
}

static void
walk_luns(struct walk *w, struct iscsi_reply *rep)
{
    U(w, rep->r.luns.next_event, 8);
    ENUM(w, rep->r.luns.more, 2);
    walk_count(w, &rep->r.luns.count, IPC_LUNS_PAGE);
    walk_count(w, &rep->r.luns.data_len, IPC_LUNS_DATA_MAX);
}

static void
walk_result(struct walk *w, struct iscsi_reply *rep)
{
    switch ((int)rep->type) {
    case ISCSI_UEVENT_TRANSPORT_EP_CONNECT:
        U(w, rep->r.ep, 8);
        break;
    case ISCSI_UEVENT_TRANSPORT_EP_POLL:
    case ISCSI_UEVENT_SCAN_HOST:
    case ISCSI_UEVENT_NEW_FLASHNODE:
    case ISCSI_UEVENT_SEND_PING:
        U(w, rep->r.value, 4);
        break;
    case ISCSI_UEVENT_GET_STATS:
        walk_counters(w, &rep->r.stats, sizeof(rep->r.stats));
        break;
    case ISCSI_UEVENT_GET_TRANSPORT:
        U(w, rep->r.transport.caps, 4);
        U(w, rep->r.transport.max_recv_dlength, 4);
        break;
    case ISCSI_UEVENT_HELLO:
        walk_hello(w, rep);
        break;
    case ISCSI_UEVENT_LIST_SESSIONS:
        walk_sessions(w, rep);
        break;
    case ISCSI_UEVENT_LIST_ENDPOINTS:
        walk_endpoints(w, rep);
        break;
    case ISCSI_UEVENT_GET_SESSION:
        walk_session(w, rep);
        break;
    case ISCSI_UEVENT_GET_CONN:
        walk_conn(w, rep);
        break;
    case ISCSI_UEVENT_LIST_LUNS:
        walk_luns(w, rep);
        break;
    case ISCSI_UEVENT_GET_LUN_STATS:
        walk_counters(w, &rep->r.lun_stats, sizeof(rep->r.lun_stats));
        w->bad = w->bad || rep->r.lun_stats.data_len > IPC_LATENCY_DATA_MAX;
        break;
    case ISCSI_UEVENT_GET_FLIGHT:
        walk_count(w, &rep->r.flight.count, IPC_FLIGHT_MAX);
        break;
    case ISCSI_UEVENT_ENGINE_ATTACH:
        U(w, rep->r.attach.sessions_max, 4);
        U(w, rep->r.attach.max_transfer, 4);
        U(w, rep->r.attach.pid, 4);
        walk_string(w, rep->r.attach.version, sizeof(rep->r.attach.version));
        break;
    case ISCSI_UEVENT_GET_FLASHNODE:
    case ISCSI_UEVENT_LIST_FLASHNODES:
    case ISCSI_UEVENT_LIST_CHAP:
    case ISCSI_UEVENT_GET_HOST_STATS:
        walk_count(w, &rep->r.text.len, IPC_REPLY_DATA_MAX);
        ENUM(w, rep->r.text.more, 2);
        break;
    default: /* nothing but that it went well */
        break;
    }
}

static void
walk_reply(struct walk *w, struct iscsi_reply *rep)
{
    walk_head(w, 2);
    ENUM(w, rep->type, ISCSI_UEVENT_COUNT);
    U(w, rep->seq, 8);
    U(w, rep->sid, 4);
    U(w, rep->cid, 2);
    walk_errno(w, &rep->err);
    if (w->bad)
        return;
    if (rep->err < 0)
        walk_error(w, &rep->why);
    else
        walk_result(w, rep);
}

static void
walk_kevent(struct walk *w, struct iscsi_kevent *ev)
{
    walk_head(w, 3);
    ENUM(w, ev->type, ISCSI_KEVENT_COUNT);
    U(w, ev->number, 8);
    U(w, ev->sid, 4);
    U(w, ev->cid, 2);
    if (w->bad)
        return;
    if (ev->type == ISCSI_KEVENT_RECV_PDU) {
        walk_bytes(w, &ev->u.recv_pdu.hdr, sizeof(ev->u.recv_pdu.hdr));
        walk_count(w, &ev->u.recv_pdu.data_len, IPC_RECV_DATA_MAX);
    } else if (ev->type == ISCSI_KEVENT_CONN_ERROR) {
        ENUM(w, ev->u.conn_error.err, ISCSI_ERR_COUNT);
        U(w, ev->u.conn_error.time2wait_s, 4);
        U(w, ev->u.conn_error.time2retain_s, 4);
        ENUM(w, ev->u.conn_error.served, 2);
        walk_error(w, &ev->u.conn_error.why);
    } else if (ev->type == ISCSI_KEVENT_EP_EVENT) {
        U(w, ev->u.ep_event.ep, 8);
        walk_errno(w, &ev->u.ep_event.err);
    } else if (ev->type == ISCSI_KEVENT_LOST) {
        U(w, ev->u.lost.count, 8);
    } else if (ev->type == ISCSI_KEVENT_SESSION_STATE) {
        ENUM(w, ev->u.session_state.state, IPC_SESSION_STATES);
        walk_error(w, &ev->u.session_state.why);
    } else if (ev->type == ISCSI_KEVENT_LUN) {
        walk_bytes(w, ev->u.lun.lun, sizeof(ev->u.lun.lun));
        ENUM(w, ev->u.lun.what, IPC_LUN_EVENTS);
        walk_error(w, &ev->u.lun.why);
    } else if (ev->type == ISCSI_KEVENT_EXPORT_STOPPED) {
        walk_bytes(w, ev->u.export_stopped.lun, sizeof(ev->u.export_stopped.lun));
        walk_string(w, ev->u.export_stopped.kind, sizeof(ev->u.export_stopped.kind));
        walk_error(w, &ev->u.export_stopped.why);
    } else if (ev->type == ISCSI_KEVENT_CONN_LOGIN_STATE) {
        walk_error(w, &ev->u.conn_login.why);
    }
}

#define CODEC(name, type)                                                                          \
    int ipc_encode_##name(const struct type *x, uint8_t *buf, size_t size)                         \
    {                                                                                              \
        struct walk w = {.out = buf, .size = size};                                                \
        struct type copy = *x; /* the walk can write; encoding does not */                         \
                                                                                                   \
        walk_##name(&w, &copy);                                                                    \
        return w.bad ? -ENOBUFS : (int)w.at;                                                       \
    }                                                                                              \
                                                                                                   \
    int ipc_decode_##name(const uint8_t *buf, size_t len, struct type *ret)                        \
    {                                                                                              \
        struct walk w = {.decode = true, .in = buf, .size = len};                                  \
        struct type x;                                                                             \
                                                                                                   \
        memset(&x, 0, sizeof(x));                                                                  \
        walk_##name(&w, &x);                                                                       \
        if (w.bad || w.at != len)                                                                  \
            return -EPROTO;                                                                        \
        *ret = x;                                                                                  \
        return 0;                                                                                  \
    }

CODEC(uevent, iscsi_uevent)
CODEC(reply, iscsi_reply)
CODEC(kevent, iscsi_kevent)

uint32_t
ipc_uevent_data_len(const struct iscsi_uevent *ev)
{
    if (ev->type == ISCSI_UEVENT_SEND_PDU)
        return ev->u.send_pdu.data_len;
    if (ev->type == ISCSI_UEVENT_START_EXPORT)
        return ev->u.start_export.path_len;
    if (ev->type == ISCSI_UEVENT_START_CAPTURE)
        return ev->u.start_capture.path_len;
    if (ev->type >= ISCSI_UEVENT_NEW_FLASHNODE && ev->type <= ISCSI_UEVENT_GET_HOST_STATS)
        return ev->u.engine_table.text_len;
    return ev->type == ISCSI_UEVENT_SET_NOTE ? ev->u.set_note.len : 0;
}

int *
ipc_uevent_fd(struct iscsi_uevent *ev)
{
    if (ev->type == ISCSI_UEVENT_BIND_CONN)
        return &ev->u.bind_conn.fd;
    return ev->type == ISCSI_UEVENT_ENGINE_FD ? &ev->u.engine_fd.fd : NULL;
}

uint32_t
ipc_reply_room(enum iscsi_uevent_type type)
{
    if (type == ISCSI_UEVENT_GET_SESSION)
        return IPC_SESSION_DATA_MAX;
    if (type == ISCSI_UEVENT_LIST_LUNS)
        return IPC_LUNS_DATA_MAX;
    if (type == ISCSI_UEVENT_GET_LUN_STATS)
        return IPC_LATENCY_DATA_MAX;
    if (type == ISCSI_UEVENT_GET_FLIGHT)
        return IPC_FLIGHT_MAX * IPC_FLIGHT_PDU;
    if (type == ISCSI_UEVENT_GET_FLASHNODE || type == ISCSI_UEVENT_LIST_FLASHNODES ||
        type == ISCSI_UEVENT_LIST_CHAP || type == ISCSI_UEVENT_GET_HOST_STATS)
        return IPC_REPLY_DATA_MAX;
    return type == ISCSI_UEVENT_GET_CONN ? IPC_VALUES_MAX : 0;
}
