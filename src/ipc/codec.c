/* SPDX-License-Identifier: MIT */
/* ipc/codec.c - messages as bytes.  One walk over the fields serves both ways, so that encoder and
 * decoder cannot differ. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "ipc/ipc.h"

#define IPC_VERSION 1

struct walk {
    bool decode, bad;
    uint8_t *out;
    const uint8_t *in;
    size_t at, size;
};

static void
bytes(struct walk *w, void *p, size_t n)
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
number(struct walk *w, uint64_t v, unsigned n)
{
    uint8_t b[8];

    for (unsigned i = 0; i < n; i++)
        b[i] = (uint8_t)(v >> (8 * i));
    bytes(w, b, n);
    if (!w->decode || w->bad)
        return v;
    v = 0;
    for (unsigned i = 0; i < n; i++)
        v |= (uint64_t)b[i] << (8 * i);
    return v;
}

#define U(w, field, n) ((field) = (__typeof__(field))number(w, (uint64_t)(field), n))

/* A string in an array: its length, then its bytes; always ends with a NUL. */
static void
string(struct walk *w, char *s, size_t size)
{
    size_t len = w->decode ? 0 : strnlen(s, size - 1);

    U(w, len, 2);
    if (w->bad || len >= size) {
        w->bad = true;
        return;
    }
    bytes(w, s, len);
    if (w->decode)
        s[len] = '\0';
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

static void
walk_error(struct walk *w, struct lunette_error *e)
{
    U(w, e->code, 4);
    ENUM(w, e->domain, LUNETTE_DOM_NOTFOUND + 1);
    U(w, e->detail, 4);
    string(w, e->msg, sizeof(e->msg));
}

static void
walk_addr(struct walk *w, struct sock_addr *a)
{
    U(w, a->len, 4);
    if (a->len > sizeof(a->ss))
        w->bad = true;
    else
        bytes(w, &a->ss, a->len);
}

static void
walk_head(struct walk *w, unsigned kind)
{
    uint32_t v = IPC_VERSION << 8 | kind;

    U(w, v, 4);
    if (v != (IPC_VERSION << 8 | kind))
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
        string(w, ev->u.ep_connect.transport, sizeof(ev->u.ep_connect.transport));
        walk_addr(w, &ev->u.ep_connect.to);
        break;
    case ISCSI_UEVENT_GET_TRANSPORT:
        string(w, ev->u.get_transport.transport, sizeof(ev->u.get_transport.transport));
        break;
    case ISCSI_UEVENT_CREATE_SESSION:
        string(w, ev->u.create_session.transport, sizeof(ev->u.create_session.transport));
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
        string(w, ev->u.set_param.value, sizeof(ev->u.set_param.value));
        break;
    case ISCSI_UEVENT_STOP_CONN:
        ENUM(w, ev->u.stop_conn.how, STOP_CONN_RECOVER + 1);
        break;
    case ISCSI_UEVENT_SEND_PDU:
        bytes(w, &ev->u.send_pdu.hdr, sizeof(ev->u.send_pdu.hdr));
        U(w, ev->u.send_pdu.data_len, 4);
        break;
    case ISCSI_UEVENT_UNKNOWN:
    case ISCSI_UEVENT_TRANSPORT_EP_POLL:
    case ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT:
    case ISCSI_UEVENT_DESTROY_SESSION:
    case ISCSI_UEVENT_CREATE_CONN:
    case ISCSI_UEVENT_DESTROY_CONN:
    case ISCSI_UEVENT_START_CONN:
    case ISCSI_UEVENT_GET_STATS:
    case ISCSI_UEVENT_COUNT:
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
    U(w, rep->err, 4);
    if (w->bad)
        return;
    if (rep->err < 0)
        walk_error(w, &rep->why);
    else if (rep->type == ISCSI_UEVENT_TRANSPORT_EP_CONNECT)
        U(w, rep->r.ep, 8);
    else if (rep->type == ISCSI_UEVENT_TRANSPORT_EP_POLL)
        U(w, rep->r.value, 4);
    else if (rep->type == ISCSI_UEVENT_GET_STATS) {
        uint64_t *v = (void *)&rep->r.stats;

        for (size_t i = 0; i < sizeof(rep->r.stats) / sizeof(*v); i++)
            U(w, v[i], 8);
    } else if (rep->type == ISCSI_UEVENT_GET_TRANSPORT) {
        U(w, rep->r.transport.caps, 4);
        U(w, rep->r.transport.max_recv_dlength, 4);
    }
}

static void
walk_kevent(struct walk *w, struct iscsi_kevent *ev)
{
    walk_head(w, 3);
    ENUM(w, ev->type, ISCSI_KEVENT_COUNT);
    U(w, ev->sid, 4);
    U(w, ev->cid, 2);
    if (w->bad)
        return;
    if (ev->type == ISCSI_KEVENT_RECV_PDU) {
        bytes(w, &ev->u.recv_pdu.hdr, sizeof(ev->u.recv_pdu.hdr));
        U(w, ev->u.recv_pdu.data_len, 4);
    } else if (ev->type == ISCSI_KEVENT_CONN_ERROR) {
        ENUM(w, ev->u.conn_error.err, ISCSI_ERR_COUNT);
        walk_error(w, &ev->u.conn_error.why);
    } else if (ev->type == ISCSI_KEVENT_EP_EVENT) {
        U(w, ev->u.ep_event.ep, 8);
        U(w, ev->u.ep_event.err, 4);
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
