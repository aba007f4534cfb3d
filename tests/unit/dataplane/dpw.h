/* SPDX-License-Identifier: MIT */
/* tests/unit/dataplane/dpw.h - a data plane between two fakes: below it the fake adapter, whose
 * stop_conn may take its time, above it a client that keeps all that it hears. */
#ifndef TESTS_DATAPLANE_DPW_H
#define TESTS_DATAPLANE_DPW_H

#include "tests/test.h"
#include "tests/unit/fake_loop.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/dataplane.h"
#include "tests/support/fake_transport.h"
#include "transport/transport.h"

#define DPW_EVENTS 256
#define DPW_STEPS  64

enum dpw_step { STEP_STOP_CONN, STEP_EP_DISCONNECT };

struct dpw {
    struct fake_loop fl;
    struct transport_registry registry;
    struct dataplane *dp;
    struct ipc_client client;
    uint64_t seq;
    struct iscsi_reply reply; /* the last one */
    uint8_t reply_data[IPC_REPLY_DATA_MAX];
    unsigned nreplies;
    struct iscsi_kevent event[DPW_EVENTS];
    unsigned nevents;
    unsigned refuse_events; /* as many are not taken */
    unsigned closed_fds;
};

/* What the adapter of these tests was asked to do, and what it has not done yet. */
static struct dpw_adapter {
    bool slow_stop; /* stop_conn returns -EINPROGRESS */
    struct iscsi_conn *stopping;
    const void *ep_dd_data; /* of the last endpoint, as the next two */
    struct sock_addr source;
    char options[IPC_VALUE_MAX];
    enum dpw_step step[DPW_STEPS];
    unsigned nsteps;
} dpw_adapter;

static struct iscsi_transport dpw_transport, dpw_other_transport;
static struct loop_ops dpw_loop_ops;
static struct dpw *dpw_now; /* of the loop's operations, which get no user pointer */

static inline int
dpw_stop_conn(struct iscsi_conn *c, enum iscsi_stop how)
{
    assert_true(dpw_adapter.nsteps < DPW_STEPS);
    (void)fake_transport.stop_conn(c, how);
    if (dpw_adapter.slow_stop) {
        assert_null(dpw_adapter.stopping);
        dpw_adapter.stopping = c;
        return -EINPROGRESS;
    }
    dpw_adapter.step[dpw_adapter.nsteps++] = STEP_STOP_CONN;
    return 0;
}

/* The adapter has let go at last. */
static inline void
dpw_stopped(void)
{
    struct iscsi_conn *c = dpw_adapter.stopping;

    assert_non_null(c);
    dpw_adapter.stopping = NULL;
    dpw_adapter.step[dpw_adapter.nsteps++] = STEP_STOP_CONN;
    c->up->conn_stopped(c);
}

static inline int
dpw_ep_connect(struct iscsi_endpoint *ep, const struct sock_addr *to,
               const struct iscsi_upcalls *up, struct lunette_error *err)
{
    dpw_adapter.ep_dd_data = ep->dd_data;
    dpw_adapter.source = ep->source;
    strcpy(dpw_adapter.options, ep->options != NULL ? ep->options : "-");
    return fake_transport.ep_connect(ep, to, up, err);
}

static inline void
dpw_ep_disconnect(struct iscsi_endpoint *ep)
{
    assert_true(dpw_adapter.nsteps < DPW_STEPS);
    dpw_adapter.step[dpw_adapter.nsteps++] = STEP_EP_DISCONNECT;
    fake_transport.ep_disconnect(ep);
}

static inline int
dpw_adopt_fd(struct loop *l, int fd, const struct stream_events *ev, void *user,
             struct stream **ret)
{
    static struct stream s;

    (void)l;
    (void)fd;
    (void)ev;
    (void)user;
    s.loop = l;
    *ret = &s;
    return 0;
}

static inline void
dpw_close_fd(struct loop *l, int fd)
{
    (void)l;
    assert_true(fd >= 0);
    dpw_now->closed_fds++;
}

static inline void
dpw_reply(void *binding, const struct iscsi_reply *rep)
{
    struct dpw *w = binding;
    uint32_t len = ipc_reply_data_len(rep);

    w->reply = *rep;
    assert_true(len <= sizeof(w->reply_data));
    if (len > 0)
        memcpy(w->reply_data, rep->data, len);
    w->nreplies++;
    assert_true(rep->err <= 0);
    if (rep->err < 0) {
        assert_int_equal(rep->why.code, rep->err);
        assert_true(rep->why.msg[0] != '\0');
    }
}

static inline int
dpw_event(void *binding, const struct iscsi_kevent *ev, const void *data)
{
    struct dpw *w = binding;

    (void)data;
    if (w->refuse_events > 0) {
        w->refuse_events--;
        return -ENOMEM;
    }
    assert_true(w->nevents < DPW_EVENTS);
    w->event[w->nevents++] = *ev;
    return 0;
}

/* A data plane without a client. */
static inline struct dpw *
dpw_new_alone(const struct dataplane_limits *limits)
{
    struct dpw *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    memset(&dpw_adapter, 0, sizeof(dpw_adapter));
    fake_adapter_reset();
    fake_adapter.ep_delay_ns = MS(30);
    fake_loop_init(&w->fl, 1);
    dpw_loop_ops = fake_loop_ops;
    dpw_loop_ops.adopt = dpw_adopt_fd;
    dpw_loop_ops.close_fd = dpw_close_fd;
    w->fl.l.ops = &dpw_loop_ops;
    dpw_now = w;
    dpw_transport = fake_transport;
    dpw_transport.stop_conn = dpw_stop_conn;
    dpw_transport.ep_connect = dpw_ep_connect;
    dpw_transport.ep_disconnect = dpw_ep_disconnect;
    dpw_other_transport = fake_transport;
    dpw_other_transport.name = "other";
    assert_int_equal(transport_register(&w->registry, &dpw_transport, NULL), 0);
    assert_int_equal(transport_register(&w->registry, &dpw_other_transport, NULL), 0);
    assert_int_equal(transport_register(&w->registry, &sw_tcp_transport, NULL), 0);
    assert_int_equal(dataplane_new(&w->fl.l, &w->registry, &w->dp, NULL), 0);
    if (limits != NULL)
        dataplane_set_limits(w->dp, limits);
    w->client = (struct ipc_client){.reply = dpw_reply, .event = dpw_event, .binding = w};
    return w;
}

static inline struct dpw *
dpw_new(void)
{
    struct dpw *w = dpw_new_alone(NULL);

    assert_int_equal(dataplane_set_client(w->dp, &w->client), 1);
    return w;
}

static inline void
dpw_free(struct dpw *w)
{
    dataplane_shutdown(w->dp);
    fake_advance(&w->fl, SEC(1));
    while (dpw_adapter.stopping != NULL) {
        dpw_stopped();
        fake_advance(&w->fl, SEC(1));
    }
    assert_int_equal(dataplane_busy(w->dp), 0);
    dataplane_free(w->dp);
    free(w);
}

/* Serves a request; the answer may not be there yet. */
static inline void
dpw_send(struct dpw *w, struct iscsi_uevent *ev, const void *data, uint32_t len)
{
    ev->seq = ++w->seq;
    dataplane_server_ops.serve(w->dp, &w->client, ev, data, len);
}

/* Serves a request and brings its result. */
static inline int
dpw_ask(struct dpw *w, struct iscsi_uevent *ev, const void *data, uint32_t len)
{
    unsigned before = w->nreplies;

    dpw_send(w, ev, data, len);
    fake_turn(&w->fl);
    fake_turn(&w->fl);
    assert_int_equal(w->nreplies, before + 1);
    assert_int_equal(w->reply.seq, ev->seq);
    assert_int_equal(w->reply.type, ev->type);
    return w->reply.err;
}

static inline int
dpw_do(struct dpw *w, enum iscsi_uevent_type type, uint32_t sid, uint16_t cid, uint64_t ep)
{
    struct iscsi_uevent ev = {.type = type, .sid = sid, .cid = cid, .ep = ep};

    if (type == ISCSI_UEVENT_BIND_CONN) {
        ev.u.bind_conn.fd = -1;
        ev.u.bind_conn.leading = cid == 1;
    }
    if (type == ISCSI_UEVENT_ENGINE_FD)
        ev.u.engine_fd.fd = -1;
    if (type == ISCSI_UEVENT_CREATE_SESSION)
        strcpy(ev.u.create_session.transport, "fake");
    if (type == ISCSI_UEVENT_TRANSPORT_EP_CONNECT)
        strcpy(ev.u.ep_connect.transport, "fake");
    if (type == ISCSI_UEVENT_GET_TRANSPORT)
        strcpy(ev.u.get_transport.transport, "fake");
    if (type == ISCSI_UEVENT_HELLO) {
        ev.u.hello.min = IPC_VERSION_MIN;
        ev.u.hello.max = IPC_VERSION_MAX;
    }
    if (type == ISCSI_UEVENT_SET_PARAM)
        strcpy(ev.u.set_param.value, "None");
    return dpw_ask(w, &ev, NULL, 0);
}

static inline int
dpw_param(struct dpw *w, uint32_t sid, uint16_t cid, enum iscsi_param p, const char *value)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SET_PARAM, .sid = sid, .cid = cid};

    ev.u.set_param.param = p;
    strcpy(ev.u.set_param.value, value);
    return dpw_ask(w, &ev, NULL, 0);
}

static inline int
dpw_note(struct dpw *w, uint32_t sid, const void *note, uint32_t len)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SET_NOTE, .sid = sid};

    ev.u.set_note.len = len;
    return dpw_ask(w, &ev, note, len);
}

static inline uint64_t
dpw_endpoint(struct dpw *w)
{
    uint64_t ep;

    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_CONNECT, 0, 0, 0), 0);
    ep = w->reply.r.ep;
    assert_true(ep != 0);
    fake_advance(&w->fl, MS(40));
    return ep;
}

static inline uint32_t
dpw_session(struct dpw *w)
{
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_SESSION, 0, 0, 0), 0);
    assert_true(w->reply.sid != 0);
    return w->reply.sid;
}

/* A session with connection 1 bound to an endpoint, not started.  It is never asked for a sign of
 * life. */
static inline uint32_t
dpw_bound(struct dpw *w, uint64_t *ret_ep)
{
    uint64_t ep = dpw_endpoint(w);
    uint32_t sid = dpw_session(w);

    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_CONN, sid, 1, 0), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_BIND_CONN, sid, 1, ep), 0);
    assert_int_equal(dpw_param(w, sid, 1, ISCSI_PARAM_PING_INTERVAL_MS, "0"), 0);
    *ret_ep = ep;
    return sid;
}

static inline uint32_t
dpw_started(struct dpw *w, uint64_t *ret_ep)
{
    uint32_t sid = dpw_bound(w, ret_ep);

    assert_int_equal(dpw_do(w, ISCSI_UEVENT_START_CONN, sid, 1, 0), 0);
    return sid;
}

/* The last event, which is of that type. */
static inline const struct iscsi_kevent *
dpw_last_event(const struct dpw *w, enum iscsi_kevent_type type)
{
    assert_true(w->nevents > 0);
    assert_int_equal(w->event[w->nevents - 1].type, type);
    return &w->event[w->nevents - 1];
}

static inline unsigned
dpw_events_of(const struct dpw *w, enum iscsi_kevent_type type)
{
    unsigned n = 0;

    for (unsigned i = 0; i < w->nevents; i++)
        n += w->event[i].type == type;
    return n;
}

/* The text of a value in the last reply, or "-". */
static inline const char *
dpw_value(const struct dpw *w, enum iscsi_param p)
{
    static char text[IPC_VALUE_MAX];
    const uint8_t *at = w->reply_data;
    const uint8_t *end =
        at + (w->reply.type == ISCSI_UEVENT_GET_SESSION ? w->reply.r.session.values_len
                                                        : w->reply.r.conn.values_len);
    struct ipc_value v;

    while (ipc_value_next(&at, end, &v)) {
        if (v.param != (uint32_t)p)
            continue;
        assert_true(v.len < sizeof(text));
        memcpy(text, v.text, v.len);
        text[v.len] = '\0';
        return text;
    }
    assert_ptr_equal(at, end);
    return "-";
}

#endif
