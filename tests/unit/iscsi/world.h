/* SPDX-License-Identifier: MIT */
/* tests/unit/iscsi/world.h - the iSCSI layer between a fake adapter and a fake owner
 * (fake_owner.c), which gets uevents that are encoded, delayed and decoded. */
#ifndef TESTS_ISCSI_WORLD_H
#define TESTS_ISCSI_WORLD_H

#include "tests/test.h"
#include "tests/unit/fake_loop.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/dataplane.h"
#include "iscsi/iscsi.h"
#include "tests/support/fake_transport.h"
#include "tests/support/ipc_delayed.h"
#include "transport/transport.h"

struct world {
    struct fake_loop fl;
    struct transport_registry registry;
    struct dataplane *dp;
    struct ipc_delayed *binding;
    struct ipc *ipc;
    struct iscsi_reply reply;
    unsigned nreplies, nevents, nerrors;
    struct iscsi_kevent event;
    uint8_t event_data[512];
    enum iscsi_err error;
    uint32_t sid;
    uint16_t cid; /* of the connection that requests are about */
    uint8_t how;  /* enum iscsi_stop, of STOP_CONN */
    bool follows; /* BIND_CONN is of a connection that does not lead */
    uint64_t ep;
    struct scsi_host *host;
    unsigned restarts, running, blocked, gone, senses;
    bool still; /* the host's clock */
};

struct cmd {
    struct scsi_cmd sc;
    struct iovec iov;
    uint8_t buf[512];
    unsigned done;
};

static inline void
world_reply(void *user, const struct iscsi_reply *rep)
{
    struct world *w = user;

    w->reply = *rep;
    w->nreplies++;
}

static inline void
world_event(void *user, const struct iscsi_kevent *ev, const void *data)
{
    struct world *w = user;

    w->event = *ev;
    w->nevents++;
    if (ev->type == ISCSI_KEVENT_CONN_ERROR) {
        w->nerrors++;
        w->error = ev->u.conn_error.err;
    } else if (ipc_kevent_data_len(ev) > 0) {
        memcpy(w->event_data, data, ev->u.recv_pdu.data_len);
    }
}

static const struct ipc_events world_events = {.reply = world_reply, .event = world_event};

static inline void
world_restart(void *user)
{
    ((struct world *)user)->restarts++;
}

static inline void
world_state(void *user, enum scsi_host_state s, const struct lunette_error *why)
{
    struct world *w = user;

    if (s == SCSI_HOST_RUNNING)
        assert_null(why);
    else
        assert_true(why != NULL && why->msg[0] != '\0');
    assert_false(w->still);
    w->running += s == SCSI_HOST_RUNNING;
    w->blocked += s == SCSI_HOST_BLOCKED;
    w->gone += s == SCSI_HOST_GONE;
}

static inline void
world_sense(void *user, const uint8_t lun[8], const uint8_t *sense, uint16_t len)
{
    (void)lun;
    (void)sense;
    (void)len;
    ((struct world *)user)->senses++;
}

static inline void
world_clock(void *user, bool runs)
{
    ((struct world *)user)->still = !runs;
}

static const struct scsi_host_events world_host_events = {.restart = world_restart,
                                                          .state = world_state,
                                                          .async_sense = world_sense,
                                                          .clock = world_clock};

/* Sends a uevent and lets time pass until its answer. */
static inline int
world_ask(struct world *w, struct iscsi_uevent *ev, const void *data, uint32_t len)
{
    unsigned before = w->nreplies;

    assert_int_equal(ipc_request(w->ipc, ev, data, len), 0);
    assert_int_equal(w->nreplies, before); /* never from inside the call */
    for (int i = 0; i < 1000 && w->nreplies == before; i++)
        fake_advance(&w->fl, MS(10));
    assert_int_equal(w->nreplies, before + 1);
    assert_int_equal(w->reply.seq, ev->seq);
    return w->reply.err;
}

static inline int
world_do(struct world *w, enum iscsi_uevent_type type)
{
    struct iscsi_uevent ev = {.type = type, .sid = w->sid, .cid = w->cid, .ep = w->ep};

    if (type == ISCSI_UEVENT_BIND_CONN) {
        ev.u.bind_conn.fd = -1;
        ev.u.bind_conn.leading = !w->follows;
    }
    if (type == ISCSI_UEVENT_STOP_CONN)
        ev.u.stop_conn.how = w->how;
    if (type == ISCSI_UEVENT_CREATE_SESSION) {
        strcpy(ev.u.create_session.transport, "fake");
        ev.u.create_session.initial_cmdsn = 0xfffffffe; /* wraps soon */
        ev.u.create_session.cmds_max = 8;
    }
    if (type == ISCSI_UEVENT_TRANSPORT_EP_CONNECT)
        strcpy(ev.u.ep_connect.transport, "fake");
    return world_ask(w, &ev, NULL, 0);
}

static inline int
world_param(struct world *w, enum iscsi_param p, const char *value)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SET_PARAM, .sid = w->sid, .cid = w->cid};

    ev.u.set_param.param = p;
    strcpy(ev.u.set_param.value, value);
    return world_ask(w, &ev, NULL, 0);
}

/* A login of one exchange, which begins with CmdSN; the target opens a window of that many
 * commands, and says with the last response that it has had `ahead` of them. */
static inline void
world_login_ahead(struct world *w, uint32_t cmdsn, uint32_t window, uint32_t ahead)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU, .sid = w->sid, .cid = w->cid};
    const struct fake_sent *s;
    union bhs_any h;

    bhs_init(&ev.u.send_pdu.hdr, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE,
             bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT));
    ev.u.send_pdu.data_len = 4;
    assert_int_equal(world_ask(w, &ev, "a=b", 4), 0);
    fake_advance(&w->fl, MS(1));
    s = fake_last(ISCSI_OP_LOGIN_REQ);
    assert_non_null(s);
    assert_int_equal(get32(s->h.login_req.cmd_sn), cmdsn);
    assert_memory_equal(s->data, "a=b", 4);
    bhs_init(&h, ISCSI_OP_LOGIN_RSP, bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT));
    h.h.itt = s->h.h.itt;
    fake_adapter.stat_sn = 0xffffffff;
    fake_adapter.exp_cmdsn = cmdsn + ahead;
    fake_adapter.max_cmdsn = cmdsn + window - 1;
    assert_int_equal(fake_pdu(&h, NULL, 0, true), ISCSI_RX_HOLD);
    fake_adapter.exp_cmdsn = cmdsn;
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->event.type, ISCSI_KEVENT_RECV_PDU);
}

static inline void
world_login(struct world *w, uint32_t cmdsn, uint32_t window)
{
    world_login_ahead(w, cmdsn, window, 0);
}

static inline struct world *
world_new(uint64_t seed)
{
    struct world *w = calloc(1, sizeof(*w));
    struct ipc_client client;

    assert_non_null(w);
    w->cid = 1;
    fake_adapter_reset();
    fake_adapter.ep_delay_ns = MS(30);
    fake_loop_init(&w->fl, seed);
    assert_int_equal(transport_register(&w->registry, &fake_transport, NULL), 0);
    assert_int_equal(dataplane_new(&w->fl.l, &w->registry, &w->dp, NULL), 0);
    assert_int_equal(
        ipc_delayed_new(&w->fl.l, MS(50), &dataplane_server_ops, w->dp, &w->binding, &client), 0);
    w->ipc = ipc_delayed_ipc(w->binding);
    w->ipc->ev = &world_events;
    w->ipc->ev_user = w;
    dataplane_set_client(w->dp, &client);
    return w;
}

/* A new endpoint, connected. */
static inline void
world_connect(struct world *w)
{
    assert_int_equal(world_do(w, ISCSI_UEVENT_TRANSPORT_EP_CONNECT), 0);
    w->ep = w->reply.r.ep;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(world_do(w, ISCSI_UEVENT_TRANSPORT_EP_POLL), 0);
        if (w->reply.r.value == 1)
            break;
    }
    assert_int_equal(w->reply.r.value, 1);
}

/* Logged in, in the order of docs/walk.md; what was agreed on can still be set. */
static inline void
world_logged_in(struct world *w)
{
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_SESSION), 0);
    w->sid = w->reply.sid;
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    world_login(w, 0xfffffffe, 4);
    assert_int_equal(world_param(w, ISCSI_PARAM_MAX_BURST, "65536"), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_FIRST_BURST, "65536"), 0);
}

static inline void
world_start(struct world *w)
{
    assert_int_equal(world_do(w, ISCSI_UEVENT_START_CONN), 0);
    w->host = dataplane_host(w->dp, w->sid);
    assert_non_null(w->host);
    assert_int_equal(w->host->state, SCSI_HOST_RUNNING);
    w->host->ev = &world_host_events;
    w->host->ev_user = w;
}

/* Up to full feature phase. */
static inline void
world_up(struct world *w)
{
    world_logged_in(w);
    world_start(w);
}

static inline void
world_free(struct world *w)
{
    dataplane_shutdown(w->dp);
    for (int i = 0; i < 1000 && dataplane_busy(w->dp) > 0; i++)
        fake_advance(&w->fl, MS(100));
    assert_int_equal(dataplane_busy(w->dp), 0);
    ipc_delayed_free(w->binding);
    dataplane_free(w->dp);
    free(w);
}

static inline void
cmd_done(struct scsi_cmd *sc)
{
    container_of(sc, struct cmd, sc)->done++;
}

static inline void
cmd_init(struct cmd *c, bool read, uint32_t len)
{
    memset(c, 0, sizeof(*c));
    c->iov = (struct iovec){c->buf, len};
    c->sc.cdb_len = 10;
    c->sc.cdb[0] = read ? 0x28 : 0x2a;
    c->sc.attr = 1;
    c->sc.done = cmd_done;
    if (read)
        c->sc.in = sg_from_iov(&c->iov, 1, 0, len);
    else
        c->sc.out = sg_from_iov(&c->iov, 1, 0, len);
}

static inline int
world_queue(struct world *w, struct cmd *c)
{
    int r = w->host->ops->queuecommand(w->host, &c->sc);

    assert_int_equal(c->done, 0);
    return r;
}

static inline void
world_commit(struct world *w)
{
    iscsi_session_check(dataplane_session(w->dp, w->sid));
    w->host->ops->commit(w->host);
    iscsi_session_check(dataplane_session(w->dp, w->sid));
    fake_turn(&w->fl);
    iscsi_session_check(dataplane_session(w->dp, w->sid));
}

/* A read or write of 512 bytes, sent. */
static inline struct cmd *
one_command(struct world *w, struct cmd *c, bool read)
{
    cmd_init(c, read, 512);
    assert_int_equal(world_queue(w, c), 0);
    world_commit(w);
    return c;
}

/* Somebody who waits for error handling. */
struct waiter {
    struct scsi_eh_wait w;
    unsigned done;
    enum scsi_eh_result r;
};

static inline void
eh_done(struct scsi_eh_wait *w, enum scsi_eh_result r)
{
    struct waiter *x = container_of(w, struct waiter, w);

    x->done++;
    x->r = r;
}

/* The target answers the last task management request. */
static inline int
tmf_answer(uint8_t response)
{
    union bhs_any h;

    bhs_init(&h, ISCSI_OP_TMF_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = fake_last(ISCSI_OP_TMF_REQ)->h.h.itt;
    h.tmf_rsp.response = response;
    return fake_pdu(&h, NULL, 0, true);
}

#endif
